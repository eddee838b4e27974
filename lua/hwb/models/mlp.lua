--- A multilayer perceptron: hwb.models.mlp{sizes = {784, 100, 10}, activation = "tanh"}.
-- Inputs of more than two axes are flattened.

local hwb = require "hwb"
local nn = hwb.nn
local options = require "hwb.nn.options"

local MLP = nn.Module:extend("MLP")

function MLP:init(o)
  self.input_size = { o.sizes[1] }
  self.activation = o.activation
  self.layer = nn.ModuleList((function()
    local list = {}
    for i = 2, #o.sizes do list[i - 1] = nn.Linear{ o.sizes[i - 1], o.sizes[i], bias = o.bias } end
    return list
  end)())
end

function MLP:forward(x)
  if x:dim() > 2 then x = x:flatten(2) end
  local n = self.layer.count
  for i, layer in self.layer:each() do
    x = layer(x)
    if i < n then x = x[self.activation](x) end
  end
  return x
end

local function mlp(given)
  local o = options("mlp", given, { "sizes" }, { activation = "relu", bias = true })
  if type(o.sizes) ~= "table" or #o.sizes < 2 then
    error("mlp: sizes must list at least the inputs and the outputs", 2)
  end
  return MLP{ sizes = o.sizes, activation = o.activation, bias = o.bias }
end

return { mlp = mlp }
