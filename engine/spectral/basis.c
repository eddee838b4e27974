/*
 * basis.c: the orthonormal basis V[count,n] that Krylov methods and sketches grow.
 */
#include "spectral/spectral_i.h"

hwb_status hwb__basis_init(hwb__basis *b, hwb__space *s, int64_t cap) {
    *b = (hwb__basis){.space = s, .cap = cap};
    b->v = hwb_calloc(s->ctx, (size_t)cap * sizeof *b->v);
    b->p = hwb_calloc(s->ctx, (size_t)cap * sizeof *b->p);
    if (b->v && b->p) return HWB_OK;
    hwb__basis_free(b);
    return HWB_ENOMEM;
}

void hwb__basis_free(hwb__basis *b) {
    if (b->v) hwb__basis_cut(b, 0);
    hwb_free(b->v);
    hwb_free(b->p);
    *b = (hwb__basis){0};
}

void hwb__basis_cut(hwb__basis *b, int64_t count) {
    for (int64_t i = count; i < b->count; i++) hwb__vector_release(b->v[i]);
    if (count < b->count) b->count = count;
}

void hwb__basis_push(hwb__basis *b, hwb__vector *v) {
    HWB_ASSERT(b->count < b->cap);
    b->v[b->count] = v;
    b->p[b->count++] = hwb__vector_data(v, 0);
}

hwb_status hwb__basis_dots(const hwb__basis *b, const hwb__vector *w, double *x) {
    const hwb__space *s = b->space;
    hwb_dtype d = s->op->dtype;
    if (!s->there)
        return hwb__host_dots(s->ctx, x, d, s->op->n, b->count, b->p, hwb__vector_data(w, 0));
    HWB_TRY(hwb__there_slots(s->there, b->count));
    HWB_TRY(hwb__there_dots(s->there, d, s->op->n, b->count, b->p, w->p, 0));
    return hwb__there_fetch(s->there, 0, b->count, x);
}

static hwb_status project_host(const hwb__basis *b, hwb__vector *w, double *c, double *h,
                               double *norm) {
    const hwb__space *s = b->space;
    hwb_dtype d = s->op->dtype;
    int64_t n = s->op->n, m = b->count;
    void *data = hwb__vector_data(w, 0);
    for (int pass = 0; m > 0 && pass < 2; pass++) {
        HWB_TRY(hwb__host_dots(s->ctx, c, d, n, m, b->p, data));
        hwb__host_sub(s->ctx, d, n, m, b->p, c, data);
        for (int64_t i = 0; h && i < m; i++) h[i] = pass ? h[i] + c[i] : c[i];
    }
    *norm = sqrt(hwb__host_dot(s->ctx, d, n, data, data));
    return HWB_OK;
}

/* The coefficients of both passes and |w|² stay in slots until all is under way. */
static hwb_status project_there(const hwb__basis *b, hwb__vector *w, double *c, double *h,
                                double *norm) {
    const hwb__space *s = b->space;
    hwb_dtype d = s->op->dtype;
    int64_t n = s->op->n, m = b->count, passes = m > 0 ? 2 : 0;
    HWB_TRY(hwb__there_slots(s->there, 2 * m + 1));
    for (int64_t pass = 0; pass < passes; pass++) {
        hwb__sum_there less = {.n = n,
                               .m = m,
                               .v = b->p,
                               .slot = pass * m,
                               .y_slot = -1,
                               .minus = true,
                               .v_dtype = d,
                               .y_dtype = d,
                               .out_dtype = d,
                               .y = w->p,
                               .out = w->p};
        HWB_TRY(hwb__there_dots(s->there, d, n, m, b->p, w->p, less.slot));
        HWB_TRY(hwb__there_sum(s->there, &less));
    }
    HWB_TRY(hwb__there_dots(s->there, d, n, 1, &w->p, w->p, 2 * m));
    HWB_TRY(hwb__there_fetch(s->there, 0, 2 * m + 1, c));
    for (int64_t i = 0; h && i < m; i++) h[i] = c[i] + c[m + i];
    *norm = sqrt(c[2 * m]);
    return HWB_OK;
}

hwb_status hwb__basis_project(const hwb__basis *b, hwb__vector *w, double *h, double *norm) {
    double *c = hwb_alloc(b->space->ctx, (size_t)(2 * b->count + 1) * sizeof *c);
    if (!c) return HWB_ENOMEM;
    hwb_status st =
        b->space->there ? project_there(b, w, c, h, norm) : project_host(b, w, c, h, norm);
    hwb_free(c);
    return st;
}

/* out = Σ_i s[i] v_i over m rows */
static hwb_status combine_there(const hwb__basis *b, int64_t m, const double *s, hwb__vector *out) {
    const hwb__space *sp = b->space;
    hwb__sum_there sum = {.n = sp->op->n,
                          .m = m - 1,
                          .v = b->p + 1,
                          .slot = 1,
                          .v_dtype = sp->op->dtype,
                          .y = b->p[0],
                          .y_dtype = sp->op->dtype,
                          .out = out->p,
                          .out_dtype = sp->op->dtype};
    HWB_TRY(hwb__there_slots(sp->there, m));
    HWB_TRY(hwb__there_set(sp->there, 0, m, s));
    return hwb__there_sum(sp->there, &sum);
}

static hwb_status rotate_there(hwb__basis *b, int64_t m, int64_t p, const double *s) {
    hwb__basis fresh;
    HWB_TRY(hwb__basis_init(&fresh, b->space, b->cap));
    hwb_status st = HWB_OK;
    for (int64_t q = 0; st == HWB_OK && q < p; q++) {
        hwb__vector *row = NULL;
        st = hwb__vector_new(b->space, 1, &row);
        if (st != HWB_OK) break;
        hwb__basis_push(&fresh, row);
        st = combine_there(b, m, s + q * m, row);
    }
    hwb__basis old = st == HWB_OK ? *b : fresh;
    if (st == HWB_OK) *b = fresh;
    hwb__basis_free(&old);
    return st;
}

hwb_status hwb__basis_rotate(hwb__basis *b, int64_t m, int64_t p, const double *s) {
    const hwb__space *sp = b->space;
    if (sp->there) return rotate_there(b, m, p, s);
    HWB_TRY(hwb__host_rotate(sp->ctx, sp->op->dtype, sp->op->n, m, b->p, p, s, m, b->p));
    hwb__basis_cut(b, p);
    return HWB_OK;
}

static hwb_status combine_rows_there(const hwb__basis *b, int64_t m, int64_t p, const double *s,
                                     hwb_tensor *out) {
    hwb__vector *row = NULL;
    HWB_TRY(hwb__vector_new(b->space, 1, &row));
    hwb_status st = HWB_OK;
    for (int64_t q = 0; st == HWB_OK && q < p; q++) {
        st = combine_there(b, m, s + q * m, row);
        if (st == HWB_OK) st = hwb__vector_store(row, 0, out, q);
    }
    hwb__vector_release(row);
    return st;
}

hwb_status hwb__basis_combine(const hwb__basis *b, int64_t m, int64_t p, const double *s,
                              hwb_tensor *out) {
    const hwb__space *sp = b->space;
    if (sp->there) return combine_rows_there(b, m, p, s, out);
    void **rows = hwb_alloc(sp->ctx, (size_t)p * sizeof *rows);
    if (!rows) return HWB_ENOMEM;
    size_t bytes = (size_t)sp->op->n * hwb_dtype_size(sp->op->dtype);
    for (int64_t q = 0; q < p; q++) rows[q] = (char *)hwb_tensor_data(out) + (size_t)q * bytes;
    hwb_status st = hwb__host_rotate(sp->ctx, sp->op->dtype, sp->op->n, m, b->p, p, s, m, rows);
    hwb_free(rows);
    return st;
}

/* Near the full dimension little of a random vector is left outside the span, so the
 * remainder is scaled up and projected again. */
static hwb_status draw_outside(const hwb__basis *b, hwb_rng rng, hwb__vector *v, double *norm) {
    HWB_TRY(hwb__vector_normal(v, rng));
    for (int pass = 0; pass < 2; pass++) {
        HWB_TRY(hwb__basis_project(b, v, NULL, norm));
        if (!(*norm > 1e3 * hwb__eps(b->space->op->dtype))) return HWB_OK;
        HWB_TRY(hwb__vector_scale(v, 1 / *norm));
    }
    return HWB_OK;
}

hwb_status hwb__basis_random(const hwb__basis *b, uint64_t seed, uint64_t index,
                             hwb__vector **out) {
    hwb__vector *v = NULL;
    double norm = 0;
    HWB_TRY(hwb__vector_new(b->space, 1, &v));
    hwb_status s = HWB_OK;
    for (int attempt = 0; s == HWB_OK && attempt < 8; attempt++) {
        hwb_rng rng = {seed, hwb_rng_stream("krylov start", index, (uint64_t)attempt)};
        s = draw_outside(b, rng, v, &norm);
        if (s == HWB_OK && norm > 0.5) { /* the second pass leaves a unit vector */
            *out = v;
            return HWB_OK;
        }
    }
    hwb__vector_release(v);
    if (s != HWB_OK) return s;
    return hwb_fail(b->space->ctx, HWB_ENUMERIC,
                    "no direction left outside a basis of %lld of %lld vectors",
                    (long long)b->count, (long long)b->space->op->n);
}
