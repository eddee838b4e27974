/*
 * cuda_conv_choose.c: which of cuDNN's algorithms does a convolution.
 *
 * An algorithm may be used when it computes in what was asked for, is deterministic if
 * that is asked for, and its workspace is within the limit.  Of those:
 *
 *   deterministic (the default)   the first that cuDNN's heuristics name.  They depend on
 *                                 the problem, the device and the library alone, so that
 *                                 two runs of one program give the same bits
 *   else                          the fastest of those that cudnnFind* times, with
 *                                 operands of no meaning: another run may choose another
 *
 * A choice is kept for the context: programs of the same layers do not choose again.
 */
#include "cuda_conv_i.h"

#include <stdlib.h>
#include <string.h>

enum { LIMIT = 512 << 20, MAX_ALGOS = 8 };

/* ---- descriptors ---------------------------------------------------------------- */

hwb_status hwb__cuda_dnn_describe(hwb_ctx *ctx, hwb__cuda_dnn_conv *q, const hwb__cuda_trio *c) {
    const cudnnTensorFormat_t f = c->last ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW;
    const cudnnDataType_t type = q->math == HWB_MATH_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    const hwb__cuda_window *w = &c->window;
    HWB_CUDNN_TRY(ctx, cudnnCreateTensorDescriptor(&q->x));
    HWB_CUDNN_TRY(ctx, cudnnCreateTensorDescriptor(&q->y));
    HWB_CUDNN_TRY(ctx, cudnnCreateFilterDescriptor(&q->w));
    HWB_CUDNN_TRY(ctx, cudnnCreateConvolutionDescriptor(&q->conv));
    HWB_CUDNN_TRY(ctx, cudnnSetTensor4dDescriptor(q->x, f, type, (int)c->x.n, (int)c->x.c,
                                                  (int)c->x.h, (int)c->x.w));
    HWB_CUDNN_TRY(ctx, cudnnSetTensor4dDescriptor(q->y, f, type, (int)c->y.n, (int)c->y.c,
                                                  (int)c->y.h, (int)c->y.w));
    HWB_CUDNN_TRY(ctx, cudnnSetFilter4dDescriptor(q->w, type, f, (int)c->w.n, (int)c->w.c,
                                                  (int)c->w.h, (int)c->w.w));
    HWB_CUDNN_TRY(ctx, cudnnSetConvolution2dDescriptor(q->conv, (int)w->pad[0], (int)w->pad[1],
                                                       (int)w->stride[0], (int)w->stride[1],
                                                       (int)w->dilation[0], (int)w->dilation[1],
                                                       CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
    HWB_CUDNN_TRY(ctx, cudnnSetConvolutionGroupCount(q->conv, (int)c->groups));
    HWB_CUDNN_TRY(ctx, cudnnSetConvolutionMathType(q->conv, q->math == HWB_MATH_EXACT
                                                                ? CUDNN_FMA_MATH
                                                                : CUDNN_DEFAULT_MATH));
    return HWB_OK;
}

void hwb__cuda_dnn_drop(hwb__cuda_dnn_conv *q) {
    if (q->x) cudnnDestroyTensorDescriptor(q->x);
    if (q->y) cudnnDestroyTensorDescriptor(q->y);
    if (q->w) cudnnDestroyFilterDescriptor(q->w);
    if (q->conv) cudnnDestroyConvolutionDescriptor(q->conv);
}

/* ---- candidates --------------------------------------------------------------------- */

typedef struct candidate {
    int algo;
    cudnnStatus_t status;
    cudnnDeterminism_t determinism;
    cudnnMathType_t math;
} candidate;

/* Memory to time with; all NULL: heuristics are asked. */
typedef struct trial {
    void *x, *w, *y, *space;
    size_t bytes; /* of space */
} trial;

#define COPY(n, perf, list)                                                                        \
    for (int i = 0; i < (n); i++) list[i] = (candidate) {                                          \
            (int)(perf)[i].algo, (perf)[i].status, (perf)[i].determinism, (perf)[i].mathType       \
        }

static int rank_forward(const hwb__cuda *s, const hwb__cuda_dnn_conv *q, const trial *t,
                        candidate *list) {
    cudnnConvolutionFwdAlgoPerf_t perf[MAX_ALGOS];
    int n = 0;
    cudnnStatus_t e =
        t->x ? cudnnFindConvolutionForwardAlgorithmEx(s->dnn, q->x, t->x, q->w, t->w, q->conv, q->y,
                                                      t->y, MAX_ALGOS, &n, perf, t->space, t->bytes)
             : cudnnGetConvolutionForwardAlgorithm_v7(s->dnn, q->x, q->w, q->conv, q->y, MAX_ALGOS,
                                                      &n, perf);
    if (e != CUDNN_STATUS_SUCCESS) return 0;
    COPY(n, perf, list);
    return n;
}

static int rank_data(const hwb__cuda *s, const hwb__cuda_dnn_conv *q, const trial *t,
                     candidate *list) {
    cudnnConvolutionBwdDataAlgoPerf_t perf[MAX_ALGOS];
    int n = 0;
    cudnnStatus_t e =
        t->x ? cudnnFindConvolutionBackwardDataAlgorithmEx(s->dnn, q->w, t->w, q->y, t->y, q->conv,
                                                           q->x, t->x, MAX_ALGOS, &n, perf,
                                                           t->space, t->bytes)
             : cudnnGetConvolutionBackwardDataAlgorithm_v7(s->dnn, q->w, q->y, q->conv, q->x,
                                                           MAX_ALGOS, &n, perf);
    if (e != CUDNN_STATUS_SUCCESS) return 0;
    COPY(n, perf, list);
    return n;
}

static int rank_weights(const hwb__cuda *s, const hwb__cuda_dnn_conv *q, const trial *t,
                        candidate *list) {
    cudnnConvolutionBwdFilterAlgoPerf_t perf[MAX_ALGOS];
    int n = 0;
    cudnnStatus_t e =
        t->x ? cudnnFindConvolutionBackwardFilterAlgorithmEx(s->dnn, q->x, t->x, q->y, t->y,
                                                             q->conv, q->w, t->w, MAX_ALGOS, &n,
                                                             perf, t->space, t->bytes)
             : cudnnGetConvolutionBackwardFilterAlgorithm_v7(s->dnn, q->x, q->y, q->conv, q->w,
                                                             MAX_ALGOS, &n, perf);
    if (e != CUDNN_STATUS_SUCCESS) return 0;
    COPY(n, perf, list);
    return n;
}
#undef COPY

/* The best first. */
static int rank(const hwb__cuda *s, const hwb__cuda_dnn_conv *q, hwb_op op, const trial *t,
                candidate *list) {
    if (op == HWB_OP_CONV) return rank_forward(s, q, t, list);
    return op == HWB_OP_CONV_BWD_DATA ? rank_data(s, q, t, list) : rank_weights(s, q, t, list);
}

static bool workspace_of(const hwb__cuda *s, const hwb__cuda_dnn_conv *q, hwb_op op, int algo,
                         size_t *bytes) {
    cudnnStatus_t e;
    if (op == HWB_OP_CONV)
        e = cudnnGetConvolutionForwardWorkspaceSize(s->dnn, q->x, q->w, q->conv, q->y,
                                                    (cudnnConvolutionFwdAlgo_t)algo, bytes);
    else if (op == HWB_OP_CONV_BWD_DATA)
        e = cudnnGetConvolutionBackwardDataWorkspaceSize(
            s->dnn, q->w, q->y, q->conv, q->x, (cudnnConvolutionBwdDataAlgo_t)algo, bytes);
    else
        e = cudnnGetConvolutionBackwardFilterWorkspaceSize(
            s->dnn, q->x, q->y, q->conv, q->w, (cudnnConvolutionBwdFilterAlgo_t)algo, bytes);
    return e == CUDNN_STATUS_SUCCESS && *bytes <= LIMIT;
}

/* Winograd's and Fourier's transforms round beside the sums of products. */
static bool transforms(hwb_op op, int algo) {
    if (op == HWB_OP_CONV)
        return algo == CUDNN_CONVOLUTION_FWD_ALGO_FFT ||
               algo == CUDNN_CONVOLUTION_FWD_ALGO_FFT_TILING ||
               algo == CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD ||
               algo == CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED;
    if (op == HWB_OP_CONV_BWD_DATA)
        return algo == CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT ||
               algo == CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT_TILING ||
               algo == CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD ||
               algo == CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED;
    return algo == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT ||
           algo == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT_TILING ||
           algo == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD ||
           algo == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED;
}

static bool usable(const hwb__cuda *s, const hwb__cuda_dnn_conv *q, hwb_op op, bool exact,
                   const candidate *a, size_t *workspace) {
    const bool full = a->math == CUDNN_FMA_MATH || a->math == CUDNN_DEFAULT_MATH;
    if (a->status != CUDNN_STATUS_SUCCESS || (q->math == HWB_MATH_EXACT && !full)) return false;
    if (s->deterministic && a->determinism != CUDNN_DETERMINISTIC) return false;
    return !(exact && transforms(op, a->algo)) && workspace_of(s, q, op, a->algo, workspace);
}

/* ---- timing ----------------------------------------------------------------------------- */

static size_t bytes_of(const hwb__cuda_image *m, const hwb__cuda_dnn_conv *q) {
    return (size_t)(m->n * m->c * m->h * m->w) * (q->math == HWB_MATH_BF16 ? 2 : 4);
}

/* The list again, in the order of measured times; as it was where memory is short. */
static int time_them(hwb_ctx *ctx, hwb__cuda *s, const hwb__cuda_dnn_conv *q,
                     const hwb__cuda_trio *c, int n, candidate *list) {
    trial t = {0};
    for (int i = 0; i < n; i++) {
        size_t bytes = 0;
        if (list[i].status == CUDNN_STATUS_SUCCESS &&
            workspace_of(s, q, c->op, list[i].algo, &bytes) && bytes > t.bytes)
            t.bytes = bytes;
    }
    t.x = hwb__cuda_mem_alloc(ctx, s, bytes_of(&c->x, q));
    t.w = hwb__cuda_mem_alloc(ctx, s, bytes_of(&c->w, q));
    t.y = hwb__cuda_mem_alloc(ctx, s, bytes_of(&c->y, q));
    t.space = hwb__cuda_mem_alloc(ctx, s, t.bytes);
    if (t.x && t.w && t.y && t.space) {
        candidate timed[MAX_ALGOS];
        int m = rank(s, q, c->op, &t, timed);
        if (m > 0) memcpy(list, timed, (size_t)m * sizeof(*list));
        if (m > 0) n = m;
    }
    void *all[] = {t.x, t.w, t.y, t.space};
    for (int i = 0; i < 4; i++) hwb__cuda_mem_free(s, all[i]);
    return n;
}

/* ---- choices that were made ----------------------------------------------------------------- */

struct hwb__cuda_choice {
    struct {
        int64_t op, x[4], w[4], y[2], last, groups, math, deterministic, exact;
        hwb__cuda_window window;
    } key;
    int algo;
    size_t workspace;
};

static hwb__cuda_choice key_of(const hwb__cuda *s, const hwb__cuda_dnn_conv *q,
                               const hwb__cuda_trio *c, bool exact) {
    hwb__cuda_choice k;
    memset(&k, 0, sizeof(k));
    k.key.op = c->op;
    k.key.x[0] = c->x.n, k.key.x[1] = c->x.c, k.key.x[2] = c->x.h, k.key.x[3] = c->x.w;
    k.key.w[0] = c->w.n, k.key.w[1] = c->w.c, k.key.w[2] = c->w.h, k.key.w[3] = c->w.w;
    k.key.y[0] = c->y.h, k.key.y[1] = c->y.w;
    k.key.last = c->last;
    k.key.groups = c->groups;
    k.key.math = q->math;
    k.key.deterministic = s->deterministic;
    k.key.exact = exact;
    k.key.window = c->window;
    return k;
}

static hwb_status keep(hwb_ctx *ctx, hwb__cuda *s, hwb__cuda_choice k,
                       const hwb__cuda_dnn_conv *q) {
    hwb__cuda_choice *all = realloc(s->choices, ((size_t)s->n_choices + 1) * sizeof(*all));
    if (!all) return hwb__cuda_oom(ctx);
    s->choices = all;
    k.algo = q->algo;
    k.workspace = q->workspace;
    all[s->n_choices++] = k;
    return HWB_OK;
}

hwb_status hwb__cuda_dnn_choose(hwb_ctx *ctx, hwb__cuda *s, hwb__cuda_dnn_conv *q,
                                const hwb__cuda_trio *c, bool exact) {
    const trial none = {0};
    const hwb__cuda_choice k = key_of(s, q, c, exact);
    candidate list[MAX_ALGOS];
    for (int i = 0; i < s->n_choices; i++)
        if (memcmp(&s->choices[i].key, &k.key, sizeof(k.key)) == 0) {
            q->algo = s->choices[i].algo;
            q->workspace = s->choices[i].workspace;
            return HWB_OK;
        }
    int n = rank(s, q, c->op, &none, list);
    if (!s->deterministic && n > 1) n = time_them(ctx, s, q, c, n, list);
    for (int i = 0; i < n; i++) {
        if (!usable(s, q, c->op, exact, &list[i], &q->workspace)) continue;
        q->algo = list[i].algo;
        return keep(ctx, s, k, q);
    }
    return hwb__cuda_fail(ctx, HWB_EUNSUPPORTED, "cuda: cuDNN has no algorithm for a convolution");
}
