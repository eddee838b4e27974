-- Completion at Tab.  Tables are read raw: no metamethod runs while one types.
local sys = require "hwb.sys"
local lex = require "hwb.lex"
local help = require "hwb.help"
local M = {}

local commands = {"help", "time", "run", "load", "save", "edit", "who", "mem", "dev", "quit", "bt", "p", "profile"}

local function is_prefix(prefix, text) return text:sub(1, #prefix) == prefix end

-- The names that `value` offers after "." or ":": string keys of the table, of
-- its metatable's __index, and of a userdata's method table.
local function fields(value)
  local found, depth = {}, 0
  local function take(t)
    for key, item in next, t do
      if type(key) == "string" and not key:match("^__") and found[key] == nil then found[key] = item end
    end
  end
  if type(value) == "string" then take(string) return found end
  while value ~= nil and depth < 5 do
    if type(value) == "table" then take(value) end
    local meta = debug.getmetatable(value)
    if not meta then break end
    local methods = rawget(meta, "methods") or rawget(meta, "__methods")
    if type(methods) == "table" then take(methods) end
    local index = rawget(meta, "__index")
    if type(index) == "function" then -- methods that C keeps beside its __index
      for i = 1, 3 do
        local name, kept = debug.getupvalue(index, i)
        if type(kept) == "table" and name ~= "_ENV" then take(kept) end
      end
    end
    value, depth = type(index) == "table" and index or nil, depth + 1
  end
  return found
end

local function raw_field(value, key)
  if type(value) == "table" then
    local item = rawget(value, key)
    if item ~= nil then return item end
  end
  return fields(value)[key]
end

-- Fields of hwb that are for the library itself.
local inner = {engine = true, operator_methods = true, graph_dump = true}

-- Modules of the library that are read on first use.
local function library_modules()
  local out, seen = {}, {}
  for _, name in ipairs(sys.list(sys.home .. "/lua/hwb") or {}) do
    local stem = name:match("^(.-)%.lua$") or name
    if not seen[stem] and help.is_public(stem) then out[#out + 1] = stem end
    seen[stem] = true
  end
  return out
end

local suffixes = {["function"] = "(", table = ".", userdata = ":"}

-- What one types after a value: tables that are called are classes and makers.
local function suffix_of(value)
  local meta = type(value) == "table" and debug.getmetatable(value)
  return meta and rawget(meta, "__call") and not rawget(value, "_order") and "(" or suffixes[type(value)]
end

local function names_of(base, prefix, separator)
  local value = base == "" and _G or nil
  if not value then
    value = _G
    for name in base:gmatch("[%w_]+") do
      value = raw_field(value, name)
      if value == nil then return {}, nil end
    end
  end
  local out, kinds = {}, {}
  for name, item in pairs(fields(value)) do
    local hidden = value == package.loaded.hwb and (inner[name] or type(item) == "table" and not help.is_public(name))
    if is_prefix(prefix, name) and (separator ~= ":" or type(item) == "function") and not hidden then
      out[#out + 1] = name
      kinds[name] = suffix_of(item)
    end
  end
  if base == "" then
    for word in pairs(lex.keywords) do
      if is_prefix(prefix, word) and prefix ~= "" then out[#out + 1] = word end
    end
  elseif value == package.loaded.hwb then
    for _, name in ipairs(library_modules()) do
      if is_prefix(prefix, name) and not kinds[name] then
        out[#out + 1] = name
        kinds[name] = "."
      end
    end
  end
  table.sort(out)
  return out, kinds
end

local function paths(prefix)
  local folder, start = prefix:match("^(.*/)([^/]*)$")
  if not folder then folder, start = "", prefix end
  local real = folder == "" and "." or folder:gsub("^~", os.getenv("HOME") or "~")
  local out = {}
  for _, name in ipairs(sys.list(real) or {}) do
    if is_prefix(start, name) and (start ~= "" or name:sub(1, 1) ~= ".") then
      local info = sys.stat(real .. "/" .. name)
      out[#out + 1] = folder .. name .. (info and info.type == "dir" and "/" or "")
    end
  end
  return out
end

local function modules(prefix)
  local out = {}
  for _, name in ipairs(library_modules()) do
    if is_prefix(prefix, "hwb." .. name) then out[#out + 1] = "hwb." .. name end
  end
  for name in pairs(package.loaded) do
    if is_prefix(prefix, name) and not name:match("^hwb%.") and name ~= "_G" then out[#out + 1] = name end
  end
  table.sort(out)
  return out
end

-- Keys of `base["`: tensor names of a state, layer names of a table.
local function keys(base, prefix)
  local value = _G
  for name in base:gmatch("[%w_]+") do value = raw_field(value, name) end
  local out = {}
  if type(value) == "table" then
    for key in next, value do
      if type(key) == "string" and is_prefix(prefix, key) then out[#out + 1] = key end
    end
  end
  table.sort(out)
  return out
end

-- --NAME of a recipe's arguments; its main chunk runs in an empty environment.
local function recipe_arguments(path, prefix)
  local ok, names = pcall(function()
    local recipe = load(sys.read(path, 1048576) or "", "@" .. path, "t", {})()
    local out = {}
    for name in pairs(recipe.args or {}) do out[#out + 1] = "--" .. name end
    return out
  end)
  local out = {}
  for _, name in ipairs(ok and names or {}) do
    if is_prefix(prefix, name) then out[#out + 1] = name end
  end
  table.sort(out)
  return out
end

local function command_words(text)
  local word = text:match("^:(%a*)$")
  if word then
    local out = {}
    for _, name in ipairs(commands) do
      if is_prefix(word, name) then out[#out + 1] = ":" .. name end
    end
    return out, 0, " "
  end
  local file, option = text:match("^:run%s+(%S+)%s.-(%-%-[%w_-]*)$")
  if file then return recipe_arguments(file, option), #text - #option, " " end
  local prefix = text:match("^:%a+%s+(%S*)$")
  if prefix and text:match("^:[rls]") then return paths(prefix), #text - #prefix, "" end
end

-- line, cursor (bytes before it)
-- -> matches that replace line[begin+1 .. cursor], begin (0-based), suffix of a single match
function M.complete(line, cursor)
  local text = line:sub(1, cursor)
  if text:match("^:") then
    local out, at, suffix = command_words(text)
    if out then return out, at, suffix end
    text = text:gsub("^:%a+%s+", function(s) return (" "):rep(#s) end)
  end
  local tokens = lex.tokens(text)
  local last = tokens[#tokens]
  if last and last.kind == "string" and last.open and last.last == #text then
    local typed = last.text:gsub("^[\"']", ""):gsub("^%[=*%[", "")
    local at = #text - #typed
    local before = text:sub(1, last.first - 1)
    if before:match("require%s*%(?%s*$") then return modules(typed), at, "" end
    local base = before:match("([%a_][%w_.]*)%s*%[%s*$")
    if base then return keys(base, typed), at, "" end
    return paths(typed), at, ""
  end
  local word = text:match("[%a_][%w_.:]*$") or ""
  if text:match("^%?") then
    local out = {}
    for _, name in ipairs(require("hwb.help").names()) do
      if is_prefix(word, name) then out[#out + 1] = name end
    end
    return out, #text - #word, ""
  end
  local base, separator, prefix = word:match("^(.*)([.:])([%w_]*)$")
  if not base then base, separator, prefix = "", "", word end
  local names, kinds = names_of(base, prefix, separator)
  local out = {}
  for i, name in ipairs(names) do out[i] = base .. separator .. name end
  local suffix = #names == 1 and kinds and kinds[names[1]] or ""
  return out, #text - #word, suffix
end

return M
