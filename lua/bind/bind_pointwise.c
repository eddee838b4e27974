/*
 * bind_pointwise.c: pointwise operations: methods, functions and operators.
 *
 * Arithmetic on uint8 and bool is done in int64; functions of real numbers and
 * `/` make float32 of integers.
 */
#include "bind_tensor_i.h"

/* ---- the primitives, from the engine's own lists ----------------------------------- */

typedef hwb_status (*unary_fn)(hwb_graph *, hwb_id *, hwb_id);
typedef hwb_status (*binary_fn)(hwb_graph *, hwb_id *, hwb_id, hwb_id);

static int call_unary(lua_State *L, unary_fn f, hwb_op op) {
    hwb__lcall c;
    hwb_id y = HWB_NONE;
    hwb__lbegin(&c, L, 1, 1);
    hwb_status st = HWB_OK;
    switch (op) {
    case HWB_OP_STOP: break;
    case HWB_OP_NEG:
    case HWB_OP_RELU:
    case HWB_OP_ABS:
    case HWB_OP_SIGN: st = hwb__las_number(c.g, &c.in[0]); break;
    default: st = hwb__las_float(c.g, &c.in[0]); break;
    }
    if (st == HWB_OK) st = f(c.g, &y, c.in[0]);
    return hwb__lend(&c, st, 1, &y);
}

static hwb_status both(hwb_graph *g, hwb_id *in, hwb_status (*as)(hwb_graph *g, hwb_id *x)) {
    HWB_TRY(as(g, &in[0]));
    return as(g, &in[1]);
}

/* float32 in place of integers, unless the other one is a float already. */
static hwb_status floats(hwb_graph *g, hwb_id *in) {
    if (hwb_dtype_is_float(hwb_graph_dtype(g, in[0])) ||
        hwb_dtype_is_float(hwb_graph_dtype(g, in[1])))
        return HWB_OK; /* promotion does the rest */
    return both(g, in, hwb__las_float);
}

static int call_binary(lua_State *L, binary_fn f, hwb_op op, bool swapped) {
    hwb__lcall c;
    hwb_id y = HWB_NONE;
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) luaL_typeerror(L, 2, "tensor or number");
    hwb__lbegin(&c, L, 1, 2);
    hwb_status st = HWB_OK;
    switch (op) {
    case HWB_OP_DIV:
    case HWB_OP_POW: st = floats(c.g, c.in); break;
    case HWB_OP_LT:
    case HWB_OP_LE:
    case HWB_OP_EQ:
    case HWB_OP_NE: break;
    default: st = both(c.g, c.in, hwb__las_number); break;
    }
    if (st == HWB_OK) st = f(c.g, &y, c.in[swapped], c.in[!swapped]);
    return hwb__lend(&c, st, 1, &y);
}

#define XX(name, op)                                                                               \
    static int op_##name(lua_State *L) {                                                           \
        return call_unary(L, hwb_##name, HWB_OP_##op);                                             \
    }
HWB_UNARY_MAP(XX)
#undef XX

#define XX(name, op)                                                                               \
    static int op_##name(lua_State *L) {                                                           \
        return call_binary(L, hwb_##name, HWB_OP_##op, false);                                     \
    }
HWB_BINARY_MAP(XX)
#undef XX

static int op_gt(lua_State *L) {
    return call_binary(L, hwb_lt, HWB_OP_LT, true);
}
static int op_ge(lua_State *L) {
    return call_binary(L, hwb_le, HWB_OP_LE, true);
}

/* ---- made of them ------------------------------------------------------------------------ */

#define UNARY(name, as, build)                                                                     \
    static int op_##name(lua_State *L) {                                                           \
        hwb__lcall c;                                                                              \
        hwb_id y = HWB_NONE;                                                                       \
        hwb__lbegin(&c, L, 1, 1);                                                                  \
        hwb_status st = as(c.g, &c.in[0]);                                                         \
        if (st == HWB_OK) st = build(c.g, &y, c.in[0]);                                            \
        return hwb__lend(&c, st, 1, &y);                                                           \
    }

static hwb_status build_square(hwb_graph *g, hwb_id *y, hwb_id x) {
    return hwb_mul(g, y, x, x);
}

static hwb_status build_reciprocal(hwb_graph *g, hwb_id *y, hwb_id x) {
    hwb_id one;
    HWB_TRY(hwb_scalar(g, &one, x, 1.0));
    return hwb_div(g, y, one, x);
}

static hwb_status build_rsqrt(hwb_graph *g, hwb_id *y, hwb_id x) {
    HWB_TRY(hwb_sqrt(g, &x, x));
    return build_reciprocal(g, y, x);
}

/* -floor(-x) */
static hwb_status build_ceil(hwb_graph *g, hwb_id *y, hwb_id x) {
    HWB_TRY(hwb_neg(g, &x, x));
    HWB_TRY(hwb_floor(g, &x, x));
    return hwb_neg(g, y, x);
}

static hwb_status build_not(hwb_graph *g, hwb_id *y, hwb_id x) {
    hwb_id zero;
    HWB_TRY(hwb_zeros_like(g, &zero, x));
    return hwb_eq(g, y, x, zero);
}

static hwb_status as_is(hwb_graph *g, hwb_id *x) {
    (void)g, (void)x;
    return HWB_OK;
}

UNARY(square, hwb__las_number, build_square)
UNARY(reciprocal, hwb__las_float, build_reciprocal)
UNARY(rsqrt, hwb__las_float, build_rsqrt)
UNARY(ceil, hwb__las_float, build_ceil)
UNARY(gelu, hwb__las_float, hwb_gelu)
UNARY(gelu_tanh, hwb__las_float, hwb_gelu_tanh)
UNARY(silu, hwb__las_float, hwb_silu)
UNARY(softplus, hwb__las_float, hwb_softplus)
UNARY(logical_not, as_is, build_not)

/* Truth values of a and b combined: x != 0. */
static int call_logical(lua_State *L, binary_fn f) {
    hwb__lcall c;
    hwb_id y = HWB_NONE;
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) luaL_typeerror(L, 2, "tensor");
    hwb__lbegin(&c, L, 1, 2);
    hwb_status st = HWB_OK;
    for (int i = 0; i < 2 && st == HWB_OK; i++) {
        st = hwb_cast(c.g, &c.in[i], c.in[i], HWB_BOOL);
        if (st == HWB_OK) st = hwb_cast(c.g, &c.in[i], c.in[i], HWB_I32);
    }
    if (st == HWB_OK) st = f(c.g, &y, c.in[0], c.in[1]);
    if (st == HWB_OK) st = hwb_cast(c.g, &y, y, HWB_BOOL);
    return hwb__lend(&c, st, 1, &y);
}

static int op_logical_and(lua_State *L) {
    return call_logical(L, hwb_minimum);
}
static int op_logical_or(lua_State *L) {
    return call_logical(L, hwb_maximum);
}
static int op_logical_xor(lua_State *L) {
    return call_logical(L, hwb_ne);
}

/* floor(a / b), in float when an argument is one */
static hwb_status build_floor_div(hwb_graph *g, hwb_id *y, hwb_id a, hwb_id b) {
    hwb_id q;
    HWB_TRY(hwb_div(g, &q, a, b));
    return hwb_floor(g, y, q);
}

/* a - floor(a / b) * b: the sign of b, as Lua's % */
static hwb_status build_mod(hwb_graph *g, hwb_id *y, hwb_id a, hwb_id b) {
    hwb_id q;
    HWB_TRY(build_floor_div(g, &q, a, b));
    HWB_TRY(hwb_mul(g, &q, q, b));
    return hwb_sub(g, y, a, q);
}

/* Integers are divided in float64, which is exact below 2^53, and stay integers. */
static int call_division(lua_State *L, binary_fn f) {
    hwb__lcall c;
    hwb_id y = HWB_NONE;
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) luaL_typeerror(L, 2, "tensor or number");
    hwb__lbegin(&c, L, 1, 2);
    hwb_dtype a = hwb_graph_dtype(c.g, c.in[0]), b = hwb_graph_dtype(c.g, c.in[1]);
    bool whole = !hwb_dtype_is_float(a) && !hwb_dtype_is_float(b);
    hwb_status st = HWB_OK;
    for (int i = 0; whole && i < 2 && st == HWB_OK; i++)
        st = hwb_cast(c.g, &c.in[i], c.in[i], HWB_F64);
    if (st == HWB_OK) st = f(c.g, &y, c.in[0], c.in[1]);
    if (st == HWB_OK && whole)
        st = hwb_cast(c.g, &y, y, a == HWB_I32 && b == HWB_I32 ? HWB_I32 : HWB_I64);
    return hwb__lend(&c, st, 1, &y);
}

static int op_floor_div(lua_State *L) {
    return call_division(L, build_floor_div);
}
static int op_mod(lua_State *L) {
    return call_division(L, build_mod);
}

/* clamp(x, lo, hi): either bound may be nil */
static int op_clamp(lua_State *L) {
    hwb__lcall c;
    hwb_id y;
    lua_settop(L, 3);
    if (lua_isnil(L, 2) && lua_isnil(L, 3)) return luaL_argerror(L, 2, "clamp wants a bound");
    hwb__lbegin(&c, L, 1, 3);
    hwb_status st = hwb__las_number(c.g, &c.in[0]);
    y = c.in[0];
    if (st == HWB_OK && c.in[1] != HWB_NONE) st = hwb_maximum(c.g, &y, y, c.in[1]);
    if (st == HWB_OK && c.in[2] != HWB_NONE) st = hwb_minimum(c.g, &y, y, c.in[2]);
    return hwb__lend(&c, st, 1, &y);
}

/* x + value * a * b */
static int op_addcmul(lua_State *L) {
    hwb__lcall c;
    hwb_id y = HWB_NONE;
    lua_settop(L, 4);
    if (lua_isnil(L, 4)) {
        lua_pushnumber(L, 1.0);
        lua_replace(L, 4);
    }
    luaL_checktype(L, 4, LUA_TNUMBER);
    for (int i = 1; i <= 3; i++) hwb__lcheck_any(L, i);
    hwb__lbegin(&c, L, 1, 4);
    hwb_status st = hwb_mul(c.g, &y, c.in[1], c.in[2]);
    if (st == HWB_OK) st = hwb_mul(c.g, &y, y, c.in[3]);
    if (st == HWB_OK) st = hwb_add(c.g, &y, c.in[0], y);
    return hwb__lend(&c, st, 1, &y);
}

/* where(cond, a, b): numbers take the dtype of the other, or float32 */
static int op_where(lua_State *L) {
    hwb__lcall c;
    hwb_id y = HWB_NONE, in[2] = {HWB_NONE, HWB_NONE};
    lua_settop(L, 3);
    hwb__lcheck_any(L, 1);
    hwb_dtype d = HWB_F32;
    for (int i = 2; i <= 3; i++) {
        if (lua_type(L, i) == LUA_TNUMBER) continue;
        d = hwb__ldtype(hwb__lcheck_any(L, i));
    }
    hwb__lbegin(&c, L, 1, 3);
    hwb_status st = hwb_cast(c.g, &c.in[0], c.in[0], HWB_BOOL);
    for (int i = 0; i < 2 && st == HWB_OK; i++) {
        in[i] = c.in[i + 1];
        if (lua_type(L, i + 2) == LUA_TNUMBER) st = hwb__llift_number(&c, &in[i], L, i + 2, d);
    }
    if (st == HWB_OK) st = hwb_where(c.g, &y, c.in[0], in[0], in[1]);
    return hwb__lend(&c, st, 1, &y);
}

/* ---- comparison of single numbers ------------------------------------------------------------ */

static double single(lua_State *L, int arg, const char *name) {
    if (lua_type(L, arg) == LUA_TNUMBER) return lua_tonumber(L, arg);
    const hwb_tensor *t = hwb__lcheck_tensor(L, arg);
    if (hwb_tensor_numel(t) != 1) {
        char text[HWB_SHAPE_TEXT];
        luaL_error(L, "%s compares single numbers, not a tensor %s; use a:lt(b), a:le(b), ...",
                   name, hwb_shape_text(hwb_tensor_shape(t), text));
    }
    return hwb_tensor_get(t, 0);
}

static int meta_lt(lua_State *L) {
    lua_pushboolean(L, single(L, 1, "<") < single(L, 2, "<"));
    return 1;
}

static int meta_le(lua_State *L) {
    lua_pushboolean(L, single(L, 1, "<=") <= single(L, 2, "<="));
    return 1;
}

/* ---- registration -------------------------------------------------------------------------------- */

#define XX(name, op) {#name, op_##name},
static const luaL_Reg operations[] = {HWB_UNARY_MAP(XX) HWB_BINARY_MAP(XX){"gt", op_gt},
                                      {"ge", op_ge},
                                      {"square", op_square},
                                      {"reciprocal", op_reciprocal},
                                      {"rsqrt", op_rsqrt},
                                      {"ceil", op_ceil},
                                      {"gelu", op_gelu},
                                      {"gelu_tanh", op_gelu_tanh},
                                      {"silu", op_silu},
                                      {"softplus", op_softplus},
                                      {"logical_not", op_logical_not},
                                      {"logical_and", op_logical_and},
                                      {"logical_or", op_logical_or},
                                      {"logical_xor", op_logical_xor},
                                      {"floor_div", op_floor_div},
                                      {"mod", op_mod},
                                      {"clamp", op_clamp},
                                      {"addcmul", op_addcmul},
                                      {"where", op_where},
                                      {NULL, NULL}};
#undef XX

void hwb__lopen_pointwise(lua_State *L) {
    static const luaL_Reg meta[] = {
        {"__add", op_add},          {"__sub", op_sub},          {"__mul", op_mul},
        {"__div", op_div},          {"__pow", op_pow},          {"__unm", op_neg},
        {"__idiv", op_floor_div},   {"__mod", op_mod},          {"__lt", meta_lt},
        {"__le", meta_le},          {"__band", op_logical_and}, {"__bor", op_logical_or},
        {"__bxor", op_logical_xor}, {"__bnot", op_logical_not}, {NULL, NULL}};
    hwb__lset_methods(L, operations);
    hwb__lset_metamethods(L, meta);
    luaL_setfuncs(L, operations, 0);
}
