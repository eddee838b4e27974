/*
 * cuda_copy.c: copies, and waiting.
 *
 *   small      up gathered (cuda_puts.c); down through a pinned buffer, behind the work in
 *              flight, with one wait for both
 *   middling   up through the next free bytes of the pinned ring, without a wait while
 *              there are some
 *   large      through the two halves of a pinned ring in turn: while one half is on the
 *              bus the other is filled or emptied, by several threads, where the runtime
 *              would leave that to one (vectors of a large model are hundreds of MiB, and
 *              results lie in fresh memory, whose pages those threads bring in together)
 *
 * The runtime is never handed pageable memory: whether it has read that when it returns
 * depends on the system (CUDA Runtime API, "API synchronization behavior").
 */
#include "cuda_i.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HALF = 16 << 20, RING = 2 * HALF, PIECES = 4 };

/* ---- waiting ------------------------------------------------------------------------ */

cudaError_t hwb__cuda_query(cudaStream_t stream) {
    cudaError_t e = cudaStreamQuery(stream);
    if (e == cudaErrorNotReady) cudaGetLastError();
    return e;
}

/* Waits for the stream in slices, so that Ctrl-C is answered; work that is under
 * way is never killed. */
static hwb_status wait_for(hwb_ctx *ctx, hwb__cuda *s) {
    const struct timespec slice = {0, 50000};
    cudaError_t e = cudaErrorNotReady;
    for (int turn = 0; turn < 2000 && e == cudaErrorNotReady; turn++) /* mostly soon done */
        e = hwb__cuda_query(s->stream);
    while (e == cudaErrorNotReady && !hwb__cuda_host->interrupted()) {
        nanosleep(&slice, NULL);
        e = hwb__cuda_query(s->stream);
    }
    if (e == cudaErrorNotReady) e = cudaStreamSynchronize(s->stream); /* then buffers may go */
    return hwb__cuda_check(ctx, e, "work on the stream");
}

hwb_status hwb__cuda_sync(hwb_ctx *ctx, void *state) {
    hwb__cuda *s = state;
    HWB_CUDA_TRY(ctx, cudaSetDevice(s->index));
    HWB_TRY(hwb__cuda_puts_send(ctx, s));
    if (s->n_sources)
        HWB_CUDA_TRY(ctx, cudaMemcpyAsync(s->host_fault, s->fault,
                                          HWB__CUDA_FAULT_WORDS * sizeof(*s->fault),
                                          cudaMemcpyDeviceToHost, s->stream));
    HWB_TRY(wait_for(ctx, s));
    hwb__cuda_puts_done(s);
    s->ring_used = 0;
    return hwb__cuda_fault_check(ctx, s);
}

/* ---- the host's side of a large copy ---------------------------------------------------- */

typedef struct piece {
    char *to;
    const char *from;
    size_t bytes;
    pthread_t thread;
    bool started;
} piece;

static void *copy_piece(void *arg) {
    piece *p = arg;
    memcpy(p->to, p->from, p->bytes);
    return NULL;
}

/* memcpy by PIECES threads; a thread that cannot be had leaves its piece to this one. */
static void copy_wide(void *to, const void *from, size_t bytes) {
    piece all[PIECES];
    const size_t step = (bytes / PIECES + 4095) / 4096 * 4096;
    for (int i = 0; i < PIECES; i++) {
        size_t at = (size_t)i * step < bytes ? (size_t)i * step : bytes;
        size_t end = i == PIECES - 1 || at + step > bytes ? bytes : at + step;
        all[i] = (piece){.to = (char *)to + at, .from = (const char *)from + at, .bytes = end - at};
        if (i) all[i].started = pthread_create(&all[i].thread, NULL, copy_piece, &all[i]) == 0;
    }
    for (int i = 0; i < PIECES; i++)
        if (!all[i].started) copy_piece(&all[i]);
    for (int i = 0; i < PIECES; i++)
        if (all[i].started) pthread_join(all[i].thread, NULL);
}

static size_t part(size_t bytes, size_t at) {
    return bytes - at < HALF ? bytes - at : HALF;
}

/* The whole ring, once the stream is done with it. */
static hwb_status ring_of(hwb_ctx *ctx, hwb__cuda *s, char **out) {
    if (!s->ring) HWB_CUDA_TRY(ctx, cudaMallocHost(&s->ring, RING));
    if (s->ring_used) HWB_CUDA_TRY(ctx, cudaStreamSynchronize(s->stream));
    s->ring_used = 0;
    *out = s->ring;
    return HWB_OK;
}

static hwb_status put_middling(hwb_ctx *ctx, hwb__cuda *s, char *dst, const char *host,
                               size_t bytes) {
    char *ring = s->ring;
    if (!ring || s->ring_used + bytes > RING) HWB_TRY(ring_of(ctx, s, &ring));
    ring += s->ring_used;
    s->ring_used += (bytes + 255) / 256 * 256;
    memcpy(ring, host, bytes);
    HWB_CUDA_TRY(ctx, cudaMemcpyAsync(dst, ring, bytes, cudaMemcpyHostToDevice, s->stream));
    return HWB_OK;
}

/* A half is filled while the copy of the other is under way, and sent when that is over:
 * the stream is then done with both.  The last is left under way. */
static hwb_status put_large(hwb_ctx *ctx, hwb__cuda *s, char *dst, const char *host, size_t bytes) {
    char *ring;
    HWB_TRY(ring_of(ctx, s, &ring));
    s->ring_used = RING;
    for (size_t at = 0, turn = 0; at < bytes; at += HALF, turn++) {
        char *half = ring + turn % 2 * HALF;
        copy_wide(half, host + at, part(bytes, at));
        HWB_CUDA_TRY(ctx, cudaStreamSynchronize(s->stream));
        HWB_CUDA_TRY(ctx, cudaMemcpyAsync(dst + at, half, part(bytes, at), cudaMemcpyHostToDevice,
                                          s->stream));
    }
    return HWB_OK;
}

static hwb_status get_large(hwb_ctx *ctx, hwb__cuda *s, char *host, const char *src, size_t bytes) {
    char *ring;
    HWB_TRY(hwb__cuda_sync(ctx, s)); /* the work itself may take long: Ctrl-C is answered */
    HWB_TRY(ring_of(ctx, s, &ring));
    HWB_CUDA_TRY(ctx,
                 cudaMemcpyAsync(ring, src, part(bytes, 0), cudaMemcpyDeviceToHost, s->stream));
    for (size_t at = 0, turn = 0; at < bytes; at += HALF, turn++) {
        const size_t next = at + HALF;
        HWB_CUDA_TRY(ctx, cudaStreamSynchronize(s->stream));
        if (next < bytes)
            HWB_CUDA_TRY(ctx,
                         cudaMemcpyAsync(ring + (turn + 1) % 2 * HALF, src + next,
                                         part(bytes, next), cudaMemcpyDeviceToHost, s->stream));
        copy_wide(host + at, ring + turn % 2 * HALF, part(bytes, at));
    }
    return HWB_OK;
}

/* ---- the table's functions ---------------------------------------------------------------- */

hwb_status hwb__cuda_mem_put(hwb_ctx *ctx, void *state, void *dst, const void *host, size_t bytes) {
    hwb__cuda *s = state;
    bool noted = false;
    if (bytes == 0) return HWB_OK;
    HWB_CUDA_TRY(ctx, cudaSetDevice(s->index));
    HWB_TRY(hwb__cuda_puts_note(ctx, s, dst, host, bytes, &noted));
    if (noted) return HWB_OK;
    if (bytes > HWB__CUDA_BOUNCE) return put_large(ctx, s, dst, host, bytes);
    return put_middling(ctx, s, dst, host, bytes);
}

hwb_status hwb__cuda_mem_copy(hwb_ctx *ctx, void *state, void *dst, const void *src, size_t bytes) {
    hwb__cuda *s = state;
    if (bytes == 0) return HWB_OK;
    HWB_CUDA_TRY(ctx, cudaSetDevice(s->index));
    HWB_TRY(hwb__cuda_puts_send(ctx, s));
    HWB_CUDA_TRY(ctx, cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, s->stream));
    return HWB_OK;
}

hwb_status hwb__cuda_mem_get(hwb_ctx *ctx, void *state, void *host, const void *src, size_t bytes) {
    hwb__cuda *s = state;
    HWB_CUDA_TRY(ctx, cudaSetDevice(s->index));
    HWB_TRY(hwb__cuda_puts_send(ctx, s));
    if (bytes > HWB__CUDA_BOUNCE) return get_large(ctx, s, host, src, bytes);
    if (bytes)
        HWB_CUDA_TRY(ctx,
                     cudaMemcpyAsync(s->bounce, src, bytes, cudaMemcpyDeviceToHost, s->stream));
    HWB_TRY(hwb__cuda_sync(ctx, state));
    if (bytes) memcpy(host, s->bounce, bytes);
    return HWB_OK;
}
