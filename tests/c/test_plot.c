/*
 * plot, the parts that compute: number text, ticks, ranges, histograms,
 * spectral densities, level lines, and what is refused.
 */
#include "testing.h"

#include <locale.h>

#include "plot/canvas_i.h"

static const char *fixed(double v, int decimals) {
    static char out[64];
    hwb__plot_fixed(out, sizeof out, v, decimals);
    return out;
}

static const char *brief(double v, int digits) {
    static char out[64];
    hwb__plot_short(out, sizeof out, v, digits);
    return out;
}

static void test_number_text(void **state) {
    (void)state;
    assert_string_equal(fixed(0, 0), "0");
    assert_string_equal(fixed(0.125, 2), "0.13");
    assert_string_equal(fixed(-2.5, 1), "−2.5");
    assert_string_equal(fixed(-0.001, 2), "0.00"); /* never "−0.00" */
    assert_string_equal(fixed(1234567, 0), "1234567");
    assert_string_equal(fixed(0.05, 3), "0.050");
    assert_string_equal(brief(0, 3), "0");
    assert_string_equal(brief(141.23, 4), "141.2");
    assert_string_equal(brief(9.996, 3), "10");
    assert_string_equal(brief(99999, 3), "99999");
    assert_string_equal(brief(1.5e7, 3), "1.5×10^{7}");
    assert_string_equal(brief(-2e-5, 3), "−2×10^{−5}");
    assert_string_equal(brief(0.00123, 2), "0.0012");
    assert_string_equal(brief(NAN, 3), "nan");
    assert_string_equal(brief(-INFINITY, 3), "−inf");
}

/* The text of numbers does not follow the host program's locale. */
static void test_number_text_locale(void **state) {
    (void)state;
    const char *comma[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE.utf8"};
    bool found = false;
    for (int i = 0; i < 3 && !found; i++) found = setlocale(LC_NUMERIC, comma[i]) != NULL;
    if (!found) TEST_SKIP("no locale with a decimal comma is installed");
    assert_string_equal(fixed(1.5, 1), "1.5");
    assert_string_equal(brief(0.25, 2), "0.25");
    setlocale(LC_NUMERIC, "C");
}

/* ---- ticks ------------------------------------------------------------------- */

/* "0 0.5 1" for a range, joined by blanks. */
static const char *ticks(hwb_ctx *ctx, double lo, double hi, bool log, int want, int *exponent) {
    static char out[1024];
    hwb__plot_arena a = {0};
    hwb__ticks t;
    hwb__scale s = {.lo = lo, .hi = hi, .log = log};
    assert_ok(ctx, hwb__plot_ticks(ctx, &a, &t, &s, NULL, want));
    out[0] = 0;
    for (int64_t i = 0; i < t.n; i++) {
        assert_true(t.at[i] >= fmin(lo, hi) - 1e-9 * fabs(lo));
        assert_true(t.at[i] <= fmax(lo, hi) + 1e-9 * fabs(hi));
        strcat(out, i ? " " : "");
        strcat(out, t.label[i]);
    }
    if (exponent) *exponent = t.exponent;
    hwb__plot_arena_free(&a);
    return out;
}

static void test_ticks(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    int e;
    assert_string_equal(ticks(ctx, 0, 1, false, 5, &e), "0.0 0.2 0.4 0.6 0.8 1.0");
    assert_int_equal(e, 0);
    assert_string_equal(ticks(ctx, -3, 97, false, 5, NULL), "0 20 40 60 80");
    assert_string_equal(ticks(ctx, 97, -3, false, 5, NULL), "0 20 40 60 80");
    assert_string_equal(ticks(ctx, -1, 1, false, 5, NULL), "−1.0 −0.5 0.0 0.5 1.0");
    assert_string_equal(ticks(ctx, 0, 10, false, 4, NULL), "0.0 2.5 5.0 7.5 10.0");
    assert_string_equal(ticks(ctx, 1000.1, 1000.4, false, 3, NULL), "1000.1 1000.2 1000.3 1000.4");
    assert_string_equal(ticks(ctx, 0, 2e7, false, 4, &e), "0.0 0.5 1.0 1.5 2.0");
    assert_int_equal(e, 7);
    assert_string_equal(ticks(ctx, 0, 3e-6, false, 3, &e), "0 1 2 3");
    assert_int_equal(e, -6);
    /* logarithmic: decades in plain numbers near 1, else as powers */
    assert_string_equal(ticks(ctx, 0.05, 300, true, 9, NULL), "0.1 1 10 100");
    assert_string_equal(ticks(ctx, 1e-7, 2, true, 9, NULL),
                        "10^{−7} 10^{−6} 10^{−5} 10^{−4} 10^{−3} 10^{−2} 10^{−1} 10^{0}");
    assert_string_equal(ticks(ctx, 1e-12, 1, true, 4, NULL), "10^{−12} 10^{−8} 10^{−4} 10^{0}");
    assert_string_equal(ticks(ctx, 3, 60, true, 6, NULL), "5 10 20 50");
    assert_string_equal(ticks(ctx, 20, 23, true, 6, NULL), "20.0 20.5 21.0 21.5 22.0 22.5 23.0");
    test_ctx_free(ctx);
}

static void test_minor_ticks(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb__plot_arena a = {0};
    hwb__ticks t;
    hwb__scale s = {.lo = 1, .hi = 100, .log = true};
    assert_ok(ctx, hwb__plot_ticks(ctx, &a, &t, &s, NULL, 9));
    assert_int_equal(t.n, 3);
    assert_int_equal(t.minor_n, 16); /* 2…9 and 20…90 */
    assert_near(t.minor[0], 2, 1e-12);
    assert_near(t.minor[15], 90, 1e-12);
    hwb__plot_arena_free(&a);
    test_ctx_free(ctx);
}

/* Ticks keep their promises over many random ranges. */
static void test_ticks_property(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_rng rng = {3, 1};
    for (uint64_t i = 0; i < 400; i++) {
        bool log = i % 2;
        double lo =
            log ? pow(10, 20 * hwb_rng_uniform(rng, 4 * i) - 10) : hwb_rng_normal(rng, 4 * i);
        double hi = log ? lo * pow(10, 0.01 + 12 * hwb_rng_uniform(rng, 4 * i + 1))
                        : lo + exp(10 * hwb_rng_normal(rng, 4 * i + 1));
        int want = 2 + (int)(i % 9);
        hwb__plot_arena a = {0};
        hwb__ticks t;
        hwb__scale s = {.lo = lo, .hi = hi, .log = log};
        assert_ok(ctx, hwb__plot_ticks(ctx, &a, &t, &s, NULL, want));
        assert_true(t.n >= 1 && t.n <= want + 6);
        for (int64_t k = 1; k < t.n; k++) {
            assert_true(t.at[k] > t.at[k - 1]);
            assert_string_not_equal(t.label[k], t.label[k - 1]);
        }
        hwb__plot_arena_free(&a);
    }
    test_ctx_free(ctx);
}

/* ---- ranges --------------------------------------------------------------------- */

static hwb_figure *figure(hwb_ctx *ctx, hwb_axes **ax) {
    hwb_figure *fig = NULL;
    assert_ok(ctx, hwb_figure_new(ctx, &fig, NULL));
    *ax = hwb_figure_axes(fig, 0, 0);
    return fig;
}

static void assert_view(hwb_ctx *ctx, hwb_axes *ax, hwb_axis_id id, double lo, double hi) {
    double a, b;
    assert_ok(ctx, hwb_axes_view(ctx, ax, id, &a, &b));
    assert_near(a, lo, 1e-9);
    assert_near(b, hi, 1e-9);
}

static void test_ranges(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_axes *ax;
    hwb_figure *fig = figure(ctx, &ax);
    assert_view(ctx, ax, HWB_AXIS_X, 0, 1); /* nothing to show */

    /* A margin of 3 % and 5 %; points with a coordinate missing do not count. */
    double x[5] = {0, 100, 50, 900, NAN}, y[5] = {-1, 1, 0, INFINITY, 77};
    assert_ok(ctx, hwb_plot_line(ctx, ax, 5, x, y, NULL));
    assert_view(ctx, ax, HWB_AXIS_X, -3, 103);
    assert_view(ctx, ax, HWB_AXIS_Y, -1.1, 1.1);

    assert_ok(ctx, hwb_axes_limits(ctx, ax, HWB_AXIS_Y, NAN, 5));
    assert_view(ctx, ax, HWB_AXIS_Y, -1.1, 5);
    assert_ok(ctx, hwb_axes_limits(ctx, ax, HWB_AXIS_Y, 5, -5)); /* turned round */
    assert_view(ctx, ax, HWB_AXIS_Y, 5, -5);
    assert_ok(ctx, hwb_axes_limits(ctx, ax, HWB_AXIS_Y, 50, NAN)); /* beyond the data */
    double lo, hi;
    assert_ok(ctx, hwb_axes_view(ctx, ax, HWB_AXIS_Y, &lo, &hi));
    assert_true(lo == 50 && hi > 50);
    hwb_figure_free(fig);

    /* Bars stand on zero; error bars count. */
    fig = figure(ctx, &ax);
    double v[3] = {1, 2, 4}, err[3] = {0, 0, 1};
    assert_ok(ctx, hwb_plot_bars(ctx, ax, 1, 3, v, &(hwb_bars_opts){.err_minus = err}));
    assert_view(ctx, ax, HWB_AXIS_X, 0.5, 3.5);
    assert_view(ctx, ax, HWB_AXIS_Y, 0, 5.25);
    hwb_figure_free(fig);

    /* A log axis shows positive values only. */
    fig = figure(ctx, &ax);
    double z[4] = {-5, 0, 1, 1000};
    assert_ok(ctx, hwb_plot_line(ctx, ax, 4, NULL, z, NULL));
    assert_ok(ctx, hwb_axes_scale(ctx, ax, HWB_AXIS_Y, HWB_SCALE_LOG));
    assert_view(ctx, ax, HWB_AXIS_Y, pow(10, -0.15), pow(10, 3.15));
    assert_view(ctx, ax, HWB_AXIS_X, 2.97, 4.03);
    assert_ok(ctx, hwb_axes_limits(ctx, ax, HWB_AXIS_Y, -1, 10)); /* no such place */
    assert_view(ctx, ax, HWB_AXIS_Y, pow(10, -0.15), 10);
    hwb_figure_free(fig);

    /* One value, and values beyond reason, still give an interval. */
    double one = 3, huge[2] = {-1e308, 1e308}, tiny[2] = {0, 5e-324};
    fig = figure(ctx, &ax);
    assert_ok(ctx, hwb_plot_line(ctx, ax, 1, &one, &one, NULL));
    assert_ok(ctx, hwb_axes_view(ctx, ax, HWB_AXIS_Y, &lo, &hi));
    assert_true(lo < 3 && hi > 3);
    assert_ok(ctx, hwb_plot_line(ctx, ax, 2, tiny, huge, NULL));
    assert_ok(ctx, hwb_axes_view(ctx, ax, HWB_AXIS_Y, &lo, &hi));
    assert_true(isfinite(hi - lo) && hi > lo);
    hwb_figure_free(fig);
    test_ctx_free(ctx);
}

static void test_twins(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_axes *ax, *twin, *again;
    hwb_figure *fig = figure(ctx, &ax);
    double x[2] = {0, 10}, x2[2] = {5, 20}, y[2] = {0, 1}, y2[2] = {90, 95};
    assert_ok(ctx, hwb_axes_twin(ctx, &twin, ax));
    assert_ok(ctx, hwb_axes_twin(ctx, &again, ax));
    assert_ptr_equal(twin, again);
    assert_ok(ctx, hwb_axes_twin(ctx, &again, twin));
    assert_ptr_equal(twin, again);
    assert_ok(ctx, hwb_plot_line(ctx, ax, 2, x, y, NULL));
    assert_ok(ctx, hwb_plot_line(ctx, twin, 2, x2, y2, NULL));
    assert_view(ctx, ax, HWB_AXIS_X, -0.6, 20.6); /* shared */
    assert_view(ctx, twin, HWB_AXIS_X, -0.6, 20.6);
    assert_view(ctx, ax, HWB_AXIS_Y, -0.05, 1.05);
    assert_view(ctx, twin, HWB_AXIS_Y, 89.75, 95.25);
    /* twins go on in the palette */
    assert_int_not_equal(ax->first->style.color, twin->first->style.color);
    hwb_figure_free(fig);
    test_ctx_free(ctx);
}

static void test_map(void **state) {
    (void)state;
    hwb__scale s = {.lo = 1, .hi = 100, .p0 = 200, .p1 = 0, .log = true};
    assert_near(hwb__plot_map(&s, 1), 200, 1e-12);
    assert_near(hwb__plot_map(&s, 10), 100, 1e-12);
    assert_near(hwb__plot_map(&s, 100), 0, 1e-12);
    assert_true(isnan(hwb__plot_map(&s, 0)));
    assert_true(isnan(hwb__plot_map(&s, NAN)));
    assert_true(isfinite(hwb__plot_map(&s, 1e300)));
}

/* ---- series that compute ------------------------------------------------------------ */

static void test_hist(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_axes *ax;
    hwb_figure *fig = figure(ctx, &ax);
    double v[8] = {0, 0.5, 1, 1.5, 2, 4, NAN, INFINITY};
    assert_ok(ctx, hwb_plot_hist(ctx, ax, 8, v, &(hwb_hist_opts){.bins = 4}));
    const hwb__series *s = ax->first;
    const double counts[4] = {2, 2, 1, 1}, edges[5] = {0, 1, 2, 3, 4};
    const double got_counts[4] = {s->y[0], s->y[1], s->y[2], s->y[3]};
    /* [0,1) [1,2) [2,3) [3,4]: 4 lies on the last edge and counts */
    assert_memory_equal(got_counts, counts, sizeof counts);
    for (int i = 0; i < 5; i++) assert_near(s->x[i], edges[i], 1e-12);

    assert_ok(ctx, hwb_plot_hist(ctx, ax, 6, v, &(hwb_hist_opts){.bins = 3, .density = true}));
    s = ax->last;
    double area = 0;
    for (int i = 0; i < 3; i++) area += s->y[i] * (s->x[i + 1] - s->x[i]);
    assert_near(area, 1, 1e-12);

    double w[5] = {1, 10, 100, 1000, -3};
    assert_ok(ctx, hwb_plot_hist(ctx, ax, 5, w, &(hwb_hist_opts){.bins = 3, .log_bins = true}));
    s = ax->last;
    assert_near(s->x[1], 10, 1e-9);
    assert_near(s->y[0] + s->y[1] + s->y[2], 4, 0);

    assert_ok(ctx, hwb_plot_hist(ctx, ax, 0, NULL, NULL)); /* empty is fine */
    hwb_figure_free(fig);
    test_ctx_free(ctx);
}

static void test_density(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_axes *ax;
    hwb_figure *fig = figure(ctx, &ax);
    double nodes[3] = {-1, 0, 20}, weights[3] = {1, 2.5, 0.5};
    hwb_density_opts o = {.sigma = 0.5, .points = 4000, .linear = true};
    assert_ok(ctx, hwb_plot_density(ctx, ax, 3, nodes, weights, &o));
    const hwb__series *s = ax->first;
    double area = 0, mean = 0, dx = s->x[1] - s->x[0];
    for (int64_t i = 0; i < s->n; i++) {
        area += s->y[i] * dx;
        mean += s->x[i] * s->y[i] * dx;
    }
    assert_near(area, 1, 1e-4); /* the tails end at four sigma */
    assert_near(mean, (-1 * 1 + 20 * 0.5) / 4, 1e-3);
    assert_int_equal(ax->axis[HWB_AXIS_Y].scale, HWB_SCALE_LINEAR);
    assert_ok(ctx, hwb_plot_density(ctx, ax, 3, nodes, weights, NULL));
    assert_int_equal(ax->axis[HWB_AXIS_Y].scale, HWB_SCALE_LOG);
    /* the faintest node stands above the floor of the axis */
    double lo, hi;
    assert_ok(ctx, hwb_axes_view(ctx, ax, HWB_AXIS_Y, &lo, &hi));
    assert_true(lo > 0 && lo < 0.5 / 4 / (0.5 * sqrt(2 * M_PI)));
    weights[1] = -1;
    assert_fails(ctx, hwb_plot_density(ctx, ax, 3, nodes, weights, NULL), HWB_EARG, "node 2");
    assert_ok(ctx, hwb_plot_density(ctx, ax, 0, NULL, NULL, NULL));
    hwb_figure_free(fig);
    test_ctx_free(ctx);
}

/* ---- level lines -------------------------------------------------------------------------- */

enum { GRID = 41 };

static void field(double z[GRID * GRID], double at[GRID], double (*f)(double, double)) {
    for (int i = 0; i < GRID; i++) at[i] = -1 + 2.0 * i / (GRID - 1);
    for (int r = 0; r < GRID; r++)
        for (int c = 0; c < GRID; c++) z[r * GRID + c] = f(at[c], at[r]);
}

static double bowl(double x, double y) {
    return x * x + y * y;
}
static double saddle(double x, double y) {
    return x * x - y * y;
}
static double slope(double x, double y) {
    return x + 0 * y;
}

static void test_contour_circle(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb__plot_arena a = {0};
    hwb__polyline *p;
    double z[GRID * GRID], at[GRID];
    field(z, at, bowl);
    assert_ok(ctx, hwb__plot_contour_lines(ctx, &a, &p, GRID, GRID, at, at, z, 0.5));
    assert_non_null(p);
    assert_null(p->next);   /* one line … */
    assert_true(p->closed); /* … that is a loop */
    double length = 0;
    for (int64_t i = 0; i < p->n; i++) {
        assert_near(hypot(p->x[i], p->y[i]), sqrt(0.5), 2e-3);
        if (i) length += hypot(p->x[i] - p->x[i - 1], p->y[i] - p->y[i - 1]);
    }
    assert_near(length, 2 * M_PI * sqrt(0.5), 5e-3);

    /* Beyond the border the loop opens into four arcs. */
    assert_ok(ctx, hwb__plot_contour_lines(ctx, &a, &p, GRID, GRID, at, at, z, 1.5));
    int arcs = 0;
    for (; p; p = p->next, arcs++) assert_false(p->closed);
    assert_int_equal(arcs, 4);
    assert_ok(ctx, hwb__plot_contour_lines(ctx, &a, &p, GRID, GRID, at, at, z, 7));
    assert_null(p);

    /* A hole in the data opens the loop and nothing crosses it. */
    for (int r = 0; r < GRID; r++) z[r * GRID + GRID / 2] = NAN;
    assert_ok(ctx, hwb__plot_contour_lines(ctx, &a, &p, GRID, GRID, at, at, z, 0.5));
    int halves = 0;
    for (; p; p = p->next, halves++)
        for (int64_t i = 1; i < p->n; i++) assert_true(p->x[i] * p->x[i - 1] > 0);
    assert_int_equal(halves, 2);
    hwb__plot_arena_free(&a);
    test_ctx_free(ctx);
}

static void test_contour_saddle(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb__plot_arena a = {0};
    hwb__polyline *p;
    double z[GRID * GRID], at[GRID];
    field(z, at, saddle);
    assert_ok(ctx, hwb__plot_contour_lines(ctx, &a, &p, GRID, GRID, at, at, z, 0.01));
    int branches = 0;
    for (; p; p = p->next, branches++)
        for (int64_t i = 0; i < p->n; i++) assert_near(saddle(p->x[i], p->y[i]), 0.01, 1e-3);
    assert_int_equal(branches, 2);
    field(z, at, slope);
    assert_ok(ctx, hwb__plot_contour_lines(ctx, &a, &p, GRID, GRID, at, at, z, 0.33));
    assert_null(p->next);
    for (int64_t i = 0; i < p->n; i++) assert_near(p->x[i], 0.33, 1e-12);
    assert_int_equal(p->n, GRID);
    hwb__plot_arena_free(&a);
    test_ctx_free(ctx);
}

/* Every crossing of random noise is used: lines are loops or end on the rim. */
static void test_contour_noise(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    double z[GRID * GRID], at[GRID];
    hwb_rng rng = {11, 5};
    field(z, at, slope);
    for (int trial = 0; trial < 20; trial++) {
        hwb__plot_arena a = {0};
        hwb__polyline *p;
        int64_t points = 0, crossings = 0;
        for (int i = 0; i < GRID * GRID; i++)
            z[i] = hwb_rng_normal(rng, (uint64_t)(trial * GRID * GRID + i));
        for (int i = 0; i < GRID * GRID; i++) {
            if (i % GRID + 1 < GRID) crossings += (z[i] >= 0) != (z[i + 1] >= 0);
            if (i / GRID + 1 < GRID) crossings += (z[i] >= 0) != (z[i + GRID] >= 0);
        }
        assert_ok(ctx, hwb__plot_contour_lines(ctx, &a, &p, GRID, GRID, at, at, z, 0));
        for (; p; p = p->next) {
            points += p->n - p->closed;
            if (p->closed) continue;
            double rim = fmax(fabs(p->x[0]), fabs(p->y[0]));
            double end = fmax(fabs(p->x[p->n - 1]), fabs(p->y[p->n - 1]));
            assert_near(rim, 1, 1e-12);
            assert_near(end, 1, 1e-12);
        }
        assert_int_equal(points, crossings);
        hwb__plot_arena_free(&a);
    }
    test_ctx_free(ctx);
}

/* ---- refusals --------------------------------------------------------------------------------- */

static void test_refusals(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_figure *fig = NULL;
    hwb_axes *ax;
    double v[4] = {1, 2, 2, 3}, z[4] = {0};
    assert_fails(ctx, hwb_figure_new(ctx, &fig, &(hwb_figure_opts){.rows = 17}), HWB_EARG, "17");
    assert_fails(ctx, hwb_figure_new(ctx, &fig, &(hwb_figure_opts){.dpi = 1e6}), HWB_EARG, "dpi");
    assert_fails(ctx, hwb_figure_new(ctx, &fig, &(hwb_figure_opts){.width = NAN}), HWB_EARG, "");
    assert_null(fig);
    fig = figure(ctx, &ax);
    assert_null(hwb_figure_axes(fig, 0, 1));
    assert_null(hwb_figure_axes(fig, -1, 0));
    assert_fails(ctx, hwb_plot_line(ctx, NULL, 1, v, v, NULL), HWB_EARG, "panel");
    assert_fails(ctx, hwb_plot_line(ctx, ax, -1, v, v, NULL), HWB_EARG, "-1");
    assert_fails(ctx, hwb_plot_line(ctx, ax, 2, v, NULL, NULL), HWB_EARG, "none given");
    assert_fails(ctx, hwb_plot_line(ctx, ax, 2, v, v, &(hwb_line_opts){.style.alpha = 1.5}),
                 HWB_EARG, "alpha 1.5");
    assert_fails(ctx, hwb_plot_line(ctx, ax, 2, v, v, &(hwb_line_opts){.band_lo = v}), HWB_EARG,
                 "both");
    assert_fails(ctx, hwb_axes_limits(ctx, ax, HWB_AXIS_X, 2, 2), HWB_EARG, "both limits");
    assert_fails(ctx, hwb_axes_limits(ctx, ax, HWB_AXIS_X, 0, INFINITY), HWB_EARG, "finite");
    assert_fails(ctx, hwb_plot_heatmap(ctx, ax, 1, 4, v, NULL, z, NULL), HWB_EARG, "value 3 is 2");
    assert_fails(ctx, hwb_plot_heatmap(ctx, ax, INT64_MAX, 4, NULL, NULL, z, NULL), HWB_EARG, "");
    assert_fails(ctx, hwb_plot_hist(ctx, ax, 4, v, &(hwb_hist_opts){.lo = 3, .hi = 1}), HWB_EARG,
                 "range 3 to 1");
    assert_fails(ctx, hwb_plot_hist(ctx, ax, 4, v, &(hwb_hist_opts){.bins = -2}), HWB_EARG, "-2");
    assert_fails(ctx, hwb_plot_text(ctx, ax, 0, 0, NULL, NULL), HWB_EARG, "text");
    assert_null(ax->first); /* nothing of that was added */
    hwb_figure_free(fig);
    hwb_figure_free(NULL);
    test_ctx_free(ctx);
}

/* Text that is no UTF-8 is made safe when it enters. */
static void test_text_cleaned(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_axes *ax;
    hwb_figure *fig = figure(ctx, &ax);
    assert_ok(ctx, hwb_axes_title(ctx, ax,
                                  "a\xFF"
                                  "b\xC3\x28 \xED\xA0\x80 λ\n\x01"));
    assert_string_equal(ax->title, "a?b?( ??? λ  ");
    assert_ok(ctx, hwb_axes_title(ctx, ax, NULL));
    assert_null(ax->title);
    hwb_figure_free(fig);
    test_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_number_text),    cmocka_unit_test(test_number_text_locale),
        cmocka_unit_test(test_ticks),          cmocka_unit_test(test_minor_ticks),
        cmocka_unit_test(test_ticks_property), cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_twins),          cmocka_unit_test(test_map),
        cmocka_unit_test(test_hist),           cmocka_unit_test(test_density),
        cmocka_unit_test(test_contour_circle), cmocka_unit_test(test_contour_saddle),
        cmocka_unit_test(test_contour_noise),  cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_text_cleaned),
    };
    return RUN_TESTS(tests);
}
