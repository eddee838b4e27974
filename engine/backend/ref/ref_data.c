/*
 * ref_data.c: data movement.  Every kernel but gather and scatter_add is one
 * strided copy
 *     dst[sum i_a*ds_a] = src[sum i_a*ss_a]   over all i in a shape
 * with bytes moved by element size, so any dtype passes.
 */
#include "backend/ref/ref_i.h"

#include <string.h>

static void copy_strided(hwb_ctx *ctx, const hwb_shape *shape, size_t size, char *dst,
                         const hwb__ref_stride ds, const char *src, const hwb__ref_stride ss) {
    hwb__ref_nest nest;
    hwb__ref_stride stride[2];
    memcpy(stride[0], ds, sizeof(stride[0]));
    memcpy(stride[1], ss, sizeof(stride[1]));
    hwb__ref_nest_make(&nest, shape, 2, stride, HWB__REF_CHUNK);
    const bool dense = nest.step[0] == 1 && nest.step[1] == 1;
#pragma omp parallel for if (nest.rows > 8) num_threads(hwb_threads(ctx))
    for (int64_t row = 0; row < nest.rows; row++) {
        int64_t at[HWB__REF_MAX_OPERANDS], n = hwb__ref_nest_seek(&nest, row, at);
        char *to = dst + at[0] * (int64_t)size;
        const char *from = src + at[1] * (int64_t)size;
        if (dense) {
            memcpy(to, from, (size_t)n * size);
            continue;
        }
        for (int64_t i = 0; i < n; i++)
            memcpy(to + i * nest.step[0] * (int64_t)size, from + i * nest.step[1] * (int64_t)size,
                   size);
    }
}

static size_t element_size(const hwb_kernel *k) {
    return hwb_dtype_size(k->desc.out[0].dtype);
}

/* reshape, stop_gradient: the same bytes */
hwb_status hwb__ref_copy(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                         void *const *out) {
    (void)ctx;
    int64_t n = hwb_shape_numel(&k->desc.out[0].shape);
    if (n > 0 && in[0] != out[0]) memcpy(out[0], in[0], (size_t)n * element_size(k));
    return HWB_OK;
}

hwb_status hwb__ref_permute(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                            void *const *out) {
    const hwb_shape *y = &k->desc.out[0].shape;
    hwb__ref_stride xs, ys, via;
    hwb__ref_strides(&k->desc.in[0].shape, xs);
    hwb__ref_strides(y, ys);
    for (int i = 0; i < y->ndim; i++) via[i] = xs[k->desc.attrs.perm[i]];
    copy_strided(ctx, y, element_size(k), out[0], ys, in[0], via);
    return HWB_OK;
}

hwb_status hwb__ref_broadcast(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                              void *const *out) {
    hwb__ref_stride xs, ys;
    hwb__ref_strides(&k->desc.in[0].shape, xs);
    hwb__ref_strides(&k->desc.out[0].shape, ys);
    copy_strided(ctx, &k->desc.out[0].shape, element_size(k), out[0], ys, in[0], xs);
    return HWB_OK;
}

/* The elements lo + i*step of an array with strides s: where they start, and
 * their strides in place of s. */
static int64_t stepped(const hwb_attrs *at, int ndim, hwb__ref_stride s) {
    int64_t start = 0;
    for (int i = 0; i < ndim; i++) {
        start += at->lo[i] * s[i];
        s[i] *= at->step[i];
    }
    return start;
}

hwb_status hwb__ref_slice(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                          void *const *out) {
    const hwb_shape *y = &k->desc.out[0].shape;
    const size_t size = element_size(k);
    if (hwb_shape_numel(y) == 0) return HWB_OK;
    hwb__ref_stride xs, ys;
    hwb__ref_strides(&k->desc.in[0].shape, xs);
    hwb__ref_strides(y, ys);
    int64_t start = stepped(&k->desc.attrs, y->ndim, xs);
    copy_strided(ctx, y, size, out[0], ys, (const char *)in[0] + start * (int64_t)size, xs);
    return HWB_OK;
}

/* Zero is all bits zero in every dtype. */
hwb_status hwb__ref_pad(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                        void *const *out) {
    const hwb_shape *x = &k->desc.in[0].shape, *y = &k->desc.out[0].shape;
    const size_t size = element_size(k), bytes = (size_t)hwb_shape_numel(y) * size;
    if (bytes > 0) memset(out[0], 0, bytes);
    if (hwb_shape_numel(x) == 0) return HWB_OK;
    hwb__ref_stride xs, ys;
    hwb__ref_strides(x, xs);
    hwb__ref_strides(y, ys);
    int64_t start = stepped(&k->desc.attrs, y->ndim, ys);
    copy_strided(ctx, x, size, (char *)out[0] + start * (int64_t)size, ys, in[0], xs);
    return HWB_OK;
}

hwb_status hwb__ref_concat(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                           void *const *out) {
    const hwb_kdesc *d = &k->desc;
    const size_t size = element_size(k);
    const int axis = d->attrs.axis;
    int64_t first = 0; /* along the axis */
    hwb__ref_stride xs, ys;
    hwb__ref_strides(&d->out[0].shape, ys);
    for (int j = 0; j < d->n_in; j++) {
        const hwb_shape *x = &d->in[j].shape;
        hwb__ref_strides(x, xs);
        char *place = (char *)out[0] + first * ys[axis] * (int64_t)size;
        if (hwb_shape_numel(x) > 0 && in[j] != place) /* else made there */
            copy_strided(ctx, x, size, place, ys, in[j], xs);
        first += x->dim[axis];
    }
    return HWB_OK;
}

/* ---- gather, scatter_add: a table seen as [outer, rows, inner] -------------------- */

typedef struct rows_view {
    int64_t outer, rows, inner, picks;
} rows_view;

static rows_view view_rows(const hwb_shape *table, const hwb_shape *index, int axis) {
    rows_view v = {1, table->dim[axis], 1, hwb_shape_numel(index)};
    for (int i = 0; i < axis; i++) v.outer *= table->dim[i];
    for (int i = axis + 1; i < table->ndim; i++) v.inner *= table->dim[i];
    return v;
}

static hwb_status check_index(hwb_ctx *ctx, const hwb_kernel *k, const void *index,
                              const rows_view *v) {
    for (int64_t i = 0; i < v->picks; i++) {
        int64_t at = hwb__ref_load_int(k->desc.in[1].dtype, index, i);
        if (at < 0 || at >= v->rows)
            return hwb_fail(
                ctx, HWB_EARG,
                "%s: index %lld at place %lld, but dim %d has %lld rows (all counted from 1)",
                hwb_op_name(k->desc.op), (long long)at + 1, (long long)i + 1,
                (int)k->desc.attrs.axis + 1, (long long)v->rows);
    }
    return HWB_OK;
}

/* y[o,i,:] = x[o,index[i],:] */
hwb_status hwb__ref_gather(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                           void *const *out) {
    const rows_view v = view_rows(&k->desc.in[0].shape, &k->desc.in[1].shape, k->desc.attrs.axis);
    const int64_t bytes = v.inner * (int64_t)element_size(k), n = v.outer * v.picks;
    HWB_TRY(check_index(ctx, k, in[1], &v));
    if (bytes == 0) return HWB_OK;
#pragma omp parallel for if (n * v.inner > HWB__REF_PARALLEL_MIN) num_threads(hwb_threads(ctx))
    for (int64_t i = 0; i < n; i++) {
        int64_t row = hwb__ref_load_int(k->desc.in[1].dtype, in[1], i % v.picks);
        memcpy((char *)out[0] + i * bytes,
               (const char *)in[0] + (i / v.picks * v.rows + row) * bytes, (size_t)bytes);
    }
    return HWB_OK;
}

/* y[o,index[i],:] += u[o,i,:] in the order of i, into scratch of 8 bytes an element */
hwb_status hwb__ref_scatter_add(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                                void *const *out) {
    const hwb_vdesc *y = &k->desc.out[0];
    const rows_view v = view_rows(&y->shape, &k->desc.in[1].shape, k->desc.attrs.axis);
    const int64_t n = hwb_shape_numel(&y->shape);
    const bool real = hwb_dtype_is_float(y->dtype);
    double *acc = k->scratch;
    uint64_t *whole = k->scratch; /* wraps */
    HWB_TRY(check_index(ctx, k, in[1], &v));
    if (n == 0) return HWB_OK;
    memset(k->scratch, 0, (size_t)n * 8);
#pragma omp parallel for if (n > HWB__REF_PARALLEL_MIN) num_threads(hwb_threads(ctx))
    for (int64_t o = 0; o < v.outer; o++)
        for (int64_t i = 0; i < v.picks; i++) {
            int64_t row = hwb__ref_load_int(k->desc.in[1].dtype, in[1], i);
            int64_t to = (o * v.rows + row) * v.inner, from = (o * v.picks + i) * v.inner;
            for (int64_t c = 0; c < v.inner; c++) {
                if (real) acc[to + c] += hwb__ref_load(y->dtype, in[0], from + c);
                else whole[to + c] += (uint64_t)hwb__ref_load_int(y->dtype, in[0], from + c);
            }
        }
    for (int64_t i = 0; i < n; i++) {
        if (real) hwb__ref_store(y->dtype, out[0], i, acc[i]);
        else hwb__ref_store_int(y->dtype, out[0], i, (int64_t)whole[i]);
    }
    return HWB_OK;
}
