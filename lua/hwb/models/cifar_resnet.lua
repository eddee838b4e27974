--- ResNets for 32x32 images (He et al. 2016, section 4.2): 6n+2 layers.
--
-- shortcut = "A": identity with every second pixel and zero channels, no
-- parameters; keys as in akamaster/pytorch_resnet_cifar10.
-- shortcut = "B": 1x1 convolution and batch norm; keys as in PyHessian.

local hwb = require "hwb"
local nn = hwb.nn
local options = require "hwb.nn.options"
local init = require "hwb.nn.init"

local Block = nn.Module:extend("BasicBlock")

local function conv3(inputs, outputs, stride)
  return nn.Conv2d{ inputs, outputs, kernel = 3, stride = stride, padding = 1, bias = false }
end

function Block:init(o)
  self.inputs, self.outputs, self.stride = o.inputs, o.outputs, o.stride
  self.conv1 = conv3(o.inputs, o.outputs, o.stride)
  self.bn1 = nn.BatchNorm2d{ o.outputs }
  self.conv2 = conv3(o.outputs, o.outputs, 1)
  self.bn2 = nn.BatchNorm2d{ o.outputs }
  if o.shortcut == "B" and (o.stride ~= 1 or o.inputs ~= o.outputs) then
    self.downsample = nn.Sequential{
      nn.Conv2d{ o.inputs, o.outputs, kernel = 1, stride = o.stride, bias = false },
      nn.BatchNorm2d{ o.outputs },
    }
  end
end

--- Every second pixel, and zero channels on both sides.
function Block:subsample(x)
  if self.stride ~= 1 then
    local s = x:size()
    x = x:slice(3, 1, s[3], self.stride):slice(4, 1, s[4], self.stride)
  end
  local more = self.outputs - self.inputs
  if more == 0 then return x end
  local before = more // 2
  return x:pad({ { 0, 0 }, { before, more - before }, { 0, 0 }, { 0, 0 } })
end

function Block:forward(x)
  local y = self.bn1(self.conv1(x)):relu()
  y = self.bn2(self.conv2(y))
  local short = self.downsample and self.downsample(x) or self:subsample(x)
  return (y + short):relu()
end

local ResNet = nn.Module:extend("CifarResNet")

function ResNet:init(o)
  self.input_size = { 3, 32, 32 }
  self.conv1 = conv3(3, 16, 1)
  self.bn1 = nn.BatchNorm2d{ 16 }
  local inputs = 16
  for stage = 1, 3 do
    local outputs, blocks = 16 * 2 ^ (stage - 1) // 1 | 0, {}
    for i = 1, o.blocks do
      local stride = (i == 1 and stage > 1) and 2 or 1
      blocks[i] = Block{ inputs = inputs, outputs = outputs, stride = stride, shortcut = o.shortcut }
      inputs = outputs
    end
    self["layer" .. stage] = nn.Sequential(blocks)
  end
  self.head = o.shortcut == "A" and "linear" or "fc"
  self[self.head] = nn.Linear{ 64, o.classes }
  -- He initialisation as the two reference implementations do it: by fan-in of every
  -- weight (A), by fan-out of the convolutions (B).
  local least = o.shortcut == "A" and 2 or 4
  self:apply(function(m)
    if rawget(m, "weight") and m.weight:dim() >= least then
      m.weight:copy_(init.he(m.weight:size(), o.shortcut == "A" and "in" or "out"))
    end
  end)
end

function ResNet:forward(x)
  x = self.bn1(self.conv1(x)):relu()
  x = self.layer3(self.layer2(self.layer1(x)))
  return self[self.head](x:mean({ 3, 4 }))
end

local models = {}
for depth, blocks in pairs{ [20] = 3, [32] = 5, [44] = 7, [56] = 9, [110] = 18 } do
  local name = "resnet" .. depth
  models[name] = function(given)
    local o = options(name, given or {}, {}, { classes = 10, shortcut = "A" })
    if o.shortcut ~= "A" and o.shortcut ~= "B" then
      error(('%s: shortcut must be "A" or "B", not %q'):format(name, tostring(o.shortcut)), 2)
    end
    return ResNet{ blocks = blocks, classes = o.classes, shortcut = o.shortcut }
  end
end
return models
