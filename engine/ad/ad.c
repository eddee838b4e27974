/*
 * ad.c: the transforms vjp, jvp and batch: walks over the graph that apply one
 * rule a node (rules_i.h).
 *
 * All three append to the graph they read, so ids taken before stay valid and
 * the walks stop at the count found on entry.
 */
#include "ad/ad.h"
#include "ad/rules_i.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    hwb__vjp_fn vjp;
    hwb__jvp_fn jvp;
} rules[] = {
    [HWB_FAMILY_SMOOTH] = {hwb__vjp_pointwise, hwb__jvp_pointwise},
    [HWB_FAMILY_PIECEWISE] = {hwb__vjp_pointwise, hwb__jvp_pointwise},
    [HWB_FAMILY_SELECT] = {hwb__vjp_pointwise, hwb__jvp_pointwise},
    [HWB_FAMILY_STRAIGHT] = {hwb__vjp_pointwise, hwb__jvp_pointwise},
    [HWB_FAMILY_LINEAR] = {hwb__vjp_linear, hwb__jvp_linear},
    [HWB_FAMILY_BILINEAR] = {hwb__vjp_bilinear, hwb__jvp_bilinear},
    [HWB_FAMILY_EXTREME] = {hwb__vjp_extreme, hwb__jvp_extreme},
    [HWB_FAMILY_INTERNAL] = {NULL, NULL}, /* families with no rule have no derivative */
};

hwb_status hwb__sum_of(hwb_graph *g, hwb_id *out, hwb_id a, hwb_id b) {
    if (a == HWB_NONE || b == HWB_NONE) {
        *out = a == HWB_NONE ? b : a;
        return HWB_OK;
    }
    return hwb_add(g, out, a, b);
}

hwb_status hwb__sum_to(hwb_graph *g, hwb_id *out, hwb_id x, const hwb_shape *shape) {
    const hwb_shape *s = hwb_graph_shape(g, x);
    uint32_t axes = 0;
    HWB_ASSERT(s->ndim == shape->ndim);
    for (int i = 0; i < s->ndim; i++)
        if (shape->dim[i] == 1 && s->dim[i] != 1) axes |= 1u << i;
    if (axes) HWB_TRY(hwb_sum(g, &x, x, axes, true));
    /* A cotangent may itself be smaller than the input (a broadcast not yet made). */
    return hwb_broadcast_to(g, out, x, *shape);
}

/* ---- shared bookkeeping ------------------------------------------------------------- */

typedef struct walk {
    int count;       /* nodes on entry */
    bool *dependent; /* on the sources */
    bool *needed;    /* by the targets */
    bool *source;    /* is one: derivatives stop there */
    hwb_id *value;   /* adjoint, tangent or batched twin; HWB_NONE = none */
} walk;

static void walk_free(walk *w) {
    free(w->dependent);
    free(w->needed);
    free(w->source);
    free(w->value);
}

static hwb_status walk_new(hwb_graph *g, walk *w, int n_src, const hwb_id *src, int n_dst,
                           const hwb_id *dst) {
    size_t n = (size_t)g->count + 1;
    for (int i = 0; i < n_src + n_dst; i++) {
        hwb_id id = i < n_src ? src[i] : dst[i - n_src];
        if (id < 0 || id >= g->count)
            return hwb_fail(g->ctx, HWB_EARG, "node %d is not in this graph", id);
    }
    *w = (walk){.count = g->count,
                .dependent = malloc(n),
                .needed = malloc(n),
                .source = calloc(n, 1),
                .value = malloc(n * sizeof *w->value)};
    if (!w->dependent || !w->needed || !w->source || !w->value) {
        walk_free(w);
        return hwb_fail(g->ctx, HWB_ENOMEM, "out of memory for a derivative");
    }
    hwb__graph_mark_dependent(g, n_src, src, w->dependent);
    hwb__graph_mark_needed(g, n_dst, dst, w->needed);
    for (int i = 0; i < n_src; i++) w->source[src[i]] = true;
    for (size_t i = 0; i < n; i++) w->value[i] = HWB_NONE;
    return HWB_OK;
}

static bool is_float(const hwb_graph *g, hwb_id id) {
    return hwb_dtype_is_float(g->nodes[id]->dtype);
}

/* ---- reverse mode --------------------------------------------------------------------- */

static hwb_status seed_cotangent(hwb_graph *g, hwb_id *adj, hwb_id out, hwb_id cotangent) {
    const hwb_shape *s = hwb_graph_shape(g, out);
    if (cotangent == HWB_NONE) {
        if (hwb_shape_numel(s) != 1) return HWB_OK;
        HWB_TRY(hwb_graph_fill(g, &cotangent, hwb_graph_dtype(g, out), *s, 1.0));
    } else if (!hwb_shape_equal(s, hwb_graph_shape(g, cotangent))) {
        char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
        return hwb_fail(g->ctx, HWB_ESHAPE, "vjp: cotangent [%s] of an output [%s]",
                        hwb_shape_text(hwb_graph_shape(g, cotangent), a), hwb_shape_text(s, b));
    }
    return hwb__sum_of(g, adj, *adj, cotangent);
}

static hwb_status pull_back(hwb_graph *g, walk *w, hwb_id y) {
    const hwb__node *n = hwb__node_at(g, y);
    hwb__vjp_fn rule = rules[hwb_op_family(n->op)].vjp;
    bool want[64] = {false}, any = false;
    hwb_id grads[64];
    if (!rule) return HWB_OK;
    for (int i = 0; i < n->n_in; i++) {
        want[i] = w->dependent[n->in[i]] && is_float(g, n->in[i]);
        any = any || want[i];
        grads[i] = HWB_NONE;
    }
    if (!any) return HWB_OK;
    hwb__scope_of(g, y);
    hwb_status st = rule(g, y, w->value[y], want, grads);
    for (int i = 0; st == HWB_OK && i < n->n_in; i++)
        st = hwb__sum_of(g, &w->value[n->in[i]], w->value[n->in[i]], grads[i]);
    hwb_graph_pop_scope(g);
    return st;
}

hwb_status hwb_vjp(hwb_graph *g, int n_out, const hwb_id *outs, const hwb_id *cotangents, int n_wrt,
                   const hwb_id *wrt, hwb_id *grads) {
    walk w;
    hwb_status st;
    HWB_TRY(walk_new(g, &w, n_wrt, wrt, n_out, outs));
    for (int i = 0; i < n_out; i++)
        HWB_GOTO(
            done, st,
            seed_cotangent(g, &w.value[outs[i]], outs[i], cotangents ? cotangents[i] : HWB_NONE));
    st = HWB_OK;
    for (hwb_id y = w.count - 1; y >= 0 && st == HWB_OK; y--)
        if (w.value[y] != HWB_NONE && w.dependent[y] && w.needed[y] && !w.source[y])
            st = pull_back(g, &w, y);
    for (int i = 0; st == HWB_OK && i < n_wrt; i++) grads[i] = w.value[wrt[i]];
done:
    walk_free(&w);
    return st;
}

/* ---- forward mode ------------------------------------------------------------------------ */

static hwb_status push_forward(hwb_graph *g, walk *w, hwb_id y) {
    const hwb__node *n = hwb__node_at(g, y);
    hwb__jvp_fn rule = rules[hwb_op_family(n->op)].jvp;
    hwb_id tangents[64];
    bool any = false;
    if (!rule || !is_float(g, y)) return HWB_OK;
    for (int i = 0; i < n->n_in; i++) {
        tangents[i] = w->value[n->in[i]];
        any = any || tangents[i] != HWB_NONE;
    }
    if (!any) return HWB_OK;
    hwb__scope_of(g, y);
    hwb_status st = rule(g, y, tangents, &w->value[y]);
    hwb_graph_pop_scope(g);
    return st;
}

hwb_status hwb_jvp(hwb_graph *g, int n_wrt, const hwb_id *wrt, const hwb_id *tangents, int n_out,
                   const hwb_id *outs, hwb_id *out_tangents) {
    walk w;
    HWB_TRY(walk_new(g, &w, n_wrt, wrt, n_out, outs));
    hwb_status st = HWB_OK;
    for (int i = 0; i < n_wrt; i++) {
        if (tangents[i] != HWB_NONE &&
            !hwb_shape_equal(hwb_graph_shape(g, tangents[i]), hwb_graph_shape(g, wrt[i]))) {
            char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
            st = hwb_fail(g->ctx, HWB_ESHAPE, "jvp: tangent [%s] of a value [%s]",
                          hwb_shape_text(hwb_graph_shape(g, tangents[i]), a),
                          hwb_shape_text(hwb_graph_shape(g, wrt[i]), b));
            break;
        }
        w.value[wrt[i]] = tangents[i];
    }
    for (hwb_id y = 0; y < w.count && st == HWB_OK; y++)
        if (w.dependent[y] && w.needed[y] && !w.source[y]) st = push_forward(g, &w, y);
    for (int i = 0; st == HWB_OK && i < n_out; i++) out_tangents[i] = w.value[outs[i]];
    walk_free(&w);
    return st;
}

/* ---- K at once ------------------------------------------------------------------------------ */

static hwb_status with_leading(hwb_graph *g, hwb_id *out, hwb_id x, int64_t k) {
    hwb_shape s = *hwb_graph_shape(g, x);
    HWB_TRY(hwb_unsqueeze(g, &x, x, 0));
    for (int i = s.ndim; i > 0; i--) s.dim[i] = s.dim[i - 1];
    s.dim[0] = k;
    s.ndim++;
    return hwb_broadcast_to(g, out, x, s);
}

static hwb_status batch_node(hwb_graph *g, walk *w, int64_t k, hwb_id y) {
    const hwb__node *n = hwb__node_at(g, y);
    hwb_id in[64];
    bool batched[64];
    for (int i = 0; i < n->n_in; i++) {
        batched[i] = w->value[n->in[i]] != HWB_NONE;
        in[i] = batched[i] ? w->value[n->in[i]] : n->in[i];
    }
    hwb__scope_of(g, y);
    hwb_status st = hwb__batch_rule(g, k, y, in, batched, &w->value[y]);
    hwb_graph_pop_scope(g);
    return st;
}

hwb_status hwb_batch(hwb_graph *g, int64_t k, int n, const hwb_id *ids, const hwb_id *batched,
                     int n_out, const hwb_id *outs, hwb_id *batched_outs) {
    walk w;
    HWB_TRY(walk_new(g, &w, n, ids, n_out, outs));
    hwb_status st = HWB_OK;
    for (int i = 0; i < n; i++) w.value[ids[i]] = batched[i];
    for (hwb_id y = 0; y < w.count && st == HWB_OK; y++)
        if (w.dependent[y] && w.needed[y] && !w.source[y]) st = batch_node(g, &w, k, y);
    for (int i = 0; st == HWB_OK && i < n_out; i++) {
        if (w.value[outs[i]] != HWB_NONE) batched_outs[i] = w.value[outs[i]];
        else st = with_leading(g, &batched_outs[i], outs[i], k);
    }
    walk_free(&w);
    return st;
}
