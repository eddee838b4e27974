/*
 * cpu_direct_body.h: the inner parts of matrix products, and of convolutions as such,
 * included by one file an instruction set after it has chosen the target, DIRECT_LANES and
 * DIRECT_TABLE.
 *
 * A tile has half as many rows as a vector has lanes, and two vectors of a convolution: its
 * sums are half of the registers.  Both operands of a matrix product are packed; it has
 * three vectors, three quarters of the registers.
 */
#include "backend/cpu/cpu_direct_i.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

enum { L = DIRECT_LANES, ROWS = DIRECT_LANES / 2, PANEL = 2 * DIRECT_LANES, COLS = 3 * L };

typedef float vec __attribute__((vector_size(4 * DIRECT_LANES)));
typedef int32_t lane __attribute__((vector_size(4 * DIRECT_LANES)));
typedef float vec_any __attribute__((vector_size(4 * DIRECT_LANES), aligned(4), may_alias));

INLINE vec load(const float *p) {
    return *(const vec_any *)p;
}

INLINE void store(float *p, vec v) {
    *(vec_any *)p = v;
}

/* ---- products ---------------------------------------------------------------- */

/* z[i,j] = z0[i,j] + sum_k x[i,k] y[k,j] of `rows` rows and `cols` vectors, x[i,k] at
 * i * xi + k * xk, rows of y yk apart, row i of z and z0 at[i] behind them.  Inlined with constants, so that
 * the sums stay in registers.  What is written is fetched before the sums, as it may come
 * from memory. */
INLINE void tile(int rows, int cols, int64_t depth, const float *x, int64_t xi, int64_t xk,
                 const float *y, int64_t yk, float *z, const float *z0, const int64_t *at) {
    vec sum[ROWS][3];
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int j = 0; j < cols; j++) {
        __builtin_prefetch(z + at[i] + j * L, 1, 3);
        if (z0 != z) __builtin_prefetch(z0 + at[i] + j * L, 0, 3);
        sum[i][j] = (vec){0};
    }
    for (int64_t k = 0; k < depth; k++) {
        vec right[3];
        UNROLL for (int j = 0; j < cols; j++) right[j] = load(y + k * yk + j * L);
        UNROLL for (int i = 0; i < rows; i++) {
            float left = x[i * xi + k * xk];
            UNROLL for (int j = 0; j < cols; j++) sum[i][j] += left * right[j];
        }
    }
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int j = 0; j < cols; j++) {
        int64_t q = at[i] + j * L;
        store(z + q, z0 ? load(z0 + q) + sum[i][j] : sum[i][j]);
    }
}

INLINE void forward_panel(int cols, int64_t count, int64_t depth, const float *x, int64_t step,
                          const float *panel, float *z, const float *z0, const int64_t *at) {
    int64_t i = 0;
    for (; i + ROWS <= count; i += ROWS)
        tile(ROWS, cols, depth, x + i * step, step, 1, panel, cols * L, z, z0, at + i);
    for (; i + 2 <= count; i += 2)
        tile(2, cols, depth, x + i * step, step, 1, panel, cols * L, z, z0, at + i);
    if (i < count) tile(1, cols, depth, x + i * step, step, 1, panel, cols * L, z, z0, at + i);
}

static void forward(int64_t count, int64_t width, int64_t depth, const float *x, int64_t step,
                    const float *panel, float *z, const float *z0, const int64_t *at) {
    if (width == PANEL) forward_panel(2, count, depth, x, step, panel, z, z0, at);
    else forward_panel(1, count, depth, x, step, panel, z, z0, at);
}

INLINE void gradient_panel(int cols, int64_t count, int64_t depth, const float *x, int64_t xk,
                           const float *y, int64_t yk, float *z, const float *z0, int64_t step) {
    int64_t at[ROWS];
    for (int i = 0; i < ROWS; i++) at[i] = i * step;
    for (int64_t i = 0; i < count; i += ROWS)
        tile(ROWS, cols, depth, x + i, 1, xk, y, yk, z + i * step, z0 ? z0 + i * step : z0, at);
}

static void gradient(int64_t count, int64_t width, int64_t depth, const float *x, int64_t xk,
                     const float *y, int64_t yk, float *z, const float *z0, int64_t step) {
    if (width == PANEL) gradient_panel(2, count, depth, x, xk, y, yk, z, z0, step);
    else gradient_panel(1, count, depth, x, xk, y, yk, z, z0, step);
}

/* ---- panels -------------------------------------------------------------------- */

static void spread(const float *from, int64_t first, int64_t n, int64_t total, int64_t depth,
                   int64_t row, float *to) {
    for (int64_t i = 0; i < n; i += L) {
        int64_t c = first + i, p = c / PANEL * PANEL, wide = total - p < PANEL ? L : PANEL;
        store(to + p * depth + row * wide + c - p, from ? load(from + i) : (vec){0});
    }
}

/* A matrix [n, L] becomes its transpose: rows half of them apart are interleaved, log2(n) times. */
INLINE void transpose(int n, vec r[DIRECT_LANES]) {
    const int half = n / 2;
    lane low, high;
    UNROLL for (int i = 0; i < L; i++) {
        low[i] = i / 2 + i % 2 * L;
        high[i] = low[i] + L / 2;
    }
    UNROLL for (int stage = 1; stage < n; stage *= 2) {
        vec s[DIRECT_LANES];
        UNROLL for (int i = 0; i < half; i++) {
            s[2 * i] = __builtin_shuffle(r[i], r[i + half], low);
            s[2 * i + 1] = __builtin_shuffle(r[i], r[i + half], high);
        }
        UNROLL for (int i = 0; i < n; i++) r[i] = s[i];
    }
}

/* Rows k..k+L-1 of columns o..o+L-1. */
INLINE void read_square(const float *w, int64_t taps, bool turned, int64_t in, int64_t out,
                        int64_t k, int64_t o, vec r[DIRECT_LANES]) {
    const float *from = w + (turned ? k * out + o : o * in + k) * taps;
    int64_t down = (turned ? out : in) * taps;
    for (int64_t i = 0; i < L; i++) {
        if (taps == 1) {
            r[i] = load(from + i * down);
            continue;
        }
        float row[DIRECT_LANES];
        for (int64_t l = 0; l < L; l++) row[l] = from[i * down + l * taps];
        r[i] = load(row);
    }
    if (!turned) transpose(L, r);
}

static void weights(const float *w, int64_t taps, bool turned, int64_t in, int64_t out, int64_t o0,
                    int64_t o1, int64_t depth, int64_t row, float *to) {
    for (int64_t o = o0; o < o1; o += L) {
        int64_t p = o / PANEL * PANEL, wide = out - p < PANEL ? out - p : PANEL;
        for (int64_t k = 0; k < in; k += L) {
            vec r[DIRECT_LANES];
            read_square(w, taps, turned, in, out, k, o, r);
            for (int64_t i = 0; i < L; i++)
                store(to + p * depth + (row + k + i) * wide + o - p, r[i]);
        }
    }
}

/* ---- matrix products ------------------------------------------------------------- */

static void product(int64_t rows, int64_t cols, int64_t depth, const float *a, const float *b,
                    float *c, int64_t ld, bool add) {
    float edge[ROWS * COLS];
    bool whole = rows == ROWS && cols == COLS;
    int64_t at[ROWS];
    for (int i = 0; i < ROWS; i++) at[i] = i * (whole ? ld : COLS);
    tile(ROWS, 3, depth, a, 1, ROWS, b, COLS, whole ? c : edge, whole && add ? c : NULL, at);
    for (int64_t i = 0; i < rows && !whole; i++)
        for (int64_t j = 0; j < cols; j++)
            c[i * ld + j] = edge[i * COLS + j] + (add ? c[i * ld + j] : 0);
}

/* width: a constant */
INLINE void fill_panel(int64_t width, const float *from, int64_t step, bool turned, int64_t valid,
                       int64_t depth, float *to) {
    const int n = width < L ? (int)width : L, per = L / n; /* rows of a panel in a vector */
    int64_t whole = turned && valid == width ? depth / L * L : 0;
    for (int64_t k = 0; k < whole; k += L)
        for (int64_t c = 0; c < width; c += n) {
            vec r[DIRECT_LANES];
            UNROLL for (int i = 0; i < n; i++) r[i] = load(from + (c + i) * step + k);
            transpose(n, r);
            UNROLL for (int i = 0; i < n; i++) store(to + (k + i * per) * width + c, r[i]);
        }
    for (int64_t k = whole; k < depth; k++) {
        if (!turned && valid == width) {
            memcpy(to + k * width, from + k * step, (size_t)width * sizeof *to);
            continue;
        }
        for (int64_t c = 0; c < width; c++)
            to[k * width + c] = c < valid ? from[turned ? c * step + k : k * step + c] : 0;
    }
}

static void panel(const float *from, int64_t step, bool turned, int64_t width, int64_t valid,
                  int64_t depth, float *to) {
    if (width == ROWS) fill_panel(ROWS, from, step, turned, valid, depth, to);
    else fill_panel(COLS, from, step, turned, valid, depth, to);
}

const struct hwb__direct DIRECT_TABLE = {DIRECT_NAME, L,       forward, gradient,
                                         spread,      weights, product, panel};
