--- What the large-batch recipes share: the published table, one training with a
-- batch-size controller (checkpointed after every epoch), its figures.
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
-- decays, and how long ABS waits before it grows anyway (rounded up, so that the
-- eigenvalue keeps a say in short runs).
function large.schedule(epochs)
  local milestones = {}
  for i, e in ipairs{ 30, 60, 80 } do milestones[i] = math.max(i, e * epochs // 90) end
  return { milestones = milestones, patience = math.max(1, (10 * epochs + 89) // 90) }
end

---------------------------------------------------------------------------
-- one training

local function restore(model, saved)
  for name, t in pairs(model:state_dict()) do t:copy_(saved[name]) end
end

--- hwb.train with a checkpoint of everything after each epoch; a resumed run goes on from
-- the last one to the same numbers.  o: options of hwb.train.  Returns all rows.
function large.train(run, o)
  local saved, history = run:restore(), {}
  if saved then
    restore(o.model, saved.model)
    history, o.resume = saved.history, saved.training
    run:log("going on after epoch %d", #history)
  end
  if #history >= o.epochs then return history end
  o.callback = function(row, state)
    history[#history + 1] = row
    run:metric(row.epoch, row)
    run:checkpoint{ model = o.model, history = history, training = state() }
  end
  hwb.train(o)
  return history
end

--- Sums over the rows of a training: {updates=, seconds=, hessian_seconds=, …}.
-- `updates_published` counts as the publications do: micro-batches over micro-batches an
-- update, what an epoch leaves over carried to the next.
function large.summary(history, base)
  local last = history[#history]
  local s = { epochs = last.epoch, updates = last.updates, accuracy = last.val_accuracy,
    loss = last.loss, seconds = 0, hessian_seconds = 0 }
  local fractional = 0
  for _, row in ipairs(history) do
    s.seconds = s.seconds + row.seconds
    s.hessian_seconds = s.hessian_seconds + (row.hessian_seconds or 0)
    fractional = fractional + row.samples / row.batch
  end
  s.updates_published = math.floor(fractional + 1e-9)
  s.batch = base
  return s
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
