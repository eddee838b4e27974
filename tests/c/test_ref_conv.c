/*
 * test_ref_conv.c: convolutions and pools of the reference backend over random
 * geometries (stride, asymmetric padding, dilation, groups, K, layout):
 *   - the forward pass against the seven-loop formula,
 *   - the transposes by <c, conv(x,w)> = <x, bwd_data(c,w)> = <w, bwd_weights(x,c)>,
 *   - K at once against one k at a time, channels-last against channels-first,
 *     the added third input against a separate addition: all bit for bit.
 */
#include "kernels.h"

typedef struct geometry {
    int k, n, c, h, w, o, kh, kw;
    hwb_attrs at;
} geometry;

static int draw(uint64_t seed, int i, int below) {
    return (int)hwb_rng_below((hwb_rng){seed, 99}, (uint64_t)i, (uint64_t)below);
}

static geometry draw_geometry(uint64_t seed) {
    int g = 1 + draw(seed, 0, 3);
    geometry q = {.k = 2 + draw(seed, 1, 2),
                  .n = 1 + draw(seed, 2, 2),
                  .c = g * (1 + draw(seed, 3, 2)),
                  .o = g * (1 + draw(seed, 4, 2)),
                  .kh = 1 + draw(seed, 5, 3),
                  .kw = 1 + draw(seed, 6, 3),
                  .at = attrs_none()};
    q.at.groups = g;
    for (int a = 0; a < 2; a++) {
        q.at.stride[a] = 1 + draw(seed, 10 + a, 3);
        q.at.dilation[a] = 1 + draw(seed, 20 + a, 2);
        q.at.pad_lo[a] = draw(seed, 30 + a, 3);
        q.at.pad_hi[a] = draw(seed, 40 + a, 3);
    }
    q.h = (q.kh - 1) * q.at.dilation[0] + 1 + draw(seed, 50, 5);
    q.w = (q.kw - 1) * q.at.dilation[1] + 1 + draw(seed, 51, 5);
    return q;
}

/* [K,]a,b,c,d */
static hwb_shape shape_k(bool has_k, int k, int a, int b, int c, int d) {
    return has_k ? hwb_shape_of(5, k, a, b, c, d) : hwb_shape_of(4, a, b, c, d);
}

/* Element of a [K,]A,B,C,D tensor; an operand without K serves every k. */
static double at5(const hwb_tensor *t, int64_t k, int64_t a, int64_t b, int64_t c, int64_t d) {
    const hwb_shape *s = hwb_tensor_shape(t);
    const int64_t *n = s->dim + (s->ndim - 4);
    if (s->ndim == 4) k = 0;
    return hwb_tensor_get(t, (((k * n[0] + a) * n[1] + b) * n[2] + c) * n[3] + d);
}

/* Element k of the leading dim; the tensor itself, retained, when it has none. */
static hwb_tensor *one_k(hwb_ctx *ctx, hwb_tensor *t, int64_t k) {
    hwb_tensor *view = NULL, *dense = NULL;
    if (hwb_tensor_shape(t)->ndim == 4) return hwb_tensor_retain(t);
    assert_ok(ctx, hwb_tensor_select(ctx, &view, t, 0, k));
    assert_ok(ctx, hwb_tensor_contiguous(ctx, &dense, view));
    hwb_tensor_release(view);
    return dense;
}

/* [K,]N,C,H,W as [K,]N,H,W,C */
static hwb_tensor *channels_last(hwb_ctx *ctx, hwb_tensor *t) {
    hwb_tensor *view = NULL, *dense = NULL;
    const int four[] = {0, 2, 3, 1}, five[] = {0, 1, 3, 4, 2};
    assert_ok(ctx, hwb_tensor_permute(ctx, &view, t, hwb_tensor_shape(t)->ndim == 5 ? five : four));
    assert_ok(ctx, hwb_tensor_clone(ctx, &dense, view));
    hwb_tensor_release(view);
    return dense;
}

static hwb_shape last_shape(hwb_shape s) {
    int i = s.ndim - 3;
    int64_t c = s.dim[i];
    s.dim[i] = s.dim[i + 1], s.dim[i + 1] = s.dim[i + 2], s.dim[i + 2] = c;
    return s;
}

static void assert_equal_free(hwb_tensor *a, hwb_tensor *b) {
    assert_true(hwb_shape_equal(hwb_tensor_shape(a), hwb_tensor_shape(b)));
    assert_memory_equal(hwb_tensor_data(a), hwb_tensor_data(b), hwb_tensor_bytes(a));
    hwb_tensor_release(a);
    hwb_tensor_release(b);
}

/* sum over all elements of b, a repeated along b's K when it has none itself */
static double dot_k(hwb_ctx *ctx, const hwb_tensor *a, hwb_tensor *b) {
    if (hwb_tensor_shape(a)->ndim == hwb_tensor_shape(b)->ndim) return hwb_tensor_dot(a, b);
    double sum = 0;
    for (int64_t k = 0; k < hwb_tensor_shape(b)->dim[0]; k++) {
        hwb_tensor *bk = one_k(ctx, b, k);
        sum += hwb_tensor_dot(a, bk);
        hwb_tensor_release(bk);
    }
    return sum;
}

/* ---- convolution ------------------------------------------------------------------- */

static void check_formula(const geometry *q, const hwb_tensor *x, const hwb_tensor *w,
                          const hwb_tensor *y, double tol) {
    const hwb_shape *s = hwb_tensor_shape(y);
    const hwb_attrs *at = &q->at;
    int64_t kk = s->ndim == 5 ? s->dim[0] : 1, oh = s->dim[s->ndim - 2], ow = s->dim[s->ndim - 1];
    int cg = q->c / at->groups, og = q->o / at->groups;
    for (int64_t k = 0; k < kk; k++)
        for (int64_t n = 0; n < q->n; n++)
            for (int64_t o = 0; o < q->o; o++)
                for (int64_t i = 0; i < oh; i++)
                    for (int64_t j = 0; j < ow; j++) {
                        double want = 0;
                        for (int c = 0; c < cg; c++)
                            for (int r = 0; r < q->kh; r++)
                                for (int v = 0; v < q->kw; v++) {
                                    int64_t h =
                                        i * at->stride[0] - at->pad_lo[0] + r * at->dilation[0];
                                    int64_t l =
                                        j * at->stride[1] - at->pad_lo[1] + v * at->dilation[1];
                                    if (h < 0 || l < 0 || h >= q->h || l >= q->w) continue;
                                    want +=
                                        at5(x, k, n, o / og * cg + c, h, l) * at5(w, k, o, c, r, v);
                                }
                        assert_near(at5(y, k, n, o, i, j), want, tol);
                    }
}

/* The three kernels of one geometry; `ks` bits: x, w carry K. */
static void check_trio(hwb_ctx *ctx, uint64_t seed, int ks, hwb_dtype dt) {
    geometry q = draw_geometry(seed);
    double tol = dt == HWB_F32 ? 1e-6 : 1e-13;
    hwb_tensor *x = tensor_random(ctx, dt, shape_k(ks & 1, q.k, q.n, q.c, q.h, q.w), seed);
    hwb_tensor *w = tensor_random(ctx, dt, shape_k(ks & 2, q.k, q.o, q.c / q.at.groups, q.kh, q.kw),
                                  seed + 1000);
    hwb_tensor *y = call_ref2(ctx, HWB_OP_CONV, &q.at, x, w);
    check_formula(&q, x, w, y, tol);

    hwb_tensor *c = tensor_random(ctx, dt, *hwb_tensor_shape(y), seed + 2000);
    hwb_attrs to_x = q.at, to_w = q.at;
    to_x.shape = hwb_shape_of(4, q.n, q.c, q.h, q.w);
    to_w.shape = hwb_shape_of(4, q.o, q.c / q.at.groups, q.kh, q.kw);
    hwb_tensor *xb = call_ref2(ctx, HWB_OP_CONV_BWD_DATA, &to_x, c, w);
    hwb_tensor *wb = call_ref2(ctx, HWB_OP_CONV_BWD_WEIGHTS, &to_w, x, c);
    double want = hwb_tensor_dot(c, y), loose = dt == HWB_F32 ? 1e-4 : 1e-11;
    assert_near(dot_k(ctx, x, xb), want, loose);
    assert_near(dot_k(ctx, w, wb), want, loose);
    hwb_tensor *all[] = {x, w, y, c, xb, wb};
    for (int i = 0; i < 6; i++) hwb_tensor_release(all[i]);
}

static void test_trio(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    for (uint64_t seed = 0; seed < 60; seed++)
        for (int ks = 0; ks < 4; ks++) check_trio(ctx, seed, ks, seed % 4 ? HWB_F64 : HWB_F32);
    test_ctx_free(ctx);
}

/* The op on inputs a, b: all k at once = each k alone, and channels-last = the
 * same numbers permuted.  `images` bits: a, b, result are images. */
static void check_op(hwb_ctx *ctx, hwb_op op, const hwb_attrs *at, hwb_tensor *a, hwb_tensor *b,
                     int images) {
    hwb_tensor *y = call_ref2(ctx, op, at, a, b);
    if (hwb_tensor_shape(y)->ndim == 5)
        for (int64_t k = 0; k < hwb_tensor_shape(y)->dim[0]; k++) {
            hwb_tensor *ak = one_k(ctx, a, k), *bk = one_k(ctx, b, k);
            assert_equal_free(call_ref2(ctx, op, at, ak, bk), one_k(ctx, y, k));
            hwb_tensor_release(ak);
            hwb_tensor_release(bk);
        }
    hwb_attrs last = *at;
    last.channels_last = 1;
    if ((images & 4) && last.shape.ndim > 0) last.shape = last_shape(last.shape);
    hwb_tensor *al = images & 1 ? channels_last(ctx, a) : hwb_tensor_retain(a);
    hwb_tensor *bl = images & 2 ? channels_last(ctx, b) : hwb_tensor_retain(b);
    hwb_tensor *yl = images & 4 ? channels_last(ctx, y) : hwb_tensor_retain(y);
    assert_equal_free(call_ref2(ctx, op, &last, al, bl), yl);
    hwb_tensor_release(al);
    hwb_tensor_release(bl);

    /* a third input is added; it may lie where the result goes */
    hwb_tensor *add = tensor_random(ctx, hwb_tensor_dtype(y), *hwb_tensor_shape(y), 5000);
    hwb_tensor *sum = call_ref(ctx, op, at, 3, (hwb_tensor *[]){a, b, add});
    for (int64_t i = 0; i < hwb_tensor_numel(y); i++)
        assert_near(hwb_tensor_get(sum, i), hwb_tensor_get(y, i) + hwb_tensor_get(add, i), 1e-14);
    hwb_vdesc in[3], out = {hwb_tensor_dtype(y), *hwb_tensor_shape(y)};
    hwb_tensor *ins[3] = {a, b, add};
    const void *data[3];
    for (int i = 0; i < 3; i++) {
        in[i] = (hwb_vdesc){hwb_tensor_dtype(ins[i]), *hwb_tensor_shape(ins[i])};
        data[i] = hwb_tensor_data(ins[i]);
    }
    hwb_kdesc desc = {.op = op, .attrs = *at, .n_in = 3, .n_out = 1, .in = in, .out = &out};
    void *to = hwb_tensor_data(add);
    assert_ok(ctx, kernel_run(ctx, hwb_backend_ref(), NULL, &desc, data, &to));
    assert_equal_free(sum, add);
    hwb_tensor_release(y);
}

static void test_k_and_layout(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    for (uint64_t seed = 0; seed < 30; seed++)
        for (int ks = 0; ks < 4; ks++) {
            bool ka = ks & 1, kb = ks & 2;
            geometry q = draw_geometry(seed);
            int cg = q.c / q.at.groups;
            hwb_shape xs = hwb_shape_of(4, q.n, q.c, q.h, q.w);
            hwb_shape ws = hwb_shape_of(4, q.o, cg, q.kh, q.kw), ys;
            hwb_dtype dt;
            assert_ok(ctx, hwb_op_infer(ctx, HWB_OP_CONV, &q.at, 2, (const hwb_shape *[]){&xs, &ws},
                                        (hwb_dtype[]){HWB_F64, HWB_F64}, &ys, &dt));
            int oh = (int)ys.dim[2], ow = (int)ys.dim[3];
            hwb_tensor *x = tensor_random(ctx, dt, shape_k(ka, q.k, q.n, q.c, q.h, q.w), 1);
            hwb_tensor *w = tensor_random(ctx, dt, shape_k(kb, q.k, q.o, cg, q.kh, q.kw), 2);
            hwb_tensor *ya = tensor_random(ctx, dt, shape_k(ka, q.k, q.n, q.o, oh, ow), 3);
            hwb_tensor *yb = tensor_random(ctx, dt, shape_k(kb, q.k, q.n, q.o, oh, ow), 4);
            check_op(ctx, HWB_OP_CONV, &q.at, x, w, 5);
            q.at.shape = xs;
            check_op(ctx, HWB_OP_CONV_BWD_DATA, &q.at, ya, w, 5);
            q.at.shape = ws;
            check_op(ctx, HWB_OP_CONV_BWD_WEIGHTS, &q.at, x, yb, 3);
            hwb_tensor *all[] = {x, w, ya, yb};
            for (int i = 0; i < 4; i++) hwb_tensor_release(all[i]);
        }
    test_ctx_free(ctx);
}

/* Worked by hand: 3x3 image, 2x2 window, padding after only, stride 2. */
static void test_by_hand(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    const double img[] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, win[] = {1, 10, 100, 1000};
    hwb_tensor *x = tensor_of(ctx, HWB_F32, hwb_shape_of(4, 1, 1, 3, 3), img);
    hwb_tensor *w = tensor_of(ctx, HWB_F32, hwb_shape_of(4, 1, 1, 2, 2), win);
    hwb_attrs at = attrs_none();
    at.stride[0] = at.stride[1] = 2, at.pad_hi[0] = at.pad_hi[1] = 1;
    hwb_tensor *y = call_ref2(ctx, HWB_OP_CONV, &at, x, w);
    ASSERT_VALUES_FREE(hwb_tensor_retain(y), 0, 5421, 603, 87, 9);
    at.shape = hwb_shape_of(4, 1, 1, 2, 2);
    const double ones[] = {1, 1, 1, 1};
    hwb_tensor *c = tensor_of(ctx, HWB_F32, at.shape, ones);
    ASSERT_VALUES_FREE(call_ref2(ctx, HWB_OP_CONV_BWD_WEIGHTS, &at, x, c), 0, 20, 10, 10, 5);
    at.shape = hwb_shape_of(4, 1, 1, 3, 3);
    ASSERT_VALUES_FREE(call_ref2(ctx, HWB_OP_CONV_BWD_DATA, &at, c, w), 0, 1, 10, 1, 100, 1000, 100,
                       1, 10, 1);
    hwb_tensor *all[] = {x, w, y, c};
    for (int i = 0; i < 4; i++) hwb_tensor_release(all[i]);
    test_ctx_free(ctx);
}

/* No images, no input channels: sums over nothing are zero. */
static void test_empty(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_attrs at = attrs_none();
    hwb_tensor *x = tensor_of(ctx, HWB_F32, hwb_shape_of(4, 0, 2, 2, 2), NULL);
    const double ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    hwb_tensor *w = tensor_of(ctx, HWB_F32, hwb_shape_of(4, 1, 2, 2, 2), ones);
    hwb_tensor *y = call_ref2(ctx, HWB_OP_CONV, &at, x, w);
    assert_int_equal(hwb_tensor_numel(y), 0);
    at.shape = hwb_shape_of(4, 1, 2, 2, 2);
    ASSERT_VALUES_FREE(call_ref2(ctx, HWB_OP_CONV_BWD_WEIGHTS, &at, x, y), 0, 0, 0, 0, 0, 0, 0, 0,
                       0);
    at.shape = hwb_shape_of(4, 0, 2, 2, 2);
    hwb_tensor *xb = call_ref2(ctx, HWB_OP_CONV_BWD_DATA, &at, y, w);
    assert_int_equal(hwb_tensor_numel(xb), 0);
    hwb_tensor *xc = tensor_of(ctx, HWB_F32, hwb_shape_of(4, 1, 0, 2, 2), NULL);
    hwb_tensor *wc = tensor_of(ctx, HWB_F32, hwb_shape_of(4, 3, 0, 2, 2), NULL);
    ASSERT_VALUES_FREE(call_ref2(ctx, HWB_OP_CONV, &at, xc, wc), 0, 0, 0, 0);
    hwb_tensor *all[] = {x, w, y, xb, xc, wc};
    for (int i = 0; i < 6; i++) hwb_tensor_release(all[i]);
    test_ctx_free(ctx);
}

/* ---- pools ---------------------------------------------------------------------------- */

static geometry draw_pool(uint64_t seed) {
    geometry q = draw_geometry(seed);
    q.at.kernel[0] = 2 + draw(seed, 60, 2);
    q.at.kernel[1] = 2 + draw(seed, 61, 2);
    for (int a = 0; a < 2; a++) {
        q.at.dilation[a] = 1;
        if (q.at.pad_lo[a] >= q.at.kernel[a]) q.at.pad_lo[a] = 1;
        if (q.at.pad_hi[a] >= q.at.kernel[a]) q.at.pad_hi[a] = 1;
    }
    q.h = 4 + draw(seed, 62, 5), q.w = 4 + draw(seed, 63, 5);
    return q;
}

/* mean (zeros outside) or first maximum of window (i,j); *index = h*W + w of it */
static double window_of(const geometry *q, const hwb_tensor *x, const int64_t *knc, int64_t i,
                        int64_t j, bool mean, int64_t *index) {
    const hwb_attrs *at = &q->at;
    double sum = 0, best = -INFINITY;
    for (int r = 0; r < at->kernel[0]; r++)
        for (int s = 0; s < at->kernel[1]; s++) {
            int64_t h = i * at->stride[0] - at->pad_lo[0] + r;
            int64_t w = j * at->stride[1] - at->pad_lo[1] + s;
            if (h < 0 || w < 0 || h >= q->h || w >= q->w) continue;
            double v = at5(x, knc[0], knc[1], knc[2], h, w);
            sum += v;
            if (v > best) best = v, *index = h * q->w + w;
        }
    return mean ? sum / (at->kernel[0] * at->kernel[1]) : best;
}

static void check_windows(const geometry *q, const hwb_tensor *x, const hwb_tensor *y,
                          const hwb_tensor *index, bool mean) {
    const hwb_shape *s = hwb_tensor_shape(y);
    const int64_t *d = s->dim + (s->ndim - 4);
    for (int64_t e = 0; e < hwb_tensor_numel(y); e++) {
        int64_t j = e % d[3], i = e / d[3] % d[2], plane = e / d[3] / d[2], at = -1;
        int64_t knc[3] = {plane / d[1] / d[0], plane / d[1] % d[0], plane % d[1]};
        double want = window_of(q, x, knc, i, j, mean, &at);
        assert_near(hwb_tensor_get(y, e), want, 1e-14);
        if (index && s->ndim == 4) assert_int_equal(hwb_tensor_get_int(index, e), at);
    }
}

static void check_avgpool(hwb_ctx *ctx, uint64_t seed, bool has_k) {
    geometry q = draw_pool(seed);
    hwb_tensor *x = tensor_random(ctx, HWB_F64, shape_k(has_k, q.k, q.n, q.c, q.h, q.w), seed);
    hwb_tensor *y = call_ref1(ctx, HWB_OP_AVGPOOL, &q.at, x);
    check_windows(&q, x, y, NULL, true);
    hwb_tensor *c = tensor_random(ctx, HWB_F64, *hwb_tensor_shape(y), seed + 1);
    hwb_attrs back = q.at, last = q.at;
    back.shape = *hwb_tensor_shape(x);
    hwb_tensor *xb = call_ref1(ctx, HWB_OP_AVGPOOL_BWD, &back, c);
    assert_near(hwb_tensor_dot(x, xb), hwb_tensor_dot(c, y), 1e-12);

    last.channels_last = 1;
    hwb_tensor *xl = channels_last(ctx, x), *cl = channels_last(ctx, c);
    assert_equal_free(call_ref1(ctx, HWB_OP_AVGPOOL, &last, xl), channels_last(ctx, y));
    last.shape = last_shape(back.shape);
    assert_equal_free(call_ref1(ctx, HWB_OP_AVGPOOL_BWD, &last, cl), channels_last(ctx, xb));
    hwb_tensor *all[] = {x, y, c, xb, xl, cl};
    for (int i = 0; i < 6; i++) hwb_tensor_release(all[i]);
}

static void check_maxpool(hwb_ctx *ctx, uint64_t seed, bool has_k) {
    geometry q = draw_pool(seed);
    hwb_tensor *x = tensor_random(ctx, HWB_F64, hwb_shape_of(4, q.n, q.c, q.h, q.w), seed);
    hwb_tensor *index = call_ref1(ctx, HWB_OP_MAXPOOL_INDEX, &q.at, x);
    hwb_tensor *y = call_ref2(ctx, HWB_OP_POOL_GATHER, &q.at, x, index);
    check_windows(&q, x, y, index, false);

    /* gather and scatter by that index are transposes, with and without K */
    const hwb_shape *s = hwb_tensor_shape(index);
    hwb_shape ts = shape_k(has_k, q.k, q.n, q.c, q.h, q.w);
    hwb_tensor *t = tensor_random(ctx, HWB_F64, ts, seed + 1);
    hwb_tensor *c = tensor_random(
        ctx, HWB_F64, shape_k(has_k, q.k, q.n, q.c, (int)s->dim[2], (int)s->dim[3]), seed + 2);
    hwb_attrs back = q.at, last = q.at;
    back.shape = ts;
    hwb_tensor *ty = call_ref2(ctx, HWB_OP_POOL_GATHER, &q.at, t, index);
    hwb_tensor *tb = call_ref2(ctx, HWB_OP_POOL_SCATTER, &back, c, index);
    assert_near(hwb_tensor_dot(c, ty), hwb_tensor_dot(tb, t), 1e-12);
    for (int64_t k = 0; has_k && k < q.k; k++) {
        hwb_tensor *tk = one_k(ctx, t, k);
        assert_equal_free(call_ref2(ctx, HWB_OP_POOL_GATHER, &q.at, tk, index), one_k(ctx, ty, k));
        hwb_tensor_release(tk);
    }

    last.channels_last = 1;
    hwb_tensor *xl = channels_last(ctx, x), *il = channels_last(ctx, index);
    hwb_tensor *tl = channels_last(ctx, t), *cl = channels_last(ctx, c);
    assert_equal_free(call_ref1(ctx, HWB_OP_MAXPOOL_INDEX, &last, xl), hwb_tensor_retain(il));
    assert_equal_free(call_ref2(ctx, HWB_OP_POOL_GATHER, &last, tl, il), channels_last(ctx, ty));
    last.shape = last_shape(ts);
    assert_equal_free(call_ref2(ctx, HWB_OP_POOL_SCATTER, &last, cl, il), channels_last(ctx, tb));
    hwb_tensor *all[] = {x, index, y, t, c, ty, tb, xl, il, tl, cl};
    for (int i = 0; i < 11; i++) hwb_tensor_release(all[i]);
}

static void test_pools(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    for (uint64_t seed = 0; seed < 40; seed++) {
        check_avgpool(ctx, seed, seed & 1);
        check_maxpool(ctx, seed, seed & 1);
    }
    test_ctx_free(ctx);
}

/* The first of equal pixels, the first NaN before any number; out of range fails. */
static void test_pool_edges(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_attrs at = attrs_none();
    at.kernel[1] = at.stride[1] = 3;
    const double v[] = {2, 7, 7, -1, NAN, NAN, -INFINITY, -INFINITY, -INFINITY};
    hwb_tensor *x = tensor_of(ctx, HWB_F32, hwb_shape_of(4, 1, 1, 1, 9), v);
    hwb_tensor *index = call_ref1(ctx, HWB_OP_MAXPOOL_INDEX, &at, x);
    ASSERT_VALUES_FREE(call_ref2(ctx, HWB_OP_POOL_GATHER, &at, x, index), 0, 7, NAN, -INFINITY);
    ASSERT_VALUES_FREE(index, 0, 1, 4, 6);
    const double far[] = {0, 8, 9};
    hwb_tensor *bad = tensor_of(ctx, HWB_I32, hwb_shape_of(4, 1, 1, 1, 3), far), *y = NULL;
    assert_fails(ctx, try_ref(ctx, HWB_OP_POOL_GATHER, &at, 2, (hwb_tensor *[]){x, bad}, &y),
                 HWB_EARG, "pool_gather: index 10 at place 3, but a plane is 1x9");
    at.shape = hwb_shape_of(4, 1, 1, 2, 2);
    const double ones[] = {1, 1, 1};
    hwb_tensor *c = tensor_of(ctx, HWB_F32, hwb_shape_of(4, 1, 1, 1, 3), ones);
    assert_fails(ctx, try_ref(ctx, HWB_OP_POOL_SCATTER, &at, 2, (hwb_tensor *[]){c, bad}, &y),
                 HWB_EARG, "pool_scatter: index 9 at place 2, but a plane is 2x2");
    hwb_tensor *all[] = {x, bad, c};
    for (int i = 0; i < 3; i++) hwb_tensor_release(all[i]);
    test_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trio),    cmocka_unit_test(test_k_and_layout),
        cmocka_unit_test(test_by_hand), cmocka_unit_test(test_empty),
        cmocka_unit_test(test_pools),   cmocka_unit_test(test_pool_edges),
    };
    return RUN_TESTS(tests);
}
