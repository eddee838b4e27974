/*
 * Reading options and arrays from Lua for bind_plot.c: lists of numbers (or
 * booleans) become userdata blocks that stay on the stack, so an error half way
 * frees them; texts are borrowed from the table that holds them.
 */
#include "bind_plot.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

/* ---- options ---------------------------------------------------------------------- */

/* Each leaves the stack as it was; strings live as long as the table. */
double hwb__lua_opt_number(lua_State *L, int t, const char *name, double def) {
    lua_getfield(L, t, name);
    if (!lua_isnil(L, -1)) {
        if (lua_type(L, -1) != LUA_TNUMBER)
            luaL_error(L, "%s: a number, not a %s", name, luaL_typename(L, -1));
        def = lua_tonumber(L, -1);
    }
    lua_pop(L, 1);
    return def;
}

int64_t hwb__lua_opt_integer(lua_State *L, int t, const char *name) {
    double v = hwb__lua_opt_number(L, t, name, 0);
    if (!(v == floor(v) && fabs(v) < 1e15)) luaL_error(L, "%s: %f is no whole number", name, v);
    return (int64_t)v;
}

bool hwb__lua_opt_flag(lua_State *L, int t, const char *name, bool def) {
    lua_getfield(L, t, name);
    if (!lua_isnil(L, -1)) def = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return def;
}

/* A string or a number; NULL when absent. */
static const char *text_at(lua_State *L, int at, const char *name) {
    if (lua_isnoneornil(L, at)) return NULL;
    if (!lua_isstring(L, at)) luaL_error(L, "%s: text, not a %s", name, luaL_typename(L, at));
    return lua_tostring(L, at);
}

const char *hwb__lua_opt_text(lua_State *L, int t, const char *name) {
    lua_getfield(L, t, name);
    if (lua_type(L, -1) == LUA_TNUMBER) { /* make it a string that the table keeps */
        lua_pushstring(L, lua_tostring(L, -1));
        lua_setfield(L, t, name);
    }
    const char *s = text_at(L, -1, name);
    lua_pop(L, 1);
    return s;
}

/* Index of the option's text in names[] (NULL at the end); 0 when absent. */
int hwb__lua_opt_choice(lua_State *L, int t, const char *name, const char *const *names) {
    const char *s = hwb__lua_opt_text(L, t, name);
    if (!s) return 0;
    for (int i = 0; names[i]; i++)
        if (!strcmp(s, names[i])) return i;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (int i = 0; names[i]; i++) {
        if (i) luaL_addstring(&b, ", ");
        luaL_addstring(&b, names[i]);
    }
    luaL_pushresult(&b);
    return luaL_error(L, "%s: '%s' is none of %s", name, s, lua_tostring(L, -1));
}

/* ---- arrays: pushed as userdata, so that errors free them ------------------------------- */

static double element(lua_State *L, const char *name, int64_t i) {
    double v = 0;
    if (lua_type(L, -1) == LUA_TNUMBER) v = lua_tonumber(L, -1);
    else if (lua_isboolean(L, -1)) v = lua_toboolean(L, -1);
    else luaL_error(L, "%s[%d]: a number, not a %s", name, (int)i, luaL_typename(L, -1));
    lua_pop(L, 1);
    return v;
}

static hwb__lua_array to_array(lua_State *L, int at, const char *name) {
    hwb__lua_array a = {0};
    if (lua_isnoneornil(L, at)) return a;
    if (!lua_istable(L, at))
        luaL_error(L, "%s: a list of numbers, not a %s", name, luaL_typename(L, at));
    at = lua_absindex(L, at);
    a.n = luaL_len(L, at);
    a.v = lua_newuserdatauv(L, (size_t)(a.n ? a.n : 1) * sizeof *a.v, 0);
    for (int64_t i = 0; i < a.n; i++) {
        lua_geti(L, at, i + 1);
        a.v[i] = element(L, name, i + 1);
    }
    return a;
}

/* The field's array, of n elements when n >= 0; stays on the stack. */
hwb__lua_array hwb__lua_opt_array(lua_State *L, int t, const char *name, int64_t n) {
    lua_getfield(L, t, name);
    hwb__lua_array a = to_array(L, -1, name);
    if (a.v && n >= 0 && a.n != n)
        luaL_error(L, "%s has %d values, the data %d", name, (int)a.n, (int)n);
    return a;
}

/* List of lists, all of one length -> values[rows][cols]. */
double *hwb__lua_to_matrix(lua_State *L, int at, const char *name, int64_t *rows, int64_t *cols) {
    luaL_checktype(L, at, LUA_TTABLE);
    *rows = luaL_len(L, at);
    *cols = 0;
    double *v = NULL;
    for (int64_t r = 0; r < *rows; r++) {
        lua_geti(L, at, r + 1);
        if (!lua_istable(L, -1)) luaL_error(L, "%s[%d]: a list of numbers", name, (int)r + 1);
        int64_t n = luaL_len(L, -1);
        if (r == 0) {
            *cols = n;
            if (n > 0 && *rows > INT32_MAX / n) luaL_error(L, "%s is too large", name);
            v = lua_newuserdatauv(L, (size_t)(*rows * n + 1) * sizeof *v, 0);
            lua_insert(L, -2);
        }
        if (n != *cols)
            luaL_error(L, "%s[%d] has %d values, the first row %d", name, (int)r + 1, (int)n,
                       (int)*cols);
        for (int64_t c = 0; c < n; c++) {
            lua_geti(L, -1, c + 1);
            v[r * n + c] = element(L, name, c + 1);
        }
        lua_pop(L, 1);
    }
    return v;
}

/* List of texts; the strings live as long as the list.  Empty or false: NULL. */
const char **hwb__lua_opt_names(lua_State *L, int t, const char *name, int64_t n) {
    lua_getfield(L, t, name);
    if (lua_isnil(L, -1)) return NULL;
    if (!lua_istable(L, -1)) luaL_error(L, "%s: a list of texts", name);
    int list = lua_gettop(L);
    const char **v = lua_newuserdatauv(L, (size_t)(n ? n : 1) * sizeof *v, 0);
    for (int64_t i = 0; i < n; i++) {
        lua_geti(L, list, i + 1);
        if (lua_type(L, -1) == LUA_TNUMBER) {
            lua_pushstring(L, lua_tostring(L, -1));
            lua_copy(L, -1, -2);
            lua_pop(L, 1);
            lua_pushvalue(L, -1);
            lua_seti(L, list, i + 1);
        }
        v[i] = lua_toboolean(L, -1) ? text_at(L, -1, name) : NULL;
        lua_pop(L, 1);
    }
    return v;
}
