/*
 * The CPU backend's data movement, row picking, pooling and maxima against ref.
 */
#include "cpu_check.h"

/* one dtype of each size */
static const hwb_dtype moved[] = {HWB_F32, HWB_I64, HWB_BOOL};
enum { MOVED = sizeof moved / sizeof *moved };

static void one_input(hwb_op op, const hwb_attrs *attrs, hwb_dtype t, hwb_shape in, hwb_shape out) {
    check c = {.d = {.op = op, .attrs = *attrs, .n_in = 1, .n_out = 1}, .exact_threads = true};
    c.in[0] = (hwb_vdesc){t, in};
    c.out[0] = (hwb_vdesc){t, out};
    check_kernel(&c);
}

static void permute_of(hwb_shape s, const int *perm) {
    hwb_attrs a = {0};
    hwb_shape to = {.ndim = s.ndim};
    for (int d = 0; d < s.ndim; d++) {
        a.perm[d] = perm[d];
        to.dim[d] = s.dim[perm[d]];
    }
    for (int i = 0; i < MOVED; i++) one_input(HWB_OP_PERMUTE, &a, moved[i], s, to);
}

static void permute(void **state) {
    (void)state;
    static const int threes[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const int fives[][5] = {
        {0, 1, 3, 4, 2}, {0, 1, 4, 2, 3}, {4, 3, 2, 1, 0}, {2, 0, 1, 4, 3}, {1, 4, 0, 3, 2}};
    for (int i = 0; i < 6; i++) {
        permute_of(hwb_shape_of(3, 5, 70, 41), threes[i]);
        permute_of(hwb_shape_of(3, 1, 300, 200), threes[i]);
    }
    for (int i = 0; i < 5; i++) permute_of(hwb_shape_of(5, 2, 3, 4, 33, 35), fives[i]);
    permute_of(hwb_shape_of(1, 100000), (const int[]){0});
    permute_of(hwb_shape_of(0), NULL);
}

static void slice_and_pad(void **state) {
    (void)state;
    static const struct {
        int lo[3], step[3], n[3];
    } cases[] = {
        {{0, 0, 0}, {1, 1, 1}, {6, 20, 400}}, {{1, 2, 3}, {1, 1, 1}, {4, 10, 300}},
        {{0, 1, 0}, {2, 3, 2}, {3, 6, 200}},  {{5, 0, 0}, {1, 1, 1}, {1, 20, 400}},
        {{0, 19, 7}, {1, 1, 5}, {6, 1, 70}},
    };
    const hwb_shape large = hwb_shape_of(3, 6, 20, 400);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hwb_attrs a = {0};
        hwb_shape small = {.ndim = 3};
        for (int d = 0; d < 3; d++) {
            a.lo[d] = cases[i].lo[d];
            a.step[d] = cases[i].step[d];
            small.dim[d] = cases[i].n[d];
        }
        for (int t = 0; t < MOVED; t++) {
            a.shape = small;
            one_input(HWB_OP_SLICE, &a, moved[t], large, small);
            a.shape = large;
            one_input(HWB_OP_PAD, &a, moved[t], small, large);
        }
    }
}

static void reshape_and_broadcast(void **state) {
    (void)state;
    for (int t = 0; t < MOVED; t++)
        for (unsigned ones = 0; ones < 8; ones++) {
            hwb_attrs a = {.shape = hwb_shape_of(3, 4, 50, 300)};
            hwb_shape in = a.shape;
            for (int d = 0; d < 3; d++)
                if (ones >> d & 1u) in.dim[d] = 1;
            one_input(HWB_OP_BROADCAST, &a, moved[t], in, a.shape);
            a.shape = hwb_shape_of(1, 60000);
            if (!ones) one_input(HWB_OP_RESHAPE, &a, moved[t], in, a.shape);
        }
}

static void concat(void **state) {
    (void)state;
    static const int lengths[] = {3, 1, 40};
    for (int axis = 0; axis < 3; axis++)
        for (int t = 0; t < MOVED; t++) {
            check c = {.d = {.op = HWB_OP_CONCAT, .n_in = 3, .n_out = 1}, .exact_threads = true};
            c.d.attrs.axis = axis;
            hwb_shape s = hwb_shape_of(3, 7, 9, 30);
            for (int i = 0; i < 3; i++) {
                s.dim[axis] = lengths[i];
                c.in[i] = (hwb_vdesc){moved[t], s};
            }
            s.dim[axis] = 44;
            c.out[0] = (hwb_vdesc){moved[t], s};
            check_kernel(&c);
        }
}

static void rows(void **state) {
    (void)state;
    const hwb_shape table = hwb_shape_of(3, 5, 40, 300);
    for (int axis = 0; axis < 3; axis++)
        for (int wide = 0; wide < 2; wide++)
            for (int scatter = 0; scatter < 2; scatter++) {
                hwb_dtype t = wide ? HWB_F64 : HWB_F32;
                check c = {.d = {.n_in = 2, .n_out = 1}, .exact_threads = true};
                hwb_shape picked = {.ndim = 4};
                int n = 0;
                for (int d = 0; d < axis; d++) picked.dim[n++] = table.dim[d];
                picked.dim[n++] = 6;
                picked.dim[n++] = 11;
                for (int d = axis + 1; d < 3; d++) picked.dim[n++] = table.dim[d];
                c.d.op = scatter ? HWB_OP_SCATTER_ADD : HWB_OP_GATHER;
                c.d.attrs.axis = axis;
                c.d.attrs.shape = table;
                c.index_below = table.dim[axis] - 1;
                c.in[0] = (hwb_vdesc){t, scatter ? picked : table};
                c.in[1] = (hwb_vdesc){wide ? HWB_I32 : HWB_I64, hwb_shape_of(2, 6, 11)};
                c.out[0] = (hwb_vdesc){t, scatter ? table : picked};
                check_kernel(&c);
            }
}

/* An index beyond the table is an error with the place in its text. */
static void wrong_index(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_device *dev = NULL;
    hwb_kernel *kernel = NULL;
    assert_ok(ctx, hwb_device_open(ctx, &dev, "cpu"));
    hwb_vdesc in[2] = {{HWB_F32, hwb_shape_of(2, 4, 2)}, {HWB_I32, hwb_shape_of(1, 3)}};
    hwb_vdesc out = {HWB_F32, hwb_shape_of(2, 3, 2)};
    hwb_kdesc d = {.op = HWB_OP_GATHER, .n_in = 2, .n_out = 1, .in = in, .out = &out};
    float x[8] = {0}, y[6];
    int32_t index[3] = {0, 3, 4};
    assert_ok(ctx, dev->backend->prepare(ctx, dev->state, &kernel, &d));
    assert_fails(
        ctx,
        dev->backend->run(ctx, dev->state, kernel, (const void *[]){x, index}, NULL, (void *[]){y}),
        HWB_EARG, "index 5 at place 3");
    dev->backend->kernel_free(dev->state, kernel);
    hwb_ctx_free(ctx);
}

/* ---- pools --------------------------------------------------------------- */

typedef struct window {
    int n, h, w, c, k, kernel, stride, lo, hi, dilation;
} window;

static const window windows[] = {
    {3, 8, 8, 64, 0, 8, 1, 0, 0, 1},   {2, 9, 7, 5, 3, 2, 2, 0, 0, 1},
    {2, 12, 12, 70, 2, 3, 2, 1, 1, 1}, {1, 10, 11, 16, 0, 3, 1, 1, 0, 2},
    {4, 28, 28, 16, 0, 3, 2, 1, 1, 1},
};

static void pool_case(hwb_op op, const window *w, hwb_dtype t) {
    check c = {.d = {.op = op, .n_in = 1, .n_out = 1}, .exact_threads = true, .seed = 4};
    hwb_attrs *a = &c.d.attrs;
    for (int i = 0; i < 2; i++) {
        a->kernel[i] = w->kernel;
        a->stride[i] = w->stride;
        a->dilation[i] = w->dilation;
        a->pad_lo[i] = w->lo;
        a->pad_hi[i] = w->hi;
    }
    a->channels_last = 1;
    int span = (w->kernel - 1) * w->dilation + 1;
    int oh = (w->h + w->lo + w->hi - span) / w->stride + 1;
    int ow = (w->w + w->lo + w->hi - span) / w->stride + 1;
    int k = op == HWB_OP_MAXPOOL_INDEX ? 0 : w->k;
    hwb_shape large =
        k ? hwb_shape_of(5, k, w->n, w->h, w->w, w->c) : hwb_shape_of(4, w->n, w->h, w->w, w->c);
    hwb_shape pooled =
        k ? hwb_shape_of(5, k, w->n, oh, ow, w->c) : hwb_shape_of(4, w->n, oh, ow, w->c);
    bool up = op == HWB_OP_AVGPOOL_BWD || op == HWB_OP_POOL_SCATTER;
    a->shape = large;
    c.in[0] = (hwb_vdesc){t, up ? pooled : large};
    c.out[0] = (hwb_vdesc){op == HWB_OP_MAXPOOL_INDEX ? HWB_I32 : t, up ? large : pooled};
    if (op == HWB_OP_POOL_GATHER || op == HWB_OP_POOL_SCATTER) {
        c.d.n_in = 2;
        c.in[1] = (hwb_vdesc){w->k ? HWB_I64 : HWB_I32, hwb_shape_of(4, w->n, oh, ow, w->c)};
        c.index_below = w->h * w->w;
    }
    check_kernel(&c);
}

static void pools(void **state) {
    (void)state;
    static const hwb_op ops[] = {HWB_OP_AVGPOOL, HWB_OP_AVGPOOL_BWD, HWB_OP_MAXPOOL_INDEX,
                                 HWB_OP_POOL_GATHER, HWB_OP_POOL_SCATTER};
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++)
        for (size_t j = 0; j < sizeof ops / sizeof *ops; j++) {
            pool_case(ops[j], &windows[i], HWB_F32);
            pool_case(ops[j], &windows[i], HWB_F64);
        }
}

/* ---- maxima -------------------------------------------------------------- */

static void maxima(void **state) {
    (void)state;
    const hwb_shape shapes[] = {hwb_shape_of(3, 30, 10, 200), hwb_shape_of(3, 7, 1000, 9),
                                hwb_shape_of(3, 1, 5, 1)};
    for (int i = 0; i < 3; i++)
        for (int wide = 0; wide < 2; wide++)
            for (unsigned axes = 0; axes < 8; axes++) {
                if (axes == 5 && i < 2) continue; /* no single run: left to ref */
                check c = {.d = {.op = HWB_OP_MAX, .n_in = 1, .n_out = 1}, .exact_threads = true};
                hwb_dtype t = wide ? HWB_F64 : HWB_F32;
                c.d.attrs.axes = axes;
                c.in[0] = (hwb_vdesc){t, shapes[i]};
                c.out[0] = c.in[0];
                for (int d = 0; d < 3; d++)
                    if (axes >> d & 1u) c.out[0].shape.dim[d] = 1;
                check_kernel(&c);
                if (__builtin_popcount(axes) != 1) continue;
                c.d.op = HWB_OP_ARGMAX;
                c.d.attrs.axis = __builtin_ctz(axes);
                c.out[0].dtype = HWB_I64;
                check_kernel(&c);
            }
}

static void run_two(hwb_ctx *ctx, const hwb_kdesc *d, const float *x, void *ref, void *cpu) {
    for (int turn = 0; turn < 2; turn++) {
        hwb_device *dev = NULL;
        hwb_kernel *kernel = NULL;
        assert_ok(ctx, hwb_device_open(ctx, &dev, turn ? "cpu" : "ref"));
        assert_ok(ctx, dev->backend->prepare(ctx, dev->state, &kernel, d));
        assert_ok(ctx, dev->backend->run(ctx, dev->state, kernel, (const void *[]){x}, NULL,
                                         (void *[]){turn ? cpu : ref}));
        dev->backend->kernel_free(dev->state, kernel);
    }
}

/* Ties go to the first, NaN is the largest. */
static void ties_and_nan(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    enum { R = 40, N = 200 };
    static float x[R * N];
    hwb_rng rng = {1, 2};
    for (int i = 0; i < R * N; i++) {
        uint64_t v = hwb_rng_below(rng, (uint64_t)i, 60);
        x[i] = v == 0 && i / N % 3 ? NAN : (float)v;
    }
    for (int axis = 0; axis < 2; axis++) {
        hwb_vdesc in = {HWB_F32, hwb_shape_of(2, R, N)}, out = {HWB_F32, in.shape};
        hwb_kdesc d = {.op = HWB_OP_MAX, .n_in = 1, .n_out = 1, .in = &in, .out = &out};
        float top[2][N];
        int64_t best[2][N];
        int n = axis ? R : N;
        out.shape.dim[axis] = 1;
        d.attrs.axes = 1u << axis;
        d.attrs.axis = axis;
        run_two(ctx, &d, x, top[0], top[1]);
        for (int i = 0; i < n; i++)
            assert_true(top[0][i] == top[1][i] || (isnan(top[0][i]) && isnan(top[1][i])));
        d.op = HWB_OP_ARGMAX;
        out.dtype = HWB_I64;
        run_two(ctx, &d, x, best[0], best[1]);
        assert_memory_equal(best[0], best[1], (size_t)n * sizeof(int64_t));
    }
    hwb_vdesc in = {HWB_F32, hwb_shape_of(4, 1, R, N / 8, 8)}, out = {HWB_I32, in.shape};
    hwb_kdesc d = {.op = HWB_OP_MAXPOOL_INDEX, .n_in = 1, .n_out = 1, .in = &in, .out = &out};
    for (int i = 0; i < 2; i++) {
        d.attrs.kernel[i] = 3;
        d.attrs.stride[i] = d.attrs.dilation[i] = d.attrs.pad_lo[i] = d.attrs.pad_hi[i] = 1;
    }
    d.attrs.channels_last = 1;
    static int32_t index[2][R * N];
    run_two(ctx, &d, x, index[0], index[1]);
    assert_memory_equal(index[0], index[1], sizeof index[0]);
    hwb_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permute),      cmocka_unit_test(slice_and_pad),
        cmocka_unit_test(concat),       cmocka_unit_test(reshape_and_broadcast),
        cmocka_unit_test(rows),         cmocka_unit_test(wrong_index),
        cmocka_unit_test(pools),        cmocka_unit_test(maxima),
        cmocka_unit_test(ties_and_nan),
    };
    return RUN_TESTS(tests);
}
