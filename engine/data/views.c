/*
 * views.c: datasets made from others: tensors in memory, parts, resized.
 */
#include "data/data_i.h"
#include "io/io.h"

#include <stdlib.h>
#include <string.h>

/* ---- tensors in memory ------------------------------------------------------------------ */

typedef struct arrays {
    hwb_tensor *x, *y; /* dense; y is int64 */
    size_t step;       /* bytes of a sample */
} arrays;

static hwb_status arrays_fetch(hwb_ctx *ctx, void *state, int64_t index, void *sample,
                               int64_t *label) {
    (void)ctx;
    arrays *a = state;
    memcpy(sample, (const char *)hwb_tensor_data(a->x) + (size_t)index * a->step, a->step);
    *label = ((const int64_t *)hwb_tensor_data(a->y))[index];
    return HWB_OK;
}

static void arrays_free(void *state) {
    arrays *a = state;
    hwb_tensor_release(a->x);
    hwb_tensor_release(a->y);
    free(a);
}

static hwb_status check_arrays(hwb_ctx *ctx, const hwb_tensor *x, const hwb_tensor *y) {
    const hwb_shape *sx = hwb_tensor_shape(x), *sy = hwb_tensor_shape(y);
    char tx[HWB_SHAPE_TEXT], ty[HWB_SHAPE_TEXT];
    if (sx->ndim < 1 || sy->ndim != 1 || sx->dim[0] != sy->dim[0])
        return hwb_fail(ctx, HWB_ESHAPE, "dataset: x %s and y %s are no samples and labels",
                        hwb_shape_text(sx, tx), hwb_shape_text(sy, ty));
    if (hwb_dtype_is_float(hwb_tensor_dtype(y)) || hwb_tensor_dtype(y) == HWB_BOOL)
        return hwb_fail(ctx, HWB_EDTYPE, "dataset: labels of dtype %s",
                        hwb_dtype_name(hwb_tensor_dtype(y)));
    return HWB_OK;
}

static hwb_status count_classes(hwb_ctx *ctx, const hwb_tensor *y, int64_t *classes) {
    const int64_t *label = hwb_tensor_data(y);
    *classes = 0;
    for (int64_t i = 0; i < hwb_tensor_numel(y); i++) {
        if (label[i] < 0 || label[i] == INT64_MAX)
            return hwb_fail(ctx, HWB_EARG, "dataset: label %lld of sample %lld (counted from 1)",
                            (long long)label[i] + 1, (long long)i + 1);
        if (label[i] >= *classes) *classes = label[i] + 1;
    }
    return HWB_OK;
}

hwb_status hwb_dataset_tensors(hwb_ctx *ctx, hwb_dataset **out, hwb_tensor *x, hwb_tensor *y) {
    HWB_TRY(check_arrays(ctx, x, y));
    arrays *a = calloc(1, sizeof *a);
    if (!a) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a dataset");
    hwb_tensor *wide = NULL;
    const hwb_shape *s = hwb_tensor_shape(x);
    hwb_dataset_def def = {.kind = "tensors",
                           .count = s->dim[0],
                           .stored = hwb_tensor_dtype(x),
                           .sample.ndim = s->ndim - 1,
                           .fetch = arrays_fetch,
                           .free_state = arrays_free,
                           .state = a};
    memcpy(def.sample.dim, s->dim + 1, (size_t)def.sample.ndim * sizeof *s->dim);
    a->step = (size_t)hwb_shape_numel(&def.sample) * hwb_dtype_size(def.stored);
    hwb_status status = hwb_tensor_contiguous(ctx, &a->x, x);
    if (status == HWB_OK) status = hwb_tensor_to(ctx, &wide, y, HWB_I64);
    if (status == HWB_OK) status = hwb_tensor_contiguous(ctx, &a->y, wide);
    if (status == HWB_OK) status = count_classes(ctx, a->y, &def.classes);
    if (status == HWB_OK) status = hwb_dataset_new(ctx, out, &def);
    hwb_tensor_release(wide);
    if (status != HWB_OK) arrays_free(a);
    return status;
}

/* ---- parts ---------------------------------------------------------------------------------- */

typedef struct part {
    hwb_dataset *parent;
    int64_t first;
    int64_t *index; /* NULL = first, first+1, … */
} part;

static hwb_status part_fetch(hwb_ctx *ctx, void *state, int64_t index, void *sample,
                             int64_t *label) {
    part *p = state;
    return hwb_dataset_fetch(ctx, p->parent, p->index ? p->index[index] : p->first + index, sample,
                             label);
}

static hwb_status part_fetch_part(hwb_ctx *ctx, void *state, int64_t index, hwb_rng rng,
                                  void *sample, int64_t *label) {
    part *p = state;
    return p->parent->fetch_part(ctx, p->parent->state,
                                 p->index ? p->index[index] : p->first + index, rng, sample, label);
}

static void part_free(void *state) {
    part *p = state;
    hwb_dataset_release(p->parent);
    free(p->index);
    free(p);
}

/* A view of `parent` with the changes already in def; takes def->state. */
static hwb_status make_view(hwb_ctx *ctx, hwb_dataset **out, hwb_dataset *parent,
                            hwb_dataset_def *def) {
    hwb_dataset *ds = NULL;
    def->kind = parent->kind;
    def->classes = parent->classes;
    def->class_names = (const char *const *)parent->class_names;
    def->stored = parent->stored;
    hwb_status status = hwb_dataset_new(ctx, &ds, def);
    if (status != HWB_OK) {
        def->free_state(def->state);
        return status;
    }
    status = hwb__dataset_inherit(ctx, ds, parent);
    if (status != HWB_OK) {
        hwb_dataset_release(ds);
        return status;
    }
    *out = ds;
    return HWB_OK;
}

static hwb_status make_part(hwb_ctx *ctx, hwb_dataset **out, hwb_dataset *parent, int64_t first,
                            int64_t *index, int64_t n) {
    part *p = calloc(1, sizeof *p);
    if (!p) {
        free(index);
        return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a dataset");
    }
    *p = (part){hwb_dataset_retain(parent), first, index};
    hwb_dataset_def def = {.count = n,
                           .sample = parent->sample,
                           .fetch = part_fetch,
                           .fetch_part = parent->fetch_part ? part_fetch_part : NULL,
                           .free_state = part_free,
                           .state = p};
    return make_view(ctx, out, parent, &def);
}

hwb_status hwb_dataset_subset(hwb_ctx *ctx, hwb_dataset **out, hwb_dataset *parent, int64_t first,
                              int64_t count) {
    if (first < 0 || count < 0 || first > parent->count || count > parent->count - first)
        return hwb_fail(ctx, HWB_EARG, "%s: a subset of %lld samples from %lld on, of %lld",
                        parent->kind, (long long)count, (long long)first, (long long)parent->count);
    return make_part(ctx, out, parent, first, NULL, count);
}

hwb_status hwb_dataset_select(hwb_ctx *ctx, hwb_dataset **out, hwb_dataset *parent,
                              const int64_t *index, int64_t n) {
    if (n < 0) return hwb_fail(ctx, HWB_EARG, "%s: %lld samples", parent->kind, (long long)n);
    for (int64_t i = 0; i < n; i++)
        if (index[i] < 0 || index[i] >= parent->count)
            return hwb_fail(ctx, HWB_EARG, "%s: sample %lld of %lld", parent->kind,
                            (long long)index[i], (long long)parent->count);
    int64_t *copy = calloc((size_t)n + 1, sizeof *copy);
    if (!copy) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a dataset");
    if (n > 0) memcpy(copy, index, (size_t)n * sizeof *copy);
    return make_part(ctx, out, parent, 0, copy, n);
}

/* ---- resized ----------------------------------------------------------------------------------- */

typedef struct resized {
    hwb_dataset *parent;
    int64_t h, w;
} resized;

/* [3,H,W] <-> [H,W,3] */
static void planar_to_packed(uint8_t *to, const uint8_t *from, int64_t pixels) {
    for (int64_t i = 0; i < pixels; i++)
        for (int c = 0; c < 3; c++) to[3 * i + c] = from[c * pixels + i];
}

static void packed_to_planar(uint8_t *to, const uint8_t *from, int64_t pixels) {
    for (int64_t i = 0; i < pixels; i++)
        for (int c = 0; c < 3; c++) to[c * pixels + i] = from[3 * i + c];
}

static hwb_status resized_fetch(hwb_ctx *ctx, void *state, int64_t index, void *sample,
                                int64_t *label) {
    resized *r = state;
    const hwb_shape *s = &r->parent->sample;
    int64_t pixels = s->dim[1] * s->dim[2];
    hwb_tensor *image = NULL, *scaled = NULL;
    uint8_t *raw = hwb_alloc(ctx, (size_t)pixels * 3);
    if (!raw) return HWB_ENOMEM;
    hwb_status status = hwb_dataset_fetch(ctx, r->parent, index, raw, label);
    if (status == HWB_OK)
        status = hwb_tensor_new(ctx, &image, HWB_U8, (hwb_shape){3, {s->dim[1], s->dim[2], 3}});
    if (status == HWB_OK) {
        planar_to_packed(hwb_tensor_data(image), raw, pixels);
        status = hwb_image_resize(ctx, &scaled, image, r->h, r->w);
    }
    if (status == HWB_OK) packed_to_planar(sample, hwb_tensor_data(scaled), r->h * r->w);
    hwb_free(raw);
    hwb_tensor_release(image);
    hwb_tensor_release(scaled);
    return status;
}

static void resized_free(void *state) {
    resized *r = state;
    hwb_dataset_release(r->parent);
    free(r);
}

hwb_status hwb_dataset_resized(hwb_ctx *ctx, hwb_dataset **out, hwb_dataset *parent, int64_t h,
                               int64_t w) {
    char text[HWB_SHAPE_TEXT];
    if (parent->stored != HWB_U8 || parent->sample.ndim != 3 || parent->sample.dim[0] != 3)
        return hwb_fail(ctx, HWB_ESHAPE, "%s: %s %s samples are no uint8 3xHxW images",
                        parent->kind, hwb_dtype_name(parent->stored),
                        hwb_shape_text(&parent->sample, text));
    if (h < 1 || w < 1 || h > 65536 || w > 65536)
        return hwb_fail(ctx, HWB_EARG, "%s: %lldx%lld is no image size", parent->kind, (long long)h,
                        (long long)w);
    resized *r = calloc(1, sizeof *r);
    if (!r) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a dataset");
    *r = (resized){hwb_dataset_retain(parent), h, w};
    hwb_dataset_def def = {.count = parent->count,
                           .sample = {3, {3, h, w}},
                           .fetch = resized_fetch,
                           .free_state = resized_free,
                           .state = r};
    return make_view(ctx, out, parent, &def);
}
