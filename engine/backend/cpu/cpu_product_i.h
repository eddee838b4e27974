/*
 * cpu_product_i.h: large float32 matrix products out of the tiles of cpu_direct_i.h.
 *
 *   c[m,n] = op(a)[m,k] op(b)[k,n]  (+ c)
 *
 * all row-major.  Each element is summed in the order of k, whatever the number of threads.
 */
#ifndef HWB_CPU_PRODUCT_I_H
#define HWB_CPU_PRODUCT_I_H

#include "backend/cpu/cpu_direct_i.h"

typedef struct hwb__product {
    const struct hwb__direct *inner;
    int64_t m, n, k;
    bool ta, tb;
    const float *a, *b;
    int64_t lda, ldb;
    bool add; /* to what c holds */
    float *c;
    int64_t ldc;
    int threads;
    float *scratch; /* hwb__product_scratch bytes, 64-byte aligned */
} hwb__product;

/* Bytes of scratch of a product of this size. */
size_t hwb__product_scratch(const struct hwb__direct *inner, int64_t m, int64_t k, int threads);
/* Opens a parallel region when threads > 1. */
void hwb__product_run(const hwb__product *p);

#endif
