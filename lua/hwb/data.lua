--- Datasets: hwb.data.cifar10{split="test", root=dir, mean=, std=, dtype=}.
--
-- A dataset has #ds, ds:batch(first, last) -> x, y (1-based, both included; labels
-- from 1), ds:loader{batch=, shuffle=, augment={crop=4, flip=true, cutout=8}, seed=} for
-- loops (image folders: augment={resized=true, flip=true} takes random parts of 8 to
-- 100 % of each image), ds:subset(first, last), ds:info().  Makers return nil and a
-- message when files are missing or damaged.

local hwb = require "hwb"
local options = require "hwb.nn.options"

local data = {}

-- Statistics of the training images, as the reference implementations use them.
local cifar_norm = { mean = { 0.4914, 0.4822, 0.4465 }, std = { 0.2023, 0.1994, 0.2010 } }
local shapes_norm = { mean = { 0.488, 0.499, 0.501 }, std = { 0.245, 0.241, 0.241 } }
local imagenet_norm = { mean = { 0.485, 0.456, 0.406 }, std = { 0.229, 0.224, 0.225 } }

--- {mean=, std=} of each set's training images: what the makers below use.
data.norms = { cifar10 = cifar_norm, shapes10 = shapes_norm, imagenet = imagenet_norm }

local function settle(ds, message, code, o, norm)
  if not ds then return nil, message, code end
  ds:set_norm(o.mean or norm.mean, o.std or norm.std)
  ds:set_dtype(o.dtype)
  if o.count and o.count < #ds then ds = ds:subset(1, o.count) end
  return ds
end

local common = { mean = false, std = false, dtype = "float32", count = false }

local function with_common(extra)
  local t = {}
  for k, v in pairs(common) do t[k] = v end
  for k, v in pairs(extra) do t[k] = v end
  return t
end

local function cifar(name, classes)
  return function(given)
    local o = options(name, given, { "root" }, with_common{ split = "train" })
    local ds, message, code = hwb.engine.dataset.cifar(classes, o.root, o.split)
    if not ds and code == "EIO" then
      message = ("%s (root is the folder that holds %s/; `hwb data list` says where the set comes from)")
        :format(message, classes == 10 and "cifar-10-batches-bin" or "cifar-100-binary")
    end
    return settle(ds, message, code, o, cifar_norm)
  end
end

--- CIFAR-10 binaries: root holds cifar-10-batches-bin/.
data.cifar10 = cifar("cifar10", 10)

--- CIFAR-100 binaries (fine labels): root holds cifar-100-binary/.
data.cifar100 = cifar("cifar100", 100)

--- <root>/<class>/<image>.jpeg|png: shorter side to `shorter`, centre size x size.
-- A big folder opens fast once hwb.data.index (or `hwb data index`) has been over it.
function data.image_folder(given)
  local o = options("image_folder", given, { "root" },
    with_common{ shorter = 256, size = 224 })
  local ds, message, code = hwb.engine.dataset.folder(o.root, o.shorter, o.size)
  return settle(ds, message, code, o, imagenet_norm)
end

--- Lists an image folder into <root>/.hwb-index, from which hwb.data.image_folder opens without
-- listing it; classes that change later are listed again.  write=false only compares.
-- Returns {classes=, images=, bytes=, found=, damaged=, stale=}: the folder as it is, whether there
-- was an index, and how many classes it lacked or had otherwise.
function data.index(root, given)
  if type(root) ~= "string" then error(("index: a folder is wanted, not %s"):format(type(root)), 2) end
  local o = options("index", given or {}, {}, { write = true })
  return hwb.engine.dataset.index(root, o.write)
end

--- The bundled set: ten kinds of textured shapes, drawn when asked for.
-- `size` enlarges the 32x32 pictures.
function data.shapes10(given)
  local o = options("shapes10", given or {}, {},
    with_common{ split = "train", seed = 0, size = 32 })
  local ds, message, code = hwb.engine.dataset.shapes10(o.split, o.seed, 0)
  if ds and o.size ~= 32 then ds = ds:resized(o.size, o.size) end
  return settle(ds, message, code, o, shapes_norm)
end

--- Tensors x[N,...] and labels y[N] from 1.
function data.tensors(given)
  local o = options("tensors", given, { "x", "y" }, { mean = false, std = false, dtype = false })
  local ds = hwb.engine.dataset.tensors(o.x, o.y)
  if o.mean then ds:set_norm(o.mean, o.std) end
  if o.dtype then ds:set_dtype(o.dtype) end
  return ds
end

---------------------------------------------------------------------------
-- where data sets lie

--- The folder of data sets: --data, else $HWB_DATA, else $XDG_DATA_HOME/hwb.
function data.folder()
  local function env(name)
    local v = os.getenv(name)
    return v and v ~= "" and v or nil
  end
  local home = env("XDG_DATA_HOME") or ((env("HOME") or "") .. "/.local/share")
  return env("HWB_DATA") or home .. "/hwb"
end

--- The root of a data set in the data folder (the folder itself or its subfolder
-- `name`), or nil and a message.  `probe` is a file that must be there.
function data.find(name, probe)
  local folder = data.folder()
  for _, root in ipairs{ folder, folder .. "/" .. name } do
    local f = io.open(root .. "/" .. probe, "rb")
    if f then
      f:close()
      return root
    end
  end
  return nil, ("no %s in %s (looked for %s)"):format(name, folder, probe)
end

return data
