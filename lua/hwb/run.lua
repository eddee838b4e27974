-- Run records: what a recipe gets as `run`.
--
--   run.dir, run.seed, run.smoke, run.resumed
--   run:log(format, ...)             a line to stderr and log.txt
--   run:metric(step, {loss=…})       a line in metrics.jsonl
--   run:table(name, rows, columns)   printed, and name.csv and name.json
--   run:figure(name, fig)            name.png and name.svg
--   run:once(name, function)         the function's value; when resumed, the saved value
--   run:checkpoint(state)            saves state (plain values, tensors, models) to go on from
--   run:restore()                    that state when resumed, else nil
--   run:result{…}                    fields of result.json
--   run:path(name)                   a path in the run folder for a file of one's own
--   run:progress(what, done, total, note)
--
-- Of several ranks the first has the record; the others have a shadow that keeps
-- nothing, knows the folder and takes part where a value comes from it.
--
-- The folder is runs/<date>-<time>-<recipe>-<4 hex>/.  Every file but the two
-- logs appears complete or not at all; metrics.jsonl is cut back to the last
-- checkpoint when a run is resumed.
local sys = require "hwb.sys"
local hwb = require "hwb"
local json = hwb.json
local text = require "hwb.text"

local Run = {}

-- What a record knows lives here, where a recipe cannot change it.
local state = setmetatable({}, {__mode = "k"})

local meta = {__name = "hwb.run", __metatable = false,
  __index = function(self, key)
    if Run[key] ~= nil then return Run[key] end
    return state[self].public[key]
  end,
  __newindex = function(_, key) error(("run.%s cannot be set"):format(tostring(key)), 2) end}

local M = {}

local function must(ok, why)
  if not ok then sys.raise("EIO", why) end
  return ok
end

local function write_json(path, value)
  must(sys.write(path, json.encode(value, {indent = 2}) .. "\n"))
end

local function check_name(name)
  if type(name) ~= "string" or not name:match("^[%w_][%w_.-]*$") then
    error(("'%s' is no file name: letters, digits, _ . - are"):format(tostring(name)), 3)
  end
  return name
end

-- The git commit of the source tree, and whether files differ from it.
local function git_state()
  if not sys.stat(sys.home .. "/.git") then return nil end
  local hash, status = sys.capture{"git", "-C", sys.home, "rev-parse", "HEAD"}
  if status ~= 0 then return nil end
  local changed = sys.capture{"git", "-C", sys.home, "status", "--porcelain", "-uno"}
  return {commit = hash:gsub("%s+$", ""), dirty = changed ~= ""}
end

local function new_folder(parent, name)
  for _ = 1, 20 do
    local dir = ("%s/%s-%s-%s"):format(parent, os.date("%Y%m%d-%H%M%S"), name, sys.random_hex(4))
    must(sys.mkdir(parent))
    if sys.mkdir(dir, true) then return dir end
  end
  must(sys.mkdir(("%s/%s-%s"):format(parent, name, sys.random_hex(16)), true))
end

local function point_latest(parent, dir)
  sys.symlink(dir:match("[^/]+$"), parent .. "/latest")
end

local function open_log(self, mode)
  local s = state[self]
  s.metrics = must(io.open(s.dir .. "/metrics.jsonl", mode))
  s.log = must(io.open(s.dir .. "/log.txt", mode))
  s.metrics:setvbuf("no")
  s.log:setvbuf("line")
end

-- The folder that rank 0 has made, once it is complete.
local function follow(dir) return (require("hwb.comm").broadcast(dir)) end

local function make(s, public)
  local self = setmetatable({}, meta)
  public.dir, s.public = s.dir, public
  state[self] = s
  return self
end

-- The ranks of a run, for run.json: nil for one process.
local function ranks_of()
  local place = hwb.engine.comm.place()
  return place.size > 1 and {size = place.size, over = place.name, library = place.library} or nil
end

-- What the device says of itself, for run.json; nil for the CPU, which cpu describes.
local function device_is(name)
  if name == "cpu" then return nil end
  local ok, says = sys.device((name:gsub(":.*", "")))
  return ok and says ~= "" and says or nil
end

-- What that device computes in: the options, where it knows them.
local function computes_in(name)
  if name == "cpu" or name == "ref" then return {math = "float32", deterministic = true} end
  return hwb.device_options()
end

-- A new run.  info: name, source, sha256, path, args, argv, seed, device,
-- smoke, parent (the folder that holds run folders), permissions.
function M.start(info)
  local public = {seed = info.seed, smoke = info.smoke or false, resumed = false}
  if hwb.engine.comm.place().rank > 0 then return make({dir = follow(), shadow = true}, public) end
  local dir = new_folder(info.parent, info.name)
  local cpu, build = sys.cpu(), sys.build()
  local record = {
    schema = 1, recipe = info.name, file = info.path, sha256 = info.sha256, argv = json.array(info.argv),
    args = info.args, seed = info.seed, device = info.device, device_options = computes_in(info.device),
    device_is = device_is(info.device), smoke = info.smoke or false,
    threads = cpu.threads, ranks = ranks_of(), host = sys.hostname(), pid = sys.pid(), cwd = sys.cwd(),
    start = sys.now(),
    status = "running", permissions = info.permissions,
    hwb = {version = hwb.version, git = git_state(), build = build}, libraries = sys.libraries(), cpu = cpu}
  local s = {dir = dir, parent = info.parent, record = record, result = {}, files = {}, began = sys.seconds(),
    quiet = info.quiet, to_stderr = info.json, before = 0}
  if info.source then must(sys.write(dir .. "/recipe.lua", info.source)) end
  write_json(dir .. "/run.json", record)
  local self = make(s, public)
  open_log(self, "w")
  point_latest(info.parent, dir)
  follow(dir)
  return self
end

-- Cuts a file back to `size` bytes (it may have grown since the checkpoint).
local function cut(path, size)
  local whole = sys.read(path)
  if whole and #whole > size then must(sys.write(path, whole:sub(1, size))) end
end

-- Continues the run in `dir`.
function M.resume(dir, info)
  local record = must(json.decode(must(sys.read(dir .. "/run.json"))))
  local saved = sys.read(dir .. "/checkpoints/latest.json")
  local checkpoint = saved and json.decode(saved)
  local public = {seed = record.seed, smoke = record.smoke, resumed = true}
  if hwb.engine.comm.place().rank > 0 then
    return make({dir = follow(), shadow = true, checkpoint = checkpoint}, public)
  end
  cut(dir .. "/metrics.jsonl", checkpoint and checkpoint.metrics_bytes or 0)
  record.status, record.pid, record["end"], record.error = "running", sys.pid(), nil, nil
  record.ranks = ranks_of()
  record.resumed = (record.resumed or 0) + 1
  local old = sys.read(dir .. "/result.json")
  local s = {dir = dir, parent = info.parent, record = record, files = {}, began = sys.seconds(),
    result = old and json.decode(old) or {}, quiet = info.quiet, to_stderr = info.json,
    before = record.seconds or 0, checkpoint = checkpoint}
  write_json(dir .. "/run.json", record)
  local self = make(s, public)
  open_log(self, "a")
  point_latest(info.parent, dir)
  follow(dir)
  return self
end

-- ---- for recipes ------------------------------------------------------------

function Run:log(format, ...)
  local line = select("#", ...) > 0 and tostring(format):format(...) or tostring(format)
  local s = state[self]
  if s.shadow then return end
  s.log:write(os.date("%H:%M:%S "), line, "\n")
  if not s.quiet then
    sys.clear_line()
    io.stderr:write(line, "\n")
  end
end

-- A line of the result: stdout (stderr under --json) and log.txt.
function Run:print(line)
  local s = state[self]
  if s.shadow then return end
  s.log:write(line, "\n")
  sys.clear_line()
  local out = s.to_stderr and io.stderr or io.stdout
  out:write(line, "\n")
end

function Run:metric(step, values)
  if math.type(step) ~= "integer" and type(step) ~= "number" then
    error("run:metric(step, values): step is a " .. type(step) .. ", not a number", 2)
  end
  if type(values) ~= "table" then error("run:metric(step, values): values is no table", 2) end
  if state[self].shadow then return end
  local row = {}
  for key, value in pairs(values) do row[key] = value end
  row.step = step
  state[self].metrics:write(json.encode(row), "\n")
end

function Run:table(name, rows, columns)
  check_name(name)
  if type(rows) ~= "table" then error("run:table(name, rows): rows is no table", 2) end
  if state[self].shadow then return end
  local list = json.array{}
  local keys = text.columns(rows, columns)
  for i, row in ipairs(rows) do
    list[i] = {}
    for c, key in ipairs(keys) do
      local value = row[key]
      if value == nil then value = row[c] end
      list[i][tostring(key)] = value
    end
  end
  write_json(self.dir .. "/" .. name .. ".json", {schema = 1, columns = json.array(keys), rows = list})
  must(sys.write(self.dir .. "/" .. name .. ".csv", text.csv(rows, columns)))
  self:print(name .. "\n" .. text.table(rows, columns) .. "\n")
end

function Run:figure(name, figure)
  check_name(name)
  if state[self].shadow then return end
  for _, ending in ipairs{"png", "svg"} do
    local ok, why = figure:save(("%s/%s.%s"):format(self.dir, name, ending))
    if ok == nil and why then sys.raise("EIO", why) end
  end
end

function Run:path(name)
  check_name(name)
  return self.dir .. "/" .. name
end

function Run:result(fields)
  if type(fields) ~= "table" then error("run:result(fields): fields is no table", 2) end
  local s = state[self]
  if s.shadow then return end
  for key, value in pairs(fields) do s.result[key] = value end
  write_json(self.dir .. "/result.json", s.result)
end

function Run.progress(_, what, done, total, note) hwb.progress(what, done, total, note) end

function Run:once(name, compute)
  check_name(name)
  local folder, comm, saver = self.dir .. "/checkpoints", require "hwb.comm", require "hwb.checkpoint"
  local path = ("%s/once-%s.json"):format(folder, name)
  local saved = self.resumed and sys.read(path)
  local value = saved and json.decode(saved)
  if comm.broadcast(value and true or false) then -- rank 0 says whether it is there: all compute, or none
    return saver.load(folder, json.decode(must(sys.read(path))).value)
  end
  local computed = compute()
  if not state[self].shadow then
    must(sys.mkdir(folder))
    write_json(path, {value = saver.save(folder, "once-" .. name, computed)})
  end
  comm.barrier()
  -- the saved value, so that a resumed run goes on with the very same numbers
  return saver.load(folder, json.decode(must(sys.read(path))).value)
end

function Run:checkpoint(values)
  if type(values) ~= "table" then error("run:checkpoint(state): state is no table", 2) end
  local s = state[self]
  if s.shadow then return end
  local folder = self.dir .. "/checkpoints"
  must(sys.mkdir(folder))
  local number = (s.checkpoint and s.checkpoint.number or 0) + 1
  local encoded = require("hwb.checkpoint").save(folder, ("state-%d"):format(number), values)
  s.metrics:flush()
  local info = {number = number, value = encoded, metrics_bytes = sys.stat(self.dir .. "/metrics.jsonl").size,
    time = sys.now(), rng = rawget(hwb, "get_rng_state") and hwb.get_rng_state() or nil}
  write_json(folder .. "/latest.json", info)
  if s.checkpoint then require("hwb.checkpoint").remove(folder, ("state-%d"):format(number - 1)) end
  s.checkpoint = info
end

function Run:restore()
  local s = state[self]
  if not (self.resumed and s.checkpoint) then return nil end
  if s.checkpoint.rng and rawget(hwb, "set_rng_state") then hwb.set_rng_state(s.checkpoint.rng) end
  return require("hwb.checkpoint").load(self.dir .. "/checkpoints", s.checkpoint.value)
end

-- ---- for the program -----------------------------------------------------------

-- Files of the folder with sizes and hashes, for run.json.
local function inventory(dir)
  local files = json.array{}
  for _, name in ipairs(sys.list(dir) or {}) do
    local info = sys.stat(dir .. "/" .. name)
    if info and info.type == "file" and name ~= "run.json" then
      local whole = info.size < 256 * 1024 * 1024 and sys.read(dir .. "/" .. name)
      files[#files + 1] = {name = name, size = info.size, sha256 = whole and sys.sha256(whole) or nil}
    end
  end
  return files
end

-- status: "ok", "failed" or "interrupted".  Runs without the guard, so nothing of
-- `self` that a recipe can set (by rawset) is trusted.
function M.finish(self, status, exit, message)
  local s = state[self]
  if s.shadow then return end
  local record = s.record
  s.log:close()
  s.metrics:close()
  if status == "ok" then write_json(s.dir .. "/result.json", s.result) end
  record.status, record.exit, record.error, record["end"] = status, exit, message, sys.now()
  record.seconds = s.before + sys.seconds() - s.began
  record.device_options = computes_in(record.device) -- a recipe may have set them
  record.files = inventory(s.dir)
  if rawget(hwb, "memory") then record.memory = hwb.memory() end
  write_json(s.dir .. "/run.json", record)
  local ok, html = pcall(function()
    return require("hwb.report").html(require("hwb.records").read(s.dir))
  end)
  if ok then sys.write(s.dir .. "/report.html", html) end
end

function M.result_of(self) return state[self].result or {} end

return M
