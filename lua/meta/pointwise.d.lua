---@meta
-- Pointwise operations as functions: hwb.exp(x) is x:exp().  All have derivatives of
-- every order but where said.

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
