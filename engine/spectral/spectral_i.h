/*
 * Private to spectral/: vector kernels with double accumulation, the growing
 * orthonormal basis, guarded application of an operator, and small dense
 * symmetric eigenproblems through LAPACK.
 */
#ifndef HWB_SPECTRAL_I_H
#define HWB_SPECTRAL_I_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "spectral/spectral.h"

/* ---- kernels on dense rows of n elements of `dtype` (vec.c) -------------------- */

/* threads worth using for `work` elements */
int hwb__vec_threads(hwb_ctx *ctx, int64_t work);
double hwb__vec_dot(hwb_ctx *ctx, hwb_dtype dtype, int64_t n, const void *a, const void *b);
/* out[i] = v_i · w for m rows; reads w once */
hwb_status hwb__vec_dots(hwb_ctx *ctx, double *out, hwb_dtype dtype, int64_t n, int64_t m,
                         void *const *v, const void *w);
/* w -= Σ c_i v_i, rounded once */
void hwb__vec_sub(hwb_ctx *ctx, hwb_dtype dtype, int64_t n, int64_t m, void *const *v,
                  const double *c, void *w);
/* y = a x + b y; x may be y */
void hwb__vec_axpby(hwb_ctx *ctx, hwb_dtype dtype, int64_t n, double a, const void *x, double b,
                    void *y);
/* out_q = Σ_i s[q*lds + i] v_i for q < p; out may be the first p rows of v */
hwb_status hwb__vec_rotate(hwb_ctx *ctx, hwb_dtype dtype, int64_t n, int64_t m, void *const *v,
                           int64_t p, const double *s, int64_t lds, void *const *out);

/* ---- operators and random rows (basis.c) ---------------------------------------- */

/* HWB_EARG / HWB_EDTYPE unless op has n >= 1, a float dtype and apply. */
hwb_status hwb__op_check(hwb_ctx *ctx, const hwb_linop *op);
/* v[K,n] -> new ref out[K,n], dense, own storage, right dtype; interrupt checked. */
hwb_status hwb__op_apply(hwb_ctx *ctx, hwb_linop *op, hwb_tensor **out, const hwb_tensor *v);
/* The same for those of a set's v[i] that are not NULL. */
hwb_status hwb__set_apply(hwb_ctx *ctx, hwb_linop_set *set, hwb_tensor **out,
                          const hwb_tensor *const *v);
/* address of row i of a dense [K,n] tensor */
void *hwb__row(const hwb_tensor *t, int64_t n, int64_t i);
/* new ref [count,n]: row i = random vector number first+i of (seed, kind, tag).
 * Signs for means of vᵀHv (least variance), Gaussians for sketches (general
 * position even for small n, and rotation invariance). */
typedef enum hwb__probe_kind { HWB__PROBE_SIGN, HWB__PROBE_GAUSS } hwb__probe_kind;
hwb_status hwb__probes(hwb_ctx *ctx, hwb_tensor **out, const hwb_linop *op, uint64_t seed,
                       hwb__probe_kind kind, uint64_t tag, int64_t first, int64_t count);
/* HWB_ENUMERIC naming `what` */
hwb_status hwb__not_finite(hwb_ctx *ctx, const char *what, int64_t at);

/* Orthonormal rows, each a [1,n] tensor of its own so that the basis grows
 * without copies. */
typedef struct hwb__basis {
    hwb_dtype dtype;
    int64_t n, count, cap;
    hwb_tensor **t;
    void **p; /* p[i] = data of t[i] */
} hwb__basis;

hwb_status hwb__basis_init(hwb_ctx *ctx, hwb__basis *b, hwb_dtype dtype, int64_t n, int64_t cap);
void hwb__basis_free(hwb__basis *b);
void hwb__basis_cut(hwb__basis *b, int64_t count);  /* drops rows count.. */
void hwb__basis_push(hwb__basis *b, hwb_tensor *t); /* takes t; count < cap holds */
/* w -= V Vᵀw, twice (CGS2); h[i] (if not NULL) = v_i·w summed over both
 * passes; *norm = |w| after.  Twice is enough (Giraud et al. 2005). */
hwb_status hwb__basis_project(hwb_ctx *ctx, const hwb__basis *b, hwb_tensor *w, double *h,
                              double *norm);
/* new ref [1,n]: unit Gaussian vector (seed, index) orthogonal to b, which has
 * fewer than n rows */
hwb_status hwb__basis_random(hwb_ctx *ctx, const hwb__basis *b, uint64_t seed, uint64_t index,
                             hwb_tensor **out);

/* ---- small dense problems (dense.c) ------------------------------------------------ */

/* a: m x m symmetric, leading dimension m, both triangles filled; on return
 * column i (a + i*m) is the eigenvector of w[i], ascending.  LAPACK dsyev on
 * one thread, so the result does not depend on the thread count. */
hwb_status hwb__eigh(hwb_ctx *ctx, int64_t m, double *a, double *w);
/* diagonal d[m], off-diagonal e[m-1] (destroyed) -> d ascending, z as above */
hwb_status hwb__eigh_tridiagonal(hwb_ctx *ctx, int64_t m, double *d, double *e, double *z);

/* ---- running mean and variance (Welford) --------------------------------------------- */

typedef struct hwb__stat {
    int64_t m;
    double mean, m2;
} hwb__stat;

static inline void hwb__stat_add(hwb__stat *s, double x) {
    s->m++;
    double d = x - s->mean;
    s->mean += d / (double)s->m;
    s->m2 += d * (x - s->mean);
}
static inline double hwb__stat_var(const hwb__stat *s) { /* of one sample; NaN below two */
    return s->m < 2 ? (double)NAN : s->m2 / (double)(s->m - 1);
}
static inline double hwb__stat_se(const hwb__stat *s) { /* of the mean */
    return sqrt(hwb__stat_var(s) / (double)s->m);
}

/* machine epsilon of a float dtype */
static inline double hwb__eps(hwb_dtype dtype) {
    return dtype == HWB_F32 ? 0x1p-23 : 0x1p-52;
}

#endif
