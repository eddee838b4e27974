/*
 * cpu_fused_run.c: runs the plan of a fused group, item by item.
 *
 * Items go backwards: what the kernel before wrote last, and is still in cache, is
 * read first; the kernel after, which goes forwards, finds the same.
 */
#include "backend/cpu/cpu_fused_i.h"

#include <omp.h>
#include <string.h>

/* Tiles of one outer index in a row: memory is fetched in long stretches, and
 * what all outer indices share stays in the second-level cache. */
enum { STRETCH = 16 };

static void run_item(fused_worker *w, int64_t chunk, int64_t block) {
    const fused_kernel *k = w->k;
    int64_t o0 = chunk * k->chunk, o1 = o0 + k->chunk < k->outer ? o0 + k->chunk : k->outer;
    int64_t r0 = block * k->tiles * k->rows, r1 = r0 + k->tiles * k->rows;
    if (r1 > k->dim[k->t]) r1 = k->dim[k->t];
    for (int i = 0; i < k->n_out; i++) {
        const fused_out *o = &k->out[i];
        if (!o->reduce || o->direct) continue;
        int64_t n = (o->keep[k->t] ? r1 - r0 : 1) * o->kept_inner;
        for (int64_t outer = o0; outer < (o->outer_none ? o0 + 1 : o1); outer++)
            memset(hwb__fused_partial(w, o, outer, r0, block), 0, (size_t)n * sizeof(double));
    }
    for (int64_t from = r0; from < r1; from += STRETCH * k->rows) {
        int64_t end = from + STRETCH * k->rows < r1 ? from + STRETCH * k->rows : r1;
        for (int64_t outer = o0; outer < o1; outer++)
            for (int64_t row = from; row < end; row += k->rows)
                hwb__fused_tile(w, outer, row, row + k->rows < end ? k->rows : end - row, block);
    }
}

hwb_status hwb__fused_run(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                          const uint64_t *versions, void *const *out) {
    const fused_kernel *k = (const fused_kernel *)kernel;
    char *scratch = kernel->state->scratch;
    (void)ctx;
    (void)versions;
    int64_t items = k->n_chunks * k->n_blocks;
#pragma omp parallel num_threads(k->workers) if (k->workers > 1)
    {
        fused_worker w;
        hwb__fused_start(&w, k, in, out, scratch, omp_get_thread_num());
#pragma omp for schedule(static)
        for (int p = 0; p < k->workers; p++)
            for (int64_t i = items * (p + 1) / k->workers; i-- > items * p / k->workers;) {
                run_item(&w, i / k->n_blocks, i % k->n_blocks);
                if (k->stream) w.vec->stream_end();
            }
    }
    hwb__fused_finish(k, scratch, out);
    return HWB_OK;
}
