/*
 * bind_memory.c: tensor memory and Lua's collector.
 *
 * The collector sees 32 bytes where a tensor holds megabytes, so it is told:
 * when the bytes alive in the engine pass a soft limit (256 MiB at first), a
 * full collection is made.  If more than 80 % survive it, they are in use and
 * the limit becomes 1.4 times what is alive, so that collections stay rare.
 *
 * hwb.scope() frees without the collector: tensors made while a scope is open
 * are entered in a weak table, and those not kept are emptied at its end.
 */
#include "bind_tensor_i.h"

#define SCOPE      "hwb.scope"
#define SCOPE_LIST "hwb.scopes" /* registry: list of the open scopes' tables */
#define MIB        ((size_t)1 << 20)

enum { FIRST_LIMIT_MIB = 256 };

static const char state_key; /* its address names the state in the registry */

hwb__lstate *hwb__lstate_of(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key);
    hwb__lstate *s = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (!s) luaL_error(L, "hwb is not open in this Lua state");
    return s;
}

/* ---- collecting ---------------------------------------------------------------------- */

static void collect(lua_State *L, hwb__lstate *s, size_t before) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    const size_t least = FIRST_LIMIT_MIB * MIB;
    lua_gc(L, LUA_GCCOLLECT);
    size_t after = hwb_memory(ctx).live;
    if (after > before / 5 * 4) s->soft_limit = after / 5 * 7;
    else if (after / 5 * 7 < s->soft_limit) s->soft_limit = after / 5 * 7;
    if (s->soft_limit < least) s->soft_limit = least;
    /* Garbage must not be what runs into a hard limit. */
    size_t hard = hwb_memory(ctx).limit, room = hard / 64;
    if (hard && s->soft_limit > hard - hard / 8) s->soft_limit = hard - hard / 8;
    if (hard && s->soft_limit < after + room) s->soft_limit = after + room;
}

/* The new tensor at the top of the stack enters the innermost scope. */
static void enter_scope(lua_State *L, hwb__lstate *s) {
    lua_getfield(L, LUA_REGISTRYINDEX, SCOPE_LIST);
    lua_rawgeti(L, -1, s->open_scopes); /* tensor list table */
    lua_pushvalue(L, -3);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_pop(L, 2);
}

void hwb__lcount(lua_State *L) {
    hwb__lstate *s = hwb__lstate_of(L);
    if (s->open_scopes) enter_scope(L, s);
    hwb_memory_info m = hwb_memory(hwb_lua_ctx(L));
    bool near = m.limit && m.limit < s->soft_limit && m.live > m.limit - m.limit / 8;
    if (m.live > s->soft_limit || near) collect(L, s, m.live);
}

hwb_tensor *hwb__lpush_new(lua_State *L, hwb_dtype dtype, hwb_shape shape) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_tensor *t;
    hwb_status st = hwb_tensor_new(ctx, &t, dtype, shape);
    if (st == HWB_ENOMEM) {
        lua_gc(L, LUA_GCCOLLECT);
        st = hwb_tensor_new(ctx, &t, dtype, shape);
    }
    hwb__lcheck(L, st);
    hwb__lpush(L, t);
    return t;
}

/* ---- hwb.scope -------------------------------------------------------------------------- */

/* A scope is a userdata that holds its depth; 0 once it has ended. */
static int scope_new(lua_State *L) {
    hwb__lstate *s = hwb__lstate_of(L);
    int *depth = lua_newuserdatauv(L, sizeof *depth, 0);
    *depth = 0;
    luaL_setmetatable(L, SCOPE);
    lua_getfield(L, LUA_REGISTRYINDEX, SCOPE_LIST);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawseti(L, -2, s->open_scopes + 1);
    lua_pop(L, 1);
    *depth = ++s->open_scopes;
    return 1;
}

/* Everything in the table at the top that is not kept lets go of its memory. */
static void free_members(lua_State *L) {
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        bool kept = !lua_toboolean(L, -1);
        lua_pop(L, 1);
        hwb__ltensor *t = lua_touserdata(L, -1);
        if (kept || !t) continue;
        hwb_tensor_release(t->t);
        t->t = NULL;
    }
}

static int scope_close(lua_State *L) {
    int *depth = luaL_checkudata(L, 1, SCOPE);
    hwb__lstate *s = hwb__lstate_of(L);
    if (*depth == 0) return 0;
    lua_getfield(L, LUA_REGISTRYINDEX, SCOPE_LIST);
    for (; s->open_scopes >= *depth; s->open_scopes--) { /* inner ones left open end too */
        lua_rawgeti(L, -1, s->open_scopes);
        free_members(L);
        lua_pop(L, 1);
        lua_pushnil(L);
        lua_rawseti(L, -2, s->open_scopes);
    }
    *depth = 0;
    return 0;
}

/* A kept tensor leaves this scope (and those inside) for the one around it. */
static void keep_value(lua_State *L, int at, int depth, int nesting) {
    if (nesting > 8) luaL_error(L, "scope:keep: tables nest too deeply");
    if (lua_type(L, at) == LUA_TTABLE) {
        lua_pushnil(L);
        while (lua_next(L, at)) {
            luaL_checkstack(L, 4, NULL);
            keep_value(L, lua_gettop(L), depth, nesting + 1);
            lua_pop(L, 1);
        }
        return;
    }
    if (!hwb__ltest(L, at)) return;
    lua_getfield(L, LUA_REGISTRYINDEX, SCOPE_LIST);
    bool mine = false;
    for (int d = hwb__lstate_of(L)->open_scopes; d >= depth - (depth > 1); d--) {
        lua_rawgeti(L, -1, d);
        lua_pushvalue(L, at);
        lua_rawget(L, -2);
        mine = mine || lua_toboolean(L, -1);
        lua_pop(L, 1);
        lua_pushvalue(L, at);
        if (d >= depth) lua_pushnil(L);
        else lua_pushboolean(L, mine);
        if (d >= depth || mine) lua_rawset(L, -3);
        else lua_pop(L, 2);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static int scope_keep(lua_State *L) {
    const int *depth = luaL_checkudata(L, 1, SCOPE);
    int n = lua_gettop(L);
    if (*depth == 0) return luaL_error(L, "scope:keep: this scope has ended");
    for (int i = 2; i <= n; i++) keep_value(L, i, *depth, 0);
    return n - 1;
}

/* ---- figures ------------------------------------------------------------------------------ */

static int memory(lua_State *L) {
    hwb_memory_info m = hwb_memory(hwb_lua_ctx(L));
    const struct {
        const char *name;
        lua_Integer value;
    } rows[] = {{"live", (lua_Integer)m.live},
                {"peak", (lua_Integer)m.peak},
                {"limit", (lua_Integer)m.limit},
                {"device_live", (lua_Integer)m.device_live},
                {"device_peak", (lua_Integer)m.device_peak},
                {"allocations", m.allocations},
                {"hvps", hwb_products(hwb_lua_ctx(L))},
                {"soft_limit", (lua_Integer)hwb__lstate_of(L)->soft_limit}};
    lua_createtable(L, 0, 9);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lua_pushinteger(L, rows[i].value);
        lua_setfield(L, -2, rows[i].name);
    }
    hwb__lset_integer(L, "lua", (lua_Integer)lua_gc(L, LUA_GCCOUNT) * 1024);
    return 1;
}

static int memory_reset_peak(lua_State *L) {
    hwb_memory_reset_peak(hwb_lua_ctx(L));
    return 0;
}

void hwb__lopen_memory(lua_State *L) {
    static const luaL_Reg functions[] = {{"memory", memory},
                                         {"memory_reset_peak", memory_reset_peak},
                                         {"scope", scope_new},
                                         {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__close", scope_close}, {"__gc", scope_close}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"keep", scope_keep}, {"close", scope_close}, {NULL, NULL}};
    hwb__lstate *s = lua_newuserdatauv(L, sizeof *s, 0);
    *s = (hwb__lstate){.soft_limit = FIRST_LIMIT_MIB * MIB};
    lua_rawsetp(L, LUA_REGISTRYINDEX, &state_key);
    lua_newtable(L);
    lua_setfield(L, LUA_REGISTRYINDEX, SCOPE_LIST);
    hwb__lclass(L, SCOPE, meta, methods);
    luaL_setfuncs(L, functions, 0);
}
