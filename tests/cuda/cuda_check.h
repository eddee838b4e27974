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
static inline hwb_status cuda_turns(const check *c, hwb_kernel *k, const void *const *in,
                                    const uint64_t *versions, void *const *out) {
    const hwb_backend *b = cuda_dev->backend;
    void *s = cuda_dev->state;
    hwb_capture *capture = NULL;
    HWB_TRY(b->run(cuda_ctx, s, k, in, versions, out));
    if (c->in_place) return HWB_OK;
    HWB_TRY(b->refresh(cuda_ctx, s, k, in, versions));
    HWB_TRY(b->capture_begin(cuda_ctx, s));
    hwb_status st = b->run(cuda_ctx, s, k, in, versions, out);
    hwb_status end = b->capture_end(cuda_ctx, s, &capture);
    if (st == HWB_OK) st = end;
    if (st == HWB_OK) st = b->capture_run(cuda_ctx, s, capture);
    if (st == HWB_OK) st = b->sync(cuda_ctx, s);
    b->capture_free(s, capture);
    return st;
}

/* Inputs as check_run fills them; results on the host in got[]. */
static inline hwb_status cuda_run(const check *c, char **got) {
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
    hwb_status st = b->prepare(cuda_ctx, cuda_dev->state, &kernel, &c->d);
    if (st == HWB_OK)
        st = cuda_turns(c, kernel, (const void *const *)in, versions, (void *const *)out);
    b->kernel_free(cuda_dev->state, kernel);
    for (int i = 0; i < c->d.n_out; i++) {
        got[i] = check_buffer(cuda_ctx, &c->out[i]);
        if (st == HWB_OK) cuda_fetch(&c->out[i], out[i], got[i]);
        if (!c->in_place || i > 0) cuda_drop(out[i]);
    }
    for (int i = 0; i < c->d.n_in; i++) cuda_drop(in[i]);
    return st;
}

/* Cases that fail do not stop the others of their family: each is printed, and counted. */
static int cuda_wrong;

static inline void cuda_kernel(check *c) {
    char *got[HWB_FUSED_MAX_OUT], *want[HWB_FUSED_MAX_OUT], text[HWB_SHAPE_TEXT];
    c->d.in = c->in;
    c->d.out = c->out;
    check_run(cuda_ctx, "ref", c, want);
    const hwb_status st = cuda_run(c, got);
    if (st != HWB_OK)
        print_error("%s of %s [%s]: %s\n", hwb_op_name(c->d.op), hwb_dtype_name(c->in[0].dtype),
                    hwb_shape_text(&c->out[0].shape, text), hwb_message(cuda_ctx));
    bool good = st == HWB_OK;
    for (int i = 0; i < c->d.n_out; i++) {
        if (st == HWB_OK) good = check_agrees(c, i, got[i], want[i]) && good;
        check_release(got[i]);
        check_release(want[i]);
    }
    cuda_wrong += !good;
}

#endif
