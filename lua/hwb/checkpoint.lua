-- States of runs on disk: plain values as JSON, tensors as one safetensors
-- file beside it, models through their own save.  Functions are refused.
--
-- A tensor becomes {["$tensor"] = key}, a model {["$model"] = file, …}; tables
-- whose keys are numbers but not 1..n become {["$pairs"] = {{k, v}, …}}.
local hwb = require "hwb"
local sys = require "hwb.sys"
local json = hwb.json
local M = {}

local function is_tensor(value)
  return type(value) == "userdata" and rawget(hwb, "is_tensor") and hwb.is_tensor(value)
end

local function is_model(value)
  return (type(value) == "table" or type(value) == "userdata") and type(value.state_dict) == "function"
end

-- Keys that JSON cannot tell apart from strings need the pairs form; so do lists
-- with holes, whose length is any of their borders.
local function needs_pairs(t)
  local n, numbers = #t, 0
  for key in pairs(t) do
    if type(key) == "number" then
      if not (math.type(key) == "integer" and key >= 1 and key <= n) then return true end
      numbers = numbers + 1
    elseif type(key) == "string" and n > 0 then return true end
  end
  return numbers ~= n
end

local encode

local function encode_table(value, context)
  local out = {}
  if needs_pairs(value) then
    local list = json.array{}
    for key, item in pairs(value) do list[#list + 1] = json.array{key, encode(item, context)} end
    return {["$pairs"] = list}
  end
  for key, item in pairs(value) do out[key] = encode(item, context) end
  return #value > 0 and json.array(out) or out
end

local special = {[math.huge] = "inf", [-math.huge] = "-inf"}

function encode(value, context)
  local kind = type(value)
  if kind == "number" and (value ~= value or special[value]) then
    return {["$number"] = special[value] or "nan"}
  end
  if kind == "number" or kind == "string" or kind == "boolean" then return value end
  if is_tensor(value) then
    local key = ("t%d"):format(context.count)
    context.count = context.count + 1
    context.tensors[key] = value
    return {["$tensor"] = key, ["$file"] = context.name .. ".safetensors"}
  end
  if kind == "table" and is_model(value) then
    local dict = value:state_dict()
    return {["$state_dict"] = encode_table(dict, context)}
  end
  if kind == "table" then
    if context.seen[value] then error("checkpoint: the state holds itself", 0) end
    context.seen[value] = true
    local out = encode_table(value, context)
    context.seen[value] = nil
    return out
  end
  error(("checkpoint: a %s cannot be saved"):format(kind), 0)
end

-- Writes the tensors of `value` and returns what JSON can hold.
function M.save(folder, name, value)
  local context = {name = name, tensors = {}, count = 1, seen = {}}
  local out = encode(value == nil and json.null or value, context)
  if context.count > 1 then
    local ok, why = hwb.save(folder .. "/" .. name .. ".safetensors", context.tensors)
    if not ok then sys.raise("EIO", why) end
  end
  return out
end

local function decode(value, folder, cache)
  if value == json.null then return nil end
  if type(value) ~= "table" then return value end
  if value["$number"] then return tonumber((value["$number"]:gsub("inf", "1e999"))) or 0 / 0 end
  if value["$tensor"] then
    local file = value["$file"]
    if not cache[file] then
      local loaded, why = hwb.load(folder .. "/" .. file)
      if not loaded then sys.raise("EFORMAT", why) end
      cache[file] = loaded
    end
    return cache[file][value["$tensor"]]
  end
  local out = {}
  if value["$pairs"] then
    for _, pair in ipairs(value["$pairs"]) do
      out[decode(pair[1], folder, cache)] = decode(pair[2], folder, cache)
    end
    return out
  end
  if value["$state_dict"] then value = value["$state_dict"] end
  for key, item in pairs(value) do out[key] = decode(item, folder, cache) end
  return out
end

function M.load(folder, value) return decode(value, folder, {}) end

-- Removes the tensors of a checkpoint that was replaced.
function M.remove(folder, name) sys.remove(folder .. "/" .. name .. ".safetensors") end

return M
