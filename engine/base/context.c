/*
 * context.c: the context: error text, thread count, progress, slots of higher
 * layers.  Messages are one line of at most HWB__MESSAGE_SIZE-1 bytes; longer
 * ones are cut on a UTF-8 character boundary.
 */
#include "base/base_i.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

hwb_status hwb_ctx_new(hwb_ctx **out) {
    hwb_ctx *ctx = calloc(1, sizeof *ctx);
    if (!ctx) return HWB_ENOMEM;
    ctx->account = hwb__account_new();
    if (!ctx->account) {
        free(ctx);
        return HWB_ENOMEM;
    }
    *out = ctx;
    return HWB_OK;
}

hwb_status hwb_ctx_fork(hwb_ctx *parent, hwb_ctx **out) {
    hwb_ctx *ctx = calloc(1, sizeof *ctx);
    if (!ctx) return hwb_fail(parent, HWB_ENOMEM, "out of memory for a worker's context");
    ctx->account = hwb__account_retain(parent->account);
    ctx->threads = parent->threads;
    ctx->is_fork = true;
    *out = ctx;
    return HWB_OK;
}

void hwb_ctx_free(hwb_ctx *ctx) {
    if (!ctx) return;
    for (int slot = HWB_SLOT_COUNT - 1; slot >= 0; slot--) hwb_ctx_set_slot(ctx, slot, NULL, NULL);
    if (!ctx->is_fork) hwb__cache_close(&ctx->account->cache);
    hwb__account_release(ctx->account);
    free(ctx);
}

/* ---- error text --------------------------------------------------------------- */

const char *hwb_message(const hwb_ctx *ctx) {
    return ctx ? ctx->message : "no context";
}

/* Cut text[0..size) back to whole UTF-8 characters and drop line breaks, so
 * that file names and foreign bytes cannot split the one-line promise. */
static void tidy_message(char *text, bool was_cut) {
    size_t n = strlen(text);
    if (was_cut) {
        while (n > 0 && ((unsigned char)text[n - 1] & 0xC0) == 0x80) n--;
        if (n > 0 && (unsigned char)text[n - 1] >= 0xC0) n--;
        text[n] = '\0';
    }
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20) text[i] = ' ';
}

hwb_status hwb_fail(hwb_ctx *ctx, hwb_status status, const char *fmt, ...) {
    if (!ctx) return status;
    char text[HWB__MESSAGE_SIZE]; /* apart: arguments may point into ctx->message */
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0) snprintf(text, sizeof text, "%s", hwb_status_text(status));
    tidy_message(text, n >= (int)sizeof text);
    memcpy(ctx->message, text, sizeof text);
    return status;
}

hwb_status hwb_fail_in(hwb_ctx *ctx, hwb_status status, const char *fmt, ...) {
    if (!ctx) return status;
    char prefix[HWB__MESSAGE_SIZE];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(prefix, sizeof prefix, fmt, args);
    va_end(args);
    if (n < 0 || prefix[0] == '\0') return status;
    const char *inner = ctx->message[0] ? ctx->message : hwb_status_text(status);
    return hwb_fail(ctx, status, "%s: %s", prefix, inner);
}

/* ---- options --------------------------------------------------------------------- */

void hwb_set_threads(hwb_ctx *ctx, int threads) {
    ctx->threads = threads > 0 ? threads : 0;
    /* OpenBLAS, oneDNN and the sums of engine/tensor ask OpenMP, not the
     * context: keep the calling thread's setting in step. */
    omp_set_num_threads(hwb_threads(ctx));
}

/* All cores that this process may use, or OMP_NUM_THREADS.  Asked once: after
 * the first omp_set_num_threads the answer would be that one's. */
static int all_threads(void) {
    static atomic_int known;
    int n = atomic_load_explicit(&known, memory_order_relaxed);
    if (n == 0) {
        n = getenv("OMP_NUM_THREADS") ? omp_get_max_threads() : omp_get_num_procs();
        if (n < 1) n = 1;
        atomic_store_explicit(&known, n, memory_order_relaxed);
    }
    return n;
}

void hwb_count_products(hwb_ctx *ctx, int64_t n) {
    ctx->products += n;
}

int64_t hwb_products(const hwb_ctx *ctx) {
    return ctx->products;
}

int hwb_threads(const hwb_ctx *ctx) {
    return ctx->threads > 0 ? ctx->threads : all_threads();
}

void hwb_ctx_set_slot(hwb_ctx *ctx, int slot, void *state, void (*free_fn)(void *)) {
    HWB_ASSERT(slot >= 0 && slot < HWB_SLOT_COUNT);
    void *old = ctx->slot[slot];
    void (*old_free)(void *) = ctx->slot_free[slot];
    ctx->slot[slot] = state;
    ctx->slot_free[slot] = free_fn;
    if (old && old != state && old_free) old_free(old);
}

void *hwb_ctx_slot(const hwb_ctx *ctx, int slot) {
    HWB_ASSERT(slot >= 0 && slot < HWB_SLOT_COUNT);
    return ctx->slot[slot];
}

/* ---- progress and time -------------------------------------------------------------- */

void hwb_set_progress(hwb_ctx *ctx, hwb_progress_fn fn, void *user) {
    ctx->progress = fn;
    ctx->progress_user = user;
}

void hwb_progress(hwb_ctx *ctx, const char *what, int64_t done, int64_t total, const char *note) {
    if (ctx->progress) ctx->progress(ctx->progress_user, what, done, total, note ? note : "");
}

double hwb_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
