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
#include "ad/ad.h"
#include "curvature/curvature_i.h"
#include "exec/exec_i.h"

enum { BATCH = 4, SIDE = 16, WIDTH = 16, CONVS = 7 };

typedef struct setup {
    hwb_ctx *ctx;
    hwb_model *model;
    hwb_tensor *x, *y;
    hwb_curvature *whole;
    net *inside;
} setup;

static setup open_net(void) {
    setup s = {.ctx = test_ctx_new()};
    hwb_source source;
    hwb_curvature_options o = {.kind = HWB_HESSIAN};
    assert_ok(s.ctx, net_resnet20_new(s.ctx, &s.model, &s.inside, WIDTH, 1));
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
    const hwb__programs *made = k > 0 ? &c->family->products : &c->own;
    return made->list[made->n - 1].program;
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

static bool has_image(int n, const hwb_vdesc *d) {
    for (int i = 0; i < n; i++)
        if (d[i].shape.ndim == 4 && d[i].shape.dim[0] == BATCH && d[i].shape.dim[1] > 1)
            return true;
    return false;
}

/* FUSED: also a group that follows a convolution, in its kernel. */
static bool is_kind(const hwb__step *s, hwb_op op) {
    return op == HWB_OP_FUSED ? s->fused != NULL : s->op == op;
}

/* Steps of a stage that write an image of the batch. */
static int count_images(const hwb_program *p, int stage, hwb_op op) {
    int n = 0;
    for (int k = 0; k < p->plan->n_steps; k++) {
        const hwb__step *s = &p->plan->steps[k];
        n += s->stage == stage && is_kind(s, op) && has_image(s->n_out, s->out_desc);
    }
    return n;
}

/* Steps of a stage that read or write one. */
static int count_passes(const hwb_program *p, int stage, hwb_op op) {
    int n = 0;
    for (int k = 0; k < p->plan->n_steps; k++) {
        const hwb__step *s = &p->plan->steps[k];
        n += s->stage == stage && is_kind(s, op) &&
             (has_image(s->n_out, s->out_desc) || has_image(s->n_in, s->in_desc));
    }
    return n;
}

/* Groups of a stage that need no pass of their own. */
static int count_following(const hwb_program *p, int stage) {
    int n = 0;
    for (int k = 0; k < p->plan->n_steps; k++) {
        const hwb__step *s = &p->plan->steps[k];
        n += s->stage == stage && s->fused && s->op != HWB_OP_FUSED;
    }
    return n;
}

/* What runs for every batch or vector runs on the CPU backend, but for comparing labels. */
static void assert_no_fallback(const hwb_program *p) {
    for (int k = 0; k < p->plan->n_steps; k++)
        if (p->slots[k].device == p->ref && p->plan->steps[k].stage >= HWB_ROLE_DATA)
            assert_int_equal(p->plan->steps[k].op, HWB_OP_EQ);
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

/* A sweep over all blocks: the forward pass once, and each block's own tangents; kernels of
 * layers that several blocks go through, and their packed weights, are there once. */
static void test_sweep(void **state) {
    static const char *const names[CONVS] = {"conv1",          "layer1.0.conv1", "layer1.0.conv2",
                                             "layer2.0.conv1", "layer2.0.conv2", "layer3.0.conv1",
                                             "layer3.0.conv2"};
    (void)state;
    setup s = open_net();
    hwb_curvature *c[CONVS];
    hwb_tensor *v, *hv;
    int64_t tangents = 0;
    assert_ok(s.ctx, hwb_curvature_blocks(s.ctx, c, s.whole, CONVS, names));
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < CONVS; i++) {
            hwb_linop *op = hwb_curvature_op(c[i]);
            assert_ok(s.ctx, hwb_tensor_new(s.ctx, &v, HWB_F32, hwb_shape_of(2, 1, (int)op->n)));
            assert_ok(s.ctx, hwb_tensor_fill(s.ctx, v, 0.01 * (1 + i)));
            assert_ok(s.ctx, op->apply(s.ctx, op, &hv, v));
            hwb_tensor_release(v);
            hwb_tensor_release(hv);
        }
    for (int i = 0; i < CONVS; i++) tangents += 2 * all_convs(i) + 2 * head_macs();
    hwb_program *p = program_of(&s, c[0], 1);
    hwb_program_info info = hwb_program_stats(p);
    assert_int_equal(info.runs[HWB_ROLE_DATA], 1);
    assert_int_equal(info.runs[HWB_ROLE_TANGENT], 3 * CONVS);
    assert_int_equal(info.macs[HWB_ROLE_DATA], all_convs(0) + head_macs());
    assert_int_equal(info.macs[HWB_ROLE_TANGENT], tangents);
    hwb_program_info whole = hwb_program_stats(program_of(&s, s.whole, 1));
    assert_true(info.kept_bytes < whole.kept_bytes);
    assert_true(info.prepared < 2 * whole.kernels);
    assert_true(info.kernels > 3 * info.prepared / 2);
    assert_no_fallback(p);
    /* a block by itself keeps its own needs only */
    hwb_curvature *last;
    assert_ok(s.ctx, hwb_curvature_block(s.ctx, &last, s.whole, names[CONVS - 1]));
    assert_true(hwb_program_stats(program_of(&s, last, 1)).kept_bytes < info.kept_bytes / 2);
    hwb_curvature_release(last);
    for (int i = 0; i < CONVS; i++) hwb_curvature_release(c[i]);
    close_net(&s);
}

/* Several batches: one forward pass a batch for a product of every block, and of every vector. */
static void test_sweep_streamed(void **state) {
    static const char *const names[] = {"conv1", "layer2.0.conv1", "linear"};
    enum { N = 3, K = 2 };
    (void)state;
    setup s = open_net();
    hwb_curvature *whole, *c[N];
    hwb_source source;
    hwb_curvature_options o = {.kind = HWB_HESSIAN};
    hwb_linop_set set;
    hwb_tensor *v[N], *w[N];
    assert_ok(s.ctx, hwb_source_batch(s.ctx, &source, s.x, s.y, 2));
    assert_ok(s.ctx, hwb_curvature_new(s.ctx, &whole, s.model, source, &o));
    assert_ok(s.ctx, hwb_curvature_blocks(s.ctx, c, whole, N, names));
    assert_ok(s.ctx, hwb_curvature_together(s.ctx, &set, N, c));
    assert_true(set.pass);
    for (int i = 0; i < N; i++) {
        int n = (int)hwb_curvature_n(c[i]);
        assert_ok(s.ctx, hwb_tensor_new(s.ctx, &v[i], HWB_F32, hwb_shape_of(2, K, n)));
        assert_ok(s.ctx, hwb_tensor_fill(s.ctx, v[i], 0.01));
    }
    const hwb_tensor *some[N] = {v[0], NULL, v[2]};
    assert_ok(s.ctx, set.apply(s.ctx, &set, w, some));
    assert_null(w[1]);
    const hwb_program *p = c[0]->family->products.list[0].program;
    assert_int_equal(hwb_program_stats(p).runs[HWB_ROLE_DATA], BATCH / 2);
    assert_int_equal(hwb_program_stats(p).runs[HWB_ROLE_TANGENT], BATCH / 2 * 2 * K);
    assert_int_equal(hwb_curvature_op(c[0])->applied, K);
    assert_int_equal(hwb_curvature_op(c[1])->applied, 0);
    for (int i = 0; i < N; i++) {
        hwb_tensor_release(v[i]);
        hwb_tensor_release(w[i]);
        hwb_curvature_release(c[i]);
    }
    hwb_curvature_apart(&set);
    hwb_curvature_release(whole);
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
    /* F(x',w) + F(x,w') and the like are one kernel */
    /* one mask a convolution forward and one backward; the last result is summed at once */
    assert_int_equal(count_images(p, HWB_ROLE_TANGENT, HWB_OP_FUSED), 2 * CONVS - 1);
    /* behind the convolutions of layer1 that are Winograd's, forward and backward */
    if (strncmp(hwb_backend_cpu_convolutions(), "winograd", 8) == 0)
        assert_true(count_following(p, HWB_ROLE_TANGENT) >= 4);
    assert_int_equal(count_steps(p, HWB_ROLE_TANGENT, HWB_OP_CONV), CONVS);
    assert_int_equal(count_steps(p, HWB_ROLE_TANGENT, HWB_OP_CONV_BWD_DATA), CONVS - 1);
    assert_int_equal(count_steps(p, HWB_ROLE_TANGENT, HWB_OP_CONV_BWD_WEIGHTS), CONVS);
    assert_no_fallback(p);
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

/* ---- flat vectors ------------------------------------------------------------------------------ */

/* One vector is read where it lies and its product written where it belongs: what
 * is sliced are the images of the shortcuts (two axes, there and back), and the
 * arena holds images only. */
static void test_flat_vectors(void **state) {
    (void)state;
    setup s = open_net();
    hwb_program *p = program_of(&s, s.whole, 1);
    assert_int_equal(count_steps(p, HWB_ROLE_TANGENT, HWB_OP_SLICE),
                     count_images(p, HWB_ROLE_TANGENT, HWB_OP_SLICE));
    for (int k = 0; k < p->plan->n_steps; k++) {
        const hwb__step *step = &p->plan->steps[k];
        if (step->op != HWB_OP_CONCAT) continue;
        for (int i = 0; i < step->n_in; i++)
            assert_int_equal(p->plan->values[step->in[i]].place, HWB__AT_OUTPUT);
    }
    close_net(&s);
}

/* Sixteen vectors in shares that fit the budget; no share of its own for a rest. */
static void test_budget(void **state) {
    (void)state;
    setup s = open_net();
    hwb_program_info one = hwb_program_stats(program_of(&s, s.whole, 1));
    s.whole->shared->o.budget = 8 * one.arena_bytes;
    hwb_linop *op = hwb_curvature_op(s.whole);
    hwb_shape shape = {.ndim = 2, .dim = {16, op->n}};
    hwb_tensor *v, *hv;
    assert_ok(s.ctx, hwb_tensor_new(s.ctx, &v, HWB_F32, shape));
    assert_ok(s.ctx, hwb_tensor_fill(s.ctx, v, 0.5));
    assert_ok(s.ctx, op->apply(s.ctx, op, &hv, v));
    int64_t ran = 0, k = 0;
    const hwb__programs *made = &s.whole->family->products;
    for (int i = 0; i < made->n; i++) {
        hwb_program_info info = hwb_program_stats(made->list[i].program);
        if (info.runs[HWB_ROLE_TANGENT] == 0) continue;
        assert_true(info.arena_bytes <= s.whole->shared->o.budget);
        assert_int_equal(k, 0); /* one program */
        k = made->list[i].k;
        ran = info.runs[HWB_ROLE_TANGENT];
    }
    assert_in_range(k, 4, 8);
    assert_int_equal(ran * k, 16);
    hwb_tensor_release(v);
    hwb_tensor_release(hv);
    close_net(&s);
}

/* ---- training and evaluation --------------------------------------------------------------------- */

/* The forward pass in this mode, and with `gradient` the loss and its gradient. */
static hwb_program *compile_model(setup *s, bool train, bool gradient) {
    hwb_tracing t;
    hwb_program *p;
    hwb_loss_fn loss;
    hwb_id target, *outs = calloc((size_t)hwb_model_parameter_count(s->model) + 1, sizeof *outs);
    assert_ok(s->ctx, hwb_model_trace_begin(s->ctx, s->model, &t));
    assert_ok(s->ctx, hwb_model_trace_forward(s->ctx, s->model, &t, HWB_F32, hwb_tensor_shape(s->x),
                                              train));
    outs[0] = t.y;
    if (gradient) {
        assert_ok(s->ctx, hwb_graph_input(t.graph, &target, HWB_ROLE_DATA, HWB_I64,
                                          *hwb_tensor_shape(s->y), "target"));
        assert_ok(s->ctx, hwb_loss_named(s->ctx, &loss, "cross_entropy"));
        assert_ok(s->ctx, loss(NULL, t.graph, &outs[0], t.y, target, true));
        assert_ok(s->ctx,
                  hwb_vjp(t.graph, 1, &outs[0], NULL, t.n_parameters, t.parameters, outs + 1));
    }
    int n = gradient ? 1 + t.n_parameters : 1;
    assert_ok(s->ctx, hwb_compile(s->ctx, &p, t.graph, n, outs, NULL));
    hwb_tracing_free(&t);
    free(outs);
    return p;
}

/* A training step: the convolutions of a gradient; for each batch-norm three passes
 * forward (mean, deviations and variance, result) and two backward (sums, result). */
static void test_training(void **state) {
    (void)state;
    setup s = open_net();
    hwb_program *p = compile_model(&s, true, true);
    hwb_program_info info = hwb_program_stats(p);
    assert_int_equal(info.macs[HWB_ROLE_DATA], 2 * all_convs(0) + all_convs(1) + 3 * head_macs());
    assert_int_equal(count_passes(p, HWB_ROLE_DATA, HWB_OP_FUSED), 5 * CONVS);
    assert_int_equal(count_steps(p, HWB_ROLE_DATA, HWB_OP_PERMUTE), 1);
    assert_no_fallback(p);
    hwb_program_release(p);
    close_net(&s);
}

/* Quantized evaluation: weights are quantized with the parameters, not with every
 * batch; activations in the one pass after their convolution. */
static void test_quantized(void **state) {
    (void)state;
    setup s = open_net();
    s.inside->mode = NET_QUANTIZE;
    s.inside->bits = 4;
    for (int i = 0; i < CONVS; i++) {
        hwb_shape two = {.ndim = 1, .dim = {2}};
        hwb_tensor *range;
        char name[32];
        snprintf(name, sizeof name, "act%d", i);
        assert_ok(s.ctx, hwb_tensor_new(s.ctx, &range, HWB_F32, two));
        hwb_tensor_set(range, 0, 0);
        hwb_tensor_set(range, 1, 1);
        assert_ok(s.ctx, net_keep(s.inside, name, "running_range", range));
    }
    hwb_program *p = compile_model(&s, false, false);
    hwb_program_info info = hwb_program_stats(p);
    assert_int_equal(info.macs[HWB_ROLE_DATA], all_convs(0) + head_macs());
    assert_int_equal(count_passes(p, HWB_ROLE_DATA, HWB_OP_FUSED), CONVS);
    assert_int_equal(count_steps(p, HWB_ROLE_DATA, HWB_OP_MAX), 0);
    assert_no_fallback(p);
    hwb_program_release(p);
    close_net(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient_macs),  cmocka_unit_test(test_hvp_macs),
        cmocka_unit_test(test_block_macs),     cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_sweep_streamed), cmocka_unit_test(test_vectors_macs),
        cmocka_unit_test(test_passes),         cmocka_unit_test(test_kept_bytes),
        cmocka_unit_test(test_flat_vectors),   cmocka_unit_test(test_budget),
        cmocka_unit_test(test_training),       cmocka_unit_test(test_quantized)};
    return RUN_TESTS(tests);
}
