--- Reading options: one table, required and default values, no unknown keys.
--
--     local o = options("Conv2d", given, { "in_channels" }, { stride = 1 })
--
-- The names in `positional` may also be given by place; those without a default
-- must be given.  options.pack(...) makes such a table of a layer's arguments:
--     nn.Linear(128, 10, { bias = false })    nn.Linear{ 128, 10, bias = false }

local sys = require "hwb.sys"

local options = {}

--- Is `t` a table of named options (and not a list, tensor or module)?
local function is_named(t)
  return type(t) == "table" and getmetatable(t) == nil and #t == 0 and next(t) ~= nil
end

--- One table of the arguments of a constructor; a last table of names is merged.
function options.pack(...)
  local n, first = select("#", ...), ...
  if n == 0 then return {} end
  if n == 1 and type(first) == "table" and getmetatable(first) == nil then return first end
  local given = { ... }
  if is_named(given[n]) then
    local named = table.remove(given, n)
    for k, v in pairs(named) do given[k] = v end
  end
  return given
end

local function read(_, who, given, positional, defaults)
  if type(given) ~= "table" then
    error(("%s wants one table of options, not %s"):format(who, type(given)), 3)
  end
  local o, known = {}, {}
  for k, v in pairs(defaults) do
    o[k] = v
    known[k] = true
  end
  for i, k in ipairs(positional) do
    known[k] = true
    if given[i] ~= nil and given[k] ~= nil then
      error(("%s: option %q is given twice"):format(who, k), 3)
    end
    if given[i] ~= nil then o[k] = given[i] end
    if o[k] == nil and given[k] == nil then error(("%s: option %q is missing"):format(who, k), 3) end
  end
  for k, v in pairs(given) do
    if math.type(k) == "integer" and k >= 1 and k <= #positional then
      k = positional[k]
    elseif not known[k] then
      local names = {}
      for name in pairs(known) do names[#names + 1] = tostring(name) end
      table.sort(names)
      local near = sys.nearest(tostring(k), names)
      local hint = near and ("; did you mean %q?"):format(near)
        or #names > 0 and "; it takes " .. table.concat(names, ", ") or ""
      error(("%s: unknown option %q%s"):format(who, tostring(k), hint), 3)
    end
    o[k] = v
  end
  return o
end

local function whole(who, name, value, least)
  if math.type(value) == "float" and value == math.floor(value) then value = math.tointeger(value) end
  if math.type(value) ~= "integer" or value < least then
    local got = type(value) == "string" and ("%q"):format(value) or tostring(value)
    error(("%s: %s must be a whole number from %d, not %s"):format(who, name, least, got), 4)
  end
  return value
end

--- Checks that the options of those names are whole numbers of at least `least`, or lists of
-- `length` of them where a length is given.
function options.whole(who, o, least, names, length)
  for name in names:gmatch("%S+") do
    local v = o[name]
    if length and type(v) == "table" then
      if #v ~= length then error(("%s: %s has %d numbers, not %d"):format(who, name, #v, length), 3) end
      for i = 1, length do whole(who, ("%s[%d]"):format(name, i), v[i], least) end
    else
      o[name] = whole(who, name, v, least)
    end
  end
  return o
end

return setmetatable(options, { __call = read })
