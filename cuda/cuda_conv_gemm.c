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
 * as fit the scratch memory.
 */
#include "cuda_conv_i.h"

#include <stdlib.h>

enum { LIMIT = 256 << 20 };

#define COLS_PARAMS                                                                                \
    {                                                                                              \
        void *x;                                                                                   \
        void *cols;                                                                                \
        i64 n;                                                                                     \
        i64 channels;                                                                              \
        i64 oh;                                                                                    \
        i64 ow;                                                                                    \
        i64 add;                                                                                   \
        image im;                                                                                  \
        window w;                                                                                  \
    }
typedef hwb__cuda_image image;
typedef hwb__cuda_window window;

typedef struct gemm_kernel {
    hwb_kernel base;
    hwb__cuda_trio c;
    cudaKernel_t f; /* unfold, or fold for bwd_data */
    hwb__cuda_gemm g;
    int64_t chunk, taps; /* images at a time; columns of cols */
    struct COLS_PARAMS p;
} gemm_kernel;

#define HEAD                                                                                       \
    "extern \"C\" __global__ void __launch_bounds__(256) hwb_kernel(const params p) {\n"           \
    "const i64 taps = p.w.kernel[0] * p.w.kernel[1], row = p.channels * taps;\n"                   \
    "for (i64 i = (i64)blockIdx.x * 256 + threadIdx.x; i < p.n; i += (i64)gridDim.x * 256) {\n"

/* i: an entry of cols */
static const char UNFOLD[] =
    HEAD "const i64 e = i % row, at = i / row;\n"
         "const i64 s = e % p.w.kernel[1], r = e / p.w.kernel[1] % p.w.kernel[0], c = e / taps;\n"
         "const i64 b = at % p.ow, a = at / p.ow % p.oh, n = at / p.ow / p.oh;\n"
         "const i64 h = a * p.w.stride[0] - p.w.pad[0] + r * p.w.dilation[0];\n"
         "const i64 w = b * p.w.stride[1] - p.w.pad[1] + s * p.w.dilation[1];\n"
         "const bool in = h >= 0 && h < p.im.h && w >= 0 && w < p.im.w;\n"
         "((T *)p.cols)[i] = in ? ((const T *)p.x)[n * p.im.sn + c * p.im.sc + h * p.im.sh + "
         "w * p.im.sw] : (T)0;\n}\n}\n";

/* i: a pixel of the group's channels, c fastest */
static const char FOLD[] =
    HEAD "const i64 c = i % p.channels, w = i / p.channels % p.im.w;\n"
         "const i64 h = i / p.channels / p.im.w % p.im.h, n = i / p.channels / p.im.w / p.im.h;\n"
         "T *x = (T *)p.x + n * p.im.sn + c * p.im.sc + h * p.im.sh + w * p.im.sw;\n"
         "double sum = p.add ? (double)*x : 0;\n"
         "for (i64 r = 0; r < p.w.kernel[0]; r++) {\n"
         "const i64 u = h + p.w.pad[0] - r * p.w.dilation[0], a = u / p.w.stride[0];\n"
         "if (u < 0 || a * p.w.stride[0] != u || a >= p.oh) continue;\n"
         "for (i64 s = 0; s < p.w.kernel[1]; s++) {\n"
         "const i64 v = w + p.w.pad[1] - s * p.w.dilation[1], b = v / p.w.stride[1];\n"
         "if (v < 0 || b * p.w.stride[1] != v || b >= p.ow) continue;\n"
         "sum += (double)((const T *)p.cols)[((n * p.oh + a) * p.ow + b) * row + c * taps + "
         "r * p.w.kernel[1] + s];\n}\n}\n"
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
    k->p.n = q->images * (fold ? c->x.h * c->x.w * k->p.channels : c->y.h * c->y.w * k->taps);
    return hwb__cuda_launch(ctx, s, k->f, hwb__cuda_grid_for(k->p.n, s->sms), &k->p);
}

/* Channels-last: all images are rows of one product.  Else one product an image,
 * where y lies as [O, pixels]; weight gradients then add up image by image. */
static hwb_status multiply(hwb_ctx *ctx, hwb__cuda *s, gemm_kernel *k, const piece *q) {
    const hwb__cuda_trio *c = &k->c;
    const int64_t pixels = c->y.h * c->y.w, og = c->w.n / c->groups, size = c->f64 ? 8 : 4;
    const int64_t rows = c->last ? q->images * pixels : pixels;
    hwb__cuda_gemm g = k->g;
    g.batch = c->last ? 1 : q->images;
    if (c->op == HWB_OP_CONV_BWD_WEIGHTS) {
        g.m = og, g.n = g.ldb = g.ldc = k->taps, g.k = rows;
        g.ta = c->last;
        g.lda = c->last ? c->y.c : pixels;
        g.batch = 1;
        for (int64_t i = 0; i < (c->last ? 1 : q->images); i++)
            HWB_TRY(hwb__cuda_gemm_run(ctx, s, &g, q->y + i * c->y.sn * size,
                                       (char *)s->scratch + i * pixels * k->taps * size, q->w,
                                       q->add || i > 0));
        return HWB_OK;
    }
    if (c->op == HWB_OP_CONV_BWD_DATA) {
        g.m = rows, g.n = g.ldb = g.ldc = k->taps, g.k = og;
        g.ta = !c->last;
        g.lda = c->last ? c->y.c : pixels;
        g.sa = c->y.sn;
        g.sc = pixels * k->taps;
        return hwb__cuda_gemm_run(ctx, s, &g, q->y, q->w, s->scratch, false);
    }
    g.k = g.lda = g.ldb = k->taps;
    g.tb = true;
    if (c->last) {
        g.m = rows, g.n = og, g.ldc = c->y.c;
        return hwb__cuda_gemm_run(ctx, s, &g, s->scratch, q->w, q->y, q->add);
    }
    g.m = og, g.n = g.ldc = pixels;
    g.sb = pixels * k->taps;
    g.sc = c->y.sn;
    return hwb__cuda_gemm_run(ctx, s, &g, q->w, s->scratch, q->y, q->add);
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
            if (c->op != HWB_OP_CONV_BWD_DATA) HWB_TRY(move(ctx, s, k, &q));
            HWB_TRY(multiply(ctx, s, k, &q));
            if (c->op == HWB_OP_CONV_BWD_DATA) HWB_TRY(move(ctx, s, k, &q));
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

static hwb_status compile(hwb_ctx *ctx, hwb__cuda *s, gemm_kernel *k) {
    const bool fold = k->c.op == HWB_OP_CONV_BWD_DATA;
    hwb__cuda_text t = {0};
    hwb__cuda_say(&t,
                  "typedef struct %s image;\ntypedef struct %s window;\ntypedef struct %s params;\n"
                  "typedef %s T;\n%s",
                  HWB__CUDA_TEXT(HWB__CUDA_IMAGE), HWB__CUDA_TEXT(HWB__CUDA_WINDOW),
                  HWB__CUDA_TEXT(COLS_PARAMS), k->c.f64 ? "double" : "float", fold ? FOLD : UNFOLD);
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
    k->p.channels = c.w.c;
    k->p.oh = c.y.h;
    k->p.ow = c.y.w;
    k->p.im = c.x;
    k->p.w = c.window;
    hwb_status st = HWB_OK;
    if (!empty(d)) {
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
