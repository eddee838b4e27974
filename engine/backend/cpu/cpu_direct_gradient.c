/*
 * cpu_direct_gradient.c: weight gradients as matrix products (cpu_direct.c).
 *
 *   W_t[o,c] = sum over pixels:  y[i,j,o] image[r i + y_t, r j + x_t, c]
 *
 * is the product of a column and a row for every pixel, in blocks of pixels that the
 * second-level cache holds.  Columns of y are read as they lie, the image too where a row
 * is a pixel of it; else its rows are copied into panels.  Threads share the columns of the
 * result or its rows.
 */
#include "backend/cpu/cpu_direct_kernel_i.h"

enum {
    BLOCK_PIXELS =
        250, /* of a gradient, at once; panels 2^n bytes apart would share lines of a cache */
    PIXELS_BYTES = 512 << 10 /* what they take in the second-level cache */
};

/* ---- gradient --------------------------------------------------------------------- */

/* Rows and columns of the result. */
typedef struct part {
    int64_t o0, o1, c0, c1;
} part;

/* What thread i of n computes. */
static part part_of(const direct_kernel *k, int64_t i, int64_t n) {
    int64_t lanes = k->inner->lanes, depth = k->phases[0].depth;
    int64_t panels = pieces_of(depth, 2 * lanes);
    if (k->out > 2 * depth || panels < n)
        return (part){share(k->out, lanes, i, n), share(k->out, lanes, i + 1, n), 0, depth};
    return (part){0, k->out, share(depth, 2 * lanes, i, n), share(depth, 2 * lanes, i + 1, n)};
}

/* The image's channels at pixels of the rows q into panels. */
static void spread_pixels(const direct_kernel *k, const float *image, rows q, float *to) {
    const phase *p = &k->phases[0];
    int64_t depth = q.end - q.first;
    pixel x = pixel_at(p, q.first);
    for (int64_t r = 0; r < depth; r++, pixel_next(p, &x))
        for (int64_t d = q.d0, n; d < q.d1; d += n) {
            const float *from = row_at(k, p, &image, x, d, &n);
            n = least(n, q.d1 - d);
            k->inner->spread(from, d - q.d0, n, q.d1 - q.d0, depth, r, to);
        }
}

static void bring_pixels(const direct_kernel *k, const part *s, const float *image, const float *y,
                         rows q, int64_t i, int64_t n) {
    int64_t count = q.end - q.first;
    hwb__direct_bring(k, &k->phases[0], &image, q, i, n);
    for (int64_t r = q.first + share(count, 1, i, n); r < q.first + share(count, 1, i + 1, n); r++)
        for (int64_t o = s->o0; o < s->o1; o += 16) __builtin_prefetch(y + r * k->out + o, 0, 2);
}

/* Each pixel's channels are a row of the left matrix as they lie. */
static bool as_it_lies(const direct_kernel *k) {
    const hwb__conv_geom *c = &k->conv;
    return k->phases[0].n_taps == 1 && c->stride[0] == 1 && c->h == c->oh && c->w == c->ow &&
           c->pad_lo[0] == 0 && c->pad_lo[1] == 0;
}

/* z = z0 (NULL: zeros) + the sums of one part, in blocks of pixels */
static void gradient_part(const direct_kernel *k, const part *s, const terms *t, float *z,
                          const float *z0, float *own) {
    const phase *p = &k->phases[0];
    int64_t total = k->conv.n * p->rows * p->cols, n = pieces_of(total, k->pixels);
    int64_t wide = 2 * k->inner->lanes, cols = s->c1 - s->c0, panels = pieces_of(cols, wide);
    int64_t chunks = pieces_of(s->o1 - s->o0, DIRECT_CHUNK);
    bool lies = as_it_lies(k);
    for (int64_t b = 0; b < k->terms * n; b++) {
        int64_t i = b / n, next = (b + 1) / n;
        rows q = {share(total, 1, b % n, n), share(total, 1, b % n + 1, n), s->c0, s->c1};
        rows soon = {share(total, 1, (b + 1) % n, n), share(total, 1, (b + 1) % n + 1, n), s->c0,
                     s->c1};
        const float *left = t->b[i] + q.first * k->out + s->o0;
        const float *right = t->a[i] + q.first * k->in + s->c0;
        if (!lies) spread_pixels(k, t->a[i], q, own);
        for (int64_t j = 0; j < panels * chunks; j++) {
            int64_t c = j / chunks * wide, o = j % chunks * DIRECT_CHUNK, depth = q.end - q.first;
            int64_t at = (s->o0 + o) * p->depth + s->c0 + c, width = least(wide, cols - c);
            if (next < k->terms)
                bring_pixels(k, s, t->a[next], t->b[next], soon, j, panels * chunks);
            k->inner->gradient(least(DIRECT_CHUNK, s->o1 - s->o0 - o), width, depth, left + o,
                               k->out, lies ? right + c : own + c * depth, lies ? k->in : width,
                               z + at, z0 ? z0 + at : NULL, p->depth);
        }
        z0 = z;
    }
}

/* z[o,t,c] -> out[o,c,t] (+ more) */
static void give_gradient(const direct_kernel *k, const float *z, const terms *t, int64_t o) {
    int64_t taps = k->phases[0].n_taps, n = k->in * taps;
    for (int64_t c = 0; c < k->in; c++)
        for (int64_t i = 0; i < taps; i++) {
            float value = z[o * n + i * k->in + c];
            int64_t at = o * n + c * taps + i;
            t->out[at] = t->more ? t->more[at] + value : value;
        }
}

void hwb__direct_gradient(const direct_kernel *k, const terms *t) {
    int64_t parts = k->base.threads;
    bool plain = k->phases[0].n_taps == 1;
    float *z = plain ? t->out : k->base.state->scratch;
#pragma omp parallel num_threads(k->base.threads)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < parts; i++) {
            part s = part_of(k, i, parts);
            if (s.o0 < s.o1 && s.c0 < s.c1)
                gradient_part(k, &s, t, z, plain ? t->more : NULL, own_scratch(k, i));
        }
        if (!plain) {
#pragma omp for schedule(static)
            for (int64_t o = 0; o < k->out; o++) give_gradient(k, z, t, o);
        }
    }
}

/* Floats of scratch of a gradient. */
int64_t hwb__direct_gradient_plan(direct_kernel *k) {
    const phase *p = &k->phases[0];
    int64_t widest = 0, total = k->conv.n * p->rows * p->cols;
    int64_t fit = PIXELS_BYTES / (k->out + p->depth) / (int64_t)sizeof(float) + 32;
    for (int64_t i = 0; i < k->base.threads; i++) {
        part s = part_of(k, i, k->base.threads);
        if (!as_it_lies(k) && s.c1 - s.c0 > widest) widest = s.c1 - s.c0;
    }
    k->pixels = least(least(fit, BLOCK_PIXELS), total);
    k->own_at = p->n_taps == 1 ? 0 : p->depth * k->out;
    k->own = k->pixels * widest;
    return k->own_at + k->base.threads * k->own;
}
