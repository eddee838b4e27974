-- Recipe files: reading, telling recipes from scripts, checking what they return.
--
-- A recipe's main chunk ends with `return {name=, summary=, args=, run=, …}`.
-- Whether it does is decided from the text, before anything runs, because a
-- recipe is confined from its first instruction on.
local sys = require "hwb.sys"
local lex = require "hwb.lex"
local errors = require "hwb.errors"
local M = {}

local known = {name = "string", summary = "string", version = "string", hwb = "string", paper = "string",
  args = "table", needs = "table", run = "function"}

-- {path=, source=, sha256=, is_recipe=}; a file that cannot be read, is
-- bytecode, or does not parse ends with exit status 3.
function M.read(path)
  local source, why = sys.read(path, 16 * 1024 * 1024)
  if not source then sys.raise("EIO", why) end
  if source:sub(1, 1) == "\27" then
    sys.raise("EFORMAT", path .. ": is Lua bytecode; only text is run")
  end
  local chunk, problem = load(source, "@" .. path, "t", {})
  if not chunk then sys.raise("EFORMAT", problem) end
  return {path = path, source = source, sha256 = sys.sha256(source), is_recipe = lex.returns(source)}
end

-- Runs the main chunk in `env` and checks the table that it returns.
function M.open(file, env)
  local recipe = assert(load(file.source, "@" .. file.path, "t", env))()
  if type(recipe) ~= "table" then
    sys.raise("EFORMAT", ("%s: returned a %s; a recipe returns a table"):format(file.path, type(recipe)))
  end
  for key, value in pairs(recipe) do
    local want = known[key]
    if not want then
      local names = {}
      for name in pairs(known) do names[#names + 1] = name end
      local near = sys.nearest(tostring(key), names)
      sys.raise("EFORMAT", ("%s: unknown field '%s' in the recipe%s"):format(file.path, tostring(key),
        near and ("; did you mean '%s'?"):format(near) or ""))
    end
    if type(value) ~= want then
      sys.raise("EFORMAT", ("%s: field '%s' is a %s, not a %s"):format(file.path, key, type(value), want))
    end
  end
  if not recipe.run then sys.raise("EFORMAT", file.path .. ": the recipe has no function 'run'") end
  if recipe.name and not recipe.name:match("^[%w][%w_.-]*$") then
    sys.raise("EFORMAT", ("%s: name '%s' may hold letters, digits, - _ ."):format(file.path, recipe.name))
  end
  recipe.name = recipe.name or M.stem(file.path)
  return recipe
end

-- "recipes/hawq_resnet20.lua" -> "hawq_resnet20"
function M.stem(path)
  local stem = path:gsub(".*/", ""):gsub("%.lua$", ""):gsub("[^%w_.-]", "_")
  return stem ~= "" and stem or "script"
end

function M.folder(path)
  return (path:match("^(.*)/[^/]*$") or (path:sub(1, 1) == "/" and "/" or "."))
end

-- Raises a usage error when the recipe wants a newer program.
function M.check_version(recipe, version)
  local want = recipe.hwb and recipe.hwb:match("^>=%s*([%d.]+)$")
  if recipe.hwb and not want then errors.usage("recipe: hwb = '%s' is not of the form '>=0.1'", recipe.hwb) end
  if not want then return end
  local function parts(text)
    local out = {}
    for n in text:gmatch("%d+") do out[#out + 1] = tonumber(n) end
    return out
  end
  local a, b = parts(version), parts(want)
  for i = 1, math.max(#a, #b) do
    local x, y = a[i] or 0, b[i] or 0
    if x > y then return end
    if x < y then errors.usage("the recipe needs hwb %s; this is %s", recipe.hwb, version) end
  end
end

return M
