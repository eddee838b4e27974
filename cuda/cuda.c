/*
 * cuda.c: the backend's table, and which family takes which operation.
 *
 * Never run on a GPU (see cuda_i.h).  A kernel description goes to the first
 * family that takes it; one that none takes is refused, which the engine reports
 * with the operation's name: nothing falls back to the host.
 */
#include "cuda_i.h"

#include <stdio.h>
#include <stdlib.h>

const hwb_host *hwb__cuda_host;

/* In the order of asking: cuDNN before the convolution by matrix products. */
static const hwb__cuda_family *const FAMILIES[] = {
    &hwb__cuda_fused,  &hwb__cuda_pointwise, &hwb__cuda_sum,       &hwb__cuda_extreme,
    &hwb__cuda_copy,   &hwb__cuda_data,      &hwb__cuda_index,     &hwb__cuda_pool_ops,
    &hwb__cuda_matmul, &hwb__cuda_conv,      &hwb__cuda_conv_gemm,
};
enum { N_FAMILIES = sizeof(FAMILIES) / sizeof(FAMILIES[0]) };

static bool supports(void *state, const hwb_kdesc *d) {
    (void)state;
    for (int i = 0; i < N_FAMILIES; i++)
        if (FAMILIES[i]->supports(d)) return true;
    return false;
}

/* A family may find in prepare that it cannot (cuDNN without a fitting algorithm):
 * it then answers HWB_EUNSUPPORTED and the next one is asked. */
static hwb_status prepare(hwb_ctx *ctx, void *state, hwb_kernel **out, const hwb_kdesc *d) {
    hwb__cuda *s = state;
    hwb_status st = hwb__cuda_fail(ctx, HWB_EUNSUPPORTED, "cuda: no kernel for this operation");
    HWB_CUDA_TRY(ctx, cudaSetDevice(s->index));
    for (int i = 0; i < N_FAMILIES && st == HWB_EUNSUPPORTED; i++)
        if (FAMILIES[i]->supports(d)) st = FAMILIES[i]->prepare(ctx, s, out, d);
    return st;
}

static hwb_status refresh(hwb_ctx *ctx, void *state, hwb_kernel *k, const void *const *in,
                          const uint64_t *versions) {
    if (!k->refresh) return HWB_OK;
    HWB_TRY(hwb__cuda_puts_send(ctx, state));
    return k->refresh(ctx, state, k, in, versions);
}

static hwb_status run(hwb_ctx *ctx, void *state, hwb_kernel *k, const void *const *in,
                      const uint64_t *versions, void *const *out) {
    hwb__cuda *s = state;
    HWB_CUDA_TRY(ctx, cudaSetDevice(s->index));
    HWB_TRY(hwb__cuda_puts_send(ctx, s));
    HWB_TRY(refresh(ctx, state, k, in, versions));
    return k->run(ctx, s, k, in, out);
}

static void kernel_free(void *state, hwb_kernel *k) {
    if (!k) return;
    if (k->free) k->free(state, k);
    free(k);
}

static const char *kernel_name(void *state, const hwb_kernel *k) {
    (void)state;
    return k->name;
}

void *hwb__cuda_kernel_new(size_t size, const char *name) {
    hwb_kernel *k = calloc(1, size);
    if (k) snprintf(k->name, sizeof(k->name), "%s", name);
    return k;
}

static const hwb_backend CUDA = {
    .abi = HWB_BACKEND_ABI,
    .name = "cuda",
    .channels_last = true,
    .fuses = true,
    .align = 16, /* packs of elements */
    .open = hwb__cuda_open,
    .close = hwb__cuda_close,
    .mem_alloc = hwb__cuda_mem_alloc,
    .mem_free = hwb__cuda_mem_free,
    .mem_put = hwb__cuda_mem_put,
    .mem_get = hwb__cuda_mem_get,
    .mem_copy = hwb__cuda_mem_copy,
    .sync = hwb__cuda_sync,
    .supports = supports,
    .prepare = prepare,
    .run = run,
    .kernel_free = kernel_free,
    .kernel_name = kernel_name,
    .configure = hwb__cuda_configure,
    .describe = hwb__cuda_describe,
    .refresh = refresh,
    .capture_begin = hwb__cuda_capture_begin,
    .capture_end = hwb__cuda_capture_end,
    .capture_run = hwb__cuda_capture_run,
    .capture_free = hwb__cuda_capture_free,
    .comm = &hwb__cuda_comm,
};

HWB_API const hwb_backend *hwb_backend_entry(uint32_t abi, const hwb_host *host);
HWB_API const hwb_backend *hwb_backend_entry(uint32_t abi, const hwb_host *host) {
    if (abi != HWB_BACKEND_ABI) return NULL;
    hwb__cuda_host = host;
    return &CUDA;
}
