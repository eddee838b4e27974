/*
 * there.c: memory and numbers of vectors on a device.
 *
 * A slot is 16 bytes, of which the first 8 are its number: kernels may want operands
 * at such multiples (hwb_backend.align).
 */
#include "exec/there_kernel_i.h"

#include <stdlib.h>
#include <string.h>

hwb_status hwb__there_new(hwb_ctx *ctx, hwb__there **out, hwb_device *device) {
    hwb__there *t = calloc(1, sizeof *t);
    if (!t) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for vectors on a device");
    t->ctx = ctx;
    t->device = device;
    *out = t;
    return HWB_OK;
}

void hwb__there_free(hwb__there *t) {
    if (!t) return;
    for (int i = 0; i < t->n_kernels; i++)
        t->device->backend->kernel_free(t->device->state, t->kernels[i].kernel);
    free(t->kernels);
    hwb__there_release(t, t->slots);
    hwb__there_release(t, t->words);
    hwb__there_release(t, t->powers);
    free(t);
}

hwb_status hwb__there_alloc(hwb__there *t, void **out, int64_t bytes) {
    *out = t->device->backend->mem_alloc(t->ctx, t->device->state,
                                         ((size_t)bytes + 63) / 64 * 64 + 64);
    return *out ? HWB_OK : HWB_ENOMEM;
}

void hwb__there_release(hwb__there *t, void *p) {
    if (p) t->device->backend->mem_free(t->device->state, p);
}

hwb_status hwb__there_put(hwb__there *t, void *to, const void *host, int64_t bytes) {
    return t->device->backend->mem_put(t->ctx, t->device->state, to, host, (size_t)bytes);
}

hwb_status hwb__there_get(hwb__there *t, void *host, const void *from, int64_t bytes) {
    return t->device->backend->mem_get(t->ctx, t->device->state, host, from, (size_t)bytes);
}

hwb_status hwb__there_copy(hwb__there *t, void *to, const void *from, int64_t bytes) {
    return t->device->backend->mem_copy(t->ctx, t->device->state, to, from, (size_t)bytes);
}

hwb_status hwb__there_part(hwb__there *t, const void *v, int64_t offset, int64_t bytes,
                           int64_t room, void **copy, void **part) {
    size_t align = t->device->backend->align;
    void *at = (char *)(uintptr_t)v + offset;
    if (offset == 0 || (align && (size_t)offset % align == 0)) {
        *part = at;
        return HWB_OK;
    }
    if (!*copy) HWB_TRY(hwb__there_alloc(t, copy, room));
    *part = *copy;
    return hwb__there_copy(t, *copy, at, bytes);
}

/* ---- numbers ------------------------------------------------------------------------- */

hwb_status hwb__there_slots(hwb__there *t, int64_t n) {
    if (n <= t->n_slots) return HWB_OK;
    int64_t room = n < 64 ? 64 : 2 * n;
    hwb__there_release(t, t->slots);
    t->slots = NULL;
    t->n_slots = 0;
    HWB_TRY(hwb__there_alloc(t, &t->slots, room * HWB__SLOT_BYTES));
    t->n_slots = room;
    return HWB_OK;
}

void *hwb__there_slot(const hwb__there *t, int64_t slot) {
    return (char *)t->slots + slot * HWB__SLOT_BYTES;
}

/* The numbers with the gaps between them. */
static hwb_status spaced(hwb__there *t, int64_t n, double **out) {
    *out = hwb_calloc(t->ctx, (size_t)(n * HWB__SLOT_BYTES));
    return *out ? HWB_OK : HWB_ENOMEM;
}

hwb_status hwb__there_set(hwb__there *t, int64_t slot, int64_t n, const double *x) {
    double *wide = NULL;
    if (n == 0) return HWB_OK;
    HWB_TRY(spaced(t, n, &wide));
    for (int64_t i = 0; i < n; i++) wide[2 * i] = x[i];
    hwb_status st = hwb__there_put(t, hwb__there_slot(t, slot), wide, n * HWB__SLOT_BYTES);
    hwb_free(wide);
    return st;
}

hwb_status hwb__there_fetch(hwb__there *t, int64_t slot, int64_t n, double *x) {
    double *wide = NULL;
    if (n == 0) return HWB_OK;
    HWB_TRY(spaced(t, n, &wide));
    hwb_status st = hwb__there_get(t, wide, hwb__there_slot(t, slot), n * HWB__SLOT_BYTES);
    for (int64_t i = 0; st == HWB_OK && i < n; i++) x[i] = wide[2 * i];
    hwb_free(wide);
    return st;
}

/* ---- kernels ----------------------------------------------------------------------------- */

static hwb_status prepare(hwb__there *t, hwb__there_kernel *k, const hwb__there_group *g) {
    const hwb_backend *b = t->device->backend;
    const hwb_fused f = {.dtype = HWB_F64,
                         .space = g->space,
                         .n_in = g->n_in,
                         .n_instr = g->n_instr,
                         .n_out = g->n_out,
                         .instr = g->instr,
                         .out = g->out};
    const hwb_kdesc d = {.op = HWB_OP_FUSED,
                         .n_in = g->n_in,
                         .n_out = g->n_out,
                         .in = g->in_desc,
                         .out = g->out_desc,
                         .fused = &f,
                         .exact = true,
                         .scope = ""};
    if (!b->supports(t->device->state, &d))
        return hwb_fail(t->ctx, HWB_EUNSUPPORTED, "%s has no kernel for vectors of solvers",
                        b->name);
    return b->prepare(t->ctx, t->device->state, &k->kernel, &d);
}

hwb_status hwb__there_run(hwb__there *t, const hwb__there_key *key, const hwb__there_group *g) {
    static const uint64_t versions[HWB_FUSED_MAX_IN];
    const hwb_backend *b = t->device->backend;
    int i = 0;
    while (i < t->n_kernels && memcmp(&t->kernels[i].key, key, sizeof *key) != 0) i++;
    if (i == t->n_kernels) {
        hwb__there_kernel made, *all;
        memcpy(&made.key, key, sizeof *key);
        all = realloc(t->kernels, (size_t)(i + 1) * sizeof *all);
        if (!all) return hwb_fail(t->ctx, HWB_ENOMEM, "out of memory for vectors on a device");
        t->kernels = all;
        HWB_TRY(prepare(t, &made, g));
        t->kernels[t->n_kernels++] = made;
    }
    return b->run(t->ctx, t->device->state, t->kernels[i].kernel, g->in, versions, g->to);
}
