/*
 * bind_device.c: how devices compute.
 */
#include "bind_i.h"

#include "backend/backend.h"

static const char *const MATHS[] = {"float32", "tf32", "bf16", NULL};

/* hwb.device_options([{math=, deterministic=}]) -> the options now in force */
static int device_options(lua_State *L) {
    static const char *const known[] = {"math", "deterministic", NULL};
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_device_options o = hwb_device_configured(ctx);
    if (!lua_isnoneornil(L, 1)) {
        hwb__lcheck_options(L, 1, known);
        if (lua_getfield(L, 1, "math") != LUA_TNIL)
            o.math = (hwb_math)luaL_checkoption(L, -1, NULL, MATHS);
        if (lua_getfield(L, 1, "deterministic") != LUA_TNIL) {
            luaL_checktype(L, -1, LUA_TBOOLEAN);
            o.deterministic = lua_toboolean(L, -1);
        }
        hwb__lcheck(L, hwb_device_configure(ctx, &o));
    }
    lua_createtable(L, 0, 2);
    lua_pushstring(L, MATHS[o.math]);
    lua_setfield(L, -2, "math");
    lua_pushboolean(L, o.deterministic);
    lua_setfield(L, -2, "deterministic");
    return 1;
}

void hwb__lopen_device(lua_State *L) {
    lua_pushcfunction(L, device_options);
    lua_setfield(L, -2, "device_options");
}
