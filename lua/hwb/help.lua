-- Help from lua/meta/*.d.lua, the annotations that editors read (LuaCATS).
--
-- A run of `---` lines above a declaration belongs to it: text, @param,
-- @return, fenced examples, and @see.  Declarations are `function a.b(x) end`,
-- `function A:b(x) end`, `a.b = …`, `---@field name type text` of a class.
local sys = require "hwb.sys"
local M = {}

local entries, by_name

local function split_types(rest)
  -- "name? type text": the type ends at the first space outside brackets
  local depth, at = 0, 1
  while at <= #rest do
    local c = rest:sub(at, at)
    if c:find("[%(<{%[]") then depth = depth + 1
    elseif c:find("[%)>}%]]") then depth = depth - 1
    elseif c == " " and depth == 0 and not rest:sub(1, at - 1):find("[|:,]$")
      and not rest:find("^ *|", at) then break end
    at = at + 1
  end
  return rest:sub(1, at - 1), (rest:sub(at + 1):gsub("^[#%s]+", ""))
end

local function new_block() return {text = {}, params = {}, returns = {}, example = {}, see = {}, overloads = {}} end

local function add(entry)
  entries[#entries + 1] = entry
  by_name[entry.name] = by_name[entry.name] or entry
end

local function read_annotation(block, tag, rest, class)
  if tag == "param" then
    local name, after = rest:match("^(%S+)%s+(.*)$")
    if name then
      local type_text, text = split_types(after)
      block.params[#block.params + 1] = {name = name, type = type_text, text = text}
    end
  elseif tag == "return" then
    local type_text, text = split_types(rest)
    block.returns[#block.returns + 1] = {type = type_text, text = text}
  elseif tag == "overload" then block.overloads[#block.overloads + 1] = rest
  elseif tag == "see" then block.see[#block.see + 1] = rest
  elseif tag == "class" then
    class = rest:match("^%(%a+%)%s*([%w_.]+)") or rest:match("^([%w_.]+)")
    block.class = class
  elseif tag == "field" and class then
    local name, after = rest:gsub("^public%s+", ""):match("^(%S+)%s+(.*)$")
    if name then
      local type_text, text = split_types(after)
      add{name = class .. "." .. name:gsub("%?$", ""), signature = class .. "." .. name .. ": " .. type_text,
        text = {text}, params = {}, returns = {}, example = {}, see = {}, overloads = {}}
    end
  end
  return class
end

local function declare(block, line)
  local name, arguments = line:match("^function%s+([%w_.:]+)%s*(%b())")
  if not name then name = line:match("^([%w_.]+)%s*=") or line:match("^local%s+([%w_]+)%s*=") end
  if not name then return end
  block.name = name
  block.signature = name .. (arguments or "")
  if #block.returns > 0 then
    local types = {}
    for i, r in ipairs(block.returns) do types[i] = r.type end
    block.signature = block.signature .. " -> " .. table.concat(types, ", ")
  end
  if #block.text > 0 or #block.params > 0 or #block.returns > 0 or #block.example > 0 or arguments then add(block) end
end

-- `renames`: how a file's own names for tables are known to the world.
local function read_file(path, renames)
  local block, class, fenced, open = new_block(), nil, false, false
  for line in io.lines(path) do
    local comment = line:match("^%-%-%-%s?(.*)$") or (open and line:match("^%-%-%s?(.*)$"))
    open = comment ~= nil
    if comment then
      local tag, rest = comment:match("^@(%a+)%s*(.*)$")
      if comment:match("^```") then fenced = not fenced
      elseif fenced then block.example[#block.example + 1] = comment
      elseif tag then class = read_annotation(block, tag, rest, class)
      elseif not comment:match("^%-+$") then block.text[#block.text + 1] = comment end
    elseif line:match("%S") then
      local table_name = line:match("^function%s+([%w_]+)[.:]") or line:match("^([%w_]+)%.[%w_]+%s*=")
      if not renames then
        declare(block, line)
      elseif table_name and renames[table_name] and #block.text > 0 then
        declare(block, (line:gsub(table_name, renames[table_name], 1)))
      end
      block, fenced = new_block(), false
    else
      block, fenced, class = new_block(), false, nil
    end
  end
end

-- Parts of the program; no library for scripts.
local program = {args = true, checkpoint = true, config = true, errors = true, help = true, lex = true, recipe = true,
  records = true, report = true, run = true, sandbox = true, settings = true, text = true}

-- The annotations, then what the library in Lua says of itself.
local function load_all()
  if entries then return end
  entries, by_name = {}, {}
  local folder = sys.home .. "/lua/meta"
  for _, name in ipairs(sys.list(folder) or {}) do
    if name:match("%.lua$") then read_file(folder .. "/" .. name) end
  end
  folder = sys.home .. "/lua/hwb"
  for _, name in ipairs(sys.list(folder) or {}) do
    local stem = name:match("^(.*)%.lua$")
    if stem and not program[stem] then
      read_file(folder .. "/" .. name, {[stem] = "hwb." .. stem, methods = stem == "curvature" and "Curvature" or nil})
    end
  end
  if sys.stat(folder .. "/nn/module.lua") then read_file(folder .. "/nn/module.lua", {Module = "Module"}) end
end

-- Entries called `name`: the full name, else those that end in it.
function M.find(name)
  load_all()
  name = name:gsub("^%s+", ""):gsub("%s+$", ""):gsub("%(.*$", "")
  if by_name[name] then return {by_name[name]} end
  if by_name["hwb." .. name] then return {by_name["hwb." .. name]} end
  local found, wanted = {}, name:gsub(":", ".")
  for _, entry in ipairs(entries) do
    local dotted = entry.name:gsub(":", ".")
    if dotted == wanted or dotted:sub(-#wanted - 1) == "." .. wanted then found[#found + 1] = entry end
  end
  local last = name:match("[.:]([%w_]+)$") -- t:matmul, H:eigs: the method of whatever it is
  if #found == 0 and last then return M.find(last) end
  return found
end

-- Entries whose name matches a pattern with * (or holds the text).
function M.search(pattern)
  load_all()
  local lua = pattern:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*")
  local anchored = pattern:find("*", 1, true) and "^" .. lua .. "$" or lua
  local found = {}
  for _, entry in ipairs(entries) do
    local short = entry.name:match("[^.:]+$")
    if entry.name:lower():find(anchored:lower()) or short:lower():find(anchored:lower()) then
      found[#found + 1] = entry
    end
  end
  return found
end

function M.names()
  load_all()
  local names = {}
  for i, entry in ipairs(entries) do names[i] = entry.name end
  return names
end

local function named_lines(lines, title, rows)
  if #rows == 0 then return end
  lines[#lines + 1] = title
  for _, row in ipairs(rows) do
    lines[#lines + 1] = ("  %-14s %s%s"):format(row.name or "", row.type, row.text ~= "" and "  " .. row.text or "")
  end
end

function M.render(entry)
  local lines = {entry.signature}
  for _, overload in ipairs(entry.overloads) do lines[#lines + 1] = overload end
  lines[#lines + 1] = ""
  for _, line in ipairs(entry.text) do lines[#lines + 1] = line end
  if lines[#lines] ~= "" then lines[#lines + 1] = "" end
  named_lines(lines, "Arguments", entry.params)
  named_lines(lines, "Returns", entry.returns)
  if #entry.example > 0 then
    lines[#lines + 1] = "Example"
    for _, line in ipairs(entry.example) do lines[#lines + 1] = "  " .. line end
  end
  if #entry.see > 0 then lines[#lines + 1] = "See also: " .. table.concat(entry.see, ", ") end
  while lines[#lines] == "" do lines[#lines] = nil end
  return table.concat(lines, "\n")
end

-- One line an entry: its name and the first sentence.
function M.summary(found)
  local lines = {}
  for i, entry in ipairs(found) do
    local first = (entry.text[1] or ""):match("^(.-%.)%s") or entry.text[1] or ""
    lines[i] = ("  %-34s %s"):format(entry.name, first)
  end
  return table.concat(lines, "\n")
end

-- The text for `?what`, or nil when nothing is known.
function M.text(what)
  if what:find("*", 1, true) then
    local found = M.search(what)
    return #found > 0 and M.summary(found) or nil
  end
  local found = M.find(what)
  if #found == 1 then return M.render(found[1]) end
  if #found > 1 then return M.summary(found) end
  found = M.search(what)
  return #found > 0 and "No such name; near it:\n" .. M.summary(found) or nil
end

-- The name under which the library holds a function or module, or nil.
function M.name_of(value)
  local hwb, seen = require "hwb", {}
  local function look(t, name, depth)
    if seen[t] or depth > 3 then return nil end
    seen[t] = true
    for key, item in next, t do
      if type(key) == "string" and item == value then return name .. "." .. key end
    end
    for key, item in next, t do
      local found = type(key) == "string" and type(item) == "table" and look(item, name .. "." .. key, depth + 1)
      if found then return found end
    end
  end
  if value == hwb then return "hwb" end
  return look(hwb, "hwb", 0)
end

return M
