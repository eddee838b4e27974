/*
 * philox_i.h: Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3" (SC 2011), section 4.3: ten rounds of two
 * 32x32->64 multiplications, a bijection of the 128-bit counter for every
 * 64-bit key.
 *
 *   counter = (index low, index high, stream low, stream high), key = seed
 */
#ifndef HWB_BASE_PHILOX_I_H
#define HWB_BASE_PHILOX_I_H

#include "base/base.h"

static inline __attribute__((always_inline)) void hwb__philox(hwb_rng rng, uint64_t index,
                                                              uint32_t out[4]) {
    const uint32_t multiplier_0 = 0xD2511F53u, multiplier_1 = 0xCD9E8D57u;
    const uint32_t golden_ratio = 0x9E3779B9u, root_3_less_1 = 0xBB67AE85u;
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32);
    uint32_t c2 = (uint32_t)rng.stream, c3 = (uint32_t)(rng.stream >> 32);
    uint32_t k0 = (uint32_t)rng.seed, k1 = (uint32_t)(rng.seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)multiplier_0 * c0, p1 = (uint64_t)multiplier_1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += golden_ratio;
        k1 += root_3_less_1;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

#endif
