-- Power iteration on the Hessian, written out: how many iterations, how much data?
--
--   hwb run recipes/hessian_power_iteration.lua
--   hwb run recipes/hessian_power_iteration.lua --data DIR --set weights=resnet20-12fca82f.th
--
--   v <- v/|v|;  w = Hv = d(g'v)/dtheta;  mu = v'w;  v <- w
--
-- mu converges to the eigenvalue of largest magnitude like (lambda2/lambda1)^2t, and
-- |w - mu v| bounds its error.  Every run has a batch and a start vector of its own, so
-- the spread over runs is that of an experiment that somebody else repeats.
return {
  name = "hessian_power_iteration",
  summary = "Top Hessian eigenvalues of ResNet20 by power iteration: iterations, samples, blocks",
  paper = "Yao et al. 2018 (Hessian-based analysis), 2020 (PyHessian)",
  args = {
    weights = { default = "", help = "checkpoint (.th, .pth, .safetensors); default: the bundled one" },
    shortcut = { default = "A", choices = { "A", "B" }, help = "A (padding) or B (1x1 convolution)" },
    norm = { default = "imagenet", choices = { "imagenet", "cifar10" },
      help = "input normalisation of the given weights" },
    batch = { default = 128, smoke = 4, help = "images a run" },
    runs = { default = 10, smoke = 2, help = "runs, each on its own batch" },
    iterations = { default = 12, smoke = 2, help = "iterations on the whole network" },
    block_iterations = { default = 8, smoke = 2, min = 2, help = "iterations on each block" },
    samples = { default = { 16, 32, 64, 128 }, smoke = { 4 }, help = "batch sizes to compare" },
  },

  run = function(hwb, args, run)
    local study = hwb.study
    local s = study.resnet20(args, run)

    -- The algorithm.  history[t] = {mu, residual} after t products with H.
    local function power_iteration(H, seed, iterations)
      hwb.manual_seed(seed)
      local v, history = hwb.randn(H.n), {}
      for t = 1, iterations do
        v = v / v:norm()
        local w = H:apply(v)
        local mu = (v * w):sum():item()
        history[t] = { mu = mu, residual = (w - v * mu):norm():item() }
        v = w
      end
      return history
    end

    local function hessian(r, size) -- run r looks at the r-th batch of the training images
      local first = ((r - 1) * size) % (#s.train - size + 1) + 1
      return hwb.hessian(s.model, { data = { s.train:batch(first, first + size - 1) } })
    end

    -- 1. how many iterations?  The whole network; errors against Lanczos on the same batch
    local curves, final, blocks = {}, {}, {}
    for r = 1, args.runs do
      local H = hessian(r, args.batch)
      local history = power_iteration(H, run.seed + r, args.iterations)
      local truth = H:eigs{ k = 1, which = "LM", tol = 1e-4, maxiter = 40, seed = run.seed }.values[1]
      curves[r] = {}
      for t, h in ipairs(history) do
        curves[r][t] = math.abs(h.mu - truth) / math.abs(truth)
        run:metric(t, { run = r, eigenvalue = h.mu, residual = h.residual, error = curves[r][t] })
      end
      final[r] = history[#history].mu

      -- 2. which blocks?  The same batch, each block's diagonal block of H alone
      for b, block in ipairs(H:blocks(study.resnet20_blocks(s.model))) do
        local B = power_iteration(block, run.seed + r, args.block_iterations)
        blocks[b] = blocks[b] or { block = block.name, values = {}, changes = {} }
        local last, before = B[#B].mu, B[#B - 1].mu
        blocks[b].values[r] = last
        blocks[b].changes[r] = math.abs(last - before) / math.abs(last)
      end
      hwb.progress("runs", r, args.runs)
    end

    local iterations = study.over_runs(curves)
    run:table("iterations", iterations, { "iteration", "median", "low", "high" })
    local block_rows = {}
    for b, block in ipairs(blocks) do
      local mean, sd, low, high = study.spread(block.values)
      block_rows[b] = { block = block.block, mean = mean, sd = sd, min = low, max = high,
        spread = sd / math.abs(mean), last_change = study.spread(block.changes) }
    end
    run:table("blocks", block_rows, { "block", "mean", "sd", "min", "max", "spread", "last_change" })

    -- 3. how much data?
    local sample_rows = {}
    for i, size in ipairs(args.samples) do
      local values = {}
      for r = 1, args.runs do
        local history = power_iteration(hessian(r, size), run.seed + r, args.block_iterations)
        values[r] = history[#history].mu
        hwb.progress("batch sizes", (i - 1) * args.runs + r, #args.samples * args.runs)
      end
      local mean, sd, low, high = study.spread(values)
      sample_rows[i] = { samples = size, mean = mean, sd = sd, min = low, max = high,
        spread = sd / math.abs(mean) }
    end
    run:table("samples", sample_rows, { "samples", "mean", "sd", "min", "max", "spread" })

    run:figure("iterations", study.iterations_figure(iterations, args.runs))
    run:figure("samples", study.samples_figure(sample_rows))
    run:figure("blocks", study.blocks_figure(block_rows, args.runs, args.batch))
    local mean, sd = study.spread(final)
    run:print(("top eigenvalue, batch %d, %d runs: %.4g ± %.2g; median error after %d iterations: %.1e")
      :format(args.batch, args.runs, mean, sd, args.iterations, iterations[#iterations].median))
    run:result{ bundled = s.bundled, data = s.source, weights = s.weights, bn = "eval",
      eigenvalue = mean, eigenvalue_sd = sd, iterations = iterations, samples = sample_rows,
      blocks = block_rows }
  end,
}
