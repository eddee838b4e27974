/*
 * test_loader.c: batches in the background: the same whatever the number of
 * threads, resumable, augmented as the key says, errors and interrupts.
 */
#include "testing.h"

#include "data/data.h"

#include <pthread.h>

enum { COUNT = 103, SIDE = 6, PIXELS = 3 * SIDE * SIDE };

/* Sample i holds pixels (i + 3j) % 256 and label i. */
typedef struct numbers {
    int64_t bad; /* this one cannot be read; -1 = none */
    int delay_ms;
} numbers;

static hwb_status numbers_fetch(hwb_ctx *ctx, void *state, int64_t index, void *sample,
                                int64_t *label) {
    numbers *s = state;
    if (s->delay_ms) usleep((useconds_t)s->delay_ms * 1000);
    if (index == s->bad) return hwb_fail(ctx, HWB_EIO, "sample %lld is gone", (long long)index);
    for (int j = 0; j < PIXELS; j++) ((uint8_t *)sample)[j] = (uint8_t)(index + 3 * j);
    *label = index;
    return HWB_OK;
}

static hwb_dataset *make_numbers(hwb_ctx *ctx, numbers *state) {
    hwb_dataset *ds;
    hwb_dataset_def def = {.kind = "numbers",
                           .count = COUNT,
                           .classes = COUNT,
                           .sample = {3, {3, SIDE, SIDE}},
                           .stored = HWB_U8,
                           .fetch = numbers_fetch,
                           .state = state};
    assert_ok(ctx, hwb_dataset_new(ctx, &ds, &def));
    return ds;
}

/* What one epoch gives: labels in order and all pixels by position. */
typedef struct epoch {
    int64_t n, batches;
    int64_t label[COUNT];
    float pixel[COUNT][PIXELS];
} epoch;

static void run_epoch(hwb_ctx *ctx, hwb_loader *l, epoch *e) {
    *e = (epoch){0};
    for (;;) {
        hwb_tensor *x, *y;
        assert_ok(ctx, hwb_loader_next(ctx, l, &x, &y));
        if (!x) break;
        int64_t n = hwb_tensor_numel(y);
        assert_int_equal(hwb_tensor_numel(x), n * PIXELS);
        assert_true(e->n + n <= COUNT);
        memcpy(e->label + e->n, hwb_tensor_data(y), (size_t)n * sizeof(int64_t));
        memcpy(e->pixel + e->n, hwb_tensor_data(x), (size_t)n * sizeof *e->pixel);
        e->n += n;
        e->batches++;
        hwb_tensor_release(x);
        hwb_tensor_release(y);
    }
}

static hwb_loader *make_loader(hwb_ctx *ctx, hwb_dataset *ds, hwb_loader_options o) {
    hwb_loader *l;
    assert_ok(ctx, hwb_loader_new(ctx, &l, ds, &o));
    return l;
}

static void test_order(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    numbers s = {.bad = -1};
    hwb_dataset *ds = make_numbers(ctx, &s);
    hwb_loader_options o = hwb_loader_defaults();
    o.batch = 10;
    hwb_loader *l = make_loader(ctx, ds, o);
    epoch *e = malloc(sizeof *e);
    for (int round = 0; round < 3; round++) {
        run_epoch(ctx, l, e);
        assert_int_equal(e->n, COUNT);
        assert_int_equal(e->batches, 11);
        assert_int_equal(hwb_loader_batches(l), 11);
        for (int i = 0; i < COUNT; i++) assert_int_equal(e->label[i], i);
        assert_near(e->pixel[100][7], (float)(121) / 255.0f, 0);
    }
    hwb_loader_free(l);
    o.drop_last = true;
    l = make_loader(ctx, ds, o);
    run_epoch(ctx, l, e);
    assert_int_equal(e->n, 100);
    assert_int_equal(hwb_loader_batches(l), 10);
    hwb_loader_free(l);
    free(e);
    hwb_dataset_release(ds);
    test_ctx_free(ctx);
}

/* Shuffled and augmented epochs are equal to the bit for any number of workers
 * and, sample by sample, for any batch size. */
static void test_threads_and_batches(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    numbers s = {.bad = -1};
    hwb_dataset *ds = make_numbers(ctx, &s);
    epoch *want = malloc(sizeof *want), *got = malloc(sizeof *got);
    static const struct {
        int workers, ahead, batch;
    } ways[] = {{0, 0, 8}, {1, 1, 8}, {2, 0, 8}, {5, 3, 8}, {3, 20, 1}, {2, 2, 64}, {4, 0, 1000}};
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        hwb_loader_options o = {.batch = ways[w].batch,
                                .shuffle = true,
                                .seed = 5,
                                .crop = 2,
                                .flip = true,
                                .cutout = 3,
                                .workers = ways[w].workers,
                                .ahead = ways[w].ahead};
        hwb_loader *l = make_loader(ctx, ds, o);
        run_epoch(ctx, l, got);
        run_epoch(ctx, l, got); /* the second one */
        if (w == 0) memcpy(want, got, sizeof *want);
        assert_int_equal(got->n, COUNT);
        assert_memory_equal(got->label, want->label, sizeof want->label);
        assert_memory_equal(got->pixel, want->pixel, sizeof want->pixel);
        hwb_loader_free(l);
    }
    bool seen[COUNT] = {false}, moved = false;
    for (int i = 0; i < COUNT; i++) {
        assert_false(seen[want->label[i]]); /* a permutation */
        seen[want->label[i]] = true;
        moved |= want->label[i] != i;
    }
    assert_true(moved);
    free(want);
    free(got);
    hwb_dataset_release(ds);
    test_ctx_free(ctx);
}

static void test_epochs_and_seeds_differ(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    numbers s = {.bad = -1};
    hwb_dataset *ds = make_numbers(ctx, &s);
    epoch *e = malloc(3 * sizeof *e);
    hwb_loader_options o = {.batch = 16, .shuffle = true, .seed = 1};
    hwb_loader *l = make_loader(ctx, ds, o);
    run_epoch(ctx, l, &e[0]);
    run_epoch(ctx, l, &e[1]);
    hwb_loader_free(l);
    o.seed = 2;
    l = make_loader(ctx, ds, o);
    run_epoch(ctx, l, &e[2]);
    hwb_loader_free(l);
    assert_memory_not_equal(e[0].label, e[1].label, sizeof e->label);
    assert_memory_not_equal(e[0].label, e[2].label, sizeof e->label);
    free(e);
    hwb_dataset_release(ds);
    test_ctx_free(ctx);
}

/* Stop after k batches, tell, seek in a fresh loader: the rest is the same. */
static void test_resume(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    numbers s = {.bad = -1};
    hwb_dataset *ds = make_numbers(ctx, &s);
    hwb_loader_options o = {.batch = 9, .shuffle = true, .seed = 7, .flip = true, .workers = 3};
    epoch *whole = malloc(sizeof *whole), *rest = malloc(sizeof *rest);
    hwb_loader *l = make_loader(ctx, ds, o);
    run_epoch(ctx, l, whole);
    run_epoch(ctx, l, whole);
    hwb_loader_free(l);
    for (int k = 0; k <= 12; k += 4) {
        int64_t at_epoch, at;
        hwb_tensor *x, *y;
        l = make_loader(ctx, ds, o);
        run_epoch(ctx, l, rest);
        for (int i = 0; i < k; i++) {
            assert_ok(ctx, hwb_loader_next(ctx, l, &x, &y));
            hwb_tensor_release(x);
            hwb_tensor_release(y);
        }
        hwb_loader_tell(l, &at_epoch, &at);
        hwb_loader_free(l);
        assert_int_equal(at_epoch, 1);
        assert_int_equal(at, k * 9 < COUNT ? k * 9 : COUNT);
        l = make_loader(ctx, ds, o);
        assert_ok(ctx, hwb_loader_seek(ctx, l, at_epoch, at));
        run_epoch(ctx, l, rest);
        assert_int_equal(rest->n, COUNT - at);
        assert_memory_equal(rest->label, whole->label + at, (size_t)rest->n * sizeof(int64_t));
        assert_memory_equal(rest->pixel, whole->pixel + at, (size_t)rest->n * sizeof *rest->pixel);
        hwb_loader_free(l);
    }
    free(whole);
    free(rest);
    hwb_dataset_release(ds);
    test_ctx_free(ctx);
}

static void test_batch_size_changes(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    numbers s = {.bad = -1};
    hwb_dataset *ds = make_numbers(ctx, &s);
    hwb_loader *l = make_loader(ctx, ds, (hwb_loader_options){.batch = 10, .workers = 3});
    hwb_tensor *x, *y;
    int64_t at = 0;
    for (int batch = 10; at < COUNT; batch += 7) {
        assert_ok(ctx, hwb_loader_set_batch(ctx, l, batch));
        assert_ok(ctx, hwb_loader_next(ctx, l, &x, &y));
        int64_t n = at + batch <= COUNT ? batch : COUNT - at;
        assert_int_equal(hwb_tensor_numel(y), n);
        for (int64_t i = 0; i < n; i++) assert_int_equal(hwb_tensor_get_int(y, i), at + i);
        at += n;
        hwb_tensor_release(x);
        hwb_tensor_release(y);
    }
    assert_ok(ctx, hwb_loader_next(ctx, l, &x, &y));
    assert_null(x);
    assert_null(y);
    assert_fails(ctx, hwb_loader_set_batch(ctx, l, 0), HWB_EARG, "batch of 0");
    hwb_loader_free(l);
    hwb_dataset_release(ds);
    test_ctx_free(ctx);
}

/* ---- augmentation ---------------------------------------------------------------------- */

/* Every output is the image shifted by at most `crop`, zeros outside, and maybe
 * mirrored; all shifts and both orientations occur. */
static void test_crop_and_flip(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    numbers s = {.bad = -1};
    hwb_dataset *ds = make_numbers(ctx, &s);
    hwb_loader_options o = {.batch = 50, .seed = 3, .crop = 1, .flip = true};
    hwb_loader *l = make_loader(ctx, ds, o);
    epoch *e = malloc(sizeof *e);
    int times[3][3][2] = {0};
    for (int round = 0; round < 3; round++) {
        run_epoch(ctx, l, e);
        for (int i = 0; i < COUNT; i++) {
            int matches = 0;
            for (int way = 0; way < 18; way++) {
                int dy = way / 6 - 1, dx = way / 2 % 3 - 1, flip = way % 2;
                bool same = true;
                for (int j = 0; j < PIXELS && same; j++) {
                    int c = j / (SIDE * SIDE), row = j / SIDE % SIDE, column = j % SIDE;
                    int sy = row + dy, sx = (flip ? SIDE - 1 - column : column) + dx;
                    bool in = sy >= 0 && sy < SIDE && sx >= 0 && sx < SIDE;
                    int pixel = (i + 3 * ((c * SIDE + sy) * SIDE + sx)) % 256;
                    same = e->pixel[i][j] == (in ? (float)pixel / 255.0f : 0);
                }
                matches += same;
                times[dy + 1][dx + 1][flip] += same;
            }
            assert_int_equal(matches, 1);
        }
    }
    for (int k = 0; k < 18; k++) assert_in_range((&times[0][0][0])[k], 5, 40); /* 17 expected */
    free(e);
    hwb_loader_free(l);
    hwb_dataset_release(ds);
    test_ctx_free(ctx);
}

/* Zeros appear in one square, in all channels. */
static void test_cutout(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    numbers s = {.bad = -1};
    hwb_dataset *ds = make_numbers(ctx, &s);
    assert_ok(ctx, hwb_dataset_set_norm(ctx, ds, 1, (double[]){2}, (double[]){1})); /* no zeros */
    hwb_loader *l = make_loader(ctx, ds, (hwb_loader_options){.batch = 50, .cutout = 3});
    epoch *e = malloc(sizeof *e);
    run_epoch(ctx, l, e);
    for (int i = 0; i < COUNT; i++) {
        int zeros = 0, top = SIDE, bottom = -1, left = SIDE, right = -1;
        for (int j = 0; j < SIDE * SIDE; j++) {
            bool zero = e->pixel[i][j] == 0;
            assert_true(zero == (e->pixel[i][2 * SIDE * SIDE + j] == 0));
            if (!zero) continue;
            int row = j / SIDE, column = j % SIDE;
            zeros++;
            top = row < top ? row : top, bottom = row > bottom ? row : bottom;
            left = column < left ? column : left, right = column > right ? column : right;
        }
        assert_in_range(zeros, 4, 9);
        assert_int_equal(zeros, (bottom - top + 1) * (right - left + 1));
    }
    free(e);
    hwb_loader_free(l);
    hwb_dataset_release(ds);
    test_ctx_free(ctx);
}

/* ---- trouble ------------------------------------------------------------------------------ */

static void test_errors_come_through(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    numbers s = {.bad = 25};
    hwb_dataset *ds = make_numbers(ctx, &s);
    for (int workers = 0; workers < 3; workers++) {
        hwb_loader *l = make_loader(ctx, ds, (hwb_loader_options){.batch = 10, .workers = workers});
        hwb_tensor *x, *y;
        for (int i = 0; i < 2; i++) {
            assert_ok(ctx, hwb_loader_next(ctx, l, &x, &y));
            hwb_tensor_release(x);
            hwb_tensor_release(y);
        }
        for (int i = 0; i < 2; i++) /* and stays */
            assert_fails(ctx, hwb_loader_next(ctx, l, &x, &y), HWB_EIO, "sample 25 is gone");
        assert_ok(ctx, hwb_loader_seek(ctx, l, 0, 30)); /* past it all is well */
        assert_ok(ctx, hwb_loader_next(ctx, l, &x, &y));
        assert_int_equal(hwb_tensor_get_int(y, 0), 30);
        hwb_tensor_release(x);
        hwb_tensor_release(y);
        hwb_loader_free(l);
    }
    hwb_dataset_release(ds);
    test_ctx_free(ctx);
}

static void *interrupt_soon(void *arg) {
    (void)arg;
    usleep(30000);
    hwb_interrupt();
    return NULL;
}

/* An interrupt ends the waiting within a moment and loses no batch. */
static void test_interrupt(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    numbers s = {.bad = -1, .delay_ms = 10};
    hwb_dataset *ds = make_numbers(ctx, &s);
    for (int workers = 0; workers < 3; workers += 2) {
        hwb_loader *l = make_loader(ctx, ds, (hwb_loader_options){.batch = 60, .workers = workers});
        hwb_tensor *x, *y;
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, NULL), 0);
        double before = hwb_seconds();
        assert_fails(ctx, hwb_loader_next(ctx, l, &x, &y), HWB_EINTR, "interrupted");
        assert_true(hwb_seconds() - before < 0.4);
        pthread_join(thread, NULL);
        hwb_interrupt_clear();
        assert_ok(ctx, hwb_loader_next(ctx, l, &x, &y));
        assert_int_equal(hwb_tensor_numel(y), 60);
        assert_int_equal(hwb_tensor_get_int(y, 0), 0);
        hwb_tensor_release(x);
        hwb_tensor_release(y);
        hwb_loader_free(l);
    }
    hwb_dataset_release(ds);
    test_ctx_free(ctx);
}

static void test_bad_options(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    numbers s = {.bad = -1};
    hwb_dataset *ds = make_numbers(ctx, &s);
    static const struct {
        hwb_loader_options o;
        hwb_status status;
        const char *text;
    } cases[] = {
        {{.batch = 0}, HWB_EARG, "a batch of 0"},
        {{.batch = 1, .workers = -1}, HWB_EARG, "-1 workers"},
        {{.batch = 1, .workers = 1000}, HWB_EARG, "1000 workers"},
        {{.batch = 1, .ahead = -2}, HWB_EARG, "-2 batches"},
        {{.batch = 1, .crop = -1}, HWB_EARG, "below 0"},
        {{.batch = 1, .crop = SIDE + 1}, HWB_ESHAPE, "crop 7"},
    };
    hwb_loader *l;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_fails(ctx, hwb_loader_new(ctx, &l, ds, &cases[i].o), cases[i].status, cases[i].text);
    assert_int_equal(hwb_loader_defaults().batch, 128);
    l = make_loader(ctx, ds, (hwb_loader_options){.batch = 4});
    assert_fails(ctx, hwb_loader_seek(ctx, l, 0, COUNT + 1), HWB_EARG, "104 of 103");
    assert_fails(ctx, hwb_loader_seek(ctx, l, -1, 0), HWB_EARG, "epoch -1");
    hwb_loader_free(l);
    hwb_loader_free(NULL);
    hwb_dataset_release(ds);
    test_ctx_free(ctx);
}

/* Freed in the middle of everything: no hang, nothing left. */
static void test_free_while_busy(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    numbers s = {.bad = -1, .delay_ms = 1};
    hwb_dataset *ds = make_numbers(ctx, &s);
    for (int i = 0; i < 10; i++) {
        hwb_loader *l =
            make_loader(ctx, ds, (hwb_loader_options){.batch = 5, .workers = 4, .ahead = 8});
        hwb_tensor *x, *y;
        if (i % 2) {
            assert_ok(ctx, hwb_loader_next(ctx, l, &x, &y));
            hwb_tensor_release(x);
            hwb_tensor_release(y);
        }
        hwb_loader_free(l);
    }
    hwb_dataset_release(ds);
    test_ctx_free(ctx);
}

/* Every counted allocation fails once: an error or a full epoch, never a leak. */
static void test_out_of_memory(void **state) {
    (void)state;
    numbers s = {.bad = -1};
    int failures = 0;
    for (int k = 1; k <= 40; k++) {
        char number[16];
        snprintf(number, sizeof number, "%d", k);
        setenv("HWB_TEST_FAIL_ALLOC", number, 1);
        hwb_ctx *ctx = test_ctx_new();
        hwb_dataset *ds = make_numbers(ctx, &s);
        hwb_loader *l;
        hwb_loader_options o = {.batch = 20, .shuffle = true, .flip = true, .workers = k % 3};
        assert_ok(ctx, hwb_loader_new(ctx, &l, ds, &o));
        for (int i = 0; i < 6; i++) {
            hwb_tensor *x = NULL, *y = NULL;
            hwb_status status = hwb_loader_next(ctx, l, &x, &y);
            if (status != HWB_OK) {
                assert_int_equal(status, HWB_ENOMEM);
                failures++;
                break;
            }
            hwb_tensor_release(x);
            hwb_tensor_release(y);
        }
        hwb_loader_free(l);
        hwb_dataset_release(ds);
        test_ctx_free(ctx);
    }
    unsetenv("HWB_TEST_FAIL_ALLOC");
    assert_in_range(failures, 10, 39);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_threads_and_batches),
        cmocka_unit_test(test_epochs_and_seeds_differ),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_batch_size_changes),
        cmocka_unit_test(test_crop_and_flip),
        cmocka_unit_test(test_cutout),
        cmocka_unit_test(test_errors_come_through),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_free_while_busy),
        cmocka_unit_test(test_out_of_memory),
    };
    return RUN_TESTS(tests);
}
