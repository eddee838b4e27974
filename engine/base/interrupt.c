/*
 * interrupt.c: the flag behind Ctrl-C.  A lock-free atomic may be set inside a
 * signal handler (C11 7.14.1.1); everybody else polls it between ops and
 * between solver iterations.
 */
#include "base/base.h"

#include <stdatomic.h>

_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "the interrupt flag is set from signal handlers");

static atomic_int interrupted;

void hwb_interrupt(void) {
    atomic_store(&interrupted, 1);
}

void hwb_interrupt_clear(void) {
    atomic_store(&interrupted, 0);
}

bool hwb_interrupted(void) {
    return atomic_load_explicit(&interrupted, memory_order_relaxed) != 0;
}

hwb_status hwb_check_interrupt(hwb_ctx *ctx) {
    if (!hwb_interrupted()) return HWB_OK;
    return hwb_fail(ctx, HWB_EINTR, "interrupted");
}
