/*
 * cpu_direct.c: convolutions as matrix products (cpu_direct_i.h), straight on
 * channels-last float32 images, in all three directions.
 *
 * Forward and backward-data are the same thing.  The pixels (a + s i, b + s j) of the
 * result of a backward-data convolution of stride s are one phase, each with the few
 * taps that meet it; a forward one has one phase, of all pixels and taps.  Then
 *
 *   result[a + s i, b + s j] = sum over taps t:  image[r i + y_t, r j + x_t] W_t
 *
 * and the image's pixels of all taps (and of both terms of a sum of two) one behind the
 * other are a row of the left matrix, the W_t one below the other the right one.  Weights
 * are packed into panels first.  A block of rows is copied into cache and multiplied with
 * panel after panel, while the next one is brought there.
 *
 *   gradient  W_t[o,c] = sum over pixels:  y[i,j,o] image[r i + y_t, r j + x_t, c]
 *
 * is the product of a column and a row for every pixel; threads share its columns or
 * its rows.
 *
 * No sum is divided among threads, so no result depends on their number.  Nothing is
 * kept between runs.
 */
#include "backend/cpu/cpu_direct_i.h"
#include "backend/cpu/cpu_i.h"

#include <stdio.h>
#include <string.h>

enum {
    MAX_TAPS = 9,
    MAX_STRIDE = 2,
    BLOCK_ROWS = 128,  /* of the left matrix, about */
    BLOCK_DEPTH = 256, /* multiplied at once */
    BLOCK_PIXELS =
        250, /* of a gradient, at once; panels 2^n bytes apart would share lines of a cache */
    PIXELS_BYTES = 512 << 10, /* what they take in the second-level cache */
    CHUNK = 16,               /* rows between two portions of what is brought next */
    PAD = 16 /* floats between rows, for they do not begin in the same lines of a cache */
};

typedef struct tap {
    int64_t y, x, weight; /* weight: its place in the kernel */
} tap;

typedef struct phase {
    int64_t y0, x0, rows, cols; /* first pixel of the result; pixels of an image */
    int n_taps;
    tap taps[MAX_TAPS];
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
    phase phases[MAX_STRIDE * MAX_STRIDE];
    int64_t step;               /* floats between rows of a block */
    int64_t pixels;             /* of a block of a gradient, at most */
    int64_t own_at, at_at, own; /* floats: of the threads' scratch; in it; of one thread */
} direct_kernel;

/* The operands of one convolution or of a sum of two. */
typedef struct terms {
    const float *a[2], *b[2];
    const float *more; /* added to the result, or NULL */
    float *out;
} terms;

static float *own_scratch(const direct_kernel *k, int64_t part) {
    return (float *)k->base.state->scratch + k->own_at + part * k->own;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* How many pieces of at most `most` there are, at least one. */
static int64_t pieces_of(int64_t total, int64_t most) {
    int64_t n = (total + most - 1) / most;
    return n < 1 ? 1 : n;
}

/* Where piece i of n begins, in whole units. */
static int64_t share(int64_t total, int64_t unit, int64_t i, int64_t n) {
    return least((total + unit - 1) / unit * i / n * unit, total);
}

/* ---- rows of the left matrix -------------------------------------------------- */

typedef struct pixel {
    int64_t image, i, j;
} pixel;

static pixel pixel_at(const phase *p, int64_t row) {
    int64_t in_image = p->rows * p->cols, r = row % in_image;
    return (pixel){row / in_image, r / p->cols, r % p->cols};
}

static void pixel_next(const phase *p, pixel *x) {
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
static const float *row_at(const direct_kernel *k, const phase *p, const float *const *images,
                           pixel x, int64_t d, int64_t *n) {
    int64_t t = d / k->in, c = d - t * k->in;
    int term = t >= p->n_taps;
    const tap *q = &p->taps[t - term * p->n_taps];
    int64_t y = x.i * k->in_step + q->y, z = x.j * k->in_step + q->x;
    *n = k->in - c;
    if (y < 0 || y >= k->h || z < 0 || z >= k->w) return NULL;
    return images[term] + ((x.image * k->h + y) * k->w + z) * k->in + c;
}

static void copy_rows(const direct_kernel *k, const phase *p, const float *const *images, rows q,
                      float *to) {
    pixel x = pixel_at(p, q.first);
    for (int64_t r = q.first; r < q.end; r++, pixel_next(p, &x), to += k->step)
        for (int64_t d = q.d0, n; d < q.d1; d += n) {
            const float *from = row_at(k, p, images, x, d, &n);
            n = least(n, q.d1 - d);
            if (from) memcpy(to + d - q.d0, from, (size_t)n * sizeof *to);
            else memset(to + d - q.d0, 0, (size_t)n * sizeof *to);
        }
}

/* Portion i of n of the same into the second-level cache. */
static void bring_rows(const direct_kernel *k, const phase *p, const float *const *images, rows q,
                       int64_t i, int64_t n) {
    int64_t r = q.first + share(q.end - q.first, 1, i, n);
    int64_t end = q.first + share(q.end - q.first, 1, i + 1, n);
    if (r >= end) return;
    pixel x = pixel_at(p, r);
    for (; r < end; r++, pixel_next(p, &x))
        for (int64_t d = q.d0, m; d < q.d1; d += m) {
            const float *from = row_at(k, p, images, x, d, &m);
            m = least(m, q.d1 - d);
            for (int64_t c = 0; from && c < m; c += 16) __builtin_prefetch(from + c, 0, 2);
        }
}

/* ---- forward and backward-data ------------------------------------------------- */

static rows piece_at(const direct_kernel *k, const phase *p, int64_t first, int64_t end,
                     int64_t piece) {
    int64_t unit = k->inner->lanes;
    return (rows){first, end, share(p->depth, unit, piece, p->pieces),
                  share(p->depth, unit, piece + 1, p->pieces)};
}

/* Rows first..end-1; what is multiplied next is up to row `next`. */
static void multiply_block(const direct_kernel *k, const phase *p, const terms *t, int64_t first,
                           int64_t end, int64_t next, float *own) {
    int64_t *at = (int64_t *)(void *)(own + k->at_at);
    int64_t wide = 2 * k->inner->lanes, panels = pieces_of(k->out, wide);
    int64_t chunks = pieces_of(end - first, CHUNK);
    const float *packed = (const float *)k->base.state->scratch + p->panel_at, *from = t->more;
    pixel x = pixel_at(p, first);
    for (int64_t r = 0; r < end - first; r++, pixel_next(p, &x)) {
        int64_t i = p->y0 + x.i * k->out_step, j = p->x0 + x.j * k->out_step;
        at[r] = ((x.image * k->oh + i) * k->ow + j) * k->out;
    }
    for (int64_t i = 0; i < p->pieces; i++) {
        rows q = piece_at(k, p, first, end, i);
        rows soon =
            i + 1 < p->pieces ? piece_at(k, p, first, end, i + 1) : piece_at(k, p, end, next, 0);
        copy_rows(k, p, t->a, q, own);
        for (int64_t j = 0; j < panels * chunks; j++) {
            int64_t c = j / chunks * wide, width = least(wide, k->out - c);
            int64_t r = j % chunks * CHUNK, n = least(CHUNK, end - first - r);
            bring_rows(k, p, t->a, soon, j, panels * chunks);
            k->inner->forward(n, width, q.d1 - q.d0, own + r * k->step, k->step,
                              packed + c * p->depth + q.d0 * width, t->out + c,
                              from ? from + c : NULL, at + r);
        }
        from = t->out;
    }
}

static void multiply_rows(const direct_kernel *k, const phase *p, const terms *t, int64_t first,
                          int64_t end, float *own) {
    int64_t n = pieces_of(end - first, BLOCK_ROWS);
#define ROW(i) (first + share(end - first, 8, i, n))
    for (int64_t i = 0; i < n; i++)
        multiply_block(k, p, t, ROW(i), ROW(i + 1), i + 1 < n ? ROW(i + 2) : end, own);
#undef ROW
}

/* Columns o0..o1-1 of one term. */
static void pack_weights(const direct_kernel *k, const phase *p, const float *w, int term,
                         int64_t o0, int64_t o1) {
    float *to = (float *)k->base.state->scratch + p->panel_at;
    bool turned = k->conv.op == HWB_OP_CONV_BWD_DATA;
    int64_t taps = k->conv.kernel[0] * k->conv.kernel[1];
    for (int i = 0; i < p->n_taps; i++)
        k->inner->weights(w + p->taps[i].weight, taps, turned, k->in, k->out, o0, o1, p->depth,
                          (term * p->n_taps + i) * k->in, to);
}

/* pack: the terms whose weights are not packed yet */
static void multiply(const direct_kernel *k, const terms *t, const bool *pack) {
    int64_t parts = k->base.threads, wide = 2 * k->inner->lanes;
#pragma omp parallel num_threads(k->base.threads)
    {
#pragma omp for schedule(static)
        for (int64_t o = 0; o < k->out; o += wide)
            for (int q = 0; q < k->n_phases; q++)
                for (int i = 0; i < k->terms; i++)
                    if (pack[i])
                        pack_weights(k, &k->phases[q], t->b[i], i, o, least(o + wide, k->out));
#pragma omp for schedule(static)
        for (int64_t i = 0; i < parts; i++)
            for (int q = 0; q < k->n_phases; q++) {
                const phase *p = &k->phases[q];
                int64_t count = k->conv.n * p->rows * p->cols;
                multiply_rows(k, p, t, share(count, 8, i, parts), share(count, 8, i + 1, parts),
                              own_scratch(k, i));
            }
    }
}

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

/* Pixels of the rows q: y's channels into panels of one vector at left, the image's into
 * panels of two at right. */
static void spread_pixels(const direct_kernel *k, const part *s, const float *image, const float *y,
                          rows q, float *left, float *right) {
    const phase *p = &k->phases[0];
    int64_t lanes = k->inner->lanes, depth = q.end - q.first, on = s->o1 - s->o0;
    pixel x = pixel_at(p, q.first);
    for (int64_t r = 0; r < depth; r++, pixel_next(p, &x)) {
        k->inner->spread(y + (q.first + r) * k->out + s->o0, 0, on, on, lanes, depth, r, left);
        for (int64_t d = q.d0, n; d < q.d1; d += n) {
            const float *from = row_at(k, p, &image, x, d, &n);
            n = least(n, q.d1 - d);
            k->inner->spread(from, d - q.d0, n, q.d1 - q.d0, 2 * lanes, depth, r, right);
        }
    }
}

static void bring_pixels(const direct_kernel *k, const part *s, const float *image, const float *y,
                         rows q, int64_t i, int64_t n) {
    int64_t count = q.end - q.first;
    bring_rows(k, &k->phases[0], &image, q, i, n);
    for (int64_t r = q.first + share(count, 1, i, n); r < q.first + share(count, 1, i + 1, n); r++)
        for (int64_t o = s->o0; o < s->o1; o += 16) __builtin_prefetch(y + r * k->out + o, 0, 2);
}

/* z = z0 (NULL: zeros) + the sums of one part, in blocks of pixels */
static void gradient_part(const direct_kernel *k, const part *s, const terms *t, float *z,
                          const float *z0, float *own) {
    const phase *p = &k->phases[0];
    int64_t total = k->conv.n * p->rows * p->cols, n = pieces_of(total, k->pixels);
    int64_t wide = 2 * k->inner->lanes, cols = s->c1 - s->c0, panels = pieces_of(cols, wide);
    int64_t chunks = pieces_of(s->o1 - s->o0, CHUNK);
    float *left = own, *right = own + (s->o1 - s->o0) * k->pixels;
    for (int64_t b = 0; b < k->terms * n; b++) {
        int64_t i = b / n, next = (b + 1) / n;
        rows q = {share(total, 1, b % n, n), share(total, 1, b % n + 1, n), s->c0, s->c1};
        rows soon = {share(total, 1, (b + 1) % n, n), share(total, 1, (b + 1) % n + 1, n), s->c0,
                     s->c1};
        spread_pixels(k, s, t->a[i], t->b[i], q, left, right);
        for (int64_t j = 0; j < panels * chunks; j++) {
            int64_t c = j / chunks * wide, o = j % chunks * CHUNK, depth = q.end - q.first;
            int64_t at = (s->o0 + o) * p->depth + s->c0 + c;
            if (next < k->terms)
                bring_pixels(k, s, t->a[next], t->b[next], soon, j, panels * chunks);
            k->inner->gradient(least(CHUNK, s->o1 - s->o0 - o), least(wide, cols - c), depth,
                               left + o * depth, right + c * depth, z + at, z0 ? z0 + at : NULL,
                               p->depth);
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

static void gradient(const direct_kernel *k, const terms *t) {
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

/* ---- run ------------------------------------------------------------------------------ */

static hwb_status direct_run(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                             const uint64_t *versions, void *const *out) {
    const direct_kernel *k = (const direct_kernel *)kernel;
    const hwb__conv_geom *c = &k->conv;
    (void)ctx;
    (void)versions;
    bool data = c->op == HWB_OP_CONV_BWD_DATA, weights = c->op == HWB_OP_CONV_BWD_WEIGHTS;
    int64_t from[2][2] = {{data ? c->y_step : c->x_step, weights ? c->y_step : c->w_step},
                          {c->pair_step[0], c->pair_step[1]}};
    int64_t step = weights ? c->w_step : data ? c->x_step : c->y_step;
    for (int64_t i = 0; i < c->loops; i++) {
        terms t = {.out = (float *)out[0] + i * step};
        bool pack[2] = {false, false};
        for (int j = 0; j < k->terms; j++) {
            t.a[j] = (const float *)in[2 * j] + i * from[j][0];
            t.b[j] = (const float *)in[2 * j + 1] + i * from[j][1];
            pack[j] = i == 0 || from[j][1] != 0;
        }
        if (c->add) t.more = (const float *)in[2 * k->terms] + i * step;
        if (weights) gradient(k, &t);
        else multiply(k, &t, pack);
    }
    return HWB_OK;
}

/* ---- prepare --------------------------------------------------------------------------- */

static void direct_free(hwb__cpu_kernel *kernel) {
    hwb_free(kernel);
}

/* Of a backward-data convolution y is the image. */
static void set_sizes(direct_kernel *k) {
    const hwb__conv_geom *c = &k->conv;
    bool data = c->op == HWB_OP_CONV_BWD_DATA;
    k->h = data ? c->oh : c->h, k->w = data ? c->ow : c->w, k->in = data ? c->o : c->c;
    k->oh = data ? c->h : c->oh, k->ow = data ? c->w : c->ow, k->out = data ? c->c : c->o;
    k->in_step = data ? 1 : c->stride[0];
    k->out_step = data ? c->stride[0] : 1;
    k->terms = c->pair ? 2 : 1;
}

/* *y: what tap t adds to a row or column; false where the phase from a on does not meet it.
 * Backward-data: pixel a + s i of the result meets row y of the image where
 * a + s i + pad = s y + t dilation. */
static bool meets(const direct_kernel *k, int axis, int64_t a, int64_t t, int64_t *y) {
    const hwb__conv_geom *c = &k->conv;
    int64_t s = k->out_step, d = a + c->pad_lo[axis] - t * c->dilation[axis];
    *y = c->op == HWB_OP_CONV_BWD_DATA ? d / s : -d;
    return d % s == 0;
}

static void set_phase(direct_kernel *k, phase *p, int64_t a, int64_t b) {
    const hwb__conv_geom *c = &k->conv;
    p->y0 = a, p->x0 = b;
    p->rows = pieces_of(k->oh - a, k->out_step);
    p->cols = pieces_of(k->ow - b, k->out_step);
    for (int64_t i = 0; i < c->kernel[0]; i++)
        for (int64_t j = 0; j < c->kernel[1]; j++) {
            tap *t = &p->taps[p->n_taps];
            if (!meets(k, 0, a, i, &t->y) || !meets(k, 1, b, j, &t->x)) continue;
            t->weight = i * c->kernel[1] + j;
            p->n_taps++;
        }
    p->depth = (c->op == HWB_OP_CONV_BWD_WEIGHTS ? 1 : k->terms) * p->n_taps * k->in;
    p->pieces = pieces_of(p->depth, BLOCK_DEPTH);
}

/* Floats of scratch of a gradient. */
static int64_t plan_gradient(direct_kernel *k) {
    const phase *p = &k->phases[0];
    int64_t widest = 0, total = k->conv.n * p->rows * p->cols;
    int64_t fit = PIXELS_BYTES / (k->out + p->depth) / (int64_t)sizeof(float) + 32;
    for (int64_t i = 0; i < k->base.threads; i++) {
        part s = part_of(k, i, k->base.threads);
        int64_t n = s.o1 - s.o0 + s.c1 - s.c0;
        if (n > widest) widest = n;
    }
    k->pixels = least(least(fit, BLOCK_PIXELS), total);
    k->own_at = p->n_taps == 1 ? 0 : p->depth * k->out;
    k->own = k->pixels * widest;
    return k->own_at + k->base.threads * k->own;
}

static int64_t plan(direct_kernel *k) {
    int64_t lanes = k->inner->lanes, longest = 0;
    for (int64_t a = 0; a < least(k->out_step, k->oh); a++)
        for (int64_t b = 0; b < least(k->out_step, k->ow); b++) {
            phase *p = &k->phases[k->n_phases++];
            set_phase(k, p, a, b);
            p->panel_at = k->own_at;
            k->own_at += p->depth * k->out;
            int64_t piece = pieces_of(p->depth / lanes, p->pieces) * lanes;
            if (piece > longest) longest = piece;
        }
    if (k->conv.op == HWB_OP_CONV_BWD_WEIGHTS) return plan_gradient(k);
    k->step = longest + PAD;
    k->at_at = (BLOCK_ROWS + 8) * k->step;
    k->own = k->at_at + 2 * (BLOCK_ROWS + 8);
    return k->own_at + k->base.threads * k->own;
}

/* Where it was measured to be faster than oneDNN, or as fast and without a packed copy of the
 * weights: all but gradients of many pixels and few channels. */
bool hwb__cpu_direct_takes(const hwb__cpu_state *state, const hwb__conv_geom *c) {
    if (!state->direct || c->dtype != HWB_F32 || !c->channels_last || c->groups != 1) return false;
    if (c->c % state->direct->lanes || c->o % state->direct->lanes) return false;
    if (c->stride[0] != c->stride[1] || c->stride[0] > MAX_STRIDE) return false;
    if (c->kernel[0] * c->kernel[1] > MAX_TAPS) return false;
    if (c->op != HWB_OP_CONV_BWD_WEIGHTS || c->stride[0] == 2) return true;
    return c->kernel[0] * c->kernel[1] == 1 && c->c * c->o >= 64 * c->n * c->oh * c->ow;
}

hwb_status hwb__cpu_direct_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                   const hwb__conv_geom *conv) {
    hwb__cpu_kernel *base;
    HWB_TRY(hwb__cpu_kernel_new(ctx, state, &base, sizeof(direct_kernel), ""));
    direct_kernel *k = (direct_kernel *)base;
    base->run = direct_run;
    base->free = direct_free;
    snprintf(base->name, sizeof base->name, "direct:%s", state->direct->name);
    k->inner = state->direct;
    k->conv = *conv;
    set_sizes(k);
    hwb_status status = hwb__cpu_reserve(ctx, state, (size_t)plan(k) * sizeof(float));
    if (status == HWB_OK) *out = base;
    else direct_free(base);
    return status;
}
