-- The interactive session: reads a line, runs it, shows its value.
--
-- A line is tried as an expression, then as statements; only a message that
-- ends in <eof> asks for more.  Top-level locals become globals, so that they
-- outlive their line.  `_` and `_1 _2 …` are the values of the last line that
-- had any, until the next.
local sys = require "hwb.sys"
local editor = require "hwb.editor"
local lex = require "hwb.lex"
local errors = require "hwb.errors"
local color = require "hwb.repl.color"
local show = require "hwb.repl.show"
local M = {}

-- entries: what was typed and ran, for :save; last_error: for :bt
M.entries, M.last_error = {}, nil
M.known_globals = {}

local finished -- set to an exit status by :quit

function M.quit(status) finished = status or 0 end

-- ---- history --------------------------------------------------------------------

local history = {path = nil, last = nil}

local function history_path()
  local path = os.getenv("HWB_HISTORY")
  if path then return path ~= "" and path or nil end
  local base = os.getenv("XDG_STATE_HOME")
  if not base or base == "" then
    local home = os.getenv("HOME")
    if not home or home == "" then return nil end
    base = home .. "/.local/state"
  end
  sys.mkdir(base .. "/hwb")
  return base .. "/hwb/history"
end

local escapes = {["\\"] = "\\\\", ["\n"] = "\\n"}
local unescapes = {["\\\\"] = "\\", ["\\n"] = "\n"}

local function load_history()
  history.path = history_path()
  local file = history.path and io.open(history.path)
  if not file then return end
  for line in file:lines() do
    local entry = line:gsub("\\.", unescapes)
    editor.add_history(entry)
    history.last = entry
  end
  file:close()
end

local function remember(entry)
  if entry == history.last or not entry:match("%S") then return end
  history.last = entry
  editor.add_history(entry)
  if history.path then sys.append_private(history.path, entry:gsub("[\\\n]", escapes) .. "\n") end
end

-- ---- running ----------------------------------------------------------------------

-- Pasted prompts are taken off.
local function strip_prompts(source)
  return (source:gsub("^hwb%b()> ", ""):gsub("^hwb> ", ""):gsub("\n  >> ", "\n"))
end

-- A short string cannot go on in the next line, unless a backslash says so.
local function is_incomplete(problem, source)
  if problem:find("unfinished string", 1, true) and not (source or "\\"):find("\\%s*$") then return false end
  return problem:match("<eof>'?$") ~= nil
end

-- The function, whether its values are to be shown, and whether it is an
-- expression; or nil, message.
function M.compile(source)
  local silent = source:match(";%s*$") ~= nil
  local body = source:gsub("^%s*=", "return ")
  local expression, as_expression = load("return " .. body:gsub(";%s*$", ""), "=stdin", "t")
  if expression then return expression, not silent, true end
  local f, problem = load(lex.lift_locals(body), "=stdin", "t")
  if f then return f, not silent, false end
  -- neither: a statement that fails at its very first token was meant as an expression
  local first = lex.tokens(body)[1]
  local at_start = first and problem:find("near '" .. first.text .. "'", 1, true)
  if not is_incomplete(problem) and (at_start or is_incomplete(as_expression)) then problem = as_expression end
  return nil, problem
end

local function report(failure)
  M.last_error = failure
  local text = errors.text(failure, {prefix = ""}):gsub("^stdin:1: ", "")
  local first, rest = text:match("^([^\n]*)(.*)$")
  sys.clear_line()
  io.stderr:write(color.paint(2, "red", first), rest, "\n")
end

-- Errors of the code that was typed are shown by their own protect; what
-- reaches the outer one is an interrupt, or a fault of the session.
-- Runs f with Ctrl-C and errors caught; true and its values, or false.
function M.protect(f, ...)
  local results
  local failure = errors.attempt(function(...) results = table.pack(f(...)) end, ...)
  sys.interrupt_reset()
  sys.clear_line()
  if failure then
    report(failure)
    return false
  end
  return true, table.unpack(results, 1, results.n)
end

-- A figure is looked at, not described; everything else is text.
local function is_figure(value)
  local meta = type(value) == "table" and debug.getmetatable(value)
  return meta and rawget(meta, "__name") == "hwb.figure" and sys.isatty(1)
end

local function show_values(values)
  for i = 1, values.n do
    if is_figure(values[i]) and pcall(require("hwb").plot.show, values[i]) then goto continue end
    local ok, text = pcall(show.text, values[i])
    print(ok and text or "(cannot be shown: " .. tostring(text) .. ")")
    ::continue::
  end
end

local numbered = 0

-- `_`, `_1`, `_2`, …; the names of the line before are dropped.
local function keep(values)
  for i = 1, numbered do _G["_" .. i] = nil end
  numbered = values.n
  _G._ = values[1]
  for i = 1, values.n do _G["_" .. i] = values[i] end
end

-- Runs a whole input; true when it ran without error.
function M.run(source)
  local f, echo, expression = M.compile(source)
  if not f then
    io.stderr:write(color.paint(2, "red", (echo:gsub("^stdin:1: ", ""))), "\n")
    return false
  end
  local began = sys.seconds()
  local values = table.pack(M.protect(f))
  if not values[1] then return false end
  values = table.pack(table.unpack(values, 2, values.n))
  M.entries[#M.entries + 1] = {source = source, expression = expression}
  if values.n > 0 then
    if values.n > 1 or values[1] ~= nil then keep(values) end
    if echo then show_values(values) end
  end
  local seconds = sys.seconds() - began
  if seconds > 2 then io.stderr:write(color.paint(2, "dim", ("(%.1f s)"):format(seconds)), "\n") end
  return true
end

-- ---- help ---------------------------------------------------------------------------

local tour = [[
Type Lua; the value of a line is shown unless it ends in ";".
  hwb.tensor{{1,2},{3,4}}     a tensor                 t:matmul(t)   the product
  hwb.models.resnet20{}       a network                hwb.hessian   its curvature
  _                           the last value           Tab           completes names
  ?hwb.hessian  ?*eig*        help, search             Ctrl-C        stops, loses nothing
  :help                       commands (:time :who :mem :run :save :quit …)]]

local function show_help(what)
  if what == "" then
    print(tour)
    return
  end
  print(require("hwb.help").text(what) or ("nothing is known of '%s'"):format(what))
end

-- help(x): a name, or a function or module of the library
function M.help(x)
  if x == nil then return show_help("") end
  if type(x) == "string" then return show_help(x) end
  local name = require("hwb.help").name_of(x)
  if name then return show_help(name) end
  local info = type(x) == "function" and debug.getinfo(x, "S")
  if info and info.source:sub(1, 1) == "@" then
    print(("a function of %s, line %d"):format(info.short_src, info.linedefined))
  else
    print("no help on this " .. type(x))
  end
end

-- ---- the loop -------------------------------------------------------------------------

local function prompt(first)
  local custom = rawget(_G, first and "_PROMPT" or "_PROMPT2")
  if custom ~= nil then return tostring(custom) end
  if not first then return color.prompt("dim", "  >> ") end
  local device = require("hwb.settings").device
  return color.prompt("bold", device == "cpu" and "hwb> " or ("hwb(%s)> "):format(device))
end

-- One input, of one line or more; nil and "end" or "dropped".
local function read_input()
  local line, event = editor.read(prompt(true))
  if not line then return nil, event == "end" and "end" or "dropped" end
  local source = strip_prompts(line)
  if source:match("^%s*[:?]") or source:match("^%s*[%a_][%w_.:]*%?%s*$") then return source end
  while source:match("%S") do
    local f, problem = M.compile(source)
    if f or not is_incomplete(problem, source) then break end
    line, event = editor.read(prompt(false))
    if not line then
      if event == "end" then break end
      return nil, "dropped"
    end
    if not line:match("%S") then return nil, "dropped" end
    source = source .. "\n" .. strip_prompts(line)
  end
  return source
end

local function handle(source)
  local query = source:match("^%s*%?%s*(.-)%s*$") or source:match("^%s*([%a_][%w_.:]*)%?%s*$")
  if query then return M.protect(show_help, query) end
  local name, rest = source:match("^%s*:(%a+)%s*(.-)%s*$")
  if name then return M.protect(require("hwb.repl.commands").run, name, rest) end
  local bare = source:match("^%s*(%a+)%s*$")
  if (bare == "quit" or bare == "exit") and rawget(_G, bare) == nil then return M.quit() end
  return M.run(source)
end

local function start_up_file(options)
  if options["no-rc"] then return end
  local config = os.getenv("XDG_CONFIG_HOME")
  if not config or config == "" then config = (os.getenv("HOME") or "") .. "/.config" end
  local path = config .. "/hwb/init.lua"
  if not sys.stat(path) then return end
  M.protect(function() assert(loadfile(path, "t"))() end)
end

-- Reads one input and deals with it.
local function turn()
  local source, event = read_input()
  if event == "end" then return M.quit() end
  if source and source:match("%S") then
    remember(source)
    handle(source)
  end
end

function M.start(options)
  package.loaded["hwb.repl.session"] = M
  _G.help = M.help
  editor.open(require("hwb.repl.complete").complete)
  load_history()
  start_up_file(options)
  for name in pairs(_G) do M.known_globals[name] = true end
  for _, name in ipairs{"_", "arg"} do M.known_globals[name] = true end
  if not options.quiet then
    print(("hwb %s  %s  ?: a tour, :quit leaves"):format(require("hwb").version, _VERSION))
  end
  while not finished do
    -- protected: Ctrl-C may fall between two lines
    M.protect(turn)
    if sys.terminated() then return 143 end
  end
  return finished
end

return M
