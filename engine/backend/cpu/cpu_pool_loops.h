/*
 * cpu_pool_loops.h: one row of a pooling result, for element type T; included by
 * cpu_pool.c.  image counts K*N.
 */

static void FN(mean_row)(const pool_kernel *k, const T *x, T *y, int64_t image, int64_t p) {
    const hwb__image *im = &k->x, *pm = &k->y;
    int64_t c = im->c;
    const double count = (double)k->at.kernel[0] * k->at.kernel[1];
    x += image * im->sn;
    y += image * pm->sn + p * pm->sh;
    for (int64_t q = 0; q < pm->w; q++)
        for (int64_t c0 = 0; c0 < c; c0 += LANES) {
            int64_t n = c - c0 < LANES ? c - c0 : LANES;
            double acc[LANES] = {0};
            for (int64_t r = 0; r < k->at.kernel[0]; r++) {
                int64_t h = hwb__window_at(&k->at, 0, p, r);
                if (h < 0 || h >= im->h) continue;
                for (int64_t s = 0; s < k->at.kernel[1]; s++) {
                    int64_t w = hwb__window_at(&k->at, 1, q, s);
                    if (w < 0 || w >= im->w) continue;
                    const T *from = x + h * im->sh + w * im->sw + c0;
#pragma omp simd
                    for (int64_t i = 0; i < n; i++) acc[i] += (double)from[i];
                }
            }
            T *to = y + q * pm->sw + c0;
            for (int64_t i = 0; i < n; i++) to[i] = (T)(acc[i] / count);
        }
}

/* Row h of x from the windows that cover it. */
static void FN(spread_row)(const pool_kernel *k, const T *y, T *x, int64_t image, int64_t h) {
    const hwb__image *im = &k->x, *pm = &k->y;
    const hwb_attrs *at = &k->at;
    int64_t c = im->c;
    const double count = (double)at->kernel[0] * at->kernel[1];
    y += image * pm->sn;
    x += image * im->sn + h * im->sh;
    for (int64_t w = 0; w < im->w; w++)
        for (int64_t c0 = 0; c0 < c; c0 += LANES) {
            int64_t n = c - c0 < LANES ? c - c0 : LANES;
            double acc[LANES] = {0};
            for (int64_t r = 0; r < at->kernel[0]; r++) {
                int64_t p = h + at->pad_lo[0] - r * at->dilation[0];
                if (p < 0 || p % at->stride[0] || p / at->stride[0] >= pm->h) continue;
                for (int64_t s = 0; s < at->kernel[1]; s++) {
                    int64_t q = w + at->pad_lo[1] - s * at->dilation[1];
                    if (q < 0 || q % at->stride[1] || q / at->stride[1] >= pm->w) continue;
                    const T *from =
                        y + p / at->stride[0] * pm->sh + q / at->stride[1] * pm->sw + c0;
#pragma omp simd
                    for (int64_t i = 0; i < n; i++) acc[i] += (double)from[i];
                }
            }
            T *to = x + w * im->sw + c0;
            for (int64_t i = 0; i < n; i++) to[i] = (T)(acc[i] / count);
        }
}

/* A NaN counts as the largest, so that it is passed on. */
static void FN(max_row)(const pool_kernel *k, const T *x, int32_t *index, int64_t image,
                        int64_t p) {
    const hwb__image *im = &k->x, *pm = &k->y;
    int64_t c = im->c;
    x += image * im->sn;
    index += image * pm->sn + p * pm->sh;
    for (int64_t q = 0; q < pm->w; q++)
        for (int64_t c0 = 0; c0 < c; c0 += LANES) {
            int64_t n = c - c0 < LANES ? c - c0 : LANES;
            T top[LANES];
            int32_t best[LANES];
            for (int64_t i = 0; i < n; i++) best[i] = -1, top[i] = 0;
            for (int64_t r = 0; r < k->at.kernel[0]; r++) {
                int64_t h = hwb__window_at(&k->at, 0, p, r);
                if (h < 0 || h >= im->h) continue;
                for (int64_t s = 0; s < k->at.kernel[1]; s++) {
                    int64_t w = hwb__window_at(&k->at, 1, q, s);
                    if (w < 0 || w >= im->w) continue;
                    const T *from = x + h * im->sh + w * im->sw + c0;
                    int32_t here = (int32_t)(h * im->w + w);
#pragma omp simd
                    for (int64_t i = 0; i < n; i++) {
                        T v = from[i];
                        bool wins = (best[i] < 0) | (v > top[i]) | ((v != v) & (top[i] == top[i]));
                        top[i] = wins ? v : top[i];
                        best[i] = wins ? here : best[i];
                    }
                }
            }
            memcpy(index + q * pm->sw + c0, best, (size_t)n * sizeof *best);
        }
}
