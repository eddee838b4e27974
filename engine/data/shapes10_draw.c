/*
 * shapes10_draw.c: draws a scene: the ground, the items over it back to front
 * (edges smoothed by 3x3 samples a pixel), light, noise, 8 bits.
 */
#include "data/shapes10_i.h"

#include <math.h>

enum { SIDE = HWB__SHAPES_SIDE, LATTICE = HWB__SHAPES_LATTICE, SUB = 3 };

/* ---- shapes ------------------------------------------------------------------------ */

/* How many of the half planes p·n_k <= apothem of a regular polygon hold. */
static int half_planes(const double (*normal)[2], int n, double apothem, double u, double v) {
    int held = 0;
    for (int k = 0; k < n; k++) held += u * normal[k][0] + v * normal[k][1] <= apothem;
    return held;
}

static const double normals3[3][2] = {
    {0, 1}, {0.86602540378443865, -0.5}, {-0.86602540378443865, -0.5}};
static const double normals5[5][2] = {{0, 1},
                                      {0.95105651629515357, 0.30901699437494742},
                                      {0.58778525229247313, -0.80901699437494742},
                                      {-0.58778525229247313, -0.80901699437494742},
                                      {-0.95105651629515357, 0.30901699437494742}};
static const double normals6[6][2] = {
    {0, 1},  {0.86602540378443865, 0.5},   {0.86602540378443865, -0.5},
    {0, -1}, {-0.86602540378443865, -0.5}, {-0.86602540378443865, 0.5}};

static double magnitude(double x) {
    return x < 0 ? -x : x;
}

/* Is (u,v), in the shape's own coordinates, inside?  Shapes reach to about 1. */
static bool inside(hwb__shape_kind kind, double u, double v) {
    double r2 = u * u + v * v, au = magnitude(u), av = magnitude(v);
    switch (kind) {
    case HWB__SHAPE_DISC: return r2 < 0.72;
    case HWB__SHAPE_RING: return r2 < 0.78 && r2 > 0.25;
    case HWB__SHAPE_SQUARE: return au < 0.75 && av < 0.75;
    case HWB__SHAPE_TRIANGLE: return half_planes(normals3, 3, 0.5, u, v) == 3;
    case HWB__SHAPE_HEXAGON: return half_planes(normals6, 6, 0.78, u, v) == 6;
    /* A point of a pentagram is outside at most one side of its pentagon. */
    case HWB__SHAPE_STAR: return half_planes(normals5, 5, 0.33, u, v) >= 4;
    case HWB__SHAPE_CROSS: return (au < 0.27 && av < 0.9) || (av < 0.27 && au < 0.9);
    case HWB__SHAPE_CRESCENT: {
        double w = u - 0.42;
        return r2 < 0.8 && w * w + v * v > 0.45;
    }
    case HWB__SHAPE_ARROW: /* points to +u */
        return (u > 0 && u < 0.9 && av < 0.9 - u) || (u <= 0 && u > -0.85 && av < 0.26);
    case HWB__SHAPE_BARS: /* three of them */
        return au < 0.8 && (av < 0.16 || (av > 0.48 && av < 0.8));
    default: return av < 0.5; /* a strip without ends */
    }
}

/* The part of the pixel centred at (x,y) that the item covers, 0 to 1. */
static double coverage(const hwb__item *item, double x, double y) {
    double reach = 1.3 * (item->su > item->sv ? item->su : item->sv);
    double dx = x - item->cx, dy = y - item->cy;
    if (item->kind != HWB__SHAPE_STRIP && dx * dx + dy * dy > reach * reach + 0.05) return 0;
    int hits = 0;
    for (int j = 0; j < SUB; j++) {
        for (int i = 0; i < SUB; i++) {
            double px = dx + (2.0 * i / SUB - 2.0 / 3) / SIDE;
            double py = dy + (2.0 * j / SUB - 2.0 / 3) / SIDE;
            double u = (px * item->c + py * item->s) / item->su;
            double v = (py * item->c - px * item->s) / item->sv;
            hits += inside(item->kind, u, v);
        }
    }
    return (double)hits / (SUB * SUB);
}

/* ---- textures ------------------------------------------------------------------------- */

static double fraction(double x) {
    return x - floor(x);
}

/* Bilinear between random values on a grid. */
static double lattice_at(const hwb__texture *t, double x, double y) {
    double gx = (x + 1) * 0.5 * (LATTICE - 1), gy = (y + 1) * 0.5 * (LATTICE - 1);
    int i = gx < 0 ? 0 : gx >= LATTICE - 1 ? LATTICE - 2 : (int)gx;
    int j = gy < 0 ? 0 : gy >= LATTICE - 1 ? LATTICE - 2 : (int)gy;
    double fx = gx - i, fy = gy - j;
    const double *p = t->lattice + j * LATTICE + i;
    double top = p[0] + (p[1] - p[0]) * fx;
    double bottom = p[LATTICE] + (p[LATTICE + 1] - p[LATTICE]) * fx;
    return top + (bottom - top) * fy;
}

static double pattern(const hwb__texture *t, double x, double y) {
    double along = (x * t->dx + y * t->dy) * t->frequency + t->phase;
    double across = (y * t->dx - x * t->dy) * t->frequency + t->phase;
    switch (t->kind) {
    case HWB__TEXTURE_GRADIENT: {
        double g = 0.5 + 0.5 * (x * t->dx + y * t->dy);
        return g < 0 ? 0 : g > 1 ? 1 : g;
    }
    case HWB__TEXTURE_STRIPES: return fraction(along) < 0.5;
    case HWB__TEXTURE_CHECKER: return (fraction(along) < 0.5) != (fraction(across) < 0.5);
    case HWB__TEXTURE_DOTS: {
        double u = fraction(along) - 0.5, v = fraction(across) - 0.5;
        return u * u + v * v < 0.1;
    }
    case HWB__TEXTURE_NOISE: return lattice_at(t, x, y);
    default: return 0;
    }
}

static void blend(double rgb[3], const hwb__texture *t, double x, double y, double amount) {
    double mix = pattern(t, x, y);
    for (int c = 0; c < 3; c++) {
        double colour = t->a[c] + (t->b[c] - t->a[c]) * mix;
        rgb[c] += (colour - rgb[c]) * amount;
    }
}

/* ---- pixels ------------------------------------------------------------------------------ */

/* Nearly normal, mean 0, variance 1: the sum of the four bytes of a word. */
static double bell(uint32_t word) {
    int sum =
        (int)(word & 255) + (int)(word >> 8 & 255) + (int)(word >> 16 & 255) + (int)(word >> 24);
    return ((double)sum - 510) / 147.80054;
}

void hwb__scene_draw(const hwb__scene *scene, uint8_t *pixels) {
    for (int row = 0; row < SIDE; row++) {
        for (int column = 0; column < SIDE; column++) {
            double x = (2.0 * column + 1) / SIDE - 1, y = (2.0 * row + 1) / SIDE - 1;
            double rgb[3] = {0};
            blend(rgb, &scene->ground, x, y, 1);
            for (int i = 0; i < scene->items; i++) {
                double amount = coverage(&scene->item[i], x, y);
                if (amount > 0) blend(rgb, &scene->item[i].fill, x, y, amount);
            }
            uint32_t word[4];
            int at = row * SIDE + column;
            hwb_philox(scene->rng, (uint64_t)at, word);
            double light = 1 + scene->light * (x * scene->light_x + y * scene->light_y);
            for (int c = 0; c < 3; c++) {
                double v = 255 * (rgb[c] * light + scene->noise * bell(word[c])) + 0.5;
                pixels[c * SIDE * SIDE + at] = v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v;
            }
        }
    }
}
