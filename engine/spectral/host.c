/*
 * host.c: vectors in host memory: dot products, combinations and rotations of long rows.
 *
 * A sum over n elements is cut into at most 1024 chunks whose size depends on
 * n alone; each chunk is summed by one thread with eight running sums, and
 * the chunk sums are added in order.  Hence the same bits at any thread count.
 * Element-wise kernels compute in double and round once.
 */
#include "spectral/spectral_i.h"

#include <omp.h>

enum { LANES = 8, TILE = 512, ROTATE_TILE = 128, MAX_CHUNKS = 1024, MIN_CHUNK = 4096 };

int hwb__host_threads(hwb_ctx *ctx, int64_t work) {
    if (work < 32768) return 1;
    int t = hwb_threads(ctx);
    return t > 0 ? t : omp_get_max_threads();
}

static int64_t chunk_size(int64_t n) {
    int64_t c = (n + MAX_CHUNKS - 1) / MAX_CHUNKS;
    return c < MIN_CHUNK ? MIN_CHUNK : c;
}

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* The kernels of one element type: dot of a short run, tile -= c * run, and
 * conversions between a run and a tile of doubles. */
#define DEFINE_KERNELS(T, X)                                                                       \
    static double run_dot_##X(const T *a, const T *b, int64_t n) {                                 \
        double acc[LANES] = {0};                                                                   \
        int64_t i = 0;                                                                             \
        for (; i + LANES <= n; i += LANES)                                                         \
            for (int j = 0; j < LANES; j++) acc[j] += (double)a[i + j] * (double)b[i + j];         \
        double s = 0;                                                                              \
        for (; i < n; i++) s += (double)a[i] * (double)b[i];                                       \
        for (int j = 0; j < LANES; j++) s += acc[j];                                               \
        return s;                                                                                  \
    }                                                                                              \
    static void run_add_##X(double *restrict t, double c, const T *restrict v, int64_t n) {        \
        for (int64_t i = 0; i < n; i++) t[i] += c * (double)v[i];                                  \
    }                                                                                              \
    /* four rows a pass: the tile is read and written once for all of them */                      \
    static void run_add4_##X(double *restrict t, const double *c, const T *restrict p,             \
                             const T *restrict q, const T *restrict r, const T *restrict s,        \
                             int64_t n) {                                                          \
        for (int64_t i = 0; i < n; i++)                                                            \
            t[i] = (((t[i] + c[0] * (double)p[i]) + c[1] * (double)q[i]) + c[2] * (double)r[i]) +  \
                   c[3] * (double)s[i];                                                            \
    }                                                                                              \
    static void run_load_##X(double *restrict t, const T *restrict v, int64_t n) {                 \
        for (int64_t i = 0; i < n; i++) t[i] = (double)v[i];                                       \
    }                                                                                              \
    static void run_store_##X(T *restrict v, const double *restrict t, int64_t n) {                \
        for (int64_t i = 0; i < n; i++) v[i] = (T)t[i];                                            \
    }
DEFINE_KERNELS(float, f32)
DEFINE_KERNELS(double, f64)

static double run_dot(hwb_dtype d, const void *a, const void *b, int64_t at, int64_t n) {
    return d == HWB_F32 ? run_dot_f32((const float *)a + at, (const float *)b + at, n)
                        : run_dot_f64((const double *)a + at, (const double *)b + at, n);
}

static void run_add(hwb_dtype d, double *t, double c, const void *v, int64_t at, int64_t n) {
    if (d == HWB_F32) run_add_f32(t, c, (const float *)v + at, n);
    else run_add_f64(t, c, (const double *)v + at, n);
}

/* t += Σ c_i v_i over m rows, one after the other */
static void run_combine(hwb_dtype d, double *t, int64_t m, const double *c, void *const *v,
                        int64_t at, int64_t n) {
    int64_t i = 0;
    for (; i + 4 <= m; i += 4) {
        if (d == HWB_F32)
            run_add4_f32(t, c + i, (const float *)v[i] + at, (const float *)v[i + 1] + at,
                         (const float *)v[i + 2] + at, (const float *)v[i + 3] + at, n);
        else
            run_add4_f64(t, c + i, (const double *)v[i] + at, (const double *)v[i + 1] + at,
                         (const double *)v[i + 2] + at, (const double *)v[i + 3] + at, n);
    }
    for (; i < m; i++) run_add(d, t, c[i], v[i], at, n);
}

static void run_load(hwb_dtype d, double *t, const void *v, int64_t at, int64_t n) {
    if (d == HWB_F32) run_load_f32(t, (const float *)v + at, n);
    else run_load_f64(t, (const double *)v + at, n);
}

static void run_store(hwb_dtype d, void *v, int64_t at, const double *t, int64_t n) {
    if (d == HWB_F32) run_store_f32((float *)v + at, t, n);
    else run_store_f64((double *)v + at, t, n);
}

double hwb__host_dot(hwb_ctx *ctx, hwb_dtype dtype, int64_t n, const void *a, const void *b) {
    double part[MAX_CHUNKS];
    int64_t size = chunk_size(n), chunks = (n + size - 1) / size;
    int nt = hwb__host_threads(ctx, n);
#pragma omp parallel for schedule(static) num_threads(nt) if (nt > 1)
    for (int64_t c = 0; c < chunks; c++)
        part[c] = run_dot(dtype, a, b, c * size, min64(size, n - c * size));
    double s = 0;
    for (int64_t c = 0; c < chunks; c++) s += part[c];
    return s;
}

/* One chunk of w stays in cache while all rows pass over it. */
hwb_status hwb__host_dots(hwb_ctx *ctx, double *out, hwb_dtype dtype, int64_t n, int64_t m,
                          void *const *v, const void *w) {
    if (m == 0) return HWB_OK;
    int64_t size = chunk_size(n), chunks = (n + size - 1) / size;
    double *part = hwb_alloc(ctx, (size_t)(m * chunks) * sizeof *part);
    if (!part) return HWB_ENOMEM;
    int nt = hwb__host_threads(ctx, n * m);
#pragma omp parallel for schedule(static) num_threads(nt) if (nt > 1)
    for (int64_t c = 0; c < chunks; c++)
        for (int64_t i = 0; i < m; i++)
            part[c * m + i] = run_dot(dtype, v[i], w, c * size, min64(size, n - c * size));
    for (int64_t i = 0; i < m; i++) {
        out[i] = 0;
        for (int64_t c = 0; c < chunks; c++) out[i] += part[c * m + i];
    }
    hwb_free(part);
    return HWB_OK;
}

void hwb__host_sub(hwb_ctx *ctx, hwb_dtype dtype, int64_t n, int64_t m, void *const *v,
                   const double *c, void *w) {
    int nt = hwb__host_threads(ctx, n * m);
#pragma omp parallel for schedule(static) num_threads(nt) if (nt > 1)
    for (int64_t at = 0; at < n; at += TILE) {
        double t[TILE];
        int64_t len = min64(TILE, n - at);
        /* w - Σ c v as -(Σ c v - w): negation is exact */
        run_load(dtype, t, w, at, len);
        for (int64_t i = 0; i < len; i++) t[i] = -t[i];
        run_combine(dtype, t, m, c, v, at, len);
        for (int64_t i = 0; i < len; i++) t[i] = -t[i];
        run_store(dtype, w, at, t, len);
    }
}

void hwb__host_axpby(hwb_ctx *ctx, hwb_dtype dtype, int64_t n, double a, const void *x, double b,
                     void *y) {
    int nt = hwb__host_threads(ctx, n);
#pragma omp parallel for schedule(static) num_threads(nt) if (nt > 1)
    for (int64_t at = 0; at < n; at += TILE) {
        double t[TILE];
        int64_t len = min64(TILE, n - at);
        run_load(dtype, t, y, at, len);
        for (int64_t i = 0; i < len; i++) t[i] *= b;
        run_add(dtype, t, a, x, at, len);
        run_store(dtype, y, at, t, len);
    }
}

hwb_status hwb__host_rotate(hwb_ctx *ctx, hwb_dtype dtype, int64_t n, int64_t m, void *const *v,
                            int64_t p, const double *s, int64_t lds, void *const *out) {
    int nt = hwb__host_threads(ctx, n * m);
    double *scratch = hwb_alloc(ctx, (size_t)(nt * m * ROTATE_TILE) * sizeof *scratch);
    if (!scratch) return HWB_ENOMEM;
#pragma omp parallel for schedule(static) num_threads(nt) if (nt > 1)
    for (int64_t at = 0; at < n; at += ROTATE_TILE) {
        /* All of v's tile is read before any of out's is written: in place is safe. */
        double *in = scratch + (int64_t)omp_get_thread_num() * m * ROTATE_TILE;
        double t[ROTATE_TILE];
        int64_t len = min64(ROTATE_TILE, n - at);
        for (int64_t i = 0; i < m; i++) run_load(dtype, in + i * ROTATE_TILE, v[i], at, len);
        for (int64_t q = 0; q < p; q++) {
            memset(t, 0, sizeof t);
            for (int64_t i = 0; i < m; i++)
                run_add_f64(t, s[q * lds + i], in + i * ROTATE_TILE, len);
            run_store(dtype, out[q], at, t, len);
        }
    }
    hwb_free(scratch);
    return HWB_OK;
}
