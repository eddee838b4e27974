/*
 * compose.c: normalisations, losses, attention and fake-quantization written
 * with primitives (compose.h).
 */
#include "graph/compose.h"
#include "graph/graph_i.h"

#include <math.h>
#include <string.h>

static hwb_ctx *ctx_of(hwb_graph *g) {
    return hwb_graph_ctx(g);
}

static hwb_status axis_bit(hwb_graph *g, uint32_t *mask, hwb_id x, int axis) {
    return hwb_axes_mask(g, mask, x, 1, &axis);
}

/* ---- softmax and losses -------------------------------------------------------------- */

/* x - max(x): the shift cancels in softmax, so no derivative flows through it. */
static hwb_status shifted(hwb_graph *g, hwb_id *y, hwb_id x, uint32_t mask) {
    hwb_id m;
    HWB_TRY(hwb_stop_gradient(g, &m, x));
    HWB_TRY(hwb_max(g, &m, m, mask, true));
    return hwb_sub(g, y, x, m);
}

hwb_status hwb_softmax(hwb_graph *g, hwb_id *y, hwb_id x, int axis) {
    uint32_t mask;
    hwb_id e, s;
    HWB_TRY(axis_bit(g, &mask, x, axis));
    HWB_TRY(shifted(g, &e, x, mask));
    HWB_TRY(hwb_exp(g, &e, e));
    HWB_TRY(hwb_sum(g, &s, e, mask, true));
    return hwb_div(g, y, e, s);
}

hwb_status hwb_log_softmax(hwb_graph *g, hwb_id *y, hwb_id x, int axis) {
    uint32_t mask;
    hwb_id z, s;
    HWB_TRY(axis_bit(g, &mask, x, axis));
    HWB_TRY(shifted(g, &z, x, mask));
    HWB_TRY(hwb_exp(g, &s, z));
    HWB_TRY(hwb_sum(g, &s, s, mask, true));
    HWB_TRY(hwb_log(g, &s, s));
    return hwb_sub(g, y, z, s);
}

hwb_status hwb_one_hot(hwb_graph *g, hwb_id *y, hwb_id labels, int64_t classes, hwb_dtype dtype) {
    hwb_shape s = {.ndim = 1, .dim = {classes}};
    hwb_tensor *range;
    hwb_id r, eq;
    HWB_TRY(hwb_tensor_new(ctx_of(g), &range, hwb_graph_dtype(g, labels), s));
    for (int64_t i = 0; i < classes; i++) hwb_tensor_set(range, i, (double)i);
    hwb_status st = hwb_graph_constant(g, &r, range);
    hwb_tensor_release(range);
    if (st != HWB_OK) return st;
    HWB_TRY(hwb_unsqueeze(g, &labels, labels, -1));
    HWB_TRY(hwb_eq(g, &eq, labels, r));
    return hwb_cast(g, y, eq, dtype);
}

/* An input that `labels` is, but for casts and added numbers, is marked as class
 * numbers: a label outside the classes would silently count for nothing. */
static void mark_classes(hwb_graph *g, hwb_id labels, int64_t classes) {
    int64_t shift = 0;
    for (;;) {
        const hwb__node *n = g->nodes[labels];
        if (n->op == HWB_OP_CAST && !hwb_dtype_is_float(g->nodes[n->in[0]]->dtype)) {
            labels = n->in[0];
        } else if (n->op == HWB_OP_ADD && g->nodes[n->in[1]]->op == HWB_OP_FILL &&
                   fabs(g->nodes[n->in[1]]->attrs.value) < 1e6) {
            shift += (int64_t)g->nodes[n->in[1]]->attrs.value;
            labels = n->in[0];
        } else {
            break;
        }
    }
    hwb__node *input = g->nodes[labels];
    if (input->op != HWB_OP_INPUT) return;
    input->classes = classes;
    input->class_shift = shift;
}

hwb_status hwb_cross_entropy(hwb_graph *g, hwb_id *loss, hwb_id z, hwb_id labels, double smoothing,
                             bool reduce) {
    const hwb_shape *s = hwb_graph_shape(g, z), *t = hwb_graph_shape(g, labels);
    char zs[HWB_SHAPE_TEXT], ts[HWB_SHAPE_TEXT];
    bool fits = s->ndim >= 2 && t->ndim == s->ndim - 1 && t->dim[0] == s->dim[0];
    for (int i = 1; fits && i < t->ndim; i++) fits = t->dim[i] == s->dim[i + 1];
    if (!fits)
        return hwb_fail(ctx_of(g), HWB_ESHAPE,
                        "cross_entropy: logits [%s] want labels of that shape without the second "
                        "axis, not [%s]",
                        hwb_shape_text(s, zs), hwb_shape_text(t, ts));
    if (hwb_dtype_is_float(hwb_graph_dtype(g, labels)))
        return hwb_fail(ctx_of(g), HWB_EDTYPE, "cross_entropy: labels must be integers, not %s",
                        hwb_dtype_name(hwb_graph_dtype(g, labels)));
    int64_t classes = s->dim[1];
    int rank = s->ndim;
    mark_classes(g, labels, classes);
    hwb_id logp, hot, l;
    HWB_TRY(hwb_log_softmax(g, &logp, z, 1));
    HWB_TRY(hwb_one_hot(g, &hot, labels, classes, hwb_graph_dtype(g, z)));
    if (rank > 2) { /* classes back to axis 1 */
        int perm[HWB_MAX_DIMS] = {0, rank - 1};
        for (int i = 2; i < rank; i++) perm[i] = i - 1;
        HWB_TRY(hwb_permute(g, &hot, hot, perm));
    }
    if (smoothing > 0) {
        HWB_TRY(hwb_mul_scalar(g, &hot, hot, 1.0 - smoothing));
        HWB_TRY(hwb_add_scalar(g, &hot, hot, smoothing / (double)classes));
    }
    HWB_TRY(hwb_mul(g, &l, logp, hot));
    HWB_TRY(hwb_sum(g, &l, l, 1u << 1, false));
    HWB_TRY(hwb_neg(g, &l, l));
    if (reduce) return hwb_mean(g, loss, l, 0, false);
    uint32_t rest = ((1u << (rank - 1)) - 1u) & ~1u;
    if (rest) return hwb_mean(g, loss, l, rest, false);
    *loss = l;
    return HWB_OK;
}

hwb_status hwb_mse(hwb_graph *g, hwb_id *loss, hwb_id x, hwb_id target, bool reduce) {
    hwb_id d;
    char xs[HWB_SHAPE_TEXT], ts[HWB_SHAPE_TEXT];
    if (!hwb_shape_equal(hwb_graph_shape(g, x), hwb_graph_shape(g, target)))
        return hwb_fail(ctx_of(g), HWB_ESHAPE, "mse: output [%s], target [%s]",
                        hwb_shape_text(hwb_graph_shape(g, x), xs),
                        hwb_shape_text(hwb_graph_shape(g, target), ts));
    HWB_TRY(hwb_sub(g, &d, x, target));
    HWB_TRY(hwb_mul(g, &d, d, d));
    if (reduce) return hwb_mean(g, loss, d, 0, false);
    uint32_t rest = ((1u << hwb_graph_shape(g, d)->ndim) - 1u) & ~1u;
    if (rest) return hwb_mean(g, loss, d, rest, false);
    *loss = d;
    return HWB_OK;
}

/* ---- normalisation ------------------------------------------------------------------------ */

/* A [C] vector as [1,C,1,...] beside x. */
static hwb_status per_channel(hwb_graph *g, hwb_id *y, hwb_id v, hwb_id x, const char *what) {
    const hwb_shape *xs = hwb_graph_shape(g, x), *vs = hwb_graph_shape(g, v);
    char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
    if (xs->ndim < 2 || vs->ndim != 1 || vs->dim[0] != xs->dim[1])
        return hwb_fail(ctx_of(g), HWB_ESHAPE, "batch_norm: %s [%s] does not fit input [%s]", what,
                        hwb_shape_text(vs, b), hwb_shape_text(xs, a));
    hwb_shape s = {.ndim = xs->ndim};
    for (int i = 0; i < s.ndim; i++) s.dim[i] = i == 1 ? xs->dim[1] : 1;
    return hwb_reshape(g, y, v, s);
}

/* 1/sqrt(v + eps) */
static hwb_status inv_std(hwb_graph *g, hwb_id *y, hwb_id v, double eps) {
    hwb_id one;
    HWB_TRY(hwb_add_scalar(g, &v, v, eps));
    HWB_TRY(hwb_sqrt(g, &v, v));
    HWB_TRY(hwb_scalar(g, &one, v, 1.0));
    return hwb_div(g, y, one, v);
}

/* Over how many numbers a mean over the batch goes when x has n of them here. */
static hwb_status count_all(hwb_graph *g, double *count, int64_t n) {
    *count = (double)n;
    if (g->ranks <= 1) return HWB_OK;
    if (n % g->own != 0)
        return hwb_fail(ctx_of(g), HWB_ESHAPE,
                        "batch_norm over ranks: %lld numbers a channel are no multiple of the %lld "
                        "samples on this rank",
                        (long long)n, (long long)g->own);
    *count = (double)(n / g->own) * (double)g->all;
    return HWB_OK;
}

/* The mean over `axes`, `count` numbers each, and over the ranks. */
static hwb_status mean_of_all(hwb_graph *g, hwb_id *y, hwb_id x, uint32_t axes, double count) {
    if (g->ranks <= 1) return hwb_mean(g, y, x, axes, true);
    HWB_TRY(hwb_sum(g, y, x, axes, true));
    HWB_TRY(hwb_allreduce(g, y, *y, g->ranks));
    return hwb_mul_scalar(g, y, *y, 1 / count);
}

/* (x - mean) * (s * gamma) + beta: the per-channel product is parameter-stage
 * work in eval mode, and what touches x is one fused pass. */
static hwb_status normalise(hwb_graph *g, hwb_id *y, hwb_id x, hwb_id mean, hwb_id s, hwb_id gamma,
                            hwb_id beta) {
    hwb_id d;
    HWB_TRY(hwb_sub(g, &d, x, mean));
    HWB_TRY(hwb_mul(g, &s, s, gamma));
    HWB_TRY(hwb_mul(g, &d, d, s));
    return hwb_add(g, y, d, beta);
}

hwb_status hwb_batch_norm_eval(hwb_graph *g, hwb_id *y, hwb_id x, hwb_id gamma, hwb_id beta,
                               hwb_id mean, hwb_id var, double eps) {
    HWB_TRY(per_channel(g, &gamma, gamma, x, "gamma"));
    HWB_TRY(per_channel(g, &beta, beta, x, "beta"));
    HWB_TRY(per_channel(g, &mean, mean, x, "running mean"));
    HWB_TRY(per_channel(g, &var, var, x, "running variance"));
    hwb_id s;
    HWB_TRY(inv_std(g, &s, var, eps));
    return normalise(g, y, x, mean, s, gamma, beta);
}

hwb_status hwb_batch_norm_batch(hwb_graph *g, hwb_id *y, hwb_id *batch_mean, hwb_id *batch_var,
                                hwb_id x, hwb_id gamma, hwb_id beta, double eps) {
    HWB_TRY(per_channel(g, &gamma, gamma, x, "gamma"));
    HWB_TRY(per_channel(g, &beta, beta, x, "beta"));
    const hwb_shape *xs = hwb_graph_shape(g, x);
    int64_t channels = xs->dim[1], numel = hwb_shape_numel(xs);
    uint32_t axes = ((1u << xs->ndim) - 1u) & ~2u;
    double n = 0;
    hwb_id mean, var, s, d;
    HWB_TRY(count_all(g, &n, channels ? numel / channels : 0));
    HWB_TRY(mean_of_all(g, &mean, x, axes, n));
    HWB_TRY(hwb_sub(g, &d, x, mean));
    HWB_TRY(hwb_mul(g, &d, d, d));
    HWB_TRY(mean_of_all(g, &var, d, axes, n));
    HWB_TRY(inv_std(g, &s, var, eps));
    HWB_TRY(normalise(g, y, x, mean, s, gamma, beta));
    hwb_shape flat = {.ndim = 1, .dim = {channels}};
    HWB_TRY(hwb_reshape(g, batch_mean, mean, flat));
    HWB_TRY(hwb_reshape(g, &var, var, flat));
    return hwb_mul_scalar(g, batch_var, var, n > 1 ? n / (n - 1) : 1.0);
}

hwb_status hwb_layer_norm(hwb_graph *g, hwb_id *y, hwb_id x, hwb_id gamma, hwb_id beta,
                          double eps) {
    int rank = hwb_graph_shape(g, x)->ndim, k = hwb_graph_shape(g, gamma)->ndim;
    char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
    bool fits = k >= 1 && k <= rank;
    for (int i = 0; fits && i < k; i++)
        fits = hwb_graph_shape(g, gamma)->dim[i] == hwb_graph_shape(g, x)->dim[rank - k + i];
    if (!fits)
        return hwb_fail(ctx_of(g), HWB_ESHAPE,
                        "layer_norm: gamma [%s] does not cover the last "
                        "axes of [%s]",
                        hwb_shape_text(hwb_graph_shape(g, gamma), b),
                        hwb_shape_text(hwb_graph_shape(g, x), a));
    uint32_t axes = ((1u << rank) - 1u) & ~((1u << (rank - k)) - 1u);
    hwb_id mean, d, var, s;
    HWB_TRY(hwb_mean(g, &mean, x, axes, true));
    HWB_TRY(hwb_sub(g, &d, x, mean));
    HWB_TRY(hwb_mul(g, &var, d, d));
    HWB_TRY(hwb_mean(g, &var, var, axes, true));
    HWB_TRY(inv_std(g, &s, var, eps));
    HWB_TRY(hwb_mul(g, &d, d, s));
    HWB_TRY(hwb_mul(g, &d, d, gamma));
    return hwb_add(g, y, d, beta);
}

/* ---- activations ------------------------------------------------------------------------------ */

hwb_status hwb_gelu(hwb_graph *g, hwb_id *y, hwb_id x) {
    hwb_id t;
    HWB_TRY(hwb_mul_scalar(g, &t, x, sqrt(0.5)));
    HWB_TRY(hwb_erf(g, &t, t));
    HWB_TRY(hwb_add_scalar(g, &t, t, 1.0));
    HWB_TRY(hwb_mul(g, &t, t, x));
    return hwb_mul_scalar(g, y, t, 0.5);
}

hwb_status hwb_gelu_tanh(hwb_graph *g, hwb_id *y, hwb_id x) {
    hwb_id t, c;
    HWB_TRY(hwb_mul(g, &c, x, x));
    HWB_TRY(hwb_mul_scalar(g, &c, c, 0.044715));
    HWB_TRY(hwb_add_scalar(g, &c, c, 1.0));
    HWB_TRY(hwb_mul(g, &t, c, x));
    HWB_TRY(hwb_mul_scalar(g, &t, t, sqrt(2.0 / M_PI)));
    HWB_TRY(hwb_tanh(g, &t, t));
    HWB_TRY(hwb_add_scalar(g, &t, t, 1.0));
    HWB_TRY(hwb_mul(g, &t, t, x));
    return hwb_mul_scalar(g, y, t, 0.5);
}

/* max(x,0) + log1p(exp(-|x|)) does not overflow. */
hwb_status hwb_softplus(hwb_graph *g, hwb_id *y, hwb_id x) {
    hwb_id e, m;
    HWB_TRY(hwb_abs(g, &e, x));
    HWB_TRY(hwb_neg(g, &e, e));
    HWB_TRY(hwb_exp(g, &e, e));
    HWB_TRY(hwb_log1p(g, &e, e));
    HWB_TRY(hwb_relu(g, &m, x));
    return hwb_add(g, y, m, e);
}

hwb_status hwb_silu(hwb_graph *g, hwb_id *y, hwb_id x) {
    hwb_id s;
    HWB_TRY(hwb_sigmoid(g, &s, x));
    return hwb_mul(g, y, x, s);
}

/* ---- transformer parts ----------------------------------------------------------------------------- */

hwb_status hwb_attention(hwb_graph *g, hwb_id *y, hwb_id q, hwb_id k, hwb_id v, hwb_id mask) {
    const hwb_shape *s = hwb_graph_shape(g, q);
    hwb_id scores;
    HWB_TRY(hwb_mul_scalar(g, &q, q, 1.0 / sqrt((double)s->dim[s->ndim - 1])));
    HWB_TRY(hwb_transpose(g, &k, k, -1, -2));
    HWB_TRY(hwb_matmul(g, &scores, q, k));
    if (mask != HWB_NONE) HWB_TRY(hwb_add(g, &scores, scores, mask));
    HWB_TRY(hwb_softmax(g, &scores, scores, -1));
    return hwb_matmul(g, y, scores, v);
}

hwb_status hwb_linear(hwb_graph *g, hwb_id *y, hwb_id x, hwb_id w, hwb_id bias) {
    hwb_shape s = *hwb_graph_shape(g, x), ws = *hwb_graph_shape(g, w);
    char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
    if (s.ndim < 1 || ws.ndim != 2 || s.dim[s.ndim - 1] != ws.dim[1])
        return hwb_fail(ctx_of(g), HWB_ESHAPE, "linear: input [%s], weight [%s]",
                        hwb_shape_text(&s, a), hwb_shape_text(&ws, b));
    hwb_shape flat = {.ndim = 2,
                      .dim = {hwb_shape_numel(&s) / (ws.dim[1] ? ws.dim[1] : 1), ws.dim[1]}};
    hwb_attrs attrs;
    memset(&attrs, 0, sizeof attrs);
    attrs.tb = 1;
    HWB_TRY(hwb_reshape(g, &x, x, flat));
    HWB_TRY(hwb_graph_node(g, &x, HWB_OP_MATMUL, 2, (hwb_id[]){x, w}, &attrs));
    s.dim[s.ndim - 1] = ws.dim[0];
    HWB_TRY(hwb_reshape(g, y, x, s));
    /* behind the reshape, in the space of what follows, with which it becomes one pass */
    return bias == HWB_NONE ? HWB_OK : hwb_add(g, y, *y, bias);
}

hwb_status hwb_fake_quant(hwb_graph *g, hwb_id *y, hwb_id x, hwb_id scale, hwb_id zero, double qmin,
                          double qmax, bool mask) {
    hwb_id q, c;
    HWB_TRY(hwb_div(g, &q, x, scale));
    if (!mask) { /* clamp and round together pass the gradient through */
        hwb_id hard, diff;
        HWB_TRY(hwb_round(g, &hard, q));
        HWB_TRY(hwb_add(g, &hard, hard, zero));
        HWB_TRY(hwb_clamp(g, &hard, hard, qmin, qmax));
        HWB_TRY(hwb_sub(g, &hard, hard, zero));
        HWB_TRY(hwb_sub(g, &diff, hard, q));
        HWB_TRY(hwb_stop_gradient(g, &diff, diff));
        HWB_TRY(hwb_add(g, &q, q, diff));
        return hwb_mul(g, y, q, scale);
    }
    HWB_TRY(hwb_round_st(g, &c, q));
    HWB_TRY(hwb_add(g, &c, c, zero));
    HWB_TRY(hwb_clamp(g, &c, c, qmin, qmax));
    HWB_TRY(hwb_sub(g, &c, c, zero));
    return hwb_mul(g, y, c, scale);
}
