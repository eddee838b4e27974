/*
 * infer_data.c: shapes of data movement.  Any dtype passes through unchanged;
 * scatter_add adds, so it wants numbers.
 */
#include "graph/infer_i.h"

static hwb_status infer_reshape(hwb__infer *f) {
    f->shape = f->attrs->shape;
    if (hwb_shape_numel(&f->shape) == hwb_shape_numel(f->in[0])) return HWB_OK;
    char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
    return hwb_fail(f->ctx, HWB_ESHAPE, "reshape: %s has %lld elements, %s has %lld",
                    hwb_shape_text(f->in[0], a), (long long)hwb_shape_numel(f->in[0]),
                    hwb_shape_text(&f->shape, b), (long long)hwb_shape_numel(&f->shape));
}

static hwb_status infer_permute(hwb__infer *f) {
    const hwb_shape *x = f->in[0];
    unsigned seen = 0;
    f->shape.ndim = x->ndim;
    for (int i = 0; i < x->ndim; i++) {
        int p = f->attrs->perm[i];
        if (p < 0 || p >= x->ndim || (seen & 1u << p)) {
            char a[HWB_SHAPE_TEXT];
            return hwb_fail(f->ctx, HWB_EARG, "permute: dim %d at place %d is no permutation of %s",
                            p + 1, i + 1, hwb_shape_text(x, a));
        }
        seen |= 1u << p;
        f->shape.dim[i] = x->dim[p];
    }
    return HWB_OK;
}

static hwb_status infer_broadcast(hwb__infer *f) {
    const hwb_shape *x = f->in[0];
    f->shape = f->attrs->shape;
    bool fits = x->ndim == f->shape.ndim;
    for (int i = 0; fits && i < x->ndim; i++) fits = x->dim[i] == f->shape.dim[i] || x->dim[i] == 1;
    if (fits) return HWB_OK;
    char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
    return hwb_fail(f->ctx, HWB_ESHAPE, "broadcast: %s does not grow to %s", hwb_shape_text(x, a),
                    hwb_shape_text(&f->shape, b));
}

/* slice picks elements lo + i*step of the large side to be the small one; pad
 * puts the small one there.  attrs.shape is the result of either. */
static hwb_status infer_slice_pad(hwb__infer *f) {
    const hwb_attrs *at = f->attrs;
    const bool slice = f->op == HWB_OP_SLICE;
    const hwb_shape *small = slice ? &at->shape : f->in[0];
    const hwb_shape *large = slice ? f->in[0] : &at->shape;
    char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
    if (small->ndim != large->ndim)
        return hwb_fail(f->ctx, HWB_ESHAPE, "%s: %s from %s changes the rank", f->name,
                        hwb_shape_text(&at->shape, a), hwb_shape_text(f->in[0], b));
    for (int i = 0; i < small->ndim; i++) {
        int64_t n = small->dim[i], last;
        if (at->lo[i] < 0 || at->step[i] < 1)
            return hwb_fail(f->ctx, HWB_EARG, "%s: dim %d starts at %lld with step %lld", f->name,
                            i + 1, (long long)at->lo[i] + 1, (long long)at->step[i]);
        if (n == 0) continue;
        if (__builtin_mul_overflow(n - 1, at->step[i], &last) ||
            __builtin_add_overflow(last, at->lo[i], &last) || last >= large->dim[i])
            return hwb_fail(f->ctx, HWB_ESHAPE,
                            "%s: dim %d: %lld elements from %lld in steps of %lld leave %s",
                            f->name, i + 1, (long long)n, (long long)at->lo[i] + 1,
                            (long long)at->step[i], hwb_shape_text(large, a));
    }
    f->shape = at->shape;
    return HWB_OK;
}

static hwb_status infer_concat(hwb__infer *f) {
    f->shape = *f->in[0];
    int axis = f->attrs->axis;
    HWB_TRY(hwb__infer_axis(f, f->shape.ndim));
    for (int j = 1; j < f->n_in; j++) {
        const hwb_shape *x = f->in[j];
        HWB_TRY(hwb__infer_same_dtype(f, 0, j));
        bool fits = x->ndim == f->shape.ndim;
        for (int i = 0; fits && i < x->ndim; i++) fits = i == axis || x->dim[i] == f->shape.dim[i];
        if (!fits ||
            __builtin_add_overflow(f->shape.dim[axis], x->dim[axis], &f->shape.dim[axis])) {
            char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
            return hwb_fail(f->ctx, HWB_ESHAPE,
                            "concat: shapes %s and %s (tensor %d) do not fit along dim %d",
                            hwb_shape_text(f->in[0], a), hwb_shape_text(x, b), j + 1, axis + 1);
        }
    }
    return HWB_OK;
}

/* table[:axis] + index + table[axis+1:] */
static hwb_status picked_shape(hwb__infer *f, const hwb_shape *table, const hwb_shape *index,
                               hwb_shape *out) {
    int axis = f->attrs->axis, n = 0;
    HWB_TRY(hwb__infer_axis(f, table->ndim));
    if (table->ndim - 1 + index->ndim > HWB_MAX_DIMS) {
        char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
        return hwb_fail(f->ctx, HWB_ESHAPE, "%s: rows of %s by an index %s have more than %d dims",
                        f->name, hwb_shape_text(table, a), hwb_shape_text(index, b), HWB_MAX_DIMS);
    }
    for (int i = 0; i < axis; i++) out->dim[n++] = table->dim[i];
    for (int i = 0; i < index->ndim; i++) out->dim[n++] = index->dim[i];
    for (int i = axis + 1; i < table->ndim; i++) out->dim[n++] = table->dim[i];
    out->ndim = n;
    return HWB_OK;
}

static hwb_status infer_scatter_add(hwb__infer *f) {
    hwb_shape want;
    f->shape = f->attrs->shape;
    HWB_TRY(hwb__infer_number(f, 0));
    HWB_TRY(picked_shape(f, &f->shape, f->in[1], &want));
    if (hwb_shape_equal(&want, f->in[0])) return HWB_OK;
    char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT], c[HWB_SHAPE_TEXT], d[HWB_SHAPE_TEXT];
    return hwb_fail(
        f->ctx, HWB_ESHAPE, "scatter_add: updates %s, but an index %s into dim %d of %s wants %s",
        hwb_shape_text(f->in[0], a), hwb_shape_text(f->in[1], b), (int)f->attrs->axis + 1,
        hwb_shape_text(&f->shape, c), hwb_shape_text(&want, d));
}

hwb_status hwb__infer_data(hwb__infer *f) {
    f->dtype = f->dt[0];
    switch (f->op) {
    case HWB_OP_RESHAPE: return infer_reshape(f);
    case HWB_OP_PERMUTE: return infer_permute(f);
    case HWB_OP_BROADCAST: return infer_broadcast(f);
    case HWB_OP_SLICE:
    case HWB_OP_PAD: return infer_slice_pad(f);
    case HWB_OP_CONCAT: return infer_concat(f);
    default: break;
    }
    HWB_TRY(hwb__infer_index(f, 1));
    if (f->op == HWB_OP_GATHER) return picked_shape(f, f->in[0], f->in[1], &f->shape);
    return infer_scatter_add(f);
}
