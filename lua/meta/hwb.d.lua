---@meta
-- The module hwb: making tensors, derivatives, random numbers, memory, devices.

--- A workbench for Hessians, quantization and large-batch training.
--- Everything is 1-based; options go in a last table and unknown ones raise; misuse raises with
--- the shapes in the text; files and devices that fail give nil, message, code.
---@class hwb
hwb = {}

-- Making tensors ------------------------------------------------------------------------------

--- A tensor of the values given; of a tensor, a copy.
---@param values table|number|boolean|hwb.Tensor nested tables of one shape
---@param options? {dtype: string} float32 by default; bool for booleans
---@return hwb.Tensor
---```lua
---hwb.tensor({{1, 2}, {3, 4}}, {dtype = "float64"})
---```
function hwb.tensor(values, options) end

--- A tensor of zeros.
---@param ... integer|integer[] sizes, as numbers or one list, then {dtype: string} (float32 by default)
---@return hwb.Tensor
---```lua
---hwb.zeros(2, 3, {dtype = "float64"})
---```
function hwb.zeros(...) end

--- A tensor of ones.
---@param ... integer|integer[] sizes, as numbers or one list, then {dtype: string} (float32 by default)
---@return hwb.Tensor
---```lua
---hwb.ones(2, 3, {dtype = "float64"})
---```
function hwb.ones(...) end

--- A tensor with one value everywhere.
---@param sizes integer|integer[]
---@param value number|boolean
---@param options? {dtype: string} float32 by default
---@return hwb.Tensor
---```lua
---hwb.full({2, 3}, 0.5)
---```
function hwb.full(sizes, value, options) end

--- A tensor of zeros of the shape of x.
---@param x hwb.Tensor its shape and dtype are taken
---@param options? {dtype: string}
---@return hwb.Tensor
function hwb.zeros_like(x, options) end

--- A tensor of ones of the shape of x.
---@param x hwb.Tensor its shape and dtype are taken
---@param options? {dtype: string}
---@return hwb.Tensor
function hwb.ones_like(x, options) end

--- A tensor of the shape of x with one value everywhere.
---@param x hwb.Tensor its shape and dtype are taken
---@param value number
---@param options? {dtype: string}
---@return hwb.Tensor
function hwb.full_like(x, value, options) end

--- Ones on the diagonal, zeros elsewhere.
---@param n integer rows
---@param m? integer columns; default n
---@param options? {dtype: string} float32 by default
---@return hwb.Tensor
---```lua
---hwb.eye(3)
---```
function hwb.eye(n, m, options) end

--- a, a + step, ... up to b, which is included.
---@param a number alone: 1..a
---@param b? number included
---@param step? number default 1
---@param options? {dtype: string} float32 by default
---@return hwb.Tensor
---```lua
---hwb.arange(0, 1, 0.25) --> {0, 0.25, 0.5, 0.75, 1}
---```
function hwb.arange(a, b, step, options) end

--- n points from a to b, both included.
---@param a number
---@param b number
---@param n integer
---@param options? {dtype: string} float32 by default
---@return hwb.Tensor
---```lua
---hwb.linspace(0, 1, 5)
---```
function hwb.linspace(a, b, n, options) end

--- Tensors joined along a dim.
---@param list hwb.Tensor[]
---@param dim? integer default 1
---@return hwb.Tensor
---```lua
---hwb.cat({hwb.ones(2, 2), hwb.zeros(1, 2)}) --> 3x2
---```
function hwb.cat(list, dim) end

--- Tensors joined along a new dim.
---@param list hwb.Tensor[] of one shape
---@param dim? integer place of the new dim; default 1
---@return hwb.Tensor
---```lua
---hwb.stack{hwb.ones(2), hwb.zeros(2)} --> 2x2
---```
function hwb.stack(list, dim) end

--- Is the value a tensor, concrete or traced?
---@param value any
---@return boolean
function hwb.is_tensor(value) end

-- Random tensors ------------------------------------------------------------------------------

--- Starts the random numbers over. Every call that draws takes the next stream under the seed
--- (0 at first), so results do not depend on threads or devices.
---@param seed integer
---```lua
---hwb.manual_seed(1)
---```
function hwb.manual_seed(seed) end

--- Where the random numbers stand: plain numbers that can be stored.
---@return {seed: integer, draws: integer}
function hwb.get_rng_state() end

--- Goes back to a state of get_rng_state.
---@param state {seed: integer, draws: integer}
function hwb.set_rng_state(state) end

--- Uniform numbers in [0, 1).
---@param ... integer|integer[] sizes, as numbers or one list, then {dtype: string} (float32 by default)
---@return hwb.Tensor
---```lua
---hwb.rand(2, 3)
---```
function hwb.rand(...) end

--- Normal numbers of mean 0 and variance 1.
---@param ... integer|integer[] sizes, as numbers or one list, then {dtype: string} (float32 by default)
---@return hwb.Tensor
---```lua
---hwb.randn(2, 3, {dtype = "float64"})
---```
function hwb.randn(...) end

--- +1 or -1 with equal probability: the probes of trace estimators.
---@param ... integer|integer[] sizes, as numbers or one list, then {dtype: string} (float32 by default)
---@return hwb.Tensor
---```lua
---hwb.rademacher(1000)
---```
function hwb.rademacher(...) end

--- rand of the shape of x.
---@param x hwb.Tensor its shape and dtype are taken
---@param options? {dtype: string}
---@return hwb.Tensor
function hwb.rand_like(x, options) end

--- randn of the shape of x.
---@param x hwb.Tensor its shape and dtype are taken
---@param options? {dtype: string}
---@return hwb.Tensor
function hwb.randn_like(x, options) end

--- 1..n in random order, int64.
---@param n integer
---@return hwb.Tensor
---```lua
---x:index_select(1, hwb.randperm(#x))
---```
function hwb.randperm(n) end

--- Whole numbers lo..hi with equal probability.
---@param lo integer
---@param hi integer included
---@param ... integer|integer[] sizes, as numbers or one list, then {dtype: string} (int64 by default)
---@return hwb.Tensor
---```lua
---hwb.randint(1, 10, 128)
---```
function hwb.randint(lo, hi, ...) end

-- Derivatives of Lua functions ----------------------------------------------------------------

--- The function that gives the gradient of f for each float tensor among its arguments (a list
--- of tensors gives a list). Other arguments are passed through; captured tensors are
--- constants. Derivatives nest.
---@param f fun(...): hwb.Tensor returns one element
---@return fun(...): ...
---```lua
---local g = hwb.grad(function(w) return (x:matmul(w) - y):square():mean() end)(w)
---```
function hwb.grad(f) end

--- As grad, with the value of f in front.
---@param f fun(...): hwb.Tensor returns one element
---@return fun(...): hwb.Tensor, ...
---```lua
---local loss, g = hwb.value_and_grad(f)(w)
---```
function hwb.value_and_grad(f) end

--- Forward mode: the value of f and its directional derivative.
---@param f fun(...): hwb.Tensor
---@param x hwb.Tensor|hwb.Tensor[] what f is called with
---@param v hwb.Tensor|hwb.Tensor[] a direction, shaped like x
---@return hwb.Tensor f(x)
---@return hwb.Tensor its derivative along v
---```lua
---local y, dy = hwb.jvp(f, x, v)
---```
function hwb.jvp(f, x, v) end

--- Reverse mode: the value of f and its transposed derivative applied to w.
---@param f fun(...): hwb.Tensor
---@param x hwb.Tensor|hwb.Tensor[] what f is called with
---@param w hwb.Tensor a cotangent, shaped like f(x)
---@return hwb.Tensor f(x)
---@return hwb.Tensor|hwb.Tensor[] the gradient of sum(w * f) with respect to x
---```lua
---local y, g = hwb.vjp(f, x, w)
---```
function hwb.vjp(f, x, w) end

--- Hessian-vector products, exact (forward over reverse). K directions at once share the
--- gradient.
---@param f fun(x): hwb.Tensor returns one element
---@param x hwb.Tensor|hwb.Tensor[] what f is called with
---@param v hwb.Tensor|hwb.Tensor[] shaped like x, or K of them along a new first dim
---@return hwb.Tensor|hwb.Tensor[] shaped like v
---```lua
---local H = hwb.hvp(f, x, hwb.eye(#x)) -- the whole Hessian of a vector x
---```
function hwb.hvp(f, x, v) end

--- The graph that f makes, as text.
---@param f fun(...): hwb.Tensor
---@param ... any its arguments
---@return string
---```lua
---print(hwb.graph_dump(function(x) return x:tanh():sum() end, hwb.ones(3)))
---```
function hwb.graph_dump(f, ...) end

-- Memory --------------------------------------------------------------------------------------

--- Bytes: live and peak (tensors and buffers, now and at most), limit (0: none), device_live,
--- device_peak, soft_limit (at which the collector is run), lua; and the number of allocations.
---@return table<string, integer>
---```lua
---print(hwb.memory().peak / 2^20)
---```
function hwb.memory() end

--- Starts the measurement of the peak over.
function hwb.memory_reset_peak() end

--- Until it is closed, every tensor made is temporary: at the end all are freed at once, but
--- those given to scope:keep.
---@return hwb.Scope
---```lua
---local y
---do
---  local scope <close> = hwb.scope()
---  y = scope:keep((a * b + c):exp())
---end
---```
function hwb.scope() end

--- A piece of the program whose tensors are freed at its end (hwb.scope).
---@class hwb.Scope
local Scope = {}

--- Keeps tensors (also in lists) beyond the scope; those of an inner scope move one scope out.
---@param ... any
---@return ... the same values
function Scope:keep(...) end

--- Ends the scope; `<close>` does it by itself.
function Scope:close() end

-- Devices and threads -------------------------------------------------------------------------

--- The device that operations run on; with a name, selects it.
---@param name? string "cpu", "cuda"
---@return string? the device in use
---@return string? message when there is no such device
---@return string? code
---```lua
---assert(hwb.device("cuda"))
---```
function hwb.device(name) end

--- What devices may compute float32 products and convolutions in (exact float32 by
--- default), and whether every run must give the same bits (so by default). The CPU does
--- both always; a GPU may be faster otherwise.
--- Functions and operators made before keep what they were made with.
---@param options? {math?: "float32"|"tf32"|"bf16", deterministic?: boolean}
---@return {math: string, deterministic: boolean} the options now in force
---```lua
---hwb.device_options{math = "tf32"}
---```
function hwb.device_options(options) end

--- Selects the device; raises when it is not there.
---@param name string
function hwb.set_device(name) end

--- Worker threads of the kernels; with a number, sets them.
---@param n? integer 0: all cores
---@return integer
---```lua
---hwb.threads(4)
---```
function hwb.threads(n) end

--- Shows on stderr how far a loop is, with rate and remaining time.
---@param what string what is counted
---@param done integer
---@param total? integer 0: unknown
---@param note? string
---```lua
---for i = 1, n do hwb.progress("steps", i, n) end
---```
function hwb.progress(what, done, total, note) end

return hwb
