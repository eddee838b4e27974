/*
 * Paper canvas on a cairo image surface, one pixel 1/scale points.
 */
#include "plot/canvas_i.h"

#include <cairo.h>
#include <string.h>

typedef struct cairo_canvas {
    hwb__canvas base;
    cairo_surface_t *surface;
    cairo_t *cr;
    double scale;
} cairo_canvas;

static void check(cairo_canvas *k) {
    cairo_status_t s = cairo_status(k->cr);
    if (s != CAIRO_STATUS_SUCCESS && k->base.status == HWB_OK)
        k->base.status =
            hwb_fail(k->base.ctx, s == CAIRO_STATUS_NO_MEMORY ? HWB_ENOMEM : HWB_EINTERNAL,
                     "figure: drawing failed: %s", cairo_status_to_string(s));
}

static void set_color(cairo_t *cr, hwb__rgba c) {
    cairo_set_source_rgba(cr, c.r, c.g, c.b, c.a);
}

static void trace_path(cairo_t *cr, const hwb__canvas *c) {
    cairo_new_path(cr);
    for (size_t i = 0; i < c->path_n; i++) {
        const hwb__point *p = &c->path[i];
        switch (p->op) {
        case 'M': cairo_move_to(cr, p->x, p->y); break;
        case 'L': cairo_line_to(cr, p->x, p->y); break;
        case 'C':
            cairo_curve_to(cr, p[0].x, p[0].y, p[1].x, p[1].y, p[2].x, p[2].y);
            i += 2;
            break;
        default: cairo_close_path(cr);
        }
    }
}

static void paint(hwb__canvas *c, const hwb__paint *p) {
    cairo_canvas *k = (cairo_canvas *)c;
    trace_path(k->cr, c);
    if (p->fill.a > 0) {
        set_color(k->cr, p->fill);
        if (p->width > 0) cairo_fill_preserve(k->cr);
        else cairo_fill(k->cr);
    }
    if (p->width > 0) {
        double dash[4];
        int n = hwb__dash_lengths(p->dash, p->width, dash);
        set_color(k->cr, p->line);
        cairo_set_line_width(k->cr, p->width);
        cairo_set_dash(k->cr, dash, n, 0);
        cairo_set_line_join(k->cr, p->round ? CAIRO_LINE_JOIN_ROUND : CAIRO_LINE_JOIN_MITER);
        cairo_set_line_cap(k->cr, CAIRO_LINE_CAP_BUTT);
        cairo_stroke(k->cr);
    }
    check(k);
}

static void text(hwb__canvas *c, const hwb__label *t) {
    cairo_canvas *k = (cairo_canvas *)c;
    hwb__text_draw(k->cr, c->font, t);
    check(k);
}

static void image(hwb__canvas *c, hwb__rect r, int w, int h, const unsigned char *rgba,
                  bool smooth) {
    cairo_canvas *k = (cairo_canvas *)c;
    cairo_surface_t *s = cairo_image_surface_create(CAIRO_FORMAT_ARGB32, w, h);
    if (cairo_surface_status(s) != CAIRO_STATUS_SUCCESS) {
        cairo_surface_destroy(s);
        c->status = hwb_fail(c->ctx, HWB_ENOMEM, "figure: no memory for a %dx%d image", w, h);
        return;
    }
    int stride = cairo_image_surface_get_stride(s);
    unsigned char *data = cairo_image_surface_get_data(s);
    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++) {
            const unsigned char *p = rgba + 4 * ((size_t)y * (size_t)w + (size_t)x);
            uint32_t a = p[3]; /* cairo wants premultiplied native-endian ARGB */
            uint32_t v = a << 24 | (p[0] * a / 255) << 16 | (p[1] * a / 255) << 8 | p[2] * a / 255;
            memcpy(data + (size_t)y * (size_t)stride + 4 * (size_t)x, &v, 4);
        }
    }
    cairo_surface_mark_dirty(s);
    /* Nearest only where pixels are enlarged: shrinking needs averaging. */
    bool enlarged = r.w * k->scale >= w && r.h * k->scale >= h;
    cairo_save(k->cr);
    cairo_rectangle(k->cr, r.x, r.y, r.w, r.h);
    cairo_clip(k->cr);
    cairo_translate(k->cr, r.x, r.y);
    cairo_scale(k->cr, r.w / w, r.h / h);
    cairo_set_source_surface(k->cr, s, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(k->cr),
                             enlarged && !smooth ? CAIRO_FILTER_NEAREST : CAIRO_FILTER_GOOD);
    cairo_pattern_set_extend(cairo_get_source(k->cr), CAIRO_EXTEND_PAD);
    cairo_paint(k->cr);
    cairo_restore(k->cr);
    cairo_surface_destroy(s);
    check(k);
}

static void clip(hwb__canvas *c, hwb__rect r) {
    cairo_t *cr = ((cairo_canvas *)c)->cr;
    cairo_rectangle(cr, r.x, r.y, r.w, r.h);
    cairo_clip(cr);
}

static void unclip(hwb__canvas *c) {
    cairo_reset_clip(((cairo_canvas *)c)->cr);
}

hwb_status hwb__canvas_cairo(hwb_ctx *ctx, hwb__canvas **out, hwb__font *font, int w, int h,
                             double scale) {
    cairo_canvas *k = hwb_calloc(ctx, sizeof *k);
    if (!k) return HWB_ENOMEM;
    k->base = (hwb__canvas){.ctx = ctx,
                            .font = font,
                            .paint = paint,
                            .text = text,
                            .image = image,
                            .clip = clip,
                            .unclip = unclip};
    k->scale = scale;
    k->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, w, h);
    k->cr = cairo_create(k->surface);
    if (cairo_status(k->cr) != CAIRO_STATUS_SUCCESS) {
        hwb__canvas_cairo_free(&k->base);
        return hwb_fail(ctx, HWB_ENOMEM, "figure: no memory for %dx%d pixels", w, h);
    }
    cairo_set_source_rgb(k->cr, 1, 1, 1);
    cairo_paint(k->cr);
    cairo_scale(k->cr, scale, scale);
    *out = &k->base;
    return HWB_OK;
}

const unsigned char *hwb__canvas_cairo_pixels(hwb__canvas *c, int *stride) {
    cairo_canvas *k = (cairo_canvas *)c;
    cairo_surface_flush(k->surface);
    *stride = cairo_image_surface_get_stride(k->surface);
    return cairo_image_surface_get_data(k->surface);
}

void hwb__canvas_cairo_free(hwb__canvas *c) {
    if (!c) return;
    cairo_canvas *k = (cairo_canvas *)c;
    cairo_destroy(k->cr);
    cairo_surface_destroy(k->surface);
    hwb__canvas_done(c);
    hwb_free(k);
}
