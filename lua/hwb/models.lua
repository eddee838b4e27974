--- The model zoo: hwb.models.resnet20{classes = 10, shortcut = "A"} and so on.
-- Names and shapes of the parameters are those of the published checkpoints.

local makers = {
  c1 = "cifar_cnn", c2 = "cifar_cnn",
  resnet20 = "cifar_resnet", resnet32 = "cifar_resnet", resnet44 = "cifar_resnet",
  resnet56 = "cifar_resnet", resnet110 = "cifar_resnet",
  resnet18 = "resnet", resnet34 = "resnet", resnet50 = "resnet", resnet101 = "resnet",
  alexnet_bn = "alexnet", squeezenext23 = "squeezenext",
  wide_resnet = "wide_resnet", wrn16_4 = "wide_resnet",
  mlp = "mlp",
}

local models = {}

--- Names of all models, sorted.
function models.list()
  local names = {}
  for name in pairs(makers) do names[#names + 1] = name end
  table.sort(names)
  return names
end

return setmetatable(models, {
  __index = function(t, name)
    local file = makers[name]
    if not file then return nil end
    for k, make in pairs(require("hwb.models." .. file)) do rawset(t, k, make) end
    return rawget(t, name)
  end,
})
