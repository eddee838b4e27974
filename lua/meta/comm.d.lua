---@meta
-- Several processes on one recipe: mpirun -np 8 hwb run recipe.lua

--- Several processes ("ranks") that run one recipe together, started by mpirun:
--- `mpirun -np 8 hwb run recipe.lua`.  Curvature operators, solvers, hwb.evaluate and
--- hwb.train share each batch out among the ranks and add up; a recipe needs none of
--- these functions for that.  All ranks must call them alike, in the same order.
--- Only rank 0 prints and writes.  Alone, everything here is there and does nothing.
---
--- A rank that fails stops the others with its message and its exit status.  Ctrl-C at
--- mpirun reaches the ranks as SIGTERM: they keep their checkpoint and run.json says
--- interrupted, 143, while mpirun itself ends with 1; a rank that needs more than a second
--- for it is killed, unless mpirun has `--mca odls_base_sigkill_timeout 30`.  When mpirun
--- itself is killed, its processes end without a word; `hwb run --resume` goes on from
--- the last checkpoint, on any number of ranks.
---@class hwb.comm
hwb.comm = {}

--- The number of this process, from 0 as MPI counts.
---@return integer
function hwb.comm.rank() end

--- The number of processes.
---@return integer
function hwb.comm.size() end

--- Where this process is: rank, size, local_rank and local_size (on its machine), name
--- ("self" or "mpi") and library.
---@return table
function hwb.comm.place() end

--- The sum over the ranks, the same bits on each of them.  A tensor's also inside functions
--- that are differentiated: derivatives are then those of the sum of all ranks' results, with
--- respect to this rank's inputs.
--- ```lua
--- local seen = hwb.comm.sum(x:size(1))
--- ```
---@param x number|number[]|hwb.Tensor
---@return number|number[]|hwb.Tensor
function hwb.comm.sum(x) end

--- The value of one rank on all of them: nil, booleans, numbers, strings and plain
--- tables of them, or a tensor, which has the same shape and dtype on every rank.
---@param value any
---@param root? integer the rank it comes from; default 0
---@return any
function hwb.comm.broadcast(value, root) end

--- Returns when every rank is here.
function hwb.comm.barrier() end

--- This rank's part of n things: the first (from 1) and how many.  Parts lie in the
--- order of the ranks and differ by one at most.
---@param n integer
---@return integer first
---@return integer count
function hwb.comm.part(n) end

--- This rank's samples of a batch; all of them when there is one process.  Samples are
--- the rows of x; the other tensors have as many rows, or a multiple.
--- ```lua
--- x, y = hwb.comm.own(x, y)
--- ```
---@param x hwb.Tensor
---@param ... hwb.Tensor
---@return hwb.Tensor ...
function hwb.comm.own(x, ...) end

--- What was exchanged so far: calls, bytes and the seconds spent on it.
---@return table
function hwb.comm.stats() end
