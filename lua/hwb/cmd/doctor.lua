-- hwb doctor: what this program is built of, runs on and finds.
local sys = require "hwb.sys"
local hwb = require "hwb"
local text = require "hwb.text"

-- Which devices answer, and why the others do not.
local function device_states()
  local out = {}
  for i, name in ipairs{"cpu", "cuda"} do
    local ok, says = sys.device(name)
    out[i] = {name = name, ok = ok or false, why = not ok and says or nil, is = ok and says or nil}
  end
  return out
end

-- Can several processes work together, and what starts them?
local function ranks_state()
  local library, why = hwb.engine.comm.probe("mpi")
  local launcher
  for folder in (os.getenv("PATH") or ""):gmatch("[^:]+") do
    launcher = launcher or sys.stat(folder .. "/mpirun") and folder .. "/mpirun" or nil
  end
  return {name = "mpi", ok = library ~= nil, library = library, why = why, launcher = launcher}
end

-- {folder=, state=, sets={…}}
local function data_state()
  local folder = require("hwb.sandbox").data_folder()
  local info = sys.stat(folder)
  if not info then return {folder = folder, state = "absent"} end
  local names = info.type == "dir" and sys.list(folder) or {}
  return {folder = folder, state = #names > 0 and "present" or "empty", entries = hwb.json.array(names)}
end

local function collect()
  local facts = {schema = 1, version = hwb.version, build = sys.build(), libraries = sys.libraries(), cpu = sys.cpu(),
    home = sys.home, data = data_state(), landlock = sys.landlock() or false,
    devices = device_states(), ranks = ranks_state()}
  facts.busted = package.searchpath("busted.runner", package.path) ~= nil
  return facts
end

local function notes(facts)
  local out = {}
  if facts.cpu.blas_threading == "pthreads" then
    out[#out + 1] = "OpenBLAS runs its own threads beside OpenMP's; install libopenblas-openmp-dev and rebuild"
  end
  for _, library in ipairs(facts.libraries) do
    if library.build ~= "" and library.name ~= "Lua" and library.build ~= library.run then
      out[#out + 1] = ("%s was built as %s and runs as %s"):format(library.name, library.build, library.run)
    end
  end
  if facts.data.state ~= "present" then
    out[#out + 1] = "no data sets yet: recipes run on the small bundled set; --data DIR or HWB_DATA names a folder"
  end
  if facts.ranks.ok and not facts.ranks.launcher then
    out[#out + 1] = "no mpirun on PATH to start several processes: apt-get install openmpi-bin"
  elseif not facts.ranks.ok then
    out[#out + 1] = "for several processes: apt-get install libopenmpi-dev openmpi-bin, and build again"
  end
  if not facts.busted then out[#out + 1] = "Lua specs need busted: apt-get install lua-busted" end
  return out
end

local function show(facts)
  local cpu = facts.cpu
  print(("hwb %s  %s build, %s"):format(facts.version, facts.build.type, facts.build.compiler))
  print("Lua files in " .. facts.home .. "/lua\n")
  print(text.table(facts.libraries, {"name", "build", "run"}))
  print("")
  print(text.table{
    {"processor", ("%s, %d cores, %s"):format(cpu.model, cpu.cores, text.bytes(cpu.memory))},
    {"vector instructions", cpu.isa},
    {"OpenMP threads", ("%d (wait policy %s)"):format(cpu.threads, cpu.wait_policy)},
    {"OpenBLAS threads", ("%d, %s"):format(cpu.blas_threads, cpu.blas_threading)},
    {"convolutions", cpu.convolutions},
    {"Landlock", facts.landlock and "version " .. facts.landlock or "not in this kernel"},
    {"data folder", facts.data.folder .. " (" .. facts.data.state .. ")"}})
  print("\nDevices")
  for _, device in ipairs(facts.devices) do
    print(("  %-5s %s"):format(device.name, device.ok and (device.is ~= "" and device.is or "ready") or device.why))
  end
  print("\nSeveral processes (mpirun -np N hwb run ...)")
  print(("  %-5s %s"):format(facts.ranks.name, facts.ranks.ok and "ready: " .. facts.ranks.library or facts.ranks.why))
  local list = notes(facts)
  if #list > 0 then print("\nNotes") end
  for _, line in ipairs(list) do print("  " .. line) end
end

return function(options)
  local facts = collect()
  facts.notes = hwb.json.array(notes(facts))
  if options.json then print(hwb.json.encode(facts, {indent = 2})) else show(facts) end
  return 0
end
