/*
 * plot_picture.h: a figure with one panel, and its pixels.
 */
#ifndef HWB_TESTS_PLOT_PICTURE_H
#define HWB_TESTS_PLOT_PICTURE_H

#include "testing.h"

#include <png.h>

#include "plot/plot.h"

static inline hwb_figure *figure(hwb_ctx *ctx, hwb_axes **ax, const hwb_figure_opts *opts) {
    hwb_figure *fig = NULL;
    assert_ok(ctx, hwb_figure_new(ctx, &fig, opts));
    *ax = hwb_figure_axes(fig, 0, 0);
    return fig;
}

typedef struct picture {
    int w, h;
    unsigned char *rgb;
} picture;

static inline picture decode(const void *data, size_t size) {
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_memory(&image, data, size));
    image.format = PNG_FORMAT_RGB;
    picture p = {(int)image.width, (int)image.height, malloc(PNG_IMAGE_SIZE(image))};
    assert_true(png_image_finish_read(&image, NULL, p.rgb, 0, NULL));
    return p;
}

static inline picture picture_of(hwb_ctx *ctx, const hwb_figure *fig) {
    unsigned char *png;
    size_t size;
    assert_ok(ctx, hwb_figure_png(ctx, fig, &png, &size));
    picture p = decode(png, size);
    hwb_free(png);
    return p;
}

#endif
