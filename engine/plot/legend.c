/*
 * Legends: a swatch and a name for every labelled series.
 *
 * The best place is where the fewest drawn dots would be covered, tried at the
 * corners first (the dots come from drawing the panel on a dot canvas).
 */
#include "plot/canvas_i.h"

#include <math.h>

#define SWATCH 20.0
#define LINE   (1.42 * HWB__TICK)
#define PAD    5.0

static void collect(const hwb_axes *axes, int64_t *n, hwb__entry *out) {
    for (const hwb__series *s = axes->first; s; s = s->next) {
        if (s->kind == HWB__BARS) {
            for (int64_t g = 0; g < s->groups; g++)
                if (s->styles[g].label) {
                    if (out) out[*n] = (hwb__entry){s->styles[g].label, &s->styles[g], s->kind, 0};
                    ++*n;
                }
        } else if (s->style.label) {
            if (out) out[*n] = (hwb__entry){s->style.label, &s->style, s->kind, s->lo || s->filled};
            ++*n;
        }
    }
}

hwb_status hwb__legend_entries(hwb_ctx *ctx, hwb__plot_arena *a, const hwb_axes *axes, int64_t *n,
                               hwb__entry **out) {
    *n = 0;
    *out = NULL;
    if (axes->legend == HWB_LEGEND_NONE) return HWB_OK;
    collect(axes, n, NULL);
    if (axes->twin) collect(axes->twin, n, NULL);
    if (*n == 0) return HWB_OK;
    *out = hwb__plot_array(ctx, a, *n, sizeof **out);
    if (!*out) return HWB_ENOMEM;
    *n = 0;
    collect(axes, n, *out);
    if (axes->twin) collect(axes->twin, n, *out);
    return HWB_OK;
}

double hwb__legend_width(hwb__font *font, int64_t n, const hwb__entry *e) {
    double w = 0;
    for (int64_t i = 0; i < n; i++) w = fmax(w, hwb__text_width(font, e[i].text, HWB__TICK));
    return w + SWATCH + 6 + 2 * PAD;
}

static void swatch(hwb__canvas *c, const hwb__entry *e, double x, double y) {
    const hwb__style *s = e->style;
    hwb__rgba color = hwb__plot_rgba(s->color, s->alpha);
    if (e->kind == HWB__BARS || e->kind == HWB__HIST) {
        hwb__path_rect(c, (hwb__rect){x, y - 3.6, SWATCH, 7.2});
        hwb__fill(c, color);
        return;
    }
    if (e->band) {
        hwb__path_rect(c, (hwb__rect){x, y - 3.6, SWATCH, 7.2});
        hwb__fill(c, hwb__plot_rgba(s->color, 0.2));
    }
    if (s->dash != HWB_DASH_NONE) {
        hwb__move(c, x, y);
        hwb__line(c, x + SWATCH, y);
        hwb__stroke(c, color, s->width, s->dash);
    }
    hwb__marker_at(c, s->marker, x + SWATCH / 2, y, s->size, color);
}

/* Corner k of the box: 0-3 the corners, 4-7 the middles of the sides. */
static hwb__rect spot(const hwb__rect *b, double w, double h, int k) {
    static const double at[8][2] = {{1, 0},  {0, 0},  {0, 1},  {1, 1},
                                    {1, .5}, {0, .5}, {.5, 0}, {.5, 1}};
    double gap = 6;
    return (hwb__rect){b->x + gap + at[k][0] * (b->w - w - 2 * gap),
                       b->y + gap + at[k][1] * (b->h - h - 2 * gap), w, h};
}

static hwb__rect choose(const hwb__view *v, hwb_legend place, double w, double h) {
    if (place != HWB_LEGEND_BEST) return spot(&v->box, w, h, (int)place - HWB_LEGEND_TOP_RIGHT);
    hwb__rect best = spot(&v->box, w, h, 0);
    int64_t least = -1;
    for (int k = 0; k < 8; k++) {
        hwb__rect r = spot(&v->box, w, h, k);
        int64_t n = hwb__busy_count(v, (hwb__rect){r.x - 3, r.y - 3, r.w + 6, r.h + 6});
        if (least < 0 || n < least) least = n, best = r;
    }
    return best;
}

_Static_assert(HWB_LEGEND_TOP_LEFT == HWB_LEGEND_TOP_RIGHT + 1 &&
                   HWB_LEGEND_BOTTOM_LEFT == HWB_LEGEND_TOP_RIGHT + 2 &&
                   HWB_LEGEND_BOTTOM_RIGHT == HWB_LEGEND_TOP_RIGHT + 3,
               "spot() counts the corners in this order");

void hwb__legend_draw(hwb__canvas *c, hwb__view *v, hwb_legend place, int64_t n,
                      const hwb__entry *e, double x) {
    if (n == 0 || place == HWB_LEGEND_NONE || c->status != HWB_OK) return;
    double w = hwb__legend_width(c->font, n, e), h = (double)n * LINE + 2 * PAD - 3;
    hwb__rect r =
        place == HWB_LEGEND_OUTSIDE ? (hwb__rect){x, v->box.y, w, h} : choose(v, place, w, h);
    if (place != HWB_LEGEND_OUTSIDE) {
        hwb__path_round_rect(c, r, 2.5);
        hwb__paint_path(c, &(hwb__paint){.fill = hwb__plot_rgba(0xFFFFFF, 0.88),
                                         .line = hwb__plot_rgba(0xCCCCCC, 1),
                                         .width = 0.6});
        hwb__busy_mark(v, r);
    }
    for (int64_t i = 0; i < n; i++) {
        double y = r.y + PAD + ((double)i + 0.5) * LINE - 1.5;
        swatch(c, &e[i], r.x + PAD, y);
        hwb__put_text(c, &(hwb__label){.text = e[i].text,
                                       .x = r.x + PAD + SWATCH + 6,
                                       .y = y,
                                       .size = HWB__TICK,
                                       .v = HWB__MIDDLE,
                                       .color = hwb__plot_rgba(HWB__INK, 1)});
    }
}
