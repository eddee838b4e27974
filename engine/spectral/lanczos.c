/*
 * lanczos.c: eigenpairs by Lanczos with full re-orthogonalisation and thick
 * restarts (Wu and Simon, SIMAX 2000).
 *
 * V[m,n] has orthonormal rows and V H Vᵀ = T, so that for T = S Θ Sᵀ
 *
 *     H (Vᵀ s_i) = θ_i Vᵀ s_i + β s_mi v_{m+1},     residual_i = β |s_mi|.
 *
 * T is kept dense (m x m, m small): tridiagonal while the basis grows; after
 * a restart it is an arrow, diag(θ_1..θ_p) coupled to row p by β s_mi.
 *
 * Breakdown.  β ≈ 0 means that V spans an invariant subspace.  A new random
 * vector opens the next segment, with zero coupling.  One Krylov space holds
 * one vector of each eigenspace, so after a breakdown wanted values may still
 * have copies outside; the solve then ends only when a whole segment brought
 * nothing that is wanted, or when V is the whole space.
 */
#include "spectral/eigs_i.h"

/* T is solved at every step up to this size, then about sixteen times a doubling. */
enum { OFTEN = 48 };

typedef struct lanczos {
    hwb_ctx *ctx;
    hwb_linop *op;
    const hwb_eigs_options *opt;
    hwb_eigs_result *r;
    int k;
    int64_t cap; /* rows of T, and of V without the next vector */
    hwb__space space;
    hwb__basis v;      /* m rows with products + the next one */
    int64_t m;         /* rows whose product is known */
    double *t;         /* cap x cap */
    double *s, *theta; /* eigenvectors (column i at s + i*m) and values of T */
    double *h;         /* [cap+1] */
    int64_t *want;     /* indices into theta, best first */
    hwb__vector *next; /* remainder of the last product, not normalised */
    double beta;       /* its norm */
    int64_t segment;   /* first row of the current segment */
    bool broke;
    uint64_t draws; /* random vectors used */
} lanczos;

static double key(hwb_which which, double x) { /* larger is more wanted */
    return which == HWB_WHICH_LA ? x : which == HWB_WHICH_SA ? -x : fabs(x);
}

static int64_t basis_size(const hwb_linop *op, const hwb_eigs_options *opt, int k) {
    int64_t n = op->n, want = opt->max_basis;
    if (want <= 0) {
        /* Up to about 1 GiB of basis, but never so few that restarts stall. */
        int64_t fit = (int64_t)((double)(1 << 30) / ((double)n * hwb_dtype_size(op->dtype)));
        int64_t most = k * 3 + 100, least = k * 2 + 10;
        want = fit > most ? most : fit < least ? least : fit;
    }
    if (want < k + 3) want = k + 3;
    if (want > opt->maxiter) want = opt->maxiter;
    return want > n ? n : want;
}

static int64_t holds(const hwb_linop *op, const hwb_eigs_options *opt, int k) {
    return basis_size(op, opt, k) + 1;
}

static hwb_status setup(lanczos *z) {
    hwb_ctx *ctx = z->ctx;
    z->cap = basis_size(z->op, z->opt, z->k);
    HWB_TRY(hwb__space_open(ctx, &z->space, z->op));
    HWB_TRY(hwb__basis_init(&z->v, &z->space, z->cap + 1));
    size_t square = (size_t)(z->cap * z->cap) * sizeof(double);
    z->t = hwb_calloc(ctx, square);
    z->s = hwb_alloc(ctx, square);
    z->theta = hwb_alloc(ctx, (size_t)z->cap * sizeof(double));
    z->h = hwb_alloc(ctx, (size_t)(z->cap + 1) * sizeof(double));
    z->want = hwb_alloc(ctx, (size_t)z->cap * sizeof *z->want);
    return z->t && z->s && z->theta && z->h && z->want ? HWB_OK : HWB_ENOMEM;
}

static void teardown(void *self) {
    lanczos *z = self;
    if (!z) return;
    hwb__basis_free(&z->v);
    hwb__vector_release(z->next);
    hwb__space_close(&z->space);
    hwb_free(z->t);
    hwb_free(z->s);
    hwb_free(z->theta);
    hwb_free(z->h);
    hwb_free(z->want);
    free(z);
}

/* v_1: random, or the sum of the normalised start rows plus 1 % noise */
static hwb_status first_vector(lanczos *z) {
    hwb__vector *v = NULL, *start = NULL, *row = NULL;
    double norm = 0;
    HWB_TRY(hwb__basis_random(&z->v, z->opt->seed, z->draws++, &v));
    hwb__basis_push(&z->v, v);
    if (!z->opt->start) return HWB_OK;
    HWB_TRY(hwb__vector_load(&z->space, z->opt->start, &start));
    hwb_status s = hwb__vector_scale(v, 0.01);
    for (int64_t i = 0; s == HWB_OK && i < start->k; i++) {
        HWB_GOTO(done, s, hwb__vector_row(start, i, &row));
        HWB_GOTO(done, s, hwb__vector_norm(row, &norm));
        if (norm > 0) s = hwb__vector_axpby(1 / norm, row, 1, v);
        hwb__vector_release(row);
        row = NULL;
    }
    if (s == HWB_OK) s = hwb__vector_norm(v, &norm);
    if (s == HWB_OK && norm > 0) s = hwb__vector_scale(v, 1 / norm);
done:
    hwb__vector_release(row);
    hwb__vector_release(start);
    return s;
}

/* One product, taken: fills row m of T, leaves the remainder in z->next. */
static hwb_status expand(lanczos *z, hwb__vector *product) {
    int64_t m = z->m;
    z->next = product;
    z->r->hvps++;
    HWB_TRY(hwb__basis_project(&z->v, z->next, z->h, &z->beta));
    if (!isfinite(z->beta) || !isfinite(z->h[m]))
        return hwb__not_finite(z->ctx, "lanczos", z->r->hvps - 1);
    /* Entries off the tridiagonal (or arrow) are rounding noise: not stored. */
    z->t[m * z->cap + m] = z->h[m];
    z->m = m + 1;
    return HWB_OK;
}

/* Eigenpairs of T[from..from+len) into s, theta. */
static hwb_status solve_small(lanczos *z, int64_t from, int64_t len) {
    for (int64_t i = 0; i < len; i++)
        for (int64_t j = 0; j < len; j++) z->s[i * len + j] = z->t[(from + i) * z->cap + from + j];
    return hwb__eigh(z->ctx, len, z->s, z->theta);
}

/* Ritz pairs of the whole basis, wanted ones first in z->want. */
static hwb_status rayleigh_ritz(lanczos *z) {
    int64_t m = z->m, lo = 0, hi = m - 1;
    hwb_which which = z->opt->which;
    HWB_TRY(solve_small(z, 0, m));
    /* theta ascends, so the next best is always at one of the two ends. */
    for (int64_t i = 0; i < m; i++)
        z->want[i] = key(which, z->theta[hi]) >= key(which, z->theta[lo]) ? hi-- : lo++;
    double norm = fmax(fabs(z->theta[0]), fabs(z->theta[m - 1]));
    if (norm > z->r->norm_estimate) z->r->norm_estimate = norm;
    return HWB_OK;
}

static double residual(const lanczos *z, int64_t i) {
    return z->beta * fabs(z->s[i * z->m + z->m - 1]);
}

static double bound(const lanczos *z, double theta) {
    return hwb__eigs_bound(z->opt, z->op->dtype, theta, z->r->norm_estimate);
}

/* After a breakdown: is the current segment finished without a wanted value?
 * `kth` is the worst wanted key. Destroys s and theta. */
static hwb_status segment_adds_nothing(lanczos *z, double kth, bool *yes) {
    int64_t len = z->m - z->segment;
    hwb_which which = z->opt->which;
    *yes = false;
    if (z->segment < z->k || len < 1) return HWB_OK;
    HWB_TRY(solve_small(z, z->segment, len));
    int64_t best = key(which, z->theta[len - 1]) >= key(which, z->theta[0]) ? len - 1 : 0;
    double res = z->beta * fabs(z->s[best * len + len - 1]);
    double slack = 16 * hwb__eps(z->op->dtype) * z->r->norm_estimate;
    *yes = res <= bound(z, z->theta[best]) && key(which, z->theta[best]) <= kth + slack;
    return HWB_OK;
}

static hwb_status is_done(lanczos *z, bool *done) {
    *done = z->m == z->op->n;
    if (*done || z->m < z->k) return HWB_OK;
    int64_t least = z->op->n < z->k + 2 ? z->op->n : z->k + 2;
    if (z->m < least && z->beta > 0) return HWB_OK;
    for (int i = 0; i < z->k; i++)
        if (residual(z, z->want[i]) > bound(z, z->theta[z->want[i]])) return HWB_OK;
    if (!z->broke && z->beta > 0) {
        *done = true;
        return HWB_OK;
    }
    HWB_TRY(segment_adds_nothing(z, key(z->opt->which, z->theta[z->want[z->k - 1]]), done));
    return rayleigh_ritz(z);
}

/* Keep the best p Ritz vectors; the residual direction couples to all of them. */
static hwb_status restart(lanczos *z) {
    int64_t m = z->m, spare = (m - z->k) / 2, p = z->k + (spare < 10 ? spare : 10);
    double *cols = hwb_alloc(z->ctx, (size_t)(p * m) * sizeof *cols);
    if (!cols) return HWB_ENOMEM;
    for (int64_t i = 0; i < p; i++)
        memcpy(cols + i * m, z->s + z->want[i] * m, (size_t)m * sizeof *cols);
    hwb_status s = hwb__basis_rotate(&z->v, m, p, cols);
    hwb_free(cols);
    HWB_TRY(s);
    memset(z->t, 0, (size_t)(z->cap * z->cap) * sizeof *z->t);
    for (int64_t i = 0; i < p; i++) {
        int64_t w = z->want[i];
        z->t[i * z->cap + i] = z->theta[w];
        z->t[i * z->cap + p] = z->t[p * z->cap + i] = z->beta * z->s[w * m + m - 1];
    }
    z->m = p;
    /* Segments are mixed now; the kept rows count as one. */
    z->segment = 0;
    z->broke = false;
    return HWB_OK;
}

/* Make the next basis vector from the remainder, or a random one after a breakdown. */
static hwb_status advance(lanczos *z) {
    int64_t n = z->op->n;
    if (z->m == z->cap && z->cap < n) {
        HWB_TRY(restart(z));
    } else if (z->beta > 0) {
        z->t[(z->m - 1) * z->cap + z->m] = z->t[z->m * z->cap + z->m - 1] = z->beta;
    }
    if (z->beta > 0) {
        HWB_TRY(hwb__vector_scale(z->next, 1 / z->beta));
    } else {
        hwb__vector_release(z->next);
        z->next = NULL;
        HWB_TRY(hwb__basis_random(&z->v, z->opt->seed, z->draws++, &z->next));
        z->broke = true;
        z->segment = z->m;
    }
    hwb__basis_push(&z->v, z->next);
    z->next = NULL;
    return HWB_OK;
}

static hwb_status collect(void *self) {
    lanczos *z = self;
    hwb_eigs_result *r = z->r;
    int64_t n = z->op->n, m = z->m;
    int k = z->k < m ? z->k : (int)m;
    double *cols = hwb_alloc(z->ctx, (size_t)(k * m) * sizeof *cols);
    hwb_status s = cols ? HWB_OK : HWB_ENOMEM;
    if (s == HWB_OK)
        s = hwb_tensor_new(z->ctx, &r->vectors, z->op->dtype,
                           (hwb_shape){.ndim = 2, .dim = {k, n}});
    if (s == HWB_OK) {
        for (int i = 0; i < k; i++) {
            int64_t w = z->want[i];
            memcpy(cols + i * m, z->s + w * m, (size_t)m * sizeof *cols);
            r->values[i] = z->theta[w];
            r->residuals[i] = residual(z, w);
            r->converged[i] = r->residuals[i] <= bound(z, z->theta[w]);
            r->pair_iterations[i] = r->iterations;
        }
        r->k = k;
        s = hwb__basis_combine(&z->v, m, k, cols, r->vectors);
    }
    hwb_free(cols);
    return s;
}

/* Between two solves of T the history repeats the last estimate. */
static hwb_status report(lanczos *z, bool fresh) {
    hwb_eigs_result *r = z->r;
    int64_t lead = z->want[0], at = r->history_len - 1;
    double value = fresh ? z->theta[lead] : r->history_value[at];
    double res = fresh ? residual(z, lead) : r->history_residual[at];
    return hwb__eigs_report(z->ctx, r, z->opt, "lanczos", 0, value, res);
}

static double norm_bound(const lanczos *z) {
    int64_t j = z->m - 1;
    return fmax(z->r->norm_estimate, fabs(z->t[j * z->cap + j]));
}

static hwb_status take(void *self, hwb__vector *product, bool *done) {
    lanczos *z = self;
    HWB_TRY(expand(z, product));
    bool last = z->r->hvps >= z->opt->maxiter;
    /* What is left of a product after projection cannot be told from its
     * rounding, which repeated eigenvalues amplify step by step; the pairs
     * are wanted to eps^(2/3) at best, so eps^(3/4) counts as nothing. */
    bool broken = z->beta <= pow(hwb__eps(z->op->dtype), 0.75) * norm_bound(z);
    bool due = broken || last || z->m == z->cap || z->m <= OFTEN || z->m % (z->m / 16) == 0;
    *done = false;
    if (broken || z->m == z->op->n) z->beta = 0;
    if (due) HWB_TRY(rayleigh_ritz(z));
    HWB_TRY(report(z, due));
    if (due) HWB_TRY(is_done(z, done));
    *done = *done || last;
    return *done ? HWB_OK : advance(z);
}

static hwb_status begin(hwb_ctx *ctx, void **out, hwb_linop *op, const hwb_eigs_options *opt,
                        hwb_eigs_result *r, int k) {
    lanczos *z = calloc(1, sizeof *z);
    if (!z) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for eigenpairs");
    *z = (lanczos){.ctx = ctx, .op = op, .opt = opt, .r = r, .k = k};
    *out = z;
    HWB_TRY(setup(z));
    return first_vector(z);
}

static hwb__vector *vector(void *self) {
    const lanczos *z = self;
    return z->v.v[z->m];
}

const hwb__eigs_method hwb__eigs_lanczos = {begin, vector, take, collect, teardown, holds};

hwb_status hwb_eigs_lanczos(hwb_ctx *ctx, hwb_eigs_result *out, hwb_linop *op,
                            const hwb_eigs_options *opt) {
    return hwb__eigs_solve(ctx, out, op, opt, &hwb__eigs_lanczos);
}
