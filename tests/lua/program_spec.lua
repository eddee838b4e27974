-- Parts of the program that are plain Lua: arguments, the reader of Lua text,
-- tables, checkpoints, errors, completion.
describe("recipe arguments", function()
  local args = require "hwb.args"
  local rows = args.declarations{bits = {default = 4, min = 1, smoke = 2}, fast = false, rate = 0.1,
    mode = {default = "a", choices = {"a", "b"}}, list = {default = {1, 2}}, n = {type = "integer", default = 3}}

  local function resolve(words, sets, smoke)
    return (args.resolve(rows, args.pairs(rows, sets or {}, words or {}), smoke))
  end

  it("have defaults, and others under --smoke", function()
    assert.same({bits = 4, fast = false, rate = 0.1, mode = "a", list = {1, 2}, n = 3}, resolve())
    assert.equal(2, resolve({}, {}, true).bits)
  end)
  it("are converted", function()
    local got = resolve({"--bits", "8", "--fast", "--list=1,2.5,x", "--rate", "1e-3"}, {"mode=b"})
    assert.same({bits = 8, fast = true, rate = 1e-3, mode = "b", list = {1, 2.5, "x"}, n = 3}, got)
    assert.equal("integer", math.type(got.bits))
    assert.is_false(resolve{"--fast", "no"}.fast)
    assert.equal(4.5, resolve{"--bits", "4.5"}.bits)
    assert.equal("a=b", args.resolve(args.declarations{s = ""}, {{"s", "a=b"}}).s)
  end)
  it("are refused when they do not fit", function()
    for _, words in ipairs{{"--bits", "x"}, {"--bits", "0"}, {"--mode", "c"}, {"--n", "1.5"}, {"--fast=maybe"},
      {"word"}, {"--bits"}, {"--bist", "1"}} do
      local ok, e = pcall(resolve, words)
      assert.is_false(ok)
      assert.equal(2, e.exit)
    end
    assert.has_error(function() args.declarations{bits = {defualt = 1}} end)
    local methods = args.declarations{methods = {default = {"a"}, choices = {"a", "b"}}}
    assert.same({"b", "a"}, args.resolve(methods, {{"methods", "b,a"}}).methods)
    assert.has_error(function() args.resolve(methods, {{"methods", "b,c"}}) end)
  end)
end)

describe("the reader of Lua text", function()
  local lex = require "hwb.lex"
  it("tells recipes from scripts", function()
    for _, text in ipairs{"return {}", "local x = 1 return {x}", "if a then b() end return {}",
      "local f = function() return 1 end\nreturn f", "repeat local x until true return 1",
      "for i = 1, 2 do while true do break end end return {}", "#!/usr/bin/hwb\nreturn 1"} do
      assert.is_true(lex.returns(text), text)
    end
    for _, text in ipairs{"print(1)", "local f = function() return 1 end", "-- return", "x = 'return'",
      "--[==[ return ]==] f()", "if x then return end", "x = [[\nreturn 1]]", ""} do
      assert.is_false(lex.returns(text), text)
    end
  end)
  it("lifts locals of the session", function()
    local cases = {["local x = 1"] = "x = 1", ["local a, b = f()"] = "a, b = f()", ["local x"] = "x = nil",
      ["local function f() local y = 1 end"] = "function f() local y = 1 end",
      ["do local x = 1 end"] = "do local x = 1 end", ["local x <close> = 1"] = "local x <close> = 1",
      ["local x <const> = 1"] = "x  = 1",
      ["print('local x')"] = "print('local x')", ["local x = 1; local y"] = "x = 1; y = nil"}
    for text, want in pairs(cases) do assert.equal(want, lex.lift_locals(text)) end
  end)
end)

describe("tables as text", function()
  local text = require "hwb.text"
  it("are aligned, numbers to the right", function()
    assert.equal("name   v\n----  --\na      1\nbé    20", text.table({{name = "a", v = 1}, {name = "bé", v = 20}}))
  end)
  it("are CSV as RFC 4180 has it", function()
    assert.equal('a,b\r\n1,"x ""y"", z"\r\n0.10000000000000001,\r\n',
      text.csv({{a = 1, b = 'x "y", z'}, {a = 0.1}}, {"a", "b"}))
  end)
end)

describe("checkpoints", function()
  local checkpoint, sys = require "hwb.checkpoint", require "hwb.sys"
  local folder = os.tmpname()
  setup(function() os.remove(folder) sys.mkdir(folder) end)
  teardown(function() sys.capture{"rm", "-rf", folder} end)

  local function round_trip(value)
    local saved = hwb.json.decode(hwb.json.encode(checkpoint.save(folder, "state", value)))
    return checkpoint.load(folder, saved)
  end

  it("keep plain values to the bit", function()
    local value = {x = 1 / 3, n = 7, s = "text", t = true, list = {1, 2, 3}, empty = {}, keys = {[2] = "a", [8] = "b"},
      mixed = {1, 2, name = "m"}, inf = math.huge, deep = {{{1.5}}}}
    assert.same(value, round_trip(value))
    local nan = round_trip{x = 0 / 0}.x
    assert.is_true(nan ~= nan)
    assert.equal("float", math.type(round_trip{x = 2.0}.x))
    assert.equal("integer", math.type(round_trip{x = 2}.x))
  end)
  it("keep tensors", function()
    local t = hwb.randn(3, 4)
    local got = round_trip{w = t, list = {hwb.tensor{1, 2}:to("int64")}}
    assert.tensor_near(t, got.w, {rtol = 0, atol = 0})
    assert.equal("int64", got.list[1]:dtype())
  end)
  it("refuse functions and cycles", function()
    assert.has_error(function() round_trip{f = print} end)
    local loop = {}
    loop.loop = loop
    assert.has_error(function() round_trip(loop) end)
  end)
end)

describe("errors", function()
  local errors = require "hwb.errors"
  it("are one line, the source line, and frames of the user", function()
    local path = os.tmpname() .. ".lua"
    local f = assert(io.open(path, "w"))
    f:write("local function inner() error('bad') end\nlocal function outer() inner() end\nouter()\n")
    f:close()
    local failure = errors.attempt(assert(loadfile(path)))
    local text = errors.text(failure)
    assert.matches("^hwb: [^\n]*:1: bad\n     1 | local function inner", text)
    assert.matches("in upvalue 'inner'", text, 1, true)
    assert.not_matches("xpcall", text, 1, true)
    os.remove(path)
  end)
  it("name the user's line when the library complains", function()
    local failure = errors.attempt(function() hwb.data.shapes10{splti = "test"} end)
    assert.matches("program_spec.lua:%d+: .*splti", errors.text(failure))
  end)
  it("keep codes", function()
    local failure = errors.attempt(function() require("hwb.sys").raise("EFORMAT", "x.pth: bad") end)
    assert.equal("EFORMAT", select(3, errors.parts(failure)))
    assert.matches("^hwb: x.pth: bad", errors.text(failure))
  end)
end)

describe("completion", function()
  local complete = require("hwb.repl.complete").complete
  local function first(line) return (complete(line, #line)) end
  it("knows globals, fields, methods and keywords", function()
    assert.same({"string.format"}, first("x = string.form"))
    assert.same({"return"}, first("retu"))
    local words = first("hwb.mo")
    assert.same({"hwb.mod", "hwb.models"}, words)
    _G.some_tensor = hwb.zeros(2)
    assert.same({"some_tensor:matmul"}, first("some_tensor:matm"))
    _G.some_tensor = nil
    assert.same({}, first("no_such.thing"))
  end)
  it("knows modules, paths and keys", function()
    assert.same({"hwb.models"}, first('require "hwb.mode'))
    _G.state = {["layer1.weight"] = 1, other = 2}
    assert.same({"layer1.weight"}, first('state["layer'))
    _G.state = nil
    assert.same({"/etc/debian_version"}, first('io.open("/etc/debian_v'))
  end)
  it("gives the suffix of what is found", function()
    local _, at, suffix = complete("string.form", 11)
    assert.equal(0, at)
    assert.equal("(", suffix)
  end)
end)
