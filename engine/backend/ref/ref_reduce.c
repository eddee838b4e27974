/*
 * ref_reduce.c: sum and max over a set of axes, argmax over one.
 *     y[kept] = reduce over r of x[kept, r]
 * Every output is one sequential loop in row-major order of the reduced axes.
 */
#include "backend/ref/ref_i.h"

#include <math.h>

typedef struct reduction {
    hwb__ref_nest keep; /* operand 0: y, 1: x; one output a row */
    hwb__ref_nest over; /* operand 0: x */
} reduction;

static reduction make_reduction(const hwb_kdesc *d, uint32_t axes) {
    reduction r;
    const hwb_shape *x = &d->in[0].shape;
    hwb_shape kept = *x, reduced = *x;
    hwb__ref_stride stride[2];
    for (int i = 0; i < x->ndim; i++) *(axes & 1u << i ? &kept.dim[i] : &reduced.dim[i]) = 1;
    hwb__ref_strides(&d->out[0].shape, stride[0]);
    hwb__ref_strides(x, stride[1]);
    hwb__ref_nest_make(&r.keep, &kept, 2, stride, 1);
    hwb__ref_nest_make(&r.over, &reduced, 1, stride + 1, HWB__REF_CHUNK);
    return r;
}

static double sum_float(const hwb__ref_nest *over, hwb_dtype dt, const void *x, int64_t base) {
    double acc = 0;
    for (int64_t row = 0; row < over->rows; row++) {
        int64_t at, n = hwb__ref_nest_seek(over, row, &at);
        for (int64_t i = 0; i < n; i++) acc += hwb__ref_load(dt, x, base + at + i * over->step[0]);
    }
    return acc;
}

static int64_t sum_int(const hwb__ref_nest *over, hwb_dtype dt, const void *x, int64_t base) {
    uint64_t acc = 0;
    for (int64_t row = 0; row < over->rows; row++) {
        int64_t at, n = hwb__ref_nest_seek(over, row, &at);
        for (int64_t i = 0; i < n; i++)
            acc += (uint64_t)hwb__ref_load_int(dt, x, base + at + i * over->step[0]);
    }
    return (int64_t)acc;
}

hwb_status hwb__ref_sum(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                        void *const *out) {
    const reduction r = make_reduction(&k->desc, k->desc.attrs.axes);
    const hwb_dtype dt = k->desc.in[0].dtype;
    const int64_t work = hwb_shape_numel(&k->desc.in[0].shape);
#pragma omp parallel for if (work > HWB__REF_PARALLEL_MIN) num_threads(hwb_threads(ctx))
    for (int64_t row = 0; row < r.keep.rows; row++) {
        int64_t at[2];
        hwb__ref_nest_seek(&r.keep, row, at);
        if (hwb_dtype_is_float(dt))
            hwb__ref_store(dt, out[0], at[0], sum_float(&r.over, dt, in[0], at[1]));
        else hwb__ref_store_int(dt, out[0], at[0], sum_int(&r.over, dt, in[0], at[1]));
    }
    return HWB_OK;
}

/* x[a] comes before x[b]: larger, or the first NaN, which counts as the largest. */
static bool beats(hwb_dtype dt, const void *x, int64_t a, int64_t b) {
    if (!hwb_dtype_is_float(dt)) return hwb__ref_load_int(dt, x, a) > hwb__ref_load_int(dt, x, b);
    double va = hwb__ref_load(dt, x, a), vb = hwb__ref_load(dt, x, b);
    return va > vb || (isnan(va) && !isnan(vb));
}

/* Position in x of the first maximum, and its number in the walk. */
static int64_t first_max(const hwb__ref_nest *over, hwb_dtype dt, const void *x, int64_t base,
                         int64_t *number) {
    int64_t best = base, seen = 0;
    *number = 0;
    for (int64_t row = 0; row < over->rows; row++) {
        int64_t at, n = hwb__ref_nest_seek(over, row, &at);
        for (int64_t i = 0; i < n; i++, seen++) {
            int64_t here = base + at + i * over->step[0];
            if (!beats(dt, x, here, best)) continue;
            best = here;
            *number = seen;
        }
    }
    return best;
}

hwb_status hwb__ref_max(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                        void *const *out) {
    const reduction r = make_reduction(&k->desc, k->desc.attrs.axes);
    const hwb_dtype dt = k->desc.in[0].dtype;
    const int64_t work = hwb_shape_numel(&k->desc.in[0].shape);
#pragma omp parallel for if (work > HWB__REF_PARALLEL_MIN) num_threads(hwb_threads(ctx))
    for (int64_t row = 0; row < r.keep.rows; row++) {
        int64_t at[2], number;
        hwb__ref_nest_seek(&r.keep, row, at);
        int64_t best = first_max(&r.over, dt, in[0], at[1], &number);
        if (hwb_dtype_is_float(dt))
            hwb__ref_store(dt, out[0], at[0], hwb__ref_load(dt, in[0], best));
        else hwb__ref_store_int(dt, out[0], at[0], hwb__ref_load_int(dt, in[0], best));
    }
    return HWB_OK;
}

hwb_status hwb__ref_argmax(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                           void *const *out) {
    const reduction r = make_reduction(&k->desc, 1u << k->desc.attrs.axis);
    const int64_t work = hwb_shape_numel(&k->desc.in[0].shape);
    int64_t *y = out[0];
#pragma omp parallel for if (work > HWB__REF_PARALLEL_MIN) num_threads(hwb_threads(ctx))
    for (int64_t row = 0; row < r.keep.rows; row++) {
        int64_t at[2];
        hwb__ref_nest_seek(&r.keep, row, at);
        first_max(&r.over, k->desc.in[0].dtype, in[0], at[1], &y[at[0]]);
    }
    return HWB_OK;
}
