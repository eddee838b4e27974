-- Help from lua/meta/*.d.lua, the annotations that editors read (LuaCATS).
--
-- A run of `---` lines above a declaration belongs to it: text, @param,
-- @return, fenced examples, and @see.  Declarations are `function a.b(x) end`,
-- `function A:b(x) end`, `a.b = …`, `---@field name type text` of a class.
local sys = require "hwb.sys"
local M = {}

local entries, by_name, parents

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

-- What the annotations say comes first and counts.
local function add(entry)
  if by_name[entry.name] and not entry.field then return end
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
    local heir, parent = rest:gsub("^%(%a+%)%s*", ""):match("^([%w_.]+)%s*:?%s*([%w_.]*)")
    class = heir
    parents[class] = parent ~= "" and parent or nil
    block.class = class
  elseif tag == "field" and class then
    local name, after = rest:gsub("^public%s+", ""):match("^(%S+)%s+(.*)$")
    if name then
      local type_text, text = split_types(after)
      local entry = new_block()
      entry.name, entry.signature = class .. "." .. name:gsub("%?$", ""), class .. "." .. name .. ": " .. type_text
      entry.class, entry.field, entry.type, entry.text = class, name, type_text, {text}
      add(entry)
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
  local says = #block.text > 0 or #block.params > 0 or #block.returns > 0 or #block.example > 0
  if says or arguments then add(block) end
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

-- Parts of the program, and inner parts of the library: nothing for scripts.
local program = {}
for stem in ([[allocate allocate_problem args calibrate checkpoint config errors fold help lex quantized
  quantized_file recipe records report run sandbox settings text train_data train_ranks train_state train_step
  train_times]]):gmatch("%S+") do program[stem] = true end

-- Is hwb.<stem> for users?
function M.is_public(stem) return not program[stem] and stem ~= "cmd" and stem ~= "repl" end

-- The annotations, then what the library in Lua says of itself.
local function load_all()
  if entries then return end
  entries, by_name, parents = {}, {}, {}
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

-- How well a name fits: 0 where a word of it begins with the text sought, 1 elsewhere;
-- fields of options come after functions.
local function rank(entry, text)
  local short = ("." .. entry.name:match("[^.:]+$")):lower()
  local word = text ~= "" and (short:find("." .. text, 1, true) == 1 or short:find("_" .. text, 1, true))
  return (word and 0 or 1) + (entry.field and 2 or 0)
end

-- Entries whose name matches a pattern with * (or holds the text), the likeliest first;
-- fields only where nothing else fits.
function M.search(pattern)
  load_all()
  local lua = pattern:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*")
  local anchored = pattern:find("*", 1, true) and "^" .. lua .. "$" or lua
  local text = pattern:gsub("%*", ""):lower()
  local found, ranks, best = {}, {}, 3
  for i, entry in ipairs(entries) do
    local short = entry.name:match("[^.:]+$")
    if entry.name:lower():find(anchored:lower()) or short:lower():find(anchored:lower()) then
      found[#found + 1] = entry
      ranks[entry] = rank(entry, text) + i / 1e6
      best = math.min(best, ranks[entry] // 1)
    end
  end
  table.sort(found, function(x, y) return ranks[x] < ranks[y] end)
  while #found > 0 and best < 2 and ranks[found[#found]] >= 2 do found[#found] = nil end
  return found
end

-- Entries right below a module ("hwb.plot") or class ("Tensor").
function M.members(name)
  load_all()
  name = name:gsub("^%s+", ""):gsub("%s+$", "")
  local found = {}
  if name == "" or name == "hwb" then return found end
  for _, entry in ipairs(entries) do
    local base = not entry.field and entry.name:match("^(.*)[.:][%w_]+$")
    if base and (base == name or base == "hwb." .. name) then found[#found + 1] = entry end
  end
  return found
end

function M.names()
  load_all()
  local names = {}
  for i, entry in ipairs(entries) do names[i] = entry.name end
  return names
end

-- Text in lines of at most `width` columns, all but the first after `indent` spaces.
local function wrapped(text, indent, width)
  local lines, line = {}, ""
  for word in text:gmatch("%S+") do
    local length = (utf8.len(line) or #line) + 1 + (utf8.len(word) or #word)
    if line ~= "" and length > width then
      lines[#lines + 1] = line
      line = word
    else
      line = line == "" and word or line .. " " .. word
    end
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n" .. (" "):rep(indent))
end

-- Rows {name=, type=, text=} under a title, names aligned.
local function named_lines(lines, title, rows)
  if #rows == 0 then return end
  lines[#lines + 1] = title
  local longest, columns = 0, math.min(sys.columns(), 110)
  for _, row in ipairs(rows) do longest = math.max(longest, #(row.name or "")) end
  local pad = longest > 0 and longest + 4 or 2
  for _, row in ipairs(rows) do
    local text = row.type .. (row.text ~= "" and ": " .. row.text or "")
    local name = row.name or ""
    local head = "  " .. name .. (" "):rep(pad - 2 - #name)
    lines[#lines + 1] = head .. wrapped(text, pad, math.max(columns - pad, 30))
  end
end

-- The fields of a class and of those it extends, as rows.
local function fields_of(class)
  local rows = {}
  while class do
    for _, entry in ipairs(entries) do
      if entry.class == class and entry.field then
        rows[#rows + 1] = {name = entry.field, type = entry.type, text = entry.text[1] or ""}
      end
    end
    class = parents[class]
  end
  return rows
end

-- Options are listed where a function takes them.
local function option_lines(lines, entry)
  for _, p in ipairs(entry.params) do
    local rows = fields_of(p.type:gsub("%?$", ""))
    if #rows > 0 and p.type:find("Options") then named_lines(lines, "Options", rows) end
  end
end

function M.render(entry)
  local lines = {entry.signature}
  for _, overload in ipairs(entry.overloads) do lines[#lines + 1] = overload end
  lines[#lines + 1] = ""
  for _, line in ipairs(entry.text) do lines[#lines + 1] = line end
  if lines[#lines] ~= "" then lines[#lines + 1] = "" end
  named_lines(lines, "Arguments", entry.params)
  option_lines(lines, entry)
  named_lines(lines, "Returns", entry.returns)
  if #entry.example > 0 then
    lines[#lines + 1] = "Example"
    for _, line in ipairs(entry.example) do lines[#lines + 1] = "  " .. line end
  end
  if #entry.see > 0 then lines[#lines + 1] = "See also: " .. table.concat(entry.see, ", ") end
  while lines[#lines] == "" do lines[#lines] = nil end
  return table.concat(lines, "\n")
end

-- The first sentence of a text: up to a full stop before a capital.
local function sentence(lines)
  local text = table.concat(lines, " ")
  return text:match("^(.-%.)%s+%u") or text
end

local function cut(text, width)
  if (utf8.len(text) or #text) <= width then return text end
  return text:sub(1, (utf8.offset(text, width) or width) - 1) .. "…"
end

-- Names in columns.
local function in_columns(found, columns)
  local widest, lines, line = 0, {}, ""
  for _, entry in ipairs(found) do widest = math.max(widest, #entry.name + 2) end
  local many = math.max(1, (columns - 2) // widest)
  for i, entry in ipairs(found) do
    line = line .. ("%-" .. math.min(widest, 99) .. "s"):format(entry.name)
    if i % many == 0 or i == #found then
      lines[#lines + 1] = "  " .. line:gsub("%s+$", "")
      line = ""
    end
  end
  return table.concat(lines, "\n")
end

-- One line an entry, its name and the first sentence; names alone when there are many.
function M.summary(found)
  local lines, columns, widest = {}, math.min(sys.columns(), 120), 0
  if #found > 60 then return in_columns(found, columns) end
  for _, entry in ipairs(found) do widest = math.min(40, math.max(widest, #entry.name)) end
  for i, entry in ipairs(found) do
    local head = "  " .. entry.name .. (" "):rep(widest - #entry.name) .. "  "
    lines[i] = head .. cut(sentence(entry.text), math.max(columns - #head, 20))
  end
  return table.concat(lines, "\n")
end

-- The text for `?what`, or nil when nothing is known.
function M.text(what)
  if what:find("*", 1, true) then
    local found = M.search(what)
    return #found > 0 and M.summary(found) or nil
  end
  local found, members = M.find(what), M.members(what)
  if #found == 1 and #members == 0 then return M.render(found[1]) end
  if #members > 0 then
    local exact = found[1] and found[1].name:match("^h?w?b?%.?(.*)$") == what:match("^h?w?b?%.?(.*)$")
    local head = exact and #found == 1 and found[1].name .. "\n\n" .. table.concat(found[1].text, "\n") .. "\n" or ""
    return head .. M.summary(members)
  end
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
