/*
 * run.c: running a program: feed the leaves, rerun the stages whose inputs
 * changed, hand out the results.
 */
#include "exec/exec_i.h"

#include <stdlib.h>
#include <string.h>

static bool on_host(const hwb_program *p) {
    return p->device->backend->host;
}

/* ---- inputs ---------------------------------------------------------------------- */

hwb_status hwb_program_set(hwb_ctx *ctx, hwb_program *p, hwb_id input, hwb_tensor *t) {
    if (input < 0 || input >= p->n_external)
        return hwb_fail(ctx, HWB_EARG, "node %d is no input of this program", input);
    int leaf = p->external[input];
    if (leaf < 0) return HWB_OK; /* not needed by the outputs */
    hwb__feed *f = &p->feeds[leaf];
    const hwb_vdesc *d = &p->plan->values[p->plan->leaves[leaf].value].desc;
    char want[HWB_SHAPE_TEXT], got[HWB_SHAPE_TEXT];
    if (hwb_tensor_dtype(t) != d->dtype || !hwb_shape_equal(hwb_tensor_shape(t), &d->shape))
        return hwb_fail(ctx, HWB_ESHAPE, "input \"%s\" is %s %s, the program wants %s %s", f->name,
                        hwb_dtype_name(hwb_tensor_dtype(t)),
                        hwb_shape_text(hwb_tensor_shape(t), got), hwb_dtype_name(d->dtype),
                        hwb_shape_text(&d->shape, want));
    f->there = false;
    if (f->given != t) {
        hwb_tensor_retain(t);
        hwb_tensor_release(f->given);
        hwb_tensor_release(f->dense);
        f->given = t;
        f->dense = NULL;
    }
    return HWB_OK;
}

void hwb_program_unset(hwb_program *p, hwb_id input) {
    int leaf = input >= 0 && input < p->n_external ? p->external[input] : -1;
    if (leaf < 0) return;
    hwb__feed *f = &p->feeds[leaf];
    hwb_tensor_release(f->given);
    hwb_tensor_release(f->dense);
    f->given = f->dense = NULL;
    f->there = false;
}

hwb_status hwb__program_set_there(hwb_ctx *ctx, hwb_program *p, hwb_id input, const void *data) {
    int leaf = input >= 0 && input < p->n_external ? p->external[input] : -1;
    if (leaf < 0) return HWB_OK; /* not needed by the outputs */
    hwb__feed *f = &p->feeds[leaf];
    if (on_host(p) || f->role < HWB_ROLE_TANGENT)
        return hwb_fail(ctx, HWB_EARG, "input \"%s\" is no tangent on a device", f->name);
    const hwb_vdesc *d = &p->plan->values[p->plan->leaves[leaf].value].desc;
    hwb_program_unset(p, input);
    return hwb__feed_copy(ctx, p, f, data,
                          (size_t)hwb_shape_numel(&d->shape) * hwb_dtype_size(d->dtype));
}

hwb_device *hwb__program_device(const hwb_program *p) {
    return p->device;
}

/* Class numbers must name classes of the output. */
static hwb_status check_classes(hwb_ctx *ctx, const hwb__feed *f) {
    int64_t n = f->classes ? hwb_tensor_numel(f->dense) : 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t c = hwb_tensor_get_int(f->dense, i) + f->class_shift;
        if (c < 0 || c >= f->classes)
            return hwb_fail(ctx, HWB_EARG,
                            "\"%s\": element %lld is class %lld, the output has classes 1..%lld "
                            "(all counted from 1)",
                            f->name, (long long)i + 1, (long long)c + 1, (long long)f->classes);
    }
    return HWB_OK;
}

/* The stage that makes output i. */
static int stage_of_output(const hwb_program *p, int i) {
    return p->plan->values[p->plan->outputs[i].value].stage;
}

bool hwb__stage_wanted(const hwb_program *p, int stage, int only) {
    return stage < HWB_ROLE_TANGENT || only < 0 || stage == stage_of_output(p, only);
}

/* Bring every wanted leaf up to date; mark the stages that must run again. */
static hwb_status feed_all(hwb_ctx *ctx, hwb_program *p, int only, bool *dirty) {
    for (int i = 0; i < p->plan->n_leaves; i++) {
        hwb__feed *f = &p->feeds[i];
        if (!hwb__stage_wanted(p, f->role, only)) continue;
        if (f->there) {
            if (f->fresh) f->generation = ++p->generation;
            dirty[f->role] = dirty[f->role] || f->fresh;
            f->fresh = false;
            continue;
        }
        if (!f->given) return hwb_fail(ctx, HWB_EARG, "input \"%s\" has no value", f->name);
        if (f->dense && f->seen == hwb_tensor_version(f->given)) continue;
        hwb_tensor_release(f->dense);
        f->dense = NULL;
        HWB_TRY(hwb_tensor_contiguous(ctx, &f->dense, f->given));
        hwb_status st = check_classes(ctx, f);
        if (st != HWB_OK) { /* not fed: the next run checks again */
            hwb_tensor_release(f->dense);
            f->dense = NULL;
            return st;
        }
        if (!on_host(p)) HWB_TRY(hwb__feed_upload(ctx, p, f));
        f->seen = hwb_tensor_version(f->given);
        f->generation = ++p->generation;
        dirty[f->role] = true;
    }
    return HWB_OK;
}

/* ---- memory ------------------------------------------------------------------------- */

static hwb_status own_memory(hwb_ctx *ctx, hwb_program *p, void **block, size_t bytes) {
    if (*block || bytes == 0) return HWB_OK;
    *block = on_host(p) ? hwb_alloc(ctx, bytes)
                        : p->device->backend->mem_alloc(ctx, p->device->state, bytes);
    if (*block) return HWB_OK;
    return hwb_fail(ctx, HWB_ENOMEM, "out of memory: a program needs %.1f MiB of working memory",
                    (double)bytes / 1048576.0);
}

static void drop(hwb_program *p, void **block) {
    if (!*block) return;
    if (on_host(p)) hwb_free(*block);
    else p->device->backend->mem_free(p->device->state, *block);
    *block = NULL;
}

void hwb_program_trim(hwb_program *p) {
    hwb__drop_captures(p);
    drop(p, &p->arena);
    drop(p, &p->kept);
    for (int i = 0; p->results && p->plan && i < p->plan->n_outputs; i++) drop(p, &p->results[i]);
    for (int i = 0; p->feeds && !on_host(p) && i < p->plan->n_leaves; i++)
        hwb__feed_drop_device(p, &p->feeds[i]);
    for (int s = 0; s < p->n_stages; s++) p->stages[s].done = false;
}

static void *address(hwb_program *p, int value, void *const *outs) {
    const hwb__value *v = &p->plan->values[value];
    switch (v->place) {
    case HWB__AT_INPUT:
        return (char *)(on_host(p) ? hwb_tensor_data(p->feeds[v->index].dense)
                                   : p->feeds[v->index].device_data) +
               v->offset;
    case HWB__AT_OUTPUT: return (char *)outs[v->index] + v->offset;
    case HWB__AT_KEPT: return (char *)p->kept + v->offset;
    default: return (char *)p->arena + v->offset;
    }
}

static uint64_t generation_of(const hwb_program *p, int value) {
    const hwb__value *v = &p->plan->values[value];
    return v->place == HWB__AT_INPUT ? p->feeds[v->index].generation
                                     : p->stages[v->stage].generation;
}

/* ---- steps ----------------------------------------------------------------------------- */

hwb_status hwb__run_step(hwb_ctx *ctx, hwb_program *p, int k) {
    hwb__kernel_slot *s = &p->slots[k];
    double start = p->time_kernels ? hwb_seconds() : 0;
    const hwb__step *step = &p->plan->steps[k];
    hwb_status st =
        step->op == HWB_OP_ALLREDUCE
            ? hwb__run_allreduce(ctx, p, k)
            : s->device->backend->run(ctx, s->device->state, s->kernel, s->in, s->versions, s->out);
    if (p->time_kernels) {
        if (p->device->backend->sync) HWB_TRY(p->device->backend->sync(ctx, p->device->state));
        s->seconds += hwb_seconds() - start;
    }
    /* what another rank says is told as it said it */
    if (st == HWB_OK || step->op == HWB_OP_ALLREDUCE) return st;
    const char *scope = hwb_graph_scope(p->graph, step->node);
    return hwb_fail_in(ctx, st, "%s%s%s", hwb_op_name(step->op), *scope ? " in " : "", scope);
}

static void set_pointers(hwb_program *p, const hwb__stage *stage, void *const *outs) {
    for (int k = stage->first; k < stage->end; k++) {
        const hwb__step *step = &p->plan->steps[k];
        hwb__kernel_slot *s = &p->slots[k];
        for (int i = 0; i < step->n_in; i++) {
            s->in[i] = address(p, step->in[i], outs);
            s->versions[i] = generation_of(p, step->in[i]);
        }
        for (int i = 0; i < step->n_out; i++) s->out[i] = address(p, step->out[i], outs);
    }
}

static hwb_status run_stages(hwb_ctx *ctx, hwb_program *p, const bool *dirty, void *const *outs) {
    for (int s = 0; s < p->n_stages; s++) {
        hwb__stage *stage = &p->stages[s];
        if (!dirty[s]) continue;
        stage->generation = ++p->generation;
        if (stage->first == stage->end) continue;
        int role = s < HWB_ROLE_TANGENT ? s : HWB_ROLE_TANGENT;
        double start = hwb_seconds();
        set_pointers(p, stage, outs);
        HWB_TRY(hwb__run_stage(ctx, p, s));
        stage->done = true;
        p->info.runs[role]++;
        p->info.seconds[role] += hwb_seconds() - start;
    }
    return HWB_OK;
}

/* ---- results ------------------------------------------------------------------------------ */

/* The outputs of a run: all, or one, of which one may stay on the device. */
typedef struct picked {
    int only, stays; /* -1: none */
} picked;

static bool comes(picked what, int i) {
    return (what.only < 0 || i == what.only) && i != what.stays;
}

static hwb_status make_results(hwb_ctx *ctx, hwb_program *p, picked what, hwb_tensor **outs,
                               void **data) {
    const hwb__plan *plan = p->plan;
    for (int i = 0; i < plan->n_outputs; i++) {
        if (what.only >= 0 && i != what.only) continue;
        const hwb_vdesc *d = &plan->outputs[i].desc;
        size_t bytes = (size_t)hwb_shape_numel(&d->shape) * hwb_dtype_size(d->dtype);
        if (i == what.stays) {
            /* in the program's own buffer */
        } else if (outs[i]) {
            if (hwb_tensor_dtype(outs[i]) != d->dtype || !hwb_tensor_is_contiguous(outs[i]) ||
                hwb_tensor_numel(outs[i]) != hwb_shape_numel(&d->shape))
                return hwb_fail(ctx, HWB_ESHAPE, "result %d does not fit the given tensor", i);
        } else {
            HWB_TRY(hwb_tensor_new(ctx, &outs[i], d->dtype, d->shape));
        }
        const hwb__value *v = &plan->values[plan->outputs[i].value];
        if (v->place != HWB__AT_OUTPUT) continue;
        int at = v->index; /* where two outputs are one value: the first of them */
        if (data[at]) continue;
        if (!on_host(p)) HWB_TRY(own_memory(ctx, p, &p->results[at], bytes));
        data[at] = on_host(p) ? hwb_tensor_data(outs[i]) : p->results[at];
    }
    return HWB_OK;
}

static hwb_status copy_results(hwb_ctx *ctx, hwb_program *p, picked what, hwb_tensor **outs,
                               void **data) {
    const hwb__plan *plan = p->plan;
    for (int i = 0; i < plan->n_outputs; i++) {
        if (!comes(what, i)) continue;
        size_t bytes = hwb_tensor_bytes(outs[i]);
        const void *from = address(p, plan->outputs[i].value, data);
        if (!on_host(p))
            HWB_TRY(p->device->backend->mem_get(ctx, p->device->state, hwb_tensor_data(outs[i]),
                                                from, bytes));
        else if (from != hwb_tensor_data(outs[i]) && bytes)
            memcpy(hwb_tensor_data(outs[i]), from, bytes);
        hwb_tensor_touch(outs[i]);
    }
    return HWB_OK;
}

static hwb_status check_results(hwb_ctx *ctx, hwb_program *p, picked what, hwb_tensor **outs) {
    if (!p->check_finite) return HWB_OK;
    for (int i = 0; i < p->plan->n_outputs; i++) {
        if (!comes(what, i)) continue;
        if (hwb_dtype_is_float(hwb_tensor_dtype(outs[i])) && !hwb_tensor_all_finite(outs[i]))
            return hwb__blame(ctx, p, i, what.only);
    }
    return HWB_OK;
}

/* A stage runs when its own inputs or those of an earlier one changed; one that writes
 * results runs always.  Of several tangents each waits for the stages before all of them. */
static void mark_dirty(hwb_program *p, int only, bool *dirty) {
    for (int s = 0; s < p->n_stages; s++) {
        int before = s < HWB_ROLE_TANGENT ? s - 1 : HWB_ROLE_TANGENT - 1;
        dirty[s] = dirty[s] || (s && dirty[before]) || !p->stages[s].done || s >= HWB_ROLE_TANGENT;
        dirty[s] = (dirty[s] || s == p->plan->last_stage) && hwb__stage_wanted(p, s, only);
    }
    for (int s = 0; s < p->n_stages; s++)
        if (dirty[s]) p->stages[s].done = p->stages[s].first == p->stages[s].end;
}

static hwb_status begin(hwb_ctx *ctx, hwb_program *p, int only, bool *dirty) {
    HWB_TRY(own_memory(ctx, p, &p->kept, p->plan->kept_bytes));
    HWB_TRY(own_memory(ctx, p, &p->arena, p->plan->arena_bytes));
    HWB_TRY(feed_all(ctx, p, only, dirty));
    mark_dirty(p, only, dirty);
    return HWB_OK;
}

static hwb_status run(hwb_ctx *ctx, hwb_program *p, picked what, hwb_tensor **outs, void **data,
                      bool *dirty) {
    HWB_TRY(begin(ctx, p, what.only, dirty));
    HWB_TRY(make_results(ctx, p, what, outs, data));
    HWB_TRY(run_stages(ctx, p, dirty, data));
    HWB_TRY(copy_results(ctx, p, what, outs, data));
    return check_results(ctx, p, what, outs);
}

/* *stays: where the output that stays lies. */
static hwb_status run_into(hwb_ctx *ctx, hwb_program *p, picked what, hwb_tensor **outs,
                           const void **stays) {
    int n = p->plan->n_outputs;
    hwb_tensor **made = calloc((size_t)n + 1, sizeof *made);
    void **data = calloc((size_t)n + 1, sizeof *data);
    bool *dirty = calloc((size_t)p->n_stages, sizeof *dirty);
    hwb_status st = HWB_OK;
    if (!made || !data || !dirty) st = hwb_fail(ctx, HWB_ENOMEM, "out of memory");
    for (int i = 0; st == HWB_OK && i < n; i++) made[i] = outs[i];
    if (st == HWB_OK) st = run(ctx, p, what, made, data, dirty);
    if (st == HWB_OK && stays) *stays = address(p, p->plan->outputs[what.stays].value, data);
    for (int i = 0; made && i < n; i++) {
        if (st == HWB_OK) outs[i] = made[i];
        else if (made[i] != outs[i]) hwb_tensor_release(made[i]);
    }
    free(made);
    free(data);
    free(dirty);
    return st;
}

hwb_status hwb_program_run_into(hwb_ctx *ctx, hwb_program *p, hwb_tensor **outs) {
    return run_into(ctx, p, (picked){-1, -1}, outs, NULL);
}

hwb_status hwb_program_run(hwb_ctx *ctx, hwb_program *p, hwb_tensor **outs) {
    for (int i = 0; i < p->plan->n_outputs; i++) outs[i] = NULL;
    return hwb_program_run_into(ctx, p, outs);
}

hwb_status hwb_program_run_one(hwb_ctx *ctx, hwb_program *p, int i, hwb_tensor **out) {
    int n = p->plan->n_outputs;
    if (i < 0 || i >= n) return hwb_fail(ctx, HWB_EARG, "output %d of %d", i, n);
    hwb_tensor **outs = calloc((size_t)n, sizeof *outs);
    if (!outs) return hwb_fail(ctx, HWB_ENOMEM, "out of memory");
    hwb_status st = run_into(ctx, p, (picked){i, -1}, outs, NULL);
    *out = outs[i];
    free(outs);
    return st;
}

/* ---- results that stay on the device --------------------------------------------------------- */

static hwb_status check_there(hwb_ctx *ctx, hwb_program *p, int i, const void *result) {
    const hwb_vdesc *d = &p->plan->outputs[i].desc;
    bool finite = true;
    if (!p->check_finite || !hwb_dtype_is_float(d->dtype)) return HWB_OK;
    if (!p->there) HWB_TRY(hwb__there_new(ctx, &p->there, p->device));
    HWB_TRY(hwb__there_finite(p->there, d->dtype, hwb_shape_numel(&d->shape), result, &finite));
    return finite ? HWB_OK : hwb__blame(ctx, p, i, i);
}

static hwb_status run_there(hwb_ctx *ctx, hwb_program *p, int i, void *out, void **data,
                            bool *dirty) {
    const hwb_vdesc *d = &p->plan->outputs[i].desc;
    const hwb__value *v = &p->plan->values[p->plan->outputs[i].value];
    size_t bytes = (size_t)hwb_shape_numel(&d->shape) * hwb_dtype_size(d->dtype);
    HWB_TRY(begin(ctx, p, i, dirty));
    if (v->place == HWB__AT_OUTPUT) {
        HWB_TRY(own_memory(ctx, p, &p->results[v->index], bytes));
        data[v->index] = p->results[v->index];
    }
    HWB_TRY(run_stages(ctx, p, dirty, data));
    const void *result = address(p, p->plan->outputs[i].value, data);
    HWB_TRY(p->device->backend->mem_copy(ctx, p->device->state, out, result, bytes));
    return check_there(ctx, p, i, result);
}

static hwb_status check_output_there(hwb_ctx *ctx, const hwb_program *p, int i) {
    if (!on_host(p) && i >= 0 && i < p->plan->n_outputs) return HWB_OK;
    return hwb_fail(ctx, HWB_EARG, "output %d of %d of a program on %s", i, p->plan->n_outputs,
                    p->device->backend->name);
}

hwb_status hwb__program_run_but(hwb_ctx *ctx, hwb_program *p, int i, hwb_tensor **outs,
                                const void **result) {
    HWB_TRY(check_output_there(ctx, p, i));
    outs[i] = NULL;
    return run_into(ctx, p, (picked){-1, i}, outs, result);
}

hwb_status hwb__program_run_there(hwb_ctx *ctx, hwb_program *p, int i, void *out) {
    HWB_TRY(check_output_there(ctx, p, i));
    void **data = calloc((size_t)p->plan->n_outputs + 1, sizeof *data);
    bool *dirty = calloc((size_t)p->n_stages, sizeof *dirty);
    hwb_status st = data && dirty ? run_there(ctx, p, i, out, data, dirty)
                                  : hwb_fail(ctx, HWB_ENOMEM, "out of memory");
    free(data);
    free(dirty);
    return st;
}
