-- Applies --seed and --device (or HWB_SEED, HWB_DEVICE) when the program starts.
local hwb = require "hwb"
local sys = require "hwb.sys"
local errors = require "hwb.errors"
local M = {}

local seed = os.getenv("HWB_SEED")
if seed and seed ~= "" then
  M.seed = math.tointeger(tonumber(seed))
  if not M.seed then errors.usage("--seed: '%s' is not a whole number", seed) end
  if rawget(hwb, "manual_seed") then hwb.manual_seed(M.seed) end
end
M.seed = M.seed or 0

local device = os.getenv("HWB_DEVICE")
if device and device ~= "" then
  M.device = device
  if not (device == "cpu" or device == "auto" or device:match("^cuda:?%d*$")) then
    errors.usage("--device: '%s' is none of cpu, cuda, auto", device)
  end
end

-- The device that "auto" and "cuda" stand for; raises EDEVICE when it is not there.
function M.resolve_device()
  local wanted = M.device or "cpu"
  local there = rawget(hwb, "devices") and hwb.devices() or {"cpu"}
  for _, name in ipairs(there) do
    if name == wanted or (wanted == "cuda" and name:match("^cuda")) then return name end
  end
  if wanted == "auto" then
    for _, name in ipairs(there) do if name:match("^cuda") then return name end end
    return "cpu"
  end
  sys.raise("EDEVICE", ("no device '%s': the CUDA plug-in libhwb_cuda.so was not found or found no GPU; "
    .. "`hwb doctor` says where it looked"):format(wanted))
end

if M.device and M.device ~= "cpu" then
  M.device = M.resolve_device()
  if M.device ~= "cpu" and rawget(hwb, "set_device") then hwb.set_device(M.device) end
end
M.device = M.device or "cpu"

return M
