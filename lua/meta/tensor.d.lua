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

-- Pointwise: one number in, one number out ----------------------------------------------------

--- -x, element by element; the operator `-x`.
---@return hwb.Tensor
---@see hwb.neg
function Tensor:neg() end

--- Absolute value; its derivative is the sign (0 at 0).
---@return hwb.Tensor
---@see hwb.abs
function Tensor:abs() end

--- e to the power of each element.
---@return hwb.Tensor
---@see hwb.exp
function Tensor:exp() end

--- Natural logarithm; -inf at 0, NaN below.
---@return hwb.Tensor
---@see hwb.log
function Tensor:log() end

--- log(1 + x), exact for small x.
---@return hwb.Tensor
---@see hwb.log1p
function Tensor:log1p() end

--- Square root.
---@return hwb.Tensor
---@see hwb.sqrt
function Tensor:sqrt() end

--- 1 / sqrt(x).
---@return hwb.Tensor
---@see hwb.rsqrt
function Tensor:rsqrt() end

--- x times x.
---@return hwb.Tensor
---@see hwb.square
function Tensor:square() end

--- 1 / x.
---@return hwb.Tensor
---@see hwb.reciprocal
function Tensor:reciprocal() end

--- Sine.
---@return hwb.Tensor
---@see hwb.sin
function Tensor:sin() end

--- Cosine.
---@return hwb.Tensor
---@see hwb.cos
function Tensor:cos() end

--- Hyperbolic tangent.
---@return hwb.Tensor
---@see hwb.tanh
function Tensor:tanh() end

--- 1 / (1 + exp(-x)), without overflow.
---@return hwb.Tensor
---@see hwb.sigmoid
function Tensor:sigmoid() end

--- The error function.
---@return hwb.Tensor
---@see hwb.erf
function Tensor:erf() end

--- max(x, 0); its derivative at 0 is 0.
---@return hwb.Tensor
---@see hwb.relu
function Tensor:relu() end

--- x * Phi(x), Phi the normal distribution function (exact, by erf).
---@return hwb.Tensor
---@see hwb.gelu
function Tensor:gelu() end

--- The tanh approximation of gelu.
---@return hwb.Tensor
---@see hwb.gelu_tanh
function Tensor:gelu_tanh() end

--- x * sigmoid(x), also called swish.
---@return hwb.Tensor
---@see hwb.silu
function Tensor:silu() end

--- log(1 + exp(x)), without overflow.
---@return hwb.Tensor
---@see hwb.softplus
function Tensor:softplus() end

--- -1, 0 or 1; derivative 0.
---@return hwb.Tensor
---@see hwb.sign
function Tensor:sign() end

--- The largest whole number not above x; derivative 0.
---@return hwb.Tensor
---@see hwb.floor
function Tensor:floor() end

--- The smallest whole number not below x; derivative 0.
---@return hwb.Tensor
---@see hwb.ceil
function Tensor:ceil() end

--- The nearest whole number, halves to even; derivative 0.
---@return hwb.Tensor
---@see hwb.round
function Tensor:round() end

--- round whose derivative is that of the identity (straight-through).
---@return hwb.Tensor
---@see hwb.round_st
function Tensor:round_st() end

--- The identity, cut off from derivatives.
---@return hwb.Tensor
---@see hwb.stop_gradient
function Tensor:stop_gradient() end

--- true where x is 0; the operator `~x`.
---@return hwb.Tensor
---@see hwb.logical_not
function Tensor:logical_not() end

-- Pointwise: two numbers in, one out ----------------------------------------------------------

--- a + b, element by element; the operator `+`.
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---@see hwb.add
function Tensor:add(b) end

--- a - b; the operator `-`.
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---@see hwb.sub
function Tensor:sub(b) end

--- a * b, element by element; the operator `*`. The matrix product is matmul.
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---@see hwb.mul
function Tensor:mul(b) end

--- a / b; integers become float32. The operator `/`.
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---@see hwb.div
function Tensor:div(b) end

--- a to the power b; the operator `^`.
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---@see hwb.pow
function Tensor:pow(b) end

--- floor(a / b); integers stay integers. The operator `//`.
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---@see hwb.floor_div
function Tensor:floor_div(b) end

--- a - floor(a / b) * b, with the sign of b; the operator `%`.
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---@see hwb.mod
function Tensor:mod(b) end

--- The larger of a and b, element by element.
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---@see hwb.maximum
function Tensor:maximum(b) end

--- The smaller of a and b, element by element.
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---@see hwb.minimum
function Tensor:minimum(b) end

--- a < b, element by element, as a bool tensor. (The Lua operator gives one boolean, so it
--- cannot.)
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---@see hwb.lt
function Tensor:lt(b) end

--- a <= b, element by element, as a bool tensor. (The Lua operator gives one boolean, so it
--- cannot.)
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---@see hwb.le
function Tensor:le(b) end

--- a > b, element by element, as a bool tensor. (The Lua operator gives one boolean, so it
--- cannot.)
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---@see hwb.gt
function Tensor:gt(b) end

--- a >= b, element by element, as a bool tensor. (The Lua operator gives one boolean, so it
--- cannot.)
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---@see hwb.ge
function Tensor:ge(b) end

--- a == b, element by element, as a bool tensor. (The Lua operator gives one boolean, so it
--- cannot.)
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---@see hwb.eq
function Tensor:eq(b) end

--- a ~= b, element by element, as a bool tensor. (The Lua operator gives one boolean, so it
--- cannot.)
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---@see hwb.ne
function Tensor:ne(b) end

--- true where both are not 0; the operator `a & b`.
---@param b hwb.Tensor broadcasts
---@return hwb.Tensor
---@see hwb.logical_and
function Tensor:logical_and(b) end

--- true where one is not 0; the operator `a | b`.
---@param b hwb.Tensor broadcasts
---@return hwb.Tensor
---@see hwb.logical_or
function Tensor:logical_or(b) end

--- true where exactly one is not 0; the operator `a ~ b`.
---@param b hwb.Tensor broadcasts
---@return hwb.Tensor
---@see hwb.logical_xor
function Tensor:logical_xor(b) end

--- x limited to lo..hi; the derivative is 0 outside.
---@param lo? number nil: no lower bound
---@param hi? number nil: no upper bound
---@return hwb.Tensor
---@see hwb.clamp
function Tensor:clamp(lo, hi) end

--- x + value * a * b.
---@param a hwb.Tensor
---@param b hwb.Tensor
---@param value? number default 1
---@return hwb.Tensor
---@see hwb.addcmul
function Tensor:addcmul(a, b, value) end

--- a where cond is true, b elsewhere; all three broadcast. A number takes the dtype of the
--- other value; two numbers give float32.
---@param a hwb.Tensor|number
---@param b hwb.Tensor|number
---@return hwb.Tensor
---@see hwb.where
function Tensor:where(a, b) end

-- Reductions ----------------------------------------------------------------------------------

--- Sum over all dims, or over those named. Accumulates in double.
---@param dims? integer|integer[] 1-based, negative from the end; none: all
---@param options? {keep: boolean} keep: reduced dims stay with size 1
---@return hwb.Tensor
---@see hwb.sum
function Tensor:sum(dims, options) end

--- Mean over all dims, or over those named.
---@param dims? integer|integer[] 1-based, negative from the end; none: all
---@param options? {keep: boolean} keep: reduced dims stay with size 1
---@return hwb.Tensor
---@see hwb.mean
function Tensor:mean(dims, options) end

--- Variance over all dims, or over those named.
---@param dims? integer|integer[] 1-based, negative from the end; none: all
---@param options? {keep: boolean, correction: number} the sum of squares is divided by n - correction (default 1)
---@return hwb.Tensor
---@see hwb.var
function Tensor:var(dims, options) end

--- Square root of var.
---@param dims? integer|integer[] 1-based, negative from the end; none: all
---@param options? {keep: boolean, correction: number} the sum of squares is divided by n - correction (default 1)
---@return hwb.Tensor
---@see hwb.std
function Tensor:std(dims, options) end

--- (sum |x|^p)^(1/p) over all dims, or over those named.
---@param dims? integer|integer[] 1-based, negative from the end; none: all
---@param options? {keep: boolean, p: number} p: 2 by default; math.huge for the largest magnitude
---@return hwb.Tensor
---@see hwb.norm
function Tensor:norm(dims, options) end

--- The largest element. With one dim given as a number, also its 1-based place along that dim
--- (the first of equals).
---@param dims? integer|integer[] 1-based, negative from the end; none: all
---@param options? {keep: boolean} keep: reduced dims stay with size 1
---@return hwb.Tensor
---@return hwb.Tensor? int64 places, when one dim was named
---@see hwb.max
function Tensor:max(dims, options) end

--- The smallest element. With one dim given as a number, also its 1-based place along that dim
--- (the first of equals).
---@param dims? integer|integer[] 1-based, negative from the end; none: all
---@param options? {keep: boolean} keep: reduced dims stay with size 1
---@return hwb.Tensor
---@return hwb.Tensor? int64 places, when one dim was named
---@see hwb.min
function Tensor:min(dims, options) end

--- 1-based place of the largest element, int64; the first of equals.
---@param dim? integer none: of all elements in row-major order
---@param options? {keep: boolean} keep: reduced dims stay with size 1
---@return hwb.Tensor
---@see hwb.argmax
function Tensor:argmax(dim, options) end

--- 1-based place of the smallest element, int64; the first of equals.
---@param dim? integer none: of all elements in row-major order
---@param options? {keep: boolean} keep: reduced dims stay with size 1
---@return hwb.Tensor
---@see hwb.argmin
function Tensor:argmin(dim, options) end

--- Is one element not 0? A bool tensor.
---@param dims? integer|integer[] 1-based, negative from the end; none: all
---@param options? {keep: boolean} keep: reduced dims stay with size 1
---@return hwb.Tensor
---@see hwb.any
function Tensor:any(dims, options) end

--- Is no element 0? A bool tensor.
---@param dims? integer|integer[] 1-based, negative from the end; none: all
---@param options? {keep: boolean} keep: reduced dims stay with size 1
---@return hwb.Tensor
---@see hwb.all
function Tensor:all(dims, options) end

-- Products ------------------------------------------------------------------------------------

--- The matrix product; vectors as in numpy.
---@param b hwb.Tensor [k], [k,n] or [..,k,n]; batch dims broadcast
---@return hwb.Tensor
---@see hwb.matmul
function Tensor:matmul(b) end

--- The product of two matrices.
---@param b hwb.Tensor [k,n]
---@return hwb.Tensor
---@see hwb.mm
function Tensor:mm(b) end

--- The product of a matrix and a vector.
---@param b hwb.Tensor [k]
---@return hwb.Tensor
---@see hwb.mv
function Tensor:mv(b) end

--- B products of matrices.
---@param b hwb.Tensor [B,k,n]
---@return hwb.Tensor
---@see hwb.bmm
function Tensor:bmm(b) end

--- The inner product of two vectors.
---@param b hwb.Tensor [n]
---@return hwb.Tensor
---@see hwb.dot
function Tensor:dot(b) end

--- The outer product of two vectors, [m,n].
---@param b hwb.Tensor [n]
---@return hwb.Tensor
---@see hwb.ger
function Tensor:ger(b) end

-- Layers and losses ---------------------------------------------------------------------------

--- exp(x) / sum exp(x) along a dim, without overflow.
---@param dim? integer default: the last
---@return hwb.Tensor
---@see hwb.softmax
function Tensor:softmax(dim) end

--- Logarithm of softmax.
---@param dim? integer default: the last
---@return hwb.Tensor
---@see hwb.log_softmax
function Tensor:log_softmax(dim) end

--- Mean of -log softmax(logits) at the labels, which are 1-based.
---@param labels hwb.Tensor integers 1..C, [N] or [N,...]
---@param options? hwb.CrossEntropyOptions
---@return hwb.Tensor
---@see hwb.cross_entropy
function Tensor:cross_entropy(labels, options) end

--- Mean of (x - target)^2.
---@param target hwb.Tensor the same shape
---@param options? {reduction: "mean"|"none"} "none" gives one loss for each sample
---@return hwb.Tensor
---@see hwb.mse
function Tensor:mse(target, options) end

--- [..., classes] with 1 at each label and 0 elsewhere.
---@param classes integer
---@param options? {dtype: string} default float32
---@return hwb.Tensor
---@see hwb.one_hot
function Tensor:one_hot(classes, options) end

--- x w^T + bias.
---@param w hwb.Tensor [out,in]
---@param bias? hwb.Tensor [out]
---@return hwb.Tensor
---@see hwb.linear
function Tensor:linear(w, bias) end

--- Normalises over the last dims, those that gamma covers.
---@param gamma hwb.Tensor [size]
---@param beta hwb.Tensor [size]
---@param options? {eps: number} default 1e-5
---@return hwb.Tensor
---@see hwb.layer_norm
function Tensor:layer_norm(gamma, beta, options) end

--- (x - mean) / sqrt(var + eps) * gamma + beta for each channel, with given statistics.
---@param gamma hwb.Tensor [C]
---@param beta hwb.Tensor [C]
---@param mean hwb.Tensor [C]
---@param var hwb.Tensor [C]
---@param options? {eps: number} default 1e-5
---@return hwb.Tensor
---@see hwb.batch_norm
function Tensor:batch_norm(gamma, beta, mean, var, options) end

--- batch_norm with the batch's own mean and (biased) variance, which are given out for running
--- averages.
---@param gamma hwb.Tensor [C]
---@param beta hwb.Tensor [C]
---@param options? {eps: number} default 1e-5
---@return hwb.Tensor
---@return hwb.Tensor mean [C]
---@return hwb.Tensor unbiased variance [C]
---@see hwb.batch_norm_batch
function Tensor:batch_norm_batch(gamma, beta, options) end

--- softmax(q k^T / sqrt(d) + mask) v.
---@param k hwb.Tensor [..,S,d]
---@param v hwb.Tensor [..,S,e]
---@param mask? hwb.Tensor [..,T,S], added to the scores; bool: true where allowed
---@return hwb.Tensor
---@see hwb.attention
function Tensor:attention(k, v, mask) end

--- Convolution (cross-correlation, as everywhere in deep learning): [N,O,H',W'].
---@param w hwb.Tensor [O,C/groups,h,w]
---@param bias? hwb.Tensor [O]
---@param options? hwb.ConvOptions
---@return hwb.Tensor
---@see hwb.conv2d
function Tensor:conv2d(w, bias, options) end

--- The largest value in each window.
---@param kernel integer|integer[]|table a number, {height, width}, or the options with kernel=
---@param options? hwb.PoolOptions
---@return hwb.Tensor
---@see hwb.max_pool2d
function Tensor:max_pool2d(kernel, options) end

--- The mean of each window; padding counts as zeros.
---@param kernel integer|integer[]|table a number, {height, width}, or the options with kernel=
---@param options? hwb.PoolOptions
---@return hwb.Tensor
---@see hwb.avg_pool2d
function Tensor:avg_pool2d(kernel, options) end

--- Zeros around a tensor.
---@param pairs integer[][] {before, after} for each of the last dims
---@return hwb.Tensor
---@see hwb.pad
function Tensor:pad(pairs) end

--- (clamp(round(x/scale) + zero, qmin, qmax) - zero) * scale with the straight-through
--- derivative.
---@param scale hwb.Tensor|number broadcasts to x
---@param zero hwb.Tensor|number zero point
---@param qmin number
---@param qmax number
---@param options? {mask: boolean} mask: the gradient is cut outside the range (default true)
---@return hwb.Tensor
---@see hwb.fake_quant
function Tensor:fake_quant(scale, zero, qmin, qmax, options) end

-- Picking and scattering: indices are 1-based -------------------------------------------------

--- The parts of x along dim that the index names, in its order; the dims of the index stand in
--- the place of dim.
---@param dim integer
---@param index hwb.Tensor integers 1..size(dim), any shape
---@return hwb.Tensor
---@see hwb.index_select
function Tensor:index_select(dim, index) end

--- Rows of a table: [..., d].
---@param index hwb.Tensor integers 1..V, any shape
---@return hwb.Tensor
---@see hwb.embedding
function Tensor:embedding(index) end

--- y[a,b] = x[index[a,b], b] for dim 1, likewise for others; y has the shape of the index.
---@param dim integer
---@param index hwb.Tensor integers, of x's rank
---@return hwb.Tensor
---@see hwb.gather
function Tensor:gather(dim, index) end

--- x with part k of the updates added at index[k]; repeated indices add up.
---@param dim integer
---@param index hwb.Tensor integers [n]
---@param updates hwb.Tensor x with n in the place of dim
---@return hwb.Tensor
---@see hwb.index_add
function Tensor:index_add(dim, index, updates) end

--- x with updates[a,b] added at [index[a,b], b] for dim 1, likewise for others: the transpose
--- of gather.
---@param dim integer
---@param index hwb.Tensor integers, of x's rank
---@param updates hwb.Tensor the shape of the index
---@return hwb.Tensor
---@see hwb.scatter_add
function Tensor:scatter_add(dim, index, updates) end

-- Operations that read values: not on traced tensors ------------------------------------------

--- Sorted values and their 1-based places; equal values keep their order, NaN is the largest.
---@param dim? integer default: the last
---@param options? {descending: boolean}
---@return hwb.Tensor
---@return hwb.Tensor int64 places
---@see hwb.sort
function Tensor:sort(dim, options) end

--- The k largest values along a dim, and their 1-based places.
---@param k integer
---@param dim? integer default: the last
---@param options? {largest: boolean} default true
---@return hwb.Tensor
---@return hwb.Tensor int64 places
---@see hwb.topk
function Tensor:topk(k, dim, options) end

--- Sums of the elements so far, along a dim.
---@param dim? integer default: the last
---@return hwb.Tensor
---@see hwb.cumsum
function Tensor:cumsum(dim) end

--- The 1-based index of every element that is not 0: int64 [count, dims].
---@return hwb.Tensor
---@see hwb.nonzero
function Tensor:nonzero() end

--- The upper triangle; zeros below it.
---@param k? integer diagonals above (or, negative, below) the main one
---@return hwb.Tensor
---@see hwb.triu
function Tensor:triu(k) end

--- The lower triangle; zeros above it.
---@param k? integer diagonals above (or, negative, below) the main one
---@return hwb.Tensor
---@see hwb.tril
function Tensor:tril(k) end

--- A diagonal matrix of a vector; the diagonal of a matrix.
---@return hwb.Tensor
---@see hwb.diag
function Tensor:diag() end

--- Eigenvalues in ascending order, and eigenvectors in columns.
---@return hwb.Tensor [n]
---@return hwb.Tensor [n,n]
---@see hwb.eigh
function Tensor:eigh() end

return Tensor
