-- hwb.train's optimizers, accumulation, clipping and schedules against the trajectories of
-- torch.optim and torch.optim.lr_scheduler (tests/golden/make_optim.py).
local golden = dofile((os.getenv("HWB_TEST_SOURCE") or ".") .. "/tests/lua/golden.lua")
local nn = hwb.nn

local file = golden.load("optim.json")

local function formula(k, shape, scale) return golden.tensor{ k = k, shape = shape, scale = scale or 1, shift = 0 } end

local function schedule_of(s)
  if not s then return nil end
  local o = {}
  for k, v in pairs(s) do if k ~= "kind" then o[k] = v end end
  return hwb.optim[s.kind](o)
end

local function train(case, micro)
  local m = nn.Linear{ 5, 3 }:to("float64")
  m.weight:copy_(formula(2, { 3, 5 }, 0.5))
  m.bias:copy_(formula(3, { 3 }, 0.5))
  local o = { clip = case.clip }
  for k, v in pairs(case.options) do o[k] = v end
  local h = hwb.train{ model = m, data = { formula(1, { 12, 5 }), golden.tensor{ k = 4, shape = { 12 }, classes = 3 } },
    batch = case.batch, micro = micro or case.micro, epochs = case.epochs, shuffle = false, drop_last = false,
    optimizer = hwb.optim[case.kind](o), schedule = schedule_of(case.schedule) }
  return m, h
end

describe("hwb.train follows PyTorch", function()
  local names = {}
  for name in pairs(file.cases) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    it("with " .. name, function()
      local case = file.cases[name]
      local m, h = train(case)
      assert.tensor_near(case.parameters, m:flat_parameters(), { rtol = 1e-11, atol = 1e-12 })
      local per = #case.losses // case.epochs
      for e, row in ipairs(h) do
        local mean = 0
        for i = 1, per do mean = mean + case.losses[(e - 1) * per + i] / per end
        golden.assert_near(mean, row.loss, 1e-11, "loss of epoch " .. e)
        golden.assert_near(case.rates[e * per], row.lr, 1e-12, "learning rate of epoch " .. e)
      end
    end)
  end

  it("in every case there is, each different from the others", function()
    assert.equal(15, #names)
    local seen = {}
    for _, name in ipairs(names) do
      local key = ("%.10g"):format(file.cases[name].parameters[1])
      if name ~= "sgd_micro" then assert.is_nil(seen[key]) end
      seen[key] = name
    end
  end)
end)
