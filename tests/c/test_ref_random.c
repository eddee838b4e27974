/*
 * test_ref_random.c: whatever hwb_op_infer accepts, ref runs, inside its buffers,
 * on random attributes and small random shapes with empty dims among them; and
 * running out of memory is an error that leaves nothing behind.
 */
#include "kernels.h"

typedef struct dice {
    hwb_rng rng;
    uint64_t i;
} dice;

static int roll(dice *d, int below) {
    return (int)hwb_rng_below(d->rng, d->i++, (uint64_t)below);
}

/* Often 1, 2, 3, sometimes 0. */
static int64_t size(dice *d) {
    static const int64_t sizes[] = {1, 1, 2, 2, 2, 3, 3, 4, 0};
    return sizes[roll(d, 9)];
}

static hwb_shape any_shape(dice *d, int ndim) {
    hwb_shape s = {.ndim = ndim};
    for (int i = 0; i < ndim; i++) s.dim[i] = size(d);
    return s;
}

/* The same shape with a few changes, so that operands often fit each other. */
static hwb_shape like(dice *d, hwb_shape s) {
    for (int i = 0; i < s.ndim; i++)
        if (roll(d, 4) == 0) s.dim[i] = size(d);
    return s;
}

static hwb_attrs any_attrs(dice *d, hwb_shape base) {
    hwb_attrs at = attrs_none();
    at.shape = roll(d, 2) ? like(d, base) : any_shape(d, roll(d, 6));
    at.axis = roll(d, 4);
    at.axes = (uint32_t)roll(d, 16);
    at.dtype = roll(d, HWB_DTYPE_COUNT);
    at.ta = roll(d, 2), at.tb = roll(d, 2);
    at.groups = 1 + roll(d, 2);
    at.channels_last = roll(d, 2);
    int turn = roll(d, 3);
    for (int i = 0; i < HWB_MAX_DIMS; i++) {
        at.lo[i] = roll(d, 2), at.step[i] = 1 + roll(d, 2);
        at.perm[i] = base.ndim > 0 ? (i + turn) % base.ndim : 0;
    }
    for (int a = 0; a < 2; a++) {
        at.kernel[a] = 1 + roll(d, 2), at.stride[a] = 1 + roll(d, 2);
        at.dilation[a] = 1 + roll(d, 2);
        at.pad_lo[a] = roll(d, 3), at.pad_hi[a] = roll(d, 3);
    }
    return at;
}

static bool takes_images(hwb_op op) {
    switch (op) {
    case HWB_OP_AVGPOOL:
    case HWB_OP_AVGPOOL_BWD:
    case HWB_OP_MAXPOOL_INDEX:
    case HWB_OP_POOL_GATHER:
    case HWB_OP_POOL_SCATTER: return true;
    default: return false;
    }
}

static bool takes_index(hwb_op op) {
    return op == HWB_OP_GATHER || op == HWB_OP_SCATTER_ADD || op == HWB_OP_POOL_GATHER ||
           op == HWB_OP_POOL_SCATTER;
}

/* Shapes of the inputs of any operation but the conv trio. */
static void any_inputs(dice *d, hwb_op op, int n, hwb_shape in[3], hwb_attrs *at) {
    const bool images = takes_images(op);
    hwb_shape base = any_shape(d, images ? 4 + roll(d, 4) / 3 : roll(d, 5));
    *at = any_attrs(d, base);
    for (int i = 0; i < n; i++)
        in[i] = i == 1 && takes_index(op) && !images ? any_shape(d, roll(d, 3)) : like(d, base);
}

/* Shapes for the conv trio: x and w drawn, y made from them, small damage at times. */
static void conv_inputs(hwb_ctx *ctx, dice *d, hwb_op op, hwb_shape in[3], hwb_attrs *at) {
    hwb_shape x = any_shape(d, 4), w = any_shape(d, 4), y = {.ndim = 4};
    hwb_dtype dt[2] = {HWB_F32, HWB_F32}, out;
    *at = any_attrs(d, x);
    x.dim[at->channels_last ? 3 : 1] = w.dim[1] * at->groups;
    w.dim[0] *= at->groups;
    if (hwb_op_infer(ctx, HWB_OP_CONV, at, 2, (const hwb_shape *[]){&x, &w}, dt, &y, &out)) return;
    at->shape = op == HWB_OP_CONV_BWD_DATA ? x : w;
    in[0] = op == HWB_OP_CONV_BWD_DATA ? y : x;
    in[1] = op == HWB_OP_CONV_BWD_WEIGHTS ? y : w;
    if (roll(d, 4) == 0) in[roll(d, 2)].dim[roll(d, 4)] = size(d);
    for (int i = 0; i < 2; i++) {
        if (roll(d, 3)) continue;
        memmove(in[i].dim + 1, in[i].dim, 4 * sizeof(in[i].dim[0]));
        in[i].dim[0] = 2;
        in[i].ndim = 5;
    }
}

/* One attempt; true when the request was accepted. */
static bool attempt(hwb_ctx *ctx, hwb_op op, dice *d) {
    int n = hwb_op_arity(op) < 0 ? 1 + roll(d, 3) : hwb_op_arity(op);
    hwb_dtype dt = (hwb_dtype)(roll(d, 2) ? roll(d, 2) : roll(d, HWB_DTYPE_COUNT));
    hwb_shape shapes[3] = {{.ndim = 0}, {.ndim = 0}, {.ndim = 0}};
    hwb_tensor *in[3] = {NULL, NULL, NULL}, *out = NULL;
    hwb_attrs at;
    if (hwb_op_family(op) == HWB_FAMILY_BILINEAR && op != HWB_OP_MATMUL)
        conv_inputs(ctx, d, op, shapes, &at);
    else any_inputs(d, op, n, shapes, &at);
    for (int i = 0; i < n; i++) {
        bool index = i == 1 && takes_index(op), cond = i == 0 && op == HWB_OP_WHERE && roll(d, 4);
        hwb_dtype mine = index ? (hwb_dtype)(HWB_I32 + roll(d, 2)) : cond ? HWB_BOOL : dt;
        in[i] = tensor_random(ctx, mine, shapes[i], (uint64_t)roll(d, 1000));
        for (int64_t j = 0; index && j < hwb_tensor_numel(in[i]); j++)
            hwb_tensor_set(in[i], j, roll(d, 8) ? 0 : roll(d, 6) - 1);
    }
    hwb_status status = try_ref(ctx, op, &at, n, in, &out);
    assert_in_range(-status, 0, -HWB_EDTYPE); /* or EARG, ESHAPE: nothing else can go wrong */
    for (int i = 0; i < n; i++) hwb_tensor_release(in[i]);
    hwb_tensor_release(out);
    return status == HWB_OK;
}

static void test_accepted_runs(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_set_threads(ctx, 1);
    for (int op = 0; op < HWB_OP_COUNT; op++) {
        if (op == HWB_OP_INPUT || op == HWB_OP_CONSTANT || op == HWB_OP_FUSED ||
            op == HWB_OP_ALLREDUCE)
            continue;
        dice d = {{3, (uint64_t)op}, 0};
        int accepted = 0;
        for (int i = 0; i < 2000; i++) accepted += attempt(ctx, (hwb_op)op, &d);
        if (accepted < 10) print_error("%s: %d accepted\n", hwb_op_name((hwb_op)op), accepted);
        assert_true(accepted >= 10);
    }
    test_ctx_free(ctx);
}

static void test_no_memory(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_attrs at = attrs_none();
    hwb_tensor *x = tensor_random(ctx, HWB_F32, hwb_shape_of(2, 64, 64), 1), *y = NULL;
    hwb_memory_set_limit(ctx, hwb_memory(ctx).live + 1000);
    size_t before = hwb_memory(ctx).live;
    assert_fails(ctx, try_ref(ctx, HWB_OP_MATMUL, &at, 2, (hwb_tensor *[]){x, x}, &y), HWB_ENOMEM,
                 "");
    assert_int_equal(hwb_memory(ctx).live, before);
    hwb_tensor_release(x);
    test_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted_runs),
        cmocka_unit_test(test_no_memory),
    };
    return RUN_TESTS(tests);
}
