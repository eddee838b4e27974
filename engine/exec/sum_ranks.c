/*
 * sum_ranks.c: sums over ranks (comm/comm.h) of what lies in a device's memory, and
 * the allreduce nodes of programs, which no backend has a kernel for.
 *
 * On a device with memory of its own the sum is made there where the device has a network
 * that reaches it (NCCL), else on the host.  A stage with such a node is not recorded:
 * while it waits for the other ranks it has to notice when one of them is gone.
 */
#include "exec/exec_i.h"

#include "comm/comm.h"

#include <string.h>

static hwb_status by_host(hwb_ctx *ctx, hwb_device *d, hwb_dtype dtype, int64_t n, void *data) {
    size_t bytes = (size_t)n * hwb_dtype_size(dtype);
    void *copy = hwb_alloc(ctx, bytes);
    if (!copy) return HWB_ENOMEM;
    hwb_status st = d->backend->mem_get(ctx, d->state, copy, data, bytes);
    if (st == HWB_OK) st = hwb_comm_sum(ctx, dtype, n, copy);
    if (st == HWB_OK) st = d->backend->mem_put(ctx, d->state, data, copy, bytes);
    hwb_free(copy);
    return st;
}

hwb_status hwb__device_sum_ranks(hwb_ctx *ctx, hwb_device *d, hwb_dtype dtype, int64_t n,
                                 void *data) {
    if (d->backend->host) return hwb_comm_sum(ctx, dtype, n, data);
    if (hwb_comm_where(ctx).size == 1) return HWB_OK;
    if (!hwb_comm_reaches(ctx, d->state)) return by_host(ctx, d, dtype, n, data);
    HWB_TRY(d->backend->sync(ctx, d->state)); /* the network has a queue of its own */
    return hwb_comm_sum_there(ctx, dtype, n, data);
}

/* Which of the program's sums step k is, and of which layer: what ranks compare. */
static uint64_t mark_of(const hwb_program *p, int k) {
    uint64_t mark = 1;
    for (int i = 0; i < k; i++) mark += p->plan->steps[i].op == HWB_OP_ALLREDUCE;
    return hwb_comm_mark_of(mark, hwb_graph_scope(p->graph, p->plan->steps[k].node), NULL, 0);
}

hwb_status hwb__run_allreduce(hwb_ctx *ctx, hwb_program *p, int k) {
    const hwb__kernel_slot *s = &p->slots[k];
    const hwb_vdesc *d = &p->plan->steps[k].out_desc[0];
    int64_t n = hwb_shape_numel(&d->shape);
    size_t bytes = (size_t)n * hwb_dtype_size(d->dtype);
    int ranks = p->graph->nodes[p->plan->steps[k].node]->attrs.groups;
    if (ranks != hwb_comm_where(ctx).size)
        return hwb_fail(ctx, HWB_EARG, "a program for %d ranks runs on %d", ranks,
                        hwb_comm_where(ctx).size);
    if (p->device->backend->host) memcpy(s->out[0], s->in[0], bytes);
    else HWB_TRY(p->device->backend->mem_copy(ctx, p->device->state, s->out[0], s->in[0], bytes));
    if (p->alone) return HWB_OK;
    hwb_comm_mark(ctx, mark_of(p, k));
    return hwb__device_sum_ranks(ctx, p->device, d->dtype, n, s->out[0]);
}

bool hwb__stage_exchanges(const hwb_program *p, int stage) {
    for (int k = 0; k < p->plan->n_steps; k++)
        if (p->plan->steps[k].stage == stage && p->plan->steps[k].op == HWB_OP_ALLREDUCE)
            return true;
    return false;
}
