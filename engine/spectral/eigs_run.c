/*
 * eigs_run.c: solves by products: one operator's, or many operators' in turn.
 *
 * Where operators share a pass over data (hwb_linop_set), every pass makes one product
 * for each solve that still wants one; solves that have converged drop out.  Each takes
 * the same steps as it would by itself.
 */
#include "spectral/eigs_i.h"

/* Bytes of vectors that solves in turn may hold. */
static const double MOST_HELD = 1 << 30;

typedef struct solve {
    void *z;
    hwb_eigs_result r;
    bool done;
} solve;

static hwb_status open_solve(hwb_ctx *ctx, solve *s, hwb_linop *op, const hwb_eigs_options *opt,
                             const hwb__eigs_method *method) {
    HWB_TRY(hwb__eigs_check(ctx, op, opt));
    int k = opt->k < op->n ? opt->k : (int)op->n;
    HWB_TRY(hwb__eigs_alloc(ctx, &s->r, k));
    return method->open(ctx, &s->z, op, opt, &s->r, k);
}

/* Hands the result out when all went well. */
static hwb_status close_solve(hwb_ctx *ctx, solve *s, hwb_linop *op, const hwb_eigs_options *opt,
                              const hwb__eigs_method *method, hwb_status st, hwb_eigs_result *out) {
    if (st == HWB_OK) st = method->collect(s->z);
    if (s->z) method->close(s->z);
    if (st == HWB_OK && opt->true_residuals) st = hwb__eigs_true_residuals(ctx, op, &s->r);
    if (st == HWB_OK) *out = s->r;
    else hwb_eigs_free(&s->r);
    return st;
}

hwb_status hwb__eigs_solve(hwb_ctx *ctx, hwb_eigs_result *out, hwb_linop *op,
                           const hwb_eigs_options *opt, const hwb__eigs_method *method) {
    solve s = {0};
    hwb_status st = open_solve(ctx, &s, op, opt, method);
    while (st == HWB_OK && !s.done) {
        hwb__vector *w = NULL;
        st = hwb__vector_apply(method->vector(s.z), &w);
        if (st == HWB_OK) st = method->take(s.z, w, &s.done);
    }
    return close_solve(ctx, &s, op, opt, method, st, out);
}

/* ---- many ----------------------------------------------------------------------------- */

typedef struct turns {
    hwb_ctx *ctx;
    hwb_linop_set *set;
    const hwb_eigs_options *opt;
    const hwb__eigs_method *method;
    hwb_eigs_result *out;
    solve *each;          /* [set->n] */
    hwb__vector **v, **w; /* [set->n] */
    int64_t done;
} turns;

static void tell(turns *t, int64_t i) {
    char note[96];
    snprintf(note, sizeof note, "lambda %.6g, residual %.2g", t->out[i].values[0],
             t->out[i].residuals[0]);
    hwb_progress(t->ctx, "eigenvalues", ++t->done, t->set->n, note);
}

/* How many solves from `first` on may be open together. */
static int64_t that_fit(const turns *t, int64_t first) {
    double bytes = 0;
    int64_t i = first;
    for (; i < t->set->n; i++) {
        const hwb_linop *op = t->set->op[i];
        int k = t->opt[i].k < op->n ? t->opt[i].k : (int)op->n;
        bytes += (double)t->method->holds(op, &t->opt[i], k) * (double)op->n *
                 (double)hwb_dtype_size(op->dtype);
        if (i > first && bytes > MOST_HELD) break;
    }
    return i - first;
}

/* One product for each open solve of first..end-1. */
static hwb_status turn(turns *t, int64_t first, int64_t end, bool *any) {
    *any = false;
    for (int64_t i = 0; i < t->set->n; i++) {
        bool wants = i >= first && i < end && !t->each[i].done;
        t->v[i] = wants ? t->method->vector(t->each[i].z) : NULL;
        *any = *any || wants;
    }
    if (!*any) return HWB_OK;
    HWB_TRY(hwb__set_apply(t->ctx, t->set, t->w, t->v));
    hwb_status st = HWB_OK;
    for (int64_t i = first; i < end; i++) {
        if (!t->v[i]) continue;
        if (st == HWB_OK) st = t->method->take(t->each[i].z, t->w[i], &t->each[i].done);
        else hwb__vector_release(t->w[i]);
    }
    return st;
}

static hwb_status solve_together(turns *t, int64_t first, int64_t end) {
    hwb_status st = HWB_OK;
    bool any = true;
    for (int64_t i = first; st == HWB_OK && i < end; i++)
        st = open_solve(t->ctx, &t->each[i], t->set->op[i], &t->opt[i], t->method);
    while (st == HWB_OK && any) st = turn(t, first, end, &any);
    for (int64_t i = first; i < end; i++) {
        st = close_solve(t->ctx, &t->each[i], t->set->op[i], &t->opt[i], t->method, st, &t->out[i]);
        if (st == HWB_OK) tell(t, i);
    }
    return st;
}

static hwb_status solve_all(turns *t) {
    hwb_status st = HWB_OK;
    for (int64_t i = 0, n; st == HWB_OK && i < t->set->n; i += n) {
        n = t->set->pass ? that_fit(t, i) : 1;
        if (t->set->pass) {
            st = solve_together(t, i, i + n);
            continue;
        }
        st = hwb__eigs_solve(t->ctx, &t->out[i], t->set->op[i], &t->opt[i], t->method);
        if (st == HWB_OK) tell(t, i);
    }
    return st;
}

hwb_status hwb_eigs_many(hwb_ctx *ctx, hwb_eigs_result *out, hwb_linop_set *set,
                         const hwb_eigs_options *opt, bool power) {
    size_t n = (size_t)set->n;
    turns t = {.ctx = ctx,
               .set = set,
               .opt = opt,
               .method = power ? &hwb__eigs_power : &hwb__eigs_lanczos,
               .out = out,
               .each = calloc(n + 1, sizeof *t.each),
               .v = calloc(n + 1, sizeof *t.v),
               .w = calloc(n + 1, sizeof *t.w)};
    memset(out, 0, n * sizeof *out);
    hwb_status st = t.each && t.v && t.w
                        ? solve_all(&t)
                        : hwb_fail(ctx, HWB_ENOMEM, "out of memory for eigenpairs");
    for (size_t i = 0; st != HWB_OK && i < n; i++) hwb_eigs_free(&out[i]);
    free(t.each);
    free(t.v);
    free(t.w);
    return st;
}
