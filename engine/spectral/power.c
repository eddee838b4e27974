/*
 * power.c: power iteration with deflation.
 *
 *     draw v;  v ← v / |v|
 *     repeat   v ← (I - Σ u uᵀ) v / |…|      (u: eigenvectors already found)
 *              w = Hv,  θ = vᵀw,  r = |w - θv|
 *              v ← w / |w|
 *
 * until θ has settled and the part of w - θv outside the found eigenvectors is
 * small (the part inside is the error those were accepted with, which no
 * further iteration on this pair can remove; r reports both).  It finds the largest |θ|.  For the largest
 * algebraic value it iterates on H - σI with σ a lower bound of the spectrum
 * from a few Lanczos steps; for the smallest, σ is an upper bound.
 */
#include "spectral/eigs_i.h"

enum { SHIFT_STEPS = 5 };

typedef struct power {
    hwb_ctx *ctx;
    hwb_linop *op;
    const hwb_eigs_options *opt;
    hwb_eigs_result *r;
    int k;
    double shift;
    hwb__space space;
    hwb__basis found;
    void *far; /* the Lanczos steps for the shift, while they last */
    hwb_eigs_options far_options;
    hwb_eigs_result far_result;
    int pair;  /* being found */
    int64_t t; /* its products */
    double last;
    hwb__vector *v;
} power;

/* v for pair i: row i of the start tensor while there is one, else random */
static hwb_status start_vector(power *z, int i, hwb__vector **out) {
    const hwb_tensor *start = z->opt->start;
    int64_t n = z->op->n;
    if (!start || i >= hwb_tensor_numel(start) / n)
        return hwb__basis_random(&z->found, z->opt->seed, (uint64_t)i, out);
    hwb_tensor *rows = NULL, *row = NULL;
    hwb_status s;
    HWB_GOTO(done, s,
             hwb_tensor_reshape(z->ctx, &rows, (hwb_tensor *)(uintptr_t)start,
                                (hwb_shape){.ndim = 2, .dim = {-1, n}}));
    HWB_GOTO(done, s, hwb_tensor_slice(z->ctx, &row, rows, 0, i, 1, 1));
    s = hwb__vector_load(&z->space, row, out);
done:
    hwb_tensor_release(rows);
    hwb_tensor_release(row);
    return s;
}

/* v ← the unit vector along the part of v outside the found eigenvectors.
 * When nothing is left (v lies in their span) a random one takes its place. */
static hwb_status deflate(power *z, int i, hwb__vector **v) {
    double before = 0;
    HWB_TRY(hwb__vector_norm(*v, &before));
    double norm = before;
    if (z->found.count > 0) HWB_TRY(hwb__basis_project(&z->found, *v, NULL, &norm));
    if (norm > 100 * hwb__eps(z->op->dtype) * before) return hwb__vector_scale(*v, 1 / norm);
    hwb__vector *fresh = NULL;
    HWB_TRY(hwb__basis_random(&z->found, z->opt->seed, (uint64_t)i + 0x10000u, &fresh));
    hwb__vector_release(*v);
    *v = fresh;
    return HWB_OK;
}

static hwb_status next_pair(power *z) {
    z->t = 0;
    z->last = 0;
    HWB_TRY(start_vector(z, z->pair, &z->v));
    return deflate(z, z->pair, &z->v);
}

/* The far end of the spectrum (Ritz value and its residual bound) gives the shift. */
static hwb_status begin_shift(power *z) {
    bool low = z->opt->which == HWB_WHICH_LA;
    z->far_options = hwb_eigs_defaults();
    z->far_options.which = low ? HWB_WHICH_SA : HWB_WHICH_LA;
    z->far_options.maxiter = SHIFT_STEPS;
    z->far_options.tol = 1e-2;
    z->far_options.seed = z->opt->seed ^ 0x5eed5417u;
    HWB_TRY(hwb__eigs_alloc(z->ctx, &z->far_result, 1));
    return hwb__eigs_lanczos.open(z->ctx, &z->far, z->op, &z->far_options, &z->far_result, 1);
}

static hwb_status take_shift(power *z, hwb__vector *w) {
    bool done;
    HWB_TRY(hwb__eigs_lanczos.take(z->far, w, &done));
    if (!done) return HWB_OK;
    HWB_TRY(hwb__eigs_lanczos.collect(z->far));
    const hwb_eigs_result *far = &z->far_result;
    bool low = z->opt->which == HWB_WHICH_LA;
    z->shift = low ? far->values[0] - far->residuals[0] : far->values[0] + far->residuals[0];
    z->r->hvps += far->hvps;
    z->r->norm_estimate = far->norm_estimate;
    hwb__eigs_lanczos.close(z->far);
    z->far = NULL;
    return next_pair(z);
}

/* w = Hv becomes w - θv; θ, its residual and whether it has converged go into the result. */
static hwb_status judge(power *z, hwb__vector *w, double *theta) {
    hwb_eigs_result *r = z->r;
    hwb_dtype d = z->op->dtype;
    int i = z->pair;
    double size = 0, res = 0;
    HWB_TRY(hwb__vector_residual(z->v, w, theta, &size, &res));
    if (!isfinite(size)) return hwb__not_finite(z->ctx, "power", r->hvps - 1);
    if (fabs(*theta) > r->norm_estimate) r->norm_estimate = fabs(*theta);
    double outside = res;
    if (z->found.count > 0) HWB_TRY(hwb__basis_project(&z->found, w, NULL, &outside));
    HWB_TRY(hwb__eigs_report(z->ctx, r, z->opt, "power", i, *theta, res));
    r->values[i] = *theta;
    r->residuals[i] = res;
    r->pair_iterations[i] = z->t;
    double floor_ = pow(hwb__eps(d), 2.0 / 3.0) * r->norm_estimate;
    bool settled =
        z->t > 1 && fabs(*theta - z->last) <= z->opt->value_tol * fmax(fabs(*theta), floor_);
    r->converged[i] = outside <= hwb__eigs_bound(z->opt, d, *theta, r->norm_estimate) &&
                      (settled || outside == 0);
    z->last = *theta;
    return HWB_OK;
}

static hwb_status end_pair(power *z, bool *done) {
    HWB_TRY(hwb__vector_store(z->v, 0, z->r->vectors, z->pair));
    hwb__basis_push(&z->found, z->v);
    z->v = NULL;
    z->r->k = ++z->pair;
    *done = z->pair == z->k;
    return *done ? HWB_OK : next_pair(z);
}

static hwb_status take(void *self, hwb__vector *w, bool *done) {
    power *z = self;
    double theta = 0;
    *done = false;
    if (z->far) return take_shift(z, w);
    z->r->hvps++;
    z->t++;
    hwb_status s = judge(z, w, &theta);
    if (s != HWB_OK || z->r->converged[z->pair] || z->t >= z->opt->maxiter) {
        hwb__vector_release(w);
        return s == HWB_OK ? end_pair(z, done) : s;
    }
    /* back to (H - σI) v = (w - θv) + (θ - σ) v */
    s = hwb__vector_axpby(theta - z->shift, z->v, 1, w);
    hwb__vector_release(z->v);
    z->v = w;
    HWB_TRY(s);
    return deflate(z, z->pair, &z->v);
}

static hwb_status begin(hwb_ctx *ctx, void **out, hwb_linop *op, const hwb_eigs_options *opt,
                        hwb_eigs_result *r, int k) {
    power *z = calloc(1, sizeof *z);
    if (!z) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for eigenpairs");
    *z = (power){.ctx = ctx, .op = op, .opt = opt, .r = r, .k = k};
    *out = z;
    HWB_TRY(hwb__space_open(ctx, &z->space, op));
    HWB_TRY(hwb__basis_init(&z->found, &z->space, k));
    HWB_TRY(hwb_tensor_new(ctx, &r->vectors, op->dtype, (hwb_shape){.ndim = 2, .dim = {k, op->n}}));
    return opt->which == HWB_WHICH_LM ? next_pair(z) : begin_shift(z);
}

static hwb__vector *vector(void *self) {
    power *z = self;
    return z->far ? hwb__eigs_lanczos.vector(z->far) : z->v;
}

static hwb_status collect(void *self) { /* pair by pair they were */
    (void)self;
    return HWB_OK;
}

static void teardown(void *self) {
    power *z = self;
    if (!z) return;
    hwb__eigs_lanczos.close(z->far);
    hwb_eigs_free(&z->far_result);
    hwb__basis_free(&z->found);
    hwb__vector_release(z->v);
    hwb__space_close(&z->space);
    free(z);
}

/* Found ones, the result's copies of them, v and w; before them the shift's basis. */
static int64_t holds(const hwb_linop *op, const hwb_eigs_options *opt, int k) {
    (void)op;
    return 2 * k + 2 + (opt->which == HWB_WHICH_LM ? 0 : SHIFT_STEPS + 1);
}

const hwb__eigs_method hwb__eigs_power = {begin, vector, take, collect, teardown, holds};

hwb_status hwb_eigs_power(hwb_ctx *ctx, hwb_eigs_result *out, hwb_linop *op,
                          const hwb_eigs_options *opt) {
    return hwb__eigs_solve(ctx, out, op, opt, &hwb__eigs_power);
}
