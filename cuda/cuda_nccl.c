/*
 * cuda_nccl.c: sums over the devices of several processes by NCCL, in the slot that
 * the engine's communicator offers (comm/device.h).  Never run on a GPU.
 *
 * libnccl.so.2 is opened when a group is made: it is 200 MB that a single process has
 * no use for.  A sum is a reduction to rank 0 and a broadcast, which takes the time of
 * an all-reduce for large buffers and gives every rank the same bits by construction.
 * While it waits it asks whether the other ranks are still there, and aborts the group
 * when they are not.
 */
#include "cuda_i.h"

#include "comm/device.h"

#include <dlfcn.h>
#include <nccl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FUNCTIONS(XX)                                                                              \
    XX(ncclGetUniqueId)                                                                            \
    XX(ncclCommInitRankConfig)                                                                     \
    XX(ncclReduce)                                                                                 \
    XX(ncclBroadcast)                                                                              \
    XX(ncclCommGetAsyncError)                                                                      \
    XX(ncclCommAbort)                                                                              \
    XX(ncclCommDestroy)                                                                            \
    XX(ncclGetErrorString)

static struct {
    void *library;
#define XX(name) __typeof__(&name) name;
    FUNCTIONS(XX)
#undef XX
} nccl;

typedef struct group {
    hwb__cuda *s;
    ncclComm_t comm;
    cudaStream_t stream;
    void *buffer;
    size_t bytes;
} group;

static hwb_status load(hwb_ctx *ctx) {
    if (nccl.library) return HWB_OK;
    void *library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!library) return hwb__cuda_fail(ctx, HWB_EDEVICE, "cuda: no NCCL: %s", dlerror());
#define XX(name)                                                                                   \
    *(void **)&nccl.name = dlsym(library, #name); /* the cast that POSIX prescribes */             \
    if (!nccl.name)                                                                                \
        return hwb__cuda_fail(ctx, HWB_EDEVICE, "cuda: this libnccl.so.2 has no " #name);
    FUNCTIONS(XX)
#undef XX
    nccl.library = library;
    return HWB_OK;
}

static hwb_status check(hwb_ctx *ctx, ncclResult_t e, const char *call) {
    if (e == ncclSuccess || e == ncclInProgress) return HWB_OK;
    return hwb__cuda_fail(
        ctx, HWB_EDEVICE, "cuda: NCCL: %s at %s%s", nccl.ncclGetErrorString(e), call,
        e == ncclInvalidUsage ? " (every process needs a device of its own)" : "");
}

static hwb_status make_id(hwb_ctx *ctx, void *state, void *id) {
    (void)state;
    ncclUniqueId fresh;
    HWB_TRY(load(ctx));
    HWB_TRY(check(ctx, nccl.ncclGetUniqueId(&fresh), "ncclGetUniqueId"));
    memcpy(id, &fresh, sizeof(fresh));
    return HWB_OK;
}

/* ---- waiting --------------------------------------------------------------------- */

static void pause_a_little(void) {
    const struct timespec slice = {0, 200000};
    nanosleep(&slice, NULL);
}

/* Until the group has taken the last call. */
static hwb_status settle(hwb_ctx *ctx, group *g, hwb_status (*going_on)(hwb_ctx *)) {
    ncclResult_t now = ncclInProgress;
    while (now == ncclInProgress) {
        HWB_TRY(check(ctx, nccl.ncclCommGetAsyncError(g->comm, &now), "ncclCommGetAsyncError"));
        if (now != ncclInProgress) break;
        if (going_on) HWB_TRY(going_on(ctx));
        else if (hwb__cuda_host->interrupted())
            return hwb__cuda_fail(ctx, HWB_EINTR, "interrupted");
        pause_a_little();
    }
    return check(ctx, now, "a call of the group");
}

/* Until the stream is done. */
static hwb_status finish(hwb_ctx *ctx, group *g, hwb_status (*going_on)(hwb_ctx *)) {
    for (;;) {
        cudaError_t e = hwb__cuda_query(g->stream);
        if (e == cudaSuccess) return HWB_OK;
        if (e != cudaErrorNotReady) return hwb__cuda_check(ctx, e, "a sum over ranks");
        HWB_TRY(settle(ctx, g, going_on));
        HWB_TRY(going_on(ctx));
        pause_a_little();
    }
}

/* ---- life --------------------------------------------------------------------------- */

static void close_group(void *comm, bool broken) {
    group *g = comm;
    if (g->comm && broken) nccl.ncclCommAbort(g->comm);
    else if (g->comm) nccl.ncclCommDestroy(g->comm);
    if (g->buffer) hwb__cuda_mem_free(g->s, g->buffer);
    if (g->stream) cudaStreamDestroy(g->stream);
    free(g);
}

static hwb_status open_group(hwb_ctx *ctx, group *g, const void *id, int rank, int size) {
    ncclUniqueId given;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    memcpy(&given, id, sizeof(given));
    HWB_CUDA_TRY(ctx, cudaSetDevice(g->s->index));
    HWB_CUDA_TRY(ctx, cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking));
    HWB_TRY(check(ctx, nccl.ncclCommInitRankConfig(&g->comm, size, given, rank, &config),
                  "ncclCommInitRankConfig"));
    return settle(ctx, g, NULL);
}

static hwb_status open_comm(hwb_ctx *ctx, void *state, void **comm, const void *id, int rank,
                            int size) {
    HWB_TRY(load(ctx));
    group *g = calloc(1, sizeof(*g));
    if (!g) return hwb__cuda_oom(ctx);
    g->s = state;
    hwb_status st = open_group(ctx, g, id, rank, size);
    if (st == HWB_OK) *comm = g;
    else close_group(g, true);
    return st;
}

/* ---- sums ------------------------------------------------------------------------------ */

static hwb_status room_for(hwb_ctx *ctx, group *g, size_t bytes) {
    if (bytes <= g->bytes) return HWB_OK;
    hwb__cuda_mem_free(g->s, g->buffer);
    g->bytes = 0;
    if (!(g->buffer = hwb__cuda_mem_alloc(ctx, g->s, bytes))) return HWB_ENOMEM;
    g->bytes = bytes;
    return hwb__cuda_sync(ctx, g->s); /* the block's last user was another stream */
}

/* data[n] on the device, in place. */
static hwb_status sum_there(hwb_ctx *ctx, void *comm, hwb_dtype dtype, int64_t n, void *data,
                            hwb_status (*going_on)(hwb_ctx *ctx)) {
    group *g = comm;
    const ncclDataType_t type = dtype == HWB_F64 ? ncclDouble : ncclFloat;
    if (n == 0) return HWB_OK;
    HWB_CUDA_TRY(ctx, cudaSetDevice(g->s->index));
    HWB_TRY(check(ctx, nccl.ncclReduce(data, data, (size_t)n, type, ncclSum, 0, g->comm, g->stream),
                  "ncclReduce"));
    HWB_TRY(settle(ctx, g, going_on));
    HWB_TRY(check(ctx, nccl.ncclBroadcast(data, data, (size_t)n, type, 0, g->comm, g->stream),
                  "ncclBroadcast"));
    HWB_TRY(settle(ctx, g, going_on));
    return finish(ctx, g, going_on);
}

static hwb_status sum(hwb_ctx *ctx, void *comm, hwb_dtype dtype, int64_t n, void *data,
                      hwb_status (*going_on)(hwb_ctx *ctx)) {
    group *g = comm;
    const size_t bytes = (size_t)n * hwb__cuda_size(dtype);
    if (n == 0) return HWB_OK;
    HWB_CUDA_TRY(ctx, cudaSetDevice(g->s->index));
    HWB_TRY(room_for(ctx, g, bytes));
    HWB_CUDA_TRY(ctx, cudaMemcpyAsync(g->buffer, data, bytes, cudaMemcpyHostToDevice, g->stream));
    /* it ends when all is there: a copy to pageable memory would wait unasked */
    HWB_TRY(sum_there(ctx, comm, dtype, n, g->buffer, going_on));
    HWB_CUDA_TRY(ctx, cudaMemcpyAsync(data, g->buffer, bytes, cudaMemcpyDeviceToHost, g->stream));
    return hwb__cuda_check(ctx, cudaStreamSynchronize(g->stream), "a sum over ranks");
}

const hwb_device_comm hwb__cuda_comm = {.name = "nccl",
                                        .id_bytes = sizeof(ncclUniqueId),
                                        .make_id = make_id,
                                        .open = open_comm,
                                        .sum = sum,
                                        .sum_there = sum_there,
                                        .close = close_group};
