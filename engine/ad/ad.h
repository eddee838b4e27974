/*
 * ad.h: derivatives as graph rewrites.
 *
 * Each transform appends nodes to the same graph.  A derivative that is zero
 * by structure is HWB_NONE and never emitted: that is what prunes the Hessian
 * of one block to the layers that matter.
 *
 *     HVP = batch(K)(jvp(vjp(loss)))        forward over reverse
 */
#ifndef HWB_AD_H
#define HWB_AD_H

#include "graph/graph.h"

/* Reverse mode: grads[i] = sum_j (d outs[j] / d wrt[i])^T cotangents[j].
 * cotangents[j] has the shape of outs[j]; HWB_NONE stands for ones when outs[j]
 * has one element, for zero otherwise.  wrt may be interior nodes: they are
 * then treated as independent (derivatives do not flow through them). */
HWB_API hwb_status hwb_vjp(hwb_graph *g, int n_out, const hwb_id *outs, const hwb_id *cotangents,
                           int n_wrt, const hwb_id *wrt, hwb_id *grads);

/* Forward mode: out_tangents[j] = sum_i (d outs[j] / d wrt[i]) tangents[i]. */
HWB_API hwb_status hwb_jvp(hwb_graph *g, int n_wrt, const hwb_id *wrt, const hwb_id *tangents,
                           int n_out, const hwb_id *outs, hwb_id *out_tangents);

/* K at once: every node of `outs` that depends on ids[i] is written again with
 * batched[i] in its place, whose shape has one more, leading dim K.  The
 * results carry that dim too; an output that depends on none is broadcast. */
HWB_API hwb_status hwb_batch(hwb_graph *g, int64_t k, int n, const hwb_id *ids,
                             const hwb_id *batched, int n_out, const hwb_id *outs,
                             hwb_id *batched_outs);

#endif
