-- luacheck settings: Lua 5.4, and the one global that scripts get.
std = "lua54"
read_globals = { "hwb" }
self = false -- methods that ignore their object are fine
files["tests/lua"] = { std = "+busted" }
files["lua/meta"] = { globals = { "hwb" }, unused = false } -- declarations only

-- Types of options are one line in LuaCATS, whatever their length.
files["lua/meta"].max_line_length = false
