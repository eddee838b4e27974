/*
 * test_cuda_ops.c: every primitive operation on the device against ref
 * (HWB_TEST_DEVICE=cuda; skipped without one).
 */
#include "cases.h"
#include "cuda_check.h"

static void all_right(void) {
    const int wrong = cuda_wrong;
    cuda_wrong = 0;
    if (wrong) fail_msg("%d cases are wrong", wrong);
}

#define FAMILY(name)                                                                               \
    static void test_##name(void **state) {                                                        \
        (void)state;                                                                               \
        cases_##name(cuda_kernel);                                                                 \
        all_right();                                                                               \
    }
FAMILY(pointwise)
FAMILY(cast)
FAMILY(reduce)
FAMILY(move)
FAMILY(index)
FAMILY(pool)
FAMILY(conv)
FAMILY(matmul)
FAMILY(groups)

/* ---- what products are computed in -------------------------------------------------- */

static double most_error;

/* |got - want| / |want|, noted */
static void note_error(check *c) {
    char *got[HWB_FUSED_MAX_OUT], *want[HWB_FUSED_MAX_OUT];
    if (c->out[0].dtype != HWB_F32 || hwb_shape_numel(&c->out[0].shape) == 0) return;
    c->d.in = c->in;
    c->d.out = c->out;
    check_run(cuda_ctx, "ref", c, want);
    assert_ok(cuda_ctx, cuda_run(c, got));
    double off = 0, all = 0;
    for (int64_t i = 0; i < hwb_shape_numel(&c->out[0].shape); i++) {
        double x = (double)((float *)(void *)got[0])[i], y = (double)((float *)(void *)want[0])[i];
        off += (x - y) * (x - y);
        all += y * y;
    }
    const double error = sqrt(off / all); /* empty sums, 0/0, are none of our business */
    if (all > 0 && !(error <= most_error)) most_error = error;
    check_release(got[0]);
    check_release(want[0]);
}

static void configure(hwb_math math, bool deterministic) {
    assert_ok(cuda_ctx, hwb_device_configure(cuda_ctx, &(hwb_device_options){math, deterministic}));
}

/* Shapes that tensor units are made for. */
static void large_conv(case_fn f, bool exact) {
    check c = {.d = {.op = HWB_OP_CONV, .n_in = 2, .n_out = 1, .exact = exact}};
    for (int i = 0; i < 2; i++) c.d.attrs.stride[i] = c.d.attrs.dilation[i] = 1;
    c.d.attrs.groups = 1;
    c.d.attrs.channels_last = 1;
    c.in[0] = (hwb_vdesc){HWB_F32, case_image(true, 0, 2, 32, 18, 18)};
    c.in[1] = (hwb_vdesc){HWB_F32, hwb_shape_of(4, 32, 32, 3, 3)};
    c.out[0] = (hwb_vdesc){HWB_F32, case_image(true, 0, 2, 32, 16, 16)};
    f(&c);
}

static void large_product(case_fn f) {
    check c = {.d = {.op = HWB_OP_MATMUL, .n_in = 2, .n_out = 1}};
    for (int i = 0; i < 2; i++) c.in[i] = (hwb_vdesc){HWB_F32, hwb_shape_of(2, 128, 128)};
    c.out[0] = c.in[0];
    f(&c);
}

/* bf16 keeps 8 bits of an operand, TF32 11: no error of that size, and they were not used.
 * Not every shape need use them. */
static void test_math(void **state) {
    (void)state;
    static const struct {
        hwb_math math;
        double least, most;
    } want[] = {{HWB_MATH_TF32, 1e-5, 2e-3}, {HWB_MATH_BF16, 3e-4, 2e-2}};
    for (int i = 0; i < 2; i++) {
        most_error = 0;
        configure(want[i].math, true);
        cases_conv(note_error);
        cases_matmul(note_error);
        large_conv(note_error, false);
        large_product(note_error);
        if (!(most_error > want[i].least && most_error < want[i].most))
            fail_msg("math %d: errors up to %g", (int)want[i].math, most_error);
    }
    configure(HWB_MATH_EXACT, true);
}

/* Kernels that must not round more than sums do stay exact under any option. */
static void test_exact(void **state) {
    (void)state;
    configure(HWB_MATH_BF16, true);
    large_conv(cuda_kernel, true);
    configure(HWB_MATH_EXACT, true);
    all_right();
}

/* Algorithms by measured times: last bits may vary, no more. */
static void test_timed(void **state) {
    (void)state;
    configure(HWB_MATH_EXACT, false);
    cases_conv(cuda_kernel);
    configure(HWB_MATH_EXACT, true);
    all_right();
}

/* NaN, infinities and signed zeros go through as in ref; CUDA's manual gives powf 4 units
 * in the last place, and a sigmoid is made of three operations. */
static void test_special_values(void **state) {
    (void)state;
    static const float special[] = {NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 1e-42f, 3e38f, -2.5f};
    enum { N = sizeof special / sizeof *special };
    const hwb_backend *b = cuda_dev->backend, *ref = hwb_backend_ref();
    float x[2][N * N], want[N * N], got[N * N];
    hwb_vdesc v[2] = {{HWB_F32, hwb_shape_of(1, N * N)}, {HWB_F32, hwb_shape_of(1, N * N)}};
    for (int i = 0; i < N * N; i++) x[0][i] = special[i / N], x[1][i] = special[i % N];
    char *in[2] = {cuda_buffer(&v[0], (char *)x[0]), cuda_buffer(&v[1], (char *)x[1])};
    char *out = cuda_buffer(&v[0], NULL);
    for (int op = 0; op < HWB_OP_COUNT; op++) {
        if (!hwb_op_is_pointwise((hwb_op)op) || op == HWB_OP_WHERE || op == HWB_OP_CAST) continue;
        if (hwb_op_family((hwb_op)op) == HWB_FAMILY_COMPARE) continue;
        hwb_kdesc d = {
            .op = (hwb_op)op, .n_in = hwb_op_arity((hwb_op)op), .n_out = 1, .in = v, .out = v};
        hwb_kernel *k = NULL;
        uint64_t versions[2] = {0};
        assert_ok(cuda_ctx, ref->prepare(cuda_ctx, NULL, &k, &d));
        assert_ok(cuda_ctx, ref->run(cuda_ctx, NULL, k, (const void *[]){x[0], x[1]}, versions,
                                     (void *[]){want}));
        ref->kernel_free(NULL, k);
        assert_ok(cuda_ctx, b->prepare(cuda_ctx, cuda_dev->state, &k, &d));
        assert_ok(cuda_ctx, b->run(cuda_ctx, cuda_dev->state, k, (const void *[]){in[0], in[1]},
                                   versions, (void *[]){out}));
        b->kernel_free(cuda_dev->state, k);
        cuda_fetch(&v[0], out, (char *)got);
        for (int i = 0; i < N * N; i++) {
            bool same = want[i] == got[i] || (isnan(want[i]) && isnan(got[i])) ||
                        fabsf(want[i] - got[i]) <= 1e-6f * fabsf(want[i]) + 1e-44f;
            if (!same)
                fail_msg("%s(%g, %g) is %g, ref says %g", hwb_op_name((hwb_op)op), (double)x[0][i],
                         (double)x[1][i], (double)got[i], (double)want[i]);
        }
    }
    for (int i = 0; i < 2; i++) cuda_drop(in[i]);
    cuda_drop(out);
}

/* The adjoint of max-pooling by windows, with the indices that max-pooling makes. */
static void pool_adjoint(hwb_dtype t, bool last, int k) {
    const hwb_backend *ref = hwb_backend_ref();
    check c = {.d = {.op = HWB_OP_MAXPOOL_INDEX, .n_in = 1, .n_out = 1}, .seed = 5};
    hwb_attrs *a = &c.d.attrs;
    for (int i = 0; i < 2; i++) a->kernel[i] = 3, a->stride[i] = 2, a->pad_lo[i] = 1;
    a->pad_hi[0] = a->pad_hi[1] = a->dilation[0] = a->dilation[1] = 1;
    a->channels_last = last;
    c.in[0] = (hwb_vdesc){t, case_image(last, 0, 2, 5, 9, 8)};
    c.out[0] = (hwb_vdesc){HWB_I32, case_image(last, 0, 2, 5, 5, 4)};
    c.d.in = c.in, c.d.out = c.out;
    char *index[1], *want, *got;
    check_run(cuda_ctx, "ref", &c, index);
    const hwb_vdesc in[2] = {{t, case_image(last, k, 2, 5, 5, 4)}, c.out[0]};
    const hwb_vdesc out = {t, case_image(last, k, 2, 5, 9, 8)};
    hwb_kdesc d = {.op = HWB_OP_POOL_SCATTER, .attrs = *a, .n_in = 2, .n_out = 1};
    d.in = in, d.out = &out;
    d.attrs.shape = out.shape;
    char *y = check_buffer(cuda_ctx, &in[0]);
    check_fill(&c, &in[0], y, 9);
    want = check_buffer(cuda_ctx, &out), got = check_buffer(cuda_ctx, &out);
    uint64_t versions[2] = {0};
    hwb_kernel *kernel = NULL;
    assert_ok(cuda_ctx, ref->prepare(cuda_ctx, NULL, &kernel, &d));
    assert_ok(cuda_ctx, ref->run(cuda_ctx, NULL, kernel, (const void *[]){y, index[0]}, versions,
                                 (void *[]){want}));
    ref->kernel_free(NULL, kernel);
    const hwb_backend *b = cuda_dev->backend;
    void *s = cuda_dev->state;
    char *at[3] = {cuda_buffer(&in[0], y), cuda_buffer(&in[1], index[0]), cuda_buffer(&out, NULL)};
    assert_ok(cuda_ctx, b->prepare(cuda_ctx, s, &kernel, &d));
    assert_ok(cuda_ctx, b->run(cuda_ctx, s, kernel, (const void *[]){at[0], at[1]}, versions,
                               (void *[]){at[2]}));
    b->kernel_free(s, kernel);
    cuda_fetch(&out, at[2], got);
    c.out[0] = out;
    check_same(&c, 0, got, want);
    for (int i = 0; i < 3; i++) cuda_drop(at[i]);
    check_release(y), check_release(want), check_release(got), check_release(index[0]);
}

static void test_pool_adjoint(void **state) {
    (void)state;
    for (int turn = 0; turn < 8; turn++)
        pool_adjoint(turn & 2 ? HWB_F64 : HWB_F32, turn & 1, turn & 4 ? 3 : 0);
}

/* An index out of range is reported when a result is fetched, once. */
static void test_bad_index(void **state) {
    (void)state;
    const hwb_backend *b = cuda_dev->backend;
    const int32_t index[4] = {0, 2, 5, 1};
    float table[12] = {0}, got[12];
    hwb_vdesc in[2] = {{HWB_F32, hwb_shape_of(2, 4, 3)}, {HWB_I32, hwb_shape_of(1, 4)}};
    hwb_kdesc d = {
        .op = HWB_OP_GATHER, .n_in = 2, .n_out = 1, .in = in, .out = in, .scope = "embeddings"};
    char *x = cuda_buffer(&in[0], (char *)table), *i = cuda_buffer(&in[1], (const char *)index);
    char *y = cuda_buffer(&in[0], NULL);
    hwb_kernel *k = NULL;
    uint64_t versions[2] = {0};
    assert_ok(cuda_ctx, b->prepare(cuda_ctx, cuda_dev->state, &k, &d));
    assert_ok(cuda_ctx, b->run(cuda_ctx, cuda_dev->state, k, (const void *[]){x, i}, versions,
                               (void *[]){y}));
    assert_fails(
        cuda_ctx, b->mem_get(cuda_ctx, cuda_dev->state, got, y, sizeof got), HWB_EARG,
        "gather in embeddings: index 6 at place 3, but dim 1 has 4 rows (all counted from 1)");
    assert_ok(cuda_ctx, b->mem_get(cuda_ctx, cuda_dev->state, got, y, sizeof got));
    b->kernel_free(cuda_dev->state, k);
    cuda_drop(x);
    cuda_drop(i);
    cuda_drop(y);
}

/* Freed memory is handed out again, and the account returns to where it was. */
static void test_memory(void **state) {
    (void)state;
    const hwb_backend *b = cuda_dev->backend;
    size_t before = hwb_memory(cuda_ctx).device_live;
    void *p = b->mem_alloc(cuda_ctx, cuda_dev->state, 100000);
    assert_non_null(p);
    assert_true(hwb_memory(cuda_ctx).device_live >= before + 100000);
    b->mem_free(cuda_dev->state, p);
    assert_int_equal(hwb_memory(cuda_ctx).device_live, before);
    const char *pool = getenv("HWB_CUDA_POOL");
    if (!pool || strcmp(pool, "no") != 0) {
        assert_ptr_equal(b->mem_alloc(cuda_ctx, cuda_dev->state, 99000), p);
        b->mem_free(cuda_dev->state, p);
    }
    assert_null(b->mem_alloc(cuda_ctx, cuda_dev->state, (size_t)1 << 50));
    p = b->mem_alloc(cuda_ctx, cuda_dev->state, 0);
    assert_non_null(p);
    b->mem_free(cuda_dev->state, p);
    b->mem_free(cuda_dev->state, NULL);
}

/* Small copies up are gathered: their order counts where they meet, the host may write on
 * at once, memory that is given back takes its copy along, and seven hundred are more
 * than one batch. */
static void test_small_copies(void **state) {
    (void)state;
    const hwb_backend *b = cuda_dev->backend;
    void *s = cuda_dev->state;
    enum { N = 700, STEP = 6016 };
    static char host[STEP], want[N * STEP], got[N * STEP];
    char *at = b->mem_alloc(cuda_ctx, s, sizeof got), *gone = b->mem_alloc(cuda_ctx, s, STEP);
    assert_true(at && gone);
    memset(want, 1, sizeof want);
    assert_ok(cuda_ctx, b->mem_put(cuda_ctx, s, at, want, sizeof want));
    for (int i = 0; i < N; i++) {
        const size_t bytes = i % 7 ? 4 + (size_t)i * 36 % (STEP - 16) : 5; /* some not in words */
        for (int turn = 0; turn < 2; turn++) {                             /* the second counts */
            memset(host, i + turn, STEP);
            assert_ok(cuda_ctx, b->mem_put(cuda_ctx, s, at + i * STEP, host, bytes));
        }
        memset(want + i * STEP, i + 1, bytes);
    }
    assert_ok(cuda_ctx, b->mem_put(cuda_ctx, s, gone, host, STEP));
    b->mem_free(s, gone);
    assert_ok(cuda_ctx, b->mem_put(cuda_ctx, s, at + 8, host, 8)); /* under a large one */
    assert_ok(cuda_ctx, b->mem_put(cuda_ctx, s, at, want, STEP * 100));
    assert_ok(cuda_ctx, b->mem_get(cuda_ctx, s, got, at, sizeof got));
    assert_memory_equal(got, want, sizeof got);
    b->mem_free(s, at);
}

/* Copies of more than the pinned buffers hold, there and back; the second begins while the
 * first is under way. */
static void test_large_copies(void **state) {
    (void)state;
    const hwb_backend *b = cuda_dev->backend;
    static const size_t sizes[] = {(8u << 20) + 1, (16u << 20), (33u << 20) + 77};
    enum { N = sizeof sizes / sizeof *sizes };
    char *host[N], *at[N], *back = malloc(sizes[N - 1]);
    for (int i = 0; i < N; i++) {
        host[i] = malloc(sizes[i]);
        at[i] = b->mem_alloc(cuda_ctx, cuda_dev->state, sizes[i]);
        assert_true(host[i] && at[i] && back);
        for (size_t j = 0; j < sizes[i]; j++) host[i][j] = (char)(j * 2654435761u >> 13);
        assert_ok(cuda_ctx, b->mem_put(cuda_ctx, cuda_dev->state, at[i], host[i], sizes[i]));
        for (size_t j = 0; j < sizes[i]; j++) host[i][j] ^= 1; /* the host may write on at once */
    }
    for (int i = 0; i < N; i++) {
        memset(back, 0, sizes[i]);
        assert_ok(cuda_ctx, b->mem_get(cuda_ctx, cuda_dev->state, back, at[i], sizes[i]));
        for (size_t j = 0; j < sizes[i]; j++) host[i][j] ^= 1;
        assert_memory_equal(back, host[i], sizes[i]);
        b->mem_free(cuda_dev->state, at[i]);
        free(host[i]);
    }
    free(back);
}

/* A second context of the process has memory, handles and a stream of its own; the kernels are
 * shared; what it leaves is none of the first one's business. */
static void test_two_contexts(void **state) {
    (void)state;
    hwb_ctx *first = cuda_ctx, *second = test_ctx_new();
    hwb_device *device = cuda_dev, *other = NULL;
    for (int turn = 0; turn < 2; turn++) {
        large_product(cuda_kernel);
        if (!other) assert_ok(second, hwb_device_open(second, &other, "cuda"));
        assert_ptr_not_equal(other->state, device->state);
        cuda_ctx = second, cuda_dev = other;
        large_product(cuda_kernel);
        large_conv(cuda_kernel, false);
        cuda_ctx = first, cuda_dev = device;
    }
    hwb_ctx_free(second);
    large_conv(cuda_kernel, false);
    large_product(cuda_kernel);
    all_right();
}

/* ---- sums over processes ---------------------------------------------------------------- */

static hwb_status go_on(hwb_ctx *ctx) {
    (void)ctx;
    return HWB_OK;
}

/* A group of one process: its sums are what went in; the calls are those of any group. */
static void test_sums(void **state) {
    (void)state;
    const hwb_backend *b = cuda_dev->backend;
    enum { N = 1000 };
    char id[HWB_DEVICE_COMM_ID];
    double host[N], back[N];
    void *comm = NULL;
    if (b->comm->make_id(cuda_ctx, cuda_dev->state, id) != HWB_OK) {
        print_message("not tested: %s\n", hwb_message(cuda_ctx));
        skip();
    }
    assert_ok(cuda_ctx, b->comm->open(cuda_ctx, cuda_dev->state, &comm, id, 0, 1));
    for (int i = 0; i < N; i++) host[i] = back[i] = i * 0.25;
    assert_ok(cuda_ctx, b->comm->sum(cuda_ctx, comm, HWB_F64, N, back, go_on));
    assert_memory_equal(back, host, sizeof host);
    void *there = b->mem_alloc(cuda_ctx, cuda_dev->state, sizeof host);
    assert_non_null(there);
    assert_ok(cuda_ctx, b->mem_put(cuda_ctx, cuda_dev->state, there, host, sizeof host));
    assert_ok(cuda_ctx, b->sync(cuda_ctx, cuda_dev->state));
    assert_ok(cuda_ctx, b->comm->sum_there(cuda_ctx, comm, HWB_F64, N, there, go_on));
    assert_ok(cuda_ctx, b->mem_get(cuda_ctx, cuda_dev->state, back, there, sizeof host));
    assert_memory_equal(back, host, sizeof host);
    b->mem_free(cuda_dev->state, there);
    b->comm->close(comm, false);
}

/* [PATTERN]: the tests whose names fit */
int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pointwise),      cmocka_unit_test(test_cast),
        cmocka_unit_test(test_reduce),         cmocka_unit_test(test_move),
        cmocka_unit_test(test_index),          cmocka_unit_test(test_pool),
        cmocka_unit_test(test_conv),           cmocka_unit_test(test_matmul),
        cmocka_unit_test(test_groups),         cmocka_unit_test(test_math),
        cmocka_unit_test(test_exact),          cmocka_unit_test(test_timed),
        cmocka_unit_test(test_special_values), cmocka_unit_test(test_pool_adjoint),
        cmocka_unit_test(test_bad_index),      cmocka_unit_test(test_memory),
        cmocka_unit_test(test_small_copies),   cmocka_unit_test(test_large_copies),
        cmocka_unit_test(test_sums),           cmocka_unit_test(test_two_contexts),
    };
    if (!cuda_setup()) return 77;
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hwb_ctx_free(cuda_ctx);
    return failed;
}
