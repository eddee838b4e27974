--- Which bits for which layer: problems and plans of hwb.hawq.allocate.
--
-- Records are the plain tables of hwb.hawq.sensitivity (or of a file):
--   {name=, n=, avg_trace= or lambda=, dw2={[2]=,[4]=,...}, macs=, latency={[4]=,...}}
-- and minimised is Omega = sum of avg_trace * dw2[bits]; records that have only
-- eigenvalues use lambda in its place (HAWQ-V1's Omega_i = lambda |Q(W) - W|^2).
-- The search itself is in the engine (quant/allocate.c, branch.c, pareto.c).

local hwb = require "hwb"
local options = require "hwb.nn.options"
local problem = require "hwb.allocate_problem"

local allocate = {}

local fail, name_of, finite = problem.fail, problem.name_of, problem.finite

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
  local f = hwb.engine.quant.frontier(problem.for_engine(p, true), 1, max_points)
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
    local point = { size_mib = cost / problem.BITS_PER_MIB, omega = omega }
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
  local n = problem.total_numbers(p.layers)
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
      v[c.name] = { limit = p.limit[k] / problem.SLACK / c.unit, value = a.cost[k] / c.unit }
    end
  end
  return v
end

local function evaluated(p, bits, who, policy)
  local a = hwb.engine.quant.evaluate(problem.for_engine(p, true), choice_of(p, bits, who))
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
  local is_bits = math.type(a) == "integer" and a >= 1 and a <= 64
  if a ~= "same" and type(a) ~= "table" and not is_bits then
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
  local p, plan = problem.of(layers, o)
  if type(o.policy) == "function" then
    plan = evaluated(p, o.policy(layers, o.budget or {}), "the policy", "function")
  elseif o.policy == "pareto" then
    problem.check_reach(p)
    plan = plan_of(p, hwb.engine.quant.solve(problem.for_engine(p), o.node_limit), "pareto")
  elseif o.policy == "hawq_v1" then
    problem.check_reach(p)
    local lambda, n = eigenvalues(p)
    plan = plan_of(p, hwb.engine.quant.hawq_v1(problem.for_engine(p), lambda, n, o.node_limit), "hawq_v1")
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
  local p = problem.of(layers, read("reverse", inherit(plan, given)))
  local choice = choice_of(p, plan.bits, "the plan")
  local a = hwb.engine.quant.reverse(problem.for_engine(p, true), p.factor, choice)
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
  return evaluated(problem.of(layers, read("evaluate", given)), bits, "the table", "given")
end

return allocate
