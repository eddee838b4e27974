/*
 * units.c: units of a schedule while they are merged.
 *
 * Two units may be merged as long as no outside producer of one depends on the
 * other.  The search goes backwards from the producers and stops at a node that no
 * unit straddles: what ends before it cannot depend on what begins behind it.
 */
#include "compile/compile_i.h"

#include <stdlib.h>
#include <string.h>

/* The last node that unit u waits for: a member, or what one adds to in place. */
static hwb_id newest(const hwb__units *c, int u) {
    hwb_id last = HWB_NONE;
    for (int m = 0; m < c->n_members[u]; m++) {
        hwb_id id = c->members[u][m], add = c->q->add_to[id];
        if (id > last) last = id;
        if (add > last) last = add;
    }
    return last;
}

/* Add `sign` to the count of straddling units along the extent of unit u. */
static void count_straddle(hwb__units *c, int u, int sign) {
    hwb_id last = newest(c, u);
    for (hwb_id id = c->members[u][0]; id < last; id++) c->straddle[id] += sign;
}

/* Can unit `from` reach, going backwards, one of the units in `merge`?  Units
 * that end at `cut`, which no unit straddles, cannot. */
static bool reaches(hwb__units *c, int from, int n, const int *merge, hwb_id cut) {
    int top = 0;
    if (c->seen[from] == c->search) return false;
    c->seen[from] = c->search;
    c->stack[top++] = from;
    while (top) {
        int u = c->stack[--top];
        for (int k = 0; k < n; k++)
            if (u == merge[k]) return true;
        if (newest(c, u) <= cut) continue;
        for (int m = 0; m < c->n_members[u]; m++) {
            hwb_id id = c->members[u][m];
            const hwb__node *node = c->g->nodes[id];
            for (int i = -1; i < node->n_in; i++) {
                hwb_id in = i < 0 ? c->q->add_to[id] : node->in[i];
                if (in == HWB_NONE) continue;
                int v = c->q->unit[hwb__root(c->q, in)];
                if (v < 0 || c->seen[v] == c->search) continue;
                c->seen[v] = c->search;
                c->stack[top++] = v;
            }
        }
    }
    return false;
}

bool hwb__in_list(int u, int n, const int *list) {
    for (int i = 0; i < n; i++)
        if (list[i] == u) return true;
    return false;
}

/* Joining the units `merge` would make a cycle when an outside producer of one
 * member depends on another member. */
bool hwb__units_cycle(hwb__units *c, int n, const int *merge) {
    hwb_id oldest = c->g->count;
    for (int k = 0; k < n; k++)
        if (c->members[merge[k]][0] < oldest) oldest = c->members[merge[k]][0];
    hwb_id cut = oldest - 1;
    while (cut >= 0 && c->straddle[cut]) cut--;
    c->search++;
    for (int k = 0; k < n; k++)
        for (int m = 0; m < c->n_members[merge[k]]; m++) {
            const hwb__node *node = c->g->nodes[c->members[merge[k]][m]];
            for (int i = 0; i < node->n_in; i++) {
                hwb_id v = hwb__root(c->q, node->in[i]);
                int u = c->q->unit[v];
                if (u < 0) continue;
                if (hwb__in_list(u, n, merge)) { /* a sum is complete only after the kernel */
                    if (c->g->nodes[v]->op == HWB_OP_SUM || !hwb__same_value(c->g, node->in[i], v))
                        return true;
                    continue;
                }
                if (reaches(c, u, n, merge, cut)) return true;
            }
        }
    return false;
}

static int compare_ids(const void *a, const void *b) {
    return *(const hwb_id *)a - *(const hwb_id *)b;
}

/* Union of the units in merge[0..n): kept as merge[0], members in id order. */
hwb_status hwb__units_join(hwb__units *c, int n, const int *merge) {
    int total = 0, to = merge[0];
    for (int k = 0; k < n; k++) total += c->n_members[merge[k]];
    hwb_id *ids = malloc((size_t)total * sizeof *ids);
    if (!ids) return hwb_fail(c->g->ctx, HWB_ENOMEM, "out of memory while compiling");
    total = 0;
    for (int k = 0; k < n; k++) {
        int u = merge[k];
        count_straddle(c, u, -1);
        memcpy(ids + total, c->members[u], (size_t)c->n_members[u] * sizeof *ids);
        total += c->n_members[u];
        free(c->members[u]);
        c->members[u] = NULL;
        c->n_members[u] = 0;
    }
    qsort(ids, (size_t)total, sizeof *ids, compare_ids);
    for (int i = 0; i < total; i++) c->q->unit[ids[i]] = to;
    c->members[to] = ids;
    c->n_members[to] = total;
    count_straddle(c, to, 1);
    return HWB_OK;
}

void hwb__units_free(hwb__units *c) {
    for (int u = 0; c->members && u < c->q->n_units; u++) free(c->members[u]);
    free(c->members);
    free(c->n_members);
    free(c->straddle);
    free(c->seen);
    free(c->stack);
}

hwb_status hwb__units_new(hwb__units *c, const hwb_graph *g, hwb__groups *q, const int *uses) {
    size_t n = (size_t)q->n_units + 1;
    *c = (hwb__units){.g = g,
                      .q = q,
                      .uses = uses,
                      .members = calloc(n, sizeof *c->members),
                      .n_members = calloc(n, sizeof *c->n_members),
                      .straddle = calloc((size_t)g->count + 1, sizeof *c->straddle),
                      .seen = calloc(n, sizeof *c->seen),
                      .stack = calloc(n, sizeof *c->stack)};
    bool ok = c->members && c->n_members && c->straddle && c->seen && c->stack;
    for (hwb_id id = 0; ok && id < g->count; id++) {
        int u = q->unit[id];
        if (u < 0) continue;
        if (!(ok = (c->members[u] = malloc(sizeof(hwb_id))) != NULL)) break;
        c->members[u][0] = id;
        c->n_members[u] = 1;
        count_straddle(c, u, 1);
    }
    return ok ? HWB_OK : hwb_fail(g->ctx, HWB_ENOMEM, "out of memory while compiling");
}
