-- hwb model list|inspect|convert: the zoo and checkpoint files.
local hwb = require "hwb"
local sys = require "hwb.sys"
local errors = require "hwb.errors"
local text = require "hwb.text"

local function list(options)
  local rows = hwb.json.array{}
  for i, name in ipairs(hwb.models.list()) do
    -- some need sizes that have no default
    local ok, model = pcall(hwb.models[name], {})
    rows[i] = {name = name, parameters = ok and model:num_parameters() or nil}
  end
  if options.json then
    print(hwb.json.encode({schema = 1, models = rows}, {indent = 2}))
  else
    print(text.table(rows, {"name", "parameters"}))
  end
  return 0
end

local function load(path)
  local tensors, names, meta = hwb.load(path)
  if not tensors then sys.raise(meta or "EIO", names) end
  return tensors, names, meta
end

local function shape_of(t)
  local sizes = {}
  for i, n in ipairs(t:size()) do sizes[i] = tostring(n) end
  return #sizes > 0 and table.concat(sizes, "x") or "scalar"
end

local widths = {float64 = 8, int64 = 8, uint8 = 1, bool = 1}

local function inspect(options, path)
  if not path then errors.usage("model inspect: which file?") end
  local tensors, names, meta = load(path)
  local rows, total, bytes = hwb.json.array{}, 0, 0
  for i, name in ipairs(names) do
    local t = tensors[name]
    rows[i] = {name = name, shape = shape_of(t), dtype = tostring(t:dtype()), elements = t:numel()}
    total = total + t:numel()
    bytes = bytes + t:numel() * (widths[rows[i].dtype] or 4)
  end
  if options.json then
    print(hwb.json.encode({schema = 1, file = path, metadata = meta, tensors = rows, elements = total}, {indent = 2}))
    return 0
  end
  print(text.table(rows, {"name", "shape", "dtype", "elements"}))
  print(("\n%d tensors, %d elements, %s"):format(#rows, total, text.bytes(bytes)))
  local keys = {}
  for key in pairs(meta) do keys[#keys + 1] = key end
  table.sort(keys)
  for _, key in ipairs(keys) do print(("%s: %s"):format(key, meta[key])) end
  return 0
end

local function convert(options, from, to)
  if not (from and to) then errors.usage("model convert: name two files") end
  if not to:match("%.safetensors$") then errors.usage("model convert: %s: only .safetensors is written", to) end
  if sys.stat(to) and not options.force then
    errors.usage("model convert: %s is there already (--force to replace it)", to)
  end
  local tensors, names, meta = load(from)
  meta["hwb.format"] = nil
  local ok, why, code = hwb.save(to, tensors, meta)
  if not ok then sys.raise(code or "EIO", why) end
  print(("%s: %d tensors"):format(to, #names))
  return 0
end

return function(options, rest)
  local verb = rest[1] or "list"
  if verb == "list" then return list(options) end
  if verb == "inspect" then return inspect(options, rest[2]) end
  if verb == "convert" then return convert(options, rest[2], rest[3]) end
  local near = sys.nearest(verb, {"list", "inspect", "convert"})
  errors.usage("model: unknown verb '%s'%s", verb, near and ("; did you mean '%s'?"):format(near) or "")
end
