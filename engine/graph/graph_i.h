/*
 * graph_i.h: the inside of a graph, for engine/graph, ad and compile.
 */
#ifndef HWB_GRAPH_I_H
#define HWB_GRAPH_I_H

#include "graph/graph.h"

typedef struct hwb__node {
    hwb_op op;
    hwb_dtype dtype;
    int32_t n_in;
    int32_t scope; /* index into scopes */
    hwb_id *in;    /* in the graph's id pool (inline_in when n_in <= 3) */
    hwb_id inline_in[3];
    hwb_shape shape;
    hwb_attrs attrs;
    hwb_tensor *tensor; /* constant, or bound input; retained */
    char *name;         /* inputs */
    /* Inputs used as class numbers: element + class_shift must lie in [0, classes);
     * classes 0 = anything.  Whoever feeds the input checks. */
    int64_t classes, class_shift;
} hwb__node;

typedef struct hwb__tap {
    char *name;
    bool wanted;
    hwb_id id;
} hwb__tap;

struct hwb_graph {
    hwb_ctx *ctx;
    int refs;
    hwb__node **nodes; /* pointers, so that a node never moves */
    int count, capacity;
    char **scopes; /* scope 0 is "" */
    int n_scopes, scope_depth, scope_stack[32];
    hwb__tap *taps;
    int n_taps;
    struct {
        hwb_tensor *buffer;
        hwb_id value;
    } * updates;
    int n_updates;
    int32_t *table; /* hash-consing: open addressing, ids, HWB_NONE = free */
    int table_size;
    uint64_t next_key;
    int ranks; /* over which the batch is spread; 0 or 1: it is all here */
    int64_t own, all;
};

static inline hwb__node *hwb__node_at(const hwb_graph *g, hwb_id id) {
    return g->nodes[id];
}

/* Zeros that meet no other zeros: something to take derivatives for, which then vanishes. */
hwb_status hwb__graph_own_zeros(hwb_graph *g, hwb_id *out, hwb_dtype dtype, hwb_shape shape);

/* Another one with each call: for attrs.key of a node that is never merged with another. */
uint64_t hwb__graph_key(hwb_graph *g);

/* True for every node that (transitively) feeds one of `roots`; `mark` has
 * g->count entries and is filled here. */
void hwb__graph_mark_needed(const hwb_graph *g, int n, const hwb_id *roots, bool *mark);
/* mark[i] = node i depends on one of `sources` (which are marked too). */
void hwb__graph_mark_dependent(const hwb_graph *g, int n, const hwb_id *sources, bool *mark);

#endif
