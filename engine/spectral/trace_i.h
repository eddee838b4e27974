/*
 * Private to the trace estimators.
 */
#ifndef HWB_TRACE_I_H
#define HWB_TRACE_I_H

#include "spectral/spectral_i.h"

/* Enough samples, and their standard error small against `mean`? */
bool hwb__trace_settled(const hwb_trace_options *opt, const hwb__stat *s, double mean);
/* How many probes to send now: at most `most`, no more than seem needed. */
int64_t hwb__trace_batch(double tol, int64_t most, int64_t min_probes, const hwb__stat *s,
                         double mean);
void hwb__trace_progress(hwb_ctx *ctx, const char *what, int64_t done, int64_t total, double mean,
                         double se);

/* r->samples has room for opt->max_probes values */
hwb_status hwb__trace_hutchpp(hwb_ctx *ctx, hwb_trace_result *r, hwb__space *sp,
                              const hwb_trace_options *opt);
hwb_status hwb__trace_xtrace(hwb_ctx *ctx, hwb_trace_result *r, hwb__space *sp,
                             const hwb_trace_options *opt);
/* Products with all of v; its samples vᵀHv + exact, one by one until they have settled. */
hwb_status hwb__trace_sample(hwb__space *sp, hwb_trace_result *r, const hwb_trace_options *opt,
                             const char *what, double exact, const hwb__vector *v, hwb__stat *st);

#endif
