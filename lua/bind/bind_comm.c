/*
 * bind_comm.c: hwb.engine.comm, on which lua/hwb/comm.lua is written.
 */
#include "bind_i.h"

#include <stdlib.h>
#include <string.h>

/* place() -> {rank=, size=, local_rank=, local_size=, name=, library=} */
static int place(lua_State *L) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_comm_place here = hwb_comm_where(ctx);
    lua_createtable(L, 0, 6);
    hwb__lset_integer(L, "rank", here.rank);
    hwb__lset_integer(L, "size", here.size);
    hwb__lset_integer(L, "local_rank", here.local_rank);
    hwb__lset_integer(L, "local_size", here.local_size);
    hwb__lset_string(L, "name", hwb_comm_name(ctx));
    hwb__lset_string(L, "library", hwb_comm_library(ctx));
    return 1;
}

/* probe(name) -> what it is, or nil, message, code */
static int probe(lua_State *L) {
    char text[256];
    hwb_status st = hwb_comm_probe(hwb_lua_ctx(L), luaL_checkstring(L, 1), text, sizeof text);
    if (st != HWB_OK) return hwb__lfail(L, st);
    lua_pushstring(L, text);
    return 1;
}

/* sum_(tensor): in place; returns it */
static int sum_in_place(lua_State *L) {
    hwb__lcheck(L, hwb_comm_sum_tensor(hwb_lua_ctx(L), hwb__lcheck_tensor(L, 1)));
    lua_settop(L, 1);
    return 1;
}

/* The sum as an operation of the graph that is being traced. */
static int traced_sum(lua_State *L, const hwb__ltensor *x) {
    hwb_id y = x->id;
    int ranks = hwb_comm_where(hwb_lua_ctx(L)).size;
    if (!hwb_dtype_is_float(hwb__ldtype(x)))
        return luaL_error(L, "a sum over ranks of %s", hwb_dtype_name(hwb__ldtype(x)));
    if (ranks > 1) hwb__lcheck(L, hwb_allreduce(x->g, &y, x->id, ranks));
    hwb__lpush_traced(L, x->g, y);
    return 1;
}

/* sum(tensor) -> a new one */
static int sum(lua_State *L) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_tensor *copy = NULL;
    const hwb__ltensor *x = hwb__lcheck_any(L, 1);
    if (!x->t) return traced_sum(L, x);
    hwb__lcheck(L, hwb_tensor_clone(ctx, &copy, x->t));
    hwb__lpush(L, copy);
    hwb__lcheck(L, hwb_comm_sum_tensor(ctx, copy));
    return 1;
}

/* broadcast_(tensor, root): its bytes, in place */
static int broadcast_in_place(lua_State *L) {
    hwb_tensor *t = hwb__lcheck_tensor(L, 1);
    int root = (int)luaL_optinteger(L, 2, 0);
    if (!hwb_tensor_is_contiguous(t)) return luaL_error(L, "broadcast: a dense tensor is wanted");
    hwb__lcheck(L,
                hwb_comm_broadcast(hwb_lua_ctx(L), root, hwb_tensor_bytes(t), hwb_tensor_data(t)));
    hwb_tensor_touch(t);
    lua_settop(L, 1);
    return 1;
}

/* broadcast_text(text or nil, root) -> the text of root */
static int broadcast_text(lua_State *L) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    int root = (int)luaL_optinteger(L, 2, 0);
    bool mine = hwb_comm_where(ctx).rank == root;
    size_t n = 0;
    const char *text = mine ? luaL_checklstring(L, 1, &n) : NULL;
    int64_t length = (int64_t)n;
    hwb__lcheck(L, hwb_comm_broadcast(ctx, root, sizeof length, &length));
    luaL_Buffer b;
    char *room = luaL_buffinitsize(L, &b, (size_t)length + 1);
    if (mine) memcpy(room, text, n);
    hwb__lcheck(L, hwb_comm_broadcast(ctx, root, (size_t)length, room));
    luaL_pushresultsize(&b, (size_t)length);
    return 1;
}

static int barrier(lua_State *L) {
    hwb__lcheck(L, hwb_comm_barrier(hwb_lua_ctx(L)));
    return 0;
}

/* mark({tensors}): the next exchange fails where these are not the same on all ranks */
static int mark(lua_State *L) {
    uint64_t all = 1;
    luaL_checktype(L, 1, LUA_TTABLE);
    for (lua_Integer i = 1; lua_geti(L, 1, i) != LUA_TNIL; i++) {
        all = hwb_comm_mark_of(all, NULL, hwb__lcheck_tensor(L, -1), 64);
        lua_pop(L, 1);
    }
    hwb_comm_mark(hwb_lua_ctx(L), all);
    return 0;
}

/* passed() -> exit code of the rank whose failure ended an exchange, 0 = none did */
static int passed(lua_State *L) {
    lua_pushinteger(L, hwb_comm_passed(hwb_lua_ctx(L)));
    return 1;
}

/* stats() -> {calls=, bytes=, seconds=} */
static int stats(lua_State *L) {
    hwb_comm_stats s = hwb_comm_spent(hwb_lua_ctx(L));
    lua_createtable(L, 0, 3);
    hwb__lset_integer(L, "calls", s.calls);
    hwb__lset_integer(L, "bytes", s.bytes);
    hwb__lset_number(L, "seconds", s.seconds);
    return 1;
}

/* part(n) -> first (from 1), count */
static int part(lua_State *L) {
    int64_t first, count;
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n >= 0, 1, "a number of things");
    hwb_comm_part(hwb_comm_where(hwb_lua_ctx(L)), n, &first, &count);
    lua_pushinteger(L, first + 1);
    lua_pushinteger(L, count);
    return 2;
}

void hwb__lopen_comm(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"place", place},
        {"probe", probe},
        {"sum", sum},
        {"sum_", sum_in_place},
        {"broadcast_", broadcast_in_place},
        {"broadcast_text", broadcast_text},
        {"barrier", barrier},
        {"mark", mark},
        {"passed", passed},
        {"stats", stats},
        {"part", part},
        {NULL, NULL},
    };
    lua_getfield(L, -1, "engine");
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "comm");
    lua_pop(L, 1);
}
