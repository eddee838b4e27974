/*
 * cpu_wino_stride_body.h: the transforms of convolutions of stride 2, included by
 * cpu_wino_body.h.  Of an axis, with e the even and o the odd pixels of a tile,
 *
 *   y[i] = sum_t x[2i + t] w[t] = (e[i] w[0] + e[i+1] w[2]) + o[i] w[1]
 *
 * The bracket is F(4,2), a convolution of two weights and stride 1; the rest needs no
 * algorithm.  So nine points do four results, 81 do 4x4 where the direct sum takes 144,
 * and as weights of the last four points of an axis are the same, there are 36 of them.
 * With points c, -c, d, -d, infinity (c, d: lo, hi below) and f = 1/(2cc-2dd), h = -f:
 *
 *   B' = -cdd  -dd   c        1  0     G = f/c   f     A' = as of F(4,3), less its
 *         cdd  -dd  -c        1  0        -f/c   f          first column
 *        -dcc  -cc   d        1  0         h/d   h
 *         dcc  -cc  -d        1  0        -h/d   h
 *         ccdd  0   -cc-dd    0  1         0     1
 *
 * c = 1/2 and d = 3/2 round two thirds as much as the points of F(4,3) here (measured).
 *
 * Backward data turns it round: four adjoints y and one more give eight pixels,
 * x[2i] = y[i] w[1] and x[2i+1] = y[i] w[2] + y[i+1] w[0].
 */

enum { PHASES = 9 }; /* points of an axis: five of F(4,2), four plain */

static const float lo = 0.5f, hi = 1.5f, lo2 = 0.25f, hi2 = 2.25f;

INLINE vec image_last(vec e0, vec e2, vec e4) {
    return (lo2 * hi2) * e0 + (e4 - (lo2 + hi2) * e2);
}

/* The nine points of an axis. */
INLINE void halves(const vec e[5], const vec o[4], float *to, int64_t step) {
    vec v, w;
    image_pair(lo, hi, e[0], e[1], e[2], e[3], &v, &w);
    store(to, v);
    store(to + step, w);
    image_pair(hi, lo, e[0], e[1], e[2], e[3], &v, &w);
    store(to + 2 * step, v);
    store(to + 3 * step, w);
    store(to + 4 * step, image_last(e[0], e[2], e[4]));
    UNROLL for (int j = 0; j < 4; j++) store(to + (5 + j) * step, o[j]);
}

/* The even and odd ones of nine in a row. */
INLINE void down_row(const vec r[9], float *to, int64_t step) {
    const vec e[5] = {r[0], r[2], r[4], r[6], r[8]}, o[4] = {r[1], r[3], r[5], r[7]};
    halves(e, o, to, step);
}

/* 9x9 pixels of an image -> 81 points */
INLINE void down_tile(const pixels *x, int zero, float *to, int64_t step) {
#define X(i)   pixel(x, zero, i, j)
#define ROW(i) (to + (i)*PHASES * step)
    vec r[9], s[9];
    UNROLL for (int j = 0; j < 9; j++) image_pair(lo, hi, X(0), X(2), X(4), X(6), &r[j], &s[j]);
    down_row(r, ROW(0), step);
    down_row(s, ROW(1), step);
    UNROLL for (int j = 0; j < 9; j++) image_pair(hi, lo, X(0), X(2), X(4), X(6), &r[j], &s[j]);
    down_row(r, ROW(2), step);
    down_row(s, ROW(3), step);
    UNROLL for (int j = 0; j < 9; j++) r[j] = image_last(X(0), X(4), X(8));
    down_row(r, ROW(4), step);
    UNROLL for (int i = 0; i < 4; i++) {
        UNROLL for (int j = 0; j < 9; j++) r[j] = X(2 * i + 1);
        down_row(r, ROW(5 + i), step);
    }
}

/* 5x5 adjoints -> 81 points */
INLINE void up_tile(const pixels *x, int zero, float *to, int64_t step) {
    vec r[5], s[5];
    UNROLL for (int j = 0; j < 5; j++) image_pair(lo, hi, X(0), X(1), X(2), X(3), &r[j], &s[j]);
    halves(r, r, ROW(0), step);
    halves(s, s, ROW(1), step);
    UNROLL for (int j = 0; j < 5; j++) image_pair(hi, lo, X(0), X(1), X(2), X(3), &r[j], &s[j]);
    halves(r, r, ROW(2), step);
    halves(s, s, ROW(3), step);
    UNROLL for (int j = 0; j < 5; j++) r[j] = image_last(X(0), X(2), X(4));
    halves(r, r, ROW(4), step);
    UNROLL for (int i = 0; i < 4; i++) {
        UNROLL for (int j = 0; j < 5; j++) r[j] = X(i);
        halves(r, r, ROW(5 + i), step);
    }
#undef X
}

INLINE void adjoint_halves(const vec y[4], float *to, int64_t step) {
    vec v, w;
    adjoint_pair(lo, y[0], y[1], y[2], y[3], &v, &w);
    store(to, v);
    store(to + step, w);
    adjoint_pair(hi, y[0], y[1], y[2], y[3], &v, &w);
    store(to + 2 * step, v);
    store(to + 3 * step, w);
    store(to + 4 * step, y[3]);
    UNROLL for (int j = 0; j < 4; j++) store(to + (5 + j) * step, y[j]);
}

/* 4x4 adjoints -> 81 points of a gradient */
INLINE void adjoint_down_tile(const pixels *x, float *to, int64_t step) {
#define Y(i) pixel(x, -1, i, j)
    vec r[4], s[4];
    UNROLL for (int j = 0; j < 4; j++) adjoint_pair(lo, Y(0), Y(1), Y(2), Y(3), &r[j], &s[j]);
    adjoint_halves(r, ROW(0), step);
    adjoint_halves(s, ROW(1), step);
    UNROLL for (int j = 0; j < 4; j++) adjoint_pair(hi, Y(0), Y(1), Y(2), Y(3), &r[j], &s[j]);
    adjoint_halves(r, ROW(2), step);
    adjoint_halves(s, ROW(3), step);
    UNROLL for (int j = 0; j < 4; j++) r[j] = Y(3);
    adjoint_halves(r, ROW(4), step);
    UNROLL for (int i = 0; i < 4; i++) {
        UNROLL for (int j = 0; j < 4; j++) r[j] = Y(i);
        adjoint_halves(r, ROW(5 + i), step);
    }
#undef Y
#undef ROW
}

/* A' of F(4,2) */
INLINE void result_half(const vec m[5], vec y[4]) {
    vec s = m[0] + m[1], u = m[0] - m[1], t = m[2] + m[3], v = m[2] - m[3];
    y[0] = s + t;
    y[1] = lo * u + hi * v;
    y[2] = lo2 * s + hi2 * t;
    y[3] = (lo * lo2) * u + ((hi * hi2) * v + m[4]);
}

#define M(i, j) load(from + ((i)*PHASES + (j)) * step)

/* Column j of the points, five and four added up. */
INLINE void result_down_column(const float *from, int64_t step, int j, vec y[4]) {
    vec m[5];
    UNROLL for (int i = 0; i < 5; i++) m[i] = M(i, j);
    result_half(m, y);
    UNROLL for (int i = 0; i < 4; i++) y[i] += M(5 + i, j);
}

/* 81 points -> 4x4 results */
INLINE void result_down_tile(const float *from, int64_t step, const place *p, bool whole) {
    vec r[5][4], y[4][4];
    UNROLL for (int j = 0; j < 5; j++) result_down_column(from, step, j, r[j]);
    UNROLL for (int i = 0; i < 4; i++) {
        const vec m[5] = {r[0][i], r[1][i], r[2][i], r[3][i], r[4][i]};
        result_half(m, y[i]);
    }
    UNROLL for (int j = 0; j < 4; j++) {
        vec plain[4];
        result_down_column(from, step, 5 + j, plain);
        UNROLL for (int i = 0; i < 4; i++) give(p, whole, i, j, y[i][j] + plain[i]);
    }
}

/* 81 points -> 8x8 pixels */
INLINE void result_up_tile(const float *from, int64_t step, const place *p, bool whole) {
    vec r[5][4], m[5], y[4];
    UNROLL for (int i = 0; i < 4; i++) {
        UNROLL for (int j = 0; j < 5; j++) m[j] = M(5 + i, j);
        result_half(m, y);
        UNROLL for (int j = 0; j < 4; j++) {
            give(p, whole, 2 * i, 2 * j, M(5 + i, 5 + j));
            give(p, whole, 2 * i, 2 * j + 1, y[j]);
        }
    }
    UNROLL for (int i = 0; i < 5; i++) {
        UNROLL for (int j = 0; j < 5; j++) m[j] = M(i, j);
        result_half(m, r[i]);
    }
    UNROLL for (int j = 0; j < 4; j++) {
        UNROLL for (int i = 0; i < 5; i++) m[i] = M(i, 5 + j);
        result_half(m, y);
        UNROLL for (int i = 0; i < 4; i++) give(p, whole, 2 * i + 1, 2 * j, y[i]);
        UNROLL for (int i = 0; i < 5; i++) m[i] = r[i][j];
        result_half(m, y);
        UNROLL for (int i = 0; i < 4; i++) give(p, whole, 2 * i + 1, 2 * j + 1, y[i]);
    }
}

#undef M

/* The two weights of F(4,2) and the plain one: 3 -> 6 */
INLINE void weight_halves(vec w0, vec w1, vec w2, vec u[6]) {
    const float f = 1 / (2 * lo2 - 2 * hi2), h = 1 / (2 * hi2 - 2 * lo2);
    vec p = f * w2, q = (f / lo) * w0, r = h * w2, s = (h / hi) * w0;
    u[0] = p + q;
    u[1] = p - q;
    u[2] = r + s;
    u[3] = r - s;
    u[4] = w2;
    u[5] = w1;
}

/* Its transpose. */
INLINE void gradient_halves(const vec s[6], vec w[3]) {
    const float f = 1 / (2 * lo2 - 2 * hi2), h = 1 / (2 * hi2 - 2 * lo2);
    w[0] = (f / lo) * (s[0] - s[1]) + (h / hi) * (s[2] - s[3]);
    w[1] = s[5];
    w[2] = f * (s[0] + s[1]) + (h * (s[2] + s[3]) + s[4]);
}
