/*
 * elem.c: element types of files and strided copies out of them.
 */
#include "io/elem_i.h"

#include <string.h>

static const struct {
    size_t bytes;
    hwb_dtype dtype;
    const char *text;
} elems[HWB__ELEM_COUNT] = {
#define XX(name, bytes, dtype, text) {bytes, dtype, text},
    HWB__ELEM_MAP(XX)
#undef XX
};

size_t hwb__elem_size(hwb__elem e) {
    return elems[e].bytes;
}

hwb_dtype hwb__elem_dtype(hwb__elem e) {
    return elems[e].dtype;
}

const char *hwb__elem_text(hwb__elem e) {
    return elems[e].text;
}

bool hwb__elem_parse(const char *text, hwb__elem *out) {
    for (int e = 0; e < HWB__ELEM_COUNT; e++) {
        if (strcmp(elems[e].text, text) != 0) continue;
        *out = (hwb__elem)e;
        return true;
    }
    return false;
}

hwb__elem hwb__elem_of(hwb_dtype dtype) {
    switch (dtype) {
    case HWB_F64: return HWB__ELEM_F64;
    case HWB_I32: return HWB__ELEM_I32;
    case HWB_I64: return HWB__ELEM_I64;
    case HWB_U8: return HWB__ELEM_U8;
    case HWB_BOOL: return HWB__ELEM_BOOL;
    default: return HWB__ELEM_F32;
    }
}

/* binary16 is s eeeee mmmmmmmmmm with bias 15; binary32 has bias 127. */
float hwb__half_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 1023;
    uint32_t bits;
    if (exponent == 31) {
        bits = sign | 0x7F800000u | mantissa << 13; /* infinity or NaN */
    } else if (exponent > 0) {
        bits = sign | (exponent + 127 - 15) << 23 | mantissa << 13;
    } else {
        float value = (float)mantissa * 0x1p-24f; /* zero or subnormal: exact */
        return sign ? -value : value;
    }
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

float hwb__bfloat16_to_float(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

/* ---- copies -------------------------------------------------------------------------- */

/* The little-endian value at p, `size` bytes wide, in the low bits. */
static uint64_t load_bits(const uint8_t *p, size_t size, bool swap) {
    uint64_t v = 0;
    for (size_t i = 0; i < size; i++) v |= (uint64_t)p[swap ? size - 1 - i : i] << (8 * i);
    return v;
}

/* dst[i] = the element at p + i*step, for one row */
static void copy_row(void *dst, const uint8_t *p, int64_t n, int64_t step, const hwb__array *a) {
    size_t size = elems[a->elem].bytes;
    bool same = a->elem == HWB__ELEM_F64 || a->elem == HWB__ELEM_F32 || a->elem == HWB__ELEM_I64 ||
                a->elem == HWB__ELEM_I32 || a->elem == HWB__ELEM_U8;
    if (same && !a->swap && (step == (int64_t)size || n == 1)) {
        memcpy(dst, p, (size_t)n * size);
        return;
    }
    for (int64_t i = 0; i < n; i++, p += step) {
        uint64_t v = load_bits(p, size, a->swap);
        switch (a->elem) {
        case HWB__ELEM_F64:
        case HWB__ELEM_I64: memcpy((char *)dst + 8 * i, &v, 8); break;
        case HWB__ELEM_F32:
        case HWB__ELEM_I32: memcpy((char *)dst + 4 * i, &v, 4); break;
        case HWB__ELEM_F16: ((float *)dst)[i] = hwb__half_to_float((uint16_t)v); break;
        case HWB__ELEM_BF16: ((float *)dst)[i] = hwb__bfloat16_to_float((uint16_t)v); break;
        case HWB__ELEM_I16: ((int32_t *)dst)[i] = (int16_t)(uint16_t)v; break;
        case HWB__ELEM_I8: ((int32_t *)dst)[i] = (int8_t)(uint8_t)v; break;
        case HWB__ELEM_U16: ((int32_t *)dst)[i] = (int32_t)v; break;
        case HWB__ELEM_U32: ((int64_t *)dst)[i] = (int64_t)v; break;
        case HWB__ELEM_U8: ((uint8_t *)dst)[i] = (uint8_t)v; break;
        case HWB__ELEM_BOOL: ((uint8_t *)dst)[i] = v != 0; break;
        case HWB__ELEM_COUNT: break;
        }
    }
}

void hwb__array_dense(hwb__array *a) {
    int64_t stride = 1;
    for (int i = a->shape.ndim - 1; i >= 0; i--) {
        a->stride[i] = stride;
        if (__builtin_mul_overflow(stride, a->shape.dim[i], &stride)) stride = 0;
    }
}

/* Every element of a non-empty view lies within [0, count). */
static hwb_status check_bounds(hwb_ctx *ctx, const hwb__array *a) {
    int64_t last = a->offset;
    bool fits = a->offset >= 0;
    for (int i = 0; i < a->shape.ndim && fits; i++) {
        int64_t reach;
        fits = a->stride[i] >= 0 &&
               !__builtin_mul_overflow(a->shape.dim[i] - 1, a->stride[i], &reach) &&
               !__builtin_add_overflow(last, reach, &last);
    }
    if (fits && last < a->count) return HWB_OK;
    char text[HWB_SHAPE_TEXT];
    return hwb_fail(ctx, HWB_EFORMAT,
                    "a %s tensor at offset %lld reaches outside its %lld elements",
                    hwb_shape_text(&a->shape, text), (long long)a->offset, (long long)a->count);
}

hwb_status hwb__array_tensor(hwb_ctx *ctx, hwb_tensor **out, const hwb__array *a) {
    if (hwb_shape_check(ctx, &a->shape) != HWB_OK) {
        hwb_fail_in(ctx, HWB_EFORMAT, "a tensor's shape");
        return HWB_EFORMAT;
    }
    int64_t n = hwb_shape_numel(&a->shape);
    if (n > 0) HWB_TRY(check_bounds(ctx, a));
    hwb_tensor *t = NULL;
    HWB_TRY(hwb_tensor_new(ctx, &t, elems[a->elem].dtype, a->shape));
    size_t size = elems[a->elem].bytes;
    size_t out_size = hwb_dtype_size(elems[a->elem].dtype);
    int inner = a->shape.ndim - 1;
    int64_t row = a->shape.ndim ? a->shape.dim[inner] : 1;
    int64_t step = a->shape.ndim ? a->stride[inner] * (int64_t)size : (int64_t)size;
    int64_t index[HWB_MAX_DIMS] = {0}, at = a->offset;
    char *dst = hwb_tensor_data(t);
    for (int64_t done = 0; done < n; done += row, dst += (size_t)row * out_size) {
        copy_row(dst, a->bytes + (size_t)at * size, row, step, a);
        for (int i = inner - 1; i >= 0; i--) { /* the next row, as an odometer */
            at += a->stride[i];
            if (++index[i] < a->shape.dim[i]) break;
            at -= a->stride[i] * a->shape.dim[i];
            index[i] = 0;
        }
    }
    *out = t;
    return HWB_OK;
}
