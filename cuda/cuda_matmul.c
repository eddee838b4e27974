/*
 * cuda_matmul.c: c[..,m,n] = sum_k a[..,m,k] b[..,k,n] by cuBLAS.
 *
 * cuBLAS is column-major: row-major c is column-major c^T = b^T a^T, so b comes
 * first.  Batch dims (equal or 1) are joined like the axes of any walk; the
 * innermost joined one is cuBLAS's batch, with stride 0 where an operand repeats,
 * the others are a loop.  float32 is exact float32 arithmetic unless the context
 * asks for TF32 or bf16; float64 is float64.
 */
#include "cuda_i.h"

typedef struct matmul_kernel {
    hwb_kernel base;
    hwb__cuda_gemm g;
    size_t bytes;         /* of the result */
    hwb__cuda_walk batch; /* operands c, a, b, in elements */
} matmul_kernel;

cublasComputeType_t hwb__cuda_compute(const hwb__cuda *s, bool f64, bool exact) {
    if (f64) return CUBLAS_COMPUTE_64F;
    if (exact) return CUBLAS_COMPUTE_32F;
    if (s->math == HWB_MATH_TF32) return CUBLAS_COMPUTE_32F_FAST_TF32;
    return s->math == HWB_MATH_BF16 ? CUBLAS_COMPUTE_32F_FAST_16BF : CUBLAS_COMPUTE_32F;
}

hwb_status hwb__cuda_gemm_run(hwb_ctx *ctx, hwb__cuda *s, const hwb__cuda_gemm *g, const void *a,
                              const void *b, void *c, bool add) {
    static const float factor32[2] = {0, 1};
    static const double factor64[2] = {0, 1};
    const cudaDataType type = g->f64 ? CUDA_R_64F : CUDA_R_32F;
    const void *zero = g->f64 ? (const void *)&factor64[0] : &factor32[0];
    const void *one = g->f64 ? (const void *)&factor64[1] : &factor32[1];
    HWB_CUBLAS_TRY(ctx, cublasGemmStridedBatchedEx_64(
                            s->blas, g->tb ? CUBLAS_OP_T : CUBLAS_OP_N,
                            g->ta ? CUBLAS_OP_T : CUBLAS_OP_N, g->n, g->m, g->k, one, b, type,
                            g->ldb, g->sb, a, type, g->lda, g->sa, add ? one : zero, c, type,
                            g->ldc, g->sc, g->batch, g->compute, CUBLAS_GEMM_DEFAULT));
    return HWB_OK;
}

static hwb_status run(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel *base, const void *const *in,
                      void *const *out) {
    matmul_kernel *k = (matmul_kernel *)base;
    const hwb__cuda_walk *w = &k->batch;
    const int last = w->ndim - 1;
    const int64_t size = k->g.f64 ? 8 : 4;
    int64_t outer = 1;
    if (k->bytes == 0) return HWB_OK;
    if (k->g.k == 0) {
        HWB_CUDA_TRY(ctx, cudaMemsetAsync(out[0], 0, k->bytes, s->stream));
        return HWB_OK;
    }
    for (int d = 0; d < last; d++) outer *= w->dim[d];
    for (int64_t i = 0; i < outer; i++) {
        int64_t at[3] = {0, 0, 0}, rest = i;
        for (int d = last - 1; d >= 0; d--) {
            for (int j = 0; j < 3; j++) at[j] += rest % w->dim[d] * w->stride[j][d];
            rest /= w->dim[d];
        }
        HWB_TRY(hwb__cuda_gemm_run(ctx, s, &k->g, (const char *)in[0] + at[1] * size,
                                   (const char *)in[1] + at[2] * size,
                                   (char *)out[0] + at[0] * size, false));
    }
    return HWB_OK;
}

static bool supports(const hwb_kdesc *d) {
    return d->op == HWB_OP_MATMUL && d->n_in == 2 && hwb__cuda_is_float(d->in[0].dtype);
}

static void lay_out(hwb__cuda_gemm *g, hwb__cuda_walk *batch, const hwb_kdesc *d) {
    const hwb_shape *a = &d->in[0].shape, *c = &d->out[0].shape;
    const int r = c->ndim;
    hwb__cuda_stride stride[3];
    hwb_shape outer = *c;
    g->ta = d->attrs.ta != 0;
    g->tb = d->attrs.tb != 0;
    g->m = c->dim[r - 2];
    g->n = g->ldc = c->dim[r - 1];
    g->k = a->dim[g->ta ? r - 2 : r - 1];
    g->lda = g->ta ? g->m : g->k;
    g->ldb = g->tb ? g->k : g->n;
    hwb__cuda_strides(c, stride[0]);
    hwb__cuda_strides(a, stride[1]);
    hwb__cuda_strides(&d->in[1].shape, stride[2]);
    outer.ndim = r - 2;
    hwb__cuda_walk_make(batch, &outer, 3, stride, NULL);
    const int last = batch->ndim - 1;
    g->batch = last >= 0 ? batch->dim[last] : 1;
    if (last < 0) return;
    g->sc = batch->stride[0][last];
    g->sa = batch->stride[1][last];
    g->sb = batch->stride[2][last];
}

static const char *name_of(cublasComputeType_t compute) {
    if (compute == CUBLAS_COMPUTE_32F_FAST_TF32) return "cublas:tf32";
    return compute == CUBLAS_COMPUTE_32F_FAST_16BF ? "cublas:bf16" : "cublas";
}

static hwb_status prepare(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel **out, const hwb_kdesc *d) {
    HWB_TRY(hwb__cuda_blas(ctx, s));
    const bool f64 = d->out[0].dtype == HWB_F64;
    const cublasComputeType_t compute = hwb__cuda_compute(s, f64, d->exact);
    matmul_kernel *k = hwb__cuda_kernel_new(sizeof(*k), name_of(compute));
    if (!k) return hwb__cuda_oom(ctx);
    k->base.run = run;
    k->g.f64 = f64;
    k->g.compute = compute;
    k->bytes = hwb__cuda_bytes(&d->out[0]);
    lay_out(&k->g, &k->batch, d);
    *out = &k->base;
    return HWB_OK;
}

const hwb__cuda_family hwb__cuda_matmul = {supports, prepare};
