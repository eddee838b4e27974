/*
 * quant: uniform quantizers, bit packing, activation ranges, size arithmetic
 * and the choice of bits for every layer.
 *
 * A weight tensor is read as rows x columns, rows = its first axis (output
 * channels or neurons).  One scale S (and zero point z) serves a group of
 * consecutive rows: all of them, one, or `group_rows` of them.
 *
 *   symmetric   S = max|w| / (2^(b-1) - 1),   q = clamp(round(w/S), -2^(b-1), 2^(b-1) - 1)
 *               1 bit: S = mean|w|, w → +S or -S (sign(0) = +), as DoReFa; zero
 *               is then not representable
 *   asymmetric  the range is widened to hold 0;  S = (max - min) / (2^b - 1),
 *               z = round(-min/S),   q = clamp(round(w/S) + z, 0, 2^b - 1)
 *
 * Rounding is half to even.  S is never below HWB_QUANT_MIN_SCALE.
 */
#ifndef HWB_QUANT_H
#define HWB_QUANT_H

#include "tensor/tensor.h"

#define HWB_QUANT_MIN_SCALE 1e-8
#define HWB_QUANT_MAX_BITS  8

typedef enum hwb_quant_scheme { HWB_QUANT_SYMMETRIC, HWB_QUANT_ASYMMETRIC } hwb_quant_scheme;
typedef enum hwb_quant_granularity {
    HWB_QUANT_PER_TENSOR,
    HWB_QUANT_PER_CHANNEL, /* every row */
    HWB_QUANT_PER_GROUP    /* group_rows consecutive rows; the last group may be shorter */
} hwb_quant_granularity;
typedef enum hwb_quant_ranging {
    HWB_QUANT_MINMAX,
    HWB_QUANT_PERCENTILE, /* of |w| (symmetric), or p and 100 - p of w */
    HWB_QUANT_MSE         /* the best of 80 fractions of the min-max range */
} hwb_quant_ranging;

typedef struct hwb_quant_spec {
    int bits; /* 1..8 */
    hwb_quant_scheme scheme;
    hwb_quant_granularity granularity;
    int64_t group_rows;
    hwb_quant_ranging ranging;
    double percentile; /* in (50,100] */
} hwb_quant_spec;
/* 8 bits, symmetric, per channel, min-max, percentile 99.99 */
HWB_API hwb_quant_spec hwb_quant_defaults(void);
HWB_API hwb_status hwb_quant_check(hwb_ctx *ctx, const hwb_quant_spec *spec);

/* Scales and zero points of one tensor. */
typedef struct hwb_quant_params {
    hwb_quant_spec spec;
    int64_t group_rows; /* rows of one group, resolved from the spec */
    hwb_tensor *scale;  /* [G] of the tensor's dtype */
    hwb_tensor *zero;   /* [G] int32; all 0 when symmetric */
} hwb_quant_params;
HWB_API void hwb_quant_params_free(hwb_quant_params *p); /* accepts a zeroed struct */

/* smallest and largest code */
HWB_API int hwb_quant_lowest(const hwb_quant_spec *spec);
HWB_API int hwb_quant_highest(const hwb_quant_spec *spec);

/* w float -> scales and zero points; HWB_ENUMERIC with the place of a NaN or Inf */
HWB_API hwb_status hwb_quant_range(hwb_ctx *ctx, hwb_quant_params *out, const hwb_tensor *w,
                                   const hwb_quant_spec *spec);
/* w -> new ref codes int32 of w's shape */
HWB_API hwb_status hwb_quant_encode(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *w,
                                    const hwb_quant_params *p);
/* codes -> new ref of the scales' dtype */
HWB_API hwb_status hwb_quant_decode(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *codes,
                                    const hwb_quant_params *p);
/* new ref decode(encode(w)), bit for bit, without the codes */
HWB_API hwb_status hwb_quant_apply(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *w,
                                   const hwb_quant_params *p);
/* range + apply */
HWB_API hwb_status hwb_quant_fake(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *w,
                                  const hwb_quant_spec *spec);
/* ‖Q(w) - w‖² in double */
HWB_API hwb_status hwb_quant_error(hwb_ctx *ctx, double *out, const hwb_tensor *w,
                                   const hwb_quant_spec *spec);

/* ---- packed codes ----------------------------------------------------------------- */

/* codes int32 -> new ref uint8 [ceil(n·bits/8)]: code - lowest in `bits` bits,
 * one after the other, least significant bit first. */
HWB_API hwb_status hwb_quant_pack(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *codes,
                                  const hwb_quant_spec *spec);
/* the reverse; `bytes` must have exactly the packed length of `shape` */
HWB_API hwb_status hwb_quant_unpack(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *bytes,
                                    hwb_shape shape, const hwb_quant_spec *spec);
/* packed codes + one float32 scale a group (+ one int32 zero point, asymmetric) */
HWB_API int64_t hwb_quant_packed_bytes(int64_t n, int64_t groups, const hwb_quant_spec *spec);
/* number of groups of a tensor of this shape */
HWB_API int64_t hwb_quant_groups(const hwb_quant_spec *spec, const hwb_shape *shape);

/* ---- ranges of activations, over batches -------------------------------------------- */

typedef enum hwb_observer_kind {
    HWB_OBSERVE_MINMAX,
    HWB_OBSERVE_EMA,       /* r = momentum r + (1 - momentum) r_batch; the first batch sets it */
    HWB_OBSERVE_PERCENTILE /* of a histogram whose bins double in width as the range grows */
} hwb_observer_kind;
typedef struct hwb_observer hwb_observer;
/* `value`: the momentum in [0,1) or the percentile in (50,100]; min-max ignores it */
HWB_API hwb_status hwb_observer_new(hwb_ctx *ctx, hwb_observer **out, hwb_observer_kind kind,
                                    double value);
HWB_API void hwb_observer_free(hwb_observer *o); /* NULL is accepted */
HWB_API hwb_status hwb_observer_update(hwb_ctx *ctx, hwb_observer *o, const hwb_tensor *x);
/* HWB_EARG before the first value */
HWB_API hwb_status hwb_observer_range(hwb_ctx *ctx, const hwb_observer *o, double *lo, double *hi);
/* S and z of a range, as for weights; a range within [0,∞) needs no sign bit, so
 * asymmetric with z = 0 */
HWB_API hwb_status hwb_quant_scale(hwb_ctx *ctx, double *scale, int *zero, double lo, double hi,
                                   int bits, hwb_quant_scheme scheme);
/* new ref S·(clamp(round(x/S) + z) - z), one S and z for the whole tensor */
HWB_API hwb_status hwb_quant_fake_scale(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *x,
                                        double scale, int zero, int bits, hwb_quant_scheme scheme);

/* ---- integer requantization ----------------------------------------------------------- */

/* multiplier ≈ b / 2^shift with b < 2^31 + 1 (dyadic number, HAWQ-V3) */
HWB_API hwb_status hwb_quant_dyadic(hwb_ctx *ctx, int64_t *b, int *shift, double multiplier);
/* clamp(round(acc·b / 2^shift)), halves upwards */
HWB_API int32_t hwb_quant_requantize(int32_t acc, int64_t b, int shift, int32_t lo, int32_t hi);

/* ---- sizes ------------------------------------------------------------------------------ */

/* One layer's share of the arithmetic; zero fields are allowed. */
typedef struct hwb_size_layer {
    int64_t weights; /* quantized elements */
    int bits;        /* of each; 32 = float */
    int64_t groups;  /* scales stored with them; not counted at 32 bits */
    int64_t rest;    /* float32 parameters beside them (bias, norm γ, β) */
    int64_t buffers; /* float32 state that is no parameter (running statistics) */
    int64_t macs;    /* multiply-accumulates for one input */
    int act_bits;    /* of the input activations; 0 = as `bits` */
} hwb_size_layer;

typedef struct hwb_size_options {
    bool count_rest;       /* default true */
    bool state_dict;       /* count buffers too; default false: parameters only */
    int group_bytes;       /* for each group; default 0 (papers), 4 symmetric, 8 with offsets */
    double baseline_bytes; /* of the ratio; 0 = the same layers at 32 bits */
} hwb_size_options;
HWB_API hwb_size_options hwb_size_defaults(void);

typedef struct hwb_size_report {
    double bytes, mib; /* MiB = 2^20 bytes, the "MB" of the papers */
    double baseline_bytes, ratio;
    double average_bits; /* Σ n b / Σ n over the quantized elements */
    double bops;         /* Σ macs · bits · act_bits */
    int64_t parameters;  /* weights + rest */
} hwb_size_report;
HWB_API hwb_size_report hwb_size(const hwb_size_layer *layers, int64_t count,
                                 const hwb_size_options *opt);

/* ---- which bits for which layer ------------------------------------------------------------ */

#define HWB_ALLOCATE_MAX_COSTS   8
#define HWB_ALLOCATE_MAX_CHOICES 32

/* Choose one of B settings for each of L layers: minimise Σ omega subject to
 * Σ cost[c] <= limit[c] for every c.  All arrays are borrowed. */
typedef struct hwb_allocate_problem {
    int64_t layers;
    int choices;
    const int *bits;              /* [B], distinct */
    const double *omega;          /* [L][B]; +inf forbids a choice */
    int costs;                    /* 0..8 */
    const double *cost;           /* [costs][L][B], e.g. bits of weight, BOPs, milliseconds */
    const double *limit;          /* [costs]; +inf = none.  Costs that are all integers are compared
                             exactly, others up to 1e-12 relative (order of summation) */
    const char *const *cost_name; /* [costs] for messages, or NULL */
    const int64_t *tie; /* [L] layers with equal values >= 0 share their choice; NULL: none */
} hwb_allocate_problem;

typedef struct hwb_allocation {
    int64_t layers;
    int *choice; /* [L] index into bits */
    double omega;
    double cost[HWB_ALLOCATE_MAX_COSTS];
    bool optimal; /* proved; else `bound` <= optimum <= omega */
    double bound;
    int64_t nodes; /* of the search tree */
} hwb_allocation;
HWB_API void hwb_allocation_free(hwb_allocation *a); /* accepts a zeroed struct */

typedef struct hwb_allocate_options {
    int64_t node_limit; /* default 20 million */
    /* [L] or NULL.  Order constraint of HAWQ-V1: of two layers the one with the
     * larger score gets at least as many bits.  Tied layers count with their
     * largest score. */
    const double *score;
} hwb_allocate_options;
HWB_API hwb_allocate_options hwb_allocate_defaults(void);

/* The optimum, by depth-first branch and bound.  HWB_EARG with the smallest
 * reachable costs when the limits cannot be met. */
HWB_API hwb_status hwb_allocate_solve(hwb_ctx *ctx, hwb_allocation *out,
                                      const hwb_allocate_problem *p,
                                      const hwb_allocate_options *opt);
/* HAWQ-V1: the same with score λ_l / n_l; lambda[L], numel[L] */
HWB_API hwb_status hwb_allocate_hawq_v1(hwb_ctx *ctx, hwb_allocation *out,
                                        const hwb_allocate_problem *p, const double *lambda,
                                        const int64_t *numel, int64_t node_limit);
/* The control experiment: the plan's settings dealt out against the score (the
 * largest score gets the fewest bits), then adjusted layer by layer so that
 * cost[0] is at most the plan's and no further step up fits. */
HWB_API hwb_status hwb_allocate_reverse(hwb_ctx *ctx, hwb_allocation *out,
                                        const hwb_allocate_problem *p, const double *score,
                                        const hwb_allocation *plan);
/* omega and costs of a given choice[L] (HWB_EARG when ties or the range are violated) */
HWB_API hwb_status hwb_allocate_evaluate(hwb_ctx *ctx, hwb_allocation *out,
                                         const hwb_allocate_problem *p, const int *choice);

/* All pairs (Σ cost, Σ omega) that no other pair beats in both, by cost. */
typedef struct hwb_frontier {
    int64_t count, layers;
    double *cost, *omega; /* [count] cost ascending, omega strictly descending */
    uint8_t *choice;      /* [count][L] */
    bool exact;           /* false: thinned; for every true point there is one with no more
                             omega whose cost is at most epsilon·(last - first cost) higher */
    double epsilon;
} hwb_frontier;
HWB_API void hwb_frontier_free(hwb_frontier *f); /* accepts a zeroed struct */
/* Frontier of cost number `which`; limits are ignored.  max_points bounds every
 * partial list (0 = one million). */
HWB_API hwb_status hwb_allocate_frontier(hwb_ctx *ctx, hwb_frontier *out,
                                         const hwb_allocate_problem *p, int which,
                                         int64_t max_points);

#endif
