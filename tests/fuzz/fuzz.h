/*
 * fuzz.h: what the harnesses share.  Each defines LLVMFuzzerTestOneInput and
 * is linked with libFuzzer (HWB_FUZZ=ON, clang) or with replay.c, which feeds
 * it the files of corpus/<format>/.  A harness may refuse any input; it may
 * not crash, leak, hang or use more memory than the limit set here.
 */
#ifndef HWB_FUZZ_H
#define HWB_FUZZ_H

#include "io/io.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A context with 64 MiB, made anew for every input so that leaks show. */
static inline hwb_ctx *fuzz_begin(void) {
    hwb_ctx *ctx = NULL;
    if (hwb_ctx_new(&ctx) != HWB_OK) abort();
    hwb_memory_set_limit(ctx, (size_t)64 << 20);
    return ctx;
}

/* Failures must have a one-line text; nothing may be left allocated. */
static inline int fuzz_end(hwb_ctx *ctx, hwb_status status) {
    if (status != HWB_OK && (!hwb_message(ctx)[0] || strchr(hwb_message(ctx), '\n'))) abort();
    if (hwb_memory(ctx).live != 0) abort();
    hwb_ctx_free(ctx);
    return 0;
}

/* Look at every element, so that bad pointers show, and free. */
static inline void fuzz_use_bundle(hwb_bundle *b) {
    volatile double sum = 0;
    for (int64_t i = 0; i < hwb_bundle_count(b); i++) {
        if (hwb_bundle_find(b, hwb_bundle_name(b, i)) != i) abort();
        sum = sum + hwb_tensor_sum(hwb_bundle_at(b, i));
    }
    hwb_bundle_free(b);
}

static inline int fuzz_load(const uint8_t *data, size_t size) {
    hwb_ctx *ctx = fuzz_begin();
    hwb_bundle *b = NULL;
    hwb_status status = hwb_io_load_memory(ctx, &b, data, size);
    if (status == HWB_OK) fuzz_use_bundle(b);
    return fuzz_end(ctx, status);
}

#endif
