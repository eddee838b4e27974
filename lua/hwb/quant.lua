--- Quantization: of tensors here, of models in hwb.quantized.
--
-- A tensor is read as rows x columns, rows = its first axis (output channels or
-- neurons).  A quantizer is a number of bits, 1 to 8, and a table
--   {scheme="uniform"|"symmetric"|"asymmetric", granularity="tensor"|"channel"|"group",
--    group= rows of a group, range="minmax"|"percentile"|"mse", percentile=99.99}
-- whose defaults are symmetric, per channel and min-max ("uniform" is symmetric).
--
--     hwb.quant.error(w, 4)                       |Q(w) - w|^2
--     hwb.quant.fake(w, 4, {range="mse"})         Q(w)
--     local codes, p = hwb.quant.encode(w, 4)     int32 codes, {scale=, zero=, ...}
--     hwb.quant.decode(codes, p)                  Q(w) again
--     hwb.quant.pack(codes, p)                    uint8, bits after bits
--     local q = hwb.quant.apply(m, {weights=4})   a quantized copy of a model

local hwb = require "hwb"
local options = require "hwb.nn.options"

local raw = hwb.engine.quant
local quant = {}

---------------------------------------------------------------------------
-- descriptions

local spec_fields = { "scheme", "granularity", "group", "range", "percentile" }

--- The engine's description of a quantizer; unknown fields are errors.
function quant.spec(bits, given)
  local known, s = { bits = true }, { bits = math.tointeger(bits) or bits }
  for _, k in ipairs(spec_fields) do known[k] = true end
  for k, v in pairs(given or {}) do
    if not known[k] then error(("quantizer: unknown option %q"):format(tostring(k)), 3) end
    s[k] = v
  end
  s.bits = math.tointeger(bits) or bits
  if s.scheme == "uniform" then s.scheme = "symmetric" end
  return s
end

---------------------------------------------------------------------------
-- tensors

--- Squared distance of w and its quantized values, summed in double.
function quant.error(w, bits, spec) return raw.error(w, quant.spec(bits, spec)) end

--- w rounded to the values that `bits` bits can hold.
function quant.fake(w, bits, spec) return raw.fake(w, quant.spec(bits, spec)) end

-- params as encode returns them -> scale, zero, spec
local function parts(params)
  local spec = {}
  for k, v in pairs(params) do
    if k ~= "scale" and k ~= "zero" then spec[k] = v end
  end
  return params.scale, params.zero, spec
end

--- codes (int32), params = {bits=, scheme=, ..., scale=[G], zero=[G]}
function quant.encode(w, bits, spec)
  local s = quant.spec(bits, spec)
  local params = { scale = nil, zero = nil }
  for k, v in pairs(s) do params[k] = v end
  params.scale, params.zero = raw.range(w, s)
  return raw.encode(w, params.scale, params.zero, s), params
end

--- The values that codes stand for.
function quant.decode(codes, params)
  return raw.decode(codes, parts(params))
end

-- A number of bits, or params.
local function pack_spec(params)
  if type(params) ~= "table" then return quant.spec(params) end
  local _, _, spec = parts(params)
  return spec
end

--- Codes in `bits` bits each, one after the other, least significant bit first:
-- uint8 [ceil(n bits / 8)].
function quant.pack(codes, params) return raw.pack(codes, pack_spec(params)) end

--- The reverse; `sizes` are those of the codes.
function quant.unpack(bytes, sizes, params) return raw.unpack(bytes, sizes, pack_spec(params)) end

--- Range observer of activations: o:update(x), o:range() -> lowest, highest.
-- kind "minmax", "ema" (value: momentum) or "percentile" (value: percent).
function quant.observer(kind, value) return raw.observer(kind, value) end

--- Scale and zero point of the range [lo, hi] of an activation.
function quant.scale(lo, hi, bits, scheme) return raw.scale(lo, hi, bits, scheme or "asymmetric") end

--- b and shift with multiplier = b / 2^shift (HAWQ-V3's dyadic numbers).
quant.dyadic = raw.dyadic

--- clamp(round(acc * b / 2^shift), lo, hi) in integers.
quant.requantize = raw.requantize

---------------------------------------------------------------------------
-- sizes

-- Bits of a layer in a number or table; "*" stands for all others, absent for float.
local function bits_of(setting, name, otherwise)
  if type(setting) ~= "table" then return setting or otherwise end
  return setting[name] or setting["*"] or otherwise
end
quant.bits_of = bits_of

local float_types = { float32 = true, float64 = true }

-- A model's layers as records, and one more for all that is not quantized.
local function records_of(m, input)
  local records, weights, total, buffers = {}, 0, m:num_parameters(), 0
  for i, l in ipairs(m:layers(input)) do
    local shape = m:get(l.weight):size()
    records[i] = { name = l.name, n = l.n, macs = l.macs, shape = shape }
    weights = weights + l.n
  end
  for _, b in m:buffers() do
    if float_types[b:dtype()] then buffers = buffers + b:numel() end
  end
  records[#records + 1] = { n = 0, rest = total - weights, buffers = buffers }
  return records
end

local function groups_of(record, o, bits)
  if record.groups then return record.groups end
  if not record.shape or bits > 8 then return 0 end
  return (raw.groups(record.shape, quant.spec(bits, { granularity = o.granularity, group = o.group })))
end

--- Size arithmetic: hwb.quant.size(model or records, bits, options).
-- Records: {name=, n=, rest= (float parameters beside), buffers=, macs=, groups=}.
-- bits: a number or {[name]=, ["*"]=}; absent or 32 is float.  Options:
--   activations   bits in BOPs: "same", a number, or a table like bits
--   first_last    bits of the first and the last record
--   basis         "params" or "state_dict" (counts running statistics)
--   count_rest    false leaves out biases and norms
--   group_bytes   for each scale: 0 (as papers count), 4, or 8 with offsets
--   baseline_mib  of the ratio; default: the same at 32 bits
--   granularity, group, input
-- Returns {bytes=, mib=, ratio=, average_bits=, bops=, parameters=, baseline_bytes=}.
function quant.size(model, bits, given)
  local o = options("size", given or {}, {}, {
    activations = "same", first_last = false, basis = "params", count_rest = true,
    group_bytes = 0, baseline_mib = 0, granularity = "channel", group = 1, input = false,
  })
  if o.basis ~= "params" and o.basis ~= "state_dict" then
    error('size: basis must be "params" or "state_dict"', 2)
  end
  local records = hwb.nn.Module.is_module(model) and records_of(model, o.input or nil) or model
  local last = #records
  while last > 1 and (records[last].n or 0) == 0 do last = last - 1 end
  local list = {}
  for i, r in ipairs(records) do
    local b = bits_of(bits, r.name, 32)
    if o.first_last and (i == 1 or i == last) then b = o.first_last end
    local a = o.activations
    if a ~= "same" then a = bits_of(a, r.name, 32) end
    list[i] = {
      weights = r.n or 0, bits = b, groups = groups_of(r, o, b), rest = r.rest, buffers = r.buffers,
      macs = r.macs, act_bits = a ~= "same" and a or nil,
    }
  end
  return raw.size(list, {
    count_rest = o.count_rest, state_dict = o.basis == "state_dict",
    group_bytes = o.group_bytes, baseline_bytes = o.baseline_mib * 2 ^ 20,
  })
end

---------------------------------------------------------------------------
-- models

-- These are big enough for files of their own.
local elsewhere = { apply = "hwb.quantized", load = "hwb.quantized", fold = "hwb.fold" }

return setmetatable(quant, {
  __index = function(t, name)
    local file = elsewhere[name]
    if not file then return nil end
    local f = require(file)[name]
    rawset(t, name, f)
    return f
  end,
})
