--- SqueezeNext, 1.0-SqNxt-23 (Gholami et al. 2018, arXiv:1803.10615), as the authors'
-- network definition has it: blocks of two 1x1 reductions, a 3x1 and a 1x3 convolution (in
-- the other order in every second block of a stage) and a 1x1 expansion, each with batch
-- norm and ReLU and without bias.
--
-- stem = "imagenet": 7x7 with stride 2 and a pool, for 227x227 images; "cifar": 3x3 for
-- 32x32 images, as in SqueezeNext.PyTorch.

local hwb = require "hwb"
local nn = hwb.nn
local options = require "hwb.nn.options"
local init = require "hwb.nn.init"

-- U(-b, b) with b = sqrt(3 / inputs of an output): Caffe's "xavier".
local function xavier_(m)
  local shape = m.weight:size()
  m.weight:copy_(init.uniform(shape, math.sqrt(3 / init.fan_in(shape))))
  return m
end

local Unit = nn.Module:extend("ConvBNReLU")

function Unit:init(o)
  self.conv = xavier_(nn.Conv2d{ o[1], o[2], kernel = o[3], stride = o[4] or 1, padding = o[5] or 0,
    bias = false })
  self.bn = nn.BatchNorm2d{ o[2] }
end

function Unit:forward(x) return self.bn(self.conv(x)):relu() end

local Block = nn.Module:extend("SqueezeNextBlock")

-- Strided blocks keep the width of their input, narrowing ones quarter it, others halve it.
local function width_of(o)
  if o.stride == 2 then return o.inputs end
  return o.inputs // (o.inputs > o.outputs and 4 or 2)
end

function Block:init(o)
  local width = width_of(o)
  local tall, wide = { { 3, 1 }, { 1, 0 } }, { { 1, 3 }, { 0, 1 } }
  local first, second = tall, wide
  if o.index % 2 == 0 then first, second = wide, tall end
  if o.stride == 2 or o.inputs > o.outputs then
    self.shortcut = Unit{ o.inputs, o.outputs, 1, o.stride }
  end
  self.conv1 = Unit{ o.inputs, width, 1, o.stride }
  self.conv2 = Unit{ width, width // 2, 1 }
  self.conv3 = Unit{ width // 2, width, first[1], 1, first[2] }
  self.conv4 = Unit{ width, width, second[1], 1, second[2] }
  self.conv5 = Unit{ width, o.outputs, 1 }
end

function Block:forward(x)
  local y = self.conv5(self.conv4(self.conv3(self.conv2(self.conv1(x)))))
  return (y + (self.shortcut and self.shortcut(x) or x)):relu()
end

local SqueezeNext = nn.Module:extend("SqueezeNext")

function SqueezeNext:init(o)
  local cifar = o.stem == "cifar"
  self.input_size = cifar and { 3, 32, 32 } or { 3, 227, 227 }
  self.conv1 = cifar and Unit{ 3, 64, 3, 1, 1 } or Unit{ 3, 64, 7, 2 }
  if not cifar then self.pool = nn.MaxPool2d{ kernel = 3, stride = 2, ceil = true } end
  local inputs = 64
  for stage, count in ipairs{ 6, 6, 8, 1 } do
    local outputs, blocks = 16 << stage, {}
    for i = 1, count do
      blocks[i] = Block{ inputs = inputs, outputs = outputs, index = i,
        stride = (i == 1 and stage > 1) and 2 or 1 }
      inputs = outputs
    end
    self["stage" .. stage] = nn.Sequential(blocks)
  end
  self.conv2 = Unit{ 256, 128, 1 }
  self.fc = xavier_(nn.Linear{ 128, o.classes, bias = false })
end

function SqueezeNext:forward(x)
  x = self.conv1(x)
  if self.pool then x = self.pool(x) end
  for stage = 1, 4 do x = self["stage" .. stage](x) end
  return self.fc(self.conv2(x):mean({ 3, 4 }))
end

local function squeezenext23(given)
  local o = options("squeezenext23", given or {}, {}, { classes = 1000, stem = "imagenet" })
  if o.stem ~= "cifar" and o.stem ~= "imagenet" then
    error(('squeezenext23: stem must be "imagenet" or "cifar", not %q'):format(tostring(o.stem)), 2)
  end
  return SqueezeNext{ classes = o.classes, stem = o.stem }
end

return { squeezenext23 = squeezenext23 }
