/*
 * cpu_conv_pair.c: a sum of two convolutions as two kernels, of which the second
 * adds to the first's result; for what no kernel does at once.
 */
#include "backend/cpu/cpu_i.h"

#include <stdio.h>

typedef struct pair_kernel {
    hwb__cpu_kernel base;
    hwb__cpu_kernel *first, *second;
    bool add;
} pair_kernel;

static hwb_status pair_run(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                           const uint64_t *versions, void *const *out) {
    const pair_kernel *k = (const pair_kernel *)kernel;
    const void *first[3] = {in[0], in[1], k->add ? in[4] : NULL};
    const void *second[3] = {in[2], in[3], out[0]};
    uint64_t changes[3] = {0};
    HWB_TRY(k->first->run(ctx, k->first, first, versions, out));
    for (int i = 0; versions && i < 2; i++) changes[i] = versions[2 + i];
    return k->second->run(ctx, k->second, second, versions ? changes : NULL, out);
}

static void pair_free(hwb__cpu_kernel *kernel) {
    pair_kernel *k = (pair_kernel *)kernel;
    if (k->first) k->first->free(k->first);
    if (k->second) k->second->free(k->second);
    hwb_free(k);
}

hwb_status hwb__cpu_conv_pair_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                      const hwb_kdesc *desc) {
    hwb__cpu_kernel *base;
    HWB_TRY(hwb__cpu_kernel_new(ctx, state, &base, sizeof(pair_kernel), ""));
    pair_kernel *k = (pair_kernel *)base;
    base->run = pair_run;
    base->free = pair_free;
    k->add = desc->n_in == 5;
    hwb_vdesc in[3] = {desc->in[0], desc->in[1], desc->out[0]};
    hwb_kdesc one = *desc;
    one.in = in;
    one.n_in = k->add ? 3 : 2;
    one.stable = desc->stable & 3u;
    hwb_status status = hwb__cpu_conv_prepare(ctx, state, &k->first, &one);
    for (int i = 0; i < 2; i++) in[i] = desc->in[2 + i];
    one.n_in = 3;
    one.stable = desc->stable >> 2 & 3u;
    if (status == HWB_OK) status = hwb__cpu_conv_prepare(ctx, state, &k->second, &one);
    if (status == HWB_OK) {
        snprintf(base->name, sizeof base->name, "%.50s twice", k->second->name);
        *out = base;
    } else {
        pair_free(base);
    }
    return status;
}
