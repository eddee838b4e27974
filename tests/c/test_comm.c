/*
 * test_comm.c: sums, broadcasts and barriers over ranks that are threads.  What a
 * rank that fails, leaves or does something else makes of the others.  The real
 * transport is tested under mpirun (tests/cli).
 */
#include "rank_threads.h"

/* ---- alone ------------------------------------------------------------------------------------- */

static void test_self(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    double x[2] = {1.5, -2};
    hwb_comm_fate fate = {.exit_code = 3}, out;
    assert_ok(ctx, hwb_comm_sum(ctx, HWB_F64, 2, x));
    assert_ok(ctx, hwb_comm_broadcast(ctx, 0, sizeof x, x));
    assert_ok(ctx, hwb_comm_barrier(ctx));
    assert_true(x[0] == 1.5 && x[1] == -2);
    assert_int_equal(hwb_comm_where(ctx).size, 1);
    assert_int_equal(hwb_comm_where(ctx).rank, 0);
    assert_string_equal(hwb_comm_name(ctx), "self");
    assert_int_equal(hwb_comm_spent(ctx).calls, 0);
    assert_fails(ctx, hwb_comm_sum(ctx, HWB_I64, 1, x), HWB_EARG, "a sum over ranks of 1 numbers");
    assert_fails(ctx, hwb_comm_broadcast(ctx, 1, 8, x), HWB_EARG, "from rank 1 of 1");
    assert_fails(ctx, hwb_comm_open(ctx, "smoke"), HWB_EDEVICE, "there are self and mpi");
    end_point nobody = {0};
    assert_fails(ctx, hwb_comm_open_over(ctx, &THREADS, &nobody), HWB_EDEVICE, "nobody is there");
    assert_ok(ctx, hwb_comm_open(ctx, "self"));
    hwb_comm_end(ctx, &fate, 0, &out);
    assert_true(out.known && out.exit_code == 3);
    hwb_comm_close(ctx, 0);
    test_ctx_free(ctx);
}

static void test_parts(void **state) {
    (void)state;
    for (int size = 1; size < 7; size++)
        for (int64_t n = 0; n < 20; n++) {
            int64_t next = 0, first, count;
            for (int r = 0; r < size; r++) {
                hwb_comm_part((hwb_comm_place){r, size, 0, 1}, n, &first, &count);
                assert_int_equal(first, next);
                assert_true(count == n / size || count == n / size + 1);
                next += count;
            }
            assert_int_equal(next, n);
        }
}

/* ---- sums ------------------------------------------------------------------------------------------ */

/* Numbers that no order of additions but one gives the same sum of. */
static double number_of(int rank, int64_t i) {
    hwb_rng rng = {7, (uint64_t)rank};
    return hwb_rng_normal(rng, (uint64_t)i) * (rank % 2 ? 1e-7 : 1e3);
}

static void body_sum(rank_run *run) {
    int64_t n = run->number;
    bool single = n % 2 == 1; /* odd lengths in float32 */
    size_t each = single ? sizeof(float) : sizeof(double);
    void *data = malloc((size_t)n * each + 1);
    for (int64_t i = 0; i < n; i++) {
        if (single) ((float *)data)[i] = (float)number_of(run->e.rank, i);
        else ((double *)data)[i] = number_of(run->e.rank, i);
    }
    run->status = hwb_comm_sum(run->ctx, single ? HWB_F32 : HWB_F64, n, data);
    run->values[0] = (double)hwb_comm_spent(run->ctx).bytes;
    run->buffer = data;
}

/* The same bits on every rank: the ranks' numbers added in their order, in double. */
static void check_sum(int size, int64_t n) {
    static world w;
    rank_run runs[MAX_RANKS];
    run_ranks(&w, runs, size, body_sum, (int)n);
    for (int r = 0; r < size; r++) {
        assert_int_equal(runs[r].status, HWB_OK);
        assert_true(runs[r].values[0] == (double)n * (n % 2 ? 4 : 8));
        for (int64_t i = 0; i < n; i++) {
            double want = 0;
            for (int p = 0; p < size; p++) {
                double x = n % 2 ? (double)(float)number_of(p, i) : number_of(p, i);
                want = p == 0 ? x : want + x;
            }
            if (n % 2) assert_true(((float *)runs[r].buffer)[i] == (float)want);
            else assert_true(((double *)runs[r].buffer)[i] == want);
        }
        assert_int_equal(w.how[r], HWB_CLOSE_TOGETHER);
        free(runs[r].buffer);
    }
}

/* Around the limits: few numbers (4 KiB), a chunk (256 KiB), a piece (a chunk a rank). */
static void test_sums(void **state) {
    (void)state;
    static const int64_t lengths[] = {
        0, 1, 2, 7, 512, 514, 1023, 1025, 32768 * 2 + 2, 65536 * 3 + 1};
    for (int size = 2; size <= MAX_RANKS; size++)
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) check_sum(size, lengths[i]);
}

static void body_tensor(rank_run *run) {
    hwb_tensor *t = NULL;
    hwb_shape s = {.ndim = 1, .dim = {3}};
    double x[3] = {1, 2, run->e.rank};
    run->status = hwb_tensor_from(run->ctx, &t, HWB_F64, s, x);
    uint64_t before = hwb_tensor_version(t);
    if (run->status == HWB_OK) run->status = hwb_comm_sum_tensor(run->ctx, t);
    for (int i = 0; i < 3; i++) run->values[i] = hwb_tensor_get(t, i);
    run->values[3] = hwb_tensor_version(t) > before;
    hwb_tensor_release(t);
}

static void test_tensor(void **state) {
    (void)state;
    static world w;
    rank_run runs[3];
    run_ranks(&w, runs, 3, body_tensor, 0);
    for (int r = 0; r < 3; r++) {
        assert_int_equal(runs[r].status, HWB_OK);
        assert_true(runs[r].values[0] == 3 && runs[r].values[1] == 6 && runs[r].values[2] == 3);
        assert_true(runs[r].values[3] == 1); /* programs that read it must see the change */
    }
}

/* ---- broadcasts ------------------------------------------------------------------------------------- */

static void body_broadcast(rank_run *run) {
    size_t n = (size_t)run->number;
    unsigned char *data = malloc(n + 1);
    for (size_t i = 0; i < n; i++) data[i] = (unsigned char)(i * 7 + (size_t)run->e.rank * 101);
    for (int root = 0; root < run->e.w->size && run->status == HWB_OK; root++) {
        if (run->e.rank == root)
            for (size_t i = 0; i < n; i++) data[i] = (unsigned char)(i * 13 + (size_t)root);
        run->status = hwb_comm_broadcast(run->ctx, root, n, data);
        for (size_t i = 0; i < n; i++)
            if (data[i] != (unsigned char)(i * 13 + (size_t)root)) run->values[0] += 1;
    }
    free(data);
}

static void test_broadcasts(void **state) {
    (void)state;
    static world w;
    rank_run runs[MAX_RANKS];
    static const int lengths[] = {0, 1, 262144, 262145, 700001};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        run_ranks(&w, runs, 3, body_broadcast, lengths[i]);
        for (int r = 0; r < 3; r++) {
            assert_int_equal(runs[r].status, HWB_OK);
            assert_true(runs[r].values[0] == 0);
        }
    }
}

/* ---- a device's own network ------------------------------------------------------------------------- */

/* A stand-in: adds up in the memory that the threads share, and doubles, to be told apart. */
typedef struct fake_net {
    pthread_mutex_t lock;
    double sum[1 << 18];
    int came, left, opened, closed;
    char id[8];
} fake_net;
static fake_net net;

static hwb_status net_id(hwb_ctx *ctx, void *state, void *id) {
    (void)ctx;
    (void)state;
    memcpy(id, "secret", 7);
    return HWB_OK;
}

static hwb_status net_open(hwb_ctx *ctx, void *state, void **comm, const void *id, int rank,
                           int size) {
    (void)state;
    (void)rank;
    if (strcmp(id, "secret") != 0) return hwb_fail(ctx, HWB_EDEVICE, "a wrong id");
    pthread_mutex_lock(&net.lock);
    net.opened++;
    pthread_mutex_unlock(&net.lock);
    *comm = (void *)(intptr_t)size;
    return HWB_OK;
}

static hwb_status net_sum(hwb_ctx *ctx, void *comm, hwb_dtype dtype, int64_t n, void *data,
                          hwb_status (*going_on)(hwb_ctx *)) {
    double *v = data;
    bool all = false;
    (void)dtype;
    pthread_mutex_lock(&net.lock);
    for (int64_t i = 0; i < n; i++) net.sum[i] += v[i];
    net.came++;
    pthread_mutex_unlock(&net.lock);
    while (!all) {
        HWB_TRY(going_on(ctx));
        pthread_mutex_lock(&net.lock);
        all = net.came == (int)(intptr_t)comm;
        pthread_mutex_unlock(&net.lock);
    }
    for (int64_t i = 0; i < n; i++) v[i] = 2 * net.sum[i];
    return HWB_OK;
}

static void net_close(void *comm, bool is_broken) {
    (void)comm;
    pthread_mutex_lock(&net.lock);
    net.closed += is_broken ? 100 : 1;
    pthread_mutex_unlock(&net.lock);
}

static const hwb_device_comm NET = {"net", 7, net_id, net_open, net_sum, net_sum, net_close};

static void body_device(rank_run *run) {
    int64_t n = run->number;
    double *v = malloc((size_t)n * sizeof *v);
    for (int64_t i = 0; i < n; i++) v[i] = run->e.rank + 1;
    run->status = hwb_comm_attach_device(run->ctx, &NET, NULL);
    if (run->status == HWB_OK) run->status = hwb_comm_sum(run->ctx, HWB_F64, n, v);
    run->values[0] = v[0];
    run->values[1] = v[n - 1];
    /* in the device's own memory: however few, and of that device alone */
    bool other = hwb_comm_reaches(run->ctx, run), reaches = hwb_comm_reaches(run->ctx, NULL);
    if (n < 2000) {
        v[0] = run->e.rank;
        if (run->status == HWB_OK) run->status = hwb_comm_sum_there(run->ctx, HWB_F64, 1, v);
        run->values[2] = v[0];
    }
    if (other || !reaches) run->status = HWB_EINTERNAL;
    free(v);
}

static void test_device(void **state) {
    (void)state;
    static world w;
    rank_run runs[3];
    for (int big = 0; big < 2; big++) {
        memset(&net, 0, sizeof net);
        pthread_mutex_init(&net.lock, NULL);
        run_ranks(&w, runs, 3, body_device, big ? 1 << 18 : 1000);
        for (int r = 0; r < 3; r++) {
            assert_int_equal(runs[r].status, HWB_OK);
            assert_true(runs[r].values[0] == (big ? 12 : 6) &&
                        runs[r].values[1] == runs[r].values[0]);
        }
        if (!big) assert_true(runs[2].values[2] == 6); /* twice 0 + 1 + 2 */
        assert_int_equal(net.opened, 3);
        assert_int_equal(net.closed, 3);
        pthread_mutex_destroy(&net.lock);
    }
}

/* Different lengths, of which one would wait for ever inside the device. */
static void body_device_apart(rank_run *run) {
    int64_t n = 200000 + 10 * run->e.rank;
    double *v = calloc((size_t)n, sizeof *v);
    run->status = hwb_comm_attach_device(run->ctx, &NET, NULL);
    if (run->status == HWB_OK) run->status = hwb_comm_sum(run->ctx, HWB_F64, n, v);
    free(v);
}

static void test_device_apart(void **state) {
    (void)state;
    static world w;
    rank_run runs[2];
    memset(&net, 0, sizeof net);
    pthread_mutex_init(&net.lock, NULL);
    run_ranks(&w, runs, 2, body_device_apart, 0);
    for (int r = 0; r < 2; r++) assert_int_equal(runs[r].status, HWB_EPEER);
    assert_int_equal(net.closed, 200);
    pthread_mutex_destroy(&net.lock);
}

/* ---- what can go wrong --------------------------------------------------------------------------------- */

/* Rank 1 does something else: everybody hears of it, nobody waits for ever. */
static void body_apart(rank_run *run) {
    double x[600] = {0};
    hwb_status st;
    if (run->e.rank == 1 && run->number == 0) st = hwb_comm_sum(run->ctx, HWB_F64, 2, x);
    else if (run->e.rank == 1 && run->number == 1)
        st = hwb_comm_broadcast(run->ctx, 0, sizeof x, x);
    else if (run->e.rank == 1 && run->number == 2) st = hwb_comm_barrier(run->ctx);
    else st = hwb_comm_sum(run->ctx, HWB_F64, 600, x);
    run->status = st;
    hwb_comm_fate mine = {.exit_code = st == HWB_OK ? 0 : hwb_status_exit_code(st), .status = st};
    hwb_comm_end(run->ctx, &mine, 5, run->fates);
    hwb_comm_close(run->ctx, mine.exit_code);
}

static void test_apart(void **state) {
    (void)state;
    static world w;
    rank_run runs[3];
    for (int kind = 0; kind < 3; kind++) {
        run_ranks(&w, runs, 3, body_apart, kind);
        for (int r = 0; r < 3; r++) assert_int_equal(runs[r].status, HWB_EPEER);
        assert_non_null(strstr(runs[1].message, "the ranks have come apart"));
        assert_non_null(strstr(runs[1].message, "a sum of 600 float64"));
    }
}

/* The same call on other things. */
static void body_marks(rank_run *run) {
    float w[100] = {0};
    hwb_tensor *t = NULL;
    double x = 1;
    w[40] = run->number && run->e.rank == 1 ? 1e-30f : 0;
    run->status = hwb_tensor_from(run->ctx, &t, HWB_F32, (hwb_shape){.ndim = 1, .dim = {100}}, w);
    hwb_comm_mark(run->ctx, hwb_comm_mark_of(1, "block", t, 50));
    hwb_tensor_release(t);
    if (run->status == HWB_OK) run->status = hwb_comm_sum(run->ctx, HWB_F64, 1, &x);
    /* a mark is for one call */
    if (run->status == HWB_OK) run->status = hwb_comm_sum(run->ctx, HWB_F64, 1, &x);
    run->values[0] = x;
}

static void test_marks(void **state) {
    (void)state;
    static world w;
    rank_run runs[2];
    run_ranks(&w, runs, 2, body_marks, 0);
    for (int r = 0; r < 2; r++) assert_true(runs[r].status == HWB_OK && runs[r].values[0] == 4);
    run_ranks(&w, runs, 2, body_marks, 1);
    for (int r = 0; r < 2; r++) {
        assert_int_equal(runs[r].status, HWB_EPEER);
        assert_non_null(strstr(runs[r].message, "a sum of 1 float64, is of other weights"));
    }
    assert_true(hwb_comm_mark_of(1, "a", NULL, 0) != hwb_comm_mark_of(1, "b", NULL, 0));
}

/* Rank 1 fails by itself while the others wait for it. */
static void body_failing(rank_run *run) {
    double x = 1;
    hwb_comm_fate mine = {0};
    if (run->e.rank == 1) {
        mine = (hwb_comm_fate){.exit_code = 5, .status = HWB_ENOMEM, .message = "no room"};
    } else {
        run->status = hwb_comm_sum(run->ctx, HWB_F64, 1, &x);
        mine = (hwb_comm_fate){.passed = hwb_comm_passed(run->ctx) != 0,
                               .exit_code = hwb_comm_passed(run->ctx),
                               .status = run->status};
        snprintf(mine.message, sizeof mine.message, "%.500s", hwb_message(run->ctx));
        run->values[0] = hwb_comm_sum(run->ctx, HWB_F64, 1, &x) != HWB_OK;
    }
    hwb_comm_end(run->ctx, &mine, 5, run->fates);
    hwb_comm_close(run->ctx, mine.exit_code);
}

static void test_failing(void **state) {
    (void)state;
    static world w;
    rank_run runs[4];
    run_ranks(&w, runs, 4, body_failing, 0);
    for (int r = 0; r < 4; r++) {
        if (r != 1) {
            assert_int_equal(runs[r].status, HWB_ENOMEM);
            assert_non_null(strstr(runs[r].message, "rank 1: no room"));
            assert_true(runs[r].values[0] == 1);
        }
        for (int p = 0; p < 4; p++) {
            assert_true(runs[r].fates[p].known);
            assert_int_equal(runs[r].fates[p].exit_code, 5);
            assert_int_equal(runs[r].fates[p].passed, p != 1);
        }
        assert_int_equal(w.how[r], HWB_CLOSE_ALONE); /* no peace, but nobody to kill */
    }
}

/* Rank 1 ends in peace while the others wait for it. */
static void body_leaving(rank_run *run) {
    double x = 1;
    hwb_comm_fate mine = {0};
    if (run->e.rank != 1) {
        run->status = hwb_comm_sum(run->ctx, HWB_F64, 1, &x);
        mine.exit_code = hwb_status_exit_code(run->status);
    }
    hwb_comm_end(run->ctx, &mine, 5, run->fates);
    hwb_comm_close(run->ctx, mine.exit_code);
}

static void test_leaving(void **state) {
    (void)state;
    static world w;
    rank_run runs[2];
    run_ranks(&w, runs, 2, body_leaving, 0);
    assert_int_equal(runs[0].status, HWB_EPEER);
    assert_non_null(strstr(runs[0].message, "rank 1 has ended, and rank 0 still waits for it"));
    assert_int_equal(runs[1].fates[0].exit_code, 8);
}

/* Rank 1 neither answers nor ends: `patience` later it is given up. */
static void body_silent(rank_run *run) {
    hwb_comm_fate mine = {.exit_code = 1, .message = "a fault"};
    if (run->e.rank == 1) return;
    double began = hwb_seconds();
    hwb_comm_end(run->ctx, &mine, 0.2, run->fates);
    run->values[0] = hwb_seconds() - began;
    hwb_comm_close(run->ctx, mine.exit_code);
}

static void test_silent(void **state) {
    (void)state;
    static world w;
    rank_run runs[2];
    run_ranks(&w, runs, 2, body_silent, 0);
    assert_true(runs[0].values[0] > 0.15 && runs[0].values[0] < 5);
    assert_false(runs[0].fates[1].known);
    assert_int_equal(w.how[0], HWB_CLOSE_KILL);
    assert_int_equal(w.close_code[0], 1);
}

static void body_refused(rank_run *run) {
    double x = 1;
    run->e.w->refuse = true;
    run->status = hwb_comm_sum(run->ctx, HWB_F64, 1, &x);
}

static void test_refused(void **state) {
    (void)state;
    static world w;
    rank_run runs[2];
    run_ranks(&w, runs, 2, body_refused, 0);
    for (int r = 0; r < 2; r++) {
        assert_int_equal(runs[r].status, HWB_EPEER);
        assert_non_null(strstr(runs[r].message, "failed: the cable is cut"));
        assert_int_equal(w.how[r], HWB_CLOSE_KILL);
        assert_int_equal(w.close_code[r], 8);
    }
}

/* A stop asked for while a rank waits. */
static void body_interrupted(rank_run *run) {
    double x = 1;
    if (run->e.rank == 1) {
        hwb_interrupt();
        return;
    }
    run->status = hwb_comm_sum(run->ctx, HWB_F64, 1, &x);
}

static void test_interrupted(void **state) {
    (void)state;
    static world w;
    rank_run runs[2];
    run_ranks(&w, runs, 2, body_interrupted, 0);
    hwb_interrupt_clear();
    assert_int_equal(runs[0].status, HWB_EINTR);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_self),         cmocka_unit_test(test_parts),
        cmocka_unit_test(test_sums),         cmocka_unit_test(test_tensor),
        cmocka_unit_test(test_broadcasts),   cmocka_unit_test(test_device),
        cmocka_unit_test(test_device_apart), cmocka_unit_test(test_apart),
        cmocka_unit_test(test_marks),        cmocka_unit_test(test_failing),
        cmocka_unit_test(test_leaving),      cmocka_unit_test(test_silent),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_interrupted),
    };
    return RUN_TESTS(tests);
}
