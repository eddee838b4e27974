-- hwb run FILE.lua: recipes (confined, with a run folder) and plain scripts.
local sys = require "hwb.sys"
local hwb = require "hwb"
local errors = require "hwb.errors"
local recipes = require "hwb.recipe"
local arguments = require "hwb.args"
local runs = require "hwb.run"

local function note(options, format, ...)
  if options.quiet then return end
  sys.clear_line()
  io.stderr:write("hwb: ", format:format(...), "\n")
end

-- A plain script sees the whole of Lua, `arg` as lua(1) sets it, and `run`,
-- whose folder is made when it is first used.
local function run_script(file, options, rest, argv, settings)
  if #options.set > 0 then errors.usage("--set: %s is a plain script, not a recipe", file.path) end
  if options.resume then errors.usage("--resume: %s is a plain script, not a recipe", file.path) end
  local record
  _G.arg = {[0] = file.path, table.unpack(rest, 2)}
  _G.run = setmetatable({}, {__index = function(_, key)
    record = record or runs.start{name = recipes.stem(file.path), path = file.path, source = file.source,
      sha256 = file.sha256, args = {}, argv = argv, seed = settings.seed, device = settings.device,
      smoke = options.smoke, parent = options["run-dir"] or "runs", quiet = options.quiet, json = options.json}
    local value = record[key]
    if type(value) ~= "function" then return value end
    return function(_, ...) return value(record, ...) end
  end})
  local chunk = assert(load(file.source, "@" .. file.path, "t"))
  if options.untrusted then require("hwb.sandbox").limit(options) end
  local failure = errors.attempt(chunk, table.unpack(rest, 2))
  if record then
    local message, _, code = errors.parts(failure or "")
    runs.finish(record, not failure and "ok" or code == "EINTR" and "interrupted" or "failed", failure and 1 or 0,
      failure and message or nil)
  end
  if failure then error(failure, 0) end
  return 0
end

local function show_help(file, recipe, rows)
  print(("Usage: hwb run %s [--ARGUMENT VALUE]..."):format(file.path))
  if recipe.summary then print(recipe.summary) end
  if recipe.paper then print("Paper: " .. recipe.paper) end
  if #rows > 0 then print("\nArguments:\n" .. arguments.help(rows)) else print("\nIt takes no arguments.") end
  print("\nOptions of every run: hwb run --help")
  return 0
end

-- Values on the command line may be read as paths, there or not: the user named them.
local function named_paths(given)
  local paths = {}
  for _, pair in ipairs(given) do
    if pair[2] and pair[2] ~= "" then paths[#paths + 1] = pair[2] end
  end
  return paths
end

local function status_of(value)
  local _, _, code = errors.parts(value)
  local inner = type(value) == "table" and value.error or value
  local exit = type(inner) == "table" and math.type(inner.exit) == "integer" and inner.exit or 1
  local passed = hwb.engine.comm.passed() -- the exit status of the rank that failed first
  if code == "EINTR" then return "interrupted", passed > 0 and passed or sys.terminated() and 143 or 130 end
  return "failed", passed > 0 and passed or exit
end

-- The end of a run: status in run.json, then what the user sees.
local function finish(record, options, failure)
  sys.interrupt_reset()
  if not failure then
    runs.finish(record, "ok", 0)
    if options.json then
      print(hwb.json.encode({schema = 1, run = record.dir, status = "ok", result = runs.result_of(record)},
        {indent = 2}))
    end
    note(options, "done; everything is in %s", record.dir)
    return 0
  end
  local status, exit = status_of(failure)
  local message = errors.parts(failure)
  runs.finish(record, status, exit, message)
  if options.json then
    print(hwb.json.encode({schema = 1, run = record.dir, status = status, error = message}, {indent = 2}))
  end
  errors.show(failure)
  note(options, status == "interrupted" and "go on with: hwb run --resume %s" or "what there is is in %s", record.dir)
  return exit
end

-- --resume: the recipe copy in the folder, unless the file is given again.
local function resumed_file(options, rest)
  local dir = options.resume:gsub("/+$", "")
  local link = sys.stat(dir, true)
  if link and link.type == "link" then dir = sys.realpath(dir) or dir end -- runs/latest
  local saved, why = sys.read(dir .. "/run.json")
  if not saved then sys.raise("EIO", "--resume: " .. why) end
  local record, problem = hwb.json.decode(saved)
  if not record then sys.raise("EFORMAT", ("%s/run.json: %s"):format(dir, problem)) end
  local first = hwb.engine.comm.place().rank == 0 -- the others may see what it writes by now
  if first and record.status == "running" and record.host == sys.hostname() and record.pid ~= sys.pid()
    and sys.alive(record.pid) and not options.force then
    errors.usage("--resume: %s is still running as process %d (--force if it is not)", dir, record.pid)
  end
  local path = rest[1]
  if not path then
    local original = sys.read(record.file)
    path = original and sys.sha256(original) == record.sha256 and record.file or dir .. "/recipe.lua"
  end
  local file = recipes.read(path)
  if file.sha256 ~= record.sha256 and not options.force then
    errors.usage("--resume: %s is not the recipe of %s; --force to go on all the same", path, dir)
  end
  return file, dir, record
end

local function run_recipe(file, options, rest, argv, settings, resume)
  local sandbox = require "hwb.sandbox"
  local words = {table.unpack(rest, 2)}
  local box = sandbox.new(file, options)
  local recipe = recipes.open(file, box.env)
  sys.guard(false) -- for the run folder; on again from box:enter to the end of the program
  recipes.check_version(recipe, hwb.version)
  local rows = arguments.declarations(recipe.args)
  if options.help then return show_help(file, recipe, rows) end
  local given = arguments.pairs(rows, options.set, words)
  if resume and #given > 0 and not options.force then
    errors.usage("--resume: arguments stay as they were; --force to change them")
  end
  local args = arguments.resolve(rows, given, options.smoke)
  local record
  if resume then
    for _, row in ipairs(rows) do
      if args[row.name] == row.default and resume.record.args[row.name] ~= nil then
        args[row.name] = resume.record.args[row.name]
      end
    end
    record = runs.resume(resume.dir, {parent = recipes.folder(resume.dir), quiet = options.quiet, json = options.json})
  else
    record = runs.start{name = recipe.name, path = sys.realpath(file.path), source = file.source, sha256 = file.sha256,
      args = args, argv = argv, seed = settings.seed, device = settings.device, smoke = options.smoke,
      parent = options["run-dir"] or "runs", quiet = options.quiet, json = options.json,
      permissions = box.permissions}
  end
  box:allow("read", named_paths(given))
  box:enter(record)
  local failure = errors.attempt(function()
    if rawget(hwb, "manual_seed") then hwb.manual_seed(record.seed) end
    math.randomseed(record.seed)
    recipe.run(box.env.hwb, args, record)
  end)
  if failure then failure = box:settled(failure) end
  box:leave()
  return finish(record, options, failure)
end

return function(options, rest, argv)
  local settings = require "hwb.settings"
  if options.resume then
    local file, dir, record = resumed_file(options, rest)
    settings.seed = record.seed
    return run_recipe(file, options, rest, argv, settings, {dir = dir, record = record})
  end
  if not rest[1] then errors.usage("run: which file? hwb run FILE.lua") end
  local file = recipes.read(rest[1])
  if not file.is_recipe then
    if options.help then
      print(("%s is a plain script; words after it go to `arg`."):format(file.path))
      return 0
    end
    return run_script(file, options, rest, argv, settings)
  end
  return run_recipe(file, options, rest, argv, settings)
end
