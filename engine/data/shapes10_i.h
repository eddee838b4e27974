/*
 * shapes10_i.h: the scene that a sample of shapes10 is drawn from.
 *
 * Coordinates run from -1 to 1 across the picture, y down.  Everything is
 * computed with + - * / and sqrt in double, which IEEE 754 fixes to the bit
 * (no sin, no exp; built with -ffp-contract=off), so that the pictures are the
 * same on every machine.
 */
#ifndef HWB_DATA_SHAPES10_I_H
#define HWB_DATA_SHAPES10_I_H

#include "base/base.h"

enum { HWB__SHAPES_SIDE = 32, HWB__SHAPES_ITEMS = 8, HWB__SHAPES_LATTICE = 6 };

/* The classes, in label order, and one more that only hides things. */
typedef enum hwb__shape_kind {
    HWB__SHAPE_DISC,
    HWB__SHAPE_RING,
    HWB__SHAPE_SQUARE,
    HWB__SHAPE_TRIANGLE,
    HWB__SHAPE_HEXAGON,
    HWB__SHAPE_STAR,
    HWB__SHAPE_CROSS,
    HWB__SHAPE_CRESCENT,
    HWB__SHAPE_ARROW,
    HWB__SHAPE_BARS,
    HWB__SHAPE_CLASSES,
    HWB__SHAPE_STRIP = HWB__SHAPE_CLASSES,
} hwb__shape_kind;

typedef enum hwb__texture_kind {
    HWB__TEXTURE_PLAIN,
    HWB__TEXTURE_GRADIENT,
    HWB__TEXTURE_STRIPES,
    HWB__TEXTURE_CHECKER,
    HWB__TEXTURE_DOTS,
    HWB__TEXTURE_NOISE,
    HWB__TEXTURE_KINDS,
} hwb__texture_kind;

/* A mix of two colours by a pattern. */
typedef struct hwb__texture {
    hwb__texture_kind kind;
    double a[3], b[3];
    double dx, dy; /* unit direction */
    double frequency, phase;
    double lattice[HWB__SHAPES_LATTICE * HWB__SHAPES_LATTICE];
} hwb__texture;

/* A shape at (cx, cy), turned by the unit vector (c, s), half-axes su and sv. */
typedef struct hwb__item {
    hwb__shape_kind kind;
    double cx, cy, c, s, su, sv;
    hwb__texture fill;
} hwb__item;

typedef struct hwb__scene {
    hwb__texture ground;
    hwb__item item[HWB__SHAPES_ITEMS]; /* back to front */
    int items;
    double light, light_x, light_y; /* brightness varies across the picture */
    double noise;                   /* standard deviation of the pixel noise */
    hwb_rng rng;                    /* of the pixel noise */
} hwb__scene;

/* u8[3,32,32] */
void hwb__scene_draw(const hwb__scene *scene, uint8_t *pixels);

#endif
