/*
 * blas_i.h: one name for the two precisions of the BLAS products.
 */
#ifndef HWB_BLAS_I_H
#define HWB_BLAS_I_H

#include <cblas.h>

#include "tensor/tensor.h"

/* c[m,n] = op(a)[m,k] op(b)[k,n] + beta c, row-major, leading dimensions in elements */
static inline void hwb__gemm(hwb_dtype dtype, bool ta, bool tb, int64_t m, int64_t n, int64_t k,
                             const void *a, int64_t lda, const void *b, int64_t ldb, double beta,
                             void *c, int64_t ldc) {
    CBLAS_TRANSPOSE opa = ta ? CblasTrans : CblasNoTrans, opb = tb ? CblasTrans : CblasNoTrans;
    if (dtype == HWB_F32)
        cblas_sgemm(CblasRowMajor, opa, opb, (blasint)m, (blasint)n, (blasint)k, 1.0f, a,
                    (blasint)lda, b, (blasint)ldb, (float)beta, c, (blasint)ldc);
    else
        cblas_dgemm(CblasRowMajor, opa, opb, (blasint)m, (blasint)n, (blasint)k, 1.0, a,
                    (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

#endif
