/*
 * device.h: the slot in which a backend offers sums over ranks of buffers in its
 * own memory (NCCL for CUDA).
 *
 * It needs no launcher of its own: rank 0 makes an id, the host communicator
 * hands it to every rank (hwb_comm_open_device), and each rank opens with it.
 */
#ifndef HWB_COMM_DEVICE_H
#define HWB_COMM_DEVICE_H

#include "tensor/tensor.h"

typedef struct hwb_device_comm {
    size_t id_bytes; /* ncclUniqueId: 128 */
    hwb_status (*make_id)(hwb_ctx *ctx, void *state, void *id);
    /* state: of the opened backend.  Called on every rank, at the same time. */
    hwb_status (*open)(hwb_ctx *ctx, void *state, void **comm, const void *id, int rank, int size);
    /* buffer[n] on the device = its sum over the ranks, after what was enqueued before.
     * Waits where it must, and gives up with HWB_EPEER when `gone` says that a rank is. */
    hwb_status (*sum)(hwb_ctx *ctx, void *comm, hwb_dtype dtype, void *buffer, int64_t n,
                      bool (*gone)(void *user), void *user);
    void (*close)(void *comm, bool broken); /* broken: do not wait for other ranks */
} hwb_device_comm;

#endif
