/*
 * cpu_wino.c: 3x3 convolutions of stride 1 or 2 by Winograd's algorithm (cpu_wino_i.h),
 * straight on channels-last float32 images, in all three directions.
 *
 *   forward        weights are transformed first, then blocks of tiles
 *   backward-data  is a forward convolution with the weights turned round (of stride 2:
 *                  four in one)
 *   gradient       sums over tiles in the transformed domain, transformed back once
 *
 * Threads share the tiles of a layer of few channels.  Of one with many, each
 * takes 64 outputs at a time and transforms just their weights, which then stay in
 * cache.  A gradient's tiles are divided into a number of slots that depends on
 * the shape alone, each with a sum of its own; so no result depends on the number
 * of threads.
 *
 * Where a group follows (cpu_after_i.h), blocks are whole rows of tiles, whose results
 * go to a strip of a thread's own and through the group.
 *
 * Several results (K of them) of which an operand is shared go together: of every block
 * of tiles the shared images are transformed once, and shared weights once in all.
 *
 * Nothing is kept between runs: to transform weights costs 1 to 5 % of a run.
 */
#include "backend/cpu/cpu_after_i.h"
#include "backend/cpu/cpu_i.h"
#include "backend/cpu/cpu_wino_i.h"

#include <stdio.h>

enum {
    BLOCK = 32,           /* tiles of a block */
    GRADIENT_BLOCK = 128, /* where sums are too large for the second-level cache */
    WIDE = 64,            /* outputs a thread takes of a layer with many channels */
    MANY = 128 * 128,     /* more weights (of one tap) than that are many */
    SLOT_TILES = 96,      /* least tiles of a slot, of stride 1 */
    MAX_SLOTS = 8,
    GROUP_BYTES = 8 << 20,
    BLOCK_BYTES = 512 << 10 /* of a block of stride 2 */
};

typedef struct wino_kernel {
    hwb__cpu_kernel base;
    const struct hwb__wino *inner;
    hwb__conv_geom conv;
    hwb__wino_geom geom;
    bool wide;                       /* by outputs, WIDE at a time */
    int64_t slots;                   /* of a gradient */
    int64_t group;                   /* results at once */
    int64_t own_at, v_at, m_at, own; /* floats: of weights or sums, blocks; of one thread */
    hwb__cpu_after *after;           /* a group that follows, or NULL */
    int64_t strip_at, after_at;      /* floats: of a strip; of the group, behind all threads */
} wino_kernel;

/* ---- geometry -------------------------------------------------------------- */

static hwb__wino_geom geom_of(const hwb__conv_geom *c) {
    bool data = c->op == HWB_OP_CONV_BWD_DATA, plain = c->stride[0] == 1;
    hwb__wino_geom g = {.kind = plain  ? WINO_PLAIN
                                : data ? WINO_UP
                                       : WINO_DOWN,
                        .n = c->n,
                        .h = data ? c->oh : c->h,
                        .w = data ? c->ow : c->w,
                        .c = data ? c->o : c->c,
                        .oh = data ? c->h : c->oh,
                        .ow = data ? c->w : c->ow,
                        .o = data ? c->c : c->o,
                        .top = c->pad_lo[0],
                        .left = c->pad_lo[1]};
    if (data) g.top = plain ? 2 - g.top : 0;
    if (data) g.left = plain ? 2 - g.left : 0;
    g.in_size = plain ? 6 : data ? 5 : 9;
    g.in_step = g.kind == WINO_DOWN ? 8 : 4;
    g.out_step = g.kind == WINO_UP ? 8 : 4;
    g.points = plain ? 36 : 81;
    g.rows = (g.oh + g.out_step - 1) / g.out_step;
    g.cols = (g.ow + g.out_step - 1) / g.out_step;
    return g;
}

/* A tile costs a quarter (of stride 2: 9/16) of its direct multiplications when all of it is
 * needed; fewer than 24 or so (30) do not pay for the transformed weights. */
bool hwb__cpu_wino_takes(const hwb__cpu_state *state, const hwb__conv_geom *c) {
    if (!state->wino || c->dtype != HWB_F32 || !c->channels_last || c->groups != 1) return false;
    if (c->c % state->wino->lanes || c->o % state->wino->lanes) return false;
    for (int i = 0; i < 2; i++) {
        if (c->kernel[i] != 3 || c->dilation[i] != 1 || c->pad_lo[i] > 2 || c->pad_hi[i] > 2)
            return false;
        if (c->stride[i] != c->stride[0] || c->stride[i] > 2) return false;
        if (c->stride[i] == 2 && c->pad_lo[i] != 1) return false;
    }
    hwb__wino_geom g = geom_of(c);
    int64_t used = c->n * (g.kind == WINO_UP ? g.oh * g.ow / 4 : g.oh * g.ow);
    return used >= (g.kind == WINO_PLAIN ? 24 : 30) * 16 && used >= 8 * hwb__wino_tiles(&g);
}

bool hwb__cpu_wino_after(const hwb__conv_geom *c) {
    return c->op != HWB_OP_CONV_BWD_WEIGHTS;
}

/* ---- run ------------------------------------------------------------------- */

static float *own_scratch(const wino_kernel *k, int64_t part) {
    return (float *)k->base.state->scratch + k->own_at + part * k->own;
}

/* Tiles or outputs of part i of n, by whole `unit`s. */
static int64_t share(int64_t total, int64_t unit, int64_t i, int64_t n) {
    int64_t at = (total + unit - 1) / unit * i / n * unit;
    return at < total ? at : total;
}

/* The operands of one convolution or of a sum of two, for some of the K results, each the
 * steps behind the one before. */
typedef struct terms {
    int n;
    const float *a[2], *b[2];
    int64_t a_step[2], b_step[2]; /* 0: shared */
    const float *more;            /* added to the result, or NULL */
    float *out;                   /* not used where a group follows */
    int64_t step;                 /* of out and more */
    int64_t pixel;                /* the first of the result among those of all K */
    int64_t count;
} terms;

static const float *a_of(const terms *t, int i, int64_t r) {
    return t->a[i] + r * t->a_step[i];
}

static const float *b_of(const terms *t, int i, int64_t r) {
    return t->b[i] + r * t->b_step[i];
}

/* A shared operand is transformed for the first result alone. */
static const float *if_new(const float *p, int64_t step, int64_t r) {
    return r == 0 || step ? p + r * step : NULL;
}

/* Results r0..r1-1 of t. */
static terms some_of(const wino_kernel *k, const terms *t, int64_t r0, int64_t r1) {
    terms s = *t;
    for (int i = 0; i < t->n; i++) {
        s.a[i] = a_of(t, i, r0);
        s.b[i] = b_of(t, i, r0);
    }
    if (s.out) s.out += r0 * t->step;
    if (s.more) s.more += r0 * t->step;
    s.pixel += r0 * k->geom.n * k->geom.oh * k->geom.ow;
    s.count = r1 - r0;
    return s;
}

/* Where transformed weights of result r in term i lie, each of `each` floats: those of term
 * 0 (one where they are shared), then those of term 1. */
static int64_t u_at(const terms *t, int i, int64_t r, int64_t each) {
    int64_t before = i == 0 ? 0 : t->b_step[0] ? t->count : 1;
    return (before + (t->b_step[i] ? r : 0)) * each;
}

/* What the group that follows touches for some pixels and outputs. */
typedef struct region {
    const hwb__cpu_after *after;
    int64_t p0, p1, o0, o1, points;
} region;

static void bring_region(const void *job, int64_t q) {
    const region *r = job;
    hwb__cpu_after_bring(r->after, r->p0, r->p1, r->o0, r->o1, q, r->points);
}

/* The first pixel of tile t, which begins a row of tiles. */
static int64_t pixel_at(const hwb__wino_geom *g, int64_t t) {
    return (t / (g->rows * g->cols) * g->oh + t / g->cols % g->rows * g->out_step) * g->ow;
}

/* Result r of a block, and where it goes. */
static hwb__wino_job job_of(const wino_kernel *k, const terms *t, const float *u, int64_t each,
                            int64_t r, int64_t o0) {
    hwb__wino_job job = {.terms = t->n, .to.more = t->more ? t->more + r * t->step : NULL};
    int64_t next = (r + 1) % t->count;
    for (int j = 0; j < t->n; j++) {
        job.in[j] = if_new(t->a[j], t->a_step[j], r);
        job.next[j] = if_new(t->a[j], t->a_step[j], next);
        job.u[j] = u + u_at(t, j, r, each);
    }
    if (k->after) return job;
    job.to.out = t->out + r * t->step + o0;
    job.to.width = k->geom.o;
    return job;
}

/* Part `part` of the threads does tiles first..end-1 of outputs o0..o0+on-1. */
static void forward_tiles(const wino_kernel *k, const terms *t, const float *u, int64_t o0,
                          int64_t on, int64_t first, int64_t end, int64_t part) {
    const hwb__wino_geom *g = &k->geom;
    int64_t each = hwb__wino_weights(g, on), pixels = g->n * g->oh * g->ow;
    float *own = own_scratch(k, part), *strip = own + k->strip_at;
    for (int64_t i = first; i < end; i += g->block)
        for (int64_t r = 0; r < t->count; r++) {
            int64_t count = end - i < g->block ? end - i : g->block, p0 = pixel_at(g, i);
            int64_t at = t->pixel + r * pixels;
            region reg = {k->after, at + p0, at + pixel_at(g, i + count), o0, o0 + on, g->points};
            hwb__wino_job job = job_of(k, t, u, each, r, o0);
            job.next_first = r + 1 < t->count ? i : i + g->block;
            if (k->after)
                job.to = (hwb__wino_result){job.to.more, strip, p0, on, bring_region, &reg};
            k->inner->forward(g, &job, i, count, o0, on, own + k->v_at, own + k->m_at);
            if (k->after)
                hwb__cpu_after_region(k->after, (int)part, reg.p0, reg.p1, reg.o0, reg.o1, strip);
        }
}

static void weights(const wino_kernel *k, const terms *t, int i, int64_t r, int64_t o0, int64_t on,
                    int64_t j0, int64_t j1, float *u) {
    k->inner->weights(&k->geom, b_of(t, i, r), k->conv.op == HWB_OP_CONV_BWD_DATA, o0, on, j0, j1,
                      u + u_at(t, i, r, hwb__wino_weights(&k->geom, on)));
}

static void forward_few(const wino_kernel *k, const terms *t) {
    const hwb__wino_geom *g = &k->geom;
    float *u = k->base.state->scratch;
    int64_t lanes = k->inner->lanes, parts = k->base.threads, tiles = hwb__wino_tiles(g);
    int64_t strips = g->o / lanes, unit = k->after ? g->cols : 8;
#pragma omp parallel num_threads(k->base.threads)
    {
        for (int i = 0; i < t->n; i++) {
            int64_t all = (t->b_step[i] ? t->count : 1) * strips;
#pragma omp for schedule(static) nowait
            for (int64_t j = 0; j < all; j++)
                weights(k, t, i, j / strips, 0, g->o, j % strips * lanes, (j % strips + 1) * lanes,
                        u);
        }
#pragma omp barrier
#pragma omp for schedule(static)
        for (int64_t i = 0; i < parts; i++)
            forward_tiles(k, t, u, 0, g->o, share(tiles, unit, i, parts),
                          share(tiles, unit, i + 1, parts), i);
    }
}

static int64_t width_at(const hwb__wino_geom *g, int64_t o0) {
    return g->o - o0 < WIDE ? g->o - o0 : WIDE;
}

/* Transformed images of so many channels leave no room for others: results one by one. */
static void forward_wide(const wino_kernel *k, const terms *all) {
    const hwb__wino_geom *g = &k->geom;
    int64_t items = (g->o + WIDE - 1) / WIDE, parts = k->base.threads;
#pragma omp parallel for num_threads(k->base.threads) schedule(static)
    for (int64_t i = 0; i < parts; i++)
        for (int64_t j = items * i / parts; j < items * (i + 1) / parts; j++)
            for (int64_t r = 0; r < all->count; r++) {
                terms t = some_of(k, all, r, r + 1);
                int64_t o0 = j * WIDE, on = width_at(g, o0);
                float *own = own_scratch(k, i);
                for (int n = 0; n < t.n; n++)
                    if (r == 0 || t.b_step[n]) weights(k, &t, n, 0, o0, on, 0, on, own);
                forward_tiles(k, &t, own, o0, on, 0, hwb__wino_tiles(g), i);
            }
}

/* s: sums of the results, each `each` floats behind the one before */
static void gradient_tiles(const wino_kernel *k, const terms *t, int64_t o0, int64_t on,
                           int64_t first, int64_t end, float *s, int64_t each, float *own) {
    const hwb__wino_geom *g = &k->geom;
    for (int64_t i = first; i < end; i += g->block)
        for (int64_t r = 0; r < t->count; r++) {
            int64_t next = (r + 1) % t->count;
            hwb__wino_sum job = {.terms = t->n, .next_first = next ? i : i + g->block};
            for (int j = 0; j < t->n; j++) {
                job.in[j] = if_new(t->a[j], t->a_step[j], r);
                job.out[j] = if_new(t->b[j], t->b_step[j], r);
                job.next_in[j] = if_new(t->a[j], t->a_step[j], next);
                job.next_out[j] = if_new(t->b[j], t->b_step[j], next);
            }
            k->inner->gradient(g, &job, i, end - i < g->block ? end - i : g->block, o0, on,
                               s + r * each, i > first, own + k->v_at, own + k->m_at);
        }
}

static void gradient_few(const wino_kernel *k, const terms *t) {
    const hwb__wino_geom *g = &k->geom;
    float *s = k->base.state->scratch;
    int64_t lanes = k->inner->lanes, tiles = hwb__wino_tiles(g), parts = k->base.threads;
    int64_t slots = k->slots, each = hwb__wino_weights(g, g->o), step = t->count * each;
    int64_t strips = g->c / lanes;
#pragma omp parallel num_threads(k->base.threads)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < parts; i++)
            for (int64_t j = slots * i / parts; j < slots * (i + 1) / parts; j++)
                gradient_tiles(k, t, 0, g->o, share(tiles, 8, j, slots),
                               share(tiles, 8, j + 1, slots), s + j * step, each,
                               own_scratch(k, i));
#pragma omp for schedule(static)
        for (int64_t j = 0; j < t->count * strips; j++) {
            terms one = some_of(k, t, j / strips, j / strips + 1);
            int64_t c = j % strips * lanes;
            k->inner->finish(g, s + j / strips * each, slots, step, 0, g->o, c, c + lanes, one.more,
                             one.out);
        }
    }
}

static void gradient_wide(const wino_kernel *k, const terms *all) {
    const hwb__wino_geom *g = &k->geom;
    int64_t items = (g->o + WIDE - 1) / WIDE, parts = k->base.threads;
#pragma omp parallel for num_threads(k->base.threads) schedule(static)
    for (int64_t i = 0; i < parts; i++)
        for (int64_t j = items * i / parts; j < items * (i + 1) / parts; j++)
            for (int64_t r = 0; r < all->count; r++) {
                terms t = some_of(k, all, r, r + 1);
                int64_t o0 = j * WIDE, on = width_at(g, o0);
                float *own = own_scratch(k, i);
                gradient_tiles(k, &t, o0, on, 0, hwb__wino_tiles(g), own, 0, own);
                k->inner->finish(g, own, 1, 0, o0, on, 0, g->c, t.more, t.out);
            }
}

static hwb_status wino_run(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                           const uint64_t *versions, void *const *out) {
    const wino_kernel *k = (const wino_kernel *)kernel;
    const hwb__conv_geom *c = &k->conv;
    (void)ctx;
    (void)versions;
    bool data = c->op == HWB_OP_CONV_BWD_DATA, gradient = c->op == HWB_OP_CONV_BWD_WEIGHTS;
    terms t = {.n = c->pair ? 2 : 1,
               .a_step = {data ? c->y_step : c->x_step, c->pair_step[0]},
               .b_step = {gradient ? c->y_step : c->w_step, c->pair_step[1]},
               .out = k->after ? NULL : out[0],
               .step = gradient ? c->w_step
                       : data   ? c->x_step
                                : c->y_step};
    for (int j = 0; j < t.n; j++) {
        t.a[j] = in[2 * j];
        t.b[j] = in[2 * j + 1];
    }
    if (c->add) t.more = in[2 * t.n];
    if (k->after)
        hwb__cpu_after_begin(k->after, in, out,
                             (char *)((float *)k->base.state->scratch + k->after_at));
    for (int64_t r = 0; r < c->loops; r += k->group) {
        terms some = some_of(k, &t, r, c->loops - r < k->group ? c->loops : r + k->group);
        if (gradient) (k->wide ? gradient_wide : gradient_few)(k, &some);
        else (k->wide ? forward_wide : forward_few)(k, &some);
    }
    if (k->after) hwb__cpu_after_end(k->after);
    return HWB_OK;
}

/* ---- prepare --------------------------------------------------------------- */

static void wino_free(hwb__cpu_kernel *kernel) {
    hwb__cpu_after_free(((wino_kernel *)kernel)->after);
    hwb_free(kernel);
}

/* Slots of a gradient: as many as are of use, and as fit 10 MB with their sums; with
 * less than two, threads share the outputs instead. */
static int64_t choose_slots(const hwb__wino_geom *g) {
    int64_t slots = hwb__wino_tiles(g) * g->points / (SLOT_TILES * WINO_WEIGHTS);
    int64_t most = (10 << 20) / (hwb__wino_weights(g, g->o) * (int64_t)sizeof(float));
    if (slots < most) most = slots;
    for (slots = MAX_SLOTS; slots > 1 && slots > most;)
        slots /= 2; /* two or four threads share evenly */
    return slots;
}

/* Results at once: their weights or sums take GROUP_BYTES at most, or there is one. */
static int64_t choose_group(const wino_kernel *k) {
    const hwb__wino_geom *g = &k->geom;
    if (k->wide) return k->conv.loops;
    int64_t most = GROUP_BYTES / (k->slots * hwb__wino_weights(g, g->o) * (int64_t)sizeof(float));
    return most < 1 ? 1 : most < k->conv.loops ? most : k->conv.loops;
}

/* Tiles of a block of n terms and `on` outputs. */
static int64_t choose_block(const wino_kernel *k, int64_t n, int64_t on) {
    const hwb__wino_geom *g = &k->geom;
    bool gradient = k->conv.op == HWB_OP_CONV_BWD_WEIGHTS;
    if (g->kind == WINO_PLAIN)
        return (gradient && k->wide ? GRADIENT_BLOCK : BLOCK) / (gradient ? n : 1);
    int64_t tile = g->points * (n * g->c + (gradient ? n : 1) * on) * (int64_t)sizeof(float);
    int64_t block = BLOCK_BYTES / tile / 8 * 8;
    return block < 8 ? 8 : block > BLOCK ? BLOCK : block;
}

static void plan(wino_kernel *k) {
    hwb__wino_geom *g = &k->geom;
    bool gradient = k->conv.op == HWB_OP_CONV_BWD_WEIGHTS;
    int64_t n = k->conv.pair ? 2 : 1;
    k->wide = g->c * g->o > MANY && g->o >= 2 * WIDE;
    k->slots = 1;
    if (gradient && !k->wide) k->slots = choose_slots(g);
    k->group = choose_group(k);
    int64_t tiles = (hwb__wino_tiles(g) + 7) / 8 * 8, on = k->wide ? width_at(g, 0) : g->o;
    g->block = choose_block(k, n, on);
    if (g->block > tiles) g->block = tiles;
    if (k->conv.after) g->block = g->cols * (g->block > g->cols ? g->block / g->cols : 1);
    int64_t each = hwb__wino_weights(g, on);
    k->v_at = k->wide ? (gradient ? 1 : n) * each : 0;
    k->m_at = k->v_at + n * hwb__wino_block(g, g->c);
    k->strip_at = k->m_at + (gradient ? n : 1) * hwb__wino_block(g, on);
    k->own = k->strip_at + (k->conv.after ? g->out_step * g->out_step * g->block * on : 0);
    k->own_at = k->wide ? 0 : gradient ? k->slots * k->group * each : n * k->group * each;
}

hwb_status hwb__cpu_wino_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                 const hwb__conv_geom *conv) {
    hwb__cpu_kernel *base;
    HWB_TRY(hwb__cpu_kernel_new(ctx, state, &base, sizeof(wino_kernel), ""));
    wino_kernel *k = (wino_kernel *)base;
    base->run = wino_run;
    base->free = wino_free;
    snprintf(base->name, sizeof base->name, "winograd:%s", state->wino->name);
    k->inner = state->wino;
    k->conv = *conv;
    k->geom = geom_of(conv);
    plan(k);
    k->after_at = k->own_at + base->threads * k->own;
    size_t bytes = (size_t)k->after_at * sizeof(float);
    hwb_status status = HWB_OK;
    if (conv->after)
        status =
            hwb__cpu_after_new(ctx, state, &k->after, conv->after, k->geom.out_step * k->geom.ow,
                               k->wide ? WIDE : k->geom.o, base->threads);
    if (k->after) bytes += hwb__cpu_after_scratch(k->after);
    if (status == HWB_OK) status = hwb__cpu_reserve(ctx, state, bytes);
    if (status == HWB_OK) *out = base;
    else wino_free(base);
    return status;
}
