/*
 * density.c: spectral density by stochastic Lanczos quadrature.
 *
 * For each probe v = ±1/√n, m Lanczos steps give a tridiagonal T = S Θ Sᵀ;
 * θ_k are nodes and S_1k² weights of the Gauss quadrature of the spectral
 * measure of v, whose mean over v is the density of eigenvalues
 * (Ubaru, Chen, Saad 2017).  Nodes are stored, so σ belongs to the plot.
 */
#include "spectral/spectral_i.h"

#include <stdio.h>

hwb_density_options hwb_density_defaults(void) {
    return (hwb_density_options){.steps = 100, .probes = 1, .reorthogonalise = true};
}

void hwb_density_free(hwb_density *d) {
    if (!d) return;
    hwb_free(d->first);
    hwb_free(d->nodes);
    hwb_free(d->weights);
    *d = (hwb_density){0};
}

/* The Lanczos state of one probe. Without re-orthogonalisation the basis holds
 * only the last two vectors. */
typedef struct walk {
    hwb_ctx *ctx;
    hwb_linop *op;
    hwb__space space;
    hwb__basis v;
    double *alpha, *beta, *h;
    bool full;
    double norm;
} walk;

/* T's next column; *stop when the Krylov space is exhausted. */
static hwb_status step(walk *k, int64_t j, bool *stop) {
    hwb__vector *w = NULL;
    int64_t last = k->v.count - 1;
    double beta;
    HWB_TRY(hwb__vector_apply(k->v.v[last], &w));
    hwb_status s = hwb__basis_project(&k->v, w, k->h, &beta);
    if (s == HWB_OK && !isfinite(beta)) s = hwb__not_finite(k->ctx, "density", j);
    if (s != HWB_OK) {
        hwb__vector_release(w);
        return s;
    }
    k->alpha[j] = k->h[last];
    k->beta[j] = beta;
    k->norm = fmax(k->norm, fabs(k->alpha[j]) + beta);
    *stop = beta <= 10 * hwb__eps(k->op->dtype) * k->norm;
    *stop = *stop || k->v.count == k->op->n;
    if (!*stop) s = hwb__vector_scale(w, 1 / beta);
    if (*stop || s != HWB_OK) {
        hwb__vector_release(w);
        return s;
    }
    if (!k->full && k->v.count == 2) {
        hwb__vector_release(k->v.v[0]);
        k->v.v[0] = k->v.v[1];
        k->v.p[0] = k->v.p[1];
        k->v.count = 1;
    }
    hwb__basis_push(&k->v, w);
    return HWB_OK;
}

static hwb_status one_probe(walk *k, hwb_density *d, const hwb_density_options *opt, int64_t probe,
                            double *z) {
    int64_t n = k->op->n, m = 0;
    hwb__vector *v = NULL;
    hwb__basis_cut(&k->v, 0);
    HWB_TRY(hwb__vector_probes(&k->space, opt->seed, HWB__PROBE_SIGN, 1u << 20, probe, 1, &v));
    hwb__basis_push(&k->v, v);
    HWB_TRY(hwb__vector_scale(v, 1 / sqrt((double)n)));
    k->norm = 0;
    for (bool stop = false; !stop && m < opt->steps;) {
        HWB_TRY(step(k, m++, &stop));
        d->hvps++;
        char note[64];
        snprintf(note, sizeof note, "probe %lld of %lld", (long long)(probe + 1),
                 (long long)opt->probes);
        hwb_progress(k->ctx, "density", d->hvps, opt->steps * opt->probes, note);
    }
    double *nodes = d->nodes + d->count, *weights = d->weights + d->count;
    memcpy(nodes, k->alpha, (size_t)m * sizeof *nodes);
    HWB_TRY(hwb__eigh_tridiagonal(k->ctx, m, nodes, k->beta, z));
    for (int64_t i = 0; i < m; i++) weights[i] = z[i * m] * z[i * m];
    d->count += m;
    d->first[probe + 1] = d->count;
    return HWB_OK;
}

hwb_status hwb_density_slq(hwb_ctx *ctx, hwb_density *out, hwb_linop *op,
                           const hwb_density_options *opt) {
    HWB_TRY(hwb__op_check(ctx, op));
    if (opt->steps < 1 || opt->probes < 1)
        return hwb_fail(ctx, HWB_EARG, "density: steps %lld and probes %lld need at least 1",
                        (long long)opt->steps, (long long)opt->probes);
    hwb_density_options o = *opt;
    if (o.steps > op->n) o.steps = op->n;
    hwb_density d = {.n = op->n, .probes = o.probes};
    walk k = {.ctx = ctx, .op = op, .full = o.reorthogonalise};
    size_t steps = (size_t)o.steps, most = steps * (size_t)o.probes;
    d.first = hwb_calloc(ctx, ((size_t)o.probes + 1) * sizeof *d.first);
    d.nodes = hwb_alloc(ctx, most * sizeof(double));
    d.weights = hwb_alloc(ctx, most * sizeof(double));
    k.alpha = hwb_alloc(ctx, 3 * (steps + 2) * sizeof(double));
    double *z = hwb_alloc(ctx, steps * steps * sizeof(double));
    hwb_status s = d.first && d.nodes && d.weights && k.alpha && z ? HWB_OK : HWB_ENOMEM;
    if (s == HWB_OK) {
        k.beta = k.alpha + steps + 2;
        k.h = k.beta + steps + 2;
        s = hwb__space_open(ctx, &k.space, op);
    }
    if (s == HWB_OK) s = hwb__basis_init(&k.v, &k.space, k.full ? o.steps + 1 : 2);
    for (int64_t p = 0; s == HWB_OK && p < o.probes; p++) s = one_probe(&k, &d, &o, p, z);
    hwb__basis_free(&k.v);
    hwb__space_close(&k.space);
    hwb_free(k.alpha);
    hwb_free(z);
    if (s != HWB_OK) {
        hwb_density_free(&d);
        return s;
    }
    *out = d;
    return HWB_OK;
}

void hwb_density_eval(const hwb_density *d, double sigma, int64_t points, const double *grid,
                      double *out) {
    double scale = 1 / (sigma * 2.5066282746310002 * (double)d->probes); /* sqrt(2 pi) */
    for (int64_t i = 0; i < points; i++) {
        double s = 0;
        for (int64_t k = 0; k < d->count; k++) {
            double x = (grid[i] - d->nodes[k]) / sigma;
            s += d->weights[k] * exp(-0.5 * x * x);
        }
        out[i] = s * scale;
    }
}

void hwb_density_cdf(const hwb_density *d, int64_t points, const double *grid, double *out) {
    for (int64_t i = 0; i < points; i++) {
        double s = 0;
        for (int64_t k = 0; k < d->count; k++)
            if (d->nodes[k] <= grid[i]) s += d->weights[k];
        out[i] = s / (double)d->probes;
    }
}

void hwb_density_pyhessian(const hwb_density *d, int64_t points, double *grid, double *out) {
    double lo = 0, hi = 0, sum = 0;
    for (int64_t p = 0; p < d->probes; p++) {
        lo += d->nodes[d->first[p]] / (double)d->probes;
        hi += d->nodes[d->first[p + 1] - 1] / (double)d->probes;
    }
    lo -= 0.01;
    hi += 0.01;
    for (int64_t i = 0; i < points; i++)
        grid[i] = points > 1 ? lo + (hi - lo) * (double)i / (double)(points - 1) : lo;
    hwb_density_eval(d, sqrt(1e-5 * fmax(1, hi - lo)), points, grid, out);
    for (int64_t i = 0; i < points; i++) sum += out[i];
    sum *= points > 1 ? grid[1] - grid[0] : 1;
    for (int64_t i = 0; sum > 0 && i < points; i++) out[i] /= sum;
}

void hwb_density_functional(const hwb_density *d, double (*f)(double x, void *user), void *user,
                            double *mean, double *se) {
    hwb__stat st = {0};
    for (int64_t p = 0; p < d->probes; p++) {
        double s = 0;
        for (int64_t k = d->first[p]; k < d->first[p + 1]; k++)
            s += d->weights[k] * f(d->nodes[k], user);
        hwb__stat_add(&st, (double)d->n * s);
    }
    *mean = st.mean;
    *se = hwb__stat_se(&st);
}
