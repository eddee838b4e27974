/*
 * Private to the eigenvalue solvers: argument checks, the result's life, the
 * per-iteration report (history, progress, the caller's step function), and the
 * method as an object that is given products instead of asking for them, so that
 * many solves can take turns.
 */
#ifndef HWB_EIGS_I_H
#define HWB_EIGS_I_H

#include <stdio.h>

#include "spectral/spectral_i.h"

/* A solve in steps: take(vector's product) until it says done, then collect. */
typedef struct hwb__eigs_method {
    /* *z may be set on failure too; close it */
    hwb_status (*open)(hwb_ctx *ctx, void **z, hwb_linop *op, const hwb_eigs_options *opt,
                       hwb_eigs_result *r, int k);
    hwb__vector *(*vector)(void *z);                               /* borrowed until take */
    hwb_status (*take)(void *z, hwb__vector *product, bool *done); /* takes it, also on failure */
    hwb_status (*collect)(void *z);
    void (*close)(void *z);
    /* vectors of n elements that a solve holds at most */
    int64_t (*holds)(const hwb_linop *op, const hwb_eigs_options *opt, int k);
} hwb__eigs_method;
extern const hwb__eigs_method hwb__eigs_lanczos, hwb__eigs_power;

hwb_status hwb__eigs_solve(hwb_ctx *ctx, hwb_eigs_result *out, hwb_linop *op,
                           const hwb_eigs_options *opt, const hwb__eigs_method *method);

hwb_status hwb__eigs_check(hwb_ctx *ctx, const hwb_linop *op, const hwb_eigs_options *opt);
/* room for k pairs; the vectors are the solver's */
hwb_status hwb__eigs_alloc(hwb_ctx *ctx, hwb_eigs_result *r, int k);
/* counts one iteration */
hwb_status hwb__eigs_report(hwb_ctx *ctx, hwb_eigs_result *r, const hwb_eigs_options *opt,
                            const char *what, int pair, double value, double residual);
/* the residual below which θ counts as converged */
double hwb__eigs_bound(const hwb_eigs_options *opt, hwb_dtype dtype, double theta, double norm);
/* residuals[i] = |Hy_i - θ_i y_i| with one more product for each pair */
hwb_status hwb__eigs_true_residuals(hwb_ctx *ctx, hwb_linop *op, hwb_eigs_result *r);

#endif
