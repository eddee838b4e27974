/*
 * bind_spectral.c: eigenvalues, traces, densities and solves of operators.
 * Results are plain tables; lists of numbers are Lua lists.
 */
#include "bind_curvature.h"

#include <math.h>
#include <string.h>

/* How the batch norms were treated goes with every result. */
void hwb__lset_provenance(lua_State *L) {
    lua_getfield(L, 1, "bn");
    lua_setfield(L, -2, "bn");
    lua_getfield(L, 1, "samples");
    lua_setfield(L, -2, "samples");
}

/* ---- eigenpairs ---------------------------------------------------------------------- */

void hwb__lpush_eigs(lua_State *L, hwb_eigs_result *r) {
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
    hwb__lset_provenance(L);
}

bool hwb__lcheck_eigs_options(lua_State *L, int arg, int64_t n, hwb_eigs_options *o) {
    static const char *const known[] = {"k",    "which", "method", "tol",       "maxiter",
                                        "seed", "start", "basis",  "value_tol", NULL};
    *o = hwb_eigs_defaults();
    hwb__lcheck_options(L, arg, known);
    const char *method = hwb__lopt_string(L, arg, "method", "lanczos");
    bool power = strcmp(method, "power") == 0;
    if (!power && strcmp(method, "lanczos") != 0)
        luaL_error(L, "method must be \"lanczos\" or \"power\", not \"%s\"", method);
    const char *which = hwb__lopt_string(L, arg, "which", power ? "LM" : "LA");
    if (!hwb_which_parse(which, &o->which))
        luaL_error(L, "which must be \"LA\", \"SA\" or \"LM\", not \"%s\"", which);
    lua_Integer k = hwb__lopt_integer(L, arg, "k", 1);
    o->k = k > n ? (int)n : (int)(k < 0 ? 0 : k);
    o->tol = hwb__lopt_number(L, arg, "tol", 1e-3);
    o->value_tol = hwb__lopt_number(L, arg, "value_tol", o->tol);
    o->maxiter = hwb__lopt_integer(L, arg, "maxiter", 100);
    o->max_basis = hwb__lopt_integer(L, arg, "basis", 0);
    o->seed = (uint64_t)hwb__lopt_integer(L, arg, "seed", 0);
    if (o->k < 1 || o->maxiter < 1) luaL_error(L, "k and maxiter must be at least 1");
    return power;
}

/* H:eigs{k=1, which="LA", method="lanczos", tol=1e-3, maxiter=100, seed=0, start=, basis=} */
static int eigs(lua_State *L) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_curvature *c = hwb__lcheck_operator(L, 1);
    hwb_eigs_options o;
    hwb_eigs_result r;
    memset(&r, 0, sizeof r);
    bool power = hwb__lcheck_eigs_options(L, 2, hwb_curvature_n(c), &o);
    if (lua_istable(L, 2) && lua_getfield(L, 2, "start") != LUA_TNIL) {
        if (!hwb__ltest(L, -1))
            return luaL_error(L, "option \"start\" must be a tensor, not %s", luaL_typename(L, -1));
        o.start = hwb__lcheck_tensor(L, -1);
    }
    hwb_linop *op = hwb_curvature_op(c);
    hwb__lcheck(L, power ? hwb_eigs_power(ctx, &r, op, &o) : hwb_eigs_lanczos(ctx, &r, op, &o));
    hwb__lpush_eigs(L, &r);
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
    hwb__lset_provenance(L);
    hwb_trace_free(&r);
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
    hwb__lset_provenance(L);
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
        {"eigs", eigs}, {"trace", trace}, {"density", density}, {"solve", solve}, {NULL, NULL},
    };
    luaL_setfuncs(L, methods, 0);
}
