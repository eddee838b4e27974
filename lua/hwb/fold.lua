--- Batch norms folded into the convolutions before them:
--   W' = W g / sqrt(var + eps),   b' = (b - mean) g / sqrt(var + eps) + beta
-- with the running statistics, so that the model computes the same in evaluation
-- mode and has no batch norms left there.

local hwb = require "hwb"
local options = require "hwb.nn.options"
local nn = hwb.nn

local fold = {}

local function is(m, class) return hwb.nn.Module.class_of(m) == class end

-- {bn -> conv} where a batch norm's input is a convolution's output, seen in a trace;
-- and the output for x.
local function find_pairs(m, x)
  local made, pair, calls, wrapped = {}, {}, {}, {}
  local function wrap(child, f)
    child.forward = f
    wrapped[#wrapped + 1] = child
  end
  for _, child in m:modules() do
    if is(child, nn.Conv2d) then
      wrap(child, function(conv, input)
        local y = nn.Conv2d.forward(conv, input)
        made[y], calls[conv] = conv, (calls[conv] or 0) + 1
        return y
      end)
    elseif is(child, nn.BatchNorm2d) then
      wrap(child, function(bn, input)
        pair[bn], calls[bn] = made[input], (calls[bn] or 0) + 1
        return nn.BatchNorm2d.forward(bn, input)
      end)
    end
  end
  m:changed()
  local ok, y = pcall(m.call, m, x)
  for _, child in ipairs(wrapped) do rawset(child, "forward", nil) end
  m:changed()
  if not ok then error(y, 0) end
  for bn, conv in pairs(pair) do
    if calls[bn] > 1 or calls[conv] > 1 then pair[bn] = nil end
  end
  return pair, y
end

local function fold_into(conv, bn)
  local s = bn.weight / (bn.running_var + bn.eps):sqrt()
  local channels = conv.weight:size(1)
  local shift = bn.running_mean:neg()
  if conv.bias then shift = shift + conv.bias end
  conv.weight:copy_(conv.weight * s:reshape(channels, 1, 1, 1))
  shift = shift * s + bn.bias
  if conv.bias then conv.bias:copy_(shift) else conv.bias = nn.parameter(shift) end
end

-- Puts identities in the places of the batch norms.
local function remove(m, pair)
  for _, parent in m:modules() do
    for _, key in ipairs(parent._order) do
      local child = rawget(parent, key)
      if parent._kind[key] == "module" and pair[child] then parent:add(key, nn.Identity{}) end
    end
  end
end

-- A random input: of a seed of its own, so that the user's stream is left alone.
local function probe(m, input)
  if not input then error("quant.fold: give the size of one input, e.g. input={3, 32, 32}", 3) end
  local state = hwb.get_rng_state()
  hwb.manual_seed(0)
  local x = hwb.randn{ 2, table.unpack(input) }:to(m:dtype())
  hwb.set_rng_state(state)
  return x
end

--- A copy of m without the batch norms that follow a convolution directly.  Options:
-- input (size of one input; default m.input_size) or x (a batch).  What came out is
-- checked against m on that input; a convolution whose output is also used
-- elsewhere is an error.
function fold.fold(m, given)
  local o = options("quant.fold", given or {}, {}, { input = false, x = false })
  local c = m:clone():eval()
  local x = o.x and o.x:narrow(1, 1, 1) or probe(c, o.input or rawget(c, "input_size"))
  local pair, before = find_pairs(c, x)
  for bn, conv in pairs(pair) do fold_into(conv, bn) end
  remove(c, pair)
  c:changed()
  local difference = (c(x) - before):abs():max():item()
  local allowed = (m:dtype() == "float64" and 1e-9 or 1e-3) * (1 + before:abs():max():item())
  if difference ~= difference or difference > allowed then
    error(("quant.fold: the folded model differs by %.3g: some convolution's output is used "
      .. "beside its batch norm"):format(difference), 2)
  end
  return c
end

return fold
