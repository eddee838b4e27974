/*
 * blame.c: where a non-finite value came from.
 */
#include "exec/exec_i.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Index of the first NaN or infinity of n values; -1 if there is none. */
static int64_t first_bad(hwb_dtype dtype, const void *data, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double v = dtype == HWB_F64 ? ((const double *)data)[i] : ((const float *)data)[i];
        if (!isfinite(v)) return i;
    }
    return -1;
}

/* The value of leaf i, fetched where it was given on the device. new ref */
static hwb_status value_of(hwb_ctx *ctx, hwb_program *p, int i, hwb_tensor **out) {
    const hwb__feed *f = &p->feeds[i];
    if (!f->there) {
        *out = hwb_tensor_retain(f->dense);
        return HWB_OK;
    }
    const hwb_vdesc *d = &p->plan->values[p->plan->leaves[i].value].desc;
    hwb_tensor *t = NULL;
    HWB_TRY(hwb_tensor_new(ctx, &t, d->dtype, d->shape));
    hwb_status st = p->device->backend->mem_get(ctx, p->device->state, hwb_tensor_data(t),
                                                f->device_data, hwb_tensor_bytes(t));
    if (st == HWB_OK) *out = t;
    else hwb_tensor_release(t);
    return st;
}

static hwb_status bad_leaf(hwb_ctx *ctx, hwb_program *p, int only) {
    for (int i = 0; i < p->plan->n_leaves; i++) {
        hwb_tensor *t = NULL;
        if (!hwb__stage_wanted(p, p->feeds[i].role, only)) continue;
        HWB_TRY(value_of(ctx, p, i, &t));
        hwb_dtype dtype = hwb_tensor_dtype(t);
        int64_t at = hwb_dtype_is_float(dtype)
                         ? first_bad(dtype, hwb_tensor_data(t), hwb_tensor_numel(t))
                         : -1;
        double v = at < 0 ? 0 : hwb_tensor_get(t, at);
        hwb_tensor_release(t);
        if (at < 0) continue;
        return hwb_fail(ctx, HWB_ENUMERIC,
                        "\"%s\" holds %s at element %" PRId64 " (counting from 1)",
                        *p->feeds[i].name ? p->feeds[i].name : "constant",
                        isnan(v) ? "nan"
                        : v > 0  ? "inf"
                                 : "-inf",
                        at + 1);
    }
    return HWB_OK;
}

/* A result of step k on the host: where it lies, or a copy in *copy (freed by the caller). */
static hwb_status look(hwb_ctx *ctx, hwb_program *p, int k, int i, const void **data, void **copy) {
    const hwb_backend *b = p->device->backend;
    const hwb_vdesc *d = &p->plan->steps[k].out_desc[i];
    *data = p->slots[k].out[i];
    if (b->host) return HWB_OK;
    size_t bytes = (size_t)hwb_shape_numel(&d->shape) * hwb_dtype_size(d->dtype);
    if (!(*copy = hwb_alloc(ctx, bytes))) return HWB_ENOMEM;
    *data = *copy;
    return b->mem_get(ctx, p->device->state, *copy, p->slots[k].out[i], bytes);
}

static hwb_status check_step(hwb_ctx *ctx, hwb_program *p, int k) {
    const hwb__step *s = &p->plan->steps[k];
    for (int i = 0; i < s->n_out; i++) {
        const hwb_vdesc *d = &s->out_desc[i];
        const void *data = NULL;
        void *copy = NULL;
        if (!hwb_dtype_is_float(d->dtype)) continue;
        hwb_status st = look(ctx, p, k, i, &data, &copy);
        int64_t at = st == HWB_OK ? first_bad(d->dtype, data, hwb_shape_numel(&d->shape)) : -1;
        hwb_free(copy);
        HWB_TRY(st);
        if (at < 0) continue;
        /* Of a group behind a convolution the convolution's own result is not to be seen. */
        bool behind = s->fused && s->op != HWB_OP_FUSED;
        const char *scope = hwb_graph_scope(p->graph, behind ? s->node : s->out_node[i]);
        char shape[HWB_SHAPE_TEXT];
        return hwb_fail(ctx, HWB_ENUMERIC, "non-finite value made by %s%s%s%s%s (result %s)",
                        behind ? hwb_op_name(s->op) : "", behind ? " and then " : "",
                        hwb_op_name(p->graph->nodes[s->out_node[i]]->op),
                        *scope ? " in layer " : "", scope, hwb_shape_text(&d->shape, shape));
    }
    return HWB_OK;
}

static hwb_status find_step(hwb_ctx *ctx, hwb_program *p, int only) {
    for (int k = 0; k < p->plan->n_steps; k++) {
        if (!hwb__stage_wanted(p, p->plan->steps[k].stage, only)) continue;
        HWB_TRY(hwb_check_interrupt(ctx));
        HWB_TRY(hwb__run_step(ctx, p, k));
        HWB_TRY(check_step(ctx, p, k));
    }
    return HWB_OK;
}

/* The other ranks do not take part in this: sums over them are left out, so that what
 * only they made non-finite is not found here. */
hwb_status hwb__blame(hwb_ctx *ctx, hwb_program *p, int output, int only) {
    HWB_TRY(bad_leaf(ctx, p, only));
    p->alone = true;
    hwb_status st = find_step(ctx, p, only);
    p->alone = false;
    HWB_TRY(st);
    return hwb_fail(ctx, HWB_ENUMERIC, "result %d is not finite%s", output + 1,
                    hwb__has_allreduce(p->graph) ? ", by numbers of another rank" : "");
}
