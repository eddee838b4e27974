/*
 * cpu_direct_kernel_i.h: what the files of convolutions as matrix products share: the
 * kernel, its operands, and the rows of the left matrix (cpu_direct.c).
 */
#ifndef HWB_CPU_DIRECT_KERNEL_I_H
#define HWB_CPU_DIRECT_KERNEL_I_H

#include "backend/cpu/cpu_after_i.h"
#include "backend/cpu/cpu_direct_i.h"
#include "backend/cpu/cpu_i.h"

enum {
    DIRECT_MAX_TAPS = 9,
    DIRECT_MAX_STRIDE = 2,
    DIRECT_PHASES = DIRECT_MAX_STRIDE * DIRECT_MAX_STRIDE,
    DIRECT_CHUNK = 16 /* rows between two portions of what is brought next */
};

typedef struct tap {
    int64_t y, x, weight; /* weight: its place in the kernel */
} tap;

typedef struct phase {
    int64_t y0, x0, rows, cols; /* first pixel of the result; pixels of an image */
    int n_taps;
    tap taps[DIRECT_MAX_TAPS];
    int64_t depth;    /* of all taps and terms */
    int64_t pieces;   /* in which the depth is multiplied */
    int64_t panel_at; /* floats, in the packed weights */
} phase;

typedef struct direct_kernel {
    hwb__cpu_kernel base;
    const struct hwb__direct *inner;
    hwb__conv_geom conv;
    int64_t h, w, in, oh, ow, out; /* image, its channels; result and its channels */
    int64_t in_step, out_step;     /* r and s */
    int terms, n_phases;
    phase phases[DIRECT_PHASES];
    int64_t strip, strips;      /* pixels of a strip of the result; strips of an image */
    int64_t block;              /* rows of the left matrix that are multiplied at once, at most */
    int64_t step;               /* floats between rows of a block */
    int64_t pixels;             /* of a block of a gradient, at most */
    int64_t own_at, at_at, own; /* floats: of the threads' scratch; in it; of one thread */
    hwb__cpu_after *after;      /* a group that follows, or NULL */
    int64_t strip_at, after_at; /* floats: of results, in a thread's; of the group's */
} direct_kernel;

/* The operands of one convolution or of a sum of two. */
typedef struct terms {
    const float *a[2], *b[2];
    const float *more; /* added to the result, or NULL */
    float *out;        /* not used where a group follows */
    int64_t pixel;     /* the first of the result among those of all K */
} terms;

static inline float *own_scratch(const direct_kernel *k, int64_t part) {
    return (float *)k->base.state->scratch + k->own_at + part * k->own;
}

static inline int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* How many pieces of at most `most` there are, at least one. */
static inline int64_t pieces_of(int64_t total, int64_t most) {
    int64_t n = (total + most - 1) / most;
    return n < 1 ? 1 : n;
}

/* Where piece i of n begins, in whole units. */
static inline int64_t share(int64_t total, int64_t unit, int64_t i, int64_t n) {
    return least((total + unit - 1) / unit * i / n * unit, total);
}

/* ---- rows of the left matrix -------------------------------------------------- */

typedef struct pixel {
    int64_t image, i, j;
} pixel;

static inline pixel pixel_at(const phase *p, int64_t row) {
    int64_t in_image = p->rows * p->cols, r = row % in_image;
    return (pixel){row / in_image, r / p->cols, r % p->cols};
}

static inline void pixel_next(const phase *p, pixel *x) {
    if (++x->j < p->cols) return;
    x->j = 0;
    if (++x->i < p->rows) return;
    x->i = 0;
    x->image++;
}

/* A rectangle of the left matrix. */
typedef struct rows {
    int64_t first, end, d0, d1;
} rows;

/* Where element d of a row lies; *n: how many follow it there.  NULL: zeros. */
static inline const float *row_at(const direct_kernel *k, const phase *p,
                                  const float *const *images, pixel x, int64_t d, int64_t *n) {
    int64_t t = d / k->in, c = d - t * k->in;
    int term = t >= p->n_taps;
    const tap *q = &p->taps[t - term * p->n_taps];
    int64_t y = x.i * k->in_step + q->y, z = x.j * k->in_step + q->x;
    *n = k->in - c;
    if (y < 0 || y >= k->h || z < 0 || z >= k->w) return NULL;
    return images[term] + ((x.image * k->h + y) * k->w + z) * k->in + c;
}

/* Portion i of n of some rows into the second-level cache. */
void hwb__direct_bring(const direct_kernel *k, const phase *p, const float *const *images, rows q,
                       int64_t i, int64_t n);

/* ---- gradients (cpu_direct_gradient.c) ------------------------------------------ */

void hwb__direct_gradient(const direct_kernel *k, const terms *t);
/* Sizes and places; the floats of scratch it needs. */
int64_t hwb__direct_gradient_plan(direct_kernel *k);

#endif
