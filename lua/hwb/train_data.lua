--- Micro-batches for hwb.train from a dataset, a loader, {x, y} or function(epoch).
--
--     local feed = require "hwb.train_data"(o)
--     local next_batch = feed:open(epoch, position)   -- x, y, n = next_batch(); nil at the end
--                      n samples, of which several ranks get a part each, empty perhaps
--     feed.samples     of a whole epoch, or nil when nobody knows
--     feed:resize(n)   samples of a micro-batch from the next open on

local hwb = require "hwb"
local sys = require "hwb.sys"

local Feed = {}
Feed.__index = Feed

-- One batch an epoch.
local function single(x, y)
  return { samples = x:size(1), at = function(_, position)
    local done = position > 0
    return function()
      if done then return nil end
      done = true
      return x, y
    end
  end }
end

-- The user's own iterator; what a continued epoch has seen already is skipped.
local function from_function(f)
  return { at = function(epoch, position)
    local step, subject, last = f(epoch)
    local function next_batch()
      local x, y = step(subject, last)
      last = x
      return x, y
    end
    while position > 0 do
      local x = next_batch()
      if not x then break end
      position = position - x:size(1)
    end
    return next_batch
  end }
end

local function from_loader(loader, count, batch, drop)
  return { loader = loader, batch = batch, drop = drop,
    samples = drop and count // batch * batch or count, split = loader:info().split,
    at = function(epoch, position)
      loader:seek(epoch - 1, position)
      return loader
    end }
end

-- A device of its own leaves the cores to the loader, and needs them: decoding photographs
-- takes longer than training on them.
local function workers_of(o)
  if o.workers then return o.workers end
  local device = hwb.device()
  if device == "cpu" or device == "ref" then return 2 end
  return math.max(2, math.min(sys.cpu().cores // hwb.comm.place().local_size, 16))
end

local function make(o, size)
  local data = o.data
  if type(data) == "function" then return from_function(data) end
  if type(data) == "table" then
    local x, y = data[1], data[2]
    if not hwb.is_tensor(x) or not hwb.is_tensor(y) then
      error("train: data must be a dataset, a loader, {x, y} or function(epoch)", 4)
    end
    if y:dtype():match("^float") then return single(x, y) end -- targets of a regression
    data = hwb.data.tensors{ x = x, y = y, dtype = x:dtype() }
  end
  if not data.loader then -- a loader: its batches are what they are
    local count, info = #data:dataset(), data:info()
    return from_loader(data, info.drop_last and #data * info.batch or count, info.batch, false)
  end
  -- Leaving out a short last batch is done here: a resized batch leaves out no more.
  local drop = o.drop_last and #data >= size
  local loader = data:loader{ batch = size, shuffle = o.shuffle, seed = o.seed, split = true,
    augment = o.augment or nil, workers = workers_of(o) }
  local feed = from_loader(loader, #data, size, drop)
  feed.dataset = data
  return feed
end

-- The number of samples beside a batch, or a rank's part of it.
local function counted(self, next_batch, position)
  local loader = self.loader
  return function()
    local x, y = next_batch()
    if not x then return nil end
    if not self.split then
      local n = x:size(1)
      x, y = hwb.comm.own(x, y)
      return x, y, n
    end
    local _, now = loader:tell()
    local n = now - position
    position = now
    return x, y, n
  end
end

--- An iterator over the epoch from `position` samples on.
function Feed:open(epoch, position)
  local next_batch = counted(self, self.at(epoch, position), position)
  if not self.drop then return next_batch end
  return function()
    local x, y, n = next_batch()
    if x and n < self.batch then return nil end
    return x, y, n
  end
end

function Feed:resize(n)
  if n == self.current then return end
  if not self.dataset then error("train: bn = \"whole\" needs a dataset or {x, labels} for data", 0) end
  self.loader:set_batch(n)
  self.current = n
end

--- o: the options of hwb.train; `size`: samples of a micro-batch.
return function(o, size)
  local feed = setmetatable(make(o, size), Feed)
  feed.current = size
  return feed
end
