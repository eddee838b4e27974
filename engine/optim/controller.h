/*
 * controller.h: batch-size controllers for large-batch training: how many
 * micro-batches make an update, which factor multiplies the learning rate, and
 * what share of a micro-batch is attacked, epoch by epoch.
 *
 *   BL    a fixed batch, the learning rate of the small one
 *   FB    a fixed batch, linear scaling after gradual warm-up (Goyal et al. 2017)
 *   GG    where the schedule would divide the learning rate, multiply the batch
 *         instead, until its maximum (Smith et al. 2018)
 *   ABS   the batch grows when the top Hessian eigenvalue has fallen by a factor,
 *         or after some epochs without that (Yao et al. 2018)
 *   ABSA  ABS with adversarial samples in the early epochs
 *
 * A controller is a plain state machine: no data, no model, no clock.
 *
 *     HWB_TRY(hwb_batch_start(ctx, &s, &options));
 *     for each epoch
 *         for each micro-batch
 *             hwb_batch_advice a = hwb_batch_on_step(&s, position);
 *         HWB_TRY(hwb_batch_on_epoch(ctx, &s, lambda));
 */
#ifndef HWB_CONTROLLER_H
#define HWB_CONTROLLER_H

#include "base/base.h"

typedef enum hwb_batch_kind { HWB_BL, HWB_FB, HWB_GG, HWB_ABS, HWB_ABSA } hwb_batch_kind;
HWB_API bool hwb_batch_kind_parse(const char *name, hwb_batch_kind *out); /* "bl" … "absa" */

enum { HWB_BATCH_MAX_MILESTONES = 16 };

typedef struct hwb_batch_options {
    hwb_batch_kind kind;
    int64_t base; /* B0, samples of a micro-batch: 128 */
    int64_t max;  /* largest batch, a multiple of base */
    int epochs;
    int n_milestones; /* epochs after which the learning rate decays */
    int milestones[HWB_BATCH_MAX_MILESTONES];
    double decay;        /* rho: learning-rate factor at a milestone: 0.2 */
    double grow;         /* beta: batch factor of ABS: 2 */
    double fall;         /* alpha: grow when lambda <= reference / alpha: 2 */
    int patience;        /* kappa: epochs after which ABS grows anyway: 10 */
    double attacked;     /* gamma: share of a micro-batch that is attacked: 0.2 */
    double attack_decay; /* omega: gamma is divided by it at each growth: 2 */
    int attack_stop;     /* tau: last epoch with attacks; 0 = epochs / 2 */
    double warmup;       /* FB: epochs of warm-up: 5 */
} hwb_batch_options;
HWB_API hwb_batch_options hwb_batch_defaults(hwb_batch_kind kind);

typedef struct hwb_batch_state {
    hwb_batch_options o;
    int64_t ratio;    /* R: micro-batches an update */
    double scale;     /* learning-rate factor, without FB's warm-up */
    double attacked;  /* share of the next micro-batches that is attacked */
    double reference; /* lambda at the last growth; NaN before the first */
    int since;        /* epochs since the last growth */
    bool growing;     /* ABS: the batch may still grow */
    int epoch;        /* epochs finished */
} hwb_batch_state;

/* HWB_EARG when max is no multiple of base, a milestone is out of range, … */
HWB_API hwb_status hwb_batch_start(hwb_ctx *ctx, hwb_batch_state *s, const hwb_batch_options *o);
/* Does the next hwb_batch_on_epoch want the top eigenvalue? */
HWB_API bool hwb_batch_wants_eigenvalue(const hwb_batch_state *s);

/* What the next micro-batch is to do. */
typedef struct hwb_batch_advice {
    int64_t batch;   /* samples of an update */
    double lr;       /* factor of the base learning rate */
    double attacked; /* share of adversarial samples */
} hwb_batch_advice;
/* At `position` epochs (2.5 = half of the third).  Can't fail. */
HWB_API hwb_batch_advice hwb_batch_on_step(const hwb_batch_state *s, double position);
/* End of an epoch.  lambda: the largest (algebraic) eigenvalue, where wanted;
 * HWB_ENUMERIC when it is not finite. */
HWB_API hwb_status hwb_batch_on_epoch(hwb_ctx *ctx, hwb_batch_state *s, double lambda);

/* Updates of a whole training as the publications count them, `samples` an epoch:
 * BL, FB: floor(epochs * samples / max); GG: floor(sum over epochs of
 * floor(samples / base) / R).  -1 for ABS and ABSA, which depend on the eigenvalues. */
HWB_API int64_t hwb_batch_published_updates(const hwb_batch_options *o, int64_t samples);

#endif
