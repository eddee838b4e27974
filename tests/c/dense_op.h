/*
 * dense_op.h: a dense symmetric operator with a chosen spectrum, for the tests
 * of the solvers: A = Q D Qᵀ with Q a product of random Householder reflections.
 */
#ifndef HWB_TEST_DENSE_OP_H
#define HWB_TEST_DENSE_OP_H

#include "testing.h"

#include "spectral/spectral.h"

typedef struct dense {
    hwb_linop op;
    double *a;            /* [n][n] */
    int64_t interrupt_at; /* product number that raises the interrupt flag, 0 = none */
    int64_t nan_at;
} dense;

static inline double load(const hwb_tensor *t, int64_t i) {
    return hwb_tensor_dtype(t) == HWB_F32 ? (double)((float *)hwb_tensor_data(t))[i]
                                          : ((double *)hwb_tensor_data(t))[i];
}

static inline void store(const hwb_tensor *t, int64_t i, double x) {
    if (hwb_tensor_dtype(t) == HWB_F32) ((float *)hwb_tensor_data(t))[i] = (float)x;
    else ((double *)hwb_tensor_data(t))[i] = x;
}

static inline hwb_status dense_apply(hwb_ctx *ctx, hwb_linop *self, hwb_tensor **out,
                                     const hwb_tensor *v) {
    dense *d = (dense *)self;
    int64_t n = self->n, k = hwb_tensor_numel(v) / n;
    hwb_tensor *w;
    HWB_TRY(hwb_tensor_new(ctx, &w, self->dtype, *hwb_tensor_shape(v)));
    for (int64_t r = 0; r < k; r++)
        for (int64_t i = 0; i < n; i++) {
            double s = 0;
            for (int64_t j = 0; j < n; j++) s += d->a[i * n + j] * load(v, r * n + j);
            store(w, r * n + i, s);
        }
    self->applied += k;
    if (d->interrupt_at && self->applied >= d->interrupt_at) hwb_interrupt();
    if (d->nan_at && self->applied >= d->nan_at) store(w, 0, (double)NAN);
    *out = w;
    return HWB_OK;
}

static inline dense dense_new(int64_t n, const double *spectrum, hwb_dtype dtype, uint64_t seed) {
    dense d = {.op = {.n = n, .dtype = dtype, .apply = dense_apply}};
    d.a = calloc((size_t)(n * n), sizeof *d.a);
    double *u = malloc((size_t)(2 * n) * sizeof *u), *au = u + n;
    for (int64_t i = 0; i < n; i++) d.a[i * n + i] = spectrum[i];
    /* A ← (I - 2uuᵀ) A (I - 2uuᵀ), four times; nothing to mix for n = 1 */
    for (uint64_t t = 0; n > 1 && t < 4; t++) {
        double norm = 0;
        for (int64_t i = 0; i < n; i++) {
            u[i] = hwb_rng_normal((hwb_rng){seed, t}, (uint64_t)i);
            norm += u[i] * u[i];
        }
        double uau = 0;
        for (int64_t i = 0; i < n; i++) u[i] /= sqrt(norm);
        for (int64_t i = 0; i < n; i++) {
            au[i] = 0;
            for (int64_t j = 0; j < n; j++) au[i] += d.a[i * n + j] * u[j];
            uau += u[i] * au[i];
        }
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++)
                d.a[i * n + j] += 4 * uau * u[i] * u[j] - 2 * u[i] * au[j] - 2 * au[i] * u[j];
    }
    free(u);
    return d;
}

/* decaying positive bulk, a few outliers, a few negative values: like a Hessian */
static inline void hessian_like(int64_t n, double *s) {
    for (int64_t i = 0; i < n; i++) s[i] = 1.0 / (double)(1 + i) - 0.02;
    double top[] = {-8, 40, 25, 24.5, 12, 7, -3};
    for (int64_t i = 0; i < 7 && i < n; i++) s[i] = top[i];
}

static inline double sum(const double *a, int64_t n) {
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += a[i];
    return s;
}

/* ---- several together ---------------------------------------------------------------- */

typedef struct dense_set {
    hwb_linop_set set;
    int64_t passes; /* times that products were asked for together */
} dense_set;

static inline hwb_status dense_set_apply(hwb_ctx *ctx, hwb_linop_set *self, hwb_tensor **out,
                                         const hwb_tensor *const *v) {
    hwb_status st = HWB_OK;
    ((dense_set *)self)->passes++;
    for (int64_t i = 0; i < self->n; i++) {
        out[i] = NULL;
        if (v[i] && st == HWB_OK) st = self->op[i]->apply(ctx, self->op[i], &out[i], v[i]);
    }
    for (int64_t i = 0; st != HWB_OK && i < self->n; i++) hwb_tensor_release(out[i]);
    return st;
}

/* n operators in an array; ops[n] holds their addresses. */
static inline dense_set dense_set_of(dense *d, int64_t n, hwb_linop **ops, bool pass) {
    for (int64_t i = 0; i < n; i++) ops[i] = &d[i].op;
    return (dense_set){{.n = n, .op = ops, .apply = dense_set_apply, .pass = pass}, 0};
}

#endif
