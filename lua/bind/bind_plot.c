/*
 * Raw figure functions for lua/hwb/plot.lua.
 *
 * Arrays come as Lua lists of numbers (or booleans) and live here in userdata
 * blocks, so an error half way frees them.  Options come in a table whose
 * names were checked in Lua; fields that are nil keep the engine's defaults.
 */
#include "bind.h"
#include "bind_plot.h"

#include <math.h>
#include <string.h>

#include "plot/plot.h"

#define FIGURE "hwb.plot.figure"
#define AXES   "hwb.plot.axes"

/* ---- objects -------------------------------------------------------------------- */

static hwb_figure *to_figure(lua_State *L, int at) {
    hwb_figure **slot = luaL_checkudata(L, at, FIGURE);
    luaL_argcheck(L, *slot, at, "the figure is closed");
    return *slot;
}

static hwb_axes *to_axes(lua_State *L, int at) {
    return *(hwb_axes **)luaL_checkudata(L, at, AXES);
}

static int figure_gc(lua_State *L) {
    hwb_figure **slot = luaL_checkudata(L, 1, FIGURE);
    hwb_figure_free(*slot);
    *slot = NULL;
    return 0;
}

/* Pushes axes whose user value is the figure (or its other axes) at `owner`. */
static int push_axes(lua_State *L, hwb_axes *axes, int owner) {
    hwb_axes **slot = lua_newuserdatauv(L, sizeof *slot, 1);
    *slot = axes;
    lua_pushvalue(L, owner);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, AXES);
    return 1;
}

static int done(lua_State *L, hwb_status status) {
    return status == HWB_OK ? 0 : hwb_lua_raise(L, status);
}

/* ---- style ---------------------------------------------------------------------------------- */

static const char *const dashes[] = {"solid", "dashed", "dotted", "dashdot", "none", NULL};
static const char *const markers[] = {"none", "circle", "square", "diamond", "triangle",
                                      "plus", "cross",  "star",   NULL};
static const char *const colormaps[] = {"viridis", "diverging", "grey", NULL};
static const char *const scales[] = {"linear", "log", NULL};
static const char *const steps[] = {"none", "post", "pre", "mid", NULL};
static const char *const places[] = {"best",         "top right", "top left", "bottom left",
                                     "bottom right", "outside",   "none",     NULL};

static hwb_plot_style opt_style(lua_State *L, int t) {
    hwb_plot_style s = {.label = hwb__lua_opt_text(L, t, "label")};
    lua_getfield(L, t, "color"); /* Lua made it an integer 0xRRGGBB */
    if (!lua_isnil(L, -1)) s.color = HWB_RGB((uint32_t)luaL_checkinteger(L, -1) & 0xFFFFFF);
    lua_pop(L, 1);
    s.width = hwb__lua_opt_number(L, t, "width", 0);
    s.alpha = hwb__lua_opt_number(L, t, "alpha", 0);
    s.size = hwb__lua_opt_number(L, t, "size", 0);
    s.dash = (hwb_dash)hwb__lua_opt_choice(L, t, "dash", dashes);
    s.marker = (hwb_marker)hwb__lua_opt_choice(L, t, "marker", markers);
    return s;
}

static void to_options(lua_State *L, int at) {
    luaL_checktype(L, at, LUA_TTABLE);
    luaL_checkstack(L, 24, "figure");
}

/* ---- figures and axes ------------------------------------------------------------------------- */

/* figure(opts) */
static int raw_figure(lua_State *L) {
    to_options(L, 1);
    hwb_figure_opts o = {.width = hwb__lua_opt_number(L, 1, "width", 0),
                         .height = hwb__lua_opt_number(L, 1, "height", 0),
                         .dpi = hwb__lua_opt_number(L, 1, "dpi", 0),
                         .title = hwb__lua_opt_text(L, 1, "title")};
    int64_t rows = hwb__lua_opt_integer(L, 1, "rows"), cols = hwb__lua_opt_integer(L, 1, "cols");
    o.rows = rows > 1000 ? 1000 : rows < -1 ? -1 : (int)rows;
    o.cols = cols > 1000 ? 1000 : cols < -1 ? -1 : (int)cols;
    hwb_figure **slot = lua_newuserdatauv(L, sizeof *slot, 0);
    *slot = NULL;
    luaL_setmetatable(L, FIGURE);
    hwb_status status = hwb_figure_new(hwb_lua_ctx(L), slot, &o);
    return status == HWB_OK ? 1 : hwb_lua_raise(L, status);
}

/* axes(figure, row, col): 1-based */
static int raw_axes(lua_State *L) {
    hwb_figure *fig = to_figure(L, 1);
    lua_Integer r = luaL_checkinteger(L, 2), c = luaL_checkinteger(L, 3);
    int rows = hwb_figure_rows(fig), cols = hwb_figure_cols(fig);
    if (r < 1 || c < 1 || r > rows || c > cols)
        return luaL_error(L, "no panel %d, %d in a grid of %d x %d", (int)r, (int)c, rows, cols);
    return push_axes(L, hwb_figure_axes(fig, (int)r - 1, (int)c - 1), 1);
}

static int raw_twin(lua_State *L) {
    hwb_axes *twin;
    hwb_status status = hwb_axes_twin(hwb_lua_ctx(L), &twin, to_axes(L, 1));
    return status == HWB_OK ? push_axes(L, twin, 1) : hwb_lua_raise(L, status);
}

static hwb_status set_axis(lua_State *L, hwb_axes *ax, hwb_axis_id id, const char *const name[4]) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    const char *label = hwb__lua_opt_text(L, 2, name[0]);
    if (label) HWB_TRY(hwb_axes_label(ctx, ax, id, label));
    if (hwb__lua_opt_text(L, 2, name[1]))
        HWB_TRY(hwb_axes_scale(ctx, ax, id,
                               (hwb_scale_kind)hwb__lua_opt_choice(L, 2, name[1], scales)));
    hwb__lua_array lim = hwb__lua_opt_array(L, 2, name[2], -1);
    if (lim.v && lim.n != 2) return hwb_fail(ctx, HWB_EARG, "%s: two numbers", name[2]);
    if (lim.v) HWB_TRY(hwb_axes_limits(ctx, ax, id, lim.v[0], lim.v[1]));
    lua_getfield(L, 2, name[3]);
    if (lua_isnil(L, -1)) return HWB_OK;
    int t = lua_gettop(L); /* {at=, labels=} */
    hwb__lua_array at = hwb__lua_opt_array(L, t, "at", -1);
    return hwb_axes_ticks(ctx, ax, id, at.n, at.v, hwb__lua_opt_names(L, t, "labels", at.n));
}

/* set(axes, opts) */
static int raw_set(lua_State *L) {
    static const char *const x[4] = {"xlabel", "xscale", "xlim", "xticks"};
    static const char *const y[4] = {"ylabel", "yscale", "ylim", "yticks"};
    hwb_axes *ax = to_axes(L, 1);
    hwb_ctx *ctx = hwb_lua_ctx(L);
    to_options(L, 2);
    const char *title = hwb__lua_opt_text(L, 2, "title");
    hwb_status status = title ? hwb_axes_title(ctx, ax, title) : HWB_OK;
    if (status == HWB_OK) status = set_axis(L, ax, HWB_AXIS_X, x);
    if (status == HWB_OK) status = set_axis(L, ax, HWB_AXIS_Y, y);
    if (status == HWB_OK && lua_getfield(L, 2, "grid") != LUA_TNIL)
        status = hwb_axes_grid(ctx, ax, lua_toboolean(L, -1));
    if (status == HWB_OK && hwb__lua_opt_text(L, 2, "legend"))
        status = hwb_axes_legend(ctx, ax, (hwb_legend)hwb__lua_opt_choice(L, 2, "legend", places));
    if (status == HWB_OK && lua_getfield(L, 2, "equal") != LUA_TNIL)
        status = hwb_axes_equal(ctx, ax, lua_toboolean(L, -1));
    return done(L, status);
}

/* view(axes, "x"|"y") -> lo, hi */
static int raw_view(lua_State *L) {
    static const char *const names[] = {"x", "y", NULL};
    double lo, hi;
    hwb_axis_id id = (hwb_axis_id)luaL_checkoption(L, 2, NULL, names);
    hwb_status status = hwb_axes_view(hwb_lua_ctx(L), to_axes(L, 1), id, &lo, &hi);
    if (status != HWB_OK) return hwb_lua_raise(L, status);
    lua_pushnumber(L, lo);
    lua_pushnumber(L, hi);
    return 2;
}

/* ---- series --------------------------------------------------------------------------------------- */

typedef hwb_status (*line_fn)(hwb_ctx *, hwb_axes *, int64_t, const double *, const double *,
                              const hwb_line_opts *);

/* line(axes, opts): opts.x, .y, style, band_lo, band_hi, err_minus, err_plus, step, text */
static int add_line(lua_State *L, line_fn fn) {
    hwb_axes *ax = to_axes(L, 1);
    to_options(L, 2);
    hwb__lua_array y = hwb__lua_opt_array(L, 2, "y", -1), x = hwb__lua_opt_array(L, 2, "x", y.n);
    hwb_line_opts o = {.style = opt_style(L, 2),
                       .step = (hwb_step)hwb__lua_opt_choice(L, 2, "step", steps),
                       .band_lo = hwb__lua_opt_array(L, 2, "band_lo", y.n).v,
                       .band_hi = hwb__lua_opt_array(L, 2, "band_hi", y.n).v,
                       .err_minus = hwb__lua_opt_array(L, 2, "err_minus", y.n).v,
                       .err_plus = hwb__lua_opt_array(L, 2, "err_plus", y.n).v,
                       .text = hwb__lua_opt_names(L, 2, "text", y.n)};
    return done(L, fn(hwb_lua_ctx(L), ax, y.n, x.v, y.v, &o));
}

static int raw_line(lua_State *L) {
    return add_line(L, hwb_plot_line);
}
static int raw_scatter(lua_State *L) {
    return add_line(L, hwb_plot_scatter);
}

/* bars(axes, opts): opts.values[group][category], .styles[group], .err_minus, … */
static int raw_bars(lua_State *L) {
    hwb_axes *ax = to_axes(L, 1);
    int64_t groups, n, err_groups, err_n;
    to_options(L, 2);
    lua_getfield(L, 2, "values");
    double *v = hwb__lua_to_matrix(L, lua_gettop(L), "values", &groups, &n);
    hwb_bars_opts o = {.names = hwb__lua_opt_names(L, 2, "names", n),
                       .horizontal = hwb__lua_opt_flag(L, 2, "horizontal", false),
                       .values = hwb__lua_opt_flag(L, 2, "numbers", false),
                       .span = hwb__lua_opt_number(L, 2, "span", 0)};
    const char *const err_names[2] = {"err_minus", "err_plus"};
    for (int k = 0; k < 2; k++) {
        if (lua_getfield(L, 2, err_names[k]) == LUA_TNIL) continue;
        double *err = hwb__lua_to_matrix(L, lua_gettop(L), err_names[k], &err_groups, &err_n);
        if (err_groups != groups || err_n != n)
            return luaL_error(L, "%s: %d x %d values, the bars %d x %d", err_names[k],
                              (int)err_groups, (int)err_n, (int)groups, (int)n);
        *(k ? &o.err_plus : &o.err_minus) = err;
    }
    hwb_plot_style *styles = lua_newuserdatauv(L, (size_t)(groups + 1) * sizeof *styles, 0);
    lua_getfield(L, 2, "styles");
    int list = lua_gettop(L);
    for (int64_t g = 0; g < groups; g++) {
        lua_geti(L, list, g + 1);
        styles[g] = opt_style(L, lua_gettop(L));
        lua_pop(L, 1);
    }
    o.styles = styles;
    return done(L, hwb_plot_bars(hwb_lua_ctx(L), ax, groups, n, v, &o));
}

/* hist(axes, opts) */
static int raw_hist(lua_State *L) {
    hwb_axes *ax = to_axes(L, 1);
    to_options(L, 2);
    hwb__lua_array v = hwb__lua_opt_array(L, 2, "values", -1),
                   range = hwb__lua_opt_array(L, 2, "range", -1);
    hwb_hist_opts o = {.style = opt_style(L, 2),
                       .bins = hwb__lua_opt_integer(L, 2, "bins"),
                       .density = hwb__lua_opt_flag(L, 2, "density", false),
                       .log_bins = hwb__lua_opt_flag(L, 2, "log", false)};
    if (range.v && range.n != 2) return luaL_error(L, "range: two numbers");
    if (range.v) o.lo = range.v[0], o.hi = range.v[1];
    return done(L, hwb_plot_hist(hwb_lua_ctx(L), ax, v.n, v.v, &o));
}

/* density(axes, opts) */
static int raw_density(lua_State *L) {
    hwb_axes *ax = to_axes(L, 1);
    to_options(L, 2);
    hwb__lua_array nodes = hwb__lua_opt_array(L, 2, "nodes", -1),
                   weights = hwb__lua_opt_array(L, 2, "weights", nodes.n);
    hwb_density_opts o = {.style = opt_style(L, 2),
                          .sigma = hwb__lua_opt_number(L, 2, "sigma", 0),
                          .points = hwb__lua_opt_integer(L, 2, "points"),
                          .linear = hwb__lua_opt_flag(L, 2, "linear", false),
                          .no_fill = !hwb__lua_opt_flag(L, 2, "fill", true)};
    return done(L, hwb_plot_density(hwb_lua_ctx(L), ax, nodes.n, nodes.v, weights.v, &o));
}

typedef hwb_status (*field_fn)(hwb_ctx *, hwb_axes *, int64_t, int64_t, const double *,
                               const double *, const double *, const hwb_field_opts *);

static int add_field(lua_State *L, field_fn fn) {
    hwb_axes *ax = to_axes(L, 1);
    int64_t rows, cols;
    to_options(L, 2);
    lua_getfield(L, 2, "z");
    double *z = hwb__lua_to_matrix(L, lua_gettop(L), "z", &rows, &cols);
    hwb__lua_array x = hwb__lua_opt_array(L, 2, "x", cols), y = hwb__lua_opt_array(L, 2, "y", rows);
    hwb__lua_array range = hwb__lua_opt_array(L, 2, "range", -1),
                   levels = hwb__lua_opt_array(L, 2, "level_list", -1);
    hwb_field_opts o = {.colormap = (hwb_colormap)hwb__lua_opt_choice(L, 2, "colormap", colormaps),
                        .log = hwb__lua_opt_flag(L, 2, "log", false),
                        .label = hwb__lua_opt_text(L, 2, "label"),
                        .no_colorbar = !hwb__lua_opt_flag(L, 2, "colorbar", true),
                        .row_names = hwb__lua_opt_names(L, 2, "row_names", rows),
                        .col_names = hwb__lua_opt_names(L, 2, "col_names", cols),
                        .values = hwb__lua_opt_flag(L, 2, "numbers", false),
                        .top_down = hwb__lua_opt_flag(L, 2, "top_down", false),
                        .level_count =
                            levels.v ? levels.n : hwb__lua_opt_integer(L, 2, "level_count"),
                        .levels = levels.v,
                        .no_fill = !hwb__lua_opt_flag(L, 2, "fill", true),
                        .no_labels = !hwb__lua_opt_flag(L, 2, "labels", true)};
    if (range.v && range.n != 2) return luaL_error(L, "range: two numbers");
    if (range.v) o.lo = range.v[0], o.hi = range.v[1];
    return done(L, fn(hwb_lua_ctx(L), ax, rows, cols, x.v, y.v, z, &o));
}

static int raw_heatmap(lua_State *L) {
    return add_field(L, hwb_plot_heatmap);
}
static int raw_contour(lua_State *L) {
    return add_field(L, hwb_plot_contour);
}

/* annotate(axes, opts) */
static int raw_annotate(lua_State *L) {
    hwb_axes *ax = to_axes(L, 1);
    to_options(L, 2);
    hwb_plot_style s = opt_style(L, 2);
    hwb_text_opts o = {.color = s.color,
                       .size = s.size,
                       .dx = hwb__lua_opt_number(L, 2, "dx", 0),
                       .dy = hwb__lua_opt_number(L, 2, "dy", 0),
                       .arrow = hwb__lua_opt_flag(L, 2, "arrow", false)};
    return done(L, hwb_plot_text(hwb_lua_ctx(L), ax, hwb__lua_opt_number(L, 2, "x", NAN),
                                 hwb__lua_opt_number(L, 2, "y", NAN),
                                 hwb__lua_opt_text(L, 2, "text"), &o));
}

/* rule(axes, "x"|"y", value, opts) */
static int raw_rule(lua_State *L) {
    static const char *const names[] = {"x", "y", NULL};
    hwb_axes *ax = to_axes(L, 1);
    hwb_axis_id id = (hwb_axis_id)luaL_checkoption(L, 2, NULL, names);
    to_options(L, 4);
    hwb_plot_style s = opt_style(L, 4);
    return done(L, hwb_plot_rule(hwb_lua_ctx(L), ax, id, luaL_checknumber(L, 3), &s));
}

/* ---- output ------------------------------------------------------------------------------------------ */

/* Engine bytes become a Lua string; lua_pushlstring may raise, so the bytes are
 * held by a userdata until then. */
typedef struct held {
    void *p;
} held;

static int held_gc(lua_State *L) {
    held *h = lua_touserdata(L, 1);
    hwb_free(h->p);
    h->p = NULL;
    return 0;
}

static held *hold(lua_State *L) {
    held *h = lua_newuserdatauv(L, sizeof *h, 0);
    h->p = NULL;
    if (luaL_newmetatable(L, "hwb.plot.bytes")) {
        lua_pushcfunction(L, held_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return h;
}

static int push_held(lua_State *L, hwb_status status, held *h, size_t size) {
    if (status != HWB_OK) return hwb_lua_raise(L, status);
    lua_pushlstring(L, h->p, size);
    hwb_free(h->p);
    h->p = NULL;
    return 1;
}

static int raw_png(lua_State *L) {
    size_t size = 0;
    held *h = hold(L);
    hwb_status st = hwb_figure_png(hwb_lua_ctx(L), to_figure(L, 1), (unsigned char **)&h->p, &size);
    return push_held(L, st, h, size);
}

static int raw_svg(lua_State *L) {
    size_t size = 0;
    held *h = hold(L);
    hwb_status st = hwb_figure_svg(hwb_lua_ctx(L), to_figure(L, 1), (char **)&h->p, &size);
    return push_held(L, st, h, size);
}

static int clamped(lua_State *L, int at) {
    lua_Integer v = luaL_optinteger(L, at, 0);
    return v < -1 ? -1 : v > 100000 ? 100000 : (int)v;
}

/* text(figure, cols, rows, color, ascii) */
static int raw_text(lua_State *L) {
    hwb_text_figure_opts o = {.cols = clamped(L, 2),
                              .rows = clamped(L, 3),
                              .color = lua_toboolean(L, 4),
                              .ascii = lua_toboolean(L, 5)};
    size_t size = 0;
    held *h = hold(L);
    hwb_status st = hwb_figure_text(hwb_lua_ctx(L), to_figure(L, 1), (char **)&h->p, &size, &o);
    return push_held(L, st, h, size);
}

static int raw_kitty(lua_State *L) {
    size_t size = 0;
    int width = clamped(L, 2);
    held *h = hold(L);
    hwb_status st = hwb_figure_kitty(hwb_lua_ctx(L), to_figure(L, 1), (char **)&h->p, &size, width);
    return push_held(L, st, h, size);
}

static int raw_sixel(lua_State *L) {
    size_t size = 0;
    int width = clamped(L, 2);
    held *h = hold(L);
    hwb_status st = hwb_figure_sixel(hwb_lua_ctx(L), to_figure(L, 1), (char **)&h->p, &size, width);
    return push_held(L, st, h, size);
}

/* save(figure, path) -> true, or nil, message, code for files that cannot be written */
static int raw_save(lua_State *L) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_status status = hwb_figure_save(ctx, to_figure(L, 1), luaL_checkstring(L, 2));
    if (status == HWB_EIO) {
        lua_pushnil(L);
        lua_pushstring(L, hwb_message(ctx));
        lua_pushstring(L, hwb_status_name(status));
        return 3;
    }
    if (status != HWB_OK) return hwb_lua_raise(L, status);
    lua_pushboolean(L, 1);
    return 1;
}

int hwb_lua_open_plot(lua_State *L) {
    static const luaL_Reg functions[] = {{"figure", raw_figure},
                                         {"axes", raw_axes},
                                         {"twin", raw_twin},
                                         {"set", raw_set},
                                         {"view", raw_view},
                                         {"line", raw_line},
                                         {"scatter", raw_scatter},
                                         {"bars", raw_bars},
                                         {"hist", raw_hist},
                                         {"density", raw_density},
                                         {"heatmap", raw_heatmap},
                                         {"contour", raw_contour},
                                         {"annotate", raw_annotate},
                                         {"rule", raw_rule},
                                         {"png", raw_png},
                                         {"svg", raw_svg},
                                         {"text", raw_text},
                                         {"kitty", raw_kitty},
                                         {"sixel", raw_sixel},
                                         {"save", raw_save},
                                         {"terminal", hwb_lua_plot_terminal},
                                         {NULL, NULL}};
    luaL_newmetatable(L, FIGURE);
    lua_pushcfunction(L, figure_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    luaL_newmetatable(L, AXES);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
    luaL_newlib(L, functions);
    return 1;
}
