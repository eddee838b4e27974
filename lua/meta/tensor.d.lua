---@meta
-- Tensors: typed arrays with methods.  Everything is 1-based; methods return new tensors,
-- those that end in _ change the tensor and return it.

--- A typed array of up to 8 dims: concrete, or traced (inside hwb.grad or a model), when its
--- values are not known yet. `t[i]`, `t[{i, {first, last}, {}}]`, `t[mask]` and `t[indices]`
--- pick, `t(i, j)` reads one element; `+ - * / ^ // %` work element by element; `==` is true
--- for the same shape, dtype and bits.
---@class hwb.Tensor
---@operator add(hwb.Tensor|number): hwb.Tensor
---@operator sub(hwb.Tensor|number): hwb.Tensor
---@operator mul(hwb.Tensor|number): hwb.Tensor
---@operator div(hwb.Tensor|number): hwb.Tensor
---@operator pow(hwb.Tensor|number): hwb.Tensor
---@operator idiv(hwb.Tensor|number): hwb.Tensor
---@operator mod(hwb.Tensor|number): hwb.Tensor
---@operator band(hwb.Tensor): hwb.Tensor
---@operator bor(hwb.Tensor): hwb.Tensor
---@operator bxor(hwb.Tensor): hwb.Tensor
---@operator unm: hwb.Tensor
---@operator bnot: hwb.Tensor
---@operator len: integer
---@operator call(integer...): number
local Tensor = {}

-- Facts ---------------------------------------------------------------------------------------

--- The sizes of all dims, or of one.
---@param dim? integer
---@return integer|integer[] all sizes (which print as 2x3), or one
---```lua
---hwb.zeros(2, 3):size(2) --> 3
---```
function Tensor:size(dim) end

--- Steps between neighbours along each dim, in elements.
---@param dim? integer
---@return integer|integer[]
function Tensor:stride(dim) end

--- The number of dims; 0 for a scalar.
---@return integer
---```lua
---hwb.zeros(2, 3):dim() --> 2
---```
function Tensor:dim() end

--- The number of elements.
---@return integer
---```lua
---hwb.zeros(2, 3):numel() --> 6
---```
function Tensor:numel() end

--- The type of the elements.
---@return string float32, float64, int32, int64, uint8 or bool
function Tensor:dtype() end

--- The device that operations run on: tensors lie in host memory and are carried there.
---@return string
function Tensor:device() end

--- Do the elements lie in order without gaps?
---@return boolean
function Tensor:is_contiguous() end

--- Does this tensor stand for a value that is not known yet?
---@return boolean
function Tensor:is_traced() end

--- Are both tensors views of one memory?
---@param other hwb.Tensor
---@return boolean
---```lua
---x:t():shares_storage(x) --> true
---```
function Tensor:shares_storage(other) end

--- The value of a tensor with one element.
---@return number|boolean
---```lua
---hwb.ones(3):sum():item() --> 3.0
---```
function Tensor:item() end

--- Nested Lua tables of the values.
---@return table|number|boolean
---```lua
---hwb.eye(2):totable() --> {{1, 0}, {0, 1}}
---```
function Tensor:totable() end

--- Iterates over the parts along dim 1; `pairs(t)` does the same.
---@return fun(): integer, hwb.Tensor
---```lua
---for i, row in t:rows() do print(i, row:sum():item()) end
---```
function Tensor:rows() end

-- Conversion ----------------------------------------------------------------------------------

--- Another dtype; or, for a device, selects it for what follows.
---@param what string a dtype ("float64"), or a device ("cpu", "cuda")
---@return hwb.Tensor? the tensor itself when nothing changes
---@return string? message when there is no such device
---@return string? code
---```lua
---x:to("float64")
---```
function Tensor:to(what) end

--- to("cpu").
---@return hwb.Tensor?
---@return string? message
---@return string? code
function Tensor:cpu() end

--- to("cuda").
---@return hwb.Tensor?
---@return string? message
---@return string? code
function Tensor:cuda() end

--- The values as float32.
---@return hwb.Tensor
function Tensor:float() end

--- The values as float64.
---@return hwb.Tensor
function Tensor:double() end

--- The values as int32. Floats are cut towards zero.
---@return hwb.Tensor
function Tensor:int() end

--- The values as int64. Floats are cut towards zero.
---@return hwb.Tensor
function Tensor:long() end

--- The values as uint8. Floats are cut towards zero.
---@return hwb.Tensor
function Tensor:byte() end

--- The values as bool.
---@return hwb.Tensor
function Tensor:bool() end

--- A copy with memory of its own.
---@return hwb.Tensor
function Tensor:clone() end

--- The tensor itself when its elements lie in order, else a copy in which they do.
---@return hwb.Tensor
function Tensor:contiguous() end

-- Views: they share memory with the tensor ----------------------------------------------------

--- Another shape for the same elements in the same order; one size may be -1. Copies when the
--- strides allow no view.
---@param ... integer|integer[] sizes, as numbers or one list
---@return hwb.Tensor
---```lua
---hwb.arange(1, 6):reshape(2, -1)
---```
function Tensor:reshape(...) end

--- reshape that never copies: raises instead.
---@param ... integer|integer[] sizes, as numbers or one list
---@return hwb.Tensor
function Tensor:view(...) end

--- Dims first..last as one.
---@param first? integer default 1
---@param last? integer default: the last
---@return hwb.Tensor
---```lua
---hwb.zeros(2, 3, 4):flatten(2) --> 2x12
---```
function Tensor:flatten(first, last) end

--- Without a dim of size 1, or without all of them.
---@param dim? integer
---@return hwb.Tensor
function Tensor:squeeze(dim) end

--- With a new dim of size 1.
---@param dim integer place of the new dim
---@return hwb.Tensor
---```lua
---hwb.zeros(2, 3):unsqueeze(1) --> 1x2x3
---```
function Tensor:unsqueeze(dim) end

--- The dims in another order.
---@param ... integer|integer[] every dim once
---@return hwb.Tensor
---```lua
---hwb.zeros(2, 3, 4):permute(3, 1, 2) --> 4x2x3
---```
function Tensor:permute(...) end

--- Two dims exchanged.
---@param a integer
---@param b integer
---@return hwb.Tensor
function Tensor:transpose(a, b) end

--- The transpose of a matrix; a vector stays as it is.
---@return hwb.Tensor
function Tensor:t() end

--- len parts from start on along dim.
---@param dim integer
---@param start integer
---@param len integer
---@return hwb.Tensor
---```lua
---hwb.arange(1, 9):narrow(1, 3, 2) --> {3, 4}
---```
function Tensor:narrow(dim, start, len) end

--- Parts first..last along dim.
---@param dim integer
---@param first integer
---@param last integer included
---@param step? integer
---@return hwb.Tensor
---```lua
---hwb.arange(1, 9):slice(1, 1, 9, 4) --> {1, 5, 9}
---```
function Tensor:slice(dim, first, last, step) end

--- One part along dim, which is dropped.
---@param dim integer
---@param index integer
---@return hwb.Tensor
function Tensor:select(dim, index) end

--- A list of parts of `size`; the last one may be smaller.
---@param size integer
---@param dim? integer default 1
---@return hwb.Tensor[]
function Tensor:split(size, dim) end

--- A list of at most n parts of one size.
---@param n integer
---@param dim? integer default 1
---@return hwb.Tensor[]
function Tensor:chunk(n, dim) end

--- Dims of size 1 grow, without a copy; -1 keeps a dim, new dims come first.
---@param ... integer|integer[] sizes, as numbers or one list
---@return hwb.Tensor
---```lua
---hwb.zeros(1, 3):expand(4, -1) --> 4x3
---```
function Tensor:expand(...) end

--- expand to the shape of another tensor.
---@param other hwb.Tensor
---@return hwb.Tensor
function Tensor:expand_as(other) end

-- Masks ---------------------------------------------------------------------------------------

--- The elements where the mask is true, in a row; also `t[mask]`.
---@param mask hwb.Tensor bool, of the tensor's shape; not traced
---@return hwb.Tensor
---```lua
---x[x:gt(0)]
---```
function Tensor:masked_select(mask) end

--- Sets the elements where the mask is true; also `t[mask] = value`.
---@param mask hwb.Tensor bool, of the tensor's shape
---@param value number
---@return hwb.Tensor
function Tensor:masked_fill_(mask, value) end

-- In place: concrete tensors only -------------------------------------------------------------

--- Adds b.
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor the tensor itself
function Tensor:add_(b) end

--- Subtracts b.
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor the tensor itself
function Tensor:sub_(b) end

--- Multiplies by b, element by element.
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor the tensor itself
function Tensor:mul_(b) end

--- Divides by b.
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor the tensor itself
function Tensor:div_(b) end

--- Raises to the power b.
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor the tensor itself
function Tensor:pow_(b) end

--- Changes the sign.
---@return hwb.Tensor the tensor itself
function Tensor:neg_() end

--- Sets negative elements to 0.
---@return hwb.Tensor the tensor itself
function Tensor:relu_() end

--- Limits the elements to lo..hi.
---@param lo? number
---@param hi? number
---@return hwb.Tensor the tensor itself
function Tensor:clamp_(lo, hi) end

--- Adds value * a * b.
---@param a hwb.Tensor
---@param b hwb.Tensor
---@param value? number default 1
---@return hwb.Tensor the tensor itself
function Tensor:addcmul_(a, b, value) end

--- Sets every element.
---@param value number
---@return hwb.Tensor the tensor itself
function Tensor:fill_(value) end

--- Sets every element to 0.
---@return hwb.Tensor the tensor itself
function Tensor:zero_() end

--- Copies the values of another tensor.
---@param other hwb.Tensor broadcasts; converted
---@return hwb.Tensor the tensor itself
function Tensor:copy_(other) end
