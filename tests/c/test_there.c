/*
 * test_there.c: solvers whose vectors lie on a device against the same solvers on the
 * host, the copies they make, and the arithmetic of such vectors by itself.
 */
#include "far_op.h"

#include "exec/there_i.h"

enum { N = 61, LONG = 400 };

typedef struct pair {
    hwb_ctx *ctx;
    dense host, far;
    double tol;
} pair;

static pair open_pair_of(int64_t n, hwb_dtype dtype) {
    double s[LONG];
    pair p = {.ctx = test_ctx_new(), .tol = dtype == HWB_F32 ? 2e-5 : 1e-11};
    hessian_like(n, s);
    p.host = dense_new(n, s, dtype, 5);
    far_device(p.ctx, n * (int64_t)hwb_dtype_size(dtype));
    p.far = far_of(&p.host);
    return p;
}

static pair open_pair(hwb_dtype dtype) {
    return open_pair_of(N, dtype);
}

static void close_pair(pair *p) {
    assert_int_equal(far.live, 0);
    free(p->host.a);
    test_ctx_free(p->ctx);
}

/* ---- eigenpairs -------------------------------------------------------------------------- */

static void same_pairs(const pair *p, const hwb_eigs_result *a, const hwb_eigs_result *b) {
    assert_int_equal(a->k, b->k);
    for (int i = 0; i < a->k; i++) {
        double dot = 0;
        assert_near(a->values[i], b->values[i], p->tol);
        for (int64_t j = 0; j < N; j++)
            dot += load(a->vectors, i * N + j) * load(b->vectors, i * N + j);
        assert_near(fabs(dot), 1, 1e-3);
    }
}

static void eigs_case(pair *p, bool power, const hwb_eigs_options *o) {
    hwb_eigs_result a, b;
    hwb_status (*solve)(hwb_ctx *, hwb_eigs_result *, hwb_linop *, const hwb_eigs_options *) =
        power ? hwb_eigs_power : hwb_eigs_lanczos;
    assert_ok(p->ctx, solve(p->ctx, &a, &p->host.op, o));
    assert_ok(p->ctx, solve(p->ctx, &b, &p->far.op, o));
    same_pairs(p, &a, &b);
    hwb_eigs_free(&a);
    hwb_eigs_free(&b);
}

static void test_eigs(void **state) {
    (void)state;
    for (int t = 0; t < 2; t++) {
        pair p = open_pair(t ? HWB_F64 : HWB_F32);
        hwb_eigs_options o = hwb_eigs_defaults();
        o.tol = t ? 1e-8 : 1e-4;
        o.value_tol = t ? 1e-12 : 1e-7;
        o.maxiter = 400;
        for (int which = 0; which < 3; which++) {
            o.which = (hwb_which)which;
            o.k = 1;
            eigs_case(&p, true, &o);
            o.k = 3;
            eigs_case(&p, false, &o);
            o.max_basis = 17; /* restarts; eight rows are two passes of dots */
            o.true_residuals = true;
            eigs_case(&p, false, &o);
            o.max_basis = 0;
            o.true_residuals = false;
        }
        hwb_tensor *start = NULL;
        assert_ok(p.ctx, hwb_tensor_new(p.ctx, &start, HWB_F64, hwb_shape_of(2, 2, N)));
        assert_ok(p.ctx, hwb_tensor_fill_normal(p.ctx, start, (hwb_rng){1, 2}));
        o.which = HWB_WHICH_LM;
        o.start = start;
        o.k = 2;
        eigs_case(&p, false, &o);
        eigs_case(&p, true, &o);
        hwb_tensor_release(start);
        close_pair(&p);
    }
}

/* Every one of many takes the steps that it takes alone. */
static void test_many(void **state) {
    (void)state;
    enum { B = 3 };
    pair p = open_pair(HWB_F64);
    dense d[B] = {p.far, p.far, p.far};
    hwb_linop *ops[B];
    hwb_eigs_options o[B];
    hwb_eigs_result many[B], one;
    for (int power = 0; power < 2; power++) {
        for (int i = 0; i < B; i++) {
            o[i] = hwb_eigs_defaults();
            o[i].seed = (uint64_t)i;
            o[i].maxiter = 5 + i;
        }
        dense_set set = dense_set_of(d, B, ops, true);
        set.set.apply_there = far_set_apply;
        assert_ok(p.ctx, hwb_eigs_many(p.ctx, many, &set.set, o, power));
        for (int i = 0; i < B; i++) {
            assert_ok(p.ctx, power ? hwb_eigs_power(p.ctx, &one, &p.far.op, &o[i])
                                   : hwb_eigs_lanczos(p.ctx, &one, &p.far.op, &o[i]));
            assert_true(many[i].values[0] == one.values[0]);
            hwb_eigs_free(&one);
            hwb_eigs_free(&many[i]);
        }
        assert_true(set.passes > 0);
    }
    close_pair(&p);
}

/* ---- traces -------------------------------------------------------------------------------- */

static void test_traces(void **state) {
    (void)state;
    for (int t = 0; t < 2; t++) {
        pair p = open_pair(t ? HWB_F64 : HWB_F32);
        for (int method = 0; method < 3; method++) {
            hwb_trace_options o = hwb_trace_defaults();
            hwb_trace_result a, b;
            o.method = (hwb_trace_method)method;
            o.tol = 0;
            o.max_probes = 30;
            o.batch = 3;
            assert_ok(p.ctx, hwb_trace(p.ctx, &a, &p.host.op, &o));
            assert_ok(p.ctx, hwb_trace(p.ctx, &b, &p.far.op, &o));
            assert_int_equal(a.probes, b.probes);
            for (int64_t i = 0; i < a.probes; i++) /* the same vectors */
                assert_near(b.samples[i], a.samples[i], 100 * p.tol);
            hwb_trace_free(&a);
            hwb_trace_free(&b);
        }
        close_pair(&p);
    }
}

static void block_case(pair *p, bool together) {
    enum { B = 3 };
    static const hwb_block_range range[B] = {{0, 7}, {7, 30}, {37, N - 37}};
    hwb_block_trace_options o = hwb_block_trace_defaults();
    hwb_block_trace_result r[2];
    o.max_isolated = 12;
    for (int where = 0; where < 2; where++) {
        dense block[B];
        hwb_linop *ops[B];
        for (int i = 0; i < B; i++) {
            double s[N];
            hessian_like(range[i].len, s);
            block[i] = dense_new(range[i].len, s, p->host.op.dtype, 3);
            if (where) block[i] = far_of(&block[i]);
        }
        dense_set set = dense_set_of(block, B, ops, together);
        set.set.apply_there = far_set_apply;
        dense *d = where ? &p->far : &p->host;
        assert_ok(p->ctx, hwb_block_trace(p->ctx, &r[where], &d->op, B, range, &set.set, &o));
        for (int i = 0; i < B; i++) free(block[i].a);
    }
    for (int i = 0; i < B; i++) {
        assert_near(r[1].mean[i], r[0].mean[i], 10 * p->tol);
        assert_near(r[1].joint_mean[i], r[0].joint_mean[i], 10 * p->tol);
        assert_int_equal(r[1].isolated_probes[i], r[0].isolated_probes[i]);
    }
    hwb_block_trace_free(&r[0]);
    hwb_block_trace_free(&r[1]);
}

static void test_block_traces(void **state) {
    (void)state;
    pair p = open_pair(HWB_F32);
    block_case(&p, false);
    block_case(&p, true);
    close_pair(&p);
}

/* ---- the others -------------------------------------------------------------------------------- */

static double raise(double x, void *user) {
    return pow(x, *(int *)user);
}

static void test_others(void **state) {
    (void)state;
    for (int t = 0; t < 2; t++) {
        pair p = open_pair(t ? HWB_F64 : HWB_F32);
        for (int full = 0; full < 2; full++) {
            hwb_density_options o = {.steps = 12, .probes = 2, .reorthogonalise = full, .seed = 4};
            hwb_density a, b;
            assert_ok(p.ctx, hwb_density_slq(p.ctx, &a, &p.host.op, &o));
            assert_ok(p.ctx, hwb_density_slq(p.ctx, &b, &p.far.op, &o));
            assert_int_equal(a.count, b.count);
            for (int power = 1; power < 4; power++) { /* nodes alone amplify rounding */
                double x, y, se;
                hwb_density_functional(&a, raise, &power, &x, &se);
                hwb_density_functional(&b, raise, &power, &y, &se);
                assert_near(y, x, 10 * p.tol);
            }
            hwb_density_free(&a);
            hwb_density_free(&b);
        }
        hwb_diag_options g = {.probes = 7, .batch = 3, .seed = 2};
        hwb_diag_result a, b;
        assert_ok(p.ctx, hwb_diag(p.ctx, &a, &p.host.op, &g));
        assert_ok(p.ctx, hwb_diag(p.ctx, &b, &p.far.op, &g));
        for (int64_t i = 0; i < N; i++) {
            assert_near(load(b.mean, i), load(a.mean, i), p.tol);
            assert_near(load(b.se, i), load(a.se, i), p.tol);
        }
        assert_near(b.fro2, a.fro2, p.tol);
        hwb_diag_free(&a);
        hwb_diag_free(&b);
        for (int start = 0; start < 2; start++) {
            hwb_cg_options o = hwb_cg_defaults();
            hwb_cg_result x, y;
            hwb_tensor *rhs = NULL;
            assert_ok(p.ctx, hwb_tensor_new(p.ctx, &rhs, p.host.op.dtype, hwb_shape_of(1, N)));
            assert_ok(p.ctx, hwb_tensor_fill_normal(p.ctx, rhs, (hwb_rng){3, 1}));
            o.damping = 20;
            o.tol = 1e-5;
            o.start = start ? rhs : NULL;
            assert_ok(p.ctx, hwb_cg(p.ctx, &x, &p.host.op, rhs, &o));
            assert_ok(p.ctx, hwb_cg(p.ctx, &y, &p.far.op, rhs, &o));
            for (int64_t i = 0; i < N; i++) assert_near(load(y.x, i), load(x.x, i), 10 * p.tol);
            assert_int_equal(x.iterations, y.iterations);
            hwb_cg_free(&x);
            hwb_cg_free(&y);
            hwb_tensor_release(rhs);
        }
        close_pair(&p);
    }
}

/* ---- copies ---------------------------------------------------------------------------------------- */

/* However many steps, vectors go up once, at the start, and down once a result; probes of
 * signs go up packed. */
static void test_copies(void **state) {
    (void)state;
    pair p = open_pair_of(LONG, HWB_F32);
    for (int steps = 4; steps <= 20; steps += 16) {
        hwb_eigs_options o = hwb_eigs_defaults();
        hwb_eigs_result e;
        hwb_trace_options to = hwb_trace_defaults();
        hwb_trace_result t;
        o.tol = 0;
        o.maxiter = steps;
        far.up = far.down = 0;
        assert_ok(p.ctx, hwb_eigs_lanczos(p.ctx, &e, &p.far.op, &o));
        assert_int_equal(e.hvps, steps);
        assert_int_equal(far.up, 1);
        assert_int_equal(far.down, 1);
        hwb_eigs_free(&e);
        o.which = HWB_WHICH_LM;
        far.up = far.down = 0;
        assert_ok(p.ctx, hwb_eigs_power(p.ctx, &e, &p.far.op, &o));
        assert_int_equal(far.up, 1);
        assert_int_equal(far.down, 1);
        hwb_eigs_free(&e);
        to.tol = 0;
        to.max_probes = steps;
        to.batch = 1;
        far.up = far.down = 0;
        assert_ok(p.ctx, hwb_trace(p.ctx, &t, &p.far.op, &to));
        assert_int_equal(far.up + far.down, 0);
        hwb_trace_free(&t);
    }
    close_pair(&p);
}

/* ---- failures --------------------------------------------------------------------------------------- */

static void test_failures(void **state) {
    (void)state;
    pair p = open_pair(HWB_F32);
    hwb_eigs_options o = hwb_eigs_defaults();
    hwb_trace_options t = hwb_trace_defaults();
    hwb_eigs_result e;
    hwb_trace_result r;
    p.far.nan_at = 3;
    assert_fails(p.ctx, hwb_eigs_lanczos(p.ctx, &e, &p.far.op, &o), HWB_ENUMERIC, "not finite");
    p.far.op.applied = 0;
    assert_fails(p.ctx, hwb_trace(p.ctx, &r, &p.far.op, &t), HWB_ENUMERIC, "not finite");
    p.far.nan_at = 0;
    t.method = HWB_TRACE_HUTCHPP;
    t.max_probes = 12;
    for (int solver = 0; solver < 3; solver++) {
        hwb_status st = HWB_ENOMEM;
        int64_t n = 0;
        o.maxiter = 6;
        o.max_basis = 4;
        while (st == HWB_ENOMEM) {
            far.fail_at = ++n;
            st = solver == 0   ? hwb_eigs_lanczos(p.ctx, &e, &p.far.op, &o)
                 : solver == 1 ? hwb_eigs_power(p.ctx, &e, &p.far.op, &o)
                               : hwb_trace(p.ctx, &r, &p.far.op, &t);
            if (st != HWB_OK) assert_int_equal(far.live, 0);
        }
        assert_ok(p.ctx, st);
        assert_true(n > 3);
        far.fail_at = 0;
        if (solver < 2) hwb_eigs_free(&e);
        else hwb_trace_free(&r);
    }
    close_pair(&p);
}

/* ---- the arithmetic ------------------------------------------------------------------------------------- */

static void test_sums(void **state) {
    (void)state;
    enum { M = 17 };
    hwb_ctx *ctx = test_ctx_new();
    hwb__there *t = NULL;
    float v[M][N], y[N], got[N];
    double c[M + 1], dots[M];
    void *at[M], *to = NULL;
    assert_ok(ctx, hwb__there_new(ctx, &t, far_device(ctx, 0)));
    assert_ok(ctx, hwb__there_slots(t, M + 1));
    for (int i = 0; i <= M; i++) c[i] = hwb_rng_normal((hwb_rng){1, 9}, (uint64_t)i);
    for (int i = 0; i < N; i++) y[i] = (float)hwb_rng_normal((hwb_rng){1, 8}, (uint64_t)i);
    for (int i = 0; i < M; i++) {
        for (int j = 0; j < N; j++)
            v[i][j] = (float)hwb_rng_normal((hwb_rng){1, (uint64_t)i}, (uint64_t)j);
        assert_ok(ctx, hwb__there_alloc(t, &at[i], sizeof v[i]));
        assert_ok(ctx, hwb__there_put(t, at[i], v[i], sizeof v[i]));
    }
    assert_ok(ctx, hwb__there_alloc(t, &to, sizeof y));
    for (int m = 0; m <= M; m++)
        for (int form = 0; form < 4; form++) {
            hwb__sum_there s = {.n = N, .m = m, .v = at, .slot = 1, .out = to};
            s.y = to;
            s.y_slot = form % 2 ? 0 : -1;
            s.minus = form / 2 % 2;
            assert_ok(ctx, hwb__there_put(t, to, y, sizeof y));
            assert_ok(ctx, hwb__there_set(t, 0, M + 1, c));
            assert_ok(ctx, hwb__there_sum(t, &s));
            assert_ok(ctx, hwb__there_get(t, got, to, sizeof got));
            for (int j = 0; j < N; j++) {
                double x = s.y_slot >= 0 ? c[0] * y[j] : y[j];
                for (int i = 0; i < m; i++) x += (s.minus ? -1 : 1) * c[1 + i] * v[i][j];
                assert_near(got[j], x, 1e-5);
            }
        }
    assert_ok(ctx, hwb__there_dots(t, HWB_F32, N, M, at, at[3], 0));
    assert_ok(ctx, hwb__there_fetch(t, 0, M, dots));
    for (int i = 0; i < M; i++) {
        double x = 0;
        for (int j = 0; j < N; j++) x += (double)v[i][j] * (double)v[3][j];
        assert_near(dots[i], x, 1e-14); /* products are not rounded to float32 */
    }
    for (int i = 0; i < M; i++) hwb__there_release(t, at[i]);
    hwb__there_release(t, to);
    hwb__there_free(t);
    assert_int_equal(far.live, 0);
    test_ctx_free(ctx);
}

static void test_finite(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    hwb_ctx *ctx = test_ctx_new();
    hwb__there *t = NULL;
    float v[N] = {3e38f, -3e38f};
    void *at = NULL;
    bool finite = false;
    assert_ok(ctx, hwb__there_new(ctx, &t, far_device(ctx, 0)));
    assert_ok(ctx, hwb__there_alloc(t, &at, sizeof v));
    for (int i = 0; i < 4; i++) {
        if (i) v[20 * i] = bad[i - 1];
        assert_ok(ctx, hwb__there_put(t, at, v, sizeof v));
        assert_ok(ctx, hwb__there_finite(t, HWB_F32, N, at, &finite));
        assert_true(finite == (i == 0));
        if (i) v[20 * i] = 0;
    }
    hwb__there_release(t, at);
    hwb__there_free(t);
    test_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eigs),     cmocka_unit_test(test_many),
        cmocka_unit_test(test_traces),   cmocka_unit_test(test_block_traces),
        cmocka_unit_test(test_others),   cmocka_unit_test(test_copies),
        cmocka_unit_test(test_failures), cmocka_unit_test(test_sums),
        cmocka_unit_test(test_finite),
    };
    return RUN_TESTS(tests);
}
