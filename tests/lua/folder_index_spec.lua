-- The index of an image folder: opening with it gives what listing gives, whatever
-- happened to the folder or to the index since.
local sys = require "hwb.sys"

local root = os.tmpname()
os.remove(root)

local function touch(path) assert(sys.write(path, "")) end

-- Folder times are in the past, or the index would not rely on them.
local function age() assert(os.execute(("find %s -type d -exec touch -d '1 hour ago' {} +"):format(root))) end

local function names(class, list)
  assert(sys.mkdir(root .. "/" .. class))
  for _, name in ipairs(list) do touch(("%s/%s/%s"):format(root, class, name)) end
end

-- Images and classes as opened.
local function opened()
  local ds = assert(hwb.data.image_folder{ root = root })
  return #ds, ds:info().classes
end

describe("the index of an image folder", function()
  before_each(function()
    assert(os.execute("rm -rf " .. root))
    names("a", { "1.png", "2.png", "notes.txt" })
    names("b", { "3.JPEG" })
    names("c", {})
    age()
  end)
  teardown(function() os.execute("rm -rf " .. root) end)

  it("is made once and used", function()
    local plain = { opened() }
    local info = assert(hwb.data.index(root))
    assert.same({ 3, 3, false }, { info.classes, info.images, info.found })
    assert.same(plain, { opened() })
    info = assert(hwb.data.index(root))
    assert.same({ true, 0 }, { info.found, info.stale })
    -- it is really read: what left without a trace in the folder's time is still there
    assert(os.execute(("touch -r %s/b %s/stamp && rm %s/b/3.JPEG && touch -r %s/stamp %s/b")
      :format(root, root, root, root, root)))
    assert.equal(3, (opened()))
    assert.equal(1, assert(hwb.data.index(root)).stale) -- which lists, and is not taken in
    assert.equal(2, (opened()))
  end)

  it("gives way to a folder that has changed", function()
    assert(hwb.data.index(root))
    touch(root .. "/c/4.jpg")
    names("d", { "5.png" })
    assert.equal(5, (opened()))
    local info = assert(hwb.data.index(root, { write = false }))
    assert.same({ 5, 2 }, { info.images, info.stale })
    assert(os.execute("rm -r " .. root .. "/a"))
    assert.equal(3, (opened()))
    assert.equal(3, assert(hwb.data.index(root, { write = false })).stale)
    assert(hwb.data.index(root))
    assert.equal(3, (opened()))
  end)

  it("does not rely on a folder that has just been written to", function()
    touch(root .. "/c/4.jpg") -- now
    assert(hwb.data.index(root))
    assert.equal(1, assert(hwb.data.index(root, { write = false })).stale)
    touch(root .. "/c/5.jpg")
    assert.equal(5, (opened()))
  end)

  it("is not believed when it is damaged", function()
    assert(hwb.data.index(root))
    local path = root .. "/.hwb-index"
    local whole = assert(sys.read(path))
    for cut = 0, #whole - 1, 7 do
      assert(sys.write(path, whole:sub(1, cut)))
      assert.equal(3, (opened()))
    end
    for at = 1, #whole, 5 do
      assert(sys.write(path, whole:sub(1, at - 1) .. string.char(whole:byte(at) ~ 0x41) .. whole:sub(at + 1)))
      assert.equal(3, (opened()))
    end
    assert.is_true(assert(hwb.data.index(root)).damaged)
    assert.is_false(assert(hwb.data.index(root)).damaged)
  end)

  it("says what is missing", function()
    local info, message, code = hwb.data.index(root .. "/nowhere")
    assert.is_nil(info)
    assert.matches("nowhere", message, 1, true)
    assert.equal("EIO", code)
    assert.error_matches(function() hwb.data.index(3) end, "a folder is wanted")
  end)
end)
