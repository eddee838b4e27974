-- How errors are shown: one line that says what happened, the source line of a
-- file, and a traceback without the frames of the program itself.
local sys = require "hwb.sys"
local M = {}

-- Frames of the program: the launcher, the session, the sandbox, the run record.
local own = {"/lua/hwb/cmd/", "/lua/hwb/repl/", "/lua/hwb/sandbox.lua", "/lua/hwb/run.lua",
  "/lua/hwb/recipe.lua", "/lua/hwb/errors.lua", "[C]: in ?", "(...tail calls...)"}

local function is_own(line)
  for _, part in ipairs(own) do
    if line:find(part, 1, true) then return true end
  end
  local name = line:match("^%s*%[C%]: in function '([^']+)'")
  return name == "error" or name == "xpcall" or name == "pcall" or name == "assert" or name == "hwb.sys.attempt"
end

-- Codes of the outside world: where in the library it was noticed says nothing.
local outside = {EIO = true, EFORMAT = true, EDEVICE = true, ENOMEM = true, EPEER = true}

-- The traceback as a list of lines, innermost first.
function M.frames(traceback, all, code)
  local frames = {}
  for line in traceback:gmatch("[^\n]+") do
    local library = outside[code] and (line:find("[C]:", 1, true) or line:find(sys.home .. "/lua/", 1, true))
    if line ~= "stack traceback:" and (all or not (is_own(line) or library)) then
      frames[#frames + 1] = (line:gsub("^%s+", ""))
    end
  end
  return frames
end

-- "file.lua:12: text" -> the text of line 12, or nil
local function source_line(message)
  local path, number = message:match("^([^\n:]+%.lua):(%d+):")
  local file = path and io.open(path)
  if not file then return nil end
  local at, found = 0, nil
  for line in file:lines() do
    at = at + 1
    if at == tonumber(number) then found = line break end
  end
  file:close()
  return found and ("%6d | %s"):format(at, found)
end

local function is_library(path) return path:sub(1, #sys.home + 5) == sys.home .. "/lua/" end

-- "file.lua:12: text" -> file, 12, text
local function positioned(message) return message:match("^([^\n:]+):(%d+): (.*)$") end

-- A fault found inside the library is reported at the user's line that led there.
-- Also says whether the user's own frames tell all: the library complains of what it
-- was given, and did not stumble itself.
local function at_user_line(message, frames)
  local path, number, text = positioned(message)
  local inner, _, rest = positioned(text or "")
  if inner and is_library(inner) then -- a callback's fault that passed through C
    text = rest
    message = ("%s:%s: %s"):format(path, number, text)
  end
  if not path or not is_library(path) then return message, path ~= nil end
  for _, frame in ipairs(frames) do
    local at, line = frame:match("^([^\n:]+):(%d+): in ")
    if at and not is_library(at) and not at:find("[C]", 1, true) then
      return ("%s:%s: %s"):format(at, line, text), not text:find("^attempt to ") and not text:find("^bad argument")
    end
  end
  return message, false
end

-- ---- the name that was meant ------------------------------------------------------

-- Names of what is known under `prefix`, as help has them: {"hessian", ...}.
local function names_below(pattern)
  local out = {}
  for _, name in ipairs(require("hwb.help").names()) do out[#out + 1] = name:match(pattern) end
  return out
end

-- A nil that was called or indexed: the nearest name of the library, or "".
local function suggestion(message)
  local kind, name = message:match("attempt to %a+ a nil value %((%a+) '([%w_]+)'%)")
  local near
  if kind == "global" then
    local globals = {"hwb"}
    for key in pairs(_G) do if type(key) == "string" then globals[#globals + 1] = key end end
    near = sys.nearest(name, globals)
    return near and ("; did you mean '%s'?"):format(near) or ""
  end
  if kind == "method" then
    near = sys.nearest(name, names_below(":([%w_]+)$"))
    return near and ("; did you mean ':%s'?"):format(near) or ""
  end
  near = kind == "field" and sys.nearest(name, names_below("^hwb%.[%w_.]-([%w_]+)$"))
  local full = near and require("hwb.help").find(near)[1]
  return near and near ~= name and ("; did you mean '%s'?"):format(full and full.name or near) or ""
end

-- Takes a raised value apart: message, traceback, code.
function M.parts(value)
  local traceback = ""
  if type(value) == "table" and rawget(value, "traceback") ~= nil and rawget(value, "code") == nil then
    traceback, value = value.traceback, value.error
  end
  local code = type(value) == "table" and rawget(value, "code") or nil
  local message
  if type(value) == "table" and not (getmetatable(value) or {}).__tostring and not code then
    message = "an error value of type table was raised"
  else
    message = value == nil and "an error without a value was raised" or tostring(value)
  end
  return message, traceback, code
end

-- The whole text, without a final newline.
function M.text(value, options)
  options = options or {}
  local message, traceback, code = M.parts(value)
  local frames = M.frames(traceback, options.all, code)
  local plain
  if not options.all then
    message, plain = at_user_line(message, frames)
    local named, hint = pcall(suggestion, message)
    if named then message = message:gsub("^[^\n]*", function(first) return first .. hint end) end
    if plain then frames = M.frames(traceback, false, "EFORMAT") end
  end
  local lines = {(options.prefix or "hwb: ") .. message}
  if code == "EINTR" or code == "EPERM" or code == "EUSAGE" then return lines[1] end
  lines[#lines + 1] = source_line(message)
  local shown = options.all and #frames or math.min(#frames, 12)
  -- a single frame repeats what the first line says
  if shown > 1 or options.all then
    for i = 1, shown do lines[#lines + 1] = "    " .. frames[i] end
    if shown < #frames then lines[#lines + 1] = ("    ... and %d more"):format(#frames - shown) end
  end
  return table.concat(lines, "\n")
end

function M.show(value)
  sys.clear_line()
  local message, _, code = M.parts(value)
  if sys.failed(message, code) then return end -- rank 0 tells it
  io.stderr:write(M.text(value), "\n")
end

-- f(...) with errors caught as {error=, traceback=}: nil when it went well,
-- else the failure.  An interrupt ends here: nothing is stopped by it any more.
function M.attempt(f, ...)
  local failure = sys.attempt(f, ...)
  if failure and failure.error == "not enough memory" then
    failure.error = setmetatable({code = "ENOMEM", exit = 5, message = "out of memory for Lua values"},
      {__tostring = function(e) return e.message end})
  end
  return failure
end

-- A failure that is the user's wording: exit 2, no traceback.
function M.usage(format, ...)
  error(setmetatable({code = "EUSAGE", exit = 2, message = format:format(...)},
    {__tostring = function(e) return e.message end}), 0)
end

return M
