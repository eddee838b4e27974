/*
 * bind_landscape.c: the loss of a curvature operator at displaced weights,
 *
 *     H:losses(directions, coefficients) -> losses
 *
 * which lua/hwb/landscape.lua makes lines and surfaces of.
 */
#include "bind_curvature.h"

/* Rows of tensor `arg`: [n] counts as [1,n]; typed as wanted.  new ref */
static hwb_status rows(lua_State *L, int arg, hwb_dtype dtype, hwb_tensor **out) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_tensor *t = hwb__lcheck_tensor(L, arg), *typed = NULL, *dense = NULL;
    const hwb_shape *s = hwb_tensor_shape(t);
    hwb_shape two = {.ndim = 2, .dim = {1, hwb_tensor_numel(t)}};
    if (s->ndim < 1 || s->ndim > 2)
        return hwb_fail(ctx, HWB_ESHAPE,
                        "argument %d of losses: [n] or [rows, n] is wanted, not %d dims", arg - 1,
                        s->ndim);
    if (s->ndim == 2) two = *s;
    hwb_status st = hwb_tensor_to(ctx, &typed, t, dtype);
    if (st == HWB_OK) st = hwb_tensor_contiguous(ctx, &dense, typed);
    if (st == HWB_OK) st = hwb_tensor_reshape(ctx, out, dense, two);
    hwb_tensor_release(typed);
    hwb_tensor_release(dense);
    return st;
}

/* a [K] with one direction is [K,1] */
static hwb_status coefficients(lua_State *L, int64_t n_directions, hwb_tensor **out) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_tensor *a = NULL;
    char text[HWB_SHAPE_TEXT];
    HWB_TRY(rows(L, 3, HWB_F64, &a));
    hwb_shape column = {.ndim = 2, .dim = {hwb_tensor_numel(a), 1}};
    hwb_status st = HWB_OK;
    bool one = n_directions == 1 && hwb_tensor_shape(hwb__lcheck_tensor(L, 3))->ndim == 1;
    if (!one && hwb_tensor_shape(a)->dim[1] != n_directions)
        st = hwb_fail(ctx, HWB_ESHAPE, "losses: %lld directions, but coefficients %s",
                      (long long)n_directions, hwb_shape_text(hwb_tensor_shape(a), text));
    if (st == HWB_OK && one) st = hwb_tensor_reshape(ctx, out, a, column);
    if (st == HWB_OK && !one) *out = hwb_tensor_retain(a);
    hwb_tensor_release(a);
    return st;
}

/* H:losses(directions [D,n], coefficients [K,D]) -> float64 [K] */
static int losses(lua_State *L) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_curvature *c = hwb__lcheck_operator(L, 1);
    hwb_tensor *u = NULL, *a = NULL, *out = NULL;
    hwb__lcheck_tensor(L, 2); /* what raises, raises before there is anything to free */
    hwb__lcheck_tensor(L, 3);
    hwb_status st = rows(L, 2, hwb_curvature_op(c)->dtype, &u);
    if (st == HWB_OK) st = coefficients(L, hwb_tensor_shape(u)->dim[0], &a);
    if (st == HWB_OK) {
        hwb_shape s = {.ndim = 1, .dim = {hwb_tensor_shape(a)->dim[0]}};
        st = hwb_tensor_new(ctx, &out, HWB_F64, s);
        if (st == HWB_OK)
            st =
                hwb_curvature_losses(ctx, c, u, s.dim[0], hwb_tensor_data(a), hwb_tensor_data(out));
    }
    hwb_tensor_release(u);
    hwb_tensor_release(a);
    if (st != HWB_OK) hwb_tensor_release(out);
    hwb__lcheck(L, st);
    hwb__lpush(L, out);
    return 1;
}

void hwb__llandscape_methods(lua_State *L) {
    static const luaL_Reg methods[] = {{"losses", losses}, {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
