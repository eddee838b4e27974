/*
 * test_sweep.c: a sweep over blocks when memory ends: an error, nothing leaked.
 */
#include "testing.h"

#include "../bench/nets.h"
#include "curvature/curvature.h"
#include "spectral/spectral.h"

/* Eigenvalues of two blocks of a small network over two batches, in turn.  before: allocations
 * of the network and its data. */
static hwb_status sweep(hwb_ctx *ctx, int64_t *before) {
    static const char *const names[] = {"layer3.0.conv2", "linear"};
    hwb_model *model = NULL;
    net *inside;
    hwb_tensor *x = NULL, *y = NULL;
    hwb_source source;
    hwb_curvature *whole = NULL, *c[2] = {NULL, NULL};
    hwb_linop_set set = {0};
    hwb_curvature_options o = {.kind = HWB_GGN};
    hwb_eigs_options e[2] = {hwb_eigs_defaults(), hwb_eigs_defaults()};
    hwb_eigs_result r[2] = {{0}, {0}};
    hwb_status st;
    e[0].maxiter = e[1].maxiter = 3;
    HWB_TRY(net_resnet20_new(ctx, &model, &inside, 4, 1));
    HWB_TRY(net_images(ctx, &x, &y, 4, 8, 10));
    *before = hwb_memory(ctx).allocations;
    HWB_GOTO(done, st, hwb_source_batch(ctx, &source, x, y, 2));
    HWB_GOTO(done, st, hwb_curvature_new(ctx, &whole, model, source, &o));
    HWB_GOTO(done, st, hwb_curvature_blocks(ctx, c, whole, 2, names));
    HWB_GOTO(done, st, hwb_curvature_together(ctx, &set, 2, c));
    HWB_GOTO(done, st, hwb_eigs_many(ctx, r, &set, e, false));
done:
    for (int i = 0; i < 2; i++) {
        hwb_eigs_free(&r[i]);
        hwb_curvature_release(c[i]);
    }
    hwb_curvature_apart(&set);
    hwb_curvature_release(whole);
    hwb_model_release(model);
    hwb_tensor_release(x);
    hwb_tensor_release(y);
    return st;
}

/* live: what the context still holds, for its backends. */
static hwb_status sweep_failing(int64_t at, int64_t *before, int64_t *calls, size_t *live) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)at);
    if (at) setenv("HWB_TEST_FAIL_ALLOC", text, 1);
    hwb_ctx *ctx = test_ctx_new();
    unsetenv("HWB_TEST_FAIL_ALLOC");
    hwb_status st = sweep(ctx, before);
    *calls = hwb_memory(ctx).allocations;
    *live = hwb_memory(ctx).live;
    hwb_ctx_free(ctx);
    return st;
}

static void test_out_of_memory(void **state) {
    (void)state;
    int64_t before, calls;
    size_t live, most;
    assert_int_equal(sweep_failing(0, &before, &calls, &most), HWB_OK);
    assert_true(calls > before + 50);
    int64_t all = calls;
    for (int64_t at = before + 1; at <= all; at += 1 + (at - before) / 12) {
        hwb_status st = sweep_failing(at, &before, &calls, &live);
        assert_true(live <= most);
        assert_true(st == HWB_OK || st == HWB_ENOMEM);
    }
    assert_int_equal(sweep_failing(all + 1, &before, &calls, &live), HWB_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_out_of_memory)};
    return RUN_TESTS(tests);
}
