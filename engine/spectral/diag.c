/*
 * diag.c: the diagonal of H and its Frobenius norm from the same probes,
 *
 *     H_ii = E v_i (Hv)_i,   |H|²_F = E |Hv|²,   v = ±1.
 *
 * Element i's mean and variance run by Welford in float64.
 */
#include "spectral/spectral_i.h"

hwb_diag_options hwb_diag_defaults(void) {
    return (hwb_diag_options){.probes = 100, .batch = 4};
}

void hwb_diag_free(hwb_diag_result *r) {
    if (!r) return;
    hwb_tensor_release(r->mean);
    hwb_tensor_release(r->se);
    *r = (hwb_diag_result){0};
}

/* mean, m2 += sample number m of v ⊙ w */
static void accumulate(int threads, hwb_dtype d, int64_t n, const void *v, const void *w, double m,
                       double *mean, double *m2) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < n; i++) {
        double x = d == HWB_F32 ? (double)((const float *)v)[i] * (double)((const float *)w)[i]
                                : ((const double *)v)[i] * ((const double *)w)[i];
        double delta = x - mean[i];
        mean[i] += delta / m;
        m2[i] += delta * (x - mean[i]);
    }
}

static hwb_status run(hwb_ctx *ctx, hwb_diag_result *r, hwb_linop *op,
                      const hwb_diag_options *opt) {
    hwb_shape shape = {.ndim = 1, .dim = {op->n}};
    HWB_TRY(hwb_tensor_zeros(ctx, &r->mean, HWB_F64, shape));
    HWB_TRY(hwb_tensor_zeros(ctx, &r->se, HWB_F64, shape));
    double *mean = hwb_tensor_data(r->mean), *se = hwb_tensor_data(r->se);
    hwb__stat fro = {0};
    while (r->hvps < opt->probes) {
        int64_t left = opt->probes - r->hvps, k = left < opt->batch ? left : opt->batch;
        hwb_tensor *v = NULL, *w = NULL;
        HWB_TRY(hwb__probes(ctx, &v, op, opt->seed, HWB__PROBE_SIGN, 4u << 20, r->hvps, k));
        hwb_status s = hwb__op_apply(ctx, op, &w, v);
        for (int64_t i = 0; s == HWB_OK && i < k; i++) {
            void *row = hwb__row(w, op->n, i);
            double q = hwb__vec_dot(ctx, op->dtype, op->n, row, row);
            if (!isfinite(q)) s = hwb__not_finite(ctx, "diagonal", r->hvps);
            hwb__stat_add(&fro, q);
            r->hvps++;
            accumulate(hwb__vec_threads(ctx, op->n), op->dtype, op->n, hwb__row(v, op->n, i), row,
                       (double)r->hvps, mean, se);
        }
        hwb_tensor_release(v);
        hwb_tensor_release(w);
        HWB_TRY(s);
        hwb_progress(ctx, "diagonal", r->hvps, opt->probes, "");
    }
    double m = (double)r->hvps;
    for (int64_t i = 0; i < op->n; i++) se[i] = m > 1 ? sqrt(se[i] / (m * (m - 1))) : (double)NAN;
    r->fro2 = fro.mean;
    r->fro2_se = hwb__stat_se(&fro);
    return HWB_OK;
}

hwb_status hwb_diag(hwb_ctx *ctx, hwb_diag_result *out, hwb_linop *op,
                    const hwb_diag_options *opt) {
    HWB_TRY(hwb__op_check(ctx, op));
    if (opt->probes < 1 || opt->batch < 1)
        return hwb_fail(ctx, HWB_EARG, "diagonal: probes %lld and batch %lld need at least 1",
                        (long long)opt->probes, (long long)opt->batch);
    hwb_diag_result r = {0};
    hwb_status s = run(ctx, &r, op, opt);
    if (s != HWB_OK) {
        hwb_diag_free(&r);
        return s;
    }
    *out = r;
    return HWB_OK;
}
