--- Files of quantized models: safetensors with packed codes and scales, the rest as it
-- is, and the description of the quantizers as JSON in the metadata.

local hwb = require "hwb"

local raw = hwb.engine.quant
local file = {}

local function file_size(path)
  local f = io.open(path, "rb")
  if not f then return nil end
  local n = f:seek("end")
  f:close()
  return n
end

-- The quantizer as the file's metadata say it.
local function description_of(q)
  local d = {
    version = 1, scheme = q.quantization.scheme, weight_mask = q.quantization.weight_mask,
    weights = hwb.json.array{}, activations = hwb.json.array{},
  }
  for i, w in ipairs(q.quantization.weights) do
    local t = rawget(w.slots[1].module, w.slots[1].key)
    d.weights[i] = { name = w.name, weight = w.weight, spec = w.spec, shape = hwb.json.array(t:size()),
      macs = w.macs }
  end
  for i, a in ipairs(q.quantization.activations) do
    d.activations[i] = { name = a.name, bits = a.bits, scheme = a.scheme, mask = a.mask,
      track = a.track, momentum = a.momentum }
  end
  return d
end

-- Stored scales are left out beside the ".scale" that every weight has.
function file.save(self, path)
  local tensors = self:state_dict()
  for _, w in ipairs(self.quantization.weights) do
    local slot = w.slots[1]
    local t = rawget(slot.module, slot.key)
    local scale, zero = raw.range(t, w.spec)
    if w.stored then
      scale, zero = rawget(slot.module, slot.key .. "_scale"), rawget(slot.module, slot.key .. "_zero")
    end
    for _, s in ipairs(w.slots) do
      tensors[s.name] = nil
      tensors[s.name .. "_scale"], tensors[s.name .. "_zero"] = nil, nil
    end
    tensors[w.weight .. ".codes"] = raw.pack(raw.encode(t, scale, zero, w.spec), w.spec)
    tensors[w.weight .. ".scale"] = scale
    if w.spec.scheme == "asymmetric" then tensors[w.weight .. ".zero"] = zero end
  end
  local ok, message, code = hwb.save(path, tensors,
    { ["hwb.quantization"] = hwb.json.encode(description_of(self)) })
  if not ok then return nil, message, code end
  self.file_bytes = file_size(path)
  return self
end

---------------------------------------------------------------------------
-- reading

-- to = from, of the very same sizes.
local function copy(name, to, from)
  local want, got = table.concat(to:size(), "x"), table.concat(from:size(), "x")
  if want ~= got then error(("%q is %s in the model and %s in the file"):format(name, want, got), 0) end
  to:copy_(from)
end

local function restore_weight(q, d, tensors, by_name, build)
  local slots, codes = by_name[d.weight], tensors[d.weight .. ".codes"]
  local scale, zero = tensors[d.weight .. ".scale"], tensors[d.weight .. ".zero"]
  if not slots then error(("the model has no parameter %q"):format(tostring(d.weight)), 0) end
  if not codes or not scale then error(("%q has no codes or scale"):format(d.weight), 0) end
  local spec = hwb.quant.spec(d.spec.bits, d.spec)
  zero = zero or hwb.zeros(scale:size()):to("int32")
  build.add_weight(q, { name = d.name, weight = d.weight, macs = d.macs, spec = spec, stored = true }, slots)
  local slot = slots[1]
  local t = rawget(slot.module, slot.key)
  copy(d.weight, t, raw.decode(raw.unpack(codes, d.shape, spec), scale, zero, spec))
  copy(d.weight .. ".scale", rawget(slot.module, slot.key .. "_scale"), scale)
  copy(d.weight .. ".zero", rawget(slot.module, slot.key .. "_zero"), zero)
  for _, s in ipairs(slots) do tensors[s.name] = t end
end

local function restore_activation(q, d, by_name, build)
  local layer
  for _, slots in pairs(by_name) do
    for _, s in ipairs(slots) do
      if s.name == d.name .. "." .. tostring(s.key) then layer = s.module end
    end
  end
  if not layer then error(("the model has no layer %q"):format(tostring(d.name)), 0) end
  if d.track ~= "batch" then layer:register_buffer("input_range", hwb.zeros(2):to(q:dtype())) end
  build.add_activation(q, { name = d.name, bits = d.bits, scheme = d.scheme, mask = d.mask,
    track = d.track, momentum = d.momentum }, layer)
end

local function restore(q, d, tensors, build)
  local by_name, done = build.owners(q), {}
  for _, w in ipairs(d.weights) do
    restore_weight(q, w, tensors, by_name, build)
    for _, s in ipairs(by_name[w.weight]) do
      done[s.name], done[s.name .. "_scale"], done[s.name .. "_zero"] = true, true, true
    end
    table.insert(q.quantization.layers, { name = w.name, weight = w.weight, macs = w.macs,
      n = tensors[w.weight]:numel(), bits = w.spec.bits })
  end
  for _, a in ipairs(d.activations) do restore_activation(q, a, by_name, build) end
  for name, t in pairs(q:state_dict()) do
    if not done[name] then
      if not tensors[name] then error(("the file has no %q"):format(name), 0) end
      copy(name, t, tensors[name])
    end
  end
end

-- A quantized copy of m with the file's codes; `build` are the makers of hwb.quantized.
function file.load(path, m, build)
  local tensors, why, meta = hwb.load(path)
  if not tensors then return nil, why, meta end
  local d = meta["hwb.quantization"] and hwb.json.decode(meta["hwb.quantization"])
  if type(d) ~= "table" or d.version ~= 1 then
    return nil, path .. ": not a quantized model of this program", "EFORMAT"
  end
  local q = build.prepare(m:clone():eval(), d.scheme, d.weight_mask)
  local ok, message = pcall(restore, q, d, tensors, build)
  if not ok then return nil, ("%s: %s"):format(path, tostring(message)), "EFORMAT" end
  q.file_bytes = file_size(path)
  return q:changed()
end

return file
