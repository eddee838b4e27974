--- Methods of curvature operators (hwb.hessian, hwb.ggn, hwb.fisher) that are
-- made of others: blocks, all layers' traces, quadratic forms.

local hwb = require "hwb"

local methods = hwb.operator_methods

local function check_options(who, given, known)
  for k in pairs(given or {}) do
    if not known[k] then error(("%s: unknown option %q"):format(who, tostring(k)), 3) end
  end
end

-- "layer1.0.conv1.weight" -> "layer1.0.conv1"
local function layer_of(parameter) return parameter:match("^(.*)%.[^.]*$") or parameter end

--- Names of the layers with a weight matrix or kernel, in parameter order.
function methods:layer_names()
  local names, seen = {}, {}
  for _, p in ipairs(self:parameters()) do
    local name = layer_of(p.name)
    if #p.shape > 1 and not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
  return names
end

--- Every layer's trace with its standard error:
-- {{name=, n=, mean=, stderr=, joint_probes=, isolated_probes=, ...}, ...}.
-- A few joint probes of the whole operator serve all layers; isolated probes
-- then go where the error is worst.  Options: tol, joint, max_isolated, pilot,
-- budget, batch, seed, and names (blocks other than the layers).
function methods:traces(given)
  given = given or {}
  check_options("traces", given, { tol = 1, joint = 1, max_isolated = 1, pilot = 1, budget = 1,
    batch = 1, seed = 1, names = 1 })
  local o = {}
  for k, v in pairs(given) do if k ~= "names" then o[k] = v end end
  return self:block_traces(given.names or self:layer_names(), o)
end

--- Quadratic form v'Hv.
function methods:quadratic(v) return (self:apply(v) * v):sum():item() end

return methods
