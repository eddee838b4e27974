/*
 * graph.h: the intermediate representation: a list of nodes in static single
 * assignment form.
 *
 * A node is one primitive operation (ops.def) on earlier nodes; its id is its
 * place in the list, so the list is always in topological order.  Tracing a
 * model, taking derivatives and simplifying all append to a graph or rebuild
 * it; nothing is ever changed in place.  A node's value is one tensor; its
 * shape and dtype are inferred when it is added.
 */
#ifndef HWB_GRAPH_H
#define HWB_GRAPH_H

#include "graph/op.h"

typedef struct hwb_graph hwb_graph;
typedef int32_t hwb_id;       /* a node of a graph */
#define HWB_NONE ((hwb_id)-1) /* "no node": also a derivative known to be zero */

HWB_API hwb_status hwb_graph_new(hwb_ctx *ctx, hwb_graph **out); /* new ref */
HWB_API hwb_graph *hwb_graph_retain(hwb_graph *g);
HWB_API void hwb_graph_release(hwb_graph *g);
HWB_API hwb_ctx *hwb_graph_ctx(const hwb_graph *g);

/* ---- leaves ------------------------------------------------------------------ */

/* A value given at run time.  `name` is copied and shown in dumps and errors. */
HWB_API hwb_status hwb_graph_input(hwb_graph *g, hwb_id *out, hwb_role role, hwb_dtype dtype,
                                   hwb_shape shape, const char *name);
/* A captured tensor (retained, read at every run's first stage). */
HWB_API hwb_status hwb_graph_constant(hwb_graph *g, hwb_id *out, hwb_tensor *t);
HWB_API hwb_status hwb_graph_fill(hwb_graph *g, hwb_id *out, hwb_dtype dtype, hwb_shape shape,
                                  double value);
/* Tie a tensor to an input node; hwb_graph_lift on that tensor gives the node.
 * Lifting an unknown tensor makes a tied input of role CONST.  This is how
 * closures over parameters and other tensors work. */
HWB_API hwb_status hwb_graph_bind(hwb_graph *g, hwb_id input, hwb_tensor *t);
HWB_API hwb_status hwb_graph_lift(hwb_graph *g, hwb_id *out, hwb_tensor *t);
/* The tensor bound to an input node or held by a constant; borrowed, or NULL. */
HWB_API hwb_tensor *hwb_graph_tensor(const hwb_graph *g, hwb_id id);

/* ---- nodes ---------------------------------------------------------------------- */

/* Append one primitive; shapes are checked by hwb_op_infer.  attrs may be NULL. */
HWB_API hwb_status hwb_graph_node(hwb_graph *g, hwb_id *out, hwb_op op, int n_in, const hwb_id *in,
                                  const hwb_attrs *attrs);

HWB_API int hwb_graph_count(const hwb_graph *g);
HWB_API hwb_op hwb_graph_op(const hwb_graph *g, hwb_id id);
HWB_API const hwb_shape *hwb_graph_shape(const hwb_graph *g, hwb_id id);
HWB_API hwb_dtype hwb_graph_dtype(const hwb_graph *g, hwb_id id);
HWB_API const hwb_attrs *hwb_graph_attrs(const hwb_graph *g, hwb_id id);
HWB_API int hwb_graph_inputs(const hwb_graph *g, hwb_id id, const hwb_id **in); /* borrowed */
HWB_API const char *hwb_graph_name(const hwb_graph *g, hwb_id id); /* of an input, or "" */

/* ---- ranks ------------------------------------------------------------------------ */

/* Inputs hold `own` of the `all` samples of a batch, the others are on the other ranks:
 * batch statistics written from now on are those of all samples (hwb_allreduce). */
HWB_API void hwb_graph_spread(hwb_graph *g, int ranks, int64_t own, int64_t all);

/* ---- scopes: which layer a node belongs to (for dumps, errors, timing) -------------- */

HWB_API hwb_status hwb_graph_push_scope(hwb_graph *g, const char *name);
HWB_API void hwb_graph_pop_scope(hwb_graph *g);
HWB_API const char *hwb_graph_scope(const hwb_graph *g, hwb_id id); /* "layer1.0.conv1" or "" */

/* ---- taps: named intermediate values --------------------------------------------------- */

/* hwb_graph_tap marks a value (a layer's input, say).  When a tap of that name
 * was asked for before tracing, the value gets zeros of its shape added to it that
 * are a node of their own, so that derivatives with respect to the activation are
 * derivatives with respect to them; the compiler drops the addition. */
HWB_API hwb_status hwb_graph_want_tap(hwb_graph *g, const char *name);
HWB_API hwb_status hwb_graph_tap(hwb_graph *g, hwb_id *out, hwb_id x, const char *name);
/* The added zeros, or the marked value itself when none was asked for. */
HWB_API hwb_id hwb_graph_tap_input(const hwb_graph *g, const char *name); /* HWB_NONE if absent */

/* ---- side effects: buffers that training updates (batch-norm statistics) ----------------- */

HWB_API hwb_status hwb_graph_update(hwb_graph *g, hwb_tensor *buffer, hwb_id value);
HWB_API int hwb_graph_update_count(const hwb_graph *g);
HWB_API hwb_tensor *hwb_graph_update_at(const hwb_graph *g, int i, hwb_id *value); /* borrowed */

/* ---- text ------------------------------------------------------------------------------------ */

/* malloc'd listing of the nodes that `outputs` need (all when n_out is 0). */
HWB_API char *hwb_graph_dump(const hwb_graph *g, int n_out, const hwb_id *outputs);

#endif
