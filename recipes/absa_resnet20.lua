-- One cell of the large-batch table: ResNet20 on CIFAR-10 with a batch-size controller.
--
--   hwb run recipes/absa_resnet20.lua --data DIR --set method=absa --set batch=16000
--
-- Micro-batches of 128 images are added up to the batch; batch norm sees the micro-batch.
-- Without CIFAR-10 in the data folder it runs on the bundled set.
local published = { -- accuracy in % and updates of the publication (arXiv:1810.01021)
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
  },

  run = function(hwb, args, run)
    local root = hwb.data.find("cifar10", "cifar-10-batches-bin/test_batch.bin")
    local function open(split, count)
      -- pixels within 0..1 and no augmentation, as the published code has it
      local o = { split = split, count = count, mean = { 0, 0, 0 }, std = { 1, 1, 1 }, root = root }
      return assert(root and hwb.data.cifar10(o) or hwb.data.shapes10(o))
    end
    local train, test = open("train", args.images), open("test", args.test_images)
    run:print(("data: %s; weights: random"):format(root and "CIFAR-10 in " .. root or "the bundled set shapes10"))

    hwb.manual_seed(run.seed)
    local model = hwb.models.resnet20{ classes = 10, shortcut = "B" }
    local x, y = train:batch(1, math.min(args.probe, #train))
    local milestones = {}
    for i, e in ipairs{ 30, 60, 80 } do milestones[i] = math.max(i, e * args.epochs // 90) end
    local history = hwb.train{
      model = model, data = train, val = test, epochs = args.epochs, batch = 128, seed = run.seed,
      optimizer = hwb.optim.sgd{ lr = args.lr, momentum = 0.9 },
      controller = hwb.batch[args.method]{ max = args.batch, epochs = args.epochs,
        milestones = milestones, probe = { x, y } },
      callback = function(row) run:metric(row.epoch, row) end,
    }

    local last, seconds, hessian = history[#history], 0, 0
    local epochs, batches, lambdas, accuracies = {}, {}, {}, {}
    for i, row in ipairs(history) do
      seconds, hessian = seconds + row.seconds, hessian + (row.hessian_seconds or 0)
      epochs[i], batches[i], lambdas[i] = row.epoch, row.batch, row.lambda or 0 / 0
      accuracies[i] = 100 * row.val_accuracy
    end
    local known = (published[args.batch] or {})[args.method] or {}
    run:table("cell", { { method = args.method, batch = args.batch, epochs = last.epoch,
      accuracy = accuracies[#accuracies], updates = last.updates, seconds = seconds,
      hessian_seconds = hessian, published_accuracy = known[1], published_updates = known[2] } },
      { "method", "batch", "epochs", "accuracy", "updates", "seconds", "hessian_seconds",
        "published_accuracy", "published_updates" })

    local axes = { xlabel = "epoch", title = args.method:upper() .. ", batch up to " .. args.batch }
    local fig = hwb.plot.line{ x = epochs, y = batches, step = "post", label = "batch", ylabel = "batch",
      xlabel = axes.xlabel, title = axes.title }
    fig:twin{ ylabel = "test accuracy (%)" }:line{ x = epochs, y = accuracies, label = "accuracy" }
    run:figure("batch", fig)
    run:figure("lambda", hwb.plot.line{ x = epochs, y = lambdas, marker = "circle", xlabel = axes.xlabel,
      ylabel = "largest eigenvalue", title = axes.title })
    run:result{ bundled = not root, method = args.method, batch = args.batch, epochs = last.epoch,
      accuracy = last.val_accuracy, updates = last.updates, seconds = seconds, hessian_seconds = hessian,
      published = { accuracy = known[1], updates = known[2] } }
  end,
}
