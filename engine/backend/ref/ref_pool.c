/*
 * ref_pool.c: pooling over [K,]N,C planes.  With h = p*stride - pad_lo + r*dilation,
 *     avgpool        y[p,q] = 1/(kh*kw) sum_{r,s} x[h,w]     zeros outside the image
 *     avgpool_bwd    its transpose
 *     maxpool_index  i[p,q] = h*W + w of the window's first maximum, padding left out
 *     pool_gather    y[p,q] = x[i[p,q]]        pool_scatter   x[i[p,q]] += y[p,q]
 * The transposes add in the order of p,q into scratch of doubles.
 */
#include "backend/ref/ref_i.h"
#include "graph/image_i.h"

#include <math.h>
#include <string.h>

typedef struct pool {
    const hwb_attrs *at;
    hwb__image x, y, index; /* x large, y pooled */
    hwb_dtype dtype;        /* of x and y */
    bool wide;              /* worth several threads */
} pool;

/* `large` tells whether in[0] is the large image or the pooled one. */
static pool open_pool(const hwb_kernel *k, bool large) {
    const hwb_kdesc *d = &k->desc;
    const bool last = d->attrs.channels_last != 0;
    pool p = {.at = &d->attrs, .dtype = d->in[0].dtype};
    hwb__image_read(&d->in[0].shape, last, large ? &p.x : &p.y);
    hwb__image_read(&d->out[0].shape, last, large ? &p.y : &p.x);
    if (d->n_in > 1) hwb__image_read(&d->in[1].shape, last, &p.index);
    p.wide = hwb_shape_numel(&d->in[0].shape) + hwb_shape_numel(&d->out[0].shape) >
             HWB__REF_PARALLEL_MIN;
    return p;
}

/* Offset of a plane: image number i of [K,N,C] */
static int64_t plane(const hwb__image *im, int64_t i) {
    int64_t c = i % im->c, n = i / im->c % im->n, k = i / im->c / im->n;
    return k * im->sk + n * im->sn + c * im->sc;
}

static int64_t planes(const hwb__image *im) {
    return im->k * im->n * im->c;
}

/* Row and column under tap (r,s) of window (p,q); false in the padding. */
static bool tap(const pool *p, int64_t i, int64_t j, int64_t r, int64_t s, int64_t *h, int64_t *w) {
    *h = hwb__window_at(p->at, 0, i, r);
    *w = hwb__window_at(p->at, 1, j, s);
    return *h >= 0 && *h < p->x.h && *w >= 0 && *w < p->x.w;
}

static double window_sum(const pool *p, const void *x, int64_t base, int64_t i, int64_t j) {
    double acc = 0;
    int64_t h, w;
    for (int64_t r = 0; r < p->at->kernel[0]; r++)
        for (int64_t s = 0; s < p->at->kernel[1]; s++)
            if (tap(p, i, j, r, s, &h, &w))
                acc += hwb__ref_load(p->dtype, x, base + h * p->x.sh + w * p->x.sw);
    return acc;
}

hwb_status hwb__ref_avgpool(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                            void *const *out) {
    const pool p = open_pool(k, true);
    const double count = (double)p.at->kernel[0] * p.at->kernel[1];
    const int64_t np = planes(&p.x);
#pragma omp parallel for if (p.wide) num_threads(hwb_threads(ctx))
    for (int64_t t = 0; t < np; t++) {
        int64_t x = plane(&p.x, t), y = plane(&p.y, t);
        for (int64_t i = 0; i < p.y.h; i++)
            for (int64_t j = 0; j < p.y.w; j++)
                hwb__ref_store(p.dtype, out[0], y + i * p.y.sh + j * p.y.sw,
                               window_sum(&p, in[0], x, i, j) / count);
    }
    return HWB_OK;
}

static void clear_plane(const hwb__image *im, double *acc) {
    for (int64_t h = 0; h < im->h; h++)
        for (int64_t w = 0; w < im->w; w++) acc[h * im->sh + w * im->sw] = 0;
}

static void store_plane(const pool *p, const double *acc, int64_t base, void *out) {
    for (int64_t h = 0; h < p->x.h; h++)
        for (int64_t w = 0; w < p->x.w; w++) {
            int64_t i = base + h * p->x.sh + w * p->x.sw;
            hwb__ref_store(p->dtype, out, i, acc[i]);
        }
}

hwb_status hwb__ref_avgpool_bwd(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                                void *const *out) {
    const pool p = open_pool(k, false);
    const double count = (double)p.at->kernel[0] * p.at->kernel[1];
    const int64_t np = planes(&p.x);
    double *acc = k->scratch;
#pragma omp parallel for if (p.wide) num_threads(hwb_threads(ctx))
    for (int64_t t = 0; t < np; t++) {
        int64_t x = plane(&p.x, t), y = plane(&p.y, t), h, w;
        clear_plane(&p.x, acc + x);
        for (int64_t i = 0; i < p.y.h; i++)
            for (int64_t j = 0; j < p.y.w; j++) {
                double v = hwb__ref_load(p.dtype, in[0], y + i * p.y.sh + j * p.y.sw);
                for (int64_t r = 0; r < p.at->kernel[0]; r++)
                    for (int64_t s = 0; s < p.at->kernel[1]; s++)
                        if (tap(&p, i, j, r, s, &h, &w)) acc[x + h * p.x.sh + w * p.x.sw] += v;
            }
        for (int64_t i = 0; i < p.x.h; i++)
            for (int64_t j = 0; j < p.x.w; j++) acc[x + i * p.x.sh + j * p.x.sw] /= count;
        store_plane(&p, acc, x, out[0]);
    }
    return HWB_OK;
}

/* NaN counts as the largest, so that it is passed on. */
static int32_t first_max(const pool *p, const void *x, int64_t base, int64_t i, int64_t j) {
    int64_t best = -1, h, w;
    double top = 0;
    for (int64_t r = 0; r < p->at->kernel[0]; r++)
        for (int64_t s = 0; s < p->at->kernel[1]; s++) {
            if (!tap(p, i, j, r, s, &h, &w)) continue;
            double v = hwb__ref_load(p->dtype, x, base + h * p->x.sh + w * p->x.sw);
            if (best >= 0 && !(v > top) && !(isnan(v) && !isnan(top))) continue;
            best = h * p->x.w + w;
            top = v;
        }
    return (int32_t)best;
}

hwb_status hwb__ref_maxpool_index(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                                  void *const *out) {
    const pool p = open_pool(k, true);
    const int64_t np = planes(&p.x);
    int32_t *index = out[0];
#pragma omp parallel for if (p.wide) num_threads(hwb_threads(ctx))
    for (int64_t t = 0; t < np; t++) {
        int64_t x = plane(&p.x, t), y = plane(&p.y, t);
        for (int64_t i = 0; i < p.y.h; i++)
            for (int64_t j = 0; j < p.y.w; j++)
                index[y + i * p.y.sh + j * p.y.sw] = first_max(&p, in[0], x, i, j);
    }
    return HWB_OK;
}

static hwb_status check_index(hwb_ctx *ctx, const hwb_kernel *k, const pool *p, const void *index) {
    int64_t n = hwb_shape_numel(&k->desc.in[1].shape), pixels = p->x.h * p->x.w;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = hwb__ref_load_int(k->desc.in[1].dtype, index, i);
        if (at < 0 || at >= pixels)
            return hwb_fail(ctx, HWB_EARG, "%s: index %lld at place %lld, but a plane is %lldx%lld",
                            hwb_op_name(k->desc.op), (long long)at + 1, (long long)i + 1,
                            (long long)p->x.h, (long long)p->x.w);
    }
    return HWB_OK;
}

/* Offset within the large plane of the pixel that window (i,j) picked. */
static int64_t picked(const pool *p, hwb_dtype dt, const void *index, int64_t base, int64_t i,
                      int64_t j) {
    int64_t at = hwb__ref_load_int(dt, index, base + i * p->index.sh + j * p->index.sw);
    return at / p->x.w * p->x.sh + at % p->x.w * p->x.sw;
}

hwb_status hwb__ref_pool_gather(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                                void *const *out) {
    const pool p = open_pool(k, true);
    const int64_t np = planes(&p.x), one = p.x.n * p.x.c, size = (int64_t)hwb_dtype_size(p.dtype);
    const hwb_dtype dt = k->desc.in[1].dtype;
    HWB_TRY(check_index(ctx, k, &p, in[1]));
#pragma omp parallel for if (p.wide) num_threads(hwb_threads(ctx))
    for (int64_t t = 0; t < np; t++) { /* the index serves all k */
        int64_t x = plane(&p.x, t), y = plane(&p.y, t), index = plane(&p.index, t % one);
        for (int64_t i = 0; i < p.y.h; i++)
            for (int64_t j = 0; j < p.y.w; j++)
                memcpy((char *)out[0] + (y + i * p.y.sh + j * p.y.sw) * size,
                       (const char *)in[0] + (x + picked(&p, dt, in[1], index, i, j)) * size,
                       (size_t)size);
    }
    return HWB_OK;
}

hwb_status hwb__ref_pool_scatter(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                                 void *const *out) {
    const pool p = open_pool(k, false);
    const int64_t np = planes(&p.x), one = p.x.n * p.x.c;
    const hwb_dtype dt = k->desc.in[1].dtype;
    double *acc = k->scratch;
    HWB_TRY(check_index(ctx, k, &p, in[1]));
#pragma omp parallel for if (p.wide) num_threads(hwb_threads(ctx))
    for (int64_t t = 0; t < np; t++) {
        int64_t x = plane(&p.x, t), y = plane(&p.y, t), index = plane(&p.index, t % one);
        clear_plane(&p.x, acc + x);
        for (int64_t i = 0; i < p.y.h; i++)
            for (int64_t j = 0; j < p.y.w; j++)
                acc[x + picked(&p, dt, in[1], index, i, j)] +=
                    hwb__ref_load(p.dtype, in[0], y + i * p.y.sh + j * p.y.sw);
        store_plane(&p, acc, x, out[0]);
    }
    return HWB_OK;
}
