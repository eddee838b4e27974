-- Batch-size controllers in hwb.train, what they do to batch norms, eigenvalues and counts.
local hwb = require "hwb"

local function network(seed)
  hwb.manual_seed(seed)
  return hwb.models.mlp{ sizes = { 12, 16, 3 }, activation = "tanh" }
end

-- Three clouds; the label is the coordinate that is raised.
local function clouds(n)
  hwb.manual_seed(7)
  local x, y = hwb.randn(n, 12) * 0.5, {}
  for i = 1, n do
    y[i] = (i - 1) % 3 + 1
    x[{ i, y[i] }] = x[{ i, y[i] }] + 2
  end
  return x, hwb.tensor(y, { dtype = "int64" })
end

describe("hwb.batch", function()
  local x, y = clouds(192)

  it("counts updates as published", function()
    local counts = {}
    for i, max in ipairs{ 640, 3200, 5120, 10240, 16000 } do
      counts[i] = hwb.batch.published_updates("gg", { max = max }, 50000)
    end
    assert.are.same({ 16380, 14508, 14449, 14400, 14383 }, counts)
    assert.are.equal(35156, hwb.batch.published_updates("bl", {}, 50000))
    assert.is_nil(hwb.batch.published_updates("absa", { max = 640 }, 50000))
  end)

  it("grows the batch at GG's milestones", function()
    local history = hwb.train{ model = network(1), data = { x, y }, epochs = 3, batch = 16,
      optimizer = hwb.optim.sgd{ lr = 0.1 },
      controller = hwb.batch.gg{ base = 16, max = 80, epochs = 3, milestones = { 1, 2 } } }
    -- 12 micro-batches an epoch: 12 updates, then groups of 5 (the last one short)
    assert.are.equal(12, history[1].updates)
    assert.are.equal(15, history[2].updates)
    assert.are.equal(18, history[3].updates)
    assert.are.same({ 16, 80, 80 }, { history[1].batch, history[2].batch, history[3].batch })
    assert.near(0.1 * 0.2, history[3].lr, 1e-12) -- no more room: the rate decays
  end)

  it("runs ABSA with eigenvalues and attacks, and goes on to the same numbers", function()
    local function run(epochs, model, resume)
      return hwb.train{ model = model, data = { x, y }, epochs = epochs, batch = 16, seed = 3,
        optimizer = hwb.optim.sgd{ lr = 0.05, momentum = 0.9 }, resume = resume,
        controller = hwb.batch.absa{ base = 16, max = 64, epochs = 6, patience = 2, eps = 0.05,
          milestones = { 5 }, probe = { x:narrow(1, 1, 64), y:narrow(1, 1, 64) } } }
    end
    local whole = network(2)
    local history = run(6, whole)
    assert.is_true(history[1].lambda > 0)
    assert.near(0.2, history[1].attacked, 1e-12)
    assert.is_true(history[6].batch == 64 and history[1].batch == 16)
    assert.is_true(history[6].loss < history[1].loss)
    local parted = network(2)
    local _, state = run(3, parted)
    run(6, parted, state)
    assert.are.equal(whole:flat_parameters(), parted:flat_parameters())
  end)

  it("takes both signed and largest eigenvalues of the probe, warm-started", function()
    local probe, seen, m = { x:narrow(1, 1, 64), y:narrow(1, 1, 64) }, {}, network(5)
    local h = hwb.train{ model = m, data = { x, y }, epochs = 4, batch = 16, optimizer = hwb.optim.sgd{ lr = 0.05 },
      controller = hwb.batch.abs{ base = 16, max = 32, epochs = 4, fall = 1e6, milestones = {}, probe = probe,
        tol = 1e-4, maxiter = 100 },
      callback = function()
        local H = hwb.hessian(m:eval(), { data = probe })
        seen[#seen + 1] = { H:eigs{ k = 1, which = "LA", tol = 1e-6, maxiter = 300 }.values[1],
          H:eigs{ k = 1, which = "LM", tol = 1e-6, maxiter = 300 }.values[1] }
        m:train()
      end }
    for i, row in ipairs(h) do
      assert.near(1, row.lambda / seen[i][1], 1e-3)
      assert.near(1, row.lambda_magnitude / seen[i][2], 1e-3)
      assert.is_true(row.lambda_converged and row.hessian_seconds > 0)
    end
    assert.is_true(h[4].lambda_hvps < h[1].lambda_hvps)
    assert.is_true(h.times.hessian_share > 0 and h.times.hessian_share < 1)
  end)

  it("steers by a user's own controller, which is saved with its fields", function()
    local function controller()
      return { doubled = 0, on_epoch = function(self, s, row)
        if row.loss < 1.2 and self.doubled < 2 then
          self.doubled = self.doubled + 1
          s.batch, s.lr_scale = 2 * s.batch, 2 * s.lr_scale
        end
      end }
    end
    local function run(model, epochs, resume, c)
      return hwb.train{ model = model, data = { x, y }, epochs = epochs, batch = 16, controller = c, resume = resume,
        optimizer = hwb.optim.sgd{ lr = 0.1, momentum = 0.9 } }
    end
    local whole, parted, c = network(6), network(6), controller()
    local h = run(whole, 6, nil, controller())
    assert.are.same({ 16, 64 }, { h[1].batch, h[6].batch })
    local _, state = run(parted, 3, nil, c)
    assert.is_true(c.doubled > 0)
    run(parted, 6, state, controller())
    assert.are.equal(whole:flat_parameters(), parted:flat_parameters())
  end)

  it("wants probe images for the eigenvalue", function()
    assert.error_matches(function() hwb.batch.abs{ max = 1280 } end, "probe")
    assert.error_matches(function() hwb.batch.bl{ max = 1000 } end, "no multiple of 128")
  end)
end)

describe('compat = "hessianflow"', function()
  local x, y = clouds(192)
  local ds = hwb.data.tensors{ x = x:to("float64"), y = y, dtype = "float64" }

  it("carries left-over micro-batches into the next epoch and the next batch size", function()
    local batches = { 16 * 5, 16 * 5, 16 * 7 } -- 12 micro-batches an epoch: 2, 4 and 1 are left over
    local m, other = network(8):to("float64"), network(8):to("float64")
    local h = hwb.train{ model = m, data = ds, epochs = 3, batch = 16, seed = 4,
      optimizer = hwb.optim.sgd{ lr = 0.3, momentum = 0.5 },
      controller = { start = function(_, s) s.compat, s.batch = "hessianflow", batches[1] end,
        on_epoch = function(_, s, row) s.batch = batches[row.epoch + 1] or s.batch end } }
    assert.are.same({ 2, 4, 6 }, { h[1].updates, h[2].updates, h[3].updates })
    assert.near(12 / 5 + 12 / 5 + 12 / 7, h[3].updates_fractional, 1e-12)
    -- the published loop, written out
    local t = hwb.engine.trainer(other, { momentum = 0.5 })
    local loader, count, updates = ds:loader{ batch = 16, shuffle = true, seed = 4 }, 0, 0
    other:train()
    for epoch = 1, 3 do
      loader:seek(epoch - 1, 0)
      local ratio = batches[epoch] // 16
      for bx, by in loader do
        t:gradient(bx, by, 1 / ratio)
        count = count + 1
        if count % ratio == 0 then
          t:update(0.3)
          updates = updates + 1
        end
      end
    end
    assert.are.equal(6, updates)
    assert.are.equal(0, (m:flat_parameters() - other:flat_parameters()):abs():max():item())
  end)

  it("steers by power iteration on new images, one ratio for all", function()
    local function run(model, epochs, resume)
      return hwb.train{ model = model, data = ds, epochs = epochs, batch = 16, seed = 3, resume = resume,
        optimizer = hwb.optim.sgd{ lr = 0.05, momentum = 0.9 },
        controller = hwb.batch.absa{ base = 16, max = 64, epochs = 6, grow = 4, patience = 3, milestones = {},
          compat = "hessianflow" } }
    end
    local m = network(2):to("float64")
    local h = run(m, 6)
    assert.are.same({ 16, 16, 16, 64 }, { h[1].batch, h[2].batch, h[3].batch, h[4].batch })
    assert.is_true(h[1].lambda == h[1].lambda_magnitude and h[1].lambda_hvps <= 10)
    assert.is_nil(h[4].lambda)
    -- of the size of the top eigenvalue on all images, which 10 steps and 128 of them only approach
    local top = hwb.hessian(network(2):to("float64"):eval(), { data = { ds:batch(1, 192) } }):eigs{ k = 1 }.values[1]
    assert.is_true(h[1].lambda > top / 3 and h[1].lambda < 3 * top)
    local parted = network(2):to("float64")
    local _, state = run(parted, 2)
    run(parted, 6, state)
    assert.are.equal(m:flat_parameters(), parted:flat_parameters())
    assert.error_matches(function() hwb.batch.abs{ compat = "other" } end, "not known")
  end)
end)

describe("batch norms", function()
  local x, y = clouds(192)
  local function network_with_norm()
    hwb.manual_seed(9)
    local nn = hwb.nn
    return nn.Sequential{ nn.Linear{ 12, 8 }, nn.BatchNorm2d{ 8 }, nn.ReLU{}, nn.Linear{ 8, 3 } }:to("float64")
  end
  local function train(o)
    local m = network_with_norm()
    o.model, o.data, o.epochs, o.optimizer = m, { x:to("float64"), y }, 2, hwb.optim.sgd{ lr = 0.1, momentum = 0.9 }
    local h = hwb.train(o)
    return m:flat_parameters(), h
  end

  it("see the micro-batch, or all samples of an update", function()
    local function grown(bn) return { batch = 16, bn = bn, controller = hwb.batch.bl{ base = 16, max = 64 } } end
    local ghost = { train(grown("ghost")) }
    local whole = { train(grown("whole")) }
    local at_once = { train{ batch = 64 } }
    local in_parts = { train{ batch = 64, micro = 16 } }
    assert.are.equal(at_once[1], whole[1])
    assert.are.equal(in_parts[1], ghost[1])
    assert.is_true((ghost[1] - whole[1]):abs():max():item() > 1e-6)
    assert.are.same({ "ghost", 16, 64 }, { ghost[2][1].bn, ghost[2][1].bn_batch, ghost[2][1].batch })
    assert.are.same({ "whole", 64, 64 }, { whole[2][1].bn, whole[2][1].bn_batch, whole[2][1].batch })
  end)

  it("follow a batch that grows, also in a resumed training", function()
    local function run(model, epochs, resume)
      return hwb.train{ model = model, data = { x:to("float64"), y }, epochs = epochs, batch = 16, bn = "whole",
        resume = resume, optimizer = hwb.optim.sgd{ lr = 0.1 },
        controller = hwb.batch.gg{ base = 16, max = 80, milestones = { 1 }, epochs = 3 } }
    end
    local m, parted = network_with_norm(), network_with_norm()
    local h = run(m, 3)
    assert.are.same({ 16, 80, 80 }, { h[1].bn_batch, h[2].bn_batch, h[3].bn_batch })
    assert.are.same({ 12, 15, 18 }, { h[1].updates, h[2].updates, h[3].updates })
    assert.is_true(h.times.resize > 0)
    local _, state = run(parted, 2)
    run(parted, 3, state)
    assert.are.equal(m:flat_parameters(), parted:flat_parameters())
    assert.error_matches(function() hwb.train{ model = m, data = { x, y }, bn = "batch", batch = 16,
      optimizer = hwb.optim.sgd{ lr = 1 } } end, "ghost")
  end)
end)
