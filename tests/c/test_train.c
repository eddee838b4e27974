/*
 * test_train.c: the update rules, trainers, and quantizers inside graphs.
 */
#include "testing.h"

#include "ad/ad.h"
#include "exec/exec.h"
#include "graph/build.h"
#include "graph/compose.h"
#include "optim/optim.h"
#include "quant/fake.h"

static hwb_tensor *random_tensor(hwb_ctx *ctx, hwb_dtype dtype, hwb_shape s, uint64_t seed) {
    hwb_tensor *t;
    assert_ok(ctx, hwb_tensor_new(ctx, &t, dtype, s));
    assert_ok(ctx, hwb_tensor_fill_normal(ctx, t, (hwb_rng){seed, 0}));
    return t;
}

static hwb_tensor *vector(hwb_ctx *ctx, hwb_dtype dtype, int64_t n, uint64_t seed) {
    return random_tensor(ctx, dtype, hwb_shape_of(1, (int)n), seed);
}

/* ---- update rules ------------------------------------------------------------------ */

/* The formulas of optim.h, in double. */
typedef struct element {
    double p, m, v;
} element;

static double lamb_direction(const hwb_optim_options *o, const element *e, int t, double wd) {
    double m = e->m / (1 - pow(o->beta1, t)), v = e->v / (1 - pow(o->beta2, t));
    return m / (sqrt(v) + o->eps) + wd * e->p;
}

static void moments_of(const hwb_optim_options *o, element *e, double g) {
    e->m = o->beta1 * e->m + (1 - o->beta1) * g;
    e->v = o->beta2 * e->v + (1 - o->beta2) * g * g;
}

/* Norms over all elements: LARS's ratio, or LAMB's with the moments already new. */
static double ratio_of(const hwb_optim_options *o, element *e, int n, const hwb_tensor *g, int t,
                       bool decay) {
    double pp = 0, other = 0;
    for (int i = 0; i < n; i++) {
        double x = hwb_tensor_get(g, i);
        if (o->kind == HWB_LAMB) moments_of(o, &e[i], x);
        if (o->kind == HWB_LAMB) x = lamb_direction(o, &e[i], t, decay ? o->weight_decay : 0);
        pp += e[i].p * e[i].p;
        other += x * x;
    }
    if (!decay || (o->kind != HWB_LARS && o->kind != HWB_LAMB)) return 1;
    if (o->kind == HWB_LAMB) return sqrt(pp / other);
    return o->eta * sqrt(pp) / (sqrt(other) + o->weight_decay * sqrt(pp) + o->eps);
}

static void step_of(const hwb_optim_options *o, element *e, double g, int t, double lr, bool decay,
                    double ratio) {
    double wd = decay ? o->weight_decay : 0;
    if (o->kind == HWB_LAMB) {
        e->p -= lr * ratio * lamb_direction(o, e, t, wd);
        return;
    }
    if (o->kind == HWB_SGD || o->kind == HWB_LARS) {
        double d = ratio * (g + wd * e->p);
        if (o->momentum > 0) {
            e->m = t == 1 ? d : o->momentum * e->m + d;
            d = o->nesterov ? d + o->momentum * e->m : e->m;
        }
        e->p -= lr * d;
        return;
    }
    if (o->kind == HWB_ADAMW) e->p *= 1 - lr * wd;
    else g += wd * e->p;
    moments_of(o, e, g);
    double m = e->m / (1 - pow(o->beta1, t)), v = e->v / (1 - pow(o->beta2, t));
    e->p -= lr * m / (sqrt(v) + o->eps);
}

static void check_rule(hwb_ctx *ctx, hwb_optim_options o, hwb_dtype dtype, bool decay) {
    enum { N = 50000 }; /* enough for several threads */
    double tol = dtype == HWB_F64 ? 1e-14 : 2e-6;
    hwb_tensor *p = vector(ctx, dtype, N, 1), *s[2] = {NULL, NULL};
    element *e = calloc(N, sizeof *e);
    assert_non_null(e);
    for (int k = 0; k < hwb_optim_states(&o); k++)
        assert_ok(ctx, hwb_tensor_zeros(ctx, &s[k], dtype, hwb_shape_of(1, N)));
    for (int i = 0; i < N; i++) e[i].p = hwb_tensor_get(p, i);
    for (int t = 1; t <= 3; t++) {
        hwb_tensor *g = vector(ctx, dtype, N, 10 + (uint64_t)t);
        assert_ok(ctx, hwb_optim_apply(ctx, &o, p, g, s, t, 0.01, decay));
        double ratio = ratio_of(&o, e, N, g, t, decay);
        for (int i = 0; i < N; i++) step_of(&o, &e[i], hwb_tensor_get(g, i), t, 0.01, decay, ratio);
        hwb_tensor_release(g);
    }
    for (int i = 0; i < N; i++) assert_near(hwb_tensor_get(p, i), e[i].p, tol);
    free(e);
    hwb_tensor_release(p);
    for (int k = 0; k < 2; k++) hwb_tensor_release(s[k]);
}

static void test_rules(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    for (int dtype = 0; dtype < 2; dtype++) {
        hwb_optim_options o = hwb_optim_defaults();
        check_rule(ctx, o, dtype ? HWB_F64 : HWB_F32, true);
        o.momentum = 0.9;
        o.weight_decay = 0.05;
        check_rule(ctx, o, dtype ? HWB_F64 : HWB_F32, true);
        o.nesterov = true;
        check_rule(ctx, o, dtype ? HWB_F64 : HWB_F32, false);
        o.kind = HWB_ADAM;
        check_rule(ctx, o, dtype ? HWB_F64 : HWB_F32, true);
        o.kind = HWB_ADAMW;
        check_rule(ctx, o, dtype ? HWB_F64 : HWB_F32, true);
        o.kind = HWB_LAMB;
        check_rule(ctx, o, dtype ? HWB_F64 : HWB_F32, true);
        check_rule(ctx, o, dtype ? HWB_F64 : HWB_F32, false);
        o.kind = HWB_LARS;
        o.eta = 0.3;
        check_rule(ctx, o, dtype ? HWB_F64 : HWB_F32, true);
        check_rule(ctx, o, dtype ? HWB_F64 : HWB_F32, false);
    }
    hwb_ctx_free(ctx);
}

static void test_rules_refuse(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_optim_options o = hwb_optim_defaults();
    hwb_tensor *p = vector(ctx, HWB_F32, 4, 1), *g = vector(ctx, HWB_F32, 5, 2);
    hwb_tensor *d = vector(ctx, HWB_F64, 4, 3);
    assert_fails(ctx, hwb_optim_apply(ctx, &o, p, g, NULL, 1, 0.1, true), HWB_EARG, "");
    assert_fails(ctx, hwb_optim_apply(ctx, &o, p, d, NULL, 1, 0.1, true), HWB_EARG, "");
    assert_fails(ctx, hwb_optim_apply(ctx, &o, p, p, NULL, 1, NAN, true), HWB_EARG, "nan");
    o.momentum = 1;
    assert_fails(ctx, hwb_optim_check(ctx, &o), HWB_EARG, "momentum 1");
    o = hwb_optim_defaults();
    o.nesterov = true;
    assert_fails(ctx, hwb_optim_check(ctx, &o), HWB_EARG, "Nesterov");
    hwb_tensor_release(p);
    hwb_tensor_release(g);
    hwb_tensor_release(d);
    hwb_ctx_free(ctx);
}

/* ---- trainers --------------------------------------------------------------------------- */

/* logits = x w^T + b with buffers that count the passes in training mode: two of the
 * model's dtype (the second by tens, in two places) and one of another */
typedef struct net {
    hwb_tensor *w, *b, *passes, *tens, *narrow;
} net;

static hwb_status count_up(hwb_graph *g, hwb_tensor *buffer, double step) {
    hwb_id c;
    HWB_TRY(hwb_graph_lift(g, &c, buffer));
    HWB_TRY(hwb_add_scalar(g, &c, c, step));
    return hwb_graph_update(g, buffer, c);
}

static hwb_status forward(void *user, hwb_graph *g, hwb_id *y, hwb_id x, bool train) {
    net *n = user;
    hwb_id w, b;
    HWB_TRY(hwb_graph_lift(g, &w, n->w));
    HWB_TRY(hwb_graph_lift(g, &b, n->b));
    if (train) {
        HWB_TRY(count_up(g, n->passes, 1));
        HWB_TRY(count_up(g, n->narrow, 0.5));
        HWB_TRY(count_up(g, n->tens, 10));
    }
    return hwb_linear(g, y, x, w, b);
}

static hwb_status make_model(hwb_ctx *ctx, net *n, hwb_model **m) {
    *n = (net){0};
    *m = NULL;
    HWB_TRY(hwb_tensor_new(ctx, &n->w, HWB_F64, hwb_shape_of(2, 3, 4)));
    HWB_TRY(hwb_tensor_fill_normal(ctx, n->w, (hwb_rng){5, 0}));
    HWB_TRY(hwb_tensor_zeros(ctx, &n->b, HWB_F64, hwb_shape_of(1, 3)));
    HWB_TRY(hwb_tensor_zeros(ctx, &n->passes, HWB_F64, hwb_shape_of(1, 1)));
    HWB_TRY(hwb_tensor_zeros(ctx, &n->tens, HWB_F64, hwb_shape_of(2, 2, 1)));
    HWB_TRY(hwb_tensor_zeros(ctx, &n->narrow, HWB_F32, hwb_shape_of(1, 3)));
    HWB_TRY(hwb_model_new(ctx, m, forward, n, NULL));
    HWB_TRY(hwb_model_add_parameter(ctx, *m, "weight", n->w));
    HWB_TRY(hwb_model_add_parameter(ctx, *m, "bias", n->b));
    HWB_TRY(hwb_model_add_buffer(ctx, *m, "passes", n->passes));
    HWB_TRY(hwb_model_add_buffer(ctx, *m, "narrow", n->narrow));
    return hwb_model_add_buffer(ctx, *m, "tens", n->tens);
}

static void free_model(net *n, hwb_model *m) {
    hwb_model_release(m);
    hwb_tensor_release(n->w);
    hwb_tensor_release(n->b);
    hwb_tensor_release(n->passes);
    hwb_tensor_release(n->tens);
    hwb_tensor_release(n->narrow);
}

static hwb_tensor *labels(hwb_ctx *ctx, int n) {
    hwb_tensor *y;
    assert_ok(ctx, hwb_tensor_zeros(ctx, &y, HWB_I64, hwb_shape_of(1, n)));
    for (int i = 0; i < n; i++) hwb_tensor_set(y, i, i % 3);
    return y;
}

static void test_trainer(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    net n;
    hwb_model *m;
    hwb_trainer *t;
    hwb_curvature *c;
    hwb_source source;
    hwb_tensor *want;
    double loss, first, half;
    int64_t right;
    assert_ok(ctx, make_model(ctx, &n, &m));
    hwb_tensor *x = random_tensor(ctx, HWB_F64, hwb_shape_of(2, 6, 4), 6), *y = labels(ctx, 6);
    hwb_tensor *xa, *ya, *xb, *yb;
    assert_ok(ctx, hwb_tensor_slice(ctx, &xa, x, 0, 0, 3, 1));
    assert_ok(ctx, hwb_tensor_slice(ctx, &ya, y, 0, 0, 3, 1));
    assert_ok(ctx, hwb_tensor_slice(ctx, &xb, x, 0, 3, 3, 1));
    assert_ok(ctx, hwb_tensor_slice(ctx, &yb, y, 0, 3, 3, 1));
    hwb_trainer_options o = {.optim = hwb_optim_defaults()};
    o.optim.momentum = 0.9;
    assert_ok(ctx, hwb_trainer_new(ctx, &t, m, &o));
    assert_fails(ctx, hwb_trainer_update(ctx, t, 0.1), HWB_EARG, "no gradient");
    assert_ok(ctx, hwb_trainer_gradient(ctx, t, x, y, 1, &first, &right));
    assert_true(right >= 0 && right <= 6);
    assert_near(hwb_tensor_get(n.passes, 0), 1, 0);
    for (int i = 0; i < 2; i++) assert_near(hwb_tensor_get(n.tens, i), 10, 0);
    for (int i = 0; i < 3; i++) assert_near(hwb_tensor_get(n.narrow, i), 0.5, 0);

    hwb_curvature_options co = {.kind = HWB_HESSIAN};
    assert_ok(ctx, hwb_source_batch(ctx, &source, x, y, 0));
    assert_ok(ctx, hwb_curvature_new(ctx, &c, m, source, &co));
    assert_ok(ctx, hwb_curvature_gradient(ctx, c, &loss, &want));
    assert_near(loss, first, 1e-14);
    for (int i = 0; i < 15; i++)
        assert_near(hwb_tensor_get(hwb_trainer_flat_gradient(t), i), hwb_tensor_get(want, i),
                    1e-14);
    assert_near(hwb_trainer_norm(t), sqrt(hwb_tensor_dot(want, want)), 1e-14);

    /* a program made again goes on from the buffers there are */
    assert_ok(ctx, hwb_trainer_clear(ctx, t));
    hwb_trainer_trim(t);
    assert_ok(ctx, hwb_trainer_prepare(ctx, t, x, y));
    assert_ok(ctx, hwb_trainer_gradient(ctx, t, x, y, 1, &loss, &right));
    assert_true(loss == first);
    assert_near(hwb_tensor_get(n.passes, 0), 2, 0);
    assert_near(hwb_tensor_get(n.narrow, 2), 1, 0);

    /* a gradient from elsewhere is added, to nothing too */
    for (int k = 1; k < 3; k++) {
        if (k == 1) assert_ok(ctx, hwb_trainer_clear(ctx, t));
        assert_ok(ctx, hwb_trainer_add(ctx, t, want));
        for (int i = 0; i < 15; i++)
            assert_near(hwb_tensor_get(hwb_trainer_flat_gradient(t), i),
                        k * hwb_tensor_get(want, i), 1e-14);
    }
    assert_fails(ctx, hwb_trainer_add(ctx, t, x), HWB_ESHAPE, "15 values");

    /* halves add up to the same */
    assert_ok(ctx, hwb_trainer_clear(ctx, t));
    assert_ok(ctx, hwb_trainer_gradient(ctx, t, xa, ya, 0.5, &half, &right));
    assert_ok(ctx, hwb_trainer_gradient(ctx, t, xb, yb, 0.5, &loss, &right));
    assert_near(0.5 * (half + loss), first, 1e-14);
    for (int i = 0; i < 15; i++)
        assert_near(hwb_tensor_get(hwb_trainer_flat_gradient(t), i), hwb_tensor_get(want, i),
                    1e-14);
    hwb_tensor *before;
    assert_ok(ctx, hwb_tensor_clone(ctx, &before, n.w));
    assert_ok(ctx, hwb_trainer_update(ctx, t, 0.5));
    for (int i = 0; i < 12; i++)
        assert_near(hwb_tensor_get(n.w, i),
                    hwb_tensor_get(before, i) - 0.5 * hwb_tensor_get(want, i), 1e-14);
    assert_int_equal(hwb_trainer_steps(t), 1);

    /* the loss falls, and a restored trainer goes the same way */
    hwb_tensor *states[2], *saved, *flat;
    assert_int_equal(hwb_trainer_states(t, states), 1);
    assert_ok(ctx, hwb_tensor_clone(ctx, &saved, states[0]));
    assert_ok(ctx, hwb_model_flatten(ctx, m, &flat));
    double after[2];
    for (int k = 0; k < 2; k++) {
        assert_ok(ctx, hwb_model_assign(ctx, m, flat));
        assert_ok(ctx, hwb_trainer_restore(ctx, t, 1, 1, &saved));
        for (int i = 0; i < 20; i++) {
            assert_ok(ctx, hwb_trainer_gradient(ctx, t, x, y, 1, &after[k], &right));
            assert_ok(ctx, hwb_trainer_update(ctx, t, 0.2));
        }
    }
    assert_true(after[0] == after[1] && after[0] < 0.5 * first);
    assert_fails(ctx, hwb_trainer_restore(ctx, t, 1, 0, NULL), HWB_EARG, "keeps 1");
    assert_fails(ctx, hwb_trainer_restore(ctx, t, 1, 1, &before), HWB_ESHAPE, "15 parameters");
    hwb_tensor *made[] = {x, y, xa, ya, xb, yb, want, before, saved, flat};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) hwb_tensor_release(made[i]);
    hwb_curvature_release(c);
    hwb_trainer_free(t);
    free_model(&n, m);
    hwb_ctx_free(ctx);
}

static void test_trainer_errors(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    net n;
    hwb_model *m;
    hwb_trainer *t;
    double loss;
    int64_t right;
    assert_ok(ctx, make_model(ctx, &n, &m));
    hwb_trainer_options o = {.optim = hwb_optim_defaults()};
    assert_ok(ctx, hwb_trainer_new(ctx, &t, m, &o));
    hwb_tensor *x = random_tensor(ctx, HWB_F64, hwb_shape_of(2, 6, 5), 6), *y = labels(ctx, 6);
    hwb_tensor *bad = random_tensor(ctx, HWB_F64, hwb_shape_of(2, 6, 4), 6);
    assert_fails(ctx, hwb_trainer_gradient(ctx, t, x, y, 1, &loss, &right), HWB_ESHAPE, "");
    hwb_tensor_set(bad, 7, NAN);
    assert_fails(ctx, hwb_trainer_gradient(ctx, t, bad, y, 1, &loss, &right), HWB_ENUMERIC, "");
    hwb_trainer_free(t);
    /* every allocation fails once */
    for (int k = 1; k < 400; k++) {
        char text[16];
        snprintf(text, sizeof text, "%d", k);
        setenv("HWB_TEST_FAIL_ALLOC", text, 1);
        hwb_ctx *poor = test_ctx_new();
        unsetenv("HWB_TEST_FAIL_ALLOC");
        net pn;
        hwb_model *pm;
        hwb_tensor *px = NULL, *py = NULL;
        t = NULL;
        o.optim.momentum = 0.5;
        hwb_status st = make_model(poor, &pn, &pm);
        if (st == HWB_OK) st = hwb_tensor_zeros(poor, &px, HWB_F64, hwb_shape_of(2, 6, 4));
        if (st == HWB_OK) st = hwb_tensor_zeros(poor, &py, HWB_I64, hwb_shape_of(1, 6));
        if (st == HWB_OK) st = hwb_trainer_new(poor, &t, pm, &o);
        for (int i = 0; st == HWB_OK && i < 2; i++)
            st = hwb_trainer_gradient(poor, t, px, py, 1, &loss, &right);
        if (st == HWB_OK) st = hwb_trainer_update(poor, t, 0.1);
        hwb_trainer_free(t);
        hwb_tensor_release(px);
        hwb_tensor_release(py);
        free_model(&pn, pm);
        hwb_ctx_free(poor);
        if (st == HWB_OK) break;
        assert_int_equal(st, HWB_ENOMEM);
    }
    hwb_tensor_release(x);
    hwb_tensor_release(y);
    hwb_tensor_release(bad);
    free_model(&n, m);
    hwb_ctx_free(ctx);
}

/* ---- quantizers inside a graph -------------------------------------------------------------- */

/* Q(w) and the gradient of sum(Q(w) * u) by the program. */
static void run_fake(hwb_ctx *ctx, hwb_tensor *w, hwb_tensor *u, const hwb_quant_spec *spec,
                     const hwb_quant_params *stored, bool clip, const char *device,
                     hwb_tensor **out) {
    hwb_graph *g;
    hwb_program *p;
    hwb_id x, v, scale = HWB_NONE, zero = HWB_NONE, y, total, outs[2];
    hwb_compile_options o = {.device = device};
    assert_ok(ctx, hwb_graph_new(ctx, &g));
    assert_ok(ctx, hwb_graph_lift(g, &x, w));
    assert_ok(ctx, hwb_graph_lift(g, &v, u));
    if (stored) assert_ok(ctx, hwb_graph_lift(g, &scale, stored->scale));
    if (stored) assert_ok(ctx, hwb_graph_lift(g, &zero, stored->zero));
    assert_ok(ctx, hwb_fake_weight(g, &y, x, spec, scale, zero, clip));
    outs[0] = y;
    assert_ok(ctx, hwb_mul(g, &total, y, v));
    assert_ok(ctx, hwb_sum(g, &total, total, 0, false));
    assert_ok(ctx, hwb_vjp(g, 1, &total, NULL, 1, &x, &outs[1]));
    assert_ok(ctx, hwb_compile(ctx, &p, g, 2, outs, &o));
    assert_ok(ctx, hwb_program_run(ctx, p, out));
    hwb_program_release(p);
    hwb_graph_release(g);
}

static void check_fake(hwb_ctx *ctx, const hwb_quant_spec *spec, hwb_dtype dtype,
                       const char *device) {
    hwb_shape s = hwb_shape_of(3, 7, 3, 5);
    hwb_tensor *w = random_tensor(ctx, dtype, s, 3), *u = random_tensor(ctx, dtype, s, 4);
    hwb_tensor *want, *out[2];
    hwb_quant_params params = {0};
    hwb_tensor_set(w, 20, 9); /* an outlier, so that ranges differ */
    assert_ok(ctx, hwb_quant_range(ctx, &params, w, spec));
    assert_ok(ctx, hwb_quant_apply(ctx, &want, w, &params));
    for (int k = spec->ranging != HWB_QUANT_MINMAX; k < 2; k++) {
        /* exact, but for the order of summation in a mean */
        bool mean = k == 0 && spec->bits == 1 && spec->scheme == HWB_QUANT_SYMMETRIC;
        double tol = !mean ? 0 : dtype == HWB_F32 ? 1e-7 : 1e-15;
        run_fake(ctx, w, u, spec, k ? &params : NULL, false, device, out);
        for (int64_t i = 0; i < hwb_tensor_numel(w); i++) {
            assert_near(hwb_tensor_get(out[0], i), hwb_tensor_get(want, i), tol);
            assert_true(hwb_tensor_get(out[1], i) == hwb_tensor_get(u, i));
        }
        hwb_tensor_release(out[0]);
        hwb_tensor_release(out[1]);
    }
    hwb_tensor_release(w);
    hwb_tensor_release(u);
    hwb_tensor_release(want);
    hwb_quant_params_free(&params);
}

static void test_fake_weight(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_quant_spec spec = hwb_quant_defaults();
    for (int i = 0; i < 2 * 3 * 3 * 8; i++) {
        spec.bits = i % 8 + 1;
        spec.scheme = (hwb_quant_scheme)(i / 8 % 2);
        spec.granularity = (hwb_quant_granularity)(i / 16 % 3);
        spec.ranging = (hwb_quant_ranging)(i / 48 % 3);
        spec.group_rows = 3; /* 7 rows: 3, 3 and 1 */
        spec.percentile = 95;
        check_fake(ctx, &spec, HWB_F32, "cpu");
        if (i % 5 == 0) check_fake(ctx, &spec, HWB_F32, "ref");
        check_fake(ctx, &spec, HWB_F64, "ref");
    }
    hwb_ctx_free(ctx);
}

static void test_fake_clip(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_quant_spec spec = hwb_quant_defaults();
    spec.bits = 3;
    spec.granularity = HWB_QUANT_PER_TENSOR;
    spec.ranging = HWB_QUANT_PERCENTILE;
    spec.percentile = 80;
    hwb_tensor *w = vector(ctx, HWB_F64, 200, 1), *u = vector(ctx, HWB_F64, 200, 2), *out[2];
    hwb_quant_params params;
    assert_ok(ctx, hwb_quant_range(ctx, &params, w, &spec));
    run_fake(ctx, w, u, &spec, &params, true, "cpu", out);
    double scale = hwb_tensor_get(params.scale, 0);
    int cut = 0;
    for (int i = 0; i < 200; i++) {
        double x = hwb_tensor_get(w, i) / scale;
        bool inside = x >= -4.5 && x <= 3.5;
        cut += !inside;
        assert_near(hwb_tensor_get(out[1], i), inside ? hwb_tensor_get(u, i) : 0, 0);
    }
    assert_true(cut > 5 && cut < 60);
    hwb_tensor *made[] = {w, u, out[0], out[1]};
    for (int i = 0; i < 4; i++) hwb_tensor_release(made[i]);
    hwb_quant_params_free(&params);
    hwb_ctx_free(ctx);
}

static void test_fake_activation(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    const double ranges[][2] = {{0, 3}, {-1.3, 2}, {-2, -0.5}, {0.4, 1}};
    for (int i = 0; i < 4 * 2 * 8; i++) {
        int bits = i % 8 + 1;
        hwb_quant_scheme scheme = (hwb_quant_scheme)(i / 8 % 2);
        const double *r = ranges[i / 16];
        if (scheme == HWB_QUANT_SYMMETRIC && bits == 1) continue;
        hwb_tensor *x = vector(ctx, HWB_F64, 300, 8), *range, *want, *got;
        double scale;
        int zero;
        assert_ok(ctx, hwb_tensor_from(ctx, &range, HWB_F64, hwb_shape_of(1, 2), r));
        assert_ok(ctx, hwb_quant_scale(ctx, &scale, &zero, r[0], r[1], bits, scheme));
        assert_ok(ctx, hwb_quant_fake_scale(ctx, &want, x, scale, zero, bits, scheme));
        hwb_graph *g;
        hwb_program *p;
        hwb_id in, lim, y;
        assert_ok(ctx, hwb_graph_new(ctx, &g));
        assert_ok(ctx, hwb_graph_lift(g, &in, x));
        assert_ok(ctx, hwb_graph_lift(g, &lim, range));
        assert_ok(ctx, hwb_fake_activation(g, &y, in, lim, bits, scheme, true));
        assert_ok(ctx, hwb_compile(ctx, &p, g, 1, &y, NULL));
        assert_ok(ctx, hwb_program_run(ctx, p, &got));
        for (int k = 0; k < 300; k++)
            assert_near(hwb_tensor_get(got, k), hwb_tensor_get(want, k), 1e-14);
        hwb_program_release(p);
        hwb_graph_release(g);
        hwb_tensor *made[] = {x, range, want, got};
        for (int k = 0; k < 4; k++) hwb_tensor_release(made[k]);
    }
    hwb_ctx_free(ctx);
}

static void test_fake_refuses(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_graph *g;
    hwb_id w, n, y;
    hwb_quant_spec spec = hwb_quant_defaults();
    assert_ok(ctx, hwb_graph_new(ctx, &g));
    assert_ok(ctx, hwb_graph_fill(g, &w, HWB_F32, hwb_shape_of(2, 3, 4), 1));
    assert_ok(ctx, hwb_graph_fill(g, &n, HWB_I32, hwb_shape_of(2, 3, 4), 1));
    assert_fails(ctx, hwb_fake_weight(g, &y, n, &spec, HWB_NONE, HWB_NONE, false), HWB_EDTYPE, "");
    assert_fails(ctx, hwb_fake_weight(g, &y, w, &spec, w, w, false), HWB_ESHAPE, "3 groups");
    assert_fails(ctx, hwb_fake_weight(g, &y, w, &spec, w, HWB_NONE, false), HWB_EARG, "together");
    spec.ranging = HWB_QUANT_MSE;
    assert_fails(ctx, hwb_fake_weight(g, &y, w, &spec, HWB_NONE, HWB_NONE, false), HWB_EARG,
                 "min-max");
    assert_fails(ctx, hwb_fake_activation(g, &y, w, w, 4, HWB_QUANT_ASYMMETRIC, true), HWB_ESHAPE,
                 "[3x4]");
    hwb_graph_release(g);
    hwb_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),           cmocka_unit_test(test_rules_refuse),
        cmocka_unit_test(test_trainer),         cmocka_unit_test(test_trainer_errors),
        cmocka_unit_test(test_fake_weight),     cmocka_unit_test(test_fake_clip),
        cmocka_unit_test(test_fake_activation), cmocka_unit_test(test_fake_refuses),
    };
    return RUN_TESTS(tests);
}
