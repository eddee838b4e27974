/*
 * cuda_conv.c: the convolution trio in float32 by cuDNN.
 *
 *     y = conv(x, w)    x = conv_bwd_data(y, w)    w = conv_bwd_weights(x, y)
 *
 * Images are channels-last, so cuDNN wants weights as [O,h,w,C]; ours lie as
 * [O,C,h,w].  Weights that stay the same over many runs are packed once and again
 * when their version changes; others go through scratch in every run, and a weight
 * gradient comes back the same way.  1x1 weights are the same in both orders.
 *
 * cuDNN's heuristics rank the algorithms; the first is taken that is exact float32
 * (unless TF32 is allowed), fits the workspace limit, and is deterministic when
 * that is asked for.  Where cuDNN has none, or the padding is lopsided, the answer
 * is HWB_EUNSUPPORTED and cuda_conv_gemm.c takes the convolution.
 *
 * bf16 is not offered by this interface for float32 operands: with that option
 * convolutions run in TF32.
 */
#include "cuda_conv_i.h"

#include <stdlib.h>

enum { LIMIT = 512 << 20, ALIGN = 256, MAX_ALGOS = 8 };

typedef struct dnn_kernel {
    hwb_kernel base;
    hwb__cuda_trio c;
    cudnnTensorDescriptor_t x, y;
    cudnnFilterDescriptor_t w;
    cudnnConvolutionDescriptor_t conv;
    int algo;
    size_t workspace, offset; /* the workspace lies behind `offset` bytes of scratch */
    cudaKernel_t pack;        /* NULL: weights lie right */
    void *packed;             /* of stable weights */
    uint64_t version;
    bool fresh; /* packed holds `version` */
} dnn_kernel;

/* ---- the trio (also cuda_conv_gemm.c) ----------------------------------------------- */

hwb__cuda_trio hwb__cuda_trio_of(const hwb_kdesc *d) {
    hwb__cuda_trio c = {.op = d->op, .last = d->attrs.channels_last != 0, .add = d->n_in > 2};
    const hwb_shape *s[3] = {&d->in[0].shape, &d->in[1].shape, &d->out[0].shape};
    static const int places[3][3] = {{0, 1, 2}, {2, 1, 0}, {0, 2, 1}}; /* x, w, y */
    for (int i = 0; i < 3; i++) c.at[i] = places[d->op - HWB_OP_CONV][i];
    c.x = hwb__cuda_image_of(s[c.at[0]], c.last);
    c.w = hwb__cuda_image_of(s[c.at[1]], false);
    c.y = hwb__cuda_image_of(s[c.at[2]], c.last);
    c.window = hwb__cuda_window_of(&d->attrs);
    c.window.kernel[0] = c.w.h;
    c.window.kernel[1] = c.w.w;
    c.groups = d->attrs.groups;
    c.f64 = d->out[0].dtype == HWB_F64;
    c.bytes = hwb__cuda_bytes(&d->out[0]);
    c.turns = s[2]->ndim == 5 ? s[2]->dim[0] : 1;
    if (c.op != HWB_OP_CONV_BWD_WEIGHTS && !c.w.sk) { /* K images at once */
        c.x.n *= c.x.k;
        c.y.n *= c.y.k;
        c.turns = 1;
    }
    return c;
}

void *hwb__cuda_trio_operand(const hwb__cuda_trio *c, int operand, int64_t t, const void *const *in,
                             void *const *out) {
    const hwb__cuda_image *m = operand == 0 ? &c->x : operand == 1 ? &c->w : &c->y;
    const void *p = c->at[operand] == 2 ? out[0] : in[c->at[operand]];
    return (char *)(uintptr_t)p + t * m->sk * (c->f64 ? 8 : 4);
}

hwb_status hwb__cuda_trio_add(hwb_ctx *ctx, hwb__cuda *s, const hwb__cuda_trio *c,
                              const void *const *in, void *const *out) {
    if (!c->add || in[2] == out[0]) return HWB_OK;
    return hwb__cuda_mem_copy(ctx, s, out[0], in[2], c->bytes);
}

/* ---- weights ---------------------------------------------------------------------------- */

#define PACK_PARAMS                                                                                \
    {                                                                                              \
        void *from;                                                                                \
        void *to;                                                                                  \
        void *add;                                                                                 \
        i64 n;                                                                                     \
        i64 c;                                                                                     \
        i64 taps;                                                                                  \
    }

/* rows of [c,taps] to rows of [taps,c] */
static const char PACK[] =
    "extern \"C\" __global__ void __launch_bounds__(256) hwb_kernel(const params p) {\n"
    "for (i64 i = (i64)blockIdx.x * 256 + threadIdx.x; i < p.n; i += (i64)gridDim.x * 256) {\n"
    "    const i64 c = i % p.c, t = i / p.c % p.taps, row = i / p.c / p.taps;\n"
    "    ((float *)p.to)[i] = ((const float *)p.from)[(row * p.c + c) * p.taps + t];\n"
    "}\n}\n";

/* and back, with `add` where there is one */
static const char UNPACK[] =
    "extern \"C\" __global__ void __launch_bounds__(256) hwb_kernel(const params p) {\n"
    "for (i64 i = (i64)blockIdx.x * 256 + threadIdx.x; i < p.n; i += (i64)gridDim.x * 256) {\n"
    "    const i64 t = i % p.taps, c = i / p.taps % p.c, row = i / p.taps / p.c;\n"
    "    float x = ((const float *)p.from)[(row * p.taps + t) * p.c + c];\n"
    "    if (p.add) x += ((const float *)p.add)[i];\n"
    "    ((float *)p.to)[i] = x;\n"
    "}\n}\n";

static int64_t weights(const hwb__cuda_trio *c) {
    return c->w.k * c->w.n * c->w.c * c->w.h * c->w.w;
}

static hwb_status move_weights(hwb_ctx *ctx, hwb__cuda *s, const dnn_kernel *k, const void *from,
                               void *to, const void *add) {
    struct PACK_PARAMS p = {(void *)(uintptr_t)from, to,       (void *)(uintptr_t)add,
                            weights(&k->c),          k->c.w.c, k->c.w.h * k->c.w.w};
    return hwb__cuda_launch(ctx, s, k->pack, hwb__cuda_grid_for(p.n, s->sms), &p);
}

static hwb_status refresh(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel *base, const void *const *in,
                          const uint64_t *versions) {
    dnn_kernel *k = (dnn_kernel *)base;
    if (!k->packed || (k->fresh && k->version == versions[1])) return HWB_OK;
    HWB_TRY(move_weights(ctx, s, k, in[1], k->packed, NULL));
    k->version = versions[1];
    k->fresh = true;
    return HWB_OK;
}

/* ---- running ------------------------------------------------------------------------------- */

static hwb_status call(hwb_ctx *ctx, hwb__cuda *s, const dnn_kernel *k, const void *x,
                       const void *w, const void *y, bool add) {
    static const float one = 1, zero = 0;
    const float *beta = add ? &one : &zero;
    void *space = (char *)s->scratch + k->offset;
    cudnnStatus_t e;
    if (k->c.op == HWB_OP_CONV)
        e = cudnnConvolutionForward(s->dnn, &one, k->x, x, k->w, w, k->conv,
                                    (cudnnConvolutionFwdAlgo_t)k->algo, space, k->workspace, beta,
                                    k->y, (void *)(uintptr_t)y);
    else if (k->c.op == HWB_OP_CONV_BWD_DATA)
        e = cudnnConvolutionBackwardData(s->dnn, &one, k->w, w, k->y, y, k->conv,
                                         (cudnnConvolutionBwdDataAlgo_t)k->algo, space,
                                         k->workspace, beta, k->x, (void *)(uintptr_t)x);
    else
        e = cudnnConvolutionBackwardFilter(s->dnn, &one, k->x, x, k->y, y, k->conv,
                                           (cudnnConvolutionBwdFilterAlgo_t)k->algo, space,
                                           k->workspace, beta, k->w, (void *)(uintptr_t)w);
    return hwb__cuda_check_dnn(ctx, e, "a convolution");
}

static hwb_status run(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel *base, const void *const *in,
                      void *const *out) {
    dnn_kernel *k = (dnn_kernel *)base;
    const hwb__cuda_trio *c = &k->c;
    const bool back = c->op == HWB_OP_CONV_BWD_WEIGHTS, unpack = back && k->pack;
    char *moved = k->packed ? k->packed : s->scratch;
    if (!unpack) HWB_TRY(hwb__cuda_trio_add(ctx, s, c, in, out));
    if (!back && k->pack && !k->packed) HWB_TRY(move_weights(ctx, s, k, in[1], moved, NULL));
    for (int64_t t = 0; t < c->turns; t++) {
        const void *x = hwb__cuda_trio_operand(c, 0, t, in, out);
        const void *y = hwb__cuda_trio_operand(c, 2, t, in, out);
        const void *w =
            k->pack ? moved + t * c->w.sk * 4 : hwb__cuda_trio_operand(c, 1, t, in, out);
        HWB_TRY(call(ctx, s, k, x, w, y, c->add && !unpack));
    }
    return unpack ? move_weights(ctx, s, k, moved, out[0], c->add ? in[2] : NULL) : HWB_OK;
}

static void destroy(hwb__cuda *s, hwb_kernel *base) {
    dnn_kernel *k = (dnn_kernel *)base;
    if (k->x) cudnnDestroyTensorDescriptor(k->x);
    if (k->y) cudnnDestroyTensorDescriptor(k->y);
    if (k->w) cudnnDestroyFilterDescriptor(k->w);
    if (k->conv) cudnnDestroyConvolutionDescriptor(k->conv);
    hwb__cuda_mem_free(s, k->packed);
}

/* ---- preparing -------------------------------------------------------------------------------- */

static hwb_status describe(hwb_ctx *ctx, const hwb__cuda *s, dnn_kernel *k) {
    const hwb__cuda_trio *c = &k->c;
    const cudnnTensorFormat_t f = c->last ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW;
    const hwb__cuda_window *w = &c->window;
    HWB_CUDNN_TRY(ctx, cudnnCreateTensorDescriptor(&k->x));
    HWB_CUDNN_TRY(ctx, cudnnCreateTensorDescriptor(&k->y));
    HWB_CUDNN_TRY(ctx, cudnnCreateFilterDescriptor(&k->w));
    HWB_CUDNN_TRY(ctx, cudnnCreateConvolutionDescriptor(&k->conv));
    HWB_CUDNN_TRY(ctx, cudnnSetTensor4dDescriptor(k->x, f, CUDNN_DATA_FLOAT, (int)c->x.n,
                                                  (int)c->x.c, (int)c->x.h, (int)c->x.w));
    HWB_CUDNN_TRY(ctx, cudnnSetTensor4dDescriptor(k->y, f, CUDNN_DATA_FLOAT, (int)c->y.n,
                                                  (int)c->y.c, (int)c->y.h, (int)c->y.w));
    HWB_CUDNN_TRY(ctx, cudnnSetFilter4dDescriptor(k->w, CUDNN_DATA_FLOAT, f, (int)c->w.n,
                                                  (int)c->w.c, (int)c->w.h, (int)c->w.w));
    HWB_CUDNN_TRY(ctx, cudnnSetConvolution2dDescriptor(k->conv, (int)w->pad[0], (int)w->pad[1],
                                                       (int)w->stride[0], (int)w->stride[1],
                                                       (int)w->dilation[0], (int)w->dilation[1],
                                                       CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
    HWB_CUDNN_TRY(ctx, cudnnSetConvolutionGroupCount(k->conv, (int)c->groups));
    HWB_CUDNN_TRY(ctx, cudnnSetConvolutionMathType(k->conv, s->math == HWB_MATH_EXACT
                                                                ? CUDNN_FMA_MATH
                                                                : CUDNN_DEFAULT_MATH));
    return HWB_OK;
}

typedef struct choice {
    int algo;
    cudnnStatus_t status;
    cudnnDeterminism_t determinism;
    cudnnMathType_t math;
} choice;

/* Heuristics of the three directions as one list; its length. */
static int rank_algorithms(const hwb__cuda *s, const dnn_kernel *k, choice list[MAX_ALGOS]) {
    int n = 0;
#define COPY(perf)                                                                                 \
    for (int i = 0; i < n; i++) list[i] = (choice) {                                               \
            (int)(perf)[i].algo, (perf)[i].status, (perf)[i].determinism, (perf)[i].mathType       \
        }
    if (k->c.op == HWB_OP_CONV) {
        cudnnConvolutionFwdAlgoPerf_t perf[MAX_ALGOS];
        if (cudnnGetConvolutionForwardAlgorithm_v7(s->dnn, k->x, k->w, k->conv, k->y, MAX_ALGOS, &n,
                                                   perf) != CUDNN_STATUS_SUCCESS)
            return 0;
        COPY(perf);
    } else if (k->c.op == HWB_OP_CONV_BWD_DATA) {
        cudnnConvolutionBwdDataAlgoPerf_t perf[MAX_ALGOS];
        if (cudnnGetConvolutionBackwardDataAlgorithm_v7(
                s->dnn, k->w, k->y, k->conv, k->x, MAX_ALGOS, &n, perf) != CUDNN_STATUS_SUCCESS)
            return 0;
        COPY(perf);
    } else {
        cudnnConvolutionBwdFilterAlgoPerf_t perf[MAX_ALGOS];
        if (cudnnGetConvolutionBackwardFilterAlgorithm_v7(
                s->dnn, k->x, k->y, k->conv, k->w, MAX_ALGOS, &n, perf) != CUDNN_STATUS_SUCCESS)
            return 0;
        COPY(perf);
    }
#undef COPY
    return n;
}

static bool workspace_of(const hwb__cuda *s, const dnn_kernel *k, int algo, size_t *bytes) {
    cudnnStatus_t e;
    if (k->c.op == HWB_OP_CONV)
        e = cudnnGetConvolutionForwardWorkspaceSize(s->dnn, k->x, k->w, k->conv, k->y,
                                                    (cudnnConvolutionFwdAlgo_t)algo, bytes);
    else if (k->c.op == HWB_OP_CONV_BWD_DATA)
        e = cudnnGetConvolutionBackwardDataWorkspaceSize(
            s->dnn, k->w, k->y, k->conv, k->x, (cudnnConvolutionBwdDataAlgo_t)algo, bytes);
    else
        e = cudnnGetConvolutionBackwardFilterWorkspaceSize(
            s->dnn, k->x, k->y, k->conv, k->w, (cudnnConvolutionBwdFilterAlgo_t)algo, bytes);
    return e == CUDNN_STATUS_SUCCESS && *bytes <= LIMIT;
}

static hwb_status choose(hwb_ctx *ctx, const hwb__cuda *s, dnn_kernel *k) {
    choice list[MAX_ALGOS];
    int n = rank_algorithms(s, k, list);
    for (int i = 0; i < n; i++) {
        bool exact = list[i].math == CUDNN_FMA_MATH || list[i].math == CUDNN_DEFAULT_MATH;
        if (list[i].status != CUDNN_STATUS_SUCCESS) continue;
        if (s->math == HWB_MATH_EXACT && !exact) continue;
        if (s->deterministic && list[i].determinism != CUDNN_DETERMINISTIC) continue;
        if (!workspace_of(s, k, list[i].algo, &k->workspace)) continue;
        k->algo = list[i].algo;
        return HWB_OK;
    }
    return hwb__cuda_fail(ctx, HWB_EUNSUPPORTED, "cuda: cuDNN has no algorithm for a convolution");
}

static hwb_status prepare_weights(hwb_ctx *ctx, hwb__cuda *s, dnn_kernel *k, bool stable) {
    const bool back = k->c.op == HWB_OP_CONV_BWD_WEIGHTS;
    const size_t bytes = (size_t)weights(&k->c) * sizeof(float);
    if (!k->c.last || k->c.w.h * k->c.w.w == 1 || k->c.w.c == 1) return HWB_OK;
    hwb__cuda_text t = {0};
    hwb__cuda_say(&t, "typedef struct %s params;\n%s", HWB__CUDA_TEXT(PACK_PARAMS),
                  back ? UNPACK : PACK);
    hwb_status st = hwb__cuda_function(ctx, s, &k->pack, "pack", &t);
    free(t.at);
    HWB_TRY(st);
    if (!stable || back) {
        k->offset = (bytes + ALIGN - 1) / ALIGN * ALIGN;
        return HWB_OK;
    }
    k->base.refresh = refresh;
    k->packed = hwb__cuda_mem_alloc(ctx, s, bytes);
    return k->packed ? HWB_OK : HWB_ENOMEM;
}

/* The result has the size that cuDNN computes from pad_lo on both sides. */
static bool even_padding(const hwb_attrs *a, const hwb__cuda_trio *c) {
    const int64_t in[2] = {c->x.h, c->x.w}, out[2] = {c->y.h, c->y.w};
    for (int i = 0; i < 2; i++) {
        int64_t room = in[i] + 2 * (int64_t)a->pad_lo[i] - 1 -
                       (c->window.kernel[i] - 1) * c->window.dilation[i];
        if (room < 0 || room / c->window.stride[i] + 1 != out[i]) return false;
    }
    return true;
}

static bool supports(const hwb_kdesc *d) {
    if (d->op != HWB_OP_CONV && d->op != HWB_OP_CONV_BWD_DATA && d->op != HWB_OP_CONV_BWD_WEIGHTS)
        return false;
    if (d->out[0].dtype != HWB_F32) return false;
    const hwb_vdesc *all[] = {&d->in[0], &d->in[1], &d->out[0]};
    for (int i = 0; i < 3; i++)
        if (hwb__cuda_numel(&all[i]->shape) == 0) return false;
    hwb__cuda_trio c = hwb__cuda_trio_of(d);
    return hwb__cuda_narrow(3, all) && even_padding(&d->attrs, &c);
}

static hwb_status prepare(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel **out, const hwb_kdesc *d) {
    HWB_TRY(hwb__cuda_dnn(ctx, s));
    dnn_kernel *k = hwb__cuda_kernel_new(sizeof(*k), "cudnn");
    if (!k) return hwb__cuda_oom(ctx);
    k->base.run = run;
    k->base.free = destroy;
    k->c = hwb__cuda_trio_of(d);
    hwb_status st = describe(ctx, s, k);
    if (st == HWB_OK) st = prepare_weights(ctx, s, k, d->stable & 2u);
    if (st == HWB_OK) st = choose(ctx, s, k);
    if (st == HWB_OK) st = hwb__cuda_scratch(ctx, s, k->offset + k->workspace);
    if (st == HWB_OK) {
        *out = &k->base;
        return HWB_OK;
    }
    destroy(s, &k->base);
    free(k);
    return st;
}

const hwb__cuda_family hwb__cuda_conv = {supports, prepare};
