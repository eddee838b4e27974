-- A small reader of Lua text: tokens with positions, enough to tell a recipe
-- (its main chunk returns something) from a script, and to lift `local` in the
-- session.  It never fails: what it cannot read becomes one-character tokens.
local M = {}

local keywords = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat
  return then true until while]]):gmatch("%a+") do keywords[word] = true end
M.keywords = keywords

-- End of the long bracket that opens at `at`, or nil when none opens there.
local function long_bracket(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then return nil end
  local _, stop = text:find("]" .. level .. "]", at, true)
  return stop or #text, not stop
end

-- End of the quoted string that starts at `at`; second result: not closed.
local function quoted(text, at)
  local quote, p = text:sub(at, at), at + 1
  while p <= #text do
    local c = text:sub(p, p)
    if c == "\\" then p = p + 2
    elseif c == quote then return p, false
    elseif c == "\n" then return p - 1, true
    else p = p + 1 end
  end
  return #text, true
end

-- {kind="name"|"keyword"|"number"|"string"|"symbol", text=, first=, last=, open=}, ...
function M.tokens(text)
  local out, at = {}, 1
  local function add(kind, last, open)
    out[#out + 1] = {kind = kind, text = text:sub(at, last), first = at, last = last, open = open}
    at = last + 1
  end
  if text:sub(1, 1) == "#" then at = (text:find("\n", 1, true) or #text) + 1 end
  while at <= #text do
    local space = text:match("^%s+()", at)
    if space then at = space
    elseif text:sub(at, at + 1) == "--" then
      local stop = long_bracket(text, at + 2)
      at = (stop or (text:find("\n", at, true) or #text)) + 1
    elseif text:find("^[%a_]", at) then
      local last = text:match("^[%w_]+()", at) - 1
      add(keywords[text:sub(at, last)] and "keyword" or "name", last)
    elseif text:find("^%.?%d", at) then
      local last = text:match("^0[xX][%x%.pP+-]*()", at) or text:match("^[%d%.]+[eE][+-]?%d+()", at)
        or text:match("^[%d%.]+()", at)
      add("number", last - 1)
    elseif text:find("^[\"']", at) then add("string", quoted(text, at))
    else
      local stop, open = long_bracket(text, at)
      if stop then add("string", stop, open)
      else add("symbol", at + #(text:match("^%.%.%.", at) or text:match("^[=~<>]=", at)
        or text:match("^%.%.", at) or text:match("^::", at) or " ") - 1) end
    end
  end
  return out
end

-- What a keyword does to the block depth.  `while`/`for` open with their `do`.
local depth_change = {["function"] = 1, ["do"] = 1, ["then"] = 1, ["repeat"] = 1, ["end"] = -1,
  ["until"] = -1, ["elseif"] = -1}

-- Does the main chunk end with a return statement?
function M.returns(text)
  local depth = 0
  for _, token in ipairs(M.tokens(text)) do
    if token.kind == "keyword" then
      if token.text == "return" and depth == 0 then return true end
      depth = depth + (depth_change[token.text] or 0)
    end
  end
  return false
end

-- Top-level `local a, b = ...` -> `a, b = ...`, so that names outlive the line.
-- <const> is dropped with it; what is to be closed keeps its local.
function M.lift_locals(text)
  local tokens, depth, edits = M.tokens(text), 0, {}
  for i, token in ipairs(tokens) do
    local following = tokens[i + 1]
    if token.kind == "keyword" and token.text == "local" and depth == 0 and following then
      local j, constants = i + 1, {}
      while tokens[j] and (tokens[j].kind == "name" or tokens[j].text == "," or tokens[j].text == "<") do
        if tokens[j].text == "<" then
          if not (tokens[j + 1] and tokens[j + 1].text == "const" and tokens[j + 2]) then break end
          constants[#constants + 1] = {tokens[j].first, tokens[j + 2].last, ""}
          j = j + 2
        end
        j = j + 1
      end
      local stop = tokens[j]
      if following.text == "function" then
        edits[#edits + 1] = {token.first, following.first - 1, ""}
      elseif not (stop and stop.text == "<") and following.kind == "name" then
        edits[#edits + 1] = {token.first, following.first - 1, ""}
        table.move(constants, 1, #constants, #edits + 1, edits)
        if not (stop and stop.text == "=") then
          edits[#edits + 1] = {tokens[j - 1].last + 1, tokens[j - 1].last, " = nil"}
        end
      end
    end
    if token.kind == "keyword" then depth = depth + (depth_change[token.text] or 0) end
  end
  for i = #edits, 1, -1 do
    local first, last, new = table.unpack(edits[i])
    text = text:sub(1, first - 1) .. new .. text:sub(last + 1)
  end
  return text
end

return M
