/*
 * bind_allocate.c: the allocation of bits as hwb.engine.quant.{solve, hawq_v1,
 * reverse, evaluate, frontier}.
 *
 * A problem is {bits={2,4,8}, omega={{…},…}, cost={{{…},…},…}, limit={…},
 * names={…}, tie={…}}: omega[layer][choice], cost[k][layer][choice]; limit[k]
 * may be math.huge; tie[layer] is a number that tied layers share, or -1.
 * Choices are given back as 1-based positions in bits.  lua/hwb/allocate.lua
 * makes problems and reads answers.
 */
#include "bind_i.h"

#include <string.h>

/* Tables -> arrays; the arrays are userdata left on the stack. */
static void *push_array(lua_State *L, size_t count, size_t size) {
    void *p = lua_newuserdatauv(L, (count + 1) * size, 0);
    memset(p, 0, (count + 1) * size);
    return p;
}

/* Number list at the top of the stack -> to[0..n) */
static void read_numbers(lua_State *L, double *to, lua_Integer n, const char *what) {
    if (!lua_istable(L, -1) || luaL_len(L, -1) != n)
        luaL_error(L, "%s: a list of %I numbers is wanted", what, (LUAI_UACINT)n);
    for (lua_Integer i = 0; i < n; i++) {
        lua_geti(L, -1, i + 1);
        if (lua_type(L, -1) != LUA_TNUMBER)
            luaL_error(L, "%s: element %I is %s", what, (LUAI_UACINT)(i + 1), luaL_typename(L, -1));
        to[i] = lua_tonumber(L, -1);
        lua_pop(L, 1);
    }
}

static void read_matrix(lua_State *L, double *to, lua_Integer rows, lua_Integer cols,
                        const char *what) {
    for (lua_Integer r = 0; r < rows; r++) {
        lua_geti(L, -1, r + 1);
        read_numbers(L, to + r * cols, cols, what);
        lua_pop(L, 1);
    }
}

/* The arrays stay on the stack until the function returns. */
static hwb_allocate_problem check_problem(lua_State *L, int arg) {
    hwb_allocate_problem p = {0};
    luaL_checktype(L, arg, LUA_TTABLE);
    luaL_checkstack(L, 24, NULL);
    lua_getfield(L, arg, "bits");
    p.choices = (int)luaL_len(L, -1);
    double *number = push_array(L, (size_t)p.choices, sizeof *number);
    int *bits = push_array(L, (size_t)p.choices, sizeof *bits);
    lua_getfield(L, arg, "bits");
    read_numbers(L, number, p.choices, "bits");
    for (int i = 0; i < p.choices; i++) bits[i] = (int)number[i];
    p.bits = bits;
    lua_getfield(L, arg, "omega");
    p.layers = luaL_len(L, -1);
    size_t cells = (size_t)p.layers * (size_t)p.choices;
    double *omega = push_array(L, cells, sizeof *omega);
    lua_getfield(L, arg, "omega");
    read_matrix(L, omega, p.layers, p.choices, "omega");
    p.omega = omega;
    lua_getfield(L, arg, "cost");
    p.costs = (int)luaL_len(L, -1);
    double *cost = push_array(L, cells * (size_t)p.costs, sizeof *cost);
    double *limit = push_array(L, (size_t)p.costs, sizeof *limit);
    const char **name = push_array(L, (size_t)p.costs, sizeof *name);
    lua_getfield(L, arg, "limit");
    read_numbers(L, limit, p.costs, "limit");
    lua_getfield(L, arg, "cost");
    for (int k = 0; k < p.costs; k++) {
        lua_geti(L, -1, k + 1);
        read_matrix(L, cost + (size_t)k * cells, p.layers, p.choices, "cost");
        lua_pop(L, 1);
    }
    lua_getfield(L, arg, "names");
    for (int k = 0; k < p.costs; k++) {
        lua_geti(L, -1, k + 1); /* lives in the table */
        name[k] = luaL_checkstring(L, -1);
        lua_pop(L, 1);
    }
    p.cost = cost;
    p.limit = limit;
    p.cost_name = name;
    if (lua_getfield(L, arg, "tie") != LUA_TNIL) {
        double *group = push_array(L, (size_t)p.layers, sizeof *group);
        int64_t *tie = push_array(L, (size_t)p.layers, sizeof *tie);
        lua_getfield(L, arg, "tie");
        read_numbers(L, group, p.layers, "tie");
        for (int64_t i = 0; i < p.layers; i++) tie[i] = (int64_t)group[i];
        p.tie = tie;
    }
    return p;
}

static double *check_scores(lua_State *L, int arg, int64_t n, const char *what) {
    double *v = push_array(L, (size_t)n, sizeof *v);
    lua_pushvalue(L, arg);
    read_numbers(L, v, n, what);
    lua_pop(L, 1);
    return v;
}

/* List of 1-based positions -> 0-based */
static int *check_choice(lua_State *L, int arg, int64_t n) {
    double *v = check_scores(L, arg, n, "choice");
    int *choice = push_array(L, (size_t)n, sizeof *choice);
    for (int64_t i = 0; i < n; i++) choice[i] = (int)v[i] - 1;
    return choice;
}

/* {choice=, omega=, cost=, optimal=, bound=, nodes=}; frees a */
static int push_allocation(lua_State *L, hwb_allocation *a, int costs) {
    lua_createtable(L, 0, 6);
    lua_createtable(L, (int)a->layers, 0);
    for (int64_t i = 0; i < a->layers; i++) {
        lua_pushinteger(L, a->choice[i] + 1);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "choice");
    hwb__lset_numbers(L, "cost", costs, a->cost);
    hwb__lset_number(L, "omega", a->omega);
    hwb__lset_number(L, "bound", a->bound);
    hwb__lset_boolean(L, "optimal", a->optimal);
    hwb__lset_integer(L, "nodes", a->nodes);
    hwb_allocation_free(a);
    return 1;
}

static int solve(lua_State *L) { /* (problem, node_limit or nil) */
    hwb_allocate_options o = hwb_allocate_defaults();
    o.node_limit = luaL_optinteger(L, 2, o.node_limit);
    hwb_allocate_problem p = check_problem(L, 1);
    hwb_allocation a = {0};
    hwb__lcheck(L, hwb_allocate_solve(hwb_lua_ctx(L), &a, &p, &o));
    return push_allocation(L, &a, p.costs);
}

static int hawq_v1(lua_State *L) { /* (problem, lambda, numel, node_limit or nil) */
    hwb_allocate_options o = hwb_allocate_defaults();
    int64_t limit = luaL_optinteger(L, 4, o.node_limit);
    hwb_allocate_problem p = check_problem(L, 1);
    double *lambda = check_scores(L, 2, p.layers, "lambda");
    double *n = check_scores(L, 3, p.layers, "n");
    int64_t *numel = push_array(L, (size_t)p.layers, sizeof *numel);
    for (int64_t i = 0; i < p.layers; i++) numel[i] = (int64_t)n[i];
    hwb_allocation a = {0};
    hwb__lcheck(L, hwb_allocate_hawq_v1(hwb_lua_ctx(L), &a, &p, lambda, numel, limit));
    return push_allocation(L, &a, p.costs);
}

static int evaluate(lua_State *L) { /* (problem, choice) */
    hwb_allocate_problem p = check_problem(L, 1);
    int *choice = check_choice(L, 2, p.layers);
    hwb_allocation a = {0};
    hwb__lcheck(L, hwb_allocate_evaluate(hwb_lua_ctx(L), &a, &p, choice));
    return push_allocation(L, &a, p.costs);
}

static int reverse(lua_State *L) { /* (problem, score, choice of the plan) */
    hwb_allocate_problem p = check_problem(L, 1);
    double *score = check_scores(L, 2, p.layers, "score");
    int *choice = check_choice(L, 3, p.layers);
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_allocation plan = {0}, a = {0};
    hwb__lcheck(L, hwb_allocate_evaluate(ctx, &plan, &p, choice));
    hwb_status st = hwb_allocate_reverse(ctx, &a, &p, score, &plan);
    hwb_allocation_free(&plan);
    hwb__lcheck(L, st);
    return push_allocation(L, &a, p.costs);
}

/* A frontier is userdata: #f, f:point(i) -> cost, omega, list of choices */
#define FRONTIER "hwb.frontier"

static int frontier(lua_State *L) { /* (problem, which, max_points) -> frontier */
    hwb_allocate_problem p = check_problem(L, 1);
    int which = (int)luaL_checkinteger(L, 2) - 1;
    int64_t max_points = luaL_optinteger(L, 3, 0);
    hwb_frontier *f = push_array(L, 0, sizeof *f);
    luaL_setmetatable(L, FRONTIER);
    hwb__lcheck(L, hwb_allocate_frontier(hwb_lua_ctx(L), f, &p, which, max_points));
    return 1;
}

static int frontier_gc(lua_State *L) {
    hwb_frontier *f = luaL_checkudata(L, 1, FRONTIER);
    hwb_frontier_free(f);
    *f = (hwb_frontier){0};
    return 0;
}

static int frontier_len(lua_State *L) {
    lua_pushinteger(L, ((hwb_frontier *)luaL_checkudata(L, 1, FRONTIER))->count);
    return 1;
}

static int frontier_point(lua_State *L) {
    hwb_frontier *f = luaL_checkudata(L, 1, FRONTIER);
    lua_Integer i = luaL_checkinteger(L, 2) - 1;
    luaL_argcheck(L, i >= 0 && i < f->count, 2, "no such point");
    lua_pushnumber(L, f->cost[i]);
    lua_pushnumber(L, f->omega[i]);
    lua_createtable(L, (int)f->layers, 0);
    for (int64_t l = 0; l < f->layers; l++) {
        lua_pushinteger(L, f->choice[i * f->layers + l] + 1);
        lua_rawseti(L, -2, l + 1);
    }
    return 3;
}

static int frontier_exact(lua_State *L) { /* -> exact, epsilon */
    hwb_frontier *f = luaL_checkudata(L, 1, FRONTIER);
    lua_pushboolean(L, f->exact);
    lua_pushnumber(L, f->epsilon);
    return 2;
}

static const luaL_Reg functions[] = {
    {"solve", solve},     {"hawq_v1", hawq_v1},   {"evaluate", evaluate},
    {"reverse", reverse}, {"frontier", frontier}, {NULL, NULL},
};

void hwb__lopen_allocate(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"point", frontier_point}, {"exact", frontier_exact}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", frontier_gc}, {"__len", frontier_len}, {NULL, NULL}};
    hwb__lclass(L, FRONTIER, meta, methods);
    lua_getfield(L, -1, "engine");
    lua_getfield(L, -1, "quant");
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 2);
}
