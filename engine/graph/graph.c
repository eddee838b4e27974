/*
 * graph.c: making graphs: leaves, nodes, scopes, taps, updates.
 *
 * Nodes are hash-consed: adding an operation that is already there with the
 * same inputs and attributes gives the old node.  Common subexpressions thus
 * never exist, whoever emits them (a trace, a derivative rule, the batch rule).
 */
#include "graph/graph_i.h"

#include <stdlib.h>
#include <string.h>

/* ---- life ---------------------------------------------------------------------- */

hwb_status hwb_graph_new(hwb_ctx *ctx, hwb_graph **out) {
    hwb_graph *g = calloc(1, sizeof *g);
    if (!g) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a graph");
    g->ctx = ctx;
    g->refs = 1;
    g->scopes = calloc(1, sizeof *g->scopes);
    if (g->scopes) g->scopes[0] = strdup("");
    if (!g->scopes || !g->scopes[0]) {
        hwb_graph_release(g);
        return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a graph");
    }
    g->n_scopes = 1;
    *out = g;
    return HWB_OK;
}

hwb_graph *hwb_graph_retain(hwb_graph *g) {
    g->refs++;
    return g;
}

static void node_free(hwb__node *n) {
    if (n->in != n->inline_in) free(n->in);
    hwb_tensor_release(n->tensor);
    free(n->name);
    free(n);
}

void hwb_graph_release(hwb_graph *g) {
    if (!g || --g->refs > 0) return;
    for (int i = 0; i < g->count; i++) node_free(g->nodes[i]);
    for (int i = 0; i < g->n_scopes; i++) free(g->scopes[i]);
    for (int i = 0; i < g->n_taps; i++) free(g->taps[i].name);
    for (int i = 0; i < g->n_updates; i++) hwb_tensor_release(g->updates[i].buffer);
    free(g->nodes);
    free(g->scopes);
    free(g->taps);
    free(g->updates);
    free(g->table);
    free(g);
}

void hwb_graph_spread(hwb_graph *g, int ranks, int64_t own, int64_t all) {
    g->ranks = ranks;
    g->own = own;
    g->all = all;
}

hwb_ctx *hwb_graph_ctx(const hwb_graph *g) {
    return g->ctx;
}

/* ---- hash-consing ---------------------------------------------------------------- */

static uint64_t mix(uint64_t h, uint64_t x) {
    h ^= x + 0x9e3779b97f4a7c15ull + (h << 6) + (h >> 2);
    return h * 0xff51afd7ed558ccdull;
}

static uint64_t node_hash(hwb_op op, int n_in, const hwb_id *in, const hwb_attrs *attrs) {
    uint64_t h = mix(0, (uint64_t)op);
    for (int i = 0; i < n_in; i++) h = mix(h, (uint64_t)in[i]);
    uint64_t word;
    const char *bytes = (const char *)attrs;
    for (size_t i = 0; i + sizeof word <= sizeof *attrs; i += sizeof word) {
        memcpy(&word, bytes + i, sizeof word);
        h = mix(h, word);
    }
    return h ^ (h >> 29);
}

static bool node_same(const hwb__node *n, hwb_op op, int n_in, const hwb_id *in,
                      const hwb_attrs *attrs) {
    return n->op == op && n->n_in == n_in &&
           (n_in == 0 || memcmp(n->in, in, (size_t)n_in * sizeof *in) == 0) &&
           memcmp(&n->attrs, attrs, sizeof *attrs) == 0;
}

static hwb_status table_grow(hwb_graph *g) {
    int size = g->table_size ? g->table_size * 2 : 256;
    int32_t *table = malloc((size_t)size * sizeof *table);
    if (!table) return hwb_fail(g->ctx, HWB_ENOMEM, "out of memory for a graph");
    for (int i = 0; i < size; i++) table[i] = HWB_NONE;
    for (hwb_id id = 0; id < g->count; id++) {
        const hwb__node *n = g->nodes[id];
        uint64_t at = node_hash(n->op, n->n_in, n->in, &n->attrs) & (uint64_t)(size - 1);
        while (table[at] != HWB_NONE) at = (at + 1) & (uint64_t)(size - 1);
        table[at] = id;
    }
    free(g->table);
    g->table = table;
    g->table_size = size;
    return HWB_OK;
}

/* ---- nodes -------------------------------------------------------------------------- */

static hwb_status node_append(hwb_graph *g, hwb_id *out, hwb__node *n) {
    if (g->count == g->capacity) {
        int capacity = g->capacity ? g->capacity * 2 : 64;
        hwb__node **nodes = realloc(g->nodes, (size_t)capacity * sizeof *nodes);
        if (!nodes) return hwb_fail(g->ctx, HWB_ENOMEM, "out of memory for a graph");
        g->nodes = nodes;
        g->capacity = capacity;
    }
    g->nodes[g->count] = n;
    *out = g->count++;
    return HWB_OK;
}

static const char *where_text(const hwb_graph *g) {
    return g->scopes[g->scope_depth ? g->scope_stack[g->scope_depth - 1] : 0];
}

hwb_status hwb_graph_node(hwb_graph *g, hwb_id *out, hwb_op op, int n_in, const hwb_id *in,
                          const hwb_attrs *attrs) {
    /* Attributes are hashed as bytes: clear what a shape does not use. */
    hwb_attrs clean;
    memset(&clean, 0, sizeof clean);
    if (attrs) {
        clean = *attrs;
        memset(&clean.shape, 0, sizeof clean.shape);
        clean.shape.ndim = attrs->shape.ndim;
        for (int i = 0; i < attrs->shape.ndim && i < HWB_MAX_DIMS; i++)
            clean.shape.dim[i] = attrs->shape.dim[i];
    }
    attrs = &clean;
    const hwb_shape *shapes[64];
    hwb_dtype dtypes[64];
    if (n_in > 64)
        return hwb_fail(g->ctx, HWB_EARG, "%s: %d inputs, at most 64 are allowed", hwb_op_name(op),
                        n_in);
    for (int i = 0; i < n_in; i++) {
        if (in[i] < 0 || in[i] >= g->count)
            return hwb_fail(g->ctx, HWB_EARG, "%s: input %d is not a node of this graph",
                            hwb_op_name(op), i + 1);
        shapes[i] = &g->nodes[in[i]]->shape;
        dtypes[i] = g->nodes[in[i]]->dtype;
    }
    if (g->count * 2 >= g->table_size) HWB_TRY(table_grow(g));
    uint64_t mask = (uint64_t)(g->table_size - 1);
    uint64_t at = node_hash(op, n_in, in, attrs) & mask;
    for (; g->table[at] != HWB_NONE; at = (at + 1) & mask) {
        if (node_same(g->nodes[g->table[at]], op, n_in, in, attrs)) {
            *out = g->table[at];
            return HWB_OK;
        }
    }
    hwb_shape shape;
    hwb_dtype dtype;
    hwb_status st = hwb_op_infer(g->ctx, op, attrs, n_in, shapes, dtypes, &shape, &dtype);
    if (st != HWB_OK) return *where_text(g) ? hwb_fail_in(g->ctx, st, "%s", where_text(g)) : st;
    hwb__node *n = calloc(1, sizeof *n);
    if (!n) return hwb_fail(g->ctx, HWB_ENOMEM, "out of memory for a graph");
    n->op = op;
    n->n_in = n_in;
    n->in = n->inline_in;
    if (n_in > 3 && !(n->in = malloc((size_t)n_in * sizeof *n->in))) {
        free(n);
        return hwb_fail(g->ctx, HWB_ENOMEM, "out of memory for a graph");
    }
    if (n_in) memcpy(n->in, in, (size_t)n_in * sizeof *in);
    n->attrs = *attrs;
    n->shape = shape;
    n->dtype = dtype;
    n->scope = g->scope_depth ? g->scope_stack[g->scope_depth - 1] : 0;
    st = node_append(g, out, n);
    if (st != HWB_OK) {
        node_free(n);
        return st;
    }
    g->table[at] = *out;
    if (attrs->key > g->next_key) g->next_key = attrs->key; /* a node of another graph, again */
    return HWB_OK;
}

int hwb_graph_count(const hwb_graph *g) {
    return g->count;
}
hwb_op hwb_graph_op(const hwb_graph *g, hwb_id id) {
    return g->nodes[id]->op;
}
const hwb_shape *hwb_graph_shape(const hwb_graph *g, hwb_id id) {
    return &g->nodes[id]->shape;
}
hwb_dtype hwb_graph_dtype(const hwb_graph *g, hwb_id id) {
    return g->nodes[id]->dtype;
}
const hwb_attrs *hwb_graph_attrs(const hwb_graph *g, hwb_id id) {
    return &g->nodes[id]->attrs;
}
int hwb_graph_inputs(const hwb_graph *g, hwb_id id, const hwb_id **in) {
    *in = g->nodes[id]->in;
    return g->nodes[id]->n_in;
}
const char *hwb_graph_name(const hwb_graph *g, hwb_id id) {
    return g->nodes[id]->name ? g->nodes[id]->name : "";
}

/* ---- leaves ---------------------------------------------------------------------------- */

uint64_t hwb__graph_key(hwb_graph *g) {
    return ++g->next_key;
}

/* Leaves carry a unique key, so hash-consing never merges two of them. */
static hwb_attrs leaf_attrs(hwb_graph *g, hwb_dtype dtype, hwb_shape shape) {
    hwb_attrs a;
    memset(&a, 0, sizeof a);
    a.shape.ndim = shape.ndim;
    for (int i = 0; i < shape.ndim; i++) a.shape.dim[i] = shape.dim[i];
    a.dtype = (int32_t)dtype;
    a.key = hwb__graph_key(g);
    return a;
}

hwb_status hwb_graph_input(hwb_graph *g, hwb_id *out, hwb_role role, hwb_dtype dtype,
                           hwb_shape shape, const char *name) {
    HWB_TRY(hwb_shape_check(g->ctx, &shape));
    hwb_attrs a = leaf_attrs(g, dtype, shape);
    a.role = (int32_t)role;
    hwb_id id;
    HWB_TRY(hwb_graph_node(g, &id, HWB_OP_INPUT, 0, NULL, &a));
    g->nodes[id]->name = strdup(name ? name : "");
    *out = id;
    return HWB_OK;
}

hwb_status hwb_graph_constant(hwb_graph *g, hwb_id *out, hwb_tensor *t) {
    hwb_attrs a = leaf_attrs(g, hwb_tensor_dtype(t), *hwb_tensor_shape(t));
    hwb_id id;
    HWB_TRY(hwb_graph_node(g, &id, HWB_OP_CONSTANT, 0, NULL, &a));
    g->nodes[id]->tensor = hwb_tensor_retain(t);
    *out = id;
    return HWB_OK;
}

hwb_status hwb_graph_fill(hwb_graph *g, hwb_id *out, hwb_dtype dtype, hwb_shape shape,
                          double value) {
    HWB_TRY(hwb_shape_check(g->ctx, &shape));
    hwb_attrs a = leaf_attrs(g, dtype, shape);
    a.key = 0; /* equal fills are one node */
    g->next_key--;
    a.value = value;
    return hwb_graph_node(g, out, HWB_OP_FILL, 0, NULL, &a);
}

hwb_status hwb__graph_own_zeros(hwb_graph *g, hwb_id *out, hwb_dtype dtype, hwb_shape shape) {
    HWB_TRY(hwb_shape_check(g->ctx, &shape));
    hwb_attrs a = leaf_attrs(g, dtype, shape);
    return hwb_graph_node(g, out, HWB_OP_FILL, 0, NULL, &a);
}

hwb_status hwb_graph_bind(hwb_graph *g, hwb_id input, hwb_tensor *t) {
    hwb__node *n = g->nodes[input];
    HWB_ASSERT(n->op == HWB_OP_INPUT);
    hwb_tensor_retain(t);
    hwb_tensor_release(n->tensor);
    n->tensor = t;
    return HWB_OK;
}

/* Same storage, place, shape and strides: the same view of the same numbers. */
static bool same_view(const hwb_tensor *a, const hwb_tensor *b) {
    if (a == b) return true;
    const hwb_shape *s = hwb_tensor_shape(a);
    return hwb_tensor_data(a) == hwb_tensor_data(b) &&
           hwb_tensor_storage_id(a) == hwb_tensor_storage_id(b) &&
           hwb_tensor_dtype(a) == hwb_tensor_dtype(b) && hwb_shape_equal(s, hwb_tensor_shape(b)) &&
           memcmp(hwb_tensor_strides(a), hwb_tensor_strides(b),
                  (size_t)s->ndim * sizeof(int64_t)) == 0;
}

hwb_status hwb_graph_lift(hwb_graph *g, hwb_id *out, hwb_tensor *t) {
    for (hwb_id id = 0; id < g->count; id++) {
        if (g->nodes[id]->tensor && same_view(g->nodes[id]->tensor, t)) {
            *out = id;
            return HWB_OK;
        }
    }
    HWB_TRY(hwb_graph_input(g, out, HWB_ROLE_CONST, hwb_tensor_dtype(t), *hwb_tensor_shape(t), ""));
    return hwb_graph_bind(g, *out, t);
}

hwb_tensor *hwb_graph_tensor(const hwb_graph *g, hwb_id id) {
    return g->nodes[id]->tensor;
}

/* ---- scopes ------------------------------------------------------------------------------- */

hwb_status hwb_graph_push_scope(hwb_graph *g, const char *name) {
    if (g->scope_depth == 32) return hwb_fail(g->ctx, HWB_EARG, "scopes nest deeper than 32");
    int i = 0;
    while (i < g->n_scopes && strcmp(g->scopes[i], name) != 0) i++;
    if (i == g->n_scopes) {
        char **scopes = realloc(g->scopes, (size_t)(i + 1) * sizeof *scopes);
        if (scopes) g->scopes = scopes;
        if (!scopes || !(g->scopes[i] = strdup(name)))
            return hwb_fail(g->ctx, HWB_ENOMEM, "out of memory for a graph");
        g->n_scopes++;
    }
    g->scope_stack[g->scope_depth++] = i;
    return HWB_OK;
}

void hwb_graph_pop_scope(hwb_graph *g) {
    HWB_ASSERT(g->scope_depth > 0);
    g->scope_depth--;
}

const char *hwb_graph_scope(const hwb_graph *g, hwb_id id) {
    return g->scopes[g->nodes[id]->scope];
}

/* ---- taps ------------------------------------------------------------------------------------ */

static hwb__tap *tap_find(const hwb_graph *g, const char *name) {
    for (int i = 0; i < g->n_taps; i++)
        if (strcmp(g->taps[i].name, name) == 0) return &g->taps[i];
    return NULL;
}

static hwb_status tap_add(hwb_graph *g, hwb__tap **out, const char *name) {
    hwb__tap *taps = realloc(g->taps, (size_t)(g->n_taps + 1) * sizeof *taps);
    if (taps) g->taps = taps;
    char *copy = strdup(name);
    if (!taps || !copy) {
        free(copy);
        return hwb_fail(g->ctx, HWB_ENOMEM, "out of memory for a graph");
    }
    *out = &g->taps[g->n_taps++];
    **out = (hwb__tap){copy, false, HWB_NONE};
    return HWB_OK;
}

hwb_status hwb_graph_want_tap(hwb_graph *g, const char *name) {
    hwb__tap *tap = tap_find(g, name);
    if (!tap) HWB_TRY(tap_add(g, &tap, name));
    tap->wanted = true;
    return HWB_OK;
}

hwb_status hwb_graph_tap(hwb_graph *g, hwb_id *out, hwb_id x, const char *name) {
    hwb__tap *tap = tap_find(g, name);
    if (!tap) HWB_TRY(tap_add(g, &tap, name));
    tap->id = x;
    *out = x;
    if (!tap->wanted) return HWB_OK;
    HWB_TRY(hwb__graph_own_zeros(g, &tap->id, g->nodes[x]->dtype, g->nodes[x]->shape));
    return hwb_graph_node(g, out, HWB_OP_ADD, 2, (hwb_id[]){x, tap->id}, NULL);
}

hwb_id hwb_graph_tap_input(const hwb_graph *g, const char *name) {
    const hwb__tap *tap = tap_find(g, name);
    return tap ? tap->id : HWB_NONE;
}

/* ---- updates ----------------------------------------------------------------------------------- */

hwb_status hwb_graph_update(hwb_graph *g, hwb_tensor *buffer, hwb_id value) {
    void *updates = realloc(g->updates, (size_t)(g->n_updates + 1) * sizeof *g->updates);
    if (!updates) return hwb_fail(g->ctx, HWB_ENOMEM, "out of memory for a graph");
    g->updates = updates;
    g->updates[g->n_updates].buffer = hwb_tensor_retain(buffer);
    g->updates[g->n_updates++].value = value;
    return HWB_OK;
}

int hwb_graph_update_count(const hwb_graph *g) {
    return g->n_updates;
}

hwb_tensor *hwb_graph_update_at(const hwb_graph *g, int i, hwb_id *value) {
    *value = g->updates[i].value;
    return g->updates[i].buffer;
}

/* ---- reachability -------------------------------------------------------------------------------- */

void hwb__graph_mark_needed(const hwb_graph *g, int n, const hwb_id *roots, bool *mark) {
    memset(mark, 0, (size_t)g->count * sizeof *mark);
    for (int i = 0; i < n; i++)
        if (roots[i] != HWB_NONE) mark[roots[i]] = true;
    for (hwb_id id = g->count - 1; id >= 0; id--)
        if (mark[id])
            for (int i = 0; i < g->nodes[id]->n_in; i++) mark[g->nodes[id]->in[i]] = true;
}

void hwb__graph_mark_dependent(const hwb_graph *g, int n, const hwb_id *sources, bool *mark) {
    memset(mark, 0, (size_t)g->count * sizeof *mark);
    for (int i = 0; i < n; i++) mark[sources[i]] = true;
    for (hwb_id id = 0; id < g->count; id++)
        for (int i = 0; i < g->nodes[id]->n_in && !mark[id]; i++)
            mark[id] = mark[g->nodes[id]->in[i]];
}
