/*
 * cuda_conv_gemm.c: the convolution trio as matrix products, for what cuDNN does not
 * take: float64, lopsided padding, sizes without an algorithm.
 *
 * With cols[i,(c,r,s)] the pixels under the taps of output position i of some images
 * (zero in the padding), for each group
 *
 *     y = cols w^T        w = y^T cols        x = fold(y w),
 *
 * fold adding up the entries of y w that belong to one pixel: every element of x
 * looks for its own, so nothing is written twice.  Images are taken as many at a time
 * as fit the scratch memory.  For 1x1 windows side by side, channels last, cols is x itself.
 */
#include "cuda_conv_i.h"

#include <stdlib.h>

enum { LIMIT = 256 << 20 };

#define COLS_PARAMS                                                                                \
    {                                                                                              \
        void *x;                                                                                   \
        void *cols;                                                                                \
        i64 n;                                                                                     \
        i64 add;                                                                                   \
    }

typedef struct gemm_kernel {
    hwb_kernel base;
    hwb__cuda_trio c;
    cudaKernel_t f; /* unfold, or fold for bwd_data */
    hwb__cuda_gemm g;
    int64_t chunk, taps; /* images at a time; columns of cols */
    bool plain;          /* cols is x */
    struct COLS_PARAMS p;
} gemm_kernel;

/* Sizes are constants of the text: C channels of a group, XH x XW pixels of x at strides
 * XN, XC, XR, XS (image, channel, row, column), YH x YW of y, and the window. */
#define HEAD                                                                                       \
    "extern \"C\" __global__ void __launch_bounds__(256) hwb_kernel(const params p) {\n"           \
    "for (I i = blockIdx.x * (I)256 + threadIdx.x; i < (I)p.n; i += gridDim.x * (I)256) {\n"

/* i: an entry of cols */
static const char UNFOLD[] =
    HEAD "const I e = i % (C * KH * KW), at = i / (C * KH * KW);\n"
         "const int s = (int)(e % KW), r = (int)(e / KW % KH); const I c = e / (KH * KW);\n"
         "const int b = (int)(at % YW), a = (int)(at / YW % YH); const I n = at / YW / YH;\n"
         "const int h = a * SH - PH + r * DH, w = b * SW - PW + s * DW;\n"
         "const bool in = h >= 0 && h < XH && w >= 0 && w < XW;\n"
         "((T *)p.cols)[i] = in ? ((const T *)p.x)[n * XN + c * XC + (I)h * XR + (I)w * XS] "
         ": (T)0;\n}\n}\n";

/* i: a pixel of the group's channels, c fastest */
static const char FOLD[] =
    HEAD "const I c = i % C, u1 = i / C, u2 = u1 / XW, n = u2 / XH;\n"
         "const int w = (int)(u1 % XW), h = (int)(u2 % XH);\n"
         "T *x = (T *)p.x + (n * XN + c * XC + (I)h * XR + (I)w * XS);\n"
         "double sum = p.add ? (double)*x : 0;\n"
         "for (int r = 0; r < KH; r++) {\n"
         "const int u = h + PH - r * DH, a = u / SH;\n"
         "if (u < 0 || a * SH != u || a >= YH) continue;\n"
         "for (int s = 0; s < KW; s++) {\n"
         "const int v = w + PW - s * DW, b = v / SW;\n"
         "if (v < 0 || b * SW != v || b >= YW) continue;\n"
         "sum += (double)((const T *)p.cols)[(((n * YH + a) * YW + b) * C + c) * (KH * KW) + "
         "r * KW + s];\n}\n}\n"
         "*x = (T)sum;\n}\n}\n";

/* ---- one chunk of one group -------------------------------------------------------------- */

/* Places of a chunk: x and y at its first image and the group's first channel. */
typedef struct piece {
    char *x, *w, *y;
    int64_t images;
    bool add;
} piece;

static hwb_status move(hwb_ctx *ctx, hwb__cuda *s, gemm_kernel *k, const piece *q) {
    const hwb__cuda_trio *c = &k->c;
    const bool fold = c->op == HWB_OP_CONV_BWD_DATA;
    k->p.x = q->x;
    k->p.cols = s->scratch;
    k->p.add = q->add;
    k->p.n = q->images * (fold ? c->x.h * c->x.w * c->w.c : c->y.h * c->y.w * k->taps);
    return hwb__cuda_launch(ctx, s, k->f, hwb__cuda_grid_for(k->p.n, s->sms), &k->p);
}

/* Channels-last: all images are rows of one product.  Else one product an image,
 * where y lies as [O, pixels]; weight gradients then add up image by image. */
static hwb_status multiply(hwb_ctx *ctx, hwb__cuda *s, gemm_kernel *k, const piece *q) {
    const hwb__cuda_trio *c = &k->c;
    const int64_t pixels = c->y.h * c->y.w, og = c->w.n / c->groups, size = c->f64 ? 8 : 4;
    const int64_t rows = c->last ? q->images * pixels : pixels;
    char *cols = k->plain ? q->x : s->scratch;
    const int64_t row = k->plain ? c->x.c : k->taps;
    hwb__cuda_gemm g = k->g;
    g.batch = c->last ? 1 : q->images;
    if (c->op == HWB_OP_CONV_BWD_WEIGHTS) {
        g.m = og, g.n = g.ldc = k->taps, g.k = rows;
        g.ldb = row;
        g.ta = c->last;
        g.lda = c->last ? c->y.c : pixels;
        g.batch = 1;
        for (int64_t i = 0; i < (c->last ? 1 : q->images); i++)
            HWB_TRY(hwb__cuda_gemm_run(ctx, s, &g, q->y + i * c->y.sn * size,
                                       cols + i * pixels * k->taps * size, q->w, q->add || i > 0));
        return HWB_OK;
    }
    if (c->op == HWB_OP_CONV_BWD_DATA) {
        g.m = rows, g.n = g.ldb = k->taps, g.k = og;
        g.ldc = row;
        g.ta = !c->last;
        g.lda = c->last ? c->y.c : pixels;
        g.sa = c->y.sn;
        g.sc = pixels * k->taps;
        return hwb__cuda_gemm_run(ctx, s, &g, q->y, q->w, cols, k->plain && q->add);
    }
    g.k = g.ldb = k->taps;
    g.lda = row;
    g.tb = true;
    if (c->last) {
        g.m = rows, g.n = og, g.ldc = c->y.c;
        return hwb__cuda_gemm_run(ctx, s, &g, cols, q->w, q->y, q->add);
    }
    g.m = og, g.n = g.ldc = pixels;
    g.sb = pixels * k->taps;
    g.sc = c->y.sn;
    return hwb__cuda_gemm_run(ctx, s, &g, q->w, cols, q->y, q->add);
}

static hwb_status turn(hwb_ctx *ctx, hwb__cuda *s, gemm_kernel *k, int64_t t, const void *const *in,
                       void *const *out) {
    const hwb__cuda_trio *c = &k->c;
    const int64_t size = c->f64 ? 8 : 4, cg = c->w.c, og = c->w.n / c->groups;
    for (int64_t group = 0; group < c->groups; group++)
        for (int64_t first = 0; first < c->x.n; first += k->chunk) {
            piece q = {.images = c->x.n - first < k->chunk ? c->x.n - first : k->chunk};
            q.x = (char *)hwb__cuda_trio_operand(c, 0, t, in, out) +
                  (first * c->x.sn + group * cg * c->x.sc) * size;
            q.w = (char *)hwb__cuda_trio_operand(c, 1, t, in, out) + group * og * c->w.sn * size;
            q.y = (char *)hwb__cuda_trio_operand(c, 2, t, in, out) +
                  (first * c->y.sn + group * og * c->y.sc) * size;
            q.add = c->add || (c->op == HWB_OP_CONV_BWD_WEIGHTS && first > 0);
            const bool fold = c->op == HWB_OP_CONV_BWD_DATA;
            if (!k->plain && !fold) HWB_TRY(move(ctx, s, k, &q));
            HWB_TRY(multiply(ctx, s, k, &q));
            if (!k->plain && fold) HWB_TRY(move(ctx, s, k, &q));
        }
    return HWB_OK;
}

static hwb_status run(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel *base, const void *const *in,
                      void *const *out) {
    gemm_kernel *k = (gemm_kernel *)base;
    HWB_TRY(hwb__cuda_trio_add(ctx, s, &k->c, in, out));
    if (k->chunk == 0) { /* nothing to multiply: zeros */
        if (!k->c.add && k->c.bytes)
            HWB_CUDA_TRY(ctx, cudaMemsetAsync(out[0], 0, k->c.bytes, s->stream));
        return HWB_OK;
    }
    for (int64_t t = 0; t < k->c.turns; t++) HWB_TRY(turn(ctx, s, k, t, in, out));
    return HWB_OK;
}

/* ---- preparing -------------------------------------------------------------------------------- */

static bool supports(const hwb_kdesc *d) {
    return (d->op == HWB_OP_CONV || d->op == HWB_OP_CONV_BWD_DATA ||
            d->op == HWB_OP_CONV_BWD_WEIGHTS) &&
           hwb__cuda_is_float(d->out[0].dtype);
}

static bool empty(const hwb_kdesc *d) {
    return hwb__cuda_numel(&d->in[0].shape) == 0 || hwb__cuda_numel(&d->in[1].shape) == 0 ||
           hwb__cuda_numel(&d->out[0].shape) == 0;
}

static bool is_plain(const hwb__cuda_trio *c) {
    const hwb__cuda_window *w = &c->window;
    bool one = c->last && c->x.h == c->y.h && c->x.w == c->y.w;
    for (int i = 0; i < 2; i++)
        one = one && w->kernel[i] == 1 && w->stride[i] == 1 && w->pad[i] == 0;
    return one;
}

/* Offsets within a chunk fit 31 bits. */
static bool narrow(const gemm_kernel *k) {
    const int64_t cols = k->c.y.h * k->c.y.w * k->taps, x = k->c.x.sn;
    return k->chunk * (cols > x ? cols : x) < INT32_MAX - (1 << 26);
}

static hwb_status compile(hwb_ctx *ctx, hwb__cuda *s, gemm_kernel *k) {
    const bool fold = k->c.op == HWB_OP_CONV_BWD_DATA;
    const hwb__cuda_image *x = &k->c.x, *y = &k->c.y;
    const hwb__cuda_window *w = &k->c.window;
    hwb__cuda_text t = {0};
    hwb__cuda_say(&t, "typedef struct %s params;\ntypedef %s T;\ntypedef %s I;\n",
                  HWB__CUDA_TEXT(COLS_PARAMS), k->c.f64 ? "double" : "float",
                  narrow(k) ? "u32" : "u64");
    const struct {
        const char *name;
        int64_t value;
    } sizes[] = {{"C", k->c.w.c},       {"XH", x->h},         {"XW", x->w},
                 {"YH", y->h},          {"YW", y->w},         {"KH", w->kernel[0]},
                 {"KW", w->kernel[1]},  {"SH", w->stride[0]}, {"SW", w->stride[1]},
                 {"PH", w->pad[0]},     {"PW", w->pad[1]},    {"DH", w->dilation[0]},
                 {"DW", w->dilation[1]}};
    const struct {
        const char *name;
        int64_t value;
    } strides[] = {{"XN", x->sn}, {"XC", x->sc}, {"XR", x->sh}, {"XS", x->sw}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        hwb__cuda_say(&t, "#define %s %d\n", sizes[i].name, (int)sizes[i].value);
    for (int i = 0; i < 4; i++)
        hwb__cuda_say(&t, "#define %s (I)%lldu\n", strides[i].name, (long long)strides[i].value);
    hwb__cuda_say(&t, "%s", fold ? FOLD : UNFOLD);
    hwb_status st = hwb__cuda_function(ctx, s, &k->f, fold ? "fold" : "unfold", &t);
    free(t.at);
    return st;
}

static hwb_status prepare(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel **out, const hwb_kdesc *d) {
    HWB_TRY(hwb__cuda_blas(ctx, s));
    gemm_kernel *k = hwb__cuda_kernel_new(sizeof(*k), "cublas:unfold");
    if (!k) return hwb__cuda_oom(ctx);
    const hwb__cuda_trio c = k->c = hwb__cuda_trio_of(d);
    k->base.run = run;
    k->g.f64 = c.f64;
    k->g.compute = hwb__cuda_compute(s, c.f64, d->exact);
    k->taps = c.w.c * c.w.h * c.w.w;
    k->plain = is_plain(&c);
    hwb_status st = HWB_OK;
    if (k->plain && !empty(d)) k->chunk = c.x.n;
    else if (!empty(d)) {
        const int64_t one = c.y.h * c.y.w * k->taps * (c.f64 ? 8 : 4);
        k->chunk = one < LIMIT ? LIMIT / one : 1;
        if (k->chunk > c.x.n) k->chunk = c.x.n;
        st = compile(ctx, s, k);
        if (st == HWB_OK) st = hwb__cuda_scratch(ctx, s, (size_t)(k->chunk * one));
    }
    if (st == HWB_OK) *out = &k->base;
    else free(k);
    return st;
}

const hwb__cuda_family hwb__cuda_conv_gemm = {supports, prepare};
