/*
 * block_trace.c: the traces of all diagonal blocks of H together.
 *
 * Joint probe: v = ±1 on all of R^n, one product, q_l = v_lᵀ(Hv)_l for every l.
 * Isolated probe: v on block l alone, a product with H_ll.  Both are unbiased;
 *
 *     Var_iso = 2(|H_ll|²_F - Σ H_ii²),   Var_joint = Var_iso + Σ_{m≠l} |H_lm|²_F.
 *
 * The two means J, I are combined as (a J + b I)/(a + b) with a = m_J/Var_J,
 * b = m_I/Var_I from the sample variances, once the isolated pilot is large
 * enough to believe its variance.  Var_J >= Var_I is known, so the estimate of
 * Var_J is raised to that of Var_I if chance put it below.
 */
#include "spectral/trace_i.h"

#include <stdio.h>

hwb_block_trace_options hwb_block_trace_defaults(void) {
    return (hwb_block_trace_options){
        .tol = 0.05, .joint_probes = 10, .pilot = 8, .max_isolated = 200, .batch = 4};
}

void hwb_block_trace_free(hwb_block_trace_result *r) {
    if (!r) return;
    hwb_free(r->mean); /* one allocation holds the six arrays of doubles */
    hwb_free(r->joint_probes);
    hwb_free(r->converged);
    *r = (hwb_block_trace_result){0};
}

/* Bytes of vectors of all blocks together. */
static const double MOST_HELD = 1 << 30;

typedef struct pool {
    hwb_ctx *ctx;
    hwb__space space;  /* of the joint operator */
    hwb__space *apart; /* [blocks] of the isolated ones */
    const hwb_block_range *range;
    hwb_linop_set *isolated;
    const hwb_block_trace_options *opt;
    hwb_block_trace_result *r;
    hwb__stat *joint, *iso; /* [blocks] */
    double *q;              /* [joint_probes][blocks] */
    double *share;          /* [blocks] weight of the joint mean, a/(a+b) */
    int64_t *wanted;        /* [blocks] isolated probes of this round */
    int64_t batch;          /* of a block that travel at once */
    hwb__vector **v, **w;   /* [blocks] */
    double spent;
} pool;

static hwb_status result_alloc(hwb_ctx *ctx, hwb_block_trace_result *r, int64_t blocks) {
    size_t b = (size_t)blocks;
    *r = (hwb_block_trace_result){.blocks = blocks};
    r->mean = hwb_calloc(ctx, 6 * b * sizeof(double));
    r->joint_probes = hwb_calloc(ctx, 2 * b * sizeof(int64_t));
    r->converged = hwb_calloc(ctx, b * sizeof(bool));
    if (!r->mean || !r->joint_probes || !r->converged) {
        hwb_block_trace_free(r);
        return HWB_ENOMEM;
    }
    r->se = r->mean + b;
    r->joint_mean = r->mean + 2 * b;
    r->joint_se = r->mean + 3 * b;
    r->isolated_mean = r->mean + 4 * b;
    r->isolated_se = r->mean + 5 * b;
    r->isolated_probes = r->joint_probes + b;
    return HWB_OK;
}

/* Combine block l's two estimates; set mean, se, converged. */
static void combine(pool *p, int64_t l) {
    hwb_block_trace_result *r = p->r;
    const hwb__stat *j = &p->joint[l], *i = &p->iso[l];
    double vi = hwb__stat_var(i), vj = hwb__stat_var(j);
    bool use_iso = i->m >= 2 && (i->m >= p->opt->pilot || i->m >= p->opt->max_isolated || j->m < 2);
    double share = 1;
    if (use_iso && vi > vj) vj = vi;
    if (use_iso && j->m < 2) share = 0;
    else if (use_iso && vi == 0) share = 0; /* exact, as for a diagonal block */
    else if (use_iso) share = ((double)j->m / vj) / ((double)j->m / vj + (double)i->m / vi);
    p->share[l] = share;
    r->mean[l] = share * (j->m ? j->mean : 0) + (1 - share) * (i->m ? i->mean : 0);
    double se2 = 0;
    if (share > 0) se2 += share * share * vj / (double)j->m;
    if (share < 1) se2 += (1 - share) * (1 - share) * vi / (double)i->m;
    r->se[l] = sqrt(se2); /* NaN below two probes */
    r->converged[l] = r->se[l] <= p->opt->tol * fabs(r->mean[l]);
}

static hwb_status joint_phase(pool *p) {
    int64_t total = p->opt->joint_probes, blocks = p->r->blocks;
    for (int64_t at = 0; at < total;) {
        int64_t k = total - at < p->opt->batch ? total - at : p->opt->batch;
        hwb__vector *v = NULL, *w = NULL;
        HWB_TRY(hwb__vector_probes(&p->space, p->opt->seed, HWB__PROBE_SIGN, 2, at, k, &v));
        hwb_status s = hwb__vector_apply(v, &w);
        for (int64_t i = 0; s == HWB_OK && i < k; i++) {
            double *q = p->q + (at + i) * blocks;
            s = hwb__vector_range_dots(v, w, i, blocks, p->range, q);
            for (int64_t l = 0; s == HWB_OK && l < blocks; l++) {
                if (!isfinite(q[l])) s = hwb__not_finite(p->ctx, "joint trace", at + i);
                hwb__stat_add(&p->joint[l], q[l]);
            }
        }
        hwb__vector_release(v);
        hwb__vector_release(w);
        HWB_TRY(s);
        p->r->hvps_joint += k;
        at += k;
        hwb_progress(p->ctx, "joint traces", at, total, "");
    }
    return HWB_OK;
}

/* Some of block l's wanted probes, as many as travel at once. */
static hwb_status draw(pool *p, int64_t l) {
    int64_t k = p->wanted[l] < p->batch ? p->wanted[l] : p->batch;
    return hwb__vector_probes(&p->apart[l], p->opt->seed, HWB__PROBE_SIGN, 3 + (uint64_t)l,
                              p->iso[l].m, k, &p->v[l]);
}

static hwb_status count(pool *p, int64_t l) {
    int64_t k = p->v[l]->k;
    double *q = hwb_alloc(p->ctx, (size_t)k * sizeof *q);
    hwb_status s = q ? hwb__vector_dots(p->v[l], p->w[l], q) : HWB_ENOMEM;
    for (int64_t i = 0; s == HWB_OK && i < k; i++) {
        if (isfinite(q[i])) hwb__stat_add(&p->iso[l], q[i]);
        else s = hwb__not_finite(p->ctx, "isolated trace", p->iso[l].m);
    }
    hwb_free(q);
    HWB_TRY(s);
    p->wanted[l] -= k;
    p->r->hvps_isolated += k;
    p->spent += (double)k * (p->opt->cost ? p->opt->cost[l] : 1);
    return HWB_OK;
}

/* The products with all that was drawn. */
static hwb_status multiply(pool *p) {
    if (p->isolated->pass) return hwb__set_apply(p->ctx, p->isolated, p->w, p->v);
    for (int64_t l = 0; l < p->r->blocks; l++)
        if (p->v[l]) HWB_TRY(hwb__vector_apply(p->v[l], &p->w[l]));
    return HWB_OK;
}

/* The wanted isolated probes of all blocks. */
static hwb_status isolate(pool *p) {
    hwb_status s = HWB_OK;
    for (bool any = true; any && s == HWB_OK;) {
        any = false;
        for (int64_t l = 0; s == HWB_OK && l < p->r->blocks; l++)
            if (p->wanted[l] > 0) {
                s = draw(p, l);
                any = true;
            }
        if (any && s == HWB_OK) s = multiply(p);
        for (int64_t l = 0; l < p->r->blocks; l++) {
            if (s == HWB_OK && p->v[l]) s = count(p, l);
            hwb__vector_release(p->v[l]);
            hwb__vector_release(p->w[l]);
            p->v[l] = p->w[l] = NULL;
        }
    }
    return s;
}

/* Probes that block l seems to need: up to the pilot, then until the precision
 * 1/se² of both estimates together meets the tolerance, at most doubling. */
static int64_t wanted_probes(const pool *p, int64_t l) {
    const hwb__stat *i = &p->iso[l];
    int64_t left = p->opt->max_isolated - i->m, k = p->opt->pilot - i->m;
    if (k < 1) {
        double target = p->opt->tol * fabs(p->r->mean[l]), se = p->r->se[l];
        double more = hwb__stat_var(i) * (1 / (target * target) - 1 / (se * se));
        k = !(more > 1) ? 1 : more > (double)i->m ? i->m : (int64_t)ceil(more);
    }
    if (p->opt->budget > 0) {
        double each = p->opt->cost ? p->opt->cost[l] : 1;
        double fit = floor((p->opt->budget - p->spent) / each + 1e-9);
        if (fit < (double)k) k = (int64_t)fit;
    }
    return k < left ? k : left;
}

/* The block that gains most per unit of cost; -1 when none may have more. */
static int64_t worst(const pool *p) {
    int64_t best = -1;
    double top = -1;
    for (int64_t l = 0; l < p->r->blocks; l++) {
        if (p->r->converged[l] || wanted_probes(p, l) < 1) continue;
        double rel = p->r->se[l] / fabs(p->r->mean[l]);
        double w = p->opt->weight ? p->opt->weight[l] : 1;
        double priority = isnan(rel) ? HUGE_VAL : w * w * rel * rel;
        if (p->opt->cost) priority /= p->opt->cost[l];
        if (priority > top) {
            top = priority;
            best = l;
        }
    }
    return best;
}

/* Probes of every block at once, with products and their sums in double. */
static int64_t that_fit(const pool *p) {
    double each = 0;
    for (int64_t l = 0; l < p->r->blocks; l++)
        each += (double)p->range[l].len * (2 * (double)hwb_dtype_size(p->space.op->dtype) + 8);
    double most = MOST_HELD / each;
    return most < 1 ? 1 : most < (double)p->opt->batch ? (int64_t)most : p->opt->batch;
}

static void tell(pool *p, int64_t l) {
    int64_t done = 0;
    for (int64_t i = 0; i < p->r->blocks; i++) done += p->r->converged[i];
    char note[96];
    snprintf(note, sizeof note, "block %lld: %.4g +- %.2g", (long long)(l + 1), p->r->mean[l],
             p->r->se[l]);
    hwb_progress(p->ctx, "block traces", done, p->r->blocks, note);
}

/* A round is one block's, the worst, or every block's: what a block is given depends on
 * itself alone then, so that its probes are the same either way. */
static hwb_status isolated_phase(pool *p) {
    bool together = p->isolated->pass && p->opt->budget <= 0;
    p->batch = together ? that_fit(p) : p->opt->batch;
    for (;;) {
        int64_t l = worst(p);
        if (l < 0) return HWB_OK;
        for (int64_t i = 0; i < p->r->blocks; i++)
            p->wanted[i] = i == l || (together && !p->r->converged[i]) ? wanted_probes(p, i) : 0;
        HWB_TRY(isolate(p));
        for (int64_t i = 0; i < p->r->blocks; i++)
            if (i == l || together) combine(p, i);
        tell(p, l);
    }
}

/* Var Σ_l = Var(Σ share_l J_l), whose terms come from the same probes, plus
 * the independent isolated parts. */
static void finish(pool *p) {
    hwb_block_trace_result *r = p->r;
    hwb__stat sum = {0};
    for (int64_t t = 0; t < p->opt->joint_probes; t++) {
        double s = 0;
        for (int64_t l = 0; l < r->blocks; l++) s += p->share[l] * p->q[t * r->blocks + l];
        hwb__stat_add(&sum, s);
    }
    double var = sum.m >= 2 ? hwb__stat_var(&sum) / (double)sum.m : 0;
    for (int64_t l = 0; l < r->blocks; l++) {
        const hwb__stat *j = &p->joint[l], *i = &p->iso[l];
        r->joint_mean[l] = j->m ? j->mean : NAN;
        r->joint_se[l] = hwb__stat_se(j);
        r->isolated_mean[l] = i->m ? i->mean : NAN;
        r->isolated_se[l] = hwb__stat_se(i);
        r->joint_probes[l] = j->m;
        r->isolated_probes[l] = i->m;
        r->total_mean += r->mean[l];
        if (p->share[l] < 1) var += pow((1 - p->share[l]) * hwb__stat_se(i), 2);
    }
    r->total_se = sqrt(var);
}

static hwb_status check(hwb_ctx *ctx, const hwb_linop *op, int64_t blocks,
                        const hwb_block_range *range, const hwb_linop_set *isolated,
                        const hwb_block_trace_options *opt) {
    HWB_TRY(hwb__op_check(ctx, op));
    if (blocks < 1) return hwb_fail(ctx, HWB_EARG, "block traces: no blocks");
    if (!(opt->tol > 0) || opt->batch < 1 || opt->joint_probes < 0 || opt->max_isolated < 0 ||
        opt->pilot < 2)
        return hwb_fail(
            ctx, HWB_EARG,
            "block traces: tol > 0, batch >= 1, pilot >= 2 and probe counts >= 0 needed");
    if (opt->joint_probes == 1)
        return hwb_fail(ctx, HWB_EARG,
                        "block traces: one joint probe has no error; take 0 or >= 2");
    if (opt->joint_probes < 2 && !(isolated && opt->max_isolated >= 2))
        return hwb_fail(ctx, HWB_EARG,
                        "block traces: two joint probes or isolated operators needed");
    for (int64_t l = 0; l < blocks; l++) {
        if (range[l].start < 0 || range[l].len < 1 || range[l].start > op->n - range[l].len)
            return hwb_fail(ctx, HWB_ESHAPE, "block %lld: [%lld, +%lld) outside n = %lld",
                            (long long)(l + 1), (long long)range[l].start, (long long)range[l].len,
                            (long long)op->n);
        if (isolated) HWB_TRY(hwb__op_check(ctx, isolated->op[l]));
        if (isolated && isolated->op[l]->n != range[l].len)
            return hwb_fail(
                ctx, HWB_ESHAPE, "block %lld: its operator has n = %lld, its range %lld",
                (long long)(l + 1), (long long)isolated->op[l]->n, (long long)range[l].len);
        if (opt->cost && !(opt->cost[l] > 0))
            return hwb_fail(ctx, HWB_EARG, "block %lld: cost must be positive", (long long)(l + 1));
    }
    return HWB_OK;
}

static hwb_status run(pool *p, hwb_linop *op, int64_t blocks) {
    p->joint = hwb_calloc(p->ctx, (size_t)blocks * sizeof *p->joint);
    p->iso = hwb_calloc(p->ctx, (size_t)blocks * sizeof *p->iso);
    p->share = hwb_calloc(p->ctx, (size_t)blocks * sizeof *p->share);
    p->q = hwb_calloc(p->ctx, (size_t)(blocks * p->opt->joint_probes) * sizeof *p->q);
    p->wanted = hwb_calloc(p->ctx, (size_t)blocks * sizeof *p->wanted);
    p->v = hwb_calloc(p->ctx, (size_t)blocks * sizeof *p->v);
    p->w = hwb_calloc(p->ctx, (size_t)blocks * sizeof *p->w);
    p->apart = hwb_calloc(p->ctx, (size_t)blocks * sizeof *p->apart);
    if (!p->joint || !p->iso || !p->share || !p->q || !p->wanted || !p->v || !p->w || !p->apart)
        return HWB_ENOMEM;
    HWB_TRY(hwb__space_open(p->ctx, &p->space, op));
    for (int64_t l = 0; p->isolated && l < blocks; l++)
        HWB_TRY(hwb__space_open(p->ctx, &p->apart[l], p->isolated->op[l]));
    HWB_TRY(joint_phase(p));
    if (p->opt->joint_done) p->opt->joint_done(p->opt->user);
    for (int64_t l = 0; l < blocks; l++) combine(p, l);
    if (p->isolated) HWB_TRY(isolated_phase(p));
    finish(p);
    return HWB_OK;
}

hwb_status hwb_block_trace(hwb_ctx *ctx, hwb_block_trace_result *out, hwb_linop *op, int64_t blocks,
                           const hwb_block_range *range, hwb_linop_set *isolated,
                           const hwb_block_trace_options *opt) {
    HWB_TRY(check(ctx, op, blocks, range, isolated, opt));
    hwb_block_trace_result r;
    HWB_TRY(result_alloc(ctx, &r, blocks));
    pool p = {.ctx = ctx, .range = range, .isolated = isolated, .opt = opt, .r = &r};
    hwb_status s = run(&p, op, blocks);
    for (int64_t l = 0; p.apart && l < blocks; l++) hwb__space_close(&p.apart[l]);
    hwb__space_close(&p.space);
    hwb_free(p.apart);
    hwb_free(p.joint);
    hwb_free(p.iso);
    hwb_free(p.share);
    hwb_free(p.q);
    hwb_free(p.wanted);
    hwb_free(p.v);
    hwb_free(p.w);
    if (s != HWB_OK) {
        hwb_block_trace_free(&r);
        return s;
    }
    *out = r;
    return HWB_OK;
}
