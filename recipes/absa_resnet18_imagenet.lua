-- ResNet18 on ImageNet with a growing batch: updates, accuracy and time against the baseline.
--
--   mpirun -np 8 hwb run recipes/absa_resnet18_imagenet.lua --data DIR     # DIR/train, DIR/val
--
-- Each micro-batch of 256 images is shared out among the processes.  One training for each
-- of `methods`, the first of which is what the speed-up refers to; BL keeps the batch of
-- 256.  Without a folder of pictures it draws a small one.  A stopped run goes on from the
-- last checkpoint with `hwb run --resume DIR`.
local large, pictures = require "hwb.study.large_batch", require "hwb.study.pictures"

return {
  name = "absa_resnet18_imagenet",
  summary = "ResNet18 on ImageNet: BL against controllers of the batch size, with the time of each part",
  paper = "Yao et al. 2018, arXiv:1810.01021",
  args = {
    methods = { default = { "bl", "absa" }, help = "controllers (bl fb gg abs absa), the baseline first" },
    base = { default = 256, smoke = 8, help = "micro-batch, and the baseline's batch" },
    batch = { default = 16384, smoke = 32, help = "largest batch, a multiple of base" },
    epochs = { default = 90, smoke = 2, help = "passes over the training images" },
    size = { default = 224, smoke = 32, help = "pixels of an image's side" },
    shorter = { default = 256, smoke = 36, help = "shorter side of a test image before it is cut out" },
    stem = { default = "imagenet", smoke = "cifar", choices = { "imagenet", "cifar" },
      help = "first layers: for large or for 32x32 images" },
    lr = { default = 0.1, smoke = 0.02, help = "learning rate of the baseline" },
    decay = { default = 0.1, help = "its factor at 30, 60 and 80 of 90 epochs" },
    weight_decay = { default = 1e-4, help = "of all but biases and norms" },
    probe = { default = 256, smoke = 8, help = "training images for the eigenvalue, always the same" },
    products = { default = 20, smoke = 3, help = "Hessian products for an eigenvalue at most" },
    per_class = { default = 64, smoke = 8, help = "drawn pictures of a class, where there is no folder" },
  },

  run = function(hwb, args, run)
    large.check_methods(args.methods)
    large.check_batch(args.batch, args.base)
    local train, test, source, drawn = pictures.folders(run, args)
    run:print(("data: %s, %d training and %d test images; weights: random"):format(source, #train, #test))
    local classes, ranks = train:info().classes, hwb.comm.size()
    local x, y = train:batch(1, math.min(args.probe, #train))
    local plan, list, rows = large.schedule(args.epochs), {}, {}

    for i, method in ipairs(args.methods) do
      hwb.manual_seed(run.seed)
      local model = hwb.models.resnet18{ classes = classes, stem = args.stem }
      local largest = method == "bl" and args.base or args.batch
      local history = hwb.train{
        model = model, data = train, val = test, epochs = args.epochs, batch = args.base, seed = run.seed,
        augment = { resized = true, flip = true }, run = run, name = method,
        optimizer = hwb.optim.sgd{ lr = args.lr, momentum = 0.9, weight_decay = args.weight_decay,
          decay_vectors = false },
        controller = hwb.batch[method]{ base = args.base, max = largest, epochs = args.epochs,
          decay = args.decay, milestones = plan.milestones, patience = plan.patience, warmup = plan.warmup,
          maxiter = args.products, probe = { x, y } },
        callback = function(row) run:metric(row.epoch, large.named(row, method)) end,
      }
      assert(model:save(run:path(("resnet18-%s.safetensors"):format(method))))
      local s = large.summary(history)
      list[i] = { method = method, name = method, history = history, times = s.times }
      rows[i] = { method = method, largest_batch = largest, epochs = s.epochs, accuracy = 100 * s.accuracy,
        updates = s.updates, updates_fractional = s.updates_fractional }
    end

    run:table("trainings", rows, { "method", "largest_batch", "epochs", "accuracy", "updates",
      "updates_fractional" })
    large.time_table(run, list)
    run:table("published_imagenet", large.published_imagenet(), large.published_imagenet_columns())
    run:print("published_imagenet: eight V100, 1,281,167 images, 90 epochs\n")
    for name, figure in pairs(large.epoch_figures(list, "ResNet18")) do run:figure(name, figure) end
    run:result{ bundled = drawn, data = source, ranks = ranks, classes = classes, images = #train,
      test_images = #test, trainings = rows }
  end,
}
