--- Initial values of weights, drawn from the seeded generator (hwb.manual_seed).

local hwb = require "hwb"

local init = {}

--- Inputs that one output of a weight [out, in, ...] sees.
function init.fan_in(shape)
  local n = 1
  for i = 2, #shape do n = n * shape[i] end
  return n
end

--- U(-b, b) of the given sizes.
function init.uniform(shape, bound) return (hwb.rand(shape) * 2 - 1) * bound end

--- U(-1/sqrt(fan_in), 1/sqrt(fan_in)): PyTorch's default for weights and biases.
function init.default(shape, fan_in)
  return init.uniform(shape, 1 / math.sqrt(fan_in or init.fan_in(shape)))
end

--- N(0, 2/fan): He et al. 2015; mode "in" or "out".
function init.he(shape, mode)
  local fan = init.fan_in(shape)
  if mode == "out" then fan = fan // shape[2] * shape[1] end
  return hwb.randn(shape) * math.sqrt(2 / fan)
end

return init
