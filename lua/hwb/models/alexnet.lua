--- AlexNet (Krizhevsky et al. 2012) with batch norm in place of the response
-- normalisation, as nvcaffe's models/alexnet_bn has it and large-batch training uses it
-- (You et al. 2017): 227x227 images, two groups in conv2, conv4 and conv5, biases after
-- conv4 only; weights from normal distributions of fixed width.

local hwb = require "hwb"
local nn = hwb.nn
local options = require "hwb.nn.options"

local AlexNet = nn.Module:extend("AlexNetBN")

local function normal_(t, sd) t:copy_(hwb.randn(t:size()) * sd) end

-- inputs, outputs, kernel, stride, padding, groups
local function conv(spec, bias)
  local m = nn.Conv2d{ spec[1], spec[2], kernel = spec[3], stride = spec[4], padding = spec[5],
    groups = spec[6], bias = bias ~= nil }
  normal_(m.weight, 0.01)
  if bias then m.bias:fill_(bias) end
  return m
end

local function dense(inputs, outputs, sd, bias)
  local m = nn.Linear{ inputs, outputs }
  normal_(m.weight, sd)
  m.bias:fill_(bias)
  return m
end

local function norm(channels) return nn.BatchNorm2d{ channels, eps = 1e-4, momentum = 0.1 } end

function AlexNet:init(o)
  self.input_size = { 3, 227, 227 }
  self.pool = nn.MaxPool2d{ kernel = 3, stride = 2 }
  self.drop = nn.Dropout{ o.dropout }
  self.conv1 = conv{ 3, 96, 11, 4, 0, 1 }
  self.bn1 = norm(96)
  self.conv2 = conv{ 96, 256, 5, 1, 2, 2 }
  self.bn2 = norm(256)
  self.conv3 = conv{ 256, 384, 3, 1, 1, 1 }
  self.bn3 = norm(384)
  self.conv4 = conv{ 384, 384, 3, 1, 1, 2 }
  self.bn4 = norm(384)
  self.conv5 = conv({ 384, 256, 3, 1, 1, 2 }, 0.1)
  self.bn5 = norm(256)
  self.fc6 = dense(256 * 6 * 6, 4096, 0.005, 0.1)
  self.fc7 = dense(4096, 4096, 0.005, 0.1)
  self.fc8 = dense(4096, o.classes, 0.01, 0)
end

function AlexNet:forward(x)
  x = self.pool(self.bn1(self.conv1(x)):relu())
  x = self.pool(self.bn2(self.conv2(x)):relu())
  x = self.bn3(self.conv3(x)):relu()
  x = self.bn4(self.conv4(x)):relu()
  x = self.pool(self.bn5(self.conv5(x)):relu())
  x = self.drop(self.fc6(x:flatten(2)):relu())
  x = self.drop(self.fc7(x):relu())
  return self.fc8(x)
end

local function alexnet_bn(given)
  local o = options("alexnet_bn", given or {}, {}, { classes = 1000, dropout = 0.5 })
  return AlexNet{ classes = o.classes, dropout = o.dropout }
end

return { alexnet_bn = alexnet_bn }
