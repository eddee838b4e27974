--- hwb.evaluate(m, data, {batch=250, count=, loss=}): accuracy and mean loss in
-- evaluation mode -> {accuracy=, correct=, count=, loss=, seconds=}.
--
-- data is a dataset, a loader, or {x, y}.  loss is "cross_entropy" (labels), "mse" or
-- function(output, target) -> mean loss; accuracy and correct are there when the
-- targets are labels.  count bounds the number of samples.  Several ranks take a part of
-- every batch each; all get the numbers of all samples.

local hwb = require "hwb"
local options = require "hwb.nn.options"
local sys = require "hwb.sys"

-- for x, y in batches(…): at most `count` samples; true where x and y are this rank's
-- part already.
local function batches(data, batch, count)
  if type(data) == "table" then
    local x, y = data[1], data[2]
    local n, at = math.min(x:size(1), count), 0
    return function()
      if at >= n then return nil end
      local len = math.min(batch, n - at)
      at = at + len
      return x:narrow(1, at - len + 1, len), y:narrow(1, at - len + 1, len)
    end, n
  end
  if data.loader then
    if count < #data then data = data:subset(1, count) end
    return data:loader{ batch = batch, split = true }, #data, true
  end
  local n, seen = math.min(#data:dataset(), count), 0
  return function()
    if seen >= n then return nil end
    local x, y = data:next()
    if not x then return nil end
    local keep = math.min(x:size(1), n - seen)
    if keep < x:size(1) then x, y = x:narrow(1, 1, keep), y:narrow(1, 1, keep) end
    seen = seen + keep
    return x, y
  end, n, data:info().split
end

local function loss_function(loss)
  if type(loss) == "function" then return loss end
  if loss == "cross_entropy" or loss == "mse" then return hwb[loss] end
  error(('evaluate: loss must be "cross_entropy", "mse" or a function, not %s'):format(tostring(loss)), 3)
end

local function evaluation_of(m, data, o)
  local loss_of = loss_function(o.loss)
  local n, correct, loss, others = 0, 0, 0, 0 -- others: samples whose targets are no labels
  local next_batch, total, split = batches(data, o.batch, o.count or math.huge)
  local ranks = hwb.comm.size()
  for x, y in next_batch do
    if not split then x, y = hwb.comm.own(x, y) end
    local len = x:size(1)
    if len > 0 then -- a part of a small batch may be empty
      local z = m(x)
      loss = loss + loss_of(z, y):item() * len
      if not (z:dim() == 2 and y:dim() == 1 and not y:dtype():match("^float")) then
        others = others + len
      else
        correct = correct + z:argmax(2):eq(y):to("int64"):sum():item()
      end
    end
    n = n + len
    hwb.progress("evaluating", math.min(n * ranks, total), total)
  end
  if ranks > 1 then -- parts of one evaluation only if the weights are the same
    local weights = {}
    for _, p in m:parameters() do weights[#weights + 1] = p end
    hwb.engine.comm.mark(weights)
  end
  n, correct, loss, others = table.unpack(hwb.comm.sum{ n, correct, loss, others })
  n, correct = math.tointeger(n), math.tointeger(correct)
  local labels = others == 0
  if n == 0 then error("evaluate: no samples", 3) end
  return { count = n, loss = loss / n, correct = labels and correct or nil,
    accuracy = labels and correct / n or nil }
end

local function what(v) return hwb.is_tensor(v) and "a tensor" or type(v) end

local function check(m, data)
  if not hwb.nn.Module.is_module(m) then error("evaluate: a model is wanted, not " .. what(m), 3) end
  if type(data) ~= "table" and type(data) ~= "userdata" or hwb.is_tensor(data) then
    error(("evaluate: data is a dataset, a loader or {x, y}, not %s"):format(what(data)), 3)
  end
  if type(data) ~= "table" then return end
  local x, y = data[1], data[2]
  if not (hwb.is_tensor(x) and hwb.is_tensor(y)) then
    error(("evaluate: data is {x, y}, two tensors; here x is %s and y %s"):format(what(x), what(y)), 3)
  end
  if x:size(1) ~= y:size(1) then error(("evaluate: %d inputs and %d targets"):format(x:size(1), y:size(1)), 3) end
end

return function(m, data, given)
  local o = options("evaluate", given or {}, {}, { batch = 250, count = false, loss = "cross_entropy" })
  check(m, data)
  local modes, started = {}, sys.seconds()
  m:apply(function(child) modes[child] = child.training end)
  m:eval()
  local ok, result = pcall(evaluation_of, m, data, o)
  for child, training in pairs(modes) do rawset(child, "training", training) end
  if not ok then error(result, 0) end
  result.seconds = (sys.seconds()) - started
  return result
end
