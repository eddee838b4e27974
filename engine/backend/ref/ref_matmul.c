/*
 * ref_matmul.c: c[..,m,n] = sum_k a[..,m,k] b[..,k,n], plus a third input if there
 * is one; attrs.ta, attrs.tb mean that an operand lies with its last two dims
 * exchanged.  Batch dims of length 1 repeat.
 */
#include "backend/ref/ref_i.h"

hwb_status hwb__ref_matmul(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                           void *const *out) {
    const hwb_kdesc *d = &k->desc;
    const hwb_shape *sa = &d->in[0].shape, *sc = &d->out[0].shape;
    const int r = sc->ndim, ta = d->attrs.ta != 0, tb = d->attrs.tb != 0;
    const int64_t m = sc->dim[r - 2], n = sc->dim[r - 1], inner = sa->dim[ta ? r - 2 : r - 1];
    const int64_t ai = ta ? 1 : inner, ak = ta ? m : 1; /* strides of a over m and k */
    const int64_t bk = tb ? 1 : n, bj = tb ? inner : 1; /* of b over k and n */
    if (hwb_shape_numel(sc) == 0) return HWB_OK;

    double *scratch = k->scratch;
    const double *a = hwb__ref_widen(ctx, &d->in[0], in[0], &scratch);
    const double *b = hwb__ref_widen(ctx, &d->in[1], in[1], &scratch);
    const void *add = d->n_in == 3 ? in[2] : NULL;

    hwb_shape batch = *sc; /* the walk over batch dims gives one row a matrix */
    hwb__ref_stride stride[3];
    hwb__ref_nest nest;
    for (int j = 0; j < 3; j++) hwb__ref_strides(j == 0 ? sc : &d->in[j - 1].shape, stride[j]);
    batch.ndim = r - 2;
    hwb__ref_nest_make(&nest, &batch, 3, stride, 1);

#pragma omp parallel for collapse(2) if (nest.rows * m * n * inner > HWB__REF_PARALLEL_MIN)        \
    num_threads(hwb_threads(ctx))
    for (int64_t row = 0; row < nest.rows; row++)
        for (int64_t i = 0; i < m; i++) {
            int64_t at[3];
            hwb__ref_nest_seek(&nest, row, at);
            for (int64_t j = 0; j < n; j++) {
                double acc = add ? hwb__ref_load(d->in[2].dtype, add, at[0] + i * n + j) : 0;
                for (int64_t c = 0; c < inner; c++)
                    acc += a[at[1] + i * ai + c * ak] * b[at[2] + c * bk + j * bj];
                hwb__ref_store(d->out[0].dtype, out[0], at[0] + i * n + j, acc);
            }
        }
    return HWB_OK;
}
