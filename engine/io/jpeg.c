/*
 * jpeg.c: JPEG through libjpeg-turbo, always to RGB.
 *
 * Gray and YCbCr are converted by the library; CMYK and YCCK come as CMYK and
 * become R = (255-C)(255-K)/255.  Files by Adobe hold the inks inverted.
 *
 * The library reports errors by longjmp.  Everything that must survive the
 * jump lives in one struct outside the function that calls setjmp.
 */
#include "io/io_i.h"

#include <setjmp.h>
#include <stdio.h> /* jpeglib.h needs it */
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

enum { MAX_SCANS = 500 }; /* a progressive bomb repeats tiny scans of a huge image */

typedef struct decoder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    hwb_ctx *ctx;
    hwb_status status;
    hwb_tensor *image;
    uint8_t *row; /* CMYK only */
} decoder;

bool hwb__is_jpeg(const uint8_t *p, size_t n) {
    return n >= 3 && p[0] == 0xFF && p[1] == 0xD8 && p[2] == 0xFF;
}

static void on_error(j_common_ptr jpeg) {
    decoder *d = jpeg->client_data;
    char text[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, text);
    d->status =
        hwb_fail(d->ctx, jpeg->err->msg_code == JERR_OUT_OF_MEMORY ? HWB_ENOMEM : HWB_EFORMAT,
                 "JPEG: %s", text);
    longjmp(d->jump, 1);
}

/* The library goes on after damage and fills with gray.  A file that ends too
 * early is an error here; harmless oddities (stray bytes) are not. */
static void on_message(j_common_ptr jpeg, int level) {
    decoder *d = jpeg->client_data;
    if (level >= 0) return;
    jpeg->err->num_warnings++;
    if (jpeg->err->msg_code != JWRN_JPEG_EOF) return;
    d->status = hwb_fail(d->ctx, HWB_EFORMAT, "JPEG: cut short");
    longjmp(d->jump, 1);
}

static void no_output(j_common_ptr jpeg) {
    (void)jpeg;
}

static void on_progress(j_common_ptr jpeg) {
    decoder *d = jpeg->client_data;
    if (d->jpeg.input_scan_number <= MAX_SCANS) return;
    d->status = hwb_fail(d->ctx, HWB_EFORMAT, "JPEG: more than %d scans; refused", MAX_SCANS);
    longjmp(d->jump, 1);
}

static void cmyk_to_rgb(uint8_t *rgb, const uint8_t *cmyk, int64_t n, bool inverted) {
    for (int64_t i = 0; i < n; i++, rgb += 3, cmyk += 4) {
        int k = inverted ? cmyk[3] : 255 - cmyk[3];
        for (int c = 0; c < 3; c++) {
            int ink = inverted ? cmyk[c] : 255 - cmyk[c];
            rgb[c] = (uint8_t)((ink * k + 127) / 255);
        }
    }
}

static hwb_status prepare(decoder *d) {
    struct jpeg_decompress_struct *j = &d->jpeg;
    if ((int64_t)j->image_width * j->image_height > HWB_IMAGE_MAX_PIXELS)
        return hwb_fail(d->ctx, HWB_EFORMAT, "JPEG: %u x %u pixels are too many", j->image_width,
                        j->image_height);
    bool four = j->num_components == 4;
    j->out_color_space = four ? JCS_CMYK : JCS_RGB;
    hwb_shape shape = {3, {j->image_height, j->image_width, 3}};
    HWB_TRY(hwb_tensor_new(d->ctx, &d->image, HWB_U8, shape));
    if (!four) return HWB_OK;
    d->row = hwb_alloc(d->ctx, (size_t)j->image_width * 4);
    return d->row ? HWB_OK : HWB_ENOMEM;
}

static void decode_rows(decoder *d) {
    struct jpeg_decompress_struct *j = &d->jpeg;
    uint8_t *pixels = hwb_tensor_data(d->image);
    jpeg_start_decompress(j);
    while (j->output_scanline < j->output_height) {
        uint8_t *rgb = pixels + (size_t)j->output_scanline * j->output_width * 3;
        JSAMPROW row = d->row ? d->row : rgb;
        jpeg_read_scanlines(j, &row, 1);
        if (d->row) cmyk_to_rgb(rgb, d->row, j->output_width, j->saw_Adobe_marker);
    }
    jpeg_finish_decompress(j);
}

static void decode(decoder *d, const uint8_t *p, size_t n) {
    if (setjmp(d->jump)) return; /* d->status says why */
    jpeg_create_decompress(&d->jpeg);
    d->jpeg.client_data = d;
    d->jpeg.progress = &d->progress;
    d->progress.progress_monitor = on_progress;
    jpeg_mem_src(&d->jpeg, p, (unsigned long)n);
    jpeg_read_header(&d->jpeg, TRUE);
    d->status = prepare(d);
    if (d->status == HWB_OK) decode_rows(d);
}

hwb_status hwb__read_jpeg(hwb_ctx *ctx, hwb_tensor **out, const uint8_t *p, size_t n) {
    decoder *d = hwb_calloc(ctx, sizeof *d);
    if (!d) return HWB_ENOMEM;
    d->ctx = ctx;
    d->jpeg.err = jpeg_std_error(&d->errors);
    d->errors.error_exit = on_error;
    d->errors.emit_message = on_message;
    d->errors.output_message = no_output;
    d->jpeg.client_data = d;
    decode(d, p, n);
    jpeg_destroy_decompress(&d->jpeg);
    hwb_free(d->row);
    hwb_status status = d->status;
    if (status == HWB_OK) *out = d->image;
    else hwb_tensor_release(d->image);
    hwb_free(d);
    return status;
}
