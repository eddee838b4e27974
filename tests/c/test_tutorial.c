/*
 * test_tutorial.c: the program of engine/hwb.h's head comment, with assertions.
 * Change one, change the other.
 */
#include "testing.h"

#include "hwb.h"

/* The forward pass of the tutorial: tanh(x W^T + b). */
static hwb_status forward(void *user, hwb_graph *g, hwb_id *y, hwb_id x, bool train) {
    hwb_tensor **p = user;
    hwb_id w, b;
    (void)train;
    HWB_TRY(hwb_graph_lift(g, &w, p[0]));
    HWB_TRY(hwb_graph_lift(g, &b, p[1]));
    HWB_TRY(hwb_linear(g, &x, x, w, b));
    return hwb_tanh(g, y, x);
}

static hwb_status tutorial(hwb_ctx *ctx, double *top, double *residual, double *trace,
                           double *stderr_of_trace) {
    hwb_rng rng = {1, 0};
    hwb_tensor *p[2], *x, *y;
    HWB_TRY(hwb_tensor_new(ctx, &p[0], HWB_F64, hwb_shape_of(2, 3, 5)));
    HWB_TRY(hwb_tensor_zeros(ctx, &p[1], HWB_F64, hwb_shape_of(1, 3)));
    HWB_TRY(hwb_tensor_new(ctx, &x, HWB_F64, hwb_shape_of(2, 16, 5)));
    HWB_TRY(hwb_tensor_zeros(ctx, &y, HWB_I64, hwb_shape_of(1, 16)));
    HWB_TRY(hwb_tensor_fill_normal(ctx, p[0], rng));
    HWB_TRY(hwb_tensor_fill_normal(ctx, x, (hwb_rng){2, 0}));

    hwb_model *model;
    HWB_TRY(hwb_model_new(ctx, &model, forward, p, NULL));
    HWB_TRY(hwb_model_add_parameter(ctx, model, "weight", p[0]));
    HWB_TRY(hwb_model_add_parameter(ctx, model, "bias", p[1]));

    hwb_source data;
    hwb_curvature *hessian;
    hwb_curvature_options options = {.kind = HWB_HESSIAN};
    HWB_TRY(hwb_source_batch(ctx, &data, x, y, 0));
    HWB_TRY(hwb_curvature_new(ctx, &hessian, model, data, &options));

    hwb_eigs_options eo = hwb_eigs_defaults();
    hwb_eigs_result e;
    HWB_TRY(hwb_eigs_lanczos(ctx, &e, hwb_curvature_op(hessian), &eo));
    *top = e.values[0];
    *residual = e.residuals[0];

    hwb_trace_options to = hwb_trace_defaults();
    hwb_trace_result t;
    HWB_TRY(hwb_trace(ctx, &t, hwb_curvature_op(hessian), &to));
    *trace = t.mean;
    *stderr_of_trace = t.se;

    hwb_eigs_free(&e);
    hwb_trace_free(&t);
    hwb_curvature_release(hessian);
    hwb_model_release(model);
    hwb_tensor_release(p[0]);
    hwb_tensor_release(p[1]);
    hwb_tensor_release(x);
    hwb_tensor_release(y);
    return HWB_OK;
}

static void test_it_runs(void **state) {
    (void)state;
    double top = 0, residual = 1, trace = 0, se = 0;
    hwb_ctx *ctx = test_ctx_new();
    assert_ok(ctx, tutorial(ctx, &top, &residual, &trace, &se));
    assert_true(residual <= 1e-3 * fabs(top));
    assert_true(se >= 0 && fabs(trace) > 0);
    assert_true(top < trace + 4 * se + 1); /* the top eigenvalue is part of the trace */
    size_t live = hwb_memory(ctx).live;    /* what the open backends keep */
    assert_ok(ctx, tutorial(ctx, &top, &residual, &trace, &se));
    assert_int_equal(hwb_memory(ctx).live, live);
    hwb_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_it_runs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
