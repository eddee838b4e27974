/*
 * rules_i.h: one derivative rule a family of operations, for each transform.
 *
 *   vjp    given the cotangent of a node, those of the inputs in `want`
 *   jvp    given tangents of the inputs (HWB_NONE = zero), that of the node
 *   batch  the node again, with some inputs carrying a leading dim K
 *
 * Rules build graph nodes and know nothing of devices or layouts.
 */
#ifndef HWB_AD_RULES_I_H
#define HWB_AD_RULES_I_H

#include "graph/build.h"
#include "graph/graph_i.h"

/* y: the node.  grads[i] is set for want[i]; HWB_NONE means zero. */
typedef hwb_status (*hwb__vjp_fn)(hwb_graph *g, hwb_id y, hwb_id cotangent, const bool *want,
                                  hwb_id *grads);
/* *out is HWB_NONE when the tangent is zero. */
typedef hwb_status (*hwb__jvp_fn)(hwb_graph *g, hwb_id y, const hwb_id *tangents, hwb_id *out);

hwb_status hwb__vjp_pointwise(hwb_graph *g, hwb_id y, hwb_id cot, const bool *want, hwb_id *grads);
hwb_status hwb__jvp_pointwise(hwb_graph *g, hwb_id y, const hwb_id *tangents, hwb_id *out);
hwb_status hwb__vjp_linear(hwb_graph *g, hwb_id y, hwb_id cot, const bool *want, hwb_id *grads);
hwb_status hwb__jvp_linear(hwb_graph *g, hwb_id y, const hwb_id *tangents, hwb_id *out);
hwb_status hwb__vjp_bilinear(hwb_graph *g, hwb_id y, hwb_id cot, const bool *want, hwb_id *grads);
hwb_status hwb__jvp_bilinear(hwb_graph *g, hwb_id y, const hwb_id *tangents, hwb_id *out);
hwb_status hwb__vjp_extreme(hwb_graph *g, hwb_id y, hwb_id cot, const bool *want, hwb_id *grads);
hwb_status hwb__jvp_extreme(hwb_graph *g, hwb_id y, const hwb_id *tangents, hwb_id *out);

/* in[i] replaces input i; batched[i] tells whether it has the leading K. */
hwb_status hwb__batch_rule(hwb_graph *g, int64_t k, hwb_id y, const hwb_id *in, const bool *batched,
                           hwb_id *out);

/* a + b where HWB_NONE is zero */
hwb_status hwb__sum_of(hwb_graph *g, hwb_id *out, hwb_id a, hwb_id b);
/* The transpose of broadcasting: sum x down to `shape` (same rank, dims 1). */
hwb_status hwb__sum_to(hwb_graph *g, hwb_id *out, hwb_id x, const hwb_shape *shape);
/* Nodes emitted from here on belong to the layer of node y; undo with pop. */
static inline void hwb__scope_of(hwb_graph *g, hwb_id y) {
    if (g->scope_depth < 32) g->scope_stack[g->scope_depth] = g->nodes[y]->scope;
    g->scope_depth++;
}

#endif
