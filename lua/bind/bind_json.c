/*
 * hwb.json: Lua values <-> JSON text, through jansson.
 *
 * Encoding sorts keys, writes NaN and infinities as null (JSON has neither),
 * and refuses functions, userdata, cycles and nesting beyond MAX_DEPTH.  A
 * table is an array when its keys are exactly 1..n (n > 0); an empty table is
 * an object unless it carries hwb.json.array's metatable.  json.null stands
 * for null in tables.  Decoding gives null as nil in objects and json.null in
 * arrays, so that positions are kept.
 */
#include "bind.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 100
#define ARRAY_KEY "hwb.json.array"

static char null_key; /* its address is json.null, a light userdata */

/* ---- encode ------------------------------------------------------------------ */

static json_t *encode_value(lua_State *L, int at, int depth, const char **why);

static bool is_array(lua_State *L, int at) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, at), seen = 0;
    lua_pushnil(L);
    while (lua_next(L, at)) {
        lua_pop(L, 1);
        if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 1 || lua_tointeger(L, -1) > n) {
            lua_pop(L, 1);
            return false;
        }
        seen++;
    }
    if (seen > 0) return seen == n;
    if (!lua_getmetatable(L, at)) return false;
    luaL_getmetatable(L, ARRAY_KEY);
    bool marked = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return marked;
}

static json_t *encode_array(lua_State *L, int at, int depth, const char **why) {
    json_t *array = json_array();
    lua_Integer n = (lua_Integer)lua_rawlen(L, at);
    for (lua_Integer i = 1; array && i <= n; i++) {
        lua_rawgeti(L, at, i);
        json_t *item = encode_value(L, lua_gettop(L), depth + 1, why);
        lua_pop(L, 1);
        if (!item || json_array_append_new(array, item) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* Keys of one object: strings as they are, numbers as Lua prints them. */
static json_t *encode_object(lua_State *L, int at, int depth, const char **why) {
    json_t *object = json_object();
    lua_pushnil(L);
    while (object && lua_next(L, at)) {
        lua_pushvalue(L, -2);
        const char *key = lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER
                              ? lua_tostring(L, -1)
                              : NULL;
        if (!key) *why = "a key is neither string nor number";
        json_t *item = key ? encode_value(L, lua_gettop(L) - 1, depth + 1, why) : NULL;
        if (!item || json_object_set_new(object, key, item) != 0) {
            if (item && !*why) *why = "a key is not valid UTF-8";
            json_decref(object);
            return NULL;
        }
        lua_pop(L, 2);
    }
    return object;
}

static json_t *encode_number(lua_State *L, int at) {
    if (lua_isinteger(L, at)) return json_integer(lua_tointeger(L, at));
    double x = lua_tonumber(L, at);
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *encode_value(lua_State *L, int at, int depth, const char **why) {
    if (depth > MAX_DEPTH || !lua_checkstack(L, 6)) {
        *why = "nested too deeply (a cycle?)";
        return NULL;
    }
    json_t *out = NULL;
    size_t len;
    switch (lua_type(L, at)) {
    case LUA_TNIL: return json_null();
    case LUA_TBOOLEAN: return json_boolean(lua_toboolean(L, at));
    case LUA_TNUMBER: return encode_number(L, at);
    case LUA_TSTRING: {
        const char *s = lua_tolstring(L, at, &len);
        out = json_stringn(s, len);
        if (!out) *why = "a string is not valid UTF-8";
        return out;
    }
    case LUA_TTABLE:
        return is_array(L, at) ? encode_array(L, at, depth, why) : encode_object(L, at, depth, why);
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, at) == &null_key) return json_null();
        break;
    default: break;
    }
    *why = lua_typename(L, lua_type(L, at));
    return NULL;
}

/* ---- writing a tree: shortest numbers that read back equal ------------------- */

typedef struct text {
    char *data;
    size_t len, cap;
    bool failed;
} text;

static void put(text *t, const char *s, size_t n) {
    if (t->len + n + 1 > t->cap && !t->failed) {
        size_t cap = 2 * (t->len + n) + 256;
        char *data = realloc(t->data, cap);
        if (data) t->data = data, t->cap = cap;
        else t->failed = true;
    }
    if (t->failed) return;
    memcpy(t->data + t->len, s, n);
    t->len += n;
    t->data[t->len] = '\0';
}

static void put_real(text *t, double x) {
    char digits[40];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof digits - 2, "%.*g", precision, x);
        if (strtod(digits, NULL) == x) break;
    }
    if (!strpbrk(digits, ".e")) strcat(digits, ".0");
    put(t, digits, strlen(digits));
}

static void put_break(text *t, int indent, int depth) {
    if (indent == 0) return;
    put(t, "\n", 1);
    for (int i = 0; i < indent * depth; i++) put(t, " ", 1);
}

static void put_leaf(text *t, const json_t *v) {
    char *leaf = json_dumps(v, JSON_ENCODE_ANY);
    if (leaf) put(t, leaf, strlen(leaf));
    else t->failed = true;
    free(leaf);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_tree(text *t, const json_t *v, int indent, int depth);

static void put_object(text *t, const json_t *v, int indent, int depth) {
    size_t n = json_object_size(v), at = 0;
    const char **keys = malloc((n + 1) * sizeof *keys), *key;
    json_t *item;
    if (!keys) {
        t->failed = true;
        return;
    }
    json_object_foreach((json_t *)v, key, item) keys[at++] = key;
    qsort(keys, n, sizeof *keys, by_name);
    put(t, "{", 1);
    for (size_t i = 0; i < n; i++) {
        if (i) put(t, ",", 1);
        put_break(t, indent, depth + 1);
        json_t *name = json_string(keys[i]);
        put_leaf(t, name);
        json_decref(name);
        put(t, indent ? ": " : ":", indent ? 2 : 1);
        put_tree(t, json_object_get(v, keys[i]), indent, depth + 1);
    }
    if (n) put_break(t, indent, depth);
    put(t, "}", 1);
    free(keys);
}

static bool is_leaf(const json_t *v) {
    return !json_is_object(v) && !json_is_array(v);
}

/* Arrays of plain values stay on one line: shapes, bits, eigenvalues. */
static void put_array(text *t, const json_t *v, int indent, int depth) {
    size_t n = json_array_size(v);
    bool flat = true;
    for (size_t i = 0; i < n; i++) flat = flat && is_leaf(json_array_get(v, i));
    put(t, "[", 1);
    for (size_t i = 0; i < n; i++) {
        if (i) put(t, flat && indent ? ", " : ",", flat && indent ? 2 : 1);
        if (!flat) put_break(t, indent, depth + 1);
        put_tree(t, json_array_get(v, i), indent, depth + 1);
    }
    if (n && !flat) put_break(t, indent, depth);
    put(t, "]", 1);
}

static void put_tree(text *t, const json_t *v, int indent, int depth) {
    if (json_is_object(v)) put_object(t, v, indent, depth);
    else if (json_is_array(v)) put_array(t, v, indent, depth);
    else if (json_is_real(v)) put_real(t, json_real_value(v));
    else put_leaf(t, v);
}

static int json_encode(lua_State *L) {
    luaL_checkany(L, 1);
    int indent = 0;
    if (lua_istable(L, 2)) {
        lua_getfield(L, 2, "indent");
        indent = (int)luaL_optinteger(L, -1, 0);
        luaL_argcheck(L, indent >= 0 && indent <= 31, 2, "indent must be 0..31");
    }
    lua_settop(L, 1);
    const char *why = NULL;
    json_t *value = encode_value(L, 1, 0, &why);
    if (!value) return luaL_error(L, "json.encode: cannot write: %s", why ? why : "out of memory");
    text out = {0};
    put_tree(&out, value, indent, 0);
    json_decref(value);
    if (out.failed) {
        free(out.data);
        return luaL_error(L, "json.encode: out of memory");
    }
    lua_pushlstring(L, out.data, out.len);
    free(out.data);
    return 1;
}

/* ---- decode ---------------------------------------------------------------------- */

static void push_value(lua_State *L, const json_t *v, bool in_array) {
    luaL_checkstack(L, 4, "json nested too deeply");
    switch (json_typeof(v)) {
    case JSON_OBJECT: {
        const char *key;
        json_t *item;
        lua_createtable(L, 0, (int)json_object_size(v));
        json_object_foreach((json_t *)v, key, item) {
            push_value(L, item, false);
            lua_setfield(L, -2, key);
        }
        break;
    }
    case JSON_ARRAY:
        lua_createtable(L, (int)json_array_size(v), 0);
        luaL_setmetatable(L, ARRAY_KEY);
        for (size_t i = 0; i < json_array_size(v); i++) {
            push_value(L, json_array_get(v, i), true);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        break;
    case JSON_STRING: lua_pushlstring(L, json_string_value(v), json_string_length(v)); break;
    case JSON_INTEGER: lua_pushinteger(L, json_integer_value(v)); break;
    case JSON_REAL: lua_pushnumber(L, json_real_value(v)); break;
    case JSON_TRUE: lua_pushboolean(L, 1); break;
    case JSON_FALSE: lua_pushboolean(L, 0); break;
    default:
        if (in_array) lua_pushlightuserdata(L, &null_key);
        else lua_pushnil(L);
    }
}

/* The tree lives in a userdata while it is pushed, since pushing may raise. */
static int tree_gc(lua_State *L) {
    json_t **tree = lua_touserdata(L, 1);
    json_decref(*tree);
    *tree = NULL;
    return 0;
}

static int json_decode(lua_State *L) {
    size_t len;
    const char *source = luaL_checklstring(L, 1, &len);
    json_t **tree = lua_newuserdatauv(L, sizeof *tree, 0);
    *tree = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, tree_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    json_error_t error;
    *tree = json_loadb(source, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!*tree) {
        lua_pushnil(L);
        lua_pushfstring(L, "line %d, column %d: %s", error.line, error.column, error.text);
        return 2;
    }
    push_value(L, *tree, false);
    return 1;
}

static int json_mark_array(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    luaL_setmetatable(L, ARRAY_KEY);
    return 1;
}

int hwb_lua_open_json(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"encode", json_encode}, {"decode", json_decode}, {"array", json_mark_array}, {NULL, NULL}};
    luaL_newmetatable(L, ARRAY_KEY);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, &null_key);
    lua_setfield(L, -2, "null");
    return 1;
}
