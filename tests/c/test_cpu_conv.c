/*
 * The CPU backend's convolution trio and matrix products against ref: layouts,
 * dtypes, strides, padding, dilation, groups, every combination of K, the
 * accumulate input, kept weights.
 */
#include "cpu_check.h"

#include "backend/cpu/cpu_i.h"
#include "backend/cpu/cpu_direct_i.h"
#include "backend/cpu/cpu_wino_i.h"

typedef struct geometry {
    int n, c, h, w, o, k, stride, pad, dilation, groups;
} geometry;

static const geometry geometries[] = {
    {2, 16, 9, 9, 16, 3, 1, 1, 1, 1}, {3, 3, 12, 12, 16, 3, 1, 1, 1, 1},
    {2, 16, 8, 8, 32, 3, 2, 1, 1, 1}, {2, 32, 7, 5, 16, 1, 1, 0, 1, 1},
    {2, 16, 8, 8, 32, 1, 2, 0, 1, 1}, {1, 3, 21, 21, 8, 7, 2, 3, 1, 1},
    {2, 8, 10, 10, 8, 3, 1, 2, 2, 1}, {2, 8, 8, 8, 12, 3, 1, 1, 1, 4},
    {2, 6, 6, 6, 6, 3, 1, 1, 1, 6},   {1, 5, 6, 7, 10, 3, 1, 0, 1, 1},
    {4, 1, 8, 8, 1, 5, 1, 2, 1, 1},   {1, 64, 6, 6, 64, 3, 1, 1, 1, 1},
};

static hwb_shape with_k(int k, int64_t a, int64_t b, int64_t c, int64_t d) {
    return k ? hwb_shape_of(5, k, (int)a, (int)b, (int)c, (int)d)
             : hwb_shape_of(4, (int)a, (int)b, (int)c, (int)d);
}

static hwb_shape image(bool last, int k, int n, int c, int h, int w) {
    return last ? with_k(k, n, h, w, c) : with_k(k, n, c, h, w);
}

/* which: 0 x, 1 w, 2 y of the trio; kx, kw, ky: their K or 0 */
static check conv_case(hwb_op op, const geometry *g, hwb_dtype t, bool last, int k0, int k1,
                       int accumulate) {
    check c = {.d = {.op = op, .n_in = accumulate ? 3 : 2, .n_out = 1}, .seed = 3};
    hwb_attrs *a = &c.d.attrs;
    for (int i = 0; i < 2; i++) {
        a->kernel[i] = g->k;
        a->stride[i] = g->stride;
        a->dilation[i] = g->dilation;
        a->pad_lo[i] = a->pad_hi[i] = g->pad;
    }
    a->groups = g->groups;
    a->channels_last = last;
    int span = (g->k - 1) * g->dilation + 1;
    int oh = (g->h + 2 * g->pad - span) / g->stride + 1;
    int ow = (g->w + 2 * g->pad - span) / g->stride + 1;
    int kr = k0 > k1 ? k0 : k1;
    bool data = op == HWB_OP_CONV_BWD_DATA, weights = op == HWB_OP_CONV_BWD_WEIGHTS;
    hwb_shape x = image(last, data ? kr : k0, g->n, g->c, g->h, g->w);
    hwb_shape y = image(last, weights ? k1 : data ? k0 : kr, g->n, g->o, oh, ow);
    hwb_shape w = with_k(weights ? kr : k1, g->o, g->c / g->groups, g->k, g->k);
    a->shape = data ? image(last, 0, g->n, g->c, g->h, g->w) : w;
    c.in[0] = (hwb_vdesc){t, data ? y : x};
    c.in[1] = (hwb_vdesc){t, weights ? y : w};
    c.out[0] = (hwb_vdesc){t, data ? x : weights ? w : y};
    c.in[2] = c.out[0];
    c.in_place = accumulate == 2;
    c.d.stable = accumulate == 1 ? 2 : 0; /* kept weights in some of the cases */
    return c;
}

static void run_case(hwb_op op, const geometry *g, hwb_dtype t, bool last, int k0, int k1,
                     int accumulate) {
    check c = conv_case(op, g, t, last, k0, k1, accumulate);
    check_kernel(&c);
}

/* A case and another of the same result as a sum of two. */
static check pair_of(check c, const check *other, int accumulate) {
    c.in[2] = other->in[0];
    c.in[3] = other->in[1];
    c.in[4] = c.out[0];
    c.d.n_in = accumulate ? 5 : 4;
    c.d.stable = accumulate == 1 ? 10 : 0;
    c.in_place = accumulate == 2;
    return c;
}

/* No Winograd's algorithm; and no vectors longer than eight. */
static void use_products(void *state) {
    ((hwb__cpu_state *)state)->wino = NULL;
}

static void use_products_avx2(void *state) {
    use_products(state);
#if defined(__x86_64__)
    ((hwb__cpu_state *)state)->direct = &hwb__direct_avx2;
#endif
}

/* F(x',w) + F(x,w') for none or k tangents. */
static void run_pair(hwb_op op, const geometry *g, hwb_dtype t, bool last, int k, int accumulate,
                     void (*setup)(void *)) {
    check a = conv_case(op, g, t, last, k, 0, 0), b = conv_case(op, g, t, last, 0, k, 0);
    a = pair_of(a, &b, accumulate);
    a.exact_threads = setup != NULL;
    a.wide = setup == use_products || setup == use_products_avx2;
    a.setup = setup;
    check_kernel(&a);
}

/* Sums of two, of kernels that do one at a time. */
static void pairs(void **state) {
    (void)state;
    static const hwb_op ops[] = {HWB_OP_CONV, HWB_OP_CONV_BWD_DATA, HWB_OP_CONV_BWD_WEIGHTS};
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 3; j++)
            for (int wide = 0; wide < 2; wide++) {
                int accumulate = (i + j + wide) % 3;
                hwb_dtype t = wide ? HWB_F64 : HWB_F32;
                run_pair(ops[j], &geometries[i], t, i % 2 == 0, 0, accumulate, NULL);
                run_pair(ops[j], &geometries[i], t, i % 2 == 1, 3, accumulate, NULL);
            }
}

/* The name of the kernel begins so (or does not). */
static void assert_uses(check *c, const char *name, bool uses) {
    hwb_ctx *ctx = test_ctx_new();
    hwb_device *dev = NULL;
    hwb_kernel *kernel = NULL;
    c->d.in = c->in;
    c->d.out = c->out;
    assert_ok(ctx, hwb_device_open(ctx, &dev, "cpu"));
    assert_ok(ctx, dev->backend->prepare(ctx, dev->state, &kernel, &c->d));
    const char *is = dev->backend->kernel_name(dev->state, kernel);
    assert_int_equal(strncmp(is, name, strlen(name)) == 0, uses);
    dev->backend->kernel_free(dev->state, kernel);
    hwb_ctx_free(ctx);
}

static void run_geometries(hwb_op op) {
    for (size_t i = 0; i < sizeof geometries / sizeof *geometries; i++)
        for (int last = 0; last < 2; last++)
            for (int wide = 0; wide < 2; wide++) {
                hwb_dtype t = wide ? HWB_F64 : HWB_F32;
                run_case(op, &geometries[i], t, last, 0, 0, (int)(i % 3));
                run_case(op, &geometries[i], t, last, 3, 0, (int)((i + 1) % 3));
                run_case(op, &geometries[i], t, last, 0, 2, (int)((i + 2) % 3));
                run_case(op, &geometries[i], t, last, 2, 2, (int)(i % 3));
            }
}

static void forward(void **state) {
    (void)state;
    run_geometries(HWB_OP_CONV);
}

static void backward_data(void **state) {
    (void)state;
    run_geometries(HWB_OP_CONV_BWD_DATA);
}

static void backward_weights(void **state) {
    (void)state;
    run_geometries(HWB_OP_CONV_BWD_WEIGHTS);
}

static void skip_without_avx2(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return;
#endif
    print_message("no AVX2 here: convolutions are direct\n");
    skip();
}

static void use_best(void *state) {
    (void)state;
}

/* The vectors of eight that a machine without AVX-512 has. */
static void use_avx2(void *state) {
#if defined(__x86_64__)
    ((hwb__cpu_state *)state)->wino = &hwb__wino_avx2;
#else
    (void)state;
#endif
}

/* Winograd's algorithm: images that are no multiple of its 4x4 tiles, one image,
 * one channel vector and panels of odd length, padding of every kind, stride 2, layers of
 * so many channels that threads share outputs, a gradient of many slots; the same
 * bytes at any thread count; every kind of K and of accumulation. */
static void winograd(void **state) {
    (void)state;
    skip_without_avx2();
    static const geometry shapes[] = {
        {6, 16, 9, 9, 16, 3, 1, 1, 1, 1},    {10, 32, 7, 7, 48, 3, 1, 1, 1, 1},
        {1, 48, 22, 23, 32, 3, 1, 1, 1, 1},  {2, 16, 15, 22, 32, 3, 1, 0, 1, 1},
        {6, 32, 8, 11, 16, 3, 1, 2, 1, 1},   {9, 16, 16, 16, 32, 3, 2, 1, 1, 1},
        {2, 48, 42, 29, 16, 3, 2, 1, 1, 1},  {20, 32, 11, 13, 48, 3, 2, 1, 1, 1},
        {36, 144, 8, 8, 128, 3, 2, 1, 1, 1}, {1, 16, 56, 56, 16, 3, 1, 1, 1, 1},
        {8, 144, 8, 8, 128, 3, 1, 1, 1, 1},  {9, 16, 28, 28, 16, 3, 1, 1, 1, 1},
        {30, 32, 4, 4, 32, 3, 1, 1, 1, 1},
    };
    static const hwb_op ops[] = {HWB_OP_CONV, HWB_OP_CONV_BWD_DATA, HWB_OP_CONV_BWD_WEIGHTS};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int j = 0; j < 3; j++) {
            int accumulate = (int)(i + (size_t)j) % 3;
            check c = conv_case(ops[j], &shapes[i], HWB_F32, true, 0, 0, accumulate);
            c.exact_threads = true;
            assert_uses(&c, "winograd", true);
            check_kernel(&c);
            if (i > 7) continue;
            run_pair(ops[j], &shapes[i], HWB_F32, true, 0, accumulate, use_best);
            if (i < 2 || i == 5)
                run_pair(ops[j], &shapes[i], HWB_F32, true, 2, accumulate, use_best);
            run_pair(ops[j], &shapes[i], HWB_F32, true, 0, (accumulate + 1) % 3, use_avx2);
            c.setup = use_avx2;
            check_kernel(&c);
        }
    for (int j = 0; j < 3; j++)
        for (int accumulate = 0; accumulate < 3; accumulate++) {
            run_case(ops[j], &shapes[0], HWB_F32, true, 0, 0, accumulate);
            run_case(ops[j], &shapes[0], HWB_F32, true, 3, 0, accumulate);
            run_case(ops[j], &shapes[0], HWB_F32, true, 0, 2, accumulate);
            run_case(ops[j], &shapes[0], HWB_F32, true, 2, 2, accumulate);
        }
}

/* Several results at once: every choice of shared operands in a sum of two, more results
 * than are taken at once (128 x 128 weights: three), wide layers. */
static void winograd_shared(void **state) {
    (void)state;
    skip_without_avx2();
    static const geometry small = {5, 16, 9, 11, 48, 3, 1, 1, 1, 1};
    static const geometry strided = {5, 16, 21, 25, 48, 3, 2, 1, 1, 1};
    static const geometry many = {3, 128, 13, 13, 128, 3, 1, 1, 1, 1};
    static const geometry wide = {3, 144, 13, 13, 128, 3, 1, 1, 1, 1};
    static const hwb_op ops[] = {HWB_OP_CONV, HWB_OP_CONV_BWD_DATA, HWB_OP_CONV_BWD_WEIGHTS};
    for (int j = 0; j < 3; j++) {
        for (int shared = 0; shared < 16; shared++) {
            int k[4];
            for (int i = 0; i < 4; i++) k[i] = shared >> i & 1 ? 0 : 3;
            if (!(k[0] || k[1]) || !(k[2] || k[3])) continue; /* a term of the result's K */
            const geometry *g = shared % 4 == 2 ? &strided : &small;
            check a = conv_case(ops[j], g, HWB_F32, true, k[0], k[1], 0);
            check b = conv_case(ops[j], g, HWB_F32, true, k[2], k[3], 0);
            a = pair_of(a, &b, (j + shared) % 3);
            a.exact_threads = true;
            a.setup = shared % 2 ? use_avx2 : use_best;
            assert_uses(&a, "winograd", true);
            check_kernel(&a);
        }
        run_pair(ops[j], &many, HWB_F32, true, 4, j, use_best);
        run_pair(ops[j], &wide, HWB_F32, true, 2, (j + 1) % 3, use_best);
    }
}

/* What goes to the direct method: float64, plain images, other kernels, images too
 * small for it, and everything under HWB_WINOGRAD=0. */
static void direct(void **state) {
    (void)state;
    skip_without_avx2();
    static const geometry fits = {8, 16, 8, 8, 16, 3, 1, 1, 1, 1};
    static const geometry others[] = {
        {8, 16, 8, 8, 16, 3, 2, 1, 1, 1}, {8, 16, 8, 8, 16, 5, 1, 2, 1, 1},
        {8, 16, 8, 8, 16, 3, 1, 2, 2, 1}, {8, 16, 8, 8, 16, 3, 1, 1, 1, 2},
        {8, 12, 8, 8, 16, 3, 1, 1, 1, 1}, {200, 16, 2, 2, 16, 3, 1, 1, 1, 1},
        {5, 16, 8, 8, 16, 3, 1, 1, 1, 1}};
    check c = conv_case(HWB_OP_CONV, &fits, HWB_F32, true, 0, 0, 0);
    assert_uses(&c, "winograd", true);
    c = conv_case(HWB_OP_CONV, &fits, HWB_F64, true, 0, 0, 0);
    assert_uses(&c, "winograd", false);
    c = conv_case(HWB_OP_CONV, &fits, HWB_F32, false, 0, 0, 0);
    assert_uses(&c, "winograd", false);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        c = conv_case(HWB_OP_CONV, &others[i], HWB_F32, true, 0, 0, 0);
        assert_uses(&c, "winograd", false);
    }
    setenv("HWB_WINOGRAD", "0", 1);
    c = conv_case(HWB_OP_CONV, &fits, HWB_F32, true, 0, 0, 0);
    assert_uses(&c, "winograd", false);
    run_case(HWB_OP_CONV_BWD_DATA, &fits, HWB_F32, true, 0, 0, 2);
    unsetenv("HWB_WINOGRAD");
}

/* Convolutions as matrix products: strides, dilation, padding, images of odd sizes, blocks
 * and panels that are not full, depths of several pieces, more taps than one, gradients by
 * columns and by rows, of pixels as they lie and copied; sums of two; against sums in float64;
 * the same bytes at any thread count. */
static void as_products(void **state) {
    (void)state;
    skip_without_avx2();
    static const geometry shapes[] = {
        {3, 16, 7, 5, 48, 1, 1, 0, 1, 1},  {2, 48, 9, 9, 16, 1, 2, 0, 1, 1},
        {2, 16, 9, 8, 32, 3, 2, 1, 1, 1},  {1, 32, 11, 13, 16, 3, 2, 0, 1, 1},
        {2, 16, 10, 7, 16, 3, 1, 2, 2, 1}, {1, 304, 3, 5, 32, 1, 1, 0, 1, 1},
        {1, 32, 1, 1, 144, 1, 1, 0, 1, 1}, {2, 16, 23, 17, 16, 1, 1, 0, 1, 1},
        {1, 16, 1, 6, 16, 3, 2, 1, 1, 1},  {9, 16, 6, 6, 96, 1, 2, 0, 1, 1},
        {2, 32, 8, 8, 16, 2, 2, 0, 1, 1},  {2, 16, 6, 6, 16, 1, 2, 1, 1, 1},
    };
    static const hwb_op ops[] = {HWB_OP_CONV, HWB_OP_CONV_BWD_DATA, HWB_OP_CONV_BWD_WEIGHTS};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int j = 0; j < 3; j++) {
            int accumulate = (int)(i + (size_t)j) % 3;
            check c = conv_case(ops[j], &shapes[i], HWB_F32, true, 0, 0, accumulate);
            bool taken = j < 2 || shapes[i].stride == 2 || shapes[i].k == 1;
            assert_uses(&c, "direct", taken);
            if (!taken) continue;
            c.exact_threads = c.wide = true;
            c.setup = use_products;
            check_kernel(&c);
            c.setup = use_products_avx2;
            check_kernel(&c);
            run_pair(ops[j], &shapes[i], HWB_F32, true, i % 3 ? 0 : 2, accumulate, use_products);
            run_pair(ops[j], &shapes[i], HWB_F32, true, 0, (accumulate + 1) % 3, use_products_avx2);
        }
}

/* The packed copy of stable weights follows the version, not the contents. */
static void kept_weights(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_device *dev = NULL;
    assert_ok(ctx, hwb_device_open(ctx, &dev, "cpu"));
    ((hwb__cpu_state *)dev->state)->direct = NULL; /* only oneDNN keeps weights */
    hwb_vdesc in[2] = {{HWB_F32, hwb_shape_of(4, 1, 4, 4, 16)},
                       {HWB_F32, hwb_shape_of(4, 16, 16, 3, 3)}};
    hwb_vdesc out = {HWB_F32, hwb_shape_of(4, 1, 4, 4, 16)};
    hwb_kdesc d = {.op = HWB_OP_CONV, .n_in = 2, .n_out = 1, .in = in, .out = &out, .stable = 2};
    for (int i = 0; i < 2; i++) d.attrs.stride[i] = d.attrs.dilation[i] = 1;
    for (int i = 0; i < 2; i++) d.attrs.pad_lo[i] = d.attrs.pad_hi[i] = 1;
    d.attrs.groups = d.attrs.channels_last = 1;
    float *x = hwb_calloc(ctx, 256 * sizeof *x), *w = hwb_calloc(ctx, 2304 * sizeof *w);
    float *y = hwb_calloc(ctx, 256 * sizeof *y);
    hwb_kernel *kernel = NULL;
    assert_ok(ctx, dev->backend->prepare(ctx, dev->state, &kernel, &d));
    const void *from[2] = {x, w};
    void *to[1] = {y};
    x[(1 * 4 + 1) * 16] = 1; /* pixel 1,1 of channel 0 */
    uint64_t versions[2] = {0, 7};
    for (int turn = 0; turn < 3; turn++) {
        w[4] = (float)(turn + 1); /* centre tap of w[0,0] */
        versions[1] = turn == 2 ? 8 : 7;
        assert_ok(ctx, dev->backend->run(ctx, dev->state, kernel, from, versions, to));
        assert_near(y[(1 * 4 + 1) * 16], turn == 2 ? 3 : 1, 0);
    }
    dev->backend->kernel_free(dev->state, kernel);
    hwb_free(x);
    hwb_free(w);
    hwb_free(y);
    hwb_ctx_free(ctx);
}

static void matmul_case(hwb_dtype t, hwb_shape a, hwb_shape b, hwb_shape out, int ta, int tb) {
    check c = {.d = {.op = HWB_OP_MATMUL, .n_in = 2, .n_out = 1}, .seed = 5};
    c.d.attrs.ta = ta;
    c.d.attrs.tb = tb;
    c.in[0] = (hwb_vdesc){t, a};
    c.in[1] = (hwb_vdesc){t, b};
    c.out[0] = (hwb_vdesc){t, out};
    check_kernel(&c);
}

static void matmul(void **state) {
    (void)state;
    static const int sizes[][3] = {{1, 1, 1},   {5, 7, 3},     {1, 64, 10},  {64, 1, 33},
                                   {33, 65, 1}, {128, 10, 64}, {96, 130, 70}};
    for (int wide = 0; wide < 2; wide++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (int tr = 0; tr < 4; tr++) {
                hwb_dtype t = wide ? HWB_F64 : HWB_F32;
                int m = sizes[s][0], n = sizes[s][1], k = sizes[s][2], ta = tr & 1, tb = tr >> 1;
                int a0 = ta ? k : m, a1 = ta ? m : k, b0 = tb ? n : k, b1 = tb ? k : n;
                matmul_case(t, hwb_shape_of(2, a0, a1), hwb_shape_of(2, b0, b1),
                            hwb_shape_of(2, m, n), ta, tb);
                matmul_case(t, hwb_shape_of(3, 6, a0, a1), hwb_shape_of(3, 1, b0, b1),
                            hwb_shape_of(3, 6, m, n), ta, tb);
                matmul_case(t, hwb_shape_of(4, 1, 3, a0, a1), hwb_shape_of(4, 5, 3, b0, b1),
                            hwb_shape_of(4, 5, 3, m, n), ta, tb);
                matmul_case(t, hwb_shape_of(4, 4, 1, a0, a1), hwb_shape_of(4, 1, 2, b0, b1),
                            hwb_shape_of(4, 4, 2, m, n), ta, tb);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward),
        cmocka_unit_test(backward_data),
        cmocka_unit_test(backward_weights),
        cmocka_unit_test(kept_weights),
        cmocka_unit_test(winograd),
        cmocka_unit_test(winograd_shared),
        cmocka_unit_test(direct),
        cmocka_unit_test(as_products),
        cmocka_unit_test(pairs),
        cmocka_unit_test(matmul),
    };
    return RUN_TESTS(tests);
}
