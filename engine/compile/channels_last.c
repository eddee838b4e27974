/*
 * channels_last.c: rebuild a graph so that images lie channels-last.
 *
 * Every value has an order: physical dim i is logical dim order[i].  The
 * convolution trio and the pools ask for channels-last operands
 * ([K,]N,H,W,C) and make such results; pointwise operations, reductions,
 * slices and concatenations take whatever order their operands have; all else
 * asks for the logical order.  An operand in the wrong order gets a permute
 * (hash-consed, so each value is turned at most once a direction).  A whole
 * ResNet runs in one order with permutes at its input and at no place inside.
 */
#include "compile/compile_i.h"

#include <stdlib.h>
#include <string.h>

typedef struct order {
    int dim[HWB_MAX_DIMS];
} order;

/* A value of the new graph and how it lies. */
typedef struct laid {
    hwb_id id;
    order o;
} laid;

static order identity(void) {
    order o;
    for (int i = 0; i < HWB_MAX_DIMS; i++) o.dim[i] = i;
    return o;
}

/* [..,C,H,W] -> [..,H,W,C] */
static order channels_last(int rank) {
    order o = identity();
    o.dim[rank - 3] = rank - 2;
    o.dim[rank - 2] = rank - 1;
    o.dim[rank - 1] = rank - 3;
    return o;
}

static bool same_order(const order *a, const order *b, int rank) {
    return memcmp(a->dim, b->dim, (size_t)rank * sizeof(int)) == 0;
}

static order inverse(const order *o, int rank) {
    order r = identity();
    for (int i = 0; i < rank; i++) r.dim[o->dim[i]] = i;
    return r;
}

static hwb_shape apply_order(const hwb_shape *s, const order *o) {
    hwb_shape r = {.ndim = s->ndim};
    for (int i = 0; i < s->ndim; i++) r.dim[i] = s->dim[o->dim[i]];
    return r;
}

/* The value x in order `want`. */
static hwb_status in_order(hwb_graph *h, hwb_id *out, const laid *x, const order *want) {
    const hwb_shape *shape = &h->nodes[x->id]->shape;
    int rank = shape->ndim, perm[HWB_MAX_DIMS], last = -1;
    order back = inverse(&x->o, rank);
    bool moves = false; /* dims of size 1 may change place for free */
    hwb_shape s = {.ndim = rank};
    for (int i = 0; i < rank; i++) {
        perm[i] = back.dim[want->dim[i]];
        s.dim[i] = shape->dim[perm[i]];
        if (s.dim[i] == 1) continue;
        moves = moves || perm[i] < last;
        last = perm[i];
    }
    return moves ? hwb_permute(h, out, x->id, perm) : hwb_reshape(h, out, x->id, s);
}

static hwb_status plain(hwb_graph *h, hwb_id *out, const laid *x) {
    order o = identity();
    return in_order(h, out, x, &o);
}

static hwb_status emit(hwb_graph *h, laid *out, hwb_op op, int n, const hwb_id *in,
                       const hwb_attrs *a, const order *o) {
    out->o = *o;
    return hwb_graph_node(h, &out->id, op, n, in, a);
}

/* ---- by kind of operation --------------------------------------------------------- */

static bool is_image_op(hwb_op op) {
    switch (op) {
    case HWB_OP_CONV:
    case HWB_OP_CONV_BWD_DATA:
    case HWB_OP_CONV_BWD_WEIGHTS:
    case HWB_OP_AVGPOOL:
    case HWB_OP_AVGPOOL_BWD:
    case HWB_OP_POOL_GATHER:
    case HWB_OP_POOL_SCATTER:
    case HWB_OP_MAXPOOL_INDEX: return true;
    default: return false;
    }
}

static hwb_status lay_image(hwb_graph *h, laid *out, const hwb__node *n, const laid *x) {
    hwb_attrs a = n->attrs;
    hwb_id in[2];
    bool weights_result = n->op == HWB_OP_CONV_BWD_WEIGHTS;
    bool weights_operand = n->op == HWB_OP_CONV || n->op == HWB_OP_CONV_BWD_DATA;
    a.channels_last = 1;
    if (a.shape.ndim >= 4 && !weights_result) {
        order o = channels_last(a.shape.ndim);
        a.shape = apply_order(&a.shape, &o);
    }
    for (int i = 0; i < n->n_in; i++) {
        order o =
            i == 1 && weights_operand ? identity() : channels_last(h->nodes[x[i].id]->shape.ndim);
        HWB_TRY(in_order(h, &in[i], &x[i], &o));
    }
    order o = weights_result ? identity() : channels_last(n->shape.ndim);
    return emit(h, out, n->op, n->n_in, in, &a, &o);
}

/* Pointwise: the order of the largest operand that is not in logical order. */
static hwb_status lay_pointwise(hwb_graph *h, laid *out, const hwb__node *n, const laid *x) {
    order o = identity(), id = identity();
    hwb_id in[3];
    int64_t best = 0;
    for (int i = 0; i < n->n_in; i++) {
        int64_t numel = hwb_shape_numel(&h->nodes[x[i].id]->shape);
        if (same_order(&x[i].o, &id, n->shape.ndim) || numel <= best) continue;
        best = numel;
        o = x[i].o;
    }
    for (int i = 0; i < n->n_in; i++) HWB_TRY(in_order(h, &in[i], &x[i], &o));
    return emit(h, out, n->op, n->n_in, in, &n->attrs, &o);
}

/* Operations whose attributes name dims: rename them. */
static hwb_status lay_dims(hwb_graph *h, laid *out, const hwb__node *n, const laid *x) {
    order o = x[0].o, inv = inverse(&o, n->shape.ndim);
    hwb_attrs a = n->attrs;
    hwb_id in[64];
    a.axes = 0;
    for (int i = 0; i < n->shape.ndim; i++) {
        a.lo[i] = n->attrs.lo[o.dim[i]];
        a.step[i] = n->attrs.step[o.dim[i]];
        if (n->attrs.axes >> o.dim[i] & 1) a.axes |= 1u << i;
    }
    if (a.shape.ndim == n->shape.ndim) a.shape = apply_order(&n->attrs.shape, &o);
    a.axis = inv.dim[n->attrs.axis];
    for (int i = 0; i < n->n_in; i++) HWB_TRY(in_order(h, &in[i], &x[i], &o));
    return emit(h, out, n->op, n->n_in, in, &a, &o);
}

/* Adding or dropping a leading 1 keeps the order of the rest. */
static hwb_status lay_reshape(hwb_graph *h, laid *out, const hwb__node *n, const hwb_shape *from,
                              const laid *x) {
    const hwb_shape *to = &n->shape;
    int grow = to->ndim - from->ndim;
    const hwb_shape *big = grow > 0 ? to : from, *small = grow > 0 ? from : to;
    bool leading = (grow == 1 || grow == -1) && big->dim[0] == 1 &&
                   memcmp(big->dim + 1, small->dim, (size_t)small->ndim * sizeof(int64_t)) == 0;
    order r = identity();
    if (leading && (grow > 0 || x->o.dim[0] == 0)) {
        for (int i = 0; i < small->ndim; i++) {
            if (grow > 0) r.dim[i + 1] = x->o.dim[i] + 1;
            else r.dim[i] = x->o.dim[i + 1] - 1;
        }
        out->o = r;
        return hwb_reshape(h, &out->id, x->id, apply_order(to, &r));
    }
    hwb_id id;
    HWB_TRY(plain(h, &id, x));
    out->o = r;
    return hwb_reshape(h, &out->id, id, *to);
}

static hwb_status lay_node(hwb_graph *h, laid *out, const hwb_graph *g, hwb_id id, const laid *x) {
    const hwb__node *n = g->nodes[id];
    order o = identity();
    hwb_id in[64];
    if (is_image_op(n->op)) return lay_image(h, out, n, x);
    if (hwb_op_is_pointwise(n->op)) return lay_pointwise(h, out, n, x);
    switch (n->op) {
    case HWB_OP_CAST:
    case HWB_OP_SUM:
    case HWB_OP_MAX:
    case HWB_OP_ARGMAX:
    case HWB_OP_BROADCAST:
    case HWB_OP_SLICE:
    case HWB_OP_PAD:
    case HWB_OP_CONCAT: return lay_dims(h, out, n, x);
    case HWB_OP_RESHAPE: return lay_reshape(h, out, n, &g->nodes[n->in[0]]->shape, &x[0]);
    default:
        for (int i = 0; i < n->n_in; i++) HWB_TRY(plain(h, &in[i], &x[i]));
        return emit(h, out, n->op, n->n_in, in, &n->attrs, &o);
    }
}

hwb_status hwb__channels_last(hwb_graph *g, hwb_graph **out, int n_out, hwb_id *outputs,
                              hwb_id *map) {
    hwb_graph *h = NULL;
    laid *to = malloc((size_t)(g->count + 1) * sizeof *to);
    hwb_status st;
    if (!to) return hwb_fail(g->ctx, HWB_ENOMEM, "out of memory while compiling");
    HWB_GOTO(done, st, hwb_graph_new(g->ctx, &h));
    for (hwb_id id = 0; id < g->count && st == HWB_OK; id++) {
        const hwb__node *n = g->nodes[id];
        laid in[64];
        for (int i = 0; i < n->n_in; i++) in[i] = to[n->in[i]];
        HWB_GOTO(done, st, hwb_graph_push_scope(h, g->scopes[n->scope]));
        to[id].o = identity();
        st = hwb_op_family(n->op) == HWB_FAMILY_LEAF ? hwb__copy_leaf(g, id, h, &to[id].id)
                                                     : lay_node(h, &to[id], g, id, in);
        map[id] = to[id].id;
        hwb_graph_pop_scope(h);
    }
    for (int i = 0; i < n_out && st == HWB_OK; i++) st = plain(h, &outputs[i], &to[outputs[i]]);
done:
    free(to);
    if (st == HWB_OK) *out = h;
    else hwb_graph_release(h);
    return st;
}
