---@meta
-- hwb.nn: layers. Every layer is a module: named parameters, buffers and children, and a
-- forward pass. Calling it with a tensor runs it. Arguments may be named: nn.Linear{inputs = 3,
-- outputs = 2}, or come by place with a last table of options.

hwb.nn = {}

--- A dense layer: x[..,inputs] -> x W^T + b, with W[outputs,inputs].
---@param inputs integer
---@param outputs integer
---@param options? {bias: boolean} default true
---@return table
---```lua
---local m = hwb.nn.Linear(128, 10)
---local y = m(hwb.randn(4, 128)) --> 4x10
---```
function hwb.nn.Linear(inputs, outputs, options) end

--- A look-up table: integer ids from 1, of any shape -> [..,size].
---@param count integer of rows
---@param size integer of a row
---@return table
---```lua
---hwb.nn.Embedding(30522, 768)
---```
function hwb.nn.Embedding(count, size) end

--- A convolution: x[N,C,H,W] -> [N,O,H',W'], weight [O, C/groups, kernel, kernel].
---@param in_channels integer
---@param out_channels integer
---@param kernel? integer|integer[] one number, or {height, width}; default 3
---@param stride? integer|integer[] default 1
---@param padding? integer|integer[] zeros on each side; default 0
---@param options? {dilation: integer, groups: integer, bias: boolean} default 1, 1, true
---@return table
---```lua
---hwb.nn.Conv2d(3, 16, 3, {padding = 1, bias = false})
---```
function hwb.nn.Conv2d(in_channels, out_channels, kernel, stride, padding, options) end

--- Batch norm over all axes but channels (axis 2): by the batch in training mode, where the
--- running statistics are updated, by these in evaluation mode.
---@param channels integer
---@param options? {eps: number, momentum: number} default 1e-5, 0.1
---@return table
---```lua
---hwb.nn.BatchNorm2d(16)
---```
function hwb.nn.BatchNorm2d(channels, options) end

--- Layer norm over the last axes.
---@param size integer|integer[] of those axes
---@param options? {eps: number} default 1e-5
---@return table
---```lua
---hwb.nn.LayerNorm(768)
---```
function hwb.nn.LayerNorm(size, options) end

--- max(x, 0).
---@return table
function hwb.nn.ReLU() end

--- x Phi(x), with the normal distribution's Phi.
---@return table
function hwb.nn.GELU() end

--- The hyperbolic tangent.
---@return table
function hwb.nn.Tanh() end

--- 1 / (1 + exp(-x)).
---@return table
function hwb.nn.Sigmoid() end

--- x sigmoid(x).
---@return table
function hwb.nn.SiLU() end

--- log(1 + exp(x)).
---@return table
function hwb.nn.Softplus() end

--- The input as it is.
---@return table
function hwb.nn.Identity() end

--- Any function of one tensor as a layer.
---@param f fun(x: hwb.Tensor): hwb.Tensor
---@return table
---```lua
---hwb.nn.Lambda(function(x) return x:square() end)
---```
function hwb.nn.Lambda(f) end

--- Zeroes elements at random in training mode and scales the rest by 1/(1-p).
---@param p number probability, from 0 to below 1
---@return table
---```lua
---hwb.nn.Dropout(0.5)
---```
function hwb.nn.Dropout(p) end

--- The largest value of each window.
---@param kernel integer|integer[]
---@param stride? integer|integer[] default: the kernel
---@param padding? integer|integer[] default 0
---@param options? {ceil: boolean} windows may hang over the edge; default false
---@return table
---```lua
---hwb.nn.MaxPool2d(3, 2, 1)
---```
function hwb.nn.MaxPool2d(kernel, stride, padding, options) end

--- The mean of each window.
---@param kernel integer|integer[]
---@param stride? integer|integer[] default: the kernel
---@param padding? integer|integer[] default 0
---@param options? {ceil: boolean} default false
---@return table
function hwb.nn.AvgPool2d(kernel, stride, padding, options) end

--- The mean over the image: [N,C,H,W] -> [N,C,1,1].
---@return table
function hwb.nn.GlobalAvgPool2d() end

--- [N,...] -> [N, product of the rest].
---@return table
function hwb.nn.Flatten() end

--- Modules one after the other, named "0", "1", ... as in PyTorch's files.
---@param ... table modules, or one list of them
---@return table
---```lua
---local nn = hwb.nn
---local m = nn.Sequential(nn.Flatten(), nn.Linear(3072, 100), nn.ReLU(), nn.Linear(100, 10))
---```
function hwb.nn.Sequential(...) end

--- A list of modules, for a forward pass of one's own: for i, m in list:each() do ... end.
---@param ... table modules, or one list of them
---@return table
function hwb.nn.ModuleList(...) end

--- Self-attention on x[N,T,size], with an optional mask that is added to the scores.
---@param size integer
---@param heads integer divides size
---@return table
---```lua
---hwb.nn.MultiHeadAttention(768, 12)
---```
function hwb.nn.MultiHeadAttention(size, heads) end

--- A transformer block with the norms after the sums, as in BERT.
---@param size integer
---@param heads integer
---@param options? {hidden: integer} default 4 size
---@return table
function hwb.nn.TransformerEncoderLayer(size, heads, options) end

--- Marks a tensor as a parameter of the module whose field it is assigned to.
---@param t hwb.Tensor
---@return table
---```lua
---local Scale = hwb.nn.Module:extend("Scale")
---function Scale:init(o) self.scale = hwb.nn.parameter(hwb.ones(o.n)) end
---function Scale:forward(x) return x * self.scale end
---```
function hwb.nn.parameter(t) end

--- Marks a tensor as a buffer: saved, but not trained.
---@param t hwb.Tensor
---@return table
function hwb.nn.buffer(t) end
