-- lua/meta: examples compile, and those that state a result give it; every method
-- of curvature operators has an entry.
local help = require "hwb.help"
local sys = require "hwb.sys"

-- The fenced examples of one file, each a list of lines.
local function examples(file)
  local out, block = {}, nil
  for line in io.lines(sys.home .. "/lua/meta/" .. file) do
    local text = line:match("^%-%-%-%s?(.*)$")
    if text and text:match("^```") then
      if block then out[#out + 1], block = block, nil else block = {} end
    elseif block then block[#block + 1] = text end
  end
  return out
end

local all = {}
for _, file in ipairs(sys.list(sys.home .. "/lua/meta")) do
  for _, lines in ipairs(examples(file)) do all[#all + 1] = lines end
end

describe("the reference", function()
  it("has an entry for every method of operators", function()
    require "hwb.curvature"
    local missing = {}
    for name in pairs(hwb.operator_methods) do
      if #help.find("Operator:" .. name) == 0 then missing[#missing + 1] = name end
    end
    assert.same({}, missing)
    assert.is_function(hwb.operator_methods.eigs)
  end)

  it("has examples that compile", function()
    for _, lines in ipairs(all) do
      local text = table.concat(lines, "\n")
      assert.is_truthy(load("return " .. text) or load(text), text)
    end
    assert.is_true(#all > 90, #all .. " examples")
  end)

  it("has examples that give what they say", function()
    local checked = 0
    for _, lines in ipairs(all) do
      local code, expected = lines[1]:match("^(.-)%s+%-%->%s+(.*)$")
      local f = #lines == 1 and code and load("return " .. code)
      local ok, got = false, nil
      if f then ok, got = pcall(f) end
      if ok and expected:match("^%d+x[%dx]+$") then
        assert.equal(expected, tostring(got:size()), lines[1])
        checked = checked + 1
      elseif ok and load("return " .. expected) and load("return " .. expected)() ~= nil then
        local want = load("return " .. expected)()
        if type(want) == "boolean" or type(want) == "table" and type(want[1]) == "boolean" then
          assert.same(want, hwb.is_tensor(got) and got:totable() or got, lines[1])
        else assert.tensor_near(want, got, {rtol = 1e-3, atol = 1e-4}) end
        checked = checked + 1
      end
    end
    assert.is_true(checked > 50, checked .. " results")
  end)
end)
