/*
 * Canvas parts that every writer shares: the path under construction, paint
 * shorthands, dash patterns and marker shapes.
 */
#include "plot/canvas_i.h"

#include <math.h>
#include <string.h>

static void add(hwb__canvas *c, char op, double x, double y) {
    if (c->status != HWB_OK) return;
    if (c->path_n == c->path_cap) {
        size_t cap = c->path_cap ? 2 * c->path_cap : 256;
        hwb__point *p = hwb_alloc(c->ctx, cap * sizeof *p);
        if (!p) {
            c->status = HWB_ENOMEM;
            return;
        }
        if (c->path_n) memcpy(p, c->path, c->path_n * sizeof *p);
        hwb_free(c->path);
        c->path = p;
        c->path_cap = cap;
    }
    c->path[c->path_n++] = (hwb__point){x, y, op};
}

void hwb__move(hwb__canvas *c, double x, double y) {
    add(c, 'M', x, y);
}
void hwb__line(hwb__canvas *c, double x, double y) {
    add(c, 'L', x, y);
}

void hwb__curve(hwb__canvas *c, double x1, double y1, double x2, double y2, double x, double y) {
    add(c, 'C', x1, y1);
    add(c, 'C', x2, y2);
    add(c, 'C', x, y);
}

void hwb__close(hwb__canvas *c) {
    add(c, 'Z', 0, 0);
}

void hwb__path_rect(hwb__canvas *c, hwb__rect r) {
    hwb__move(c, r.x, r.y);
    hwb__line(c, r.x + r.w, r.y);
    hwb__line(c, r.x + r.w, r.y + r.h);
    hwb__line(c, r.x, r.y + r.h);
    hwb__close(c);
}

/* A quarter circle of radius 1 is the cubic with controls at 0.5523. */
#define ARC 0.5522847498

void hwb__path_round_rect(hwb__canvas *c, hwb__rect r, double q) {
    double x1 = r.x + r.w, y1 = r.y + r.h, k = q * (1 - ARC);
    hwb__move(c, r.x + q, r.y);
    hwb__line(c, x1 - q, r.y);
    hwb__curve(c, x1 - k, r.y, x1, r.y + k, x1, r.y + q);
    hwb__line(c, x1, y1 - q);
    hwb__curve(c, x1, y1 - k, x1 - k, y1, x1 - q, y1);
    hwb__line(c, r.x + q, y1);
    hwb__curve(c, r.x + k, y1, r.x, y1 - k, r.x, y1 - q);
    hwb__line(c, r.x, r.y + q);
    hwb__curve(c, r.x, r.y + k, r.x + k, r.y, r.x + q, r.y);
    hwb__close(c);
}

void hwb__paint_path(hwb__canvas *c, const hwb__paint *p) {
    if (c->status == HWB_OK && c->path_n > 0) c->paint(c, p);
    c->path_n = 0;
}

void hwb__fill(hwb__canvas *c, hwb__rgba fill) {
    hwb__paint_path(c, &(hwb__paint){.fill = fill});
}

void hwb__stroke(hwb__canvas *c, hwb__rgba line, double width, hwb_dash dash) {
    hwb__paint_path(c, &(hwb__paint){.line = line, .width = width, .dash = dash, .round = true});
}

void hwb__put_text(hwb__canvas *c, const hwb__label *t) {
    if (c->status == HWB_OK && t->text && t->text[0]) c->text(c, t);
}

int hwb__dash_lengths(hwb_dash dash, double width, double out[4]) {
    double w = fmax(width, 0.8);
    switch (dash) {
    case HWB_DASH_DASHED: out[0] = 3.7 * w, out[1] = 1.8 * w; return 2;
    case HWB_DASH_DOTTED: out[0] = 1.0 * w, out[1] = 1.6 * w; return 2;
    case HWB_DASH_DASHDOT:
        out[0] = 5.0 * w, out[1] = 1.6 * w, out[2] = 1.0 * w, out[3] = 1.6 * w;
        return 4;
    case HWB_DASH_SOLID:
    case HWB_DASH_NONE: break;
    }
    return 0;
}

static void circle(hwb__canvas *c, double x, double y, double r) {
    double k = r * ARC;
    hwb__move(c, x + r, y);
    hwb__curve(c, x + r, y + k, x + k, y + r, x, y + r);
    hwb__curve(c, x - k, y + r, x - r, y + k, x - r, y);
    hwb__curve(c, x - r, y - k, x - k, y - r, x, y - r);
    hwb__curve(c, x + k, y - r, x + r, y - k, x + r, y);
    hwb__close(c);
}

/* Corners at alternating radii, the first at the top. */
static void polygon(hwb__canvas *c, double x, double y, int n, double r_even, double r_odd) {
    for (int i = 0; i < n; i++) {
        double a = 2 * M_PI * i / n, r = i % 2 ? r_odd : r_even;
        (i ? hwb__line : hwb__move)(c, x + r * sin(a), y - r * cos(a));
    }
    hwb__close(c);
}

/* Radii give the shapes about the same area at equal `size`. */
void hwb__marker_at(hwb__canvas *c, hwb_marker m, double x, double y, double size,
                    hwb__rgba color) {
    double r = size / 2;
    switch (m) {
    case HWB_MARKER_NONE: return;
    case HWB_MARKER_CIRCLE: circle(c, x, y, r); break;
    case HWB_MARKER_SQUARE:
        hwb__path_rect(c, (hwb__rect){x - 0.89 * r, y - 0.89 * r, 1.78 * r, 1.78 * r});
        break;
    case HWB_MARKER_DIAMOND: polygon(c, x, y, 4, 1.25 * r, 1.25 * r); break;
    case HWB_MARKER_TRIANGLE: polygon(c, x, y + 0.15 * r, 3, 1.3 * r, 1.3 * r); break;
    case HWB_MARKER_STAR: polygon(c, x, y, 10, 1.6 * r, 0.65 * r); break;
    case HWB_MARKER_PLUS:
    case HWB_MARKER_CROSS: {
        double a = m == HWB_MARKER_PLUS ? 1.15 * r : 0, b = m == HWB_MARKER_CROSS ? 0.9 * r : 0;
        hwb__move(c, x - a - b, y - b);
        hwb__line(c, x + a + b, y + b);
        hwb__move(c, x - b, y + a + b);
        hwb__line(c, x + b, y - a - b);
        hwb__stroke(c, color, fmax(0.8, 0.28 * size), HWB_DASH_SOLID);
        return;
    }
    }
    hwb__fill(c, color);
}

void hwb__canvas_done(hwb__canvas *c) {
    hwb_free(c->path);
    c->path = NULL;
}
