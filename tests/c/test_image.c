/*
 * test_image.c: JPEG and PNG against Pillow's pixels, resizing against
 * Pillow's BILINEAR, broken and oversized images.
 */
#include "testing.h"

#include "io/io.h"

#define GOLDEN(path, name, buf)                                                                    \
    do {                                                                                           \
        (path) = test_source("tests/golden/io/" name, (buf));                                      \
        if (!(path)) TEST_SKIP("%s is not in $HWB_TEST_SOURCE", name);                             \
    } while (0)

/* The same as picture() in tests/golden/make_io_files.py. */
static hwb_tensor *picture(hwb_ctx *ctx, int h, int w) {
    hwb_tensor *t;
    assert_ok(ctx, hwb_tensor_new(ctx, &t, HWB_U8, hwb_shape_of(3, h, w, 3)));
    uint8_t *p = hwb_tensor_data(t);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < 3; c++)
                *p++ = (uint8_t)(x * (5 + c) + y * (11 - 2 * c) + x * y / 7 +
                                 40 * ((x / 4 + y / 5) % 2));
    return t;
}

/* The greatest difference of two images of one shape. */
static int distance(hwb_ctx *ctx, hwb_tensor *a, hwb_tensor *b) {
    (void)ctx;
    assert_non_null(a);
    assert_non_null(b);
    assert_true(hwb_shape_equal(hwb_tensor_shape(a), hwb_tensor_shape(b)));
    int worst = 0;
    for (int64_t i = 0; i < hwb_tensor_numel(a); i++) {
        int d = abs((int)hwb_tensor_get_int(a, i) - (int)hwb_tensor_get_int(b, i));
        if (d > worst) worst = d;
    }
    return worst;
}

/* ---- decoding --------------------------------------------------------------------- */

static void test_kinds_of_files(void **state) {
    (void)state;
    test_path buf;
    const char *path;
    hwb_bundle *want;
    GOLDEN(path, "images.npz", buf);
    hwb_ctx *ctx = test_ctx_new();
    assert_ok(ctx, hwb_io_load(ctx, &want, path));
    assert_int_equal(hwb_bundle_count(want), 9);
    for (int64_t i = 0; i < 9; i++) {
        hwb_tensor *image;
        char name[64];
        snprintf(name, sizeof name, "tests/golden/io/%s", hwb_bundle_name(want, i));
        path = test_source(name, buf);
        assert_non_null(path);
        assert_ok(ctx, hwb_image_load(ctx, &image, path));
        int d = distance(ctx, image, hwb_bundle_at(want, i));
        if (d > 1) fail_msg("%s is off by %d", name, d);
        hwb_tensor_release(image);
    }
    hwb_bundle_free(want);
    test_ctx_free(ctx);
}

/* Cut short anywhere an image is refused; with any byte changed it may decode,
 * but does no harm. */
static void test_broken_files(void **state) {
    (void)state;
    static const char *const names[] = {"rgb.jpg", "cmyk.jpg",    "progressive.jpg",
                                        "rgb.png", "palette.png", "bit.png"};
    test_path buf;
    const char *path;
    GOLDEN(path, "rgb.jpg", buf);
    hwb_ctx *ctx = test_ctx_new();
    for (size_t f = 0; f < sizeof names / sizeof *names; f++) {
        char name[64];
        uint8_t *p;
        size_t n;
        hwb_tensor *image;
        snprintf(name, sizeof name, "tests/golden/io/%s", names[f]);
        path = test_source(name, buf);
        assert_non_null(path);
        assert_ok(ctx, hwb_io_read_file(ctx, &p, &n, path, 0));
        for (size_t k = 0; k + 2 < n; k++) { /* a JPEG may miss its end marker's bytes */
            uint8_t *cut = malloc(k ? k : 1);
            memcpy(cut, p, k);
            assert_fails(ctx, hwb_image_load_memory(ctx, &image, cut, k), HWB_EFORMAT, "");
            free(cut);
        }
        for (size_t k = 0; k < n; k++) {
            p[k] ^= 0x55;
            if (hwb_image_load_memory(ctx, &image, p, n) == HWB_OK) hwb_tensor_release(image);
            p[k] ^= 0x55;
        }
        hwb_free(p);
    }
    test_ctx_free(ctx);
}

static void test_not_images(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_tensor *image;
    assert_fails(ctx, hwb_image_load_memory(ctx, &image, "", 0), HWB_EFORMAT, "is empty");
    assert_fails(ctx, hwb_image_load_memory(ctx, &image, "GIF89a", 6), HWB_EFORMAT, "neither");
    assert_fails(ctx, hwb_image_load(ctx, &image, "/tmp"), HWB_EIO, "/tmp: is a directory");
    assert_fails(ctx, hwb_image_load(ctx, &image, "/no/such.png"), HWB_EIO, "/no/such.png: No");
    test_ctx_free(ctx);
}

/* A header that claims 65535 x 65535 pixels is refused before any are made. */
static void test_too_many_pixels(void **state) {
    (void)state;
    static const uint8_t jpeg[] = {
        0xFF, 0xD8, 0xFF, 0xDB, 0x00, 0x43, 0x00, 1,    1,    1,    1,    1,    1,    1,
        1,    1,    1,    1,    1,    1,    1,    1,    1,    1,    1,    1,    1,    1,
        1,    1,    1,    1,    1,    1,    1,    1,    1,    1,    1,    1,    1,    1,
        1,    1,    1,    1,    1,    1,    1,    1,    1,    1,    1,    1,    1,    1,
        1,    1,    1,    1,    1,    1,    1,    1,    1,    1,    1,    1,    1,    1,
        1,    0xFF, 0xC0, 0x00, 0x0B, 0x08, 0xFF, 0xFE, 0xFF, 0xFE, 0x01, 0x01, 0x11, 0x00,
        0xFF, 0xDA, 0x00, 0x08, 0x01, 0x01, 0x00, 0x00, 0x3F, 0x00, 0xFF, 0xD9};
    hwb_ctx *ctx = test_ctx_new();
    hwb_tensor *image;
    size_t limit = 1 << 20;
    hwb_memory_set_limit(ctx, limit);
    assert_fails(ctx, hwb_image_load_memory(ctx, &image, jpeg, sizeof jpeg), HWB_EFORMAT, "pixels");
    test_ctx_free(ctx);
}

static void test_png_round_trip(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    char path[] = "/tmp/hwb-test-image-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    hwb_tensor *image = picture(ctx, 23, 41), *back, *gray, *floats;
    assert_ok(ctx, hwb_image_save_png(ctx, image, path));
    assert_ok(ctx, hwb_image_load(ctx, &back, path));
    assert_int_equal(distance(ctx, image, back), 0);
    hwb_tensor_release(back);
    assert_ok(ctx, hwb_tensor_select(ctx, &gray, image, 2, 1)); /* strided [H,W] */
    assert_ok(ctx, hwb_image_save_png(ctx, gray, path));
    assert_ok(ctx, hwb_image_load(ctx, &back, path));
    assert_int_equal(hwb_tensor_get_int(back, 3 * 100 + 2), hwb_tensor_get_int(gray, 100));
    hwb_tensor_release(back);
    assert_ok(ctx, hwb_tensor_to(ctx, &floats, image, HWB_F32));
    assert_fails(ctx, hwb_image_save_png(ctx, floats, path), HWB_ESHAPE, "float32 23x41x3");
    assert_fails(ctx, hwb_image_save_png(ctx, image, "/no/such/x.png"), HWB_EIO, "/no/such/x.png");
    hwb_tensor_release(floats);
    hwb_tensor_release(gray);
    hwb_tensor_release(image);
    unlink(path);
    test_ctx_free(ctx);
}

/* ---- resizing --------------------------------------------------------------------------- */

static void test_resize_as_pillow(void **state) {
    (void)state;
    test_path buf;
    const char *path;
    hwb_bundle *want;
    GOLDEN(path, "resize.npz", buf);
    hwb_ctx *ctx = test_ctx_new();
    assert_ok(ctx, hwb_io_load(ctx, &want, path));
    hwb_tensor *image = picture(ctx, 37, 53);
    assert_int_equal(hwb_bundle_count(want), 4);
    for (int64_t i = 0; i < 4; i++) {
        hwb_tensor *w = hwb_bundle_at(want, i), *got;
        const hwb_shape *s = hwb_tensor_shape(w);
        assert_ok(ctx, hwb_image_resize(ctx, &got, image, s->dim[0], s->dim[1]));
        assert_in_range(distance(ctx, got, w), 0, 1);
        hwb_tensor_release(got);
    }
    hwb_tensor_release(image);
    hwb_bundle_free(want);
    test_ctx_free(ctx);
}

static void test_resize_properties(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_tensor *image = picture(ctx, 20, 31), *same, *flat, *big;
    assert_ok(ctx, hwb_image_resize(ctx, &same, image, 20, 31));
    assert_int_equal(distance(ctx, image, same), 0);
    assert_ok(ctx, hwb_tensor_fill(ctx, image, 137)); /* a flat image stays flat */
    assert_ok(ctx, hwb_image_resize(ctx, &flat, image, 7, 90));
    for (int64_t i = 0; i < hwb_tensor_numel(flat); i++)
        assert_int_equal(hwb_tensor_get_int(flat, i), 137);
    assert_fails(ctx, hwb_image_resize(ctx, &big, image, 0, 5), HWB_EARG, "0x5");
    assert_fails(ctx, hwb_image_resize(ctx, &big, image, 65536, 65536), HWB_EARG, "65536");
    hwb_tensor *gray;
    assert_ok(ctx, hwb_tensor_select(ctx, &gray, image, 2, 0));
    assert_fails(ctx, hwb_image_resize(ctx, &big, gray, 5, 5), HWB_ESHAPE, "20x31");
    hwb_tensor_release(gray);
    hwb_tensor_release(same);
    hwb_tensor_release(flat);
    hwb_tensor_release(image);
    test_ctx_free(ctx);
}

/* The centre of torchvision's CenterCrop: round half to even, pad with black. */
static void test_crop(void **state) {
    (void)state;
    static const struct {
        int h, w, size, top, left; /* of the window in the image; negative = padding */
    } cases[] = {
        {10, 10, 4, 3, 3}, {11, 10, 4, 4, 3}, {9, 7, 4, 2, 2}, {7, 7, 4, 2, 2},
        {3, 8, 6, -1, 1},  {4, 4, 7, -1, -1}, {5, 5, 5, 0, 0},
    };
    hwb_ctx *ctx = test_ctx_new();
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        hwb_tensor *image = picture(ctx, cases[k].h, cases[k].w), *cut;
        int size = cases[k].size;
        assert_ok(ctx, hwb_image_resize_crop(ctx, &cut, image, 0, size));
        for (int y = 0; y < size; y++) {
            for (int x = 0; x < size; x++) {
                int iy = y + cases[k].top, ix = x + cases[k].left;
                bool in = iy >= 0 && iy < cases[k].h && ix >= 0 && ix < cases[k].w;
                int64_t want = in ? hwb_tensor_get_int(image, 3 * (iy * cases[k].w + ix) + 1) : 0;
                assert_int_equal(hwb_tensor_get_int(cut, 3 * (y * size + x) + 1), want);
            }
        }
        hwb_tensor_release(cut);
        hwb_tensor_release(image);
    }
    test_ctx_free(ctx);
}

/* The shorter side becomes `shorter`, the longer keeps the ratio, rounded down. */
static void test_resize_crop(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_tensor *image = picture(ctx, 30, 47), *a, *b, *c;
    assert_ok(ctx, hwb_image_resize_crop(ctx, &a, image, 16, 16));
    assert_ok(ctx, hwb_image_resize(ctx, &b, image, 16, 25)); /* 47 * 16/30 = 25.07 */
    assert_ok(ctx, hwb_image_resize_crop(ctx, &c, b, 0, 16));
    assert_int_equal(distance(ctx, a, c), 0);
    hwb_tensor_release(a);
    hwb_tensor_release(b);
    hwb_tensor_release(c);
    assert_fails(ctx, hwb_image_resize_crop(ctx, &a, image, -1, 16), HWB_EARG, "resize -1");
    assert_fails(ctx, hwb_image_resize_crop(ctx, &a, image, 16, 0), HWB_EARG, "crop 0");
    hwb_tensor_release(image);
    test_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds_of_files),    cmocka_unit_test(test_broken_files),
        cmocka_unit_test(test_not_images),        cmocka_unit_test(test_too_many_pixels),
        cmocka_unit_test(test_png_round_trip),    cmocka_unit_test(test_resize_as_pillow),
        cmocka_unit_test(test_resize_properties), cmocka_unit_test(test_crop),
        cmocka_unit_test(test_resize_crop),
    };
    return RUN_TESTS(tests);
}
