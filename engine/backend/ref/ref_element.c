/*
 * ref_element.c: the pointwise operations on doubles, which the pointwise
 * kernels and the fused interpreter share, and float operands widened to double.
 */
#include "backend/ref/ref_i.h"

#include <math.h>

/* Without overflow at either end. */
static double sigmoid(double x) {
    if (x >= 0) return 1 / (1 + exp(-x));
    double e = exp(x);
    return e / (1 + e);
}

/* A NaN operand makes every result but a comparison's NaN: failures must not
 * vanish in a relu or a maximum. */
double hwb__ref_eval(hwb_op op, double a, double b, double c) {
    switch (op) {
    case HWB_OP_NEG: return -a;
    case HWB_OP_EXP: return exp(a);
    case HWB_OP_LOG: return log(a);
    case HWB_OP_LOG1P: return log1p(a);
    case HWB_OP_SQRT: return sqrt(a);
    case HWB_OP_TANH: return tanh(a);
    case HWB_OP_SIGMOID: return sigmoid(a);
    case HWB_OP_ERF: return erf(a);
    case HWB_OP_SIN: return sin(a);
    case HWB_OP_COS: return cos(a);
    case HWB_OP_ADD: return a + b;
    case HWB_OP_SUB: return a - b;
    case HWB_OP_MUL: return a * b;
    case HWB_OP_DIV: return a / b;
    case HWB_OP_POW: return pow(a, b);
    case HWB_OP_RELU: return a <= 0 ? 0 : a;
    case HWB_OP_ABS: return fabs(a);
    case HWB_OP_MAXIMUM: return a > b || isnan(a) ? a : b;
    case HWB_OP_MINIMUM: return a < b || isnan(a) ? a : b;
    case HWB_OP_LT: return a < b;
    case HWB_OP_LE: return a <= b;
    case HWB_OP_EQ: return a == b;
    case HWB_OP_NE: return a != b;
    case HWB_OP_WHERE: return a != 0 ? b : c;
    case HWB_OP_SIGN: return a > 0 ? 1 : a < 0 ? -1 : a;
    case HWB_OP_FLOOR: return floor(a);
    case HWB_OP_ROUND:
    case HWB_OP_ROUND_ST: return rint(a); /* half to even in the default mode */
    default: return a;                    /* stop_gradient, cast */
    }
}

const double *hwb__ref_widen(hwb_ctx *ctx, const hwb_vdesc *d, const void *in, double **scratch) {
    if (d->dtype == HWB_F64) return in;
    const float *src = in;
    double *dst = *scratch;
    int64_t n = hwb_shape_numel(&d->shape);
#pragma omp parallel for if (n > HWB__REF_PARALLEL_MIN) num_threads(hwb_threads(ctx))
    for (int64_t i = 0; i < n; i++) dst[i] = src[i];
    *scratch += n;
    return dst;
}

size_t hwb__ref_scratch_widen(const hwb_kdesc *desc) {
    if (desc->in[0].dtype == HWB_F64) return 0;
    int64_t n = hwb_shape_numel(&desc->in[0].shape) + hwb_shape_numel(&desc->in[1].shape);
    return (size_t)n * sizeof(double);
}

size_t hwb__ref_scratch_result(const hwb_kdesc *desc) {
    return (size_t)hwb_shape_numel(&desc->out[0].shape) * 8;
}
