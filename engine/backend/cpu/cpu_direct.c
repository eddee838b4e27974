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
 * A block is whole strips of the result's images, so that a group can follow it
 * (cpu_after_i.h): its results then go to memory of the thread's own and through the group.
 *
 * Weight gradients: cpu_direct_gradient.c.
 *
 * No sum is divided among threads, so no result depends on their number.  Nothing is
 * kept between runs.
 */
#include "backend/cpu/cpu_direct_kernel_i.h"

#include <stdio.h>
#include <string.h>

enum {
    BLOCK_ROWS = 128,  /* of the left matrix, at most */
    BLOCK_DEPTH = 256, /* multiplied at once */
    STRIP_ROWS = 32,   /* at least, where images have them */
    ENOUGH_STRIPS = 16,
    STRIP_BYTES = 512 << 10, /* of results that a group waits for, in the second-level cache */
    PAD = 16 /* floats between rows, for they do not begin in the same lines of a cache */
};

/* ---- rows of the left matrix -------------------------------------------------- */

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

void hwb__direct_bring(const direct_kernel *k, const phase *p, const float *const *images, rows q,
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

/* The first pixel of strip s. */
static int64_t strip_at(const direct_kernel *k, int64_t s) {
    return s / k->strips * k->oh * k->ow + s % k->strips * k->strip;
}

/* The first row of phase p in strip s, which begins a row of pixels where there are several
 * phases. */
static int64_t row_of(const direct_kernel *k, const phase *p, int64_t s) {
    if (k->out_step == 1) return strip_at(k, s);
    int64_t i = s % k->strips * k->strip / k->ow / k->out_step;
    return (s / k->strips * p->rows + least(i, p->rows)) * p->cols;
}

/* Whole strips that are computed at once, pixels p0..p1-1: of every phase some rows. */
typedef struct block {
    int64_t p0, p1, first[DIRECT_PHASES], end[DIRECT_PHASES];
} block;

/* The strips from s on that fit, up to strip `end` at most; *next: the one behind them. */
static block block_at(const direct_kernel *k, int64_t s, int64_t end, int64_t *next) {
    block b = {.p0 = strip_at(k, s)};
    for (*next = s; *next < end; ++*next) {
        bool full = k->n_phases > 1 || strip_at(k, *next + 1) - b.p0 > k->block;
        if (full && *next > s) break;
    }
    b.p1 = strip_at(k, *next);
    for (int i = 0; i < k->n_phases; i++) {
        b.first[i] = row_of(k, &k->phases[i], s);
        b.end[i] = row_of(k, &k->phases[i], *next);
    }
    return b;
}

/* Where the pixels of some rows lie behind pixel p0 of the result. */
static void place_rows(const direct_kernel *k, const phase *p, int64_t first, int64_t end,
                       int64_t p0, int64_t *at) {
    pixel x = pixel_at(p, first);
    for (int64_t r = 0; r < end - first; r++, pixel_next(p, &x)) {
        int64_t i = p->y0 + x.i * k->out_step, j = p->x0 + x.j * k->out_step;
        at[r] = ((x.image * k->oh + i) * k->ow + j - p0) * k->out;
    }
}

/* Phase f of a block; z, more: its first pixel in the result and in what is added, or NULL.
 * soon: rows that are multiplied afterwards, of phase `then`. */
static void multiply_phase(const direct_kernel *k, const terms *t, const block *b, int f, float *z,
                           const float *more, const phase *then, rows soon, float *own) {
    const phase *p = &k->phases[f];
    int64_t *at = (int64_t *)(void *)(own + k->at_at), count = b->end[f] - b->first[f];
    int64_t wide = 2 * k->inner->lanes, chunks = pieces_of(count, DIRECT_CHUNK);
    int64_t n = pieces_of(k->out, wide) * chunks;
    const float *packed = (const float *)k->base.state->scratch + p->panel_at;
    place_rows(k, p, b->first[f], b->end[f], b->p0, at);
    for (int64_t i = 0; i < p->pieces; i++, more = z) {
        rows q = piece_at(k, p, b->first[f], b->end[f], i);
        bool last = i + 1 == p->pieces;
        rows next = last ? soon : piece_at(k, p, b->first[f], b->end[f], i + 1);
        copy_rows(k, p, t->a, q, own);
        for (int64_t j = 0; j < n; j++) {
            int64_t c = j / chunks * wide, width = least(wide, k->out - c);
            int64_t r = j % chunks * DIRECT_CHUNK;
            hwb__direct_bring(k, last ? then : p, t->a, next, j, n);
            if (last && k->after)
                hwb__cpu_after_bring(k->after, t->pixel + b->p0, t->pixel + b->p1, 0, k->out,
                                     f * n + j, k->n_phases * n);
            k->inner->forward(least(DIRECT_CHUNK, count - r), width, q.d1 - q.d0, own + r * k->step,
                              k->step, packed + c * p->depth + q.d0 * width, z + c,
                              more ? more + c : NULL, at + r);
        }
    }
}

/* Strips first..end-1, by part `part` of the threads. */
static void multiply_strips(const direct_kernel *k, const terms *t, int64_t first, int64_t end,
                            int64_t part) {
    float *own = own_scratch(k, part), *strip = own + k->strip_at;
    if (first >= end) return;
    block b = block_at(k, first, end, &first), after_it;
    for (bool more = true; more; b = after_it) {
        int64_t at = b.p0 * k->out;
        more = first < end;
        if (more) after_it = block_at(k, first, end, &first);
        else after_it = (block){0};
        for (int f = 0; f < k->n_phases; f++) {
            bool last = f + 1 == k->n_phases;
            const phase *then = &k->phases[last ? 0 : f + 1];
            const block *next = last ? &after_it : &b;
            multiply_phase(
                k, t, &b, f, k->after ? strip : t->out + at, t->more ? t->more + at : NULL, then,
                piece_at(k, then, next->first[then - k->phases], next->end[then - k->phases], 0),
                own);
        }
        if (k->after)
            hwb__cpu_after_region(k->after, (int)part, t->pixel + b.p0, t->pixel + b.p1, 0, k->out,
                                  strip);
    }
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
    int64_t strips = k->conv.n * k->strips;
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
            multiply_strips(k, t, share(strips, 1, i, parts), share(strips, 1, i + 1, parts), i);
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
    if (k->after)
        hwb__cpu_after_begin(k->after, in, out,
                             (char *)((float *)k->base.state->scratch + k->after_at));
    for (int64_t i = 0; i < c->loops; i++) {
        terms t = {.pixel = i * c->n * k->oh * k->ow};
        if (!k->after) t.out = (float *)out[0] + i * step;
        bool pack[2] = {false, false};
        for (int j = 0; j < k->terms; j++) {
            t.a[j] = (const float *)in[2 * j] + i * from[j][0];
            t.b[j] = (const float *)in[2 * j + 1] + i * from[j][1];
            pack[j] = i == 0 || from[j][1] != 0;
        }
        if (c->add) t.more = (const float *)in[2 * k->terms] + i * step;
        if (weights) hwb__direct_gradient(k, &t);
        else multiply(k, &t, pack);
    }
    if (k->after) hwb__cpu_after_end(k->after);
    return HWB_OK;
}

/* ---- prepare --------------------------------------------------------------------------- */

static void direct_free(hwb__cpu_kernel *kernel) {
    hwb__cpu_after_free(((direct_kernel *)kernel)->after);
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

/* Strips of about as many pixels as are multiplied at once, and no longer than the cache
 * likes; where there are several phases, whole rows of pixels of all of them.  They depend on
 * the shape alone. */
static void plan_strips(direct_kernel *k) {
    int64_t pixels = k->oh * k->ow, unit = k->out_step == 1 ? 8 : k->out_step * k->ow;
    int64_t some = k->conv.n * pixels / ENOUGH_STRIPS, every = k->out_step * k->out_step;
    int64_t fit = STRIP_BYTES / (k->out * (int64_t)sizeof(float)), rows_fit = fit / every;
    if (!k->conv.after || rows_fit > BLOCK_ROWS) rows_fit = BLOCK_ROWS;
    int64_t most = least(some < STRIP_ROWS ? STRIP_ROWS : some, rows_fit) * every;
    int64_t n = pieces_of(pixels, most < unit ? unit : most);
    k->strip = pieces_of(pieces_of(pixels, n), unit) * unit;
    k->strips = pieces_of(pixels, k->strip);
    if (k->out_step == 1) k->block = k->strip > rows_fit ? k->strip : rows_fit;
    else k->block = k->strip / unit * k->phases[0].cols;
}

static void plan_products(direct_kernel *k, int64_t longest) {
    plan_strips(k);
    k->step = longest + PAD;
    k->at_at = k->block * k->step;
    k->own = k->strip_at = (k->at_at + 2 * k->block + 15) / 16 * 16;
    if (k->conv.after) k->own += k->block * k->out_step * k->out_step * k->out;
}

/* The floats of scratch it needs. */
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
    if (k->conv.op == HWB_OP_CONV_BWD_WEIGHTS) return hwb__direct_gradient_plan(k);
    plan_products(k, longest);
    return k->own_at + k->base.threads * k->own;
}

/* Where it was measured to be faster than oneDNN, or as fast and without a packed copy of the
 * weights: all but gradients of several taps and stride 1. */
bool hwb__cpu_direct_takes(const hwb__cpu_state *state, const hwb__conv_geom *c) {
    if (!state->direct || c->dtype != HWB_F32 || !c->channels_last || c->groups != 1) return false;
    if (c->c % state->direct->lanes || c->o % state->direct->lanes) return false;
    if (c->stride[0] != c->stride[1] || c->stride[0] > DIRECT_MAX_STRIDE) return false;
    int64_t taps = c->kernel[0] * c->kernel[1];
    if (c->op == HWB_OP_CONV_BWD_WEIGHTS && c->stride[0] == 1) return taps == 1;
    return taps <= DIRECT_MAX_TAPS;
}

bool hwb__cpu_direct_after(const hwb__conv_geom *c) {
    return c->op != HWB_OP_CONV_BWD_WEIGHTS;
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
    k->after_at = plan(k);
    size_t bytes = (size_t)k->after_at * sizeof(float);
    hwb_status status = HWB_OK;
    if (conv->after)
        status =
            hwb__cpu_after_new(ctx, state, &k->after, conv->after, k->strip, k->out, base->threads);
    if (k->after) bytes += hwb__cpu_after_scratch(k->after);
    if (status == HWB_OK) status = hwb__cpu_reserve(ctx, state, bytes);
    if (status == HWB_OK) *out = base;
    else direct_free(base);
    return status;
}
