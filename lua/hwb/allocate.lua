--- Which bits for which layer: problems and plans of hwb.hawq.allocate.
--
-- Records are the plain tables of hwb.hawq.sensitivity (or of a file):
--   {name=, n=, avg_trace= or lambda=, dw2={[2]=,[4]=,...}, macs=, latency={[4]=,...}}
-- and minimised is Omega = sum of avg_trace * dw2[bits]; records that have only
-- eigenvalues use lambda in its place (HAWQ-V1's Omega_i = lambda |Q(W) - W|^2).
-- The search itself is in the engine (quant/allocate.c, branch.c, pareto.c).

local hwb = require "hwb"
local options = require "hwb.nn.options"

local allocate = {}

local BITS_PER_MIB = 8 * 2 ^ 20
local SLACK = 1 + 1e-12 -- a budget computed by the same arithmetic in another order

local function fail(level, text, ...) error("allocate: " .. text:format(...), level + 1) end

---------------------------------------------------------------------------
-- records

local function name_of(layer, i) return layer.name or ("layer" .. i) end

-- Tables keyed by bits may come from JSON, whose keys are strings.
local function at_bits(t, bits)
  if type(t) ~= "table" then return nil end
  return t[bits] or t[tostring(bits)]
end

local function finite(x) return type(x) == "number" and x == x and math.abs(x) < math.huge end

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
  for g, members in ipairs(ties or {}) do
    local first
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
    { name = "size_mib", unit = BITS_PER_MIB,
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

local function total_numbers(layers)
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
      limit.size_mib = math.min(limit.size_mib or math.huge, value * BITS_PER_MIB)
    elseif key == "compression" then
      limit.size_mib = math.min(limit.size_mib or math.huge, 32 * total_numbers(layers) / value)
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

-- Each budget by itself must be within reach (ties can only raise a sum).
local function check_reach(p)
  for k, cost in ipairs(p.costs) do
    local least = sum_of_least(p, cost)
    if least > p.limit[k] then
      fail(4, "the budget %s = %.6g cannot be met: the smallest reachable is %.6g", cost.name,
        p.limit[k] / SLACK / cost.unit, least / cost.unit)
    end
  end
end

local function problem(layers, o)
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
    p.limit[k] = limit[c.name] and limit[c.name] * SLACK or math.huge
    limit[c.name] = nil
  end
  for name in pairs(limit) do
    fail(3, "a budget of %s needs %s of every layer", name, name == "bops" and "macs" or "latency")
  end
  return p
end

-- What the engine reads.
local function engine_problem(p, unlimited)
  local limit = p.limit
  if unlimited then
    limit = {}
    for k in ipairs(p.limit) do limit[k] = math.huge end
  end
  return { bits = p.bits, omega = p.omega, cost = p.cost, limit = limit, names = p.names, tie = p.tie }
end

---------------------------------------------------------------------------
-- answers

local function bits_by_name(p, choice)
  local bits = {}
  for i, l in ipairs(p.layers) do bits[name_of(l, i)] = p.bits[choice[i]] end
  return bits
end

-- Names by descending share of Omega: the order in which HAWQ-V1 fine-tunes.
local function order_of(p, choice)
  local share, names = {}, {}
  for i, l in ipairs(p.layers) do
    names[i] = name_of(l, i)
    share[names[i]] = p.omega[i][choice[i]]
  end
  table.sort(names, function(a, b)
    if share[a] ~= share[b] then return share[a] > share[b] end
    return a < b
  end)
  return names
end

local EAGER = 1000000 -- layer settings up to which every point's bits are made at once

-- {size_mib=, omega=, bits={[name]=}} of every point; in a very long list the
-- bits of a point are made when first asked for.
local function frontier_of(p, max_points)
  local f = hwb.engine.quant.frontier(engine_problem(p, true), 1, max_points)
  local list, eager = {}, #f * #p.layers <= EAGER
  local later = {
    __index = function(point, key)
      if key ~= "bits" then return nil end
      local _, _, choice = f:point(point.index)
      point.bits = bits_by_name(p, choice)
      return point.bits
    end,
  }
  for i = 1, #f do
    local cost, omega, choice = f:point(i)
    local point = { size_mib = cost / BITS_PER_MIB, omega = omega }
    if eager then point.bits = bits_by_name(p, choice)
    else
      point.index = i
      setmetatable(point, later)
    end
    list[i] = point
  end
  return list, f:exact()
end

local function plan_of(p, a, policy)
  local n = total_numbers(p.layers)
  local plan = {
    bits = bits_by_name(p, a.choice), omega = a.omega, optimal = a.optimal, bound = a.bound,
    nodes = a.nodes, policy = policy, metric = p.metric, choices = p.bits, ties = p.ties,
    activations = p.activations, order = order_of(p, a.choice), notes = p.notes,
    average_bits = a.cost[1] / n, compression = 32 * n / a.cost[1],
  }
  for k, c in ipairs(p.costs) do plan[c.name] = a.cost[k] / c.unit end
  return plan
end

---------------------------------------------------------------------------
-- given bits

-- {[name]=bits} or a list in layer order -> positions in p.bits
local function choice_of(p, bits, who)
  local position, choice, known = {}, {}, {}
  for k, b in ipairs(p.bits) do position[b] = k end
  if type(bits) ~= "table" then fail(4, "%s gave %s, not a table of bits", who, type(bits)) end
  for i, l in ipairs(p.layers) do
    local name = name_of(l, i)
    known[name], known[i] = true, true
    local b = bits[name]
    if b == nil then b = bits[i] end
    if b == nil then fail(4, "%s gave no bits for layer %s", who, name) end
    choice[i] = position[math.tointeger(b) or b]
    if not choice[i] or p.omega[i][choice[i]] == math.huge then
      fail(4, "%s gave layer %s %s bits; its choices are %s", who, name, tostring(b),
        table.concat(l.choices or p.bits, ", "))
    end
  end
  for key in pairs(bits) do
    if not known[key] then fail(4, "%s gave bits for %s, which is no layer", who, tostring(key)) end
  end
  local first = {}
  for i, l in ipairs(p.layers) do
    local g = p.tie[i]
    if g >= 0 then
      first[g] = first[g] or i
      if choice[first[g]] ~= choice[i] then
        fail(4, "%s gave the tied layers %s and %s different bits", who,
          name_of(p.layers[first[g]], first[g]), name_of(l, i))
      end
    end
  end
  return choice
end

-- Budgets that a given setting exceeds, or nil.
local function violations(p, a)
  local v
  for k, c in ipairs(p.costs) do
    if a.cost[k] > p.limit[k] then
      v = v or {}
      v[c.name] = { limit = p.limit[k] / SLACK / c.unit, value = a.cost[k] / c.unit }
    end
  end
  return v
end

local function evaluated(p, bits, who, policy)
  local a = hwb.engine.quant.evaluate(engine_problem(p, true), choice_of(p, bits, who))
  a.optimal = nil
  a.bound = nil
  a.nodes = nil
  local plan = plan_of(p, a, policy)
  plan.violates = violations(p, a)
  return plan
end

---------------------------------------------------------------------------
-- the interface

local settings = {
  choices = false, ties = false, budget = false, policy = "pareto", activations = "same",
  negative = "stderr", frontier = true, max_points = 0, node_limit = false,
}

local function read(who, given)
  local o = options(who, given or {}, {}, settings)
  for k in pairs(settings) do o[k] = o[k] or nil end
  local a = o.activations
  if a ~= "same" and type(a) ~= "table" and math.type(a) ~= "integer" then
    error(('%s: activations must be "same", a number of bits or a table, not %s')
      :format(who, tostring(a)), 3)
  end
  local negative = { stderr = true, zero = true, absolute = true, error = true }
  if not negative[o.negative] then
    error(('%s: negative must be "stderr", "zero", "absolute" or "error"'):format(who), 3)
  end
  return o
end

local function eigenvalues(p)
  local lambda, n = {}, {}
  for i, l in ipairs(p.layers) do
    lambda[i], n[i] = l.lambda, l.n
    if not finite(l.lambda) then
      fail(4, "the policy hawq_v1 wants lambda of every layer; %s has none", name_of(l, i))
    end
  end
  return lambda, n
end

--- Chooses bits for every layer.  Options:
--   choices      bits to choose from; default: all that every record has dw2 for.  A
--                record's own field `choices` restricts that layer.
--   budget       {size_mib=, compression=, bops=, latency_ms=}, any of them together
--   ties         {{5, 7}, ...}: layers (numbers or names) that share bits
--   activations  bits of the activations in BOPs: "same" as the weights, a number, or
--                {[name] = bits}
--   policy       "pareto": least Omega (HAWQ-V2, V3), proved optimal;
--                "hawq_v1": the same with bits in the order of lambda/n;
--                function(layers, budget) -> {[name] = bits} or a list
--   negative     an average trace below zero, which noise or a saddle point gives, counts
--                as its standard error ("stderr", the default: no proof that a layer can
--                take any harm; zero where the record has none), as "zero", as "absolute",
--                or is an "error"
--   frontier     false leaves out the frontier of size and Omega
--   max_points   bound on the frontier's working lists (0: one million)
-- Returns {bits=, omega=, size_mib=, bops=, latency_ms=, compression=, average_bits=,
-- optimal=, order= (fine-tuning order), frontier=, notes=, violates= (of a function's
-- bits: {[budget] = {limit=, value=}})}.  A budget out of reach is an error that says
-- the smallest that can be reached.
function allocate.allocate(layers, given)
  local o = read("allocate", given)
  local p, plan = problem(layers, o)
  if type(o.policy) == "function" then
    plan = evaluated(p, o.policy(layers, o.budget or {}), "the policy", "function")
  elseif o.policy == "pareto" then
    check_reach(p)
    plan = plan_of(p, hwb.engine.quant.solve(engine_problem(p), o.node_limit), "pareto")
  elseif o.policy == "hawq_v1" then
    check_reach(p)
    local lambda, n = eigenvalues(p)
    plan = plan_of(p, hwb.engine.quant.hawq_v1(engine_problem(p), lambda, n, o.node_limit), "hawq_v1")
  else
    error(('allocate: policy must be "pareto", "hawq_v1" or a function, not %s')
      :format(tostring(o.policy)), 2)
  end
  if o.frontier then
    plan.frontier, plan.frontier_exact, plan.frontier_epsilon = frontier_of(p, o.max_points)
  end
  return plan
end

local function inherit(plan, given)
  local o = {}
  for _, k in ipairs{ "choices", "ties", "activations" } do o[k] = plan[k] end
  for k, v in pairs(given or {}) do o[k] = v end
  return o
end

--- The control experiment: the plan's bits dealt out against the sensitivities, at
-- no more than the plan's size.
function allocate.reverse(layers, plan, given)
  local p = problem(layers, read("reverse", inherit(plan, given)))
  local choice = choice_of(p, plan.bits, "the plan")
  local a = hwb.engine.quant.reverse(engine_problem(p, true), p.factor, choice)
  a.optimal, a.bound, a.nodes = nil, nil, nil
  return plan_of(p, a, "reverse")
end

--- The plan that gives every layer the same bits.
function allocate.uniform(layers, bits, given)
  local all = {}
  for i, l in ipairs(layers) do all[name_of(l, i)] = bits end
  return allocate.evaluate(layers, all, given)
end

--- Omega, size and the like of bits = {[name] = bits} or a list.
function allocate.evaluate(layers, bits, given)
  return evaluated(problem(layers, read("evaluate", given)), bits, "the table", "given")
end

return allocate
