/*
 * Figures to PNG, SVG and files.
 */
#include "plot/canvas_i.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { MAX_PIXELS = 20000 };

hwb_status hwb__figure_pixels(hwb_ctx *ctx, const hwb_figure *fig, double dpi, hwb__canvas **out,
                              hwb__font **font, int *w, int *h) {
    *w = (int)lround(fig->width * dpi);
    *h = (int)lround(fig->height * dpi);
    *out = NULL;
    *font = NULL;
    if (*w < 1 || *h < 1 || *w > MAX_PIXELS || *h > MAX_PIXELS)
        return hwb_fail(ctx, HWB_EARG, "figure: %d x %d pixels; at most %d each way", *w, *h,
                        MAX_PIXELS);
    hwb__plot_arena arena = {0};
    HWB_TRY(hwb__font_new(ctx, font));
    hwb_status status = hwb__canvas_cairo(ctx, out, *font, *w, *h, dpi / 72);
    if (status == HWB_OK) {
        hwb__draw_figure(*out, &arena, fig, fig->width * 72, fig->height * 72);
        status = (*out)->status;
    }
    hwb__plot_arena_free(&arena);
    return status;
}

hwb_status hwb_figure_png(hwb_ctx *ctx, const hwb_figure *fig, unsigned char **out, size_t *size) {
    hwb__canvas *c = NULL;
    hwb__font *font = NULL;
    int w, h, stride;
    hwb_status status = hwb__figure_pixels(ctx, fig, fig->dpi, &c, &font, &w, &h);
    if (status == HWB_OK) {
        const unsigned char *pixels = hwb__canvas_cairo_pixels(c, &stride);
        status = hwb__png_rgb(ctx, out, size, w, h, pixels, stride, fig->dpi);
    }
    hwb__canvas_cairo_free(c);
    hwb__font_free(font);
    return status;
}

hwb_status hwb_figure_svg(hwb_ctx *ctx, const hwb_figure *fig, char **out, size_t *size) {
    hwb__plot_arena arena = {0};
    hwb__canvas *c = NULL;
    hwb__font *font = NULL;
    double w = fig->width * 72, h = fig->height * 72;
    HWB_TRY(hwb__font_new(ctx, &font));
    hwb_status status = hwb__canvas_svg(ctx, &c, font, w, h);
    if (status == HWB_OK) {
        hwb__draw_figure(c, &arena, fig, w, h);
        status = hwb__canvas_svg_finish(c, out, size);
    }
    hwb__plot_arena_free(&arena);
    hwb__font_free(font);
    return status;
}

/* ---- files --------------------------------------------------------------------- */

static bool ends_with(const char *path, const char *ending) {
    size_t n = strlen(path), m = strlen(ending);
    return n > m && !strcasecmp(path + n - m, ending);
}

/* Beside the file and renamed onto it: readers see the old or the new one. */
static hwb_status write_file(hwb_ctx *ctx, const char *path, const void *data, size_t n) {
    HWB_TRY(hwb_check_access(ctx, path, true));
    if (hwb_discards()) return HWB_OK;
    size_t len = strlen(path) + 32;
    char *temp = hwb_alloc(ctx, len);
    if (!temp) return HWB_ENOMEM;
    snprintf(temp, len, "%s.%ld.tmp", path, (long)getpid());
    hwb_status status = HWB_OK;
    FILE *f = fopen(temp, "wb");
    if (!f) status = hwb_fail(ctx, HWB_EIO, "%s: %s", path, strerror(errno));
    else {
        bool ok = fwrite(data, 1, n, f) == n && fflush(f) == 0 && fsync(fileno(f)) == 0;
        int why = errno;
        if (fclose(f) != 0 && ok) ok = false, why = errno;
        if (ok && rename(temp, path) != 0) ok = false, why = errno;
        if (!ok) {
            status = hwb_fail(ctx, HWB_EIO, "%s: %s", path, strerror(why));
            unlink(temp);
        }
    }
    hwb_free(temp);
    return status;
}

hwb_status hwb_figure_save(hwb_ctx *ctx, const hwb_figure *fig, const char *path) {
    unsigned char *png = NULL;
    char *svg = NULL;
    size_t n = 0;
    if (ends_with(path, ".png")) HWB_TRY(hwb_figure_png(ctx, fig, &png, &n));
    else if (ends_with(path, ".svg")) HWB_TRY(hwb_figure_svg(ctx, fig, &svg, &n));
    else return hwb_fail(ctx, HWB_EARG, "%s: figures are saved as .png or .svg", path);
    hwb_status status = write_file(ctx, path, png ? (const void *)png : svg, n);
    hwb_free(png);
    hwb_free(svg);
    return status;
}
