/*
 * cuda_fault.c: indices out of range.
 *
 * A kernel that meets one leaves {place + 1, index, number of the kernel's source} in
 * three words of the device, the first to come of all since the last look (prelude:
 * f_fault), and goes on with zeros.  The words are fetched with every result; here they
 * become the message that the host backends give at once.
 */
#include "cuda_i.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hwb__cuda_source {
    char where[160]; /* "gather in embeddings" */
    int axis;        /* -1: an image's plane */
    int64_t rows;
};

static const char *name_of(hwb_op op) {
    switch (op) {
    case HWB_OP_GATHER: return "gather";
    case HWB_OP_SCATTER_ADD: return "scatter_add";
    case HWB_OP_POOL_GATHER: return "pool_gather";
    default: return "pool_scatter";
    }
}

/* Programs of one model share their sources: the same place is entered once. */
hwb_status hwb__cuda_fault_source(hwb_ctx *ctx, hwb__cuda *s, const hwb_kdesc *d, int64_t rows,
                                  int64_t *id) {
    const bool plane = d->op != HWB_OP_GATHER && d->op != HWB_OP_SCATTER_ADD;
    const char *scope = d->scope ? d->scope : "";
    hwb__cuda_source fresh;
    memset(&fresh, 0, sizeof(fresh));
    snprintf(fresh.where, sizeof(fresh.where), "%s%s%s", name_of(d->op), *scope ? " in " : "",
             scope);
    fresh.axis = plane ? -1 : (int)d->attrs.axis;
    fresh.rows = rows;
    for (int i = 0; i < s->n_sources; i++)
        if (memcmp(&s->sources[i], &fresh, sizeof(fresh)) == 0) {
            *id = i;
            return HWB_OK;
        }
    hwb__cuda_source *all = realloc(s->sources, ((size_t)s->n_sources + 1) * sizeof(*all));
    if (!all) return hwb__cuda_oom(ctx);
    s->sources = all;
    all[s->n_sources] = fresh;
    *id = s->n_sources++;
    return HWB_OK;
}

hwb_status hwb__cuda_fault_check(hwb_ctx *ctx, hwb__cuda *s) {
    const long long place = s->host_fault[0], index = s->host_fault[1] + 1;
    const int64_t source = s->host_fault[2];
    if (!place) return HWB_OK;
    const size_t bytes = HWB__CUDA_FAULT_WORDS * sizeof(*s->fault);
    memset(s->host_fault, 0, bytes);
    HWB_CUDA_TRY(ctx, cudaMemsetAsync(s->fault, 0, bytes, s->stream));
    if (source < 0 || source >= s->n_sources)
        return hwb__cuda_fail(ctx, HWB_EINTERNAL, "cuda: index %lld at place %lld of no kernel",
                              index, place);
    const hwb__cuda_source *from = &s->sources[source];
    if (from->axis < 0)
        return hwb__cuda_fail(ctx, HWB_EARG,
                              "%s: index %lld at place %lld, but a plane has %lld pixels (all "
                              "counted from 1)",
                              from->where, index, place, (long long)from->rows);
    return hwb__cuda_fail(ctx, HWB_EARG,
                          "%s: index %lld at place %lld, but dim %d has %lld rows (all counted "
                          "from 1)",
                          from->where, index, place, from->axis + 1, (long long)from->rows);
}
