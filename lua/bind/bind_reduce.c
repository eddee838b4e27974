/*
 * bind_reduce.c: reductions and products.
 *
 *   t:sum()  t:sum(1)  t:sum({1,2}, {keep=true})
 *
 * Axes are 1-based; none means all.  max and min over all dims give a scalar
 * tensor; over one dim they give values and 1-based indices.
 */
#include "bind_tensor_i.h"

#include <math.h>
#include <string.h>

static const char *const keep_only[] = {"keep", NULL};

/* The arguments of a reduction: (x, axes, options). */
typedef struct reduction {
    hwb__lcall c;
    uint32_t axes;
    bool keep;
    double count; /* elements that make one result */
} reduction;

static void begin(reduction *r, lua_State *L, const char *const *known, int *options) {
    const hwb_shape *s = hwb__lshape(hwb__lcheck_any(L, 1));
    r->axes = hwb__lcheck_axes(L, 2, s->ndim, known, options);
    r->keep = hwb__lopt_boolean(L, *options, "keep", false);
    r->count = 1;
    for (int i = 0; i < s->ndim; i++)
        if (r->axes == 0 || r->axes >> i & 1) r->count *= (double)s->dim[i];
}

/* ---- sums ------------------------------------------------------------------------------ */

static int reduce_sum(lua_State *L) {
    reduction r;
    int options;
    hwb_id y = HWB_NONE;
    begin(&r, L, keep_only, &options);
    hwb__lbegin(&r.c, L, 1, 1);
    hwb_status st = hwb__las_number(r.c.g, &r.c.in[0]);
    if (st == HWB_OK) st = hwb_sum(r.c.g, &y, r.c.in[0], r.axes, r.keep);
    return hwb__lend(&r.c, st, 1, &y);
}

static int reduce_mean(lua_State *L) {
    reduction r;
    int options;
    hwb_id y = HWB_NONE;
    begin(&r, L, keep_only, &options);
    hwb__lbegin(&r.c, L, 1, 1);
    hwb_status st = hwb__las_float(r.c.g, &r.c.in[0]);
    if (st == HWB_OK) st = hwb_mean(r.c.g, &y, r.c.in[0], r.axes, r.keep);
    return hwb__lend(&r.c, st, 1, &y);
}

/* sum (x - mean)^2 / (n - correction) */
static int variance(lua_State *L, bool root) {
    static const char *const known[] = {"keep", "correction", NULL};
    reduction r;
    int options;
    hwb_id y = HWB_NONE;
    begin(&r, L, known, &options);
    double correction = hwb__lopt_number(L, options, "correction", 1.0);
    hwb__lbegin(&r.c, L, 1, 1);
    hwb_status st = hwb__las_float(r.c.g, &r.c.in[0]);
    if (st == HWB_OK) st = hwb_var(r.c.g, &y, r.c.in[0], r.axes, r.keep);
    if (st == HWB_OK && correction != 0)
        st = hwb_mul_scalar(r.c.g, &y, y, r.count / (r.count - correction));
    if (st == HWB_OK && root) st = hwb_sqrt(r.c.g, &y, y);
    return hwb__lend(&r.c, st, 1, &y);
}

static int reduce_var(lua_State *L) {
    return variance(L, false);
}
static int reduce_std(lua_State *L) {
    return variance(L, true);
}

/* (sum |x|^p)^(1/p) */
static hwb_status build_norm(reduction *r, hwb_id *y, double p) {
    hwb_graph *g = r->c.g;
    hwb_id x = r->c.in[0], c;
    if (p == 2.0) {
        HWB_TRY(hwb_mul(g, &x, x, x));
        HWB_TRY(hwb_sum(g, &x, x, r->axes, r->keep));
        return hwb_sqrt(g, y, x);
    }
    HWB_TRY(hwb_abs(g, &x, x));
    if (isinf(p)) return hwb_max(g, y, x, r->axes, r->keep);
    if (p == 1.0) return hwb_sum(g, y, x, r->axes, r->keep);
    HWB_TRY(hwb_scalar(g, &c, x, p));
    HWB_TRY(hwb_pow(g, &x, x, c));
    HWB_TRY(hwb_sum(g, &x, x, r->axes, r->keep));
    HWB_TRY(hwb_scalar(g, &c, x, 1.0 / p));
    return hwb_pow(g, y, x, c);
}

static int reduce_norm(lua_State *L) {
    static const char *const known[] = {"keep", "p", NULL};
    reduction r;
    int options;
    hwb_id y = HWB_NONE;
    begin(&r, L, known, &options);
    double p = hwb__lopt_number(L, options, "p", 2.0);
    if (!(p > 0)) return luaL_error(L, "norm: p must be positive");
    hwb__lbegin(&r.c, L, 1, 1);
    hwb_status st = hwb__las_float(r.c.g, &r.c.in[0]);
    if (st == HWB_OK) st = build_norm(&r, &y, p);
    return hwb__lend(&r.c, st, 1, &y);
}

/* ---- order ---------------------------------------------------------------------------------- */

/* values, and for one axis the 1-based places; the minimum is -max(-x) */
static hwb_status build_extreme(reduction *r, hwb_id y[2], int axis, bool least, hwb_dtype dtype) {
    hwb_graph *g = r->c.g;
    hwb_id x = r->c.in[0];
    HWB_TRY(hwb__las_number(g, &x));
    if (least) HWB_TRY(hwb_neg(g, &x, x));
    HWB_TRY(hwb_max(g, &y[0], x, r->axes, r->keep));
    if (least) HWB_TRY(hwb_neg(g, &y[0], y[0]));
    HWB_TRY(hwb_cast(g, &y[0], y[0], dtype));
    if (axis < 0) return HWB_OK;
    HWB_TRY(hwb_argmax(g, &y[1], x, axis, r->keep));
    return hwb_add_scalar(g, &y[1], y[1], 1.0);
}

static int extreme(lua_State *L, bool least) {
    reduction r;
    int options;
    hwb_id y[2] = {HWB_NONE, HWB_NONE};
    begin(&r, L, keep_only, &options);
    int axis = lua_type(L, 2) == LUA_TNUMBER ? __builtin_ctz(r.axes) : -1;
    hwb__lbegin(&r.c, L, 1, 1);
    hwb_status st = build_extreme(&r, y, axis, least, hwb_graph_dtype(r.c.g, r.c.in[0]));
    return hwb__lend(&r.c, st, axis < 0 ? 1 : 2, y);
}

static int reduce_max(lua_State *L) {
    return extreme(L, false);
}
static int reduce_min(lua_State *L) {
    return extreme(L, true);
}

/* argmax(dim), or of all elements in row-major order */
static int place(lua_State *L, bool least) {
    reduction r;
    int options;
    hwb_id y = HWB_NONE;
    begin(&r, L, keep_only, &options);
    if (lua_type(L, 2) == LUA_TTABLE && options == 3)
        return luaL_argerror(L, 2, "one dim, or none for all elements");
    int axis = r.axes ? __builtin_ctz(r.axes) : -1;
    hwb__lbegin(&r.c, L, 1, 1);
    hwb_id x = r.c.in[0];
    hwb_status st = hwb__las_number(r.c.g, &x);
    if (st == HWB_OK && least) st = hwb_neg(r.c.g, &x, x);
    if (st == HWB_OK && axis < 0) {
        st = hwb_reshape(r.c.g, &x, x, (hwb_shape){.ndim = 1, .dim = {-1}});
        axis = 0;
        r.keep = false;
    }
    if (st == HWB_OK) st = hwb_argmax(r.c.g, &y, x, axis, r.keep);
    if (st == HWB_OK) st = hwb_add_scalar(r.c.g, &y, y, 1.0);
    return hwb__lend(&r.c, st, 1, &y);
}

static int reduce_argmax(lua_State *L) {
    return place(L, false);
}
static int reduce_argmin(lua_State *L) {
    return place(L, true);
}

/* any, all: of truth values, as bool */
static int truth(lua_State *L, bool all) {
    reduction r;
    int options;
    hwb_id y = HWB_NONE;
    begin(&r, L, keep_only, &options);
    hwb__lbegin(&r.c, L, 1, 1);
    hwb_id x = r.c.in[0];
    hwb_status st = hwb_cast(r.c.g, &x, x, HWB_BOOL);
    if (st == HWB_OK) st = hwb_cast(r.c.g, &x, x, HWB_I64);
    if (st == HWB_OK) st = hwb_sum(r.c.g, &y, x, r.axes, r.keep);
    if (st == HWB_OK) st = hwb_scalar(r.c.g, &x, y, all ? r.count : 0.0);
    if (st == HWB_OK) st = all ? hwb_eq(r.c.g, &y, y, x) : hwb_ne(r.c.g, &y, y, x);
    return hwb__lend(&r.c, st, 1, &y);
}

static int reduce_any(lua_State *L) {
    return truth(L, false);
}
static int reduce_all(lua_State *L) {
    return truth(L, true);
}

/* ---- products ----------------------------------------------------------------------------------- */

/* `name` of operands with the ranks ra and rb (0: any); inner sizes must agree. */
static int product(lua_State *L, const char *name, int ra, int rb) {
    hwb__lcall c;
    hwb_id y = HWB_NONE;
    const hwb__ltensor *a = hwb__lcheck_any(L, 1), *b = hwb__lcheck_any(L, 2);
    hwb_shape sa = *hwb__lshape(a), sb = *hwb__lshape(b);
    char ta[HWB_SHAPE_TEXT], tb[HWB_SHAPE_TEXT];
    if ((ra && sa.ndim != ra) || (rb && sb.ndim != rb))
        return luaL_error(L, "%s: [%s] x [%s]: wants tensors with %d and %d dims", name,
                          hwb_shape_text(&sa, ta), hwb_shape_text(&sb, tb), ra, rb);
    if (sa.ndim && sb.ndim) {
        int64_t ka = sa.dim[sa.ndim - 1], kb = sb.dim[sb.ndim > 1 ? sb.ndim - 2 : 0];
        if (ka != kb)
            return luaL_error(L, "%s: [%s] x [%s]: inner sizes %I and %I differ", name,
                              hwb_shape_text(&sa, ta), hwb_shape_text(&sb, tb), (LUAI_UACINT)ka,
                              (LUAI_UACINT)kb);
    }
    if (hwb__ldtype(a) != hwb__ldtype(b))
        return luaL_error(L, "%s: %s x %s: convert one by :to", name,
                          hwb_dtype_name(hwb__ldtype(a)), hwb_dtype_name(hwb__ldtype(b)));
    hwb__lbegin(&c, L, 1, 2);
    return hwb__lend(&c, hwb_matmul(c.g, &y, c.in[0], c.in[1]), 1, &y);
}

static int op_matmul(lua_State *L) {
    return product(L, "matmul", 0, 0);
}
static int op_mm(lua_State *L) {
    return product(L, "mm", 2, 2);
}
static int op_mv(lua_State *L) {
    return product(L, "mv", 2, 1);
}
static int op_bmm(lua_State *L) {
    return product(L, "bmm", 3, 3);
}
static int op_dot(lua_State *L) {
    return product(L, "dot", 1, 1);
}

/* ger: outer product of two vectors */
static int op_ger(lua_State *L) {
    hwb__lcall c;
    hwb_id y = HWB_NONE;
    for (int i = 1; i <= 2; i++)
        if (hwb__lshape(hwb__lcheck_any(L, i))->ndim != 1)
            return luaL_argerror(L, i, "ger multiplies two vectors");
    hwb__lbegin(&c, L, 1, 2);
    hwb_status st = hwb_unsqueeze(c.g, &c.in[0], c.in[0], 1);
    if (st == HWB_OK) st = hwb_mul(c.g, &y, c.in[0], c.in[1]);
    return hwb__lend(&c, st, 1, &y);
}

void hwb__lopen_reduce(lua_State *L) {
    static const luaL_Reg operations[] = {{"sum", reduce_sum},
                                          {"mean", reduce_mean},
                                          {"var", reduce_var},
                                          {"std", reduce_std},
                                          {"norm", reduce_norm},
                                          {"max", reduce_max},
                                          {"min", reduce_min},
                                          {"argmax", reduce_argmax},
                                          {"argmin", reduce_argmin},
                                          {"any", reduce_any},
                                          {"all", reduce_all},
                                          {"matmul", op_matmul},
                                          {"mm", op_mm},
                                          {"mv", op_mv},
                                          {"bmm", op_bmm},
                                          {"dot", op_dot},
                                          {"ger", op_ger},
                                          {NULL, NULL}};
    hwb__lset_methods(L, operations);
    luaL_setfuncs(L, operations, 0);
}
