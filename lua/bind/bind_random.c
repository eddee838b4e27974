/*
 * bind_random.c: random tensors.
 *
 * Every call takes the next stream of one counter under one seed (Philox), so
 * element i of the k-th draw is a pure function of (seed, k, i).
 */
#include "bind_tensor_i.h"

static hwb_rng next_stream(lua_State *L) {
    hwb__lstate *s = hwb__lstate_of(L);
    return (hwb_rng){s->seed, hwb_rng_stream("tensor", s->draws++, 0)};
}

static int manual_seed(lua_State *L) {
    hwb__lstate *s = hwb__lstate_of(L);
    s->seed = (uint64_t)luaL_checkinteger(L, 1);
    s->draws = 0;
    return 0;
}

/* {seed=, draws=}: plain numbers, so that it can be stored anywhere */
static int get_rng_state(lua_State *L) {
    const hwb__lstate *s = hwb__lstate_of(L);
    lua_createtable(L, 0, 2);
    hwb__lset_integer(L, "seed", (lua_Integer)s->seed);
    hwb__lset_integer(L, "draws", (lua_Integer)s->draws);
    return 1;
}

static int set_rng_state(lua_State *L) {
    static const char *const known[] = {"seed", "draws", NULL};
    luaL_checktype(L, 1, LUA_TTABLE);
    hwb__lcheck_options(L, 1, known);
    hwb__lstate *s = hwb__lstate_of(L);
    s->seed = (uint64_t)hwb__lopt_integer(L, 1, "seed", 0);
    s->draws = (uint64_t)hwb__lopt_integer(L, 1, "draws", 0);
    return 0;
}

/* A float tensor in a userdata at the top. */
static hwb_tensor *push_float(lua_State *L, hwb_shape shape, int options) {
    hwb_dtype d = hwb__lopt_dtype(L, options, HWB_F32);
    if (!hwb_dtype_is_float(d))
        luaL_error(L, "random numbers are float32 or float64, not %s", hwb_dtype_name(d));
    return hwb__lpush_new(L, d, shape);
}

typedef hwb_status (*fill_fn)(hwb_ctx *, hwb_tensor *, hwb_rng);

static int fill_new(lua_State *L, fill_fn fill) {
    int next;
    hwb_shape s = hwb__lcheck_shape(L, 1, &next);
    hwb_tensor *t = push_float(L, s, next);
    hwb__lcheck(L, fill(hwb_lua_ctx(L), t, next_stream(L)));
    return 1;
}

static int random_rand(lua_State *L) {
    return fill_new(L, hwb_tensor_fill_uniform);
}
static int random_randn(lua_State *L) {
    return fill_new(L, hwb_tensor_fill_normal);
}
static int random_rademacher(lua_State *L) {
    return fill_new(L, hwb_tensor_fill_rademacher);
}

static int fill_like(lua_State *L, fill_fn fill) {
    const hwb__ltensor *x = hwb__lcheck_any(L, 1);
    hwb_dtype d = hwb__lopt_dtype(L, 2, hwb__ldtype(x));
    hwb_tensor *t = hwb__lpush_new(L, d, *hwb__lshape(x));
    hwb__lcheck(L, fill(hwb_lua_ctx(L), t, next_stream(L)));
    return 1;
}

static int random_rand_like(lua_State *L) {
    return fill_like(L, hwb_tensor_fill_uniform);
}
static int random_randn_like(lua_State *L) {
    return fill_like(L, hwb_tensor_fill_normal);
}

/* randperm(n): 1..n in random order, int64 */
static int random_randperm(lua_State *L) {
    hwb_shape s = {.ndim = 1, .dim = {luaL_checkinteger(L, 1)}};
    hwb_tensor *t = hwb__lpush_new(L, HWB_I64, s);
    int64_t *v = hwb_tensor_data(t);
    hwb_rng_permutation(next_stream(L), s.dim[0], v);
    for (int64_t i = 0; i < s.dim[0]; i++) v[i]++;
    return 1;
}

/* randint(lo, hi, sizes...): int64 in lo..hi, both included */
static int random_randint(lua_State *L) {
    lua_Integer lo = luaL_checkinteger(L, 1), hi = luaL_checkinteger(L, 2);
    luaL_argcheck(L, lo <= hi, 2, "the upper end lies below the lower");
    int next;
    hwb_shape s = hwb__lcheck_shape(L, 3, &next);
    hwb_tensor *t = hwb__lpush_new(L, hwb__lopt_dtype(L, next, HWB_I64), s);
    hwb_rng rng = next_stream(L);
    uint64_t width = (uint64_t)hi - (uint64_t)lo + 1;
    luaL_argcheck(L, width != 0, 2, "the range is too wide");
    int64_t *exact = hwb_tensor_dtype(t) == HWB_I64 ? hwb_tensor_data(t) : NULL;
    for (int64_t i = 0; i < hwb_tensor_numel(t); i++) {
        int64_t v = lo + (int64_t)hwb_rng_below(rng, (uint64_t)i, width);
        if (exact) exact[i] = v;
        else hwb_tensor_set(t, i, (double)v);
    }
    return 1;
}

void hwb__lopen_random(lua_State *L) {
    static const luaL_Reg functions[] = {{"manual_seed", manual_seed},
                                         {"get_rng_state", get_rng_state},
                                         {"set_rng_state", set_rng_state},
                                         {"rand", random_rand},
                                         {"randn", random_randn},
                                         {"rademacher", random_rademacher},
                                         {"rand_like", random_rand_like},
                                         {"randn_like", random_randn_like},
                                         {"randperm", random_randperm},
                                         {"randint", random_randint},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
