/*
 * infer.c: hwb_op_infer, the one place where operations are checked, and the
 * checks its parts share.  The parts: infer_pointwise.c, infer_data.c,
 * infer_reduce.c, infer_matmul.c, infer_conv.c, infer_pool.c.
 */
#include "graph/infer_i.h"

hwb_status hwb__infer_float(hwb__infer *f, int input) {
    if (hwb_dtype_is_float(f->dt[input])) return HWB_OK;
    return hwb_fail(f->ctx, HWB_EDTYPE, "%s: wants float32 or float64, got %s", f->name,
                    hwb_dtype_name(f->dt[input]));
}

hwb_status hwb__infer_number(hwb__infer *f, int input) {
    hwb_dtype d = f->dt[input];
    if (hwb_dtype_is_float(d) || d == HWB_I32 || d == HWB_I64) return HWB_OK;
    return hwb_fail(f->ctx, HWB_EDTYPE, "%s: wants float32, float64, int32 or int64, got %s",
                    f->name, hwb_dtype_name(d));
}

hwb_status hwb__infer_index(hwb__infer *f, int input) {
    hwb_dtype d = f->dt[input];
    if (d == HWB_I32 || d == HWB_I64) return HWB_OK;
    return hwb_fail(f->ctx, HWB_EDTYPE, "%s: the index must be int32 or int64, got %s", f->name,
                    hwb_dtype_name(d));
}

hwb_status hwb__infer_same_dtype(hwb__infer *f, int a, int b) {
    if (f->dt[a] == f->dt[b]) return HWB_OK;
    return hwb_fail(f->ctx, HWB_EDTYPE, "%s: dtypes %s and %s differ", f->name,
                    hwb_dtype_name(f->dt[a]), hwb_dtype_name(f->dt[b]));
}

hwb_status hwb__infer_axis(hwb__infer *f, int ndim) {
    if (f->attrs->axis >= 0 && f->attrs->axis < ndim) return HWB_OK;
    return hwb_fail(f->ctx, HWB_EARG, "%s: dim %d of a tensor with %d dims", f->name,
                    (int)f->attrs->axis + 1, ndim);
}

hwb_status hwb__infer_window(hwb__infer *f) {
    const hwb_attrs *at = f->attrs;
    for (int a = 0; a < 2; a++) {
        if (at->stride[a] < 1 || at->dilation[a] < 1)
            return hwb_fail(
                f->ctx, HWB_EARG, "%s: stride %dx%d and dilation %dx%d must be at least 1", f->name,
                (int)at->stride[0], (int)at->stride[1], (int)at->dilation[0], (int)at->dilation[1]);
        if (at->pad_lo[a] < 0 || at->pad_hi[a] < 0)
            return hwb_fail(f->ctx, HWB_EARG, "%s: negative padding (%d,%d)x(%d,%d)", f->name,
                            (int)at->pad_lo[0], (int)at->pad_hi[0], (int)at->pad_lo[1],
                            (int)at->pad_hi[1]);
    }
    return HWB_OK;
}

/* Leaves say themselves what they are. */
static hwb_status infer_leaf(hwb__infer *f) {
    if (f->attrs->dtype < 0 || f->attrs->dtype >= HWB_DTYPE_COUNT)
        return hwb_fail(f->ctx, HWB_EARG, "%s: no dtype number %d", f->name, (int)f->attrs->dtype);
    f->shape = f->attrs->shape;
    f->dtype = (hwb_dtype)f->attrs->dtype;
    return HWB_OK;
}

static hwb_status infer_by_op(hwb__infer *f) {
    if (hwb_op_is_pointwise(f->op)) return hwb__infer_pointwise(f);
    switch (f->op) {
    case HWB_OP_INPUT:
    case HWB_OP_CONSTANT:
    case HWB_OP_FILL: return infer_leaf(f);
    case HWB_OP_RESHAPE:
    case HWB_OP_PERMUTE:
    case HWB_OP_BROADCAST:
    case HWB_OP_SLICE:
    case HWB_OP_PAD:
    case HWB_OP_CONCAT:
    case HWB_OP_GATHER:
    case HWB_OP_SCATTER_ADD: return hwb__infer_data(f);
    case HWB_OP_ALLREDUCE:
    case HWB_OP_SUM:
    case HWB_OP_MAX:
    case HWB_OP_ARGMAX: return hwb__infer_reduce(f);
    case HWB_OP_AVGPOOL:
    case HWB_OP_AVGPOOL_BWD:
    case HWB_OP_POOL_GATHER:
    case HWB_OP_POOL_SCATTER:
    case HWB_OP_MAXPOOL_INDEX: return hwb__infer_pool(f);
    case HWB_OP_MATMUL: return hwb__infer_matmul(f);
    case HWB_OP_CONV:
    case HWB_OP_CONV_BWD_DATA:
    case HWB_OP_CONV_BWD_WEIGHTS: return hwb__infer_conv(f);
    default:
        return hwb_fail(f->ctx, HWB_EARG, "%s: made by the compiler only, nothing to infer",
                        f->name);
    }
}

hwb_status hwb_op_infer(hwb_ctx *ctx, hwb_op op, const hwb_attrs *attrs, int n_in,
                        const hwb_shape *const *shapes, const hwb_dtype *dtypes,
                        hwb_shape *out_shape, hwb_dtype *out_dtype) {
    if ((unsigned)op >= HWB_OP_COUNT) return hwb_fail(ctx, HWB_EARG, "no op number %d", (int)op);
    hwb__infer f = {.ctx = ctx,
                    .op = op,
                    .name = hwb_op_name(op),
                    .attrs = attrs,
                    .n_in = n_in,
                    .in = shapes,
                    .dt = dtypes};
    int arity = hwb_op_arity(op);
    if (arity >= 0 ? n_in != arity : n_in < 1)
        return hwb_fail(ctx, HWB_EARG, "%s: wants %s%d inputs, got %d", f.name,
                        arity < 0 ? "at least " : "", arity < 0 ? 1 : arity, n_in);
    HWB_TRY(hwb_shape_check(ctx, &attrs->shape));
    HWB_TRY(infer_by_op(&f));
    hwb_status status = hwb_shape_check(ctx, &f.shape);
    if (status != HWB_OK) return hwb_fail_in(ctx, status, "%s", f.name);
    /* Shapes are compared and hashed as bytes with their nodes. */
    for (int i = f.shape.ndim; i < HWB_MAX_DIMS; i++) f.shape.dim[i] = 0;
    *out_shape = f.shape;
    *out_dtype = f.dtype;
    return HWB_OK;
}
