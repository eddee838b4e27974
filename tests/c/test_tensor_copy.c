/*
 * test_tensor_copy.c: copies between any strides and dtypes, against an
 * element-by-element model of views and of conversions.
 */
#include "tensor_model.h"

/* A random view of a random tensor: permuted, sliced with steps, sometimes
 * broadcast.  `draw` moves on. */
static hwb_tensor *random_view(hwb_ctx *ctx, hwb_rng rng, uint64_t *draw, hwb_dtype dtype,
                               bool writable) {
    hwb_shape s = {.ndim = (int)hwb_rng_below(rng, (*draw)++, 5)};
    for (int i = 0; i < s.ndim; i++) s.dim[i] = 1 + (int64_t)hwb_rng_below(rng, (*draw)++, 9);
    if (s.ndim > 0 && hwb_rng_below(rng, (*draw)++, 3) == 0)
        s.dim[s.ndim - 1] = 60 + (int64_t)hwb_rng_below(rng, (*draw)++, 80);
    if (s.ndim > 1 && hwb_rng_below(rng, (*draw)++, 3) == 0)
        s.dim[0] = 60 + (int64_t)hwb_rng_below(rng, (*draw)++, 80);
    hwb_tensor *t = NULL, *v = NULL;
    assert_ok(ctx, hwb_tensor_new(ctx, &t, dtype, s));
    for (int64_t i = 0; i < hwb_tensor_numel(t); i++)
        hwb_tensor_set(t, i, (double)hwb_rng_below(rng, (uint64_t)i, 200) - 20.5);
    int axes[HWB_MAX_DIMS];
    int64_t order[HWB_MAX_DIMS];
    hwb_rng_permutation((hwb_rng){(*draw)++, 77}, s.ndim, order);
    for (int i = 0; i < s.ndim; i++) axes[i] = (int)order[i];
    assert_ok(ctx, hwb_tensor_permute(ctx, &v, t, axes));
    hwb_tensor_release(t);
    for (int i = 0; i < s.ndim; i++) {
        int64_t dim = hwb_tensor_shape(v)->dim[i];
        uint64_t kind = hwb_rng_below(rng, (*draw)++, 4);
        t = v;
        if (kind == 0) assert_ok(ctx, hwb_tensor_slice(ctx, &v, t, i, 0, (dim + 1) / 2, 2));
        else if (kind == 1)
            assert_ok(ctx, hwb_tensor_slice(ctx, &v, t, i, dim / 3, dim - dim / 3, 1));
        else hwb_tensor_retain(t);
        hwb_tensor_release(t);
    }
    if (!writable && hwb_rng_below(rng, (*draw)++, 2)) {
        hwb_shape wide = *hwb_tensor_shape(v);
        for (int i = 0; i < wide.ndim; i++)
            if (wide.dim[i] == 1) wide.dim[i] = 3;
        t = v;
        assert_ok(ctx, hwb_tensor_expand(ctx, &v, t, wide));
        hwb_tensor_release(t);
    }
    return v;
}

/* What a conversion of x to dtype must give. */
static double model_convert(double x, hwb_dtype dtype) {
    switch (dtype) {
    case HWB_F32: return (double)(float)x;
    case HWB_F64: return x;
    case HWB_I32:
    case HWB_I64: return trunc(x);
    case HWB_U8: return x <= 0 ? 0 : x >= 255 ? 255 : trunc(x);
    default: return x != 0;
    }
}

static void test_copies_of_random_views(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_set_threads(ctx, 2);
    uint64_t draw = 0;
    hwb_rng rng = {.seed = 3, .stream = 1};
    for (int round = 0; round < 600; round++) {
        hwb_dtype from = (hwb_dtype)hwb_rng_below(rng, draw++, HWB_DTYPE_COUNT);
        hwb_dtype to = (hwb_dtype)hwb_rng_below(rng, draw++, HWB_DTYPE_COUNT);
        hwb_tensor *src = random_view(ctx, rng, &draw, from, false);
        hwb_tensor *out = NULL, *dense = NULL, *flat = NULL;
        assert_ok(ctx, hwb_tensor_clone(ctx, &out, src));
        assert_true(hwb_tensor_is_contiguous(out));
        assert_same_values(src, out);
        hwb_tensor_release(out);
        assert_ok(ctx, hwb_tensor_to(ctx, &out, src, to));
        assert_int_equal(hwb_tensor_dtype(out), to);
        for (int64_t i = 0; i < hwb_tensor_numel(src); i++) {
            double x = model_get(src, i), want = model_convert(x, to);
            assert_true(model_get(out, i) == want);
            assert_true(hwb_tensor_get(src, i) == x);
            assert_true(hwb_tensor_get_int(out, i) == (int64_t)want);
        }
        /* Into strided memory too: dst and src exchange roles of strides. */
        hwb_tensor *dst = random_view(ctx, rng, &draw, to, true);
        assert_ok(ctx, hwb_tensor_fill(ctx, dst, 3));
        for (int64_t i = 0; i < hwb_tensor_numel(dst); i++)
            assert_true(model_get(dst, i) == model_convert(3, to));
        hwb_shape line = {.ndim = 1, .dim = {hwb_tensor_numel(dst)}};
        assert_ok(ctx, hwb_tensor_new(ctx, &flat, from, line));
        for (int64_t i = 0; i < line.dim[0]; i++) hwb_tensor_set(flat, i, (double)(i % 100) - 3.5);
        assert_ok(ctx, hwb_tensor_reshape(ctx, &dense, flat, *hwb_tensor_shape(dst)));
        assert_ok(ctx, hwb_tensor_copy(ctx, dst, dense));
        for (int64_t i = 0; i < line.dim[0]; i++)
            assert_true(model_get(dst, i) == model_convert(model_get(flat, i), to));
        hwb_tensor_release(dense);
        hwb_tensor_release(flat);
        hwb_tensor_release(dst);
        hwb_tensor_release(out);
        hwb_tensor_release(src);
    }
    test_ctx_free(ctx);
}

/* Merging and splitting axes of any view shows the same elements in order. */
static void test_reshapes_of_random_views(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    uint64_t draw = 0;
    hwb_rng rng = {.seed = 8, .stream = 1};
    int shared = 0, copied = 0;
    for (int round = 0; round < 400; round++) {
        hwb_tensor *v = random_view(ctx, rng, &draw, HWB_I32, false), *w = NULL;
        const hwb_shape *s = hwb_tensor_shape(v);
        if (s->ndim >= 2) {
            int merged = (int)hwb_rng_below(rng, draw++, (uint64_t)s->ndim - 1);
            hwb_shape to = {.ndim = 0};
            for (int i = 0; i < s->ndim; i++) {
                if (i == merged + 1) to.dim[to.ndim - 1] *= s->dim[i];
                else if (s->dim[i] % 2 == 0 && i != merged && to.ndim < 5)
                    to.dim[to.ndim++] = 2, to.dim[to.ndim++] = s->dim[i] / 2;
                else to.dim[to.ndim++] = s->dim[i];
            }
            to.dim[hwb_rng_below(rng, draw++, (uint64_t)to.ndim)] = -1;
            assert_ok(ctx, hwb_tensor_reshape(ctx, &w, v, to));
            assert_int_equal(hwb_tensor_numel(w), hwb_tensor_numel(v));
            for (int64_t i = 0; i < hwb_tensor_numel(v); i++)
                assert_true(model_get(w, i) == model_get(v, i));
            bool same = hwb_tensor_storage_id(w) == hwb_tensor_storage_id(v);
            shared += same;
            copied += !same;
        }
        hwb_tensor_release(w);
        hwb_tensor_release(v);
    }
    assert_true(shared > 20 && copied > 20); /* both ways were taken */
    test_ctx_free(ctx);
}

/* Sizes that go parallel, in the layouts that networks use. */
static void test_big_copies(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_set_threads(ctx, 4);
    static const int order[][4] = {{0, 2, 3, 1}, {0, 3, 1, 2}, {3, 2, 1, 0}, {1, 0, 2, 3}};
    static const int sizes[][4] = {{5, 3, 97, 83}, {2, 65, 31, 33}, {129, 300, 1, 3}};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        const int *n = sizes[k];
        hwb_tensor *t = arange(ctx, HWB_F32, hwb_shape_of(4, n[0], n[1], n[2], n[3]));
        for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
            hwb_tensor *v = NULL, *dense = NULL, *wide = NULL;
            assert_ok(ctx, hwb_tensor_permute(ctx, &v, t, order[i]));
            assert_ok(ctx, hwb_tensor_contiguous(ctx, &dense, v));
            assert_same_values(v, dense);
            assert_ok(ctx, hwb_tensor_to(ctx, &wide, v, HWB_F64));
            assert_same_values(v, wide);
            hwb_tensor_release(wide);
            hwb_tensor_release(dense);
            hwb_tensor_release(v);
        }
        hwb_tensor_release(t);
    }
    hwb_tensor *line = arange(ctx, HWB_I64, hwb_shape_of(1, 100001)), *copy = NULL;
    assert_ok(ctx, hwb_tensor_clone(ctx, &copy, line));
    assert_same_values(line, copy);
    hwb_tensor_release(copy);
    hwb_tensor_release(line);
    hwb_set_threads(ctx, 0);
    test_ctx_free(ctx);
}

static void test_copy_broadcasts_and_overlaps(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_tensor *t = arange(ctx, HWB_F32, hwb_shape_of(2, 30, 30)), *turned = NULL, *before = NULL;
    assert_ok(ctx, hwb_tensor_clone(ctx, &before, t));
    assert_ok(ctx, hwb_tensor_permute(ctx, &turned, t, (const int[]){1, 0}));
    assert_ok(ctx, hwb_tensor_copy(ctx, t, turned)); /* transposition in place */
    for (int64_t i = 0; i < 30; i++)
        for (int64_t j = 0; j < 30; j++)
            assert_near(hwb_tensor_get(t, i * 30 + j), (double)(j * 30 + i), 0);
    assert_ok(ctx, hwb_tensor_copy(ctx, t, before));
    hwb_tensor *low = NULL, *high = NULL; /* rows 0..28 := rows 1..29, as memmove does */
    assert_ok(ctx, hwb_tensor_slice(ctx, &low, t, 0, 0, 29, 1));
    assert_ok(ctx, hwb_tensor_slice(ctx, &high, t, 0, 1, 29, 1));
    assert_ok(ctx, hwb_tensor_copy(ctx, high, low));
    for (int64_t i = 0; i < 29 * 30; i++) assert_near(hwb_tensor_get(high, i), (double)i, 0);
    hwb_tensor *row = arange(ctx, HWB_I32, hwb_shape_of(1, 30));
    assert_ok(ctx, hwb_tensor_copy(ctx, t, row));
    for (int64_t i = 0; i < 900; i++) assert_near(hwb_tensor_get(t, i), (double)(i % 30), 0);
    hwb_tensor *seven = NULL;
    assert_ok(ctx, hwb_tensor_scalar(ctx, &seven, HWB_BOOL, 7));
    assert_ok(ctx, hwb_tensor_copy(ctx, t, seven));
    assert_near(hwb_tensor_sum(t), 900, 0);
    assert_fails(ctx, hwb_tensor_copy(ctx, row, t), HWB_ESHAPE, "30x30 into shape 30");
    hwb_tensor *all[] = {seven, row, high, low, turned, before, t};
    for (size_t i = 0; i < 7; i++) hwb_tensor_release(all[i]);
    test_ctx_free(ctx);
}

/* Ends of the ranges, NaN and infinities: saturation, never undefined. */
static void test_conversion_edges(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    static const struct {
        double x;
        int64_t i32, i64, u8, b;
    } row[] = {
        {0.9, 0, 0, 0, 1},
        {-0.9, 0, 0, 0, 1},
        {-0.0, 0, 0, 0, 0},
        {255.99, 255, 255, 255, 1},
        {256, 256, 256, 255, 1},
        {-1, -1, -1, 0, 1},
        {2147483647.5, INT32_MAX, 2147483647, 255, 1},
        {2147483648.0, INT32_MAX, 2147483648, 255, 1},
        {-2147483648.9, INT32_MIN, -2147483648, 0, 1},
        {-2147483650.0, INT32_MIN, -2147483650, 0, 1},
        {9.3e18, INT32_MAX, INT64_MAX, 255, 1},
        {0x1p63, INT32_MAX, INT64_MAX, 255, 1},
        {-0x1p63, INT32_MIN, INT64_MIN, 0, 1},
        {-1e300, INT32_MIN, INT64_MIN, 0, 1},
        {INFINITY, INT32_MAX, INT64_MAX, 255, 1},
        {-INFINITY, INT32_MIN, INT64_MIN, 0, 1},
        {NAN, 0, 0, 0, 1},
    };
    enum { N = sizeof row / sizeof row[0] };
    hwb_tensor *x = NULL, *y[4] = {NULL};
    assert_ok(ctx, hwb_tensor_new(ctx, &x, HWB_F64, hwb_shape_of(1, N)));
    for (int i = 0; i < N; i++) hwb_tensor_set(x, i, row[i].x);
    static const hwb_dtype to[4] = {HWB_I32, HWB_I64, HWB_U8, HWB_BOOL};
    for (int k = 0; k < 4; k++) assert_ok(ctx, hwb_tensor_to(ctx, &y[k], x, to[k]));
    for (int i = 0; i < N; i++) {
        assert_true(hwb_tensor_get_int(y[0], i) == row[i].i32);
        assert_true(hwb_tensor_get_int(y[1], i) == row[i].i64);
        assert_true(hwb_tensor_get_int(y[2], i) == row[i].u8);
        assert_true(hwb_tensor_get_int(y[3], i) == row[i].b);
        assert_true(hwb_tensor_get_int(x, i) == row[i].i64);
    }
    for (int k = 0; k < 4; k++) hwb_tensor_release(y[k]);
    hwb_tensor_release(x);
    /* int64 to narrower integers saturates; int64 keeps its low bits */
    int64_t wide[] = {INT64_MIN, -1, 300, INT64_MAX, ((int64_t)1 << 53) + 1};
    assert_ok(ctx, hwb_tensor_from(ctx, &x, HWB_I64, hwb_shape_of(1, 5), wide));
    assert_true(hwb_tensor_get_int(x, 4) == wide[4]);
    assert_ok(ctx, hwb_tensor_to(ctx, &y[0], x, HWB_I32));
    assert_ok(ctx, hwb_tensor_to(ctx, &y[1], x, HWB_U8));
    static const int32_t narrow[] = {INT32_MIN, -1, 300, INT32_MAX, INT32_MAX};
    static const uint8_t bytes[] = {0, 0, 255, 255, 255};
    assert_memory_equal(hwb_tensor_data(y[0]), narrow, sizeof narrow);
    assert_memory_equal(hwb_tensor_data(y[1]), bytes, sizeof bytes);
    for (int k = 0; k < 2; k++) hwb_tensor_release(y[k]);
    hwb_tensor_release(x);
    test_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_of_random_views),
        cmocka_unit_test(test_reshapes_of_random_views),
        cmocka_unit_test(test_big_copies),
        cmocka_unit_test(test_copy_broadcasts_and_overlaps),
        cmocka_unit_test(test_conversion_edges),
    };
    return RUN_TESTS(tests);
}
