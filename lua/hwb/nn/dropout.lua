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

  function Dropout:forward(x)
    if not self:is_training() or self.p == 0 then return x end
    local size = x:size()
    local key = table.concat(size, "x")
    self.draws[key] = self.draws[key] or hwb.rand(size)
    local keep = hwb.engine.lift(x, self.draws[key]):ge(self.p):to(x:dtype())
    return x * keep * (1 / (1 - self.p))
  end

  --- New masks.
  function Dropout:before_step()
    for _, u in pairs(self.draws) do u:copy_(hwb.rand(u:size())) end
  end

  return { Dropout = Dropout }
end
