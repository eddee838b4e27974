/*
 * eigs.c: options and results shared by the eigenvalue solvers.
 */
#include "spectral/eigs_i.h"

hwb_eigs_options hwb_eigs_defaults(void) {
    return (hwb_eigs_options){
        .k = 1, .which = HWB_WHICH_LA, .tol = 1e-3, .value_tol = 1e-3, .maxiter = 100};
}

bool hwb_which_parse(const char *name, hwb_which *out) {
    static const char *const names[] = {"LA", "SA", "LM"};
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (hwb_which)i;
            return true;
        }
    return false;
}

hwb_status hwb__eigs_check(hwb_ctx *ctx, const hwb_linop *op, const hwb_eigs_options *opt) {
    HWB_TRY(hwb__op_check(ctx, op));
    if (opt->k < 1) return hwb_fail(ctx, HWB_EARG, "k = %d eigenpairs: needs at least 1", opt->k);
    if (opt->maxiter < 1)
        return hwb_fail(ctx, HWB_EARG, "maxiter = %lld: needs at least 1", (long long)opt->maxiter);
    if (!(opt->tol >= 0) || !(opt->value_tol >= 0))
        return hwb_fail(ctx, HWB_EARG, "tolerances must be numbers >= 0");
    if (!opt->start) return HWB_OK;
    const hwb_shape *s = hwb_tensor_shape(opt->start);
    if ((s->ndim != 1 && s->ndim != 2) || s->dim[s->ndim - 1] != op->n ||
        hwb_tensor_numel(opt->start) == 0) {
        char text[HWB_SHAPE_TEXT];
        return hwb_fail(ctx, HWB_ESHAPE, "start vector is %s, the operator has n = %lld",
                        hwb_shape_text(s, text), (long long)op->n);
    }
    if (!hwb_dtype_is_float(hwb_tensor_dtype(opt->start)))
        return hwb_fail(ctx, HWB_EDTYPE, "start vector is %s: needs a float dtype",
                        hwb_dtype_name(hwb_tensor_dtype(opt->start)));
    if (!hwb_tensor_all_finite(opt->start))
        return hwb_fail(ctx, HWB_ENUMERIC, "start vector is not finite");
    return HWB_OK;
}

hwb_status hwb__eigs_alloc(hwb_ctx *ctx, hwb_eigs_result *r, int k) {
    *r = (hwb_eigs_result){0};
    r->values = hwb_calloc(ctx, (size_t)k * sizeof *r->values);
    r->residuals = hwb_calloc(ctx, (size_t)k * sizeof *r->residuals);
    r->converged = hwb_calloc(ctx, (size_t)k * sizeof *r->converged);
    r->pair_iterations = hwb_calloc(ctx, (size_t)k * sizeof *r->pair_iterations);
    if (r->values && r->residuals && r->converged && r->pair_iterations) return HWB_OK;
    hwb_eigs_free(r);
    return HWB_ENOMEM;
}

void hwb_eigs_free(hwb_eigs_result *r) {
    if (!r) return;
    hwb_free(r->values);
    hwb_free(r->residuals);
    hwb_free(r->converged);
    hwb_free(r->pair_iterations);
    hwb_free(r->history_value);
    hwb_free(r->history_residual);
    hwb_tensor_release(r->vectors);
    *r = (hwb_eigs_result){0};
}

/* Doubles one history array when it is full (at powers of two). */
static hwb_status grow(hwb_ctx *ctx, double **a, int64_t len) {
    if (len != 0 && (len < 16 || (len & (len - 1)) != 0)) return HWB_OK;
    double *b = hwb_alloc(ctx, (size_t)(len ? 2 * len : 16) * sizeof *b);
    if (!b) return HWB_ENOMEM;
    if (len) memcpy(b, *a, (size_t)len * sizeof *b);
    hwb_free(*a);
    *a = b;
    return HWB_OK;
}

hwb_status hwb__eigs_report(hwb_ctx *ctx, hwb_eigs_result *r, const hwb_eigs_options *opt,
                            const char *what, int pair, double value, double residual) {
    HWB_TRY(grow(ctx, &r->history_value, r->history_len));
    HWB_TRY(grow(ctx, &r->history_residual, r->history_len));
    r->history_value[r->history_len] = value;
    r->history_residual[r->history_len++] = residual;
    r->iterations++;
    char note[96];
    snprintf(note, sizeof note, "lambda %.6g, residual %.2g", value, residual);
    hwb_progress(ctx, what, r->hvps, 0, note);
    if (!opt->step) return HWB_OK;
    hwb_eigs_step step = {r->iterations, r->hvps, pair, value, residual};
    return opt->step(ctx, opt->user, &step);
}

double hwb__eigs_bound(const hwb_eigs_options *opt, hwb_dtype dtype, double theta, double norm) {
    double floor_ = pow(hwb__eps(dtype), 2.0 / 3.0) * norm;
    return opt->tol * fmax(fabs(theta), floor_);
}

static hwb_status true_residual(hwb_ctx *ctx, hwb__space *sp, hwb_eigs_result *r, int i) {
    hwb_tensor *row = NULL;
    hwb__vector *y = NULL, *w = NULL;
    hwb_status s;
    HWB_GOTO(done, s, hwb_tensor_slice(ctx, &row, r->vectors, 0, i, 1, 1));
    HWB_GOTO(done, s, hwb__vector_load(sp, row, &y));
    HWB_GOTO(done, s, hwb__vector_apply(y, &w));
    HWB_GOTO(done, s, hwb__vector_axpby(-r->values[i], y, 1, w));
    HWB_GOTO(done, s, hwb__vector_norm(w, &r->residuals[i]));
    r->hvps++;
done:
    hwb__vector_release(w);
    hwb__vector_release(y);
    hwb_tensor_release(row);
    return s;
}

hwb_status hwb__eigs_true_residuals(hwb_ctx *ctx, hwb_linop *op, hwb_eigs_result *r) {
    hwb__space sp = {0};
    HWB_TRY(hwb__space_open(ctx, &sp, op));
    hwb_status s = HWB_OK;
    for (int i = 0; s == HWB_OK && i < r->k; i++) s = true_residual(ctx, &sp, r, i);
    hwb__space_close(&sp);
    return s;
}
