/*
 * test_ad.c: every primitive and composition against central differences, in
 * float64 on the reference backend, and against itself on the others.
 *
 * For y = f(x_1..x_n), with L = <c, f> for a fixed random c:
 *   1. jvp       f'(x) v       = (f(x+hv) - f(x-hv)) / 2h
 *   2. adjoint   <c, f'(x) v>  = <f'(x)^T c, v>
 *   3. hvp       H v           = (g(x+hv) - g(x-hv)) / 2h,  g = f'(x)^T c
 *   4. symmetry  u^T H v       = v^T H u
 *   5. batch     K tangents at once = one at a time
 * A last test walks ops.def: an operation that no case exercises fails it.
 */
#include "testing.h"

#include "hwb.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_IN = 4, K = 3 };

typedef struct op_case {
    const char *name;
    hwb_status (*build)(hwb_graph *g, hwb_id *y, const hwb_id *x);
    int n_in;
    hwb_shape in[MAX_IN];
    double lo, hi; /* inputs are uniform in it */
} op_case;

static bool exercised[HWB_OP_COUNT];

#define S1(a)                                                                                      \
    {                                                                                              \
        .ndim = 1, .dim = { a }                                                                    \
    }
#define S2(a, b)                                                                                   \
    {                                                                                              \
        .ndim = 2, .dim = { a, b }                                                                 \
    }
#define S3(a, b, c)                                                                                \
    {                                                                                              \
        .ndim = 3, .dim = { a, b, c }                                                              \
    }
#define S4(a, b, c, d)                                                                             \
    {                                                                                              \
        .ndim = 4, .dim = { a, b, c, d }                                                           \
    }

/* ---- the cases ---------------------------------------------------------------------- */

#define XX(name, op)                                                                               \
    static hwb_status b_##name(hwb_graph *g, hwb_id *y, const hwb_id *x) {                         \
        return hwb_##name(g, y, x[0]);                                                             \
    }
HWB_UNARY_MAP(XX)
#undef XX
#define XX(name, op)                                                                               \
    static hwb_status b_##name(hwb_graph *g, hwb_id *y, const hwb_id *x) {                         \
        return hwb_##name(g, y, x[0], x[1]);                                                       \
    }
/* clang-format off */
XX(add, ADD)
XX(sub, SUB) XX(mul, MUL) XX(div, DIV) XX(pow, POW) XX(maximum, MAXIMUM) XX(minimum, MINIMUM)
/* clang-format on */
#undef XX

/* where(x0 < x1, x0*x0, x1): the comparisons have no derivative of their own */
#define COMPARE_CASE(name)                                                                         \
    static hwb_status b_where_##name(hwb_graph *g, hwb_id *y, const hwb_id *x) {                   \
        hwb_id c, s;                                                                               \
        HWB_TRY(hwb_##name(g, &c, x[0], x[1]));                                                    \
        HWB_TRY(hwb_mul(g, &s, x[0], x[0]));                                                       \
        return hwb_where(g, y, c, s, x[1]);                                                        \
    }
    /* clang-format off */
COMPARE_CASE(lt) COMPARE_CASE(le) COMPARE_CASE(eq) COMPARE_CASE(ne)
    /* clang-format on */

    static hwb_status square(hwb_graph *g, hwb_id *y, hwb_id x) {
    return hwb_mul(g, y, x, x);
}

static hwb_status b_clamp(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    HWB_TRY(hwb_clamp(g, y, x[0], -0.5, 0.7));
    return square(g, y, *y);
}
static hwb_status b_cast(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    hwb_id c;
    HWB_TRY(hwb_lt(g, &c, x[0], x[1]));
    HWB_TRY(hwb_cast(g, &c, c, HWB_F64));
    return hwb_mul(g, y, c, x[0]);
}
static hwb_status b_reshape(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    HWB_TRY(hwb_reshape(g, y, x[0], (hwb_shape)S2(4, -1)));
    return square(g, y, *y);
}
static hwb_status b_allreduce(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    HWB_TRY(hwb_allreduce(g, y, x[0], 1)); /* over several: test_allreduce.c */
    return square(g, y, *y);
}
static hwb_status b_permute(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    HWB_TRY(hwb_permute(g, y, x[0], (int[]){2, 0, 1}));
    return square(g, y, *y);
}
static hwb_status b_broadcast(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    HWB_TRY(hwb_broadcast_to(g, y, x[0], (hwb_shape)S3(5, 2, 3)));
    return hwb_mul(g, y, *y, x[1]);
}
static hwb_status b_slice(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    HWB_TRY(hwb_slice(g, y, x[0], 1, 1, 2, 3));
    return square(g, y, *y);
}
static hwb_status b_pad(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    HWB_TRY(hwb_pad(g, y, x[0], (int64_t[]){1, 0}, (int64_t[]){0, 2}));
    return square(g, y, *y);
}
static hwb_status b_concat(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    HWB_TRY(hwb_concat(g, y, 3, (hwb_id[]){x[0], x[1], x[0]}, 1));
    return square(g, y, *y);
}
static hwb_status index_constant(hwb_graph *g, hwb_id *y, int64_t n, const int64_t *v) {
    hwb_tensor *t;
    HWB_TRY(hwb_tensor_from(hwb_graph_ctx(g), &t, HWB_I64, (hwb_shape)S1(n), v));
    hwb_status st = hwb_graph_constant(g, y, t);
    hwb_tensor_release(t);
    return st;
}
static hwb_status b_gather(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    hwb_id i;
    HWB_TRY(index_constant(g, &i, 4, (int64_t[]){2, 0, 2, 1}));
    HWB_TRY(hwb_gather(g, y, x[0], i, 1));
    return square(g, y, *y);
}
static hwb_status b_scatter_add(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    hwb_id i;
    HWB_TRY(index_constant(g, &i, 3, (int64_t[]){4, 0, 4}));
    HWB_TRY(hwb_scatter_add(g, y, x[0], i, 1, 5));
    return square(g, y, *y);
}
static hwb_status b_sum(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    HWB_TRY(hwb_sum(g, y, x[0], 5, false));
    return square(g, y, *y);
}
static hwb_status b_mean_var(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    return hwb_var(g, y, x[0], 6, true);
}
static hwb_status b_max(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    HWB_TRY(hwb_max(g, y, x[0], 2, false));
    return square(g, y, *y);
}
static hwb_status b_argmax(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    hwb_id i;
    HWB_TRY(hwb_argmax(g, &i, x[0], 1, true));
    HWB_TRY(hwb_cast(g, &i, i, HWB_F64));
    HWB_TRY(hwb_mul(g, y, i, x[0]));
    return square(g, y, *y);
}
static hwb_status b_avgpool(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    hwb_pool_options o = {.kernel = {3, 2}, .stride = {2, 2}, .padding = {1, 0}};
    HWB_TRY(hwb_avg_pool2d(g, y, x[0], o));
    return square(g, y, *y);
}
static hwb_status b_maxpool(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    hwb_pool_options o = {.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}};
    HWB_TRY(hwb_max_pool2d(g, y, x[0], o));
    return square(g, y, *y);
}
static hwb_status b_matmul(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    return hwb_matmul(g, y, x[0], x[1]);
}
static hwb_status b_matmul_flags(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    hwb_attrs a;
    memset(&a, 0, sizeof a);
    a.ta = a.tb = 1;
    return hwb_graph_node(g, y, HWB_OP_MATMUL, 2, x, &a);
}
static hwb_status b_conv(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    hwb_conv_options o = {.stride = {2, 1}, .padding = {1, 2}, .dilation = {1, 2}};
    return hwb_conv2d(g, y, x[0], x[1], x[2], o);
}
static hwb_status b_conv_groups(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    hwb_conv_options o = {.padding = {1, 1}, .groups = 2};
    return hwb_conv2d(g, y, x[0], x[1], HWB_NONE, o);
}
static hwb_status conv_transpose(hwb_graph *g, hwb_id *y, const hwb_id *x, hwb_op op, hwb_shape s) {
    hwb_attrs a;
    memset(&a, 0, sizeof a);
    a.stride[0] = a.stride[1] = 2;
    a.dilation[0] = a.dilation[1] = a.groups = 1;
    a.pad_lo[0] = a.pad_lo[1] = a.pad_hi[0] = a.pad_hi[1] = 1;
    a.shape = s;
    return hwb_graph_node(g, y, op, 2, x, &a);
}
static hwb_status b_conv_bwd_data(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    return conv_transpose(g, y, x, HWB_OP_CONV_BWD_DATA, (hwb_shape)S4(2, 2, 6, 6));
}
static hwb_status b_conv_bwd_weights(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    return conv_transpose(g, y, x, HWB_OP_CONV_BWD_WEIGHTS, (hwb_shape)S4(3, 2, 3, 3));
}
static hwb_status b_softmax(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    return hwb_softmax(g, y, x[0], 1);
}
static hwb_status b_cross_entropy(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    hwb_id t;
    HWB_TRY(index_constant(g, &t, 4, (int64_t[]){2, 0, 1, 2}));
    return hwb_cross_entropy(g, y, x[0], t, 0.1, true);
}
static hwb_status b_bn_batch(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    hwb_id m, v;
    return hwb_batch_norm_batch(g, y, &m, &v, x[0], x[1], x[2], 1e-5);
}
static hwb_status b_bn_eval(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    return hwb_batch_norm_eval(g, y, x[0], x[1], x[1], x[2], x[1], 1e-5);
}
static hwb_status b_layer_norm(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    return hwb_layer_norm(g, y, x[0], x[1], x[2], 1e-5);
}
static hwb_status b_gelu(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    return hwb_gelu(g, y, x[0]);
}
static hwb_status b_gelu_tanh(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    return hwb_gelu_tanh(g, y, x[0]);
}
static hwb_status b_softplus(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    return hwb_softplus(g, y, x[0]);
}
static hwb_status b_attention(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    return hwb_attention(g, y, x[0], x[1], x[2], HWB_NONE);
}
static hwb_status b_linear(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    HWB_TRY(hwb_linear(g, y, x[0], x[1], x[2]));
    return hwb_tanh(g, y, *y);
}
/* A small ResNet block: convolutions, batch norm, shortcut, pooling, loss. */
static hwb_status b_block(hwb_graph *g, hwb_id *y, const hwb_id *x) {
    hwb_conv_options o = {.padding = {1, 1}};
    hwb_pool_options pool = {.kernel = {4, 4}};
    hwb_id m, v, t, h;
    HWB_TRY(hwb_conv2d(g, &h, x[0], x[1], HWB_NONE, o));
    HWB_TRY(hwb_batch_norm_batch(g, &h, &m, &v, h, x[3], x[3], 1e-3));
    HWB_TRY(hwb_relu(g, &h, h));
    HWB_TRY(hwb_conv2d(g, &h, h, x[2], HWB_NONE, o));
    HWB_TRY(hwb_add(g, &h, h, x[0]));
    HWB_TRY(hwb_relu(g, &h, h));
    HWB_TRY(hwb_avg_pool2d(g, &h, h, pool));
    HWB_TRY(hwb_flatten(g, &h, h, 1));
    HWB_TRY(index_constant(g, &t, 2, (int64_t[]){1, 0}));
    return hwb_cross_entropy(g, y, h, t, 0, true);
}

#define UNARY(name, lo, hi)                                                                        \
    { #name, b_##name, 1, {S2(3, 4) }, lo, hi }
#define BINARY(name, lo, hi)                                                                       \
    { #name, b_##name, 2, {S3(2, 1, 3), S2(4, 1) }, lo, hi }

static const op_case cases[] = {
    UNARY(neg, -1, 1),
    UNARY(exp, -1, 1),
    UNARY(log, 0.5, 2),
    UNARY(log1p, -0.4, 2),
    UNARY(sqrt, 0.5, 2),
    UNARY(tanh, -1, 1),
    UNARY(sigmoid, -2, 2),
    UNARY(erf, -1, 1),
    UNARY(sin, -2, 2),
    UNARY(cos, -2, 2),
    UNARY(relu, -1, 1),
    UNARY(abs, -1, 1),
    UNARY(sign, -1, 1),
    UNARY(floor, 0.1, 0.9),
    UNARY(round, 0.6, 1.4),
    BINARY(add, -1, 1),
    BINARY(sub, -1, 1),
    BINARY(mul, -1, 1),
    BINARY(div, 0.5, 2),
    BINARY(pow, 0.5, 2),
    BINARY(maximum, -1, 1),
    BINARY(minimum, -1, 1),
    {"where lt", b_where_lt, 2, {S2(2, 3), S2(2, 1)}, -1, 1},
    {"where le", b_where_le, 2, {S2(2, 3), S2(2, 1)}, -1, 1},
    {"where eq", b_where_eq, 2, {S2(2, 3), S2(2, 1)}, -1, 1},
    {"where ne", b_where_ne, 2, {S2(2, 3), S2(2, 1)}, -1, 1},
    {"clamp", b_clamp, 1, {S2(3, 4)}, -1, 1},
    {"cast", b_cast, 2, {S2(3, 4), S2(3, 4)}, -1, 1},
    {"reshape", b_reshape, 1, {S3(2, 2, 3)}, -1, 1},
    {"allreduce", b_allreduce, 1, {S2(3, 4)}, -1, 1},
    {"permute", b_permute, 1, {S3(2, 4, 3)}, -1, 1},
    {"broadcast", b_broadcast, 2, {S2(1, 3), S3(5, 2, 3)}, -1, 1},
    {"slice", b_slice, 1, {S2(3, 7)}, -1, 1},
    {"pad", b_pad, 1, {S2(3, 2)}, -1, 1},
    {"concat", b_concat, 2, {S2(2, 3), S2(2, 2)}, -1, 1},
    {"gather", b_gather, 1, {S3(2, 3, 2)}, -1, 1},
    {"scatter_add", b_scatter_add, 1, {S3(2, 3, 2)}, -1, 1},
    {"sum", b_sum, 1, {S3(2, 3, 4)}, -1, 1},
    {"var", b_mean_var, 1, {S3(2, 3, 4)}, -1, 1},
    {"max", b_max, 1, {S3(2, 3, 4)}, -1, 1},
    {"argmax", b_argmax, 1, {S2(3, 4)}, -1, 1},
    {"avg_pool", b_avgpool, 1, {S4(2, 3, 5, 6)}, -1, 1},
    {"max_pool", b_maxpool, 1, {S4(2, 3, 5, 6)}, -1, 1},
    {"matmul", b_matmul, 2, {S2(3, 4), S2(4, 2)}, -1, 1},
    {"matmul batch", b_matmul, 2, {S4(2, 3, 3, 4), S3(1, 4, 2)}, -1, 1},
    {"matmul vector", b_matmul, 2, {S1(4), S3(2, 4, 2)}, -1, 1},
    {"matmul flags", b_matmul_flags, 2, {S3(2, 4, 3), S3(2, 2, 4)}, -1, 1},
    {"conv", b_conv, 3, {S4(2, 3, 7, 6), S4(4, 3, 3, 2), S1(4)}, -1, 1},
    {"conv groups", b_conv_groups, 2, {S4(2, 4, 5, 5), S4(6, 2, 3, 3)}, -1, 1},
    {"conv_bwd_data", b_conv_bwd_data, 2, {S4(2, 3, 3, 3), S4(3, 2, 3, 3)}, -1, 1},
    {"conv_bwd_weights", b_conv_bwd_weights, 2, {S4(2, 2, 6, 6), S4(2, 3, 3, 3)}, -1, 1},
    {"softmax", b_softmax, 1, {S2(3, 4)}, -1, 1},
    {"cross_entropy", b_cross_entropy, 1, {S2(4, 3)}, -2, 2},
    {"batch_norm batch", b_bn_batch, 3, {S4(3, 2, 3, 3), S1(2), S1(2)}, 0.5, 2},
    {"batch_norm eval", b_bn_eval, 3, {S4(3, 2, 3, 3), S1(2), S1(2)}, 0.5, 2},
    {"layer_norm", b_layer_norm, 3, {S3(2, 3, 4), S1(4), S1(4)}, -1, 1},
    {"gelu", b_gelu, 1, {S2(3, 4)}, -2, 2},
    {"gelu_tanh", b_gelu_tanh, 1, {S2(3, 4)}, -2, 2},
    {"softplus", b_softplus, 1, {S2(3, 4)}, -2, 2},
    {"attention", b_attention, 3, {S3(2, 3, 4), S3(2, 5, 4), S3(2, 5, 2)}, -1, 1},
    {"linear", b_linear, 3, {S3(2, 3, 4), S2(5, 4), S1(5)}, -1, 1},
    {"residual block",
     b_block,
     4,
     {S4(2, 2, 4, 4), S4(2, 2, 3, 3), S4(2, 2, 3, 3), S1(2)},
     0.3,
     1.3},
};
enum { N_CASES = sizeof cases / sizeof *cases };

/* ---- one case as a set of programs ----------------------------------------------------- */

typedef struct rig {
    hwb_ctx *ctx;
    const op_case *c;
    hwb_dtype dtype;
    hwb_program *p; /* outputs: y, jvp, grads.., hvps.., batched hvps.. */
    hwb_id x[MAX_IN], v[MAX_IN], vk[MAX_IN], cot;
    hwb_shape y_shape;
    int n_out;
    bool has[2 + 3 * MAX_IN];
} rig;

static hwb_tensor *random_tensor(hwb_ctx *ctx, hwb_dtype dtype, hwb_shape s, const char *what,
                                 uint64_t i, double lo, double hi) {
    hwb_tensor *t;
    assert_ok(ctx, hwb_tensor_new(ctx, &t, dtype, s));
    hwb_rng r = {7, hwb_rng_stream(what, i, 0)};
    for (int64_t j = 0; j < hwb_tensor_numel(t); j++)
        hwb_tensor_set(t, j, lo + (hi - lo) * hwb_rng_uniform(r, (uint64_t)j));
    hwb_tensor_touch(t);
    return t;
}

static hwb_shape lead_k(hwb_shape s) {
    hwb_shape r = {.ndim = s.ndim + 1, .dim = {K}};
    for (int i = 0; i < s.ndim; i++) r.dim[i + 1] = s.dim[i];
    return r;
}

static void rig_build(rig *r, const char *device, bool plain) {
    hwb_ctx *ctx = r->ctx;
    const op_case *c = r->c;
    hwb_graph *g;
    hwb_id out[2 + 3 * MAX_IN], all[2 + 3 * MAX_IN];
    assert_ok(ctx, hwb_graph_new(ctx, &g));
    for (int i = 0; i < c->n_in; i++)
        assert_ok(ctx, hwb_graph_input(g, &r->x[i], HWB_ROLE_DATA, r->dtype, c->in[i], "x"));
    assert_ok(ctx, c->build(g, &out[0], r->x));
    r->y_shape = *hwb_graph_shape(g, out[0]);
    assert_ok(ctx, hwb_graph_input(g, &r->cot, HWB_ROLE_DATA, r->dtype, r->y_shape, "c"));
    for (int i = 0; i < c->n_in; i++) {
        assert_ok(ctx, hwb_graph_input(g, &r->v[i], HWB_ROLE_TANGENT, r->dtype, c->in[i], "v"));
        assert_ok(
            ctx, hwb_graph_input(g, &r->vk[i], HWB_ROLE_TANGENT, r->dtype, lead_k(c->in[i]), "vk"));
    }
    int n = c->n_in;
    assert_ok(ctx, hwb_jvp(g, n, r->x, r->v, 1, out, out + 1));
    assert_ok(ctx, hwb_vjp(g, 1, out, &r->cot, n, r->x, out + 2));
    hwb_id grads[MAX_IN];
    for (int i = 0; i < n; i++) {
        grads[i] = out[2 + i];
        if (grads[i] == HWB_NONE) assert_ok(ctx, hwb_zeros_like(g, &grads[i], r->x[i]));
    }
    assert_ok(ctx, hwb_jvp(g, n, r->x, r->v, n, grads, out + 2 + n));
    hwb_id hv[MAX_IN];
    for (int i = 0; i < n; i++) {
        hv[i] = out[2 + n + i];
        if (hv[i] == HWB_NONE) assert_ok(ctx, hwb_zeros_like(g, &hv[i], r->x[i]));
    }
    assert_ok(ctx, hwb_batch(g, K, n, r->v, r->vk, n, hv, out + 2 + 2 * n));
    r->n_out = 0;
    for (int i = 0; i < 2 + 3 * n; i++) {
        r->has[i] = out[i] != HWB_NONE;
        if (r->has[i]) all[r->n_out++] = out[i];
    }
    for (int i = 0; i < hwb_graph_count(g); i++) exercised[hwb_graph_op(g, i)] = true;
    hwb_compile_options o = {.device = device, .no_fuse = plain, .no_layout = plain};
    assert_ok(ctx, hwb_compile(ctx, &r->p, g, r->n_out, all, &o));
    hwb_graph_release(g);
}

static void rig_free(rig *r) {
    hwb_program_release(r->p);
}

/* Run at x + h v with tangents v (or u); results in `out`, zeros where absent. */
static void rig_run(rig *r, hwb_tensor **x, hwb_tensor **v, hwb_tensor **vk, hwb_tensor *cot,
                    hwb_tensor **out) {
    hwb_ctx *ctx = r->ctx;
    hwb_tensor *got[2 + 3 * MAX_IN];
    int n = r->c->n_in;
    for (int i = 0; i < n; i++) {
        assert_ok(ctx, hwb_program_set(ctx, r->p, r->x[i], x[i]));
        assert_ok(ctx, hwb_program_set(ctx, r->p, r->v[i], v[i]));
        assert_ok(ctx, hwb_program_set(ctx, r->p, r->vk[i], vk[i]));
    }
    assert_ok(ctx, hwb_program_set(ctx, r->p, r->cot, cot));
    assert_ok(ctx, hwb_program_run(ctx, r->p, got));
    for (int i = 0, k = 0; i < 2 + 3 * n; i++) {
        hwb_shape s = i < 2 ? r->y_shape : r->c->in[(i - 2) % n];
        if (i >= 2 + 2 * n) s = lead_k(s);
        if (r->has[i]) out[i] = got[k++];
        else assert_ok(ctx, hwb_tensor_zeros(ctx, &out[i], r->dtype, s));
        assert_true(hwb_shape_equal(hwb_tensor_shape(out[i]), &s));
    }
}

static void release_all(hwb_tensor **t, int n) {
    for (int i = 0; i < n; i++) hwb_tensor_release(t[i]);
}

static double max_abs(hwb_tensor *t) {
    double m = 0;
    for (int64_t i = 0; i < hwb_tensor_numel(t); i++) m = fmax(m, fabs(hwb_tensor_get(t, i)));
    return m;
}

/* |a - (p - q)/2h| relative to the size of a (or 1) */
static void check_difference(const char *name, const char *what, hwb_tensor *a, hwb_tensor *p,
                             hwb_tensor *q, double h) {
    double scale = fmax(1.0, max_abs(a));
    for (int64_t i = 0; i < hwb_tensor_numel(a); i++) {
        double d = (hwb_tensor_get(p, i) - hwb_tensor_get(q, i)) / (2 * h);
        if (fabs(hwb_tensor_get(a, i) - d) > 2e-8 * scale)
            fail_msg("%s: %s[%lld] = %.12g, difference quotient %.12g", name, what, (long long)i,
                     hwb_tensor_get(a, i), d);
    }
}

static hwb_tensor *moved(hwb_ctx *ctx, hwb_tensor *x, hwb_tensor *v, double h) {
    hwb_tensor *t;
    assert_ok(ctx, hwb_tensor_clone(ctx, &t, x));
    for (int64_t i = 0; i < hwb_tensor_numel(t); i++)
        hwb_tensor_set(t, i, hwb_tensor_get(x, i) + h * hwb_tensor_get(v, i));
    hwb_tensor_touch(t);
    return t;
}

static double dots(hwb_tensor **a, hwb_tensor **b, int n) {
    double s = 0;
    for (int i = 0; i < n; i++) s += hwb_tensor_dot(a[i], b[i]);
    return s;
}

typedef struct inputs {
    hwb_tensor *x[MAX_IN], *v[MAX_IN], *u[MAX_IN], *vk[MAX_IN], *cot;
} inputs;

static void make_inputs(rig *r, inputs *in) {
    for (int i = 0; i < r->c->n_in; i++) {
        uint64_t k = (uint64_t)i;
        in->x[i] = random_tensor(r->ctx, r->dtype, r->c->in[i], "x", k, r->c->lo, r->c->hi);
        in->v[i] = random_tensor(r->ctx, r->dtype, r->c->in[i], "v", k, -1, 1);
        in->u[i] = random_tensor(r->ctx, r->dtype, r->c->in[i], "u", k, -1, 1);
        in->vk[i] = random_tensor(r->ctx, r->dtype, lead_k(r->c->in[i]), "vk", k, -1, 1);
    }
    in->cot = random_tensor(r->ctx, r->dtype, r->y_shape, "c", 0, -1, 1);
}

static void free_inputs(rig *r, inputs *in) {
    release_all(in->x, r->c->n_in);
    release_all(in->v, r->c->n_in);
    release_all(in->u, r->c->n_in);
    release_all(in->vk, r->c->n_in);
    hwb_tensor_release(in->cot);
}

/* ---- tests --------------------------------------------------------------------------------- */

static void check_against_differences(rig *r, inputs *in, hwb_tensor **at) {
    hwb_tensor *plus[2 + 3 * MAX_IN], *minus[2 + 3 * MAX_IN], *xp[MAX_IN], *xm[MAX_IN];
    const double h = 1e-5;
    int n = r->c->n_in;
    for (int i = 0; i < n; i++) {
        xp[i] = moved(r->ctx, in->x[i], in->v[i], h);
        xm[i] = moved(r->ctx, in->x[i], in->v[i], -h);
    }
    rig_run(r, xp, in->v, in->vk, in->cot, plus);
    rig_run(r, xm, in->v, in->vk, in->cot, minus);
    check_difference(r->c->name, "jvp", at[1], plus[0], minus[0], h);
    for (int i = 0; i < n; i++)
        check_difference(r->c->name, "hvp", at[2 + n + i], plus[2 + i], minus[2 + i], h);
    release_all(xp, n);
    release_all(xm, n);
    release_all(plus, 2 + 3 * n);
    release_all(minus, 2 + 3 * n);
}

static void check_identities(rig *r, inputs *in, hwb_tensor **at) {
    hwb_tensor *other[2 + 3 * MAX_IN];
    int n = r->c->n_in;
    double cy = hwb_tensor_dot(in->cot, at[1]), xv = dots(at + 2, in->v, n);
    assert_near(cy, xv, 1e-10 * fmax(1, fabs(cy)));
    rig_run(r, in->x, in->u, in->vk, in->cot, other);
    double uhv = dots(in->u, at + 2 + n, n), vhu = dots(in->v, other + 2 + n, n);
    assert_near(uhv, vhu, 1e-10 * fmax(1, fabs(uhv)));
    release_all(other, 2 + 3 * n);
}

static void check_batch(rig *r, inputs *in, hwb_tensor **at) {
    int n = r->c->n_in;
    for (int k = 0; k < K; k++) {
        hwb_tensor *v[MAX_IN], *one[2 + 3 * MAX_IN];
        for (int i = 0; i < n; i++)
            assert_ok(r->ctx, hwb_tensor_select(r->ctx, &v[i], in->vk[i], 0, k));
        rig_run(r, in->x, v, in->vk, in->cot, one);
        for (int i = 0; i < n; i++) {
            int64_t size = hwb_tensor_numel(one[2 + n + i]);
            for (int64_t j = 0; j < size; j++)
                assert_near(hwb_tensor_get(at[2 + 2 * n + i], k * size + j),
                            hwb_tensor_get(one[2 + n + i], j), 1e-11);
        }
        release_all(v, n);
        release_all(one, 2 + 3 * n);
    }
}

static void test_derivatives(void **state) {
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        hwb_tensor *at[2 + 3 * MAX_IN];
        inputs in;
        rig r = {.c = &cases[i], .dtype = HWB_F64};
        assert_int_equal(hwb_ctx_new(&r.ctx), HWB_OK);
        rig_build(&r, "ref", true);
        make_inputs(&r, &in);
        rig_run(&r, in.x, in.v, in.vk, in.cot, at);
        check_against_differences(&r, &in, at);
        check_identities(&r, &in, at);
        check_batch(&r, &in, at);
        release_all(at, 2 + 3 * r.c->n_in);
        free_inputs(&r, &in);
        rig_free(&r);
        hwb_ctx_free(r.ctx);
    }
}

/* Every backend, fused and laid out, against ref unfused in float64. */
static void compare_with_ref(const op_case *c, const char *device, hwb_dtype dtype, double tol) {
    hwb_tensor *want[2 + 3 * MAX_IN], *got[2 + 3 * MAX_IN];
    inputs in, in64;
    rig a = {.c = c, .dtype = HWB_F64}, b = {.c = c, .dtype = dtype};
    assert_int_equal(hwb_ctx_new(&a.ctx), HWB_OK);
    b.ctx = a.ctx;
    rig_build(&a, "ref", true);
    rig_build(&b, device, false);
    make_inputs(&b, &in);
    for (int i = 0; i < c->n_in; i++) {
        assert_ok(a.ctx, hwb_tensor_to(a.ctx, &in64.x[i], in.x[i], HWB_F64));
        assert_ok(a.ctx, hwb_tensor_to(a.ctx, &in64.v[i], in.v[i], HWB_F64));
        assert_ok(a.ctx, hwb_tensor_to(a.ctx, &in64.u[i], in.u[i], HWB_F64));
        assert_ok(a.ctx, hwb_tensor_to(a.ctx, &in64.vk[i], in.vk[i], HWB_F64));
    }
    assert_ok(a.ctx, hwb_tensor_to(a.ctx, &in64.cot, in.cot, HWB_F64));
    rig_run(&a, in64.x, in64.v, in64.vk, in64.cot, want);
    rig_run(&b, in.x, in.v, in.vk, in.cot, got);
    for (int i = 0; i < 2 + 3 * c->n_in; i++) {
        double scale = fmax(1.0, max_abs(want[i]));
        for (int64_t j = 0; j < hwb_tensor_numel(want[i]); j++) {
            double d = hwb_tensor_get(want[i], j) - hwb_tensor_get(got[i], j);
            if (!(fabs(d) <= tol * scale))
                fail_msg("%s on %s %s: result %d[%lld] is %.9g, ref has %.9g", c->name, device,
                         hwb_dtype_name(dtype), i, (long long)j, hwb_tensor_get(got[i], j),
                         hwb_tensor_get(want[i], j));
        }
    }
    release_all(want, 2 + 3 * c->n_in);
    release_all(got, 2 + 3 * c->n_in);
    free_inputs(&b, &in);
    free_inputs(&a, &in64);
    rig_free(&a);
    rig_free(&b);
    hwb_ctx_free(a.ctx);
}

static void test_ref_fused(void **state) {
    (void)state;
    for (int i = 0; i < N_CASES; i++) compare_with_ref(&cases[i], "ref", HWB_F64, 1e-12);
}

static void test_ref_float32(void **state) {
    (void)state;
    for (int i = 0; i < N_CASES; i++) compare_with_ref(&cases[i], "ref", HWB_F32, 2e-4);
}

static void test_cpu_float64(void **state) {
    (void)state;
    for (int i = 0; i < N_CASES; i++) compare_with_ref(&cases[i], "cpu", HWB_F64, 1e-11);
}

static void test_cpu_float32(void **state) {
    (void)state;
    for (int i = 0; i < N_CASES; i++) compare_with_ref(&cases[i], "cpu", HWB_F32, 2e-4);
}

/* stop_gradient and round_st are not what differences see: checked by name. */
static void test_defined_derivatives(void **state) {
    (void)state;
    hwb_ctx *ctx;
    hwb_graph *g;
    hwb_id x, y, z, gx;
    hwb_shape s = S1(3);
    assert_int_equal(hwb_ctx_new(&ctx), HWB_OK);
    assert_ok(ctx, hwb_graph_new(ctx, &g));
    assert_ok(ctx, hwb_graph_input(g, &x, HWB_ROLE_DATA, HWB_F64, s, "x"));
    assert_ok(ctx, b_stop_gradient(g, &y, &x));
    assert_ok(ctx, hwb_sum(g, &z, y, 0, false));
    assert_ok(ctx, hwb_vjp(g, 1, &z, NULL, 1, &x, &gx));
    assert_int_equal(gx, HWB_NONE);
    assert_ok(ctx, b_round_st(g, &y, &x));
    assert_ok(ctx, hwb_sum(g, &z, y, 0, false));
    assert_ok(ctx, hwb_vjp(g, 1, &z, NULL, 1, &x, &gx));
    assert_int_not_equal(gx, HWB_NONE);
    for (int i = 0; i < hwb_graph_count(g); i++) exercised[hwb_graph_op(g, i)] = true;
    hwb_graph_release(g);
    hwb_ctx_free(ctx);
}

static void test_every_op_is_covered(void **state) {
    (void)state;
    for (int op = 0; op < HWB_OP_COUNT; op++)
        if (!exercised[op] && hwb_op_family((hwb_op)op) != HWB_FAMILY_INTERNAL)
            fail_msg("no case exercises %s", hwb_op_name((hwb_op)op));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_derivatives),         cmocka_unit_test(test_ref_fused),
        cmocka_unit_test(test_ref_float32),         cmocka_unit_test(test_cpu_float64),
        cmocka_unit_test(test_cpu_float32),         cmocka_unit_test(test_defined_derivatives),
        cmocka_unit_test(test_every_op_is_covered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
