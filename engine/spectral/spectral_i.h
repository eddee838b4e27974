/*
 * Private to spectral/: vectors in host memory or on a device, with sums in double,
 * the growing orthonormal basis, guarded application of an operator, and small dense
 * symmetric eigenproblems through LAPACK.
 */
#ifndef HWB_SPECTRAL_I_H
#define HWB_SPECTRAL_I_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "exec/there_i.h"
#include "spectral/spectral.h"

/* ---- kernels on dense rows of n elements of `dtype` in host memory (host.c) ---- */

/* threads worth using for `work` elements */
int hwb__host_threads(hwb_ctx *ctx, int64_t work);
double hwb__host_dot(hwb_ctx *ctx, hwb_dtype dtype, int64_t n, const void *a, const void *b);
/* out[i] = v_i · w for m rows; reads w once */
hwb_status hwb__host_dots(hwb_ctx *ctx, double *out, hwb_dtype dtype, int64_t n, int64_t m,
                          void *const *v, const void *w);
/* w -= Σ c_i v_i, rounded once */
void hwb__host_sub(hwb_ctx *ctx, hwb_dtype dtype, int64_t n, int64_t m, void *const *v,
                   const double *c, void *w);
/* y = a x + b y; x may be y */
void hwb__host_axpby(hwb_ctx *ctx, hwb_dtype dtype, int64_t n, double a, const void *x, double b,
                     void *y);
/* out_q = Σ_i s[q*lds + i] v_i for q < p; out may be the first p rows of v */
hwb_status hwb__host_rotate(hwb_ctx *ctx, hwb_dtype dtype, int64_t n, int64_t m, void *const *v,
                            int64_t p, const double *s, int64_t lds, void *const *out);

/* ---- vectors where the operator has them (vector.c) -------------------------------
 *
 * A solver's vectors lie in host memory, or in the memory of the device on which its
 * operator makes products; then none is copied but start vectors, Gaussian sketches and
 * results (exec/there_i.h has the arithmetic).  The numbers of the host are bit for bit
 * those of any thread count; a device has its own order of sums, always the same. */

typedef struct hwb__space {
    hwb_ctx *ctx;
    hwb_linop *op;
    hwb__there *there; /* NULL: host memory */
} hwb__space;

/* k rows of op->n elements, dense.  It has one owner; its space outlives it. */
typedef struct hwb__vector {
    hwb__space *space;
    int64_t k;
    hwb_tensor *t; /* [k,n] in host memory, or */
    void *p;       /* there */
} hwb__vector;

/* HWB_EARG / HWB_EDTYPE unless op has n >= 1, a float dtype and apply. */
hwb_status hwb__op_check(hwb_ctx *ctx, const hwb_linop *op);
hwb_status hwb__space_open(hwb_ctx *ctx, hwb__space *s, hwb_linop *op);
void hwb__space_close(hwb__space *s); /* a zeroed one is accepted */

hwb_status hwb__vector_new(hwb__space *s, int64_t k, hwb__vector **out); /* not initialised */
void hwb__vector_release(hwb__vector *v);                                /* NULL is accepted */
void *hwb__vector_data(const hwb__vector *v, int64_t row);               /* in its memory */
/* A copy of t, of any float dtype: a vector for every n of its elements. */
hwb_status hwb__vector_load(hwb__space *s, const hwb_tensor *t, hwb__vector **out);
/* Row `row` to row `at` of a dense tensor [..,n] of the operator's dtype. */
hwb_status hwb__vector_store(const hwb__vector *v, int64_t row, hwb_tensor *to, int64_t at);
hwb_status hwb__vector_assign(hwb__vector *to, int64_t i, const hwb__vector *from, int64_t j);
/* Row i as a vector by itself. */
hwb_status hwb__vector_row(const hwb__vector *v, int64_t i, hwb__vector **out);
hwb_status hwb__vector_normal(hwb__vector *v, hwb_rng rng); /* all rows as one stream */
/* [count,n]: row i = random vector number first+i of (seed, kind, tag).
 * Signs for means of vᵀHv (least variance), Gaussians for sketches (general
 * position even for small n, and rotation invariance). */
typedef enum hwb__probe_kind { HWB__PROBE_SIGN, HWB__PROBE_GAUSS } hwb__probe_kind;
hwb_status hwb__vector_probes(hwb__space *s, uint64_t seed, hwb__probe_kind kind, uint64_t tag,
                              int64_t first, int64_t count, hwb__vector **out);

/* x[i] = row i of a · row i of b */
hwb_status hwb__vector_dots(const hwb__vector *a, const hwb__vector *b, double *x);
/* x[l] = row i of v · row i of w over range l alone */
hwb_status hwb__vector_range_dots(const hwb__vector *v, const hwb__vector *w, int64_t i,
                                  int64_t ranges, const hwb_block_range *range, double *x);
/* The rest are for single rows. */
hwb_status hwb__vector_norm(const hwb__vector *v, double *x);
hwb_status hwb__vector_scale(hwb__vector *v, double a);
/* y = a x + b y; x is not y */
hwb_status hwb__vector_axpby(double a, const hwb__vector *x, double b, hwb__vector *y);
/* θ = v·w, size = |w|, then w -= θ v and rest = |w| */
hwb_status hwb__vector_residual(const hwb__vector *v, hwb__vector *w, double *theta, double *size,
                                double *rest);

/* H v, a new vector of as many rows, nobody else's; interrupt checked. */
hwb_status hwb__vector_apply(const hwb__vector *v, hwb__vector **out);
/* The same for those v[i] of a set's operators that are not NULL. */
hwb_status hwb__set_apply(hwb_ctx *ctx, hwb_linop_set *set, hwb__vector **out,
                          hwb__vector *const *v);
/* HWB_ENUMERIC naming `what` */
hwb_status hwb__not_finite(hwb_ctx *ctx, const char *what, int64_t at);

/* ---- orthonormal rows (basis.c) ------------------------------------------------------ */

/* Each a vector of its own, so that the basis grows without copies. */
typedef struct hwb__basis {
    hwb__space *space;
    int64_t count, cap;
    hwb__vector **v;
    void **p; /* p[i] = data of v[i] */
} hwb__basis;

hwb_status hwb__basis_init(hwb__basis *b, hwb__space *s, int64_t cap);
void hwb__basis_free(hwb__basis *b);
void hwb__basis_cut(hwb__basis *b, int64_t count);   /* drops rows count.. */
void hwb__basis_push(hwb__basis *b, hwb__vector *v); /* takes v; count < cap holds */
/* x[i] = v_i · w */
hwb_status hwb__basis_dots(const hwb__basis *b, const hwb__vector *w, double *x);
/* w -= V Vᵀw, twice (CGS2); h[i] (if not NULL) = v_i·w summed over both
 * passes; *norm = |w| after.  Twice is enough (Giraud et al. 2005). */
hwb_status hwb__basis_project(const hwb__basis *b, hwb__vector *w, double *h, double *norm);
/* Row q becomes Σ_i s[q*m + i] v_i over the first m rows, for q < p; the others go. */
hwb_status hwb__basis_rotate(hwb__basis *b, int64_t m, int64_t p, const double *s);
/* The same into the rows of a dense tensor [p,n]; the basis stays. */
hwb_status hwb__basis_combine(const hwb__basis *b, int64_t m, int64_t p, const double *s,
                              hwb_tensor *out);
/* A unit Gaussian vector (seed, index) orthogonal to b, which has fewer than n rows. */
hwb_status hwb__basis_random(const hwb__basis *b, uint64_t seed, uint64_t index, hwb__vector **out);

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
