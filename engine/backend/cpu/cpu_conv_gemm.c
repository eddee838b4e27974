/*
 * cpu_conv_gemm.c: the convolution trio as matrix products, for float64 and for
 * whatever oneDNN refuses.
 *
 * With P = OH*OW output positions and Q = kh*kw*C/g inputs of one output, the
 * patches of one image form a matrix, and (one group at a time)
 *
 *   channels last   col[P,Q], Q in order kh,kw,c; weights repacked wp[O/g,Q]
 *       y[P,O/g] = col wp^T     dcol = y wp     dwp += y^T col
 *   plain           col[Q,P], Q in order c,kh,kw; weights as they are
 *       y[O/g,P] = w col        dcol = w^T y    dw  += y col^T
 *
 * Images are shared among threads, each with its own col (and its own sum of
 * weight gradients, added in thread order); BLAS inside a parallel region runs
 * on one thread.
 */
#include "backend/cpu/blas_i.h"
#include "backend/cpu/cpu_i.h"

#include <string.h>

typedef struct gemm_kernel {
    hwb__cpu_kernel base;
    hwb__conv_geom geom;
    size_t size;  /* of an element */
    int64_t p, q; /* positions, patch length of one group */
    int slots;    /* threads at work */
    /* the shared scratch: slots x p*q patches from 0; from wp_at repacked weights
     * (channels last) or slots gradients */
    bool repacked;
    size_t wp_at;
} gemm_kernel;

/* ---- patches ------------------------------------------------------------- */

/* The range [*lo, *hi) of output indices whose input index o*stride - pad + k*dilation
 * lies in [0, size). */
static void valid_range(int64_t size, int64_t outs, int64_t stride, int64_t offset, int64_t *lo,
                        int64_t *hi) {
    *lo = offset >= 0 ? 0 : (-offset + stride - 1) / stride;
    *hi = size - 1 - offset < 0 ? 0 : (size - 1 - offset) / stride + 1;
    if (*hi > outs) *hi = outs;
    if (*lo > *hi) *lo = *hi;
}

static void add_run(hwb_dtype dtype, void *to, int64_t to_step, const void *from, int64_t from_step,
                    int64_t n) {
    if (dtype == HWB_F32) {
        float *t = to;
        const float *f = from;
        for (int64_t i = 0; i < n; i++) t[i * to_step] += f[i * from_step];
    } else {
        double *t = to;
        const double *f = from;
        for (int64_t i = 0; i < n; i++) t[i * to_step] += f[i * from_step];
    }
}

/* x[H,W,C] -> col[P, kh,kw,C/g] for the channels from c0; back: the transpose,
 * adding to x. */
static void patches_last(const gemm_kernel *k, char *x, char *col, int64_t c0, bool back) {
    const hwb__conv_geom *g = &k->geom;
    int64_t cg = g->c / g->groups;
    size_t size = k->size, run = (size_t)cg * size;
    if (!back) memset(col, 0, (size_t)(k->p * k->q) * size);
    for (int64_t i = 0; i < g->kernel[0]; i++)
        for (int64_t j = 0; j < g->kernel[1]; j++) {
            int64_t oy = i * g->dilation[0] - g->pad_lo[0], ox = j * g->dilation[1] - g->pad_lo[1];
            int64_t y0, y1, x0, x1;
            valid_range(g->h, g->oh, g->stride[0], oy, &y0, &y1);
            valid_range(g->w, g->ow, g->stride[1], ox, &x0, &x1);
            for (int64_t r = y0; r < y1; r++)
                for (int64_t s = x0; s < x1; s++) {
                    int64_t pixel = (r * g->stride[0] + oy) * g->w + s * g->stride[1] + ox;
                    char *image = x + (size_t)(pixel * g->c + c0) * size;
                    char *patch =
                        col + (size_t)((r * g->ow + s) * k->q + (i * g->kernel[1] + j) * cg) * size;
                    if (back) add_run(g->dtype, image, 1, patch, 1, cg);
                    else memcpy(patch, image, run);
                }
        }
}

/* x[C,H,W] -> col[C/g,kh,kw, P] for the channels from c0; back: the transpose. */
static void patches_plain(const gemm_kernel *k, char *x, char *col, int64_t c0, bool back) {
    const hwb__conv_geom *g = &k->geom;
    size_t size = k->size;
    int64_t taps = g->kernel[0] * g->kernel[1];
    if (!back) memset(col, 0, (size_t)(k->p * k->q) * size);
    for (int64_t q = 0; q < k->q; q++) {
        int64_t c = c0 + q / taps, i = q % taps / g->kernel[1], j = q % g->kernel[1];
        int64_t oy = i * g->dilation[0] - g->pad_lo[0], ox = j * g->dilation[1] - g->pad_lo[1];
        int64_t y0, y1, x0, x1, step = g->stride[1];
        valid_range(g->h, g->oh, g->stride[0], oy, &y0, &y1);
        valid_range(g->w, g->ow, step, ox, &x0, &x1);
        for (int64_t r = y0; r < y1; r++) {
            int64_t first = (c * g->h + r * g->stride[0] + oy) * g->w + x0 * step + ox;
            char *row = x + (size_t)first * size;
            char *patch = col + (size_t)(q * k->p + r * g->ow + x0) * size;
            if (back) add_run(g->dtype, row, step, patch, 1, x1 - x0);
            else if (step == 1) memcpy(patch, row, (size_t)(x1 - x0) * size);
            else add_run(g->dtype, patch, 1, row, step, x1 - x0); /* onto zeros */
        }
    }
}

/* plain w[O,C/g,taps] <-> wp[O,taps,C/g]; back adds when `add`. */
static void repack(const gemm_kernel *k, char *plain, char *wp, bool back, bool add) {
    const hwb__conv_geom *g = &k->geom;
    int64_t cg = g->c / g->groups, taps = g->kernel[0] * g->kernel[1];
    size_t size = k->size;
    for (int64_t o = 0; o < g->o; o++)
        for (int64_t t = 0; t < taps; t++)
            for (int64_t c = 0; c < cg; c++) {
                char *a = plain + (size_t)((o * cg + c) * taps + t) * size;
                char *b = wp + (size_t)((o * taps + t) * cg + c) * size;
                if (back && add) add_run(g->dtype, a, 1, b, 1, 1);
                else if (back) memcpy(a, b, size);
                else memcpy(b, a, size);
            }
}

/* ---- one image ----------------------------------------------------------- */

/* All groups of one image.  w: repacked or plain weights, or their gradient,
 * which is added to. */
static void image(const gemm_kernel *k, char *x, char *w, char *y, char *col) {
    const hwb__conv_geom *g = &k->geom;
    bool last = g->channels_last;
    int64_t og = g->o / g->groups, cg = g->c / g->groups, p = k->p, q = k->q;
    for (int64_t i = 0; i < g->groups; i++) {
        char *wi = w + (size_t)(i * og * q) * k->size;
        char *yi = y + (size_t)(last ? i * og : i * og * p) * k->size;
        int64_t ldy = last ? g->o : p;
        if (g->op != HWB_OP_CONV_BWD_DATA) {
            if (last) patches_last(k, x, col, i * cg, false);
            else patches_plain(k, x, col, i * cg, false);
        }
        double beta = g->add ? 1 : 0;
        if (g->op == HWB_OP_CONV && last)
            hwb__gemm(g->dtype, false, true, p, og, q, col, q, wi, q, beta, yi, ldy);
        else if (g->op == HWB_OP_CONV)
            hwb__gemm(g->dtype, false, false, og, p, q, wi, q, col, p, beta, yi, ldy);
        else if (g->op == HWB_OP_CONV_BWD_WEIGHTS && last)
            hwb__gemm(g->dtype, true, false, og, q, p, yi, ldy, col, q, 1, wi, q);
        else if (g->op == HWB_OP_CONV_BWD_WEIGHTS)
            hwb__gemm(g->dtype, false, true, og, q, p, yi, ldy, col, p, 1, wi, q);
        else if (last) {
            hwb__gemm(g->dtype, false, false, p, q, og, yi, ldy, wi, q, 0, col, q);
            patches_last(k, x, col, i * cg, true);
        } else {
            hwb__gemm(g->dtype, true, false, q, p, og, wi, q, yi, ldy, 0, col, p);
            patches_plain(k, x, col, i * cg, true);
        }
    }
}

/* ---- run ----------------------------------------------------------------- */

static char *col_of(const gemm_kernel *k) {
    return k->base.state->scratch;
}
static char *wp_of(const gemm_kernel *k) {
    return col_of(k) + k->wp_at;
}

static void images(const gemm_kernel *k, char *x, char *w, char *y, bool gradient) {
    const hwb__conv_geom *g = &k->geom;
    size_t xs = (size_t)(g->c * g->h * g->w) * k->size;
    size_t ys = (size_t)(g->o * k->p) * k->size;
    size_t cs = (size_t)(k->p * k->q) * k->size, ws = (size_t)hwb__conv_w_size(g) * k->size;
#pragma omp parallel for num_threads(k->slots) schedule(static) if (k->slots > 1)
    for (int s = 0; s < k->slots; s++)
        for (int64_t n = g->n * s / k->slots; n < g->n * (s + 1) / k->slots; n++)
            image(k, x + (size_t)n * xs, w + (gradient ? (size_t)s * ws : 0), y + (size_t)n * ys,
                  col_of(k) + (size_t)s * cs);
}

/* Sums the slots' gradients into the first and puts it where it belongs. */
static void finish_gradient(const gemm_kernel *k, char *w) {
    const hwb__conv_geom *g = &k->geom;
    char *wp = wp_of(k);
    int64_t n = hwb__conv_w_size(g);
    for (int s = 1; s < k->slots; s++)
        add_run(g->dtype, wp, 1, wp + (size_t)(s * n) * k->size, 1, n);
    if (g->channels_last) repack(k, w, wp, true, g->add);
    else if (g->add) add_run(g->dtype, w, 1, wp, 1, n);
    else memcpy(w, wp, (size_t)n * k->size);
}

static hwb_status gemm_run(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                           const uint64_t *versions, void *const *out) {
    gemm_kernel *k = (gemm_kernel *)kernel;
    const hwb__conv_geom *g = &k->geom;
    (void)ctx;
    (void)versions;
    bool data = g->op == HWB_OP_CONV_BWD_DATA, gradient = g->op == HWB_OP_CONV_BWD_WEIGHTS;
    char *x = data ? out[0] : (char *)(uintptr_t)in[0];
    char *w = gradient ? out[0] : (char *)(uintptr_t)in[1];
    char *y = g->op == HWB_OP_CONV ? out[0] : (char *)(uintptr_t)in[data ? 0 : 1];
    int64_t one = gradient ? hwb__conv_w_size(g) : data ? hwb__conv_x_size(g) : hwb__conv_y_size(g);
    size_t bytes = (size_t)(one * g->loops) * k->size;
    if (g->add && in[2] != out[0]) memcpy(out[0], in[2], bytes);
    if (!g->add && data) memset(out[0], 0, bytes);
    for (int64_t i = 0; i < g->loops; i++) {
        char *xi = x + (size_t)(i * g->x_step) * k->size;
        char *yi = y + (size_t)(i * g->y_step) * k->size;
        char *wi = w + (size_t)(i * g->w_step) * k->size;
        if (gradient) {
            memset(wp_of(k), 0, (size_t)(hwb__conv_w_size(g) * k->slots) * k->size);
            images(k, xi, wp_of(k), yi, true);
            finish_gradient(k, wi);
            continue;
        }
        if (k->repacked && (i == 0 || g->w_step)) repack(k, wi, wp_of(k), false, false);
        images(k, xi, k->repacked ? wp_of(k) : wi, yi, false);
    }
    return HWB_OK;
}

static void gemm_free(hwb__cpu_kernel *kernel) {
    hwb_free(kernel);
}

hwb_status hwb__cpu_conv_gemm_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                      const hwb_kdesc *desc) {
    hwb__cpu_kernel *base;
    HWB_TRY(hwb__cpu_kernel_new(ctx, state, &base, sizeof(gemm_kernel), "im2col+blas"));
    gemm_kernel *k = (gemm_kernel *)base;
    base->run = gemm_run;
    base->free = gemm_free;
    k->geom = hwb__conv_geom_of(desc);
    const hwb__conv_geom *g = &k->geom;
    k->size = hwb_dtype_size(g->dtype);
    k->p = g->oh * g->ow;
    k->q = g->kernel[0] * g->kernel[1] * (g->c / g->groups);
    k->slots = g->n < base->threads ? (int)g->n : base->threads;
    int64_t work = g->n * k->p * k->q;
    if (g->n == 1 || work < HWB_CPU_SERIAL) k->slots = 1;
    bool gradient = g->op == HWB_OP_CONV_BWD_WEIGHTS;
    k->repacked = g->channels_last && !gradient;
    k->wp_at = hwb__cpu_align((size_t)(k->p * k->q * k->slots) * k->size);
    size_t bytes = k->wp_at;
    if (gradient || k->repacked)
        bytes += (size_t)(hwb__conv_w_size(g) * (gradient ? k->slots : 1)) * k->size;
    hwb_status status = hwb__cpu_reserve(ctx, state, bytes);
    if (status == HWB_OK) *out = base;
    else gemm_free(base);
    return status;
}
