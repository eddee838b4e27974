/*
 * philox.c: counter-based random numbers: uniform, signs, integers (normal ones
 * are in normals.c).  Nothing has state, so element i of a stream is the same
 * whoever asks for it.
 */
#include "base/philox_i.h"

void hwb_philox(hwb_rng rng, uint64_t index, uint32_t out[4]) {
    hwb__philox(rng, index, out);
}

/* Half 0 or 1 of a block as a 64-bit word. */
static uint64_t block_word(const uint32_t block[4], unsigned half) {
    return (uint64_t)block[2 * half + 1] << 32 | block[2 * half];
}

static double unit_interval(uint64_t word) {
    return (double)(word >> 11) * 0x1p-53;
}

double hwb_rng_uniform(hwb_rng rng, uint64_t i) {
    uint32_t block[4];
    hwb_philox(rng, i / 2, block);
    return unit_interval(block_word(block, i % 2));
}

double hwb_rng_sign(hwb_rng rng, uint64_t i) {
    uint32_t block[4];
    hwb_philox(rng, i / 128, block);
    unsigned bit = (unsigned)(i % 128);
    return block[bit / 32] >> (bit % 32) & 1 ? 1.0 : -1.0;
}

/* ---- many at once -------------------------------------------------------------- */

/* A block is made once for all the elements that it gives; the first may be
 * needed in part. */

void hwb_rng_uniforms(hwb_rng rng, uint64_t first, int64_t n, double *out) {
    uint32_t block[4];
    for (int64_t k = 0; k < n; k++) {
        uint64_t i = first + (uint64_t)k;
        if (k == 0 || i % 2 == 0) hwb_philox(rng, i / 2, block);
        out[k] = unit_interval(block_word(block, i % 2));
    }
}

void hwb_rng_signs(hwb_rng rng, uint64_t first, int64_t n, double *out) {
    uint32_t block[4];
    for (int64_t k = 0; k < n; k++) {
        uint64_t i = first + (uint64_t)k;
        if (k == 0 || i % 128 == 0) hwb_philox(rng, i / 128, block);
        out[k] = (double)(int)(block[i % 128 / 32] >> (i % 32) << 1 & 2) - 1;
    }
}

/* ---- integers ------------------------------------------------------------------- */

uint64_t hwb_rng_below(hwb_rng rng, uint64_t i, uint64_t bound) {
    uint32_t block[4];
    hwb_philox(rng, i, block);
    /* floor(r * bound / 2^128) for a 128-bit r: no rejection loop, and a bias
     * below bound / 2^128, which no experiment can see. */
    unsigned __int128 low = (unsigned __int128)block_word(block, 0) * bound;
    unsigned __int128 high = (unsigned __int128)block_word(block, 1) * bound;
    return (uint64_t)((high + (low >> 64)) >> 64);
}

/* The finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014). */
static uint64_t mix64(uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

uint64_t hwb_rng_stream(const char *purpose, uint64_t a, uint64_t b) {
    uint64_t hash = 0xCBF29CE484222325u; /* FNV-1a */
    for (const unsigned char *p = (const unsigned char *)purpose; *p; p++)
        hash = (hash ^ *p) * 0x100000001B3u;
    return mix64(mix64(mix64(hash) ^ a) ^ b);
}

void hwb_rng_permutation(hwb_rng rng, int64_t n, int64_t *out) {
    for (int64_t i = 0; i < n; i++) out[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)hwb_rng_below(rng, (uint64_t)i, (uint64_t)i + 1);
        int64_t swapped = out[i];
        out[i] = out[j];
        out[j] = swapped;
    }
}
