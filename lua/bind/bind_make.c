/*
 * bind_make.c: hwb.tensor{...}, zeros, ones, full, eye, arange, linspace, cat, stack.
 * float32 unless {dtype=} says otherwise.
 */
#include "bind_tensor_i.h"

#include <math.h>

/* ---- from nested tables -------------------------------------------------------------- */

typedef struct nested {
    hwb_shape shape;
    bool any_number, any_boolean;
} nested;

/* The shape along the first elements; the walk below checks the rest. */
static void measure(lua_State *L, int at, nested *n) {
    lua_pushvalue(L, at);
    while (lua_type(L, -1) == LUA_TTABLE) {
        if (n->shape.ndim == HWB_MAX_DIMS)
            luaL_argerror(L, 1, lua_pushfstring(L, "tables nest deeper than %d", HWB_MAX_DIMS));
        n->shape.dim[n->shape.ndim++] = (int64_t)luaL_len(L, -1);
        lua_geti(L, -1, 1);
        lua_remove(L, -2);
        if (n->shape.dim[n->shape.ndim - 1] == 0) break;
    }
    lua_pop(L, 1);
}

/* 1.2.3, the place of an element in messages */
static const char *place_text(lua_State *L, const int64_t *place, int n) {
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addstring(&b, "[");
    for (int i = 0; i < n; i++) {
        if (i) luaL_addstring(&b, ",");
        lua_pushinteger(L, place[i]);
        luaL_addvalue(&b);
    }
    luaL_addstring(&b, "]");
    luaL_pushresult(&b);
    return lua_tostring(L, -1);
}

/* Check the value at the top, whose axes are depth.. of the shape; with `out`,
 * store its elements from *flat on. */
static void walk(lua_State *L, nested *n, int depth, int64_t *place, hwb_tensor *out,
                 int64_t *flat) {
    if (depth == n->shape.ndim) {
        bool boolean = lua_isboolean(L, -1);
        if (!boolean && lua_type(L, -1) != LUA_TNUMBER)
            luaL_error(L, "tensor: the element at %s is a %s, not a number",
                       place_text(L, place, depth), luaL_typename(L, -1));
        n->any_boolean = n->any_boolean || boolean;
        n->any_number = n->any_number || !boolean;
        if (out) {
            if (lua_isinteger(L, -1) && hwb_tensor_dtype(out) == HWB_I64)
                ((int64_t *)hwb_tensor_data(out))[*flat] = lua_tointeger(L, -1);
            else hwb_tensor_set(out, *flat, boolean ? lua_toboolean(L, -1) : lua_tonumber(L, -1));
            ++*flat;
        }
        return;
    }
    lua_Integer len = lua_istable(L, -1) ? luaL_len(L, -1) : -1;
    if (len != n->shape.dim[depth]) {
        const char *what = place_text(L, place, depth);
        if (len < 0)
            luaL_error(L, "tensor: a %s at %s where a table of %I elements belongs",
                       luaL_typename(L, -2), what, (LUAI_UACINT)n->shape.dim[depth]);
        luaL_error(L, "tensor: the table at %s has %I elements, the first one has %I", what,
                   (LUAI_UACINT)len, (LUAI_UACINT)n->shape.dim[depth]);
    }
    luaL_checkstack(L, 4, NULL);
    for (lua_Integer i = 1; i <= len; i++) {
        place[depth] = i;
        lua_geti(L, -1, i);
        walk(L, n, depth + 1, place, out, flat);
        lua_pop(L, 1);
    }
}

static int make_tensor(lua_State *L) {
    nested n = {.shape = {.ndim = 0}};
    int64_t place[HWB_MAX_DIMS] = {0}, flat = 0;
    if (hwb__ltest(L, 1)) {
        const hwb_tensor *x = hwb__lcheck_tensor(L, 1);
        hwb_dtype dtype = hwb__lopt_dtype(L, 2, hwb_tensor_dtype(x));
        hwb_tensor *y = hwb__lpush_new(L, dtype, *hwb_tensor_shape(x));
        hwb__lcheck(L, hwb_tensor_copy(hwb_lua_ctx(L), y, x));
        return 1;
    }
    luaL_argexpected(L, lua_istable(L, 1) || lua_type(L, 1) == LUA_TNUMBER || lua_isboolean(L, 1),
                     1, "table or number");
    lua_settop(L, 2);
    measure(L, 1, &n);
    lua_pushvalue(L, 1);
    walk(L, &n, 0, place, NULL, NULL); /* check before the memory is taken */
    bool truth = n.any_boolean && !n.any_number;
    hwb_tensor *t = hwb__lpush_new(L, hwb__lopt_dtype(L, 2, truth ? HWB_BOOL : HWB_F32), n.shape);
    lua_pushvalue(L, 1);
    walk(L, &n, 0, place, t, &flat);
    lua_pop(L, 1);
    return 1;
}

/* ---- constant ----------------------------------------------------------------------------- */

static int filled(lua_State *L, double value) {
    int next;
    hwb_shape s = hwb__lcheck_shape(L, 1, &next);
    hwb_tensor *t = hwb__lpush_new(L, hwb__lopt_dtype(L, next, HWB_F32), s);
    hwb__lcheck(L, hwb_tensor_fill(hwb_lua_ctx(L), t, value));
    return 1;
}

static int make_zeros(lua_State *L) {
    return filled(L, 0.0);
}
static int make_ones(lua_State *L) {
    return filled(L, 1.0);
}

/* full({2,3}, value) */
static int make_full(lua_State *L) {
    hwb_shape s = {.ndim = 1};
    if (lua_type(L, 1) == LUA_TNUMBER) s.dim[0] = luaL_checkinteger(L, 1);
    else {
        luaL_checktype(L, 1, LUA_TTABLE);
        s = hwb__lcheck_shape(L, 1, NULL);
    }
    double value = hwb__lcheck_number(L, 2);
    hwb_dtype d = hwb__lopt_dtype(L, 3, lua_isboolean(L, 2) ? HWB_BOOL : HWB_F32);
    hwb__lcheck(L, hwb_tensor_fill(hwb_lua_ctx(L), hwb__lpush_new(L, d, s), value));
    return 1;
}

/* Concrete also for a traced x: a constant of its shape. */
static int like(lua_State *L, double value) {
    const hwb__ltensor *x = hwb__lcheck_any(L, 1);
    hwb_tensor *t = hwb__lpush_new(L, hwb__lopt_dtype(L, 2, hwb__ldtype(x)), *hwb__lshape(x));
    hwb__lcheck(L, hwb_tensor_fill(hwb_lua_ctx(L), t, value));
    return 1;
}

static int make_zeros_like(lua_State *L) {
    return like(L, 0.0);
}
static int make_ones_like(lua_State *L) {
    return like(L, 1.0);
}

static int make_full_like(lua_State *L) {
    double value = hwb__lcheck_number(L, 2);
    lua_remove(L, 2);
    return like(L, value);
}

static int make_eye(lua_State *L) {
    hwb_shape s = {.ndim = 2};
    s.dim[0] = s.dim[1] = luaL_checkinteger(L, 1);
    int options = 2;
    if (lua_type(L, 2) == LUA_TNUMBER) {
        s.dim[1] = luaL_checkinteger(L, 2);
        options = 3;
    }
    hwb_tensor *t = hwb__lpush_new(L, hwb__lopt_dtype(L, options, HWB_F32), s);
    hwb__lcheck(L, hwb_tensor_fill(hwb_lua_ctx(L), t, 0.0));
    for (int64_t i = 0; i < s.dim[0] && i < s.dim[1]; i++) hwb_tensor_set(t, i * s.dim[1] + i, 1.0);
    return 1;
}

/* ---- ranges ---------------------------------------------------------------------------------- */

/* arange(a, b[, step]): a, a+step, ... up to b, which is included; arange(n) = 1..n */
static int make_arange(lua_State *L) {
    double a = luaL_checknumber(L, 1), b = a, step = 1;
    int at = 2;
    if (lua_type(L, 2) == LUA_TNUMBER) {
        b = lua_tonumber(L, at++);
        if (lua_type(L, 3) == LUA_TNUMBER) step = lua_tonumber(L, at++);
    } else {
        a = 1;
    }
    /* the slack lets arange(0, 1, 0.1) end at 1 in spite of rounding */
    double count = floor((b - a) / step + 1e-9 * fabs((b - a) / step)) + 1;
    if (!(step != 0) || !isfinite(count) || count > 1e15)
        return luaL_error(L, "arange: from %f to %f by %f is no range", a, b, step);
    hwb_shape s = {.ndim = 1, .dim = {count > 0 ? (int64_t)count : 0}};
    hwb_tensor *t = hwb__lpush_new(L, hwb__lopt_dtype(L, at, HWB_F32), s);
    for (int64_t i = 0; i < s.dim[0]; i++) hwb_tensor_set(t, i, a + (double)i * step);
    return 1;
}

/* linspace(a, b, n): both ends included */
static int make_linspace(lua_State *L) {
    double a = luaL_checknumber(L, 1), b = luaL_checknumber(L, 2);
    hwb_shape s = {.ndim = 1, .dim = {luaL_checkinteger(L, 3)}};
    luaL_argcheck(L, s.dim[0] >= 1, 3, "wants at least one point");
    hwb_tensor *t = hwb__lpush_new(L, hwb__lopt_dtype(L, 4, HWB_F32), s);
    int64_t last = s.dim[0] - 1;
    for (int64_t i = 0; i <= last; i++)
        hwb_tensor_set(t, i,
                       i == last && last ? b : a + (b - a) * (double)i / (double)(last + !last));
    return 1;
}

/* ---- joining ------------------------------------------------------------------------------------ */

/* The list at 1 goes onto the stack: its tensors lie at 3..; returns their number. */
static int unpack_list(lua_State *L, const char *name, bool *traced) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer n = luaL_len(L, 1);
    if (n < 1) luaL_error(L, "%s: the list of tensors is empty", name);
    if (n > 1000000) luaL_error(L, "%s: %I tensors are too many", name, (LUAI_UACINT)n);
    lua_settop(L, 2);
    luaL_checkstack(L, (int)n + 8, "too many tensors");
    *traced = false;
    for (int i = 1; i <= (int)n; i++) {
        lua_geti(L, 1, i);
        if (!hwb__ltest(L, -1))
            luaL_error(L, "%s: element %d of the list is a %s, not a tensor", name, i,
                       luaL_typename(L, -1));
        *traced = *traced || hwb__lcheck_any(L, lua_gettop(L))->g;
    }
    return (int)n;
}

static void check_same_dtype(lua_State *L, const char *name, int n) {
    hwb_dtype d = hwb__ldtype(hwb__ltest(L, 3));
    for (int i = 1; i < n; i++) {
        hwb_dtype e = hwb__ldtype(hwb__ltest(L, 3 + i));
        if (e != d)
            luaL_error(L, "%s: tensor 1 is %s and tensor %d is %s; convert one by :to", name,
                       hwb_dtype_name(d), i + 1, hwb_dtype_name(e));
    }
}

/* The shape of the result; every size but that of the axis must agree. */
static hwb_shape joined_shape(lua_State *L, const char *name, int n, int axis) {
    hwb_shape s = *hwb__lshape(hwb__ltest(L, 3));
    for (int i = 1; i < n; i++) {
        const hwb_shape *e = hwb__lshape(hwb__ltest(L, 3 + i));
        bool fits = e->ndim == s.ndim;
        for (int d = 0; fits && d < s.ndim; d++) fits = d == axis || e->dim[d] == s.dim[d];
        if (!fits) {
            char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
            luaL_error(L,
                       "%s: tensor 1 is [%s] and tensor %d is [%s]; they cannot be joined along "
                       "dim %d",
                       name, hwb_shape_text(hwb__lshape(hwb__ltest(L, 3)), a), i + 1,
                       hwb_shape_text(e, b), axis + 1);
        }
        s.dim[axis] += e->dim[axis];
    }
    return s;
}

static int cat_concrete(lua_State *L, const char *name, int n, int axis) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_shape s = joined_shape(L, name, n, axis);
    hwb_tensor *out = hwb__lpush_new(L, hwb__ldtype(hwb__ltest(L, 3)), s), *part;
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        hwb_tensor *x = hwb__ltest(L, 3 + i)->t;
        int64_t len = hwb_tensor_shape(x)->dim[axis];
        if (len == 0) continue;
        hwb__lcheck(L, hwb_tensor_slice(ctx, &part, out, axis, at, len, 1));
        hwb_status st = hwb_tensor_copy(ctx, part, x);
        hwb_tensor_release(part);
        hwb__lcheck(L, st);
        at += len;
    }
    return 1;
}

/* Joins the n tensors from 3 on, HWB_LCALL_MAX at a time. */
static int cat_traced(lua_State *L, int n, int axis) {
    int top = 3;
    while (n > 1) {
        int take = n < HWB_LCALL_MAX ? n : HWB_LCALL_MAX;
        hwb__lcall c;
        hwb_id y = HWB_NONE;
        hwb__lbegin(&c, L, top, take);
        hwb__lend(&c, hwb_concat(c.g, &y, take, c.in, axis), 1, &y);
        top += take - 1;
        lua_replace(L, top); /* the joined one stands first in the rest */
        n -= take - 1;
    }
    lua_pushvalue(L, top);
    return 1;
}

static int cat(lua_State *L) {
    bool traced;
    int n = unpack_list(L, "cat", &traced);
    check_same_dtype(L, "cat", n);
    int rank = hwb__lshape(hwb__ltest(L, 3))->ndim;
    if (rank == 0) return luaL_error(L, "cat: scalars are joined by hwb.stack");
    int axis = lua_isnil(L, 2) ? 0 : hwb__lcheck_axis(L, 2, rank);
    if (!traced) return cat_concrete(L, "cat", n, axis);
    joined_shape(L, "cat", n, axis);
    return cat_traced(L, n, axis);
}

/* stack: a new dim, then cat */
static int stack(lua_State *L) {
    bool traced;
    int n = unpack_list(L, "stack", &traced);
    check_same_dtype(L, "stack", n);
    const hwb_shape *first = hwb__lshape(hwb__ltest(L, 3));
    int axis = lua_isnil(L, 2) ? 0 : hwb__lcheck_axis(L, 2, first->ndim + 1);
    for (int i = 0; i < n; i++) {
        const hwb_shape *s = hwb__lshape(hwb__ltest(L, 3 + i));
        char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
        if (!hwb_shape_equal(first, s))
            return luaL_error(L, "stack: tensor 1 is [%s] and tensor %d is [%s]",
                              hwb_shape_text(first, a), i + 1, hwb_shape_text(s, b));
    }
    for (int i = 0; i < n; i++) {
        lua_getfield(L, 3 + i, "unsqueeze");
        lua_pushvalue(L, 3 + i);
        lua_pushinteger(L, axis + 1);
        lua_call(L, 2, 1);
        lua_replace(L, 3 + i);
    }
    return traced ? cat_traced(L, n, axis) : cat_concrete(L, "stack", n, axis);
}

/* ---- registration ------------------------------------------------------------------------------------ */

void hwb__lopen_make(lua_State *L) {
    static const luaL_Reg functions[] = {{"tensor", make_tensor},
                                         {"zeros", make_zeros},
                                         {"ones", make_ones},
                                         {"full", make_full},
                                         {"zeros_like", make_zeros_like},
                                         {"ones_like", make_ones_like},
                                         {"full_like", make_full_like},
                                         {"eye", make_eye},
                                         {"arange", make_arange},
                                         {"linspace", make_linspace},
                                         {"cat", cat},
                                         {"stack", stack},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
