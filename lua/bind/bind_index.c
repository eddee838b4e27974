/*
 * bind_index.c: t[key] and t[key] = value.
 *
 *   t[i]                 number of a vector, else the i-th part (a view)
 *   t[{i, {s,e}, {}}]    per dim: an index (drops it), a range with both ends
 *                        (and a step: {s,e,step}), or all; dims not named stay whole
 *   t[mask]              the elements where a bool tensor of t's shape is true, in a row
 *   t[indices]           the parts that an integer tensor names, along dim 1
 *
 * Indices start at 1; negative ones count from the end; 0 is an error.  All
 * dims given as indices make a Lua number (a traced scalar of a traced tensor).
 */
#include "bind_tensor_i.h"

#include <string.h>

typedef struct picked {
    int64_t start, len, step;
    bool drop;
} picked;

/* ---- reading keys ----------------------------------------------------------------------- */

/* {}, {i}, {s,e} or {s,e,step} at `at`, for a dim of n elements */
static picked read_range(lua_State *L, int at, int64_t n) {
    picked p = {0, n, 1, false};
    lua_Integer len = luaL_len(L, at);
    if (len == 0) return p;
    if (len > 3) luaL_error(L, "index: a range is {}, {i}, {first, last} or {first, last, step}");
    for (lua_Integer i = 1; i <= 3; i++) lua_geti(L, at, i);
    p.start = hwb__lcheck_index(L, -3, n, "index");
    p.len = 1;
    if (len >= 2) {
        int ok;
        lua_Integer e = lua_tointegerx(L, -2, &ok);
        int64_t last = e < 0 ? e + n : e - 1;
        if (!ok || last >= n || last < p.start - 1)
            luaL_error(L, "index: range {%I,%s} in a dim of %I elements", (LUAI_UACINT)p.start + 1,
                       luaL_tolstring(L, -2, NULL), (LUAI_UACINT)n);
        p.len = last - p.start + 1;
    }
    if (len == 3) {
        p.step = luaL_checkinteger(L, -1);
        if (p.step < 1) luaL_error(L, "index: a step is at least 1");
        p.len = p.len ? (p.len - 1) / p.step + 1 : 0;
    }
    lua_pop(L, 3);
    return p;
}

/* Fills one entry a dim; returns how many dims are dropped. */
static int read_key(lua_State *L, int key, const hwb_shape *s, picked *p) {
    int dropped = 0;
    lua_Integer given = 1;
    for (int i = 0; i < s->ndim; i++) p[i] = (picked){0, s->dim[i], 1, false};
    if (s->ndim == 0) luaL_error(L, "index: a scalar tensor has no elements to index; use :item()");
    if (lua_type(L, key) == LUA_TNUMBER) {
        p[0].start = hwb__lcheck_index(L, key, s->dim[0], "index");
        p[0].drop = true;
        return 1;
    }
    given = luaL_len(L, key);
    if (given > s->ndim)
        luaL_error(L, "index: %I indices for a tensor with %d dims", (LUAI_UACINT)given, s->ndim);
    for (int i = 0; i < (int)given; i++) {
        lua_geti(L, key, i + 1);
        if (lua_istable(L, -1)) p[i] = read_range(L, lua_gettop(L), s->dim[i]);
        else {
            p[i].start = hwb__lcheck_index(L, -1, s->dim[i], "index");
            p[i].drop = true;
            dropped++;
        }
        lua_pop(L, 1);
    }
    return dropped;
}

/* Row-major number of the element that a full index names. */
static int64_t flat_of(const hwb_shape *s, const picked *p) {
    int64_t flat = 0;
    for (int i = 0; i < s->ndim; i++) flat = flat * s->dim[i] + p[i].start;
    return flat;
}

/* ---- views by key -------------------------------------------------------------------------- */

static hwb_status concrete_view(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *t, const picked *p) {
    hwb_tensor *now = hwb_tensor_retain(t), *next;
    int rank = hwb_tensor_shape(t)->ndim, axis = 0;
    hwb_status st = HWB_OK;
    for (int i = 0; i < rank && st == HWB_OK; i++) {
        if (p[i].drop) st = hwb_tensor_select(ctx, &next, now, axis, p[i].start);
        else st = hwb_tensor_slice(ctx, &next, now, axis++, p[i].start, p[i].len, p[i].step);
        if (st != HWB_OK) break;
        hwb_tensor_release(now);
        now = next;
    }
    if (st == HWB_OK) *out = now;
    else hwb_tensor_release(now);
    return st;
}

static int traced_view(lua_State *L, const hwb_shape *s, const picked *p) {
    hwb_shape r = {.ndim = 0};
    hwb__lcall c;
    hwb_status st = HWB_OK;
    int rank = s->ndim;
    hwb__lbegin(&c, L, 1, 1);
    hwb_id y = c.in[0];
    for (int i = 0; i < rank && st == HWB_OK; i++) {
        int64_t len = p[i].drop ? 1 : p[i].len;
        st = hwb_slice(c.g, &y, y, i, p[i].start, len, p[i].drop ? 1 : p[i].step);
        if (!p[i].drop) r.dim[r.ndim++] = len;
    }
    if (st == HWB_OK) st = hwb_reshape(c.g, &y, y, r);
    return hwb__lend(&c, st, 1, &y);
}

/* ---- masks ------------------------------------------------------------------------------------ */

static bool is_mask(lua_State *L, int arg) {
    const hwb__ltensor *m = hwb__ltest(L, arg);
    return m && hwb__ldtype(m) == HWB_BOOL;
}

static hwb_tensor *check_mask(lua_State *L, int arg, const hwb_shape *s) {
    hwb_tensor *m = hwb__lcheck_tensor(L, arg);
    char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
    if (hwb_tensor_dtype(m) != HWB_BOOL)
        luaL_argerror(L, arg,
                      lua_pushfstring(L, "a mask is a bool tensor, not %s",
                                      hwb_dtype_name(hwb_tensor_dtype(m))));
    if (!hwb_shape_equal(s, hwb_tensor_shape(m)))
        luaL_error(L, "mask [%s] on a tensor [%s]", hwb_shape_text(hwb_tensor_shape(m), a),
                   hwb_shape_text(s, b));
    return m;
}

static int64_t count_true(const hwb_tensor *mask) {
    int64_t n = 0;
    for (int64_t i = 0; i < hwb_tensor_numel(mask); i++) n += hwb_tensor_get_int(mask, i) != 0;
    return n;
}

/* t[mask] = t:reshape(-1):index_select(1, places): differentiable in t */
static int masked_select(lua_State *L) {
    hwb_tensor *mask = check_mask(L, 2, hwb__lshape(hwb__lcheck_any(L, 1))), *places;
    hwb_shape s = {.ndim = 1, .dim = {count_true(mask)}};
    hwb__lcheck(L, hwb_tensor_new(hwb_lua_ctx(L), &places, HWB_I64, s));
    int64_t *v = hwb_tensor_data(places);
    for (int64_t i = 0; i < hwb_tensor_numel(mask); i++)
        if (hwb_tensor_get_int(mask, i)) *v++ = i + 1;
    hwb__lpush(L, places);
    lua_getfield(L, 1, "reshape");
    lua_pushvalue(L, 1);
    lua_pushinteger(L, -1);
    lua_call(L, 2, 1); /* places flat */
    lua_getfield(L, -1, "index_select");
    lua_insert(L, -2);
    lua_pushinteger(L, 1);
    lua_pushvalue(L, -4); /* places f flat 1 places */
    lua_call(L, 3, 1);
    return 1;
}

static int masked_fill_(lua_State *L) {
    hwb_tensor *t = hwb__lcheck_tensor(L, 1);
    const hwb_tensor *mask = check_mask(L, 2, hwb_tensor_shape(t));
    double v = hwb__lcheck_number(L, 3);
    for (int64_t i = 0; i < hwb_tensor_numel(t); i++)
        if (hwb_tensor_get_int(mask, i)) hwb_tensor_set(t, i, v);
    hwb_tensor_touch(t);
    lua_settop(L, 1);
    return 1;
}

static int masked_assign(lua_State *L) {
    hwb_tensor *t = hwb__lcheck_tensor(L, 1);
    if (!hwb__ltest(L, 3)) return masked_fill_(L);
    const hwb_tensor *mask = check_mask(L, 2, hwb_tensor_shape(t));
    const hwb_tensor *v = hwb__lcheck_tensor(L, 3);
    int64_t at = 0, n = count_true(mask);
    if (n != hwb_tensor_numel(v))
        return luaL_error(L, "t[mask] = v: the mask picks %I elements, v has %I", (LUAI_UACINT)n,
                          (LUAI_UACINT)hwb_tensor_numel(v));
    for (int64_t i = 0; i < hwb_tensor_numel(t); i++)
        if (hwb_tensor_get_int(mask, i)) hwb_tensor_set(t, i, hwb_tensor_get(v, at++));
    hwb_tensor_touch(t);
    return 0;
}

/* ---- the metamethods ------------------------------------------------------------------------------ */

static int read_by_key(lua_State *L) {
    hwb__ltensor *t = hwb__lcheck_any(L, 1);
    const hwb_shape *s = hwb__lshape(t);
    picked p[HWB_MAX_DIMS];
    if (read_key(L, 2, s, p) == s->ndim && t->t) {
        hwb__lpush_element(L, t->t, flat_of(s, p));
        return 1;
    }
    if (t->g) {
        hwb_shape copy = *s;
        return traced_view(L, &copy, p);
    }
    hwb_tensor *view;
    hwb__lcheck(L, concrete_view(hwb_lua_ctx(L), &view, t->t, p));
    hwb__lpush(L, view);
    return 1;
}

static int tensor_index(lua_State *L) {
    switch (lua_type(L, 2)) {
    case LUA_TSTRING:
        lua_pushvalue(L, 2);
        lua_rawget(L, lua_upvalueindex(1));
        return 1;
    case LUA_TNUMBER:
    case LUA_TTABLE: return read_by_key(L);
    default: break;
    }
    if (is_mask(L, 2)) return masked_select(L);
    if (!hwb__ltest(L, 2))
        return luaL_error(L, "index: a %s is no index of a tensor", luaL_typename(L, 2));
    lua_getfield(L, 1, "index_select");
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 1);
    lua_pushvalue(L, 2);
    lua_call(L, 3, 1);
    return 1;
}

static int write_by_key(lua_State *L, hwb_tensor *t) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    const hwb_shape *s = hwb_tensor_shape(t);
    picked p[HWB_MAX_DIMS];
    hwb_tensor *source = hwb__ltest(L, 3) ? hwb__lcheck_tensor(L, 3) : NULL, *view;
    double value = source ? 0 : hwb__lcheck_number(L, 3);
    if (read_key(L, 2, s, p) == s->ndim && !source) {
        hwb_tensor_set(t, flat_of(s, p), value);
        hwb_tensor_touch(t);
        return 0;
    }
    hwb__lcheck(L, concrete_view(ctx, &view, t, p));
    hwb_status st = source ? hwb_tensor_copy(ctx, view, source) : hwb_tensor_fill(ctx, view, value);
    hwb_tensor_release(view);
    hwb__lcheck(L, st);
    return 0;
}

static int tensor_newindex(lua_State *L) {
    const hwb__ltensor *t = hwb__lcheck_any(L, 1);
    if (t->g)
        return luaL_error(L, "a traced tensor cannot be written to; make a new one (hwb.where, "
                             "hwb.cat)");
    if (lua_type(L, 2) == LUA_TNUMBER || lua_type(L, 2) == LUA_TTABLE) return write_by_key(L, t->t);
    if (is_mask(L, 2)) return masked_assign(L);
    return luaL_error(L, "a tensor has no field that could be set (key of type %s)",
                      luaL_typename(L, 2));
}

/* t(i, j): one element, with no garbage */
static int tensor_call(lua_State *L) {
    const hwb_tensor *t = hwb__lcheck_tensor(L, 1);
    const hwb_shape *s = hwb_tensor_shape(t);
    picked p[HWB_MAX_DIMS];
    if (lua_gettop(L) - 1 != s->ndim)
        return luaL_error(L, "t(...): %d indices for a tensor with %d dims", lua_gettop(L) - 1,
                          s->ndim);
    for (int i = 0; i < s->ndim; i++) p[i].start = hwb__lcheck_index(L, i + 2, s->dim[i], "index");
    hwb__lpush_element(L, t, flat_of(s, p));
    return 1;
}

/* ---- rows ------------------------------------------------------------------------------------------ */

static int next_row(lua_State *L) {
    const hwb_shape *s = hwb__lshape(hwb__lcheck_any(L, 1));
    lua_Integer i = luaL_checkinteger(L, 2) + 1;
    if (i > s->dim[0]) return 0;
    lua_pushinteger(L, i);
    lua_pushvalue(L, -1);
    lua_replace(L, 2);
    lua_settop(L, 2);
    read_by_key(L);
    lua_pushinteger(L, i);
    lua_insert(L, -2);
    return 2;
}

/* for i, row in t:rows() do; for i, row in pairs(t) do */
static int tensor_rows(lua_State *L) {
    if (hwb__lshape(hwb__lcheck_any(L, 1))->ndim == 0)
        return luaL_error(L, "rows: a scalar tensor has none");
    lua_pushcfunction(L, next_row);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 0);
    return 3;
}

void hwb__lopen_index(lua_State *L) {
    static const luaL_Reg meta[] = {{"__index", tensor_index},
                                    {"__newindex", tensor_newindex},
                                    {"__call", tensor_call},
                                    {"__pairs", tensor_rows},
                                    {NULL, NULL}};
    static const luaL_Reg methods[] = {{"rows", tensor_rows},
                                       {"masked_select", masked_select},
                                       {"masked_fill_", masked_fill_},
                                       {NULL, NULL}};
    hwb__lset_metamethods(L, meta);
    hwb__lset_methods(L, methods);
}
