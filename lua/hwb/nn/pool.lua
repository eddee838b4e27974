--- Pooling and flattening.
return function(_, nn)
  local options = require "hwb.nn.options"

  local function pool(name, method)
    local class = nn.Module:extend(name)
    --- nn.MaxPool2d(kernel, stride=kernel, padding=0, {ceil=false})
    function class:init(...)
      local o = options(name, options.pack(...), { "kernel", "stride", "padding" },
        { stride = false, padding = 0, ceil = false })
      o.stride = o.stride or o.kernel
      options.whole(name, o, 1, "kernel stride", 2)
      options.whole(name, o, 0, "padding", 2)
      self.options = {
        kernel = o.kernel, stride = o.stride, padding = o.padding, ceil = o.ceil,
      }
    end
    function class:forward(x) return x[method](x, self.options) end
    return class
  end

  --- Mean over the image: x[N,C,H,W] -> [N,C,1,1].
  local GlobalAvgPool2d = nn.Module:extend("GlobalAvgPool2d")
  function GlobalAvgPool2d:forward(x) -- luacheck: ignore self
    return x:mean({ 3, 4 }, { keep = true })
  end

  --- x[N,...] -> [N, product of the rest]
  local Flatten = nn.Module:extend("Flatten")
  function Flatten:forward(x) return x:flatten(2) end -- luacheck: ignore self

  return {
    MaxPool2d = pool("MaxPool2d", "max_pool2d"),
    AvgPool2d = pool("AvgPool2d", "avg_pool2d"),
    GlobalAvgPool2d = GlobalAvgPool2d,
    Flatten = Flatten,
  }
end
