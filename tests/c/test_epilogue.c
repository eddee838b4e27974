/*
 * test_epilogue.c: programs in which pointwise groups follow convolutions give what
 * the same programs give with groups as passes of their own (no_epilogues).
 *
 * The programs are a residual network of 3x3 convolutions, biases and ReLUs, its
 * gradient, and Hessian-vector products of one or several vectors.  Values and
 * weight gradients are the same bits; sums of a group over images (bias gradients,
 * the loss) are added up in another order.
 */
#include "testing.h"

#include "ad/ad.h"
#include "backend/cpu/cpu_i.h"
#include "backend/cpu/cpu_vec_i.h"
#include "backend/cpu/cpu_wino_i.h"
#include "exec/exec_i.h"
#include "graph/build.h"

enum { LAYERS = 4, PARAMETERS = 2 * LAYERS, MAX_OUT = 2 * PARAMETERS + LAYERS + 2 };

typedef struct geometry {
    hwb_dtype dtype;
    int64_t n, h, w, width[LAYERS + 1];
    int pad;
    int64_t vectors; /* 0: the gradient */
    bool block;      /* vectors of the first layer's parameters alone */
    int stride;      /* of the third layer */
} geometry;

typedef struct program {
    hwb_graph *graph;
    int n_in, n_out;
    hwb_id in[1 + 2 * PARAMETERS], out[MAX_OUT];
    bool sum[MAX_OUT]; /* order of addition may differ */
} program;

static hwb_id input(hwb_ctx *ctx, program *p, hwb_role role, hwb_dtype dtype, hwb_shape shape) {
    hwb_id id;
    assert_ok(ctx, hwb_graph_input(p->graph, &id, role, dtype, shape, ""));
    p->in[p->n_in++] = id;
    return id;
}

static void add_output(program *p, hwb_id id, bool sum) {
    p->sum[p->n_out] = sum;
    p->out[p->n_out++] = id;
}

/* Layer i: relu(conv(x) + b (+ x)), and asked for where the unit is on. */
static void add_layer(hwb_ctx *ctx, const geometry *q, program *p, int i, hwb_id *x,
                      const hwb_id *parameter) {
    hwb_graph *g = p->graph;
    hwb_conv_options o = {.padding = {q->pad, q->pad}};
    if (i == 2) o.stride[0] = o.stride[1] = q->stride;
    hwb_id y, zero, on;
    assert_ok(ctx, hwb_conv2d(g, &y, *x, parameter[2 * i], HWB_NONE, o));
    assert_ok(ctx, hwb_add(g, &y, y, parameter[2 * i + 1]));
    if (i % 2 && hwb_shape_equal(hwb_graph_shape(g, y), hwb_graph_shape(g, *x)))
        assert_ok(ctx, hwb_add(g, &y, y, *x));
    assert_ok(ctx, hwb_scalar(g, &zero, y, 0));
    assert_ok(ctx, hwb_lt(g, &on, zero, y));
    if (q->vectors == 0 && i == 1) add_output(p, on, false);
    assert_ok(ctx, hwb_relu(g, x, y));
    if (q->vectors == 0 && i == 2) add_output(p, *x, false);
}

/* The tangents of the gradient along K vectors. */
static void add_products(hwb_ctx *ctx, const geometry *q, program *p, const hwb_id *parameter,
                         const hwb_id *gradient) {
    hwb_graph *g = p->graph;
    hwb_id v[PARAMETERS], batched[PARAMETERS], hv[PARAMETERS];
    int n = q->block ? 2 : PARAMETERS;
    for (int i = 0; i < n; i++) {
        hwb_shape one = *hwb_graph_shape(g, parameter[i]), many = {.ndim = one.ndim + 1};
        many.dim[0] = q->vectors;
        memcpy(many.dim + 1, one.dim, (size_t)one.ndim * sizeof *one.dim);
        batched[i] = input(ctx, p, HWB_ROLE_TANGENT, q->dtype, many);
        if (q->vectors > 1) {
            assert_ok(ctx, hwb_graph_input(g, &v[i], HWB_ROLE_TANGENT, q->dtype, one, ""));
            continue;
        }
        assert_ok(ctx, hwb_reshape(g, &v[i], batched[i], one));
    }
    assert_ok(ctx, hwb_jvp(g, n, parameter, v, PARAMETERS, gradient, hv));
    if (q->vectors > 1) assert_ok(ctx, hwb_batch(g, q->vectors, n, v, batched, PARAMETERS, hv, hv));
    for (int i = 0; i < PARAMETERS; i++) add_output(p, hv[i], i % 2 != 0);
}

static void build(hwb_ctx *ctx, const geometry *q, program *p) {
    hwb_id parameter[PARAMETERS], gradient[PARAMETERS], loss, x;
    memset(p, 0, sizeof *p);
    assert_ok(ctx, hwb_graph_new(ctx, &p->graph));
    x = input(ctx, p, HWB_ROLE_DATA, q->dtype, hwb_shape_of(4, q->n, q->width[0], q->h, q->w));
    for (int i = 0; i < LAYERS; i++) {
        const int64_t *c = &q->width[i];
        parameter[2 * i] =
            input(ctx, p, HWB_ROLE_PARAM, q->dtype, hwb_shape_of(4, c[1], c[0], 3, 3));
        parameter[2 * i + 1] =
            input(ctx, p, HWB_ROLE_PARAM, q->dtype, hwb_shape_of(4, 1, c[1], 1, 1));
    }
    for (int i = 0; i < LAYERS; i++) add_layer(ctx, q, p, i, &x, parameter);
    assert_ok(ctx, hwb_mul(p->graph, &x, x, x));
    assert_ok(ctx, hwb_sum(p->graph, &loss, x, 0, false));
    assert_ok(ctx, hwb_vjp(p->graph, 1, &loss, NULL, PARAMETERS, parameter, gradient));
    if (q->vectors > 0) {
        add_products(ctx, q, p, parameter, gradient);
        return;
    }
    add_output(p, loss, true);
    for (int i = 0; i < PARAMETERS; i++) add_output(p, gradient[i], i % 2 != 0);
}

typedef struct outcome {
    int n, follows; /* results; convolutions that a group follows */
    hwb_tensor *out[MAX_OUT];
    size_t memory;
} outcome;

/* Parameters are scaled so that values stay of the order of one. */
static void feed(hwb_ctx *ctx, const program *p, hwb_program *made, double scale) {
    for (int i = 0; i < p->n_in; i++) {
        const hwb_shape *s = hwb_graph_shape(p->graph, p->in[i]);
        hwb_tensor *t;
        hwb_rng rng = {11, (uint64_t)i};
        int64_t fan = i > 0 ? 9 * s->dim[s->ndim - 3] : 1;
        assert_ok(ctx, hwb_tensor_new(ctx, &t, hwb_graph_dtype(p->graph, p->in[i]), *s));
        for (int64_t j = 0; j < hwb_tensor_numel(t); j++)
            hwb_tensor_set(t, j,
                           hwb_rng_normal(rng, (uint64_t)j) * sqrt(2.0 / (double)fan) * scale);
        assert_ok(ctx, hwb_program_set(ctx, made, p->in[i], t));
        hwb_tensor_release(t);
    }
}

static outcome run(hwb_ctx *ctx, const geometry *q, bool epilogues) {
    program p;
    hwb_program *made;
    outcome r = {0};
    hwb_compile_options o = {.no_epilogues = !epilogues};
    build(ctx, q, &p);
    assert_ok(ctx, hwb_compile(ctx, &made, p.graph, p.n_out, p.out, &o));
    feed(ctx, &p, made, 1);
    for (int turn = 0; turn < 2; turn++) { /* the second with warm buffers */
        for (int i = 0; i < r.n; i++) hwb_tensor_release(r.out[i]);
        assert_ok(ctx, hwb_program_run(ctx, made, r.out));
        r.n = p.n_out;
    }
    for (int k = 0; k < made->plan->n_steps; k++) {
        const hwb__step *s = &made->plan->steps[k];
        r.follows += s->fused && s->op != HWB_OP_FUSED;
    }
    char *text = hwb_program_dump(made);
    assert_int_equal(strstr(text, ", then ") != NULL, r.follows > 0);
    free(text);
    hwb_program_info info = hwb_program_stats(made);
    r.memory = info.arena_bytes + info.kept_bytes;
    hwb_program_release(made);
    hwb_graph_release(p.graph);
    return r;
}

static void drop(outcome *r) {
    for (int i = 0; i < r->n; i++) hwb_tensor_release(r->out[i]);
}

static void same(const outcome *a, const outcome *b, const bool *sum) {
    for (int i = 0; i < a->n; i++) {
        if (!sum || !sum[i]) {
            assert_memory_equal(hwb_tensor_data(a->out[i]), hwb_tensor_data(b->out[i]),
                                hwb_tensor_bytes(a->out[i]));
            continue;
        }
        double diff = 0, size = 0;
        for (int64_t j = 0; j < hwb_tensor_numel(a->out[i]); j++) {
            double x = hwb_tensor_get(a->out[i], j), y = hwb_tensor_get(b->out[i], j);
            diff += (x - y) * (x - y);
            size += y * y;
        }
        assert_true(size > 0 && diff <= 1e-12 * size);
    }
}

static const geometry cases[] = {
    {HWB_F32, 8, 16, 16, {16, 16, 16, 32, 32}, 1, 0, false, 1},
    {HWB_F32, 8, 16, 16, {16, 16, 16, 32, 32}, 1, 1, false, 1},
    {HWB_F32, 5, 13, 15, {16, 32, 32, 16, 16}, 1, 0, false, 1}, /* odd sizes */
    {HWB_F32, 5, 13, 15, {16, 32, 32, 16, 16}, 1, 1, false, 1},
    {HWB_F32, 3, 13, 15, {16, 16, 16, 16, 48}, 1, 3, false, 1},      /* three vectors */
    {HWB_F32, 4, 20, 17, {16, 16, 32, 32, 32}, 0, 2, false, 1},      /* no padding */
    {HWB_F32, 3, 14, 14, {128, 160, 160, 128, 128}, 1, 0, false, 1}, /* 64 channels at a time */
    {HWB_F32, 3, 14, 14, {128, 160, 160, 128, 128}, 1, 2, false, 1},
    {HWB_F32, 3, 13, 15, {16, 16, 16, 32, 32}, 1, 3, true, 1}, /* vectors are images of their own */
    {HWB_F32, 9, 26, 29, {16, 16, 32, 48, 32}, 1, 0, false, 2},
    {HWB_F32, 5, 26, 29, {16, 16, 32, 48, 32}, 1, 3, false, 2},
};

static bool winograd(void) {
    return strncmp(hwb_backend_cpu_convolutions(), "winograd", 8) == 0;
}

static void same_results(void **unused) {
    (void)unused;
    if (!winograd()) TEST_SKIP("no convolution that groups follow on this machine");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hwb_ctx *ctx = test_ctx_new();
        hwb_set_threads(ctx, 2);
        program p;
        build(ctx, &cases[i], &p);
        hwb_graph_release(p.graph);
        outcome plain = run(ctx, &cases[i], false), follow = run(ctx, &cases[i], true);
        assert_int_equal(plain.follows, 0);
        assert_true(follow.follows >= 3);
        assert_true((double)follow.memory <= 1.05 * (double)plain.memory);
        same(&follow, &plain, p.sum);
        drop(&plain);
        drop(&follow);
        hwb_ctx_free(ctx);
    }
}

/* The same bits at any number of threads. */
static void any_threads(void **unused) {
    (void)unused;
    if (!winograd()) TEST_SKIP("no convolution that groups follow on this machine");
    for (size_t i = 2; i < sizeof cases / sizeof *cases; i += 2) {
        outcome first = {0};
        hwb_ctx *ctx = test_ctx_new();
        for (int threads = 1; threads <= 3; threads++) {
            hwb_set_threads(ctx, threads);
            outcome r = run(ctx, &cases[i], true);
            if (threads == 1) {
                first = r;
                continue;
            }
            same(&r, &first, NULL);
            drop(&r);
        }
        drop(&first);
        hwb_ctx_free(ctx);
    }
}

/* The narrower instructions of older processors. */
static void avx2(void **unused) {
    (void)unused;
    if (!winograd()) TEST_SKIP("no convolution that groups follow on this machine");
    for (size_t i = 0; i < 2; i++) {
        const geometry *q = &cases[i ? 5 : 10];
        hwb_ctx *ctx = test_ctx_new();
        hwb_device *d;
        program p;
        assert_ok(ctx, hwb_device_open(ctx, &d, "cpu"));
        hwb__cpu_state *state = d->state;
        state->vec = &hwb__vec_avx2;
        state->wino = &hwb__wino_avx2;
        build(ctx, q, &p);
        hwb_graph_release(p.graph);
        outcome plain = run(ctx, q, false), follow = run(ctx, q, true);
        assert_true(follow.follows >= 3);
        same(&follow, &plain, p.sum);
        drop(&plain);
        drop(&follow);
        hwb_ctx_free(ctx);
    }
}

/* Double precision is always direct, and so is the forward pass that decides masks. */
static void left_alone(void **unused) {
    (void)unused;
    geometry q = {HWB_F64, 4, 9, 9, {16, 16, 16, 16, 16}, 1, 1, false, 1};
    hwb_ctx *ctx = test_ctx_new();
    outcome plain = run(ctx, &q, false), follow = run(ctx, &q, true);
    assert_int_equal(follow.follows, 0);
    same(&follow, &plain, NULL);
    drop(&plain);
    drop(&follow);
    hwb_ctx_free(ctx);
}

/* What is not finite behind a convolution is found, and both are named. */
static void not_finite(void **unused) {
    (void)unused;
    if (!winograd()) TEST_SKIP("no convolution that groups follow on this machine");
    hwb_ctx *ctx = test_ctx_new();
    hwb_program *made;
    hwb_tensor *out[MAX_OUT];
    program p;
    build(ctx, &cases[0], &p);
    assert_ok(ctx, hwb_compile(ctx, &made, p.graph, p.n_out, p.out, NULL));
    feed(ctx, &p, made, 1e20);
    assert_fails(ctx, hwb_program_run(ctx, made, out), HWB_ENUMERIC, "conv and then relu");
    hwb_program_release(made);
    hwb_graph_release(p.graph);
    hwb_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_results), cmocka_unit_test(any_threads), cmocka_unit_test(avx2),
        cmocka_unit_test(left_alone),   cmocka_unit_test(not_finite),
    };
    return RUN_TESTS(tests);
}
