/*
 * Dot canvas: one bit a dot, one colour a character cell of 2x4 dots, as
 * braille shows them.  Two users: the terminal writer, and the search for free
 * space (legend, point labels), which only asks which dots are set.
 *
 * Strokes are one dot wide; light fills become a sparse pattern, so that lines
 * over a shaded band stay visible; images set cell backgrounds.
 */
#include "plot/canvas_i.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CURVE_STEPS = 8, MAX_CROSSINGS = 256 };

static uint32_t pack(hwb__rgba c) {
    return (uint32_t)lround(255 * c.r) << 16 | (uint32_t)lround(255 * c.g) << 8 |
           (uint32_t)lround(255 * c.b);
}

static bool visible(const hwb__dots *d, int x, int y) {
    if (x < 0 || y < 0 || x >= d->w || y >= d->h) return false;
    return !d->clipped || (x + 0.5 >= d->clip.x && x + 0.5 <= d->clip.x + d->clip.w &&
                           y + 0.5 >= d->clip.y && y + 0.5 <= d->clip.y + d->clip.h);
}

static void set_dot(hwb__dots *d, int x, int y, uint32_t color) {
    if (!visible(d, x, y)) return;
    d->on[(size_t)y * (size_t)d->w + (size_t)x] = 1;
    d->color[(size_t)(y / 4) * (size_t)d->cells_w + (size_t)(x / 2)] = color;
}

/* Cut the segment to 0..w x 0..h (Liang & Barsky 1984); false if outside. */
static bool cut(const hwb__dots *d, double p[4]) {
    double t0 = 0, t1 = 1, dx = p[2] - p[0], dy = p[3] - p[1];
    double q[4][2] = {{-dx, p[0]}, {dx, d->w - p[0]}, {-dy, p[1]}, {dy, d->h - p[1]}};
    for (int i = 0; i < 4; i++) {
        if (q[i][0] == 0) {
            if (q[i][1] < 0) return false;
            continue;
        }
        double t = q[i][1] / q[i][0];
        if (q[i][0] < 0) t0 = fmax(t0, t);
        else t1 = fmin(t1, t);
        if (t0 > t1) return false;
    }
    p[2] = p[0] + t1 * dx, p[3] = p[1] + t1 * dy;
    p[0] += t0 * dx, p[1] += t0 * dy;
    return true;
}

/* `at` counts dots along the path and decides which a dash leaves out. */
static void segment(hwb__dots *d, double x0, double y0, double x1, double y1, uint32_t color,
                    hwb_dash dash, int64_t *at) {
    double p[4] = {x0, y0, x1, y1};
    if (!cut(d, p)) return;
    double dx = p[2] - p[0], dy = p[3] - p[1];
    int64_t n = (int64_t)ceil(fmax(fabs(dx), fabs(dy)));
    for (int64_t i = 0; i <= n; i++) {
        double t = n ? (double)i / (double)n : 0;
        int64_t k = *at + i;
        bool off = (dash == HWB_DASH_DASHED && k % 6 >= 4) || (dash == HWB_DASH_DOTTED && k % 3) ||
                   (dash == HWB_DASH_DASHDOT && (k % 8 == 5 || k % 8 == 7));
        if (!off) set_dot(d, (int)floor(p[0] + t * dx), (int)floor(p[1] + t * dy), color);
    }
    *at += n;
}

/* Walk the path as straight pieces. */
typedef void (*piece_fn)(void *user, double x0, double y0, double x1, double y1);

static void walk(const hwb__canvas *c, piece_fn fn, void *user, bool close_all) {
    double sx = 0, sy = 0, x = 0, y = 0;
    for (size_t i = 0; i < c->path_n; i++) {
        const hwb__point *p = &c->path[i];
        if (p->op == 'M') {
            if (close_all && i > 0) fn(user, x, y, sx, sy);
            sx = x = p->x, sy = y = p->y;
        } else if (p->op == 'L') {
            fn(user, x, y, p->x, p->y);
            x = p->x, y = p->y;
        } else if (p->op == 'C') {
            double ax = x, ay = y;
            for (int k = 1; k <= CURVE_STEPS; k++) {
                double t = (double)k / CURVE_STEPS, u = 1 - t;
                double bx = u * u * u * ax + 3 * u * u * t * p[0].x + 3 * u * t * t * p[1].x +
                            t * t * t * p[2].x;
                double by = u * u * u * ay + 3 * u * u * t * p[0].y + 3 * u * t * t * p[1].y +
                            t * t * t * p[2].y;
                fn(user, x, y, bx, by);
                x = bx, y = by;
            }
            i += 2;
        } else {
            fn(user, x, y, sx, sy);
            x = sx, y = sy;
        }
    }
    if (close_all) fn(user, x, y, sx, sy);
}

typedef struct stroke_state {
    hwb__dots *d;
    uint32_t color;
    hwb_dash dash;
    int64_t at;
} stroke_state;

static void stroke_piece(void *user, double x0, double y0, double x1, double y1) {
    stroke_state *s = user;
    segment(s->d, x0, y0, x1, y1, s->color, s->dash, &s->at);
}

/* Even-odd fill: where the row through dot centres crosses the outline. */
typedef struct fill_state {
    double y;
    int n;
    double x[MAX_CROSSINGS];
} fill_state;

static void fill_piece(void *user, double x0, double y0, double x1, double y1) {
    fill_state *f = user;
    if ((y0 <= f->y) == (y1 <= f->y) || f->n == MAX_CROSSINGS) return;
    f->x[f->n++] = x0 + (f->y - y0) / (y1 - y0) * (x1 - x0);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void fill(hwb__dots *d, hwb__rgba color) {
    double top = d->h, bottom = 0;
    for (size_t i = 0; i < d->base.path_n; i++) {
        if (d->base.path[i].op == 'Z') continue;
        top = fmin(top, d->base.path[i].y);
        bottom = fmax(bottom, d->base.path[i].y);
    }
    uint32_t packed = pack(color);
    fill_state f;
    for (int y = (int)fmax(0, floor(top)); y < d->h && y <= bottom; y++) {
        f.y = y + 0.5;
        f.n = 0;
        walk(&d->base, fill_piece, &f, true);
        qsort(f.x, (size_t)f.n, sizeof f.x[0], ascending);
        for (int k = 0; k + 1 < f.n; k += 2) {
            int first = (int)fmax(0, ceil(f.x[k] - 0.5)), last = (int)fmin(d->w, f.x[k + 1] - 0.5);
            for (int x = first; x <= last; x++)
                if (color.a > 0.5 || (y % 2 == 0 && (x + y / 2) % 2 == 0)) set_dot(d, x, y, packed);
        }
    }
}

static void paint(hwb__canvas *c, const hwb__paint *p) {
    hwb__dots *d = (hwb__dots *)c;
    if (p->fill.a > 0) fill(d, p->fill);
    if (p->width > 0) {
        stroke_state s = {d, pack(p->line), p->dash, 0};
        walk(c, stroke_piece, &s, false);
    }
}

static void text(hwb__canvas *c, const hwb__label *t) {
    hwb__dots *d = (hwb__dots *)c;
    hwb__bytes plain = {.ctx = c->ctx};
    hwb__text_plain(&plain, t->text, false);
    int n = (int)hwb__utf8_length(plain.p, plain.n);
    int cell = (int)floor(t->x / 2), row = (int)floor(t->y / 4);
    cell -= t->h == HWB__LEFT ? 0 : t->h == HWB__CENTER ? n / 2 : n;
    if (cell + n > d->cells_w) cell = d->cells_w - n;
    if (cell < 0) cell = 0;
    for (size_t i = 0; i < plain.n && row >= 0 && row < d->cells_h && cell < d->cells_w; cell++) {
        unsigned char lead = (unsigned char)plain.p[i];
        int more = lead < 0xC0 ? 0 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
        uint32_t code = more == 0 ? lead : lead & (0x3Fu >> more);
        for (i++; more > 0 && i < plain.n; more--, i++)
            code = code << 6 | ((unsigned char)plain.p[i] & 0x3F);
        size_t at = (size_t)row * (size_t)d->cells_w + (size_t)cell;
        d->glyph[at] = code;
        d->color[at] = pack(t->color);
    }
    c->status = plain.status;
    hwb_free(plain.p);
}

static void image(hwb__canvas *c, hwb__rect r, int w, int h, const unsigned char *rgba,
                  bool smooth) {
    hwb__dots *d = (hwb__dots *)c;
    (void)smooth; /* a cell half has room for one sample */
    for (int cy = 0; cy < 2 * d->cells_h; cy++) {
        for (int cx = 0; cx < d->cells_w; cx++) {
            double x = 2 * cx + 1, y = 2 * cy + 1;
            if (x < r.x || x > r.x + r.w || y < r.y || y > r.y + r.h) continue;
            int ix = (int)fmin(w - 1, (x - r.x) / r.w * w);
            int iy = (int)fmin(h - 1, (y - r.y) / r.h * h);
            const unsigned char *p = rgba + 4 * ((size_t)iy * (size_t)w + (size_t)ix);
            if (p[3] < 128) continue;
            d->back[(size_t)cy * (size_t)d->cells_w + (size_t)cx] =
                0x1000000u | (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        }
    }
}

static void clip(hwb__canvas *c, hwb__rect r) {
    ((hwb__dots *)c)->clip = r;
    ((hwb__dots *)c)->clipped = true;
}

static void unclip(hwb__canvas *c) {
    ((hwb__dots *)c)->clipped = false;
}

hwb_status hwb__canvas_dots(hwb_ctx *ctx, hwb__dots **out, int w, int h) {
    hwb__dots *d = hwb_calloc(ctx, sizeof *d);
    if (!d) return HWB_ENOMEM;
    d->base = (hwb__canvas){.ctx = ctx,
                            .dots = true,
                            .paint = paint,
                            .text = text,
                            .image = image,
                            .clip = clip,
                            .unclip = unclip};
    d->w = w, d->h = h;
    d->cells_w = (w + 1) / 2, d->cells_h = (h + 3) / 4;
    size_t cells = (size_t)d->cells_w * (size_t)d->cells_h;
    d->on = hwb_calloc(ctx, (size_t)w * (size_t)h);
    d->color = hwb_calloc(ctx, cells * sizeof *d->color);
    d->back = hwb_calloc(ctx, 2 * cells * sizeof *d->back);
    d->glyph = hwb_calloc(ctx, cells * sizeof *d->glyph);
    if (!d->on || !d->color || !d->back || !d->glyph) {
        hwb__canvas_dots_free(d);
        return HWB_ENOMEM;
    }
    *out = d;
    return HWB_OK;
}

void hwb__canvas_dots_free(hwb__dots *d) {
    if (!d) return;
    hwb_free(d->on);
    hwb_free(d->color);
    hwb_free(d->back);
    hwb_free(d->glyph);
    hwb__canvas_done(&d->base);
    hwb_free(d);
}
