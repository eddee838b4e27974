/*
 * bind_fields.c: filling the table at the top of the stack, and the metatable of
 * a userdata class.
 */
#include "bind_i.h"

void hwb__lset_integer(lua_State *L, const char *key, lua_Integer v) {
    lua_pushinteger(L, v);
    lua_setfield(L, -2, key);
}

void hwb__lset_number(lua_State *L, const char *key, lua_Number v) {
    lua_pushnumber(L, v);
    lua_setfield(L, -2, key);
}

void hwb__lset_boolean(lua_State *L, const char *key, bool v) {
    lua_pushboolean(L, v);
    lua_setfield(L, -2, key);
}

void hwb__lset_string(lua_State *L, const char *key, const char *v) {
    lua_pushstring(L, v);
    lua_setfield(L, -2, key);
}

void hwb__lpush_numbers(lua_State *L, int64_t n, const double *v) {
    lua_createtable(L, (int)n, 0);
    for (int64_t i = 0; i < n; i++) {
        lua_pushnumber(L, v[i]);
        lua_rawseti(L, -2, i + 1);
    }
}

void hwb__lset_numbers(lua_State *L, const char *key, int64_t n, const double *v) {
    hwb__lpush_numbers(L, n, v);
    lua_setfield(L, -2, key);
}

void hwb__lclass(lua_State *L, const char *name, const luaL_Reg *meta, const luaL_Reg *methods) {
    luaL_newmetatable(L, name);
    if (meta) luaL_setfuncs(L, meta, 0);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    hwb__lset_boolean(L, "__metatable", false); /* scripts cannot reach it */
    lua_pop(L, 1);
}
