/*
 * cpu_matmul.c: MATMUL through BLAS, float32 and float64; large ones of float32 by cpu_product.c.
 *
 *   c[..,m,n] = op(a)[..,m,k] op(b)[..,k,n] (+ c), op = transpose of the last two dims
 *
 * Batch dims are equal or 1.  When b has one matrix and a is not transposed,
 * the batch is part of m and there is one product.  Otherwise many small
 * products are shared among threads (BLAS inside a parallel region runs on one
 * thread), few large ones run one after another with all threads.  Which products are our
 * own depends on their size alone, so that no result depends on the number of threads.
 */
#include "backend/cpu/blas_i.h"
#include "backend/cpu/cpu_i.h"
#include "backend/cpu/cpu_product_i.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

typedef struct matmul_kernel {
    hwb__cpu_kernel base;
    hwb_dtype dtype;
    bool ta, tb;
    int64_t m, n, k, batch;
    int nd;                                                                /* batch dims */
    int64_t dim[HWB_MAX_DIMS], a_step[HWB_MAX_DIMS], b_step[HWB_MAX_DIMS]; /* elements; 0: shared */
    bool across;    /* threads over the batch */
    bool add;       /* a third input is added */
    bool own;       /* cpu_product.c */
    size_t scratch; /* bytes of one */
} matmul_kernel;

/* Multiply-adds under which a product is not worth several threads; sides under which
 * blocks of our own are mostly edges. */
enum { ONE_THREAD_MACS = 1 << 22, LEAST_SIDE = 96 };

bool hwb__cpu_matmul_supports(const hwb_kdesc *desc) {
    hwb_dtype t = desc->in[0].dtype;
    const int64_t most = INT32_MAX;
    if ((t != HWB_F32 && t != HWB_F64) || desc->in[1].dtype != t || desc->n_in > 3) return false;
    const hwb_shape *shapes[3] = {&desc->in[0].shape, &desc->in[1].shape, &desc->out[0].shape};
    for (int i = 0; i < 3; i++) {
        int64_t numel = hwb_shape_numel(shapes[i]);
        if (shapes[i]->ndim < 2 || shapes[i]->ndim != shapes[2]->ndim || numel == 0) return false;
        if (numel > most) return false; /* folded rows must fit BLAS's int */
    }
    return true;
}

/* place: bytes of scratch that belong to others */
static void one(const matmul_kernel *k, const char *a, const char *b, char *c, int64_t index,
                size_t place) {
    int64_t at_a = 0, at_b = 0, rest = index;
    for (int d = k->nd - 1; d >= 0; d--) {
        int64_t i = rest % k->dim[d];
        rest /= k->dim[d];
        at_a += i * k->a_step[d];
        at_b += i * k->b_step[d];
    }
    size_t size = hwb_dtype_size(k->dtype);
    int64_t lda = k->ta ? k->m : k->k, ldb = k->tb ? k->k : k->n;
    a += (size_t)at_a * size;
    b += (size_t)at_b * size;
    c += (size_t)(index * k->m * k->n) * size;
    if (k->own) {
        char *scratch = k->base.state->scratch;
        hwb__product_run(&(hwb__product){.inner = k->base.state->direct,
                                         .m = k->m,
                                         .n = k->n,
                                         .k = k->k,
                                         .ta = k->ta,
                                         .tb = k->tb,
                                         .a = (const float *)a,
                                         .b = (const float *)b,
                                         .lda = lda,
                                         .ldb = ldb,
                                         .add = k->add,
                                         .c = (float *)c,
                                         .ldc = k->n,
                                         .threads = k->across ? 1 : k->base.threads,
                                         .scratch = (float *)(void *)(scratch + place)});
        return;
    }
    hwb__gemm(k->dtype, k->ta, k->tb, k->m, k->n, k->k, a, lda, b, ldb, k->add, c, k->n);
}

static hwb_status matmul_run(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                             const uint64_t *versions, void *const *out) {
    const matmul_kernel *k = (const matmul_kernel *)kernel;
    (void)ctx;
    (void)versions;
    if (k->add && in[2] != out[0])
        memcpy(out[0], in[2], (size_t)(k->batch * k->m * k->n) * hwb_dtype_size(k->dtype));
    if (k->across) {
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < k->batch; i++)
            one(k, in[0], in[1], out[0], i, (size_t)omp_get_thread_num() * k->scratch);
    } else {
        for (int64_t i = 0; i < k->batch; i++) one(k, in[0], in[1], out[0], i, 0);
    }
    return HWB_OK;
}

static void matmul_free(hwb__cpu_kernel *kernel) {
    hwb_free(kernel);
}

/* Element steps of the batch dims of an operand; 0 where its dim is 1. */
static void batch_steps(const hwb_shape *s, int64_t matrix, int64_t *step) {
    for (int d = s->ndim - 3; d >= 0; d--) {
        step[d] = s->dim[d] == 1 ? 0 : matrix;
        matrix *= s->dim[d];
    }
}

hwb_status hwb__cpu_matmul_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                   const hwb_kdesc *desc) {
    hwb__cpu_kernel *base;
    HWB_TRY(hwb__cpu_kernel_new(ctx, state, &base, sizeof(matmul_kernel), "blas"));
    matmul_kernel *k = (matmul_kernel *)base;
    base->run = matmul_run;
    base->free = matmul_free;
    const hwb_shape *a = &desc->in[0].shape, *b = &desc->in[1].shape, *c = &desc->out[0].shape;
    k->dtype = desc->in[0].dtype;
    k->ta = desc->attrs.ta != 0;
    k->tb = desc->attrs.tb != 0;
    k->add = desc->n_in == 3;
    k->nd = c->ndim - 2;
    k->m = c->dim[k->nd];
    k->n = c->dim[k->nd + 1];
    k->k = a->dim[k->nd + (k->ta ? 0 : 1)];
    k->batch = hwb_shape_numel(c) / (k->m * k->n);
    memcpy(k->dim, c->dim, sizeof k->dim);
    batch_steps(a, k->m * k->k, k->a_step);
    batch_steps(b, k->k * k->n, k->b_step);
    bool one_b = hwb_shape_numel(b) == k->k * k->n;
    if (one_b && !k->ta && hwb_shape_numel(a) == k->batch * k->m * k->k) {
        k->m *= k->batch;
        k->batch = 1;
        k->nd = 0;
    }
    int64_t macs = k->m * k->n * k->k;
    k->across = k->batch > 1 && base->threads > 1 && macs * k->batch > HWB_CPU_SERIAL &&
                (k->batch >= base->threads * 4 || macs < ONE_THREAD_MACS);
    k->own = k->dtype == HWB_F32 && state->direct && k->m >= LEAST_SIDE && k->n >= LEAST_SIDE &&
             k->k >= LEAST_SIDE;
    hwb_status status = HWB_OK;
    if (k->own) {
        snprintf(base->name, sizeof base->name, "product:%s", state->direct->name);
        int teams = k->across ? base->threads : 1;
        k->scratch = hwb__product_scratch(state->direct, k->m, k->k, base->threads / teams);
        status = hwb__cpu_reserve(ctx, state, (size_t)teams * k->scratch);
    }
    if (status == HWB_OK) *out = base;
    else matmul_free(base);
    return status;
}
