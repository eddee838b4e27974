/*
 * bind_plot: the raw figure functions under lua/hwb/plot.lua, which checks
 * options and turns tensors into tables.
 *
 * hwb_lua_open_plot pushes a table of functions; it is opened as the module
 * "hwb.plot.raw".  Figures and axes are userdata; axes keep their figure alive.
 */
#ifndef HWB_LUA_BIND_PLOT_H
#define HWB_LUA_BIND_PLOT_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

int hwb_lua_open_plot(lua_State *L);

/* terminal() -> {tty=, kind="kitty"|"sixel"|"braille"|"ascii", color=, cols=,
 * rows=, width=}: what standard output can show (bind_plot_term.c). */
int hwb_lua_plot_terminal(lua_State *L);

/* ---- arguments (bind_plot_args.c) --------------------------------------------- */

/* Field `name` of the table at t, or the default; wrong types raise. */
double hwb__lua_opt_number(lua_State *L, int t, const char *name, double def);
int64_t hwb__lua_opt_integer(lua_State *L, int t, const char *name); /* 0 when absent */
bool hwb__lua_opt_flag(lua_State *L, int t, const char *name, bool def);
/* Borrowed from the table; numbers are made strings in place; NULL when absent. */
const char *hwb__lua_opt_text(lua_State *L, int t, const char *name);
/* Index of the text in names[] (ends with NULL); 0 when absent. */
int hwb__lua_opt_choice(lua_State *L, int t, const char *name, const char *const *names);

typedef struct hwb__lua_array {
    int64_t n;
    double *v; /* NULL when absent; lives in a userdata left on the stack */
} hwb__lua_array;

/* A list of numbers, of n elements when n >= 0. */
hwb__lua_array hwb__lua_opt_array(lua_State *L, int t, const char *name, int64_t n);
/* A list of equally long lists -> v[rows][cols], left on the stack. */
double *hwb__lua_to_matrix(lua_State *L, int at, const char *name, int64_t *rows, int64_t *cols);
/* A list of n texts (false = none), borrowed from it; NULL when absent. */
const char **hwb__lua_opt_names(lua_State *L, int t, const char *name, int64_t n);

#endif
