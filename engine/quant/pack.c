/*
 * pack.c: codes as a bit stream, and dyadic integer requantization.
 *
 * Code number i, minus the lowest code, occupies bits i·b .. i·b + b - 1 of
 * the stream; bit k of the stream is bit k % 8 of byte k / 8.
 */
#include "quant/quant_i.h"

/* Whole bytes first: n may come from a file, and n·bits could overflow. */
static int64_t stream_bytes(int64_t n, int bits) {
    return n / 8 * bits + (n % 8 * bits + 7) / 8;
}

int64_t hwb_quant_packed_bytes(int64_t n, int64_t groups, const hwb_quant_spec *spec) {
    return stream_bytes(n, spec->bits) + groups * (spec->scheme == HWB_QUANT_SYMMETRIC ? 4 : 8);
}

hwb_status hwb_quant_pack(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *codes,
                          const hwb_quant_spec *spec) {
    HWB_TRY(hwb_quant_check(ctx, spec));
    if (hwb_tensor_dtype(codes) != HWB_I32)
        return hwb_fail(ctx, HWB_EDTYPE, "pack: codes are int32, not %s",
                        hwb_dtype_name(hwb_tensor_dtype(codes)));
    hwb_tensor *t = NULL, *packed = NULL;
    HWB_TRY(hwb_tensor_contiguous(ctx, &t, (hwb_tensor *)(uintptr_t)codes));
    int64_t n = hwb_tensor_numel(t);
    hwb_shape shape = {.ndim = 1, .dim = {stream_bytes(n, spec->bits)}};
    hwb_status s = hwb_tensor_zeros(ctx, &packed, HWB_U8, shape);
    const int32_t *q = hwb_tensor_data(t);
    int lowest = hwb_quant_lowest(spec), highest = hwb_quant_highest(spec);
    for (int64_t i = 0; s == HWB_OK && i < n; i++) {
        if (q[i] < lowest || q[i] > highest) {
            s = hwb_fail(ctx, HWB_EARG, "pack: code %d (element %lld) outside [%d, %d]", q[i],
                         (long long)(i + 1), lowest, highest);
            break;
        }
        uint8_t *byte = (uint8_t *)hwb_tensor_data(packed) + i * spec->bits / 8;
        unsigned at = (unsigned)(i * spec->bits % 8), v = (unsigned)(q[i] - lowest) << at;
        byte[0] |= (uint8_t)v;
        if (at + (unsigned)spec->bits > 8) byte[1] |= (uint8_t)(v >> 8);
    }
    hwb_tensor_release(t);
    if (s != HWB_OK) {
        hwb_tensor_release(packed);
        return s;
    }
    *out = packed;
    return HWB_OK;
}

hwb_status hwb_quant_unpack(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *bytes,
                            hwb_shape shape, const hwb_quant_spec *spec) {
    HWB_TRY(hwb_quant_check(ctx, spec));
    HWB_TRY(hwb_shape_check(ctx, &shape));
    int64_t n = hwb_shape_numel(&shape), want = stream_bytes(n, spec->bits);
    if (hwb_tensor_dtype(bytes) != HWB_U8 || hwb_tensor_numel(bytes) != want) {
        char text[HWB_SHAPE_TEXT];
        return hwb_fail(ctx, HWB_ESHAPE, "unpack: %s at %d bits is %lld bytes, not %lld of %s",
                        hwb_shape_text(&shape, text), spec->bits, (long long)want,
                        (long long)hwb_tensor_numel(bytes),
                        hwb_dtype_name(hwb_tensor_dtype(bytes)));
    }
    hwb_tensor *t = NULL, *codes = NULL;
    HWB_TRY(hwb_tensor_contiguous(ctx, &t, (hwb_tensor *)(uintptr_t)bytes));
    hwb_status s = hwb_tensor_new(ctx, &codes, HWB_I32, shape);
    if (s == HWB_OK) {
        int32_t *q = hwb_tensor_data(codes);
        unsigned mask = (1u << spec->bits) - 1;
        for (int64_t i = 0; i < n; i++) {
            const uint8_t *byte = (const uint8_t *)hwb_tensor_data(t) + i * spec->bits / 8;
            unsigned at = (unsigned)(i * spec->bits % 8), v = byte[0];
            if (at + (unsigned)spec->bits > 8) v |= (unsigned)byte[1] << 8;
            q[i] = (int32_t)(v >> at & mask) + hwb_quant_lowest(spec);
        }
        *out = codes;
    }
    hwb_tensor_release(t);
    return s;
}

hwb_status hwb_quant_dyadic(hwb_ctx *ctx, int64_t *b, int *shift, double multiplier) {
    int e;
    if (!(multiplier > 0) || !isfinite(multiplier))
        return hwb_fail(ctx, HWB_EARG, "dyadic number of %g: must be positive", multiplier);
    double m = frexp(multiplier, &e); /* multiplier = m 2^e, m in [1/2,1) */
    if (e > 30) return hwb_fail(ctx, HWB_EARG, "dyadic number of %g: too large", multiplier);
    *b = (int64_t)floor(m * 0x1p31 + 0.5);
    *shift = 31 - e;
    return HWB_OK;
}

int32_t hwb_quant_requantize(int32_t acc, int64_t b, int shift, int32_t lo, int32_t hi) {
    /* |acc b| < 2^63; beyond 62 the quotient is below one half */
    int64_t y = shift > 62 ? 0 : ((int64_t)acc * b + ((int64_t)1 << (shift - 1))) >> shift;
    return y < lo ? lo : y > hi ? hi : (int32_t)y;
}
