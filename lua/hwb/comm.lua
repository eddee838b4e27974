--- hwb.comm: several processes ("ranks") that run one recipe together.
--
--     mpirun -np 8 hwb run recipes/absa_resnet18_imagenet.lua
--
-- Every rank runs the same program from the same seeds.  Curvature operators, solvers,
-- hwb.evaluate and hwb.train share the samples of each batch out among the ranks and add
-- up; everything else is done by all alike, so recipes need not know.  Only rank 0 prints
-- and writes.  With one process all of this is there and does nothing.

local hwb = require "hwb"
local engine = hwb.engine.comm
local json = hwb.json

local comm = {}

--- Number of this process, from 0.
function comm.rank() return engine.place().rank end

--- How many processes there are.
function comm.size() return engine.place().size end

--- {rank=, size=, local_rank=, local_size=, name="self"|"mpi", library=}
function comm.place() return engine.place() end

--- The sum over the ranks, the same bits on each: of a number, a list of numbers, or a
-- float tensor (new tensor).
function comm.sum(x)
  if hwb.is_tensor(x) then return engine.sum(x) end
  if engine.place().size == 1 then return x end
  if type(x) == "number" then return engine.sum(hwb.tensor({ x }, { dtype = "float64" })):item() end
  if type(x) ~= "table" then
    error("comm.sum: a number, a list of numbers or a tensor, not a " .. type(x), 2)
  end
  return engine.sum(hwb.tensor(x, { dtype = "float64" })):totable()
end

--- The value of rank `root` (0): nil, a boolean, number, string, plain table, or a
-- tensor, which must have the same shape and dtype everywhere (new tensor).
function comm.broadcast(value, root)
  root = root or 0
  if hwb.is_tensor(value) then return engine.broadcast_(value:clone(), root) end
  if engine.place().size == 1 then return value end
  local text = engine.place().rank == root and json.encode({ value }) or nil
  local got = assert(json.decode(engine.broadcast_text(text, root)))
  return got[1]
end

--- Returns when all ranks are here.
function comm.barrier() engine.barrier() end

--- first, count of this rank's part of 1..n; the parts lie in the order of the ranks.
function comm.part(n) return engine.part(n) end

--- This rank's part of a batch: the samples are the rows of the first tensor; the
-- others have as many rows, or a multiple.
function comm.own(x, ...)
  if engine.place().size == 1 then return x, ... end
  local parts, n = table.pack(x, ...), x:size(1)
  local first, count = engine.part(n)
  for i = 1, parts.n do
    local t = parts[i]
    local each = t:size(1) // math.max(n, 1)
    parts[i] = count > 0 and t:narrow(1, (first - 1) * each + 1, count * each) or t:narrow(1, 1, 0)
  end
  return table.unpack(parts, 1, parts.n)
end

--- What was exchanged so far: {calls=, bytes=, seconds=}.
function comm.stats() return engine.stats() end

return comm
