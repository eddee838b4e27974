---@meta
-- Operations of tensors as functions: hwb.sum(x) is x:sum(); the pointwise ones are in
-- pointwise.d.lua.  All have derivatives of every order but where said.

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
