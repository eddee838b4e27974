/*
 * memory.c: counted, aligned, failable allocation.
 *
 *     ┌── 64-byte header ──┬── payload, 64-byte aligned ──┐
 *     │ account, bytes, …  │ what hwb_alloc returns        │
 *     └────────────────────┴───────────────────────────────┘
 *
 * The counters are atomics: worker threads allocate and free at will.  `live`
 * counts asked-for payload bytes, so a tensor of n bytes moves it by n.
 *
 * Debug builds fill fresh and freed payloads with 0xFF, which reads as NaN in
 * float32 and float64 and as -1 in integers: use of memory that nobody wrote
 * shows in the results.
 */
#include "base/base_i.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BLOCK_ALIGN 64
#define BLOCK_MAGIC 0x6877626Du /* "hwbm" */

/* A bigger block is a damaged size: refused before any allocator sees it. */
#define MAX_BLOCK_BYTES ((size_t)1 << 39)

_Static_assert(sizeof(hwb__block) <= BLOCK_ALIGN, "the header fits before the payload");

static void *block_payload(hwb__block *block) {
    return (char *)block + BLOCK_ALIGN;
}

static hwb__block *payload_block(void *p) {
    return (hwb__block *)(void *)((char *)p - BLOCK_ALIGN);
}

static void poison(void *p, size_t bytes) {
#ifndef NDEBUG
    memset(p, 0xFF, bytes);
#else
    (void)p, (void)bytes;
#endif
}

/* ---- the account ------------------------------------------------------------- */

hwb__account *hwb__account_new(void) {
    hwb__account *account = calloc(1, sizeof *account);
    if (!account) return NULL;
    if (!hwb__cache_init(&account->cache)) {
        free(account);
        return NULL;
    }
    atomic_store(&account->refs, 1);
    const char *fail_at = getenv("HWB_TEST_FAIL_ALLOC");
    if (fail_at) account->fail_at = strtoll(fail_at, NULL, 10);
    return account;
}

hwb__account *hwb__account_retain(hwb__account *account) {
    atomic_fetch_add_explicit(&account->refs, 1, memory_order_relaxed);
    return account;
}

void hwb__account_release(hwb__account *account) {
    if (atomic_fetch_sub_explicit(&account->refs, 1, memory_order_acq_rel) != 1) return;
    hwb__cache_destroy(&account->cache);
    free(account);
}

hwb_memory_info hwb_memory(const hwb_ctx *ctx) {
    hwb__account *a = ctx->account;
    return (hwb_memory_info){
        .live = atomic_load(&a->live),
        .peak = atomic_load(&a->peak),
        .limit = atomic_load(&a->limit),
        .device_live = (size_t)atomic_load(&a->device_live),
        .device_peak = (size_t)atomic_load(&a->device_peak),
        .allocations = atomic_load(&a->calls),
    };
}

void hwb_memory_reset_peak(hwb_ctx *ctx) {
    atomic_store(&ctx->account->peak, atomic_load(&ctx->account->live));
    atomic_store(&ctx->account->device_peak, atomic_load(&ctx->account->device_live));
}

void hwb_memory_set_limit(hwb_ctx *ctx, size_t bytes) {
    atomic_store(&ctx->account->limit, bytes);
}

void hwb_memory_count_device(hwb_ctx *ctx, int64_t delta_bytes) {
    hwb__account *a = ctx->account;
    int64_t live = atomic_fetch_add(&a->device_live, delta_bytes) + delta_bytes;
    int64_t peak = atomic_load(&a->device_peak);
    while (live > peak && !atomic_compare_exchange_weak(&a->device_peak, &peak, live)) continue;
}

static void raise_to(atomic_size_t *mark, size_t live) {
    size_t old = atomic_load_explicit(mark, memory_order_relaxed);
    while (live > old && !atomic_compare_exchange_weak(mark, &old, live)) continue;
}

/* Enter `bytes` into the account; false when the limit forbids it. */
static bool account_add(hwb__account *a, size_t bytes) {
    size_t limit = atomic_load_explicit(&a->limit, memory_order_relaxed);
    size_t live = atomic_fetch_add(&a->live, bytes) + bytes;
    if (limit && live > limit) {
        atomic_fetch_sub(&a->live, bytes);
        return false;
    }
    raise_to(&a->peak, live);
    raise_to(&a->high_water, live);
    return true;
}

/* How many bytes may wait in the cache beside the ones in use; a page more, as
 * capacities are rounded up. */
static size_t cache_room(hwb__account *a) {
    size_t limit = atomic_load_explicit(&a->limit, memory_order_relaxed);
    size_t most = atomic_load_explicit(&a->high_water, memory_order_relaxed);
    size_t live = atomic_load_explicit(&a->live, memory_order_relaxed);
    if (limit && limit < most) most = limit;
    return most > live ? most - live + 4096 : 0;
}

/* ---- allocation ------------------------------------------------------------------ */

static hwb_status fail_memory(hwb_ctx *ctx, size_t bytes) {
    hwb_memory_info m = hwb_memory(ctx);
    double mib = 1.0 / (1 << 20);
    if (m.limit)
        return hwb_fail(ctx, HWB_ENOMEM,
                        "out of memory: %.1f MiB asked, %.1f MiB in use, limit %.1f MiB",
                        (double)bytes * mib, (double)m.live * mib, (double)m.limit * mib);
    return hwb_fail(ctx, HWB_ENOMEM, "out of memory: %.1f MiB asked, %.1f MiB in use",
                    (double)bytes * mib, (double)m.live * mib);
}

/* Blocks from HUGE_MIN on lie on huge pages where the kernel has them: first
 * touch of 64 MiB then takes 9 ms instead of 34 ms, and TLB misses go. */
#define HUGE_PAGE ((size_t)2 << 20)
#define HUGE_MIN  ((size_t)4 << 20)

static hwb__block *block_new(size_t bytes) {
    size_t capacity = (bytes + BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN;
    hwb__block *block;
    void *base;
    if (capacity < HUGE_MIN) {
        /* malloc and rounding up: much faster for small blocks than memalign */
        base = malloc(2 * BLOCK_ALIGN + capacity);
        if (!base) return NULL;
        block = (void *)(((uintptr_t)base + BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN);
    } else {
        if (posix_memalign(&base, HUGE_PAGE, BLOCK_ALIGN + capacity)) return NULL;
        madvise(base, BLOCK_ALIGN + capacity, MADV_HUGEPAGE); /* only advice: may fail */
        block = base;
    }
    block->base = base;
    block->capacity = capacity;
    return block;
}

void *hwb_alloc(hwb_ctx *ctx, size_t bytes) {
    hwb__account *account = ctx->account;
    int64_t call = atomic_fetch_add(&account->calls, 1) + 1;
    if (call == account->fail_at || bytes > MAX_BLOCK_BYTES || !account_add(account, bytes)) {
        fail_memory(ctx, bytes);
        return NULL;
    }
    hwb__block *block = hwb__cache_take(&account->cache, bytes);
    if (!block) {
        /* What is kept and what is about to be made must fit together. */
        hwb__cache_trim(&account->cache, cache_room(account));
        block = block_new(bytes);
    }
    if (!block) {
        hwb__cache_trim(&account->cache, 0);
        block = block_new(bytes);
    }
    if (!block) {
        atomic_fetch_sub(&account->live, bytes);
        fail_memory(ctx, bytes);
        return NULL;
    }
    block->account = hwb__account_retain(account);
    block->bytes = bytes;
    block->magic = BLOCK_MAGIC;
    poison(block_payload(block), bytes);
    return block_payload(block);
}

void *hwb_calloc(hwb_ctx *ctx, size_t bytes) {
    void *p = hwb_alloc(ctx, bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

void hwb_free(void *p) {
    if (!p) return;
    hwb__block *block = payload_block(p);
    HWB_ASSERT(block->magic == BLOCK_MAGIC); /* a foreign pointer or a double free */
    hwb__account *account = block->account;
    poison(p, block->bytes);
    block->magic = 0;
    atomic_fetch_sub(&account->live, block->bytes);
    hwb__cache_give(&account->cache, block, cache_room(account));
    hwb__account_release(account);
}
