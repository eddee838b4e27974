-- What the large-batch recipes rest on: numbers of updates, shrunk schedules, cells.
local large = require "hwb.study.large_batch"
local cells = require "hwb.study.cells"

describe("the large-batch table", function()
  it("has the published numbers of updates in all cells", function()
    local exact, within = 0, 0
    for batch, row in pairs(large.published) do
      for method, known in pairs(row) do
        local fewest, most = large.updates(method, batch, 90, 50000)
        if method == "abs" or method == "absa" then
          assert.is_true(fewest < known[2] and known[2] < most, ("%s %d"):format(method, batch))
          within = within + 1
        else
          assert.equal(known[2], fewest, ("%s %d"):format(method, batch))
          assert.equal(fewest, most)
          exact = exact + 1
        end
      end
    end
    assert.equal(16, exact)
    assert.equal(10, within)
    -- patience alone, batches 640 to 16000
    for i, want in ipairs{ 11505, 8180, 7970, 7836, 7801 } do
      assert.equal(want, (select(2, large.updates("absa", large.batches[i + 1], 90, 50000))))
    end
  end)

  it("shrinks the schedule with the number of epochs", function()
    assert.same({ milestones = { 30, 60, 80 }, patience = 10, warmup = 5 }, large.schedule(90))
    local s = large.schedule(12)
    assert.same({ 4, 8, 10 }, s.milestones)
    assert.equal(2, s.patience)
    assert.same({ 1, 2, 3 }, large.schedule(2).milestones)
  end)

  it("is made of 26 cells", function()
    local list = large.cells(large.methods, large.batches)
    assert.equal(26, #list)
    assert.same({ method = "bl", batch = 128 }, list[1])
    assert.same({ method = "absa", batch = 16000 }, list[26])
    assert.error_matches(function() large.cells({ "bl" }, { 100 }) end, "no multiple of 128")
    assert.error_matches(function() large.cells({ "sgd" }, { 128 }) end, "none of bl, fb, gg, abs, absa")
  end)

  it("counts epochs, updates and failures of its cells", function()
    local function cell(batch, method, result, failed)
      return { batch = batch, method = method, cell = { result = result, failed = failed, history = {}, dir = "d/c" } }
    end
    local list = { cell(128, "bl", { accuracy = 0.5, updates = 7, updates_fractional = 6.5, epochs = 1 }),
      cell(3200, "fb", {}, "the loss is NaN") }
    local rows = large.cell_rows(list)
    assert.near(50, rows[1].accuracy, 1e-12)
    assert.equal(83.05, rows[1].published_accuracy)
    assert.equal("diverged: the loss is NaN", rows[2].note)
    local by_batch = large.accuracy_rows(list)
    assert.equal(2, #by_batch)
    assert.is_nil(by_batch[2].fb)
    assert.equal(78.70, by_batch[2].fb_published)
    assert.equal("c", large.cell_results(list, "d")[1].folder)
  end)

  it("runs hwb's own recipes only, and only where it may write", function()
    assert.error_matches(function() cells.run({ dir = "x" }, "../evil", "a", {}) end, "no recipe of hwb's own")
  end)
end)
