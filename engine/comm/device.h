/*
 * device.h: the slot in which a device offers sums over ranks by its own network
 * (NCCL over NVLink for CUDA).
 *
 * It needs no launcher of its own: rank 0 makes an id, the open communicator hands
 * it to every rank, and each rank opens with it (hwb_comm_attach_device).  From then
 * on hwb_comm_sum gives it the big buffers; the small ones, and all else, stay with
 * the host, where a call costs less.  A backend plug-in fills in this table
 * (`hwb_backend.comm`) and needs nothing else of this folder.
 */
#ifndef HWB_COMM_DEVICE_H
#define HWB_COMM_DEVICE_H

#include "tensor/tensor.h"

typedef struct hwb_device_comm {
    const char *name; /* "nccl" */
    size_t id_bytes;  /* at most HWB_DEVICE_COMM_ID; ncclUniqueId: 128 */
    hwb_status (*make_id)(hwb_ctx *ctx, void *device_state, void *id);
    /* Called on every rank, at the same time. */
    hwb_status (*open)(hwb_ctx *ctx, void *device_state, void **comm, const void *id, int rank,
                       int size);
    /* data[n], float32 or float64 in host memory, becomes its sum over the ranks, the
     * same bits on each; the copies to the device and back are its own.  While it waits it
     * asks going_on now and then, and gives up with that status when it is none of
     * HWB_OK: a rank is gone, or the user wants to stop. */
    hwb_status (*sum)(hwb_ctx *ctx, void *comm, hwb_dtype dtype, int64_t n, void *data,
                      hwb_status (*going_on)(hwb_ctx *ctx));
    /* The same for data[n] in the device's memory, which nothing writes to meanwhile; may
     * be NULL. */
    hwb_status (*sum_there)(hwb_ctx *ctx, void *comm, hwb_dtype dtype, int64_t n, void *data,
                            hwb_status (*going_on)(hwb_ctx *ctx));
    void (*close)(void *comm, bool broken); /* broken: without waiting for other ranks */
} hwb_device_comm;

enum { HWB_DEVICE_COMM_ID = 256 };

#endif
