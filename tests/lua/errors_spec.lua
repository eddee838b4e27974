-- Mistakes of scripts: each raises one line that says what is wrong, and what was
-- under way is given up without a trace.
local nn = hwb.nn

local function mlp()
  hwb.manual_seed(1)
  return nn.Sequential{nn.Linear{4, 5}, nn.ReLU{}, nn.Linear{5, 3}}
end

local function data(n)
  local y = {}
  for i = 1, n or 6 do y[i] = (i - 1) % 3 + 1 end
  return hwb.randn(n or 6, 4), hwb.tensor(y, {dtype = "int64"})
end

-- f must raise text that has `part`, on one line
local function raises(part, f, ...)
  local ok, e = pcall(f, ...)
  assert.is_false(ok)
  e = tostring(e)
  assert.is_truthy(e:find(part, 1, true), ("%q has no %q"):format(e, part))
  assert.is_nil(e:find("\n"))
end

describe("labels", function()
  local outside = "the output has classes 1..3"
  local x, y = data()

  it("outside the classes are refused by curvature", function()
    for _, bad in ipairs{ y + 10, y - 1, (y - 1):byte(), y * 0 - 5 } do
      local H = hwb.hessian(mlp(), {data = {x, bad}})
      raises(outside, H.gradient, H)
      raises(outside, H.apply, H, hwb.ones(43))
    end
    raises("class 11", function() return hwb.hessian(mlp(), {data = {x, y + 10}}):gradient() end)
  end)

  it("outside the classes are refused by losses written in Lua", function()
    local function loss(z, t) return hwb.cross_entropy(z, t) end
    local H = hwb.hessian(mlp(), {data = {x, y + 1}, loss = loss})
    raises(outside, H.gradient, H)
    local good = hwb.hessian(mlp(), {data = {x, y}, loss = loss}):gradient()
    assert.near((hwb.hessian(mlp(), {data = {x, y}}):gradient()), good, 1e-6)
  end)

  it("outside the classes are refused by training", function()
    local t = hwb.engine.trainer(mlp(), {kind = "sgd"})
    raises(outside, t.gradient, t, x, y + 1)
    raises(outside, t.gradient, t, x, y - 1)
    assert.is_number((t:gradient(x, y)))
  end)

  it("are checked again on another batch and may be of any integer dtype", function()
    local want = hwb.hessian(mlp(), {data = {x, y}}):gradient()
    for _, dtype in ipairs{ "uint8", "int32", "int64" } do
      assert.near(want, (hwb.hessian(mlp(), {data = {x, y:to(dtype)}}):gradient()), 1e-6)
    end
  end)

  it("that are floats, or of another number, are refused", function()
    raises("labels must be integers", function() return hwb.hessian(mlp(), {data = {x, y:float()}}):gradient() end)
    raises("logits [6x3]", function() return hwb.hessian(mlp(), {data = {x, y:narrow(1, 1, 3)}}):gradient() end)
  end)
end)

describe("operators", function()
  it("say what they want", function()
    local x, y = data()
    local m = mlp()
    raises('element 2 of {x, y} must be a tensor, not nil', hwb.hessian, m, {data = {x}})
    raises('"data" must be {x, y} or a loader', hwb.hessian, m, {data = x})
    raises("model expected", hwb.hessian, {engine = function() return 3 end}, {data = {x, y}})
    raises("weight_decay must be finite", hwb.hessian, m, {data = {x, y}, weight_decay = 0 / 0})
    raises("at least 0", hwb.hessian, m, {data = {x, y}, micro = -1})
    raises("as many inputs as targets", hwb.hessian, m, {data = {x:narrow(1, 1, 0), y:narrow(1, 1, 0)}})
    raises('"start" must be a tensor', function() return hwb.hessian(m, {data = {x, y}}):eigs{start = 3} end)
    raises("not 3", function() return hwb.hessian(m, {data = {x, y}, micro = 2}):dump(1) end)
  end)

  it("take numbers of pairs beyond 32 bits as all", function()
    local x, y = data()
    local H = hwb.hessian(mlp(), {data = {x, y}}):block("2.bias")
    assert.equal(3, #H:eigs{k = (1 << 32) + 1}.values)
  end)

  it("name the parameter or the layer and operation of values that are not finite", function()
    local x, y = data()
    local m = mlp()
    m:get("2.weight"):fill_(0 / 0)
    raises('"2.weight"', function() return hwb.hessian(m, {data = {x, y}}):gradient() end)
    m:get("2.weight"):fill_(3e38)
    m:get("0.weight"):fill_(3e38)
    raises("matmul in layer 0", function() return hwb.hessian(m, {data = {x, y}}):eigs{} end)
  end)

  it("survive the coroutine that made them, and changes of their module", function()
    local x, y = data()
    local m, H, T = mlp(), nil, nil
    coroutine.wrap(function()
      H = hwb.hessian(m, {data = {x, y}})
      T = hwb.engine.trainer(m, {kind = "sgd"})
      H:apply(hwb.ones(43))
      m:changed()
    end)()
    m(x)
    collectgarbage()
    collectgarbage()
    for k = 2, 9 do -- each a program of its own: the forward pass is called anew
      for _ = 1, 50 do coroutine.create(print) end
      collectgarbage("step")
      assert.equal(k, H:apply(hwb.ones(k, 43)):size(1))
    end
    assert.is_number((T:gradient(x, y)))
  end)
end)

describe("derivatives", function()
  it("refuse lists that contain themselves", function()
    local t = {}
    t[1] = t
    raises("contain themselves", hwb.grad(function(x) return x:sum() end), t)
    raises("contain themselves", hwb.grad(function(x) return x:sum() end), {{t}})
  end)
end)

describe("modules", function()
  local function module(forward, init)
    local M = nn.Module:extend("M")
    M.forward, M.init = forward, init
    return M{}
  end

  it("pass on errors of forward, whatever is raised", function()
    local x = hwb.ones(2)
    raises("boo", module(function() error("boo") end), x)
    local spiteful = setmetatable({}, {__tostring = function() error("in tostring") end,
      __index = function() error("in index") end})
    raises("an error value without text", module(function() error(spiteful) end), x)
    raises("not number", module(function() return 3 end), x)
    raises("not a constant", module(function() return hwb.ones(2) end), x)
    raises("not nil", module(function() end), x)
    raises("has no forward", nn.Module:extend("M"){}, x)
    local yields = module(function(_, t) coroutine.yield() return t end)
    raises("yield", coroutine.wrap(function() return yields(x) end))
  end)

  it("call themselves until the stack is used up", function()
    local m
    m = module(function() return m(hwb.ones(2)) end)
    assert.is_false(pcall(m, hwb.ones(2)))
  end)

  it("notice that a parameter or child was replaced", function()
    local m = mlp()
    local x = hwb.ones(2, 4)
    m(x)
    m["2"].bias = nn.parameter(hwb.tensor{1, 2, 3})
    m["2"].weight = hwb.zeros(3, 5)
    assert.tensor_near({{1, 2, 3}, {1, 2, 3}}, m(x))
    assert.equal(43, m:num_parameters())
    m["2"] = nn.Linear{5, 2}
    assert.equal(2, m(x):size(2))
    m["2"].weight = "heavy"
    raises("weight is string", m, x)
  end)

  it("of a list must be modules", function()
    raises("element 2 is a number", nn.Sequential, {nn.ReLU{}, 2})
    raises("element 1 is a class", nn.Sequential, {nn.ReLU})
  end)
end)

describe("quantization and allocation", function()
  local function records()
    return {{name = "a", n = 100, macs = 1000, avg_trace = 1, dw2 = {[2] = 3, [4] = 1, [8] = 0.1}},
      {name = "b", n = 200, macs = 500, avg_trace = 2, dw2 = {[2] = 3, [4] = 1, [8] = 0.1}}}
  end
  local function allocate(o, change)
    local r = records()
    if change then change(r) end
    o.budget = o.budget or {size_mib = 1}
    return hwb.hawq.allocate(r, o)
  end

  it("say what they want", function()
    local x, y = data()
    raises("a model is wanted", hwb.quant.apply, 3, {weights = 4})
    raises("scheme must be", hwb.quant.apply, mlp(), {weights = 4, scheme = "zzz"})
    raises("calibration data are", hwb.quant.apply, mlp(), {weights = 4, activations = 4, data = 3})
    raises("a model is wanted", hwb.hawq.sensitivity, 3, {data = {x, y}})
    local m = mlp()
    m.input_size = {4}
    raises("kind must be", hwb.hawq.sensitivity, m, {data = {x, y}, kind = "x"})
    raises("ties is a number", allocate, {ties = 3})
    raises("ties[1] is 3", allocate, {ties = {3}})
    raises("activations must be", allocate, {activations = -4})
    raises("not a record", allocate, {}, function(r) r[2] = 3 end)
    raises("cannot be met", allocate, {budget = {compression = 1000}})
    raises("must be a positive number", allocate, {budget = {size_mib = 0 / 0}})
  end)
end)
