---@meta
-- Operations of tensors as functions: hwb.exp(x) is x:exp().  All have derivatives of
-- every order but where said.

--- Options of hwb.conv2d: numbers, or {height, width}.
---@class hwb.ConvOptions
---@field stride? integer|integer[] default 1
---@field padding? integer|integer[] zeros on every side; default 0
---@field dilation? integer|integer[] default 1
---@field groups? integer default 1

--- Options of pooling: numbers, or {height, width}.
---@class hwb.PoolOptions
---@field kernel? integer|integer[] when it is not given by itself
---@field stride? integer|integer[] default: the kernel
---@field padding? integer|integer[] default 0
---@field ceil? boolean the size of the result rounds up; default false

--- Options of hwb.cross_entropy.
---@class hwb.CrossEntropyOptions
---@field smoothing? number of labels, in [0,1); default 0
---@field reduction? "mean"|"none" none: one loss for each sample; default mean

-- Pointwise: one number in, one number out ----------------------------------------------------

--- -x, element by element; the operator `-x`.
---@param x hwb.Tensor any shape and dtype
---@return hwb.Tensor
---```lua
---hwb.neg(hwb.tensor{1, -2}) --> {-1, 2}
---```
function hwb.neg(x) end

--- Absolute value; its derivative is the sign (0 at 0).
---@param x hwb.Tensor any shape and dtype
---@return hwb.Tensor
---```lua
---hwb.tensor{-3, 2}:abs() --> {3, 2}
---```
function hwb.abs(x) end

--- e to the power of each element.
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.tensor{0, 1}:exp()
---```
function hwb.exp(x) end

--- Natural logarithm; -inf at 0, NaN below.
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.tensor{1, math.exp(1)}:log() --> {0, 1}
---```
function hwb.log(x) end

--- log(1 + x), exact for small x.
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.tensor{1e-8}:log1p()
---```
function hwb.log1p(x) end

--- Square root.
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.tensor{4, 9}:sqrt() --> {2, 3}
---```
function hwb.sqrt(x) end

--- 1 / sqrt(x).
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.tensor{4}:rsqrt() --> {0.5}
---```
function hwb.rsqrt(x) end

--- x times x.
---@param x hwb.Tensor any shape and dtype
---@return hwb.Tensor
---```lua
---hwb.tensor{3}:square() --> {9}
---```
function hwb.square(x) end

--- 1 / x.
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.tensor{4}:reciprocal() --> {0.25}
---```
function hwb.reciprocal(x) end

--- Sine.
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.tensor{0}:sin() --> {0}
---```
function hwb.sin(x) end

--- Cosine.
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.tensor{0}:cos() --> {1}
---```
function hwb.cos(x) end

--- Hyperbolic tangent.
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.randn(3):tanh()
---```
function hwb.tanh(x) end

--- 1 / (1 + exp(-x)), without overflow.
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.tensor{0}:sigmoid() --> {0.5}
---```
function hwb.sigmoid(x) end

--- The error function.
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.tensor{1}:erf() --> {0.8427}
---```
function hwb.erf(x) end

--- max(x, 0); its derivative at 0 is 0.
---@param x hwb.Tensor any shape and dtype
---@return hwb.Tensor
---```lua
---hwb.tensor{-1, 2}:relu() --> {0, 2}
---```
function hwb.relu(x) end

--- x * Phi(x), Phi the normal distribution function (exact, by erf).
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.randn(3):gelu()
---```
function hwb.gelu(x) end

--- The tanh approximation of gelu.
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.randn(3):gelu_tanh()
---```
function hwb.gelu_tanh(x) end

--- x * sigmoid(x), also called swish.
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.randn(3):silu()
---```
function hwb.silu(x) end

--- log(1 + exp(x)), without overflow.
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.tensor{0}:softplus() --> {0.6931}
---```
function hwb.softplus(x) end

--- -1, 0 or 1; derivative 0.
---@param x hwb.Tensor any shape and dtype
---@return hwb.Tensor
---```lua
---hwb.tensor{-3, 0, 2}:sign() --> {-1, 0, 1}
---```
function hwb.sign(x) end

--- The largest whole number not above x; derivative 0.
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.tensor{-1.5}:floor() --> {-2}
---```
function hwb.floor(x) end

--- The smallest whole number not below x; derivative 0.
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.tensor{1.2}:ceil() --> {2}
---```
function hwb.ceil(x) end

--- The nearest whole number, halves to even; derivative 0.
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.tensor{0.5, 1.5}:round() --> {0, 2}
---```
function hwb.round(x) end

--- round whose derivative is that of the identity (straight-through).
---@param x hwb.Tensor any shape; integers become float32
---@return hwb.Tensor
---```lua
---hwb.grad(function(x) return x:round_st():sum() end)(hwb.randn(3)) --> ones
---```
function hwb.round_st(x) end

--- The identity, cut off from derivatives.
---@param x hwb.Tensor
---@return hwb.Tensor
---```lua
---hwb.grad(function(x) return (x * x:stop_gradient()):sum() end)(hwb.tensor{3}) --> {3}
---```
function hwb.stop_gradient(x) end

--- true where x is 0; the operator `~x`.
---@param x hwb.Tensor
---@return hwb.Tensor
---```lua
---~hwb.tensor{0, 2}:bool() --> {true, false}
---```
function hwb.logical_not(x) end

-- Pointwise: two numbers in, one out ----------------------------------------------------------

--- a + b, element by element; the operator `+`.
---@param a hwb.Tensor|number
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---```lua
---hwb.tensor{1, 2} + 1 --> {2, 3}
---```
function hwb.add(a, b) end

--- a - b; the operator `-`.
---@param a hwb.Tensor|number
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---```lua
---hwb.sub(5, hwb.tensor{1, 2}) --> {4, 3}
---```
function hwb.sub(a, b) end

--- a * b, element by element; the operator `*`. The matrix product is matmul.
---@param a hwb.Tensor|number
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---```lua
---hwb.tensor{1, 2} * hwb.tensor{3, 4} --> {3, 8}
---```
function hwb.mul(a, b) end

--- a / b; integers become float32. The operator `/`.
---@param a hwb.Tensor|number
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---```lua
---hwb.tensor{1, 2} / 2 --> {0.5, 1}
---```
function hwb.div(a, b) end

--- a to the power b; the operator `^`.
---@param a hwb.Tensor|number
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---```lua
---hwb.tensor{2, 3} ^ 2 --> {4, 9}
---```
function hwb.pow(a, b) end

--- floor(a / b); integers stay integers. The operator `//`.
---@param a hwb.Tensor|number
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---```lua
---hwb.tensor{7, -7} // 2 --> {3, -4}
---```
function hwb.floor_div(a, b) end

--- a - floor(a / b) * b, with the sign of b; the operator `%`.
---@param a hwb.Tensor|number
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---```lua
---hwb.tensor{7, -7} % 3 --> {1, 2}
---```
function hwb.mod(a, b) end

--- The larger of a and b, element by element.
---@param a hwb.Tensor|number
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---```lua
---hwb.maximum(hwb.tensor{1, 5}, 3) --> {3, 5}
---```
function hwb.maximum(a, b) end

--- The smaller of a and b, element by element.
---@param a hwb.Tensor|number
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---```lua
---hwb.minimum(hwb.tensor{1, 5}, 3) --> {1, 3}
---```
function hwb.minimum(a, b) end

--- a < b, element by element, as a bool tensor. (The Lua operator gives one boolean, so it
--- cannot.)
---@param a hwb.Tensor|number
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---```lua
---hwb.tensor{1, 2, 3}:lt(2)
---```
function hwb.lt(a, b) end

--- a <= b, element by element, as a bool tensor. (The Lua operator gives one boolean, so it
--- cannot.)
---@param a hwb.Tensor|number
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---```lua
---hwb.tensor{1, 2, 3}:le(2)
---```
function hwb.le(a, b) end

--- a > b, element by element, as a bool tensor. (The Lua operator gives one boolean, so it
--- cannot.)
---@param a hwb.Tensor|number
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---```lua
---hwb.tensor{1, 2, 3}:gt(2)
---```
function hwb.gt(a, b) end

--- a >= b, element by element, as a bool tensor. (The Lua operator gives one boolean, so it
--- cannot.)
---@param a hwb.Tensor|number
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---```lua
---hwb.tensor{1, 2, 3}:ge(2)
---```
function hwb.ge(a, b) end

--- a == b, element by element, as a bool tensor. (The Lua operator gives one boolean, so it
--- cannot.)
---@param a hwb.Tensor|number
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---```lua
---hwb.tensor{1, 2, 3}:eq(2)
---```
function hwb.eq(a, b) end

--- a ~= b, element by element, as a bool tensor. (The Lua operator gives one boolean, so it
--- cannot.)
---@param a hwb.Tensor|number
---@param b hwb.Tensor|number broadcasts as in numpy; a number takes the dtype of the tensor
---@return hwb.Tensor
---```lua
---hwb.tensor{1, 2, 3}:ne(2)
---```
function hwb.ne(a, b) end

--- true where both are not 0; the operator `a & b`.
---@param a hwb.Tensor
---@param b hwb.Tensor broadcasts
---@return hwb.Tensor
---```lua
---hwb.tensor{1, 2, 3}:gt(1) & hwb.tensor{1, 2, 3}:lt(3)
---```
function hwb.logical_and(a, b) end

--- true where one is not 0; the operator `a | b`.
---@param a hwb.Tensor
---@param b hwb.Tensor broadcasts
---@return hwb.Tensor
---```lua
---hwb.tensor{1, 2, 3}:gt(1) | hwb.tensor{1, 2, 3}:lt(3)
---```
function hwb.logical_or(a, b) end

--- true where exactly one is not 0; the operator `a ~ b`.
---@param a hwb.Tensor
---@param b hwb.Tensor broadcasts
---@return hwb.Tensor
---```lua
---hwb.tensor{1, 2, 3}:gt(1) ~ hwb.tensor{1, 2, 3}:lt(3)
---```
function hwb.logical_xor(a, b) end

--- x limited to lo..hi; the derivative is 0 outside.
---@param x hwb.Tensor any shape
---@param lo? number nil: no lower bound
---@param hi? number nil: no upper bound
---@return hwb.Tensor
---```lua
---hwb.tensor{-2, 0.5, 9}:clamp(-1, 1) --> {-1, 0.5, 1}
---```
function hwb.clamp(x, lo, hi) end

--- x + value * a * b.
---@param x hwb.Tensor any shape
---@param a hwb.Tensor
---@param b hwb.Tensor
---@param value? number default 1
---@return hwb.Tensor
---```lua
---p:addcmul(g, g, 0.1)
---```
function hwb.addcmul(x, a, b, value) end

--- a where cond is true, b elsewhere; all three broadcast. A number takes the dtype of the
--- other value; two numbers give float32.
---@param cond hwb.Tensor bool, or anything that is true where not 0
---@param a hwb.Tensor|number
---@param b hwb.Tensor|number
---@return hwb.Tensor
---```lua
---hwb.where(x:gt(0), x, 0.1 * x)
---```
function hwb.where(cond, a, b) end

-- Reductions ----------------------------------------------------------------------------------

--- Sum over all dims, or over those named. Accumulates in double.
---@param x hwb.Tensor any shape
---@param dims? integer|integer[] 1-based, negative from the end; none: all
---@param options? {keep: boolean} keep: reduced dims stay with size 1
---@return hwb.Tensor
---```lua
---hwb.ones(2, 3):sum(1, {keep = true}) --> 1x3
---```
function hwb.sum(x, dims, options) end

--- Mean over all dims, or over those named.
---@param x hwb.Tensor any shape
---@param dims? integer|integer[] 1-based, negative from the end; none: all
---@param options? {keep: boolean} keep: reduced dims stay with size 1
---@return hwb.Tensor
---```lua
---hwb.tensor{{1, 2}, {3, 4}}:mean(2) --> {1.5, 3.5}
---```
function hwb.mean(x, dims, options) end

--- Variance over all dims, or over those named.
---@param x hwb.Tensor any shape
---@param dims? integer|integer[] 1-based, negative from the end; none: all
---@param options? {keep: boolean, correction: number} the sum of squares is divided by n - correction (default 1)
---@return hwb.Tensor
---```lua
---hwb.randn(100):var{correction = 0}
---```
function hwb.var(x, dims, options) end

--- Square root of var.
---@param x hwb.Tensor any shape
---@param dims? integer|integer[] 1-based, negative from the end; none: all
---@param options? {keep: boolean, correction: number} the sum of squares is divided by n - correction (default 1)
---@return hwb.Tensor
---```lua
---hwb.randn(100):std()
---```
function hwb.std(x, dims, options) end

--- (sum |x|^p)^(1/p) over all dims, or over those named.
---@param x hwb.Tensor any shape
---@param dims? integer|integer[] 1-based, negative from the end; none: all
---@param options? {keep: boolean, p: number} p: 2 by default; math.huge for the largest magnitude
---@return hwb.Tensor
---```lua
---hwb.tensor{3, 4}:norm() --> 5
---```
function hwb.norm(x, dims, options) end

--- The largest element. With one dim given as a number, also its 1-based place along that dim
--- (the first of equals).
---@param x hwb.Tensor any shape
---@param dims? integer|integer[] 1-based, negative from the end; none: all
---@param options? {keep: boolean} keep: reduced dims stay with size 1
---@return hwb.Tensor
---@return hwb.Tensor? int64 places, when one dim was named
---```lua
---local values, places = hwb.tensor{{1, 5}, {7, 2}}:max(2)
---```
function hwb.max(x, dims, options) end

--- The smallest element. With one dim given as a number, also its 1-based place along that dim
--- (the first of equals).
---@param x hwb.Tensor any shape
---@param dims? integer|integer[] 1-based, negative from the end; none: all
---@param options? {keep: boolean} keep: reduced dims stay with size 1
---@return hwb.Tensor
---@return hwb.Tensor? int64 places, when one dim was named
---```lua
---local values, places = hwb.tensor{{1, 5}, {7, 2}}:min(2)
---```
function hwb.min(x, dims, options) end

--- 1-based place of the largest element, int64; the first of equals.
---@param x hwb.Tensor any shape
---@param dim? integer none: of all elements in row-major order
---@param options? {keep: boolean} keep: reduced dims stay with size 1
---@return hwb.Tensor
---```lua
---logits:argmax(2)
---```
function hwb.argmax(x, dim, options) end

--- 1-based place of the smallest element, int64; the first of equals.
---@param x hwb.Tensor any shape
---@param dim? integer none: of all elements in row-major order
---@param options? {keep: boolean} keep: reduced dims stay with size 1
---@return hwb.Tensor
---```lua
---logits:argmin(2)
---```
function hwb.argmin(x, dim, options) end

--- Is one element not 0? A bool tensor.
---@param x hwb.Tensor any shape
---@param dims? integer|integer[] 1-based, negative from the end; none: all
---@param options? {keep: boolean} keep: reduced dims stay with size 1
---@return hwb.Tensor
---```lua
---x:gt(3):any():item()
---```
function hwb.any(x, dims, options) end

--- Is no element 0? A bool tensor.
---@param x hwb.Tensor any shape
---@param dims? integer|integer[] 1-based, negative from the end; none: all
---@param options? {keep: boolean} keep: reduced dims stay with size 1
---@return hwb.Tensor
---```lua
---x:ge(0):all():item()
---```
function hwb.all(x, dims, options) end

-- Products ------------------------------------------------------------------------------------

--- The matrix product; vectors as in numpy.
---@param a hwb.Tensor [k], [m,k] or [..,m,k]
---@param b hwb.Tensor [k], [k,n] or [..,k,n]; batch dims broadcast
---@return hwb.Tensor
---```lua
---hwb.randn(5, 2, 3):matmul(hwb.randn(3, 4)) --> 5x2x4
---```
function hwb.matmul(a, b) end

--- The product of two matrices.
---@param a hwb.Tensor [m,k]
---@param b hwb.Tensor [k,n]
---@return hwb.Tensor
---```lua
---hwb.eye(2):mm(hwb.ones(2, 3)) --> 2x3
---```
function hwb.mm(a, b) end

--- The product of a matrix and a vector.
---@param a hwb.Tensor [m,k]
---@param b hwb.Tensor [k]
---@return hwb.Tensor
---```lua
---hwb.eye(2):mv(hwb.tensor{1, 2}) --> {1, 2}
---```
function hwb.mv(a, b) end

--- B products of matrices.
---@param a hwb.Tensor [B,m,k]
---@param b hwb.Tensor [B,k,n]
---@return hwb.Tensor
---```lua
---hwb.randn(5, 2, 3):bmm(hwb.randn(5, 3, 4)) --> 5x2x4
---```
function hwb.bmm(a, b) end

--- The inner product of two vectors.
---@param a hwb.Tensor [n]
---@param b hwb.Tensor [n]
---@return hwb.Tensor
---```lua
---hwb.tensor{1, 2}:dot(hwb.tensor{3, 4}) --> 11
---```
function hwb.dot(a, b) end

--- The outer product of two vectors, [m,n].
---@param a hwb.Tensor [m]
---@param b hwb.Tensor [n]
---@return hwb.Tensor
---```lua
---hwb.ger(hwb.tensor{1, 2}, hwb.tensor{3, 4}) --> {{3, 4}, {6, 8}}
---```
function hwb.ger(a, b) end

-- Layers and losses ---------------------------------------------------------------------------

--- exp(x) / sum exp(x) along a dim, without overflow.
---@param x hwb.Tensor any shape
---@param dim? integer default: the last
---@return hwb.Tensor
---```lua
---hwb.softmax(hwb.randn(2, 10))
---```
function hwb.softmax(x, dim) end

--- Logarithm of softmax.
---@param x hwb.Tensor any shape
---@param dim? integer default: the last
---@return hwb.Tensor
---```lua
---hwb.log_softmax(hwb.randn(2, 10))
---```
function hwb.log_softmax(x, dim) end

--- Mean of -log softmax(logits) at the labels, which are 1-based.
---@param logits hwb.Tensor [N,C] or [N,C,...]
---@param labels hwb.Tensor integers 1..C, [N] or [N,...]
---@param options? hwb.CrossEntropyOptions
---@return hwb.Tensor
---```lua
---hwb.cross_entropy(model(x), y)
---```
function hwb.cross_entropy(logits, labels, options) end

--- Mean of (x - target)^2.
---@param x hwb.Tensor any shape
---@param target hwb.Tensor the same shape
---@param options? {reduction: "mean"|"none"} "none" gives one loss for each sample
---@return hwb.Tensor
---```lua
---hwb.mse(model(x), y)
---```
function hwb.mse(x, target, options) end

--- [..., classes] with 1 at each label and 0 elsewhere.
---@param labels hwb.Tensor integers 1..classes, any shape
---@param classes integer
---@param options? {dtype: string} default float32
---@return hwb.Tensor
---```lua
---hwb.one_hot(hwb.tensor{1, 3}:long(), 3)
---```
function hwb.one_hot(labels, classes, options) end

--- x w^T + bias.
---@param x hwb.Tensor [..,in]
---@param w hwb.Tensor [out,in]
---@param bias? hwb.Tensor [out]
---@return hwb.Tensor
---```lua
---hwb.linear(x, w, b)
---```
function hwb.linear(x, w, bias) end

--- Normalises over the last dims, those that gamma covers.
---@param x hwb.Tensor [..., size]
---@param gamma hwb.Tensor [size]
---@param beta hwb.Tensor [size]
---@param options? {eps: number} default 1e-5
---@return hwb.Tensor
---```lua
---hwb.layer_norm(x, hwb.ones(8), hwb.zeros(8))
---```
function hwb.layer_norm(x, gamma, beta, options) end

--- (x - mean) / sqrt(var + eps) * gamma + beta for each channel, with given statistics.
---@param x hwb.Tensor [N,C,...]
---@param gamma hwb.Tensor [C]
---@param beta hwb.Tensor [C]
---@param mean hwb.Tensor [C]
---@param var hwb.Tensor [C]
---@param options? {eps: number} default 1e-5
---@return hwb.Tensor
---```lua
---hwb.batch_norm(x, gamma, beta, running_mean, running_var)
---```
function hwb.batch_norm(x, gamma, beta, mean, var, options) end

--- batch_norm with the batch's own mean and (biased) variance, which are given out for running
--- averages.
---@param x hwb.Tensor [N,C,...]
---@param gamma hwb.Tensor [C]
---@param beta hwb.Tensor [C]
---@param options? {eps: number} default 1e-5
---@return hwb.Tensor
---@return hwb.Tensor mean [C]
---@return hwb.Tensor unbiased variance [C]
---```lua
---local y, mean, var = hwb.batch_norm_batch(x, gamma, beta)
---```
function hwb.batch_norm_batch(x, gamma, beta, options) end

--- softmax(q k^T / sqrt(d) + mask) v.
---@param q hwb.Tensor [..,T,d]
---@param k hwb.Tensor [..,S,d]
---@param v hwb.Tensor [..,S,e]
---@param mask? hwb.Tensor [..,T,S], added to the scores; bool: true where allowed
---@return hwb.Tensor
---```lua
---hwb.attention(q, k, v, hwb.ones(5, 5):tril():bool())
---```
function hwb.attention(q, k, v, mask) end

--- Convolution (cross-correlation, as everywhere in deep learning): [N,O,H',W'].
---@param x hwb.Tensor [N,C,H,W]
---@param w hwb.Tensor [O,C/groups,h,w]
---@param bias? hwb.Tensor [O]
---@param options? hwb.ConvOptions
---@return hwb.Tensor
---```lua
---hwb.conv2d(hwb.randn(1, 3, 32, 32), hwb.randn(16, 3, 3, 3), nil, {padding = 1}) --> 1x16x32x32
---```
function hwb.conv2d(x, w, bias, options) end

--- The largest value in each window.
---@param x hwb.Tensor [N,C,H,W]
---@param kernel integer|integer[]|table a number, {height, width}, or the options with kernel=
---@param options? hwb.PoolOptions
---@return hwb.Tensor
---```lua
---hwb.max_pool2d(x, 3, {stride = 2, padding = 1})
---```
function hwb.max_pool2d(x, kernel, options) end

--- The mean of each window; padding counts as zeros.
---@param x hwb.Tensor [N,C,H,W]
---@param kernel integer|integer[]|table a number, {height, width}, or the options with kernel=
---@param options? hwb.PoolOptions
---@return hwb.Tensor
---```lua
---hwb.avg_pool2d(x, 2)
---```
function hwb.avg_pool2d(x, kernel, options) end

--- Zeros around a tensor.
---@param x hwb.Tensor any shape
---@param pairs integer[][] {before, after} for each of the last dims
---@return hwb.Tensor
---```lua
---hwb.tensor{1, 2}:pad{{1, 2}} --> {0, 1, 2, 0, 0}
---```
function hwb.pad(x, pairs) end

--- (clamp(round(x/scale) + zero, qmin, qmax) - zero) * scale with the straight-through
--- derivative.
---@param x hwb.Tensor any shape
---@param scale hwb.Tensor|number broadcasts to x
---@param zero hwb.Tensor|number zero point
---@param qmin number
---@param qmax number
---@param options? {mask: boolean} mask: the gradient is cut outside the range (default true)
---@return hwb.Tensor
---```lua
---hwb.fake_quant(w, 0.1, 0, -8, 7)
---```
function hwb.fake_quant(x, scale, zero, qmin, qmax, options) end

-- Picking and scattering: indices are 1-based -------------------------------------------------

--- The parts of x along dim that the index names, in its order; the dims of the index stand in
--- the place of dim.
---@param x hwb.Tensor any shape and dtype
---@param dim integer
---@param index hwb.Tensor integers 1..size(dim), any shape
---@return hwb.Tensor
---```lua
---x:index_select(1, hwb.tensor{3, 1}:long())
---```
function hwb.index_select(x, dim, index) end

--- Rows of a table: [..., d].
---@param weight hwb.Tensor [V,d]
---@param index hwb.Tensor integers 1..V, any shape
---@return hwb.Tensor
---```lua
---hwb.embedding(table, ids)
---```
function hwb.embedding(weight, index) end

--- y[a,b] = x[index[a,b], b] for dim 1, likewise for others; y has the shape of the index.
---@param x hwb.Tensor any shape and dtype
---@param dim integer
---@param index hwb.Tensor integers, of x's rank
---@return hwb.Tensor
---```lua
---logp:gather(2, labels:unsqueeze(2))
---```
function hwb.gather(x, dim, index) end

--- x with part k of the updates added at index[k]; repeated indices add up.
---@param x hwb.Tensor any shape
---@param dim integer
---@param index hwb.Tensor integers [n]
---@param updates hwb.Tensor x with n in the place of dim
---@return hwb.Tensor
---```lua
---hwb.zeros(3):index_add(1, hwb.tensor{2, 2}:long(), hwb.tensor{1, 5}) --> {0, 6, 0}
---```
function hwb.index_add(x, dim, index, updates) end

--- x with updates[a,b] added at [index[a,b], b] for dim 1, likewise for others: the transpose
--- of gather.
---@param x hwb.Tensor any shape
---@param dim integer
---@param index hwb.Tensor integers, of x's rank
---@param updates hwb.Tensor the shape of the index
---@return hwb.Tensor
---```lua
---hwb.zeros(3):scatter_add(1, hwb.tensor{2, 2}:long(), hwb.tensor{1, 5}) --> {0, 6, 0}
---```
function hwb.scatter_add(x, dim, index, updates) end

-- Operations that read values: not on traced tensors ------------------------------------------

--- Sorted values and their 1-based places; equal values keep their order, NaN is the largest.
---@param x hwb.Tensor any shape
---@param dim? integer default: the last
---@param options? {descending: boolean}
---@return hwb.Tensor
---@return hwb.Tensor int64 places
---```lua
---local values, places = x:sort(1, {descending = true})
---```
function hwb.sort(x, dim, options) end

--- The k largest values along a dim, and their 1-based places.
---@param x hwb.Tensor any shape
---@param k integer
---@param dim? integer default: the last
---@param options? {largest: boolean} default true
---@return hwb.Tensor
---@return hwb.Tensor int64 places
---```lua
---local values, places = logits:topk(5)
---```
function hwb.topk(x, k, dim, options) end

--- Sums of the elements so far, along a dim.
---@param x hwb.Tensor any shape
---@param dim? integer default: the last
---@return hwb.Tensor
---```lua
---hwb.tensor{1, 2, 3}:cumsum() --> {1, 3, 6}
---```
function hwb.cumsum(x, dim) end

--- The 1-based index of every element that is not 0: int64 [count, dims].
---@param x hwb.Tensor any shape
---@return hwb.Tensor
---```lua
---x:gt(0):nonzero()
---```
function hwb.nonzero(x) end

--- The upper triangle; zeros below it.
---@param x hwb.Tensor [..,m,n]
---@param k? integer diagonals above (or, negative, below) the main one
---@return hwb.Tensor
---```lua
---hwb.ones(3, 3):triu(1)
---```
function hwb.triu(x, k) end

--- The lower triangle; zeros above it.
---@param x hwb.Tensor [..,m,n]
---@param k? integer diagonals above (or, negative, below) the main one
---@return hwb.Tensor
---```lua
---hwb.ones(3, 3):tril()
---```
function hwb.tril(x, k) end

--- A diagonal matrix of a vector; the diagonal of a matrix.
---@param x hwb.Tensor [n] or [m,n]
---@return hwb.Tensor
---```lua
---hwb.diag(hwb.tensor{1, 2}) --> {{1, 0}, {0, 2}}
---```
function hwb.diag(x) end

--- Eigenvalues in ascending order, and eigenvectors in columns.
---@param x hwb.Tensor [n,n], symmetric; the lower triangle is read
---@return hwb.Tensor [n]
---@return hwb.Tensor [n,n]
---```lua
---local w, v = hwb.eigh(hwb.tensor{{2, 1}, {1, 2}}) --> {1, 3}
---```
function hwb.eigh(x) end
