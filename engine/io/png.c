/*
 * png.c: PNG through libpng: every kind of file to RGB with 8 bits, and RGB or
 * gray tensors to files.
 *
 * Palettes and low bit depths are expanded, 16 bits are scaled to 8, gray is
 * tripled, alpha is dropped (what is under it counts, as in PIL's convert).
 * libpng reports errors by longjmp; see jpeg.c for how that is kept safe.
 */
#include "io/io_i.h"

#include <png.h>
#include <string.h>

typedef struct decoder {
    hwb_ctx *ctx;
    hwb_status status;
    png_structp png;
    png_infop info;
    const uint8_t *p;
    size_t left;
    hwb_tensor *image;
} decoder;

bool hwb__is_png(const uint8_t *p, size_t n) {
    return n >= 8 && png_sig_cmp(p, 0, 8) == 0;
}

static void on_read_error(png_structp png, png_const_charp text) {
    decoder *d = png_get_error_ptr(png);
    if (d->status == HWB_OK) d->status = hwb_fail(d->ctx, HWB_EFORMAT, "PNG: %s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text) {
    (void)png, (void)text;
}

static void take_bytes(png_structp png, png_bytep dst, size_t n) {
    decoder *d = png_get_io_ptr(png);
    if (n > d->left) png_error(png, "cut short");
    memcpy(dst, d->p, n);
    d->p += n;
    d->left -= n;
}

static void ask_for_rgb(decoder *d) {
    png_set_expand(d->png); /* palettes, 1 to 4 bits, transparency as alpha */
    png_set_scale_16(d->png);
    png_set_gray_to_rgb(d->png);
    png_set_strip_alpha(d->png);
    png_set_interlace_handling(d->png);
    png_read_update_info(d->png, d->info);
}

static void read_pixels(decoder *d) {
    png_set_user_limits(d->png, 1 << 16, 1 << 16);
    png_set_chunk_malloc_max(d->png, 1 << 24);
    png_set_read_fn(d->png, d, take_bytes);
    png_read_info(d->png, d->info);
    int64_t w = png_get_image_width(d->png, d->info), h = png_get_image_height(d->png, d->info);
    if (w * h > HWB_IMAGE_MAX_PIXELS) png_error(d->png, "too many pixels");
    int passes = png_get_interlace_type(d->png, d->info) == PNG_INTERLACE_ADAM7 ? 7 : 1;
    ask_for_rgb(d);
    if (png_get_rowbytes(d->png, d->info) != (size_t)w * 3) png_error(d->png, "an unknown kind");
    hwb_shape shape = {3, {h, w, 3}};
    d->status = hwb_tensor_new(d->ctx, &d->image, HWB_U8, shape);
    if (d->status != HWB_OK) png_error(d->png, "out of memory");
    uint8_t *pixels = hwb_tensor_data(d->image);
    memset(pixels, 0, hwb_tensor_bytes(d->image)); /* interlaced rows merge into what is there */
    for (int pass = 0; pass < passes; pass++)
        for (int64_t y = 0; y < h; y++) png_read_row(d->png, pixels + (size_t)(y * w) * 3, NULL);
    png_read_end(d->png, NULL);
}

static void decode(decoder *d) {
    if (setjmp(png_jmpbuf(d->png))) return; /* d->status says why */
    read_pixels(d);
}

hwb_status hwb__read_png(hwb_ctx *ctx, hwb_tensor **out, const uint8_t *p, size_t n) {
    decoder d = {.ctx = ctx, .p = p, .left = n};
    d.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &d, on_read_error, on_warning);
    d.info = d.png ? png_create_info_struct(d.png) : NULL;
    if (d.info) decode(&d);
    else d.status = hwb_fail(ctx, HWB_ENOMEM, "out of memory for a PNG");
    png_destroy_read_struct(&d.png, &d.info, NULL);
    if (d.status == HWB_OK) *out = d.image;
    else hwb_tensor_release(d.image);
    return d.status;
}

/* ---- writing --------------------------------------------------------------------------- */

typedef struct encoder {
    hwb_ctx *ctx;
    hwb_status status;
    png_structp png;
    png_infop info;
    hwb_file_out *file;
} encoder;

static void on_write_error(png_structp png, png_const_charp text) {
    encoder *e = png_get_error_ptr(png);
    if (e->status == HWB_OK) e->status = hwb_fail(e->ctx, HWB_EIO, "PNG: %s", text);
    png_longjmp(png, 1);
}

static void put_bytes(png_structp png, png_bytep p, size_t n) {
    encoder *e = png_get_io_ptr(png);
    e->status = hwb_io_write(e->ctx, e->file, p, n);
    if (e->status != HWB_OK) png_error(png, "write");
}

static void no_flush(png_structp png) {
    (void)png;
}

static void encode(encoder *e, const hwb_tensor *image) {
    if (setjmp(png_jmpbuf(e->png))) return;
    const hwb_shape *s = hwb_tensor_shape(image);
    bool gray = s->ndim == 2;
    png_set_write_fn(e->png, e, put_bytes, no_flush);
    png_set_IHDR(e->png, e->info, (png_uint_32)s->dim[1], (png_uint_32)s->dim[0], 8,
                 gray ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(e->png, e->info);
    const uint8_t *row = hwb_tensor_data(image);
    for (int64_t y = 0; y < s->dim[0]; y++, row += s->dim[1] * (gray ? 1 : 3))
        png_write_row(e->png, row);
    png_write_end(e->png, NULL);
}

static hwb_status write_png(hwb_ctx *ctx, hwb_file_out *file, const hwb_tensor *image) {
    encoder e = {.ctx = ctx, .file = file};
    e.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &e, on_write_error, on_warning);
    e.info = e.png ? png_create_info_struct(e.png) : NULL;
    if (e.info) encode(&e, image);
    else e.status = hwb_fail(ctx, HWB_ENOMEM, "out of memory for a PNG");
    png_destroy_write_struct(&e.png, &e.info);
    return e.status;
}

hwb_status hwb_image_save_png(hwb_ctx *ctx, const hwb_tensor *image, const char *path) {
    const hwb_shape *s = hwb_tensor_shape(image);
    bool fits = s->ndim == 2 || (s->ndim == 3 && s->dim[2] == 3);
    char text[HWB_SHAPE_TEXT];
    if (hwb_tensor_dtype(image) != HWB_U8 || !fits || s->dim[0] < 1 || s->dim[1] < 1 ||
        s->dim[0] > INT32_MAX || s->dim[1] > 1 << 28)
        return hwb_fail(ctx, HWB_ESHAPE, "%s: %s %s is no uint8 HxWx3 or HxW image", path,
                        hwb_dtype_name(hwb_tensor_dtype(image)), hwb_shape_text(s, text));
    hwb_tensor *dense = NULL;
    hwb_file_out *file = NULL;
    hwb_status status = hwb_tensor_clone(ctx, &dense, image);
    if (status == HWB_OK) status = hwb_io_begin(ctx, &file, path);
    if (status == HWB_OK) status = write_png(ctx, file, dense);
    hwb_tensor_release(dense);
    if (status == HWB_OK) return hwb_io_commit(ctx, file);
    hwb_io_abandon(file);
    return status;
}
