/*
 * bind_curvature.c: curvature operators as Lua objects.
 *
 *     H = hwb.hessian(model, {loss=, data={x, y} or loader, bn="eval"})
 *     H.n  H.name  H:apply(v)  H:block(name)  H:gradient()  …
 *
 * The solvers' methods are in bind_spectral.c, those over many blocks in bind_sweep.c,
 * others in lua/hwb/curvature.lua.
 */
#include "bind_curvature.h"

#include <math.h>
#include <string.h>

/* ---- the userdata ------------------------------------------------------------------------ */

typedef struct lua_operator {
    hwb_curvature *c;
    hwb_curvature_kind kind;
    bool bn_batch;
} lua_operator;

static const char *const kinds[] = {
    [HWB_HESSIAN] = "hessian", [HWB_GGN] = "ggn", [HWB_FISHER] = "fisher"};

static lua_operator *new_operator(lua_State *L) {
    lua_operator *u = lua_newuserdatauv(L, sizeof *u, 3); /* 1: model, 2: loss, 3: engine model */
    memset(u, 0, sizeof *u);
    luaL_setmetatable(L, HWB_LOPERATOR);
    return u;
}

static lua_operator *check(lua_State *L, int arg) {
    lua_operator *u = luaL_checkudata(L, arg, HWB_LOPERATOR);
    luaL_argcheck(L, u->c, arg, "closed operator");
    hwb__luse_callbacks(L, arg);
    return u;
}

hwb_curvature *hwb__lcheck_operator(lua_State *L, int arg) {
    return check(L, arg)->c;
}

static int operator_gc(lua_State *L) {
    lua_operator *u = luaL_checkudata(L, 1, HWB_LOPERATOR);
    hwb_curvature_release(u->c);
    u->c = NULL;
    return 0;
}

/* ---- making one ------------------------------------------------------------------------------ */

/* {x, y}: integer y is 1-based in Lua. */
static hwb_source batch_source(lua_State *L, int arg, int64_t micro) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_source s;
    if (lua_type(L, arg) != LUA_TTABLE)
        luaL_error(L, "option \"data\" must be {x, y} or a loader, not %s", luaL_typename(L, arg));
    lua_geti(L, arg, 1);
    lua_geti(L, arg, 2);
    for (int i = -2; i < 0; i++)
        if (!hwb__ltest(L, i))
            luaL_error(L, "option \"data\": element %d of {x, y} must be a tensor, not %s", i + 3,
                       luaL_typename(L, i));
    hwb_tensor *x = hwb__lcheck_tensor(L, -2), *y = hwb__lcheck_tensor(L, -1), *target;
    hwb__lcheck(L, hwb__lzero_based_targets(L, &target, y));
    hwb_status st = hwb_source_batch(ctx, &s, x, target, micro);
    hwb_tensor_release(target);
    lua_pop(L, 2);
    hwb__lcheck(L, st);
    return s;
}

/* (model, options) with the kind as upvalue */
static int make(lua_State *L) {
    static const char *const known[] = {"loss",         "data",   "bn", "micro",
                                        "weight_decay", "budget", NULL};
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    hwb__lcheck_options(L, 2, known);
    hwb_model *m = hwb__lpush_model(L, 1);
    hwb_curvature_options o = {.kind = (hwb_curvature_kind)lua_tointeger(L, lua_upvalueindex(1))};
    const char *bn = hwb__lopt_string(L, 2, "bn", "eval");
    if (strcmp(bn, "eval") != 0 && strcmp(bn, "batch") != 0)
        return luaL_error(L, "bn must be \"eval\" or \"batch\", not \"%s\"", bn);
    o.batch_norm_batch = strcmp(bn, "batch") == 0;
    o.weight_decay = hwb__lopt_number(L, 2, "weight_decay", 0);
    o.budget = (size_t)hwb__lopt_integer(L, 2, "budget", 0);
    int64_t micro = hwb__lopt_integer(L, 2, "micro", 0);
    if (!isfinite(o.weight_decay)) return luaL_error(L, "weight_decay must be finite");
    if (micro < 0 || hwb__lopt_integer(L, 2, "budget", 0) < 0)
        return luaL_error(L, "micro and budget must be at least 0");
    lua_operator *u = new_operator(L);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, 3);
    lua_setiuservalue(L, -2, 3);
    u->bn_batch = o.batch_norm_batch;
    u->kind = o.kind;
    hwb__lread_loss(L, 2, &o.loss, &o.loss_user);
    lua_setiuservalue(L, -2, 2);
    if (lua_getfield(L, 2, "data") == LUA_TNIL)
        return luaL_error(L, "option \"data\" is missing: {x, y} or a loader");
    hwb_source source;
    if (!hwb__lloader_source(L, -1, &source)) source = batch_source(L, lua_gettop(L), micro);
    lua_pop(L, 1);
    hwb__lcheck(L, hwb_curvature_new(hwb_lua_ctx(L), &u->c, m, source, &o));
    return 1;
}

/* Pushes another operator on the source of the one at 1, still without content. */
static lua_operator *push_derived(lua_State *L) {
    const lua_operator *whole = check(L, 1);
    lua_operator *u = new_operator(L);
    for (int i = 1; i <= 3; i++) {
        lua_getiuservalue(L, 1, i);
        lua_setiuservalue(L, -2, i);
    }
    u->bn_batch = whole->bn_batch;
    u->kind = whole->kind;
    return u;
}

/* (H, name) */
static int derive(lua_State *L,
                  hwb_status (*fn)(hwb_ctx *, hwb_curvature **, hwb_curvature *, const char *)) {
    hwb_curvature *whole = check(L, 1)->c;
    const char *name = luaL_checkstring(L, 2);
    lua_operator *u = push_derived(L);
    hwb__lcheck(L, fn(hwb_lua_ctx(L), &u->c, whole, name));
    return 1;
}

static int block(lua_State *L) {
    return derive(L, hwb_curvature_block);
}
static int activation(lua_State *L) {
    return derive(L, hwb_curvature_activation);
}

const char **hwb__lcheck_names(lua_State *L, int arg, int *n) {
    luaL_checktype(L, arg, LUA_TTABLE);
    *n = (int)luaL_len(L, arg);
    if (*n < 1) luaL_error(L, "a list of names is wanted, not an empty one");
    const char **names = lua_newuserdatauv(L, (size_t)*n * sizeof *names, 0);
    for (int i = 0; i < *n; i++) {
        if (lua_geti(L, arg, i + 1) != LUA_TSTRING)
            luaL_error(L, "name %d is a %s", i + 1, luaL_typename(L, -1));
        names[i] = lua_tostring(L, -1); /* the list keeps it */
        lua_pop(L, 1);
    }
    return names;
}

/* (H, names): a list of operators that were made together */
static int derive_all(lua_State *L, hwb_status (*fn)(hwb_ctx *, hwb_curvature **, hwb_curvature *,
                                                     int, const char *const *)) {
    int n;
    hwb_curvature *whole = check(L, 1)->c;
    const char **names = hwb__lcheck_names(L, 2, &n);
    hwb_curvature **made = lua_newuserdatauv(L, (size_t)n * sizeof *made, 0);
    lua_operator **u = lua_newuserdatauv(L, (size_t)n * sizeof(lua_operator *), 0);
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) { /* before there is something to lose */
        u[i] = push_derived(L);
        lua_rawseti(L, -2, i + 1);
    }
    hwb__lcheck(L, fn(hwb_lua_ctx(L), made, whole, n, names));
    for (int i = 0; i < n; i++) u[i]->c = made[i];
    return 1;
}

/* H:blocks() or H:blocks(names) */
static int blocks(lua_State *L) {
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_getfield(L, 1, "layer_names");
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
        lua_replace(L, 2);
    }
    return derive_all(L, hwb_curvature_blocks);
}
static int activations(lua_State *L) {
    return derive_all(L, hwb_curvature_activations);
}

/* ---- using it ------------------------------------------------------------------------------------ */

/* H:apply(v): v [n] or [K,n] -> the same shape */
static int apply(lua_State *L) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_curvature *c = check(L, 1)->c;
    hwb_tensor *v = hwb__lcheck_tensor(L, 2), *rows = NULL, *typed = NULL, *out = NULL,
               *flat = NULL;
    const hwb_shape *s = hwb_tensor_shape(v);
    hwb_shape two = {.ndim = 2, .dim = {1, hwb_curvature_n(c)}};
    char text[HWB_SHAPE_TEXT];
    if (s->ndim == 2) two.dim[0] = s->dim[0];
    if (s->ndim < 1 || s->ndim > 2 || s->dim[s->ndim - 1] != hwb_curvature_n(c))
        return luaL_error(L, "apply: a vector of %I (or K x %I) is wanted, not %s",
                          (lua_Integer)hwb_curvature_n(c), (lua_Integer)hwb_curvature_n(c),
                          hwb_shape_text(s, text));
    hwb_status st = hwb_tensor_to(ctx, &typed, v, hwb_curvature_op(c)->dtype);
    if (st == HWB_OK) st = hwb_tensor_reshape(ctx, &rows, typed, two);
    if (st == HWB_OK) st = hwb_curvature_op(c)->apply(ctx, hwb_curvature_op(c), &out, rows);
    if (st == HWB_OK) st = hwb_tensor_reshape(ctx, &flat, out, *s);
    hwb_tensor_release(typed);
    hwb_tensor_release(rows);
    hwb_tensor_release(out);
    hwb__lcheck(L, st);
    hwb__lpush(L, flat);
    return 1;
}

/* H:gradient() -> loss, gradient [n] */
static int gradient(lua_State *L) {
    double loss;
    hwb_tensor *g;
    hwb__lcheck(L, hwb_curvature_gradient(hwb_lua_ctx(L), check(L, 1)->c, &loss, &g));
    lua_pushnumber(L, loss);
    hwb__lpush(L, g);
    return 2;
}

/* H:parameters() -> {{name=, first=, n=, shape={..}}, ...}: where each lies in v */
static int parameters(lua_State *L) {
    hwb_curvature *c = check(L, 1)->c;
    const int *ids;
    int n = hwb_curvature_parameters(c, &ids);
    lua_Integer at = 1;
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) {
        const char *name;
        hwb_tensor *t = hwb_model_parameter(hwb_curvature_model(c), ids[i], &name);
        const hwb_shape *s = hwb_tensor_shape(t);
        lua_createtable(L, 0, 4);
        hwb__lset_string(L, "name", name);
        hwb__lset_integer(L, "first", at);
        hwb__lset_integer(L, "n", hwb_tensor_numel(t));
        lua_createtable(L, s->ndim, 0);
        for (int d = 0; d < s->ndim; d++) {
            lua_pushinteger(L, s->dim[d]);
            lua_rawseti(L, -2, d + 1);
        }
        lua_setfield(L, -2, "shape");
        lua_rawseti(L, -2, i + 1);
        at += hwb_tensor_numel(t);
    }
    return 1;
}

/* H:dump(k): the compiled program that applies k vectors, as text */
static int dump(lua_State *L) {
    char *text = hwb_curvature_dump(hwb_lua_ctx(L), check(L, 1)->c, luaL_optinteger(L, 2, 1));
    if (!text) return luaL_error(L, "dump: %s", hwb_message(hwb_lua_ctx(L)));
    lua_pushstring(L, text);
    free(text);
    return 1;
}

/* Methods are C functions, or come with the Lua module, loaded when first missed. */
static int find_method(lua_State *L) {
    lua_pushvalue(L, 2);
    if (lua_gettable(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
    lua_getglobal(L, "require");
    lua_pushliteral(L, "hwb.curvature");
    lua_call(L, 1, 0);
    lua_pushvalue(L, 2);
    lua_gettable(L, lua_upvalueindex(1));
    return 1;
}

/* "hessian of block conv1: 432 x 432, float32, bn eval" */
static int operator_text(lua_State *L) {
    const lua_operator *u = luaL_checkudata(L, 1, HWB_LOPERATOR);
    if (!u->c) {
        lua_pushliteral(L, "closed operator");
        return 1;
    }
    const char *name = hwb_curvature_name(u->c);
    lua_Integer n = hwb_curvature_n(u->c);
    lua_pushfstring(L, "%s%s%s: %I x %I, %s, bn %s", kinds[u->kind], *name ? " of block " : "",
                    name, n, n, hwb_dtype_name(hwb_curvature_op(u->c)->dtype),
                    u->bn_batch ? "batch" : "eval");
    return 1;
}

static int operator_index(lua_State *L) {
    lua_operator *u = luaL_checkudata(L, 1, HWB_LOPERATOR);
    const char *key = luaL_checkstring(L, 2);
    if (u->c && strcmp(key, "n") == 0) lua_pushinteger(L, hwb_curvature_n(u->c));
    else if (u->c && strcmp(key, "name") == 0) lua_pushstring(L, hwb_curvature_name(u->c));
    else if (u->c && strcmp(key, "bn") == 0) lua_pushstring(L, u->bn_batch ? "batch" : "eval");
    else if (u->c && strcmp(key, "samples") == 0) lua_pushinteger(L, hwb_curvature_samples(u->c));
    else if (u->c && strcmp(key, "hvps") == 0) lua_pushinteger(L, hwb_curvature_op(u->c)->applied);
    else if (u->c && strcmp(key, "weight_decay") == 0)
        lua_pushnumber(L, hwb_curvature_weight_decay(u->c));
    else if (u->c && strcmp(key, "model") == 0) lua_getiuservalue(L, 1, 1);
    else return find_method(L);
    return 1;
}

static const luaL_Reg methods[] = {
    {"apply", apply},
    {"block", block},
    {"blocks", blocks},
    {"activation", activation},
    {"activations", activations},
    {"gradient", gradient},
    {"parameters", parameters},
    {"dump", dump},
    {NULL, NULL},
};

void hwb__lopen_curvature(lua_State *L) {
    luaL_newmetatable(L, HWB_LOPERATOR);
    lua_pushcfunction(L, operator_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, operator_text);
    lua_setfield(L, -2, "__tostring");
    luaL_newlib(L, methods);
    hwb__lspectral_methods(L);
    hwb__lsweep_methods(L);
    hwb__llandscape_methods(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -4, "operator_methods"); /* of the hwb table: Lua adds to it */
    lua_pushcclosure(L, operator_index, 1);
    lua_setfield(L, -2, "__index");
    hwb__lset_boolean(L, "__metatable", false);
    lua_pop(L, 1);
    for (int i = 0; i < 3; i++) {
        lua_pushinteger(L, i);
        lua_pushcclosure(L, make, 1);
        lua_setfield(L, -2, kinds[i]);
    }
}
