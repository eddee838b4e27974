/*
 * ref_i.h: private to the reference backend.
 *
 * A kernel here is its description plus scratch memory; run reads the
 * description again every time.  Plain loops in the order of the formula:
 *   - floats are loaded as double, computed in double, rounded once on store
 *     (so a pointwise float32 result is the correctly rounded one for + - * /
 *     and sqrt), and every sum is accumulated in double;
 *   - integers are computed in int64 and wrap like two's complement;
 *   - threads share out only independent outputs, so results do not depend on
 *     their number.
 */
#ifndef HWB_BACKEND_REF_I_H
#define HWB_BACKEND_REF_I_H

#include "backend/backend.h"

struct hwb_kernel {
    hwb_kdesc desc; /* in, out, fused point to the kernel's own copies */
    hwb_fused fused;
    void *scratch; /* as many bytes as the op's scratch function asked for */
};

typedef hwb_status (*hwb__ref_fn)(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                                  void *const *out);

hwb_status hwb__ref_pointwise(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_where(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_cast(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_fill(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_copy(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_permute(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_broadcast(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_slice(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_pad(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_concat(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_gather(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_scatter_add(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_sum(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_max(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_argmax(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_matmul(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_conv(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_conv_bwd_data(hwb_ctx *, const hwb_kernel *, const void *const *,
                                  void *const *);
hwb_status hwb__ref_conv_bwd_weights(hwb_ctx *, const hwb_kernel *, const void *const *,
                                     void *const *);
hwb_status hwb__ref_avgpool(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_avgpool_bwd(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_maxpool_index(hwb_ctx *, const hwb_kernel *, const void *const *,
                                  void *const *);
hwb_status hwb__ref_pool_gather(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_pool_scatter(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);
hwb_status hwb__ref_fused(hwb_ctx *, const hwb_kernel *, const void *const *, void *const *);

/* ---- scratch bytes of a kernel ---------------------------------------------- */

size_t hwb__ref_scratch_widen(const hwb_kdesc *desc);  /* float32 in0, in1 as double */
size_t hwb__ref_scratch_result(const hwb_kdesc *desc); /* 8 bytes an element of out[0] */
size_t hwb__ref_scratch_fused(const hwb_kdesc *desc);  /* the reduced outputs as double */

/* ---- elements ---------------------------------------------------------------- */

/* Element i of a buffer.  Integers load exactly as int64 and store wrapped;
 * doubles stored as integers truncate and saturate, NaN gives 0, bool is x != 0:
 * the rule of tensor conversion. */
static inline int64_t hwb__ref_load_int(hwb_dtype dtype, const void *p, int64_t i) {
    switch (dtype) {
    case HWB_I32: return ((const int32_t *)p)[i];
    case HWB_I64: return ((const int64_t *)p)[i];
    case HWB_BOOL: return ((const uint8_t *)p)[i] != 0;
    default: return ((const uint8_t *)p)[i];
    }
}

static inline double hwb__ref_load(hwb_dtype dtype, const void *p, int64_t i) {
    if (dtype == HWB_F32) return ((const float *)p)[i];
    if (dtype == HWB_F64) return ((const double *)p)[i];
    return (double)hwb__ref_load_int(dtype, p, i);
}

/* The comparisons are false for NaN, which lands on 0. */
static inline int64_t hwb__ref_truncate(double x, double low, double high, int64_t min,
                                        int64_t max) {
    if (x >= high) return max;
    if (x <= low) return min;
    return x == x ? (int64_t)x : 0;
}

static inline void hwb__ref_store(hwb_dtype dtype, void *p, int64_t i, double x) {
    switch (dtype) {
    case HWB_F32: ((float *)p)[i] = (float)x; break;
    case HWB_F64: ((double *)p)[i] = x; break;
    case HWB_I32:
        ((int32_t *)p)[i] =
            (int32_t)hwb__ref_truncate(x, INT32_MIN, INT32_MAX, INT32_MIN, INT32_MAX);
        break;
    case HWB_I64:
        ((int64_t *)p)[i] = hwb__ref_truncate(x, -0x1p63, 0x1p63, INT64_MIN, INT64_MAX);
        break;
    case HWB_BOOL: ((uint8_t *)p)[i] = x != 0; break;
    default: ((uint8_t *)p)[i] = (uint8_t)hwb__ref_truncate(x, 0, UINT8_MAX, 0, UINT8_MAX); break;
    }
}

static inline void hwb__ref_store_int(hwb_dtype dtype, void *p, int64_t i, int64_t x) {
    switch (dtype) {
    case HWB_F32: ((float *)p)[i] = (float)x; break;
    case HWB_F64: ((double *)p)[i] = (double)x; break;
    case HWB_I32: ((int32_t *)p)[i] = (int32_t)(uint32_t)(uint64_t)x; break;
    case HWB_I64: ((int64_t *)p)[i] = x; break;
    case HWB_BOOL: ((uint8_t *)p)[i] = x != 0; break;
    default: ((uint8_t *)p)[i] = (uint8_t)x; break;
    }
}

/* ref_element.c: one float operation in double; a comparison gives 0 or 1. */
double hwb__ref_eval(hwb_op op, double a, double b, double c);

/* in as double: itself, or widened into *scratch, which moves on behind it. */
const double *hwb__ref_widen(hwb_ctx *ctx, const hwb_vdesc *d, const void *in, double **scratch);

/* ---- walks (ref_nest.c) ---------------------------------------------------------- */

/* A walk over `space` that keeps one element offset per operand.  It goes in
 * rows: row r starts at seek(r), has `seek`'s n elements, and operand j steps by
 * step[j] from one to the next.  Adjacent axes that step as one are joined and
 * rows are cut at `chunk` elements, which makes them a fair unit of parallel work. */
enum { HWB__REF_MAX_OPERANDS = HWB_FUSED_MAX_IN + 1 };
typedef int64_t hwb__ref_stride[HWB_MAX_DIMS];

typedef struct hwb__ref_nest {
    int ndim, n_op;
    int64_t rows, len, chunk, chunks; /* rows = outer axes * chunks of the last */
    int64_t dim[HWB_MAX_DIMS];
    hwb__ref_stride stride[HWB__REF_MAX_OPERANDS];
    int64_t step[HWB__REF_MAX_OPERANDS];
} hwb__ref_nest;

enum { HWB__REF_CHUNK = 4096 };

void hwb__ref_nest_make(hwb__ref_nest *nest, const hwb_shape *space, int n_op,
                        const hwb__ref_stride *stride, int64_t chunk);
/* offset[0..n_op) of the row's first element; returns its number of elements */
int64_t hwb__ref_nest_seek(const hwb__ref_nest *nest, int64_t row, int64_t *offset);
/* Row-major strides; axes of length 1 get 0 and so serve any size (broadcast). */
void hwb__ref_strides(const hwb_shape *shape, hwb__ref_stride out);

/* Fewer elementary steps than this are not worth waking threads for. */
#define HWB__REF_PARALLEL_MIN 32768

#endif
