--- What a continued training starts from, and when it is saved.
--
--     snapshot(self)          plain values and tensors: everything but the model's tensors
--     restore(self, s)        the inverse, into a training that was just set up
--     find(run, name)         the state that a resumed run has of this training, or nil
--     save(self)              into the run folder, atomically, with the model's tensors
--
-- A run folder holds one checkpoint; trainings of one run have names in it, and those
-- that are over stay there, so that a resumed run does not repeat them.

local clock_of = require("hwb.train_times").clock

local state = {}

-- A controller without save and restore has its own plain fields saved.
local function save_controller(c)
  if not c then return nil end
  if c.save then return c:save() end
  local fields = {}
  for k, v in pairs(c) do
    if type(v) ~= "function" then fields[k] = v end
  end
  return fields
end

local function restore_controller(c, saved)
  if not c or not saved then return end
  if c.restore then return c:restore(saved) end
  for k, v in pairs(saved) do c[k] = v end
end

local function plain(t)
  local out = {}
  for k, v in pairs(t) do
    if type(v) == "number" or type(v) == "string" or type(v) == "boolean" then out[k] = v end
  end
  return out
end

function state.snapshot(self)
  local s = { seed = self.o.seed, state = plain(self.state), micro_steps = self.micro_steps,
    pending = self.pending, nominal = self.nominal, row = self.row and plain(self.row),
    mark = self.mark, epoch = self.state.epoch, stopped = self.stopped, times = self.clock:get(),
    controller = save_controller(self.o.controller) }
  s.steps, s.vectors = self.trainer:state()
  if self.pending > 0 then s.gradient = self.trainer:flat_gradient():clone() end
  return s
end

function state.restore(self, s)
  if s.seed ~= self.o.seed then
    error(("train: the state to resume has seed %s, not %s"):format(tostring(s.seed), tostring(self.o.seed)), 4)
  end
  for k, v in pairs(s.state) do self.state[k] = v end
  self.micro_steps, self.pending, self.nominal = s.micro_steps, s.pending, s.nominal
  self.row, self.mark, self.stopped = s.row, s.mark, s.stopped
  self.clock = clock_of(s.times)
  restore_controller(self.o.controller, s.controller)
  self.trainer:restore(s.steps, s.vectors)
  if s.gradient then self.trainer:add(s.gradient) end
end

---------------------------------------------------------------------------
-- checkpoints in a run folder

-- What the checkpoint of a run holds, by training.
local kept = setmetatable({}, { __mode = "k" })

local function all_of(run)
  if not kept[run] then
    local s = run:restore()
    kept[run] = s and s.trainings or {}
  end
  return kept[run]
end

function state.find(run, name) return all_of(run)[name] end

--- Seconds of each part of all trainings of the run so far, by name, into result.json.
function state.record_times(self)
  local list = {}
  for name, entry in pairs(all_of(self.o.run)) do list[name] = entry.training.times end
  list[self.o.name] = self.clock:get()
  self.o.run:result{ times = list }
end

--- Copies the saved tensors into the model.
function state.load_model(model, saved)
  for name, t in pairs(model:state_dict()) do
    local from = saved[name]
    if not from then error(("train: the saved model has no %q"):format(name), 0) end
    t:copy_(from)
  end
end

--- `s`: a snapshot taken earlier (the model has not changed since), or nil for one of now.
function state.save(self, history, s)
  local was = self.clock:enter("checkpoint")
  local trainings = all_of(self.o.run)
  local rows = {}
  for _, row in ipairs(history) do -- an interrupted callback has its row in the list already
    if row.epoch <= (s or self.state).epoch then rows[#rows + 1] = row end
  end
  trainings[self.o.name] = { training = s or state.snapshot(self), model = self.o.model:state_dict(),
    history = rows }
  self.o.run:checkpoint{ trainings = trainings }
  -- the model's tensors go on changing: what stays is needed only when this one is over
  local copies = {}
  if self.over then
    for name, t in pairs(self.o.model:state_dict()) do copies[name] = t:clone() end
  end
  trainings[self.o.name].model = copies
  self.clock:enter(was)
end

--- Checkpoints are due every `every` epochs; true once for each.
function state.due(self)
  local samples = self.feed.samples
  local position = samples and math.min(self.state.position / samples, 1) or 0
  local number = math.floor((self.state.epoch + position) / self.o.save_every + 1e-9)
  if number <= (self.saved or 0) then return false end
  self.saved = number
  return true
end

return state
