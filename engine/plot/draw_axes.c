/*
 * Frame, grid, ticks and names of a panel, and the whole figure.
 *
 * Charts have a left and a bottom spine and a light grid; fields a full frame
 * and no grid; twins a right spine.  With a twin, each y axis takes the colour
 * of its series when it has only one.
 */
#include "plot/canvas_i.h"

#include <math.h>
#include <string.h>

#define MAJOR 3.5
#define MINOR 2.0

static hwb__rgba ink(void) {
    return hwb__plot_rgba(HWB__INK, 1);
}

static bool has_field(const hwb_axes *ax) {
    for (const hwb__series *s = ax->first; s; s = s->next)
        if (s->kind == HWB__HEAT || s->kind == HWB__CONTOUR) return true;
    return false;
}

void hwb__draw_grid(hwb__canvas *c, const hwb__panel *p) {
    if (p->axes->no_grid || has_field(p->axes)) return;
    const hwb__rect *b = &p->box;
    /* Category axes need no lines: the names say which bar is which. */
    for (int64_t i = 0; i < p->tx.n && !p->axes->axis[HWB_AXIS_X].category; i++) {
        double x = hwb__plot_map(&p->x, p->tx.at[i]);
        hwb__move(c, x, b->y);
        hwb__line(c, x, b->y + b->h);
    }
    for (int64_t i = 0; i < p->ty.n && !p->axes->axis[HWB_AXIS_Y].category; i++) {
        double y = hwb__plot_map(&p->y, p->ty.at[i]);
        hwb__move(c, b->x, y);
        hwb__line(c, b->x + b->w, y);
    }
    hwb__stroke(c, hwb__plot_rgba(0xE4E4E4, 1), 0.6, HWB_DASH_SOLID);
}

/* "×10^{k}" for ticks that show value / 10^k. */
static void exponent(hwb__canvas *c, hwb__plot_arena *a, int k, double x, double y, hwb__halign h,
                     hwb__rgba color) {
    char digits[16], *text = hwb__plot_get(c->ctx, a, 32);
    if (k == 0 || c->status != HWB_OK) return;
    if (!text) {
        c->status = HWB_ENOMEM;
        return;
    }
    hwb__plot_fixed(digits, sizeof digits, k, 0);
    memcpy(text, "×10^{", 6);
    memcpy(text + 6, digits, strlen(digits));
    text[6 + strlen(digits)] = '}';
    hwb__put_text(
        c, &(hwb__label){.text = text, .x = x, .y = y, .size = HWB__TICK, .h = h, .color = color});
}

static void x_axis(hwb__canvas *c, hwb__plot_arena *a, const hwb__panel *p) {
    double y = p->box.y + p->box.h, x1 = p->box.x + p->box.w;
    for (int64_t i = 0; i < p->tx.n; i++) {
        double x = hwb__plot_map(&p->x, p->tx.at[i]);
        hwb__move(c, x, y);
        hwb__line(c, x, y + MAJOR);
    }
    hwb__stroke(c, ink(), 0.8, HWB_DASH_SOLID);
    for (int64_t i = 0; i < p->tx.minor_n; i++) {
        double x = hwb__plot_map(&p->x, p->tx.minor[i]);
        hwb__move(c, x, y);
        hwb__line(c, x, y + MINOR);
    }
    hwb__stroke(c, ink(), 0.6, HWB_DASH_SOLID);
    for (int64_t i = 0; i < p->tx.n; i += p->tick_every) {
        hwb__label t = {.text = p->tx.label[i],
                        .x = hwb__plot_map(&p->x, p->tx.at[i]),
                        .y = y + 6,
                        .size = p->tick_size,
                        .angle = p->tick_angle,
                        .color = ink()};
        if (p->tick_angle == 0) t.h = HWB__CENTER, t.v = HWB__TOP;
        else {
            t.h = HWB__RIGHT, t.v = HWB__MIDDLE; /* the end of the name at its tick */
            t.x += p->tick_angle == 90 ? 0 : 0.3 * p->tick_size;
            t.y += p->tick_angle == 90 ? 0 : 0.25 * p->tick_size;
        }
        hwb__put_text(c, &t);
    }
    double base = p->cell.y + p->cell.h - 5;
    if (p->axes->equal) base = y + p->bottom - 5;
    const char *label = p->axes->axis[HWB_AXIS_X].label;
    if (label)
        hwb__put_text(c, &(hwb__label){.text = label,
                                       .x = p->box.x + p->box.w / 2,
                                       .y = base,
                                       .size = HWB__LABEL,
                                       .h = HWB__CENTER,
                                       .color = ink()});
    exponent(c, a, p->tx.exponent, x1, base, HWB__RIGHT, ink());
}

/* Ticks to the right of x when side is +1, to its left when -1. */
static void y_ticks(hwb__canvas *c, const hwb__ticks *t, const hwb__scale *s, double x, int side,
                    hwb__rgba color) {
    for (int64_t i = 0; i < t->n; i++) {
        double y = hwb__plot_map(s, t->at[i]);
        hwb__move(c, x, y);
        hwb__line(c, x + side * MAJOR, y);
    }
    hwb__stroke(c, ink(), 0.8, HWB_DASH_SOLID);
    for (int64_t i = 0; i < t->minor_n; i++) {
        double y = hwb__plot_map(s, t->minor[i]);
        hwb__move(c, x, y);
        hwb__line(c, x + side * MINOR, y);
    }
    hwb__stroke(c, ink(), 0.6, HWB_DASH_SOLID);
    for (int64_t i = 0; i < t->n; i++)
        hwb__put_text(c, &(hwb__label){.text = t->label[i],
                                       .x = x + side * 5.5,
                                       .y = hwb__plot_map(s, t->at[i]),
                                       .size = HWB__TICK,
                                       .h = side < 0 ? HWB__RIGHT : HWB__LEFT,
                                       .v = HWB__MIDDLE,
                                       .color = color});
}

static void y_name(hwb__canvas *c, const char *text, const hwb__rect *b, double x,
                   hwb__rgba color) {
    if (text)
        hwb__put_text(c, &(hwb__label){.text = text,
                                       .x = x,
                                       .y = b->y + b->h / 2,
                                       .angle = 90,
                                       .size = HWB__LABEL,
                                       .h = HWB__CENTER,
                                       .color = color});
}

/* The colour of an axis with one series, when there are two axes. */
static hwb__rgba axis_color(const hwb_axes *ax, bool twins) {
    if (!twins || !ax->first || ax->first->next) return ink();
    uint32_t rgb = ax->first->kind == HWB__BARS && ax->first->groups ? ax->first->styles[0].color
                                                                     : ax->first->style.color;
    return hwb__plot_rgba(rgb, 1);
}

static void colorbar(hwb__canvas *c, hwb__plot_arena *a, const hwb__panel *p) {
    const hwb__series *f = hwb__panel_field(p->axes);
    if (!f || c->status != HWB_OK) return;
    double x = p->box.x + p->box.w + 8;
    if (p->axes->twin) x += p->ty2_width + 14;
    hwb__rect bar = {x, p->box.y, 10, p->box.h};
    hwb__view v = {.box = bar, .arena = a, .unit = 1};
    hwb__draw_colorbar(c, &v, f, bar);
    hwb__path_rect(c, bar);
    hwb__stroke(c, ink(), 0.6, HWB_DASH_SOLID);
    y_ticks(c, &p->tz, &p->z, x + bar.w, 1, ink());
    exponent(c, a, p->tz.exponent, x, p->box.y - 4, HWB__LEFT, ink());
    y_name(c, f->text, &p->box, x + bar.w + 6 + p->tz_width + 1.3 * HWB__LABEL, ink());
}

void hwb__draw_frame(hwb__canvas *c, hwb__plot_arena *a, const hwb__panel *p) {
    const hwb_axes *ax = p->axes;
    const hwb__rect *b = &p->box;
    double x1 = b->x + b->w, y1 = b->y + b->h;
    if (has_field(ax)) hwb__path_rect(c, *b);
    else {
        hwb__move(c, b->x, b->y);
        hwb__line(c, b->x, y1);
        hwb__line(c, x1, y1);
        if (ax->twin) hwb__line(c, x1, b->y);
    }
    hwb__paint_path(c, &(hwb__paint){.line = ink(), .width = 0.8});
    x_axis(c, a, p);
    hwb__rgba left = axis_color(ax, ax->twin != NULL);
    y_ticks(c, &p->ty, &p->y, b->x, -1, left);
    exponent(c, a, p->ty.exponent, b->x, b->y - 4, HWB__LEFT, left);
    y_name(c, ax->axis[HWB_AXIS_Y].label, b, b->x - p->ty_width - 6.5 - 0.45 * HWB__LABEL, left);
    if (ax->twin) {
        hwb__rgba right = axis_color(ax->twin, true);
        y_ticks(c, &p->ty2, &p->y2, x1, 1, right);
        exponent(c, a, p->ty2.exponent, x1, b->y - 4, HWB__RIGHT, right);
        y_name(c, ax->twin->axis[HWB_AXIS_Y].label, b, x1 + p->ty2_width + 6.5 + 1.2 * HWB__LABEL,
               right);
    }
    colorbar(c, a, p);
    if (ax->title)
        hwb__put_text(c, &(hwb__label){.text = ax->title,
                                       .x = b->x + b->w / 2,
                                       .y = b->y - 7,
                                       .size = HWB__TITLE,
                                       .h = HWB__CENTER,
                                       .color = ink()});
}

/* ---- the figure ---------------------------------------------------------------------- */

static void series_pass(hwb__canvas *c, hwb__view *v, const hwb_axes *ax, hwb__pass pass,
                        bool fields) {
    for (const hwb__series *s = ax->first; s && c->status == HWB_OK; s = s->next) {
        bool field = s->kind == HWB__HEAT || s->kind == HWB__CONTOUR;
        if (field == fields) hwb__draw_series(c, v, s, pass);
    }
}

/* All but fields on a dot canvas over the box: where ink will be. */
static hwb_status find_busy(hwb_ctx *ctx, hwb__plot_arena *a, const hwb__panel *p, hwb__view *left,
                            hwb__view *right) {
    const double per_point = 0.75;
    int w = (int)ceil(p->box.w * per_point), h = (int)ceil(p->box.h * per_point);
    HWB_TRY(hwb__canvas_dots(ctx, &left->busy, w, h));
    right->busy = left->busy;
    left->busy_x = right->busy_x = p->box.x;
    left->busy_y = right->busy_y = p->box.y;
    left->busy_unit = right->busy_unit = per_point;
    const hwb_axes *axes[2] = {p->axes, p->axes->twin};
    for (int k = 0; k < 2 && axes[k]; k++) {
        hwb__view v = {
            .box = {0, 0, w, h}, .x = p->x, .y = k ? p->y2 : p->y, .unit = per_point, .arena = a};
        v.x.p0 = 0, v.x.p1 = w;
        v.y.p0 = h, v.y.p1 = 0;
        series_pass(&left->busy->base, &v, axes[k], HWB__BODY, false);
        series_pass(&left->busy->base, &v, axes[k], HWB__MARKS, false);
    }
    return left->busy->base.status;
}

static void draw_panel(hwb__canvas *c, hwb__plot_arena *a, const hwb__panel *p) {
    hwb__view v[2] = {{.box = p->box, .x = p->x, .y = p->y, .unit = 1, .arena = a},
                      {.box = p->box, .x = p->x, .y = p->y2, .unit = 1, .arena = a}};
    const hwb_axes *axes[2] = {p->axes, p->axes->twin};
    int n = p->axes->twin ? 2 : 1;
    if (c->status == HWB_OK) c->status = find_busy(c->ctx, a, p, &v[0], &v[1]);
    if (c->status == HWB_OK) {
        c->clip(c, p->box);
        series_pass(c, &v[0], axes[0], HWB__BODY, true);
        c->unclip(c);
        hwb__draw_grid(c, p);
        c->clip(c, p->box);
        for (int k = 0; k < n; k++) series_pass(c, &v[k], axes[k], HWB__BODY, false);
        c->unclip(c);
        hwb__draw_frame(c, a, p);
        for (int k = 0; k < n; k++) series_pass(c, &v[k], axes[k], HWB__MARKS, false);
        for (int k = 0; k < n; k++) series_pass(c, &v[k], axes[k], HWB__FIXED_WORDS, false);
        for (int k = 0; k < n; k++) {
            series_pass(c, &v[k], axes[k], HWB__WORDS, true);
            series_pass(c, &v[k], axes[k], HWB__WORDS, false);
        }
        hwb__legend_draw(c, &v[0], p->axes->legend, p->entry_n, p->entries,
                         p->cell.x + p->cell.w - p->legend_width);
    }
    hwb__canvas_dots_free(v[0].busy);
}

void hwb__draw_figure(hwb__canvas *c, hwb__plot_arena *a, const hwb_figure *fig, double width,
                      double height) {
    hwb__panel *p = NULL;
    c->status = hwb__layout(c->ctx, a, c->font, fig, &p, width, height);
    for (int i = 0; i < fig->rows * fig->cols && c->status == HWB_OK; i++) draw_panel(c, a, &p[i]);
    if (fig->title)
        hwb__put_text(c, &(hwb__label){.text = fig->title,
                                       .x = width / 2,
                                       .y = 17,
                                       .size = 12.5,
                                       .h = HWB__CENTER,
                                       .color = ink()});
}
