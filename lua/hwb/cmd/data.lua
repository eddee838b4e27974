-- hwb data list|verify|index: data sets as datasets/*.lua describe them, and image
-- folders by path.  Nothing is ever downloaded; `list` says where each set comes from.
local hwb = require "hwb"
local sys = require "hwb.sys"
local errors = require "hwb.errors"
local text = require "hwb.text"

-- Descriptions are plain tables: they are evaluated with no library at all.
local function descriptions()
  local out, folder = {}, sys.home .. "/datasets"
  for _, name in ipairs(sys.list(folder) or {}) do
    local source = name:match("%.lua$") and sys.read(folder .. "/" .. name)
    local chunk = source and load(source, "@" .. folder .. "/" .. name, "t", {})
    local ok, set = pcall(chunk or error)
    if ok and type(set) == "table" and set.name then out[#out + 1] = set end
  end
  return out
end

-- Where a set lies, or nil.
local function root_of(set)
  if not set.probe then return nil end
  local folder = hwb.data.folder()
  for _, root in ipairs{folder, folder .. "/" .. set.name} do
    if sys.stat(root .. "/" .. set.probe) then return root end
  end
end

local function state_of(set)
  if set.reader == "shapes10" then return "bundled" end
  if not set.probe then return "give its folder with --set or --data" end
  return root_of(set) or "absent"
end

local function list(options)
  local rows = hwb.json.array{}
  for i, set in ipairs(descriptions()) do
    rows[i] = {name = set.name, where = state_of(set), summary = set.summary, licence = set.licence,
      urls = hwb.json.array(set.urls or {})}
  end
  if options.json then
    print(hwb.json.encode({schema = 1, folder = hwb.data.folder(), sets = rows}, {indent = 2}))
    return 0
  end
  print("data folder: " .. hwb.data.folder())
  for _, row in ipairs(rows) do
    print(("\n%s: %s\n  %s\n  licence: %s"):format(row.name, row.where, row.summary, row.licence or "unknown"))
    for _, url in ipairs(row.urls) do print("  " .. url) end
  end
  return 0
end

-- The variant whose sum this file has, or nil.
local function variant_of(set, file, sum)
  for name, variant in pairs(set.variants or {}) do
    if variant.sha256 and variant.sha256[file] == sum then return name end
  end
end

local function verify_set(set)
  local rows = {}
  local root = root_of(set)
  if not root then return rows end
  local splits = {}
  for name in pairs(set.splits or {}) do splits[#splits + 1] = name end
  table.sort(splits)
  for _, split in ipairs(splits) do
    for _, file in ipairs(set.splits[split].files or {}) do
      local path = root .. "/" .. (set.folder and set.folder .. "/" or "") .. file
      local info = sys.stat(path)
      local wanted = set.splits[split].file_bytes or set.file_bytes
      local row = {set = set.name, split = split, file = path}
      if not info then row.state = "absent"
      elseif wanted and info.size ~= wanted then
        row.state, row.bad = ("damaged: %d bytes instead of %d"):format(info.size, wanted), true
      else
        hwb.progress("verify " .. set.name, #rows + 1, 6)
        local variant = variant_of(set, file, sys.sha256(assert(sys.read(path))))
        row.state = variant and "ok (" .. variant .. ")" or "right size, contents not known"
      end
      rows[#rows + 1] = row
    end
  end
  return rows
end

---------------------------------------------------------------------------
-- image folders

-- The folders of images that a name or path on the command line stands for.
local function folders_of(name)
  if sys.stat(name) and sys.stat(name).type == "dir" then return {name} end
  for _, set in ipairs(descriptions()) do
    if set.name == name and set.reader == "image_folder" then
      local found, root = {}, hwb.data.folder()
      for _, split in pairs(set.splits or {}) do
        local path = root .. "/" .. split.folder
        if sys.stat(path) then found[#found + 1] = path end
      end
      table.sort(found)
      if #found == 0 then sys.raise("EIO", ("no %s in %s"):format(name, root)) end
      return found
    end
  end
end

local function index_state(info, written)
  if info.damaged then return written and "was damaged: made again" or "damaged", true end
  if not info.found then return written and "made" or "no index" end
  if info.stale == 0 then return "up to date" end
  return (written and "renewed; classes that had changed: %d" or "out of date; classes that have changed: %d")
    :format(info.stale), true
end

-- The index of one folder, made or compared -> a row of the table.
local function index_row(path, write)
  local began = sys.seconds()
  local info, message, code = hwb.data.index(path, {write = write})
  if not info then sys.raise(code or "EIO", message) end
  local state, bad = index_state(info, write)
  return {folder = path, state = state, classes = info.classes, images = info.images, bytes = info.bytes,
    seconds = ("%.2f"):format(sys.seconds() - began), bad = bad and not write}
end

local function index(options, names)
  if #names == 0 then
    errors.usage("data index: name an image folder, or a set of one: hwb data index DIR")
  end
  local rows = hwb.json.array{}
  for _, name in ipairs(names) do
    local folders = folders_of(name)
    if not folders then
      if name:find("/", 1, true) then sys.raise("EIO", name .. ": no such folder") end
      errors.usage("data index: '%s' is neither a folder nor a set of image folders; `hwb data list` names the sets",
        name)
    end
    for _, path in ipairs(folders) do rows[#rows + 1] = index_row(path, true) end
  end
  if options.json then print(hwb.json.encode({schema = 1, folders = rows}, {indent = 2}))
  else print(text.table(rows, {"folder", "state", "classes", "images", "bytes", "seconds"})) end
  return 0
end

---------------------------------------------------------------------------

local function verify(options, names)
  local rows, status, wanted = hwb.json.array{}, 0, {}
  for _, name in ipairs(names) do
    local folders = folders_of(name)
    for _, path in ipairs(folders or {}) do
      local row = index_row(path, false)
      rows[#rows + 1] = {set = "image folder", split = ("%d classes, %d images"):format(row.classes, row.images),
        file = path .. "/.hwb-index", state = row.state, bad = row.bad}
      if row.bad then status = 3 end
    end
    if not folders then wanted[name] = true end
  end
  local known = {}
  for _, set in ipairs(descriptions()) do
    known[#known + 1] = set.name
    if wanted[set.name] or #names == 0 then
      local found = verify_set(set)
      if wanted[set.name] and #found == 0 and set.reader ~= "shapes10" then
        sys.raise("EIO", ("no %s in %s"):format(set.name, hwb.data.folder()))
      end
      for _, row in ipairs(found) do
        rows[#rows + 1] = row
        if row.bad or (row.state == "absent" and wanted[set.name]) then status = 3 end
      end
    end
    wanted[set.name] = nil
  end
  local unknown = next(wanted)
  if unknown then
    local near = sys.nearest(unknown, known)
    errors.usage("data: no set '%s' is known%s", unknown, near and ("; did you mean '%s'?"):format(near) or "")
  end
  if options.json then
    print(hwb.json.encode({schema = 1, files = rows}, {indent = 2}))
  elseif #rows == 0 then
    print("no data sets with files to check in " .. hwb.data.folder())
  else
    print(text.table(rows, {"set", "split", "state", "file"}))
  end
  return status
end

return function(options, rest)
  local verb = rest[1] or "list"
  if verb == "list" then return list(options) end
  if verb == "verify" then return verify(options, {table.unpack(rest, 2)}) end
  if verb == "index" then return index(options, {table.unpack(rest, 2)}) end
  local near = sys.nearest(verb, {"list", "verify", "index"})
  errors.usage("data: unknown verb '%s'%s", verb, near and ("; did you mean '%s'?"):format(near) or "")
end
