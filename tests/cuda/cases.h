/*
 * cases.h: kernel descriptions that between them meet every operation of ops.def in
 * float32 and float64, both image layouts, and the shapes that device code is
 * written for differently.  test_cuda_ops.c runs them on a device,
 * test_cuda_nvrtc.c compiles their kernels without one.
 *
 * each_case calls f(check *) for each; the description borrows from the check.
 */
#ifndef HWB_CUDA_CASES_H
#define HWB_CUDA_CASES_H

#include "cpu_check.h"

typedef void (*case_fn)(check *c);

static inline hwb_shape case_masked(const hwb_shape *s, unsigned ones) {
    hwb_shape r = *s;
    for (int i = 0; i < s->ndim; i++)
        if (ones >> i & 1u) r.dim[i] = 1;
    return r;
}

/* ---- pointwise -------------------------------------------------------------------- */

static inline bool case_takes_integers(hwb_op op) {
    switch (op) {
    case HWB_OP_NEG:
    case HWB_OP_ADD:
    case HWB_OP_SUB:
    case HWB_OP_MUL:
    case HWB_OP_RELU:
    case HWB_OP_ABS:
    case HWB_OP_MAXIMUM:
    case HWB_OP_MINIMUM:
    case HWB_OP_SIGN:
    case HWB_OP_WHERE:
    case HWB_OP_STOP: return true;
    default: return hwb_op_family(op) == HWB_FAMILY_COMPARE;
    }
}

static inline void case_pointwise(case_fn f, hwb_op op, hwb_dtype t, hwb_shape s, unsigned ones) {
    check c = {.d = {.op = op, .n_in = hwb_op_arity(op), .n_out = 1}, .scale = 2};
    for (int i = 0; i < c.d.n_in; i++) c.in[i] = (hwb_vdesc){t, s};
    if (c.d.n_in > 1) c.in[1].shape = case_masked(&s, ones);
    if (op == HWB_OP_WHERE) c.in[0].dtype = HWB_BOOL;
    c.out[0] = (hwb_vdesc){hwb_op_family(op) == HWB_FAMILY_COMPARE ? HWB_BOOL : t, s};
    c.d.attrs.dtype = (int32_t)t;
    f(&c);
}

static inline void cases_pointwise(case_fn f) {
    for (int op = 0; op < HWB_OP_COUNT; op++) {
        if (!hwb_op_is_pointwise((hwb_op)op) || op == HWB_OP_CAST) continue;
        case_pointwise(f, (hwb_op)op, HWB_F32, hwb_shape_of(3, 5, 7, 32), 0);
        case_pointwise(f, (hwb_op)op, HWB_F64, hwb_shape_of(3, 5, 7, 33), 0);
        if (case_takes_integers((hwb_op)op))
            case_pointwise(f, (hwb_op)op, HWB_I64, hwb_shape_of(2, 3, 5), 0);
    }
    for (unsigned ones = 1; ones < 8; ones++) {
        case_pointwise(f, HWB_OP_MUL, HWB_F32, hwb_shape_of(3, 6, 10, 36), ones);
        case_pointwise(f, HWB_OP_SUB, HWB_F64, hwb_shape_of(3, 3, 5, 7), ones);
    }
    case_pointwise(f, HWB_OP_ADD, HWB_F32, hwb_shape_of(0), 0);
    case_pointwise(f, HWB_OP_ADD, HWB_F32, hwb_shape_of(2, 0, 5), 0);
    case_pointwise(f, HWB_OP_ADD, HWB_I32, hwb_shape_of(1, 9), 0);
}

static inline void cases_cast(case_fn f) {
    static const hwb_dtype all[] = {HWB_F32, HWB_F64, HWB_I32, HWB_I64, HWB_U8, HWB_BOOL};
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++) {
            check c = {
                .d = {.op = HWB_OP_CAST, .n_in = 1, .n_out = 1}, .scale = 100, .exact = true};
            c.in[0] = (hwb_vdesc){all[i], hwb_shape_of(1, 77)};
            c.out[0] = (hwb_vdesc){all[j], c.in[0].shape};
            c.d.attrs.dtype = (int32_t)all[j];
            f(&c);
        }
    for (int i = 0; i < 6; i++) {
        check c = {.d = {.op = HWB_OP_FILL, .n_out = 1}, .exact = true};
        c.out[0] = (hwb_vdesc){all[i], hwb_shape_of(2, 3, 50)};
        c.d.attrs.value = 1;
        f(&c);
    }
}

/* ---- reductions ---------------------------------------------------------------------- */

static inline void case_reduce(case_fn f, hwb_op op, hwb_dtype t, hwb_shape s, unsigned axes) {
    check c = {.d = {.op = op, .n_in = 1, .n_out = 1}, .floor = 1};
    c.d.attrs.axes = axes;
    c.in[0] = (hwb_vdesc){t, s};
    c.out[0] = (hwb_vdesc){t, case_masked(&s, axes)};
    f(&c);
}

static inline void cases_reduce(case_fn f) {
    const hwb_shape spaces[] = {
        hwb_shape_of(1, 40000),       hwb_shape_of(2, 2100, 16), hwb_shape_of(2, 700, 5),
        hwb_shape_of(3, 30, 20, 300), hwb_shape_of(2, 1, 1),     hwb_shape_of(4, 4, 9, 9, 16),
        hwb_shape_of(2, 0, 4),        hwb_shape_of(2, 9, 0),
    };
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
        for (unsigned axes = 1; axes < 1u << spaces[i].ndim; axes++) {
            bool empty = hwb_shape_numel(&spaces[i]) == 0;
            case_reduce(f, HWB_OP_SUM, i % 2 ? HWB_F64 : HWB_F32, spaces[i], axes);
            if (i < 5 && !empty) case_reduce(f, HWB_OP_MAX, HWB_F32, spaces[i], axes);
        }
    case_reduce(f, HWB_OP_SUM, HWB_I64, hwb_shape_of(2, 300, 7), 1);
    case_reduce(f, HWB_OP_SUM, HWB_I32, hwb_shape_of(2, 300, 7), 2);
    case_reduce(f, HWB_OP_MAX, HWB_I32, hwb_shape_of(2, 30, 7), 3);
    case_reduce(f, HWB_OP_MAX, HWB_F64, hwb_shape_of(3, 3, 40, 7), 2);
    for (int axis = 0; axis < 3; axis++)
        for (int wide = 0; wide < 3; wide++) {
            static const hwb_dtype types[] = {HWB_F32, HWB_F64, HWB_I64};
            check c = {.d = {.op = HWB_OP_ARGMAX, .n_in = 1, .n_out = 1}, .index_below = 3};
            c.d.attrs.axis = axis;
            c.in[0] = (hwb_vdesc){types[wide], hwb_shape_of(3, 6, 300, 7)};
            c.out[0] = (hwb_vdesc){HWB_I64, case_masked(&c.in[0].shape, 1u << axis)};
            f(&c);
        }
}

/* ---- data movement --------------------------------------------------------------------- */

static inline void case_data(case_fn f, hwb_op op, hwb_dtype t, hwb_shape x, hwb_shape y,
                             const hwb_attrs *a) {
    check c = {.d = {.op = op, .n_in = 1, .n_out = 1, .attrs = *a}, .exact = true};
    c.d.attrs.shape = y;
    c.in[0] = (hwb_vdesc){t, x};
    c.out[0] = (hwb_vdesc){t, y};
    f(&c);
}

static inline void cases_move(case_fn f) {
    static const hwb_dtype types[] = {HWB_F32, HWB_F64, HWB_BOOL};
    const hwb_shape s = hwb_shape_of(4, 3, 4, 5, 6);
    for (int i = 0; i < 3; i++) {
        hwb_attrs a;
        memset(&a, 0, sizeof a);
        case_data(f, HWB_OP_RESHAPE, types[i], s, hwb_shape_of(2, 12, 30), &a);
        case_data(f, HWB_OP_BROADCAST, types[i], hwb_shape_of(4, 1, 4, 1, 6), s, &a);
        a.perm[0] = 0, a.perm[1] = 2, a.perm[2] = 3, a.perm[3] = 1;
        case_data(f, HWB_OP_PERMUTE, types[i], s, hwb_shape_of(4, 3, 5, 6, 4), &a);
        a.perm[0] = 3, a.perm[1] = 2, a.perm[2] = 1, a.perm[3] = 0;
        case_data(f, HWB_OP_PERMUTE, types[i], s, hwb_shape_of(4, 6, 5, 4, 3), &a);
        for (int d = 0; d < 4; d++) a.lo[d] = d % 2, a.step[d] = 1 + d / 2;
        case_data(f, HWB_OP_SLICE, types[i], s, hwb_shape_of(4, 3, 2, 3, 2), &a);
        case_data(f, HWB_OP_SLICE, types[i], s, hwb_shape_of(4, 3, 0, 3, 2), &a);
        case_data(f, HWB_OP_PAD, types[i], hwb_shape_of(4, 3, 2, 3, 2), s, &a);
        case_data(f, HWB_OP_PAD, types[i], hwb_shape_of(4, 0, 2, 3, 2), s, &a);
        memset(&a, 0, sizeof a); /* in packs of 16 bytes, or of what the beginning allows */
        a.perm[0] = 0, a.perm[1] = 2, a.perm[2] = 1, a.perm[3] = 3;
        case_data(f, HWB_OP_PERMUTE, types[i], hwb_shape_of(4, 2, 3, 4, 32),
                  hwb_shape_of(4, 2, 4, 3, 32), &a);
        for (int start = 2; start <= 16; start *= 2) {
            for (int d = 0; d < 4; d++) a.lo[d] = d == 3 ? start : 1, a.step[d] = 1;
            case_data(f, HWB_OP_SLICE, types[i], hwb_shape_of(4, 3, 4, 5, 64),
                      hwb_shape_of(4, 2, 2, 4, 16), &a);
            case_data(f, HWB_OP_PAD, types[i], hwb_shape_of(4, 2, 2, 4, 16),
                      hwb_shape_of(4, 3, 4, 5, 64), &a);
        }
    }
    for (int axis = 0; axis < 2; axis++) {
        check c = {.d = {.op = HWB_OP_CONCAT, .n_in = 20, .n_out = 1}, .exact = true};
        c.d.attrs.axis = axis;
        c.out[0] = (hwb_vdesc){axis ? HWB_F64 : HWB_F32, hwb_shape_of(3, 4, 4, 3)};
        c.out[0].shape.dim[axis] = 0;
        for (int i = 0; i < 20; i++) {
            c.in[i] = c.out[0];
            c.in[i].shape.dim[axis] = i % 4;
        }
        c.out[0].shape.dim[axis] = 30;
        f(&c);
    }
}

static inline void cases_index(case_fn f) {
    for (int wide = 0; wide < 2; wide++)
        for (int axis = 0; axis < 2; axis++) {
            const hwb_dtype t = wide ? HWB_F64 : HWB_F32, x = wide ? HWB_I64 : HWB_I32;
            check c = {.d = {.op = HWB_OP_GATHER, .n_in = 2, .n_out = 1}, .index_below = 5};
            const hwb_shape table = hwb_shape_of(3, 6, 5, 7);
            c.d.attrs.axis = axis;
            c.d.attrs.shape = table;
            c.in[0] = (hwb_vdesc){t, table};
            c.in[1] = (hwb_vdesc){x, hwb_shape_of(2, 4, 9)};
            c.out[0] =
                (hwb_vdesc){t, axis ? hwb_shape_of(4, 6, 4, 9, 7) : hwb_shape_of(4, 4, 9, 5, 7)};
            f(&c);
            c.d.op = HWB_OP_SCATTER_ADD;
            hwb_vdesc swap = c.in[0];
            c.in[0] = c.out[0];
            c.out[0] = swap;
            f(&c);
        }
}

/* ---- images ---------------------------------------------------------------------------------- */

static inline hwb_shape case_image(bool last, int k, int n, int c, int h, int w) {
    hwb_shape s = last ? hwb_shape_of(4, n, h, w, c) : hwb_shape_of(4, n, c, h, w);
    if (!k) return s;
    hwb_shape five = hwb_shape_of(5, k, 0, 0, 0, 0);
    for (int i = 0; i < 4; i++) five.dim[i + 1] = s.dim[i];
    return five;
}

static inline void cases_pool(case_fn f) {
    for (int turn = 0; turn < 8; turn++) {
        const bool last = turn & 1, wide = turn & 2;
        const int k = turn & 4 ? 2 : 0;
        const hwb_dtype t = wide ? HWB_F64 : HWB_F32;
        const hwb_shape x = case_image(last, k, 2, 5, 9, 8), y = case_image(last, k, 2, 5, 5, 4);
        check c = {.d = {.n_in = 1, .n_out = 1}, .index_below = 72};
        hwb_attrs *a = &c.d.attrs;
        for (int i = 0; i < 2; i++) a->kernel[i] = 3, a->stride[i] = 2, a->pad_lo[i] = 1;
        a->pad_hi[0] = 1;
        a->dilation[0] = a->dilation[1] = 1;
        a->channels_last = last;
        a->shape = x;
        c.d.op = HWB_OP_AVGPOOL, c.in[0] = (hwb_vdesc){t, x}, c.out[0] = (hwb_vdesc){t, y};
        f(&c);
        c.d.op = HWB_OP_AVGPOOL_BWD, c.in[0].shape = y, c.out[0].shape = x;
        f(&c);
        c.d.n_in = 2,
        c.in[1] = (hwb_vdesc){wide ? HWB_I64 : HWB_I32, case_image(last, 0, 2, 5, 5, 4)};
        c.d.op = HWB_OP_POOL_SCATTER;
        hwb_attrs window = *a; /* none: the indices here are any */
        a->kernel[0] = a->kernel[1] = 0;
        f(&c);
        *a = window;
        c.d.op = HWB_OP_POOL_GATHER, c.in[0].shape = x, c.out[0].shape = y;
        f(&c);
        if (k) continue;
        c.d.n_in = 1, c.d.op = HWB_OP_MAXPOOL_INDEX, c.out[0].dtype = HWB_I32;
        f(&c);
    }
    for (int turn = 0; turn < 4; turn++) { /* one window: any index lies in it */
        const hwb_dtype t = turn & 2 ? HWB_F64 : HWB_F32;
        check c = {.d = {.op = HWB_OP_POOL_SCATTER, .n_in = 2, .n_out = 1}, .index_below = 72};
        hwb_attrs *a = &c.d.attrs;
        c.out[0] = (hwb_vdesc){t, case_image(turn & 1, 2, 3, 5, 9, 8)};
        c.in[0] = (hwb_vdesc){t, case_image(turn & 1, 2, 3, 5, 1, 1)};
        c.in[1] = (hwb_vdesc){HWB_I32, case_image(turn & 1, 0, 3, 5, 1, 1)};
        a->kernel[0] = 9, a->kernel[1] = 8;
        a->stride[0] = a->stride[1] = a->dilation[0] = a->dilation[1] = 1;
        a->channels_last = turn & 1;
        a->shape = c.out[0].shape;
        f(&c);
    }
}

typedef struct case_geometry {
    int n, c, h, w, o, k, stride, lo, hi, dilation, groups;
} case_geometry;

static const case_geometry case_geometries[] = {
    {2, 16, 9, 9, 8, 3, 1, 1, 1, 1, 1},  {3, 3, 12, 12, 8, 3, 2, 1, 1, 1, 1},
    {2, 12, 7, 5, 6, 1, 1, 0, 0, 1, 1},  {2, 8, 8, 8, 12, 1, 2, 0, 0, 1, 1},
    {1, 3, 15, 15, 4, 7, 2, 3, 3, 1, 1}, {2, 4, 10, 10, 4, 3, 1, 2, 2, 2, 1},
    {2, 8, 8, 8, 12, 3, 1, 1, 1, 1, 4},  {2, 5, 6, 7, 5, 3, 1, 0, 2, 1, 1},
};

/* k0, k1: K of the two inputs or 0; add: 0 none, 1 a third input, 2 in place */
static inline void case_conv(case_fn f, hwb_op op, const case_geometry *g, hwb_dtype t, bool last,
                             int k0, int k1, int add) {
    check c = {.d = {.op = op, .n_in = add ? 3 : 2, .n_out = 1}, .seed = 3};
    hwb_attrs *a = &c.d.attrs;
    for (int i = 0; i < 2; i++) {
        a->kernel[i] = g->k, a->stride[i] = g->stride, a->dilation[i] = g->dilation;
        a->pad_lo[i] = g->lo, a->pad_hi[i] = g->hi;
    }
    a->groups = g->groups;
    a->channels_last = last;
    int span = (g->k - 1) * g->dilation + 1;
    int oh = (g->h + g->lo + g->hi - span) / g->stride + 1;
    int ow = (g->w + g->lo + g->hi - span) / g->stride + 1;
    int kr = k0 > k1 ? k0 : k1;
    bool data = op == HWB_OP_CONV_BWD_DATA, weights = op == HWB_OP_CONV_BWD_WEIGHTS;
    hwb_shape x = case_image(last, data ? kr : k0, g->n, g->c, g->h, g->w);
    hwb_shape y = case_image(last, weights ? k1 : data ? k0 : kr, g->n, g->o, oh, ow);
    hwb_shape w = case_image(false, weights ? kr : k1, g->o, g->c / g->groups, g->k, g->k);
    a->shape = data ? case_image(last, 0, g->n, g->c, g->h, g->w) : w;
    c.in[0] = (hwb_vdesc){t, data ? y : x};
    c.in[1] = (hwb_vdesc){t, weights ? y : w};
    c.out[0] = c.in[2] = (hwb_vdesc){t, data ? x : weights ? w : y};
    c.in_place = add == 2;
    c.d.stable = add == 1 ? 2 : 0;
    f(&c);
}

static inline void cases_conv(case_fn f) {
    static const hwb_op ops[] = {HWB_OP_CONV, HWB_OP_CONV_BWD_DATA, HWB_OP_CONV_BWD_WEIGHTS};
    const int n = sizeof case_geometries / sizeof *case_geometries;
    for (int o = 0; o < 3; o++)
        for (int i = 0; i < n; i++) {
            const case_geometry *g = &case_geometries[i];
            for (int layout = 0; layout < 2; layout++) {
                case_conv(f, ops[o], g, HWB_F32, layout, 0, 0, i % 3);
                case_conv(f, ops[o], g, HWB_F64, layout, 0, 0, (i + 1) % 3);
            }
            if (i > 1 && i < 6) continue;
            case_conv(f, ops[o], g, HWB_F32, true, 3, 0, 0);
            case_conv(f, ops[o], g, HWB_F32, true, 0, 3, 1);
            case_conv(f, ops[o], g, HWB_F32, false, 3, 3, 2);
            case_conv(f, ops[o], g, HWB_F64, true, 3, 3, 1);
        }
}

/* batch: 0 none, 1 three of each, 2 the same with a repeated, 3 two dims, b repeated in one */
static inline hwb_shape case_matrix(int batch, int operand, int rows, int columns) {
    if (batch == 0) return hwb_shape_of(2, rows, columns);
    if (batch < 3) return hwb_shape_of(3, batch == 2 && operand == 0 ? 1 : 3, rows, columns);
    return hwb_shape_of(4, 3, operand == 1 ? 1 : 4, rows, columns);
}

static inline void cases_matmul(case_fn f) {
    for (int turn = 0; turn < 32; turn++) {
        const bool ta = turn & 1, tb = turn & 2;
        const int batch = turn >> 3, m = 5, n = turn & 1 ? 1 : 9, k = turn == 9 ? 0 : 7;
        const hwb_dtype t = turn & 4 ? HWB_F64 : HWB_F32;
        check c = {.d = {.op = HWB_OP_MATMUL, .n_in = 2, .n_out = 1}, .floor = 1};
        c.d.attrs.ta = ta;
        c.d.attrs.tb = tb;
        c.in[0] = (hwb_vdesc){t, case_matrix(batch, 0, ta ? k : m, ta ? m : k)};
        c.in[1] = (hwb_vdesc){t, case_matrix(batch, 1, tb ? n : k, tb ? k : n)};
        c.out[0] = (hwb_vdesc){t, case_matrix(batch, 2, m, n)};
        if (batch == 2) c.out[0].shape.dim[0] = 3;
        f(&c);
    }
}

/* ---- groups ----------------------------------------------------------------------------------- */

typedef struct case_program {
    hwb_fused f;
    hwb_finstr instr[HWB_FUSED_MAX_INSTR];
    hwb_fout out[HWB_FUSED_MAX_OUT];
} case_program;

/* Operations whose rounding differences stay small in any composition. */
static const hwb_op case_tame[] = {HWB_OP_ADD,  HWB_OP_SUB,  HWB_OP_MUL,     HWB_OP_RELU,
                                   HWB_OP_TANH, HWB_OP_ABS,  HWB_OP_MAXIMUM, HWB_OP_MINIMUM,
                                   HWB_OP_NEG,  HWB_OP_STOP, HWB_OP_SIGMOID, HWB_OP_FILL};

static inline uint64_t case_draw(uint64_t seed, int *at, uint64_t below) {
    return hwb_rng_below((hwb_rng){seed, 99}, (uint64_t)(*at)++, below);
}

/* A random group: inputs broadcast anyhow, some bool, some outputs sums. */
static inline void case_group(case_fn f, uint64_t seed) {
    const hwb_shape spaces[] = {hwb_shape_of(2, 130, 16),   hwb_shape_of(4, 4, 9, 9, 16),
                                hwb_shape_of(3, 3, 700, 5), hwb_shape_of(5, 3, 2, 6, 5, 7),
                                hwb_shape_of(2, 40, 300),   hwb_shape_of(1, 9000)};
    int at = 0;
    hwb_shape s = spaces[case_draw(seed, &at, 6)];
    hwb_dtype t = case_draw(seed, &at, 3) ? HWB_F32 : HWB_F64;
    check c = {.d = {.op = HWB_OP_FUSED}, .seed = seed, .scale = 0.8};
    case_program p = {.f = {.dtype = t, .space = s}};
    p.f.n_in = c.d.n_in = 1 + (int)case_draw(seed, &at, 5);
    p.f.n_instr = (int)case_draw(seed, &at, 20);
    p.f.n_out = c.d.n_out = 1 + (int)case_draw(seed, &at, 4);
    c.in_place = seed % 3 == 0;
    for (int i = 0; i < p.f.n_in; i++) {
        bool dense = i == p.f.n_in - 1;
        unsigned ones = dense ? 0 : (unsigned)case_draw(seed, &at, 1u << s.ndim);
        bool flag = !dense && case_draw(seed, &at, 5) == 0;
        c.in[i] = (hwb_vdesc){flag ? HWB_BOOL : t, case_masked(&s, ones)};
    }
    for (int i = 0; i < p.f.n_instr; i++) {
        hwb_op op = case_tame[case_draw(seed, &at, sizeof case_tame / sizeof *case_tame)];
        if (case_draw(seed, &at, 8) == 0) op = HWB_OP_WHERE;
        p.instr[i] = (hwb_finstr){.op = (int32_t)op, .in = {-1, -1, -1}, .imm = 0.5};
        int arity = op == HWB_OP_FILL ? 0 : hwb_op_arity(op);
        for (int j = 0; j < arity; j++)
            p.instr[i].in[j] = (int32_t)case_draw(seed, &at, (uint64_t)(p.f.n_in + i));
    }
    for (int i = 0; i < p.f.n_out; i++) {
        bool reduce = case_draw(seed, &at, 2) && !(c.in_place && i == 0);
        p.out[i].reg = (int32_t)case_draw(seed, &at, (uint64_t)(p.f.n_in + p.f.n_instr));
        p.out[i].reduce = reduce;
        unsigned ones = reduce ? (unsigned)case_draw(seed, &at, 1u << s.ndim) : 0;
        c.out[i] = (hwb_vdesc){t, case_masked(&s, ones)};
    }
    p.f.instr = p.instr;
    p.f.out = p.out;
    c.d.fused = &p.f;
    c.floor = (double)hwb_shape_numel(&s);
    f(&c);
}

static inline void cases_groups(case_fn f) {
    for (uint64_t seed = 0; seed < 60; seed++) case_group(f, seed);
}

static inline void each_case(case_fn f) {
    cases_pointwise(f);
    cases_cast(f);
    cases_reduce(f);
    cases_move(f);
    cases_index(f);
    cases_pool(f);
    cases_conv(f);
    cases_matmul(f);
    cases_groups(f);
}

#endif
