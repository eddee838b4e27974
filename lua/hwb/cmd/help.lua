-- hwb help NAME: help on a Lua name.
local sys = require "hwb.sys"
local help = require "hwb.help"

return function(_, rest)
  local text = help.text(rest[1])
  if text then
    print(text)
    return 0
  end
  local near = sys.nearest(rest[1], {"repl", "run", "check", "test", "bench", "data", "model", "runs",
    "report", "doctor", "init", "completion", "version"})
  io.stderr:write(("hwb help: nothing is known of '%s'%s\n"):format(rest[1],
    near and ("; did you mean '%s'?"):format(near) or ""))
  return 2
end
