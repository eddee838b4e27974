/*
 * test_data.c: datasets: CIFAR files, image folders, tensors, views, the
 * bundled pictures, normalisation.
 */
#include "testing.h"

#include "data/data.h"
#include "io/io.h"

#include <sys/stat.h>

enum { ROW = 3073, PLANE = 1024 };

/* Of 200 pictures and labels; changes only with the generator. */
#define SHAPES10_FINGERPRINT 0xBD0AF97BE8391D27u

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/hwb-test-data-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static const char *in_folder(const char *name) {
    static test_path path;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void make_dir(const char *name) {
    assert_int_equal(mkdir(in_folder(name), 0777), 0);
}

static void write_bytes(const char *name, const void *bytes, size_t n) {
    FILE *f = fopen(in_folder(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

/* ---- CIFAR -------------------------------------------------------------------------- */

/* `rows` rows: label i % classes, pixel j of row i = (i + 7j) % 256 */
static uint8_t *cifar_rows(int rows, int classes, size_t *n) {
    size_t row = classes == 10 ? ROW : ROW + 1;
    uint8_t *p = malloc(row * (size_t)rows), *at = p;
    for (int i = 0; i < rows; i++) {
        if (classes == 100) *at++ = (uint8_t)(i % 20);
        *at++ = (uint8_t)(i % classes);
        for (int j = 0; j < 3 * PLANE; j++) *at++ = (uint8_t)(i + 7 * j);
    }
    *n = row * (size_t)rows;
    return p;
}

static void test_cifar_folder(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_dataset *ds;
    uint8_t raw[3 * PLANE];
    int64_t label;
    size_t n;
    make_dir("cifar-10-batches-bin");
    for (int i = 1; i <= 5; i++) {
        char name[64];
        uint8_t *rows = cifar_rows(10 * i, 10, &n);
        snprintf(name, sizeof name, "cifar-10-batches-bin/data_batch_%d.bin", i);
        write_bytes(name, rows, n);
        free(rows);
    }
    assert_ok(ctx, hwb_dataset_cifar(ctx, &ds, 10, folder, "train"));
    assert_int_equal(hwb_dataset_count(ds), 150);
    assert_int_equal(hwb_dataset_classes(ds), 10);
    assert_string_equal(hwb_dataset_kind(ds), "cifar10");
    assert_string_equal(hwb_dataset_class_name(ds, 9), "truck");
    assert_null(hwb_dataset_class_name(ds, 10));
    assert_ok(ctx, hwb_dataset_fetch(ctx, ds, 10 + 20 + 13, raw, &label)); /* row 13 of file 3 */
    assert_int_equal(label, 3);
    assert_int_equal(raw[2 * PLANE + 5], (13 + 7 * (2 * PLANE + 5)) % 256);
    assert_fails(ctx, hwb_dataset_fetch(ctx, ds, 150, raw, &label), HWB_EARG, "150 of 150");
    assert_fails(ctx, hwb_dataset_fetch(ctx, ds, -1, raw, &label), HWB_EARG, "-1");
    hwb_dataset_release(ds);
    /* The inner folder is as good; the test split is not there. */
    assert_ok(ctx, hwb_dataset_cifar(ctx, &ds, 10, in_folder("cifar-10-batches-bin"), "train"));
    hwb_dataset_release(ds);
    assert_fails(ctx, hwb_dataset_cifar(ctx, &ds, 10, folder, "test"), HWB_EIO,
                 "cifar-10-batches-bin/test_batch.bin: No such file");
    assert_fails(ctx, hwb_dataset_cifar(ctx, &ds, 10, folder, "val"), HWB_EARG, "\"val\"");
    assert_fails(ctx, hwb_dataset_cifar(ctx, &ds, 20, folder, "test"), HWB_EARG, "CIFAR-20");
    write_bytes("cifar-10-batches-bin/batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n", 21);
    assert_ok(ctx, hwb_dataset_cifar(ctx, &ds, 10, folder, "train"));
    assert_string_equal(hwb_dataset_class_name(ds, 9), "j");
    hwb_dataset_release(ds);
    test_ctx_free(ctx);
}

static void test_cifar_damage(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_dataset *ds;
    size_t n;
    uint8_t *rows = cifar_rows(4, 10, &n);
    make_dir("cifar-10-batches-bin");
    rows[3 * ROW] = 10;
    write_bytes("cifar-10-batches-bin/test_batch.bin", rows, n);
    assert_fails(ctx, hwb_dataset_cifar(ctx, &ds, 10, folder, "test"), HWB_EFORMAT,
                 "test_batch.bin: label 10 at byte 9219 is not below 10");
    rows[3 * ROW] = 9;
    for (size_t k = 0; k < n; k++) {
        if (k % ROW == 0 && k > 0) continue; /* whole rows are fine */
        assert_fails(ctx, hwb_dataset_cifar_memory(ctx, &ds, 10, rows, k), HWB_EFORMAT,
                     "whole rows");
    }
    assert_ok(ctx, hwb_dataset_cifar_memory(ctx, &ds, 10, rows, n));
    assert_int_equal(hwb_dataset_count(ds), 4);
    hwb_dataset_release(ds);
    free(rows);
    test_ctx_free(ctx);
}

static void test_cifar100(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_dataset *ds;
    hwb_tensor *x, *y;
    size_t n;
    uint8_t *rows = cifar_rows(120, 100, &n);
    make_dir("cifar-100-binary");
    write_bytes("cifar-100-binary/test.bin", rows, n);
    assert_ok(ctx, hwb_dataset_cifar(ctx, &ds, 100, folder, "test"));
    assert_int_equal(hwb_dataset_count(ds), 120);
    assert_ok(ctx, hwb_dataset_batch(ctx, ds, 98, 4, &x, &y));
    assert_int_equal(hwb_tensor_get_int(y, 1), 99); /* the fine label */
    assert_int_equal(hwb_tensor_get_int(y, 2), 0);
    assert_near(hwb_tensor_get(x, 0), 98 / 255.0f, 0);
    hwb_tensor_release(x);
    hwb_tensor_release(y);
    hwb_dataset_release(ds);
    free(rows);
    test_ctx_free(ctx);
}

/* The real test set, where it has been unpacked: 1000 of each class. */
static void test_cifar_real(void **state) {
    (void)state;
    hwb_dataset *ds;
    const char *root = getenv("HWB_TEST_CIFAR10");
    if (!root) TEST_SKIP("$HWB_TEST_CIFAR10 names no folder with cifar-10-batches-bin/");
    hwb_ctx *ctx = test_ctx_new();
    assert_ok(ctx, hwb_dataset_cifar(ctx, &ds, 10, root, "test"));
    assert_int_equal(hwb_dataset_count(ds), 10000);
    int count[10] = {0};
    for (int i = 0; i < 10000; i++) {
        uint8_t raw[3 * PLANE];
        int64_t label;
        assert_ok(ctx, hwb_dataset_fetch(ctx, ds, i, raw, &label));
        count[label]++;
    }
    for (int k = 0; k < 10; k++) assert_int_equal(count[k], 1000);
    hwb_dataset_release(ds);
    test_ctx_free(ctx);
}

/* ---- normalisation ------------------------------------------------------------------------- */

static void test_normalisation(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_dataset *ds;
    hwb_tensor *x, *y;
    size_t n;
    uint8_t *rows = cifar_rows(3, 10, &n);
    const double mean[] = {0.485, 0.456, 0.406}, std[] = {0.229, 0.224, 0.225};
    assert_ok(ctx, hwb_dataset_cifar_memory(ctx, &ds, 10, rows, n));
    assert_ok(ctx, hwb_dataset_set_norm(ctx, ds, 3, mean, std));
    assert_ok(ctx, hwb_dataset_batch(ctx, ds, 1, 2, &x, &y));
    assert_int_equal(hwb_tensor_dtype(x), HWB_F32);
    assert_int_equal(hwb_tensor_dtype(y), HWB_I64);
    for (int i = 0; i < 2 * 3 * PLANE; i++) {
        int c = i / PLANE % 3, pixel = (1 + i / (3 * PLANE) + 7 * (i % (3 * PLANE))) % 256;
        float want = ((float)pixel / 255.0f - (float)mean[c]) / (float)std[c]; /* torchvision's */
        assert_near(hwb_tensor_get(x, i), want, 0);
    }
    hwb_tensor_release(x);
    hwb_tensor_release(y);
    assert_ok(ctx, hwb_dataset_set_dtype(ctx, ds, HWB_F64));
    assert_ok(ctx, hwb_dataset_batch(ctx, ds, 2, 1, &x, &y));
    assert_int_equal(hwb_tensor_dtype(x), HWB_F64);
    assert_near(hwb_tensor_get(x, PLANE), ((2 + 7 * PLANE) % 256 / 255.0 - 0.456) / 0.224, 0);
    hwb_tensor_release(x);
    hwb_tensor_release(y);
    assert_fails(ctx, hwb_dataset_set_norm(ctx, ds, 2, mean, std), HWB_ESHAPE, "2 means");
    assert_fails(ctx, hwb_dataset_set_norm(ctx, ds, 1, mean, (double[]){0}), HWB_EARG, "std 0");
    assert_fails(ctx, hwb_dataset_set_norm(ctx, ds, 1, (double[]){NAN}, std), HWB_EARG, "nan");
    assert_fails(ctx, hwb_dataset_set_dtype(ctx, ds, HWB_I32), HWB_EDTYPE, "int32");
    assert_fails(ctx, hwb_dataset_batch(ctx, ds, 2, 2, &x, &y), HWB_EARG, "2 samples from 2 on");
    assert_fails(ctx, hwb_dataset_batch(ctx, ds, INT64_MAX, INT64_MAX, &x, &y), HWB_EARG, "of 3");
    assert_ok(ctx, hwb_dataset_batch(ctx, ds, 3, 0, &x, &y)); /* an empty batch is a batch */
    assert_int_equal(hwb_tensor_numel(x), 0);
    hwb_tensor_release(x);
    hwb_tensor_release(y);
    hwb_dataset_release(ds);
    free(rows);
    test_ctx_free(ctx);
}

/* ---- tensors and views --------------------------------------------------------------------------- */

static void test_tensors(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_dataset *ds, *part, *few;
    hwb_tensor *x, *y, *turned, *bx, *by;
    assert_ok(ctx, hwb_tensor_new(ctx, &x, HWB_F64, hwb_shape_of(2, 4, 6)));
    for (int i = 0; i < 24; i++) hwb_tensor_set(x, i, i);
    assert_ok(ctx, hwb_tensor_permute(ctx, &turned, x, (const int[]){1, 0})); /* 6 samples of 4 */
    static const int32_t labels[] = {0, 2, 1, 0, 2, 1};
    assert_ok(ctx, hwb_tensor_from(ctx, &y, HWB_I32, hwb_shape_of(1, 6), labels));
    assert_ok(ctx, hwb_dataset_tensors(ctx, &ds, turned, y));
    hwb_tensor_release(turned);
    assert_int_equal(hwb_dataset_count(ds), 6);
    assert_int_equal(hwb_dataset_classes(ds), 3);
    assert_int_equal(hwb_dataset_dtype(ds), HWB_F64);
    assert_ok(ctx, hwb_dataset_set_norm(ctx, ds, 1, (double[]){1}, (double[]){2}));
    assert_ok(ctx, hwb_dataset_subset(ctx, &part, ds, 2, 3));
    assert_ok(ctx, hwb_dataset_select(ctx, &few, part, (const int64_t[]){2, 0, 2}, 3));
    hwb_dataset_release(ds); /* the views keep it */
    hwb_dataset_release(part);
    assert_ok(ctx, hwb_dataset_batch(ctx, few, 0, 3, &bx, &by));
    for (int i = 0; i < 3; i++) { /* samples 4, 2, 4 */
        int sample = i == 1 ? 2 : 4;
        assert_int_equal(hwb_tensor_get_int(by, i), labels[sample]);
        for (int k = 0; k < 4; k++)
            assert_near(hwb_tensor_get(bx, 4 * i + k), (6 * k + sample - 1) / 2.0, 0);
    }
    hwb_tensor_release(bx);
    hwb_tensor_release(by);
    assert_fails(ctx, hwb_dataset_subset(ctx, &part, few, 1, 3), HWB_EARG, "of 3");
    assert_fails(ctx, hwb_dataset_select(ctx, &part, few, (const int64_t[]){3}, 1), HWB_EARG,
                 "3 of 3");
    hwb_dataset_release(few);
    assert_fails(ctx, hwb_dataset_tensors(ctx, &ds, y, x), HWB_ESHAPE, "4x6");
    assert_fails(ctx, hwb_dataset_tensors(ctx, &ds, x, y), HWB_ESHAPE, "6");
    hwb_tensor_release(x);
    hwb_tensor_release(y);
    test_ctx_free(ctx);
}

static void test_tensor_labels(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_dataset *ds;
    hwb_tensor *x, *y, *f, *bx, *by;
    assert_ok(ctx, hwb_tensor_zeros(ctx, &x, HWB_I64, hwb_shape_of(2, 2, 5))); /* token ids */
    assert_ok(ctx, hwb_tensor_zeros(ctx, &y, HWB_I64, hwb_shape_of(1, 2)));
    assert_ok(ctx, hwb_dataset_tensors(ctx, &ds, x, y));
    assert_ok(ctx, hwb_dataset_batch(ctx, ds, 0, 2, &bx, &by));
    assert_int_equal(hwb_tensor_dtype(bx), HWB_I64);
    assert_fails(ctx, hwb_dataset_set_norm(ctx, ds, 1, (double[]){0}, (double[]){1}), HWB_EDTYPE,
                 "int64");
    assert_fails(ctx, hwb_dataset_set_dtype(ctx, ds, HWB_F32), HWB_EDTYPE, "int64");
    hwb_tensor_release(bx);
    hwb_tensor_release(by);
    hwb_dataset_release(ds);
    hwb_tensor_set(y, 1, -1);
    assert_fails(ctx, hwb_dataset_tensors(ctx, &ds, x, y), HWB_EARG, "label 0 of sample 2");
    assert_ok(ctx, hwb_tensor_to(ctx, &f, y, HWB_F32));
    assert_fails(ctx, hwb_dataset_tensors(ctx, &ds, x, f), HWB_EDTYPE, "float32");
    hwb_tensor_release(f);
    hwb_tensor_release(x);
    hwb_tensor_release(y);
    test_ctx_free(ctx);
}

/* ---- image folders ---------------------------------------------------------------------------------- */

static void save_flat(hwb_ctx *ctx, const char *name, int h, int w, int value) {
    hwb_tensor *t;
    assert_ok(ctx, hwb_tensor_new(ctx, &t, HWB_U8, hwb_shape_of(3, h, w, 3)));
    assert_ok(ctx, hwb_tensor_fill(ctx, t, value));
    assert_ok(ctx, hwb_image_save_png(ctx, t, in_folder(name)));
    hwb_tensor_release(t);
}

static void test_image_folder(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_dataset *ds;
    uint8_t raw[3 * 8 * 8];
    int64_t label;
    make_dir("b");
    make_dir("A");
    make_dir(".hidden");
    save_flat(ctx, "b/2.png", 9, 20, 50);
    save_flat(ctx, "b/10.PNG", 20, 9, 60);
    save_flat(ctx, "A/x.jpeg", 8, 8, 70); /* a PNG, whatever its name says */
    write_bytes("b/notes.txt", "no image", 8);
    write_bytes("stray.png", "no image", 8);
    assert_ok(ctx, hwb_dataset_folder(ctx, &ds, folder, 10, 8));
    assert_int_equal(hwb_dataset_count(ds), 3);
    assert_int_equal(hwb_dataset_classes(ds), 2);
    assert_string_equal(hwb_dataset_class_name(ds, 0), "A");
    static const int want[][2] = {{0, 70}, {1, 60}, {1, 50}}; /* "10.PNG" sorts before "2.png" */
    for (int i = 0; i < 3; i++) {
        assert_ok(ctx, hwb_dataset_fetch(ctx, ds, i, raw, &label));
        assert_int_equal(label, want[i][0]);
        assert_int_equal(raw[0], want[i][1]);
        assert_int_equal(raw[3 * 64 - 1], want[i][1]);
    }
    write_bytes("b/2.png", "\x89PNG\r\n\x1A\n", 8);
    assert_fails(ctx, hwb_dataset_fetch(ctx, ds, 2, raw, &label), HWB_EFORMAT, "b/2.png: PNG");
    hwb_dataset_release(ds);
    assert_fails(ctx, hwb_dataset_folder(ctx, &ds, in_folder("none"), 10, 8), HWB_EIO, "none");
    assert_fails(ctx, hwb_dataset_folder(ctx, &ds, in_folder("b"), 10, 8), HWB_EFORMAT,
                 "no folders");
    assert_fails(ctx, hwb_dataset_folder(ctx, &ds, folder, 10, 0), HWB_EARG, "crop 0");
    make_dir("empty");
    make_dir("empty/class");
    assert_fails(ctx, hwb_dataset_folder(ctx, &ds, in_folder("empty"), 10, 8), HWB_EFORMAT,
                 "no .jpg");
    test_ctx_free(ctx);
}

/* One batch of every picture's random part in epoch `epoch`. */
static hwb_tensor *parts_of(hwb_ctx *ctx, hwb_dataset *ds, int workers, int64_t epoch) {
    hwb_loader_options o = hwb_loader_defaults();
    hwb_loader *l;
    hwb_tensor *x, *y;
    o.batch = hwb_dataset_count(ds);
    o.resized = true;
    o.workers = workers;
    o.seed = 4;
    assert_ok(ctx, hwb_loader_new(ctx, &l, ds, &o));
    assert_ok(ctx, hwb_loader_seek(ctx, l, epoch, 0));
    assert_ok(ctx, hwb_loader_next(ctx, l, &x, &y));
    hwb_tensor_release(y);
    hwb_loader_free(l);
    return x;
}

/* Pictures with red = 4 column, green = 4 row: a part shows its sides by how much
 * they change across it. */
static void test_random_parts(void **state) {
    (void)state;
    enum { SIDE = 64, COUNT = 24 };
    hwb_ctx *ctx = test_ctx_new();
    hwb_dataset *ds, *half, *plain;
    hwb_loader *l;
    hwb_loader_options o = hwb_loader_defaults();
    hwb_tensor *t, *x, *same, *later;
    make_dir("ramp");
    make_dir("ramp/only");
    assert_ok(ctx, hwb_tensor_new(ctx, &t, HWB_U8, hwb_shape_of(3, SIDE, SIDE, 3)));
    uint8_t *pixel = hwb_tensor_data(t);
    for (int i = 0; i < SIDE * SIDE; i++) {
        pixel[3 * i] = (uint8_t)(4 * (i % SIDE));
        pixel[3 * i + 1] = (uint8_t)(4 * (i / SIDE));
        pixel[3 * i + 2] = 0;
    }
    for (int i = 0; i < COUNT; i++) {
        char name[32];
        snprintf(name, sizeof name, "ramp/only/%02d.png", i);
        assert_ok(ctx, hwb_image_save_png(ctx, t, in_folder(name)));
    }
    assert_ok(ctx, hwb_dataset_folder(ctx, &ds, in_folder("ramp"), 8, 8));
    x = parts_of(ctx, ds, 0, 0);
    same = parts_of(ctx, ds, 3, 0);
    later = parts_of(ctx, ds, 0, 1);
    int changed = 0;
    double least = 2, most = 0;
    for (int i = 0; i < COUNT; i++) {
        const float *v = (const float *)hwb_tensor_data(x) + i * 3 * 64;
        double w = (v[3 * 8 + 5] - v[3 * 8 + 2]) * 255 / 4 * 8 / 3;
        double h = (v[64 + 5 * 8 + 3] - v[64 + 2 * 8 + 3]) * 255 / 4 * 8 / 3, area = w * h / 4096;
        least = area < least ? area : least;
        most = area > most ? area : most;
        assert_true(w / h > 0.65 && w / h < 1.55 && area > 0.06 && area < 1.1);
        for (int k = 0; k < 3 * 64; k++) {
            assert_true(v[k] == ((const float *)hwb_tensor_data(same))[i * 3 * 64 + k]);
            changed += v[k] != ((const float *)hwb_tensor_data(later))[i * 3 * 64 + k];
        }
    }
    assert_true(changed > COUNT * 64 && least < 0.3 && most > 0.7);
    assert_ok(ctx, hwb_dataset_subset(ctx, &half, ds, 3, 5));
    hwb_tensor_release(later);
    later = parts_of(ctx, half, 0, 0); /* draws belong to positions in the view */
    assert_int_equal(hwb_tensor_shape(later)->dim[0], 5);
    assert_ok(ctx, hwb_dataset_shapes10(ctx, &plain, "train", 0, 4));
    o.resized = true;
    assert_fails(ctx, hwb_loader_new(ctx, &l, plain, &o), HWB_EARG, "random parts");
    hwb_tensor *made[] = {t, x, same, later};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) hwb_tensor_release(made[i]);
    hwb_dataset_release(half);
    hwb_dataset_release(plain);
    hwb_dataset_release(ds);
    test_ctx_free(ctx);
}

static void test_imagenet_sample(void **state) {
    (void)state;
    test_path buf;
    const char *path;
    hwb_dataset *ds;
    hwb_tensor *x, *y;
    NEED_DATA(path, "imagenet-sample/val", buf);
    hwb_ctx *ctx = test_ctx_new();
    assert_ok(ctx, hwb_dataset_folder(ctx, &ds, path, 256, 224));
    assert_int_equal(hwb_dataset_count(ds), 250);
    assert_int_equal(hwb_dataset_classes(ds), 250);
    assert_ok(ctx, hwb_dataset_batch(ctx, ds, 100, 3, &x, &y));
    assert_int_equal(hwb_tensor_get_int(y, 2), 102);
    assert_int_equal(hwb_tensor_shape(x)->dim[3], 224);
    hwb_tensor_release(x);
    hwb_tensor_release(y);
    hwb_dataset_release(ds);
    test_ctx_free(ctx);
}

/* ---- the bundled set ----------------------------------------------------------------------------------- */

static uint64_t fnv(uint64_t h, const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001B3u;
    return h;
}

/* The checkpoint shipped with the project was trained on these very pixels. */
static void test_shapes10_is_fixed(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_dataset *train, *test;
    uint8_t raw[3 * PLANE];
    int64_t label;
    uint64_t h = 0xCBF29CE484222325u;
    int count[10] = {0};
    assert_ok(ctx, hwb_dataset_shapes10(ctx, &train, "train", 0, 0));
    assert_ok(ctx, hwb_dataset_shapes10(ctx, &test, "test", 0, 0));
    assert_int_equal(hwb_dataset_count(train), 10000);
    assert_int_equal(hwb_dataset_count(test), 2000);
    assert_string_equal(hwb_dataset_class_name(train, 5), "star");
    for (int i = 0; i < 200; i++) {
        assert_ok(ctx, hwb_dataset_fetch(ctx, i % 2 ? test : train, i, raw, &label));
        h = fnv(h, raw, sizeof raw);
        h = fnv(h, (uint8_t[]){(uint8_t)label}, 1);
    }
    print_message("shapes10 fingerprint %016llx\n", (unsigned long long)h);
    assert_true(h == SHAPES10_FINGERPRINT);
    for (int i = 500; i < 700; i++) {
        assert_ok(ctx, hwb_dataset_fetch(ctx, test, i, raw, &label));
        count[label]++;
    }
    for (int k = 0; k < 10; k++) assert_int_equal(count[k], 20); /* balanced, block by block */
    hwb_dataset_release(train);
    hwb_dataset_release(test);
    test_ctx_free(ctx);
}

/* Sample i depends on (seed, split, i) and on nothing else. */
static void test_shapes10_samples(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_dataset *a, *b, *other;
    uint8_t x[3 * PLANE], y[3 * PLANE];
    int64_t lx, ly;
    assert_ok(ctx, hwb_dataset_shapes10(ctx, &a, "train", 3, 100));
    assert_ok(ctx, hwb_dataset_shapes10(ctx, &b, "train", 3, 50));
    assert_ok(ctx, hwb_dataset_shapes10(ctx, &other, "train", 4, 50));
    assert_ok(ctx, hwb_dataset_fetch(ctx, a, 99, x, &lx));
    assert_ok(ctx, hwb_dataset_fetch(ctx, a, 20, x, &lx));
    assert_ok(ctx, hwb_dataset_fetch(ctx, b, 20, y, &ly));
    assert_memory_equal(x, y, sizeof x);
    assert_int_equal(lx, ly);
    assert_ok(ctx, hwb_dataset_fetch(ctx, a, 20, x, &lx)); /* the kept copy */
    assert_memory_equal(x, y, sizeof x);
    assert_ok(ctx, hwb_dataset_fetch(ctx, other, 20, y, &ly));
    assert_memory_not_equal(x, y, sizeof x);
    assert_fails(ctx, hwb_dataset_shapes10(ctx, &a, "val", 0, 0), HWB_EARG, "val");
    assert_fails(ctx, hwb_dataset_shapes10(ctx, &a, "test", 0, -1), HWB_EARG, "-1");
    hwb_dataset_release(a);
    hwb_dataset_release(b);
    hwb_dataset_release(other);
    test_ctx_free(ctx);
}

static void test_resized(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_dataset *small, *big, *back;
    uint8_t x[3 * PLANE], y[3 * 64 * 64];
    int64_t lx, ly;
    assert_ok(ctx, hwb_dataset_shapes10(ctx, &small, "test", 0, 10));
    assert_ok(ctx, hwb_dataset_resized(ctx, &big, small, 64, 64));
    assert_ok(ctx, hwb_dataset_resized(ctx, &back, small, 32, 32));
    assert_ok(ctx, hwb_dataset_fetch(ctx, small, 4, x, &lx));
    assert_ok(ctx, hwb_dataset_fetch(ctx, back, 4, y, &ly));
    assert_memory_equal(x, y, sizeof x); /* the same size is the same picture */
    assert_int_equal(lx, ly);
    assert_ok(ctx, hwb_dataset_fetch(ctx, big, 4, y, &ly));
    double small_sum = 0, big_sum = 0; /* enlarging keeps the mean, roughly */
    for (int i = 0; i < PLANE; i++) small_sum += x[PLANE + i];
    for (int i = 0; i < 64 * 64; i++) big_sum += y[64 * 64 + i];
    assert_near(big_sum / (64 * 64), small_sum / PLANE, 0.01);
    hwb_dataset_release(small);
    hwb_dataset_release(big);
    hwb_dataset_release(back);
    test_ctx_free(ctx);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_cifar_folder),
        IN_FOLDER(test_cifar_damage),
        IN_FOLDER(test_cifar100),
        cmocka_unit_test(test_cifar_real),
        cmocka_unit_test(test_normalisation),
        cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_tensor_labels),
        IN_FOLDER(test_image_folder),
        IN_FOLDER(test_random_parts),
        cmocka_unit_test(test_imagenet_sample),
        cmocka_unit_test(test_shapes10_is_fixed),
        cmocka_unit_test(test_shapes10_samples),
        cmocka_unit_test(test_resized),
    };
    return RUN_TESTS(tests);
}
