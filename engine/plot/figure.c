/*
 * Life of figures and the settings of axes.
 */
#include "plot/plot_i.h"

#include <math.h>

enum { MAX_GRID = 16, MAX_INCHES = 100, MAX_DPI = 2400 };

static void init_axes(hwb_axes *ax, hwb_figure *fig, hwb_axes *parent) {
    ax->fig = fig;
    ax->parent = parent;
    for (int i = 0; i < 2; i++) ax->axis[i].lo = ax->axis[i].hi = NAN;
}

hwb_status hwb_figure_new(hwb_ctx *ctx, hwb_figure **out, const hwb_figure_opts *opts) {
    hwb_figure_opts o = opts ? *opts : (hwb_figure_opts){0};
    if (o.rows == 0) o.rows = 1;
    if (o.cols == 0) o.cols = 1;
    if (o.rows < 0 || o.cols < 0 || o.rows > MAX_GRID || o.cols > MAX_GRID)
        return hwb_fail(ctx, HWB_EARG, "figure: a grid of %d x %d panels; 1 to %d each way", o.rows,
                        o.cols, MAX_GRID);
    /* One panel 6.2 x 3.9 in; more panels get smaller ones. */
    if (o.width == 0) o.width = o.cols == 1 ? 6.2 : 4.3 * o.cols;
    if (o.height == 0) o.height = o.rows == 1 ? (o.cols == 1 ? 3.9 : 3.3) : 3.0 * o.rows;
    if (o.dpi == 0) o.dpi = 150;
    if (!(o.width >= 0.5 && o.width <= MAX_INCHES && o.height >= 0.5 && o.height <= MAX_INCHES))
        return hwb_fail(ctx, HWB_EARG, "figure: size %g x %g inches; 0.5 to %d each way", o.width,
                        o.height, MAX_INCHES);
    if (!(o.dpi >= 10 && o.dpi <= MAX_DPI))
        return hwb_fail(ctx, HWB_EARG, "figure: dpi %g; 10 to %d", o.dpi, MAX_DPI);

    hwb__plot_arena arena = {0};
    hwb_figure *fig = hwb__plot_get(ctx, &arena, sizeof *fig);
    int n = o.rows * o.cols;
    hwb_axes *axes = fig ? hwb__plot_array(ctx, &arena, n, sizeof *axes) : NULL;
    char *title = axes && o.title ? hwb__plot_copy_text(ctx, &arena, o.title) : NULL;
    if (!axes || (o.title && !title)) {
        hwb__plot_arena_free(&arena);
        return HWB_ENOMEM;
    }
    *fig = (hwb_figure){arena, o.width, o.height, o.dpi, o.rows, o.cols, title, axes};
    for (int i = 0; i < n; i++) init_axes(&axes[i], fig, NULL);
    *out = fig;
    return HWB_OK;
}

void hwb_figure_free(hwb_figure *fig) {
    if (!fig) return;
    hwb__plot_arena arena = fig->arena; /* the figure itself lies in it */
    hwb__plot_arena_free(&arena);
}

int hwb_figure_rows(const hwb_figure *fig) {
    return fig->rows;
}
int hwb_figure_cols(const hwb_figure *fig) {
    return fig->cols;
}

hwb_axes *hwb_figure_axes(hwb_figure *fig, int row, int col) {
    if (row < 0 || col < 0 || row >= fig->rows || col >= fig->cols) return NULL;
    return &fig->axes[row * fig->cols + col];
}

/* ---- axes ----------------------------------------------------------------------- */

#define CHECK_AXES(ctx, axes)                                                                      \
    do {                                                                                           \
        if (!(axes)) return hwb_fail(ctx, HWB_EARG, "figure: no such panel");                      \
    } while (0)

/* The x axis, the title and the legend of twins are those of the left one. */
hwb__axis *hwb__plot_axis(hwb_axes *axes, hwb_axis_id id) {
    return id == HWB_AXIS_X && axes->parent ? &axes->parent->axis[id] : &axes->axis[id];
}

hwb_status hwb_axes_twin(hwb_ctx *ctx, hwb_axes **out, hwb_axes *axes) {
    CHECK_AXES(ctx, axes);
    if (axes->parent) {
        *out = axes;
        return HWB_OK;
    }
    if (!axes->twin) {
        hwb_axes *t = hwb__plot_get(ctx, &axes->fig->arena, sizeof *t);
        if (!t) return HWB_ENOMEM;
        init_axes(t, axes->fig, axes);
        axes->twin = t;
    }
    *out = axes->twin;
    return HWB_OK;
}

static hwb_status set_text(hwb_ctx *ctx, hwb_axes *axes, const char **slot, const char *text) {
    char *copy = NULL;
    if (text && !(copy = hwb__plot_copy_text(ctx, &axes->fig->arena, text))) return HWB_ENOMEM;
    *slot = copy;
    return HWB_OK;
}

hwb_status hwb_axes_title(hwb_ctx *ctx, hwb_axes *axes, const char *text) {
    CHECK_AXES(ctx, axes);
    return set_text(ctx, axes, axes->parent ? &axes->parent->title : &axes->title, text);
}

hwb_status hwb_axes_label(hwb_ctx *ctx, hwb_axes *axes, hwb_axis_id axis, const char *text) {
    CHECK_AXES(ctx, axes);
    return set_text(ctx, axes, &hwb__plot_axis(axes, axis)->label, text);
}

hwb_status hwb_axes_scale(hwb_ctx *ctx, hwb_axes *axes, hwb_axis_id axis, hwb_scale_kind scale) {
    CHECK_AXES(ctx, axes);
    hwb__plot_axis(axes, axis)->scale = scale;
    return HWB_OK;
}

hwb_status hwb_axes_limits(hwb_ctx *ctx, hwb_axes *axes, hwb_axis_id axis, double lo, double hi) {
    CHECK_AXES(ctx, axes);
    if (isinf(lo) || isinf(hi) || fabs(lo) > 1e300 || fabs(hi) > 1e300)
        return hwb_fail(ctx, HWB_EARG, "figure: limits %g, %g are not finite", lo, hi);
    if (fabs(hi - lo) <= 1e-13 * fmax(fabs(lo), fabs(hi)))
        return hwb_fail(ctx, HWB_EARG, "figure: both limits are %g", lo);
    hwb__plot_axis(axes, axis)->lo = lo;
    hwb__plot_axis(axes, axis)->hi = hi;
    return HWB_OK;
}

hwb_status hwb_axes_ticks(hwb_ctx *ctx, hwb_axes *axes, hwb_axis_id axis, int64_t n,
                          const double *at, const char *const *labels) {
    CHECK_AXES(ctx, axes);
    if (n < 0 || (n > 0 && !at)) return hwb_fail(ctx, HWB_EARG, "figure: %lld ticks", (long long)n);
    hwb__plot_arena *a = &axes->fig->arena;
    double *copy = hwb__plot_copy(ctx, a, n, at);
    const char **text = NULL;
    if (!copy) return HWB_ENOMEM;
    if (labels) {
        if (!(text = hwb__plot_array(ctx, a, n, sizeof *text))) return HWB_ENOMEM;
        for (int64_t i = 0; i < n; i++)
            if (!(text[i] = hwb__plot_copy_text(ctx, a, labels[i] ? labels[i] : "")))
                return HWB_ENOMEM;
    }
    hwb__axis *x = hwb__plot_axis(axes, axis);
    x->fixed = true;
    x->category = false;
    x->tick_n = n;
    x->tick_at = copy;
    x->tick_label = text;
    return HWB_OK;
}

hwb_status hwb_axes_grid(hwb_ctx *ctx, hwb_axes *axes, bool on) {
    CHECK_AXES(ctx, axes);
    axes->no_grid = !on;
    return HWB_OK;
}

hwb_status hwb_axes_legend(hwb_ctx *ctx, hwb_axes *axes, hwb_legend place) {
    CHECK_AXES(ctx, axes);
    (axes->parent ? axes->parent : axes)->legend = place;
    return HWB_OK;
}

hwb_status hwb_axes_equal(hwb_ctx *ctx, hwb_axes *axes, bool on) {
    CHECK_AXES(ctx, axes);
    (axes->parent ? axes->parent : axes)->equal = on;
    return HWB_OK;
}

hwb_status hwb_axes_view(hwb_ctx *ctx, const hwb_axes *axes, hwb_axis_id axis, double *lo,
                         double *hi) {
    CHECK_AXES(ctx, axes);
    hwb__scale s;
    hwb__plot_range(axes, axis, &s);
    *lo = s.lo;
    *hi = s.hi;
    return HWB_OK;
}
