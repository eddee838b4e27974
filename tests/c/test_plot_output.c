/*
 * plot, the parts that draw: pixels and structure of PNG and SVG; files; and what
 * happens when memory runs out.
 */
#include "plot_picture.h"

#include <dirent.h>
#include <sys/stat.h>

#include "plot/canvas_i.h"

enum { N = 101 };

/* ---- PNG ------------------------------------------------------------------------ */

static uint32_t rgb_at(const picture *p, double x, double y) {
    int ix = (int)floor(x), iy = (int)floor(y);
    assert_in_range(ix, 0, p->w - 1);
    assert_in_range(iy, 0, p->h - 1);
    const unsigned char *c = p->rgb + 3 * (iy * p->w + ix);
    return (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
}

/* Is the colour within 40 of `want` in every channel somewhere near? */
static bool near_color(const picture *p, double x, double y, uint32_t want) {
    for (int dy = -1; dy <= 1; dy++)
        for (int dx = -1; dx <= 1; dx++) {
            uint32_t got = rgb_at(p, x + dx, y + dy);
            int worst = 0;
            for (int s = 0; s <= 16; s += 8)
                worst = (int)fmax(worst, abs((int)(got >> s & 255) - (int)(want >> s & 255)));
            if (worst <= 40) return true;
        }
    return false;
}

/* The first panel as the drawing lays it out. */
static hwb__panel layout_of(hwb_ctx *ctx, hwb_figure *fig, hwb__plot_arena *a) {
    hwb__font *font;
    hwb__panel *p;
    assert_ok(ctx, hwb__font_new(ctx, &font));
    assert_ok(ctx, hwb__layout(ctx, a, font, fig, &p, fig->width * 72, fig->height * 72));
    hwb__font_free(font);
    return p[0];
}

static void test_png_line(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_axes *ax;
    hwb_figure *fig = figure(ctx, &ax, &(hwb_figure_opts){.width = 5, .height = 3, .dpi = 144});
    double x[N], y[N];
    for (int i = 0; i < N; i++) {
        x[i] = i;
        y[i] = i == 50 ? NAN : 0.02 * i * i; /* a gap around 50 */
    }
    hwb_line_opts o = {.style = {.color = HWB_RGB(0xD00000), .width = 3}};
    assert_ok(ctx, hwb_plot_line(ctx, ax, N, x, y, &o));
    picture pic = picture_of(ctx, fig);
    assert_int_equal(pic.w, 720);
    assert_int_equal(pic.h, 432);
    assert_int_equal(rgb_at(&pic, 1, 1), 0xFFFFFF);

    hwb__plot_arena a = {0};
    hwb__panel p = layout_of(ctx, fig, &a);
    assert_true(p.box.x > 15 && p.box.x + p.box.w < 360);
    for (int i = 5; i < N; i += 15) {
        double px = 2 * hwb__plot_map(&p.x, x[i]), py = 2 * hwb__plot_map(&p.y, y[i]);
        if (!isnan(py)) assert_true(near_color(&pic, px, py, 0xD00000));
        /* and not far above it */
        if (!isnan(py)) assert_false(near_color(&pic, px, py - 30, 0xD00000));
    }
    assert_false(
        near_color(&pic, 2 * hwb__plot_map(&p.x, 50), 2 * hwb__plot_map(&p.y, 50), 0xD00000));
    free(pic.rgb);
    hwb__plot_arena_free(&a);
    hwb_figure_free(fig);
    test_ctx_free(ctx);
}

static void test_png_bars_and_limits(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_axes *ax;
    hwb_figure *fig = figure(ctx, &ax, &(hwb_figure_opts){.dpi = 144});
    double v[4] = {1, 1000, 10, 0};
    assert_ok(ctx, hwb_plot_bars(
                       ctx, ax, 1, 4, v,
                       &(hwb_bars_opts){.styles = &(hwb_plot_style){.color = HWB_RGB(0x0000C0)}}));
    assert_ok(ctx, hwb_axes_scale(ctx, ax, HWB_AXIS_Y, HWB_SCALE_LOG));
    assert_ok(ctx, hwb_axes_limits(ctx, ax, HWB_AXIS_Y, 0.1, 100)); /* the second is cut */
    picture pic = picture_of(ctx, fig);
    hwb__plot_arena a = {0};
    hwb__panel p = layout_of(ctx, fig, &a);
    double mid[4];
    for (int i = 0; i < 4; i++) mid[i] = 2 * hwb__plot_map(&p.x, i + 1);
    double y_half = 2 * hwb__plot_map(&p.y, 0.5), y_5 = 2 * hwb__plot_map(&p.y, 5);
    assert_true(near_color(&pic, mid[0], y_half, 0x0000C0));
    assert_false(near_color(&pic, mid[0], y_5, 0x0000C0));
    assert_true(near_color(&pic, mid[1], y_5, 0x0000C0));
    assert_true(near_color(&pic, mid[2], y_5, 0x0000C0));
    assert_false(near_color(&pic, mid[3], y_half, 0x0000C0)); /* zero has no place */
    assert_false(near_color(&pic, mid[1], 2 * p.box.y - 6, 0x0000C0));
    free(pic.rgb);
    hwb__plot_arena_free(&a);
    hwb_figure_free(fig);
    test_ctx_free(ctx);
}

static void test_png_heatmap(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    for (int uneven = 0; uneven < 2; uneven++) { /* one image, or sampled */
        hwb_axes *ax;
        hwb_figure *fig = figure(ctx, &ax, &(hwb_figure_opts){.dpi = 144});
        double z[6] = {0, 0.5, 1, 1, NAN, 0}, x[3] = {1, 2, uneven ? 4 : 3}, y[2] = {10, 20};
        assert_ok(ctx, hwb_plot_heatmap(ctx, ax, 2, 3, x, y, z, NULL));
        picture pic = picture_of(ctx, fig);
        hwb__plot_arena a = {0};
        hwb__panel p = layout_of(ctx, fig, &a);
        const uint32_t want[6] = {0x440154, 0x21918C, 0xFDE725, 0xFDE725, 0xFFFFFF, 0x440154};
        for (int i = 0; i < 6; i++)
            assert_true(near_color(&pic, 2 * hwb__plot_map(&p.x, x[i % 3]),
                                   2 * hwb__plot_map(&p.y, y[i / 3]), want[i]));
        free(pic.rgb);
        hwb__plot_arena_free(&a);
        hwb_figure_free(fig);
    }
    test_ctx_free(ctx);
}

static void test_png_resolution(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_axes *ax;
    hwb_figure *fig = figure(ctx, &ax, NULL);
    unsigned char *png;
    size_t size, at = 0;
    assert_ok(ctx, hwb_figure_png(ctx, fig, &png, &size));
    while (at + 12 < size && memcmp(png + at, "pHYs", 4)) at++;
    assert_true(at + 12 < size);
    const unsigned char *b = png + at + 4; /* pixels a metre, big endian; unit 1 */
    uint32_t per_metre = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    assert_int_equal(per_metre, 5906); /* 150 dpi */
    assert_int_equal(b[8], 1);
    hwb_free(png);
    hwb_figure_free(fig);
    test_ctx_free(ctx);
}

/* ---- a figure with everything ------------------------------------------------------- */

static void fill_panel(hwb_ctx *ctx, hwb_axes *ax, int kind, int64_t n, const double *x,
                       const double *y, hwb_status *st) {
    const char *names[4] = {"conv<1>", "a & b", "λ_{max}", "fc"};
    hwb_plot_style styles[2] = {{.label = "one"}, {.label = "two"}};
    hwb_axes *twin;
    int64_t side = n >= 9 ? 3 : 0;
#define DO(e)                                                                                      \
    if (*st == HWB_OK) *st = (e)
    switch (kind) {
    case 0:
        DO(hwb_plot_line(ctx, ax, n, x, y,
                         &(hwb_line_opts){.style = {.label = "l", .marker = HWB_MARKER_STAR},
                                          .band_lo = x,
                                          .band_hi = y,
                                          .err_minus = x}));
        DO(hwb_plot_scatter(ctx, ax, n, x, y, &(hwb_line_opts){.style.label = "s"}));
        DO(hwb_axes_twin(ctx, &twin, ax));
        DO(hwb_plot_line(ctx, twin, n, x, x, &(hwb_line_opts){.step = HWB_STEP_MID}));
        DO(hwb_plot_rule(ctx, ax, HWB_AXIS_X, 2, NULL));
        DO(hwb_plot_text(ctx, ax, 1, 1, "free", NULL));
        DO(hwb_plot_text(ctx, ax, 1, 1, "x^{2}",
                         &(hwb_text_opts){.dx = 20, .dy = 30, .arrow = true}));
        break;
    case 1:
        DO(hwb_plot_bars(
            ctx, ax, 2, n >= 8 ? 4 : 0, y,
            &(hwb_bars_opts){.styles = styles, .names = names, .values = true, .err_minus = x}));
        break;
    case 2: DO(hwb_plot_hist(ctx, ax, n, y, NULL)); break;
    case 3:
        DO(hwb_plot_density(ctx, ax, n < 3 ? n : 3, (const double[]){1, 2, 9},
                            (const double[]){1, .1, 1e-4}, NULL));
        break;
    case 4:
        DO(hwb_plot_heatmap(ctx, ax, side, side, NULL, NULL, y,
                            &(hwb_field_opts){.values = true, .label = "z", .top_down = true}));
        break;
    default:
        DO(hwb_plot_contour(ctx, ax, side, side, NULL, NULL, y, NULL));
        DO(hwb_axes_legend(ctx, ax, HWB_LEGEND_OUTSIDE));
    }
    DO(hwb_axes_title(ctx, ax, "a < b & c > \"d\""));
    DO(hwb_axes_label(ctx, ax, HWB_AXIS_X, "x_{i}^{2}"));
    DO(hwb_axes_label(ctx, ax, HWB_AXIS_Y, "y"));
}

static hwb_status all_kinds(hwb_ctx *ctx, hwb_figure **out, int64_t n, const double *x,
                            const double *y, double dpi) {
    hwb_status st = hwb_figure_new(
        ctx, out, &(hwb_figure_opts){.rows = 2, .cols = 3, .title = "all", .dpi = dpi});
    for (int i = 0; i < 6 && st == HWB_OK; i++)
        fill_panel(ctx, hwb_figure_axes(*out, i / 3, i % 3), i, n, x, y, &st);
    return st;
}

/* ---- SVG ---------------------------------------------------------------------------------- */

/* Tags balance, attributes are quoted, text is escaped. */
static void assert_xml(const char *s, size_t size) {
    char names[64][16];
    int depth = 0, roots = 0;
    assert_int_equal(strlen(s), size);
    while (*s) {
        if (*s == '&')
            assert_true(!strncmp(s, "&amp;", 5) || !strncmp(s, "&lt;", 4) ||
                        !strncmp(s, "&gt;", 4));
        assert_true(*s != '>');
        if (*s != '<') {
            assert_true(depth > 0 || strchr(" \n", *s));
            s++;
            continue;
        }
        bool end = s[1] == '/';
        s += 1 + end;
        size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz");
        assert_in_range(n, 1, 15);
        if (end) {
            assert_true(depth > 0);
            depth--;
            assert_true(strlen(names[depth]) == n && !strncmp(names[depth], s, n));
            s += n;
        } else {
            assert_true(depth < 64);
            memcpy(names[depth], s, n);
            names[depth][n] = 0;
            roots += depth == 0;
            depth++;
            s += n;
            while (*s == ' ') {
                s += 1 + strcspn(s + 1, "=<>\"");
                assert_true(s[0] == '=' && s[1] == '"');
                s += 2;
                size_t value = strcspn(s, "\"<");
                assert_true(s[value] == '"');
                s += value + 1;
            }
            if (*s == '/') {
                depth--;
                s++;
            }
        }
        assert_int_equal(*s, '>');
        s++;
    }
    assert_int_equal(depth, 0);
    assert_int_equal(roots, 1);
}

static void test_svg(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_figure *fig;
    double x[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, y[9] = {3, 1, 4, 1, NAN, 9, 2, 6, 5};
    assert_ok(ctx, all_kinds(ctx, &fig, 9, x, y, 0));
    char *svg;
    size_t size;
    assert_ok(ctx, hwb_figure_svg(ctx, fig, &svg, &size));
    assert_xml(svg, size);
    assert_non_null(strstr(svg, ">a &lt; b &amp; c &gt; \"d\"</text>"));
    assert_non_null(strstr(svg, "conv&lt;1&gt;"));
    assert_non_null(strstr(svg, ">λ<tspan"));
    assert_null(strstr(svg, "nan"));
    assert_null(strstr(svg, "inf"));
    assert_null(strstr(svg, " id=")); /* several figures may share a page */
    assert_non_null(strstr(svg, "data:image/png;base64,iVBORw0KGgo"));
    hwb_free(svg);
    hwb_figure_free(fig);
    test_ctx_free(ctx);
}

/* Position of the text element that ends in >text</text>. */
static void text_at(const char *svg, const char *text, double *x, double *y) {
    char want[64];
    snprintf(want, sizeof want, ">%s</text>", text);
    const char *at = strstr(svg, want);
    assert_non_null(at);
    while (strncmp(at, "<text", 5)) at--;
    assert_int_equal(sscanf(at, "<text x=\"%lf\" y=\"%lf\"", x, y), 2);
}

/* The legend goes where nothing is drawn. */
static void test_legend_place(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    for (int rising = 0; rising < 2; rising++) {
        hwb_axes *ax;
        hwb_figure *fig = figure(ctx, &ax, NULL);
        double y[N], w = 6.2 * 72, h = 3.9 * 72, lx, ly;
        for (int i = 0; i < N; i++) y[i] = rising ? i : -i;
        assert_ok(ctx,
                  hwb_plot_line(ctx, ax, N, NULL, y, &(hwb_line_opts){.style.label = "train"}));
        char *svg;
        size_t size;
        assert_ok(ctx, hwb_figure_svg(ctx, fig, &svg, &size));
        text_at(svg, "train", &lx, &ly);
        assert_true(rising ? lx < w / 2 && ly < h / 2 : lx > w / 2 && ly < h / 2);
        hwb_free(svg);
        assert_ok(ctx, hwb_axes_legend(ctx, ax, HWB_LEGEND_BOTTOM_RIGHT));
        assert_ok(ctx, hwb_figure_svg(ctx, fig, &svg, &size));
        text_at(svg, "train", &lx, &ly);
        assert_true(lx > w / 2 && ly > h / 2);
        hwb_free(svg);
        assert_ok(ctx, hwb_axes_legend(ctx, ax, HWB_LEGEND_NONE));
        assert_ok(ctx, hwb_figure_svg(ctx, fig, &svg, &size));
        assert_null(strstr(svg, "train"));
        hwb_free(svg);
        hwb_figure_free(fig);
    }
    test_ctx_free(ctx);
}

/* ---- every output of every kind ---------------------------------------------------------- */

typedef struct outputs {
    char *p[6];
    size_t n[6];
} outputs;

static hwb_status make_all(hwb_ctx *ctx, const hwb_figure *fig, outputs *o, int width) {
    *o = (outputs){0};
    HWB_TRY(hwb_figure_png(ctx, fig, (unsigned char **)&o->p[0], &o->n[0]));
    HWB_TRY(hwb_figure_svg(ctx, fig, &o->p[1], &o->n[1]));
    HWB_TRY(hwb_figure_text(ctx, fig, &o->p[2], &o->n[2],
                            &(hwb_text_figure_opts){.cols = 120, .rows = 40, .color = true}));
    HWB_TRY(hwb_figure_text(ctx, fig, &o->p[3], &o->n[3], &(hwb_text_figure_opts){.ascii = true}));
    HWB_TRY(hwb_figure_kitty(ctx, fig, &o->p[4], &o->n[4], width));
    return hwb_figure_sixel(ctx, fig, &o->p[5], &o->n[5], width);
}

static void free_all(outputs *o) {
    for (int i = 0; i < 6; i++) hwb_free(o->p[i]);
}

/* The same figure gives the same bytes; drawing changes nothing. */
static void test_deterministic(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    double x[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, y[9] = {3, 1, 4, 1, 5, 9, 2, 6, 5};
    outputs o[3];
    hwb_figure *fig[2];
    for (int i = 0; i < 3; i++) {
        if (i < 2) assert_ok(ctx, all_kinds(ctx, &fig[i], 9, x, y, 50));
        assert_ok(ctx, make_all(ctx, fig[i % 2], &o[i], 300));
    }
    for (int i = 1; i < 3; i++)
        for (int k = 0; k < 6; k++) {
            assert_int_equal(o[0].n[k], o[i].n[k]);
            assert_memory_equal(o[0].p[k], o[i].p[k], o[0].n[k]);
        }
    for (int i = 0; i < 3; i++) free_all(&o[i]);
    hwb_figure_free(fig[0]);
    hwb_figure_free(fig[1]);
    test_ctx_free(ctx);
}

/* Nothing, one value, and values no axis was made for. */
static void test_odd_data(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    static const double odd[5][9] = {{0, 0, 0, 0, 0, 0, 0, 0, 0},
                                     {NAN, INFINITY, -INFINITY, NAN, NAN, NAN, NAN, NAN, NAN},
                                     {1e308, -1e308, 1e300, 0, 1, 2, 3, 4, 5},
                                     {5e-324, 1e-320, 0, 5e-324, 0, 0, 0, 0, 0},
                                     {7, 7, 7, 7, 7, 7, 7, 7, 7.0000000000000009}};
    for (int k = 0; k < 5; k++)
        for (int64_t n = 0; n <= 9; n += k == 0 ? 1 : 9) {
            hwb_figure *fig;
            outputs o;
            assert_ok(ctx, all_kinds(ctx, &fig, n, odd[(k + 1) % 5], odd[k], 30));
            for (int log = 0; log < 2; log++) {
                assert_ok(ctx, make_all(ctx, fig, &o, 100));
                assert_xml(o.p[1], o.n[1]);
                free_all(&o);
                for (int i = 0; i < 6; i++)
                    for (int id = 0; id < 2; id++)
                        assert_ok(ctx, hwb_axes_scale(ctx, hwb_figure_axes(fig, i / 3, i % 3),
                                                      (hwb_axis_id)id, HWB_SCALE_LOG));
            }
            hwb_figure_free(fig);
        }
    test_ctx_free(ctx);
}

/* A long line is thinned without losing its peaks. */
static void test_long_line(void **state) {
    (void)state;
    enum { LONG = 200000 };
    hwb_ctx *ctx = test_ctx_new();
    hwb_axes *ax;
    hwb_figure *fig = figure(ctx, &ax, &(hwb_figure_opts){.dpi = 144});
    double *y = calloc(LONG, sizeof *y);
    y[123456] = 1;
    hwb_line_opts o = {.style = {.color = HWB_RGB(0xD00000), .width = 2}};
    assert_ok(ctx, hwb_plot_line(ctx, ax, LONG, NULL, y, &o));
    char *svg;
    size_t size;
    assert_ok(ctx, hwb_figure_svg(ctx, fig, &svg, &size));
    assert_true(size < 100000);
    hwb_free(svg);
    picture pic = picture_of(ctx, fig);
    hwb__plot_arena a = {0};
    hwb__panel p = layout_of(ctx, fig, &a);
    assert_true(
        near_color(&pic, 2 * hwb__plot_map(&p.x, 123457), 2 * hwb__plot_map(&p.y, 0.5), 0xD00000));
    free(pic.rgb);
    free(y);
    hwb__plot_arena_free(&a);
    hwb_figure_free(fig);
    test_ctx_free(ctx);
}

/* ---- files ------------------------------------------------------------------------------------- */

static hwb_status refuse(void *user, hwb_ctx *ctx, const char *path, bool write) {
    *(bool *)user = write;
    return hwb_fail(ctx, HWB_EPERM, "not %s", path);
}

static void test_save(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_axes *ax;
    hwb_figure *fig = figure(ctx, &ax, &(hwb_figure_opts){.dpi = 40});
    char dir[] = "/tmp/hwb-plot-XXXXXX", path[2][64], missing[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path[0], sizeof path[0], "%s/a.png", dir);
    snprintf(path[1], sizeof path[1], "%s/a.SVG", dir);
    snprintf(missing, sizeof missing, "%s/none/a.png", dir);
    for (int i = 0; i < 2; i++)
        for (int twice = 0; twice < 2; twice++) assert_ok(ctx, hwb_figure_save(ctx, fig, path[i]));
    assert_fails(ctx, hwb_figure_save(ctx, fig, missing), HWB_EIO, "none/a.png: No such file");
    assert_fails(ctx, hwb_figure_save(ctx, fig, "a.pdf"), HWB_EARG, ".png or .svg");
    assert_fails(ctx, hwb_figure_save(ctx, fig, ".png"), HWB_EARG, ".png or .svg");
    bool write = false;
    hwb_set_access(refuse, &write);
    assert_fails(ctx, hwb_figure_save(ctx, fig, path[0]), HWB_EPERM, "not /tmp/hwb-plot-");
    hwb_set_access(NULL, NULL);
    assert_true(write);

    int files = 0; /* the two figures and nothing else */
    DIR *d = opendir(dir);
    for (struct dirent *e = readdir(d); e; e = readdir(d)) files += e->d_name[0] != '.';
    closedir(d);
    assert_int_equal(files, 2);
    unlink(path[0]);
    unlink(path[1]);
    assert_int_equal(rmdir(dir), 0);
    hwb_figure_free(fig);
    test_ctx_free(ctx);
}

/* A full disk is a status, and leaves no half file. */
static void test_full_disk(void **state) {
    (void)state;
    if (access("/dev/full", W_OK)) TEST_SKIP("no /dev/full");
    hwb_ctx *ctx = test_ctx_new();
    hwb_axes *ax;
    hwb_figure *fig = figure(ctx, &ax, &(hwb_figure_opts){.dpi = 40});
    char dir[] = "/tmp/hwb-plot-XXXXXX", path[64], temp[96];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/a.png", dir);
    snprintf(temp, sizeof temp, "%s.%ld.tmp", path, (long)getpid());
    assert_int_equal(symlink("/dev/full", temp), 0);
    assert_fails(ctx, hwb_figure_save(ctx, fig, path), HWB_EIO, "No space");
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(rmdir(dir), 0);
    hwb_figure_free(fig);
    test_ctx_free(ctx);
}

/* ---- memory -------------------------------------------------------------------------------------- */

/* Every single allocation fails once: a status, no leak, no crash. */
static void test_memory_failures(void **state) {
    (void)state;
    double x[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, y[9] = {3, 1, 4, 1, 5, 9, 2, 6, 5};
    bool done = false;
    int n = 1;
    for (; !done && n < 5000; n++) {
        char text[16];
        snprintf(text, sizeof text, "%d", n);
        setenv("HWB_TEST_FAIL_ALLOC", text, 1);
        hwb_ctx *ctx = test_ctx_new();
        unsetenv("HWB_TEST_FAIL_ALLOC");
        hwb_figure *fig = NULL;
        outputs o = {0};
        hwb_status st = all_kinds(ctx, &fig, 9, x, y, 12);
        if (st == HWB_OK) st = make_all(ctx, fig, &o, 60);
        assert_true(st == HWB_OK || st == HWB_ENOMEM);
        done = st == HWB_OK;
        free_all(&o);
        hwb_figure_free(fig);
        test_ctx_free(ctx); /* fails when bytes are still counted */
    }
    assert_true(done);
    print_message("%d allocations\n", n - 1);
    assert_true(n > 50); /* the failures were real */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_png_line),      cmocka_unit_test(test_png_bars_and_limits),
        cmocka_unit_test(test_png_heatmap),   cmocka_unit_test(test_png_resolution),
        cmocka_unit_test(test_svg),           cmocka_unit_test(test_legend_place),
        cmocka_unit_test(test_deterministic), cmocka_unit_test(test_odd_data),
        cmocka_unit_test(test_long_line),     cmocka_unit_test(test_save),
        cmocka_unit_test(test_full_disk),     cmocka_unit_test(test_memory_failures),
    };
    return RUN_TESTS(tests);
}
