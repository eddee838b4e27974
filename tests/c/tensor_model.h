/*
 * tensor_model.h: what the tensor tests share: numbered tensors, and the model
 * that reads a view by its strides alone, element by element.
 */
#ifndef HWB_TENSOR_MODEL_H
#define HWB_TENSOR_MODEL_H

#include "testing.h"

#include "tensor/tensor.h"

static inline hwb_tensor *arange(hwb_ctx *ctx, hwb_dtype dtype, hwb_shape shape) {
    hwb_tensor *t = NULL;
    assert_ok(ctx, hwb_tensor_new(ctx, &t, dtype, shape));
    for (int64_t i = 0; i < hwb_tensor_numel(t); i++) hwb_tensor_set(t, i, (double)i);
    return t;
}

/* Element of a view by its strides alone: the model the engine is held to. */
static inline double model_get(const hwb_tensor *t, int64_t flat) {
    const hwb_shape *s = hwb_tensor_shape(t);
    int64_t at = 0;
    for (int i = s->ndim - 1; i >= 0; i--) {
        at += flat % s->dim[i] * hwb_tensor_strides(t)[i];
        flat /= s->dim[i];
    }
    const void *data = hwb_tensor_data(t);
    switch (hwb_tensor_dtype(t)) {
    case HWB_F32: return (double)((const float *)data)[at];
    case HWB_F64: return ((const double *)data)[at];
    case HWB_I32: return (double)((const int32_t *)data)[at];
    case HWB_I64: return (double)((const int64_t *)data)[at];
    default: return (double)((const uint8_t *)data)[at];
    }
}

static inline void assert_same_values(const hwb_tensor *a, const hwb_tensor *b) {
    assert_true(hwb_shape_equal(hwb_tensor_shape(a), hwb_tensor_shape(b)));
    for (int64_t i = 0; i < hwb_tensor_numel(a); i++) {
        double x = model_get(a, i), y = model_get(b, i);
        if (x != y) fail_msg("element %lld: %.17g and %.17g", (long long)i, x, y);
    }
}

#endif
