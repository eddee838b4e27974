/*
 * bind_ad.c: derivatives of plain Lua functions of tensors.
 *
 * The function is called once with traced tensors; what it does is a graph,
 * which vjp, jvp and batch (ad/ad.h) extend and which then runs as one program
 * (cached by its structure).  Inside another trace - a derivative of a function
 * that takes derivatives, or a model - the same graph is extended and the
 * results are traced.
 *
 * A variable is a node of its own, an identity upon the tensor given.  So a
 * function that also captures that tensor as an upvalue sees a constant there,
 * and an inner derivative does not differentiate what the outer one moves.
 */
#include "bind_tensor_i.h"

#include <stdlib.h>
#include <string.h>

/* One call of a derivative.  Bodies run under lua_pcall, so they may raise. */
typedef struct session {
    hwb_ctx *ctx;
    hwb_eager *e; /* NULL: the results are traced */
    hwb_graph *g;
    const char *name; /* "grad", for messages */
} session;

/* Arguments of a body: 1 the session, 2 the function, 3.. what the user gave. */
enum { AT_SESSION = 1, AT_FUNCTION, AT_ARGUMENTS };

/* ---- arguments: tensors and lists of tensors -------------------------------------- */

enum { MAX_NESTING = 16 }; /* of lists; one that contains itself ends here */

static bool is_list(lua_State *L, int at) {
    if (lua_type(L, at) != LUA_TTABLE || lua_rawlen(L, at) == 0) return false;
    if (lua_getmetatable(L, at)) {
        lua_pop(L, 1);
        return false;
    }
    int type = lua_rawgeti(L, at, 1);
    lua_pop(L, 1);
    return type == LUA_TUSERDATA || type == LUA_TTABLE;
}

static bool is_variable(lua_State *L, int at) {
    const hwb__ltensor *t = hwb__ltest(L, at);
    return t && (t->t || t->g) && hwb_dtype_is_float(hwb__ldtype(t));
}

/* Before a list at nesting `depth` is entered. */
static void check_depth(lua_State *L, int depth) {
    if (depth >= MAX_NESTING)
        luaL_error(L, "lists of tensors nest deeper than %d, or contain themselves", MAX_NESTING);
    luaL_checkstack(L, 4, "lists nest too deeply");
}

/* Append the float tensors in the value at `at` to the list at `list`. */
static void flatten_at(lua_State *L, int at, int list, int depth) {
    at = lua_absindex(L, at);
    if (is_variable(L, at)) {
        lua_pushvalue(L, at);
        lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
    } else if (is_list(L, at)) {
        check_depth(L, depth);
        lua_Integer n = (lua_Integer)lua_rawlen(L, at);
        for (lua_Integer i = 1; i <= n; i++) {
            lua_rawgeti(L, at, i);
            flatten_at(L, -1, list, depth + 1);
            lua_pop(L, 1);
        }
    } else if (hwb__ltest(L, at)) {
        hwb__lcheck_any(L, at); /* raises on a freed one */
    }
}

static void flatten(lua_State *L, int at, int list) {
    flatten_at(L, at, list, 0);
}

/* Push the value at `at` with its float tensors replaced by those of the list
 * at `list` from *next on. */
static void rebuild(lua_State *L, int at, int list, lua_Integer *next) {
    at = lua_absindex(L, at);
    if (is_variable(L, at)) {
        lua_rawgeti(L, list, ++*next);
    } else if (is_list(L, at)) {
        luaL_checkstack(L, 4, "lists nest too deeply");
        lua_Integer n = (lua_Integer)lua_rawlen(L, at);
        lua_createtable(L, (int)n, 0);
        for (lua_Integer i = 1; i <= n; i++) {
            lua_rawgeti(L, at, i);
            rebuild(L, -1, list, next);
            lua_rawseti(L, -3, i);
            lua_pop(L, 1);
        }
    } else {
        lua_pushvalue(L, at);
    }
}

/* ---- variables -------------------------------------------------------------------------- */

static void check(lua_State *L, const session *s, hwb_status st) {
    if (st == HWB_OK) return;
    if (st == HWB_ESHAPE || st == HWB_EDTYPE || st == HWB_EARG || st == HWB_EUNSUPPORTED)
        st = hwb_fail_in(s->ctx, st, "%s", s->name);
    hwb_lua_raise(L, st);
}

static hwb_id lift(lua_State *L, const session *s, const hwb__ltensor *t) {
    hwb_id id = t->id;
    if (t->t) check(L, s, s->e ? hwb_eager_lift(s->e, &id, t->t) : hwb_graph_lift(s->g, &id, t->t));
    else if (t->g != s->g)
        luaL_error(L, "%s: a traced tensor was used outside the function that is traced", s->name);
    return id;
}

/* An identity of its own: a reshape whose key no other node has. */
static hwb_id alias(lua_State *L, const session *s, hwb_id x) {
    hwb_attrs a;
    memset(&a, 0, sizeof a);
    a.shape = *hwb_graph_shape(s->g, x);
    a.key = (uint64_t)hwb_graph_count(s->g);
    check(L, s, hwb_graph_node(s->g, &x, HWB_OP_RESHAPE, 1, &x, &a));
    return x;
}

typedef struct ids {
    int n;
    hwb_id *id;
} ids;

/* Room for n ids, kept alive by the stack. */
static ids push_ids(lua_State *L, int n) {
    return (ids){n, lua_newuserdatauv(L, ((size_t)n + 1) * sizeof(hwb_id), 0)};
}

/* Variables for the tensors of the list at `list`, which becomes a list of
 * traced tensors.  Leaves the ids on the stack. */
static ids push_variables(lua_State *L, const session *s, int list) {
    ids v = push_ids(L, (int)lua_rawlen(L, list));
    for (int i = 0; i < v.n; i++) {
        lua_rawgeti(L, list, i + 1);
        v.id[i] = alias(L, s, lift(L, s, hwb__lcheck_any(L, lua_gettop(L))));
        lua_pop(L, 1);
        hwb__lpush_traced(L, s->g, v.id[i]);
        lua_rawseti(L, list, i + 1);
    }
    return v;
}

/* Call the function on the n values from `first` on, their tensors replaced by
 * the variables in the list at `list`; the one tensor that it returns. */
static hwb_id call_function(lua_State *L, const session *s, int first, int n, int list) {
    lua_Integer next = 0;
    luaL_checkstack(L, n + 8, NULL);
    lua_pushvalue(L, AT_FUNCTION);
    for (int i = 0; i < n; i++) rebuild(L, first + i, list, &next);
    int below = lua_gettop(L) - n - 1;
    lua_call(L, n, LUA_MULTRET);
    int results = lua_gettop(L) - below;
    if (results == 0 || !hwb__ltest(L, below + 1))
        luaL_error(L, "%s: the function must return one tensor, not %s", s->name,
                   results ? luaL_typename(L, below + 1) : "nothing");
    if (results > 1)
        luaL_error(L, "%s: the function must return one tensor, not %d values", s->name, results);
    const hwb__ltensor *y = hwb__lcheck_any(L, below + 1);
    if (!hwb_dtype_is_float(hwb__ldtype(y)))
        luaL_error(L, "%s: the function returned %s; derivatives want float32 or float64", s->name,
                   hwb_dtype_name(hwb__ldtype(y)));
    hwb_id id = lift(L, s, y);
    lua_settop(L, below);
    return id;
}

static void check_single(lua_State *L, const session *s, hwb_id y) {
    char text[HWB_SHAPE_TEXT];
    const hwb_shape *shape = hwb_graph_shape(s->g, y);
    if (hwb_shape_numel(shape) != 1)
        luaL_error(L,
                   "%s: the function returned a tensor [%s]; one element is wanted (sum it, or "
                   "use hwb.vjp or hwb.jvp)",
                   s->name, hwb_shape_text(shape, text));
}

/* Zeros in the place of derivatives that vanish by structure. */
static void fill_absent(lua_State *L, const session *s, int n, hwb_id *d, const hwb_id *like) {
    for (int i = 0; i < n; i++)
        if (d[i] == HWB_NONE) check(L, s, hwb_zeros_like(s->g, &d[i], like[i]));
}

/* ---- results ---------------------------------------------------------------------------------- */

/* Push a list of the n tensors. */
static void push_results(lua_State *L, session *s, int n, const hwb_id *outs) {
    lua_createtable(L, n, 0);
    if (!s->e) {
        for (int i = 0; i < n; i++) {
            hwb__lpush_traced(L, s->g, outs[i]);
            lua_rawseti(L, -2, i + 1);
        }
        return;
    }
    hwb_tensor **t = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *t, 0);
    hwb_eager *e = s->e;
    memset(t, 0, ((size_t)n + 1) * sizeof *t);
    s->e = NULL; /* ended on success and on failure */
    check(L, s, hwb_eager_end(e, n, outs, t));
    for (int i = 0; i < n; i++) {
        hwb__lpush(L, t[i]);
        lua_rawseti(L, -3, i + 1);
    }
    lua_pop(L, 1);
}

/* ---- sessions ------------------------------------------------------------------------------------ */

/* The graph of a traced tensor in the value at `at`, or NULL. */
static hwb_graph *traced_graph(lua_State *L, int at, int depth) {
    const hwb__ltensor *t = hwb__ltest(L, at);
    hwb_graph *g = t ? t->g : NULL;
    if (!is_list(L, at)) return g;
    at = lua_absindex(L, at);
    check_depth(L, depth);
    for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(L, at); !g && i <= n; i++) {
        lua_rawgeti(L, at, i);
        g = traced_graph(L, -1, depth + 1);
        lua_pop(L, 1);
    }
    return g;
}

hwb_graph *hwb__ltrace_set(lua_State *L, hwb_graph *g) {
    hwb__lstate *state = hwb__lstate_of(L);
    hwb_graph *before = state->trace;
    state->trace = g;
    return before;
}

/* Run a body on the function and arguments on the stack; returns its results. */
static int run_session(lua_State *L, const char *name, lua_CFunction body) {
    session s = {.ctx = hwb_lua_ctx(L), .name = name};
    if (lua_type(L, 1) != LUA_TFUNCTION) {
        if (!luaL_getmetafield(L, 1, "__call")) luaL_typeerror(L, 1, "function");
        lua_pop(L, 1);
    }
    for (int i = 2; i <= lua_gettop(L) && !s.g; i++) s.g = traced_graph(L, i, 0);
    if (!s.g) s.g = hwb__lstate_of(L)->trace;
    lua_pushcfunction(L, body);
    lua_insert(L, 1);
    lua_pushlightuserdata(L, &s);
    lua_insert(L, 2);
    if (!s.g) {
        hwb__lcheck(L, hwb_eager_begin(s.ctx, &s.e));
        s.g = hwb_eager_graph(s.e);
    }
    hwb_graph *before = hwb__ltrace_set(L, s.g);
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    hwb__ltrace_set(L, before);
    hwb_eager_drop(s.e);
    if (status == LUA_OK) return lua_gettop(L);
    size_t n = strlen(name); /* our own message: say where in Lua the call stands */
    if (lua_type(L, -1) == LUA_TSTRING && strncmp(lua_tostring(L, -1), name, n) == 0 &&
        lua_tostring(L, -1)[n] == ':') {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

/* ---- grad ------------------------------------------------------------------------------------------ */

/* Push the gradients in the places of the arguments first..last; returns how many.
 * Arguments without float tensors have none. */
static int push_gradients(lua_State *L, int first, int last, int results, lua_Integer next) {
    int n = 0;
    luaL_checkstack(L, last - first + 8, NULL);
    for (int i = first; i <= last; i++) {
        lua_Integer before = next;
        rebuild(L, i, results, &next);
        if (next > before) n++;
        else lua_pop(L, 1);
    }
    return n;
}

static int gradient(lua_State *L, bool with_value) {
    session *s = lua_touserdata(L, AT_SESSION);
    int last = lua_gettop(L);
    lua_newtable(L);
    int list = lua_gettop(L);
    for (int i = AT_ARGUMENTS; i <= last; i++) flatten(L, i, list);
    if (lua_rawlen(L, list) == 0)
        return luaL_error(L, "%s: no argument is a float tensor", s->name);
    ids x = push_variables(L, s, list);
    hwb_id y = call_function(L, s, AT_ARGUMENTS, last - AT_ARGUMENTS + 1, list);
    check_single(L, s, y);
    ids outs = push_ids(L, x.n + 1);
    outs.id[0] = y;
    check(L, s, hwb_vjp(s->g, 1, &y, NULL, x.n, x.id, outs.id + 1));
    fill_absent(L, s, x.n, outs.id + 1, x.id);
    push_results(L, s, x.n + with_value, outs.id + !with_value);
    int results = lua_gettop(L);
    if (with_value) lua_rawgeti(L, results, 1);
    return with_value + push_gradients(L, AT_ARGUMENTS, last, results, with_value);
}

static int grad_body(lua_State *L) {
    return gradient(L, false);
}
static int value_and_grad_body(lua_State *L) {
    return gradient(L, true);
}

/* The functions that hwb.grad(f) and hwb.value_and_grad(f) return. */
static int call_grad(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    return run_session(L, "grad", grad_body);
}

static int call_value_and_grad(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    return run_session(L, "value_and_grad", value_and_grad_body);
}

static int ad_grad(lua_State *L) {
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    lua_pushcclosure(L, call_grad, 1);
    return 1;
}

static int ad_value_and_grad(lua_State *L) {
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    lua_pushcclosure(L, call_value_and_grad, 1);
    return 1;
}

/* ---- jvp, vjp, hvp ------------------------------------------------------------------------------------ */

/* The variables of x (argument 3) and the value of the function there. */
static ids open_x(lua_State *L, const session *s, hwb_id *y) {
    lua_newtable(L);
    int list = lua_gettop(L);
    flatten(L, AT_ARGUMENTS, list);
    if (lua_rawlen(L, list) == 0)
        luaL_error(L, "%s: x must be a float tensor or a list of them", s->name);
    ids x = push_variables(L, s, list);
    *y = call_function(L, s, AT_ARGUMENTS, 1, list);
    return x;
}

/* The tensors of v (argument 4), one for each of x: of the same shapes, or all
 * with one more leading dim, whose size goes to *k (0 otherwise). */
static ids open_v(lua_State *L, const session *s, const ids *x, int64_t *k) {
    lua_newtable(L);
    int list = lua_gettop(L);
    flatten(L, AT_ARGUMENTS + 1, list);
    ids v = push_ids(L, (int)lua_rawlen(L, list));
    if (v.n != x->n) luaL_error(L, "%s: v has %d float tensors, x has %d", s->name, v.n, x->n);
    for (int i = 0; i < v.n; i++) {
        char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
        lua_rawgeti(L, list, i + 1);
        const hwb__ltensor *t = hwb__lcheck_any(L, lua_gettop(L));
        const hwb_shape *vs = hwb__lshape(t), *xs = hwb_graph_shape(s->g, x->id[i]);
        int more = vs->ndim - xs->ndim;
        bool fits = more == 0 || (k && more == 1);
        for (int d = 0; fits && d < xs->ndim; d++) fits = vs->dim[d + more] == xs->dim[d];
        int64_t rows = more ? vs->dim[0] : 0;
        if (!fits || (i > 0 && k && rows != *k))
            luaL_error(L, "%s: v [%s] does not fit x [%s]", s->name, hwb_shape_text(vs, a),
                       hwb_shape_text(xs, b));
        if (hwb__ldtype(t) != hwb_graph_dtype(s->g, x->id[i]))
            luaL_error(L, "%s: v is %s, x is %s", s->name, hwb_dtype_name(hwb__ldtype(t)),
                       hwb_dtype_name(hwb_graph_dtype(s->g, x->id[i])));
        if (k) *k = rows;
        v.id[i] = lift(L, s, t);
        lua_pop(L, 1);
    }
    return v;
}

static int jvp_body(lua_State *L) {
    session *s = lua_touserdata(L, AT_SESSION);
    hwb_id out[2];
    ids x = open_x(L, s, &out[0]);
    ids v = open_v(L, s, &x, NULL);
    check(L, s, hwb_jvp(s->g, x.n, x.id, v.id, 1, &out[0], &out[1]));
    fill_absent(L, s, 1, &out[1], &out[0]);
    push_results(L, s, 2, out);
    int results = lua_gettop(L);
    lua_rawgeti(L, results, 1);
    lua_rawgeti(L, results, 2);
    return 2;
}

static int vjp_body(lua_State *L) {
    session *s = lua_touserdata(L, AT_SESSION);
    hwb_id y;
    ids x = open_x(L, s, &y);
    const hwb__ltensor *w = hwb__ltest(L, AT_ARGUMENTS + 1);
    if (!w) return luaL_error(L, "vjp: the cotangent must be a tensor");
    hwb_id weight = lift(L, s, hwb__lcheck_any(L, AT_ARGUMENTS + 1));
    if (hwb_graph_dtype(s->g, weight) != hwb_graph_dtype(s->g, y))
        return luaL_error(L, "vjp: the cotangent is %s, the value is %s",
                          hwb_dtype_name(hwb_graph_dtype(s->g, weight)),
                          hwb_dtype_name(hwb_graph_dtype(s->g, y)));
    ids outs = push_ids(L, x.n + 1);
    outs.id[0] = y;
    hwb_status st = hwb_vjp(s->g, 1, &y, &weight, x.n, x.id, outs.id + 1);
    hwb__lcheck(L, st); /* names itself */
    fill_absent(L, s, x.n, outs.id + 1, x.id);
    push_results(L, s, x.n + 1, outs.id);
    int results = lua_gettop(L);
    lua_Integer next = 1;
    lua_rawgeti(L, results, 1);
    rebuild(L, AT_ARGUMENTS, results, &next);
    return 2;
}

/* One row of each v, as the direction that batch widens to all rows. */
static ids first_rows(lua_State *L, const session *s, const ids *v, const ids *x) {
    ids row = push_ids(L, v->n);
    for (int i = 0; i < v->n; i++) {
        check(L, s, hwb_slice(s->g, &row.id[i], v->id[i], 0, 0, 1, 1));
        check(L, s, hwb_reshape(s->g, &row.id[i], row.id[i], *hwb_graph_shape(s->g, x->id[i])));
        row.id[i] = alias(L, s, row.id[i]);
    }
    return row;
}

/* H v = d/dt grad f(x + t v): forward over reverse; K rows at once by batch. */
static int hvp_body(lua_State *L) {
    session *s = lua_touserdata(L, AT_SESSION);
    hwb_id y;
    int64_t k = 0;
    ids x = open_x(L, s, &y);
    check_single(L, s, y);
    ids v = open_v(L, s, &x, &k);
    if (k == 0 && hwb_graph_shape(s->g, v.id[0])->ndim > hwb_graph_shape(s->g, x.id[0])->ndim)
        return luaL_error(L, "hvp: v has no rows");
    ids direction = k ? first_rows(L, s, &v, &x) : v;
    ids grads = push_ids(L, x.n), outs = push_ids(L, x.n);
    check(L, s, hwb_vjp(s->g, 1, &y, NULL, x.n, x.id, grads.id));
    fill_absent(L, s, x.n, grads.id, x.id);
    check(L, s, hwb_jvp(s->g, x.n, x.id, direction.id, x.n, grads.id, outs.id));
    fill_absent(L, s, x.n, outs.id, x.id);
    if (k) check(L, s, hwb_batch(s->g, k, x.n, direction.id, v.id, x.n, outs.id, outs.id));
    push_results(L, s, x.n, outs.id);
    int results = lua_gettop(L);
    lua_Integer next = 0;
    rebuild(L, AT_ARGUMENTS, results, &next);
    return 1;
}

static int ad_jvp(lua_State *L) {
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    return run_session(L, "jvp", jvp_body);
}

static int ad_vjp(lua_State *L) {
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    return run_session(L, "vjp", vjp_body);
}

static int ad_hvp(lua_State *L) {
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    return run_session(L, "hvp", hvp_body);
}

/* ---- graph_dump ------------------------------------------------------------------------------------------ */

static int dump_body(lua_State *L) {
    session *s = lua_touserdata(L, AT_SESSION);
    int last = lua_gettop(L);
    lua_newtable(L);
    int list = lua_gettop(L);
    for (int i = AT_ARGUMENTS; i <= last; i++) flatten(L, i, list);
    push_variables(L, s, list);
    hwb_id y = call_function(L, s, AT_ARGUMENTS, last - AT_ARGUMENTS + 1, list);
    char *text = hwb_graph_dump(s->g, 1, &y);
    if (!text) return luaL_error(L, "not enough memory");
    lua_pushstring(L, text);
    free(text);
    return 1;
}

static int ad_graph_dump(lua_State *L) {
    return run_session(L, "graph_dump", dump_body);
}

void hwb__lopen_ad(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"grad", ad_grad}, {"value_and_grad", ad_value_and_grad}, {"jvp", ad_jvp}, {"vjp", ad_vjp},
        {"hvp", ad_hvp},   {"graph_dump", ad_graph_dump},         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
