---@meta
-- Runs and recipes: what `hwb run` gives a recipe as its third argument.

--- The record of a run, and its folder runs/<date>-<time>-<recipe>-<4 hex>.
--- ```lua
--- return {
---   name = "first", args = {steps = {default = 10, smoke = 3, help = "how many"}},
---   run = function(hwb, args, run)
---     for step = 1, args.steps do run:metric(step, {square = step ^ 2}) end
---     run:result{last = args.steps ^ 2}
---   end,
--- }
--- ```
---@class hwb.Run
---@field dir string the folder
---@field seed integer the seed of this run
---@field smoke boolean was --smoke given?
---@field resumed boolean does this run go on from a checkpoint?
local run = {}

--- A line for the user (stderr) and log.txt.
---@param format string as string.format; a lone text is taken as it is
---@param ... any
function run:log(format, ...) end

--- A line of metrics.jsonl; NaN and infinities are written as null.
---@param step number
---@param values table<string, number|string|boolean>
function run:metric(step, values) end

--- A table on stdout, in name.csv and in name.json.
---@param name string of the files
---@param rows table[] lists, or tables by column name
---@param columns? string[] which columns, in this order
function run:table(name, rows, columns) end

--- A figure as name.png and name.svg.
---@param name string
---@param figure hwb.Figure of hwb.plot
function run:figure(name, figure) end

--- The value of compute(), saved; a resumed run takes the saved value.
--- ```lua
--- local traces = run:once("traces", function() return H:traces{tol = 0.05} end)
--- ```
---@param name string
---@param compute function
---@return any
function run:once(name, compute) end

--- Saves what a resumed run goes on from: plain values, tensors, models' states,
--- in tables; also where the random numbers are.
---@param state table
function run:checkpoint(state) end

--- The last checkpoint's state in a resumed run, else nil.
--- ```lua
--- local state = run:restore() or {step = 0}
--- ```
---@return table?
function run:restore() end

--- Fields of result.json; later calls add to it.
---@param fields table
function run:result(fields) end

--- The path of a file of one's own in the run folder.
---@param name string
---@return string
function run:path(name) end

--- Shows how far a long piece of work is, with rate and time left.
---@param what string
---@param done integer
---@param total? integer
---@param note? string
function run:progress(what, done, total, note) end

hwb.json = {}

--- JSON text of plain values: sorted keys, shortest numbers that read back equal.
---@param value any
---@param options? {indent: integer}
---@return string
function hwb.json.encode(value, options) end

--- The value of JSON text, or nil and where it is wrong.  null in lists is hwb.json.null.
---@param text string
---@return any value
---@return string? message
function hwb.json.decode(text) end

--- Marks a list, so that it is written as [] when it is empty.
---@param list table
---@return table list
function hwb.json.array(list) end
