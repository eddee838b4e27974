/*
 * stream.c: streams.
 *
 * A stream is a queue of operations numbered 1, 2, ...  Nothing in it runs
 * before somebody waits (emu_stream_finish); then it runs in order, and an
 * operation "wait for number n of stream t" first runs t up to n.  The legacy
 * default stream waits for all streams that are not "non-blocking", and they
 * for it, as on a device.
 *
 * A capture appends to a graph instead (graph.c).
 */
#include "stream_i.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DEEPEST_QUEUE = 4096 };

static struct CUstream_st legacy = {.magic = STREAM_MAGIC};
static cudaStream_t streams = &legacy;
static char running[160];
static bool running_now;
static size_t live_streams, live_graphs;

void emu_fatal(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "hwb emulator: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    emu_abort();
}

bool emu_dry(void) {
    static int known = -1;
    const char *text = getenv("HWB_EMU_DRY");
    if (known < 0) known = text && strcmp(text, "1") == 0;
    return known;
}

const char *emu_running(void) {
    return running_now ? running : NULL;
}

void emu_running_set(const char *what) {
    snprintf(running, sizeof running, "%s", what);
}

size_t emu_streams_live(void) {
    return live_streams + live_graphs;
}

/* NULL and cudaStreamLegacy are the default stream. */
cudaStream_t emu_stream_of(cudaStream_t s) {
    if (s == NULL || s == cudaStreamLegacy) return &legacy;
    if (s == cudaStreamPerThread) emu_fatal("cudaStreamPerThread is not emulated");
    if (s->magic != STREAM_MAGIC) emu_fatal("a stream that was destroyed, or never was one");
    return s;
}

/* ---- the queue -------------------------------------------------------------------- */

static operation *operation_new(const char *what, const void *args, size_t bytes) {
    operation *op = calloc(1, sizeof *op + bytes);
    if (!op) emu_fatal("no memory for the queue");
    op->bytes = bytes;
    snprintf(op->what, sizeof op->what, "%s", what);
    if (bytes) memcpy(op->args, args, bytes);
    return op;
}

static void push(cudaStream_t s, operation *op) {
    op->number = ++s->last;
    op->next = NULL;
    *(s->tail ? &s->tail->next : &s->head) = op;
    s->tail = op;
}

static bool run_until(cudaStream_t s, uint64_t number, bool wait);

/* False: the operation waits for another process, try again. */
static bool run_one(cudaStream_t s, bool wait) {
    operation *op = s->head;
    bool outer = running_now, over = true;
    if (op->on && !run_until(op->on, op->on_number, wait)) return false;
    running_now = true;
    snprintf(running, sizeof running, "%s", op->what);
    if (op->run && (!emu_dry() || strcmp(op->what, "cudaMemcpyAsync") == 0)) op->run(op->args);
    if (op->attempt) over = op->attempt(op->args);
    running_now = outer;
    if (!over) return false;
    s->head = op->next;
    if (!s->head) s->tail = NULL;
    s->done = op->number;
    free(op);
    return true;
}

static bool run_until(cudaStream_t s, uint64_t number, bool wait) {
    const struct timespec slice = {0, 50000};
    if (s->magic != STREAM_MAGIC) emu_fatal("a wait for a stream that was destroyed");
    while (s->done < number && s->head) {
        if (run_one(s, wait)) continue;
        if (!wait) return false;
        nanosleep(&slice, NULL);
    }
    return true;
}

static void push_wait(cudaStream_t s, cudaStream_t on, uint64_t number) {
    if (on->done >= number || on == s) return;
    operation *op = operation_new("wait", NULL, 0);
    op->on = on;
    op->on_number = number;
    push(s, op);
}

/* The implicit order between the legacy stream and the blocking ones. */
static void push_implicit_waits(cudaStream_t s) {
    if (s == &legacy) {
        for (cudaStream_t t = streams; t; t = t->next)
            if (t != s && !t->non_blocking && !t->capture) push_wait(s, t, t->last);
    } else if (!s->non_blocking) push_wait(s, &legacy, legacy.last);
}

static bool finish(cudaStream_t s, bool wait) {
    if (s == &legacy) push_implicit_waits(s);
    if (!s->head) return true;
    emu_memory_open();
    bool over = run_until(s, s->last, wait);
    emu_memory_close();
    return over;
}

cudaError_t emu_stream_finish(cudaStream_t handle) {
    finish(emu_stream_of(handle), true);
    return cudaSuccess;
}

/* Every stream; which goes first is nobody's business. */
cudaError_t emu_finish_all(void) {
    emu_memory_open();
    for (;;) {
        cudaStream_t pick = NULL;
        uint32_t seen = 0;
        for (cudaStream_t t = streams; t; t = t->next) {
            if (!t->head) continue;
            seen++;
            bool take = emu_order_get() == EMU_RANDOM ? emu_random(seen) == 0
                                                      : emu_order_get() == EMU_REVERSE || !pick;
            if (take) pick = t;
        }
        if (!pick) break;
        if (emu_order_get() == EMU_RANDOM) run_one(pick, true);
        else run_until(pick, pick->last, true);
    }
    emu_memory_close();
    return cudaSuccess;
}

static cudaError_t enqueue(cudaStream_t s, operation *op) {
    cudaError_t e = emu_legacy_call(s);
    if (e != cudaSuccess) {
        free(op);
        return e;
    }
    push_implicit_waits(s);
    push(s, op);
    if (s->last - s->done > DEEPEST_QUEUE) return emu_stream_finish(s);
    return cudaSuccess;
}

cudaError_t emu_enqueue(cudaStream_t handle, const char *what, emu_run run, const void *args,
                        size_t bytes) {
    cudaStream_t s = emu_stream_of(handle);
    if (emu_broken(true)) return cudaErrorIllegalAddress;
    operation *op = operation_new(what, args, bytes);
    op->run = run;
    if (!s->capture) emu_count_operation(what);
    return s->capture ? emu_capture_add(s, op) : enqueue(s, op);
}

cudaError_t emu_enqueue_attempts(cudaStream_t handle, const char *what, emu_attempt attempt,
                                 const void *args, size_t bytes) {
    cudaStream_t s = emu_stream_of(handle);
    if (s->capture) return emu_capture_refuse(s);
    operation *op = operation_new(what, args, bytes);
    op->attempt = attempt;
    emu_count_operation(what);
    return enqueue(s, op);
}

/* ---- streams ---------------------------------------------------------------------- */

cudaError_t emu_stream_create(cudaStream_t *out, unsigned flags) {
    cudaError_t e = emu_unsafe_call();
    *out = NULL;
    if (e != cudaSuccess) return e;
    if (flags & ~(unsigned)cudaStreamNonBlocking) return cudaErrorInvalidValue;
    if (emu_fail_now()) return cudaErrorMemoryAllocation;
    cudaStream_t s = calloc(1, sizeof *s);
    if (!s) return cudaErrorMemoryAllocation;
    s->magic = STREAM_MAGIC;
    s->non_blocking = flags == cudaStreamNonBlocking;
    s->next = legacy.next;
    legacy.next = s;
    live_streams++;
    *out = s;
    return cudaSuccess;
}

/* Returns at once; what is queued still runs (here: first).  The struct stays,
 * so that a later use is noticed. */
cudaError_t emu_stream_destroy(cudaStream_t handle) {
    cudaStream_t s = emu_stream_of(handle);
    if (s == &legacy) return cudaErrorInvalidResourceHandle;
    if (s->capture) emu_fatal("a stream is destroyed while it captures");
    emu_stream_finish(s);
    s->magic = 0;
    live_streams--;
    for (cudaStream_t t = streams; t; t = t->next)
        if (t->next == s) t->next = s->next;
    emu_keep(s);
    return cudaSuccess;
}

/* Busy at the first question, done at the second: a loop that polls ends, one that
 * trusts the first answer fails. */
cudaError_t emu_stream_query(cudaStream_t handle) {
    cudaStream_t s = emu_stream_of(handle);
    s->asked = s->head && !s->asked;
    return s->asked || !finish(s, false) ? cudaErrorNotReady : cudaSuccess;
}

void emu_graphs_count(int change) {
    live_graphs = (size_t)((long)live_graphs + change);
}

cudaStream_t emu_streams_first(void) {
    return streams;
}
