/*
 * cpu_product.c: a large matrix product in blocks (cpu_product_i.h).
 *
 * The scheme of Goto & van de Geijn (2008): a block of a, up to 768 x 768, is packed by
 * all threads together into panels of a tile's rows (the last-level cache holds it); then
 * each thread takes its share of c's columns, a tile's at a time, packs that panel of b for
 * itself (its second-level cache holds it) and multiplies it with every panel of a.
 * Operands that lie transposed are turned while they are packed, so that every
 * transposition runs at one speed.
 */
#include "backend/cpu/cpu_product_i.h"

#include <omp.h>

enum { BLOCK = 768, LINE = 16 }; /* floats of a line of the caches */

static int64_t at_most(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static int64_t rows_of(const struct hwb__direct *inner) {
    return inner->lanes / 2;
}

static int64_t cols_of(const struct hwb__direct *inner) {
    return 3 * inner->lanes;
}

/* Equal blocks of at most BLOCK, of a multiple of LINE. */
static int64_t block_of(int64_t size) {
    return ceil_div(ceil_div(size, ceil_div(size, BLOCK)), LINE) * LINE;
}

size_t hwb__product_scratch(const struct hwb__direct *inner, int64_t m, int64_t k, int threads) {
    int64_t rows = 2 * block_of(m) + threads * cols_of(inner);
    return (size_t)(rows * block_of(k)) * sizeof(float);
}

/* Rows k0..k0+k of op(b), in columns from c0. */
static void pack_b(const hwb__product *p, int64_t c0, int64_t k0, int64_t k, float *to) {
    int64_t cols = cols_of(p->inner);
    p->inner->panel(p->tb ? p->b + c0 * p->ldb + k0 : p->b + k0 * p->ldb + c0, p->ldb, p->tb, cols,
                    at_most(cols, p->n - c0), k, to);
}

/* Asks for part i of n of the same, so that it is near when it is packed. */
static void ask_for_b(const hwb__product *p, int64_t c0, int64_t k0, int64_t k, int64_t i,
                      int64_t n) {
    int64_t valid = at_most(cols_of(p->inner), p->n - c0);
    const float *from = p->tb ? p->b + c0 * p->ldb + k0 : p->b + k0 * p->ldb + c0;
    int64_t rows = p->tb ? valid : k, length = p->tb ? k : valid;
    for (int64_t j = rows * i / n; j < rows * (i + 1) / n; j++)
        for (int64_t c = 0; c < length + LINE - 1; c += LINE)
            __builtin_prefetch(from + j * p->ldb + c, 0, 2);
}

/* Columns k0..k0+k of op(a), in rows from r0. */
static void pack_a(const hwb__product *p, int64_t r0, int64_t k0, int64_t k, float *to) {
    int64_t rows = rows_of(p->inner);
    p->inner->panel(p->ta ? p->a + k0 * p->lda + r0 : p->a + r0 * p->lda + k0, p->lda, !p->ta, rows,
                    at_most(rows, p->m - r0), k, to);
}

/* What thread `me` of `team` does.  A block of a is packed while others may still read
 * the one before, which lies in the other half. */
static void share(const hwb__product *p, int me, int team) {
    int64_t rows = rows_of(p->inner), cols = cols_of(p->inner);
    int64_t mb = block_of(p->m), kb = block_of(p->k), panels = ceil_div(p->n, cols), block = 0;
    int64_t first = panels * me / team, last = panels * (me + 1) / team;
    float *own = p->scratch + 2 * mb * kb + me * cols * kb;
    for (int64_t m0 = 0; m0 < p->m; m0 += mb) {
        int64_t m = at_most(mb, p->m - m0), a_panels = ceil_div(m, rows);
        for (int64_t k0 = 0; k0 < p->k; k0 += kb, block++) {
            int64_t k = at_most(kb, p->k - k0);
            float *a = p->scratch + (block & 1) * mb * kb;
            for (int64_t i = a_panels * me / team; i < a_panels * (me + 1) / team; i++)
                pack_a(p, m0 + i * rows, k0, k, a + i * rows * k);
            if (team > 1) {
#pragma omp barrier
            }
            for (int64_t j = first; j < last; j++) {
                pack_b(p, j * cols, k0, k, own);
                for (int64_t i = 0; i < a_panels; i++) {
                    if (j + 1 < last) ask_for_b(p, (j + 1) * cols, k0, k, i, a_panels);
                    p->inner->product(at_most(rows, m - i * rows), at_most(cols, p->n - j * cols),
                                      k, a + i * rows * k, own,
                                      p->c + (m0 + i * rows) * p->ldc + j * cols, p->ldc,
                                      p->add || k0);
                }
            }
        }
    }
}

void hwb__product_run(const hwb__product *p) {
    if (p->threads == 1) {
        share(p, 0, 1);
        return;
    }
#pragma omp parallel num_threads(p->threads)
    share(p, omp_get_thread_num(), omp_get_num_threads());
}
