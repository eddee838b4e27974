/*
 * base_i.h: private to engine/base.  The context and the memory account.
 *
 *      ctx ──┐
 *      fork ─┼──> account (refcounted) <── header of every live block
 *      …     ┘
 *
 * A block keeps its account alive, so tensors may outlive the context that
 * made them and hwb_free needs nothing but the pointer.
 */
#ifndef HWB_BASE_I_H
#define HWB_BASE_I_H

#include "base/base.h"

#include <pthread.h>
#include <stdatomic.h>

#define HWB__MESSAGE_SIZE 1024

/* What lies before every payload. */
typedef struct hwb__block {
    struct hwb__account *account; /* one ref while the block is in use */
    void *base;                   /* what malloc gave */
    size_t bytes;                 /* as asked */
    size_t capacity;              /* payload room */
    uint32_t magic;
} hwb__block;

#define HWB__CACHE_SLOTS 64

/* Freed big blocks that wait to be used again (cache.c). */
typedef struct hwb__cache {
    pthread_mutex_t lock;
    hwb__block *block[HWB__CACHE_SLOTS]; /* oldest first */
    int count;
    size_t bytes; /* their capacities */
    bool closed;  /* the context is gone: keep nothing */
} hwb__cache;

typedef struct hwb__account {
    atomic_size_t refs;
    atomic_size_t live, peak, limit;
    atomic_size_t high_water; /* as peak, but never reset */
    _Atomic int64_t device_live, device_peak;
    _Atomic int64_t calls; /* hwb_alloc calls so far, failed ones included */
    int64_t fail_at;       /* HWB_TEST_FAIL_ALLOC; 0 = never */
    hwb__cache cache;
} hwb__account;

struct hwb_ctx {
    hwb__account *account;
    bool is_fork;
    int threads; /* 0 = all cores */
    int64_t products;
    hwb_progress_fn progress;
    void *progress_user;
    void *slot[HWB_SLOT_COUNT];
    void (*slot_free[HWB_SLOT_COUNT])(void *);
    char message[HWB__MESSAGE_SIZE];
};

hwb__account *hwb__account_new(void); /* new ref, NULL without memory */
hwb__account *hwb__account_retain(hwb__account *account);
void hwb__account_release(hwb__account *account);

/* ---- cache.c ------------------------------------------------------------------ */

bool hwb__cache_init(hwb__cache *cache);
void hwb__cache_destroy(hwb__cache *cache);
/* A block with room for `bytes`, or NULL. */
hwb__block *hwb__cache_take(hwb__cache *cache, size_t bytes);
/* Takes a block (its memory, not its account); keeps it or frees it.  At most
 * `room` bytes stay in the cache. */
void hwb__cache_give(hwb__cache *cache, hwb__block *block, size_t room);
/* Free the oldest blocks until at most `room` bytes stay. */
void hwb__cache_trim(hwb__cache *cache, size_t room);
void hwb__cache_close(hwb__cache *cache);

#endif
