---@meta
-- hwb.landscape: the loss along lines and over planes through the weights.

hwb.landscape = {}

--- Options of hwb.landscape.line and hwb.landscape.surface. The five of the operator
--- (data, loss, bn, micro, dtype) are for a model; an operator has its own.
---@class hwb.LandscapeOptions
---@field data? table {x, y} or a loader: the same batches for every point
---@field loss? string|function default "cross_entropy"
---@field bn? "eval"|"batch" default "eval": running statistics
---@field micro? integer samples at a time
---@field dtype? "float32"|"float64" another one than the model's: on a copy of it
---@field seed? integer of random directions (and seed + 1 of a second one); default 0
---@field normalise? "filter"|"layer"|"none" of random directions; default "filter"
---@field second_order? boolean also the quadratic model; default true

---@class hwb.LineScanOptions: hwb.LandscapeOptions
---@field direction? "random"|"eigen"|"gradient"|hwb.Tensor default "random"; a tensor has [n] numbers
---@field span? number from -span to span; default 1
---@field points? integer default 41; an odd number has 0 among them
---@field t? number[]|hwb.Tensor the places themselves instead of span and points

---@class hwb.SurfaceOptions: hwb.LandscapeOptions
---@field directions? string|table "random" (default), "eigen" (the top two eigenvectors), or two of a line's directions
---@field span? number|number[] of both, or {of x, of y}; default 1
---@field points? integer|integer[] of both, or {of x, of y}; default 21

--- The loss along a line through the weights, L(theta + t v), and the quadratic model
--- L + t g'v + t^2/2 v'Hv that the gradient g and the Hessian H predict (the matrix of the
--- operator: with hwb.ggn, the Gauss-Newton matrix). The weights are the same afterwards bit
--- for bit, also after an error or Ctrl-C. Losses that overflow are inf or nan: gaps in figures.
---@param target table|hwb.Operator a model, or hwb.hessian(...); of a block, only its weights move
---@param options? hwb.LineScanOptions
---@return table {t=, loss=, quadratic=, value=, slope=, curvature=, direction=, eigenvalue=, evaluations=, samples=, bn=}
---```lua
---local line = hwb.landscape.line(m, {data = {x, y}, direction = "eigen", span = 0.3})
---hwb.plot.show(hwb.landscape.plot(line))
---```
---@see hwb.landscape.surface
function hwb.landscape.line(target, options) end

--- The loss over a plane through the weights, L(theta + a u + b v): loss[row][column] is at
--- (x[column], y[row]), as hwb.plot.contour and hwb.plot.heatmap take it.
---@param target table|hwb.Operator a model, or hwb.hessian(...)
---@param options? hwb.SurfaceOptions
---@return table {x=, y=, loss=, quadratic=, value=, slope=, curvature=, directions=, eigenvalues=, evaluations=}
---```lua
---local s = hwb.landscape.surface(m, {data = {x, y}, directions = "eigen", span = 0.3})
---hwb.landscape.plot(s, {log = true}):save("plane.png")
---hwb.plot.contour{z = s.loss, x = s.x, y = s.y}
---```
---@see hwb.landscape.line
function hwb.landscape.surface(target, options) end

--- A random direction [n] for hwb.landscape.line: standard normal numbers, each filter (row of a
--- weight) scaled to the norm of the weights' filter, after Li et al. 2018; biases and batch-norm
--- parameters are zero. normalise="layer" scales whole layers, "none" leaves the numbers.
---@param target table|hwb.Operator
---@param options? {seed: integer, normalise: string}
---@return hwb.Tensor [n] in the order of m:parameters()
---```lua
---local v = hwb.landscape.direction(m, {seed = 3})
---```
function hwb.landscape.direction(target, options) end

--- How far the quadratic model of a line reaches: the largest |t| among its points up to which
--- |loss - quadratic| <= tolerance * loss on both sides.
---@param line table of hwb.landscape.line
---@param tolerance? number default 0.1
---@return number
---```lua
---print(hwb.landscape.reach(line, 0.05))
---```
function hwb.landscape.reach(line, tolerance) end

--- A figure of a line, a list of lines, or a surface. Options are those of the figure and its
--- axes; besides, labels (of the lines), and for surfaces kind="contour"|"heatmap", quadratic=true
--- (the prediction instead of the loss) and those of the kind, such as log and levels.
---@param result table
---@param options? table
---@return hwb.Figure
---```lua
---hwb.landscape.plot({line1, line2}, {labels = {"SGD", "Adam"}}):save("lines.svg")
---```
function hwb.landscape.plot(result, options) end
