/*
 * programs.c: the compiled programs of operators: kept by batch shape and number of
 * vectors, and run on a batch.
 */
#include "curvature/curvature_i.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_CACHED = 6, SOME = 4 };

static void cached_free(hwb__cached *p) {
    hwb_program_release(p->program);
    free(p->v);
}

void hwb__programs_free(hwb__programs *p) {
    for (int i = 0; i < p->n; i++) cached_free(&p->list[i]);
    free(p->list);
}

static bool fits(const hwb__cached *p, const hwb_device *d, int64_t k, const hwb_tensor *x,
                 const hwb_tensor *y) {
    return p->k == k && hwb__program_device(p->program) == d && p->x_dtype == hwb_tensor_dtype(x) &&
           p->y_dtype == hwb_tensor_dtype(y) && hwb_shape_equal(&p->x_shape, hwb_tensor_shape(x)) &&
           hwb_shape_equal(&p->y_shape, hwb_tensor_shape(y));
}

hwb_status hwb__program_for(hwb_ctx *ctx, hwb_curvature *c, int64_t k, hwb_tensor *x, hwb_tensor *y,
                            hwb__cached **out) {
    hwb__programs *p = k > 0 ? &c->family->products : &c->own;
    hwb_device *d = NULL;
    HWB_TRY(hwb_device_open(ctx, &d, hwb_get_device(ctx)));
    for (int i = 0; i < p->n; i++) {
        if (!fits(&p->list[i], d, k, x, y)) continue;
        *out = &p->list[i];
        return HWB_OK;
    }
    hwb__cached made;
    HWB_TRY(hwb__assemble(ctx, c->family, c->index, k, x, y, &made));
    if (p->n == MAX_CACHED) { /* the oldest goes */
        cached_free(&p->list[0]);
        memmove(p->list, p->list + 1, (MAX_CACHED - 1) * sizeof *p->list);
        p->n--;
    }
    hwb__cached *list = realloc(p->list, (size_t)(p->n + 1) * sizeof *list);
    if (!list) {
        cached_free(&made);
        return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a curvature operator");
    }
    p->list = list;
    list[p->n] = made;
    *out = &list[p->n++];
    return HWB_OK;
}

void hwb_curvature_trim(hwb_curvature *c) {
    const hwb__programs *each[2] = {&c->family->products, &c->own};
    for (int j = 0; j < 2; j++)
        for (int i = 0; i < each[j]->n; i++) hwb_program_trim(each[j]->list[i].program);
}

/* ---- running ------------------------------------------------------------------------------ */

hwb_status hwb__run_batch(hwb_ctx *ctx, hwb_curvature *c, int64_t k, hwb_tensor *x, hwb_tensor *y,
                          hwb_tensor *v, hwb_tensor **outs) {
    hwb__cached *p = NULL;
    HWB_TRY(hwb__program_for(ctx, c, k, x, y, &p));
    HWB_TRY(hwb_program_set(ctx, p->program, p->x, x));
    HWB_TRY(hwb_program_set(ctx, p->program, p->y, y));
    if (!v) return hwb_program_run(ctx, p->program, outs);
    HWB_TRY(hwb_program_set(ctx, p->program, p->v[c->index], v));
    hwb_status st = hwb_program_run_one(ctx, p->program, c->index, outs);
    hwb_program_unset(p->program, p->v[c->index]); /* n vectors of n members are much */
    return st;
}

hwb_status hwb__run_batch_there(hwb_ctx *ctx, hwb_curvature *c, int64_t k, hwb_tensor *x,
                                hwb_tensor *y, const void *v, void *out) {
    hwb__cached *p = NULL;
    HWB_TRY(hwb__program_for(ctx, c, k, x, y, &p));
    HWB_TRY(hwb_program_set(ctx, p->program, p->x, x));
    HWB_TRY(hwb_program_set(ctx, p->program, p->y, y));
    HWB_TRY(hwb__program_set_there(ctx, p->program, p->v[c->index], v));
    return hwb__program_run_there(ctx, p->program, c->index, out);
}

hwb_status hwb__curvature_loss(hwb_ctx *ctx, hwb_curvature *c, hwb_tensor *x, hwb_tensor *y,
                               hwb_tensor **loss) {
    hwb__cached *p = NULL;
    HWB_TRY(hwb__program_for(ctx, c, HWB__LOSS_ONLY, x, y, &p));
    hwb_program_check_finite(p->program, false);
    return hwb__run_batch(ctx, c, HWB__LOSS_ONLY, x, y, NULL, loss);
}

/* ---- memory ------------------------------------------------------------------------------- */

/* Fewer than k vectors, so that `bytes` of working memory for k become at most `budget`;
 * equal shares of `want` where that costs no more than half of them. */
static int64_t fewer(int64_t k, size_t bytes, size_t budget, int64_t want) {
    int64_t most = (int64_t)((double)k * (double)budget / (double)bytes);
    if (most > k - 1) most = k - 1;
    if (most < 1) return 1;
    for (int64_t d = most; d > most / 2; d--)
        if (want % d == 0) return d;
    return most;
}

/* Measured on the programs.  Each number of vectors is a program that keeps a primal pass of
 * its own, so a family, which keeps what all its members need, has two at most: for one vector,
 * and for SOME where several at once gain something, not on processors (tests/bench/NOTES.md). */
hwb_status hwb__vectors_at_once(hwb_ctx *ctx, hwb_curvature *c, int64_t want, int64_t *k) {
    hwb__shared *s = c->shared;
    hwb_tensor *x = s->x, *y = s->y;
    const char *device = hwb_get_device(ctx);
    bool host = strcmp(device, "cpu") == 0 || strcmp(device, "ref") == 0;
    *k = c->family->n == 1 ? want : host || want < SOME ? 1 : SOME;
    if (*k <= 1 || s->batches == 0) return HWB_OK;
    if (!x) {
        HWB_TRY(s->source.rewind(ctx, s->source.self));
        HWB_TRY(s->source.next(ctx, s->source.self, &x, &y));
    }
    hwb_status st = HWB_OK;
    while (*k > 1 && st == HWB_OK) {
        hwb__cached *p = NULL;
        st = hwb__program_for(ctx, c, *k, x, y, &p);
        size_t bytes = st == HWB_OK ? hwb_program_stats(p->program).arena_bytes : 0;
        if (bytes <= s->o.budget) break;
        *k = c->family->n > 1 ? 1 : fewer(*k, bytes, s->o.budget, want);
    }
    if (!s->x) {
        hwb_tensor_release(x);
        hwb_tensor_release(y);
    }
    return st;
}

/* ---- text --------------------------------------------------------------------------------- */

char *hwb_curvature_dump(hwb_ctx *ctx, hwb_curvature *c, int64_t k) {
    hwb__cached *p = NULL;
    if (hwb__curvature_survey(ctx, c->shared) != HWB_OK) return NULL;
    hwb_tensor *x = c->shared->x, *y = c->shared->y;
    if (k < 0 || !x) {
        hwb_fail(ctx, HWB_EARG, k < 0 ? "%lld vectors" : "the text needs one batch, not %lld",
                 (long long)(k < 0 ? k : c->shared->batches));
        return NULL;
    }
    if (hwb__program_for(ctx, c, k, x, y, &p) != HWB_OK) return NULL;
    return hwb_program_dump(p->program);
}
