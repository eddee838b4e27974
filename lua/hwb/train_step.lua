--- One micro-batch of hwb.train, and the update after enough of them.
--
-- A batch of state.batch samples is the sum of the gradients of its micro-batches,
-- each weighted by its share.  What is left over at the end of an epoch makes a
-- smaller update of its own, scaled to the mean of its samples.
--
-- state.compat = "hessianflow" is the published program's way: gradients are weighted by
-- the batch of the moment, an update comes whenever the count of all micro-batches so
-- far is a multiple of batch / micro, and what is left over goes into the next epoch,
-- also across a growth of the batch.

local hwb = require "hwb"
local ranks = require "hwb.train_ranks"
local sys = require "hwb.sys"

local step = {}

-- New dropout masks and the like, from numbers of this step; the user's own random
-- numbers are left alone.
local function prepare(self)
  if not self.prepared then return end
  local state = hwb.get_rng_state()
  local own = hwb.comm.rank() * 0x9e3779b97f4a7c15 -- no two ranks drop the same
  hwb.manual_seed((self.o.seed * 1000003 + self.micro_steps + own) & 0x7fffffffffffffff)
  self.o.model:prepare_step()
  hwb.set_rng_state(state)
end

local function historic(self) return self.state.compat == "hessianflow" end

--- The gradients added up so far become one step.  Ranks also agree on whether to stop.
function step.update(self)
  local state = self.state
  if self.pending == 0 then return end
  ranks.add_up(self)
  if not historic(self) and self.pending ~= self.nominal then
    self.trainer:flat_gradient():mul_(self.nominal / self.pending)
  end
  self.pending = 0
  self.trainer:update(state.lr)
  state.updates = state.updates + 1
  self.asked = ranks.any(self, sys.hold(true))
end

--- The end of an epoch.
function step.flush(self)
  if not historic(self) then step.update(self) end
end

local function learning_rate(self)
  local o, state, samples = self.o, self.state, self.feed.samples
  local epoch = state.epoch + (samples and math.min(state.position / samples, 1) or 0)
  local factor = o.schedule and o.schedule{ epoch = epoch, epochs = o.epochs, step = self.micro_steps,
    steps_per_epoch = samples and math.max(1, samples // self.micro) or 1 } or 1
  local c = o.controller
  if c and c.on_step then
    state.progress, state.step = epoch, self.micro_steps
    c:on_step(state)
  end
  return o.optimizer.lr * factor * state.lr_scale
end

-- The first state.attacked of the `whole` images become adversarial, found in evaluation
-- mode; x may be a rank's part of them.
local function attack(self, x, y, whole)
  local model, state, n = self.o.model, self.state, x:size(1)
  local m = math.min(n, math.floor(whole * state.attacked) - hwb.comm.part(whole) + 1)
  if m < 1 then return x end
  model:eval()
  local z = hwb.adversarial[self.attack.method](model, x:narrow(1, 1, m), y:narrow(1, 1, m),
    { eps = state.eps or self.attack.eps, steps = self.attack.steps, loss = self.loss })
  model:train()
  return m < n and hwb.cat({ z, x:narrow(1, m + 1, n - m) }, 1) or z
end

--- x, y: one micro-batch of n samples, or a rank's part of it; its loss and right
-- answers go into the row of the epoch.
function step.micro(self, x, y, n, row)
  local state, own = self.state, x:size(1)
  state.lr = learning_rate(self)
  if state.attacked > 0 then x = attack(self, x, y, n) end
  if self.pending == 0 or historic(self) then self.nominal = state.batch end
  prepare(self)
  local loss, right = 0, nil
  if own > 0 or self.o.bn == "whole" then loss, right = self.trainer:gradient(x, y, own / self.nominal) end
  self.pending = self.pending + n
  self.micro_steps = self.micro_steps + 1
  state.position = state.position + n
  row.samples = row.samples + n
  row.parts = row.parts + n / state.batch
  row.seen = row.seen + own
  row.loss = row.loss + loss * own
  if right then row.correct = (row.correct or 0) + right end
  local full = self.pending >= self.nominal
  if historic(self) then full = self.micro_steps % math.max(1, state.batch // self.micro) == 0 end
  if full then step.update(self) end
end

return step
