/*
 * augment.c: random crop, mirror and cutout of images [C,H,W].
 *
 * The draws of one image are elements 0, 1, 2, … of the Philox stream keyed by
 * (seed, "augment", epoch, sample index): 0 and 1 the shift down and right,
 * 2 the mirror, 3 and 4 the centre of the cutout (DeVries, Taylor 2017), from 16 on
 * four for each attempt at a part of the image (Szegedy et al. 2015).
 */
#include "data/data_i.h"

#include <math.h>
#include <string.h>

enum { DRAW_DOWN, DRAW_RIGHT, DRAW_FLIP, DRAW_CUT_Y, DRAW_CUT_X, DRAW_PART = 16 };

hwb_rng hwb__augment_stream(const hwb__augment *a, int64_t index) {
    return (hwb_rng){a->seed, hwb_rng_stream("augment", (uint64_t)a->epoch, (uint64_t)index)};
}

static hwb__part middle(int64_t h, int64_t w, int64_t part_h, int64_t part_w) {
    return (hwb__part){(h - part_h) / 2, (w - part_w) / 2, part_h, part_w};
}

hwb__part hwb__augment_part(hwb_rng rng, int64_t h, int64_t w) {
    const double least = 3.0 / 4, most = 4.0 / 3;
    for (uint64_t i = DRAW_PART; i < DRAW_PART + 4 * 10; i += 4) {
        double area = (double)h * (double)w * (0.08 + 0.92 * hwb_rng_uniform(rng, i));
        double ratio = exp(log(least) + log(most / least) * hwb_rng_uniform(rng, i + 1));
        int64_t pw = llround(sqrt(area * ratio)), ph = llround(sqrt(area / ratio));
        if (pw < 1 || ph < 1 || pw > w || ph > h) continue;
        return (hwb__part){(int64_t)hwb_rng_below(rng, i + 2, (uint64_t)(h - ph + 1)),
                           (int64_t)hwb_rng_below(rng, i + 3, (uint64_t)(w - pw + 1)), ph, pw};
    }
    double ratio = (double)w / (double)h;
    if (ratio < least) return middle(h, w, llround((double)w / least), w);
    if (ratio > most) return middle(h, w, h, llround((double)h * most));
    return middle(h, w, h, w);
}

/* to[x] = from[w-1-x] */
static void mirror(char *to, const char *from, int64_t w, size_t size) {
    for (int64_t x = 0; x < w; x++)
        memcpy(to + (size_t)x * size, from + (size_t)(w - 1 - x) * size, size);
}

/* One row moved left by `right` (negative: to the right), zeros where it ends. */
static void shift(char *to, const char *from, int64_t w, int64_t right, size_t size) {
    int64_t begin = right < 0 ? -right : 0, end = right > 0 ? w - right : w;
    memset(to, 0, (size_t)w * size);
    if (end > begin)
        memcpy(to + (size_t)begin * size, from + (size_t)(begin + right) * size,
               (size_t)(end - begin) * size);
}

void hwb__augment_move(const hwb__augment *a, int64_t index, void *to, const void *from,
                       const hwb_shape *shape, size_t size) {
    int64_t planes = shape->dim[0], h = shape->dim[1], w = shape->dim[2];
    hwb_rng rng = hwb__augment_stream(a, index);
    int64_t down = 0, right = 0;
    if (a->crop) { /* the window's corner in the padded image, less the padding */
        down = (int64_t)hwb_rng_below(rng, DRAW_DOWN, (uint64_t)(2 * a->crop + 1)) - a->crop;
        right = (int64_t)hwb_rng_below(rng, DRAW_RIGHT, (uint64_t)(2 * a->crop + 1)) - a->crop;
    }
    bool flip = a->flip && hwb_rng_below(rng, DRAW_FLIP, 2) == 1;
    size_t row = (size_t)w * size;
    for (int64_t y = 0; y < planes * h; y++) {
        int64_t source = y % h + down;
        char *dst = (char *)to + (size_t)y * row;
        const char *src = (const char *)from + (size_t)(y / h * h + source) * row;
        if (source < 0 || source >= h) {
            memset(dst, 0, row);
        } else if (!flip) {
            shift(dst, src, w, right, size);
        } else { /* the mirrored window is the mirror image's window at -right */
            mirror(dst, src, w, size);
            if (right > 0) {
                memmove(dst + (size_t)right * size, dst, row - (size_t)right * size);
                memset(dst, 0, (size_t)right * size);
            } else if (right < 0) {
                memmove(dst, dst + (size_t)-right * size, row - (size_t)-right * size);
                memset(dst + row - (size_t)-right * size, 0, (size_t)-right * size);
            }
        }
    }
}

void hwb__augment_cutout(const hwb__augment *a, int64_t index, void *x, const hwb_shape *shape,
                         hwb_dtype dtype) {
    int64_t planes = shape->dim[0], h = shape->dim[1], w = shape->dim[2];
    hwb_rng rng = hwb__augment_stream(a, index);
    int64_t top = (int64_t)hwb_rng_below(rng, DRAW_CUT_Y, (uint64_t)h) - a->cutout / 2;
    int64_t left = (int64_t)hwb_rng_below(rng, DRAW_CUT_X, (uint64_t)w) - a->cutout / 2;
    int64_t bottom = top + a->cutout < h ? top + a->cutout : h;
    int64_t end = left + a->cutout < w ? left + a->cutout : w;
    if (top < 0) top = 0;
    if (left < 0) left = 0;
    size_t size = hwb_dtype_size(dtype);
    for (int64_t c = 0; c < planes; c++)
        for (int64_t y = top; y < bottom; y++)
            memset((char *)x + (size_t)((c * h + y) * w + left) * size, 0,
                   (size_t)(end - left) * size);
}
