/*
 * cublas.c: the libcublas stand-in: C = alpha op(A) op(B) + beta C, batched by
 * strides, column-major as cuBLAS has it, summed in double.
 *
 * Arguments are refused as the documentation of cublasGemmStridedBatchedEx says.
 * TF32 and bf16 computation round the operands; C is not read when beta is 0.  The
 * beginning of the workspace is written over.
 */
#include "emu.h"

#include <cublas_v2.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLAS_MAGIC = 0x424c4153, SPOILED = 4096 };

struct cublasContext {
    unsigned magic;
    cudaStream_t stream;
    void *workspace;
    size_t workspace_bytes;
};

static struct cublasContext *blas_of(cublasHandle_t h) {
    if (!h || h->magic != BLAS_MAGIC) emu_fatal("a cuBLAS handle that was destroyed");
    return h;
}

/* ---- the product ------------------------------------------------------------------- */

typedef struct matrix {
    char *p;
    int64_t ld, step;      /* between the matrices of a batch */
    int64_t rows, columns; /* as stored */
    bool transposed;
} matrix;

typedef struct product {
    matrix a, b, c;
    int64_t m, n, k, batch;
    double alpha, beta;
    size_t size; /* of an element: 4 or 8 */
    int keep;    /* bits of the significand that operands keep; 0: all */
    void *workspace;
    size_t workspace_bytes;
} product;

static double rounded(double x, int keep) {
    int exponent;
    if (!keep || !isfinite(x)) return x;
    double f = frexp(x, &exponent);
    return ldexp(rint(ldexp(f, keep)), exponent - keep);
}

static double load(const product *p, const char *at, int64_t i) {
    return p->size == 4 ? (double)((const float *)(const void *)at)[i]
                        : ((const double *)(const void *)at)[i];
}

/* op(x) as rows x columns, row-major, in double */
static double *unpack(const product *p, const matrix *x, int64_t batch, int64_t rows,
                      int64_t columns) {
    const char *at = x->p + (size_t)(batch * x->step) * p->size;
    double *out = malloc((size_t)(rows * columns) * sizeof *out + 1);
    if (!out) emu_fatal("no memory for a product");
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            out[i * columns + j] =
                rounded(load(p, at, x->transposed ? i * x->ld + j : j * x->ld + i), p->keep);
    return out;
}

static void multiply(const product *p, int64_t batch, double *row) {
    double *a = unpack(p, &p->a, batch, p->m, p->k), *b = unpack(p, &p->b, batch, p->k, p->n);
    char *c = p->c.p + (size_t)(batch * p->c.step) * p->size;
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j = 0; j < p->n; j++) row[j] = 0;
        for (int64_t l = 0; l < p->k; l++) {
            double x = a[i * p->k + l];
            const double *from = b + l * p->n;
            for (int64_t j = 0; j < p->n; j++) row[j] += x * from[j];
        }
        for (int64_t j = 0; j < p->n; j++) {
            int64_t at = j * p->c.ld + i;
            double y = p->alpha * row[j] + (p->beta != 0 ? p->beta * load(p, c, at) : 0);
            if (p->size == 4) ((float *)(void *)c)[at] = (float)y;
            else ((double *)(void *)c)[at] = y;
        }
    }
    free(a);
    free(b);
}

/* Bytes from the first element of the first matrix to the last of the last. */
static void check(const product *p, const matrix *x, const char *what) {
    int64_t last = (x->columns - 1) * x->ld + x->rows, step = x->step < 0 ? 0 : x->step;
    if (x->rows <= 0 || x->columns <= 0) return;
    emu_memory_check(x->p, (size_t)(last + (p->batch - 1) * step) * p->size, what);
}

static void run_product(void *args) {
    product *p = args;
    if (p->k > 0) {
        check(p, &p->a, "cublasGemm: A");
        check(p, &p->b, "cublasGemm: B");
    }
    check(p, &p->c, "cublasGemm: C");
    emu_memory_check(p->workspace, p->workspace_bytes, "cublasGemm: workspace");
    if (p->workspace)
        memset(p->workspace, 0xFF, p->workspace_bytes < SPOILED ? p->workspace_bytes : SPOILED);
    double *row = malloc((size_t)p->n * sizeof *row + 1);
    if (!row) emu_fatal("no memory for a product");
    for (int64_t i = 0; i < p->batch; i++) multiply(p, i, row);
    free(row);
}

/* ---- the library's calls --------------------------------------------------------------- */

CUBLASAPI EMU_API cublasStatus_t cublasCreate_v2(cublasHandle_t *out) {
    *out = NULL;
    if (emu_unsafe_call() != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (emu_fail_now()) return CUBLAS_STATUS_ALLOC_FAILED;
    *out = calloc(1, sizeof **out);
    if (!*out) return CUBLAS_STATUS_ALLOC_FAILED;
    (*out)->magic = BLAS_MAGIC;
    emu_handle_count("cublasHandle", 1);
    return CUBLAS_STATUS_SUCCESS;
}

CUBLASAPI EMU_API cublasStatus_t cublasDestroy_v2(cublasHandle_t h) {
    if (emu_unsafe_call() != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
    blas_of(h)->magic = 0;
    emu_keep(h);
    emu_handle_count("cublasHandle", -1);
    return CUBLAS_STATUS_SUCCESS;
}

CUBLASAPI EMU_API cublasStatus_t cublasSetStream_v2(cublasHandle_t h, cudaStream_t stream) {
    blas_of(h)->stream = stream;
    h->workspace = NULL; /* back to the library's own, as documented */
    return CUBLAS_STATUS_SUCCESS;
}

CUBLASAPI EMU_API cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t h, void *p, size_t bytes) {
    if ((uintptr_t)p % 256 != 0) return CUBLAS_STATUS_INVALID_VALUE;
    emu_lock();
    emu_memory_check(p, bytes, "cublasSetWorkspace");
    emu_unlock();
    blas_of(h)->workspace = p;
    h->workspace_bytes = bytes;
    return CUBLAS_STATUS_SUCCESS;
}

CUBLASAPI EMU_API cublasStatus_t cublasGetVersion_v2(cublasHandle_t h, int *version) {
    (void)h;
    *version = CUBLAS_VERSION;
    return CUBLAS_STATUS_SUCCESS;
}

CUBLASAPI EMU_API const char *cublasGetStatusString(cublasStatus_t e) {
    switch (e) {
    case CUBLAS_STATUS_SUCCESS: return "success";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "the library was not initialized";
    case CUBLAS_STATUS_ALLOC_FAILED: return "the resource allocation failed";
    case CUBLAS_STATUS_INVALID_VALUE: return "an invalid value was passed as an argument";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "the functionality is not supported";
    default: return "unknown cuBLAS status";
    }
}

static bool known_types(product *p, cudaDataType_t a, cudaDataType_t b, cudaDataType_t c,
                        cublasComputeType_t compute) {
    if (a != b || a != c) return false;
    p->size = a == CUDA_R_64F ? 8 : 4;
    p->keep = compute == CUBLAS_COMPUTE_32F_FAST_TF32   ? 11
              : compute == CUBLAS_COMPUTE_32F_FAST_16BF ? 8
                                                        : 0;
    bool single =
        compute == CUBLAS_COMPUTE_32F || compute == CUBLAS_COMPUTE_32F_PEDANTIC || p->keep;
    bool dual = compute == CUBLAS_COMPUTE_64F || compute == CUBLAS_COMPUTE_64F_PEDANTIC;
    return (a == CUDA_R_32F && single) || (a == CUDA_R_64F && dual);
}

CUBLASAPI EMU_API cublasStatus_t cublasGemmStridedBatchedEx_64(
    cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int64_t m, int64_t n, int64_t k,
    const void *alpha, const void *a, cudaDataType_t a_type, int64_t lda, long long step_a,
    const void *b, cudaDataType_t b_type, int64_t ldb, long long step_b, const void *beta, void *c,
    cudaDataType_t c_type, int64_t ldc, long long step_c, int64_t batch,
    cublasComputeType_t compute, cublasGemmAlgo_t algo) {
    blas_of(h);
    product p = {.m = m, .n = n, .k = k, .batch = batch};
    bool fa = ta == CUBLAS_OP_N, fb = tb == CUBLAS_OP_N;
    if ((!fa && ta != CUBLAS_OP_T) || (!fb && tb != CUBLAS_OP_T))
        return CUBLAS_STATUS_INVALID_VALUE;
    p.a = (matrix){(char *)(uintptr_t)a, lda, step_a, fa ? m : k, fa ? k : m, !fa};
    p.b = (matrix){(char *)(uintptr_t)b, ldb, step_b, fb ? k : n, fb ? n : k, !fb};
    p.c = (matrix){c, ldc, step_c, m, n, false};
    if (m < 0 || n < 0 || k < 0 || batch < 0 || !alpha || !beta) return CUBLAS_STATUS_INVALID_VALUE;
    if (lda < (p.a.rows > 1 ? p.a.rows : 1) || ldb < (p.b.rows > 1 ? p.b.rows : 1) ||
        ldc < (m > 1 ? m : 1) || step_c < 0)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (algo != CUBLAS_GEMM_DEFAULT) return CUBLAS_STATUS_INVALID_VALUE;
    if (!known_types(&p, a_type, b_type, c_type, compute)) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (batch > 1 && step_c < ldc * (n - 1) + m && m * n > 0)
        emu_fatal("cublasGemmStridedBatchedEx: the results of a batch overlap");
    p.alpha = p.size == 4 ? (double)*(const float *)alpha : *(const double *)alpha;
    p.beta = p.size == 4 ? (double)*(const float *)beta : *(const double *)beta;
    if (m == 0 || n == 0 || batch == 0) return CUBLAS_STATUS_SUCCESS;
    if (emu_error_pending()) return CUBLAS_STATUS_EXECUTION_FAILED;
    if (!h->workspace && emu_capturing(h->stream))
        emu_fatal("cuBLAS would allocate its workspace while the stream is captured");
    p.workspace = h->workspace;
    p.workspace_bytes = h->workspace ? h->workspace_bytes : 0;
    emu_lock();
    cudaError_t e = emu_enqueue(h->stream, "cublasGemmStridedBatchedEx", run_product, &p, sizeof p);
    emu_unlock();
    return e == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
