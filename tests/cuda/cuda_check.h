/*
 * cuda_check.h: one kernel description on the device and on ref, compared as
 * cpu_check.h compares: guard bytes around every device buffer, the second run
 * recorded and replayed.
 *
 * The device is the one of HWB_TEST_DEVICE; a test without it, or on a machine where
 * it does not open, is skipped with the reason.
 */
#ifndef HWB_CUDA_CHECK_H
#define HWB_CUDA_CHECK_H

#include "cpu_check.h"

static hwb_ctx *cuda_ctx;
static hwb_device *cuda_dev;

/* false, with the reason printed, where there is none */
static inline bool cuda_setup(void) {
    const char *name = getenv("HWB_TEST_DEVICE");
    cuda_ctx = test_ctx_new();
    if (name && strcmp(name, "cuda") == 0 && hwb_device_open(cuda_ctx, &cuda_dev, name) == HWB_OK)
        return true;
    printf("skipped: %s\n", name ? hwb_message(cuda_ctx) : "HWB_TEST_DEVICE is not cuda");
    hwb_ctx_free(cuda_ctx);
    return false;
}

/* A device buffer between guards, holding `host` (NULL: the guards' pattern). */
static inline char *cuda_buffer(const hwb_vdesc *v, const char *host) {
    const hwb_backend *b = cuda_dev->backend;
    size_t bytes = check_bytes(v), all = bytes + 4 * CHECK_GUARD;
    char *pattern = malloc(all), *p = b->mem_alloc(cuda_ctx, cuda_dev->state, all);
    assert_non_null(p);
    memset(pattern, 0xa5, all);
    if (host) memcpy(pattern + 2 * CHECK_GUARD, host, bytes);
    assert_ok(cuda_ctx, b->mem_put(cuda_ctx, cuda_dev->state, p, pattern, all));
    free(pattern);
    return p + 2 * CHECK_GUARD; /* 128: still aligned */
}

/* Back on the host, guards looked at. */
static inline void cuda_fetch(const hwb_vdesc *v, const char *p, char *host) {
    size_t bytes = check_bytes(v), all = bytes + 4 * CHECK_GUARD;
    char *copy = malloc(all);
    assert_ok(cuda_ctx, cuda_dev->backend->mem_get(cuda_ctx, cuda_dev->state, copy,
                                                   p - 2 * CHECK_GUARD, all));
    for (size_t i = 0; i < 2 * CHECK_GUARD; i++) {
        assert_int_equal((uint8_t)copy[i], 0xa5);
        assert_int_equal((uint8_t)copy[2 * CHECK_GUARD + bytes + i], 0xa5);
    }
    memcpy(host, copy + 2 * CHECK_GUARD, bytes);
    free(copy);
}

static inline void cuda_drop(char *p) {
    if (p) cuda_dev->backend->mem_free(cuda_dev->state, p - 2 * CHECK_GUARD);
}

/* Plainly, then recorded and replayed; in-place kernels change their input: once. */
static inline void cuda_turns(const check *c, hwb_kernel *k, const void *const *in,
                              const uint64_t *versions, void *const *out) {
    const hwb_backend *b = cuda_dev->backend;
    void *s = cuda_dev->state;
    hwb_capture *capture = NULL;
    assert_ok(cuda_ctx, b->run(cuda_ctx, s, k, in, versions, out));
    if (c->in_place) return;
    assert_ok(cuda_ctx, b->refresh(cuda_ctx, s, k, in, versions));
    assert_ok(cuda_ctx, b->capture_begin(cuda_ctx, s));
    assert_ok(cuda_ctx, b->run(cuda_ctx, s, k, in, versions, out));
    assert_ok(cuda_ctx, b->capture_end(cuda_ctx, s, &capture));
    assert_ok(cuda_ctx, b->capture_run(cuda_ctx, s, capture));
    assert_ok(cuda_ctx, b->sync(cuda_ctx, s));
    b->capture_free(s, capture);
}

/* Inputs as check_run fills them; results on the host in got[]. */
static inline void cuda_run(const check *c, char **got) {
    const hwb_backend *b = cuda_dev->backend;
    char *in[CHECK_MAX] = {NULL}, *out[HWB_FUSED_MAX_OUT] = {NULL};
    uint64_t versions[CHECK_MAX] = {0};
    hwb_kernel *kernel = NULL;
    for (int i = 0; i < c->d.n_in; i++) {
        char *host = check_buffer(cuda_ctx, &c->in[i]);
        check_fill(c, &c->in[i], host, (uint64_t)i);
        in[i] = cuda_buffer(&c->in[i], host);
        check_release(host);
    }
    for (int i = 0; i < c->d.n_out; i++)
        out[i] = c->in_place && i == 0 ? in[c->d.n_in - 1] : cuda_buffer(&c->out[i], NULL);
    assert_true(b->supports(cuda_dev->state, &c->d));
    assert_ok(cuda_ctx, b->prepare(cuda_ctx, cuda_dev->state, &kernel, &c->d));
    cuda_turns(c, kernel, (const void *const *)in, versions, (void *const *)out);
    b->kernel_free(cuda_dev->state, kernel);
    for (int i = 0; i < c->d.n_out; i++) {
        got[i] = check_buffer(cuda_ctx, &c->out[i]);
        cuda_fetch(&c->out[i], out[i], got[i]);
        if (!c->in_place || i > 0) cuda_drop(out[i]);
    }
    for (int i = 0; i < c->d.n_in; i++) cuda_drop(in[i]);
}

static inline void cuda_kernel(check *c) {
    char *got[HWB_FUSED_MAX_OUT], *want[HWB_FUSED_MAX_OUT];
    c->d.in = c->in;
    c->d.out = c->out;
    check_run(cuda_ctx, "ref", c, want);
    cuda_run(c, got);
    for (int i = 0; i < c->d.n_out; i++) {
        check_same(c, i, got[i], want[i]);
        check_release(got[i]);
        check_release(want[i]);
    }
}

#endif
