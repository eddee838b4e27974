/*
 * trace_sketch.c: trace estimators that treat a sketched range exactly.
 *
 * Hutch++ (Meyer, Musco, Musco, Woodruff 2021): Q = orth(HΩ),
 *
 *     tr H ≈ tr(QᵀHQ) + mean_g gᵀ(I-QQᵀ) H (I-QQᵀ) g.
 *
 * XTrace (Epperly, Tropp, Webber 2024): Y = HΩ = QR with N columns.  Leaving
 * column i out of the sketch shrinks its range by one direction s_i, the unit
 * vector along column i of R^-T: Q_i Q_iᵀ = Q (I - s_i s_iᵀ) Qᵀ.  Each ω_i then serves as
 * the test vector of the sketch made without it.  With A = QᵀHQ, W = QᵀΩ,
 * u = w_i - s_i (s_iᵀ w_i) and QᵀHω_i = r_i (column i of R):
 *
 *     tr_i = tr A - s_iᵀ A s_i + f_i (w_iᵀ r_i - 2 uᵀ r_i + uᵀ A u)
 *     f_i = (n - N + 1) / |(I - Q_i Q_iᵀ) ω_i|²
 *
 * f_i: ω is Gaussian, so its part outside Q_i has a uniform direction there
 * and its length is only noise.  The mean of tr_i is the estimate, their
 * spread over √N the error bar.  Only Q is stored; Ω is drawn again when
 * needed.
 */
#include "spectral/trace_i.h"

/* ---- a growing sketch Q = orth(H Ω) -------------------------------------------- */

typedef struct sketch {
    hwb_ctx *ctx;
    hwb_linop *op;
    hwb__space *space;
    uint64_t seed;
    int64_t batch, cap;
    hwb__basis q;
    int64_t columns; /* of Ω so far; q.count of them brought a new direction */
    double *r;       /* [cap columns][cap]: column j at r + j*cap, = Qᵀ H ω_j */
    double *a;       /* [cap][cap]: column j at a + j*cap, = Qᵀ H q_j */
    double *w;       /* [cap columns][cap]: Qᵀ ω_j */
    double *norm2;   /* [cap columns]: |ω_j|² */
    int64_t *hvps;
} sketch;

static sketch sketch_of(hwb_ctx *ctx, hwb__space *sp, hwb_trace_result *r,
                        const hwb_trace_options *opt) {
    return (sketch){.ctx = ctx,
                    .op = sp->op,
                    .space = sp,
                    .seed = opt->seed,
                    .batch = opt->batch,
                    .hvps = &r->hvps};
}

static hwb_status sketch_init(sketch *k, int64_t cap, bool full) {
    size_t square = (size_t)(cap * cap) * sizeof(double);
    k->cap = cap;
    HWB_TRY(hwb__basis_init(&k->q, k->space, cap));
    k->r = hwb_calloc(k->ctx, square);
    k->a = full ? hwb_calloc(k->ctx, square) : NULL;
    k->w = full ? hwb_calloc(k->ctx, square) : NULL;
    k->norm2 = hwb_calloc(k->ctx, (size_t)cap * sizeof(double));
    return k->r && k->norm2 && (!full || (k->a && k->w)) ? HWB_OK : HWB_ENOMEM;
}

static void sketch_free(sketch *k) {
    hwb__basis_free(&k->q);
    hwb_free(k->r);
    hwb_free(k->a);
    hwb_free(k->w);
    hwb_free(k->norm2);
}

/* y becomes the next row of Q unless it lies in the span already. Takes y. */
static hwb_status absorb(sketch *k, hwb__vector *y) {
    double *col = k->r + k->columns * k->cap, norm = 0, before = 0;
    hwb_status s = hwb__vector_norm(y, &before);
    if (s == HWB_OK)
        s = isfinite(before) ? hwb__basis_project(&k->q, y, col, &norm)
                             : hwb__not_finite(k->ctx, "trace sketch", k->columns);
    bool adds =
        s == HWB_OK && norm > 100 * hwb__eps(k->op->dtype) * before && k->q.count < k->op->n;
    if (s == HWB_OK) k->columns++;
    if (adds) s = hwb__vector_scale(y, 1 / norm);
    if (!adds || s != HWB_OK) {
        hwb__vector_release(y);
        return s;
    }
    col[k->q.count] = norm;
    hwb__basis_push(&k->q, y);
    return HWB_OK;
}

/* `add` more columns of Ω */
static hwb_status sketch_grow(sketch *k, int64_t add) {
    while (add > 0) {
        int64_t b = add < k->batch ? add : k->batch;
        hwb__vector *v = NULL, *y = NULL;
        HWB_TRY(hwb__vector_probes(k->space, k->seed, HWB__PROBE_GAUSS, 0, k->columns, b, &v));
        hwb_status s = hwb__vector_apply(v, &y);
        hwb__vector_release(v);
        HWB_TRY(s);
        *k->hvps += b;
        for (int64_t i = 0; s == HWB_OK && i < b; i++) {
            hwb__vector *row = NULL;
            s = hwb__vector_row(y, i, &row);
            if (s == HWB_OK) s = absorb(k, row);
        }
        hwb__vector_release(y);
        HWB_TRY(s);
        add -= b;
    }
    return HWB_OK;
}

/* H q_j for b rows from `from` on */
static hwb_status multiply(sketch *k, int64_t from, int64_t b, hwb__vector **out) {
    hwb__vector *v = NULL;
    HWB_TRY(hwb__vector_new(k->space, b, &v));
    hwb_status s = HWB_OK;
    for (int64_t i = 0; s == HWB_OK && i < b; i++)
        s = hwb__vector_assign(v, i, k->q.v[from + i], 0);
    if (s == HWB_OK) s = hwb__vector_apply(v, out);
    hwb__vector_release(v);
    if (s == HWB_OK) *k->hvps += b;
    return s;
}

/* column j of A from H q_j: all of it, or its diagonal entry alone */
static hwb_status compress_one(sketch *k, int64_t j, const hwb__vector *z, int64_t row,
                               double *diag) {
    hwb__vector *w = NULL;
    HWB_TRY(hwb__vector_row(z, row, &w));
    hwb_status s = diag ? hwb__vector_dots(k->q.v[j], w, &diag[j])
                        : hwb__basis_dots(&k->q, w, k->a + j * k->cap);
    hwb__vector_release(w);
    if (s == HWB_OK && !isfinite(diag ? diag[j] : k->a[j * k->cap + j]))
        s = hwb__not_finite(k->ctx, "trace sketch", j);
    return s;
}

/* H q_j for j in [from, count): a[:,j] = QᵀHq_j (all of it if `full`, else the
 * diagonal alone, into diag). */
static hwb_status compress(sketch *k, int64_t from, double *diag) {
    int64_t m = k->q.count;
    while (from < m) {
        int64_t b = m - from < k->batch ? m - from : k->batch;
        hwb__vector *z = NULL;
        HWB_TRY(multiply(k, from, b, &z));
        hwb_status s = HWB_OK;
        for (int64_t i = 0; s == HWB_OK && i < b; i++) s = compress_one(k, from + i, z, i, diag);
        hwb__vector_release(z);
        HWB_TRY(s);
        from += b;
    }
    return HWB_OK;
}

/* ---- Hutch++ -------------------------------------------------------------------- */

/* Every row of g without its part in the span of Q. */
static hwb_status outside(sketch *k, hwb__vector *g) {
    hwb_status s = HWB_OK;
    double norm;
    for (int64_t i = 0; s == HWB_OK && i < g->k; i++) {
        hwb__vector *row = NULL;
        HWB_TRY(hwb__vector_row(g, i, &row));
        s = hwb__basis_project(&k->q, row, NULL, &norm);
        if (s == HWB_OK) s = hwb__vector_assign(g, i, row, 0);
        hwb__vector_release(row);
    }
    return s;
}

/* Hutchinson on the complement of Q until the total has settled. */
static hwb_status complement(sketch *k, hwb_trace_result *r, const hwb_trace_options *opt,
                             double exact) {
    hwb__stat st = {0};
    while (!r->converged && r->hvps < opt->max_probes) {
        int64_t left = opt->max_probes - r->hvps, most = left < opt->batch ? left : opt->batch;
        int64_t b = hwb__trace_batch(opt->tol, most, opt->min_probes, &st, exact + st.mean);
        hwb__vector *g = NULL;
        HWB_TRY(hwb__vector_probes(k->space, opt->seed, HWB__PROBE_SIGN, 1, st.m, b, &g));
        hwb_status s = outside(k, g);
        if (s == HWB_OK) s = hwb__trace_sample(k->space, r, opt, "hutch++", exact, g, &st);
        hwb__vector_release(g);
        HWB_TRY(s);
        hwb__trace_progress(k->ctx, "hutch++", r->hvps, opt->max_probes, exact + st.mean,
                            hwb__stat_se(&st));
    }
    r->mean = exact + st.mean;
    r->se = hwb__stat_se(&st);
    r->probes = st.m;
    return HWB_OK;
}

hwb_status hwb__trace_hutchpp(hwb_ctx *ctx, hwb_trace_result *r, hwb__space *sp,
                              const hwb_trace_options *opt) {
    hwb_linop *op = sp->op;
    int64_t fit = opt->max_probes / 3, cols = opt->sketch ? opt->sketch : fit < 50 ? fit : 50;
    if (cols > op->n) cols = op->n;
    if (2 * cols + (cols < op->n ? 2 : 0) > opt->max_probes)
        return hwb_fail(ctx, HWB_EARG,
                        "hutch++: a sketch of %lld columns takes %lld products and two more for "
                        "the rest, max_probes is %lld",
                        (long long)cols, (long long)(2 * cols), (long long)opt->max_probes);
    sketch k = sketch_of(ctx, sp, r, opt);
    double exact = 0, *diag = hwb_calloc(ctx, (size_t)(cols + 1) * sizeof *diag);
    hwb_status s = diag ? HWB_OK : HWB_ENOMEM;
    if (s == HWB_OK && cols > 0) {
        HWB_GOTO(done, s, sketch_init(&k, cols, false));
        HWB_GOTO(done, s, sketch_grow(&k, cols));
        HWB_GOTO(done, s, compress(&k, 0, diag));
        for (int64_t j = 0; j < k.q.count; j++) exact += diag[j];
    } else if (s == HWB_OK) {
        HWB_GOTO(done, s, hwb__basis_init(&k.q, sp, 1));
    }
    if (s == HWB_OK && k.q.count == op->n) { /* nothing is left to sample */
        r->mean = exact;
        r->converged = true;
    } else if (s == HWB_OK) {
        s = complement(&k, r, opt, exact);
    }
done:
    sketch_free(&k);
    hwb_free(diag);
    return s;
}

/* ---- XTrace ------------------------------------------------------------------------ */

/* s[i*m..] = unit vectors along the columns of R^-T (R m x m upper triangular,
 * column j at r + j*ld): forward substitution with Rᵀ x = e_i. */
static void leave_one_out(const double *r, int64_t ld, int64_t m, double *s) {
    for (int64_t i = 0; i < m; i++) {
        double *x = s + i * m, norm = 0;
        for (int64_t j = 0; j < m; j++) {
            double b = j == i ? 1 : 0;
            for (int64_t t = i; t < j; t++) b -= r[j * ld + t] * x[t];
            x[j] = j < i ? 0 : b / r[j * ld + j];
            /* Rows of a nearly singular R grow like 1/σ: keep them in range. */
            if (fabs(x[j]) > 1e100)
                for (int64_t t = i; t <= j; t++) x[t] *= 1e-100;
        }
        for (int64_t j = i; j < m; j++) norm = hypot(norm, x[j]);
        for (int64_t j = i; j < m; j++) x[j] /= norm;
    }
}

static double dot(const double *a, const double *b, int64_t m) {
    double s = 0;
    for (int64_t i = 0; i < m; i++) s += a[i] * b[i];
    return s;
}

/* aᵀ A b; the two triangles of A differ by rounding only */
static double form(const sketch *k, const double *a, const double *b, int64_t m) {
    double s = 0;
    for (int64_t j = 0; j < m; j++) s += b[j] * dot(k->a + j * k->cap, a, m);
    return s;
}

/* tr_i for every column into r->samples; mean and se */
static hwb_status estimate(const sketch *k, hwb_trace_result *r) {
    int64_t m = k->q.count, cols = k->columns;
    bool deficient = m < cols; /* then no column is missed: s_i = 0 */
    double *s = hwb_calloc(k->ctx, (size_t)(m * m + m + 1) * sizeof *s), tr = 0;
    if (!s) return HWB_ENOMEM;
    double *u = s + m * m;
    if (!deficient) leave_one_out(k->r, k->cap, m, s);
    for (int64_t j = 0; j < m; j++) tr += k->a[j * k->cap + j];
    hwb__stat st = {0};
    for (int64_t i = 0; i < cols; i++) {
        const double *w = k->w + i * k->cap, *ri = k->r + i * k->cap, *si = s + i * m;
        double c = deficient ? 0 : dot(si, w, m);
        for (int64_t j = 0; j < m; j++) u[j] = w[j] - (deficient ? 0 : c * si[j]);
        double outside = fmax(k->norm2[i] - dot(w, w, m), 0) + c * c;
        double f = (double)(k->op->n - m + !deficient) / outside;
        double t = tr + f * (dot(w, ri, m) - 2 * dot(u, ri, m) + form(k, u, u, m));
        if (!deficient) t -= form(k, si, si, m);
        r->samples[i] = t;
        hwb__stat_add(&st, t);
    }
    hwb_free(s);
    r->mean = st.mean;
    r->se = hwb__stat_se(&st);
    r->probes = cols;
    return HWB_OK;
}

/* W = QᵀΩ for all columns, and the new rows of A = QᵀHQ for old columns by symmetry */
static hwb_status refresh(sketch *k, int64_t old_rows) {
    int64_t m = k->q.count;
    for (int64_t j = 0; j < old_rows; j++)
        for (int64_t i = old_rows; i < m; i++) k->a[j * k->cap + i] = k->a[i * k->cap + j];
    for (int64_t i = 0; i < k->columns; i++) {
        hwb__vector *v = NULL;
        HWB_TRY(hwb__vector_probes(k->space, k->seed, HWB__PROBE_GAUSS, 0, i, 1, &v));
        hwb_status s = hwb__basis_dots(&k->q, v, k->w + i * k->cap);
        if (s == HWB_OK) s = hwb__vector_dots(v, v, &k->norm2[i]);
        hwb__vector_release(v);
        HWB_TRY(s);
    }
    return HWB_OK;
}

hwb_status hwb__trace_xtrace(hwb_ctx *ctx, hwb_trace_result *r, hwb__space *sp,
                             const hwb_trace_options *opt) {
    hwb_linop *op = sp->op;
    int64_t cap = opt->max_probes / 2;
    if (cap > op->n) cap = op->n;
    if (cap < 2 && op->n > 1)
        return hwb_fail(ctx, HWB_EARG, "xtrace: max_probes %lld, needs at least 4",
                        (long long)opt->max_probes);
    if (cap < 1) cap = 1;
    sketch k = sketch_of(ctx, sp, r, opt);
    hwb_status s;
    HWB_GOTO(done, s, sketch_init(&k, cap, true));
    /* Half as many again each time, from min_probes: few wasted products at
     * the end, few evaluations on the way. */
    int64_t want = opt->min_probes < 4 ? 4 : opt->min_probes;
    for (;;) {
        if (want > cap) want = cap;
        int64_t old = k.q.count;
        HWB_GOTO(done, s, sketch_grow(&k, want - k.columns));
        HWB_GOTO(done, s, compress(&k, old, NULL));
        HWB_GOTO(done, s, refresh(&k, old));
        HWB_GOTO(done, s, estimate(&k, r));
        if (k.columns == op->n) r->se = 0; /* QQᵀ holds the whole range of H */
        hwb__trace_progress(ctx, "xtrace", r->hvps, opt->max_probes, r->mean, r->se);
        r->converged = r->se <= opt->tol * fabs(r->mean);
        if (r->converged || k.columns == cap) break;
        want = k.columns + (k.columns + 1) / 2;
    }
done:
    sketch_free(&k);
    return s;
}
