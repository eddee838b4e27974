--- ResNets for ImageNet (He et al. 2016) with torchvision's parameter names.
-- stem = "cifar" replaces the first stride-2 convolution and pooling by a 3x3
-- convolution, for 32x32 images.

local hwb = require "hwb"
local nn = hwb.nn
local options = require "hwb.nn.options"
local init = require "hwb.nn.init"

local function conv(inputs, outputs, kernel, stride)
  return nn.Conv2d{ inputs, outputs, kernel = kernel, stride = stride, padding = kernel // 2,
    bias = false }
end

local function downsample(inputs, outputs, stride)
  return nn.Sequential{ conv(inputs, outputs, 1, stride), nn.BatchNorm2d{ outputs } }
end

local Basic = nn.Module:extend("BasicBlock")
Basic.expansion = 1

function Basic:init(o)
  self.conv1 = conv(o.inputs, o.width, 3, o.stride)
  self.bn1 = nn.BatchNorm2d{ o.width }
  self.conv2 = conv(o.width, o.width, 3, 1)
  self.bn2 = nn.BatchNorm2d{ o.width }
  if o.stride ~= 1 or o.inputs ~= o.width then
    self.downsample = downsample(o.inputs, o.width, o.stride)
  end
end

function Basic:forward(x)
  local y = self.bn1(self.conv1(x)):relu()
  y = self.bn2(self.conv2(y))
  return (y + (self.downsample and self.downsample(x) or x)):relu()
end

local Bottleneck = nn.Module:extend("Bottleneck")
Bottleneck.expansion = 4

function Bottleneck:init(o)
  local outputs = 4 * o.width
  self.conv1 = conv(o.inputs, o.width, 1, 1)
  self.bn1 = nn.BatchNorm2d{ o.width }
  self.conv2 = conv(o.width, o.width, 3, o.stride) -- stride here, as torchvision does
  self.bn2 = nn.BatchNorm2d{ o.width }
  self.conv3 = conv(o.width, outputs, 1, 1)
  self.bn3 = nn.BatchNorm2d{ outputs }
  if o.stride ~= 1 or o.inputs ~= outputs then
    self.downsample = downsample(o.inputs, outputs, o.stride)
  end
end

function Bottleneck:forward(x)
  local y = self.bn1(self.conv1(x)):relu()
  y = self.bn2(self.conv2(y)):relu()
  y = self.bn3(self.conv3(y))
  return (y + (self.downsample and self.downsample(x) or x)):relu()
end

local ResNet = nn.Module:extend("ResNet")

function ResNet:init(o)
  local cifar = o.stem == "cifar"
  self.input_size = cifar and { 3, 32, 32 } or { 3, 224, 224 }
  self.conv1 = cifar and conv(3, 64, 3, 1) or conv(3, 64, 7, 2)
  self.bn1 = nn.BatchNorm2d{ 64 }
  if not cifar then self.maxpool = nn.MaxPool2d{ kernel = 3, stride = 2, padding = 1 } end
  local inputs = 64
  for stage, count in ipairs(o.blocks) do
    local width, blocks = 64 << (stage - 1), {}
    for i = 1, count do
      local stride = (i == 1 and stage > 1) and 2 or 1
      blocks[i] = o.block{ inputs = inputs, width = width, stride = stride }
      inputs = width * o.block.expansion
    end
    self["layer" .. stage] = nn.Sequential(blocks)
  end
  self.fc = nn.Linear{ inputs, o.classes }
  self:apply(function(m)
    if rawget(m, "weight") and m.weight:dim() == 4 then
      m.weight:copy_(init.he(m.weight:size(), "out"))
    end
  end)
end

function ResNet:forward(x)
  x = self.bn1(self.conv1(x)):relu()
  if self.maxpool then x = self.maxpool(x) end
  for stage = 1, 4 do x = self["layer" .. stage](x) end
  return self.fc(x:mean({ 3, 4 }))
end

local kinds = {
  resnet18 = { Basic, { 2, 2, 2, 2 } },
  resnet34 = { Basic, { 3, 4, 6, 3 } },
  resnet50 = { Bottleneck, { 3, 4, 6, 3 } },
  resnet101 = { Bottleneck, { 3, 4, 23, 3 } },
}

local models = {}
for name, kind in pairs(kinds) do
  models[name] = function(given)
    local o = options(name, given or {}, {}, { classes = 1000, stem = "imagenet" })
    if o.stem ~= "cifar" and o.stem ~= "imagenet" then
      error(('%s: stem must be "imagenet" or "cifar", not %q'):format(name, tostring(o.stem)), 2)
    end
    return ResNet{ block = kind[1], blocks = kind[2], classes = o.classes, stem = o.stem }
  end
end
return models
