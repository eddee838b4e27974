-- hwb init [DIR]: a folder for recipes, with settings for editors and luacheck.
local sys = require "hwb.sys"
local hwb = require "hwb"
local errors = require "hwb.errors"

local recipe = [[
return {
  name = "first",
  summary = "A recipe to start from.",
  args = {
    steps = {default = 10, help = "how many numbers", smoke = 3},
  },
  run = function(hwb, args, run)
    for step = 1, args.steps do
      run:metric(step, {square = step * step})
    end
    run:log("hwb %s did %d steps", hwb.version, args.steps)
    run:result{last = args.steps * args.steps}
  end,
}
]]

return function(options, rest)
  if #rest > 1 then errors.usage("init: one folder at a time") end
  local dir = (rest[1] or "."):gsub("/+$", "")
  local settings = hwb.json.encode({["runtime.version"] = "Lua 5.4",
    ["workspace.library"] = hwb.json.array{sys.home .. "/lua/meta"},
    ["diagnostics.globals"] = hwb.json.array{"hwb", "run"}}, {indent = 2})
  local files = {{".luarc.json", settings .. "\n"},
    {".luacheckrc", 'std = "lua54"\nread_globals = {"hwb", "run"}\n'},
    {".gitignore", "/runs/\n"}, {"first.lua", recipe}}
  local ok, why = sys.mkdir(dir)
  if not ok then sys.raise("EIO", why) end
  for _, file in ipairs(files) do
    local path = dir .. "/" .. file[1]
    if sys.stat(path) and not options.force then
      print("kept   " .. path)
    else
      ok, why = sys.write(path, file[2])
      if not ok then sys.raise("EIO", why) end
      print("wrote  " .. path)
    end
  end
  return 0
end
