/*
 * simplify.c: rebuild a graph with less work in it.
 *
 * One pass in topological order.  Dead nodes are not copied, equal nodes meet
 * by hash-consing, and each node is first offered to a few local rules:
 *   - constants: arithmetic on fills is done here;
 *   - identities: x+0, x*1, x/1, -(-x), (x*a)*b with constants, powers by small
 *     constants, reshapes, permutes, slices and pads of themselves, sums over dims of size 1;
 *   - broadcasts sink: op(broadcast(a), b) = op(a, b) where b has the full
 *     shape, else broadcast(op(a, b)); sum(broadcast(a)) = n*a;
 *   - sums over one rank go, those over several move in front of broadcasts.
 * Every rule is exact in real arithmetic; none drops a NaN (0*x stays).
 */
#include "compile/compile_i.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

hwb_status hwb__copy_leaf(const hwb_graph *from, hwb_id id, hwb_graph *to, hwb_id *out) {
    const hwb__node *n = from->nodes[id];
    if (n->op == HWB_OP_FILL && n->attrs.key)
        return hwb__graph_own_zeros(to, out, n->dtype, n->shape);
    if (n->op == HWB_OP_FILL) return hwb_graph_fill(to, out, n->dtype, n->shape, n->attrs.value);
    if (n->op == HWB_OP_CONSTANT) return hwb_graph_constant(to, out, n->tensor);
    HWB_TRY(hwb_graph_input(to, out, (hwb_role)n->attrs.role, n->dtype, n->shape, n->name));
    to->nodes[*out]->classes = n->classes;
    to->nodes[*out]->class_shift = n->class_shift;
    return n->tensor ? hwb_graph_bind(to, *out, n->tensor) : HWB_OK;
}

/* ---- constants ---------------------------------------------------------------------- */

static bool is_fill(const hwb_graph *g, hwb_id id, double *value) {
    const hwb__node *n = g->nodes[id];
    if (n->op != HWB_OP_FILL) return false;
    *value = n->attrs.value;
    return true;
}

static bool fill_is(const hwb_graph *g, hwb_id id, double value) {
    double v;
    return is_fill(g, id, &v) && v == value;
}

static double fold(hwb_op op, double a, double b) {
    switch (op) {
    case HWB_OP_NEG: return -a;
    case HWB_OP_EXP: return exp(a);
    case HWB_OP_LOG: return log(a);
    case HWB_OP_SQRT: return sqrt(a);
    case HWB_OP_ADD: return a + b;
    case HWB_OP_SUB: return a - b;
    case HWB_OP_MUL: return a * b;
    case HWB_OP_DIV: return a / b;
    case HWB_OP_POW: return pow(a, b);
    default: return NAN;
    }
}

static bool can_fold(hwb_op op) {
    switch (op) {
    case HWB_OP_NEG:
    case HWB_OP_EXP:
    case HWB_OP_LOG:
    case HWB_OP_SQRT:
    case HWB_OP_ADD:
    case HWB_OP_SUB:
    case HWB_OP_MUL:
    case HWB_OP_DIV:
    case HWB_OP_POW: return true;
    default: return false;
    }
}

/* ---- pointwise ------------------------------------------------------------------------ */

/* Result shape of equal-rank broadcasting. */
static hwb_shape natural_shape(const hwb_graph *g, int n, const hwb_id *in) {
    hwb_shape s = g->nodes[in[0]]->shape;
    for (int i = 1; i < n; i++)
        for (int d = 0; d < s.ndim; d++)
            if (s.dim[d] == 1) s.dim[d] = g->nodes[in[i]]->shape.dim[d];
    return s;
}

/* x where x op c = x; HWB_NONE otherwise.  c is the fill. */
static hwb_id identity_operand(const hwb_graph *g, hwb_op op, const hwb_id *in) {
    switch (op) {
    case HWB_OP_ADD:
        if (fill_is(g, in[1], 0.0)) return in[0];
        if (fill_is(g, in[0], 0.0)) return in[1];
        break;
    case HWB_OP_SUB:
        if (fill_is(g, in[1], 0.0)) return in[0];
        break;
    case HWB_OP_MUL:
        if (fill_is(g, in[1], 1.0)) return in[0];
        if (fill_is(g, in[0], 1.0)) return in[1];
        break;
    case HWB_OP_DIV:
    case HWB_OP_POW:
        if (fill_is(g, in[1], 1.0)) return in[0];
        break;
    default: break;
    }
    return HWB_NONE;
}

/* (x*a)*b with fills a, b; fills are kept on the right. */
static hwb_status times_constant(hwb_graph *g, hwb_id *out, hwb_id x, double c) {
    double c2;
    const hwb__node *n = g->nodes[x];
    if (n->op == HWB_OP_MUL && is_fill(g, n->in[1], &c2))
        return hwb_mul_scalar(g, out, n->in[0], c * c2);
    if (n->op == HWB_OP_NEG) return hwb_mul_scalar(g, out, n->in[0], -c);
    return c == -1.0 ? hwb_neg(g, out, x) : hwb_mul_scalar(g, out, x, c);
}

static hwb_status pointwise_core(hwb_graph *g, hwb_id *out, hwb_op op, int n, hwb_id *in,
                                 const hwb_attrs *attrs) {
    double a = 0, b = 0;
    hwb_dtype dtype = g->nodes[in[0]]->dtype;
    bool fa = is_fill(g, in[0], &a), fb = n > 1 && is_fill(g, in[1], &b);
    if (can_fold(op) && fa && (n == 1 || fb))
        return hwb_graph_fill(g, out, dtype, natural_shape(g, n, in), fold(op, a, b));
    if (n == 2 && (op == HWB_OP_MUL || op == HWB_OP_ADD) && fa) { /* constants right */
        hwb_id t = in[0];
        in[0] = in[1];
        in[1] = t;
        b = a;
        fb = true;
    }
    if (op == HWB_OP_MUL && fb && hwb_dtype_is_float(dtype))
        return times_constant(g, out, in[0], b);
    if (op == HWB_OP_DIV && fb && hwb_dtype_is_float(dtype) && b != 0 && fabs(log2(fabs(b))) < 60 &&
        floor(log2(fabs(b))) == log2(fabs(b)))
        return times_constant(g, out, in[0], 1.0 / b); /* powers of two: exact */
    if (op == HWB_OP_POW && fb && b == 2.0) return hwb_mul(g, out, in[0], in[0]);
    if (op == HWB_OP_POW && fb && b == 0.5) return hwb_sqrt(g, out, in[0]);
    if (op == HWB_OP_NEG && g->nodes[in[0]]->op == HWB_OP_NEG) {
        *out = g->nodes[in[0]]->in[0];
        return HWB_OK;
    }
    if (op == HWB_OP_NEG) return times_constant(g, out, in[0], -1.0);
    return hwb_graph_node(g, out, op, n, in, attrs);
}

static hwb_status simplify_pointwise(hwb_graph *g, hwb_id *out, const hwb__node *n, hwb_id *in) {
    for (int i = 0; i < n->n_in; i++) {
        const hwb__node *m = g->nodes[in[i]];
        if (m->op == HWB_OP_BROADCAST) in[i] = m->in[0];
        else if (m->op == HWB_OP_FILL) HWB_TRY(hwb_scalar(g, &in[i], in[i], m->attrs.value));
    }
    hwb_op op = n->op == HWB_OP_ROUND_ST ? HWB_OP_ROUND : n->op; /* derivatives are taken */
    hwb_id same = n->n_in == 2 ? identity_operand(g, n->op, in) : HWB_NONE;
    hwb_id y = same;
    if (same == HWB_NONE) HWB_TRY(pointwise_core(g, &y, op, n->n_in, in, &n->attrs));
    return hwb_broadcast_to(g, out, y, n->shape);
}

/* ---- data movement ------------------------------------------------------------------------ */

static hwb_status simplify_permute(hwb_graph *g, hwb_id *out, const hwb__node *n, hwb_id x) {
    int perm[HWB_MAX_DIMS], rank = n->shape.ndim, last = -1;
    for (int i = 0; i < rank; i++) perm[i] = n->attrs.perm[i];
    if (g->nodes[x]->op == HWB_OP_PERMUTE) {
        const hwb__node *m = g->nodes[x];
        for (int i = 0; i < rank; i++) perm[i] = m->attrs.perm[perm[i]];
        x = m->in[0];
    }
    if (g->nodes[x]->op == HWB_OP_FILL)
        return hwb_graph_fill(g, out, n->dtype, n->shape, g->nodes[x]->attrs.value);
    bool ordered = true; /* only dims of size 1 move: the data do not */
    for (int i = 0; i < rank; i++) {
        if (g->nodes[x]->shape.dim[perm[i]] == 1) continue;
        ordered = ordered && perm[i] > last;
        last = perm[i];
    }
    return ordered ? hwb_reshape(g, out, x, n->shape) : hwb_permute(g, out, x, perm);
}

/* slice of slice, pad of pad: one of them. */
static hwb_status simplify_stride(hwb_graph *g, hwb_id *out, const hwb__node *n, hwb_id x) {
    const hwb__node *m = g->nodes[x];
    hwb_attrs a = n->attrs;
    if (m->op == n->op) {
        for (int i = 0; i < n->shape.ndim; i++) {
            const hwb_attrs *in = n->op == HWB_OP_SLICE ? &m->attrs : &n->attrs;
            const hwb_attrs *on = n->op == HWB_OP_SLICE ? &n->attrs : &m->attrs;
            a.lo[i] = in->lo[i] + on->lo[i] * in->step[i];
            a.step[i] = m->attrs.step[i] * n->attrs.step[i];
        }
        x = m->in[0];
    }
    return hwb_graph_node(g, out, n->op, 1, &x, &a);
}

static hwb_status simplify_reshape(hwb_graph *g, hwb_id *out, const hwb__node *n, hwb_id x) {
    while (g->nodes[x]->op == HWB_OP_RESHAPE) x = g->nodes[x]->in[0];
    return hwb_reshape(g, out, x, n->shape);
}

/* x does not change along `axes` (a bit mask). */
static bool constant_along(const hwb_graph *g, hwb_id x, uint32_t axes) {
    const hwb_shape *s = &g->nodes[x]->shape;
    for (int i = 0; i < s->ndim; i++)
        if ((axes >> i & 1) && s->dim[i] != 1) return false;
    return true;
}

/* The factor of a product x that does not change along `axes`, and the one that does; false
 * when x is no such product. */
static bool has_factor(const hwb_graph *g, hwb_id x, uint32_t axes, hwb_id *factor, hwb_id *rest) {
    const hwb__node *n = g->nodes[x];
    if (n->op != HWB_OP_MUL) return false;
    for (int i = 0; i < 2; i++) {
        *factor = n->in[i];
        *rest = n->in[1 - i];
        if (constant_along(g, *factor, axes) && !constant_along(g, *rest, axes) &&
            hwb_shape_equal(&g->nodes[*rest]->shape, &n->shape))
            return true;
    }
    return false;
}

/* x is a sum of products with such factors, and of at least two. */
static bool all_have_factors(const hwb_graph *g, hwb_id x, uint32_t axes, int depth) {
    const hwb__node *n = g->nodes[x];
    hwb_id factor, rest;
    if (n->op == HWB_OP_NEG && depth) return all_have_factors(g, n->in[0], axes, depth - 1);
    if ((n->op != HWB_OP_ADD && n->op != HWB_OP_SUB) || !depth)
        return has_factor(g, x, axes, &factor, &rest);
    return all_have_factors(g, n->in[0], axes, depth - 1) &&
           all_have_factors(g, n->in[1], axes, depth - 1);
}

static hwb_status sum_apart(hwb_graph *g, hwb_id *out, hwb_id x, uint32_t axes) {
    const hwb__node *n = g->nodes[x];
    hwb_op op = n->op;
    hwb_id part[2] = {HWB_NONE, HWB_NONE}, factor, rest;
    if (op == HWB_OP_MUL) {
        has_factor(g, x, axes, &factor, &rest);
        HWB_TRY(hwb_sum(g, out, rest, axes, true));
        return hwb_mul(g, out, *out, factor);
    }
    int n_in = n->n_in;
    for (int i = 0; i < n_in; i++) part[i] = n->in[i];
    for (int i = 0; i < n_in; i++) HWB_TRY(sum_apart(g, &part[i], part[i], axes));
    if (op == HWB_OP_NEG) return hwb_neg(g, out, part[0]);
    return op == HWB_OP_ADD ? hwb_add(g, out, part[0], part[1]) : hwb_sub(g, out, part[0], part[1]);
}

/* sum(a x + b y) = a sum(x) + b sum(y) for factors a, b that the sum does not see: the two
 * sums are those that a pass over x and y has made already, as in batch-norm's gradient,
 * and the sum need not wait for a and b.  A sum without such factors stays whole. */
static hwb_status sum_linear(hwb_graph *g, hwb_id *out, hwb_id x, uint32_t axes) {
    enum { DEPTH = 4 };
    const hwb__node *n = g->nodes[x];
    bool sum = n->op == HWB_OP_ADD || n->op == HWB_OP_SUB || n->op == HWB_OP_NEG;
    if (sum && hwb_dtype_is_float(n->dtype) && all_have_factors(g, x, axes, DEPTH))
        return sum_apart(g, out, x, axes);
    return hwb_sum(g, out, x, axes, true);
}

static hwb_status simplify_sum(hwb_graph *g, hwb_id *out, const hwb__node *n, hwb_id x) {
    uint32_t axes = n->attrs.axes;
    double scale = 1;
    const hwb__node *m = g->nodes[x];
    if (m->op == HWB_OP_BROADCAST && hwb_dtype_is_float(n->dtype)) {
        const hwb_shape *small = &g->nodes[m->in[0]]->shape;
        bool all = true; /* every broadcast dim is summed away again */
        for (int i = 0; i < small->ndim; i++) {
            bool grown = small->dim[i] != m->shape.dim[i];
            if (grown && (axes >> i & 1)) scale *= (double)m->shape.dim[i];
            else if (grown) all = false;
        }
        if (all) x = m->in[0];
        else scale = 1;
    }
    const hwb_shape *s = &g->nodes[x]->shape;
    for (int i = 0; i < s->ndim; i++)
        if (s->dim[i] == 1) axes &= ~(1u << i);
    if (axes) HWB_TRY(sum_linear(g, &x, x, axes));
    if (scale != 1) HWB_TRY(times_constant(g, &x, x, scale));
    *out = x;
    return HWB_OK;
}

/* Of one rank: itself.  What is the same many times is exchanged once.  A constant is not
 * the other ranks' constant: their shares of the samples differ. */
static hwb_status simplify_allreduce(hwb_graph *g, hwb_id *out, const hwb__node *n, hwb_id x) {
    const hwb__node *m = g->nodes[x];
    int ranks = n->attrs.groups;
    if (ranks == 1) {
        *out = x;
        return HWB_OK;
    }
    if (m->op == HWB_OP_BROADCAST || m->op == HWB_OP_RESHAPE) {
        HWB_TRY(hwb_graph_node(g, out, n->op, 1, m->in, &n->attrs));
        return m->op == HWB_OP_RESHAPE ? hwb_reshape(g, out, *out, n->shape)
                                       : hwb_broadcast_to(g, out, *out, n->shape);
    }
    return hwb_graph_node(g, out, n->op, 1, &x, &n->attrs);
}

static hwb_status simplify_node(hwb_graph *g, hwb_id *out, const hwb__node *n, hwb_id *in) {
    if (hwb_op_is_pointwise(n->op) && n->op != HWB_OP_CAST && n->op != HWB_OP_STOP)
        return simplify_pointwise(g, out, n, in);
    switch (n->op) {
    case HWB_OP_STOP: *out = in[0]; return HWB_OK;
    case HWB_OP_PERMUTE: return simplify_permute(g, out, n, in[0]);
    case HWB_OP_RESHAPE: return simplify_reshape(g, out, n, in[0]);
    case HWB_OP_SLICE:
    case HWB_OP_PAD: return simplify_stride(g, out, n, in[0]);
    case HWB_OP_SUM: return simplify_sum(g, out, n, in[0]);
    case HWB_OP_ALLREDUCE: return simplify_allreduce(g, out, n, in[0]);
    case HWB_OP_CAST: return hwb_cast(g, out, in[0], n->dtype);
    case HWB_OP_BROADCAST:
        if (g->nodes[in[0]]->op == HWB_OP_BROADCAST) in[0] = g->nodes[in[0]]->in[0];
        return hwb_broadcast_to(g, out, in[0], n->shape);
    default: return hwb_graph_node(g, out, n->op, n->n_in, in, &n->attrs);
    }
}

hwb_status hwb__simplify(hwb_graph *g, hwb_graph **out, int n_out, hwb_id *outputs, hwb_id *map) {
    hwb_graph *h = NULL;
    bool *needed = malloc((size_t)g->count + 1);
    hwb_status st;
    if (!needed) return hwb_fail(g->ctx, HWB_ENOMEM, "out of memory while compiling");
    hwb__graph_mark_needed(g, n_out, outputs, needed);
    HWB_GOTO(done, st, hwb_graph_new(g->ctx, &h));
    for (hwb_id id = 0; id < g->count && st == HWB_OK; id++) {
        const hwb__node *n = g->nodes[id];
        hwb_id in[64];
        map[id] = HWB_NONE;
        if (!needed[id]) continue;
        for (int i = 0; i < n->n_in; i++) in[i] = map[n->in[i]];
        HWB_GOTO(done, st, hwb_graph_push_scope(h, g->scopes[n->scope]));
        st = hwb_op_family(n->op) == HWB_FAMILY_LEAF ? hwb__copy_leaf(g, id, h, &map[id])
                                                     : simplify_node(h, &map[id], n, in);
        hwb_graph_pop_scope(h);
    }
    for (int i = 0; i < n_out && st == HWB_OK; i++) outputs[i] = map[outputs[i]];
done:
    free(needed);
    if (st == HWB_OK) *out = h;
    else hwb_graph_release(h);
    return st;
}
