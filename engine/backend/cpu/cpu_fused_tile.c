/*
 * cpu_fused_tile.c: one tile of a fused group.
 *
 * Point the input registers at their data (or expand a broadcast one into its
 * buffer, unless it holds that data already), run the instructions, each over the
 * whole tile, then store and sum the outputs.
 */
#include "backend/cpu/cpu_fused_i.h"

#include <string.h>

/* ---- expansion of broadcast inputs --------------------------------------- */

static void fill_tile(const fused_kernel *k, void *dst, double x, int64_t n) {
    if (k->narrow) {
        float *d = dst, v = (float)x;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) d[i] = v;
    } else {
        double *d = dst;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) d[i] = x;
    }
}

static double load_one(const fused_kernel *k, bool is_bool, const char *src) {
    if (is_bool) return *(const uint8_t *)src;
    return k->narrow ? (double)*(const float *)src : *(const double *)src;
}

/* n contiguous elements at src, all or the one repeated. */
static void expand_row(const fused_worker *w, const fused_in *in, char *dst, const char *src,
                       int64_t n, int64_t stride) {
    const fused_kernel *k = w->k;
    if (stride == 0) fill_tile(k, dst, load_one(k, in->is_bool, src), n);
    else if (!in->is_bool) memcpy(dst, src, (size_t)n * k->size);
    else if (k->narrow) w->vec->from_bool_f32(n, (float *)dst, (const uint8_t *)src);
    else w->vec->from_bool_f64(n, (double *)dst, (const uint8_t *)src);
}

/* Axis d of a tile, dim indices of it; returns the elements written. */
static int64_t expand(const fused_worker *w, const fused_in *in, char *dst, const char *src, int d,
                      int64_t dim) {
    const fused_kernel *k = w->k;
    if (d == k->nd - 1) {
        expand_row(w, in, dst, src, dim, in->stride[d]);
        return dim;
    }
    size_t source = in->is_bool ? 1 : k->size;
    int64_t one = expand(w, in, dst, src, d + 1, k->dim[d + 1]);
    if (in->stride[d] == 0) { /* doubling copies */
        for (int64_t have = 1; have < dim; have *= 2) {
            int64_t more = have < dim - have ? have : dim - have;
            memcpy(dst + (size_t)(have * one) * k->size, dst, (size_t)(more * one) * k->size);
        }
        return one * dim;
    }
    for (int64_t i = 1; i < dim; i++)
        expand(w, in, dst + (size_t)(i * one) * k->size, src + (size_t)(i * in->stride[d]) * source,
               d + 1, k->dim[d + 1]);
    return one * dim;
}

static void copy_rows(const fused_kernel *k, char *dst, const char *src, int64_t rows,
                      int64_t step) {
    size_t bytes = (size_t)k->inner * k->size;
    for (int64_t i = 0; i < rows; i++) memcpy(dst + (size_t)i * bytes, src + i * step, bytes);
}

/* Where a tile of input i begins. */
static const char *source(const fused_worker *w, int i, const int64_t *at, int64_t row) {
    const fused_in *in = &w->k->in[i];
    if (i == 0 && w->values) return w->values + (row - w->values_row) * w->values_step;
    int64_t offset = row * in->stride[w->k->t];
    for (int d = 0; d < w->k->t; d++) offset += at[d] * in->stride[d];
    return (const char *)w->in[i] + offset * (int64_t)(in->is_bool ? 1 : w->k->size);
}

static void place_inputs(fused_worker *w, const int64_t *at, int64_t row, int64_t rows) {
    const fused_kernel *k = w->k;
    for (int i = 0; i < k->n_in; i++) {
        const fused_in *in = &k->in[i];
        const char *src = source(w, i, at, row);
        if (in->direct) {
            w->reg[i] = (void *)(uintptr_t)src;
        } else if (i == 0 && w->values) {
            copy_rows(k, w->reg[i], src, rows, w->values_step);
        } else if (in->stride[k->t]) { /* every tile has data of its own */
            if (in->dense) expand_row(w, in, w->reg[i], src, rows * k->inner, 1);
            else expand(w, in, w->reg[i], src, k->t, rows);
        } else if (w->held[i] != src) { /* serves tiles of any height */
            expand(w, in, w->reg[i], src, k->t, k->rows);
            w->held[i] = src;
        }
    }
}

/* ---- sums ---------------------------------------------------------------- */

static double sum_run(const fused_worker *w, int64_t n, const char *x) {
    return w->k->narrow ? w->vec->sum_f32(n, (const float *)x)
                        : w->vec->sum_f64(n, (const double *)x);
}

static void sum_rows(const fused_worker *w, int64_t rows, int64_t n, double *acc, const char *x) {
    if (w->k->narrow) w->vec->rows_f32(rows, n, acc, (const float *)x);
    else w->vec->rows_f64(rows, n, acc, (const double *)x);
}

/* acc += the sums over axis d.. of dim*block elements at x. */
static void accumulate(const fused_worker *w, const fused_out *o, double *acc, const char *x, int d,
                       int64_t dim, int64_t block) {
    const fused_kernel *k = w->k;
    if (o->all_summed[d]) *acc += sum_run(w, dim * block, x);
    else if (o->all_kept[d]) sum_rows(w, 1, dim * block, acc, x);
    else if (o->local[d] == 0 && o->all_kept[d + 1]) sum_rows(w, dim, block, acc, x);
    else
        for (int64_t i = 0; i < dim; i++)
            accumulate(w, o, acc + i * o->local[d], x + (size_t)(i * block) * k->size, d + 1,
                       k->dim[d + 1], block / k->dim[d + 1]);
}

static void store_sums(const fused_out *o, void *out, int64_t at, const double *acc, int64_t n) {
    if (o->is_bool)
        for (int64_t i = 0; i < n; i++) ((uint8_t *)out)[at + i] = acc[i] != 0;
    else if (o->narrow)
        for (int64_t i = 0; i < n; i++) ((float *)out)[at + i] = (float)acc[i];
    else memcpy((double *)out + at, acc, (size_t)n * sizeof(double));
}

/* Index of an outer position among the outer axes that o keeps. */
static int64_t kept_outer(const fused_kernel *k, const fused_out *o, int64_t outer) {
    if (o->outer_all) return outer;
    int64_t index = 0, scale = 1;
    for (int d = k->t - 1; d >= 0; d--) {
        if (o->keep[d]) index += outer % k->dim[d] * scale, scale *= k->dim[d];
        outer /= k->dim[d];
    }
    return index;
}

/* The partial sums of o for an outer index, at row or block. */
double *hwb__fused_partial(const fused_worker *w, const fused_out *o, int64_t outer, int64_t row,
                           int64_t block) {
    const fused_kernel *k = w->k;
    int64_t slot = o->outer_none ? outer / k->chunk : outer;
    int64_t at = slot * o->slot_size + (o->keep[k->t] ? row : block) * o->kept_inner;
    return (double *)(void *)(w->scratch + o->partial) + at;
}

static void sum_output(fused_worker *w, const fused_out *o, void *out, int64_t outer, int64_t row,
                       int64_t rows, int64_t block) {
    const fused_kernel *k = w->k;
    double *acc = o->direct ? w->acc : hwb__fused_partial(w, o, outer, row, block);
    if (o->direct) memset(acc, 0, (size_t)(rows * o->kept_inner) * sizeof(double));
    accumulate(w, o, acc, w->reg[o->reg], k->t, rows, k->inner);
    if (o->direct)
        store_sums(o, out, (outer * k->dim[k->t] + row) * o->kept_inner, acc, rows * o->kept_inner);
}

/* Adds the partial sums in the order of their slots and stores them. */
static void finish_sum(const fused_kernel *k, const fused_out *o, char *scratch, void *out) {
    double *total = (double *)(void *)(scratch + o->total);
    const double *part = (const double *)(const void *)(scratch + o->partial);
    bool rows = o->keep[k->t];
    int64_t n = (rows ? k->dim[k->t] : 1) * o->kept_inner, blocks = rows ? 1 : k->n_blocks;
    memset(total, 0, (size_t)o->numel * sizeof(double));
    for (int64_t s = 0; s < o->slots; s++) {
        double *to = total + (o->outer_none ? 0 : kept_outer(k, o, s)) * n;
        for (int64_t b = 0; b < blocks; b++, part += n)
            for (int64_t i = 0; i < n; i++) to[i] += part[i];
    }
    store_sums(o, out, 0, total, o->numel);
}

void hwb__fused_finish(const fused_kernel *k, char *scratch, void *const *out) {
    for (int i = 0; i < k->n_out; i++)
        if (k->out[i].reduce && !k->out[i].direct) finish_sum(k, &k->out[i], scratch, out[i]);
}

/* ---- tiles ----------------------------------------------------- */

static void run_steps(const fused_worker *w, int64_t n) {
    const fused_kernel *k = w->k;
    for (int i = 0; i < k->n_steps; i++) {
        const fused_step *s = &k->step[i];
        const void *src[3];
        for (int j = 0; j < 3; j++) src[j] = s->src[j] >= 0 ? w->reg[s->src[j]] : NULL;
        if (k->narrow) w->vec->op_f32(s->op, n, w->reg[s->dst], src[0], src[1], src[2]);
        else w->vec->op_f64(s->op, n, w->reg[s->dst], src[0], src[1], src[2]);
    }
}

static void store_piece(const fused_worker *w, const fused_out *o, char *to, const char *from,
                        int64_t n) {
    const fused_kernel *k = w->k;
    if (!o->is_bool && w->stream[o - k->out]) w->vec->stream((size_t)n * k->size, to, from);
    else if (!o->is_bool) memmove(to, from, (size_t)n * k->size);
    else if (k->narrow) w->vec->to_bool_f32(n, (uint8_t *)to, (const float *)from);
    else w->vec->to_bool_f64(n, (uint8_t *)to, (const double *)from);
}

static void store_full(const fused_worker *w, const fused_out *o, char *to, int64_t rows) {
    const fused_kernel *k = w->k;
    const char *from = w->reg[o->reg];
    int64_t step = k->place[k->t] * (int64_t)(o->is_bool ? 1 : k->size);
    if (!k->apart) store_piece(w, o, to, from, rows * k->inner);
    else
        for (int64_t i = 0; i < rows; i++)
            store_piece(w, o, to + i * step, from + (size_t)(i * k->inner) * k->size, k->inner);
}

void hwb__fused_tile(fused_worker *w, int64_t outer, int64_t row, int64_t rows, int64_t block) {
    const fused_kernel *k = w->k;
    int64_t at[HWB_MAX_DIMS], rest = outer, start = row * k->place[k->t];
    for (int d = k->t - 1; d >= 0; d--) {
        at[d] = rest % k->dim[d];
        rest /= k->dim[d];
        start += at[d] * k->place[d];
    }
    place_inputs(w, at, row, rows);
    char *to[HWB_FUSED_MAX_OUT];
    for (int i = 0; i < k->n_out; i++) {
        to[i] = (char *)w->out[i] + (size_t)start * (k->out[i].is_bool ? 1 : k->size);
        if (w->in_place[i]) w->reg[k->out[i].reg] = to[i];
    }
    run_steps(w, rows * k->inner);
    /* Sums first: a stored output may lie where an input was. */
    for (int i = 0; i < k->n_out; i++)
        if (k->out[i].reduce) sum_output(w, &k->out[i], w->out[i], outer, row, rows, block);
    for (int i = 0; i < k->n_out; i++)
        if (!k->out[i].reduce && !w->in_place[i]) store_full(w, &k->out[i], to[i], rows);
}

/* ---- workers ------------------------------------------------------------- */

/* An output may be made in its own memory when that is no input's memory which
 * a later instruction (or a sum) still reads, and no earlier output has claimed
 * the register. */
static void choose_in_place(fused_worker *w) {
    const fused_kernel *k = w->k;
    for (int i = 0; i < k->n_out; i++) {
        const fused_out *o = &k->out[i];
        w->stream[i] = k->stream && !o->reduce && !o->is_bool;
        for (int j = 0; j < k->n_in; j++) /* memory of an input is in the caches anyway */
            w->stream[i] = w->stream[i] && w->in[j] != w->out[i];
        bool ok = !k->apart && !w->stream[i] && !o->reduce && !o->is_bool && o->def >= 0;
        for (int j = 0; ok && j < k->n_in; j++)
            ok = w->in[j] != w->out[i] || k->in[j].last_use <= o->def;
        for (int j = 0; ok && j < i; j++) ok = !(w->in_place[j] && k->out[j].reg == o->reg);
        w->in_place[i] = ok;
    }
}

void hwb__fused_start(fused_worker *w, const fused_kernel *k, const void *const *in,
                      void *const *out, char *scratch, int index) {
    *w = (fused_worker){.k = k, .vec = k->base.state->vec, .in = in, .out = out};
    choose_in_place(w);
    w->scratch = scratch;
    w->tiles = scratch + (size_t)index * k->worker_bytes;
    w->acc = (double *)(void *)(w->tiles + k->acc_offset);
    for (int r = 0; r < k->n_regs; r++)
        w->reg[r] = k->slot[r] < 0 ? NULL : w->tiles + (size_t)k->slot[r] * k->tile_bytes;
    for (int i = 0; i < k->n_fill; i++)
        fill_tile(k, w->reg[k->fill[i]], k->fill_value[i], k->rows * k->inner);
}
