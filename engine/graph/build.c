/*
 * build.c: pointwise and shape operations with numpy semantics (build.h).
 *
 * The primitives are strict (equal ranks, equal dtypes, explicit reshapes), so
 * that rules and backends stay simple; the convenience is added here.
 */
#include "graph/build.h"

#include <string.h>

static hwb_ctx *ctx_of(hwb_graph *g) {
    return hwb_graph_ctx(g);
}

static hwb_attrs zero_attrs(void) {
    hwb_attrs a;
    memset(&a, 0, sizeof a);
    return a;
}

static hwb_status node1(hwb_graph *g, hwb_id *y, hwb_op op, hwb_id x, const hwb_attrs *a) {
    return hwb_graph_node(g, y, op, 1, &x, a);
}

/* ---- rank and dtype adjustment ---------------------------------------------------- */

/* x with leading dims of size 1 up to `rank`. */
static hwb_status raise_rank(hwb_graph *g, hwb_id *y, hwb_id x, int rank) {
    hwb_shape s = *hwb_graph_shape(g, x), r = {.ndim = rank};
    if (s.ndim == rank) {
        *y = x;
        return HWB_OK;
    }
    for (int i = 0; i < rank; i++) r.dim[i] = i < rank - s.ndim ? 1 : s.dim[i - (rank - s.ndim)];
    return hwb_reshape(g, y, x, r);
}

/* The common dtype of a and b: the wider float, or the float of a mixture. */
static hwb_status promote(hwb_graph *g, hwb_dtype *out, hwb_dtype a, hwb_dtype b) {
    if (a == b) *out = a;
    else if (hwb_dtype_is_float(a) && hwb_dtype_is_float(b)) *out = HWB_F64;
    else if (hwb_dtype_is_float(a)) *out = a;
    else if (hwb_dtype_is_float(b)) *out = b;
    else if (a == HWB_BOOL) *out = b;
    else if (b == HWB_BOOL) *out = a;
    else if (a == HWB_I64 || b == HWB_I64) *out = HWB_I64;
    else if (a == HWB_I32 || b == HWB_I32) *out = HWB_I32;
    else
        return hwb_fail(ctx_of(g), HWB_EDTYPE, "%s and %s do not mix", hwb_dtype_name(a),
                        hwb_dtype_name(b));
    return HWB_OK;
}

/* A scalar constant takes the dtype of the tensor it meets. */
static bool is_scalar_fill(hwb_graph *g, hwb_id x) {
    return hwb_graph_op(g, x) == HWB_OP_FILL && hwb_shape_numel(hwb_graph_shape(g, x)) == 1;
}

static hwb_status meet(hwb_graph *g, hwb_id *a, hwb_id *b) {
    hwb_dtype da = hwb_graph_dtype(g, *a), db = hwb_graph_dtype(g, *b), d = da;
    bool whole_b = is_scalar_fill(g, *b), whole_a = is_scalar_fill(g, *a);
    if (whole_b && !whole_a && hwb_dtype_is_float(da)) d = da;
    else if (whole_a && !whole_b && hwb_dtype_is_float(db)) d = db;
    else HWB_TRY(promote(g, &d, da, db));
    HWB_TRY(hwb_cast(g, a, *a, d));
    HWB_TRY(hwb_cast(g, b, *b, d));
    int ra = hwb_graph_shape(g, *a)->ndim, rb = hwb_graph_shape(g, *b)->ndim;
    HWB_TRY(raise_rank(g, a, *a, ra > rb ? ra : rb));
    return raise_rank(g, b, *b, ra > rb ? ra : rb);
}

static hwb_status binary(hwb_graph *g, hwb_id *y, hwb_op op, hwb_id a, hwb_id b) {
    hwb_shape s;
    hwb_status st =
        hwb_shape_broadcast(ctx_of(g), &s, hwb_graph_shape(g, a), hwb_graph_shape(g, b));
    if (st != HWB_OK) return hwb_fail_in(ctx_of(g), st, "%s", hwb_op_name(op));
    st = meet(g, &a, &b);
    if (st != HWB_OK) return hwb_fail_in(ctx_of(g), st, "%s", hwb_op_name(op));
    return hwb_graph_node(g, y, op, 2, (hwb_id[]){a, b}, NULL);
}

/* ---- pointwise --------------------------------------------------------------------------- */

#define XX(name, op)                                                                               \
    hwb_status hwb_##name(hwb_graph *g, hwb_id *y, hwb_id x) {                                     \
        return node1(g, y, HWB_OP_##op, x, NULL);                                                  \
    }
HWB_UNARY_MAP(XX)
#undef XX

#define XX(name, op)                                                                               \
    hwb_status hwb_##name(hwb_graph *g, hwb_id *y, hwb_id a, hwb_id b) {                           \
        return binary(g, y, HWB_OP_##op, a, b);                                                    \
    }
HWB_BINARY_MAP(XX)
#undef XX

hwb_status hwb_scalar(hwb_graph *g, hwb_id *y, hwb_id like, double value) {
    hwb_shape s = *hwb_graph_shape(g, like);
    for (int i = 0; i < s.ndim; i++) s.dim[i] = 1;
    return hwb_graph_fill(g, y, hwb_graph_dtype(g, like), s, value);
}

hwb_status hwb_add_scalar(hwb_graph *g, hwb_id *y, hwb_id x, double s) {
    hwb_id c;
    HWB_TRY(hwb_scalar(g, &c, x, s));
    return hwb_graph_node(g, y, HWB_OP_ADD, 2, (hwb_id[]){x, c}, NULL);
}

hwb_status hwb_mul_scalar(hwb_graph *g, hwb_id *y, hwb_id x, double s) {
    hwb_id c;
    HWB_TRY(hwb_scalar(g, &c, x, s));
    return hwb_graph_node(g, y, HWB_OP_MUL, 2, (hwb_id[]){x, c}, NULL);
}

hwb_status hwb_where(hwb_graph *g, hwb_id *y, hwb_id cond, hwb_id a, hwb_id b) {
    hwb_shape s;
    HWB_TRY(hwb_shape_broadcast(ctx_of(g), &s, hwb_graph_shape(g, a), hwb_graph_shape(g, b)));
    HWB_TRY(hwb_shape_broadcast(ctx_of(g), &s, &s, hwb_graph_shape(g, cond)));
    HWB_TRY(meet(g, &a, &b));
    HWB_TRY(raise_rank(g, &cond, cond, s.ndim));
    HWB_TRY(raise_rank(g, &a, a, s.ndim));
    HWB_TRY(raise_rank(g, &b, b, s.ndim));
    return hwb_graph_node(g, y, HWB_OP_WHERE, 3, (hwb_id[]){cond, a, b}, NULL);
}

hwb_status hwb_clamp(hwb_graph *g, hwb_id *y, hwb_id x, double lo, double hi) {
    hwb_id c;
    HWB_TRY(hwb_scalar(g, &c, x, lo));
    HWB_TRY(hwb_maximum(g, &x, x, c));
    HWB_TRY(hwb_scalar(g, &c, x, hi));
    return hwb_minimum(g, y, x, c);
}

hwb_status hwb_cast(hwb_graph *g, hwb_id *y, hwb_id x, hwb_dtype dtype) {
    hwb_attrs a = zero_attrs();
    if (hwb_graph_dtype(g, x) == dtype) {
        *y = x;
        return HWB_OK;
    }
    if (hwb_graph_op(g, x) == HWB_OP_FILL)
        return hwb_graph_fill(g, y, dtype, *hwb_graph_shape(g, x), hwb_graph_attrs(g, x)->value);
    a.dtype = (int32_t)dtype;
    return node1(g, y, HWB_OP_CAST, x, &a);
}

hwb_status hwb_zeros_like(hwb_graph *g, hwb_id *y, hwb_id x) {
    return hwb_graph_fill(g, y, hwb_graph_dtype(g, x), *hwb_graph_shape(g, x), 0.0);
}

/* ---- shape ------------------------------------------------------------------------------------ */

static hwb_status axis_of(hwb_graph *g, int *axis, hwb_id x, const char *what) {
    int n = hwb_graph_shape(g, x)->ndim, a = *axis < 0 ? *axis + n : *axis;
    char text[HWB_SHAPE_TEXT];
    if (a < 0 || a >= n)
        return hwb_fail(ctx_of(g), HWB_ESHAPE, "%s: dim %d of a tensor %s with %d dims", what,
                        *axis < 0 ? *axis : *axis + 1, hwb_shape_text(hwb_graph_shape(g, x), text),
                        n);
    *axis = a;
    return HWB_OK;
}

hwb_status hwb_reshape(hwb_graph *g, hwb_id *y, hwb_id x, hwb_shape shape) {
    const hwb_shape *s = hwb_graph_shape(g, x);
    int64_t known = 1, numel = hwb_shape_numel(s);
    int free_dim = -1;
    char from[HWB_SHAPE_TEXT], to[HWB_SHAPE_TEXT];
    for (int i = 0; i < shape.ndim; i++) {
        if (shape.dim[i] == -1 && free_dim < 0) free_dim = i;
        else if (shape.dim[i] < 0 || !hwb_mul_size(known, shape.dim[i], &known))
            return hwb_fail(ctx_of(g), HWB_ESHAPE, "reshape: %s is not a shape",
                            hwb_shape_text(&shape, to));
    }
    if (free_dim >= 0) {
        if (known == 0 || numel % known != 0)
            return hwb_fail(ctx_of(g), HWB_ESHAPE, "reshape: %s does not fit into %s",
                            hwb_shape_text(s, from), hwb_shape_text(&shape, to));
        shape.dim[free_dim] = numel / known;
    }
    if (hwb_shape_equal(s, &shape)) {
        *y = x;
        return HWB_OK;
    }
    if (hwb_graph_op(g, x) == HWB_OP_FILL && hwb_shape_numel(&shape) == numel)
        return hwb_graph_fill(g, y, hwb_graph_dtype(g, x), shape, hwb_graph_attrs(g, x)->value);
    hwb_attrs a = zero_attrs();
    a.shape = shape;
    return node1(g, y, HWB_OP_RESHAPE, x, &a);
}

hwb_status hwb_permute(hwb_graph *g, hwb_id *y, hwb_id x, const int *perm) {
    hwb_attrs a = zero_attrs();
    int n = hwb_graph_shape(g, x)->ndim;
    bool same = true;
    for (int i = 0; i < n; i++) {
        a.perm[i] = perm[i];
        same = same && perm[i] == i;
    }
    if (same) {
        *y = x;
        return HWB_OK;
    }
    return node1(g, y, HWB_OP_PERMUTE, x, &a);
}

hwb_status hwb_transpose(hwb_graph *g, hwb_id *y, hwb_id x, int axis_a, int axis_b) {
    int perm[HWB_MAX_DIMS];
    HWB_TRY(axis_of(g, &axis_a, x, "transpose"));
    HWB_TRY(axis_of(g, &axis_b, x, "transpose"));
    for (int i = 0; i < HWB_MAX_DIMS; i++) perm[i] = i;
    perm[axis_a] = axis_b;
    perm[axis_b] = axis_a;
    return hwb_permute(g, y, x, perm);
}

hwb_status hwb_broadcast_to(hwb_graph *g, hwb_id *y, hwb_id x, hwb_shape shape) {
    HWB_TRY(raise_rank(g, &x, x, shape.ndim));
    if (hwb_shape_equal(hwb_graph_shape(g, x), &shape)) {
        *y = x;
        return HWB_OK;
    }
    hwb_attrs a = zero_attrs();
    a.shape = shape;
    return node1(g, y, HWB_OP_BROADCAST, x, &a);
}

hwb_status hwb_unsqueeze(hwb_graph *g, hwb_id *y, hwb_id x, int axis) {
    hwb_shape s = *hwb_graph_shape(g, x);
    if (axis < 0) axis += s.ndim + 1;
    if (axis < 0 || axis > s.ndim || s.ndim == HWB_MAX_DIMS)
        return hwb_fail(ctx_of(g), HWB_ESHAPE, "unsqueeze: no place %d in %d axes", axis, s.ndim);
    for (int i = s.ndim; i > axis; i--) s.dim[i] = s.dim[i - 1];
    s.dim[axis] = 1;
    s.ndim++;
    return hwb_reshape(g, y, x, s);
}

hwb_status hwb_squeeze(hwb_graph *g, hwb_id *y, hwb_id x, int axis) {
    HWB_TRY(axis_of(g, &axis, x, "squeeze"));
    hwb_shape s = *hwb_graph_shape(g, x);
    if (s.dim[axis] != 1)
        return hwb_fail(ctx_of(g), HWB_ESHAPE, "squeeze: dim %d has size %lld, not 1", axis + 1,
                        (long long)s.dim[axis]);
    for (int i = axis; i + 1 < s.ndim; i++) s.dim[i] = s.dim[i + 1];
    s.ndim--;
    return hwb_reshape(g, y, x, s);
}

hwb_status hwb_flatten(hwb_graph *g, hwb_id *y, hwb_id x, int first_axis) {
    hwb_shape s = *hwb_graph_shape(g, x), r = {.ndim = first_axis + 1};
    HWB_TRY(axis_of(g, &first_axis, x, "flatten"));
    r.ndim = first_axis + 1;
    for (int i = 0; i < first_axis; i++) r.dim[i] = s.dim[i];
    r.dim[first_axis] = 1;
    for (int i = first_axis; i < s.ndim; i++) r.dim[first_axis] *= s.dim[i];
    return hwb_reshape(g, y, x, r);
}

hwb_status hwb_slice(hwb_graph *g, hwb_id *y, hwb_id x, int axis, int64_t start, int64_t len,
                     int64_t step) {
    HWB_TRY(axis_of(g, &axis, x, "slice"));
    const hwb_shape *s = hwb_graph_shape(g, x);
    if (start == 0 && step == 1 && len == s->dim[axis]) {
        *y = x;
        return HWB_OK;
    }
    hwb_attrs a = zero_attrs();
    a.shape = *s;
    a.shape.dim[axis] = len;
    for (int i = 0; i < s->ndim; i++) a.step[i] = 1;
    a.lo[axis] = start;
    a.step[axis] = step;
    return node1(g, y, HWB_OP_SLICE, x, &a);
}

hwb_status hwb_pad(hwb_graph *g, hwb_id *y, hwb_id x, const int64_t *before, const int64_t *after) {
    const hwb_shape *s = hwb_graph_shape(g, x);
    hwb_attrs a = zero_attrs();
    bool none = true;
    a.shape = *s;
    for (int i = 0; i < s->ndim; i++) {
        if (before[i] < 0 || after[i] < 0)
            return hwb_fail(ctx_of(g), HWB_ESHAPE,
                            "pad: %lld and %lld on dim %d: neither may be negative",
                            (long long)before[i], (long long)after[i], i + 1);
        a.lo[i] = before[i];
        a.step[i] = 1;
        a.shape.dim[i] += before[i] + after[i];
        none = none && before[i] == 0 && after[i] == 0;
    }
    if (none) {
        *y = x;
        return HWB_OK;
    }
    return node1(g, y, HWB_OP_PAD, x, &a);
}

hwb_status hwb_concat(hwb_graph *g, hwb_id *y, int n, const hwb_id *x, int axis) {
    if (n < 1) return hwb_fail(ctx_of(g), HWB_EARG, "concat of nothing");
    HWB_TRY(axis_of(g, &axis, x[0], "concat"));
    if (n == 1) {
        *y = x[0];
        return HWB_OK;
    }
    hwb_attrs a = zero_attrs();
    a.axis = axis;
    return hwb_graph_node(g, y, HWB_OP_CONCAT, n, x, &a);
}

hwb_status hwb_gather(hwb_graph *g, hwb_id *y, hwb_id x, hwb_id index, int axis) {
    HWB_TRY(axis_of(g, &axis, x, "gather"));
    hwb_attrs a = zero_attrs();
    a.axis = axis;
    return hwb_graph_node(g, y, HWB_OP_GATHER, 2, (hwb_id[]){x, index}, &a);
}

hwb_status hwb_scatter_add(hwb_graph *g, hwb_id *y, hwb_id updates, hwb_id index, int axis,
                           int64_t size) {
    const hwb_shape *u = hwb_graph_shape(g, updates), *ix = hwb_graph_shape(g, index);
    int rest = u->ndim - ix->ndim; /* axes of the result besides the indexed one */
    if (axis < 0) axis += rest + 1;
    if (rest < 0 || axis < 0 || axis > rest)
        return hwb_fail(ctx_of(g), HWB_ESHAPE,
                        "scatter_add: dim %d, updates with %d dims, index "
                        "with %d",
                        axis + 1, u->ndim, ix->ndim);
    hwb_attrs a = zero_attrs();
    a.axis = axis;
    a.shape.ndim = rest + 1;
    for (int i = 0; i < axis; i++) a.shape.dim[i] = u->dim[i];
    a.shape.dim[axis] = size;
    for (int i = axis; i < rest; i++) a.shape.dim[i + 1] = u->dim[i + ix->ndim];
    return hwb_graph_node(g, y, HWB_OP_SCATTER_ADD, 2, (hwb_id[]){updates, index}, &a);
}
