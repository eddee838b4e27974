/*
 * Private to quant/: reading floats of either dtype as double, the rounding
 * step shared by all quantizers, and the layout of groups.
 */
#ifndef HWB_QUANT_I_H
#define HWB_QUANT_I_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/quant.h"

static inline double hwb__load(hwb_dtype d, const void *p, int64_t i) {
    return d == HWB_F32 ? (double)((const float *)p)[i] : ((const double *)p)[i];
}

static inline void hwb__store(hwb_dtype d, void *p, int64_t i, double x) {
    if (d == HWB_F32) ((float *)p)[i] = (float)x;
    else ((double *)p)[i] = x;
}

/* Round half to even for |x| < 2^51: adding 1.5·2^52 leaves no fraction bits.
 * Unlike rint() it is inlined and vectorised on any x86-64. */
static inline double hwb__round(double x) {
    return (x + 0x1.8p52) - 0x1.8p52;
}

/* One group's quantizer: w -> S·r with an integer r in [lo,hi] (code = r + zero), or
 * r = ±1 (code = (r-1)/2) for one symmetric bit. */
typedef struct hwb__step {
    double scale, lo, hi;
    int zero;
    bool sign;
} hwb__step;

static inline double hwb__step_round(const hwb__step *s, double w) {
    if (s->sign) return w < 0 ? -1 : 1;
    double x = w / s->scale;
    /* lo and hi are integers: clamping first equals clamping last */
    return hwb__round(x < s->lo ? s->lo : x > s->hi ? s->hi : x);
}

hwb__step hwb__step_of(const hwb_quant_spec *spec, double scale, int zero);

/* S and z of a range (not for one symmetric bit, whose S is mean|w|) */
void hwb__scale_of(const hwb_quant_spec *spec, double lo, double hi, double *scale, int *zero);

/* w[rows,cols] in groups of group_rows rows */
typedef struct hwb__groups {
    int64_t rows, cols, group_rows, count;
} hwb__groups;
hwb__groups hwb__groups_of(const hwb_quant_spec *spec, const hwb_shape *shape);

/* w as a dense float tensor: new ref, perhaps w itself; HWB_EDTYPE / HWB_ENUMERIC */
hwb_status hwb__dense_finite(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *w, const char *what);
int hwb__quant_threads(hwb_ctx *ctx, int64_t work);

/* k-th smallest of a[0..n), 0-based; reorders a */
double hwb__select(double *a, int64_t n, int64_t k);
/* 0-based rank of percentile p among n values: round(n p/100) - 1, kept in range */
int64_t hwb__percentile_rank(double p, int64_t n);

#endif
