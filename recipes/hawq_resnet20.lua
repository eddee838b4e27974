-- HAWQ on a trained ResNet20: which layers can take few bits, and what it costs.
--
--   hwb run recipes/hawq_resnet20.lua
--   hwb run recipes/hawq_resnet20.lua --data DIR --set weights=resnet20-12fca82f.th
--
-- With weights, DIR holds CIFAR-10 (cifar-10-batches-bin/); without, it runs on the
-- bundled set and checkpoint.
return {
  name = "hawq_resnet20",
  summary = "Hessian sensitivities, Pareto frontier, mixed precision and fine-tuning of ResNet20",
  paper = "Dong et al. 2019 (HAWQ), 2020 (HAWQ-V2)",
  args = {
    weights = { default = "", help = "checkpoint (.th, .pth, .safetensors); default: the bundled one" },
    shortcut = { default = "A", choices = { "A", "B" }, help = "A (padding) or B (1x1 convolution)" },
    norm = { default = "imagenet", choices = { "imagenet", "cifar10" },
      help = "input normalisation of the given weights" },
    bits = { default = 4, help = "budget: the size of uniform quantization at this many bits" },
    choices = { default = { 2, 3, 4, 6, 8 }, help = "bit widths to choose from" },
    activations = { default = 8, help = "bits of activations in the quantized networks" },
    samples = { default = 64, smoke = 16, help = "images for the Hessian" },
    images = { default = 10000, smoke = 100, help = "test images" },
    tol = { default = 0.1, smoke = 1, help = "relative standard error of the layers' traces" },
    probes = { default = 100, smoke = 3, help = "probes a layer at most" },
    density = { default = 40, smoke = 5, help = "Lanczos steps of the spectral density" },
    finetune = { default = 1, smoke = 0, help = "epochs of fine-tuning" },
    finetune_images = { default = 1280, help = "training images an epoch" },
    lr = { default = 1e-3, help = "learning rate of fine-tuning" },
  },

  run = function(hwb, args, run)
    local study, hawq, choices = hwb.study, hwb.hawq, args.choices

    -- data and network
    local s = study.resnet20(args, run)
    local test = s.test:subset(1, math.min(args.images, #s.test))
    local float = hwb.evaluate(s.model, test)
    run:print(("accuracy in float32: %.2f %% (%d of %d)"):format(100 * float.accuracy, float.correct, float.count))

    -- sensitivities on training images, with running batch-norm statistics
    local x, y = s.train:batch(1, args.samples)
    local records = run:once("sensitivity", function()
      return hawq.sensitivity(s.model, { data = { x, y }, metric = "both", choices = choices,
        tol = args.tol, max_probes = args.probes, seed = run.seed })
    end)
    run:table("sensitivity", study.sensitivity_rows(records))

    -- how well do the models predict the measured change of the loss?
    local changes, correlation = hawq.loss_change(s.model, records, { data = { x, y }, choices = choices })
    run:table(("loss_change_%dbit"):format(args.bits), study.loss_change_rows(changes, args.bits))
    local ranks = study.correlation_rows(correlation, choices)
    run:table("rank_correlation", ranks,
      { "bits", "predicted", "quadratic", "ggn", "fisher", "isotropic", "perturbation" })

    -- bits under the budget, and the controls at the same size
    local uniform = hawq.uniform(records, args.bits)
    local o = { choices = choices, budget = { size_mib = uniform.size_mib } }
    local plan = hawq.allocate(records, o)
    local second = hawq.allocate(hawq.second_order(records, changes), o)
    second = hawq.evaluate(records, second.bits)
    local reverse = hawq.reverse(records, plan, o)
    study.print_notes(run, plan)
    run:table("frontier", study.frontier_rows(records, plan.frontier, 20), { "size_mib", "omega", "bits" })
    run:print(("budget: %.4f MiB, the size of %d bits everywhere; the whole frontier has %d points\n")
      :format(uniform.size_mib, args.bits, #plan.frontier))

    -- quantize, evaluate, fine-tune, evaluate again
    local cases = { { "HAWQ-V2", plan }, { "uniform", uniform }, { "reversed", reverse },
      { "second-order", second } }
    local plans = study.compare_plans(s.model, cases, run, { records = records, test = test,
      calibration = x, activations = args.activations, finetune = { epochs = args.finetune, lr = args.lr,
      data = s.train:subset(1, math.min(args.finetune_images, #s.train)) } })
    run:table("plans", plans, { "plan", "omega", "size_mib", "file_bytes", "accuracy", "finetuned", "bits" })

    -- figures, and the record of it all
    local H = hwb.hessian(s.model, { data = { x, y } })
    run:figure("sensitivity", study.sensitivity_figure(records))
    run:figure("eigenvalues", study.eigenvalue_figure(records))
    run:figure("frontier", study.frontier_figure(plan.frontier, cases))
    run:figure("prediction", study.prediction_figure(changes, args.bits))
    run:figure("density", study.density_figure(H:density{ steps = args.density, seed = run.seed }))
    run:result{ bundled = s.bundled, data = s.source, weights = s.weights, bn = "eval",
      accuracy = float.accuracy, correct = float.correct, images = float.count, samples = args.samples,
      sensitivity = records, loss_change = changes, rank_correlation = ranks, plans = plans,
      frontier = study.frontier_rows(records, plan.frontier, 200), frontier_points = #plan.frontier,
      plan = { bits = plan.bits, omega = plan.omega, size_mib = plan.size_mib } }
  end,
}
