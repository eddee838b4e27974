-- One cell of the large-batch table: ResNet20 on CIFAR-10 with a batch-size controller.
--
--   hwb run recipes/absa_resnet20.lua --data DIR --set method=absa --set batch=16000
--
-- Micro-batches of 128 images are added up to the batch; batch norm sees the micro-batch.
-- Without CIFAR-10 in the data folder it runs on the bundled set.  A checkpoint is
-- written after every epoch: `hwb run --resume DIR` goes on to the same numbers.
local large = require "hwb.study.large_batch"

return {
  name = "absa_resnet20",
  summary = "ResNet20 with one of the controllers BL, FB, GG, ABS, ABSA up to a largest batch",
  paper = "Yao et al. 2018, arXiv:1810.01021",
  args = {
    method = { default = "absa", choices = { "bl", "fb", "gg", "abs", "absa" }, help = "batch-size controller" },
    batch = { default = 3200, smoke = 512, help = "largest batch, a multiple of 128" },
    epochs = { default = 90, smoke = 2, help = "passes over the training images" },
    images = { default = 50000, smoke = 512, help = "training images" },
    test_images = { default = 10000, smoke = 100, help = "test images" },
    lr = { default = 0.1, help = "learning rate of the micro-batch" },
    probe = { default = 128, smoke = 32, help = "training images for the eigenvalue, always the same" },
    baseline = { default = "", help = "folder of the run of this recipe that the speed-up refers to" },
    compat = { default = "none", choices = { "none", "hessianflow" },
      help = "the published program's eigenvalues and left-over micro-batches (see hwb.batch)" },
  },

  run = function(hwb, args, run)
    large.check_batch(args.batch)
    local times = { args.baseline ~= "" and large.finished(args.baseline) or nil }
    -- pixels within 0..1 and no augmentation, as the published program has it
    local train, test, source, bundled = large.cifar10(args.images, args.test_images)
    run:print(("data: %s; weights: random"):format(source))

    hwb.manual_seed(run.seed)
    local model = hwb.models.resnet20{ classes = 10, shortcut = "B" }
    local x, y = train:batch(1, math.min(args.probe, #train))
    local plan = large.schedule(args.epochs)
    local history = hwb.train{
      model = model, data = train, val = test, epochs = args.epochs, batch = large.base, seed = run.seed,
      optimizer = hwb.optim.sgd{ lr = args.lr, momentum = 0.9 },
      controller = hwb.batch[args.method]{ max = args.batch, epochs = args.epochs,
        milestones = plan.milestones, patience = plan.patience, warmup = plan.warmup, probe = { x, y },
        compat = args.compat ~= "none" and args.compat or nil },
      run = run, callback = function(row) run:metric(row.epoch, row) end,
    }

    local s = large.summary(history)
    local known = large.known(args.batch, args.method)
    assert(model:save(run:path("resnet20.safetensors")))
    run:table("cell", { { method = args.method, batch = args.batch, epochs = s.epochs,
      accuracy = 100 * s.accuracy, updates = s.updates, published_accuracy = known[1],
      published_updates = known[2] } }, { "method", "batch", "epochs", "accuracy", "updates",
      "published_accuracy", "published_updates" })
    times[#times + 1] = { name = ("%s %d"):format(args.method, args.batch), times = s.times }
    large.time_table(run, times)
    local title = ("%s, batch up to %d"):format(args.method:upper(), args.batch)
    run:figure("batch", large.batch_figure(history, title))
    local lambda = large.lambda_figure(history, title)
    if lambda then run:figure("lambda", lambda) end
    run:result{ bundled = bundled, method = args.method, largest_batch = args.batch, epochs = s.epochs,
      images = #train, test_images = #test, accuracy = s.accuracy, loss = s.loss, updates = s.updates,
      updates_fractional = s.updates_fractional, batch = s.batch, bn = s.bn, bn_batch = s.bn_batch,
      published = { accuracy = known[1], updates = known[2] } }
  end,
}
