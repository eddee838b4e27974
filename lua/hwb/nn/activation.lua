--- Layers without parameters that work on each element.
return function(_, nn)
  local layers = {}

  local function elementwise(name, method)
    local class = nn.Module:extend(name)
    function class:forward(x) return x[method](x) end -- luacheck: ignore self
    layers[name] = class
  end

  elementwise("ReLU", "relu")
  elementwise("GELU", "gelu")
  elementwise("Tanh", "tanh")
  elementwise("Sigmoid", "sigmoid")
  elementwise("SiLU", "silu")
  elementwise("Softplus", "softplus")

  layers.Identity = nn.Module:extend("Identity")
  function layers.Identity:forward(x) return x end -- luacheck: ignore self

  --- nn.Lambda(f): any function of one tensor as a layer.
  layers.Lambda = nn.Module:extend("Lambda")
  function layers.Lambda:init(f) self.f = type(f) == "table" and f[1] or f end
  function layers.Lambda:forward(x) return self.f(x) end

  return layers
end
