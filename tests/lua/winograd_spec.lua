-- Float32 Hessians of a network with kinks keep float64's side of them, whatever
-- algorithm computes the convolutions: on these images one unit of a forward pass
-- rounded by Winograd's algorithm falls on the other side of zero (1e-3 of Hv).
local study = require "hwb.study"

describe("float32 products", function()
  local model = hwb.models.resnet20{}
  assert(model:load(study.bundled_weights()))
  local norm = hwb.data.norms.shapes10
  local x, y = hwb.data.shapes10{ split = "train", mean = norm.mean, std = norm.std }:batch(1, 64)

  it("differ from float64 by rounding alone", function()
    local v = hwb.randn(432)
    local single = hwb.hessian(model, { data = { x, y } }):block("conv1"):apply(v)
    model:to("float64")
    local double = hwb.hessian(model, { data = { x:to("float64"), y } }):block("conv1"):apply(v:to("float64"))
    local error = (single:to("float64") - double):norm():item() / double:norm():item()
    assert.is_true(error > 0 and error < 2e-5, "relative error " .. error)
  end)
end)
