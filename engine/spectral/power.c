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
    double shift;
    hwb__basis found;
} power;

/* The far end of the spectrum (Ritz value and its residual bound). */
static hwb_status find_shift(power *z) {
    z->shift = 0;
    if (z->opt->which == HWB_WHICH_LM) return HWB_OK;
    hwb_eigs_options o = hwb_eigs_defaults();
    hwb_eigs_result far = {0};
    bool low = z->opt->which == HWB_WHICH_LA;
    o.which = low ? HWB_WHICH_SA : HWB_WHICH_LA;
    o.maxiter = SHIFT_STEPS;
    o.tol = 1e-2;
    o.seed = z->opt->seed ^ 0x5eed5417u;
    HWB_TRY(hwb_eigs_lanczos(z->ctx, &far, z->op, &o));
    z->shift = low ? far.values[0] - far.residuals[0] : far.values[0] + far.residuals[0];
    z->r->hvps += far.hvps;
    z->r->norm_estimate = far.norm_estimate;
    hwb_eigs_free(&far);
    return HWB_OK;
}

/* v for pair i: row i of the start tensor while there is one, else random */
static hwb_status start_vector(power *z, int i, hwb_tensor **out) {
    const hwb_tensor *start = z->opt->start;
    int64_t n = z->op->n;
    if (!start || i >= hwb_tensor_numel(start) / n)
        return hwb__basis_random(z->ctx, &z->found, z->opt->seed, (uint64_t)i, out);
    hwb_tensor *rows = NULL, *row = NULL, *v = NULL;
    hwb_status s;
    HWB_GOTO(done, s,
             hwb_tensor_reshape(z->ctx, &rows, (hwb_tensor *)(uintptr_t)start,
                                (hwb_shape){.ndim = 2, .dim = {-1, n}}));
    HWB_GOTO(done, s, hwb_tensor_slice(z->ctx, &row, rows, 0, i, 1, 1));
    HWB_GOTO(done, s,
             hwb_tensor_new(z->ctx, &v, z->op->dtype, (hwb_shape){.ndim = 2, .dim = {1, n}}));
    HWB_GOTO(done, s, hwb_tensor_copy(z->ctx, v, row));
    *out = v;
    v = NULL;
done:
    hwb_tensor_release(rows);
    hwb_tensor_release(row);
    hwb_tensor_release(v);
    return s;
}

/* v ← the unit vector along the part of v outside the found eigenvectors.
 * When nothing is left (v lies in their span) a random one takes its place. */
static hwb_status deflate(power *z, int i, hwb_tensor **v) {
    void *p = hwb_tensor_data(*v);
    hwb_dtype d = z->op->dtype;
    int64_t n = z->op->n;
    double before = sqrt(hwb__vec_dot(z->ctx, d, n, p, p)), norm;
    HWB_TRY(hwb__basis_project(z->ctx, &z->found, *v, NULL, &norm));
    if (norm > 100 * hwb__eps(d) * before) {
        hwb__vec_axpby(z->ctx, d, n, 0, p, 1 / norm, p);
        return HWB_OK;
    }
    hwb_tensor *fresh = NULL;
    HWB_TRY(hwb__basis_random(z->ctx, &z->found, z->opt->seed, (uint64_t)i + 0x10000u, &fresh));
    hwb_tensor_release(*v);
    *v = fresh;
    return HWB_OK;
}

/* One pair; *v is the start vector, then the eigenvector. */
static hwb_status iterate(power *z, int i, hwb_tensor **v) {
    hwb_eigs_result *r = z->r;
    hwb_dtype d = z->op->dtype;
    int64_t n = z->op->n;
    double last = 0;
    for (int64_t t = 1;; t++) {
        HWB_TRY(deflate(z, i, v));
        hwb_tensor *w = NULL;
        HWB_TRY(hwb__op_apply(z->ctx, z->op, &w, *v));
        r->hvps++;
        void *pv = hwb_tensor_data(*v), *pw = hwb_tensor_data(w);
        double theta = hwb__vec_dot(z->ctx, d, n, pv, pw);
        double ww = hwb__vec_dot(z->ctx, d, n, pw, pw);
        hwb_status s = isfinite(ww) ? HWB_OK : hwb__not_finite(z->ctx, "power", r->hvps - 1);
        /* |w - θv|² would lose its digits as ww - θ²; subtract the vectors. */
        hwb__vec_axpby(z->ctx, d, n, -theta, pv, 1, pw);
        double res = sqrt(hwb__vec_dot(z->ctx, d, n, pw, pw)), outside = res;
        if (fabs(theta) > r->norm_estimate) r->norm_estimate = fabs(theta);
        if (s == HWB_OK) s = hwb__basis_project(z->ctx, &z->found, w, NULL, &outside);
        if (s == HWB_OK) s = hwb__eigs_report(z->ctx, r, z->opt, "power", i, theta, res);
        r->values[i] = theta;
        r->residuals[i] = res;
        r->pair_iterations[i] = t;
        double floor_ = pow(hwb__eps(d), 2.0 / 3.0) * r->norm_estimate;
        bool settled = t > 1 && fabs(theta - last) <= z->opt->value_tol * fmax(fabs(theta), floor_);
        r->converged[i] = outside <= hwb__eigs_bound(z->opt, d, theta, r->norm_estimate) &&
                          (settled || outside == 0);
        last = theta;
        bool stop = s != HWB_OK || r->converged[i] || t >= z->opt->maxiter;
        if (stop) {
            hwb_tensor_release(w);
            return s;
        }
        /* back to (H - σI) v = (w - θv) + (θ - σ) v */
        hwb__vec_axpby(z->ctx, d, n, theta - z->shift, pv, 1, pw);
        hwb_tensor_release(*v);
        *v = w;
    }
}

static hwb_status run(power *z, int k) {
    hwb_eigs_result *r = z->r;
    HWB_TRY(hwb__basis_init(z->ctx, &z->found, z->op->dtype, z->op->n, k));
    HWB_TRY(find_shift(z));
    HWB_TRY(hwb_tensor_new(z->ctx, &r->vectors, z->op->dtype,
                           (hwb_shape){.ndim = 2, .dim = {k, z->op->n}}));
    size_t bytes = (size_t)z->op->n * hwb_dtype_size(z->op->dtype);
    for (int i = 0; i < k; i++) {
        hwb_tensor *v = NULL;
        HWB_TRY(start_vector(z, i, &v));
        hwb_status s = iterate(z, i, &v);
        if (s != HWB_OK) {
            hwb_tensor_release(v);
            return s;
        }
        memcpy(hwb__row(r->vectors, z->op->n, i), hwb_tensor_data(v), bytes);
        hwb__basis_push(&z->found, v);
        r->k = i + 1;
    }
    return z->opt->true_residuals ? hwb__eigs_true_residuals(z->ctx, z->op, r) : HWB_OK;
}

hwb_status hwb_eigs_power(hwb_ctx *ctx, hwb_eigs_result *out, hwb_linop *op,
                          const hwb_eigs_options *opt) {
    HWB_TRY(hwb__eigs_check(ctx, op, opt));
    hwb_eigs_result r;
    int k = opt->k < op->n ? opt->k : (int)op->n;
    HWB_TRY(hwb__eigs_alloc(ctx, &r, k));
    power z = {.ctx = ctx, .op = op, .opt = opt, .r = &r};
    hwb_status s = run(&z, k);
    hwb__basis_free(&z.found);
    if (s != HWB_OK) {
        hwb_eigs_free(&r);
        return s;
    }
    *out = r;
    return HWB_OK;
}
