/* test_infer.c: facts of operations, inferred shapes, and what is refused and how. */
#include "kernels.h"

/* ---- shapes ------------------------------------------------------------------------ */

typedef struct request {
    hwb_op op;
    hwb_attrs at;
    int n;
    hwb_shape in[3];
    hwb_dtype dt[3];
} request;

static hwb_status infer(hwb_ctx *ctx, const request *r, hwb_shape *shape, hwb_dtype *dtype) {
    const hwb_shape *in[3] = {&r->in[0], &r->in[1], &r->in[2]};
    return hwb_op_infer(ctx, r->op, &r->at, r->n, in, r->dt, shape, dtype);
}

static request make(hwb_op op, int n, hwb_shape a, hwb_shape b) {
    return (request){
        .op = op, .at = attrs_none(), .n = n, .in = {a, b, b}, .dt = {HWB_F32, HWB_F32, HWB_F32}};
}

static void check_shape(hwb_ctx *ctx, const request *r, const char *want, hwb_dtype dtype) {
    hwb_shape s;
    hwb_dtype d = HWB_DTYPE_COUNT;
    char text[HWB_SHAPE_TEXT];
    assert_ok(ctx, infer(ctx, r, &s, &d));
    assert_string_equal(hwb_shape_text(&s, text), want);
    assert_int_equal(d, dtype);
}

static void check_fails(hwb_ctx *ctx, const request *r, hwb_status status, const char *part) {
    hwb_shape s = {.ndim = -5};
    hwb_dtype d = HWB_DTYPE_COUNT;
    assert_fails(ctx, infer(ctx, r, &s, &d), status, part);
    assert_int_equal(s.ndim, -5); /* outputs are untouched */
    assert_int_equal(d, HWB_DTYPE_COUNT);
}

#define S(...) hwb_shape_of((int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)), __VA_ARGS__)

static void test_facts(void **state) {
    (void)state;
    assert_string_equal(hwb_op_name(HWB_OP_CONV_BWD_DATA), "conv_bwd_data");
    assert_string_equal(hwb_op_name((hwb_op)9999), "?");
    assert_int_equal(hwb_op_family(HWB_OP_MATMUL), HWB_FAMILY_BILINEAR);
    assert_int_equal(hwb_op_arity(HWB_OP_WHERE), 3);
    assert_int_equal(hwb_op_arity(HWB_OP_CONCAT), -1);
    assert_true(hwb_op_is_pointwise(HWB_OP_CAST));
    assert_true(hwb_op_is_pointwise(HWB_OP_WHERE));
    assert_true(hwb_op_is_pointwise(HWB_OP_ROUND_ST));
    assert_false(hwb_op_is_pointwise(HWB_OP_RESHAPE));
    assert_false(hwb_op_is_pointwise(HWB_OP_FILL));
    assert_false(hwb_op_is_pointwise(HWB_OP_FUSED));
    for (int i = 0; i < HWB_OP_COUNT; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(hwb_op_name((hwb_op)i), hwb_op_name((hwb_op)j));
}

static void test_pointwise(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    request r = make(HWB_OP_ADD, 2, S(2, 1, 4), S(1, 3, 4));
    check_shape(ctx, &r, "2x3x4", HWB_F32);
    r = make(HWB_OP_ADD, 2, S(2, 3), S(4, 3));
    check_fails(ctx, &r, HWB_ESHAPE, "add: shapes 2x3 and 4x3 do not fit");
    r = make(HWB_OP_ADD, 2, S(2, 3), S(3));
    check_fails(ctx, &r, HWB_ESHAPE, "add: shapes 2x3 and 3 do not fit");
    r = make(HWB_OP_MUL, 2, S(0, 3), S(1, 3));
    check_shape(ctx, &r, "0x3", HWB_F32);
    r.dt[1] = HWB_F64;
    check_fails(ctx, &r, HWB_EDTYPE, "mul: dtypes float32 and float64 differ");
    r = make(HWB_OP_LT, 2, S(2), S(2));
    check_shape(ctx, &r, "2", HWB_BOOL);
    r = make(HWB_OP_DIV, 2, S(2), S(2));
    r.dt[0] = r.dt[1] = HWB_I32;
    check_fails(ctx, &r, HWB_EDTYPE, "div: wants float32 or float64, got int32");
    r.op = HWB_OP_SUB;
    check_shape(ctx, &r, "2", HWB_I32);
    r.dt[0] = r.dt[1] = HWB_BOOL;
    check_fails(ctx, &r, HWB_EDTYPE, "sub: wants float32, float64, int32 or int64, got bool");
    r = make(HWB_OP_WHERE, 3, S(2, 1), S(1, 3));
    check_fails(ctx, &r, HWB_EDTYPE, "where: the condition must be bool, got float32");
    r.dt[0] = HWB_BOOL;
    check_shape(ctx, &r, "2x3", HWB_F32);
    r.in[2] = S(4, 3);
    check_fails(ctx, &r, HWB_ESHAPE, "where: shapes 2x1, 1x3 and 4x3");
    r = make(HWB_OP_CAST, 1, S(5), S(5));
    r.at.dtype = HWB_U8;
    check_shape(ctx, &r, "5", HWB_U8);
    r.at.dtype = 77;
    check_fails(ctx, &r, HWB_EARG, "cast: no dtype number 77");
    r = make(HWB_OP_ADD, 1, S(5), S(5));
    check_fails(ctx, &r, HWB_EARG, "add: wants 2 inputs, got 1");
    r = make(HWB_OP_FUSED, 1, S(5), S(5));
    check_fails(ctx, &r, HWB_EARG, "fused: made by the compiler");
    test_ctx_free(ctx);
}

static void test_movement(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    request r = make(HWB_OP_RESHAPE, 1, S(2, 6), S(1));
    r.at.shape = S(3, 4);
    check_shape(ctx, &r, "3x4", HWB_F32);
    r.at.shape = S(3, 5);
    check_fails(ctx, &r, HWB_ESHAPE, "reshape: 2x6 has 12 elements, 3x5 has 15");
    r.at.shape.dim[0] = -1;
    check_fails(ctx, &r, HWB_ESHAPE, "");

    r = make(HWB_OP_PERMUTE, 1, S(2, 3, 4), S(1));
    r.at.perm[0] = 2, r.at.perm[1] = 0, r.at.perm[2] = 1;
    check_shape(ctx, &r, "4x2x3", HWB_F32);
    r.at.perm[2] = 2;
    check_fails(ctx, &r, HWB_EARG, "permute: dim 3 at place 3 is no permutation of 2x3x4");

    r = make(HWB_OP_BROADCAST, 1, S(2, 1), S(1));
    r.at.shape = S(2, 5);
    check_shape(ctx, &r, "2x5", HWB_F32);
    r.at.shape = S(3, 5);
    check_fails(ctx, &r, HWB_ESHAPE, "broadcast: 2x1 does not grow to 3x5");

    r = make(HWB_OP_SLICE, 1, S(10), S(1));
    r.at.shape = S(3), r.at.lo[0] = 1, r.at.step[0] = 4;
    check_shape(ctx, &r, "3", HWB_F32);
    r.at.lo[0] = 2;
    check_fails(ctx, &r, HWB_ESHAPE, "slice: dim 1: 3 elements from 3 in steps of 4 leave 10");
    r.at.step[0] = INT64_MAX;
    check_fails(ctx, &r, HWB_ESHAPE, "slice: dim 1");
    r.at.step[0] = 0;
    check_fails(ctx, &r, HWB_EARG, "slice: dim 1 starts at 3 with step 0");
    r = make(HWB_OP_PAD, 1, S(3), S(1));
    r.at.shape = S(9), r.at.step[0] = 4;
    check_shape(ctx, &r, "9", HWB_F32);
    r.at.lo[0] = 1;
    check_fails(ctx, &r, HWB_ESHAPE, "pad: dim 1: 3 elements from 2 in steps of 4 leave 9");

    r = make(HWB_OP_CONCAT, 3, S(2, 3), S(2, 1));
    r.at.axis = 1;
    check_shape(ctx, &r, "2x5", HWB_F32);
    r.in[2] = S(3, 1);
    check_fails(ctx, &r, HWB_ESHAPE,
                "concat: shapes 2x3 and 3x1 (tensor 3) do not fit along dim 2");
    r.at.axis = 2;
    check_fails(ctx, &r, HWB_EARG, "concat: dim 3 of a tensor with 2 dims");
    test_ctx_free(ctx);
}

static void test_pick(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    request r = make(HWB_OP_GATHER, 2, S(5, 7, 2), S(3, 4));
    r.dt[1] = HWB_I64;
    r.at.axis = 1;
    check_shape(ctx, &r, "5x3x4x2", HWB_F32);
    r.in[1] = (hwb_shape){.ndim = 0};
    check_shape(ctx, &r, "5x2", HWB_F32);
    r.dt[1] = HWB_F32;
    check_fails(ctx, &r, HWB_EDTYPE, "gather: the index must be int32 or int64, got float32");
    r = make(HWB_OP_GATHER, 2, S(1, 1, 1, 1, 1), S(1, 1, 1, 1, 1));
    r.dt[1] = HWB_I32;
    check_fails(ctx, &r, HWB_ESHAPE, "have more than 8 dims");
    r = make(HWB_OP_SCATTER_ADD, 2, S(5, 3, 2), S(3));
    r.dt[1] = HWB_I64;
    r.at.axis = 1, r.at.shape = S(5, 7, 2);
    check_shape(ctx, &r, "5x7x2", HWB_F32);
    r.at.shape = S(5, 7, 1);
    check_fails(ctx, &r, HWB_ESHAPE,
                "scatter_add: updates 5x3x2, but an index 3 into dim 2 of 5x7x1 wants 5x3x1");
    test_ctx_free(ctx);
}

static void test_reduce(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    request r = make(HWB_OP_SUM, 1, S(2, 3, 4), S(1));
    r.at.axes = 5;
    check_shape(ctx, &r, "1x3x1", HWB_F32);
    r.at.axes = 8;
    check_fails(ctx, &r, HWB_EARG, "sum: dim 4 of 2x3x4");
    r = make(HWB_OP_SUM, 1, S(2, 0), S(1));
    r.at.axes = 2;
    check_shape(ctx, &r, "2x1", HWB_F32);
    r.op = HWB_OP_MAX;
    check_fails(ctx, &r, HWB_ESHAPE, "max: dim 2 of 2x0 is empty and has no maximum");
    r.at.axes = 1;
    check_shape(ctx, &r, "1x0", HWB_F32);
    r = make(HWB_OP_ARGMAX, 1, S(2, 3), S(1));
    r.at.axis = 1;
    check_shape(ctx, &r, "2x1", HWB_I64);
    r.at.axis = -1;
    check_fails(ctx, &r, HWB_EARG, "argmax: dim 0");
    test_ctx_free(ctx);
}

static void test_matmul(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    request r = make(HWB_OP_MATMUL, 2, S(128, 10), S(12, 3));
    check_fails(ctx, &r, HWB_ESHAPE, "matmul: [128x10] x [12x3]: inner sizes 10 and 12 differ");
    r.at.ta = 1, r.in[0] = S(12, 128);
    check_shape(ctx, &r, "128x3", HWB_F32);
    r = make(HWB_OP_MATMUL, 2, S(4, 1, 2, 3), S(1, 5, 7, 3));
    r.at.tb = 1;
    check_shape(ctx, &r, "4x5x2x7", HWB_F32);
    r.in[1] = S(3, 5, 7, 3);
    check_fails(ctx, &r, HWB_ESHAPE, "batch sizes 4 and 3");
    r = make(HWB_OP_MATMUL, 2, S(4), S(4));
    check_fails(ctx, &r, HWB_ESHAPE, "matmul: [4] x [4]: matrices have at least two dims");
    r = make(HWB_OP_MATMUL, 2, S(2, 4), S(1, 4, 3));
    check_fails(ctx, &r, HWB_ESHAPE, "ranks differ");
    r = make(HWB_OP_MATMUL, 2, S(2, 4), S(4, 3));
    r.dt[0] = r.dt[1] = HWB_I32;
    check_fails(ctx, &r, HWB_EDTYPE, "matmul: wants float");
    test_ctx_free(ctx);
}

static void test_conv(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    request r = make(HWB_OP_CONV, 2, S(8, 3, 32, 32), S(16, 4, 3, 3));
    check_fails(ctx, &r, HWB_ESHAPE,
                "conv: input 8x3x32x32 has 3 channels, weight 16x4x3x3 wants 4 (groups 1)");
    r.in[1] = S(16, 3, 3, 3);
    r.at.pad_lo[0] = r.at.pad_lo[1] = 1, r.at.pad_hi[0] = 1, r.at.stride[0] = 2;
    check_shape(ctx, &r, "8x16x16x31", HWB_F32);
    r.in[1] = S(5, 16, 3, 3, 3);
    check_shape(ctx, &r, "5x8x16x16x31", HWB_F32);
    r.in[0] = S(5, 8, 3, 32, 32);
    check_shape(ctx, &r, "5x8x16x16x31", HWB_F32);
    r.in[0] = S(4, 8, 3, 32, 32);
    check_fails(ctx, &r, HWB_ESHAPE, "conv: leading sizes K 4 and 5 differ");
    r.in[0] = S(8, 32, 32, 3);
    r.at.channels_last = 1;
    check_shape(ctx, &r, "5x8x16x31x16", HWB_F32);
    r.in[0] = S(32, 3);
    check_fails(ctx, &r, HWB_ESHAPE, "conv: input 32x3 must be [K,]N,H,W,C");

    r = make(HWB_OP_CONV, 2, S(1, 4, 5, 5), S(6, 2, 3, 3));
    r.at.groups = 2, r.at.dilation[0] = r.at.dilation[1] = 2;
    check_shape(ctx, &r, "1x6x1x1", HWB_F32);
    r.at.dilation[1] = 3;
    check_fails(ctx, &r, HWB_ESHAPE,
                "conv: window 3x3 (dilation 2x3) does not fit into image 5x5 with padding");
    r.at.groups = 4;
    check_fails(ctx, &r, HWB_ESHAPE, "wants 8 (groups 4)");
    r.at.groups = 0;
    check_fails(ctx, &r, HWB_EARG, "conv: 0 groups");
    r.at.stride[0] = 0;
    check_fails(ctx, &r, HWB_EARG, "conv: stride 0x1 and dilation 2x3 must be at least 1");
    r = make(HWB_OP_CONV, 2, S(1, 4, 5, 5), S(5, 2, 3, 3));
    r.at.groups = 2;
    check_fails(ctx, &r, HWB_ESHAPE, "5 output channels do not split into 2 groups");
    r.at.pad_lo[1] = -1;
    check_fails(ctx, &r, HWB_EARG, "conv: negative padding (0,0)x(-1,0)");
    test_ctx_free(ctx);
}

static void test_conv_transposes(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    request r = make(HWB_OP_CONV_BWD_DATA, 2, S(7, 2, 6, 4, 4), S(6, 3, 3, 3));
    r.at.stride[0] = r.at.stride[1] = 2, r.at.shape = S(2, 3, 9, 10);
    check_shape(ctx, &r, "7x2x3x9x10", HWB_F32);
    r.at.shape = S(2, 3, 9, 11);
    check_fails(ctx, &r, HWB_ESHAPE,
                "conv_bwd_data: output side 7x2x6x4x4, but input 2x3x9x11 and weight 6x3x3x3 make "
                "2x6x4x5");
    r.at.shape = S(7, 2, 3, 9, 10);
    check_fails(ctx, &r, HWB_ESHAPE, "result 7x2x3x9x10 must be given without K");
    r.at.channels_last = 1;
    r.in[0] = S(2, 4, 4, 6), r.in[1] = S(4, 6, 3, 3, 3), r.at.shape = S(2, 9, 10, 3);
    check_shape(ctx, &r, "4x2x9x10x3", HWB_F32);

    r = make(HWB_OP_CONV_BWD_WEIGHTS, 2, S(2, 3, 9, 10), S(7, 2, 6, 7, 8));
    r.at.shape = S(6, 3, 3, 3);
    check_shape(ctx, &r, "7x6x3x3x3", HWB_F32);
    r.in[1] = S(3, 6, 7, 8);
    check_fails(ctx, &r, HWB_ESHAPE, "conv_bwd_weights: output side 3x6x7x8, but");
    r.in[1] = S(2, 7, 8, 6), r.in[0] = S(9, 2, 9, 10, 3), r.at.channels_last = 1;
    check_shape(ctx, &r, "9x6x3x3x3", HWB_F32);
    r.at.shape = S(6, 3, 3);
    check_fails(ctx, &r, HWB_ESHAPE, "result 6x3x3 must be [K,]O,C,h,w");
    test_ctx_free(ctx);
}

static void test_pools(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    request r = make(HWB_OP_AVGPOOL, 1, S(4, 2, 3, 8, 8), S(1));
    for (int a = 0; a < 2; a++) r.at.kernel[a] = 3, r.at.stride[a] = 2, r.at.pad_lo[a] = 1;
    check_shape(ctx, &r, "4x2x3x4x4", HWB_F32);
    r.op = HWB_OP_MAXPOOL_INDEX;
    check_fails(ctx, &r, HWB_ESHAPE, "maxpool_index: the image carries a leading K");
    r.in[0] = S(2, 8, 8, 3), r.at.channels_last = 1;
    check_shape(ctx, &r, "2x4x4x3", HWB_I32);
    r.at.pad_lo[0] = 3;
    check_fails(ctx, &r, HWB_ESHAPE, "maxpool_index: window 0 along H holds padding only");
    r.at.kernel[1] = 0;
    check_fails(ctx, &r, HWB_EARG, "maxpool_index: window 3x0");

    r = make(HWB_OP_AVGPOOL_BWD, 1, S(2, 3, 4, 4), S(1));
    for (int a = 0; a < 2; a++) r.at.kernel[a] = r.at.stride[a] = 2;
    r.at.shape = S(2, 3, 8, 9);
    check_shape(ctx, &r, "2x3x8x9", HWB_F32);
    r.at.shape = S(2, 3, 8, 10);
    check_fails(ctx, &r, HWB_ESHAPE,
                "avgpool_bwd: input 2x3x4x4, but pooling 2x3x8x10 makes 2x3x4x5");

    r = make(HWB_OP_POOL_GATHER, 2, S(6, 2, 3, 8, 8), S(2, 3, 4, 4));
    r.dt[1] = HWB_I32;
    check_shape(ctx, &r, "6x2x3x4x4", HWB_F32);
    r.in[1] = S(2, 2, 4, 4);
    check_fails(ctx, &r, HWB_ESHAPE, "pool_gather: input 6x2x3x8x8 and index 2x2x4x4 do not fit");
    r = make(HWB_OP_POOL_SCATTER, 2, S(6, 2, 3, 4, 4), S(2, 3, 4, 4));
    r.dt[1] = HWB_I32, r.at.shape = S(6, 2, 3, 8, 8);
    check_shape(ctx, &r, "6x2x3x8x8", HWB_F32);
    r.at.shape = S(2, 3, 8, 8);
    check_fails(ctx, &r, HWB_ESHAPE, "do not fit the result 2x3x8x8");
    test_ctx_free(ctx);
}

/* Every operation refuses every wrong number of inputs, and survives zeroed
 * attributes and odd shapes. */
static void test_survives(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    const hwb_shape shapes[] = {{.ndim = 0},
                                S(0),
                                S(1),
                                S(2, 3),
                                S(1, 0, 2, 2),
                                S(2, 2, 2, 2, 2),
                                S(1, 1, 1, 1, 1, 1, 1, 1)};
    const int count = (int)(sizeof(shapes) / sizeof(shapes[0]));
    hwb_attrs zero;
    memset(&zero, 0, sizeof zero);
    for (int op = 0; op < HWB_OP_COUNT; op++)
        for (int n = 0; n <= 3; n++)
            for (int s = 0; s < count * count; s++)
                for (int dt = 0; dt < HWB_DTYPE_COUNT; dt++) {
                    const hwb_shape *a = &shapes[s % count], *b = &shapes[s / count];
                    const hwb_shape *in[3] = {a, b, a};
                    hwb_dtype d[3] = {(hwb_dtype)dt, (hwb_dtype)dt, (hwb_dtype)dt}, dtype;
                    hwb_shape out;
                    hwb_status status =
                        hwb_op_infer(ctx, (hwb_op)op, &zero, n, in, d, &out, &dtype);
                    int arity = hwb_op_arity((hwb_op)op);
                    if (arity >= 0 ? n != arity : n == 0) assert_int_not_equal(status, HWB_OK);
                    if (status == HWB_OK) assert_ok(ctx, hwb_shape_check(ctx, &out));
                }
    test_ctx_free(ctx);
}

static void test_macs(void **state) {
    (void)state;
    hwb_attrs at = attrs_none();
    hwb_shape a = S(5, 2, 3), b = S(5, 3, 4), c = S(5, 2, 4);
    assert_int_equal(hwb_op_macs(HWB_OP_MATMUL, &at, &a, &b, &c), 5 * 2 * 3 * 4);
    assert_int_equal(hwb_op_macs(HWB_OP_MUL, &at, &a, &a, &a), 0);
    hwb_shape x = S(2, 3, 9, 9), w = S(6, 3, 3, 3), y = S(2, 6, 7, 7), wk = S(4, 6, 3, 3, 3),
              yk = S(4, 2, 6, 7, 7), xk = S(4, 2, 3, 9, 9);
    const int64_t one = 2 * 6 * 7 * 7 * 27;
    assert_int_equal(hwb_op_macs(HWB_OP_CONV, &at, &x, &w, &y), one);
    assert_int_equal(hwb_op_macs(HWB_OP_CONV, &at, &x, &wk, &yk), 4 * one);
    assert_int_equal(hwb_op_macs(HWB_OP_CONV_BWD_DATA, &at, &y, &w, &x), one);
    assert_int_equal(hwb_op_macs(HWB_OP_CONV_BWD_DATA, &at, &y, &wk, &xk), 4 * one);
    assert_int_equal(hwb_op_macs(HWB_OP_CONV_BWD_WEIGHTS, &at, &x, &y, &w), one);
    assert_int_equal(hwb_op_macs(HWB_OP_CONV_BWD_WEIGHTS, &at, &xk, &y, &wk), 4 * one);
    assert_int_equal(hwb_op_macs(HWB_OP_CONV_BWD_WEIGHTS, &at, &xk, &yk, &wk), 4 * one);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),    cmocka_unit_test(test_pointwise),
        cmocka_unit_test(test_movement), cmocka_unit_test(test_pick),
        cmocka_unit_test(test_reduce),   cmocka_unit_test(test_matmul),
        cmocka_unit_test(test_conv),     cmocka_unit_test(test_conv_transposes),
        cmocka_unit_test(test_pools),    cmocka_unit_test(test_survives),
        cmocka_unit_test(test_macs),
    };
    return RUN_TESTS(tests);
}
