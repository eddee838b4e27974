-- hwb.comm with one process: all of it is there and changes nothing.  Several processes
-- are tested under mpirun (tests/cli/ranks_test.sh).
local comm = hwb.comm

describe("hwb.comm alone", function()
  it("is rank 0 of 1", function()
    assert.equal(0, comm.rank())
    assert.equal(1, comm.size())
    local place = comm.place()
    assert.same({ "self", 0, 1, "" }, { place.name, place.local_rank, place.local_size, place.library })
    assert.same({ calls = 0, bytes = 0, seconds = 0 }, comm.stats())
  end)

  it("sums and broadcasts are what they were given", function()
    local t = hwb.tensor{ 1, 2, 3 }
    assert.equal(2.5, comm.sum(2.5))
    assert.same({ 1, 2 }, comm.sum{ 1, 2 })
    assert.tensor_near({ 1, 2, 3 }, comm.sum(t))
    assert.same({ a = { 1, "b" } }, comm.broadcast{ a = { 1, "b" } })
    assert.equal("text", comm.broadcast("text"))
    assert.is_nil(comm.broadcast(nil))
    local copy = comm.broadcast(t)
    copy:mul_(2)
    assert.tensor_near({ 1, 2, 3 }, t)
    comm.barrier()
  end)

  it("sums inside differentiated functions", function()
    local f = function(x) return comm.sum(comm.sum(x) * x):sum() end
    assert.tensor_near({ 2, 4, 6 }, hwb.grad(f)(hwb.tensor{ 1, 2, 3 }))
    assert.tensor_near({ 2, 0, 0 }, hwb.hvp(f, hwb.tensor{ 1, 2, 3 }, hwb.tensor{ 1, 0, 0 }))
    assert.has_error(function() hwb.grad(function(x) return comm.broadcast(x):sum() end)(hwb.ones(2)) end)
  end)

  it("has all of everything", function()
    local x, y = hwb.ones(5, 2), hwb.ones(10)
    assert.same({ 1, 7 }, { comm.part(7) })
    assert.same({ 1, 0 }, { comm.part(0) })
    local a, b = comm.own(x, y)
    assert.same({ 5, 10 }, { a:size(1), b:size(1) })
  end)

  it("refuses what cannot be summed", function()
    assert.has_error(function() comm.sum(hwb.tensor({ 1 }, { dtype = "int64" })) end)
    assert.has_error(function() comm.broadcast(hwb.ones(2), 1) end)
    assert.has_error(function() comm.part(-1) end)
  end)
end)

describe("a loader of parts", function()
  local ds = hwb.data.shapes10{ split = "test", count = 10 }

  it("gives all with one process", function()
    local n = 0
    for x in ds:loader{ batch = 4, split = true } do n = n + x:size(1) end
    assert.equal(10, n)
    assert.is_false(ds:loader{ split = true }:info().split)
  end)
end)
