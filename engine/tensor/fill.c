/*
 * fill.c: constants and random numbers into tensors of any strides.
 *
 * Element i of the row-major order depends on (rng, i) alone.  Work is cut
 * into blocks of BLOCK elements, a multiple of the 128 signs of one Philox
 * block, so every block is made by whole generator blocks.
 */
#include "tensor/tensor_i.h"

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

typedef struct filler {
    char *data, element[8];
    int64_t size, pieces; /* bytes of an element, pieces of a row */
    hwb__nest nest;
    hwb__convert_fn same;
} filler;

enum { PIECE = 65536 };

static void fill_piece(const void *job, int64_t unit) {
    const filler *f = job;
    int last = f->nest.ndim - 1;
    int64_t n = f->nest.dim[last], stride = f->nest.a[last];
    int64_t first = unit % f->pieces * PIECE, at, unused;
    int64_t count = n - first < PIECE ? n - first : PIECE;
    hwb__nest_seek(&f->nest, unit / f->pieces, &at, &unused);
    char *dst = f->data + (at + first * stride) * f->size;
    if (stride == 1) fill_dense(dst, f->element, (size_t)f->size, (size_t)count);
    else f->same(dst, stride, f->element, 0, count);
}

hwb_status hwb_tensor_fill(hwb_ctx *ctx, hwb_tensor *t, double value) {
    HWB_TRY(hwb__tensor_writable(ctx, t));
    if (t->numel == 0) return HWB_OK;
    filler f = {
        .data = hwb_tensor_data(t),
        .size = (int64_t)hwb_dtype_size(t->dtype),
        .nest = hwb__nest_make(&t->shape, t->strides, t->strides),
        .same = hwb__converter(t->dtype, t->dtype),
    };
    hwb__converter(t->dtype, HWB_F64)(f.element, 1, &value, 1, 1);
    hwb__nest_sort(&f.nest);
    f.pieces = (f.nest.dim[f.nest.ndim - 1] + PIECE - 1) / PIECE;
    int threads = t->numel >= HWB__PARALLEL_MIN ? hwb_threads(ctx) : 1;
    hwb__for(threads, f.nest.rows * f.pieces, fill_piece, &f);
    hwb_tensor_touch(t);
    return HWB_OK;
}

/* ---- random numbers ------------------------------------------------------------------ */

typedef void (*draw_fn)(hwb_rng rng, uint64_t first, int64_t n, double *out);

/* Rounding to float32 must not reach 1: keep the 24 bits that fit. */
static void draw_uniforms24(hwb_rng rng, uint64_t first, int64_t n, double *out) {
    hwb_rng_uniforms(rng, first, n, out);
    for (int64_t k = 0; k < n; k++) out[k] = (double)(int32_t)(out[k] * 0x1p24) * 0x1p-24;
}

typedef struct drawer {
    hwb_tensor *t;
    hwb_rng rng;
    draw_fn draw;
} drawer;

static void draw_block(const void *job, int64_t unit) {
    const drawer *d = job;
    double buf[BLOCK];
    int64_t first = unit * BLOCK, left = d->t->numel - first, n = left < BLOCK ? left : BLOCK;
    d->draw(d->rng, (uint64_t)first, n, buf);
    hwb__tensor_write(d->t, first, n, buf);
}

static hwb_status fill_random(hwb_ctx *ctx, hwb_tensor *t, hwb_rng rng, draw_fn draw) {
    HWB_TRY(hwb__tensor_writable(ctx, t));
    int threads = t->numel >= HWB__PARALLEL_MIN / 8 ? hwb_threads(ctx) : 1;
    drawer d = {t, rng, draw};
    hwb__for(threads, (t->numel + BLOCK - 1) / BLOCK, draw_block, &d);
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
    return fill_random(ctx, t, rng, t->dtype == HWB_F32 ? draw_uniforms24 : hwb_rng_uniforms);
}

hwb_status hwb_tensor_fill_normal(hwb_ctx *ctx, hwb_tensor *t, hwb_rng rng) {
    HWB_TRY(check_float(ctx, t, "normal"));
    return fill_random(ctx, t, rng, hwb_rng_normals);
}

hwb_status hwb_tensor_fill_rademacher(hwb_ctx *ctx, hwb_tensor *t, hwb_rng rng) {
    if (t->dtype == HWB_U8 || t->dtype == HWB_BOOL)
        return hwb_fail(ctx, HWB_EDTYPE, "a %s tensor cannot hold the -1 of random signs",
                        hwb_dtype_name(t->dtype));
    return fill_random(ctx, t, rng, hwb_rng_signs);
}
