--- Parts that the HAWQ recipes share: data with the bundled set to fall back on,
-- figures, and comparisons of plans.

local hwb = require "hwb"

local study = {}

--- CIFAR-10 from the data folder, or the bundled set.
-- Returns {train=, test=, real=, source=, normalisation=}.
function study.cifar10(o)
  local root = hwb.data.find("cifar10", "cifar-10-batches-bin/test_batch.bin")
  local norm = { mean = { 0.485, 0.456, 0.406 }, std = { 0.229, 0.224, 0.225 } }
  if o and o.norm == "pyhessian" then
    norm = { mean = { 0.4914, 0.4822, 0.4465 }, std = { 0.2023, 0.1994, 0.2010 } }
  end
  local function open(split)
    local options = { split = split, mean = norm.mean, std = norm.std }
    if not root then return hwb.data.shapes10(options) end
    options.root = root
    return assert(hwb.data.cifar10(options))
  end
  return {
    train = open("train"), test = open("test"), real = root ~= nil,
    source = root and ("CIFAR-10 in " .. root) or "the bundled set shapes10",
  }
end

--- The checkpoint that goes with the bundled set.
function study.bundled_weights()
  return require("hwb.sys").home .. "/datasets/shapes10-resnet20.safetensors"
end

local function short(names)
  local list = {}
  for i, name in ipairs(names) do list[i] = (name:gsub("^layer", "")) end
  return list
end

local function column(records, key)
  local list = {}
  for i, r in ipairs(records) do list[i] = r[key] or 0 / 0 end
  return list
end

--- Average trace of every layer with its standard error.
function study.sensitivity_figure(records)
  return hwb.plot.bars{
    names = short(column(records, "name")), values = column(records, "avg_trace"),
    err = column(records, "stderr"), title = "Sensitivity by layer", yscale = "log",
    ylabel = "average Hessian trace", width = 900,
  }
end

--- Top eigenvalue of every block.
function study.eigenvalue_figure(records)
  return hwb.plot.bars{
    names = short(column(records, "name")), values = column(records, "lambda"),
    title = "Top eigenvalue by block", ylabel = "largest eigenvalue", yscale = "log", width = 900,
  }
end

--- The Pareto frontier with points {label=, size_mib=, omega=} marked on it.
function study.frontier_figure(frontier, points)
  local x, y = {}, {}
  for i, p in ipairs(frontier) do x[i], y[i] = p.size_mib, p.omega end
  local fig = hwb.plot.line{
    x = x, y = y, step = "post", label = "Pareto frontier", yscale = "log",
    xlabel = "weight size (MiB)", ylabel = "Ω = Σ average trace · ‖ΔW‖²",
    title = "Size against sensitivity",
  }
  for _, p in ipairs(points) do
    fig:scatter{ x = { p.size_mib }, y = { p.omega }, label = p.label, size = 7 }
  end
  return fig
end

--- Spectral density of an operator's H:density result.
function study.density_figure(d)
  return hwb.plot.density{
    nodes = d.nodes, weights = d.weights, title = "Spectral density", xlabel = "eigenvalue",
    ylabel = "density",
  }
end

--- "0112…": the bits of a plan in layer order.
function study.bit_string(records, bits)
  local s = {}
  for i, r in ipairs(records) do s[i] = tostring(bits[r.name]) end
  return table.concat(s)
end

return study
