--- What the recipes share: a trained network with its data, quantizing and
-- comparing plans, numbers over runs, figures.
--
-- Without weights of its own a recipe runs on the bundled set and checkpoint, says so in
-- its first line, and in result.json as `bundled`.

local hwb = require "hwb"
local sys = require "hwb.sys"

local study = {}

-- The value, or the failure as the program's exit status knows it.
local function must(value, message, code)
  if not value then sys.raise(code or "EIO", message) end
  return value
end

---------------------------------------------------------------------------
-- networks and data

--- The checkpoint that goes with the bundled set.
function study.bundled_weights() return sys.home .. "/datasets/shapes10-resnet20.safetensors" end

local function first_line(run, s)
  run:print(("data: %s; weights: %s"):format(s.source, s.weights))
end

-- A network that takes pixels within 0..1 and normalises them itself.
local Pixels = hwb.nn.Module:extend("Pixels")

function Pixels:init(o)
  self.input_size = o.network.input_size
  self.mean = hwb.nn.buffer(hwb.tensor(o.norm.mean):reshape(1, -1, 1, 1))
  self.std = hwb.nn.buffer(hwb.tensor(o.norm.std):reshape(1, -1, 1, 1))
  self.network = o.network
end

function Pixels:forward(x) return self.network((x - self.mean) / self.std) end

--- ResNet20 with args.weights on CIFAR-10 (normalised by args.norm: "imagenet", "cifar10" or
-- "none"), or the bundled pair.  With pixels = true the images have pixels within 0..1 and the
-- model normalises them.  Returns {model=, train=, test=, bundled=, source=, weights=}.
function study.resnet20(args, run, pixels)
  local given = args.weights ~= ""
  local root = given and hwb.data.find("cifar10", "cifar-10-batches-bin/test_batch.bin")
  local s, none = { bundled = not root }, { mean = { 0, 0, 0 }, std = { 1, 1, 1 } }
  local norm = hwb.data.norms[root and args.norm or "shapes10"] or none
  local function open(split)
    local make, n = root and hwb.data.cifar10 or hwb.data.shapes10, pixels and none or norm
    return must(make{ split = split, root = root or nil, mean = n.mean, std = n.std })
  end
  s.train, s.test = open("train"), open("test")
  s.source = root and ("CIFAR-10 in " .. root) or "the bundled set shapes10"
  s.weights = given and args.weights or "bundled"
  first_line(run, s)
  s.model = hwb.models.resnet20{ shortcut = given and args.shortcut or "A" }
  must(s.model:load(given and args.weights or study.bundled_weights()))
  if pixels then s.model = Pixels{ network = s.model, norm = norm } end
  return s
end

-- Two halves of one folder of classes, or ImageNet's own train and val.
local function imagenet_splits(root)
  local function folder(path) return hwb.data.image_folder{ root = path, shorter = 256, size = 224 } end
  local train, val = folder(root .. "/train"), folder(root .. "/val")
  local all = val or must(folder(root))
  return train or all, all
end

--- ResNet50 at 224x224: args.weights (torchvision's file) on an ImageNet folder in the
-- data folder; without them random weights and the bundled pictures enlarged.
function study.resnet50(args, run)
  local given = args.weights ~= ""
  local folder = given and hwb.data.folder()
  local s = { bundled = not folder }
  if folder then s.train, s.test = imagenet_splits(folder) end
  if not folder then
    s.train = must(hwb.data.shapes10{ split = "train", size = 224 })
    s.test = must(hwb.data.shapes10{ split = "test", size = 224 })
  end
  s.source = folder and ("images in " .. folder) or "the bundled set shapes10, enlarged to 224x224"
  s.weights = given and args.weights or "random"
  first_line(run, s)
  if not given then run:print("random weights: only sizes and timings mean anything below") end
  hwb.manual_seed(run.seed)
  s.model = hwb.models.resnet50()
  if given then must(s.model:load(args.weights)) end
  return s
end

--- Blocks of ResNet20 as HAWQ counts them: stem, residual blocks, classifier.
function study.resnet20_blocks(model)
  local blocks = { "conv1" }
  for stage = 1, 3 do
    for i = 0, 2 do blocks[#blocks + 1] = ("layer%d.%d"):format(stage, i) end
  end
  blocks[#blocks + 1] = rawget(model, "linear") and "linear" or "fc"
  return blocks
end

---------------------------------------------------------------------------
-- numbers

--- Mean, standard deviation, smallest and largest of a list.
function study.spread(values)
  local n, sum, sq = #values, 0, 0
  for _, v in ipairs(values) do sum = sum + v end
  local mean = sum / n
  for _, v in ipairs(values) do sq = sq + (v - mean) ^ 2 end
  return mean, n > 1 and math.sqrt(sq / (n - 1)) or 0, math.min(table.unpack(values)),
    math.max(table.unpack(values))
end

--- curves[run][t] -> rows {iteration=, median=, low=, high=} over the runs.
function study.over_runs(curves)
  local rows = {}
  for t = 1, #curves[1] do
    local column = {}
    for r, curve in ipairs(curves) do column[r] = curve[t] end
    table.sort(column)
    local n = #column
    local median = (column[(n + 1) // 2] + column[n // 2 + 1]) / 2
    rows[t] = { iteration = t, median = median, low = column[1], high = column[n] }
  end
  return rows
end

--- "0112…": the bits of a plan in layer order.
function study.bit_string(records, bits)
  local s = {}
  for i, r in ipairs(records) do s[i] = tostring(bits[r.name]) end
  return table.concat(s, #records > 30 and "" or " ")
end

--- Records as rows and columns of a table; lambda/n is HAWQ-V1's score.
function study.sensitivity_rows(records)
  local rows = {}
  for i, r in ipairs(records) do
    rows[i] = { layer = r.name, weights = r.n, lambda = r.lambda, residual = r.lambda_residual,
      trace = r.trace, trace_stderr = r.trace_stderr, avg_trace = r.avg_trace,
      avg_trace_stderr = r.stderr, lambda_per_weight = r.lambda and r.lambda / r.n }
  end
  local columns = { "layer", "weights" }
  if records[1].lambda then table.move({ "lambda", "residual", "lambda_per_weight" }, 1, 3, 3, columns) end
  if records[1].trace then
    table.move({ "trace", "trace_stderr", "avg_trace", "avg_trace_stderr" }, 1, 4, #columns + 1, columns)
  end
  return rows, columns
end

--- hwb.hawq.loss_change's rows of one bit width, and the columns to show.
function study.loss_change_rows(changes, bits)
  local rows = {}
  for _, r in ipairs(changes) do
    if r.bits == bits then rows[#rows + 1] = r end
  end
  return rows, { "name", "linear", "quadratic", "ggn", "fisher", "predicted", "isotropic", "measured" }
end

--- hwb.hawq.loss_change's rank correlations as rows of a table, one a bit width.
function study.correlation_rows(correlation, choices)
  local rows = {}
  for i, b in ipairs(choices) do
    local c = correlation[b]
    rows[i] = { bits = b, predicted = c.predicted, quadratic = c.quadratic, ggn = c.ggn, fisher = c.fisher,
      isotropic = c.isotropic, perturbation = c.dw2 }
  end
  return rows
end

-- At most `count` elements of a list, evenly, the ends among them.
local function thinned(list, count)
  local out, n = {}, #list
  if n <= count then return list end
  for i = 1, count do out[i] = list[1 + ((i - 1) * (n - 1) + (count - 1) // 2) // (count - 1)] end
  return out
end

--- At most `count` points of a frontier as rows of a table.
function study.frontier_rows(records, frontier, count)
  local rows = {}
  for i, p in ipairs(thinned(frontier, count)) do
    rows[i] = { size_mib = p.size_mib, omega = p.omega, bits = study.bit_string(records, p.bits) }
  end
  return rows
end

--- Says what the allocation did about layers whose trace is negative.
function study.print_notes(run, plan)
  if #plan.notes > 0 then
    run:print(("%d layers have a negative trace, counted as its standard error: %s"):format(#plan.notes,
      plan.notes[1]:match("^[^:]*") .. (#plan.notes > 1 and ", …" or "")))
  end
end

---------------------------------------------------------------------------
-- sizes and times

local MIB = 2 ^ 20

-- Size of torchvision's resnet50 file, which the literature calls 97.8 MB.
local FILE_MIB = 97.8

--- Float32 sizes on the two bases in use: parameters alone, and all that a checkpoint
-- holds (running statistics too).
function study.model_sizes(model)
  local parameters, buffers, weights = model:num_parameters(), 0, 0
  for _, t in model:buffers() do buffers = buffers + t:numel() end
  for _, l in ipairs(model:layers()) do weights = weights + l.n end
  local function row(basis, n) return { basis = basis, numbers = n, mib = n * 4 / MIB } end
  return { row("quantizable weights", weights), row("parameters", parameters),
    row("parameters and running statistics", parameters + buffers) }
end

--- Published ResNet50 results (top to bottom: Choi et al. 2018 and others at 2 and 3 bits,
-- Han et al. 2016, Wang et al. 2019, Dong et al. 2019, 2020) with their size computed from
-- the ratio on both bases.  Those with 97.8/ratio count the file, the others parameters.
function study.published_sizes(sizes)
  local rows = {}
  for i, r in ipairs{
    { "DoReFa, PACT, LQ-Nets", "2", 16, 6.11 }, { "DoReFa, PACT, LQ-Nets", "3", 32 / 3, 9.17 },
    { "Deep Compression", "3 mixed", 10.41, 9.36 }, { "HAQ", "mixed", 10.57, 9.22 },
    { "HAWQ", "2 mixed", 12.28, 7.96 }, { "HAWQ-V2", "2 mixed", 12.25, 7.98 },
  } do
    rows[i] = { method = r[1], bits = r[2], ratio = r[3], mib = r[4], of_file = FILE_MIB / r[3],
      of_parameters = sizes[2].mib / r[3] }
  end
  return rows
end

--- Seconds of parts of an experiment: clock:once(what, f), clock:time(what, f) (the better
-- of two calls after one that compiles); both return what f does.  Rows in clock.rows.
function study.stopwatch()
  local clock = { rows = {} }
  local function add(what, seconds) clock.rows[#clock.rows + 1] = { what = what, seconds = seconds } end
  function clock:once(what, f)
    local start = sys.seconds()
    local value = f()
    add(what, sys.seconds() - start)
    return value
  end
  function clock:time(what, f)
    local best, value = math.huge, f()
    for _ = 1, 2 do
      local start = sys.seconds()
      value = f()
      best = math.min(best, sys.seconds() - start)
    end
    add(what, best)
    return value
  end
  return clock
end

---------------------------------------------------------------------------
-- plans

--- Quantizes the model by each plan, evaluates, fine-tunes (o.finetune.epochs > 0) and
-- evaluates again.  cases: {{label, plan}, ...}; o: {records=, test=, calibration=,
-- activations=, finetune={data=, epochs=, lr=}}.  Returns rows of a table; the packed
-- weights go to the run folder.
function study.compare_plans(model, cases, run, o)
  local rows = {}
  for i, case in ipairs(cases) do
    local label, plan = case[1], case[2]
    local q = hwb.quant.apply(model, { weights = plan.bits, activations = o.activations,
      data = o.calibration })
    local row = { plan = label, bits = study.bit_string(o.records, plan.bits), omega = plan.omega,
      size_mib = plan.size_mib, accuracy = 100 * hwb.evaluate(q, o.test).accuracy }
    local ft = o.finetune
    if ft and ft.epochs > 0 then
      hwb.train{ model = q, data = ft.data, epochs = ft.epochs, batch = 128, bn = "eval",
        seed = run.seed, optimizer = hwb.optim.sgd{ lr = ft.lr, momentum = 0.9, weight_decay = 1e-4 } }
      row.finetuned = 100 * hwb.evaluate(q, o.test).accuracy
    end
    local path = run:path(label:lower() .. ".safetensors")
    must(q:save(path))
    row.file_bytes = q:size().file_bytes
    rows[i] = row
    hwb.progress("plans", i, #cases)
  end
  return rows
end

---------------------------------------------------------------------------
-- figures

local function short(names)
  local list = {}
  for i, name in ipairs(names) do
    list[i] = name:gsub("^layer", ""):gsub("downsample%.0", "down")
  end
  return list
end

local function column(rows, key)
  local list = {}
  for i, r in ipairs(rows) do list[i] = r[key] or 0 / 0 end
  return list
end

-- A logarithmic axis has no place for what is not positive.
local function log_unless_negative(values)
  for _, v in ipairs(values) do
    if v <= 0 then return "linear" end
  end
  return "log"
end

--- Average trace of every layer with its standard error.
function study.sensitivity_figure(records)
  local values = column(records, "avg_trace")
  return hwb.plot.bars{
    names = short(column(records, "name")), values = values, err = column(records, "stderr"),
    title = "Sensitivity by layer", yscale = log_unless_negative(values),
    ylabel = "average Hessian trace", width = 9,
  }
end

--- Top eigenvalue of every layer's block.
function study.eigenvalue_figure(records)
  local values = column(records, "lambda")
  return hwb.plot.bars{
    names = short(column(records, "name")), values = values, err = column(records, "lambda_residual"),
    title = "Top eigenvalue by block", ylabel = "eigenvalue of largest magnitude",
    yscale = log_unless_negative(values), width = 9,
  }
end

--- The Pareto frontier with the plans of cases, {{label, plan}, ...}, marked on it.
function study.frontier_figure(frontier, cases)
  frontier = thinned(frontier, 2000)
  local fig = hwb.plot.line{
    x = column(frontier, "size_mib"), y = column(frontier, "omega"), step = "post",
    label = "Pareto frontier", yscale = "log", xlabel = "weight size (MiB)",
    ylabel = "Ω = Σ average trace · ‖ΔW‖²", title = "Size against sensitivity",
  }
  for _, case in ipairs(cases) do
    fig:scatter{ x = { case[2].size_mib }, y = { case[2].omega }, label = case[1], size = 7 }
  end
  return fig
end

--- Predicted against measured change of the loss, one point a (layer, bits).
function study.prediction_figure(rows, bits)
  local fig = hwb.plot.figure{ title = ("Loss change of quantizing one layer to %d bits"):format(bits),
    xlabel = "measured", ylabel = "predicted" }
  local chosen = study.loss_change_rows(rows, bits)
  local measured = column(chosen, "measured")
  fig:scatter{ x = measured, y = column(chosen, "predicted"), label = "gᵀΔW + ½ ΔWᵀHΔW" }
  fig:scatter{ x = measured, y = column(chosen, "isotropic"), label = "½ average trace · ‖ΔW‖²" }
  local low, high = math.min(table.unpack(measured)), math.max(table.unpack(measured))
  return fig:line{ x = { low, high }, y = { low, high }, label = "equal", dash = "dashed", color = "grey" }
end

--- Spectral density of an operator's H:density result.
function study.density_figure(d)
  return hwb.plot.density{
    nodes = d.nodes, weights = d.weights, title = "Spectral density", xlabel = "eigenvalue",
    ylabel = "density",
  }
end

--- Relative error against iterations: the median over runs, and all runs as a band.
function study.iterations_figure(rows, runs)
  return hwb.plot.line{
    x = column(rows, "iteration"), y = column(rows, "median"),
    band = { column(rows, "low"), column(rows, "high") }, marker = "circle",
    label = ("median and range of %d runs"):format(runs), yscale = "log", xlabel = "iteration",
    ylabel = "relative error of the top eigenvalue", title = "Power iteration: how many iterations?",
  }
end

--- Top eigenvalue against the batch size: mean, and one standard deviation as a band.
function study.samples_figure(rows)
  local low, high = {}, {}
  for i, r in ipairs(rows) do low[i], high[i] = r.mean - r.sd, r.mean + r.sd end
  return hwb.plot.line{
    x = column(rows, "samples"), y = column(rows, "mean"), band = { low, high }, marker = "circle",
    label = "mean ± one standard deviation", xscale = "log", xlabel = "images",
    ylabel = "top eigenvalue", title = "Power iteration: how much data?",
    xticks = { at = column(rows, "samples"), labels = column(rows, "samples") },
  }
end

--- Mean top eigenvalue of each block with the spread over runs.
function study.blocks_figure(rows, runs, batch)
  return hwb.plot.bars{
    names = short(column(rows, "block")), values = column(rows, "mean"), err = column(rows, "sd"),
    title = ("Top eigenvalue by block: mean and deviation of %d runs, batch %d"):format(runs, batch),
    ylabel = "eigenvalue of largest magnitude", width = 8,
  }
end

return study
