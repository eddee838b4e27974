-- Values as the session shows them: nested tables to a depth, a number of
-- items, cycles marked, keys sorted.  Tensors show themselves in short.
-- hwb.repl.show.options{depth=, items=, width=} changes the limits.
local lex = require "hwb.lex"
local sys = require "hwb.sys"
local M = {}

local limits = {depth = 3, items = 40, width = nil}

function M.options(changes)
  for key, value in pairs(changes) do
    if key ~= "depth" and key ~= "items" and key ~= "width" then
      error(("show.options: unknown option '%s'"):format(tostring(key)), 2)
    end
    limits[key] = value
  end
end

local function quote(s)
  if #s > 800 then return ("%q"):format(s:sub(1, 800)):gsub("\\\n", "\\n") .. ("… (%d bytes)"):format(#s) end
  return (("%q"):format(s):gsub("\\\n", "\\n"):gsub("\\9", "\\t"))
end

local function key_text(key)
  if type(key) == "string" and key:match("^[%a_][%w_]*$") and not lex.keywords[key] then return key end
  return "[" .. (type(key) == "string" and quote(key) or tostring(key)) .. "]"
end

local order = {number = 1, string = 2, boolean = 3}

local function sorted_keys(t, n)
  local keys = {}
  for key in next, t do
    if not (math.type(key) == "integer" and key >= 1 and key <= n) then keys[#keys + 1] = key end
  end
  table.sort(keys, function(a, b)
    local x, y = order[type(a)] or 4, order[type(b)] or 4
    if x ~= y then return x < y end
    if x <= 2 then return a < b end
    return tostring(a) < tostring(b)
  end)
  return keys
end

local render

local function function_text(f)
  local info = debug.getinfo(f, "S")
  if info.what == "C" then return "function (C)" end
  return ("function (%s:%d)"):format(info.short_src:gsub(".*/", ""), info.linedefined)
end

-- The items of a table as texts, cut after the limit.
local function items_of(t, depth, seen, full)
  local out, n = {}, rawlen(t)
  local cap = full and math.huge or limits.items
  local keys = sorted_keys(t, n)
  for i = 1, n do
    if #out >= cap then break end
    out[#out + 1] = render(rawget(t, i), depth + 1, seen, full)
  end
  for _, key in ipairs(keys) do
    if #out >= cap then break end
    out[#out + 1] = key_text(key) .. " = " .. render(rawget(t, key), depth + 1, seen, full)
  end
  local total = n + #keys
  if total > #out then out[#out + 1] = ("… %d more"):format(total - #out) end
  return out
end

-- Short items of a list, several to a line.
local function packed(items, width)
  local lines, line = {}, ""
  for i, item in ipairs(items) do
    if #item > 24 or item:find("\n", 1, true) then return items end
    if line ~= "" and #line + #item + 3 > width then
      lines[#lines + 1] = line
      line = ""
    end
    line = line == "" and item or line .. ", " .. item
    if i == #items then lines[#lines + 1] = line end
  end
  return lines
end

local function table_text(t, depth, seen, full)
  if seen[t] then return "{ cycle }" end
  if not full and depth >= limits.depth then return next(t) == nil and "{}" or "{…}" end
  seen[t] = true
  local items = items_of(t, depth, seen, full)
  seen[t] = nil
  local flat, width = "{" .. table.concat(items, ", ") .. "}", limits.width or sys.columns()
  if not flat:find("\n", 1, true) and (utf8.len(flat) or #flat) + 2 * depth <= width then return flat end
  local pad = ("  "):rep(depth + 1)
  if rawlen(t) == #items or items[#items]:find("^…") then items = packed(items, width - #pad) end
  return "{\n" .. pad .. table.concat(items, ",\n" .. pad) .. "\n" .. ("  "):rep(depth) .. "}"
end

function render(value, depth, seen, full)
  local kind = type(value)
  if kind == "string" then return quote(value) end
  if kind == "function" then return function_text(value) end
  local meta = debug.getmetatable(value)
  if kind == "table" and not (meta and rawget(meta, "__tostring")) then
    return table_text(value, depth, seen, full)
  end
  local text = tostring(value)
  if depth > 0 then -- inside a table: the first line stands for the rest
    local first = text:match("^[^\n]*")
    return first == text and text or "<" .. first .. ">"
  end
  return text
end

-- full: without limits
function M.text(value, full) return render(value, 0, {}, full) end

return M
