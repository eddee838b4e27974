/*
 * optim.c: the update rules, one pass over parameter, gradient and state.
 *
 * Every element is on its own, so results do not depend on the threads.
 */
#include "optim/optim.h"

#include <math.h>
#include <omp.h>

hwb_optim_options hwb_optim_defaults(void) {
    return (hwb_optim_options){
        .kind = HWB_SGD, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .decay_vectors = true};
}

static bool in_unit(double x) {
    return x >= 0 && x < 1;
}

hwb_status hwb_optim_check(hwb_ctx *ctx, const hwb_optim_options *o) {
    if (!in_unit(o->momentum))
        return hwb_fail(ctx, HWB_EARG, "momentum %g is not in [0, 1)", o->momentum);
    if (!in_unit(o->beta1) || !in_unit(o->beta2))
        return hwb_fail(ctx, HWB_EARG, "betas %g and %g are not in [0, 1)", o->beta1, o->beta2);
    if (!(o->weight_decay >= 0) || !isfinite(o->weight_decay))
        return hwb_fail(ctx, HWB_EARG, "weight decay %g is negative", o->weight_decay);
    if (!(o->eps > 0) || !(o->clip >= 0))
        return hwb_fail(ctx, HWB_EARG, "eps %g must be positive and clip %g not negative", o->eps,
                        o->clip);
    if (o->nesterov && o->momentum == 0)
        return hwb_fail(ctx, HWB_EARG, "Nesterov's rule needs a momentum");
    return HWB_OK;
}

int hwb_optim_states(const hwb_optim_options *o) {
    return o->kind != HWB_SGD ? 2 : o->momentum > 0 ? 1 : 0;
}

/* The numbers of one step, in double; each loop rounds them once to its dtype. */
typedef struct step {
    double lr, decay, shrink, mu, beta1, beta2, eps, scale1, root2;
    bool first, nesterov;
} step;

static int threads_for(hwb_ctx *ctx, int64_t n) {
    if (n < 32768) return 1;
    int t = hwb_threads(ctx);
    return t > 0 ? t : omp_get_max_threads();
}

#define T       float
#define ROOT    sqrtf
#define NAME(x) x##_float
#include "optim/optim_loops.h"

#define T       double
#define ROOT    sqrt
#define NAME(x) x##_double
#include "optim/optim_loops.h"

hwb_status hwb_optim_apply(hwb_ctx *ctx, const hwb_optim_options *o, hwb_tensor *p,
                           const hwb_tensor *g, hwb_tensor *const *state, int64_t t, double lr,
                           bool decay) {
    hwb_dtype d = hwb_tensor_dtype(p);
    int64_t n = hwb_tensor_numel(p);
    void *s[2] = {NULL, NULL};
    int n_states = hwb_optim_states(o);
    bool fits = hwb_dtype_is_float(d) && hwb_tensor_dtype(g) == d && hwb_tensor_numel(g) == n &&
                hwb_tensor_is_contiguous(p) && hwb_tensor_is_contiguous(g);
    for (int i = 0; i < n_states; i++) {
        fits = fits && hwb_tensor_dtype(state[i]) == d && hwb_tensor_numel(state[i]) == n &&
               hwb_tensor_is_contiguous(state[i]);
        s[i] = hwb_tensor_data(state[i]);
    }
    if (!fits || !isfinite(lr) || t < 1)
        return hwb_fail(ctx, HWB_EARG,
                        "a step needs dense parameters, gradients and states of one float dtype "
                        "and length, and a finite learning rate (%g)",
                        lr);
    double wd = decay ? o->weight_decay : 0;
    bool apart = o->kind == HWB_ADAMW; /* decay decoupled from the gradient */
    step k = {.lr = lr,
              .decay = apart ? 0 : wd,
              .shrink = apart ? 1 - lr * wd : 1,
              .mu = o->momentum,
              .beta1 = o->beta1,
              .beta2 = o->beta2,
              .eps = o->eps,
              .scale1 = 1 / (1 - pow(o->beta1, (double)t)),
              .root2 = 1 / sqrt(1 - pow(o->beta2, (double)t)),
              .first = t == 1,
              .nesterov = o->nesterov};
    int threads = threads_for(ctx, n);
    void *to = hwb_tensor_data(p);
    const void *from = hwb_tensor_data(g);
    if (o->kind == HWB_SGD && d == HWB_F32) sgd_float(&k, n, to, from, s[0], threads);
    else if (o->kind == HWB_SGD) sgd_double(&k, n, to, from, s[0], threads);
    else if (d == HWB_F32) adam_float(&k, n, to, from, s[0], s[1], threads);
    else adam_double(&k, n, to, from, s[0], s[1], threads);
    hwb_tensor_touch(p);
    return HWB_OK;
}
