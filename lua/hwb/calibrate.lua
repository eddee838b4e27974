--- Ranges of the layers' inputs of a quantized model, observed on data.
--
-- The inputs of as many layers as fit into memory are made one output of a
-- temporary program; observers of the engine see every batch of them.

local hwb = require "hwb"

local calibrate = {}

local ELEMENTS = 1 << 24 -- observed at once

-- for x in batches(data, limit): data is x, {x, y}, a dataset or a loader, which is
-- left where it was.
local function batches(data, limit, f)
  if hwb.is_tensor(data) then return f(data) end
  if type(data) == "table" then return f(data[1]) end
  if type(data) ~= "userdata" then
    error("calibration data are a tensor, {x, y}, a dataset or a loader, not " .. type(data), 0)
  end
  local loader = data.loader and data:loader{ batch = 128 } or data
  local epoch, position = loader:tell()
  loader:seek(epoch, 0)
  local n = 0
  for x in loader do
    f(x)
    n = n + 1
    if n == limit then break end
  end
  loader:seek(epoch, position)
end

--- The first batch of inputs.
function calibrate.first(data)
  local first
  batches(data, 1, function(x) first = x end)
  return first
end

-- Program x -> inputs of the layers in `list`, flattened, one after the other; what
-- each takes of the result is noted in `parts` when it is traced.
local function observer_program(q, list, parts)
  return hwb.engine.model(function(x)
    local outputs = {}
    for i, a in ipairs(list) do
      a.module.quantized_input = function(_, input)
        outputs[#outputs + 1] = input:reshape(-1)
        parts[#parts + 1] = { index = i, n = input:numel() }
        return input
      end
    end
    q.forward(q, x)
    return hwb.cat(outputs, 1)
  end)
end

-- Elements of each layer's input for one sample.
local function sizes_of(q, x)
  local parts, size = {}, {}
  local list = q.quantization.activations
  observer_program(q, list, parts):run(x:narrow(1, 1, 1), false)
  for _, p in ipairs(parts) do size[p.index] = (size[p.index] or 0) + p.n end
  for i, a in ipairs(list) do
    if not size[i] then error(("layer %s never got an input"):format(a.name), 0) end
  end
  return size
end

-- Observes the layers list[first..last] over all batches.
local function observe(q, data, o, list, done, total)
  local observers, program, sizes = {}, nil, nil
  for i in ipairs(list) do observers[i] = hwb.engine.quant.observer(o.kind, o.value) end
  batches(data, o.batches, function(x)
    local n = x:size(1)
    if sizes ~= n then -- another shape, another trace
      program = { parts = {} }
      program.run = observer_program(q, list, program.parts)
      sizes = n
    end
    local flat, at = program.run:run(x, false), 1
    for _, p in ipairs(program.parts) do
      observers[p.index]:update(flat:narrow(1, at, p.n))
      at = at + p.n
    end
    done = done + #list
    hwb.progress("activation ranges", math.min(done, total), total)
  end)
  for i, a in ipairs(list) do
    a.module:register_buffer("input_range", hwb.tensor{ observers[i]:range() }:to(q:dtype()))
  end
  return done
end

local function count_batches(data, limit)
  if hwb.is_tensor(data) or type(data) == "table" then return 1 end
  local loader = data.loader and data:loader{ batch = 128 } or data
  return math.min(#loader, limit)
end

--- Gives every quantized input its range buffer.
-- o: kind ("minmax", "ema", "percentile"), value, batches.
function calibrate.ranges(q, data, o)
  local list, x = q.quantization.activations, calibrate.first(data)
  local override = list[1].module.quantized_input
  local total, done = #list * count_batches(data, o.batches), 0
  local ok, message = pcall(function()
    local size, group, room = sizes_of(q, x), {}, 0
    for i, a in ipairs(list) do
      local n = size[i] * x:size(1)
      if #group > 0 and room + n > ELEMENTS then
        done = observe(q, data, o, group, done, total)
        group, room = {}, 0
      end
      a.module.quantized_input = function(_, input) return input end
      group[#group + 1], room = a, room + n
    end
    observe(q, data, o, group, done, total)
  end)
  for _, a in ipairs(list) do a.module.quantized_input = override end
  if not ok then error(message, 0) end
end

return calibrate
