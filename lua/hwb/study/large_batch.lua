--- What the large-batch recipes share: the published table, the schedule of a training
-- with a batch-size controller, numbers of updates, tables and figures of results.
--
-- The published numbers are those of Yao et al. 2018 (arXiv:1810.01021); its code,
-- HessianFlow, fixes what the text leaves open: micro-batches of 128 images added up
-- (batch norm sees the micro-batch), pixels within 0..1, no augmentation, momentum 0.9
-- without weight decay.

local hwb = require "hwb"
local sys = require "hwb.sys"
local usage = require("hwb.errors").usage

local large = {}

large.methods = { "bl", "fb", "gg", "abs", "absa" }
large.batches = { 128, 640, 3200, 5120, 10240, 16000 }
large.base = 128

--- Published test accuracy in % and number of updates: published[batch][method].
large.published = {
  [128] = { bl = { 83.05, 35156 } },
  [640] = { bl = { 81.01, 7031 }, fb = { 84.59, 7031 }, gg = { 83.99, 16380 }, abs = { 83.30, 10578 },
    absa = { 84.52, 9631 } },
  [3200] = { bl = { 74.54, 1406 }, fb = { 78.70, 1406 }, gg = { 84.27, 14508 }, abs = { 83.33, 6375 },
    absa = { 84.42, 5168 } },
  [5120] = { bl = { 70.64, 878 }, fb = { 74.65, 878 }, gg = { 83.47, 14449 }, abs = { 83.83, 6575 },
    absa = { 85.01, 6265 } },
  [10240] = { bl = { 68.75, 439 }, fb = { 30.99, 439 }, gg = { 83.68, 14400 }, abs = { 83.56, 5709 },
    absa = { 84.29, 7491 } },
  [16000] = { bl = { 67.88, 281 }, fb = { 10.00, 281 }, gg = { 84.00, 14383 }, abs = { 83.50, 5739 },
    absa = { 84.24, 5357 } },
}

--- Published trainings of ResNet18 on ImageNet: seconds of each part, updates, accuracy in %.
function large.published_imagenet()
  return {
    { name = "BL", total = 125073, speedup = 1, updates = 450000, accuracy = 70.4 },
    { name = "GG", computation = 50965, communication = 54, resize = 40, total = 51059, speedup = 2.45 },
    { name = "ABSA", computation = 26404, communication = 230, resize = 95, hessian = 2746, total = 29475,
      speedup = 4.24, updates = 66000, accuracy = 70.2 },
    { name = "ABSA, tuned", computation = 13935, communication = 58, resize = 39, hessian = 220, total = 14252,
      speedup = 8.78 },
  }
end

function large.published_imagenet_columns()
  return { "name", "computation", "communication", "resize", "hessian", "total", "speedup", "updates", "accuracy" }
end

--- The schedule of the published 90 epochs, shrunk to fewer: where the learning rate
-- decays, how long FB warms up, and how long ABS waits before it grows anyway (rounded
-- up, so that the eigenvalue keeps a say in short runs).
function large.schedule(epochs)
  local milestones = {}
  for i, e in ipairs{ 30, 60, 80 } do milestones[i] = math.max(i, e * epochs // 90) end
  return { milestones = milestones, warmup = 5 * epochs / 90,
    patience = math.max(1, (10 * epochs + 89) // 90) }
end

---------------------------------------------------------------------------
-- data

local probe_file = "cifar-10-batches-bin/test_batch.bin"

--- CIFAR-10's training and test images, so many of each, with pixels within 0..1 as the
-- published program has them; without the data set the bundled one.  Returns also where they
-- are from, in words, and whether they are the bundled ones.
function large.cifar10(images, test_images)
  local root = hwb.data.find("cifar10", probe_file)
  local function open(split, count)
    local o = { split = split, count = count, mean = { 0, 0, 0 }, std = { 1, 1, 1 }, root = root }
    local ds, message, code = (root and hwb.data.cifar10 or hwb.data.shapes10)(o)
    if not ds then sys.raise(code or "EIO", message) end
    return ds
  end
  local source = root and "CIFAR-10 in " .. root or "the bundled set shapes10"
  return open("train", images), open("test", test_images), source, not root
end

---------------------------------------------------------------------------
-- numbers of updates, without training

-- Updates of `epochs` epochs when the eigenvalue is lambda(e) after epoch e, counted as
-- publications do: micro-batches over micro-batches an update, summed and cut off.
local function simulated(kind, max, epochs, samples, lambda)
  local plan = large.schedule(epochs)
  local machine = hwb.engine.controller(kind, { max = max, epochs = epochs, milestones = plan.milestones,
    patience = plan.patience })
  local per_epoch, n = samples // large.base, 0
  for e = 1, epochs do
    n = n + per_epoch / machine:get().ratio
    machine:on_epoch(lambda(e))
  end
  return math.floor(n + 1e-9)
end

--- Updates that a cell makes: for BL, FB and GG their number, for ABS and ABSA, whose
-- batches follow the eigenvalue, the fewest (it falls in every epoch) and the most (it never
-- does, and patience alone lets the batch grow).
function large.updates(kind, max, epochs, samples)
  local plan = large.schedule(epochs)
  local n = hwb.batch.published_updates(kind, { max = max, epochs = epochs, milestones = plan.milestones },
    samples)
  if n then return n, n end
  return simulated(kind, max, epochs, samples, function(e) return 1e300 / 4 ^ e end),
    simulated(kind, max, epochs, samples, function() return 1 end)
end

--- Rows for every cell: numbers of updates for these epochs and images, and the published.
function large.update_rows(list, epochs, samples)
  local rows = {}
  for i, c in ipairs(list) do
    local fewest, most = large.updates(c.method, c.batch, epochs, samples)
    rows[i] = { batch = c.batch, method = c.method, fewest = fewest, most = most,
      published = large.known(c.batch, c.method)[2] }
  end
  return rows
end

--- {accuracy in %, updates} of the publication, or {} where it has none.
function large.known(batch, method) return (large.published[batch] or {})[method] or {} end

large.updates_note = [[
fewest and most are numbers of updates without training; BL, FB and GG depend on the epochs alone, ABS
and ABSA on the eigenvalues: fewest if they halve in every epoch, most if only patience lets the batch
grow.  Counted as the publication does: images over batch, summed over the epochs and cut off; BL and FB
of all images, the others of whole micro-batches of 128.  hwb makes a smaller update of what an epoch
leaves over, so that it makes a few more (`updates`; `updates_fractional` counts as published).
Published numbers are those of 90 epochs of the 50,000 CIFAR-10 images.]]

---------------------------------------------------------------------------
-- results

--- What a training came to, from hwb.train's rows: {epochs=, accuracy=, loss=, updates=,
-- updates_fractional=, times=, lambda=}.  `updates` counts steps made,
-- `updates_fractional` micro-batches over micro-batches an update, as publications do.
function large.summary(history)
  local last = history[#history]
  return { epochs = last.epoch, accuracy = last.val_accuracy, loss = last.loss, updates = last.updates,
    updates_fractional = last.updates_fractional, batch = last.batch, bn = last.bn, bn_batch = last.bn_batch,
    times = history.times }
end

--- A row of hwb.train with the name of its training, for run:metric.
function large.named(row, name)
  local copy = { training = name }
  for k, v in pairs(row) do copy[k] = v end
  return copy
end

--- The training of a finished run of absa_resnet20 as {name=, times=}.
function large.finished(folder)
  local r = require("hwb.records").read((folder:gsub("/+$", "")))
  local result = r and r.result
  if not (result and result.times and result.times.train) then
    sys.raise("EIO", ("%s: no folder of a finished run of absa_resnet20"):format(folder))
  end
  return { name = ("%s %d"):format(result.method, result.largest_batch), times = result.times.train }
end

--- The table "time" of trainings {{name=, times=}, ...}, the baseline first: seconds of
-- each part, their total, and how many times faster than the baseline.
function large.time_table(run, list)
  run:table("time", hwb.batch.breakdown(list), hwb.batch.breakdown_columns)
end

--- Ends the program with a line about the argument when it is no multiple of `base` (128).
function large.check_batch(batch, base)
  base = base or large.base
  if math.type(batch) ~= "integer" or batch < base or batch % base ~= 0 then
    usage("argument batch: %s is no multiple of %d", tostring(batch), base)
  end
end

--- The same for names of controllers.
function large.check_methods(methods)
  local known = {}
  for _, m in ipairs(large.methods) do known[m] = true end
  for _, m in ipairs(methods) do
    if not known[m] then
      usage("argument methods: '%s' is none of %s", tostring(m), table.concat(large.methods, ", "))
    end
  end
end

--- The cells {method=, batch=} of a table, batch by batch; 128 has BL alone, as in
-- the publication: no batch can grow there.
function large.cells(methods, batches)
  local list = {}
  for _, b in ipairs(batches) do large.check_batch(b) end
  large.check_methods(methods)
  for _, b in ipairs(batches) do
    for _, m in ipairs(methods) do
      if b > large.base or m == "bl" then list[#list + 1] = { method = m, batch = b } end
    end
  end
  if #list == 0 then usage("argument methods: at %d there is bl alone", large.base) end
  return list
end

local function percent(x) return x and 100 * x or nil end

--- Rows of the cells that were run, each with .cell (see cells.lua).
function large.cell_rows(list)
  local rows = {}
  for i, c in ipairs(list) do
    local r, known = c.cell.result, large.known(c.batch, c.method)
    rows[i] = { batch = c.batch, method = c.method, epochs = r.epochs, accuracy = percent(r.accuracy),
      updates = r.updates, updates_fractional = r.updates_fractional, published_accuracy = known[1],
      published_updates = known[2], note = c.cell.failed and "diverged: " .. c.cell.failed or nil }
  end
  return rows
end

--- Accuracies in %, one row a batch; columns bl, bl_published, fb, ….
function large.accuracy_rows(list)
  local rows, by_batch = {}, {}
  for _, c in ipairs(list) do
    local row = by_batch[c.batch]
    if not row then
      row = { batch = c.batch }
      by_batch[c.batch], rows[#rows + 1] = row, row
    end
    row[c.method] = percent(c.cell.result.accuracy)
    row[c.method .. "_published"] = large.known(c.batch, c.method)[1]
  end
  return rows
end

function large.accuracy_columns(methods)
  local columns = { "batch" }
  for _, m in ipairs(methods) do
    columns[#columns + 1] = m
    columns[#columns + 1] = m .. "_published"
  end
  return columns
end

--- What the table "time" is made of; the first cell is the baseline.
function large.cell_times(list)
  local times = {}
  for _, c in ipairs(list) do
    local spent = c.cell.result.times
    if spent then times[#times + 1] = { name = ("%s %d"):format(c.method, c.batch), times = spent.train } end
  end
  return times
end

--- For result.json.
function large.cell_results(list, dir)
  local out = {}
  for i, row in ipairs(large.cell_rows(list)) do
    row.folder = list[i].cell.dir:sub(#dir + 2)
    out[i] = row
  end
  return out
end

---------------------------------------------------------------------------
-- figures

local function column(rows, key, factor)
  local list = {}
  for i, r in ipairs(rows) do list[i] = r[key] and r[key] * (factor or 1) or 0 / 0 end
  return list
end

-- Stairs: the batch from the beginning to the end of each epoch.
local function batch_stairs(history)
  local x, y = { 0 }, { history[1].batch }
  for i, row in ipairs(history) do
    x[i + 1], y[i + 1] = row.epoch, (history[i + 1] or row).batch
  end
  return x, y
end

-- A logarithmic axis with these values marked on it.
local function ticks(values)
  local seen, at, labels = {}, {}, {}
  for _, v in ipairs(values) do
    if not seen[v] then
      seen[v], at[#at + 1] = true, v
    end
  end
  table.sort(at)
  for i, v in ipairs(at) do labels[i] = ("%d"):format(v) end
  return { at = at, labels = labels }
end

--- Batch size and test accuracy by epoch.
function large.batch_figure(history, title)
  local x, y = batch_stairs(history)
  local fig = hwb.plot.line{ x = x, y = y, step = "post", label = "batch", ylabel = "batch", yscale = "log",
    yticks = ticks(y), xlabel = "epoch", title = title }
  fig:twin{ ylabel = "test accuracy (%)" }:line{ x = column(history, "epoch"),
    y = column(history, "val_accuracy", 100), label = "accuracy" }
  return fig
end

--- The top eigenvalue by epoch, while it is taken; nil when it never was.
function large.lambda_figure(history, title)
  if not history[1].lambda then return nil end
  return hwb.plot.line{ x = column(history, "epoch"), y = column(history, "lambda"), marker = "circle",
    xlabel = "epoch", ylabel = "largest eigenvalue", title = title }
end

-- One line an entry {method=, history=}; points(history) -> x, y.  nil without any line.
local function by_epoch(list, points, o)
  local all, lines = {}, {}
  for _, c in ipairs(list) do
    if #c.history > 0 and (not o.only or c.history[1][o.only]) then
      local x, y = points(c.history)
      table.move(y, 1, #y, #all + 1, all)
      lines[#lines + 1] = { x = x, y = y, step = o.step, marker = o.marker, label = c.method:upper() }
    end
  end
  if #lines == 0 then return nil end
  local fig = hwb.plot.figure{ title = o.title, xlabel = "epoch", ylabel = o.ylabel, yscale = o.yscale,
    yticks = o.yscale and ticks(all) }
  for _, line in ipairs(lines) do fig:line(line) end
  return fig
end

local function of(key, factor)
  return function(history) return column(history, "epoch"), column(history, key, factor) end
end

-- Accuracy against batch, one line a method; the published ones dashed in the same colour.
local function by_batch(list, methods)
  local batches = {}
  for i, c in ipairs(list) do batches[i] = c.batch end
  local fig = hwb.plot.figure{ title = "Accuracy against batch", xlabel = "largest batch", xscale = "log",
    xticks = ticks(batches), ylabel = "test accuracy (%)", width = 8, legend = "outside" }
  for i, m in ipairs(methods) do
    local x, y, known = {}, {}, {}
    for _, c in ipairs(list) do
      if c.method == m or c.batch == large.base then
        x[#x + 1], y[#y + 1] = c.batch, percent(c.cell.result.accuracy) or 0 / 0
        known[#known + 1] = large.known(c.batch, c.method)[1] or 0 / 0
      end
    end
    fig:line{ x = x, y = y, label = m:upper(), marker = "circle", color = i }
    fig:line{ x = x, y = known, label = m:upper() .. ", published", dash = "dashed", marker = "diamond",
      color = i }
  end
  return fig
end

--- name -> figure: batch size, eigenvalue (where it was taken) and accuracy by epoch of
-- {method=, history=}.
function large.epoch_figures(list, title)
  return {
    batch_by_epoch = by_epoch(list, batch_stairs, { title = title, ylabel = "batch", yscale = "log", step = "post" }),
    lambda_by_epoch = by_epoch(list, of("lambda"), { title = title, ylabel = "largest eigenvalue",
      marker = "circle", only = "lambda" }),
    accuracy_by_epoch = by_epoch(list, of("val_accuracy", 100), { title = title, ylabel = "test accuracy (%)" }),
  }
end

--- The same for the cells at the largest batch, and accuracy against batch.
function large.table_figures(list, methods)
  local largest, chosen = 0, {}
  for _, c in ipairs(list) do largest = math.max(largest, c.batch) end
  for _, c in ipairs(list) do
    if c.batch == largest then chosen[#chosen + 1] = { method = c.method, history = c.cell.history } end
  end
  local figures = large.epoch_figures(chosen, ("Batch up to %d"):format(largest))
  figures.accuracy_by_batch = by_batch(list, methods)
  return figures
end

return large
