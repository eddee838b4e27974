-- What is registered has an entry in lua/meta, and what has one is registered.
local help = require "hwb.help"

local names = {}
for _, name in ipairs(help.names()) do names[name] = true end

-- Parts for the library itself, not for scripts.
local internal = {["hwb.engine"] = true, ["hwb.operator_methods"] = true, ["hwb.version"] = true, ["hwb.json"] = true}

describe("the annotations", function()
  it("have every function that C registers", function()
    local missing = {}
    for name, value in pairs(hwb) do
      local full = "hwb." .. name
      if type(value) == "function" and not names[full] and not internal[full] then missing[#missing + 1] = full end
    end
    table.sort(missing)
    assert.equal("", table.concat(missing, " "))
  end)

  it("have every method of tensors", function()
    local _, methods = debug.getupvalue(debug.getmetatable(hwb.zeros(1)).__index, 1)
    local missing = {}
    for name in pairs(methods) do
      if not names["Tensor:" .. name] then missing[#missing + 1] = name end
    end
    table.sort(missing)
    assert.equal("", table.concat(missing, " "))
  end)

  local function missing_below(found, prefix)
    local missing = {}
    for name, value in pairs(found) do
      local is_callable = type(value) == "function" or (type(value) == "table" and (getmetatable(value) or {}).__call)
      if type(name) == "string" and is_callable and not names[prefix .. name] then
        missing[#missing + 1] = prefix .. name
      end
    end
    table.sort(missing)
    return table.concat(missing, " ")
  end

  it("have every method of operators, datasets and loaders", function()
    local m = hwb.nn.Linear(2, 2)
    local H = hwb.hessian(m, {data = {hwb.zeros(1, 2), hwb.ones(1, {dtype = "int64"})}})
    assert(H.blocks) -- those in Lua come with the first use
    assert.equal("", missing_below(hwb.operator_methods, "Operator:"))
    local ds = hwb.data.shapes10{}
    assert.equal("", missing_below(debug.getmetatable(ds).__index, "Dataset:"))
    assert.equal("", missing_below(debug.getmetatable(ds:loader{}).__index, "Loader:"))
  end)

  it("have every function of the modules, and every layer and model", function()
    local missing = {}
    for _, part in ipairs{"data", "landscape", "plot", "hawq", "quant", "optim", "batch", "policies"} do
      missing[#missing + 1] = missing_below(hwb[part], "hwb." .. part .. ".")
    end
    local _, layers = debug.getupvalue(getmetatable(hwb.nn).__index, 1)
    for name in pairs(layers) do assert(hwb.nn[name]) end -- read them all
    missing[#missing + 1] = missing_below(hwb.nn, "hwb.nn.")
    for _, name in ipairs(hwb.models.list()) do
      if not names["hwb.models." .. name] then missing[#missing + 1] = "hwb.models." .. name end
    end
    assert.equal("", (table.concat(missing, " "):gsub(" +", " "):gsub("^ ", "")))
  end)

  it("name nothing that is not there", function()
    local _, methods = debug.getupvalue(debug.getmetatable(hwb.zeros(1)).__index, 1)
    for name in pairs(names) do
      local method = name:match("^Tensor:([%w_]+)$")
      if method then assert.truthy(methods[method], name .. " is no method") end
      local path = name:match("^hwb%.([%w_.]+)$")
      if path and not path:match("^%u") then
        local value = hwb
        for part in path:gmatch("[^.]+") do value = type(value) == "table" and value[part] or nil end
        if name ~= "hwb.version" and not name:match("^hwb%.%u") then assert.truthy(value, name .. " is not there") end
      end
    end
  end)

  it("give a signature, a text and arguments", function()
    local text = help.text("hwb.hvp")
    assert.matches("hwb.hvp(f, x, v) -> hwb.Tensor", text, 1, true)
    assert.matches("Hessian", text, 1, true)
    assert.matches("Example", text, 1, true)
    assert.matches("hwb.eigh", help.text("*eig*"), 1, true)
    assert.is_nil(help.text("no_such_name_at_all"))
  end)
end)
