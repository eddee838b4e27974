/*
 * shapes10.c: the bundled data set: 32x32 pictures of ten textured shapes.
 *
 * A sample shows one large shape in any pose and texture on a textured ground,
 * with small shapes of any class around it, something in front of it one time
 * in three, uneven light and noise.  Texture, colour and place say nothing
 * about the class; only the outline does.  Sample i of split s is a pure
 * function of (seed, s, i): labels are a random order of 0..9 in each block of
 * ten, everything else comes from the stream (seed, "shapes10", s, i).
 *
 * Pictures are drawn when first asked for and kept.
 */
#include "data/data_i.h"
#include "data/shapes10_i.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIXELS = 3 * HWB__SHAPES_SIDE * HWB__SHAPES_SIDE,
    TRAIN = 10000,
    TEST = 2000,
    MAX_COUNT = 10 * 1000 * 1000,
};

static const char *const names[] = {"disc", "ring",  "square",   "triangle", "hexagon",
                                    "star", "cross", "crescent", "arrow",    "bars"};

/* A sequence of draws from one stream. */
typedef struct draws {
    hwb_rng rng;
    uint64_t next;
} draws;

static double uniform(draws *d, double low, double high) {
    return low + (high - low) * hwb_rng_uniform(d->rng, d->next++);
}

static int below(draws *d, int n) {
    return (int)hwb_rng_below(d->rng, d->next++, (uint64_t)n);
}

/* A random direction without sin and cos: a point in the unit disc, scaled. */
static void direction(draws *d, double *x, double *y) {
    double r2;
    do {
        *x = uniform(d, -1, 1);
        *y = uniform(d, -1, 1);
        r2 = *x * *x + *y * *y;
    } while (r2 > 1 || r2 < 0.01);
    double r = sqrt(r2);
    *x /= r;
    *y /= r;
}

/* ---- the scene ----------------------------------------------------------------------------- */

static double distance2(const double a[3], const double b[3]) {
    double sum = 0;
    for (int c = 0; c < 3; c++) sum += (a[c] - b[c]) * (a[c] - b[c]);
    return sum;
}

/* A colour at least sqrt(apart2) from both colours of `other` (NULL = any). */
static void colour(draws *d, double out[3], const hwb__texture *other, double apart2) {
    for (int tries = 0; tries < 30; tries++) {
        for (int c = 0; c < 3; c++) out[c] = uniform(d, 0.05, 0.95);
        if (!other || (distance2(out, other->a) >= apart2 && distance2(out, other->b) >= apart2))
            return;
    }
}

static void texture(draws *d, hwb__texture *t, const hwb__texture *other, double apart2) {
    t->kind = (hwb__texture_kind)below(d, HWB__TEXTURE_KINDS);
    colour(d, t->a, other, apart2);
    colour(d, t->b, other, apart2);
    double strength = uniform(d, 0.25, 1); /* of the pattern */
    for (int c = 0; c < 3; c++) t->b[c] = t->a[c] + (t->b[c] - t->a[c]) * strength;
    direction(d, &t->dx, &t->dy);
    t->frequency = uniform(d, 1.5, 4);
    t->phase = uniform(d, 0, 1);
    for (int i = 0; i < HWB__SHAPES_LATTICE * HWB__SHAPES_LATTICE; i++)
        t->lattice[i] = uniform(d, 0, 1);
}

static void pose(draws *d, hwb__item *item, double place, double smallest, double largest) {
    item->cx = uniform(d, -place, place);
    item->cy = uniform(d, -place, place);
    direction(d, &item->c, &item->s);
    double size = uniform(d, smallest, largest), stretch = uniform(d, 0.8, 1.25);
    item->su = size * stretch;
    item->sv = size / stretch;
}

/* Something in front: a strip across, or a shape over part of the main one. */
static void hide(draws *d, hwb__item *item, const hwb__item *main_item) {
    item->kind = below(d, 2) ? HWB__SHAPE_STRIP : (hwb__shape_kind)below(d, HWB__SHAPE_CLASSES);
    pose(d, item, 0.5 * main_item->su, 0.15, 0.28);
    item->cx += main_item->cx;
    item->cy += main_item->cy;
    texture(d, &item->fill, NULL, 0);
}

static void make_scene(hwb__scene *scene, draws *d, int label) {
    texture(d, &scene->ground, NULL, 0);
    int around = below(d, 4);
    for (int i = 0; i < around; i++) {
        hwb__item *item = &scene->item[scene->items++];
        item->kind = (hwb__shape_kind)below(d, HWB__SHAPE_CLASSES);
        pose(d, item, 1, 0.1, 0.22);
        texture(d, &item->fill, NULL, 0);
    }
    hwb__item *item = &scene->item[scene->items++];
    item->kind = (hwb__shape_kind)label;
    pose(d, item, 0.25, 0.55, 0.88);
    texture(d, &item->fill, &scene->ground, 0.15);
    if (below(d, 3) == 0) hide(d, &scene->item[scene->items++], item);
    scene->light = uniform(d, 0, 0.35);
    direction(d, &scene->light_x, &scene->light_y);
    scene->noise = uniform(d, 0.01, 0.07);
}

/* ---- the dataset --------------------------------------------------------------------------- */

/* States of a kept picture. */
enum { EMPTY, IN_WORK, KEPT };

typedef struct shapes10 {
    uint64_t seed, split;
    uint8_t *pixels;     /* count x PIXELS */
    atomic_uchar *state; /* of each picture */
} shapes10;

static int label_of(const shapes10 *s, int64_t index) {
    int64_t order[10];
    hwb_rng rng = {s->seed, hwb_rng_stream("shapes10.labels", s->split, (uint64_t)index / 10)};
    hwb_rng_permutation(rng, 10, order);
    return (int)order[index % 10];
}

static void draw_sample(const shapes10 *s, int64_t index, int label, uint8_t *pixels) {
    hwb__scene scene = {0};
    draws d = {{s->seed, hwb_rng_stream("shapes10", s->split, (uint64_t)index)}, 0};
    scene.rng = (hwb_rng){s->seed, hwb_rng_stream("shapes10.noise", s->split, (uint64_t)index)};
    make_scene(&scene, &d, label);
    hwb__scene_draw(&scene, pixels);
}

/* Two threads may draw the same picture at once; only one keeps it. */
static hwb_status shapes10_fetch(hwb_ctx *ctx, void *state, int64_t index, void *sample,
                                 int64_t *label) {
    (void)ctx;
    shapes10 *s = state;
    uint8_t *kept = s->pixels + (size_t)index * PIXELS;
    *label = label_of(s, index);
    if (atomic_load_explicit(&s->state[index], memory_order_acquire) == KEPT) {
        memcpy(sample, kept, PIXELS);
        return HWB_OK;
    }
    draw_sample(s, index, (int)*label, sample);
    unsigned char empty = EMPTY;
    if (atomic_compare_exchange_strong(&s->state[index], &empty, IN_WORK)) {
        memcpy(kept, sample, PIXELS);
        atomic_store_explicit(&s->state[index], KEPT, memory_order_release);
    }
    return HWB_OK;
}

static void shapes10_free(void *state) {
    shapes10 *s = state;
    hwb_free(s->pixels);
    free(s->state);
    free(s);
}

hwb_status hwb_dataset_shapes10(hwb_ctx *ctx, hwb_dataset **out, const char *split, uint64_t seed,
                                int64_t count) {
    bool train = strcmp(split, "train") == 0;
    if (!train && strcmp(split, "test") != 0)
        return hwb_fail(ctx, HWB_EARG, "shapes10: split \"%s\" is neither train nor test", split);
    if (count < 0 || count > MAX_COUNT)
        return hwb_fail(ctx, HWB_EARG, "shapes10: %lld samples", (long long)count);
    if (count == 0) count = train ? TRAIN : TEST;
    shapes10 *s = calloc(1, sizeof *s);
    if (!s) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a dataset");
    s->seed = seed;
    s->split = train ? 0 : 1;
    s->state = calloc((size_t)count, sizeof *s->state);
    s->pixels = s->state ? hwb_alloc(ctx, (size_t)count * PIXELS) : NULL;
    hwb_dataset_def def = {.kind = "shapes10",
                           .count = count,
                           .classes = HWB__SHAPE_CLASSES,
                           .class_names = names,
                           .sample = {3, {3, HWB__SHAPES_SIDE, HWB__SHAPES_SIDE}},
                           .stored = HWB_U8,
                           .fetch = shapes10_fetch,
                           .free_state = shapes10_free,
                           .state = s};
    hwb_status status = s->pixels ? hwb_dataset_new(ctx, out, &def) : HWB_ENOMEM;
    if (status == HWB_ENOMEM && !s->state) hwb_fail(ctx, HWB_ENOMEM, "out of memory for a dataset");
    if (status != HWB_OK) shapes10_free(s);
    return status;
}
