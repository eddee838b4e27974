--- Quantized copies of models: hwb.quant.apply and hwb.quant.load.
--
-- A quantized model is a copy of the float model that goes on being a module: it
-- keeps float parameters under the same names, and its forward pass computes with
-- their quantized values.  While it is traced, every field that holds a quantized
-- weight holds Q(weight) instead, whatever layer it belongs to; activations are
-- quantized where a layer calls self:quantized_input(x), as Conv2d and Linear do.
-- Gradients pass straight through, so hwb.train fine-tunes it.

local hwb = require "hwb"
local options = require "hwb.nn.options"
local calibrate = require "hwb.calibrate"
local file = require "hwb.quantized_file"
local bits_of = hwb.quant.bits_of

local raw = hwb.engine.quant
local quantized = {}

-- The class behind an instance's own fields.
local class_of = hwb.nn.Module.class_of

---------------------------------------------------------------------------
-- the forward pass

-- Q(weight) as a node of x's trace.
local function weight_node(x, w, mask)
  local slot = w.slots[1]
  local m, key = slot.module, slot.key
  local scale, zero
  if w.stored then scale, zero = rawget(m, key .. "_scale"), rawget(m, key .. "_zero") end
  if w.name ~= "" then hwb.engine.push_scope(x, w.name) end
  local y = raw.fake_weight(x, rawget(m, key), w.spec, mask, scale, zero)
  if w.name ~= "" then hwb.engine.pop_scope(x) end
  return y
end

local function forward(self, x, ...)
  local float, saved = class_of(self).forward, {}
  for _, w in ipairs(self.quantization.weights) do
    local y = weight_node(x, w, self.quantization.weight_mask)
    for _, slot in ipairs(w.slots) do
      saved[#saved + 1] = { slot.module, slot.key, rawget(slot.module, slot.key) }
      rawset(slot.module, slot.key, y)
    end
  end
  local result = table.pack(pcall(float, self, x, ...))
  for _, s in ipairs(saved) do rawset(s[1], s[2], s[3]) end
  if not result[1] then error(result[2], 0) end
  return table.unpack(result, 2, result.n)
end

-- The range [2] of this input: stored, of this batch, or a moving average that
-- training updates.
local function range_node(layer, x, a)
  if a.track == "fixed" or (a.track == "ema" and not layer:is_training()) then
    return layer.input_range
  end
  local batch = hwb.stack{ x:min(), x:max() }:stop_gradient()
  if a.track == "batch" then return batch end
  local r = layer.input_range * a.momentum + batch * (1 - a.momentum)
  hwb.engine.update(layer.input_range, r)
  return r
end

local function quantized_input(layer, x)
  local a = layer.input_quantizer
  return raw.fake_activation(x, range_node(layer, x, a), a.bits, a.scheme, a.mask)
end

---------------------------------------------------------------------------
-- methods of a quantized model

local methods = {}

--- Takes stored scales anew from the weights; called before every training step.
-- (Min-max scales are part of the forward pass and need none of this.)
function methods:refresh()
  for _, w in ipairs(self.quantization.weights) do
    if w.stored then
      local slot = w.slots[1]
      local scale, zero = raw.range(rawget(slot.module, slot.key), w.spec)
      rawget(slot.module, slot.key .. "_scale"):copy_(scale)
      rawget(slot.module, slot.key .. "_zero"):copy_(zero)
    end
  end
  return self
end

--- The layers of the float model, with bits and act_bits.
function methods:layers() return self.quantization.layers end

--- {bytes=, mib=, ratio=, average_bits=, parameters=, bops=, file_bytes=}: packed
-- codes, scales and everything that stays float32; file_bytes once it was saved.
-- Options as of hwb.quant.size (basis, count_rest, group_bytes).
function methods:size(given)
  local o = { group_bytes = self.quantization.scheme == "symmetric" and 4 or 8, activations = {} }
  for k, v in pairs(given or {}) do o[k] = v end
  local bits, records, covered, buffers = {}, {}, 0, 0
  for i, w in ipairs(self.quantization.weights) do
    local t = rawget(w.slots[1].module, w.slots[1].key)
    records[i] = { name = w.name, n = t:numel(), groups = raw.groups(t:size(), w.spec), macs = w.macs }
    bits[w.name] = w.spec.bits
    covered = covered + t:numel()
  end
  for name, b in pairs(self.act_bits) do o.activations[name] = b end
  for _, b in self:buffers() do buffers = buffers + b:numel() end
  records[#records + 1] = { n = 0, rest = self:num_parameters() - covered, buffers = buffers }
  local size = hwb.quant.size(records, bits, o)
  size.file_bytes = self.file_bytes
  return size
end

function methods:describe()
  local text = class_of(self).describe(self)
  local size = self:size()
  return ("%s\n  quantized: %d weights, %.3g bits on average, %.3f MiB (%.2fx smaller), %d inputs")
    :format(text, #self.quantization.weights, size.average_bits, size.mib, size.ratio,
      #self.quantization.activations)
end

--- Float parameters from a file, as Module:load; scales follow.
function methods:load(path)
  local ok, message, code = class_of(self).load(self, path)
  if not ok then return nil, message, code end
  return self:refresh()
end

--- Writes safetensors: "<weight>.codes" (uint8, packed), ".scale", ".zero" (asymmetric
-- only), all other tensors as they are.  q:size().file_bytes is the size on disk.
function methods:save(path) return file.save(self, path) end

---------------------------------------------------------------------------
-- building

-- Where each parameter lies: name -> {{module=, key=, name=}, ...}, the same list for
-- all names of a shared tensor.
local function owners(root)
  local by_tensor, by_name = {}, {}
  for path, m in root:modules() do
    for _, key in ipairs(m._order) do
      local t = rawget(m, key)
      if m._kind[key] == "parameter" and t then
        local name = path == "" and tostring(key) or path .. "." .. tostring(key)
        by_tensor[t] = by_tensor[t] or {}
        table.insert(by_tensor[t], { module = m, key = key, name = name })
        by_name[name] = by_tensor[t]
      end
    end
  end
  return by_name
end

local function add_weight(q, w, slots)
  w.slots = slots
  local slot = slots[1]
  if w.stored then
    local scale, zero = raw.range(rawget(slot.module, slot.key), w.spec)
    slot.module:register_buffer(slot.key .. "_scale", scale)
    slot.module:register_buffer(slot.key .. "_zero", zero)
  end
  table.insert(q.quantization.weights, w)
  q.bits[w.name] = w.spec.bits
end

local function add_activation(q, a, layer)
  if type(layer.quantized_input) ~= "function" then
    error(("quantize: layer %s (%s) has no quantized_input(self, x), so its input cannot be "
      .. "quantized; leave it out of activations"):format(a.name, layer.__name), 0)
  end
  a.module = layer
  layer.input_quantizer = a
  layer.quantized_input = quantized_input
  table.insert(q.quantization.activations, a)
  q.act_bits[a.name] = a.bits
end

-- Makes a copied module a quantized one, with nothing quantized yet.
local function prepare(q, scheme, weight_mask)
  q.quantization = { weights = {}, activations = {}, layers = {}, scheme = scheme,
    weight_mask = weight_mask }
  q.bits, q.act_bits = {}, {}
  q.forward = forward
  q.before_step = methods.refresh
  for name, f in pairs(methods) do rawset(q, name, f) end
  return q
end

---------------------------------------------------------------------------
-- hwb.quant.apply

-- Layers by tracing; where the input's size is not known, every module with a matrix
-- or kernel called weight.
local function find_layers(m, input, x)
  input = input or rawget(m, "input_size")
  if not input and x then
    input = x:size()
    table.remove(input, 1)
  end
  if input then return m:layers(input) end
  local list, seen = {}, {}
  for path, child in m:modules() do
    local w = child._kind.weight == "parameter" and rawget(child, "weight")
    if w and w:dim() > 1 and not seen[w] then
      seen[w] = true
      list[#list + 1] = { name = path, weight = path == "" and "weight" or path .. ".weight",
        n = w:numel() }
    end
  end
  return list
end

local function check_names(what, setting, layers)
  if type(setting) ~= "table" then return end
  local known, names = { ["*"] = true }, {}
  for i, l in ipairs(layers) do known[l.name], names[i] = true, l.name end
  for name in pairs(setting) do
    if not known[name] then
      error(("quant.apply: %s names %q, which is no layer (%s)"):format(what, tostring(name),
        table.concat(names, ", ")), 4)
    end
  end
end

local function check_bits(what, name, bits)
  bits = math.tointeger(bits) or bits
  if bits ~= 32 and (math.type(bits) ~= "integer" or bits < 1 or bits > 8) then
    error(("quant.apply: %s of layer %s: %s bits; 1 to 8 are possible, 32 is float")
      :format(what, name, tostring(bits)), 4)
  end
  return bits
end

local function quantize_weights(q, layers, by_name, o)
  for _, l in ipairs(layers) do
    local bits = check_bits("weights", l.name, bits_of(o.weights, l.name, 32))
    l.bits = bits
    if bits < 32 then
      local spec = hwb.quant.spec(bits, { scheme = o.scheme, granularity = o.granularity,
        group = o.group, range = o.range, percentile = o.percentile })
      add_weight(q, { name = l.name, weight = l.weight, macs = l.macs, spec = spec,
        stored = o.range ~= "minmax" }, by_name[l.weight])
    end
  end
end

local function quantize_activations(q, layers, by_name, o)
  local track = not o.data and "batch" or o.activation_range == "ema" and "ema" or "fixed"
  for _, l in ipairs(layers) do
    local layer = by_name[l.weight][1].module
    local bits = check_bits("activations", l.name, bits_of(o.activations, l.name, 32))
    local is_lookup = layer.quantized_input == false -- an embedding: its input is ids
    l.act_bits = is_lookup and 32 or bits
    if bits < 32 and not is_lookup then
      add_activation(q, { name = l.name, bits = bits, scheme = o.activation_scheme,
        mask = o.mask ~= false, track = track, momentum = o.momentum }, layer)
    end
  end
end

--- A quantized copy of model m.  Options:
--   weights      bits of every layer, or {[layer] = bits, ["*"] = bits of the others};
--                layers left out, and 32, stay float
--   activations  the same for the layers' inputs; nil leaves them float
--   scheme       "uniform" (symmetric), "symmetric", "asymmetric"; granularity
--                "channel", "tensor", "group" (with group = rows); range "minmax",
--                "percentile" (with percentile), "mse": of weights
--   data         inputs that activation ranges are taken from: x, {x, y}, a dataset or
--                a loader (at most `batches` batches of it, default 8).  Without data
--                the range is that of each batch
--   activation_range  "percentile" (of activation_percentile, default 99.99), "minmax",
--                "ema" (with momentum, default 0.99; training goes on updating it)
--   activation_scheme  "asymmetric" or "symmetric"
--   mask         gradients are cut outside the range: by default for activations, not
--                for weights
--   fold         true: batch norms go into the convolutions before them first
--   input        size of one input, where the model has no input_size
function quantized.apply(m, given)
  local o = options("quant.apply", given or {}, {}, {
    weights = 32, activations = 32, scheme = "uniform", granularity = "channel", group = 1,
    range = "minmax", percentile = 99.99, data = false, batches = 8,
    activation_range = "percentile", activation_percentile = 99.99, momentum = 0.99,
    activation_scheme = "asymmetric", mask = "default", fold = false, input = false,
  })
  if not hwb.nn.Module.is_module(m) then error("quant.apply: a model is wanted, not " .. type(m), 2) end
  local schemes = { uniform = true, symmetric = true, asymmetric = true }
  if not schemes[o.scheme] then
    error(('quant.apply: scheme must be "uniform", "symmetric" or "asymmetric", not %q'):format(tostring(o.scheme)), 2)
  end
  if m.quantization then error("quant.apply: the model is quantized already", 2) end
  local scheme = o.scheme == "asymmetric" and "asymmetric" or "symmetric"
  local first = o.data and calibrate.first(o.data)
  local source = o.fold and hwb.quant.fold(m, { input = o.input or nil, x = first or nil }) or m:clone()
  local layers = find_layers(source, o.input, first)
  check_names("weights", o.weights, layers)
  check_names("activations", o.activations, layers)
  local q = prepare(source:eval(), scheme, o.mask == true)
  local by_name = owners(q)
  quantize_weights(q, layers, by_name, o)
  quantize_activations(q, layers, by_name, o)
  q.quantization.layers = layers
  if o.data and #q.quantization.activations > 0 then
    calibrate.ranges(q, o.data, { kind = o.activation_range, batches = o.batches,
      value = o.activation_range == "ema" and o.momentum or o.activation_percentile })
  end
  return q:changed()
end

--- Reads what q:save wrote into a copy of model m, which gives the architecture.
-- Returns the quantized model, or nil and a message.
function quantized.load(path, m)
  return file.load(path, m, { owners = owners, add_weight = add_weight,
    add_activation = add_activation, prepare = prepare })
end

return quantized
