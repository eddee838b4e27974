/*
 * cpu_vec_i.h: the inner loops of the pointwise kernels, compiled once for each
 * instruction set (cpu_vec_*.c) and chosen when the backend opens.
 *
 * Loops run over one tile.  A result may be the very buffer of an operand.
 */
#ifndef HWB_CPU_VEC_I_H
#define HWB_CPU_VEC_I_H

#include "graph/op.h"

/* Two operations in one pass, and one on bytes, for op of the loops below. */
enum {
    VEC_MUL_ADD = HWB_OP_COUNT, /* a b + c */
    VEC_MUL_SUB,                /* a b - c */
    VEC_SUB_PROD,               /* c - a b */
    VEC_ADD_ADD,                /* (a + b) + c */
    VEC_ADD_MUL,                /* (a + b) c */
    VEC_SUB_MUL,                /* (a - b) c */
    VEC_CHOOSE                  /* a ? b : c, a being bytes */
};

struct hwb__vec {
    const char *name;
    /* dst[i] = op(a[i], b[i], c[i]); unused operands are NULL */
    void (*op_f32)(int op, int64_t n, float *dst, const float *a, const float *b, const float *c);
    void (*op_f64)(int op, int64_t n, double *dst, const double *a, const double *b,
                   const double *c);
    void (*from_bool_f32)(int64_t n, float *dst, const uint8_t *a);
    void (*from_bool_f64)(int64_t n, double *dst, const uint8_t *a);
    void (*to_bool_f32)(int64_t n, uint8_t *dst, const float *a);
    void (*to_bool_f64)(int64_t n, uint8_t *dst, const double *a);
    /* sum of n numbers in double, in an order that depends on n alone */
    double (*sum_f32)(int64_t n, const float *a);
    double (*sum_f64)(int64_t n, const double *a);
    /* acc[j] += sum over rows i of a[i,j]; a[rows,n] */
    void (*rows_f32)(int64_t rows, int64_t n, double *acc, const float *a);
    void (*rows_f64)(int64_t rows, int64_t n, double *acc, const double *a);
    /* copies past the caches; stream_end before another thread reads */
    void (*stream)(size_t bytes, void *dst, const void *src);
    void (*stream_end)(void);
};

extern const struct hwb__vec hwb__vec_base, hwb__vec_avx2, hwb__vec_avx512;

#endif
