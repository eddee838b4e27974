-- hwb [-l MODULE] [-e CODE] [-i] [-|SCRIPT] [ARGS], and the session.
local sys = require "hwb.sys"
local errors = require "hwb.errors"

-- A chunk of text input; the value of a lone expression is not shown here.
local function chunk(source, name)
  if source:sub(1, 1) == "\27" then sys.raise("EFORMAT", name:sub(2) .. ": is Lua bytecode; only text is run") end
  local f, problem = load(source, name, "t")
  if not f then error(problem, 0) end
  return f
end

local function run_script(path, words)
  local source, why = sys.read(path, 64 * 1024 * 1024)
  if not source then sys.raise("EIO", why) end
  _G.arg = {[0] = path, table.unpack(words)}
  chunk(source, "@" .. path)(table.unpack(words))
end

return function(options, rest)
  for _, module in ipairs(options.l) do _G[module:match("[^.]+$")] = require(module) end
  local words = {table.unpack(rest)}
  if #options.e > 0 then
    _G.arg = {[0] = "-e", table.unpack(words)}
    for _, code in ipairs(options.e) do chunk(code, "=-e")(table.unpack(words)) end
    if not options.i then return 0 end
    words = {}
  elseif #options.l > 0 and #words == 0 and not options.i and not sys.isatty(0) then
    words = {"-"}
  end
  local first = table.remove(words, 1)
  if first == "-" then
    _G.arg = {[0] = "-", table.unpack(words)}
    chunk(io.read("a"), "=stdin")(table.unpack(words))
    if not options.i then return 0 end
  elseif first then
    if not options.i then
      errors.usage("'%s': to run a file: hwb run %s", first, first)
    end
    run_script(first, words)
  elseif not sys.isatty(0) and not options.i then
    _G.arg = {[0] = "-"}
    chunk(io.read("a"), "=stdin")()
    return 0
  end
  return require("hwb.repl.session").start(options)
end
