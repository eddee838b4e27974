/*
 * test_cpu_after.c: pointwise groups that run behind a convolution, region by region.
 *
 *   - The hook itself, on given values: any cut into regions of whole strips, any
 *     order of them, any number of threads give bit for bit what one pass over the
 *     whole result gives.
 */
#include "testing.h"

#include "backend/cpu/cpu_after_i.h"
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
        cmocka_unit_test(refused),
    };
    return RUN_TESTS(tests);
}
