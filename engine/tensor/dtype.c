/*
 * dtype.c: facts about dtypes and the conversions between any two of them.
 *
 * One row function a pair, generated from HWB_DTYPE_MAP.  The rule is the same
 * everywhere: the nearest representable value toward zero, saturated at the
 * ends, never undefined behaviour; NaN becomes 0; bool is x != 0.
 */
#include "tensor/tensor_i.h"

#include <string.h>

size_t hwb_dtype_size(hwb_dtype dtype) {
    static const uint8_t size[HWB_DTYPE_COUNT] = {
#define XX(name, ctype, bytes, text) bytes,
        HWB_DTYPE_MAP(XX)
#undef XX
    };
    return size[dtype];
}

#define XX(name, ctype, bytes, text) _Static_assert(sizeof(ctype) == (bytes), text " size");
HWB_DTYPE_MAP(XX)
#undef XX

static const char *const dtype_names[HWB_DTYPE_COUNT] = {
#define XX(name, ctype, bytes, text) text,
    HWB_DTYPE_MAP(XX)
#undef XX
};

const char *hwb_dtype_name(hwb_dtype dtype) {
    return (unsigned)dtype < HWB_DTYPE_COUNT ? dtype_names[dtype] : "unknown";
}

bool hwb_dtype_is_float(hwb_dtype dtype) {
    return dtype == HWB_F32 || dtype == HWB_F64;
}

bool hwb_dtype_parse(const char *name, hwb_dtype *out) {
    for (int i = 0; i < HWB_DTYPE_COUNT; i++)
        if (strcmp(name, dtype_names[i]) == 0) {
            *out = (hwb_dtype)i;
            return true;
        }
    return false;
}

/* ---- one value ------------------------------------------------------------------- */

typedef float F32;
typedef double F64;
typedef int32_t I32;
typedef int64_t I64;
typedef uint8_t U8;
typedef uint8_t BOOL;

/* double -> integer; the comparisons are false for NaN, which lands on 0. */
static inline int64_t clip_double(double x, double low, double high, int64_t min, int64_t max) {
    if (x >= high) return max;
    if (x <= low) return min;
    return x == x ? (int64_t)x : 0;
}

static inline int64_t clip_int(int64_t x, int64_t min, int64_t max) {
    return x < min ? min : x > max ? max : x;
}

/* f_X: from double; i_X: from int64.  Every source widens to one of the two
 * exactly. */
static inline float f_F32(double x) {
    return (float)x;
}
static inline double f_F64(double x) {
    return x;
}
static inline int32_t f_I32(double x) {
    return (int32_t)clip_double(x, INT32_MIN, INT32_MAX, INT32_MIN, INT32_MAX);
}
static inline int64_t f_I64(double x) {
    return clip_double(x, -0x1p63, 0x1p63, INT64_MIN, INT64_MAX);
}
static inline uint8_t f_U8(double x) {
    return (uint8_t)clip_double(x, 0, 255, 0, 255);
}
static inline uint8_t f_BOOL(double x) {
    return x != 0;
}

static inline float i_F32(int64_t x) {
    return (float)x;
}
static inline double i_F64(int64_t x) {
    return (double)x;
}
static inline int32_t i_I32(int64_t x) {
    return (int32_t)clip_int(x, INT32_MIN, INT32_MAX);
}
static inline int64_t i_I64(int64_t x) {
    return x;
}
static inline uint8_t i_U8(int64_t x) {
    return (uint8_t)clip_int(x, 0, 255);
}
static inline uint8_t i_BOOL(int64_t x) {
    return x != 0;
}

/* How a source is read: bool bytes of foreign memory may hold any value. */
#define READ_F32(x)  (x)
#define READ_F64(x)  (x)
#define READ_I32(x)  (x)
#define READ_I64(x)  (x)
#define READ_U8(x)   (x)
#define READ_BOOL(x) ((x) != 0)

/* ---- rows ------------------------------------------------------------------------- */

/* The unit-stride case apart, so that the compiler can vectorise it. */
#define CONVERT(TO, via, FROM)                                                                     \
    static void FROM##_to_##TO(void *to, int64_t ds, const void *from, int64_t ss, int64_t n) {    \
        TO *dst = to;                                                                              \
        const FROM *src = from;                                                                    \
        if (ds == 1 && ss == 1)                                                                    \
            for (int64_t i = 0; i < n; i++) dst[i] = via##_##TO(READ_##FROM(src[i]));              \
        else                                                                                       \
            for (int64_t i = 0; i < n; i++) dst[i * ds] = via##_##TO(READ_##FROM(src[i * ss]));    \
    }

#define CONVERT_TO(TO)                                                                             \
    CONVERT(TO, f, F32)                                                                            \
    CONVERT(TO, f, F64)                                                                            \
    CONVERT(TO, i, I32)                                                                            \
    CONVERT(TO, i, I64)                                                                            \
    CONVERT(TO, i, U8)                                                                             \
    CONVERT(TO, i, BOOL)

#define XX(name, ctype, bytes, text) CONVERT_TO(name)
HWB_DTYPE_MAP(XX)
#undef XX

hwb__convert_fn hwb__converter(hwb_dtype dst, hwb_dtype src) {
#define FROM_ALL(TO)                                                                               \
    { F32_to_##TO, F64_to_##TO, I32_to_##TO, I64_to_##TO, U8_to_##TO, BOOL_to_##TO }
    static const hwb__convert_fn table[HWB_DTYPE_COUNT][HWB_DTYPE_COUNT] = {
#define XX(name, ctype, bytes, text) [HWB_##name] = FROM_ALL(name),
        HWB_DTYPE_MAP(XX)
#undef XX
    };
    return table[dst][src];
}
