/*
 * product_there.c: products of vectors that lie in the memory of a device, without a copy
 * of one to the host: as product.c, with sums over batches and ranks made there.
 *
 * Sums over batches are float64, in a buffer for each group of vectors that travels at once.
 */
#include "curvature/curvature_i.h"

#include <stdlib.h>
#include <string.h>

typedef struct product {
    hwb_curvature *c;
    const char *v; /* [k,n] */
    char *out;
    int64_t k, step;
    hwb__there *there;
    int64_t stride; /* vectors in `total` begin so many numbers apart */
    double *total;  /* over several batches */
    bool begun;     /* something is in it */
    void *part;     /* [step,n]: one batch's product */
} product;

typedef struct products {
    int64_t n;
    product *each;
} products;

hwb_device *hwb__curvature_where(hwb_ctx *ctx, hwb_linop *self) {
    hwb_device *d = NULL;
    (void)self;
    if (hwb_device_open(ctx, &d, hwb_get_device(ctx)) != HWB_OK) return NULL;
    return d->backend->host ? NULL : d;
}

static int64_t bytes_of(const product *p, int64_t numbers) {
    return numbers * (int64_t)hwb_dtype_size(p->c->op.dtype);
}

static hwb_status begin(hwb_ctx *ctx, product *p, hwb_curvature *c, int64_t k, const void *v,
                        void *out) {
    *p = (product){.c = c, .v = v, .out = out, .k = k, .step = 1, .stride = (c->op.n + 1) & ~1};
    hwb_device *d = hwb__curvature_where(ctx, &c->op);
    if (!d) return hwb_fail(ctx, HWB_EDEVICE, "products on %s are made on the host", "this device");
    HWB_TRY(hwb__there_new(ctx, &p->there, d));
    HWB_TRY(hwb__there_slots(p->there, 2));
    HWB_TRY(hwb__products_at_once(ctx, c, k, &p->step));
    if (c->shared->batches == 1) return HWB_OK;
    HWB_TRY(hwb__there_alloc(p->there, &p->part, bytes_of(p, p->step * c->op.n)));
    return hwb__there_alloc(p->there, (void **)&p->total, 8 * k * p->stride);
}

static void end(product *p) {
    hwb__there_release(p->there, p->part);
    hwb__there_release(p->there, p->total);
    hwb__there_free(p->there);
}

/* Vectors at.. of the total take in w times the part. */
static hwb_status add_part(product *p, int64_t at, int64_t len, double w) {
    double *total = p->total + at * p->stride;
    hwb__sum_there s = {.n = len * p->c->op.n, .out = total, .out_dtype = HWB_F64};
    if (p->begun) {
        s.m = 1;
        s.v = &p->part;
        s.v_dtype = p->c->op.dtype;
        s.y = total;
        s.y_slot = -1;
        s.y_dtype = HWB_F64;
    } else {
        s.y = p->part;
        s.y_dtype = p->c->op.dtype;
    }
    HWB_TRY(hwb__there_set(p->there, 0, 1, &w));
    return hwb__there_sum(p->there, &s);
}

/* How many of the vectors from `at` on travel at once. */
static int64_t together(const product *p, int64_t at) {
    int64_t left = p->k - at;
    return left >= p->step ? p->step : p->c->family->n > 1 ? 1 : left;
}

static hwb_status product_on_batch(hwb_ctx *ctx, product *p, hwb_tensor *x, hwb_tensor *y,
                                   double w) {
    for (int64_t at = 0, len; at < p->k; at += len) {
        int64_t offset = bytes_of(p, at * p->c->op.n);
        len = together(p, at);
        void *to = p->total ? p->part : p->out + offset;
        HWB_TRY(hwb__run_batch_there(ctx, p->c, len, x, y, p->v + offset, to));
        if (p->total) HWB_TRY(add_part(p, at, len, w));
    }
    p->begun = true;
    return HWB_OK;
}

static hwb_status products_on_batch(hwb_ctx *ctx, void *user, hwb_tensor *x, hwb_tensor *y,
                                    double w) {
    products *all = user;
    for (int64_t i = 0; i < all->n; i++) HWB_TRY(product_on_batch(ctx, &all->each[i], x, y, w));
    return HWB_OK;
}

/* ---- the end of a product -------------------------------------------------------------- */

/* out = y by_y + v by_v, all of n numbers in the operator's dtype; v may be NULL. */
static hwb_status combine(product *p, int64_t n, void *out, double by_y, void *v, double by_v) {
    const double by[2] = {by_y, by_v};
    hwb__sum_there s = {.n = n,
                        .m = v ? 1 : 0,
                        .v = &v,
                        .slot = 1,
                        .v_dtype = p->c->op.dtype,
                        .y = out,
                        .y_dtype = p->c->op.dtype,
                        .out = out,
                        .out_dtype = p->c->op.dtype};
    HWB_TRY(hwb__there_set(p->there, 0, 2, by));
    return hwb__there_sum(p->there, &s);
}

/* Rounded in aligned memory, from where it goes to its place. */
static hwb_status store_total(product *p) {
    for (int64_t at = 0, len; at < p->k; at += len) {
        len = together(p, at);
        hwb__sum_there s = {.n = len * p->c->op.n,
                            .y = p->total + at * p->stride,
                            .y_slot = -1,
                            .y_dtype = HWB_F64,
                            .out = p->part,
                            .out_dtype = p->c->op.dtype};
        HWB_TRY(hwb__there_sum(p->there, &s));
        HWB_TRY(hwb__there_copy(p->there, p->out + bytes_of(p, at * p->c->op.n), p->part,
                                bytes_of(p, s.n)));
    }
    return HWB_OK;
}

/* The product of a rank without samples. */
static hwb_status store_nothing(hwb_ctx *ctx, product *p) {
    int64_t bytes = bytes_of(p, p->k * p->c->op.n);
    void *zeros = hwb_calloc(ctx, (size_t)bytes);
    if (!zeros) return HWB_ENOMEM;
    hwb_status st = hwb__there_put(p->there, p->out, zeros, bytes);
    hwb_free(zeros);
    return st;
}

static hwb_status finish(hwb_ctx *ctx, product *p) {
    hwb_curvature *c = p->c;
    hwb__shared *s = c->shared;
    int64_t n = p->k * c->op.n;
    double share = s->batches == 1 ? hwb__share_of(s, s->x) : 1;
    double decay = c->activation ? 0 : s->o.weight_decay;
    if (p->total) HWB_TRY(p->begun ? store_total(p) : store_nothing(ctx, p));
    if (share != 1) HWB_TRY(combine(p, n, p->out, share, NULL, 0));
    HWB_TRY(hwb__sum_products_there(ctx, c, p->there, n, p->v, p->out));
    if (decay != 0) HWB_TRY(combine(p, n, p->out, 1, (void *)(uintptr_t)p->v, decay));
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

hwb_status hwb__curvature_apply_all_there(hwb_ctx *ctx, int64_t n, hwb_linop *const *op,
                                          const int64_t *k, const void *const *v,
                                          void *const *out) {
    products all = {.each = calloc((size_t)n + 1, sizeof *all.each)};
    hwb_status st = HWB_OK;
    if (!all.each) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for products");
    for (int64_t i = 0; st == HWB_OK && i < n; i++)
        if (v[i]) st = begin(ctx, &all.each[all.n++], (hwb_curvature *)op[i], k[i], v[i], out[i]);
    if (st == HWB_OK) st = run_products(ctx, &all);
    for (int64_t i = 0; i < all.n; i++) end(&all.each[i]);
    free(all.each);
    return st;
}

hwb_status hwb__curvature_apply_there(hwb_ctx *ctx, hwb_linop *self, int64_t k, const void *v,
                                      void *out) {
    return hwb__curvature_apply_all_there(ctx, 1, &self, &k, &v, &out);
}
