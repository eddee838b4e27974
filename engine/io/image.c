/*
 * image.c: which image reader to call, and resizing.
 *
 * Resizing is two passes of a triangle filter, rows first, with 8-bit results
 * between them.  Output pixel i is centred at (i + 0.5) * scale in the input,
 * and the filter is max(scale, 1) wide on each side, so that a reduction
 * averages and does not alias.  Weights are fixed-point with 22 bits: the
 * sums fit 32 bits and round as in PIL, whose results these are.
 */
#include "io/io_i.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WEIGHT_BITS = 22, CHANNELS = 3, MAX_SIDE = 1 << 16 };

hwb_status hwb_image_load_memory(hwb_ctx *ctx, hwb_tensor **out, const void *bytes, size_t n) {
    if (hwb__is_jpeg(bytes, n)) return hwb__read_jpeg(ctx, out, bytes, n);
    if (hwb__is_png(bytes, n)) return hwb__read_png(ctx, out, bytes, n);
    return hwb_fail(ctx, HWB_EFORMAT, n ? "is neither JPEG nor PNG" : "is empty");
}

hwb_status hwb_image_load(hwb_ctx *ctx, hwb_tensor **out, const char *path) {
    uint8_t *bytes = NULL;
    size_t n = 0;
    HWB_TRY(hwb_io_read_file(ctx, &bytes, &n, path, (size_t)1 << 30));
    hwb_status status = hwb_image_load_memory(ctx, out, bytes, n);
    hwb_free(bytes);
    return status == HWB_OK ? HWB_OK : hwb_fail_in(ctx, status, "%s", path);
}

static hwb_status check_image(hwb_ctx *ctx, const hwb_tensor *t, const char *what) {
    const hwb_shape *s = hwb_tensor_shape(t);
    if (hwb_tensor_dtype(t) == HWB_U8 && s->ndim == 3 && s->dim[2] == CHANNELS && s->dim[0] > 0 &&
        s->dim[1] > 0)
        return HWB_OK;
    char text[HWB_SHAPE_TEXT];
    return hwb_fail(ctx, HWB_ESHAPE, "%s: %s %s is no uint8 HxWx3 image", what,
                    hwb_dtype_name(hwb_tensor_dtype(t)), hwb_shape_text(s, text));
}

/* ---- filter weights ------------------------------------------------------------------ */

/* Output i is the sum over j < count[i] of weight[i*width + j] * in[first[i] + j]. */
typedef struct taps {
    int64_t width;
    int64_t *first, *count;
    int32_t *weight;
} taps;

static void taps_free(taps *t) {
    free(t->first);
    free(t->count);
    free(t->weight);
}

/* The weights of one output pixel, normalised to sum 1. */
static void fill_taps(taps *t, int64_t i, int64_t in, double scale) {
    double filter_scale = scale > 1 ? scale : 1;
    double centre = ((double)i + 0.5) * scale;
    int64_t from = (int64_t)(centre - filter_scale + 0.5),
            to = (int64_t)(centre + filter_scale + 0.5);
    if (from < 0) from = 0;
    if (to > in) to = in;
    int32_t *weight = t->weight + i * t->width;
    double sum = 0;
    for (int64_t j = from; j < to; j++) {
        double x = fabs(((double)j - centre + 0.5) / filter_scale);
        sum += x < 1 ? 1 - x : 0;
    }
    for (int64_t j = from; j < to; j++) {
        double x = fabs(((double)j - centre + 0.5) / filter_scale);
        double w = x < 1 ? (1 - x) / sum : 0;
        weight[j - from] = (int32_t)(0.5 + w * (1 << WEIGHT_BITS));
    }
    t->first[i] = from;
    t->count[i] = to - from;
}

static hwb_status make_taps(hwb_ctx *ctx, taps *t, int64_t in, int64_t out) {
    double scale = (double)in / (double)out;
    t->width = 2 * (int64_t)ceil(scale > 1 ? scale : 1) + 1;
    t->first = calloc((size_t)out, sizeof *t->first);
    t->count = calloc((size_t)out, sizeof *t->count);
    t->weight = calloc((size_t)(out * t->width), sizeof *t->weight);
    if (!t->first || !t->count || !t->weight) {
        taps_free(t);
        return hwb_fail(ctx, HWB_ENOMEM, "out of memory for resizing");
    }
    for (int64_t i = 0; i < out; i++) fill_taps(t, i, in, scale);
    return HWB_OK;
}

static uint8_t rounded(int64_t sum) {
    int64_t v = (sum + ((int64_t)1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS;
    return v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v;
}

/* in[rows, columns, 3] -> out[rows, w, 3] */
static void resize_rows(uint8_t *out, const uint8_t *in, int64_t rows, int64_t columns, int64_t w,
                        const taps *t) {
    for (int64_t y = 0; y < rows; y++, in += columns * CHANNELS) {
        for (int64_t x = 0; x < w; x++, out += CHANNELS) {
            const uint8_t *p = in + t->first[x] * CHANNELS;
            const int32_t *weight = t->weight + x * t->width;
            int64_t sum[CHANNELS] = {0};
            for (int64_t j = 0; j < t->count[x]; j++, p += CHANNELS)
                for (int c = 0; c < CHANNELS; c++) sum[c] += (int64_t)weight[j] * p[c];
            for (int c = 0; c < CHANNELS; c++) out[c] = rounded(sum[c]);
        }
    }
}

/* in[rows, w, 3] -> out[h, w, 3] */
static void resize_columns(uint8_t *out, const uint8_t *in, int64_t h, int64_t w, const taps *t) {
    int64_t row = w * CHANNELS;
    for (int64_t y = 0; y < h; y++) {
        const int32_t *weight = t->weight + y * t->width;
        for (int64_t x = 0; x < row; x++, out++) {
            const uint8_t *p = in + t->first[y] * row + x;
            int64_t sum = 0;
            for (int64_t j = 0; j < t->count[y]; j++, p += row) sum += (int64_t)weight[j] * *p;
            *out = rounded(sum);
        }
    }
}

/* ---- the public calls ------------------------------------------------------------------ */

static hwb_status resize_dense(hwb_ctx *ctx, hwb_tensor *out, const hwb_tensor *in) {
    const hwb_shape *a = hwb_tensor_shape(in), *b = hwb_tensor_shape(out);
    taps across = {0}, down = {0};
    hwb_tensor *middle = NULL;
    hwb_status status;
    hwb_shape shape = {3, {a->dim[0], b->dim[1], CHANNELS}};
    HWB_GOTO(done, status, hwb_tensor_new(ctx, &middle, HWB_U8, shape));
    HWB_GOTO(done, status, make_taps(ctx, &across, a->dim[1], b->dim[1]));
    HWB_GOTO(done, status, make_taps(ctx, &down, a->dim[0], b->dim[0]));
    resize_rows(hwb_tensor_data(middle), hwb_tensor_data(in), a->dim[0], a->dim[1], b->dim[1],
                &across);
    resize_columns(hwb_tensor_data(out), hwb_tensor_data(middle), b->dim[0], b->dim[1], &down);
done:
    if (across.first) taps_free(&across);
    if (down.first) taps_free(&down);
    hwb_tensor_release(middle);
    return status;
}

hwb_status hwb_image_resize(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *image, int64_t h,
                            int64_t w) {
    HWB_TRY(check_image(ctx, image, "resize"));
    if (h < 1 || w < 1 || h > MAX_SIDE || w > MAX_SIDE || h * w > HWB_IMAGE_MAX_PIXELS)
        return hwb_fail(ctx, HWB_EARG, "resize: %lldx%lld is no image size", (long long)h,
                        (long long)w);
    hwb_tensor *in = NULL, *result = NULL;
    hwb_status status;
    HWB_GOTO(done, status, hwb_tensor_contiguous(ctx, &in, image));
    hwb_shape shape = {3, {h, w, CHANNELS}};
    HWB_GOTO(done, status, hwb_tensor_new(ctx, &result, HWB_U8, shape));
    HWB_GOTO(done, status, resize_dense(ctx, result, in));
    *out = result;
    result = NULL;
done:
    hwb_tensor_release(in);
    hwb_tensor_release(result);
    return status;
}

/* x/2 to the nearest integer, halves to even, as Python's round() does */
static int64_t half_to_even(int64_t x) {
    int64_t q = x >> 1;
    return x & 1 ? q + (q & 1) : q;
}

/* The centre size x size of in[h,w,3], black outside; torchvision's CenterCrop. */
static void crop_centre(uint8_t *out, const uint8_t *in, int64_t h, int64_t w, int64_t size) {
    /* What is missing is padded first, the smaller half before the image. */
    int64_t pad_top = h < size ? (size - h) / 2 : 0, pad_left = w < size ? (size - w) / 2 : 0;
    int64_t top = h < size ? 0 : half_to_even(h - size),
            left = w < size ? 0 : half_to_even(w - size);
    int64_t rows = h < size ? h : size, columns = w < size ? w : size;
    memset(out, 0, (size_t)(size * size * CHANNELS));
    for (int64_t y = 0; y < rows; y++)
        memcpy(out + ((pad_top + y) * size + pad_left) * CHANNELS,
               in + ((top + y) * w + left) * CHANNELS, (size_t)(columns * CHANNELS));
}

hwb_status hwb_image_resize_crop(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *image, int64_t shorter,
                                 int64_t size) {
    HWB_TRY(check_image(ctx, image, "crop"));
    if (shorter < 0 || shorter > MAX_SIDE || size < 1 || size > MAX_SIDE)
        return hwb_fail(ctx, HWB_EARG, "crop: resize %lld, crop %lld: no image sizes",
                        (long long)shorter, (long long)size);
    const hwb_shape *s = hwb_tensor_shape(image);
    int64_t h = s->dim[0], w = s->dim[1];
    if (shorter > 0 && h <= w) { /* the longer side is rounded down, as torchvision does */
        w = w * shorter / h;
        h = shorter;
    } else if (shorter > 0) {
        h = h * shorter / w;
        w = shorter;
    }
    hwb_tensor *scaled = NULL, *result = NULL;
    hwb_status status;
    if (h == s->dim[0] && w == s->dim[1])
        HWB_GOTO(done, status, hwb_tensor_contiguous(ctx, &scaled, image));
    else HWB_GOTO(done, status, hwb_image_resize(ctx, &scaled, image, h, w));
    hwb_shape shape = {3, {size, size, CHANNELS}};
    HWB_GOTO(done, status, hwb_tensor_new(ctx, &result, HWB_U8, shape));
    crop_centre(hwb_tensor_data(result), hwb_tensor_data(scaled), h, w, size);
    *out = result;
    result = NULL;
done:
    hwb_tensor_release(scaled);
    hwb_tensor_release(result);
    return status;
}
