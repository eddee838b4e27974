/*
 * op.h: what an operation is, as plain data: the enum made from ops.def and the
 * attributes.  Shared by the graph, the rules, the compiler and the backends.
 */
#ifndef HWB_GRAPH_OP_H
#define HWB_GRAPH_OP_H

#include "tensor/tensor.h"

typedef enum hwb_op {
#define HWB_OP(name, text, family, arity) HWB_OP_##name,
#include "graph/ops.def"
#undef HWB_OP
    HWB_OP_COUNT
} hwb_op;

typedef enum hwb_family {
    HWB_FAMILY_LEAF,
    HWB_FAMILY_SMOOTH,
    HWB_FAMILY_PIECEWISE,
    HWB_FAMILY_COMPARE,
    HWB_FAMILY_SELECT,
    HWB_FAMILY_STRAIGHT,
    HWB_FAMILY_FLAT,
    HWB_FAMILY_LINEAR,
    HWB_FAMILY_BILINEAR,
    HWB_FAMILY_EXTREME,
    HWB_FAMILY_INDEX,
    HWB_FAMILY_INTERNAL
} hwb_family;

/* How often an input changes; a program is split into stages by it.  Tangents of several
 * operators in one graph, which are run one at a time, have the roles HWB_ROLE_TANGENT,
 * HWB_ROLE_TANGENT + 1, ...: each is a stage of its own. */
typedef enum hwb_role { HWB_ROLE_CONST, HWB_ROLE_PARAM, HWB_ROLE_DATA, HWB_ROLE_TANGENT } hwb_role;
enum { HWB_ROLE_COUNT = 4 };

/* Zero-initialise with memset: attributes are compared and hashed as bytes. */
typedef struct hwb_attrs {
    hwb_shape shape;
    int64_t lo[HWB_MAX_DIMS], step[HWB_MAX_DIMS]; /* slice, pad */
    double value;                                 /* fill */
    uint64_t key; /* input, constant, allreduce: makes the node unique */
    int32_t perm[HWB_MAX_DIMS];
    int32_t axis;
    uint32_t axes;                                                   /* bit i = axis i */
    int32_t dtype;                                                   /* cast, fill */
    int32_t role;                                                    /* input */
    int32_t ta, tb;                                                  /* matmul */
    int32_t kernel[2], stride[2], pad_lo[2], pad_hi[2], dilation[2]; /* conv, pools: H, W */
    int32_t groups;        /* conv; of an allreduce: ranks */
    int32_t channels_last; /* set by the compiler: image operands lie as [K,]N,H,W,C */
} hwb_attrs;

HWB_API const char *hwb_op_name(hwb_op op);
HWB_API hwb_family hwb_op_family(hwb_op op);
HWB_API int hwb_op_arity(hwb_op op); /* -1: any */
/* One output element depends on the matching input elements only. */
HWB_API bool hwb_op_is_pointwise(hwb_op op);

/* Shape and dtype of the result from those of the inputs; the one place where
 * operations are checked.  HWB_ESHAPE/HWB_EDTYPE/HWB_EARG with the shapes in
 * the text. */
HWB_API hwb_status hwb_op_infer(hwb_ctx *ctx, hwb_op op, const hwb_attrs *attrs, int n_in,
                                const hwb_shape *const *shapes, const hwb_dtype *dtypes,
                                hwb_shape *out_shape, hwb_dtype *out_dtype);
/* Multiply-adds (bilinear ops) of one evaluation; 0 for the rest. */
HWB_API int64_t hwb_op_macs(hwb_op op, const hwb_attrs *attrs, const hwb_shape *in0,
                            const hwb_shape *in1, const hwb_shape *out);

#endif
