--- Batch-size controllers for hwb.train: hwb.batch.absa{max = 16000, epochs = 90, ...}.
--
--   bl  fb  gg  abs  absa      see engine/optim/controller.h
--
-- max       largest batch, a multiple of base = 128 (the micro-batch, so give hwb.train
--           batch = 128); base, epochs, milestones, decay, grow, fall, patience,
--           attacked, attack_decay, attack_stop, warmup as there
-- eps       size of the FGSM step (0.005), in units of the network's input
-- probe     {x, y}: the fixed images whose loss has its top eigenvalue taken after each
--           epoch (abs and absa; running batch-norm statistics)
--
-- A controller of one's own is a table with start(self, state) and epoch(self, state, row);
-- state.accumulate (micro-batches an update), state.lr_scale, state.attacked, state.eps.

local hwb = require "hwb"
local sys = require "hwb.sys"

local batch = {}

local Controller = {}
Controller.__index = Controller

local function publish(self, state)
  local s = self.machine:get()
  state.accumulate, state.attacked, state.eps = s.ratio, s.attacked, self.eps
  state.lr_scale = self.machine:lr(s.epoch)
end

function Controller:start(state)
  publish(self, state)
end

-- Largest algebraic eigenvalue on the probe images, warm-started from the last epoch's
-- vector; the one of largest magnitude is kept beside it in the row.
local function eigenvalue(self, state, row)
  local began = sys.seconds()
  self.hessian = self.hessian or hwb.hessian(state.model, { data = self.probe })
  local e = self.hessian:eigs{ k = 1, which = "LA", tol = 1e-2, maxiter = 20, start = self.vector }
  self.vector = e.vectors[1]
  row.lambda, row.lambda_residual, row.lambda_hvps = e.values[1], e.residuals[1], e.hvps
  row.hessian_seconds = sys.seconds() - began
  return e.values[1]
end

function Controller:epoch(state, row)
  local lambda
  if self.machine:get().growing then
    state.model:eval()
    lambda = eigenvalue(self, state, row)
    state.model:train()
  end
  row.batch, row.attacked = state.accumulate * self.base, state.attacked
  self.machine:epoch(lambda)
  publish(self, state)
end

--- The learning-rate factor within an epoch (FB warms up by the iteration).
function Controller:lr_scale(position) return self.machine:lr(position) end

--- Plain values to go on from, and back.
function Controller:save() return { machine = self.machine:get(), vector = self.vector } end

function Controller:restore(saved)
  self.machine:set(saved.machine)
  self.vector = saved.vector
end

for _, kind in ipairs{ "bl", "fb", "gg", "abs", "absa" } do
  batch[kind] = function(given)
    local own, options = { eps = true, probe = true }, {}
    for k, v in pairs(given or {}) do if not own[k] then options[k] = v end end
    local self = setmetatable({
      machine = hwb.engine.controller(kind, options), base = options.base or 128,
      eps = given.eps or 0.005, probe = given.probe, kind = kind,
    }, Controller)
    if self.machine:get().growing and not self.probe then
      error(("batch.%s: give probe = {x, y}, the images for the eigenvalue"):format(kind), 2)
    end
    return self
  end
end

--- Updates of a whole training as the publications count them (nil for abs and absa).
function batch.published_updates(kind, options, samples)
  return hwb.engine.published_updates(kind, options, samples)
end

return batch
