/*
 * kernels.h: one kernel of one backend on tensors, for tests: infer the result,
 * prepare, run, free.
 *
 *   - The result's buffer starts as 0xA5 bytes and ends in guard bytes of the
 *     same, so an element that was not written or a write behind the end shows.
 *   - call_kernel fails the test on any error; try_kernel gives the status back.
 */
#ifndef HWB_TEST_KERNELS_H
#define HWB_TEST_KERNELS_H

#include "testing.h"
#include "backend/backend.h"

enum { KERNEL_GUARD = 64, KERNEL_FILL = 0xA5, KERNEL_MAX_IN = 16 };

static inline hwb_attrs attrs_none(void) {
    hwb_attrs a;
    memset(&a, 0, sizeof a);
    for (int i = 0; i < 2; i++) a.stride[i] = a.dilation[i] = a.kernel[i] = 1;
    for (int i = 0; i < HWB_MAX_DIMS; i++) a.step[i] = 1;
    a.groups = 1;
    return a;
}

/* A tensor of the given dtype from doubles (exact for small integers). */
static inline hwb_tensor *tensor_of(hwb_ctx *ctx, hwb_dtype dtype, hwb_shape shape,
                                    const double *values) {
    hwb_tensor *t = NULL;
    assert_ok(ctx, hwb_tensor_new(ctx, &t, dtype, shape));
    for (int64_t i = 0; i < hwb_tensor_numel(t); i++) hwb_tensor_set(t, i, values[i]);
    return t;
}

/* A tensor of normal numbers; integer dtypes get them times 10, truncated. */
static inline hwb_tensor *tensor_random(hwb_ctx *ctx, hwb_dtype dtype, hwb_shape shape,
                                        uint64_t stream) {
    hwb_tensor *t = NULL;
    hwb_rng rng = {7, stream};
    assert_ok(ctx, hwb_tensor_new(ctx, &t, dtype, shape));
    for (int64_t i = 0; i < hwb_tensor_numel(t); i++) {
        double x = hwb_rng_normal(rng, (uint64_t)i);
        hwb_tensor_set(t, i, hwb_dtype_is_float(dtype) ? x : dtype == HWB_BOOL ? x > 0 : x * 10);
    }
    return t;
}

static inline hwb_status kernel_run(hwb_ctx *ctx, const hwb_backend *b, void *state,
                                    const hwb_kdesc *desc, const void *const *in,
                                    void *const *out) {
    hwb_kernel *kernel = NULL;
    uint64_t versions[KERNEL_MAX_IN] = {0};
    HWB_TRY(b->prepare(ctx, state, &kernel, desc));
    hwb_status status = b->run(ctx, state, kernel, in, versions, out);
    b->kernel_free(state, kernel);
    return status;
}

static inline hwb_status try_kernel(hwb_ctx *ctx, const hwb_backend *b, void *state, hwb_op op,
                                    const hwb_attrs *attrs, int n_in, hwb_tensor *const *in,
                                    hwb_tensor **out) {
    const hwb_shape *shapes[KERNEL_MAX_IN];
    hwb_dtype dtypes[KERNEL_MAX_IN];
    hwb_vdesc vin[KERNEL_MAX_IN], vout;
    const void *data[KERNEL_MAX_IN];
    for (int i = 0; i < n_in; i++) {
        shapes[i] = hwb_tensor_shape(in[i]);
        dtypes[i] = hwb_tensor_dtype(in[i]);
        vin[i] = (hwb_vdesc){dtypes[i], *shapes[i]};
        data[i] = hwb_tensor_data(in[i]);
    }
    /* the conv trio's third input is not part of the operation */
    int arity = hwb_op_arity(op);
    HWB_TRY(hwb_op_infer(ctx, op, attrs, arity > 0 && arity < n_in ? arity : n_in, shapes, dtypes,
                         &vout.shape, &vout.dtype));
    hwb_kdesc desc = {.op = op, .attrs = *attrs, .n_in = n_in, .n_out = 1, .in = vin, .out = &vout};
    size_t bytes = (size_t)hwb_shape_numel(&vout.shape) * hwb_dtype_size(vout.dtype);
    unsigned char *buffer = malloc(bytes + KERNEL_GUARD);
    assert_non_null(buffer);
    memset(buffer, KERNEL_FILL, bytes + KERNEL_GUARD);
    void *to = buffer;
    hwb_status status = kernel_run(ctx, b, state, &desc, data, &to);
    for (int i = 0; i < KERNEL_GUARD; i++) assert_int_equal(buffer[bytes + i], KERNEL_FILL);
    if (status == HWB_OK) status = hwb_tensor_from(ctx, out, vout.dtype, vout.shape, buffer);
    free(buffer);
    return status;
}

/* ref, which has no state */
static inline hwb_status try_ref(hwb_ctx *ctx, hwb_op op, const hwb_attrs *attrs, int n_in,
                                 hwb_tensor *const *in, hwb_tensor **out) {
    return try_kernel(ctx, hwb_backend_ref(), NULL, op, attrs, n_in, in, out);
}

static inline hwb_tensor *call_ref(hwb_ctx *ctx, hwb_op op, const hwb_attrs *attrs, int n_in,
                                   hwb_tensor *const *in) {
    hwb_tensor *out = NULL;
    assert_ok(ctx, try_ref(ctx, op, attrs, n_in, in, &out));
    return out;
}

static inline hwb_tensor *call_ref1(hwb_ctx *ctx, hwb_op op, const hwb_attrs *attrs,
                                    hwb_tensor *a) {
    return call_ref(ctx, op, attrs, 1, (hwb_tensor *[]){a});
}

static inline hwb_tensor *call_ref2(hwb_ctx *ctx, hwb_op op, const hwb_attrs *attrs, hwb_tensor *a,
                                    hwb_tensor *b) {
    return call_ref(ctx, op, attrs, 2, (hwb_tensor *[]){a, b});
}

/* Same shape, and elements within tol * max(1, |want|). */
static inline void assert_tensor_near(const hwb_tensor *got, const hwb_tensor *want, double tol) {
    assert_true(hwb_shape_equal(hwb_tensor_shape(got), hwb_tensor_shape(want)));
    for (int64_t i = 0; i < hwb_tensor_numel(want); i++)
        assert_near(hwb_tensor_get(got, i), hwb_tensor_get(want, i), tol);
}

/* Elements of t against a list; frees t. */
static inline void assert_values_free(hwb_tensor *t, const double *want, int64_t n, double tol) {
    assert_int_equal(hwb_tensor_numel(t), n);
    for (int64_t i = 0; i < n; i++) {
        double got = hwb_tensor_get(t, i);
        if (isnan(want[i])) assert_true(isnan(got));
        else assert_near(got, want[i], tol);
    }
    hwb_tensor_release(t);
}

#define ASSERT_VALUES_FREE(t, tol, ...)                                                            \
    assert_values_free((t), (const double[]){__VA_ARGS__},                                         \
                       (int64_t)(sizeof((const double[]){__VA_ARGS__}) / sizeof(double)), (tol))

/* Element of a tensor at coordinates. */
static inline double at4(const hwb_tensor *t, int64_t a, int64_t b, int64_t c, int64_t d) {
    const int64_t *s = hwb_tensor_shape(t)->dim;
    return hwb_tensor_get(t, ((a * s[1] + b) * s[2] + c) * s[3] + d);
}

#endif
