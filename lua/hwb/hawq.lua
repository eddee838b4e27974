--- HAWQ: how sensitive each layer is, and how many bits it gets.
--
-- Records are plain tables, so that they can come from a model, a file or a
-- publication:
--   {name=, n=, macs=, avg_trace=, stderr=, lambda=, dw2={[2]=,[4]=,[8]=}, latency={...}}
--
-- HAWQ-V1 (Dong et al. 2019) ranks by lambda/n; HAWQ-V2 (Dong et al. 2020)
-- minimises Omega = sum of avg_trace * ||Q(W) - W||^2 under a budget.

local hwb = require "hwb"
local options = require "hwb.nn.options"

local hawq = {}

---------------------------------------------------------------------------
-- sensitivities

local function weight_names(layers)
  local names = {}
  for i, l in ipairs(layers) do names[i] = l.weight end
  return names
end

local function quantization_errors(w, choices, spec)
  local dw2 = {}
  for _, bits in ipairs(choices) do dw2[bits] = hwb.quant.error(w, bits, spec) end
  return dw2
end

-- A reduction of the operator's options to those of a curvature operator.
local function operator(m, o)
  local kinds = { hessian = true, ggn = true, fisher = true }
  if not kinds[o.kind] then
    error(('kind must be "hessian", "ggn" or "fisher", not %q'):format(tostring(o.kind)), 3)
  end
  return hwb[o.kind](m, { data = o.data, loss = o.loss, bn = o.bn, micro = o.micro })
end

local function add_traces(records, H, o)
  local list = H:block_traces(weight_names(records),
    { tol = o.tol, max_isolated = o.max_probes, seed = o.seed, joint = o.joint })
  for i, r in ipairs(records) do
    local t = list[i]
    r.trace, r.trace_stderr = t.mean, t.stderr
    r.avg_trace, r.stderr = t.mean / r.n, t.stderr / r.n
    r.joint_probes, r.isolated_probes = t.joint_probes, t.isolated_probes
  end
end

local function add_eigenvalues(records, H, o)
  local list = H:block_eigs(weight_names(records),
    { k = 1, which = "LM", tol = o.eig_tol, maxiter = o.maxiter, seed = o.seed })
  for i, r in ipairs(records) do
    r.lambda, r.lambda_residual = list[i].values[1], list[i].residuals[1]
  end
end

--- Sensitivity records of every quantizable layer, in forward order.
-- Options: data (needed), choices={2,4,8}, metric="trace"|"eigenvalue"|"both",
-- kind="hessian"|"ggn"|"fisher", loss, bn, micro, tol=0.05, max_probes=100,
-- joint=10, eig_tol=1e-2, maxiter=50, seed=0, scheme="symmetric",
-- granularity="channel", range="minmax".
function hawq.sensitivity(m, given)
  local o = options("sensitivity", given, { "data" }, {
    choices = { 2, 4, 8 }, metric = "trace", kind = "hessian", loss = "cross_entropy",
    bn = "eval", micro = 0, tol = 0.05, max_probes = 100, joint = 10, eig_tol = 1e-2,
    maxiter = 50, seed = 0, scheme = "symmetric", granularity = "channel", range = "minmax",
    input = false,
  })
  if not hwb.nn.Module.is_module(m) then error("sensitivity: a model is wanted, not " .. type(m), 2) end
  local metrics = { trace = true, eigenvalue = true, both = true }
  if not metrics[o.metric] then
    error(('sensitivity: metric must be "trace", "eigenvalue" or "both", not %q')
      :format(tostring(o.metric)), 2)
  end
  local spec = { scheme = o.scheme, granularity = o.granularity, range = o.range }
  local records = {}
  for i, l in ipairs(m:layers(o.input or nil)) do
    records[i] = {
      name = l.name, weight = l.weight, n = l.n, macs = l.macs, out = l.out,
      dw2 = quantization_errors(m:get(l.weight), o.choices, spec),
    }
  end
  local H = operator(m, o)
  if o.metric ~= "eigenvalue" then add_traces(records, H, o) end
  if o.metric ~= "trace" then add_eigenvalues(records, H, o) end
  return records
end

---------------------------------------------------------------------------
-- the second-order loss change itself

local function spearman(a, b)
  local function ranks(v)
    local order, r = {}, {}
    for i = 1, #v do order[i] = i end
    table.sort(order, function(i, j) return v[i] < v[j] end)
    local i = 1
    while i <= #v do -- equal values share their mean rank
      local j = i
      while j < #v and v[order[j + 1]] == v[order[i]] do j = j + 1 end
      for k = i, j do r[order[k]] = (i + j) / 2 end
      i = j + 1
    end
    return r
  end
  local ra, rb, n = ranks(a), ranks(b), #a
  local mean, sa, sb, sab = (n + 1) / 2, 0, 0, 0
  for i = 1, n do
    local x, y = ra[i] - mean, rb[i] - mean
    sa, sb, sab = sa + x * x, sb + y * y, sab + x * y
  end
  return sa > 0 and sb > 0 and sab / math.sqrt(sa * sb) or 0 / 0
end
hawq.spearman = spearman

--- Loss change of quantizing one layer alone, for every (layer, bits):
--   linear     g' dW
--   quadratic  dW' H dW / 2        (one Hessian-vector product)
--   isotropic  avg_trace |dW|^2 / 2    (HAWQ-V2's model)
--   ggn, fisher   as quadratic, with those matrices (`variants`)
--   measured   L(W + dW) - L(W)
-- Returns rows {name=, bits=, linear=, quadratic=, predicted=, isotropic=, measured=}
-- and, for each number of bits, the rank correlation of each with the measured one.
function hawq.loss_change(m, records, given)
  local o = options("loss_change", given, { "data" }, {
    choices = { 2, 4, 8 }, loss = "cross_entropy", bn = "eval", micro = 0, kind = "hessian",
    scheme = "symmetric", granularity = "channel", range = "minmax", variants = { "ggn", "fisher" },
  })
  local spec = { scheme = o.scheme, granularity = o.granularity, range = o.range }
  local H, variants = operator(m, o), {}
  for _, kind in ipairs(o.variants) do
    variants[kind] = operator(m, { kind = kind, data = o.data, loss = o.loss, bn = o.bn, micro = o.micro })
  end
  local _, g = H:gradient()
  local function loss() -- a forward pass where that gives the same loss as H's
    if o.bn ~= "eval" or type(o.data) ~= "table" then return (H:gradient()) end
    return hwb.evaluate(m, o.data, { loss = o.loss, batch = o.micro > 0 and o.micro or nil }).loss
  end
  local base = loss()
  local offset = {}
  for _, p in ipairs(H:parameters()) do offset[p.name] = p.first end
  local function changes(w, n) -- quantized weights, and dW of each choice as a row
    local quantized, change = {}, {}
    for i, bits in ipairs(o.choices) do
      quantized[i] = hwb.quant.fake(w, bits, spec)
      change[i] = (quantized[i] - w):reshape(n)
    end
    return quantized, change
  end
  local function vectors(l)
    local _, change = changes(m:get(records[l].weight), records[l].n)
    return hwb.stack(change)
  end
  -- All curvature before any weight is touched: the blocks then share the primal pass.
  local names, forms = weight_names(records), {}
  forms.quadratic = H:block_quadratics(names, vectors)
  for _, kind in ipairs{ "ggn", "fisher" } do -- in one order on all ranks
    forms[kind] = variants[kind] and variants[kind]:block_quadratics(names, vectors)
  end
  local rows, done = {}, 0
  for l, r in ipairs(records) do
    local w = m:get(r.weight)
    local saved = w:clone()
    local quantized, change = changes(saved, r.n)
    local gl = g:narrow(1, offset[r.weight], r.n)
    for i, bits in ipairs(o.choices) do
      local q, d = quantized[i], change[i]
      local row = { name = r.name, bits = bits, dw2 = r.dw2 and r.dw2[bits] }
      row.linear = (gl * d):sum():item()
      for kind, values in pairs(forms) do row[kind] = 0.5 * values[l][i] end
      row.predicted = row.linear + row.quadratic
      if r.avg_trace and r.dw2 then row.isotropic = 0.5 * r.avg_trace * r.dw2[bits] end
      w:copy_(q)
      row.measured = loss() - base
      w:copy_(saved)
      rows[#rows + 1] = row
      done = done + 1
      hwb.progress("loss changes", done, #records * #o.choices)
    end
  end
  return rows, hawq.correlations(rows, o.choices)
end

--- Records whose Omega is the predicted loss change itself, for hwb.hawq.allocate: rows
-- are those of hwb.hawq.loss_change, and key is "predicted" (g'dW + dW'HdW/2), "quadratic"
-- or "measured".  A predicted gain counts as no change: it is one of these images only.
function hawq.second_order(records, rows, key)
  local by_name, list = {}, {}
  for _, row in ipairs(rows) do
    by_name[row.name] = by_name[row.name] or {}
    by_name[row.name][row.bits] = math.max(0, row[key or "predicted"])
  end
  for i, r in ipairs(records) do
    local copy = {}
    for k, v in pairs(r) do copy[k] = v end
    copy.avg_trace, copy.stderr, copy.dw2 = 1, 0, by_name[r.name]
    if not copy.dw2 then error(("second_order: no loss change of layer %s"):format(r.name), 2) end
    list[i] = copy
  end
  return list
end

--- Rank correlation of each prediction with the measured change, a bit width at a time.
function hawq.correlations(rows, choices)
  local result = {}
  for _, bits in ipairs(choices) do
    local columns = { linear = {}, quadratic = {}, predicted = {}, isotropic = {}, dw2 = {},
      ggn = {}, fisher = {} }
    local measured = {}
    for _, row in ipairs(rows) do
      if row.bits == bits then
        measured[#measured + 1] = row.measured
        for k, c in pairs(columns) do c[#c + 1] = row[k] end
      end
    end
    result[bits] = {}
    for k, c in pairs(columns) do
      if #c == #measured and #c > 1 then result[bits][k] = spearman(c, measured) end
    end
  end
  return result
end

--- Cross-layer terms dW_i' H dW_j / 2 of a plan {name = bits}: the matrix whose sum
-- is the quadratic loss change of quantizing all layers at once.
function hawq.cross_terms(m, records, plan, given)
  local o = options("cross_terms", given, { "data" }, {
    loss = "cross_entropy", bn = "eval", micro = 0, kind = "hessian",
    scheme = "symmetric", granularity = "channel", range = "minmax",
  })
  local spec = { scheme = o.scheme, granularity = o.granularity, range = o.range }
  local H = operator(m, o)
  local offset = {}
  for _, p in ipairs(H:parameters()) do offset[p.name] = p.first end
  local d = {}
  for i, r in ipairs(records) do
    local w = m:get(r.weight)
    d[i] = (hwb.quant.fake(w, plan[r.name], spec) - w):reshape(r.n)
  end
  local matrix = {}
  for i, r in ipairs(records) do
    local v = hwb.zeros(H.n, { dtype = m:dtype() })
    v:narrow(1, offset[r.weight], r.n):copy_(d[i])
    local hv = H:apply(v)
    matrix[i] = {}
    for j, s in ipairs(records) do
      matrix[i][j] = 0.5 * (hv:narrow(1, offset[s.weight], s.n) * d[j]):sum():item()
    end
    hwb.progress("cross terms", i, #records)
  end
  return matrix
end

--- Activation sensitivities: the average trace of the Hessian with respect to
-- each layer's input, per sample, from `probes` Rademacher probes on one batch.
-- Adds act_trace, act_stderr (averages over the input's elements) to the records.
function hawq.activation_sensitivity(m, records, given)
  local o = options("activation_sensitivity", given, { "data" }, {
    loss = "cross_entropy", bn = "eval", probes = 20, seed = 0,
  })
  local H = hwb.hessian(m, { data = o.data, loss = o.loss, bn = o.bn })
  local samples = o.data[1]:size(1)
  local names = {}
  for i, r in ipairs(records) do names[i] = r.name end
  local operators = H:activations(names)
  for i, r in ipairs(records) do
    local A = operators[i]
    local t = A:trace{ tol = 0, max_probes = o.probes, min_probes = o.probes, seed = o.seed + i }
    -- The mean over samples of per-sample traces; n counts all samples' elements.
    r.act_n = A.n // samples
    r.act_trace, r.act_stderr = t.mean / r.act_n, t.stderr / r.act_n
    hwb.progress("activation traces", i, #records)
  end
  return records
end

---------------------------------------------------------------------------
-- allocation

--- Chooses bits: see hwb.engine.allocate.  Options: choices, budget={size_mib=,
-- compression=, bops=, latency_ms=}, ties, policy="pareto"|"hawq_v1"|function,
-- activations=number|"same".
-- Returns {bits={[name]=}, omega=, size_mib=, bops=, latency_ms=, frontier={...}}.
hawq.allocate = require("hwb.allocate").allocate
hawq.reverse = require("hwb.allocate").reverse
hawq.uniform = require("hwb.allocate").uniform
hawq.evaluate = require("hwb.allocate").evaluate

return hawq
