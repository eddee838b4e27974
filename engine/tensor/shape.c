/*
 * shape.c: shapes, their checks and numpy's broadcasting rule.
 */
#include "tensor/tensor_i.h"

#include <stdio.h>

hwb_shape hwb_shape_of(int ndim, ...) {
    HWB_ASSERT(ndim >= 0 && ndim <= HWB_MAX_DIMS);
    hwb_shape s = {.ndim = ndim};
    va_list args;
    va_start(args, ndim);
    for (int i = 0; i < ndim && i < HWB_MAX_DIMS; i++) s.dim[i] = va_arg(args, int);
    va_end(args);
    return s;
}

int64_t hwb_shape_numel(const hwb_shape *s) {
    int64_t n = 1;
    for (int i = 0; i < s->ndim; i++) n *= s->dim[i];
    return n;
}

bool hwb_shape_equal(const hwb_shape *a, const hwb_shape *b) {
    if (a->ndim != b->ndim) return false;
    for (int i = 0; i < a->ndim; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

const char *hwb_shape_text(const hwb_shape *s, char buf[HWB_SHAPE_TEXT]) {
    if (s->ndim == 0) {
        snprintf(buf, HWB_SHAPE_TEXT, "scalar");
        return buf;
    }
    /* 8 dims of at most 20 characters and 7 separators: 167 at the worst, but
     * only shapes that failed their check get near; those are cut. */
    int at = 0;
    buf[0] = '\0';
    for (int i = 0; i < s->ndim && i < HWB_MAX_DIMS && at < HWB_SHAPE_TEXT - 1; i++)
        at += snprintf(buf + at, (size_t)(HWB_SHAPE_TEXT - at), "%s%lld", i ? "x" : "",
                       (long long)s->dim[i]);
    return buf;
}

hwb_status hwb_shape_check(hwb_ctx *ctx, const hwb_shape *s) {
    char text[HWB_SHAPE_TEXT];
    if (s->ndim < 0 || s->ndim > HWB_MAX_DIMS)
        return hwb_fail(ctx, HWB_ESHAPE, "a tensor has at most %d dims, not %d", HWB_MAX_DIMS,
                        s->ndim);
    /* Zeros must not hide an overflow of the other dims: strides use them. */
    int64_t n = 8; /* bytes of the widest dtype, so that byte counts fit too */
    for (int i = 0; i < s->ndim; i++) {
        if (s->dim[i] < 0)
            return hwb_fail(ctx, HWB_ESHAPE, "shape %s has a negative dim",
                            hwb_shape_text(s, text));
        if (s->dim[i] > 0 && !hwb_mul_size(n, s->dim[i], &n))
            return hwb_fail(ctx, HWB_ESHAPE, "shape %s has more elements than can be addressed",
                            hwb_shape_text(s, text));
    }
    return HWB_OK;
}

hwb_status hwb_shape_broadcast(hwb_ctx *ctx, hwb_shape *out, const hwb_shape *a,
                               const hwb_shape *b) {
    hwb_shape s = {.ndim = a->ndim > b->ndim ? a->ndim : b->ndim};
    for (int i = 0; i < s.ndim; i++) {
        int ia = i - (s.ndim - a->ndim), ib = i - (s.ndim - b->ndim);
        int64_t da = ia >= 0 ? a->dim[ia] : 1, db = ib >= 0 ? b->dim[ib] : 1;
        if (da != db && da != 1 && db != 1) {
            char ta[HWB_SHAPE_TEXT], tb[HWB_SHAPE_TEXT];
            return hwb_fail(ctx, HWB_ESHAPE, "shapes %s and %s do not broadcast together",
                            hwb_shape_text(a, ta), hwb_shape_text(b, tb));
        }
        s.dim[i] = da == 1 ? db : da;
    }
    HWB_TRY(hwb_shape_check(ctx, &s));
    *out = s;
    return HWB_OK;
}

void hwb__dense_strides(const hwb_shape *shape, int64_t strides[HWB_MAX_DIMS]) {
    int64_t step = 1;
    for (int i = shape->ndim - 1; i >= 0; i--) {
        strides[i] = step;
        step *= shape->dim[i] > 0 ? shape->dim[i] : 1;
    }
}
