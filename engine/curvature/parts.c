/*
 * parts.c: a data source shared out among ranks: of each batch every rank sees its
 * part of the samples (hwb_comm_part), and the operators add up what comes of it.
 *
 *     H v = sum_r (n_r / N) H_r v      n_r of the N samples are on rank r
 *
 * Batch statistics tie the samples of a batch together: its ranks' programs exchange sums
 * (hwb_graph_spread), l_r = (n_r / N) mean_r is inside them, and H v is the plain sum.  A
 * batch of fewer samples than ranks stays whole and every rank does the same work.
 */
#include "curvature/curvature_i.h"

#include <stdlib.h>

typedef struct parts {
    hwb_source whole;
    hwb_comm_place place;
    bool by_itself; /* `whole` gives this rank's part */
} parts;

static hwb_status parts_rewind(hwb_ctx *ctx, void *self) {
    parts *p = self;
    return p->whole.rewind(ctx, p->whole.self);
}

/* Rows first..first+count-1 of y when x has n samples; y may have several rows a sample. */
static hwb_status rows_of(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *y, int64_t n, int64_t first,
                          int64_t count) {
    const hwb_shape *s = hwb_tensor_shape(y);
    char text[HWB_SHAPE_TEXT];
    if (s->ndim < 1 || s->dim[0] % n != 0)
        return hwb_fail(ctx, HWB_ESHAPE, "targets %s of %lld samples cannot be shared out among %s",
                        hwb_shape_text(s, text), (long long)n, "ranks");
    int64_t each = s->dim[0] / n;
    return hwb_tensor_slice(ctx, out, y, 0, first * each, count * each, 1);
}

/* x and y, both taken, become this rank's rows; NULL where it has none. */
static hwb_status cut(hwb_ctx *ctx, const parts *p, hwb_tensor **x, hwb_tensor **y) {
    hwb_tensor *wx = *x, *wy = *y;
    int64_t n = hwb_tensor_shape(wx)->dim[0], first = 0, count = n;
    *x = *y = NULL;
    if (!p->by_itself) hwb_comm_part(p->place, n, &first, &count);
    hwb_status st = HWB_OK;
    if (count > 0) st = hwb_tensor_slice(ctx, x, wx, 0, first, count, 1);
    if (count > 0 && st == HWB_OK) st = rows_of(ctx, y, wy, n, first, count);
    if (st != HWB_OK) {
        hwb_tensor_release(*x);
        *x = NULL;
    }
    hwb_tensor_release(wx);
    hwb_tensor_release(wy);
    return st;
}

static hwb_status parts_next(hwb_ctx *ctx, void *self, hwb_tensor **x, hwb_tensor **y) {
    parts *p = self;
    do {
        HWB_TRY(p->whole.next(ctx, p->whole.self, x, y));
        if (!*x) return HWB_OK;
        HWB_TRY(cut(ctx, p, x, y));
    } while (!*x);
    return HWB_OK;
}

static void parts_free(void *self) {
    parts *p = self;
    if (p->whole.free_self) p->whole.free_self(p->whole.self);
    free(p);
}

hwb_status hwb__share_out(hwb_ctx *ctx, hwb__shared *s) {
    hwb_comm_place place = hwb_comm_where(ctx);
    if (place.size == 1 || s->o.batch_norm_batch) return HWB_OK;
    parts *p = calloc(1, sizeof *p);
    if (!p) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a data source");
    *p = (parts){.whole = s->source, .place = place};
    if (p->whole.take_part)
        p->by_itself = p->whole.take_part(p->whole.self, place.rank, place.size);
    s->source = (hwb_source){p, parts_rewind, parts_next, parts_free, NULL};
    s->split = true;
    return HWB_OK;
}

hwb_status hwb__spread(hwb_ctx *ctx, hwb__shared *s) {
    parts p = {.place = hwb_comm_where(ctx)};
    int64_t n = hwb_tensor_shape(s->x)->dim[0];
    hwb_source own;
    if (p.place.size == 1 || s->undivided || n < p.place.size) return HWB_OK;
    hwb_tensor *x = hwb_tensor_retain(s->x), *y = hwb_tensor_retain(s->y);
    HWB_TRY(cut(ctx, &p, &x, &y));
    hwb_status st = hwb_source_batch(ctx, &own, x, y, 0);
    if (st == HWB_OK) {
        hwb_tensor_release(s->x);
        hwb_tensor_release(s->y);
        s->x = x;
        s->y = y;
        s->whole = s->source;
        s->source = own;
        s->split = s->spread = true;
        return HWB_OK;
    }
    hwb_tensor_release(x);
    hwb_tensor_release(y);
    return st;
}

double hwb__share_of(const hwb__shared *s, const hwb_tensor *x) {
    return s->spread ? 1 : (double)hwb_tensor_shape(x)->dim[0] / (double)s->samples;
}

/* The first batch of `from` and whether it is the only one. */
static hwb_status first_batch(hwb_ctx *ctx, const hwb_source *from, hwb_tensor **x, hwb_tensor **y,
                              bool *only) {
    hwb_tensor *more_x = NULL, *more_y = NULL;
    HWB_TRY(from->rewind(ctx, from->self));
    HWB_TRY(from->next(ctx, from->self, x, y));
    hwb_status st = *x ? from->next(ctx, from->self, &more_x, &more_y) : HWB_OK;
    *only = *x && !more_x;
    hwb_tensor_release(more_x);
    hwb_tensor_release(more_y);
    return st;
}

hwb_status hwb__whole_batch(hwb_ctx *ctx, hwb__shared *s, hwb_source *out) {
    parts *p = s->spread ? NULL : s->source.self;
    hwb_tensor *x = NULL, *y = NULL;
    bool only = false;
    if (p && p->by_itself) p->whole.take_part(p->whole.self, 0, 1);
    hwb_status st = first_batch(ctx, p ? &p->whole : &s->whole, &x, &y, &only);
    if (p && p->by_itself) p->whole.take_part(p->whole.self, p->place.rank, p->place.size);
    if (st == HWB_OK && !only)
        st = hwb_fail(ctx, HWB_EARG, "an activation's Hessian needs one batch, not several");
    if (st == HWB_OK) st = hwb_source_batch(ctx, out, x, y, 0);
    hwb_tensor_release(x);
    hwb_tensor_release(y);
    return st;
}

/* ---- adding up -------------------------------------------------------------------------- */

/* Ranks that work with other weights would add up to nonsense, unseen. */
static uint64_t mark_of_model(const hwb__shared *s) {
    uint64_t mark = (uint64_t)s->o.kind + 1;
    for (int i = 0; i < hwb_model_parameter_count(s->model); i++)
        mark = hwb_comm_mark_of(mark, NULL, hwb_model_parameter(s->model, i, NULL), 64);
    return mark;
}

hwb_status hwb__sum_products(hwb_ctx *ctx, const hwb_curvature *c, const hwb_tensor *v,
                             hwb_tensor *products) {
    if (!c->shared->split) return HWB_OK;
    hwb_comm_mark(ctx, hwb_comm_mark_of(mark_of_model(c->shared), c->name, v, 4096));
    return hwb_comm_sum_tensor(ctx, products);
}

enum { PIECES = 16, PIECE = 256 };

/* Some of v, evenly spaced, brought up in one copy. new ref */
static hwb_status sample_there(hwb_ctx *ctx, hwb__there *t, hwb_dtype dtype, int64_t n,
                               const char *v, hwb_tensor **out) {
    int64_t size = (int64_t)hwb_dtype_size(dtype), len = n < PIECE ? n : PIECE;
    int64_t pieces = n / len < PIECES ? n / len : PIECES;
    void *some = NULL;
    HWB_TRY(hwb__there_alloc(t, &some, pieces * len * size));
    hwb_status st = hwb_tensor_new(ctx, out, dtype, (hwb_shape){.ndim = 1, .dim = {pieces * len}});
    for (int64_t i = 0; st == HWB_OK && i < pieces; i++)
        st = hwb__there_copy(t, (char *)some + i * len * size, v + n / pieces * i * size,
                             len * size);
    if (st == HWB_OK) st = hwb__there_get(t, hwb_tensor_data(*out), some, pieces * len * size);
    hwb__there_release(t, some);
    if (st != HWB_OK) {
        hwb_tensor_release(*out);
        *out = NULL;
    }
    return st;
}

hwb_status hwb__sum_products_there(hwb_ctx *ctx, const hwb_curvature *c, hwb__there *t, int64_t n,
                                   const void *v, void *products) {
    hwb_device *d = NULL;
    hwb_tensor *some = NULL;
    if (!c->shared->split) return HWB_OK;
    HWB_TRY(hwb_device_open(ctx, &d, hwb_get_device(ctx)));
    HWB_TRY(sample_there(ctx, t, c->op.dtype, n, v, &some));
    hwb_comm_mark(ctx, hwb_comm_mark_of(mark_of_model(c->shared), c->name, some, 0));
    hwb_tensor_release(some);
    return hwb__device_sum_ranks(ctx, d, c->op.dtype, n, products);
}

hwb_status hwb__sum_numbers(hwb_ctx *ctx, const hwb__shared *s, int64_t n, double *v) {
    if (!s->split) return HWB_OK;
    hwb_comm_mark(ctx, mark_of_model(s));
    return hwb_comm_sum(ctx, HWB_F64, n, v);
}
