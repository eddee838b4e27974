/*
 * cpu_wino_body.h: the inner parts of Winograd's convolution, included by one
 * file an instruction set after it has chosen the target, WINO_LANES, WINO_ROWS
 * and WINO_TABLE.
 *
 * Vectors run over channels, which lie next to each other; so no data is ever
 * rearranged.
 */
#include "backend/cpu/cpu_wino_i.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

enum { L = WINO_LANES, PANEL = 2 * WINO_LANES };

typedef float vec __attribute__((vector_size(4 * WINO_LANES)));
typedef float vec_any __attribute__((vector_size(4 * WINO_LANES), aligned(4), may_alias));

INLINE vec load(const float *p) {
    return *(const vec_any *)p;
}

INLINE void store(float *p, vec v) {
    *(vec_any *)p = v;
}

#include "backend/cpu/cpu_wino_tile_body.h"
#include "backend/cpu/cpu_wino_stride_body.h"

/* ---- blocks of tiles --------------------------------------------------------- */

typedef struct tile {
    int64_t image, row, col; /* among the tiles of the image */
} tile;

INLINE tile tile_at(const hwb__wino_geom *g, int64_t t) {
    int64_t in_image = g->rows * g->cols, r = t % in_image;
    return (tile){t / in_image, r / g->cols, r % g->cols};
}

INLINE void tile_next(const hwb__wino_geom *g, tile *p) {
    if (++p->col < g->cols) return;
    p->col = 0;
    if (++p->row < g->rows) return;
    p->row = 0;
    p->image++;
}

/* The size x size pixels from (row, col), one vector each, zeros outside. */
INLINE void cut(const float *image, int64_t h, int64_t w, int64_t c, int64_t row, int64_t col,
                int size, float *to) {
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++) {
            bool inside = row + i >= 0 && row + i < h && col + j >= 0 && col + j < w;
            store(to + (i * size + j) * L,
                  inside ? load(image + ((row + i) * w + col + j) * c) : (vec){0});
        }
}

/* One vector of channels of a tile of images (adjoint: of adjoints of a gradient). */
INLINE void transform(hwb__wino_kind kind, bool adjoint, const pixels *x, int zero, float *to,
                      int64_t step) {
    if (adjoint && kind == WINO_PLAIN) adjoint_tile(x, to, step);
    else if (adjoint) adjoint_down_tile(x, to, step);
    else if (kind == WINO_PLAIN) image_tile(x, zero, to, step);
    else if (kind == WINO_DOWN) down_tile(x, zero, to, step);
    else up_tile(x, zero, to, step);
}

/* Images [h,w,all] as tiles of size x size pixels, `step` apart. */
typedef struct source {
    const float *image;
    int64_t h, w, all, size, step, top, left;
} source;

/* What is read of rows outside an image, where a row is no longer. */
enum { ZEROS = 8192 };
static const float zeros[ZEROS];

/* to[points][block,c] of c channels of `count` tiles from the first; kind, adjoint: constants.
 * Rows outside are read from zeros and one column outside is left out; other tiles are copied
 * first. */
INLINE void transform_block(const hwb__wino_geom *g, hwb__wino_kind kind, bool adjoint,
                            const source *s, int64_t first, int64_t count, int64_t c, float *to) {
    int64_t step = g->block * c + 16, wide = s->w * s->all;
    const int size = kind == WINO_DOWN && !adjoint ? 9 : adjoint ? 4 : kind == WINO_UP ? 5 : 6;
    const bool left = !adjoint && kind != WINO_UP, right = !adjoint && kind != WINO_DOWN;
    float edge[81 * WINO_LANES] __attribute__((aligned(64)));
    const float *rows[9] = {NULL}, *image = NULL;
    bool inside = false;
    tile p = tile_at(g, first);
    for (int64_t t = 0; t < count; t++, tile_next(g, &p)) {
        int64_t row = p.row * s->step - s->top, col = p.col * s->step - s->left;
        if (t == 0 || p.col == 0) {
            image = s->image + p.image * s->h * wide;
            inside = row >= 0 && row + size <= s->h;
            UNROLL for (int i = 0; i < size; i++) {
                int64_t y = row + i;
                rows[i] = inside || (y >= 0 && y < s->h) ? image + y * wide : zeros;
            }
        }
        bool low = left && col == -1, high = right && col + size == s->w + 1;
        bool fits = (low || col >= 0) && (high || col + size <= s->w) && !(low && high) &&
                    (inside || wide <= ZEROS);
        for (int64_t k = 0; k < c; k += L) {
            pixels x = {.right = s->all};
            float *points = to + t * c + k;
            if (!fits) {
                cut(image + k, s->h, s->w, s->all, row, col, size, edge);
                UNROLL for (int i = 0; i < size; i++) x.row[i] = edge + i * size * L;
                x.right = L;
                transform(kind, adjoint, &x, -1, points, step);
                continue;
            }
            int64_t at = (low ? 0 : col * s->all) + k;
            UNROLL for (int i = 0; i < size; i++) x.row[i] = rows[i] + at;
            if (low) transform(kind, adjoint, &x, 0, points, step);
            else if (high) transform(kind, adjoint, &x, size - 1, points, step);
            else transform(kind, adjoint, &x, -1, points, step);
        }
    }
}

/* One function a kind, so that none takes registers or inlining from another. */
#define TRANSFORM(name, kind, adjoint)                                                             \
    static __attribute__((noinline)) void name(const hwb__wino_geom *g, const source *s,           \
                                               int64_t first, int64_t count, int64_t c,            \
                                               float *to) {                                        \
        transform_block(g, kind, adjoint, s, first, count, c, to);                                 \
    }
TRANSFORM(plain_images, WINO_PLAIN, false)
TRANSFORM(down_images, WINO_DOWN, false)
TRANSFORM(up_images, WINO_UP, false)
TRANSFORM(plain_adjoints, WINO_PLAIN, true)
TRANSFORM(down_adjoints, WINO_DOWN, true)

/* v of images */
static void image_block(const hwb__wino_geom *g, const float *in, int64_t first, int64_t count,
                        float *v) {
    source s = {in, g->h, g->w, g->c, g->in_size, g->in_step, g->top, g->left};
    (g->kind == WINO_PLAIN  ? plain_images
     : g->kind == WINO_DOWN ? down_images
                            : up_images)(g, &s, first, count, g->c, v);
}

/* z of outputs o0.. */
static void adjoint_block(const hwb__wino_geom *g, const float *out, int64_t first, int64_t count,
                          int64_t o0, int64_t on, float *z) {
    source s = {out + o0, g->oh, g->ow, g->o, g->out_step, g->out_step, 0, 0};
    (g->kind == WINO_PLAIN ? plain_adjoints : down_adjoints)(g, &s, first, count, on, z);
}

INLINE void result_of(hwb__wino_kind kind, const float *from, int64_t step, const place *p,
                      bool whole) {
    if (kind == WINO_PLAIN) result_tile(from, step, p, whole);
    else if (kind == WINO_DOWN) result_down_tile(from, step, p, whole);
    else result_up_tile(from, step, p, whole);
}

/* results of outputs o0.. of `count` tiles (+ more); kind: a constant */
INLINE void result_blocks(const hwb__wino_geom *g, hwb__wino_kind kind, const float *m,
                          const hwb__wino_result *r, int64_t first, int64_t count, int64_t o0,
                          int64_t on) {
    int64_t step = g->block * on + 16, o = g->o, n = r->width, size = g->out_step;
    tile p = tile_at(g, first);
    for (int64_t t = 0; t < count; t++, tile_next(g, &p)) {
        int64_t row = p.row * size, col = p.col * size;
        int64_t pixel = (p.image * g->oh + row) * g->ow + col;
        place to = {.right = n,
                    .down = g->ow * n,
                    .more_right = o,
                    .more_down = g->ow * o,
                    .high = g->oh - row,
                    .wide = g->ow - col};
        bool whole = to.high >= size && to.wide >= size;
        for (int64_t k = 0; k < on; k += L) {
            to.out = r->out + (pixel - r->pixel) * n + k;
            to.more = r->more ? r->more + pixel * o + o0 + k : NULL;
            if (whole) result_of(kind, m + t * on + k, step, &to, true);
            else result_of(kind, m + t * on + k, step, &to, false);
        }
    }
}

#define RESULT(name, kind)                                                                         \
    static __attribute__((noinline)) void name(const hwb__wino_geom *g, const float *m,            \
                                               const hwb__wino_result *r, int64_t first,           \
                                               int64_t count, int64_t o0, int64_t on) {            \
        result_blocks(g, kind, m, r, first, count, o0, on);                                        \
    }
RESULT(plain_results, WINO_PLAIN)
RESULT(down_results, WINO_DOWN)
RESULT(up_results, WINO_UP)

static void result_block(const hwb__wino_geom *g, const float *m, const hwb__wino_result *r,
                         int64_t first, int64_t count, int64_t o0, int64_t on) {
    (g->kind == WINO_PLAIN  ? plain_results
     : g->kind == WINO_DOWN ? down_results
                            : up_results)(g, m, r, first, count, o0, on);
}

/* ---- matrix products --------------------------------------------------------- */

/* Two matrices each side of a sum of products; the second of a single one is not used. */
typedef struct factors {
    int n;
    const float *x[2], *y[2];
} factors;

/* z[i,j] (+)= sum_k x[i,k] y[k,j], over both pairs of factors, for some rows and vectors:
 * element (i,k) of x at i * xi + k * xk, rows of y yk apart, of z zi apart.  Inlined with
 * constants, so that the sums stay in registers. */
INLINE void product(int rows, int cols, int64_t depth, const factors *f, int64_t x_at, int64_t xi,
                    int64_t xk, int64_t y_at, int64_t yk, float *z, int64_t zi, bool add) {
    vec acc[WINO_ROWS][2];
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int j = 0; j < cols; j++) acc[i][j] =
        (vec){0};
    for (int n = 0; n < f->n; n++) {
        const float *x = f->x[n] + x_at, *y = f->y[n] + y_at;
        for (int64_t k = 0; k < depth; k++) {
            vec right[2];
            UNROLL for (int j = 0; j < cols; j++) right[j] = load(y + k * yk + j * L);
            UNROLL for (int i = 0; i < rows; i++) {
                float left = x[i * xi + k * xk];
                UNROLL for (int j = 0; j < cols; j++) acc[i][j] += left * right[j];
            }
        }
    }
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int j = 0; j < cols; j++) {
        float *to = z + i * zi + j * L;
        store(to, add ? load(to) + acc[i][j] : acc[i][j]);
    }
}

/* Memory that is wanted soon: brought into the second-level cache in as many portions as
 * there are points while the processor multiplies, as it does not foresee these patterns itself. */
typedef struct soon {
    const char *from;
    int64_t lines;
} soon;

/* Rows of `count` tiles from the first. */
INLINE soon rows_soon(const hwb__wino_geom *g, const source *s, int64_t first, int64_t count) {
    int64_t left = hwb__wino_tiles(g) - first;
    if (count > left) count = left;
    if (!s->image || count <= 0) return (soon){NULL, 0};
    tile p = tile_at(g, first), q = tile_at(g, first + count - 1);
    int64_t from = p.row * s->step - s->top, to = q.row * s->step - s->top + s->size;
    from = (p.image * s->h + (from < 0 ? 0 : from)) * s->w * s->all;
    to = (q.image * s->h + (to < s->h ? to : s->h)) * s->w * s->all;
    return (soon){(const char *)(s->image + from), (to - from) / 16};
}

INLINE soon images_soon(const hwb__wino_geom *g, const float *in, int64_t first, int64_t count) {
    source s = {in, g->h, g->w, g->c, g->in_size, g->in_step, g->top, g->left};
    return rows_soon(g, &s, first, count);
}

INLINE soon results_soon(const hwb__wino_geom *g, const float *out, int64_t first, int64_t count) {
    source s = {out, g->oh, g->ow, g->o, g->out_step, g->out_step, 0, 0};
    return rows_soon(g, &s, first, count);
}

INLINE void bring(const hwb__wino_geom *g, const soon *r, int64_t portion) {
    int64_t end = r->lines * (portion + 1) / g->points;
    for (int64_t i = r->lines * portion / g->points; i < end; i++)
        __builtin_prefetch(r->from + 64 * i, 0, 2);
}

/* Which weights belong to point q. */
INLINE int64_t weights_of(const hwb__wino_geom *g, int64_t q) {
    if (g->kind == WINO_PLAIN) return q;
    int64_t i = q / PHASES, j = q % PHASES;
    return 6 * (i < 5 ? i : 5) + (j < 5 ? j : 5);
}

/* m[t,j] = v[t,c] panel[c,j] of `count` tiles; cols vectors j */
INLINE void forward_panel(int cols, int64_t count, int64_t c, const factors *f, int64_t v_at,
                          int64_t u_at, float *m, int64_t on) {
    int64_t t = 0;
    for (; t + WINO_ROWS <= count; t += WINO_ROWS)
        product(WINO_ROWS, cols, c, f, v_at + t * c, c, 1, u_at, cols * L, m + t * on, on, false);
    for (; t + WINO_ROWS / 2 <= count; t += WINO_ROWS / 2)
        product(WINO_ROWS / 2, cols, c, f, v_at + t * c, c, 1, u_at, cols * L, m + t * on, on,
                false);
    for (; t < count; t++)
        product(1, cols, c, f, v_at + t * c, c, 1, u_at, cols * L, m + t * on, on, false);
}

static void forward(const hwb__wino_geom *g, const hwb__wino_job *job, int64_t first, int64_t count,
                    int64_t o0, int64_t on, float *v, float *m) {
    int64_t c = g->c, v_step = g->block * c + 16, m_step = g->block * on + 16;
    const hwb__wino_result *to = &job->to;
    bool in_place = to->more && to->out == to->more + o0;
    factors f = {.n = job->terms};
    soon wanted[4] = {results_soon(g, to->more, first, count),
                      results_soon(g, to->bring || in_place ? NULL : to->out, first, count)};
    for (int i = 0; i < f.n; i++) {
        float *vi = v + i * hwb__wino_block(g, c);
        f.x[i] = vi;
        f.y[i] = job->u[i];
        if (job->in[i]) image_block(g, job->in[i], first, count, vi);
        wanted[2 + i] = images_soon(g, job->next[i], job->next_first, count);
    }
    for (int64_t q = 0; q < g->points; q++) {
        for (int i = 0; i < 2 + f.n; i++) bring(g, &wanted[i], q);
        if (to->bring) to->bring(to->job, q);
        for (int64_t j = 0; j < on; j += PANEL) {
            int64_t u_at = weights_of(g, q) * (c * on + 16) + j * c;
            float *sums = m + q * m_step + j;
            if (on - j > L) forward_panel(2, count, c, &f, q * v_step, u_at, sums, on);
            else forward_panel(1, count, c, &f, q * v_step, u_at, sums, on);
        }
    }
    result_block(g, m, to, first, count, o0, on);
}

static void gradient(const hwb__wino_geom *g, const hwb__wino_sum *job, int64_t first,
                     int64_t count, int64_t o0, int64_t on, float *s, bool add, float *v,
                     float *z) {
    int64_t c = g->c, v_step = g->block * c + 16, z_step = g->block * on + 16;
    int64_t s_step = c * on + 16;
    factors f = {.n = job->terms};
    soon wanted[4];
    for (int i = 0; i < f.n; i++) {
        float *vi = v + i * hwb__wino_block(g, c), *zi = z + i * hwb__wino_block(g, on);
        f.x[i] = vi;
        f.y[i] = zi;
        if (job->in[i]) image_block(g, job->in[i], first, count, vi);
        if (job->out[i]) adjoint_block(g, job->out[i], first, count, o0, on, zi);
        wanted[i] = images_soon(g, job->next_in[i], job->next_first, count);
        wanted[f.n + i] = results_soon(g, job->next_out[i], job->next_first, count);
    }
    for (int64_t q = 0; q < g->points; q++) {
        bool more = add || (g->kind != WINO_PLAIN && (q / PHASES > 5 || q % PHASES > 5));
        for (int i = 0; i < 2 * f.n; i++) bring(g, &wanted[i], q);
        for (int64_t j = 0; j < on; j += PANEL)
            for (int64_t i = 0; i < c; i += WINO_ROWS) {
                int64_t x_at = q * v_step + i, y_at = q * z_step + j;
                float *panel = s + weights_of(g, q) * s_step + j * c;
                if (on - j > L)
                    product(WINO_ROWS, 2, count, &f, x_at, 1, c, y_at, on, panel + i * PANEL, PANEL,
                            more);
                else product(WINO_ROWS, 1, count, &f, x_at, 1, c, y_at, on, panel + i * L, L, more);
            }
    }
}

/* ---- weights ------------------------------------------------------------------- */

/* Element (c, o) of the first matrix of weights or sums of `on` outputs. */
INLINE int64_t weight_at(int64_t inputs, int64_t on, int64_t c, int64_t o) {
    int64_t panel = o / PANEL * PANEL, width = on - panel > L ? PANEL : L;
    return panel * inputs + c * width + o % PANEL;
}

/* A square of L inputs and L outputs of weights, transposed: lanes are outputs. */
typedef struct square {
    float tap[WINO_LANES][9][WINO_LANES] __attribute__((aligned(64)));
} square;

INLINE void read_square(const float *w, int64_t c, int64_t o, bool turned, int64_t i0, int64_t j0,
                        square *q) {
    for (int64_t l = 0; l < L; l++)
        for (int64_t i = 0; i < L; i++) {
            const float *from = w + (turned ? (i0 + l) * o + j0 + i : (j0 + l) * c + i0 + i) * 9;
            for (int64_t t = 0; t < 9; t++)
                if (turned) q->tap[l][8 - t][i] = from[t];
                else q->tap[i][t][l] = from[t];
        }
}

INLINE void weight_points(const hwb__wino_geom *g, vec w0, vec w1, vec w2, vec u[6]) {
    if (g->kind == WINO_PLAIN) weight_column(w0, w1, w2, u);
    else weight_halves(w0, w1, w2, u);
}

INLINE void gradient_points(const hwb__wino_geom *g, const vec s[6], vec w[3]) {
    if (g->kind == WINO_PLAIN) gradient_column(s, w);
    else gradient_halves(s, w);
}

static void weights(const hwb__wino_geom *g, const float *w, bool turned, int64_t o0, int64_t on,
                    int64_t j0, int64_t j1, float *u) {
    int64_t c = g->c, step = c * on + 16;
    square q;
    for (int64_t j = j0; j < j1; j += L)
        for (int64_t i = 0; i < c; i++) {
            if (i % L == 0) read_square(w, c, g->o, turned, i, o0 + j, &q);
            float(*tap)[WINO_LANES] = q.tap[i % L];
            vec r[3][6];
            UNROLL for (int k = 0; k < 3; k++)
                weight_points(g, load(tap[k]), load(tap[3 + k]), load(tap[6 + k]), r[k]);
            float *to = u + weight_at(c, on, i, j);
            UNROLL for (int k = 0; k < 6; k++) {
                vec x[6];
                weight_points(g, r[0][k], r[1][k], r[2][k], x);
                UNROLL for (int p = 0; p < 6; p++) store(to + (6 * k + p) * step, x[p]);
            }
        }
}

/* G' s G of one vector of outputs, s summed over the slots */
INLINE void gradient_tile(const hwb__wino_geom *g, const float *s, int64_t step, int64_t slots,
                          int64_t slot_step, float tap[9][WINO_LANES]) {
    vec r[6][3];
    for (int j = 0; j < 6; j++) {
        vec x[6];
        UNROLL for (int i = 0; i < 6; i++) {
            x[i] = load(s + (6 * i + j) * step);
            for (int64_t k = 1; k < slots; k++)
                x[i] += load(s + k * slot_step + (6 * i + j) * step);
        }
        gradient_points(g, x, r[j]);
    }
    UNROLL for (int i = 0; i < 3; i++) {
        vec x[6], y[3];
        UNROLL for (int j = 0; j < 6; j++) x[j] = r[j][i];
        gradient_points(g, x, y);
        UNROLL for (int j = 0; j < 3; j++) store(tap[3 * i + j], y[j]);
    }
}

static void finish(const hwb__wino_geom *g, const float *s, int64_t slots, int64_t slot_step,
                   int64_t o0, int64_t on, int64_t c0, int64_t c1, const float *more, float *w) {
    int64_t c = g->c, step = c * on + 16;
    square q;
    for (int64_t j = 0; j < on; j += L)
        for (int64_t i0 = c0; i0 < c1; i0 += L) {
            for (int64_t i = 0; i < L; i++)
                gradient_tile(g, s + weight_at(c, on, i0 + i, j), step, slots, slot_step, q.tap[i]);
            for (int64_t l = 0; l < L; l++)
                for (int64_t i = 0; i < L; i++)
                    for (int64_t t = 0; t < 9; t++) {
                        int64_t at = ((o0 + j + l) * c + i0 + i) * 9 + t;
                        w[at] = more ? more[at] + q.tap[i][t][l] : q.tap[i][t][l];
                    }
        }
}

const struct hwb__wino WINO_TABLE = {WINO_NAME, L, weights, forward, gradient, finish};
