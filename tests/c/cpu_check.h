/*
 * cpu_check.h: runs one kernel description on the CPU backend and on ref with
 * the same random inputs and compares what comes out.
 *
 * Results lie between guard bytes.  Floats are compared by the normalised mean
 * squared error sum (a-b)^2 / sum b^2 against 1e-10 (float32) or 1e-24 (float64),
 * everything else exactly.  `wide` cases in float32 are compared with sums in float64 of
 * the same inputs, against 1e-12.
 */
#ifndef HWB_CPU_CHECK_H
#define HWB_CPU_CHECK_H

#include "testing.h"

#include "backend/backend.h"

enum { CHECK_GUARD = 64, CHECK_MAX = 24 };

typedef struct check {
    hwb_kdesc d;
    hwb_vdesc in[CHECK_MAX], out[HWB_FUSED_MAX_OUT];
    int64_t index_below;        /* integer inputs are in [0, index_below) */
    double scale;               /* of float inputs; 0 = 1 */
    double floor;               /* least sum b^2 to compare with: sums that cancel */
    bool in_place;              /* out[0] is the buffer of the last input */
    bool exact_threads;         /* the same bytes at 1, 2 and 3 threads */
    bool exact;                 /* equal to ref, not only near */
    bool wide;                  /* ref computes in float64 */
    void (*setup)(void *state); /* changes the CPU backend's state first; or NULL */
    uint64_t seed;
} check;

/* splitmix64: cheap, and good enough to fill inputs */
static inline uint64_t check_hash(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Floats are uniform with variance 1. */
static inline void check_fill(const check *c, const hwb_vdesc *v, void *p, uint64_t stream) {
    int64_t n = hwb_shape_numel(&v->shape);
    double scale = c->scale != 0 ? c->scale : 1;
    uint64_t below = (uint64_t)(c->index_below > 0 ? c->index_below : 5);
    for (int64_t i = 0; i < n; i++) {
        uint64_t h = check_hash(check_hash(c->seed * 64 + stream) + (uint64_t)i);
        double x = ((double)(h >> 11) * 0x1p-53 - 0.5) * 3.4641016151377544 * scale;
        switch (v->dtype) {
        case HWB_F32: ((float *)p)[i] = (float)x; break;
        case HWB_F64: ((double *)p)[i] = c->wide ? (double)(float)x : x; break;
        case HWB_BOOL: ((uint8_t *)p)[i] = x > 0; break;
        case HWB_I32: ((int32_t *)p)[i] = (int32_t)(h % below); break;
        case HWB_I64: ((int64_t *)p)[i] = (int64_t)(h % below); break;
        default: ((uint8_t *)p)[i] = (uint8_t)(h % below); break;
        }
    }
}

static inline size_t check_bytes(const hwb_vdesc *v) {
    return (size_t)hwb_shape_numel(&v->shape) * hwb_dtype_size(v->dtype);
}

static inline char *check_buffer(hwb_ctx *ctx, const hwb_vdesc *v) {
    char *p = hwb_alloc(ctx, check_bytes(v) + 2 * CHECK_GUARD);
    assert_non_null(p);
    memset(p, 0xa5, check_bytes(v) + 2 * CHECK_GUARD);
    return p + CHECK_GUARD;
}

static inline void check_release(char *p) {
    if (p) hwb_free(p - CHECK_GUARD);
}

static inline void check_guards(const hwb_vdesc *v, const char *p) {
    for (int i = 0; i < CHECK_GUARD; i++) {
        assert_int_equal((uint8_t)p[-1 - i], 0xa5);
        assert_int_equal((uint8_t)p[check_bytes(v) + (size_t)i], 0xa5);
    }
}

/* A sum of two of the conv trio, which ref does not know, as two kernels of it. */
static inline void check_run_pair(hwb_ctx *ctx, hwb_device *dev, const check *c,
                                  const void *const *in, void *const *to) {
    hwb_vdesc v[3] = {c->in[0], c->in[1], c->out[0]};
    const void *data[3] = {in[0], in[1], c->d.n_in == 5 ? in[4] : NULL};
    uint64_t versions[3] = {0};
    for (int i = 0; i < 2; i++) {
        hwb_kernel *kernel = NULL;
        hwb_kdesc d = c->d;
        d.in = v;
        d.n_in = i || c->d.n_in == 5 ? 3 : 2;
        assert_ok(ctx, dev->backend->prepare(ctx, dev->state, &kernel, &d));
        assert_ok(ctx, dev->backend->run(ctx, dev->state, kernel, data, versions, to));
        dev->backend->kernel_free(dev->state, kernel);
        for (int j = 0; j < 2; j++) v[j] = c->in[2 + j], data[j] = in[2 + j];
        data[2] = to[0];
    }
}

/* The same in float64. */
static inline check check_wide(const check *c) {
    check w = *c;
    for (int i = 0; i < c->d.n_in; i++)
        if (w.in[i].dtype == HWB_F32) w.in[i].dtype = HWB_F64;
    for (int i = 0; i < c->d.n_out; i++)
        if (w.out[i].dtype == HWB_F32) w.out[i].dtype = HWB_F64;
    return w;
}

/* Runs on a backend; out[] receives guarded buffers. */
static inline void check_run(hwb_ctx *ctx, const char *name, const check *c, char **out) {
    hwb_device *dev = NULL;
    assert_ok(ctx, hwb_device_open(ctx, &dev, name));
    if (c->setup && strcmp(name, "cpu") == 0) c->setup(dev->state);
    char *buffer[CHECK_MAX] = {NULL};
    const void *in[CHECK_MAX];
    void *to[HWB_FUSED_MAX_OUT];
    uint64_t versions[CHECK_MAX] = {0};
    for (int i = 0; i < c->d.n_in; i++) {
        buffer[i] = check_buffer(ctx, &c->in[i]);
        check_fill(c, &c->in[i], buffer[i], (uint64_t)i);
        in[i] = buffer[i];
    }
    for (int i = 0; i < c->d.n_out; i++) to[i] = out[i] = check_buffer(ctx, &c->out[i]);
    if (c->in_place) {
        check_release(out[0]);
        to[0] = out[0] = buffer[c->d.n_in - 1];
        buffer[c->d.n_in - 1] = NULL;
    }
    hwb_kernel *kernel = NULL;
    bool trio = c->d.op == HWB_OP_CONV || c->d.op == HWB_OP_CONV_BWD_DATA ||
                c->d.op == HWB_OP_CONV_BWD_WEIGHTS;
    if (trio && c->d.n_in > 3 && !dev->backend->pairs) {
        check_run_pair(ctx, dev, c, in, to);
        goto ran;
    }
    assert_true(dev->backend->supports(dev->state, &c->d));
    assert_ok(ctx, dev->backend->prepare(ctx, dev->state, &kernel, &c->d));
    int64_t before = hwb_memory(ctx).allocations;
    for (int turn = 0; turn < (c->in_place ? 1 : 2); turn++) /* the second with warm caches */
        assert_ok(ctx, dev->backend->run(ctx, dev->state, kernel, in, versions, to));
    assert_int_equal(hwb_memory(ctx).allocations, before);
    dev->backend->kernel_free(dev->state, kernel);
ran:
    for (int i = 0; i < c->d.n_out; i++) check_guards(&c->out[i], out[i]);
    for (int i = 0; i < c->d.n_in; i++) {
        if (buffer[i]) check_guards(&c->in[i], buffer[i]);
        check_release(buffer[i]);
    }
}

static inline double check_at(const hwb_vdesc *v, const char *p, int64_t i) {
    if (v->dtype == HWB_F32) return ((const float *)(const void *)p)[i];
    if (v->dtype == HWB_F64) return ((const double *)(const void *)p)[i];
    if (v->dtype == HWB_I32) return ((const int32_t *)(const void *)p)[i];
    if (v->dtype == HWB_I64) return (double)((const int64_t *)(const void *)p)[i];
    return ((const uint8_t *)p)[i];
}

/* Whether they agree; what does not is printed. */
static inline bool check_agrees(const check *c, int o, const char *got, const char *want) {
    const hwb_vdesc *v = &c->out[o], wide = check_wide(c).out[o];
    int64_t n = hwb_shape_numel(&v->shape);
    double error = 0, size = c->floor;
    char text[HWB_SHAPE_TEXT];
    for (int64_t i = 0; i < n; i++) {
        double a = check_at(v, got, i), b = check_at(c->wide ? &wide : v, want, i);
        if (isnan(a) && isnan(b)) continue;
        if (a == b && isinf(a)) continue;
        error += (a - b) * (a - b);
        size += b * b;
    }
    if (c->exact && error == 0) return true;
    double most = c->exact              ? 0
                  : v->dtype == HWB_F32 ? (c->wide ? 1e-12 : 1e-10)
                  : v->dtype == HWB_F64 ? 1e-24
                                        : 0;
    if (error <= most * size) return true; /* false for NaN */
    print_error("%s, output %d [%s] of %s: error %.3g of %.3g\n", hwb_op_name(c->d.op), o,
                hwb_shape_text(&v->shape, text), hwb_dtype_name(v->dtype), error, size);
    for (int i = 0; i < c->d.n_in; i++)
        print_error("  input %d [%s] of %s\n", i, hwb_shape_text(&c->in[i].shape, text),
                    hwb_dtype_name(c->in[i].dtype));
    return false;
}

static inline void check_same(const check *c, int o, const char *got, const char *want) {
    if (!check_agrees(c, o, got, want)) fail_msg("cpu and ref differ");
}

static inline void check_kernel(check *c) {
    hwb_ctx *ctx = test_ctx_new();
    char *got[HWB_FUSED_MAX_OUT], *want[HWB_FUSED_MAX_OUT], *more[HWB_FUSED_MAX_OUT];
    c->d.in = c->in;
    c->d.out = c->out;
    check wide = check_wide(c);
    wide.d.in = wide.in;
    wide.d.out = wide.out;
    hwb_set_threads(ctx, 2);
    check_run(ctx, "ref", c->wide ? &wide : c, want);
    check_run(ctx, "cpu", c, got);
    for (int i = 0; i < c->d.n_out; i++) check_same(c, i, got[i], want[i]);
    for (int threads = 1; c->exact_threads && threads <= 3; threads += 2) {
        hwb_set_threads(ctx, threads);
        check_run(ctx, "cpu", c, more);
        for (int i = 0; i < c->d.n_out; i++) {
            assert_memory_equal(more[i], got[i], check_bytes(&c->out[i]));
            check_release(more[i]);
        }
    }
    for (int i = 0; i < c->d.n_out; i++) {
        check_release(got[i]);
        check_release(want[i]);
    }
    hwb_ctx_free(ctx);
}

#endif
