/*
 * bind_model.c: engine models for Lua modules (lua/hwb/nn/module.lua).
 *
 * hwb.engine.model(forward) makes a model whose forward pass is the Lua
 * function forward(x, train) called on a traced tensor.  It is called while
 * some engine function runs, on the Lua thread that called that function.
 * hwb.engine also has what modules do to a trace: scopes, taps, updates.
 */
#include "bind_i.h"

#include <string.h>

typedef struct lua_forward {
    lua_State *L; /* the thread that uses the model at the moment */
    int ref;      /* of the function, in the registry */
} lua_forward;

typedef struct lua_model {
    hwb_model *m;
    lua_forward *f; /* owned by m */
} lua_model;

/* ---- calling back ------------------------------------------------------------------ */

/* An error value made of an engine failure keeps its status. */
static hwb_status status_of_error(lua_State *L) {
    hwb_status st = HWB_EARG;
    if (!lua_istable(L, -1)) return st;
    lua_pushliteral(L, "code");
    if (lua_rawget(L, -2) == LUA_TSTRING) {
        const char *code = lua_tostring(L, -1);
#define XX(name, value, exit_code, text)                                                           \
    if (strcmp(code, #name) == 0) st = HWB_##name;
        HWB_STATUS_MAP(XX)
#undef XX
    }
    lua_pop(L, 1);
    return st;
}

/* (value) -> its text; under lua_pcall, as __tostring may raise */
static int text_of(lua_State *L) {
    luaL_tolstring(L, 1, NULL);
    return 1;
}

hwb_status hwb__lpcall(lua_State *L, int n_args, int n_results) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    if (lua_pcall(L, n_args, n_results, 0) == LUA_OK) return HWB_OK;
    hwb_status st = lua_istable(L, -1) ? status_of_error(L) : HWB_EARG;
    lua_pushcfunction(L, text_of);
    lua_insert(L, -2);
    bool text = lua_pcall(L, 1, 1, 0) == LUA_OK && lua_type(L, -1) == LUA_TSTRING;
    hwb_fail(ctx, st, "%s", text ? lua_tostring(L, -1) : "an error value without text was raised");
    lua_pop(L, 1);
    return st;
}

static hwb_status forward(void *user, hwb_graph *g, hwb_id *y, hwb_id x, bool train) {
    lua_forward *f = user;
    lua_State *L = f->L;
    hwb_ctx *ctx = hwb_graph_ctx(g);
    if (!lua_checkstack(L, 16)) return hwb_fail(ctx, HWB_ENOMEM, "out of Lua stack");
    lua_rawgeti(L, LUA_REGISTRYINDEX, f->ref);
    hwb__lpush_traced(L, g, x);
    lua_pushboolean(L, train);
    hwb_graph *outer = hwb__ltrace_set(L, g);
    hwb_status st = hwb__lpcall(L, 2, 1);
    hwb__ltrace_set(L, outer);
    if (st != HWB_OK) return st;
    hwb__ltensor *t = hwb__ltest(L, -1);
    if (!t || t->g != g)
        st = hwb_fail(ctx, HWB_EARG, "forward must return a tensor computed from its input, not %s",
                      t ? "a constant" : luaL_typename(L, -1));
    else *y = t->id;
    lua_pop(L, 1);
    return st;
}

static void free_forward(void *user) {
    lua_forward *f = user;
    luaL_unref(f->L, LUA_REGISTRYINDEX, f->ref);
    hwb_free(f);
}

/* ---- the userdata --------------------------------------------------------------------- */

static lua_State *main_thread(lua_State *L) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    lua_State *main = lua_tothread(L, -1);
    lua_pop(L, 1);
    return main;
}

static int model_new(lua_State *L) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_model *u = lua_newuserdatauv(L, sizeof *u, 0);
    memset(u, 0, sizeof *u);
    luaL_setmetatable(L, HWB_LMODEL);
    lua_forward *f = hwb_alloc(ctx, sizeof *f);
    if (!f) return hwb_lua_raise(L, HWB_ENOMEM);
    lua_pushvalue(L, 1);
    *f = (lua_forward){L, luaL_ref(L, LUA_REGISTRYINDEX)};
    hwb_status st = hwb_model_new(ctx, &u->m, forward, f, free_forward);
    if (st != HWB_OK) free_forward(f);
    else u->f = f;
    hwb__lcheck(L, st);
    return 1;
}

static int model_gc(lua_State *L) {
    lua_model *u = luaL_checkudata(L, 1, HWB_LMODEL);
    if (u->m) u->f->L = main_thread(L);
    hwb_model_release(u->m);
    u->m = NULL;
    return 0;
}

static lua_model *check(lua_State *L, int arg) {
    lua_model *u = luaL_checkudata(L, arg, HWB_LMODEL);
    luaL_argcheck(L, u->m, arg, "closed model");
    u->f->L = L;
    return u;
}

hwb_model *hwb__lpush_model(lua_State *L, int arg) {
    arg = lua_absindex(L, arg);
    if (luaL_testudata(L, arg, HWB_LMODEL)) {
        lua_pushvalue(L, arg);
        return check(L, arg)->m;
    }
    if (!lua_istable(L, arg) || lua_getfield(L, arg, "engine") != LUA_TFUNCTION)
        luaL_typeerror(L, arg, "model");
    lua_pushvalue(L, arg);
    lua_call(L, 1, 1);
    if (!luaL_testudata(L, -1, HWB_LMODEL)) luaL_typeerror(L, arg, "model");
    return check(L, lua_gettop(L))->m;
}

hwb_model *hwb__lcheck_model(lua_State *L, int arg) {
    hwb_model *m = hwb__lpush_model(L, arg);
    lua_pop(L, 1); /* the module keeps it alive */
    return m;
}

/* ---- methods ------------------------------------------------------------------------------ */

static int add_parameter(lua_State *L) {
    hwb_model *m = check(L, 1)->m;
    hwb__lcheck(L, hwb_model_add_parameter(hwb_lua_ctx(L), m, luaL_checkstring(L, 2),
                                           hwb__lcheck_tensor(L, 3)));
    return 0;
}

static int add_buffer(lua_State *L) {
    hwb_model *m = check(L, 1)->m;
    hwb__lcheck(L, hwb_model_add_buffer(hwb_lua_ctx(L), m, luaL_checkstring(L, 2),
                                        hwb__lcheck_tensor(L, 3)));
    return 0;
}

/* model:run(x, train) -> y */
static int run(lua_State *L) {
    hwb_model *m = check(L, 1)->m;
    hwb_tensor *y;
    hwb__lcheck(
        L, hwb_model_run(hwb_lua_ctx(L), m, &y, hwb__lcheck_tensor(L, 2), lua_toboolean(L, 3)));
    hwb__lpush(L, y);
    return 1;
}

static int load(lua_State *L) {
    hwb_model *m = check(L, 1)->m;
    hwb_status st = hwb_model_load(hwb_lua_ctx(L), m, luaL_checkstring(L, 2));
    if (st != HWB_OK) return hwb__lfail(L, st);
    lua_pushboolean(L, 1);
    return 1;
}

static int save(lua_State *L) {
    hwb_model *m = check(L, 1)->m;
    hwb_status st = hwb_model_save(hwb_lua_ctx(L), m, luaL_checkstring(L, 2));
    if (st != HWB_OK) return hwb__lfail(L, st);
    lua_pushboolean(L, 1);
    return 1;
}

static int flatten(lua_State *L) {
    hwb_model *m = check(L, 1)->m;
    hwb_tensor *t;
    hwb__lcheck(L, hwb_model_flatten(hwb_lua_ctx(L), m, &t));
    hwb__lpush(L, t);
    return 1;
}

static int assign(lua_State *L) {
    hwb_model *m = check(L, 1)->m;
    hwb__lcheck(L, hwb_model_assign(hwb_lua_ctx(L), m, hwb__lcheck_tensor(L, 2)));
    return 0;
}

/* model:layers(sizes of an input, dtype) -> {{name=, weight=, n=, macs=, out=}, ...} */
static int layers(lua_State *L) {
    hwb_model *m = check(L, 1)->m;
    int count, next;
    const hwb_layer *list;
    hwb_shape s = hwb__lcheck_shape(L, 2, &next);
    hwb__lcheck(L,
                hwb_model_layers(hwb_lua_ctx(L), m, &s, hwb__lcheck_dtype(L, next), &count, &list));
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        const char *weight;
        hwb_model_parameter(m, list[i].weight, &weight);
        lua_createtable(L, 0, 5);
        hwb__lset_string(L, "name", list[i].name);
        hwb__lset_string(L, "weight", weight);
        hwb__lset_integer(L, "n", list[i].n);
        hwb__lset_integer(L, "macs", list[i].macs);
        hwb__lset_integer(L, "out", list[i].out_elements);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* model:block(name) -> names of the parameters in it, in order */
static int block(lua_State *L) {
    hwb_model *m = check(L, 1)->m;
    int n = hwb_model_parameter_count(m), count;
    int *ids = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *ids, 0);
    hwb__lcheck(L, hwb_model_block(hwb_lua_ctx(L), m, luaL_checkstring(L, 2), &count, ids));
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        const char *name;
        hwb_model_parameter(m, ids[i], &name);
        lua_pushstring(L, name);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static const luaL_Reg methods[] = {
    {"add_parameter", add_parameter},
    {"add_buffer", add_buffer},
    {"run", run},
    {"load", load},
    {"save", save},
    {"flatten", flatten},
    {"assign", assign},
    {"layers", layers},
    {"block", block},
    {NULL, NULL},
};

/* ---- what modules do to a trace ------------------------------------------------------------- */

static hwb__ltensor *check_traced(lua_State *L, int arg) {
    hwb__ltensor *t = hwb__lcheck_any(L, arg);
    luaL_argcheck(L, t->g, arg, "traced tensor expected");
    return t;
}

static int is_traced(lua_State *L) {
    hwb__ltensor *t = hwb__ltest(L, 1);
    lua_pushboolean(L, t && t->g);
    return 1;
}

static int push_scope(lua_State *L) {
    hwb__lcheck(L, hwb_graph_push_scope(check_traced(L, 1)->g, luaL_checkstring(L, 2)));
    return 0;
}

static int pop_scope(lua_State *L) {
    hwb_graph_pop_scope(check_traced(L, 1)->g);
    return 0;
}

/* hwb.engine.tap(x, name) -> x, marked */
static int tap(lua_State *L) {
    hwb__ltensor *x = check_traced(L, 1);
    hwb_id y;
    hwb__lcheck(L, hwb_graph_tap(x->g, &y, x->id, luaL_checkstring(L, 2)));
    hwb__lpush_traced(L, x->g, y);
    return 1;
}

/* hwb.engine.lift(x, t) -> the node of x's trace that stands for tensor t */
static int lift(lua_State *L) {
    hwb__ltensor *x = check_traced(L, 1);
    hwb_id y;
    hwb__lcheck(L, hwb_graph_lift(x->g, &y, hwb__lcheck_tensor(L, 2)));
    hwb__lpush_traced(L, x->g, y);
    return 1;
}

/* hwb.engine.update(buffer, value): after the run the buffer (concrete, or as
 * lifted) gets the value */
static int update(lua_State *L) {
    hwb__ltensor *b = hwb__lcheck_any(L, 1), *value = check_traced(L, 2);
    hwb_tensor *buffer = b->t ? b->t : hwb_graph_tensor(b->g, b->id);
    luaL_argcheck(L, buffer, 1, "a buffer expected");
    hwb__lcheck(L, hwb_graph_update(value->g, buffer, value->id));
    return 0;
}

static const luaL_Reg functions[] = {
    {"model", model_new},
    {"is_traced", is_traced},
    {"push_scope", push_scope},
    {"pop_scope", pop_scope},
    {"tap", tap},
    {"update", update},
    {"lift", lift},
    {NULL, NULL},
};

void hwb__lopen_model(lua_State *L) {
    static const luaL_Reg meta[] = {{"__gc", model_gc}, {NULL, NULL}};
    hwb__lclass(L, HWB_LMODEL, meta, methods);
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "engine");
}
