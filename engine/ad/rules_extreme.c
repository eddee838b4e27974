/*
 * rules_extreme.c: the maximum over axes, m = max(x).
 *
 * Piecewise linear: with w = [x == m] / #[x == m] (equal maxima share),
 *     jvp   ṁ = Σ w ẋ
 *     vjp   x̄ = w m̄
 * and w has no derivative of its own.
 */
#include "ad/rules_i.h"

static hwb_status weights(hwb_graph *g, hwb_id *w, hwb_id y) {
    const hwb__node *n = hwb__node_at(g, y);
    hwb_id hit, count;
    HWB_TRY(hwb_eq(g, &hit, n->in[0], y));
    HWB_TRY(hwb_cast(g, &hit, hit, n->dtype));
    HWB_TRY(hwb_sum(g, &count, hit, n->attrs.axes, true));
    return hwb_div(g, w, hit, count);
}

hwb_status hwb__vjp_extreme(hwb_graph *g, hwb_id y, hwb_id cot, const bool *want, hwb_id *grads) {
    hwb_id w;
    if (!want[0]) return HWB_OK;
    HWB_TRY(weights(g, &w, y));
    return hwb_mul(g, &grads[0], w, cot);
}

hwb_status hwb__jvp_extreme(hwb_graph *g, hwb_id y, const hwb_id *tangents, hwb_id *out) {
    hwb_id w;
    HWB_TRY(weights(g, &w, y));
    HWB_TRY(hwb_mul(g, &w, w, tangents[0]));
    return hwb_sum(g, out, w, hwb__node_at(g, y)->attrs.axes, true);
}
