/*
 * cpu_wino_i.h: Winograd's convolution F(4x4,3x3) on channels-last images
 * (Lavin & Gray 2015, arXiv:1509.09308): 36 multiplications where the direct
 * sum takes 144.  The inner parts are compiled once for each instruction set.
 *
 *   forward   Y = A'[ sum_c (G w G') . (B' x B) ]A      x: 6x6 tiles, Y: 4x4 tiles
 *   gradient  W = G'[ sum_t (A y A') . (B' x B) ]G      its transpose in w
 *
 * with . the elementwise product of 6x6 tiles, ' the transpose, c input channels
 * and t tiles.  For each of the 36 elements the sum is a matrix product:
 *
 *   forward   m[t,o] = v[t,c] u[c,o]        gradient  s[c,o] = v[t,c]' z[t,o]
 *
 * Stride 2 is a sum of convolutions of two and of one weight an axis
 * (cpu_wino_stride_body.h): 81 points of 36 different weights, of 9x9 pixels to 4x4
 * results or, backward, of 5x5 adjoints to 8x8 pixels.
 *
 * Interpolation points 0, +-5/8, +-3/2, infinity: they round half as much as
 * 0, +-1, +-2 (measured), and their squares are exact.
 */
#ifndef HWB_CPU_WINO_I_H
#define HWB_CPU_WINO_I_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum hwb__wino_kind {
    WINO_PLAIN, /* stride 1 */
    WINO_DOWN,  /* stride 2, its gradient too */
    WINO_UP     /* backward-data of stride 2 with one row and column of padding */
} hwb__wino_kind;

/* out[n,oh,ow,o] = in[n,h,w,c] * w, 3x3; top and left: padding.  Of the gradient, in
 * and out are both read. */
typedef struct hwb__wino_geom {
    hwb__wino_kind kind;
    int64_t n, h, w, c, oh, ow, o, top, left;
    int64_t rows, cols; /* tiles of an image, tile (i,j) of */
    int64_t in_size;    /* pixels from in_step (i,j) - (top,left) on */
    int64_t in_step;
    int64_t out_step; /* and of as many results from out_step (i,j) on */
    int64_t points;   /* of a tile */
    int64_t block;    /* tiles that are transformed, multiplied and transformed back in cache */
} hwb__wino_geom;

enum { WINO_WEIGHTS = 36 };

static inline int64_t hwb__wino_tiles(const hwb__wino_geom *g) {
    return g->n * g->rows * g->cols;
}

/* Floats of transformed weights, or of sums of them, of `on` outputs: 36 matrices
 * [c,on], each in panels of at most two vectors of outputs, one behind the other.
 * The matrices lie a cache line more apart than they are long, so that their
 * equal elements do not compete for the same lines of a cache. */
static inline int64_t hwb__wino_weights(const hwb__wino_geom *g, int64_t on) {
    return WINO_WEIGHTS * (g->c * on + 16);
}

/* Floats of a transformed block of tiles [points][block,channels]. */
static inline int64_t hwb__wino_block(const hwb__wino_geom *g, int64_t channels) {
    return g->points * (g->block * channels + 16);
}

/* Where forward results go: out[(p - pixel) width + j] is pixel p of output o0 + j. */
typedef struct hwb__wino_result {
    const float *more; /* whole images that are added, or NULL */
    float *out;
    int64_t pixel, width;
    /* brings portion q of the points of what is touched when the block is done; NULL: out's
     * rows are brought */
    void (*bring)(const void *job, int64_t q);
    const void *job;
} hwb__wino_result;

/* A forward convolution, or a sum of two, of a block: both are one product in the
 * transformed domain. */
typedef struct hwb__wino_job {
    int terms;
    const float *in[2]; /* images; NULL: v holds them transformed already */
    const float *u[2];  /* transformed weights */
    hwb__wino_result to;
    const float *next[2]; /* images that are wanted after this, or NULL, */
    int64_t next_first;   /* and their first tile */
} hwb__wino_job;

/* A gradient likewise. */
typedef struct hwb__wino_sum {
    int terms;
    const float *in[2], *out[2];           /* images, as above */
    const float *next_in[2], *next_out[2]; /* wanted after this */
    int64_t next_first;
} hwb__wino_sum;

/* Work on outputs o0..o0+on-1, o0 a multiple of two vectors, and on `count` tiles from
 * the first. */
struct hwb__wino {
    const char *name;
    int64_t lanes; /* channels are multiples of it */
    /* w[o,c,3,3] -> u of outputs o0+j0..o0+j1-1, by vectors; turned: w is [c,o,3,3] and
     * turned round (backward-data as a forward convolution) */
    void (*weights)(const hwb__wino_geom *g, const float *w, bool turned, int64_t o0, int64_t on,
                    int64_t j0, int64_t j1, float *u);
    /* v: a block of c channels a term, m: one of `on` */
    void (*forward)(const hwb__wino_geom *g, const hwb__wino_job *job, int64_t first, int64_t count,
                    int64_t o0, int64_t on, float *v, float *m);
    /* s (laid out as u; add: adds to it) = sums over the tiles; z: a block of `on` a term */
    void (*gradient)(const hwb__wino_geom *g, const hwb__wino_sum *job, int64_t first,
                     int64_t count, int64_t o0, int64_t on, float *s, bool add, float *v, float *z);
    /* adds up `slots` sums, slot_step apart; writes w[o,c,3,3] (more: plus that) of
     * inputs c0..c1-1, by vectors */
    void (*finish)(const hwb__wino_geom *g, const float *s, int64_t slots, int64_t slot_step,
                   int64_t o0, int64_t on, int64_t c0, int64_t c1, const float *more, float *w);
};

extern const struct hwb__wino hwb__wino_avx2, hwb__wino_avx512;

#endif
