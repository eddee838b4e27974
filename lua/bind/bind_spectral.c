/*
 * bind_spectral.c: eigenvalues, traces, densities and solves of operators.
 * Results are plain tables; lists of numbers are Lua lists.
 */
#include "bind_curvature.h"

#include <math.h>
#include <string.h>

/* How the batch norms were treated goes with every result. */
static void set_provenance(lua_State *L) {
    lua_getfield(L, 1, "bn");
    lua_setfield(L, -2, "bn");
    lua_getfield(L, 1, "samples");
    lua_setfield(L, -2, "samples");
}

/* ---- eigenpairs ---------------------------------------------------------------------- */

static void push_eigs(lua_State *L, hwb_eigs_result *r) {
    lua_createtable(L, 0, 10);
    hwb__lset_numbers(L, "values", r->k, r->values);
    hwb__lset_numbers(L, "residuals", r->k, r->residuals);
    lua_createtable(L, r->k, 0);
    bool all = true;
    for (int i = 0; i < r->k; i++) {
        lua_pushboolean(L, r->converged[i]);
        lua_rawseti(L, -2, i + 1);
        all = all && r->converged[i];
    }
    lua_setfield(L, -2, "pair_converged");
    hwb__lset_boolean(L, "converged", all);
    hwb__lset_integer(L, "iterations", r->iterations);
    hwb__lset_integer(L, "hvps", r->hvps);
    hwb__lset_numbers(L, "history", r->history_len, r->history_value);
    hwb__lset_numbers(L, "residual_history", r->history_len, r->history_residual);
    hwb__lpush(L, r->vectors);
    r->vectors = NULL;
    lua_setfield(L, -2, "vectors");
    set_provenance(L);
}

/* H:eigs{k=1, which="LA", method="lanczos", tol=1e-3, maxiter=100, seed=0, start=, basis=} */
static int eigs(lua_State *L) {
    static const char *const known[] = {"k",    "which", "method", "tol",       "maxiter",
                                        "seed", "start", "basis",  "value_tol", NULL};
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_curvature *c = hwb__lcheck_operator(L, 1);
    hwb_eigs_options o = hwb_eigs_defaults();
    hwb_eigs_result r;
    memset(&r, 0, sizeof r);
    hwb__lcheck_options(L, 2, known);
    const char *method = hwb__lopt_string(L, 2, "method", "lanczos");
    bool power = strcmp(method, "power") == 0;
    if (!power && strcmp(method, "lanczos") != 0)
        return luaL_error(L, "method must be \"lanczos\" or \"power\", not \"%s\"", method);
    const char *which = hwb__lopt_string(L, 2, "which", power ? "LM" : "LA");
    if (!hwb_which_parse(which, &o.which))
        return luaL_error(L, "which must be \"LA\", \"SA\" or \"LM\", not \"%s\"", which);
    lua_Integer k = hwb__lopt_integer(L, 2, "k", 1);
    o.k = k > hwb_curvature_n(c) ? (int)hwb_curvature_n(c) : (int)(k < 0 ? 0 : k);
    o.tol = hwb__lopt_number(L, 2, "tol", 1e-3);
    o.value_tol = hwb__lopt_number(L, 2, "value_tol", o.tol);
    o.maxiter = hwb__lopt_integer(L, 2, "maxiter", 100);
    o.max_basis = hwb__lopt_integer(L, 2, "basis", 0);
    o.seed = (uint64_t)hwb__lopt_integer(L, 2, "seed", 0);
    if (o.k < 1 || o.maxiter < 1) return luaL_error(L, "k and maxiter must be at least 1");
    if (lua_istable(L, 2) && lua_getfield(L, 2, "start") != LUA_TNIL) {
        if (!hwb__ltest(L, -1))
            return luaL_error(L, "option \"start\" must be a tensor, not %s", luaL_typename(L, -1));
        o.start = hwb__lcheck_tensor(L, -1);
    }
    hwb_linop *op = hwb_curvature_op(c);
    hwb__lcheck(L, power ? hwb_eigs_power(ctx, &r, op, &o) : hwb_eigs_lanczos(ctx, &r, op, &o));
    push_eigs(L, &r);
    hwb_eigs_free(&r);
    return 1;
}

/* ---- traces -------------------------------------------------------------------------------- */

/* H:trace{method="hutchinson", tol=0.01, max_probes=, min_probes=, seed=0, batch=} */
static int trace(lua_State *L) {
    static const char *const known[] = {"method", "tol",   "max_probes", "min_probes",
                                        "seed",   "batch", NULL};
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_curvature *c = hwb__lcheck_operator(L, 1);
    hwb_trace_options o = hwb_trace_defaults();
    hwb_trace_result r;
    memset(&r, 0, sizeof r);
    hwb__lcheck_options(L, 2, known);
    const char *method = hwb__lopt_string(L, 2, "method", "hutchinson");
    if (!hwb_trace_method_parse(method, &o.method))
        return luaL_error(L, "method must be \"hutchinson\", \"hutch++\" or \"xtrace\", not \"%s\"",
                          method);
    o.tol = hwb__lopt_number(L, 2, "tol", 0.01);
    o.max_probes = hwb__lopt_integer(L, 2, "max_probes", o.max_probes);
    o.min_probes = hwb__lopt_integer(L, 2, "min_probes", o.min_probes);
    if (o.min_probes > o.max_probes) o.min_probes = o.max_probes;
    o.batch = hwb__lopt_integer(L, 2, "batch", o.batch);
    o.seed = (uint64_t)hwb__lopt_integer(L, 2, "seed", 0);
    hwb__lcheck(L, hwb_trace(ctx, &r, hwb_curvature_op(c), &o));
    lua_createtable(L, 0, 8);
    hwb__lset_number(L, "mean", r.mean);
    hwb__lset_number(L, "stderr", r.se);
    hwb__lset_integer(L, "probes", r.probes);
    hwb__lset_integer(L, "hvps", r.hvps);
    hwb__lset_boolean(L, "converged", r.converged);
    hwb__lset_numbers(L, "samples_v", r.probes, r.samples);
    set_provenance(L);
    hwb_trace_free(&r);
    return 1;
}

/* The blocks of H:traces, given as a Lua list of names. */
typedef struct blocks {
    hwb_ctx *ctx;
    hwb_curvature *whole;
    int n;
    hwb_curvature **op;
    hwb_block_range *range;
    double *cost;
} blocks;

static void free_blocks(blocks *b) {
    for (int i = 0; b->op && i < b->n; i++) hwb_curvature_release(b->op[i]);
    hwb_free(b->op);
    hwb_free(b->range);
    hwb_free(b->cost);
}

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

enum { BLOCK_MEMORY = 1 << 30 }; /* bytes that all blocks together may hold on to */

static hwb_status get_block(hwb_ctx *ctx, void *user, int64_t i, hwb_linop **out) {
    blocks *b = user;
    for (int k = 0; k < b->n && hwb_memory(ctx).live > BLOCK_MEMORY; k++)
        if (k != i) hwb_curvature_trim(b->op[k]);
    *out = hwb_curvature_op(((blocks *)user)->op[i]);
    return HWB_OK;
}

static hwb_status collect_blocks(lua_State *L, int list, blocks *b) {
    size_t n = (size_t)b->n;
    b->op = hwb_calloc(b->ctx, (n + 1) * sizeof *b->op);
    b->range = hwb_calloc(b->ctx, (n + 1) * sizeof *b->range);
    if (!b->op || !b->range) return HWB_ENOMEM;
    for (int i = 0; i < b->n; i++) {
        lua_geti(L, list, i + 1);
        const char *name = lua_tostring(L, -1);
        if (!name) return hwb_fail(b->ctx, HWB_EARG, "block %d is not a name", i + 1);
        HWB_TRY(hwb_curvature_block(b->ctx, &b->op[i], b->whole, name));
        lua_pop(L, 1);
        HWB_TRY(locate(b, i));
    }
    return HWB_OK;
}

static void push_block_traces(lua_State *L, const blocks *b, const hwb_block_trace_result *r) {
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
    set_provenance(L);
}

/* H:block_traces(names, {tol=, joint=, max_isolated=, budget=, seed=, batch=}) */
static int block_traces(lua_State *L) {
    static const char *const known[] = {"tol",    "joint", "max_isolated", "pilot",
                                        "budget", "seed",  "batch",        NULL};
    hwb_block_trace_options o = hwb_block_trace_defaults();
    hwb_block_trace_result r;
    memset(&r, 0, sizeof r);
    blocks b = {.ctx = hwb_lua_ctx(L), .whole = hwb__lcheck_operator(L, 1)};
    luaL_checktype(L, 2, LUA_TTABLE);
    hwb__lcheck_options(L, 3, known);
    o.tol = hwb__lopt_number(L, 3, "tol", o.tol);
    o.joint_probes = hwb__lopt_integer(L, 3, "joint", o.joint_probes);
    o.max_isolated = hwb__lopt_integer(L, 3, "max_isolated", o.max_isolated);
    o.pilot = hwb__lopt_integer(L, 3, "pilot", o.pilot);
    o.budget = hwb__lopt_number(L, 3, "budget", o.budget);
    o.batch = hwb__lopt_integer(L, 3, "batch", o.batch);
    o.seed = (uint64_t)hwb__lopt_integer(L, 3, "seed", 0);
    b.n = (int)luaL_len(L, 2);
    hwb_status st = collect_blocks(L, 2, &b);
    hwb_block_source source = {get_block, NULL, &b};
    if (st == HWB_OK)
        st = hwb_block_trace(b.ctx, &r, hwb_curvature_op(b.whole), b.n, b.range, &source, &o);
    if (st == HWB_OK) push_block_traces(L, &b, &r);
    hwb_block_trace_free(&r);
    free_blocks(&b);
    hwb__lcheck(L, st);
    return 1;
}

/* ---- density, solves ---------------------------------------------------------------------------- */

/* H:density{steps=100, probes=1, seed=0} -> {nodes=, weights=}: weights sum to 1 */
static int density(lua_State *L) {
    static const char *const known[] = {"steps", "probes", "seed", NULL};
    hwb_density_options o = hwb_density_defaults();
    hwb_density d;
    memset(&d, 0, sizeof d);
    hwb_curvature *c = hwb__lcheck_operator(L, 1);
    hwb__lcheck_options(L, 2, known);
    o.steps = hwb__lopt_integer(L, 2, "steps", 100);
    o.probes = hwb__lopt_integer(L, 2, "probes", 1);
    o.seed = (uint64_t)hwb__lopt_integer(L, 2, "seed", 0);
    hwb__lcheck(L, hwb_density_slq(hwb_lua_ctx(L), &d, hwb_curvature_op(c), &o));
    for (int64_t i = 0; i < d.count; i++) d.weights[i] /= (double)d.probes;
    lua_createtable(L, 0, 7);
    hwb__lset_numbers(L, "nodes", d.count, d.nodes);
    hwb__lset_numbers(L, "weights", d.count, d.weights);
    lua_createtable(L, (int)d.probes, 0); /* where each probe's nodes begin */
    for (int64_t i = 0; i < d.probes; i++) {
        lua_pushinteger(L, d.first[i] + 1);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "first");
    hwb__lset_integer(L, "n", d.n);
    hwb__lset_integer(L, "probes", d.probes);
    hwb__lset_integer(L, "hvps", d.hvps);
    set_provenance(L);
    hwb_density_free(&d);
    return 1;
}

/* H:solve(b, {damping=0, tol=1e-6, maxiter=100}) -> {x=, iterations=, converged=, ...} */
static int solve(lua_State *L) {
    static const char *const known[] = {"damping", "tol", "maxiter", NULL};
    hwb_cg_options o = hwb_cg_defaults();
    hwb_cg_result r;
    memset(&r, 0, sizeof r);
    hwb_curvature *c = hwb__lcheck_operator(L, 1);
    hwb_tensor *b = hwb__lcheck_tensor(L, 2);
    hwb__lcheck_options(L, 3, known);
    o.damping = hwb__lopt_number(L, 3, "damping", o.damping);
    o.tol = hwb__lopt_number(L, 3, "tol", o.tol);
    o.maxiter = hwb__lopt_integer(L, 3, "maxiter", o.maxiter);
    hwb__lcheck(L, hwb_cg(hwb_lua_ctx(L), &r, hwb_curvature_op(c), b, &o));
    lua_createtable(L, 0, 6);
    hwb__lpush(L, r.x);
    r.x = NULL;
    lua_setfield(L, -2, "x");
    hwb__lset_integer(L, "iterations", r.iterations);
    hwb__lset_integer(L, "hvps", r.hvps);
    hwb__lset_boolean(L, "converged", r.converged);
    hwb__lset_boolean(L, "indefinite", r.indefinite);
    hwb__lset_numbers(L, "history", r.iterations + 1, r.history);
    hwb_cg_free(&r);
    return 1;
}

void hwb__lspectral_methods(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"eigs", eigs},       {"trace", trace}, {"block_traces", block_traces},
        {"density", density}, {"solve", solve}, {NULL, NULL},
    };
    luaL_setfuncs(L, methods, 0);
}
