--- Loss landscapes: the loss along lines and over planes through the weights.
--
--     f(t) = L(theta + t v)            f(s, t) = L(theta + s u + t v)
--
-- with what the Hessian says beforehand drawn beside it,
--
--     q(t) = L(theta) + t g'v + t^2/2 v'Hv
--
-- Directions are vectors of your own, eigenvectors, the gradient, or random ones
-- normalised filter by filter (Li et al. 2018, "Visualizing the Loss Landscape of
-- Neural Nets", section 4): each filter of the direction gets the norm of the weights'
-- filter, so that networks whose layers differ in scale compare; biases and batch-norm
-- parameters do not move.  The data are the same for every point, batch norms use
-- their running statistics (the operator's `bn`), and the weights come back bit for bit,
-- whatever happens: the engine displaces and restores them inside one call.

local hwb = require "hwb"
local options = require "hwb.nn.options"

local landscape = {}

---------------------------------------------------------------------------
-- the operator

local function is_operator(x)
  return type(x) == "userdata" and not hwb.is_tensor(x) and type(x.losses) == "function"
end

local own = { "data", "loss", "bn", "micro", "dtype" }

-- {x, y} with inputs, and targets that are no labels, in the dtype of the model.
local function converted(data, dtype)
  if type(data) ~= "table" then return data end
  local out = {}
  for i = 1, 2 do
    local t = data[i]
    local is_float = hwb.is_tensor(t) and tostring(t:dtype()):match("^float")
    out[i] = is_float and t:to(dtype) or t
  end
  return out
end

-- The operator given, or the Hessian of the model given with the options' data.
local function operator(who, target, o)
  if is_operator(target) then
    for _, key in ipairs(own) do
      if o[key] then
        error(("%s: option %q belongs to the operator; give it to hwb.hessian"):format(who, key), 3)
      end
    end
    return target
  end
  if not hwb.nn.Module.is_module(target) then
    error(("%s: a model or a curvature operator is wanted, not %s"):format(who, type(target)), 3)
  end
  if not o.data then error(("%s: option \"data\" is missing: {x, y} or a loader"):format(who), 3) end
  local m, data = target, o.data
  if o.dtype and o.dtype ~= m:dtype() then
    if o.dtype ~= "float32" and o.dtype ~= "float64" then
      error(("%s: dtype must be \"float32\" or \"float64\", not %q"):format(who, tostring(o.dtype)), 3)
    end
    local given = type(data) == "userdata" and data:dataset():info().dtype or o.dtype
    if given ~= o.dtype then
      error(("%s: the loader gives %s; make its dataset with dtype = %q"):format(who, given, o.dtype), 3)
    end
    m, data = m:clone():to(o.dtype), converted(data, o.dtype)
  end
  return hwb.hessian(m, { data = data, loss = o.loss or nil, bn = o.bn or nil, micro = o.micro or nil })
end

---------------------------------------------------------------------------
-- directions

local function gaussian(n, dtype, seed)
  local state = hwb.get_rng_state()
  hwb.manual_seed(seed)
  local v = hwb.randn(n, { dtype = dtype })
  hwb.set_rng_state(state)
  return v
end

-- Norms of the rows [rows, 1], in double; a parameter of one dim has none to speak of.
local function row_norms(t) return (t * t):sum(2, { keep = true }):sqrt() end

-- Every filter (or layer) of v scaled to the norm of the weights'.
local function normalise(H, v, how)
  v = v:to("float64")
  local pieces = {}
  for i, p in ipairs(H:parameters()) do
    local d = v:narrow(1, p.first, p.n)
    if #p.shape < 2 then
      pieces[i] = hwb.zeros_like(d) -- biases, batch norms: not moved
    else
      local rows = how == "filter" and p.shape[1] or 1
      d = d:reshape(rows, -1)
      local w = H.model:get(p.name):to("float64"):reshape(rows, -1)
      pieces[i] = (d * (row_norms(w) / row_norms(d))):reshape(p.n)
    end
  end
  return hwb.cat(pieces, 1):to(H.model:dtype())
end

local normalisations = { filter = true, layer = true, none = true }

--- A random direction [n] for a model or operator: standard normal numbers, scaled filter by
-- filter to the weights' norms (normalise="filter", the default), layer by layer ("layer"), or
-- left as they are ("none").  Biases and batch-norm parameters are zero in the first two.
function landscape.direction(target, given)
  local o = options("direction", given or {}, {}, { seed = 0, normalise = "filter" })
  if not normalisations[o.normalise] then
    error(('direction: normalise must be "filter", "layer" or "none", not %q'):format(tostring(o.normalise)), 2)
  end
  local H = target
  if not is_operator(target) then -- any data will do: only names and shapes are asked for
    if not hwb.nn.Module.is_module(target) then
      error(("direction: a model or a curvature operator is wanted, not %s"):format(type(target)), 2)
    end
    H = hwb.hessian(target, { data = { hwb.zeros(1), hwb.zeros(1) } })
  end
  local v = gaussian(H.n, H.model:dtype(), o.seed)
  return o.normalise == "none" and v or normalise(H, v, o.normalise)
end

-- What was asked for as {vector=, name=}; `eigen(i)` is the i-th eigenvector.
local function resolve(who, H, want, i, o, eigen)
  if hwb.is_tensor(want) then
    if want:numel() ~= H.n then
      error(("%s: the direction has %d numbers, the weights %d"):format(who, want:numel(), H.n), 4)
    end
    return { vector = want:reshape(H.n) }
  elseif want == "random" then
    local normed = o.normalise == "none" and "" or (", %s-normalised"):format(o.normalise)
    local seed = o.seed + i - 1
    return { vector = landscape.direction(H, { seed = seed, normalise = o.normalise }),
      name = ("random direction, seed %d%s"):format(seed, normed) }
  elseif want == "eigen" then
    local vector, value = eigen(i)
    return { vector = vector, name = ("eigenvector %d, λ = %.4g"):format(i, value), eigenvalue = value }
  elseif want == "gradient" then
    local _, g = H:gradient()
    return { vector = g / g:norm(), name = "gradient" }
  end
  error(('%s: a direction is a tensor, "random", "eigen" or "gradient", not %s'):format(who,
    type(want) == "string" and ("%q"):format(want) or type(want)), 4)
end

local function directions(who, H, wanted, o)
  if not normalisations[o.normalise] then
    error(('%s: normalise must be "filter", "layer" or "none", not %q'):format(who, tostring(o.normalise)), 3)
  end
  local pairs_found
  local function eigen(i)
    pairs_found = pairs_found or H:eigs{ k = math.min(#wanted, H.n), which = "LA", seed = o.seed }
    return pairs_found.vectors[i], pairs_found.values[i]
  end
  local list = {}
  for i, want in ipairs(wanted) do list[i] = resolve(who, H, want, i, o, eigen) end
  return list
end

---------------------------------------------------------------------------
-- losses

local CHUNK = 16 -- points between two redraws of the progress line

-- Losses at the points {{a, ...}, ...}, equal ones looked at once -> list, number of passes.
local function losses_at(H, U, points)
  local distinct, index, out = {}, {}, {}
  for i, p in ipairs(points) do
    local key = ("%a "):rep(#p):format(table.unpack(p))
    if not index[key] then
      distinct[#distinct + 1] = p
      index[key] = #distinct
    end
    out[i] = index[key]
  end
  local values = {}
  for first = 1, #distinct, CHUNK do
    local last = math.min(first + CHUNK - 1, #distinct)
    local part = hwb.tensor(table.move(distinct, first, last, 1, {}), { dtype = "float64" })
    table.move(H:losses(U, part):totable(), 1, last - first + 1, first, values)
    hwb.progress("loss landscape", last, #distinct)
  end
  for i, at in ipairs(out) do out[i] = values[at] end
  return out, #distinct
end

local function dot(a, b) return (a:to("float64") * b:to("float64")):sum():item() end

-- L, g'u_d and u_d'Hu_e; the weight decay that H adds is no part of the losses.
local function expansion(H, list)
  local value, g = H:gradient()
  local slope, curvature = {}, {}
  for d, a in ipairs(list) do
    local Ha = H:apply(a.vector)
    slope[d], curvature[d] = dot(g, a.vector), {}
    for e, b in ipairs(list) do
      curvature[d][e] = dot(Ha, b.vector) - H.weight_decay * dot(a.vector, b.vector)
    end
  end
  return value, slope, curvature
end

local function double(list) return hwb.tensor(list, { dtype = "float64" }) end

-- -span … span; the middle of an odd number is exactly 0.
local function evenly(who, span, n)
  if math.type(n) ~= "integer" or n < 2 then
    error(("%s: points must be a whole number from 2, not %s"):format(who, tostring(n)), 3)
  end
  if type(span) ~= "number" or not (span > 0 and span < math.huge) then
    error(("%s: span must be a positive number, not %s"):format(who, tostring(span)), 3)
  end
  local t = {}
  for i = 1, n do t[i] = span * (2 * (i - 1) - (n - 1)) / (n - 1) end
  return t
end

local function numbers(who, list)
  if hwb.is_tensor(list) then list = list:totable() end
  if type(list) ~= "table" or #list == 0 then error(("%s: t is a list of numbers or a tensor"):format(who), 3) end
  for i, v in ipairs(list) do
    if type(v) ~= "number" then error(("%s: t[%d] is a %s, not a number"):format(who, i, type(v)), 3) end
  end
  return list
end

local shared = { data = false, loss = false, bn = false, micro = false, dtype = false, seed = 0,
  normalise = "filter", second_order = true }

local function read(who, given, more)
  local defaults = {}
  for k, v in pairs(shared) do defaults[k] = v end
  for k, v in pairs(more) do defaults[k] = v end
  return options(who, given or {}, {}, defaults)
end

--- The loss along a line through the weights.  Options: direction ("random", "eigen" for the top
-- eigenvector, "gradient", or a vector), span=1, points=41 (or t, the places themselves), seed,
-- normalise, second_order=true; for a model also data, loss, bn, micro and dtype.
-- Returns {t=, loss=, quadratic=, value=, slope=, curvature=, ...}.
function landscape.line(target, given)
  local o = read("line", given, { direction = "random", span = 1, points = 41, t = false })
  local H = operator("line", target, o)
  local t = o.t and numbers("line", o.t) or evenly("line", o.span, o.points)
  local list = directions("line", H, { o.direction }, o)
  local points = {}
  for i, at in ipairs(t) do points[i] = { at } end
  local losses, evaluations = losses_at(H, list[1].vector, points)
  local r = { kind = "line", t = double(t), loss = double(losses), direction = list[1].vector,
    name = list[1].name, eigenvalue = list[1].eigenvalue, evaluations = evaluations, bn = H.bn,
    samples = H.samples, seed = o.seed }
  if o.second_order then
    local value, slope, curvature = expansion(H, list)
    r.value, r.slope, r.curvature = value, slope[1], curvature[1][1]
    r.quadratic = r.t * r.slope + r.t * r.t * (0.5 * r.curvature) + value
  end
  return r
end

local function pair(value) return type(value) == "table" and value or { value, value } end

--- The loss over a plane through the weights.  Options as for hwb.landscape.line, with directions
-- ("random", "eigen" for the top two eigenvectors, or two of a line's directions), span and points
-- one for both or {of x, of y}.
-- Returns {x=, y=, loss= [y,x], quadratic= [y,x], value=, slope=, curvature= [2,2], ...}.
function landscape.surface(target, given)
  local o = read("surface", given, { directions = "random", span = 1, points = 21 })
  local H = operator("surface", target, o)
  local spans, counts, wanted = pair(o.span), pair(o.points), pair(o.directions)
  if #wanted ~= 2 then error(("surface: two directions are wanted, not %d"):format(#wanted), 2) end
  local x, y = evenly("surface", spans[1], counts[1]), evenly("surface", spans[2], counts[2])
  local list = directions("surface", H, wanted, o)
  local points = {}
  for _, b in ipairs(y) do
    for _, a in ipairs(x) do points[#points + 1] = { a, b } end
  end
  local U = hwb.stack({ list[1].vector, list[2].vector })
  local losses, evaluations = losses_at(H, U, points)
  local r = { kind = "surface", x = double(x), y = double(y), loss = double(losses):reshape(#y, #x),
    directions = U, names = { list[1].name or "first direction", list[2].name or "second direction" },
    eigenvalues = list[1].eigenvalue and list[2].eigenvalue and { list[1].eigenvalue, list[2].eigenvalue },
    evaluations = evaluations, bn = H.bn, samples = H.samples, seed = o.seed }
  if o.second_order then
    local value, slope, curvature = expansion(H, list)
    local a, b = r.x:reshape(1, #x), r.y:reshape(#y, 1)
    r.value, r.slope, r.curvature = value, double(slope), double(curvature)
    r.quadratic = a * slope[1] + b * slope[2] + a * a * (curvature[1][1] / 2)
      + b * b * (curvature[2][2] / 2) + a * b * curvature[1][2] + value
  end
  return r
end

--- How far the quadratic model of a line reaches: the largest |t| among its points up to which,
-- on both sides, |loss - quadratic| <= tolerance * loss.
function landscape.reach(line, tolerance)
  if type(line) ~= "table" or not hwb.is_tensor(line.quadratic) then
    error("reach: a result of hwb.landscape.line with second_order is wanted", 2)
  end
  local t, loss, quadratic = line.t:totable(), line.loss:totable(), line.quadratic:totable()
  local reach, first_off = 0, math.huge
  for i, at in ipairs(t) do
    local good = math.abs(loss[i] - quadratic[i]) <= (tolerance or 0.1) * math.abs(loss[i])
    if not good then first_off = math.min(first_off, math.abs(at)) end
  end
  for _, at in ipairs(t) do
    if math.abs(at) < first_off then reach = math.max(reach, math.abs(at)) end
  end
  return reach
end

---------------------------------------------------------------------------
-- figures

local function extent(lists)
  local low, high = math.huge, -math.huge
  for _, list in ipairs(lists) do
    for _, v in ipairs(list:totable()) do
      if v == v and v > -math.huge and v < math.huge then low, high = math.min(low, v), math.max(high, v) end
    end
  end
  return low, high
end

-- Lines in one panel; each prediction dashed in the line's colour, cut at the losses' range.
local function line_figure(list, o)
  local lists = {}
  for i, r in ipairs(list) do lists[i] = r.loss end
  local low, high = extent(lists)
  local pad = high > low and 0.08 * (high - low) or 1
  local is_log = o.yscale == "log"
  local settings = { xlabel = "t", ylabel = "loss", ylim = not is_log and { low - pad, high + pad } or nil }
  for key, value in pairs(o) do if key ~= "labels" then settings[key] = value end end
  local fig = hwb.plot.figure(settings)
  for i, r in ipairs(list) do
    local label = o.labels and o.labels[i] or r.name or (#list == 1 and "loss" or ("line %d"):format(i))
    fig:line{ x = r.t, y = r.loss, label = label, color = (i - 1) % 8 + 1 }
    if r.quadratic then
      fig:line{ x = r.t, y = r.quadratic, dash = "dashed", color = (i - 1) % 8 + 1, linewidth = 1,
        label = i == #list and "L + t g^{T}v + ½ t^{2} v^{T}Hv" or nil }
    end
  end
  return fig
end

local function surface_figure(r, o)
  local kind, z = o.kind or "contour", o.quadratic and r.quadratic or r.loss
  if kind ~= "contour" and kind ~= "heatmap" then
    error(('plot: kind must be "contour" or "heatmap", not %q'):format(tostring(kind)), 3)
  end
  local settings = { z = z, x = r.x, y = r.y, label = "loss", xlabel = r.names[1], ylabel = r.names[2] }
  for key, value in pairs(o) do
    if key ~= "kind" and key ~= "quadratic" then settings[key] = value end
  end
  local fig = hwb.plot[kind](settings)
  return fig:scatter{ x = { 0 }, y = { 0 }, marker = "+", color = "black", size = 6 }
end

--- A figure of a line, of a list of lines, or of a surface.  Options are
-- those of the figure, and labels (of lines), kind="contour"|"heatmap" and quadratic=true (the
-- prediction instead of the loss) for surfaces.
function landscape.plot(result, given)
  local o = given or {}
  if type(result) ~= "table" then
    error(("plot: a result of hwb.landscape.line or .surface, not a %s"):format(type(result)), 2)
  end
  if result.kind == "surface" then return surface_figure(result, o) end
  local list = result.kind == "line" and { result } or result
  for i, r in ipairs(list) do
    if type(r) ~= "table" or r.kind ~= "line" then
      error(("plot: element %d is no result of hwb.landscape.line"):format(i), 2)
    end
  end
  if #list == 0 then error("plot: a result of hwb.landscape.line or .surface is wanted", 2) end
  return line_figure(list, o)
end

return landscape
