---@meta
-- Curvature of a model's loss: linear operators and what is asked of them; files of tensors.

--- Options of hwb.hessian, hwb.ggn and hwb.fisher.
---@class hwb.CurvatureOptions
---@field data table {x, y} or a loader; labels y are 1-based
---@field loss? string|fun(output: hwb.Tensor, target: hwb.Tensor): hwb.Tensor default "cross_entropy"
---@field bn? "eval"|"batch" batch norms by running statistics (default), or by one un-split batch
---@field micro? integer samples at a time; default: by the budget
---@field weight_decay? number adds that multiple of the identity
---@field budget? integer bytes for the intermediate values

--- The Hessian of the mean loss over the data with respect to the model's parameters, as a
--- linear operator: exact Hessian-vector products, no matrix.
---@param m table a model (hwb.nn, hwb.models)
---@param options hwb.CurvatureOptions
---@return hwb.Operator
---```lua
---local H = hwb.hessian(m, {data = {x, y}, loss = "cross_entropy"})
---print(H:eigs{k = 3}.values[1])
---```
function hwb.hessian(m, options) end

--- The generalised Gauss-Newton matrix: the Hessian without the second derivatives of the
--- model, positive semi-definite for convex losses.
---@param m table
---@param options hwb.CurvatureOptions
---@return hwb.Operator
---```lua
---local G = hwb.ggn(m, {data = {x, y}})
---```
function hwb.ggn(m, options) end

--- The empirical Fisher matrix: the mean of g g^T over the samples' gradients g.
---@param m table
---@param options hwb.CurvatureOptions
---@return hwb.Operator
---```lua
---local F = hwb.fisher(m, {data = {x, y}})
---```
function hwb.fisher(m, options) end

--- A symmetric linear operator on flat vectors, which follow m:parameters() order.
---@class hwb.Operator
---@field n integer rows and columns
---@field name string of the block; "" for the whole
---@field bn "eval"|"batch" how batch norms were treated
---@field samples integer in the data
---@field hvps integer vectors multiplied so far
---@field weight_decay number the multiple of the identity that was added
---@field model table the model
local Operator = {}

--- H v for one vector, or for K of them at once.
---@param v hwb.Tensor [n] or [K,n]
---@return hwb.Tensor the shape of v
---```lua
---local Hv = H:apply(hwb.randn(H.n))
---```
function Operator:apply(v) end

--- The operator restricted to one layer's parameters, or to one parameter.
---@param name string "layer1.0.conv1", "fc.weight"
---@return hwb.Operator
---```lua
---H:block("layer1.0.conv1"):trace{}.mean
---```
function Operator:block(name) end

--- One operator for each layer with a weight, in parameter order, or for each block named.
--- They share the forward pass and what else their products have in common: for going over
--- many blocks. One made by Operator:block keeps less.
---@param names? string[]
---@return hwb.Operator[]
---```lua
---for _, B in ipairs(H:blocks()) do print(B.name, B.n) end
---```
function Operator:blocks(names) end

--- The same loss as a function of the input of a layer instead of the parameters.
---@param name string of a layer
---@return hwb.Operator
function Operator:activation(name) end

--- Operators of the inputs of several layers, which share the forward pass.
---@param names string[]
---@return hwb.Operator[]
function Operator:activations(names) end

--- The mean loss over the data and its gradient.
---@return number loss
---@return hwb.Tensor gradient [n]
---```lua
---local loss, g = H:gradient()
---```
function Operator:gradient() end

--- Eigenpairs at one end of the spectrum. Options: k=1; which="LA" (largest), "SA" (smallest)
--- or "LM" (largest magnitude); method="lanczos" (fully re-orthogonalised, restarted) or
--- "power"; tol=1e-3 (residual relative to the eigenvalue); maxiter=100; seed=0; start (a
--- vector); basis (largest size); value_tol.
---@param options? {k: integer, which: string, method: string, tol: number, maxiter: integer, seed: integer}
---@return table {values=, vectors= [k,n], residuals=, converged=, iterations=, hvps=, history=}
---```lua
---local e = H:eigs{k = 3, tol = 1e-4}
---print(e.values[1], e.residuals[1], e.hvps)
---```
function Operator:eigs(options) end

--- The trace with its standard error. Options: method="hutchinson", "hutch++" or "xtrace";
--- tol=0.01 (standard error relative to the mean); max_probes; min_probes; batch; seed=0.
---@param options? {method: string, tol: number, max_probes: integer, min_probes: integer, seed: integer}
---@return table {mean=, stderr=, probes=, hvps=, converged=}
---```lua
---local t = H:trace{method = "hutch++", tol = 0.01}
---print(t.mean, t.stderr)
---```
function Operator:trace(options) end

--- Every layer's trace at once: a few probes of the whole operator serve all layers, then
--- probes of single blocks go where the error is worst. Options: tol, joint, max_isolated,
--- pilot, budget, batch, seed, and names (other blocks than the layers).
---@param options? table
---@return table[] {{name=, n=, mean=, stderr=, joint_probes=, isolated_probes=, converged=}, ...}
---```lua
---for _, t in ipairs(H:traces{tol = 0.05}) do print(t.name, t.mean / t.n, t.stderr / t.n) end
---```
function Operator:traces(options) end

--- Traces of the blocks named, each one stretch of the flat vector; see Operator:traces.
---@param names string[]
---@param options? table
---@return table[]
function Operator:block_traces(names, options) end

--- Eigenpairs of each block named: what Operator:eigs gives for each alone with the seed
--- raised by its place in the list. Blocks share the forward pass; with data in several
--- batches all of them take a step in each pass over the data until they have converged.
---@param names string[]
---@param options? {k: integer, which: string, method: string, tol: number, maxiter: integer, seed: integer}
---@return table[] as Operator:eigs, with name= and n=
---```lua
---for _, e in ipairs(H:block_eigs(H:layer_names(), {which = "LM"})) do print(e.name, e.values[1]) end
---```
function Operator:block_eigs(names, options) end

--- Quadratic forms v^T B v of each block named, for the rows v of what `vectors` returns.
---@param names string[]
---@param vectors fun(i: integer): hwb.Tensor [K,n] of block i; asked for shortly before use
---@return number[][]
---```lua
---local B = {"conv1", "fc"}
---H:block_quadratics(B, function(i) return hwb.randn(4, H:block(B[i]).n) end)
---```
function Operator:block_quadratics(names, vectors) end

--- The spectral density by stochastic Lanczos quadrature: weights at nodes, summing to 1.
---@param options? {steps: integer, probes: integer, seed: integer} default 100, 1, 0
---@return table {nodes=, weights=, first=, n=, probes=, hvps=}
---```lua
---local d = H:density{steps = 80, probes = 4}
---```
function Operator:density(options) end

--- Solves (H + damping I) x = b by conjugate gradients.
---@param b hwb.Tensor [n]
---@param options? {damping: number, tol: number, maxiter: integer}
---@return table {x=, iterations=, converged=, indefinite=, history=, hvps=}
---```lua
---local step = H:solve(g, {damping = 1e-2}).x
---```
function Operator:solve(b, options) end

--- The quadratic form v^T H v.
---@param v hwb.Tensor [n]
---@return number
function Operator:quadratic(v) end

--- The mean loss with the weights displaced: losses[k] at theta plus the sum over d of
--- coefficients[k][d] * directions[d]. The weights are the same afterwards bit for bit.
---@param directions hwb.Tensor [n] or [D,n]
---@param coefficients hwb.Tensor [K], or [K,D]
---@return hwb.Tensor losses [K] float64; inf and nan where they overflow
---```lua
---H:losses(v, hwb.linspace(-1, 1, 21))
---```
---@see hwb.landscape.line
function Operator:losses(directions, coefficients) end

--- Where each parameter lies in the flat vectors.
---@return table[] {{name=, first=, n=, shape=}, ...}; first is 1-based
function Operator:parameters() end

--- Names of the layers with a weight, in parameter order.
---@return string[]
function Operator:layer_names() end

--- The compiled program that multiplies k vectors, as text: stages, kernels, memory.
---@param k? integer default 1
---@return string
function Operator:dump(k) end

-- Files ----------------------------------------------------------------------------------------

--- Reads named tensors: safetensors, PyTorch checkpoints (.pth, .pt, .th), .npy, .npz. The
--- format is told by the contents. A pickle may hold tensors and plain values only.
---@param path string
---@return table<string, hwb.Tensor>|nil
---@return string[]|string names in file order; or the message
---@return table<string, string>|string metadata; or the code
---```lua
---local weights, names = assert(hwb.load("resnet20.th"))
---```
function hwb.load(path) end

--- Writes named tensors as safetensors, atomically.
---@param path string
---@param tensors table<string, hwb.Tensor>
---@param metadata? table<string, string>
---@return boolean|nil
---@return string? message
---@return string? code
---```lua
---assert(hwb.save("x.safetensors", {x = hwb.randn(3)}))
---```
function hwb.save(path, tensors, metadata) end

return Operator
