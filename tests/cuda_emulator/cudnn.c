/*
 * cudnn.c: the libcudnn stand-in: descriptors, the choice of an algorithm and
 * the checks of the legacy convolution calls.  The arithmetic is cudnn_conv.c.
 *
 * What cuDNN documents as an error is one here: shapes and types that do not
 * fit (BAD_PARAM), a workspace that is too small, combinations no engine takes
 * (NOT_SUPPORTED: double in NHWC, which PyTorch avoids for the same reason).  bf16 has
 * all three operands in bf16 and computes in float (PSEUDO_BFLOAT16_CONFIG).
 * Lists of algorithms begin with one that is not supported, as they may; those
 * that cuDNN calls not deterministic are not.  $HWB_EMU_CUDNN=none: nothing is
 * supported; =absent: a library of cuDNN's own is not there; =late: what was offered is refused when it is to run, all but the last of
 * a list; =never: the last, too.
 */
#include "cudnn_i.h"

#include <stdlib.h>
#include <string.h>

enum { DNN_MAGIC = 0x444e4e00, ALIGNMENT = 16 };

struct cudnnContext {
    unsigned magic;
    cudaStream_t stream;
};
struct cudnnTensorStruct {
    unsigned magic;
    emu_dnn_tensor t;
};
struct cudnnFilterStruct {
    unsigned magic;
    emu_dnn_tensor t;
};
struct cudnnConvolutionStruct {
    unsigned magic;
    emu_dnn_conv v;
};

/* ---- handles and descriptors --------------------------------------------------------- */

static bool good(const void *handle) {
    unsigned magic = 0;
    if (handle) memcpy(&magic, handle, sizeof magic);
    if (magic != DNN_MAGIC) emu_fatal("a cuDNN handle or descriptor that was destroyed");
    return true;
}

static cudnnStatus_t create(void **out, size_t size, const char *kind) {
    *out = emu_fail_now() ? NULL : calloc(1, size);
    if (!*out) return CUDNN_STATUS_ALLOC_FAILED;
    memcpy(*out, &(unsigned){DNN_MAGIC}, sizeof(unsigned));
    emu_handle_count(kind, 1);
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t destroy(void *handle, const char *kind) {
    if (!handle) return CUDNN_STATUS_SUCCESS;
    good(handle);
    memset(handle, 0, sizeof(unsigned));
    emu_keep(handle);
    emu_handle_count(kind, -1);
    return CUDNN_STATUS_SUCCESS;
}

EMU_API cudnnStatus_t cudnnCreate(cudnnHandle_t *out) {
    const char *how = getenv("HWB_EMU_CUDNN");
    if (emu_unsafe_call() != cudaSuccess) return CUDNN_STATUS_NOT_INITIALIZED;
    if (how && strcmp(how, "absent") == 0) return CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED;
    return create((void **)out, sizeof **out, "cudnnHandle");
}

EMU_API cudnnStatus_t cudnnDestroy(cudnnHandle_t h) {
    return destroy(h, "cudnnHandle");
}

EMU_API cudnnStatus_t cudnnSetStream(cudnnHandle_t h, cudaStream_t stream) {
    good(h);
    h->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

EMU_API size_t cudnnGetVersion(void) {
    return CUDNN_VERSION;
}

EMU_API const char *cudnnGetErrorString(cudnnStatus_t e) {
    switch (e) {
    case CUDNN_STATUS_SUCCESS: return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_NOT_INITIALIZED: return "CUDNN_STATUS_NOT_INITIALIZED";
    case CUDNN_STATUS_ALLOC_FAILED: return "CUDNN_STATUS_ALLOC_FAILED";
    case CUDNN_STATUS_BAD_PARAM: return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT:
        return "CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT";
    case CUDNN_STATUS_NOT_SUPPORTED: return "CUDNN_STATUS_NOT_SUPPORTED";
    default: return "CUDNN_STATUS unknown";
    }
}

static cudnnStatus_t set_dims(emu_dnn_tensor *t, cudnnDataType_t type, cudnnTensorFormat_t format,
                              int a, int b, int c, int d) {
    if (a <= 0 || b <= 0 || c <= 0 || d <= 0) return CUDNN_STATUS_BAD_PARAM;
    if (type != CUDNN_DATA_FLOAT && type != CUDNN_DATA_DOUBLE && type != CUDNN_DATA_BFLOAT16)
        return CUDNN_STATUS_NOT_SUPPORTED;
    if (format != CUDNN_TENSOR_NCHW && format != CUDNN_TENSOR_NHWC)
        return CUDNN_STATUS_NOT_SUPPORTED;
    *t = (emu_dnn_tensor){type, format, {a, b, c, d}};
    return emu_dnn_numel(t) <= INT32_MAX ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED;
}

EMU_API cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *out) {
    return create((void **)out, sizeof **out, "cudnnTensorDescriptor");
}

EMU_API cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t d,
                                                 cudnnTensorFormat_t format, cudnnDataType_t type,
                                                 int n, int c, int h, int w) {
    good(d);
    return set_dims(&d->t, type, format, n, c, h, w);
}

EMU_API cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t d) {
    return destroy(d, "cudnnTensorDescriptor");
}

EMU_API cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t *out) {
    return create((void **)out, sizeof **out, "cudnnFilterDescriptor");
}

EMU_API cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t d, cudnnDataType_t type,
                                                 cudnnTensorFormat_t format, int k, int c, int h,
                                                 int w) {
    good(d);
    return set_dims(&d->t, type, format, k, c, h, w);
}

EMU_API cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t d) {
    return destroy(d, "cudnnFilterDescriptor");
}

EMU_API cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t *out) {
    return create((void **)out, sizeof **out, "cudnnConvolutionDescriptor");
}

EMU_API cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t d, int pad_h,
                                                      int pad_w, int u, int v, int dilation_h,
                                                      int dilation_w, cudnnConvolutionMode_t mode,
                                                      cudnnDataType_t compute) {
    good(d);
    if (pad_h < 0 || pad_w < 0 || u <= 0 || v <= 0 || dilation_h <= 0 || dilation_w <= 0)
        return CUDNN_STATUS_BAD_PARAM;
    d->v = (emu_dnn_conv){{pad_h, pad_w}, {u, v},  {dilation_h, dilation_w}, 1,
                          mode,           compute, CUDNN_DEFAULT_MATH};
    return CUDNN_STATUS_SUCCESS;
}

EMU_API cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t d, int groups) {
    good(d);
    if (groups < 1) return CUDNN_STATUS_BAD_PARAM;
    d->v.groups = groups;
    return CUDNN_STATUS_SUCCESS;
}

EMU_API cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t d,
                                                  cudnnMathType_t math) {
    good(d);
    d->v.math = math;
    return CUDNN_STATUS_SUCCESS;
}

EMU_API cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t d) {
    return destroy(d, "cudnnConvolutionDescriptor");
}

/* ---- what is asked ------------------------------------------------------------------------ */

/* The output size of cudnnGetConvolution2dForwardOutputDim. */
static int out_size(const emu_dnn_conv *v, int in, int filter, int i) {
    int reach = (filter - 1) * v->dilation[i] + 1;
    return in + 2 * v->pad[i] < reach ? 0 : 1 + (in + 2 * v->pad[i] - reach) / v->stride[i];
}

static cudnnStatus_t check(const emu_convolution *q) {
    const emu_dnn_tensor *x = &q->x, *w = &q->w, *y = &q->y;
    const emu_dnn_conv *v = &q->conv;
    const char *none = getenv("HWB_EMU_CUDNN");
    const cudnnDataType_t compute = x->type == CUDNN_DATA_BFLOAT16 ? CUDNN_DATA_FLOAT : x->type;
    if (x->type != w->type || x->type != y->type || v->compute != compute)
        return CUDNN_STATUS_BAD_PARAM;
    if (x->dim[1] != w->dim[1] * v->groups || w->dim[0] % v->groups || y->dim[0] != x->dim[0] ||
        y->dim[1] != w->dim[0])
        return CUDNN_STATUS_BAD_PARAM;
    for (int i = 0; i < 2; i++)
        if (y->dim[2 + i] != out_size(v, x->dim[2 + i], w->dim[2 + i], i))
            return CUDNN_STATUS_BAD_PARAM;
    if (v->mode != CUDNN_CROSS_CORRELATION || x->format != y->format || x->format != w->format)
        return CUDNN_STATUS_NOT_SUPPORTED;
    if (x->type == CUDNN_DATA_DOUBLE && x->format == CUDNN_TENSOR_NHWC)
        return CUDNN_STATUS_NOT_SUPPORTED;
    return none && strcmp(none, "none") == 0 ? CUDNN_STATUS_NOT_SUPPORTED : CUDNN_STATUS_SUCCESS;
}

/* Algorithms in the order they are offered; the first is none for these shapes. */
typedef struct choice {
    int algo;
    bool supported, deterministic;
    size_t workspace_per_output; /* bytes */
} choice;

enum { N_CHOICES = 3 };
static const choice choices[3][N_CHOICES] = {
    [EMU_FORWARD_PASS] = {{CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD, false, true, 0},
                          {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, true, true, 4},
                          {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, true, true, 0}},
    [EMU_BACKWARD_DATA] = {{CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD, false, true, 0},
                           {CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, true, false, 0},
                           {CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, true, true, 4}},
    [EMU_BACKWARD_FILTER] = {{CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT, false, true, 0},
                             {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, true, false, 0},
                             {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, true, true, 4}},
};

static size_t workspace_of(const choice *c, const emu_convolution *q) {
    return c->workspace_per_output * emu_dnn_numel(&q->y);
}

static const choice *choice_of(emu_direction direction, int algo) {
    for (int i = 0; i < N_CHOICES; i++)
        if (choices[direction][i].algo == algo && choices[direction][i].supported)
            return &choices[direction][i];
    return NULL;
}

static emu_convolution problem(emu_direction direction, const emu_dnn_tensor *x,
                               const emu_dnn_tensor *w, const emu_dnn_tensor *y,
                               cudnnConvolutionDescriptor_t v) {
    good(v);
    return (emu_convolution){.direction = direction, .x = *x, .w = *w, .y = *y, .conv = v->v};
}

/* Perf structs of the three directions have the same members. */
#define LIST(perf, asked, count, q)                                                                \
    cudnnStatus_t status_ = check(&(q));                                                           \
    *(count) = 0;                                                                                  \
    if (status_ == CUDNN_STATUS_BAD_PARAM || (asked) < 1) return CUDNN_STATUS_BAD_PARAM;           \
    for (int i = 0; i < N_CHOICES && i < (asked); i++) {                                           \
        const choice *c = &choices[(q).direction][i];                                              \
        memset(&(perf)[i], 0, sizeof(perf)[i]);                                                    \
        (perf)[i].algo = c->algo;                                                                  \
        (perf)[i].status = c->supported ? status_ : CUDNN_STATUS_NOT_SUPPORTED;                    \
        (perf)[i].time = -1;                                                                       \
        (perf)[i].memory = workspace_of(c, &(q));                                                  \
        (perf)[i].determinism = c->deterministic ? CUDNN_DETERMINISTIC : CUDNN_NON_DETERMINISTIC;  \
        (perf)[i].mathType = (q).conv.math;                                                        \
        ++*(count);                                                                                \
    }                                                                                              \
    return CUDNN_STATUS_SUCCESS

static cudnnStatus_t workspace(size_t *bytes, const emu_convolution *q, int algo) {
    const choice *c = choice_of(q->direction, algo);
    cudnnStatus_t e = check(q);
    if (e == CUDNN_STATUS_SUCCESS && !c) e = CUDNN_STATUS_NOT_SUPPORTED;
    *bytes = e == CUDNN_STATUS_SUCCESS ? workspace_of(c, q) : 0;
    return e;
}

static cudnnStatus_t convolve(cudnnHandle_t h, emu_convolution *q, int algo, const void *alpha,
                              const void *beta) {
    const choice *c = choice_of(q->direction, algo);
    good(h);
    cudnnStatus_t e = check(q);
    if (e != CUDNN_STATUS_SUCCESS) return e;
    if (!c) return CUDNN_STATUS_NOT_SUPPORTED;
    if (!q->x_at || !q->w_at || !q->y_at || !alpha || !beta) return CUDNN_STATUS_BAD_PARAM;
    if (((uintptr_t)q->x_at | (uintptr_t)q->w_at | (uintptr_t)q->y_at | (uintptr_t)q->workspace) %
        ALIGNMENT)
        return CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER;
    if (emu_error_pending()) return CUDNN_STATUS_EXECUTION_FAILED;
    const char *how = getenv("HWB_EMU_CUDNN");
    if (how && (strcmp(how, "never") == 0 ||
                (strcmp(how, "late") == 0 && c != &choices[q->direction][N_CHOICES - 1])))
        return CUDNN_STATUS_NOT_SUPPORTED;
    if (q->workspace_bytes < workspace_of(c, q) || (workspace_of(c, q) && !q->workspace))
        return CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT;
    q->workspace_bytes = workspace_of(c, q);
    bool dual = q->x.type == CUDNN_DATA_DOUBLE;
    q->alpha = dual ? *(const double *)alpha : (double)*(const float *)alpha;
    q->beta = dual ? *(const double *)beta : (double)*(const float *)beta;
    q->wobbles = !c->deterministic;
    emu_lock();
    cudaError_t cuda =
        emu_enqueue(h->stream, "cudnnConvolution", emu_convolution_run, q, sizeof *q);
    emu_unlock();
    return cuda == cudaSuccess ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}

/* What is timed here is the order of the list, backwards; the result is overwritten. */
typedef struct find_args {
    void *result;
    size_t bytes;
} find_args;

static void spoil(void *args) {
    const find_args *f = args;
    emu_memory_check(f->result, f->bytes, "cudnnFind: result");
    memset(f->result, 0xFF, f->bytes);
}

static cudnnStatus_t spoil_result(cudnnHandle_t h, void *result, const emu_dnn_tensor *t) {
    find_args f = {result, emu_dnn_bytes(t)};
    if (emu_unsafe_call() != cudaSuccess) return CUDNN_STATUS_EXECUTION_FAILED;
    emu_lock();
    cudaError_t e = emu_enqueue(h->stream, "cudnnFind", spoil, &f, sizeof f);
    if (e == cudaSuccess) e = emu_stream_finish(h->stream);
    emu_unlock();
    return e == cudaSuccess ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}

#define FIND(perf, asked, count, q, space, space_bytes, result, tensor)                            \
    cudnnStatus_t checked_ = check(&(q));                                                          \
    *(count) = 0;                                                                                  \
    if (checked_ != CUDNN_STATUS_SUCCESS) return checked_;                                         \
    if ((asked) < 1 || !(result) || !(space)) return CUDNN_STATUS_BAD_PARAM;                       \
    for (int i = N_CHOICES - 1; i >= 0 && *(count) < (asked); i--) {                               \
        const choice *c = &choices[(q).direction][i];                                              \
        memset(&(perf)[*(count)], 0, sizeof(perf)[0]);                                             \
        (perf)[*(count)].algo = c->algo;                                                           \
        (perf)[*(count)].memory = workspace_of(c, &(q));                                           \
        (perf)[*(count)].status = !c->supported ? CUDNN_STATUS_NOT_SUPPORTED                       \
                                  : workspace_of(c, &(q)) > (space_bytes)                          \
                                      ? CUDNN_STATUS_ALLOC_FAILED                                  \
                                      : CUDNN_STATUS_SUCCESS;                                      \
        (perf)[*(count)].time = c->supported ? (float)(N_CHOICES - i) : -1;                        \
        (perf)[*(count)].determinism =                                                             \
            c->deterministic ? CUDNN_DETERMINISTIC : CUDNN_NON_DETERMINISTIC;                      \
        (perf)[*(count)].mathType = (q).conv.math;                                                 \
        ++*(count);                                                                                \
    }                                                                                              \
    return spoil_result(h, result, tensor)

EMU_API cudnnStatus_t cudnnFindConvolutionForwardAlgorithmEx(
    cudnnHandle_t h, const cudnnTensorDescriptor_t x, const void *x_at,
    const cudnnFilterDescriptor_t w, const void *w_at, const cudnnConvolutionDescriptor_t v,
    const cudnnTensorDescriptor_t y, void *y_at, const int asked, int *count,
    cudnnConvolutionFwdAlgoPerf_t *perf, void *space, size_t bytes) {
    emu_convolution q = problem(EMU_FORWARD_PASS, &x->t, &w->t, &y->t, v);
    good(h);
    if (!x_at || !w_at) return CUDNN_STATUS_BAD_PARAM;
    FIND(perf, asked, count, q, space, bytes, y_at, &y->t);
}

EMU_API cudnnStatus_t cudnnFindConvolutionBackwardDataAlgorithmEx(
    cudnnHandle_t h, const cudnnFilterDescriptor_t w, const void *w_at,
    const cudnnTensorDescriptor_t y, const void *y_at, const cudnnConvolutionDescriptor_t v,
    const cudnnTensorDescriptor_t x, void *x_at, const int asked, int *count,
    cudnnConvolutionBwdDataAlgoPerf_t *perf, void *space, size_t bytes) {
    emu_convolution q = problem(EMU_BACKWARD_DATA, &x->t, &w->t, &y->t, v);
    good(h);
    if (!y_at || !w_at) return CUDNN_STATUS_BAD_PARAM;
    FIND(perf, asked, count, q, space, bytes, x_at, &x->t);
}

EMU_API cudnnStatus_t cudnnFindConvolutionBackwardFilterAlgorithmEx(
    cudnnHandle_t h, const cudnnTensorDescriptor_t x, const void *x_at,
    const cudnnTensorDescriptor_t y, const void *y_at, const cudnnConvolutionDescriptor_t v,
    const cudnnFilterDescriptor_t w, void *w_at, const int asked, int *count,
    cudnnConvolutionBwdFilterAlgoPerf_t *perf, void *space, size_t bytes) {
    emu_convolution q = problem(EMU_BACKWARD_FILTER, &x->t, &w->t, &y->t, v);
    good(h);
    if (!y_at || !x_at) return CUDNN_STATUS_BAD_PARAM;
    FIND(perf, asked, count, q, space, bytes, w_at, &w->t);
}

/* ---- forward ---------------------------------------------------------------------------------- */

EMU_API cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(
    cudnnHandle_t h, const cudnnTensorDescriptor_t x, const cudnnFilterDescriptor_t w,
    const cudnnConvolutionDescriptor_t v, const cudnnTensorDescriptor_t y, const int asked,
    int *count, cudnnConvolutionFwdAlgoPerf_t *perf) {
    emu_convolution q = problem(EMU_FORWARD_PASS, &x->t, &w->t, &y->t, v);
    good(h);
    LIST(perf, asked, count, q);
}

EMU_API cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(
    cudnnHandle_t h, const cudnnTensorDescriptor_t x, const cudnnFilterDescriptor_t w,
    const cudnnConvolutionDescriptor_t v, const cudnnTensorDescriptor_t y,
    cudnnConvolutionFwdAlgo_t algo, size_t *bytes) {
    emu_convolution q = problem(EMU_FORWARD_PASS, &x->t, &w->t, &y->t, v);
    good(h);
    return workspace(bytes, &q, (int)algo);
}

EMU_API cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t h, const void *alpha,
                                              const cudnnTensorDescriptor_t x, const void *x_at,
                                              const cudnnFilterDescriptor_t w, const void *w_at,
                                              const cudnnConvolutionDescriptor_t v,
                                              cudnnConvolutionFwdAlgo_t algo, void *space,
                                              size_t bytes, const void *beta,
                                              const cudnnTensorDescriptor_t y, void *y_at) {
    emu_convolution q = problem(EMU_FORWARD_PASS, &x->t, &w->t, &y->t, v);
    q.x_at = (void *)(uintptr_t)x_at;
    q.w_at = (void *)(uintptr_t)w_at;
    q.y_at = y_at;
    q.workspace = space;
    q.workspace_bytes = bytes;
    return convolve(h, &q, (int)algo, alpha, beta);
}

/* ---- backward data ------------------------------------------------------------------------------ */

EMU_API cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(
    cudnnHandle_t h, const cudnnFilterDescriptor_t w, const cudnnTensorDescriptor_t y,
    const cudnnConvolutionDescriptor_t v, const cudnnTensorDescriptor_t x, const int asked,
    int *count, cudnnConvolutionBwdDataAlgoPerf_t *perf) {
    emu_convolution q = problem(EMU_BACKWARD_DATA, &x->t, &w->t, &y->t, v);
    good(h);
    LIST(perf, asked, count, q);
}

EMU_API cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(
    cudnnHandle_t h, const cudnnFilterDescriptor_t w, const cudnnTensorDescriptor_t y,
    const cudnnConvolutionDescriptor_t v, const cudnnTensorDescriptor_t x,
    cudnnConvolutionBwdDataAlgo_t algo, size_t *bytes) {
    emu_convolution q = problem(EMU_BACKWARD_DATA, &x->t, &w->t, &y->t, v);
    good(h);
    return workspace(bytes, &q, (int)algo);
}

EMU_API cudnnStatus_t cudnnConvolutionBackwardData(
    cudnnHandle_t h, const void *alpha, const cudnnFilterDescriptor_t w, const void *w_at,
    const cudnnTensorDescriptor_t y, const void *y_at, const cudnnConvolutionDescriptor_t v,
    cudnnConvolutionBwdDataAlgo_t algo, void *space, size_t bytes, const void *beta,
    const cudnnTensorDescriptor_t x, void *x_at) {
    emu_convolution q = problem(EMU_BACKWARD_DATA, &x->t, &w->t, &y->t, v);
    q.x_at = x_at;
    q.w_at = (void *)(uintptr_t)w_at;
    q.y_at = (void *)(uintptr_t)y_at;
    q.workspace = space;
    q.workspace_bytes = bytes;
    return convolve(h, &q, (int)algo, alpha, beta);
}

/* ---- backward filter ------------------------------------------------------------------------------ */

EMU_API cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(
    cudnnHandle_t h, const cudnnTensorDescriptor_t x, const cudnnTensorDescriptor_t y,
    const cudnnConvolutionDescriptor_t v, const cudnnFilterDescriptor_t w, const int asked,
    int *count, cudnnConvolutionBwdFilterAlgoPerf_t *perf) {
    emu_convolution q = problem(EMU_BACKWARD_FILTER, &x->t, &w->t, &y->t, v);
    good(h);
    LIST(perf, asked, count, q);
}

EMU_API cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(
    cudnnHandle_t h, const cudnnTensorDescriptor_t x, const cudnnTensorDescriptor_t y,
    const cudnnConvolutionDescriptor_t v, const cudnnFilterDescriptor_t w,
    cudnnConvolutionBwdFilterAlgo_t algo, size_t *bytes) {
    emu_convolution q = problem(EMU_BACKWARD_FILTER, &x->t, &w->t, &y->t, v);
    good(h);
    return workspace(bytes, &q, (int)algo);
}

EMU_API cudnnStatus_t cudnnConvolutionBackwardFilter(
    cudnnHandle_t h, const void *alpha, const cudnnTensorDescriptor_t x, const void *x_at,
    const cudnnTensorDescriptor_t y, const void *y_at, const cudnnConvolutionDescriptor_t v,
    cudnnConvolutionBwdFilterAlgo_t algo, void *space, size_t bytes, const void *beta,
    const cudnnFilterDescriptor_t w, void *w_at) {
    emu_convolution q = problem(EMU_BACKWARD_FILTER, &x->t, &w->t, &y->t, v);
    q.x_at = (void *)(uintptr_t)x_at;
    q.w_at = w_at;
    q.y_at = (void *)(uintptr_t)y_at;
    q.workspace = space;
    q.workspace_bytes = bytes;
    return convolve(h, &q, (int)algo, alpha, beta);
}
