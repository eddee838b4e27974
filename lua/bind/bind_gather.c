/*
 * bind_gather.c: picking and scattering by index tensors.  Indices are 1-based
 * in Lua and made 0-based int64 inside the graph.
 *
 *   index_select(dim, i)      whole parts along dim, in the order of i (any rank)
 *   gather(dim, i)            y[a,b] = x[i[a,b], b]     (dim 1; i has x's rank)
 *   index_add(dim, i, u)      x with part u[k] added at i[k]
 *   scatter_add(dim, i, u)    x with u[a,b] added at [i[a,b], b]
 *
 * gather and scatter_add work on the elements in a row: the flat place of
 * i[a,b] is (i[a,b]-1)*stride + b*stride', made of constants and i.
 */
#include "bind_tensor_i.h"

hwb_status hwb__lzero_based(hwb_graph *g, hwb_id *out, hwb_id index) {
    HWB_TRY(hwb_cast(g, out, index, HWB_I64));
    return hwb_add_scalar(g, out, *out, -1.0);
}

void hwb__lcheck_indices(lua_State *L, int arg, int64_t n, const char *what) {
    const hwb__ltensor *i = hwb__lcheck_any(L, arg);
    hwb_dtype d = hwb__ldtype(i);
    if (d != HWB_I64 && d != HWB_I32 && d != HWB_U8)
        luaL_error(L, "%s must be integers, not %s; convert by :long()", what, hwb_dtype_name(d));
    if (!i->t) return; /* a traced index is not known yet */
    for (int64_t k = 0; k < hwb_tensor_numel(i->t); k++) {
        int64_t v = hwb_tensor_get_int(i->t, k);
        if (v < 1 || v > n)
            luaL_error(L, "%s %I (element %I) is outside 1..%I", what, (LUAI_UACINT)v,
                       (LUAI_UACINT)k + 1, (LUAI_UACINT)n);
    }
}

/* index_select(x, dim, index) */
static int op_index_select(lua_State *L) {
    const hwb_shape *s = hwb__lshape(hwb__lcheck_any(L, 1));
    int axis = hwb__lcheck_axis(L, 2, s->ndim);
    hwb__lcheck_indices(L, 3, s->dim[axis], "index_select: index");
    hwb__lcall c;
    hwb_id y = HWB_NONE, at = HWB_NONE;
    lua_settop(L, 3);
    lua_remove(L, 2);
    hwb__lbegin(&c, L, 1, 2);
    hwb_status st = hwb__lzero_based(c.g, &at, c.in[1]);
    if (st == HWB_OK) st = hwb_gather(c.g, &y, c.in[0], at, axis);
    return hwb__lend(&c, st, 1, &y);
}

/* embedding(weight[V,d], index[...]) -> [...,d] */
static int op_embedding(lua_State *L) {
    const hwb_shape *s = hwb__lshape(hwb__lcheck_any(L, 1));
    if (s->ndim != 2) return luaL_argerror(L, 1, "the weight of an embedding has two dims");
    lua_settop(L, 2);
    lua_pushinteger(L, 1);
    lua_insert(L, 2);
    return op_index_select(L);
}

/* ---- elementwise ---------------------------------------------------------------------------- */

/* 0..n-1 times `factor` along axis `axis` of `rank` */
static hwb_status ramp(hwb_graph *g, hwb_id *out, int rank, int axis, int64_t n, int64_t factor) {
    hwb_shape s = {.ndim = rank};
    hwb_tensor *t;
    for (int i = 0; i < rank; i++) s.dim[i] = i == axis ? n : 1;
    HWB_TRY(hwb_tensor_new(hwb_graph_ctx(g), &t, HWB_I64, s));
    for (int64_t i = 0; i < n; i++) ((int64_t *)hwb_tensor_data(t))[i] = i * factor;
    hwb_status st = hwb_graph_constant(g, out, t);
    hwb_tensor_release(t);
    return st;
}

/* Flat places in a tensor [s] that `index` (1-based, along axis) names. */
static hwb_status flat_places(hwb_graph *g, hwb_id *out, hwb_id index, const hwb_shape *s,
                              int axis) {
    hwb_shape is = *hwb_graph_shape(g, index);
    int64_t stride = 1;
    hwb_id at;
    HWB_TRY(hwb__lzero_based(g, &index, index));
    *out = HWB_NONE;
    for (int d = s->ndim - 1; d >= 0; d--) {
        if (d == axis) HWB_TRY(hwb_mul_scalar(g, &at, index, (double)stride));
        else HWB_TRY(ramp(g, &at, s->ndim, d, is.dim[d], stride));
        if (*out == HWB_NONE) *out = at;
        else HWB_TRY(hwb_add(g, out, *out, at));
        stride *= s->dim[d];
    }
    return hwb_broadcast_to(g, out, *out, is);
}

/* Index [..] beside x [..]: same rank, no larger away from the axis. */
static int check_elementwise(lua_State *L, const char *name, const char *what) {
    const hwb_shape *s = hwb__lshape(hwb__lcheck_any(L, 1));
    int axis = hwb__lcheck_axis(L, 2, s->ndim);
    const hwb_shape *is = hwb__lshape(hwb__lcheck_any(L, 3));
    char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
    bool fits = is->ndim == s->ndim;
    for (int i = 0; fits && i < s->ndim; i++) fits = i == axis || is->dim[i] <= s->dim[i];
    if (!fits)
        luaL_error(L, "%s: index [%s] for a tensor [%s] along dim %d", name, hwb_shape_text(is, a),
                   hwb_shape_text(s, b), axis + 1);
    hwb__lcheck_indices(L, 3, s->dim[axis], what);
    return axis;
}

static int op_gather(lua_State *L) {
    int axis = check_elementwise(L, "gather", "gather: index");
    hwb_shape s = *hwb__lshape(hwb__ltest(L, 1));
    hwb__lcall c;
    hwb_id y = HWB_NONE, at = HWB_NONE;
    lua_settop(L, 3);
    lua_remove(L, 2);
    hwb__lbegin(&c, L, 1, 2);
    hwb_status st = flat_places(c.g, &at, c.in[1], &s, axis);
    if (st == HWB_OK)
        st = hwb_reshape(c.g, &y, c.in[0], (hwb_shape){.ndim = 1, .dim = {hwb_shape_numel(&s)}});
    if (st == HWB_OK) st = hwb_gather(c.g, &y, y, at, 0);
    return hwb__lend(&c, st, 1, &y);
}

static int op_scatter_add(lua_State *L) {
    int axis = check_elementwise(L, "scatter_add", "scatter_add: index");
    const hwb_shape *us = hwb__lshape(hwb__lcheck_any(L, 4));
    char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
    if (!hwb_shape_equal(us, hwb__lshape(hwb__ltest(L, 3))))
        return luaL_error(L, "scatter_add: updates [%s] with an index [%s]", hwb_shape_text(us, a),
                          hwb_shape_text(hwb__lshape(hwb__ltest(L, 3)), b));
    hwb_shape s = *hwb__lshape(hwb__ltest(L, 1));
    int64_t numel = hwb_shape_numel(&s);
    hwb__lcall c;
    hwb_id y = HWB_NONE, at = HWB_NONE;
    lua_settop(L, 4);
    lua_remove(L, 2);
    hwb__lbegin(&c, L, 1, 3);
    hwb_status st = flat_places(c.g, &at, c.in[1], &s, axis);
    if (st == HWB_OK) st = hwb_scatter_add(c.g, &y, c.in[2], at, 0, numel);
    if (st == HWB_OK) st = hwb_reshape(c.g, &y, y, s);
    if (st == HWB_OK) st = hwb_add(c.g, &y, c.in[0], y);
    return hwb__lend(&c, st, 1, &y);
}

/* index_add(x, dim, index, updates) */
static int op_index_add(lua_State *L) {
    const hwb_shape *s = hwb__lshape(hwb__lcheck_any(L, 1));
    int axis = hwb__lcheck_axis(L, 2, s->ndim);
    int64_t size = s->dim[axis];
    hwb__lcheck_indices(L, 3, size, "index_add: index");
    hwb__lcheck_any(L, 4);
    hwb__lcall c;
    hwb_id y = HWB_NONE, at = HWB_NONE;
    lua_settop(L, 4);
    lua_remove(L, 2);
    hwb__lbegin(&c, L, 1, 3);
    hwb_status st = hwb__lzero_based(c.g, &at, c.in[1]);
    if (st == HWB_OK) st = hwb_scatter_add(c.g, &y, c.in[2], at, axis, size);
    if (st == HWB_OK) st = hwb_add(c.g, &y, c.in[0], y);
    return hwb__lend(&c, st, 1, &y);
}

void hwb__lopen_gather(lua_State *L) {
    static const luaL_Reg operations[] = {
        {"index_select", op_index_select}, {"embedding", op_embedding}, {"gather", op_gather},
        {"scatter_add", op_scatter_add},   {"index_add", op_index_add}, {NULL, NULL}};
    hwb__lset_methods(L, operations);
    luaL_setfuncs(L, operations, 0);
}
