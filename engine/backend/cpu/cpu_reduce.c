/*
 * cpu_reduce.c: MAX over a run of axes and ARGMAX over one, on x[outer, n, inner]
 * (sums are fused groups).  A NaN counts as the largest.  ARGMAX gives the first
 * of equals.
 */
#include "backend/cpu/cpu_i.h"

#include <string.h>

typedef struct reduce_kernel {
    hwb__cpu_kernel base;
    hwb_dtype dtype;
    bool index; /* ARGMAX */
    int64_t outer, n, inner;
    bool parallel;
} reduce_kernel;

enum { LANES = 64 };

#define T     float
#define FN(f) f##_f32
#include "backend/cpu/cpu_reduce_loops.h"
#undef T
#undef FN
#define T     double
#define FN(f) f##_f64
#include "backend/cpu/cpu_reduce_loops.h"
#undef T
#undef FN

static hwb_status reduce_run(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                             const uint64_t *versions, void *const *out) {
    const reduce_kernel *k = (const reduce_kernel *)kernel;
    bool narrow = k->dtype == HWB_F32;
    int64_t parts = (k->inner + LANES - 1) / LANES;
    (void)ctx;
    (void)versions;
#pragma omp parallel for schedule(static) if (k->parallel)
    for (int64_t u = 0; u < k->outer * parts; u++) {
        int64_t o = u / parts, j = u % parts * LANES;
        int64_t width = k->inner - j < LANES ? k->inner - j : LANES;
        int64_t from = o * k->n * k->inner + j, to = o * k->inner + j;
        if (k->index && narrow)
            argmax_f32((const float *)in[0] + from, k->n, k->inner, width, (int64_t *)out[0] + to);
        else if (k->index)
            argmax_f64((const double *)in[0] + from, k->n, k->inner, width, (int64_t *)out[0] + to);
        else if (narrow)
            max_f32((const float *)in[0] + from, k->n, k->inner, width, (float *)out[0] + to);
        else max_f64((const double *)in[0] + from, k->n, k->inner, width, (double *)out[0] + to);
    }
    return HWB_OK;
}

/* outer, n, inner of the axes; false when they are no single run. */
static bool split_axes(const hwb_kdesc *desc, int64_t size[3]) {
    const hwb_shape *x = &desc->in[0].shape;
    uint32_t axes = desc->op == HWB_OP_ARGMAX ? 1u << desc->attrs.axis : desc->attrs.axes;
    int part = 0;
    size[0] = size[1] = size[2] = 1;
    for (int d = 0; d < x->ndim; d++) {
        if (x->dim[d] == 1) continue;
        bool over = axes >> d & 1u;
        if (over && part == 2) return false;
        if (over) part = 1;
        else if (part == 1) part = 2;
        size[part] *= x->dim[d];
    }
    return true;
}

bool hwb__cpu_reduce_supports(const hwb_kdesc *desc) {
    int64_t size[3];
    return hwb_dtype_is_float(desc->in[0].dtype) && hwb_shape_numel(&desc->in[0].shape) > 0 &&
           split_axes(desc, size);
}

static void reduce_free(hwb__cpu_kernel *kernel) {
    hwb_free(kernel);
}

hwb_status hwb__cpu_reduce_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                   const hwb_kdesc *desc) {
    hwb__cpu_kernel *base;
    int64_t size[3];
    HWB_TRY(hwb__cpu_kernel_new(ctx, state, &base, sizeof(reduce_kernel), "max"));
    reduce_kernel *k = (reduce_kernel *)base;
    base->run = reduce_run;
    base->free = reduce_free;
    split_axes(desc, size);
    k->dtype = desc->in[0].dtype;
    k->index = desc->op == HWB_OP_ARGMAX;
    k->outer = size[0], k->n = size[1], k->inner = size[2];
    k->parallel = base->threads > 1 && hwb_shape_numel(&desc->in[0].shape) >= HWB_CPU_SERIAL;
    *out = base;
    return HWB_OK;
}
