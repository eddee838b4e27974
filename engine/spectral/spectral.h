/*
 * spectral: eigenvalues, traces, densities, diagonals and solves of a
 * symmetric linear operator that is known only through H·V.
 *
 * Vectors are hwb_tensor of op->dtype, [n] or [K,n]; every dot product, norm
 * and re-orthogonalisation accumulates in double over fixed-size blocks that
 * are summed in order, so a result does not depend on the thread count.
 * Where an operator makes its products on a device (hwb_linop.where), a solver's
 * vectors lie there; what goes in and comes out are host tensors all the same.
 * Random vectors come from (seed, purpose, index), so it does not depend on
 * how many probes travel at once either.
 *
 * Every solver checks the interrupt flag before each application of the
 * operator; an interrupted call returns HWB_EINTR and frees what it held.  A
 * non-finite product stops it with HWB_ENUMERIC.
 *
 * Results are structs of plain arrays owned by the caller; each has a
 * hwb_…_free that accepts a zeroed struct.
 */
#ifndef HWB_SPECTRAL_H
#define HWB_SPECTRAL_H

#include "tensor/tensor.h"

/* ---- eigenpairs ----------------------------------------------------------- */

typedef enum hwb_which {
    HWB_WHICH_LA, /* largest algebraic, descending */
    HWB_WHICH_SA, /* smallest algebraic, ascending */
    HWB_WHICH_LM  /* largest magnitude, descending in |value| */
} hwb_which;
HWB_API bool hwb_which_parse(const char *name, hwb_which *out); /* "LA" "SA" "LM" */

/* What a solver reports after each iteration. */
typedef struct hwb_eigs_step {
    int64_t iteration; /* 1.. over the whole call */
    int64_t hvps;
    int pair; /* power: the pair being found; Lanczos: 0 */
    double value, residual;
} hwb_eigs_step;
/* A status other than HWB_OK stops the solve with that status. */
typedef hwb_status (*hwb_eigs_step_fn)(hwb_ctx *ctx, void *user, const hwb_eigs_step *step);

typedef struct hwb_eigs_options {
    int k; /* pairs wanted; more than n gives n */
    hwb_which which;
    double tol;        /* residual |Hv - θv| <= tol * max(|θ|, eps^(2/3) |H|) */
    double value_tol;  /* power: also |θ - θ_prev| <= value_tol * |θ| */
    int64_t maxiter;   /* Lanczos: products in all; power: products for each pair */
    int64_t max_basis; /* Lanczos: vectors held at once, 0 = chosen by size; beyond it
                          the solver restarts with the best Ritz vectors */
    uint64_t seed;
    const hwb_tensor *start; /* borrowed; [n] or [p,n]: power starts pair i from row i,
                                Lanczos from the sum of the rows (plus 1 % noise, so that
                                a converged but wrong eigenvector cannot hide others) */
    bool true_residuals;     /* recompute |Hv - θv| with k more products */
    hwb_eigs_step_fn step;   /* or NULL */
    void *user;
} hwb_eigs_options;
HWB_API hwb_eigs_options hwb_eigs_defaults(void); /* k 1, LA, tol 1e-3, maxiter 100 */

typedef struct hwb_eigs_result {
    int k; /* pairs found */
    double *values, *residuals;
    bool *converged;
    int64_t *pair_iterations; /* power: products spent on each pair; Lanczos: all of them */
    hwb_tensor *vectors;      /* [k,n], orthonormal rows */
    int64_t iterations, hvps;
    /* One entry an iteration: the estimate and its residual (of the pair being found, or
     * of the leading Ritz pair), for convergence plots. */
    int64_t history_len;
    double *history_value, *history_residual;
    double norm_estimate; /* largest |Ritz value| seen */
} hwb_eigs_result;
HWB_API void hwb_eigs_free(hwb_eigs_result *r);

/* Power iteration with deflation, the textbook loop: draw v, remove the found
 * eigenvectors, normalise, Hv, θ = vᵀHv, repeat.  Finds the largest |θ|; LA
 * and SA shift the spectrum by a bound from a few Lanczos steps. */
HWB_API hwb_status hwb_eigs_power(hwb_ctx *ctx, hwb_eigs_result *out, hwb_linop *op,
                                  const hwb_eigs_options *opt);
/* Lanczos with full re-orthogonalisation (twice) and thick restarts. */
HWB_API hwb_status hwb_eigs_lanczos(hwb_ctx *ctx, hwb_eigs_result *out, hwb_linop *op,
                                    const hwb_eigs_options *opt);

/* Each operator's own solve (opt[i] for op[i]), by Lanczos or by power iteration.  Where the
 * operators share a pass over data, all take a step in each pass until they have converged:
 * the same numbers with fewer passes. */
HWB_API hwb_status hwb_eigs_many(hwb_ctx *ctx, hwb_eigs_result *out /* [set->n] */,
                                 hwb_linop_set *set, const hwb_eigs_options *opt, bool power);

/* ---- traces --------------------------------------------------------------- */

typedef enum hwb_trace_method {
    HWB_TRACE_HUTCHINSON, /* mean of vᵀHv, v = ±1 */
    HWB_TRACE_HUTCHPP,    /* exact on a sketched range + Hutchinson on its complement */
    HWB_TRACE_XTRACE      /* exchangeable (leave-one-out) Hutch++ */
} hwb_trace_method;
HWB_API bool hwb_trace_method_parse(const char *name, hwb_trace_method *out);

typedef struct hwb_trace_options {
    hwb_trace_method method;
    double tol;         /* stop when se <= tol * |mean| */
    int64_t min_probes; /* before the rule above is believed */
    int64_t max_probes; /* products with H in all */
    int64_t sketch;     /* Hutch++: columns of the sketch; 0 = max_probes / 3, at most 50 */
    int64_t batch;      /* vectors sent to the operator at once */
    uint64_t seed;
} hwb_trace_options;
HWB_API hwb_trace_options hwb_trace_defaults(void); /* Hutchinson, 1 %, 10..1000, batch 4 */

typedef struct hwb_trace_result {
    double mean, se;
    int64_t probes; /* samples behind `se` */
    int64_t hvps;
    bool converged;
    double *samples; /* [probes]; their mean is `mean` */
} hwb_trace_result;
HWB_API void hwb_trace_free(hwb_trace_result *r);
HWB_API hwb_status hwb_trace(hwb_ctx *ctx, hwb_trace_result *out, hwb_linop *op,
                             const hwb_trace_options *opt);

/* ---- the traces of all diagonal blocks -------------------------------------- */

typedef struct hwb_block_range {
    int64_t start, len; /* of the flat vector */
} hwb_block_range;

typedef struct hwb_block_trace_options {
    double tol;           /* every block: se <= tol * |mean| */
    int64_t joint_probes; /* m0, products with the full operator */
    int64_t pilot;        /* isolated probes before a block's variance is believed */
    int64_t max_isolated; /* isolated products for one block */
    double budget;        /* sum of costs of isolated products, <= 0: unlimited */
    const double *cost;   /* [blocks] cost of one isolated product; NULL: all 1 */
    const double *weight; /* [blocks] importance when the budget is short; NULL: all 1 */
    int64_t batch;
    uint64_t seed;
    void (*joint_done)(void *user); /* the full operator is not used any more; or NULL */
    void *user;
} hwb_block_trace_options;
HWB_API hwb_block_trace_options hwb_block_trace_defaults(void);

typedef struct hwb_block_trace_result {
    int64_t blocks;
    double *mean, *se; /* joint and isolated estimates, weighted by inverse variance */
    double *joint_mean, *joint_se, *isolated_mean, *isolated_se; /* NaN where not sampled */
    int64_t *joint_probes, *isolated_probes;
    bool *converged;
    double total_mean, total_se; /* of the sum of the blocks */
    int64_t hvps_joint, hvps_isolated;
} hwb_block_trace_result;
HWB_API void hwb_block_trace_free(hwb_block_trace_result *r);

/* tr(H_ll) for every block l.  Joint probes read v_lᵀ(Hv)_l of one product for
 * all blocks, with variance Var_iso + Σ_{m≠l} |H_lm|²_F; isolated ones touch
 * block l alone.  A few joint probes serve all, then isolated probes go to the
 * block with the worst weight²·(se/mean)²/cost until all meet `tol`; where the isolated
 * operators share a pass over data and no budget makes blocks compete, to all that do
 * not meet it, in each pass.  isolated: operator l is block l alone (its n = the block's
 * len), or NULL. */
HWB_API hwb_status hwb_block_trace(hwb_ctx *ctx, hwb_block_trace_result *out, hwb_linop *op,
                                   int64_t blocks, const hwb_block_range *range,
                                   hwb_linop_set *isolated, const hwb_block_trace_options *opt);

/* ---- spectral density: stochastic Lanczos quadrature -------------------------- */

typedef struct hwb_density_options {
    int64_t steps, probes;
    bool reorthogonalise; /* false: three-term recurrence, three vectors of memory; ghost
                             nodes appear but the quadrature stays usable */
    uint64_t seed;
} hwb_density_options;
HWB_API hwb_density_options hwb_density_defaults(void); /* 100 steps, 1 probe, true */

/* Probe p owns nodes first[p] .. first[p+1]-1, ascending; its weights sum to 1. */
typedef struct hwb_density {
    int64_t n, probes, count;
    int64_t *first;          /* [probes+1] */
    double *nodes, *weights; /* [count]; weights are squared first components */
    int64_t hvps;
} hwb_density;
HWB_API void hwb_density_free(hwb_density *d);
HWB_API hwb_status hwb_density_slq(hwb_ctx *ctx, hwb_density *out, hwb_linop *op,
                                   const hwb_density_options *opt);
/* out[i] = mean over probes of Σ w N(grid[i]; node, sigma²) */
HWB_API void hwb_density_eval(const hwb_density *d, double sigma, int64_t points,
                              const double *grid, double *out);
/* out[i] = mean over probes of Σ_{node <= grid[i]} w */
HWB_API void hwb_density_cdf(const hwb_density *d, int64_t points, const double *grid, double *out);
/* PyHessian's curve: the grid spans the mean extreme nodes ± 0.01, σ² =
 * 1e-5 max(1, range), and the density is scaled to integrate to 1. */
HWB_API void hwb_density_pyhessian(const hwb_density *d, int64_t points, double *grid, double *out);
/* tr f(H) ≈ n · mean over probes of Σ w f(node); se over probes (NaN for one probe). */
HWB_API void hwb_density_functional(const hwb_density *d, double (*f)(double x, void *user),
                                    void *user, double *mean, double *se);

/* ---- diagonal and Frobenius norm ------------------------------------------------ */

typedef struct hwb_diag_options {
    int64_t probes, batch;
    uint64_t seed;
} hwb_diag_options;
HWB_API hwb_diag_options hwb_diag_defaults(void); /* 100 probes, batch 4 */
typedef struct hwb_diag_result {
    hwb_tensor *mean, *se; /* [n] float64: of v ⊙ Hv, v = ±1 */
    double fro2, fro2_se;  /* ‖H‖²_F = E |Hv|² */
    int64_t hvps;
} hwb_diag_result;
HWB_API void hwb_diag_free(hwb_diag_result *r);
HWB_API hwb_status hwb_diag(hwb_ctx *ctx, hwb_diag_result *out, hwb_linop *op,
                            const hwb_diag_options *opt);

/* ---- (H + damping I) x = b by conjugate gradients ---------------------------------- */

typedef struct hwb_cg_options {
    double damping;
    double tol; /* |b - Ax| <= tol |b| */
    int64_t maxiter;
    const hwb_tensor *start; /* borrowed [n] or NULL: zero */
} hwb_cg_options;
HWB_API hwb_cg_options hwb_cg_defaults(void); /* damping 0, tol 1e-6, maxiter 100 */
typedef struct hwb_cg_result {
    hwb_tensor *x; /* [n] */
    int64_t iterations, hvps;
    bool converged;
    bool indefinite; /* stopped at a direction of curvature <= 0 */
    double *history; /* [iterations+1] relative residual norms by recurrence */
} hwb_cg_result;
HWB_API void hwb_cg_free(hwb_cg_result *r);
HWB_API hwb_status hwb_cg(hwb_ctx *ctx, hwb_cg_result *out, hwb_linop *op, const hwb_tensor *b,
                          const hwb_cg_options *opt);

#endif
