/*
 * The canvas: what figures are drawn on.
 *
 *      drawing code --> canvas --> cairo image (PNG)     canvas_cairo.c
 *                              --> SVG text              canvas_svg.c
 *                              --> dots (terminal,       canvas_dots.c
 *                                  free space search)
 *
 * Coordinates run right and down from the top left corner, in points on paper
 * canvases and in dots on the dot canvas.  The drawing code builds a path and
 * paints it; the first failure sticks in `status` and everything after it is a
 * no-op, so drawing needs no checks.
 */
#ifndef HWB_PLOT_CANVAS_I_H
#define HWB_PLOT_CANVAS_I_H

#include "plot/plot_i.h"

typedef struct hwb__rect {
    double x, y, w, h;
} hwb__rect;

typedef enum hwb__halign { HWB__LEFT, HWB__CENTER, HWB__RIGHT } hwb__halign;
typedef enum hwb__valign { HWB__BASELINE, HWB__MIDDLE, HWB__TOP } hwb__valign;

typedef struct hwb__label {
    const char *text;
    double x, y, size;
    double angle; /* degrees, counterclockwise, about (x, y) */
    hwb__halign h;
    hwb__valign v;
    hwb__rgba color;
    double halo; /* width of a white rim; 0 = none */
} hwb__label;

typedef struct hwb__paint {
    hwb__rgba fill; /* a = 0: none */
    hwb__rgba line;
    double width; /* 0: no line */
    hwb_dash dash;
    bool round; /* joins; mitred otherwise */
} hwb__paint;

typedef struct hwb__point {
    double x, y;
    char op; /* M L, C C C (two controls and the end), Z */
} hwb__point;

typedef struct hwb__canvas hwb__canvas;
struct hwb__canvas {
    hwb_ctx *ctx;
    hwb_status status;
    bool dots; /* the dot canvas: thin lines, small markers */
    struct hwb__font *font;
    hwb__point *path;
    size_t path_n, path_cap;
    void (*paint)(hwb__canvas *c, const hwb__paint *p);
    void (*text)(hwb__canvas *c, const hwb__label *t);
    /* rgba[h][w][4] bytes stretched over r; smooth = interpolate */
    void (*image)(hwb__canvas *c, hwb__rect r, int w, int h, const unsigned char *rgba,
                  bool smooth);
    void (*clip)(hwb__canvas *c, hwb__rect r); /* no nesting */
    void (*unclip)(hwb__canvas *c);
};

/* ---- paths and paint (canvas.c) ----------------------------------------------- */

void hwb__move(hwb__canvas *c, double x, double y);
void hwb__line(hwb__canvas *c, double x, double y);
void hwb__curve(hwb__canvas *c, double x1, double y1, double x2, double y2, double x, double y);
void hwb__close(hwb__canvas *c);
void hwb__path_rect(hwb__canvas *c, hwb__rect r);
void hwb__path_round_rect(hwb__canvas *c, hwb__rect r, double radius);
/* Paint and forget the path. */
void hwb__paint_path(hwb__canvas *c, const hwb__paint *p);
void hwb__fill(hwb__canvas *c, hwb__rgba fill);
void hwb__stroke(hwb__canvas *c, hwb__rgba line, double width, hwb_dash dash);
void hwb__put_text(hwb__canvas *c, const hwb__label *t);
/* Dash lengths in points for a line width; returns how many (0 = solid). */
int hwb__dash_lengths(hwb_dash dash, double width, double out[4]);
void hwb__marker_at(hwb__canvas *c, hwb_marker m, double x, double y, double size, hwb__rgba color);
void hwb__canvas_done(hwb__canvas *c); /* frees the path */

/* ---- text (text.c) ---------------------------------------------------------------- */

/* A run of text: level 0 normal, +1 superscript, -1 subscript. */
typedef struct hwb__run {
    const char *text;
    size_t n;
    int level;
} hwb__run;

/* Next run of markup at *p; false at the end.  Broken markup is plain text. */
bool hwb__text_run(const char **p, hwb__run *run);
enum { HWB__SCRIPT_PERCENT = 72, HWB__SUPER_PERCENT = 38, HWB__SUB_PERCENT = 18 };

/* Characters of UTF-8 (continuation bytes not counted). */
int64_t hwb__utf8_length(const char *s, size_t n);
/* Plain text for a terminal: ^{-3} becomes superscript characters or "^-3". */
void hwb__text_plain(hwb__bytes *out, const char *markup, bool ascii);

typedef struct hwb__font hwb__font;
hwb_status hwb__font_new(hwb_ctx *ctx, hwb__font **out);
void hwb__font_free(hwb__font *f);
double hwb__text_width(hwb__font *f, const char *markup, double size);
/* Draws with cairo on `cr` (a cairo_t *). */
void hwb__text_draw(void *cr, hwb__font *f, const hwb__label *t);

/* ---- canvases ------------------------------------------------------------------------ */

/* White paper of width x height points at `scale` pixels a point. */
hwb_status hwb__canvas_cairo(hwb_ctx *ctx, hwb__canvas **out, hwb__font *font, int w, int h,
                             double scale);
/* rgb[h][w][4] (b, g, r, x on little endian), borrowed; *stride in bytes. */
const unsigned char *hwb__canvas_cairo_pixels(hwb__canvas *c, int *stride);
void hwb__canvas_cairo_free(hwb__canvas *c);

hwb_status hwb__canvas_svg(hwb_ctx *ctx, hwb__canvas **out, hwb__font *font, double width,
                           double height);
/* Ends the document; frees the canvas either way. */
hwb_status hwb__canvas_svg_finish(hwb__canvas *c, char **out, size_t *size);

/* One byte a dot (0 empty) and one colour (0xRRGGBB) a cell of 2x4 dots. */
typedef struct hwb__dots {
    hwb__canvas base;
    int w, h, cells_w, cells_h;
    unsigned char *on; /* [h][w] */
    uint32_t *color;   /* [cells_h][cells_w] foreground */
    uint32_t *back;    /* [cells_h * 2][cells_w] images: two colours a cell, 0 = none */
    uint32_t *glyph;   /* [cells_h][cells_w] code point of text, 0 = none */
    hwb__rect clip;
    bool clipped;
} hwb__dots;

hwb_status hwb__canvas_dots(hwb_ctx *ctx, hwb__dots **out, int w, int h);
void hwb__canvas_dots_free(hwb__dots *d);

/* ---- drawing ----------------------------------------------------------------------------- */

/* Where a pair of axes shows its data, and what is drawn there already. */
typedef struct hwb__view {
    hwb__rect box;
    hwb__scale x, y;
    double unit; /* canvas units a point: 1 on paper */
    hwb__plot_arena *arena;
    hwb__dots *busy;                  /* what is drawn so far, to place text; may be NULL */
    double busy_x, busy_y, busy_unit; /* canvas position of its corner, dots a unit */
} hwb__view;

/* A series is drawn in passes: bodies are clipped to the box, marks stand out
 * of it when their centre is inside, text comes last: what has a given place
 * first, then what looks for a free one. */
typedef enum hwb__pass { HWB__BODY, HWB__MARKS, HWB__FIXED_WORDS, HWB__WORDS } hwb__pass;

void hwb__draw_series(hwb__canvas *c, hwb__view *v, const hwb__series *s, hwb__pass pass);
void hwb__draw_field(hwb__canvas *c, hwb__view *v, const hwb__series *s, hwb__pass pass);
/* The colours of a field from bottom to top. */
void hwb__draw_colorbar(hwb__canvas *c, hwb__view *v, const hwb__series *s, hwb__rect bar);
/* How many set dots lie in r (canvas coordinates); mark sets them all. */
int64_t hwb__busy_count(const hwb__view *v, hwb__rect r);
void hwb__busy_mark(hwb__view *v, hwb__rect r);

/* One line of a legend. */
typedef struct hwb__entry {
    const char *text;
    const hwb__style *style;
    hwb__series_kind kind;
    bool band;
} hwb__entry;

/* Entries of the axes and their twin, in the order they were added. */
hwb_status hwb__legend_entries(hwb_ctx *ctx, hwb__plot_arena *a, const hwb_axes *axes, int64_t *n,
                               hwb__entry **out);
double hwb__legend_width(hwb__font *font, int64_t n, const hwb__entry *e);
/* Inside v->box at the axes' place; HWB_LEGEND_OUTSIDE: at (x, box.y). */
void hwb__legend_draw(hwb__canvas *c, hwb__view *v, hwb_legend place, int64_t n,
                      const hwb__entry *e, double x);

enum { HWB__TITLE = 11, HWB__LABEL = 10 };
#define HWB__TICK 8.5
#define HWB__INK  0x262626u

/* The field series whose colour bar a panel shows, or NULL. */
const hwb__series *hwb__panel_field(const hwb_axes *axes);

/* A panel laid out on paper. */
typedef struct hwb__panel {
    const hwb_axes *axes;
    hwb__rect cell, box; /* its share of the page, its data rectangle */
    hwb__scale x, y, y2, z;
    hwb__ticks tx, ty, ty2, tz;
    double left, right, top, bottom;
    double tick_angle, tick_size; /* of x labels */
    int64_t tick_every;           /* 2 = every second x label */
    double ty_width, ty2_width, tz_width, legend_width;
    int64_t entry_n;
    hwb__entry *entries;
} hwb__panel;

/* Measures and places all panels on width x height points. */
hwb_status hwb__layout(hwb_ctx *ctx, hwb__plot_arena *a, hwb__font *font, const hwb_figure *fig,
                       hwb__panel **out, double width, double height);
/* Frame, grid, ticks and names of one panel. */
void hwb__draw_grid(hwb__canvas *c, const hwb__panel *p);
void hwb__draw_frame(hwb__canvas *c, hwb__plot_arena *a, const hwb__panel *p);
/* The whole figure on a paper canvas of width x height points. */
void hwb__draw_figure(hwb__canvas *c, hwb__plot_arena *a, const hwb_figure *fig, double width,
                      double height);

/* The figure drawn on a new cairo canvas of *w x *h pixels.  On failure too the
 * caller frees *out and *font (either may be NULL). */
hwb_status hwb__figure_pixels(hwb_ctx *ctx, const hwb_figure *fig, double dpi, hwb__canvas **out,
                              hwb__font **font, int *w, int *h);

/* PNG bytes of 8-bit colour, `dpi` recorded. */
hwb_status hwb__png_rgb(hwb_ctx *ctx, unsigned char **out, size_t *size, int w, int h,
                        const unsigned char *bgrx, int stride, double dpi);
hwb_status hwb__png_rgba(hwb_ctx *ctx, hwb__bytes *out, int w, int h, const unsigned char *rgba);

#endif
