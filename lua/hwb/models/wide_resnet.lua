--- Wide residual networks for 32x32 images (Zagoruyko & Komodakis 2016): 6n+4 layers,
-- three groups of n pre-activation blocks, `width` times the channels of a ResNet.  Where
-- the shape changes, the shortcut is a 1x1 convolution of the activation that the block
-- shares.  Parameter names as in xternalz/WideResNet-pytorch.

local hwb = require "hwb"
local nn = hwb.nn
local options = require "hwb.nn.options"
local init = require "hwb.nn.init"

local function conv(inputs, outputs, kernel, stride)
  local m = nn.Conv2d{ inputs, outputs, kernel = kernel, stride = stride, padding = kernel // 2, bias = false }
  m.weight:copy_(init.he(m.weight:size(), "out"))
  return m
end

local Block = nn.Module:extend("WideBlock")

function Block:init(o)
  self.bn1 = nn.BatchNorm2d{ o.inputs }
  self.conv1 = conv(o.inputs, o.outputs, 3, o.stride)
  self.bn2 = nn.BatchNorm2d{ o.outputs }
  self.drop = nn.Dropout{ o.dropout }
  self.conv2 = conv(o.outputs, o.outputs, 3, 1)
  if o.inputs ~= o.outputs then self.convShortcut = conv(o.inputs, o.outputs, 1, o.stride) end
end

function Block:forward(x)
  local a = self.bn1(x):relu()
  local y = self.drop(self.bn2(self.conv1(a)):relu())
  return self.conv2(y) + (self.convShortcut and self.convShortcut(a) or x)
end

local Group = nn.Module:extend("WideGroup")
function Group:init(blocks) self.layer = nn.Sequential(blocks) end
function Group:forward(x) return self.layer(x) end

local WideResNet = nn.Module:extend("WideResNet")

function WideResNet:init(o)
  self.input_size = { 3, 32, 32 }
  self.conv1 = conv(3, 16, 3, 1)
  local inputs = 16
  for group = 1, 3 do
    local outputs, blocks = (16 << (group - 1)) * o.width, {}
    for i = 1, (o.depth - 4) // 6 do
      blocks[i] = Block{ inputs = inputs, outputs = outputs, dropout = o.dropout,
        stride = (i == 1 and group > 1) and 2 or 1 }
      inputs = outputs
    end
    self["block" .. group] = Group(blocks)
  end
  self.bn1 = nn.BatchNorm2d{ inputs }
  self.fc = nn.Linear{ inputs, o.classes }
  self.fc.bias:fill_(0)
end

function WideResNet:forward(x)
  x = self.block3(self.block2(self.block1(self.conv1(x))))
  return self.fc(self.bn1(x):relu():mean({ 3, 4 }))
end

local models = {}

--- wide_resnet{depth=16, width=4, classes=10, dropout=0}
function models.wide_resnet(given)
  local o = options("wide_resnet", given or {}, {}, { depth = 16, width = 4, classes = 10, dropout = 0 })
  if math.type(o.depth) ~= "integer" or o.depth < 10 or o.depth % 6 ~= 4 then
    error(("wide_resnet: depth must be 6n+4, from 10 on, not %s"):format(tostring(o.depth)), 2)
  end
  if math.type(o.width) ~= "integer" or o.width < 1 then
    error(("wide_resnet: width must be a positive whole number, not %s"):format(tostring(o.width)), 2)
  end
  return WideResNet{ depth = o.depth, width = o.width, classes = o.classes, dropout = o.dropout }
end

function models.wrn16_4(given)
  local o = options("wrn16_4", given or {}, {}, { classes = 10, dropout = 0 })
  return models.wide_resnet{ depth = 16, width = 4, classes = o.classes, dropout = o.dropout }
end

return models
