-- Small networks, written as a user would write them, against PyTorch double
-- backward in float64: an odd activation, shared weights, learned scales, strided,
-- dilated and grouped convolutions, both batch-norm modes, attention.
local hwb = require "hwb"
local golden = dofile((os.getenv("HWB_TEST_SOURCE") or ".") .. "/tests/lua/golden.lua")
local nn = hwb.nn
local small = golden.load("small.json")

---------------------------------------------------------------------------
-- the networks

local MLP = nn.Module:extend("GoldenMLP")
function MLP:init(o)
  self.activations = o.activations
  self.fc1 = nn.Linear{ 5, 7 }
  self.fc2 = nn.Linear{ 7, 6 }
  self.fc3 = nn.Linear{ 6, 4 }
end
function MLP:forward(x)
  for i = 1, 3 do
    x = self["fc" .. i](x)
    local a = self.activations[i]
    if a and a ~= "none" then x = hwb[a](x) end
  end
  return x
end

local ConvNet = nn.Module:extend("GoldenConvNet")
function ConvNet:init()
  self.conv1 = nn.Conv2d{ 3, 8, kernel = { 3, 2 }, stride = { 2, 1 }, padding = { 1, 2 }, bias = false }
  self.bn1 = nn.BatchNorm2d{ 8 }
  self.conv2 = nn.Conv2d{ 8, 6, kernel = 3, padding = 2, dilation = 2, groups = 2 }
  self.bn2 = nn.BatchNorm2d{ 6 }
  self.conv3 = nn.Conv2d{ 6, 6, kernel = { 3, 2 }, padding = { 1, 0 }, groups = 6 }
  self.fc = nn.Linear{ 18, 5 }
end
function ConvNet:forward(x)
  x = self.bn1(self.conv1(x)):relu():max_pool2d{ kernel = 3, stride = 2, padding = 1 }
  x = self.bn2(self.conv2(x)):gelu()
  x = self.conv3(x):tanh():avg_pool2d{ kernel = { 3, 2 }, stride = { 1, 2 } }
  return self.fc(x:flatten(2))
end

local Scale = nn.Module:extend("GoldenScale")
function Scale:init()
  self.s1 = nn.parameter(hwb.ones(1))
  self.s2 = nn.parameter(hwb.ones(1))
end
function Scale:forward(x) return x end -- luacheck: ignore self

local Shared = nn.Module:extend("GoldenShared")
function Shared:init()
  self.conv = nn.Conv2d{ 4, 4, kernel = 3, padding = 1, bias = false }
  self.scale = Scale{}
  self.fc = nn.Linear{ 4, 3 }
end
function Shared:forward(x)
  local function odd(t) return t * t:sin() end
  local y = odd(self.conv(odd(self.conv(x))))
  y = y * self.scale.s1 + x * self.scale.s2:exp()
  return self.fc(y:mean({ 3, 4 }))
end

local Layer = nn.Module:extend("GoldenLayer")
function Layer:init()
  for _, k in ipairs{ "q", "k", "v", "o" } do self[k] = nn.Linear{ 8, 8 } end
  self.norm1 = nn.LayerNorm{ 8, eps = 1e-12 }
  self.up = nn.Linear{ 8, 16 }
  self.down = nn.Linear{ 16, 8 }
  self.norm2 = nn.LayerNorm{ 8, eps = 1e-12 }
end
function Layer:forward(x, mask)
  local s = x:size()
  local function split(t) return t:reshape(s[1], s[2], 2, 4):permute(1, 3, 2, 4) end
  local a = hwb.attention(split(self.q(x)), split(self.k(x)), split(self.v(x)), mask)
  x = self.norm1(x + self.o(a:permute(1, 3, 2, 4):reshape(s[1], s[2], 8)))
  return self.norm2(x + self.down(self.up(x):gelu()))
end

local Embed = nn.Module:extend("GoldenEmbed")
function Embed:init()
  self.word = nn.parameter(hwb.zeros(11, 8))
  self.position = nn.parameter(hwb.zeros(7, 8))
  self.norm = nn.LayerNorm{ 8, eps = 1e-12 }
end
function Embed:forward(ids) return self.norm(self.word:index_select(1, ids) + self.position) end

local Encoder = nn.Module:extend("GoldenEncoder")
function Encoder:init(o)
  self.mask, self.keep = o.mask, o.keep
  self.embed = Embed{}
  self.layer1 = Layer{}
  self.layer2 = Layer{}
  self.head = nn.Linear{ 8, 5 }
end
function Encoder:forward(ids)
  local x = self.embed(ids)
  x = self.layer2(self.layer1(x, self.mask), self.mask)
  return self.head(x):reshape(-1, 5):index_select(1, self.keep)
end

---------------------------------------------------------------------------
-- building a case

local function encoder(case)
  local lengths, keep, mask = case.inputs.lengths, {}, {}
  for n = 1, 4 do
    for t = 1, 7 do
      local there = t <= lengths[n]
      if there then keep[#keep + 1] = (n - 1) * 7 + t end
      mask[#mask + 1] = there and 0 or -10000
    end
  end
  local m = Encoder{
    keep = hwb.tensor(keep, { dtype = "int64" }),
    mask = hwb.tensor(mask, { dtype = "float64" }):reshape(4, 1, 1, 7),
  }
  local y = golden.tensor(case.inputs.y):reshape(-1)
  local labels = {}
  for i, k in ipairs(keep) do labels[i] = y[k] end
  return m, golden.tensor(case.inputs.ids), hwb.tensor(labels, { dtype = "int64" })
end

local function build(name, case)
  local m, x, y
  if name:match("^mlp") then m = MLP{ activations = case.inputs.activations }
  elseif name:match("^conv") then m = ConvNet{}
  elseif name == "shared" then m = Shared{}
  else m, x, y = encoder(case) end
  m:to("float64")
  for _, list in ipairs{ case.parameters, case.buffers or {} } do
    for _, p in ipairs(list) do
      m:get(p.name):copy_(golden.tensor(p):reshape(table.unpack(m:get(p.name):size())))
    end
  end
  return m, x or golden.tensor(case.inputs.x), y or golden.tensor(case.inputs.y)
end

---------------------------------------------------------------------------

-- Every column of the matrix, K at a time.
local function dense(H)
  local rows = H:apply(hwb.eye(H.n, { dtype = "float64" }))
  return rows
end

local names = {}
for name, case in pairs(small) do if case.parameters then names[#names + 1] = name end end
table.sort(names)

for _, name in ipairs(names) do
  describe("golden " .. name, function()
    local case = small[name]
    local m, x, y = build(name, case)
    local bn = case.inputs.bn or "eval"
    local options = { data = { x, y }, bn = bn,
      loss = case.inputs.loss == "mse" and "mse" or "cross_entropy" }
    local H = hwb.hessian(m, options)
    local v = golden.probe(case.n)

    it("has the loss and the gradient", function()
      assert.are.equal(case.n, H.n)
      local loss, gradient = H:gradient()
      golden.assert_near(case.loss, loss, 1e-12, "loss")
      golden.assert_digest(case.grad, gradient, 1e-11, "gradient")
    end)

    it("has Hv, Gv and Fv", function()
      local hv = H:apply(v)
      golden.assert_digest(case.hv, hv, 1e-10, "Hv")
      golden.assert_near(case.vhv, (hv * v):sum():item(), 1e-9, "vHv")
      golden.assert_digest(case.ggn_v, hwb.ggn(m, options):apply(v), 1e-10, "Gv")
      if case.fisher_v then
        golden.assert_digest(case.fisher_v, hwb.fisher(m, options):apply(v), 1e-10, "Fv")
      end
    end)

    it("has every block, its trace and its extreme eigenvalues", function()
      for block, b in pairs(case.blocks) do
        local B = H:block(block)
        assert.are.equal(b.n, B.n)
        golden.assert_digest(b.hv, B:apply(v:narrow(1, b.offset + 1, b.n)), 1e-9, block)
        local d, trace = dense(B), 0
        for i = 1, b.n do trace = trace + d[{ i, i }] end
        assert(math.abs(trace - b.trace) <= 1e-9 * math.max(1, math.abs(b.trace)),
          ("%s: trace %.12g, wanted %.12g"):format(block, trace, b.trace))
        local e = B:eigs{ k = 1, which = "LA", tol = 1e-9, maxiter = 4 * b.n }
        assert(math.abs(e.values[1] - b.largest) <= 1e-8 * math.max(1, math.abs(b.largest)),
          ("%s: largest %.12g, wanted %.12g"):format(block, e.values[1], b.largest))
      end
    end)

    -- Which layer reads the activation that the golden file calls so.
    local readers = { act1 = "fc2", act2 = "fc3", pool1 = "conv2", pool2 = "fc" }
    if case.activation_traces and bn == "eval" then
      it("has the activations' traces, exactly", function()
        local checked = 0
        for node, want in pairs(case.activation_traces) do
          if readers[node] then
            local A = H:activation(readers[node])
            assert.are.equal(want.elements * x:size(1), A.n)
            local d, trace = dense(A), 0
            for i = 1, A.n do trace = trace + d[{ i, i }] end
            assert(math.abs(trace - want.mean) <= 1e-9 * math.max(1, math.abs(want.mean)),
              ("%s: trace %.12g, wanted %.12g"):format(node, trace, want.mean))
            checked = checked + 1
          end
        end
        assert.is_true(checked > 0)
      end)
    end

    it("has the whole matrix", function()
      local d, trace, frobenius = dense(H), 0, 0
      local list = d:totable()
      for i = 1, case.n do
        trace = trace + list[i][i]
        for j = 1, case.n do frobenius = frobenius + list[i][j] ^ 2 end
      end
      assert(math.abs(trace - case.dense.trace) <= 1e-9 * math.max(1, math.abs(case.dense.trace)))
      golden.assert_near(case.dense.frobenius, math.sqrt(frobenius), 1e-9, "norm")
      for i = 1, case.n do
        for j = 1, i do
          assert(math.abs(list[i][j] - list[j][i]) <= 1e-10, "not symmetric")
        end
      end
    end)
  end)
end
