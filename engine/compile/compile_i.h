/*
 * compile_i.h: from a graph to a plan.
 *
 *   fold_norm  batch-norm in evaluation mode into convolutions; rebuilds the graph
 *   simplify   algebra, constant folding, dead code; rebuilds the graph
 *   layout     images as N,H,W,C for backends that want it; rebuilds the graph
 *   order      of sums over ranks; rebuilds the graph
 *   recompute  values that wait long, again for their late readers; rebuilds the graph
 *   group      sums into convolutions, pointwise chains into fused kernels, which follow
 *              convolutions
 *   plan       stages, schedule, buffers
 *
 * Rebuilding passes return a new graph with `outputs` renumbered in place and
 * `map` (old id -> new id, HWB_NONE = gone) for the inputs.
 */
#ifndef HWB_COMPILE_I_H
#define HWB_COMPILE_I_H

#include "backend/backend.h"
#include "graph/build.h"
#include "graph/graph_i.h"

/* Keeps every leaf; also run by itself, before derivatives are taken. */
hwb_status hwb__fold_norm(hwb_graph *g, hwb_graph **out, int n_out, hwb_id *outputs, hwb_id *map);
hwb_status hwb__simplify(hwb_graph *g, hwb_graph **out, int n_out, hwb_id *outputs, hwb_id *map);
hwb_status hwb__channels_last(hwb_graph *g, hwb_graph **out, int n_out, hwb_id *outputs,
                              hwb_id *map);
/* Sums over ranks in one order; last of all (order.c). */
bool hwb__has_allreduce(const hwb_graph *g);
hwb_status hwb__order_allreduce(hwb_graph *g, hwb_graph **out, int n_out, hwb_id *outputs,
                                hwb_id *map);
/* Values that wait for a late reader, across stages or inside each, are computed again where that
 * is cheap (recompute.c); *out is NULL where too little is gained. */
hwb_status hwb__recompute(hwb_graph *g, hwb_graph **out, bool across, int n_out, hwb_id *outputs,
                          hwb_id *map);
/* The stage of a node whose inputs' stages are known. */
uint16_t hwb__stage_of(const hwb__node *n, const uint16_t *stage);
/* A leaf again in another graph (same role, name, tensor, constant). */
hwb_status hwb__copy_leaf(const hwb_graph *from, hwb_id id, hwb_graph *to, hwb_id *out);

/* ---- minimum cut (mincut.c) -------------------------------------------------- */

typedef struct hwb__cut hwb__cut;      /* a graph of n vertices */
#define HWB__CUT_NEVER (INT64_MAX / 4) /* capacity of an edge that may not be cut */
hwb_status hwb__cut_new(hwb_ctx *ctx, hwb__cut **out, int n);
hwb_status hwb__cut_edge(hwb__cut *c, int from, int to, int64_t capacity);
/* Once: which vertices are on the sink's side of the minimum cut nearest to it. */
void hwb__cut_solve(hwb__cut *c, int source, int sink, bool *sink_side);
void hwb__cut_free(hwb__cut *c);

/* ---- groups ---------------------------------------------------------------- */

/* What becomes of each node: a unit of the schedule is one kernel. */
typedef struct hwb__groups {
    int count; /* nodes */
    int *unit; /* node -> unit, -1 for leaves, aliases and dead nodes */
    int n_units;
    hwb_id *alias;   /* node -> node whose value it shares (itself if none) */
    hwb_id *add_to;  /* conv node -> node whose value it adds to its result, or NONE */
    hwb_id *pair;    /* conv node -> a like one whose result is added, in the same unit, or NONE */
    uint16_t *stage; /* node -> hwb_role */
    bool *needed;
    bool *output;  /* node (after alias) is asked for */
    bool tangents; /* some input is one */
} hwb__groups;

/* The node whose value `id` shares. */
static inline hwb_id hwb__root(const hwb__groups *q, hwb_id id) {
    while (q->alias[id] != id) id = q->alias[id];
    return id;
}

/* Node `id`, an alias of `root` or itself, stands for the same elements in the same shape: it
 * is no reshape. */
static inline bool hwb__same_value(const hwb_graph *g, hwb_id id, hwb_id root) {
    return hwb_shape_equal(&g->nodes[id]->shape, &g->nodes[root]->shape);
}

/* A forward pass that is differentiated along tangents decides on which side of its kinks
 * (ReLU, max-pool) the derivatives are taken: one unit on the other side is another Hessian,
 * so its values are rounded as little as possible.  What follows is linear in the tangents. */
static inline bool hwb__exact(const hwb_graph *g, const hwb__groups *q, hwb_id id) {
    return q->tangents && g->nodes[id]->op == HWB_OP_CONV && q->stage[id] < HWB_ROLE_TANGENT;
}

hwb_status hwb__group(const hwb_graph *g, hwb__groups *out, int n_out, const hwb_id *outputs,
                      bool fuse, bool pairs, const hwb_device *follows);
void hwb__groups_free(hwb__groups *q);

/* ---- units while they are merged (units.c) ------------------------------------ */

typedef struct hwb__units {
    const hwb_graph *g;
    hwb__groups *q;
    hwb_id **members; /* by unit; NULL once merged away */
    int *n_members;
    int *straddle; /* by node: units with members (or an add_to) on both sides of it */
    int *seen;     /* by unit: last search that visited it */
    int search;
    int *stack;
    const int *uses; /* by node: readers of its value */
} hwb__units;

hwb_status hwb__units_new(hwb__units *c, const hwb_graph *g, hwb__groups *q, const int *uses);
void hwb__units_free(hwb__units *c);
/* Joining the units merge[0..n) would make a cycle. */
bool hwb__units_cycle(hwb__units *c, int n, const int *merge);
/* Joins them: kept as merge[0], members in id order. */
hwb_status hwb__units_join(hwb__units *c, int n, const int *merge);
bool hwb__in_list(int u, int n, const int *list);

/* ---- plan ---------------------------------------------------------------------- */

typedef enum hwb__place {
    HWB__AT_INPUT,  /* memory of the tensor given for an input or constant */
    HWB__AT_OUTPUT, /* memory of a result tensor */
    HWB__AT_KEPT,   /* program memory that lives between runs */
    HWB__AT_ARENA   /* program memory for one stage */
} hwb__place;

typedef struct hwb__value {
    hwb_id node; /* that made it (never an alias) */
    hwb_vdesc desc;
    hwb__place place;
    int index;     /* leaf number or output number */
    size_t offset; /* bytes into that memory */
    size_t bytes;
    uint16_t stage;
    int first, last; /* steps between which it lives, within its stage */
} hwb__value;

typedef struct hwb__step {
    hwb_id node; /* the node, or the last node of a fused group */
    hwb_op op;   /* FUSED for groups */
    uint16_t stage;
    int n_in, n_out;
    int *in, *out;      /* value numbers */
    hwb_vdesc *in_desc; /* as the kernel sees them (a reshape is only a description) */
    hwb_vdesc *out_desc;
    hwb_fused *fused; /* owned; NULL for single nodes */
    hwb_finstr *instr;
    hwb_fout *fout;
    hwb_id *out_node; /* node of each output, for messages */
    int n_nodes;      /* how many graph nodes it stands for */
    int n_pointwise;  /* how many of them are its register program */
    bool exact;       /* of hwb_kdesc */
    uint32_t stable;
    int64_t macs;
} hwb__step;

typedef struct hwb__leaf {
    hwb_id node;
    int value;
} hwb__leaf;

typedef struct hwb__output {
    int value; /* whose memory holds it */
    hwb_vdesc desc;
    bool direct; /* the kernel writes into the result tensor */
} hwb__output;

typedef struct hwb__plan {
    hwb__value *values;
    int n_values;
    hwb__step *steps; /* in schedule order: by stage, then topologically */
    int n_steps;
    hwb__leaf *leaves;
    int n_leaves;
    hwb__output *outputs;
    int n_outputs;
    size_t arena_bytes, kept_bytes;
    int last_stage; /* at most HWB_ROLE_TANGENT unless several tangents are run apart */
} hwb__plan;

/* pairs: sums of two convolutions are one kernel; follows: the device whose convolutions groups
 * may follow, or NULL; align: a value may lie inside an
 * input's or a result's memory, at a multiple of so many bytes (place.c); 0: never. */
hwb_status hwb__plan_make(const hwb_graph *g, hwb__plan **out, int n_out, const hwb_id *outputs,
                          bool fuse, bool pairs, const hwb_device *follows, size_t align);
void hwb__plan_free(hwb__plan *p);
void hwb__step_free(hwb__step *s);
/* This node is, or as a slice may be, a part of a leaf's memory, which nothing writes. */
bool hwb__in_leaf(const hwb_graph *g, const hwb_id *alias, hwb_id id);
void hwb__place_slices(const hwb_graph *g, hwb__plan *p, size_t align);
void hwb__place_joins(const hwb_graph *g, hwb__plan *p, size_t align);

/* Describe unit members as a register program (fuse.c); fills in/out nodes.  first: the node
 * that is input 0, and may be stored, or NONE. */
hwb_status hwb__fuse_step(const hwb_graph *g, const hwb__groups *q, hwb_id first, int n,
                          const hwb_id *members, int n_stored, const hwb_id *stored,
                          hwb__step *step, hwb_id *in_nodes);

/* ---- groups that follow a convolution (epilogue.c) ----------------------------------- */

bool hwb__is_conv(hwb_op op);
/* Lets groups follow convolutions where the device takes both as one kernel. */
hwb_status hwb__follow(hwb__units *c, const hwb_device *d);
/* Inputs of the kernel of a convolution, or of a sum of two: at most 5. */
int hwb__conv_inputs(const hwb_graph *g, const hwb__groups *q, hwb_id conv, hwb_id *in);
/* Describes a unit of a convolution and the group that follows it: step->op, n_in, n_out and
 * the register program; the convolution, nodes of the inputs and of what is stored (members
 * with `outside`). */
hwb_status hwb__follow_step(const hwb_graph *g, const hwb__groups *q, int n, const hwb_id *members,
                            const bool *outside, hwb__step *step, hwb_id *conv, hwb_id *in,
                            hwb_id *stored);

/* Node can be an instruction of a fused group. */
bool hwb__fusible(const hwb_graph *g, hwb_id id);
/* Shape over which a fusible node iterates. */
const hwb_shape *hwb__fuse_space(const hwb_graph *g, hwb_id id);

#endif
