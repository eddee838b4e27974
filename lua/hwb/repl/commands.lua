-- The session's own commands, typed with a leading colon.
local sys = require "hwb.sys"
local text = require "hwb.text"
local M = {}

local commands, order = {}, {}

local function define(name, usage, help, f)
  commands[name] = {usage = usage, help = help, run = f}
  order[#order + 1] = name
end

local function session() return require "hwb.repl.session" end

local function complain(format, ...) io.stderr:write(format:format(...), "\n") end

define("help", "[NAME]", "these commands, or help on a Lua name", function(rest)
  if rest ~= "" then return session().help(rest) end
  local rows = {}
  for i, name in ipairs(order) do rows[i] = {":" .. name .. " " .. commands[name].usage, commands[name].help} end
  print(text.table(rows))
end)

local function memory() return rawget(require "hwb", "memory") and require("hwb").memory() or nil end

local function bytes_field(info, ...)
  for _, name in ipairs{...} do if info[name] then return info[name] end end
  return 0
end

define("time", "CODE", "run CODE and say what it cost", function(rest)
  local f, echo = session().compile(rest)
  if not f then return complain("%s", echo) end
  collectgarbage()
  local hwb = require "hwb"
  if rawget(hwb, "memory_reset_peak") then hwb.memory_reset_peak() end
  local before = memory()
  local wall, cpu = sys.seconds(), os.clock()
  local values = table.pack(f())
  wall, cpu = sys.seconds() - wall, os.clock() - cpu
  if echo then
    for i = 1, values.n do print(require("hwb.repl.show").text(values[i])) end
  end
  local line = ("wall %s, cpu %s"):format(text.duration(wall), text.duration(cpu))
  if before then
    line = line .. ", peak memory " .. text.bytes(bytes_field(memory(), "peak"))
  end
  local hvps = before and (memory().hvps or 0) - (before.hvps or 0) or 0
  if hvps > 0 then line = line .. (", %d HVPs"):format(hvps) end
  print(line)
end)

-- Words as a shell splits them: quotes group, nothing is expanded.
local function words_of(line)
  local words = {}
  for word in line:gsub("([\"'])(.-)%1", function(_, s) return (s:gsub(" ", "\0")) end):gmatch("%S+") do
    words[#words + 1] = (word:gsub("\0", " "))
  end
  return words
end

define("run", "FILE [--ARGUMENT VALUE]", "run a recipe, as `hwb run` does", function(rest)
  if rest == "" then return complain(":run needs a file") end
  sys.spawn{"/proc/self/exe", "run", table.unpack(words_of(rest))}
end)

define("load", "FILE", "run a file in this session", function(rest)
  if rest == "" then return complain(":load needs a file") end
  local f, why = loadfile(rest, "t")
  if not f then return complain("%s", why) end
  f()
end)

define("save", "FILE", "write the session as a recipe", function(rest)
  if not rest:match("%.lua$") then return complain(":save needs a file name that ends in .lua") end
  if sys.stat(rest) then return complain("%s is there already", rest) end
  local lex = require "hwb.lex"
  local lines = {"-- A session of hwb, saved " .. os.date("%Y-%m-%d %H:%M") .. ".", "return {",
    ("  name = %q,"):format(require("hwb.recipe").stem(rest)), ("  summary = %q,"):format("a saved session"),
    "  run = function(hwb, args, run)"}
  for _, entry in ipairs(session().entries) do
    local source = entry.source:gsub("^%s*=", "")
    if entry.expression then
      local body = source:gsub("^%s*return%s+", ""):gsub(";%s*$", "")
      source = entry.source:match(";%s*$") and "_ = " .. body or "print(" .. body .. ")"
    else
      source = lex.lift_locals(source)
    end
    lines[#lines + 1] = "    " .. source:gsub("\n", "\n    ")
  end
  lines[#lines + 1] = "  end,\n}\n"
  local ok, why = sys.write(rest, table.concat(lines, "\n"))
  if not ok then return complain("%s", why) end
  print(("wrote %s; run it with: hwb run %s"):format(rest, rest))
end)

define("edit", "", "the last input in $EDITOR, then run it", function()
  local entries = session().entries
  local path = os.tmpname()
  sys.write(path, entries[#entries] and entries[#entries].source or "")
  local status = sys.spawn{os.getenv("VISUAL") or os.getenv("EDITOR") or "vi", path}
  local source = sys.read(path)
  os.remove(path)
  if status == 0 and source and source:match("%S") then session().run(source) end
end)

local widths = {float64 = 8, int64 = 8, uint8 = 1, bool = 1}

-- What a value is, and the bytes it takes: of tensors, of models' tensors; nil for what is
-- not counted.
local function kind_of(value)
  local hwb = require "hwb"
  local function bytes(t) return t:numel() * (widths[tostring(t:dtype())] or 4) end
  if hwb.is_tensor(value) then return "tensor", bytes(value) end
  if type(value) == "table" and hwb.nn.Module.is_module(value) then
    local sum = 0
    for _, t in value:parameters() do sum = sum + bytes(t) end
    for _, t in value:buffers() do sum = sum + bytes(t) end
    return "model", sum
  end
  local name = type(value) == "userdata" and (debug.getmetatable(value) or {}).__name
  return name and name:gsub("^hwb%.", "") or type(value)
end

define("who", "", "your globals, the biggest first", function()
  local rows = {}
  local show = require "hwb.repl.show"
  for name, value in pairs(_G) do
    if not session().known_globals[name] and not tostring(name):match("^_%d*$") then
      local ok, line = pcall(show.text, value)
      line = (ok and line or "?"):match("^[^\n]*")
      if utf8.len(line) and utf8.len(line) > 60 then line = line:sub(1, (utf8.offset(line, 58) or 58) - 1) .. "…" end
      local kind, bytes = kind_of(value)
      rows[#rows + 1] = {name = tostring(name), type = kind, bytes = bytes, value = line}
    end
  end
  table.sort(rows, function(a, b)
    if (a.bytes or 0) ~= (b.bytes or 0) then return (a.bytes or 0) > (b.bytes or 0) end
    return a.name < b.name
  end)
  for _, row in ipairs(rows) do row.bytes = row.bytes and text.bytes(row.bytes) or "" end
  if #rows == 0 then return print("no globals of yours") end
  print(text.table(rows, {"name", "type", "bytes", "value"}))
end)

define("mem", "", "memory of tensors and of Lua", function()
  local info = memory() or {}
  local function bytes(name) return text.bytes(math.floor(info[name] or 0)) end
  local rows = {{"Lua heap", text.bytes(math.floor(collectgarbage("count") * 1024))},
    {"tensors and buffers", bytes("live")}, {"their peak", bytes("peak")},
    {"garbage is collected beyond", bytes("soft_limit")},
    {"limit", (info.limit or 0) > 0 and bytes("limit") or "none"}}
  if (info.device_peak or 0) > 0 then
    rows[#rows + 1] = {"on the device", bytes("device_live")}
    rows[#rows + 1] = {"its peak", bytes("device_peak")}
  end
  rows[#rows + 1] = {"allocations so far", tostring(info.allocations or 0)}
  print(text.table(rows))
end)

define("dev", "", "the device in use and those that are there", function()
  local hwb = require "hwb"
  print("using " .. require("hwb.settings").device)
  for _, name in ipairs(rawget(hwb, "devices") and hwb.devices() or {"cpu"}) do print("  " .. tostring(name)) end
end)

define("bt", "", "the whole traceback of the last error", function()
  local failure = session().last_error
  if not failure then return print("no error so far") end
  print(require("hwb.errors").text(failure, {prefix = "", all = true}))
end)

define("p", "CODE", "the whole value, through $PAGER", function(rest)
  local f, problem = session().compile(rest)
  if not f then return complain("%s", problem) end
  local values, lines = table.pack(f()), {}
  for i = 1, values.n do lines[i] = require("hwb.repl.show").text(values[i], true) end
  local whole, pager = table.concat(lines, "\n") .. "\n", os.getenv("PAGER") or "less"
  if not sys.isatty(1) then return io.write(whole) end
  local path = os.tmpname()
  sys.write(path, whole)
  if sys.spawn{pager, path} == 127 then io.write(whole) end
  os.remove(path)
end)

local counts -- of samples by source line, while profiling

define("profile", "on|off", "where Lua spends its time", function(rest)
  if rest == "on" then
    counts = {}
    debug.sethook(function()
      local info = debug.getinfo(2, "Sl")
      local at = info and ("%s:%d"):format(info.short_src, info.currentline or 0) or "?"
      counts[at] = (counts[at] or 0) + 1
    end, "", 1000)
    return print("profiling; :profile off shows what it found")
  end
  debug.sethook()
  if rest ~= "off" or not counts then return complain(":profile on, then :profile off") end
  local rows, total = {}, 0
  for at, n in pairs(counts) do
    rows[#rows + 1] = {at, n}
    total = total + n
  end
  table.sort(rows, function(a, b) return a[2] > b[2] end)
  for i = #rows, 16, -1 do rows[i] = nil end
  for _, row in ipairs(rows) do row[2] = ("%.1f %%"):format(100 * row[2] / total) end
  counts = nil
  print(#rows > 0 and text.table(rows) or "nothing was sampled")
end)

define("quit", "", "leave", function() session().quit() end)

function M.run(name, rest)
  local command = commands[name]
  if command then return command.run(rest) end
  local near = sys.nearest(name, order)
  complain("no command ':%s'%s; :help lists them", name, near and ("; did you mean ':%s'?"):format(near) or "")
end

return M
