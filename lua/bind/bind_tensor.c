/*
 * bind_tensor.c: the tensor userdata: life, facts, conversion, text.
 *
 * A Lua tensor is concrete (it holds an hwb_tensor) or traced (it stands for a
 * node of a graph that is being built, inside hwb.grad or a model).  Both have
 * the same methods; those that read values raise on a traced one.
 */
#include "bind_tensor_i.h"

#include <stdlib.h>
#include <string.h>

#define METHODS "hwb.tensor.methods" /* registry: name -> function */
#define SIZE    "hwb.size"

/* ---- life ------------------------------------------------------------------------ */

static int tensor_gc(lua_State *L) {
    hwb__ltensor *t = luaL_checkudata(L, 1, HWB_LTENSOR);
    hwb_tensor_release(t->t);
    hwb_graph_release(t->g);
    *t = (hwb__ltensor){NULL, NULL, HWB_NONE};
    return 0;
}

hwb__ltensor *hwb__lnew(lua_State *L) {
    hwb__ltensor *t = lua_newuserdatauv(L, sizeof *t, 0);
    *t = (hwb__ltensor){NULL, NULL, HWB_NONE};
    luaL_setmetatable(L, HWB_LTENSOR);
    return t;
}

static int push_protected(lua_State *L) {
    hwb_tensor **t = lua_touserdata(L, 1);
    hwb__lnew(L)->t = *t;
    *t = NULL;
    return 1;
}

void hwb__lpush(lua_State *L, hwb_tensor *t) {
    /* Lua may be out of memory for the userdata: t must not be lost then. */
    lua_pushcfunction(L, push_protected);
    lua_pushlightuserdata(L, &t);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
        hwb_tensor_release(t);
        lua_error(L);
    }
    hwb__lcount(L);
}

void hwb__lpush_traced(lua_State *L, hwb_graph *g, hwb_id id) {
    hwb__ltensor *t = hwb__lnew(L);
    t->g = hwb_graph_retain(g);
    t->id = id;
}

hwb__ltensor *hwb__ltest(lua_State *L, int arg) {
    return luaL_testudata(L, arg, HWB_LTENSOR);
}

hwb__ltensor *hwb__lcheck_any(lua_State *L, int arg) {
    hwb__ltensor *t = luaL_testudata(L, arg, HWB_LTENSOR);
    if (!t) luaL_typeerror(L, arg, "tensor");
    if (!t->t && !t->g)
        luaL_argerror(L, arg,
                      "this tensor was freed at the end of a hwb.scope; keep it by scope:keep(x)");
    return t;
}

int hwb__ltraced_error(lua_State *L) {
    return luaL_error(L, "this tensor is being traced; its values are not known yet");
}

hwb_tensor *hwb__lcheck_tensor(lua_State *L, int arg) {
    hwb__ltensor *t = hwb__lcheck_any(L, arg);
    if (!t->t) hwb__ltraced_error(L);
    return t->t;
}

const hwb_shape *hwb__lshape(const hwb__ltensor *t) {
    return t->t ? hwb_tensor_shape(t->t) : hwb_graph_shape(t->g, t->id);
}

hwb_dtype hwb__ldtype(const hwb__ltensor *t) {
    return t->t ? hwb_tensor_dtype(t->t) : hwb_graph_dtype(t->g, t->id);
}

/* ---- facts --------------------------------------------------------------------------- */

static int size_tostring(lua_State *L) {
    luaL_Buffer b;
    lua_Integer n = luaL_len(L, 1);
    luaL_buffinit(L, &b);
    for (lua_Integer i = 1; i <= n; i++) {
        if (i > 1) luaL_addstring(&b, "x");
        lua_geti(L, 1, i);
        luaL_addvalue(&b);
    }
    luaL_pushresult(&b);
    if (n == 0) lua_pushliteral(L, "scalar");
    return 1;
}

static void push_list(lua_State *L, const int64_t *values, int n) {
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) {
        lua_pushinteger(L, values[i]);
        lua_rawseti(L, -2, i + 1);
    }
    luaL_setmetatable(L, SIZE);
}

static int tensor_size(lua_State *L) {
    const hwb_shape *s = hwb__lshape(hwb__lcheck_any(L, 1));
    if (lua_isnoneornil(L, 2)) push_list(L, s->dim, s->ndim);
    else lua_pushinteger(L, s->dim[hwb__lcheck_axis(L, 2, s->ndim)]);
    return 1;
}

static int tensor_stride(lua_State *L) {
    const hwb_tensor *t = hwb__lcheck_tensor(L, 1);
    int rank = hwb_tensor_shape(t)->ndim;
    if (lua_isnoneornil(L, 2)) push_list(L, hwb_tensor_strides(t), rank);
    else lua_pushinteger(L, hwb_tensor_strides(t)[hwb__lcheck_axis(L, 2, rank)]);
    return 1;
}

static int tensor_dim(lua_State *L) {
    lua_pushinteger(L, hwb__lshape(hwb__lcheck_any(L, 1))->ndim);
    return 1;
}

static int tensor_numel(lua_State *L) {
    lua_pushinteger(L, hwb_shape_numel(hwb__lshape(hwb__lcheck_any(L, 1))));
    return 1;
}

static int tensor_dtype(lua_State *L) {
    lua_pushstring(L, hwb_dtype_name(hwb__ldtype(hwb__lcheck_any(L, 1))));
    return 1;
}

static int tensor_device(lua_State *L) {
    hwb__lcheck_any(L, 1);
    lua_pushstring(L, hwb_get_device(hwb_lua_ctx(L)));
    return 1;
}

static int tensor_is_contiguous(lua_State *L) {
    lua_pushboolean(L, hwb_tensor_is_contiguous(hwb__lcheck_tensor(L, 1)));
    return 1;
}

static int tensor_is_traced(lua_State *L) {
    lua_pushboolean(L, hwb__lcheck_any(L, 1)->g != NULL);
    return 1;
}

static int tensor_same_storage(lua_State *L) {
    const hwb_tensor *a = hwb__lcheck_tensor(L, 1), *b = hwb__lcheck_tensor(L, 2);
    lua_pushboolean(L, hwb_tensor_storage_id(a) == hwb_tensor_storage_id(b));
    return 1;
}

static int tensor_len(lua_State *L) {
    const hwb_shape *s = hwb__lshape(hwb__lcheck_any(L, 1));
    if (s->ndim == 0) return luaL_error(L, "#: a scalar tensor has no length");
    lua_pushinteger(L, s->dim[0]);
    return 1;
}

/* ---- values as Lua values ------------------------------------------------------------------ */

void hwb__lpush_element(lua_State *L, const hwb_tensor *t, int64_t flat) {
    hwb_dtype d = hwb_tensor_dtype(t);
    if (d == HWB_BOOL) lua_pushboolean(L, hwb_tensor_get_int(t, flat) != 0);
    else if (hwb_dtype_is_float(d)) lua_pushnumber(L, hwb_tensor_get(t, flat));
    else lua_pushinteger(L, hwb_tensor_get_int(t, flat));
}

static int tensor_item(lua_State *L) {
    const hwb_tensor *t = hwb__lcheck_tensor(L, 1);
    char text[HWB_SHAPE_TEXT];
    if (hwb_tensor_numel(t) != 1)
        return luaL_error(L, "item: a tensor %s has %I elements, not one",
                          hwb_shape_text(hwb_tensor_shape(t), text),
                          (LUAI_UACINT)hwb_tensor_numel(t));
    hwb__lpush_element(L, t, 0);
    return 1;
}

/* Nested tables of axes axis.. ; `flat` runs through the elements in order. */
static void push_nested(lua_State *L, const hwb_tensor *t, int axis, int64_t *flat) {
    const hwb_shape *s = hwb_tensor_shape(t);
    if (axis == s->ndim) {
        hwb__lpush_element(L, t, (*flat)++);
        return;
    }
    luaL_checkstack(L, 3, NULL);
    lua_createtable(L, s->dim[axis] < INT32_MAX ? (int)s->dim[axis] : 0, 0);
    for (int64_t i = 0; i < s->dim[axis]; i++) {
        push_nested(L, t, axis + 1, flat);
        lua_rawseti(L, -2, i + 1);
    }
}

static int tensor_totable(lua_State *L) {
    int64_t flat = 0;
    push_nested(L, hwb__lcheck_tensor(L, 1), 0, &flat);
    return 1;
}

static int tensor_tostring(lua_State *L) {
    hwb__ltensor *t = luaL_checkudata(L, 1, HWB_LTENSOR);
    char text[HWB_SHAPE_TEXT];
    if (t->g) {
        lua_pushfstring(L, "traced tensor %s %s", hwb_shape_text(hwb__lshape(t), text),
                        hwb_dtype_name(hwb__ldtype(t)));
    } else if (t->t) {
        char *s = hwb_tensor_format(t->t);
        if (!s) return luaL_error(L, "not enough memory");
        lua_pushstring(L, s); /* can raise only when out of memory */
        free(s);
    } else {
        lua_pushliteral(L, "freed tensor");
    }
    return 1;
}

static int tensor_concat(lua_State *L) {
    for (int i = 1; i <= 2; i++)
        if (!hwb__ltest(L, i) && lua_type(L, i) != LUA_TSTRING)
            return luaL_error(L, "..: a tensor joins a string only; hwb.cat joins tensors");
    if (hwb__ltest(L, 1) && hwb__ltest(L, 2)) return luaL_error(L, "..: hwb.cat joins tensors");
    luaL_tolstring(L, 1, NULL);
    luaL_tolstring(L, 2, NULL);
    lua_concat(L, 2);
    return 1;
}

/* Same shape, dtype and bits. */
static int tensor_eq(lua_State *L) {
    const hwb__ltensor *a = hwb__ltest(L, 1), *b = hwb__ltest(L, 2);
    if (!a || !b || (!a->t && !a->g) || (!b->t && !b->g)) {
        lua_pushboolean(L, a == b);
        return 1;
    }
    if (a->g || b->g) return hwb__ltraced_error(L);
    bool same = hwb_tensor_dtype(a->t) == hwb_tensor_dtype(b->t) &&
                hwb_shape_equal(hwb_tensor_shape(a->t), hwb_tensor_shape(b->t));
    hwb_tensor *x = NULL, *y = NULL;
    hwb_status st = HWB_OK;
    if (same) {
        hwb_ctx *ctx = hwb_lua_ctx(L);
        st = hwb_tensor_contiguous(ctx, &x, a->t);
        if (st == HWB_OK) st = hwb_tensor_contiguous(ctx, &y, b->t);
        if (st == HWB_OK)
            same = memcmp(hwb_tensor_data(x), hwb_tensor_data(y), hwb_tensor_bytes(x)) == 0;
    }
    hwb_tensor_release(x);
    hwb_tensor_release(y);
    hwb__lcheck(L, st);
    lua_pushboolean(L, same);
    return 1;
}

/* ---- conversion ------------------------------------------------------------------------------- */

static int convert(lua_State *L, hwb_dtype dtype) {
    hwb__ltensor *x = hwb__lcheck_any(L, 1);
    if (hwb__ldtype(x) == dtype) {
        lua_settop(L, 1);
        return 1;
    }
    if (x->t) {
        hwb_tensor *y;
        hwb__lcheck(L, hwb_tensor_to(hwb_lua_ctx(L), &y, x->t, dtype));
        hwb__lpush(L, y);
        return 1;
    }
    hwb__lcall c;
    hwb_id y = HWB_NONE;
    hwb__lbegin(&c, L, 1, 1);
    return hwb__lend(&c, hwb_cast(c.g, &y, c.in[0], dtype), 1, &y);
}

static int select_device(lua_State *L, const char *name) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb__lcheck_any(L, 1);
    hwb_status st = HWB_OK;
    if (strcmp(name, hwb_get_device(ctx)) != 0) st = hwb_set_device(ctx, name);
    if (st != HWB_OK) return hwb__lfail(L, st);
    lua_settop(L, 1);
    return 1;
}

static int tensor_cpu(lua_State *L) {
    return select_device(L, "cpu");
}
static int tensor_cuda(lua_State *L) {
    return select_device(L, "cuda");
}

/* to("float64") converts; to("cpu"), to("cuda") select the device for what follows. */
static int tensor_to(lua_State *L) {
    hwb__lcheck_any(L, 1);
    const char *name = luaL_checkstring(L, 2);
    if (strcmp(name, "cpu") != 0 && strncmp(name, "cuda", 4) != 0 && strcmp(name, "ref") != 0)
        return convert(L, hwb__lcheck_dtype(L, 2));
    return select_device(L, name);
}

#define CONVERT(method, dtype)                                                                     \
    static int tensor_##method(lua_State *L) {                                                     \
        return convert(L, dtype);                                                                  \
    }
CONVERT(float, HWB_F32)
CONVERT(double, HWB_F64)
CONVERT(int, HWB_I32)
CONVERT(long, HWB_I64)
CONVERT(byte, HWB_U8)
CONVERT(bool, HWB_BOOL)
#undef CONVERT

static int tensor_clone(lua_State *L) {
    hwb__ltensor *x = hwb__lcheck_any(L, 1);
    lua_settop(L, 1);
    if (x->g) return 1; /* traced values never change */
    hwb_tensor *y;
    hwb__lcheck(L, hwb_tensor_clone(hwb_lua_ctx(L), &y, x->t));
    hwb__lpush(L, y);
    return 1;
}

static int tensor_contiguous(lua_State *L) {
    hwb__ltensor *x = hwb__lcheck_any(L, 1);
    lua_settop(L, 1);
    if (x->g || hwb_tensor_is_contiguous(x->t)) return 1;
    hwb_tensor *y;
    hwb__lcheck(L, hwb_tensor_contiguous(hwb_lua_ctx(L), &y, x->t));
    hwb__lpush(L, y);
    return 1;
}

/* ---- registration ------------------------------------------------------------------------------- */

void hwb__lset_methods(lua_State *L, const luaL_Reg *methods) {
    lua_getfield(L, LUA_REGISTRYINDEX, METHODS);
    luaL_setfuncs(L, methods, 0);
    lua_pop(L, 1);
}

void hwb__lset_metamethods(lua_State *L, const luaL_Reg *methods) {
    luaL_getmetatable(L, HWB_LTENSOR);
    lua_getfield(L, LUA_REGISTRYINDEX, METHODS);
    luaL_setfuncs(L, methods, 1); /* the methods are their upvalue */
    lua_pop(L, 1);
}

static int is_tensor(lua_State *L) {
    lua_pushboolean(L, hwb__ltest(L, 1) != NULL);
    return 1;
}

/* hwb.device() -> its name; hwb.device("cuda") -> name, or nil, message, code */
static int device(lua_State *L) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    const char *name = luaL_optstring(L, 1, NULL);
    if (name && strcmp(name, hwb_get_device(ctx)) != 0) {
        hwb_status st = hwb_set_device(ctx, name);
        if (st != HWB_OK) return hwb__lfail(L, st);
    }
    lua_pushstring(L, hwb_get_device(ctx));
    return 1;
}

/* the same, but raises */
static int set_device(lua_State *L) {
    hwb__lcheck(L, hwb_set_device(hwb_lua_ctx(L), luaL_checkstring(L, 1)));
    return 0;
}

/* hwb.threads([n]) -> worker threads of the kernels; 0 = all cores */
static int threads(lua_State *L) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    if (!lua_isnoneornil(L, 1)) {
        lua_Integer n = luaL_checkinteger(L, 1);
        luaL_argcheck(L, n >= 0 && n <= 4096, 1, "from 0 to 4096");
        hwb_set_threads(ctx, (int)n);
    }
    lua_pushinteger(L, hwb_threads(ctx));
    return 1;
}

static const luaL_Reg methods[] = {{"size", tensor_size},
                                   {"stride", tensor_stride},
                                   {"dim", tensor_dim},
                                   {"numel", tensor_numel},
                                   {"dtype", tensor_dtype},
                                   {"device", tensor_device},
                                   {"is_contiguous", tensor_is_contiguous},
                                   {"is_traced", tensor_is_traced},
                                   {"shares_storage", tensor_same_storage},
                                   {"item", tensor_item},
                                   {"totable", tensor_totable},
                                   {"to", tensor_to},
                                   {"cpu", tensor_cpu},
                                   {"cuda", tensor_cuda},
                                   {"float", tensor_float},
                                   {"double", tensor_double},
                                   {"int", tensor_int},
                                   {"long", tensor_long},
                                   {"byte", tensor_byte},
                                   {"bool", tensor_bool},
                                   {"clone", tensor_clone},
                                   {"contiguous", tensor_contiguous},
                                   {NULL, NULL}};

void hwb__lopen_tensor(lua_State *L) {
    static const luaL_Reg meta[] = {{"__gc", tensor_gc},         {"__tostring", tensor_tostring},
                                    {"__len", tensor_len},       {"__eq", tensor_eq},
                                    {"__concat", tensor_concat}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"is_tensor", is_tensor},
                                         {"device", device},
                                         {"set_device", set_device},
                                         {"threads", threads},
                                         {NULL, NULL}};
    luaL_newmetatable(L, HWB_LTENSOR);
    hwb__lset_boolean(L, "__metatable", false);
    lua_newtable(L);
    lua_setfield(L, LUA_REGISTRYINDEX, METHODS);
    lua_pop(L, 1);
    luaL_newmetatable(L, SIZE);
    lua_pushcfunction(L, size_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pop(L, 1);
    hwb__lset_metamethods(L, meta);
    hwb__lset_methods(L, methods);
    luaL_setfuncs(L, functions, 0);
    hwb__lopen_memory(L);
    hwb__lopen_make(L);
    hwb__lopen_index(L);
    hwb__lopen_view(L);
}
