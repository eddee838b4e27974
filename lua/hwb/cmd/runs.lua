-- hwb runs list|show|diff: what run folders say.
local hwb = require "hwb"
local sys = require "hwb.sys"
local errors = require "hwb.errors"
local records = require "hwb.records"
local text = require "hwb.text"

local function list(options, parent)
  local rows = hwb.json.array{}
  for i, run in ipairs(records.list(parent)) do
    local r = run.record
    rows[i] = {run = run.name, recipe = r.recipe, status = r.status, start = r.start,
      seconds = r.seconds, seed = r.seed}
  end
  if options.json then
    print(hwb.json.encode({schema = 1, runs = rows}, {indent = 2}))
  elseif #rows == 0 then
    print("no runs in " .. parent)
  else
    for _, row in ipairs(rows) do row.took = row.seconds and text.duration(row.seconds) or "" end
    print(text.table(rows, {"run", "recipe", "status", "took", "seed"}))
  end
  return 0
end

local function leaves(value)
  local rows = {}
  for name, item in pairs(records.flatten(value)) do rows[#rows + 1] = {name, text.cell(item)} end
  table.sort(rows, function(a, b) return a[1] < b[1] end)
  return rows
end

local function show(options, run)
  local r = run.record
  if options.json then
    print(hwb.json.encode({schema = 1, run = run.dir, record = r, result = run.result}, {indent = 2}))
    return 0
  end
  print(text.table{{"run", run.dir}, {"recipe", r.recipe}, {"status", r.status}, {"error", r.error or ""},
    {"started", (tostring(r.start):gsub("%.%d+", ""))},
    {"took", r.seconds and text.duration(r.seconds) or ""}, {"seed", r.seed},
    {"device", ("%s, %s threads"):format(r.device, r.threads)},
    {"program", ("hwb %s %s%s"):format(r.hwb.version, r.hwb.git and r.hwb.git.commit:sub(1, 10) or "",
      r.hwb.git and r.hwb.git.dirty and " with changes" or "")}})
  local singles, lists = records.parts(run.result)
  local sections = {{"Arguments", leaves(r.args)}, {"Result", leaves(singles)}}
  for _, section in ipairs(sections) do
    if #section[2] > 0 then print("\n" .. section[1] .. "\n" .. text.table(section[2])) end
  end
  for _, t in ipairs(lists) do print("\n" .. t.name .. "\n" .. text.table(t.rows, text.columns(t.rows))) end
  local last = records.metrics(run.dir)
  if #last > 0 then print(("\n%d lines of metrics; the last: %s"):format(#last, hwb.json.encode(last[#last]))) end
  return 0
end

-- Rows {what, first, second} where two runs differ.
local function differences(a, b)
  local rows = hwb.json.array{}
  local function compare(title, x, y)
    local left, right, names = records.flatten(x), records.flatten(y), {}
    for name in pairs(left) do names[#names + 1] = name end
    for name in pairs(right) do if left[name] == nil then names[#names + 1] = name end end
    table.sort(names)
    for _, name in ipairs(names) do
      if left[name] ~= right[name] then
        rows[#rows + 1] = {what = title .. name, a = left[name], b = right[name]}
      end
    end
  end
  local function facts(r)
    return {recipe = r.recipe, sha256 = r.sha256, seed = r.seed, device = r.device, threads = r.threads,
      version = r.hwb and r.hwb.version, commit = r.hwb and r.hwb.git and r.hwb.git.commit, status = r.status}
  end
  compare("", facts(a.record), facts(b.record))
  compare("args.", a.record.args, b.record.args)
  compare("result.", a.result, b.result)
  return rows
end

local function diff(options, a, b)
  local rows = differences(a, b)
  if options.json then
    print(hwb.json.encode({schema = 1, a = a.dir, b = b.dir, differences = rows}, {indent = 2}))
  elseif #rows == 0 then
    print("no difference in arguments, results, seed, device or program")
  else
    local shown = {}
    for i, row in ipairs(rows) do shown[i] = {row.what, text.cell(row.a), text.cell(row.b)} end
    print(text.table(shown, {"what", a.name, b.name}))
  end
  return 0
end

return function(options, rest)
  local parent = options["run-dir"] or "runs"
  local verb = rest[1] or "list"
  if verb == "list" then return list(options, parent) end
  if verb == "show" then return show(options, records.find(rest[2] or "latest", parent)) end
  if verb == "diff" then
    if not (rest[2] and rest[3]) then errors.usage("runs diff: name two runs") end
    return diff(options, records.find(rest[2], parent), records.find(rest[3], parent))
  end
  local near = sys.nearest(verb, {"list", "show", "diff"})
  errors.usage("runs: unknown verb '%s'%s", verb, near and ("; did you mean '%s'?"):format(near) or "")
end
