/*
 * bind_ops.c: the one way in which an operation is called.
 *
 *   hwb__lcall c;
 *   hwb__lbegin(&c, L, 1, 2);                    lift arguments 1 and 2
 *   st = hwb_mul(c.g, &y, c.in[0], c.in[1]);     build
 *   return hwb__lend(&c, st, 1, &y);             run, or push a traced result
 *
 * When an argument is traced, its graph is built upon; otherwise a scratch
 * graph is made and run.  No Lua function that can raise is called between
 * begin and end, except to report a failure after the scratch graph is gone.
 */
#include "bind_tensor_i.h"

#include <math.h>

static int fail_call(hwb__lcall *c, hwb_status st) {
    hwb_eager_drop(c->e);
    c->e = NULL;
    return hwb_lua_raise(c->L, st);
}

static bool is_value(lua_State *L, int arg) {
    return lua_type(L, arg) == LUA_TNUMBER || lua_type(L, arg) == LUA_TBOOLEAN;
}

hwb_status hwb__llift_number(hwb__lcall *c, hwb_id *out, lua_State *L, int arg, hwb_dtype dtype) {
    hwb_shape scalar = {.ndim = 0};
    double v = lua_isboolean(L, arg) ? lua_toboolean(L, arg) : lua_tonumber(L, arg);
    if (!hwb_dtype_is_float(dtype)) {
        bool whole = v == floor(v) && fabs(v) < 9007199254740992.0;
        if (!whole) dtype = HWB_F32;
        else if (dtype == HWB_U8 || (dtype == HWB_BOOL && !lua_isboolean(L, arg))) dtype = HWB_I64;
        else if (dtype == HWB_I32 && fabs(v) > INT32_MAX) dtype = HWB_I64;
    }
    bool common = v == floor(v) && fabs(v) <= 16;
    if (!c->e || common) return hwb_graph_fill(c->g, out, dtype, scalar, v);
    /* An input, not a constant: a loop over many values compiles one program. */
    hwb_tensor *t;
    HWB_TRY(hwb_tensor_scalar(c->ctx, &t, dtype, v));
    hwb_status st = hwb_eager_lift(c->e, out, t);
    hwb_tensor_release(t);
    return st;
}

/* The dtype that a number takes: of a float tensor among the arguments, else of
 * the first tensor. */
static bool neighbour(lua_State *L, int first, int n, hwb_dtype *out) {
    bool found = false;
    for (int i = first; i < first + n; i++) {
        const hwb__ltensor *t = hwb__ltest(L, i);
        if (!t || (found && hwb_dtype_is_float(*out)) ||
            (found && !hwb_dtype_is_float(hwb__ldtype(t))))
            continue;
        *out = hwb__ldtype(t);
        found = true;
    }
    return found;
}

static hwb_status lift_tensor(hwb__lcall *c, hwb_id *out, const hwb__ltensor *t) {
    if (!t->g) return c->e ? hwb_eager_lift(c->e, out, t->t) : hwb_graph_lift(c->g, out, t->t);
    if (t->g != c->g)
        return hwb_fail(c->ctx, HWB_EARG,
                        "a traced tensor was used outside the function that is traced");
    *out = t->id;
    return HWB_OK;
}

void hwb__lbegin(hwb__lcall *c, lua_State *L, int first, int n) {
    hwb_dtype dtype = HWB_F32;
    if (n > HWB_LCALL_MAX) luaL_error(L, "more than %d tensors in one call", HWB_LCALL_MAX);
    *c = (hwb__lcall){.L = L, .ctx = hwb_lua_ctx(L)};
    for (int i = first; i < first + n; i++) {
        if (lua_isnoneornil(L, i) || is_value(L, i)) continue;
        const hwb__ltensor *t = hwb__lcheck_any(L, i);
        if (t->g) c->g = t->g;
    }
    if (n > 0 && (!neighbour(L, first, n, &dtype) || lua_isnoneornil(L, first)))
        luaL_typeerror(L, first, "tensor");
    if (!c->g) {
        hwb__lcheck(L, hwb_eager_begin(c->ctx, &c->e));
        c->g = hwb_eager_graph(c->e);
    }
    for (int i = 0; i < n; i++) {
        int arg = first + i;
        hwb_status st = HWB_OK;
        c->in[i] = HWB_NONE;
        if (lua_isnoneornil(L, arg)) continue;
        if (is_value(L, arg)) st = hwb__llift_number(c, &c->in[i], L, arg, dtype);
        else st = lift_tensor(c, &c->in[i], luaL_testudata(L, arg, HWB_LTENSOR));
        if (st != HWB_OK) fail_call(c, st);
    }
}

void hwb__llift(hwb__lcall *c, int arg, hwb_id *out) {
    hwb_status st;
    const hwb__ltensor *t = hwb__ltest(c->L, arg);
    *out = HWB_NONE;
    if (lua_isnoneornil(c->L, arg)) return;
    if (is_value(c->L, arg)) {
        hwb_dtype d = c->in[0] != HWB_NONE ? hwb_graph_dtype(c->g, c->in[0]) : HWB_F32;
        st = hwb__llift_number(c, out, c->L, arg, d);
    } else if (t && (t->t || t->g)) {
        st = lift_tensor(c, out, t);
    } else {
        st = hwb_fail(c->ctx, HWB_EARG, "argument %d must be a tensor, not %s", arg,
                      luaL_typename(c->L, arg));
    }
    if (st != HWB_OK) fail_call(c, st);
}

int hwb__lend(hwb__lcall *c, hwb_status st, int n, const hwb_id *outs) {
    hwb_tensor *results[HWB_LCALL_MAX] = {NULL};
    if (st == HWB_OK && !lua_checkstack(c->L, n + 4))
        st = hwb_fail(c->ctx, HWB_ENOMEM, "out of memory for results");
    if (st != HWB_OK) return fail_call(c, st);
    if (!c->e) {
        for (int i = 0; i < n; i++) hwb__lpush_traced(c->L, c->g, outs[i]);
        return n;
    }
    hwb__lcheck(c->L, hwb_eager_end(c->e, n, outs, results));
    for (int i = 0; i < n; i++) hwb__lpush(c->L, results[i]);
    return n;
}

hwb_status hwb__las_number(hwb_graph *g, hwb_id *x) {
    hwb_dtype d = hwb_graph_dtype(g, *x);
    return d == HWB_U8 || d == HWB_BOOL ? hwb_cast(g, x, *x, HWB_I64) : HWB_OK;
}

hwb_status hwb__las_float(hwb_graph *g, hwb_id *x) {
    return hwb_dtype_is_float(hwb_graph_dtype(g, *x)) ? HWB_OK : hwb_cast(g, x, *x, HWB_F32);
}

void hwb__lopen_ops(lua_State *L) {
    hwb__lopen_pointwise(L);
    hwb__lopen_reduce(L);
    hwb__lopen_compose(L);
    hwb__lopen_gather(L);
    hwb__lopen_inplace(L);
    hwb__lopen_host(L);
}
