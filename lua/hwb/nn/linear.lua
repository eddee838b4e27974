--- Dense layers and look-up tables.
return function(hwb, nn)
  local options = require "hwb.nn.options"
  local init = require "hwb.nn.init"

  local Linear = nn.Module:extend("Linear")

  --- nn.Linear(inputs, outputs, {bias=true}): x[..,in] -> x W^T + b, W[out,in].
  function Linear:init(...)
    local o = options("Linear", options.pack(...), { "inputs", "outputs" }, { bias = true })
    options.whole("Linear", o, 1, "inputs outputs")
    self.weight = nn.parameter(init.default{ o.outputs, o.inputs })
    if o.bias then self.bias = nn.parameter(init.default({ o.outputs }, o.inputs)) end
  end

  function Linear:forward(x)
    x = self:quantized_input(hwb.engine.tap(x, self.path))
    return hwb.linear(x, self.weight, self.bias)
  end

  --- The input as the product sees it: hwb.quant.apply puts a quantizer here.
  function Linear:quantized_input(x) return x end -- luacheck: ignore self

  local Embedding = nn.Module:extend("Embedding")

  --- nn.Embedding(count, size): 1-based integer ids of any shape -> [.., size].
  function Embedding:init(...)
    local o = options("Embedding", options.pack(...), { "count", "size" }, {})
    options.whole("Embedding", o, 1, "count size")
    self.weight = nn.parameter(hwb.randn{ o.count, o.size })
  end

  function Embedding:forward(ids) return hwb.embedding(self.weight, ids) end

  return { Linear = Linear, Embedding = Embedding }
end
