-- Text helpers of the program: aligned tables, numbers, bytes, durations, CSV.
local M = {}

-- Display width: UTF-8 characters count one column each.
local function width(s) return utf8.len(s) or #s end

-- A number as people read it: integers whole, others with 5 significant digits.
function M.number(x)
  if math.type(x) == "integer" then return tostring(x) end
  if x ~= x then return "nan" end
  if x == math.floor(x) and math.abs(x) < 1e7 then return ("%.1f"):format(x) end
  return ("%.5g"):format(x)
end

function M.cell(value)
  if value == nil then return "" end
  if type(value) == "number" then return M.number(value) end
  if type(value) == "table" then
    local parts = {}
    for i, v in ipairs(value) do parts[i] = M.cell(v) end
    return table.concat(parts, " ")
  end
  return tostring(value)
end

-- The columns of a list of rows: the given ones, or "1..n" of list rows, or
-- the sorted keys of the first named row.
function M.columns(rows, columns)
  if columns then return columns end
  local first, found = rows[1] or {}, {}
  if #first > 0 then
    for i = 1, #first do found[i] = i end
    return found
  end
  local seen = {}
  for _, row in ipairs(rows) do
    for key in pairs(row) do
      if not seen[key] then seen[key] = true; found[#found + 1] = key end
    end
  end
  table.sort(found, function(a, b)
    if a == "name" or b == "name" then return a == "name" and b ~= "name" end
    return tostring(a) < tostring(b)
  end)
  return found
end

-- rows (lists, or tables by column name) -> aligned lines; numbers to the right.
function M.table(rows, columns)
  local keys = M.columns(rows, columns)
  local named = #(rows[1] or {}) == 0
  local cells, widths, numeric = {}, {}, {}
  for c, key in ipairs(keys) do
    widths[c], numeric[c] = named and width(tostring(key)) or 0, true
    if columns and not named then widths[c] = width(tostring(key)) end
  end
  for r, row in ipairs(rows) do
    cells[r] = {}
    for c, key in ipairs(keys) do
      local value = row[key]
      if value == nil then value = row[c] end
      local text = M.cell(value)
      cells[r][c] = text
      widths[c] = math.max(widths[c], width(text))
      if value ~= nil and type(value) ~= "number" then numeric[c] = false end
    end
  end
  local lines = {}
  local function add(texts)
    local parts = {}
    for c, text in ipairs(texts) do
      local pad = (" "):rep(widths[c] - width(text))
      parts[c] = numeric[c] and pad .. text or text .. pad
    end
    lines[#lines + 1] = (table.concat(parts, "  "):gsub("%s+$", ""))
  end
  if named or columns then
    local heads, rule = {}, {}
    for c, key in ipairs(keys) do heads[c], rule[c] = tostring(key), ("-"):rep(widths[c]) end
    add(heads)
    add(rule)
  end
  for _, row in ipairs(cells) do add(row) end
  return table.concat(lines, "\n")
end

-- RFC 4180
function M.csv(rows, columns)
  local keys = M.columns(rows, columns)
  local function field(value)
    local text = value == nil and "" or type(value) == "number" and
      (math.type(value) == "integer" and tostring(value) or ("%.17g"):format(value)) or M.cell(value)
    if text:find('[",\r\n]') then text = '"' .. text:gsub('"', '""') .. '"' end
    return text
  end
  local lines, heads = {}, {}
  for c, key in ipairs(keys) do heads[c] = field(tostring(key)) end
  lines[1] = table.concat(heads, ",")
  for _, row in ipairs(rows) do
    local fields = {}
    for c, key in ipairs(keys) do
      local value = row[key]
      if value == nil then value = row[c] end
      fields[c] = field(value)
    end
    lines[#lines + 1] = table.concat(fields, ",")
  end
  return table.concat(lines, "\r\n") .. "\r\n"
end

function M.bytes(n)
  local units, at = {"B", "KiB", "MiB", "GiB", "TiB"}, 1
  while n >= 1024 and at < #units do n, at = n / 1024, at + 1 end
  return (at == 1 and "%d %s" or "%.1f %s"):format(n, units[at])
end

function M.duration(seconds)
  if seconds < 1e-3 then return ("%.0f us"):format(seconds * 1e6) end
  if seconds < 1 then return ("%.3g ms"):format(seconds * 1e3) end
  if seconds < 60 then return ("%.3g s"):format(seconds) end
  if seconds < 3600 then return ("%d:%02d min"):format(seconds // 60, seconds % 60 // 1) end
  return ("%d:%02d h"):format(seconds // 3600, seconds % 3600 // 60)
end

return M
