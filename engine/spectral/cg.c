/*
 * cg.c: conjugate gradients for (H + damping I) x = b.
 *
 *     a = rᵀr / pᵀAp,  x += a p,  r -= a Ap,  p = r + (r'ᵀr'/rᵀr) p
 *
 * A direction with pᵀAp <= 0 shows that the damped operator is not positive
 * definite; the solve stops there and says so.
 */
#include "spectral/spectral_i.h"

#include <stdio.h>

hwb_cg_options hwb_cg_defaults(void) {
    return (hwb_cg_options){.tol = 1e-6, .maxiter = 100};
}

void hwb_cg_free(hwb_cg_result *r) {
    if (!r) return;
    hwb_tensor_release(r->x);
    hwb_free(r->history);
    *r = (hwb_cg_result){0};
}

typedef struct cg {
    hwb_ctx *ctx;
    hwb__space space;
    const hwb_cg_options *opt;
    hwb_cg_result *out;
    hwb__vector *x, *r, *p;
} cg;

/* A p = H p + damping p */
static hwb_status product(cg *z, const hwb__vector *p, hwb__vector **out) {
    HWB_TRY(hwb__vector_apply(p, out));
    z->out->hvps++;
    return hwb__vector_axpby(z->opt->damping, p, 1, *out);
}

/* x = start or 0, r = b - A x, p = r; *bnorm = |b| */
static hwb_status begin(cg *z, const hwb_tensor *b, double *bnorm) {
    HWB_TRY(hwb__vector_load(&z->space, b, &z->r));
    HWB_TRY(hwb__vector_norm(z->r, bnorm));
    if (z->opt->start) {
        hwb__vector *ax = NULL;
        HWB_TRY(hwb__vector_load(&z->space, z->opt->start, &z->x));
        hwb_status s = product(z, z->x, &ax);
        if (s == HWB_OK) s = hwb__vector_axpby(-1, ax, 1, z->r);
        hwb__vector_release(ax);
        HWB_TRY(s);
    } else {
        HWB_TRY(hwb__vector_row(z->r, 0, &z->x));
        HWB_TRY(hwb__vector_scale(z->x, 0));
    }
    return hwb__vector_row(z->r, 0, &z->p);
}

/* x, r and p of the next iteration; rr becomes |r|² */
static hwb_status advance(cg *z, const hwb__vector *ap, double curvature, double *rr) {
    double before = *rr;
    HWB_TRY(hwb__vector_axpby(before / curvature, z->p, 1, z->x));
    HWB_TRY(hwb__vector_axpby(-before / curvature, ap, 1, z->r));
    HWB_TRY(hwb__vector_dots(z->r, z->r, rr));
    HWB_TRY(hwb__vector_axpby(1, z->r, *rr / before, z->p));
    z->out->iterations++;
    return HWB_OK;
}

static hwb_status iterate(cg *z, double bnorm) {
    hwb_cg_result *o = z->out;
    double rr = 0;
    HWB_TRY(hwb__vector_dots(z->r, z->r, &rr));
    for (;;) {
        if (!isfinite(rr)) return hwb__not_finite(z->ctx, "cg", o->iterations);
        o->history[o->iterations] = bnorm > 0 ? sqrt(rr) / bnorm : 0;
        char note[48];
        snprintf(note, sizeof note, "residual %.2g", o->history[o->iterations]);
        hwb_progress(z->ctx, "cg", o->iterations, z->opt->maxiter, note);
        o->converged = sqrt(rr) <= z->opt->tol * bnorm;
        if (o->converged || o->iterations == z->opt->maxiter) return HWB_OK;
        hwb__vector *ap = NULL;
        double curvature = 0;
        hwb_status s = product(z, z->p, &ap);
        if (s == HWB_OK) s = hwb__vector_dots(z->p, ap, &curvature);
        o->indefinite = s == HWB_OK && curvature <= 0;
        if (s == HWB_OK && !o->indefinite) s = advance(z, ap, curvature, &rr);
        hwb__vector_release(ap);
        HWB_TRY(s);
        if (o->indefinite) return HWB_OK;
    }
}

static hwb_status check(hwb_ctx *ctx, const hwb_linop *op, const hwb_tensor *t, const char *what) {
    char text[HWB_SHAPE_TEXT];
    const hwb_shape *s = hwb_tensor_shape(t);
    if (s->ndim != 1 || s->dim[0] != op->n)
        return hwb_fail(ctx, HWB_ESHAPE, "cg: %s is %s, the operator has n = %lld", what,
                        hwb_shape_text(s, text), (long long)op->n);
    if (!hwb_tensor_all_finite(t)) return hwb_fail(ctx, HWB_ENUMERIC, "cg: %s is not finite", what);
    return HWB_OK;
}

hwb_status hwb_cg(hwb_ctx *ctx, hwb_cg_result *out, hwb_linop *op, const hwb_tensor *b,
                  const hwb_cg_options *opt) {
    HWB_TRY(hwb__op_check(ctx, op));
    HWB_TRY(check(ctx, op, b, "b"));
    if (opt->start) HWB_TRY(check(ctx, op, opt->start, "start"));
    if (opt->maxiter < 0 || !(opt->tol >= 0))
        return hwb_fail(ctx, HWB_EARG, "cg: maxiter and tol must be at least 0");
    hwb_cg_result r = {0};
    r.history = hwb_calloc(ctx, ((size_t)opt->maxiter + 1) * sizeof *r.history);
    if (!r.history) return HWB_ENOMEM;
    cg z = {.ctx = ctx, .opt = opt, .out = &r};
    hwb_status s;
    double bnorm = 0;
    HWB_GOTO(done, s, hwb__space_open(ctx, &z.space, op));
    HWB_GOTO(done, s, begin(&z, b, &bnorm));
    HWB_GOTO(done, s, iterate(&z, bnorm));
    HWB_GOTO(done, s, hwb_tensor_new(ctx, &r.x, op->dtype, (hwb_shape){.ndim = 1, .dim = {op->n}}));
    HWB_GOTO(done, s, hwb__vector_store(z.x, 0, r.x, 0));
done:
    hwb__vector_release(z.x);
    hwb__vector_release(z.r);
    hwb__vector_release(z.p);
    hwb__space_close(&z.space);
    if (s != HWB_OK) {
        hwb_cg_free(&r);
        return s;
    }
    *out = r;
    return HWB_OK;
}
