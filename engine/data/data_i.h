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
    hwb_status (*fetch_part)(hwb_ctx *ctx, void *state, int64_t index, hwb_rng rng, void *sample,
                             int64_t *label); /* or NULL */
    void (*free_state)(void *state);
    void *state;
};

/* Random changes to an image, keyed by (seed, epoch, index). */
typedef struct hwb__augment {
    uint64_t seed;
    int64_t epoch;
    int64_t crop, cutout;
    bool flip, resized;
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

/* ---- image folders (folder.c) ---- */

/* A growing list of names, all freed with it. */
typedef struct hwb__names {
    char **item;
    int64_t n, room;
} hwb__names;
void hwb__names_free(hwb__names *l);
bool hwb__names_add(hwb__names *l, char *text); /* takes text; false: NULL or no memory */
/* Names in `path`, sorted: folders, or else image files; no hidden ones. */
hwb_status hwb__names_list(hwb_ctx *ctx, hwb__names *out, const char *path, bool folders);
char *hwb__path_join(const char *a, const char *b); /* malloc'd a/b, or NULL */

/* ---- their index (folder_index.c) ---- */

typedef struct hwb__index_class {
    int64_t mtime, n;  /* of the folder, ns; images */
    const char *name;  /* these two point into the file */
    const char *names; /* n texts, one after the other */
} hwb__index_class;
typedef struct hwb__index {
    uint8_t *bytes;
    hwb__index_class *classes;
    int64_t n;
    bool found, damaged;
} hwb__index;
/* That of folder `root`; empty where there is none or it is damaged, which is
 * said in the log.  Can't fail. */
void hwb__index_read(hwb_ctx *ctx, hwb__index *out, const char *root);
/* Entries of x->bytes, n of them; false when it is no whole index. */
bool hwb__index_parse(hwb__index *x, size_t n);
void hwb__index_free(hwb__index *x);
const hwb__index_class *hwb__index_find(const hwb__index *x, const char *name); /* or NULL */
/* Does the class (NULL: no) have the time that its folder has now? */
bool hwb__index_holds(const hwb__index_class *c, int64_t mtime);
int64_t hwb__index_mtime(const char *path); /* ns; 0 when there is none */

/* augment.c: the draws of one image; the first few are named there */
hwb_rng hwb__augment_stream(const hwb__augment *a, int64_t index);
/* A part of a h x w image: 8 to 100 % of its area, sides in a ratio of 3/4 to
 * 4/3, both evenly in the area and in the logarithm of the ratio; after ten
 * draws that do not fit, the largest part of allowed ratio in the middle. */
typedef struct hwb__part {
    int64_t top, left, h, w;
} hwb__part;
hwb__part hwb__augment_part(hwb_rng rng, int64_t h, int64_t w);
/* from[C,H,W] -> to[C,H,W], elements of `size` bytes */
void hwb__augment_move(const hwb__augment *a, int64_t index, void *to, const void *from,
                       const hwb_shape *shape, size_t size);
/* x[C,H,W] floats of `dtype`, after normalisation */
void hwb__augment_cutout(const hwb__augment *a, int64_t index, void *x, const hwb_shape *shape,
                         hwb_dtype dtype);

#endif
