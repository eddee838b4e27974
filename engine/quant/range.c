/*
 * range.c: from weights to scales and zero points (formulas in quant.h).
 */
#include "quant/quant_i.h"

#include <omp.h>

enum { MSE_POINTS = 80 };

hwb_quant_spec hwb_quant_defaults(void) {
    return (hwb_quant_spec){.bits = 8,
                            .scheme = HWB_QUANT_SYMMETRIC,
                            .granularity = HWB_QUANT_PER_CHANNEL,
                            .group_rows = 1,
                            .ranging = HWB_QUANT_MINMAX,
                            .percentile = 99.99};
}

hwb_status hwb_quant_check(hwb_ctx *ctx, const hwb_quant_spec *s) {
    if (s->bits < 1 || s->bits > HWB_QUANT_MAX_BITS)
        return hwb_fail(ctx, HWB_EARG, "quantize to %d bits: 1 to %d are possible", s->bits,
                        HWB_QUANT_MAX_BITS);
    if (s->granularity == HWB_QUANT_PER_GROUP && s->group_rows < 1)
        return hwb_fail(ctx, HWB_EARG, "groups of %lld rows: at least 1 needed",
                        (long long)s->group_rows);
    if (s->ranging == HWB_QUANT_PERCENTILE && !(s->percentile > 50 && s->percentile <= 100))
        return hwb_fail(ctx, HWB_EARG, "percentile %g: must lie above 50 and at most 100",
                        s->percentile);
    return HWB_OK;
}

int hwb_quant_lowest(const hwb_quant_spec *s) {
    return s->scheme == HWB_QUANT_SYMMETRIC ? -(1 << (s->bits - 1)) : 0;
}

int hwb_quant_highest(const hwb_quant_spec *s) {
    return hwb_quant_lowest(s) + (1 << s->bits) - 1;
}

void hwb_quant_params_free(hwb_quant_params *p) {
    if (!p) return;
    hwb_tensor_release(p->scale);
    hwb_tensor_release(p->zero);
    *p = (hwb_quant_params){0};
}

hwb__groups hwb__groups_of(const hwb_quant_spec *spec, const hwb_shape *shape) {
    hwb__groups g = {.rows = shape->ndim ? shape->dim[0] : 1, .cols = 1};
    for (int i = 1; i < shape->ndim; i++) g.cols *= shape->dim[i];
    g.group_rows = spec->granularity == HWB_QUANT_PER_CHANNEL ? 1
                   : spec->granularity == HWB_QUANT_PER_GROUP ? spec->group_rows
                                                              : g.rows;
    if (g.group_rows > g.rows) g.group_rows = g.rows;
    if (g.group_rows < 1) g.group_rows = 1;
    g.count = (g.rows + g.group_rows - 1) / g.group_rows;
    return g;
}

int64_t hwb_quant_groups(const hwb_quant_spec *spec, const hwb_shape *shape) {
    return hwb__groups_of(spec, shape).count;
}

hwb__step hwb__step_of(const hwb_quant_spec *spec, double scale, int zero) {
    return (hwb__step){.scale = scale,
                       .zero = zero,
                       .lo = hwb_quant_lowest(spec) - zero,
                       .hi = hwb_quant_highest(spec) - zero,
                       .sign = spec->bits == 1 && spec->scheme == HWB_QUANT_SYMMETRIC};
}

void hwb__scale_of(const hwb_quant_spec *spec, double lo, double hi, double *scale, int *zero) {
    if (spec->scheme == HWB_QUANT_SYMMETRIC) {
        double top = spec->bits > 1 ? (double)((1 << (spec->bits - 1)) - 1) : 1;
        *scale = fmax(fmax(fabs(lo), fabs(hi)) / top, HWB_QUANT_MIN_SCALE);
        *zero = 0;
        return;
    }
    if (lo > 0) lo = 0;
    if (hi < 0) hi = 0;
    *scale = fmax((hi - lo) / (double)((1 << spec->bits) - 1), HWB_QUANT_MIN_SCALE);
    *zero = (int)hwb__round(-lo / *scale);
}

int hwb__quant_threads(hwb_ctx *ctx, int64_t work) {
    if (work < 16384) return 1;
    int t = hwb_threads(ctx);
    return t > 0 ? t : omp_get_max_threads();
}

hwb_status hwb__dense_finite(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *w,
                             const char *what) {
    hwb_dtype d = hwb_tensor_dtype(w);
    if (!hwb_dtype_is_float(d))
        return hwb_fail(ctx, HWB_EDTYPE, "%s: needs float32 or float64, not %s", what,
                        hwb_dtype_name(d));
    hwb_tensor *t = NULL;
    HWB_TRY(hwb_tensor_contiguous(ctx, &t, (hwb_tensor *)(uintptr_t)w));
    if (!hwb_tensor_all_finite(t)) {
        char text[HWB_SHAPE_TEXT];
        int64_t n = hwb_tensor_numel(t), i = 0;
        while (i < n - 1 && isfinite(hwb__load(d, hwb_tensor_data(t), i))) i++;
        double x = hwb__load(d, hwb_tensor_data(t), i);
        hwb_tensor_release(t);
        return hwb_fail(ctx, HWB_ENUMERIC, "%s: element %lld of %lld (%s) is %g", what,
                        (long long)(i + 1), (long long)n, hwb_shape_text(hwb_tensor_shape(w), text),
                        x);
    }
    *out = t;
    return HWB_OK;
}

/* Hoare's selection with the middle element as pivot. */
double hwb__select(double *a, int64_t n, int64_t k) {
    int64_t lo = 0, hi = n - 1;
    while (lo < hi) {
        double pivot = a[lo + (hi - lo) / 2];
        int64_t i = lo, j = hi;
        while (i <= j) {
            while (a[i] < pivot) i++;
            while (a[j] > pivot) j--;
            if (i <= j) {
                double t = a[i];
                a[i++] = a[j];
                a[j--] = t;
            }
        }
        if (k <= j) hi = j;
        else if (k >= i) lo = i;
        else break;
    }
    return a[k];
}

int64_t hwb__percentile_rank(double p, int64_t n) {
    int64_t r = (int64_t)floor((double)n * p / 100 + 0.5) - 1;
    return r < 0 ? 0 : r > n - 1 ? n - 1 : r;
}

static double squared_error(const hwb__step *s, const double *w, int64_t n) {
    double e = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = s->scale * hwb__step_round(s, w[i]) - w[i];
        e += d * d;
    }
    return e;
}

/* The fraction f = 1/80 .. 80/80 of [lo,hi] with the least squared error; the
 * larger of two equals. */
static void search(const hwb_quant_spec *spec, const double *w, int64_t n, double *lo, double *hi,
                   int threads) {
    double err[MSE_POINTS];
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int i = 0; i < MSE_POINTS; i++) {
        double f = (double)(i + 1) / MSE_POINTS, scale;
        int zero;
        hwb__scale_of(spec, f * *lo, f * *hi, &scale, &zero);
        hwb__step s = hwb__step_of(spec, scale, zero);
        err[i] = squared_error(&s, w, n);
    }
    int best = MSE_POINTS - 1;
    for (int i = MSE_POINTS - 2; i >= 0; i--)
        if (err[i] < err[best]) best = i;
    double f = (double)(best + 1) / MSE_POINTS;
    *lo *= f;
    *hi *= f;
}

/* One group w[n] (scratch: reordered) -> S, z */
static void range_one(const hwb_quant_spec *spec, double *w, int64_t n, int threads, double *scale,
                      int *zero) {
    double lo = n ? w[0] : 0, hi = lo, sum = 0;
    bool symmetric = spec->scheme == HWB_QUANT_SYMMETRIC;
    for (int64_t i = 0; i < n; i++) {
        if (w[i] < lo) lo = w[i];
        if (w[i] > hi) hi = w[i];
        sum += fabs(w[i]);
    }
    if (symmetric && spec->bits == 1) {
        *scale = fmax(n ? sum / (double)n : 0, HWB_QUANT_MIN_SCALE);
        *zero = 0;
        return;
    }
    if (n && spec->ranging == HWB_QUANT_PERCENTILE) {
        if (symmetric) {
            for (int64_t i = 0; i < n; i++) w[i] = fabs(w[i]);
            lo = hi = hwb__select(w, n, hwb__percentile_rank(spec->percentile, n));
        } else {
            hi = hwb__select(w, n, hwb__percentile_rank(spec->percentile, n));
            lo = hwb__select(w, n, hwb__percentile_rank(100 - spec->percentile, n));
        }
    } else if (n && spec->ranging == HWB_QUANT_MSE) {
        search(spec, w, n, &lo, &hi, threads);
    }
    hwb__scale_of(spec, lo, hi, scale, zero);
}

/* All groups; each thread copies its group into its own part of `scratch`. */
static void range_all(const hwb_quant_spec *spec, const hwb_tensor *w, const hwb__groups *g,
                      hwb_quant_params *p, double *scratch, int64_t size, int threads) {
    hwb_dtype d = hwb_tensor_dtype(w);
    const void *data = hwb_tensor_data(w);
    int outer = g->count > 1 ? threads : 1, inner = g->count > 1 ? 1 : threads;
#pragma omp parallel for schedule(static) num_threads(outer) if (outer > 1)
    for (int64_t i = 0; i < g->count; i++) {
        double *buffer = scratch + (int64_t)omp_get_thread_num() * size, scale;
        if (outer == 1) buffer = scratch;
        int64_t at = i * size, all = g->rows * g->cols, len = all - at < size ? all - at : size;
        int zero;
        for (int64_t j = 0; j < len; j++) buffer[j] = hwb__load(d, data, at + j);
        range_one(spec, buffer, len, inner, &scale, &zero);
        hwb__store(d, hwb_tensor_data(p->scale), i, scale);
        ((int32_t *)hwb_tensor_data(p->zero))[i] = zero;
    }
}

hwb_status hwb_quant_range(hwb_ctx *ctx, hwb_quant_params *out, const hwb_tensor *w,
                           const hwb_quant_spec *spec) {
    HWB_TRY(hwb_quant_check(ctx, spec));
    hwb_tensor *t = NULL;
    HWB_TRY(hwb__dense_finite(ctx, &t, w, "quantize"));
    hwb__groups g = hwb__groups_of(spec, hwb_tensor_shape(t));
    hwb_quant_params p = {.spec = *spec, .group_rows = g.group_rows};
    hwb_shape shape = {.ndim = 1, .dim = {g.count}};
    int threads = hwb__quant_threads(ctx, g.rows * g.cols);
    int64_t size = g.group_rows * g.cols;
    double *scratch = NULL;
    hwb_status s;
    HWB_GOTO(done, s, hwb_tensor_new(ctx, &p.scale, hwb_tensor_dtype(t), shape));
    HWB_GOTO(done, s, hwb_tensor_new(ctx, &p.zero, HWB_I32, shape));
    int64_t buffers = g.count > 1 ? threads : 1;
    scratch = hwb_alloc(ctx, (size_t)(buffers * size) * sizeof *scratch);
    HWB_GOTO(done, s, scratch ? HWB_OK : HWB_ENOMEM);
    range_all(spec, t, &g, &p, scratch, size, threads);
done:
    hwb_free(scratch);
    hwb_tensor_release(t);
    if (s != HWB_OK) {
        hwb_quant_params_free(&p);
        return s;
    }
    *out = p;
    return HWB_OK;
}
