/*
 * infer_reduce.c: sum and max over a set of axes, argmax over one; reduced axes
 * stay with size 1.  A sum over nothing is 0; a maximum of nothing is an error.
 * A sum over ranks keeps the shape.
 */
#include "graph/infer_i.h"

static hwb_status fail_empty(hwb__infer *f, int axis) {
    char a[HWB_SHAPE_TEXT];
    return hwb_fail(f->ctx, HWB_ESHAPE, "%s: dim %d of %s is empty and has no maximum", f->name,
                    axis + 1, hwb_shape_text(f->in[0], a));
}

static hwb_status infer_allreduce(hwb__infer *f) {
    if (f->n_in > 2 || f->attrs->groups < 1)
        return hwb_fail(f->ctx, HWB_EARG, "allreduce: %d inputs over %d ranks", f->n_in,
                        (int)f->attrs->groups);
    f->shape = *f->in[0];
    f->dtype = f->dt[0];
    return hwb__infer_float(f, 0);
}

hwb_status hwb__infer_reduce(hwb__infer *f) {
    if (f->op == HWB_OP_ALLREDUCE) return infer_allreduce(f);
    const hwb_shape *x = f->in[0];
    uint32_t axes = f->attrs->axes;
    f->shape = *x;
    f->dtype = f->op == HWB_OP_ARGMAX ? HWB_I64 : f->dt[0];
    HWB_TRY(hwb__infer_number(f, 0));
    if (f->op == HWB_OP_ARGMAX) {
        HWB_TRY(hwb__infer_axis(f, x->ndim));
        axes = 1u << f->attrs->axis;
    } else if (axes >> x->ndim) {
        char a[HWB_SHAPE_TEXT];
        return hwb_fail(f->ctx, HWB_EARG, "%s: dim %d of %s", f->name, 32 - __builtin_clz(axes),
                        hwb_shape_text(x, a));
    }
    bool empty = false; /* an empty result needs no maximum */
    for (int i = 0; i < x->ndim; i++) {
        if (axes & 1u << i) f->shape.dim[i] = 1;
        else empty = empty || x->dim[i] == 0;
    }
    for (int i = 0; f->op != HWB_OP_SUM && !empty && i < x->ndim; i++)
        if ((axes & 1u << i) && x->dim[i] == 0) return fail_empty(f, i);
    return HWB_OK;
}
