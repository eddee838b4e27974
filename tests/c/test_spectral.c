/*
 * test_spectral.c: eigenvalue solvers, density, diagonal and CG against dense
 * symmetric matrices whose spectrum is chosen; failures; thread counts.
 */
#include "dense_op.h"

static int descending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static int by_size(const void *a, const void *b) {
    double x = fabs(*(const double *)a), y = fabs(*(const double *)b);
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Values, vectors and residuals of a result against the wanted spectrum. */
static void check_pairs(hwb_ctx *ctx, dense *d, const hwb_eigs_result *r, const double *want,
                        double tol) {
    int64_t n = d->op.n;
    hwb_tensor *hv = NULL;
    assert_int_equal(hwb_tensor_shape(r->vectors)->dim[0], r->k);
    assert_ok(ctx, dense_apply(ctx, &d->op, &hv, r->vectors));
    for (int i = 0; i < r->k; i++) {
        assert_near(r->values[i], want[i], tol);
        double res = 0;
        for (int64_t j = 0; j < n; j++) {
            double e = load(hv, i * n + j) - r->values[i] * load(r->vectors, i * n + j);
            res += e * e;
        }
        /* the bound |λ - θ| <= residual is what the residual is for */
        assert_true(fabs(r->values[i] - want[i]) <= sqrt(res) + tol * 1e-3);
        assert_true(sqrt(res) <= r->residuals[i] + tol * r->norm_estimate);
        for (int j = 0; j <= i; j++) {
            double dot = 0;
            for (int64_t t = 0; t < n; t++)
                dot += load(r->vectors, i * n + t) * load(r->vectors, j * n + t);
            assert_near(dot, i == j, d->op.dtype == HWB_F32 ? 1e-5 : 1e-9);
        }
    }
    hwb_tensor_release(hv);
}

/* ---- eigenpairs -------------------------------------------------------------------- */

static void lanczos_case(hwb_ctx *ctx, int64_t n, const double *spectrum, hwb_which which, int k,
                         hwb_dtype dtype, int64_t max_basis) {
    dense d = dense_new(n, spectrum, dtype, 7);
    double *want = malloc((size_t)n * sizeof *want);
    memcpy(want, spectrum, (size_t)n * sizeof *want);
    qsort(want, (size_t)n, sizeof *want, which == HWB_WHICH_LM ? by_size : descending);
    if (which == HWB_WHICH_SA)
        for (int64_t i = 0; i < n / 2; i++) {
            double t = want[i];
            want[i] = want[n - 1 - i];
            want[n - 1 - i] = t;
        }
    hwb_eigs_options o = hwb_eigs_defaults();
    o.k = k;
    o.which = which;
    o.tol = dtype == HWB_F32 ? 1e-5 : 1e-10;
    o.maxiter = 2000;
    o.max_basis = max_basis;
    hwb_eigs_result r;
    assert_ok(ctx, hwb_eigs_lanczos(ctx, &r, &d.op, &o));
    assert_int_equal(r.k, k < n ? k : n);
    assert_int_equal(r.hvps, d.op.applied);
    assert_int_equal(r.history_len, r.iterations);
    for (int i = 0; i < r.k; i++) assert_true(r.converged[i]);
    check_pairs(ctx, &d, &r, want, dtype == HWB_F32 ? 1e-5 : 1e-9);
    hwb_eigs_free(&r);
    free(want);
    free(d.a);
}

static void test_lanczos_spectra(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    enum { N = 120 };
    double like[N], clustered[N], low[N] = {0}, zero[N] = {0}, same[N], few[N];
    hessian_like(N, like);
    for (int i = 0; i < N; i++) {
        clustered[i] = i < 6 ? 10 + 1e-3 * i : -1 + 0.01 * i;
        same[i] = 3.5;
        few[i] = i < 4 ? 5 : i < 7 ? 4 : i < 10 ? -6 : 1; /* multiplicities */
    }
    low[3] = 9, low[50] = 4, low[51] = -2;
    const double *all[] = {like, clustered, low, zero, same, few};
    for (int s = 0; s < 6; s++)
        for (int w = 0; w < 3; w++)
            for (int k = 1; k <= 6; k += 5) {
                lanczos_case(ctx, N, all[s], (hwb_which)w, k, HWB_F64, 0);
                if (s != 1) lanczos_case(ctx, N, all[s], (hwb_which)w, k, HWB_F32, 0);
            }
    test_ctx_free(ctx);
}

static void test_lanczos_restarts(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    enum { N = 150 };
    double like[N];
    hessian_like(N, like);
    for (int w = 0; w < 3; w++)
        for (int basis = 12; basis <= 30; basis += 6)
            lanczos_case(ctx, N, like, (hwb_which)w, w == HWB_WHICH_SA ? 2 : 4, HWB_F64, basis);
    lanczos_case(ctx, N, like, HWB_WHICH_LA, 4, HWB_F32, 14);
    test_ctx_free(ctx);
}

static void test_lanczos_tiny(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    double s[] = {-4, 2, 1.5};
    for (int n = 1; n <= 3; n++)
        for (int k = 1; k <= 5; k++)
            for (int w = 0; w < 3; w++) {
                lanczos_case(ctx, n, s, (hwb_which)w, k, HWB_F64, 0);
                lanczos_case(ctx, n, s, (hwb_which)w, k, HWB_F32, 0);
            }
    test_ctx_free(ctx);
}

static void test_lanczos_options(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    enum { N = 100 };
    double s[N];
    hessian_like(N, s);
    dense d = dense_new(N, s, HWB_F64, 3);
    hwb_eigs_options o = hwb_eigs_defaults();
    hwb_eigs_result cold, warm, r;
    o.k = 3;
    o.tol = 1e-6;
    assert_ok(ctx, hwb_eigs_lanczos(ctx, &cold, &d.op, &o));
    assert_true(cold.converged[2]);
    /* the estimated residual of a converged pair is the true one */
    o.true_residuals = true;
    assert_ok(ctx, hwb_eigs_lanczos(ctx, &r, &d.op, &o));
    assert_int_equal(r.hvps, cold.hvps + 3);
    for (int i = 0; i < 3; i++) assert_near(r.residuals[i], cold.residuals[i], 1e-9);
    hwb_eigs_free(&r);
    o.true_residuals = false;
    /* warm start from the answer takes fewer products */
    o.start = cold.vectors;
    assert_ok(ctx, hwb_eigs_lanczos(ctx, &warm, &d.op, &o));
    assert_true(warm.hvps < cold.hvps);
    check_pairs(ctx, &d, &warm, cold.values, 1e-6);
    hwb_eigs_free(&warm);
    /* an exact but wrong eigenvector does not hide the top */
    hwb_tensor *third = NULL;
    assert_ok(ctx, hwb_tensor_select(ctx, &third, cold.vectors, 0, 2));
    o.start = third;
    o.k = 1;
    assert_ok(ctx, hwb_eigs_lanczos(ctx, &r, &d.op, &o));
    assert_near(r.values[0], 40, 1e-9);
    hwb_eigs_free(&r);
    hwb_tensor_release(third);
    hwb_eigs_free(&cold);
    /* out of iterations: what there is, not converged */
    o.start = NULL;
    o.k = 5;
    o.maxiter = 6;
    o.tol = 1e-12;
    assert_ok(ctx, hwb_eigs_lanczos(ctx, &r, &d.op, &o));
    assert_int_equal(r.hvps, 6);
    assert_int_equal(r.k, 5);
    assert_false(r.converged[4]);
    hwb_eigs_free(&r);
    o.maxiter = 3;
    assert_ok(ctx, hwb_eigs_lanczos(ctx, &r, &d.op, &o));
    assert_int_equal(r.k, 3);
    hwb_eigs_free(&r);
    free(d.a);
    test_ctx_free(ctx);
}

static void test_power(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    enum { N = 60 };
    double s[N];
    for (int i = 0; i < N; i++) s[i] = 0.5 * i / N;
    s[0] = -20, s[1] = 13, s[2] = 9, s[3] = -6;
    double lm[] = {-20, 13, 9, -6}, la[] = {13, 9}, sa[] = {-20, -6};
    for (int t = 0; t < 2; t++) {
        dense d = dense_new(N, s, t ? HWB_F64 : HWB_F32, 5);
        hwb_eigs_options o = hwb_eigs_defaults();
        hwb_eigs_result r;
        o.k = 4;
        o.which = HWB_WHICH_LM;
        o.tol = t ? 1e-7 : 1e-4;
        o.value_tol = 1e-6;
        o.maxiter = 500;
        assert_ok(ctx, hwb_eigs_power(ctx, &r, &d.op, &o));
        assert_int_equal(r.k, 4);
        assert_int_equal(r.hvps, d.op.applied);
        assert_int_equal(r.history_len, r.hvps);
        int64_t pairs = 0;
        for (int i = 0; i < 4; i++) {
            assert_true(r.converged[i]);
            pairs += r.pair_iterations[i];
            assert_near(r.history_value[pairs - 1], r.values[i], 0);
        }
        assert_int_equal(pairs, r.iterations);
        check_pairs(ctx, &d, &r, lm, t ? 1e-9 : 1e-3);
        /* warm start: two products a pair (the change of θ needs two) */
        hwb_eigs_result w;
        o.start = r.vectors;
        o.tol *= 10;
        assert_ok(ctx, hwb_eigs_power(ctx, &w, &d.op, &o));
        assert_true(w.hvps <= 3 * 4);
        o.start = NULL;
        hwb_eigs_free(&w);
        hwb_eigs_free(&r);
        o.k = 2;
        o.maxiter = 3000;
        o.which = HWB_WHICH_LA;
        assert_ok(ctx, hwb_eigs_power(ctx, &r, &d.op, &o));
        check_pairs(ctx, &d, &r, la, t ? 1e-8 : 1e-3);
        hwb_eigs_free(&r);
        o.which = HWB_WHICH_SA;
        assert_ok(ctx, hwb_eigs_power(ctx, &r, &d.op, &o));
        check_pairs(ctx, &d, &r, sa, t ? 1e-8 : 1e-3);
        hwb_eigs_free(&r);
        free(d.a);
    }
    test_ctx_free(ctx);
}

static void test_power_degenerate(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    double zero[8] = {0}, one[1] = {-3}, low[8] = {0, 5, 0, -2, 0, 0, 0, 0};
    hwb_eigs_options o = hwb_eigs_defaults();
    hwb_eigs_result r;
    o.which = HWB_WHICH_LM;
    o.k = 4;
    o.maxiter = 300;
    dense d = dense_new(8, zero, HWB_F64, 1);
    assert_ok(ctx, hwb_eigs_power(ctx, &r, &d.op, &o));
    for (int i = 0; i < 4; i++) assert_true(r.values[i] == 0 && r.converged[i]);
    hwb_eigs_free(&r);
    free(d.a);
    d = dense_new(1, one, HWB_F64, 1);
    assert_ok(ctx, hwb_eigs_power(ctx, &r, &d.op, &o));
    assert_int_equal(r.k, 1);
    assert_near(r.values[0], -3, 1e-15);
    hwb_eigs_free(&r);
    free(d.a);
    d = dense_new(8, low, HWB_F64, 1); /* rank 2, four pairs wanted */
    o.tol = 1e-8;
    assert_ok(ctx, hwb_eigs_power(ctx, &r, &d.op, &o));
    double want[] = {5, -2, 0, 0};
    check_pairs(ctx, &d, &r, want, 1e-7);
    hwb_eigs_free(&r);
    free(d.a);
    test_ctx_free(ctx);
}

/* ---- many operators in turn -------------------------------------------------------------- */

/* Each solve of many takes the steps that it takes alone, and no pass is made for nothing. */
static void test_many(void **state) {
    (void)state;
    enum { B = 4, N = 40 };
    static const hwb_which which[] = {HWB_WHICH_LM, HWB_WHICH_LA, HWB_WHICH_SA, HWB_WHICH_LM};
    hwb_ctx *ctx = test_ctx_new();
    for (int power = 0; power < 2; power++)
        for (int pass = 0; pass < 2; pass++) {
            dense d[B];
            hwb_linop *ops[B];
            hwb_eigs_options o[B];
            hwb_eigs_result many[B], one;
            int64_t most = 0;
            for (int i = 0; i < B; i++) {
                double s[N];
                hessian_like(N - 7 * i, s);
                d[i] = dense_new(N - 7 * i, s, HWB_F64, (uint64_t)i + 3);
                o[i] = hwb_eigs_defaults();
                o[i].k = 1 + i % 2;
                o[i].which = which[i];
                o[i].tol = i == 1 ? 1e-1 : 1e-5;
                o[i].seed = (uint64_t)i;
                o[i].maxiter = i == 3 ? 5 : 200;
            }
            dense_set set = dense_set_of(d, B, ops, pass);
            assert_ok(ctx, hwb_eigs_many(ctx, many, &set.set, o, power));
            for (int i = 0; i < B; i++) {
                assert_ok(ctx, power ? hwb_eigs_power(ctx, &one, &d[i].op, &o[i])
                                     : hwb_eigs_lanczos(ctx, &one, &d[i].op, &o[i]));
                assert_int_equal(many[i].k, one.k);
                assert_int_equal(many[i].hvps, one.hvps);
                for (int k = 0; k < one.k; k++) {
                    assert_true(many[i].values[k] == one.values[k]);
                    assert_true(many[i].residuals[k] == one.residuals[k]);
                    assert_true(many[i].converged[k] == one.converged[k]);
                }
                if (one.hvps > most) most = one.hvps;
                hwb_eigs_free(&one);
                hwb_eigs_free(&many[i]);
                free(d[i].a);
            }
            assert_int_equal(set.passes, pass ? most : 0);
        }
    test_ctx_free(ctx);
}

/* ---- failures: interrupt, NaN, a step function that stops, bad arguments ------------- */

static hwb_status stop_at_4(hwb_ctx *ctx, void *user, const hwb_eigs_step *s) {
    (void)user;
    return s->iteration == 4 ? hwb_fail(ctx, HWB_EIO, "disk full") : HWB_OK;
}

static hwb_status run_solver(hwb_ctx *ctx, int which, dense *d) {
    hwb_eigs_options e = hwb_eigs_defaults();
    hwb_trace_options t = hwb_trace_defaults();
    hwb_density_options s = hwb_density_defaults();
    hwb_diag_options g = hwb_diag_defaults();
    hwb_cg_options c = hwb_cg_defaults();
    hwb_block_trace_options b = hwb_block_trace_defaults();
    hwb_block_range range = {0, d->op.n};
    hwb_linop *ops[1];
    dense_set isolated = dense_set_of(d, 1, ops, false);
    hwb_tensor *rhs = NULL;
    e.k = 3, e.tol = 1e-9, t.tol = 1e-6, b.tol = 1e-6, c.damping = 20;
    hwb_eigs_result er = {0};
    hwb_trace_result tr = {0};
    hwb_density sr = {0};
    hwb_diag_result gr = {0};
    hwb_cg_result cr = {0};
    hwb_block_trace_result br = {0};
    hwb_status st = HWB_OK;
    t.method = which == 2   ? HWB_TRACE_HUTCHINSON
               : which == 3 ? HWB_TRACE_HUTCHPP
                            : HWB_TRACE_XTRACE;
    if (which == 0) st = hwb_eigs_lanczos(ctx, &er, &d->op, &e);
    else if (which == 1) st = hwb_eigs_power(ctx, &er, &d->op, &e);
    else if (which <= 4) st = hwb_trace(ctx, &tr, &d->op, &t);
    else if (which == 5) st = hwb_density_slq(ctx, &sr, &d->op, &s);
    else if (which == 6) st = hwb_diag(ctx, &gr, &d->op, &g);
    else if (which == 7) st = hwb_block_trace(ctx, &br, &d->op, 1, &range, &isolated.set, &b);
    else if (which <= 9) {
        isolated.set.pass = true;
        st = hwb_eigs_many(ctx, &er, &isolated.set, &e, which == 9);
    } else {
        st = hwb_tensor_new(ctx, &rhs, d->op.dtype, hwb_shape_of(1, (int)d->op.n));
        if (st == HWB_OK) st = hwb_tensor_fill(ctx, rhs, 1);
        if (st == HWB_OK) st = hwb_cg(ctx, &cr, &d->op, rhs, &c);
        hwb_tensor_release(rhs);
    }
    hwb_eigs_free(&er);
    hwb_trace_free(&tr);
    hwb_density_free(&sr);
    hwb_diag_free(&gr);
    hwb_cg_free(&cr);
    hwb_block_trace_free(&br);
    return st;
}

static void test_interrupt_and_nan(void **state) {
    (void)state;
    enum { N = 50, SOLVERS = 11 };
    double s[N];
    hessian_like(N, s);
    for (int which = 0; which < SOLVERS; which++)
        for (int at = 1; at <= 7; at += 3) {
            hwb_ctx *ctx = test_ctx_new();
            dense d = dense_new(N, s, HWB_F64, 2);
            d.interrupt_at = at;
            assert_fails(ctx, run_solver(ctx, which, &d), HWB_EINTR, "interrupted");
            hwb_interrupt_clear();
            assert_no_leak(ctx);
            d.interrupt_at = 0;
            d.op.applied = 0;
            d.nan_at = at;
            assert_fails(ctx, run_solver(ctx, which, &d), HWB_ENUMERIC, "not finite");
            free(d.a);
            test_ctx_free(ctx);
        }
}

/* Every allocation of every solver fails once: an error, nothing leaked. */
static void test_out_of_memory(void **state) {
    (void)state;
    enum { N = 20, SOLVERS = 11 };
    double s[N];
    hessian_like(N, s);
    for (int which = 0; which < SOLVERS; which++)
        for (int64_t at = 1;; at += at < 80 ? 1 : 1 + at / 8) {
            char text[32];
            snprintf(text, sizeof text, "%lld", (long long)at);
            setenv("HWB_TEST_FAIL_ALLOC", text, 1);
            hwb_ctx *ctx = test_ctx_new();
            unsetenv("HWB_TEST_FAIL_ALLOC");
            dense d = dense_new(N, s, HWB_F64, 2);
            hwb_status status = run_solver(ctx, which, &d);
            int64_t calls = hwb_memory(ctx).allocations;
            if (calls < at) assert_ok(ctx, status);
            else if (status != HWB_OK) assert_int_equal(status, HWB_ENOMEM);
            free(d.a);
            test_ctx_free(ctx);
            if (calls < at) break;
        }
}

static void test_bad_arguments(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    double s[4] = {1, 2, 3, 4};
    dense d = dense_new(4, s, HWB_F64, 1);
    hwb_eigs_options o = hwb_eigs_defaults();
    hwb_eigs_result r;
    o.step = stop_at_4;
    o.k = 4;
    o.tol = 0;
    o.which = HWB_WHICH_LM;
    assert_fails(ctx, hwb_eigs_power(ctx, &r, &d.op, &o), HWB_EIO, "disk full");
    o.step = NULL;
    o.k = 0;
    assert_fails(ctx, hwb_eigs_lanczos(ctx, &r, &d.op, &o), HWB_EARG, "k = 0");
    o.k = 1;
    hwb_tensor *v = NULL;
    assert_ok(ctx, hwb_tensor_zeros(ctx, &v, HWB_F64, hwb_shape_of(1, 5)));
    o.start = v;
    assert_fails(ctx, hwb_eigs_lanczos(ctx, &r, &d.op, &o), HWB_ESHAPE, "n = 4");
    hwb_cg_result c;
    hwb_cg_options co = hwb_cg_defaults();
    assert_fails(ctx, hwb_cg(ctx, &c, &d.op, v, &co), HWB_ESHAPE, "n = 4");
    hwb_tensor_release(v);
    hwb_trace_options t = hwb_trace_defaults();
    hwb_trace_result tr;
    t.batch = 0;
    assert_fails(ctx, hwb_trace(ctx, &tr, &d.op, &t), HWB_EARG, "batch 0");
    hwb_block_trace_options b = hwb_block_trace_defaults();
    hwb_block_trace_result br;
    hwb_block_range range = {2, 3};
    assert_fails(ctx, hwb_block_trace(ctx, &br, &d.op, 1, &range, NULL, &b), HWB_ESHAPE,
                 "outside n = 4");
    d.op.n = 0;
    assert_fails(ctx, hwb_eigs_lanczos(ctx, &r, &d.op, &o), HWB_EARG, "size 0");
    hwb_which w;
    hwb_trace_method m;
    assert_true(hwb_which_parse("SA", &w) && w == HWB_WHICH_SA && !hwb_which_parse("sa ", &w));
    assert_true(hwb_trace_method_parse("hutch++", &m) && m == HWB_TRACE_HUTCHPP);
    assert_false(hwb_trace_method_parse("nope", &m));
    free(d.a);
    test_ctx_free(ctx);
}

/* ---- density, diagonal, cg --------------------------------------------------------------- */

static double square(double x, void *user) {
    (void)user;
    return x * x;
}

static void test_density(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    enum { N = 90 };
    double s[N];
    hessian_like(N, s);
    dense d = dense_new(N, s, HWB_F64, 13);
    hwb_density_options o = hwb_density_defaults();
    hwb_density r;
    o.probes = 50;
    o.steps = 40;
    assert_ok(ctx, hwb_density_slq(ctx, &r, &d.op, &o));
    assert_int_equal(r.hvps, 50 * 40);
    double mean, se, fro2 = 0, grid[401], density[401], cdf[401];
    for (int i = 0; i < N; i++) fro2 += s[i] * s[i];
    hwb_density_functional(&r, square, NULL, &mean, &se);
    assert_true(fabs(mean - fro2) <= 4.5 * se);
    for (int64_t p = 0; p < r.probes; p++) {
        double w = sum(r.weights + r.first[p], r.first[p + 1] - r.first[p]);
        assert_near(w, 1, 1e-12);
        /* nodes lie in the spectrum and reach its ends */
        assert_near(r.nodes[r.first[p]], -8, 1e-8);
        assert_near(r.nodes[r.first[p + 1] - 1], 40, 1e-8);
    }
    for (int i = 0; i < 401; i++) grid[i] = -12 + 0.15 * i;
    hwb_density_eval(&r, 0.5, 401, grid, density);
    hwb_density_cdf(&r, 401, grid, cdf);
    assert_near(sum(density, 401) * 0.15, 1, 1e-3);
    assert_true(cdf[0] == 0 && fabs(cdf[400] - 1) < 1e-12);
    int below = 0;
    for (int i = 0; i < N; i++) below += s[i] <= 1.02;
    assert_near(cdf[87], (double)below / N, 0.05); /* grid[87] = 1.05 */
    hwb_density_pyhessian(&r, 401, grid, density);
    assert_near(grid[0], -8.01, 1e-6);
    assert_near(sum(density, 401) * (grid[1] - grid[0]), 1, 1e-12);
    hwb_density_free(&r);
    /* without re-orthogonalisation the measure is the same, ghosts included */
    o.reorthogonalise = false;
    o.steps = 60;
    assert_ok(ctx, hwb_density_slq(ctx, &r, &d.op, &o));
    double mean2;
    hwb_density_functional(&r, square, NULL, &mean2, &se);
    assert_near(mean2, mean, 1e-6);
    hwb_density_free(&r);
    free(d.a);
    /* breakdown: three distinct values give three nodes */
    double few[20];
    for (int i = 0; i < 20; i++) few[i] = i < 5 ? 2 : i < 8 ? -1 : 0;
    for (int t = 0; t < 2; t++) {
        d = dense_new(20, few, t ? HWB_F64 : HWB_F32, 1);
        o = hwb_density_defaults();
        assert_ok(ctx, hwb_density_slq(ctx, &r, &d.op, &o));
        if (t) assert_int_equal(r.count, 3);
        assert_near(r.nodes[0], -1, 1e-5);
        assert_near(r.nodes[r.count - 1], 2, 1e-5);
        hwb_density_free(&r);
        free(d.a);
    }
    test_ctx_free(ctx);
}

static void test_diag(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    enum { N = 50 };
    double s[N], fro2 = 0;
    hessian_like(N, s);
    for (int i = 0; i < N; i++) fro2 += s[i] * s[i];
    for (int t = 0; t < 2; t++) {
        dense d = dense_new(N, s, t ? HWB_F64 : HWB_F32, 17);
        hwb_diag_options o = hwb_diag_defaults();
        hwb_diag_result r, r2;
        o.probes = 500;
        assert_ok(ctx, hwb_diag(ctx, &r, &d.op, &o));
        o.batch = 9;
        assert_ok(ctx, hwb_diag(ctx, &r2, &d.op, &o));
        int good = 0;
        for (int i = 0; i < N; i++) {
            double m = hwb_tensor_get(r.mean, i), se = hwb_tensor_get(r.se, i);
            good += fabs(m - d.a[i * N + i]) <= 3 * se;
            assert_true(m == hwb_tensor_get(r2.mean, i));
        }
        assert_true(good >= N - 2);
        assert_true(fabs(r.fro2 - fro2) <= 4 * r.fro2_se);
        hwb_diag_free(&r);
        hwb_diag_free(&r2);
        free(d.a);
    }
    test_ctx_free(ctx);
}

static void test_cg(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    enum { N = 40 };
    double s[N];
    for (int i = 0; i < N; i++) s[i] = 0.1 + i;
    for (int t = 0; t < 2; t++) {
        dense d = dense_new(N, s, t ? HWB_F64 : HWB_F32, 19);
        hwb_tensor *b = NULL, *row = NULL, *ax = NULL;
        assert_ok(ctx, hwb_tensor_new(ctx, &b, d.op.dtype, hwb_shape_of(1, N)));
        assert_ok(ctx, hwb_tensor_fill_normal(ctx, b, (hwb_rng){1, 2}));
        hwb_cg_options o = hwb_cg_defaults();
        hwb_cg_result r, again;
        o.damping = 0.7;
        o.tol = t ? 1e-11 : 1e-5;
        assert_ok(ctx, hwb_cg(ctx, &r, &d.op, b, &o));
        assert_true(r.converged && !r.indefinite);
        assert_int_equal(hwb_tensor_shape(r.x)->ndim, 1);
        assert_ok(ctx, hwb_tensor_reshape(ctx, &row, r.x, hwb_shape_of(2, 1, N)));
        assert_ok(ctx, dense_apply(ctx, &d.op, &ax, row));
        for (int i = 0; i < N; i++)
            assert_near(load(ax, i) + 0.7 * load(r.x, i), load(b, i), t ? 1e-9 : 1e-3);
        assert_true(r.history[0] == 1 && r.history[r.iterations] <= o.tol);
        o.start = r.x; /* the solution solves it at once */
        o.tol *= 10;
        assert_ok(ctx, hwb_cg(ctx, &again, &d.op, b, &o));
        assert_int_equal(again.iterations, 0);
        hwb_cg_free(&again);
        hwb_cg_free(&r);
        o.start = NULL;
        o.damping = -5; /* indefinite */
        assert_ok(ctx, hwb_cg(ctx, &r, &d.op, b, &o));
        assert_true(r.indefinite && !r.converged);
        hwb_cg_free(&r);
        assert_ok(ctx, hwb_tensor_fill(ctx, b, 0)); /* b = 0: x = 0 without a product */
        assert_ok(ctx, hwb_cg(ctx, &r, &d.op, b, &o));
        assert_true(r.converged && r.hvps == 0);
        hwb_cg_free(&r);
        hwb_tensor_release(b);
        hwb_tensor_release(row);
        hwb_tensor_release(ax);
        free(d.a);
    }
    test_ctx_free(ctx);
}

/* ---- thread counts -------------------------------------------------------------------------- */

/* A long diagonal operator: big enough for every kernel to go parallel. */
static hwb_status diagonal_apply(hwb_ctx *ctx, hwb_linop *self, hwb_tensor **out,
                                 const hwb_tensor *v) {
    int64_t n = self->n, k = hwb_tensor_numel(v) / n;
    HWB_TRY(hwb_tensor_new(ctx, out, self->dtype, *hwb_tensor_shape(v)));
    for (int64_t i = 0; i < k * n; i++)
        store(*out, i, load(v, i) * (double)((i % n) * (i % n) % 9973) * 1e-3);
    self->applied += k;
    return HWB_OK;
}

static void test_thread_independence(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    for (int t = 0; t < 2; t++) {
        hwb_linop op = {.n = 100001, .dtype = t ? HWB_F64 : HWB_F32, .apply = diagonal_apply};
        hwb_eigs_result e[2];
        hwb_density q[2];
        hwb_trace_result x[2];
        for (int i = 0; i < 2; i++) {
            hwb_set_threads(ctx, i ? 4 : 1);
            hwb_eigs_options eo = hwb_eigs_defaults();
            eo.k = 3, eo.maxiter = 25, eo.tol = 1e-9, eo.max_basis = 12;
            assert_ok(ctx, hwb_eigs_lanczos(ctx, &e[i], &op, &eo));
            hwb_density_options qo = hwb_density_defaults();
            qo.steps = 10;
            assert_ok(ctx, hwb_density_slq(ctx, &q[i], &op, &qo));
            hwb_trace_options xo = hwb_trace_defaults();
            xo.method = HWB_TRACE_XTRACE, xo.max_probes = 20;
            assert_ok(ctx, hwb_trace(ctx, &x[i], &op, &xo));
        }
        for (int i = 0; i < 3; i++) {
            assert_true(e[0].values[i] == e[1].values[i]);
            assert_true(e[0].residuals[i] == e[1].residuals[i]);
        }
        assert_memory_equal(hwb_tensor_data(e[0].vectors), hwb_tensor_data(e[1].vectors),
                            hwb_tensor_bytes(e[0].vectors));
        assert_memory_equal(q[0].nodes, q[1].nodes, (size_t)q[0].count * sizeof(double));
        assert_memory_equal(q[0].weights, q[1].weights, (size_t)q[0].count * sizeof(double));
        assert_true(x[0].mean == x[1].mean && x[0].se == x[1].se);
        for (int i = 0; i < 2; i++) {
            hwb_eigs_free(&e[i]);
            hwb_density_free(&q[i]);
            hwb_trace_free(&x[i]);
        }
    }
    test_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lanczos_spectra),
        cmocka_unit_test(test_lanczos_restarts),
        cmocka_unit_test(test_lanczos_tiny),
        cmocka_unit_test(test_lanczos_options),
        cmocka_unit_test(test_power),
        cmocka_unit_test(test_power_degenerate),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_interrupt_and_nan),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_density),
        cmocka_unit_test(test_diag),
        cmocka_unit_test(test_cg),
        cmocka_unit_test(test_thread_independence),
    };
    return RUN_TESTS(tests);
}
