-- Settings from files: ./hwb.lua (of a project), then config.lua in
-- $XDG_CONFIG_HOME/hwb (of a user).  Each returns a table such as
--     return {threads = 4, data = "/data/sets", device = "auto", seed = 1}
-- Options and HWB_… variables come first: only what neither says is set here.
local sys = require "hwb.sys"
local errors = require "hwb.errors"

local variables = {threads = "HWB_THREADS", data = "HWB_DATA", device = "HWB_DEVICE", seed = "HWB_SEED",
  math = "HWB_MATH", deterministic = "HWB_DETERMINISTIC"}

local function read(path)
  local source = sys.read(path, 1024 * 1024)
  if not source then return end
  local chunk, problem = load(source, "@" .. path, "t", {})
  if not chunk then errors.usage("%s", problem) end
  local ok, settings = pcall(chunk)
  if not ok then errors.usage("%s", settings) end
  if type(settings) ~= "table" then errors.usage("%s: returns no table of settings", path) end
  for key, value in pairs(settings) do
    local variable = variables[key]
    if not variable then
      local names = {}
      for name in pairs(variables) do names[#names + 1] = name end
      local near = sys.nearest(tostring(key), names)
      errors.usage("%s: unknown setting '%s'%s", path, tostring(key),
        near and ("; did you mean '%s'?"):format(near) or "")
    end
    local present = os.getenv(variable)
    if not present or present == "" then sys.setenv(variable, tostring(value)) end
  end
end

local config = os.getenv("XDG_CONFIG_HOME")
if not config or config == "" then config = (os.getenv("HOME") or "") .. "/.config" end
read("hwb.lua")
read(config .. "/hwb/config.lua")
return true
