/*
 * base: status codes, the context, memory accounting, logging, interrupts and
 * counter-based random numbers.  Everything in hwb stands on this folder and
 * this folder stands on nothing but the C library.
 *
 * Conventions of the whole C API
 *   - A fallible function returns hwb_status: 0 is success, negative is an
 *     error whose one-line text is hwb_message(ctx).
 *   - The context comes first, outputs next, inputs last.  Outputs are
 *     untouched when the call fails.
 *   - "new ref" outputs are owned by the caller; "borrowed" ones are not.
 *   - Indices and axes are 0-based in C (the Lua layer shows them 1-based).
 *   - The engine never prints, exits or aborts on bad input.
 */
#ifndef HWB_BASE_H
#define HWB_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HWB_API                     __attribute__((visibility("default")))
#define HWB_PRINTF(fmt_at, args_at) __attribute__((format(printf, fmt_at, args_at)))

/* name, value, exit code of the program, short text.  The exit codes are the
 * documented ones of `hwb run`. */
#define HWB_STATUS_MAP(XX)                                                                         \
    XX(OK, 0, 0, "ok")                                                                             \
    XX(EARG, -1, 1, "invalid argument")                                                            \
    XX(ESHAPE, -2, 1, "shapes do not fit")                                                         \
    XX(EDTYPE, -3, 1, "dtypes do not fit")                                                         \
    XX(ENOMEM, -4, 5, "out of memory")                                                             \
    XX(EINTR, -5, 130, "interrupted")                                                              \
    XX(EIO, -6, 3, "file cannot be read or written")                                               \
    XX(EFORMAT, -7, 3, "file is damaged or of another format")                                     \
    XX(EDEVICE, -8, 4, "no such device")                                                           \
    XX(ENUMERIC, -9, 6, "numerical failure")                                                       \
    XX(EUNSUPPORTED, -10, 1, "not supported")                                                      \
    XX(EPERM, -11, 7, "permission refused")                                                        \
    XX(EINTERNAL, -12, 1, "internal error")                                                        \
    XX(EPEER, -13, 8, "another rank failed")

typedef enum hwb_status {
#define XX(name, value, exit_code, text) HWB_##name = value,
    HWB_STATUS_MAP(XX)
#undef XX
} hwb_status;

HWB_API const char *hwb_status_name(hwb_status status); /* "EARG"; can't fail */
HWB_API const char *hwb_status_text(hwb_status status); /* "invalid argument"; can't fail */
HWB_API int hwb_status_exit_code(hwb_status status);

/* Return early with the callee's status. */
#define HWB_TRY(expr)                                                                              \
    do {                                                                                           \
        hwb_status hwb_try_status_ = (expr);                                                       \
        if (hwb_try_status_ != HWB_OK) return hwb_try_status_;                                     \
    } while (0)

/* Set `status` and jump to the cleanup label. */
#define HWB_GOTO(label, status, expr)                                                              \
    do {                                                                                           \
        (status) = (expr);                                                                         \
        if ((status) != HWB_OK) goto label;                                                        \
    } while (0)

/* Internal invariants only, never input checks; active in debug builds. */
#ifdef NDEBUG
#define HWB_ASSERT(cond) ((void)0)
#else
#include <assert.h>
#define HWB_ASSERT(cond) assert(cond)
#endif

/* ---- context ------------------------------------------------------------ */

/* A context owns the error text, the memory account, the options and (opaque
 * to this folder) the state of higher layers.  One thread uses it at a time. */
typedef struct hwb_ctx hwb_ctx;

HWB_API hwb_status hwb_ctx_new(hwb_ctx **out);
/* A context for a worker thread: its own message, the parent's memory account
 * and thread count.  Free it before the parent. */
HWB_API hwb_status hwb_ctx_fork(hwb_ctx *parent, hwb_ctx **out);
HWB_API void hwb_ctx_free(hwb_ctx *ctx); /* NULL is accepted */

/* Text of the last failure; borrowed until the next call on ctx. Never NULL. */
HWB_API const char *hwb_message(const hwb_ctx *ctx);
/* Record a failure and return `status`, so `return hwb_fail(ctx, HWB_EARG, …)`. */
HWB_API hwb_status hwb_fail(hwb_ctx *ctx, hwb_status status, const char *fmt, ...) HWB_PRINTF(3, 4);
/* Prefix the present message with context ("x.th: …"); returns `status`. */
HWB_API hwb_status hwb_fail_in(hwb_ctx *ctx, hwb_status status, const char *fmt, ...)
    HWB_PRINTF(3, 4);

/* Worker threads of kernels.  0 = all cores (the default).  Also sets OpenMP's
 * number for the calling thread, which OpenBLAS, oneDNN and the sums obey. */
HWB_API void hwb_set_threads(hwb_ctx *ctx, int threads);
HWB_API int hwb_threads(const hwb_ctx *ctx);

/* Products of operators with vectors, counted by whoever carries them out. */
HWB_API void hwb_count_products(hwb_ctx *ctx, int64_t n);
HWB_API int64_t hwb_products(const hwb_ctx *ctx); /* so far */

/* State that a higher layer hangs on the context (program caches, backends);
 * `free_fn` runs in hwb_ctx_free, in reverse order of the slots. */
enum { HWB_SLOT_BACKENDS, HWB_SLOT_RESIDENT, HWB_SLOT_EAGER, HWB_SLOT_COMM, HWB_SLOT_COUNT };
HWB_API void hwb_ctx_set_slot(hwb_ctx *ctx, int slot, void *state, void (*free_fn)(void *));
HWB_API void *hwb_ctx_slot(const hwb_ctx *ctx, int slot);

/* ---- memory --------------------------------------------------------------- */

typedef struct hwb_memory_info {
    size_t live, peak; /* host bytes of tensors, arenas and buffers */
    size_t limit;      /* 0 = none */
    size_t device_live, device_peak;
    int64_t allocations; /* so far */
} hwb_memory_info;

HWB_API hwb_memory_info hwb_memory(const hwb_ctx *ctx);
HWB_API void hwb_memory_reset_peak(hwb_ctx *ctx);
HWB_API void hwb_memory_set_limit(hwb_ctx *ctx, size_t bytes); /* HWB_ENOMEM beyond it */

/* Counted allocation, 64-byte aligned, not zeroed; NULL on failure with the
 * message set.  Size 0 gives a valid unique pointer.  Freed big blocks are kept
 * for calls of about their size while the context lives, uncounted.  Debug
 * builds fill fresh memory with NaN patterns; HWB_TEST_FAIL_ALLOC=n fails the
 * n-th call. */
HWB_API void *hwb_alloc(hwb_ctx *ctx, size_t bytes);
HWB_API void *hwb_calloc(hwb_ctx *ctx, size_t bytes);
HWB_API void hwb_free(void *p); /* NULL is accepted; any thread */
/* Bytes held outside hwb_alloc (device memory) enter the account here. */
HWB_API void hwb_memory_count_device(hwb_ctx *ctx, int64_t delta_bytes);

/* a*b with overflow -> false */
static inline bool hwb_mul_size(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

/* ---- interrupts ------------------------------------------------------------ */

HWB_API void hwb_interrupt(void); /* async-signal-safe: ask the engine to stop */
HWB_API void hwb_interrupt_clear(void);
HWB_API bool hwb_interrupted(void);
/* HWB_EINTR with the message "interrupted" when a stop was asked for. */
HWB_API hwb_status hwb_check_interrupt(hwb_ctx *ctx);

/* ---- log ------------------------------------------------------------------- */

typedef enum hwb_log_level { HWB_LOG_DEBUG, HWB_LOG_INFO, HWB_LOG_WARN } hwb_log_level;
typedef void (*hwb_log_fn)(void *user, hwb_log_level level, const char *text);
/* Where messages go; NULL = nowhere (the default). */
HWB_API void hwb_set_log(hwb_log_fn fn, void *user);
HWB_API void hwb_note(hwb_log_level level, const char *fmt, ...) HWB_PRINTF(2, 3);

/* A program that runs code it does not trust is asked before any file is
 * opened; process-wide, NULL = everything may be opened.  `fn` refuses by
 * hwb_fail(ctx, HWB_EPERM, …). */
typedef hwb_status (*hwb_access_fn)(void *user, hwb_ctx *ctx, const char *path, bool write);
HWB_API void hwb_set_access(hwb_access_fn fn, void *user);
HWB_API hwb_status hwb_check_access(hwb_ctx *ctx, const char *path, bool write);
/* One of several processes writes for all: the others' files are made and checked as
 * ever, and go nowhere.  Process-wide, off at first. */
HWB_API void hwb_set_discard(bool on);
HWB_API bool hwb_discards(void);

/* Progress of a long call, shown by the program: `done` of `total` units of
 * `what`, and a short free note ("lambda 141.2 +- 0.3").  total 0 = unknown. */
typedef void (*hwb_progress_fn)(void *user, const char *what, int64_t done, int64_t total,
                                const char *note);
HWB_API void hwb_set_progress(hwb_ctx *ctx, hwb_progress_fn fn, void *user);
HWB_API void hwb_progress(hwb_ctx *ctx, const char *what, int64_t done, int64_t total,
                          const char *note);

/* ---- plug-ins ---------------------------------------------------------------- */

/* Looks for the shared library `file` where plug-ins lie (plugin.c) and hands the
 * address of `symbol` to take, which returns NULL when the plug-in will do, else
 * why not.  HWB_EDEVICE with the reason when none does. */
typedef const char *(*hwb_plugin_take_fn)(void *user, void *symbol);
HWB_API hwb_status hwb_plugin_find(hwb_ctx *ctx, const char *file, const char *symbol,
                                   hwb_plugin_take_fn take, void *user);

/* ---- time ---------------------------------------------------------------------- */

/* Seconds of a monotonic clock. */
HWB_API double hwb_seconds(void);

/* ---- random numbers: Philox4x32-10 (Salmon et al., SC 2011) ------------------ */

/* A stream is (seed, stream id); element i of a stream is a pure function of
 * both and i, so results do not depend on threads, chunks or devices. */
typedef struct hwb_rng {
    uint64_t seed, stream;
} hwb_rng;

/* One block of four 32-bit words: counter (index, stream), key = seed. */
HWB_API void hwb_philox(hwb_rng rng, uint64_t index, uint32_t out[4]);
HWB_API double hwb_rng_uniform(hwb_rng rng, uint64_t i); /* [0,1), 53 bits */
HWB_API double hwb_rng_normal(hwb_rng rng, uint64_t i);  /* N(0,1), Box-Muller on block i/2 */
HWB_API double hwb_rng_sign(hwb_rng rng, uint64_t i);    /* +1 or -1, bit i%128 of block i/128 */
/* out[k] = element first+k of the same, cheaper than one by one */
HWB_API void hwb_rng_uniforms(hwb_rng rng, uint64_t first, int64_t n, double *out);
HWB_API void hwb_rng_normals(hwb_rng rng, uint64_t first, int64_t n, double *out);
HWB_API void hwb_rng_signs(hwb_rng rng, uint64_t first, int64_t n, double *out);
HWB_API uint64_t hwb_rng_below(hwb_rng rng, uint64_t i, uint64_t bound); /* uniform in [0,bound) */
/* Stream id from a purpose and two indices ("augment", epoch, sample). */
HWB_API uint64_t hwb_rng_stream(const char *purpose, uint64_t a, uint64_t b);
/* out[0..n) = a random permutation of 0..n-1 (Fisher-Yates on the stream). */
HWB_API void hwb_rng_permutation(hwb_rng rng, int64_t n, int64_t *out);

#endif
