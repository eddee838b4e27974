--- hwb.evaluate(m, data, {batch=250, count=, loss=}): accuracy and mean loss in
-- evaluation mode -> {accuracy=, correct=, count=, loss=, seconds=}.
--
-- data is a dataset, a loader, or {x, y}.  loss is "cross_entropy" (labels), "mse" or
-- function(output, target) -> mean loss; accuracy and correct are there when the
-- targets are labels.  count bounds the number of samples.

local hwb = require "hwb"
local options = require "hwb.nn.options"
local sys = require "hwb.sys"

-- for x, y in batches(…): at most `count` samples.
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
    return data:loader{ batch = batch }, #data
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
  end, n
end

local function loss_function(loss)
  if type(loss) == "function" then return loss end
  if loss == "cross_entropy" or loss == "mse" then return hwb[loss] end
  error(('evaluate: loss must be "cross_entropy", "mse" or a function, not %s'):format(tostring(loss)), 3)
end

local function evaluation_of(m, data, o)
  local loss_of = loss_function(o.loss)
  local n, correct, loss, labels = 0, 0, 0, true
  local next_batch, total = batches(data, o.batch, o.count or math.huge)
  for x, y in next_batch do
    local z, len = m(x), x:size(1)
    loss = loss + loss_of(z, y):item() * len
    labels = labels and z:dim() == 2 and y:dim() == 1 and not y:dtype():match("^float")
    if labels then
      correct = correct + z:argmax(2):eq(y):to("int64"):sum():item()
    end
    n = n + len
    hwb.progress("evaluating", n, total)
  end
  if n == 0 then error("evaluate: no samples", 3) end
  return { count = n, loss = loss / n, correct = labels and correct or nil,
    accuracy = labels and correct / n or nil }
end

return function(m, data, given)
  local o = options("evaluate", given or {}, {}, { batch = 250, count = false, loss = "cross_entropy" })
  local modes, started = {}, sys.seconds()
  m:apply(function(child) modes[child] = child.training end)
  m:eval()
  local ok, result = pcall(evaluation_of, m, data, o)
  for child, training in pairs(modes) do rawset(child, "training", training) end
  if not ok then error(result, 0) end
  result.seconds = (sys.seconds()) - started
  return result
end
