-- Optimizers by hand, training that learns, goes on where it stopped, and hits what it
-- is asked to; evaluation.
local nn = hwb.nn

-- y = x w: one weight row; the loss's gradient is known in closed form.
local function linear_problem()
  hwb.manual_seed(1)
  local m = nn.Linear{ 3, 1, bias = false }:to("float64")
  local x, y = hwb.randn(8, 3):to("float64"), hwb.randn(8, 1):to("float64")
  local function gradient(w)
    return (x:matmul(w:t()) - y):t():matmul(x) * (2 / 8)
  end
  return m, x, y, gradient
end

local function run(optimizer, steps)
  local m, x, y, gradient = linear_problem()
  local start = m.weight:clone()
  hwb.train{ model = m, data = { x, y }, epochs = steps, optimizer = optimizer, loss = "mse" }
  return m.weight, start, gradient
end

-- Two classes of points around (+-1, +-1).
local function clouds(n, seed)
  hwb.manual_seed(seed)
  local y = hwb.randint(1, 2, n)
  local x = hwb.randn(n, 2) * 0.5 + (y:float() * 2 - 3):reshape(n, 1)
  return hwb.data.tensors{ x = x, y = y }
end

describe("optimizers", function()
  it("sgd equals a hand computation", function()
    for _, o in ipairs{
      { lr = 0.1 }, { lr = 0.1, momentum = 0.9 }, { lr = 0.05, momentum = 0.8, nesterov = true, weight_decay = 0.1 },
    } do
      local got, w, gradient = run(hwb.optim.sgd(o), 3)
      local v
      for _ = 1, 3 do
        local d = gradient(w) + w * (o.weight_decay or 0)
        v = v and v * (o.momentum or 0) + d or d
        w = w - (o.nesterov and d + v * o.momentum or v) * o.lr
      end
      assert.tensor_near(w:totable(), got, { rtol = 1e-13, atol = 1e-15 })
    end
  end)

  it("adam and adamw equal a hand computation", function()
    for _, kind in ipairs{ "adam", "adamw" } do
      local o = { lr = 0.02, beta1 = 0.8, beta2 = 0.95, eps = 1e-6, weight_decay = 0.3 }
      local got, w, gradient = run(hwb.optim[kind](o), 4)
      local m, v = w * 0, w * 0
      for t = 1, 4 do
        local g = gradient(w)
        if kind == "adam" then g = g + w * 0.3 else w = w * (1 - 0.02 * 0.3) end
        if kind == "adamw" then g = gradient(w / (1 - 0.02 * 0.3)) end
        m, v = m * 0.8 + g * 0.2, v * 0.95 + g * g * 0.05
        w = w - m / (1 - 0.8 ^ t) * 0.02 / ((v / (1 - 0.95 ^ t)):sqrt() + 1e-6)
      end
      assert.tensor_near(w:totable(), got, { rtol = 1e-12, atol = 1e-14 })
    end
  end)

  it("clip the gradient's norm", function()
    local got, w, gradient = run(hwb.optim.sgd{ lr = 1, clip = 0.01 }, 1)
    local g = gradient(w)
    assert.near(0.01, (got - w):norm():item(), 1e-12)
    assert.tensor_near((g * (0.01 / g:norm():item())):totable(), w - got, { rtol = 1e-10, atol = 1e-14 })
  end)

  it("can leave vectors out of the weight decay", function()
    local m = nn.BatchNorm2d{ 2 }
    local net = nn.Sequential{ nn.Conv2d{ 1, 2, kernel = 1, bias = false }, m, nn.GlobalAvgPool2d{}, nn.Flatten{} }
    local x, y = hwb.randn(4, 1, 2, 2), hwb.tensor{ 1, 2, 1, 2 }:long()
    local conv = net["0"].weight:clone()
    for _, decay in ipairs{ true, false } do
      m.weight:fill_(1)
      hwb.train{ model = net, data = { x, y }, batch = 4, bn = "eval",
        loss = function(z) return (z * 0):sum() end, -- nothing but decay
        optimizer = hwb.optim.sgd{ lr = 0.1, weight_decay = 1, decay_vectors = decay } }
      assert.near(decay and 0.9 or 1, m.weight[1], 1e-6)
    end
    assert.tensor_near((conv * 0.81):totable(), net["0"].weight, { rtol = 1e-5 })
  end)

  it("refuse what makes no sense", function()
    assert.error_matches(function() hwb.optim.sgd{ lr = -1 } end, "no learning rate")
    assert.error_matches(function() hwb.optim.sgd{ lr = 1, momentun = 0.9 } end, "unknown option")
    assert.error_matches(function() run(hwb.optim.sgd{ lr = 0.1, momentum = 1.5 }, 1) end, "momentum 1.5")
  end)
end)

describe("schedules", function()
  local function at(s, epoch) return s{ epoch = epoch, epochs = 90, step = 1, steps_per_epoch = 10 } end

  it("have the values of their formulas", function()
    local step = hwb.optim.step{ milestones = { 30, 60, 80 }, factor = 0.2 }
    assert.near(1, at(step, 29.9), 0)
    assert.near(0.2, at(step, 30), 1e-15)
    assert.near(0.008, at(step, 85), 1e-15)
    local cosine = hwb.optim.cosine{ floor = 0.1 }
    assert.near(0.55, at(cosine, 45), 1e-12)
    assert.near(0.1, at(cosine, 90), 1e-12)
    assert.near(0.5, at(hwb.optim.linear{}, 45), 1e-12)
    local warm = hwb.optim.warmup{ epochs = 5, after = step }
    assert.near(0.5, at(warm, 2.5), 1e-12)
    assert.near(0.2, at(warm, 40), 1e-12)
  end)

  it("set the learning rate of every update", function()
    local m = nn.Linear{ 2, 2 }
    local h = hwb.train{ model = m, data = clouds(64, 1), batch = 16, epochs = 4,
      optimizer = hwb.optim.sgd{ lr = 0.5 }, schedule = hwb.optim.step{ milestones = { 2 }, factor = 0.1 } }
    assert.near(0.5, h[2].lr, 1e-12)
    assert.near(0.05, h[3].lr, 1e-12)
  end)
end)

describe("hwb.train", function()
  it("learns", function()
    hwb.manual_seed(2)
    local m = hwb.models.mlp{ sizes = { 2, 16, 2 } }
    local rows = {}
    local h = hwb.train{ model = m, data = clouds(256, 3), val = clouds(100, 4), epochs = 6, batch = 32,
      optimizer = hwb.optim.sgd{ lr = 0.2, momentum = 0.9 }, callback = function(r) rows[#rows + 1] = r.epoch end }
    assert.equal(6, #h)
    assert.same({ 1, 2, 3, 4, 5, 6 }, rows)
    assert.is_true(h[6].loss < 0.5 * h[1].loss)
    assert.is_true(h[6].val_accuracy > 0.93)
    assert.is_true(h[6].images_per_second > 0)
    assert.equal(6 * 8, h[6].updates)
    assert.is_false(m.training)
  end)

  it("learns pictures with a convolutional net and batch norms", function()
    hwb.manual_seed(5)
    local m = nn.Sequential{
      nn.Conv2d{ 3, 8, kernel = 3, padding = 1, stride = 4, bias = false }, nn.BatchNorm2d{ 8 }, nn.ReLU{},
      nn.Conv2d{ 8, 16, kernel = 3, padding = 1, stride = 2, bias = false }, nn.BatchNorm2d{ 16 }, nn.ReLU{},
      nn.Flatten{}, nn.Linear{ 16 * 16, 10 },
    }
    m.input_size = { 3, 32, 32 }
    local ds = hwb.data.shapes10{ split = "train", count = 320 }
    local before = m["1"].running_mean:clone()
    local h = hwb.train{ model = m, data = ds, epochs = 8, batch = 32, augment = { flip = true },
      optimizer = hwb.optim.adam{ lr = 3e-3 } }
    assert.is_true(h[8].loss < 0.8 * h[1].loss)
    assert.is_true(h[8].accuracy > 0.3)
    assert.is_true((m["1"].running_mean - before):norm():item() > 0)
    -- quantized to 2 bits it loses, and fine-tuning wins back
    local q = hwb.quant.apply(m, { weights = 2, granularity = "tensor", activations = 4, data = ds })
    local was = hwb.evaluate(q, ds)
    local norms = q["1"].running_mean:clone()
    hwb.train{ model = q, data = ds, epochs = 4, batch = 32, bn = "eval", optimizer = hwb.optim.adam{ lr = 1e-3 } }
    local now = hwb.evaluate(q, ds)
    assert.is_true(now.loss < was.loss)
    assert.equal(0, (q["1"].running_mean - norms):abs():max():item())
    assert.is_true(hwb.evaluate(m, ds).loss < was.loss)
  end)

  it("gives the same numbers when it is resumed", function()
    local ds = clouds(96, 6)
    local function model()
      hwb.manual_seed(7)
      return nn.Sequential{ nn.Linear{ 2, 8 }, nn.ReLU{}, nn.Dropout{ 0.3 }, nn.Linear{ 8, 2 } }
    end
    local function train(m, epochs, resume)
      return hwb.train{ model = m, data = ds, epochs = epochs, batch = 16, seed = 3, resume = resume,
        optimizer = hwb.optim.adam{ lr = 0.01 }, schedule = hwb.optim.cosine{ epochs = 4 } }
    end
    local whole, parts, other = model(), model(), model()
    local h = train(whole, 4)
    local _, state = train(parts, 2)
    assert.equal(2, state.epoch)
    hwb.rand(5) -- the user's random numbers do not matter
    local rest = train(parts, 4, state)
    assert.equal(2, #rest)
    assert.equal(h[4].loss, rest[2].loss)
    assert.equal(0, (whole:flat_parameters() - parts:flat_parameters()):abs():max():item())
    local middle, third = model(), nil
    hwb.train{ model = middle, data = ds, epochs = 4, batch = 16, seed = 3, optimizer = hwb.optim.adam{ lr = 0.01 },
      schedule = hwb.optim.cosine{ epochs = 4 }, callback = function(row, now)
        third = now()
        return row.epoch < 3
      end }
    train(middle, 4, third)
    assert.equal(0, (whole:flat_parameters() - middle:flat_parameters()):abs():max():item())
    train(other, 2)
    assert.is_true((whole:flat_parameters() - other:flat_parameters()):abs():max():item() > 0)
    assert.error_matches(function()
      hwb.train{ model = model(), data = ds, seed = 4, resume = state, optimizer = hwb.optim.adam{ lr = 1 } }
    end, "seed 3")
  end)

  it("gives the same numbers whoever makes the batches, and from any kind of data", function()
    local ds = hwb.data.shapes10{ count = 48 }
    local function train(data, o)
      hwb.manual_seed(4)
      local m = nn.Sequential{ nn.Conv2d{ 3, 2, 3 }, nn.ReLU{}, nn.Flatten{}, nn.Linear{ 1800, 10 } }
      o.model, o.data, o.epochs, o.batch, o.seed, o.optimizer = m, data, 2, 16, 5, hwb.optim.sgd{ lr = 0.05 }
      hwb.train(o)
      return m:flat_parameters()
    end
    local augment = { crop = 2, flip = true, cutout = 6 }
    local want = train(ds, { augment = augment, workers = 0 })
    assert.equal(want, train(ds, { augment = augment, workers = 1 }))
    assert.equal(want, train(ds, { augment = augment, workers = 4 }))
    local loader = ds:loader{ batch = 16, shuffle = true, seed = 5, augment = augment }
    assert.equal(want, train(loader, {}))
    assert.equal(want, train(function(epoch)
      loader:seek(epoch - 1, 0)
      return function() return loader:next() end
    end, {}))
    assert.is_true((want - train(ds, {})):abs():max():item() > 1e-5)
    assert.error_matches(function() train(loader, { bn = "whole", controller = { on_epoch = function(_, s)
      s.batch = 32
    end } }) end, "needs a dataset")
  end)

  it("adds micro-batches up", function()
    local ds = clouds(64, 8)
    local function train(micro)
      hwb.manual_seed(9)
      local m = nn.Linear{ 2, 2 }:to("float64")
      ds:set_dtype("float64")
      hwb.train{ model = m, data = ds, epochs = 2, batch = 32, micro = micro, optimizer = hwb.optim.sgd{ lr = 0.3 } }
      return m:flat_parameters()
    end
    assert.tensor_near(train(nil):totable(), train(8), { rtol = 1e-12, atol = 1e-14 })
    assert.error_matches(function() train(7) end, "no multiple")
  end)

  it("weighs the samples of a short last batch as all others", function()
    hwb.manual_seed(10)
    local m = nn.Linear{ 2, 2 }:to("float64")
    local start = m:flat_parameters()
    local x, y = hwb.randn(10, 2):to("float64"), hwb.randint(1, 2, 10)
    hwb.train{ model = m, data = { x, y }, batch = 12, micro = 4, drop_last = false, shuffle = false,
      optimizer = hwb.optim.sgd{ lr = 1 } }
    local moved = start - m:flat_parameters()
    m:set_flat_parameters(start)
    local _, g = hwb.hessian(m, { data = { x, y } }):gradient()
    assert.tensor_near(g:totable(), moved, { rtol = 1e-11, atol = 1e-13 })
  end)

  it("lets a controller change batches and rates", function()
    local m, seen = nn.Linear{ 2, 2 }, {}
    local controller = {
      on_epoch = function(_, s, row)
        seen[#seen + 1] = row.updates
        s.batch, s.lr_scale = s.batch * 2, s.lr_scale * 2
      end,
    }
    local h = hwb.train{ model = m, data = clouds(64, 1), batch = 8, epochs = 3, controller = controller,
      optimizer = hwb.optim.sgd{ lr = 0.01 } }
    assert.same({ 8, 12, 14 }, seen)
    assert.near(0.04, h[3].lr, 1e-12)
    assert.same({ 8, 16, 32 }, { h[1].batch, h[2].batch, h[3].batch })
  end)

  it("asks a controller at every micro-batch", function()
    local seen = {}
    local controller = { on_step = function(self, s)
      seen[#seen + 1], self.calls = s.progress, (self.calls or 0) + 1
      s.lr_scale, s.attacked = 1 / (1 + s.step), s.step == 2 and 0.5 or 0
    end }
    local h = hwb.train{ model = nn.Linear{ 2, 2 }, data = clouds(32, 1), batch = 8, epochs = 2,
      controller = controller, optimizer = hwb.optim.sgd{ lr = 0.1 } }
    assert.same({ 0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75 }, seen)
    assert.near(0.1 / 8, h[2].lr, 1e-15)
    assert.equal(8, controller.calls)
    assert.error_matches(function()
      hwb.train{ model = nn.Linear{ 2, 2 }, data = clouds(32, 1), batch = 8, optimizer = hwb.optim.sgd{ lr = 0.1 },
        controller = { on_epoch = function(_, s) s.batch = 12 end } }
    end, "batch 12 is no multiple of 8")
  end)

  it("says where the time went", function()
    local h = hwb.train{ model = nn.Linear{ 2, 2 }, data = clouds(64, 1), val = clouds(16, 2), batch = 8, epochs = 3,
      optimizer = hwb.optim.sgd{ lr = 0.1 } }
    local t, sum = h.times, 0
    for _, part in ipairs{ "computation", "communication", "resize", "hessian", "data" } do sum = sum + t[part] end
    assert.near(t.total, sum, 1e-9)
    assert.near(t.wall, sum + t.validation + t.checkpoint + t.other, 1e-9)
    assert.is_true(t.computation > 0 and t.validation > 0 and t.data > 0)
    assert.equal(0, t.communication)
    local computation = 0
    for _, row in ipairs(h) do computation = computation + row.computation_seconds end
    assert.near(t.computation, computation, 1e-9)
    local rows = hwb.batch.breakdown{ { name = "BL", times = { total = 125073, computation = 125073 } },
      { name = "ABSA", times = { total = 29475, computation = 26404, hessian = 2746 } } }
    assert.near(4.24, rows[2].speedup, 0.005)
    assert.equal(1, rows[1].speedup)
  end)

  it("draws new dropout masks at every step", function()
    local m = nn.Dropout{ 0.5 }
    m:train()
    local x = hwb.ones(4, 50)
    local a, b = m(x), m(x)
    assert.is_true((a - b):abs():max():item() > 0)
    assert.near(1, m(hwb.ones(100, 100)):mean():item(), 0.05)
    m:eval()
    assert.equal(0, (m(x) - x):abs():max():item())
  end)

  it("stops when the callback says so, and says what is wrong", function()
    local m, ds = nn.Linear{ 2, 2 }, clouds(32, 1)
    local sgd = hwb.optim.sgd{ lr = 0.1 }
    local h = hwb.train{ model = m, data = ds, epochs = 5, batch = 8, optimizer = sgd,
      callback = function(r) return r.epoch < 2 end }
    assert.equal(2, #h)
    assert.error_matches(function() hwb.train{ model = m, data = ds } end, '"optimizer" is missing')
    assert.error_matches(function() hwb.train{ model = m, data = ds, optimizer = { lr = 1 } } end, "hwb.optim")
    assert.error_matches(function() hwb.train{ model = m, data = ds, optimizer = sgd, batch = 0 } end, "batch")
    assert.error_matches(function() hwb.train{ model = m, data = ds, optimizer = sgd, epoch = 1 } end, "unknown option")
    assert.error_matches(function()
      hwb.train{ model = m, data = ds, optimizer = sgd, loss = function() error("my loss") end }
    end, "my loss")
    assert.error(function() hwb.train{ model = nn.Linear{ 3, 2 }, data = ds, optimizer = sgd } end)
  end)
end)

describe("hwb.evaluate", function()
  it("counts, whatever the batches", function()
    hwb.manual_seed(3)
    local m, ds = hwb.models.mlp{ sizes = { 2, 5, 2 } }, clouds(101, 2)
    local x, y = ds:batch(1, 101)
    local z = m(x)
    local want = z:argmax(2):eq(y):to("int64"):sum():item()
    local loss = hwb.cross_entropy(z, y):item()
    for _, r in ipairs{ hwb.evaluate(m, ds), hwb.evaluate(m, ds, { batch = 7 }),
      hwb.evaluate(m, { x, y }, { batch = 40 }), hwb.evaluate(m, ds:loader{ batch = 10 }) } do
      assert.equal(101, r.count)
      assert.equal(want, r.correct)
      assert.near(want / 101, r.accuracy, 1e-12)
      assert.near(loss, r.loss, 1e-6)
    end
    assert.equal(30, hwb.evaluate(m, ds, { count = 30 }).count)
    m:train()
    hwb.evaluate(m, ds)
    assert.is_true(m.training)
  end)

  it("takes targets that are no labels", function()
    local m = nn.Linear{ 2, 1 }
    local x, y = hwb.randn(9, 2), hwb.randn(9, 1)
    local r = hwb.evaluate(m, { x, y }, { loss = "mse", batch = 4 })
    assert.near(hwb.mse(m(x), y):item(), r.loss, 1e-6)
    assert.is_nil(r.accuracy)
  end)
end)
