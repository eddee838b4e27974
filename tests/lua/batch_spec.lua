-- Batch-size controllers in hwb.train, and adversarial images.
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

  it("wants probe images for the eigenvalue", function()
    assert.error_matches(function() hwb.batch.abs{ max = 1280 } end, "probe")
    assert.error_matches(function() hwb.batch.bl{ max = 1000 } end, "no multiple of 128")
  end)
end)

describe("hwb.adversarial", function()
  local x, y = clouds(96)
  local m = network(4)
  hwb.train{ model = m, data = { x, y }, epochs = 20, batch = 16,
    optimizer = hwb.optim.sgd{ lr = 0.1 } }

  it("moves each input by eps at most, and up the loss", function()
    local z = hwb.adversarial.fgsm(m, x, y, { eps = 0.1 })
    assert.is_true((z - x):abs():max():item() <= 0.1 + 1e-6)
    local before = hwb.cross_entropy(m(x), y):item()
    assert.is_true(hwb.cross_entropy(m(z), y):item() > before)
    local w = hwb.adversarial.pgd(m, x, y, { eps = 0.1, steps = 5 })
    assert.is_true((w - x):abs():max():item() <= 0.1 + 1e-6)
    assert.is_true(hwb.cross_entropy(m(w), y):item() > before)
  end)

  it("lowers the accuracy with eps", function()
    local rows = hwb.adversarial.accuracy(m, hwb.data.tensors{ x = x, y = y },
      { eps = { 0, 2 }, count = 96 })
    assert.is_true(rows[1].accuracy > rows[2].accuracy)
  end)
end)
