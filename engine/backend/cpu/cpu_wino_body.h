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
static const float abb = 1.40625f, baa = 0.5859375f;

/* ---- one-dimensional transforms -------------------------------------------- */

/* Two rows of B' at a time, as they share their terms: (v, w) = p +- q. */
INLINE void image_a(vec d1, vec d2, vec d3, vec d4, vec *v, vec *w) {
    vec p = d4 - bb * d2, q = a * d3 - abb * d1;
    *v = p + q;
    *w = p - q;
}

INLINE void image_b(vec d1, vec d2, vec d3, vec d4, vec *v, vec *w) {
    vec p = d4 - aa * d2, q = b * d3 - baa * d1;
    *v = p + q;
    *w = p - q;
}

INLINE vec image_end(vec d0, vec d2, vec d4) {
    return aabb * d0 + (d4 - sum2 * d2);
}

INLINE void image_row(const vec d[6], float *to, int64_t step) {
    vec v, w;
    store(to, image_end(d[0], d[2], d[4]));
    image_a(d[1], d[2], d[3], d[4], &v, &w);
    store(to + step, v);
    store(to + 2 * step, w);
    image_b(d[1], d[2], d[3], d[4], &v, &w);
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
INLINE void adjoint_a(vec y0, vec y1, vec y2, vec y3, vec *v, vec *w) {
    vec p = y0 + aa * y2, q = a * y1 + aaa * y3;
    *v = p + q;
    *w = p - q;
}

INLINE void adjoint_b(vec y0, vec y1, vec y2, vec y3, vec *v, vec *w) {
    vec p = y0 + bb * y2, q = b * y1 + bbb * y3;
    *v = p + q;
    *w = p - q;
}

INLINE void adjoint_row(const vec y[4], float *to, int64_t step) {
    vec v, w;
    store(to, y[0]);
    adjoint_a(y[0], y[1], y[2], y[3], &v, &w);
    store(to + step, v);
    store(to + 2 * step, w);
    adjoint_b(y[0], y[1], y[2], y[3], &v, &w);
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

/* A tile of an image [h,w,c] whose corner may lie outside. */
typedef struct tile {
    int64_t image, row, col;
} tile;

INLINE tile tile_at(const hwb__wino_geom *g, int64_t t) {
    int64_t in_image = g->rows * g->cols, r = t % in_image;
    return (tile){t / in_image, 4 * (r / g->cols), 4 * (r % g->cols)};
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
    UNROLL for (int j = 0; j < 6; j++) image_a(X(1), X(2), X(3), X(4), &r[j], &s[j]);
    image_row(r, to + 6 * step, step);
    image_row(s, to + 12 * step, step);
    UNROLL for (int j = 0; j < 6; j++) image_b(X(1), X(2), X(3), X(4), &r[j], &s[j]);
    image_row(r, to + 18 * step, step);
    image_row(s, to + 24 * step, step);
#undef X
}

/* v[36][block,c] of `count` tiles from the first */
static void image_block(const hwb__wino_geom *g, const float *in, int64_t first, int64_t count,
                        float *v) {
    int64_t c = g->c, step = g->block * c + 16;
    float edge[36 * WINO_LANES] __attribute__((aligned(64)));
    for (int64_t t = 0; t < count; t++) {
        tile p = tile_at(g, first + t);
        const float *image = in + p.image * g->h * g->w * c;
        int64_t row = p.row - g->top, col = p.col - g->left;
        bool inside = row >= 0 && col >= 0 && row + 6 <= g->h && col + 6 <= g->w;
        for (int64_t k = 0; k < c; k += L) {
            if (inside) {
                image_tile(image + (row * g->w + col) * c + k, g->w * c, c, v + t * c + k, step);
                continue;
            }
            cut(image + k, g->h, g->w, c, row, col, 6, edge);
            image_tile(edge, 6 * L, L, v + t * c + k, step);
        }
    }
}

/* A y A' of one vector of channels: two rows at a time, so that all stays in registers */
INLINE void adjoint_tile(const float *from, int64_t down, int64_t right, float *to, int64_t step) {
#define Y(i) load(from + (i)*down + j * right)
    vec r[4], s[4];
    UNROLL for (int j = 0; j < 4; j++) r[j] = Y(0);
    adjoint_row(r, to, step);
    UNROLL for (int j = 0; j < 4; j++) adjoint_a(Y(0), Y(1), Y(2), Y(3), &r[j], &s[j]);
    adjoint_row(r, to + 6 * step, step);
    adjoint_row(s, to + 12 * step, step);
    UNROLL for (int j = 0; j < 4; j++) adjoint_b(Y(0), Y(1), Y(2), Y(3), &r[j], &s[j]);
    adjoint_row(r, to + 18 * step, step);
    adjoint_row(s, to + 24 * step, step);
    UNROLL for (int j = 0; j < 4; j++) r[j] = Y(3);
    adjoint_row(r, to + 30 * step, step);
#undef Y
}

/* z[36][block,on] of outputs o0.. */
static void adjoint_block(const hwb__wino_geom *g, const float *out, int64_t first, int64_t count,
                          int64_t o0, int64_t on, float *z) {
    int64_t step = g->block * on + 16, o = g->o;
    float edge[16 * WINO_LANES] __attribute__((aligned(64)));
    for (int64_t t = 0; t < count; t++) {
        tile p = tile_at(g, first + t);
        const float *image = out + p.image * g->oh * g->ow * o + o0;
        bool inside = p.row + 4 <= g->oh && p.col + 4 <= g->ow;
        for (int64_t k = 0; k < on; k += L) {
            if (inside) {
                adjoint_tile(image + (p.row * g->ow + p.col) * o + k, g->ow * o, o, z + t * on + k,
                             step);
                continue;
            }
            cut(image + k, g->oh, g->ow, o, p.row, p.col, 4, edge);
            adjoint_tile(edge, 4 * L, L, z + t * on + k, step);
        }
    }
}

/* A' m A of one vector of channels, as rows of results */
INLINE void result_tile(const float *from, int64_t step, vec y[4][4]) {
    vec r[6][4];
    UNROLL for (int j = 0; j < 6; j++) {
        vec m[6];
        UNROLL for (int i = 0; i < 6; i++) m[i] = load(from + (6 * i + j) * step);
        result_column(m, r[j]);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        vec m[6];
        UNROLL for (int j = 0; j < 6; j++) m[j] = r[j][i];
        result_column(m, y[i]);
    }
}

/* results of outputs o0.. of `count` tiles = A' m A (+ more) */
static void result_block(const hwb__wino_geom *g, const float *m, const hwb__wino_result *r,
                         int64_t first, int64_t count, int64_t o0, int64_t on) {
    int64_t step = g->block * on + 16, o = g->o, n = r->width;
    for (int64_t t = 0; t < count; t++) {
        tile p = tile_at(g, first + t);
        int64_t pixel = (p.image * g->oh + p.row) * g->ow + p.col;
        float *out = r->out + (pixel - r->pixel) * n;
        const float *more = r->more ? r->more + pixel * o + o0 : NULL;
        int64_t high = g->oh - p.row < 4 ? g->oh - p.row : 4;
        int64_t wide = g->ow - p.col < 4 ? g->ow - p.col : 4;
        for (int64_t k = 0; k < on; k += L) {
            vec y[4][4];
            result_tile(m + t * on + k, step, y);
            if (high == 4 && wide == 4) {
                UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < 4; j++) {
                    int64_t q = i * g->ow + j;
                    store(out + q * n + k, more ? load(more + q * o + k) + y[i][j] : y[i][j]);
                }
                continue;
            }
            for (int64_t i = 0; i < high; i++)
                for (int64_t j = 0; j < wide; j++) {
                    int64_t q = i * g->ow + j;
                    store(out + q * n + k, more ? load(more + q * o + k) + y[i][j] : y[i][j]);
                }
        }
    }
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

/* Memory that is wanted soon: brought into the second-level cache in 36 portions
 * while the processor multiplies, as it does not foresee these patterns itself. */
typedef struct soon {
    const char *from;
    int64_t lines;
} soon;

/* Rows row..row+high-1 of `count` tiles from the first, of images [h,w,c]. */
INLINE soon rows_soon(const hwb__wino_geom *g, const float *image, int64_t h, int64_t w, int64_t c,
                      int64_t first, int64_t count, int64_t row, int64_t high) {
    int64_t left = hwb__wino_tiles(g) - first;
    if (count > left) count = left;
    if (!image || count <= 0) return (soon){NULL, 0};
    tile p = tile_at(g, first), q = tile_at(g, first + count - 1);
    int64_t from = p.row + row < 0 ? 0 : p.row + row, to = q.row + row + high;
    from = (p.image * h + from) * w * c;
    to = (q.image * h + (to < h ? to : h)) * w * c;
    return (soon){(const char *)(image + from), (to - from) / 16};
}

INLINE void bring(const soon *r, int64_t portion) {
    int64_t end = r->lines * (portion + 1) / WINO_POINTS;
    for (int64_t i = r->lines * portion / WINO_POINTS; i < end; i++)
        __builtin_prefetch(r->from + 64 * i, 0, 2);
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
    soon wanted[4] = {rows_soon(g, to->more, g->oh, g->ow, g->o, first, count, 0, 4),
                      rows_soon(g, to->bring || in_place ? NULL : to->out, g->oh, g->ow, g->o,
                                first, count, 0, 4)};
    for (int i = 0; i < f.n; i++) {
        float *vi = v + i * hwb__wino_block(g, c);
        f.x[i] = vi;
        f.y[i] = job->u[i];
        if (job->in[i]) image_block(g, job->in[i], first, count, vi);
        wanted[2 + i] =
            rows_soon(g, job->next[i], g->h, g->w, c, job->next_first, count, -g->top, 6);
    }
    for (int64_t q = 0; q < WINO_POINTS; q++) {
        for (int i = 0; i < 2 + f.n; i++) bring(&wanted[i], q);
        if (to->bring) to->bring(to->job, q);
        for (int64_t j = 0; j < on; j += PANEL) {
            int64_t u_at = q * (c * on + 16) + j * c;
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
        wanted[i] =
            rows_soon(g, job->next_in[i], g->h, g->w, c, job->next_first, count, -g->top, 6);
        wanted[f.n + i] =
            rows_soon(g, job->next_out[i], g->oh, g->ow, g->o, job->next_first, count, 0, 4);
    }
    for (int64_t q = 0; q < WINO_POINTS; q++) {
        for (int i = 0; i < 2 * f.n; i++) bring(&wanted[i], q);
        for (int64_t j = 0; j < on; j += PANEL)
            for (int64_t i = 0; i < c; i += WINO_ROWS) {
                int64_t x_at = q * v_step + i, y_at = q * z_step + j;
                float *panel = s + q * s_step + j * c;
                if (on - j > L)
                    product(WINO_ROWS, 2, count, &f, x_at, 1, c, y_at, on, panel + i * PANEL, PANEL,
                            add);
                else product(WINO_ROWS, 1, count, &f, x_at, 1, c, y_at, on, panel + i * L, L, add);
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
                weight_column(load(tap[k]), load(tap[3 + k]), load(tap[6 + k]), r[k]);
            float *to = u + weight_at(c, on, i, j);
            UNROLL for (int k = 0; k < 6; k++) {
                vec x[6];
                weight_column(r[0][k], r[1][k], r[2][k], x);
                UNROLL for (int p = 0; p < 6; p++) store(to + (6 * k + p) * step, x[p]);
            }
        }
}

/* G' s G of one vector of outputs, s summed over the slots */
INLINE void gradient_tile(const float *s, int64_t step, int64_t slots, int64_t slot_step,
                          float tap[9][WINO_LANES]) {
    vec r[6][3];
    for (int j = 0; j < 6; j++) {
        vec x[6];
        UNROLL for (int i = 0; i < 6; i++) {
            x[i] = load(s + (6 * i + j) * step);
            for (int64_t k = 1; k < slots; k++)
                x[i] += load(s + k * slot_step + (6 * i + j) * step);
        }
        gradient_column(x, r[j]);
    }
    UNROLL for (int i = 0; i < 3; i++) {
        vec x[6], y[3];
        UNROLL for (int j = 0; j < 6; j++) x[j] = r[j][i];
        gradient_column(x, y);
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
                gradient_tile(s + weight_at(c, on, i0 + i, j), step, slots, slot_step, q.tap[i]);
            for (int64_t l = 0; l < L; l++)
                for (int64_t i = 0; i < L; i++)
                    for (int64_t t = 0; t < 9; t++) {
                        int64_t at = ((o0 + j + l) * c + i0 + i) * 9 + t;
                        w[at] = more ? more[at] + q.tap[i][t][l] : q.tap[i][t][l];
                    }
        }
}

const struct hwb__wino WINO_TABLE = {WINO_NAME, L, weights, forward, gradient, finish};
