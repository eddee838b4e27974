/*
 * optim.c: the update rules, one pass over parameter, gradient and state.
 *
 * Elements are on their own, and norms are sums over blocks of a fixed size, so
 * results do not depend on the threads.
 */
#include "optim/optim.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { BLOCK = 8192 }; /* elements whose squares are summed by one thread */

static const char *const names[] = {"sgd", "adam", "adamw", "lars", "lamb"};

bool hwb_optim_kind_parse(const char *name, hwb_optim_kind *out) {
    for (int i = 0; i <= HWB_LAMB; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = (hwb_optim_kind)i;
        return true;
    }
    return false;
}

hwb_optim_options hwb_optim_defaults(void) {
    return (hwb_optim_options){.kind = HWB_SGD,
                               .beta1 = 0.9,
                               .beta2 = 0.999,
                               .eps = 1e-8,
                               .eta = 0.001,
                               .decay_vectors = true};
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
    if (!(o->eta > 0) || !isfinite(o->eta))
        return hwb_fail(ctx, HWB_EARG, "eta %g must be positive", o->eta);
    if (o->nesterov && o->momentum == 0)
        return hwb_fail(ctx, HWB_EARG, "Nesterov's rule needs a momentum");
    return HWB_OK;
}

int hwb_optim_states(const hwb_optim_options *o) {
    if (o->kind == HWB_SGD || o->kind == HWB_LARS) return o->momentum > 0 ? 1 : 0;
    return 2;
}

/* The numbers of one step, in double; each loop rounds them once to its dtype. */
typedef struct step {
    double lr, decay, shrink, mu, beta1, beta2, eps, scale1, root2;
    double ratio; /* LARS: of the decayed gradient; LAMB: of the step */
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

/* LARS: r = eta |p| / (|g| + wd |p| + eps) */
static double lars_ratio(const hwb_optim_options *o, const hwb_tensor *p, const hwb_tensor *g) {
    double pn = sqrt(hwb_tensor_dot(p, p)), gn = sqrt(hwb_tensor_dot(g, g));
    return pn > 0 && gn > 0 ? o->eta * pn / (gn + o->weight_decay * pn + o->eps) : 1;
}

/* LAMB: new moments, then |p| / |u|; the step itself finds u again from them. */
static hwb_status lamb(hwb_ctx *ctx, step *k, bool adapt, hwb_tensor *p, const void *g, void *m,
                       void *v, int threads) {
    int64_t n = hwb_tensor_numel(p), blocks = (n + BLOCK - 1) / BLOCK;
    bool narrow = hwb_tensor_dtype(p) == HWB_F32;
    double *sums = hwb_calloc(ctx, (size_t)(blocks + 1) * sizeof *sums), uu = 0;
    if (!sums) return HWB_ENOMEM;
    double pp = hwb_tensor_dot(p, p);
    void *x = hwb_tensor_data(p);
    if (narrow) lamb_moments_float(k, n, x, g, m, v, sums, threads);
    else lamb_moments_double(k, n, x, g, m, v, sums, threads);
    for (int64_t b = 0; b < blocks; b++) uu += sums[b];
    hwb_free(sums);
    if (adapt && pp > 0 && uu > 0) k->ratio = sqrt(pp / uu);
    if (narrow) lamb_step_float(k, n, x, m, v, threads);
    else lamb_step_double(k, n, x, m, v, threads);
    return HWB_OK;
}

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
              .ratio = 1,
              .first = t == 1,
              .nesterov = o->nesterov};
    int threads = threads_for(ctx, n);
    void *to = hwb_tensor_data(p);
    const void *from = hwb_tensor_data(g);
    bool sgd = o->kind == HWB_SGD || o->kind == HWB_LARS;
    if (o->kind == HWB_LARS && decay) k.ratio = lars_ratio(o, p, g);
    if (sgd && d == HWB_F32) sgd_float(&k, n, to, from, s[0], threads);
    else if (sgd) sgd_double(&k, n, to, from, s[0], threads);
    else if (o->kind == HWB_LAMB) HWB_TRY(lamb(ctx, &k, decay, p, from, s[0], s[1], threads));
    else if (d == HWB_F32) adam_float(&k, n, to, from, s[0], s[1], threads);
    else adam_double(&k, n, to, from, s[0], s[1], threads);
    hwb_tensor_touch(p);
    return HWB_OK;
}
