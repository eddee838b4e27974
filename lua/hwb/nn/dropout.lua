--- Dropout: the identity in evaluation mode; in training mode a mask drawn anew
-- for every step from the seeded generator.
return function(hwb, nn)
  local options = require "hwb.nn.options"
  local Dropout = nn.Module:extend("Dropout")

  --- nn.Dropout(p): zero each element with probability p, scale the rest by 1/(1-p).
  function Dropout:init(...)
    local o = options("Dropout", options.pack(...), { "p" }, {})
    if o.p < 0 or o.p >= 1 then error("Dropout: p must be in [0, 1)", 3) end
    self.p = o.p
    self.draws = {} -- by shape: the uniform numbers that a compiled program reads
  end

  -- Uniform numbers that depend on the step's seed and the size alone.
  local function draw(size, seed)
    local state = hwb.get_rng_state()
    hwb.manual_seed(seed)
    local u = hwb.rand(size)
    hwb.set_rng_state(state)
    return u
  end

  local function new_seed() return hwb.randint(1, 1 << 30, 1)[1] end

  function Dropout:forward(x)
    if not self:is_training() or self.p == 0 then return x end
    local size = x:size()
    local key = table.concat(size, "x")
    self.seed = self.seed or new_seed()
    self.draws[key] = self.draws[key] or draw(size, self.seed)
    local keep = hwb.engine.lift(x, self.draws[key]):ge(self.p):to(x:dtype())
    return x * keep * (1 / (1 - self.p))
  end

  --- New masks.
  function Dropout:before_step()
    self.seed = new_seed()
    for _, u in pairs(self.draws) do u:copy_(draw(u:size(), self.seed)) end
  end

  return { Dropout = Dropout }
end
