---@meta
-- hwb.plot: figures for papers, reports and the terminal.

hwb.plot = {}

--- A list of numbers or a tensor of one dimension; NaN and infinities leave gaps.
---@alias hwb.PlotData number[]|hwb.Tensor

--- A list of rows or a tensor of two dimensions.
---@alias hwb.PlotGrid number[][]|hwb.Tensor

--- "#RRGGBB", 1 to 8 of the palette, or blue red green purple orange sky yellow black grey white.
---@alias hwb.PlotColor string|integer

--- Options of the axes; they may stand beside those of any series.
--- Text knows ^{...} and _{...}: "10^{-3}", "λ_{max}".
---@class hwb.AxesOptions
---@field title? string above the panel
---@field xlabel? string name of the x axis
---@field ylabel? string name of the y axis
---@field xscale? "linear"|"log" log axes leave out what is not positive
---@field yscale? "linear"|"log" the same for y
---@field xlim? number[] {low, high}; false leaves an end to the data; low > high turns the axis round
---@field ylim? number[] the same for y
---@field xticks? number[]|{at: number[], labels: string[]} ticks at these places
---@field yticks? number[]|{at: number[], labels: string[]} the same for y
---@field grid? boolean light lines at the ticks; default true
---@field legend? string|boolean "best", "top right", "top left", "bottom left", "bottom right", "outside", "none"
---@field equal? boolean one unit has the same length on both axes

--- Looks of a series.
---@class hwb.PlotStyle: hwb.AxesOptions
---@field label? string its entry in the legend
---@field color? hwb.PlotColor default: the next of the Okabe-Ito palette
---@field linewidth? number in points
---@field alpha? number opacity, above 0 to 1
---@field dash? string "solid", "dashed", "dotted", "dashdot", "none", or "-", "--", ":", "-."
---@field marker? string "circle", "square", "diamond", "triangle", "plus", "cross", "star", or o s D ^ + x *
---@field size? number of the marker in points

---@class hwb.LineOptions: hwb.PlotStyle
---@field y hwb.PlotData values
---@field x? hwb.PlotData default 1, 2, 3 ...
---@field band? hwb.PlotData[] {low, high}: shaded between them
---@field err? hwb.PlotData error bars; or err_minus and err_plus
---@field err_minus? hwb.PlotData lengths of the bars downwards
---@field err_plus? hwb.PlotData lengths of the bars upwards
---@field step? boolean|"post"|"pre"|"mid" stairs instead of slopes
---@field text? string[] written beside the points; false leaves one out

---@class hwb.BarsOptions: hwb.AxesOptions
---@field values number[]|number[][] of one group, or of several (also y=)
---@field names? string[] of the categories (also x=)
---@field label? string legend of a single group
---@field labels? string[] legend of the groups
---@field color? hwb.PlotColor of a single group
---@field colors? hwb.PlotColor[] of the groups
---@field alpha? number opacity
---@field err? number[]|number[][] error bars shaped as the values; or err_minus and err_plus
---@field horizontal? boolean categories run down the y axis
---@field numbers? boolean write the value at each bar
---@field span? number share of a category that its bars fill; default 0.8

---@class hwb.HistOptions: hwb.PlotStyle
---@field values hwb.PlotData (also x=)
---@field bins? integer default: Freedman and Diaconis
---@field range? number[] {low, high}
---@field density? boolean area 1 instead of counts
---@field log? boolean equal bins of log x

---@class hwb.DensityOptions: hwb.PlotStyle
---@field nodes hwb.PlotData as from H:density{}; several runs in a list of lists
---@field weights hwb.PlotData one a node
---@field sigma? number width of the Gaussian on each node; default 0.5 % of the range
---@field points? integer of the curve; default 1200
---@field fill? boolean default true

---@class hwb.FieldOptions: hwb.AxesOptions
---@field z hwb.PlotGrid z[row][column], at (x[column], y[row])
---@field x? hwb.PlotData steadily rising or falling; default 1, 2, 3 ...
---@field y? hwb.PlotData the same for the rows
---@field range? number[] {low, high} of the colours
---@field colormap? "viridis"|"diverging"|"grey" diverging is centred on zero
---@field log? boolean colours and levels by the logarithm
---@field label? string of the colour bar
---@field colorbar? boolean default true

---@class hwb.HeatmapOptions: hwb.FieldOptions
---@field rows? string[] names of the rows; the first is then at the top
---@field cols? string[] names of the columns
---@field numbers? boolean write the value in each cell
---@field top_down? boolean row 1 at the top

---@class hwb.ContourOptions: hwb.FieldOptions
---@field levels? integer|number[] at most so many, or these
---@field fill? boolean coloured bands under the lines; default true
---@field labels? boolean numbers on the lines; default true

---@class hwb.AnnotateOptions
---@field x number
---@field y number
---@field text string
---@field color? hwb.PlotColor
---@field size? number of the letters in points
---@field dx? number offset in points; without dx and dy the emptiest side is taken
---@field dy? number upwards
---@field arrow? boolean from the text to the point

---@class hwb.FigureOptions: hwb.AxesOptions
---@field rows? integer of the grid of panels
---@field cols? integer
---@field width? number inches
---@field height? number inches
---@field dpi? number of PNG files; default 150

--- One pair of axes.
---@class hwb.Panel
local Panel = {}

--- A grid of panels. Its methods that draw act on the first panel.
---@class hwb.Figure: hwb.Panel
local Figure = {}

--- An empty figure, or a grid of panels: options of the figure and of the first panel.
--- ```lua
--- local fig = hwb.plot.figure{rows = 1, cols = 2, title = "Two runs"}
--- fig:panel(1, 1):line{y = a}
--- fig:panel(1, 2):line{y = b}
--- fig:save("runs.png")
--- ```
---@param options? hwb.FigureOptions
---@return hwb.Figure
function hwb.plot.figure(options) end

--- A line: markers, dashes, error bars and bands, stairs. A list of tables draws several.
--- ```lua
--- hwb.plot.line{x = steps, y = loss, band = {low, high}, label = "train", yscale = "log", xlabel = "step"}
--- ```
---@param options hwb.LineOptions
---@return hwb.Figure
function hwb.plot.line(options) end

--- Points.
---@param options hwb.LineOptions
---@return hwb.Figure
function hwb.plot.scatter(options) end

--- Bars, grouped when values is a list of lists.
--- ```lua
--- hwb.plot.bars{names = layers, values = traces, err = errors, yscale = "log"}
--- ```
---@param options hwb.BarsOptions
---@return hwb.Figure
function hwb.plot.bars(options) end

--- A histogram.
---@param options hwb.HistOptions
---@return hwb.Figure
function hwb.plot.hist(options) end

--- A spectral density: a Gaussian on every node, on a log axis unless yscale="linear".
--- ```lua
--- local d = H:density{steps = 100}
--- hwb.plot.density{nodes = d.nodes, weights = d.weights, xlabel = "eigenvalue"}
--- ```
---@param options hwb.DensityOptions
---@return hwb.Figure
function hwb.plot.density(options) end

--- A heat map with a colour bar.
---@param options hwb.HeatmapOptions
---@return hwb.Figure
function hwb.plot.heatmap(options) end

--- Level lines over coloured bands, as for loss landscapes.
---@param options hwb.ContourOptions
---@return hwb.Figure
function hwb.plot.contour(options) end

--- Draws a figure on standard output: an image where the terminal can show one (kitty, sixel), else braille
--- characters, else plain text. HWB_PLOT in the environment, or mode, chooses one of kitty, sixel, braille, ascii.
---@param fig hwb.Figure
---@param options? {mode: string, cols: integer, rows: integer, width: integer}
function hwb.plot.show(fig, options) end

--- Add a line; options as for hwb.plot.line.
---@param options hwb.LineOptions
---@return hwb.Panel self
function Panel:line(options) end

--- Add points.
---@param options hwb.LineOptions
---@return hwb.Panel self
function Panel:scatter(options) end

--- Add bars.
---@param options hwb.BarsOptions
---@return hwb.Panel self
function Panel:bars(options) end

--- Add a histogram.
---@param options hwb.HistOptions
---@return hwb.Panel self
function Panel:hist(options) end

--- Add a spectral density.
---@param options hwb.DensityOptions
---@return hwb.Panel self
function Panel:density(options) end

--- Add a heat map.
---@param options hwb.HeatmapOptions
---@return hwb.Panel self
function Panel:heatmap(options) end

--- Add level lines.
---@param options hwb.ContourOptions
---@return hwb.Panel self
function Panel:contour(options) end

--- Write text at a point.
---@param options hwb.AnnotateOptions
---@return hwb.Panel self
function Panel:annotate(options) end

--- A line across the panel at y=.
---@param options {y: number}
---@return hwb.Panel self
function Panel:hline(options) end

--- A line across the panel at x=.
---@param options {x: number}
---@return hwb.Panel self
function Panel:vline(options) end

--- Set title, names, scales, limits, ticks.
---@param options hwb.AxesOptions
---@return hwb.Panel self
function Panel:set(options) end

--- Where the legend stands: "best", "top right", ..., "outside", "none".
---@param place? string
---@return hwb.Panel self
function Panel:legend(place) end

--- The second y axis, on the right, over the same x.
--- ```lua
--- fig:twin{ylabel = "accuracy"}:line{x = epochs, y = accuracy, label = "accuracy"}
--- ```
---@param options? hwb.AxesOptions
---@return hwb.Panel
function Panel:twin(options) end

--- The range shown.
---@return number xlo
---@return number xhi
---@return number ylo
---@return number yhi
function Panel:view() end

--- The panel in row r and column c.
---@param r? integer
---@param c? integer
---@return hwb.Panel
function Figure:panel(r, c) end

--- Write a .png or .svg file, whole or not at all.
---@param path string
---@return boolean? ok nil, message and code when the file cannot be written
---@return string? message
function Figure:save(path) end

--- The figure as PNG bytes.
---@return string
function Figure:png() end

--- The figure as SVG text.
---@return string
function Figure:svg() end

--- The figure in characters, cols x rows of them.
---@param cols? integer default 80
---@param rows? integer default 24
---@param options? {color: boolean, ascii: boolean}
---@return string
function Figure:text(cols, rows, options) end
