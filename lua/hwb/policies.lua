--- Simple allocation policies, as baselines and as examples of how to write one.
--
--     hwb.hawq.allocate(layers, {budget = {size_mib = 1}, policy = hwb.policies.greedy})
--
-- A policy gets the list of layer records and the budget, and returns bits by name.
-- These know budgets of size (size_mib or compression) only.

local policies = {}

-- Bits that every layer has an error for, ascending.
local function choices_of(layers)
  local list = {}
  for bits = 1, 32 do
    local all = true
    for _, l in ipairs(layers) do all = all and l.dw2[bits] ~= nil end
    if all then list[#list + 1] = bits end
  end
  return list
end

-- The budget in bits of weight.
local function limit_of(layers, budget)
  local numbers = 0
  for _, l in ipairs(layers) do numbers = numbers + l.n end
  local limit = budget.size_mib and budget.size_mib * 8 * 2 ^ 20 or math.huge
  if budget.compression then limit = math.min(limit, 32 * numbers / budget.compression) end
  return limit * (1 + 1e-12)
end

local function size_of(layers, bits)
  local size = 0
  for _, l in ipairs(layers) do size = size + l.n * bits[l.name] end
  return size
end

local function all(layers, b)
  local bits = {}
  for _, l in ipairs(layers) do bits[l.name] = b end
  return bits
end

--- The same bits for every layer, as many as fit.
function policies.uniform(layers, budget)
  local choices, limit = choices_of(layers), limit_of(layers, budget)
  local bits = all(layers, choices[1])
  for _, b in ipairs(choices) do
    local candidate = all(layers, b)
    if size_of(layers, candidate) <= limit then bits = candidate end
  end
  return bits
end

-- From the highest bits down: lowers, again and again, the layer that `harm` says.
local function lower(layers, budget, harm)
  local choices, limit = choices_of(layers), limit_of(layers, budget)
  local position, bits = {}, all(layers, choices[#choices])
  for _, l in ipairs(layers) do position[l.name] = #choices end
  while size_of(layers, bits) > limit do
    local least, which = math.huge, nil
    for _, l in ipairs(layers) do
      local p = position[l.name]
      if p > 1 then
        local h = harm(l, choices[p], choices[p - 1])
        if h < least then least, which = h, l end
      end
    end
    if not which then break end
    position[which.name] = position[which.name] - 1
    bits[which.name] = choices[position[which.name]]
  end
  return bits
end

--- Lowers where Omega grows least for every bit saved.
function policies.greedy(layers, budget)
  return lower(layers, budget, function(l, from, to)
    return (l.avg_trace or l.lambda) * (l.dw2[to] - l.dw2[from]) / (l.n * (from - to))
  end)
end

--- Lowers the largest layers first: what one does without sensitivities.
function policies.smallest_first(layers, budget)
  return lower(layers, budget, function(l, from) return -l.n * from end)
end

return policies
