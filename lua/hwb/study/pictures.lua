--- Folders of pictures for the recipes: ImageNet's layout in the data folder, or a small one
-- that is drawn into the run folder, so that the whole way from files on is taken.

local hwb = require "hwb"
local sys = require "hwb.sys"

local pictures = {}

local function must(value, message, code)
  if not value then sys.raise(code or "EIO", message) end
  return value
end

-- The grey value of every pixel of x[3,H,W], as rows from top to bottom.
local function grey(x)
  return x:mean(1):totable()
end

-- `count` pictures a class of one split of the bundled set, as PNG files of a plot without
-- anything around it.
local function draw(folder, split, classes, count)
  local ds = must(hwb.data.shapes10{ split = split, mean = { 0, 0, 0 }, std = { 1, 1, 1 } })
  local made, first = {}, 1
  local missing = classes * count
  while missing > 0 do
    local x, y = ds:batch(first, first)
    local class = y[1]
    made[class] = made[class] or 0
    if class <= classes and made[class] < count then
      made[class], missing = made[class] + 1, missing - 1
      local at = ("%s/%s/class%d"):format(folder, split, class)
      must(sys.mkdir(at))
      must(hwb.plot.heatmap{ z = grey(x[1]), colormap = "grey", colorbar = false, top_down = true, equal = true,
        width = 1.5, height = 1.5, dpi = 64 }:save(("%s/%d.png"):format(at, made[class])))
    end
    first = first + 1
  end
end

-- root/train and root/val, or nil.
local function open(root, o)
  local function folder(split)
    return hwb.data.image_folder{ root = root .. "/" .. split, shorter = o.shorter, size = o.size }
  end
  local train, why, code = folder("train")
  if not train then return nil, why, code end
  return train, folder("val") or train
end

--- Training and test pictures of o.size x o.size, their shorter side brought to o.shorter:
-- train/<class>/ and val/<class>/ in the data folder or its imagenet/, else o.per_class
-- pictures of each of four kinds drawn into the run folder.  Returns train, val, a text that
-- says where they are from, and whether they were drawn.
function pictures.folders(run, o)
  local data = hwb.data.folder()
  for _, root in ipairs{ data, data .. "/imagenet" } do
    local train, val = open(root, o)
    if train then return train, val, "pictures in " .. root, false end
  end
  local root = run.dir .. "/pictures"
  if hwb.comm.rank() == 0 and not sys.stat(root) then
    draw(root, "train", 4, o.per_class)
    draw(root, "test", 4, math.max(1, o.per_class // 2))
    must(os.rename(root .. "/test", root .. "/val"))
  end
  hwb.comm.barrier()
  local train, val = open(root, o)
  return must(train, val), val, "the bundled set shapes10, drawn into a folder of pictures", true
end

return pictures
