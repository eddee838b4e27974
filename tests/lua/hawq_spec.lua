-- Allocation of bits: published answers, brute force, policies, errors; and the
-- sensitivities that it starts from.

local function published()
  local data = os.getenv("HWB_TEST_DATA")
  local f = data and io.open(data .. "/hawq_v3_resnet18.json")
  if not f then return nil end
  local d = hwb.json.decode(f:read("a"))
  f:close()
  local layers, ties = {}, {}
  for i, n in ipairs(d.parameters) do
    layers[i] = {
      name = "layer" .. i, n = n, macs = d.macs[i], avg_trace = d.average_trace[i],
      dw2 = { [4] = d.delta_w_sq_4bit[i], [8] = d.delta_w_sq_8bit[i] },
      latency = { [4] = d.latency_int4_ms[i], [8] = d.latency_int8_ms[i] },
    }
  end
  for i, t in ipairs(d.ties_0based) do ties[i] = { t[1] + 1, t[2] + 1 } end
  return d, layers, ties
end

local function text_of(layers, plan)
  local t = {}
  for i, l in ipairs(layers) do t[i] = plan.bits[l.name] end
  return table.concat(t)
end

-- A deterministic stream of numbers in [0, 1).
local function stream(seed)
  local s = seed
  return function()
    s = (s * 1103515245 + 12345) & 0x7fffffff
    return s / 0x80000000
  end
end

local function random_layers(seed, count, choices)
  local rand, layers = stream(seed), {}
  for i = 1, count do
    local l = { name = "l" .. i, n = math.floor(1 + 900 * rand()), macs = math.floor(1 + 5000 * rand()),
      avg_trace = rand() + 0.01, dw2 = {}, latency = {} }
    for _, b in ipairs(choices) do
      l.dw2[b] = l.n * 4.0 ^ -b * (0.5 + rand())
      l.latency[b] = rand() + b / 8
    end
    layers[i] = l
  end
  return layers
end

-- Visits every setting of the layers: f(bits list).
local function every(count, choices, f)
  local bits = {}
  local function go(i)
    if i > count then return f(bits) end
    for _, b in ipairs(choices) do
      bits[i] = b
      go(i + 1)
    end
  end
  go(1)
end

local function totals(layers, bits)
  local t = { omega = 0, size_mib = 0, bops = 0, latency_ms = 0 }
  for i, l in ipairs(layers) do
    t.omega = t.omega + l.avg_trace * l.dw2[bits[i]]
    t.size_mib = t.size_mib + l.n * bits[i] / 8 / 2 ^ 20
    t.bops = t.bops + l.macs * bits[i] * bits[i]
    t.latency_ms = t.latency_ms + l.latency[bits[i]]
  end
  return t
end

describe("hwb.hawq.allocate", function()
  it("finds the published answers under all nine constraints", function()
    local d, layers, ties = published()
    if not d then pending("set HWB_TEST_DATA to a folder with hawq_v3_resnet18.json") return end
    local low, high = hwb.hawq.uniform(layers, 4), hwb.hawq.uniform(layers, 8)
    assert.near(1.307713, low.omega, 1e-6)
    assert.near(0.004258, high.omega, 1e-6)
    local field = { size = "size_mib", bops = "bops", latency = "latency_ms" }
    for _, e in ipairs(d.expected) do
      local k = field[e.constraint]
      local plan = hwb.hawq.allocate(layers, { choices = { 4, 8 }, ties = ties,
        budget = { [k] = low[k] + e.fraction * (high[k] - low[k]) } })
      assert.equal(e.bits, text_of(layers, plan))
      assert.near(e.omega, plan.omega, 1e-6)
      assert.is_true(plan.optimal)
      assert.equal(29, #plan.frontier)
    end
  end)

  it("lists the whole frontier, and every budget's optimum lies on it", function()
    local choices = { 2, 4, 8 }
    local layers = random_layers(5, 6, choices)
    local points = {}
    every(6, choices, function(bits)
      local t = totals(layers, bits)
      points[#points + 1] = { t.size_mib, t.omega }
    end)
    table.sort(points, function(a, b)
      if a[1] ~= b[1] then return a[1] < b[1] end
      return a[2] < b[2]
    end)
    local best, want = math.huge, {}
    for _, p in ipairs(points) do
      if p[2] < best * (1 - 1e-12) then
        best = p[2]
        want[#want + 1] = p
      end
    end
    local plan = hwb.hawq.allocate(layers, { choices = choices, budget = { size_mib = want[9][1] } })
    assert.equal(#want, #plan.frontier)
    for i, p in ipairs(plan.frontier) do
      assert.near(want[i][1], p.size_mib, 1e-12)
      assert.near(want[i][2], p.omega, 1e-9 * want[i][2])
      local bits = {}
      for k, l in ipairs(layers) do bits[k] = p.bits[l.name] end
      assert.near(p.omega, totals(layers, bits).omega, 1e-9 * p.omega)
    end
    assert.near(want[9][2], plan.omega, 1e-9 * plan.omega)
    assert.is_true(plan.frontier_exact)
  end)

  it("equals brute force under several budgets with ties", function()
    local choices = { 2, 3, 4, 8 }
    for seed = 1, 12 do
      local layers = random_layers(seed, 5, choices)
      local mid = totals(layers, { 4, 4, 4, 4, 4 })
      local budget = { size_mib = mid.size_mib * 1.1, bops = mid.bops * 1.05, latency_ms = mid.latency_ms * 1.02 }
      local best = math.huge
      every(5, choices, function(bits)
        local t = totals(layers, bits)
        if bits[2] == bits[4] and t.size_mib <= budget.size_mib and t.bops <= budget.bops
          and t.latency_ms <= budget.latency_ms then
          best = math.min(best, t.omega)
        end
      end)
      local plan = hwb.hawq.allocate(layers, { choices = choices, budget = budget, ties = { { 2, "l4" } } })
      assert.near(best, plan.omega, 1e-9 * best)
      assert.equal(plan.bits.l2, plan.bits.l4)
      assert.is_true(plan.size_mib <= budget.size_mib and plan.bops <= budget.bops)
    end
  end)

  it("counts compression, sizes and bit operations as the papers do", function()
    local layers = random_layers(3, 4, { 4, 8 })
    local n = 0
    for _, l in ipairs(layers) do n = n + l.n end
    local plan = hwb.hawq.uniform(layers, 4)
    assert.near(n * 4 / 8 / 2 ^ 20, plan.size_mib, 1e-15)
    assert.near(8, plan.compression, 1e-12)
    assert.near(4, plan.average_bits, 1e-12)
    assert.equal("4444", text_of(layers, hwb.hawq.allocate(layers, { budget = { compression = 8 } })))
    local macs = 0
    for _, l in ipairs(layers) do macs = macs + l.macs end
    assert.equal(16 * macs, plan.bops)
    assert.equal(32 * macs, hwb.hawq.uniform(layers, 4, { activations = 8 }).bops)
  end)

  it("takes records from JSON, whose keys are texts", function()
    local layers = hwb.json.decode('[{"name":"a","n":10,"avg_trace":1,"dw2":{"2":4,"8":0.1}}]')
    assert.equal(8, hwb.hawq.allocate(layers, {}).bits.a)
  end)

  it("says what the smallest reachable budget is", function()
    local layers = random_layers(4, 3, { 4, 8 })
    local least = hwb.hawq.uniform(layers, 4)
    local ok, message = pcall(hwb.hawq.allocate, layers, { budget = { size_mib = least.size_mib / 2 } })
    assert.is_false(ok)
    assert.truthy(message:find("smallest reachable is " .. ("%.6g"):format(least.size_mib), 1, true))
    layers[2].latency = nil
    assert.error_matches(function() hwb.hawq.allocate(layers, { budget = { latency_ms = 1 } }) end, "needs latency")
    assert.error_matches(function() hwb.hawq.allocate(layers, { budget = { mb = 1 } }) end, "unknown budget")
    assert.error_matches(function() hwb.hawq.allocate(layers, { bugdet = {} }) end, "unknown option")
    assert.error_matches(function() hwb.hawq.allocate(layers, { choices = { 5 } }) end, "no dw2%[5%]")
    layers[1].avg_trace = 0 / 0
    assert.error_matches(function() hwb.hawq.allocate(layers, {}) end, "l1 has no finite avg_trace")
  end)

  it("counts negative traces as zero, and says so", function()
    local layers = random_layers(6, 3, { 4, 8 })
    layers[2].avg_trace = -0.5
    local plan = hwb.hawq.allocate(layers, {})
    assert.equal(1, #plan.notes)
    assert.matches("l2: negative average trace", plan.notes[1])
    assert.near(totals(layers, { 8, 8, 8 }).omega + 0.5 * layers[2].dw2[8], plan.omega, 1e-12)
    assert.error_matches(function() hwb.hawq.allocate(layers, { negative = "error" }) end, "negative average trace")
    local absolute = hwb.hawq.allocate(layers, { negative = "absolute" })
    assert.near(plan.omega + 0.5 * layers[2].dw2[8], absolute.omega, 1e-12)
  end)

  describe("policies", function()
    local layers = random_layers(9, 5, { 2, 4, 8 })
    local half = hwb.hawq.uniform(layers, 4)

    it("may be plain functions", function()
      local seen
      local plan = hwb.hawq.allocate(layers, { budget = { size_mib = half.size_mib }, policy = function(list, budget)
        seen = budget.size_mib
        local bits = {}
        for _, l in ipairs(list) do bits[l.name] = 4 end
        return bits
      end })
      assert.equal(half.size_mib, seen)
      assert.equal("44444", text_of(layers, plan))
      assert.near(half.omega, plan.omega, 1e-12)
      assert.is_nil(plan.violates)
    end)

    it("are checked", function()
      local function with(bits, more)
        return function()
          local o = { policy = function() return bits end, ties = { { 1, 2 } } }
          for k, v in pairs(more or {}) do o[k] = v end
          return hwb.hawq.allocate(layers, o)
        end
      end
      assert.error_matches(with{ 4, 4, 4, 4 }, "gave no bits for layer l5")
      assert.error_matches(with{ 4, 4, 4, 4, 5 }, "gave layer l5 5 bits")
      assert.error_matches(with{ 4, 8, 4, 4, 4 }, "tied layers l1 and l2")
      assert.error_matches(with{ 4, 4, 4, 4, 4, zz = 4 }, "zz, which is no layer")
      assert.error_matches(with(nil), "not a table")
      local plan = with({ 8, 8, 8, 8, 8 }, { budget = { size_mib = half.size_mib } })()
      assert.near(half.size_mib, plan.violates.size_mib.limit, 1e-9)
      assert.near(2 * half.size_mib, plan.violates.size_mib.value, 1e-9)
    end)

    it("hawq_v1 keeps the order of lambda / n", function()
      local list = random_layers(11, 6, { 2, 4, 8 })
      for i, l in ipairs(list) do l.lambda = i * 3 % 7 * l.n end
      local size = hwb.hawq.uniform(list, 4).size_mib
      local plan = hwb.hawq.allocate(list, { policy = "hawq_v1", budget = { size_mib = size } })
      for _, a in ipairs(list) do
        for _, b in ipairs(list) do
          if a.lambda / a.n > b.lambda / b.n then assert.is_true(plan.bits[a.name] >= plan.bits[b.name]) end
        end
      end
      local free = hwb.hawq.allocate(list, { budget = { size_mib = size } })
      assert.is_true(free.omega <= plan.omega)
      list[1].lambda = nil
      assert.error_matches(function() hwb.hawq.allocate(list, { policy = "hawq_v1" }) end, "lambda")
    end)

    it("from the library keep the budget", function()
      local best = hwb.hawq.allocate(layers, { budget = { size_mib = half.size_mib } })
      for _, name in ipairs{ "greedy", "uniform", "smallest_first" } do
        local plan = hwb.hawq.allocate(layers, { budget = { size_mib = half.size_mib },
          policy = hwb.policies[name] })
        assert.is_nil(plan.violates)
        assert.is_true(plan.omega >= best.omega * (1 - 1e-12))
      end
    end)

    it("reverse deals the bits out against the sensitivities", function()
      local plan = hwb.hawq.allocate(layers, { budget = { size_mib = half.size_mib } })
      local back = hwb.hawq.reverse(layers, plan)
      assert.is_true(back.size_mib <= plan.size_mib)
      assert.is_true(back.omega >= plan.omega)
    end)
  end)
end)

describe("hwb.hawq.sensitivity", function()
  local function setup()
    hwb.manual_seed(7)
    local m = hwb.models.mlp{ sizes = { 6, 8, 3 }, activation = "tanh" }:to("float64")
    local x = hwb.randn(20, 6):to("float64")
    local y = hwb.randint(1, 3, 20)
    return m, { x, y }
  end

  it("agrees with the dense Hessian of every layer", function()
    local m, data = setup()
    local records = hwb.hawq.sensitivity(m, { data = data, metric = "both", choices = { 2, 4 }, tol = 0.02,
      max_probes = 2000, eig_tol = 1e-6, maxiter = 300 })
    assert.equal(2, #records)
    local H = hwb.hessian(m, { data = data })
    for i, r in ipairs(records) do
      local block = H:block(r.weight)
      local dense = block:apply(hwb.eye(block.n):to("float64"))
      local trace, values = 0, (hwb.eigh(dense)):totable()
      local largest = 0
      for k = 1, block.n do trace = trace + dense[k][k] end
      for _, v in ipairs(values) do if math.abs(v) > math.abs(largest) then largest = v end end
      assert.near(trace / r.n, r.avg_trace, 5 * r.stderr + 1e-12)
      assert.near(largest, r.lambda, 1e-3 * math.abs(largest))
      assert.equal(m:get(r.weight):numel(), r.n)
      assert.near(hwb.quant.error(m:get(r.weight), 4), r.dw2[4], 1e-15)
      assert.equal(r.n, r.macs)
      assert.equal("layer." .. (i - 1), r.name)
    end
  end)

  it("predicts the loss change of one layer by its exact curvature", function()
    local m, data = setup()
    local before = m:flat_parameters()
    local records = hwb.hawq.sensitivity(m, { data = data, choices = { 8 } })
    local rows, correlations = hwb.hawq.loss_change(m, records, { data = data, choices = { 8 } })
    for _, row in ipairs(rows) do
      assert.near(row.measured, row.predicted, 1e-2 * math.abs(row.measured) + 1e-9)
      local w = m:get(row.name .. ".weight")
      local d = (hwb.quant.fake(w, 8) - w):reshape(-1)
      assert.near(0.5 * hwb.ggn(m, { data = data }):block(row.name .. ".weight"):quadratic(d), row.ggn, 1e-14)
      assert.near(0.5 * hwb.fisher(m, { data = data }):block(row.name .. ".weight"):quadratic(d), row.fisher, 1e-14)
      assert.is_true(row.ggn >= 0 and row.fisher >= 0)
    end
    assert.is_number(correlations[8].predicted)
    local exact = hwb.hawq.second_order(records, rows)
    for i, row in ipairs(rows) do
      assert.equal(math.max(0, row.predicted), exact[i].avg_trace * exact[i].dw2[8])
    end
    assert.near(hwb.hawq.allocate(exact, { choices = { 8 } }).omega,
      math.max(0, rows[1].predicted) + math.max(0, rows[2].predicted), 1e-12)
    assert.error_matches(function() hwb.hawq.second_order(records, {}) end, "no loss change of layer")
    assert.near(0, (m:flat_parameters() - before):abs():max():item(), 0)
  end)

  it("gives cross-layer terms whose sum is the whole quadratic change", function()
    local m, data = setup()
    local records = hwb.hawq.sensitivity(m, { data = data, choices = { 3 } })
    local plan = {}
    for _, r in ipairs(records) do plan[r.name] = 3 end
    local matrix, total = hwb.hawq.cross_terms(m, records, plan, { data = data }), 0
    for i = 1, #records do
      for j = 1, #records do
        total = total + matrix[i][j]
        assert.near(matrix[i][j], matrix[j][i], 1e-9)
      end
    end
    local H = hwb.hessian(m, { data = data })
    local d, first = hwb.zeros(H.n, { dtype = "float64" }), {}
    for _, p in ipairs(H:parameters()) do first[p.name] = p.first end
    for _, r in ipairs(records) do
      local w = m:get(r.weight)
      d:narrow(1, first[r.weight], r.n):copy_((hwb.quant.fake(w, 3) - w):reshape(r.n))
    end
    assert.near(0.5 * H:quadratic(d), total, 1e-10)
  end)

  it("estimates activation traces within their errors", function()
    local m, data = setup()
    local records = hwb.hawq.sensitivity(m, { data = data, choices = { 8 } })
    hwb.hawq.activation_sensitivity(m, records, { data = data, probes = 200 })
    local samples = data[1]:size(1)
    for _, r in ipairs(records) do
      local A = hwb.hessian(m, { data = data }):activation(r.name)
      local dense, exact = A:apply(hwb.eye(A.n, { dtype = "float64" })), 0
      for k = 1, A.n do exact = exact + dense[{ k, k }] end
      assert.equal(A.n, r.act_n * samples)
      assert.is_true(math.abs(r.act_trace - exact / r.act_n) <= 4 * r.act_stderr + 1e-12)
    end
  end)
end)
