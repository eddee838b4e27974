-- Colours for a terminal: off for NO_COLOR, TERM=dumb and pipes; on for
-- FORCE_COLOR and CLICOLOR_FORCE; NO_COLOR wins.
local sys = require "hwb.sys"
local M = {}

local codes = {bold = "1", dim = "2", red = "31", green = "32", yellow = "33", blue = "34", cyan = "36"}

local function set(name)
  local value = os.getenv(name)
  return value ~= nil and value ~= "" and value ~= "0"
end

function M.enabled(fd)
  local no = os.getenv("NO_COLOR")
  if no and no ~= "" then return false end
  if set("FORCE_COLOR") or set("CLICOLOR_FORCE") then return true end
  return sys.isatty(fd) and os.getenv("TERM") ~= "dumb" and os.getenv("TERM") ~= nil
end

local on = {[1] = M.enabled(1), [2] = M.enabled(2)}

function M.paint(fd, name, text)
  if not on[fd] then return text end
  return ("\27[%sm%s\27[0m"):format(codes[name], text)
end

-- For the prompt: readline must know which bytes take no room.
function M.prompt(name, text)
  if not on[1] then return text end
  return ("\1\27[%sm\2%s\1\27[0m\2"):format(codes[name], text)
end

return M
