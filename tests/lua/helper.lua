-- Read by busted before every spec: assertions on tensors and derivatives.
--
--   assert.tensor_near(expected, got, {rtol=1e-6, atol=1e-8})   shapes and elements
--   assert.hvp_symmetric(apply, n, {seed=, tol=, draw=})        u'(Hv) = v'(Hu)
--   assert.grad_ok(f, x, {eps=, tol=})                          hwb.grad against differences
--
-- expected may be a nested table; failures say the shapes, the first bad
-- element and the largest difference instead of addresses.
--
-- HWB_TEST_DEVICE: the device that specs run on; skipped (77) where it is not there.
local assert = require "luassert"
local say = require "say"

local device = os.getenv("HWB_TEST_DEVICE")
if device and device ~= "" and rawget(hwb, "device") then
  local found, why = hwb.device(device)
  if not found then
    print("skipped: " .. why)
    os.exit(77)
  end
end

local function is_tensor(value) return rawget(hwb, "is_tensor") ~= nil and hwb.is_tensor(value) end

-- A tensor or nested table -> flat list of numbers, shape.
local function flatten(value)
  if is_tensor(value) then value = value:totable() end
  local flat, shape = {}, {}
  local function walk(v, depth)
    if type(v) ~= "table" then flat[#flat + 1] = v return end
    shape[depth] = shape[depth] or #v
    if shape[depth] ~= #v then error("ragged table: rows of " .. shape[depth] .. " and " .. #v .. " elements", 0) end
    for i = 1, #v do walk(v[i], depth + 1) end
  end
  walk(value, 1)
  return flat, shape
end

local function shape_text(shape) return #shape == 0 and "scalar" or table.concat(shape, "x") end

-- 1-based indices of flat element i
local function index_text(i, shape)
  local rest, out = i - 1, {}
  for d = #shape, 1, -1 do
    out[d] = rest % shape[d] + 1
    rest = rest // shape[d]
  end
  return #out == 0 and "" or "[" .. table.concat(out, ",") .. "]"
end

local function compare(expected, got, options)
  local rtol, atol = options.rtol or 1e-6, options.atol or 1e-8
  local a, a_shape = flatten(expected)
  local b, b_shape = flatten(got)
  if shape_text(a_shape) ~= shape_text(b_shape) then
    return ("shapes differ: expected %s, got %s"):format(shape_text(a_shape), shape_text(b_shape))
  end
  local first, bad, worst = nil, 0, 0
  for i = 1, #a do
    local difference = math.abs(a[i] - b[i])
    local same = a[i] == b[i] or (a[i] ~= a[i] and b[i] ~= b[i])
    local near = difference <= atol + rtol * math.abs(a[i]) -- false for NaN
    if not same and not near then
      bad = bad + 1
      first = first or i
      worst = math.max(worst, difference == difference and difference or math.huge)
    end
  end
  if bad == 0 then return nil end
  return ("%d of %d elements differ (%s); first at %s: expected %.17g, got %.17g; "
    .. "largest difference %.3g (rtol %g, atol %g)")
    :format(bad, #a, shape_text(a_shape), index_text(first, a_shape), a[first], b[first], worst, rtol, atol)
end

local function register(name, check)
  say:set("assertion." .. name .. ".positive", name .. ": %s")
  say:set("assertion." .. name .. ".negative", name .. ": expected this not to hold%s")
  assert:register("assertion", name, function(_, arguments)
    local problem = check(table.unpack(arguments, 1, arguments.n))
    arguments[1], arguments.n = problem or "", 1 -- shown in place of the values
    arguments.nofmt = {[1] = true}
    return problem == nil
  end, "assertion." .. name .. ".positive", "assertion." .. name .. ".negative")
end

register("tensor_near", function(expected, got, options) return compare(expected, got, options or {}) end)

register("hvp_symmetric", function(apply, n, options)
  options = options or {}
  hwb.manual_seed(options.seed or 1)
  local draw = options.draw or function() return hwb.randn(n):to("float64") end
  local u, v = draw(), draw()
  local a = (u * apply(v)):sum():item()
  local b = (v * apply(u)):sum():item()
  local tol = options.tol or 1e-9
  if math.abs(a - b) <= tol * math.max(math.abs(a), math.abs(b), 1e-30) then return nil end
  return ("u'Hv = %.17g but v'Hu = %.17g (relative difference %.3g, allowed %g)")
    :format(a, b, math.abs(a - b) / math.max(math.abs(a), math.abs(b)), tol)
end)

register("grad_ok", function(f, x, options)
  options = options or {}
  local eps, tol = options.eps or 1e-5, options.tol or 1e-6
  local g = hwb.grad(f)(x)
  local got, shape = flatten(g)
  local point = flatten(x)
  local function at(i, delta)
    local list = table.move(point, 1, #point, 1, {})
    list[i] = list[i] + delta
    return f(hwb.tensor(list, {dtype = "float64"}):reshape(table.unpack(shape))):item()
  end
  for i = 1, #point do
    local want = (at(i, eps) - at(i, -eps)) / (2 * eps)
    if math.abs(want - got[i]) > tol * math.max(1, math.abs(want)) then
      return ("gradient at %s is %.12g, central difference %.12g (allowed %g)")
        :format(index_text(i, shape), got[i], want, tol)
    end
  end
end)

return function() end
