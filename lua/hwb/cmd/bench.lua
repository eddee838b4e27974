-- hwb bench [CASE…]: the engine's benchmark program with the standard sizes.
local hwb = require "hwb"
local sys = require "hwb.sys"
local errors = require "hwb.errors"
local text = require "hwb.text"

-- name, words for the benchmark program; those after "smoke" with --smoke
local cases = {
  {"gradient", {"gradient", "net=resnet20", "batch=128"}},
  {"hvp", {"hvp", "net=resnet20", "batch=128", "k=1"}},
  {"hvp-4", {"hvp", "net=resnet20", "batch=128", "k=4"}},
  {"hvp-16", {"hvp", "net=resnet20", "batch=128", "k=16"}},
  {"primal", {"primal", "net=resnet20", "batch=128"}},
  {"block-eigs", {"block-eigs", "net=resnet20", "batch=128", "iterations=10"}},
  {"traces", {"traces", "net=resnet20", "batch=128", "probes=10"}},
  {"lanczos", {"lanczos", "net=resnet20", "batch=128", "steps=30"}},
  {"resnet50-gradient", {"gradient", "net=resnet50", "batch=8", "side=224"}},
  {"resnet50-hvp", {"hvp", "net=resnet50", "batch=8", "side=224", "k=1"}},
}

local function program()
  local bin = (sys.realpath("/proc/self/exe") or ""):match("^(.*)/[^/]+$") or "."
  local path = bin .. "/bench"
  if sys.stat(path) then return path end
  errors.usage("bench: %s is not built; `hwb test` builds it, as does cmake --build %s", path, bin:gsub("/bin$", ""))
end

local function chosen(names)
  if #names == 0 then return cases end
  local out, known = {}, {}
  for i, case in ipairs(cases) do known[i] = case[1] end
  for i, name in ipairs(names) do
    for _, case in ipairs(cases) do if case[1] == name then out[i] = case end end
    if not out[i] then
      local near = sys.nearest(name, known)
      errors.usage("bench: no case '%s'%s; there are %s", name, near and ("; did you mean '%s'?"):format(near) or "",
        table.concat(known, ", "))
    end
  end
  return out
end

return function(options, rest)
  local exe, rows = program(), hwb.json.array{}
  local list = chosen(rest)
  for i, case in ipairs(list) do
    local words = {exe, table.unpack(case[2])}
    words[#words + 1] = "threads=" .. sys.cpu().threads
    if options.smoke then
      words[#words + 1] = "repeat=1"
      for j, word in ipairs(words) do words[j] = word:gsub("^batch=.*", "batch=2"):gsub("^side=224", "side=64") end
    end
    for _, set in ipairs(options.set) do words[#words + 1] = set end
    hwb.progress("bench", i - 1, #list, case[1])
    local out, status = sys.capture(words)
    local row = status == 0 and hwb.json.decode(out)
    if not row then
      io.stderr:write(("hwb bench: %s failed with status %d\n"):format(case[1], status))
      return 1
    end
    row.case = case[1]
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
