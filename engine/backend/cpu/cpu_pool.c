/*
 * cpu_pool.c: pooling of channels-last images, vectorised over channels.  With
 * h = p*stride - pad + r*dilation,
 *
 *   AVGPOOL        y[p,q,:] = 1/(kh kw) sum_{r,s} x[h,w,:]   zeros outside
 *   AVGPOOL_BWD    x[h,w,:] = 1/(kh kw) sum of the y[p,q,:] whose window covers it
 *   MAXPOOL_INDEX  i[p,q,c] = h*W + w of the window's first maximum
 *   POOL_GATHER    y[p,q,c] = x[i[p,q,c],c]
 *   POOL_SCATTER   x[i[p,q,c],c] += y[p,q,c], in the order of p,q
 *
 * A leading K is more images; the index then serves all k.
 */
#include "backend/cpu/cpu_i.h"

#include <math.h>
#include <string.h>

#include "graph/image_i.h"

typedef struct pool_kernel {
    hwb__cpu_kernel base;
    hwb_op op;
    hwb_dtype dtype, index_dtype;
    hwb_attrs at;
    hwb__image x, y; /* large, pooled */
    bool parallel;
} pool_kernel;

enum { LANES = 64 }; /* channels at a time */

/* ---- loops of both precisions -------------------------------------------- */

#define T     float
#define FN(f) f##_f32
#include "backend/cpu/cpu_pool_loops.h"
#undef T
#undef FN
#define T     double
#define FN(f) f##_f64
#include "backend/cpu/cpu_pool_loops.h"
#undef T
#undef FN

/* ---- run ----------------------------------------------------------------- */

static int32_t index_at(const pool_kernel *k, const void *index, int64_t i) {
    return k->index_dtype == HWB_I32 ? ((const int32_t *)index)[i]
                                     : (int32_t)((const int64_t *)index)[i];
}

static hwb_status check_index(hwb_ctx *ctx, const pool_kernel *k, const void *index) {
    int64_t n = k->y.n * k->y.h * k->y.w * k->y.c, pixels = k->x.h * k->x.w, wrong = n;
#pragma omp parallel for schedule(static) if (k->parallel) reduction(min : wrong)
    for (int64_t i = 0; i < n; i++) {
        int64_t at =
            k->index_dtype == HWB_I32 ? ((const int32_t *)index)[i] : ((const int64_t *)index)[i];
        if ((at < 0 || at >= pixels) && i < wrong) wrong = i;
    }
    if (wrong == n) return HWB_OK;
    return hwb_fail(ctx, HWB_EARG, "%s: index %lld at place %lld, but a plane is %lldx%lld",
                    hwb_op_name(k->op),
                    (k->index_dtype == HWB_I32 ? (long long)((const int32_t *)index)[wrong]
                                               : (long long)((const int64_t *)index)[wrong]) +
                        1,
                    (long long)wrong + 1, (long long)k->x.h, (long long)k->x.w);
}

/* Rows of result pixels are shared among threads: images x rows of the result. */
static hwb_status window_run(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                             const uint64_t *versions, void *const *out) {
    const pool_kernel *k = (const pool_kernel *)kernel;
    bool narrow = k->dtype == HWB_F32;
    int64_t rows = k->op == HWB_OP_AVGPOOL_BWD ? k->x.h : k->y.h;
    (void)ctx;
    (void)versions;
#pragma omp parallel for schedule(static) if (k->parallel)
    for (int64_t u = 0; u < k->x.k * k->x.n * rows; u++) {
        int64_t image = u / rows, row = u % rows;
        if (k->op == HWB_OP_AVGPOOL && narrow) mean_row_f32(k, in[0], out[0], image, row);
        else if (k->op == HWB_OP_AVGPOOL) mean_row_f64(k, in[0], out[0], image, row);
        else if (k->op == HWB_OP_AVGPOOL_BWD && narrow)
            spread_row_f32(k, in[0], out[0], image, row);
        else if (k->op == HWB_OP_AVGPOOL_BWD) spread_row_f64(k, in[0], out[0], image, row);
        else if (narrow) max_row_f32(k, in[0], out[0], image, row);
        else max_row_f64(k, in[0], out[0], image, row);
    }
    return HWB_OK;
}

static hwb_status gather_run(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                             const uint64_t *versions, void *const *out) {
    const pool_kernel *k = (const pool_kernel *)kernel;
    int64_t c = k->x.c, pixels = k->y.h * k->y.w, one = k->x.h * k->x.w * c;
    (void)versions;
    HWB_TRY(check_index(ctx, k, in[1]));
#pragma omp parallel for schedule(static) if (k->parallel)
    for (int64_t u = 0; u < k->x.k * k->x.n * pixels; u++) {
        int64_t image = u / pixels, place = (image % k->x.n * pixels + u % pixels) * c;
        for (int64_t j = 0; j < c; j++) {
            int64_t from = image * one + (int64_t)index_at(k, in[1], place + j) * c + j;
            if (k->dtype == HWB_F32) ((float *)out[0])[u * c + j] = ((const float *)in[0])[from];
            else ((double *)out[0])[u * c + j] = ((const double *)in[0])[from];
        }
    }
    return HWB_OK;
}

/* Windows overlap, so an image is one thread's; few terms meet in one place. */
static hwb_status scatter_run(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                              const uint64_t *versions, void *const *out) {
    const pool_kernel *k = (const pool_kernel *)kernel;
    int64_t c = k->x.c, n = k->y.h * k->y.w * c, one = k->x.h * k->x.w * c;
    (void)versions;
    HWB_TRY(check_index(ctx, k, in[1]));
#pragma omp parallel for schedule(static) if (k->parallel)
    for (int64_t image = 0; image < k->x.k * k->x.n; image++) {
        int64_t place = image % k->x.n * n;
        size_t size = hwb_dtype_size(k->dtype);
        memset((char *)out[0] + (size_t)(image * one) * size, 0, (size_t)one * size);
        for (int64_t p = 0; p < n; p += c)
            for (int64_t j = 0; j < c; j++) {
                int64_t to = image * one + (int64_t)index_at(k, in[1], place + p + j) * c + j;
                if (k->dtype == HWB_F32)
                    ((float *)out[0])[to] += ((const float *)in[0])[image * n + p + j];
                else ((double *)out[0])[to] += ((const double *)in[0])[image * n + p + j];
            }
    }
    return HWB_OK;
}

/* ---- prepare ------------------------------------------------------------- */

bool hwb__cpu_pool_supports(const hwb_kdesc *desc) {
    return desc->attrs.channels_last && hwb_dtype_is_float(desc->in[0].dtype) &&
           hwb_shape_numel(&desc->in[0].shape) > 0 && hwb_shape_numel(&desc->out[0].shape) > 0;
}

static void pool_free(hwb__cpu_kernel *kernel) {
    hwb_free(kernel);
}

hwb_status hwb__cpu_pool_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                 const hwb_kdesc *desc) {
    hwb__cpu_kernel *base;
    HWB_TRY(hwb__cpu_kernel_new(ctx, state, &base, sizeof(pool_kernel), "channels-last"));
    pool_kernel *k = (pool_kernel *)base;
    bool up = desc->op == HWB_OP_AVGPOOL_BWD || desc->op == HWB_OP_POOL_SCATTER;
    base->free = pool_free;
    base->run = desc->op == HWB_OP_POOL_GATHER    ? gather_run
                : desc->op == HWB_OP_POOL_SCATTER ? scatter_run
                                                  : window_run;
    k->op = desc->op;
    k->dtype = desc->in[0].dtype;
    k->index_dtype = desc->n_in > 1 ? desc->in[1].dtype : HWB_I32;
    k->at = desc->attrs;
    hwb__image_read(up ? &desc->out[0].shape : &desc->in[0].shape, true, &k->x);
    hwb__image_read(up ? &desc->in[0].shape : &desc->out[0].shape, true, &k->y);
    int64_t work = hwb_shape_numel(&desc->in[0].shape) + hwb_shape_numel(&desc->out[0].shape);
    k->parallel = base->threads > 1 && work >= HWB_CPU_SERIAL;
    *out = base;
    return HWB_OK;
}
