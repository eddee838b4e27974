--- Lists of modules; children are named 0, 1, 2, … as in PyTorch's state dicts.
return function(_, nn)
  local Sequential = nn.Module:extend("Sequential")

  --- nn.Sequential(a, b, c) or nn.Sequential{a, b, c}: c(b(a(x))).
  function Sequential:init(...)
    local list = select("#", ...) == 1 and not nn.Module.is_module(...) and ... or { ... }
    self.count = #list
    if type(list) ~= "table" then error("Sequential: a list of modules is wanted", 0) end
    for i, m in ipairs(list) do
      if not nn.Module.is_module(m) then
        error(("Sequential: element %d is %s, not a module"):format(i,
          type(m) == "table" and "a class or table" or "a " .. type(m)), 0)
      end
      self:add(tostring(i - 1), m)
    end
  end

  function Sequential:forward(x)
    for i = 0, self.count - 1 do x = rawget(self, tostring(i))(x) end
    return x
  end

  --- for i, m in list:each() do … end
  function Sequential:each()
    local i = 0
    return function()
      i = i + 1
      local m = rawget(self, tostring(i - 1))
      if m then return i, m end
    end
  end

  return { Sequential = Sequential, ModuleList = Sequential }
end
