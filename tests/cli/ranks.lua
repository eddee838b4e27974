-- Run by ranks_test.sh under mpirun: numbers that one process and several must agree
-- on (`result.numbers`, each a list), and the ways in which a rank can fail.
local function network(hwb, dtype)
  local nn = hwb.nn
  hwb.manual_seed(3)
  local m = nn.Sequential(nn.Conv2d(3, 4, 3, { padding = 1 }), nn.BatchNorm2d(4), nn.Tanh(), nn.MaxPool2d(4),
    nn.Conv2d(4, 6, 3, { stride = 2 }), nn.Tanh(), nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(6, 10)):to(dtype)
  for name, p in m:parameters() do -- wrong in one direction: a gradient that does not cancel
    if name == "8.bias" then p:copy_(hwb.linspace(0, 3, 10)) end
  end
  return m:eval()
end

local function list(t) return t:to("float64"):reshape(-1):totable() end

-- Everything that is added up over samples, from one operator.
local function operators(hwb, m, data, put)
  for _, kind in ipairs{ "hessian", "ggn", "fisher" } do
    local H = hwb[kind](m, { data = data, weight_decay = 0.01 })
    local B = H:block("4")
    hwb.manual_seed(5)
    put(kind .. " of three vectors", list(H:apply(hwb.randn(3, H.n))))
    put(kind .. " of a block", list(B:apply(hwb.randn(B.n))))
  end
  local H = hwb.hessian(m, { data = data })
  local loss, gradient = H:gradient()
  put("loss", { loss })
  put("gradient", list(gradient))
  hwb.manual_seed(6)
  put("quadratic form", { H:quadratic(hwb.randn(H.n):to(gradient:dtype())) })
  put("samples", { H.samples })
  local e = H:eigs{ k = 2, tol = 1e-6, maxiter = 60, seed = 1 }
  put("eigenvalues", e.values)
  put("products", { e.hvps })
  put("trace", { H:trace{ max_probes = 8, tol = 1e-9, seed = 2 }.mean })
  for _, t in ipairs(H:traces{ tol = 0.5, joint = 4, max_isolated = 4, seed = 3 }) do
    put("trace of " .. t.name, { t.mean })
  end
  put("density", H:density{ steps = 12, probes = 1, seed = 4 }.nodes)
end

-- Sums inside functions that are differentiated: f is s^2 in all, s over all ranks' samples.
local function traced_sums(hwb, dtype, put)
  hwb.manual_seed(9)
  local all, w, v = hwb.randn(37, 3):to(dtype), hwb.randn(3):to(dtype), hwb.randn(3):to(dtype)
  local x = hwb.comm.own(all)
  local function f(p)
    local s = hwb.comm.sum((x * p):sum())
    return s * s / hwb.comm.size()
  end
  put("value", { hwb.comm.sum(f(w):item()) })
  put("gradient", list(hwb.comm.sum(hwb.grad(f)(w))))
  put("product", list(hwb.comm.sum(hwb.hvp(f, w, v))))
end

local function training(hwb, m, ds, put, run, epochs, callback)
  local rows = hwb.train{ model = m, data = ds, epochs = epochs, batch = 24, micro = 12, seed = 7, bn = "eval",
    drop_last = false, augment = { flip = true }, val = ds, run = run, callback = callback, save_every = 0.5,
    optimizer = hwb.optim.sgd{ lr = 0.05, momentum = 0.9, weight_decay = 1e-3 } }
  local all = {}
  for _, p in m:parameters() do all[#all + 1] = p:reshape(-1) end
  put("trained weights", list(hwb.cat(all, 1)))
  for _, row in ipairs(rows) do
    put("epoch " .. row.epoch, { row.loss, row.accuracy, row.val_loss, row.val_accuracy, row.updates })
  end
end

-- Batch norms in training mode: the ranks' running statistics stay one.
local function ghost_norms(hwb, m, ds, put)
  local rows = hwb.train{ model = m, data = ds, batch = 12, optimizer = hwb.optim.sgd{ lr = 0.05 } }
  local differ, last = 0, hwb.comm.size() - 1
  for _, t in ipairs{ m:state_dict()["1.running_mean"], m:state_dict()["1.running_var"] } do
    differ = differ + (hwb.comm.broadcast(t, last) - t):norm():item()
  end
  put("between ranks", { differ })
  put("samples of a norm", { rows[1].bn_batch * hwb.comm.size() })
end

-- Batch norms that see all samples on however many ranks: the same training.
local function whole_norms(hwb, m, ds, put)
  local rows = hwb.train{ model = m, data = ds, epochs = 2, batch = 15, seed = 3, bn = "whole", drop_last = false,
    optimizer = hwb.optim.sgd{ lr = 0.05, momentum = 0.9 } }
  for name, t in pairs(m:state_dict()) do
    if t:dtype():match("^float") then put(name, list(t)) end
  end
  put("loss and samples of a norm", { rows[2].loss, rows[2].accuracy, rows[2].bn_batch })
end

-- What one rank of several meets, while the others wait for it in a sum.
local faults = {
  ok = function() end,
  error = function() error("rank 1 is unwell") end,
  memory = function(hwb) return hwb.zeros(1 << 40) end,
  kill = function(_, signal) signal("KILL") end,
  term = function(_, signal) signal("TERM") end,
  apart = function(hwb) hwb.comm.broadcast("something else") end,
  leave = function() return "leave" end,
  weights = function(_, _, m) for _, p in m:parameters() do p:mul_(1 + 1e-5) end end,
  busy = function() error("rank 1 is alone") end,
}

local function fail(hwb, mode, run)
  local function signal(name)
    local pid = io.open("/proc/self/stat"):read("a"):match("^%d+")
    os.execute(("kill -%s %s"):format(name, pid))
  end
  local m = network(hwb, "float32")
  run:log("before the fault")
  if hwb.comm.rank() == 1 then
    if faults[mode](hwb, signal, m) == "leave" then return end
  elseif mode == "busy" then
    while true do end -- luacheck: ignore
  end
  if mode == "weights" then return hwb.evaluate(m, hwb.data.shapes10{ split = "test", count = 4 }) end
  for i = 1, mode == "ok" and 3 or 1 << 40 do hwb.comm.sum(i) end
end

return {
  name = "ranks", summary = "One process and several, the same numbers.",
  args = { dtype = { default = "float64", choices = { "float32", "float64" } }, fault = "", train = 0, slow = false },
  run = function(hwb, args, run)
    if args.fault ~= "" then return fail(hwb, args.fault, run) end
    local numbers = {}
    local m = network(hwb, args.dtype)
    local ds = hwb.data.shapes10{ split = "test", dtype = args.dtype, count = 37 }
    local x, y = ds:batch(1, 37)
    local function put_as(prefix) return function(name, v) numbers[prefix .. name] = v end end
    if args.train == 0 then
      operators(hwb, m, { x, y }, put_as("batch: "))
      operators(hwb, m, ds:loader{ batch = 16, shuffle = true }, put_as("loader: "))
      local few = hwb.hessian(m, { data = { x:narrow(1, 1, 3), y:narrow(1, 1, 3) }, micro = 2 }):block("8")
      put_as("fewer samples than ranks: ")("product", list(few:apply(hwb.ones(few.n))))
      for _, kind in ipairs{ "hessian", "ggn", "fisher" } do
        local batch = hwb[kind](m, { data = { x, y }, bn = "batch" })
        hwb.manual_seed(8)
        put_as("batch statistics: ")(kind .. " of three vectors", list(batch:apply(hwb.randn(3, batch.n))))
        local loss, gradient = batch:gradient()
        put_as("batch statistics: ")(kind .. ": loss", { loss })
        put_as("batch statistics: ")(kind .. ": gradient", list(gradient))
        put_as("batch statistics: ")(kind .. ": block", list(batch:block("0"):apply(hwb.ones(batch:block("0").n))))
      end
      local tied = hwb.hessian(m, { data = { x, y }, bn = "batch" }):activation("4")
      put_as("batch statistics: ")("activation", list(tied:apply(hwb.ones(tied.n))))
      local a = hwb.hessian(m, { data = { x, y } }):activation("4")
      put_as("activation: ")("product", list(a:apply(hwb.ones(a.n))))
      traced_sums(hwb, args.dtype, put_as("traced sums: "))
      local e = hwb.evaluate(m, ds, { batch = 10 })
      put_as("evaluation: ")("numbers", { e.loss, e.accuracy, e.correct, e.count })
    end
    local function wait(row)
      run:metric(row.epoch, { loss = row.loss })
      local began = os.clock()
      while args.slow and os.clock() - began < 0.2 do end -- luacheck: ignore
    end
    training(hwb, m, ds, put_as("training: "), run, args.train > 0 and args.train or 2, wait)
    if args.train == 0 then ghost_norms(hwb, m, ds, put_as("ghost norms: ")) end
    if args.train == 0 then whole_norms(hwb, network(hwb, args.dtype), ds, put_as("whole norms: ")) end
    run:result{ numbers = numbers, ranks = hwb.comm.size(), exchanges = hwb.comm.stats().calls }
  end,
}
