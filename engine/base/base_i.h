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

struct hwb__block;

/* Freed big blocks kept for reuse (memory.c says why and when). */
#define HWB__CACHE_SLOTS 64

typedef struct hwb__account {
    atomic_size_t refs;
    atomic_size_t live, peak, limit;
    _Atomic int64_t device_live, device_peak;
    _Atomic int64_t calls;                      /* hwb_alloc calls so far, failed ones included */
    int64_t fail_at;                            /* HWB_TEST_FAIL_ALLOC; 0 = never */
    pthread_mutex_t lock;                       /* guards the three below */
    struct hwb__block *cache[HWB__CACHE_SLOTS]; /* oldest first */
    int cached;
    size_t cached_bytes;
} hwb__account;

struct hwb_ctx {
    hwb__account *account;
    int threads; /* 0 = all cores */
    hwb_progress_fn progress;
    void *progress_user;
    void *slot[HWB_SLOT_COUNT];
    void (*slot_free[HWB_SLOT_COUNT])(void *);
    char message[HWB__MESSAGE_SIZE];
};

hwb__account *hwb__account_new(void); /* new ref, NULL without memory */
hwb__account *hwb__account_retain(hwb__account *account);
void hwb__account_release(hwb__account *account);

#endif
