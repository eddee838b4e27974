/*
 * bind_compose.c: the mathematics of layers and losses (graph/compose.h) as
 * functions of tensors.  Class labels are 1-based.
 */
#include "bind_tensor_i.h"

#include <string.h>

/* ---- softmax and losses ------------------------------------------------------------ */

typedef hwb_status (*along_fn)(hwb_graph *, hwb_id *, hwb_id, int);

/* f(x[, dim]); the last dim when none is named */
static int call_along(lua_State *L, along_fn f) {
    const hwb_shape *s = hwb__lshape(hwb__lcheck_any(L, 1));
    if (s->ndim == 0) return luaL_argerror(L, 1, "a scalar has no dim to normalise");
    int axis = lua_isnoneornil(L, 2) ? s->ndim - 1 : hwb__lcheck_axis(L, 2, s->ndim);
    hwb__lcall c;
    hwb_id y = HWB_NONE;
    hwb__lbegin(&c, L, 1, 1);
    hwb_status st = hwb__las_float(c.g, &c.in[0]);
    if (st == HWB_OK) st = f(c.g, &y, c.in[0], axis);
    return hwb__lend(&c, st, 1, &y);
}

static int op_softmax(lua_State *L) {
    return call_along(L, hwb_softmax);
}
static int op_log_softmax(lua_State *L) {
    return call_along(L, hwb_log_softmax);
}

static bool check_reduction(lua_State *L, int options) {
    const char *how = hwb__lopt_string(L, options, "reduction", "mean");
    if (strcmp(how, "mean") != 0 && strcmp(how, "none") != 0)
        luaL_argerror(L, options,
                      lua_pushfstring(L, "reduction '%s' is neither mean nor none", how));
    return strcmp(how, "mean") == 0;
}

/* cross_entropy(logits[N,C,...], labels[N,...], {smoothing=0, reduction="mean"}) */
static int op_cross_entropy(lua_State *L) {
    static const char *const known[] = {"smoothing", "reduction", NULL};
    const hwb_shape *s = hwb__lshape(hwb__lcheck_any(L, 1));
    hwb__lcheck_any(L, 2);
    hwb__lcheck_options(L, 3, known);
    double smoothing = hwb__lopt_number(L, 3, "smoothing", 0.0);
    luaL_argcheck(L, smoothing >= 0 && smoothing < 1, 3, "smoothing lies in [0, 1)");
    bool reduce = check_reduction(L, 3);
    if (s->ndim >= 2) hwb__lcheck_indices(L, 2, s->dim[1], "cross_entropy: label");
    hwb__lcall c;
    hwb_id y = HWB_NONE, labels = HWB_NONE;
    hwb__lbegin(&c, L, 1, 2);
    hwb_status st = hwb__lzero_based(c.g, &labels, c.in[1]);
    if (st == HWB_OK) st = hwb_cross_entropy(c.g, &y, c.in[0], labels, smoothing, reduce);
    return hwb__lend(&c, st, 1, &y);
}

static int op_mse(lua_State *L) {
    static const char *const known[] = {"reduction", NULL};
    hwb__lcheck_any(L, 1);
    hwb__lcheck_any(L, 2);
    hwb__lcheck_options(L, 3, known);
    bool reduce = check_reduction(L, 3);
    hwb__lcall c;
    hwb_id y = HWB_NONE;
    hwb__lbegin(&c, L, 1, 2);
    return hwb__lend(&c, hwb_mse(c.g, &y, c.in[0], c.in[1], reduce), 1, &y);
}

/* one_hot(labels, classes, {dtype="float32"}) */
static int op_one_hot(lua_State *L) {
    lua_Integer classes = luaL_checkinteger(L, 2);
    luaL_argcheck(L, classes >= 1, 2, "at least one class");
    hwb_dtype dtype = hwb__lopt_dtype(L, 3, HWB_F32);
    hwb__lcheck_indices(L, 1, classes, "one_hot: label");
    hwb__lcall c;
    hwb_id y = HWB_NONE, labels = HWB_NONE;
    hwb__lbegin(&c, L, 1, 1);
    hwb_status st = hwb__lzero_based(c.g, &labels, c.in[0]);
    if (st == HWB_OK) st = hwb_one_hot(c.g, &y, labels, classes, dtype);
    return hwb__lend(&c, st, 1, &y);
}

/* ---- normalisation --------------------------------------------------------------------- */

/* eps of the options at `arg`, which hold nothing else */
static double check_eps(lua_State *L, int arg) {
    static const char *const known[] = {"eps", NULL};
    hwb__lcheck_options(L, arg, known);
    return hwb__lopt_number(L, arg, "eps", 1e-5);
}

static void check_tensors(lua_State *L, int n) {
    for (int i = 1; i <= n; i++) hwb__lcheck_any(L, i);
}

/* layer_norm(x, gamma, beta, {eps=}) over the last dims, which gamma covers */
static int op_layer_norm(lua_State *L) {
    check_tensors(L, 3);
    double eps = check_eps(L, 4);
    hwb__lcall c;
    hwb_id y = HWB_NONE;
    hwb__lbegin(&c, L, 1, 3);
    hwb_status st = hwb_layer_norm(c.g, &y, c.in[0], c.in[1], c.in[2], eps);
    return hwb__lend(&c, st, 1, &y);
}

/* batch_norm(x, gamma, beta, mean, var, {eps=}): with given statistics */
static int op_batch_norm(lua_State *L) {
    check_tensors(L, 5);
    double eps = check_eps(L, 6);
    hwb__lcall c;
    hwb_id y = HWB_NONE;
    hwb__lbegin(&c, L, 1, 5);
    hwb_status st = hwb_batch_norm_eval(c.g, &y, c.in[0], c.in[1], c.in[2], c.in[3], c.in[4], eps);
    return hwb__lend(&c, st, 1, &y);
}

/* batch_norm_batch(x, gamma, beta, {eps=}) -> y, mean, unbiased var of the batch */
static int op_batch_norm_batch(lua_State *L) {
    check_tensors(L, 3);
    double eps = check_eps(L, 4);
    hwb__lcall c;
    hwb_id y[3] = {HWB_NONE, HWB_NONE, HWB_NONE};
    hwb__lbegin(&c, L, 1, 3);
    hwb_status st = hwb_batch_norm_batch(c.g, &y[0], &y[1], &y[2], c.in[0], c.in[1], c.in[2], eps);
    return hwb__lend(&c, st, 3, y);
}

/* ---- layers ------------------------------------------------------------------------------- */

/* linear(x[..,in], w[out,in][, bias[out]]) */
static int op_linear(lua_State *L) {
    check_tensors(L, 2);
    lua_settop(L, 3);
    hwb__lcall c;
    hwb_id y = HWB_NONE;
    hwb__lbegin(&c, L, 1, 3);
    return hwb__lend(&c, hwb_linear(c.g, &y, c.in[0], c.in[1], c.in[2]), 1, &y);
}

/* attention(q[..,T,d], k, v[, mask]): the mask is added to the scores; a bool
 * mask is true where attention is allowed */
static int op_attention(lua_State *L) {
    check_tensors(L, 3);
    lua_settop(L, 4);
    hwb__lcall c;
    hwb_id y = HWB_NONE, low, zero;
    hwb_status st = HWB_OK;
    hwb__lbegin(&c, L, 1, 4);
    hwb_id mask = c.in[3];
    if (mask != HWB_NONE && hwb_graph_dtype(c.g, mask) == HWB_BOOL) {
        st = hwb_scalar(c.g, &zero, c.in[0], 0.0);
        if (st == HWB_OK) st = hwb_scalar(c.g, &low, c.in[0], -1e30);
        if (st == HWB_OK) st = hwb_where(c.g, &mask, mask, zero, low);
    }
    if (st == HWB_OK) st = hwb_attention(c.g, &y, c.in[0], c.in[1], c.in[2], mask);
    return hwb__lend(&c, st, 1, &y);
}

/* A number, or two for H and W, at the top of the stack; popped. */
static void read_pair(lua_State *L, int out[2], const char *name, int least) {
    lua_Integer v[2];
    int ok[2] = {0, 0};
    if (lua_istable(L, -1) && luaL_len(L, -1) == 2) {
        for (int i = 0; i < 2; i++) {
            lua_geti(L, -1, i + 1);
            v[i] = lua_tointegerx(L, -1, &ok[i]);
            lua_pop(L, 1);
        }
    } else {
        v[0] = v[1] = lua_tointegerx(L, -1, &ok[0]);
        ok[1] = ok[0];
    }
    for (int i = 0; i < 2; i++) {
        if (!ok[i] || v[i] < least || v[i] > 1 << 20)
            luaL_error(L, "%s must be a whole number >= %d, or two of them: {h, w}", name, least);
        out[i] = (int)v[i];
    }
    lua_pop(L, 1);
}

static void option_pair(lua_State *L, int options, const char *name, int out[2], int least) {
    if (lua_isnoneornil(L, options)) return;
    if (lua_getfield(L, options, name) == LUA_TNIL) lua_pop(L, 1);
    else read_pair(L, out, name, least);
}

/* conv2d(x[N,C,H,W], w[O,C/g,h,w][, bias[O]][, {stride=1, padding=0, dilation=1, groups=1}]) */
static int op_conv2d(lua_State *L) {
    static const char *const known[] = {"stride", "padding", "dilation", "groups", NULL};
    check_tensors(L, 2);
    if (lua_type(L, 3) == LUA_TTABLE) {
        lua_settop(L, 3);
        lua_pushnil(L);
        lua_insert(L, 3);
    }
    lua_settop(L, 4);
    hwb__lcheck_options(L, 4, known);
    hwb_conv_options o = {.groups = (int)hwb__lopt_integer(L, 4, "groups", 1)};
    option_pair(L, 4, "stride", o.stride, 1);
    option_pair(L, 4, "padding", o.padding, 0);
    option_pair(L, 4, "dilation", o.dilation, 1);
    luaL_argcheck(L, o.groups >= 1, 4, "groups must be at least 1");
    hwb__lcall c;
    hwb_id y = HWB_NONE;
    hwb__lbegin(&c, L, 1, 3);
    return hwb__lend(&c, hwb_conv2d(c.g, &y, c.in[0], c.in[1], c.in[2], o), 1, &y);
}

typedef hwb_status (*pool_fn)(hwb_graph *, hwb_id *, hwb_id, hwb_pool_options);

/* pool(x[N,C,H,W], kernel[, {stride=kernel, padding=0, ceil=false}]), or with
 * kernel= among the options */
static int call_pool(lua_State *L, pool_fn f) {
    static const char *const known[] = {"kernel", "stride", "padding", "ceil", NULL};
    hwb_pool_options o = {.ceil = false};
    hwb__lcheck_any(L, 1);
    luaL_checkany(L, 2);
    int options = hwb__lis_options(L, 2) ? 2 : 3;
    hwb__lcheck_options(L, options, known);
    if (options == 3) {
        lua_pushvalue(L, 2);
        read_pair(L, o.kernel, "kernel", 1);
    } else {
        option_pair(L, 2, "kernel", o.kernel, 1);
        luaL_argcheck(L, o.kernel[0] > 0, 2, "option 'kernel' is missing");
    }
    option_pair(L, options, "stride", o.stride, 1);
    option_pair(L, options, "padding", o.padding, 0);
    o.ceil = hwb__lopt_boolean(L, options, "ceil", false);
    hwb__lcall c;
    hwb_id y = HWB_NONE;
    hwb__lbegin(&c, L, 1, 1);
    return hwb__lend(&c, f(c.g, &y, c.in[0], o), 1, &y);
}

static int op_max_pool2d(lua_State *L) {
    return call_pool(L, hwb_max_pool2d);
}
static int op_avg_pool2d(lua_State *L) {
    return call_pool(L, hwb_avg_pool2d);
}

/* pad(x, {{before, after}, ...}): zeros around the last dims */
static int op_pad(lua_State *L) {
    int64_t before[HWB_MAX_DIMS] = {0}, after[HWB_MAX_DIMS] = {0};
    int rank = hwb__lshape(hwb__lcheck_any(L, 1))->ndim;
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_Integer n = luaL_len(L, 2);
    luaL_argcheck(L, n <= rank, 2, "more pairs than dims");
    for (int i = 0; i < (int)n; i++) {
        int pair[2];
        lua_geti(L, 2, i + 1);
        read_pair(L, pair, "pad: before and after", 0);
        before[rank - (int)n + i] = pair[0];
        after[rank - (int)n + i] = pair[1];
    }
    hwb__lcall c;
    hwb_id y = HWB_NONE;
    hwb__lbegin(&c, L, 1, 1);
    return hwb__lend(&c, hwb_pad(c.g, &y, c.in[0], before, after), 1, &y);
}

/* fake_quant(x, scale, zero, qmin, qmax, {mask=true}) */
static int op_fake_quant(lua_State *L) {
    static const char *const known[] = {"mask", NULL};
    double qmin = luaL_checknumber(L, 4), qmax = luaL_checknumber(L, 5);
    luaL_argcheck(L, qmin < qmax, 5, "qmax must lie above qmin");
    hwb__lcheck_any(L, 1);
    hwb__lcheck_options(L, 6, known);
    bool mask = hwb__lopt_boolean(L, 6, "mask", true);
    hwb__lcall c;
    hwb_id y = HWB_NONE;
    hwb__lbegin(&c, L, 1, 3);
    hwb_status st = c.in[1] == HWB_NONE || c.in[2] == HWB_NONE
                        ? hwb_fail(c.ctx, HWB_EARG, "fake_quant: scale and zero are missing")
                        : hwb_fake_quant(c.g, &y, c.in[0], c.in[1], c.in[2], qmin, qmax, mask);
    return hwb__lend(&c, st, 1, &y);
}

void hwb__lopen_compose(lua_State *L) {
    static const luaL_Reg operations[] = {{"softmax", op_softmax},
                                          {"log_softmax", op_log_softmax},
                                          {"cross_entropy", op_cross_entropy},
                                          {"mse", op_mse},
                                          {"one_hot", op_one_hot},
                                          {"layer_norm", op_layer_norm},
                                          {"batch_norm", op_batch_norm},
                                          {"batch_norm_batch", op_batch_norm_batch},
                                          {"linear", op_linear},
                                          {"attention", op_attention},
                                          {"conv2d", op_conv2d},
                                          {"max_pool2d", op_max_pool2d},
                                          {"avg_pool2d", op_avg_pool2d},
                                          {"pad", op_pad},
                                          {"fake_quant", op_fake_quant},
                                          {NULL, NULL}};
    hwb__lset_methods(L, operations);
    luaL_setfuncs(L, operations, 0);
}
