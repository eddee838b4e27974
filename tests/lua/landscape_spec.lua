-- hwb.landscape: lines and planes through the weights.
local hwb = require "hwb"
local nn = hwb.nn

local function network()
  hwb.manual_seed(4)
  return nn.Sequential(nn.Conv2d(3, 4, 3, { padding = 1 }), nn.BatchNorm2d(4), nn.Tanh(), nn.GlobalAvgPool2d(),
    nn.Flatten(), nn.Linear(4, 3))
end

local function batch(n)
  hwb.manual_seed(5)
  return { hwb.randn(n, 3, 6, 6), hwb.randint(1, 3, n) }
end

local function bits(m) return m:flat_parameters():totable() end

describe("hwb.landscape", function()
  it("is its own quadratic model where the loss is quadratic", function()
    hwb.manual_seed(1)
    local m = nn.Linear(5, 2):double()
    local data = { hwb.randn(20, 5, { dtype = "float64" }), hwb.randn(20, 2, { dtype = "float64" }) }
    local options = { data = data, loss = "mse", normalise = "none", span = 3, points = 7 }
    local line = hwb.landscape.line(m, options)
    assert.tensor_near(line.quadratic, line.loss, { rtol = 1e-12 })
    assert.equal(line.value, line.loss:totable()[4])
    options.points = { 5, 3 }
    local plane = hwb.landscape.surface(m, options)
    assert.same({ 3, 5 }, plane.loss:size())
    assert.tensor_near(plane.quadratic, plane.loss, { rtol = 1e-12 })
    assert.truthy(plane.loss:max():item() > 2 * plane.value)
  end)

  it("curves at 0 as v'Hv says", function()
    local m, data = network(), batch(12)
    for _, direction in ipairs{ "random", "eigen", "gradient" } do
      local h = 1e-2
      local r = hwb.landscape.line(m, { data = data, dtype = "float64", direction = direction,
        t = { -2 * h, -h, 0, h, 2 * h } })
      local f = r.loss:totable()
      -- fourth-order central differences
      local second = (-f[1] + 16 * f[2] - 30 * f[3] + 16 * f[4] - f[5]) / (12 * h * h)
      local first = (f[1] - 8 * f[2] + 8 * f[4] - f[5]) / (12 * h)
      local scale = math.max(1, math.abs(r.curvature))
      assert(math.abs(second - r.curvature) < 1e-6 * scale,
        ("%s: %.12g, not %.12g"):format(direction, second, r.curvature))
      assert(math.abs(first - r.slope) < 1e-6, ("%s: %.12g, not %.12g"):format(direction, first, r.slope))
      if r.eigenvalue then assert(math.abs(r.eigenvalue - r.curvature) < 1e-3 * r.eigenvalue) end
    end
    assert.equal("float32", m:dtype())
  end)

  it("leaves the weight decay of the operator out of the prediction", function()
    local m, data = network():double(), batch(6)
    data[1] = data[1]:to("float64")
    local plain = hwb.landscape.line(hwb.hessian(m, { data = data }), { points = 3 })
    local decayed = hwb.landscape.line(hwb.hessian(m, { data = data, weight_decay = 0.5 }), { points = 3 })
    assert.near(plain.curvature, decayed.curvature, 1e-10)
  end)

  it("streams batches to the loss of all of them, block by block or whole", function()
    local m, data = network(), batch(10)
    local whole = hwb.hessian(m, { data = data })
    local cut = hwb.hessian(m, { data = data, micro = 4 })
    local options = { points = 5, second_order = false, seed = 2 }
    assert.tensor_near(hwb.landscape.line(whole, options).loss, hwb.landscape.line(cut, options).loss, { rtol = 1e-5 })
    local B = whole:block("5.weight")
    local r = hwb.landscape.line(B, { points = 3, span = 0.5 })
    local v = hwb.zeros(whole.n)
    local at = 0
    for _, p in ipairs(whole:parameters()) do if p.name == "5.weight" then at = p.first end end
    v:narrow(1, at, B.n):copy_(r.direction)
    local same = hwb.landscape.line(whole, { direction = v, points = 3, span = 0.5 })
    assert.tensor_near(r.loss, same.loss, { rtol = 1e-6 })
  end)

  it("gives back the weights bit for bit, and after errors too", function()
    local m, data = network(), batch(6)
    local before = bits(m)
    hwb.landscape.surface(m, { data = data, points = 3, span = 30 })
    assert.same(before, bits(m))
    local calls = 0
    local loss = function(z, y)
      calls = calls + 1
      if calls > 2 then error("enough") end
      return hwb.cross_entropy(z, y)
    end
    -- batches of 4 and 2: the second shape is traced while the weights are displaced
    local H = hwb.hessian(m, { data = data, micro = 4, loss = loss })
    calls = 1
    assert.has_error(function() H:losses(hwb.ones(H.n), hwb.ones(3)) end)
    assert.same(before, bits(m))
  end)

  it("keeps losses that overflow, without failing", function()
    local m, data = network(), batch(4)
    local f = hwb.landscape.line(m, { data = data, t = { 0, 1e30, 3e38 }, second_order = false }).loss:totable()
    assert.truthy(f[1] < 10)
    assert.truthy(f[3] ~= f[3] or f[3] == math.huge or f[3] > 1e3)
  end)

  it("looks at equal places once, and says so", function()
    local m, data = network(), batch(4)
    local r = hwb.landscape.line(m, { data = data, t = { 0, 0.5, 0, 0.5, 0.5 } })
    assert.equal(2, r.evaluations)
    local f = r.loss:totable()
    assert.equal(f[1], f[3])
    assert.equal(f[2], f[5])
  end)

  it("normalises random directions filter by filter, biases and norms at rest", function()
    local m = network()
    local v = hwb.landscape.direction(m, { seed = 7 })
    assert.same(v:totable(), hwb.landscape.direction(m, { seed = 7 }):totable())
    assert.is_false(v:eq(hwb.landscape.direction(m, { seed = 8 })):to("float32"):sum():item() == v:numel())
    local at = 1
    for _, p in m:parameters() do
      local d = v:narrow(1, at, p:numel())
      if p:dim() < 2 then
        assert.equal(0, d:norm():item())
      else
        local rows = p:size(1)
        assert.tensor_near((p * p):reshape(rows, -1):sum(2):sqrt(), (d * d):reshape(rows, -1):sum(2):sqrt(),
          { rtol = 1e-5 })
      end
      at = at + p:numel()
    end
    local layer = hwb.landscape.direction(m, { normalise = "layer" }):narrow(1, 1, 108)
    assert.near(m:get("0.weight"):norm():item(), layer:norm():item(), 1e-5)
  end)

  it("does not disturb the random numbers", function()
    local m, data = network(), batch(4)
    hwb.manual_seed(9)
    local want = hwb.randn(3):totable()
    hwb.manual_seed(9)
    hwb.landscape.line(m, { data = data, points = 3 })
    assert.same(want, hwb.randn(3):totable())
  end)

  it("draws lines and surfaces", function()
    local m, data = network(), batch(4)
    local a = hwb.landscape.line(m, { data = data, points = 5, seed = 1 })
    local b = hwb.landscape.line(m, { data = data, points = 5, direction = "eigen" })
    local s = hwb.landscape.surface(m, { data = data, points = 5 })
    assert.matches("vTHv", (hwb.landscape.plot({ a, b }):svg():gsub("<[^>]*>", "")))
    assert.matches("^\137PNG", hwb.landscape.plot(s):png())
    assert.matches("^\137PNG", hwb.landscape.plot(s, { kind = "heatmap", log = true }):png())
    assert.matches("^\137PNG", hwb.plot.contour{ z = s.loss, x = s.x, y = s.y }:png())
  end)

  it("tells how far the quadratic model reaches", function()
    local line = { quadratic = hwb.tensor{ 5, 1.05, 1, 1.05, 5 }, loss = hwb.tensor{ 1, 1, 1, 1, 1 },
      t = hwb.tensor{ -2, -1, 0, 1, 2 } }
    assert.equal(1, hwb.landscape.reach(line, 0.1))
    assert.equal(0, hwb.landscape.reach(line, 0.01))
  end)

  it("says what is wrong", function()
    local m, data = network(), batch(4)
    local H = hwb.hessian(m, { data = data })
    for _, case in ipairs{
      { function() hwb.landscape.line(m, {}) end, "data" },
      { function()
        hwb.landscape.line(hwb.models.c2{}, { data = hwb.data.shapes10{ count = 4 }:loader{}, dtype = "float64" })
      end, 'dtype = "float64"' },
      { function() hwb.landscape.line(3, {}) end, "model or a curvature operator" },
      { function() hwb.landscape.line(H, { data = data }) end, "belongs to the operator" },
      { function() hwb.landscape.line(H, { direction = "upwards" }) end, "upwards" },
      { function() hwb.landscape.line(H, { direction = hwb.zeros(7) }) end, "7 numbers" },
      { function() hwb.landscape.line(H, { points = 1 }) end, "points" },
      { function() hwb.landscape.line(H, { span = -1 }) end, "span" },
      { function() hwb.landscape.line(H, { normalise = "filters" }) end, "normalise" },
      { function() hwb.landscape.surface(H, { directions = { "random" } }) end, "two directions" },
      { function() hwb.landscape.line(H, { pionts = 3 }) end, "pionts" },
      { function() H:losses(hwb.zeros(3), hwb.zeros(2)) end, "3" },
      { function() H:losses(hwb.zeros(H.n), hwb.zeros(2, 2)) end, "coefficients" },
      { function() hwb.landscape.plot(3) end, "line or .surface" },
    } do
      assert.error_matches(case[1], case[2], 1, true)
    end
  end)
end)
