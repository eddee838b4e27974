/*
 * normals.c: standard normal numbers by Box & Muller 1958: a Philox block gives
 * u and v of [0,1), and
 *
 *   z0 = sqrt(-2 log(1-u)) cos(2 pi v),   z1 = sqrt(-2 log(1-u)) sin(2 pi v).
 *
 * The logarithm and the sine are written out here, in additions, multiplications
 * and divisions that every processor rounds alike (compiled without fused
 * multiply-add), for two reasons: the numbers depend on no C library, and the
 * compiler makes vectors of them, which is three times as fast as calling libm.
 * Both stay within three units in the last place.
 */
#include "base/philox_i.h"

#include <math.h>
#include <string.h>

/* Vectors where the processor has them; the same bits everywhere. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VECTORS __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VECTORS
#endif
#define INLINE static inline __attribute__((always_inline))

enum { PAIRS = 128 }; /* made at a time */

/* Words low and high of a block as a multiple of 2^-53 in [0,1); conversions of
 * signed 32-bit integers, for which there are vector instructions. */
INLINE double unit(uint32_t low, uint32_t high) {
    double upper = (double)(int32_t)(high ^ 0x80000000u) + 0x1p31;
    return upper * 0x1p-32 + (double)(int32_t)(low >> 11) * 0x1p-53;
}

/* log x for x in [2^-53, 1].  x = 2^k m, sqrt(1/2) <= m < sqrt(2); with
 * s = (m-1)/(m+1), log m = 2 atanh s = 2 s (1 + s^2/3 + s^4/5 + ...), |s| < 0.172. */
INLINE double natural_log(double x) {
    const uint64_t root_half = 0x3FE6A09E667F3BCDu, one = 0x3FF0000000000000u;
    const double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
    uint64_t bits;
    double m;
    memcpy(&bits, &x, sizeof bits);
    bits += one - root_half;
    double k = (double)((int32_t)(bits >> 52) - 1023);
    bits = (bits & 0x000FFFFFFFFFFFFFu) + root_half;
    memcpy(&m, &bits, sizeof m);
    double f = m - 1, s = f / (2 + f), z = s * s;
    double tail = 1.0 / 21;
    tail = tail * z + 1.0 / 19;
    tail = tail * z + 1.0 / 17;
    tail = tail * z + 1.0 / 15;
    tail = tail * z + 1.0 / 13;
    tail = tail * z + 1.0 / 11;
    tail = tail * z + 1.0 / 9;
    tail = tail * z + 1.0 / 7;
    tail = tail * z + 1.0 / 5;
    tail = tail * z + 1.0 / 3;
    return k * ln2_high + (2 * s + (2 * s * z * tail + k * ln2_low));
}

/* Taylor's series of sin and cos for |x| <= pi/4; the first term left out is
 * below 1e-19. */
INLINE double sine_near_0(double x, double z) {
    double t = 1.0 / 355687428096000;
    t = t * z - 1.0 / 1307674368000;
    t = t * z + 1.0 / 6227020800;
    t = t * z - 1.0 / 39916800;
    t = t * z + 1.0 / 362880;
    t = t * z - 1.0 / 5040;
    t = t * z + 1.0 / 120;
    t = t * z - 1.0 / 6;
    return x + x * (z * t);
}

INLINE double cosine_near_0(double z) {
    double t = 1.0 / 20922789888000;
    t = t * z - 1.0 / 87178291200;
    t = t * z + 1.0 / 479001600;
    t = t * z - 1.0 / 3628800;
    t = t * z + 1.0 / 40320;
    t = t * z - 1.0 / 720;
    t = t * z + 1.0 / 24;
    t = t * z - 1.0 / 2;
    return 1 + z * t;
}

/* v = (q + r)/4 exactly, |r| <= 1/2: a quarter turn q and the angle r pi/2. */
INLINE void box_muller(double u, double v, double pair[2]) {
    int32_t q = (int32_t)(4 * v + 0.5);
    double x = (4 * v - q) * 1.57079632679489661923, z = x * x;
    double s = sine_near_0(x, z), c = cosine_near_0(z);
    double cosine = q & 1 ? s : c, sine = q & 1 ? c : s;
    double radius = sqrt(-2 * natural_log(1 - u));
    pair[0] = radius * ((q + 1) & 2 ? -cosine : cosine);
    pair[1] = radius * (q & 2 ? -sine : sine);
}

/* The pairs of n <= PAIRS blocks from `block` on. */
VECTORS static void pairs(hwb_rng rng, uint64_t block, int n, double *out) {
    uint32_t word[4][PAIRS];
    for (int i = 0; i < n; i++) {
        uint32_t w[4];
        hwb__philox(rng, block + (uint64_t)i, w);
        for (int j = 0; j < 4; j++) word[j][i] = w[j];
    }
    for (int i = 0; i < n; i++)
        box_muller(unit(word[0][i], word[1][i]), unit(word[2][i], word[3][i]), out + 2 * i);
}

double hwb_rng_normal(hwb_rng rng, uint64_t i) {
    double pair[2];
    pairs(rng, i / 2, 1, pair);
    return pair[i % 2];
}

void hwb_rng_normals(hwb_rng rng, uint64_t first, int64_t n, double *out) {
    double pair[2 * PAIRS];
    int64_t done = 0;
    if (n > 0 && first % 2) out[done++] = hwb_rng_normal(rng, first);
    while (n - done >= 2) {
        int64_t left = (n - done) / 2, take = left < PAIRS ? left : PAIRS;
        pairs(rng, (first + (uint64_t)done) / 2, (int)take, pair);
        memcpy(out + done, pair, (size_t)take * sizeof pair[0] * 2);
        done += 2 * take;
    }
    if (done < n) out[done] = hwb_rng_normal(rng, first + (uint64_t)done);
}
