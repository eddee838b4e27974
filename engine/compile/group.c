/*
 * group.c: which nodes become one kernel.
 *
 * First, sums into convolutions: in a + conv(..) the convolution adds to a in
 * place (an accumulate post-op costs nothing), so the sum is no pass of its own, and
 * so does a matrix product on backends that take pairs;
 * for backends that take pairs, conv(..) + conv(..) of the same shapes is one kernel.
 * Then pointwise nodes of one stage and one iteration space join the group of a
 * producer, with sums over some of its dims as trailing reductions, as long as
 * the units stay free of cycles (units.c) and within the limits of backend.h.
 * Last, groups follow convolutions (epilogue.c).
 */
#include "compile/compile_i.h"

#include <stdlib.h>
#include <string.h>

/* ---- classification --------------------------------------------------------------- */

static bool fusible_dtype(const hwb_graph *g, hwb_id id) {
    return hwb_dtype_is_float(g->nodes[id]->dtype) || g->nodes[id]->dtype == HWB_BOOL;
}

bool hwb__fusible(const hwb_graph *g, hwb_id id) {
    const hwb__node *n = g->nodes[id];
    hwb_dtype seen = HWB_DTYPE_COUNT;
    if (!hwb_op_is_pointwise(n->op) && n->op != HWB_OP_SUM && n->op != HWB_OP_CAST) return false;
    if (n->op == HWB_OP_SUM && !hwb_dtype_is_float(n->dtype)) return false;
    for (int i = -1; i < n->n_in; i++) { /* one float dtype in a kernel, bool beside it */
        hwb_id v = i < 0 ? id : n->in[i];
        if (!fusible_dtype(g, v)) return false;
        if (g->nodes[v]->dtype == HWB_BOOL) continue;
        if (seen != HWB_DTYPE_COUNT && seen != g->nodes[v]->dtype) return false;
        seen = g->nodes[v]->dtype;
    }
    return seen != HWB_DTYPE_COUNT;
}

const hwb_shape *hwb__fuse_space(const hwb_graph *g, hwb_id id) {
    const hwb__node *n = g->nodes[id];
    return n->op == HWB_OP_SUM ? &g->nodes[n->in[0]]->shape : &n->shape;
}

static hwb_status find_stages(const hwb_graph *g, uint16_t *stage) {
    for (hwb_id id = 0; id < g->count; id++) {
        const hwb__node *n = g->nodes[id];
        stage[id] = hwb__stage_of(n, stage);
        for (int i = 0; i < n->n_in; i++)
            if (stage[n->in[i]] >= HWB_ROLE_TANGENT && stage[n->in[i]] < stage[id])
                return hwb_fail(g->ctx, HWB_EARG, "%s mixes tangents that are run apart",
                                hwb_op_name(n->op));
    }
    return HWB_OK;
}

/* ---- sums into convolutions ----------------------------------------------------------- */

/* The kernel of this node can add to what its result's memory holds: a convolution's, and a
 * matrix product's where the backend takes sums of two. */
static bool adds(const hwb_graph *g, hwb_id id, bool pairs) {
    const hwb__node *n = g->nodes[id];
    return hwb__is_conv(n->op) || (pairs && n->op == HWB_OP_MATMUL && hwb_dtype_is_float(n->dtype));
}

/* conv may add to `other` in place of the node `sum`: both used here only. */
static bool can_accumulate(const hwb_graph *g, const hwb__groups *q, const int *uses, hwb_id sum,
                           hwb_id conv, hwb_id other) {
    const hwb__node *c = g->nodes[conv], *o = g->nodes[other];
    return uses[conv] == 1 && uses[other] == 1 && !q->output[conv] && !q->output[other] &&
           q->add_to[conv] == HWB_NONE && q->alias[conv] == conv &&
           q->stage[conv] == q->stage[sum] && q->stage[other] == q->stage[sum] &&
           o->op != HWB_OP_RESHAPE && !hwb__in_leaf(g, q->alias, other) &&
           hwb_shape_equal(&o->shape, &c->shape) &&
           hwb_shape_equal(&c->shape, &g->nodes[sum]->shape) && conv != other;
}

/* Which operand of the sum is tried first: a convolution whose weights change
 * less often, as a kernel that accumulates may have to rearrange them. */
static int preferred(const hwb_graph *g, const hwb__groups *q, const hwb__node *sum) {
    int stage[2] = {HWB_ROLE_COUNT, HWB_ROLE_COUNT};
    for (int i = 0; i < 2; i++)
        if (hwb__is_conv(g->nodes[sum->in[i]]->op))
            stage[i] = q->stage[g->nodes[sum->in[i]]->in[1]];
    return stage[0] < stage[1] ? 0 : 1;
}

static void accumulate_sums(const hwb_graph *g, hwb__groups *q, const int *uses, bool pairs) {
    for (hwb_id id = 0; id < g->count; id++) {
        const hwb__node *n = g->nodes[id];
        if (!q->needed[id] || n->op != HWB_OP_ADD) continue;
        int first = preferred(g, q, n);
        for (int k = 0; k < 2; k++) {
            int i = k ? 1 - first : first;
            if (!adds(g, n->in[i], pairs) ||
                !can_accumulate(g, q, uses, id, n->in[i], n->in[1 - i]))
                continue;
            q->add_to[n->in[i]] = hwb__root(q, n->in[1 - i]);
            q->alias[id] = n->in[i];
            if (q->output[id]) q->output[n->in[i]] = true;
            break;
        }
    }
}

/* Equal but for a leading K that one of them may lack. */
static bool same_but_k(const hwb_shape *a, const hwb_shape *b) {
    return a->ndim >= 4 && b->ndim >= 4 &&
           memcmp(a->dim + a->ndim - 4, b->dim + b->ndim - 4, 4 * sizeof *a->dim) == 0;
}

/* One kernel for two convolutions of which the second adds to the first's result,
 * as in F(x',w) + F(x,w').  The first has no other reader, so no cycle can arise. */
static hwb_status pair_sums(hwb__units *c) {
    const hwb_graph *g = c->g;
    hwb__groups *q = c->q;
    for (hwb_id id = 0; id < g->count; id++) {
        hwb_id v = q->add_to[id];
        if (v == HWB_NONE || q->unit[id] < 0 || q->pair[id] != HWB_NONE) continue;
        const hwb__node *a = g->nodes[id], *b = g->nodes[v];
        bool alike = hwb__is_conv(a->op) && a->op == b->op && hwb_dtype_is_float(a->dtype) &&
                     q->pair[v] == HWB_NONE && memcmp(&a->attrs, &b->attrs, sizeof a->attrs) == 0;
        for (int i = 0; alike && i < 2; i++)
            alike = same_but_k(&g->nodes[a->in[i]]->shape, &g->nodes[b->in[i]]->shape) &&
                    a->attrs.pad_lo[i] >= 0 && a->attrs.pad_hi[i] >= 0;
        if (!alike) continue;
        HWB_TRY(hwb__units_join(c, 2, (int[]){q->unit[id], q->unit[v]}));
        q->pair[id] = v;
        q->add_to[id] = q->add_to[v];
        q->add_to[v] = HWB_NONE;
    }
    return HWB_OK;
}

/* ---- fused groups ------------------------------------------------------------------------- */

/* Results of the merge that somebody outside reads, so that must be stored. */
static int count_stored(hwb__units *c, int n, const int *merge, hwb_id *ids, int *inside) {
    int total = 0, stored = 0;
    for (int k = 0; k < n; k++)
        for (int m = 0; m < c->n_members[merge[k]]; m++) {
            ids[total] = c->members[merge[k]][m];
            inside[total++] = 0;
        }
    for (int j = 0; j < total; j++)
        for (int i = 0; i < c->g->nodes[ids[j]]->n_in; i++)
            for (int m = 0; m < total; m++)
                if (ids[m] == c->g->nodes[ids[j]]->in[i]) inside[m]++;
    for (int m = 0; m < total; m++) stored += c->q->output[ids[m]] || inside[m] < c->uses[ids[m]];
    return stored;
}

/* Instructions, distinct outside inputs and stored results stay within bounds. */
static bool within_limits(hwb__units *c, int n, const int *merge) {
    hwb_id ins[HWB_FUSED_MAX_IN], ids[HWB_FUSED_MAX_INSTR];
    int n_ins = 0, instr = 0, total = 0, inside[HWB_FUSED_MAX_INSTR];
    for (int k = 0; k < n; k++) total += c->n_members[merge[k]];
    if (total > HWB_FUSED_MAX_INSTR / 2) return false;
    for (int k = 0; k < n; k++) {
        for (int m = 0; m < c->n_members[merge[k]]; m++) {
            const hwb__node *node = c->g->nodes[c->members[merge[k]][m]];
            instr++;
            for (int i = 0; i < node->n_in; i++) {
                hwb_id v = node->in[i];
                if (c->g->nodes[v]->op == HWB_OP_FILL) {
                    instr++;
                    continue;
                }
                if (hwb__in_list(c->q->unit[v], n, merge)) continue;
                int j = 0;
                while (j < n_ins && ins[j] != v) j++;
                if (j < n_ins) continue;
                if (n_ins == HWB_FUSED_MAX_IN) return false;
                ins[n_ins++] = v;
            }
        }
    }
    return instr <= HWB_FUSED_MAX_INSTR &&
           count_stored(c, n, merge, ids, inside) <= HWB_FUSED_MAX_OUT;
}

static bool joinable(hwb__units *c, hwb_id a, hwb_id b) {
    const hwb_graph *g = c->g;
    return hwb__fusible(g, a) && hwb__fusible(g, b) && c->q->stage[a] == c->q->stage[b] &&
           hwb_shape_equal(hwb__fuse_space(g, a), hwb__fuse_space(g, b));
}

/* The float dtype of a fusible node's kernel. */
static hwb_dtype kernel_dtype(const hwb_graph *g, hwb_id id) {
    const hwb__node *n = g->nodes[id];
    if (n->dtype != HWB_BOOL) return n->dtype;
    for (int i = 0; i < n->n_in; i++)
        if (g->nodes[n->in[i]]->dtype != HWB_BOOL) return g->nodes[n->in[i]]->dtype;
    return HWB_F32;
}

/* Joins the unit of `id` to that of an earlier node.  What is computed again (recompute.c, a
 * pointwise node with attrs.key) stays away from what computed it first. */
static hwb_status try_join(hwb__units *c, hwb_id id, hwb_id other) {
    hwb_id v = hwb__root(c->q, other);
    int merge[2] = {c->q->unit[v], c->q->unit[id]};
    if (c->g->nodes[id]->attrs.key > c->g->nodes[v]->attrs.key) return HWB_OK;
    if (merge[0] < 0 || merge[0] == merge[1] || v != other) return HWB_OK;
    if (!joinable(c, id, v) || kernel_dtype(c->g, id) != kernel_dtype(c->g, v)) return HWB_OK;
    if (!within_limits(c, 2, merge) || hwb__units_cycle(c, 2, merge)) return HWB_OK;
    return hwb__units_join(c, 2, merge);
}

/* Join each node to its producers; a sum's result is not available inside. */
static hwb_status join_producers(hwb__units *c) {
    const hwb_graph *g = c->g;
    for (hwb_id id = 0; id < g->count; id++) {
        const hwb__node *n = g->nodes[id];
        if (c->q->unit[id] < 0 || !hwb__fusible(g, id)) continue;
        for (int i = 0; i < n->n_in; i++)
            if (g->nodes[n->in[i]]->op != HWB_OP_SUM) HWB_TRY(try_join(c, id, n->in[i]));
    }
    return HWB_OK;
}

/* Join groups that read the same large value: it is then read once. */
static hwb_status join_siblings(hwb__units *c) {
    const hwb_graph *g = c->g;
    hwb_id *reader = malloc((size_t)(g->count + 1) * sizeof *reader);
    if (!reader) return hwb_fail(g->ctx, HWB_ENOMEM, "out of memory while compiling");
    hwb_status st = HWB_OK;
    for (hwb_id id = 0; id < g->count; id++) reader[id] = HWB_NONE;
    for (hwb_id id = 0; id < g->count && st == HWB_OK; id++) {
        const hwb__node *n = g->nodes[id];
        if (c->q->unit[id] < 0 || !hwb__fusible(g, id)) continue;
        for (int i = 0; i < n->n_in && st == HWB_OK; i++) {
            hwb_id v = n->in[i];
            if (!hwb_shape_equal(&g->nodes[v]->shape, hwb__fuse_space(g, id)) ||
                hwb_shape_numel(&g->nodes[v]->shape) < 1024)
                continue;
            if (reader[v] != HWB_NONE) st = try_join(c, id, reader[v]);
            reader[v] = id;
        }
    }
    free(reader);
    return st;
}

static hwb_status merge_units(const hwb_graph *g, hwb__groups *q, const int *uses, bool pairs,
                              const hwb_device *follows) {
    hwb__units c;
    hwb_status st = hwb__units_new(&c, g, q, uses);
    if (st == HWB_OK) st = join_producers(&c);
    if (st == HWB_OK) st = join_siblings(&c);
    if (st == HWB_OK && pairs) st = pair_sums(&c);
    if (st == HWB_OK && follows) st = hwb__follow(&c, follows);
    hwb__units_free(&c);
    return st;
}

/* ---- all of it -------------------------------------------------------------------------------- */

static bool is_alias(const hwb_graph *g, hwb_id id) {
    return g->nodes[id]->op == HWB_OP_RESHAPE;
}

static void count_uses(const hwb_graph *g, const hwb__groups *q, int *uses) {
    for (hwb_id id = 0; id < g->count; id++)
        for (int i = 0; q->needed[id] && i < g->nodes[id]->n_in; i++) uses[g->nodes[id]->in[i]]++;
}

hwb_status hwb__group(const hwb_graph *g, hwb__groups *q, int n_out, const hwb_id *outputs,
                      bool fuse, bool pairs, const hwb_device *follows) {
    size_t n = (size_t)g->count + 1;
    int *uses = calloc(n, sizeof *uses);
    *q = (hwb__groups){.count = g->count,
                       .unit = malloc(n * sizeof *q->unit),
                       .alias = malloc(n * sizeof *q->alias),
                       .add_to = malloc(n * sizeof *q->add_to),
                       .pair = malloc(n * sizeof *q->pair),
                       .stage = calloc(n, sizeof *q->stage),
                       .needed = calloc(n, 1),
                       .output = calloc(n, 1)};
    hwb_status st = HWB_OK;
    if (!uses || !q->unit || !q->alias || !q->add_to || !q->pair || !q->stage || !q->needed ||
        !q->output) {
        st = hwb_fail(g->ctx, HWB_ENOMEM, "out of memory while compiling");
        goto done;
    }
    hwb__graph_mark_needed(g, n_out, outputs, q->needed);
    HWB_GOTO(done, st, find_stages(g, q->stage));
    count_uses(g, q, uses);
    for (hwb_id id = 0; id < g->count; id++)
        if (q->needed[id] && g->nodes[id]->op == HWB_OP_INPUT && q->stage[id] >= HWB_ROLE_TANGENT)
            q->tangents = true;
    for (hwb_id id = 0; id < g->count; id++) {
        q->alias[id] = is_alias(g, id) ? q->alias[g->nodes[id]->in[0]] : id;
        q->add_to[id] = q->pair[id] = HWB_NONE;
    }
    for (int i = 0; i < n_out; i++) q->output[q->alias[outputs[i]]] = q->output[outputs[i]] = true;
    if (fuse) accumulate_sums(g, q, uses, pairs);
    for (hwb_id id = 0; id < g->count; id++) { /* aliases of aliases */
        q->alias[id] = hwb__root(q, id);
        bool own = q->needed[id] && q->alias[id] == id &&
                   (hwb_op_family(g->nodes[id]->op) != HWB_FAMILY_LEAF);
        q->unit[id] = own ? q->n_units++ : -1;
    }
    if (fuse) st = merge_units(g, q, uses, pairs, follows);
done:
    free(uses);
    if (st != HWB_OK) hwb__groups_free(q);
    return st;
}

void hwb__groups_free(hwb__groups *q) {
    free(q->unit);
    free(q->alias);
    free(q->add_to);
    free(q->pair);
    free(q->stage);
    free(q->needed);
    free(q->output);
    memset(q, 0, sizeof *q);
}
