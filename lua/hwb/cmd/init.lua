-- hwb init [DIR]: a folder for recipes, with settings for editors and luacheck.
local sys = require "hwb.sys"
local hwb = require "hwb"
local errors = require "hwb.errors"

local recipe = [[
-- hwb run first.lua            hwb run first.lua --help           hwb check first.lua
return {
  name = "first",
  summary = "The steepest directions of a small network's loss.",
  args = {
    images = {default = 64, smoke = 8, help = "pictures of the bundled set"},
    k = {default = 3, help = "eigenvalues"},
  },
  run = function(hwb, args, run)
    local nn = hwb.nn
    local model = nn.Sequential(
      nn.Conv2d(3, 8, 3, {stride = 2, padding = 1}), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 16 * 16, 10))
    local x, y = hwb.data.shapes10{}:batch(1, args.images)
    local H = hwb.hessian(model, {data = {x, y}})

    local eigs, rows = H:eigs{k = args.k, seed = run.seed}, {}
    for i, value in ipairs(eigs.values) do
      run:metric(i, {eigenvalue = value})
      rows[i] = {i = i, eigenvalue = value, residual = eigs.residuals[i]}
    end
    run:table("eigenvalues", rows, {"i", "eigenvalue", "residual"})
    local line = hwb.landscape.line(H, {direction = eigs.vectors[1], span = 2})
    run:figure("line", hwb.landscape.plot(line, {title = "The loss along the steepest direction"}))
    run:result{eigenvalues = eigs.values, loss = line.value}
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
