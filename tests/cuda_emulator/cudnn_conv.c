/*
 * cudnn_conv.c: the three convolutions, in double, tap by tap.
 *
 *   y[n,oh,ow,k] = sum over r,s,c of x[n, oh*u - p + r*d, ow*v - q + s*e, c] w[k,r,s,c]
 *
 * and its two transposes, per group; cross-correlation as cuDNN's
 * CUDNN_CROSS_CORRELATION.  Unless the math type is CUDNN_FMA_MATH, float
 * operands are rounded to TF32, which cuDNN may do on any device since sm_80.
 * The workspace is overwritten, and an algorithm that is not deterministic
 * changes last bits at random.
 */
#include "cudnn_i.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TF32_BITS = 11 };

size_t emu_dnn_numel(const emu_dnn_tensor *t) {
    return (size_t)t->dim[0] * (size_t)t->dim[1] * (size_t)t->dim[2] * (size_t)t->dim[3];
}

size_t emu_dnn_bytes(const emu_dnn_tensor *t) {
    return emu_dnn_numel(t) * (t->type == CUDNN_DATA_DOUBLE  ? 8
                               : t->type == CUDNN_DATA_FLOAT ? 4
                                                             : 2);
}

static size_t place(const emu_dnn_tensor *t, int n, int c, int h, int w) {
    const int *d = t->dim;
    if (t->format == CUDNN_TENSOR_NHWC)
        return (((size_t)n * (size_t)d[2] + (size_t)h) * (size_t)d[3] + (size_t)w) * (size_t)d[1] +
               (size_t)c;
    return (((size_t)n * (size_t)d[1] + (size_t)c) * (size_t)d[2] + (size_t)h) * (size_t)d[3] +
           (size_t)w;
}

/* bf16 is the upper half of a float. */
static float from_bf16(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint16_t to_bf16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return isnan(f) ? 0x7fff : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static double load(const emu_dnn_tensor *t, const void *p, size_t i) {
    if (t->type == CUDNN_DATA_BFLOAT16) return (double)from_bf16(((const uint16_t *)p)[i]);
    return t->type == CUDNN_DATA_DOUBLE ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

static double to_tf32(double x) {
    int exponent;
    if (!isfinite(x)) return x;
    double f = frexp(x, &exponent);
    return ldexp(rint(ldexp(f, TF32_BITS)), exponent - TF32_BITS);
}

/* To double, n,h,w,c; filters (as_filter) r,s,c,k. */
static double *unpack(const emu_dnn_tensor *t, const void *p, bool as_filter, bool tf32) {
    double *out = malloc(emu_dnn_numel(t) * sizeof *out + 1), *at = out;
    if (!out) emu_fatal("no memory for a convolution");
    const int *d = t->dim;
    int outer[4] = {d[0], d[2], d[3], d[1]}, filter[4] = {d[2], d[3], d[1], d[0]}, i[4];
    const int *size = as_filter ? filter : outer;
    for (i[0] = 0; i[0] < size[0]; i[0]++)
        for (i[1] = 0; i[1] < size[1]; i[1]++)
            for (i[2] = 0; i[2] < size[2]; i[2]++)
                for (i[3] = 0; i[3] < size[3]; i[3]++) {
                    size_t from = as_filter ? place(t, i[3], i[2], i[0], i[1])
                                            : place(t, i[0], i[3], i[1], i[2]);
                    double x = p ? load(t, p, from) : 0;
                    *at++ = tf32 && t->type == CUDNN_DATA_FLOAT ? to_tf32(x) : x;
                }
    return out;
}

#define INLINED static inline __attribute__((always_inline))

/* to[i] += a * from[i] */
INLINED void add_scaled(double *restrict to, double a, const double *restrict from, int n) {
    for (int i = 0; i < n; i++) to[i] += a * from[i];
}

INLINED double dot(const double *a, const double *b, int n) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* c channels of x, k of y, and the c x k block of w that joins them at one tap;
 * its rows are `step` apart. */
INLINED void tap(emu_direction direction, double *x, double *w, double *y, int c, int k,
                 size_t step) {
    for (int i = 0; i < c; i++, w += step) switch (direction) {
        case EMU_FORWARD_PASS: add_scaled(y, x[i], w, k); break;
        case EMU_BACKWARD_DATA: x[i] += dot(y, w, k); break;
        case EMU_BACKWARD_FILTER: add_scaled(w, x[i], y, k); break;
        }
}

/* For the widest vectors of the machine: this is where the time of a test goes. */
__attribute__((target_clones("avx512f", "avx2", "default"))) static void
all_taps(const emu_convolution *q, double *x, double *w, double *y) {
    const emu_dnn_conv *v = &q->conv;
    const int *dx = q->x.dim, *dy = q->y.dim, *dw = q->w.dim;
    int c = dw[1], k = dw[0] / v->groups;
    size_t all_c = (size_t)dx[1], all_k = (size_t)dy[1];
    for (int n = 0; n < dy[0]; n++)
        for (int oh = 0; oh < dy[2]; oh++)
            for (int ow = 0; ow < dy[3]; ow++)
                for (int r = 0; r < dw[2]; r++)
                    for (int s = 0; s < dw[3]; s++) {
                        int ih = oh * v->stride[0] - v->pad[0] + r * v->dilation[0];
                        int iw = ow * v->stride[1] - v->pad[1] + s * v->dilation[1];
                        if (ih < 0 || ih >= dx[2] || iw < 0 || iw >= dx[3]) continue;
                        double *xa = x + (size_t)((n * dx[2] + ih) * dx[3] + iw) * all_c;
                        double *ya = y + (size_t)((n * dy[2] + oh) * dy[3] + ow) * all_k;
                        double *wa = w + (size_t)(r * dw[3] + s) * (size_t)c * all_k;
                        for (int g = 0; g < v->groups; g++)
                            tap(q->direction, xa + g * c, wa + g * k, ya + g * k, c, k, all_k);
                    }
}

static void store(const emu_convolution *q, const emu_dnn_tensor *t, void *p, const double *from,
                  bool as_filter) {
    const int *d = t->dim;
    for (int n = 0; n < d[0]; n++)
        for (int c = 0; c < d[1]; c++)
            for (int h = 0; h < d[2]; h++)
                for (int w = 0; w < d[3]; w++) {
                    size_t at = place(t, n, c, h, w);
                    size_t i =
                        as_filter
                            ? (((size_t)h * (size_t)d[3] + (size_t)w) * (size_t)d[1] + (size_t)c) *
                                      (size_t)d[0] +
                                  (size_t)n
                            : (((size_t)n * (size_t)d[2] + (size_t)h) * (size_t)d[3] + (size_t)w) *
                                      (size_t)d[1] +
                                  (size_t)c;
                    double z = q->alpha * from[i] + (q->beta != 0 ? q->beta * load(t, p, at) : 0);
                    if (t->type == CUDNN_DATA_DOUBLE) ((double *)p)[at] = z;
                    else if (t->type == CUDNN_DATA_BFLOAT16)
                        ((uint16_t *)p)[at] = to_bf16((float)z);
                    else {
                        float f = (float)z;
                        if (q->wobbles && emu_random(2)) f = nextafterf(f, INFINITY);
                        ((float *)p)[at] = f;
                    }
                }
}

void emu_convolution_run(void *args) {
    const emu_convolution *q = args;
    bool tf32 = q->conv.math != CUDNN_FMA_MATH;
    emu_memory_check(q->x_at, emu_dnn_bytes(&q->x), "convolution: x");
    emu_memory_check(q->w_at, emu_dnn_bytes(&q->w), "convolution: w");
    emu_memory_check(q->y_at, emu_dnn_bytes(&q->y), "convolution: y");
    emu_memory_check(q->workspace, q->workspace_bytes, "convolution: workspace");
    if (q->workspace_bytes) memset(q->workspace, 0xFF, q->workspace_bytes);
    emu_direction to = q->direction;
    double *x = unpack(&q->x, to == EMU_BACKWARD_DATA ? NULL : q->x_at, false, tf32);
    double *w = unpack(&q->w, to == EMU_BACKWARD_FILTER ? NULL : q->w_at, true, tf32);
    double *y = unpack(&q->y, to == EMU_FORWARD_PASS ? NULL : q->y_at, false, tf32);
    all_taps(q, x, w, y);
    switch (to) {
    case EMU_FORWARD_PASS: store(q, &q->y, q->y_at, y, false); break;
    case EMU_BACKWARD_DATA: store(q, &q->x, q->x_at, x, false); break;
    case EMU_BACKWARD_FILTER: store(q, &q->w, q->w_at, w, true); break;
    }
    free(x);
    free(w);
    free(y);
}
