--- Adversarial images: steps along the gradient of the loss with respect to the input.

local hwb = require "hwb"

local adversarial = {}

--- The loss of hwb.train as a function of output and target.
function adversarial.loss(loss)
  if type(loss) == "function" then return loss end
  return hwb[loss or "cross_entropy"]
end

local function loss_of(m, y, loss)
  return function(x)
    local z = m(x)
    return loss and loss(z, y) or hwb.cross_entropy(z, y)
  end
end

-- Keeps an image within the range of the clean ones.
local function clip(x, clean)
  return x:clamp(clean:min():item(), clean:max():item())
end

--- Fast gradient sign (Goodfellow et al. 2015): x + eps sign(dL/dx), clipped to x's range.
-- The network is attacked in the mode it is in; x[N,...], labels y[N] from 1.
function adversarial.fgsm(m, x, y, o)
  local g = hwb.grad(loss_of(m, y, o.loss))(x)
  return clip(x + g:sign() * o.eps, x)
end

--- `steps` FGSM steps of eps/steps each.
function adversarial.pgd(m, x, y, o)
  local steps, z = o.steps or 10, x
  for _ = 1, steps do
    local g = hwb.grad(loss_of(m, y, o.loss))(z)
    z = clip(z + g:sign() * (o.eps / steps), x)
  end
  return z
end

--- x + eps g/|g|, each image's gradient normalised by itself.
function adversarial.l2(m, x, y, o)
  local g = hwb.grad(loss_of(m, y, o.loss))(x)
  local n = x:size(1)
  local norm = (g * g):reshape(n, -1):sum(2):sqrt():reshape(n, 1, 1, 1)
  return clip(x + g / (norm + 1e-12) * o.eps, x)
end

--- Share of right answers on attacked images for each eps: {{eps=, accuracy=}, ...}.
function adversarial.accuracy(m, data, o)
  local rows = {}
  local x, y = data:batch(1, math.min(o.count or 1000, #data))
  for i, eps in ipairs(o.eps) do
    local right, n, step = 0, x:size(1), o.batch or 250
    for first = 1, n, step do
      local len = math.min(step, n - first + 1)
      local xs, ys = x:narrow(1, first, len), y:narrow(1, first, len)
      local z = adversarial[o.method or "fgsm"](m, xs, ys, { eps = eps })
      right = right + m(z):argmax(2):eq(ys):to("int64"):sum():item()
    end
    rows[i] = { eps = eps, accuracy = right / n }
  end
  return rows
end

return adversarial
