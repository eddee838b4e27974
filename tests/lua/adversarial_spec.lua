-- Attacks against their closed forms on linear networks, and in training.
local nn = hwb.nn
local adversarial = hwb.adversarial

local D, N = 6, 40

-- Two classes by z = (0, w x + b): with s = +1 for the second and -1 for the first, an
-- image's loss is log(1 + exp(-s (w x + b))).
local function two_classes()
  hwb.manual_seed(3)
  local m = nn.Linear{ D, 2 }:to("float64")
  local w, b = hwb.randn(D):to("float64"), 0.3
  m.weight:zero_()
  for i = 1, D do m.weight[{ 2, i }] = w[i] end
  m.bias:copy_(hwb.tensor({ 0, b }, { dtype = "float64" }))
  local x = hwb.randn(N, D):to("float64")
  local y = hwb.randint(1, 2, N)
  local s = (y:to("float64") * 2 - 3):reshape(N, 1)
  local margin = s * (x:matmul(w:reshape(D, 1)) + b)
  return m:eval(), x, y, { w = w, s = s, margin = margin, wrong = (margin * -1):sigmoid() }
end

describe("hwb.adversarial on a linear network", function()
  local m, x, y, t = two_classes()
  local row = t.w:reshape(1, D)
  local against = t.s * -1 -- the loss rises along -s w

  it("has the closed forms of its directions", function()
    local o = { eps = 0.2, range = false }
    assert.tensor_near((x + against * row:sign() * 0.2):totable(), adversarial.fgsm(m, x, y, o), { rtol = 1e-12 })
    assert.tensor_near((x + against * row / row:norm():item() * 0.2):totable(), adversarial.l2grad(m, x, y, o),
      { rtol = 1e-12 })
    -- the Hessian is of rank one along w, so H^-1 g is along w too
    assert.tensor_near(adversarial.fgsm(m, x, y, o):totable(), adversarial.fhsm(m, x, y, o), { rtol = 1e-12 })
    assert.tensor_near(adversarial.l2grad(m, x, y, o):totable(), adversarial.l2hess(m, x, y, o), { rtol = 1e-9 })
    -- steps in one direction add up
    assert.tensor_near(adversarial.fgsm(m, x, y, o):totable(), adversarial.fgsm10(m, x, y, o), { rtol = 1e-12 })
    assert.tensor_near(adversarial.fgsm(m, x, y, o):totable(), adversarial.pgd(m, x, y, o), { rtol = 1e-12 })
    -- ... unless they end before the box does
    local short = adversarial.pgd(m, x, y, { eps = 0.2, range = false, steps = 3, step = 0.01 })
    assert.tensor_near((x + against * row:sign() * 0.03):totable(), short, { rtol = 1e-12 })
  end)

  it("solves with the Hessian of each image", function()
    -- g = -s wrong w,  H = wrong (1 - wrong) w w':  H^+ g = -s w / ((1 - wrong) |w|^2)
    local z, how = adversarial.newton(m, x, y)
    local want = against * row / ((t.wrong * -1 + 1) * row:square():sum():item())
    assert.tensor_near(want:totable(), z, { rtol = 1e-9, atol = 1e-12 })
    assert.is_true(how.iterations <= 2 and how.stopped == 0 and how.residual < 1e-3)
    -- with damping d: g / (wrong (1 - wrong) |w|^2 + d)
    local ww, damped = row:square():sum():item(), adversarial.newton(m, x, y, { damping = 0.5 })
    local g = against * t.wrong * row
    assert.tensor_near((g / (t.wrong * (t.wrong * -1 + 1) * ww + 0.5)):totable(), damped, { rtol = 1e-9, atol = 1e-12 })
  end)

  it("counts the images that eps turns over", function()
    local eps = { 0, 0.05, 0.1, 0.2, 0.4 }
    local l1, l2 = row:abs():sum():item(), row:norm():item()
    for method, norm in pairs{ fgsm = l1, fgsm10 = l1, pgd = l1, fhsm = l1, l2grad = l2, l2hess = l2 } do
      local rows = adversarial.accuracy(m, { x, y }, { eps = eps, method = method, range = false, batch = 16 })
      for i, e in ipairs(eps) do
        assert.equal(e, rows[i].eps)
        assert.near(t.margin:gt(e * norm):to("float64"):mean():item(), rows[i].accuracy, 1e-12)
      end
      assert.is_true(rows[1].accuracy > rows[5].accuracy)
      assert.equal(N, rows[1].count)
    end
  end)

  it("says how steep and curved the loss is", function()
    local s = adversarial.input_curvature(m, { x, y }, { batch = 16 })
    local ww = row:square():sum():item()
    local lambda = t.wrong * (t.wrong * -1 + 1) * ww
    assert.near(t.wrong:mean():item() * math.sqrt(ww), s.gradient, 1e-9)
    assert.near(lambda:mean():item(), s.lambda, 1e-9)
    assert.near(lambda:max():item(), s.lambda_max, 1e-9)
  end)

  it("keeps pixels where they may be", function()
    local z = adversarial.fgsm(m, x, y, { eps = 5 })
    assert.near(x:max():item(), z:max():item(), 1e-12)
    assert.near(x:min():item(), z:min():item(), 1e-12)
    local lo, hi = hwb.full({ 1, D }, -1):to("float64"), hwb.full({ 1, D }, 1.5):to("float64")
    z = adversarial.pgd(m, x:clamp(-1, 1.5), y, { eps = 5, range = { lo, hi } })
    assert.is_true(z:max():item() <= 1.5 and z:min():item() >= -1)
    local a = adversarial.pgd(m, x, y, { eps = 0.3, steps = 1, step = 0.1, random = 7, range = false })
    local b = adversarial.pgd(m, x, y, { eps = 0.3, steps = 1, step = 0.1, random = 7, range = false })
    assert.equal(a, b)
    assert.is_true((a - x):abs():max():item() <= 0.3 + 1e-12)
    assert.is_true((a - x - against * row:sign() * 0.1):abs():max():item() > 0.05)
  end)

  it("says what is wrong", function()
    assert.error_matches(function() adversarial.accuracy(m, { x, y }, { eps = { 0 }, method = "fgms" }) end, "fgms")
    assert.error_matches(function() adversarial.accuracy(m, { x, y }, { eps = { 0 }, methods = 1 }) end, "methods")
  end)
end)

describe("the solve with the input's Hessian", function()
  -- z = M x and the mean square of z - target: H^-1 g = x - M^-1 target
  it("is exact for a quadratic loss", function()
    hwb.manual_seed(5)
    local m = nn.Linear{ D, D, bias = false }:to("float64"):eval()
    m.weight:copy_(hwb.eye(D):to("float64") + hwb.randn(D, D):to("float64") * 0.1)
    local x, star = hwb.randn(9, D):to("float64"), hwb.randn(9, D):to("float64")
    local z, how = adversarial.newton(m, x, m(star), { loss = "mse", tol = 1e-12, maxiter = 30 })
    assert.tensor_near((x - star):totable(), z, { rtol = 1e-8, atol = 1e-10 })
    assert.is_true(how.iterations <= D + 2)
  end)

  it("takes the gradient where the loss is concave, image by image", function()
    local m = nn.Linear{ 2, 2, bias = false }:to("float64"):eval()
    m.weight:copy_(hwb.eye(2):to("float64"))
    -- loss of an image: c |x|^2, c = -1 or 1 by its label
    local function loss(z, y)
      local c = (y:to("float64") * 2 - 3):reshape(-1, 1)
      return (z * z * c):sum() / z:size(1)
    end
    local x = hwb.tensor({ { 1, 2 }, { 3, 4 } }, { dtype = "float64" })
    local z, how = adversarial.newton(m, x, hwb.tensor({ 1, 2 }, { dtype = "int64" }), { loss = loss })
    assert.equal(1, how.concave)
    assert.tensor_near({ { -2, -4 }, { 3, 4 } }, z, { rtol = 1e-12 })
  end)

  it("raises the loss of a network with kinks, alone as in a batch", function()
    hwb.manual_seed(6)
    local m = hwb.models.mlp{ sizes = { D, 16, 3 } }:eval()
    local x, y = hwb.randn(12, D), hwb.randint(1, 3, 12)
    local before = hwb.cross_entropy(m(x), y):item()
    for _, method in ipairs(adversarial.methods) do
      local o = { eps = 0.05, range = false }
      local z = adversarial[method](m, x, y, o)
      assert.is_true(hwb.cross_entropy(m(z), y):item() > before)
      local alone = adversarial[method](m, x:narrow(1, 4, 1), y:narrow(1, 4, 1), o)
      assert.tensor_near(alone:totable(), z:narrow(1, 4, 1), { rtol = 1e-4, atol = 1e-5 })
    end
  end)
end)

describe("hwb.train with adversarial images", function()
  local _, x, y = two_classes()

  it("attacks the first images of each micro-batch", function()
    local m, other = two_classes(), two_classes()
    hwb.train{ model = m, data = { x, y }, batch = N, shuffle = false, optimizer = hwb.optim.sgd{ lr = 1 },
      adversarial = { ratio = 0.3, eps = 0.1 } }
    local k = 12 -- 0.3 of 40
    local z = adversarial.fgsm(other, x:narrow(1, 1, k), y:narrow(1, 1, k), { eps = 0.1 })
    local seen = hwb.cat({ z, x:narrow(1, k + 1, N - k) }, 1)
    local _, g = hwb.hessian(other, { data = { seen, y } }):gradient()
    assert.tensor_near((other:flat_parameters() - g):totable(), m:flat_parameters(), { rtol = 1e-12, atol = 1e-14 })
  end)

  it("less after each epoch, and not at all in the end", function()
    local function train(o)
      local m = two_classes()
      return hwb.train{ model = m, data = { x, y }, batch = 8, epochs = 5, optimizer = hwb.optim.sgd{ lr = 0.1 },
        adversarial = o }
    end
    local h = train{ ratio = 0.8, method = "pgd", steps = 3, eps = 0.5, decay = 2, stop = 3 }
    local seen = {}
    for i, r in ipairs(h) do seen[i] = r.attacked end
    assert.same({ 0.8, 0.4, 0.2, 0, 0 }, seen)
    assert.is_true(h[1].loss > train()[1].loss)
    assert.error_matches(function() train{ ratio = 2 } end, "within 0..1")
    assert.error_matches(function() train{ ratio = 0.1, method = "none" } end, '"none"')
    assert.error_matches(function()
      hwb.train{ model = two_classes(), data = { x, y }, batch = 8, optimizer = hwb.optim.sgd{ lr = 0.1 },
        adversarial = { ratio = 0.1 }, controller = hwb.batch.absa{ base = 8, max = 8 } }
    end, "controller")
  end)
end)
