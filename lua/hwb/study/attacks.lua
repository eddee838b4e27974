--- What the robustness recipe needs: accuracy of a network under attacks, as rows and as a
-- figure.

local hwb = require "hwb"

local attacks = {}

-- Attacks of a given Euclidean length; the others move each pixel by eps.
local by_length = { l2grad = true, l2hess = true }

--- Accuracy under each of args.methods at each of args.eps, the root mean square change of a
-- pixel: {{method=, accuracy={…}}, …}.
function attacks.curves(model, data, args)
  local curves, numbers = {}, data:batch(1, 1):numel()
  for i, method in ipairs(args.methods) do
    local factor, eps = by_length[method] and math.sqrt(numbers) or 1, {}
    for k, e in ipairs(args.eps) do eps[k] = e * factor end
    local rows = hwb.adversarial.accuracy(model, data, { method = method, eps = eps, count = #data,
      range = { 0, 1 }, maxiter = args.products })
    curves[i] = { method = method, eps = args.eps, accuracy = {} }
    for k, row in ipairs(rows) do curves[i].accuracy[k] = row.accuracy end
  end
  return curves
end

--- One row an eps, one column an attack, in %.
function attacks.rows(curves, eps)
  local rows = {}
  for k, e in ipairs(eps) do
    rows[k] = { eps = e }
    for _, c in ipairs(curves) do rows[k][c.method] = 100 * c.accuracy[k] end
  end
  return rows
end

function attacks.columns(curves)
  local columns = { "eps" }
  for i, c in ipairs(curves) do columns[i + 1] = c.method end
  return columns
end

--- Accuracy in % against eps, one line an attack.
function attacks.figure(curves)
  local fig = hwb.plot.figure{ title = "Robustness", xlabel = "eps (root mean square change of a pixel)",
    ylabel = "accuracy (%)" }
  for _, c in ipairs(curves) do
    local y = {}
    for k, a in ipairs(c.accuracy) do y[k] = 100 * a end
    fig:line{ x = c.eps, y = y, label = c.method:upper(), marker = "circle" }
  end
  return fig
end

return attacks
