/*
 * runtime.c: the part of libcudart that is one call, one answer: the emulated
 * device, errors, memory and copies; and the report at exit.
 *
 * Copies as the runtime's documentation has them at their worst: bytes from the host are
 * read when the stream gets there, pageable memory too ("might be synchronous"), which
 * must hold what it held when the call was made; bytes to pageable memory have arrived
 * when the call returns.
 */
#define _GNU_SOURCE
#include "stream_i.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MULTIPROCESSORS = 4, DRIVER = 13000 };

static pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static _Thread_local cudaError_t last_error;

void emu_abort(void) {
    abort();
}

void emu_lock(void) {
    pthread_mutex_lock(&mutex);
}

void emu_unlock(void) {
    pthread_mutex_unlock(&mutex);
}

static int number_of(const char *variable, int otherwise) {
    const char *text = getenv(variable);
    return text && *text ? atoi(text) : otherwise;
}

int emu_capability(void) {
    return number_of("HWB_EMU_SM", 90);
}

bool emu_fail_now(void) {
    static int count;
    return ++count == number_of("HWB_EMU_FAIL", 0);
}

bool emu_broken(bool counts) {
    static int count;
    const int from = number_of("HWB_EMU_BREAK", 0);
    count += counts;
    return from && count >= from;
}

void emu_keep(void *p) {
    static void **kept;
    static size_t n, room;
    emu_lock();
    if (n == room) {
        room = room ? 2 * room : 64;
        kept = realloc(kept, room * sizeof *kept);
        if (!kept) emu_fatal("no memory for a list");
    }
    kept[n++] = p;
    emu_unlock();
}

/* ---- errors ------------------------------------------------------------------------- */

cudaError_t emu_error(cudaError_t e) {
    if (e != cudaSuccess) last_error = e;
    return e;
}

bool emu_error_pending(void) {
    return last_error != cudaSuccess;
}

EMU_API cudaError_t cudaGetLastError(void) {
    cudaError_t e = last_error;
    last_error = cudaSuccess;
    return e;
}

EMU_API const char *cudaGetErrorString(cudaError_t e) {
    switch (e) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInvalidMemcpyDirection: return "invalid copy direction for memcpy";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInsufficientDriver:
        return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorInvalidKernelImage: return "device kernel image is invalid";
    case cudaErrorNoKernelImageForDevice:
        return "no kernel image is available for execution on the device";
    case cudaErrorSymbolNotFound: return "named symbol not found";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorNotReady: return "device not ready";
    case cudaErrorLaunchOutOfResources: return "too many resources requested for launch";
    case cudaErrorStreamCaptureUnsupported:
        return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
        return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureImplicit:
        return "operation would make the legacy stream depend on a capturing blocking stream";
    case cudaErrorIllegalState: return "the operation cannot be performed in the present state";
    default: return "unrecognized error code";
    }
}

/* ---- the device ------------------------------------------------------------------------ */

EMU_API cudaError_t cudaGetDeviceCount(int *count) {
    *count = number_of("HWB_EMU_DEVICES", 1);
    if (number_of("HWB_EMU_DRIVER", DRIVER) < CUDART_VERSION / 1000 * 1000)
        return emu_error(cudaErrorInsufficientDriver);
    return emu_error(*count > 0 ? cudaSuccess : cudaErrorNoDevice);
}

static cudaError_t check_device(int device) {
    int count = 0;
    cudaError_t e = cudaGetDeviceCount(&count);
    if (e != cudaSuccess) return e;
    return emu_error(device >= 0 && device < count ? cudaSuccess : cudaErrorInvalidDevice);
}

EMU_API cudaError_t cudaSetDevice(int device) {
    return check_device(device);
}

EMU_API cudaError_t cudaDriverGetVersion(int *version) {
    *version = number_of("HWB_EMU_DRIVER", DRIVER);
    return cudaSuccess;
}

EMU_API cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}

EMU_API cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
    cudaError_t e = check_device(device);
    if (e != cudaSuccess) return e;
    switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = emu_capability() / 10; break;
    case cudaDevAttrComputeCapabilityMinor: *value = emu_capability() % 10; break;
    case cudaDevAttrMultiProcessorCount: *value = MULTIPROCESSORS; break;
    default: emu_fatal("device attribute %d is not emulated", (int)attribute);
    }
    return cudaSuccess;
}

EMU_API cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device) {
    cudaError_t e = check_device(device);
    size_t vacant;
    if (e != cudaSuccess) return e;
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "hwb emulated device (CPU)");
    p->major = emu_capability() / 10;
    p->minor = emu_capability() % 10;
    p->multiProcessorCount = MULTIPROCESSORS;
    p->warpSize = 32;
    p->maxThreadsPerBlock = 1024;
    p->sharedMemPerBlock = 48 * 1024;
    emu_lock();
    emu_memory_info(&vacant, &p->totalGlobalMem);
    emu_unlock();
    return cudaSuccess;
}

/* ---- memory ------------------------------------------------------------------------------ */

EMU_API cudaError_t cudaMemGetInfo(size_t *vacant, size_t *total) {
    emu_lock();
    emu_memory_info(vacant, total);
    emu_unlock();
    return cudaSuccess;
}

EMU_API cudaError_t cudaMalloc(void **out, size_t bytes) {
    emu_lock();
    cudaError_t e = emu_unsafe_call();
    if (e == cudaSuccess) e = emu_memory_new(out, bytes);
    emu_count_malloc();
    emu_unlock();
    return emu_error(e);
}

/* Waits for the whole device, as the real one does. */
EMU_API cudaError_t cudaFree(void *p) {
    emu_lock();
    cudaError_t e = emu_unsafe_call();
    if (e == cudaSuccess) e = emu_finish_all();
    if (e == cudaSuccess) e = emu_memory_free(p);
    emu_unlock();
    return emu_error(e);
}

EMU_API cudaError_t cudaMallocHost(void **out, size_t bytes) {
    emu_lock();
    cudaError_t e = emu_unsafe_call();
    if (e == cudaSuccess) e = emu_pinned_new(out, bytes);
    emu_unlock();
    return emu_error(e);
}

EMU_API cudaError_t cudaFreeHost(void *p) {
    emu_lock();
    cudaError_t e = emu_unsafe_call();
    if (e == cudaSuccess) e = emu_finish_all();
    if (e == cudaSuccess) e = emu_pinned_free(p);
    emu_unlock();
    return emu_error(e);
}

/* ---- copies ---------------------------------------------------------------------------------- */

typedef struct copy {
    void *to;
    const void *from;
    size_t bytes;
    bool watched; /* pageable, to the device */
    uint64_t sum; /* of its bytes then */
} copy;

static uint64_t sum_of(const char *p, size_t bytes) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++) h = (h ^ (unsigned char)p[i]) * 0x100000001b3u;
    return h;
}

static void run_copy(void *args) {
    copy *c = args;
    const char *from = c->from;
    if (emu_memory_on_device(c->from)) emu_memory_check(c->from, c->bytes, "copy from");
    if (c->watched && sum_of(from, c->bytes) != c->sum)
        emu_fatal("%zu bytes of pageable memory changed before they were copied", c->bytes);
    if (emu_memory_on_device(c->to)) emu_memory_check(c->to, c->bytes, "copy to");
    if ((char *)c->to < from + c->bytes && from < (char *)c->to + c->bytes)
        emu_fatal("a copy of %zu bytes onto itself", c->bytes);
    memcpy(c->to, from, c->bytes);
}

static bool direction_ok(const void *to, const void *from, enum cudaMemcpyKind kind) {
    bool d = emu_memory_on_device(to), s = emu_memory_on_device(from);
    switch (kind) {
    case cudaMemcpyHostToHost: return !d && !s;
    case cudaMemcpyHostToDevice: return d && !s;
    case cudaMemcpyDeviceToHost: return !d && s;
    case cudaMemcpyDeviceToDevice: return d && s;
    default: return false;
    }
}

static cudaError_t enqueue_copy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                                cudaStream_t stream) {
    if (bytes == 0) return cudaSuccess;
    if (!direction_ok(to, from, kind)) return cudaErrorInvalidValue;
    bool waits = kind == cudaMemcpyDeviceToHost && !emu_memory_pinned(to, bytes);
    if (waits && emu_capturing(stream)) return emu_capture_refuse(emu_stream_of(stream));
    copy c = {to, from, bytes, false, 0};
    c.watched = kind == cudaMemcpyHostToDevice && !emu_memory_pinned(from, bytes);
    if (c.watched) c.sum = sum_of(from, bytes);
    cudaError_t e = emu_enqueue(stream, "cudaMemcpyAsync", run_copy, &c, sizeof c);
    return e == cudaSuccess && waits ? emu_stream_finish(stream) : e;
}

EMU_API cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes,
                                    enum cudaMemcpyKind kind, cudaStream_t stream) {
    emu_lock();
    if (!emu_capturing(stream)) emu_count_copy(kind, bytes);
    cudaError_t e = enqueue_copy(to, from, bytes, kind, stream);
    emu_unlock();
    return emu_error(e);
}

typedef struct fill {
    void *to;
    size_t bytes;
    int value;
} fill;

static void run_fill(void *args) {
    const fill *f = args;
    emu_memory_check(f->to, f->bytes, "cudaMemsetAsync");
    memset(f->to, f->value, f->bytes);
}

EMU_API cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream) {
    fill f = {to, bytes, value};
    if (bytes == 0) return cudaSuccess;
    emu_lock();
    cudaError_t e = emu_memory_on_device(to)
                        ? emu_enqueue(stream, "cudaMemsetAsync", run_fill, &f, sizeof f)
                        : cudaErrorInvalidValue;
    emu_unlock();
    return emu_error(e);
}

/* ---- streams ------------------------------------------------------------------------------------ */

EMU_API cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags) {
    emu_lock();
    cudaError_t e = emu_stream_create(out, flags);
    emu_unlock();
    return emu_error(e);
}

EMU_API cudaError_t cudaStreamDestroy(cudaStream_t s) {
    emu_lock();
    cudaError_t e = emu_stream_destroy(s);
    emu_unlock();
    return emu_error(e);
}

static cudaError_t wait(cudaStream_t stream, cudaError_t (*how)(cudaStream_t)) {
    if (emu_broken(false)) return emu_error(cudaErrorIllegalAddress);
    emu_lock();
    cudaError_t e = emu_capturing(stream) ? emu_capture_refuse(emu_stream_of(stream)) : how(stream);
    if (e == cudaSuccess) emu_count_wait();
    emu_unlock();
    return emu_error(e); /* "not ready" stays behind as the last error, too */
}

EMU_API cudaError_t cudaStreamSynchronize(cudaStream_t s) {
    return wait(s, emu_stream_finish);
}

EMU_API cudaError_t cudaStreamQuery(cudaStream_t s) {
    return wait(s, emu_stream_query);
}

/* ---- what is left at exit ------------------------------------------------------------------------- */

enum { MAX_KINDS = 32 };
static struct {
    const char *kind;
    int live;
} handles[MAX_KINDS];

void emu_handle_count(const char *kind, int change) {
    emu_lock();
    int i = 0;
    while (i < MAX_KINDS - 1 && handles[i].kind && strcmp(handles[i].kind, kind) != 0) i++;
    handles[i].kind = kind;
    handles[i].live += change;
    emu_unlock();
}

/* $HWB_EMU_LEAKS=1: a process that leaves memory or handles behind ends with 86. */
__attribute__((destructor)) static void report_leaks(void) {
    const char *text = getenv("HWB_EMU_LEAKS");
    bool bad = emu_memory_live() || emu_streams_live();
    if (!text || strcmp(text, "1") != 0) return;
    if (emu_memory_live())
        fprintf(stderr, "hwb emulator: %zu device blocks were never freed\n", emu_memory_live());
    if (emu_streams_live())
        fprintf(stderr, "hwb emulator: %zu streams or graphs were never destroyed\n",
                emu_streams_live());
    for (int i = 0; i < MAX_KINDS; i++) {
        if (!handles[i].live) continue;
        fprintf(stderr, "hwb emulator: %d of %s were never destroyed\n", handles[i].live,
                handles[i].kind);
        bad = true;
    }
    fflush(NULL);
    if (bad) _Exit(86);
}
