/*
 * comm.h: several processes ("ranks") that do one computation together.
 *
 *     HWB_TRY(hwb_comm_open(ctx, "mpi"));            -- once, after hwb_ctx_new
 *     hwb_comm_place here = hwb_comm_where(ctx);     -- here.rank of here.size
 *     HWB_TRY(hwb_comm_sum(ctx, HWB_F32, n, g));     -- g[n] = its sum over the ranks
 *
 * A context that opened nothing is alone: "self", rank 0 of 1, for which every
 * call here returns at once.  "mpi" is a plug-in, libhwb_mpi.so, found as other
 * plug-ins are (base/plugin.c).
 *
 * All ranks make the same calls in the same order.  A sum adds the ranks'
 * numbers in the order of the ranks, in double, at one place for each element:
 * the result is the same bit for bit on every rank and in every run (a device's own
 * network, device.h, adds in an order of its own, the same on every rank).  Every
 * message says which call it belongs to, so ranks that have come apart get an
 * error and not each other's numbers.
 *
 * A rank that fails says so (hwb_comm_end): the others' present or next call
 * returns its status with "rank 2: ..." as the message.  Waiting is interruptible.
 */
#ifndef HWB_COMM_H
#define HWB_COMM_H

#include "comm/device.h"
#include "comm/transport.h"
#include "tensor/tensor.h"

/* Replaces what was open on ctx.  HWB_EDEVICE with the reason when it is absent. */
HWB_API hwb_status hwb_comm_open(hwb_ctx *ctx, const char *name);
/* The same over a transport of the caller's; `argument` goes to its open. */
HWB_API hwb_status hwb_comm_open_over(hwb_ctx *ctx, const hwb_transport *transport, void *argument);

/* Could `name` be opened?  What it is ("Open MPI v4.1.4, ..."); starts nothing. */
HWB_API hwb_status hwb_comm_probe(hwb_ctx *ctx, const char *name, char *text, size_t size);

HWB_API hwb_comm_place hwb_comm_where(const hwb_ctx *ctx); /* can't fail */
HWB_API const char *hwb_comm_name(const hwb_ctx *ctx);     /* "self", "mpi"; borrowed */
HWB_API const char *hwb_comm_library(const hwb_ctx *ctx);  /* "Open MPI v4.1.4, ..." or "" */

/* Sums of many numbers go over the device's network from now on.  All ranks call it;
 * alone it does nothing.  The table and device_state must live as long as ctx. */
HWB_API hwb_status hwb_comm_attach_device(hwb_ctx *ctx, const hwb_device_comm *device,
                                          void *device_state);

/* data[n] = sum over the ranks.  float32 or float64 in host memory. */
HWB_API hwb_status hwb_comm_sum(hwb_ctx *ctx, hwb_dtype dtype, int64_t n, void *data);
/* A dense float32 or float64 tensor in place. */
HWB_API hwb_status hwb_comm_sum_tensor(hwb_ctx *ctx, hwb_tensor *t);
/* The same in the memory of the attached device, by its own network and without copies to
 * the host; HWB_EDEVICE where it cannot (hwb_comm_reaches). */
HWB_API bool hwb_comm_reaches(const hwb_ctx *ctx, const void *device_state);
HWB_API hwb_status hwb_comm_sum_there(hwb_ctx *ctx, hwb_dtype dtype, int64_t n, void *data);
/* The next exchange carries `mark`: where the ranks' marks differ it fails.  So what must
 * be the same on all ranks (weights, vectors) is known to be.  0 = nothing to compare. */
HWB_API void hwb_comm_mark(hwb_ctx *ctx, uint64_t mark);
/* `mark`, changed by text and by at most `samples` elements of t, evenly spaced, bit for
 * bit; either may be NULL.  Never 0; can't fail. */
HWB_API uint64_t hwb_comm_mark_of(uint64_t mark, const char *text, const hwb_tensor *t,
                                  int64_t samples);

/* data[bytes] of `root` to everybody. */
HWB_API hwb_status hwb_comm_broadcast(hwb_ctx *ctx, int root, size_t bytes, void *data);
/* Returns when every rank is here. */
HWB_API hwb_status hwb_comm_barrier(hwb_ctx *ctx);

/* The part of n things that rank r of `size` takes: first <= i < first + count.
 * Parts differ by one at most and lie in the order of the ranks. */
HWB_API void hwb_comm_part(hwb_comm_place place, int64_t n, int64_t *first, int64_t *count);

/* What was exchanged since it was opened; all 0 when alone. */
typedef struct hwb_comm_stats {
    int64_t calls, bytes; /* bytes: of the callers' buffers */
    double seconds;       /* spent waiting for and moving them */
} hwb_comm_stats;
HWB_API hwb_comm_stats hwb_comm_spent(const hwb_ctx *ctx);

/* ---- a rank's end -------------------------------------------------------------- */

/* How a rank ended.  Its own failure, or the one of another rank that reached it. */
typedef struct hwb_comm_fate {
    bool known;    /* it has said so */
    bool passed;   /* it failed because another rank had */
    int exit_code; /* of its process */
    hwb_status status;
    char message[512];
} hwb_comm_fate;

/* Says how this rank ended and waits for the others: as long as they take when
 * `mine` is a success, else at most `patience` seconds, after which
 * hwb_comm_close kills those that are still there.  fates[size] says what became
 * of all (this rank's own included).  No exchange is possible afterwards. */
HWB_API void hwb_comm_end(hwb_ctx *ctx, const hwb_comm_fate *mine, double patience,
                          hwb_comm_fate *fates);
/* Did a call fail because another rank had failed?  Its exit code, else 0. */
HWB_API int hwb_comm_passed(const hwb_ctx *ctx);
/* Ends the connection.  exit_code other than 0 with ranks that have not ended:
 * they are killed (mpirun ends with that code).  The context is alone again. */
HWB_API void hwb_comm_close(hwb_ctx *ctx, int exit_code);

#endif
