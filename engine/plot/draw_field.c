/*
 * Drawing of heat maps, filled contours with their level lines, and colour
 * bars.
 *
 * A heat map over evenly spaced centres on linear axes is one small image, a
 * pixel a cell.  Everything else is sampled at the box's resolution: nearest
 * cell for heat maps, bilinear interpolation and one colour a band for filled
 * contours (the level lines drawn over them hide the pixel steps).
 */
#include "plot/canvas_i.h"

#include <math.h>
#include <string.h>

/* The colours of a field: continuous, or one a band between levels. */
typedef struct shades {
    const hwb__series *s;
    double lo, hi;
    int64_t level_n;
    const double *levels; /* contours only */
    hwb__rgba *band;      /* [level_n + 1] contours only */
} shades;

static bool shades_of(hwb__canvas *c, hwb__plot_arena *a, const hwb__series *s, shades *out) {
    *out = (shades){.s = s};
    hwb__plot_zrange(s, &out->lo, &out->hi);
    if (s->kind != HWB__CONTOUR || c->status != HWB_OK) return c->status == HWB_OK;
    c->status = hwb__plot_levels(c->ctx, a, s, &out->level_n, &out->levels);
    if (c->status != HWB_OK) return false;
    int64_t n = out->level_n;
    out->band = hwb__plot_array(c->ctx, a, n + 1, sizeof *out->band);
    if (!out->band) {
        c->status = HWB_ENOMEM;
        return false;
    }
    for (int64_t i = 0; i <= n; i++) { /* the colour in the middle of the band */
        double below = i > 0 ? hwb__plot_zunit(s, out->lo, out->hi, out->levels[i - 1]) : 0;
        double above = i < n ? hwb__plot_zunit(s, out->lo, out->hi, out->levels[i]) : 1;
        double t = (below + above) / 2;
        out->band[i] = hwb__plot_colormap(s->colormap, isnan(t) ? 0 : t);
    }
    return true;
}

/* False where z has no colour. */
static bool shade(const shades *k, double z, hwb__rgba *out) {
    if (isnan(z) || (k->s->zlog && z <= 0)) return false;
    if (k->band) {
        int64_t i = 0;
        while (i < k->level_n && k->levels[i] <= z) i++;
        *out = k->band[i];
    } else *out = hwb__plot_colormap(k->s->colormap, hwb__plot_zunit(k->s, k->lo, k->hi, z));
    return true;
}

static void put_pixel(unsigned char *p, const shades *k, double z) {
    hwb__rgba c;
    if (!shade(k, z, &c)) {
        memset(p, 0, 4);
        return;
    }
    p[0] = (unsigned char)lround(255 * c.r);
    p[1] = (unsigned char)lround(255 * c.g);
    p[2] = (unsigned char)lround(255 * c.b);
    p[3] = 255;
}

static bool even(const double *v, int64_t n) {
    for (int64_t i = 2; i < n; i++)
        if (fabs((v[i] - v[i - 1]) - (v[1] - v[0])) > 1e-6 * fabs(v[1] - v[0])) return false;
    return true;
}

/* Edge before cell i (i = n: after the last). */
static double edge(const double *v, int64_t n, int64_t i) {
    double half0 = n > 1 ? (v[1] - v[0]) / 2 : 0.5, half1 = n > 1 ? (v[n - 1] - v[n - 2]) / 2 : 0.5;
    return i == 0 ? v[0] - half0 : i == n ? v[n - 1] + half1 : (v[i - 1] + v[i]) / 2;
}

static void cell_image(hwb__canvas *c, hwb__view *v, const shades *k) {
    const hwb__series *s = k->s;
    double x0 = hwb__plot_map(&v->x, edge(s->x, s->cols, 0));
    double x1 = hwb__plot_map(&v->x, edge(s->x, s->cols, s->cols));
    double y0 = hwb__plot_map(&v->y, edge(s->y, s->rows, 0));
    double y1 = hwb__plot_map(&v->y, edge(s->y, s->rows, s->rows));
    unsigned char *rgba = hwb_alloc(c->ctx, 4 * (size_t)s->rows * (size_t)s->cols);
    if (!rgba) {
        c->status = HWB_ENOMEM;
        return;
    }
    for (int64_t r = 0; r < s->rows; r++)
        for (int64_t q = 0; q < s->cols; q++) {
            int64_t row = y0 < y1 ? r : s->rows - 1 - r, col = x0 < x1 ? q : s->cols - 1 - q;
            put_pixel(rgba + 4 * (row * s->cols + col), k, s->z[r * s->cols + q]);
        }
    hwb__rect box = {fmin(x0, x1), fmin(y0, y1), fabs(x1 - x0), fabs(y1 - y0)};
    c->image(c, box, (int)s->cols, (int)s->rows, rgba, false);
    hwb_free(rgba);
}

static double unmap(const hwb__scale *s, double p) {
    double t = (p - s->p0) / (s->p1 - s->p0);
    if (!s->log) return s->lo + t * (s->hi - s->lo);
    return pow(10, log10(s->lo) + t * (log10(s->hi) - log10(s->lo)));
}

/* Cell and position within it (0..1) of data coordinate t; false outside. */
static bool locate(const double *v, int64_t n, double t, bool cells, int64_t *i, double *u) {
    bool down = n > 1 && v[n - 1] < v[0];
    int64_t a = 0, b = cells ? n : n - 1; /* between edge or centre a and b */
    double first = cells ? edge(v, n, 0) : v[0], last = cells ? edge(v, n, n) : v[n - 1];
    if (down ? (t > first || t < last) : (t < first || t > last)) return false;
    while (b - a > 1) {
        int64_t m = (a + b) / 2;
        double at = cells ? edge(v, n, m) : v[m];
        if (down ? t <= at : t >= at) a = m;
        else b = m;
    }
    *i = a;
    *u = cells ? 0 : (t - v[a]) / (v[a + 1] - v[a]);
    return true;
}

/* Bilinear; logarithms are interpolated on a log colour scale. */
static double blend(const hwb__series *s, int64_t r, double w, int64_t c, double u) {
    const double *z = s->z + r * s->cols + c;
    double q[4] = {z[0], z[1], z[s->cols], z[s->cols + 1]};
    for (int i = 0; i < 4 && s->zlog; i++) q[i] = q[i] > 0 ? log10(q[i]) : NAN;
    double m = (1 - w) * ((1 - u) * q[0] + u * q[1]) + w * ((1 - u) * q[2] + u * q[3]);
    return s->zlog ? pow(10, m) : m;
}

static void raster(hwb__canvas *c, hwb__view *v, const shades *k) {
    const hwb__series *s = k->s;
    bool cells = s->kind == HWB__HEAT;
    if (!cells && (s->rows < 2 || s->cols < 2)) return;
    double density = c->dots ? 1 : 3;
    int w = (int)fmin(1800, fmax(1, ceil(v->box.w * density)));
    int h = (int)fmin(1800, fmax(1, ceil(v->box.h * density)));
    unsigned char *rgba = hwb_calloc(c->ctx, 4 * (size_t)w * (size_t)h);
    int64_t *ci = hwb_alloc(c->ctx, (size_t)w * sizeof *ci);
    double *cu = hwb_alloc(c->ctx, (size_t)w * sizeof *cu);
    if (!rgba || !ci || !cu) c->status = HWB_ENOMEM;
    for (int x = 0; x < w && c->status == HWB_OK; x++) {
        double at = unmap(&v->x, v->box.x + v->box.w * (x + 0.5) / w);
        if (!locate(s->x, s->cols, at, cells, &ci[x], &cu[x])) ci[x] = -1;
    }
    for (int y = 0; y < h && c->status == HWB_OK; y++) {
        int64_t r;
        double u, at = unmap(&v->y, v->box.y + v->box.h * (y + 0.5) / h);
        if (!locate(s->y, s->rows, at, cells, &r, &u)) continue;
        for (int x = 0; x < w; x++) {
            if (ci[x] < 0) continue;
            double z = cells ? s->z[r * s->cols + ci[x]] : blend(s, r, u, ci[x], cu[x]);
            put_pixel(rgba + 4 * ((size_t)y * (size_t)w + (size_t)x), k, z);
        }
    }
    if (c->status == HWB_OK) c->image(c, v->box, w, h, rgba, true);
    hwb_free(rgba);
    hwb_free(ci);
    hwb_free(cu);
}

static void cell_values(hwb__canvas *c, hwb__view *v, const shades *k) {
    const hwb__series *s = k->s;
    double w = v->box.w / (double)s->cols, size = fmin(9, 0.6 * v->box.h / (double)s->rows);
    for (int64_t i = 0; i < s->rows * s->cols; i++) { /* the widest number sets the size */
        char text[48];
        hwb__plot_short(text, sizeof text, s->z[i], 3);
        double width = hwb__text_width(c->font, text, 9);
        size = fmin(size, 9 * 0.85 * w / fmax(width, 1));
    }
    if (size < 4) return; /* would be a grey smear */
    for (int64_t i = 0; i < s->rows * s->cols; i++) {
        char text[48];
        hwb__rgba back;
        if (!shade(k, s->z[i], &back)) continue;
        hwb__plot_short(text, sizeof text, s->z[i], 3);
        bool dark = hwb__plot_luminance(back) < 0.3;
        hwb__put_text(c, &(hwb__label){.text = text,
                                       .x = hwb__plot_map(&v->x, s->x[i % s->cols]),
                                       .y = hwb__plot_map(&v->y, s->y[i / s->cols]),
                                       .size = size,
                                       .h = HWB__CENTER,
                                       .v = HWB__MIDDLE,
                                       .color = hwb__plot_rgba(dark ? 0xFFFFFF : HWB__INK, 1)});
    }
}

/* ---- level lines --------------------------------------------------------------------- */

/* A polyline on the canvas with its arc length. */
typedef struct track {
    int64_t n;
    double *x, *y, *at;
} track;

static bool track_of(hwb__canvas *c, hwb__view *v, const hwb__polyline *p, track *out) {
    *out = (track){.n = p->n};
    out->x = hwb__plot_array(c->ctx, v->arena, p->n, sizeof(double));
    out->y = hwb__plot_array(c->ctx, v->arena, p->n, sizeof(double));
    out->at = hwb__plot_array(c->ctx, v->arena, p->n, sizeof(double));
    if (!out->x || !out->y || !out->at) {
        c->status = HWB_ENOMEM;
        return false;
    }
    for (int64_t i = 0; i < p->n; i++) {
        out->x[i] = hwb__plot_map(&v->x, p->x[i]);
        out->y[i] = hwb__plot_map(&v->y, p->y[i]);
        if (isnan(out->x[i] + out->y[i])) return false; /* crosses the edge of a log axis */
        if (i > 0)
            out->at[i] =
                out->at[i - 1] + hypot(out->x[i] - out->x[i - 1], out->y[i] - out->y[i - 1]);
    }
    return p->n > 1;
}

static void point_at(const track *t, double s, double *x, double *y) {
    int64_t i = 1;
    while (i < t->n - 1 && t->at[i] < s) i++;
    double len = t->at[i] - t->at[i - 1], u = len > 0 ? (s - t->at[i - 1]) / len : 0;
    *x = t->x[i - 1] + u * (t->x[i] - t->x[i - 1]);
    *y = t->y[i - 1] + u * (t->y[i] - t->y[i - 1]);
}

static void stretch(hwb__canvas *c, const track *t, double from, double to) {
    double x, y;
    if (to <= from) return;
    point_at(t, from, &x, &y);
    hwb__move(c, x, y);
    for (int64_t i = 0; i < t->n; i++)
        if (t->at[i] > from && t->at[i] < to) hwb__line(c, t->x[i], t->y[i]);
    point_at(t, to, &x, &y);
    hwb__line(c, x, y);
}

/* The straightest free stretch for a label of half width `half`; < 0 if none. */
static double label_spot(hwb__view *v, const track *t, double half) {
    double length = t->at[t->n - 1], best = -1, score = 0.93;
    if (length < 5 * half) return -1;
    for (int k = 0; k <= 32; k++) {
        double s = 1.3 * half + (length - 2.6 * half) * k / 32, a[2], b[2], m[2];
        point_at(t, s - half, &a[0], &a[1]);
        point_at(t, s + half, &b[0], &b[1]);
        point_at(t, s, &m[0], &m[1]);
        double straight = hypot(b[0] - a[0], b[1] - a[1]) / (2 * half);
        double reach = half + 6;
        bool fits = m[0] - reach > v->box.x && m[0] + reach < v->box.x + v->box.w &&
                    m[1] - reach > v->box.y && m[1] + reach < v->box.y + v->box.h;
        hwb__rect r = {m[0] - reach, m[1] - reach, 2 * reach, 2 * reach};
        if (!fits || straight <= score || hwb__busy_count(v, r) > 0) continue;
        score = straight;
        best = s;
    }
    return best;
}

static void level_line(hwb__canvas *c, hwb__view *v, const hwb__series *s, const hwb__polyline *p,
                       const char *text, hwb__rgba line, hwb__rgba ink) {
    track t;
    if (!track_of(c, v, p, &t)) return;
    double length = t.at[t.n - 1], size = 7, half = 0, spot = -1;
    if (s->labels && !c->dots) {
        half = hwb__text_width(c->font, text, size) / 2 + 2;
        spot = label_spot(v, &t, half);
    }
    stretch(c, &t, 0, spot < 0 ? length : spot - half);
    if (spot >= 0) stretch(c, &t, spot + half, length);
    hwb__stroke(c, line, s->style.width * v->unit, HWB_DASH_SOLID);
    if (spot < 0) return;
    double a[2], b[2];
    point_at(&t, spot - half, &a[0], &a[1]);
    point_at(&t, spot + half, &b[0], &b[1]);
    double angle = atan2(a[1] - b[1], b[0] - a[0]) * 180 / M_PI;
    if (angle > 90) angle -= 180;
    if (angle < -90) angle += 180;
    hwb__rect r = {(a[0] + b[0]) / 2, (a[1] + b[1]) / 2, 0, 0};
    hwb__put_text(c, &(hwb__label){.text = text,
                                   .x = r.x,
                                   .y = r.y,
                                   .size = size,
                                   .angle = angle,
                                   .h = HWB__CENTER,
                                   .v = HWB__MIDDLE,
                                   .color = ink});
    hwb__busy_mark(v, (hwb__rect){r.x - half - 6, r.y - half - 6, 2 * half + 12, 2 * half + 12});
}

static void level_lines(hwb__canvas *c, hwb__view *v, const shades *k) {
    const hwb__series *s = k->s;
    double *z = s->z;
    if (s->zlog) {
        int64_t n = s->rows * s->cols;
        z = hwb__plot_array(c->ctx, v->arena, n, sizeof *z);
        if (!z) {
            c->status = HWB_ENOMEM;
            return;
        }
        for (int64_t i = 0; i < n; i++) z[i] = s->z[i] > 0 ? log10(s->z[i]) : NAN;
    }
    for (int64_t i = 0; i < k->level_n && c->status == HWB_OK; i++) {
        double level = k->levels[i];
        hwb__polyline *p = NULL;
        char text[48];
        hwb__plot_short(text, sizeof text, level, 4);
        c->status = hwb__plot_contour_lines(c->ctx, v->arena, &p, s->rows, s->cols, s->x, s->y, z,
                                            s->zlog ? log10(level) : level);
        double t = hwb__plot_zunit(s, k->lo, k->hi, level);
        hwb__rgba own = hwb__plot_colormap(s->colormap, isnan(t) ? 0 : t);
        bool dark = hwb__plot_luminance(own) < 0.22;
        hwb__rgba line = own, ink = own;
        if (s->filled && !c->dots) {
            line = hwb__plot_rgba(dark ? 0xFFFFFF : 0x000000, 0.55);
            ink = hwb__plot_rgba(dark ? 0xFFFFFF : 0x000000, 0.9);
        }
        for (; p && c->status == HWB_OK; p = p->next) level_line(c, v, s, p, text, line, ink);
    }
}

/* ---- entry points ---------------------------------------------------------------------- */

void hwb__draw_field(hwb__canvas *c, hwb__view *v, const hwb__series *s, hwb__pass pass) {
    shades k;
    if (s->rows == 0 || s->cols == 0 || !shades_of(c, v->arena, s, &k)) return;
    if (pass == HWB__WORDS) {
        if (s->kind == HWB__HEAT && s->values && !c->dots) cell_values(c, v, &k);
        return;
    }
    if (pass != HWB__BODY) return;
    if (s->kind == HWB__HEAT && !v->x.log && !v->y.log && even(s->x, s->cols) &&
        even(s->y, s->rows))
        cell_image(c, v, &k);
    else if (s->kind == HWB__HEAT || s->filled) raster(c, v, &k);
    if (s->kind == HWB__CONTOUR) level_lines(c, v, &k);
}

void hwb__draw_colorbar(hwb__canvas *c, hwb__view *v, const hwb__series *s, hwb__rect bar) {
    enum { STEPS = 256 };
    shades k;
    unsigned char rgba[4 * STEPS];
    if (!shades_of(c, v->arena, s, &k)) return;
    for (int i = 0; i < STEPS; i++) {
        double t = 1 - (i + 0.5) / STEPS;
        double z = s->zlog ? pow(10, log10(k.lo) + t * (log10(k.hi) - log10(k.lo)))
                           : k.lo + t * (k.hi - k.lo);
        put_pixel(rgba + 4 * i, &k, z);
    }
    c->image(c, bar, 1, STEPS, rgba, !k.band);
}
