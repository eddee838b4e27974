/*
 * product.c: products and gradients over a data source: which program runs on which
 * batch, and how batches, vectors and ranks add up.
 *
 *     H v = sum over batches of (n_b / N) H_b v
 *
 * One batch is the program's own result.  Several are passed over once for whatever is
 * asked for together, all vectors of all operators of a family, so that each batch's
 * primal pass is computed once; they add up in double.
 */
#include "curvature/curvature_i.h"

#include <stdlib.h>
#include <string.h>

/* ---- adding up ---------------------------------------------------------------------- */

/* total[i] += w * t[i] */
static void accumulate(double *total, const hwb_tensor *t, double w) {
    int64_t n = hwb_tensor_numel(t);
    if (hwb_tensor_dtype(t) == HWB_F64) {
        const double *d = hwb_tensor_data(t);
        for (int64_t i = 0; i < n; i++) total[i] += w * d[i];
    } else {
        const float *d = hwb_tensor_data(t);
        for (int64_t i = 0; i < n; i++) total[i] += w * (double)d[i];
    }
}

static void store(hwb_tensor *t, const double *total) {
    int64_t n = hwb_tensor_numel(t);
    if (hwb_tensor_dtype(t) == HWB_F64) {
        memcpy(hwb_tensor_data(t), total, (size_t)n * sizeof *total);
    } else {
        float *d = hwb_tensor_data(t);
        for (int64_t i = 0; i < n; i++) d[i] = (float)total[i];
    }
    hwb_tensor_touch(t);
}

/* t *= w, in place */
static void scale(hwb_tensor *t, double w) {
    int64_t n = hwb_tensor_numel(t);
    if (hwb_tensor_dtype(t) == HWB_F64)
        for (int64_t i = 0; i < n; i++) ((double *)hwb_tensor_data(t))[i] *= w;
    else
        for (int64_t i = 0; i < n; i++) {
            float *d = hwb_tensor_data(t);
            d[i] = (float)(w * (double)d[i]);
        }
    hwb_tensor_touch(t);
}

hwb_status hwb__each_batch(hwb_ctx *ctx, hwb__shared *s, hwb__batch_fn fn, void *user) {
    if (s->batches == 1) return fn(ctx, user, s->x, s->y, hwb__share_of(s, s->x));
    HWB_TRY(s->source.rewind(ctx, s->source.self));
    for (;;) {
        hwb_tensor *x, *y;
        HWB_TRY(hwb_check_interrupt(ctx));
        HWB_TRY(s->source.next(ctx, s->source.self, &x, &y));
        if (!x) return HWB_OK;
        hwb_status st = fn(ctx, user, x, y, hwb__share_of(s, x));
        hwb_tensor_release(x);
        hwb_tensor_release(y);
        if (st != HWB_OK) return st;
    }
}

/* ---- products ----------------------------------------------------------------------- */

/* The product of one operator with k vectors, `step` of them at once. */
typedef struct product {
    hwb_curvature *c;
    hwb_tensor *v; /* borrowed */
    int64_t k, step;
    double *total; /* [k,n] over several batches */
    hwb_tensor *out;
} product;

typedef struct products {
    int64_t n;
    product *each;
} products;

/* Rows at.. of the product on one batch. */
static hwb_status add_part(hwb_ctx *ctx, product *p, int64_t at, hwb_tensor *part, double w) {
    hwb_tensor *rows;
    if (p->total) {
        accumulate(p->total + at * p->c->op.n, part, w);
        return HWB_OK;
    }
    if (w != 1) scale(part, w);
    if (p->step == p->k) {
        p->out = hwb_tensor_retain(part);
        return HWB_OK;
    }
    if (!p->out) HWB_TRY(hwb_tensor_new(ctx, &p->out, p->c->op.dtype, *hwb_tensor_shape(p->v)));
    HWB_TRY(hwb_tensor_slice(ctx, &rows, p->out, 0, at, hwb_tensor_shape(part)->dim[0], 1));
    hwb_status st = hwb_tensor_copy(ctx, rows, part);
    hwb_tensor_release(rows);
    return st;
}

static hwb_status product_on_batch(hwb_ctx *ctx, product *p, hwb_tensor *x, hwb_tensor *y,
                                   double w) {
    hwb_status st = HWB_OK;
    for (int64_t at = 0, len; at < p->k && st == HWB_OK; at += len) {
        hwb_tensor *some = NULL, *part = NULL;
        int64_t left = p->k - at;
        len = left >= p->step ? p->step : p->c->family->n > 1 ? 1 : left;
        st = hwb_tensor_slice(ctx, &some, p->v, 0, at, len, 1);
        if (st == HWB_OK) st = hwb__run_batch(ctx, p->c, len, x, y, some, &part);
        if (st == HWB_OK) st = add_part(ctx, p, at, part, w);
        hwb_tensor_release(some);
        hwb_tensor_release(part);
    }
    return st;
}

static hwb_status products_on_batch(hwb_ctx *ctx, void *user, hwb_tensor *x, hwb_tensor *y,
                                    double w) {
    products *all = user;
    for (int64_t i = 0; i < all->n; i++) HWB_TRY(product_on_batch(ctx, &all->each[i], x, y, w));
    return HWB_OK;
}

hwb_status hwb__products_at_once(hwb_ctx *ctx, hwb_curvature *c, int64_t k, int64_t *step) {
    HWB_TRY(hwb__curvature_survey(ctx, c->shared));
    HWB_TRY(hwb__vectors_at_once(ctx, c, k, step));
    /* Programs that exchange are run equally often: rank 0 has as many samples as any. */
    return c->shared->spread ? hwb_comm_broadcast(ctx, 0, sizeof *step, step) : HWB_OK;
}

static hwb_status begin(hwb_ctx *ctx, product *p, hwb_curvature *c, const hwb_tensor *v) {
    const hwb_shape *s = hwb_tensor_shape(v);
    char text[HWB_SHAPE_TEXT];
    if (s->ndim != 2 || s->dim[1] != c->op.n || s->dim[0] < 1 || hwb_tensor_dtype(v) != c->op.dtype)
        return hwb_fail(ctx, HWB_ESHAPE, "an operator on %lld numbers of %s cannot take %s of %s",
                        (long long)c->op.n, hwb_dtype_name(c->op.dtype), hwb_shape_text(s, text),
                        hwb_dtype_name(hwb_tensor_dtype(v)));
    *p = (product){.c = c, .v = (hwb_tensor *)(uintptr_t)v, .k = s->dim[0], .step = 1};
    HWB_TRY(hwb__products_at_once(ctx, c, p->k, &p->step));
    if (c->shared->batches == 1) return HWB_OK;
    p->total = hwb_calloc(ctx, (size_t)(p->k * c->op.n) * sizeof *p->total);
    return p->total ? HWB_OK : HWB_ENOMEM;
}

static void add_decay(hwb_tensor *out, const hwb_tensor *v, double wd) {
    for (int64_t i = 0; wd != 0 && i < hwb_tensor_numel(out); i++)
        hwb_tensor_set(out, i, hwb_tensor_get(out, i) + wd * hwb_tensor_get(v, i));
}

static hwb_status finish(hwb_ctx *ctx, product *p) {
    hwb_curvature *c = p->c;
    if (p->total) {
        HWB_TRY(hwb_tensor_new(ctx, &p->out, c->op.dtype, *hwb_tensor_shape(p->v)));
        store(p->out, p->total);
    }
    HWB_TRY(hwb__sum_products(ctx, c, p->v, p->out));
    add_decay(p->out, p->v, c->activation ? 0 : c->shared->o.weight_decay);
    c->op.applied += p->k;
    hwb_count_products(ctx, p->k);
    return HWB_OK;
}

static hwb_status run_products(hwb_ctx *ctx, products *all) {
    if (all->n == 0) return HWB_OK;
    HWB_TRY(hwb__each_batch(ctx, all->each[0].c->shared, products_on_batch, all));
    for (int64_t i = 0; i < all->n; i++) HWB_TRY(finish(ctx, &all->each[i]));
    return HWB_OK;
}

hwb_status hwb__curvature_apply_all(hwb_ctx *ctx, int64_t n, hwb_linop *const *op,
                                    const hwb_tensor *const *v, hwb_tensor **out) {
    products all = {.each = calloc((size_t)n + 1, sizeof *all.each)};
    hwb_status st = HWB_OK;
    if (!all.each) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for products");
    for (int64_t i = 0; st == HWB_OK && i < n; i++)
        if (v[i]) st = begin(ctx, &all.each[all.n++], (hwb_curvature *)op[i], v[i]);
    if (st == HWB_OK) st = run_products(ctx, &all);
    for (int64_t i = 0, j = 0; i < n; i++) {
        out[i] = NULL;
        if (!v[i] || j == all.n) continue;
        hwb_free(all.each[j].total);
        if (st == HWB_OK) out[i] = all.each[j].out;
        else hwb_tensor_release(all.each[j].out);
        j++;
    }
    free(all.each);
    return st;
}

hwb_status hwb__curvature_apply(hwb_ctx *ctx, hwb_linop *self, hwb_tensor **out,
                                const hwb_tensor *v) {
    return hwb__curvature_apply_all(ctx, 1, &self, &v, out);
}

/* ---- gradient ----------------------------------------------------------------------- */

typedef struct gradient {
    hwb_curvature *c;
    double *total; /* [n], then the loss */
} gradient;

static hwb_status gradient_on_batch(hwb_ctx *ctx, void *user, hwb_tensor *x, hwb_tensor *y,
                                    double w) {
    gradient *g = user;
    hwb_tensor *outs[2] = {NULL, NULL};
    HWB_TRY(hwb__run_batch(ctx, g->c, 0, x, y, NULL, outs));
    accumulate(g->total, outs[1], w);
    g->total[g->c->op.n] += w * hwb_tensor_get(outs[0], 0);
    hwb_tensor_release(outs[0]);
    hwb_tensor_release(outs[1]);
    return HWB_OK;
}

/* The only batch there is: the program's own results. */
static hwb_status gradient_of_batch(hwb_ctx *ctx, hwb_curvature *c, double *loss, hwb_tensor **g) {
    hwb_tensor *outs[2] = {NULL, NULL};
    hwb_shape flat = {.ndim = 1, .dim = {c->op.n}};
    HWB_TRY(hwb__run_batch(ctx, c, 0, c->shared->x, c->shared->y, NULL, outs));
    if (loss) *loss = hwb_tensor_get(outs[0], 0);
    hwb_status st = g ? hwb_tensor_reshape(ctx, g, outs[1], flat) : HWB_OK;
    hwb_tensor_release(outs[0]);
    hwb_tensor_release(outs[1]);
    return st;
}

hwb_status hwb_curvature_gradient(hwb_ctx *ctx, hwb_curvature *c, double *loss,
                                  hwb_tensor **gradient_) {
    hwb_shape s = {.ndim = 1, .dim = {c->op.n}};
    hwb_tensor *g = NULL;
    HWB_TRY(hwb__curvature_survey(ctx, c->shared));
    if (c->shared->batches == 1 && !c->shared->split)
        return gradient_of_batch(ctx, c, loss, gradient_);
    gradient sum = {c, hwb_calloc(ctx, (size_t)(c->op.n + 1) * sizeof *sum.total)};
    if (!sum.total) return HWB_ENOMEM;
    hwb_status st = hwb__each_batch(ctx, c->shared, gradient_on_batch, &sum);
    /* one exchange for both */
    if (st == HWB_OK) st = hwb__sum_numbers(ctx, c->shared, c->op.n + 1, sum.total);
    if (st == HWB_OK && gradient_) st = hwb_tensor_new(ctx, &g, c->op.dtype, s);
    if (st == HWB_OK && gradient_) {
        store(g, sum.total);
        *gradient_ = g;
    }
    if (st == HWB_OK && loss) *loss = sum.total[c->op.n];
    hwb_free(sum.total);
    return st;
}
