/*
 * dataset.c: what all datasets have in common: references, facts,
 * normalisation, and how samples become batches.
 */
#include "data/data_i.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- life --------------------------------------------------------------------------- */

static hwb_status check_def(hwb_ctx *ctx, const hwb_dataset_def *def) {
    if (def->count < 0 || def->classes < 0)
        return hwb_fail(ctx, HWB_EARG, "%s: a negative size", def->kind);
    if (def->stored == HWB_BOOL)
        return hwb_fail(ctx, HWB_EDTYPE, "%s: bool samples; use uint8", def->kind);
    if (def->sample.ndim >= HWB_MAX_DIMS)
        return hwb_fail(ctx, HWB_ESHAPE, "%s: samples of %d dimensions leave none for the batch",
                        def->kind, def->sample.ndim);
    return hwb_shape_check(ctx, &def->sample);
}

static bool copy_names(hwb_dataset *ds, const hwb_dataset_def *def) {
    ds->kind = strdup(def->kind);
    if (!ds->kind) return false;
    if (!def->class_names) return true;
    ds->class_names = calloc((size_t)def->classes + 1, sizeof *ds->class_names);
    if (!ds->class_names) return false;
    for (int64_t k = 0; k < def->classes; k++)
        if (!(ds->class_names[k] = strdup(def->class_names[k]))) return false;
    return true;
}

static void free_dataset(hwb_dataset *ds) {
    if (ds->free_state) ds->free_state(ds->state);
    for (int64_t k = 0; ds->class_names && k < ds->classes; k++) free(ds->class_names[k]);
    free(ds->class_names);
    free(ds->kind);
    free(ds->mean);
    free(ds->std);
    free(ds);
}

hwb_status hwb_dataset_new(hwb_ctx *ctx, hwb_dataset **out, const hwb_dataset_def *def) {
    HWB_TRY(check_def(ctx, def));
    hwb_dataset *ds = calloc(1, sizeof *ds);
    if (!ds) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a dataset");
    ds->refs = 1;
    ds->count = def->count;
    ds->classes = def->classes;
    ds->sample = def->sample;
    ds->stored = def->stored;
    ds->dtype = def->stored == HWB_U8 ? HWB_F32 : def->stored;
    if (!copy_names(ds, def)) {
        free_dataset(ds); /* free_state is not set yet: the state stays the caller's */
        return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a dataset");
    }
    ds->fetch = def->fetch;
    ds->fetch_part = def->fetch_part;
    ds->free_state = def->free_state;
    ds->state = def->state;
    *out = ds;
    return HWB_OK;
}

hwb_dataset *hwb_dataset_retain(hwb_dataset *ds) {
    __atomic_add_fetch(&ds->refs, 1, __ATOMIC_RELAXED);
    return ds;
}

void hwb_dataset_release(hwb_dataset *ds) {
    if (ds && __atomic_sub_fetch(&ds->refs, 1, __ATOMIC_ACQ_REL) == 0) free_dataset(ds);
}

/* ---- facts and settings ------------------------------------------------------------------ */

int64_t hwb_dataset_count(const hwb_dataset *ds) {
    return ds->count;
}

int64_t hwb_dataset_classes(const hwb_dataset *ds) {
    return ds->classes;
}

const char *hwb_dataset_kind(const hwb_dataset *ds) {
    return ds->kind;
}

const char *hwb_dataset_class_name(const hwb_dataset *ds, int64_t k) {
    return ds->class_names && k >= 0 && k < ds->classes ? ds->class_names[k] : NULL;
}

const hwb_shape *hwb_dataset_sample_shape(const hwb_dataset *ds) {
    return &ds->sample;
}

hwb_dtype hwb_dataset_stored(const hwb_dataset *ds) {
    return ds->stored;
}

hwb_dtype hwb_dataset_dtype(const hwb_dataset *ds) {
    return ds->dtype;
}

hwb_status hwb_dataset_set_norm(hwb_ctx *ctx, hwb_dataset *ds, int n, const double *mean,
                                const double *std) {
    int64_t channels = ds->sample.ndim ? ds->sample.dim[0] : 1;
    if (n > 0 && !hwb_dtype_is_float(ds->dtype))
        return hwb_fail(ctx, HWB_EDTYPE, "%s: %s samples cannot be normalised", ds->kind,
                        hwb_dtype_name(ds->dtype));
    if (n < 0 || (n > 1 && n != channels))
        return hwb_fail(ctx, HWB_ESHAPE, "%s: %d means for %lld channels", ds->kind, n,
                        (long long)channels);
    for (int c = 0; c < n; c++)
        if (!isfinite(mean[c]) || !isfinite(std[c]) || std[c] <= 0)
            return hwb_fail(ctx, HWB_EARG, "%s: mean %g, std %g of channel %d", ds->kind, mean[c],
                            std[c], c + 1);
    size_t bytes = (size_t)(n ? n : 1) * sizeof(double);
    double *m = malloc(bytes), *s = malloc(bytes);
    if (!m || !s) {
        free(m);
        free(s);
        return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a mean");
    }
    if (n > 0) {
        memcpy(m, mean, bytes);
        memcpy(s, std, bytes);
    }
    free(ds->mean);
    free(ds->std);
    ds->mean = m;
    ds->std = s;
    ds->norm = n;
    return HWB_OK;
}

hwb_status hwb_dataset_set_dtype(hwb_ctx *ctx, hwb_dataset *ds, hwb_dtype dtype) {
    bool whole = ds->stored == HWB_I32 || ds->stored == HWB_I64;
    if (whole ? dtype != ds->stored : !hwb_dtype_is_float(dtype))
        return hwb_fail(ctx, HWB_EDTYPE, "%s: batches of %s cannot be made from %s samples",
                        ds->kind, hwb_dtype_name(dtype), hwb_dtype_name(ds->stored));
    ds->dtype = dtype;
    return HWB_OK;
}

hwb_status hwb__dataset_inherit(hwb_ctx *ctx, hwb_dataset *ds, const hwb_dataset *parent) {
    ds->dtype = parent->dtype;
    return hwb_dataset_set_norm(ctx, ds, parent->norm, parent->mean, parent->std);
}

/* ---- samples ------------------------------------------------------------------------------- */

hwb_status hwb_dataset_fetch(hwb_ctx *ctx, const hwb_dataset *ds, int64_t index, void *sample,
                             int64_t *label) {
    if (index < 0 || index >= ds->count)
        return hwb_fail(ctx, HWB_EARG, "%s: sample %lld of %lld", ds->kind, (long long)index,
                        (long long)ds->count);
    return ds->fetch(ctx, ds->state, index, sample, label);
}

void *hwb__dataset_scratch(hwb_ctx *ctx, const hwb_dataset *ds) {
    size_t bytes = (size_t)hwb_shape_numel(&ds->sample) * hwb_dtype_size(ds->stored);
    return hwb_alloc(ctx, 2 * bytes);
}

/* One channel: n stored values -> n values of the batch dtype.  The order of
 * the roundings is torchvision's: /255, then -mean, then /std, in that dtype. */
#define NORMALIZE(T, S, scale)                                                                     \
    do {                                                                                           \
        const S *restrict from_ = from;                                                            \
        T *restrict to_ = to;                                                                      \
        T m_ = (T)mean, s_ = (T)std;                                                               \
        if (plain)                                                                                 \
            for (int64_t i_ = 0; i_ < n; i_++) to_[i_] = (T)from_[i_] / (T)(scale);                \
        else                                                                                       \
            for (int64_t i_ = 0; i_ < n; i_++) to_[i_] = ((T)from_[i_] / (T)(scale)-m_) / s_;      \
    } while (0)

static void normalize(void *to, hwb_dtype dtype, const void *from, hwb_dtype stored, int64_t n,
                      bool plain, double mean, double std) {
    bool wide = dtype == HWB_F64;
    if (stored == HWB_U8 && wide) NORMALIZE(double, uint8_t, 255);
    else if (stored == HWB_U8) NORMALIZE(float, uint8_t, 255);
    else if (stored == HWB_F32 && wide) NORMALIZE(double, float, 1);
    else if (stored == HWB_F32) NORMALIZE(float, float, 1);
    else if (stored == HWB_F64 && wide) NORMALIZE(double, double, 1);
    else if (stored == HWB_F64) NORMALIZE(float, double, 1);
    else memcpy(to, from, (size_t)n * hwb_dtype_size(stored));
}

hwb_status hwb__dataset_sample(hwb_ctx *ctx, const hwb_dataset *ds, const hwb__augment *augment,
                               int64_t index, void *scratch, void *x, int64_t *y) {
    int64_t numel = hwb_shape_numel(&ds->sample);
    size_t size = hwb_dtype_size(ds->stored), out_size = hwb_dtype_size(ds->dtype);
    char *raw = scratch, *moved = raw + (size_t)numel * size;
    int64_t label = -1;
    if (augment && augment->resized)
        HWB_TRY(ds->fetch_part(ctx, ds->state, index, hwb__augment_stream(augment, index), raw,
                               &label));
    else HWB_TRY(hwb_dataset_fetch(ctx, ds, index, raw, &label));
    if (augment && (augment->crop || augment->flip)) {
        hwb__augment_move(augment, index, moved, raw, &ds->sample, size);
        raw = moved;
    }
    int64_t channels = ds->norm > 1 ? ds->norm : 1, n = numel / channels;
    for (int64_t c = 0; c < channels; c++)
        normalize((char *)x + (size_t)(c * n) * out_size, ds->dtype, raw + (size_t)(c * n) * size,
                  ds->stored, n, ds->norm == 0, ds->norm ? ds->mean[c] : 0,
                  ds->norm ? ds->std[c] : 1);
    if (augment && augment->cutout) hwb__augment_cutout(augment, index, x, &ds->sample, ds->dtype);
    *y = label;
    return HWB_OK;
}

/* ---- batches -------------------------------------------------------------------------------- */

hwb_status hwb__dataset_collect(hwb_ctx *ctx, const hwb_dataset *ds, const hwb__augment *augment,
                                const int64_t *index, int64_t first, int64_t n, bool interruptible,
                                hwb_tensor **x, hwb_tensor **y) {
    hwb_shape shape = {.ndim = ds->sample.ndim + 1, .dim = {n}};
    memcpy(shape.dim + 1, ds->sample.dim, (size_t)ds->sample.ndim * sizeof *shape.dim);
    size_t step = (size_t)hwb_shape_numel(&ds->sample) * hwb_dtype_size(ds->dtype);
    hwb_tensor *tx = NULL, *ty = NULL;
    void *scratch = hwb__dataset_scratch(ctx, ds);
    hwb_status status = scratch ? HWB_OK : HWB_ENOMEM;
    if (status == HWB_OK) status = hwb_tensor_new(ctx, &tx, ds->dtype, shape);
    if (status == HWB_OK) status = hwb_tensor_new(ctx, &ty, HWB_I64, hwb_shape_of(1, (int)n));
    for (int64_t i = 0; i < n && status == HWB_OK; i++) {
        if (interruptible) status = hwb_check_interrupt(ctx);
        if (status == HWB_OK)
            status = hwb__dataset_sample(ctx, ds, augment, index ? index[i] : first + i, scratch,
                                         (char *)hwb_tensor_data(tx) + (size_t)i * step,
                                         (int64_t *)hwb_tensor_data(ty) + i);
    }
    hwb_free(scratch);
    if (status != HWB_OK) {
        hwb_tensor_release(tx);
        hwb_tensor_release(ty);
        return status;
    }
    *x = tx;
    *y = ty;
    return HWB_OK;
}

static hwb_status check_range(hwb_ctx *ctx, const hwb_dataset *ds, int64_t first, int64_t n) {
    if (first >= 0 && n >= 0 && n <= INT32_MAX && first <= ds->count && n <= ds->count - first)
        return HWB_OK;
    return hwb_fail(ctx, HWB_EARG, "%s: %lld samples from %lld on, of %lld", ds->kind, (long long)n,
                    (long long)first, (long long)ds->count);
}

hwb_status hwb_dataset_batch(hwb_ctx *ctx, const hwb_dataset *ds, int64_t first, int64_t n,
                             hwb_tensor **x, hwb_tensor **y) {
    HWB_TRY(check_range(ctx, ds, first, n));
    return hwb__dataset_collect(ctx, ds, NULL, NULL, first, n, true, x, y);
}

hwb_status hwb_dataset_gather(hwb_ctx *ctx, const hwb_dataset *ds, const int64_t *index, int64_t n,
                              hwb_tensor **x, hwb_tensor **y) {
    if (n < 0 || n > INT32_MAX)
        return hwb_fail(ctx, HWB_EARG, "%s: a batch of %lld", ds->kind, (long long)n);
    return hwb__dataset_collect(ctx, ds, NULL, index, 0, n, true, x, y);
}
