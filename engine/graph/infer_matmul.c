/*
 * infer_matmul.c: [..,m,k] x [..,k,n] -> [..,m,n] with attrs.ta, attrs.tb
 * transposing the last two dims of an input; batch dims are equal or 1.
 */
#include "graph/infer_i.h"

hwb_status hwb__infer_matmul(hwb__infer *f) {
    const hwb_shape *a = f->in[0], *b = f->in[1];
    const char *ta = f->attrs->ta ? "^T" : "", *tb = f->attrs->tb ? "^T" : "";
    char at[HWB_SHAPE_TEXT], bt[HWB_SHAPE_TEXT];
    int r = a->ndim;
    HWB_TRY(hwb__infer_float(f, 0));
    HWB_TRY(hwb__infer_same_dtype(f, 0, 1));
    f->dtype = f->dt[0];
    hwb_shape_text(a, at);
    hwb_shape_text(b, bt);
    if (r < 2 || b->ndim != r)
        return hwb_fail(f->ctx, HWB_ESHAPE, "matmul: [%s]%s x [%s]%s: %s", at, ta, bt, tb,
                        r == b->ndim ? "matrices have at least two dims" : "ranks differ");
    f->shape.ndim = r;
    for (int i = 0; i < r - 2; i++) {
        if (a->dim[i] != b->dim[i] && a->dim[i] != 1 && b->dim[i] != 1)
            return hwb_fail(f->ctx, HWB_ESHAPE,
                            "matmul: [%s]%s x [%s]%s: batch sizes %lld and %lld", at, ta, bt, tb,
                            (long long)a->dim[i], (long long)b->dim[i]);
        f->shape.dim[i] = a->dim[i] == 1 ? b->dim[i] : a->dim[i];
    }
    int64_t inner_a = a->dim[f->attrs->ta ? r - 2 : r - 1];
    int64_t inner_b = b->dim[f->attrs->tb ? r - 1 : r - 2];
    if (inner_a != inner_b)
        return hwb_fail(f->ctx, HWB_ESHAPE,
                        "matmul: [%s]%s x [%s]%s: inner sizes %lld and %lld differ", at, ta, bt, tb,
                        (long long)inner_a, (long long)inner_b);
    f->shape.dim[r - 2] = a->dim[f->attrs->ta ? r - 1 : r - 2];
    f->shape.dim[r - 1] = b->dim[f->attrs->tb ? r - 2 : r - 1];
    return HWB_OK;
}
