/*
 * test_comm_parts.c: loaders that give one part of every batch: together the parts
 * are the batches, in order, shuffled and augmented alike, with and without threads.
 */
#include "testing.h"
#include "data/data.h"

enum { N = 23, BATCH = 5, PARTS = 3 };

static hwb_dataset *numbers(hwb_ctx *ctx) {
    hwb_tensor *x, *y;
    hwb_dataset *ds;
    hwb_shape xs = {.ndim = 4, .dim = {N, 1, 4, 4}}, ys = {.ndim = 1, .dim = {N}};
    assert_ok(ctx, hwb_tensor_zeros(ctx, &x, HWB_F32, xs));
    assert_ok(ctx, hwb_tensor_zeros(ctx, &y, HWB_I64, ys));
    for (int64_t i = 0; i < N * 16; i++) hwb_tensor_set(x, i, (double)i);
    for (int64_t i = 0; i < N; i++) hwb_tensor_set(y, i, (double)i);
    assert_ok(ctx, hwb_dataset_tensors(ctx, &ds, x, y));
    hwb_tensor_release(x);
    hwb_tensor_release(y);
    return ds;
}

static hwb_loader *loader(hwb_ctx *ctx, hwb_dataset *ds, int workers, int part, int parts) {
    hwb_loader_options o = hwb_loader_defaults();
    hwb_loader *l;
    o.batch = BATCH;
    o.workers = workers;
    o.shuffle = o.flip = true;
    o.seed = 9;
    o.part = part;
    o.parts = parts;
    assert_ok(ctx, hwb_loader_new(ctx, &l, ds, &o));
    return l;
}

/* The rows of `part` are rows at..at+n-1 of `whole`; returns n. */
static int64_t check_rows(const hwb_tensor *whole, const hwb_tensor *part, int64_t at) {
    int64_t n = hwb_tensor_shape(part)->dim[0];
    int64_t each = hwb_tensor_numel(whole) / hwb_tensor_shape(whole)->dim[0];
    for (int64_t i = 0; i < n * each; i++)
        assert_true(hwb_tensor_get(part, i) == hwb_tensor_get(whole, at * each + i));
    return n;
}

static void check_parts(int workers) {
    hwb_ctx *ctx = test_ctx_new();
    hwb_dataset *ds = numbers(ctx);
    hwb_loader *whole = loader(ctx, ds, workers, 0, 0), *part[PARTS];
    for (int p = 0; p < PARTS; p++) part[p] = loader(ctx, ds, workers, p, PARTS);
    for (int step = 0; step < 2 * 6; step++) { /* two epochs: five batches, their end */
        hwb_tensor *x, *y, *px, *py;
        int64_t at = 0, epoch, position, its_epoch, its_position;
        assert_ok(ctx, hwb_loader_next(ctx, whole, &x, &y));
        hwb_loader_tell(whole, &epoch, &position);
        for (int p = 0; p < PARTS; p++) {
            assert_ok(ctx, hwb_loader_next(ctx, part[p], &px, &py));
            hwb_loader_tell(part[p], &its_epoch, &its_position);
            assert_int_equal(its_epoch, epoch);
            assert_int_equal(its_position, position);
            assert_int_equal(px == NULL, x == NULL);
            if (!x) continue;
            check_rows(y, py, at);
            at += check_rows(x, px, at);
            hwb_tensor_release(px);
            hwb_tensor_release(py);
        }
        if (x) assert_int_equal(at, hwb_tensor_shape(x)->dim[0]);
        hwb_tensor_release(x);
        hwb_tensor_release(y);
    }
    for (int p = 0; p < PARTS; p++) hwb_loader_free(part[p]);
    hwb_loader_free(whole);
    hwb_dataset_release(ds);
    assert_no_leak(ctx);
    test_ctx_free(ctx);
}

static void test_parts(void **state) {
    (void)state;
    check_parts(0);
    check_parts(2);
}

/* More parts than samples: some are empty, and not the end of the epoch. */
static void test_empty(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_dataset *ds = numbers(ctx);
    hwb_loader *l = loader(ctx, ds, 0, 7, 8);
    for (int64_t b = 0; b < (N + BATCH - 1) / BATCH; b++) {
        hwb_tensor *x, *y;
        assert_ok(ctx, hwb_loader_next(ctx, l, &x, &y));
        assert_non_null(x);
        assert_int_equal(hwb_tensor_shape(x)->dim[0], 0);
        assert_int_equal(hwb_tensor_shape(y)->dim[0], 0);
        hwb_tensor_release(x);
        hwb_tensor_release(y);
    }
    hwb_loader_free(l);
    hwb_dataset_release(ds);
    test_ctx_free(ctx);
}

/* A part chosen later begins with the next batch. */
static void test_set_part(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_dataset *ds = numbers(ctx);
    for (int workers = 0; workers <= 2; workers += 2) {
        hwb_loader *l = loader(ctx, ds, workers, 0, 1), *whole = loader(ctx, ds, 0, 0, 1);
        for (int b = 0; b < 4; b++) {
            hwb_tensor *x, *y, *px, *py;
            if (b == 1) assert_ok(ctx, hwb_loader_set_part(ctx, l, 1, 2));
            if (b == 3) assert_ok(ctx, hwb_loader_set_part(ctx, l, 0, 1));
            assert_ok(ctx, hwb_loader_next(ctx, whole, &x, &y));
            assert_ok(ctx, hwb_loader_next(ctx, l, &px, &py));
            bool half = b == 1 || b == 2;
            assert_int_equal(check_rows(x, px, half ? 3 : 0), half ? 2 : BATCH);
            hwb_tensor_release(x);
            hwb_tensor_release(y);
            hwb_tensor_release(px);
            hwb_tensor_release(py);
        }
        assert_fails(ctx, hwb_loader_set_part(ctx, l, 2, 2), HWB_EARG, "part 2 of 2");
        assert_fails(ctx, hwb_loader_set_part(ctx, l, -1, 2), HWB_EARG, "part -1 of 2");
        hwb_loader_free(l);
        hwb_loader_free(whole);
    }
    hwb_dataset_release(ds);
    test_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_set_part),
    };
    return RUN_TESTS(tests);
}
