/*
 * test_controller.c: batch-size controllers: published numbers of updates, and
 * ABSA's states after every epoch of scripted eigenvalues, worked out by hand.
 */
#include "testing.h"

#include "optim/controller.h"

static const int64_t batches[] = {640, 3200, 5120, 10240, 16000};

static void test_published_updates(void **state) {
    (void)state;
    static const int64_t bl[] = {7031, 1406, 878, 439, 281};
    static const int64_t gg[] = {16380, 14508, 14449, 14400, 14383};
    hwb_batch_options o = hwb_batch_defaults(HWB_BL);
    assert_int_equal(hwb_batch_published_updates(&o, 50000), 35156);
    for (int i = 0; i < 5; i++) {
        o = hwb_batch_defaults(HWB_BL);
        o.max = batches[i];
        assert_int_equal(hwb_batch_published_updates(&o, 50000), bl[i]);
        o = hwb_batch_defaults(HWB_GG);
        o.max = batches[i];
        assert_int_equal(hwb_batch_published_updates(&o, 50000), gg[i]);
    }
    o = hwb_batch_defaults(HWB_ABS);
    assert_int_equal(hwb_batch_published_updates(&o, 50000), -1);
}

/* Updates of ABS when the eigenvalue never falls: growth by patience alone. */
static double patient_updates(hwb_ctx *ctx, int64_t max) {
    hwb_batch_options o = hwb_batch_defaults(HWB_ABS);
    hwb_batch_state s;
    double updates = 0;
    o.max = max;
    assert_ok(ctx, hwb_batch_start(ctx, &s, &o));
    for (int e = 1; e <= 90; e++) {
        updates += 390.0 / (double)s.ratio;
        assert_ok(ctx, hwb_batch_on_epoch(ctx, &s, 8));
    }
    return updates;
}

static void test_patience_bound(void **state) {
    (void)state;
    static const int bound[] = {11505, 8180, 7971, 7837, 7801};
    hwb_ctx *ctx = test_ctx_new();
    for (int i = 0; i < 5; i++) assert_near(patient_updates(ctx, batches[i]), bound[i], 1e-4);
    hwb_ctx_free(ctx);
}

typedef struct expected {
    double lambda;
    int64_t ratio;
    double scale, attacked;
} expected;

/* max = 8 micro-batches, patience 3, 12 epochs, milestone after epoch 8. */
static void test_absa_script(void **state) {
    (void)state;
    static const expected script[] = {
        {8, 1, 1, 0.2},   /* the reference */
        {8, 1, 1, 0.2},   /* not fallen */
        {3.9, 2, 2, 0.1}, /* fallen by more than 2: grow; the patience is over too, once */
        {3.9, 2, 2, 0.1}, /* since = 1 */
        {3, 2, 2, 0.1},   /* since = 2 */
        {3, 4, 4, 0},     /* patience: grow; epoch 6 = epochs / 2 ends the attacks */
        {1.9, 8, 8, 0},   /* 1.9 <= 3.9 / 2: grow to the maximum */
        {-1, 8, 1.6, 0},  /* no eigenvalue any more; the milestone */
        {-1, 8, 1.6, 0},
    };
    hwb_ctx *ctx = test_ctx_new();
    hwb_batch_options o = hwb_batch_defaults(HWB_ABSA);
    hwb_batch_state s;
    o.max = 8 * 128;
    o.epochs = 12;
    o.patience = 3;
    o.n_milestones = 1;
    o.milestones[0] = 8;
    assert_ok(ctx, hwb_batch_start(ctx, &s, &o));
    assert_true(hwb_batch_wants_eigenvalue(&s));
    for (size_t e = 0; e < sizeof script / sizeof *script; e++) {
        assert_ok(ctx, hwb_batch_on_epoch(ctx, &s, script[e].lambda));
        assert_int_equal(s.ratio, script[e].ratio);
        assert_near(s.scale, script[e].scale, 1e-12);
        assert_near(s.attacked, script[e].attacked, 1e-12);
    }
    assert_false(hwb_batch_wants_eigenvalue(&s));
    hwb_ctx_free(ctx);
}

static void test_fb_and_gg_rates(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_batch_options o = hwb_batch_defaults(HWB_FB);
    hwb_batch_state s;
    o.max = 16000;
    assert_ok(ctx, hwb_batch_start(ctx, &s, &o));
    assert_int_equal(s.ratio, 125);
    assert_near(hwb_batch_on_step(&s, 0).lr, 1, 1e-12);
    assert_near(hwb_batch_on_step(&s, 2.5).lr, 63, 1e-12);
    assert_near(hwb_batch_on_step(&s, 5).lr, 125, 1e-12);
    for (int e = 1; e <= 30; e++) assert_ok(ctx, hwb_batch_on_epoch(ctx, &s, 0));
    assert_near(hwb_batch_on_step(&s, 30).lr, 25, 1e-12);

    o = hwb_batch_defaults(HWB_GG); /* 1, 5, 25, then 40: 25/40 of the decay is left over */
    o.max = 5120;
    assert_ok(ctx, hwb_batch_start(ctx, &s, &o));
    for (int e = 1; e <= 60; e++) assert_ok(ctx, hwb_batch_on_epoch(ctx, &s, 0));
    assert_int_equal(s.ratio, 25);
    assert_near(s.scale, 1, 1e-12);
    for (int e = 61; e <= 80; e++) assert_ok(ctx, hwb_batch_on_epoch(ctx, &s, 0));
    assert_int_equal(s.ratio, 40);
    assert_near(s.scale, 40.0 / 125.0, 1e-12);
    hwb_ctx_free(ctx);
}

static void test_refusals(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_batch_options o = hwb_batch_defaults(HWB_ABS);
    hwb_batch_state s;
    hwb_batch_kind kind;
    o.max = 1000;
    assert_fails(ctx, hwb_batch_start(ctx, &s, &o), HWB_EARG, "1000 is no multiple of 128");
    o.max = 1280;
    o.milestones[1] = 30;
    assert_fails(ctx, hwb_batch_start(ctx, &s, &o), HWB_EARG, "ascend");
    o = hwb_batch_defaults(HWB_ABS);
    o.max = 1280;
    assert_ok(ctx, hwb_batch_start(ctx, &s, &o));
    assert_fails(ctx, hwb_batch_on_epoch(ctx, &s, NAN), HWB_ENUMERIC, "after epoch 1");
    assert_true(hwb_batch_kind_parse("absa", &kind) && kind == HWB_ABSA);
    assert_false(hwb_batch_kind_parse("abs2", &kind));
    hwb_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_updates), cmocka_unit_test(test_patience_bound),
        cmocka_unit_test(test_absa_script),       cmocka_unit_test(test_fb_and_gg_rates),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
