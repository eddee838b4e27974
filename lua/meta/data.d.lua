---@meta
-- hwb.data: datasets and loaders. Makers return nil and a message where files are missing or
-- damaged; nothing is downloaded (`hwb data list` says where the sets come from).

hwb.data = {}

---@class hwb.DatasetOptions
---@field mean? number[] one a channel; default: of the set's training images
---@field std? number[]
---@field dtype? "float32"|"float64" of x; default "float32"
---@field count? integer only the first so many samples

---@class hwb.CifarOptions: hwb.DatasetOptions
---@field root string the folder that holds cifar-10-batches-bin/ (cifar-100-binary/)
---@field split? "train"|"test" default "train"

---@class hwb.ImageFolderOptions: hwb.DatasetOptions
---@field root string
---@field shorter? integer the shorter side is resized to this; default 256
---@field size? integer of the square cut out of the centre; default 224

---@class hwb.ShapesOptions: hwb.DatasetOptions
---@field split? "train"|"test" default "train"
---@field size? integer of the pictures; default 32
---@field seed? integer

---@class hwb.LoaderOptions
---@field batch? integer samples; default 128
---@field shuffle? boolean another order in every epoch; default false
---@field drop_last? boolean leave out a last, smaller batch; default false
---@field seed? integer of order and augmentation
---@field augment? {crop: integer, flip: boolean, cutout: integer, resized: boolean}
---@field workers? integer threads that make batches ahead
---@field split? boolean only this rank's part of every batch

--- CIFAR-10 in its binary form: 32x32 pictures in 10 classes.
---@param options hwb.CifarOptions
---@return hwb.Dataset? nil and a message when files are missing
---@return string? message
---@return string? code
---```lua
---local ds = assert(hwb.data.cifar10{root = dir, split = "test"})
---local x, y = ds:batch(1, 128)
---```
function hwb.data.cifar10(options) end

--- CIFAR-100 in its binary form, with the fine labels.
---@param options hwb.CifarOptions
---@return hwb.Dataset?
---@return string? message
---@return string? code
function hwb.data.cifar100(options) end

--- Pictures in one folder for each class: <root>/<class>/<image>.jpeg|png, classes in byte order
--- of their names. Prepared as torchvision evaluates: shorter side resized, centre cut out.
---@param options hwb.ImageFolderOptions
---@return hwb.Dataset?
---@return string? message
---@return string? code
---```lua
---local val = assert(hwb.data.image_folder{root = "imagenet/val", count = 1000})
---```
---@see hwb.data.index
function hwb.data.image_folder(options) end

--- Lists an image folder into <root>/.hwb-index, from which hwb.data.image_folder then opens
--- fast; classes that change later are listed again. write=false only compares.
---@param root string
---@param options? {write: boolean}
---@return table? {classes=, images=, bytes=, found=, damaged=, stale=} stale: classes that differed
---@return string? message
---@return string? code
---```lua
---hwb.data.index("imagenet/train")
---```
function hwb.data.index(root, options) end

--- The bundled set: pictures of ten kinds of textured shapes, drawn when asked for.
---@param options? hwb.ShapesOptions
---@return hwb.Dataset
---```lua
---local x, y = hwb.data.shapes10{split = "test"}:batch(1, 64)
---```
function hwb.data.shapes10(options) end

--- Tensors as a dataset: x[N,...] and labels y[N] from 1.
---@param options {x: hwb.Tensor, y: hwb.Tensor, mean: number[], std: number[], dtype: string}
---@return hwb.Dataset
---```lua
---local ds = hwb.data.tensors{x = x, y = y}
---```
function hwb.data.tensors(options) end

--- The folder of data sets: --data, else $HWB_DATA, else $XDG_DATA_HOME/hwb.
---@return string
function hwb.data.folder() end

--- Where a set lies: the data folder itself or its subfolder `name`.
---@param name string
---@param probe string a file that must be there
---@return string?
---@return string? message
---```lua
---local root = hwb.data.find("cifar10", "cifar-10-batches-bin/test_batch.bin")
---```
function hwb.data.find(name, probe) end

--- A numbered list of samples with labels; #ds is their number.
---@class hwb.Dataset
local Dataset = {}

--- Samples first ... last, both included, counted from 1.
---@param first integer
---@param last integer
---@return hwb.Tensor x
---@return hwb.Tensor y labels from 1
function Dataset:batch(first, last) end

--- Batches for loops; each loop is an epoch.
---@param options? hwb.LoaderOptions
---@return hwb.Loader
---```lua
---for x, y in ds:loader{batch = 128, shuffle = true, augment = {crop = 4, flip = true}} do end
---```
function Dataset:loader(options) end

--- A part of it.
---@param first integer
---@param last integer
---@return hwb.Dataset
function Dataset:subset(first, last) end

--- The same pictures in another size.
---@param height integer
---@param width integer
---@return hwb.Dataset
function Dataset:resized(height, width) end

--- Sets mean and standard deviation of each channel.
---@param mean number[]
---@param std number[]
function Dataset:set_norm(mean, std) end

--- Sets the dtype of x.
---@param dtype string
function Dataset:set_dtype(dtype) end

--- What it is: {kind=, classes=, names=, sample={C,H,W}, dtype=}.
---@return table
function Dataset:info() end

--- Batches of a dataset, made ahead of time by threads; #loader is their number.
---@class hwb.Loader
local Loader = {}

--- The next batch; nothing at the end of the epoch.
---@return hwb.Tensor? x
---@return hwb.Tensor? y
function Loader:next() end

--- Where it is.
---@return integer epoch
---@return integer position batches taken
function Loader:tell() end

--- Goes to a place that tell() gave.
---@param epoch integer
---@param position integer
function Loader:seek(epoch, position) end

--- Changes the size of the batches from the next one on.
---@param batch integer
function Loader:set_batch(batch) end

--- The dataset.
---@return hwb.Dataset
function Loader:dataset() end

--- Its settings.
---@return table
function Loader:info() end
