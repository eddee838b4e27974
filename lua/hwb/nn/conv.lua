--- Convolution.
return function(hwb, nn)
  local options = require "hwb.nn.options"
  local init = require "hwb.nn.init"

  local function pair(v) return type(v) == "table" and v or { v, v } end

  local Conv2d = nn.Module:extend("Conv2d")

  --- nn.Conv2d(in_channels, out_channels, kernel=3, stride=1, padding=0, {dilation=1,
  -- groups=1, bias=true}): x[N,C,H,W] -> [N,O,H',W'].
  function Conv2d:init(...)
    local o = options("Conv2d", options.pack(...),
      { "in_channels", "out_channels", "kernel", "stride", "padding" },
      { kernel = 3, stride = 1, padding = 0, dilation = 1, groups = 1, bias = true })
    options.whole("Conv2d", o, 1, "in_channels out_channels groups")
    options.whole("Conv2d", o, 1, "kernel stride dilation", 2)
    options.whole("Conv2d", o, 0, "padding", 2)
    local k = pair(o.kernel)
    if o.in_channels % o.groups ~= 0 or o.out_channels % o.groups ~= 0 then
      error(("Conv2d: %d and %d channels do not divide into %d groups")
        :format(o.in_channels, o.out_channels, o.groups), 3)
    end
    self.options = {
      stride = pair(o.stride), padding = pair(o.padding), dilation = pair(o.dilation),
      groups = o.groups,
    }
    local shape = { o.out_channels, o.in_channels // o.groups, k[1], k[2] }
    self.weight = nn.parameter(init.default(shape))
    if o.bias then
      self.bias = nn.parameter(init.default({ o.out_channels }, init.fan_in(shape)))
    end
  end

  function Conv2d:forward(x)
    x = self:quantized_input(hwb.engine.tap(x, self.path))
    return hwb.conv2d(x, self.weight, self.bias, self.options)
  end

  --- The input as the product sees it: hwb.quant.apply puts a quantizer here.
  -- (Weights need no such place: while a quantized model is traced, self.weight
  -- is the quantized weight.)
  function Conv2d:quantized_input(x) return x end -- luacheck: ignore self

  return { Conv2d = Conv2d }
end
