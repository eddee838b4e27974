/*
 * cuda_device.c: a context's hold on one device: choosing it, saying why there is
 * none, and the library handles, which are made at first use.
 *
 * Of several devices a process takes number HWB_CUDA_DEVICE, else its rank on this
 * machine (set by the launchers of MPI programs), else 0; CUDA_VISIBLE_DEVICES
 * renumbers them as usual.
 */
#include "cuda_i.h"

#include <nvrtc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- failures ----------------------------------------------------------------- */

hwb_status hwb__cuda_fail(hwb_ctx *ctx, hwb_status status, const char *fmt, ...) {
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return hwb__cuda_host->fail(ctx, status, "%s", text);
}

hwb_status hwb__cuda_oom(hwb_ctx *ctx) {
    return hwb__cuda_fail(ctx, HWB_ENOMEM, "cuda: out of host memory");
}

hwb_status hwb__cuda_check(hwb_ctx *ctx, cudaError_t e, const char *call) {
    if (e == cudaSuccess) return HWB_OK;
    cudaGetLastError(); /* forgets it; errors that stay are found by the next call */
    hwb_status status = e == cudaErrorMemoryAllocation ? HWB_ENOMEM : HWB_EDEVICE;
    return hwb__cuda_fail(ctx, status, "cuda: %s (error %d) at %.120s", cudaGetErrorString(e),
                          (int)e, call);
}

hwb_status hwb__cuda_check_blas(hwb_ctx *ctx, cublasStatus_t e, const char *call) {
    if (e == CUBLAS_STATUS_SUCCESS) return HWB_OK;
    hwb_status status = e == CUBLAS_STATUS_ALLOC_FAILED ? HWB_ENOMEM : HWB_EDEVICE;
    return hwb__cuda_fail(ctx, status, "cuda: %s at %.120s", cublasGetStatusString(e), call);
}

/* ---- choosing a device ------------------------------------------------------------ */

static hwb_status count_devices(hwb_ctx *ctx, int *count) {
    int driver = 0, runtime = 0;
    cudaError_t e = cudaGetDeviceCount(count);
    if (e == cudaSuccess && *count > 0) return HWB_OK;
    cudaGetLastError();
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (driver == 0)
        return hwb__cuda_fail(ctx, HWB_EDEVICE,
                              "no NVIDIA driver (libcuda.so.1 is absent or does not answer)");
    if (e == cudaErrorInsufficientDriver || driver / 1000 < runtime / 1000)
        return hwb__cuda_fail(
            ctx, HWB_EDEVICE, "the NVIDIA driver is for CUDA %d.%d, this plug-in for CUDA %d.%d",
            driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    if (e == cudaErrorNoDevice || e == cudaSuccess)
        return hwb__cuda_fail(ctx, HWB_EDEVICE, "the NVIDIA driver finds no device");
    return hwb__cuda_check(ctx, e, "cudaGetDeviceCount");
}

/* A whole number >= 0 in the environment; -1 without one. */
static int number_from(const char *variable) {
    const char *text = getenv(variable);
    char *end = NULL;
    if (!text || !*text) return -1;
    long n = strtol(text, &end, 10);
    return *end || n < 0 || n > 4096 ? -1 : (int)n;
}

static hwb_status choose(hwb_ctx *ctx, int *index) {
    static const char *const ranks[] = {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID",
                                        "SLURM_LOCALID", "LOCAL_RANK"};
    int count = 0, n = number_from("HWB_CUDA_DEVICE");
    HWB_TRY(count_devices(ctx, &count));
    if (n >= count)
        return hwb__cuda_fail(ctx, HWB_EDEVICE, "HWB_CUDA_DEVICE is %d, but there %s %d device%s",
                              n, count == 1 ? "is" : "are", count, count == 1 ? "" : "s");
    for (int i = 0; n < 0 && i < 4; i++) {
        n = number_from(ranks[i]);
        if (n >= 0) n %= count;
    }
    *index = n < 0 ? 0 : n;
    return HWB_OK;
}

static hwb_status read_facts(hwb_ctx *ctx, hwb__cuda *s) {
    int major = 0, minor = 0;
    HWB_CUDA_TRY(ctx, cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, s->index));
    HWB_CUDA_TRY(ctx, cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, s->index));
    HWB_CUDA_TRY(ctx, cudaDeviceGetAttribute(&s->sms, cudaDevAttrMultiProcessorCount, s->index));
    s->cc = major * 10 + minor;
    if (s->cc >= HWB__CUDA_MIN_CC) return HWB_OK;
    return hwb__cuda_fail(ctx, HWB_EDEVICE,
                          "device %d has compute capability %d.%d; %d.%d is the least", s->index,
                          major, minor, HWB__CUDA_MIN_CC / 10, HWB__CUDA_MIN_CC % 10);
}

/* ---- life ------------------------------------------------------------------------------ */

static hwb_status open_on(hwb_ctx *ctx, hwb__cuda *s) {
    HWB_TRY(choose(ctx, &s->index));
    HWB_TRY(read_facts(ctx, s));
    HWB_CUDA_TRY(ctx, cudaSetDevice(s->index));
    HWB_CUDA_TRY(ctx, cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking));
    HWB_TRY(hwb__cuda_pool_new(ctx, &s->pool));
    const size_t fault = HWB__CUDA_FAULT_WORDS * sizeof(*s->fault);
    HWB_CUDA_TRY(ctx, cudaMallocHost((void **)&s->host_fault, fault));
    memset(s->host_fault, 0, fault);
    HWB_CUDA_TRY(ctx, cudaMallocHost(&s->bounce, HWB__CUDA_BOUNCE));
    if (!(s->fault = hwb__cuda_mem_alloc(ctx, s, fault))) return HWB_ENOMEM;
    HWB_CUDA_TRY(ctx, cudaMemsetAsync(s->fault, 0, fault, s->stream));
    return HWB_OK;
}

hwb_status hwb__cuda_open(hwb_ctx *ctx, void **state) {
    hwb__cuda *s = calloc(1, sizeof(*s));
    if (!s) return hwb__cuda_oom(ctx);
    s->ctx = ctx;
    hwb_status st = open_on(ctx, s);
    if (st != HWB_OK) hwb__cuda_close(s);
    else *state = s;
    return st;
}

void hwb__cuda_close(void *state) {
    hwb__cuda *s = state;
    if (s->stream) {
        cudaSetDevice(s->index);
        cudaStreamSynchronize(s->stream);
    }
    if (s->blas) cublasDestroy(s->blas);
    if (s->dnn) hwb__dnn.cudnnDestroy(s->dnn);
    hwb__cuda_puts_free(s);
    hwb__cuda_mem_free(s, s->fault);
    hwb__cuda_mem_free(s, s->blas_space);
    if (s->host_fault) cudaFreeHost(s->host_fault);
    if (s->bounce) cudaFreeHost(s->bounce);
    if (s->ring) cudaFreeHost(s->ring);
    hwb__cuda_pool_free(s->pool);
    if (s->stream) cudaStreamDestroy(s->stream);
    free(s->sources);
    free(s->choices);
    free(s);
}

hwb_status hwb__cuda_configure(hwb_ctx *ctx, void *state, const hwb_device_options *options) {
    hwb__cuda *s = state;
    (void)ctx;
    s->math = options->math;
    s->deterministic = options->deterministic;
    return HWB_OK;
}

/* cuBLAS gets memory of ours: what its manual asks for on Hopper, and recorded stages
 * then name nothing that it allocates by itself. */
enum { BLAS_SPACE = 32 << 20 };

hwb_status hwb__cuda_blas(hwb_ctx *ctx, hwb__cuda *s) {
    if (s->blas && s->blas_space) return HWB_OK;
    if (!s->blas) HWB_CUBLAS_TRY(ctx, cublasCreate(&s->blas));
    HWB_CUBLAS_TRY(ctx, cublasSetStream(s->blas, s->stream));
    s->blas_space = hwb__cuda_mem_alloc(ctx, s, BLAS_SPACE);
    if (!s->blas_space) return HWB_ENOMEM;
    HWB_CUBLAS_TRY(ctx, cublasSetWorkspace(s->blas, s->blas_space, BLAS_SPACE));
    return HWB_OK;
}

/* ---- for `hwb doctor` --------------------------------------------------------------------- */

hwb_status hwb__cuda_describe(hwb_ctx *ctx, void *state, char *text, size_t size) {
    static const char *const names[] = {"float32", "TF32", "bf16"};
    hwb__cuda *s = state;
    struct cudaDeviceProp p;
    size_t vacant = 0, total = 0;
    int driver = 0, runtime = 0, major = 0, minor = 0;
    HWB_CUDA_TRY(ctx, cudaGetDeviceProperties(&p, s->index));
    HWB_CUDA_TRY(ctx, cudaMemGetInfo(&vacant, &total));
    HWB_CUDA_TRY(ctx, cudaDriverGetVersion(&driver));
    HWB_CUDA_TRY(ctx, cudaRuntimeGetVersion(&runtime));
    nvrtcVersion(&major, &minor);
    char dnn[32] = "no cuDNN";
    if (hwb__cuda_dnn_load(ctx) == HWB_OK) {
        const size_t v = hwb__dnn.cudnnGetVersion();
        snprintf(dnn, sizeof(dnn), "cuDNN %zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
    }
    snprintf(text, size,
             "%s, compute capability %d.%d, %d multiprocessors, %.1f of %.1f GiB free, driver for "
             "CUDA %d.%d, runtime %d.%d, NVRTC %d.%d, cuBLAS %d.%d, %s, products in %s%s",
             p.name, s->cc / 10, s->cc % 10, s->sms, (double)vacant / 0x1p30,
             (double)total / 0x1p30, driver / 1000, driver % 1000 / 10, runtime / 1000,
             runtime % 1000 / 10, major, minor, CUBLAS_VER_MAJOR, CUBLAS_VER_MINOR, dnn,
             names[s->math], s->deterministic ? "" : ", last bits may vary");
    return HWB_OK;
}
