-- luacheck settings: Lua 5.4, and the one global that scripts get.
std = "lua54"
read_globals = { "hwb" }
self = false -- methods that ignore their object are fine
files["tests/lua"] = { std = "+busted" }
files["lua/meta"] = { globals = { "hwb" }, unused = false } -- declarations only
