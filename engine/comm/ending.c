/*
 * ending.c: how ranks end together.
 *
 * Every rank that ends, well or badly, sends one notice to all others.  Whoever
 * waits in an exchange looks for notices: a failure ends the wait with that
 * rank's status and message.  So the failure of one becomes the failure of all
 * within the time to their next exchange, each unwinds in order (rank 0 writes
 * its records), and whoever does not answer in time is killed by the transport.
 */
#include "comm/comm_i.h"

#include <stdio.h>
#include <string.h>

/* Seconds for a last message that is on its way when its sender has ended. */
static const double IN_FLIGHT = 2;

typedef struct notice {
    int32_t status, exit_code, passed;
    char message[sizeof((hwb_comm_fate *)0)->message];
} notice;

/* One notice, if there is one: *from is its rank, -1 = none. */
static hwb_status take_notice(hwb_ctx *ctx, hwb__comm *c, int *from) {
    char why[HWB_TRANSPORT_TEXT] = "";
    notice got = {0};
    _Static_assert(sizeof got <= HWB_TRANSPORT_NOTICE, "a notice fits its buffer");
    char bytes[HWB_TRANSPORT_NOTICE] = {0};
    if (c->transport->noticed(c->state, from, bytes, why) != 0)
        return hwb_fail(ctx, HWB_EPEER, "communication between the ranks failed: %s", why);
    if (*from < 0) return HWB_OK;
    memcpy(&got, bytes, sizeof got);
    hwb_comm_fate *f = &c->fates[*from];
    *f = (hwb_comm_fate){.known = true,
                         .passed = got.passed != 0,
                         .exit_code = got.exit_code,
                         .status = (hwb_status)got.status};
    memcpy(f->message, got.message, sizeof f->message);
    f->message[sizeof f->message - 1] = 0;
    return HWB_OK;
}

hwb_status hwb__comm_notices(hwb_ctx *ctx, hwb__comm *c) {
    for (int from = 0; from >= 0;) {
        HWB_TRY(take_notice(ctx, c, &from));
        if (from < 0) break;
        if (c->fates[from].exit_code == 0 && c->early == 0) c->early = hwb_seconds();
    }
    for (int r = 0; r < c->place.size; r++) {
        const hwb_comm_fate *f = &c->fates[r];
        if (r == c->place.rank || !f->known || f->exit_code == 0) continue;
        c->failed = f->exit_code;
        /* what a rank was told by another one has its rank in front already */
        if (f->passed) return hwb_fail(ctx, f->status, "%s", f->message);
        return hwb_fail(ctx, f->status, "rank %d: %s", r, f->message);
    }
    if (c->early == 0 || hwb_seconds() - c->early < IN_FLIGHT) return HWB_OK;
    for (int r = 0; r < c->place.size; r++)
        if (c->fates[r].known && r != c->place.rank)
            return hwb_fail(ctx, HWB_EPEER, "rank %d has ended, and rank %d still waits for it", r,
                            c->place.rank);
    return HWB_OK;
}

static bool all_known(const hwb__comm *c, bool *failed) {
    bool all = true;
    for (int r = 0; r < c->place.size; r++) {
        all = all && c->fates[r].known;
        *failed = *failed || (c->fates[r].known && c->fates[r].exit_code != 0);
    }
    return all;
}

/* Until all have said how they ended; with a failure among them, `patience` at most. */
static void wait_for_all(hwb_ctx *ctx, hwb__comm *c, double patience) {
    double since = 0;
    for (int64_t tries = 0;; tries++) {
        int from = -1;
        bool failed = false;
        if (take_notice(ctx, c, &from) != HWB_OK) return;
        if (from >= 0) continue;
        if (all_known(c, &failed)) return;
        if (failed && since == 0) since = hwb_seconds();
        if (since > 0 && hwb_seconds() - since > patience) return;
        if (!failed && hwb_interrupted()) return;
        hwb__comm_pause(tries);
    }
}

void hwb_comm_end(hwb_ctx *ctx, const hwb_comm_fate *mine, double patience, hwb_comm_fate *fates) {
    hwb__comm *c = hwb__comm_of(ctx);
    char why[HWB_TRANSPORT_TEXT] = "";
    if (!c) {
        fates[0] = *mine;
        fates[0].known = true;
        return;
    }
    notice n = {(int32_t)mine->status, mine->exit_code, mine->passed, {0}};
    memcpy(n.message, mine->message, sizeof n.message);
    if (!c->ended) {
        c->ended = true;
        c->fates[c->place.rank] = *mine;
        c->fates[c->place.rank].known = true;
        if (c->transport->notify(c->state, &n, sizeof n, why) == 0) wait_for_all(ctx, c, patience);
    }
    memcpy(fates, c->fates, (size_t)c->place.size * sizeof *fates);
}
