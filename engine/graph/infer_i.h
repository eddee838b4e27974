/*
 * infer_i.h: the pieces of hwb_op_infer, one function per family of
 * operations.  Each reads the request and fills `shape` and `dtype`; the
 * dispatcher in infer.c checks arity before and the result after.
 */
#ifndef HWB_GRAPH_INFER_I_H
#define HWB_GRAPH_INFER_I_H

#include "graph/op.h"

typedef struct hwb__infer {
    hwb_ctx *ctx;
    hwb_op op;
    const char *name; /* of op, for messages */
    const hwb_attrs *attrs;
    int n_in;
    const hwb_shape *const *in;
    const hwb_dtype *dt;
    hwb_shape shape; /* result */
    hwb_dtype dtype;
} hwb__infer;

hwb_status hwb__infer_pointwise(hwb__infer *f);
hwb_status hwb__infer_data(hwb__infer *f);
hwb_status hwb__infer_reduce(hwb__infer *f);
hwb_status hwb__infer_matmul(hwb__infer *f);
hwb_status hwb__infer_conv(hwb__infer *f);
hwb_status hwb__infer_pool(hwb__infer *f);

/* ---- checks that several of them share; each fails with the op's name ---------- */

hwb_status hwb__infer_float(hwb__infer *f, int input);  /* float32, float64 */
hwb_status hwb__infer_number(hwb__infer *f, int input); /* or int32, int64 */
hwb_status hwb__infer_index(hwb__infer *f, int input);  /* int32, int64 */
hwb_status hwb__infer_same_dtype(hwb__infer *f, int a, int b);
hwb_status hwb__infer_axis(hwb__infer *f, int ndim); /* attrs.axis */
/* attrs: stride, dilation >= 1, padding >= 0, for both spatial axes */
hwb_status hwb__infer_window(hwb__infer *f);

#endif
