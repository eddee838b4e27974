/*
 * replay.c: running a stage.
 *
 * Backends that can record (backend.h, capture_*) get each stage recorded at its
 * second run and replayed from the third on: one call in place of hundreds, which
 * is what a small network on a fast device waits for.  A recording holds pointers,
 * so it is dropped whenever one of them may change; packed copies of inputs that
 * an earlier stage made are brought up to date before a replay, outside of it.
 */
#include "exec/exec_i.h"

static bool can_record(const hwb_program *p) {
    const hwb_backend *b = p->device->backend;
    return b->capture_begin && b->capture_end && b->capture_run && b->capture_free && !p->plain &&
           !p->time_kernels;
}

void hwb__drop_captures(hwb_program *p) {
    for (int s = 0; s < HWB_ROLE_COUNT; s++) {
        if (p->capture[s]) p->device->backend->capture_free(p->device->state, p->capture[s]);
        p->capture[s] = NULL;
        p->warm[s] = false;
    }
}

static hwb_status run_steps(hwb_ctx *ctx, hwb_program *p, int stage, bool interruptible) {
    for (int k = 0; k < p->plan->n_steps; k++) {
        if (p->plan->steps[k].stage != stage) continue;
        if (interruptible) HWB_TRY(hwb_check_interrupt(ctx));
        HWB_TRY(hwb__run_step(ctx, p, k));
    }
    return HWB_OK;
}

static hwb_status refresh(hwb_ctx *ctx, hwb_program *p, int stage) {
    const hwb_backend *b = p->device->backend;
    for (int k = 0; b->refresh && k < p->plan->n_steps; k++) {
        hwb__kernel_slot *s = &p->slots[k];
        if (p->plan->steps[k].stage == stage && p->plan->steps[k].stable)
            HWB_TRY(b->refresh(ctx, p->device->state, s->kernel, s->in, s->versions));
    }
    return HWB_OK;
}

/* A device that cannot record this stage runs it plainly from now on. */
static hwb_status record(hwb_ctx *ctx, hwb_program *p, int stage) {
    const hwb_backend *b = p->device->backend;
    hwb_status st = b->capture_begin(ctx, p->device->state);
    if (st == HWB_OK) {
        st = run_steps(ctx, p, stage, false);
        hwb_status end = b->capture_end(ctx, p->device->state, &p->capture[stage]);
        if (st == HWB_OK) st = end;
    }
    if (st == HWB_OK) return HWB_OK;
    hwb__drop_captures(p);
    p->plain = true;
    return run_steps(ctx, p, stage, true);
}

hwb_status hwb__run_stage(hwb_ctx *ctx, hwb_program *p, int stage) {
    HWB_TRY(hwb_check_interrupt(ctx));
    if (!can_record(p) || !p->warm[stage]) {
        HWB_TRY(run_steps(ctx, p, stage, true));
        p->warm[stage] = true;
        return HWB_OK;
    }
    HWB_TRY(refresh(ctx, p, stage));
    if (!p->capture[stage]) HWB_TRY(record(ctx, p, stage));
    if (!p->capture[stage]) return HWB_OK; /* ran plainly */
    return p->device->backend->capture_run(ctx, p->device->state, p->capture[stage]);
}
