/*
 * tensor_i.h: private to engine/tensor.  The structs behind hwb_tensor and the
 * loop nest that every strided walk uses.
 */
#ifndef HWB_TENSOR_I_H
#define HWB_TENSOR_I_H

#include "tensor/away_i.h"

#include <stdatomic.h>

/* Memory shared by views; dies with the last of them, from any thread. */
typedef struct hwb__storage {
    atomic_size_t refs;
    _Atomic uint64_t version;
    atomic_bool away; /* away_i.h, with the next two */
    void (*fetch)(void *);
    void *fetch_user;
    void *data;
    void (*free_fn)(void *); /* gets `user`; NULL = the memory is somebody else's */
    void *user;
} hwb__storage;

struct hwb_tensor {
    atomic_size_t refs;
    hwb__storage *storage;
    char *data; /* first element of the view */
    hwb_dtype dtype;
    bool contiguous; /* row-major without gaps; axes of length 1 do not count */
    hwb_shape shape;
    int64_t strides[HWB_MAX_DIMS]; /* in elements */
    int64_t numel;
};

/* ---- shape.c ----------------------------------------------------------------- */

void hwb__dense_strides(const hwb_shape *shape, int64_t strides[HWB_MAX_DIMS]);

/* ---- tensor.c ---------------------------------------------------------------- */

/* New ref to another view of t's storage; `data` points into it. */
hwb_status hwb__tensor_view(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *t, char *data,
                            const hwb_shape *shape, const int64_t strides[HWB_MAX_DIMS]);
/* HWB_EARG when two elements of the view are one in memory (a broadcast view). */
hwb_status hwb__tensor_writable(hwb_ctx *ctx, const hwb_tensor *t);
/* Position of row-major element `flat` of the view, in elements from t->data. */
int64_t hwb__tensor_offset(const hwb_tensor *t, int64_t flat);

/* ---- nest.c ------------------------------------------------------------------ */

/* A walk over two arrays of one shape: axes of length 1 are gone, axes that
 * step as one are joined, ndim >= 1.  The last axis is the inner loop. */
typedef struct hwb__nest {
    int ndim;
    int64_t dim[HWB_MAX_DIMS];
    int64_t a[HWB_MAX_DIMS], b[HWB_MAX_DIMS]; /* strides of the two, in elements */
    int64_t rows;                             /* product of all axes but the last */
} hwb__nest;

/* Keeps the row-major order of the walk. */
hwb__nest hwb__nest_make(const hwb_shape *shape, const int64_t *a, const int64_t *b);
/* Reorders axes so that `a` is walked as it lies in memory; then joins again. */
void hwb__nest_sort(hwb__nest *nest);
/* Offsets of row `row` of the walk. */
void hwb__nest_seek(const hwb__nest *nest, int64_t row, int64_t *a, int64_t *b);

/* ---- dtype.c ------------------------------------------------------------------- */

/* dst[i*ds] = (dst type)src[i*ss] for i < n: floats to integers truncate and
 * saturate, NaN gives 0; wide integers saturate; bool is x != 0. */
typedef void (*hwb__convert_fn)(void *dst, int64_t ds, const void *src, int64_t ss, int64_t n);
hwb__convert_fn hwb__converter(hwb_dtype dst, hwb_dtype src);

/* ---- element.c ------------------------------------------------------------------ */

/* Elements first..first+n of the row-major order as doubles. */
void hwb__tensor_read(const hwb_tensor *t, int64_t first, int64_t n, double *out);
/* The reverse, converting to t's dtype. */
void hwb__tensor_write(hwb_tensor *t, int64_t first, int64_t n, const double *in);

/* ---- parallel.c ------------------------------------------------------------------ */

/* Work on fewer elements than this is not worth waking threads for. */
#define HWB__PARALLEL_MIN 65536

/* body(job, unit) for every unit, on `threads` threads, in any order. */
void hwb__for(int threads, int64_t units, void (*body)(const void *job, int64_t unit),
              const void *job);

#endif
