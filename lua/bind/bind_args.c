/*
 * bind_args.c: reading Lua arguments: options, shapes, dtypes, axes, indices.
 */
#include "bind_tensor_i.h"

#include <math.h>
#include <string.h>

int hwb__lfail(lua_State *L, hwb_status st) {
    /* refusals, interrupts and lack of memory are nothing a script asked about */
    if (st == HWB_EPERM || st == HWB_EINTR || st == HWB_ENOMEM) return hwb_lua_raise(L, st);
    lua_pushnil(L);
    lua_pushstring(L, hwb_message(hwb_lua_ctx(L)));
    lua_pushstring(L, hwb_status_name(st));
    return 3;
}

/* ---- options ------------------------------------------------------------------- */

bool hwb__lis_options(lua_State *L, int arg) {
    if (lua_type(L, arg) != LUA_TTABLE || lua_rawlen(L, arg) > 0) return false;
    lua_pushnil(L);
    if (!lua_next(L, arg)) return false;
    bool named = lua_type(L, -2) == LUA_TSTRING;
    lua_pop(L, 2);
    return named;
}

static bool is_known(const char *key, const char *const *known) {
    for (; *known; known++)
        if (strcmp(key, *known) == 0) return true;
    return false;
}

static int unknown_option(lua_State *L, int arg, const char *key, const char *const *known) {
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (int i = 0; known[i]; i++) {
        if (i) luaL_addstring(&b, ", ");
        luaL_addstring(&b, known[i]);
    }
    luaL_pushresult(&b);
    return luaL_argerror(L, arg,
                         lua_pushfstring(L, "unknown option '%s' (known: %s)", key,
                                         known[0] ? lua_tostring(L, -1) : "none"));
}

void hwb__lcheck_options(lua_State *L, int arg, const char *const *known) {
    if (lua_isnoneornil(L, arg)) return;
    luaL_checktype(L, arg, LUA_TTABLE);
    arg = lua_absindex(L, arg);
    lua_pushnil(L);
    while (lua_next(L, arg)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_argerror(L, arg, "options have names: {name = value}");
        if (!is_known(lua_tostring(L, -1), known))
            unknown_option(L, arg, lua_tostring(L, -1), known);
    }
}

/* Pushes the option; false (and nothing pushed) when it is absent. */
static bool push_option(lua_State *L, int arg, const char *key) {
    if (lua_isnoneornil(L, arg)) return false;
    if (lua_getfield(L, arg, key) != LUA_TNIL) return true;
    lua_pop(L, 1);
    return false;
}

static int wrong_option(lua_State *L, int arg, const char *key, const char *want) {
    return luaL_argerror(
        L, arg,
        lua_pushfstring(L, "option '%s' must be %s, not %s", key, want, luaL_typename(L, -1)));
}

lua_Integer hwb__lopt_integer(lua_State *L, int arg, const char *key, lua_Integer otherwise) {
    if (!push_option(L, arg, key)) return otherwise;
    int ok;
    lua_Integer v = lua_tointegerx(L, -1, &ok);
    if (!ok || lua_type(L, -1) != LUA_TNUMBER) wrong_option(L, arg, key, "a whole number");
    lua_pop(L, 1);
    return v;
}

lua_Number hwb__lopt_number(lua_State *L, int arg, const char *key, lua_Number otherwise) {
    if (!push_option(L, arg, key)) return otherwise;
    if (lua_type(L, -1) != LUA_TNUMBER) wrong_option(L, arg, key, "a number");
    lua_Number v = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return v;
}

bool hwb__lopt_boolean(lua_State *L, int arg, const char *key, bool otherwise) {
    if (!push_option(L, arg, key)) return otherwise;
    if (lua_type(L, -1) != LUA_TBOOLEAN) wrong_option(L, arg, key, "true or false");
    bool v = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return v;
}

const char *hwb__lopt_string(lua_State *L, int arg, const char *key, const char *otherwise) {
    if (!push_option(L, arg, key)) return otherwise;
    if (lua_type(L, -1) != LUA_TSTRING) wrong_option(L, arg, key, "a string");
    const char *v = lua_tostring(L, -1);
    lua_pop(L, 1);
    return v;
}

/* ---- dtypes and shapes --------------------------------------------------------------- */

static bool dtype_of_name(const char *name, hwb_dtype *out) {
    static const struct {
        const char *name;
        hwb_dtype dtype;
    } short_names[] = {{"float", HWB_F32},
                       {"double", HWB_F64},
                       {"int", HWB_I32},
                       {"long", HWB_I64},
                       {"byte", HWB_U8}};
    for (size_t i = 0; i < sizeof short_names / sizeof short_names[0]; i++)
        if (strcmp(name, short_names[i].name) == 0) {
            *out = short_names[i].dtype;
            return true;
        }
    return hwb_dtype_parse(name, out);
}

hwb_dtype hwb__lcheck_dtype(lua_State *L, int arg) {
    hwb_dtype d;
    const char *name = luaL_checkstring(L, arg);
    if (!dtype_of_name(name, &d))
        luaL_argerror(L, arg,
                      lua_pushfstring(L,
                                      "unknown dtype '%s' (float32, float64, int32, int64, "
                                      "uint8, bool)",
                                      name));
    return d;
}

hwb_dtype hwb__lopt_dtype(lua_State *L, int arg, hwb_dtype otherwise) {
    static const char *const known[] = {"dtype", NULL};
    hwb__lcheck_options(L, arg, known);
    const char *name = hwb__lopt_string(L, arg, "dtype", NULL);
    hwb_dtype d = otherwise;
    if (name && !dtype_of_name(name, &d))
        luaL_argerror(L, arg, lua_pushfstring(L, "unknown dtype '%s'", name));
    return d;
}

static void add_dim(lua_State *L, int arg, hwb_shape *s, int at) {
    int ok;
    lua_Integer d = lua_tointegerx(L, at, &ok);
    if (!ok || lua_type(L, at) != LUA_TNUMBER)
        luaL_argerror(L, arg,
                      lua_pushfstring(L, "a size must be a whole number, not %s",
                                      luaL_tolstring(L, at, NULL)));
    if (s->ndim == HWB_MAX_DIMS)
        luaL_argerror(L, arg, lua_pushfstring(L, "more than %d sizes", HWB_MAX_DIMS));
    s->dim[s->ndim++] = d;
}

hwb_shape hwb__lcheck_shape(lua_State *L, int first, int *next) {
    hwb_shape s = {.ndim = 0};
    int at = first;
    if (lua_type(L, first) == LUA_TTABLE && !hwb__lis_options(L, first)) {
        lua_Integer n = luaL_len(L, first);
        for (lua_Integer i = 1; i <= n; i++) {
            lua_geti(L, first, i);
            add_dim(L, first, &s, -1);
            lua_pop(L, 1);
        }
        at = first + 1;
    } else {
        while (lua_type(L, at) == LUA_TNUMBER) {
            add_dim(L, at, &s, at);
            at++;
        }
        if (lua_type(L, at) == LUA_TSTRING)
            luaL_argerror(L, at,
                          "a size is a whole number, and options are a table; this is a string");
    }
    if (next) *next = at;
    return s;
}

/* ---- axes and indices ------------------------------------------------------------------- */

static int axis_from(lua_State *L, int arg, lua_Integer axis, int rank) {
    lua_Integer a = axis < 0 ? axis + rank : axis - 1;
    if (axis == 0 || a < 0 || a >= rank)
        luaL_argerror(L, arg,
                      lua_pushfstring(L,
                                      "dim %I of a tensor with %d dims (1..%d, or negative "
                                      "from the end)",
                                      (LUAI_UACINT)axis, rank, rank));
    return (int)a;
}

int hwb__lcheck_axis(lua_State *L, int arg, int rank) {
    return axis_from(L, arg, luaL_checkinteger(L, arg), rank);
}

int64_t hwb__lcheck_index(lua_State *L, int arg, int64_t n, const char *what) {
    int ok;
    lua_Integer i = lua_tointegerx(L, arg, &ok);
    if (!ok || lua_type(L, arg) != LUA_TNUMBER)
        luaL_error(L, "%s: an index must be a whole number, not %s", what,
                   luaL_tolstring(L, arg, NULL));
    int64_t at = i < 0 ? i + n : i - 1;
    if (i == 0) luaL_error(L, "%s: index 0: indices start at 1", what);
    if (at < 0 || at >= n)
        luaL_error(L, "%s: index %I is outside 1..%I", what, (LUAI_UACINT)i, (LUAI_UACINT)n);
    return at;
}

uint32_t hwb__lcheck_axes(lua_State *L, int arg, int rank, const char *const *known, int *options) {
    uint32_t axes = 0;
    *options = arg;
    if (lua_type(L, arg) == LUA_TNUMBER) {
        axes = 1u << hwb__lcheck_axis(L, arg, rank);
        *options = arg + 1;
    } else if (lua_type(L, arg) == LUA_TTABLE && lua_rawlen(L, arg) > 0) {
        lua_Integer n = luaL_len(L, arg);
        for (lua_Integer i = 1; i <= n; i++) {
            lua_geti(L, arg, i);
            if (!lua_isinteger(L, -1)) luaL_argerror(L, arg, "dims must be whole numbers");
            axes |= 1u << axis_from(L, arg, lua_tointeger(L, -1), rank);
            lua_pop(L, 1);
        }
        *options = arg + 1;
    } else if (lua_isnil(L, arg)) {
        *options = arg + 1;
    }
    hwb__lcheck_options(L, *options, known);
    return axes;
}

double hwb__lcheck_number(lua_State *L, int arg) {
    if (lua_isboolean(L, arg)) return lua_toboolean(L, arg);
    if (lua_type(L, arg) != LUA_TNUMBER) luaL_typeerror(L, arg, "number");
    return lua_tonumber(L, arg);
}
