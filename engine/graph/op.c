/*
 * op.c: facts about operations, read from ops.def, and the count of
 * multiply-adds of the bilinear ones.
 */
#include "graph/op.h"
#include "graph/image_i.h"

typedef struct op_row {
    const char *name;
    hwb_family family;
    int arity;
} op_row;

static const op_row OPS[HWB_OP_COUNT] = {
#define HWB_OP(name, text, family, arity) {text, HWB_FAMILY_##family, arity},
#include "graph/ops.def"
#undef HWB_OP
};

static bool known(hwb_op op) {
    return (unsigned)op < HWB_OP_COUNT;
}

const char *hwb_op_name(hwb_op op) {
    return known(op) ? OPS[op].name : "?";
}

hwb_family hwb_op_family(hwb_op op) {
    return known(op) ? OPS[op].family : HWB_FAMILY_INTERNAL;
}

int hwb_op_arity(hwb_op op) {
    return known(op) ? OPS[op].arity : -1;
}

bool hwb_op_is_pointwise(hwb_op op) {
    switch (hwb_op_family(op)) {
    case HWB_FAMILY_SMOOTH:
    case HWB_FAMILY_PIECEWISE:
    case HWB_FAMILY_COMPARE:
    case HWB_FAMILY_SELECT:
    case HWB_FAMILY_STRAIGHT:
    case HWB_FAMILY_FLAT: return true;
    default: return op == HWB_OP_CAST;
    }
}

/* a*b, the largest number when that is too large: a count of work, not a size */
static int64_t mul_capped(int64_t a, int64_t b) {
    int64_t out;
    return __builtin_mul_overflow(a, b, &out) ? INT64_MAX : out;
}

/* Each of the conv trio pairs every y[K,N,O,H',W'] with the C/g*h*w weights of
 * its output channel; padding is counted as if it were data.  The result carries
 * K when any operand does, y not always. */
static int64_t conv_macs(const hwb_shape *y, const hwb_shape *w, const hwb_shape *out) {
    if (y->ndim < 4 || w->ndim < 4) return 0;
    int64_t macs = hwb_shape_numel(y);
    for (int i = w->ndim - 3; i < w->ndim; i++) macs = mul_capped(macs, w->dim[i]);
    return y->ndim == 4 && out->ndim == 5 ? mul_capped(macs, out->dim[0]) : macs;
}

int64_t hwb_op_macs(hwb_op op, const hwb_attrs *attrs, const hwb_shape *in0, const hwb_shape *in1,
                    const hwb_shape *out) {
    switch (op) {
    case HWB_OP_MATMUL: {
        if (in0->ndim < 2) return 0;
        int64_t inner = in0->dim[in0->ndim - (attrs->ta ? 2 : 1)];
        return mul_capped(hwb_shape_numel(out), inner);
    }
    case HWB_OP_CONV: return conv_macs(out, in1, out);
    case HWB_OP_CONV_BWD_DATA: return conv_macs(in0, in1, out);
    case HWB_OP_CONV_BWD_WEIGHTS: return conv_macs(in1, out, out);
    default: return 0;
    }
}
