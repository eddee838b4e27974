/*
 * cpu_wino_tile_body.h: the transforms of convolutions of stride 1, of an axis and of a
 * tile, included by cpu_wino_body.h.
 *
 * With points 0, a, -a, b, -b, infinity (Lavin & Gray 2015, sec. 4.1;
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

/* One vector of channels of the pixels of a tile: rows begin anywhere, columns are `right`
 * apart; column `zero` (a constant; -1: none) is outside, and rows begin behind it if it is 0. */
typedef struct pixels {
    const float *row[9];
    int64_t right;
} pixels;

INLINE vec pixel(const pixels *x, int zero, int i, int j) {
    return j == zero ? (vec){0} : load(x->row[i] + (j - (zero == 0)) * x->right);
}

/* B' x B */
INLINE void image_tile(const pixels *x, int zero, float *to, int64_t step) {
#define X(i) pixel(x, zero, i, j)
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
INLINE void adjoint_tile(const pixels *x, float *to, int64_t step) {
#define Y(i) pixel(x, -1, i, j)
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
