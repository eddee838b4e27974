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

static hwb_status bad_leaf(hwb_ctx *ctx, hwb_program *p) {
    for (int i = 0; i < p->plan->n_leaves; i++) {
        hwb_tensor *t = p->feeds[i].dense;
        hwb_dtype dtype = hwb_tensor_dtype(t);
        if (!hwb_dtype_is_float(dtype)) continue;
        int64_t at = first_bad(dtype, hwb_tensor_data(t), hwb_tensor_numel(t));
        if (at >= 0)
            return hwb_fail(
                ctx, HWB_ENUMERIC, "\"%s\" holds %g at element %" PRId64 " (counting from 1)",
                *p->feeds[i].name ? p->feeds[i].name : "constant", hwb_tensor_get(t, at), at + 1);
    }
    return HWB_OK;
}

hwb_status hwb__blame(hwb_ctx *ctx, hwb_program *p, int output) {
    HWB_TRY(bad_leaf(ctx, p));
    for (int k = 0; p->device->backend->host && k < p->plan->n_steps; k++) {
        const hwb__step *s = &p->plan->steps[k];
        HWB_TRY(hwb_check_interrupt(ctx));
        HWB_TRY(hwb__run_step(ctx, p, k));
        for (int i = 0; i < s->n_out; i++) {
            const hwb_vdesc *d = &s->out_desc[i];
            if (!hwb_dtype_is_float(d->dtype)) continue;
            int64_t at = first_bad(d->dtype, p->slots[k].out[i], hwb_shape_numel(&d->shape));
            if (at < 0) continue;
            const char *scope = hwb_graph_scope(p->graph, s->out_node[i]);
            char shape[HWB_SHAPE_TEXT];
            return hwb_fail(ctx, HWB_ENUMERIC, "non-finite value made by %s%s%s (result %s)",
                            hwb_op_name(p->graph->nodes[s->out_node[i]]->op),
                            *scope ? " in layer " : "", scope, hwb_shape_text(&d->shape, shape));
        }
    }
    return hwb_fail(ctx, HWB_ENUMERIC, "result %d is not finite", output + 1);
}
