/*
 * memory.c: device memory.
 *
 *   arena, 1 TiB of addresses:
 *   | PROT_NONE | slack | block, poisoned | round to 256 | PROT_NONE | ...
 *                 0xCB    0xFF = NaN, -1     0xCB
 *
 * Each block ends at a page, so that a read behind its 256-byte granule traps;
 * nearer misses change a guard byte.  A freed block's pages are given back and
 * stay PROT_NONE; its addresses are never used again.  All blocks are PROT_NONE
 * while nothing executes.
 */
#define _GNU_SOURCE
#include "block_i.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, GRANULE = 256, GUARD_BYTE = 0xCB, POISON_BYTE = 0xFF };
static const size_t arena_bytes = (size_t)1 << 40;

typedef struct block {
    char *map, *p;      /* first page, first byte */
    size_t span, bytes; /* of the mapping; asked for */
    bool live;
} block;

static char *arena, *arena_next;
static block *blocks; /* by rising address: the arena only grows */
static size_t n_blocks, room, live_count;
static size_t used, limit; /* bytes */
static int open_count;
static bool closed = true;

static size_t round_up(size_t n, size_t to) {
    return (n + to - 1) / to * to;
}

/* ---- traps ---------------------------------------------------------------------- */

static struct sigaction old_action[2];

static const block *block_of(const void *p) {
    const char *at = p;
    size_t lo = 0, hi = n_blocks;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (blocks[mid].map + blocks[mid].span + PAGE <= at) lo = mid + 1;
        else hi = mid;
    }
    return lo < n_blocks && at >= blocks[lo].map ? &blocks[lo] : NULL;
}

/* No lock and no allocation here: it runs in a signal handler. */
static void describe(char *text, size_t size, const void *p) {
    const block *b = block_of(p);
    if (!b) {
        snprintf(text, size, "%p, no block's", p);
        return;
    }
    snprintf(text, size, "%p, byte %td of a block of %zu bytes%s", p, (const char *)p - b->p,
             b->bytes, b->live ? "" : " that was freed");
}

static void on_trap(int number, siginfo_t *info, void *context) {
    char where[200], text[500];
    const char *running = emu_block_where() ? emu_block_where() : emu_running();
    if (number == SIGSEGV && emu_memory_on_device(info->si_addr)) {
        describe(where, sizeof where, info->si_addr);
        int n = running
                    ? snprintf(text, sizeof text, "hwb emulator: %s touched %s\n", running, where)
                    : snprintf(text, sizeof text,
                               "hwb emulator: host code touched device memory: %s\n", where);
        if (write(2, text, (size_t)n) != n) _exit(99);
    } else if (running) {
        int n = snprintf(text, sizeof text, "hwb emulator: %s: %s at address %p\n", running,
                         number == SIGILL ? "index out of bounds, misaligned access or overflow"
                                          : "bad address",
                         number == SIGILL ? NULL : info->si_addr);
        if (write(2, text, (size_t)n) != n) _exit(99);
    } else {
        const struct sigaction *old = &old_action[number == SIGILL];
        if (old->sa_flags & SA_SIGINFO) {
            old->sa_sigaction(number, info, context);
            return;
        }
    }
    signal(SIGABRT, SIG_DFL); /* a test framework's handler would go on */
    abort();
}

/* Again before every execution: test frameworks put theirs in between. */
static void catch_traps(void) {
    static const int signals[] = {SIGSEGV, SIGILL};
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_trap;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    for (int i = 0; i < 2; i++)
        if (sigaction(signals[i], &action, &old) == 0 && old.sa_sigaction != on_trap)
            old_action[i] = old;
}

static void arena_open(void) {
    if (arena) return;
    arena = mmap(NULL, arena_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena == MAP_FAILED) emu_fatal("cannot reserve addresses");
    arena_next = arena + PAGE;
    const char *mib = getenv("HWB_EMU_MEMORY_MIB");
    limit = (mib ? (size_t)atoll(mib) : 4096) << 20;
}

bool emu_memory_on_device(const void *p) {
    return arena && (const char *)p >= arena && (const char *)p < arena + arena_bytes;
}

/* ---- blocks ----------------------------------------------------------------------- */

static void protect(const block *b, int how) {
    if (mprotect(b->map, b->span, how) != 0) emu_fatal("mprotect: out of mappings");
}

static void protect_all(int how) {
    for (size_t i = 0; i < n_blocks; i++)
        if (blocks[i].live) protect(&blocks[i], how);
}

static bool all_bytes(const char *p, const char *end, int byte) {
    for (; p < end; p++)
        if ((unsigned char)*p != byte) return false;
    return true;
}

static void check_guards(const block *b) {
    if (emu_dry()) return;
    if (!all_bytes(b->map, b->p, GUARD_BYTE))
        emu_fatal("the bytes before a block of %zu bytes were written; last ran: %s", b->bytes,
                  emu_running() ? emu_running() : "nothing");
    if (!all_bytes(b->p + b->bytes, b->map + b->span, GUARD_BYTE))
        emu_fatal("the bytes behind a block of %zu bytes were written; last ran: %s", b->bytes,
                  emu_running() ? emu_running() : "nothing");
}

/* Memory is closed again at every $HWB_EMU_GUARD-th close, 1 by default: with many
 * blocks the closing takes longer than the work. */
static bool close_now(void) {
    static unsigned count;
    const char *every = getenv("HWB_EMU_GUARD");
    return !every || atoi(every) < 2 || ++count % (unsigned)atoi(every) == 0;
}

void emu_memory_open(void) {
    if (open_count++ > 0 || !closed) return;
    catch_traps();
    protect_all(PROT_READ | PROT_WRITE);
    closed = false;
}

void emu_memory_close(void) {
    if (--open_count > 0 || !close_now()) return;
    for (size_t i = 0; i < n_blocks; i++)
        if (blocks[i].live) check_guards(&blocks[i]);
    protect_all(PROT_NONE);
    closed = true;
}

static block *block_add(void) {
    if (n_blocks == room) {
        room = room ? 2 * room : 256;
        blocks = realloc(blocks, room * sizeof *blocks);
        if (!blocks) emu_fatal("no memory for the list of blocks");
    }
    return &blocks[n_blocks++];
}

cudaError_t emu_memory_new(void **out, size_t bytes) {
    arena_open();
    *out = NULL;
    if (bytes == 0) return cudaSuccess;
    if (emu_fail_now() || bytes > limit || used + bytes > limit) return cudaErrorMemoryAllocation;
    size_t rounded = round_up(bytes, GRANULE);
    block b = {.map = arena_next, .span = round_up(rounded, PAGE), .bytes = bytes, .live = true};
    if ((size_t)(arena + arena_bytes - arena_next) < b.span + PAGE) emu_fatal("addresses used up");
    arena_next += b.span + PAGE;
    b.p = b.map + b.span - rounded;
    protect(&b, PROT_READ | PROT_WRITE);
    madvise(b.map, b.span, MADV_HUGEPAGE); /* fewer entries to change at each open and close */
    if (!emu_dry()) {
        memset(b.map, GUARD_BYTE, (size_t)(b.p - b.map));
        memset(b.p, POISON_BYTE, bytes);
        memset(b.p + bytes, GUARD_BYTE, rounded - bytes);
    }
    if (closed) protect(&b, PROT_NONE);
    *block_add() = b;
    used += bytes;
    live_count++;
    *out = b.p;
    return cudaSuccess;
}

cudaError_t emu_memory_free(void *p) {
    if (!p) return cudaSuccess;
    block *b = emu_memory_on_device(p) ? (block *)(uintptr_t)block_of(p) : NULL;
    if (!b || b->p != p || !b->live) return cudaErrorInvalidValue;
    protect(b, PROT_READ);
    check_guards(b);
    b->live = false;
    used -= b->bytes;
    live_count--;
    protect(b, PROT_NONE);
    madvise(b->map, b->span, MADV_DONTNEED);
    return cudaSuccess;
}

void emu_memory_info(size_t *free_bytes, size_t *total) {
    arena_open();
    *free_bytes = limit - used;
    *total = limit;
}

size_t emu_memory_live(void) {
    return live_count;
}

bool emu_memory_valid(const void *p, size_t bytes) {
    if (!emu_memory_on_device(p)) return false;
    const block *b = block_of(p);
    const char *at = p;
    return b && b->live && at >= b->p && at <= b->p + b->bytes &&
           bytes <= (size_t)(b->p + b->bytes - at);
}

void emu_memory_check(const void *p, size_t bytes, const char *what) {
    char where[200];
    if (bytes == 0 || emu_memory_valid(p, bytes) || emu_memory_pinned(p, bytes)) return;
    if (!emu_memory_on_device(p))
        emu_fatal("%s: %p is a host address, %zu bytes of device memory are wanted", what, p,
                  bytes);
    describe(where, sizeof where, p);
    emu_fatal("%s: %zu bytes are wanted at %s", what, bytes, where);
}

/* ---- pinned host memory --------------------------------------------------------------- */

typedef struct pinned {
    struct pinned *next;
    char *p;
    size_t bytes;
} pinned;

static pinned *pinned_list;

cudaError_t emu_pinned_new(void **out, size_t bytes) {
    pinned *e = malloc(sizeof *e);
    *out = NULL;
    if (!e || emu_fail_now() || posix_memalign(out, PAGE, round_up(bytes ? bytes : 1, PAGE)) != 0) {
        free(e);
        return cudaErrorMemoryAllocation;
    }
    memset(*out, emu_dry() ? 0 : POISON_BYTE, bytes);
    *e = (pinned){pinned_list, *out, bytes};
    pinned_list = e;
    return cudaSuccess;
}

cudaError_t emu_pinned_free(void *p) {
    for (pinned **at = &pinned_list; *at; at = &(*at)->next) {
        pinned *e = *at;
        if (e->p != p) continue;
        *at = e->next;
        memset(e->p, POISON_BYTE, e->bytes);
        free(e->p);
        free(e);
        return cudaSuccess;
    }
    return p ? cudaErrorInvalidValue : cudaSuccess;
}

bool emu_memory_pinned(const void *p, size_t bytes) {
    for (const pinned *e = pinned_list; e; e = e->next)
        if ((const char *)p >= e->p && (const char *)p + bytes <= e->p + e->bytes) return true;
    return false;
}

/* ---- snapshots --------------------------------------------------------------------------- */

struct emu_snapshot {
    size_t n;
    char **copy; /* one a block; NULL for those that are not in it */
};

emu_snapshot *emu_snapshot_new(const void *args, size_t bytes) {
    emu_snapshot *s = calloc(1, sizeof *s);
    if (!s || !(s->copy = calloc(n_blocks + 1, sizeof *s->copy))) emu_fatal("no memory");
    s->n = n_blocks;
    for (size_t at = 0; at + sizeof(void *) <= bytes; at += sizeof(void *)) {
        const void *p;
        memcpy(&p, (const char *)args + at, sizeof p);
        const block *b = emu_memory_on_device(p) ? block_of(p) : NULL;
        if (!b || !b->live || s->copy[b - blocks]) continue;
        char *copy = s->copy[b - blocks] = malloc(b->bytes);
        if (!copy) emu_fatal("no memory for a snapshot");
        memcpy(copy, b->p, b->bytes);
    }
    return s;
}

void emu_snapshot_restore(const emu_snapshot *s) {
    for (size_t i = 0; i < s->n; i++)
        if (s->copy[i]) memcpy(blocks[i].p, s->copy[i], blocks[i].bytes);
}

const char *emu_snapshot_differs(const emu_snapshot *s) {
    for (size_t i = 0; i < s->n; i++) {
        if (!s->copy[i] || memcmp(blocks[i].p, s->copy[i], blocks[i].bytes) == 0) continue;
        size_t at = 0;
        while (blocks[i].p[at] == s->copy[i][at]) at++;
        return blocks[i].p + at;
    }
    return NULL;
}

void emu_snapshot_free(emu_snapshot *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n; i++) free(s->copy[i]);
    free(s->copy);
    free(s);
}
