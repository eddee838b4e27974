--- Problems of hwb.hawq.allocate: layer records, budgets and ties as the tables that
-- the engine's search reads (see lua/bind/bind_allocate.c).

local M = {}

M.BITS_PER_MIB = 8 * 2 ^ 20
M.SLACK = 1 + 1e-12 -- a budget computed by the same arithmetic in another order

local function fail(level, text, ...) error("allocate: " .. text:format(...), level + 1) end
M.fail = fail

---------------------------------------------------------------------------
-- records

local function name_of(layer, i) return layer.name or ("layer" .. i) end
M.name_of = name_of

-- Tables keyed by bits may come from JSON, whose keys are strings.
local function at_bits(t, bits)
  if type(t) ~= "table" then return nil end
  return t[bits] or t[tostring(bits)]
end

local function finite(x) return type(x) == "number" and x == x and math.abs(x) < math.huge end
M.finite = finite

-- Bits that every layer has a quantization error for, ascending.
local function common_choices(layers)
  local list = {}
  for bits = 1, 32 do
    local all = true
    for _, l in ipairs(layers) do all = all and at_bits(l.dw2, bits) ~= nil end
    if all then list[#list + 1] = bits end
  end
  if #list == 0 then fail(4, "the layers have no bits in common in dw2; give choices") end
  return list
end

local function checked_choices(choices)
  local list, seen = {}, {}
  for i, b in ipairs(choices) do
    b = math.tointeger(b)
    if not b or b < 1 or b > 32 or seen[b] then
      fail(4, "choices must be different whole numbers of bits from 1 to 32")
    end
    seen[b], list[i] = true, b
  end
  if #list == 0 then fail(4, "choices is empty") end
  table.sort(list)
  return list
end

-- The factor of dw2 for every layer, and notes about what was changed.
local function factors(layers, negative)
  local metric, list, notes = "trace", {}, {}
  for _, l in ipairs(layers) do
    if l.avg_trace == nil then metric = "eigenvalue" end
  end
  for i, l in ipairs(layers) do
    local f = l.avg_trace
    if metric == "eigenvalue" then f = l.lambda end
    if not finite(f) then
      fail(4, "layer %s has no finite %s", name_of(l, i),
        metric == "trace" and "avg_trace" or "avg_trace or lambda")
    end
    if f < 0 then
      local what = ("%s: negative %s %.4g"):format(name_of(l, i),
        metric == "trace" and "average trace" or "eigenvalue", f)
      if negative == "error" then fail(4, "%s", what) end
      if negative == "absolute" then f = -f
      elseif negative == "stderr" and finite(l.stderr) then f = l.stderr
      else f = 0 end
      notes[#notes + 1] = ("%s counted as %.4g"):format(what, f)
    end
    list[i] = f
  end
  return list, metric, notes
end

-- Layers that share bits -> one number a group, -1 for layers on their own.
local function tie_groups(layers, ties)
  local index, group = {}, {}
  for i, l in ipairs(layers) do
    index[name_of(l, i)] = i
    group[i] = -1
  end
  if ties and type(ties) ~= "table" then fail(4, "ties is a %s, not a list of lists", type(ties)) end
  for g, members in ipairs(ties or {}) do
    local first
    if type(members) ~= "table" then fail(4, "ties[%d] is %s, not a list of layers", g, tostring(members)) end
    for _, member in ipairs(members) do
      local i = index[member] or math.tointeger(member)
      if not i or not layers[i] then
        fail(4, "ties[%d] names %s; layers are numbered 1 to %d", g, tostring(member), #layers)
      end
      if group[i] ~= -1 and first ~= group[i] then -- two groups become one
        local old, new = group[i], first or group[i]
        for k = 1, #layers do if group[k] == old then group[k] = new end end
        first = new
      else
        first = first or g
      end
      group[i] = first
    end
  end
  return group
end

-- Activation bits of a layer whose weights have `bits`.
local function activation_bits(setting, name, bits)
  if setting == "same" then return bits end
  if type(setting) == "table" then return setting[name] or bits end
  return setting
end

---------------------------------------------------------------------------
-- problems

-- rows[layer][choice] = f(layer, bits, i), or nil when one is missing.
local function matrix(layers, choices, f)
  local rows = {}
  for i, l in ipairs(layers) do
    rows[i] = {}
    for k, bits in ipairs(choices) do
      local v = f(l, bits, i)
      if v == nil then return nil, i, bits end
      rows[i][k] = v
    end
  end
  return rows
end

local function allowed(l, bits)
  if not l.choices then return true end
  for _, b in ipairs(l.choices) do if b == bits then return true end end
  return false
end

local function check_layers(layers)
  if type(layers) ~= "table" or #layers == 0 then
    fail(4, "a list of layer records is wanted, as from hwb.hawq.sensitivity")
  end
  local seen = {}
  for i, l in ipairs(layers) do
    if type(l) ~= "table" then fail(4, "layer %d is a %s, not a record", i, type(l)) end
    local name = name_of(l, i)
    if seen[name] then fail(4, "two layers are called %q", name) end
    seen[name] = true
    if not finite(l.n) or l.n <= 0 then fail(4, "layer %s: n is %s", name, tostring(l.n)) end
  end
end

local function omega_rows(layers, choices, factor)
  local rows, i, bits = matrix(layers, choices, function(l, bits, i)
    if not allowed(l, bits) then return math.huge end
    local e = at_bits(l.dw2, bits)
    if e ~= nil and (not finite(e) or e < 0) then
      fail(6, "layer %s: dw2[%d] is %s", name_of(l, i), bits, tostring(e))
    end
    return e and factor[i] * e
  end)
  if not rows then fail(4, "layer %s has no dw2[%d]", name_of(layers[i], i), bits) end
  return rows
end

-- Every cost the records have data for: {name, rows, unit = cost of one shown unit}.
local function cost_list(layers, choices, activations)
  local costs = {
    { name = "size_mib", unit = M.BITS_PER_MIB,
      rows = matrix(layers, choices, function(l, bits) return l.n * bits end) },
  }
  local bops = matrix(layers, choices, function(l, bits, i)
    return finite(l.macs) and l.macs * bits * activation_bits(activations, name_of(l, i), bits) or nil
  end)
  if bops then costs[#costs + 1] = { name = "bops", unit = 1, rows = bops } end
  local latency = matrix(layers, choices, function(l, bits)
    if not allowed(l, bits) then return 0 end
    local ms = at_bits(l.latency, bits)
    return finite(ms) and ms or nil
  end)
  if latency then costs[#costs + 1] = { name = "latency_ms", unit = 1, rows = latency } end
  return costs
end

--- Weights of all layers.
function M.total_numbers(layers)
  local n = 0
  for _, l in ipairs(layers) do n = n + l.n end
  return n
end

-- Limits by cost name, in the cost's own numbers.
local function limits_of(layers, budget)
  local limit = {}
  for key, value in pairs(budget or {}) do
    if not finite(value) or value <= 0 then
      fail(4, "budget.%s must be a positive number, not %s", tostring(key), tostring(value))
    end
    if key == "size_mib" then
      limit.size_mib = math.min(limit.size_mib or math.huge, value * M.BITS_PER_MIB)
    elseif key == "compression" then
      limit.size_mib = math.min(limit.size_mib or math.huge, 32 * M.total_numbers(layers) / value)
    elseif key == "bops" or key == "latency_ms" then
      limit[key] = value
    else
      fail(4, "unknown budget %q (size_mib, compression, bops, latency_ms)", tostring(key))
    end
  end
  return limit
end

local function sum_of_least(p, cost)
  local total = 0
  for i, row in ipairs(cost.rows) do
    local least = math.huge
    for k, v in ipairs(row) do
      if p.omega[i][k] < math.huge then least = math.min(least, v) end
    end
    total = total + least
  end
  return total
end

--- Each budget by itself must be within reach (ties can only raise a sum).
function M.check_reach(p)
  for k, cost in ipairs(p.costs) do
    local least = sum_of_least(p, cost)
    if least > p.limit[k] then
      fail(4, "the budget %s = %.6g cannot be met: the smallest reachable is %.6g", cost.name,
        p.limit[k] / M.SLACK / cost.unit, least / cost.unit)
    end
  end
end

--- {layers=, bits=, factor=, omega=, tie=, costs={{name=, unit=, rows=},...}, limit=, notes=, ...}
function M.of(layers, o)
  check_layers(layers)
  local p = { layers = layers, activations = o.activations, ties = o.ties }
  p.bits = o.choices and checked_choices(o.choices) or common_choices(layers)
  p.factor, p.metric, p.notes = factors(layers, o.negative)
  p.omega = omega_rows(layers, p.bits, p.factor)
  p.tie = tie_groups(layers, o.ties)
  p.costs = cost_list(layers, p.bits, o.activations)
  p.cost, p.limit, p.names = {}, {}, {}
  local limit = limits_of(layers, o.budget)
  for k, c in ipairs(p.costs) do
    p.cost[k], p.names[k] = c.rows, c.name
    p.limit[k] = limit[c.name] and limit[c.name] * M.SLACK or math.huge
    limit[c.name] = nil
  end
  for name in pairs(limit) do
    fail(3, "a budget of %s needs %s of every layer", name, name == "bops" and "macs" or "latency")
  end
  return p
end

--- What the engine reads.
function M.for_engine(p, unlimited)
  local limit = p.limit
  if unlimited then
    limit = {}
    for k in ipairs(p.limit) do limit[k] = math.huge end
  end
  return { bits = p.bits, omega = p.omega, cost = p.cost, limit = limit, names = p.names, tie = p.tie }
end

return M
