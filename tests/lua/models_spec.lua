-- The networks of the large-batch experiments: published numbers of parameters, names,
-- initial weights, and that each learns.
local nn = hwb.nn

local function names_of(m)
  local set = {}
  for name, t in m:parameters() do set[name] = table.concat(t:size(), "x") end
  return set
end

local function deviation(t)
  return math.sqrt(((t - t:mean():item()) ^ 2):mean():item())
end

describe("the model zoo", function()
  local alexnet_bn
  setup(function()
    hwb.manual_seed(3)
    alexnet_bn = hwb.models.alexnet_bn{ dropout = 0 } -- 61 million numbers to draw: once for all tests
  end)

  -- c1, c2, resnet20: the programs of the papers; resnet18: torchvision, and
  -- kuangliu/pytorch-cifar with 10 classes; wrn16_4: xternalz/WideResNet-pytorch;
  -- squeezenext23: the authors' train_val.prototxt (0.72 M in the paper; imgclsmob's 724,056
  -- count the 5,776 biases of its convolutions and the 1,000 of its classifier too);
  -- alexnet_bn: nvcaffe's models/alexnet_bn, BVLC AlexNet's 60,965,224 less the 1,120
  -- biases of conv1 to conv4, with 2,752 scales and shifts.
  local published = {
    { "c1", 1756682 }, { "c2", 1148746 },
    { "resnet20", 269722, { shortcut = "A" } }, { "resnet20", 272474, { shortcut = "B" } },
    { "resnet18", 11689512 }, { "resnet18", 11173962, { stem = "cifar", classes = 10 } },
    { "squeezenext23", 717280 }, { "wrn16_4", 2748890 },
  }

  it("has the published numbers of parameters", function()
    for _, p in ipairs(published) do
      assert.equal(p[2], hwb.models[p[1]](p[3]):num_parameters(), p[1])
      collectgarbage()
    end
    assert.equal(724056, 717280 + 5776 + 1000)
    assert.equal(60965224 - 1120 + 2752, alexnet_bn:num_parameters())
  end)

  it("has the published numbers of multiplications", function()
    local function macs(m)
      local n = 0
      for _, l in ipairs(m:layers()) do n = n + l.macs end
      return n
    end
    assert.equal(1814073344, macs(hwb.models.resnet18()))
    assert.equal(392612352, macs(hwb.models.wrn16_4()))
  end)

  it("names and shapes parameters as the published checkpoints do", function()
    local wrn = names_of(hwb.models.wrn16_4())
    assert.equal("64x16x3x3", wrn["block1.layer.0.conv1.weight"])
    assert.equal("64x16x1x1", wrn["block1.layer.0.convShortcut.weight"])
    assert.is_nil(wrn["block1.layer.1.convShortcut.weight"])
    assert.equal("256", wrn["bn1.weight"])
    local alexnet = names_of(alexnet_bn)
    assert.equal("256x48x5x5", alexnet["conv2.weight"])
    assert.is_nil(alexnet["conv4.bias"])
    assert.equal("256", alexnet["conv5.bias"])
    local sq = names_of(hwb.models.squeezenext23())
    assert.equal("16x8x3x1", sq["stage1.0.conv3.conv.weight"])
    assert.equal("16x8x1x3", sq["stage1.1.conv3.conv.weight"])
    assert.equal("1000x128", sq["fc.weight"])
  end)

  it("starts from the papers' distributions", function()
    hwb.manual_seed(3)
    -- He by fan-out: sqrt(2 / (9 * 64)); 36864 weights, so 1 % is three standard errors
    local r = hwb.models.resnet20{ shortcut = "B" }
    assert.near(math.sqrt(2 / 576), deviation(r:get("layer3.2.conv1.weight")), 0.0006)
    local w = hwb.models.wrn16_4()
    assert.near(math.sqrt(2 / (9 * 256)), deviation(w:get("block3.layer.1.conv2.weight")), 0.0003)
    assert.equal(0, w:get("fc.bias"):abs():max():item())
    -- U(-b, b), b = sqrt(3 / 384): the largest of 49152 is close to b
    local s = hwb.models.squeezenext23()
    local t = s:get("stage4.0.conv4.conv.weight")
    assert.near(math.sqrt(3 / 384), t:abs():max():item(), 1e-4)
    local a = alexnet_bn
    assert.near(0.01, deviation(a:get("conv3.weight")), 1e-4)
    assert.near(0.1, a:get("conv5.bias"):mean():item(), 1e-7)
    assert.near(0.1, a:get("fc7.bias"):mean():item(), 1e-7)
  end)

  it("learns", function()
    local x, y = hwb.data.shapes10{ split = "train", count = 8 }:batch(1, 8)
    local function learns(m, lr, inputs, labels)
      local h = hwb.train{ model = m, data = { inputs or x, labels or y }, batch = 8, epochs = 2,
        shuffle = false, drop_last = false, optimizer = hwb.optim.sgd{ lr = lr, momentum = 0.9 } }
      assert.is_true(h[2].loss < h[1].loss, ("%s: %g after %g"):format(m.__name, h[2].loss, h[1].loss))
    end
    hwb.manual_seed(4)
    learns(hwb.models.c1(), 0.01)
    learns(hwb.models.c2(), 0.01)
    learns(hwb.models.resnet20{ shortcut = "A" }, 0.02)
    learns(hwb.models.resnet20{ shortcut = "B" }, 0.02)
    learns(hwb.models.wrn16_4(), 0.02)
    learns(hwb.models.resnet18{ stem = "cifar", classes = 10 }, 0.01)
    learns(hwb.models.squeezenext23{ stem = "cifar", classes = 10 }, 0.02)
    learns(alexnet_bn, 0.001, hwb.rand(2, 3, 227, 227), y:narrow(1, 1, 2))
  end)

  it("refuses what it does not know", function()
    assert.error_matches(function() hwb.models.wide_resnet{ depth = 20 } end, "6n%+4")
    assert.error_matches(function() hwb.models.squeezenext23{ stem = "big" } end, "stem must be")
    assert.error_matches(function() hwb.models.alexnet_bn{ class = 10 } end, "unknown option")
    assert.is_true(nn.Module.is_module(hwb.models.wide_resnet{ depth = 10, width = 1 }))
  end)
end)
