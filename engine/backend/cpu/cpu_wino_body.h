/*
 * cpu_wino_body.h: the inner parts of Winograd's convolution, included by one
 * file an instruction set after it has chosen the target, WINO_LANES, WINO_ROWS
 * and WINO_TABLE.
 *
 * Vectors run over channels, which lie next to each other; so no data is ever
 * rearranged.  With points 0, a, -a, b, -b, infinity (Lavin & Gray 2015, sec. 4.1;
 * monic polynomials prod (x - q) over the other points in the rows of B'):
 *
 *   B' =  aabb  0     -aa-bb  0      1  0     G = 1/aabb  0     0      f = 2aa(aa-bb)
 *         0    -abb   -bb     a      1  0         1/f     a/f   aa/f   h = 2bb(bb-aa)
 *         0     abb   -bb    -a      1  0         1/f    -a/f   aa/f
 *         0    -baa   -aa     b      1  0         1/h     b/h   bb/h
 *         0     baa   -aa    -b      1  0         1/h    -b/h   bb/h
 *         0     aabb   0     -aa-bb  0  1         0       0     1
 *
 *   A' =  1  1    1    1    1    0
 *         0  a   -a    b   -b    0
 *         0  aa   aa   bb   bb   0
 *         0  aaa -aaa  bbb -bbb  1
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

static const float a = 0.625f, b = 1.5f, aa = 0.390625f, bb = 2.25f;
static const float aaa = 0.244140625f, bbb = 3.375f, aabb = 0.87890625f, sum2 = 2.640625f;

/* ---- one-dimensional transforms -------------------------------------------- */

/* The two rows of B' of points q and -q, as they share their terms, with r the other
 * point: (v, w) = s +- t. */
INLINE void image_pair(float q, float r, vec d1, vec d2, vec d3, vec d4, vec *v, vec *w) {
    vec s = d4 - (r * r) * d2, t = q * d3 - (q * r * r) * d1;
    *v = s + t;
    *w = s - t;
}

INLINE vec image_end(vec d0, vec d2, vec d4) {
    return aabb * d0 + (d4 - sum2 * d2);
}

INLINE void image_row(const vec d[6], float *to, int64_t step) {
    vec v, w;
    store(to, image_end(d[0], d[2], d[4]));
    image_pair(a, b, d[1], d[2], d[3], d[4], &v, &w);
    store(to + step, v);
    store(to + 2 * step, w);
    image_pair(b, a, d[1], d[2], d[3], d[4], &v, &w);
    store(to + 3 * step, v);
    store(to + 4 * step, w);
    store(to + 5 * step, image_end(d[1], d[3], d[5]));
}

/* A' : 6 -> 4 */
INLINE void result_column(const vec m[6], vec y[4]) {
    vec s = m[1] + m[2], d = m[1] - m[2], t = m[3] + m[4], e = m[3] - m[4];
    y[0] = m[0] + (s + t);
    y[1] = a * d + b * e;
    y[2] = aa * s + bb * t;
    y[3] = aaa * d + (bbb * e + m[5]);
}

/* Two rows of A likewise, and a whole row of results of it. */
INLINE void adjoint_pair(float q, vec y0, vec y1, vec y2, vec y3, vec *v, vec *w) {
    vec s = y0 + (q * q) * y2, t = q * y1 + (q * q * q) * y3;
    *v = s + t;
    *w = s - t;
}

INLINE void adjoint_row(const vec y[4], float *to, int64_t step) {
    vec v, w;
    store(to, y[0]);
    adjoint_pair(a, y[0], y[1], y[2], y[3], &v, &w);
    store(to + step, v);
    store(to + 2 * step, w);
    adjoint_pair(b, y[0], y[1], y[2], y[3], &v, &w);
    store(to + 3 * step, v);
    store(to + 4 * step, w);
    store(to + 5 * step, y[3]);
}

/* G : 3 -> 6 */
INLINE void weight_column(vec w0, vec w1, vec w2, vec u[6]) {
    const float f = 1 / (2 * aa * (aa - bb)), h = 1 / (2 * bb * (bb - aa));
    vec p = f * w0 + (f * aa) * w2, q = (f * a) * w1;
    vec r = h * w0 + (h * bb) * w2, s = (h * b) * w1;
    u[0] = (1 / aabb) * w0;
    u[1] = p + q;
    u[2] = p - q;
    u[3] = r + s;
    u[4] = r - s;
    u[5] = w2;
}

/* G' : 6 -> 3 */
INLINE void gradient_column(const vec s[6], vec w[3]) {
    const float f = 1 / (2 * aa * (aa - bb)), h = 1 / (2 * bb * (bb - aa));
    vec p = f * (s[1] + s[2]), r = h * (s[3] + s[4]);
    w[0] = (1 / aabb) * s[0] + (p + r);
    w[1] = (f * a) * (s[1] - s[2]) + (h * b) * (s[3] - s[4]);
    w[2] = aa * p + (bb * r + s[5]);
}

/* ---- tiles ----------------------------------------------------------------- */

typedef struct tile {
    int64_t image, row, col; /* among the tiles of the image */
} tile;

INLINE tile tile_at(const hwb__wino_geom *g, int64_t t) {
    int64_t in_image = g->rows * g->cols, r = t % in_image;
    return (tile){t / in_image, r / g->cols, r % g->cols};
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

/* B' x B of one vector of channels, x[i,j] at from + i * down + j * right. */
INLINE void image_tile(const float *from, int64_t down, int64_t right, float *to, int64_t step) {
#define X(i) load(from + (i)*down + j * right)
    vec r[6], s[6];
    UNROLL for (int j = 0; j < 6; j++) {
        vec d2 = X(2), d3 = X(3);
        r[j] = image_end(X(0), d2, X(4));
        s[j] = image_end(X(1), d3, X(5));
    }
    image_row(r, to, step);
    image_row(s, to + 30 * step, step);
    UNROLL for (int j = 0; j < 6; j++) image_pair(a, b, X(1), X(2), X(3), X(4), &r[j], &s[j]);
    image_row(r, to + 6 * step, step);
    image_row(s, to + 12 * step, step);
    UNROLL for (int j = 0; j < 6; j++) image_pair(b, a, X(1), X(2), X(3), X(4), &r[j], &s[j]);
    image_row(r, to + 18 * step, step);
    image_row(s, to + 24 * step, step);
#undef X
}

/* A y A' of one vector of channels: two rows at a time, so that all stays in registers */
INLINE void adjoint_tile(const float *from, int64_t down, int64_t right, float *to, int64_t step) {
#define Y(i) load(from + (i)*down + j * right)
    vec r[4], s[4];
    UNROLL for (int j = 0; j < 4; j++) r[j] = Y(0);
    adjoint_row(r, to, step);
    UNROLL for (int j = 0; j < 4; j++) adjoint_pair(a, Y(0), Y(1), Y(2), Y(3), &r[j], &s[j]);
    adjoint_row(r, to + 6 * step, step);
    adjoint_row(s, to + 12 * step, step);
    UNROLL for (int j = 0; j < 4; j++) adjoint_pair(b, Y(0), Y(1), Y(2), Y(3), &r[j], &s[j]);
    adjoint_row(r, to + 18 * step, step);
    adjoint_row(s, to + 24 * step, step);
    UNROLL for (int j = 0; j < 4; j++) r[j] = Y(3);
    adjoint_row(r, to + 30 * step, step);
#undef Y
}

/* Where results of a tile go, a vector each: those of the first `high` rows and `wide`
 * columns, or all. */
typedef struct place {
    float *out;
    const float *more;   /* what is added, or NULL */
    int64_t right, down; /* from one pixel to the next, in out */
    int64_t more_right, more_down;
    int64_t high, wide;
} place;

INLINE void give(const place *p, bool whole, int i, int j, vec y) {
    if (!whole && (i >= p->high || j >= p->wide)) return;
    const float *more = p->more + i * p->more_down + j * p->more_right;
    store(p->out + i * p->down + j * p->right, p->more ? load(more) + y : y);
}

/* A' m A of one vector of channels */
INLINE void result_tile(const float *from, int64_t step, const place *p, bool whole) {
    vec r[6][4], y[4];
    UNROLL for (int j = 0; j < 6; j++) {
        vec m[6];
        UNROLL for (int i = 0; i < 6; i++) m[i] = load(from + (6 * i + j) * step);
        result_column(m, r[j]);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        vec m[6];
        UNROLL for (int j = 0; j < 6; j++) m[j] = r[j][i];
        result_column(m, y);
        UNROLL for (int j = 0; j < 4; j++) give(p, whole, i, j, y[j]);
    }
}

#include "backend/cpu/cpu_wino_stride_body.h"

/* ---- blocks of tiles --------------------------------------------------------- */

/* One vector of channels of a tile of images (adjoint: of adjoints of a gradient). */
INLINE void transform(hwb__wino_kind kind, bool adjoint, const float *from, int64_t down,
                      int64_t right, float *to, int64_t step) {
    if (adjoint && kind == WINO_PLAIN) adjoint_tile(from, down, right, to, step);
    else if (adjoint) adjoint_down_tile(from, down, right, to, step);
    else if (kind == WINO_PLAIN) image_tile(from, down, right, to, step);
    else if (kind == WINO_DOWN) down_tile(from, down, right, to, step);
    else up_tile(from, down, right, to, step);
}

/* Images [h,w,all] as tiles of size x size pixels, `step` apart. */
typedef struct source {
    const float *image;
    int64_t h, w, all, size, step, top, left;
} source;

/* to[points][block,c] of c channels of `count` tiles from the first; kind, adjoint: constants */
INLINE void transform_block(const hwb__wino_geom *g, hwb__wino_kind kind, bool adjoint,
                            const source *s, int64_t first, int64_t count, int64_t c, float *to) {
    int64_t step = g->block * c + 16;
    const int size = kind == WINO_DOWN && !adjoint ? 9 : adjoint ? 4 : kind == WINO_UP ? 5 : 6;
    float edge[81 * WINO_LANES] __attribute__((aligned(64)));
    for (int64_t t = 0; t < count; t++) {
        tile p = tile_at(g, first + t);
        const float *image = s->image + p.image * s->h * s->w * s->all;
        int64_t row = p.row * s->step - s->top, col = p.col * s->step - s->left;
        bool inside = row >= 0 && col >= 0 && row + size <= s->h && col + size <= s->w;
        for (int64_t k = 0; k < c; k += L) {
            float *points = to + t * c + k;
            if (inside) {
                const float *from = image + (row * s->w + col) * s->all + k;
                transform(kind, adjoint, from, s->w * s->all, s->all, points, step);
                continue;
            }
            cut(image + k, s->h, s->w, s->all, row, col, size, edge);
            transform(kind, adjoint, edge, size * L, L, points, step);
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
    for (int64_t t = 0; t < count; t++) {
        tile p = tile_at(g, first + t);
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
