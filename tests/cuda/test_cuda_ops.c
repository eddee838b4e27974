/*
 * test_cuda_ops.c: every primitive operation on the device against ref
 * (HWB_TEST_DEVICE=cuda; skipped without one).
 */
#include "cases.h"
#include "cuda_check.h"

#define FAMILY(name)                                                                               \
    static void test_##name(void **state) {                                                        \
        (void)state;                                                                               \
        cases_##name(cuda_kernel);                                                                 \
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

/* NaN, infinities and signed zeros go through as in ref. */
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
                        fabsf(want[i] - got[i]) <= 3e-7f * fabsf(want[i]) + 1e-44f;
            if (!same)
                fail_msg("%s(%g, %g) is %g, ref says %g", hwb_op_name((hwb_op)op), (double)x[0][i],
                         (double)x[1][i], (double)got[i], (double)want[i]);
        }
    }
    for (int i = 0; i < 2; i++) cuda_drop(in[i]);
    cuda_drop(out);
}

/* An index out of range is reported when a result is fetched, once. */
static void test_bad_index(void **state) {
    (void)state;
    const hwb_backend *b = cuda_dev->backend;
    const int32_t index[4] = {0, 2, 5, 1};
    float table[12] = {0}, got[12];
    hwb_vdesc in[2] = {{HWB_F32, hwb_shape_of(2, 4, 3)}, {HWB_I32, hwb_shape_of(1, 4)}};
    hwb_kdesc d = {.op = HWB_OP_GATHER, .n_in = 2, .n_out = 1, .in = in, .out = in};
    char *x = cuda_buffer(&in[0], (char *)table), *i = cuda_buffer(&in[1], (const char *)index);
    char *y = cuda_buffer(&in[0], NULL);
    hwb_kernel *k = NULL;
    uint64_t versions[2] = {0};
    assert_ok(cuda_ctx, b->prepare(cuda_ctx, cuda_dev->state, &k, &d));
    assert_ok(cuda_ctx, b->run(cuda_ctx, cuda_dev->state, k, (const void *[]){x, i}, versions,
                               (void *[]){y}));
    assert_fails(cuda_ctx, b->mem_get(cuda_ctx, cuda_dev->state, got, y, sizeof got), HWB_EARG,
                 "index at place 2");
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
    assert_ptr_equal(b->mem_alloc(cuda_ctx, cuda_dev->state, 99000), p);
    b->mem_free(cuda_dev->state, p);
    assert_null(b->mem_alloc(cuda_ctx, cuda_dev->state, (size_t)1 << 50));
    p = b->mem_alloc(cuda_ctx, cuda_dev->state, 0);
    assert_non_null(p);
    b->mem_free(cuda_dev->state, p);
    b->mem_free(cuda_dev->state, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pointwise), cmocka_unit_test(test_cast),
        cmocka_unit_test(test_reduce),    cmocka_unit_test(test_move),
        cmocka_unit_test(test_index),     cmocka_unit_test(test_pool),
        cmocka_unit_test(test_conv),      cmocka_unit_test(test_matmul),
        cmocka_unit_test(test_groups),    cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_bad_index), cmocka_unit_test(test_memory),
    };
    if (!cuda_setup()) return 77;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hwb_ctx_free(cuda_ctx);
    return failed;
}
