/*
 * test_cpu_product.c: large float32 matrix products (cpu_product.c where the processor has
 * AVX2, BLAS elsewhere) against ref, and which products of a graph add in place.
 */
#include "cpu_check.h"

#include "backend/cpu/cpu_direct_i.h"
#include "backend/cpu/cpu_i.h"
#include "exec/exec_i.h"

static void avx2(void *state) {
#if defined(__x86_64__)
    hwb__cpu_state *cpu = state;
    if (cpu->direct) cpu->direct = &hwb__direct_avx2;
#else
    (void)state;
#endif
}

/* Matrices of these shapes, m and k and n from the result's; the same bytes at any number of
 * threads. */
static void product(hwb_shape a, hwb_shape b, hwb_shape c, int form, void (*setup)(void *)) {
    check t = {.d = {.op = HWB_OP_MATMUL, .n_in = form & 4 ? 3 : 2, .n_out = 1}, .seed = 7};
    int nd = c.ndim;
    t.d.attrs.ta = form & 1;
    t.d.attrs.tb = form >> 1 & 1;
    if (form & 1) a.dim[nd - 2] = a.dim[nd - 1], a.dim[nd - 1] = c.dim[nd - 2];
    if (form & 2) b.dim[nd - 1] = b.dim[nd - 2], b.dim[nd - 2] = c.dim[nd - 1];
    t.in[0] = (hwb_vdesc){HWB_F32, a};
    t.in[1] = (hwb_vdesc){HWB_F32, b};
    t.in[2] = t.out[0] = (hwb_vdesc){HWB_F32, c};
    t.in_place = form & 4;
    t.exact_threads = true;
    t.setup = setup;
    check_kernel(&t);
}

/* Edges of tiles, several blocks of k and of rows, all transpositions, added to a third input
 * in place. */
static void products(void **state) {
    (void)state;
    static const int sizes[][3] = {{96, 96, 96}, {97, 145, 113}, {130, 101, 801}, {785, 100, 99}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int form = 0; form < 16; form++) {
            int m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
            product(hwb_shape_of(2, m, k), hwb_shape_of(2, k, n), hwb_shape_of(2, m, n), form & 7,
                    form & 8 ? avx2 : NULL);
        }
}

/* Several matrices: rows of all vectors as one matrix, an operand that all share, and none. */
static void batches(void **state) {
    (void)state;
    for (int form = 0; form < 8; form++) {
        product(hwb_shape_of(3, 3, 50, 97), hwb_shape_of(3, 1, 97, 98), hwb_shape_of(3, 3, 50, 98),
                form, NULL);
        product(hwb_shape_of(3, 12, 100, 97), hwb_shape_of(3, 12, 97, 98),
                hwb_shape_of(3, 12, 100, 98), form, NULL); /* a thread several whole ones */
        product(hwb_shape_of(3, 1, 170, 160), hwb_shape_of(3, 2, 160, 171),
                hwb_shape_of(3, 2, 170, 171), form, NULL);
        product(hwb_shape_of(4, 1, 2, 170, 160), hwb_shape_of(4, 1, 2, 160, 171),
                hwb_shape_of(4, 1, 2, 170, 171), form, NULL);
    }
}

/* x w + u v is two kernels, the second of which adds to the first's result; equal to ref. */
static void sums(void **state) {
    (void)state;
    const hwb_shape square = hwb_shape_of(2, 100, 100);
    hwb_ctx *ctx = test_ctx_new();
    hwb_tensor *y[2] = {NULL};
    for (int i = 0; i < 2; i++) {
        hwb_graph *g;
        hwb_program *p;
        hwb_id in[4], a, b, sum;
        hwb_compile_options o = {.device = i ? "cpu" : "ref"};
        assert_ok(ctx, hwb_graph_new(ctx, &g));
        for (int j = 0; j < 4; j++)
            assert_ok(ctx, hwb_graph_input(g, &in[j], HWB_ROLE_DATA, HWB_F32, square, ""));
        assert_ok(ctx, hwb_matmul(g, &a, in[0], in[1]));
        assert_ok(ctx, hwb_matmul(g, &b, in[2], in[3]));
        assert_ok(ctx, hwb_add(g, &sum, a, b));
        assert_ok(ctx, hwb_compile(ctx, &p, g, 1, &sum, &o));
        assert_int_equal(hwb_program_stats(p).kernels, i ? 2 : 3);
        for (int j = 0; j < 4; j++) {
            hwb_tensor *t;
            assert_ok(ctx, hwb_tensor_new(ctx, &t, HWB_F32, square));
            for (int64_t e = 0; e < hwb_tensor_numel(t); e++)
                ((float *)hwb_tensor_data(t))[e] = (float)((e * (j + 3)) % 17) - 8;
            assert_ok(ctx, hwb_program_set(ctx, p, in[j], t));
            hwb_tensor_release(t);
        }
        assert_ok(ctx, hwb_program_run(ctx, p, &y[i])); /* whole numbers: no rounding */
        if (i) assert_memory_equal(hwb_tensor_data(y[0]), hwb_tensor_data(y[1]), 40000);
        hwb_program_release(p);
        hwb_graph_release(g);
    }
    hwb_tensor_release(y[0]);
    hwb_tensor_release(y[1]);
    hwb_ctx_free(ctx);
}

/* x w + (a part of v): the part lies in v's memory (place.c), so that the product must not
 * add to it there. */
static void parts_of_inputs(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_graph *g;
    hwb_program *p;
    hwb_id in[3], part, y;
    const hwb_shape shapes[3] = {hwb_shape_of(2, 1, 3), hwb_shape_of(2, 3, 4),
                                 hwb_shape_of(2, 1, 16)};
    hwb_tensor *t[3], *result;
    assert_ok(ctx, hwb_graph_new(ctx, &g));
    for (int j = 0; j < 3; j++) {
        assert_ok(ctx, hwb_graph_input(g, &in[j], HWB_ROLE_DATA, HWB_F32, shapes[j], ""));
        assert_ok(ctx, hwb_tensor_new(ctx, &t[j], HWB_F32, shapes[j]));
        for (int64_t e = 0; e < hwb_tensor_numel(t[j]); e++)
            ((float *)hwb_tensor_data(t[j]))[e] = (float)(e + 1);
    }
    assert_ok(ctx, hwb_matmul(g, &y, in[0], in[1]));
    assert_ok(ctx, hwb_slice(g, &part, in[2], 1, 12, 4, 1));
    assert_ok(ctx, hwb_add(g, &y, y, part));
    assert_ok(ctx, hwb_compile(ctx, &p, g, 1, &y, &(hwb_compile_options){.device = "cpu"}));
    for (int j = 0; j < 3; j++) assert_ok(ctx, hwb_program_set(ctx, p, in[j], t[j]));
    for (int run = 0; run < 2; run++) {
        hwb_tensor_touch(t[2]);
        assert_ok(ctx, hwb_program_run(ctx, p, &result));
        for (int j = 0; j < 4; j++) /* sum over i of (i+1)(4i+j+1), and 13 + j */
            assert_float_equal(hwb_tensor_get(result, j), 51 + 7 * j, 0);
        hwb_tensor_release(result);
    }
    for (int e = 0; e < 16; e++) assert_float_equal(hwb_tensor_get(t[2], e), e + 1, 0);
    for (int j = 0; j < 3; j++) hwb_tensor_release(t[j]);
    hwb_program_release(p);
    hwb_graph_release(g);
    hwb_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(products), cmocka_unit_test(batches),
                                       cmocka_unit_test(sums), cmocka_unit_test(parts_of_inputs)};
    return RUN_TESTS(tests);
}
