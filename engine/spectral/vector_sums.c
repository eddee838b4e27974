/*
 * vector_sums.c: dot products and combinations of solvers' vectors, on the host by
 * host.c, on a device by exec/there_i.h.
 */
#include "spectral/spectral_i.h"

hwb_status hwb__vector_dots(const hwb__vector *a, const hwb__vector *b, double *x) {
    const hwb__space *s = a->space;
    if (s->there) return hwb__there_row_dots(s->there, s->op->dtype, a->k, s->op->n, a->p, b->p, x);
    for (int64_t i = 0; i < a->k; i++)
        x[i] = hwb__host_dot(s->ctx, s->op->dtype, s->op->n, hwb__vector_data(a, i),
                             hwb__vector_data(b, i));
    return HWB_OK;
}

/* One range of row i, whose elements may have to be brought to an aligned place. */
static hwb_status range_dot_there(const hwb__vector *v, const hwb__vector *w, int64_t i,
                                  const hwb_block_range *range, void *copy[2], int64_t room,
                                  int64_t slot) {
    const hwb__space *s = v->space;
    int64_t size = (int64_t)hwb_dtype_size(s->op->dtype);
    int64_t from = (i * s->op->n + range->start) * size, len = range->len * size;
    void *a = NULL, *b = NULL;
    HWB_TRY(hwb__there_part(s->there, v->p, from, len, room, &copy[0], &a));
    HWB_TRY(hwb__there_part(s->there, w->p, from, len, room, &copy[1], &b));
    return hwb__there_dots(s->there, s->op->dtype, range->len, 1, &a, b, slot);
}

static hwb_status range_dots_there(const hwb__vector *v, const hwb__vector *w, int64_t i,
                                   int64_t ranges, const hwb_block_range *range, double *x) {
    const hwb__space *s = v->space;
    void *copy[2] = {NULL, NULL};
    int64_t most = 0, room;
    for (int64_t l = 0; l < ranges; l++)
        if (range[l].len > most) most = range[l].len;
    room = most * (int64_t)hwb_dtype_size(s->op->dtype);
    hwb_status st = hwb__there_slots(s->there, ranges);
    for (int64_t l = 0; st == HWB_OK && l < ranges; l++)
        st = range_dot_there(v, w, i, &range[l], copy, room, l);
    if (st == HWB_OK) st = hwb__there_fetch(s->there, 0, ranges, x);
    hwb__there_release(s->there, copy[0]);
    hwb__there_release(s->there, copy[1]);
    return st;
}

hwb_status hwb__vector_range_dots(const hwb__vector *v, const hwb__vector *w, int64_t i,
                                  int64_t ranges, const hwb_block_range *range, double *x) {
    const hwb__space *s = v->space;
    if (s->there) return range_dots_there(v, w, i, ranges, range, x);
    size_t size = hwb_dtype_size(s->op->dtype);
    for (int64_t l = 0; l < ranges; l++) {
        size_t from = (size_t)range[l].start * size;
        x[l] =
            hwb__host_dot(s->ctx, s->op->dtype, range[l].len, (char *)hwb__vector_data(v, i) + from,
                          (char *)hwb__vector_data(w, i) + from);
    }
    return HWB_OK;
}

hwb_status hwb__vector_norm(const hwb__vector *v, double *x) {
    double square = 0;
    HWB_TRY(hwb__vector_dots(v, v, &square));
    *x = sqrt(square);
    return HWB_OK;
}

/* y = slot 0 times y plus slot 1 times x, where there is one */
static hwb_status combine_there(double a, const hwb__vector *x, double b, hwb__vector *y) {
    const hwb__space *s = y->space;
    const double by[2] = {b, a};
    void *terms = x ? x->p : NULL;
    hwb__sum_there sum = {.n = s->op->n,
                          .m = x ? 1 : 0,
                          .v = &terms,
                          .slot = 1,
                          .v_dtype = s->op->dtype,
                          .y = y->p,
                          .y_dtype = s->op->dtype,
                          .out = y->p,
                          .out_dtype = s->op->dtype};
    HWB_TRY(hwb__there_slots(s->there, 2));
    HWB_TRY(hwb__there_set(s->there, 0, 2, by));
    return hwb__there_sum(s->there, &sum);
}

hwb_status hwb__vector_scale(hwb__vector *v, double a) {
    const hwb__space *s = v->space;
    if (s->there) return combine_there(0, NULL, a, v);
    void *p = hwb__vector_data(v, 0);
    hwb__host_axpby(s->ctx, s->op->dtype, s->op->n, 0, p, a, p);
    return HWB_OK;
}

hwb_status hwb__vector_axpby(double a, const hwb__vector *x, double b, hwb__vector *y) {
    const hwb__space *s = y->space;
    if (s->there) return combine_there(a, x, b, y);
    hwb__host_axpby(s->ctx, s->op->dtype, s->op->n, a, hwb__vector_data(x, 0), b,
                    hwb__vector_data(y, 0));
    return HWB_OK;
}

/* One wait for the three numbers: θ is used where it was made. */
static hwb_status residual_there(const hwb__vector *v, hwb__vector *w, double *x) {
    const hwb__space *s = v->space;
    hwb_dtype d = s->op->dtype;
    void *const vp = v->p;
    hwb__sum_there less = {.n = s->op->n,
                           .m = 1,
                           .v = &vp,
                           .y_slot = -1,
                           .minus = true,
                           .v_dtype = d,
                           .y_dtype = d,
                           .out_dtype = d,
                           .y = w->p,
                           .out = w->p};
    void *const both[2] = {v->p, w->p};
    HWB_TRY(hwb__there_slots(s->there, 3));
    HWB_TRY(hwb__there_dots(s->there, d, s->op->n, 2, both, w->p, 0));
    HWB_TRY(hwb__there_sum(s->there, &less));
    HWB_TRY(hwb__there_dots(s->there, d, s->op->n, 1, &w->p, w->p, 2));
    return hwb__there_fetch(s->there, 0, 3, x);
}

hwb_status hwb__vector_residual(const hwb__vector *v, hwb__vector *w, double *theta, double *size,
                                double *rest) {
    double x[3] = {0};
    if (v->space->there) {
        HWB_TRY(residual_there(v, w, x));
    } else {
        HWB_TRY(hwb__vector_dots(v, w, &x[0]));
        HWB_TRY(hwb__vector_dots(w, w, &x[1]));
        /* |w - θv|² would lose its digits as |w|² - θ²; subtract the vectors. */
        HWB_TRY(hwb__vector_axpby(-x[0], v, 1, w));
        HWB_TRY(hwb__vector_dots(w, w, &x[2]));
    }
    *theta = x[0];
    *size = sqrt(x[1]);
    *rest = sqrt(x[2]);
    return HWB_OK;
}
