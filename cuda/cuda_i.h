/*
 * cuda_i.h: private to the CUDA backend.
 *
 * Nothing in this folder has ever run on a GPU: it is compiled and linked
 * against the CUDA 13 toolkit, its kernels compile through NVRTC, and its logic
 * is tested with stand-ins for the libraries that execute on the CPU
 * (tests/cuda_emulator).  Where a comment speaks of speed it speaks of intent.
 *
 * All device code is text made here and compiled by NVRTC for the device found:
 * one kernel a source, `hwb_kernel(const params p)`, 256 threads a block, its one
 * argument the C struct of the same layout.  Everything of a context runs on one
 * stream, in order; only mem_get and sync wait for it.
 *
 * Functions used, and no others:
 *   cudart   cudaGetDeviceCount cudaSetDevice cudaDeviceGetAttribute cudaGetDeviceProperties
 *            cudaDriverGetVersion cudaRuntimeGetVersion cudaMemGetInfo cudaGetErrorString
 *            cudaGetLastError cudaStreamCreateWithFlags cudaStreamDestroy
 *            cudaStreamSynchronize cudaStreamQuery cudaMalloc cudaFree
 *            cudaMallocHost cudaFreeHost cudaMemcpyAsync cudaMemsetAsync
 *            cudaLibraryLoadData cudaLibraryGetKernel cudaLaunchKernel
 *            cudaStreamBeginCapture cudaStreamEndCapture cudaGraphInstantiate cudaGraphLaunch
 *            cudaGraphDestroy cudaGraphExecDestroy
 *   nvrtc    nvrtcVersion nvrtcGetNumSupportedArchs nvrtcGetSupportedArchs nvrtcCreateProgram
 *            nvrtcCompileProgram nvrtcGetProgramLogSize nvrtcGetProgramLog nvrtcGetCUBINSize
 *            nvrtcGetCUBIN nvrtcGetPTXSize nvrtcGetPTX nvrtcDestroyProgram nvrtcGetErrorString
 *   cublas   cublasCreate cublasDestroy cublasSetStream cublasSetWorkspace
 *            cublasGetStatusString cublasGemmStridedBatchedEx_64
 *   cudnn    dlopen("libcudnn.so.9") at the first convolution: cudnnCreate cudnnDestroy cudnnSetStream cudnnGetVersion cudnnGetErrorString
 *            cudnnCreateTensorDescriptor cudnnSetTensor4dDescriptor cudnnDestroyTensorDescriptor
 *            cudnnCreateFilterDescriptor cudnnSetFilter4dDescriptor cudnnDestroyFilterDescriptor
 *            cudnnCreateConvolutionDescriptor cudnnSetConvolution2dDescriptor
 *            cudnnSetConvolutionGroupCount cudnnSetConvolutionMathType
 *            cudnnDestroyConvolutionDescriptor
 *            cudnnGetConvolution{Forward,BackwardData,BackwardFilter}Algorithm_v7
 *            cudnnFindConvolution{Forward,BackwardData,BackwardFilter}AlgorithmEx
 *            cudnnGetConvolution{Forward,BackwardData,BackwardFilter}WorkspaceSize
 *            cudnnConvolution{Forward,BackwardData,BackwardFilter}
 *   nccl     dlopen("libnccl.so.2") when a group of processes is made: ncclGetUniqueId
 *            ncclCommInitRankConfig ncclReduce ncclBroadcast ncclCommGetAsyncError
 *            ncclCommAbort ncclCommDestroy ncclGetErrorString
 */
#ifndef HWB_CUDA_I_H
#define HWB_CUDA_I_H

#include "backend/backend.h"

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

/* ---- state of a context on its device (cuda_device.c) --------------------------- */

enum { HWB__CUDA_MIN_CC = 75 }; /* 7.5, the oldest that CUDA 13 compiles for */
enum { HWB__CUDA_BOUNCE = 8 << 20 };

typedef struct hwb__cuda_pool hwb__cuda_pool;     /* cuda_memory.c */
typedef struct hwb__cuda_source hwb__cuda_source; /* cuda_fault.c */
typedef struct hwb__cuda_choice hwb__cuda_choice; /* cuda_conv_choose.c */
typedef struct hwb__cuda_puts hwb__cuda_puts;     /* cuda_puts.c */

typedef struct hwb__cuda {
    hwb_ctx *ctx;
    int index;   /* of the device */
    int cc, sms; /* compute capability as 90, multiprocessors */
    hwb_math math;
    bool deterministic;
    cudaStream_t stream;
    cublasHandle_t blas; /* NULL until the first product */
    void *blas_space;
    cudnnHandle_t dnn; /* NULL until the first convolution */
    bool dnn_failed;   /* it cannot be had */
    bool recording;    /* between capture_begin and capture_end */
    hwb__cuda_pool *pool;
    int64_t *fault;      /* device: what an index kernel found wrong (cuda_fault.c) */
    int64_t *host_fault; /* pinned copy */
    hwb__cuda_source *sources;
    hwb__cuda_choice *choices;
    hwb__cuda_puts *puts; /* NULL until the first small copy */
    int n_sources, n_choices;
    void *ring;       /* pinned, for larger copies; made by the first (cuda_copy.c) */
    size_t ring_used; /* bytes that the stream may still read */
    void *bounce;     /* pinned, for small results */
    void *scratch;    /* shared by the kernels of the stream, grown at prepare */
    size_t scratch_bytes;
} hwb__cuda;

/* The table that the program handed over; set once, before any other call. */
extern const hwb_host *hwb__cuda_host;

hwb_status hwb__cuda_fail(hwb_ctx *ctx, hwb_status status, const char *fmt, ...) HWB_PRINTF(3, 4);
hwb_status hwb__cuda_oom(hwb_ctx *ctx); /* of host memory */
/* HWB_OK, or a failure that names the call and its library's text */
hwb_status hwb__cuda_check(hwb_ctx *ctx, cudaError_t e, const char *call);
hwb_status hwb__cuda_check_blas(hwb_ctx *ctx, cublasStatus_t e, const char *call);
/* HWB_EUNSUPPORTED where cuDNN cannot, rather than the device */
hwb_status hwb__cuda_check_dnn(hwb_ctx *ctx, cudnnStatus_t e, const char *call);
#define HWB_CUDA_TRY(ctx, call)   HWB_TRY(hwb__cuda_check((ctx), (call), #call))
#define HWB_CUBLAS_TRY(ctx, call) HWB_TRY(hwb__cuda_check_blas((ctx), (call), #call))
#define HWB_CUDNN_TRY(ctx, call)  HWB_TRY(hwb__cuda_check_dnn((ctx), (call), #call))

hwb_status hwb__cuda_open(hwb_ctx *ctx, void **state);
void hwb__cuda_close(void *state);
hwb_status hwb__cuda_configure(hwb_ctx *ctx, void *state, const hwb_device_options *options);
hwb_status hwb__cuda_describe(hwb_ctx *ctx, void *state, char *text, size_t size);
hwb_status hwb__cuda_blas(hwb_ctx *ctx, hwb__cuda *s); /* makes s->blas */

/* ---- cuDNN (cuda_dnn.c) -------------------------------------------------------------- */

#define HWB__CUDNN_MAP(XX)                                                                         \
    XX(cudnnCreate)                                                                                \
    XX(cudnnDestroy)                                                                               \
    XX(cudnnSetStream)                                                                             \
    XX(cudnnGetVersion)                                                                            \
    XX(cudnnGetErrorString)                                                                        \
    XX(cudnnCreateTensorDescriptor)                                                                \
    XX(cudnnSetTensor4dDescriptor)                                                                 \
    XX(cudnnDestroyTensorDescriptor)                                                               \
    XX(cudnnCreateFilterDescriptor)                                                                \
    XX(cudnnSetFilter4dDescriptor)                                                                 \
    XX(cudnnDestroyFilterDescriptor)                                                               \
    XX(cudnnCreateConvolutionDescriptor)                                                           \
    XX(cudnnSetConvolution2dDescriptor)                                                            \
    XX(cudnnSetConvolutionGroupCount)                                                              \
    XX(cudnnSetConvolutionMathType)                                                                \
    XX(cudnnDestroyConvolutionDescriptor)                                                          \
    XX(cudnnGetConvolutionForwardAlgorithm_v7)                                                     \
    XX(cudnnGetConvolutionBackwardDataAlgorithm_v7)                                                \
    XX(cudnnGetConvolutionBackwardFilterAlgorithm_v7)                                              \
    XX(cudnnFindConvolutionForwardAlgorithmEx)                                                     \
    XX(cudnnFindConvolutionBackwardDataAlgorithmEx)                                                \
    XX(cudnnFindConvolutionBackwardFilterAlgorithmEx)                                              \
    XX(cudnnGetConvolutionForwardWorkspaceSize)                                                    \
    XX(cudnnGetConvolutionBackwardDataWorkspaceSize)                                               \
    XX(cudnnGetConvolutionBackwardFilterWorkspaceSize)                                             \
    XX(cudnnConvolutionForward)                                                                    \
    XX(cudnnConvolutionBackwardData)                                                               \
    XX(cudnnConvolutionBackwardFilter)

typedef struct hwb__cudnn {
    void *library; /* NULL until it is loaded */
#define XX(name) __typeof__(&name) name;
    HWB__CUDNN_MAP(XX)
#undef XX
} hwb__cudnn;
extern hwb__cudnn hwb__dnn;

/* Both: HWB_EUNSUPPORTED, and why, where there is none. */
hwb_status hwb__cuda_dnn_load(hwb_ctx *ctx);
hwb_status hwb__cuda_dnn(hwb_ctx *ctx, hwb__cuda *s); /* makes s->dnn */

/* ---- memory (cuda_memory.c) --------------------------------------------------------- */

hwb_status hwb__cuda_pool_new(hwb_ctx *ctx, hwb__cuda_pool **out);
void hwb__cuda_pool_free(hwb__cuda_pool *pool);
void *hwb__cuda_mem_alloc(hwb_ctx *ctx, void *state, size_t bytes);
void hwb__cuda_mem_free(void *state, void *p);
/* At least `bytes` at s->scratch from now on.  Memory that captured graphs may
 * still name is kept until the context closes. */
hwb_status hwb__cuda_scratch(hwb_ctx *ctx, hwb__cuda *s, size_t bytes);

/* ---- copies (cuda_copy.c) ------------------------------------------------------------ */

hwb_status hwb__cuda_mem_put(hwb_ctx *ctx, void *state, void *dst, const void *host, size_t bytes);
hwb_status hwb__cuda_mem_get(hwb_ctx *ctx, void *state, void *host, const void *src, size_t bytes);
hwb_status hwb__cuda_mem_copy(hwb_ctx *ctx, void *state, void *dst, const void *src, size_t bytes);
hwb_status hwb__cuda_sync(hwb_ctx *ctx, void *state);
/* cudaStreamQuery; "not ready" is no error, and does not stay behind as the last one. */
cudaError_t hwb__cuda_query(cudaStream_t stream);

/* Small copies up, gathered (cuda_puts.c).  note: *noted says whether it was; either way
 * what was noted before for the same place comes first.  send: before anything that may
 * read is enqueued.  done: after a wait.  forget: what was noted for memory given back. */
hwb_status hwb__cuda_puts_note(hwb_ctx *ctx, hwb__cuda *s, void *dst, const void *host,
                               size_t bytes, bool *noted);
hwb_status hwb__cuda_puts_send(hwb_ctx *ctx, hwb__cuda *s);
void hwb__cuda_puts_done(hwb__cuda *s);
void hwb__cuda_puts_forget(hwb__cuda *s, const void *p, size_t bytes);
void hwb__cuda_puts_free(hwb__cuda *s);

/* ---- indices out of range (cuda_fault.c) -------------------------------------------- */

enum { HWB__CUDA_FAULT_WORDS = 3 }; /* place + 1, index, number of the source */

/* The number by which a kernel says that one of its indices is not below `rows`. */
hwb_status hwb__cuda_fault_source(hwb_ctx *ctx, hwb__cuda *s, const hwb_kdesc *d, int64_t rows,
                                  int64_t *id);
/* Fails with the operation's name when the fetched copy says so, and clears both. */
hwb_status hwb__cuda_fault_check(hwb_ctx *ctx, hwb__cuda *s);

/* ---- text ------------------------------------------------------------------------------ */

typedef struct hwb__cuda_text {
    char *at;
    size_t length, room;
    bool failed; /* no memory; text is then incomplete */
} hwb__cuda_text;

void hwb__cuda_say(hwb__cuda_text *t, const char *fmt, ...) HWB_PRINTF(2, 3);
extern const char hwb__cuda_prelude[]; /* types and element functions (cuda_prelude.c) */

/* ---- compiled kernels (cuda_nvrtc.c, cuda_cache.c) --------------------------------------------------- */

/* The kernel `hwb_kernel` of `source` (after the prelude), from this process, from
 * the cache folder or compiled. */
hwb_status hwb__cuda_function(hwb_ctx *ctx, hwb__cuda *s, cudaKernel_t *out, const char *name,
                              const hwb__cuda_text *source);
/* NVRTC only, no device: cubin (sm 90) or, newer than NVRTC knows, PTX; malloc'd. */
hwb_status hwb__cuda_translate(hwb_ctx *ctx, int cc, const char *name, const char *source,
                               char **out, size_t *bytes);

/* ---- launches (cuda_launch.c) --------------------------------------------------------------- */

enum { HWB__CUDA_BLOCK = 256, HWB__CUDA_WAVES = 16 };

typedef struct hwb__cuda_grid {
    unsigned x, y;
} hwb__cuda_grid;

/* Blocks for n items in a grid-stride loop: enough to fill the device several
 * times, never 0, never beyond the limits of a grid. */
hwb__cuda_grid hwb__cuda_grid_for(int64_t n, int sms);
hwb_status hwb__cuda_launch(hwb_ctx *ctx, hwb__cuda *s, cudaKernel_t f, hwb__cuda_grid grid,
                            const void *params);

/* A walk over a space of joined axes with the strides of several operands.  Axes
 * that step as one for all operands are joined; axes of length 1 vanish.  `tag`
 * keeps apart axes that must not be joined. */
enum { HWB__CUDA_OPERANDS = HWB_FUSED_MAX_IN + HWB_FUSED_MAX_OUT };
typedef struct hwb__cuda_walk {
    int ndim, n_op;
    int64_t dim[HWB_MAX_DIMS];
    int tag[HWB_MAX_DIMS];
    int64_t stride[HWB__CUDA_OPERANDS][HWB_MAX_DIMS];
} hwb__cuda_walk;
typedef int64_t hwb__cuda_stride[HWB_MAX_DIMS];

void hwb__cuda_strides(const hwb_shape *shape, hwb__cuda_stride out); /* 0 along length 1 */
void hwb__cuda_walk_make(hwb__cuda_walk *w, const hwb_shape *space, int n_op,
                         const hwb__cuda_stride *stride, const int *tag);
/* The operand has a stride along the last axis: where elements are taken in packs, it is
 * read in packs. */
bool hwb__cuda_walk_steps(const hwb__cuda_walk *w, int operand);
/* The same walk in steps of v elements along the last axis, whose length v divides. */
void hwb__cuda_walk_pack(hwb__cuda_walk *w, int v);
int64_t hwb__cuda_numel(const hwb_shape *s);
size_t hwb__cuda_size(hwb_dtype dtype); /* bytes of an element */
size_t hwb__cuda_bytes(const hwb_vdesc *v);
bool hwb__cuda_is_float(hwb_dtype dtype);
/* Offsets and counts of these operands fit 31 bits. */
bool hwb__cuda_narrow(int n, const hwb_vdesc *const *v);
const char *hwb__cuda_type(hwb_dtype dtype); /* in device code */

/* ---- kernels ----------------------------------------------------------------------------------- */

/* One family of kernels; a family's own struct begins with the hwb_kernel. */
typedef struct hwb__cuda_family {
    bool (*supports)(const hwb_kdesc *d);
    hwb_status (*prepare)(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel **out, const hwb_kdesc *d);
} hwb__cuda_family;

struct hwb_kernel {
    hwb_status (*run)(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel *k, const void *const *in,
                      void *const *out);
    /* bring packed copies of stable inputs up to date; NULL: there are none */
    hwb_status (*refresh)(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel *k, const void *const *in,
                          const uint64_t *versions);
    void (*free)(hwb__cuda *s, hwb_kernel *k); /* what the struct owns; NULL: nothing */
    char name[40];
};

/* A zeroed kernel struct of `size` bytes named `name`; NULL without memory. */
void *hwb__cuda_kernel_new(size_t size, const char *name);

extern const hwb__cuda_family hwb__cuda_fused, hwb__cuda_pointwise, hwb__cuda_sum,
    hwb__cuda_extreme, hwb__cuda_copy, hwb__cuda_data, hwb__cuda_index, hwb__cuda_pool_ops,
    hwb__cuda_matmul, hwb__cuda_conv, hwb__cuda_conv_gemm;

/* ---- products (cuda_matmul.c) ------------------------------------------------------------------------ */

/* Row-major c[m,n] = beta c + a[m,k] b[k,n], `batch` times; ta: a lies as [k,m].  ld: elements
 * from one row to the next; sa, sb, sc: from one matrix of the batch to the next. */
typedef struct hwb__cuda_gemm {
    bool f64, ta, tb;
    int64_t m, n, k, lda, ldb, ldc, sa, sb, sc, batch;
    cublasComputeType_t compute;
} hwb__cuda_gemm;

/* exact: float32 whatever the context asks for */
cublasComputeType_t hwb__cuda_compute(const hwb__cuda *s, bool f64, bool exact);
hwb_status hwb__cuda_gemm_run(hwb_ctx *ctx, hwb__cuda *s, const hwb__cuda_gemm *g, const void *a,
                              const void *b, void *c, bool add);

/* ---- capture (cuda_capture.c) --------------------------------------------------------------------- */

hwb_status hwb__cuda_capture_begin(hwb_ctx *ctx, void *state);
hwb_status hwb__cuda_capture_end(hwb_ctx *ctx, void *state, hwb_capture **out);
hwb_status hwb__cuda_capture_run(hwb_ctx *ctx, void *state, hwb_capture *c);
void hwb__cuda_capture_free(void *state, hwb_capture *c);

/* ---- several processes (cuda_nccl.c) -------------------------------------------------------------- */

extern const hwb_device_comm hwb__cuda_comm;

#endif
