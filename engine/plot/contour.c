/*
 * Level lines by marching squares.
 *
 * Grid corners at or above the level are "in".  Each cell joins the crossing
 * points on its edges; a saddle (two opposite corners in) is decided by the
 * mean of the four.  A crossing belongs to one grid edge and so to at most two
 * cells, which makes the points a graph of degree <= 2: chains are followed
 * from their loose ends first, what remains is closed loops.
 *
 *      edge ids:  horizontal (r,c)-(r,c+1)  ->  r*cols + c
 *                 vertical   (r,c)-(r+1,c)  ->  rows*cols + r*cols + c
 *
 * Cells with a value that is not finite are left out.
 */
#include "plot/plot_i.h"

#include <math.h>

typedef struct field {
    int64_t rows, cols;
    const double *x, *y, *z;
    double level;
    int64_t (*link)[2]; /* [2*rows*cols] neighbours of an edge's crossing + 1; 0 = none */
} field;

static double z_at(const field *f, int64_t r, int64_t c) {
    return f->z[r * f->cols + c];
}

static void join(field *f, int64_t a, int64_t b) {
    f->link[a][f->link[a][0] != 0] = b + 1;
    f->link[b][f->link[b][0] != 0] = a + 1;
}

static void march(field *f, int64_t r, int64_t c) {
    double z00 = z_at(f, r, c), z01 = z_at(f, r, c + 1);
    double z10 = z_at(f, r + 1, c), z11 = z_at(f, r + 1, c + 1);
    double mean = (z00 + z01 + z10 + z11) / 4;
    if (!isfinite(mean)) return;
    int64_t bottom = r * f->cols + c, top = bottom + f->cols;
    int64_t left = f->rows * f->cols + bottom, right = left + 1;
    double v = f->level;
    int in = (z00 >= v) | (z01 >= v) << 1 | (z11 >= v) << 2 | (z10 >= v) << 3;
    bool centre = mean >= v;
    switch (in) {
    case 1:
    case 14: join(f, left, bottom); break;
    case 2:
    case 13: join(f, bottom, right); break;
    case 4:
    case 11: join(f, right, top); break;
    case 8:
    case 7: join(f, top, left); break;
    case 3:
    case 12: join(f, left, right); break;
    case 6:
    case 9: join(f, bottom, top); break;
    case 5:  /* (0,0) and (1,1) in: joined through the centre or apart */
    case 10: /* the other two */
        if ((in == 5) == centre) {
            join(f, left, top);
            join(f, bottom, right);
        } else {
            join(f, left, bottom);
            join(f, right, top);
        }
        break;
    default: break;
    }
}

/* Where the level crosses edge e. */
static void crossing(const field *f, int64_t e, double *x, double *y) {
    int64_t cells = f->rows * f->cols, at = e % cells, r = at / f->cols, c = at % f->cols;
    bool vertical = e >= cells;
    double a = f->z[at], b = f->z[vertical ? at + f->cols : at + 1];
    double t = (f->level - a) / (b - a);
    *x = vertical ? f->x[c] : f->x[c] + t * (f->x[c + 1] - f->x[c]);
    *y = vertical ? f->y[r] + t * (f->y[r + 1] - f->y[r]) : f->y[r];
}

/* A crossing joined to e, or -1; the link is removed, so no line is followed twice. */
static int64_t step(field *f, int64_t e) {
    int k = f->link[e][0] != 0 ? 0 : 1;
    int64_t next = f->link[e][k] - 1;
    if (next < 0) return -1;
    f->link[e][k] = 0;
    f->link[next][f->link[next][0] == e + 1 ? 0 : 1] = 0;
    return next;
}

static hwb_status follow(hwb_ctx *ctx, hwb__plot_arena *a, field *f, int64_t start,
                         int64_t *scratch, hwb__polyline **out) {
    int64_t n = 0;
    for (int64_t e = start; e >= 0; e = step(f, e)) scratch[n++] = e;
    hwb__polyline *p = hwb__plot_get(ctx, a, sizeof *p);
    if (!p || !(p->x = hwb__plot_array(ctx, a, n, sizeof(double))) ||
        !(p->y = hwb__plot_array(ctx, a, n, sizeof(double))))
        return HWB_ENOMEM;
    p->n = n;
    p->closed = n > 2 && scratch[0] == scratch[n - 1];
    for (int64_t i = 0; i < n; i++) crossing(f, scratch[i], &p->x[i], &p->y[i]);
    p->next = *out;
    *out = p;
    return HWB_OK;
}

hwb_status hwb__plot_contour_lines(hwb_ctx *ctx, hwb__plot_arena *a, hwb__polyline **out,
                                   int64_t rows, int64_t cols, const double *x, const double *y,
                                   const double *z, double level) {
    *out = NULL;
    if (rows < 2 || cols < 2 || !isfinite(level)) return HWB_OK;
    int64_t edges = 2 * rows * cols;
    field f = {rows, cols, x, y, z, level, NULL};
    hwb_status status = HWB_OK;
    f.link = hwb_calloc(ctx, (size_t)edges * sizeof *f.link);
    int64_t *scratch = hwb_alloc(ctx, (size_t)(edges + 1) * sizeof *scratch);
    if (!f.link || !scratch) status = HWB_ENOMEM;
    for (int64_t r = 0; status == HWB_OK && r + 1 < rows; r++)
        for (int64_t c = 0; c + 1 < cols; c++) march(&f, r, c);
    for (int pass = 0; pass < 2; pass++) /* loose ends, then loops */
        for (int64_t e = 0; status == HWB_OK && e < edges; e++)
            if (f.link[e][0] && (pass == 1 || !f.link[e][1]))
                status = follow(ctx, a, &f, e, scratch, out);
    hwb_free(f.link);
    hwb_free(scratch);
    return status;
}

/* 1, 2, 5 of each decade between lo and hi; denser or sparser to give 5-14. */
static int64_t log_levels(double lo, double hi, double *out, int64_t cap) {
    static const double sets[3][6] = {{1, 1.5, 2, 3, 5, 7}, {1, 2, 5}, {1}};
    static const int count[3] = {6, 3, 1};
    int64_t n = 0;
    for (int k = 0; k < 3; k++) {
        n = 0;
        for (double d = floor(log10(lo)); d <= log10(hi) && n < cap; d++)
            for (int i = 0; i < count[k] && n < cap; i++) {
                double v = sets[k][i] * pow(10, d);
                if (v > lo && v < hi) out[n++] = v;
            }
        if (n <= 14) break;
    }
    return n;
}

hwb_status hwb__plot_levels(hwb_ctx *ctx, hwb__plot_arena *a, const hwb__series *s, int64_t *n,
                            const double **levels) {
    enum { CAP = 1024 };
    if (s->levels) {
        *n = s->level_count;
        *levels = s->levels;
        return HWB_OK;
    }
    double *v = hwb__plot_array(ctx, a, CAP, sizeof *v), lo, hi;
    if (!v) return HWB_ENOMEM;
    hwb__plot_zrange(s, &lo, &hi);
    *n = 0;
    if (s->zlog) *n = log_levels(lo, hi, v, CAP);
    else {
        double gap = hwb__plot_step(hi - lo, s->level_count ? (int)s->level_count : 14);
        for (double i = ceil(lo / gap + 1e-9); i * gap < hi && *n < CAP; i++) v[(*n)++] = i * gap;
    }
    *levels = v;
    return HWB_OK;
}
