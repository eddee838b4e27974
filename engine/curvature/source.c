/*
 * source.c: what an operator is taken of: losses by name, one batch as a data source,
 * and a look through the source, once, before its first use.
 */
#include "curvature/curvature_i.h"

#include "graph/compose.h"

#include <stdlib.h>
#include <string.h>

/* ---- losses ------------------------------------------------------------------------ */

static hwb_status cross_entropy(void *user, hwb_graph *g, hwb_id *loss, hwb_id z, hwb_id t,
                                bool reduce) {
    (void)user;
    return hwb_cross_entropy(g, loss, z, t, 0, reduce);
}

static hwb_status mse(void *user, hwb_graph *g, hwb_id *loss, hwb_id z, hwb_id t, bool reduce) {
    (void)user;
    return hwb_mse(g, loss, z, t, reduce);
}

hwb_status hwb_loss_named(hwb_ctx *ctx, hwb_loss_fn *out, const char *name) {
    if (strcmp(name, "cross_entropy") == 0) *out = cross_entropy;
    else if (strcmp(name, "mse") == 0) *out = mse;
    else return hwb_fail(ctx, HWB_EARG, "no loss is called \"%s\" (cross_entropy, mse)", name);
    return HWB_OK;
}

/* ---- one batch -------------------------------------------------------------------------- */

typedef struct batch_source {
    hwb_tensor *x, *y;
    int64_t micro, at;
} batch_source;

static hwb_status batch_rewind(hwb_ctx *ctx, void *self) {
    (void)ctx;
    ((batch_source *)self)->at = 0;
    return HWB_OK;
}

static hwb_status batch_next(hwb_ctx *ctx, void *self, hwb_tensor **x, hwb_tensor **y) {
    batch_source *s = self;
    int64_t left = hwb_tensor_shape(s->x)->dim[0] - s->at, n = left < s->micro ? left : s->micro;
    *x = *y = NULL;
    if (left <= 0) return HWB_OK;
    if (s->micro == 0) { /* whole */
        s->at += left;
        *x = hwb_tensor_retain(s->x);
        *y = hwb_tensor_retain(s->y);
        return HWB_OK;
    }
    HWB_TRY(hwb_tensor_slice(ctx, x, s->x, 0, s->at, n, 1));
    hwb_status st = hwb_tensor_slice(ctx, y, s->y, 0, s->at, n, 1);
    if (st != HWB_OK) {
        hwb_tensor_release(*x);
        *x = NULL;
        return st;
    }
    s->at += n;
    return HWB_OK;
}

static void batch_free(void *self) {
    batch_source *s = self;
    hwb_tensor_release(s->x);
    hwb_tensor_release(s->y);
    free(s);
}

hwb_status hwb_source_batch(hwb_ctx *ctx, hwb_source *out, hwb_tensor *x, hwb_tensor *y,
                            int64_t micro) {
    const hwb_shape *xs = hwb_tensor_shape(x), *ys = hwb_tensor_shape(y);
    char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
    /* Un-split, only the loss has to make sense of the targets (one a token, say). */
    if (xs->ndim < 1 || ys->ndim < 1 || xs->dim[0] < 1 || (micro > 0 && xs->dim[0] != ys->dim[0]))
        return hwb_fail(ctx, HWB_ESHAPE, "a batch needs as many inputs as targets: %s and %s",
                        hwb_shape_text(xs, a), hwb_shape_text(ys, b));
    batch_source *s = malloc(sizeof *s);
    if (!s) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a data source");
    *s = (batch_source){hwb_tensor_retain(x), hwb_tensor_retain(y), micro > 0 ? micro : 0, 0};
    *out = (hwb_source){s, batch_rewind, batch_next, batch_free, NULL};
    return HWB_OK;
}

/* ---- once --------------------------------------------------------------------------------- */

/* Count samples and batches; hold the batch when there is only one. */
hwb_status hwb__curvature_survey(hwb_ctx *ctx, hwb__shared *s) {
    hwb_tensor *x, *y;
    if (s->samples) return HWB_OK;
    int64_t mine = 0, batches = 0;
    HWB_TRY(s->source.rewind(ctx, s->source.self));
    for (;;) {
        HWB_TRY(s->source.next(ctx, s->source.self, &x, &y));
        if (!x) break;
        mine += hwb_tensor_shape(x)->dim[0];
        if (++batches == 1) {
            hwb_tensor_release(s->x);
            hwb_tensor_release(s->y);
            s->x = x;
            s->y = y;
        } else {
            hwb_tensor_release(x);
            hwb_tensor_release(y);
        }
    }
    if (batches != 1) {
        hwb_tensor_release(s->x);
        hwb_tensor_release(s->y);
        s->x = s->y = NULL;
    }
    double samples = (double)mine;
    HWB_TRY(hwb__sum_numbers(ctx, s, 1, &samples));
    if (samples == 0) return hwb_fail(ctx, HWB_EARG, "the data source is empty");
    if (batches > 1 && s->o.batch_norm_batch)
        return hwb_fail(ctx, HWB_EARG,
                        "bn=\"batch\" needs one un-split batch: batch statistics tie the samples "
                        "of a batch together, so %lld batches would give the Hessian of another "
                        "loss",
                        (long long)batches);
    if (s->o.batch_norm_batch) HWB_TRY(hwb__spread(ctx, s));
    s->samples = (int64_t)samples;
    s->batches = batches;
    s->mine = s->spread ? hwb_tensor_shape(s->x)->dim[0] : mine;
    return HWB_OK;
}
