-- The environment that recipes run in: an allow-list of Lua's library, frozen
-- tables, text chunks only, and files by permission.
--
-- A recipe may read its own folder, the recipes and data folders, and what the
-- user named; it may write its run folder.  Anything else raises EPERM (exit
-- 7) with the option that would allow it.  The same lists bind the engine's
-- readers and writers (repl/sandbox.c).  A Lua sandbox keeps honest recipes
-- honest; --untrusted adds limits and a fence in the kernel.
local sys = require "hwb.sys"
local hwb = require "hwb"
local errors = require "hwb.errors"
local M = {}

local Box = {}
Box.__index = Box

-- Modules of the library that would lead out of the sandbox.
local hidden = {}
for name in ("checkpoint config errors recipe records report run sandbox settings sys"):gmatch("%a+") do
  hidden["hwb." .. name] = true
end

local function is_hidden(module)
  return hidden[module] or module:match("^hwb%.cmd%.") or module:match("^hwb%.repl%.")
end

-- "hwb.a.b": names between single dots; "hwb..a" and "hwb./a" would find hidden files.
local function is_library_name(name)
  if not name:match("^hwb%.") or name:find("..", 1, true) or name:match("%.$") then return false end
  return name:match("^[%w_.]+$") ~= nil
end

-- ---- frozen tables ------------------------------------------------------------

local proxies = setmetatable({}, {__mode = "k"})

-- A read-only view.  Tables inside a library table are frozen too, modules and classes
-- of layers as well as plain ones: what is changed there would be changed for all.
local function frozen(target, name)
  if proxies[target] then return proxies[target] end
  local function wrap(value, key)
    if type(value) == "table" and type(key) == "string" then return frozen(value, name .. "." .. key) end
    if key == "new" and rawget(target, "super") then -- of the view: of the class behind it
      return function(self, ...) return value(rawequal(self, proxies[target]) and target or self, ...) end
    end
    return value
  end
  local function index(_, key)
    -- other than names would be paths to the module loader: "/sandbox" finds what "sandbox" does
    if type(key) == "string" then
      local full = name .. "." .. key
      if is_hidden(full) then return nil end
      if not key:match("^[%a_][%w_]*$") then return wrap(rawget(target, key), key) end
    end
    return wrap(target[key], key)
  end
  local meta = {__index = index, __metatable = false,
    __newindex = function(_, key) error(("%s.%s: library tables cannot be changed"):format(name, tostring(key)), 2) end,
    __len = function() return #target end,
    __pairs = function()
      return function(_, key)
        local following, value = next(target, key)
        return following, wrap(value, following)
      end, nil, nil
    end}
  local target_meta = debug.getmetatable(target)
  if type(target_meta) == "table" and target_meta.__call then
    meta.__call = function(_, ...) return target(...) end
  end
  local proxy = setmetatable({}, meta)
  proxies[target] = proxy
  return proxy
end

-- ---- guarded functions -----------------------------------------------------------

local function refuse(what, option)
  sys.raise("EPERM", ("the recipe wants to %s; rerun with %s to allow it"):format(what, option))
end

function Box:check(path, mode)
  if self.trusted then return path end
  if type(path) ~= "string" then error("a path is a string, not a " .. type(path), 3) end
  if not sys.allowed(path, mode == "write") then
    refuse(("%s %s"):format(mode, path), ("--allow-%s=%s"):format(mode, path))
  end
  return path
end

-- Metatables that recipes made: the library's own are none of theirs.
local made_by_recipes = setmetatable({}, {__mode = "k"})

local function add_base(env)
  for _, name in ipairs{"assert", "error", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawlen", "rawset",
    "select", "tonumber", "type", "xpcall", "_VERSION"} do env[name] = _G[name] end
  env.getmetatable = function(value)
    local meta = type(value) == "table" and getmetatable(value) or nil
    if type(value) == "table" and getmetatable(value) == false then return false end
    return made_by_recipes[debug.getmetatable(value) or false] and meta or nil
  end
  env.setmetatable = function(value, meta)
    if type(meta) == "table" and rawget(meta, "__gc") ~= nil then
      error("setmetatable: __gc is not for recipes", 2)
    end
    if type(meta) == "table" then made_by_recipes[meta] = true end
    return setmetatable(value, meta)
  end
  env.tostring = function(value)
    local meta = type(value) == "table" and debug.getmetatable(value)
    local named = type(meta) == "table" and (meta.__tostring or meta.__name)
    if type(value) == "table" and not named then return "table" end
    if type(value) == "function" or type(value) == "thread" then return type(value) end
    return (tostring(value):gsub(": 0x%x+$", ""))
  end
  env.collectgarbage = function(what, argument)
    what = what or "collect"
    if what ~= "collect" and what ~= "count" and what ~= "step" then
      error("collectgarbage: only collect, count and step are for recipes", 2)
    end
    return collectgarbage(what, argument)
  end
  env.load = function(chunk, name, _, environment)
    return load(chunk, name or "=load", "t", environment == nil and env or environment)
  end
end

-- string without dump; rep cannot ask for more than the cap at once.
local function safe_string(env)
  local safe = {}
  for name, f in pairs(string) do safe[name] = f end
  safe.dump = nil
  safe.rep = function(s, n, separator)
    if #tostring(s) + #(separator or "") > 0 and n > 0
      and (#tostring(s) + #(separator or "")) * n > 256 * 1024 * 1024 then
      error("string.rep: more than 256 MiB", 2)
    end
    return string.rep(s, n, separator)
  end
  safe.format = function(format, ...)
    if type(format) == "string" and format:gsub("%%%%", ""):find("%%[^%a]*p") then
      error("string.format: %p is not for recipes", 2)
    end
    local values = table.pack(...)
    for i = 1, values.n do
      local kind = type(values[i])
      if kind == "table" or kind == "function" or kind == "thread" then values[i] = env.tostring(values[i]) end
    end
    return string.format(format, table.unpack(values, 1, values.n))
  end
  return safe
end

local function add_os(env, box)
  env.os = {clock = os.clock, date = os.date, time = os.time, difftime = os.difftime}
  env.os.getenv = function(name)
    if not box.trusted and not box.environment[name] then
      refuse("read the environment variable " .. tostring(name), "--allow-env=" .. tostring(name))
    end
    return os.getenv(name)
  end
  env.os.execute = function(command)
    if not box.may_run then refuse("start a program", "--allow-run") end
    return os.execute(command)
  end
  env.os.remove = function(path)
    box:check(path, "write")
    return box.silent or os.remove(path)
  end
  env.os.rename = function(from, to)
    box:check(from, "write")
    box:check(to, "write")
    return box.silent or os.rename(from, to)
  end
end

local function add_io(env, box)
  env.io = {stdout = io.stdout, stderr = io.stderr}
  env.io.write = function(...)
    box:say(table.concat({...}))
    return io.stdout
  end
  env.io.open = function(path, mode)
    mode = mode or "r"
    if not tostring(mode):match("^[rwa]%+?b?$") then error("io.open: invalid mode", 2) end
    if mode:find("r", 1, true) then box:check(path, "read") end
    if mode:find("[wa+]") then
      box:check(path, "write")
      if box.silent then path = "/dev/null" end
    end
    return io.open(path, mode)
  end
  env.io.lines = function(path, ...) return io.lines(box:check(path, "read"), ...) end
  env.io.type = io.type
  env.io.popen = function(command, mode)
    if not box.may_run then refuse("start a program", "--allow-run") end
    return io.popen(command, mode)
  end
end

-- Modules: the library, and Lua files beside the recipe (in the same environment).
local function add_require(env, box, folder)
  local loaded = {hwb = env.hwb}
  env.require = function(name)
    if type(name) ~= "string" then error("require: a name is a string", 2) end
    if loaded[name] ~= nil then return loaded[name] end
    if is_library_name(name) and not is_hidden(name) then
      local value = require(name)
      loaded[name] = type(value) == "table" and getmetatable(value) == nil and frozen(value, name) or value
      return loaded[name]
    end
    if not name:match("^[%w_]+[%w_.]*$") or name:find("..", 1, true) or name:match("^hwb%f[%W]") then
      error(("require: '%s' is no module name"):format(name), 2)
    end
    local path = ("%s/%s.lua"):format(folder, name:gsub("%.", "/"))
    local source = sys.stat(path) and sys.read(box:check(path, "read"))
    if not source then error(("require: no module '%s' in the library or beside the recipe"):format(name), 2) end
    local value = assert(load(source, "@" .. path, "t", env))(name)
    loaded[name] = value == nil and true or value
    return loaded[name]
  end
end

-- Text of print and io.write: stdout and log.txt.
function Box:say(text)
  if self.record then
    self.pending = (self.pending or "") .. text
    local whole, rest = self.pending:match("^(.*)\n([^\n]*)$")
    if whole then
      self.pending = rest
      self.record:print(whole)
    end
  else
    sys.clear_line()
    io.stdout:write(text)
  end
end

local function make_environment(box, folder)
  local env = {}
  add_base(env)
  env._G = env
  env.math, env.table, env.utf8 = frozen(math, "math"), frozen(table, "table"), frozen(utf8, "utf8")
  env.string = frozen(safe_string(env), "string")
  env.coroutine = frozen({create = coroutine.create, resume = coroutine.resume, yield = coroutine.yield,
    wrap = coroutine.wrap, status = coroutine.status, running = coroutine.running,
    isyieldable = coroutine.isyieldable}, "coroutine")
  env.debug = frozen({traceback = debug.traceback}, "debug")
  env.hwb = frozen(hwb, "hwb")
  env.print = function(...)
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = env.tostring(parts[i]) end
    box:say(table.concat(parts, "\t") .. "\n")
  end
  add_os(env, box)
  add_io(env, box)
  add_require(env, box, folder)
  return env
end

-- ---- permissions ---------------------------------------------------------------------

-- Recipes whose hash the user has put into ~/.config/hwb/trusted (one a line).
local function is_trusted_by_hash(sha256)
  local config = os.getenv("XDG_CONFIG_HOME") or (os.getenv("HOME") or "") .. "/.config"
  local list = sys.read(config .. "/hwb/trusted", 1024 * 1024)
  return list ~= nil and list:find(sha256, 1, true) ~= nil
end

function M.data_folder()
  local data = os.getenv("HWB_DATA")
  if data and data ~= "" then return data end
  local base = os.getenv("XDG_DATA_HOME")
  if not base or base == "" then base = (os.getenv("HOME") or "/") .. "/.local/share" end
  return base .. "/hwb"
end

function Box:allow(mode, paths)
  for _, path in ipairs(paths) do
    sys.permit(path, mode == "write")
    local list = self.permissions[mode]
    list[#list + 1] = sys.realpath(path) or path
  end
end

-- The environment for a recipe file; permissions as the options say.
function M.new(file, options)
  local folder = require("hwb.recipe").folder(sys.realpath(file.path) or file.path)
  local box = setmetatable({trusted = (options.trust or is_trusted_by_hash(file.sha256)) and not options.untrusted,
    may_run = options["allow-run"], environment = {}}, Box)
  box.silent = hwb.engine.comm.place().rank > 0 -- only rank 0 writes
  box.may_run = box.may_run or box.trusted
  for _, name in ipairs(options["allow-env"] or {}) do box.environment[name] = true end
  box.permissions = {trusted = box.trusted or false, run = box.may_run or false,
    env = hwb.json.array{table.unpack(options["allow-env"] or {})}, read = hwb.json.array{}, write = hwb.json.array{}}
  box:allow("read", {folder, sys.home, M.data_folder()})
  box:allow("read", options["allow-read"] or {})
  box:allow("write", options["allow-write"] or {})
  box.options = options
  if box.trusted then
    box.env = setmetatable({}, {__index = _G})
    box.env._G = box.env
    return box
  end
  box.env = make_environment(box, folder)
  -- methods of strings are reached without the global `string`
  local strings = debug.getmetatable("")
  strings.__index, strings.__metatable = safe_string(box.env), false
  sys.guard(true)
  return box
end

-- From here on the run folder may be written.
function Box:enter(record)
  self.record = record
  self:allow("write", {record.dir})
  self:allow("read", {record.dir})
  sys.guard(not self.trusted)
  if self.trusted then self.env.print = function(...)
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    self:say(table.concat(parts, "\t") .. "\n")
  end end
  if self.options.untrusted then M.limit(self.options, self.permissions) end
end

function Box:leave()
  if self.pending and self.pending ~= "" then self.record:print(self.pending) end
  self.pending, self.record = nil, nil
  -- the guard stays: finalizers and error values of the recipe may still be called
  if self.options.untrusted then sys.unlimit() end
end

-- What a recipe raised as the program may handle it: known fields, and a text that was
-- asked for in its own surroundings.
function Box.settled(_, failure)
  local value = type(failure.error) == "table" and failure.error or nil
  local code, exit = value and rawget(value, "code"), value and rawget(value, "exit")
  local ok, message = pcall(errors.parts, failure)
  if not ok then message = "an error value that has no text was raised" end
  if code == "EINTR" and sys.time_is_up() then
    code, exit, message = "EPERM", 7, "the untrusted recipe used up its time"
  end
  if type(code) ~= "string" then return {error = message, traceback = failure.traceback} end
  return {traceback = failure.traceback, error = setmetatable({code = code, message = message,
    exit = math.type(exit) == "integer" and exit > 0 and exit < 256 and exit or 1},
    {__tostring = function() return message end})}
end

-- --untrusted: budgets, and a fence in the kernel around the permitted paths.
-- HWB_LIMITS="seconds=600,instructions=1e9,heap_mib=256,engine_mib=4096" changes them.
function M.limit(options, permissions)
  local limits = {seconds = 3600, instructions = 1e11, heap_mib = 256, engine_mib = 8192}
  for key, value in (os.getenv("HWB_LIMITS") or ""):gmatch("([%a_]+)=([%d.e+]+)") do
    if limits[key] == nil then errors.usage("HWB_LIMITS: unknown limit '%s'", key) end
    limits[key] = tonumber(value)
  end
  local fenced, why = sys.fence(permissions and permissions.read or {sys.home}, permissions and permissions.write or {},
    options["allow-run"] or false)
  if not fenced and not options.quiet then
    io.stderr:write("hwb: no fence in the kernel (", why, "); only the limits inside the program hold\n")
  end
  sys.limit(limits.seconds, limits.instructions, limits.heap_mib, limits.engine_mib)
  if permissions then permissions.fence, permissions.limits = fenced or false, limits end
end

return M
