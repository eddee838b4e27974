-- Reading and comparing golden values (tests/golden/README.md has the formats).
local hwb = require "hwb"
local golden = {}

local source = os.getenv("HWB_TEST_SOURCE") or "."

function golden.load(name)
  local f = assert(io.open(source .. "/tests/golden/" .. name, "rb"))
  local text = f:read("a")
  f:close()
  return assert(hwb.json.decode(text))
end

-- t[i] = shift + scale * sin((31 i^2 + 7919 i + 104729 k) mod 10007)
local function angle(k, i) return (31 * i * i + 7919 * i + 104729 * k) % 10007 end

local function shaped(list, shape, dtype)
  local t = hwb.tensor(list, { dtype = dtype })
  if #shape == 0 then return t:reshape(1) end
  return t:reshape(table.unpack(shape))
end

-- A tensor from its formula entry; labels and ids become 1-based.
function golden.tensor(e)
  local n, list = 1, {}
  for _, d in ipairs(e.shape) do n = n * d end
  for i = 0, n - 1 do
    if e.classes then list[i + 1] = angle(e.k, i) % e.classes + 1
    else list[i + 1] = e.shift + e.scale * math.sin(angle(e.k, i)) end
  end
  return shaped(list, e.shape, e.classes and "int64" or "float64")
end

-- v[i] = sin(0.37 (i+1))
function golden.probe(n, offset)
  local list = {}
  for i = 1, n do list[i] = math.sin(0.37 * (i + (offset or 0))) end
  return hwb.tensor(list, { dtype = "float64" })
end

-- The largest relative deviation of a vector from a digest.
function golden.deviation(digest, vector)
  local v = vector:reshape(-1):totable()
  assert(#v == digest.n, ("%d values, %d in the digest"):format(#v, digest.n))
  local sum, norm2, s, c = 0, 0, 0, 0
  for i, x in ipairs(v) do
    sum, norm2 = sum + x, norm2 + x * x
    s, c = s + x * math.sin(0.37 * i), c + x * math.cos(0.11 * i)
  end
  local scale = math.max(digest.norm2, 1e-300) * math.sqrt(digest.n)
  local worst = math.abs(math.sqrt(norm2) - digest.norm2) / math.max(digest.norm2, 1e-300)
  worst = math.max(worst, math.abs(sum - digest.sum) / scale, math.abs(s - digest.dot_sin) / scale,
    math.abs(c - digest.dot_cos) / scale)
  local count, largest = #digest.values, 1e-300
  for _, x in ipairs(digest.values) do largest = math.max(largest, math.abs(x)) end
  for j = 0, count - 1 do
    local at = count > 1 and j * (digest.n - 1) // (count - 1) or 0
    worst = math.max(worst, math.abs(v[at + 1] - digest.values[j + 1]) / largest)
  end
  return worst
end

function golden.assert_digest(digest, vector, tolerance, what)
  local d = golden.deviation(digest, vector)
  assert(d <= tolerance, ("%s: off by %.3g, allowed %.3g"):format(what, d, tolerance))
end

function golden.assert_near(want, got, tolerance, what)
  local d = math.abs(got - want) / math.max(math.abs(want), 1e-300)
  assert(d <= tolerance, ("%s: %.17g, wanted %.17g (off by %.3g)"):format(what, got, want, d))
end

-- The shared test data, or nil.
function golden.data(name)
  local root = os.getenv("HWB_TEST_DATA")
  if not root then return nil end
  local path = root .. "/" .. name
  local f = io.open(path, "rb")
  if not f then return nil end
  f:close()
  return path
end

-- Rows (0-based over the five training files, or of "test") of unpacked CIFAR-10 as
-- float64 [n,3,32,32], normalised in float64, and 1-based labels.
function golden.cifar(folder, rows, mean, std)
  local pixels, labels = {}, {}
  for j, row in ipairs(rows) do
    local name, r = "test_batch.bin", row.row
    if row.train then name, r = ("data_batch_%d.bin"):format(row.row // 10000 + 1), row.row % 10000 end
    local f = assert(io.open(folder .. "/" .. name, "rb"))
    f:seek("set", r * 3073)
    local bytes = f:read(3073)
    f:close()
    labels[j] = bytes:byte(1) + 1
    for c = 0, 2 do
      for i = 1, 1024 do
        pixels[#pixels + 1] = (bytes:byte(1 + c * 1024 + i) / 255 - mean[c + 1]) / std[c + 1]
      end
    end
  end
  return hwb.tensor(pixels, { dtype = "float64" }):reshape(#rows, 3, 32, 32),
    hwb.tensor(labels, { dtype = "int64" })
end

return golden
