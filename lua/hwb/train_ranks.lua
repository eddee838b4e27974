--- hwb.train on several ranks: each takes its part of every micro-batch.
--
-- Gradients, sums of losses and right answers stay a rank's own until an update, a
-- checkpoint or the end of an epoch; then they are added up.  With batch norms in
-- training mode a rank's norms see its own samples ("ghost" batches of micro / ranks),
-- and the running statistics of all ranks are averaged at each update; with bn = "whole"
-- they see the samples of all ranks, which exchange sums in the middle of each gradient.
-- With one process nothing here does anything.

local hwb = require "hwb"
local comm = hwb.comm

local ranks = {}

-- f() with its time counted as communication.
local function exchange(self, f)
  local was = self.clock:enter("communication")
  f()
  self.clock:enter(was)
end

--- Before an update: gradient and running statistics become those of all ranks.
function ranks.add_up(self)
  if comm.size() == 1 then return end
  exchange(self, function() self.trainer:sum_ranks() end)
end

--- Was any rank told to stop?  All get the same answer.
function ranks.any(self, flag)
  if comm.size() == 1 then return flag end
  local any
  exchange(self, function() any = comm.sum(flag and 1 or 0) > 0 end)
  return any
end

--- The sums of an epoch over all ranks, on all of them.
function ranks.total(self, row)
  if comm.size() == 1 then return end
  exchange(self, function()
    local sums = comm.sum{ row.loss, row.seen, row.correct or 0, row.correct and 1 or 0 }
    row.loss, row.seen = sums[1], math.tointeger(sums[2])
    row.correct = sums[4] > 0 and math.tointeger(sums[3]) or nil
  end)
end

--- Only rank 0 has anything from here on: what it then saves is all there is.
function ranks.clear(self)
  if comm.rank() == 0 then return end
  if self.row then self.row.loss, self.row.seen, self.row.correct = 0, 0, nil end
  if self.pending > 0 then self.trainer:flat_gradient():zero_() end
end

--- Before a checkpoint: rank 0 gets what the ranks have gathered so far.
function ranks.gather(self)
  if comm.size() == 1 then return end
  if self.row then ranks.total(self, self.row) end
  if self.pending > 0 then ranks.add_up(self) end
  ranks.clear(self)
end

return ranks
