--- Optimizers and learning-rate schedules: plain tables and functions that
-- hwb.train reads.
--
--     hwb.optim.sgd{lr=0.1, momentum=0.9, nesterov=false, weight_decay=5e-4}
--     hwb.optim.adam{lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0}
--     hwb.optim.adamw{lr=1e-3, weight_decay=0.01}
--     hwb.optim.lars{lr=4, momentum=0.9, weight_decay=1e-4, eta=0.001}
--     hwb.optim.lamb{lr=2e-3, weight_decay=0.01}
--
-- decay_vectors=false leaves biases and norm layers (parameters of one axis) out of
-- the weight decay, and of the ratios of LARS and LAMB; clip bounds the gradient's
-- Euclidean norm.  The update rules are in engine/optim/optim.h.
--
-- A schedule is a function of progress {epoch=, epochs=, step=, steps_per_epoch=} that
-- returns the factor of the learning rate; epoch counts from 0 and has a fraction.

local options = require "hwb.nn.options"

local optim = {}

local function optimizer(kind, defaults)
  return function(given)
    local o = { weight_decay = 0, decay_vectors = true, clip = 0 }
    for k, v in pairs(defaults) do o[k] = v end
    o = options("optim." .. kind, given, { "lr" }, o)
    if type(o.lr) ~= "number" or not (o.lr >= 0 and o.lr < math.huge) then
      error(("optim.%s: lr %s is no learning rate"):format(kind, tostring(o.lr)), 2)
    end
    o.kind = kind
    return o
  end
end

optim.sgd = optimizer("sgd", { momentum = 0, nesterov = false })
optim.adam = optimizer("adam", { beta1 = 0.9, beta2 = 0.999, eps = 1e-8 })
optim.adamw = optimizer("adamw", { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.01 })

optim.lars = optimizer("lars", { momentum = 0.9, nesterov = false, eta = 0.001, eps = 1e-8, decay_vectors = false })
optim.lamb = optimizer("lamb", { beta1 = 0.9, beta2 = 0.999, eps = 1e-6, weight_decay = 0.01,
  decay_vectors = false })

---------------------------------------------------------------------------
-- schedules

--- The same learning rate throughout.
function optim.constant() return function() return 1 end end

--- Times `factor` at every epoch of `milestones`.
function optim.step(given)
  local o = options("optim.step", given, { "milestones" }, { factor = 0.1 })
  return function(t)
    local f = 1
    for _, m in ipairs(o.milestones) do
      if t.epoch >= m then f = f * o.factor end
    end
    return f
  end
end

--- From 1 down to `floor` along half a cosine over all epochs (or `epochs`).
function optim.cosine(given)
  local o = options("optim.cosine", given or {}, {}, { floor = 0, epochs = false })
  return function(t)
    local x = math.min(t.epoch / (o.epochs or t.epochs), 1)
    return o.floor + (1 - o.floor) * 0.5 * (1 + math.cos(math.pi * x))
  end
end

--- From 1 down to `floor` along a line over all epochs (or `epochs`).
function optim.linear(given)
  local o = options("optim.linear", given or {}, {}, { floor = 0, epochs = false })
  return function(t)
    local x = math.min(t.epoch / (o.epochs or t.epochs), 1)
    return 1 - (1 - o.floor) * x
  end
end

--- Rises linearly, step by step, from `from` to the schedule `after` during the first
-- `epochs` (Goyal et al. 2017).
function optim.warmup(given)
  local o = options("optim.warmup", given, { "epochs" }, { from = 0, after = optim.constant() })
  return function(t)
    local f = o.after(t)
    if t.epoch >= o.epochs then return f end
    return f * (o.from + (1 - o.from) * t.epoch / o.epochs)
  end
end

return optim
