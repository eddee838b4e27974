/*
 * recompute.c: which values wait in memory for a late reader, and which are computed again.
 *
 *   y = W x;  h = gelu(y) ...                  early: primal stage, or forward pass
 *   z' = gelu'(y) y';  H = h^T dz ...          late: tangent stage, or backward pass
 *
 * Either h, gelu'(y), gelu''(y), ... wait in memory, or y alone does and the group that
 * reads them computes them again, of the same operations, so that no bit changes.  What
 * waits is a minimum cut, after He and Yu, Transcending runtime-memory tradeoffs in checkpointing
 * by being fusion aware (MLSys 2023; functorch's min_cut_rematerialization_partition).  Early
 * nodes are pairs of vertices, in -> out, and
 *
 *   in(v) -> out(v)      bytes of v      v waits, when this edge is cut
 *   out(u) -> in(v)      infinite        to compute v again, its inputs u are needed
 *   source -> in(v)      work of v       v is computed again, when this edge is cut;
 *                                        infinite where v is not pointwise
 *   out(v) -> sink       infinite        somebody reads v late
 *
 * Values that are in memory anyway (leaves, results, what other stages read) cost nothing.
 * The pass runs for two boundaries: first between the tangents and all before them, then
 * inside each stage, where most bytes are alive, as between forward and backward pass.
 *
 * A copy is a node of the same operation with attrs.key set, so that it does not meet the
 * first one again, and with attrs.role, the stage before which it must not run.  Rebuilds
 * the graph; runs behind all passes that simplify.
 */
#include "compile/compile_i.h"

#include <stdlib.h>
#include <string.h>

enum {
    SCALE = 6,          /* light operations on an element that are worth a byte */
    NEVER = -1,         /* work of what is not computed again */
    FIXED = 4096,       /* bytes that a copy must save at least */
    LONGEST = 32,       /* copies in a row */
    PASS = 88,          /* multiply-adds a byte that crosses at which a pass costs all it saves */
    LEAST = 256 * 1024, /* bytes alive at a boundary that are worth looking at */
};

typedef struct pass {
    const hwb_graph *g;
    bool across; /* between stages; else inside each */
    int stages;
    bool *needed, *output;
    uint16_t *stage;
    hwb_id *root;  /* node -> whose memory its value is (through reshapes) */
    hwb_id *turn;  /* inside stages, by stage: the last early node */
    bool *late;    /* behind the boundary */
    bool *held;    /* root: in memory at the boundary whatever is chosen */
    bool *crosses; /* root: early, and read late */
    bool *written; /* root: a late reader wants it in memory */
    int *chain;    /* nodes in a row that may be computed again and end here */
    bool *again;   /* root: the choice */
    double pass;   /* price of a pass of its own over memory, in parts of the bytes it makes */
    int64_t saved, bytes;
} pass;

/* ---- the graph seen from its boundary ------------------------------------------------- */

uint16_t hwb__stage_of(const hwb__node *n, const uint16_t *stage) {
    uint16_t s = (uint16_t)n->attrs.role; /* of an input, or a copy made here; else 0 */
    for (int i = 0; i < n->n_in; i++)
        if (stage[n->in[i]] > s) s = stage[n->in[i]];
    return s;
}

static bool pointwise(hwb_op op) {
    return hwb_op_is_pointwise(op) || op == HWB_OP_CAST;
}

static bool is_leaf(const pass *p, hwb_id id) {
    return hwb_op_family(p->g->nodes[id]->op) == HWB_FAMILY_LEAF;
}

static int64_t bytes_of(const pass *p, hwb_id id) {
    const hwb__node *n = p->g->nodes[id];
    return hwb_shape_numel(&n->shape) * (int64_t)hwb_dtype_size(n->dtype);
}

/* Reader `id`, a group's operation, takes its input as it is into its registers. */
static bool reads_in_group(const pass *p, hwb_id id, hwb_id in) {
    return p->root[in] == in && hwb__fusible(p->g, id) &&
           hwb_shape_equal(&p->g->nodes[in]->shape, hwb__fuse_space(p->g, id));
}

/* How many nodes in a row may be computed again up to this one; 0: not this one. */
static int chain_to(const pass *p, const hwb__node *n) {
    int length = 0;
    if (n->op == HWB_OP_RESHAPE) return p->chain[n->in[0]];
    if (!pointwise(n->op)) return 0;
    for (int i = 0; i < n->n_in; i++)
        if (p->chain[n->in[i]] > length) length = p->chain[n->in[i]];
    return (length + 1) % LONGEST;
}

static void look(pass *p) {
    const hwb_graph *g = p->g;
    for (hwb_id id = 0; id < g->count; id++) {
        const hwb__node *n = g->nodes[id];
        p->stage[id] = hwb__stage_of(n, p->stage);
        p->root[id] = n->op == HWB_OP_RESHAPE ? p->root[n->in[0]] : id;
        p->held[id] = is_leaf(p, id);
        p->chain[id] = chain_to(p, n);
    }
    for (hwb_id id = 0; id < g->count; id++) {
        if (p->output[id]) p->held[p->root[id]] = true;
        if (!p->needed[id] || g->nodes[id]->op == HWB_OP_RESHAPE) continue;
        for (int i = 0; i < g->nodes[id]->n_in; i++) {
            hwb_id v = p->root[g->nodes[id]->in[i]];
            if (p->stage[id] > p->stage[v] && !(p->across && p->stage[id] >= HWB_ROLE_TANGENT))
                p->held[v] = true;
        }
    }
}

/* Inside a stage a pointwise node behind the turn that reads early values alone, as the mask of
 * a ReLU does, may be computed before it: it is early. */
static void find_late(pass *p) {
    const hwb_graph *g = p->g;
    for (hwb_id id = 0; id < g->count; id++) {
        const hwb__node *n = g->nodes[id];
        bool depends = n->attrs.key || !(pointwise(n->op) || n->op == HWB_OP_RESHAPE);
        if (p->across || id <= p->turn[p->stage[id]]) {
            p->late[id] = p->across && p->stage[id] >= HWB_ROLE_TANGENT;
            continue;
        }
        for (int i = 0; i < n->n_in; i++)
            depends |= p->late[n->in[i]] && p->stage[n->in[i]] == p->stage[id];
        p->late[id] = depends;
    }
}

/* Who reads across the boundary. */
static void find_crossing(pass *p) {
    for (hwb_id id = 0; id < p->g->count; id++) {
        const hwb__node *n = p->g->nodes[id];
        if (!p->needed[id] || n->op == HWB_OP_RESHAPE || !p->late[id]) continue;
        for (int i = 0; i < n->n_in; i++) {
            hwb_id v = p->root[n->in[i]];
            if (p->late[v] || p->held[v]) continue;
            if (!p->crosses[v]) p->bytes += bytes_of(p, v);
            p->crosses[v] = true;
            if (!reads_in_group(p, id, n->in[i])) p->written[v] = true;
        }
    }
}

/* Where in each stage most bytes are alive, node after node; stages with less than half of
 * the most do not count, as they share their memory. */
static hwb_status find_turns(pass *p) {
    const hwb_graph *g = p->g;
    hwb_id *last = malloc(((size_t)g->count + 1) * sizeof *last);
    int64_t *dies = calloc((size_t)g->count + 1, sizeof *dies);
    int64_t *alive = calloc((size_t)p->stages, sizeof *alive);
    int64_t *most = calloc((size_t)p->stages, sizeof *most), peak = 0;
    if (!last || !dies || !alive || !most) {
        free(last);
        free(dies);
        free(alive);
        free(most);
        return hwb_fail(g->ctx, HWB_ENOMEM, "out of memory while compiling");
    }
    for (hwb_id id = 0; id < g->count; id++) last[id] = id;
    for (hwb_id id = 0; id < g->count; id++)
        for (int i = 0; p->needed[id] && i < g->nodes[id]->n_in; i++)
            last[p->root[g->nodes[id]->in[i]]] = id;
    for (int s = 0; s < p->stages; s++) p->turn[s] = g->count;
    for (hwb_id id = 0; id < g->count; id++) {
        int s = p->stage[id];
        if (p->needed[id] && p->root[id] == id && !p->held[id]) {
            alive[s] += bytes_of(p, id);
            dies[last[id]] += bytes_of(p, id);
        }
        alive[s] -= dies[id];
        if (alive[s] <= most[s]) continue;
        most[s] = alive[s];
        p->turn[s] = id;
    }
    for (int s = 0; s < p->stages; s++)
        if (most[s] > peak) peak = most[s];
    for (int s = 0; s < p->stages; s++)
        if (most[s] < peak / 2) p->turn[s] = g->count;
    free(last);
    free(dies);
    free(alive);
    free(most);
    return HWB_OK;
}

/* ---- what is cut ----------------------------------------------------------------------------- */

/* Work an element, in operations as fast as an addition (tests/bench/NOTES.md). */
static int64_t work_of(hwb_op op) {
    switch (op) {
    case HWB_OP_EXP: return 8;
    case HWB_OP_DIV:
    case HWB_OP_SQRT: return 4;
    case HWB_OP_LOG:
    case HWB_OP_SIGMOID: return 12;
    case HWB_OP_TANH: return 16;
    case HWB_OP_ERF: return 26;
    case HWB_OP_LOG1P:
    case HWB_OP_POW:
    case HWB_OP_SIN:
    case HWB_OP_COS: return NEVER;
    default: return 1;
    }
}

/* Price of computing v again, in bytes / SCALE; NEVER where that is not done. */
static int64_t price(const pass *p, hwb_id v) {
    const hwb__node *n = p->g->nodes[v];
    if (p->chain[v] == 0 || !hwb__fusible(p->g, v) || work_of(n->op) == NEVER) return NEVER;
    int64_t cost = work_of(n->op) * hwb_shape_numel(&n->shape) + (int64_t)FIXED * SCALE;
    return p->written[v] ? cost + (int64_t)(p->pass * (double)(bytes_of(p, v) * SCALE)) : cost;
}

/* Edges of early node v, whose vertices are 2 v and 2 v + 1. */
static hwb_status add_node(const pass *p, hwb__cut *c, hwb_id v, int source, int sink) {
    int64_t cost = p->held[v] ? NEVER : price(p, v);
    int64_t bytes = p->held[v] ? 0 : bytes_of(p, v) * SCALE;
    HWB_TRY(hwb__cut_edge(c, 2 * v, 2 * v + 1, bytes));
    HWB_TRY(hwb__cut_edge(c, source, 2 * v, cost == NEVER ? HWB__CUT_NEVER : cost));
    if (p->crosses[v]) HWB_TRY(hwb__cut_edge(c, 2 * v + 1, sink, HWB__CUT_NEVER));
    for (int i = 0; cost != NEVER && i < p->g->nodes[v]->n_in; i++) {
        int u = p->root[p->g->nodes[v]->in[i]];
        HWB_TRY(hwb__cut_edge(c, 2 * u + 1, 2 * v, HWB__CUT_NEVER));
    }
    return HWB_OK;
}

/* Nodes from which a value that crosses is computed, as far back as that may go. */
static void find_wanted(const pass *p, bool *wanted) {
    for (hwb_id v = p->g->count - 1; v >= 0; v--) {
        wanted[v] |= p->crosses[v];
        if (!wanted[v] || p->held[v] || price(p, v) == NEVER) continue;
        for (int i = 0; i < p->g->nodes[v]->n_in; i++)
            wanted[p->root[p->g->nodes[v]->in[i]]] = true;
    }
}

/* A late reader outside groups (a matrix product) wants a copy in memory: a pass more, which
 * matters the less, the more multiply-adds the program has for each byte. */
static hwb_status find_price(pass *p) {
    const hwb_graph *g = p->g;
    int64_t *macs = calloc((size_t)p->stages, sizeof *macs), most = 1;
    if (!macs) return hwb_fail(g->ctx, HWB_ENOMEM, "out of memory while compiling");
    for (hwb_id id = 0; id < g->count; id++) {
        const hwb__node *n = g->nodes[id];
        if (!p->needed[id] || hwb_op_family(n->op) != HWB_FAMILY_BILINEAR) continue;
        macs[p->stage[id]] += hwb_op_macs(n->op, &n->attrs, &g->nodes[n->in[0]]->shape,
                                          &g->nodes[n->in[1]]->shape, &n->shape);
    }
    for (int s = 0; s < p->stages; s++)
        if (macs[s] > most) most = macs[s];
    p->pass = (double)PASS * (double)p->bytes / (double)most;
    if (p->pass > 1) p->pass = 1;
    free(macs);
    return HWB_OK;
}

static hwb_status choose(pass *p) {
    const hwb_graph *g = p->g;
    int source = 2 * g->count, sink = source + 1;
    bool *side = calloc((size_t)sink + 1, 1), *wanted = calloc((size_t)g->count + 1, 1);
    hwb__cut *c = NULL;
    hwb_status st = side && wanted ? hwb__cut_new(g->ctx, &c, sink + 1)
                                   : hwb_fail(g->ctx, HWB_ENOMEM, "out of memory while compiling");
    if (st == HWB_OK) find_wanted(p, wanted);
    for (hwb_id v = 0; v < g->count && st == HWB_OK; v++)
        if (wanted[v]) st = add_node(p, c, v, source, sink);
    if (st == HWB_OK) hwb__cut_solve(c, source, sink, side);
    for (hwb_id v = 0; v < g->count && st == HWB_OK; v++) {
        if (!wanted[v]) continue;
        p->again[v] = side[2 * v];
        bool waits = side[2 * v + 1] && !side[2 * v] && !p->held[v];
        p->saved += (p->crosses[v] ? bytes_of(p, v) : 0) - (waits ? bytes_of(p, v) : 0);
    }
    hwb__cut_free(c);
    free(wanted);
    free(side);
    return st;
}

/* ---- the graph again, with copies -------------------------------------------------- */

typedef struct writer {
    const pass *p;
    hwb_graph *h;
    hwb_id *map;
    hwb_id **late; /* by stage: copies, HWB_NONE where there is none yet */
} writer;

static hwb_status add(writer *w, hwb_id id, const hwb_id *in, const hwb_attrs *attrs, hwb_id *out) {
    const hwb__node *n = w->p->g->nodes[id];
    HWB_TRY(hwb_graph_push_scope(w->h, w->p->g->scopes[n->scope]));
    hwb_status st = hwb_op_family(n->op) == HWB_FAMILY_LEAF
                        ? hwb__copy_leaf(w->p->g, id, w->h, out)
                        : hwb_graph_node(w->h, out, n->op, n->n_in, in, attrs);
    hwb_graph_pop_scope(w->h);
    return st;
}

/* What a late node of stage s reads in place of `id`.  The recursion is bounded by LONGEST:
 * between two copies are reshapes only. */
static hwb_status late_value(writer *w, int s, hwb_id id, hwb_id *out) {
    const pass *p = w->p;
    const hwb__node *n = p->g->nodes[id];
    if (p->late[id] || !p->again[p->root[id]]) {
        *out = w->map[id];
        return HWB_OK;
    }
    if (w->late[s][id] == HWB_NONE) {
        hwb_id in[3];
        hwb_attrs attrs = n->attrs;
        for (int i = 0; i < n->n_in; i++) HWB_TRY(late_value(w, s, n->in[i], &in[i]));
        if (n->op != HWB_OP_RESHAPE) {
            attrs.key = p->across ? 1 : 2;
            attrs.role = s;
        }
        HWB_TRY(add(w, id, in, &attrs, &w->late[s][id]));
    }
    *out = w->late[s][id];
    return HWB_OK;
}

static hwb_status write_node(writer *w, hwb_id id) {
    const pass *p = w->p;
    const hwb__node *n = p->g->nodes[id];
    hwb_id in[64];
    int s = p->stage[id];
    bool reads_late = p->late[id] && n->op != HWB_OP_RESHAPE;
    if (reads_late && !w->late[s]) {
        w->late[s] = malloc((size_t)p->g->count * sizeof *w->late[s]);
        if (!w->late[s]) return hwb_fail(p->g->ctx, HWB_ENOMEM, "out of memory while compiling");
        for (hwb_id i = 0; i < p->g->count; i++) w->late[s][i] = HWB_NONE;
    }
    for (int i = 0; i < n->n_in; i++) {
        in[i] = w->map[n->in[i]];
        if (reads_late) HWB_TRY(late_value(w, s, n->in[i], &in[i]));
    }
    return add(w, id, in, &n->attrs, &w->map[id]);
}

static hwb_status rebuild(const pass *p, hwb_graph **out, hwb_id *map) {
    writer w = {.p = p, .map = map, .late = calloc((size_t)p->stages, sizeof *w.late)};
    hwb_status st = w.late ? hwb_graph_new(p->g->ctx, &w.h)
                           : hwb_fail(p->g->ctx, HWB_ENOMEM, "out of memory while compiling");
    for (hwb_id id = 0; id < p->g->count && st == HWB_OK; id++) st = write_node(&w, id);
    for (int s = 0; w.late && s < p->stages; s++) free(w.late[s]);
    free(w.late);
    if (st == HWB_OK) *out = w.h;
    else hwb_graph_release(w.h);
    return st;
}

/* ---- all of it ------------------------------------------------------------------------- */

static hwb_status pass_new(pass *p, const hwb_graph *g, int n_out, const hwb_id *outputs) {
    size_t n = (size_t)g->count + 1;
    p->g = g;
    p->stages = HWB_ROLE_COUNT;
    for (hwb_id id = 0; id < g->count; id++)
        if (g->nodes[id]->attrs.role >= p->stages) p->stages = g->nodes[id]->attrs.role + 1;
    p->needed = calloc(n, 1);
    p->output = calloc(n, 1);
    p->stage = calloc(n, sizeof *p->stage);
    p->root = calloc(n, sizeof *p->root);
    p->turn = calloc((size_t)p->stages, sizeof *p->turn);
    p->late = calloc(n, 1);
    p->held = calloc(n, 1);
    p->crosses = calloc(n, 1);
    p->written = calloc(n, 1);
    p->chain = calloc(n, sizeof *p->chain);
    p->again = calloc(n, 1);
    if (!p->needed || !p->output || !p->stage || !p->root || !p->turn || !p->late || !p->held ||
        !p->crosses || !p->written || !p->chain || !p->again)
        return hwb_fail(g->ctx, HWB_ENOMEM, "out of memory while compiling");
    hwb__graph_mark_needed(g, n_out, outputs, p->needed);
    for (int i = 0; i < n_out; i++) p->output[outputs[i]] = true;
    return HWB_OK;
}

static void pass_free(pass *p) {
    free(p->needed);
    free(p->output);
    free(p->stage);
    free(p->root);
    free(p->turn);
    free(p->late);
    free(p->held);
    free(p->crosses);
    free(p->written);
    free(p->chain);
    free(p->again);
}

hwb_status hwb__recompute(hwb_graph *g, hwb_graph **out, bool across, int n_out, hwb_id *outputs,
                          hwb_id *map) {
    pass p = {.across = across};
    hwb_status st = pass_new(&p, g, n_out, outputs);
    if (st == HWB_OK) look(&p);
    if (st == HWB_OK && !across) st = find_turns(&p);
    if (st == HWB_OK) find_late(&p);
    if (st == HWB_OK) find_crossing(&p);
    if (st == HWB_OK && p.bytes >= LEAST) st = find_price(&p);
    if (st == HWB_OK && p.bytes >= LEAST) st = choose(&p);
    *out = NULL;
    if (st == HWB_OK && p.saved > p.bytes / 16) st = rebuild(&p, out, map);
    for (int i = 0; st == HWB_OK && *out && i < n_out; i++) outputs[i] = map[outputs[i]];
    pass_free(&p);
    return st;
}
