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
    hwb_linop *op;
    const hwb_cg_options *opt;
    hwb_cg_result *out;
    hwb_tensor *x, *r, *p; /* [1,n] of op->dtype */
} cg;

static double dot(const cg *z, const hwb_tensor *a, const hwb_tensor *b) {
    return hwb__vec_dot(z->ctx, z->op->dtype, z->op->n, hwb_tensor_data(a), hwb_tensor_data(b));
}

/* y = a x + b y */
static void axpby(const cg *z, double a, const hwb_tensor *x, double b, hwb_tensor *y) {
    hwb__vec_axpby(z->ctx, z->op->dtype, z->op->n, a, hwb_tensor_data(x), b, hwb_tensor_data(y));
}

/* new ref A p = H p + damping p */
static hwb_status product(cg *z, const hwb_tensor *p, hwb_tensor **out) {
    HWB_TRY(hwb__op_apply(z->ctx, z->op, out, p));
    z->out->hvps++;
    axpby(z, z->opt->damping, p, 1, *out);
    return HWB_OK;
}

/* x = start or 0, r = b - A x, p = r; *bnorm = |b| */
static hwb_status begin(cg *z, const hwb_tensor *b, double *bnorm) {
    hwb_shape row = {.ndim = 2, .dim = {1, z->op->n}};
    HWB_TRY(hwb_tensor_zeros(z->ctx, &z->x, z->op->dtype, row));
    HWB_TRY(hwb_tensor_new(z->ctx, &z->r, z->op->dtype, row));
    HWB_TRY(hwb_tensor_copy(z->ctx, z->r, b));
    *bnorm = sqrt(dot(z, z->r, z->r));
    if (z->opt->start) {
        hwb_tensor *ax = NULL;
        HWB_TRY(hwb_tensor_copy(z->ctx, z->x, z->opt->start));
        HWB_TRY(product(z, z->x, &ax));
        axpby(z, -1, ax, 1, z->r);
        hwb_tensor_release(ax);
    }
    return hwb_tensor_clone(z->ctx, &z->p, z->r);
}

static hwb_status iterate(cg *z, double bnorm) {
    hwb_cg_result *o = z->out;
    double rr = dot(z, z->r, z->r);
    for (;;) {
        if (!isfinite(rr)) return hwb__not_finite(z->ctx, "cg", o->iterations);
        o->history[o->iterations] = bnorm > 0 ? sqrt(rr) / bnorm : 0;
        char note[48];
        snprintf(note, sizeof note, "residual %.2g", o->history[o->iterations]);
        hwb_progress(z->ctx, "cg", o->iterations, z->opt->maxiter, note);
        o->converged = sqrt(rr) <= z->opt->tol * bnorm;
        if (o->converged || o->iterations == z->opt->maxiter) return HWB_OK;
        hwb_tensor *ap = NULL;
        HWB_TRY(product(z, z->p, &ap));
        double curvature = dot(z, z->p, ap), before = rr;
        o->indefinite = curvature <= 0;
        if (!o->indefinite) {
            axpby(z, rr / curvature, z->p, 1, z->x);
            axpby(z, -rr / curvature, ap, 1, z->r);
            rr = dot(z, z->r, z->r);
            axpby(z, 1, z->r, rr / before, z->p);
            o->iterations++;
        }
        hwb_tensor_release(ap);
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
    cg z = {.ctx = ctx, .op = op, .opt = opt, .out = &r};
    hwb_shape flat = {.ndim = 1, .dim = {op->n}};
    hwb_status s;
    double bnorm = 0;
    HWB_GOTO(done, s, begin(&z, b, &bnorm));
    HWB_GOTO(done, s, iterate(&z, bnorm));
    HWB_GOTO(done, s, hwb_tensor_reshape(ctx, &r.x, z.x, flat));
done:
    hwb_tensor_release(z.x);
    hwb_tensor_release(z.r);
    hwb_tensor_release(z.p);
    if (s != HWB_OK) {
        hwb_cg_free(&r);
        return s;
    }
    *out = r;
    return HWB_OK;
}
