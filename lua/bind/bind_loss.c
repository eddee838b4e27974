/*
 * bind_loss.c: losses named, or written in Lua as f(output, target [, reduce]).
 *
 * A Lua function is held by a userdata that the operator or trainer keeps as
 * long as the engine may call it.
 */
#include "bind_i.h"

#define LOSS "hwb.loss"

typedef struct lua_loss {
    lua_State *L; /* the thread that uses the loss at the moment */
    int ref;      /* of the function, in the registry */
} lua_loss;

/* Integer targets are 1-based in Lua. */
static hwb_status call_loss(void *user, hwb_graph *g, hwb_id *loss, hwb_id output, hwb_id target,
                            bool reduce) {
    lua_loss *f = user;
    lua_State *L = f->L;
    hwb_ctx *ctx = hwb_graph_ctx(g);
    if (!hwb_dtype_is_float(hwb_graph_dtype(g, target)))
        HWB_TRY(hwb_add_scalar(g, &target, target, 1));
    if (!lua_checkstack(L, 16)) return hwb_fail(ctx, HWB_ENOMEM, "out of Lua stack");
    lua_rawgeti(L, LUA_REGISTRYINDEX, f->ref);
    hwb__lpush_traced(L, g, output);
    hwb__lpush_traced(L, g, target);
    lua_pushboolean(L, reduce);
    HWB_TRY(hwb__lpcall(L, 3, 1));
    hwb__ltensor *t = hwb__ltest(L, -1);
    hwb_status st = HWB_OK;
    if (!t || t->g != g)
        st = hwb_fail(ctx, HWB_EARG,
                      "the loss function must return a tensor computed from its "
                      "arguments");
    else *loss = t->id;
    lua_pop(L, 1);
    return st;
}

static int loss_gc(lua_State *L) {
    lua_loss *u = luaL_checkudata(L, 1, LOSS);
    luaL_unref(L, LUA_REGISTRYINDEX, u->ref);
    u->ref = LUA_NOREF;
    return 0;
}

void hwb__lread_loss(lua_State *L, int options, hwb_loss_fn *fn, void **user) {
    options = lua_absindex(L, options);
    if (lua_getfield(L, options, "loss") != LUA_TFUNCTION) {
        hwb__lcheck(L, hwb_loss_named(hwb_lua_ctx(L), fn, luaL_optstring(L, -1, "cross_entropy")));
        lua_pop(L, 1);
        lua_pushnil(L);
        return;
    }
    lua_loss *u = lua_newuserdatauv(L, sizeof *u, 0);
    *u = (lua_loss){L, LUA_NOREF};
    if (luaL_newmetatable(L, LOSS)) {
        lua_pushcfunction(L, loss_gc);
        lua_setfield(L, -2, "__gc");
        hwb__lset_boolean(L, "__metatable", false);
    }
    lua_setmetatable(L, -2);
    lua_insert(L, -2); /* userdata function */
    u->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    *fn = call_loss;
    *user = u;
}

void hwb__luse_callbacks(lua_State *L, int arg) {
    lua_getiuservalue(L, arg, 2);
    lua_loss *u = luaL_testudata(L, -1, LOSS); /* nil for a loss of the engine */
    if (u) u->L = L;
    lua_pop(L, 1);
    lua_getiuservalue(L, arg, 3); /* the module may have another model by now */
    hwb__lcheck_model(L, -1);
    lua_pop(L, 1);
}

hwb_status hwb__lzero_based_targets(lua_State *L, hwb_tensor **out, hwb_tensor *y) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_shape s = *hwb_tensor_shape(y);
    hwb_tensor *t;
    if (hwb_dtype_is_float(hwb_tensor_dtype(y))) {
        *out = hwb_tensor_retain(y);
        return HWB_OK;
    }
    HWB_TRY(hwb_tensor_new(ctx, &t, HWB_I64, s)); /* uint8 has no 0 - 1 */
    hwb_status st = hwb_tensor_copy(ctx, t, y);
    int64_t *label = hwb_tensor_data(t);
    for (int64_t i = 0; st == HWB_OK && i < hwb_tensor_numel(t); i++)
        label[i] = (int64_t)((uint64_t)label[i] - 1);
    if (st == HWB_OK) *out = t;
    else hwb_tensor_release(t);
    return st;
}
