---@meta
-- Operations as methods of tensors: x:exp() is hwb.exp(x) (pointwise.d.lua, ops.d.lua).

---@class hwb.Tensor
local Tensor = {}

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
