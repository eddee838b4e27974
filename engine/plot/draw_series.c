/*
 * Drawing of lines, points, bars, histograms, areas, rules and text.
 *
 * Polylines break at values that cannot be placed.  Very long ones are reduced
 * to the first, lowest, highest and last point of every half point of width,
 * which paints the same pixels.
 */
#include "plot/canvas_i.h"

#include <math.h>

static double px(const hwb__view *v, double x) {
    return hwb__plot_map(&v->x, x);
}
static double py(const hwb__view *v, double y) {
    return hwb__plot_map(&v->y, y);
}

/* Position of y, or the foot of the axis when y is below what it can show. */
static double py_or_foot(const hwb__view *v, double y) {
    double p = py(v, y);
    return isnan(p) && !isnan(y) && v->y.log ? v->y.p0 : p;
}

static double size_of(const hwb__canvas *c, const hwb__view *v, double points) {
    double s = points * v->unit;
    return c->dots ? fmin(4, fmax(1.6, s)) : s;
}

static bool inside(const hwb__view *v, double x, double y) {
    return x >= v->box.x - 0.5 && x <= v->box.x + v->box.w + 0.5 && y >= v->box.y - 0.5 &&
           y <= v->box.y + v->box.h + 0.5; /* false for NaN */
}

/* ---- free space ---------------------------------------------------------------- */

static void busy_range(const hwb__view *v, hwb__rect r, int out[4]) {
    double x = (r.x - v->busy_x) * v->busy_unit, y = (r.y - v->busy_y) * v->busy_unit;
    out[0] = (int)fmax(0, floor(x));
    out[1] = (int)fmax(0, floor(y));
    out[2] = (int)fmin(v->busy->w, ceil(x + r.w * v->busy_unit));
    out[3] = (int)fmin(v->busy->h, ceil(y + r.h * v->busy_unit));
}

int64_t hwb__busy_count(const hwb__view *v, hwb__rect r) {
    int64_t n = 0;
    int b[4];
    if (!v->busy) return 0;
    busy_range(v, r, b);
    for (int y = b[1]; y < b[3]; y++)
        for (int x = b[0]; x < b[2]; x++) n += v->busy->on[(size_t)y * (size_t)v->busy->w + x];
    return n;
}

void hwb__busy_mark(hwb__view *v, hwb__rect r) {
    int b[4];
    if (!v->busy) return;
    busy_range(v, r, b);
    for (int y = b[1]; y < b[3]; y++)
        for (int x = b[0]; x < b[2]; x++) v->busy->on[(size_t)y * (size_t)v->busy->w + x] = 1;
}

/* Write `text` on the emptiest of eight sides of (x, y). */
static void place_text(hwb__canvas *c, hwb__view *v, double x, double y, const char *text,
                       double size, hwb__rgba color) {
    static const double side[8][2] = {{1, 1},    {-1, 1},  {1, -1},   {-1, -1},
                                      {0, 1.25}, {1.3, 0}, {-1.3, 0}, {0, -1.25}};
    if (c->dots) {
        hwb__put_text(
            c, &(hwb__label){.text = text, .x = x + 3, .y = y, .size = size, .color = color});
        return;
    }
    double w = hwb__text_width(c->font, text, size), h = 0.95 * size, gap = 4.5;
    hwb__rect best = {0};
    int64_t least = -1;
    for (int i = 0; i < 8; i++) {
        double sx = side[i][0], sy = side[i][1];
        hwb__rect r = {.w = w, .h = h};
        r.x = x + sx * gap - (sx > 0 ? 0 : sx < 0 ? w : w / 2);
        r.y = y - sy * gap - (sy > 0 ? h : sy < 0 ? 0 : h / 2);
        int64_t score = hwb__busy_count(v, (hwb__rect){r.x - 1, r.y - 1, r.w + 2, r.h + 2});
        bool out = r.x < v->box.x || r.x + r.w > v->box.x + v->box.w || r.y < v->box.y ||
                   r.y + r.h > v->box.y + v->box.h;
        score += out ? 100000 : 0;
        if (least < 0 || score < least) least = score, best = r;
    }
    hwb__put_text(c, &(hwb__label){.text = text,
                                   .x = best.x,
                                   .y = best.y + 0.82 * size,
                                   .size = size,
                                   .color = color,
                                   .halo = 1.4});
    hwb__busy_mark(v, best);
}

/* ---- lines ------------------------------------------------------------------------- */

static void line_to(hwb__canvas *c, hwb_step step, double *last, double x, double y) {
    double x0 = last[0], y0 = last[1];
    if (step == HWB_STEP_POST) hwb__line(c, x, y0);
    else if (step == HWB_STEP_PRE) hwb__line(c, x0, y);
    else if (step == HWB_STEP_MID) {
        hwb__line(c, (x0 + x) / 2, y0);
        hwb__line(c, (x0 + x) / 2, y);
    }
    hwb__line(c, x, y);
    last[0] = x, last[1] = y;
}

/* Points that fall on one column of half a point, waiting to be drawn. */
typedef struct column {
    double x, lo, hi, end;
    bool any;
} column;

static void flush_column(hwb__canvas *c, column *k, double *last) {
    if (!k->any) return;
    line_to(c, HWB_STEP_NONE, last, k->x, k->lo);
    line_to(c, HWB_STEP_NONE, last, k->x, k->hi);
    line_to(c, HWB_STEP_NONE, last, k->x, k->end);
    k->any = false;
}

static void polyline(hwb__canvas *c, const hwb__view *v, const hwb__series *s) {
    bool reduce = s->step == HWB_STEP_NONE && s->n > 8 * v->box.w, open = false;
    double last[2] = {0};
    column k = {0};
    double dot = fmax(2 * s->style.width, 2) * v->unit;
    hwb__rgba color = hwb__plot_rgba(s->style.color, s->style.alpha);
    for (int64_t i = 0; i < s->n; i++) {
        double x = px(v, s->x[i]), y = py(v, s->y[i]);
        if (isnan(x) || isnan(y)) {
            flush_column(c, &k, last);
            open = false;
            continue;
        }
        double next = i + 1 < s->n ? px(v, s->x[i + 1]) + py(v, s->y[i + 1]) : NAN;
        if (!open) {
            hwb__move(c, x, y);
            last[0] = x, last[1] = y;
            if (isnan(next) && s->style.marker == HWB_MARKER_NONE) {
                /* A point between gaps would be an invisible line. */
                hwb__stroke(c, color, s->style.width * v->unit, s->style.dash);
                if (inside(v, x, y)) hwb__marker_at(c, HWB_MARKER_CIRCLE, x, y, dot, color);
            }
            open = true;
        } else if (!reduce) line_to(c, s->step, last, x, y);
        else {
            double at = floor(2 * x) / 2;
            if (k.any && at != k.x) flush_column(c, &k, last);
            if (!k.any) k = (column){at, y, y, y, true};
            k.lo = fmin(k.lo, y), k.hi = fmax(k.hi, y), k.end = y;
        }
    }
    flush_column(c, &k, last);
    hwb__stroke(c, color, s->style.width * v->unit, s->style.dash);
}

static void band(hwb__canvas *c, const hwb__view *v, const hwb__series *s) {
    hwb__rgba fill = hwb__plot_rgba(s->style.color, 0.2 * s->style.alpha);
    for (int64_t i = 0; i < s->n;) {
        int64_t j = i;
        for (; j < s->n; j++)
            if (isnan(px(v, s->x[j]) + py(v, s->hi[j]) + py_or_foot(v, s->lo[j]))) break;
        for (int64_t k = i; k < j; k++)
            (k == i ? hwb__move : hwb__line)(c, px(v, s->x[k]), py(v, s->hi[k]));
        for (int64_t k = j - 1; k >= i; k--) hwb__line(c, px(v, s->x[k]), py_or_foot(v, s->lo[k]));
        if (j > i) {
            hwb__close(c);
            hwb__fill(c, fill);
        }
        i = j + 1;
    }
}

/* From value-minus to value+plus at `at`; `across`: along x instead. */
static void error_bar(hwb__canvas *c, const hwb__view *v, double at, double value, double minus,
                      double plus, bool across) {
    const hwb__scale *along = across ? &v->x : &v->y;
    double a = hwb__plot_map(along, value - minus), b = hwb__plot_map(along, value + plus);
    if (isnan(a) && along->log && !isnan(minus)) a = along->p0;
    if (isnan(a) || isnan(b) || isnan(at)) return;
    double cap = c->dots ? 0 : 2.2 * v->unit;
    const double ends[2] = {a, b};
    if (across) {
        hwb__move(c, a, at);
        hwb__line(c, b, at);
    } else {
        hwb__move(c, at, a);
        hwb__line(c, at, b);
    }
    for (int i = 0; i < 2 && cap > 0; i++) {
        hwb__move(c, across ? ends[i] : at - cap, across ? at - cap : ends[i]);
        hwb__line(c, across ? ends[i] : at + cap, across ? at + cap : ends[i]);
    }
}

static void draw_line(hwb__canvas *c, hwb__view *v, const hwb__series *s, hwb__pass pass) {
    hwb__rgba color = hwb__plot_rgba(s->style.color, s->style.alpha);
    if (pass == HWB__BODY) {
        if (s->lo) band(c, v, s);
        for (int64_t i = 0; s->em && i < s->n; i++)
            error_bar(c, v, px(v, s->x[i]), s->y[i], s->em[i], s->ep[i], false);
        hwb__stroke(c, color, 1.0 * v->unit, HWB_DASH_SOLID);
        if (s->style.dash != HWB_DASH_NONE) polyline(c, v, s);
        return;
    }
    for (int64_t i = 0; i < s->n; i++) {
        double x = px(v, s->x[i]), y = py(v, s->y[i]);
        if (!inside(v, x, y)) continue;
        if (pass == HWB__MARKS && s->style.marker != HWB_MARKER_NONE)
            hwb__marker_at(c, s->style.marker, x, y, size_of(c, v, s->style.size), color);
        if (pass == HWB__WORDS && s->names && s->names[i])
            place_text(c, v, x, y, s->names[i], 8, hwb__plot_rgba(HWB__INK, 1));
    }
}

/* ---- areas, histograms, bars ---------------------------------------------------------- */

static void draw_area(hwb__canvas *c, const hwb__view *v, const hwb__series *s) {
    double foot = v->y.log ? v->y.p0 : py(v, 0);
    if (s->n == 0 || isnan(foot)) return;
    if (s->filled) {
        hwb__move(c, px(v, s->x[0]), foot);
        for (int64_t i = 0; i < s->n; i++) {
            double x = px(v, s->x[i]);
            if (!isnan(x)) hwb__line(c, x, fmin(foot, py_or_foot(v, s->y[i])));
        }
        hwb__line(c, px(v, s->x[s->n - 1]), foot);
        hwb__close(c);
        hwb__fill(c, hwb__plot_rgba(s->style.color, 0.25 * s->style.alpha));
    }
    polyline(c, v, s);
}

static void draw_hist(hwb__canvas *c, const hwb__view *v, const hwb__series *s) {
    double foot = v->y.log ? v->y.p0 : py(v, 0);
    if (isnan(foot)) return;
    hwb__rgba edge = hwb__plot_rgba(0xFFFFFF, 1);
    for (int64_t i = 0; i < s->n; i++) {
        double x0 = px(v, s->x[i]), x1 = px(v, s->x[i + 1]), y = py(v, s->y[i]);
        if (isnan(x0 + x1 + y) || s->y[i] == 0) continue;
        hwb__path_rect(c, (hwb__rect){x0, y, x1 - x0, foot - y});
        bool room = fabs(x1 - x0) > 3 && !c->dots;
        hwb__paint_path(c, &(hwb__paint){.fill = hwb__plot_rgba(s->style.color, s->style.alpha),
                                         .line = edge,
                                         .width = room ? s->style.width : 0});
    }
}

static void bar_value(hwb__canvas *c, const hwb__view *v, const hwb__series *s, int64_t k,
                      double end, double middle) {
    char text[48];
    hwb__plot_short(text, sizeof text, s->y[k], 3);
    bool up = s->y[k] >= 0 || v->y.log;
    hwb__label t = {.text = text, .size = 7.5, .color = hwb__plot_rgba(HWB__INK, 1)};
    if (s->horizontal) {
        t.x = end + (up ? 3 : -3), t.y = middle;
        t.h = up ? HWB__LEFT : HWB__RIGHT, t.v = HWB__MIDDLE;
    } else {
        t.x = middle, t.y = end + (up ? -3 : 3);
        t.h = HWB__CENTER, t.v = up ? HWB__BASELINE : HWB__TOP;
    }
    hwb__put_text(c, &t);
}

static void draw_bars(hwb__canvas *c, const hwb__view *v, const hwb__series *s, hwb__pass pass) {
    const hwb__scale *along = s->horizontal ? &v->x : &v->y,
                     *across = s->horizontal ? &v->y : &v->x;
    double foot = along->log ? along->p0 : hwb__plot_map(along, 0);
    for (int64_t k = 0; k < s->groups * s->n; k++) {
        int64_t g = k / s->n, i = k % s->n;
        double each = s->span / (double)s->groups;
        double left = (double)(i + 1) - s->span / 2 + each * (double)g;
        double a = hwb__plot_map(across, left + 0.03 * each);
        double b = hwb__plot_map(across, left + 0.97 * each);
        double end = hwb__plot_map(along, s->y[k]), mid = (a + b) / 2;
        if (isnan(a + b + end + foot)) continue;
        if (pass == HWB__BODY) {
            hwb__rect r = s->horizontal ? (hwb__rect){foot, a, end - foot, b - a}
                                        : (hwb__rect){a, foot, b - a, end - foot};
            hwb__path_rect(c, r);
            hwb__fill(c, hwb__plot_rgba(s->styles[g].color, s->styles[g].alpha));
            if (!s->em || isnan(s->em[k])) continue;
            error_bar(c, v, mid, s->y[k], s->em[k], s->ep[k], s->horizontal);
            hwb__stroke(c, hwb__plot_rgba(0x333333, 1), 0.9 * v->unit, HWB_DASH_SOLID);
        } else if (pass == HWB__WORDS && s->values && !c->dots) {
            double top = s->em && s->ep[k] >= 0 ? hwb__plot_map(along, s->y[k] + s->ep[k]) : end;
            bar_value(c, v, s, k, isnan(top) ? end : top, mid);
        }
    }
}

/* ---- rules and text ---------------------------------------------------------------------- */

static void draw_rule(hwb__canvas *c, const hwb__view *v, const hwb__series *s) {
    double p = s->axis == HWB_AXIS_X ? px(v, s->x[0]) : py(v, s->x[0]);
    if (isnan(p)) return;
    const hwb__rect *b = &v->box;
    hwb__move(c, s->axis == HWB_AXIS_X ? p : b->x, s->axis == HWB_AXIS_X ? b->y : p);
    hwb__line(c, s->axis == HWB_AXIS_X ? p : b->x + b->w, s->axis == HWB_AXIS_X ? b->y + b->h : p);
    hwb__stroke(c, hwb__plot_rgba(s->style.color, s->style.alpha), s->style.width * v->unit,
                s->style.dash);
}

/* A line from the text's edge to just short of (x, y), with a head. */
static void arrow(hwb__canvas *c, double x0, double y0, double x, double y, hwb__rgba color) {
    double dx = x - x0, dy = y - y0, len = hypot(dx, dy);
    if (len < 9) return;
    double ux = dx / len, uy = dy / len, tx = x - 4 * ux, ty = y - 4 * uy;
    hwb__move(c, x0, y0);
    hwb__line(c, tx - 4 * ux, ty - 4 * uy);
    hwb__stroke(c, color, 0.8, HWB_DASH_SOLID);
    hwb__move(c, tx, ty);
    hwb__line(c, tx - 5 * ux - 2 * uy, ty - 5 * uy + 2 * ux);
    hwb__line(c, tx - 5 * ux + 2 * uy, ty - 5 * uy - 2 * ux);
    hwb__close(c);
    hwb__fill(c, color);
}

static void draw_text(hwb__canvas *c, hwb__view *v, const hwb__series *s, hwb__pass pass) {
    double x = px(v, s->x[0]), y = py(v, s->y[0]);
    bool free_place = c->dots || (s->dx == 0 && s->dy == 0);
    if (!inside(v, x, y) || free_place != (pass == HWB__WORDS)) return;
    hwb__rgba color = hwb__plot_rgba(s->style.color, 1);
    if (free_place) {
        place_text(c, v, x, y, s->text, s->style.size, color);
        return;
    }
    double size = s->style.size, w = hwb__text_width(c->font, s->text, size);
    double tx = x + s->dx, ty = y - s->dy; /* the near edge of the text */
    hwb__halign h = fabs(s->dx) < 0.5 * fabs(s->dy) ? HWB__CENTER
                    : s->dx > 0                     ? HWB__LEFT
                                                    : HWB__RIGHT;
    double vy = h != HWB__CENTER ? 0.36 * size : s->dy > 0 ? -0.2 * size : 0.9 * size;
    if (s->arrow) {
        double gap = h == HWB__CENTER ? 0 : h == HWB__LEFT ? -2 : 2;
        arrow(c, tx + gap, ty, x, y, color);
        for (double t = 0; t <= 1; t += 0.05)
            hwb__busy_mark(v, (hwb__rect){tx + t * (x - tx) - 1, ty + t * (y - ty) - 1, 2, 2});
    }
    hwb__put_text(c, &(hwb__label){.text = s->text,
                                   .x = tx,
                                   .y = ty + vy,
                                   .size = size,
                                   .h = h,
                                   .color = color,
                                   .halo = 1.4});
    double left = h == HWB__LEFT ? tx : h == HWB__CENTER ? tx - w / 2 : tx - w;
    hwb__busy_mark(v, (hwb__rect){left, ty + vy - 0.8 * size, w, size});
}

void hwb__draw_series(hwb__canvas *c, hwb__view *v, const hwb__series *s, hwb__pass pass) {
    switch (s->kind) {
    case HWB__LINE: draw_line(c, v, s, pass); break;
    case HWB__BARS: draw_bars(c, v, s, pass); break;
    case HWB__HEAT:
    case HWB__CONTOUR: hwb__draw_field(c, v, s, pass); break;
    case HWB__AREA:
        if (pass == HWB__BODY) draw_area(c, v, s);
        break;
    case HWB__HIST:
        if (pass == HWB__BODY) draw_hist(c, v, s);
        break;
    case HWB__RULE:
        if (pass == HWB__BODY) draw_rule(c, v, s);
        break;
    case HWB__TEXT:
        if (pass == HWB__WORDS || pass == HWB__FIXED_WORDS) draw_text(c, v, s, pass);
        break;
    }
}
