-- Applies --seed, --device, --math and --deterministic (or HWB_SEED, HWB_DEVICE, HWB_MATH,
-- HWB_DETERMINISTIC) when the program starts.
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

local math_way, deterministic = os.getenv("HWB_MATH"), os.getenv("HWB_DETERMINISTIC")
if math_way and math_way ~= "" then
  if not ({float32 = true, tf32 = true, bf16 = true})[math_way] then
    errors.usage("--math: '%s' is none of float32, tf32, bf16", math_way)
  end
  hwb.device_options{math = math_way}
end
if deterministic and deterministic ~= "" then
  local means = {yes = true, no = false, ["true"] = true, ["false"] = false}
  if means[deterministic] == nil then errors.usage("--deterministic: '%s' is neither yes nor no", deterministic) end
  hwb.device_options{deterministic = means[deterministic]}
end

-- The device that the setting stands for; raises EDEVICE when it is not there.
function M.resolve_device()
  local wanted = M.device or "cpu"
  if wanted == "auto" then return sys.device("cuda") and "cuda" or "cpu" end
  local ok, why = sys.device(wanted)
  if not ok then sys.raise("EDEVICE", why) end
  return wanted
end

if M.device and M.device ~= "cpu" then
  M.device = M.resolve_device()
  if M.device ~= "cpu" and rawget(hwb, "set_device") then hwb.set_device(M.device) end
end
M.device = M.device or "cpu"

return M
