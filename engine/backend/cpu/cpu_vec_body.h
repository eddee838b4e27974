/*
 * cpu_vec_body.h: the loops of cpu_vec_i.h, included by one file an instruction
 * set after it has chosen the target and VEC_NAME.
 *
 * float32 transcendental functions are polynomials (about 1 ulp, tests bound
 * them by 2.5) because the C library's do not vectorise; float64 calls libm.
 * Comparisons are written so that a NaN operand gives NaN where the reference
 * does: relu, maximum and minimum pass NaN on.
 */
#include "backend/cpu/cpu_vec_i.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE uint32_t bits_of(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

INLINE float float_of(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* exp: x = n ln2 + r, |r| <= ln2/2; 2^n in two factors so that subnormal
 * results and overflow come out right.  Adding 1.5 2^23 rounds to an integer
 * and leaves it in the low bits. */
INLINE float exp_f(float x) {
    const float magic = 12582912.0f;
    x = x > 89.0f ? 89.0f : x;
    x = x < -104.0f ? -104.0f : x;
    float t = x * 1.44269504f + magic;
    float n = t - magic;
    float r = (x - n * 0.693359375f) - n * -2.12194440e-4f; /* ln2 in two parts */
    float p = 1.989198131e-04f;
    p = p * r + 1.393454193e-03f;
    p = p * r + 8.333310024e-03f;
    p = p * r + 4.166645681e-02f;
    p = p * r + 1.666666668e-01f;
    p = p * r + 5.0e-01f;
    float y = (p * r) * r + r;
    y += 1.0f;
    uint32_t k = bits_of(t) - 0x4b400000u; /* n as two's complement */
    uint32_t half = (uint32_t)((int32_t)k >> 1);
    return y * float_of((half + 127u) << 23) * float_of((k - half + 127u) << 23);
}

/* log: x = m 2^e with m in [sqrt(1/2), sqrt(2)); log m = f - f^2/2 + f^3 P(f). */
INLINE float log_f(float x) {
    uint32_t lift = x < 1.17549435e-38f ? 23 : 0; /* subnormal: times 2^23 */
    float s = x * float_of((127u + lift) << 23);
    uint32_t u = bits_of(s) - 0x3f3504f3u; /* distance from sqrt(1/2) */
    int32_t e = (int32_t)u >> 23;
    float f = float_of((u & 0x7fffffu) + 0x3f3504f3u) - 1.0f;
    float n = (float)(e - (int32_t)lift);
    float p = 6.971611472e-02f;
    p = p * f + -1.147973385e-01f;
    p = p * f + 1.168541992e-01f;
    p = p * f + -1.242568733e-01f;
    p = p * f + 1.424905765e-01f;
    p = p * f + -1.666780232e-01f;
    p = p * f + 2.000071575e-01f;
    p = p * f + -2.499999696e-01f;
    p = p * f + 3.333333118e-01f;
    float z = f * f;
    float y = p * f * z + n * -2.12194440e-4f;
    y -= 0.5f * z;
    y = (f + y) + n * 0.693359375f;
    y = x == 0.0f ? -INFINITY : y;
    y = x < 0.0f ? NAN : y;
    return x < INFINITY ? y : x;
}

/* log(1+x) = log u + (x - (u-1))/u with u the rounded 1+x. */
INLINE float log1p_f(float x) {
    float u = 1.0f + x;
    float lost = (x - (u - 1.0f)) / u;
    float y = log_f(u);
    return y + ((u > 0.0f) & (u < INFINITY) ? lost : 0.0f);
}

INLINE float tanh_f(float x) {
    float a = fabsf(x), z = x * x;
    float p = 2.370765640e-03f;
    p = p * z + -8.410070801e-03f;
    p = p * z + 2.178832200e-02f;
    p = p * z + -5.396155178e-02f;
    p = p * z + 1.333331287e-01f;
    p = p * z + -3.333333323e-01f;
    float small = (p * z) * x + x;
    float large = copysignf(1.0f - 2.0f / (exp_f(2.0f * a) + 1.0f), x);
    return a < 0.55f ? small : (x != x ? x : large);
}

INLINE float sigmoid_f(float x) {
    float e = exp_f(-fabsf(x));
    float y = (x < 0.0f ? e : 1.0f) / (1.0f + e);
    return x != x ? x : y;
}

/* erf: x P(x^2) below 1, 1 - exp(-Q(x)) up to 3.92, then 1. */
INLINE float erf_f(float x) {
    float a = fabsf(x), z = x * x;
    float p = -9.667044295e-06f;
    p = p * z + 1.126595892e-04f;
    p = p * z + -8.484080391e-04f;
    p = p * z + 5.221031807e-03f;
    p = p * z + -2.686543073e-02f;
    p = p * z + 1.128378250e-01f;
    p = p * z + -3.761263847e-01f;
    p = p * z + 1.283791671e-01f; /* 2/sqrt(pi) - 1 */
    float small = p * x + x;
    float b = a > 4.0f ? 1.5f : a - 2.5f;
    float q = -1.637151417e-06f;
    q = q * b + 1.331501440e-05f;
    q = q * b + -7.729137615e-05f;
    q = q * b + 4.201225235e-04f;
    q = q * b + -2.165303549e-03f;
    q = q * b + 1.085854164e-02f;
    q = q * b + 9.438937036e-01f;
    q = q * b + 5.352680674e+00f;
    q = q * b + 7.806815273e+00f;
    float large = copysignf(1.0f - exp_f(-q), x);
    return a < 1.0f ? small : (x != x ? x : large);
}

#define T          float
#define FN(name)   name##_f32
#define MATH(name) name##_f
#define LIBM(name) name##f
#include "backend/cpu/cpu_vec_loops.h"
#undef T
#undef FN
#undef MATH
#undef LIBM

INLINE double sigmoid(double x) {
    double e = exp(-fabs(x));
    return x != x ? x : (x < 0 ? e : 1) / (1 + e);
}

#define T          double
#define FN(name)   name##_f64
#define MATH(name) name
#define LIBM(name) name
#include "backend/cpu/cpu_vec_loops.h"
#undef T
#undef FN
#undef MATH
#undef LIBM

/* ---- stores past the caches ---------------------------------------------- */

#if defined(__AVX512F__)
#define STREAM_LINE(to, from) _mm512_stream_si512((void *)(to), _mm512_loadu_si512(from))
#elif defined(__AVX2__)
#define STREAM_LINE(to, from)                                                                      \
    for (int half = 0; half < 64; half += 32)                                                      \
    _mm256_stream_si256((__m256i *)(void *)((to) + half),                                          \
                        _mm256_loadu_si256((const __m256i *)(const void *)((from) + half)))
#else
#define STREAM_LINE(to, from) memcpy(to, from, 64)
#endif

static void stream(size_t bytes, void *dst, const void *src) {
    char *to = dst;
    const char *from = src;
    size_t head = (64 - ((uintptr_t)to & 63)) & 63;
    if (head > bytes) head = bytes;
    memcpy(to, from, head);
    size_t i = head;
    for (; i + 64 <= bytes; i += 64) STREAM_LINE(to + i, from + i);
    memcpy(to + i, from + i, bytes - i);
}

static void stream_end(void) {
#if defined(__AVX2__)
    _mm_sfence();
#endif
}

const struct hwb__vec VEC_TABLE = {
    VEC_NAME, op_f32,  op_f64,   from_bool_f32, from_bool_f64, to_bool_f32, to_bool_f64,
    sum_f32,  sum_f64, rows_f32, rows_f64,      stream,        stream_end,
};
