/*
 * dense.c: eigen-decompositions of the small symmetric matrices that Krylov
 * methods leave behind, by LAPACK (dsyev, dstev; in OpenBLAS).
 *
 * Debian's OpenBLAS exports the Fortran symbols, not the LAPACKE ones, so they
 * are declared here.  The calls run with one OpenMP thread: blocked LAPACK
 * routines otherwise split their sums by the thread count.
 */
#include "spectral/spectral_i.h"

#include <omp.h>

void dsyev_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w,
            double *work, const int *lwork, int *info, size_t jobz_len, size_t uplo_len);
void dstev_(const char *jobz, const int *n, double *d, double *e, double *z, const int *ldz,
            double *work, int *info, size_t jobz_len);

hwb_status hwb__eigh(hwb_ctx *ctx, int64_t m, double *a, double *w) {
    int n = (int)m, info = 0, lwork = 34 * n;
    double *work = hwb_alloc(ctx, (size_t)lwork * sizeof *work);
    if (!work) return HWB_ENOMEM;
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    dsyev_("V", "U", &n, a, &n, w, work, &lwork, &info, 1, 1);
    omp_set_num_threads(threads);
    hwb_free(work);
    if (info != 0)
        return hwb_fail(ctx, HWB_ENUMERIC, "eigenproblem of size %d did not converge (dsyev %d)", n,
                        info);
    return HWB_OK;
}

hwb_status hwb__eigh_tridiagonal(hwb_ctx *ctx, int64_t m, double *d, double *e, double *z) {
    int n = (int)m, info = 0;
    double *work = hwb_alloc(ctx, (size_t)(2 * n) * sizeof *work);
    if (!work) return HWB_ENOMEM;
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    dstev_("V", &n, d, e, z, &n, work, &info, 1);
    omp_set_num_threads(threads);
    hwb_free(work);
    if (info != 0)
        return hwb_fail(ctx, HWB_ENUMERIC,
                        "tridiagonal eigenproblem of size %d did not converge (dstev %d)", n, info);
    return HWB_OK;
}
