--- Runs within a run: a recipe of hwb's own, run with given arguments in a folder below the
-- folder of another run, as `hwb run` would do it.
--
--     cells.run(run, "absa_resnet20", "absa-3200", {method = "absa", batch = 3200, ...})
--
-- The folder is cells/<date>-<time>-absa-3200-<4 hex digits>/ and complete by itself (`hwb
-- runs show`, `hwb report` and `hwb run --resume` work on it).  A cell that is done is not
-- run again when the outer run is resumed; one that was stopped goes on.

local hwb = require "hwb"
local sys = require "hwb.sys"
local arguments = require "hwb.args"
local errors = require "hwb.errors"
local recipes = require "hwb.recipe"
local records = require "hwb.records"
local runs = require "hwb.run"

local cells = {}

-- The newest run called `name` below `parent`.  All ranks get what rank 0 finds.
local function find(parent, name)
  local dir, status
  if hwb.comm.rank() == 0 then
    for _, r in ipairs(records.list(parent)) do
      if r.record.recipe == name then
        dir, status = r.dir, r.record.status
        break
      end
    end
  end
  local found = hwb.comm.broadcast{ dir = dir, status = status }
  return found.dir, found.status
end

-- Defaults (those of --smoke where the outer run has it) under the given values.
local function resolved(recipe, given, smoke)
  local args = arguments.resolve(arguments.declarations(recipe.args), {}, smoke)
  for key, value in pairs(given) do
    if args[key] == nil then error(("cells.run: %s has no argument %q"):format(recipe.name, key), 3) end
    args[key] = value
  end
  return args
end

local function open(run, file, name, args, parent)
  local dir = find(parent, name)
  if dir then return runs.resume(dir, { parent = parent, json = true }) end
  return runs.start{ name = name, parent = parent, path = file.path, source = file.source,
    sha256 = file.sha256, args = args, argv = {}, seed = run.seed, device = require("hwb.settings").device,
    smoke = run.smoke, json = true }
end

-- {dir=, result=, history=, failed= message or nil}; metrics are those of the folder.
local function outcome(dir, failed)
  local result, history
  if hwb.comm.rank() == 0 then
    local r = records.read(dir)
    result, history = r.result or {}, records.metrics(dir)
  end
  return { dir = dir, failed = failed, result = hwb.comm.broadcast(result or false) or {},
    history = hwb.comm.broadcast(history or false) or {} }
end

--- Runs recipes/<recipe>.lua with the arguments `given` (others have their defaults), or
-- takes what an earlier start of this run has of it.  A cell that ends in a numerical failure
-- (a diverged training) is an outcome too: .failed says how.  Other failures are raised.
function cells.run(run, recipe, name, given)
  if not recipe:match("^[%w_]+$") then error(("cells.run: %q is no recipe of hwb's own"):format(recipe), 2) end
  local parent = run.dir .. "/cells"
  if not sys.allowed(parent, true) then sys.raise("EPERM", "cells.run: may not write " .. parent) end
  local file = recipes.read(("%s/recipes/%s.lua"):format(sys.home, recipe))
  local opened = recipes.open(file, setmetatable({}, { __index = _G }))
  local args = resolved(opened, given, run.smoke)
  local dir, status = find(parent, name)
  if status == "ok" then return outcome(dir) end
  local cell = open(run, file, name, args, parent)
  hwb.manual_seed(cell.seed)
  local ok, problem = pcall(opened.run, hwb, args, cell)
  if ok then
    runs.finish(cell, "ok", 0)
    return outcome(cell.dir)
  end
  local message, _, code = errors.parts(problem)
  runs.finish(cell, code == "EINTR" and "interrupted" or "failed", code == "EINTR" and 130 or 1, message)
  if code ~= "ENUMERIC" then error(problem, 0) end
  return outcome(cell.dir, message)
end

return cells
