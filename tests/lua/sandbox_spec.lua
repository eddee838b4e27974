-- Recipes in their sandbox: one test for each way out that Lua offers.  Every
-- case is a recipe run by the program itself, in a process of its own.
local sys = require "hwb.sys"

local folder = os.tmpname()
os.remove(folder)
sys.mkdir(folder)
local function write(name, text) assert(sys.write(folder .. "/" .. name, text)) end

local function quote(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

-- Runs a recipe whose run function is `body`; all its output, and the status.
local function recipe(body, options, environment)
  write("case.lua", "return {run = function(hwb, args, run)\n" .. body .. "\nend}\n")
  local line = ("cd %s && %s %s run -q %s case.lua 2>&1"):format(quote(folder), environment or "",
    quote(sys.realpath("/proc/self/exe")), options or "")
  return sys.capture{"sh", "-c", line}
end

local function works(body, options, environment)
  local out, status = recipe(body, options, environment)
  assert.equal(0, status, out)
  return out
end

local function refused(body, hint, options, environment)
  local out, status = recipe(body, options, environment)
  assert.equal(7, status, out)
  assert.matches(hint, out, 1, true)
end

describe("the sandbox of recipes", function()
  teardown(function() sys.capture{"rm", "-rf", folder} end)

  it("runs honest work", function()
    local out = works[[
      local t = setmetatable({}, {__index = function(_, k) return k end})
      print(t.x, ("ab"):rep(2), string.format("%5.2f|%s", 1, "s"), math.max(1, 2), #table.pack(1, 2))
      local co = coroutine.wrap(function() coroutine.yield(7) end)
      print(co(), pcall(error, "x"), select("#", 1, 2), utf8.char(955), os.time() > 0)
      print(load("return 1 + 1")(), type(hwb.randn(2)), require("hwb.text").bytes(2048))]]
    assert.matches("x\tabab\t 1.00|s\t2\t2", out, 1, true)
    assert.matches("2\tuserdata\t2.0 KiB", out, 1, true)
  end)

  describe("load", function()
    it("takes no bytecode", function()
      local code = string.dump(function() return 1 end):gsub(".", function(c) return ("\\%03d"):format(c:byte()) end)
      assert.matches("nil\tattempt to load a binary chunk", works('print(load("' .. code .. '", "b", "b"))'), 1, true)
    end)
    it("gives the recipe's environment", function()
      assert.equal("nil\tnil\n", works[[print(load("return io.output, dofile")())]])
    end)
  end)

  it("has no string.dump, not by methods either", function()
    assert.equal("nil\tnil\n", works[[print(string.dump, (("").dump))]])
  end)

  it("does not give out the metatable of strings", function()
    assert.equal("nil\n", works[[print(getmetatable(""))]])
  end)

  it("does not let strings be changed", function()
    works[[assert(not pcall(function() string.rep = nil end)) assert(("x"):rep(2) == "xx")]]
  end)

  it("refuses __gc", function()
    assert.matches("false\t.*__gc", works[[print(pcall(setmetatable, {}, {__gc = function() end}))]])
    works[[local m = {} setmetatable({}, m) m.__gc = function() run:result{escaped = true} end collectgarbage()]]
  end)

  it("has an allow-list of globals", function()
    local out = works[[
      local names = {}
      for name in pairs(_G) do names[#names + 1] = name end
      table.sort(names) print(table.concat(names, " "))]]
    assert.equal("_G _VERSION assert collectgarbage coroutine debug error getmetatable hwb io ipairs load math next os "
      .. "pairs pcall print rawequal rawget rawlen rawset require select setmetatable string table tonumber tostring "
      .. "type utf8 xpcall\n", out)
  end)

  it("has the harmless parts of debug, os, io and coroutine only", function()
    local out = works[[
      for _, name in ipairs{"debug", "os", "io", "coroutine"} do
        local names = {}
        for key in pairs(_G[name]) do names[#names + 1] = key end
        table.sort(names) print(table.concat(names, " "))
      end]]
    assert.equal("traceback\nclock date difftime execute getenv remove rename time\n"
      .. "lines open popen stderr stdout type write\ncreate isyieldable resume running status wrap yield\n", out)
  end)

  it("freezes library tables", function()
    for _, body in ipairs{"hwb.version = 1", "math.pi = 3", "hwb.json.encode = 1", "table.insert = nil",
      "coroutine.wrap = 1", "debug.traceback = 1", "run.dir = '/'"} do
      assert.matches("false", works("print(pcall(function() " .. body .. " end))"), 1, true)
    end
  end)

  it("hides the program's own modules", function()
    for _, name in ipairs{"hwb.sys", "hwb.sandbox", "hwb.run", "hwb.cmd.run", "hwb.repl.session", "io", "os", "debug",
      "lfs", "posix", "../case",
      "hwb..sandbox", "hwb./sandbox", "hwb..cmd.run", "hwb.cmd..run", "hwb.nn/../sandbox",
      "hwb.sandbox.", "hwb/sandbox"} do
      assert.matches("^false", works(("print(pcall(require, %q))"):format(name)))
    end
    assert.equal("nil\tnil\n", works[[print(hwb.sys, hwb.sandbox)]])
  end)

  it("locks the metatables of objects", function()
    assert.equal("nil\tfalse\n", works[[print(getmetatable(hwb.zeros(1)), getmetatable(run))]])
    assert.equal("false\tfalse\n", works[[
      local _, e = pcall(io.open, "/etc/passwd")
      print(getmetatable(e), getmetatable(hwb.json.array{}))]])
  end)

  it("freezes modules and classes of layers, which can be called and extended all the same", function()
    assert.equal("false\tfalse\tfalse\ttrue\t2x3\nMine 2x3 (14 parameters)\n", works[[
      local nn = hwb.nn
      local Mine = nn.Linear:extend("Mine")
      function Mine:init(o)
        nn.Linear.init(self, o)
        self.more = nn.Linear:new(2, 2)
        self.seq = nn.Sequential(nn.ReLU())
      end
      function Mine:forward(x) return self.seq(nn.Linear.forward(self, x)) end
      local m = Mine{3, 2}
      print(pcall(function() nn.Linear.forward = nil end), (pcall(function() hwb.nn.Linear = nil end)),
        (pcall(function() hwb.models.resnet20 = nil end)), nn.Module.is_module(m),
        m(hwb.ones(2, 3)):size() == nil or "2x3")
      print((tostring(m):match("^[^\n]*")))]]:gsub("\t[^\t]*cannot be changed", ""))
  end)

  it("gives out no metatable of the library, whose finalizer would run after the recipe", function()
    assert.equal("nil\tnil\tfalse\tnil\n", works[[
      print(hwb.nn.Module:extend("X").__meta, getmetatable(hwb.zeros(2):size()), getmetatable(hwb.nn.ReLU()),
        getmetatable(hwb.zeros(1)))]])
    assert.equal("mine\n", works[[print(getmetatable(setmetatable({}, {name = "mine"})).name)]])
  end)

  it("asks an error value for its text before the guard is lifted", function()
    local out, status = recipe[[
      error(setmetatable({}, {__tostring = function()
        local ok, f = pcall(io.open, "/etc/passwd")
        return ok and f and f:read("a") or "refused"
      end}))]]
    assert.equal(1, status)
    assert.matches("refused", out, 1, true)
    assert.is_nil(out:find("root:", 1, true))
  end)

  it("keeps the guard to the end of the program", function()
    local out = recipe[[
      local t = setmetatable({}, {__pairs = function() print(pcall(io.open, "/etc/passwd")) return next, {}, nil end})
      run:result{a = t}]]
    assert.is_nil(out:find("true", 1, true))
  end)

  it("shows no addresses", function()
    local out = works[[
      print({}, print, coroutine.create(print), string.format("%s", {}))
      print(pcall(string.format, "%p", {}))]]
    assert.not_matches("0x", out, 1, true)
  end)

  it("keeps collectgarbage from being stopped", function()
    assert.matches("^false", works[[print(pcall(collectgarbage, "stop"))]])
    assert.matches("^number", works[[print(type(collectgarbage("count")))]])
  end)

  describe("files", function()
    setup(function()
      sys.mkdir(folder .. "/data")
      sys.mkdir(folder .. "/elsewhere")
      write("data/numbers.txt", "one two")
    end)

    it("reads its own folder and writes the run folder", function()
      assert.equal("one two\nmine\n", works[[
        print(io.open("data/numbers.txt"):read("a"))
        local f = io.open(run:path("own.txt"), "w") f:write("mine") f:close()
        for line in io.lines(run:path("own.txt")) do print(line) end]])
    end)
    it("reads nothing else", function()
      refused([[io.open("/etc/passwd")]], "--allow-read=/etc/passwd")
      refused([[io.lines("/etc/passwd")]], "--allow-read")
      refused([[io.open("data/../../../etc/passwd")]], "--allow-read")
      refused([[hwb.models.c1{}:load("/etc/passwd")]], "--allow-read")
    end)
    it("writes nothing else", function()
      refused([[io.open("data/new.txt", "w")]], "--allow-write=data/new.txt")
      refused([[io.open("data/numbers.txt", "r+")]], "--allow-write")
      refused([[io.open("data/numbers.txt", "a")]], "--allow-write")
      refused([[os.remove("data/numbers.txt")]], "--allow-write")
      refused([[os.rename(run:path("x"), "data/y")]], "--allow-write")
      refused([[hwb.models.c1{}:save("/tmp/escaped.safetensors")]], "--allow-write")
      assert.is_nil(sys.stat("/tmp/escaped.safetensors"))
    end)
    it("does not follow links out", function()
      sys.symlink("/etc/passwd", folder .. "/data/link")
      sys.symlink("/tmp/nowhere-yet", folder .. "/data/dangling")
      refused([[io.open("data/link")]], "--allow-read")
      refused([[io.open("data/dangling", "w")]], "--allow-write", "--allow-read=.")
    end)
    it("cannot move the run folder", function()
      refused([[rawset(run, "dir", "/tmp") run:table("x", {{a = 1}})]], "--allow-write")
    end)
    it("grants what the user grants", function()
      works([[io.open("/etc/passwd"):close()]], "--allow-read=/etc/passwd")
      works([[io.open("elsewhere/x", "w"):close()]], "--allow-write=elsewhere")
      refused([[io.open("elsewhere2", "w")]], "--allow-write", "--allow-write=elsewhere")
    end)
  end)

  it("starts no programs", function()
    refused([[os.execute("true")]], "--allow-run")
    refused([[io.popen("true")]], "--allow-run")
    works([[assert(os.execute("true"))]], "--allow-run")
  end)

  it("reads no environment", function()
    refused([[os.getenv("HOME")]], "--allow-env=HOME")
    works([[assert(os.getenv("HOME"))]], "--allow-env HOME")
  end)

  it("is lifted by --trust", function()
    works([[assert(os.getenv("PATH")) assert(io.open("/etc/passwd")) assert(string.dump)]], "--trust")
  end)

  it("is lifted for recipes whose hash is listed", function()
    local body = [[assert(io.open("/etc/passwd"))]]
    refused(body, "--allow-read")
    sys.mkdir(folder .. "/config/hwb")
    write("config/hwb/trusted", sys.sha256(assert(sys.read(folder .. "/case.lua"))) .. "\n")
    local environment = "XDG_CONFIG_HOME=" .. folder .. "/config"
    works(body, nil, environment)
    refused(body, "--allow-read", "--untrusted", environment)
  end)

  it("confines the main chunk too", function()
    write("case.lua", "io.open('/etc/passwd')\nreturn {run = function() end}\n")
    local _, status = sys.capture{"sh", "-c", ("cd %s && %s run case.lua 2>&1"):format(quote(folder),
      quote(sys.realpath("/proc/self/exe")))}
    assert.equal(7, status)
  end)

  it("bounds string.rep", function()
    assert.matches("^false", works[[print(pcall(string.rep, "x", 2 ^ 40))]])
    assert.matches("^false", works[[print(pcall(("x").rep, "x", 2 ^ 40))]])
  end)

  describe("--untrusted", function()
    it("runs honest work", function()
      works([[print(hwb.randn(3)) run:table("t", {{a = 1}}) run:result{x = 1}]], "--untrusted")
    end)
    it("ends endless loops, whatever pcall says", function()
      refused([[while true do pcall(function() while true do end end) end]], "instructions", "--untrusted",
        "HWB_LIMITS=instructions=1e7")
      refused([[coroutine.wrap(function() while true do end end)()]], "instructions", "--untrusted",
        "HWB_LIMITS=instructions=1e7")
    end)
    it("ends long calls by the clock", function()
      local _, status = recipe([[("x"):rep(36):find(("x*"):rep(30) .. "y")]], "--untrusted", "HWB_LIMITS=seconds=1")
      assert.equal(7, status)
    end)
    it("says that time is up when the engine was stopped for it", function()
      refused("local m = hwb.models.resnet20{} for i = 1, 1e4 do m(hwb.zeros(64, 3, 32, 32)) end", "its time",
        "--untrusted", "HWB_LIMITS=seconds=2")
    end)
    it("bounds the Lua heap", function()
      local out, status = recipe([[local t = {} for i = 1, 1e8 do t[i] = ("x"):rep(1000) .. i end]], "--untrusted",
        "HWB_LIMITS=heap_mib=32")
      assert.equal(5, status, out)
    end)
    it("bounds the engine's memory", function()
      local out, status = recipe([[local t = {} for i = 1, 100 do t[i] = hwb.zeros(1024, 1024) end]], "--untrusted",
        "HWB_LIMITS=engine_mib=64")
      assert.equal(5, status, out)
    end)
    it("cannot be trusted at the same time", function()
      refused([[io.open("/etc/passwd")]], "--allow-read", "--trust --untrusted")
    end)
  end)
end)
