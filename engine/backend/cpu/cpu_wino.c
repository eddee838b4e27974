/*
 * cpu_wino.c: 3x3 convolutions of stride 1 by Winograd's algorithm (cpu_wino_i.h),
 * straight on channels-last float32 images, in all three directions.
 *
 *   forward        weights are transformed first, then blocks of tiles
 *   backward-data  is a forward convolution with the weights turned round
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
    SLOT_TILES = 96,      /* least tiles of a slot */
    MAX_SLOTS = 8
};

typedef struct wino_kernel {
    hwb__cpu_kernel base;
    const struct hwb__wino *inner;
    hwb__conv_geom conv;
    hwb__wino_geom geom;
    bool wide;                       /* by outputs, WIDE at a time */
    int64_t slots;                   /* of a gradient */
    int64_t own_at, v_at, m_at, own; /* floats: of weights or sums, blocks; of one thread */
    hwb__cpu_after *after;           /* a group that follows, or NULL */
    int64_t strip_at, after_at;      /* floats: of a strip; of the group, behind all threads */
} wino_kernel;

/* ---- geometry -------------------------------------------------------------- */

static hwb__wino_geom geom_of(const hwb__conv_geom *c) {
    hwb__wino_geom g = {c->n,  c->h, c->w,         c->c,         c->oh,
                        c->ow, c->o, c->pad_lo[0], c->pad_lo[1], .block = BLOCK};
    if (c->op == HWB_OP_CONV_BWD_DATA) {
        g.h = c->oh, g.w = c->ow, g.c = c->o;
        g.oh = c->h, g.ow = c->w, g.o = c->c;
        g.top = 2 - c->pad_lo[0];
        g.left = 2 - c->pad_lo[1];
    }
    g.rows = (g.oh + 3) / 4;
    g.cols = (g.ow + 3) / 4;
    return g;
}

/* A tile costs a quarter of its direct multiplications when all of it is needed;
 * fewer than 30 or so do not pay for the transformed weights. */
bool hwb__cpu_wino_takes(const hwb__cpu_state *state, const hwb__conv_geom *c) {
    if (!state->wino || c->dtype != HWB_F32 || !c->channels_last || c->groups != 1) return false;
    if (c->c % state->wino->lanes || c->o % state->wino->lanes) return false;
    for (int i = 0; i < 2; i++)
        if (c->kernel[i] != 3 || c->stride[i] != 1 || c->dilation[i] != 1 || c->pad_lo[i] > 2 ||
            c->pad_hi[i] > 2)
            return false;
    hwb__wino_geom g = geom_of(c);
    int64_t used = g.n * g.oh * g.ow, tiles = hwb__wino_tiles(&g);
    return used >= 30 * 16 && used >= 8 * tiles;
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

/* The operands of one convolution or of a sum of two. */
typedef struct terms {
    int n;
    const float *a[2], *b[2];
    const float *more; /* added to the result, or NULL */
    float *out;        /* not used where a group follows */
    int64_t pixel;     /* the first of the result among those of all K */
} terms;

/* What the group that follows touches for some pixels and outputs. */
typedef struct region {
    const hwb__cpu_after *after;
    int64_t p0, p1, o0, o1;
} region;

static void bring_region(const void *job, int64_t q) {
    const region *r = job;
    hwb__cpu_after_bring(r->after, r->p0, r->p1, r->o0, r->o1, q, WINO_POINTS);
}

/* The first pixel of tile t, which begins a row of tiles. */
static int64_t pixel_at(const hwb__wino_geom *g, int64_t t) {
    return (t / (g->rows * g->cols) * g->oh + t / g->cols % g->rows * 4) * g->ow;
}

/* Part `part` of the threads does tiles first..end-1 of outputs o0..o0+on-1. */
static void forward_tiles(const wino_kernel *k, const terms *t, const float *u, int64_t o0,
                          int64_t on, int64_t first, int64_t end, int64_t part) {
    const hwb__wino_geom *g = &k->geom;
    float *own = own_scratch(k, part), *strip = own + k->strip_at;
    hwb__wino_result to = {.more = t->more, .out = t->out + o0, .width = g->o};
    for (int64_t i = first; i < end; i += g->block) {
        int64_t count = end - i < g->block ? end - i : g->block;
        int64_t p0 = pixel_at(g, i), p1 = pixel_at(g, i + count);
        region r = {k->after, t->pixel + p0, t->pixel + p1, o0, o0 + on};
        if (k->after) to = (hwb__wino_result){t->more, strip, p0, on, bring_region, &r};
        k->inner->forward(g, t->a, u, &to, i, count, o0, on, own + k->v_at, own + k->m_at);
        if (k->after) hwb__cpu_after_region(k->after, (int)part, r.p0, r.p1, r.o0, r.o1, strip);
    }
}

static void weights(const wino_kernel *k, const terms *t, int64_t o0, int64_t on, int64_t j0,
                    int64_t j1, float *u) {
    for (int i = 0; i < t->n; i++)
        k->inner->weights(&k->geom, t->b[i], k->conv.op == HWB_OP_CONV_BWD_DATA, i * k->geom.c, o0,
                          on, j0, j1, u);
}

static void forward_few(const wino_kernel *k, const terms *t) {
    const hwb__wino_geom *g = &k->geom;
    float *u = k->base.state->scratch;
    int64_t lanes = k->inner->lanes, tiles = hwb__wino_tiles(g), parts = k->base.threads;
    int64_t unit = k->after ? g->cols : 8;
#pragma omp parallel num_threads(k->base.threads)
    {
#pragma omp for schedule(static)
        for (int64_t j = 0; j < g->o; j += lanes) weights(k, t, 0, g->o, j, j + lanes, u);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < parts; i++)
            forward_tiles(k, t, u, 0, g->o, share(tiles, unit, i, parts),
                          share(tiles, unit, i + 1, parts), i);
    }
}

static int64_t width_at(const hwb__wino_geom *g, int64_t o0) {
    return g->o - o0 < WIDE ? g->o - o0 : WIDE;
}

static void forward_wide(const wino_kernel *k, const terms *t) {
    const hwb__wino_geom *g = &k->geom;
    int64_t items = (g->o + WIDE - 1) / WIDE, parts = k->base.threads;
#pragma omp parallel for num_threads(k->base.threads) schedule(static)
    for (int64_t i = 0; i < parts; i++)
        for (int64_t j = items * i / parts; j < items * (i + 1) / parts; j++) {
            int64_t o0 = j * WIDE, on = width_at(g, o0);
            float *own = own_scratch(k, i);
            weights(k, t, o0, on, 0, on, own);
            forward_tiles(k, t, own, o0, on, 0, hwb__wino_tiles(g), i);
        }
}

static void gradient_tiles(const wino_kernel *k, const terms *t, int64_t o0, int64_t on,
                           int64_t first, int64_t end, float *s, float *own) {
    const hwb__wino_geom *g = &k->geom;
    for (int i = 0; i < t->n; i++)
        for (int64_t j = first; j < end; j += g->block)
            k->inner->gradient(g, t->a[i], t->b[i], j, end - j < g->block ? end - j : g->block, o0,
                               on, s, i > 0 || j > first, own + k->v_at, own + k->m_at);
}

static void gradient_few(const wino_kernel *k, const terms *t) {
    const hwb__wino_geom *g = &k->geom;
    float *s = k->base.state->scratch;
    int64_t lanes = k->inner->lanes, tiles = hwb__wino_tiles(g), parts = k->base.threads;
    int64_t slots = k->slots, step = hwb__wino_weights(g, g->o);
#pragma omp parallel num_threads(k->base.threads)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < parts; i++)
            for (int64_t j = slots * i / parts; j < slots * (i + 1) / parts; j++)
                gradient_tiles(k, t, 0, g->o, share(tiles, 8, j, slots),
                               share(tiles, 8, j + 1, slots), s + j * step, own_scratch(k, i));
#pragma omp for schedule(static)
        for (int64_t c = 0; c < g->c; c += lanes)
            k->inner->finish(g, s, slots, step, 0, g->o, c, c + lanes, t->more, t->out);
    }
}

static void gradient_wide(const wino_kernel *k, const terms *t) {
    const hwb__wino_geom *g = &k->geom;
    int64_t items = (g->o + WIDE - 1) / WIDE, parts = k->base.threads;
#pragma omp parallel for num_threads(k->base.threads) schedule(static)
    for (int64_t i = 0; i < parts; i++)
        for (int64_t j = items * i / parts; j < items * (i + 1) / parts; j++) {
            int64_t o0 = j * WIDE, on = width_at(g, o0);
            float *own = own_scratch(k, i);
            gradient_tiles(k, t, o0, on, 0, hwb__wino_tiles(g), own, own);
            k->inner->finish(g, own, 1, 0, o0, on, 0, g->c, t->more, t->out);
        }
}

static hwb_status wino_run(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                           const uint64_t *versions, void *const *out) {
    const wino_kernel *k = (const wino_kernel *)kernel;
    const hwb__conv_geom *c = &k->conv;
    (void)ctx;
    (void)versions;
    bool data = c->op == HWB_OP_CONV_BWD_DATA, gradient = c->op == HWB_OP_CONV_BWD_WEIGHTS;
    int64_t from[2][2] = {{data ? c->y_step : c->x_step, gradient ? c->y_step : c->w_step},
                          {c->pair_step[0], c->pair_step[1]}};
    int64_t step = gradient ? c->w_step : data ? c->x_step : c->y_step;
    if (k->after)
        hwb__cpu_after_begin(k->after, in, out,
                             (char *)((float *)k->base.state->scratch + k->after_at));
    for (int64_t i = 0; i < c->loops; i++) {
        terms t = {.n = c->pair ? 2 : 1, .pixel = i * k->geom.n * k->geom.oh * k->geom.ow};
        t.out = k->after ? k->base.state->scratch : (float *)out[0] + i * step;
        for (int j = 0; j < t.n; j++) {
            t.a[j] = (const float *)in[2 * j] + i * from[j][0];
            t.b[j] = (const float *)in[2 * j + 1] + i * from[j][1];
        }
        if (c->add) t.more = (const float *)in[2 * t.n] + i * step;
        if (gradient) (k->wide ? gradient_wide : gradient_few)(k, &t);
        else (k->wide ? forward_wide : forward_few)(k, &t);
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
    int64_t slots = hwb__wino_tiles(g) / SLOT_TILES;
    int64_t most = (10 << 20) / (hwb__wino_weights(g, g->o) * (int64_t)sizeof(float));
    if (slots < most) most = slots;
    for (slots = MAX_SLOTS; slots > 1 && slots > most;)
        slots /= 2; /* two or four threads share evenly */
    return slots;
}

static void plan(wino_kernel *k) {
    hwb__wino_geom *g = &k->geom;
    bool gradient = k->conv.op == HWB_OP_CONV_BWD_WEIGHTS;
    g->depth = k->conv.pair && !gradient ? 2 * g->c : g->c;
    k->wide = g->c * g->o > MANY && g->o >= 2 * WIDE;
    k->slots = 1;
    if (gradient && !k->wide) k->slots = choose_slots(g);
    if (gradient && k->wide) g->block = GRADIENT_BLOCK;
    int64_t tiles = (hwb__wino_tiles(g) + 7) / 8 * 8, on = k->wide ? width_at(g, 0) : g->o;
    if (g->block > tiles) g->block = tiles;
    if (k->conv.after) g->block = g->cols * (g->block > g->cols ? g->block / g->cols : 1);
    k->v_at = k->wide ? hwb__wino_weights(g, on) : 0;
    k->m_at = k->v_at + hwb__wino_block(g, g->depth);
    k->strip_at = k->m_at + hwb__wino_block(g, on);
    k->own = k->strip_at + (k->conv.after ? 16 * g->block * on : 0);
    k->own_at = k->wide ? 0 : k->slots * hwb__wino_weights(g, g->o);
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
        status = hwb__cpu_after_new(ctx, state, &k->after, conv->after, 4 * k->geom.ow,
                                    k->wide ? WIDE : k->geom.o, base->threads);
    if (k->after) bytes += hwb__cpu_after_scratch(k->after);
    if (status == HWB_OK) status = hwb__cpu_reserve(ctx, state, bytes);
    if (status == HWB_OK) *out = base;
    else wino_free(base);
    return status;
}
