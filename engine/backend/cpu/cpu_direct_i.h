/*
 * cpu_direct_i.h: convolutions on channels-last images as matrix products, and matrix
 * products (cpu_product_i.h).  The inner parts are compiled once for each instruction set.
 *
 * Everything is made of tiles of a few rows and one panel, whose sums stay in registers:
 *
 *   z[i,j] = z0[i,j] + sum_k x[i,k] panel[k,j]       j < two vectors
 *
 * Panels lie one behind the other, [depth, two vectors] each; the last is one vector
 * wide where the columns end so.  Of a matrix product x lies in panels too, [depth, half a
 * vector], and those of y are three vectors wide, filled up with zeros at the edge.
 */
#ifndef HWB_CPU_DIRECT_I_H
#define HWB_CPU_DIRECT_I_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hwb__direct {
    const char *name;
    int64_t lanes; /* channels are multiples of it */
    /* `count` rows and one panel of `width` columns (one vector or two); x[i,k] at
     * i * step + k; row i of z and z0 begins at[i] floats behind them.  z0 NULL: zeros; it
     * may be z. */
    void (*forward)(int64_t count, int64_t width, int64_t depth, const float *x, int64_t step,
                    const float *panel, float *z, const float *z0, const int64_t *at);
    /* The same of `count` rows (a multiple of lanes) that are columns of x: x[i,k] at
     * i + k * xk, panel[k,j] at j + k * yk; rows of z and z0 are `step` apart. */
    void (*gradient)(int64_t count, int64_t width, int64_t depth, const float *x, int64_t xk,
                     const float *panel, int64_t yk, float *z, const float *z0, int64_t step);
    /* Columns first..first+n-1 of row `row` of panels of `total` columns, from where they lie
     * next to each other (NULL: zeros) */
    void (*spread)(const float *from, int64_t first, int64_t n, int64_t total, int64_t depth,
                   int64_t row, float *to);
    /* Columns o0..o1-1 of `out` (o0 a multiple of lanes) and rows row..row+in-1 of panels of
     * weights of one tap: element (k, o) at w[o * in + k], turned: at w[k * out + o], all
     * `taps` apart. */
    void (*weights)(const float *w, int64_t taps, bool turned, int64_t in, int64_t out, int64_t o0,
                    int64_t o1, int64_t depth, int64_t row, float *to);
    /* One tile of a matrix product out of two panels; z[rows,cols], rows of it `ld` apart, is
     * stored or added to. */
    void (*product)(int64_t rows, int64_t cols, int64_t depth, const float *x, const float *y,
                    float *z, int64_t ld, bool add);
    /* One panel [depth, width] (lanes / 2 or 3 lanes), of which `valid` columns are there:
     * element (k, c) at from[k * step + c], turned: from[c * step + k]. */
    void (*panel)(const float *from, int64_t step, bool turned, int64_t width, int64_t valid,
                  int64_t depth, float *to);
};

extern const struct hwb__direct hwb__direct_avx2, hwb__direct_avx512;

#endif
