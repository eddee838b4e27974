-- Programs on the device of HWB_TEST_DEVICE against the CPU: the same network, its
-- Hessian products, new vectors, weights and batches (a stage is recorded at its second
-- run and replayed from the third), eager operations, and where a NaN came from.
local hwb = require "hwb"
local nn = hwb.nn

local name = os.getenv("HWB_TEST_DEVICE")
local why = "HWB_TEST_DEVICE is not set"
if name then
  local ok
  ok, why = hwb.device(name)
  hwb.set_device("cpu")
  if not ok then name = nil end
end

local function on(device, f)
  hwb.set_device(device)
  local results = table.pack(pcall(f))
  hwb.set_device("cpu")
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

local function close(got, want, tolerance)
  local scale = math.max(want:abs():max():item(), 1e-30)
  local off = (got - want):abs():max():item() / scale
  assert.is_true(off <= tolerance, ("off by %.3g of %.3g"):format(off, scale))
end

local function network(dtype)
  hwb.manual_seed(3)
  local m = nn.Sequential{nn.Conv2d{3, 8, kernel = 3, padding = 1}, nn.BatchNorm2d{8}, nn.ReLU{},
    nn.MaxPool2d{2}, nn.Conv2d{8, 8, kernel = 3, stride = 2, padding = 1}, nn.Tanh{}, nn.Flatten{},
    nn.Linear{8 * 2 * 2, 5}}
  m:to(dtype)
  m:eval()
  return m
end

local function batch(seed, dtype)
  hwb.manual_seed(seed)
  return hwb.randn(4, 3, 8, 8):to(dtype), hwb.tensor({1, 3, 5, 2}, {dtype = "int64"})
end

describe(name and "device " .. name or "device (skipped: " .. tostring(why) .. ")", function()
  if not name then return pending(tostring(why)) end

  for dtype, tolerance in pairs{float32 = 2e-4, float64 = 1e-10} do
    it("Hessian products in " .. dtype, function()
      local m = network(dtype)
      local x, y = batch(1, dtype)
      local cpu = hwb.hessian(m, {data = {x, y}})
      local gpu = hwb.hessian(m, {data = {x, y}})
      for turn = 1, 5 do -- plain, recorded, replayed, and with new weights
        hwb.manual_seed(10 + turn)
        local v = hwb.randn(cpu.n):to(dtype)
        close(on(name, function() return gpu:apply(v) end), cpu:apply(v), tolerance)
        if turn == 3 then
          for _, p in m:parameters() do p:mul_(1.1) end
        end
      end
      local many = hwb.randn(3, cpu.n):to(dtype)
      close(on(name, function() return gpu:apply(many) end), cpu:apply(many), tolerance)
    end)
  end

  it("one block, and Gauss-Newton", function()
    local m = network("float32")
    local x, y = batch(2, "float32")
    local b = hwb.hessian(m, {data = {x, y}}):block("1")
    hwb.manual_seed(1)
    local v = hwb.randn(b.n)
    local want = b:apply(v)
    close(on(name, function()
      return hwb.hessian(m, {data = {x, y}}):block("1"):apply(v)
    end), want, 2e-4)
    local g = hwb.randn(hwb.ggn(m, {data = {x, y}}).n)
    want = hwb.ggn(m, {data = {x, y}}):apply(g)
    close(on(name, function() return hwb.ggn(m, {data = {x, y}}):apply(g) end), want, 2e-4)
  end)

  it("eigenvalues and traces are those of the CPU", function()
    local m = network("float64")
    local x, y = batch(4, "float64")
    local function top()
      local H = hwb.hessian(m, {data = {x, y}})
      return H:eigs{k = 1, tol = 1e-6}.values[1], H:trace{max_probes = 4, seed = 1}.mean
    end
    local value, trace = top()
    local got, traced = on(name, top)
    assert.is_true(math.abs(got - value) <= 1e-6 * math.abs(value))
    assert.is_true(math.abs(traced - trace) <= 1e-8 * math.abs(trace))
  end)

  -- Solvers keep their vectors on the device: sums over batches, weight decay and blocks too.
  it("solvers on one batch, several, blocks", function()
    local m = network("float32")
    local x, y = batch(6, "float32")
    for _, how in ipairs{{}, {micro = 2, weight_decay = 0.1}} do
      how.data = {x, y}
      local function solve()
        local H = hwb.hessian(m, how)
        local names = {"0", "7"}
        hwb.manual_seed(9)
        local b = hwb.randn(H.n)
        local out = {H:eigs{k = 2, tol = 1e-8, maxiter = 20, seed = 3}.values[1],
          H:eigs{method = "power", which = "LM", maxiter = 6}.values[1],
          H:trace{max_probes = 6, batch = 3}.mean,
          H:trace{method = "hutch++", max_probes = 9, batch = 1}.mean,
          H:solve(b, {damping = 1000, maxiter = 4}).x:norm():item(), 0}
        local d = H:density{steps = 6}
        for i, w in ipairs(d.weights) do out[6] = out[6] + w * d.nodes[i] end
        for _, t in ipairs(H:block_traces(names, {joint = 3, max_isolated = 6, batch = 1})) do
          out[#out + 1] = t.mean
        end
        for _, e in ipairs(H:block_eigs(names, {maxiter = 7, which = "LM", tol = 1e-8})) do
          out[#out + 1] = e.values[1]
          out[#out + 1] = e.vectors:norm():item()
        end
        out[#out + 1] = H:apply(b):norm():item() -- a vector of the host in between
        out[#out + 1] = H:trace{max_probes = 2, batch = 1, seed = 5}.mean
        return out
      end
      local want, got = solve(), on(name, solve)
      assert.are.equal(#want, #got)
      for i, v in ipairs(want) do
        assert.is_true(math.abs(got[i] - v) <= 1e-3 * math.max(1, math.abs(v)),
          ("number %d: %.9g, not %.9g"):format(i, got[i], v))
      end
    end
  end)

  it("eager operations and derivatives of functions", function()
    local x = hwb.tensor{{1, -2, 3}, {0.5, 4, -6}}
    local function f(t) return (t * t:tanh()):sum() end
    local want = {x:relu():sum(1), x:matmul(x:t()), hwb.grad(f)(x), x:argmax(2)}
    local got = on(name, function()
      return {x:relu():sum(1), x:matmul(x:t()), hwb.grad(f)(x), x:argmax(2)}
    end)
    for i = 1, 4 do close(got[i]:to("float64"), want[i]:to("float64"), 1e-6) end
  end)

  it("TF32 and bf16 only when asked for", function()
    local function off(n) -- shapes differ: a program keeps what it was compiled with
      hwb.manual_seed(n)
      local a, b = hwb.randn(128, n), hwb.randn(n, 128)
      local want = a:matmul(b)
      local got = on(name, function() return a:matmul(b) end)
      return (got - want):abs():max():item() / want:abs():max():item()
    end
    assert.is_true(off(128) < 2e-6)
    hwb.device_options{math = "tf32"}
    local tf32 = off(256)
    hwb.device_options{math = "bf16"}
    local bf16 = off(384)
    hwb.device_options{math = "float32"}
    assert.is_true(off(512) < 2e-6)
    assert.is_true(tf32 > 1e-5 and tf32 < 5e-3, ("TF32: %.3g"):format(tf32))
    assert.is_true(bf16 > 1e-4 and bf16 < 5e-2, ("bf16: %.3g"):format(bf16))
  end)

  it("a NaN is traced to the operation that made it", function()
    local function loss(t) return t:log():sum() end
    local ok, text = pcall(on, name, function()
      return hwb.hvp(loss, hwb.tensor{0.0, 1}, hwb.tensor{1.0, 1})
    end)
    assert.is_true(ok or tostring(text):find("non-finite", 1, true) ~= nil)
    local m = network("float32")
    local x, y = batch(5, "float32")
    for _, p in m:parameters() do p:mul_(1e30) end
    ok, text = pcall(on, name, function()
      local H = hwb.hessian(m, {data = {x, y}})
      return H:apply(hwb.ones(H.n))
    end)
    assert.is_false(ok)
    assert.matches("made by", tostring(text))
    ok, text = pcall(on, name, function()
      return hwb.hessian(m, {data = {x, y}}):eigs{maxiter = 3}
    end)
    assert.is_false(ok)
    assert.matches("made by", tostring(text))
  end)
end)
