/*
 * bind_sweep.c: what goes over many blocks of an operator at once: eigenvalues,
 * traces and quadratic forms of each.
 *
 * The blocks are made together, so that they share the primal pass, and die with the
 * call, so that their memory does.  What can raise an error while they live runs
 * under protect().
 */
#include "bind_curvature.h"

#include <string.h>

typedef struct blocks {
    hwb_ctx *ctx;
    hwb_curvature *whole;
    int n;
    hwb_curvature **op;
    hwb_linop_set set;
    hwb_block_range *range;
    hwb_eigs_result *eigs;
    hwb_block_trace_result traces;
    hwb_tensor **v, **w; /* [n] of quadratic forms */
} blocks;

static void free_blocks(blocks *b) {
    for (int i = 0; i < b->n; i++) {
        if (b->eigs) hwb_eigs_free(&b->eigs[i]);
        if (b->v) hwb_tensor_release(b->v[i]);
        if (b->w) hwb_tensor_release(b->w[i]);
    }
    hwb_block_trace_free(&b->traces);
    hwb_curvature_apart(&b->set);
    for (int i = 0; b->op && i < b->n; i++) hwb_curvature_release(b->op[i]);
    hwb_free(b->op);
    hwb_free(b->range);
    hwb_free(b->eigs);
    hwb_free(b->v);
    hwb_free(b->w);
}

/* The operators of the names at 2. */
static blocks open_blocks(lua_State *L) {
    blocks b = {.ctx = hwb_lua_ctx(L), .whole = hwb__lcheck_operator(L, 1)};
    const char **names = hwb__lcheck_names(L, 2, &b.n);
    b.op = hwb_calloc(b.ctx, (size_t)b.n * sizeof *b.op);
    hwb_status st = b.op ? hwb_curvature_blocks(b.ctx, b.op, b.whole, b.n, names) : HWB_ENOMEM;
    if (st == HWB_OK) st = hwb_curvature_together(b.ctx, &b.set, b.n, b.op);
    if (st != HWB_OK) free_blocks(&b);
    hwb__lcheck(L, st);
    return b;
}

/* fn(blocks, the arguments) -> one result; then the blocks are freed and errors go on. */
static int protect(lua_State *L, blocks *b, lua_CFunction fn) {
    int n = lua_gettop(L);
    lua_pushcfunction(L, fn);
    lua_pushlightuserdata(L, b);
    for (int i = 1; i <= n; i++) lua_pushvalue(L, i);
    int st = lua_pcall(L, n + 1, 1, 0);
    free_blocks(b);
    return st == LUA_OK ? 1 : lua_error(L);
}

/* The blocks, with the arguments at 1, 2, ... again. */
static blocks *entered(lua_State *L) {
    blocks *b = lua_touserdata(L, 1);
    lua_remove(L, 1);
    return b;
}

/* ---- eigenpairs ------------------------------------------------------------------------ */

static int run_eigs(lua_State *L) {
    blocks *b = entered(L);
    size_t n = (size_t)b->n;
    hwb_eigs_options *o = lua_newuserdatauv(L, n * sizeof *o, 0);
    bool power = false;
    for (int i = 0; i < b->n; i++) {
        power = hwb__lcheck_eigs_options(L, 3, hwb_curvature_n(b->op[i]), &o[i]);
        o[i].seed += (uint64_t)i + 1;
    }
    b->eigs = hwb_calloc(b->ctx, n * sizeof *b->eigs);
    hwb__lcheck(L, b->eigs ? hwb_eigs_many(b->ctx, b->eigs, &b->set, o, power) : HWB_ENOMEM);
    lua_createtable(L, b->n, 0);
    for (int i = 0; i < b->n; i++) {
        hwb__lpush_eigs(L, &b->eigs[i]);
        hwb__lset_string(L, "name", hwb_curvature_name(b->op[i]));
        hwb__lset_integer(L, "n", hwb_curvature_n(b->op[i]));
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* H:block_eigs(names, {k=, which=, method=, tol=, maxiter=, seed=, basis=, value_tol=}) */
static int block_eigs(lua_State *L) {
    lua_settop(L, 3);
    if (lua_istable(L, 3) && lua_getfield(L, 3, "start") != LUA_TNIL)
        return luaL_error(L, "block_eigs: unknown option \"start\"");
    lua_settop(L, 3);
    blocks b = open_blocks(L);
    return protect(L, &b, run_eigs);
}

/* ---- traces ---------------------------------------------------------------------------- */

/* A block's parameters must follow each other in the flat vector. */
static hwb_status locate(blocks *b, int i) {
    const int *ids, *all;
    int n = hwb_curvature_parameters(b->op[i], &ids);
    int n_all = hwb_curvature_parameters(b->whole, &all);
    int64_t at = 0;
    int k = 0;
    while (k < n_all && all[k] != ids[0]) {
        at += hwb_tensor_numel(hwb_model_parameter(hwb_curvature_model(b->whole), all[k], NULL));
        k++;
    }
    bool follows = k + n <= n_all;
    for (int j = 0; follows && j < n; j++) follows = all[k + j] == ids[j];
    if (!follows)
        return hwb_fail(b->ctx, HWB_EARG,
                        "block \"%s\" is not one stretch of the operator's "
                        "parameters",
                        hwb_curvature_name(b->op[i]));
    b->range[i] = (hwb_block_range){at, hwb_curvature_n(b->op[i])};
    return HWB_OK;
}

static hwb_status locate_blocks(blocks *b) {
    b->range = hwb_calloc(b->ctx, ((size_t)b->n + 1) * sizeof *b->range);
    if (!b->range) return HWB_ENOMEM;
    for (int i = 0; i < b->n; i++) HWB_TRY(locate(b, i));
    return HWB_OK;
}

static void push_traces(lua_State *L, const blocks *b) {
    const hwb_block_trace_result *r = &b->traces;
    lua_createtable(L, b->n, 3);
    for (int i = 0; i < b->n; i++) {
        lua_createtable(L, 0, 10);
        hwb__lset_string(L, "name", hwb_curvature_name(b->op[i]));
        hwb__lset_integer(L, "n", hwb_curvature_n(b->op[i]));
        hwb__lset_number(L, "mean", r->mean[i]);
        hwb__lset_number(L, "stderr", r->se[i]);
        hwb__lset_integer(L, "joint_probes", r->joint_probes[i]);
        hwb__lset_integer(L, "isolated_probes", r->isolated_probes[i]);
        hwb__lset_number(L, "joint_mean", r->joint_mean[i]);
        hwb__lset_number(L, "joint_stderr", r->joint_se[i]);
        hwb__lset_number(L, "isolated_mean", r->isolated_mean[i]);
        hwb__lset_number(L, "isolated_stderr", r->isolated_se[i]);
        hwb__lset_boolean(L, "converged", r->converged[i]);
        lua_rawseti(L, -2, i + 1);
    }
    hwb__lset_integer(L, "hvps_joint", r->hvps_joint);
    hwb__lset_integer(L, "hvps_isolated", r->hvps_isolated);
    hwb__lset_provenance(L);
}

/* The joint probes' program is not needed any more. */
static void joint_done(void *whole) {
    hwb_curvature_trim(whole);
}

static int run_traces(lua_State *L) {
    static const char *const known[] = {"tol",    "joint", "max_isolated", "pilot",
                                        "budget", "seed",  "batch",        NULL};
    blocks *b = entered(L);
    hwb_block_trace_options o = hwb_block_trace_defaults();
    hwb__lcheck_options(L, 3, known);
    o.tol = hwb__lopt_number(L, 3, "tol", o.tol);
    o.joint_probes = hwb__lopt_integer(L, 3, "joint", o.joint_probes);
    o.max_isolated = hwb__lopt_integer(L, 3, "max_isolated", o.max_isolated);
    o.pilot = hwb__lopt_integer(L, 3, "pilot", o.pilot);
    o.budget = hwb__lopt_number(L, 3, "budget", o.budget);
    o.batch = hwb__lopt_integer(L, 3, "batch", o.batch);
    o.seed = (uint64_t)hwb__lopt_integer(L, 3, "seed", 0);
    o.joint_done = joint_done;
    o.user = b->whole;
    hwb_status st = locate_blocks(b);
    if (st == HWB_OK)
        st = hwb_block_trace(b->ctx, &b->traces, hwb_curvature_op(b->whole), b->n, b->range,
                             &b->set, &o);
    hwb__lcheck(L, st);
    push_traces(L, b);
    return 1;
}

/* H:block_traces(names, {tol=, joint=, max_isolated=, budget=, seed=, batch=}) */
static int block_traces(lua_State *L) {
    lua_settop(L, 3);
    blocks b = open_blocks(L);
    return protect(L, &b, run_traces);
}

/* ---- quadratic forms ------------------------------------------------------------------- */

enum { MOST_HELD = 1 << 30 }; /* bytes of vectors of several blocks */

/* Asks for the vectors of block i: the function at 3 with i. */
static void fetch_vectors(lua_State *L, blocks *b, int i) {
    hwb_linop *op = hwb_curvature_op(b->op[i]);
    lua_pushvalue(L, 3);
    lua_pushinteger(L, i + 1);
    lua_call(L, 1, 1);
    hwb_tensor *v = hwb__lcheck_tensor(L, -1), *typed = NULL;
    const hwb_shape *s = hwb_tensor_shape(v);
    char text[HWB_SHAPE_TEXT];
    if (s->ndim != 2 || s->dim[1] != op->n || s->dim[0] < 1)
        luaL_error(L, "vectors of block %d: K x %I are wanted, not %s", i + 1, (lua_Integer)op->n,
                   hwb_shape_text(s, text));
    hwb_status st = hwb_tensor_to(b->ctx, &typed, v, op->dtype);
    if (st == HWB_OK) st = hwb_tensor_contiguous(b->ctx, &b->v[i], typed);
    hwb_tensor_release(typed);
    hwb__lcheck(L, st);
    lua_pop(L, 1);
}

static double row_dot(const hwb_tensor *a, const hwb_tensor *b, int64_t n, int64_t row) {
    double s = 0;
    if (hwb_tensor_dtype(a) == HWB_F64) {
        const double *x = hwb_tensor_data(a), *y = hwb_tensor_data(b);
        for (int64_t i = row * n; i < (row + 1) * n; i++) s += x[i] * y[i];
    } else {
        const float *x = hwb_tensor_data(a), *y = hwb_tensor_data(b);
        for (int64_t i = row * n; i < (row + 1) * n; i++) s += (double)x[i] * (double)y[i];
    }
    return s;
}

/* Forms of block i, whose products are there, as a list into the table at the top. */
static void push_forms(lua_State *L, blocks *b, int i) {
    int64_t k = hwb_tensor_shape(b->v[i])->dim[0], n = hwb_curvature_n(b->op[i]);
    lua_createtable(L, (int)k, 0);
    for (int64_t j = 0; j < k; j++) {
        lua_pushnumber(L, row_dot(b->v[i], b->w[i], n, j));
        lua_rawseti(L, -2, j + 1);
    }
    lua_rawseti(L, -2, i + 1);
    hwb_tensor_release(b->v[i]);
    hwb_tensor_release(b->w[i]);
    b->v[i] = b->w[i] = NULL;
}

/* Blocks one by one, or where they share passes over data as many together as fit. */
static int run_quadratics(lua_State *L) {
    blocks *b = entered(L);
    b->v = hwb_calloc(b->ctx, (size_t)b->n * sizeof *b->v);
    b->w = hwb_calloc(b->ctx, (size_t)b->n * sizeof *b->w);
    hwb__lcheck(L, b->v && b->w ? HWB_OK : HWB_ENOMEM);
    lua_createtable(L, b->n, 0);
    for (int first = 0, i = 0; first < b->n; first = i) {
        size_t held = 0;
        do {
            fetch_vectors(L, b, i);
            held += 4 * hwb_tensor_bytes(b->v[i++]); /* products and sums in double, too */
        } while (b->set.pass && i < b->n && held < MOST_HELD);
        hwb__lcheck(L, b->set.apply(b->ctx, &b->set, b->w, (const hwb_tensor *const *)b->v));
        for (int j = first; j < i; j++) push_forms(L, b, j);
        hwb_progress(b->ctx, "quadratic forms", i, b->n, "");
    }
    return 1;
}

/* H:block_quadratics(names, function(i) return vectors [K,n_i] end) -> {{v'Bv, ...}, ...} */
static int block_quadratics(lua_State *L) {
    lua_settop(L, 3);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    blocks b = open_blocks(L);
    return protect(L, &b, run_quadratics);
}

void hwb__lsweep_methods(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"block_eigs", block_eigs},
        {"block_traces", block_traces},
        {"block_quadratics", block_quadratics},
        {NULL, NULL},
    };
    luaL_setfuncs(L, methods, 0);
}
