/*
 * cpu_conv.c: the convolution trio in float32 through oneDNN.
 *
 *   CONV              y[N,O,OH,OW] = x[N,C,H,W] * w[O,C/g,kh,kw]   (+ y0)
 *   CONV_BWD_DATA     x            = transpose in x, of y and w     (+ x0)
 *   CONV_BWD_WEIGHTS  w            = transpose in w, of x and y     (+ w0)
 *
 * A leading K of the images alone is K*N images and one call; a K of the
 * weights (as input or result) is a loop over k with the other operand shared.
 *
 * Weights come plain and are packed by a reorder into oneDNN's own layout; the
 * packed copies of a stable input are kept until its version changes.  The
 * accumulate input costs nothing in the forward direction (sum post-op) and in
 * that of the weights (the reorder back adds).  oneDNN's backward-data cannot
 * add, so it runs over groups of images small enough for their result to stay
 * in cache until it has been added.
 */
#include "backend/cpu/onednn_i.h"

#include <stdio.h>
#include <string.h>

typedef struct conv_kernel {
    hwb__cpu_kernel base;
    hwb__conv_geom geom;
    hwb__dnn_conv *conv;
    hwb__dnn_reorder *pack, *unpack; /* NULL: packed = plain */
    int64_t chunk;                   /* images a call */
    char *kept;                      /* packed copies of stable weights, one a k; or NULL */
    size_t packed_bytes;             /* of one copy */
    bool filled;                     /* kept holds the weights of `source`, `version` */
    const void *source;
    uint64_t version;
    /* the shared scratch: oneDNN's own from 0, then passing packed weights, then a
     * chunk of a backward-data result before it is added */
    size_t packed_at, tmp_at;
} conv_kernel;

/* Bytes of a backward-data result that wait in cache for their addition. */
enum { ADD_CHUNK = 1 << 20 };

/* Images as [K,]N,C,H,W in the order they lie. */
static int64_t image_dims(const hwb_shape *s, bool channels_last, int64_t nchw[4]) {
    const int64_t *d = s->dim + (s->ndim - 4);
    static const int last[4] = {0, 3, 1, 2}, plain[4] = {0, 1, 2, 3};
    for (int i = 0; i < 4; i++) nchw[i] = d[channels_last ? last[i] : plain[i]];
    return s->ndim == 5 ? s->dim[0] : 0;
}

hwb__conv_geom hwb__conv_geom_of(const hwb_kdesc *desc) {
    const hwb_attrs *a = &desc->attrs;
    hwb__conv_geom g = {.op = desc->op,
                        .dtype = desc->in[0].dtype,
                        .channels_last = a->channels_last != 0,
                        .groups = a->groups < 1 ? 1 : a->groups,
                        .add = desc->n_in == 3};
    const hwb_shape *x = &desc->in[0].shape, *w = &desc->in[1].shape, *y = &desc->out[0].shape;
    if (g.op == HWB_OP_CONV_BWD_DATA) x = &desc->out[0].shape, y = &desc->in[0].shape;
    if (g.op == HWB_OP_CONV_BWD_WEIGHTS) w = &desc->out[0].shape, y = &desc->in[1].shape;
    int64_t dx[4], dy[4];
    int64_t kx = image_dims(x, g.channels_last, dx), ky = image_dims(y, g.channels_last, dy);
    int64_t kw = w->ndim == 5 ? w->dim[0] : 0;
    g.n = dx[0], g.c = dx[1], g.h = dx[2], g.w = dx[3];
    g.o = dy[1], g.oh = dy[2], g.ow = dy[3];
    for (int i = 0; i < 2; i++) {
        g.kernel[i] = w->dim[w->ndim - 2 + i];
        g.stride[i] = a->stride[i] < 1 ? 1 : a->stride[i];
        g.dilation[i] = a->dilation[i] < 1 ? 1 : a->dilation[i];
        g.pad_lo[i] = a->pad_lo[i];
        g.pad_hi[i] = a->pad_hi[i];
    }
    if (kx && ky && !kw) { /* fold K into the images */
        g.n *= kx;
        kx = ky = 0;
    }
    g.loops = kx > ky ? kx : ky;
    if (kw > g.loops) g.loops = kw;
    if (g.loops < 1) g.loops = 1;
    g.x_step = kx ? hwb__conv_x_size(&g) : 0;
    g.y_step = ky ? hwb__conv_y_size(&g) : 0;
    g.w_step = kw ? hwb__conv_w_size(&g) : 0;
    return g;
}

bool hwb__cpu_conv_supports(const hwb_kdesc *desc) {
    hwb_dtype t = desc->in[0].dtype;
    if ((t != HWB_F32 && t != HWB_F64) || desc->in[1].dtype != t || desc->out[0].dtype != t)
        return false;
    if (hwb_shape_numel(&desc->out[0].shape) == 0) return false;
    for (int i = 0; i < desc->n_in; i++)
        if (hwb_shape_numel(&desc->in[i].shape) == 0) return false;
    for (int i = 0; i < 2; i++)
        if (desc->attrs.pad_lo[i] < 0 || desc->attrs.pad_hi[i] < 0) return false;
    return true;
}

/* Which algorithm: direct, whose rounding is that of a plain sum. */
static hwb__conv_algorithm choose_algorithm(const hwb__conv_geom *g) {
    (void)g;
    return HWB__CONV_DIRECT;
}

/* ---- run ---------------------------------------------------------------------------- */

static char *scratch(const conv_kernel *k) {
    return k->base.state->scratch;
}

/* Packs every kept copy of the weights when they changed. */
static hwb_status refresh(hwb_ctx *ctx, conv_kernel *k, const float *w, const uint64_t *versions) {
    if (!k->kept) return HWB_OK;
    if (k->filled && versions && k->source == w && k->version == versions[1]) return HWB_OK;
    int64_t copies = k->geom.w_step ? k->geom.loops : 1;
    k->filled = false;
    for (int64_t i = 0; i < copies; i++)
        HWB_TRY(hwb__dnn_reorder_run(ctx, k->pack, w + i * k->geom.w_step,
                                     k->kept + (size_t)i * k->packed_bytes));
    k->filled = versions != NULL;
    k->source = w;
    k->version = versions ? versions[1] : 0;
    return HWB_OK;
}

/* Packed weights of loop i. */
static hwb_status weights(hwb_ctx *ctx, conv_kernel *k, const float *w, int64_t i,
                          const void **out) {
    const float *plain = w + i * k->geom.w_step;
    if (!k->pack) {
        *out = plain;
        return HWB_OK;
    }
    bool shared = k->geom.w_step == 0;
    if (k->kept) {
        *out = k->kept + (shared ? 0 : (size_t)i * k->packed_bytes);
        return HWB_OK;
    }
    *out = scratch(k) + k->packed_at;
    if (shared && i > 0) return HWB_OK;
    return hwb__dnn_reorder_run(ctx, k->pack, plain, scratch(k) + k->packed_at);
}

static hwb_status run_forward(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                              const uint64_t *versions, void *const *out) {
    conv_kernel *k = (conv_kernel *)kernel;
    const hwb__conv_geom *g = &k->geom;
    const float *x = in[0], *w = in[1];
    float *y = out[0];
    HWB_TRY(refresh(ctx, k, w, versions));
    if (g->add && in[2] != out[0])
        memcpy(y, in[2], (size_t)(g->loops * hwb__conv_y_size(g)) * sizeof *y);
    for (int64_t i = 0; i < g->loops; i++) {
        const void *packed;
        HWB_TRY(weights(ctx, k, w, i, &packed));
        HWB_TRY(hwb__dnn_conv_run(ctx, k->conv, x + i * g->x_step, packed, y + i * g->y_step,
                                  scratch(k)));
    }
    return HWB_OK;
}

static void add(float *out, const float *a, const float *b, int64_t n) {
#pragma omp parallel for simd if (n > HWB_CPU_SERIAL) schedule(static)
    for (int64_t i = 0; i < n; i++) out[i] = a[i] + b[i];
}

static hwb_status run_backward_data(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                                    const uint64_t *versions, void *const *out) {
    conv_kernel *k = (conv_kernel *)kernel;
    const hwb__conv_geom *g = &k->geom;
    const float *y = in[0], *w = in[1];
    float *tmp = (float *)(void *)(scratch(k) + k->tmp_at);
    int64_t x_chunk = hwb__conv_x_size(g) / g->n * k->chunk;
    int64_t y_chunk = hwb__conv_y_size(g) / g->n * k->chunk;
    HWB_TRY(refresh(ctx, k, w, versions));
    for (int64_t i = 0; i < g->loops; i++) {
        const void *packed;
        HWB_TRY(weights(ctx, k, w, i, &packed));
        for (int64_t j = 0; j < g->n / k->chunk; j++) {
            int64_t at = i * g->x_step + j * x_chunk;
            float *x = (float *)out[0] + at;
            HWB_TRY(hwb__dnn_conv_run(ctx, k->conv, g->add ? tmp : x, packed,
                                      y + i * g->y_step + j * y_chunk, scratch(k)));
            if (g->add) add(x, (const float *)in[2] + at, tmp, x_chunk);
        }
    }
    return HWB_OK;
}

static hwb_status run_backward_weights(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                                       const uint64_t *versions, void *const *out) {
    conv_kernel *k = (conv_kernel *)kernel;
    const hwb__conv_geom *g = &k->geom;
    const float *x = in[0], *y = in[1];
    float *w = out[0];
    void *packed = scratch(k) + k->packed_at;
    (void)versions;
    if (g->add && in[2] != out[0])
        memcpy(w, in[2], (size_t)(g->loops * hwb__conv_w_size(g)) * sizeof *w);
    for (int64_t i = 0; i < g->loops; i++) {
        float *to = w + i * g->w_step;
        HWB_TRY(hwb__dnn_conv_run(ctx, k->conv, x + i * g->x_step, k->unpack ? packed : to,
                                  y + i * g->y_step, scratch(k)));
        if (k->unpack) HWB_TRY(hwb__dnn_reorder_run(ctx, k->unpack, packed, to));
    }
    return HWB_OK;
}

/* ---- prepare -------------------------------------------------------------------------- */

static void conv_free(hwb__cpu_kernel *kernel) {
    conv_kernel *k = (conv_kernel *)kernel;
    hwb__dnn_conv_free(k->conv);
    hwb__dnn_reorder_free(k->pack);
    hwb__dnn_reorder_free(k->unpack);
    hwb_free(k->kept);
    hwb_free(k);
}

/* Images a call: all, or for an added backward-data a divisor of n whose
 * result is small. */
static int64_t choose_chunk(const hwb__conv_geom *g) {
    if (g->op != HWB_OP_CONV_BWD_DATA || !g->add) return g->n;
    int64_t image = hwb__conv_x_size(g) / g->n * (int64_t)sizeof(float);
    int64_t most = ADD_CHUNK / image < 1 ? 1 : ADD_CHUNK / image;
    int64_t chunk = most < g->n ? most : g->n;
    while (g->n % chunk) chunk--;
    return chunk;
}

/* Reorders and buffers of a kernel whose primitive exists. */
static hwb_status make_buffers(hwb_ctx *ctx, conv_kernel *k, bool stable) {
    const hwb__conv_geom *g = &k->geom;
    bool weights_out = g->op == HWB_OP_CONV_BWD_WEIGHTS;
    bool plain = hwb__dnn_conv_plain(k->conv);
    if (weights_out && (!plain || g->add))
        HWB_TRY(hwb__dnn_reorder_new(ctx, &k->unpack, k->conv, true, g->add));
    if (!weights_out && !plain) HWB_TRY(hwb__dnn_reorder_new(ctx, &k->pack, k->conv, false, false));
    k->packed_bytes = hwb__cpu_align(hwb__dnn_conv_packed(k->conv));
    bool keep = k->pack && stable;
    if (keep) {
        k->kept = hwb_alloc(ctx, (g->w_step ? (size_t)g->loops : 1) * k->packed_bytes);
        if (!k->kept) return HWB_ENOMEM;
    }
    k->packed_at = hwb__cpu_align(hwb__dnn_conv_scratch(k->conv));
    k->tmp_at = k->packed_at;
    if ((k->pack && !keep) || k->unpack) k->tmp_at += k->packed_bytes;
    size_t bytes = k->tmp_at;
    if (g->op == HWB_OP_CONV_BWD_DATA && g->add)
        bytes += (size_t)(hwb__conv_x_size(g) / g->n * k->chunk) * sizeof(float);
    return hwb__cpu_reserve(ctx, k->base.state, bytes);
}

hwb_status hwb__cpu_conv_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                 const hwb_kdesc *desc) {
    hwb__conv_geom g = hwb__conv_geom_of(desc);
    if (g.dtype == HWB_F64) return hwb__cpu_conv_gemm_prepare(ctx, state, out, desc);
    hwb__cpu_kernel *base;
    HWB_TRY(hwb__cpu_kernel_new(ctx, state, &base, sizeof(conv_kernel), "onednn"));
    conv_kernel *k = (conv_kernel *)base;
    base->free = conv_free;
    base->run = g.op == HWB_OP_CONV            ? run_forward
                : g.op == HWB_OP_CONV_BWD_DATA ? run_backward_data
                                               : run_backward_weights;
    k->geom = g;
    k->chunk = choose_chunk(&g);
    hwb_status status = hwb__dnn_conv_new(ctx, state->dnn, &k->conv, &g, k->chunk,
                                          choose_algorithm(&g), g.op == HWB_OP_CONV && g.add);
    if (status == HWB_OK) status = make_buffers(ctx, k, (desc->stable & 2u) != 0);
    if (status == HWB_OK) {
        snprintf(base->name, sizeof base->name, "onednn:%s", hwb__dnn_conv_name(k->conv));
        *out = base;
        return HWB_OK;
    }
    conv_free(base);
    /* What oneDNN refuses goes through matrix products. */
    if (status == HWB_EUNSUPPORTED) return hwb__cpu_conv_gemm_prepare(ctx, state, out, desc);
    return status;
}
