/*
 * emu.h: the emulator's core, which lives in the libcudart stand-in and serves
 * the other stand-ins (cuBLAS, cuDNN, NCCL).
 *
 * Time.  Nothing that is ordered by a stream runs when it is called: it is
 * queued, with its arguments copied, and runs when somebody waits for it.  So
 * a result read too early, an argument changed too early and a missing
 * dependency between streams show as wrong numbers every time.
 *
 * Space.  Device memory is inaccessible (PROT_NONE) except while queued work
 * runs: host code that dereferences a device pointer stops with a message.
 *
 * What a device would answer with a documented error gives that error; what
 * would be undefined on a device stops the process with one line on stderr.
 */
#ifndef HWB_EMU_H
#define HWB_EMU_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EMU_API __attribute__((visibility("default")))

/* ---- misuse ------------------------------------------------------------------ */

/* One line on stderr, then abort. */
EMU_API __attribute__((noreturn, format(printf, 1, 2))) void emu_fatal(const char *format, ...);

/* ---- one lock around everything; recursive -------------------------------------- */
EMU_API void emu_lock(void);
EMU_API void emu_unlock(void);

/* ---- memory (memory.c) ------------------------------------------------------------ */
cudaError_t emu_memory_new(void **out, size_t bytes);
cudaError_t emu_memory_free(void *p); /* poisons; the addresses are never used again */
void emu_memory_info(size_t *free_bytes, size_t *total);
bool emu_memory_on_device(const void *p); /* in the device's address range, live or not */
void emu_memory_open(void);               /* nests: device memory becomes accessible */
void emu_memory_close(void);              /* ... and guards are checked, at the outermost */
size_t emu_memory_live(void);             /* blocks not freed */
cudaError_t emu_pinned_new(void **out, size_t bytes);
cudaError_t emu_pinned_free(void *p);
bool emu_memory_pinned(const void *p, size_t bytes);
/* Ends the process unless [p, p+bytes) lies in one live block. */
EMU_API void emu_memory_check(const void *p, size_t bytes, const char *what);
/* The same, without ending: for arguments a library would refuse. */
bool emu_memory_valid(const void *p, size_t bytes);

/* Copy of every block that a kernel's arguments point to, for running it twice (block.c). */
typedef struct emu_snapshot emu_snapshot;
emu_snapshot *emu_snapshot_new(const void *args, size_t bytes);
void emu_snapshot_restore(const emu_snapshot *s);
/* First byte that differs from memory now; NULL when equal. */
const char *emu_snapshot_differs(const emu_snapshot *s);
void emu_snapshot_free(emu_snapshot *s);

/* ---- streams (stream.c) -------------------------------------------------------------- */

typedef void (*emu_run)(void *args); /* executes; device memory is open */

/* Queues run(copy of args) on the stream, or adds it to the graph being
 * captured there.  Arguments are plain data. */
EMU_API cudaError_t emu_enqueue(cudaStream_t stream, const char *what, emu_run run,
                                const void *args, size_t bytes);
/* The same for what depends on other processes: tried until it returns true. */
typedef bool (*emu_attempt)(void *args);
EMU_API cudaError_t emu_enqueue_attempts(cudaStream_t stream, const char *what, emu_attempt attempt,
                                         const void *args, size_t bytes);
/* Runs all that the stream has, and what it depends on. */
EMU_API cudaError_t emu_stream_finish(cudaStream_t stream);
cudaError_t emu_finish_all(void);
EMU_API bool emu_capturing(cudaStream_t stream);
/* A call that allocates, frees or waits: refused (and the capture spoiled)
 * while a capture that forbids it is under way. */
EMU_API cudaError_t emu_unsafe_call(void);
/* $HWB_EMU_DRY=1: copies are made, nothing else is executed, memory reads as zeros. */
bool emu_dry(void);
const char *emu_running(void); /* what runs now, for messages; NULL between */
size_t emu_streams_live(void);

/* ---- order of execution (block.c) ---------------------------------------------------- */

typedef enum emu_order { EMU_FORWARD, EMU_REVERSE, EMU_RANDOM } emu_order;
emu_order emu_order_get(void); /* $HWB_EMU_ORDER: forward (default), reverse, random */
EMU_API uint32_t emu_random(uint32_t below);

/* ---- the emulated device ---------------------------------------------------------------- */
EMU_API int emu_capability(void);             /* $HWB_EMU_SM, 90 by default */
EMU_API cudaError_t emu_error(cudaError_t e); /* remembers it for cudaGetLastError */
/* From operation number $HWB_EMU_BREAK on the device is broken, as by an access out of bounds:
 * every call says so, and none does anything more. */
EMU_API bool emu_broken(bool counts);
/* An error that nobody has fetched: a library that looks for one after its launches takes
 * it for its own. */
EMU_API bool emu_error_pending(void);
/* True at the call numbered $HWB_EMU_FAIL (counted from 1) of those that can
 * fail for want of memory: tests that every path frees. */
EMU_API bool emu_fail_now(void);
/* A handle's memory is never given back, so that a later use is noticed; here it stays
 * reachable, which leak checkers want. */
EMU_API void emu_keep(void *p);
/* Live handles of the other libraries, for the report at exit. */
EMU_API void emu_handle_count(const char *kind, int change);

#endif
