/*
 * infer_pointwise.c: shapes and dtypes of pointwise operations.  Inputs have
 * one rank; along each axis their sizes are equal or 1.
 *
 *   float only          exp log log1p sqrt tanh sigmoid erf sin cos div pow floor round round_st
 *   also int32, int64   neg add sub mul relu abs maximum minimum sign
 *   any dtype           stop_gradient cast lt le eq ne, and where with a bool condition
 */
#include "graph/infer_i.h"

static hwb_status fail_shapes(hwb__infer *f) {
    char t[3][HWB_SHAPE_TEXT];
    for (int i = 0; i < f->n_in && i < 3; i++) hwb_shape_text(f->in[i], t[i]);
    if (f->n_in == 3)
        return hwb_fail(f->ctx, HWB_ESHAPE, "%s: shapes %s, %s and %s do not fit", f->name, t[0],
                        t[1], t[2]);
    return hwb_fail(f->ctx, HWB_ESHAPE, "%s: shapes %s and %s do not fit", f->name, t[0], t[1]);
}

static hwb_status broadcast(hwb__infer *f) {
    f->shape = *f->in[0];
    for (int i = 1; i < f->n_in; i++) {
        if (f->in[i]->ndim != f->shape.ndim) return fail_shapes(f);
        for (int a = 0; a < f->shape.ndim; a++) {
            int64_t have = f->shape.dim[a], d = f->in[i]->dim[a];
            if (have == 1) f->shape.dim[a] = d;
            else if (d != 1 && d != have) return fail_shapes(f);
        }
    }
    return HWB_OK;
}

static hwb_status cast_dtype(hwb__infer *f) {
    if (f->attrs->dtype < 0 || f->attrs->dtype >= HWB_DTYPE_COUNT)
        return hwb_fail(f->ctx, HWB_EARG, "cast: no dtype number %d", (int)f->attrs->dtype);
    f->dtype = (hwb_dtype)f->attrs->dtype;
    return HWB_OK;
}

static hwb_status where_dtype(hwb__infer *f) {
    if (f->dt[0] != HWB_BOOL)
        return hwb_fail(f->ctx, HWB_EDTYPE, "where: the condition must be bool, got %s",
                        hwb_dtype_name(f->dt[0]));
    f->dtype = f->dt[1];
    return hwb__infer_same_dtype(f, 1, 2);
}

hwb_status hwb__infer_pointwise(hwb__infer *f) {
    f->dtype = f->dt[0];
    if (f->n_in == 2) HWB_TRY(hwb__infer_same_dtype(f, 0, 1));
    switch (f->op) {
    case HWB_OP_CAST: HWB_TRY(cast_dtype(f)); break;
    case HWB_OP_WHERE: HWB_TRY(where_dtype(f)); break;
    case HWB_OP_STOP: break;
    case HWB_OP_LT:
    case HWB_OP_LE:
    case HWB_OP_EQ:
    case HWB_OP_NE: f->dtype = HWB_BOOL; break;
    case HWB_OP_NEG:
    case HWB_OP_ADD:
    case HWB_OP_SUB:
    case HWB_OP_MUL:
    case HWB_OP_RELU:
    case HWB_OP_ABS:
    case HWB_OP_MAXIMUM:
    case HWB_OP_MINIMUM:
    case HWB_OP_SIGN: HWB_TRY(hwb__infer_number(f, 0)); break;
    default: HWB_TRY(hwb__infer_float(f, 0)); break;
    }
    return broadcast(f);
}
