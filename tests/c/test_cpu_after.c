/*
 * test_cpu_after.c: pointwise groups that run behind a convolution, region by region.
 *
 *   - The hook itself, on given values: any cut into regions of whole strips, any
 *     order of them, any number of threads give bit for bit what one pass over the
 *     whole result gives.
 *   - Convolutions as matrix products with a group behind them give bit for bit what the
 *     convolution and then the group give; sums within rounding, and the same bits at any
 *     number of threads.
 */
#include "testing.h"

#include "backend/cpu/cpu_after_i.h"
#include "backend/cpu/cpu_direct_i.h"
#include "kernels.h"

/* ---- the hook ---------------------------------------------------------------- */

typedef struct geometry {
    int64_t k, n, h, w, c;      /* k = 0: no K */
    int64_t strip_rows, width;  /* rows of a strip; channels of a region */
    bool shared_mask, in_place; /* the mask has no K; y lies where the residual was */
    bool wide_bias;             /* a bias for each k */
} geometry;

enum { IN = 6, OUT = 6 };

typedef struct group {
    hwb_vdesc in[IN], out[OUT];
    hwb_finstr instr[6];
    hwb_fout fout[OUT];
    hwb_fused fused;
} group;

static hwb_shape shape(const geometry *g, bool k, bool n, bool pixels, bool c) {
    int64_t d[5] = {k ? g->k : 1, n ? g->n : 1, pixels ? g->h : 1, pixels ? g->w : 1, c ? g->c : 1};
    return g->k ? hwb_shape_of(5, d[0], d[1], d[2], d[3], d[4])
                : hwb_shape_of(4, d[1], d[2], d[3], d[4]);
}

/* t = x + bias, y = where(mask, t + residual * image, scalar); stored: x, y, y > 0, sums of y by
 * channel (and k), of y by image and channel, of t over everything. */
static void make_group(const geometry *g, group *q) {
    memset(q, 0, sizeof *q);
    hwb_shape all = shape(g, true, true, true, true);
    q->in[0] = (hwb_vdesc){HWB_F32, all};
    q->in[1] = (hwb_vdesc){HWB_F32, shape(g, g->wide_bias, false, false, true)};
    q->in[2] = (hwb_vdesc){HWB_BOOL, shape(g, !g->shared_mask, true, true, true)};
    q->in[3] = (hwb_vdesc){HWB_F32, all};
    q->in[4] = (hwb_vdesc){HWB_F32, shape(g, true, true, false, true)};
    q->in[5] = (hwb_vdesc){HWB_F32, shape(g, false, false, false, false)};
    const hwb_finstr instr[] = {
        {HWB_OP_ADD, {0, 1, -1}, 0},  {HWB_OP_MUL, {3, 4, -1}, 0},    {HWB_OP_ADD, {6, 7, -1}, 0},
        {HWB_OP_WHERE, {2, 8, 5}, 0}, {HWB_OP_FILL, {-1, -1, -1}, 0}, {HWB_OP_LT, {10, 9, -1}, 0},
    };
    memcpy(q->instr, instr, sizeof instr);
    const hwb_fout fout[OUT] = {{9, 0}, {0, 0}, {11, 0}, {9, 1}, {9, 1}, {6, 1}};
    memcpy(q->fout, fout, sizeof fout);
    q->out[0] = q->out[1] = q->in[0];
    q->out[2] = (hwb_vdesc){HWB_BOOL, all};
    q->out[3] = (hwb_vdesc){HWB_F32, shape(g, true, false, false, true)};
    q->out[4] = (hwb_vdesc){HWB_F32, shape(g, true, true, false, true)};
    q->out[5] = (hwb_vdesc){HWB_F32, shape(g, false, false, false, false)};
    q->fused = (hwb_fused){HWB_F32, all, IN, 6, OUT, q->instr, q->fout};
}

typedef struct run {
    hwb_tensor *in[IN];
    void *out[OUT];
} run;

static size_t bytes_of(const hwb_vdesc *v) {
    return (size_t)hwb_shape_numel(&v->shape) * hwb_dtype_size(v->dtype);
}

static void make_run(hwb_ctx *ctx, const geometry *g, const group *q, run *r) {
    for (int i = 0; i < IN; i++)
        r->in[i] = tensor_random(ctx, q->in[i].dtype, q->in[i].shape, (uint64_t)i);
    for (int i = 0; i < OUT; i++) {
        r->out[i] = malloc(bytes_of(&q->out[i]) + KERNEL_GUARD);
        assert_non_null(r->out[i]);
        memset(r->out[i], KERNEL_FILL, bytes_of(&q->out[i]) + KERNEL_GUARD);
    }
    if (g->in_place) memcpy(r->out[0], hwb_tensor_data(r->in[3]), bytes_of(&q->out[0]));
}

static void free_run(const group *q, run *r) {
    for (int i = 0; i < IN; i++) hwb_tensor_release(r->in[i]);
    for (int i = 0; i < OUT; i++) {
        const unsigned char *end = (unsigned char *)r->out[i] + bytes_of(&q->out[i]);
        for (int j = 0; j < KERNEL_GUARD; j++) assert_int_equal(end[j], KERNEL_FILL);
        free(r->out[i]);
    }
}

/* In one pass, as a group that follows nothing. */
static void run_whole(hwb_ctx *ctx, const geometry *g, const group *q, run *r) {
    hwb_device *d;
    hwb_kdesc desc = {.op = HWB_OP_FUSED,
                      .n_in = IN,
                      .n_out = OUT,
                      .in = q->in,
                      .out = q->out,
                      .fused = &q->fused};
    const void *in[IN];
    make_run(ctx, g, q, r);
    for (int i = 0; i < IN; i++) in[i] = hwb_tensor_data(r->in[i]);
    assert_ok(ctx, hwb_device_open(ctx, &d, "cpu"));
    assert_ok(ctx, kernel_run(ctx, d->backend, d->state, &desc, in, r->out));
}

/* By regions of so many strips, in any order; the last channels first. */
static void run_regions(hwb_ctx *ctx, const geometry *g, const group *q, run *r, int64_t strips,
                        int parts) {
    hwb_device *d;
    hwb__cpu_after *after;
    hwb_vdesc in[2 + IN - 1] = {q->in[0], q->in[0]}; /* the convolution's own are not looked at */
    const void *from[2 + IN - 1] = {NULL, NULL};
    make_run(ctx, g, q, r);
    for (int i = 1; i < IN; i++) in[1 + i] = q->in[i], from[1 + i] = hwb_tensor_data(r->in[i]);
    if (g->in_place) from[4] = r->out[0];
    hwb_kdesc desc = {.op = HWB_OP_CONV,
                      .n_in = 2 + IN - 1,
                      .n_out = OUT,
                      .in = in,
                      .out = q->out,
                      .fused = &q->fused};
    desc.attrs.channels_last = 1;
    assert_ok(ctx, hwb_device_open(ctx, &d, "cpu"));
    assert_true(hwb__cpu_after_supports(&desc));
    hwb__cpu_state *state = d->state;
    assert_ok(ctx,
              hwb__cpu_after_new(ctx, state, &after, &desc, g->strip_rows * g->w, g->width, parts));
    assert_ok(ctx, hwb__cpu_reserve(ctx, state, hwb__cpu_after_scratch(after)));
    hwb__cpu_after_begin(after, from, r->out, state->scratch);
    int64_t in_image = (g->h + g->strip_rows - 1) / g->strip_rows;
    int64_t images = g->n * (g->k ? g->k : 1), total = images * in_image;
    const float *x = hwb_tensor_data(r->in[0]);
    for (int64_t o = (g->c - 1) / g->width * g->width; o >= 0; o -= g->width)
#pragma omp parallel for num_threads(parts) schedule(static)
        for (int part = 0; part < parts; part++)
            for (int64_t s = total * (part + 1) / parts; s > total * part / parts;) {
                int64_t first =
                    s - strips > total * part / parts ? s - strips : total * part / parts;
                int64_t on = g->c - o < g->width ? g->c - o : g->width, p[2];
                for (int i = 0; i < 2; i++) {
                    int64_t at = i ? s : first, row = at % in_image * g->strip_rows;
                    p[i] = (at / in_image * g->h + row) * g->w;
                }
                float *values = malloc((size_t)((p[1] - p[0]) * on) * sizeof *values);
                for (int64_t i = p[0]; i < p[1]; i++)
                    memcpy(values + (i - p[0]) * on, x + i * g->c + o, (size_t)on * sizeof *x);
                hwb__cpu_after_bring(after, p[0], p[1], o, o + on, 0, 1);
                hwb__cpu_after_region(after, part, p[0], p[1], o, o + on, values);
                free(values);
                s = first;
            }
    hwb__cpu_after_end(after);
    hwb__cpu_after_free(after);
}

static void compare(const group *q, const run *a, const run *b, bool sums_exact) {
    for (int i = 0; i < OUT; i++) {
        if (!q->fout[i].reduce || sums_exact) {
            assert_memory_equal(a->out[i], b->out[i], bytes_of(&q->out[i]));
            continue;
        }
        const float *x = a->out[i], *y = b->out[i]; /* sums of float32 in double */
        for (int64_t j = 0; j < hwb_shape_numel(&q->out[i].shape); j++)
            assert_near((double)x[j], (double)y[j], 1e-6);
    }
}

static void regions(void **unused) {
    (void)unused;
    static const geometry cases[] = {
        {0, 2, 8, 8, 16, 4, 16, false, false, false},
        {0, 3, 7, 5, 16, 4, 16, true, true, false}, /* the last strip is shorter */
        {3, 2, 9, 6, 16, 4, 16, true, false, true},
        {2, 3, 5, 7, 160, 4, 64, true, true, false}, /* 64, 64 and 32 channels */
        {0, 2, 14, 14, 128, 4, 64, false, true, false},
        {2, 1, 8, 12, 96, 4, 64, false, false, true},
        {0, 5, 1, 9, 48, 1, 48, false, false, false},
        {0, 4, 3, 3, 7, 1, 7, false, true, false},
        {2, 2, 2, 2, 1040, 2, 1040, true, false, false}, /* a row is longer than a tile */
        {0, 2, 33, 31, 32, 4, 64, false, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const geometry *g = &cases[i];
        hwb_ctx *ctx = test_ctx_new();
        group q;
        run whole, one, more;
        make_group(g, &q);
        run_whole(ctx, g, &q, &whole);
        run_regions(ctx, g, &q, &one, 1, 1);
        compare(&q, &one, &whole, false);
        for (int parts = 1; parts <= 3; parts += 2) {
            run_regions(ctx, g, &q, &more, 3 + parts, parts);
            compare(&q, &one, &more, true);
            free_run(&q, &more);
        }
        free_run(&q, &one);
        free_run(&q, &whole);
        hwb_ctx_free(ctx);
    }
}

/* ---- behind products --------------------------------------------------------------- */

typedef struct conv {
    int64_t k, n, c, h, w, o; /* of the images x; k = 0: no K */
    int64_t kernel, stride, pad;
    bool data, pair, add; /* backward-data; a sum of two; added to what lies in the result */
} conv;

static hwb_shape of_k(int64_t k, int64_t a, int64_t b, int64_t c, int64_t d) {
    return k ? hwb_shape_of(5, k, a, b, c, d) : hwb_shape_of(4, a, b, c, d);
}

/* The convolution's own inputs: of a sum of two the second term has K in its weights. */
static int own_inputs(const conv *q, const hwb_shape *result, hwb_vdesc *in, hwb_attrs *a) {
    int64_t oh = (q->h + 2 * q->pad - q->kernel) / q->stride + 1;
    int64_t ow = (q->w + 2 * q->pad - q->kernel) / q->stride + 1;
    int n = 0;
    for (int i = 0; i < (q->pair ? 2 : 1); i++) {
        int64_t kx = i ? 0 : q->k, kw = i ? q->k : 0;
        in[n++] = (hwb_vdesc){HWB_F32, q->data ? of_k(kx, q->n, oh, ow, q->o)
                                               : of_k(kx, q->n, q->h, q->w, q->c)};
        in[n++] = (hwb_vdesc){HWB_F32, of_k(kw, q->o, q->c, q->kernel, q->kernel)};
    }
    if (q->add) in[n++] = (hwb_vdesc){HWB_F32, *result};
    *a = attrs_none();
    for (int i = 0; i < 2; i++) {
        a->kernel[i] = q->kernel;
        a->stride[i] = q->stride;
        a->pad_lo[i] = a->pad_hi[i] = q->pad;
    }
    a->channels_last = 1;
    a->shape = q->data ? hwb_shape_of(4, q->n, q->h, q->w, q->c)
                       : hwb_shape_of(4, q->o, q->c, q->kernel, q->kernel);
    return n;
}

/* As one kernel, or as the convolution and then the group. */
static void run_behind(const conv *q, const geometry *g, const group *grp, int threads, bool avx2,
                       bool apart, run *r) {
    hwb_ctx *ctx = test_ctx_new();
    hwb_device *d;
    hwb_vdesc in[5 + IN], result = grp->in[0];
    hwb_tensor *own[5];
    const void *from[5 + IN];
    hwb_kdesc desc = {.op = q->data ? HWB_OP_CONV_BWD_DATA : HWB_OP_CONV, .in = in};
    int n = own_inputs(q, &result.shape, in, &desc.attrs);
    hwb_set_threads(ctx, threads);
    assert_ok(ctx, hwb_device_open(ctx, &d, "cpu"));
    hwb__cpu_state *state = d->state;
    state->wino = NULL;
    if (avx2) state->direct = &hwb__direct_avx2;
    make_run(ctx, g, grp, r);
    for (int i = 0; i < n; i++) {
        own[i] = tensor_random(ctx, HWB_F32, in[i].shape, (uint64_t)(100 + i));
        from[i] = hwb_tensor_data(own[i]);
    }
    for (int i = 1; i < IN; i++) in[n + i - 1] = grp->in[i];
    for (int i = 1; i < IN; i++) from[n + i - 1] = hwb_tensor_data(r->in[i]);
    if (g->in_place) from[n + 2] = r->out[0];
    desc.n_in = n;
    desc.n_out = 1;
    desc.out = &result;
    if (apart) {
        hwb_kdesc fused = {.op = HWB_OP_FUSED,
                           .n_in = IN,
                           .n_out = OUT,
                           .in = grp->in,
                           .out = grp->out,
                           .fused = &grp->fused};
        void *to = (void *)(uintptr_t)hwb_tensor_data(r->in[0]);
        assert_ok(ctx, kernel_run(ctx, d->backend, state, &desc, from, &to));
        from[n - 1] = to;
        assert_ok(ctx, kernel_run(ctx, d->backend, state, &fused, from + n - 1, r->out));
    } else {
        desc.n_in = n + IN - 1;
        desc.n_out = OUT;
        desc.out = grp->out;
        desc.fused = &grp->fused;
        desc.exact = true;
        assert_true(d->backend->supports(state, &desc));
        assert_ok(ctx, kernel_run(ctx, d->backend, state, &desc, from, r->out));
    }
    for (int i = 0; i < n; i++) hwb_tensor_release(own[i]);
    hwb_ctx_free(ctx);
}

/* Strips of images that are no multiple of a tile, several of them in a block and blocks of one,
 * phases of a backward-data convolution of stride 2 with and without taps, depths of several
 * pieces, groups by parts of the channels. */
static void behind_products(void **unused) {
    (void)unused;
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        TEST_SKIP("no products of our own on this machine");
    static const conv cases[] = {
        {0, 2, 16, 9, 7, 32, 1, 1, 0, false, false, false},
        {0, 5, 48, 7, 7, 16, 1, 1, 0, true, true, true},
        {2, 3, 16, 7, 9, 48, 1, 1, 0, false, true, true},
        {0, 2, 16, 23, 17, 16, 3, 1, 1, false, true, false},
        {0, 1, 304, 5, 6, 1040, 1, 1, 0, false, false, true},
        {0, 2, 16, 14, 12, 32, 3, 2, 1, true, true, false},
        {3, 2, 32, 13, 11, 16, 3, 2, 1, true, true, true},
        {0, 3, 1024, 4, 6, 16, 1, 2, 0, true, false, true},
        {2, 2, 16, 9, 9, 32, 1, 2, 0, false, true, false},
        {0, 1, 16, 40, 44, 16, 3, 2, 1, true, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const conv *q = &cases[i];
        int64_t oh = (q->h + 2 * q->pad - q->kernel) / q->stride + 1;
        int64_t ow = (q->w + 2 * q->pad - q->kernel) / q->stride + 1;
        geometry g = {.k = q->k, .n = q->n, .in_place = i % 3 == 0, .shared_mask = i % 2};
        g.h = q->data ? q->h : oh;
        g.w = q->data ? q->w : ow;
        g.c = q->data ? q->c : q->o;
        group grp;
        make_group(&g, &grp);
        for (int avx2 = 0; avx2 < 2; avx2++) {
            run apart, one, more;
            run_behind(q, &g, &grp, 2, avx2, true, &apart);
            run_behind(q, &g, &grp, 2, avx2, false, &one);
            compare(&grp, &one, &apart, false);
            for (int threads = 1; threads <= 3; threads += 2) {
                run_behind(q, &g, &grp, threads, avx2, false, &more);
                compare(&grp, &more, &one, true);
                free_run(&grp, &more);
            }
            free_run(&grp, &one);
            free_run(&grp, &apart);
        }
    }
#endif
}

/* What it refuses: sums that keep pixels, rows without columns, plain images, float64. */
static void refused(void **unused) {
    (void)unused;
    geometry g = {0, 2, 8, 8, 16, 4, 16, false, false, false};
    group q;
    for (int k = 0; k < 6; k++) {
        make_group(&g, &q);
        hwb_vdesc in[2 + IN - 1] = {q.in[0], q.in[0]};
        hwb_kdesc desc = {.op = HWB_OP_CONV,
                          .n_in = 2 + IN - 1,
                          .n_out = OUT,
                          .in = in,
                          .out = q.out,
                          .fused = &q.fused};
        desc.attrs.channels_last = k != 1;
        if (k == 2) q.out[3].shape = hwb_shape_of(4, 2, 8, 8, 1);
        if (k == 3) q.in[4].shape = hwb_shape_of(4, 2, 8, 1, 16);
        if (k == 4) q.fused.dtype = HWB_F64;
        if (k == 5) desc.op = HWB_OP_CONV_BWD_WEIGHTS;
        for (int i = 1; i < IN; i++) in[1 + i] = q.in[i];
        assert_int_equal(hwb__cpu_after_supports(&desc), k == 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regions),
        cmocka_unit_test(behind_products),
        cmocka_unit_test(refused),
    };
    return RUN_TESTS(tests);
}
