/*
 * order.c: one order of the sums over ranks.
 *
 * Every rank compiles the same graph, but for parts of a batch that may differ by a
 * sample, and by a size a pass may decide otherwise here and there.  Sums that meet in
 * another order would be an error, so within a stage each is given the one before it, in
 * the order of the graph, as a second input that is not read.  Neither fusion nor the
 * schedule can then turn them round; stages run in one order anyway.
 *
 * Runs last: a node that has its predecessor would not be simplified.
 */
#include "compile/compile_i.h"

#include <stdlib.h>

bool hwb__has_allreduce(const hwb_graph *g) {
    for (hwb_id id = 0; id < g->count; id++)
        if (g->nodes[id]->op == HWB_OP_ALLREDUCE) return true;
    return false;
}

/* Tangents that are run apart have stages behind HWB_ROLE_TANGENT. */
static int stage_count(const hwb_graph *g) {
    int n = HWB_ROLE_COUNT;
    for (hwb_id id = 0; id < g->count; id++)
        if (g->nodes[id]->op == HWB_OP_INPUT && g->nodes[id]->attrs.role >= n)
            n = g->nodes[id]->attrs.role + 1;
    return n;
}

/* Node id of g again in h. */
static hwb_status again(const hwb_graph *g, hwb_id id, hwb_graph *h, const hwb_id *map,
                        hwb_id *last, hwb_id *out) {
    const hwb__node *n = g->nodes[id];
    hwb_id in[64];
    int n_in = n->n_in;
    if (hwb_op_family(n->op) == HWB_FAMILY_LEAF) return hwb__copy_leaf(g, id, h, out);
    for (int i = 0; i < n_in; i++) in[i] = map[n->in[i]];
    if (n->op != HWB_OP_ALLREDUCE) return hwb_graph_node(h, out, n->op, n_in, in, &n->attrs);
    if (*last != HWB_NONE) in[n_in++] = *last;
    HWB_TRY(hwb_graph_node(h, out, n->op, n_in, in, &n->attrs));
    *last = *out;
    return HWB_OK;
}

hwb_status hwb__order_allreduce(hwb_graph *g, hwb_graph **out, int n_out, hwb_id *outputs,
                                hwb_id *map) {
    hwb_graph *h = NULL;
    int stages = stage_count(g);
    hwb_id *last = malloc((size_t)stages * sizeof *last);
    uint16_t *stage = malloc(((size_t)g->count + 1) * sizeof *stage);
    hwb_status st = HWB_OK;
    if (!stage || !last)
        HWB_GOTO(done, st, hwb_fail(g->ctx, HWB_ENOMEM, "out of memory while compiling"));
    for (int s = 0; s < stages; s++) last[s] = HWB_NONE;
    HWB_GOTO(done, st, hwb_graph_new(g->ctx, &h));
    for (hwb_id id = 0; id < g->count && st == HWB_OK; id++) {
        const hwb__node *n = g->nodes[id];
        stage[id] = hwb__stage_of(n, stage);
        HWB_GOTO(done, st, hwb_graph_push_scope(h, g->scopes[n->scope]));
        st = again(g, id, h, map, &last[stage[id]], &map[id]);
        hwb_graph_pop_scope(h);
    }
    for (int i = 0; i < n_out && st == HWB_OK; i++) outputs[i] = map[outputs[i]];
done:
    free(stage);
    free(last);
    if (st == HWB_OK) *out = h;
    else hwb_graph_release(h);
    return st;
}
