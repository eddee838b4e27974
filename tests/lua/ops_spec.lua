-- Operations on concrete tensors against plain Lua arithmetic, dtypes, errors.
local F64 = {dtype = "float64"}

-- f(x) of every element of a nested table
local function map(f, t)
  if type(t) ~= "table" then return f(t) end
  local out = {}
  for i = 1, #t do out[i] = map(f, t[i]) end
  return out
end

local function sigmoid(x) return 1 / (1 + math.exp(-x)) end

describe("pointwise operations", function()
  local points = {{-2.5, -0.75, 0.5}, {1.25, 2, 3.5}}
  local x = hwb.tensor(points, F64)
  local positive = hwb.tensor({0.1, 1, 7.5}, F64)

  it("agree with Lua's arithmetic", function()
    local expected = {
      neg = function(v) return -v end, exp = math.exp, abs = math.abs, sin = math.sin, cos = math.cos,
      tanh = function(v) return (math.exp(2 * v) - 1) / (math.exp(2 * v) + 1) end,
      sigmoid = sigmoid, relu = function(v) return math.max(v, 0) end,
      sign = function(v) return v > 0 and 1 or v < 0 and -1 or 0 end,
      floor = function(v) return math.floor(v) + 0.0 end, ceil = function(v) return math.ceil(v) + 0.0 end,
      square = function(v) return v * v end, reciprocal = function(v) return 1 / v end,
      silu = function(v) return v * sigmoid(v) end,
      softplus = function(v) return math.log(1 + math.exp(v)) end,
      stop_gradient = function(v) return v end,
      gelu_tanh = function(v)
        local u = math.sqrt(2 / math.pi) * (v + 0.044715 * v ^ 3)
        return 0.5 * v * (1 + (math.exp(2 * u) - 1) / (math.exp(2 * u) + 1))
      end,
    }
    for name, f in pairs(expected) do
      assert.tensor_near(map(f, points), x[name](x), {rtol = 1e-12, atol = 1e-12})
      assert.tensor_near(map(f, points), hwb[name](x:float()), {rtol = 2e-6, atol = 2e-6})
    end
    for name, f in pairs{log = math.log, sqrt = math.sqrt, log1p = function(v) return math.log(1 + v) end,
      rsqrt = function(v) return 1 / math.sqrt(v) end} do
      assert.tensor_near(map(f, positive:totable()), hwb[name](positive), {rtol = 1e-12})
    end
  end)

  it("round half to even", function()
    assert.same({-2, -0.0, 0, 2, 2}, hwb.tensor{-1.5, -0.5, 0.5, 1.5, 2.5}:round():totable())
  end)

  it("know the error function and gelu", function()
    assert.tensor_near({0.8427007929497149, -0.5204998778130465}, hwb.tensor({1, -0.5}, F64):erf(), {rtol = 1e-13})
    assert.tensor_near({0.8413447460685429}, hwb.tensor({1}, F64):gelu(), {rtol = 1e-13})
  end)

  it("combine two tensors, or a tensor and a number", function()
    local a, b = hwb.tensor({6, -3}, F64), hwb.tensor({4, 2}, F64)
    assert.same({10, -1}, (a + b):totable())
    assert.same({2, -5}, (a - b):totable())
    assert.same({24, -6}, (a * b):totable())
    assert.same({1.5, -1.5}, (a / b):totable())
    assert.same({1296, 9}, (a ^ b):totable())
    assert.same({1, -2}, (a // b):totable())
    assert.same({2, 1}, (a % b):totable())
    assert.same({-6, 3}, (-a):totable())
    assert.same({7, -2}, (1 + a):totable())
    assert.same({5, -4}, (a - 1):totable())
    assert.same({0.5, -1}, (3 / a):totable())
    assert.same({64, 0.125}, (2 ^ a):totable())
    assert.same({6, 2}, hwb.maximum(a, b):totable())
    assert.same({4, -3}, hwb.minimum(a, b):totable())
    assert.same({3, 0}, hwb.clamp(a, 0, 3):totable())
    assert.same({6, 0}, a:clamp(0):totable())
    assert.same({3, -3}, a:clamp(nil, 3):totable())
    assert.same({18, 0.0}, a:addcmul(hwb.tensor({3, 3}, F64), b - 2, 2):sub(hwb.tensor({0, -3}, F64)):totable())
  end)

  it("broadcast as numpy does", function()
    local a, b = hwb.ones(2, 1, 3), hwb.arange(1, 4):reshape(4, 1)
    assert.equal("2x4x3", tostring((a * b):size()))
    assert.equal(60, (a * b):sum():item())
    assert.error_matches(function() return hwb.ones(2, 3) + hwb.ones(2) end, "add: shapes 2x3 and 2 do not broadcast")
  end)

  it("compare into bool tensors", function()
    local a = hwb.tensor{1, 2, 3}
    assert.same({true, false, false}, a:lt(2):totable())
    assert.same({true, true, false}, a:le(2):totable())
    assert.same({false, false, true}, a:gt(2):totable())
    assert.same({false, true, true}, a:ge(2):totable())
    assert.same({false, true, false}, a:eq(2):totable())
    assert.same({true, false, true}, a:ne(hwb.tensor{2, 2, 2}):totable())
    assert.same({false, true, false}, (a:ge(2) & a:le(2)):totable())
    assert.same({true, false, true}, (a:lt(2) | a:gt(2)):totable())
    assert.same({false, true, true}, (~a:lt(2)):totable())
    assert.same({true, true, false}, (a:lt(3) ~ hwb.tensor{false, false, false}):totable())
    assert.is_true(a:gt(2):any():item())
    assert.is_false(a:gt(2):all():item())
    assert.same({1, 0, 0}, hwb.where(a:lt(2), 1, 0):totable())
    assert.same({1, -1, -1}, hwb.where(a:lt(2), a, -1):totable())
  end)

  it("raise on what is no tensor", function()
    assert.error_matches(function() return hwb.ones(2) + "x" end, "tensor expected, got string")
    assert.error_matches(function() return hwb.exp(2) end, "tensor expected, got number")
    assert.error_matches(function() return hwb.add(hwb.ones(1)) end, "tensor or number expected")
    assert.error_matches(function() return hwb.ones(1) + {} end, "tensor expected, got table")
  end)
end)

describe("dtypes", function()
  local i, f, d = hwb.tensor({7, -2}, {dtype = "int64"}), hwb.ones(2), hwb.ones(2, F64)

  it("promote", function()
    assert.equal("float64", (f + d):dtype())
    assert.equal("float32", (i + f):dtype())
    assert.equal("int64", (i * 2):dtype())
    assert.equal("float32", (i * 0.5):dtype())
    assert.equal("float32", (i / 2):dtype())
    assert.equal("float32", (f * 0.1):dtype())
    assert.equal("float64", (d * 0.1):dtype())
    assert.equal("int64", (i // 2):dtype())
    assert.equal("int32", (i:int() // 2):dtype())
    assert.equal("int64", (i:gt(0) + 1):dtype())
    assert.equal("int64", i:byte():sum():dtype())
    assert.equal("float32", i:exp():dtype())
    assert.same({3, -1}, (i // 2):totable())
    assert.same({1, 1}, (i % 3):totable())
    assert.same({3.5, -1}, (i / 2):totable())
  end)

  it("keep float64 numbers exact", function()
    assert.equal(0.1 + 0.2, (hwb.full(1, 0.1, F64) + 0.2):item())
  end)

  it("sum truth values and bytes without overflow", function()
    assert.equal(300, hwb.ones(300):gt(0):sum():item())
    assert.equal(51000, hwb.full({200}, 255, {dtype = "uint8"}):sum():item())
  end)
end)

describe("reductions", function()
  local t = hwb.tensor({{1, 5, 3}, {4, 2, 6}}, F64)

  it("over all, one or several dims", function()
    assert.equal(21, t:sum():item())
    assert.same({5, 7, 9}, t:sum(1):totable())
    assert.same({9, 12}, t:sum(-1):totable())
    assert.same({{9}, {12}}, t:sum(2, {keep = true}):totable())
    assert.same({{21}}, t:sum({1, 2}, {keep = true}):totable())
    assert.equal(21, hwb.sum(t, {1, 2}):item())
    assert.equal(3.5, t:mean():item())
    assert.same({3, 4}, t:mean(2):totable())
    assert.equal("float32", hwb.tensor({1, 2}, {dtype = "int64"}):mean():dtype())
  end)

  it("var, std and norm", function()
    assert.tensor_near({4, 4}, t:var(2), {rtol = 1e-12})
    assert.tensor_near({2, 2}, t:std(2), {rtol = 1e-12})
    assert.tensor_near({8 / 3, 8 / 3}, t:var(2, {correction = 0}), {rtol = 1e-12})
    assert.tensor_near(math.sqrt(91), t:norm(), {rtol = 1e-12})
    assert.tensor_near({5, 7, 9}, t:norm(1, {p = 1}), {rtol = 1e-12})
    assert.tensor_near(6, t:norm{p = math.huge}, {rtol = 1e-12})
    assert.tensor_near((1 + 125 + 27 + 64 + 8 + 216) ^ (1 / 3), t:norm{p = 3}, {rtol = 1e-12})
  end)

  it("max and min with 1-based places", function()
    assert.equal(6, t:max():item())
    assert.equal(1, t:min():item())
    local values, places = t:max(2)
    assert.same({5, 6}, values:totable())
    assert.same({2, 3}, places:totable())
    assert.equal("int64", places:dtype())
    values, places = t:min(1, {keep = true})
    assert.same({{1, 2, 3}}, values:totable())
    assert.same({{1, 2, 1}}, places:totable())
    assert.equal(6, t:argmax():item())
    assert.equal(1, t:argmin():item())
    assert.same({2, 1, 2}, t:argmax(1):totable())
    assert.same({1, 2}, t:argmin(2):totable())
    assert.equal(1, hwb.tensor{3, 3}:argmax():item())
    assert.equal(9, hwb.tensor({3, 9}, {dtype = "uint8"}):max():item())
    assert.same({4, 5, 6}, (t:max{1}):totable())
  end)

  it("raise on unknown dims and options", function()
    assert.error_matches(function() t:sum(3) end, "dim 3 of a tensor with 2 dims")
    assert.error_matches(function() t:sum(0) end, "dim 0")
    assert.error_matches(function() t:sum(1, {keepdim = true}) end, "unknown option 'keepdim' %(known: keep%)")
    assert.error_matches(function() t:argmax{1, 2} end, "one dim")
    assert.has_error(function() hwb.zeros(0):max() end)
  end)
end)

describe("products", function()
  it("agree with sums", function()
    local a, b = hwb.tensor({{1, 2}, {3, 4}, {5, 6}}, F64), hwb.tensor({{1, 0, -1}, {2, 1, 0}}, F64)
    assert.same({{5, 2, -1}, {11, 4, -3}, {17, 6, -5}}, a:matmul(b):totable())
    assert.same({{5, 2, -1}, {11, 4, -3}, {17, 6, -5}}, a:mm(b):totable())
    assert.same({5, 11, 17}, a:mv(hwb.tensor({1, 2}, F64)):totable())
    assert.equal(5, hwb.dot(hwb.tensor{1, 2}, hwb.tensor{1, 2}):item())
    assert.same({{3, 4}, {6, 8}}, hwb.ger(hwb.tensor{1, 2}, hwb.tensor{3, 4}):totable())
    local batch = hwb.stack{a, a * 2}
    assert.same((a:mm(b) * 2):totable(), batch:matmul(b)[2]:totable())
    assert.same((a:mm(b) * 2):totable(), batch:bmm(b:expand(2, 2, 3))[2]:totable())
    assert.same(a:mm(b):totable(), b:t():mm(a:t()):t():totable())
  end)

  it("say the shapes that do not fit", function()
    assert.error_matches(function() hwb.ones(128, 10):mm(hwb.ones(12, 3)) end,
      "mm: %[128x10%] x %[12x3%]: inner sizes 10 and 12 differ")
    assert.error_matches(function() hwb.ones(2):mm(hwb.ones(2, 2)) end, "wants tensors with 2 and 2 dims")
    assert.error_matches(function() hwb.ones(2, 2):mm(hwb.ones(2, 2, F64)) end, "float32 x float64")
  end)
end)

describe("layers' mathematics", function()
  local z = {{1, 2, 0.5}, {-1, 0, 3}}
  local logits = hwb.tensor(z, F64)

  local function softmax(row)
    local sum, out = 0, {}
    for _, v in ipairs(row) do sum = sum + math.exp(v) end
    for i, v in ipairs(row) do out[i] = math.exp(v) / sum end
    return out
  end

  it("softmax along any dim", function()
    local expected = {softmax(z[1]), softmax(z[2])}
    assert.tensor_near(expected, hwb.softmax(logits), {rtol = 1e-12})
    assert.tensor_near(expected, logits:t():softmax(1):t(), {rtol = 1e-12})
    assert.tensor_near(expected, logits:log_softmax(-1):exp(), {rtol = 1e-12})
    assert.tensor_near({0.5, 0.5}, hwb.softmax(hwb.tensor{1000, 1000}), {})
  end)

  it("cross entropy with 1-based labels", function()
    local labels = hwb.tensor({2, 3}, {dtype = "int64"})
    local first, second = -math.log(softmax(z[1])[2]), -math.log(softmax(z[2])[3])
    assert.tensor_near((first + second) / 2, hwb.cross_entropy(logits, labels), {rtol = 1e-12})
    assert.tensor_near({first, second}, logits:cross_entropy(labels, {reduction = "none"}), {rtol = 1e-12})
    assert.tensor_near((first + second) / 2, hwb.cross_entropy(logits, labels:byte()), {rtol = 1e-12})
    local smooth = 0
    for i = 1, 3 do smooth = smooth - (0.1 / 3 + (i == 2 and 0.9 or 0)) * math.log(softmax(z[1])[i]) end
    assert.tensor_near({smooth}, logits[{{1}}]:cross_entropy(labels[{{1}}], {reduction = "none", smoothing = 0.1}),
      {rtol = 1e-12})
    assert.error_matches(function() hwb.cross_entropy(logits, hwb.tensor({0, 1}, {dtype = "int64"})) end,
      "label 0 .* outside 1..3")
    assert.error_matches(function() hwb.cross_entropy(logits, hwb.tensor({1, 4}, {dtype = "int64"})) end,
      "label 4 .* outside 1..3")
    assert.error_matches(function() hwb.cross_entropy(logits, hwb.tensor{1, 2}) end, "must be integers, not float32")
    assert.error_matches(function() hwb.cross_entropy(logits, labels, {reduction = "sum"}) end, "neither mean nor none")
    assert.error_matches(function() hwb.cross_entropy(logits, labels[{{1}}]) end, "2x3")
  end)

  it("one_hot and mse", function()
    assert.same({{1, 0, 0}, {0, 0, 1}}, hwb.one_hot(hwb.tensor({1, 3}, {dtype = "int64"}), 3):totable())
    assert.error_matches(function() hwb.one_hot(hwb.tensor({4}, {dtype = "int64"}), 3) end, "label 4")
    assert.tensor_near(2.5, hwb.mse(hwb.tensor{1, 2}, hwb.tensor{2, 4}), {})
    assert.same({1, 4}, hwb.mse(hwb.tensor{1, 2}, hwb.tensor{2, 4}, {reduction = "none"}):totable())
    assert.error_matches(function() hwb.mse(hwb.ones(2), hwb.ones(3)) end, "%[2%], target %[3%]")
  end)

  it("linear, layer_norm, batch_norm", function()
    local x = hwb.tensor({{1, 2, 6}}, F64)
    local w, b = hwb.tensor({{1, 0, 1}, {0, 2, 0}}, F64), hwb.tensor({0.5, -1}, F64)
    assert.same({{7.5, 3}}, hwb.linear(x, w, b):totable())
    assert.same({{7, 4}}, hwb.linear(x, w):totable())
    assert.error_matches(function() hwb.linear(x, w:t()) end, "linear: input %[1x3%], weight %[3x2%]")
    local ones, zeros = hwb.ones(3, F64), hwb.zeros(3, F64)
    local s = math.sqrt(14 / 3)
    assert.tensor_near({{-2 / s, -1 / s, 3 / s}}, hwb.layer_norm(x, ones, zeros, {eps = 0}), {rtol = 1e-12})
    local image = x:reshape(1, 3, 1, 1)
    local mean, var = hwb.tensor({1, 1, 1}, F64), hwb.tensor({4, 4, 4}, F64)
    assert.tensor_near({0, 0.5, 2.5}, hwb.batch_norm(image, ones, zeros, mean, var, {eps = 0}):flatten(),
      {rtol = 1e-12})
    local batch = hwb.tensor({1, 3}, F64):reshape(2, 1)
    local y, m, v = hwb.batch_norm_batch(batch, ones[{{1}}], zeros[{{1}}], {eps = 0})
    assert.tensor_near({{-1}, {1}}, y, {rtol = 1e-12})
    assert.tensor_near({2}, m, {rtol = 1e-12})
    assert.tensor_near({2}, v, {rtol = 1e-12})
    assert.error_matches(function() hwb.layer_norm(x, ones, zeros, {epsilon = 1}) end, "unknown option 'epsilon'")
  end)

  it("convolution and pools", function()
    local x = hwb.arange(1, 9, F64):reshape(1, 1, 3, 3)
    local w = hwb.tensor({{{{1, 0}, {0, -1}}}}, F64)
    assert.same({{{{-4, -4}, {-4, -4}}}}, hwb.conv2d(x, w):totable())
    assert.equal("1x1x4x4", tostring(x:conv2d(w, {padding = 1}):size()))
    assert.equal("1x1x2x1", tostring(x:conv2d(w, nil, {stride = {1, 2}}):size()))
    assert.equal(-4 + 10, x:conv2d(w, hwb.tensor({10}, F64))[{1, 1, 1, 1}])
    assert.same({{{{5, 6}, {8, 9}}}}, hwb.max_pool2d(x, 2, {stride = 1}):totable())
    assert.same({{{{3, 4}, {6, 7}}}}, x:avg_pool2d{kernel = 2, stride = 1}:totable())
    assert.equal("1x1x2x2", tostring(x:max_pool2d(2, {ceil = true}):size()))
    assert.error_matches(function() hwb.conv2d(x, w, {strides = 2}) end, "unknown option 'strides'")
    assert.error_matches(function() hwb.max_pool2d(x, {stride = 2}) end, "kernel")
    assert.error_matches(function() hwb.conv2d(x, hwb.ones(1, 2, 2, 2, F64)) end, "1x1x3x3")
    assert.error_matches(function() hwb.conv2d(x, w, nil, {stride = 0}) end, "stride must be a whole number >= 1")
  end)

  it("attention with masks", function()
    local q = hwb.tensor({{1, 0}, {0, 1}}, F64)
    local v = hwb.tensor({{1, 2}, {3, 4}}, F64)
    local causal = hwb.tril(hwb.ones(2, 2)):bool()
    local y = hwb.attention(q, q, v, causal)
    assert.tensor_near({1, 2}, y[1], {rtol = 1e-12})
    local p = math.exp(1 / math.sqrt(2)) / (1 + math.exp(1 / math.sqrt(2)))
    assert.tensor_near({1 - p + 3 * p, 2 - 2 * p + 4 * p}, y[2], {rtol = 1e-12})
    local added = hwb.where(causal, 0, -1e30):double()
    assert.tensor_near(y:totable(), hwb.attention(q, q, v, added), {rtol = 1e-12})
  end)

  it("fake quantization and padding", function()
    local x = hwb.tensor({-3, -0.26, 0.1, 0.3, 9}, F64)
    assert.tensor_near({-1, -0.5, 0, 0.5, 1}, hwb.fake_quant(x, 0.5, 0, -2, 2), {})
    assert.same({0, 1, 2, 0, 0}, hwb.pad(hwb.tensor{1, 2}, {{1, 2}}):totable())
    assert.same({{0, 1, 2}}, hwb.tensor{{1, 2}}:pad{{1, 0}}:totable())
  end)
end)

describe("picking and scattering", function()
  local t = hwb.tensor({{1, 2}, {3, 4}, {5, 6}}, F64)
  local function ints(v) return hwb.tensor(v, {dtype = "int64"}) end

  it("with 1-based indices", function()
    assert.same({{5, 6}, {1, 2}}, t:index_select(1, ints{3, 1}):totable())
    assert.same({{2}, {4}, {6}}, t:index_select(2, ints{2}):totable())
    assert.same({{1, 4}, {5, 2}}, t:gather(1, ints{{1, 2}, {3, 1}}):totable())
    assert.same({{2}, {3}, {6}}, t:gather(2, ints{{2}, {1}, {2}}):totable())
    assert.equal("2x1x2", tostring(hwb.embedding(t, ints{{1}, {3}}):size()))
    assert.same({{1, 2}, {13, 24}, {5, 6}}, t:index_add(1, ints{2, 2}, hwb.tensor({{4, 8}, {6, 12}}, F64)):totable())
    assert.same({{1, 12}, {13, 4}, {5, 6}}, t:scatter_add(1, ints{{2, 1}}, hwb.tensor({{10, 10}}, F64)):totable())
    assert.same({{2}, {4}}, t:gather(2, ints{{2}, {2}}):totable())
  end)

  it("refuse indices outside", function()
    assert.error_matches(function() t:index_select(1, ints{0}) end, "index 0 .* outside 1..3")
    assert.error_matches(function() t:index_select(2, ints{3}) end, "index 3 .* outside 1..2")
    assert.error_matches(function() t:gather(1, ints{{4, 1}}) end, "outside 1..3")
    assert.error_matches(function() t:gather(1, ints{1}) end, "index %[1%] for a tensor %[3x2%] along dim 1")
    assert.error_matches(function() hwb.embedding(t, ints{4}) end, "outside 1..3")
    assert.error_matches(function() t:index_select(1, hwb.tensor{1}) end, "integers")
  end)
end)

describe("operations that read values", function()
  local t = hwb.tensor{{3, 1, 2}, {9, 7, 8}}

  it("sort, topk, cumsum, nonzero", function()
    local values, places = t:sort()
    assert.same({{1, 2, 3}, {7, 8, 9}}, values:totable())
    assert.same({{2, 3, 1}, {2, 3, 1}}, places:totable())
    values = t:sort(1, {descending = true})
    assert.same({{9, 7, 8}, {3, 1, 2}}, values:totable())
    values, places = t:topk(2)
    assert.same({{3, 2}, {9, 8}}, values:totable())
    assert.same({{1, 3}, {1, 3}}, places:totable())
    assert.same({{1}, {7}}, (t:topk(1, 2, {largest = false})):totable())
    assert.same({{3, 4, 6}, {9, 16, 24}}, t:cumsum():totable())
    assert.same({{3, 1, 2}, {12, 8, 10}}, t:cumsum(1):totable())
    assert.same({{1, 1}, {2, 1}, {2, 3}}, hwb.tensor{{5, 0, 0}, {1, 0, 2}}:nonzero():totable())
    assert.error_matches(function() t:topk(4) end, "4 of 3")
    local nan = hwb.tensor{2, 0 / 0, 1}:sort()
    assert.same({1, 2}, {nan[1], nan[2]})
    assert.is_true(nan[3] ~= nan[3])
  end)

  it("triangles, diagonals, eigenvalues", function()
    assert.same({{3, 0, 0}, {9, 7, 0}}, t:tril():totable())
    assert.same({{0, 1, 2}, {0, 0, 8}}, t:triu(1):totable())
    assert.same({3, 7}, t:diag():totable())
    assert.same({{1, 0}, {0, 2}}, hwb.diag(hwb.tensor{1, 2}):totable())
    hwb.manual_seed(5)
    local a = hwb.randn(6, 6, F64)
    a = a + a:t()
    local w, v = hwb.eigh(a)
    assert.tensor_near(a:totable(), (v * w):mm(v:t()), {rtol = 1e-10, atol = 1e-10})
    assert.tensor_near(hwb.eye(6):totable(), v:t():mm(v), {rtol = 1e-10, atol = 1e-10})
    assert.is_true(w == (w:sort()))
    assert.error_matches(function() hwb.eigh(t) end, "%[2x3%] is not a square")
  end)
end)
