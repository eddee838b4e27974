/*
 * observer.c: the range of an activation over many batches.
 *
 * The percentile observer keeps a histogram of BINS equal bins on [lo, lo +
 * BINS·width).  A value outside doubles the width and folds neighbouring bins
 * together, towards the side where room is needed, so counts stay exact and
 * the order of batches matters only within one bin's width.
 */
#include "quant/quant_i.h"

#include <float.h>

enum { BINS = 4096 };

struct hwb_observer {
    hwb_observer_kind kind;
    double value;
    bool seen;
    double lo, hi; /* running range; the exact extremes for a histogram */
    double left, width;
    int64_t total;
    int64_t bin[BINS];
};

hwb_status hwb_observer_new(hwb_ctx *ctx, hwb_observer **out, hwb_observer_kind kind,
                            double value) {
    if (kind == HWB_OBSERVE_EMA && !(value >= 0 && value < 1))
        return hwb_fail(ctx, HWB_EARG, "observer: momentum %g must lie in [0, 1)", value);
    if (kind == HWB_OBSERVE_PERCENTILE && !(value > 50 && value <= 100))
        return hwb_fail(ctx, HWB_EARG, "observer: percentile %g must lie in (50, 100]", value);
    hwb_observer *o = hwb_calloc(ctx, sizeof *o);
    if (!o) return HWB_ENOMEM;
    o->kind = kind;
    o->value = value;
    *out = o;
    return HWB_OK;
}

void hwb_observer_free(hwb_observer *o) {
    hwb_free(o);
}

/* Twice the width; bins move towards the end that must keep its place. */
static void widen(hwb_observer *o, bool to_left) {
    if (to_left) {
        for (int i = BINS / 2 - 1; i >= 0; i--)
            o->bin[BINS / 2 + i] = o->bin[2 * i] + o->bin[2 * i + 1];
        memset(o->bin, 0, BINS / 2 * sizeof o->bin[0]);
        o->left -= o->width * BINS;
    } else {
        for (int i = 0; i < BINS / 2; i++) o->bin[i] = o->bin[2 * i] + o->bin[2 * i + 1];
        memset(o->bin + BINS / 2, 0, BINS / 2 * sizeof o->bin[0]);
    }
    o->width *= 2;
}

static void count(hwb_observer *o, const void *x, hwb_dtype d, int64_t n, double lo, double hi) {
    if (!o->seen) {
        double span = hi - lo;
        o->left = lo;
        /* A constant first batch gets bins far finer than its value. */
        o->width = fmax((span > 0 ? span : fmax(fabs(hi), 1e-3) * 1e-3) / (BINS - 1), DBL_MIN);
    }
    while (lo < o->left) widen(o, true);
    while (hi >= o->left + o->width * BINS) widen(o, false);
    for (int64_t i = 0; i < n; i++) {
        int64_t b = (int64_t)((hwb__load(d, x, i) - o->left) / o->width);
        o->bin[b < 0 ? 0 : b >= BINS ? BINS - 1 : b]++;
    }
    o->total += n;
}

hwb_status hwb_observer_update(hwb_ctx *ctx, hwb_observer *o, const hwb_tensor *x) {
    hwb_tensor *t = NULL;
    HWB_TRY(hwb__dense_finite(ctx, &t, x, "activation range"));
    int64_t n = hwb_tensor_numel(t);
    if (n == 0) {
        hwb_tensor_release(t);
        return HWB_OK;
    }
    hwb_dtype d = hwb_tensor_dtype(t);
    const void *p = hwb_tensor_data(t);
    double lo = hwb__load(d, p, 0), hi = lo;
    for (int64_t i = 1; i < n; i++) {
        double v = hwb__load(d, p, i);
        if (v < lo) lo = v;
        if (v > hi) hi = v;
    }
    if (o->kind == HWB_OBSERVE_PERCENTILE) count(o, p, d, n, lo, hi);
    if (!o->seen) {
        o->lo = lo;
        o->hi = hi;
    } else if (o->kind == HWB_OBSERVE_EMA) {
        o->lo = o->value * o->lo + (1 - o->value) * lo;
        o->hi = o->value * o->hi + (1 - o->value) * hi;
    } else {
        o->lo = fmin(o->lo, lo);
        o->hi = fmax(o->hi, hi);
    }
    o->seen = true;
    hwb_tensor_release(t);
    return HWB_OK;
}

/* Value below which `rank` + 1 of all values lie: linear inside its bin. */
static double quantile(const hwb_observer *o, int64_t rank) {
    int64_t below = 0;
    int i = 0;
    while (i < BINS - 1 && below + o->bin[i] <= rank) below += o->bin[i++];
    double part = o->bin[i] ? ((double)(rank - below) + 0.5) / (double)o->bin[i] : 0;
    return fmin(fmax(o->left + o->width * (i + part), o->lo), o->hi);
}

hwb_status hwb_observer_range(hwb_ctx *ctx, const hwb_observer *o, double *lo, double *hi) {
    if (!o->seen)
        return hwb_fail(ctx, HWB_EARG, "activation range asked before any value was seen");
    bool all = o->kind != HWB_OBSERVE_PERCENTILE || o->value == 100;
    *lo = all ? o->lo : quantile(o, hwb__percentile_rank(100 - o->value, o->total));
    *hi = all ? o->hi : quantile(o, hwb__percentile_rank(o->value, o->total));
    return HWB_OK;
}
