/*
 * test_allreduce.c: sums over ranks as nodes of a graph: derivatives of every kind
 * against one process that has all samples, K vectors in one exchange, one order of the
 * sums on all ranks, and what becomes of the others when a rank fails in one.
 *
 * Ranks are threads (rank_threads.h) with 3, 2, 2 of 7 samples x[N,2].
 */
#include "rank_threads.h"

#include "ad/ad.h"
#include "exec/exec.h"
#include "graph/compose.h"

enum { N = 7, C = 2, K = 3, RANKS = 3 };

/* ---- L(w) = mean of tanh(batch_norm(x w))^3: two exchanges forward ------------------------ */

typedef struct net {
    hwb_ctx *ctx;
    hwb_graph *g;
    hwb_id w, beta, loss;
    hwb_tensor *x, *wt;
    const char *device;
} net;

static double number(uint64_t stream, int64_t i) {
    return hwb_rng_normal((hwb_rng){5, stream}, (uint64_t)i);
}

static hwb_tensor *rows(hwb_ctx *ctx, uint64_t stream, hwb_dtype dtype, int64_t first, int64_t n,
                        int64_t columns) {
    hwb_tensor *t;
    assert_ok(ctx, hwb_tensor_new(ctx, &t, dtype, (hwb_shape){.ndim = 2, .dim = {n, columns}}));
    for (int64_t i = 0; i < n * columns; i++)
        hwb_tensor_set(t, i, number(stream, first * columns + i));
    hwb_tensor_touch(t);
    return t;
}

static hwb_status build(net *m, int ranks, int64_t own) {
    hwb_id x, y, mean, var, scale;
    HWB_TRY(hwb_graph_new(m->ctx, &m->g));
    hwb_graph_spread(m->g, ranks, own, N);
    HWB_TRY(hwb_graph_input(m->g, &x, HWB_ROLE_DATA, hwb_tensor_dtype(m->x),
                            *hwb_tensor_shape(m->x), "x"));
    HWB_TRY(hwb_graph_bind(m->g, x, m->x));
    HWB_TRY(hwb_graph_input(m->g, &m->w, HWB_ROLE_PARAM, hwb_tensor_dtype(m->wt),
                            *hwb_tensor_shape(m->wt), "w"));
    HWB_TRY(hwb_graph_bind(m->g, m->w, m->wt));
    HWB_TRY(hwb_tanh(m->g, &y, x));
    HWB_TRY(hwb_matmul(m->g, &y, y, m->w));
    hwb_shape vector = {.ndim = 1, .dim = {C}};
    HWB_TRY(hwb_graph_fill(m->g, &scale, hwb_tensor_dtype(m->x), vector, 1.25));
    HWB_TRY(hwb_batch_norm_batch(m->g, &y, &mean, &var, y, scale, scale, 1e-3));
    HWB_TRY(hwb_tanh(m->g, &y, y));
    HWB_TRY(hwb_mul(m->g, &scale, y, y));
    HWB_TRY(hwb_mul(m->g, &y, scale, y));
    HWB_TRY(hwb_mean(m->g, &m->loss, y, 0, false));
    return hwb_mul_scalar(m->g, &m->loss, m->loss, (double)own / N);
}

/* Loss, gradient [C*C] and K Hessian products, summed over the ranks where there are some. */
static hwb_status derive(net *m, int ranks, int64_t own, double *out, int *exchanges) {
    hwb_id grad, tangent, hv, single, many, batched, outs[3];
    hwb_program *p = NULL;
    hwb_tensor *t[3] = {NULL};
    hwb_compile_options o = {.device = m->device};
    hwb_dtype d = hwb_tensor_dtype(m->wt);
    HWB_TRY(build(m, ranks, own));
    HWB_TRY(hwb_vjp(m->g, 1, &m->loss, NULL, 1, &m->w, &grad));
    hwb_shape square = {.ndim = 2, .dim = {C, C}}, lead = {.ndim = 3, .dim = {K, C, C}};
    HWB_TRY(hwb_graph_input(m->g, &single, HWB_ROLE_TANGENT, d, square, "v"));
    HWB_TRY(hwb_jvp(m->g, 1, &m->w, &single, 1, &grad, &hv));
    HWB_TRY(hwb_graph_input(m->g, &many, HWB_ROLE_TANGENT, d, lead, "vs"));
    HWB_TRY(hwb_batch(m->g, K, 1, &single, &many, 1, &hv, &batched));
    tangent = batched;
    outs[0] = m->loss, outs[1] = grad, outs[2] = tangent;
    hwb_tensor *flat = rows(m->ctx, 3, d, 0, K * C, C), *v = NULL;
    hwb_status st = hwb_tensor_reshape(m->ctx, &v, flat, lead);
    if (st == HWB_OK) st = hwb_compile(m->ctx, &p, m->g, 3, outs, &o);
    if (st == HWB_OK) st = hwb_program_set(m->ctx, p, many, v);
    if (st == HWB_OK) st = hwb_program_run(m->ctx, p, t);
    *exchanges = (int)hwb_comm_spent(m->ctx).calls;
    if (st == HWB_OK) { /* again, along other vectors: the last stage alone */
        hwb_tensor_touch(v);
        for (int i = 0; i < 3; i++) hwb_tensor_release(t[i]);
        st = hwb_program_run(m->ctx, p, t);
        *exchanges = (int)hwb_comm_spent(m->ctx).calls - *exchanges;
    }
    for (int i = 0, at = 0; st == HWB_OK && i < 3; i++) {
        st = hwb_comm_sum_tensor(m->ctx, t[i]);
        for (int64_t e = 0; e < hwb_tensor_numel(t[i]); e++) out[at++] = hwb_tensor_get(t[i], e);
    }
    for (int i = 0; st == HWB_OK && i < 3; i++) hwb_tensor_release(t[i]);
    hwb_tensor_release(v);
    hwb_tensor_release(flat);
    hwb_program_release(p);
    return st;
}

enum { NUMBERS = 1 + C * C + K * C * C };
typedef struct answer {
    double v[NUMBERS];
    int exchanges;
} answer;

static hwb_status solve(hwb_ctx *ctx, const char *device, hwb_dtype dtype, answer *a) {
    int64_t first, own;
    hwb_comm_part(hwb_comm_where(ctx), N, &first, &own);
    net m = {.ctx = ctx, .device = device};
    m.x = rows(ctx, 1, dtype, first, own, C);
    m.wt = rows(ctx, 2, dtype, 0, C, C);
    hwb_status st = derive(&m, hwb_comm_where(ctx).size, own, a->v, &a->exchanges);
    hwb_graph_release(m.g);
    hwb_tensor_release(m.x);
    hwb_tensor_release(m.wt);
    return st;
}

static const char *const devices[] = {"ref", "cpu", "cpu"};
static const hwb_dtype dtypes[] = {HWB_F64, HWB_F64, HWB_F32};

static void body_derive(rank_run *run) {
    answer *a = calloc(1, sizeof *a);
    run->buffer = a;
    run->status = solve(run->ctx, devices[run->number], dtypes[run->number], a);
}

static void test_derivatives(void **state) {
    (void)state;
    static world w;
    rank_run runs[RANKS];
    for (int c = 0; c < 3; c++) {
        hwb_ctx *ctx = test_ctx_new();
        answer one = {.exchanges = -1};
        double tolerance = dtypes[c] == HWB_F32 ? 1e-6 : 1e-13;
        assert_ok(ctx, solve(ctx, devices[c], dtypes[c], &one));
        assert_int_equal(one.exchanges, 0); /* of one rank: removed */
        run_ranks(&w, runs, RANKS, body_derive, c);
        for (int r = 0; r < RANKS; r++) {
            const answer *a = runs[r].buffer;
            if (runs[r].status != HWB_OK) fail_msg("rank %d: %s", r, runs[r].message);
            for (int i = 0; i < NUMBERS; i++) assert_near(a->v[i], one.v[i], tolerance);
            /* K vectors travel together: mean and variance, tangents and their adjoints */
            assert_in_range(a->exchanges, 1, 6);
            free(runs[r].buffer);
        }
        hwb_ctx_free(ctx);
    }
}

/* ---- the node itself --------------------------------------------------------------------------- */

/* y = allreduce(x) twice over, of constants too; vjp against its definition. */
static void body_node(rank_run *run) {
    hwb_ctx *ctx = run->ctx;
    hwb_graph *g;
    hwb_id x, y, z, c, gx, outs[3];
    hwb_program *p = NULL;
    hwb_tensor *t[3] = {NULL}, *v = rows(ctx, 1, HWB_F64, run->e.rank, 1, 4);
    hwb_status st = hwb_graph_new(ctx, &g);
    if (st == HWB_OK) st = hwb_graph_lift(g, &x, v);
    if (st == HWB_OK) st = hwb_allreduce(g, &y, x, RANKS);
    if (st == HWB_OK) st = hwb_mul_scalar(g, &z, y, run->e.rank + 1); /* another loss a rank */
    if (st == HWB_OK) st = hwb_sum(g, &z, z, 0, false);
    if (st == HWB_OK) st = hwb_vjp(g, 1, &z, NULL, 1, &x, &gx);
    if (st == HWB_OK) st = hwb_scalar(g, &c, x, 7);
    if (st == HWB_OK) st = hwb_allreduce(g, &c, c, RANKS);
    outs[0] = y, outs[1] = gx, outs[2] = c;
    if (st == HWB_OK) st = hwb_compile(ctx, &p, g, 3, outs, NULL);
    if (st == HWB_OK) st = hwb_program_run(ctx, p, t);
    for (int i = 0; st == HWB_OK && i < 3; i++) run->values[i] = hwb_tensor_get(t[i], 0);
    run->values[3] = (double)hwb_comm_spent(ctx).calls;
    for (int i = 0; i < 3; i++) hwb_tensor_release(t[i]);
    hwb_tensor_release(v);
    hwb_program_release(p);
    hwb_graph_release(g);
    run->status = st;
}

static void test_node(void **state) {
    (void)state;
    static world w;
    rank_run runs[RANKS];
    double sum = 0;
    for (int r = 0; r < RANKS; r++) sum += number(1, r * 4);
    run_ranks(&w, runs, RANKS, body_node, 0);
    for (int r = 0; r < RANKS; r++) {
        if (runs[r].status != HWB_OK) fail_msg("rank %d: %s", r, runs[r].message);
        assert_near(runs[r].values[0], sum, 1e-15);
        assert_near(runs[r].values[1], 1 + 2 + 3, 1e-15); /* of all ranks' losses */
        assert_near(runs[r].values[2], 7 * RANKS, 1e-15);
        /* the barrier of the opening, y, and one of the cotangents, which differ, the constants */
        assert_true(runs[r].values[3] == 4);
    }
}

/* Two sums whose inputs are the same on rank 0 only, and their derivatives. */
static void body_coincidence(rank_run *run) {
    hwb_ctx *ctx = run->ctx;
    hwb_graph *g;
    hwb_id x, y[2], z[2], gx, outs[3];
    hwb_program *p = NULL;
    hwb_tensor *t[3] = {NULL}, *v = rows(ctx, 1, HWB_F64, run->e.rank, 1, 4);
    hwb_status st = hwb_graph_new(ctx, &g);
    if (st == HWB_OK) st = hwb_graph_lift(g, &x, v);
    for (int i = 0; st == HWB_OK && i < 2; i++) {
        st = hwb_mul_scalar(g, &y[i], x, 2 + i * run->e.rank);
        if (st == HWB_OK) st = hwb_allreduce(g, &y[i], y[i], RANKS);
        if (st == HWB_OK) st = hwb_sum(g, &z[i], y[i], 0, false);
    }
    if (st == HWB_OK) st = hwb_vjp(g, 2, z, NULL, 1, &x, &gx);
    outs[0] = y[0], outs[1] = y[1], outs[2] = gx;
    if (st == HWB_OK) st = hwb_compile(ctx, &p, g, 3, outs, NULL);
    if (st == HWB_OK) st = hwb_program_run(ctx, p, t);
    for (int i = 0; st == HWB_OK && i < 3; i++) run->values[i] = hwb_tensor_get(t[i], 0);
    for (int i = 0; i < 3; i++) hwb_tensor_release(t[i]);
    hwb_tensor_release(v);
    hwb_program_release(p);
    hwb_graph_release(g);
    run->status = st;
}

static void test_coincidence(void **state) {
    (void)state;
    static world w;
    rank_run runs[RANKS];
    double want[2] = {0, 0};
    for (int r = 0; r < RANKS; r++)
        for (int i = 0; i < 2; i++) want[i] += (2 + i * r) * number(1, r * 4);
    run_ranks(&w, runs, RANKS, body_coincidence, 0);
    for (int r = 0; r < RANKS; r++) {
        if (runs[r].status != HWB_OK) fail_msg("rank %d: %s", r, runs[r].message);
        for (int i = 0; i < 2; i++) assert_near(runs[r].values[i], want[i], 1e-15);
        assert_near(runs[r].values[2], RANKS * (2 + 2 + r), 1e-15);
    }
}

/* ---- order --------------------------------------------------------------------------------------- */

/* Three sums that do not depend on each other, asked for in another order on each rank. */
static void body_order(rank_run *run) {
    hwb_ctx *ctx = run->ctx;
    hwb_graph *g;
    hwb_id x, y[3], outs[3];
    hwb_program *p = NULL;
    hwb_tensor *t[3] = {NULL}, *v = rows(ctx, 1, HWB_F64, run->e.rank, 1, 4);
    hwb_status st = hwb_graph_new(ctx, &g);
    if (st == HWB_OK) st = hwb_graph_lift(g, &x, v);
    for (int i = 0; st == HWB_OK && i < 3; i++) {
        st = hwb_mul_scalar(g, &y[i], x, i + 1);
        if (st == HWB_OK) st = hwb_exp(g, &y[i], y[i]);
        if (st == HWB_OK) st = hwb_allreduce(g, &y[i], y[i], RANKS);
    }
    for (int i = 0; i < 3; i++) outs[i] = y[(i + run->e.rank) % 3];
    if (st == HWB_OK) st = hwb_compile(ctx, &p, g, 3, outs, NULL);
    if (st == HWB_OK) st = hwb_program_run(ctx, p, t);
    for (int i = 0; st == HWB_OK && i < 3; i++)
        run->values[(i + run->e.rank) % 3] = hwb_tensor_get(t[i], 0);
    for (int i = 0; i < 3; i++) hwb_tensor_release(t[i]);
    hwb_tensor_release(v);
    hwb_program_release(p);
    hwb_graph_release(g);
    run->status = st;
}

static void test_order(void **state) {
    (void)state;
    static world w;
    rank_run runs[RANKS];
    run_ranks(&w, runs, RANKS, body_order, 0);
    for (int r = 0; r < RANKS; r++) {
        if (runs[r].status != HWB_OK) fail_msg("rank %d: %s", r, runs[r].message);
        for (int i = 0; i < 3; i++) {
            double want = 0;
            for (int s = 0; s < RANKS; s++) want += exp((i + 1) * number(1, s * 4));
            assert_near(runs[r].values[i], want, 1e-14);
        }
    }
}

/* ---- failures ------------------------------------------------------------------------------------- */

/* Rank 1 fails before it comes to the sums, or has a NaN in its samples. */
static void body_failing(rank_run *run) {
    answer a;
    hwb_status st;
    if (run->e.rank == 1 && run->number == 0) {
        st = hwb_fail(run->ctx, HWB_EARG, "unwell");
    } else if (run->number == 1) {
        int64_t own = run->e.rank == 0 ? 3 : 2;
        net m = {.ctx = run->ctx, .device = "cpu"};
        m.x = rows(run->ctx, 1, HWB_F64, 2 * run->e.rank, own, C);
        m.wt = rows(run->ctx, 2, HWB_F64, 0, C, C);
        if (run->e.rank == 1) hwb_tensor_set(m.x, 1, NAN);
        st = derive(&m, RANKS, own, a.v, &a.exchanges);
        hwb_graph_release(m.g);
        hwb_tensor_release(m.x);
        hwb_tensor_release(m.wt);
    } else {
        st = solve(run->ctx, "cpu", HWB_F64, &a);
    }
    run->status = st;
    snprintf(run->message, sizeof run->message, "%.255s", hwb_message(run->ctx));
    hwb_comm_fate mine = {.exit_code = st == HWB_OK ? 0 : hwb_status_exit_code(st),
                          .passed = hwb_comm_passed(run->ctx) != 0,
                          .status = st};
    snprintf(mine.message, sizeof mine.message, "%s", run->message);
    hwb_comm_end(run->ctx, &mine, 5, run->fates);
    hwb_comm_close(run->ctx, mine.exit_code);
    run->values[0] = 1;
}

static void test_failure(void **state) {
    (void)state;
    static world w;
    rank_run runs[RANKS];
    run_ranks(&w, runs, RANKS, body_failing, 0);
    for (int r = 0; r < RANKS; r++) assert_int_equal(runs[r].status, HWB_EARG);
    for (int r = 0; r < RANKS; r += 2)
        assert_string_equal(runs[r].fates[r].message, "rank 1: unwell");
}

static void test_not_finite(void **state) {
    (void)state;
    static world w;
    rank_run runs[RANKS];
    run_ranks(&w, runs, RANKS, body_failing, 1);
    for (int r = 0; r < RANKS; r++) assert_int_equal(runs[r].status, HWB_ENUMERIC);
    assert_non_null(strstr(runs[1].fates[1].message, "\"x\" holds nan"));
    for (int r = 0; r < RANKS; r += 2)
        assert_non_null(strstr(runs[r].fates[r].message, "by numbers of another rank"));
}

/* A program for three ranks runs on one: refused. */
static void test_alone(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    net m = {.ctx = ctx, .device = "cpu"};
    answer a;
    m.x = rows(ctx, 1, HWB_F64, 0, N, C);
    m.wt = rows(ctx, 2, HWB_F64, 0, C, C);
    assert_fails(ctx, derive(&m, RANKS, N, a.v, &a.exchanges), HWB_EARG,
                 "a program for 3 ranks runs on 1");
    hwb_graph_release(m.g);
    hwb_tensor_release(m.x);
    hwb_tensor_release(m.wt);
    hwb_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_derivatives), cmocka_unit_test(test_node),
        cmocka_unit_test(test_coincidence), cmocka_unit_test(test_order),
        cmocka_unit_test(test_failure),     cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_alone),
    };
    return RUN_TESTS(tests);
}
