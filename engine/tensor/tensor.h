/*
 * tensor: typed, strided arrays on counted storage.
 *
 * A tensor is a view: (storage, offset, shape, strides).  Several tensors may
 * share one storage, which lives as long as any of them.  Strides count
 * elements and may be 0 (broadcast) but never negative.  Host memory only;
 * device buffers belong to the backends.
 */
#ifndef HWB_TENSOR_H
#define HWB_TENSOR_H

#include "base/base.h"

/* name, C type, bytes, Lua/user name */
#define HWB_DTYPE_MAP(XX)                                                                          \
    XX(F32, float, 4, "float32")                                                                   \
    XX(F64, double, 8, "float64")                                                                  \
    XX(I32, int32_t, 4, "int32")                                                                   \
    XX(I64, int64_t, 8, "int64")                                                                   \
    XX(U8, uint8_t, 1, "uint8")                                                                    \
    XX(BOOL, uint8_t, 1, "bool") /* 0 or 1 */

typedef enum hwb_dtype {
#define XX(name, ctype, bytes, text) HWB_##name,
    HWB_DTYPE_MAP(XX)
#undef XX
        HWB_DTYPE_COUNT
} hwb_dtype;

#define HWB_MAX_DIMS 8

/* Open, passed by value.  ndim 0 is a scalar (numel 1). */
typedef struct hwb_shape {
    int ndim;
    int64_t dim[HWB_MAX_DIMS];
} hwb_shape;

typedef struct hwb_tensor hwb_tensor;

HWB_API size_t hwb_dtype_size(hwb_dtype dtype);
HWB_API const char *hwb_dtype_name(hwb_dtype dtype);
HWB_API bool hwb_dtype_is_float(hwb_dtype dtype);
HWB_API bool hwb_dtype_parse(const char *name, hwb_dtype *out); /* false if unknown */

/* hwb_shape_of(3, 2,3,4) = 2x3x4 (ints) */
HWB_API hwb_shape hwb_shape_of(int ndim, ...);
HWB_API int64_t hwb_shape_numel(const hwb_shape *s);
HWB_API bool hwb_shape_equal(const hwb_shape *a, const hwb_shape *b);
/* "2x3x4" ("scalar" for ndim 0) into buf; returns buf. */
#define HWB_SHAPE_TEXT 160
HWB_API const char *hwb_shape_text(const hwb_shape *s, char buf[HWB_SHAPE_TEXT]);
/* HWB_ESHAPE when a dim is negative, there are too many, or numel overflows. */
HWB_API hwb_status hwb_shape_check(hwb_ctx *ctx, const hwb_shape *s);
/* numpy rules; HWB_ESHAPE with both shapes in the text */
HWB_API hwb_status hwb_shape_broadcast(hwb_ctx *ctx, hwb_shape *out, const hwb_shape *a,
                                       const hwb_shape *b);

/* ---- life --------------------------------------------------------------------- */

HWB_API hwb_status hwb_tensor_new(hwb_ctx *ctx, hwb_tensor **out, hwb_dtype dtype,
                                  hwb_shape shape); /* new ref, not initialised */
HWB_API hwb_status hwb_tensor_zeros(hwb_ctx *ctx, hwb_tensor **out, hwb_dtype dtype,
                                    hwb_shape shape); /* new ref */
/* new ref, data copied from a dense row-major array of that dtype */
HWB_API hwb_status hwb_tensor_from(hwb_ctx *ctx, hwb_tensor **out, hwb_dtype dtype, hwb_shape shape,
                                   const void *data);
/* new ref over caller memory; free_fn(user) runs when the storage dies (mmap),
 * at once when the call fails */
HWB_API hwb_status hwb_tensor_wrap(hwb_ctx *ctx, hwb_tensor **out, hwb_dtype dtype, hwb_shape shape,
                                   void *data, void (*free_fn)(void *), void *user);
HWB_API hwb_status hwb_tensor_scalar(hwb_ctx *ctx, hwb_tensor **out, hwb_dtype dtype, double value);
HWB_API hwb_tensor *hwb_tensor_retain(hwb_tensor *t); /* returns t; can't fail */
HWB_API void hwb_tensor_release(hwb_tensor *t);       /* NULL is accepted */

/* ---- facts (can't fail) ---------------------------------------------------------- */

HWB_API hwb_dtype hwb_tensor_dtype(const hwb_tensor *t);
HWB_API const hwb_shape *hwb_tensor_shape(const hwb_tensor *t);
HWB_API const int64_t *hwb_tensor_strides(const hwb_tensor *t);
HWB_API int64_t hwb_tensor_numel(const hwb_tensor *t);
HWB_API bool hwb_tensor_is_contiguous(const hwb_tensor *t);
HWB_API void *hwb_tensor_data(const hwb_tensor *t);             /* first element of the view */
HWB_API size_t hwb_tensor_bytes(const hwb_tensor *t);           /* numel * size */
HWB_API const void *hwb_tensor_storage_id(const hwb_tensor *t); /* equal iff storage is shared */
/* Grows by one at every in-place write through this API; parameters cached by
 * backends are refreshed by it. Writers through hwb_tensor_data call touch. */
HWB_API uint64_t hwb_tensor_version(const hwb_tensor *t);
HWB_API void hwb_tensor_touch(hwb_tensor *t);

/* ---- views: new refs that share storage -------------------------------------------- */

/* One -1 in `shape` is inferred.  Copies when the strides do not allow a view. */
HWB_API hwb_status hwb_tensor_reshape(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *t,
                                      hwb_shape shape);
HWB_API hwb_status hwb_tensor_permute(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *t,
                                      const int *axes);
/* elements start, start+step, … (len of them) along axis */
HWB_API hwb_status hwb_tensor_slice(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *t, int axis,
                                    int64_t start, int64_t len, int64_t step);
HWB_API hwb_status hwb_tensor_select(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *t, int axis,
                                     int64_t index); /* drops the axis */
HWB_API hwb_status hwb_tensor_expand(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *t,
                                     hwb_shape shape); /* stride-0 broadcast */

/* ---- copies -------------------------------------------------------------------------- */

/* Conversions never have undefined behaviour: numbers are truncated toward zero
 * and saturate at the ends of the new type, NaN becomes 0, bool is x != 0. */

HWB_API hwb_status hwb_tensor_contiguous(hwb_ctx *ctx, hwb_tensor **out,
                                         hwb_tensor *t); /* new ref, maybe t itself */
HWB_API hwb_status hwb_tensor_clone(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *t);
HWB_API hwb_status hwb_tensor_to(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *t,
                                 hwb_dtype dtype); /* new ref, maybe t itself */
/* dst[...] = src broadcast to dst's shape and converted; any strides, and the two
 * may overlap.  Writing into a broadcast (stride 0) view is HWB_EARG, here and in
 * the fills below. */
HWB_API hwb_status hwb_tensor_copy(hwb_ctx *ctx, hwb_tensor *dst, const hwb_tensor *src);
HWB_API hwb_status hwb_tensor_fill(hwb_ctx *ctx, hwb_tensor *t, double value);

/* ---- elements ---------------------------------------------------------------------------- */

HWB_API double hwb_tensor_get(const hwb_tensor *t, int64_t flat); /* row-major index of the view */
HWB_API int64_t hwb_tensor_get_int(const hwb_tensor *t, int64_t flat);
HWB_API void hwb_tensor_set(hwb_tensor *t, int64_t flat, double value);

/* Sums in double; can't fail; the same bits for any strides and thread count
 * (the calling thread's OpenMP setting).  hwb_tensor_dot needs equal numel. */
HWB_API double hwb_tensor_sum(const hwb_tensor *t);
HWB_API double hwb_tensor_dot(const hwb_tensor *a, const hwb_tensor *b);
HWB_API bool hwb_tensor_all_finite(const hwb_tensor *t);

/* ---- random fills: element i depends only on (rng, i) --------------------------------------- */

HWB_API hwb_status hwb_tensor_fill_uniform(hwb_ctx *ctx, hwb_tensor *t, hwb_rng rng);
HWB_API hwb_status hwb_tensor_fill_normal(hwb_ctx *ctx, hwb_tensor *t, hwb_rng rng);
HWB_API hwb_status hwb_tensor_fill_rademacher(hwb_ctx *ctx, hwb_tensor *t, hwb_rng rng);

/* ---- text -------------------------------------------------------------------------------------- */

/* malloc'd text (free()), NULL without memory: header line "tensor 2x3 float32",
 * at most 6 rows x 6 columns per matrix, and a min/max/mean/nan line above 1000
 * elements. */
HWB_API char *hwb_tensor_format(const hwb_tensor *t);

/* ---- linear operators: what curvature makes and spectral solvers eat ----------------------------- */

/* A symmetric linear operator on R^n.  apply: V[K,n] -> new ref out[K,n], both
 * dense, of `dtype`.  blocks, if any, tile 0..n in order. */
typedef struct hwb_linop hwb_linop;
struct hwb_linop {
    int64_t n;
    hwb_dtype dtype;
    hwb_status (*apply)(hwb_ctx *ctx, hwb_linop *self, hwb_tensor **out, const hwb_tensor *v);
    int64_t applied; /* vectors applied so far: the HVP count of every result */
    /* Optional, both or none: products of vectors that lie in a device's memory.  where: the
     * device (backend.h) that has them now, or NULL.  apply_there: v and out are dense [k,n]
     * in its memory, aligned as its allocations are. */
    struct hwb_device *(*where)(hwb_ctx *ctx, hwb_linop *self);
    hwb_status (*apply_there)(hwb_ctx *ctx, hwb_linop *self, int64_t k, const void *v, void *out);
};

/* Operators whose products can be asked for together: out[i] = op[i] v[i] for every v[i]
 * that is not NULL (V[K_i,n_i]), out[i] = NULL for the others. */
typedef struct hwb_linop_set hwb_linop_set;
struct hwb_linop_set {
    int64_t n;
    hwb_linop **op;
    hwb_status (*apply)(hwb_ctx *ctx, hwb_linop_set *self, hwb_tensor **out,
                        const hwb_tensor *const *v);
    /* Optional: the same with k[i] vectors each on the device of all the operators. */
    hwb_status (*apply_there)(hwb_ctx *ctx, hwb_linop_set *self, const int64_t *k,
                              const void *const *v, void *const *out);
    bool pass; /* together they share a pass over data that each would make by itself:
                  solvers then take turns, product by product */
};

#endif
