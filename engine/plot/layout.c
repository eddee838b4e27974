/*
 * Layout: margins from measured text, then the data rectangles.
 *
 *      +----------------------- cell -----------------------+
 *      |            title                                   |
 *      |   +------------- box -------------+                |
 *      | y |                               | y2 | colour bar| legend outside
 *      |   +-------------------------------+                |
 *      |     tick labels                                    |
 *      |            x label                                 |
 *      +----------------------------------------------------+
 *
 * How many ticks fit depends on the box, which depends on their labels, so the
 * pass runs twice.  Panels of a column share the left and right margins, those
 * of a row the top and bottom ones: boxes line up.
 */
#include "plot/canvas_i.h"

#include <math.h>
#include <string.h>

const hwb__series *hwb__panel_field(const hwb_axes *axes) {
    for (const hwb__series *s = axes->first; s; s = s->next)
        if ((s->kind == HWB__HEAT || s->kind == HWB__CONTOUR) && s->colorbar &&
            (s->kind == HWB__HEAT || s->filled))
            return s;
    return NULL;
}

static double widest(hwb__font *font, const hwb__ticks *t, double size) {
    double w = 0;
    for (int64_t i = 0; i < t->n; i++) w = fmax(w, hwb__text_width(font, t->label[i], size));
    return w;
}

/* Fewer x ticks while numbers would touch. */
static hwb_status number_ticks(hwb_ctx *ctx, hwb__plot_arena *a, hwb__font *font, hwb__panel *p) {
    const hwb__axis *axis = &p->axes->axis[HWB_AXIS_X];
    for (int want = (int)fmax(2, fmin(10, p->box.w / 36)); want >= 2; want--) {
        HWB_TRY(hwb__plot_ticks(ctx, a, &p->tx, &p->x, axis, want));
        double gap = INFINITY;
        hwb__scale s = p->x;
        s.p0 = 0, s.p1 = p->box.w;
        for (int64_t i = 1; i < p->tx.n; i++)
            gap = fmin(gap,
                       fabs(hwb__plot_map(&s, p->tx.at[i]) - hwb__plot_map(&s, p->tx.at[i - 1])));
        if (gap >= widest(font, &p->tx, HWB__TICK) + 7) break;
    }
    return HWB_OK;
}

/* Names: level if they fit, else slanted, else upright, else only some. */
static void fit_names(hwb__font *font, hwb__panel *p) {
    double pitch = INFINITY;
    hwb__scale s = p->x;
    s.p0 = 0, s.p1 = p->box.w;
    for (int64_t i = 1; i < p->tx.n; i++)
        pitch =
            fmin(pitch, fabs(hwb__plot_map(&s, p->tx.at[i]) - hwb__plot_map(&s, p->tx.at[i - 1])));
    if (pitch >= widest(font, &p->tx, HWB__TICK) + 6) return;
    p->tick_size = fmin(8, fmax(5.5, pitch / 1.05)); /* small, rather than left out */
    p->tick_angle = pitch >= 1.6 * p->tick_size ? 45 : 90;
    while (pitch * (double)p->tick_every < 1.05 * p->tick_size) p->tick_every++;
}

static hwb_status make_ticks(hwb_ctx *ctx, hwb__plot_arena *a, hwb__font *font, hwb__panel *p) {
    const hwb_axes *ax = p->axes;
    int rows = (int)fmax(2, fmin(9, p->box.h / 29));
    p->tick_angle = 0;
    p->tick_size = HWB__TICK;
    p->tick_every = 1;
    HWB_TRY(number_ticks(ctx, a, font, p));
    if (ax->axis[HWB_AXIS_X].fixed) fit_names(font, p);
    HWB_TRY(hwb__plot_ticks(ctx, a, &p->ty, &p->y, &ax->axis[HWB_AXIS_Y], rows));
    p->ty_width = widest(font, &p->ty, HWB__TICK);
    if (ax->twin) {
        HWB_TRY(hwb__plot_ticks(ctx, a, &p->ty2, &p->y2, &ax->twin->axis[HWB_AXIS_Y], rows));
        p->ty2_width = widest(font, &p->ty2, HWB__TICK);
    }
    const hwb__series *f = hwb__panel_field(ax);
    if (f) {
        p->z.log = f->zlog;
        hwb__plot_zrange(f, &p->z.lo, &p->z.hi);
        HWB_TRY(hwb__plot_ticks(ctx, a, &p->tz, &p->z, NULL, rows));
        p->tz_width = widest(font, &p->tz, HWB__TICK);
    }
    return HWB_OK;
}

/* Room below the axis for slanted or upright names, and to their left. */
static void name_room(hwb__font *font, const hwb__panel *p, double *below, double *leftward) {
    double rad = p->tick_angle * M_PI / 180, size = p->tick_size;
    *below = size;
    *leftward = 0;
    if (p->tick_angle == 0) return;
    double w = widest(font, &p->tx, size);
    *below = w * sin(rad) + size * cos(rad);
    /* The first name reaches left of its tick by its width's projection. */
    hwb__scale s = p->x;
    s.p0 = 0, s.p1 = p->box.w;
    for (int64_t i = 0; i < p->tx.n; i += p->tick_every)
        *leftward = fmax(*leftward, hwb__text_width(font, p->tx.label[i], size) * cos(rad) -
                                        hwb__plot_map(&s, p->tx.at[i]));
}

static void margins(hwb__font *font, hwb__panel *p) {
    const hwb_axes *ax = p->axes;
    double below, leftward;
    name_room(font, p, &below, &leftward);
    p->left = 7 + (ax->axis[HWB_AXIS_Y].label ? 1.45 * HWB__LABEL : 0) + p->ty_width + 6.5;
    p->left = fmax(p->left, leftward + 4);
    p->bottom = 6 + below + 5;
    if (ax->axis[HWB_AXIS_X].label) p->bottom += 1.5 * HWB__LABEL;
    else if (p->tx.exponent) p->bottom += 1.3 * HWB__TICK;
    p->top = ax->title ? 7 + 1.55 * HWB__TITLE : 8;
    if ((p->ty.exponent || p->ty2.exponent) && !ax->title) p->top += 0.9 * HWB__TICK;
    p->right = 8;
    if (p->tx.n && p->tick_angle == 0)
        p->right =
            fmax(p->right, hwb__text_width(font, p->tx.label[p->tx.n - 1], HWB__TICK) / 2 + 3);
    if (ax->twin)
        p->right =
            p->ty2_width + 6.5 + 7 + (ax->twin->axis[HWB_AXIS_Y].label ? 1.45 * HWB__LABEL : 0);
    const hwb__series *f = hwb__panel_field(ax);
    if (f) {
        p->right += 8 + 10 + 6 + p->tz_width + (f->text ? 1.5 * HWB__LABEL : 0);
        if (p->tz.exponent) p->top = fmax(p->top, 8 + 1.2 * HWB__TICK);
    }
    p->legend_width = 0;
    if (ax->legend == HWB_LEGEND_OUTSIDE && p->entry_n) {
        p->legend_width = hwb__legend_width(font, p->entry_n, p->entries);
        p->right += p->legend_width;
    }
}

/* Boxes line up along rows and columns. */
static void align(const hwb_figure *fig, hwb__panel *p) {
    for (int i = 0; i < fig->rows * fig->cols; i++)
        for (int k = 0; k < fig->rows * fig->cols; k++) {
            if (i % fig->cols == k % fig->cols) {
                p[i].left = fmax(p[i].left, p[k].left);
                p[i].right = fmax(p[i].right, p[k].right);
            }
            if (i / fig->cols == k / fig->cols) {
                p[i].top = fmax(p[i].top, p[k].top);
                p[i].bottom = fmax(p[i].bottom, p[k].bottom);
            }
        }
}

/* Shrink the box so that a unit is as long on both axes. */
static void equalise(hwb__panel *p) {
    double dx = fabs(p->x.hi - p->x.lo), dy = fabs(p->y.hi - p->y.lo);
    if (!p->axes->equal || p->x.log || p->y.log || !(dx > 0 && dy > 0)) return;
    double unit = fmin(p->box.w / dx, p->box.h / dy);
    double w = unit * dx, h = unit * dy;
    p->box.x += (p->box.w - w) / 2;
    p->box.y += (p->box.h - h) / 2;
    p->box.w = w, p->box.h = h;
}

static void place(hwb__panel *p) {
    p->box = (hwb__rect){p->cell.x + p->left, p->cell.y + p->top,
                         fmax(20, p->cell.w - p->left - p->right),
                         fmax(20, p->cell.h - p->top - p->bottom)};
    equalise(p);
    p->x.p0 = p->box.x, p->x.p1 = p->box.x + p->box.w;
    p->y.p0 = p->y2.p0 = p->box.y + p->box.h;
    p->y.p1 = p->y2.p1 = p->box.y;
    p->z.p0 = p->y.p0, p->z.p1 = p->y.p1;
}

hwb_status hwb__layout(hwb_ctx *ctx, hwb__plot_arena *a, hwb__font *font, const hwb_figure *fig,
                       hwb__panel **out, double width, double height) {
    int n = fig->rows * fig->cols;
    hwb__panel *p = hwb__plot_array(ctx, a, n, sizeof *p);
    if (!p) return HWB_ENOMEM;
    double head = fig->title ? 22 : 0;
    double w = (width - 4) / fig->cols, h = (height - head - 2) / fig->rows;
    for (int i = 0; i < n; i++) {
        p[i].axes = &fig->axes[i];
        p[i].cell = (hwb__rect){i % fig->cols * w, head + i / fig->cols * h, w, h};
        p[i].left = p[i].bottom = 36;
        p[i].right = p[i].top = 12;
        hwb__plot_range(p[i].axes, HWB_AXIS_X, &p[i].x);
        hwb__plot_range(p[i].axes, HWB_AXIS_Y, &p[i].y);
        if (p[i].axes->twin) hwb__plot_range(p[i].axes->twin, HWB_AXIS_Y, &p[i].y2);
        HWB_TRY(hwb__legend_entries(ctx, a, p[i].axes, &p[i].entry_n, &p[i].entries));
        place(&p[i]);
    }
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < n; i++) {
            HWB_TRY(make_ticks(ctx, a, font, &p[i]));
            margins(font, &p[i]);
        }
        align(fig, p);
        for (int i = 0; i < n; i++) place(&p[i]);
    }
    for (int i = 0; i < n; i++) HWB_TRY(make_ticks(ctx, a, font, &p[i]));
    *out = p;
    return HWB_OK;
}
