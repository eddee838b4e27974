/*
 * nccl.c: the libnccl stand-in: reductions and broadcasts between processes of one
 * machine, through shared memory.
 *
 *   head: ranks that joined, arrivals, aborted | slot of rank 0 | slot of rank 1 | ...
 *
 * A collective goes slot by slot of the buffer: every rank that sends writes its
 * slot, all meet, those that receive read, all meet again.  A stream tries an
 * operation and comes back to it (emu_enqueue_attempts), so a rank that never comes
 * leaves the others waiting as NCCL's kernels would, and ncclCommAbort ends that.
 * Like the real one, a communicator that is not blocking is "in progress" until all
 * ranks have joined.
 */
#define _GNU_SOURCE
#include "emu.h"

#include <fcntl.h>
#include <nccl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { SLOT = 256 * 1024, HEAD = 4096, COMM_MAGIC = 0x4e43434c };

typedef struct shared {
    atomic_int joined, aborted;
    atomic_ullong arrivals;
} shared;

struct ncclComm {
    unsigned magic;
    int rank, size;
    shared *head;
    size_t bytes;
    char name[64];
    unsigned long long meetings; /* how many of them this rank has asked for */
    bool broken;
};

typedef struct collective {
    struct ncclComm *comm;
    const char *from;
    char *to;
    size_t bytes, at; /* of the buffer; done */
    size_t element;
    int root;
    bool reduces, meeting, sent;
    unsigned long long meet_at; /* arrivals that end the meeting under way */
} collective;

static struct ncclComm *comm_of(ncclComm_t c) {
    if (!c || c->magic != COMM_MAGIC) emu_fatal("an NCCL communicator that was destroyed");
    return c;
}

static char *slot(const struct ncclComm *c, int rank) {
    return (char *)c->head + HEAD + (size_t)rank * SLOT;
}

/* ---- collectives ---------------------------------------------------------------------- */

static void send_part(const collective *q, size_t n) {
    if (q->reduces || q->comm->rank == q->root)
        memcpy(slot(q->comm, q->comm->rank), q->from + q->at, n);
}

/* In the order of the ranks, in double. */
static void add_part(const collective *q, size_t n) {
    for (size_t i = 0; i < n / q->element; i++) {
        double sum = 0;
        for (int r = 0; r < q->comm->size; r++)
            sum += q->element == 4 ? (double)((float *)(void *)slot(q->comm, r))[i]
                                   : ((double *)(void *)slot(q->comm, r))[i];
        if (q->element == 4) ((float *)(void *)(q->to + q->at))[i] = (float)sum;
        else ((double *)(void *)(q->to + q->at))[i] = sum;
    }
}

static void receive_part(const collective *q, size_t n) {
    if (!q->reduces) memcpy(q->to + q->at, slot(q->comm, q->root), n);
    else if (q->comm->rank == q->root) add_part(q, n);
}

/* True when all ranks have come; arrives at the first call. */
static bool meet(collective *q) {
    if (!q->meeting) {
        q->meeting = true;
        q->meet_at = ++q->comm->meetings * (unsigned long long)q->comm->size;
        atomic_fetch_add(&q->comm->head->arrivals, 1);
    }
    if (atomic_load(&q->comm->head->arrivals) < q->meet_at) return false;
    q->meeting = false;
    return true;
}

static bool attempt(void *args) {
    collective *q = args;
    if (q->comm->broken || atomic_load(&q->comm->head->aborted)) return q->comm->broken;
    emu_memory_check(q->from, q->bytes, "NCCL: sent");
    emu_memory_check(q->to, q->bytes, "NCCL: received");
    while (q->at < q->bytes) {
        size_t n = q->bytes - q->at < SLOT ? q->bytes - q->at : SLOT;
        if (!q->sent) {
            if (!q->meeting) send_part(q, n);
            if (!meet(q)) return false;
            receive_part(q, n);
            q->sent = true;
        }
        if (!meet(q)) return false;
        q->sent = false;
        q->at += n;
    }
    return true;
}

static ncclResult_t collect(ncclComm_t comm, cudaStream_t stream, const char *what,
                            const void *from, void *to, size_t count, ncclDataType_t type, int root,
                            bool reduces) {
    struct ncclComm *c = comm_of(comm);
    if ((type != ncclFloat && type != ncclDouble) || root < 0 || root >= c->size)
        return ncclInvalidArgument;
    if (c->broken || atomic_load(&c->head->joined) < c->size) return ncclInvalidUsage;
    size_t element = type == ncclFloat ? 4 : 8;
    collective q = {.comm = c,
                    .from = from,
                    .to = to,
                    .bytes = count * element,
                    .element = element,
                    .root = root,
                    .reduces = reduces};
    emu_lock();
    cudaError_t e = emu_enqueue_attempts(stream, what, attempt, &q, sizeof q);
    emu_unlock();
    return e == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

EMU_API ncclResult_t ncclReduce(const void *from, void *to, size_t count, ncclDataType_t type,
                                ncclRedOp_t op, int root, ncclComm_t comm, cudaStream_t stream) {
    if (op != ncclSum) return ncclInvalidArgument;
    return collect(comm, stream, "ncclReduce", from, to, count, type, root, true);
}

EMU_API ncclResult_t ncclBroadcast(const void *from, void *to, size_t count, ncclDataType_t type,
                                   int root, ncclComm_t comm, cudaStream_t stream) {
    return collect(comm, stream, "ncclBroadcast", from, to, count, type, root, false);
}

/* ---- communicators ------------------------------------------------------------------------- */

EMU_API ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    memset(id, 0, sizeof *id);
    snprintf(id->internal, sizeof id->internal, "/hwb-emu-nccl-%ld-%ld", (long)getpid(),
             now.tv_nsec);
    return ncclSuccess;
}

static bool open_shared(struct ncclComm *c) {
    c->bytes = HEAD + (size_t)c->size * SLOT;
    int fd = shm_open(c->name, O_RDWR | O_CREAT, 0600);
    if (fd < 0) return false;
    bool ok = ftruncate(fd, (off_t)c->bytes) == 0;
    c->head = ok ? mmap(NULL, c->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    close(fd);
    return c->head != MAP_FAILED;
}

EMU_API ncclResult_t ncclCommInitRankConfig(ncclComm_t *out, int size, ncclUniqueId id, int rank,
                                            ncclConfig_t *config) {
    *out = NULL;
    if (size < 1 || rank < 0 || rank >= size) return ncclInvalidArgument;
    if (!config || config->blocking != 0)
        emu_fatal("NCCL: only communicators that do not block are emulated");
    struct ncclComm *c = emu_fail_now() ? NULL : calloc(1, sizeof *c);
    if (!c) return ncclSystemError;
    c->magic = COMM_MAGIC;
    c->rank = rank;
    c->size = size;
    snprintf(c->name, sizeof c->name, "%.60s", id.internal);
    if (!open_shared(c)) {
        free(c);
        return ncclSystemError;
    }
    atomic_fetch_add(&c->head->joined, 1);
    emu_handle_count("ncclComm", 1);
    *out = c;
    return ncclInProgress;
}

EMU_API ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *now) {
    struct ncclComm *c = comm_of(comm);
    if (atomic_load(&c->head->joined) == c->size) shm_unlink(c->name); /* nobody else will come */
    *now = atomic_load(&c->head->aborted)            ? ncclRemoteError
           : atomic_load(&c->head->joined) < c->size ? ncclInProgress
                                                     : ncclSuccess;
    return ncclSuccess;
}

/* The struct and the mapping stay: work that is queued may still look at them. */
static ncclResult_t leave(ncclComm_t comm, bool broken) {
    struct ncclComm *c = comm_of(comm);
    if (broken) {
        c->broken = true;
        atomic_store(&c->head->aborted, 1);
    }
    shm_unlink(c->name);
    c->magic = 0;
    emu_keep(c);
    emu_handle_count("ncclComm", -1);
    return ncclSuccess;
}

EMU_API ncclResult_t ncclCommAbort(ncclComm_t comm) {
    return leave(comm, true);
}

EMU_API ncclResult_t ncclCommDestroy(ncclComm_t comm) {
    return leave(comm, false);
}

EMU_API const char *ncclGetErrorString(ncclResult_t e) {
    switch (e) {
    case ncclSuccess: return "no error";
    case ncclInvalidArgument: return "invalid argument";
    case ncclInvalidUsage: return "invalid usage";
    case ncclSystemError: return "unhandled system error";
    case ncclRemoteError: return "remote process exited or there was a network error";
    case ncclInProgress: return "NCCL operation in progress";
    default: return "unknown NCCL result";
    }
}
