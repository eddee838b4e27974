/*
 * Paper canvas that writes SVG 1.1.
 *
 * Text stays text (selectable, searchable), there are no ids, so that several
 * figures can stand in one page, and clipping is a nested <svg> element, whose
 * overflow is hidden.  Numbers have two decimals of a point.
 */
#include "plot/canvas_i.h"

#include <math.h>
#include <string.h>

typedef struct svg_canvas {
    hwb__canvas base;
    hwb__bytes out;
} svg_canvas;

static void num(hwb__bytes *b, double v) {
    hwb__bytes_num(b, v, 2);
}

static void attr(hwb__bytes *b, const char *name, double v) {
    hwb__bytes_text(b, " ");
    hwb__bytes_text(b, name);
    hwb__bytes_text(b, "=\"");
    num(b, v);
    hwb__bytes_text(b, "\"");
}

static void color(hwb__bytes *b, const char *name, hwb__rgba c) {
    static const char hex[] = "0123456789abcdef";
    double v[3] = {c.r, c.g, c.b};
    char text[8] = "#";
    for (int i = 0; i < 3; i++) {
        int byte = (int)lround(255 * v[i]);
        text[1 + 2 * i] = hex[byte >> 4];
        text[2 + 2 * i] = hex[byte & 15];
    }
    hwb__bytes_text(b, " ");
    hwb__bytes_text(b, name);
    hwb__bytes_text(b, "=\"");
    hwb__bytes_text(b, text);
    hwb__bytes_text(b, "\"");
    if (c.a < 1) {
        hwb__bytes_text(b, " ");
        hwb__bytes_text(b, name);
        hwb__bytes_text(b, "-opacity=\"");
        hwb__bytes_num(b, c.a, 3);
        hwb__bytes_text(b, "\"");
    }
}

static void path_data(hwb__bytes *b, const hwb__canvas *c) {
    hwb__bytes_text(b, "<path d=\"");
    for (size_t i = 0; i < c->path_n; i++) {
        const hwb__point *p = &c->path[i];
        hwb__bytes_add(b, &p->op, 1);
        if (p->op == 'Z') continue;
        num(b, p->x);
        hwb__bytes_text(b, " ");
        num(b, p->y);
        if (p->op != 'C') continue;
        for (int k = 1; k <= 2; k++) {
            hwb__bytes_text(b, " ");
            num(b, p[k].x);
            hwb__bytes_text(b, " ");
            num(b, p[k].y);
        }
        i += 2;
    }
    hwb__bytes_text(b, "\"");
}

static void paint(hwb__canvas *c, const hwb__paint *p) {
    hwb__bytes *b = &((svg_canvas *)c)->out;
    path_data(b, c);
    if (p->fill.a > 0) color(b, "fill", p->fill);
    else hwb__bytes_text(b, " fill=\"none\"");
    if (p->width > 0) {
        double dash[4];
        int n = hwb__dash_lengths(p->dash, p->width, dash);
        color(b, "stroke", p->line);
        attr(b, "stroke-width", p->width);
        if (p->round) hwb__bytes_text(b, " stroke-linejoin=\"round\"");
        for (int i = 0; i < n; i++) {
            hwb__bytes_text(b, i ? " " : " stroke-dasharray=\"");
            num(b, dash[i]);
        }
        if (n) hwb__bytes_text(b, "\"");
    }
    hwb__bytes_text(b, "/>\n");
    c->status = b->status;
}

static void escaped(hwb__bytes *b, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        switch (s[i]) {
        case '&': hwb__bytes_text(b, "&amp;"); break;
        case '<': hwb__bytes_text(b, "&lt;"); break;
        case '>': hwb__bytes_text(b, "&gt;"); break;
        default: hwb__bytes_add(b, s + i, 1);
        }
    }
}

/* A script run shifts the baseline by dy; the run after it shifts back. */
static void runs(hwb__bytes *b, const hwb__label *t) {
    const char *p = t->text;
    hwb__run run;
    double raised = 0;
    while (hwb__text_run(&p, &run)) {
        double rise = run.level > 0   ? t->size * HWB__SUPER_PERCENT / 100
                      : run.level < 0 ? -t->size * HWB__SUB_PERCENT / 100
                                      : 0;
        if (run.level == 0 && raised == 0) {
            escaped(b, run.text, run.n);
            continue;
        }
        hwb__bytes_text(b, "<tspan");
        attr(b, "dy", raised - rise);
        if (run.level) attr(b, "font-size", t->size * HWB__SCRIPT_PERCENT / 100);
        hwb__bytes_text(b, ">");
        escaped(b, run.text, run.n);
        hwb__bytes_text(b, "</tspan>");
        raised = rise;
    }
}

static void text(hwb__canvas *c, const hwb__label *t) {
    hwb__bytes *b = &((svg_canvas *)c)->out;
    double dy = t->v == HWB__BASELINE ? 0 : t->v == HWB__MIDDLE ? 0.36 * t->size : 0.76 * t->size;
    hwb__bytes_text(b, "<text");
    if (t->angle != 0) {
        hwb__bytes_text(b, " transform=\"translate(");
        num(b, t->x);
        hwb__bytes_text(b, " ");
        num(b, t->y);
        hwb__bytes_text(b, ") rotate(");
        num(b, -t->angle);
        hwb__bytes_text(b, ")\"");
        attr(b, "y", dy);
    } else {
        attr(b, "x", t->x);
        attr(b, "y", t->y + dy);
    }
    attr(b, "font-size", t->size);
    if (t->h != HWB__LEFT)
        hwb__bytes_text(b,
                        t->h == HWB__CENTER ? " text-anchor=\"middle\"" : " text-anchor=\"end\"");
    color(b, "fill", t->color);
    if (t->halo > 0) {
        hwb__bytes_text(b, " paint-order=\"stroke\" stroke=\"#fff\" stroke-opacity=\"0.85\""
                           " stroke-linejoin=\"round\"");
        attr(b, "stroke-width", 2 * t->halo);
    }
    hwb__bytes_text(b, ">");
    runs(b, t);
    hwb__bytes_text(b, "</text>\n");
    c->status = b->status;
}

/* rgba[h][w] with every pixel k x k times; NULL when there is no memory. */
static unsigned char *enlarge(hwb_ctx *ctx, int w, int h, const unsigned char *rgba, int k) {
    unsigned char *out = hwb_alloc(ctx, 4 * (size_t)w * (size_t)h * (size_t)k * (size_t)k);
    if (!out) return NULL;
    unsigned char *p = out;
    for (int y = 0; y < h * k; y++)
        for (int x = 0; x < w * k; x++, p += 4)
            memcpy(p, rgba + 4 * ((size_t)(y / k) * (size_t)w + (size_t)(x / k)), 4);
    return out;
}

/* Not every viewer honours image-rendering, so cells with hard edges are
 * enlarged here: what a viewer then blurs is a sliver of the cell. */
static void image(hwb__canvas *c, hwb__rect r, int w, int h, const unsigned char *rgba,
                  bool smooth) {
    enum { SHARP_PIXELS = 900 };
    hwb__bytes *b = &((svg_canvas *)c)->out, png = {.ctx = c->ctx};
    int k = smooth ? 1 : SHARP_PIXELS / (w > h ? w : h);
    unsigned char *large = k > 1 ? enlarge(c->ctx, w, h, rgba, k) : NULL;
    if (k > 1 && !large) c->status = HWB_ENOMEM;
    else if (large) c->status = hwb__png_rgba(c->ctx, &png, w * k, h * k, large);
    else c->status = hwb__png_rgba(c->ctx, &png, w, h, rgba);
    hwb_free(large);
    if (c->status != HWB_OK) {
        hwb_free(png.p);
        return;
    }
    hwb__bytes_text(b, "<image");
    attr(b, "x", r.x);
    attr(b, "y", r.y);
    attr(b, "width", r.w);
    attr(b, "height", r.h);
    hwb__bytes_text(b, " preserveAspectRatio=\"none\"");
    if (!smooth) hwb__bytes_text(b, " style=\"image-rendering:pixelated\"");
    hwb__bytes_text(b, " xlink:href=\"data:image/png;base64,");
    hwb__bytes_base64(b, (const unsigned char *)png.p, png.n);
    hwb__bytes_text(b, "\"/>\n");
    hwb_free(png.p);
    c->status = b->status;
}

static void clip(hwb__canvas *c, hwb__rect r) {
    hwb__bytes *b = &((svg_canvas *)c)->out;
    double v[4] = {r.x, r.y, r.w, r.h};
    hwb__bytes_text(b, "<svg");
    attr(b, "x", r.x);
    attr(b, "y", r.y);
    attr(b, "width", r.w);
    attr(b, "height", r.h);
    hwb__bytes_text(b, " viewBox=\"");
    for (int i = 0; i < 4; i++) {
        if (i) hwb__bytes_text(b, " ");
        num(b, v[i]);
    }
    hwb__bytes_text(b, "\" overflow=\"hidden\">\n");
}

static void unclip(hwb__canvas *c) {
    hwb__bytes_text(&((svg_canvas *)c)->out, "</svg>\n");
}

hwb_status hwb__canvas_svg(hwb_ctx *ctx, hwb__canvas **out, hwb__font *font, double width,
                           double height) {
    svg_canvas *k = hwb_calloc(ctx, sizeof *k);
    if (!k) return HWB_ENOMEM;
    k->base = (hwb__canvas){.ctx = ctx,
                            .font = font,
                            .paint = paint,
                            .text = text,
                            .image = image,
                            .clip = clip,
                            .unclip = unclip};
    k->out.ctx = ctx;
    hwb__bytes *b = &k->out;
    hwb__bytes_text(b, "<svg xmlns=\"http://www.w3.org/2000/svg\""
                       " xmlns:xlink=\"http://www.w3.org/1999/xlink\" width=\"");
    num(b, width);
    hwb__bytes_text(b, "pt\" height=\"");
    num(b, height);
    hwb__bytes_text(b, "pt\" viewBox=\"0 0 ");
    num(b, width);
    hwb__bytes_text(b, " ");
    num(b, height);
    hwb__bytes_text(b, "\" font-family=\"'DejaVu Sans',Verdana,Arial,sans-serif\">\n"
                       "<path d=\"M0 0H");
    num(b, width);
    hwb__bytes_text(b, "V");
    num(b, height);
    hwb__bytes_text(b, "H0Z\" fill=\"#fff\"/>\n");
    *out = &k->base;
    return HWB_OK;
}

hwb_status hwb__canvas_svg_finish(hwb__canvas *c, char **out, size_t *size) {
    svg_canvas *k = (svg_canvas *)c;
    hwb_status status = c->status;
    if (status == HWB_OK) {
        hwb__bytes_text(&k->out, "</svg>\n");
        status = hwb__bytes_take(&k->out, out, size);
    } else hwb_free(k->out.p);
    hwb__canvas_done(c);
    hwb_free(k);
    return status;
}
