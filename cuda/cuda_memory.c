/*
 * cuda_memory.c: device memory.
 *
 * The allocator keeps what is freed in lists by size class (eight classes to a
 * power of two, 512 bytes the least) and hands it out again at once: everything
 * of a context runs on one stream, so a block's next user starts when its last
 * one is done.  When the device is out of memory the lists are given back and the
 * request is tried once more.
 *
 * HWB_CUDA_POOL=no: every block comes from the driver, of just the size asked for, and goes
 * back to it at once, so that memory checkers see each late use and each overrun.
 */
#include "cuda_i.h"

#include <stdlib.h>
#include <string.h>

/* ---- the allocator ----------------------------------------------------------------- */

enum { CLASSES_PER_OCTAVE = 8, N_CLASSES = 40 * CLASSES_PER_OCTAVE, BUCKETS = 4096 };

typedef struct block {
    void *at;
    size_t bytes; /* of its class */
    int class;
    struct block *next; /* in its bucket while used, in its class while free */
} block;

struct hwb__cuda_pool {
    block *used[BUCKETS]; /* by address */
    block *idle[N_CLASSES];
    block *retired; /* scratch that captured graphs may name */
    bool passes;    /* keeps nothing: HWB_CUDA_POOL=no */
};

/* The class of a size and the class's own size: 512 * 2^o * (1 + c/8). */
static int class_of(size_t bytes, size_t *rounded) {
    size_t base = 512;
    for (int octave = 0; octave < N_CLASSES / CLASSES_PER_OCTAVE; octave++, base *= 2) {
        if (bytes > 2 * base - base / CLASSES_PER_OCTAVE) continue;
        size_t step = base / CLASSES_PER_OCTAVE;
        size_t c = bytes <= base ? 0 : (bytes - base + step - 1) / step;
        *rounded = base + c * step;
        return octave * CLASSES_PER_OCTAVE + (int)c;
    }
    return -1;
}

static block **bucket_of(hwb__cuda_pool *pool, const void *p) {
    return &pool->used[((uintptr_t)p >> 9) % BUCKETS];
}

hwb_status hwb__cuda_pool_new(hwb_ctx *ctx, hwb__cuda_pool **out) {
    const char *text = getenv("HWB_CUDA_POOL");
    if (!(*out = calloc(1, sizeof(**out)))) return hwb__cuda_oom(ctx);
    (*out)->passes = text && strcmp(text, "no") == 0;
    return HWB_OK;
}

static void give_back(block **list) {
    while (*list) {
        block *b = *list;
        *list = b->next;
        cudaFree(b->at);
        free(b);
    }
}

static void give_back_idle(hwb__cuda_pool *pool) {
    for (int i = 0; i < N_CLASSES; i++) give_back(&pool->idle[i]);
}

void hwb__cuda_pool_free(hwb__cuda_pool *pool) {
    if (!pool) return;
    give_back_idle(pool);
    give_back(&pool->retired);
    for (int i = 0; i < BUCKETS; i++) give_back(&pool->used[i]);
    free(pool);
}

/* New memory from the device; waits for the stream before it gives blocks back. */
static cudaError_t fresh(hwb__cuda *s, block *b) {
    cudaError_t e = cudaMalloc(&b->at, b->bytes);
    if (e != cudaErrorMemoryAllocation) return e;
    cudaGetLastError();
    cudaStreamSynchronize(s->stream);
    give_back_idle(s->pool);
    return cudaMalloc(&b->at, b->bytes);
}

void *hwb__cuda_mem_alloc(hwb_ctx *ctx, void *state, size_t bytes) {
    hwb__cuda *s = state;
    size_t rounded = 0;
    int class = class_of(bytes ? bytes : 1, &rounded);
    if (class < 0) {
        hwb__cuda_fail(ctx, HWB_ENOMEM, "cuda: %zu bytes are more than any device has", bytes);
        return NULL;
    }
    if (s->pool->passes) rounded = bytes ? bytes : 1;
    block *b = s->pool->idle[class];
    if (b) {
        s->pool->idle[class] = b->next;
    } else {
        if (!(b = calloc(1, sizeof(*b)))) {
            hwb__cuda_oom(ctx);
            return NULL;
        }
        b->bytes = rounded;
        b->class = class;
        cudaError_t e = cudaSetDevice(s->index);
        if (e == cudaSuccess) e = fresh(s, b);
        if (e != cudaSuccess) {
            free(b);
            hwb__cuda_check(ctx, e, "cudaMalloc");
            if (e == cudaErrorMemoryAllocation)
                hwb__cuda_fail(ctx, HWB_ENOMEM, "cuda: no %.1f MiB left on the device",
                               (double)rounded / 1048576.0);
            return NULL;
        }
    }
    block **bucket = bucket_of(s->pool, b->at);
    b->next = *bucket;
    *bucket = b;
    hwb__cuda_host->count_device(s->ctx, (int64_t)b->bytes);
    return b->at;
}

/* The used block at p, taken out of its bucket; NULL when there is none. */
static block *take(hwb__cuda_pool *pool, const void *p) {
    for (block **at = bucket_of(pool, p); *at; at = &(*at)->next)
        if ((*at)->at == p) {
            block *b = *at;
            *at = b->next;
            return b;
        }
    return NULL;
}

void hwb__cuda_mem_free(void *state, void *p) {
    hwb__cuda *s = state;
    block *b = p ? take(s->pool, p) : NULL;
    if (!b) return;
    hwb__cuda_puts_forget(s, b->at, b->bytes);
    hwb__cuda_host->count_device(s->ctx, -(int64_t)b->bytes);
    b->next = s->pool->idle[b->class];
    s->pool->idle[b->class] = b;
    if (s->pool->passes) give_back(&s->pool->idle[b->class]);
}

hwb_status hwb__cuda_scratch(hwb_ctx *ctx, hwb__cuda *s, size_t bytes) {
    if (bytes <= s->scratch_bytes) return HWB_OK;
    size_t most = bytes > 2 * s->scratch_bytes ? bytes : 2 * s->scratch_bytes;
    void *p = hwb__cuda_mem_alloc(ctx, s, most);
    if (!p) return HWB_ENOMEM;
    block *old = s->scratch ? take(s->pool, s->scratch) : NULL;
    if (old) {
        old->next = s->pool->retired;
        s->pool->retired = old;
    }
    s->scratch = p;
    s->scratch_bytes = most;
    return HWB_OK;
}
