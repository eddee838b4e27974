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
  if not (device == "cpu" or device == "auto" or device == "ref" or device:match("^cuda:?%d*$")) then
    errors.usage("--device: '%s' is none of cpu, cuda, auto", device)
  end
end

-- The device that the setting stands for; raises EDEVICE when it is not there.
function M.resolve_device()
  local wanted = M.device or "cpu"
  if wanted == "auto" then return sys.device("cuda") and "cuda" or "cpu" end
  local ok, why = sys.device((wanted:gsub(":.*", "")))
  if not ok then sys.raise("EDEVICE", why) end
  return wanted
end

if M.device and M.device ~= "cpu" then
  M.device = M.resolve_device()
  if M.device ~= "cpu" and rawget(hwb, "set_device") then hwb.set_device(M.device) end
end
M.device = M.device or "cpu"

return M
