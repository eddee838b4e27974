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
    for (int s = 0; s < p->n_stages; s++) {
        hwb__stage *stage = &p->stages[s];
        if (stage->capture) p->device->backend->capture_free(p->device->state, stage->capture);
        stage->capture = NULL;
        stage->warm = false;
    }
}

static hwb_status run_steps(hwb_ctx *ctx, hwb_program *p, const hwb__stage *stage,
                            bool interruptible) {
    for (int k = stage->first; k < stage->end; k++) {
        if (interruptible) HWB_TRY(hwb_check_interrupt(ctx));
        HWB_TRY(hwb__run_step(ctx, p, k));
    }
    return HWB_OK;
}

static hwb_status refresh(hwb_ctx *ctx, hwb_program *p, const hwb__stage *stage) {
    const hwb_backend *b = p->device->backend;
    for (int k = stage->first; b->refresh && k < stage->end; k++) {
        hwb__kernel_slot *s = &p->slots[k];
        if (p->plan->steps[k].stable)
            HWB_TRY(b->refresh(ctx, p->device->state, s->kernel, s->in, s->versions));
    }
    return HWB_OK;
}

/* A device that cannot record this stage runs it plainly from now on. */
static hwb_status record(hwb_ctx *ctx, hwb_program *p, hwb__stage *stage) {
    const hwb_backend *b = p->device->backend;
    hwb_status st = b->capture_begin(ctx, p->device->state);
    if (st == HWB_OK) {
        st = run_steps(ctx, p, stage, false);
        hwb_status end = b->capture_end(ctx, p->device->state, &stage->capture);
        if (st == HWB_OK) st = end;
    }
    if (st == HWB_OK) return HWB_OK;
    hwb__drop_captures(p);
    p->plain = true;
    return run_steps(ctx, p, stage, true);
}

hwb_status hwb__run_stage(hwb_ctx *ctx, hwb_program *p, int index) {
    hwb__stage *stage = &p->stages[index];
    HWB_TRY(hwb_check_interrupt(ctx));
    if (!can_record(p) || !stage->warm || hwb__stage_exchanges(p, index)) {
        HWB_TRY(run_steps(ctx, p, stage, true));
        stage->warm = true;
        return HWB_OK;
    }
    HWB_TRY(refresh(ctx, p, stage));
    if (!stage->capture) HWB_TRY(record(ctx, p, stage));
    if (!stage->capture) return HWB_OK; /* ran plainly */
    return p->device->backend->capture_run(ctx, p->device->state, stage->capture);
}
