/*
 * far_op.h: a device with memory of its own, for tests on machines without one: the
 * reference kernels on memory that is named by addresses no program may read, so that
 * whatever touches a device's vector on the host dies.  Its copies are counted.
 *
 * far_new gives a dense operator (dense_op.h) whose vectors lie there.
 */
#ifndef HWB_TEST_FAR_OP_H
#define HWB_TEST_FAR_OP_H

#include "dense_op.h"

#include "backend/backend.h"

/* Beyond what any process can map; aligned, as the true address is. */
static const uintptr_t FAR = (uintptr_t)1 << 62;

static struct {
    hwb_backend table;
    hwb_device device;
    const hwb_backend *ref;
    int64_t live;     /* blocks */
    int64_t watch;    /* bytes from which a copy counts as one of a vector */
    int64_t up, down; /* of those */
    int64_t fail_at;  /* the allocation that fails, 0 = none */
} far;

static inline void *near_to(const void *p) {
    return p ? (void *)((uintptr_t)p - FAR) : NULL;
}

static inline void *far_alloc(hwb_ctx *ctx, void *state, size_t bytes) {
    (void)state;
    char *p = far.fail_at && --far.fail_at == 0 ? NULL : aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) {
        hwb_fail(ctx, HWB_ENOMEM, "far: no memory");
        return NULL;
    }
    memset(p, 0xFF, bytes);
    far.live++;
    return (void *)((uintptr_t)p + FAR);
}

static inline void far_free(void *state, void *p) {
    (void)state;
    free(near_to(p));
    far.live--;
}

static inline hwb_status far_put(hwb_ctx *ctx, void *state, void *dst, const void *host, size_t n) {
    (void)ctx, (void)state;
    memcpy(near_to(dst), host, n);
    far.up += (int64_t)n >= far.watch;
    return HWB_OK;
}

static inline hwb_status far_get(hwb_ctx *ctx, void *state, void *host, const void *src, size_t n) {
    (void)ctx, (void)state;
    memcpy(host, near_to(src), n);
    far.down += (int64_t)n >= far.watch;
    return HWB_OK;
}

static inline hwb_status far_copy(hwb_ctx *ctx, void *state, void *dst, const void *src, size_t n) {
    (void)ctx, (void)state;
    memcpy(near_to(dst), near_to(src), n);
    return HWB_OK;
}

/* Kernels may want what `align` promises. */
static inline void *operand(const void *p) {
    if ((uintptr_t)p % far.table.align) fail_msg("a kernel gets address %p", p);
    return near_to(p);
}

static inline hwb_status far_run(hwb_ctx *ctx, void *state, hwb_kernel *kernel,
                                 const void *const *in, const uint64_t *versions,
                                 void *const *out) {
    const void *from[HWB_FUSED_MAX_IN] = {NULL};
    void *to[HWB_FUSED_MAX_OUT] = {NULL};
    for (int i = 0; i < HWB_FUSED_MAX_IN; i++) from[i] = operand(in[i]);
    for (int i = 0; i < HWB_FUSED_MAX_OUT; i++) to[i] = operand(out[i]);
    return far.ref->run(ctx, state, kernel, from, versions, to);
}

static inline hwb_device *far_device(hwb_ctx *ctx, int64_t watch) {
    hwb_device *ref = NULL;
    assert_ok(ctx, hwb_device_open(ctx, &ref, "ref"));
    memset(&far, 0, sizeof far);
    far.ref = ref->backend;
    far.table = *ref->backend;
    far.table.name = "far";
    far.table.host = false;
    far.table.align = 16;
    far.table.mem_alloc = far_alloc;
    far.table.mem_free = far_free;
    far.table.mem_put = far_put;
    far.table.mem_get = far_get;
    far.table.mem_copy = far_copy;
    far.table.run = far_run;
    far.device = (hwb_device){&far.table, ref->state};
    far.watch = watch;
    return &far.device;
}

/* ---- operators ------------------------------------------------------------------------ */

static inline hwb_device *far_where(hwb_ctx *ctx, hwb_linop *self) {
    (void)ctx, (void)self;
    return &far.device;
}

static inline hwb_status far_apply(hwb_ctx *ctx, hwb_linop *self, int64_t k, const void *v,
                                   void *out) {
    hwb_tensor *t = NULL, *w = NULL;
    hwb_shape s = {.ndim = 2, .dim = {k, self->n}};
    HWB_TRY(hwb_tensor_from(ctx, &t, self->dtype, s, near_to(v)));
    hwb_status st = dense_apply(ctx, self, &w, t);
    if (st == HWB_OK) memcpy(near_to(out), hwb_tensor_data(w), hwb_tensor_bytes(w));
    hwb_tensor_release(t);
    hwb_tensor_release(w);
    return st;
}

static inline hwb_status far_set_apply(hwb_ctx *ctx, hwb_linop_set *self, const int64_t *k,
                                       const void *const *v, void *const *out) {
    ((dense_set *)self)->passes++;
    for (int64_t i = 0; i < self->n; i++)
        if (v[i]) HWB_TRY(far_apply(ctx, self->op[i], k[i], v[i], out[i]));
    return HWB_OK;
}

/* d's matrix, its products on far_device's. */
static inline dense far_of(const dense *d) {
    dense f = *d;
    f.op.where = far_where;
    f.op.apply_there = far_apply;
    return f;
}

#endif
