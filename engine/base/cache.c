/*
 * cache.c: freed big blocks, kept for the next allocation of about their size.
 *
 * Fresh pages are expensive: the kernel clears and maps each at first touch.
 * Writing through a new 4 MiB block costs about 2 ms on a small virtual
 * machine, through one that was just used 0.05 ms, and malloc returns blocks
 * of this size to the kernel at once.  An eager loop over big tensors would
 * spend nearly all its time there.
 *
 * The rule for how much may be kept is the account's: bytes in use and bytes
 * kept together stay below what was once in use (and below the limit), so the
 * cache never makes the process bigger than its own work has made it.
 */
#include "base/base_i.h"

#include <stdlib.h>
#include <string.h>

/* Smaller blocks are served well by malloc; sanitizers must see every free. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CACHE_MIN SIZE_MAX
#else
#define CACHE_MIN ((size_t)128 << 10)
#endif

bool hwb__cache_init(hwb__cache *cache) {
    memset(cache, 0, sizeof *cache);
    return pthread_mutex_init(&cache->lock, NULL) == 0;
}

void hwb__cache_destroy(hwb__cache *cache) {
    hwb__cache_trim(cache, 0);
    pthread_mutex_destroy(&cache->lock);
}

/* Under the lock. */
static hwb__block *remove_at(hwb__cache *cache, int at) {
    hwb__block *block = cache->block[at];
    cache->count--;
    cache->bytes -= block->capacity;
    memmove(&cache->block[at], &cache->block[at + 1],
            (size_t)(cache->count - at) * sizeof cache->block[0]);
    return block;
}

/* Under the lock. */
static void trim(hwb__cache *cache, size_t room) {
    while (cache->count > 0 && cache->bytes > room) free(remove_at(cache, 0)->base);
}

hwb__block *hwb__cache_take(hwb__cache *cache, size_t bytes) {
    if (bytes < CACHE_MIN) return NULL;
    size_t most = bytes + bytes / 4; /* do not waste a big block on a small use */
    int best = -1;
    pthread_mutex_lock(&cache->lock);
    for (int i = 0; i < cache->count; i++) {
        size_t capacity = cache->block[i]->capacity;
        /* Of equals the youngest: it may still be in the processor's caches. */
        if (capacity >= bytes && capacity <= most &&
            (best < 0 || capacity <= cache->block[best]->capacity))
            best = i;
    }
    hwb__block *block = best >= 0 ? remove_at(cache, best) : NULL;
    pthread_mutex_unlock(&cache->lock);
    return block;
}

void hwb__cache_give(hwb__cache *cache, hwb__block *block, size_t room) {
    if (block->capacity < CACHE_MIN || block->capacity > room) {
        free(block->base);
        return;
    }
    pthread_mutex_lock(&cache->lock);
    trim(cache, cache->closed ? 0 : room - block->capacity);
    if (cache->count == HWB__CACHE_SLOTS) free(remove_at(cache, 0)->base);
    bool keep = !cache->closed;
    if (keep) {
        cache->block[cache->count++] = block;
        cache->bytes += block->capacity;
    }
    pthread_mutex_unlock(&cache->lock);
    if (!keep) free(block->base);
}

void hwb__cache_trim(hwb__cache *cache, size_t room) {
    pthread_mutex_lock(&cache->lock);
    trim(cache, room);
    pthread_mutex_unlock(&cache->lock);
}

void hwb__cache_close(hwb__cache *cache) {
    pthread_mutex_lock(&cache->lock);
    cache->closed = true;
    trim(cache, 0);
    pthread_mutex_unlock(&cache->lock);
}
