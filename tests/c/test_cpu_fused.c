/*
 * Fused pointwise groups of the CPU backend against ref: every operation, every
 * kind of broadcast and sum, random programs, NaN, in-place results, accuracy of
 * the vector functions, and the same bytes at any number of threads.
 */
#include "cpu_check.h"

static hwb_shape masked(const hwb_shape *s, unsigned ones) {
    hwb_shape r = *s;
    for (int i = 0; i < s->ndim; i++)
        if (ones >> i & 1u) r.dim[i] = 1;
    return r;
}

/* ---- single operations --------------------------------------------------- */

static void single_operations(void **state) {
    (void)state;
    const hwb_shape s = hwb_shape_of(3, 5, 7, 33);
    for (int op = 0; op < HWB_OP_COUNT; op++) {
        if (!hwb_op_is_pointwise((hwb_op)op)) continue;
        for (int wide = 0; wide < 2; wide++)
            for (unsigned ones = 0; ones < 8; ones += 3) {
                hwb_dtype t = wide ? HWB_F64 : HWB_F32;
                bool compare = hwb_op_family((hwb_op)op) == HWB_FAMILY_COMPARE;
                check c = {.d = {.op = (hwb_op)op, .n_out = 1}, .exact_threads = true};
                c.d.n_in = hwb_op_arity((hwb_op)op);
                for (int i = 0; i < c.d.n_in; i++) c.in[i] = (hwb_vdesc){t, s};
                if (c.d.n_in > 1) c.in[1].shape = masked(&s, ones);
                if (op == HWB_OP_WHERE) c.in[0].dtype = HWB_BOOL;
                c.out[0] = (hwb_vdesc){compare ? HWB_BOOL : t, s};
                c.d.attrs.dtype = (int32_t)t;
                c.scale = 2;
                check_kernel(&c);
            }
    }
}

static void bool_casts(void **state) {
    (void)state;
    check c = {.d = {.op = HWB_OP_CAST, .n_in = 1, .n_out = 1}};
    c.in[0] = (hwb_vdesc){HWB_BOOL, hwb_shape_of(2, 9, 100)};
    c.out[0] = (hwb_vdesc){HWB_F64, c.in[0].shape};
    c.d.attrs.dtype = HWB_F64;
    check_kernel(&c);
    c.in[0].dtype = HWB_F32;
    c.out[0].dtype = HWB_BOOL;
    c.d.attrs.dtype = HWB_BOOL;
    check_kernel(&c);
}

/* ---- sums and broadcasts ------------------------------------------------- */

static const int spaces[][6] = {
    /* rank, dims */
    {1, 40000},    {2, 2100, 16},   {2, 700, 5},       {4, 4, 9, 9, 16},
    {2, 30, 3000}, {3, 3, 700, 16}, {3, 40, 1, 50},    {5, 3, 2, 6, 5, 7},
    {2, 1, 1},     {3, 2, 3, 1100}, {4, 2, 3, 50, 30}, {3, 60, 20, 10},
};
enum { SPACES = sizeof spaces / sizeof *spaces };

static hwb_shape space_of(int i) {
    hwb_shape s = {.ndim = spaces[i][0]};
    for (int d = 0; d < s.ndim; d++) s.dim[d] = spaces[i][d + 1];
    return s;
}

static void sums(void **state) {
    (void)state;
    for (int i = 0; i < SPACES; i++) {
        hwb_shape s = space_of(i);
        for (unsigned axes = 0; axes < 1u << s.ndim; axes++)
            for (int wide = 0; wide < 2; wide++) {
                hwb_dtype t = wide ? HWB_F64 : HWB_F32;
                check c = {.d = {.op = HWB_OP_SUM, .n_in = 1, .n_out = 1}, .exact_threads = true};
                c.d.attrs.axes = axes;
                c.in[0] = (hwb_vdesc){t, s};
                c.out[0] = (hwb_vdesc){t, masked(&s, axes)};
                check_kernel(&c);
                c.d.op = HWB_OP_BROADCAST;
                c.d.attrs.shape = s;
                c.in[0].shape = masked(&s, axes);
                c.out[0].shape = s;
                check_kernel(&c);
            }
    }
}

/* ---- random programs ----------------------------------------------------- */

typedef struct program {
    hwb_fused f;
    hwb_finstr instr[HWB_FUSED_MAX_INSTR];
    hwb_fout out[HWB_FUSED_MAX_OUT];
} program;

/* Operations whose rounding differences stay small in any composition. */
static const hwb_op tame[] = {HWB_OP_ADD,  HWB_OP_SUB,  HWB_OP_MUL,     HWB_OP_RELU,
                              HWB_OP_TANH, HWB_OP_ABS,  HWB_OP_MAXIMUM, HWB_OP_MINIMUM,
                              HWB_OP_NEG,  HWB_OP_STOP, HWB_OP_SIGMOID, HWB_OP_FILL};

static uint64_t draw(uint64_t seed, int *at, uint64_t below) {
    return hwb_rng_below((hwb_rng){seed, 99}, (uint64_t)(*at)++, below);
}

/* Operations that are rounded once, so that nothing may differ. */
static const hwb_op rounded[] = {HWB_OP_ADD, HWB_OP_SUB, HWB_OP_MUL,  HWB_OP_RELU,   HWB_OP_ABS,
                                 HWB_OP_NEG, HWB_OP_MUL, HWB_OP_FILL, HWB_OP_MAXIMUM};

static void make_program(check *c, program *p, uint64_t seed, bool in_place, bool exact) {
    int at = 0;
    hwb_shape s = space_of((int)draw(seed, &at, SPACES));
    hwb_dtype t = draw(seed, &at, 3) ? HWB_F32 : HWB_F64;
    *c = (check){.d = {.op = HWB_OP_FUSED}, .exact_threads = true, .seed = seed};
    *p = (program){.f = {.dtype = t, .space = s, .instr = p->instr, .out = p->out}};
    p->f.n_in = c->d.n_in = 1 + (int)draw(seed, &at, 5);
    p->f.n_instr = (int)draw(seed, &at, 20);
    p->f.n_out = c->d.n_out = 1 + (int)draw(seed, &at, 4);
    for (int i = 0; i < p->f.n_in; i++) {
        bool dense = i == p->f.n_in - 1;
        unsigned ones = dense ? 0 : (unsigned)draw(seed, &at, 1u << s.ndim);
        bool flag = !dense && draw(seed, &at, 5) == 0;
        c->in[i] = (hwb_vdesc){flag ? HWB_BOOL : t, masked(&s, ones)};
    }
    for (int i = 0; i < p->f.n_instr; i++) {
        hwb_op op = exact ? rounded[draw(seed, &at, sizeof rounded / sizeof *rounded)]
                          : tame[draw(seed, &at, sizeof tame / sizeof *tame)];
        if (draw(seed, &at, 8) == 0) op = HWB_OP_WHERE;
        p->instr[i] = (hwb_finstr){.op = (int32_t)op, .in = {-1, -1, -1}, .imm = 0.5};
        int arity = op == HWB_OP_FILL ? 0 : hwb_op_arity(op);
        for (int j = 0; j < arity; j++)
            p->instr[i].in[j] = (int32_t)draw(seed, &at, (uint64_t)(p->f.n_in + i));
    }
    for (int i = 0; i < p->f.n_out; i++) {
        bool reduce = !exact && draw(seed, &at, 2) && !(in_place && i == 0);
        p->out[i].reg = (int32_t)draw(seed, &at, (uint64_t)(p->f.n_in + p->f.n_instr));
        p->out[i].reduce = reduce;
        unsigned ones = reduce ? (unsigned)draw(seed, &at, 1u << s.ndim) : 0;
        c->out[i] = (hwb_vdesc){t, masked(&s, ones)};
    }
    c->in_place = in_place;
    c->exact = exact;
    c->d.fused = &p->f;
    c->scale = 0.8;
    c->floor = (double)hwb_shape_numel(&s);
}

static void random_programs(void **state) {
    (void)state;
    program p;
    check c;
    for (uint64_t seed = 0; seed < 120; seed++) {
        make_program(&c, &p, seed, seed % 3 == 0, false);
        check_kernel(&c);
    }
}

/* A group gives bit for bit what its operations give one by one: ref rounds after
 * each. */
static void exact_programs(void **state) {
    (void)state;
    program p;
    check c;
    for (uint64_t seed = 1000; seed < 1060; seed++) {
        make_program(&c, &p, seed, seed % 3 == 0, true);
        check_kernel(&c);
    }
}

/* ---- values -------------------------------------------------------------- */

/* NaN, infinities and signed zeros go through as in ref. */
static void special_values(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    static const float special[] = {NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 1e-42f, 3e38f, -2.5f};
    enum { N = sizeof special / sizeof *special };
    float a[N * N], b[N * N];
    for (int i = 0; i < N * N; i++) a[i] = special[i / N], b[i] = special[i % N];
    hwb_vdesc in[3] = {{HWB_F32, hwb_shape_of(1, N * N)},
                       {HWB_F32, hwb_shape_of(1, N * N)},
                       {HWB_F32, hwb_shape_of(1, N * N)}};
    for (int op = 0; op < HWB_OP_COUNT; op++) {
        if (!hwb_op_is_pointwise((hwb_op)op) || op == HWB_OP_WHERE) continue;
        hwb_vdesc out = {HWB_F32, in[0].shape};
        if (hwb_op_family((hwb_op)op) == HWB_FAMILY_COMPARE) out.dtype = HWB_BOOL;
        hwb_kdesc d = {
            .op = (hwb_op)op, .n_in = hwb_op_arity((hwb_op)op), .n_out = 1, .in = in, .out = &out};
        float y[2][N * N] = {{0}};
        for (int turn = 0; turn < 2; turn++) {
            hwb_device *dev = NULL;
            hwb_kernel *kernel = NULL;
            assert_ok(ctx, hwb_device_open(ctx, &dev, turn ? "cpu" : "ref"));
            assert_ok(ctx, dev->backend->prepare(ctx, dev->state, &kernel, &d));
            const void *from[2] = {a, b};
            void *to[1] = {y[turn]};
            assert_ok(ctx, dev->backend->run(ctx, dev->state, kernel, from, NULL, to));
            dev->backend->kernel_free(dev->state, kernel);
        }
        if (out.dtype == HWB_BOOL) assert_memory_equal(y[0], y[1], N * N);
        for (int i = 0; out.dtype == HWB_F32 && i < N * N; i++) {
            float want = y[0][i], got = y[1][i];
            bool same = want == got || (isnan(want) && isnan(got)) ||
                        fabsf(want - got) <= 3e-7f * fabsf(want) + 1e-44f;
            if (!same)
                fail_msg("%s(%g, %g) is %g, ref says %g", hwb_op_name((hwb_op)op), (double)a[i],
                         (double)b[i], (double)got, (double)want);
        }
    }
    hwb_ctx_free(ctx);
}

static double logistic(double x) {
    return 1 / (1 + exp(-x));
}

/* |got - want| in units of the last place of the float32 nearest to want. */
static double ulps(float got, double want) {
    float nearest = (float)want;
    if (got == nearest || (isnan(got) && isnan(want))) return 0;
    float size = fabsf(nearest) < 1.17549435e-38f ? 1.17549435e-38f : fabsf(nearest);
    return fabs((double)got - want) / ((double)nextafterf(size, INFINITY) - (double)size);
}

/* Every 9973rd float32 of all there are. */
static void accuracy(void **state) {
    (void)state;
    const struct {
        int op;
        double (*f)(double);
    } cases[] = {{HWB_OP_EXP, exp},   {HWB_OP_LOG, log},          {HWB_OP_LOG1P, log1p},
                 {HWB_OP_TANH, tanh}, {HWB_OP_SIGMOID, logistic}, {HWB_OP_ERF, erf}};
    const hwb_backend *cpu = hwb_backend_cpu();
    hwb_ctx *ctx = test_ctx_new();
    hwb_device *dev = NULL;
    assert_ok(ctx, hwb_device_open(ctx, &dev, "cpu"));
    enum { N = 430654 };
    float *x = hwb_alloc(ctx, N * sizeof *x), *y = hwb_alloc(ctx, N * sizeof *y);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t bits = i * 9973u;
        memcpy(&x[i], &bits, sizeof bits);
    }
    hwb_vdesc v = {HWB_F32, hwb_shape_of(1, N)};
    for (size_t j = 0; j < sizeof cases / sizeof *cases; j++) {
        hwb_kdesc d = {.op = (hwb_op)cases[j].op, .n_in = 1, .n_out = 1, .in = &v, .out = &v};
        hwb_kernel *kernel = NULL;
        assert_ok(ctx, cpu->prepare(ctx, dev->state, &kernel, &d));
        assert_ok(ctx, cpu->run(ctx, dev->state, kernel, (const void *[]){x}, NULL, (void *[]){y}));
        cpu->kernel_free(dev->state, kernel);
        for (int i = 0; i < N; i++)
            if (!(ulps(y[i], cases[j].f((double)x[i])) <= 2.5))
                fail_msg("%s(%.9g) is %.9g", hwb_op_name(d.op), (double)x[i], (double)y[i]);
    }
    hwb_free(x);
    hwb_free(y);
    hwb_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_operations),
        cmocka_unit_test(bool_casts),
        cmocka_unit_test(sums),
        cmocka_unit_test(random_programs),
        cmocka_unit_test(exact_programs),
        cmocka_unit_test(special_values),
        cmocka_unit_test(accuracy),
    };
    return RUN_TESTS(tests);
}
