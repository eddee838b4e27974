/*
 * test_base.c: engine/base: status tables, messages, the memory account and
 * its failure injection, interrupts, Philox against the published vectors.
 */
#include "testing.h"

#include <pthread.h>

/* ---- status and messages -------------------------------------------------------- */

static void test_status_tables(void **state) {
    (void)state;
    assert_string_equal(hwb_status_name(HWB_OK), "OK");
    assert_string_equal(hwb_status_name(HWB_ESHAPE), "ESHAPE");
    assert_string_equal(hwb_status_text(HWB_ENOMEM), "out of memory");
    assert_int_equal(hwb_status_exit_code(HWB_OK), 0);
    assert_int_equal(hwb_status_exit_code(HWB_EINTR), 130);
    assert_int_equal(hwb_status_exit_code(HWB_ENOMEM), 5);
    assert_int_equal(hwb_status_exit_code(HWB_EFORMAT), 3);
    assert_string_equal(hwb_status_name((hwb_status)-999), "EINTERNAL");
    assert_int_equal(hwb_status_exit_code((hwb_status)77), 1);
}

static void test_messages(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    assert_string_equal(hwb_message(ctx), "");
    assert_int_equal(hwb_fail(ctx, HWB_ESHAPE, "mm: %d x %d", 2, 3), HWB_ESHAPE);
    assert_string_equal(hwb_message(ctx), "mm: 2 x 3");
    /* The message itself may be an argument. */
    hwb_fail(ctx, HWB_EIO, "again (%s)", hwb_message(ctx));
    assert_string_equal(hwb_message(ctx), "again (mm: 2 x 3)");
    assert_int_equal(hwb_fail_in(ctx, HWB_EIO, "x%d.th", 1), HWB_EIO);
    assert_string_equal(hwb_message(ctx), "x1.th: again (mm: 2 x 3)");
    /* One line, whatever a file name holds. */
    hwb_fail(ctx, HWB_EIO, "bad\nname\t%s", "\x1b[31m");
    assert_null(strpbrk(hwb_message(ctx), "\n\t\x1b"));
    assert_int_equal(hwb_fail(NULL, HWB_EARG, "no context, no crash"), HWB_EARG);
    assert_non_null(hwb_message(NULL));
    test_ctx_free(ctx);
}

static void test_long_message_is_cut_on_a_character(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    char long_text[4001];
    for (int shift = 0; shift < 3; shift++) {
        for (int i = 0; i < 4000; i++) long_text[i] = "\xE2\x80\xA6"[(i + shift) % 3];
        long_text[4000] = '\0';
        const char *start = long_text + (3 - shift) % 3; /* at a whole "…" */
        hwb_fail(ctx, HWB_EARG, "%.*s%s", shift, "ab", start);
        const char *got = hwb_message(ctx);
        size_t n = strlen(got);
        size_t lead = (size_t)(shift < 2 ? shift : 2);
        assert_in_range(n, 1000, 1023);
        assert_int_equal((n - lead) % 3, 0);
    }
    test_ctx_free(ctx);
}

static void test_fork_has_its_own_message(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new(), *fork = NULL;
    hwb_set_threads(ctx, 3);
    assert_ok(ctx, hwb_ctx_fork(ctx, &fork));
    assert_int_equal(hwb_threads(fork), 3);
    hwb_fail(fork, HWB_EIO, "worker");
    assert_string_equal(hwb_message(ctx), "");
    void *p = hwb_alloc(fork, 100);
    assert_int_equal(hwb_memory(ctx).live, 100);
    hwb_free(p);
    hwb_ctx_free(fork);
    hwb_set_threads(ctx, 0);
    assert_true(hwb_threads(ctx) >= 1);
    test_ctx_free(ctx);
    hwb_ctx_free(NULL);
}

static char slot_trace[16];
static void free_slot(void *p) {
    strcat(slot_trace, p);
}

static void test_slots_are_freed_in_reverse(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    slot_trace[0] = '\0';
    static char a[] = "a", b[] = "b", c[] = "c";
    hwb_ctx_set_slot(ctx, HWB_SLOT_BACKENDS, a, free_slot);
    hwb_ctx_set_slot(ctx, HWB_SLOT_EAGER, b, free_slot);
    hwb_ctx_set_slot(ctx, HWB_SLOT_EAGER, c, free_slot); /* replaces b, freeing it */
    assert_string_equal(slot_trace, "b");
    assert_ptr_equal(hwb_ctx_slot(ctx, HWB_SLOT_EAGER), c);
    assert_null(hwb_ctx_slot(ctx, HWB_SLOT_COMM));
    hwb_ctx_free(ctx);
    assert_string_equal(slot_trace, "bca");
}

/* ---- memory ----------------------------------------------------------------------------- */

static void test_account(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    void *a = hwb_alloc(ctx, 1000), *b = hwb_calloc(ctx, 5000), *empty = hwb_alloc(ctx, 0);
    assert_true(a && b && empty && empty != a);
    assert_int_equal((uintptr_t)a % 64, 0);
    assert_int_equal((uintptr_t)b % 64, 0);
    for (int i = 0; i < 5000; i++) assert_int_equal(((char *)b)[i], 0);
    memset(a, 1, 1000);
    assert_int_equal(hwb_memory(ctx).live, 6000);
    hwb_free(b);
    assert_int_equal(hwb_memory(ctx).live, 1000);
    assert_int_equal(hwb_memory(ctx).peak, 6000);
    hwb_memory_reset_peak(ctx);
    assert_int_equal(hwb_memory(ctx).peak, 1000);
    assert_int_equal(hwb_memory(ctx).allocations, 3);
    hwb_free(a);
    hwb_free(empty);
    hwb_free(NULL);
    hwb_memory_count_device(ctx, 300);
    hwb_memory_count_device(ctx, -100);
    assert_int_equal(hwb_memory(ctx).device_live, 200);
    assert_int_equal(hwb_memory(ctx).device_peak, 300);
    test_ctx_free(ctx);
}

static void test_limit(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_memory_set_limit(ctx, 3 << 20);
    void *a = hwb_alloc(ctx, 2 << 20);
    assert_non_null(a);
    assert_null(hwb_alloc(ctx, 2 << 20));
    assert_non_null(strstr(hwb_message(ctx), "limit 3.0 MiB"));
    assert_int_equal(hwb_memory(ctx).live, 2 << 20); /* a refused block leaves no trace */
    hwb_free(a);
    a = hwb_alloc(ctx, 3 << 20);
    assert_non_null(a);
    hwb_free(a);
    hwb_memory_set_limit(ctx, 0);
    assert_null(hwb_alloc(ctx, SIZE_MAX)); /* no wrap-around of sizes */
    assert_null(hwb_alloc(ctx, SIZE_MAX - 64));
    assert_null(hwb_alloc(ctx, (size_t)1 << 62));
    test_ctx_free(ctx);
}

static void test_failure_injection(void **state) {
    (void)state;
    setenv("HWB_TEST_FAIL_ALLOC", "2", 1);
    hwb_ctx *ctx = test_ctx_new();
    unsetenv("HWB_TEST_FAIL_ALLOC");
    void *a = hwb_alloc(ctx, 8), *b = hwb_alloc(ctx, 8), *c = hwb_alloc(ctx, 8);
    assert_non_null(a);
    assert_null(b);
    assert_non_null(c);
    assert_non_null(strstr(hwb_message(ctx), "out of memory"));
    hwb_free(a);
    hwb_free(c);
    test_ctx_free(ctx);
}

static void test_big_blocks_are_reused_and_counted(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    size_t mib = 1 << 20;
    for (int round = 0; round < 50; round++) {
        void *p[8];
        for (size_t i = 0; i < 8; i++) {
            size_t bytes = (i + 1) * mib + (size_t)round * 64 + 1;
            p[i] = hwb_alloc(ctx, bytes);
            assert_non_null(p[i]);
            assert_int_equal((uintptr_t)p[i] % 64, 0);
            memset(p[i], round, bytes); /* overlapping blocks would trip the check below */
        }
        for (size_t i = 0; i < 8; i++) {
            const unsigned char *q = p[i];
            assert_int_equal(q[0], round);
            assert_int_equal(q[(i + 1) * mib + (size_t)round * 64], round);
        }
        assert_in_range(hwb_memory(ctx).live, 36 * mib, 37 * mib);
        for (size_t i = 0; i < 8; i++) hwb_free(p[i]);
        assert_int_equal(hwb_memory(ctx).live, 0);
    }
    test_ctx_free(ctx);
}

/* The cache of big blocks, seen from outside: the same memory comes back. */
static void test_cache_of_big_blocks(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    TEST_SKIP("sanitized builds free every block at once");
#else
    hwb_ctx *ctx = test_ctx_new();
    size_t mib = 1 << 20;
    void *a = hwb_alloc(ctx, 4 * mib + 1);
    uintptr_t at = (uintptr_t)a;
    hwb_free(a);
    a = hwb_alloc(ctx, 4 * mib);
    assert_true((uintptr_t)a == at);
    assert_int_equal(hwb_memory(ctx).live, 4 * mib);
    hwb_free(a);
    /* Two at a time, for as long as one likes. */
    a = hwb_alloc(ctx, 4 * mib);
    void *b = hwb_alloc(ctx, 5 * mib);
    uintptr_t at_b = (uintptr_t)b;
    for (int i = 0; i < 300; i++) {
        hwb_free(a);
        hwb_free(b);
        a = hwb_alloc(ctx, 4 * mib);
        b = hwb_alloc(ctx, 5 * mib);
        assert_true((uintptr_t)a == at && (uintptr_t)b == at_b);
    }
    hwb_free(a);
    hwb_free(b);
    /* Memory that waits does not stand against the limit. */
    hwb_memory_set_limit(ctx, 5 * mib);
    a = hwb_alloc(ctx, 5 * mib);
    assert_non_null(a);
    hwb_free(a);
    test_ctx_free(ctx);
#endif
}

static void test_block_outlives_context(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    char *small = hwb_alloc(ctx, 100), *big = hwb_alloc(ctx, 2 << 20);
    hwb_ctx_free(ctx);
    memset(small, 7, 100);
    memset(big, 7, 2 << 20);
    hwb_free(small);
    hwb_free(big);
}

static void *churn(void *arg) {
    hwb_ctx *ctx = arg;
    for (int i = 0; i < 300; i++) {
        void *a = hwb_alloc(ctx, (size_t)(i % 7) * 400000 + 1), *b = hwb_alloc(ctx, 1 << 20);
        if (a) memset(a, 1, 1);
        hwb_free(a);
        hwb_free(b);
    }
    return NULL;
}

static void test_account_from_many_threads(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new(), *fork[4];
    pthread_t thread[4];
    for (int i = 0; i < 4; i++) {
        assert_ok(ctx, hwb_ctx_fork(ctx, &fork[i]));
        assert_int_equal(pthread_create(&thread[i], NULL, churn, fork[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
        hwb_ctx_free(fork[i]);
    }
    assert_int_equal(hwb_memory(ctx).live, 0);
    assert_int_equal(hwb_memory(ctx).allocations, 2400);
    test_ctx_free(ctx);
}

static void test_debug_memory_is_poisoned(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    double *p = hwb_alloc(ctx, 4 * sizeof *p);
#ifdef NDEBUG
    hwb_free(p);
    test_ctx_free(ctx);
    TEST_SKIP("release builds do not poison memory");
#else
    for (int i = 0; i < 4; i++) assert_true(isnan(p[i]));
    hwb_free(p);
    test_ctx_free(ctx);
#endif
}

/* ---- interrupts, log, progress -------------------------------------------------------------- */

static void test_interrupt(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    assert_ok(ctx, hwb_check_interrupt(ctx));
    hwb_interrupt();
    assert_true(hwb_interrupted());
    assert_fails(ctx, hwb_check_interrupt(ctx), HWB_EINTR, "interrupted");
    hwb_interrupt_clear();
    assert_ok(ctx, hwb_check_interrupt(ctx));
    test_ctx_free(ctx);
}

static void log_into(void *user, hwb_log_level level, const char *text) {
    snprintf(user, 64, "%d %s", (int)level, text);
}

static void progress_into(void *user, const char *what, int64_t done, int64_t total,
                          const char *note) {
    snprintf(user, 64, "%s %lld/%lld '%s'", what, (long long)done, (long long)total, note);
}

static void test_sinks(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    char got[64] = "";
    hwb_note(HWB_LOG_WARN, "nobody %d", 1);
    hwb_progress(ctx, "nobody", 1, 2, NULL);
    hwb_set_log(log_into, got);
    hwb_note(HWB_LOG_WARN, "hello %d", 5);
    assert_string_equal(got, "2 hello 5");
    hwb_set_log(NULL, NULL);
    hwb_set_progress(ctx, progress_into, got);
    hwb_progress(ctx, "epoch", 3, 9, NULL);
    assert_string_equal(got, "epoch 3/9 ''");
    double t = hwb_seconds();
    assert_true(hwb_seconds() >= t);
    test_ctx_free(ctx);
}

/* ---- random numbers ---------------------------------------------------------------------------- */

/* Known answers of Random123 (kat_vectors, philox4x32 with 10 rounds). */
static void test_philox_known_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } kat[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof kat / sizeof kat[0]; i++) {
        const uint32_t *c = kat[i].counter, *k = kat[i].key;
        hwb_rng rng = {.seed = (uint64_t)k[1] << 32 | k[0], .stream = (uint64_t)c[3] << 32 | c[2]};
        uint32_t got[4];
        hwb_philox(rng, (uint64_t)c[1] << 32 | c[0], got);
        assert_memory_equal(got, kat[i].want, sizeof got);
    }
}

static void test_moments(void **state) {
    (void)state;
    enum { N = 200000 };
    hwb_rng rng = {.seed = 1, .stream = hwb_rng_stream("test", 0, 0)};
    double u1 = 0, u2 = 0, z1 = 0, z2 = 0, z4 = 0, s1 = 0, lag = 0, last = 0;
    for (uint64_t i = 0; i < N; i++) {
        double u = hwb_rng_uniform(rng, i), z = hwb_rng_normal(rng, i), s = hwb_rng_sign(rng, i);
        assert_true(u >= 0 && u < 1);
        assert_true(s == 1 || s == -1);
        u1 += u, u2 += u * u, z1 += z, z2 += z * z, z4 += z * z * z * z, s1 += s;
        lag += z * last;
        last = z;
    }
    /* six standard errors each */
    double se = 6 / sqrt(N);
    assert_near(u1 / N, 0.5, se * sqrt(1.0 / 12));
    assert_near(u2 / N, 1.0 / 3, se * sqrt(4.0 / 45));
    assert_near(z1 / N, 0, se);
    assert_near(z2 / N, 1, se * sqrt(2));
    assert_near(z4 / N, 3, se * sqrt(96));
    assert_near(s1 / N, 0, se);
    assert_near(lag / N, 0, se); /* the two of a Box-Muller pair, and neighbours */
}

/* Box and Muller's formula in long double: three units in the last place of the radius. */
static void test_normals(void **state) {
    (void)state;
    enum { N = 20000 };
    hwb_rng rng = {.seed = 8, .stream = 4};
    static double z[N];
    hwb_rng_normals(rng, 0, N, z);
    for (uint64_t i = 0; i < N; i++) {
        double u = hwb_rng_uniform(rng, i - i % 2), v = hwb_rng_uniform(rng, i - i % 2 + 1);
        long double radius = sqrtl(-2 * log1pl(-(long double)u)), angle = 2 * acosl(-1) * v;
        long double want = radius * (i % 2 ? sinl(angle) : cosl(angle));
        assert_true(fabsl((long double)z[i] - want) <= 3 * 0x1p-53L * radius);
    }
}

/* Many at once are the same numbers, wherever a run starts and ends. */
static void test_runs(void **state) {
    (void)state;
    hwb_rng rng = {.seed = 21, .stream = 3};
    static const uint64_t first[] = {0, 1, 127, 128, 129, 1000003, UINT64_MAX / 3};
    double u[300], z[300], s[300];
    for (size_t k = 0; k < sizeof first / sizeof first[0]; k++)
        for (int64_t n = 0; n <= 300; n += 100) {
            hwb_rng_uniforms(rng, first[k], n, u);
            hwb_rng_normals(rng, first[k], n, z);
            hwb_rng_signs(rng, first[k], n, s);
            for (int64_t i = 0; i < n; i++) {
                uint64_t at = first[k] + (uint64_t)i;
                assert_true(u[i] == hwb_rng_uniform(rng, at));
                assert_true(z[i] == hwb_rng_normal(rng, at));
                assert_true(s[i] == hwb_rng_sign(rng, at));
            }
        }
}

static void test_below_is_uniform(void **state) {
    (void)state;
    hwb_rng rng = {.seed = 5, .stream = 9};
    int64_t count[7] = {0};
    for (uint64_t i = 0; i < 70000; i++) {
        uint64_t k = hwb_rng_below(rng, i, 7);
        assert_true(k < 7);
        count[k]++;
    }
    double chi2 = 0;
    for (int i = 0; i < 7; i++) chi2 += (double)((count[i] - 10000) * (count[i] - 10000)) / 10000.0;
    assert_true(chi2 < 30); /* 6 degrees of freedom: p = 4e-5 */
    assert_int_equal(hwb_rng_below(rng, 3, 1), 0);
    assert_int_equal(hwb_rng_below(rng, 3, 0), 0);
    uint64_t huge = UINT64_MAX, top = 0;
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t k = hwb_rng_below(rng, i, huge);
        assert_true(k < huge);
        if (k > top) top = k;
    }
    assert_true(top > huge / 2);
}

static void test_streams_differ(void **state) {
    (void)state;
    uint64_t ids[] = {hwb_rng_stream("augment", 0, 0), hwb_rng_stream("augment", 0, 1),
                      hwb_rng_stream("augment", 1, 0), hwb_rng_stream("shuffle", 0, 0),
                      hwb_rng_stream("", 0, 0)};
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < i; j++) assert_true(ids[i] != ids[j]);
    assert_true(hwb_rng_stream("augment", 1, 2) == hwb_rng_stream("augment", 1, 2));
}

static void test_permutation(void **state) {
    (void)state;
    enum { N = 1000 };
    int64_t a[N], b[N];
    char seen[N] = {0};
    hwb_rng_permutation((hwb_rng){1, 2}, N, a);
    hwb_rng_permutation((hwb_rng){1, 2}, N, b);
    assert_memory_equal(a, b, sizeof a);
    int fixed = 0;
    for (int i = 0; i < N; i++) {
        assert_in_range(a[i], 0, N - 1);
        assert_false(seen[a[i]]);
        seen[a[i]] = 1;
        fixed += a[i] == i;
    }
    assert_true(fixed < 10); /* one is expected */
    hwb_rng_permutation((hwb_rng){1, 3}, N, b);
    assert_true(memcmp(a, b, sizeof a) != 0);
    /* All six orders of three turn up equally often. */
    int orders[27] = {0};
    for (uint64_t seed = 0; seed < 6000; seed++) {
        hwb_rng_permutation((hwb_rng){seed, 0}, 3, a);
        orders[a[0] * 9 + a[1] * 3 + a[2]]++;
    }
    for (int i = 0; i < 27; i++)
        if (orders[i]) assert_in_range(orders[i], 830, 1170); /* 1000 +- 6 sigma */
    hwb_rng_permutation((hwb_rng){1, 3}, 0, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_tables),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_long_message_is_cut_on_a_character),
        cmocka_unit_test(test_fork_has_its_own_message),
        cmocka_unit_test(test_slots_are_freed_in_reverse),
        cmocka_unit_test(test_account),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_failure_injection),
        cmocka_unit_test(test_big_blocks_are_reused_and_counted),
        cmocka_unit_test(test_cache_of_big_blocks),
        cmocka_unit_test(test_block_outlives_context),
        cmocka_unit_test(test_account_from_many_threads),
        cmocka_unit_test(test_debug_memory_is_poisoned),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_sinks),
        cmocka_unit_test(test_philox_known_answers),
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_normals),
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_below_is_uniform),
        cmocka_unit_test(test_streams_differ),
        cmocka_unit_test(test_permutation),
    };
    return RUN_TESTS(tests);
}
