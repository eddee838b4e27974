/*
 * test_trace.c: trace estimators: unbiased, honest error bars, stopping rules,
 * independence of the batch size, and the traces of all blocks.
 */
#include "dense_op.h"

/* ---- traces ------------------------------------------------------------------------- */

/* Over many seeds: |mean - exact| <= 4 se almost always, 1 se about as often
 * as it should be, and the average is right. */
static void coverage(hwb_ctx *ctx, dense *d, double exact, hwb_trace_options o) {
    int within4 = 0, within1 = 0, seeds = 200;
    double total = 0, se2 = 0;
    for (int s = 0; s < seeds; s++) {
        hwb_trace_result r;
        o.seed = (uint64_t)s;
        assert_ok(ctx, hwb_trace(ctx, &r, &d->op, &o));
        assert_near(sum(r.samples, r.probes) / (double)r.probes, r.mean, 1e-9);
        double e = fabs(r.mean - exact);
        within4 += e <= 4 * r.se;
        within1 += e <= r.se;
        total += r.mean;
        se2 += r.se * r.se;
        hwb_trace_free(&r);
    }
    assert_true(within4 > 0.99 * seeds);
    assert_true(within1 > 0.55 * seeds && within1 < 0.85 * seeds);
    assert_true(fabs(total / seeds - exact) <= 4 * sqrt(se2) / seeds);
}

static void test_trace_unbiased(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    enum { N = 80 };
    double s[N];
    hessian_like(N, s);
    dense d = dense_new(N, s, HWB_F64, 11);
    hwb_trace_options o = hwb_trace_defaults();
    o.tol = 0; /* fixed number of probes: what the error bar is defined for */
    o.max_probes = 30;
    coverage(ctx, &d, sum(s, N), o);
    o.method = HWB_TRACE_HUTCHPP;
    o.sketch = 4;
    o.max_probes = 40;
    coverage(ctx, &d, sum(s, N), o);
    o.method = HWB_TRACE_XTRACE;
    o.max_probes = 40;
    coverage(ctx, &d, sum(s, N), o);
    free(d.a);
    test_ctx_free(ctx);
}

static void test_trace_stops(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    enum { N = 100 };
    double s[N], low[N] = {0}, zero[N] = {0}, one[1] = {-2.5};
    for (int i = 0; i < N; i++) s[i] = exp(-0.3 * i) * 50 + 0.01;
    low[0] = 3, low[1] = -1, low[2] = 7;
    dense d = dense_new(N, s, HWB_F64, 4);
    hwb_trace_options o = hwb_trace_defaults();
    hwb_trace_result r;
    int64_t cost[3];
    for (int m = 0; m < 3; m++) {
        o.method = (hwb_trace_method)m;
        o.tol = 0.01;
        o.sketch = 20;
        o.max_probes = 20000;
        assert_ok(ctx, hwb_trace(ctx, &r, &d.op, &o));
        assert_true(r.converged && r.se <= 0.01 * r.mean);
        assert_true(fabs(r.mean - sum(s, N)) <= 5 * r.se + 1e-9);
        cost[m] = r.hvps;
        hwb_trace_free(&r);
    }
    /* 50 exp(-0.3 i) is nearly low rank: sketching methods need far fewer products */
    assert_true(cost[1] * 4 < cost[0] && cost[2] * 4 < cost[0]);
    free(d.a);
    /* exact cases: rank 3, zero, n = 1, sketch of the whole space */
    const double *cases[] = {low, zero, one};
    int sizes[] = {N, N, 1};
    for (int c = 0; c < 3; c++)
        for (int t = 0; t < 2; t++) {
            d = dense_new(sizes[c], cases[c], t ? HWB_F64 : HWB_F32, 9);
            for (int m = 0; m < 3; m++) {
                if (m == 0 && c == 0) continue;
                o.method = (hwb_trace_method)m;
                o.sketch = 0;
                o.max_probes = 100;
                assert_ok(ctx, hwb_trace(ctx, &r, &d.op, &o));
                assert_near(r.mean, sum(cases[c], sizes[c]), t ? 1e-10 : 1e-4);
                assert_true(r.converged);
                hwb_trace_free(&r);
            }
            free(d.a);
        }
    d = dense_new(12, s, HWB_F64, 9);
    for (int m = 1; m < 3; m++) {
        o.method = (hwb_trace_method)m;
        o.tol = 1e-9;
        o.max_probes = 60;
        assert_ok(ctx, hwb_trace(ctx, &r, &d.op, &o));
        assert_near(r.mean, sum(s, 12), 1e-9);
        hwb_trace_free(&r);
    }
    free(d.a);
    test_ctx_free(ctx);
}

static void test_batch_independence(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    enum { N = 70 };
    double s[N];
    hessian_like(N, s);
    dense d = dense_new(N, s, HWB_F64, 6);
    for (int m = 0; m < 3; m++) {
        hwb_trace_result a, b;
        hwb_trace_options o = hwb_trace_defaults();
        o.method = (hwb_trace_method)m;
        o.tol = 0.05;
        o.batch = 1;
        assert_ok(ctx, hwb_trace(ctx, &a, &d.op, &o));
        o.batch = 7;
        assert_ok(ctx, hwb_trace(ctx, &b, &d.op, &o));
        assert_true(a.mean == b.mean && a.se == b.se && a.probes == b.probes);
        hwb_trace_free(&a);
        hwb_trace_free(&b);
    }
    free(d.a);
    test_ctx_free(ctx);
}

/* ---- block traces ------------------------------------------------------------------------ */

enum { BN = 60, BLOCKS = 3 };
static const hwb_block_range ranges[BLOCKS] = {{0, 20}, {20, 30}, {50, 10}};

/* The full matrix and its diagonal blocks as operators. */
static void block_problem(dense *full, dense part[BLOCKS], double exact[BLOCKS]) {
    double s[BN];
    hessian_like(BN, s);
    *full = dense_new(BN, s, HWB_F64, 21);
    for (int l = 0; l < BLOCKS; l++) {
        int64_t n = ranges[l].len, at = ranges[l].start;
        part[l] = (dense){.op = {.n = n, .dtype = HWB_F64, .apply = dense_apply}};
        part[l].a = malloc((size_t)(n * n) * sizeof(double));
        exact[l] = 0;
        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; j < n; j++) part[l].a[i * n + j] = full->a[(at + i) * BN + at + j];
            exact[l] += part[l].a[i * n + i];
        }
    }
}

static void test_block_traces(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    dense full, part[BLOCKS];
    double exact[BLOCKS];
    block_problem(&full, part, exact);
    hwb_linop *ops[BLOCKS];
    dense_set isolated = dense_set_of(part, BLOCKS, ops, false);
    hwb_block_trace_options o = hwb_block_trace_defaults();
    o.max_isolated = 100000;
    hwb_block_trace_result r;
    int good = 0, total_good = 0, seeds = 200;
    double bias[BLOCKS] = {0}, se2[BLOCKS] = {0};
    for (int s = 0; s < seeds; s++) {
        o.seed = (uint64_t)s;
        assert_ok(ctx, hwb_block_trace(ctx, &r, &full.op, BLOCKS, ranges, &isolated.set, &o));
        for (int l = 0; l < BLOCKS; l++) {
            assert_true(r.converged[l] && r.se[l] <= o.tol * fabs(r.mean[l]));
            good += fabs(r.mean[l] - exact[l]) <= 4 * r.se[l];
            bias[l] += r.mean[l] - exact[l];
            se2[l] += r.se[l] * r.se[l];
            assert_int_equal(r.joint_probes[l], 10);
        }
        total_good += fabs(r.total_mean - sum(exact, BLOCKS)) <= 4 * r.total_se;
        hwb_block_trace_free(&r);
    }
    assert_true(good > 0.99 * seeds * BLOCKS);
    assert_true(total_good > 0.99 * seeds);
    for (int l = 0; l < BLOCKS; l++) assert_true(fabs(bias[l]) <= 5 * sqrt(se2[l]));
    /* blocks that share passes draw the same probes in fewer of them */
    hwb_block_trace_result shared;
    assert_ok(ctx, hwb_block_trace(ctx, &r, &full.op, BLOCKS, ranges, &isolated.set, &o));
    isolated.set.pass = true;
    assert_ok(ctx, hwb_block_trace(ctx, &shared, &full.op, BLOCKS, ranges, &isolated.set, &o));
    isolated.set.pass = false;
    int64_t most = 0;
    for (int l = 0; l < BLOCKS; l++) {
        assert_true(r.mean[l] == shared.mean[l] && r.se[l] == shared.se[l]);
        assert_int_equal(r.isolated_probes[l], shared.isolated_probes[l]);
        if (r.isolated_probes[l] > most) most = r.isolated_probes[l];
    }
    assert_in_range(isolated.passes, 1, most);
    hwb_block_trace_free(&r);
    hwb_block_trace_free(&shared);
    /* a short budget is kept, goes to the block that matters, and K changes nothing */
    double cost[BLOCKS] = {1, 1, 2}, weight[BLOCKS] = {1e-9, 1e-9, 1};
    o.budget = 60;
    o.cost = cost;
    o.weight = weight;
    o.tol = 1e-4;
    o.batch = 1;
    assert_ok(ctx, hwb_block_trace(ctx, &r, &full.op, BLOCKS, ranges, &isolated.set, &o));
    hwb_block_trace_result b;
    o.batch = 5;
    assert_ok(ctx, hwb_block_trace(ctx, &b, &full.op, BLOCKS, ranges, &isolated.set, &o));
    double spent = 0;
    for (int l = 0; l < BLOCKS; l++) {
        spent += cost[l] * (double)r.isolated_probes[l];
        assert_true(r.mean[l] == b.mean[l] && r.se[l] == b.se[l]);
        assert_int_equal(r.isolated_probes[l], b.isolated_probes[l]);
    }
    assert_true(spent <= 60);
    assert_true(r.isolated_probes[2] > 20 && r.isolated_probes[0] == 0);
    hwb_block_trace_free(&r);
    hwb_block_trace_free(&b);
    /* joint probes alone, isolated probes alone */
    o = hwb_block_trace_defaults();
    o.joint_probes = 400;
    assert_ok(ctx, hwb_block_trace(ctx, &r, &full.op, BLOCKS, ranges, NULL, &o));
    for (int l = 0; l < BLOCKS; l++) {
        assert_true(fabs(r.mean[l] - exact[l]) <= 4.5 * r.se[l]);
        assert_true(isnan(r.isolated_mean[l]) && r.mean[l] == r.joint_mean[l]);
    }
    hwb_block_trace_free(&r);
    o.joint_probes = 0;
    assert_ok(ctx, hwb_block_trace(ctx, &r, &full.op, BLOCKS, ranges, &isolated.set, &o));
    for (int l = 0; l < BLOCKS; l++) {
        assert_true(fabs(r.mean[l] - exact[l]) <= 4.5 * r.se[l]);
        assert_true(r.mean[l] == r.isolated_mean[l]);
    }
    hwb_block_trace_free(&r);
    free(full.a);
    for (int l = 0; l < BLOCKS; l++) free(part[l].a);
    test_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trace_unbiased),
        cmocka_unit_test(test_trace_stops),
        cmocka_unit_test(test_batch_independence),
        cmocka_unit_test(test_block_traces),
    };
    return RUN_TESTS(tests);
}
