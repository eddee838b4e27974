/*
 * data_i.h: what the files of this folder share.
 */
#ifndef HWB_DATA_DATA_I_H
#define HWB_DATA_DATA_I_H

#include "data/data.h"

struct hwb_dataset {
    int refs; /* atomic */
    char *kind;
    int64_t count, classes;
    char **class_names; /* NULL = none */
    hwb_shape sample;
    hwb_dtype stored, dtype;
    int norm; /* 0, 1 or channels */
    double *mean, *std;
    hwb_status (*fetch)(hwb_ctx *ctx, void *state, int64_t index, void *sample, int64_t *label);
    void (*free_state)(void *state);
    void *state;
};

/* Random changes to an image, keyed by (seed, epoch, index). */
typedef struct hwb__augment {
    uint64_t seed;
    int64_t epoch;
    int64_t crop, cutout;
    bool flip;
} hwb__augment;

/* Room for one raw sample and one changed copy; hwb_free it. */
void *hwb__dataset_scratch(hwb_ctx *ctx, const hwb_dataset *ds);
/* x[0..numel) of the batch dtype and *y from sample `index`; augment may be NULL. */
hwb_status hwb__dataset_sample(hwb_ctx *ctx, const hwb_dataset *ds, const hwb__augment *augment,
                               int64_t index, void *scratch, void *x, int64_t *y);
/* x[n,…] and y[n] from samples index[0..n) (NULL: first…); checks interrupts
 * when asked to. */
hwb_status hwb__dataset_collect(hwb_ctx *ctx, const hwb_dataset *ds, const hwb__augment *augment,
                                const int64_t *index, int64_t first, int64_t n, bool interruptible,
                                hwb_tensor **x, hwb_tensor **y);
/* A view of `parent` starts with its normalisation and dtype. */
hwb_status hwb__dataset_inherit(hwb_ctx *ctx, hwb_dataset *ds, const hwb_dataset *parent);

/* augment.c: from[C,H,W] -> to[C,H,W], elements of `size` bytes */
void hwb__augment_move(const hwb__augment *a, int64_t index, void *to, const void *from,
                       const hwb_shape *shape, size_t size);
/* x[C,H,W] floats of `dtype`, after normalisation */
void hwb__augment_cutout(const hwb__augment *a, int64_t index, void *x, const hwb_shape *shape,
                         hwb_dtype dtype);

#endif
