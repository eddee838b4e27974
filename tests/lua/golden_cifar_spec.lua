-- The two published CIFAR-10 checkpoints against PyTorch double backward, in
-- float64: loss, gradient, products, blocks, eigenvalues and traces.
local hwb = require "hwb"
local golden = dofile((os.getenv("HWB_TEST_SOURCE") or ".") .. "/tests/lua/golden.lua")

local cifar = os.getenv("HWB_TEST_CIFAR")
local cases = {
  { name = "resnet20_a", shortcut = "A", file = "weights/resnet20-12fca82f.th",
    mean = { 0.485, 0.456, 0.406 }, std = { 0.229, 0.224, 0.225 } },
  { name = "resnet20_b", shortcut = "B", file = "weights/pyhessian-resnet20.pkl",
    mean = { 0.4914, 0.4822, 0.4465 }, std = { 0.2023, 0.1994, 0.2010 } },
}

for _, case in ipairs(cases) do
  describe("golden #data " .. case.name, function()
    local weights = golden.data(case.file)
    local path = (os.getenv("HWB_TEST_SOURCE") or ".") .. "/tests/golden/" .. case.name .. ".json"
    local there = io.open(path, "rb")
    if there then there:close() end
    if not weights or not cifar or not there then
      pending("needs " .. case.file .. " in HWB_TEST_DATA and unpacked CIFAR-10 in HWB_TEST_CIFAR")
      return
    end
    local want = golden.load(case.name .. ".json")
    local model = hwb.models.resnet20{ shortcut = case.shortcut }
    assert(model:load(weights))
    model:to("float64")
    local rows = {}
    for r = want.images.rows[1], want.images.rows[2] - 1 do rows[#rows + 1] = { row = r } end
    local x, y = golden.cifar(cifar, rows, want.checkpoint.mean, want.checkpoint.std)
    local n = model:num_parameters()
    local head = case.shortcut == "A" and "linear" or "fc"
    local v = golden.probe(n)

    it("reads the same images", function()
      golden.assert_digest(want.images.x, x, 1e-12, "x")
    end)

    for _, mode in ipairs{ "eval", "batch" } do
      it("agrees on loss, gradient and products, bn = " .. mode, function()
        local w = want[mode]
        local H = hwb.hessian(model, { data = { x, y }, bn = mode })
        local loss, gradient = H:gradient()
        golden.assert_near(w.loss, loss, 1e-11, "loss")
        golden.assert_digest(w.grad, gradient, 1e-9, "gradient")
        local hv = H:apply(v)
        golden.assert_digest(w.hv, hv, 1e-9, "Hv")
        golden.assert_near(w.vhv, (hv * v):sum():item(), 1e-9, "vHv")
        local G = hwb.ggn(model, { data = { x, y }, bn = mode })
        golden.assert_digest(w.ggn_v, G:apply(v), 1e-9, "Gv")
        if w.fisher_v then
          local F = hwb.fisher(model, { data = { x, y }, bn = mode })
          golden.assert_digest(w.fisher_v, F:apply(v), 1e-9, "Fv")
        end
        for _, name in ipairs{ "conv1", "layer2.1.conv2", "layer3.2.conv2", head } do
          local b = w.blocks[name]
          local B = H:block(name)
          assert.are.equal(b.n, B.n)
          golden.assert_digest(b.hv, B:apply(v:narrow(1, b.offset + 1, b.n)), 1e-9, name)
        end
      end)
    end

    it("estimates a small layer's trace within its error", function()
      local name = head .. ".weight"
      local exact = want.exact_traces.hessian[name]
      local t = hwb.hessian(model, { data = { x, y } }):block(name)
        :trace{ tol = 0, max_probes = 60, min_probes = 60, seed = 3 }
      assert(math.abs(t.mean - exact) <= 4 * t.stderr,
        ("%.6g +- %.3g, exact %.6g"):format(t.mean, t.stderr, exact))
    end)
  end)
end

-- The 200 training images of the reference measurements (exact eigenvalues).
describe("golden #data jpeg200", function()
  local path = (os.getenv("HWB_TEST_SOURCE") or ".") .. "/tests/golden/jpeg200.json"
  local there = io.open(path, "rb")
  if there then there:close() end
  if not cifar or not golden.data(cases[1].file) or not there then
    pending("needs the checkpoints in HWB_TEST_DATA and unpacked CIFAR-10 in HWB_TEST_CIFAR")
    return
  end
  local want = golden.load("jpeg200.json")
  local rows = {}
  for i, r in ipairs(want.images.rows) do rows[i] = { row = r, train = true } end
  for _, case in ipairs(cases) do
    it("agrees for " .. case.name, function()
      local w = want[case.name]
      local model = hwb.models.resnet20{ shortcut = case.shortcut }
      assert(model:load(golden.data(case.file)))
      model:to("float64")
      local x, y = golden.cifar(cifar, rows, case.mean, case.std)
      local correct = model(x):argmax(2):eq(y):to("int64"):sum():item()
      assert.are.equal(w.correct, correct)
      local H = hwb.hessian(model, { data = { x, y } })
      local loss, gradient = H:gradient()
      golden.assert_near(w.loss, loss, 1e-11, "loss")
      golden.assert_digest(w.grad, gradient, 1e-9, "gradient")
      golden.assert_digest(w.hv, H:apply(golden.probe(H.n)), 1e-9, "Hv")
      -- in float32, for one of them: the solver, and the trace within its error
      if case.shortcut == "A" then return end
      model:to("float32")
      local F = hwb.hessian(model, { data = { x:to("float32"), y } })
      local e = F:eigs{ k = 1, tol = 1e-3, maxiter = 30, seed = 2 }
      golden.assert_near(w.largest.values[1], e.values[1], 1e-4, "eigenvalue")
      local t = F:trace{ tol = 0, max_probes = 8, min_probes = 8, seed = 4 }
      assert(math.abs(t.mean - w.exact_traces.all) <= 4 * t.stderr,
        ("trace %.6g +- %.3g, exact %.6g"):format(t.mean, t.stderr, w.exact_traces.all))
    end)
  end
end)
