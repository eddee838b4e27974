--- The base of all layers and models.
--
-- A module is a Lua object with named parameters, buffers and children, in the
-- order in which they were assigned, and a `forward(self, x)`.  Calling it on a
-- concrete tensor compiles the forward pass (once a shape and mode) and runs
-- it; calling it on a traced tensor writes it into that trace.  A module needs
-- nothing else to have gradients, Hessian-vector products and quantization.
--
--     local Scale = nn.Module:extend("Scale")
--     function Scale:init(o) self.scale = nn.parameter(hwb.ones(o.n)) end
--     function Scale:forward(x) return x * self.scale end
--     local m = Scale{n = 10}
--
-- Modules start in evaluation mode; hwb.train switches modes itself.  Assign one
-- field a statement: Lua carries out `self.a, self.b = x, y` from right to left,
-- and parameters are ordered by assignment.

local hwb = require "hwb"

local Module = { __name = "Module" }

-- The trace under way: which mode it was asked for, and of which root.
local trace = nil

---------------------------------------------------------------------------
-- classes

-- class -> the metatable of its instances, out of reach of scripts
local metas = setmetatable({}, { __mode = "k" })

--- A class derived from this one; instances are made by calling it.
function Module:extend(name)
  local class = setmetatable({ __name = name, super = self }, {
    __index = self,
    __call = function(c, ...) return c:new(...) end,
    __metatable = false,
  })
  metas[class] = {
    __name = name,
    __metatable = false,
    __index = class,
    __newindex = Module.assign,
    __call = function(m, ...) return m:call(...) end,
    __tostring = function(m) return m:describe() end,
  }
  return class
end

function Module:new(...)
  local m = {
    _order = {}, _kind = {}, training = false, path = "",
  }
  setmetatable(m, metas[self])
  m:init(...)
  return m
end

function Module:init() end

--- Is `v` a module?
local function is_module(v)
  return type(v) == "table" and rawget(v, "_order") ~= nil and rawget(v, "_kind") ~= nil
end
Module.is_module = is_module

--- The class of a module.
function Module.class_of(m) return is_module(m) and debug.getmetatable(m).__index or nil end

local function register(m, key, value, kind)
  if m._kind[key] == nil then m._order[#m._order + 1] = key end
  m._kind[key] = kind
  rawset(m, key, value)
end

--- Assigning a parameter, buffer or module to a field registers it.
function Module.assign(m, key, value)
  if type(value) == "table" and rawget(value, "_role") then
    register(m, key, value.tensor, value._role)
  elseif is_module(value) then
    register(m, key, value, "module")
  else
    rawset(m, key, value)
  end
end

function Module:register_parameter(name, t) register(self, name, t, "parameter") end
function Module:register_buffer(name, t) register(self, name, t, "buffer") end
function Module:add(name, child) register(self, name, child, "module") end

---------------------------------------------------------------------------
-- walking the tree

local function join(prefix, name)
  return prefix == "" and tostring(name) or prefix .. "." .. tostring(name)
end

-- Lua tells of assignments to new fields only: what an old one was given since
-- is taken out of its nn.parameter or nn.buffer here.
local function settle(m)
  for _, key in ipairs(m._order) do
    local v = rawget(m, key)
    if type(v) == "table" and rawget(v, "_role") then
      m._kind[key] = v._role
      v = v.tensor
      rawset(m, key, v)
    elseif is_module(v) then
      m._kind[key] = "module"
    end
    local is_known = m._kind[key] == "module" and is_module(v) or hwb.is_tensor(v)
    if v and not is_known then
      error(("%s.%s is %s, not a tensor or module"):format(m.__name, tostring(key), type(v)), 0)
    end
  end
end

local function walk(m, prefix, visit, seen)
  if seen[m] then return end
  seen[m] = true
  settle(m)
  visit(m, prefix)
  for _, key in ipairs(m._order) do
    local child = rawget(m, key)
    if m._kind[key] == "module" and child then walk(child, join(prefix, key), visit, seen) end
  end
end

local function collect(root, kind)
  local names, tensors, seen = {}, {}, {}
  walk(root, "", function(m, prefix)
    for _, key in ipairs(m._order) do
      local t = rawget(m, key)
      if m._kind[key] == kind and t and not seen[t] then
        seen[t] = true
        names[#names + 1] = join(prefix, key)
        tensors[#tensors + 1] = t
      end
    end
  end, {})
  return names, tensors
end

local function iterate(names, tensors)
  local i = 0
  return function()
    i = i + 1
    return names[i], tensors[i]
  end
end

--- for name, tensor in m:parameters() do … end, in registration order.
function Module:parameters() return iterate(collect(self, "parameter")) end

--- for name, tensor in m:buffers() do … end
function Module:buffers() return iterate(collect(self, "buffer")) end

--- for path, module in m:modules([pattern]) do … end; the root's path is "".
function Module:modules(pattern)
  local names, modules = {}, {}
  walk(self, "", function(m, prefix)
    if not pattern or prefix:find(pattern) then
      names[#names + 1] = prefix
      modules[#modules + 1] = m
    end
  end, {})
  return iterate(names, modules)
end

--- Number of parameters (weights), shared ones once.
function Module:num_parameters()
  local n = 0
  for _, t in self:parameters() do n = n + t:numel() end
  return n
end

--- The parameter or buffer called `name`.
function Module:get(name)
  for _, kind in ipairs{ "parameter", "buffer" } do
    for n, t in iterate(collect(self, kind)) do
      if n == name then return t end
    end
  end
  error(("no parameter or buffer is called %q"):format(name), 2)
end

--- Calls f(module, path) on every module.
function Module:apply(f)
  walk(self, "", f, {})
  return self
end

function Module:state_dict()
  local s = {}
  for _, kind in ipairs{ "parameter", "buffer" } do
    for n, t in iterate(collect(self, kind)) do s[n] = t end
  end
  return s
end

---------------------------------------------------------------------------
-- copies

-- Tensors and plain tables are copied, whatever is shared stays shared; functions,
-- classes and other objects with metatables are not copied.
local function copied(v, memo)
  if memo[v] then return memo[v] end
  if type(v) == "userdata" and hwb.is_tensor(v) then
    memo[v] = v:clone()
    return memo[v]
  end
  if type(v) ~= "table" or (debug.getmetatable(v) and not is_module(v)) then return v end
  local c = {}
  memo[v] = c
  for k, x in next, v do
    if k ~= "_engine" then c[k] = copied(x, memo) end
  end
  return setmetatable(c, debug.getmetatable(v))
end

--- An independent copy of the module: its tensors, children and plain fields.
function Module:clone() return copied(self, {}) end

---------------------------------------------------------------------------
-- modes, dtypes

--- Training mode: batch statistics, dropout.  Returns the module.
function Module:train(on)
  if on == nil then on = true end
  return self:apply(function(m) rawset(m, "training", on) end)
end

--- Lets the modules that have a before_step(self) renew what one training step
-- uses: dropout its masks, quantizers their stored ranges.
function Module:prepare_step()
  self:apply(function(m)
    local f = m.before_step
    if f then f(m) end
  end)
end

--- Evaluation mode: running statistics.  Returns the module.
function Module:eval() return self:train(false) end

--- Is this forward pass one for training?
function Module:is_training()
  if trace then return trace.train end
  return self.training
end

local function convert_all(root, convert)
  local done = {}
  walk(root, "", function(m)
    rawset(m, "_engine", nil)
    for _, key in ipairs(m._order) do
      local t, kind = rawget(m, key), m._kind[key]
      if t and kind ~= "module" then
        local dtype = t:dtype()
        if dtype == "float32" or dtype == "float64" then
          done[t] = done[t] or convert(t)
          rawset(m, key, done[t])
        end
      end
    end
  end, {})
end

--- Another dtype ("float64") or device ("cuda"), in place; returns the module.
function Module:to(what)
  if what == "float32" or what == "float64" then
    convert_all(self, function(t) return t:to(what) end)
  else
    hwb.set_device(what)
    self:apply(function(m) rawset(m, "_engine", nil) end)
  end
  return self
end

function Module:double() return self:to("float64") end
function Module:float() return self:to("float32") end

--- The dtype of the parameters.
function Module:dtype()
  local _, t = self:parameters()()
  return t and t:dtype() or "float32"
end

---------------------------------------------------------------------------
-- the engine's model

-- In a trace every parameter and buffer is its node of the graph, so that
-- whatever a forward pass does with it (a view, exp(scale)) is traced too.
local function lift_all(root, x)
  local saved = {}
  walk(root, "", function(m)
    for _, key in ipairs(m._order) do
      local t = rawget(m, key)
      if m._kind[key] ~= "module" and t then
        saved[#saved + 1] = { m, key, t }
        rawset(m, key, hwb.engine.lift(x, t))
      end
    end
  end, {})
  return saved
end

-- A fault of a layer's forward pass names the layer; where in the library it was
-- noticed says less than that.
local function in_layer(fault, path)
  if type(fault) ~= "string" then return fault end
  local text = fault:match("^[^\n:]*/lua/hwb/[%w_/]*%.lua:%d+: (.*)$") or fault
  if text:sub(1, #path + 2) == path .. ": " then text = text:sub(#path + 3) end -- the engine's word for it
  return ('layer "%s": %s'):format(path, text)
end

local function traced_forward(root)
  return function(x, train)
    local outer, saved = trace, lift_all(root, x)
    trace = { train = train, root = root }
    local ok, y = pcall(root.forward, root, x)
    local failed_in = trace.path
    trace = outer
    for _, s in ipairs(saved) do rawset(s[1], s[2], s[3]) end
    if not ok then error(failed_in and in_layer(y, failed_in) or y, 0) end
    return y
  end
end

-- engine model -> the tensors and modules that it was made of, in order
local made_of = setmetatable({}, { __mode = "k" })

local function members(root)
  local list = {}
  walk(root, "", function(m)
    for _, key in ipairs(m._order) do list[#list + 1] = rawget(m, key) or false end
  end, {})
  return list
end

local function same(a, b)
  if #a ~= #b then return false end
  for i = 1, #a do
    if not rawequal(a[i], b[i]) then return false end
  end
  return true
end

--- The engine's model of this module as a root (made at first use, and again
-- after a parameter, buffer or child was replaced).
function Module:engine()
  local known = rawget(self, "_engine")
  if known and (trace or same(made_of[known], members(self))) then return known end
  walk(self, "", function(m, prefix) rawset(m, "path", prefix) end, {})
  local e = hwb.engine.model(traced_forward(self))
  local seen = {}
  walk(self, "", function(m, prefix)
    for _, key in ipairs(m._order) do
      local t, kind = rawget(m, key), m._kind[key]
      if t and kind == "parameter" then e:add_parameter(join(prefix, key), t) end
      if t and kind == "buffer" and not seen[t] then
        seen[t] = true
        e:add_buffer(join(prefix, key), t)
      end
    end
  end, {})
  made_of[e] = members(self)
  rawset(self, "_engine", e)
  return e
end

--- Forget compiled programs: call after changing the structure of the module.
function Module:changed()
  return self:apply(function(m) rawset(m, "_engine", nil) end)
end

--- m(x): run on a concrete tensor, or write into the trace of a traced one.
function Module:call(x, ...)
  if not hwb.engine.is_traced(x) then
    if not hwb.is_tensor(x) then
      error(("%s wants a tensor, not %s"):format(self.__name, type(x)), 2)
    end
    if self.training then self:prepare_step() end
    return self:engine():run(x, self.training)
  end
  local path = self.path
  if path == "" then return self:forward(x, ...) end
  hwb.engine.push_scope(x, path)
  local outer = trace and trace.path
  if trace then trace.path = path end -- stays behind when forward raises
  local y = self:forward(x, ...)
  if trace then trace.path = outer end
  hwb.engine.pop_scope(x)
  return y
end

function Module:forward()
  error(("%s has no forward(self, x)"):format(self.__name), 2)
end

---------------------------------------------------------------------------
-- files

--- Loads .safetensors, .pth, .pt or .th by parameter names.
-- Returns the module, or nil and a message.
function Module:load(path)
  local ok, message, code = self:engine():load(path)
  if not ok then return nil, message, code end
  return self
end

--- Saves parameters and buffers as safetensors (atomically).
function Module:save(path)
  local ok, message, code = self:engine():save(path)
  if not ok then return nil, message, code end
  return self
end

--- All parameters as one vector, in m:parameters() order (a copy).
function Module:flat_parameters() return self:engine():flatten() end

--- The inverse of flat_parameters, in place.
function Module:set_flat_parameters(v)
  self:engine():assign(v)
  return self
end

---------------------------------------------------------------------------
-- layers that can be quantized

--- Quantizable layers in forward order: {name=, weight=, n=, macs=, out=}, where
-- macs and out (activations) are for one sample of `input` = {C, H, W}; the
-- module's own `input_size` is the default.
function Module:layers(input)
  input = input or rawget(self, "input_size")
  if not input then error("layers: give the size of one input, e.g. m:layers{3, 32, 32}", 2) end
  local size = { 1 }
  for i = 1, #input do size[i + 1] = input[i] end
  return self:engine():layers(size, rawget(self, "input_dtype") or self:dtype())
end

function Module:describe()
  local w = rawget(self, "weight")
  local shape = hwb.is_tensor(w) and w:dim() > 1 and " " .. table.concat(w:size(), "x") or ""
  local lines = { ("%s%s (%d parameters)"):format(self.__name, shape, self:num_parameters()) }
  for _, key in ipairs(self._order) do
    local v = rawget(self, key)
    if v and self._kind[key] == "module" then
      local text = tostring(v):gsub("\n", "\n  ")
      lines[#lines + 1] = ("  %s: %s"):format(key, text)
    end
  end
  return table.concat(lines, "\n")
end

return Module
