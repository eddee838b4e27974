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
 * A choice is kept for the context: programs of the same layers do not choose again.  The
 * lists are advice: what they leave out is asked for at their end, and an algorithm that
 * then does not run is passed over from there on.
 */
#include "cuda_conv_i.h"

#include <stdlib.h>
#include <string.h>

enum { LIMIT = 512 << 20, MAX_ALGOS = 24, PLAIN = 2 };

/* ---- descriptors ---------------------------------------------------------------- */

hwb_status hwb__cuda_dnn_describe(hwb_ctx *ctx, hwb__cuda_dnn_conv *q, const hwb__cuda_trio *c) {
    const cudnnTensorFormat_t f = c->last ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW;
    const cudnnDataType_t type = q->math == HWB_MATH_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    const hwb__cuda_window *w = &c->window;
    HWB_CUDNN_TRY(ctx, hwb__dnn.cudnnCreateTensorDescriptor(&q->x));
    HWB_CUDNN_TRY(ctx, hwb__dnn.cudnnCreateTensorDescriptor(&q->y));
    HWB_CUDNN_TRY(ctx, hwb__dnn.cudnnCreateFilterDescriptor(&q->w));
    HWB_CUDNN_TRY(ctx, hwb__dnn.cudnnCreateConvolutionDescriptor(&q->conv));
    HWB_CUDNN_TRY(ctx, hwb__dnn.cudnnSetTensor4dDescriptor(q->x, f, type, (int)c->x.n, (int)c->x.c,
                                                           (int)c->x.h, (int)c->x.w));
    HWB_CUDNN_TRY(ctx, hwb__dnn.cudnnSetTensor4dDescriptor(q->y, f, type, (int)c->y.n, (int)c->y.c,
                                                           (int)c->y.h, (int)c->y.w));
    HWB_CUDNN_TRY(ctx, hwb__dnn.cudnnSetFilter4dDescriptor(q->w, type, f, (int)c->w.n, (int)c->w.c,
                                                           (int)c->w.h, (int)c->w.w));
    HWB_CUDNN_TRY(ctx, hwb__dnn.cudnnSetConvolution2dDescriptor(
                           q->conv, (int)w->pad[0], (int)w->pad[1], (int)w->stride[0],
                           (int)w->stride[1], (int)w->dilation[0], (int)w->dilation[1],
                           CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
    HWB_CUDNN_TRY(ctx, hwb__dnn.cudnnSetConvolutionGroupCount(q->conv, (int)c->groups));
    HWB_CUDNN_TRY(ctx, hwb__dnn.cudnnSetConvolutionMathType(q->conv, q->math == HWB_MATH_EXACT
                                                                         ? CUDNN_FMA_MATH
                                                                         : CUDNN_DEFAULT_MATH));
    return HWB_OK;
}

void hwb__cuda_dnn_drop(hwb__cuda_dnn_conv *q) {
    if (q->x) hwb__dnn.cudnnDestroyTensorDescriptor(q->x);
    if (q->y) hwb__dnn.cudnnDestroyTensorDescriptor(q->y);
    if (q->w) hwb__dnn.cudnnDestroyFilterDescriptor(q->w);
    if (q->conv) hwb__dnn.cudnnDestroyConvolutionDescriptor(q->conv);
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
        t->x ? hwb__dnn.cudnnFindConvolutionForwardAlgorithmEx(s->dnn, q->x, t->x, q->w, t->w,
                                                               q->conv, q->y, t->y, MAX_ALGOS, &n,
                                                               perf, t->space, t->bytes)
             : hwb__dnn.cudnnGetConvolutionForwardAlgorithm_v7(s->dnn, q->x, q->w, q->conv, q->y,
                                                               MAX_ALGOS, &n, perf);
    if (e != CUDNN_STATUS_SUCCESS) return 0;
    COPY(n, perf, list);
    return n;
}

static int rank_data(const hwb__cuda *s, const hwb__cuda_dnn_conv *q, const trial *t,
                     candidate *list) {
    cudnnConvolutionBwdDataAlgoPerf_t perf[MAX_ALGOS];
    int n = 0;
    cudnnStatus_t e =
        t->x ? hwb__dnn.cudnnFindConvolutionBackwardDataAlgorithmEx(s->dnn, q->w, t->w, q->y, t->y,
                                                                    q->conv, q->x, t->x, MAX_ALGOS,
                                                                    &n, perf, t->space, t->bytes)
             : hwb__dnn.cudnnGetConvolutionBackwardDataAlgorithm_v7(s->dnn, q->w, q->y, q->conv,
                                                                    q->x, MAX_ALGOS, &n, perf);
    if (e != CUDNN_STATUS_SUCCESS) return 0;
    COPY(n, perf, list);
    return n;
}

static int rank_weights(const hwb__cuda *s, const hwb__cuda_dnn_conv *q, const trial *t,
                        candidate *list) {
    cudnnConvolutionBwdFilterAlgoPerf_t perf[MAX_ALGOS];
    int n = 0;
    cudnnStatus_t e = t->x ? hwb__dnn.cudnnFindConvolutionBackwardFilterAlgorithmEx(
                                 s->dnn, q->x, t->x, q->y, t->y, q->conv, q->w, t->w, MAX_ALGOS, &n,
                                 perf, t->space, t->bytes)
                           : hwb__dnn.cudnnGetConvolutionBackwardFilterAlgorithm_v7(
                                 s->dnn, q->x, q->y, q->conv, q->w, MAX_ALGOS, &n, perf);
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
        e = hwb__dnn.cudnnGetConvolutionForwardWorkspaceSize(
            s->dnn, q->x, q->w, q->conv, q->y, (cudnnConvolutionFwdAlgo_t)algo, bytes);
    else if (op == HWB_OP_CONV_BWD_DATA)
        e = hwb__dnn.cudnnGetConvolutionBackwardDataWorkspaceSize(
            s->dnn, q->w, q->y, q->conv, q->x, (cudnnConvolutionBwdDataAlgo_t)algo, bytes);
    else
        e = hwb__dnn.cudnnGetConvolutionBackwardFilterWorkspaceSize(
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

/* The descriptor then asks for the candidate's arithmetic; float32 stays what it was made
 * with, CUDNN_FMA_MATH, and nothing is rounded to halves by the way. */
static bool usable(const hwb__cuda *s, const hwb__cuda_dnn_conv *q, hwb_op op, bool exact,
                   const candidate *a, size_t *workspace) {
    const bool full = a->math == CUDNN_FMA_MATH || a->math == CUDNN_DEFAULT_MATH;
    if (a->status != CUDNN_STATUS_SUCCESS || a->math == CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION)
        return false;
    if (s->deterministic && a->determinism != CUDNN_DETERMINISTIC) return false;
    if ((q->math == HWB_MATH_EXACT && !full) || (exact && transforms(op, a->algo))) return false;
    if (q->math != HWB_MATH_EXACT &&
        hwb__dnn.cudnnSetConvolutionMathType(q->conv, a->math) != CUDNN_STATUS_SUCCESS)
        return false;
    return workspace_of(s, q, op, a->algo, workspace);
}

/* Appends the algorithms that are no more than sums of products, in a fixed order. */
static int add_plain(hwb_op op, int n, candidate *list) {
    static const int forward[PLAIN] = {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM,
                                       CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM};
    const candidate plain = {.status = CUDNN_STATUS_SUCCESS,
                             .determinism = CUDNN_DETERMINISTIC,
                             .math = CUDNN_DEFAULT_MATH};
    for (int i = 0; i < (op == HWB_OP_CONV ? PLAIN : 1); i++) {
        list[n] = plain;
        list[n++].algo = op == HWB_OP_CONV            ? forward[i]
                         : op == HWB_OP_CONV_BWD_DATA ? (int)CUDNN_CONVOLUTION_BWD_DATA_ALGO_1
                                                      : (int)CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;
    }
    return n;
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
    int algo; /* -1: none */
    cudnnMathType_t conv_math;
    size_t workspace;
    uint32_t refused; /* bit a: algorithm a did not run */
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

/* The entry of this convolution, made when it is new; NULL without memory. */
static hwb__cuda_choice *entry_of(hwb__cuda *s, const hwb__cuda_choice *k) {
    for (int i = 0; i < s->n_choices; i++)
        if (memcmp(&s->choices[i].key, &k->key, sizeof(k->key)) == 0) return &s->choices[i];
    hwb__cuda_choice *all = realloc(s->choices, ((size_t)s->n_choices + 1) * sizeof(*all));
    if (!all) return NULL;
    s->choices = all;
    all[s->n_choices] = *k;
    all[s->n_choices].algo = -1;
    return &all[s->n_choices++];
}

static bool take(hwb__cuda_dnn_conv *q, const hwb__cuda_choice *k) {
    if (k->algo < 0) return false;
    q->algo = k->algo;
    q->workspace = k->workspace;
    return q->math == HWB_MATH_EXACT ||
           hwb__dnn.cudnnSetConvolutionMathType(q->conv, k->conv_math) == CUDNN_STATUS_SUCCESS;
}

hwb_status hwb__cuda_dnn_choose(hwb_ctx *ctx, hwb__cuda *s, hwb__cuda_dnn_conv *q,
                                const hwb__cuda_trio *c, bool exact) {
    const trial none = {0};
    const hwb__cuda_choice key = key_of(s, q, c, exact);
    candidate list[MAX_ALGOS + PLAIN];
    hwb__cuda_choice *k = entry_of(s, &key);
    if (!k) return hwb__cuda_oom(ctx);
    if (take(q, k)) return HWB_OK;
    int n = rank(s, q, c->op, &none, list);
    if (!s->deterministic && n > 1) n = time_them(ctx, s, q, c, n, list);
    n = add_plain(c->op, n, list);
    for (int i = 0; i < n && k->algo < 0; i++) {
        if (k->refused >> list[i].algo & 1 || !usable(s, q, c->op, exact, &list[i], &k->workspace))
            continue;
        k->algo = list[i].algo;
        k->conv_math = list[i].math;
    }
    if (take(q, k)) return HWB_OK;
    return hwb__cuda_fail(ctx, HWB_EUNSUPPORTED, "cuda: cuDNN has no algorithm for a convolution");
}

void hwb__cuda_dnn_refuse(hwb__cuda *s, const hwb__cuda_dnn_conv *q, const hwb__cuda_trio *c,
                          bool exact) {
    const hwb__cuda_choice key = key_of(s, q, c, exact);
    hwb__cuda_choice *k = entry_of(s, &key);
    if (!k) return;
    k->refused |= 1u << q->algo;
    if (k->algo == q->algo) k->algo = -1;
}
