/*
 * cpu_reduce_loops.h: maxima of `width` (at most LANES) neighbouring columns of
 * x[n, stride], for element type T; included by cpu_reduce.c.
 */

/* One column that is contiguous: LANES running maxima. */
static void FN(max_run)(const T *x, int64_t n, T *out) {
    T top[LANES];
    int64_t lanes = n < LANES ? n : LANES, i = lanes;
    memcpy(top, x, (size_t)lanes * sizeof *top);
    for (; i + LANES <= n; i += LANES) {
#pragma omp simd
        for (int64_t j = 0; j < LANES; j++)
            top[j] = (x[i + j] > top[j]) | (x[i + j] != x[i + j]) ? x[i + j] : top[j];
    }
    for (; i < n; i++) top[0] = x[i] > top[0] || x[i] != x[i] ? x[i] : top[0];
    for (int64_t j = 1; j < lanes; j++)
        top[0] = top[j] > top[0] || top[j] != top[j] ? top[j] : top[0];
    *out = top[0];
}

static void FN(max)(const T *x, int64_t n, int64_t stride, int64_t width, T *out) {
    if (stride == 1) {
        FN(max_run)(x, n, out);
        return;
    }
    T top[LANES];
    memcpy(top, x, (size_t)width * sizeof *top);
    for (int64_t i = 1; i < n; i++) {
        const T *row = x + i * stride;
#pragma omp simd
        for (int64_t j = 0; j < width; j++)
            top[j] = (row[j] > top[j]) | (row[j] != row[j]) ? row[j] : top[j];
    }
    memcpy(out, top, (size_t)width * sizeof *top);
}

static void FN(argmax)(const T *x, int64_t n, int64_t stride, int64_t width, int64_t *out) {
    T top[LANES];
    int64_t best[LANES] = {0};
    memcpy(top, x, (size_t)width * sizeof *top);
    for (int64_t i = 1; i < n; i++) {
        const T *row = x + i * stride;
#pragma omp simd
        for (int64_t j = 0; j < width; j++) {
            bool wins = (row[j] > top[j]) | ((row[j] != row[j]) & (top[j] == top[j]));
            top[j] = wins ? row[j] : top[j];
            best[j] = wins ? i : best[j];
        }
    }
    memcpy(out, best, (size_t)width * sizeof *best);
}
