/*
 * test_program_cost.c: what a second-order program of a residual network costs,
 * in operation counts that follow from the shapes: multiply-adds of each stage,
 * kernels between two convolutions, bytes kept between runs.  A guard against
 * slowdowns that a clock on a shared machine would not show.
 *
 * The network is the CIFAR ResNet with one block a stage (7 convolutions), in
 * float32 on the CPU backend.
 */
#include "testing.h"

#include "../bench/nets.h"
#include "curvature/curvature_i.h"
#include "exec/exec_i.h"

enum { BATCH = 4, SIDE = 16, WIDTH = 16, CONVS = 7 };

typedef struct setup {
    hwb_ctx *ctx;
    hwb_model *model;
    hwb_tensor *x, *y;
    hwb_curvature *whole;
} setup;

static setup open_net(void) {
    setup s = {.ctx = test_ctx_new()};
    net *inside;
    hwb_source source;
    hwb_curvature_options o = {.kind = HWB_HESSIAN};
    assert_ok(s.ctx, net_resnet20_new(s.ctx, &s.model, &inside, WIDTH, 1));
    assert_ok(s.ctx, net_images(s.ctx, &s.x, &s.y, BATCH, SIDE, 10));
    assert_ok(s.ctx, hwb_source_batch(s.ctx, &source, s.x, s.y, 0));
    assert_ok(s.ctx, hwb_curvature_new(s.ctx, &s.whole, s.model, source, &o));
    return s;
}

static void close_net(setup *s) {
    hwb_curvature_release(s->whole);
    hwb_model_release(s->model);
    hwb_tensor_release(s->x);
    hwb_tensor_release(s->y);
    hwb_ctx_free(s->ctx);
}

/* The program behind k products (0: the gradient) with the operator. */
static hwb_program *program_of(setup *s, hwb_curvature *c, int64_t k) {
    char *text = hwb_curvature_dump(s->ctx, c, k);
    assert_non_null(text);
    free(text);
    return c->cached[c->n_cached - 1].program;
}

/* ---- counts from the shapes ---------------------------------------------------------- */

/* Multiply-adds of convolution i (0: the first), in forward order. */
static int64_t conv_macs(int i) {
    static const int stage[CONVS] = {0, 0, 0, 1, 1, 2, 2};
    int64_t out = WIDTH << stage[i], side = SIDE >> stage[i];
    int64_t in = i == 0 ? 3 : WIDTH << stage[i - 1];
    return BATCH * out * in * 9 * side * side;
}

static int64_t all_convs(int first) {
    int64_t total = 0;
    for (int i = first; i < CONVS; i++) total += conv_macs(i);
    return total;
}

static int64_t head_macs(void) {
    return (int64_t)BATCH * 10 * (WIDTH << 2);
}

static int count_steps(const hwb_program *p, int stage, hwb_op op) {
    int n = 0;
    for (int k = 0; k < p->plan->n_steps; k++)
        n += p->plan->steps[k].stage == stage && p->plan->steps[k].op == op;
    return n;
}

/* Steps of a stage that write an image of the batch. */
static int count_images(const hwb_program *p, int stage, hwb_op op) {
    int n = 0;
    for (int k = 0; k < p->plan->n_steps; k++) {
        const hwb__step *s = &p->plan->steps[k];
        bool image = false;
        for (int i = 0; i < s->n_out; i++) {
            const hwb_shape *d = &s->out_desc[i].shape;
            image = image || (d->ndim == 4 && d->dim[0] == BATCH && d->dim[1] > 1);
        }
        n += s->stage == stage && s->op == op && image;
    }
    return n;
}

/* ---- multiply-adds ------------------------------------------------------------------------ */

/* Forward and weight gradients of all, backward-data of all but the first. */
static void test_gradient_macs(void **state) {
    (void)state;
    setup s = open_net();
    hwb_program_info info = hwb_program_stats(program_of(&s, s.whole, 0));
    assert_int_equal(info.macs[HWB_ROLE_DATA], 2 * all_convs(0) + all_convs(1) + 3 * head_macs());
    assert_int_equal(info.macs[HWB_ROLE_TANGENT], 0);
    close_net(&s);
}

/* Forward: conv(x,w') and, past the first, conv(x',w).  Backward: both tangents of
 * the data gradient past the first, and of the weight gradient, where the first
 * layer's input has no tangent. */
static void test_hvp_macs(void **state) {
    (void)state;
    setup s = open_net();
    hwb_program_info info = hwb_program_stats(program_of(&s, s.whole, 1));
    assert_int_equal(info.macs[HWB_ROLE_TANGENT],
                     2 * all_convs(0) + 4 * all_convs(1) + 6 * head_macs());
    /* the primal: a gradient; its weight gradients meet the tangents of batch-norm scales */
    assert_int_equal(info.macs[HWB_ROLE_DATA], 2 * all_convs(0) + all_convs(1) + 2 * head_macs());
    close_net(&s);
}

/* The block of convolution i: conv(x,w') and bwd_weights(x,y') of its own, and
 * above it one convolution forward and one backward. */
static void test_block_macs(void **state) {
    static const char *const names[CONVS] = {"conv1",          "layer1.0.conv1", "layer1.0.conv2",
                                             "layer2.0.conv1", "layer2.0.conv2", "layer3.0.conv1",
                                             "layer3.0.conv2"};
    (void)state;
    setup s = open_net();
    for (int i = 0; i < CONVS; i++) {
        hwb_curvature *c;
        assert_ok(s.ctx, hwb_curvature_block(s.ctx, &c, s.whole, names[i]));
        hwb_program_info info = hwb_program_stats(program_of(&s, c, 1));
        assert_int_equal(info.macs[HWB_ROLE_TANGENT], 2 * all_convs(i) + 2 * head_macs());
        hwb_curvature_release(c);
    }
    close_net(&s);
}

/* K vectors cost K times the tangents of one, and no more primal. */
static void test_vectors_macs(void **state) {
    (void)state;
    setup s = open_net();
    hwb_program_info one = hwb_program_stats(program_of(&s, s.whole, 1));
    hwb_program_info four = hwb_program_stats(program_of(&s, s.whole, 4));
    assert_int_equal(four.macs[HWB_ROLE_TANGENT], 4 * one.macs[HWB_ROLE_TANGENT]);
    assert_int_equal(four.macs[HWB_ROLE_DATA], one.macs[HWB_ROLE_DATA]);
    assert_true(four.kept_bytes < one.kept_bytes + 4096);
    close_net(&s);
}

/* ---- passes over memory ------------------------------------------------------------------------ */

/* Between two convolutions there is one pointwise pass, sums go into convolutions,
 * images are turned once (the input), and nothing falls back to the reference
 * backend but the comparison of the labels. */
static void test_passes(void **state) {
    (void)state;
    setup s = open_net();
    hwb_program *p = program_of(&s, s.whole, 1);
    assert_int_equal(count_steps(p, HWB_ROLE_DATA, HWB_OP_PERMUTE), 1);
    assert_int_equal(count_steps(p, HWB_ROLE_TANGENT, HWB_OP_PERMUTE), 0);
    assert_int_equal(count_images(p, HWB_ROLE_TANGENT, HWB_OP_BROADCAST), 0);
    /* one mask a convolution forward and one backward; the last result is summed at once */
    assert_int_equal(count_images(p, HWB_ROLE_TANGENT, HWB_OP_FUSED), 2 * CONVS - 1);
    assert_int_equal(count_steps(p, HWB_ROLE_TANGENT, HWB_OP_CONV), 2 * CONVS - 1);
    assert_int_equal(count_steps(p, HWB_ROLE_TANGENT, HWB_OP_CONV_BWD_DATA), 2 * (CONVS - 1));
    assert_int_equal(count_steps(p, HWB_ROLE_TANGENT, HWB_OP_CONV_BWD_WEIGHTS), 2 * CONVS - 1);
    for (int k = 0; k < p->plan->n_steps; k++)
        if (p->slots[k].device == p->ref) assert_int_equal(p->plan->steps[k].op, HWB_OP_EQ);
    close_net(&s);
}

/* Kept for the tangents: every convolution's input and its result's adjoint, and
 * one byte a unit for its mask; weights (scaled, and their gradients). */
static void test_kept_bytes(void **state) {
    (void)state;
    setup s = open_net();
    hwb_program_info info = hwb_program_stats(program_of(&s, s.whole, 1));
    int64_t images = BATCH * 3 * SIDE * SIDE * 4, weights = 0;
    static const int stage[CONVS] = {0, 0, 0, 1, 1, 2, 2};
    for (int i = 0; i < CONVS; i++)
        images += BATCH * (WIDTH << stage[i]) * (SIDE >> stage[i]) * (SIDE >> stage[i]) * 9;
    for (int i = 0; i < hwb_model_parameter_count(s.model); i++)
        weights += (int64_t)hwb_tensor_bytes(hwb_model_parameter(s.model, i, NULL));
    assert_true(info.kept_bytes > (size_t)images);
    assert_true(info.kept_bytes < (size_t)(images + 2 * weights + 65536));
    close_net(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient_macs), cmocka_unit_test(test_hvp_macs),
        cmocka_unit_test(test_block_macs),    cmocka_unit_test(test_vectors_macs),
        cmocka_unit_test(test_passes),        cmocka_unit_test(test_kept_bytes)};
    return RUN_TESTS(tests);
}
