-- A physics test of trainer, operator and solver together: under full-batch gradient
-- descent the top Hessian eigenvalue settles at 2 / learning rate, the edge of
-- stability (Cohen et al. 2021).
local hwb = require "hwb"

describe("edge of stability", function()
  hwb.manual_seed(3)
  local n = 60
  local x = hwb.randn(n, 8)
  local y = ((x * hwb.randn(1, 8)):sum(2, { keep = true }) * 2):sin()

  for _, lr in ipairs{ 0.4, 0.6 } do
    it(("is where gradient descent with rate %g ends up"):format(lr), function()
      hwb.manual_seed(5)
      local m = hwb.models.mlp{ sizes = { 8, 40, 40, 1 }, activation = "tanh" }
      local history = hwb.train{ model = m, data = { x, y }, loss = "mse", batch = n,
        epochs = 1200, optimizer = hwb.optim.sgd{ lr = lr } }
      local H = hwb.hessian(m, { data = { x, y }, loss = "mse" })
      local top = H:eigs{ k = 1, tol = 1e-3 }.values[1]
      assert.is_true(history[#history].loss < 0.01 * history[1].loss)
      assert(math.abs(top - 2 / lr) <= 0.1 * 2 / lr, ("top %.4g, 2/rate %.4g"):format(top, 2 / lr))
    end)
  end
end)
