/*
 * Ranges: which part of the number line an axis shows, and the map from values
 * to canvas positions.
 *
 * A series contributes its extent; a side may be "tight" (a bar's foot, the
 * edge of a field), where no margin is added.  On a log axis only positive
 * values count.
 */
#include "plot/plot_i.h"

#include <math.h>

typedef struct extent {
    double lo, hi;
    bool any, tight_lo, tight_hi, log;
} extent;

static void cover(extent *e, double v) {
    if (!isfinite(v) || (e->log && v <= 0)) return;
    if (!e->any || v < e->lo) e->lo = v;
    if (!e->any || v > e->hi) e->hi = v;
    e->any = true;
}

static bool placeable(double v, bool log) {
    return isfinite(v) && (!log || v > 0);
}

/* A point counts only when its other coordinate can be placed too. */
static void cover_line(extent *e, const hwb__series *s, hwb_axis_id id, bool other_log) {
    for (int64_t i = 0; i < s->n; i++) {
        double own = id == HWB_AXIS_X ? s->x[i] : s->y[i];
        if (!placeable(id == HWB_AXIS_X ? s->y[i] : s->x[i], other_log)) continue;
        cover(e, own);
        if (id == HWB_AXIS_X || !isfinite(own)) continue;
        if (s->em) {
            cover(e, own - s->em[i]);
            cover(e, own + s->ep[i]);
        }
        if (s->lo) {
            cover(e, s->lo[i]);
            cover(e, s->hi[i]);
        }
    }
}

static void cover_bars(extent *e, const hwb__series *s, hwb_axis_id id) {
    if ((id == HWB_AXIS_X) != s->horizontal) {
        cover(e, 0.5);
        cover(e, (double)s->n + 0.5);
        e->tight_lo = e->tight_hi = true;
        return;
    }
    for (int64_t i = 0; i < s->groups * s->n; i++) {
        cover(e, s->y[i]);
        if (s->em && isfinite(s->y[i])) {
            cover(e, s->y[i] - s->em[i]);
            cover(e, s->y[i] + s->ep[i]);
        }
    }
    if (!e->log) cover(e, 0);
    if (e->any && e->lo == 0) e->tight_lo = true;
    if (e->any && e->hi == 0) e->tight_hi = true;
}

/* Cells reach half a step beyond their centres; at[] runs up or down. */
static void cover_field(extent *e, const double *at, int64_t n, bool cells) {
    if (n == 0) return;
    double first = at[0], last = at[n - 1];
    double half0 = n > 1 ? (at[1] - at[0]) / 2 : 0.5, half1 = n > 1 ? (last - at[n - 2]) / 2 : 0.5;
    cover(e, cells ? first - half0 : first);
    cover(e, cells ? last + half1 : last);
    if (cells && e->log) cover(e, first);
    e->tight_lo = e->tight_hi = true;
}

static void cover_series(extent *e, const hwb__series *s, hwb_axis_id id, bool other_log) {
    switch (s->kind) {
    case HWB__LINE: cover_line(e, s, id, other_log); break;
    case HWB__AREA:
        for (int64_t i = 0; i < s->n; i++) {
            double v = id == HWB_AXIS_X ? s->x[i] : s->y[i];
            if (id == HWB_AXIS_X || !e->log || v >= s->zlo) cover(e, v);
        }
        if (id == HWB_AXIS_Y) cover(e, e->log ? s->zlo : 0);
        e->tight_lo = true;
        e->tight_hi = id == HWB_AXIS_X;
        break;
    case HWB__HIST:
        if (id == HWB_AXIS_X) {
            for (int64_t i = 0; i <= s->n; i++) cover(e, s->x[i]);
        } else {
            for (int64_t i = 0; i < s->n; i++) cover(e, s->y[i]);
            if (e->log && e->any) e->lo /= 2; /* so that the least bar shows */
            cover(e, 0);
            e->tight_lo = true;
        }
        break;
    case HWB__BARS: cover_bars(e, s, id); break;
    case HWB__HEAT:
    case HWB__CONTOUR:
        if (id == HWB_AXIS_X) cover_field(e, s->x, s->cols, s->kind == HWB__HEAT);
        else cover_field(e, s->y, s->rows, s->kind == HWB__HEAT);
        break;
    case HWB__TEXT: cover(e, id == HWB_AXIS_X ? s->x[0] : s->y[0]); break;
    case HWB__RULE:
        if (s->axis == id) cover(e, s->x[0]);
        break;
    }
}

static void add_all(extent *e, const hwb_axes *axes, hwb_axis_id id, bool other_log) {
    for (const hwb__series *s = axes->first; s; s = s->next) {
        extent one = {.log = e->log};
        cover_series(&one, s, id, other_log);
        if (!one.any) continue;
        if (!e->any || one.lo < e->lo) e->tight_lo = one.tight_lo;
        else if (one.lo == e->lo) e->tight_lo |= one.tight_lo;
        if (!e->any || one.hi > e->hi) e->tight_hi = one.tight_hi;
        else if (one.hi == e->hi) e->tight_hi |= one.tight_hi;
        e->lo = e->any ? fmin(e->lo, one.lo) : one.lo;
        e->hi = e->any ? fmax(e->hi, one.hi) : one.hi;
        e->any = true;
    }
}

/* Margins, in log10 when the axis is logarithmic. */
static void widen(extent *e, double share) {
    if (!e->any) {
        e->lo = e->log ? 1 : 0;
        e->hi = e->log ? 10 : 1;
        return;
    }
    double lo = e->log ? log10(e->lo) : e->lo, hi = e->log ? log10(e->hi) : e->hi;
    double span = hi - lo;
    /* One value only, or so close that ticks could not tell the ends apart. */
    if (span <= 1e-12 * fmax(fabs(lo), fabs(hi)) || span <= 0) {
        double half = e->log ? 0.3 : lo == 0 ? 0.5 : 0.1 * fabs(lo);
        if (!e->tight_lo || e->tight_hi) lo -= half;
        if (!e->tight_hi || e->tight_lo) hi += half;
        if (lo == 0 && !e->log && hi <= 0) hi = 1;
    } else {
        if (!e->tight_lo) lo -= share * span;
        if (!e->tight_hi) hi += share * span;
    }
    /* Beyond the double range nothing can be shown; keep the ends finite. */
    double cap = e->log ? 307 : 1e300;
    e->lo = fmax(-cap, fmin(cap, lo));
    e->hi = fmax(-cap, fmin(cap, hi));
    if (e->log) {
        e->lo = pow(10, e->lo);
        e->hi = pow(10, e->hi);
    }
}

void hwb__plot_range(const hwb_axes *axes, hwb_axis_id id, hwb__scale *out) {
    const hwb_axes *base = axes->parent ? axes->parent : axes;
    const hwb_axes *own = id == HWB_AXIS_X ? base : axes; /* twins share x */
    const hwb__axis *axis = &own->axis[id];
    extent e = {.log = axis->scale == HWB_SCALE_LOG};
    if (id == HWB_AXIS_X) {
        add_all(&e, base, id, base->axis[HWB_AXIS_Y].scale == HWB_SCALE_LOG);
        if (base->twin)
            add_all(&e, base->twin, id, base->twin->axis[HWB_AXIS_Y].scale == HWB_SCALE_LOG);
    } else add_all(&e, axes, id, base->axis[HWB_AXIS_X].scale == HWB_SCALE_LOG);
    widen(&e, id == HWB_AXIS_X ? 0.03 : 0.05);

    double lo = axis->lo, hi = axis->hi;
    if (e.log && lo <= 0) lo = NAN;
    if (e.log && hi <= 0) hi = NAN;
    bool turn = lo > hi;
    bool fixed_lo = !isnan(lo), fixed_hi = !isnan(hi);
    if (!turn) {
        /* One end given beyond the data's other end: keep a proper interval. */
        if (fixed_lo && !fixed_hi && e.hi <= lo) e.hi = e.log ? 10 * lo : lo + fabs(lo) + 1;
        if (fixed_hi && !fixed_lo && e.lo >= hi) e.lo = e.log ? hi / 10 : hi - fabs(hi) - 1;
    }
    *out = (hwb__scale){.lo = fixed_lo ? lo : e.lo, .hi = fixed_hi ? hi : e.hi, .log = e.log};
    /* Categories and rows that run from the top down turn the y axis. */
    if (id == HWB_AXIS_Y && !fixed_lo && !fixed_hi)
        for (const hwb__series *s = axes->first; s; s = s->next)
            if ((s->kind == HWB__BARS && s->horizontal) || (s->kind == HWB__HEAT && s->top_down)) {
                *out = (hwb__scale){.lo = e.hi, .hi = e.lo, .log = e.log};
                break;
            }
}

double hwb__plot_map(const hwb__scale *s, double v) {
    if (!placeable(v, s->log)) return NAN;
    double lo = s->log ? log10(s->lo) : s->lo, hi = s->log ? log10(s->hi) : s->hi;
    double t = ((s->log ? log10(v) : v) - lo) / (hi - lo);
    double p = s->p0 + t * (s->p1 - s->p0);
    double a = fmin(s->p0, s->p1) - 1e5, b = fmax(s->p0, s->p1) + 1e5;
    return fmin(b, fmax(a, p)); /* cairo's coordinates are 24-bit */
}

void hwb__plot_zrange(const hwb__series *s, double *lo, double *hi) {
    extent e = {.log = s->zlog};
    for (int64_t i = 0; i < s->rows * s->cols; i++) cover(&e, s->z[i]);
    if (!e.any) e.lo = s->zlog ? 1 : 0, e.hi = s->zlog ? 10 : 1;
    if (s->colormap == HWB_COLORMAP_DIVERGING && !s->zlog) { /* zero is the middle colour */
        double m = fmax(fabs(e.lo), fabs(e.hi));
        e.lo = -m, e.hi = m;
    }
    bool given = s->zlo != 0 || s->zhi != 0;
    *lo = given && !(s->zlog && s->zlo <= 0) ? s->zlo : e.lo;
    *hi = given && !(s->zlog && s->zhi <= 0) ? s->zhi : e.hi;
    if (!(*hi > *lo)) *hi = s->zlog ? *lo * 10 : *lo + (*lo == 0 ? 1 : fabs(*lo));
}

double hwb__plot_zunit(const hwb__series *s, double lo, double hi, double z) {
    if (isnan(z) || (s->zlog && z <= 0)) return NAN;
    double t = s->zlog ? (log10(z) - log10(lo)) / (log10(hi) - log10(lo)) : (z - lo) / (hi - lo);
    return fmin(1, fmax(0, t));
}
