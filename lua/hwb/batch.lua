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
-- tol, maxiter   of those eigenvalues: 0.01 and 20 products
-- compat = "hessianflow"   does what the program behind the published table does:
--           * the eigenvalue is that of largest magnitude, by at most 10 steps of power
--             iteration to 1 % from a new random vector, on 128 training images drawn anew
--             each epoch (no probe); a negative one counts as fallen
--           * one ratio: fall and attack_decay are grow unless given
--           * left-over micro-batches go into the next epoch and the next batch size
--             (see train_step.lua)
--
-- A controller of one's own is a table with any of start(self, state), on_step(self, state),
-- on_epoch(self, state, row), save(self), restore(self, saved); see hwb.train.

local hwb = require "hwb"

local batch = {}

local Controller = {}
Controller.__index = Controller

local function publish(self, state, position)
  local attacked
  state.batch, state.lr_scale, attacked = self.machine:on_step(position)
  if self.attacks then state.attacked = attacked end
end

function Controller:start(state)
  if self.attacks then state.eps = self.eps end
  state.compat = self.compat
  publish(self, state, 0)
end

--- FB warms up by the iteration.
function Controller:on_step(state) publish(self, state, state.progress) end

---------------------------------------------------------------------------
-- eigenvalues

-- The largest algebraic one steers; the one of largest magnitude is kept beside it.  Each
-- starts from its own vector of the epoch before, on the same images.
local function on_probe(self, state, row)
  self.hessian = self.hessian or hwb.hessian(state.model, { data = self.probe, loss = state.loss })
  local function solve(which, start)
    return self.hessian:eigs{ k = 1, which = which, tol = self.tol, maxiter = self.maxiter, start = start }
  end
  local la, lm = solve("LA", self.vector), solve("LM", self.magnitude_vector)
  self.vector, self.magnitude_vector = la.vectors[1], lm.vectors[1]
  row.lambda_residual, row.lambda_converged = la.residuals[1], la.converged
  row.lambda_magnitude, row.lambda_hvps = lm.values[1], la.hvps + lm.hvps
  return la.values[1]
end

-- v <- Hv / (|Hv| + 1e-6) from a random v, at most 10 times or until v'Hv moves by less
-- than 1 %; the last v'Hv.
local function power_iteration(h, draw)
  local v = draw(h.n)
  v = v / (v:norm():item() + 1e-6)
  local mu, before, n
  for i = 1, 10 do
    local hv = h:apply(v)
    before, mu, n = mu, (v * hv):sum():item(), i
    v = hv / (hv:norm():item() + 1e-6)
    if before and math.abs(mu - before) / math.abs(before) < 1e-2 then break end
  end
  return mu, n
end

local function on_new_images(_, state, row)
  if not state.data then error("batch: compat = \"hessianflow\" needs a dataset or {x, labels} for data", 0) end
  local loader = state.data:loader{ batch = 128, shuffle = true, seed = state.seed + 1, workers = 0 }
  loader:seek(state.epoch, 0)
  local x, y = loader:next()
  local kept = hwb.get_rng_state()
  hwb.manual_seed((state.seed * 7919 + state.epoch) & 0x7fffffffffffffff)
  local h = hwb.hessian(state.model, { data = { x, y }, loss = state.loss })
  local lambda, products = power_iteration(h, function(n) return hwb.randn(n):to(state.model:dtype()) end)
  hwb.set_rng_state(kept)
  row.lambda_magnitude, row.lambda_hvps = lambda, products
  return lambda
end

function Controller:on_epoch(state, row)
  if self.machine:get().growing then
    state.model:eval()
    row.lambda = (self.compat and on_new_images or on_probe)(self, state, row)
    state.model:train()
  end
  self.machine:on_epoch(row.lambda)
  publish(self, state, state.epoch + 1)
end

--- Plain values to go on from, and back.
function Controller:save()
  return { machine = self.machine:get(), vector = self.vector, magnitude_vector = self.magnitude_vector }
end

function Controller:restore(saved)
  self.machine:set(saved.machine)
  self.vector, self.magnitude_vector = saved.vector, saved.magnitude_vector
end

---------------------------------------------------------------------------
-- making them

local own = { eps = true, probe = true, tol = true, maxiter = true, compat = true }

local function machine_options(given)
  local options = {}
  for k, v in pairs(given) do if not own[k] then options[k] = v end end
  if given.compat then
    options.fall = options.fall or options.grow
    options.attack_decay = options.attack_decay or options.grow
  end
  return options
end

for _, kind in ipairs{ "bl", "fb", "gg", "abs", "absa" } do
  batch[kind] = function(given)
    given = given or {}
    if given.compat and given.compat ~= "hessianflow" then
      error(("batch.%s: compat %q is not known; \"hessianflow\" is"):format(kind, tostring(given.compat)), 2)
    end
    local self = setmetatable({
      machine = hwb.engine.controller(kind, machine_options(given)), eps = given.eps or 0.005,
      probe = given.probe, tol = given.tol or 1e-2, maxiter = given.maxiter or 20, kind = kind,
      attacks = kind == "absa", compat = given.compat,
    }, Controller)
    if self.machine:get().growing and not self.probe and not self.compat then
      error(("batch.%s: give probe = {x, y}, the images for the eigenvalue"):format(kind), 2)
    end
    return self
  end
end

--- Updates of a whole training as the publications count them (nil for abs and absa).
function batch.published_updates(kind, options, samples)
  return hwb.engine.published_updates(kind, options, samples)
end

--- Rows for run:table from {{name=, times=history.times}, ...}, the baseline first: seconds
-- of computation, communication, resize, hessian, data and in all, and the speed-up.
function batch.breakdown(list)
  return require("hwb.train_times").breakdown(list)
end

--- Columns of those rows.
batch.breakdown_columns = { "name", "computation", "communication", "resize", "hessian", "data", "total",
  "speedup" }

return batch
