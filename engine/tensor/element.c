/*
 * element.c: single elements, blocks of elements as doubles, and sums.
 *
 * Sums are the same at any thread count and for any strides: the row-major
 * order is cut into at most SUM_PARTS parts whose bounds depend on the element
 * count alone, each part is summed in LANES interleaved double accumulators,
 * and the parts are added in order.
 */
#include "tensor/tensor_i.h"

#include <math.h>
#include <omp.h>

enum { BLOCK = 1024, LANES = 8, SUM_PARTS = 64 };

/* ---- single elements --------------------------------------------------------------- */

int64_t hwb__tensor_offset(const hwb_tensor *t, int64_t flat) {
    HWB_ASSERT(flat >= 0 && flat < t->numel);
    if (t->contiguous) return flat;
    int64_t offset = 0;
    for (int i = t->shape.ndim - 1; i >= 0; i--) {
        offset += flat % t->shape.dim[i] * t->strides[i];
        flat /= t->shape.dim[i];
    }
    return offset;
}

static char *element_at(const hwb_tensor *t, int64_t flat) {
    char *data = hwb_tensor_data(t);
    return data + hwb__tensor_offset(t, flat) * (int64_t)hwb_dtype_size(t->dtype);
}

double hwb_tensor_get(const hwb_tensor *t, int64_t flat) {
    double value;
    hwb__converter(HWB_F64, t->dtype)(&value, 1, element_at(t, flat), 1, 1);
    return value;
}

int64_t hwb_tensor_get_int(const hwb_tensor *t, int64_t flat) {
    int64_t value;
    hwb__converter(HWB_I64, t->dtype)(&value, 1, element_at(t, flat), 1, 1);
    return value;
}

void hwb_tensor_set(hwb_tensor *t, int64_t flat, double value) {
    hwb__converter(t->dtype, HWB_F64)(element_at(t, flat), 1, &value, 1, 1);
    hwb_tensor_touch(t);
}

/* ---- blocks ----------------------------------------------------------------------------- */

/* Visit elements first..first+n in pieces of rows: piece(at, stride, count). */
#define FOR_PIECES(t, first, n, at, stride, count)                                                 \
    hwb__nest nest = hwb__nest_make(&(t)->shape, (t)->strides, (t)->strides);                      \
    int64_t inner = nest.dim[nest.ndim - 1], stride = nest.a[nest.ndim - 1];                       \
    int64_t row = (first) / inner, col = (first) % inner, at, unused, count;                       \
    for (int64_t left = (n);                                                                       \
         left > 0 && (hwb__nest_seek(&nest, row, &at, &unused), at += col * stride,                \
                      count = left < inner - col ? left : inner - col, true);                      \
         left -= count, row++, col = 0)

void hwb__tensor_read(const hwb_tensor *t, int64_t first, int64_t n, double *out) {
    hwb__convert_fn convert = hwb__converter(HWB_F64, t->dtype);
    int64_t size = (int64_t)hwb_dtype_size(t->dtype);
    const char *data = hwb_tensor_data(t);
    if (t->contiguous) {
        convert(out, 1, data + first * size, 1, n);
        return;
    }
    FOR_PIECES(t, first, n, at, stride, count) {
        convert(out, 1, data + at * size, stride, count);
        out += count;
    }
}

void hwb__tensor_write(hwb_tensor *t, int64_t first, int64_t n, const double *in) {
    hwb__convert_fn convert = hwb__converter(t->dtype, HWB_F64);
    int64_t size = (int64_t)hwb_dtype_size(t->dtype);
    char *data = hwb_tensor_data(t);
    if (t->contiguous) {
        convert(data + first * size, 1, in, 1, n);
        return;
    }
    FOR_PIECES(t, first, n, at, stride, count) {
        convert(data + at * size, stride, in, 1, count);
        in += count;
    }
}

/* ---- sums --------------------------------------------------------------------------------- */

static double add_lanes(const double lane[LANES]) {
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) +
           ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

/* A reduction adds its term of elements a[0..n), b[0..n) to the lanes; n is a
 * multiple of LANES except in the last block. */
typedef void (*reduce_fn)(double lane[LANES], const void *a, const void *b, int64_t n);

/* One for float64 blocks and one for float32 memory as it is: widening is
 * exact, so both give the same bits. */
typedef struct reduction {
    reduce_fn f64, f32;
} reduction;

#define REDUCE_ROWS(name, type, term)                                                              \
    static void name(double lane[LANES], const void *pa, const void *pb, int64_t n) {              \
        const type *a = pa, *b = pb;                                                               \
        (void)b;                                                                                   \
        int64_t i = 0;                                                                             \
        for (; i + LANES <= n; i += LANES)                                                         \
            for (int64_t j = 0; j < LANES; j++)                                                    \
                lane[j] += term((double)a[i + j], (double)b[i + j]);                               \
        for (; i < n; i++) lane[i % LANES] += term((double)a[i], (double)b[i]);                    \
    }

#define REDUCTION(name, term)                                                                      \
    REDUCE_ROWS(name##_f64, double, term)                                                          \
    REDUCE_ROWS(name##_f32, float, term)                                                           \
    static const reduction name = {name##_f64, name##_f32};

#define TERM_SUM(x, y)  (x)
#define TERM_DOT(x, y)  ((x) * (y))
#define TERM_ZERO(x, y) ((x)*0) /* NaN for infinities and NaN, else 0 */
REDUCTION(reduce_sum, TERM_SUM)
REDUCTION(reduce_dot, TERM_DOT)
REDUCTION(reduce_zero, TERM_ZERO)

static bool is_plain(const hwb_tensor *t, hwb_dtype dtype) {
    return t->contiguous && t->dtype == dtype;
}

/* Block of t as doubles: in place when it is one already, else in `buf`. */
static const double *block_of(const hwb_tensor *t, int64_t first, int64_t n, double *buf) {
    if (is_plain(t, HWB_F64)) return (const double *)hwb_tensor_data(t) + first;
    hwb__tensor_read(t, first, n, buf);
    return buf;
}

typedef struct reducer {
    reduction reduce;
    const hwb_tensor *a, *b;
    int64_t size; /* elements of a part */
    double *part;
} reducer;

static void reduce_part(const void *job, int64_t unit) {
    const reducer *r = job;
    const hwb_tensor *a = r->a, *b = r->b;
    int64_t first = unit * r->size;
    int64_t end = a->numel - first < r->size ? a->numel : first + r->size;
    double buf_a[BLOCK], buf_b[BLOCK], lane[LANES] = {0};
    if (is_plain(a, HWB_F32) && is_plain(b, HWB_F32)) {
        int64_t at = first * (int64_t)sizeof(float);
        r->reduce.f32(lane, (char *)hwb_tensor_data(a) + at, (char *)hwb_tensor_data(b) + at,
                      end - first);
    } else {
        for (int64_t i = first; i < end; i += BLOCK) {
            int64_t n = end - i < BLOCK ? end - i : BLOCK;
            const double *block_a = block_of(a, i, n, buf_a);
            const double *block_b = b == a ? block_a : block_of(b, i, n, buf_b);
            r->reduce.f64(lane, block_a, block_b, n);
        }
    }
    r->part[unit] = add_lanes(lane);
}

static double reduce_all(reduction reduce, const hwb_tensor *a, const hwb_tensor *b) {
    double part[SUM_PARTS], sum = 0;
    reducer r = {.reduce = reduce, .a = a, .b = b, .part = part};
    r.size = (a->numel / SUM_PARTS + BLOCK) / BLOCK * BLOCK;
    if (r.size < HWB__PARALLEL_MIN / 4) r.size = HWB__PARALLEL_MIN / 4;
    int64_t parts = (a->numel + r.size - 1) / r.size;
    HWB_ASSERT(parts <= SUM_PARTS); /* size * SUM_PARTS > numel */
    hwb__for(a->numel >= HWB__PARALLEL_MIN ? omp_get_max_threads() : 1, parts, reduce_part, &r);
    for (int64_t p = 0; p < parts; p++) sum += part[p];
    return sum;
}

double hwb_tensor_sum(const hwb_tensor *t) {
    return reduce_all(reduce_sum, t, t);
}

double hwb_tensor_dot(const hwb_tensor *a, const hwb_tensor *b) {
    HWB_ASSERT(a->numel == b->numel);
    if (a->numel != b->numel) return NAN;
    return reduce_all(reduce_dot, a, b);
}

bool hwb_tensor_all_finite(const hwb_tensor *t) {
    return !hwb_dtype_is_float(t->dtype) || reduce_all(reduce_zero, t, t) == 0;
}
