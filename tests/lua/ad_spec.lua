-- Derivatives of Lua functions, against closed forms and central differences.
local F64 = {dtype = "float64"}

local function random(...) return hwb.randn({...}, F64) end
local function dot(a, b) return (a * b):sum():item() end

-- What users write, on t[3,4].
local function written()
  local w = random(4, 2)
  local labels = hwb.tensor({1, 2, 2}, {dtype = "int64"})
  local mask = hwb.tensor({{true, false, true, true}, {false, false, true, false}, {true, true, false, true}})
  return {
    function(t) return (t * t:sin()):sum() end,
    function(t) return t:matmul(w):tanh():square():mean() end,
    function(t) return hwb.cross_entropy(t:matmul(w), labels) end,
    function(t) return (t:softmax(1):log() * t:sigmoid()):sum() end,
    function(t) return (t:gelu() * t:silu() + t:softplus()):sum() end,
    function(t) return t:var(2):sqrt():sum() + t:norm() end,
    function(t) return (t[1] * t[{{2, 3}}]):sum() + t[{3, 4}] ^ 3 end,
    function(t) return hwb.cat({t, t * t}, 2):t():reshape(4, 6):exp():mean() end,
    function(t) return hwb.stack({t, -t}):max(1):sum() end,
    function(t) return hwb.where(t:gt(0), t ^ 3, t:exp()):sum() end,
    function(t) return t:clamp(-0.5, 0.5):sum() + t:abs():sum() + (t:relu() ^ 2):sum() end,
    function(t) return (2 ^ t):sum() + (1 / (t * t + 1)):sum() end,
    function(t) return t:index_select(2, hwb.tensor({4, 1, 1}, {dtype = "int64"})):square():sum() end,
    function(t) return t:gather(2, hwb.tensor({{1}, {4}, {2}}, {dtype = "int64"})):exp():sum() end,
    function(t) return t:scatter_add(1, hwb.tensor({{1, 3, 3, 2}}, {dtype = "int64"}), t[{{2}}]):square():sum() end,
    function(t) return t[mask]:cos():sum() end,
    function(t) return t:expand(2, 3, 4):permute(3, 1, 2):flatten():square():sum() end,
    function(t) return hwb.layer_norm(t, hwb.ones(4, F64), hwb.zeros(4, F64)):tanh():sum() end,
    function(t) return hwb.attention(t, t * 2, t):square():sum() end,
    function(t) return t:reshape(1, 1, 3, 4):conv2d(w:reshape(2, 1, 2, 2), {padding = 1}):sin():sum() end,
    function(t) return t:reshape(1, 1, 3, 4):max_pool2d(2, {stride = 1}):sum()
      + t:reshape(1, 1, 3, 4):avg_pool2d(2):sin():sum() end,
    function(t) return t:min(2):sum() * t:mean() - t:addcmul(t, t, 0.3):sum() end,
    function(t) return hwb.bmm(t:reshape(1, 3, 4), t:t():reshape(1, 4, 3)):tanh():sum()
      + t[1]:ger(t[2]):sin():sum() end,
    function(t) return (t % 2 * t):sum() + (t // 1 * t * t):sum() end,
    function(t) return hwb.linear(t:reshape(3, 1, 4), w:t(), w[1]):square():sum() end,
    function(t) return hwb.embedding(t, hwb.tensor({{1, 2}, {3, 3}}, {dtype = "int64"})):sin():sum() end,
    function(t) return t:norm(2, {p = 3}):sum() + t:norm{p = 1} ^ 2 + t:norm{p = math.huge} ^ 2 end,
    function(t) return t:pad{{1, 1}, {0, 2}}:cos():sum() + t:slice(2, 1, 4, 2):exp():sum() end,
    function(t) return hwb.batch_norm_batch(t, hwb.ones(4, F64), hwb.zeros(4, F64)):tanh():sum()
      + hwb.mse(t, t:exp()) end,
  }
end

-- (grad f(x + eps v) - grad f(x - eps v)) / 2 eps
local function difference_hvp(f, x, v, eps)
  local g = hwb.grad(f)
  return (g(x + v * eps) - g(x - v * eps)) / (2 * eps)
end

describe("hwb.grad", function()
  local x
  before_each(function()
    hwb.manual_seed(7)
    x = random(3, 4)
  end)

  it("agrees with differences on what users write", function()
    for i, f in ipairs(written()) do
      local ok, why = pcall(function() assert.grad_ok(f, x, {tol = 2e-7}) end)
      assert.is_true(ok, ("function %d: %s"):format(i, tostring(why)))
    end
  end)

  it("gives one gradient for each tensor argument", function()
    local a, b = hwb.tensor({1, 2}, F64), hwb.tensor({3, 4}, F64)
    local ga, gb, none = hwb.grad(function(p, scale, q) return (p * p * q * scale):sum() end)(a, 2, b)
    assert.same({12, 32}, ga:totable())
    assert.same({2, 8}, gb:totable())
    assert.is_nil(none)
    local value, gx = hwb.value_and_grad(function(p) return (p * p):sum() end)(a)
    assert.equal(5, value:item())
    assert.same({2, 4}, gx:totable())
  end)

  it("takes lists of tensors and gives lists back", function()
    local p = {hwb.tensor({2}, F64), {hwb.tensor({3}, F64)}}
    local g = hwb.grad(function(list) return (list[1] * list[2][1] ^ 2):sum() end)(p)
    assert.same({9}, g[1]:totable())
    assert.same({12}, g[2][1]:totable())
    assert.same({2}, p[1]:totable())
  end)

  it("passes integer tensors through", function()
    local labels = hwb.tensor({1, 2, 1}, {dtype = "int64"})
    local g, none = hwb.grad(hwb.cross_entropy)(x, labels)
    assert.equal("3x4", tostring(g:size()))
    assert.is_nil(none)
  end)

  it("gives zeros where nothing depends", function()
    local ga, gb = hwb.grad(function(a) return a:sum() end)(x, x + 1)
    assert.same(hwb.ones(3, 4):totable(), ga:totable())
    assert.same(hwb.zeros(3, 4):totable(), gb:totable())
    assert.same(hwb.zeros(3, 4):totable(), hwb.grad(function() return hwb.ones(1, F64) end)(x):totable())
    assert.same(hwb.zeros(3, 4):totable(), hwb.grad(function(a) return (a:stop_gradient() ^ 2):sum() end)(x):totable())
  end)

  it("treats captured tensors as constants, the argument itself too", function()
    assert.is_true(x == hwb.grad(function(a) return (a * x):sum() end)(x))
  end)

  it("shares weights", function()
    local w = random(4, 4)
    assert.grad_ok(function(t) return x:matmul(t):tanh():matmul(t):matmul(t):square():sum() end, w, {tol = 2e-7})
  end)

  it("keeps float32 in float32", function()
    assert.equal("float32", hwb.grad(function(a) return (a * 0.5):sum() end)(x:float()):dtype())
  end)

  it("may be infinite", function()
    assert.same({math.huge}, hwb.grad(function(a) return a:sqrt():sum() end)(hwb.zeros(1)):totable())
  end)

  it("sees changes of captured tensors", function()
    local c = hwb.ones(3, 4, F64)
    local g = hwb.grad(function(a) return (a * c):sum() end)
    assert.equal(12, g(x):sum():item())
    c:mul_(2)
    assert.equal(24, g(x):sum():item())
  end)

  it("nests", function()
    local function f(a) return (a ^ 3):sum() end
    local function squared_gradient(a)
      local g = hwb.grad(f)(a)
      return (g * g):sum()
    end
    assert.tensor_near((36 * x ^ 3):totable(), hwb.grad(squared_gradient)(x), {rtol = 1e-12})
    assert.grad_ok(squared_gradient, x, {tol = 1e-6})
    -- perturbations are kept apart: d/dx x * d/dy (x + y) = 1
    local one = hwb.grad(function(a)
      return (a * hwb.grad(function(b) return (a + b):sum() end)(a)):sum()
    end)(x)
    assert.same(hwb.ones(3, 4):totable(), one:totable())
    -- an inner derivative at a constant, of a function that captures a variable
    local y = hwb.ones(3, 4, F64)
    local two = hwb.grad(function(a)
      return hwb.grad(function(b) return (a * b * b):sum() end)(y):sum()
    end)(x)
    assert.same((y * 2):totable(), two:totable())
    -- third order
    local third = hwb.grad(function(a)
      return hwb.grad(function(b) return hwb.grad(function(c) return (c ^ 4):sum() end)(b):sum() end)(a):sum()
    end)(x)
    assert.tensor_near((24 * x):totable(), third, {rtol = 1e-10})
    -- jvp and hvp inside a gradient
    local v = random(3, 4)
    assert.grad_ok(function(a) return (hwb.hvp(f, a, v) ^ 2):sum() end, x, {tol = 1e-5})
    local function sine(b) return b:sin() end
    assert.grad_ok(function(a) return select(2, hwb.jvp(sine, a, v)):exp():sum() end, x, {tol = 1e-6})
  end)

  it("works inside a layer", function()
    local Field = hwb.nn.Module:extend("Field")
    function Field:init() self.k = hwb.nn.parameter(hwb.tensor({2}, F64)) end
    function Field:forward(t)
      return hwb.grad(function(q) return (q * q * self.k):sum() end)(t)
    end
    assert.same({4, 12}, Field{}(hwb.tensor({1, 3}, F64)):totable())
  end)
end)

describe("hwb.jvp and hwb.vjp", function()
  it("are each other's transpose", function()
    hwb.manual_seed(2)
    local w = random(4, 5)
    local function f(t) return t:matmul(w):tanh() * t:sum(2, {keep = true}) end
    local x, v, u = random(3, 4), random(3, 4), random(3, 5)
    local y, tangent = hwb.jvp(f, x, v)
    local y2, cotangent = hwb.vjp(f, x, u)
    assert.tensor_near(f(x):totable(), y, {rtol = 1e-12})
    assert.is_true(y == y2)
    assert.is_true(math.abs(dot(u, tangent) - dot(cotangent, v)) < 1e-11)
    local eps = 1e-6
    assert.tensor_near(((f(x + v * eps) - f(x - v * eps)) / (2 * eps)):totable(), tangent, {rtol = 1e-6, atol = 1e-8})
  end)

  it("take lists", function()
    local x = {hwb.tensor({2}, F64), hwb.tensor({5}, F64)}
    local function f(list) return list[1] * list[2] end
    local y, tangent = hwb.jvp(f, x, {hwb.tensor({1}, F64), hwb.tensor({10}, F64)})
    assert.equal(10, y:item())
    assert.equal(25, tangent:item())
    local _, back = hwb.vjp(f, x, hwb.tensor({3}, F64))
    assert.same({{15}, {6}}, {back[1]:totable(), back[2]:totable()})
  end)
end)

describe("hwb.hvp", function()
  it("agrees with differences of gradients", function()
    hwb.manual_seed(11)
    local x = random(3, 4)
    local w, labels = random(4, 5), hwb.tensor({5, 1, 2}, {dtype = "int64"})
    local functions = {
      function(t) return (t * t:sin()):sum() * t:mean() end,
      function(t) return hwb.cross_entropy(t:matmul(w), labels, {smoothing = 0.1}) end,
      function(t) return (t:gelu() * t:silu()):matmul(w):softplus():square():mean() end,
      function(t) return hwb.attention(t, t * t, t):tanh():sum() end,
      function(t) return hwb.layer_norm(t, hwb.ones(4, F64), hwb.zeros(4, F64)):exp():sum() end,
      function(t) return t:reshape(1, 1, 3, 4):conv2d(t[{{1, 2}, {1, 2}}]:reshape(1, 1, 2, 2)):square():sum() end,
      function(t) return t:std(1):sum() + t:norm() ^ 3 end,
      function(t) return (t:index_select(1, hwb.tensor({3, 3, 1}, {dtype = "int64"})) * t):square():sum() end,
    }
    for _, f in ipairs(written()) do functions[#functions + 1] = f end
    for i, f in ipairs(functions) do
      local v = random(3, 4)
      local hv = hwb.hvp(f, x, v)
      assert.tensor_near(difference_hvp(f, x, v, 1e-5):totable(), hv, {rtol = 1e-5, atol = 1e-6})
      -- symmetric
      local u = random(3, 4)
      local a, b = dot(u, hv), dot(v, hwb.hvp(f, x, u))
      assert.is_true(math.abs(a - b) <= 1e-9 * math.max(1, math.abs(a)), "function " .. i)
      -- three rows at once are three calls
      local rows = hwb.stack{v, u, v - u}
      local at_once = hwb.hvp(f, x, rows)
      assert.equal("3x3x4", tostring(at_once:size()))
      for k = 1, 3 do
        assert.tensor_near(hwb.hvp(f, x, rows[k]):totable(), at_once[k], {rtol = 1e-11, atol = 1e-12})
      end
    end
  end)

  it("gives the matrix of a quadratic form", function()
    hwb.manual_seed(12)
    local a = random(5, 5)
    local h = hwb.hvp(function(t) return t:dot(a:mv(t)) end, random(5), hwb.eye(5, F64))
    assert.tensor_near((a + a:t()):totable(), h, {rtol = 1e-12, atol = 1e-12})
  end)

  it("takes lists of parameters, one row or many", function()
    hwb.manual_seed(13)
    local p = {random(2, 3), random(3)}
    local function f(list) return (list[1]:mv(list[2]):tanh() ^ 2):sum() end
    local v = {random(2, 3), random(3)}
    local hv = hwb.hvp(f, p, v)
    local eps, g = 1e-5, hwb.grad(f)
    local up, down = g{p[1] + v[1] * eps, p[2] + v[2] * eps}, g{p[1] - v[1] * eps, p[2] - v[2] * eps}
    for i = 1, 2 do
      assert.tensor_near(((up[i] - down[i]) / (2 * eps)):totable(), hv[i], {rtol = 1e-6, atol = 1e-8})
    end
    local many = hwb.hvp(f, p, {hwb.stack{v[1], v[1] * 2}, hwb.stack{v[2], v[2] * 2}})
    assert.tensor_near((hv[1] * 2):totable(), many[1][2], {rtol = 1e-12})
    assert.tensor_near(hv[2]:totable(), many[2][1], {rtol = 1e-12})
  end)

  it("gives zeros for linear functions", function()
    local x = hwb.ones(3, F64)
    assert.same({0, 0, 0}, hwb.hvp(function(t) return t:sum() end, x, x):totable())
    assert.same({{0, 0, 0}, {0, 0, 0}}, hwb.hvp(function(t) return t:sum() end, x, hwb.ones(2, 3, F64)):totable())
  end)
end)

describe("tracing", function()
  local x = hwb.ones(2, 3)

  it("refuses to read values", function()
    local says = "is being traced; its values are not known yet"
    for _, f in ipairs{
      function(t) return t:sum():item() end, function(t) return t:totable() end,
      function(t) return t:sum() > 1 and t or t end, function(t) return t == t + 1 and t or t end,
      function(t) return t(1, 1) end, function(t) return t:sort() end, function(t) return t:stride() end,
      function(t) return x[t:gt(0)] end,
    } do
      assert.error_matches(function() hwb.grad(f)(x) end, says)
    end
  end)

  it("refuses to write", function()
    assert.error_matches(function() hwb.grad(function(t) t[1] = 0 return t:sum() end)(x) end, "cannot be written")
    assert.error_matches(function() hwb.grad(function(t) return t:add_(1):sum() end)(x) end,
      "cannot be changed in place")
    assert.error_matches(function() hwb.grad(function(t) return hwb.zeros(2, 3):copy_(t):sum() end)(x) end, "traced")
  end)

  it("says what the function must return, with the shape", function()
    assert.error_matches(function() hwb.grad(function(t) return t end)(x) end, "grad: .* tensor %[2x3%]; one element")
    local _, why = pcall(function() local g = hwb.grad(function(t) return t end)(x) return g end)
    assert.matches("ad_spec.lua:%d+: grad: ", why)
    assert.error_matches(function() hwb.hvp(function(t) return t end, x, x) end, "hvp: .* tensor %[2x3%]")
    assert.error_matches(function() hwb.grad(function() end)(x) end, "return one tensor, not nothing")
    assert.error_matches(function() hwb.grad(function() return 3 end)(x) end, "return one tensor, not number")
    assert.error_matches(function() hwb.grad(function(t) return t:sum(), t end)(x) end, "not 2 values")
    assert.error_matches(function() hwb.grad(function(t) return t:argmax() end)(x) end, "returned int64")
    assert.error_matches(function() hwb.grad(function(t) return t end)(3) end, "no argument is a float tensor")
    assert.error_matches(function() hwb.grad(3)(x) end, "function expected, got number")
  end)

  it("checks directions", function()
    local function f(t) return (t * t):sum() end
    assert.error_matches(function() hwb.hvp(f, x, hwb.ones(3)) end, "hvp: v %[3%] does not fit x %[2x3%]")
    assert.error_matches(function() hwb.hvp(f, x, hwb.ones(2, 3, F64)) end, "v is float64, x is float32")
    assert.error_matches(function() hwb.hvp(function(l) return (l[1] * l[2]):sum() end, {x, x}, {x}) end,
      "v has 1 float tensors, x has 2")
    assert.error_matches(function() hwb.jvp(f, x, hwb.ones(1, 2, 3)) end, "jvp: v %[1x2x3%] does not fit")
    assert.error_matches(function() hwb.vjp(function(t) return t end, x, hwb.ones(3)) end,
      "cotangent %[3%] of an output %[2x3%]")
  end)

  it("ends at lists that contain themselves", function()
    local list = {x}
    list[2] = list
    assert.error_matches(function() hwb.grad(function(l) return l[1]:sum() end)(list) end, "contain themselves")
  end)

  it("passes errors of the function through and recovers", function()
    local ok, why = pcall(hwb.grad(function() error{mine = true} end), x)
    assert.is_false(ok)
    assert.is_true(why.mine)
    assert.error_matches(function() hwb.grad(function(t) return t:mm(hwb.ones(2, 2)) end)(x) end,
      "inner sizes 3 and 2 differ")
    assert.same({{2, 2, 2}, {2, 2, 2}}, hwb.grad(function(t) return (t * t):sum() end)(x):totable())
  end)

  it("refuses traced tensors that have escaped", function()
    local escaped
    hwb.grad(function(t) escaped = t return t:sum() end)(x)
    assert.matches("^traced tensor 2x3 float32", tostring(escaped))
    assert.equal("2x3", tostring(escaped:size()))
    assert.error_matches(function() hwb.grad(function(t) return (t * escaped):sum() end)(x) end, "outside the function")
    assert.error_matches(function() return escaped:item() end, "traced")
  end)

  it("shows the graph", function()
    local text = hwb.graph_dump(function(t) return t:tanh():sum() end, x)
    assert.matches("tanh", text)
    assert.matches("output 0", text)
  end)
end)
