/*
 * bind_controller.c: batch-size controllers (engine/optim/controller.h) as Lua
 * objects: c:on_step(position) -> batch, lr, attacked; c:on_epoch(lambda);
 * c:get() -> table, c:set(table).
 */
#include "bind_i.h"

#include <math.h>
#include <string.h>

#define CONTROLLER "hwb.controller"

static hwb_batch_state *check(lua_State *L, int arg) {
    return luaL_checkudata(L, arg, CONTROLLER);
}

static void read_milestones(lua_State *L, int arg, hwb_batch_options *o) {
    if (lua_getfield(L, arg, "milestones") != LUA_TNIL) {
        luaL_checktype(L, -1, LUA_TTABLE);
        lua_Integer n = luaL_len(L, -1);
        luaL_argcheck(L, n <= HWB_BATCH_MAX_MILESTONES, arg, "too many milestones");
        o->n_milestones = (int)n;
        for (int i = 0; i < o->n_milestones; i++) {
            lua_geti(L, -1, i + 1);
            o->milestones[i] = (int)luaL_checkinteger(L, -1);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

static hwb_batch_options read_options(lua_State *L, int kind_arg, int arg) {
    static const char *const known[] = {
        "base",     "max",      "epochs",       "milestones",  "decay",  "grow", "fall",
        "patience", "attacked", "attack_decay", "attack_stop", "warmup", NULL};
    hwb_batch_kind kind;
    if (!hwb_batch_kind_parse(luaL_checkstring(L, kind_arg), &kind))
        luaL_error(L, "no batch controller is called \"%s\"", lua_tostring(L, kind_arg));
    luaL_checktype(L, arg, LUA_TTABLE);
    hwb__lcheck_options(L, arg, known);
    hwb_batch_options o = hwb_batch_defaults(kind);
    o.base = hwb__lopt_integer(L, arg, "base", o.base);
    o.max = hwb__lopt_integer(L, arg, "max", o.max);
    o.epochs = (int)hwb__lopt_integer(L, arg, "epochs", o.epochs);
    o.decay = hwb__lopt_number(L, arg, "decay", o.decay);
    o.grow = hwb__lopt_number(L, arg, "grow", o.grow);
    o.fall = hwb__lopt_number(L, arg, "fall", o.fall);
    o.patience = (int)hwb__lopt_integer(L, arg, "patience", o.patience);
    o.attacked = hwb__lopt_number(L, arg, "attacked", o.attacked);
    o.attack_decay = hwb__lopt_number(L, arg, "attack_decay", o.attack_decay);
    o.attack_stop = (int)hwb__lopt_integer(L, arg, "attack_stop", o.attack_stop);
    o.warmup = hwb__lopt_number(L, arg, "warmup", o.warmup);
    read_milestones(L, arg, &o);
    return o;
}

/* hwb.engine.controller(kind, options) */
static int controller_new(lua_State *L) {
    hwb_batch_options o = read_options(L, 1, 2);
    hwb_batch_state *s = lua_newuserdatauv(L, sizeof *s, 0);
    hwb__lcheck(L, hwb_batch_start(hwb_lua_ctx(L), s, &o));
    luaL_setmetatable(L, CONTROLLER);
    return 1;
}

/* hwb.engine.published_updates(kind, options, samples) -> number or nil */
static int published_updates(lua_State *L) {
    hwb_batch_options o = read_options(L, 1, 2);
    int64_t n = hwb_batch_published_updates(&o, luaL_checkinteger(L, 3));
    if (n < 0) lua_pushnil(L);
    else lua_pushinteger(L, n);
    return 1;
}

static int controller_on_epoch(lua_State *L) {
    hwb__lcheck(L, hwb_batch_on_epoch(hwb_lua_ctx(L), check(L, 1), luaL_optnumber(L, 2, NAN)));
    return 0;
}

static int controller_on_step(lua_State *L) {
    hwb_batch_advice a = hwb_batch_on_step(check(L, 1), luaL_checknumber(L, 2));
    lua_pushinteger(L, a.batch);
    lua_pushnumber(L, a.lr);
    lua_pushnumber(L, a.attacked);
    return 3;
}

static int controller_get(lua_State *L) {
    const hwb_batch_state *s = check(L, 1);
    lua_createtable(L, 0, 7);
    hwb__lset_integer(L, "ratio", s->ratio);
    hwb__lset_number(L, "scale", s->scale);
    hwb__lset_number(L, "attacked", s->attacked);
    if (!isnan(s->reference)) {
        hwb__lset_number(L, "reference", s->reference);
    }
    hwb__lset_integer(L, "since", s->since);
    hwb__lset_boolean(L, "growing", s->growing);
    hwb__lset_integer(L, "epoch", s->epoch);
    return 1;
}

static int controller_set(lua_State *L) {
    hwb_batch_state *s = check(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    s->ratio = hwb__lopt_integer(L, 2, "ratio", s->ratio);
    s->scale = hwb__lopt_number(L, 2, "scale", s->scale);
    s->attacked = hwb__lopt_number(L, 2, "attacked", s->attacked);
    s->reference = hwb__lopt_number(L, 2, "reference", NAN);
    s->since = (int)hwb__lopt_integer(L, 2, "since", s->since);
    s->growing = hwb__lopt_boolean(L, 2, "growing", s->growing);
    s->epoch = (int)hwb__lopt_integer(L, 2, "epoch", s->epoch);
    luaL_argcheck(L, s->ratio >= 1, 2, "ratio must be at least 1");
    return 0;
}

void hwb__lopen_controller(lua_State *L) {
    static const luaL_Reg methods[] = {{"on_step", controller_on_step},
                                       {"on_epoch", controller_on_epoch},
                                       {"get", controller_get},
                                       {"set", controller_set},
                                       {NULL, NULL}};
    hwb__lclass(L, CONTROLLER, NULL, methods);
    lua_getfield(L, -1, "engine");
    lua_pushcfunction(L, controller_new);
    lua_setfield(L, -2, "controller");
    lua_pushcfunction(L, published_updates);
    lua_setfield(L, -2, "published_updates");
    lua_pop(L, 1);
}
