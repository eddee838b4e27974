-- hwb.plot: figures for papers, reports and the terminal.
--
--   local fig = hwb.plot.line{x = steps, y = loss, label = "train", yscale = "log", xlabel = "step"}
--   fig:line{x = steps, y = val, label = "validation", band = {low, high}}
--   fig:twin():line{x = steps, y = accuracy, label = "accuracy"}
--   fig:save("loss.png")   fig:svg()   hwb.plot.show(fig)
--
-- Data are lists of numbers or tensors; NaN and infinities leave gaps.  Each
-- kind of series is a function of this module that makes a figure, and a method
-- of figures and panels that adds to one.  Options of the axes (title, xlabel,
-- xscale, xlim …) may stand beside those of the series.  Unknown options raise.
local raw = require "hwb.plot.raw"

local M = {}

-- ---- errors -----------------------------------------------------------------------

-- Raises at the first caller outside this file, so that the position helps.
local function misuse(message, ...)
  local level = 2
  local here = debug.getinfo(1, "S").source
  while true do
    local info = debug.getinfo(level, "S")
    if not info or (info.source ~= here and info.what ~= "C") then break end
    level = level + 1
  end
  error(message:format(...), level)
end

-- Calls the binding; its texts are raised where the user called.
local function engine(f, ...)
  local result = table.pack(pcall(f, ...))
  if result[1] then return table.unpack(result, 2, result.n) end
  if type(result[2]) ~= "string" then error(result[2], 0) end
  misuse("%s", (result[2]:gsub("^[^\n:]*:%d+: ", "")))
end

-- ---- options ------------------------------------------------------------------------

local function set(...)
  local out = {}
  for _, names in ipairs{...} do for name in names:gmatch("%S+") do out[name] = true end end
  return out
end

local style_names = "label color linewidth alpha dash marker size"
local axes_names = "title xlabel ylabel xscale yscale xlim ylim xticks yticks grid legend equal"
local figure_names = "width height dpi"

-- What each kind of series takes.
local known = {
  line = set(style_names, "x y band err err_minus err_plus step text"),
  scatter = set(style_names, "x y band err err_minus err_plus text"),
  bars = set("values y names x label labels color colors alpha err err_minus err_plus horizontal numbers span"),
  hist = set(style_names, "values x bins range density log"),
  density = set(style_names, "nodes weights sigma points fill"),
  heatmap = set("z x y rows cols range colormap log label colorbar numbers top_down"),
  contour = set("z x y range colormap log label colorbar levels fill labels"),
  annotate = set("x y text color size dx dy arrow"),
  hline = set(style_names, "y"),
  vline = set(style_names, "x"),
}
local axes_known = set(axes_names)
local figure_known = set(figure_names)

-- `options` sorted into those of the series, of the axes and of the figure.
local function split(kind, options, with_figure)
  if type(options) ~= "table" then misuse("plot.%s: options in a table, not a %s", kind, type(options)) end
  local own, axes, figure = {}, {}, {}
  for name, value in pairs(options) do
    if type(name) ~= "string" then
      misuse("plot.%s: options have names; data go into fields such as x= and y=", kind)
    elseif known[kind] and known[kind][name] then own[name] = value
    elseif axes_known[name] then axes[name] = value
    elseif with_figure and figure_known[name] then figure[name] = value
    else misuse("plot.%s: unknown option '%s'", kind, name) end
  end
  return own, axes, figure
end

-- A list of numbers: tensors give theirs.
local function list(value, name)
  if value == nil then return nil end
  local of = type(value)
  if of == "userdata" or (of == "table" and getmetatable(value) and value.totable) then
    local ok, method = pcall(function() return value.totable end)
    if not ok or not method then misuse("%s: a list of numbers or a tensor, not a %s", name, of) end
    value = value:totable()
    of = type(value)
    if of == "number" then return {value} end
  end
  if of ~= "table" then misuse("%s: a list of numbers or a tensor, not a %s", name, of) end
  return value
end

-- A list of lists, from one list too when `one` allows it.
local function rows(value, name, one)
  local out = list(value, name)
  if out == nil then misuse("%s is missing", name) end
  if one and out[1] ~= nil and type(out[1]) == "number" then return {out} end
  local copy = {}
  for i, row in ipairs(out) do copy[i] = list(row, ("%s[%d]"):format(name, i)) end
  if #copy > 0 and #copy[1] > 0 and type(copy[1][1]) ~= "number" and type(copy[1][1]) ~= "boolean" then
    misuse("%s: numbers in rows, not deeper tables", name)
  end
  return copy
end

local function length_of(value) return value and #value or 0 end

local color_names = {
  blue = 0x0072B2, vermillion = 0xD55E00, red = 0xD55E00, green = 0x009E73, purple = 0xCC79A7, orange = 0xE69F00,
  sky = 0x56B4E9, yellow = 0xC9B700, black = 0x000000, grey = 0x808080, gray = 0x808080, white = 0xFFFFFF,
}
local palette = {0x0072B2, 0xD55E00, 0x009E73, 0xCC79A7, 0xE69F00, 0x56B4E9, 0x4D4D4D, 0xC9B700}

-- "#RRGGBB", a name, or 1..8 of the palette.
local function color(value)
  if value == nil then return nil end
  if type(value) == "string" then
    local hex = value:match("^#(%x%x%x%x%x%x)$")
    if hex then return tonumber(hex, 16) end
    if color_names[value] then return color_names[value] end
  elseif math.type(value) == "integer" and palette[value] then return palette[value] end
  misuse("color: '%s' is no colour; '#RRGGBB', 1 to 8, or a name such as blue, red, green, grey", tostring(value))
end

local marker_names = {o = "circle", s = "square", D = "diamond", ["^"] = "triangle", ["+"] = "plus", x = "cross",
  ["*"] = "star"}
local dash_names = {["-"] = "solid", ["--"] = "dashed", [":"] = "dotted", ["-."] = "dashdot"}

local function style(own)
  own.color = color(own.color)
  own.width = own.linewidth
  own.marker = marker_names[own.marker] or own.marker
  own.dash = dash_names[own.dash] or own.dash
  if own.dash == false then own.dash = "none" end
  if own.label ~= nil and type(own.label) ~= "string" then own.label = tostring(own.label) end
  return own
end

local function pair(value, name)
  if type(value) ~= "table" or #value ~= 2 then misuse("%s: two values", name) end
  return value[1], value[2]
end

-- ---- series -------------------------------------------------------------------------

local add = {}

-- Ticks at whole numbers of 1..n, about eight of them.
local function whole_ticks(n)
  local step, unit = 1, 1
  while n / step > 8 do
    step = step == unit and 2 * unit or step == 2 * unit and 5 * unit or 10 * unit
    if step == 10 * unit then unit = step end
  end
  local at = {}
  for i = step, n, step do at[#at + 1] = i end
  return at
end

local function xy(own, kind)
  own.x, own.y = list(own.x, "x"), list(own.y, "y")
  if own.y == nil then misuse("plot.%s: y is missing", kind) end
  if own.x and #own.x ~= #own.y then misuse("plot.%s: x has %d values, y %d", kind, #own.x, #own.y) end
  if own.band then
    local lo, hi = pair(own.band, "band")
    own.band_lo, own.band_hi = list(lo, "band[1]"), list(hi, "band[2]")
  end
  own.err_minus, own.err_plus = list(own.err_minus or own.err, "err"), list(own.err_plus, "err_plus")
  if own.err_plus and not own.err_minus then misuse("plot.%s: err_plus without err_minus", kind) end
  if own.step == true then own.step = "post" elseif own.step == false then own.step = nil end
  return style(own)
end

function add.line(axes, own) engine(raw.line, axes, xy(own, "line")) end
function add.scatter(axes, own) engine(raw.scatter, axes, xy(own, "scatter")) end

function add.bars(axes, own, settings)
  local values = rows(own.values or own.y, "values", true)
  local names = own.names or own.x
  local n = length_of(values[1])
  if names ~= nil and type(names) ~= "table" then misuse("plot.bars: names in a list, not a %s", type(names)) end
  if names and #names ~= n then misuse("plot.bars: %d names for %d bars", #names, n) end
  local minus = own.err_minus or own.err
  local ticks = own.horizontal and "yticks" or "xticks"
  if not names and n > 0 and settings[ticks] == nil then settings[ticks] = whole_ticks(n) end
  local styles = {}
  for g = 1, #values do
    if #values[g] ~= n then misuse("plot.bars: group %d has %d values, the first %d", g, #values[g], n) end
    local label = own.labels and own.labels[g]
    if label == nil and #values == 1 then label = own.label end
    styles[g] = style{label = label, color = own.colors and own.colors[g] or (#values == 1 and own.color or nil),
      alpha = own.alpha}
  end
  engine(raw.bars, axes, {values = values, names = names and table.move(names, 1, n, 1, {}), styles = styles,
    err_minus = minus and rows(minus, "err", true), err_plus = own.err_plus and rows(own.err_plus, "err_plus", true),
    horizontal = own.horizontal, numbers = own.numbers, span = own.span})
end

function add.hist(axes, own, settings)
  own.values = list(own.values or own.x, "values")
  if not own.values then misuse("plot.hist: values is missing") end
  if settings.ylabel == nil then settings.ylabel = own.density and "density" or "count" end
  engine(raw.hist, axes, style(own))
end

-- Nodes and weights of one run, or of several (lists of lists) put together.
local function joined(value, name)
  value = list(value, name)
  if value == nil then misuse("plot.density: %s is missing", name) end
  if type(value[1]) == "number" or value[1] == nil then return value end
  local out = {}
  for i, part in ipairs(value) do
    for _, v in ipairs(list(part, ("%s[%d]"):format(name, i))) do out[#out + 1] = v end
  end
  return out
end

function add.density(axes, own, settings)
  own.nodes, own.weights = joined(own.nodes, "nodes"), joined(own.weights, "weights")
  if #own.nodes ~= #own.weights then
    misuse("plot.density: %d nodes, %d weights", #own.nodes, #own.weights)
  end
  own.linear = settings.yscale == "linear"
  engine(raw.density, axes, style(own))
end

local function field(own, kind, settings)
  if own.z == nil then misuse("plot.%s: z is missing", kind) end
  own.z = rows(own.z, "z")
  for r = 2, #own.z do
    if #own.z[r] ~= #own.z[1] then
      misuse("plot.%s: row %d of z has %d values, the first %d", kind, r, #own.z[r], #own.z[1])
    end
  end
  local function names(given, n, what)
    if given == nil then return nil end
    if type(given) ~= "table" then misuse("plot.%s: %s: names in a list", kind, what) end
    if #given ~= n then misuse("plot.%s: %d %s for %d rows or columns of z", kind, #given, what, n) end
    return table.move(given, 1, n, 1, {})
  end
  own.row_names, own.col_names = names(own.rows, #own.z, "rows"), names(own.cols, length_of(own.z[1]), "cols")
  own.x, own.y = list(own.x, "x"), list(own.y, "y")
  local rows_n, cols_n = #own.z, length_of(own.z[1])
  if not own.x and not own.col_names and settings.xticks == nil and cols_n > 0 then
    settings.xticks = whole_ticks(cols_n)
  end
  if not own.y and not own.row_names and settings.yticks == nil and rows_n > 0 then
    settings.yticks = whole_ticks(rows_n)
  end
  return own
end

function add.heatmap(axes, own, settings)
  field(own, "heatmap", settings)
  if own.rows and own.top_down == nil then own.top_down = true end
  engine(raw.heatmap, axes, own)
end

function add.contour(axes, own, settings)
  field(own, "contour", settings)
  if type(own.levels) == "number" then own.level_count = own.levels
  elseif own.levels ~= nil then own.level_list = list(own.levels, "levels") end
  engine(raw.contour, axes, own)
end

function add.annotate(axes, own)
  if type(own.x) ~= "number" or type(own.y) ~= "number" then misuse("plot.annotate: x and y are numbers") end
  if own.text == nil then misuse("plot.annotate: text is missing") end
  engine(raw.annotate, axes, style(own))
end

function add.hline(axes, own)
  if type(own.y) ~= "number" then misuse("plot.hline: y is a number") end
  if own.dash == nil then own.dash = "dashed" end
  engine(raw.rule, axes, "y", own.y, style(own))
end

function add.vline(axes, own)
  if type(own.x) ~= "number" then misuse("plot.vline: x is a number") end
  if own.dash == nil then own.dash = "dashed" end
  engine(raw.rule, axes, "x", own.x, style(own))
end

-- ---- axes ------------------------------------------------------------------------------

-- Behind the objects, out of reach of scripts: Panel -> axes, Figure -> {raw=, panels=}.
local panels = setmetatable({}, {__mode = "k"})
local figures = setmetatable({}, {__mode = "k"})

local function limits(value, name)
  if value == nil then return nil end
  if type(value) ~= "table" then misuse("%s: {low, high}; false leaves an end to the data", name) end
  local lo, hi = value[1] or 0 / 0, value[2] or 0 / 0
  if type(lo) ~= "number" or type(hi) ~= "number" then misuse("%s: {low, high} are numbers", name) end
  return {lo, hi}
end

local function ticks(value, name)
  if value == nil then return nil end
  if type(value) ~= "table" then misuse("%s: a list of numbers, or {at=, labels=}", name) end
  local at = list(value.at or value, name)
  local labels = value.labels
  if labels and #labels ~= #at then misuse("%s: %d labels for %d ticks", name, #labels, #at) end
  return {at = at, labels = labels and table.move(labels, 1, #labels, 1, {})}
end

local function apply(axes, settings)
  if next(settings) == nil then return end
  local s = {}
  for name, value in pairs(settings) do s[name] = value end
  s.xlim, s.ylim = limits(s.xlim, "xlim"), limits(s.ylim, "ylim")
  s.xticks, s.yticks = ticks(s.xticks, "xticks"), ticks(s.yticks, "yticks")
  if s.legend == false then s.legend = "none" elseif s.legend == true then s.legend = "best" end
  engine(raw.set, axes, s)
end

-- Methods; the metatables are apart and locked, so that a script reaches neither.
local Panel, Figure = {}, {}
local panel_meta = {__index = Panel, __name = "hwb.panel", __metatable = false}
local figure_meta = {__index = Figure, __name = "hwb.figure", __metatable = false}

local function panel(axes)
  local self = setmetatable({}, panel_meta)
  panels[self] = axes
  return self
end

local function handle(objects, self, method)
  local h = objects[self or 0]
  if not h then misuse("call it with a colon: fig:%s(...)", method) end
  return h
end

-- Options of one series, or of several in a list with shared ones beside them.
local function series(kind, options, with_figure)
  if type(options) == "table" and #options > 0 and type(options[1]) == "table" then
    local shared, each = {}, {}
    for name, value in pairs(options) do
      if math.type(name) == "integer" then each[name] = value else shared[name] = value end
    end
    local own, settings, figure = split(kind, shared, with_figure)
    return own, settings, figure, each
  end
  local own, settings, figure = split(kind, options or {}, with_figure)
  return own, settings, figure, nil
end

local function put(axes, kind, own, settings, each)
  if not each then add[kind](axes, own, settings)
  else
    for _, one in ipairs(each) do
      local mine = split(kind, one, false)
      for name, value in pairs(own) do if mine[name] == nil then mine[name] = value end end
      add[kind](axes, mine, settings)
    end
  end
  apply(axes, settings)
end

for kind in pairs(known) do
  Panel[kind] = function(self, options)
    local axes = handle(panels, self, kind)
    local own, settings, _, each = series(kind, options, false)
    put(axes, kind, own, settings, each)
    return self
  end
  Figure[kind] = function(self, options)
    handle(figures, self, kind)
    Panel[kind](self:panel(1, 1), options)
    return self
  end
  M[kind] = function(options)
    local own, settings, figure, each = series(kind, options, true)
    local fig = M.figure(figure)
    put(panels[fig:panel(1, 1)], kind, own, settings, each)
    return fig
  end
end
M.annotate, M.hline, M.vline = nil, nil, nil -- these only add to a figure

-- Title, names, scales, limits and ticks of the axes.
function Panel:set(options)
  local axes = handle(panels, self, "set")
  local _, settings = split("set", options, false)
  apply(axes, settings)
  return self
end

-- Where the legend stands: "best", "top right" …, "outside", "none".
function Panel:legend(place) return self:set{legend = place == nil and "best" or place} end

-- The panel of the second y axis, on the right.
function Panel:twin(options)
  local twin = panel(engine(raw.twin, handle(panels, self, "twin")))
  if options then twin:set(options) end
  return twin
end

-- The range shown: xlo, xhi, ylo, yhi.
function Panel:view()
  local axes = handle(panels, self, "view")
  local xlo, xhi = engine(raw.view, axes, "x")
  local ylo, yhi = engine(raw.view, axes, "y")
  return xlo, xhi, ylo, yhi
end

function panel_meta.__tostring() return "hwb.panel" end

-- ---- figures ------------------------------------------------------------------------------

-- hwb.plot.figure{rows=, cols=, width=, height=, dpi=, title=, and options of the first panel}
function M.figure(options)
  local given, settings = {}, {}
  for name, value in pairs(options or {}) do
    if figure_known[name] or name == "rows" or name == "cols" then given[name] = value
    elseif axes_known[name] then settings[name] = value
    else misuse("plot.figure: unknown option '%s'", tostring(name)) end
  end
  local many = (given.rows or 1) ~= 1 or (given.cols or 1) ~= 1
  if many then given.title, settings.title = settings.title, nil end
  local self = setmetatable({}, figure_meta)
  figures[self] = {raw = engine(raw.figure, given), panels = {}}
  if next(settings) then self:panel(1, 1):set(settings) end
  return self
end

-- The panel in row r and column c of the grid.
function Figure:panel(r, c)
  local h = handle(figures, self, "panel")
  r, c = r or 1, c or 1
  local key = ("%s,%s"):format(r, c)
  if not h.panels[key] then h.panels[key] = panel(engine(raw.axes, h.raw, r, c)) end
  return h.panels[key]
end

for _, name in ipairs{"set", "legend"} do
  Figure[name] = function(self, ...)
    handle(figures, self, name)
    Panel[name](self:panel(1, 1), ...)
    return self
  end
end

function Figure:twin(options) return self:panel(1, 1):twin(options) end
function Figure:view() return self:panel(1, 1):view() end

-- true, or nil and a message when the file cannot be written.  .png or .svg.
function Figure:save(path)
  local h = handle(figures, self, "save")
  if type(path) ~= "string" then misuse("fig:save(path): a path, not a %s", type(path)) end
  return engine(raw.save, h.raw, path)
end

function Figure:png() return engine(raw.png, handle(figures, self, "png").raw) end
function Figure:svg() return engine(raw.svg, handle(figures, self, "svg").raw) end

-- Lines of text, cols x rows characters; options color and ascii.
function Figure:text(cols, lines, options)
  local h, o = handle(figures, self, "text"), options or {}
  for name in pairs(o) do
    if name ~= "color" and name ~= "ascii" then misuse("fig:text: unknown option '%s'", tostring(name)) end
  end
  return engine(raw.text, h.raw, cols or 80, lines or 24, o.color or false, o.ascii or false)
end

function figure_meta.__tostring() return "hwb.figure (hwb.plot.show(fig), fig:save(\"name.png\"))" end

-- ---- the terminal -----------------------------------------------------------------------------

local show_known = set("mode cols rows width")

-- Draws the figure on standard output: an image where the terminal can (kitty,
-- sixel), else braille or plain text.  mode= forces one of the four.
function M.show(fig, options)
  local h = figures[fig or 0]
  if not h then misuse("plot.show(fig): a figure, not a %s", type(fig)) end
  local o = options or {}
  for name in pairs(o) do
    if not show_known[name] then misuse("plot.show: unknown option '%s'", tostring(name)) end
  end
  local terminal = raw.terminal()
  local mode = o.mode or terminal.kind
  local bytes
  if mode == "kitty" or mode == "sixel" then
    local wide = o.width or (terminal.width > 0 and math.min(terminal.width, 960)) or 720
    bytes = engine(mode == "kitty" and raw.kitty or raw.sixel, h.raw, wide)
  elseif mode == "braille" or mode == "ascii" then
    local cols = o.cols or math.min(terminal.cols, 100)
    local lines = o.rows or math.max(12, math.min(terminal.rows - 2, cols // 3, 32))
    bytes = engine(raw.text, h.raw, cols, lines, terminal.color, mode == "ascii")
  else misuse("plot.show: mode is kitty, sixel, braille or ascii, not '%s'", tostring(mode)) end
  local found, sys = pcall(require, "hwb.sys")
  if found and sys.clear_line then sys.clear_line() end
  io.stdout:write(bytes)
  io.stdout:flush()
end

return M
