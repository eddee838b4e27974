-- Quantizers of tensors, sizes, and quantized models: values, gradients, files.
local nn = hwb.nn

local schemes = { "symmetric", "asymmetric" }
local shapes = {
  { granularity = "tensor" }, { granularity = "channel" }, { granularity = "group", group = 3 },
}

local function largest(t) return t:abs():max():item() end

-- A convolutional net with batch norms whose statistics are not the initial ones.
local function small_net(dtype)
  hwb.manual_seed(11)
  local m = nn.Sequential{
    nn.Conv2d{ 2, 6, kernel = 3, padding = 1, bias = false }, nn.BatchNorm2d{ 6 }, nn.ReLU{},
    nn.Conv2d{ 6, 8, kernel = 3, padding = 1, stride = 2 }, nn.BatchNorm2d{ 8 }, nn.ReLU{},
    nn.Flatten{}, nn.Linear{ 8 * 9, 4 },
  }
  m.input_size = { 2, 6, 6 }
  for _, child in m:modules() do
    if rawget(child, "running_mean") then
      child.running_mean:copy_(hwb.randn(child.running_mean:size()) * 0.3)
      child.running_var:copy_(hwb.rand(child.running_var:size()) + 0.5)
      child.weight:copy_(hwb.rand(child.weight:size()) + 0.5)
      child.bias:copy_(hwb.randn(child.bias:size()) * 0.2)
    end
  end
  return m:to(dtype or "float32")
end

local function images(n, dtype)
  hwb.manual_seed(12)
  return hwb.randn(n, 2, 6, 6):to(dtype or "float32")
end

describe("hwb.quant on tensors", function()
  it("rounds to the grid, and codes stand for the same values", function()
    hwb.manual_seed(1)
    local w = hwb.randn(7, 5)
    for _, scheme in ipairs(schemes) do
      for _, shape in ipairs(shapes) do
        for bits = 1, 8 do
          local spec = { scheme = scheme, granularity = shape.granularity, group = shape.group }
          local q = hwb.quant.fake(w, bits, spec)
          local codes, params = hwb.quant.encode(w, bits, spec)
          assert.equal(0, largest(hwb.quant.decode(codes, params) - q))
          assert.near((q - w):pow(2):sum():item(), hwb.quant.error(w, bits, spec), 1e-4)
          local bytes = hwb.quant.pack(codes, params)
          assert.equal((35 * bits + 7) // 8, bytes:numel())
          assert.equal(0, largest((hwb.quant.unpack(bytes, { 7, 5 }, params) - codes):float()))
        end
      end
    end
  end)

  it("has the values of the formula", function()
    local w = hwb.tensor{ { -1.5, 0.25, 0.75 } }
    -- S = 1.5/3; 0.5 and 1.5 round to even
    assert.tensor_near({ { -1.5, 0, 1 } }, hwb.quant.fake(w, 3), { rtol = 1e-6 })
    -- S = 2.25/3, z = 2; 0.33 and 1 round to 0 and 1
    assert.tensor_near({ { -1.5, 0, 0.75 } }, hwb.quant.fake(w, 2, { scheme = "asymmetric" }), { rtol = 1e-6 })
    -- one bit: the sign times the mean
    assert.tensor_near({ { -2.5 / 3, 2.5 / 3, 2.5 / 3 } }, hwb.quant.fake(w, 1), { rtol = 1e-6 })
    assert.equal(hwb.quant.error(w, 4, { scheme = "uniform" }), hwb.quant.error(w, 4))
  end)

  it("refuses what makes no sense", function()
    local w = hwb.randn(3, 4)
    assert.error_matches(function() hwb.quant.fake(w, 9) end, "9 bits")
    assert.error_matches(function() hwb.quant.fake(w, 4, { scheme = "log" }) end, "symmetric, asymmetric")
    assert.error_matches(function() hwb.quant.fake(w, 4, { granularty = "tensor" }) end, "unknown option")
    w[1][1] = 0 / 0
    assert.error(function() hwb.quant.fake(w, 4) end)
  end)

  it("requantizes by dyadic numbers", function()
    local b, shift = hwb.quant.dyadic(0.3)
    assert.near(0.3, b / 2 ^ shift, 1e-9)
    assert.equal(30, hwb.quant.requantize(100, b, shift, -128, 127))
    assert.equal(127, hwb.quant.requantize(100000, b, shift, -128, 127))
  end)
end)

describe("hwb.quant.size", function()
  local function record(n, rest, buffers) return { { name = "all", n = n, rest = rest, buffers = buffers } } end
  local function round(x, digits) return tonumber(("%." .. digits .. "f"):format(x)) end

  it("reproduces the published rows", function()
    local rn50 = record(23454912 + 2048000, 53120 + 1000, 53120)
    assert.equal(97.492, round(hwb.quant.size(rn50, 32).mib, 3))
    assert.equal(97.695, round(hwb.quant.size(rn50, 32, { basis = "state_dict" }).mib, 3))
    local rn18 = record(11166912 + 512000, 9600 + 1000, 9600)
    assert.equal(44.592, round(hwb.quant.size(rn18, 32).mib, 3))
    assert.equal(11689512, hwb.quant.size(rn18, 32).parameters)
    local retina = record(37968692)
    assert.equal(18.125, round(hwb.quant.size(retina, 32).mib, 0) / hwb.quant.size(retina, 4).ratio)
    assert.equal(8, round(hwb.quant.size(retina, 4).ratio, 6))
    local encoder = { { name = "encoder", n = 85054464, groups = 72 * 128 } }
    assert.equal(324.5, round(hwb.quant.size(encoder, 32).mib, 1))
    for bits, mib in pairs{ [8] = 81.2, [4] = 40.6, [3] = 30.5 } do
      assert.equal(mib, round(hwb.quant.size(encoder, bits, { group_bytes = 8 }).mib, 1))
    end
    local basis = { count_rest = false, baseline_mib = 97.8 }
    assert.near(97.8 * 4 / 97.29, hwb.quant.size(rn50, 8, basis).ratio, 0.01)
  end)

  it("counts a model's layers and bit operations", function()
    local m = hwb.models.resnet20{ shortcut = "B" }
    local size = hwb.quant.size(m, 4, { first_last = 8, activations = 4 })
    assert.equal(272474, size.parameters)
    assert.near(272474 * 4 / 2 ^ 20, size.baseline_bytes / 2 ^ 20, 1e-9)
    local bops, weights = 0, 0
    local layers = m:layers()
    for i, l in ipairs(layers) do
      local b = (i == 1 or i == #layers) and 8 or 4
      bops, weights = bops + l.macs * b * 4, weights + l.n * b / 8
    end
    assert.equal(bops, size.bops)
    assert.near(weights + 4 * (272474 - 270896), size.bytes, 1e-6)
  end)
end)

describe("a quantized model", function()
  it("computes with the values of hwb.quant.fake, bit for bit", function()
    local m, x = small_net(), images(5)
    local before = m(x)
    for _, scheme in ipairs(schemes) do
      for _, shape in ipairs(shapes) do
        for _, range in ipairs{ "minmax", "percentile", "mse" } do
          local spec = { scheme = scheme, granularity = shape.granularity, group = shape.group, range = range }
          local q = hwb.quant.apply(m, { weights = 3, scheme = scheme, granularity = shape.granularity,
            group = shape.group, range = range })
          local f = m:clone()
          for _, l in ipairs(m:layers()) do f:get(l.weight):copy_(hwb.quant.fake(m:get(l.weight), 3, spec)) end
          assert.equal(0, largest(q(x) - f(x)))
          assert.is_true(largest(q(x) - before) > 1e-3)
        end
      end
    end
    assert.equal(0, largest(m(x) - before))
  end)

  it("follows its weights", function()
    local m, x = small_net(), images(3)
    for _, range in ipairs{ "minmax", "mse" } do
      local q = hwb.quant.apply(m, { weights = 4, range = range })
      for _, p in q:parameters() do p:copy_(p * 0.5 + 0.01) end
      q:refresh()
      local f = m:clone()
      for name, p in f:parameters() do p:copy_(m:get(name) * 0.5 + 0.01) end
      for _, l in ipairs(m:layers()) do
        f:get(l.weight):copy_(hwb.quant.fake(f:get(l.weight), 4, { range = range }))
      end
      assert.equal(0, largest(q(x) - f(x)))
    end
  end)

  it("takes bits by layer; 32 and layers left out are float", function()
    local m, x = small_net(), images(3)
    local q = hwb.quant.apply(m, { weights = { ["0"] = 8, ["3"] = 32 } })
    assert.same({ ["0"] = 8 }, q.bits)
    local f = m:clone()
    f:get("0.weight"):copy_(hwb.quant.fake(m:get("0.weight"), 8))
    assert.equal(0, largest(q(x) - f(x)))
    assert.error_matches(function() hwb.quant.apply(m, { weights = { conv9 = 4 } }) end, 'names "conv9"')
    assert.error_matches(function() hwb.quant.apply(m, { weights = 16 }) end, "16 bits")
    assert.error_matches(function() hwb.quant.apply(m, { weight = 4 }) end, "unknown option")
    assert.error_matches(function() hwb.quant.apply(q, { weights = 4 }) end, "already")
  end)

  it("quantizes activations in the range observed on data", function()
    hwb.manual_seed(2)
    local m = nn.Sequential{ nn.Linear{ 5, 3 } }
    local x, more = hwb.randn(40, 5), hwb.randn(7, 5) * 2
    local lo, hi = x:min():item(), x:max():item()
    for _, scheme in ipairs(schemes) do
      for _, bits in ipairs{ 2, 4, 8 } do
        local q = hwb.quant.apply(m, { activations = bits, data = x, activation_range = "minmax",
          activation_scheme = scheme })
        local scale, zero = hwb.quant.scale(lo, hi, bits, scheme)
        local first = scheme == "symmetric" and -2 ^ (bits - 1) or 0
        local r = (more / scale):round() + zero
        local want = (r:clamp(first, first + 2 ^ bits - 1) - zero) * scale
        assert.tensor_near(m(want):totable(), q(more), { rtol = 1e-4, atol = 1e-5 })
      end
    end
    local free = hwb.quant.apply(m, { activations = 8 }) -- no data: the range of each batch
    assert.is_true(largest(free(more) - m(more)) < 0.1)
    assert.is_true(largest(free(more) - m(more)) > 0)
  end)

  it("passes gradients straight through", function()
    hwb.manual_seed(3)
    local m = nn.Sequential{ nn.Linear{ 4, 3, bias = false } }:to("float64")
    m.input_size = { 4 }
    local x, y = hwb.randn(6, 4):to("float64"), hwb.randn(6, 3):to("float64")
    local q = hwb.quant.apply(m, { weights = 2 })
    local _, g = hwb.hessian(q, { data = { x, y }, loss = "mse" }):gradient()
    -- the gradient at the quantized weights, as if those were free
    local f = m:clone()
    f:get("0.weight"):copy_(hwb.quant.fake(m:get("0.weight"), 2))
    local _, want = hwb.hessian(f, { data = { x, y }, loss = "mse" }):gradient()
    assert.tensor_near(want:totable(), g, { rtol = 1e-12, atol = 1e-14 })
  end)

  it("cuts gradients outside the range with mask", function()
    local m = nn.Sequential{ nn.Linear{ 3, 1, bias = false } }:to("float64")
    m.input_size = { 3 }
    m:get("0.weight"):copy_(hwb.tensor{ { 0.125, -0.25, 4.0 } })
    local x, y = hwb.tensor{ { 1, 2, 3 } }:to("float64"), hwb.tensor{ { 0 } }:to("float64")
    -- mse ranges clip the outlier
    local options = { weights = 8, granularity = "tensor", range = "percentile", percentile = 60 }
    local _, g = hwb.hessian(hwb.quant.apply(m, options), { data = { x, y }, loss = "mse" }):gradient()
    options.mask = true
    local _, cut = hwb.hessian(hwb.quant.apply(m, options), { data = { x, y }, loss = "mse" }):gradient()
    assert.is_true(math.abs(g[3]) > 0)
    assert.equal(0.0, cut[3])
    assert.near(g[1], cut[1], 1e-12)
    -- activations: the derivative for x is w inside the range, 0 outside
    local q = hwb.quant.apply(m, { activations = 8, data = hwb.tensor{ { -1.0, 0.5, 1.0 } }:to("float64"),
      activation_range = "minmax" })
    local at = hwb.tensor{ { 0.3, -0.4, 2.0 } }:to("float64")
    local gx = hwb.grad(function(v) return q(v):sum() end)(at)
    assert.tensor_near({ { 0.125, -0.25, 0.0 } }, gx, { rtol = 1e-12, atol = 1e-14 })
  end)

  it("quantizes layers that someone wrote in Lua", function()
    local Twice = nn.Module:extend("Twice")
    function Twice:init(n) self.kernel = nn.parameter(hwb.randn(n, n)) end
    function Twice:forward(x) return x:matmul(self.kernel):tanh():matmul(self.kernel) end
    hwb.manual_seed(4)
    local m = nn.Sequential{ nn.Linear{ 3, 4 }, Twice(4) }
    m.input_size = { 3 }
    local x = hwb.randn(5, 3)
    local q, f = hwb.quant.apply(m, { weights = 4 }), m:clone()
    assert.equal(2, #q:layers())
    for _, l in ipairs(m:layers()) do f:get(l.weight):copy_(hwb.quant.fake(m:get(l.weight), 4)) end
    assert.equal(0, largest(q(x) - f(x)))
    assert.error_matches(function() hwb.quant.apply(m, { activations = 8 }) end, "Twice.*quantized_input")
  end)

  it("goes to a file of packed codes and comes back equal", function()
    local m, x = small_net(), images(5)
    local path = os.tmpname()
    for _, o in ipairs{
      { weights = 3 }, { weights = 5, scheme = "asymmetric", granularity = "tensor" },
      { weights = 2, range = "mse", activations = 4, data = x }, { weights = { ["0"] = 8 }, activations = 6 },
    } do
      local q = hwb.quant.apply(m, o)
      assert(q:save(path))
      local r = assert(hwb.quant.load(path, small_net()))
      assert.equal(0, largest(q(x) - r(x)))
      assert.same(q.bits, r.bits)
      local file = io.open(path, "rb")
      assert.equal(file:seek("end"), q:size().file_bytes)
      assert.equal(q:size().file_bytes, r:size().file_bytes)
      file:close()
    end
    local tensors = hwb.load(path)
    assert.equal("uint8", tensors["0.weight.codes"]:dtype())
    assert.equal(6 * 2 * 9, tensors["0.weight.codes"]:numel())
    assert.is_nil(tensors["0.weight"])
    assert(m:save(path))
    local none, why = hwb.quant.load(path, m)
    assert.is_nil(none)
    assert.matches("not a quantized model", why)
    none, why = hwb.quant.load(path .. ".none", m)
    assert.is_nil(none)
    assert.is_string(why)
    assert(hwb.quant.apply(m, { weights = 4 }):save(path))
    none, why = hwb.quant.load(path, hwb.models.mlp{ sizes = { 3, 4 } })
    assert.is_nil(none)
    assert.matches("0.weight", why, 1, true)
    local other = small_net()
    other["1"].bias = hwb.zeros(7)
    none, why = hwb.quant.load(path, other)
    assert.is_nil(none)
    assert.matches('"1.bias" is 7 in the model and 6 in the file', why, 1, true)
    -- damaged descriptions are refused, whatever they say
    local tensors2, _, meta = hwb.load(path)
    local d = hwb.json.decode(meta["hwb.quantization"])
    for _, damage in ipairs{
      function(c) c.weights[1].spec.bits = 99 end, function(c) c.weights[1].spec = 3 end,
      function(c) c.weights[2].shape = { 1, 2 } end, function(c) c.weights = nil end,
      function(c) c.weights[1].weight = "x" end, function(c) c.weights[1].shape = "long" end,
      function(c) c.activations = { { name = "0", bits = 77, track = "batch" } } end,
    } do
      local c = hwb.json.decode(hwb.json.encode(d))
      damage(c)
      assert(hwb.save(path, tensors2, { ["hwb.quantization"] = hwb.json.encode(c) }))
      local q
      q, why = hwb.quant.load(path, small_net())
      if q then -- what only shows when it is used
        assert.has_error(function() q(x) end)
      else
        assert.is_string(why)
      end
    end
    os.remove(path)
  end)

  it("reports its size", function()
    local m = small_net()
    local q = hwb.quant.apply(m, { weights = 4 })
    local size, n = q:size(), 0
    for _, l in ipairs(m:layers()) do n = n + l.n end
    local rest = m:num_parameters() - n
    assert.near(n / 2 + 4 * rest + 4 * (6 + 8 + 4), size.bytes, 1e-9)
    assert.near(4, size.average_bits, 1e-12)
    assert.matches("3 weights, 4 bits", tostring(q))
  end)

  it("works in float64 too", function()
    local m, x = small_net("float64"), images(3, "float64")
    local q = hwb.quant.apply(m, { weights = 4, activations = 8, data = x })
    local q32 = hwb.quant.apply(small_net(), { weights = 4, activations = 8, data = images(3) })
    assert.tensor_near(q32(images(3)):totable(), q(x), { rtol = 0.1, atol = 0.05 })
    assert.equal("float64", q(x):dtype())
  end)

  it("updates moving ranges in training, and only there", function()
    local m, x = small_net(), images(16)
    local q = hwb.quant.apply(m, { activations = 8, data = x, activation_range = "ema", momentum = 0.5 })
    local first = q["0"].input_range:clone()
    q(x * 3)
    assert.equal(0, largest(q["0"].input_range - first))
    hwb.train{ model = q, data = { x * 3, hwb.randint(1, 4, 16) }, batch = 16,
      optimizer = hwb.optim.sgd{ lr = 0 } }
    assert.tensor_near((first * 2):totable(), q["0"].input_range, { rtol = 1e-5 }) -- (r + 3r) / 2
  end)

  it("can be copied, converted, put into another model", function()
    local m, x = small_net(), images(4)
    local q = hwb.quant.apply(m, { weights = 3, range = "mse", activations = 6, data = x })
    local y, c = q(x), q:clone()
    assert.equal(0, largest(c(x) - y))
    for _, p in c:parameters() do p:zero_() end
    assert.equal(0, largest(q(x) - y))
    assert.equal(0, largest(nn.Sequential{ q, nn.Identity{} }(x) - y))
    local d = hwb.quant.apply(m, { weights = 8 })
    y = d(x)
    assert.tensor_near(y:totable(), d:to("float64")(x:double()), { rtol = 1e-4, atol = 1e-4 })
  end)

  it("has an exact Hessian", function()
    local m, x = small_net("float64"), images(6, "float64")
    local q = hwb.quant.apply(m, { weights = 4 })
    local H = hwb.hessian(q, { data = { x, hwb.tensor{ 1, 2, 3, 4, 1, 2 }:long() } })
    assert.hvp_symmetric(function(v) return H:apply(v) end, H.n)
  end)
end)

describe("hwb.quant.fold", function()
  it("leaves no batch norms and the same function", function()
    for _, dtype in ipairs{ "float32", "float64" } do
      local m, x = small_net(dtype), images(4, dtype)
      local f = hwb.quant.fold(m)
      assert.tensor_near(m(x):totable(), f(x), { rtol = 1e-3, atol = dtype == "float64" and 1e-12 or 1e-4 })
      for _, child in f:modules() do assert.are_not.equal("BatchNorm2d", child.__name) end
      assert.is_nil(rawget(m["0"], "bias"))
      assert.truthy(rawget(f["0"], "bias"))
      local q = hwb.quant.apply(m, { weights = 8, fold = true })
      assert.is_true(largest(q(x) - m(x)) < 0.1 * largest(m(x)))
    end
  end)

  it("notices outputs that are used elsewhere", function()
    local Fork = nn.Module:extend("Fork")
    function Fork:init()
      self.conv = nn.Conv2d{ 2, 2, kernel = 1 }
      self.bn = nn.BatchNorm2d{ 2 }
      self.bn.running_mean:copy_(hwb.tensor{ 0.5, -1.0 })
    end
    function Fork:forward(x)
      local y = self.conv(x)
      return self.bn(y) + y
    end
    assert.error_matches(function() hwb.quant.fold(Fork(), { input = { 2, 3, 3 } }) end, "differs")
  end)
end)

describe("Module:clone", function()
  it("copies tensors, keeps sharing and leaves the original alone", function()
    local a = nn.Linear{ 3, 3 }
    local m = nn.Sequential{ a, nn.ReLU{}, nn.Linear{ 3, 3 } }
    m["2"].weight = a.weight
    local c, x = m:clone(), hwb.randn(2, 3)
    assert.equal(0, largest(c(x) - m(x)))
    assert.is_true(rawequal(c["0"].weight, c["2"].weight))
    assert.equal(m:num_parameters(), c:num_parameters())
    c["0"].weight:fill_(0)
    assert.is_true(largest(m["0"].weight) > 0)
  end)
end)
