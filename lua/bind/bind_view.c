/*
 * bind_view.c: views.  On concrete tensors they share storage; on traced ones
 * the same names add graph operations.
 */
#include "bind_tensor_i.h"

static int push_view(lua_State *L, hwb_status st, hwb_tensor *const *y) {
    hwb__lcheck(L, st);
    hwb__lpush(L, *y);
    return 1;
}

/* ---- reshape -------------------------------------------------------------------------- */

static int reshape_to(lua_State *L, hwb_shape s) {
    hwb__ltensor *x = hwb__lcheck_any(L, 1);
    hwb_tensor *y;
    if (x->t) return push_view(L, hwb_tensor_reshape(hwb_lua_ctx(L), &y, x->t, s), &y);
    hwb__lcall c;
    hwb_id id = HWB_NONE;
    hwb__lbegin(&c, L, 1, 1);
    return hwb__lend(&c, hwb_reshape(c.g, &id, c.in[0], s), 1, &id);
}

static int view_reshape(lua_State *L) {
    hwb__lcheck_any(L, 1);
    return reshape_to(L, hwb__lcheck_shape(L, 2, NULL));
}

/* view: as reshape, but never a copy */
static int view_view(lua_State *L) {
    const hwb__ltensor *x = hwb__lcheck_any(L, 1);
    reshape_to(L, hwb__lcheck_shape(L, 2, NULL));
    const hwb__ltensor *y = hwb__ltest(L, -1);
    if (x->t && hwb_tensor_numel(x->t) > 0 &&
        hwb_tensor_storage_id(x->t) != hwb_tensor_storage_id(y->t))
        return luaL_error(L, "view: these strides allow no view of that shape; use reshape");
    return 1;
}

/* flatten([first[, last]]): dims first..last become one */
static int view_flatten(lua_State *L) {
    const hwb_shape *s = hwb__lshape(hwb__lcheck_any(L, 1));
    hwb_shape r = {.ndim = 0};
    if (s->ndim == 0) {
        r = (hwb_shape){.ndim = 1, .dim = {1}};
        return reshape_to(L, r);
    }
    int first = lua_isnoneornil(L, 2) ? 0 : hwb__lcheck_axis(L, 2, s->ndim);
    int last = lua_isnoneornil(L, 3) ? s->ndim - 1 : hwb__lcheck_axis(L, 3, s->ndim);
    luaL_argcheck(L, first <= last, 3, "the last dim lies before the first");
    for (int i = 0; i < s->ndim; i++) {
        if (i > first && i <= last) r.dim[r.ndim - 1] *= s->dim[i];
        else r.dim[r.ndim++] = s->dim[i];
    }
    return reshape_to(L, r);
}

static int view_squeeze(lua_State *L) {
    const hwb_shape *s = hwb__lshape(hwb__lcheck_any(L, 1));
    hwb_shape r = {.ndim = 0};
    int axis = lua_isnoneornil(L, 2) ? -1 : hwb__lcheck_axis(L, 2, s->ndim);
    char text[HWB_SHAPE_TEXT];
    if (axis >= 0 && s->dim[axis] != 1)
        return luaL_error(L, "squeeze: dim %d of [%s] has size %I, not 1", axis + 1,
                          hwb_shape_text(s, text), (LUAI_UACINT)s->dim[axis]);
    for (int i = 0; i < s->ndim; i++)
        if (axis >= 0 ? i != axis : s->dim[i] != 1) r.dim[r.ndim++] = s->dim[i];
    return reshape_to(L, r);
}

static int view_unsqueeze(lua_State *L) {
    const hwb_shape *s = hwb__lshape(hwb__lcheck_any(L, 1));
    if (s->ndim == HWB_MAX_DIMS)
        return luaL_error(L, "unsqueeze: a tensor has at most %d dims", HWB_MAX_DIMS);
    int axis = hwb__lcheck_axis(L, 2, s->ndim + 1);
    hwb_shape r = {.ndim = s->ndim + 1};
    for (int i = 0; i < r.ndim; i++) r.dim[i] = i == axis ? 1 : s->dim[i - (i > axis)];
    return reshape_to(L, r);
}

/* ---- order of dims ------------------------------------------------------------------------ */

static int permute_to(lua_State *L, const int *axes) {
    hwb__ltensor *x = hwb__lcheck_any(L, 1);
    hwb_tensor *y;
    if (x->t) return push_view(L, hwb_tensor_permute(hwb_lua_ctx(L), &y, x->t, axes), &y);
    hwb__lcall c;
    hwb_id id = HWB_NONE;
    hwb__lbegin(&c, L, 1, 1);
    return hwb__lend(&c, hwb_permute(c.g, &id, c.in[0], axes), 1, &id);
}

static int view_permute(lua_State *L) {
    int rank = hwb__lshape(hwb__lcheck_any(L, 1))->ndim, axes[HWB_MAX_DIMS] = {0};
    unsigned seen = 0;
    if (lua_type(L, 2) == LUA_TTABLE) {
        lua_Integer n = luaL_len(L, 2);
        lua_settop(L, 2);
        luaL_checkstack(L, HWB_MAX_DIMS + 4, NULL);
        for (lua_Integer i = 1; i <= n && i <= HWB_MAX_DIMS + 1; i++) lua_geti(L, 2, i);
        lua_remove(L, 2);
    }
    if (lua_gettop(L) - 1 != rank)
        return luaL_error(L, "permute: %d dims for a tensor with %d", lua_gettop(L) - 1, rank);
    for (int i = 0; i < rank; i++) {
        axes[i] = hwb__lcheck_axis(L, 2 + i, rank);
        if (seen & 1u << axes[i])
            return luaL_error(L, "permute: dim %d appears twice", axes[i] + 1);
        seen |= 1u << axes[i];
    }
    return permute_to(L, axes);
}

static int swap(lua_State *L, int a, int b) {
    int axes[HWB_MAX_DIMS];
    for (int i = 0; i < HWB_MAX_DIMS; i++) axes[i] = i;
    axes[a] = b;
    axes[b] = a;
    return permute_to(L, axes);
}

static int view_transpose(lua_State *L) {
    int rank = hwb__lshape(hwb__lcheck_any(L, 1))->ndim;
    return swap(L, hwb__lcheck_axis(L, 2, rank), hwb__lcheck_axis(L, 3, rank));
}

static int view_t(lua_State *L) {
    const hwb_shape *s = hwb__lshape(hwb__lcheck_any(L, 1));
    char text[HWB_SHAPE_TEXT];
    if (s->ndim > 2)
        return luaL_error(L, "t: [%s] has %d dims; use transpose(a, b) or permute",
                          hwb_shape_text(s, text), s->ndim);
    if (s->ndim == 2) return swap(L, 0, 1);
    lua_settop(L, 1);
    return 1;
}

/* ---- parts ------------------------------------------------------------------------------------- */

static int slice_to(lua_State *L, int axis, int64_t start, int64_t len, int64_t step) {
    hwb__ltensor *x = hwb__lcheck_any(L, 1);
    hwb_tensor *y;
    if (x->t)
        return push_view(L, hwb_tensor_slice(hwb_lua_ctx(L), &y, x->t, axis, start, len, step), &y);
    hwb__lcall c;
    hwb_id id = HWB_NONE;
    hwb__lbegin(&c, L, 1, 1);
    return hwb__lend(&c, hwb_slice(c.g, &id, c.in[0], axis, start, len, step), 1, &id);
}

/* narrow(dim, start, len) */
static int view_narrow(lua_State *L) {
    const hwb_shape *s = hwb__lshape(hwb__lcheck_any(L, 1));
    int axis = hwb__lcheck_axis(L, 2, s->ndim);
    int64_t start = hwb__lcheck_index(L, 3, s->dim[axis], "narrow"), len = luaL_checkinteger(L, 4);
    if (len < 0 || len > s->dim[axis] - start)
        return luaL_error(L, "narrow: %I elements from %I on leave 1..%I", (LUAI_UACINT)len,
                          (LUAI_UACINT)start + 1, (LUAI_UACINT)s->dim[axis]);
    return slice_to(L, axis, start, len, 1);
}

/* slice(dim, first, last[, step]): both ends included */
static int view_slice(lua_State *L) {
    const hwb_shape *s = hwb__lshape(hwb__lcheck_any(L, 1));
    int axis = hwb__lcheck_axis(L, 2, s->ndim);
    int64_t first = hwb__lcheck_index(L, 3, s->dim[axis], "slice");
    int64_t last = hwb__lcheck_index(L, 4, s->dim[axis], "slice");
    lua_Integer step = luaL_optinteger(L, 5, 1);
    luaL_argcheck(L, step >= 1, 5, "a step is at least 1");
    if (last < first)
        return luaL_error(L, "slice: %I..%I is empty", (LUAI_UACINT)first + 1,
                          (LUAI_UACINT)last + 1);
    return slice_to(L, axis, first, (last - first) / step + 1, step);
}

static int view_select(lua_State *L) {
    hwb__ltensor *x = hwb__lcheck_any(L, 1);
    const hwb_shape *s = hwb__lshape(x);
    int axis = hwb__lcheck_axis(L, 2, s->ndim);
    int64_t i = hwb__lcheck_index(L, 3, s->dim[axis], "select");
    hwb_tensor *y;
    if (x->t) return push_view(L, hwb_tensor_select(hwb_lua_ctx(L), &y, x->t, axis, i), &y);
    hwb__lcall c;
    hwb_id id = HWB_NONE;
    hwb__lbegin(&c, L, 1, 1);
    hwb_status st = hwb_slice(c.g, &id, c.in[0], axis, i, 1, 1);
    if (st == HWB_OK) st = hwb_squeeze(c.g, &id, id, axis);
    return hwb__lend(&c, st, 1, &id);
}

/* A list of the parts of `size` elements along axis. */
static int parts_of(lua_State *L, int axis, int64_t total, int64_t size) {
    lua_settop(L, 1);
    lua_newtable(L);
    lua_Integer n = 0;
    for (int64_t at = 0; at < total; at += size) {
        slice_to(L, axis, at, total - at < size ? total - at : size, 1);
        lua_rawseti(L, 2, ++n);
    }
    return 1;
}

static int axis_or_first(lua_State *L, int arg, const hwb_shape *s, const char *name) {
    if (s->ndim == 0) luaL_error(L, "%s: a scalar has no parts", name);
    return lua_isnoneornil(L, arg) ? 0 : hwb__lcheck_axis(L, arg, s->ndim);
}

static int view_split(lua_State *L) {
    const hwb_shape *s = hwb__lshape(hwb__lcheck_any(L, 1));
    lua_Integer size = luaL_checkinteger(L, 2);
    luaL_argcheck(L, size >= 1, 2, "parts have at least one element");
    int axis = axis_or_first(L, 3, s, "split");
    return parts_of(L, axis, s->dim[axis], size);
}

static int view_chunk(lua_State *L) {
    const hwb_shape *s = hwb__lshape(hwb__lcheck_any(L, 1));
    lua_Integer n = luaL_checkinteger(L, 2);
    luaL_argcheck(L, n >= 1, 2, "at least one chunk");
    int axis = axis_or_first(L, 3, s, "chunk");
    int64_t size = s->dim[axis] / n + (s->dim[axis] % n != 0);
    return parts_of(L, axis, s->dim[axis], size ? size : 1);
}

/* ---- growth -------------------------------------------------------------------------------------- */

/* expand(sizes): dims of size 1 grow; -1 keeps a dim */
static int view_expand(lua_State *L) {
    hwb__ltensor *x = hwb__lcheck_any(L, 1);
    const hwb_shape *s = hwb__lshape(x);
    hwb_shape r = hwb__lcheck_shape(L, 2, NULL);
    char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
    for (int i = 0; i < r.ndim; i++) {
        int from = i - (r.ndim - s->ndim);
        if (r.dim[i] == -1 && from >= 0) r.dim[i] = s->dim[from];
    }
    bool fits = r.ndim >= s->ndim;
    for (int i = 0; fits && i < s->ndim; i++) {
        int64_t d = r.dim[i + r.ndim - s->ndim];
        fits = s->dim[i] == d || (s->dim[i] == 1 && d >= 0);
    }
    if (!fits)
        return luaL_error(L, "expand: [%s] does not grow to [%s]", hwb_shape_text(s, a),
                          hwb_shape_text(&r, b));
    hwb_tensor *y;
    if (x->t) return push_view(L, hwb_tensor_expand(hwb_lua_ctx(L), &y, x->t, r), &y);
    hwb__lcall c;
    hwb_id id = HWB_NONE;
    hwb__lbegin(&c, L, 1, 1);
    return hwb__lend(&c, hwb_broadcast_to(c.g, &id, c.in[0], r), 1, &id);
}

static int view_expand_as(lua_State *L) {
    hwb__lcheck_any(L, 1);
    hwb_shape s = *hwb__lshape(hwb__lcheck_any(L, 2));
    lua_settop(L, 1);
    luaL_checkstack(L, HWB_MAX_DIMS, NULL);
    for (int i = 0; i < s.ndim; i++) lua_pushinteger(L, s.dim[i]);
    return view_expand(L);
}

/* ---- registration --------------------------------------------------------------------------------- */

void hwb__lopen_view(lua_State *L) {
    static const luaL_Reg methods[] = {{"reshape", view_reshape},     {"view", view_view},
                                       {"flatten", view_flatten},     {"squeeze", view_squeeze},
                                       {"unsqueeze", view_unsqueeze}, {"permute", view_permute},
                                       {"transpose", view_transpose}, {"t", view_t},
                                       {"narrow", view_narrow},       {"slice", view_slice},
                                       {"select", view_select},       {"split", view_split},
                                       {"chunk", view_chunk},         {"expand", view_expand},
                                       {"expand_as", view_expand_as}, {NULL, NULL}};
    hwb__lset_methods(L, methods);
}
