/*
 * cuda_machine.c: the rates that limit a case on a device, by the plug-in itself.
 *
 * usage: cuda_machine [n=8192] [mib=1024]
 *
 *   memory      a copy of `mib` MiB on the device, 2 bytes moved for each byte copied
 *   arithmetic  C[n,n] = A[n,n] B[n,n], n^3 multiply-adds, in float32, TF32 and bf16
 *
 * Best of five, of ten in a row each.  One JSON line for gpu_table.py, with what the device
 * calls itself; 77 without a device.
 */
#include "backend/backend.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMES = 5, IN_A_ROW = 10 };

typedef struct machine {
    hwb_ctx *ctx;
    hwb_device *device;
    const hwb_backend *b;
    int64_t n;
    size_t bytes;
} machine;

static void must(const machine *m, hwb_status st) {
    if (st == HWB_OK) return;
    fprintf(stderr, "cuda_machine: %s\n", hwb_message(m->ctx));
    exit(1);
}

static void *memory(const machine *m, size_t bytes) {
    void *p = m->b->mem_alloc(m->ctx, m->device->state, bytes);
    if (!p) must(m, HWB_ENOMEM);
    return p;
}

/* Values of normal size: zeros make a device faster than data does. */
static void *filled(const machine *m, size_t bytes) {
    float *host = malloc(bytes);
    if (!host) exit(1);
    for (size_t i = 0; i < bytes / sizeof *host; i++)
        host[i] = (float)((i * 2654435761u >> 8) % 65536) / 32768.0f - 1.0f;
    void *p = memory(m, bytes);
    must(m, m->b->mem_put(m->ctx, m->device->state, p, host, bytes));
    must(m, m->b->sync(m->ctx, m->device->state));
    free(host);
    return p;
}

static double copy_rate(const machine *m) {
    void *from = filled(m, m->bytes), *to = memory(m, m->bytes), *s = m->device->state;
    double best = INFINITY;
    for (int t = 0; t < TIMES; t++) {
        double start = hwb_seconds();
        for (int i = 0; i < IN_A_ROW; i++) must(m, m->b->mem_copy(m->ctx, s, to, from, m->bytes));
        must(m, m->b->sync(m->ctx, s));
        best = fmin(best, hwb_seconds() - start);
    }
    m->b->mem_free(s, from);
    m->b->mem_free(s, to);
    return 2.0 * (double)m->bytes * IN_A_ROW / best;
}

static double product_rate(const machine *m, hwb_math math) {
    const size_t bytes = (size_t)m->n * (size_t)m->n * sizeof(float);
    const hwb_vdesc square[2] = {{HWB_F32, {.ndim = 2, .dim = {m->n, m->n}}},
                                 {HWB_F32, {.ndim = 2, .dim = {m->n, m->n}}}};
    const hwb_kdesc d = {
        .op = HWB_OP_MATMUL, .n_in = 2, .n_out = 1, .in = square, .out = square, .scope = ""};
    const uint64_t versions[2] = {0};
    void *in[2] = {filled(m, bytes), filled(m, bytes)}, *out = memory(m, bytes);
    void *s = m->device->state;
    hwb_kernel *k = NULL;
    double best = INFINITY;
    must(m, hwb_device_configure(m->ctx, &(hwb_device_options){math, true}));
    must(m, m->b->prepare(m->ctx, s, &k, &d));
    for (int t = 0; t <= TIMES; t++) { /* the first is not counted */
        double start = hwb_seconds();
        for (int i = 0; i < IN_A_ROW; i++)
            must(m, m->b->run(m->ctx, s, k, (const void *const *)in, versions, &out));
        must(m, m->b->sync(m->ctx, s));
        if (t) best = fmin(best, hwb_seconds() - start);
    }
    m->b->kernel_free(s, k);
    for (int i = 0; i < 2; i++) m->b->mem_free(s, in[i]);
    m->b->mem_free(s, out);
    return (double)m->n * (double)m->n * (double)m->n * IN_A_ROW / best;
}

int main(int argc, char **argv) {
    machine m = {.n = 8192, .bytes = (size_t)1024 << 20};
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "n=", 2) == 0) m.n = atoll(argv[i] + 2);
        else if (strncmp(argv[i], "mib=", 4) == 0) m.bytes = (size_t)atoll(argv[i] + 4) << 20;
        else return 2;
    }
    if (m.n < 1 || m.bytes < 1 || hwb_ctx_new(&m.ctx) != HWB_OK) return 2;
    if (hwb_device_open(m.ctx, &m.device, "cuda") != HWB_OK) {
        printf("skipped: %s\n", hwb_message(m.ctx));
        hwb_ctx_free(m.ctx);
        return 77;
    }
    m.b = m.device->backend;
    char card[512] = "";
    hwb_device_describe(m.ctx, m.device, card, sizeof card);
    for (char *c = card; *c; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ') *c = ' ';
    const double bytes = copy_rate(&m), exact = product_rate(&m, HWB_MATH_EXACT);
    const double tf32 = product_rate(&m, HWB_MATH_TF32), bf16 = product_rate(&m, HWB_MATH_BF16);
    printf("{\"case\": \"machine\", \"way\": \"hwb\", \"card\": \"%s\", \"gbytes_per_s\": %.1f, "
           "\"gmacs_per_s_float32\": %.1f, \"gmacs_per_s_tf32\": %.1f, "
           "\"gmacs_per_s_bf16\": %.1f}\n",
           card, bytes / 1e9, exact / 1e9, tf32 / 1e9, bf16 / 1e9);
    hwb_ctx_free(m.ctx);
    return 0;
}
