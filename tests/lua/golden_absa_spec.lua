-- Whole trainings with ABSA against PyTorch's (tests/golden/make_absa.py): gradients added
-- up, attacks, momentum, eigenvalues, growth, rates, as published and as exact.
local golden = dofile((os.getenv("HWB_TEST_SOURCE") or ".") .. "/tests/lua/golden.lua")
local nn = hwb.nn

local file = golden.load("absa.json")

local function formula(k, shape, scale, shift)
  return golden.tensor{ k = k, shape = shape, scale = scale, shift = shift or 0 }
end

local function problem()
  local m = nn.Sequential{ nn.Linear{ 5, 8 }, nn.Tanh{}, nn.Linear{ 8, 3 } }:to("float64")
  for i, name in ipairs{ "0.weight", "0.bias", "2.weight", "2.bias" } do
    local p = m:get(name)
    p:copy_(formula(2 + i, p:size(), 1.3))
  end
  local x = formula(1, { 128, 5 }, 0.5, 0.5)
  return m, x, x:narrow(2, 1, 3):argmax(2)
end

local function train(special)
  local m, x, y = problem()
  local o = file.options
  local c = { base = o.base, max = o.max, epochs = o.epochs, patience = o.patience, grow = o.grow, decay = o.decay,
    milestones = o.milestones, attacked = o.attacked, eps = o.eps }
  for k, v in pairs(special(x, y)) do c[k] = v end
  local h = hwb.train{ model = m, data = { x, y }, epochs = o.epochs, batch = o.base, shuffle = false,
    optimizer = hwb.optim.sgd{ lr = file.lr, momentum = file.momentum }, controller = hwb.batch.absa(c) }
  return m, h
end

local function check(case, m, h, tolerance)
  assert.equal(#case.rows, #h)
  for i, want in ipairs(case.rows) do
    local got, where = h[i], "epoch " .. i .. ": "
    assert.equal(want.batch, got.batch)
    assert.equal(want.updates, got.updates)
    golden.assert_near(want.lr, got.lr, 1e-12, where .. "learning rate")
    assert.near(want.attacked, got.attacked, 1e-15)
    golden.assert_near(want.loss, got.loss, tolerance, where .. "loss")
    if want.lambda then golden.assert_near(want.lambda, got.lambda, tolerance * 10, where .. "eigenvalue") end
    assert.equal(want.lambda == nil, got.lambda == nil)
  end
  assert.tensor_near(case.parameters, m:flat_parameters(), { rtol = tolerance, atol = tolerance })
end

describe("ABSA follows PyTorch", function()
  it("as published", function()
    local randn = hwb.randn -- power iteration starts from the probe vector
    rawset(hwb, "randn", function(n) return golden.probe(n) end)
    local ok, m, h = pcall(train, function() return { compat = "hessianflow" } end)
    rawset(hwb, "randn", randn)
    assert(ok, m)
    check(file.hessianflow, m, h, 1e-9)
    local growth = {} -- the case has all three causes: a fall, patience, a negative eigenvalue
    for i = 2, #h do
      if h[i].batch > h[i - 1].batch then growth[#growth + 1] = h[i - 1].lambda end
    end
    assert.equal(3, #growth)
    assert.is_true(growth[1] < h[1].lambda / 2 and growth[2] > growth[1] / 2 and growth[3] < 0)
  end)

  it("with exact eigenvalues and whole epochs", function()
    local m, h = train(function(x, y) return { probe = { x, y }, tol = 1e-10, maxiter = 200 } end)
    check(file.exact, m, h, 1e-7)
    for _, row in ipairs(h) do assert.is_true(row.lambda == nil or row.lambda > 0) end
  end)
end)
