/*
 * trace.c: Hutchinson's estimator and the front door of all trace methods.
 *
 *     tr H = E vᵀHv for v = ±1,   Var = 2 (|H|²_F - Σ H_ii²).
 *
 * It stops when the standard error is small against the mean, decided after
 * each probe in order: how many probes one product carries never changes the
 * result (probes computed past the stop are dropped).
 */
#include "spectral/trace_i.h"

#include <stdio.h>

hwb_trace_options hwb_trace_defaults(void) {
    return (hwb_trace_options){.method = HWB_TRACE_HUTCHINSON,
                               .tol = 0.01,
                               .min_probes = 10,
                               .max_probes = 1000,
                               .batch = 4};
}

bool hwb_trace_method_parse(const char *name, hwb_trace_method *out) {
    static const char *const names[] = {"hutchinson", "hutch++", "xtrace"};
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (hwb_trace_method)i;
            return true;
        }
    return false;
}

void hwb_trace_free(hwb_trace_result *r) {
    if (!r) return;
    hwb_free(r->samples);
    *r = (hwb_trace_result){0};
}

bool hwb__trace_settled(const hwb_trace_options *opt, const hwb__stat *s, double mean) {
    return s->m >= 2 && s->m >= opt->min_probes && hwb__stat_se(s) <= opt->tol * fabs(mean);
}

int64_t hwb__trace_batch(double tol, int64_t most, int64_t min_probes, const hwb__stat *s,
                         double mean) {
    int64_t left = min_probes - s->m;
    if (s->m >= 2 && left < 1) {
        double ratio = hwb__stat_se(s) / (tol * fabs(mean));
        double more = (double)s->m * (ratio * ratio - 1);
        left = more < 1 ? 1 : more > (double)most ? most : (int64_t)ceil(more);
    }
    return left < 1 ? 1 : left < most ? left : most;
}

void hwb__trace_progress(hwb_ctx *ctx, const char *what, int64_t done, int64_t total, double mean,
                         double se) {
    char note[80];
    snprintf(note, sizeof note, "trace %.6g +- %.2g", mean, se);
    hwb_progress(ctx, what, done, total, note);
}

hwb_status hwb__trace_sample(hwb__space *sp, hwb_trace_result *r, const hwb_trace_options *opt,
                             const char *what, double exact, const hwb__vector *v, hwb__stat *st) {
    hwb__vector *w = NULL;
    double *q = hwb_alloc(sp->ctx, (size_t)v->k * sizeof *q);
    hwb_status s = q ? hwb__vector_apply(v, &w) : HWB_ENOMEM;
    if (s == HWB_OK) {
        r->hvps += v->k;
        s = hwb__vector_dots(v, w, q);
    }
    for (int64_t i = 0; s == HWB_OK && i < v->k && !r->converged; i++) {
        if (!isfinite(q[i])) {
            s = hwb__not_finite(sp->ctx, what, st->m);
            break;
        }
        r->samples[st->m] = exact + q[i];
        hwb__stat_add(st, q[i]);
        r->converged = hwb__trace_settled(opt, st, exact + st->mean);
    }
    hwb_free(q);
    hwb__vector_release(w);
    return s;
}

static hwb_status hutchinson(hwb_ctx *ctx, hwb_trace_result *r, hwb__space *sp,
                             const hwb_trace_options *opt) {
    hwb__stat st = {0};
    while (!r->converged && st.m < opt->max_probes) {
        int64_t most = opt->max_probes - st.m < opt->batch ? opt->max_probes - st.m : opt->batch;
        int64_t k = hwb__trace_batch(opt->tol, most, opt->min_probes, &st, st.mean);
        hwb__vector *v = NULL;
        HWB_TRY(hwb__vector_probes(sp, opt->seed, HWB__PROBE_SIGN, 0, st.m, k, &v));
        hwb_status s = hwb__trace_sample(sp, r, opt, "hutchinson", 0, v, &st);
        hwb__vector_release(v);
        HWB_TRY(s);
        hwb__trace_progress(ctx, "trace", st.m, opt->max_probes, st.mean, hwb__stat_se(&st));
    }
    r->mean = st.mean;
    r->se = hwb__stat_se(&st);
    r->probes = st.m;
    return HWB_OK;
}

hwb_status hwb_trace(hwb_ctx *ctx, hwb_trace_result *out, hwb_linop *op,
                     const hwb_trace_options *opt) {
    HWB_TRY(hwb__op_check(ctx, op));
    if (opt->max_probes < 1 || opt->batch < 1 || opt->sketch < 0 || !(opt->tol >= 0))
        return hwb_fail(ctx, HWB_EARG,
                        "trace: max_probes %lld and batch %lld need at least 1, sketch %lld and "
                        "tol %g at least 0",
                        (long long)opt->max_probes, (long long)opt->batch, (long long)opt->sketch,
                        opt->tol);
    hwb_trace_result r = {0};
    r.samples = hwb_calloc(ctx, (size_t)opt->max_probes * sizeof *r.samples);
    if (!r.samples) return HWB_ENOMEM;
    hwb__space sp = {0};
    hwb_status s = hwb__space_open(ctx, &sp, op);
    if (s == HWB_OK)
        s = opt->method == HWB_TRACE_HUTCHINSON ? hutchinson(ctx, &r, &sp, opt)
            : opt->method == HWB_TRACE_HUTCHPP  ? hwb__trace_hutchpp(ctx, &r, &sp, opt)
                                                : hwb__trace_xtrace(ctx, &r, &sp, opt);
    hwb__space_close(&sp);
    if (s != HWB_OK) {
        hwb_trace_free(&r);
        return s;
    }
    *out = r;
    return HWB_OK;
}
