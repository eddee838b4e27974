/*
 * rules_batch.c: one node over K values at once.
 *
 * A batched input has a leading dim K.  Pointwise operations and products
 * broadcast the unbatched inputs over K (they are given a leading 1), linear
 * operations shift their axes by one, and the convolution trio and the pools
 * know the leading dim themselves: B(ẋ,w) then runs with K·N images.
 */
#include "ad/rules_i.h"

#include <string.h>

static hwb_shape lead(int64_t k, const hwb_shape *s) {
    hwb_shape r = {.ndim = s->ndim + 1};
    r.dim[0] = k;
    for (int i = 0; i < s->ndim; i++) r.dim[i + 1] = s->dim[i];
    return r;
}

/* Unbatched inputs get a leading dim of size 1. */
static hwb_status align(hwb_graph *g, int n, hwb_id *in, const bool *batched) {
    for (int i = 0; i < n; i++)
        if (!batched[i]) HWB_TRY(hwb_unsqueeze(g, &in[i], in[i], 0));
    return HWB_OK;
}

/* Every attribute that names an axis moves up by one. */
static hwb_attrs shifted(const hwb__node *n, int64_t k) {
    hwb_attrs a = n->attrs;
    a.axis++;
    a.axes <<= 1;
    for (int i = HWB_MAX_DIMS - 1; i > 0; i--) {
        a.perm[i] = n->attrs.perm[i - 1] + 1;
        a.lo[i] = n->attrs.lo[i - 1];
        a.step[i] = n->attrs.step[i - 1];
    }
    for (int i = n->shape.ndim + 1; i < HWB_MAX_DIMS; i++) a.perm[i] = 0;
    a.perm[0] = 0;
    a.lo[0] = 0;
    a.step[0] = 1;
    a.shape = lead(k, &n->attrs.shape);
    return a;
}

static hwb_status batch_concat(hwb_graph *g, hwb_id *out, int64_t k, const hwb__node *n, hwb_id *in,
                               const bool *batched) {
    for (int i = 0; i < n->n_in; i++) {
        if (batched[i]) continue;
        hwb_shape s = lead(k, hwb_graph_shape(g, in[i]));
        HWB_TRY(hwb_unsqueeze(g, &in[i], in[i], 0));
        HWB_TRY(hwb_broadcast_to(g, &in[i], in[i], s));
    }
    return hwb_concat(g, out, n->n_in, in, n->attrs.axis + 1);
}

/* [K,N,C,H,W] -> [K*N,C,H,W], the op, and back: for ops that know no K. */
static hwb_status batch_folded(hwb_graph *g, hwb_id *out, int64_t k, const hwb__node *n, hwb_id x) {
    const hwb_shape *s = hwb_graph_shape(g, x);
    hwb_shape fold = {.ndim = s->ndim - 1}, back = lead(k, &n->shape);
    fold.dim[0] = s->dim[0] * s->dim[1];
    for (int i = 1; i < fold.ndim; i++) fold.dim[i] = s->dim[i + 1];
    HWB_TRY(hwb_reshape(g, &x, x, fold));
    HWB_TRY(hwb_graph_node(g, &x, n->op, 1, &x, &n->attrs));
    return hwb_reshape(g, out, x, back);
}

hwb_status hwb__batch_rule(hwb_graph *g, int64_t k, hwb_id y, const hwb_id *given,
                           const bool *batched, hwb_id *out) {
    const hwb__node *n = hwb__node_at(g, y);
    hwb_id in[64];
    for (int i = 0; i < n->n_in; i++) in[i] = given[i];
    hwb_attrs a = shifted(n, k);
    if (n->shape.ndim == HWB_MAX_DIMS)
        return hwb_fail(g->ctx, HWB_ESHAPE, "%s: no room for a batch axis beside %d axes",
                        hwb_op_name(n->op), n->shape.ndim);
    if (hwb_op_is_pointwise(n->op)) {
        HWB_TRY(align(g, n->n_in, in, batched));
        return hwb_graph_node(g, out, n->op, n->n_in, in, &n->attrs);
    }
    switch (n->op) {
    case HWB_OP_MATMUL:
        HWB_TRY(align(g, 2, in, batched));
        return hwb_graph_node(g, out, n->op, 2, in, &n->attrs);
    case HWB_OP_CONV:
    case HWB_OP_CONV_BWD_DATA:
    case HWB_OP_CONV_BWD_WEIGHTS: /* their attrs.shape is without K */
        return hwb_graph_node(g, out, n->op, 2, in, &n->attrs);
    case HWB_OP_CONCAT: return batch_concat(g, out, k, n, in, batched);
    case HWB_OP_MAXPOOL_INDEX: return batch_folded(g, out, k, n, in[0]);
    case HWB_OP_GATHER:
    case HWB_OP_SCATTER_ADD:
    case HWB_OP_POOL_GATHER:
    case HWB_OP_POOL_SCATTER:
        if (batched[1] || !batched[0])
            return hwb_fail(g->ctx, HWB_EUNSUPPORTED,
                            "%s with a different index in each of %lld "
                            "batched runs",
                            hwb_op_name(n->op), (long long)k);
        return hwb_graph_node(g, out, n->op, 2, in, &a);
    default: return hwb_graph_node(g, out, n->op, 1, in, &a);
    }
}
