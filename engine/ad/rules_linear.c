/*
 * rules_linear.c: linear operations y = L x.
 *
 *     jvp   ẏ = L ẋ          the same node on the tangent
 *     vjp   x̄ = Lᵀ ȳ         the transpose, which is in the op set too
 *
 * Index operands (gather, pooling) have no derivative.
 *
 * allreduce, y_r = sum_s x_s on every rank r, is a matrix of identities between the ranks'
 * values: symmetric.  So with the loss L = sum_r l_r, of which rank r computes l_r and the
 * cotangents dL/d(its own values),
 *     x̄_s = dL/dx_s = sum_r dL/dy_r = sum_r ȳ_r,      the all-reduce of the cotangents,
 * and a parameter that all ranks hold has the gradient sum_r (rank r's gradient), which is
 * what the callers add up at the end (curvature/parts.c, optim/trainer.c).  A mean over
 * all samples is l_r = (n_r / N) mean_r; a loss that every rank holds whole counts once a
 * rank, and wants the factor 1 / ranks.
 */
#include "ad/rules_i.h"

#include <string.h>

hwb_status hwb__jvp_linear(hwb_graph *g, hwb_id y, const hwb_id *tangents, hwb_id *out) {
    const hwb__node *n = hwb__node_at(g, y);
    hwb_id in[64];
    if (!hwb_dtype_is_float(n->dtype)) {
        *out = HWB_NONE;
        return HWB_OK;
    }
    for (int i = 0; i < n->n_in; i++) in[i] = n->in[i];
    if (n->op == HWB_OP_CONCAT) {
        for (int i = 0; i < n->n_in; i++) {
            if (tangents[i] != HWB_NONE) in[i] = tangents[i];
            else HWB_TRY(hwb_zeros_like(g, &in[i], n->in[i]));
        }
    } else {
        if (tangents[0] == HWB_NONE) {
            *out = HWB_NONE;
            return HWB_OK;
        }
        in[0] = tangents[0];
    }
    return hwb_graph_node(g, out, n->op, n->n_in, in, &n->attrs);
}

/* x̄_i of a concatenation is the slice where x_i went. */
static hwb_status vjp_concat(hwb_graph *g, const hwb__node *n, hwb_id cot, const bool *want,
                             hwb_id *grads) {
    int axis = n->attrs.axis;
    int64_t start = 0;
    for (int i = 0; i < n->n_in; i++) {
        int64_t len = hwb_graph_shape(g, n->in[i])->dim[axis];
        if (want[i]) HWB_TRY(hwb_slice(g, &grads[i], cot, axis, start, len, 1));
        start += len;
    }
    return HWB_OK;
}

static hwb_status transposed(hwb_graph *g, hwb_id *out, hwb_op op, hwb_id cot, const hwb__node *n,
                             const hwb_shape *shape) {
    hwb_attrs a = n->attrs;
    if (shape) a.shape = *shape;
    hwb_id in[2] = {cot, n->n_in > 1 ? n->in[1] : HWB_NONE};
    return hwb_graph_node(g, out, op, n->n_in, in, &a);
}

/* Transpose of y[i] = x[lo + i*step] is the same walk the other way. */
static hwb_status vjp_slice_pad(hwb_graph *g, const hwb__node *n, hwb_id cot, hwb_id *grad) {
    return transposed(g, grad, n->op == HWB_OP_SLICE ? HWB_OP_PAD : HWB_OP_SLICE, cot, n,
                      hwb_graph_shape(g, n->in[0]));
}

hwb_status hwb__vjp_linear(hwb_graph *g, hwb_id y, hwb_id cot, const bool *want, hwb_id *grads) {
    const hwb__node *n = hwb__node_at(g, y);
    if (n->op == HWB_OP_CONCAT) return vjp_concat(g, n, cot, want, grads);
    if (!want[0]) return HWB_OK;
    const hwb_shape x = *hwb_graph_shape(g, n->in[0]);
    hwb_id *grad = &grads[0];
    switch (n->op) {
    case HWB_OP_ALLREDUCE: return hwb_allreduce(g, grad, cot, n->attrs.groups);
    case HWB_OP_CAST: return hwb_cast(g, grad, cot, hwb_graph_dtype(g, n->in[0]));
    case HWB_OP_RESHAPE: return hwb_reshape(g, grad, cot, x);
    case HWB_OP_PERMUTE: {
        int inverse[HWB_MAX_DIMS];
        for (int i = 0; i < x.ndim; i++) inverse[n->attrs.perm[i]] = i;
        return hwb_permute(g, grad, cot, inverse);
    }
    case HWB_OP_BROADCAST: return hwb__sum_to(g, grad, cot, &x);
    case HWB_OP_SUM: return hwb_broadcast_to(g, grad, cot, x);
    case HWB_OP_SLICE:
    case HWB_OP_PAD: return vjp_slice_pad(g, n, cot, grad);
    case HWB_OP_GATHER: return transposed(g, grad, HWB_OP_SCATTER_ADD, cot, n, &x);
    case HWB_OP_SCATTER_ADD: return transposed(g, grad, HWB_OP_GATHER, cot, n, NULL);
    case HWB_OP_AVGPOOL: return transposed(g, grad, HWB_OP_AVGPOOL_BWD, cot, n, &x);
    case HWB_OP_AVGPOOL_BWD: return transposed(g, grad, HWB_OP_AVGPOOL, cot, n, NULL);
    case HWB_OP_POOL_GATHER: return transposed(g, grad, HWB_OP_POOL_SCATTER, cot, n, &x);
    case HWB_OP_POOL_SCATTER: return transposed(g, grad, HWB_OP_POOL_GATHER, cot, n, NULL);
    default:
        return hwb_fail(hwb_graph_ctx(g), HWB_EINTERNAL, "no transpose rule for %s",
                        hwb_op_name(n->op));
    }
}
