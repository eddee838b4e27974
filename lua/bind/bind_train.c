/*
 * bind_train.c: trainers, on which lua/hwb/train.lua is written.
 *
 *     t = hwb.engine.trainer(model, {kind="sgd", momentum=…, loss=…, eval=…})
 *     loss, right = t:gradient(x, y, weight)     t:update(lr)
 */
#include "bind_i.h"

#include <string.h>

#define TRAINER "hwb.trainer"

typedef struct lua_trainer {
    hwb_trainer *t;
} lua_trainer;

static hwb_trainer *check(lua_State *L, int arg) {
    lua_trainer *u = luaL_checkudata(L, arg, TRAINER);
    luaL_argcheck(L, u->t, arg, "closed trainer");
    hwb__luse_callbacks(L, arg);
    return u->t;
}

static int trainer_gc(lua_State *L) {
    lua_trainer *u = luaL_checkudata(L, 1, TRAINER);
    hwb_trainer_free(u->t);
    u->t = NULL;
    return 0;
}

static hwb_optim_options optim_options(lua_State *L, int arg) {
    hwb_optim_options o = hwb_optim_defaults();
    const char *kind = hwb__lopt_string(L, arg, "kind", "sgd");
    if (!hwb_optim_kind_parse(kind, &o.kind))
        luaL_error(L, "no optimizer is called \"%s\" (sgd, adam, adamw, lars, lamb)", kind);
    o.momentum = hwb__lopt_number(L, arg, "momentum", o.momentum);
    o.nesterov = hwb__lopt_boolean(L, arg, "nesterov", o.nesterov);
    o.weight_decay = hwb__lopt_number(L, arg, "weight_decay", o.weight_decay);
    o.decay_vectors = hwb__lopt_boolean(L, arg, "decay_vectors", o.decay_vectors);
    o.beta1 = hwb__lopt_number(L, arg, "beta1", o.beta1);
    o.beta2 = hwb__lopt_number(L, arg, "beta2", o.beta2);
    o.eps = hwb__lopt_number(L, arg, "eps", o.eps);
    o.eta = hwb__lopt_number(L, arg, "eta", o.eta);
    o.clip = hwb__lopt_number(L, arg, "clip", o.clip);
    return o;
}

/* hwb.engine.trainer(model, options) */
static int trainer_new(lua_State *L) {
    static const char *const known[] = {
        "kind",          "momentum", "nesterov", "weight_decay", "beta1", "beta2", "eps",
        "decay_vectors", "clip",     "loss",     "eval",         "eta",   "whole", NULL};
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    hwb__lcheck_options(L, 2, known);
    hwb_model *m = hwb__lpush_model(L, 1);
    hwb_trainer_options o = {.optim = optim_options(L, 2),
                             .eval_mode = hwb__lopt_boolean(L, 2, "eval", false),
                             .whole = hwb__lopt_boolean(L, 2, "whole", false)};
    lua_trainer *u = lua_newuserdatauv(L, sizeof *u, 3); /* 1: model, 2: loss, 3: engine model */
    u->t = NULL;
    luaL_setmetatable(L, TRAINER);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, 3);
    lua_setiuservalue(L, -2, 3);
    hwb__lread_loss(L, 2, &o.loss, &o.loss_user);
    lua_setiuservalue(L, -2, 2);
    hwb__lcheck(L, hwb_trainer_new(hwb_lua_ctx(L), &u->t, m, &o));
    return 1;
}

/* t:gradient(x, y [, weight]) -> loss, right (nil when y are no labels) */
static int gradient(lua_State *L) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_trainer *t = check(L, 1);
    hwb_tensor *x = hwb__lcheck_tensor(L, 2), *y = hwb__lcheck_tensor(L, 3), *target;
    double weight = luaL_optnumber(L, 4, 1), loss = 0;
    int64_t right = -1;
    hwb__lcheck(L, hwb__lzero_based_targets(L, &target, y));
    hwb_status st = hwb_trainer_gradient(ctx, t, x, target, weight, &loss, &right);
    hwb_tensor_release(target);
    hwb__lcheck(L, st);
    lua_pushnumber(L, loss);
    if (right >= 0) lua_pushinteger(L, right);
    else lua_pushnil(L);
    return 2;
}

static int update(lua_State *L) {
    hwb_trainer *t = check(L, 1);
    hwb__lcheck(L, hwb_trainer_update(hwb_lua_ctx(L), t, luaL_checknumber(L, 2)));
    return 0;
}

static int clear(lua_State *L) {
    hwb_trainer *t = check(L, 1);
    hwb__lcheck(L, hwb_trainer_clear(hwb_lua_ctx(L), t));
    return 0;
}

/* t:prepare(x, y): compiles for batches like these */
static int prepare(lua_State *L) {
    hwb_trainer *t = check(L, 1);
    hwb_tensor *x = hwb__lcheck_tensor(L, 2), *y = hwb__lcheck_tensor(L, 3), *target;
    hwb__lcheck(L, hwb__lzero_based_targets(L, &target, y));
    hwb_status st = hwb_trainer_prepare(hwb_lua_ctx(L), t, x, target);
    hwb_tensor_release(target);
    hwb__lcheck(L, st);
    return 0;
}

static int trim(lua_State *L) {
    hwb_trainer_trim(check(L, 1));
    return 0;
}

/* t:add(g): g [n] is added to the gradient */
static int add(lua_State *L) {
    hwb_trainer *t = check(L, 1);
    hwb__lcheck(L, hwb_trainer_add(hwb_lua_ctx(L), t, hwb__lcheck_tensor(L, 2)));
    return 0;
}

/* t:sum_ranks(): gradient and buffers of all ranks, on each */
static int sum_ranks(lua_State *L) {
    hwb_trainer *t = check(L, 1);
    hwb__lcheck(L, hwb_trainer_sum_ranks(hwb_lua_ctx(L), t));
    return 0;
}

static int norm(lua_State *L) {
    lua_pushnumber(L, hwb_trainer_norm(check(L, 1)));
    return 1;
}

/* t:flat_gradient() -> [n], shared with the trainer: changes count */
static int flat_gradient(lua_State *L) {
    hwb__lpush(L, hwb_tensor_retain(hwb_trainer_flat_gradient(check(L, 1))));
    return 1;
}

/* t:state() -> steps, {vectors}: copies */
static int state(lua_State *L) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_trainer *t = check(L, 1);
    hwb_tensor *vectors[2], *copy;
    hwb__lcheck(L, hwb_trainer_fetch(ctx, t)); /* the weights too: they are saved with these */
    int n = hwb_trainer_states(t, vectors);
    lua_pushinteger(L, hwb_trainer_steps(t));
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) {
        hwb__lcheck(L, hwb_tensor_clone(ctx, &copy, vectors[i]));
        hwb__lpush(L, copy);
        lua_rawseti(L, -2, i + 1);
    }
    return 2;
}

/* t:restore(steps, {vectors}) */
static int restore(lua_State *L) {
    hwb_trainer *t = check(L, 1);
    hwb_tensor *vectors[2] = {NULL, NULL};
    lua_Integer steps = luaL_checkinteger(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    int n = (int)luaL_len(L, 3);
    luaL_argcheck(L, n <= 2, 3, "at most two vectors");
    for (int i = 0; i < n; i++) {
        lua_geti(L, 3, i + 1); /* stays in the table */
        vectors[i] = hwb__lcheck_tensor(L, -1);
        lua_pop(L, 1);
    }
    hwb__lcheck(L, hwb_trainer_restore(hwb_lua_ctx(L), t, steps, n, vectors));
    return 0;
}

static const luaL_Reg methods[] = {
    {"gradient", gradient},
    {"update", update},
    {"clear", clear},
    {"norm", norm},
    {"state", state},
    {"restore", restore},
    {"flat_gradient", flat_gradient},
    {"prepare", prepare},
    {"add", add},
    {"sum_ranks", sum_ranks},
    {"trim", trim},
    {NULL, NULL},
};

void hwb__lopen_train(lua_State *L) {
    static const luaL_Reg meta[] = {{"__gc", trainer_gc}, {NULL, NULL}};
    hwb__lclass(L, TRAINER, meta, methods);
    lua_getfield(L, -1, "engine");
    lua_pushcfunction(L, trainer_new);
    lua_setfield(L, -2, "trainer");
    lua_pop(L, 1);
}
