-- HAWQ on ResNet50 at 224x224, to the published size: 12.28 times smaller, 7.96 MB.
--
--   hwb run recipes/hawq_resnet50.lua
--   hwb run recipes/hawq_resnet50.lua --data IMAGENET --set weights=resnet50-0676ba61.pth \
--       --samples 64 --joint 50 --probes 50 --images 5000
--
-- weights is torchvision's file; IMAGENET holds val/<class>/*.JPEG (and train/, if there).
-- Without weights the network is random and the pictures are the bundled ones, enlarged:
-- then only sizes and timings mean anything.
return {
  name = "hawq_resnet50",
  summary = "Sensitivities, Pareto frontier and mixed precision of ResNet50 at 224x224",
  paper = "Dong et al. 2019 (HAWQ), 2020 (HAWQ-V2)",
  args = {
    weights = { default = "", help = "torchvision's resnet50 checkpoint; default: random weights" },
    size = { default = 97.8 / 12.28, help = "budget: MiB of all quantized weights" },
    choices = { default = { 2, 3, 4, 6, 8 }, help = "bit widths to choose from" },
    activations = { default = 4, help = "bits of activations in the quantized networks" },
    samples = { default = 4, smoke = 1, help = "images for the Hessian" },
    micro = { default = 4, help = "images in memory at once" },
    joint = { default = 10, smoke = 2, help = "probes of the whole Hessian, shared by all layers" },
    probes = { default = 0, help = "further probes of single layers, at most" },
    tol = { default = 0.1, help = "relative standard error at which a layer needs no more probes" },
    metric = { default = "trace", choices = { "trace", "eigenvalue", "both" }, help = "what to measure" },
    images = { default = 16, smoke = 1, help = "test images" },
  },

  run = function(hwb, args, run)
    local study, hawq, choices = hwb.study, hwb.hawq, args.choices
    local s = study.resnet50(args, run)
    local clock = study.stopwatch()

    -- the published arithmetic of sizes, on both bases that the literature uses
    local sizes = study.model_sizes(s.model)
    run:table("sizes", sizes, { "basis", "numbers", "mib" })
    run:table("published", study.published_sizes(sizes), { "method", "bits", "ratio", "mib", "of_file",
      "of_parameters" })

    -- what one evaluation, gradient and Hessian-vector product cost
    local x, y = s.train:batch(1, args.samples)
    local H = hwb.hessian(s.model, { data = { x, y }, micro = args.micro })
    local v = hwb.randn(H.n)
    clock:time("forward", function() return s.model(x) end)
    clock:time("gradient", function() return H:gradient() end)
    clock:time("Hessian-vector product", function() return H:apply(v) end)
    local test = s.test:subset(1, math.min(args.images, #s.test))
    local float = clock:once("evaluation", function() return hwb.evaluate(s.model, test, { batch = 8 }) end)
    run:print(("accuracy in float32: %.2f %% (%d of %d)"):format(100 * float.accuracy, float.correct, float.count))

    -- sensitivities
    local records = run:once("sensitivity", function()
      return clock:once("sensitivities", function()
        return hawq.sensitivity(s.model, { data = { x, y }, metric = args.metric, choices = choices,
          micro = args.micro, joint = args.joint, max_probes = args.probes, tol = args.tol, seed = run.seed })
      end)
    end)
    run:table("sensitivity", study.sensitivity_rows(records))

    -- bits under the budget, and the controls
    local o = { choices = choices, budget = { size_mib = args.size } }
    local plan = clock:once("allocation", function() return hawq.allocate(records, o) end)
    local cases = { { "HAWQ-V2", plan }, { "uniform-2", hawq.uniform(records, 2) },
      { "reversed", hawq.reverse(records, plan, o) } }
    study.print_notes(run, plan)
    run:table("frontier", study.frontier_rows(records, plan.frontier, 12), { "size_mib", "omega", "bits" })
    run:print(("budget: %.2f MiB; the whole frontier has %d points; %.2f times smaller than the %.1f MiB file\n")
      :format(args.size, #plan.frontier, 97.8 / plan.size_mib, 97.8))

    -- quantize and evaluate
    local plans = clock:once("quantized networks", function()
      return study.compare_plans(s.model, cases, run, { records = records, test = test, calibration = x,
        activations = args.activations })
    end)
    run:table("plans", plans, { "plan", "omega", "size_mib", "file_bytes", "accuracy", "bits" })
    run:table("timings", clock.rows, { "what", "seconds" })

    run:figure("sensitivity", study.sensitivity_figure(records))
    if args.metric ~= "trace" then run:figure("eigenvalues", study.eigenvalue_figure(records)) end
    run:figure("frontier", study.frontier_figure(plan.frontier, cases))
    run:result{ bundled = s.bundled, data = s.source, weights = s.weights, bn = "eval",
      only_sizes_and_timings = s.bundled, accuracy = float.accuracy, correct = float.correct,
      images = float.count, samples = args.samples, parameters = s.model:num_parameters(), sizes = sizes,
      sensitivity = records, frontier_points = #plan.frontier, plans = plans, timings = clock.rows,
      plan = { bits = plan.bits, omega = plan.omega, size_mib = plan.size_mib } }
  end,
}
