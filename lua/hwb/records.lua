-- Run folders from the outside: finding, reading, comparing them.
local sys = require "hwb.sys"
local hwb = require "hwb"
local M = {}

local function read_json(path)
  local text = sys.read(path)
  local value = text and hwb.json.decode(text)
  return type(value) == "table" and value or nil
end

-- {dir=, name=, record=, result=} or nil
function M.read(dir)
  local record = read_json(dir .. "/run.json")
  if not record then return nil end
  if record.status == "running" and record.host == sys.hostname() and not sys.alive(record.pid) then
    record.status = "killed"
  end
  return {dir = dir, name = (sys.realpath(dir) or dir):match("[^/]+$"), record = record,
    result = read_json(dir .. "/result.json")}
end

-- Every run below `parent`, newest first.
function M.list(parent)
  local out = {}
  for _, name in ipairs(sys.list(parent) or {}) do
    local run = name ~= "latest" and M.read(parent .. "/" .. name)
    if run then out[#out + 1] = run end
  end
  table.sort(out, function(a, b)
    local x, y = tostring(a.record.start), tostring(b.record.start)
    if x ~= y then return x > y end
    return a.name > b.name
  end)
  return out
end

-- A run by folder, by name, or by a part of a name that only one has; raises EIO.
function M.find(what, parent)
  for _, dir in ipairs{what, parent .. "/" .. what} do
    if sys.stat(dir .. "/run.json") then
      local run = M.read(dir:gsub("/+$", ""))
      if run then return run end
      sys.raise("EFORMAT", dir .. "/run.json is damaged")
    end
  end
  local found = {}
  for _, run in ipairs(M.list(parent)) do
    if run.name:find(what, 1, true) then found[#found + 1] = run end
  end
  if #found == 1 then return found[1] end
  sys.raise("EIO", #found == 0 and ("no run '%s' in %s"):format(what, parent)
    or ("%d runs match '%s'; the newest is %s"):format(#found, what, found[1].name))
end

-- metrics.jsonl as a list of tables; a broken last line (kill -9) is left out.
function M.metrics(dir)
  local out = {}
  for line in (sys.read(dir .. "/metrics.jsonl") or ""):gmatch("[^\n]+") do
    local row = hwb.json.decode(line)
    if type(row) == "table" then out[#out + 1] = row end
  end
  return out
end

-- Is `value` a list of records, all of them tables with names?
local function is_rows(value)
  if type(value) ~= "table" or #value == 0 then return false end
  for _, row in ipairs(value) do
    if type(row) ~= "table" or #row > 0 or next(row) == nil then return false end
  end
  return true
end

-- A result as people read it: {single values by path}, {{name=, rows=}, ...} by name.
function M.parts(result)
  local singles, tables = {}, {}
  for key, value in pairs(result or {}) do
    if is_rows(value) then tables[#tables + 1] = {name = tostring(key), rows = value} else singles[key] = value end
  end
  table.sort(tables, function(a, b) return a.name < b.name end)
  return singles, tables
end

-- {a={b=1}} -> {["a.b"]=1}: leaves of nested tables by path
function M.flatten(value, prefix, out)
  out, prefix = out or {}, prefix or ""
  for key, item in pairs(value or {}) do
    local name = prefix .. tostring(key)
    if type(item) == "table" and next(item) ~= nil then M.flatten(item, name .. ".", out)
    elseif type(item) ~= "table" then out[name] = item end
  end
  return out
end

return M
