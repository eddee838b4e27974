-- Blocks that were made together share the primal pass: the same numbers as one by one.

-- A small network with what families have to share: convolutions, folded norms, a shortcut,
-- masks, pooling.
local Net = hwb.nn.Module:extend("SweepNet")

function Net:init()
  self.conv1 = hwb.nn.Conv2d(2, 4, 3, { padding = 1, bias = false })
  self.bn1 = hwb.nn.BatchNorm2d(4)
  self.conv2 = hwb.nn.Conv2d(4, 4, 3, { padding = 1 })
  self.fc = hwb.nn.Linear(4, 3)
end

function Net:forward(x)
  x = self.bn1(self.conv1(x)):relu()
  x = (self.conv2(x) + x):tanh()
  return self.fc(x:mean({ 3, 4 }))
end

local LAYERS = { "conv1", "bn1", "conv2", "fc" }

local function setup(dtype, samples)
  hwb.manual_seed(11)
  local m = Net()
  m:eval()
  m:to(dtype or "float64")
  local x = hwb.randn(samples or 10, 2, 6, 6):to(dtype or "float64")
  return m, { x, hwb.randint(1, 3, samples or 10) }
end

local function close(expected, got, tol)
  local scale = expected:norm():item()
  assert.is_true((expected - got):norm():item() <= tol * scale + 1e-300)
end

local function vectors(n, k, seed)
  hwb.manual_seed(seed)
  return hwb.randn(k, n):to("float64")
end

describe("H:blocks", function()
  for _, kind in ipairs{ "hessian", "ggn", "fisher" } do
    it("equals separate blocks: " .. kind, function()
      local m, data = setup()
      for _, micro in ipairs{ 0, 4 } do
        local H = hwb[kind](m, { data = data, micro = micro, weight_decay = 0.125 })
        local together = H:blocks(LAYERS)
        for round = 1, 2 do -- the second finds the primal pass made
          for _, i in ipairs{ 3, 1, 4, 2 } do
            local alone = H:block(LAYERS[i])
            assert.equal(LAYERS[i], together[i].name)
            assert.equal(alone.n, together[i].n)
            local v = vectors(alone.n, round == 1 and 6 or 1, i)
            close(alone:apply(v), together[i]:apply(v), 1e-12)
          end
        end
      end
    end)
  end

  it("follows new weights and new vectors", function()
    local m, data = setup()
    local H = hwb.hessian(m, { data = data })
    local together = H:blocks(LAYERS)
    for round = 1, 3 do
      for i, B in ipairs(together) do
        local v = vectors(B.n, 1, 10 * round + i)
        close(H:block(LAYERS[i]):apply(v), B:apply(v), 1e-12)
      end
      m:get("conv2.weight"):mul_(1.5)
    end
  end)

  it("has gradients, traces and eigenvalues of its own members", function()
    local m, data = setup()
    local H = hwb.hessian(m, { data = data })
    local B, alone = H:blocks(LAYERS)[3], H:block("conv2")
    local loss, g = B:gradient()
    local loss_alone, g_alone = alone:gradient()
    assert.equal(loss_alone, loss)
    close(g_alone, g, 1e-14)
    assert.near(alone:trace{ max_probes = 20 }.mean, B:trace{ max_probes = 20 }.mean, 1e-10)
    assert.near(alone:eigs{ k = 2 }.values[2], B:eigs{ k = 2 }.values[2], 1e-10)
  end)

  it("takes layers by default, blocks of several layers, and overlapping ones", function()
    local m, data = setup()
    local H = hwb.hessian(m, { data = data })
    local names = {}
    for i, B in ipairs(H:blocks()) do names[i] = B.name end
    assert.same({ "conv1", "conv2", "fc" }, names)
    local mixed = { "conv2", "conv2.bias", "conv2.weight", "conv2" }
    for i, B in ipairs(H:blocks(mixed)) do
      local v = vectors(B.n, 2, i)
      close(H:block(mixed[i]):apply(v), B:apply(v), 1e-12)
    end
  end)

  it("equals separate blocks in float32", function()
    local m, data = setup("float32", 40)
    local H = hwb.hessian(m, { data = data })
    for i, B in ipairs(H:blocks(LAYERS)) do
      local v = vectors(B.n, 2, i):to("float32")
      close(H:block(LAYERS[i]):apply(v), B:apply(v), 2e-6)
    end
  end)

  it("says which name is wrong and takes no empty list", function()
    local m, data = setup()
    local H = hwb.hessian(m, { data = data })
    assert.error_matches(function() H:blocks{ "conv1", "nope" } end, "nope")
    assert.error_matches(function() H:blocks{} end, "empty")
    assert.error_matches(function() H:blocks{ "conv1", 3 } end, "name 2")
    assert.error_matches(function() H:blocks(LAYERS)[1]:apply(hwb.zeros(3)) end, "vector of 72")
  end)
end)

describe("H:block_eigs", function()
  for _, method in ipairs{ "lanczos", "power" } do
    for _, which in ipairs{ "LM", "SA" } do
      it("equals each block's own eigs: " .. method .. " " .. which, function()
        local m, data = setup()
        for _, micro in ipairs{ 0, 3 } do
          local H = hwb.hessian(m, { data = data, micro = micro })
          local o = { k = 2, which = which, method = method, tol = 1e-4, maxiter = 60, seed = 5 }
          local list, spent = H:block_eigs(LAYERS, o), {}
          for i, e in ipairs(list) do
            o.seed = 5 + i
            local alone = H:block(LAYERS[i]):eigs(o)
            assert.equal(LAYERS[i], e.name)
            assert.equal(alone.hvps, e.hvps)
            assert.same(alone.pair_converged, e.pair_converged)
            for p = 1, 2 do
              assert.near(alone.values[p], e.values[p], 1e-10 * math.abs(alone.values[1]))
              assert.near(alone.residuals[p], e.residuals[p], 1e-8 * math.abs(alone.values[1]))
            end
            spent[alone.hvps] = true
          end
          assert.is_truthy(next(spent, next(spent))) -- some stop before others
        end
      end)
    end
  end

  it("refuses what H:eigs refuses, and start vectors", function()
    local m, data = setup()
    local H = hwb.hessian(m, { data = data })
    assert.error_matches(function() H:block_eigs(LAYERS, { method = "qr" }) end, "method must be")
    assert.error_matches(function() H:block_eigs(LAYERS, { start = hwb.zeros(3) }) end, "start")
    assert.error_matches(function() H:block_eigs(LAYERS, { k = 0 }) end, "at least 1")
  end)
end)

describe("sweeps over streamed data", function()
  it("give traces that do not depend on who shares a pass", function()
    local m, data = setup()
    local o = { tol = 0.02, joint = 4, max_isolated = 60, seed = 3 }
    local whole = hwb.hessian(m, { data = data }):block_traces(LAYERS, o)
    local parts = hwb.hessian(m, { data = data, micro = 4 }):block_traces(LAYERS, o)
    for i, t in ipairs(whole) do
      assert.near(t.mean, parts[i].mean, 1e-10 * math.abs(t.mean))
      assert.near(t.stderr, parts[i].stderr, 1e-8 * math.abs(t.mean))
      assert.equal(t.isolated_probes, parts[i].isolated_probes)
      local trace, B = 0, hwb.hessian(m, { data = data }):block(LAYERS[i])
      local dense = B:apply(hwb.eye(B.n, { dtype = "float64" }))
      for k = 1, B.n do trace = trace + dense[{ k, k }] end
      assert.near(trace, t.mean, 6 * t.stderr)
    end
  end)
end)

describe("H:block_quadratics", function()
  it("equals quadratic forms of each block", function()
    local m, data = setup()
    for _, micro in ipairs{ 0, 4 } do
      local H = hwb.ggn(m, { data = data, micro = micro })
      local asked = {}
      local forms = H:block_quadratics(LAYERS, function(i)
        asked[#asked + 1] = i
        return vectors(H:block(LAYERS[i]).n, 2, i)
      end)
      assert.same({ 1, 2, 3, 4 }, asked)
      for i, name in ipairs(LAYERS) do
        local B = H:block(name)
        local v = vectors(B.n, 2, i)
        for k = 1, 2 do assert.near(B:quadratic(v[k]), forms[i][k], 1e-12 * forms[i][k]) end
      end
    end
  end)

  it("hands on errors of the function and keeps nothing", function()
    local m, data = setup()
    local H = hwb.hessian(m, { data = data })
    local function fails(f, text)
      assert.error_matches(function() H:block_quadratics(LAYERS, f) end, text)
    end
    fails(function() return hwb.zeros(1, 72) end, "block 2")
    collectgarbage()
    collectgarbage()
    local before = hwb.memory().live
    for _ = 1, 3 do
      fails(function(i) if i == 3 then error("no more") end return vectors(H:block(LAYERS[i]).n, 1, i) end, "no more")
    end
    fails(function() return 1 end, "tensor")
    collectgarbage()
    collectgarbage()
    assert.is_true(hwb.memory().live <= before + 4096)
  end)
end)

describe("H:activations", function()
  it("equals separate activations", function()
    local m, data = setup()
    local H = hwb.hessian(m, { data = data })
    local names = { "fc", "conv2", "conv1" }
    for i, A in ipairs(H:activations(names)) do
      local alone = H:activation(names[i])
      assert.equal(alone.n, A.n)
      local v = vectors(A.n, 2, i)
      close(alone:apply(v), A:apply(v), 1e-12)
    end
    assert.error_matches(function() H:activations{ "conv1", "nope" } end, "nope")
  end)

  it("is the Hessian of the loss as a function of the input", function()
    local m = hwb.nn.Linear(4, 3)
    m:to("float64")
    hwb.manual_seed(2)
    local x, y = hwb.randn(5, 4):to("float64"), hwb.randint(1, 3, 5)
    local A = hwb.hessian(m, { data = { x, y } }):activation("")
    local v = vectors(20, 1, 3):reshape(5, 4)
    local f = function(t) return hwb.cross_entropy(m(t), y) end
    close(hwb.hvp(f, x, v):reshape(-1), A:apply(v:reshape(-1)), 1e-12)
  end)
end)
