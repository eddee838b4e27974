--- hwb.train{model=, data=, optimizer=, ...}: first-order training.
--
-- Each micro-batch is one run of a compiled program (loss, gradient, batch-norm
-- statistics); the update is one pass over memory in the engine (optim/trainer.c).
-- What happens depends on the seed alone: order, augmentation and dropout are keyed by
-- (seed, epoch, position), so a resumed training gives the same numbers.

local hwb = require "hwb"
local options = require "hwb.nn.options"
local sys = require "hwb.sys"

local defaults = {
  val = false, epochs = 1, batch = 128, micro = false, loss = "cross_entropy", augment = false,
  seed = 0, schedule = false, bn = "batch", callback = false, workers = 2, shuffle = true,
  drop_last = true, eval_batch = 250, resume = false, controller = false,
}

---------------------------------------------------------------------------
-- data

-- {next = function(epoch) -> iterator of x, y; batches = a whole epoch's, or nil}
local function source_of(o)
  local data, batch = o.data, o.micro or o.batch
  if type(data) == "function" then return { next = data } end
  if type(data) == "table" then
    local x, y = data[1], data[2]
    if not hwb.is_tensor(x) or not hwb.is_tensor(y) then
      error("train: data must be a dataset, a loader, {x, y} or function(epoch)", 3)
    end
    if y:dtype():match("^float") then -- targets of a regression: one batch an epoch
      return { batches = 1, next = function()
        local done = false
        return function()
          if done then return nil end
          done = true
          return x, y
        end
      end }
    end
    data = hwb.data.tensors{ x = x, y = y, dtype = x:dtype() }
  end
  local loader = data
  if data.loader then
    local drop = o.drop_last and #data >= batch
    loader = data:loader{ batch = batch, shuffle = o.shuffle, drop_last = drop, seed = o.seed,
      augment = o.augment or nil, workers = o.workers }
  end
  return { batches = #loader, loader = loader, next = function(epoch)
    loader:seek(epoch - 1, 0)
    return loader
  end }
end

---------------------------------------------------------------------------
-- one update

local function has_steps(m)
  for _, child in m:modules() do
    if child.before_step then return true end
  end
  return false
end

-- New dropout masks and the like, from numbers of this step; the user's own random
-- numbers are left alone.
local function prepare_step(self)
  if not self.prepared then return end
  local state = hwb.get_rng_state()
  hwb.manual_seed((self.o.seed * 1000003 + self.micro_steps) & 0x7fffffffffffffff)
  self.o.model:prepare_step()
  hwb.set_rng_state(state)
end

-- The gradients added up so far become one step.
local function update(self)
  local state = self.state
  if self.pending == 0 then return end
  if self.pending ~= self.nominal then -- fewer samples at the end of an epoch
    self.trainer:flat_gradient():mul_(self.nominal / self.pending)
  end
  self.pending = 0
  self.trainer:update(state.lr)
  state.updates = state.updates + 1
end

local function learning_rate(self, epoch, position)
  local o = self.o
  local steps = self.source.batches or 1
  local factor = o.schedule and o.schedule{
    epoch = epoch - 1 + math.min(position / steps, 1), epochs = o.epochs,
    step = self.micro_steps, steps_per_epoch = steps,
  } or 1
  if o.controller and o.controller.lr_scale then
    self.state.lr_scale = o.controller:lr_scale(epoch - 1 + math.min(position / steps, 1))
  end
  return o.optimizer.lr * factor * self.state.lr_scale
end

-- The first state.attacked of the images become adversarial (in evaluation mode).
local function attack(self, x, y)
  local model, n = self.o.model, x:size(1)
  local m = math.floor(n * self.state.attacked)
  if m < 1 then return x end
  model:eval()
  local z = hwb.adversarial.fgsm(model, x:narrow(1, 1, m), y:narrow(1, 1, m), { eps = self.state.eps })
  model:train()
  return m < n and hwb.cat({ z, x:narrow(1, m + 1, n - m) }, 1) or z
end

local function micro_step(self, x, y, row)
  local n = x:size(1)
  if self.state.attacked and self.state.attacked > 0 then x = attack(self, x, y) end
  if self.pending == 0 then self.nominal = self.o.batch * self.state.accumulate end
  prepare_step(self)
  local loss, right = self.trainer:gradient(x, y, n / self.nominal)
  self.pending = self.pending + n
  self.micro_steps = self.micro_steps + 1
  row.samples = row.samples + n
  row.loss = row.loss + loss * n
  if right then row.correct = (row.correct or 0) + right end
  if self.pending >= self.nominal then update(self) end
end

---------------------------------------------------------------------------
-- epochs

local function note_of(row, epoch, epochs, lr)
  local text = ("epoch %d/%d  loss %.4f"):format(epoch, epochs, row.loss / row.samples)
  if row.correct then text = text .. ("  accuracy %.2f %%"):format(100 * row.correct / row.samples) end
  return text .. ("  lr %.3g"):format(lr)
end

local function one_epoch(self, epoch)
  local o, state = self.o, self.state
  local row = { epoch = epoch, loss = 0, samples = 0 }
  local began, position = sys.seconds(), 0
  local total = self.source.batches and self.source.batches * o.epochs or 0
  for x, y in self.source.next(epoch) do
    state.lr = learning_rate(self, epoch, position)
    micro_step(self, x, y, row)
    position = position + 1
    hwb.progress("training", (epoch - 1) * (self.source.batches or 0) + position, total,
      note_of(row, epoch, o.epochs, state.lr))
  end
  update(self)
  if row.samples == 0 then error("train: the data gave no batch", 0) end
  row.seconds = sys.seconds() - began
  row.images_per_second = row.samples / row.seconds
  row.loss = row.loss / row.samples
  if row.correct then row.accuracy, row.correct = row.correct / row.samples, nil end
  row.lr, row.updates = state.lr, state.updates
  return row
end

local function validate(self, row)
  local o = self.o
  if not o.val then return end
  local v = hwb.evaluate(o.model, o.val, { batch = o.eval_batch, loss = o.loss })
  row.val_loss, row.val_accuracy = v.loss, v.accuracy
end

-- What a continued training starts from (with the model's own tensors).
local function snapshot(self)
  local s = { epoch = self.state.epoch, updates = self.state.updates, seed = self.o.seed,
    accumulate = self.state.accumulate, lr_scale = self.state.lr_scale,
    micro_steps = self.micro_steps }
  if self.o.controller and self.o.controller.save then s.controller = self.o.controller:save() end
  s.steps, s.vectors = self.trainer:state()
  return s
end

local function start(o)
  local given = { loss = o.loss, eval = o.bn == "eval" }
  for k, v in pairs(o.optimizer) do
    if k ~= "lr" then given[k] = v end
  end
  local self = {
    o = o, source = source_of(o), trainer = hwb.engine.trainer(o.model, given),
    state = { epoch = 0, updates = 0, accumulate = 1, lr_scale = 1, model = o.model },
    micro_steps = 0, pending = 0, prepared = has_steps(o.model),
  }
  local r = o.resume
  if r then
    if r.seed ~= o.seed then
      error(("train: the state to resume has seed %s, not %s"):format(tostring(r.seed), tostring(o.seed)), 3)
    end
    for _, k in ipairs{ "epoch", "updates", "accumulate", "lr_scale" } do self.state[k] = r[k] end
    self.micro_steps = r.micro_steps
    if r.controller then o.controller:restore(r.controller) end
    self.trainer:restore(r.steps, r.vectors)
  end
  return self
end

local function train_epochs(self, history)
  local o, state = self.o, self.state
  if o.controller and o.controller.start then o.controller:start(state) end
  for epoch = state.epoch + 1, o.epochs do
    local row = one_epoch(self, epoch)
    state.epoch = epoch
    validate(self, row)
    history[#history + 1] = row
    if o.controller then o.controller:epoch(state, row) end
    if o.callback and o.callback(row, function() return snapshot(self) end) == false then break end
  end
end

local function check(o)
  if not hwb.nn.Module.is_module(o.model) then error("train: model must be a module", 3) end
  if type(o.optimizer) ~= "table" or not o.optimizer.kind then
    error("train: optimizer must come from hwb.optim, e.g. hwb.optim.sgd{lr = 0.1}", 3)
  end
  if o.bn ~= "batch" and o.bn ~= "eval" then error('train: bn must be "batch" or "eval"', 3) end
  for _, k in ipairs{ "epochs", "batch" } do
    if math.type(o[k]) ~= "integer" or o[k] < 1 then
      error(("train: %s must be a positive whole number, not %s"):format(k, tostring(o[k])), 3)
    end
  end
  if o.micro and o.batch % o.micro ~= 0 then
    error(("train: batch %d is no multiple of micro %d"):format(o.batch, o.micro), 3)
  end
end

--- Trains a module in place.  Options:
--   model, optimizer (hwb.optim.*), data: a dataset, loader, {x, y} or function(epoch)
--                that returns an iterator of x, y
--   val          dataset or {x, y}: evaluated after each epoch
--   epochs=1, batch=128 (samples of one update), micro (samples of one program run;
--                gradients of batch/micro of them are added up)
--   loss         "cross_entropy", "mse" or function(output, target)
--   schedule     function of hwb.optim: step, cosine, linear, warmup
--   augment      {crop=4, flip=true, cutout=8}; shuffle=true; drop_last=true; workers=2
--   seed=0       of order, augmentation and dropout
--   bn           "batch" statistics, which also update the running ones, or "eval":
--                everything as in evaluation mode (frozen norms, no dropout)
--   callback     function(row, state) after each epoch; false stops.  state() gives a
--                table for `resume`
--   resume       such a table: goes on after its epoch (the model must be as it was)
--   controller   hwb.batch.*, or {start(self, s), epoch(self, s, row)}: may set s.accumulate
--                (batches an update), s.lr_scale, s.attacked (share of adversarial images)
--                and s.eps; lr_scale(self, position), save(self), restore(self, saved) where
--                it has them
-- Returns a list of rows {epoch=, loss=, accuracy=, lr=, updates=, images_per_second=,
-- seconds=, val_loss=, val_accuracy=}, and a table for `resume`.  The model is left in
-- evaluation mode.
return function(given)
  local o = options("train", given, { "model", "data", "optimizer" }, defaults)
  check(o)
  local self = start(o)
  local history = {}
  o.model:train()
  local ok, message = pcall(train_epochs, self, history)
  o.model:eval()
  if not ok then error(message, 0) end
  return history, snapshot(self)
end
