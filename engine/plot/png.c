/*
 * PNG writers on libpng, into memory.
 *
 * libpng reports failure by longjmp; every function that holds a setjmp keeps
 * what it must free in a struct outside the jump.
 */
#include "plot/canvas_i.h"

#include <math.h>
#include <png.h>
#include <string.h>

typedef struct png_job {
    hwb_ctx *ctx;
    hwb__bytes *out;
    png_structp png;
    png_infop info;
    unsigned char *row;
    hwb_status status;
} png_job;

static void on_error(png_structp png, png_const_charp message) {
    png_job *job = png_get_error_ptr(png);
    if (job->status == HWB_OK) job->status = hwb_fail(job->ctx, HWB_EINTERNAL, "png: %s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void on_write(png_structp png, png_bytep data, png_size_t n) {
    png_job *job = png_get_io_ptr(png);
    hwb__bytes_add(job->out, data, n);
    if (job->out->status != HWB_OK) {
        job->status = job->out->status;
        png_error(png, "no memory for the image");
    }
}

static void on_flush(png_structp png) {
    (void)png;
}

/* Row y of the picture as libpng wants it. */
typedef void (*row_fn)(unsigned char *row, const unsigned char *pixels, int w, int y, int stride);

static void row_bgrx(unsigned char *row, const unsigned char *pixels, int w, int y, int stride) {
    const unsigned char *p = pixels + (size_t)y * (size_t)stride;
    for (int x = 0; x < w; x++, p += 4) {
        uint32_t v; /* native-endian xRGB */
        memcpy(&v, p, 4);
        *row++ = (unsigned char)(v >> 16);
        *row++ = (unsigned char)(v >> 8);
        *row++ = (unsigned char)v;
    }
}

static void row_rgba(unsigned char *row, const unsigned char *pixels, int w, int y, int stride) {
    memcpy(row, pixels + (size_t)y * (size_t)stride, 4 * (size_t)w);
}

static void encode(png_job *job, int w, int h, int channels, const unsigned char *pixels,
                   int stride, row_fn fn, double dpi) {
    if (setjmp(png_jmpbuf(job->png))) return; /* status was set by on_error */
    png_set_write_fn(job->png, job, on_write, on_flush);
    png_set_IHDR(job->png, job->info, (png_uint_32)w, (png_uint_32)h, 8,
                 channels == 4 ? PNG_COLOR_TYPE_RGB_ALPHA : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (dpi > 0) {
        png_uint_32 per_metre = (png_uint_32)lround(dpi / 0.0254);
        png_set_pHYs(job->png, job->info, per_metre, per_metre, PNG_RESOLUTION_METER);
    }
    png_write_info(job->png, job->info);
    for (int y = 0; y < h; y++) {
        fn(job->row, pixels, w, y, stride);
        png_write_row(job->png, job->row);
    }
    png_write_end(job->png, job->info);
}

static hwb_status write_png(hwb_ctx *ctx, hwb__bytes *out, int w, int h, int channels,
                            const unsigned char *pixels, int stride, row_fn fn, double dpi) {
    png_job job = {.ctx = ctx, .out = out};
    job.row = hwb_alloc(ctx, (size_t)channels * (size_t)w);
    if (!job.row) return HWB_ENOMEM;
    job.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning);
    if (job.png) job.info = png_create_info_struct(job.png);
    if (job.info) encode(&job, w, h, channels, pixels, stride, fn, dpi);
    else job.status = hwb_fail(ctx, HWB_ENOMEM, "png: no memory for the writer");
    png_destroy_write_struct(&job.png, &job.info);
    hwb_free(job.row);
    return job.status;
}

hwb_status hwb__png_rgb(hwb_ctx *ctx, unsigned char **out, size_t *size, int w, int h,
                        const unsigned char *bgrx, int stride, double dpi) {
    hwb__bytes bytes = {.ctx = ctx};
    hwb_status status = write_png(ctx, &bytes, w, h, 3, bgrx, stride, row_bgrx, dpi);
    if (status != HWB_OK) {
        hwb_free(bytes.p);
        return status;
    }
    char *p;
    HWB_TRY(hwb__bytes_take(&bytes, &p, size));
    *out = (unsigned char *)p;
    return HWB_OK;
}

hwb_status hwb__png_rgba(hwb_ctx *ctx, hwb__bytes *out, int w, int h, const unsigned char *rgba) {
    return write_png(ctx, out, w, h, 4, rgba, 4 * w, row_rgba, 0);
}
