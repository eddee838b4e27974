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
 * Those that Winograd's algorithm speeds up go to cpu_wino.c, most others of channels-last
 * images to cpu_direct.c; what is left here runs in oneDNN.
 *
 * Weights come plain and are packed by a reorder into oneDNN's own layout; the
 * packed copies of a stable input are kept until its version changes.
 *
 * The accumulate input costs nothing in the forward convolution (sum post-op) and
 * in weight gradients (the reorder back adds).
 * oneDNN's backward-data cannot add: with stride 1 it is run as the forward
 * convolution that it is, else over few images at a time, and what is in cache is
 * then added.
 */
#include "backend/cpu/onednn_i.h"

#include <stdio.h>
#include <string.h>

typedef struct conv_kernel {
    hwb__cpu_kernel base;
    hwb__conv_geom geom;
    hwb__dnn_conv *conv;
    int64_t chunk;              /* images a call */
    hwb__dnn_reorder *to_own;   /* weights: given -> oneDNN's; NULL: as given */
    hwb__dnn_reorder *from_own; /* their gradient, back and perhaps adding; NULL: as given */
    bool add_after;             /* the result goes to a copy and is added by us */
    char *kept;                 /* packed copies of stable weights, one a k; or NULL */
    size_t packed_bytes;        /* of one copy */
    bool filled;                /* kept holds the weights of `source`, `version` */
    const void *source;
    uint64_t version;
    /* in the shared scratch, where oneDNN's own lies at 0: packed weights; images to add */
    size_t copy_at, sum_at;
    bool turned; /* a backward-data convolution run forward: weights are turned round first */
    size_t turned_at;
} conv_kernel;

/* Bytes of image copies a call: what stays in the second-level caches. */
enum { ADD_BYTES = 1 << 20 };

/* Images as [K,]N,C,H,W in the order they lie. */
static int64_t image_dims(const hwb_shape *s, bool channels_last, int64_t nchw[4]) {
    const int64_t *d = s->dim + (s->ndim - 4);
    static const int last[4] = {0, 3, 1, 2}, plain[4] = {0, 1, 2, 3};
    for (int i = 0; i < 4; i++) nchw[i] = d[channels_last ? last[i] : plain[i]];
    return s->ndim == 5 ? s->dim[0] : 0;
}

hwb__conv_geom hwb__conv_geom_of(const hwb_kdesc *given) {
    hwb_vdesc result;
    const hwb_kdesc conv = hwb__cpu_conv_alone(given, &result), *desc = &conv;
    const hwb_attrs *a = &desc->attrs;
    hwb__conv_geom g = {.op = desc->op,
                        .dtype = desc->in[0].dtype,
                        .channels_last = a->channels_last != 0,
                        .groups = a->groups < 1 ? 1 : a->groups,
                        .pair = desc->n_in > 3,
                        .add = desc->n_in % 2 == 1,
                        .after = given->fused ? given : NULL};
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
    if (kx && ky && !kw && !g.pair) { /* fold K into the images */
        g.n *= kx;
        kx = ky = 0;
    }
    g.loops = kx > ky ? kx : ky;
    if (kw > g.loops) g.loops = kw;
    if (g.loops < 1) g.loops = 1;
    g.x_step = kx ? hwb__conv_x_size(&g) : 0;
    g.y_step = ky ? hwb__conv_y_size(&g) : 0;
    g.w_step = kw ? hwb__conv_w_size(&g) : 0;
    for (int i = 0; g.pair && i < 2; i++) {
        const hwb_shape *s = &desc->in[2 + i].shape;
        g.pair_step[i] = s->ndim == 5 ? hwb_shape_numel(s) / s->dim[0] : 0;
    }
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

static hwb__conv_operand result_of(hwb_op op) {
    return op == HWB_OP_CONV ? HWB__CONV_Y : op == HWB_OP_CONV_BWD_DATA ? HWB__CONV_X : HWB__CONV_W;
}

/* ---- run ----------------------------------------------------------------- */

static char *copy_of(const conv_kernel *k) {
    return (char *)k->base.state->scratch + k->copy_at;
}

/* from[O,C,h,w] -> to[C,O,h,w], turned round: to[c,o,i,j] = from[o,c,h-1-i,w-1-j] */
static void turn(const hwb__conv_geom *g, const float *from, float *to) {
    int64_t c_count = g->o, o_count = g->c, taps = g->kernel[0] * g->kernel[1];
#pragma omp parallel for if (c_count * o_count * taps > HWB_CPU_SERIAL) schedule(static)
    for (int64_t c = 0; c < c_count; c++)
        for (int64_t o = 0; o < o_count; o++)
            for (int64_t t = 0; t < taps; t++)
                to[(c * o_count + o) * taps + t] = from[(o * c_count + c) * taps + taps - 1 - t];
}

/* Weights as the primitive's geometry has them. */
static const float *weights_given(conv_kernel *k, const float *w) {
    if (!k->turned) return w;
    float *to = (float *)(void *)((char *)k->base.state->scratch + k->turned_at);
    turn(&k->geom, w, to);
    return to;
}

/* Packs every kept copy of the weights when they changed. */
static hwb_status refresh(hwb_ctx *ctx, conv_kernel *k, const float *w, const uint64_t *versions) {
    if (!k->kept) return HWB_OK;
    if (k->filled && versions && k->source == w && k->version == versions[1]) return HWB_OK;
    int64_t copies = k->geom.w_step ? k->geom.loops : 1;
    k->filled = false;
    for (int64_t i = 0; i < copies; i++)
        HWB_TRY(hwb__dnn_reorder_run(ctx, k->to_own, weights_given(k, w + i * k->geom.w_step),
                                     k->kept + (size_t)i * k->packed_bytes));
    k->filled = versions != NULL;
    k->source = w;
    k->version = versions ? versions[1] : 0;
    return HWB_OK;
}

/* The weights of loop i. */
static hwb_status give_weights(hwb_ctx *ctx, conv_kernel *k, const float *w, int64_t i,
                               const void **out) {
    bool shared = k->geom.w_step == 0;
    if (k->kept) {
        *out = k->kept + (shared ? 0 : (size_t)i * k->packed_bytes);
        return HWB_OK;
    }
    if (k->to_own && shared && i > 0) return HWB_OK; /* the copy is still there */
    *out = weights_given(k, w + i * k->geom.w_step);
    if (!k->to_own) return HWB_OK;
    HWB_TRY(hwb__dnn_reorder_run(ctx, k->to_own, *out, copy_of(k)));
    *out = copy_of(k);
    return HWB_OK;
}

static void add(float *out, const float *a, const float *b, int64_t n) {
#pragma omp parallel for simd if (n > HWB_CPU_SERIAL) schedule(static)
    for (int64_t i = 0; i < n; i++) out[i] = a[i] + b[i];
}

/* One call: operand[r] is the result, `more` what is added to it afterwards. */
static hwb_status run_chunk(hwb_ctx *ctx, conv_kernel *k, const void *operand[3],
                            const float *more) {
    hwb__conv_operand r = result_of(k->geom.op);
    float *result = (float *)(uintptr_t)operand[r];
    if (k->from_own) operand[r] = copy_of(k);
    if (k->add_after) operand[r] = (char *)k->base.state->scratch + k->sum_at;
    HWB_TRY(hwb__dnn_conv_run(ctx, k->conv, operand[0], operand[1], operand[2],
                              k->base.state->scratch));
    if (k->from_own) return hwb__dnn_reorder_run(ctx, k->from_own, operand[r], result);
    if (k->add_after)
        add(result, more, operand[r], hwb__conv_x_size(&k->geom) / k->geom.n * k->chunk);
    return HWB_OK;
}

static hwb_status conv_run(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                           const uint64_t *versions, void *const *out) {
    conv_kernel *k = (conv_kernel *)kernel;
    const hwb__conv_geom *g = &k->geom;
    hwb__conv_operand r = result_of(g->op);
    const float *p[3]; /* x, w, y */
    int next = 0;
    static const int order[3][2] = {{2, 1}, {0, 2}, {0, 1}}; /* inputs, by result */
    for (int i = 0; i < 2; i++) p[order[r][i]] = in[next++];
    p[r] = out[0];
    int64_t size[3] = {hwb__conv_x_size(g), hwb__conv_w_size(g), hwb__conv_y_size(g)};
    int64_t x_chunk = size[0] / g->n * k->chunk, y_chunk = size[2] / g->n * k->chunk;
    const void *w = NULL;
    if (g->add && !k->add_after && in[2] != out[0])
        memcpy(out[0], in[2], (size_t)(g->loops * size[r]) * sizeof(float));
    HWB_TRY(refresh(ctx, k, p[1], versions));
    for (int64_t i = 0; i < g->loops; i++) {
        if (r == HWB__CONV_W) w = p[1] + i * g->w_step;
        else HWB_TRY(give_weights(ctx, k, p[1], i, &w));
        for (int64_t j = 0; j < g->n / k->chunk; j++) {
            int64_t at = i * g->x_step + j * x_chunk;
            const void *operand[3] = {p[0] + at, w, p[2] + i * g->y_step + j * y_chunk};
            HWB_TRY(run_chunk(ctx, k, operand, k->add_after ? (const float *)in[2] + at : NULL));
        }
    }
    return HWB_OK;
}

/* ---- prepare ------------------------------------------------------------- */

static void conv_free(hwb__cpu_kernel *kernel) {
    conv_kernel *k = (conv_kernel *)kernel;
    hwb__dnn_conv_free(k->conv);
    hwb__dnn_reorder_free(k->to_own);
    hwb__dnn_reorder_free(k->from_own);
    hwb_free(k->kept);
    hwb_free(k);
}

/* Images a call: all, or where the result is copied a divisor of n whose copies
 * stay in cache. */
static int64_t choose_chunk(const hwb__conv_geom *g) {
    if (g->op != HWB_OP_CONV_BWD_DATA || !g->add) return g->n;
    int64_t bytes = hwb__conv_x_size(g) / g->n * (int64_t)sizeof(float);
    int64_t most = ADD_BYTES / bytes < 1 ? 1 : ADD_BYTES / bytes;
    int64_t chunk = most < g->n ? most : g->n;
    while (g->n % chunk) chunk--;
    return chunk;
}

/* Reorders and buffers of a kernel whose primitive exists. */
static hwb_status make_buffers(hwb_ctx *ctx, conv_kernel *k, bool stable) {
    const hwb__conv_geom *g = &k->geom;
    bool gradient = g->op == HWB_OP_CONV_BWD_WEIGHTS;
    bool same = hwb__dnn_conv_as_given(k->conv, HWB__CONV_W);
    if (!gradient && !same) HWB_TRY(hwb__dnn_reorder_new(ctx, &k->to_own, k->conv, false, false));
    if (gradient && (!same || g->add))
        HWB_TRY(hwb__dnn_reorder_new(ctx, &k->from_own, k->conv, true, g->add));
    k->add_after = g->add && g->op == HWB_OP_CONV_BWD_DATA;
    k->copy_at = hwb__cpu_align(hwb__dnn_conv_scratch(k->conv));
    k->packed_bytes = hwb__cpu_align(hwb__dnn_conv_bytes(k->conv, HWB__CONV_W));
    if (k->to_own && stable) {
        k->kept = hwb_alloc(ctx, (g->w_step ? (size_t)g->loops : 1) * k->packed_bytes);
        if (!k->kept) return HWB_ENOMEM;
    }
    size_t bytes = k->copy_at;
    if ((k->to_own && !k->kept) || k->from_own) bytes += k->packed_bytes;
    k->sum_at = bytes;
    if (k->add_after) bytes += hwb__cpu_align(hwb__dnn_conv_bytes(k->conv, HWB__CONV_X));
    k->turned_at = bytes;
    if (k->turned) bytes += hwb__cpu_align((size_t)hwb__conv_w_size(g) * sizeof(float));
    return hwb__cpu_reserve(ctx, k->base.state, bytes);
}

/* A backward-data convolution of stride 1 is a forward one of y with the weights
 * turned round, which can add to its result at no cost; oneDNN's backward-data
 * cannot. */
static bool turn_round(hwb__conv_geom *g) {
    hwb__conv_geom t = *g;
    bool fits = g->op == HWB_OP_CONV_BWD_DATA && g->add && g->groups == 1;
    for (int i = 0; i < 2; i++) {
        int64_t reach = (g->kernel[i] - 1) * g->dilation[i];
        fits = fits && g->stride[i] == 1 && g->pad_lo[i] <= reach && g->pad_hi[i] <= reach;
        t.pad_lo[i] = reach - g->pad_lo[i];
        t.pad_hi[i] = reach - g->pad_hi[i];
    }
    if (!fits) return false;
    t.op = HWB_OP_CONV;
    t.c = g->o, t.h = g->oh, t.w = g->ow, t.x_step = g->y_step;
    t.o = g->c, t.oh = g->h, t.ow = g->w, t.y_step = g->x_step;
    *g = t;
    return true;
}

static hwb_status conv_new(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                           const hwb__conv_geom *given, bool stable) {
    hwb__cpu_kernel *base;
    HWB_TRY(hwb__cpu_kernel_new(ctx, state, &base, sizeof(conv_kernel), "onednn"));
    conv_kernel *k = (conv_kernel *)base;
    const hwb__conv_geom *g = &k->geom;
    base->free = conv_free;
    base->run = conv_run;
    k->geom = *given;
    k->turned = turn_round(&k->geom);
    k->chunk = choose_chunk(g);
    bool sum = g->op == HWB_OP_CONV && g->add;
    hwb_status status = hwb__dnn_conv_new(ctx, state->dnn, &k->conv, g, k->chunk, sum);
    if (status == HWB_OK) status = make_buffers(ctx, k, stable);
    if (status == HWB_OK) {
        snprintf(base->name, sizeof base->name, "onednn:%s", hwb__dnn_conv_name(k->conv));
        *out = base;
    } else {
        conv_free(base);
    }
    return status;
}

hwb_status hwb__cpu_conv_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                 const hwb_kdesc *desc) {
    hwb__conv_geom g = hwb__conv_geom_of(desc);
    if (!desc->exact && hwb__cpu_wino_takes(state, &g))
        return hwb__cpu_wino_prepare(ctx, state, out, &g);
    if (hwb__cpu_direct_takes(state, &g)) return hwb__cpu_direct_prepare(ctx, state, out, &g);
    if (g.pair) return hwb__cpu_conv_pair_prepare(ctx, state, out, desc);
    hwb_status status = HWB_EUNSUPPORTED;
    if (g.dtype == HWB_F32) status = conv_new(ctx, state, out, &g, (desc->stable & 2u) != 0);
    /* What oneDNN refuses goes through matrix products. */
    if (status == HWB_EUNSUPPORTED) status = hwb__cpu_conv_gemm_prepare(ctx, state, out, desc);
    return status;
}
