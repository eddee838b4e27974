/*
 * hwb.load and hwb.save: named tensors in files.
 *
 *     hwb.load(path)                -> {name = tensor}, names in file order, metadata
 *     hwb.save(path, tensors [, metadata])
 *
 * load reads safetensors, PyTorch checkpoints, .npy and .npz; save writes
 * safetensors.  Both give nil, message, code when the file is at fault.
 */
#include "bind_i.h"

#include "io/io.h"

/* The bundle lives in a userdata while Lua values are made of it. */
static int bundle_gc(lua_State *L) {
    hwb_bundle **slot = lua_touserdata(L, 1);
    hwb_bundle_free(*slot);
    *slot = NULL;
    return 0;
}

static hwb_bundle **push_slot(lua_State *L) {
    hwb_bundle **slot = lua_newuserdatauv(L, sizeof *slot, 0);
    *slot = NULL;
    if (luaL_newmetatable(L, "hwb.bundle")) {
        lua_pushcfunction(L, bundle_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return slot;
}

static int load(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    hwb_bundle **slot = push_slot(L);
    hwb_status st = hwb_io_load(hwb_lua_ctx(L), slot, path);
    if (st != HWB_OK) return hwb__lfail(L, st);
    int64_t n = hwb_bundle_count(*slot);
    lua_createtable(L, 0, (int)n);
    lua_createtable(L, (int)n, 0);
    for (int64_t i = 0; i < n; i++) {
        hwb__lpush(L, hwb_tensor_retain(hwb_bundle_at(*slot, i)));
        lua_setfield(L, -3, hwb_bundle_name(*slot, i));
        lua_pushstring(L, hwb_bundle_name(*slot, i));
        lua_rawseti(L, -2, i + 1);
    }
    lua_newtable(L);
    for (int64_t i = 0; i < hwb_bundle_meta_count(*slot); i++) {
        const char *key, *value;
        hwb_bundle_meta_at(*slot, i, &key, &value);
        hwb__lset_string(L, key, value);
    }
    return 3;
}

/* The sorted names of the table at 2, as a list on the stack, so that equal
 * tables give equal files. */
static lua_Integer push_names(lua_State *L) {
    lua_Integer n = 0;
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, 2)) {
        lua_pop(L, 1);
        luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, 2, "names are strings");
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, ++n);
    }
    lua_getglobal(L, "table");
    lua_getfield(L, -1, "sort");
    lua_pushvalue(L, -3);
    lua_call(L, 1, 0);
    lua_pop(L, 1);
    return n;
}

static int save(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    bool has_meta = !lua_isnoneornil(L, 3);
    if (has_meta) luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_bundle **slot = push_slot(L);
    hwb__lcheck(L, hwb_bundle_new(ctx, slot));
    lua_Integer n = push_names(L);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        lua_pushvalue(L, -1);
        lua_rawget(L, 2);
        if (!hwb__ltest(L, -1))
            return luaL_error(L, "save: \"%s\" is a %s, not a tensor", lua_tostring(L, -2),
                              luaL_typename(L, -1));
        hwb_tensor *t = hwb__lcheck_tensor(L, lua_gettop(L));
        hwb__lcheck(L, hwb_bundle_add(ctx, *slot, lua_tostring(L, -2), t));
        lua_pop(L, 2);
    }
    lua_pushnil(L);
    while (has_meta && lua_next(L, 3)) {
        luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING, 3, "keys are strings");
        const char *key = lua_tostring(L, -2), *value = luaL_tolstring(L, -1, NULL);
        hwb__lcheck(L, hwb_bundle_set_meta(ctx, *slot, key, value));
        lua_pop(L, 2);
    }
    hwb_status st = hwb_io_save_safetensors(ctx, *slot, path);
    if (st != HWB_OK) return hwb__lfail(L, st);
    lua_pushboolean(L, 1);
    return 1;
}

void hwb__lopen_bundle(lua_State *L) {
    static const luaL_Reg functions[] = {{"load", load}, {"save", save}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
