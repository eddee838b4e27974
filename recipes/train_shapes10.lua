-- Trains the bundled checkpoint: ResNet20 (option A) on the bundled set shapes10.
--
--   hwb --seed 1 run recipes/train_shapes10.lua
--
-- SGD with Nesterov momentum; the learning rate rises linearly, then falls as a cosine.
-- datasets/shapes10-resnet20.safetensors is what this made with the arguments below.
return {
  name = "train_shapes10",
  summary = "ResNet20 on the bundled set: the checkpoint that other recipes start from",
  args = {
    epochs = { default = 24, smoke = 1, help = "passes over the training images" },
    images = { default = 10000, smoke = 64, help = "training images" },
    test_images = { default = 2000, smoke = 50, help = "test images" },
    batch = { default = 64, smoke = 32, help = "images an update" },
    lr = { default = 0.08, help = "highest learning rate" },
    warmup = { default = 4, smoke = 0.2, help = "epochs until it is reached" },
    weight_decay = { default = 5e-4, help = "of all parameters" },
  },

  run = function(hwb, args, run)
    local train = hwb.data.shapes10{ split = "train", count = args.images }
    local test = hwb.data.shapes10{ split = "test", count = args.test_images }
    run:print(("data: the bundled set shapes10, %d training and %d test images"):format(#train, #test))

    hwb.manual_seed(run.seed)
    local model = hwb.models.resnet20{ classes = 10, shortcut = "A" }
    local history = hwb.train{
      model = model, data = train, val = test, epochs = args.epochs, batch = args.batch,
      augment = { crop = 2, flip = true }, seed = run.seed,
      optimizer = hwb.optim.sgd{ lr = args.lr, momentum = 0.9, nesterov = true,
        weight_decay = args.weight_decay },
      schedule = hwb.optim.warmup{ epochs = args.warmup, after = hwb.optim.cosine() },
      callback = function(row)
        run:metric(row.epoch, row)
        run:log("epoch %d: loss %.3f, training %.2f %%, test %.2f %%, %.0f images/s", row.epoch, row.loss,
          100 * row.accuracy, 100 * row.val_accuracy, row.images_per_second)
      end,
    }

    local last, seconds = history[#history], 0
    for _, row in ipairs(history) do seconds = seconds + row.seconds end
    assert(model:save(run:path("shapes10-resnet20.safetensors")))
    run:print(("test accuracy: %.2f %% after %d epochs, %.0f s"):format(100 * last.val_accuracy,
      last.epoch, seconds))
    run:result{ bundled = true, data = "the bundled set shapes10", epochs = last.epoch, seconds = seconds,
      loss = last.loss, train_accuracy = last.accuracy, test_accuracy = last.val_accuracy,
      test_loss = last.val_loss }
  end,
}
