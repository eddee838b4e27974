--- hwb.train{model=, data=, optimizer=, ...}: first-order training.
--
-- Each micro-batch is one run of a compiled program (loss, gradient, batch-norm
-- statistics); the update is one pass over memory in the engine (optim/trainer.c).
-- What happens depends on the seed alone: order, augmentation and dropout are keyed by
-- (seed, epoch, position), so a resumed training gives the same numbers.
--
-- Signals wait until a micro-batch or the callback is done (a second Ctrl-C does not).
-- With `run`, a training that is told to stop (Ctrl-C, SIGTERM) saves a checkpoint first.
--
--   train_data.lua   micro-batches          train_step.lua   gradients and updates
--   train_state.lua  checkpoints            train_times.lua  where the time goes
--   train_ranks.lua  several processes, which share each micro-batch

local hwb = require "hwb"
local options = require "hwb.nn.options"
local sys = require "hwb.sys"
local feed = require "hwb.train_data"
local ranks = require "hwb.train_ranks"
local saved = require "hwb.train_state"
local step = require "hwb.train_step"
local times = require "hwb.train_times"

local defaults = {
  val = false, epochs = 1, batch = 128, micro = false, loss = "cross_entropy", augment = false,
  seed = 0, schedule = false, bn = "ghost", callback = false, workers = false, shuffle = true,
  drop_last = true, eval_batch = 250, resume = false, controller = false, adversarial = false,
  run = false, name = "train", save_every = 1,
}

local attack_defaults = { method = "fgsm", eps = 0.005, steps = 10, ratio = false, decay = 1, stop = false }

---------------------------------------------------------------------------
-- epochs

local function note_of(row, epoch, epochs, lr)
  local seen = math.max(row.seen, 1) -- of several ranks, by this one
  local text = ("epoch %d/%d  loss %.4f"):format(epoch, epochs, row.loss / seen)
  if row.correct then text = text .. ("  accuracy %.2f %%"):format(100 * row.correct / seen) end
  return text .. ("  lr %.3g"):format(lr)
end

-- Stops where the state is whole, with a checkpoint if there is a run to hold it.
-- Several ranks stop at the same place: where an update has made them agree.
local function stop_if_asked(self, history)
  if not (self.asked or hwb.comm.size() == 1 and sys.hold(true)) then return end
  ranks.gather(self)
  if self.o.run then saved.save(self, history) end
  sys.raise("EINTR", "interrupted")
end

local function epoch_steps(self, row, history)
  local o, state, clock = self.o, self.state, self.clock
  local next_batch, per_epoch = self.feed:open(state.epoch + 1, state.position), self.feed.samples
  while true do
    clock:enter("data")
    local x, y, n = next_batch()
    clock:enter("computation")
    if not x then break end
    if self.resized then
      self.resized = false
      clock:enter("resize")
      self.trainer:prepare(x, y)
      clock:enter("computation")
    end
    step.micro(self, x, y, n, row)
    hwb.progress("training", state.epoch * (per_epoch or 0) + state.position, (per_epoch or 0) * o.epochs,
      note_of(row, state.epoch + 1, o.epochs, state.lr))
    if o.run and saved.due(self) then
      ranks.gather(self)
      saved.save(self, history)
    end
    stop_if_asked(self, history)
  end
  step.flush(self)
  ranks.total(self, row)
end

local function validate(self, row)
  local o = self.o
  if not o.val then return end
  self.clock:enter("validation")
  local v = hwb.evaluate(o.model, o.val, { batch = o.eval_batch, loss = o.loss })
  row.val_loss, row.val_accuracy = v.loss, v.accuracy
end

-- Batch, learning rate and share of attacked images of the next epoch.
local function adapt(self, row)
  local o, state, batch = self.o, self.state, self.state.batch
  local c = o.controller
  if c and c.on_epoch then
    self.clock:enter("hessian")
    c:on_epoch(state, row)
  end
  if self.attack.ratio then
    state.attacked = row.epoch >= self.attack.stop and 0 or state.attacked / self.attack.decay
  end
  if math.type(state.batch) ~= "integer" or state.batch < 1 or state.batch % o.batch ~= 0 then
    error(("train: the controller's batch %s is no multiple of %d"):format(tostring(state.batch), o.batch), 0)
  end
  if state.batch == batch or o.bn ~= "whole" then return end
  self.clock:enter("resize")
  self.trainer:trim()
  self.micro, self.resized = state.batch, true
  self.feed:resize(self.micro)
end

-- From the sums of an epoch to the row that is shown.
local function finish_row(self, sums)
  local state = self.state
  if sums.samples == 0 then error("train: the data gave no batch", 0) end
  local row = { epoch = state.epoch + 1, loss = sums.loss / sums.samples, samples = sums.samples,
    accuracy = sums.correct and sums.correct / sums.samples or nil, lr = state.lr, updates = state.updates,
    batch = state.batch, attacked = state.attacked, bn = self.o.bn,
    bn_batch = self.o.bn == "whole" and self.micro or math.ceil(self.micro / hwb.comm.size()) }
  state.fractional = state.fractional + sums.parts
  row.updates_fractional = state.fractional
  return row
end

-- What comes after the steps of an epoch.  Signals stop evaluation and eigenvalues at
-- any place; then the state before them is what a checkpoint has.
local function end_epoch(self, history)
  local o, state, clock = self.o, self.state, self.clock
  self.settled = o.run and saved.snapshot(self)
  if self.settled then self.settled.rng = hwb.get_rng_state() end
  sys.hold(false)
  local row = finish_row(self, self.row)
  validate(self, row)
  adapt(self, row)
  sys.hold(true)
  self.settled = nil
  clock:enter("other")
  local now = clock:get()
  times.difference(row, self.mark, now)
  row.images_per_second = row.samples / row.seconds
  row.hessian_share = now.hessian_share
  history[#history + 1], history.times = row, now
  state.epoch, state.position, self.row = row.epoch, 0, nil
  if o.callback and o.callback(row, function() return saved.snapshot(self) end) == false then
    self.stopped = true
  end
  self.over = self.stopped or state.epoch == o.epochs
  if o.run and (saved.due(self) or self.over) then
    ranks.gather(self)
    saved.save(self, history)
  end
  self.asked = ranks.any(self, sys.hold(true))
  stop_if_asked(self, history)
end

local function train_epochs(self, history)
  local state = self.state
  sys.hold(true)
  while state.epoch < self.o.epochs and not self.stopped do
    if not self.row then
      self.row = { loss = 0, samples = 0, seen = 0, parts = 0 }
      self.mark = self.clock:get()
    end
    epoch_steps(self, self.row, history)
    end_epoch(self, history)
  end
end

---------------------------------------------------------------------------
-- the beginning

local function has_steps(m)
  for _, child in m:modules() do
    if child.before_step then return true end
  end
  return false
end

local function start(o, attack)
  local given = { loss = o.loss, eval = o.bn == "eval", whole = o.bn == "whole" }
  for k, v in pairs(o.optimizer) do
    if k ~= "lr" then given[k] = v end
  end
  local micro = o.micro or o.batch
  local self = {
    o = o, micro = micro, attack = attack, loss = hwb.adversarial.loss(o.loss),
    feed = feed(o, micro), trainer = hwb.engine.trainer(o.model, given), clock = times.clock(),
    state = { epoch = 0, position = 0, updates = 0, fractional = 0, batch = o.batch, lr_scale = 1,
      attacked = attack.ratio or 0, model = o.model, loss = o.loss, seed = o.seed },
    micro_steps = 0, pending = 0, prepared = has_steps(o.model),
  }
  self.state.data = self.feed.dataset
  return self
end

-- A new training, or one that goes on where it was.
local function begin(self, history)
  local o, c = self.o, self.o.controller
  local kept = o.run and saved.find(o.run, o.name)
  local from = kept and kept.training or o.resume
  if kept then
    saved.load_model(o.model, kept.model)
    for i, row in ipairs(kept.history) do history[i] = row end
  end
  if from then
    saved.restore(self, from)
    ranks.clear(self)
  elseif c and c.start then
    c:start(self.state)
  end
  self.mark = self.mark or self.clock:get()
  if o.bn == "whole" then
    self.micro = self.state.batch
    self.feed:resize(self.micro)
  end
  saved.due(self)
end

local function check(o)
  if not hwb.nn.Module.is_module(o.model) then error("train: model must be a module", 3) end
  if type(o.optimizer) ~= "table" or not o.optimizer.kind then
    error("train: optimizer must come from hwb.optim, e.g. hwb.optim.sgd{lr = 0.1}", 3)
  end
  if o.bn ~= "ghost" and o.bn ~= "whole" and o.bn ~= "eval" then
    error('train: bn must be "ghost", "whole" or "eval"', 3)
  end
  for _, k in ipairs{ "epochs", "batch" } do
    if math.type(o[k]) ~= "integer" or o[k] < 1 then
      error(("train: %s must be a positive whole number, not %s"):format(k, tostring(o[k])), 3)
    end
  end
  if o.micro and o.batch % o.micro ~= 0 then
    error(("train: batch %d is no multiple of micro %d"):format(o.batch, o.micro), 3)
  end
  if o.bn == "whole" and o.micro then error('train: bn = "whole" has no micro-batches', 3) end
  if o.save_every <= 0 then error("train: save_every must be positive", 3) end
end

local function check_attack(o)
  local a = options("train: adversarial", o.adversarial or {}, {}, attack_defaults)
  local known = false
  for _, name in ipairs(hwb.adversarial.methods) do known = known or name == a.method end
  if not known then error(("train: no attack is called %q"):format(tostring(a.method)), 3) end
  if a.ratio and o.controller and o.controller.attacks then
    error("train: the controller says how many images are attacked; adversarial.ratio must not", 3)
  end
  if a.ratio and not (a.ratio >= 0 and a.ratio <= 1 and a.decay >= 1) then
    error("train: adversarial.ratio must be within 0..1, adversarial.decay at least 1", 3)
  end
  a.stop = a.stop or o.epochs
  return a
end

--- Trains a module in place.  Options:
--   model, optimizer (hwb.optim.*), data: a dataset, loader, {x, y} or function(epoch)
--                that returns an iterator of x, y
--   val          dataset or {x, y}: evaluated after each epoch
--   epochs=1, batch=128 (samples of one update), micro (samples of one program run;
--                gradients of batch/micro of them are added up)
--   loss         "cross_entropy", "mse" or function(output, target)
--   schedule     function of hwb.optim: step, cosine, linear, warmup
--   augment      {crop=4, flip=true, cutout=8}; {resized=true} for image folders: a random
--                part of each; shuffle=true; drop_last=true
--   workers      threads that make batches: 2, with a GPU one a core and at most 16
--   seed=0       of order, augmentation and dropout
--   bn           "ghost": batch norms see the micro-batch, "whole": all samples of an
--                update at once, those of all processes (one program run: memory for all of them), "eval":
--                everything as in evaluation mode (frozen norms, no dropout)
--   adversarial  {ratio=0.2, method="fgsm", eps=0.005, steps=10, decay=1, stop=epochs}:
--                this share of each micro-batch is attacked; after each epoch the share
--                is divided by decay, after epoch `stop` it is 0
--   controller   hwb.batch.*, or one's own: {start(self, s), on_step(self, s),
--                on_epoch(self, s, row), save(self), restore(self, saved)}, all optional.
--                They may set s.batch (samples an update), s.lr_scale, s.attacked and s.eps,
--                and see s.epoch (finished), s.progress (with the fraction), s.updates,
--                s.step, s.model, s.data, s.loss, s.seed
--   callback     function(row, state) after each epoch; false stops.  state() gives a
--                table for `resume`
--   resume       such a table: goes on from there (the model must be as it was)
--   run, name="train", save_every=1    the record of `hwb run`: a checkpoint of everything
--                every so many epochs (0.1: ten an epoch), at the end and when told to
--                stop; `hwb run --resume` goes on from it.  Trainings of one run need
--                names of their own; result.json gets times = {NAME = {computation=, ...}}
-- Returns a list of rows {epoch=, loss=, accuracy=, lr=, updates=, batch=, seconds=, ...} with
-- the seconds of each part in .times (see train_times.lua), and a table for `resume`.
-- updates counts steps made; updates_fractional is the sum of micro-batches over
-- batches, as the publications count.  The model is left in evaluation mode.
return function(given)
  local o = options("train", given, { "model", "data", "optimizer" }, defaults)
  check(o)
  local self = start(o, check_attack(o))
  local history = {}
  begin(self, history)
  o.model:train()
  local ok, message = pcall(train_epochs, self, history)
  local settled = self.settled
  o.model:eval()
  sys.hold(false)
  if not ok and settled and type(message) == "table" and message.code == "EINTR" then
    hwb.set_rng_state(settled.rng)
    saved.save(self, history, settled)
  end
  if not ok then error(message, 0) end
  history.times = self.clock:get()
  if o.run then saved.record_times(self) end
  return history, saved.snapshot(self)
end
