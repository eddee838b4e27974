/*
 * test_quant.c: quantizer identities, packing, activation ranges, dyadic
 * numbers, and the size arithmetic of the published tables from layer shapes.
 */
#include "testing.h"

#include "quant/quant.h"

static hwb_tensor *normal(hwb_ctx *ctx, hwb_dtype d, hwb_shape shape, uint64_t seed) {
    hwb_tensor *t = NULL;
    assert_ok(ctx, hwb_tensor_new(ctx, &t, d, shape));
    assert_ok(ctx, hwb_tensor_fill_normal(ctx, t, (hwb_rng){seed, 3}));
    return t;
}

static const hwb_quant_scheme schemes[] = {HWB_QUANT_SYMMETRIC, HWB_QUANT_ASYMMETRIC};

/* ---- identities over every combination ---------------------------------------------- */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int distinct(const hwb_tensor *t) {
    int64_t n = hwb_tensor_numel(t);
    double *a = malloc((size_t)n * sizeof *a);
    for (int64_t i = 0; i < n; i++) a[i] = hwb_tensor_get(t, i);
    qsort(a, (size_t)n, sizeof *a, by_value);
    int count = n > 0;
    for (int64_t i = 1; i < n; i++) count += a[i] != a[i - 1];
    free(a);
    return count;
}

static void assert_same(const hwb_tensor *a, const hwb_tensor *b) {
    assert_int_equal(hwb_tensor_dtype(a), hwb_tensor_dtype(b));
    assert_true(hwb_shape_equal(hwb_tensor_shape(a), hwb_tensor_shape(b)));
    assert_memory_equal(hwb_tensor_data(a), hwb_tensor_data(b), hwb_tensor_bytes(a));
}

static void identities(hwb_ctx *ctx, hwb_tensor *w, const hwb_quant_spec *spec) {
    hwb_quant_params p;
    hwb_tensor *codes, *back, *q, *qq, *bytes, *codes2, *fake;
    assert_ok(ctx, hwb_quant_range(ctx, &p, w, spec));
    int64_t groups = hwb_quant_groups(spec, hwb_tensor_shape(w)), n = hwb_tensor_numel(w);
    assert_int_equal(hwb_tensor_numel(p.scale), groups);
    assert_ok(ctx, hwb_quant_encode(ctx, &codes, w, &p));
    assert_ok(ctx, hwb_quant_decode(ctx, &back, codes, &p));
    assert_ok(ctx, hwb_quant_apply(ctx, &q, w, &p));
    assert_ok(ctx, hwb_quant_fake(ctx, &fake, w, spec));
    assert_ok(ctx, hwb_quant_apply(ctx, &qq, q, &p));
    assert_same(back, q); /* decode(encode(w)) == apply(w) */
    assert_same(fake, q);
    assert_same(qq, q); /* q(q(w)) == q(w) */
    double err = 0, want = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t c = hwb_tensor_get_int(codes, i);
        assert_true(c >= hwb_quant_lowest(spec) && c <= hwb_quant_highest(spec));
        double d = hwb_tensor_get(q, i) - hwb_tensor_get(w, i);
        want += d * d;
    }
    assert_ok(ctx, hwb_quant_error(ctx, &err, w, spec));
    assert_near(err, want, 1e-12);
    if (groups == 1) assert_true(distinct(q) <= 1 << spec->bits);
    /* rounding error is at most half a step where nothing is clipped */
    if (spec->ranging == HWB_QUANT_MINMAX && (spec->bits > 1 || spec->scheme)) {
        int64_t cols = n / hwb_tensor_shape(w)->dim[0];
        for (int64_t i = 0; i < n; i++) {
            double s = hwb_tensor_get(p.scale, i / cols / p.group_rows);
            double tie = spec->scheme ? 1.0 : 0.5; /* z may round away half a step at an end */
            assert_true(fabs(hwb_tensor_get(q, i) - hwb_tensor_get(w, i)) <= tie * s * 1.00001);
        }
    }
    assert_ok(ctx, hwb_quant_pack(ctx, &bytes, codes, spec));
    assert_int_equal(hwb_tensor_numel(bytes), (n * spec->bits + 7) / 8);
    assert_int_equal(hwb_quant_packed_bytes(n, groups, spec),
                     hwb_tensor_numel(bytes) + groups * (spec->scheme ? 8 : 4));
    assert_ok(ctx, hwb_quant_unpack(ctx, &codes2, bytes, *hwb_tensor_shape(w), spec));
    assert_same(codes, codes2);
    hwb_tensor *all[] = {codes, back, q, qq, bytes, codes2, fake};
    for (int i = 0; i < 7; i++) hwb_tensor_release(all[i]);
    hwb_quant_params_free(&p);
}

static void test_identities(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    for (int t = 0; t < 2; t++) {
        hwb_tensor *w = normal(ctx, t ? HWB_F64 : HWB_F32, hwb_shape_of(4, 7, 3, 3, 5), 1);
        for (int bits = 1; bits <= 8; bits++)
            for (int s = 0; s < 2; s++)
                for (int g = 0; g < 3; g++)
                    for (int r = 0; r < 3; r++) {
                        hwb_quant_spec spec = {.bits = bits,
                                               .scheme = schemes[s],
                                               .granularity = (hwb_quant_granularity)g,
                                               .group_rows = 3, /* 3 + 3 + 1 */
                                               .ranging = (hwb_quant_ranging)r,
                                               .percentile = 98};
                        identities(ctx, w, &spec);
                    }
        hwb_tensor_release(w);
    }
    test_ctx_free(ctx);
}

/* Formulas by hand on a few numbers. */
static void test_by_hand(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    const double values[] = {-0.875, 0.25, 0.0, 1.75, 0.125, 0.375};
    hwb_tensor *w = NULL, *q = NULL;
    hwb_quant_params p;
    assert_ok(ctx, hwb_tensor_from(ctx, &w, HWB_F64, hwb_shape_of(2, 2, 3), values));
    hwb_quant_spec s = hwb_quant_defaults();
    s.granularity = HWB_QUANT_PER_TENSOR;
    s.bits = 4;
    assert_ok(ctx, hwb_quant_range(ctx, &p, w, &s));
    assert_true(hwb_tensor_get(p.scale, 0) == 0.25);
    assert_ok(ctx, hwb_quant_encode(ctx, &q, w, &p));
    /* -3.5, 0.5 and 1.5 go to even */
    const int want[] = {-4, 1, 0, 7, 0, 2};
    for (int i = 0; i < 6; i++) assert_int_equal(hwb_tensor_get_int(q, i), want[i]);
    hwb_tensor_release(q);
    hwb_quant_params_free(&p);
    s.scheme = HWB_QUANT_ASYMMETRIC;
    s.bits = 3;
    assert_ok(ctx, hwb_quant_range(ctx, &p, w, &s));
    assert_near(hwb_tensor_get(p.scale, 0), 0.375, 1e-15); /* 2.625 / 7 */
    assert_int_equal(hwb_tensor_get_int(p.zero, 0), 2);
    hwb_quant_params_free(&p);
    s.scheme = HWB_QUANT_SYMMETRIC;
    s.bits = 1;
    assert_ok(ctx, hwb_quant_range(ctx, &p, w, &s));
    assert_near(hwb_tensor_get(p.scale, 0), 3.375 / 6, 1e-15);
    assert_ok(ctx, hwb_quant_apply(ctx, &q, w, &p));
    assert_near(hwb_tensor_get(q, 0), -3.375 / 6, 1e-15);
    assert_near(hwb_tensor_get(q, 2), 3.375 / 6, 1e-15); /* sign(0) = + */
    hwb_tensor_release(q);
    hwb_quant_params_free(&p);
    s.bits = 8;
    s.granularity = HWB_QUANT_PER_CHANNEL;
    assert_ok(ctx, hwb_quant_range(ctx, &p, w, &s));
    assert_near(hwb_tensor_get(p.scale, 0), 0.875 / 127, 1e-15);
    assert_near(hwb_tensor_get(p.scale, 1), 1.75 / 127, 1e-15);
    hwb_quant_params_free(&p);
    hwb_tensor_release(w);
    test_ctx_free(ctx);
}

/* Asymmetric quantizers represent zero exactly, even when no weight is near it. */
static void test_zero_is_exact(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    for (uint64_t seed = 0; seed < 50; seed++)
        for (int bits = 1; bits <= 8; bits++) {
            double v[9];
            double shift = 4 * hwb_rng_uniform((hwb_rng){seed, 8}, 0) - 2;
            for (int i = 0; i < 8; i++)
                v[i] = shift + hwb_rng_uniform((hwb_rng){seed, 9}, (uint64_t)i);
            v[8] = 0;
            hwb_tensor *w = NULL, *q = NULL;
            hwb_quant_spec s = hwb_quant_defaults();
            s.bits = bits;
            s.scheme = HWB_QUANT_ASYMMETRIC;
            s.granularity = HWB_QUANT_PER_TENSOR;
            assert_ok(ctx, hwb_tensor_from(ctx, &w, HWB_F64, hwb_shape_of(1, 9), v));
            assert_ok(ctx, hwb_quant_fake(ctx, &q, w, &s));
            assert_true(hwb_tensor_get(q, 8) == 0);
            hwb_tensor_release(w);
            hwb_tensor_release(q);
        }
    test_ctx_free(ctx);
}

/* Percentile drops outliers; MSE beats min-max and finds the best grid point. */
static void test_ranging(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_tensor *w = normal(ctx, HWB_F64, hwb_shape_of(2, 8, 500), 4);
    hwb_tensor_set(w, 17, 90);
    for (int s = 0; s < 2; s++)
        for (int bits = 2; bits <= 8; bits += 3)
            for (int g = 0; g < 2; g++) {
                hwb_quant_spec spec = hwb_quant_defaults();
                spec.bits = bits;
                spec.scheme = schemes[s];
                spec.granularity = (hwb_quant_granularity)g;
                double minmax, mse, best = INFINITY;
                assert_ok(ctx, hwb_quant_error(ctx, &minmax, w, &spec));
                spec.ranging = HWB_QUANT_MSE;
                assert_ok(ctx, hwb_quant_error(ctx, &mse, w, &spec));
                assert_true(mse <= minmax);
                if (g == 0 && s == 0) { /* the grid by hand */
                    for (int i = 1; i <= 80; i++) {
                        double e = 0, scale = 90.0 * i / 80 / ((1 << (bits - 1)) - 1);
                        for (int64_t k = 0; k < 4000; k++) {
                            double x = hwb_tensor_get(w, k), lo = -(1 << (bits - 1)),
                                   r = rint(x / scale);
                            r = fmin(fmax(r, lo), -lo - 1) * scale - x;
                            e += r * r;
                        }
                        best = fmin(best, e);
                    }
                    assert_near(mse, best, 1e-12);
                }
                spec.ranging = HWB_QUANT_PERCENTILE;
                spec.percentile = 99.5;
                hwb_quant_params p;
                assert_ok(ctx, hwb_quant_range(ctx, &p, w, &spec));
                assert_true(hwb_tensor_get(p.scale, 0) * ((1 << bits) - 1) < 12);
                hwb_quant_params_free(&p);
            }
    /* percentile 100 is min-max; the rank of a small set by hand */
    const double five[] = {5, -1, 3, 2, 4};
    hwb_tensor *v = NULL;
    hwb_quant_params p;
    assert_ok(ctx, hwb_tensor_from(ctx, &v, HWB_F64, hwb_shape_of(1, 5), five));
    hwb_quant_spec spec = hwb_quant_defaults();
    spec.granularity = HWB_QUANT_PER_TENSOR;
    spec.ranging = HWB_QUANT_PERCENTILE;
    spec.percentile = 80; /* 4 of 5 */
    assert_ok(ctx, hwb_quant_range(ctx, &p, v, &spec));
    assert_near(hwb_tensor_get(p.scale, 0), 4.0 / 127, 1e-15);
    hwb_quant_params_free(&p);
    spec.percentile = 100;
    assert_ok(ctx, hwb_quant_range(ctx, &p, v, &spec));
    assert_near(hwb_tensor_get(p.scale, 0), 5.0 / 127, 1e-15);
    hwb_quant_params_free(&p);
    hwb_tensor_release(v);
    hwb_tensor_release(w);
    test_ctx_free(ctx);
}

static void test_odd_tensors(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    const hwb_shape shapes[] = {{.ndim = 0},
                                {.ndim = 1, .dim = {1}},
                                {.ndim = 1, .dim = {0}},
                                {.ndim = 2, .dim = {3, 0}},
                                {.ndim = 2, .dim = {0, 3}}};
    for (int i = 0; i < 5; i++)
        for (int g = 0; g < 3; g++)
            for (int s = 0; s < 2; s++) {
                hwb_quant_spec spec = hwb_quant_defaults();
                spec.bits = 3;
                spec.scheme = schemes[s];
                spec.granularity = (hwb_quant_granularity)g;
                spec.group_rows = 2;
                for (int r = 0; r < 3; r++) {
                    spec.ranging = (hwb_quant_ranging)r;
                    hwb_tensor *w = NULL, *q = NULL;
                    assert_ok(ctx, hwb_tensor_new(ctx, &w, HWB_F32, shapes[i]));
                    assert_ok(ctx, hwb_tensor_fill(ctx, w, -2.5));
                    assert_ok(ctx, hwb_quant_fake(ctx, &q, w, &spec));
                    if (hwb_tensor_numel(w)) /* a constant is exact */
                        assert_near(hwb_tensor_get(q, 0), -2.5, 1e-6);
                    double err;
                    assert_ok(ctx, hwb_quant_error(ctx, &err, w, &spec));
                    assert_near(err, 0, 1e-9);
                    hwb_tensor_release(w);
                    hwb_tensor_release(q);
                }
            }
    /* all zero; a strided view equals its copy */
    hwb_tensor *z = NULL, *q = NULL, *w = normal(ctx, HWB_F32, hwb_shape_of(2, 6, 10), 2);
    hwb_quant_spec spec = hwb_quant_defaults();
    assert_ok(ctx, hwb_tensor_zeros(ctx, &z, HWB_F32, hwb_shape_of(2, 2, 2)));
    assert_ok(ctx, hwb_quant_fake(ctx, &q, z, &spec));
    assert_true(hwb_tensor_get(q, 3) == 0);
    hwb_tensor_release(q);
    hwb_tensor_release(z);
    int axes[] = {1, 0};
    hwb_tensor *view = NULL, *copy = NULL, *a = NULL, *b = NULL;
    assert_ok(ctx, hwb_tensor_permute(ctx, &view, w, axes));
    assert_ok(ctx, hwb_tensor_clone(ctx, &copy, view));
    assert_ok(ctx, hwb_quant_fake(ctx, &a, view, &spec));
    assert_ok(ctx, hwb_quant_fake(ctx, &b, copy, &spec));
    assert_same(a, b);
    hwb_tensor *all[] = {w, view, copy, a, b};
    for (int i = 0; i < 5; i++) hwb_tensor_release(all[i]);
    test_ctx_free(ctx);
}

static void test_quant_errors(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_tensor *w = normal(ctx, HWB_F32, hwb_shape_of(2, 4, 5), 1), *q = NULL, *i32 = NULL;
    hwb_quant_spec s = hwb_quant_defaults();
    hwb_quant_params p, other;
    s.bits = 9;
    assert_fails(ctx, hwb_quant_fake(ctx, &q, w, &s), HWB_EARG, "9 bits");
    s.bits = 4;
    s.ranging = HWB_QUANT_PERCENTILE;
    s.percentile = 30;
    assert_fails(ctx, hwb_quant_fake(ctx, &q, w, &s), HWB_EARG, "percentile 30");
    s.ranging = HWB_QUANT_MINMAX;
    assert_ok(ctx, hwb_quant_range(ctx, &p, w, &s));
    hwb_tensor_set(w, 7, (double)NAN);
    assert_fails(ctx, hwb_quant_range(ctx, &other, w, &s), HWB_ENUMERIC,
                 "element 8 of 20 (4x5) is nan");
    assert_fails(ctx, hwb_quant_apply(ctx, &q, w, &p), HWB_ENUMERIC, "element 8");
    hwb_tensor_set(w, 7, -INFINITY);
    assert_fails(ctx, hwb_quant_encode(ctx, &q, w, &p), HWB_ENUMERIC, "-inf");
    hwb_tensor_release(w);
    w = normal(ctx, HWB_F32, hwb_shape_of(2, 3, 5), 1);
    assert_fails(ctx, hwb_quant_apply(ctx, &q, w, &p), HWB_ESHAPE, "3x5");
    hwb_tensor_release(w);
    assert_ok(ctx, hwb_tensor_zeros(ctx, &i32, HWB_I32, hwb_shape_of(1, 3)));
    assert_fails(ctx, hwb_quant_fake(ctx, &q, i32, &s), HWB_EDTYPE, "int32");
    hwb_tensor_set(i32, 1, 8);
    assert_fails(ctx, hwb_quant_pack(ctx, &q, i32, &s), HWB_EARG, "code 8 (element 2)");
    hwb_tensor_release(i32);
    assert_ok(ctx, hwb_tensor_zeros(ctx, &i32, HWB_U8, hwb_shape_of(1, 3)));
    assert_fails(ctx, hwb_quant_unpack(ctx, &q, i32, hwb_shape_of(1, 7), &s), HWB_ESHAPE,
                 "4 bytes");
    hwb_tensor_release(i32);
    hwb_quant_params_free(&p);
    double scale;
    int zero;
    assert_fails(ctx, hwb_quant_scale(ctx, &scale, &zero, 2, 1, 8, schemes[0]), HWB_EARG, "range");
    test_ctx_free(ctx);
}

/* Every allocation fails once: an error, nothing leaked. */
static void test_out_of_memory(void **state) {
    (void)state;
    for (int64_t at = 1;; at++) {
        char text[32];
        snprintf(text, sizeof text, "%lld", (long long)at);
        setenv("HWB_TEST_FAIL_ALLOC", text, 1);
        hwb_ctx *ctx = test_ctx_new();
        unsetenv("HWB_TEST_FAIL_ALLOC");
        hwb_quant_spec spec = hwb_quant_defaults();
        hwb_quant_params p = {0};
        hwb_observer *o = NULL;
        hwb_tensor *t[6] = {0};
        double err;
        hwb_status s = hwb_tensor_zeros(ctx, &t[0], HWB_F32, hwb_shape_of(2, 6, 10));
        if (s == HWB_OK) s = hwb_quant_range(ctx, &p, t[0], &spec);
        if (s == HWB_OK) s = hwb_quant_encode(ctx, &t[1], t[0], &p);
        if (s == HWB_OK) s = hwb_quant_decode(ctx, &t[2], t[1], &p);
        if (s == HWB_OK) s = hwb_quant_fake(ctx, &t[3], t[0], &spec);
        if (s == HWB_OK) s = hwb_quant_error(ctx, &err, t[0], &spec);
        if (s == HWB_OK) s = hwb_quant_pack(ctx, &t[4], t[1], &spec);
        if (s == HWB_OK) s = hwb_quant_unpack(ctx, &t[5], t[4], hwb_shape_of(2, 6, 10), &spec);
        if (s == HWB_OK) s = hwb_observer_new(ctx, &o, HWB_OBSERVE_MINMAX, 0);
        if (s == HWB_OK) s = hwb_observer_update(ctx, o, t[0]);
        int64_t calls = hwb_memory(ctx).allocations;
        assert_int_equal(s, calls < at ? HWB_OK : HWB_ENOMEM);
        for (int i = 0; i < 6; i++) hwb_tensor_release(t[i]);
        hwb_quant_params_free(&p);
        hwb_observer_free(o);
        test_ctx_free(ctx);
        if (calls < at) break;
    }
}

static void test_pack_layout(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    /* 3 bits, lowest -4: codes -3, 1, 3 -> 1, 5, 7 -> 001 101 111 from bit 0 */
    const int32_t codes[] = {-3, 1, 3};
    hwb_quant_spec s = hwb_quant_defaults();
    hwb_tensor *c = NULL, *b = NULL;
    s.bits = 3;
    assert_ok(ctx, hwb_tensor_from(ctx, &c, HWB_I32, hwb_shape_of(1, 3), codes));
    assert_ok(ctx, hwb_quant_pack(ctx, &b, c, &s));
    assert_int_equal(hwb_tensor_numel(b), 2);
    assert_int_equal(hwb_tensor_get_int(b, 0), 1 | 5 << 3 | (7 & 3) << 6);
    assert_int_equal(hwb_tensor_get_int(b, 1), 1);
    hwb_tensor_release(c);
    hwb_tensor_release(b);
    test_ctx_free(ctx);
}

static void test_thread_independence(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_tensor *w = normal(ctx, HWB_F32, hwb_shape_of(2, 64, 1153), 6);
    for (int g = 0; g < 3; g++) {
        hwb_quant_spec s = hwb_quant_defaults();
        s.granularity = (hwb_quant_granularity)g;
        s.group_rows = 6;
        s.ranging = HWB_QUANT_MSE;
        s.bits = 3;
        hwb_tensor *q[2];
        double e[2];
        for (int i = 0; i < 2; i++) {
            hwb_set_threads(ctx, i ? 4 : 1);
            assert_ok(ctx, hwb_quant_fake(ctx, &q[i], w, &s));
            assert_ok(ctx, hwb_quant_error(ctx, &e[i], w, &s));
        }
        assert_same(q[0], q[1]);
        assert_true(e[0] == e[1]);
        hwb_tensor_release(q[0]);
        hwb_tensor_release(q[1]);
    }
    hwb_tensor_release(w);
    test_ctx_free(ctx);
}

/* ---- activations ------------------------------------------------------------------------ */

static void test_observer(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    const double first[] = {0, 1, 4}, second[] = {-2, 3, 2};
    hwb_tensor *a = NULL, *b = NULL;
    assert_ok(ctx, hwb_tensor_from(ctx, &a, HWB_F64, hwb_shape_of(1, 3), first));
    assert_ok(ctx, hwb_tensor_from(ctx, &b, HWB_F64, hwb_shape_of(1, 3), second));
    hwb_observer *o = NULL;
    double lo, hi;
    assert_ok(ctx, hwb_observer_new(ctx, &o, HWB_OBSERVE_MINMAX, 0));
    assert_fails(ctx, hwb_observer_range(ctx, o, &lo, &hi), HWB_EARG, "before");
    assert_ok(ctx, hwb_observer_update(ctx, o, a));
    assert_ok(ctx, hwb_observer_update(ctx, o, b));
    assert_ok(ctx, hwb_observer_range(ctx, o, &lo, &hi));
    assert_true(lo == -2 && hi == 4);
    hwb_observer_free(o);
    assert_ok(ctx, hwb_observer_new(ctx, &o, HWB_OBSERVE_EMA, 0.9));
    assert_ok(ctx, hwb_observer_update(ctx, o, a));
    assert_ok(ctx, hwb_observer_update(ctx, o, b));
    assert_ok(ctx, hwb_observer_range(ctx, o, &lo, &hi));
    assert_near(lo, -0.2, 1e-15);
    assert_near(hi, 0.9 * 4 + 0.1 * 3, 1e-15);
    hwb_observer_free(o);
    hwb_tensor_release(a);
    hwb_tensor_release(b);
    assert_fails(ctx, hwb_observer_new(ctx, &o, HWB_OBSERVE_EMA, 1), HWB_EARG, "momentum");
    /* percentiles of growing batches against the sorted values */
    enum { N = 6000, BATCHES = 8 };
    double *all = malloc(N * BATCHES * sizeof *all);
    assert_ok(ctx, hwb_observer_new(ctx, &o, HWB_OBSERVE_PERCENTILE, 99));
    for (int k = 0; k < BATCHES; k++) {
        hwb_tensor *x = normal(ctx, HWB_F64, hwb_shape_of(1, N), 30 + (uint64_t)k);
        for (int i = 0; i < N; i++) { /* shifts left, right and grows */
            hwb_tensor_set(x, i, hwb_tensor_get(x, i) * (k + 1) * 0.3 + (k % 2 ? 5 : -5) * k);
            all[k * N + i] = hwb_tensor_get(x, i);
        }
        assert_ok(ctx, hwb_observer_update(ctx, o, x));
        hwb_tensor_release(x);
    }
    qsort(all, N * BATCHES, sizeof *all, by_value);
    assert_ok(ctx, hwb_observer_range(ctx, o, &lo, &hi));
    double span = all[N * BATCHES - 1] - all[0];
    assert_near(lo, all[N * BATCHES / 100 - 1], span * 2e-3);
    assert_near(hi, all[N * BATCHES * 99 / 100 - 1], span * 2e-3);
    hwb_observer_free(o);
    free(all);
    /* constant, tiny and empty batches */
    const double same[] = {3, 3, 3}, tiny[] = {5e-324, 0, 5e-324};
    const double *odd[] = {same, tiny};
    for (int i = 0; i < 2; i++) {
        assert_ok(ctx, hwb_observer_new(ctx, &o, HWB_OBSERVE_PERCENTILE, 99.9));
        assert_ok(ctx, hwb_tensor_from(ctx, &a, HWB_F64, hwb_shape_of(1, 3), odd[i]));
        assert_ok(ctx, hwb_tensor_zeros(ctx, &b, HWB_F64, hwb_shape_of(1, 0)));
        assert_ok(ctx, hwb_observer_update(ctx, o, b));
        assert_ok(ctx, hwb_observer_update(ctx, o, a));
        assert_ok(ctx, hwb_observer_range(ctx, o, &lo, &hi));
        assert_true(hi == odd[i][0] && lo <= hi);
        hwb_tensor_set(a, 1, (double)NAN);
        assert_fails(ctx, hwb_observer_update(ctx, o, a), HWB_ENUMERIC, "activation");
        hwb_tensor_release(a);
        hwb_tensor_release(b);
        hwb_observer_free(o);
    }
    test_ctx_free(ctx);
}

static void test_activation_scale(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    double scale;
    int zero;
    assert_ok(ctx, hwb_quant_scale(ctx, &scale, &zero, 0, 6, 4, HWB_QUANT_ASYMMETRIC));
    assert_near(scale, 0.4, 1e-15);
    assert_int_equal(zero, 0);
    const double x[] = {-1, 0.1, 0.2, 0.6, 5.9, 100}, want[] = {0, 0, 0, 0.4, 6, 6};
    hwb_tensor *t = NULL, *q = NULL;
    assert_ok(ctx, hwb_tensor_from(ctx, &t, HWB_F64, hwb_shape_of(1, 6), x));
    assert_ok(ctx, hwb_quant_fake_scale(ctx, &q, t, scale, zero, 4, HWB_QUANT_ASYMMETRIC));
    for (int i = 0; i < 6; i++)
        if (i != 3)
            assert_near(hwb_tensor_get(q, i), want[i], 1e-14); /* 0.6/0.4: 1.5 or a hair less */
    hwb_tensor_release(q);
    hwb_tensor_release(t);
    test_ctx_free(ctx);
}

/* b/2^shift is within one unit of the exact product in float64 */
static void test_dyadic(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    int64_t b;
    int shift;
    for (uint64_t i = 0; i < 20000; i++) {
        double m = exp(-25 * hwb_rng_uniform((hwb_rng){1, 1}, i) + 2);
        int32_t acc = (int32_t)((hwb_rng_uniform((hwb_rng){1, 2}, i) - 0.5) * 4294967295.0);
        assert_ok(ctx, hwb_quant_dyadic(ctx, &b, &shift, m));
        assert_near((double)b / pow(2, shift) / m, 1, 0x1p-31);
        double y = (double)acc * m;
        if (fabs(y) > 2e9) continue;
        int32_t got = hwb_quant_requantize(acc, b, shift, INT32_MIN, INT32_MAX);
        assert_true(fabs(got - y) <= 0.5 + fabs(y) * 0x1p-31 + 1e-9);
        assert_int_equal(hwb_quant_requantize(acc, b, shift, -8, 7), got < -8  ? -8
                                                                     : got > 7 ? 7
                                                                               : got);
    }
    assert_ok(ctx, hwb_quant_dyadic(ctx, &b, &shift, 0.5));
    assert_int_equal(hwb_quant_requantize(3, b, shift, -99, 99), 2); /* halves upwards */
    assert_int_equal(hwb_quant_requantize(-3, b, shift, -99, 99), -1);
    assert_ok(ctx, hwb_quant_dyadic(ctx, &b, &shift, 1e-30));
    assert_int_equal(hwb_quant_requantize(INT32_MAX, b, shift, -99, 99), 0);
    assert_fails(ctx, hwb_quant_dyadic(ctx, &b, &shift, 0), HWB_EARG, "positive");
    test_ctx_free(ctx);
}

/* ---- sizes from layer shapes ---------------------------------------------------------------- */

typedef struct net {
    hwb_size_layer l[128];
    int64_t n;
} net;

/* k x k convolution with batch norm, output h x h */
static void conv(net *t, int64_t in, int64_t out, int64_t k, int64_t h) {
    t->l[t->n++] = (hwb_size_layer){.weights = in * out * k * k,
                                    .bits = 32,
                                    .rest = 2 * out,
                                    .buffers = 2 * out,
                                    .macs = in * out * k * k * h * h};
}

static void dense(net *t, int64_t in, int64_t out) {
    t->l[t->n++] = (hwb_size_layer){.weights = in * out, .bits = 32, .rest = out, .macs = in * out};
}

/* He et al. 2016, stride in the first convolution of a block, 224 x 224 */
static net resnet(bool bottleneck, const int *blocks) {
    net t = {.n = 0};
    int64_t in = 64, h = 56, expand = bottleneck ? 4 : 1;
    conv(&t, 3, 64, 7, 112);
    for (int s = 0; s < 4; s++) {
        int64_t w = 64LL << s, out = w * expand;
        for (int b = 0; b < blocks[s]; b++) {
            if (b == 0 && s > 0) h /= 2;
            if (bottleneck) conv(&t, in, w, 1, h);
            conv(&t, bottleneck ? w : in, w, 3, h);
            conv(&t, w, out, bottleneck ? 1 : 3, h);
            if (b == 0 && in != out) conv(&t, in, out, 1, h);
            in = out;
        }
    }
    dense(&t, in, 1000);
    return t;
}

/* middle layers at `bits`, first and last at 8, folded: weights alone */
static hwb_size_report folded(net t, int bits) {
    hwb_size_options o = hwb_size_defaults();
    o.count_rest = false;
    for (int64_t i = 0; i < t.n; i++) t.l[i].bits = i == 0 || i == t.n - 1 ? 8 : bits;
    return hwb_size(t.l, t.n, &o);
}

static void test_resnet_sizes(void **state) {
    (void)state;
    const int b18[] = {2, 2, 2, 2}, b50[] = {3, 4, 6, 3};
    net r18 = resnet(false, b18), r50 = resnet(true, b50);
    hwb_size_options params = hwb_size_defaults(), state_dict = params;
    state_dict.state_dict = true;
    hwb_size_report a = hwb_size(r18.l, r18.n, &params), b = hwb_size(r50.l, r50.n, &params);
    assert_int_equal(a.parameters, 11689512);
    assert_int_equal(b.parameters, 25557032);
    assert_near(a.mib, 44.592, 5e-4 / 44);
    assert_near(b.mib, 97.492, 5e-4 / 97);
    assert_true(a.ratio == 1 && a.average_bits == 32);
    assert_near(hwb_size(r18.l, r18.n, &state_dict).mib, 44.63, 5e-3 / 44);
    assert_near(hwb_size(r50.l, r50.n, &state_dict).mib, 97.695, 5e-4 / 97);
    assert_near(a.bops / 1e9, 1857.6, 0.05 / 1857);
    assert_near(b.bops / 1e9, 3950.6, 0.05 / 3950);
    assert_near(folded(r18, 8).mib, 11.138, 5e-4 / 11);
    assert_near(folded(r18, 4).mib, 5.818, 5e-4 / 5);
    assert_near(folded(r50, 8).mib, 24.32, 5e-3 / 24);
    assert_near(folded(r50, 4).mib, 13.142, 5e-4 / 13);
    assert_near(folded(r18, 8).bops / 1e9, 116.1, 0.05 / 116);
    assert_near(folded(r50, 8).bops / 1e9, 246.9, 0.05 / 246);
    assert_near(folded(r18, 4).bops / 1e9, 34.71, 0.005 / 34);
    assert_near(folded(r50, 4).bops / 1e9, 67.49, 0.005 / 67);
    /* activations at 8 bits double the operations of 4-bit weights */
    for (int64_t i = 0; i < r50.n; i++) r50.l[i].bits = 4, r50.l[i].act_bits = 8;
    assert_near(hwb_size(r50.l, r50.n, &params).bops / 1e9, 3950.6 / 32, 0.05 / 123);
}

/* the rows on the basis of the 97.8 MB checkpoint: bytes = 97.8 b / 32 */
static void test_compression_rows(void **state) {
    (void)state;
    hwb_size_options o = hwb_size_defaults();
    const double mib[] = {6.11, 9.17, 12.23};
    for (int bits = 2; bits <= 4; bits++) {
        hwb_size_layer l = {.weights = (int64_t)(97.8 * 1048576 / 4), .bits = bits};
        hwb_size_report r = hwb_size(&l, 1, &o);
        assert_near(r.mib, mib[bits - 2], 6e-4);
        assert_near(r.ratio, 32.0 / bits, 1e-12);
    }
    /* 12.28x and 12.25x: 7.96 MB and 7.98 MB, 2.606 and 2.612 bits on average */
    const double ratio[] = {12.28, 12.25}, size[] = {7.964, 7.984}, bits[] = {2.606, 2.612};
    for (int i = 0; i < 2; i++) {
        int64_t n = 1000000, low = (int64_t)((3 - 32 / ratio[i]) * (double)n);
        hwb_size_layer l[] = {{.weights = low, .bits = 2}, {.weights = n - low, .bits = 3}};
        hwb_size_report r = hwb_size(l, 2, &o);
        assert_near(r.average_bits, bits[i], 3e-4);
        assert_near(r.ratio, ratio[i], 1e-5);
        assert_near(97.8 / r.ratio, size[i], 1e-4);
    }
    /* an own baseline (a checkpoint file's size) replaces the computed one */
    hwb_size_layer one = {.weights = 1048576, .bits = 8};
    o.baseline_bytes = 10 * 1048576.0;
    assert_near(hwb_size(&one, 1, &o).ratio, 10, 1e-12);
}

static void test_retinanet_size(void **state) {
    (void)state;
    const int b50[] = {3, 4, 6, 3};
    net t = resnet(true, b50);
    t.n--; /* no classifier */
    hwb_size_options o = hwb_size_defaults();
    assert_int_equal(hwb_size(t.l, t.n, &o).parameters, 23508032);
    const int64_t lateral[] = {512, 1024, 2048};
    /* {in, out, kernel}: FPN laterals and outputs, P6 from C5, P7, two heads of four layers */
    for (int i = 0; i < 3; i++) dense(&t, lateral[i], 256);
    for (int i = 0; i < 3; i++) dense(&t, 256 * 9, 256);
    dense(&t, 2048 * 9, 256);
    dense(&t, 256 * 9, 256);
    for (int i = 0; i < 8; i++) dense(&t, 256 * 9, 256);
    dense(&t, 256 * 9, 9 * 80);
    dense(&t, 256 * 9, 9 * 4);
    hwb_size_report r = hwb_size(t.l, t.n, &o);
    assert_int_equal(r.parameters, 37968692);
    assert_near(r.mib, 144.84, 5e-3 / 144);
    hwb_size_layer all4 = {.weights = r.parameters, .bits = 4};
    assert_near(hwb_size(&all4, 1, &o).mib, 18.13, 0.03 / 18);
}

/* encoder matrices, biases and norms at k bits, 128 groups a matrix with two
 * floats each, a two-label head in float; embeddings at 8 bits */
static void test_bert_sizes(void **state) {
    (void)state;
    int64_t d = 768, f = 3072, matrices = 12 * (4 * d * d + 2 * d * f);
    int64_t biases = 12 * (4 * d + f + d), norms = 12 * 4 * d;
    int64_t encoder = matrices + biases + norms, words = (28996 + 512 + 2) * d;
    assert_int_equal(encoder, 85054464);
    assert_int_equal(words, 22663680);
    hwb_size_options o = hwb_size_defaults();
    o.group_bytes = 8;
    hwb_size_layer l[] = {{.weights = encoder, .bits = 32}, {.weights = words, .bits = 32}};
    assert_near(hwb_size(l, 1, &o).mib, 324.457, 5e-4 / 324);
    assert_near(hwb_size(l, 2, &o).mib, 410.912, 5e-4 / 410);
    const int bits[] = {8, 4, 3, 2};
    const double without[] = {81.2, 40.6, 30.5, 20.4}, with[] = {102.8, 62.2, 52.1, 42.0};
    for (int i = 0; i < 4; i++) {
        l[0] = (hwb_size_layer){
            .weights = encoder, .bits = bits[i], .groups = 72 * 128, .rest = 2 * d + 2};
        l[1].bits = 8;
        assert_near(round(hwb_size(l, 1, &o).mib * 10) / 10, without[i], 1e-12);
        assert_near(round(hwb_size(l, 2, &o).mib * 10) / 10, with[i], 1e-12);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identities),          cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_zero_is_exact),       cmocka_unit_test(test_ranging),
        cmocka_unit_test(test_odd_tensors),         cmocka_unit_test(test_quant_errors),
        cmocka_unit_test(test_pack_layout),         cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_thread_independence), cmocka_unit_test(test_observer),
        cmocka_unit_test(test_activation_scale),    cmocka_unit_test(test_dyadic),
        cmocka_unit_test(test_resnet_sizes),        cmocka_unit_test(test_compression_rows),
        cmocka_unit_test(test_retinanet_size),      cmocka_unit_test(test_bert_sizes),
    };
    return RUN_TESTS(tests);
}
