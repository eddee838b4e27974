--- The small convolutional networks of the large-batch experiments, with batch
-- norm after the ReLU.
--   C1  5x5 convolutions, overlapping pools, 4096-384-192-classes
--   C2  3x3 convolutions without padding, 3200-256-256-classes

local hwb = require "hwb"
local nn = hwb.nn
local options = require "hwb.nn.options"

local Net = nn.Module:extend("CifarCNN")

function Net:init(o)
  self.input_size = { 3, 32, 32 }
  self.features = nn.Sequential(o.features)
  self.classifier = nn.Sequential(o.classifier)
end

function Net:forward(x) return self.classifier(self.features(x):flatten(2)) end

local function unit(list, inputs, outputs, kernel, padding)
  list[#list + 1] = nn.Conv2d{ inputs, outputs, kernel = kernel, padding = padding }
  list[#list + 1] = nn.ReLU{}
  list[#list + 1] = nn.BatchNorm2d{ outputs }
end

local function dense(sizes)
  local list = {}
  for i = 2, #sizes do
    list[#list + 1] = nn.Linear{ sizes[i - 1], sizes[i] }
    if i < #sizes then list[#list + 1] = nn.ReLU{} end
  end
  return list
end

local models = {}

function models.c1(given)
  local o = options("c1", given or {}, {}, { classes = 10 })
  local f = {}
  for i = 1, 2 do
    unit(f, i == 1 and 3 or 64, 64, 5, 2)
    f[#f + 1] = nn.MaxPool2d{ kernel = 3, stride = 2, padding = 1 }
  end
  return Net{ features = f, classifier = dense{ 4096, 384, 192, o.classes } }
end

function models.c2(given)
  local o = options("c2", given or {}, {}, { classes = 10 })
  local f = {}
  unit(f, 3, 64, 3, 0)
  unit(f, 64, 64, 3, 0)
  f[#f + 1] = nn.MaxPool2d{ kernel = 2 }
  unit(f, 64, 128, 3, 0)
  unit(f, 128, 128, 3, 0)
  f[#f + 1] = nn.MaxPool2d{ kernel = 2 }
  return Net{ features = f, classifier = dense{ 3200, 256, 256, o.classes } }
end

return models
