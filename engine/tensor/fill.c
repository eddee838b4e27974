/*
 * fill.c: constants and random numbers into tensors of any strides.
 *
 * Element i of the row-major order depends on (rng, i) alone.  Work is cut
 * into blocks of BLOCK elements, a multiple of the 128 signs of one Philox
 * block, so every block is made by whole generator blocks.
 */
#include "tensor/tensor_i.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 1024 };

/* ---- constants -------------------------------------------------------------------- */

/* n elements of `size` bytes at dst become *element: double what is there. */
static void fill_dense(char *dst, const char *element, size_t size, size_t n) {
    size_t total = n * size, done = size;
    memcpy(dst, element, size);
    while (done < total) {
        size_t step = done < total - done ? done : total - done;
        if (step > 32768) step = 32768; /* the source stays in the L1 cache */
        memcpy(dst + done, dst, step);
        done += step;
    }
}

hwb_status hwb_tensor_fill(hwb_ctx *ctx, hwb_tensor *t, double value) {
    HWB_TRY(hwb__tensor_writable(ctx, t));
    if (t->numel == 0) return HWB_OK;
    char element[8];
    int64_t size = (int64_t)hwb_dtype_size(t->dtype);
    hwb__converter(t->dtype, HWB_F64)(element, 1, &value, 1, 1);
    hwb__convert_fn same = hwb__converter(t->dtype, t->dtype);
    hwb__nest nest = hwb__nest_make(&t->shape, t->strides, t->strides);
    hwb__nest_sort(&nest);
    int64_t n = nest.dim[nest.ndim - 1], stride = nest.a[nest.ndim - 1];
    int64_t piece = 65536, pieces = (n + piece - 1) / piece;
    int threads = t->numel >= HWB__PARALLEL_MIN ? hwb_threads(ctx) : 1;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t unit = 0; unit < nest.rows * pieces; unit++) {
        int64_t first = unit % pieces * piece, at, unused;
        int64_t count = n - first < piece ? n - first : piece;
        hwb__nest_seek(&nest, unit / pieces, &at, &unused);
        char *dst = t->data + (at + first * stride) * size;
        if (stride == 1) fill_dense(dst, element, (size_t)size, (size_t)count);
        else same(dst, stride, element, 0, count);
    }
    hwb_tensor_touch(t);
    return HWB_OK;
}

/* ---- random numbers ------------------------------------------------------------------ */

/* out[k] = number first+k of the stream, first a multiple of BLOCK. */
typedef void (*draw_fn)(hwb_rng rng, int64_t first, int64_t n, double *out);

static void draw_uniform(hwb_rng rng, int64_t first, int64_t n, double *out) {
    for (int64_t k = 0; k < n; k++) out[k] = hwb_rng_uniform(rng, (uint64_t)(first + k));
}

/* Rounding to float32 must not reach 1: keep the 24 bits that fit. */
static void draw_uniform24(hwb_rng rng, int64_t first, int64_t n, double *out) {
    draw_uniform(rng, first, n, out);
    for (int64_t k = 0; k < n; k++) out[k] = floor(out[k] * 0x1p24) * 0x1p-24;
}

static void draw_normal(hwb_rng rng, int64_t first, int64_t n, double *out) {
    for (int64_t k = 0; k < n; k++) out[k] = hwb_rng_normal(rng, (uint64_t)(first + k));
}

static void draw_sign(hwb_rng rng, int64_t first, int64_t n, double *out) {
    for (int64_t k = 0; k < n; k++) out[k] = hwb_rng_sign(rng, (uint64_t)(first + k));
}

static hwb_status fill_random(hwb_ctx *ctx, hwb_tensor *t, hwb_rng rng, draw_fn draw) {
    HWB_TRY(hwb__tensor_writable(ctx, t));
    int threads = t->numel >= HWB__PARALLEL_MIN / 8 ? hwb_threads(ctx) : 1;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t first = 0; first < t->numel; first += BLOCK) {
        double buf[BLOCK];
        int64_t n = t->numel - first < BLOCK ? t->numel - first : BLOCK;
        draw(rng, first, n, buf);
        hwb__tensor_write(t, first, n, buf);
    }
    hwb_tensor_touch(t);
    return HWB_OK;
}

static hwb_status check_float(hwb_ctx *ctx, const hwb_tensor *t, const char *what) {
    if (hwb_dtype_is_float(t->dtype)) return HWB_OK;
    return hwb_fail(ctx, HWB_EDTYPE, "%s numbers need a float32 or float64 tensor, not %s", what,
                    hwb_dtype_name(t->dtype));
}

hwb_status hwb_tensor_fill_uniform(hwb_ctx *ctx, hwb_tensor *t, hwb_rng rng) {
    HWB_TRY(check_float(ctx, t, "uniform"));
    return fill_random(ctx, t, rng, t->dtype == HWB_F32 ? draw_uniform24 : draw_uniform);
}

hwb_status hwb_tensor_fill_normal(hwb_ctx *ctx, hwb_tensor *t, hwb_rng rng) {
    HWB_TRY(check_float(ctx, t, "normal"));
    return fill_random(ctx, t, rng, draw_normal);
}

hwb_status hwb_tensor_fill_rademacher(hwb_ctx *ctx, hwb_tensor *t, hwb_rng rng) {
    if (t->dtype == HWB_U8 || t->dtype == HWB_BOOL)
        return hwb_fail(ctx, HWB_EDTYPE, "a %s tensor cannot hold the -1 of random signs",
                        hwb_dtype_name(t->dtype));
    return fill_random(ctx, t, rng, draw_sign);
}
