--- Where the time of a training goes, in the parts of the published breakdown.
--
--   computation    gradients, attacks, updates
--   communication  between ranks (0 with one)
--   resize         what a changed batch size costs: new loaders, new programs
--   hessian        eigenvalues for the controller
--   data           waiting for the loader: near 0 when it keeps up
--   validation, checkpoint, other   evaluation, saving, the caller's callback
--
-- At any moment exactly one part runs, so the parts add up to the wall time.  The
-- total of a breakdown is that of the first five: the rest is no training.

local sys = require "hwb.sys"

local times = {}

local training = { "computation", "communication", "resize", "hessian", "data" }
local outside = { "validation", "checkpoint", "other" }

local Clock = {}
Clock.__index = Clock

--- A clock that goes on from the seconds `before` of each part.
function times.clock(before)
  local self = setmetatable({ part = "other", since = sys.seconds(), spent = {} }, Clock)
  for _, list in ipairs{ training, outside } do
    for _, part in ipairs(list) do self.spent[part] = before and before[part] or 0 end
  end
  return self
end

--- From now on time belongs to `part`; the part before it is returned.
function Clock:enter(part)
  local now, was = sys.seconds(), self.part
  self.spent[was] = self.spent[was] + (now - self.since)
  self.part, self.since = part, now
  return was
end

--- {computation=, ..., total=, wall=, hessian_share=}, all in seconds but the share.
function Clock:get()
  self:enter(self.part)
  local t = { total = 0 }
  for _, part in ipairs(training) do
    t[part] = self.spent[part]
    t.total = t.total + t[part]
  end
  t.wall = t.total
  for _, part in ipairs(outside) do
    t[part] = self.spent[part]
    t.wall = t.wall + t[part]
  end
  t.hessian_share = t.total > 0 and t.hessian / t.total or 0
  return t
end

--- Seconds of each part between two get()s, into row[part .. "_seconds"].
function times.difference(row, before, after)
  for _, list in ipairs{ training, outside } do
    for _, part in ipairs(list) do row[part .. "_seconds"] = after[part] - before[part] end
  end
  row.seconds = after.computation + after.communication + after.data
    - before.computation - before.communication - before.data
  return row
end

--- Rows of a table from {{name=, times=}, ...}: seconds of each part, their total,
-- and how many times faster than the first row.
function times.breakdown(list)
  local rows, base = {}, list[1] and list[1].times.total
  for i, entry in ipairs(list) do
    local t = entry.times
    rows[i] = { name = entry.name, computation = t.computation, communication = t.communication,
      resize = t.resize, hessian = t.hessian, data = t.data, total = t.total,
      speedup = t.total > 0 and base / t.total or nil }
  end
  return rows
end

return times
