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

/* Where mean and m2 are while samples come in. */
typedef struct moments {
    double *mean, *m2;  /* on the host, or there */
    hwb__vector *v, *w; /* there: one sample by itself */
} moments;

static hwb_status open_there(hwb__there *t, moments *m, int64_t n) {
    void *zeros = m->mean;
    m->mean = m->m2 = NULL;
    HWB_TRY(hwb__there_alloc(t, (void **)&m->mean, 8 * n));
    HWB_TRY(hwb__there_alloc(t, (void **)&m->m2, 8 * n));
    HWB_TRY(hwb__there_put(t, m->mean, zeros, 8 * n));
    return hwb__there_put(t, m->m2, zeros, 8 * n);
}

/* Sample number `number`: row i. */
static hwb_status take(hwb__space *sp, moments *m, const hwb__vector *v, const hwb__vector *w,
                       int64_t i, double number) {
    hwb_linop *op = sp->op;
    if (!sp->there) {
        accumulate(hwb__host_threads(sp->ctx, op->n), op->dtype, op->n, hwb__vector_data(v, i),
                   hwb__vector_data(w, i), number, m->mean, m->m2);
        return HWB_OK;
    }
    if (!m->v) HWB_TRY(hwb__vector_new(sp, 1, &m->v));
    if (!m->w) HWB_TRY(hwb__vector_new(sp, 1, &m->w));
    HWB_TRY(hwb__vector_assign(m->v, 0, v, i));
    HWB_TRY(hwb__vector_assign(m->w, 0, w, i));
    HWB_TRY(hwb__there_slots(sp->there, 1));
    HWB_TRY(hwb__there_set(sp->there, 0, 1, &number));
    return hwb__there_welford(sp->there, op->dtype, op->n, m->v->p, m->w->p, 0, m->mean, m->m2);
}

static hwb_status sample(hwb__space *sp, hwb_diag_result *r, const hwb_diag_options *opt,
                         moments *m, hwb__stat *fro) {
    int64_t left = opt->probes - r->hvps, k = left < opt->batch ? left : opt->batch;
    hwb__vector *v = NULL, *w = NULL;
    double *q = hwb_alloc(sp->ctx, (size_t)k * sizeof *q);
    hwb_status s = q ? HWB_OK : HWB_ENOMEM;
    if (s == HWB_OK)
        s = hwb__vector_probes(sp, opt->seed, HWB__PROBE_SIGN, 4u << 20, r->hvps, k, &v);
    if (s == HWB_OK) s = hwb__vector_apply(v, &w);
    if (s == HWB_OK) s = hwb__vector_dots(w, w, q);
    for (int64_t i = 0; s == HWB_OK && i < k; i++) {
        if (!isfinite(q[i])) s = hwb__not_finite(sp->ctx, "diagonal", r->hvps);
        hwb__stat_add(fro, q[i]);
        r->hvps++;
        if (s == HWB_OK) s = take(sp, m, v, w, i, (double)r->hvps);
    }
    hwb_free(q);
    hwb__vector_release(v);
    hwb__vector_release(w);
    return s;
}

static hwb_status sample_all(hwb__space *sp, hwb_diag_result *r, const hwb_diag_options *opt,
                             moments *m, hwb__stat *fro) {
    double *mean = m->mean, *m2 = m->m2;
    int64_t n = sp->op->n;
    if (sp->there) HWB_TRY(open_there(sp->there, m, n));
    while (r->hvps < opt->probes) {
        HWB_TRY(sample(sp, r, opt, m, fro));
        hwb_progress(sp->ctx, "diagonal", r->hvps, opt->probes, "");
    }
    if (!sp->there) return HWB_OK;
    HWB_TRY(hwb__there_get(sp->there, mean, m->mean, 8 * n));
    return hwb__there_get(sp->there, m2, m->m2, 8 * n);
}

static hwb_status run(hwb_ctx *ctx, hwb_diag_result *r, hwb_linop *op,
                      const hwb_diag_options *opt) {
    hwb_shape shape = {.ndim = 1, .dim = {op->n}};
    hwb__space sp = {0};
    hwb__stat fro = {0};
    HWB_TRY(hwb_tensor_zeros(ctx, &r->mean, HWB_F64, shape));
    HWB_TRY(hwb_tensor_zeros(ctx, &r->se, HWB_F64, shape));
    double *se = hwb_tensor_data(r->se);
    moments m = {.mean = hwb_tensor_data(r->mean), .m2 = se};
    HWB_TRY(hwb__space_open(ctx, &sp, op));
    hwb_status s = sample_all(&sp, r, opt, &m, &fro);
    hwb__vector_release(m.v);
    hwb__vector_release(m.w);
    if (sp.there) {
        hwb__there_release(sp.there, m.mean);
        hwb__there_release(sp.there, m.m2);
    }
    hwb__space_close(&sp);
    HWB_TRY(s);
    double count = (double)r->hvps;
    for (int64_t i = 0; i < op->n; i++)
        se[i] = count > 1 ? sqrt(se[i] / (count * (count - 1))) : (double)NAN;
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
