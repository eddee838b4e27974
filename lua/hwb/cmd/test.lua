-- hwb test: everything through ctest; with --lua, paths or busted's flags the
-- Lua specs in this process, under Debian's busted.
local sys = require "hwb.sys"

-- The build tree that this program lies in, when it is one.
local function build_tree()
  local exe = sys.realpath("/proc/self/exe")
  local dir = exe and exe:match("^(.*)/bin/[^/]+$")
  return dir and sys.stat(dir .. "/CTestTestfile.cmake") and dir or nil
end

local function specs_below(dir, found)
  for _, name in ipairs(sys.list(dir) or {}) do
    local path = dir .. "/" .. name
    local info = sys.stat(path)
    if info and info.type == "dir" then specs_below(path, found)
    elseif name:match("_spec%.lua$") then found[#found + 1] = path end
  end
  return found
end

-- Busted's options that take no value.
local flags = {["-v"] = true, ["--verbose"] = true, ["--list"] = true, ["--shuffle"] = true}

-- Operations of the specs run on the device of HWB_TEST_DEVICE; 77 (skipped) without it.
local function choose_device()
  local name = os.getenv("HWB_TEST_DEVICE")
  if not name or name == "" then return true end
  local ok, why = sys.device(name)
  if ok then require("hwb").set_device(name) else io.stderr:write("hwb test: skipped: ", why, "\n") end
  return ok
end

local function run_busted(words, options)
  if not choose_device() then return 77 end
  local runner = package.searchpath("busted.runner", package.path)
  if not runner then
    io.stderr:write("hwb test: busted is not installed; install it with: sudo apt-get install lua-busted\n")
    return 1
  end
  -- busted reads `arg`; arg[0] tells it the script that it runs in
  local has_path, has_output, skip = false, false, false
  for _, word in ipairs(words) do
    if word == "-o" or word == "--output" or word:match("^%-%-output=") then has_output = true end
    if not skip and not word:match("^%-") then has_path = true end
    skip = word:match("^%-[%a]$") ~= nil or word:match("^%-%-[%w-]+$") ~= nil
    if flags[word] or word:match("^%-%-no%-") then skip = false end
  end
  local args = {[0] = runner}
  local tests = sys.home .. "/tests/lua"
  if sys.stat(tests .. "/helper.lua") then args[#args + 1] = "--helper=" .. tests .. "/helper.lua" end
  if not has_output then
    args[#args + 1] = "--output=" .. (sys.isatty(1) and "utfTerminal" or "plainTerminal")
  end
  if (options.verbosity or 0) > 0 then args[#args + 1] = "--verbose" end
  args[#args + 1] = "--pattern=_spec"
  for _, word in ipairs(words) do args[#args + 1] = word end
  if not has_path then
    local specs = specs_below(tests, {})
    if #specs == 0 then
      io.stderr:write("hwb test: no specs in ", tests, "; name some\n")
      return 2
    end
    table.move(specs, 1, #specs, #args + 1, args)
  end
  _G.arg = args
  -- returns only when it may not call os.exit, which closes the state
  require "busted.runner"{standalone = false}
  return 0
end

local function run_ctest(options)
  local dir = build_tree()
  if not dir then return nil end
  local words = {"ctest", "--test-dir", dir, "--output-on-failure", "--no-tests=error"}
  local jobs = math.max(1, math.min(4, sys.cpu().cores))
  words[#words + 1] = "-j" .. jobs
  if options.quiet then words[#words + 1] = "-Q" end
  local status = sys.spawn(words)
  if status == 127 then
    io.stderr:write("hwb test: ctest is not installed; install it with: sudo apt-get install cmake\n")
    return 1
  end
  return status == 0 and 0 or 1
end

return function(options, rest)
  if not options.lua and #rest == 0 then
    local status = run_ctest(options)
    if status then return status end
  end
  return run_busted(rest, options)
end
