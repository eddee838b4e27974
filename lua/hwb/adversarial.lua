--- Adversarial images: x + delta with a larger loss l(f(x), y), each image by itself.
--
-- With g the gradient of an image's own loss with respect to its pixels and H its Hessian
-- (exact products, conjugate gradients for H^-1 g; Yao et al. 2018, arXiv:1802.08241):
--
--     fgsm     eps sign(g)                      l2grad   eps g / |g|
--     fhsm     eps sign(H^-1 g)                 l2hess   eps H^-1 g / |H^-1 g|
--     fgsm10   ten steps of eps/10 sign(g), clipped after each
--     pgd      steps of `step` sign(g), each projected onto |delta| <= eps (Madry et al. 2018)
--
-- x[N,...], labels y[N] from 1; the network is attacked in the mode it is in.  Options:
--   eps           size, in units of x
--   range         {lo, hi}: where pixels stay, numbers or tensors that broadcast to x;
--                 false: anywhere; default: the least and largest of x
--   loss          as hwb.train's
--   steps, step   pgd: 10 and 2.5 eps / steps; random = a seed: starts anywhere in the box
--   tol, maxiter  of the solve: 1e-3 and 20; damping = 0 is added to H

local hwb = require "hwb"

local adversarial = {}

--- The loss of hwb.train as a function of output and target.
function adversarial.loss(loss)
  if type(loss) == "function" then return loss end
  return hwb[loss or "cross_entropy"]
end

-- The sum of the images' losses: gradients and Hessians do not mix images.
local function loss_of(m, y, o)
  local f = adversarial.loss(o.loss)
  return function(x) return f(m(x), y) * x:size(1) end
end

local function gradient(m, x, y, o) return hwb.grad(loss_of(m, y, o))(x) end

-- <a, b> of each image, as [N,1,...,1].
local function dots(a, b)
  local n, ones = a:size(1), {}
  for i = 1, a:dim() - 1 do ones[i] = 1 end
  return (a * b):reshape(n, -1):sum(2):reshape(n, table.unpack(ones))
end

local function unit(d) return d / (dots(d, d):sqrt() + 1e-30) end

local function range_of(x, o)
  if o.range == nil then return { x:min():item(), x:max():item() } end
  return o.range
end

local function clip(x, range)
  if not range then return x end
  local lo, hi = range[1], range[2]
  if type(lo) == "number" and type(hi) == "number" then return x:clamp(lo, hi) end
  return hwb.minimum(hwb.maximum(x, lo), hi)
end

---------------------------------------------------------------------------
-- directions

-- Curvature below this share of the largest one seen is rounding: a network with kinks has
-- an H of rank classes - 1, which conjugate gradients exhaust.
local flat_share = { float32 = 1e-5, float64 = 1e-11 }

local function count(mask) return mask:to("int64"):sum():item() end

--- (H + damping)^-1 g of every image at once by conjugate gradients, each with its own
-- coefficients.  An image is done when |r| <= tol |g|, or when it meets a direction without
-- positive curvature; it gets its iterate of smallest residual, the gradient itself where
-- there was no step.  Returns the solutions and {iterations=, stopped= (images that met
-- such a direction), concave= (those at once), residual= (mean |r|/|g|)}.
function adversarial.newton(m, x, y, o)
  o = o or {}
  local f, damping, tol = loss_of(m, y, o), o.damping or 0, o.tol or 1e-3
  local cut, g = flat_share[x:dtype()], hwb.grad(f)(x)
  local gg = dots(g, g)
  local zero, open = gg * 0, gg:gt(0)
  local r, p, z, rr = g, g, g * 0, gg
  local best, least, stopped, concave, steepest, iterations = z, gg, 0, 0, zero, 0
  while iterations < (o.maxiter or 20) and count(open) > 0 do
    iterations = iterations + 1
    local hp = hwb.hvp(f, x, p) + p * damping
    local pp, php = dots(p, p), dots(p, hp)
    local flat = php:le(pp * steepest * cut):logical_and(open)
    stopped = stopped + count(flat)
    if iterations == 1 then best, concave = hwb.where(flat, g, best), count(flat) end
    open = open:logical_and(flat:logical_not())
    steepest = hwb.maximum(steepest, hwb.where(open, php / pp, zero))
    local alpha = hwb.where(open, rr / php, zero)
    z, r = z + p * alpha, r - hp * alpha
    local new = dots(r, r)
    local better = new:lt(least):logical_and(open)
    best, least = hwb.where(better, z, best), hwb.where(better, new, least)
    open = open:logical_and(new:gt(gg * (tol * tol)))
    p, rr = r + p * hwb.where(open, new / rr, zero), new
  end
  local residual = hwb.where(gg:gt(0), (least / gg):sqrt(), zero):mean():item()
  return best, { iterations = iterations, stopped = stopped, concave = concave, residual = residual }
end

-- What does not depend on eps: x + eps d.
local directions = {
  fgsm = function(m, x, y, o) return gradient(m, x, y, o):sign() end,
  l2grad = function(m, x, y, o) return unit(gradient(m, x, y, o)) end,
  fhsm = function(m, x, y, o) return (adversarial.newton(m, x, y, o)):sign() end,
  l2hess = function(m, x, y, o) return unit((adversarial.newton(m, x, y, o))) end,
}

for name, direction in pairs(directions) do
  adversarial[name] = function(m, x, y, o)
    return clip(x + direction(m, x, y, o) * o.eps, range_of(x, o))
  end
end

---------------------------------------------------------------------------
-- several steps

--- Ten steps of eps/10.
function adversarial.fgsm10(m, x, y, o)
  local z, range = x, range_of(x, o)
  for _ = 1, 10 do z = clip(z + gradient(m, z, y, o):sign() * (o.eps / 10), range) end
  return z
end

local function random_start(x, o)
  local kept = hwb.get_rng_state()
  hwb.manual_seed(o.random)
  local noise = hwb.rand(table.unpack(x:size())):to(x:dtype()) * 2 - 1
  hwb.set_rng_state(kept)
  return x + noise * o.eps
end

--- Projected gradient steps.
function adversarial.pgd(m, x, y, o)
  local steps, range = o.steps or 10, range_of(x, o)
  local step, z = o.step or 2.5 * o.eps / steps, x
  if o.random then z = clip(random_start(x, o), range) end
  for _ = 1, steps do
    local delta = (z + gradient(m, z, y, o):sign() * step - x):clamp(-o.eps, o.eps)
    z = clip(x + delta, range)
  end
  return z
end

adversarial.methods = { "fgsm", "fgsm10", "pgd", "l2grad", "fhsm", "l2hess" }

---------------------------------------------------------------------------
-- evaluation

-- f(x, y) on at most `count` samples, `batch` at a time, in evaluation mode.
local function each_batch(m, data, o, f)
  local was = m.training
  m:eval()
  local x, y
  if data.batch then x, y = data:batch(1, math.min(o.count or 1000, #data))
  else x, y = data[1], data[2] end
  local n, size = math.min(x:size(1), o.count or 1000), o.batch or 250
  local given = {}
  for k, v in pairs(o) do given[k] = v end
  if given.range == nil then given.range = range_of(x:narrow(1, 1, n), o) end
  for first = 1, n, size do
    local len = math.min(size, n - first + 1)
    f(x:narrow(1, first, len), y:narrow(1, first, len), given)
    hwb.progress("attacks", first + len - 1, n, o.method or "fgsm")
  end
  m:train(was)
  return n
end

local known = { eps = 1, method = 1, count = 1, batch = 1, range = 1, loss = 1, steps = 1, step = 1, random = 1,
  tol = 1, maxiter = 1, damping = 1 }

local function check(who, o)
  for k in pairs(o) do
    if not known[k] then error(("%s: unknown option %q"):format(who, tostring(k)), 3) end
  end
  for _, name in ipairs(adversarial.methods) do
    if name == (o.method or "fgsm") then return end
  end
  error(("%s: no attack is called %q (%s)"):format(who, tostring(o.method),
    table.concat(adversarial.methods, ", ")), 3)
end

local function right_of(m, z, y) return m(z):argmax(2):eq(y):to("int64"):sum():item() end

--- Share of right answers on attacked images for each eps: {{eps=, accuracy=, method=, count=}, ...}.
-- data: a dataset or {x, y}; {eps = {0, 0.01}, method = "fgsm", count = 1000, batch = 250} and the
-- attack's options.
function adversarial.accuracy(m, data, o)
  check("adversarial.accuracy", o)
  local method, rows = o.method or "fgsm", {}
  for i, eps in ipairs(o.eps) do rows[i] = { eps = eps, accuracy = 0, method = method } end
  local n = each_batch(m, data, o, function(x, y, given)
    local d = directions[method] and directions[method](m, x, y, given)
    for _, row in ipairs(rows) do
      given.eps = row.eps
      local z = d and clip(x + d * row.eps, given.range) or not d and adversarial[method](m, x, y, given)
      row.accuracy = row.accuracy + right_of(m, z, y)
    end
  end)
  for _, row in ipairs(rows) do row.accuracy, row.count = row.accuracy / n, n end
  return rows
end

-- Eigenvalue of largest magnitude of every image's H, by power iteration on all at once.
local function top_eigenvalues(f, x, o)
  local kept = hwb.get_rng_state()
  hwb.manual_seed(1)
  local v = unit(hwb.randn(table.unpack(x:size())):to(x:dtype()))
  hwb.set_rng_state(kept)
  local mu = dots(v, v) * 0
  for _ = 1, o.maxiter or 20 do
    local hv = hwb.hvp(f, x, v)
    local before = mu
    mu, v = dots(v, hv), unit(hv)
    local moved = (mu - before):abs():gt(mu:abs() * (o.tol or 1e-3) + 1e-30)
    if moved:to("int64"):sum():item() == 0 then break end
  end
  return mu
end

--- How steep and how curved the loss is around the images: means over images of |g| and of
-- the eigenvalue of H of largest magnitude, and the largest such eigenvalue:
-- {gradient=, lambda=, lambda_max=, count=}.  Options: count, batch, loss, tol, maxiter.
function adversarial.input_curvature(m, data, o)
  o = o or {}
  check("adversarial.input_curvature", o)
  local s = { gradient = 0, lambda = 0, lambda_max = -math.huge }
  s.count = each_batch(m, data, o, function(x, y, given)
    local g, lambda = gradient(m, x, y, given), top_eigenvalues(loss_of(m, y, given), x, given)
    s.gradient = s.gradient + dots(g, g):sqrt():sum():item()
    s.lambda = s.lambda + lambda:sum():item()
    s.lambda_max = math.max(s.lambda_max, lambda:max():item())
  end)
  s.gradient, s.lambda = s.gradient / s.count, s.lambda / s.count
  return s
end

return adversarial
