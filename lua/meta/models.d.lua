---@meta
-- The model zoo.  Modules start in evaluation mode with random weights (hwb.manual_seed);
-- m:load(path) reads checkpoints by parameter names.

hwb.models = {}

--- Names of all models.
---@return string[]
---```lua
---print(table.concat(hwb.models.list(), " "))
---```
function hwb.models.list() end

--- C1 of the large-batch experiments: two 5x5 convolutions with batch norm after the ReLU,
--- three dense layers; 32x32 images; 1,756,682 parameters.
---@param options? {classes: integer}
---@return table
---```lua
---local m = hwb.models.c1{}
---```
function hwb.models.c1(options) end

--- C2 of the large-batch experiments: four 3x3 convolutions, three dense layers; 32x32
--- images; 1,148,746 parameters.
---@param options? {classes: integer}
---@return table
---```lua
---local m = hwb.models.c2{}
---```
function hwb.models.c2(options) end

--- ResNet20 for 32x32 images.  shortcut "A": without parameters (269,722), "B": 1x1
--- convolutions (272,474).
---@param options? {classes: integer, shortcut: "A"|"B"}
---@return table
---```lua
---local m = hwb.models.resnet20{shortcut = "B"}
---```
function hwb.models.resnet20(options) end

--- ResNet32 for 32x32 images; options as resnet20.
---@param options? {classes: integer, shortcut: "A"|"B"}
---@return table
function hwb.models.resnet32(options) end

--- ResNet44 for 32x32 images; options as resnet20.
---@param options? {classes: integer, shortcut: "A"|"B"}
---@return table
function hwb.models.resnet44(options) end

--- ResNet56 for 32x32 images; options as resnet20.
---@param options? {classes: integer, shortcut: "A"|"B"}
---@return table
function hwb.models.resnet56(options) end

--- ResNet110 for 32x32 images; options as resnet20.
---@param options? {classes: integer, shortcut: "A"|"B"}
---@return table
function hwb.models.resnet110(options) end

--- ResNet18 with torchvision's names, 224x224 images (11,689,512 parameters); stem "cifar"
--- for 32x32 images (11,173,962 with 10 classes).
---@param options? {classes: integer, stem: "imagenet"|"cifar"}
---@return table
---```lua
---local m = hwb.models.resnet18{classes = 10, stem = "cifar"}
---```
function hwb.models.resnet18(options) end

--- ResNet34; options as resnet18.
---@param options? {classes: integer, stem: "imagenet"|"cifar"}
---@return table
function hwb.models.resnet34(options) end

--- ResNet50; options as resnet18.
---@param options? {classes: integer, stem: "imagenet"|"cifar"}
---@return table
function hwb.models.resnet50(options) end

--- ResNet101; options as resnet18.
---@param options? {classes: integer, stem: "imagenet"|"cifar"}
---@return table
function hwb.models.resnet101(options) end

--- AlexNet with batch norm in place of the response normalisation, 227x227 images;
--- 60,966,856 parameters.
---@param options? {classes: integer, dropout: number}
---@return table
---```lua
---local m = hwb.models.alexnet_bn{}
---```
function hwb.models.alexnet_bn(options) end

--- SqueezeNext (1.0-SqNxt-23), 227x227 images (717,280 parameters); stem "cifar" for 32x32.
---@param options? {classes: integer, stem: "imagenet"|"cifar"}
---@return table
---```lua
---local m = hwb.models.squeezenext23{classes = 10, stem = "cifar"}
---```
function hwb.models.squeezenext23(options) end

--- Wide ResNet with pre-activation, depth 6n+4, for 32x32 images.
---@param options? {depth: integer, width: integer, classes: integer, dropout: number}
---@return table
---```lua
---local m = hwb.models.wide_resnet{depth = 28, width = 10}
---```
function hwb.models.wide_resnet(options) end

--- WRN-16-4 for 32x32 images; 2,748,890 parameters.
---@param options? {classes: integer, dropout: number}
---@return table
---```lua
---local m = hwb.models.wrn16_4{}
---```
function hwb.models.wrn16_4(options) end

--- Multilayer perceptron; inputs of more than two axes are flattened.
---@param options {sizes: integer[], activation: string, bias: boolean}
---@return table
---```lua
---local m = hwb.models.mlp{sizes = {784, 100, 10}, activation = "tanh"}
---```
function hwb.models.mlp(options) end
