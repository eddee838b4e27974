-- Loss landscapes of ResNet20: what does the loss look like around the trained weights,
-- and how far does the Hessian's quadratic model reach?
--
--   hwb run recipes/loss_landscape.lua
--   hwb run recipes/loss_landscape.lua --data DIR --set weights=resnet20-12fca82f.th
--
--   f(t) = L(theta + t v)                   along eigenvectors and random directions
--   q(t) = L + t g'v + t^2/2 v'Hv           what the second order predicts, drawn beside it
--   f(s, t) = L(theta + s u + t v)          over two planes
--
-- Random directions are normalised filter by filter; batch norms use running statistics.
return {
  name = "loss_landscape",
  summary = "Loss of ResNet20 along Hessian eigenvectors and random directions, with the quadratic model",
  paper = "Li et al. 2018 (visualizing the loss landscape); Yao et al. 2020 (PyHessian)",
  args = {
    weights = { default = "", help = "checkpoint (.th, .pth, .safetensors); default: the bundled one" },
    shortcut = { default = "A", choices = { "A", "B" }, help = "A (padding) or B (1x1 convolution)" },
    norm = { default = "imagenet", choices = { "imagenet", "cifar10" },
      help = "input normalisation of the given weights" },
    images = { default = 128, smoke = 8, help = "training images, the same for every point" },
    points = { default = 31, smoke = 5, help = "points of a line" },
    grid = { default = 19, smoke = 3, help = "points of a plane's side" },
    span = { default = 1.0, help = "random directions: from -span to span (1: the weights' own norm)" },
    eigen_span = { default = 0.3, help = "eigenvectors, of norm 1: from -eigen_span to eigen_span" },
    randoms = { default = 3, smoke = 1, help = "random lines" },
  },

  run = function(hwb, args, run)
    local study = hwb.study
    local s = study.resnet20(args, run)
    local H = hwb.hessian(s.model, { data = { s.train:batch(1, args.images) } })

    -- 1. lines: the two steepest eigenvectors, the lowest one, random directions
    local top = run:once("top", function() return H:eigs{ k = 2, which = "LA", tol = 1e-3, seed = run.seed } end)
    local low = run:once("low", function() return H:eigs{ k = 1, which = "SA", tol = 1e-2, seed = run.seed } end)
    local eigen = {
      { "first eigenvector", top.vectors[1], top.values[1] }, { "second eigenvector", top.vectors[2], top.values[2] },
      { "lowest eigenvector", low.vectors[1], low.values[1] },
    }
    local rows, labels, eigen_lines, random_lines = {}, {}, {}, {}
    local function scan(name, options, lambda)
      options.points = args.points
      local line = run:once((name:gsub(" ", "-")), function() return hwb.landscape.line(H, options) end)
      local t, loss, quadratic = line.t:totable(), line.loss:totable(), line.quadratic:totable()
      for i = 1, #t do
        run:metric(i, { direction = name, t = t[i], loss = loss[i], quadratic = quadratic[i] })
      end
      rows[#rows + 1] = { direction = name, eigenvalue = lambda, slope = line.slope, curvature = line.curvature,
        left = loss[1], middle = line.value, right = loss[#loss], reach = hwb.landscape.reach(line, 0.1) }
      return line
    end
    for i, e in ipairs(eigen) do
      eigen_lines[i] = scan(e[1], { direction = e[2], span = args.eigen_span }, e[3])
      labels[i] = ("%s, λ = %.3g"):format(e[1], e[3])
    end
    for r = 1, args.randoms do
      random_lines[r] = scan(("random direction %d"):format(r), { seed = run.seed + r - 1, span = args.span })
    end
    run:table("lines", rows, { "direction", "eigenvalue", "curvature", "slope", "left", "middle", "right", "reach" })
    run:figure("eigen_lines", hwb.landscape.plot(eigen_lines, { labels = labels,
      xlabel = "t along the eigenvector", title = "The loss along Hessian eigenvectors" }))
    run:figure("random_lines", hwb.landscape.plot(random_lines, {
      xlabel = "t along the direction", title = "The loss along filter-normalised random directions" }))

    -- 2. planes
    local function plane(name, title, axes, options)
      options.points = args.grid
      local surface = run:once(name, function() return hwb.landscape.surface(H, options) end)
      local function draw(file, kind)
        run:figure(file, hwb.landscape.plot(surface, { kind = kind, title = title, log = true, equal = true,
          xlabel = axes[1], ylabel = axes[2] }))
      end
      draw(name, "contour")
      draw(name .. "_map", "heatmap")
      return surface
    end
    local random = plane("random_plane", "Two filter-normalised random directions",
      { "first direction", "second direction" }, { span = args.span, seed = run.seed })
    plane("eigen_plane", "The plane of the two steepest eigenvectors", { "first eigenvector", "second eigenvector" },
      { directions = { top.vectors[1], top.vectors[2] }, span = args.eigen_span })

    run:print(("loss %.4f on %d images; the quadratic model holds to 10 %% for |t| <= %.3g along the first eigenvector")
      :format(rows[1].middle, args.images, rows[1].reach))
    run:result{ bundled = s.bundled, data = s.source, weights = s.weights, bn = "eval", loss = rows[1].middle,
      lines = rows, highest_on_plane = random.loss:max():item() }
  end,
}
