/*
 * displaced.c: the loss at displaced weights, for loss landscapes.
 *
 *   out[k] = L(theta + sum_d a[k,d] u_d)        u[D,n], a[K,D]
 *
 * over the whole data source.  Each batch is fetched once and all K points are
 * looked at on it.  A displaced weight is summed in double and rounded once.
 * The weights themselves come back from copies, bit for bit, however the call
 * ends: nothing of Lua runs between displacing and restoring but a forward pass
 * being traced, whose errors arrive here as a status.
 *
 * Far from the minimum a loss may overflow; such points are reported as they are.
 */
#include "curvature/curvature_i.h"

#include <stdlib.h>

typedef struct displaced {
    hwb_ctx *ctx;
    hwb_curvature *c;
    const hwb_tensor *directions; /* [D,n], dense, dtype of the operator */
    int64_t n_directions;
    hwb_tensor **saved, **scratch; /* one a parameter of the block */
} displaced;

static hwb_tensor *parameter(const displaced *d, int i) {
    return hwb_model_parameter(d->c->shared->model, d->c->parameters[i], NULL);
}

static void release(displaced *d) {
    for (int i = 0; d->saved && i < d->c->n_parameters; i++) hwb_tensor_release(d->saved[i]);
    for (int i = 0; d->scratch && i < d->c->n_parameters; i++) hwb_tensor_release(d->scratch[i]);
    free(d->saved);
    free(d->scratch);
}

static hwb_status prepare(displaced *d) {
    size_t n = (size_t)d->c->n_parameters;
    d->saved = calloc(n, sizeof *d->saved);
    d->scratch = calloc(n, sizeof *d->scratch);
    if (!d->saved || !d->scratch)
        return hwb_fail(d->ctx, HWB_ENOMEM, "out of memory for copies of the weights");
    for (int i = 0; i < d->c->n_parameters; i++) {
        HWB_TRY(hwb_tensor_clone(d->ctx, &d->saved[i], parameter(d, i)));
        HWB_TRY(hwb_tensor_clone(d->ctx, &d->scratch[i], parameter(d, i)));
    }
    return HWB_OK;
}

/* Can't fail: a copy that lacks memory for a view goes element by element. */
static void restore(const displaced *d) {
    for (int i = 0; i < d->c->n_parameters; i++) {
        hwb_tensor *p = parameter(d, i);
        if (hwb_tensor_copy(d->ctx, p, d->saved[i]) == HWB_OK) continue;
        for (int64_t e = 0; e < hwb_tensor_numel(p); e++)
            hwb_tensor_set(p, e, hwb_tensor_get(d->saved[i], e));
        hwb_tensor_touch(p);
    }
}

/* sum_d a[d] u[d, at] */
static double shift(const displaced *d, const double *a, int64_t at) {
    const void *u = hwb_tensor_data(d->directions);
    bool wide = d->c->op.dtype == HWB_F64;
    double s = 0;
    for (int64_t k = 0; k < d->n_directions; k++) {
        int64_t e = k * d->c->op.n + at;
        s += a[k] * (wide ? ((const double *)u)[e] : (double)((const float *)u)[e]);
    }
    return s;
}

static hwb_status displace(const displaced *d, const double *a) {
    int64_t at = 0;
    for (int i = 0; i < d->c->n_parameters; i++) {
        hwb_tensor *s = d->scratch[i];
        int64_t n = hwb_tensor_numel(s);
        for (int64_t e = 0; e < n; e++)
            hwb_tensor_set(s, e, hwb_tensor_get(d->saved[i], e) + shift(d, a, at + e));
        HWB_TRY(hwb_tensor_copy(d->ctx, parameter(d, i), s));
        at += n;
    }
    return HWB_OK;
}

/* All points on one batch of weight w. */
static hwb_status batch_losses(const displaced *d, hwb_tensor *x, hwb_tensor *y, double w,
                               int64_t count, const double *a, double *losses) {
    for (int64_t k = 0; k < count; k++) {
        hwb_tensor *loss = NULL;
        HWB_TRY(hwb_check_interrupt(d->ctx));
        HWB_TRY(displace(d, a + k * d->n_directions));
        HWB_TRY(hwb__curvature_loss(d->ctx, d->c, x, y, &loss));
        losses[k] += w * hwb_tensor_get(loss, 0);
        hwb_tensor_release(loss);
    }
    return HWB_OK;
}

static hwb_status pass(const displaced *d, int64_t count, const double *a, double *losses) {
    hwb__shared *s = d->c->shared;
    HWB_TRY(s->source.rewind(d->ctx, s->source.self));
    for (;;) {
        hwb_tensor *x, *y;
        HWB_TRY(s->source.next(d->ctx, s->source.self, &x, &y));
        if (!x) return HWB_OK;
        double w = hwb__share_of(s, x);
        hwb_status st = batch_losses(d, x, y, w, count, a, losses);
        hwb_tensor_release(x);
        hwb_tensor_release(y);
        if (st != HWB_OK) return st;
    }
}

hwb_status hwb_curvature_losses(hwb_ctx *ctx, hwb_curvature *c, hwb_tensor *directions,
                                int64_t count, const double *coefficients, double *losses) {
    const hwb_shape *s = hwb_tensor_shape(directions);
    char text[HWB_SHAPE_TEXT];
    if (c->activation)
        return hwb_fail(ctx, HWB_EARG,
                        "the operator of activation \"%s\" has no weights to displace", c->name);
    if (s->ndim != 2 || s->dim[1] != c->op.n)
        return hwb_fail(ctx, HWB_ESHAPE, "directions of %lld weights are wanted, not %s",
                        (long long)c->op.n, hwb_shape_text(s, text));
    displaced d = {.ctx = ctx, .c = c, .n_directions = s->dim[0]};
    hwb_tensor *typed = NULL, *dense = NULL;
    for (int64_t k = 0; k < count; k++) losses[k] = 0;
    HWB_TRY(hwb__curvature_survey(ctx, c->shared));
    hwb_status st = hwb_tensor_to(ctx, &typed, directions, c->op.dtype);
    if (st == HWB_OK) st = hwb_tensor_contiguous(ctx, &dense, typed);
    d.directions = dense;
    if (st == HWB_OK) st = prepare(&d);
    if (st == HWB_OK) {
        st = pass(&d, count, coefficients, losses);
        if (st == HWB_OK) st = hwb__sum_numbers(ctx, c->shared, count, losses);
        restore(&d);
    }
    release(&d);
    hwb_tensor_release(typed);
    hwb_tensor_release(dense);
    return st;
}
