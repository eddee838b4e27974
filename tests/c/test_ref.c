/*
 * test_ref.c: kernels of the reference backend against values worked out by hand
 * or by an independent formula: pointwise, data movement, reductions, matmul.
 * Convolutions and pools: test_ref_conv.c; fused groups: test_ref_fused.c.
 */
#include "kernels.h"

#define SHAPE(...)                hwb_shape_of((int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)), __VA_ARGS__)
#define TENSOR(dtype, shape, ...) tensor_of(ctx, dtype, shape, (const double[]){__VA_ARGS__})

static const hwb_dtype FLOATS[] = {HWB_F32, HWB_F64};

/* Coordinates of row-major element `flat`. */
static void coordinates(const hwb_shape *s, int64_t flat, int64_t c[HWB_MAX_DIMS]) {
    for (int i = s->ndim - 1; i >= 0; i--) {
        c[i] = flat % s->dim[i];
        flat /= s->dim[i];
    }
}

static int64_t flat_of(const hwb_shape *s, const int64_t *c) {
    int64_t flat = 0;
    for (int i = 0; i < s->ndim; i++) flat = flat * s->dim[i] + c[i];
    return flat;
}

/* ---- coverage ------------------------------------------------------------------------- */

static void test_every_op(void **state) {
    (void)state;
    const hwb_backend *ref = hwb_backend_ref();
    assert_string_equal(ref->name, "ref");
    assert_true(ref->host);
    hwb_vdesc v = {HWB_F32, SHAPE(1)};
    hwb_vdesc in[3] = {v, v, v};
    hwb_finstr instr = {.op = HWB_OP_NEG, .in = {0, -1, -1}};
    hwb_fout out = {.reg = 1};
    hwb_fused fused = {.dtype = HWB_F32,
                       .space = SHAPE(1),
                       .n_in = 1,
                       .n_instr = 1,
                       .n_out = 1,
                       .instr = &instr,
                       .out = &out};
    for (int op = 0; op < HWB_OP_COUNT; op++) {
        hwb_kdesc d = {.op = (hwb_op)op,
                       .attrs = attrs_none(),
                       .n_in = 1,
                       .n_out = 1,
                       .in = in,
                       .out = &v,
                       .fused = op == HWB_OP_FUSED ? &fused : NULL};
        /* sums over ranks are the engine's own (exec/sum_ranks.c) */
        bool none = op == HWB_OP_INPUT || op == HWB_OP_CONSTANT || op == HWB_OP_ALLREDUCE;
        assert_int_equal(ref->supports(NULL, &d), !none);
    }
    hwb_ctx *ctx = test_ctx_new();
    hwb_kdesc d = {.op = HWB_OP_INPUT, .n_out = 1, .out = &v};
    hwb_kernel *kernel = NULL;
    assert_fails(ctx, ref->prepare(ctx, NULL, &kernel, &d), HWB_EUNSUPPORTED,
                 "ref: no kernel for input");
    test_ctx_free(ctx);
}

/* ---- pointwise --------------------------------------------------------------------------- */

typedef struct value_case {
    hwb_op op;
    double a, b, want;
} value_case;

/* Values to 17 digits from tables, or exact. */
static const value_case VALUES[] = {
    {HWB_OP_NEG, 2.5, 0, -2.5},
    {HWB_OP_EXP, 1, 0, 2.7182818284590452},
    {HWB_OP_EXP, -INFINITY, 0, 0},
    {HWB_OP_LOG, 10, 0, 2.3025850929940457},
    {HWB_OP_LOG, 0, 0, -INFINITY},
    {HWB_OP_LOG, -1, 0, NAN},
    {HWB_OP_LOG1P, 0.5, 0, 0.40546510810816438},
    {HWB_OP_SQRT, 2, 0, 1.4142135623730951},
    {HWB_OP_TANH, 0.5, 0, 0.46211715726000976},
    {HWB_OP_SIGMOID, 2, 0, 0.88079707797788244},
    {HWB_OP_SIGMOID, -2, 0, 0.11920292202211756},
    {HWB_OP_SIGMOID, -1000, 0, 0},
    {HWB_OP_SIGMOID, 1000, 0, 1},
    {HWB_OP_ERF, 0.5, 0, 0.52049987781304654},
    {HWB_OP_SIN, 1, 0, 0.84147098480789651},
    {HWB_OP_COS, 1, 0, 0.54030230586813972},
    {HWB_OP_ADD, 1.5, 2.25, 3.75},
    {HWB_OP_SUB, 1.5, 2.25, -0.75},
    {HWB_OP_MUL, 1.5, -2, -3},
    {HWB_OP_DIV, 1, 4, 0.25},
    {HWB_OP_DIV, 1, 0, INFINITY},
    {HWB_OP_POW, 2, 10, 1024},
    {HWB_OP_POW, 0, 0, 1},
    {HWB_OP_RELU, -3, 0, 0},
    {HWB_OP_RELU, 3, 0, 3},
    {HWB_OP_RELU, NAN, 0, NAN},
    {HWB_OP_ABS, -3, 0, 3},
    {HWB_OP_MAXIMUM, 2, 3, 3},
    {HWB_OP_MAXIMUM, 3, 2, 3},
    {HWB_OP_MAXIMUM, NAN, 2, NAN},
    {HWB_OP_MAXIMUM, 2, NAN, NAN},
    {HWB_OP_MINIMUM, 2, 3, 2},
    {HWB_OP_MINIMUM, NAN, 2, NAN},
    {HWB_OP_MINIMUM, 2, NAN, NAN},
    {HWB_OP_LT, 1, 2, 1},
    {HWB_OP_LT, 2, 2, 0},
    {HWB_OP_LE, 2, 2, 1},
    {HWB_OP_LE, NAN, 2, 0},
    {HWB_OP_EQ, 2, 2, 1},
    {HWB_OP_EQ, NAN, NAN, 0},
    {HWB_OP_NE, 2, 2, 0},
    {HWB_OP_NE, NAN, NAN, 1},
    {HWB_OP_SIGN, -7, 0, -1},
    {HWB_OP_SIGN, 0, 0, 0},
    {HWB_OP_SIGN, NAN, 0, NAN},
    {HWB_OP_FLOOR, -1.5, 0, -2},
    {HWB_OP_ROUND, 0.5, 0, 0},
    {HWB_OP_ROUND, 1.5, 0, 2},
    {HWB_OP_ROUND, -2.5, 0, -2},
    {HWB_OP_ROUND_ST, 2.5, 0, 2},
    {HWB_OP_STOP, 1.25, 0, 1.25},
};

static void test_pointwise(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_attrs at = attrs_none();
    for (size_t i = 0; i < sizeof(VALUES) / sizeof(VALUES[0]); i++)
        for (int f = 0; f < 2; f++) {
            const value_case *v = &VALUES[i];
            hwb_tensor *in[2] = {TENSOR(FLOATS[f], SHAPE(1), v->a),
                                 TENSOR(FLOATS[f], SHAPE(1), v->b)};
            hwb_tensor *y = call_ref(ctx, v->op, &at, hwb_op_arity(v->op), in);
            bool compare = hwb_op_family(v->op) == HWB_FAMILY_COMPARE;
            assert_int_equal(hwb_tensor_dtype(y), compare ? HWB_BOOL : FLOATS[f]);
            ASSERT_VALUES_FREE(y, FLOATS[f] == HWB_F32 ? 1e-7 : 1e-15, v->want);
            hwb_tensor_release(in[0]);
            hwb_tensor_release(in[1]);
        }
    test_ctx_free(ctx);
}

static void test_pointwise_ints(void **state) {
    (void)state;
    static const value_case ints[] = {
        {HWB_OP_NEG, 5, 0, -5},     {HWB_OP_ADD, 7, -9, -2},     {HWB_OP_SUB, 7, 9, -2},
        {HWB_OP_MUL, -7, 9, -63},   {HWB_OP_RELU, -4, 0, 0},     {HWB_OP_ABS, -4, 0, 4},
        {HWB_OP_MAXIMUM, -4, 2, 2}, {HWB_OP_MINIMUM, -4, 2, -4}, {HWB_OP_LT, 3, 4, 1},
        {HWB_OP_LE, 5, 4, 0},       {HWB_OP_EQ, 4, 4, 1},        {HWB_OP_NE, 4, 4, 0},
        {HWB_OP_SIGN, -9, 0, -1},   {HWB_OP_STOP, 11, 0, 11},
    };
    hwb_ctx *ctx = test_ctx_new();
    hwb_attrs at = attrs_none();
    for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++)
        for (int wide = 0; wide < 2; wide++) {
            hwb_dtype dt = wide ? HWB_I64 : HWB_I32;
            hwb_tensor *in[2] = {TENSOR(dt, SHAPE(1), ints[i].a), TENSOR(dt, SHAPE(1), ints[i].b)};
            hwb_tensor *y = call_ref(ctx, ints[i].op, &at, hwb_op_arity(ints[i].op), in);
            ASSERT_VALUES_FREE(y, 0, ints[i].want);
            hwb_tensor_release(in[0]);
            hwb_tensor_release(in[1]);
        }
    /* beyond 2^53 nothing is lost; beyond the dtype it wraps */
    const int64_t big[3] = {INT64_MAX, (1ll << 53) + 1, INT64_MIN}, one[3] = {1, 1, 1};
    const int32_t low[1] = {INT32_MAX}, low_one[1] = {1};
    hwb_tensor *a, *b, *y;
    assert_ok(ctx, hwb_tensor_from(ctx, &a, HWB_I64, SHAPE(3), big));
    assert_ok(ctx, hwb_tensor_from(ctx, &b, HWB_I64, SHAPE(3), one));
    y = call_ref2(ctx, HWB_OP_ADD, &at, a, b);
    assert_true(hwb_tensor_get_int(y, 0) == INT64_MIN);
    assert_true(hwb_tensor_get_int(y, 1) == (1ll << 53) + 2);
    hwb_tensor_release(y);
    y = call_ref1(ctx, HWB_OP_ABS, &at, a);
    assert_true(hwb_tensor_get_int(y, 2) == INT64_MIN);
    hwb_tensor_release(y);
    hwb_tensor_release(a);
    hwb_tensor_release(b);
    assert_ok(ctx, hwb_tensor_from(ctx, &a, HWB_I32, SHAPE(1), low));
    assert_ok(ctx, hwb_tensor_from(ctx, &b, HWB_I32, SHAPE(1), low_one));
    ASSERT_VALUES_FREE(call_ref2(ctx, HWB_OP_ADD, &at, a, b), 0, INT32_MIN);
    hwb_tensor_release(a);
    hwb_tensor_release(b);
    test_ctx_free(ctx);
}

/* A float32 result is the double result rounded once. */
static void test_float32_rounding(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_attrs at = attrs_none();
    hwb_tensor *a = tensor_random(ctx, HWB_F32, SHAPE(500), 1);
    hwb_tensor *b = tensor_random(ctx, HWB_F32, SHAPE(500), 2);
    hwb_tensor *y = call_ref2(ctx, HWB_OP_DIV, &at, a, b), *e = call_ref1(ctx, HWB_OP_EXP, &at, a);
    for (int64_t i = 0; i < 500; i++) {
        double va = hwb_tensor_get(a, i), vb = hwb_tensor_get(b, i);
        assert_true(hwb_tensor_get(y, i) == (float)(va / vb));
        assert_true(hwb_tensor_get(e, i) == (float)exp(va));
    }
    hwb_tensor_release(a);
    hwb_tensor_release(b);
    hwb_tensor_release(y);
    hwb_tensor_release(e);
    test_ctx_free(ctx);
}

static void test_broadcasting(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_attrs at = attrs_none();
    const hwb_shape shapes[][2] = {{SHAPE(2, 3, 4, 5), SHAPE(1, 3, 1, 1)},
                                   {SHAPE(2, 1, 4), SHAPE(1, 3, 1)},
                                   {SHAPE(1, 1), SHAPE(70, 90)},
                                   {SHAPE(3, 1, 1, 2), SHAPE(3, 4, 5, 2)},
                                   {SHAPE(9000), SHAPE(9000)},
                                   {SHAPE(2, 0, 3), SHAPE(1, 1, 3)},
                                   {{.ndim = 0}, {.ndim = 0}}};
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        hwb_tensor *a = tensor_random(ctx, HWB_F64, shapes[i][0], 1);
        hwb_tensor *b = tensor_random(ctx, HWB_F64, shapes[i][1], 2);
        hwb_tensor *y = call_ref2(ctx, HWB_OP_SUB, &at, a, b), *wide;
        hwb_tensor *cond = call_ref2(ctx, HWB_OP_LT, &at, a, b);
        hwb_tensor *pick = call_ref(ctx, HWB_OP_WHERE, &at, 3, (hwb_tensor *[]){cond, a, b});
        hwb_shape s = *hwb_tensor_shape(y);
        assert_ok(ctx, hwb_tensor_expand(ctx, &wide, a, s));
        hwb_tensor *wide_b;
        assert_ok(ctx, hwb_tensor_expand(ctx, &wide_b, b, s));
        for (int64_t j = 0; j < hwb_tensor_numel(y); j++) {
            double va = hwb_tensor_get(wide, j), vb = hwb_tensor_get(wide_b, j);
            assert_true(hwb_tensor_get(y, j) == va - vb);
            assert_true(hwb_tensor_get(cond, j) == (va < vb));
            assert_true(hwb_tensor_get(pick, j) == (va < vb ? va : vb));
        }
        hwb_tensor *all[] = {a, b, y, wide, wide_b, cond, pick};
        for (int j = 0; j < 7; j++) hwb_tensor_release(all[j]);
    }
    test_ctx_free(ctx);
}

/* Any dtype to any dtype: the rule of hwb_tensor_to, ends and NaN included. */
static void test_cast(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_attrs at = attrs_none();
    const double odd[] = {0,   1,    -1,   1.9,   -1.9, 255,      256,       -300,
                          3e9, -3e9, 1e19, -1e19, NAN,  INFINITY, -INFINITY, 16777217};
    const int n = (int)(sizeof(odd) / sizeof(odd[0]));
    for (int from = 0; from < HWB_DTYPE_COUNT; from++)
        for (int to = 0; to < HWB_DTYPE_COUNT; to++) {
            hwb_tensor *base = tensor_of(ctx, HWB_F64, SHAPE(n), odd), *x, *want;
            assert_ok(ctx, hwb_tensor_to(ctx, &x, base, (hwb_dtype)from));
            assert_ok(ctx, hwb_tensor_to(ctx, &want, x, (hwb_dtype)to));
            at.dtype = to;
            hwb_tensor *y = call_ref1(ctx, HWB_OP_CAST, &at, x);
            assert_int_equal(hwb_tensor_dtype(y), to);
            assert_memory_equal(hwb_tensor_data(y), hwb_tensor_data(want), hwb_tensor_bytes(want));
            hwb_tensor *all[] = {base, x, want, y};
            for (int j = 0; j < 4; j++) hwb_tensor_release(all[j]);
        }
    test_ctx_free(ctx);
}

static void test_fill(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_attrs at = attrs_none();
    at.shape = SHAPE(2, 2), at.value = 3;
    for (int d = 0; d < HWB_DTYPE_COUNT; d++) {
        at.dtype = d;
        double v = d == HWB_BOOL ? 1 : 3;
        ASSERT_VALUES_FREE(call_ref(ctx, HWB_OP_FILL, &at, 0, NULL), 0, v, v, v, v);
    }
    test_ctx_free(ctx);
}

/* ---- data movement ------------------------------------------------------------------------ */

/* Every output element is the input element that `source` names; -1 is zero. */
typedef int64_t (*source_fn)(const hwb_attrs *at, const hwb_shape *x, const int64_t *c);

static void check_moved(hwb_ctx *ctx, hwb_op op, const hwb_attrs *at, hwb_shape shape,
                        source_fn source) {
    for (int d = 0; d < HWB_DTYPE_COUNT; d++) {
        hwb_tensor *x = tensor_random(ctx, (hwb_dtype)d, shape, 5);
        hwb_tensor *y = call_ref1(ctx, op, at, x);
        assert_int_equal(hwb_tensor_dtype(y), d);
        for (int64_t i = 0; i < hwb_tensor_numel(y); i++) {
            int64_t c[HWB_MAX_DIMS];
            coordinates(hwb_tensor_shape(y), i, c);
            int64_t from = source(at, &shape, c);
            assert_true(hwb_tensor_get(y, i) == (from < 0 ? 0 : hwb_tensor_get(x, from)));
        }
        hwb_tensor_release(x);
        hwb_tensor_release(y);
    }
}

static int64_t permuted_from(const hwb_attrs *at, const hwb_shape *x, const int64_t *c) {
    int64_t s[HWB_MAX_DIMS];
    for (int i = 0; i < x->ndim; i++) s[at->perm[i]] = c[i];
    return flat_of(x, s);
}

static int64_t broadcast_from(const hwb_attrs *at, const hwb_shape *x, const int64_t *c) {
    (void)at;
    int64_t s[HWB_MAX_DIMS];
    for (int i = 0; i < x->ndim; i++) s[i] = x->dim[i] == 1 ? 0 : c[i];
    return flat_of(x, s);
}

static int64_t sliced_from(const hwb_attrs *at, const hwb_shape *x, const int64_t *c) {
    int64_t s[HWB_MAX_DIMS];
    for (int i = 0; i < x->ndim; i++) s[i] = at->lo[i] + c[i] * at->step[i];
    return flat_of(x, s);
}

static int64_t padded_from(const hwb_attrs *at, const hwb_shape *x, const int64_t *c) {
    int64_t s[HWB_MAX_DIMS];
    for (int i = 0; i < x->ndim; i++) {
        int64_t t = c[i] - at->lo[i];
        if (t < 0 || t % at->step[i] || t / at->step[i] >= x->dim[i]) return -1;
        s[i] = t / at->step[i];
    }
    return flat_of(x, s);
}

static int64_t reshaped_from(const hwb_attrs *at, const hwb_shape *x, const int64_t *c) {
    (void)x;
    return flat_of(&at->shape, c);
}

static void test_moves(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_attrs at = attrs_none();
    at.shape = SHAPE(6, 20);
    check_moved(ctx, HWB_OP_RESHAPE, &at, SHAPE(2, 3, 4, 5), reshaped_from);
    at.perm[0] = 2, at.perm[1] = 0, at.perm[2] = 3, at.perm[3] = 1;
    check_moved(ctx, HWB_OP_PERMUTE, &at, SHAPE(2, 3, 4, 5), permuted_from);
    check_moved(ctx, HWB_OP_PERMUTE, &at, SHAPE(2, 3, 0, 5), permuted_from);
    check_moved(ctx, HWB_OP_PERMUTE, &at, SHAPE(9, 1, 11, 50), permuted_from);
    at.shape = SHAPE(2, 3, 4, 5);
    check_moved(ctx, HWB_OP_BROADCAST, &at, SHAPE(2, 1, 1, 5), broadcast_from);
    check_moved(ctx, HWB_OP_BROADCAST, &at, SHAPE(1, 3, 4, 1), broadcast_from);
    at.shape = SHAPE(0, 3);
    check_moved(ctx, HWB_OP_BROADCAST, &at, SHAPE(1, 3), broadcast_from);
    at.shape = SHAPE(2, 3, 2);
    at.lo[0] = 1, at.lo[2] = 1, at.step[0] = 2, at.step[2] = 3;
    check_moved(ctx, HWB_OP_SLICE, &at, SHAPE(4, 3, 7), sliced_from);
    at.shape = SHAPE(4, 3, 7);
    check_moved(ctx, HWB_OP_PAD, &at, SHAPE(2, 3, 2), padded_from);
    check_moved(ctx, HWB_OP_PAD, &at, SHAPE(2, 0, 2), padded_from);
    at.shape = SHAPE(2, 0, 2);
    check_moved(ctx, HWB_OP_SLICE, &at, SHAPE(4, 3, 7), sliced_from);
    test_ctx_free(ctx);
}

static void test_concat(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_attrs at = attrs_none();
    at.axis = 1;
    for (int d = 0; d < HWB_DTYPE_COUNT; d++) {
        bool bits = d == HWB_BOOL;
        hwb_tensor *in[3] = {TENSOR((hwb_dtype)d, SHAPE(2, 2), 1, 0, 1, 1),
                             tensor_of(ctx, (hwb_dtype)d, SHAPE(2, 0), NULL),
                             TENSOR((hwb_dtype)d, SHAPE(2, 1), 0, 7)};
        hwb_tensor *y = call_ref(ctx, HWB_OP_CONCAT, &at, 3, in);
        ASSERT_VALUES_FREE(y, 0, 1, 0, 0, 1, 1, bits ? 1 : 7);
        for (int i = 0; i < 3; i++) hwb_tensor_release(in[i]);
    }
    test_ctx_free(ctx);
}

static void test_gather(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_attrs at = attrs_none();
    hwb_tensor *x = TENSOR(HWB_F32, SHAPE(2, 3), 1, 2, 3, 4, 5, 6), *y = NULL;
    hwb_tensor *i32 = TENSOR(HWB_I32, SHAPE(2, 2), 2, 0, 0, 2);
    hwb_tensor *i64 = TENSOR(HWB_I64, SHAPE(1), 1);
    at.axis = 1;
    y = call_ref2(ctx, HWB_OP_GATHER, &at, x, i32);
    assert_int_equal(hwb_tensor_shape(y)->ndim, 3);
    ASSERT_VALUES_FREE(y, 0, 3, 1, 1, 3, 6, 4, 4, 6);
    at.axis = 0;
    ASSERT_VALUES_FREE(call_ref2(ctx, HWB_OP_GATHER, &at, x, i64), 0, 4, 5, 6);

    hwb_tensor *bad = TENSOR(HWB_I32, SHAPE(3), 0, 1, 2), *low = TENSOR(HWB_I64, SHAPE(1), -1);
    y = NULL;
    assert_fails(ctx, try_ref(ctx, HWB_OP_GATHER, &at, 2, (hwb_tensor *[]){x, bad}, &y), HWB_EARG,
                 "gather: index 3 at place 3, but dim 1 has 2 rows");
    assert_fails(ctx, try_ref(ctx, HWB_OP_GATHER, &at, 2, (hwb_tensor *[]){x, low}, &y), HWB_EARG,
                 "gather: index 0 at place 1");
    assert_null(y);

    /* the transpose: <gather(x), u> = <x, scatter_add(u)>, equal rows add up */
    hwb_tensor *u = TENSOR(HWB_F32, SHAPE(2, 2, 2), 1, 2, 3, 4, 5, 6, 7, 8);
    at.axis = 1, at.shape = SHAPE(2, 3);
    ASSERT_VALUES_FREE(call_ref2(ctx, HWB_OP_SCATTER_ADD, &at, u, i32), 0, 5, 0, 5, 13, 0, 13);
    at.axis = 0, at.shape = SHAPE(2, 2);
    hwb_tensor *whole = TENSOR(HWB_I64, SHAPE(3, 2), 1, 2, 3, 4, 5, 6);
    hwb_tensor *rows = TENSOR(HWB_I64, SHAPE(3), 1, 1, 1);
    ASSERT_VALUES_FREE(call_ref2(ctx, HWB_OP_SCATTER_ADD, &at, whole, rows), 0, 0, 0, 9, 12);
    assert_fails(ctx, try_ref(ctx, HWB_OP_SCATTER_ADD, &at, 2, (hwb_tensor *[]){whole, bad}, &y),
                 HWB_EARG, "scatter_add: index 3 at place 3");

    /* nothing picked, and a table without rows */
    hwb_tensor *none = tensor_of(ctx, HWB_I64, SHAPE(0), NULL);
    hwb_tensor *no_rows = tensor_of(ctx, HWB_F32, SHAPE(0, 2), NULL);
    y = call_ref2(ctx, HWB_OP_GATHER, &at, no_rows, none);
    assert_int_equal(hwb_tensor_numel(y), 0);
    hwb_tensor_release(y);
    y = NULL;
    assert_fails(ctx, try_ref(ctx, HWB_OP_GATHER, &at, 2, (hwb_tensor *[]){no_rows, i64}, &y),
                 HWB_EARG, "dim 1 has 0 rows");
    ASSERT_VALUES_FREE(call_ref2(ctx, HWB_OP_SCATTER_ADD, &at, no_rows, none), 0, 0, 0, 0, 0);
    hwb_tensor *all[] = {x, i32, i64, bad, low, u, whole, rows, none, no_rows};
    for (int j = 0; j < 10; j++) hwb_tensor_release(all[j]);
    test_ctx_free(ctx);
}

/* ---- reductions ------------------------------------------------------------------------------ */

static void test_sum(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    const hwb_shape shape = SHAPE(3, 4, 1, 5);
    for (uint32_t axes = 0; axes < 16; axes++)
        for (int d = HWB_F32; d <= HWB_I64; d++) {
            hwb_attrs at = attrs_none();
            at.axes = axes;
            hwb_tensor *x = tensor_random(ctx, (hwb_dtype)d, shape, axes), *want = NULL;
            hwb_tensor *y = call_ref1(ctx, HWB_OP_SUM, &at, x);
            hwb_shape s = *hwb_tensor_shape(y);
            assert_ok(ctx, hwb_tensor_zeros(ctx, &want, HWB_F64, s));
            for (int64_t i = 0; i < hwb_tensor_numel(x); i++) {
                int64_t c[HWB_MAX_DIMS];
                coordinates(&shape, i, c);
                for (int a = 0; a < 4; a++) c[a] = axes & 1u << a ? 0 : c[a];
                int64_t to = flat_of(&s, c);
                hwb_tensor_set(want, to, hwb_tensor_get(want, to) + hwb_tensor_get(x, i));
            }
            assert_tensor_near(y, want, d == HWB_F32 ? 1e-7 : 1e-14);
            hwb_tensor_release(x);
            hwb_tensor_release(y);
            hwb_tensor_release(want);
        }
    test_ctx_free(ctx);
}

/* float32 sums and dots keep what a float accumulator would drop */
static void test_double_accumulation(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_attrs at = attrs_none();
    at.axes = 1;
    hwb_tensor *x = TENSOR(HWB_F32, SHAPE(4), 1e8, 1, 1, -1e8);
    ASSERT_VALUES_FREE(call_ref1(ctx, HWB_OP_SUM, &at, x), 0, 2);
    hwb_tensor *a = TENSOR(HWB_F32, SHAPE(1, 4), 1e8, 1, 1, -1e8);
    hwb_tensor *b = TENSOR(HWB_F32, SHAPE(4, 1), 1, 1, 1, 1);
    ASSERT_VALUES_FREE(call_ref2(ctx, HWB_OP_MATMUL, &at, a, b), 0, 2);
    hwb_tensor_release(x);
    hwb_tensor_release(a);
    hwb_tensor_release(b);
    test_ctx_free(ctx);
}

static void test_max(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_attrs at = attrs_none();
    for (int d = HWB_F32; d <= HWB_I64; d++) {
        hwb_tensor *x = TENSOR((hwb_dtype)d, SHAPE(2, 3), -4, -1, -2, 5, 3, 5);
        at.axes = 2;
        ASSERT_VALUES_FREE(call_ref1(ctx, HWB_OP_MAX, &at, x), 0, -1, 5);
        at.axes = 3;
        ASSERT_VALUES_FREE(call_ref1(ctx, HWB_OP_MAX, &at, x), 0, 5);
        at.axis = 1;
        ASSERT_VALUES_FREE(call_ref1(ctx, HWB_OP_ARGMAX, &at, x), 0, 1, 0);
        at.axis = 0;
        ASSERT_VALUES_FREE(call_ref1(ctx, HWB_OP_ARGMAX, &at, x), 0, 1, 1, 1);
        hwb_tensor_release(x);
    }
    hwb_tensor *x =
        TENSOR(HWB_F64, SHAPE(3, 3), 1, NAN, 3, NAN, 1, NAN, -INFINITY, -INFINITY, -INFINITY);
    at.axes = 2, at.axis = 1;
    ASSERT_VALUES_FREE(call_ref1(ctx, HWB_OP_MAX, &at, x), 0, NAN, NAN, -INFINITY);
    ASSERT_VALUES_FREE(call_ref1(ctx, HWB_OP_ARGMAX, &at, x), 0, 1, 0, 0);
    hwb_tensor_release(x);
    test_ctx_free(ctx);
}

static void test_empty(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_attrs at = attrs_none();
    at.axes = 2;
    hwb_tensor *x = tensor_of(ctx, HWB_F32, SHAPE(2, 0), NULL);
    hwb_tensor *t = tensor_of(ctx, HWB_F32, SHAPE(0, 3), NULL);
    ASSERT_VALUES_FREE(call_ref1(ctx, HWB_OP_SUM, &at, x), 0, 0, 0);
    at.axes = 1;
    hwb_tensor *y = call_ref1(ctx, HWB_OP_SUM, &at, x);
    assert_int_equal(hwb_tensor_numel(y), 0);
    hwb_tensor_release(y);
    ASSERT_VALUES_FREE(call_ref2(ctx, HWB_OP_MATMUL, &at, x, t), 0, 0, 0, 0, 0, 0, 0);
    y = call_ref1(ctx, HWB_OP_EXP, &at, x);
    assert_int_equal(hwb_tensor_numel(y), 0);
    hwb_tensor_release(y);
    hwb_tensor_release(x);
    hwb_tensor_release(t);
    test_ctx_free(ctx);
}

/* ---- matmul ------------------------------------------------------------------------------------ */

static double matrix_at(const hwb_tensor *t, int64_t b0, int64_t b1, int64_t i, int64_t j,
                        bool turned) {
    const int64_t *d = hwb_tensor_shape(t)->dim;
    b0 = d[0] == 1 ? 0 : b0;
    b1 = d[1] == 1 ? 0 : b1;
    return turned ? at4(t, b0, b1, j, i) : at4(t, b0, b1, i, j);
}

static void test_matmul(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    const int batch[][4] = {{1, 1, 1, 1}, {2, 3, 2, 3}, {1, 3, 2, 1}, {2, 1, 1, 1}};
    const int m = 4, n = 5, inner = 6;
    for (int c = 0; c < 4 * 4 * 2; c++) {
        const int *b = batch[c % 4], ta = c / 4 & 1, tb = c / 8 & 1;
        hwb_dtype dt = FLOATS[c / 16];
        hwb_attrs at = attrs_none();
        at.ta = ta, at.tb = tb;
        hwb_tensor *x =
            tensor_random(ctx, dt, SHAPE(b[0], b[1], ta ? inner : m, ta ? m : inner), 1);
        hwb_tensor *w =
            tensor_random(ctx, dt, SHAPE(b[2], b[3], tb ? n : inner, tb ? inner : n), 2);
        hwb_tensor *y = call_ref2(ctx, HWB_OP_MATMUL, &at, x, w);
        const hwb_shape *s = hwb_tensor_shape(y);
        for (int64_t e = 0; e < hwb_tensor_numel(y); e++) {
            int64_t p[HWB_MAX_DIMS];
            double want = 0;
            coordinates(s, e, p);
            for (int k = 0; k < inner; k++)
                want +=
                    matrix_at(x, p[0], p[1], p[2], k, ta) * matrix_at(w, p[0], p[1], k, p[3], tb);
            assert_near(hwb_tensor_get(y, e), want, dt == HWB_F32 ? 1e-7 : 1e-14);
        }
        hwb_tensor_release(x);
        hwb_tensor_release(w);
        hwb_tensor_release(y);
    }
    test_ctx_free(ctx);
}

/* Equal bytes at any number of threads. */
static void test_threads(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_attrs at = attrs_none();
    at.axes = 1;
    hwb_tensor *x = tensor_random(ctx, HWB_F32, SHAPE(300, 200), 1);
    hwb_tensor *w = tensor_random(ctx, HWB_F32, SHAPE(200, 10), 2);
    hwb_tensor *y[2][2];
    for (int t = 0; t < 2; t++) {
        hwb_set_threads(ctx, t ? 3 : 1);
        y[t][0] = call_ref1(ctx, HWB_OP_SUM, &at, x);
        y[t][1] = call_ref2(ctx, HWB_OP_MATMUL, &at, x, w);
    }
    for (int i = 0; i < 2; i++) {
        assert_memory_equal(hwb_tensor_data(y[0][i]), hwb_tensor_data(y[1][i]),
                            hwb_tensor_bytes(y[0][i]));
        hwb_tensor_release(y[0][i]);
        hwb_tensor_release(y[1][i]);
    }
    hwb_tensor_release(x);
    hwb_tensor_release(w);
    test_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_op),
        cmocka_unit_test(test_pointwise),
        cmocka_unit_test(test_pointwise_ints),
        cmocka_unit_test(test_float32_rounding),
        cmocka_unit_test(test_broadcasting),
        cmocka_unit_test(test_cast),
        cmocka_unit_test(test_fill),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_concat),
        cmocka_unit_test(test_gather),
        cmocka_unit_test(test_sum),
        cmocka_unit_test(test_double_accumulation),
        cmocka_unit_test(test_max),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_matmul),
        cmocka_unit_test(test_threads),
    };
    return RUN_TESTS(tests);
}
