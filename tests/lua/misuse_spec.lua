-- Whatever a script hands to whatever function, it gets a result or an error:
-- thousands of calls with random arguments, plain and traced.  (A crash ends the
-- test run; the sanitizers see the rest.)
local function arguments(draw)
  local tensors = {
    hwb.ones(2, 3), hwb.zeros(0), hwb.tensor(3), hwb.tensor({1, 2, 3}, {dtype = "int64"}),
    hwb.tensor{true, false, true},
    hwb.randn(3, 3, {dtype = "float64"}), hwb.ones(1, 1, 4, 4), hwb.zeros(2, 0, 3), hwb.ones(3, 1):expand(3, 2),
    hwb.arange(1, 6):reshape(2, 3):t(), hwb.tensor{0, 0 / 0, 1 / 0}, hwb.ones(1, 1, 1, 1, 1, 1, 1, 1),
    hwb.full({3}, 200, {dtype = "uint8"}), hwb.tensor({1, 2}, {dtype = "int32"}), hwb.ones(2, 2), hwb.ones(2),
  }
  local others = {
    0, 1, 2, 3, -1, -2, 5, 1.5, 0 / 0, 1 / 0, -1 / 0, math.maxinteger, math.mininteger, 1e300, 64,
    "", "float64", "mean", "none", true, false, print, function(x) return x end, function(x) return x:sum() end,
    {}, {1}, {1, 2}, {2, -1}, {{1, 2}, {}}, {{}}, {0}, {1.5}, {{2, 1}}, {{1, 3, 2}},
    {{math.mininteger, math.maxinteger}},
    {keep = true}, {dtype = "float64"}, {dtype = "bool"}, {stride = 0}, {stride = 2, padding = 1}, {padding = {1, 2}},
    {kernel = 2}, {p = 0 / 0}, {correction = 3}, {reduction = "none"}, {eps = 0}, {smoothing = 0.5}, {mask = false},
    {groups = 2}, {dilation = 1000000}, {descending = true}, {ceil = true, stride = 3},
    {tensors[1], tensors[1]}, {tensors[5], tensors[1]}, {tensors[6], tensors[6]},
  }
  return function()
    local what = draw(20)
    if what == 20 then return nil end
    if what > 10 then return others[draw(#others)] end
    return tensors[draw(#tensors)]
  end, tensors
end

-- Functions that change the state of the program, or make tensors as large as they are told.
local not_called = {}
for name in ([[manual_seed set_rng_state set_device device threads scope progress load save cuda hessian ggn fisher
  memory_reset_peak rand randn zeros ones full eye arange linspace randperm randint rademacher]]):gmatch("%S+") do
  not_called[name] = true
end

local function functions()
  local list, meta = {}, debug.getmetatable(hwb.ones(1))
  local _, methods = debug.getupvalue(meta.__index, 1)
  local function add(from, prefix)
    for name, f in pairs(from) do
      if type(f) == "function" and debug.getinfo(f, "S").what == "C" and not not_called[name] and name ~= "__gc" then
        list[#list + 1] = {name = prefix .. name, call = f}
      end
    end
  end
  add(hwb, "hwb.")
  add(methods, "t:")
  add(meta, "")
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

describe("random arguments", function()
  it("give results or errors", function()
    local state = 12345
    local function draw(n) -- a generator of its own, so that the calls are always the same
      state = (state * 1103515245 + 12345) % (1 << 31)
      return (state >> 8) % n + 1
    end
    hwb.manual_seed(1)
    local argument, tensors = arguments(draw)
    local list, results, errors = functions(), 0, 0
    assert.is_true(#list > 200, #list .. " functions")
    local function attempt()
      local given = {n = draw(6) - 1}
      for i = 1, given.n do given[i] = argument() end
      local f = list[draw(#list)]
      if f.name:sub(1, 2) == "t:" and given.n == 0 then given[1], given.n = tensors[draw(#tensors)], 1 end
      local ok, value = pcall(f.call, table.unpack(given, 1, given.n))
      if ok then results = results + 1 else errors = errors + 1 end
      if not ok then assert.is_truthy(type(value) == "string" or value.code, f.name) end
      return ok and value
    end
    for i = 1, 6000 do
      if i % 3 > 0 then attempt()
      else
        pcall(hwb.grad(function(x)
          tensors[1] = x
          local y = attempt()
          return hwb.is_tensor(y) and y:is_traced() and y:sum() or x:sum()
        end), hwb.ones(2, 3))
        tensors[1] = hwb.ones(2, 3)
      end
    end
    assert.is_true(results > 1000 and errors > 1000, results .. " results, " .. errors .. " errors")
  end)
end)
