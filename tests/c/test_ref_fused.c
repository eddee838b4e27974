/*
 * test_ref_fused.c: random fused programs of the reference backend against the
 * same operations run one by one: equal bits for float32 and float64, with
 * broadcast and bool inputs, bool and reduced outputs, buffers shared in place.
 */
#include "kernels.h"

/* A program in arrays of its own, and its values as tensors over the space. */
typedef struct program {
    hwb_fused f;
    hwb_finstr instr[HWB_FUSED_MAX_INSTR];
    hwb_fout out[HWB_FUSED_MAX_OUT];
    hwb_vdesc vin[HWB_FUSED_MAX_IN], vout[HWB_FUSED_MAX_OUT];
    hwb_tensor *in[HWB_FUSED_MAX_IN];
    hwb_tensor *reg[HWB_FUSED_MAX_IN + HWB_FUSED_MAX_INSTR];
} program;

static int draw(uint64_t seed, int i, int below) {
    return (int)hwb_rng_below((hwb_rng){seed, 5}, (uint64_t)i, (uint64_t)below);
}

static const hwb_op CHOICE[] = {HWB_OP_ADD,  HWB_OP_MUL,    HWB_OP_SUB,  HWB_OP_TANH,
                                HWB_OP_EXP,  HWB_OP_NEG,    HWB_OP_RELU, HWB_OP_MAXIMUM,
                                HWB_OP_LT,   HWB_OP_WHERE,  HWB_OP_SIGN, HWB_OP_STOP,
                                HWB_OP_FILL, HWB_OP_SIGMOID};
enum { CHOICES = sizeof(CHOICE) / sizeof(CHOICE[0]) };

/* The last register before `limit` that is bool or not, as wanted. */
static int find(const program *p, int limit, int from, bool wanted) {
    for (int i = 0; i < limit; i++) {
        int r = (from + i) % limit;
        if ((hwb_tensor_dtype(p->reg[r]) == HWB_BOOL) == wanted) return r;
    }
    return -1;
}

/* Input 0 is bool, input 1 spans the space, the rest broadcast at random. */
static void make_inputs(hwb_ctx *ctx, program *p, uint64_t seed) {
    hwb_attrs at = attrs_none();
    at.shape = p->f.space;
    p->f.n_in = 2 + draw(seed, 1, 3);
    for (int j = 0; j < p->f.n_in; j++) {
        hwb_shape s = p->f.space;
        for (int a = 0; j != 1 && a < s.ndim; a++)
            if (draw(seed, 10 + 8 * j + a, 2)) s.dim[a] = 1;
        p->in[j] = tensor_random(ctx, j == 0 ? HWB_BOOL : p->f.dtype, s, seed * 16 + (uint64_t)j);
        p->vin[j] = (hwb_vdesc){hwb_tensor_dtype(p->in[j]), s};
        p->reg[j] = call_ref1(ctx, HWB_OP_BROADCAST, &at, p->in[j]);
    }
}

/* Appends an instruction and its value, worked out by the kernel of the op alone. */
static void append(hwb_ctx *ctx, program *p, uint64_t seed) {
    int i = p->f.n_instr, r = p->f.n_in + i;
    hwb_op op = CHOICE[draw(seed, 100 + i, CHOICES)];
    hwb_finstr *instr = &p->instr[p->f.n_instr++];
    *instr = (hwb_finstr){.op = op, .in = {-1, -1, -1}, .imm = 0.1 * i};
    hwb_attrs at = attrs_none();
    at.shape = p->f.space, at.value = instr->imm, at.dtype = p->f.dtype;
    hwb_tensor *args[3];
    int arity = hwb_op_arity(op);
    for (int a = 0; a < arity; a++) {
        bool cond = op == HWB_OP_WHERE && a == 0;
        instr->in[a] = find(p, r, draw(seed, 200 + 3 * i + a, r), cond);
        args[a] = p->reg[instr->in[a]];
    }
    p->reg[r] = call_ref(ctx, op, &at, arity, args);
}

/* Outputs: the last registers, every other one summed over random axes. */
static void make_outputs(program *p, uint64_t seed) {
    p->f.n_out = 4;
    for (int o = 0; o < p->f.n_out; o++) {
        int reg = p->f.n_in + p->f.n_instr - 1 - o;
        bool is_bool = hwb_tensor_dtype(p->reg[reg]) == HWB_BOOL;
        p->out[o] = (hwb_fout){reg, 0};
        p->vout[o] = (hwb_vdesc){hwb_tensor_dtype(p->reg[reg]), p->f.space};
        if (o % 2 == 0 || is_bool) continue;
        p->out[o].reduce = 1;
        for (int a = 0; a < p->f.space.ndim; a++)
            if (draw(seed, 300 + 8 * o + a, 2)) p->vout[o].shape.dim[a] = 1;
    }
}

static program make_program(hwb_ctx *ctx, uint64_t seed, hwb_dtype dtype) {
    static const int sizes[4][4] = {{2, 3, 4, 5}, {1, 7, 1, 600}, {3, 2, 40, 40}, {2, 0, 3, 1}};
    const int *d = sizes[seed % 4];
    program p = {.f = {.dtype = dtype, .space = hwb_shape_of(4, d[0], d[1], d[2], d[3])}};
    make_inputs(ctx, &p, seed);
    int n = 6 + draw(seed, 2, 20);
    for (int i = 0; i < n; i++) append(ctx, &p, seed);
    make_outputs(&p, seed);
    return p;
}

static void free_program(program *p) {
    for (int j = 0; j < p->f.n_in; j++) hwb_tensor_release(p->in[j]);
    for (int r = 0; r < p->f.n_in + p->f.n_instr; r++) hwb_tensor_release(p->reg[r]);
}

/* What output o should be. */
static hwb_tensor *expected(hwb_ctx *ctx, const program *p, int o) {
    hwb_attrs at = attrs_none();
    hwb_tensor *value = p->reg[p->out[o].reg];
    if (!p->out[o].reduce) return hwb_tensor_retain(value);
    for (int a = 0; a < p->f.space.ndim; a++)
        if (p->vout[o].shape.dim[a] == 1) at.axes |= 1u << a;
    return call_ref1(ctx, HWB_OP_SUM, &at, value);
}

/* Runs p; out[o] are given buffers. */
static void run_program(hwb_ctx *ctx, const program *p, hwb_tensor *const *out) {
    hwb_fused f = p->f;
    f.instr = p->instr;
    f.out = p->out;
    hwb_kdesc desc = {.op = HWB_OP_FUSED,
                      .attrs = attrs_none(),
                      .n_in = f.n_in,
                      .n_out = f.n_out,
                      .in = p->vin,
                      .out = p->vout,
                      .fused = &f};
    const void *in[HWB_FUSED_MAX_IN];
    void *to[HWB_FUSED_MAX_OUT];
    for (int j = 0; j < f.n_in; j++) in[j] = hwb_tensor_data(p->in[j]);
    for (int o = 0; o < f.n_out; o++) to[o] = hwb_tensor_data(out[o]);
    assert_true(hwb_backend_ref()->supports(NULL, &desc));
    assert_ok(ctx, kernel_run(ctx, hwb_backend_ref(), NULL, &desc, in, to));
}

static void check_program(hwb_ctx *ctx, uint64_t seed, hwb_dtype dtype) {
    program p = make_program(ctx, seed, dtype);
    hwb_tensor *out[HWB_FUSED_MAX_OUT] = {0}, *want[HWB_FUSED_MAX_OUT];
    for (int o = 0; o < p.f.n_out; o++) {
        want[o] = expected(ctx, &p, o);
        /* output 0 over the full-size input, when it has its dtype */
        bool in_place = o == 0 && p.vout[0].dtype == dtype;
        if (in_place) out[o] = hwb_tensor_retain(p.in[1]);
        else assert_ok(ctx, hwb_tensor_new(ctx, &out[o], p.vout[o].dtype, p.vout[o].shape));
    }
    run_program(ctx, &p, out);
    for (int o = 0; o < p.f.n_out; o++) {
        assert_true(hwb_shape_equal(hwb_tensor_shape(out[o]), hwb_tensor_shape(want[o])));
        for (int64_t i = 0; i < hwb_tensor_numel(want[o]); i++) {
            double a = hwb_tensor_get(out[o], i), b = hwb_tensor_get(want[o], i);
            assert_true(a == b || (isnan(a) && isnan(b)));
        }
        hwb_tensor_release(out[o]);
        hwb_tensor_release(want[o]);
    }
    free_program(&p);
}

static void test_programs(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    for (uint64_t seed = 0; seed < 60; seed++)
        check_program(ctx, seed, seed / 4 % 2 ? HWB_F64 : HWB_F32);
    test_ctx_free(ctx);
}

/* y = relu(x * scale + shift) and its sums over N,H,W, by hand */
static void test_by_hand(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    const double x[] = {1, -2, 3, -4, 5, -6, 7, -8}, scale[] = {2, 10}, shift[] = {1, -1};
    program p = {.f = {.dtype = HWB_F32,
                       .space = hwb_shape_of(4, 2, 2, 1, 2),
                       .n_in = 3,
                       .n_instr = 3,
                       .n_out = 2}};
    p.in[0] = tensor_of(ctx, HWB_F32, p.f.space, x);
    p.in[1] = tensor_of(ctx, HWB_F32, hwb_shape_of(4, 1, 2, 1, 1), scale);
    p.in[2] = tensor_of(ctx, HWB_F32, hwb_shape_of(4, 1, 2, 1, 1), shift);
    for (int j = 0; j < 3; j++) p.vin[j] = (hwb_vdesc){HWB_F32, *hwb_tensor_shape(p.in[j])};
    p.instr[0] = (hwb_finstr){HWB_OP_MUL, {0, 1, -1}, 0};
    p.instr[1] = (hwb_finstr){HWB_OP_ADD, {3, 2, -1}, 0};
    p.instr[2] = (hwb_finstr){HWB_OP_RELU, {4, -1, -1}, 0};
    p.out[0] = (hwb_fout){5, 0};
    p.out[1] = (hwb_fout){5, 1};
    p.vout[0] = (hwb_vdesc){HWB_F32, p.f.space};
    p.vout[1] = p.vin[1];
    hwb_tensor *out[2];
    for (int o = 0; o < 2; o++)
        assert_ok(ctx, hwb_tensor_new(ctx, &out[o], HWB_F32, p.vout[o].shape));
    run_program(ctx, &p, out);
    ASSERT_VALUES_FREE(out[0], 0, 3, 0, 29, 0, 11, 0, 69, 0);
    ASSERT_VALUES_FREE(out[1], 0, 14, 98);
    for (int j = 0; j < 3; j++) hwb_tensor_release(p.in[j]);
    test_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_programs),
        cmocka_unit_test(test_by_hand),
    };
    return RUN_TESTS(tests);
}
