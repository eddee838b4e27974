/*
 * view.c: tensors that share storage: reshape, permute, slice, select, expand.
 * Only reshape may copy, when no strides can describe the new shape.
 */
#include "tensor/tensor_i.h"

#include <string.h>

/* ---- reshape --------------------------------------------------------------------- */

/* Put the one -1 of `shape` right and check the element count. */
static hwb_status infer_shape(hwb_ctx *ctx, const hwb_tensor *t, hwb_shape *shape) {
    char from[HWB_SHAPE_TEXT], to[HWB_SHAPE_TEXT];
    if (shape->ndim < 0 || shape->ndim > HWB_MAX_DIMS) return hwb_shape_check(ctx, shape);
    int unknown = -1;
    hwb_shape known = *shape;
    for (int i = 0; i < shape->ndim; i++) {
        if (shape->dim[i] != -1) continue;
        if (unknown >= 0)
            return hwb_fail(ctx, HWB_ESHAPE, "reshape to %s: only one dim may be -1",
                            hwb_shape_text(shape, to));
        unknown = i;
        known.dim[i] = 1;
    }
    HWB_TRY(hwb_shape_check(ctx, &known));
    int64_t count = hwb_shape_numel(&known);
    if (unknown >= 0 && count > 0 && t->numel % count == 0) known.dim[unknown] = t->numel / count;
    else if (unknown >= 0 || count != t->numel)
        return hwb_fail(ctx, HWB_ESHAPE, "reshape of %s (%lld elements) to %s does not fit",
                        hwb_shape_text(&t->shape, from), (long long)t->numel,
                        hwb_shape_text(shape, to));
    *shape = known;
    return HWB_OK;
}

/* Strides that show t's elements, in order, as `shape`; false if there are none.
 * Old and new axes are matched in runs of equal element count; a run is fine
 * when its old axes step as one, and its new axes then split that step. */
static bool view_strides(const hwb_tensor *t, const hwb_shape *shape,
                         int64_t strides[HWB_MAX_DIMS]) {
    hwb_shape old = {0};
    int64_t step[HWB_MAX_DIMS];
    for (int i = 0; i < t->shape.ndim; i++)
        if (t->shape.dim[i] != 1) {
            step[old.ndim] = t->strides[i];
            old.dim[old.ndim++] = t->shape.dim[i];
        }
    int from = 0, to = 0;
    while (from < old.ndim) {
        int from_end = from + 1, to_end = to;
        int64_t have = old.dim[from], want = 1;
        while (have != want) {
            if (want < have) want *= shape->dim[to_end++];
            else have *= old.dim[from_end++];
        }
        for (int i = from; i + 1 < from_end; i++)
            if (step[i] != step[i + 1] * old.dim[i + 1]) return false;
        int64_t s = step[from_end - 1];
        for (int i = to_end - 1; i >= to; i--) {
            strides[i] = s;
            s *= shape->dim[i];
        }
        from = from_end;
        to = to_end;
    }
    for (int i = to; i < shape->ndim; i++) strides[i] = 1; /* the rest has length 1 */
    return true;
}

hwb_status hwb_tensor_reshape(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *t, hwb_shape shape) {
    HWB_TRY(infer_shape(ctx, t, &shape));
    int64_t strides[HWB_MAX_DIMS] = {0};
    if (t->contiguous) {
        hwb__dense_strides(&shape, strides);
        return hwb__tensor_view(ctx, out, t, t->data, &shape, strides);
    }
    if (view_strides(t, &shape, strides))
        return hwb__tensor_view(ctx, out, t, t->data, &shape, strides);
    hwb_tensor *dense = NULL;
    HWB_TRY(hwb_tensor_clone(ctx, &dense, t));
    hwb__dense_strides(&shape, strides);
    hwb_status status = hwb__tensor_view(ctx, out, dense, dense->data, &shape, strides);
    hwb_tensor_release(dense);
    return status;
}

/* ---- axes ----------------------------------------------------------------------------- */

hwb_status hwb_tensor_permute(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *t, const int *axes) {
    hwb_shape shape = {.ndim = t->shape.ndim};
    int64_t strides[HWB_MAX_DIMS] = {0};
    unsigned seen = 0;
    for (int i = 0; i < shape.ndim; i++) {
        int axis = axes[i];
        if (axis < 0 || axis >= shape.ndim || seen & 1u << axis) {
            char text[HWB_SHAPE_TEXT];
            return hwb_fail(ctx, HWB_EARG,
                            "permute of %s: the axes must name each of its %d dims once",
                            hwb_shape_text(&t->shape, text), shape.ndim);
        }
        seen |= 1u << axis;
        shape.dim[i] = t->shape.dim[axis];
        strides[i] = t->strides[axis];
    }
    return hwb__tensor_view(ctx, out, t, t->data, &shape, strides);
}

static hwb_status check_axis(hwb_ctx *ctx, const hwb_tensor *t, int axis) {
    if (axis >= 0 && axis < t->shape.ndim) return HWB_OK;
    char text[HWB_SHAPE_TEXT];
    return hwb_fail(ctx, HWB_EARG, "dim %d does not exist in a tensor of shape %s", axis + 1,
                    hwb_shape_text(&t->shape, text));
}

hwb_status hwb_tensor_slice(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *t, int axis, int64_t start,
                            int64_t len, int64_t step) {
    HWB_TRY(check_axis(ctx, t, axis));
    int64_t dim = t->shape.dim[axis];
    /* start + (len-1)*step < dim, arranged so that nothing overflows */
    bool fits = step >= 1 && start >= 0 && start <= dim && len >= 0 &&
                (len == 0 || (start < dim && len - 1 <= (dim - 1 - start) / step));
    if (!fits) {
        char text[HWB_SHAPE_TEXT];
        return hwb_fail(ctx, HWB_EARG,
                        "slice of dim %d of %s: %lld elements from %lld in steps of %lld are not "
                        "in it",
                        axis + 1, hwb_shape_text(&t->shape, text), (long long)len,
                        (long long)start + 1, (long long)step);
    }
    hwb_shape shape = t->shape;
    int64_t strides[HWB_MAX_DIMS];
    memcpy(strides, t->strides, sizeof strides);
    shape.dim[axis] = len;
    if (len > 1) strides[axis] *= step;
    int64_t offset = len > 0 ? start * t->strides[axis] : 0;
    char *data = t->data + offset * (int64_t)hwb_dtype_size(t->dtype);
    return hwb__tensor_view(ctx, out, t, data, &shape, strides);
}

hwb_status hwb_tensor_select(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *t, int axis,
                             int64_t index) {
    HWB_TRY(check_axis(ctx, t, axis));
    if (index < 0 || index >= t->shape.dim[axis]) {
        char text[HWB_SHAPE_TEXT];
        return hwb_fail(ctx, HWB_EARG, "index %lld is outside dim %d of a tensor of shape %s",
                        (long long)index + 1, axis + 1, hwb_shape_text(&t->shape, text));
    }
    hwb_shape shape = {.ndim = t->shape.ndim - 1};
    int64_t strides[HWB_MAX_DIMS] = {0};
    for (int i = 0; i < shape.ndim; i++) {
        int from = i < axis ? i : i + 1;
        shape.dim[i] = t->shape.dim[from];
        strides[i] = t->strides[from];
    }
    char *data = t->data + index * t->strides[axis] * (int64_t)hwb_dtype_size(t->dtype);
    return hwb__tensor_view(ctx, out, t, data, &shape, strides);
}

hwb_status hwb_tensor_expand(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *t, hwb_shape shape) {
    HWB_TRY(hwb_shape_check(ctx, &shape));
    int lead = shape.ndim - t->shape.ndim;
    bool fits = lead >= 0;
    int64_t strides[HWB_MAX_DIMS] = {0};
    for (int i = 0; fits && i < t->shape.ndim; i++) {
        if (t->shape.dim[i] == shape.dim[lead + i]) strides[lead + i] = t->strides[i];
        else fits = t->shape.dim[i] == 1;
    }
    if (!fits) {
        char from[HWB_SHAPE_TEXT], to[HWB_SHAPE_TEXT];
        return hwb_fail(ctx, HWB_ESHAPE, "shape %s does not broadcast to %s",
                        hwb_shape_text(&t->shape, from), hwb_shape_text(&shape, to));
    }
    return hwb__tensor_view(ctx, out, t, t->data, &shape, strides);
}
