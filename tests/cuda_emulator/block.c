/*
 * block.c: runs the threads of a block.
 *
 * Threads run one after the other in a loop inside the module.  One that comes
 * to a barrier stays there on its stack and the loop goes on, for the threads
 * left, on a fresh stack (a fiber).  When all have stopped or ended, the barrier
 * opens and each goes on in turn.  Kernels without barriers never switch.
 *
 *   fiber 0: thread 0 ... barrier |  thread 0 goes on ...
 *   fiber 1: thread 1 ... barrier |                       thread 1 goes on ...
 *
 * The order of threads and of blocks is that of $HWB_EMU_ORDER: a result that
 * changes with it has a race.
 */
#include "block_i.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef __x86_64__
#error "the emulator switches stacks in x86-64 assembly"
#endif

enum { STACK = 256 * 1024, SHARED_POISON = 0xFF };

typedef struct fiber {
    void *stack, *sp;
    emu_xyz thread; /* where it stopped */
    int site, votes;
    bool waiting, done;
} fiber;

static fiber fibers[EMU_MAX_THREADS];
static int n_fibers; /* in use by this block */
static fiber *current;
static void *scheduler_sp;
static const emu_module *module;
static const emu_kernel_info *kernel;
static void *const *kernel_args;
static char place[300];
static uint64_t random_state = 88172645463325252u;

/* ---- order --------------------------------------------------------------------------- */

emu_order emu_order_get(void) {
    const char *text = getenv("HWB_EMU_ORDER");
    if (!text || strcmp(text, "forward") == 0) return EMU_FORWARD;
    if (strcmp(text, "reverse") == 0) return EMU_REVERSE;
    if (strcmp(text, "random") == 0) return EMU_RANDOM;
    emu_fatal("HWB_EMU_ORDER is \"%s\": forward, reverse or random", text);
}

uint32_t emu_random(uint32_t below) { /* xorshift64 */
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 32) * below >> 32);
}

/* ---- switching stacks ------------------------------------------------------------------ */

/* Saves the callee-saved registers on this stack, its pointer in *from, and goes
 * on from `to`. */
void emu_switch(void **from, void *to);
__asm__(".text\n"
        ".hidden emu_switch\n"
        ".type emu_switch, @function\n"
        "emu_switch:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  ret\n"
        ".size emu_switch, .-emu_switch\n");

static void fiber_main(void) {
    kernel->run(kernel_args);
    current->done = true;
    emu_switch(&current->sp, scheduler_sp);
    abort(); /* a finished fiber is never resumed */
}

static void fiber_prepare(fiber *f) {
    if (!f->stack) {
        f->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
        if (f->stack == MAP_FAILED || mprotect(f->stack, 4096, PROT_NONE) != 0)
            emu_fatal("no memory for a stack");
    }
    void **top = (void **)((char *)f->stack + STACK);
    *--top = NULL;                           /* keeps the stack 16-aligned at entry */
    *--top = (void *)(uintptr_t)&fiber_main; /* where emu_switch returns to */
    for (int i = 0; i < 6; i++) *--top = NULL;
    f->sp = top;
    f->waiting = f->done = false;
}

static void resume(fiber *f) {
    current = f;
    if (f->waiting) module->state->thread = f->thread;
    f->waiting = false;
    emu_switch(&scheduler_sp, f->sp);
}

/* ---- what kernels call -------------------------------------------------------------------- */

static const char *where(void) {
    const emu_block_state *s = module->state;
    snprintf(place, sizeof place, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u)", kernel->name,
             s->block.x, s->block.y, s->block.z, s->thread.x, s->thread.y, s->thread.z);
    return place;
}

static int barrier(int site, int vote) {
    fiber *f = current;
    f->thread = module->state->thread;
    f->site = site;
    f->votes = vote;
    f->waiting = true;
    emu_switch(&f->sp, scheduler_sp);
    return f->votes;
}

static void die(const char *what) {
    emu_fatal("%s: %s", where(), what);
}

static const emu_hooks the_hooks = {barrier, die};

const char *emu_block_where(void) {
    return kernel ? where() : NULL;
}

/* ---- one block ------------------------------------------------------------------------------ */

/* All that have not ended stand at one barrier: lets them go. */
static void open_barrier(void) {
    int votes = 0, site = -1;
    for (int i = 0; i < n_fibers; i++) {
        if (fibers[i].done) continue;
        if (site < 0) site = fibers[i].site;
        if (fibers[i].site != site)
            emu_fatal("%s: threads of one block wait at different barriers", where());
        votes += fibers[i].votes;
    }
    for (int i = 0; i < n_fibers; i++) fibers[i].votes = votes;
}

static void run_threads(void) {
    emu_block_state *s = module->state;
    n_fibers = 0;
    s->cursor = 0;
    while (s->cursor < s->total) {
        fiber *f = &fibers[n_fibers++];
        fiber_prepare(f);
        resume(f);
    }
    for (;;) {
        bool waiting = false;
        for (int i = 0; i < n_fibers; i++) waiting = waiting || !fibers[i].done;
        if (!waiting) return;
        open_barrier();
        for (int i = 0; i < n_fibers; i++)
            if (!fibers[i].done) resume(&fibers[i]);
    }
}

static void poison(void) {
    size_t n = (size_t)(module->shared_hi - module->shared_lo);
    if (n) memset(module->shared_lo, SHARED_POISON, n);
}

/* ---- one launch ------------------------------------------------------------------------------- */

static void fill_order(emu_xyz *order, emu_xyz dim, emu_order how) {
    unsigned n = 0;
    for (unsigned z = 0; z < dim.z; z++)
        for (unsigned y = 0; y < dim.y; y++)
            for (unsigned x = 0; x < dim.x; x++) order[n++] = (emu_xyz){x, y, z};
    for (unsigned i = 0; i < n; i++) {
        unsigned j = how == EMU_RANDOM ? i + emu_random(n - i) : n - 1 - i;
        if (how == EMU_FORWARD || (how == EMU_REVERSE && j <= i)) break;
        emu_xyz t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
}

static void run_blocks(emu_xyz grid, emu_order how) {
    uint64_t n = (uint64_t)grid.x * grid.y * grid.z;
    uint64_t step = 1, start = 0; /* random: a walk by a step without common factor */
    if (how == EMU_RANDOM && n > 2 && n < UINT32_MAX) {
        start = emu_random((uint32_t)n);
        for (step = n / 2 + emu_random((uint32_t)(n / 2)); step > 1; step--) {
            uint64_t a = step, b = n;
            while (b) {
                uint64_t r = a % b;
                a = b;
                b = r;
            }
            if (a == 1) break;
        }
    }
    for (uint64_t i = 0; i < n; i++) {
        uint64_t at = how == EMU_REVERSE ? n - 1 - i : (start + i * step) % n;
        module->state->block = (emu_xyz){(unsigned)(at % grid.x), (unsigned)(at / grid.x % grid.y),
                                         (unsigned)(at / grid.x / grid.y)};
        poison();
        run_threads();
    }
}

static void run_in_order(const emu_launch *l, emu_order how) {
    static emu_xyz order[EMU_MAX_THREADS];
    emu_block_state *s = module->state;
    s->block_dim = l->block;
    s->grid_dim = l->grid;
    s->total = l->block.x * l->block.y * l->block.z;
    s->order = order;
    fill_order(order, l->block, how);
    run_blocks(l->grid, how);
}

/* $HWB_EMU_RACES=1: every launch runs forward, then again backward from the same
 * memory; both must leave the same bytes. */
static bool check_races(void) {
    const char *text = getenv("HWB_EMU_RACES");
    return text && strcmp(text, "1") == 0;
}

static void run_twice(const emu_launch *l) {
    emu_snapshot *before = emu_snapshot_new(l->args, l->bytes);
    run_in_order(l, EMU_FORWARD);
    emu_snapshot *after = emu_snapshot_new(l->args, l->bytes);
    emu_snapshot_restore(before);
    run_in_order(l, EMU_REVERSE);
    const char *at = emu_snapshot_differs(after);
    if (at)
        emu_fatal("kernel %s, grid (%u,%u,%u): the byte at %p depends on the order of its threads",
                  kernel->name, l->grid.x, l->grid.y, l->grid.z, (const void *)at);
    emu_snapshot_free(before);
    emu_snapshot_free(after);
}

void emu_launch_run(const emu_launch *l, const emu_module *m, const emu_kernel_info *k,
                    void *const *args) {
    module = m;
    kernel = k;
    kernel_args = args;
    *m->hooks = &the_hooks;
    if (check_races()) run_twice(l);
    else run_in_order(l, emu_order_get());
    kernel = NULL;
}
