--- Reading a layer's options: one table, required and default values, no
-- unknown keys.
--
--     local o = options("Conv2d", given, { "in_channels" }, { stride = 1 })
return function(who, given, required, defaults)
  if type(given) ~= "table" then
    error(("%s wants one table of options, not %s"):format(who, type(given)), 3)
  end
  local o, known = {}, {}
  for k, v in pairs(defaults) do
    o[k] = v
    known[k] = true
  end
  for i, k in ipairs(required) do
    known[k] = true
    o[k] = given[k]
    if o[k] == nil then o[k] = given[i] end -- positional: nn.Linear{128, 10}
    if o[k] == nil then error(("%s: option %q is missing"):format(who, k), 3) end
  end
  for k, v in pairs(given) do
    if type(k) == "number" and k >= 1 and k <= #required then
      k = required[k]
    elseif not known[k] then
      error(("%s: unknown option %q"):format(who, tostring(k)), 3)
    end
    o[k] = v
  end
  return o
end
