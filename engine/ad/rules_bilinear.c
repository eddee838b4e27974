/*
 * rules_bilinear.c: y = B(a, b), linear in each operand.
 *
 *     jvp   ẏ = B(ȧ, b) + B(a, ḃ)
 *     vjp   ā = B₁ᵀ(ȳ, b),  b̄ = B₂ᵀ(ȳ, a)
 *
 * The transposes are again products of the set: matmul with transpose flags,
 * and the convolution trio, which is closed:
 *     y = conv(x,w):         x̄ = bwd_data(ȳ,w)     w̄ = bwd_weights(x,ȳ)
 *     y = bwd_data(d,w):     d̄ = conv(ȳ,w)         w̄ = bwd_weights(ȳ,d)
 *     y = bwd_weights(x,d):  x̄ = bwd_data(d,ȳ)     d̄ = conv(x,ȳ)
 */
#include "ad/rules_i.h"

hwb_status hwb__jvp_bilinear(hwb_graph *g, hwb_id y, const hwb_id *tangents, hwb_id *out) {
    const hwb__node *n = hwb__node_at(g, y);
    hwb_id total = HWB_NONE;
    for (int i = 0; i < 2; i++) {
        if (tangents[i] == HWB_NONE) continue;
        hwb_id in[2] = {n->in[0], n->in[1]}, t;
        in[i] = tangents[i];
        HWB_TRY(hwb_graph_node(g, &t, n->op, 2, in, &n->attrs));
        HWB_TRY(hwb__sum_of(g, &total, total, t));
    }
    *out = total;
    return HWB_OK;
}

static hwb_status product(hwb_graph *g, hwb_id *y, hwb_id a, hwb_id b, int ta, int tb) {
    hwb_attrs attrs = {.ta = ta, .tb = tb};
    return hwb_graph_node(g, y, HWB_OP_MATMUL, 2, (hwb_id[]){a, b}, &attrs);
}

/* y = op(a) op(b); op transposes when its flag is set.  Batch dims of size 1
 * were broadcast, so their cotangents are summed. */
static hwb_status vjp_matmul(hwb_graph *g, const hwb__node *n, hwb_id cot, const bool *want,
                             hwb_id *grads) {
    hwb_id a = n->in[0], b = n->in[1];
    int ta = n->attrs.ta, tb = n->attrs.tb;
    if (want[0]) {
        if (ta) HWB_TRY(product(g, &grads[0], b, cot, tb, 1));
        else HWB_TRY(product(g, &grads[0], cot, b, 0, !tb));
        HWB_TRY(hwb__sum_to(g, &grads[0], grads[0], hwb_graph_shape(g, a)));
    }
    if (want[1]) {
        if (tb) HWB_TRY(product(g, &grads[1], cot, a, 1, ta));
        else HWB_TRY(product(g, &grads[1], a, cot, !ta, 0));
        HWB_TRY(hwb__sum_to(g, &grads[1], grads[1], hwb_graph_shape(g, b)));
    }
    return HWB_OK;
}

static hwb_status conv_like(hwb_graph *g, hwb_id *y, hwb_op op, hwb_id a, hwb_id b,
                            const hwb__node *n, hwb_id result_like) {
    hwb_attrs attrs = n->attrs;
    attrs.shape = op == HWB_OP_CONV ? (hwb_shape){0} : *hwb_graph_shape(g, result_like);
    return hwb_graph_node(g, y, op, 2, (hwb_id[]){a, b}, &attrs);
}

static hwb_status vjp_conv(hwb_graph *g, const hwb__node *n, hwb_id c, const bool *want,
                           hwb_id *grads) {
    hwb_id a = n->in[0], b = n->in[1];
    if (hwb_graph_shape(g, a)->ndim == 5 || hwb_graph_shape(g, b)->ndim == 5)
        return hwb_fail(hwb_graph_ctx(g), HWB_EUNSUPPORTED,
                        "%s: reverse mode through a batched convolution (differentiate first, "
                        "then batch)",
                        hwb_op_name(n->op));
    switch (n->op) {
    case HWB_OP_CONV:
        if (want[0]) HWB_TRY(conv_like(g, &grads[0], HWB_OP_CONV_BWD_DATA, c, b, n, a));
        if (want[1]) HWB_TRY(conv_like(g, &grads[1], HWB_OP_CONV_BWD_WEIGHTS, a, c, n, b));
        return HWB_OK;
    case HWB_OP_CONV_BWD_DATA:
        if (want[0]) HWB_TRY(conv_like(g, &grads[0], HWB_OP_CONV, c, b, n, a));
        if (want[1]) HWB_TRY(conv_like(g, &grads[1], HWB_OP_CONV_BWD_WEIGHTS, c, a, n, b));
        return HWB_OK;
    default:
        if (want[0]) HWB_TRY(conv_like(g, &grads[0], HWB_OP_CONV_BWD_DATA, b, c, n, a));
        if (want[1]) HWB_TRY(conv_like(g, &grads[1], HWB_OP_CONV, a, c, n, b));
        return HWB_OK;
    }
}

hwb_status hwb__vjp_bilinear(hwb_graph *g, hwb_id y, hwb_id cot, const bool *want, hwb_id *grads) {
    const hwb__node *n = hwb__node_at(g, y);
    if (n->op == HWB_OP_MATMUL) return vjp_matmul(g, n, cot, want, grads);
    return vjp_conv(g, n, cot, want, grads);
}
