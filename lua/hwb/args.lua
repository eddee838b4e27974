-- Arguments of recipes: declared as {bits={default=4, help="…"}, …}, given as
-- --bits 4, --bits=4 or --set bits=4.
--
-- A declaration is a default value, or {default=, type=, help=, choices=,
-- smoke=, min=, max=}.  Types: number, integer, boolean, string, list (comma
-- separated).  The type of the default counts when none is declared; `smoke`
-- is the default under --smoke.
local errors = require "hwb.errors"
local sys = require "hwb.sys"
local M = {}

local fields = {default = true, type = true, help = true, choices = true, smoke = true, min = true, max = true}
local types = {number = true, integer = true, boolean = true, string = true, list = true, path = true}

local function type_of(default)
  if default == nil then return "string" end
  if math.type(default) == "integer" then return "integer" end
  if type(default) == "table" then return "list" end
  return type(default)
end

-- {name=, type=, default=, help=, choices=, smoke=} sorted by name.  Raises on
-- a malformed declaration.
function M.declarations(declared)
  local out = {}
  for name, spec in pairs(declared or {}) do
    if type(name) ~= "string" or not name:match("^[%a][%w_-]*$") then
      errors.usage("args: '%s' is not a name", tostring(name))
    end
    local is_spec = type(spec) == "table" and #spec == 0
    local row = {name = name}
    if is_spec then
      for key, value in pairs(spec) do
        if not fields[key] then errors.usage("args.%s: unknown field '%s'", name, tostring(key)) end
        row[key] = value
      end
    else
      row.default = spec
    end
    row.type = row.type or type_of(row.default)
    -- a whole default such as 4 means a count, but 4.5 may still be asked for
    if not (is_spec and spec.type) and row.type == "integer" then row.type = "number" end
    if not types[row.type] then errors.usage("args.%s: unknown type '%s'", name, tostring(row.type)) end
    out[#out + 1] = row
  end
  table.sort(out, function(a, b) return a.name < b.name end)
  return out
end

local words = {["true"] = true, yes = true, on = true, ["1"] = true,
  ["false"] = false, no = false, off = false, ["0"] = false}

local function element(text)
  return math.tointeger(tonumber(text)) or tonumber(text) or text
end

local function check_choice(row, value)
  local texts = {}
  for i, choice in ipairs(row.choices) do
    if choice == value then return end
    texts[i] = tostring(choice)
  end
  errors.usage("argument %s: '%s' is none of %s", row.name, tostring(value), table.concat(texts, ", "))
end

-- The value that `text` stands for; raises a usage error.
function M.convert(row, text)
  local value
  if row.type == "number" or row.type == "integer" then
    value = tonumber(text)
    if row.type == "integer" then value = math.tointeger(value) end
    if value == nil then
      errors.usage("argument %s: '%s' is not %s", row.name, text,
        row.type == "integer" and "a whole number" or "a number")
    end
    value = math.tointeger(value) or value
    if row.min and value < row.min then errors.usage("argument %s: %s is below %s", row.name, text, row.min) end
    if row.max and value > row.max then errors.usage("argument %s: %s is above %s", row.name, text, row.max) end
  elseif row.type == "boolean" then
    value = words[text:lower()]
    if value == nil then errors.usage("argument %s: '%s' is not true or false", row.name, text) end
  elseif row.type == "list" then
    value = {}
    for part in text:gmatch("[^,]+") do value[#value + 1] = element(part) end
  else
    value = text
  end
  if row.choices then -- of a list: what each element may be
    for _, one in ipairs(row.type == "list" and value or {value}) do check_choice(row, one) end
  end
  return value
end

local function unknown(name, rows)
  local names = {}
  for i, row in ipairs(rows) do names[i] = row.name end
  local near = sys.nearest(name, names)
  errors.usage("unknown argument '%s'%s", name, near and ("; did you mean '%s'?"):format(near)
    or #names > 0 and "; the recipe takes " .. table.concat(names, ", ") or "; the recipe takes none")
end

-- What the command line says, as {{name, text or nil}, …}: `sets` are
-- "key=value" strings, `words` the words after the recipe's file name.
function M.pairs(rows, sets, words_after)
  local by_name, given = {}, {}
  for _, row in ipairs(rows) do by_name[row.name] = row end
  for _, set in ipairs(sets) do
    local name, text = set:match("^([^=]+)=(.*)$")
    if not name then errors.usage("--set %s: expected KEY=VALUE", set) end
    given[#given + 1] = {name, text}
  end
  local i = 1
  while i <= #words_after do
    local word = words_after[i]
    local name, text = word:match("^%-%-([^=]+)=(.*)$")
    name = name or word:match("^%-%-(.+)$")
    if not name then errors.usage("unexpected argument '%s'", word) end
    local row = by_name[name] or by_name[(name:gsub("%-", "_"))]
    if not row then unknown(name, rows) end
    if not text then
      if row.type == "boolean" and words[(words_after[i + 1] or ""):lower()] == nil then
        text = "true"
      else
        i = i + 1
        text = words_after[i]
        if not text then errors.usage("--%s needs a value", name) end
      end
    end
    given[#given + 1] = {row.name, text}
    i = i + 1
  end
  return given
end

-- The resolved table of arguments, and the set of names that were given.
function M.resolve(rows, given, smoke)
  local by_name, out, set = {}, {}, {}
  for _, row in ipairs(rows) do
    by_name[row.name] = row
    out[row.name] = row.default
    if smoke and row.smoke ~= nil then out[row.name] = row.smoke end
  end
  for _, pair in ipairs(given) do
    local row = by_name[pair[1]]
    if not row then unknown(pair[1], rows) end
    out[row.name] = M.convert(row, pair[2])
    set[row.name] = true
  end
  return out, set
end

-- Lines for --help and `hwb check`.
function M.help(rows)
  local text = require "hwb.text"
  local lines = {}
  for _, row in ipairs(rows) do
    local left = "  --" .. row.name .. (row.type == "boolean" and "" or " " .. row.type:upper())
    local right = row.help or ""
    if row.default ~= nil then
      right = ("%s%s(default: %s)"):format(right, right ~= "" and " " or "", text.cell(row.default))
    end
    lines[#lines + 1] = #left < 27 and ("%-27s %s"):format(left, right) or left .. "\n" .. (" "):rep(28) .. right
  end
  return table.concat(lines, "\n")
end

return M
