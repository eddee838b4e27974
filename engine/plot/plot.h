/*
 * plot: figures for papers and for the terminal.
 *
 * A figure is a grid of axes; series (lines, points, bars, fields …) are added
 * to axes and their data copied.  Nothing is drawn before an output function
 * runs, and drawing leaves the figure as it was, so one figure gives PNG, SVG
 * and text:
 *
 *     hwb_figure *fig;
 *     HWB_TRY(hwb_figure_new(ctx, &fig, NULL));
 *     hwb_axes *ax = hwb_figure_axes(fig, 0, 0);
 *     hwb_plot_line(ctx, ax, n, steps, loss, &(hwb_line_opts){.style.label = "train"});
 *     hwb_axes_scale(ctx, ax, HWB_AXIS_Y, HWB_SCALE_LOG);
 *     hwb_figure_save(ctx, fig, "loss.png");
 *     hwb_figure_free(fig);
 *
 * Every options struct may be NULL or zero: zero means "the default".
 *
 * Values that cannot be placed (NaN, infinities, non-positive ones on a log
 * axis) leave a gap and never an error.  Sizes are inches (figure) or points
 * (lines, markers, text; 72 an inch).  The same figure gives the same bytes on
 * the same machine.
 *
 * Text is UTF-8.  Titles, axis names, labels and annotations know ^{…} and
 * _{…}: "10^{-3}", "λ_{max}".
 */
#ifndef HWB_PLOT_H
#define HWB_PLOT_H

#include "base/base.h"

typedef struct hwb_figure hwb_figure;
typedef struct hwb_axes hwb_axes; /* always borrowed: lives as long as its figure */

typedef enum hwb_axis_id { HWB_AXIS_X, HWB_AXIS_Y } hwb_axis_id;
typedef enum hwb_scale_kind { HWB_SCALE_LINEAR, HWB_SCALE_LOG } hwb_scale_kind;
typedef enum hwb_dash {
    HWB_DASH_SOLID,
    HWB_DASH_DASHED,
    HWB_DASH_DOTTED,
    HWB_DASH_DASHDOT,
    HWB_DASH_NONE
} hwb_dash;
typedef enum hwb_marker {
    HWB_MARKER_NONE,
    HWB_MARKER_CIRCLE,
    HWB_MARKER_SQUARE,
    HWB_MARKER_DIAMOND,
    HWB_MARKER_TRIANGLE,
    HWB_MARKER_PLUS,
    HWB_MARKER_CROSS,
    HWB_MARKER_STAR
} hwb_marker;
typedef enum hwb_step { HWB_STEP_NONE, HWB_STEP_POST, HWB_STEP_PRE, HWB_STEP_MID } hwb_step;
typedef enum hwb_colormap {
    HWB_COLORMAP_VIRIDIS,
    HWB_COLORMAP_DIVERGING,
    HWB_COLORMAP_GREY
} hwb_colormap;
typedef enum hwb_legend {
    HWB_LEGEND_BEST,
    HWB_LEGEND_TOP_RIGHT,
    HWB_LEGEND_TOP_LEFT,
    HWB_LEGEND_BOTTOM_LEFT,
    HWB_LEGEND_BOTTOM_RIGHT,
    HWB_LEGEND_OUTSIDE,
    HWB_LEGEND_NONE
} hwb_legend;

/* A colour option: HWB_RGB(0xD55E00); 0 = the next Okabe-Ito colour. */
#define HWB_RGB(hex) ((uint32_t)(hex) | 0x1000000u)

/* ---- figure ----------------------------------------------------------------- */

typedef struct hwb_figure_opts {
    double width, height; /* inches; 0 = chosen from the grid */
    double dpi;           /* 0 = 150 */
    int rows, cols;       /* 0 = 1 */
    const char *title;    /* above all panels */
} hwb_figure_opts;

HWB_API hwb_status hwb_figure_new(hwb_ctx *ctx, hwb_figure **out,
                                  const hwb_figure_opts *opts); /* free with hwb_figure_free */
HWB_API void hwb_figure_free(hwb_figure *fig);                  /* NULL is accepted */
HWB_API int hwb_figure_rows(const hwb_figure *fig);
HWB_API int hwb_figure_cols(const hwb_figure *fig);
/* Panel of the grid, 0-based; NULL outside it. */
HWB_API hwb_axes *hwb_figure_axes(hwb_figure *fig, int row, int col);

/* ---- axes --------------------------------------------------------------------- */

/* The second y axis (on the right) over the same x; made on the first call. */
HWB_API hwb_status hwb_axes_twin(hwb_ctx *ctx, hwb_axes **out, hwb_axes *axes);
HWB_API hwb_status hwb_axes_title(hwb_ctx *ctx, hwb_axes *axes, const char *text);
HWB_API hwb_status hwb_axes_label(hwb_ctx *ctx, hwb_axes *axes, hwb_axis_id axis, const char *text);
HWB_API hwb_status hwb_axes_scale(hwb_ctx *ctx, hwb_axes *axes, hwb_axis_id axis,
                                  hwb_scale_kind scale);
/* Range shown; NaN leaves that end to the data.  lo > hi turns the axis round. */
HWB_API hwb_status hwb_axes_limits(hwb_ctx *ctx, hwb_axes *axes, hwb_axis_id axis, double lo,
                                   double hi);
/* Ticks at at[n] with labels[n] (NULL = the numbers). */
HWB_API hwb_status hwb_axes_ticks(hwb_ctx *ctx, hwb_axes *axes, hwb_axis_id axis, int64_t n,
                                  const double *at, const char *const *labels);
HWB_API hwb_status hwb_axes_grid(hwb_ctx *ctx, hwb_axes *axes, bool on); /* default on */
HWB_API hwb_status hwb_axes_legend(hwb_ctx *ctx, hwb_axes *axes, hwb_legend place);
/* One unit has the same length on both axes. */
HWB_API hwb_status hwb_axes_equal(hwb_ctx *ctx, hwb_axes *axes, bool on);
/* The range an output function would show, after automatic limits. */
HWB_API hwb_status hwb_axes_view(hwb_ctx *ctx, const hwb_axes *axes, hwb_axis_id axis, double *lo,
                                 double *hi);

/* ---- series -------------------------------------------------------------------- */

typedef struct hwb_plot_style {
    const char *label; /* legend entry; NULL = none */
    uint32_t color;    /* HWB_RGB(…) */
    double width;      /* of the line, points */
    double alpha;      /* 0..1; 0 = opaque */
    hwb_dash dash;
    hwb_marker marker;
    double size; /* of the marker, points */
} hwb_plot_style;

typedef struct hwb_line_opts {
    hwb_plot_style style;
    hwb_step step;
    const double *band_lo, *band_hi;    /* [n] each: shaded between them */
    const double *err_minus, *err_plus; /* [n] lengths; err_plus NULL = symmetric */
    const char *const *text;            /* [n] written beside the points; entries may be NULL */
} hwb_line_opts;

/* x[n], y[n]; x NULL = 1..n.  A scatter is a line with HWB_DASH_NONE. */
HWB_API hwb_status hwb_plot_line(hwb_ctx *ctx, hwb_axes *axes, int64_t n, const double *x,
                                 const double *y, const hwb_line_opts *opts);
HWB_API hwb_status hwb_plot_scatter(hwb_ctx *ctx, hwb_axes *axes, int64_t n, const double *x,
                                    const double *y, const hwb_line_opts *opts);

typedef struct hwb_bars_opts {
    const hwb_plot_style *styles;       /* [groups] or NULL */
    const char *const *names;           /* [n] tick labels or NULL */
    const double *err_minus, *err_plus; /* [groups][n] lengths, NaN = none, or NULL */
    bool horizontal;                    /* categories run down the y axis */
    bool values;                        /* write the value at each bar */
    double span;                        /* share of a category that bars fill; 0 = 0.8 */
} hwb_bars_opts;

/* values[groups][n]: category i stands at i+1, its groups side by side. */
HWB_API hwb_status hwb_plot_bars(hwb_ctx *ctx, hwb_axes *axes, int64_t groups, int64_t n,
                                 const double *values, const hwb_bars_opts *opts);

typedef struct hwb_hist_opts {
    hwb_plot_style style;
    int64_t bins;  /* 0 = Freedman-Diaconis */
    double lo, hi; /* range; both 0 = that of the data */
    bool density;  /* area 1 instead of counts */
    bool log_bins; /* equal bins of log x (positive values only) */
} hwb_hist_opts;

HWB_API hwb_status hwb_plot_hist(hwb_ctx *ctx, hwb_axes *axes, int64_t n, const double *values,
                                 const hwb_hist_opts *opts);

typedef struct hwb_density_opts {
    hwb_plot_style style;
    double sigma;   /* width of the Gaussian put on each node; 0 = 0.5 % of the range */
    int64_t points; /* of the curve; 0 = 1200 */
    bool linear;    /* keep the y axis linear (default: log) */
    bool no_fill;
} hwb_density_opts;

/* Spectral density  p(t) = sum_i w_i N(t; nodes_i, sigma^2) / sum_i w_i. */
HWB_API hwb_status hwb_plot_density(hwb_ctx *ctx, hwb_axes *axes, int64_t n, const double *nodes,
                                    const double *weights, const hwb_density_opts *opts);

typedef struct hwb_field_opts {
    hwb_colormap colormap;
    double lo, hi;     /* colour range; both 0 = that of the data */
    bool log;          /* colours by log of the value */
    const char *label; /* of the colour bar */
    bool no_colorbar;
    const char *const *row_names, *const *col_names; /* heat map only */
    bool values;                                     /* heat map: write the number in each cell */
    bool top_down;                                   /* heat map: row 0 at the top */
    /* contour only */
    int64_t level_count;  /* at most, at round values; 0 = 14 */
    const double *levels; /* [level_count] explicit */
    bool no_fill, no_labels;
} hwb_field_opts;

/* z[rows][cols]; cell (r, c) is centred on (x[c], y[r]); x, y NULL = 1..cols,
 * 1..rows; both strictly increasing or strictly decreasing. */
HWB_API hwb_status hwb_plot_heatmap(hwb_ctx *ctx, hwb_axes *axes, int64_t rows, int64_t cols,
                                    const double *x, const double *y, const double *z,
                                    const hwb_field_opts *opts);
/* Level lines by marching squares, over filled bands. */
HWB_API hwb_status hwb_plot_contour(hwb_ctx *ctx, hwb_axes *axes, int64_t rows, int64_t cols,
                                    const double *x, const double *y, const double *z,
                                    const hwb_field_opts *opts);

typedef struct hwb_text_opts {
    uint32_t color;
    double size;   /* points; 0 = 9 */
    double dx, dy; /* offset in points, y up; both 0 = the emptiest side */
    bool arrow;    /* from the text to the point */
} hwb_text_opts;

HWB_API hwb_status hwb_plot_text(hwb_ctx *ctx, hwb_axes *axes, double x, double y, const char *text,
                                 const hwb_text_opts *opts);
/* A line across the panel: HWB_AXIS_X at x = value, HWB_AXIS_Y at y = value. */
HWB_API hwb_status hwb_plot_rule(hwb_ctx *ctx, hwb_axes *axes, hwb_axis_id axis, double value,
                                 const hwb_plot_style *style);

/* ---- output ---------------------------------------------------------------------- */

/* Bytes are new memory: hwb_free(*out).  SVG and text are also NUL-terminated. */
HWB_API hwb_status hwb_figure_png(hwb_ctx *ctx, const hwb_figure *fig, unsigned char **out,
                                  size_t *size);
HWB_API hwb_status hwb_figure_svg(hwb_ctx *ctx, const hwb_figure *fig, char **out, size_t *size);
/* By the ending .png or .svg; written beside and renamed, so never half a file. */
HWB_API hwb_status hwb_figure_save(hwb_ctx *ctx, const hwb_figure *fig, const char *path);

typedef struct hwb_text_figure_opts {
    int cols, rows; /* character cells; 0 = 80 x 24 */
    bool color;     /* ANSI 24-bit colours */
    bool ascii;     /* no braille, no box drawing: 7-bit text */
} hwb_text_figure_opts;

HWB_API hwb_status hwb_figure_text(hwb_ctx *ctx, const hwb_figure *fig, char **out, size_t *size,
                                   const hwb_text_figure_opts *opts);
/* Terminal image protocols, `width` pixels wide (0 = the figure's own size). */
HWB_API hwb_status hwb_figure_kitty(hwb_ctx *ctx, const hwb_figure *fig, char **out, size_t *size,
                                    int width);
HWB_API hwb_status hwb_figure_sixel(hwb_ctx *ctx, const hwb_figure *fig, char **out, size_t *size,
                                    int width);

#endif
