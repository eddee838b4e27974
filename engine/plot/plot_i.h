/*
 * Internals of a figure: what the add functions store and the drawing reads.
 *
 * All of a figure's memory hangs on one arena, so freeing is one call and a
 * failed add leaves only unused bytes behind.  A second arena holds what one
 * drawing needs.
 */
#ifndef HWB_PLOT_I_H
#define HWB_PLOT_I_H

#include "plot/plot.h"

/* ---- memory (mem.c) ----------------------------------------------------------- */

typedef struct hwb__plot_arena {
    struct hwb__plot_chunk *head;
} hwb__plot_arena;

/* Zeroed bytes that live as long as the arena; NULL with the message set. */
void *hwb__plot_get(hwb_ctx *ctx, hwb__plot_arena *a, size_t bytes);
/* The same for n elements of `size` bytes; NULL too when n*size overflows. */
void *hwb__plot_array(hwb_ctx *ctx, hwb__plot_arena *a, int64_t n, size_t size);
/* Copy with broken UTF-8 and control characters replaced (by ? and blanks), so
 * that every writer gets text it can show. */
char *hwb__plot_copy_text(hwb_ctx *ctx, hwb__plot_arena *a, const char *text);
double *hwb__plot_copy(hwb_ctx *ctx, hwb__plot_arena *a, int64_t n, const double *v);
void hwb__plot_arena_free(hwb__plot_arena *a);

/* Growing bytes; the first failure sticks in `status` and the rest are no-ops. */
typedef struct hwb__bytes {
    hwb_ctx *ctx;
    char *p;
    size_t n, cap;
    hwb_status status;
} hwb__bytes;

void hwb__bytes_add(hwb__bytes *b, const void *p, size_t n);
void hwb__bytes_text(hwb__bytes *b, const char *text);
void hwb__bytes_int(hwb__bytes *b, int64_t v);
/* Fixed notation with at most `decimals`, trailing zeros cut, never a locale. */
void hwb__bytes_num(hwb__bytes *b, double v, int decimals);
void hwb__bytes_base64(hwb__bytes *b, const unsigned char *p, size_t n);
/* Terminates with NUL (not counted) and hands the memory over, or frees it. */
hwb_status hwb__bytes_take(hwb__bytes *b, char **out, size_t *size);

/* ---- the figure ------------------------------------------------------------------ */

typedef enum hwb__series_kind {
    HWB__LINE,    /* x y [lo hi] [em ep] [names], step, marker */
    HWB__AREA,    /* x y filled down to the axis */
    HWB__HIST,    /* x[n+1] edges, y[n] */
    HWB__BARS,    /* y[groups][n] [em ep] [names], styles */
    HWB__HEAT,    /* x y z */
    HWB__CONTOUR, /* x y z, levels */
    HWB__TEXT,    /* x[0] y[0] text */
    HWB__RULE     /* x[0], axis */
} hwb__series_kind;

typedef struct hwb__style {
    uint32_t color; /* 0xRRGGBB */
    double width, alpha, size;
    hwb_dash dash;
    hwb_marker marker;
    const char *label;
} hwb__style;

typedef struct hwb__series {
    struct hwb__series *next;
    hwb__series_kind kind;
    hwb__style style;
    hwb__style *styles; /* BARS: one a group */
    int64_t n, groups, rows, cols, level_count;
    double *x, *y, *z, *lo, *hi, *em, *ep, *levels;
    const char **names, **row_names;
    hwb_step step;
    hwb_axis_id axis;
    bool horizontal, values, filled, labels, zlog, colorbar, top_down, arrow;
    double span, zlo, zhi, dx, dy;
    hwb_colormap colormap;
    const char *text;
} hwb__series;

typedef struct hwb__axis {
    const char *label;
    hwb_scale_kind scale;
    double lo, hi; /* NaN = automatic */
    bool fixed;    /* ticks given by the user or by categories */
    bool category; /* names, not numbers: no grid lines */
    int64_t tick_n;
    const double *tick_at;
    const char *const *tick_label;
} hwb__axis;

struct hwb_axes {
    hwb_figure *fig;
    hwb_axes *twin, *parent;
    const char *title;
    hwb__axis axis[2];
    bool no_grid, equal;
    hwb_legend legend;
    int next_color; /* the parent's counter serves its twin too */
    hwb__series *first, *last;
};

struct hwb_figure {
    hwb__plot_arena arena;
    double width, height, dpi; /* inches */
    int rows, cols;
    const char *title;
    hwb_axes *axes; /* [rows*cols] */
};

/* The axis that settings of `axes` go to (figure.c). */
hwb__axis *hwb__plot_axis(hwb_axes *axes, hwb_axis_id id);

/* ---- colours (color.c) -------------------------------------------------------------- */

typedef struct hwb__rgba {
    double r, g, b, a;
} hwb__rgba;

uint32_t hwb__plot_palette(int i);
hwb__rgba hwb__plot_rgba(uint32_t rgb, double alpha);
/* t in 0..1 (clamped) */
hwb__rgba hwb__plot_colormap(hwb_colormap map, double t);
double hwb__plot_luminance(hwb__rgba c); /* relative luminance, 0 black .. 1 white */

/* ---- scales and ticks (scale.c, ticks.c) ----------------------------------------------- */

/* Maps lo..hi (of log10 when log) to p0..p1 of the canvas. */
typedef struct hwb__scale {
    double lo, hi, p0, p1;
    bool log;
} hwb__scale;

/* NaN when v cannot be placed; far values are clamped to 1e5 beyond the ends. */
double hwb__plot_map(const hwb__scale *s, double v);
/* The range an axis shows, ignoring canvas positions. */
void hwb__plot_range(const hwb_axes *axes, hwb_axis_id id, hwb__scale *out);
/* Colour range of a field. */
void hwb__plot_zrange(const hwb__series *s, double *lo, double *hi);
/* Where z lies in the colour range, 0..1; NaN stays NaN. */
double hwb__plot_zunit(const hwb__series *s, double lo, double hi, double z);

typedef struct hwb__ticks {
    int64_t n, minor_n;
    double *at, *minor;
    const char **label;
    int exponent; /* labels show value / 10^exponent */
} hwb__ticks;

/* Fixed notation; out holds at least 32 bytes.  "−" is U+2212. */
void hwb__plot_fixed(char *out, size_t cap, double v, int decimals);
/* Shortest text with `digits` significant digits; markup for powers of ten. */
void hwb__plot_short(char *out, size_t cap, double v, int digits);
/* Round step so that lo..hi holds at most `want` of them. */
double hwb__plot_step(double span, int want);
/* About `want` ticks for a range; user ticks of `axis` (may be NULL) win. */
hwb_status hwb__plot_ticks(hwb_ctx *ctx, hwb__plot_arena *a, hwb__ticks *out,
                           const hwb__scale *range, const hwb__axis *axis, int want);

/* ---- contours (contour.c) ------------------------------------------------------------------ */

typedef struct hwb__polyline {
    struct hwb__polyline *next;
    int64_t n;
    bool closed;
    double *x, *y; /* in data coordinates */
} hwb__polyline;

/* Level lines of z[rows][cols] over x[cols], y[rows]. */
hwb_status hwb__plot_contour_lines(hwb_ctx *ctx, hwb__plot_arena *a, hwb__polyline **out,
                                   int64_t rows, int64_t cols, const double *x, const double *y,
                                   const double *z, double level);
/* The levels a contour series shows. */
hwb_status hwb__plot_levels(hwb_ctx *ctx, hwb__plot_arena *a, const hwb__series *s, int64_t *n,
                            const double **levels);

#endif
