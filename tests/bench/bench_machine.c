/*
 * bench_machine.c: the two rates that limit a case on this machine.
 *
 *   arithmetic  C[n,n] += A[n,n] B[n,n] in float32 by OpenBLAS, n^3 multiply-adds
 *   memory      y = x over arrays several times the last-level cache, 2 bytes
 *               moved for each byte copied
 *
 * Best of ten each.
 */
#include "bench.h"

#include <cblas.h>
#include <omp.h>

enum { N = 2048, COPY_MIB = 256, TIMES = 10 };

void openblas_set_num_threads(int n);

static double product_rate(int threads) {
    size_t n = (size_t)N * N;
    float *a = malloc(3 * n * sizeof *a), *b = a + n, *c = b + n;
    double best = INFINITY;
    for (size_t i = 0; i < 3 * n; i++) a[i] = (float)(i % 13) / 13;
    openblas_set_num_threads(threads);
    for (int t = 0; t < TIMES; t++) {
        double start = hwb_seconds();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, N, N, N, 1, a, N, b, N, 0, c, N);
        best = fmin(best, hwb_seconds() - start);
    }
    free(a);
    return (double)N * N * N / best;
}

static double copy_rate(int threads) {
    size_t bytes = (size_t)COPY_MIB << 20;
    char *x = malloc(2 * bytes), *y = x + bytes;
    double best = INFINITY;
    memset(x, 1, 2 * bytes);
    for (int t = 0; t < TIMES; t++) {
        double start = hwb_seconds();
#pragma omp parallel num_threads(threads)
        {
            size_t part = bytes / (size_t)omp_get_num_threads(), i = (size_t)omp_get_thread_num();
            memcpy(y + i * part, x + i * part, part);
        }
        best = fmin(best, hwb_seconds() - start);
    }
    free(x);
    return 2 * (double)bytes / best;
}

void bench_machine(int threads, double *macs, double *bytes) {
    *macs = product_rate(threads);
    *bytes = copy_rate(threads);
}
