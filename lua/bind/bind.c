/*
 * The module `hwb`: context, errors and the lookup of Lua submodules.
 *
 * The context is a full userdata in the registry, so that it is freed by
 * lua_close after every tensor that still counts its bytes there.
 */
#include "bind_i.h"
#include "bind_plot.h"

#include <lualib.h>

#define CTX_KEY   "hwb.ctx"
#define ERROR_KEY "hwb.error"

static int ctx_gc(lua_State *L) {
    hwb_ctx **slot = lua_touserdata(L, 1);
    hwb_ctx_free(*slot);
    *slot = NULL;
    return 0;
}

hwb_ctx *hwb_lua_ctx(lua_State *L) {
    lua_getfield(L, LUA_REGISTRYINDEX, CTX_KEY);
    hwb_ctx **slot = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (!slot || !*slot) luaL_error(L, "hwb is not open in this Lua state");
    return *slot;
}

static int error_tostring(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "message");
    return 1;
}

void hwb_lua_push_error(lua_State *L, hwb_status status, const char *message) {
    lua_createtable(L, 0, 3);
    hwb__lset_string(L, "code", hwb_status_name(status));
    hwb__lset_string(L, "message", message);
    hwb__lset_integer(L, "exit", hwb_status_exit_code(status));
    if (luaL_newmetatable(L, ERROR_KEY)) {
        lua_pushcfunction(L, error_tostring);
        lua_setfield(L, -2, "__tostring");
        lua_pushliteral(L, "hwb.error");
        lua_setfield(L, -2, "__name");
        hwb__lset_boolean(L, "__metatable", false);
    }
    lua_setmetatable(L, -2);
}

int hwb_lua_raise(lua_State *L, hwb_status status) {
    const char *message = hwb_message(hwb_lua_ctx(L));
    if (status == HWB_EINTR) hwb_interrupt_clear(); /* the engine has stopped, as asked */
    switch (status) {
    case HWB_EARG:
    case HWB_ESHAPE:
    case HWB_EDTYPE:
    case HWB_EUNSUPPORTED:
    case HWB_EINTERNAL: return luaL_error(L, "%s", message);
    default: hwb_lua_push_error(L, status, message); return lua_error(L);
    }
}

/* hwb.<name> not registered by C: the Lua module "hwb.<name>", if there is one. */
static int find_submodule(lua_State *L) {
    if (lua_type(L, 2) != LUA_TSTRING) return 0;
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchpath");
    lua_pushfstring(L, "hwb.%s", lua_tostring(L, 2));
    lua_pushvalue(L, -1);
    lua_insert(L, -3); /* package name searchpath name */
    lua_getfield(L, -4, "path");
    lua_call(L, 2, 1);
    if (lua_isnil(L, -1)) return 0;
    lua_pop(L, 1); /* package name */
    lua_getglobal(L, "require");
    lua_insert(L, -2);
    lua_call(L, 1, 1);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, 1);
    return 1;
}

int luaopen_hwb(lua_State *L) {
    hwb_ctx **slot = lua_newuserdatauv(L, sizeof *slot, 0);
    *slot = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, ctx_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    if (hwb_ctx_new(slot) != HWB_OK) return luaL_error(L, "out of memory");
    lua_setfield(L, LUA_REGISTRYINDEX, CTX_KEY);

    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, find_submodule);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    hwb_lua_open_json(L);
    lua_setfield(L, -2, "json");
    hwb__lopen_tensor(L);
    hwb__lopen_ops(L);
    hwb__lopen_random(L);
    hwb__lopen_ad(L);
    hwb__lopen_model(L);
    hwb__lopen_bundle(L);
    hwb__lopen_data(L);
    hwb__lopen_curvature(L);
    hwb__lopen_quant(L);
    hwb__lopen_allocate(L);
    hwb__lopen_train(L);
    hwb__lopen_controller(L);
    hwb__lopen_comm(L);
    hwb__lopen_device(L);
    luaL_requiref(L, "hwb.plot.raw", hwb_lua_open_plot, 0); /* for lua/hwb/plot.lua */
    lua_pop(L, 1);
    return 1;
}
