--- Normalisation layers.
return function(hwb, nn)
  local options = require "hwb.nn.options"

  local BatchNorm2d = nn.Module:extend("BatchNorm2d")

  --- nn.BatchNorm2d(channels, {eps=1e-5, momentum=0.1}): x[N,C,...], over all axes but C.
  -- In training mode it normalises by the batch and updates the running
  -- statistics (unbiased variance), in evaluation mode by the running ones.
  function BatchNorm2d:init(...)
    local o = options("BatchNorm2d", options.pack(...), { "channels" }, { eps = 1e-5, momentum = 0.1 })
    options.whole("BatchNorm2d", o, 1, "channels")
    self.eps, self.momentum = o.eps, o.momentum
    self.weight = nn.parameter(hwb.ones(o.channels))
    self.bias = nn.parameter(hwb.zeros(o.channels))
    self.running_mean = nn.buffer(hwb.zeros(o.channels))
    self.running_var = nn.buffer(hwb.ones(o.channels))
  end

  local function blend(old, new, momentum) return old * (1 - momentum) + new * momentum end

  function BatchNorm2d:forward(x)
    if not self:is_training() then
      return hwb.batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var,
        { eps = self.eps })
    end
    local y, mean, var = hwb.batch_norm_batch(x, self.weight, self.bias, { eps = self.eps })
    hwb.engine.update(self.running_mean, blend(self.running_mean, mean, self.momentum))
    hwb.engine.update(self.running_var, blend(self.running_var, var, self.momentum))
    return y
  end

  local LayerNorm = nn.Module:extend("LayerNorm")

  --- nn.LayerNorm(size, {eps=1e-5}): over the last axes, whose sizes are `size` (a
  -- number or a list).
  function LayerNorm:init(...)
    local o = options("LayerNorm", options.pack(...), { "size" }, { eps = 1e-5 })
    local size = type(o.size) == "table" and o.size or { o.size }
    options.whole("LayerNorm", o, 1, "size", #size)
    self.eps = o.eps
    self.weight = nn.parameter(hwb.ones(size))
    self.bias = nn.parameter(hwb.zeros(size))
  end

  function LayerNorm:forward(x)
    return hwb.layer_norm(x, self.weight, self.bias, { eps = self.eps })
  end

  return { BatchNorm2d = BatchNorm2d, LayerNorm = LayerNorm }
end
