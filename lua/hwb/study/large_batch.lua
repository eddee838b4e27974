--- What the large-batch recipes share: the published table, the schedule of a training
-- with a batch-size controller, its figures.
--
-- The published numbers are those of Yao et al. 2018 (arXiv:1810.01021); its code,
-- HessianFlow, fixes what the text leaves open: micro-batches of 128 images added up
-- (batch norm sees the micro-batch), pixels within 0..1, no augmentation, momentum 0.9
-- without weight decay.

local hwb = require "hwb"

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
-- one training

--- What a training came to, from hwb.train's rows: {epochs=, accuracy=, loss=, updates=,
-- updates_fractional=, times=, lambda=}.  `updates` counts steps made,
-- `updates_fractional` micro-batches over micro-batches an update, as publications do.
function large.summary(history)
  local last = history[#history]
  return { epochs = last.epoch, accuracy = last.val_accuracy, loss = last.loss, updates = last.updates,
    updates_fractional = last.updates_fractional, batch = last.batch, bn = last.bn, bn_batch = last.bn_batch,
    times = history.times }
end

--- The table "time" of trainings {{name=, times=}, ...}, the baseline first: seconds of
-- each part, their total, and how many times faster than the baseline.
function large.time_table(run, list)
  run:table("time", hwb.batch.breakdown(list), hwb.batch.breakdown_columns)
end

---------------------------------------------------------------------------
-- figures

local function column(rows, key, factor)
  local list = {}
  for i, r in ipairs(rows) do list[i] = r[key] and r[key] * (factor or 1) or 0 / 0 end
  return list
end

--- Batch size and test accuracy by epoch.
function large.batch_figure(history, title)
  local epochs = column(history, "epoch")
  local fig = hwb.plot.line{ x = epochs, y = column(history, "batch"), step = "post", label = "batch",
    ylabel = "batch", xlabel = "epoch", title = title }
  fig:twin{ ylabel = "test accuracy (%)" }:line{ x = epochs, y = column(history, "val_accuracy", 100),
    label = "accuracy" }
  return fig
end

--- The top eigenvalue by epoch, while it is taken.
function large.lambda_figure(history, title)
  return hwb.plot.line{ x = column(history, "epoch"), y = column(history, "lambda"), marker = "circle",
    xlabel = "epoch", ylabel = "largest eigenvalue", title = title }
end

return large
