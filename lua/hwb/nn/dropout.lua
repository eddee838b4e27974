--- Dropout: the identity in evaluation mode; in training mode a mask drawn
-- anew at every trace from the seeded generator.
return function(hwb, nn)
  local options = require "hwb.nn.options"
  local Dropout = nn.Module:extend("Dropout")

  --- nn.Dropout{p}: zero each element with probability p, scale the rest by 1/(1-p).
  function Dropout:init(given)
    local o = options("Dropout", given, { "p" }, {})
    if o.p < 0 or o.p >= 1 then error("Dropout: p must be in [0, 1)", 3) end
    self.p = o.p
  end

  function Dropout:forward(x)
    if not self:is_training() or self.p == 0 then return x end
    local keep = hwb.rand(x:size()):ge(self.p):to(x:dtype())
    return x * (keep / (1 - self.p))
  end

  return { Dropout = Dropout }
end
