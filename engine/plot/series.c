/*
 * Adding series: checks, copies, and the two that compute (histogram, spectral
 * density).  A series is linked in only when it is complete.
 */
#include "plot/plot_i.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BINS = 100000 };

/* Everything an add function needs; `status` sticks. */
typedef struct adder {
    hwb_ctx *ctx;
    hwb_axes *axes;
    hwb__plot_arena *a;
    hwb__series *s;
    hwb_status status;
} adder;

static adder begin(hwb_ctx *ctx, hwb_axes *axes, hwb__series_kind kind) {
    adder d = {.ctx = ctx, .axes = axes};
    if (!axes) {
        d.status = hwb_fail(ctx, HWB_EARG, "figure: no such panel");
        return d;
    }
    d.a = &axes->fig->arena;
    d.s = hwb__plot_get(ctx, d.a, sizeof *d.s);
    if (!d.s) d.status = HWB_ENOMEM;
    else d.s->kind = kind;
    return d;
}

static hwb_status finish(adder *d) {
    if (d->status != HWB_OK) return d->status;
    if (d->axes->last) d->axes->last->next = d->s;
    else d->axes->first = d->s;
    d->axes->last = d->s;
    return HWB_OK;
}

/* n must be >= 0 and `v` there when it is > 0. */
static void need(adder *d, const char *what, int64_t n, const void *v) {
    if (d->status != HWB_OK) return;
    if (n < 0 || (n > 0 && !v))
        d->status = hwb_fail(d->ctx, HWB_EARG, "figure: %s: %lld values%s", what, (long long)n,
                             v ? "" : ", none given");
}

static double *copy(adder *d, int64_t n, const double *v) {
    if (d->status != HWB_OK || !v) return NULL;
    double *p = hwb__plot_copy(d->ctx, d->a, n, v);
    if (!p) d->status = HWB_ENOMEM;
    return p;
}

static double *fresh(adder *d, int64_t n) {
    if (d->status != HWB_OK) return NULL;
    double *p = hwb__plot_array(d->ctx, d->a, n, sizeof *p);
    if (!p) d->status = HWB_ENOMEM;
    return p;
}

static const char *copy_text(adder *d, const char *text) {
    if (d->status != HWB_OK || !text) return NULL;
    const char *p = hwb__plot_copy_text(d->ctx, d->a, text);
    if (!p) d->status = HWB_ENOMEM;
    return p;
}

static const char **copy_names(adder *d, int64_t n, const char *const *names) {
    if (d->status != HWB_OK || !names) return NULL;
    const char **p = hwb__plot_array(d->ctx, d->a, n, sizeof *p);
    if (!p) d->status = HWB_ENOMEM;
    for (int64_t i = 0; i < n && d->status == HWB_OK; i++) p[i] = copy_text(d, names[i]);
    return p;
}

static double *count_up(adder *d, int64_t n) {
    double *p = fresh(d, n);
    for (int64_t i = 0; p && i < n; i++) p[i] = (double)(i + 1);
    return p;
}

static bool within(double v, double lo, double hi) {
    return v >= lo && v <= hi;
}

static hwb__style style_of(adder *d, const hwb_plot_style *in, hwb__style def) {
    if (d->status != HWB_OK) return def;
    hwb_plot_style none = {0}, s = in ? *in : none;
    if (!within(s.width, 0, 100) || !within(s.size, 0, 200) || !within(s.alpha, 0, 1)) {
        d->status = hwb_fail(d->ctx, HWB_EARG,
                             "figure: width %g (0-100), size %g (0-200) or alpha %g (0-1)", s.width,
                             s.size, s.alpha);
        return def;
    }
    hwb_axes *base = d->axes->parent ? d->axes->parent : d->axes;
    def.color = s.color ? s.color & 0xFFFFFF : hwb__plot_palette(base->next_color++);
    if (s.width > 0) def.width = s.width;
    if (s.alpha > 0) def.alpha = s.alpha;
    if (s.size > 0) def.size = s.size;
    if (s.dash != HWB_DASH_SOLID) def.dash = s.dash;
    if (s.marker != HWB_MARKER_NONE) def.marker = s.marker;
    def.label = copy_text(d, s.label);
    return def;
}

/* ---- lines, points, bars ------------------------------------------------------------ */

static hwb_status add_line(hwb_ctx *ctx, hwb_axes *axes, int64_t n, const double *x,
                           const double *y, const hwb_line_opts *opts, hwb__style def) {
    adder d = begin(ctx, axes, HWB__LINE);
    hwb_line_opts none = {0}, o = opts ? *opts : none;
    need(&d, "line", n, y);
    if (d.status == HWB_OK && !o.band_lo != !o.band_hi)
        d.status = hwb_fail(ctx, HWB_EARG, "figure: a band needs both its edges");
    if (d.status != HWB_OK) return d.status;
    hwb__series *s = d.s;
    s->style = style_of(&d, &o.style, def);
    s->n = n;
    s->x = x ? copy(&d, n, x) : count_up(&d, n);
    s->y = copy(&d, n, y ? y : (const double[]){0});
    s->lo = copy(&d, n, o.band_lo);
    s->hi = copy(&d, n, o.band_hi);
    s->em = copy(&d, n, o.err_minus);
    s->ep = o.err_minus && o.err_plus ? copy(&d, n, o.err_plus) : s->em;
    s->names = copy_names(&d, n, o.text);
    s->step = o.step;
    return finish(&d);
}

hwb_status hwb_plot_line(hwb_ctx *ctx, hwb_axes *axes, int64_t n, const double *x, const double *y,
                         const hwb_line_opts *opts) {
    return add_line(ctx, axes, n, x, y, opts, (hwb__style){.width = 1.5, .alpha = 1, .size = 4.6});
}

hwb_status hwb_plot_scatter(hwb_ctx *ctx, hwb_axes *axes, int64_t n, const double *x,
                            const double *y, const hwb_line_opts *opts) {
    return add_line(ctx, axes, n, x, y, opts,
                    (hwb__style){.width = 1.5,
                                 .alpha = 1,
                                 .size = 5.2,
                                 .dash = HWB_DASH_NONE,
                                 .marker = HWB_MARKER_CIRCLE});
}

/* Names become the ticks of the category axis. */
static void set_ticks(adder *d, hwb_axis_id id, int64_t n, const double *at,
                      const char *const *names) {
    if (d->status == HWB_OK) d->status = hwb_axes_ticks(d->ctx, d->axes, id, n, at, names);
    if (d->status == HWB_OK) hwb__plot_axis(d->axes, id)->category = true;
}

hwb_status hwb_plot_bars(hwb_ctx *ctx, hwb_axes *axes, int64_t groups, int64_t n,
                         const double *values, const hwb_bars_opts *opts) {
    adder d = begin(ctx, axes, HWB__BARS);
    hwb_bars_opts none = {0}, o = opts ? *opts : none;
    int64_t total = 0;
    if (groups < 0 || n < 0 || !hwb_mul_size(groups, n, &total)) total = -1;
    need(&d, "bars", total, values);
    if (d.status == HWB_OK && !within(o.span, 0, 1))
        d.status = hwb_fail(ctx, HWB_EARG, "figure: bars span %g of a category; 0 to 1", o.span);
    if (d.status != HWB_OK) return d.status;
    hwb__series *s = d.s;
    s->groups = groups;
    s->n = n;
    s->y = copy(&d, total, values ? values : (const double[]){0});
    s->em = copy(&d, total, o.err_minus);
    s->ep = o.err_minus && o.err_plus ? copy(&d, total, o.err_plus) : s->em;
    s->horizontal = o.horizontal;
    s->values = o.values;
    s->span = o.span > 0 ? o.span : 0.8;
    s->styles = hwb__plot_array(ctx, d.a, groups, sizeof *s->styles);
    if (!s->styles) return HWB_ENOMEM;
    for (int64_t g = 0; g < groups; g++)
        s->styles[g] = style_of(&d, o.styles ? &o.styles[g] : NULL, (hwb__style){.alpha = 1});
    if (o.names) set_ticks(&d, o.horizontal ? HWB_AXIS_Y : HWB_AXIS_X, n, count_up(&d, n), o.names);
    return finish(&d);
}

/* ---- histogram ------------------------------------------------------------------------ */

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Freedman & Diaconis 1981: width 2 IQR n^(-1/3); v[n] sorted. */
static int64_t auto_bins(const double *v, int64_t n, double lo, double hi) {
    if (n < 2) return 1;
    double iqr = v[(3 * n) / 4] - v[n / 4], width = 2 * iqr / cbrt((double)n);
    double bins = width > 0 ? ceil((hi - lo) / width) : ceil(log2((double)n) + 1);
    return (int64_t)fmin(200, fmax(5, bins));
}

hwb_status hwb_plot_hist(hwb_ctx *ctx, hwb_axes *axes, int64_t n, const double *values,
                         const hwb_hist_opts *opts) {
    adder d = begin(ctx, axes, HWB__HIST);
    hwb_hist_opts none = {0}, o = opts ? *opts : none;
    need(&d, "hist", n, values);
    bool given = o.lo != 0 || o.hi != 0;
    if (d.status == HWB_OK && (o.bins < 0 || o.bins > MAX_BINS))
        d.status = hwb_fail(ctx, HWB_EARG, "figure: hist: %lld bins; 1 to %d", (long long)o.bins,
                            MAX_BINS);
    if (d.status == HWB_OK && given && !(o.hi > o.lo && isfinite(o.hi - o.lo)))
        d.status = hwb_fail(ctx, HWB_EARG, "figure: hist: range %g to %g", o.lo, o.hi);
    if (d.status != HWB_OK) return d.status;

    hwb__series *s = d.s;
    s->style = style_of(&d, &o.style, (hwb__style){.width = 0.6, .alpha = 0.75});
    double *v = hwb_alloc(ctx, (size_t)(n + 1) * sizeof *v); /* finite values, maybe their log */
    if (!v) return HWB_ENOMEM;
    int64_t m = 0;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(values[i]) && (!o.log_bins || values[i] > 0))
            v[m++] = o.log_bins ? log10(values[i]) : values[i];
    qsort(v, (size_t)m, sizeof *v, ascending);
    double lo = m ? v[0] : 0, hi = m ? v[m - 1] : 1;
    if (given && (!o.log_bins || o.lo > 0)) {
        lo = o.log_bins ? log10(o.lo) : o.lo;
        hi = o.log_bins ? log10(o.hi) : o.hi;
    }
    if (!(hi - lo > 1e-12 * fmax(fabs(lo), fabs(hi)))) lo -= 0.5, hi += 0.5;
    s->n = o.bins ? o.bins : auto_bins(v, m, lo, hi);
    s->x = fresh(&d, s->n + 1);
    s->y = fresh(&d, s->n);
    for (int64_t i = 0; d.status == HWB_OK && i <= s->n; i++) {
        double edge = lo + (hi - lo) * (double)i / (double)s->n;
        s->x[i] = o.log_bins ? pow(10, edge) : edge;
    }
    for (int64_t i = 0; d.status == HWB_OK && i < m; i++) {
        if (v[i] < lo || v[i] > hi) continue;
        int64_t k = (int64_t)((v[i] - lo) / (hi - lo) * (double)s->n);
        s->y[k < s->n ? k : s->n - 1] += 1; /* the last bin holds its right edge */
    }
    for (int64_t i = 0; d.status == HWB_OK && o.density && m && i < s->n; i++)
        s->y[i] /= (double)m * (s->x[i + 1] - s->x[i]);
    hwb_free(v);
    return finish(&d);
}

/* ---- spectral density --------------------------------------------------------------------- */

/* y[points] = sum_i w_i N(x; nodes_i, sigma^2) / sum_i w_i; returns the peak. */
static double smear(const hwb__series *s, int64_t n, const double *nodes, const double *weights,
                    double total, double sigma) {
    double peak = 0, unit = 1 / (sigma * sqrt(2 * M_PI) * total);
    for (int64_t k = 0; k < s->n; k++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++) {
            double z = (s->x[k] - nodes[i]) / sigma;
            if (weights[i] > 0 && fabs(z) < 12) sum += weights[i] * exp(-0.5 * z * z);
        }
        s->y[k] = sum * unit;
        peak = fmax(peak, s->y[k]);
    }
    return peak;
}

hwb_status hwb_plot_density(hwb_ctx *ctx, hwb_axes *axes, int64_t n, const double *nodes,
                            const double *weights, const hwb_density_opts *opts) {
    adder d = begin(ctx, axes, HWB__AREA);
    hwb_density_opts none = {0}, o = opts ? *opts : none;
    need(&d, "density nodes", n, nodes);
    need(&d, "density weights", n, weights);
    if (d.status == HWB_OK && (!within(o.sigma, 0, 1e300) || !within((double)o.points, 0, 1e6)))
        d.status = hwb_fail(ctx, HWB_EARG, "figure: density: sigma %g, %lld points", o.sigma,
                            (long long)o.points);
    double lo = INFINITY, hi = -INFINITY, total = 0, least = INFINITY;
    for (int64_t i = 0; d.status == HWB_OK && i < n; i++) {
        if (!isfinite(nodes[i]) || !isfinite(weights[i]) || weights[i] < 0) {
            d.status = hwb_fail(ctx, HWB_EARG, "figure: density: node %lld is %g with weight %g",
                                (long long)i + 1, nodes[i], weights[i]);
        } else if (weights[i] > 0) {
            lo = fmin(lo, nodes[i]), hi = fmax(hi, nodes[i]);
            least = fmin(least, weights[i]);
            total += weights[i];
        }
    }
    if (d.status != HWB_OK) return d.status;

    hwb__series *s = d.s;
    s->style = style_of(&d, &o.style, (hwb__style){.width = 1.3, .alpha = 1});
    s->filled = !o.no_fill;
    s->n = total > 0 ? (o.points ? o.points : 1200) : 0;
    double span = hi > lo ? hi - lo : total > 0 ? fmax(1e-12, 0.1 * fabs(lo)) : 1;
    double sigma = o.sigma > 0 ? o.sigma : 0.005 * span;
    double margin = fmax(4 * sigma, 0.04 * span);
    s->x = fresh(&d, s->n);
    s->y = fresh(&d, s->n);
    if (d.status != HWB_OK) return d.status;
    for (int64_t k = 0; k < s->n; k++)
        s->x[k] = lo - margin + (hi - lo + 2 * margin) * ((double)k + 0.5) / (double)s->n;
    double peak = smear(s, n, nodes, weights, total, sigma);
    /* The floor of a log axis lies below the faintest single eigenvalue. */
    if (s->n) {
        double bump = least / total / (sigma * sqrt(2 * M_PI));
        s->zlo = fmax(bump / 10, peak * 1e-10);
        for (int64_t k = 0; k < s->n; k++) s->y[k] = fmax(s->y[k], o.linear ? 0 : 1e-3 * s->zlo);
    }
    if (!o.linear) d.axes->axis[HWB_AXIS_Y].scale = HWB_SCALE_LOG;
    return finish(&d);
}

/* ---- fields ------------------------------------------------------------------------------------ */

static void check_monotone(adder *d, const char *name, int64_t n, const double *v) {
    if (d->status != HWB_OK || !v) return;
    for (int64_t i = 0; i < n; i++) {
        bool ok = isfinite(v[i]) && (i == 0 || (v[i] > v[i - 1] && v[n - 1] > v[0]) ||
                                     (v[i] < v[i - 1] && v[n - 1] < v[0]));
        if (ok) continue;
        d->status = hwb_fail(d->ctx, HWB_EARG,
                             "figure: %s of a field must rise or fall steadily"
                             " (value %lld is %g)",
                             name, (long long)i + 1, v[i]);
        return;
    }
}

static hwb_status add_field(hwb_ctx *ctx, hwb_axes *axes, hwb__series_kind kind, int64_t rows,
                            int64_t cols, const double *x, const double *y, const double *z,
                            const hwb_field_opts *opts) {
    adder d = begin(ctx, axes, kind);
    hwb_field_opts none = {0}, o = opts ? *opts : none;
    int64_t total = 0;
    if (rows < 0 || cols < 0 || rows > 20000 || cols > 20000 || !hwb_mul_size(rows, cols, &total))
        d.status = hwb_fail(ctx, HWB_EARG, "figure: a field of %lld x %lld values", (long long)rows,
                            (long long)cols);
    need(&d, "field", total, z);
    need(&d, "levels", o.level_count, o.levels ? (const void *)o.levels : (const void *)&o);
    check_monotone(&d, "x", cols, x);
    check_monotone(&d, "y", rows, y);
    if (d.status == HWB_OK && o.level_count > 1000)
        d.status = hwb_fail(ctx, HWB_EARG, "figure: %lld levels", (long long)o.level_count);
    if (d.status == HWB_OK && !(isfinite(o.lo) && isfinite(o.hi)))
        d.status = hwb_fail(ctx, HWB_EARG, "figure: colour range %g to %g", o.lo, o.hi);
    if (d.status != HWB_OK) return d.status;
    hwb__series *s = d.s;
    s->rows = rows, s->cols = cols;
    s->x = x ? copy(&d, cols, x) : count_up(&d, cols);
    s->y = y ? copy(&d, rows, y) : count_up(&d, rows);
    s->z = copy(&d, total, z ? z : (const double[]){0});
    s->zlo = o.lo, s->zhi = o.hi, s->zlog = o.log;
    s->colormap = o.colormap;
    s->colorbar = !o.no_colorbar && total > 0;
    s->filled = !o.no_fill;
    s->labels = !o.no_labels;
    s->values = o.values;
    s->top_down = o.top_down;
    s->level_count = o.level_count;
    s->levels = copy(&d, o.level_count, o.levels);
    s->style = (hwb__style){.width = 0.7, .alpha = 1};
    s->text = copy_text(&d, o.label);
    if (kind == HWB__HEAT && o.col_names) set_ticks(&d, HWB_AXIS_X, cols, s->x, o.col_names);
    if (kind == HWB__HEAT && o.row_names) set_ticks(&d, HWB_AXIS_Y, rows, s->y, o.row_names);
    return finish(&d);
}

hwb_status hwb_plot_heatmap(hwb_ctx *ctx, hwb_axes *axes, int64_t rows, int64_t cols,
                            const double *x, const double *y, const double *z,
                            const hwb_field_opts *opts) {
    return add_field(ctx, axes, HWB__HEAT, rows, cols, x, y, z, opts);
}

hwb_status hwb_plot_contour(hwb_ctx *ctx, hwb_axes *axes, int64_t rows, int64_t cols,
                            const double *x, const double *y, const double *z,
                            const hwb_field_opts *opts) {
    return add_field(ctx, axes, HWB__CONTOUR, rows, cols, x, y, z, opts);
}

/* ---- annotations --------------------------------------------------------------------------------- */

hwb_status hwb_plot_text(hwb_ctx *ctx, hwb_axes *axes, double x, double y, const char *text,
                         const hwb_text_opts *opts) {
    adder d = begin(ctx, axes, HWB__TEXT);
    hwb_text_opts none = {0}, o = opts ? *opts : none;
    need(&d, "text", 1, text);
    if (d.status == HWB_OK && (!within(o.size, 0, 200) || !(fabs(o.dx) < 1e4 && fabs(o.dy) < 1e4)))
        d.status =
            hwb_fail(ctx, HWB_EARG, "figure: text of size %g at offset %g, %g", o.size, o.dx, o.dy);
    if (d.status != HWB_OK) return d.status;
    d.s->n = 1;
    d.s->x = copy(&d, 1, &x);
    d.s->y = copy(&d, 1, &y);
    d.s->text = copy_text(&d, text);
    d.s->dx = o.dx, d.s->dy = o.dy;
    d.s->arrow = o.arrow;
    d.s->style = (hwb__style){.color = o.color ? o.color & 0xFFFFFF : 0x262626,
                              .alpha = 1,
                              .size = o.size > 0 ? o.size : 9};
    return finish(&d);
}

hwb_status hwb_plot_rule(hwb_ctx *ctx, hwb_axes *axes, hwb_axis_id axis, double value,
                         const hwb_plot_style *style) {
    adder d = begin(ctx, axes, HWB__RULE);
    if (d.status != HWB_OK) return d.status;
    hwb_plot_style s = style ? *style : (hwb_plot_style){.dash = HWB_DASH_DASHED};
    if (!s.color) s.color = HWB_RGB(0x666666);
    d.s->style = style_of(&d, &s, (hwb__style){.width = 1, .alpha = 1});
    d.s->n = 1;
    d.s->axis = axis;
    d.s->x = copy(&d, 1, &value);
    return finish(&d);
}
