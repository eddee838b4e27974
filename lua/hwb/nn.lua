--- Layers.  Every layer is a module (see hwb.nn.module); options are one table.

local hwb = require "hwb"
local Module = require "hwb.nn.module"

local nn = { Module = Module }

--- Marks a tensor as a parameter when it is assigned to a module's field.
function nn.parameter(t) return { _role = "parameter", tensor = t } end

--- Marks a tensor as a buffer (saved, not trained).
function nn.buffer(t) return { _role = "buffer", tensor = t } end

local files = {
  Conv2d = "conv", Linear = "linear", Embedding = "linear",
  BatchNorm2d = "norm", LayerNorm = "norm",
  ReLU = "activation", GELU = "activation", Tanh = "activation", Sigmoid = "activation",
  SiLU = "activation", Softplus = "activation", Identity = "activation", Lambda = "activation",
  Dropout = "dropout",
  MaxPool2d = "pool", AvgPool2d = "pool", GlobalAvgPool2d = "pool", Flatten = "pool",
  Sequential = "sequential", ModuleList = "sequential",
  MultiHeadAttention = "attention", TransformerEncoderLayer = "attention",
}

setmetatable(nn, {
  __index = function(t, name)
    local file = files[name]
    if not file then return nil end
    for k, v in pairs(require("hwb.nn." .. file)(hwb, nn)) do rawset(t, k, v) end
    return rawget(t, name)
  end,
})

return nn
