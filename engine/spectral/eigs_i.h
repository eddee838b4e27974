/*
 * Private to the eigenvalue solvers: argument checks, the result's life, and
 * the per-iteration report (history, progress, the caller's step function).
 */
#ifndef HWB_EIGS_I_H
#define HWB_EIGS_I_H

#include <stdio.h>

#include "spectral/spectral_i.h"

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
