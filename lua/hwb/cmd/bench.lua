-- hwb bench [list | CASE…]: the engine's benchmark program with the standard sizes.
local hwb = require "hwb"
local sys = require "hwb.sys"
local errors = require "hwb.errors"
local text = require "hwb.text"

local function program()
  local bin = (sys.realpath("/proc/self/exe") or ""):match("^(.*)/[^/]+$") or "."
  local path = bin .. "/bench"
  if sys.stat(path) then return path end
  errors.usage("bench: %s is not built; `hwb test` builds it, as does cmake --build %s", path, bin:gsub("/bin$", ""))
end

-- {name=, net=, summary=} of every case, as the benchmark program lists them
local function all_cases(exe)
  local out, status = sys.capture{exe, "list"}
  if status ~= 0 then errors.usage("bench: %s list failed with status %d", exe, status) end
  local cases = {}
  for name, net, summary in out:gmatch("([^\t\n]+)\t([^\t\n]+)\t([^\n]+)\n") do
    cases[#cases + 1] = {name = name, net = net, summary = summary}
  end
  return cases
end

local function chosen(cases, names)
  if #names == 0 then return cases end
  local out, known = {}, {}
  for i, case in ipairs(cases) do known[i] = case.name end
  for i, name in ipairs(names) do
    for _, case in ipairs(cases) do if case.name == name then out[i] = case end end
    if not out[i] then
      local near = sys.nearest(name, known)
      errors.usage("bench: no case '%s'%s; there are %s", name, near and ("; did you mean '%s'?"):format(near) or "",
        table.concat(known, ", "))
    end
  end
  return out
end

local function list_cases(cases, json)
  if json then print(hwb.json.encode(hwb.json.array(cases), {indent = 2}))
  else print(text.table(cases, {"name", "net", "summary"})) end
  return 0
end

return function(options, rest)
  local exe, rows = program(), hwb.json.array{}
  local cases = all_cases(exe)
  if #rest == 1 and rest[1] == "list" then return list_cases(cases, options.json) end
  local list = chosen(cases, rest)
  for i, case in ipairs(list) do
    local words = {exe, case.name, "threads=" .. sys.cpu().threads}
    if options.smoke then words[#words + 1] = "smoke=1" end
    for _, set in ipairs(options.set) do words[#words + 1] = set end
    hwb.progress("bench", i - 1, #list, case.name)
    local out, status = sys.capture(words)
    local row = status == 0 and hwb.json.decode(out)
    if not row then
      io.stderr:write(("hwb bench: %s failed with status %d\n"):format(case.name, status))
      return 1
    end
    rows[#rows + 1] = row
  end
  hwb.progress("bench", #list, #list)
  if options.json then
    print(hwb.json.encode({schema = 1, host = sys.hostname(), cpu = sys.cpu(), cases = rows}, {indent = 2}))
    return 0
  end
  local shown = {}
  for i, row in ipairs(rows) do
    shown[i] = {case = row.case, median = text.duration(row.seconds_median), least = text.duration(row.seconds_min),
      most = text.duration(row.seconds_max), ["peak MiB"] = row.peak_mib}
  end
  print(text.table(shown, {"case", "median", "least", "most", "peak MiB"}))
  return 0
end
