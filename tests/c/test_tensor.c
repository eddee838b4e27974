/*
 * test_tensor.c: engine/tensor: dtypes, shapes, life, views, sums, random
 * fills, text.  Copies and conversions are in test_tensor_copy.c.
 */
#include "tensor_model.h"

#include "tensor/away_i.h"

#include <omp.h>

/* ---- dtypes and shapes ------------------------------------------------------------ */

static void test_dtypes(void **state) {
    (void)state;
    hwb_dtype d = HWB_BOOL;
    assert_true(hwb_dtype_parse("float64", &d));
    assert_int_equal(d, HWB_F64);
    assert_false(hwb_dtype_parse("float16", &d));
    assert_false(hwb_dtype_parse("", &d));
    assert_int_equal(d, HWB_F64);
    assert_string_equal(hwb_dtype_name(HWB_U8), "uint8");
    assert_int_equal(hwb_dtype_size(HWB_I64), 8);
    assert_true(hwb_dtype_is_float(HWB_F32));
    assert_false(hwb_dtype_is_float(HWB_BOOL));
}

static void test_shape_text_and_check(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    char text[HWB_SHAPE_TEXT];
    hwb_shape s = hwb_shape_of(3, 2, 3, 4), none = hwb_shape_of(0);
    assert_string_equal(hwb_shape_text(&s, text), "2x3x4");
    assert_string_equal(hwb_shape_text(&none, text), "scalar");
    assert_int_equal(hwb_shape_numel(&s), 24);
    assert_int_equal(hwb_shape_numel(&none), 1);
    assert_ok(ctx, hwb_shape_check(ctx, &s));
    s.dim[1] = -3;
    assert_fails(ctx, hwb_shape_check(ctx, &s), HWB_ESHAPE, "2x-3x4");
    hwb_shape big = {.ndim = 3, .dim = {(int64_t)1 << 40, (int64_t)1 << 40, 2}};
    assert_fails(ctx, hwb_shape_check(ctx, &big), HWB_ESHAPE, "1099511627776x1099511627776x2");
    big.dim[2] = 0; /* no elements, but its strides would still overflow */
    assert_fails(ctx, hwb_shape_check(ctx, &big), HWB_ESHAPE, "more elements");
    hwb_shape hidden = {.ndim = 3, .dim = {0, (int64_t)1 << 40, (int64_t)1 << 40}};
    assert_fails(ctx, hwb_shape_check(ctx, &hidden), HWB_ESHAPE, "more elements");
    big.ndim = 9;
    assert_fails(ctx, hwb_shape_check(ctx, &big), HWB_ESHAPE, "at most 8");
    hwb_shape worst = {.ndim = 8};
    for (int i = 0; i < 8; i++) worst.dim[i] = INT64_MIN;
    assert_in_range(strlen(hwb_shape_text(&worst, text)), 100, HWB_SHAPE_TEXT - 1);
    hwb_tensor *t = NULL;
    assert_fails(ctx, hwb_tensor_new(ctx, &t, HWB_F32, worst), HWB_ESHAPE, "negative");
    assert_fails(ctx, hwb_tensor_new(ctx, &t, (hwb_dtype)17, none), HWB_EDTYPE, "17");
    assert_null(t);
    test_ctx_free(ctx);
}

static void test_shape_broadcast(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_shape a = hwb_shape_of(3, 4, 1, 3), b = hwb_shape_of(2, 5, 1),
              want = hwb_shape_of(3, 4, 5, 3);
    hwb_shape out = {0}, none = {0}, c = hwb_shape_of(1, 2), empty = hwb_shape_of(2, 0, 1);
    assert_ok(ctx, hwb_shape_broadcast(ctx, &out, &a, &b));
    assert_true(hwb_shape_equal(&out, &want));
    assert_ok(ctx, hwb_shape_broadcast(ctx, &out, &none, &a));
    assert_true(hwb_shape_equal(&out, &a));
    assert_ok(ctx, hwb_shape_broadcast(ctx, &out, &empty, &c)); /* 0 against 1 is 0 */
    want = hwb_shape_of(2, 0, 2);
    assert_true(hwb_shape_equal(&out, &want));
    assert_fails(ctx, hwb_shape_broadcast(ctx, &out, &a, &c), HWB_ESHAPE, "4x1x3 and 2");
    assert_true(hwb_shape_equal(&out, &want)); /* untouched by the failure */
    test_ctx_free(ctx);
}

/* ---- life ---------------------------------------------------------------------------- */

static int freed;
static void count_free(void *user) {
    freed += *(int *)user;
}

static void test_storage_lives_with_its_views(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    float data[6] = {0, 1, 2, 3, 4, 5};
    int one = 1;
    freed = 0;
    hwb_tensor *t = NULL, *row = NULL, *flat = NULL;
    assert_ok(ctx,
              hwb_tensor_wrap(ctx, &t, HWB_F32, hwb_shape_of(2, 2, 3), data, count_free, &one));
    assert_ok(ctx, hwb_tensor_select(ctx, &row, t, 0, 1));
    assert_ok(ctx, hwb_tensor_reshape(ctx, &flat, row, hwb_shape_of(2, 3, 1)));
    assert_ptr_equal(hwb_tensor_storage_id(flat), hwb_tensor_storage_id(t));
    assert_ptr_equal(hwb_tensor_data(t), data);
    hwb_tensor_release(hwb_tensor_retain(t));
    hwb_tensor_release(t);
    hwb_tensor_release(row);
    assert_int_equal(freed, 0);
    assert_near(hwb_tensor_get(flat, 2), 5, 0);
    hwb_tensor_release(flat);
    assert_int_equal(freed, 1);
    hwb_shape bad = hwb_shape_of(1, -1); /* wrap takes the memory also when it fails */
    assert_fails(ctx, hwb_tensor_wrap(ctx, &t, HWB_F32, bad, data, count_free, &one), HWB_ESHAPE,
                 "negative");
    assert_int_equal(freed, 2);
    hwb_tensor_release(NULL);
    test_ctx_free(ctx);
}

static void test_tensor_outlives_context(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_tensor *t = NULL;
    assert_ok(ctx, hwb_tensor_zeros(ctx, &t, HWB_F64, hwb_shape_of(1, 200000)));
    hwb_ctx_free(ctx);
    hwb_tensor_set(t, 199999, 3);
    assert_near(hwb_tensor_sum(t), 3, 0);
    hwb_tensor_release(t);
}

static void test_versions(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_tensor *t = arange(ctx, HWB_F32, hwb_shape_of(2, 2, 2)), *view = NULL;
    assert_ok(ctx, hwb_tensor_select(ctx, &view, t, 0, 0));
    uint64_t v = hwb_tensor_version(t);
    hwb_tensor_get(t, 0);
    assert_int_equal(hwb_tensor_version(t), v);
    hwb_tensor_set(view, 0, 9);
    assert_int_equal(hwb_tensor_version(t), v + 1);
    assert_ok(ctx, hwb_tensor_fill(ctx, t, 1));
    assert_ok(ctx, hwb_tensor_copy(ctx, view, view));
    assert_int_equal(hwb_tensor_version(view), v + 3);
    hwb_tensor_release(view);
    hwb_tensor_release(t);
    test_ctx_free(ctx);
}

static void test_failed_allocations_leave_nothing(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_memory_set_limit(ctx, 1000);
    hwb_tensor *t = NULL, *u = NULL;
    assert_fails(ctx, hwb_tensor_new(ctx, &u, HWB_F64, hwb_shape_of(2, 50, 50)), HWB_ENOMEM,
                 "tensor 50x50 float64: out of memory");
    hwb_shape huge = {.ndim = 2, .dim = {(int64_t)1 << 30, (int64_t)1 << 29}};
    hwb_memory_set_limit(ctx, 0);
    assert_fails(ctx, hwb_tensor_new(ctx, &u, HWB_F32, huge), HWB_ENOMEM, "out of memory");
    t = arange(ctx, HWB_F32, hwb_shape_of(2, 10, 20));
    hwb_memory_set_limit(ctx, 1000);
    hwb_tensor *cols = NULL;
    assert_ok(ctx, hwb_tensor_permute(ctx, &cols, t, (const int[]){1, 0}));
    assert_fails(ctx, hwb_tensor_clone(ctx, &u, t), HWB_ENOMEM, "10x20");
    assert_fails(ctx, hwb_tensor_contiguous(ctx, &u, cols), HWB_ENOMEM, "20x10");
    assert_fails(ctx, hwb_tensor_to(ctx, &u, t, HWB_F64), HWB_ENOMEM, "10x20 float64");
    assert_fails(ctx, hwb_tensor_reshape(ctx, &u, cols, hwb_shape_of(1, 200)), HWB_ENOMEM, "");
    hwb_tensor *square = NULL, *turned = NULL;
    assert_ok(ctx, hwb_tensor_slice(ctx, &square, t, 1, 0, 10, 1));
    assert_ok(ctx, hwb_tensor_permute(ctx, &turned, square, (const int[]){1, 0}));
    assert_fails(ctx, hwb_tensor_copy(ctx, square, turned), HWB_ENOMEM,
                 ""); /* overlap: temporary */
    assert_null(u);
    assert_int_equal(hwb_memory(ctx).live, 800);
    hwb_tensor_release(turned);
    hwb_tensor_release(square);
    hwb_tensor_release(cols);
    hwb_tensor_release(t);
    test_ctx_free(ctx);
}

/* ---- views --------------------------------------------------------------------------------- */

static void test_reshape(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_tensor *t = arange(ctx, HWB_I32, hwb_shape_of(3, 2, 3, 4)), *v = NULL, *w = NULL;
    assert_ok(ctx, hwb_tensor_reshape(ctx, &v, t, hwb_shape_of(2, -1, 4)));
    assert_int_equal(hwb_tensor_shape(v)->dim[0], 6);
    assert_ptr_equal(hwb_tensor_storage_id(v), hwb_tensor_storage_id(t));
    hwb_tensor_release(v);
    /* Strides 4,12,1 of [3,2,4] can be split … */
    assert_ok(ctx, hwb_tensor_permute(ctx, &v, t, (const int[]){1, 0, 2}));
    assert_ok(ctx, hwb_tensor_reshape(ctx, &w, v, hwb_shape_of(5, 3, 1, 2, 2, 2)));
    assert_ptr_equal(hwb_tensor_storage_id(w), hwb_tensor_storage_id(t));
    for (int64_t i = 0; i < 24; i++) assert_near(model_get(w, i), model_get(v, i), 0);
    hwb_tensor_release(w);
    /* … and merging the first two needs a copy. */
    assert_ok(ctx, hwb_tensor_reshape(ctx, &w, v, hwb_shape_of(2, 6, -1)));
    assert_ptr_not_equal(hwb_tensor_storage_id(w), hwb_tensor_storage_id(t));
    assert_true(hwb_tensor_is_contiguous(w));
    for (int64_t i = 0; i < 24; i++) assert_near(model_get(w, i), model_get(v, i), 0);
    hwb_tensor_release(w);
    hwb_shape bad = hwb_shape_of(2, 5, -1), two = hwb_shape_of(2, -1, -1);
    assert_fails(ctx, hwb_tensor_reshape(ctx, &w, t, bad), HWB_ESHAPE,
                 "2x3x4 (24 elements) to 5x-1");
    assert_fails(ctx, hwb_tensor_reshape(ctx, &w, t, two), HWB_ESHAPE, "only one");
    assert_fails(ctx, hwb_tensor_reshape(ctx, &w, t, hwb_shape_of(2, 0, -1)), HWB_ESHAPE, "fit");
    assert_fails(ctx, hwb_tensor_reshape(ctx, &w, t, hwb_shape_of(1, 23)), HWB_ESHAPE, "fit");
    assert_fails(ctx, hwb_tensor_reshape(ctx, &w, t, hwb_shape_of(2, -2, -12)), HWB_ESHAPE, "");
    hwb_tensor_release(v);
    hwb_tensor_release(t);
    t = arange(ctx, HWB_F32, hwb_shape_of(2, 0, 4));
    assert_ok(ctx, hwb_tensor_reshape(ctx, &v, t, hwb_shape_of(2, 7, 0)));
    hwb_tensor_release(v);
    assert_fails(ctx, hwb_tensor_reshape(ctx, &v, t, hwb_shape_of(1, 1)), HWB_ESHAPE, "");
    hwb_tensor_release(t);
    test_ctx_free(ctx);
}

static void test_slice_and_select(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_tensor *t = arange(ctx, HWB_F32, hwb_shape_of(2, 4, 10)), *v = NULL, *w = NULL;
    assert_ok(ctx, hwb_tensor_slice(ctx, &v, t, 1, 1, 3, 4)); /* columns 1, 5, 9 */
    double want[] = {1, 5, 9, 11, 15, 19, 21, 25, 29, 31, 35, 39};
    for (int i = 0; i < 12; i++) assert_near(hwb_tensor_get(v, i), want[i], 0);
    assert_ok(ctx, hwb_tensor_select(ctx, &w, v, 0, 2));
    assert_int_equal(hwb_tensor_shape(w)->ndim, 1);
    assert_int_equal(hwb_tensor_get_int(w, 1), 25);
    hwb_tensor_release(w);
    hwb_tensor_release(v);
    assert_fails(ctx, hwb_tensor_slice(ctx, &v, t, 1, 1, 4, 4 /* 13 */), HWB_EARG, "4x10");
    assert_fails(ctx, hwb_tensor_slice(ctx, &v, t, 1, 0, 1, 0), HWB_EARG, "steps of 0");
    assert_fails(ctx, hwb_tensor_slice(ctx, &v, t, 1, -1, 1, 1), HWB_EARG, "");
    assert_fails(ctx, hwb_tensor_slice(ctx, &v, t, 1, 10, 1, 1), HWB_EARG, "");
    assert_fails(ctx, hwb_tensor_slice(ctx, &v, t, 1, 0, INT64_MAX, INT64_MAX), HWB_EARG, "");
    assert_fails(ctx, hwb_tensor_slice(ctx, &v, t, 2, 0, 1, 1), HWB_EARG, "dim 3");
    assert_fails(ctx, hwb_tensor_select(ctx, &v, t, 0, 4), HWB_EARG, "index 5 is outside dim 1");
    assert_fails(ctx, hwb_tensor_select(ctx, &v, t, -1, 0), HWB_EARG, "");
    assert_ok(ctx, hwb_tensor_slice(ctx, &v, t, 0, 4, 0, 1)); /* empty, at the end */
    assert_int_equal(hwb_tensor_numel(v), 0);
    assert_near(hwb_tensor_sum(v), 0, 0);
    hwb_tensor_release(v);
    assert_ok(ctx, hwb_tensor_slice(ctx, &v, t, 0, 3, 1, INT64_MAX)); /* step unused: no overflow */
    assert_near(hwb_tensor_get(v, 0), 30, 0);
    hwb_tensor_release(v);
    assert_fails(ctx, hwb_tensor_permute(ctx, &v, t, (const int[]){0, 0}), HWB_EARG, "once");
    assert_fails(ctx, hwb_tensor_permute(ctx, &v, t, (const int[]){0, 2}), HWB_EARG, "once");
    hwb_tensor_release(t);
    test_ctx_free(ctx);
}

/* The stride of an axis of length 1 says nothing. */
static void test_contiguity(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_tensor *t = arange(ctx, HWB_F32, hwb_shape_of(3, 4, 1, 5)), *v = NULL, *w = NULL;
    assert_true(hwb_tensor_is_contiguous(t));
    assert_ok(ctx, hwb_tensor_permute(ctx, &v, t, (const int[]){1, 0, 2}));
    assert_true(hwb_tensor_is_contiguous(v));
    assert_ok(ctx, hwb_tensor_contiguous(ctx, &w, v));
    assert_ptr_equal(w, v);
    hwb_tensor_release(w);
    hwb_tensor_release(v);
    assert_ok(ctx, hwb_tensor_permute(ctx, &v, t, (const int[]){2, 1, 0}));
    assert_false(hwb_tensor_is_contiguous(v));
    hwb_tensor_release(v);
    assert_ok(ctx, hwb_tensor_slice(ctx, &v, t, 2, 0, 4, 1));
    assert_false(hwb_tensor_is_contiguous(v));
    hwb_tensor_release(v);
    assert_ok(ctx, hwb_tensor_slice(ctx, &v, t, 0, 1, 2, 1)); /* whole rows stay dense */
    assert_true(hwb_tensor_is_contiguous(v));
    hwb_tensor_release(v);
    hwb_tensor_release(t);
    test_ctx_free(ctx);
}

static void test_expand(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_tensor *t = arange(ctx, HWB_F64, hwb_shape_of(2, 3, 1)), *v = NULL, *dense = NULL;
    assert_ok(ctx, hwb_tensor_expand(ctx, &v, t, hwb_shape_of(3, 2, 3, 4)));
    assert_int_equal(hwb_tensor_strides(v)[2], 0);
    assert_false(hwb_tensor_is_contiguous(v));
    assert_near(hwb_tensor_sum(v), 2 * 4 * (0 + 1 + 2), 0);
    assert_ok(ctx, hwb_tensor_contiguous(ctx, &dense, v));
    assert_same_values(v, dense);
    assert_fails(ctx, hwb_tensor_fill(ctx, v, 1), HWB_EARG, "broadcast view (2x3x4)");
    assert_fails(ctx, hwb_tensor_copy(ctx, v, dense), HWB_EARG, "broadcast view");
    hwb_tensor_release(dense);
    hwb_tensor_release(v);
    assert_fails(ctx, hwb_tensor_expand(ctx, &v, t, hwb_shape_of(2, 4, 4)), HWB_ESHAPE, "3x1");
    assert_fails(ctx, hwb_tensor_expand(ctx, &v, t, hwb_shape_of(1, 3)), HWB_ESHAPE, "");
    hwb_tensor_release(t);
    test_ctx_free(ctx);
}

/* ---- sums ------------------------------------------------------------------------------------------ */

static void test_sums(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    enum { N = 700 };
    hwb_tensor *t = NULL, *turned = NULL, *dense = NULL;
    assert_ok(ctx, hwb_tensor_new(ctx, &t, HWB_F32, hwb_shape_of(2, N, N)));
    assert_ok(ctx, hwb_tensor_fill_normal(ctx, t, (hwb_rng){4, 4}));
    long double sum = 0, square = 0;
    const float *x = hwb_tensor_data(t);
    for (int i = 0; i < N * N; i++) sum += x[i], square += (long double)x[i] * x[i];
    assert_near(hwb_tensor_sum(t), (double)sum, 1e-12);
    assert_near(hwb_tensor_dot(t, t), (double)square, 1e-13);
    /* the same bits from any strides and at any thread count */
    assert_ok(ctx, hwb_tensor_permute(ctx, &turned, t, (const int[]){1, 0}));
    assert_ok(ctx, hwb_tensor_contiguous(ctx, &dense, turned));
    double want_sum = hwb_tensor_sum(dense), want_dot = hwb_tensor_dot(dense, t);
    for (int threads = 1; threads <= 4; threads++) {
        hwb_set_threads(ctx, threads);
        assert_int_equal(omp_get_max_threads(), threads);
        assert_true(hwb_tensor_sum(turned) == want_sum);
        assert_true(hwb_tensor_dot(turned, t) == want_dot);
        assert_true(hwb_tensor_dot(t, turned) == want_dot);
    }
    assert_true(hwb_tensor_all_finite(turned));
    hwb_tensor_set(t, N * N - 1, INFINITY);
    assert_false(hwb_tensor_all_finite(turned));
    hwb_tensor_set(t, N * N - 1, NAN);
    assert_false(hwb_tensor_all_finite(t));
    hwb_tensor_set(t, N * N - 1, 3e38);
    assert_true(hwb_tensor_all_finite(t));
    hwb_set_threads(ctx, 0);
    hwb_tensor_release(dense);
    hwb_tensor_release(turned);
    hwb_tensor_release(t);
    /* every length around the lanes, blocks and parts */
    static const int sizes[] = {0, 1, 7, 8, 9, 1023, 1024, 1025, 16384, 65535, 65537, 1100000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        double n = sizes[i];
        assert_ok(ctx, hwb_tensor_new(ctx, &t, HWB_I32, hwb_shape_of(1, sizes[i])));
        int32_t *k = hwb_tensor_data(t);
        for (int j = 0; j < sizes[i]; j++) k[j] = j;
        assert_near(hwb_tensor_sum(t), n * (n - 1) / 2, 0);
        assert_near(hwb_tensor_dot(t, t), (n - 1) * n * (2 * n - 1) / 6, 1e-15);
        hwb_tensor_release(t);
    }
    test_ctx_free(ctx);
}

/* ---- random fills ------------------------------------------------------------------------------------ */

static void test_fills_depend_on_index_only(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_rng rng = {.seed = 11, .stream = 12};
    typedef hwb_status (*fill_fn)(hwb_ctx *, hwb_tensor *, hwb_rng);
    static const fill_fn fill[] = {hwb_tensor_fill_uniform, hwb_tensor_fill_normal,
                                   hwb_tensor_fill_rademacher};
    for (int k = 0; k < 3; k++) {
        hwb_tensor *t = NULL, *back = NULL, *turned = NULL;
        assert_ok(ctx, hwb_tensor_new(ctx, &t, HWB_F64, hwb_shape_of(2, 211, 307)));
        assert_ok(ctx, hwb_tensor_new(ctx, &back, HWB_F64, hwb_shape_of(2, 307, 211)));
        assert_ok(ctx, hwb_tensor_permute(ctx, &turned, back, (const int[]){1, 0}));
        hwb_set_threads(ctx, 1);
        assert_ok(ctx, fill[k](ctx, t, rng));
        hwb_set_threads(ctx, 4);
        assert_ok(ctx, fill[k](ctx, turned, rng)); /* other strides, other threads */
        assert_same_values(t, turned);
        for (uint64_t i = 0; i < 300; i++) {
            double want = k == 0   ? hwb_rng_uniform(rng, i)
                          : k == 1 ? hwb_rng_normal(rng, i)
                                   : hwb_rng_sign(rng, i);
            assert_true(hwb_tensor_get(t, (int64_t)i) == want);
        }
        hwb_tensor_release(turned);
        hwb_tensor_release(back);
        hwb_tensor_release(t);
    }
    hwb_set_threads(ctx, 0);
    hwb_tensor *t = NULL;
    assert_ok(ctx, hwb_tensor_new(ctx, &t, HWB_F32, hwb_shape_of(1, 1 << 20)));
    assert_ok(ctx, hwb_tensor_fill_uniform(ctx, t, rng));
    const float *x = hwb_tensor_data(t);
    for (uint64_t i = 0; i < 1 << 20; i++) /* rounded down, so that 1 never comes */
        if (x[i] != (float)(floor(hwb_rng_uniform(rng, i) * 0x1p24) * 0x1p-24))
            fail_msg("element %llu is %.9g", (unsigned long long)i, (double)x[i]);
    hwb_tensor_release(t);
    assert_ok(ctx, hwb_tensor_zeros(ctx, &t, HWB_BOOL, hwb_shape_of(1, 4)));
    assert_fails(ctx, hwb_tensor_fill_normal(ctx, t, rng), HWB_EDTYPE, "not bool");
    assert_fails(ctx, hwb_tensor_fill_uniform(ctx, t, rng), HWB_EDTYPE, "not bool");
    assert_fails(ctx, hwb_tensor_fill_rademacher(ctx, t, rng), HWB_EDTYPE, "bool");
    hwb_tensor_release(t);
    test_ctx_free(ctx);
}

/* ---- text ------------------------------------------------------------------------------------------ */

static void assert_text(hwb_ctx *ctx, hwb_dtype dtype, hwb_shape shape, const double *x,
                        const char *want) {
    hwb_tensor *t = NULL;
    assert_ok(ctx, hwb_tensor_new(ctx, &t, dtype, shape));
    for (int64_t i = 0; i < hwb_tensor_numel(t); i++) hwb_tensor_set(t, i, x ? x[i] : (double)i);
    char *text = hwb_tensor_format(t);
    assert_non_null(text);
    assert_string_equal(text, want);
    free(text);
    hwb_tensor_release(t);
}

static void test_format(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    assert_text(ctx, HWB_F32, hwb_shape_of(0), (double[]){3.25}, "tensor scalar float32\n  3.25");
    assert_text(ctx, HWB_F64, hwb_shape_of(1, 1), (double[]){5e-324},
                "tensor 1 float64\n  4.9406564584125e-324");
    assert_text(ctx, HWB_F32, hwb_shape_of(2, 2, 2), NULL, "tensor 2x2 float32\n  0  1\n  2  3");
    assert_text(ctx, HWB_F32, hwb_shape_of(2, 1, 3), (double[]){1.5, -2, NAN},
                "tensor 1x3 float32\n   1.5000  -2.0000      nan");
    assert_text(ctx, HWB_F64, hwb_shape_of(1, 2), (double[]){1.5e-5, -2.25e-4},
                "tensor 2 float64\n1e-04 *\n   0.1500  -2.2500");
    assert_text(ctx, HWB_F64, hwb_shape_of(1, 3), (double[]){1.5e-5, 2e7, -INFINITY},
                "tensor 3 float64\n  1.5000e-05  2.0000e+07        -inf");
    assert_text(ctx, HWB_F64, hwb_shape_of(1, 2), (double[]){5e-324, 1e-310},
                "tensor 2 float64\n  4.9407e-324  1.0000e-310");
    assert_text(ctx, HWB_BOOL, hwb_shape_of(1, 2), NULL, "tensor 2 bool\n  false   true");
    assert_text(ctx, HWB_U8, hwb_shape_of(2, 0, 3), NULL, "tensor 0x3 uint8");
    assert_text(ctx, HWB_I64, hwb_shape_of(1, 7), NULL, "tensor 7 int64\n  0  1  2  …  4  5  6");
    assert_text(ctx, HWB_I32, hwb_shape_of(2, 7, 1), NULL,
                "tensor 7x1 int32\n  0\n  1\n  2\n  …\n  4\n  5\n  6");
    assert_text(ctx, HWB_I32, hwb_shape_of(3, 2, 1, 2), NULL,
                "tensor 2x1x2 int32\n(1,.,.) =\n  0  1\n(2,.,.) =\n  2  3");
    test_ctx_free(ctx);
}

static void test_format_of_big_tensors(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_tensor *t = arange(ctx, HWB_F64, hwb_shape_of(4, 10, 10, 10, 20)), *v = NULL;
    hwb_tensor_set(t, 7, NAN);
    char *text = hwb_tensor_format(t);
    assert_non_null(strstr(text, "min 0  max 19999  mean 10000  nan 1\n"));
    assert_non_null(strstr(text, "(1,1,.,.) =\n"));
    assert_null(strstr(text, "(1,2,.,.)"));
    assert_non_null(strstr(text, "… 98 more …\n(10,10,.,.) =\n"));
    assert_true(strlen(text) < 2000);
    free(text);
    assert_ok(ctx, hwb_tensor_permute(ctx, &v, t, (const int[]){3, 0, 1, 2}));
    text = hwb_tensor_format(v);
    assert_non_null(strstr(text, "tensor 20x10x10x10 float64\nmin 0  max 19999"));
    free(text);
    hwb_tensor_release(v);
    hwb_tensor_release(t);
    test_ctx_free(ctx);
}

/* ---- values that are elsewhere ------------------------------------------------------- */

typedef struct keeper {
    hwb_tensor *t;
    int fetched;
} keeper;

static void fetch(void *user) {
    keeper *k = user;
    float *v = hwb__tensor_address(k->t);
    k->fetched++;
    for (int i = 0; i < 6; i++) v[i] = (float)(10 * k->fetched + i);
}

/* Every way to look at a tensor or a view of it, and to write into a part, fetches first. */
static void test_away(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_tensor *t = NULL, *row = NULL, *column = NULL, *out = NULL;
    assert_ok(ctx, hwb_tensor_zeros(ctx, &t, HWB_F32, hwb_shape_of(2, 2, 3)));
    keeper k = {.t = t};
    hwb__tensor_send_away(t, fetch, &k);
    assert_ok(ctx, hwb_tensor_select(ctx, &row, t, 0, 1));
    assert_ok(ctx, hwb_tensor_select(ctx, &column, t, 1, 1));
    assert_ptr_equal(hwb__tensor_keeper(row), &k);
    assert_int_equal(k.fetched, 0);
    assert_float_equal(hwb_tensor_get(row, 0), 13, 0);
    assert_null(hwb__tensor_keeper(t));
    hwb__tensor_send_away(t, fetch, &k);
    assert_float_equal(((float *)hwb_tensor_data(t))[5], 25, 0);
    hwb__tensor_send_away(t, fetch, &k);
    assert_float_equal(hwb_tensor_sum(column), 31 + 34, 0);
    hwb__tensor_send_away(t, fetch, &k);
    assert_float_equal(hwb_tensor_dot(row, row), 43 * 43 + 44 * 44 + 45 * 45, 0);
    hwb__tensor_send_away(t, fetch, &k);
    assert_ok(ctx, hwb_tensor_clone(ctx, &out, column));
    assert_float_equal(hwb_tensor_get(out, 1), 54, 0);
    hwb__tensor_send_away(t, fetch, &k);
    assert_ok(ctx, hwb_tensor_fill(ctx, row, 7));
    assert_float_equal(hwb_tensor_get(t, 2), 62, 0);
    assert_float_equal(hwb_tensor_get(t, 3), 7, 0);
    hwb__tensor_send_away(t, fetch, &k);
    hwb_tensor_set(row, 0, 1);
    assert_float_equal(hwb_tensor_get(t, 4), 74, 0);
    hwb__tensor_send_away(t, fetch, &k);
    hwb__tensor_at_home(t);
    assert_float_equal(hwb_tensor_get(t, 3), 1, 0);
    assert_int_equal(k.fetched, 7);
    hwb_tensor_release(out);
    hwb_tensor_release(column);
    hwb_tensor_release(row);
    hwb_tensor_release(t);
    test_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dtypes),
        cmocka_unit_test(test_shape_text_and_check),
        cmocka_unit_test(test_shape_broadcast),
        cmocka_unit_test(test_storage_lives_with_its_views),
        cmocka_unit_test(test_tensor_outlives_context),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_failed_allocations_leave_nothing),
        cmocka_unit_test(test_reshape),
        cmocka_unit_test(test_slice_and_select),
        cmocka_unit_test(test_contiguity),
        cmocka_unit_test(test_expand),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_fills_depend_on_index_only),
        cmocka_unit_test(test_away),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_format_of_big_tensors),
    };
    return RUN_TESTS(tests);
}
