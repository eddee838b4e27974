-- hwb check FILE…: what a recipe is and asks for.  Its main chunk is evaluated,
-- confined and silent, to get the table; `run` is not called.
local sys = require "hwb.sys"
local hwb = require "hwb"
local lex = require "hwb.lex"
local errors = require "hwb.errors"
local recipes = require "hwb.recipe"
local arguments = require "hwb.args"

-- Guarded functions that the text names, with the option each would need.
local guarded = {["io.open"] = "files", ["io.lines"] = "files", ["os.remove"] = "--allow-write",
  ["os.rename"] = "--allow-write", ["os.execute"] = "--allow-run", ["io.popen"] = "--allow-run",
  ["os.getenv"] = "--allow-env"}

local function uses(source)
  local tokens, modules, calls, seen = lex.tokens(source), {}, {}, {}
  for i, token in ipairs(tokens) do
    local a, b = tokens[i + 1], tokens[i + 2]
    if token.text == "require" and a then
      local name = a.kind == "string" and a or b
      if name and name.kind == "string" then modules[#modules + 1] = name.text:sub(2, -2) end
    end
    local call = a and b and a.text == "." and token.text .. "." .. b.text
    if call and guarded[call] and not seen[call] then
      seen[call] = true
      calls[#calls + 1] = {call = call, needs = guarded[call]}
    end
  end
  return modules, calls
end

local function describe(path)
  local file = recipes.read(path)
  local modules, calls = uses(file.source)
  local out = {file = path, sha256 = file.sha256, kind = file.is_recipe and "recipe" or "script",
    modules = hwb.json.array(modules), guarded_calls = hwb.json.array(calls)}
  if not file.is_recipe then return out end
  local sandbox = require "hwb.sandbox"
  local box = sandbox.new(file, {untrusted = true})
  box.say = function() end
  local recipe = recipes.open(file, box.env)
  for _, field in ipairs{"name", "summary", "version", "paper", "hwb", "needs"} do out[field] = recipe[field] end
  out.args = hwb.json.array(arguments.declarations(recipe.args))
  return out
end

local function show(info)
  print(("%s: %s"):format(info.file, info.kind))
  print("  sha256   " .. info.sha256)
  for _, field in ipairs{"name", "summary", "version", "hwb", "paper"} do
    if info[field] then print(("  %-8s %s"):format(field, info[field])) end
  end
  if info.args and #info.args > 0 then
    print("  arguments\n  " .. arguments.help(info.args):gsub("\n", "\n  "))
  end
  if info.needs then print("  needs    " .. require("hwb.repl.show").text(info.needs)) end
  if #info.modules > 0 then print("  modules  " .. table.concat(info.modules, ", ")) end
  for _, use in ipairs(info.guarded_calls) do print(("  uses     %s (%s)"):format(use.call, use.needs)) end
  if info.kind == "script" then
    print("  A plain script: it runs with your own permissions.")
  else
    print("  It may read its own folder, the recipes, the data folder and what you name; it may write its run folder.")
  end
end

return function(options, rest)
  if #rest == 0 then errors.usage("check: which file? hwb check FILE.lua") end
  local all, status = hwb.json.array{}, 0
  for _, path in ipairs(rest) do
    sys.guard(false) -- on again, to the end or the next file, before a recipe is looked at
    local ok, info = pcall(describe, path)
    if not ok then
      local message = errors.parts(info)
      status = type(info) == "table" and info.exit or 3
      if options.json then info = {file = path, error = message} else errors.show(info) end
    end
    all[#all + 1] = ok and info or options.json and info or nil
    if ok and not options.json then show(info) end
  end
  if options.json then print(hwb.json.encode({schema = 1, files = all}, {indent = 2})) end
  return status
end
