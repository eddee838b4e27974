-- Memory: the collector knows what tensors weigh; scopes; errors leave nothing behind.
local MIB = 1 << 20

local function live()
  collectgarbage() collectgarbage()
  return hwb.memory().live
end

describe("the collector", function()
  local device = hwb.device() -- the host's memory is what is looked at
  setup(function() hwb.set_device("cpu") end)
  teardown(function() hwb.set_device(device) end)

  it("keeps a loop that makes garbage flat", function()
    local before = live()
    hwb.memory_reset_peak()
    for _ = 1, 2000 do local t = hwb.zeros(256, 1024) t = nil end -- luacheck: ignore
    assert.is_true(hwb.memory().peak < before + 300 * MIB, hwb.memory().peak / MIB .. " MiB")
    assert.is_true(live() < before + 2 * MIB)
  end)

  it("keeps chains of operations, views and derivatives flat", function()
    local x = hwb.ones(512, 512)
    local f = function(t) return (t * t):sum() end
    local before = live()
    hwb.memory_reset_peak()
    for _ = 1, 300 do
      hwb.grad(f)((x * 2 + 1):t()[{{1, 256}}])
    end
    assert.is_true(hwb.memory().peak < before + 350 * MIB, hwb.memory().peak / MIB .. " MiB")
    assert.is_true(live() < before + 4 * MIB)
  end)

  it("does not collect again and again when the memory is in use", function()
    local keep, collections, limit = {}, 0, hwb.memory().soft_limit -- luacheck: ignore keep
    for i = 1, 400 do
      keep[i] = hwb.zeros(256, 1024)
      if hwb.memory().soft_limit ~= limit then
        limit, collections = hwb.memory().soft_limit, collections + 1
      end
    end
    assert.is_true(hwb.memory().live > 400 * MIB)
    assert.is_true(collections >= 1 and collections <= 4, tostring(collections))
    keep = nil -- luacheck: ignore
    live()
    for _ = 1, 2000 do local t = hwb.zeros(256, 1024) t = nil end -- luacheck: ignore
    assert.equal(256 * MIB, hwb.memory().soft_limit)
  end)

  it("works in generational mode too", function()
    collectgarbage("generational")
    hwb.memory_reset_peak()
    for _ = 1, 1500 do local t = hwb.zeros(256, 1024) t = nil end -- luacheck: ignore
    collectgarbage("incremental")
    assert.is_true(hwb.memory().peak < 600 * MIB)
  end)

  it("counts what it should", function()
    local before = live()
    local t = hwb.zeros(MIB)
    assert.is_true(hwb.memory().live >= before + 4 * MIB)
    local view = t[{{1, 10}}] -- luacheck: ignore view
    t = nil -- luacheck: ignore
    assert.is_true(live() >= before + 4 * MIB) -- the view holds the storage
    view = nil -- luacheck: ignore
    assert.is_true(live() < before + MIB)
    for _, key in ipairs{"live", "peak", "limit", "device_live", "device_peak", "allocations", "soft_limit", "lua"} do
      assert.equal("integer", math.type(hwb.memory()[key]))
    end
  end)
end)

describe("errors", function()
  it("leave no memory behind", function()
    local x, y = hwb.zeros(300, 300), hwb.zeros(7)
    local big = hwb.zeros(600, 600)
    local function fails()
      pcall(function() return x + y end)
      pcall(function() return x:mm(y) end)
      pcall(hwb.grad(function(t) return t + y end), x)
      pcall(hwb.grad(function(t) local u = t * big[1][1] error(u) end), x)
      pcall(hwb.hvp, function(t) return (t * t):sum() end, x, y)
      pcall(hwb.cat, {x, y})
      pcall(hwb.tensor, {{1, 2}, {3}})
    end
    fails()
    local before = live()
    for _ = 1, 50 do fails() end
    assert.is_true(live() <= before + 64 * 1024, (live() - before) .. " bytes")
  end)

  it("raise when memory has run out, with a code", function()
    local ok, why = pcall(hwb.zeros, 1 << 46)
    assert.is_false(ok)
    assert.equal("ENOMEM", why.code)
    assert.equal(5, why.exit)
  end)
end)

describe("hwb.scope", function()
  it("frees what was made inside except what is kept", function()
    local before = live()
    local kept, gone
    do
      local scope <close> = hwb.scope()
      gone = hwb.zeros(MIB)
      local more = gone + 1
      kept = scope:keep(more[{{1, 10}}] * 2)
    end
    assert.is_true(hwb.memory().live < before + MIB) -- with no collection
    assert.same(2, kept[1])
    assert.error_matches(function() return gone + 1 end, "freed at the end of a hwb.scope")
    assert.equal("freed tensor", tostring(gone))
  end)

  it("closes on errors", function()
    local gone
    pcall(function()
      local scope <close> = hwb.scope() -- luacheck: ignore
      gone = hwb.ones(3)
      error("x")
    end)
    assert.error_matches(function() return gone:sum() end, "freed")
    local fine = hwb.ones(3)
    assert.equal(3, fine:sum():item())
  end)

  it("nests; kept tensors move one scope out", function()
    local inner, outer, deep
    do
      local a <close> = hwb.scope()
      outer = hwb.ones(1)
      do
        local b <close> = hwb.scope()
        inner = hwb.ones(2)
        local list = b:keep({hwb.ones(3), {hwb.ones(4)}})
        deep = list[2][1]
      end
      assert.error_matches(function() return inner + 1 end, "freed")
      assert.equal(4, deep:sum():item())
      a:keep(outer)
    end
    assert.equal(1, outer:item())
    assert.error_matches(function() return deep + 1 end, "freed")
  end)

  it("leaves tensors made before alone", function()
    local x = hwb.ones(2)
    do
      local scope <close> = hwb.scope() -- luacheck: ignore
      x:add_(1)
    end
    assert.same({2, 2}, x:totable())
    local scope = hwb.scope()
    scope:close()
    assert.error_matches(function() scope:keep(x) end, "has ended")
  end)
end)
