/*
 * optim.h: first-order training: a trainer holds the compiled program
 *
 *     (x, y) -> loss, right answers, gradient, new buffers (batch-norm statistics)
 *
 * of a model, adds up gradients of micro-batches, and updates the parameters
 * in one pass over memory.
 *
 *     HWB_TRY(hwb_trainer_gradient(ctx, t, x, y, 1, &loss, &right));
 *     HWB_TRY(hwb_trainer_update(ctx, t, lr));
 *
 * Update rules are those of PyTorch, in the parameters' own dtype:
 *
 *   SGD     d = g + wd p;  m = mu m + d  (m = d at first);
 *           p -= lr (nesterov ? d + mu m : m)
 *   Adam    g += wd p (not AdamW);  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
 *           p -= lr m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps)
 *   AdamW   p *= 1 - lr wd, then as Adam without wd
 *
 * and of two papers on large batches, with norms over one parameter tensor:
 *
 *   LARS    SGD on r (g + wd p), r = eta |p| / (|g| + wd |p| + eps)
 *           (You, Gitman, Ginsburg 2017)
 *   LAMB    m, v as Adam on g;  u = m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps) + wd p;
 *           p -= lr |p|/|u| u                                (You et al. 2020)
 *
 * where a ratio with a zero norm in it is 1.
 *
 * On a device with memory of its own SGD, Adam and AdamW are carried out there, in
 * float64 rounded once, and gradient, states and weights stay; LARS and LAMB, and models
 * with parameters that share memory, are updated on the host.
 */
#ifndef HWB_OPTIM_H
#define HWB_OPTIM_H

#include "curvature/curvature.h"

typedef enum hwb_optim_kind { HWB_SGD, HWB_ADAM, HWB_ADAMW, HWB_LARS, HWB_LAMB } hwb_optim_kind;
HWB_API bool hwb_optim_kind_parse(const char *name, hwb_optim_kind *out); /* "sgd" … "lamb" */

typedef struct hwb_optim_options {
    hwb_optim_kind kind;
    double momentum, weight_decay;
    bool nesterov;
    double beta1, beta2, eps;
    double eta;         /* LARS */
    bool decay_vectors; /* parameters of one axis too (biases, norm layers) have weight decay,
                           and ratios of their own in LARS and LAMB */
    double clip;        /* largest Euclidean norm of the gradient; 0 = any */
} hwb_optim_options;
/* SGD without momentum or decay; decay_vectors; Adam's 0.9, 0.999, 1e-8; eta 0.001 */
HWB_API hwb_optim_options hwb_optim_defaults(void);
HWB_API hwb_status hwb_optim_check(hwb_ctx *ctx, const hwb_optim_options *o);

/* p, g and the states [n], of one dtype; `state` holds 1 (momentum) or 2 (Adam,
 * LAMB) tensors.  Step t counts from 1.  decay: with weight decay and ratio. */
HWB_API hwb_status hwb_optim_apply(hwb_ctx *ctx, const hwb_optim_options *o, hwb_tensor *p,
                                   const hwb_tensor *g, hwb_tensor *const *state, int64_t t,
                                   double lr, bool decay);
HWB_API int hwb_optim_states(const hwb_optim_options *o); /* 0, 1 or 2 */

typedef struct hwb_trainer_options {
    hwb_optim_options optim;
    hwb_loss_fn loss; /* default cross-entropy */
    void *loss_user;
    bool whole;     /* with several ranks: batch norms see the samples of all of them; every
                       gradient is then taken by all ranks, with at least a sample each */
    bool eval_mode; /* running statistics and no dropout in the forward pass */
} hwb_trainer_options;

typedef struct hwb_trainer hwb_trainer;

/* Retains m. */
HWB_API hwb_status hwb_trainer_new(hwb_ctx *ctx, hwb_trainer **out, hwb_model *m,
                                   const hwb_trainer_options *options);
HWB_API void hwb_trainer_free(hwb_trainer *t); /* NULL is accepted */

/* Adds weight * gradient of the mean loss of (x, y); buffers take their new
 * values.  right: samples whose largest output is the label, -1 when targets
 * are no labels. */
HWB_API hwb_status hwb_trainer_gradient(hwb_ctx *ctx, hwb_trainer *t, hwb_tensor *x, hwb_tensor *y,
                                        double weight, double *loss, int64_t *right);
/* Makes the program for batches of the shapes and dtypes of x and y beforehand. */
HWB_API hwb_status hwb_trainer_prepare(hwb_ctx *ctx, hwb_trainer *t, hwb_tensor *x, hwb_tensor *y);
/* Gives back the programs and their memory; the next use makes them again. */
HWB_API void hwb_trainer_trim(hwb_trainer *t);
/* Adds g[n], in parameter order, to the gradient. */
HWB_API hwb_status hwb_trainer_add(hwb_ctx *ctx, hwb_trainer *t, const hwb_tensor *g);
/* The gradient added up so far, [n] in parameter order; borrowed, and open to changes. */
HWB_API hwb_tensor *hwb_trainer_flat_gradient(hwb_trainer *t);
/* With several ranks (comm/comm.h): the gradient becomes its sum over them, and in
 * training mode each buffer its mean (not with `whole`: they are the same).  Ranks that took none have zero. */
HWB_API hwb_status hwb_trainer_sum_ranks(hwb_ctx *ctx, hwb_trainer *t);
/* One step with it; then it is zero again. */
HWB_API hwb_status hwb_trainer_update(hwb_ctx *ctx, hwb_trainer *t, double lr);
/* Forget the gradient. */
HWB_API hwb_status hwb_trainer_clear(hwb_ctx *ctx, hwb_trainer *t);
/* Euclidean norm of the gradient in double. */
HWB_API double hwb_trainer_norm(const hwb_trainer *t);

/* Weights and states into host memory, where they lie on a device (below): as looking at
 * them does, but with a status where that gives NaN for what is lost.  Before saving. */
HWB_API hwb_status hwb_trainer_fetch(hwb_ctx *ctx, hwb_trainer *t);

/* What a continued run needs: the number of steps and `states` flat vectors, borrowed. */
HWB_API int64_t hwb_trainer_steps(const hwb_trainer *t);
HWB_API int hwb_trainer_states(const hwb_trainer *t, hwb_tensor **state /* [2] */);
HWB_API hwb_status hwb_trainer_restore(hwb_ctx *ctx, hwb_trainer *t, int64_t steps, int n,
                                       hwb_tensor *const *state);

#endif
