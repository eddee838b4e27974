-- HAWQ on a trained ResNet20: which layers can take few bits, and what it costs.
--
--   hwb run recipes/hawq_resnet20.lua
--   hwb run recipes/hawq_resnet20.lua --data DIR --set weights=resnet20-12fca82f.th
--
-- Without CIFAR-10 in the data folder it runs on the bundled set and checkpoint.
return {
  name = "hawq_resnet20",
  summary = "Hessian sensitivities, Pareto frontier, mixed precision and fine-tuning of ResNet20",
  paper = "Dong et al. 2019 (HAWQ), 2020 (HAWQ-V2)",
  args = {
    weights = { default = "", help = "checkpoint (.th, .pth, .safetensors); default: the bundled one" },
    shortcut = { default = "A", help = "A (padding) or B (1x1 convolution)" },
    bits = { default = 4, help = "budget: the size of uniform quantization at this many bits" },
    choices = { default = "2,3,4,6,8", help = "bit widths to choose from" },
    activations = { default = 8, help = "bits of activations in the quantized networks" },
    samples = { default = 256, smoke = 32, help = "images for the Hessian" },
    images = { default = 10000, smoke = 200, help = "test images" },
    tol = { default = 0.05, smoke = 0.3, help = "relative standard error of the layers' traces" },
    finetune = { default = 1, smoke = 0, help = "epochs of fine-tuning" },
    finetune_images = { default = 5000, smoke = 200, help = "training images an epoch" },
    lr = { default = 1e-3, help = "learning rate of fine-tuning" },
  },

  run = function(hwb, args, run)
    local study, choices = hwb.study, {}
    for b in args.choices:gmatch("%d+") do choices[#choices + 1] = math.tointeger(tonumber(b)) end

    -- data and network
    local data = study.cifar10()
    run:log("data: %s", data.source)
    local weights = args.weights ~= "" and args.weights or study.bundled_weights()
    local model = hwb.models.resnet20{ shortcut = args.shortcut }
    assert(model:load(weights))
    run:log("weights: %s (%d parameters)", weights, model:num_parameters())
    local count = math.min(args.images, #data.test)
    local function accuracy(m) return hwb.evaluate(m, data.test, { count = count }).accuracy end
    local float = hwb.evaluate(model, data.test, { count = count })
    run:log("float accuracy: %.2f %% (%d of %d)", 100 * float.accuracy, float.correct, float.count)

    -- sensitivities, on training images, running batch-norm statistics
    local x, y = data.train:batch(1, args.samples)
    local records = run:once("sensitivity", function()
      return hwb.hawq.sensitivity(model, { data = { x, y }, metric = "both", choices = choices,
        tol = args.tol, seed = run.seed, max_probes = run.smoke and 20 or 200 })
    end)
    local rows = {}
    for i, r in ipairs(records) do
      rows[i] = { layer = r.name, weights = r.n, lambda = r.lambda, residual = r.lambda_residual,
        trace = r.trace, trace_stderr = r.trace_stderr, avg_trace = r.avg_trace,
        avg_trace_stderr = r.stderr }
    end
    run:table("sensitivity", rows, { "layer", "weights", "lambda", "residual", "trace",
      "trace_stderr", "avg_trace", "avg_trace_stderr" })

    -- how well do the models predict the measured change of the loss?
    local changes, correlation = hwb.hawq.loss_change(model, records, { data = { x, y },
      choices = choices })
    run:table("loss_change", changes, { "name", "bits", "linear", "quadratic", "predicted",
      "isotropic", "measured" })
    local ranks = {}
    for i, b in ipairs(choices) do
      local c = correlation[b]
      ranks[i] = { bits = b, predicted = c.predicted, quadratic = c.quadratic,
        isotropic = c.isotropic, perturbation = c.dw2 }
    end
    run:table("rank_correlation", ranks, { "bits", "predicted", "quadratic", "isotropic",
      "perturbation" })

    -- bits under the budget, and the two controls at the same size
    local budget = { size_mib = hwb.hawq.uniform(records, args.bits).size_mib }
    local plan = hwb.hawq.allocate(records, { choices = choices, budget = budget })
    local reverse = hwb.hawq.reverse(records, plan, { choices = choices, budget = budget })
    local uniform = hwb.hawq.uniform(records, args.bits)
    run:log("budget %.4f MiB; frontier of %d points", budget.size_mib, #plan.frontier)

    -- quantize, evaluate, fine-tune, evaluate again
    local results = {}
    for _, case in ipairs{ { "HAWQ-V2", plan }, { "uniform", uniform }, { "reversed", reverse } } do
      local label, p = case[1], case[2]
      local q = hwb.quant.apply(model, { weights = p.bits, activations = args.activations,
        data = x })
      local row = { plan = label, bits = study.bit_string(records, p.bits), omega = p.omega,
        size_mib = p.size_mib, accuracy = 100 * accuracy(q) }
      if args.finetune > 0 then
        hwb.train{ model = q, data = data.train:subset(1, math.min(args.finetune_images, #data.train)),
          epochs = args.finetune, batch = 128, bn = "eval", seed = run.seed,
          optimizer = hwb.optim.sgd{ lr = args.lr, momentum = 0.9, weight_decay = 1e-4 } }
        row.finetuned = 100 * accuracy(q)
      end
      local file = run:path(label:lower() .. ".safetensors")
      assert(q:save(file))
      row.file_bytes = q:size().file_bytes
      results[#results + 1] = row
    end
    run:table("plans", results, { "plan", "bits", "omega", "size_mib", "file_bytes", "accuracy",
      "finetuned" })

    -- figures and the record of it all
    local H = hwb.hessian(model, { data = { x, y } })
    run:figure("sensitivity", study.sensitivity_figure(records))
    run:figure("eigenvalues", study.eigenvalue_figure(records))
    run:figure("frontier", study.frontier_figure(plan.frontier, {
      { label = "HAWQ-V2", size_mib = plan.size_mib, omega = plan.omega },
      { label = "uniform", size_mib = uniform.size_mib, omega = uniform.omega },
      { label = "reversed", size_mib = reverse.size_mib, omega = reverse.omega } }))
    run:figure("density", study.density_figure(H:density{ steps = run.smoke and 10 or 60,
      probes = 1, seed = run.seed }))
    run:result{ bundled = not data.real, data = data.source, weights = weights,
      float_accuracy = float.accuracy, correct = float.correct, images = float.count,
      samples = args.samples, bn = "eval", sensitivity = records, rank_correlation = ranks,
      plan = { bits = plan.bits, omega = plan.omega, size_mib = plan.size_mib }, plans = results,
      frontier_points = #plan.frontier }
  end,
}
