/*
 * data: datasets, batches and loaders.  Stands on base, tensor and io (for
 * files and images).
 *
 *     hwb_dataset *ds;
 *     HWB_TRY(hwb_dataset_cifar(ctx, &ds, 10, root, "test"));
 *     HWB_TRY(hwb_dataset_set_norm(ctx, ds, 3, mean, std));
 *     HWB_TRY(hwb_dataset_batch(ctx, ds, 0, 64, &x, &y));   -- x[64,3,32,32], y[64]
 *
 * A dataset is a numbered list of samples; a sample is an array of a fixed
 * shape and an int64 label, a pure function of its index.  Pixels are stored
 * as uint8 and become (pixel/255 - mean)/std in a batch, with the roundings
 * of torchvision's ToTensor and Normalize; float samples become (v - mean)/std,
 * integer ones (token ids) stay what they are.
 */
#ifndef HWB_DATA_H
#define HWB_DATA_H

#include "tensor/tensor.h"

/* ---- datasets ----------------------------------------------------------------- */

typedef struct hwb_dataset hwb_dataset; /* counted references */

/* What a kind of dataset is; all of it is copied but `state`. */
typedef struct hwb_dataset_def {
    const char *kind;               /* "cifar10" */
    int64_t count, classes;         /* labels are 0..classes-1 */
    const char *const *class_names; /* `classes` texts, or NULL */
    hwb_shape sample;               /* [C,H,W] for images */
    hwb_dtype stored;               /* U8 pixels, F32, F64, I32 or I64 */
    /* Sample 0 <= index < count -> `stored` values, dense, and the label.
     * Called from several threads at once. */
    hwb_status (*fetch)(hwb_ctx *ctx, void *state, int64_t index, void *sample, int64_t *label);
    /* The same with a random part of what the sample is made from, drawn from
     * `rng`; NULL = it has only one form. */
    hwb_status (*fetch_part)(hwb_ctx *ctx, void *state, int64_t index, hwb_rng rng, void *sample,
                             int64_t *label);
    void (*free_state)(void *state); /* may be NULL */
    void *state;
} hwb_dataset_def;

/* The way in for a new kind.  Takes def->state when it succeeds. */
HWB_API hwb_status hwb_dataset_new(hwb_ctx *ctx, hwb_dataset **out, const hwb_dataset_def *def);
HWB_API hwb_dataset *hwb_dataset_retain(hwb_dataset *ds); /* returns ds; can't fail */
HWB_API void hwb_dataset_release(hwb_dataset *ds);        /* NULL is accepted */

/* CIFAR-10 (classes = 10; root holds cifar-10-batches-bin/) or CIFAR-100
 * (classes = 100, fine labels; cifar-100-binary/); split "train" or "test". */
HWB_API hwb_status hwb_dataset_cifar(hwb_ctx *ctx, hwb_dataset **out, int classes, const char *root,
                                     const char *split);
/* The same rows from memory: [label (100: coarse, fine)][3072 pixels]… */
HWB_API hwb_status hwb_dataset_cifar_memory(hwb_ctx *ctx, hwb_dataset **out, int classes,
                                            const void *bytes, size_t n);
/* <root>/<class>/<image>.{jpg,jpeg,png}: classes in byte order of their names;
 * an image has its shorter side resized to `shorter` (0 = as it is) and its
 * centre size x size cut out. */
HWB_API hwb_status hwb_dataset_folder(hwb_ctx *ctx, hwb_dataset **out, const char *root,
                                      int64_t shorter, int64_t size);
/* The names in such a folder, kept in <root>/.hwb-index: hwb_dataset_folder then
 * lists only the class folders that have changed since.  Lists everything, says
 * how the index there compares, and (write) replaces it if it is out of date. */
typedef struct hwb_folder_index_info {
    int64_t classes, images, bytes; /* of the folder as it is; of an up-to-date index */
    int64_t stale;                  /* classes that the index there lacks or has otherwise */
    bool found, damaged;            /* of the index there was */
} hwb_folder_index_info;
HWB_API hwb_status hwb_folder_index(hwb_ctx *ctx, const char *root, bool write,
                                    hwb_folder_index_info *info);
/* x[N,…] uint8, float or integer, y[N] of integers >= 0; keeps both. */
HWB_API hwb_status hwb_dataset_tensors(hwb_ctx *ctx, hwb_dataset **out, hwb_tensor *x,
                                       hwb_tensor *y);
/* The bundled set: 32x32 pictures of ten textured shapes, drawn when asked for.
 * split "train" (10000) or "test" (2000); count 0 = that many. */
HWB_API hwb_status hwb_dataset_shapes10(hwb_ctx *ctx, hwb_dataset **out, const char *split,
                                        uint64_t seed, int64_t count);

/* Views keep their parent and start with its normalisation. */
HWB_API hwb_status hwb_dataset_subset(hwb_ctx *ctx, hwb_dataset **out, hwb_dataset *parent,
                                      int64_t first, int64_t count);
HWB_API hwb_status hwb_dataset_select(hwb_ctx *ctx, hwb_dataset **out, hwb_dataset *parent,
                                      const int64_t *index, int64_t n);
/* uint8 [3,H,W] samples resized to [3,h,w] */
HWB_API hwb_status hwb_dataset_resized(hwb_ctx *ctx, hwb_dataset **out, hwb_dataset *parent,
                                       int64_t h, int64_t w);

/* ---- facts (can't fail) and settings -------------------------------------------- */

HWB_API int64_t hwb_dataset_count(const hwb_dataset *ds);
HWB_API int64_t hwb_dataset_classes(const hwb_dataset *ds);
HWB_API const char *hwb_dataset_kind(const hwb_dataset *ds); /* borrowed */
HWB_API const char *hwb_dataset_class_name(const hwb_dataset *ds,
                                           int64_t k); /* borrowed, or NULL */
HWB_API const hwb_shape *hwb_dataset_sample_shape(const hwb_dataset *ds);
HWB_API hwb_dtype hwb_dataset_stored(const hwb_dataset *ds); /* of the raw samples */
HWB_API hwb_dtype hwb_dataset_dtype(const hwb_dataset *ds);  /* of x in batches */

/* One mean and std for each channel (axis 1 of x), or n = 1 for all; n = 0 =
 * none.  Settings are made before a loader or another thread uses ds. */
HWB_API hwb_status hwb_dataset_set_norm(hwb_ctx *ctx, hwb_dataset *ds, int n, const double *mean,
                                        const double *std);
HWB_API hwb_status hwb_dataset_set_dtype(hwb_ctx *ctx, hwb_dataset *ds, hwb_dtype dtype);

/* ---- samples and batches ----------------------------------------------------------- */

/* The raw sample, numel(sample shape) values of the stored dtype. */
HWB_API hwb_status hwb_dataset_fetch(hwb_ctx *ctx, const hwb_dataset *ds, int64_t index,
                                     void *sample, int64_t *label);
/* x[n,C,H,W], y[n] int64: samples first … first+n-1; new refs */
HWB_API hwb_status hwb_dataset_batch(hwb_ctx *ctx, const hwb_dataset *ds, int64_t first, int64_t n,
                                     hwb_tensor **x, hwb_tensor **y);
HWB_API hwb_status hwb_dataset_gather(hwb_ctx *ctx, const hwb_dataset *ds, const int64_t *index,
                                      int64_t n, hwb_tensor **x, hwb_tensor **y);

/* ---- loader -------------------------------------------------------------------------- */

/* Batches of a dataset, epoch after epoch, made ahead of time by background
 * threads.  What comes out depends on (seed, epoch, position) only: shuffling
 * is a permutation keyed by (seed, epoch), augmentation of a sample is keyed
 * by (seed, epoch, its index), whatever the batch size or number of workers. */
typedef struct hwb_loader_options {
    int64_t batch; /* at least 1 */
    bool shuffle;
    bool drop_last; /* leave out a last, smaller batch */
    uint64_t seed;
    int64_t crop;   /* pad by this many zero pixels, then cut out at random; 0 = off */
    bool resized;   /* image folders: a random part of the image, resized (Szegedy et al. 2015) */
    bool flip;      /* mirror left-right, one half of the time */
    int64_t cutout; /* a square of this side at a random place becomes 0; 0 = off */
    int workers;    /* threads; 0 = batches are made in hwb_loader_next */
    int ahead;      /* batches kept ready at most; 0 = two per worker */
    /* Only part `part` of `parts` of every batch, for one of several processes: the
     * samples that lie there in the whole batch.  A part may be empty, x[0,...].
     * parts 0 or 1 = all.  Positions and lengths count whole batches. */
    int part, parts;
} hwb_loader_options;

typedef struct hwb_loader hwb_loader;

/* batch 128, in order, no augmentation, two workers */
HWB_API hwb_loader_options hwb_loader_defaults(void);
/* Starts at epoch 0; keeps ds.  ctx must outlive the loader. */
HWB_API hwb_status hwb_loader_new(hwb_ctx *ctx, hwb_loader **out, hwb_dataset *ds,
                                  const hwb_loader_options *options);
HWB_API void hwb_loader_free(hwb_loader *l); /* NULL is accepted; joins its threads */

/* The next batch, new refs; *x = *y = NULL at the end of an epoch, after which
 * the next one begins.  HWB_EINTR leaves the batch for the next call. */
HWB_API hwb_status hwb_loader_next(hwb_ctx *ctx, hwb_loader *l, hwb_tensor **x, hwb_tensor **y);

/* Position: `epoch` and how many samples of it were handed out.  Seeking to a
 * saved position goes on with the same batches. */
HWB_API void hwb_loader_tell(const hwb_loader *l, int64_t *epoch, int64_t *position);
HWB_API hwb_status hwb_loader_seek(hwb_ctx *ctx, hwb_loader *l, int64_t epoch, int64_t position);
/* From the next batch on. */
HWB_API hwb_status hwb_loader_set_part(hwb_ctx *ctx, hwb_loader *l, int part, int parts);
/* From the next batch on (adaptive batch sizes). */
HWB_API hwb_status hwb_loader_set_batch(hwb_ctx *ctx, hwb_loader *l, int64_t batch);

HWB_API hwb_dataset *hwb_loader_dataset(const hwb_loader *l); /* borrowed */
HWB_API hwb_loader_options hwb_loader_get_options(const hwb_loader *l);
HWB_API int64_t hwb_loader_batches(const hwb_loader *l); /* in a whole epoch */

#endif
