/*
 * cpu_fused_run.c: runs the plan of a fused group.
 *
 * Items go backwards: what the kernel before wrote last, and is still in cache, is
 * read first; the kernel after, which goes forwards, finds the same.
 *
 * For every tile: point the input registers at their data (or expand a
 * broadcast one into its buffer, unless it holds that data already), run the
 * instructions, each over the whole tile, then store and sum the outputs.
 */
#include "backend/cpu/cpu_fused_i.h"

#include <omp.h>
#include <string.h>

/* Tiles of one outer index in a row: memory is fetched in long stretches, and
 * what all outer indices share stays in the second-level cache. */
enum { STRETCH = 16 };

/* What one thread needs while it works. */
typedef struct worker {
    const fused_kernel *k;
    const struct hwb__vec *vec;
    const void *const *in;
    void *const *out;
    char *scratch;                      /* the whole scratch */
    char *tiles;                        /* its own tile buffers */
    double *acc;                        /* its own sums of one tile */
    const char *held[HWB_FUSED_MAX_IN]; /* what expanded buffers hold */
    void *reg[FUSED_MAX_REGS];
    bool stream[HWB_FUSED_MAX_OUT];   /* stored past the caches */
    bool in_place[HWB_FUSED_MAX_OUT]; /* the register is the output's memory */
} worker;

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
static void expand_row(const worker *w, const fused_in *in, char *dst, const char *src, int64_t n,
                       int64_t stride) {
    const fused_kernel *k = w->k;
    if (stride == 0) fill_tile(k, dst, load_one(k, in->is_bool, src), n);
    else if (!in->is_bool) memcpy(dst, src, (size_t)n * k->size);
    else if (k->narrow) w->vec->from_bool_f32(n, (float *)dst, (const uint8_t *)src);
    else w->vec->from_bool_f64(n, (double *)dst, (const uint8_t *)src);
}

/* Axis d of a tile, dim indices of it; returns the elements written. */
static int64_t expand(const worker *w, const fused_in *in, char *dst, const char *src, int d,
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

static void place_inputs(worker *w, const int64_t *at, int64_t row, int64_t rows) {
    const fused_kernel *k = w->k;
    for (int i = 0; i < k->n_in; i++) {
        const fused_in *in = &k->in[i];
        int64_t offset = row * in->stride[k->t];
        for (int d = 0; d < k->t; d++) offset += at[d] * in->stride[d];
        const char *src = (const char *)w->in[i] + (size_t)offset * (in->is_bool ? 1 : k->size);
        if (in->direct) {
            w->reg[i] = (void *)(uintptr_t)src;
            continue;
        }
        if (w->held[i] == src) continue;
        /* What does not depend on the row serves tiles of any height. */
        expand(w, in, w->reg[i], src, k->t, in->stride[k->t] ? rows : k->rows);
        w->held[i] = src;
    }
}

/* ---- sums ---------------------------------------------------------------- */

static double sum_run(const worker *w, int64_t n, const char *x) {
    return w->k->narrow ? w->vec->sum_f32(n, (const float *)x)
                        : w->vec->sum_f64(n, (const double *)x);
}

static void sum_rows(const worker *w, int64_t rows, int64_t n, double *acc, const char *x) {
    if (w->k->narrow) w->vec->rows_f32(rows, n, acc, (const float *)x);
    else w->vec->rows_f64(rows, n, acc, (const double *)x);
}

/* acc += the sums over axis d.. of dim*block elements at x. */
static void accumulate(const worker *w, const fused_out *o, double *acc, const char *x, int d,
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
static double *partial(const worker *w, const fused_out *o, int64_t outer, int64_t row,
                       int64_t block) {
    const fused_kernel *k = w->k;
    int64_t slot = o->outer_none ? outer / k->chunk : outer;
    int64_t at = slot * o->slot_size + (o->keep[k->t] ? row : block) * o->kept_inner;
    return (double *)(void *)(w->scratch + o->partial) + at;
}

static void sum_output(worker *w, const fused_out *o, void *out, int64_t outer, int64_t row,
                       int64_t rows, int64_t block) {
    const fused_kernel *k = w->k;
    double *acc = o->direct ? w->acc : partial(w, o, outer, row, block);
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

/* ---- tiles and items ----------------------------------------------------- */

static void run_steps(const worker *w, int64_t n) {
    const fused_kernel *k = w->k;
    for (int i = 0; i < k->n_steps; i++) {
        const fused_step *s = &k->step[i];
        const void *src[3];
        for (int j = 0; j < 3; j++) src[j] = s->src[j] >= 0 ? w->reg[s->src[j]] : NULL;
        if (k->narrow) w->vec->op_f32(s->op, n, w->reg[s->dst], src[0], src[1], src[2]);
        else w->vec->op_f64(s->op, n, w->reg[s->dst], src[0], src[1], src[2]);
    }
}

static void store_full(const worker *w, const fused_out *o, void *out, int64_t at, int64_t n) {
    const fused_kernel *k = w->k;
    const void *x = w->reg[o->reg];
    if (!o->is_bool && w->stream[o - k->out])
        w->vec->stream((size_t)n * k->size, (char *)out + (size_t)at * k->size, x);
    else if (!o->is_bool) memmove((char *)out + (size_t)at * k->size, x, (size_t)n * k->size);
    else if (k->narrow) w->vec->to_bool_f32(n, (uint8_t *)out + at, x);
    else w->vec->to_bool_f64(n, (uint8_t *)out + at, x);
}

static void run_tile(worker *w, int64_t outer, int64_t row, int64_t rows, int64_t block) {
    const fused_kernel *k = w->k;
    int64_t at[HWB_MAX_DIMS], rest = outer;
    for (int d = k->t - 1; d >= 0; d--) at[d] = rest % k->dim[d], rest /= k->dim[d];
    place_inputs(w, at, row, rows);
    int64_t start = (outer * k->dim[k->t] + row) * k->inner, n = rows * k->inner;
    for (int i = 0; i < k->n_out; i++)
        if (w->in_place[i]) w->reg[k->out[i].reg] = (char *)w->out[i] + (size_t)start * k->size;
    run_steps(w, n);
    /* Sums first: a stored output may lie where an input was. */
    for (int i = 0; i < k->n_out; i++)
        if (k->out[i].reduce) sum_output(w, &k->out[i], w->out[i], outer, row, rows, block);
    for (int i = 0; i < k->n_out; i++)
        if (!k->out[i].reduce && !w->in_place[i]) store_full(w, &k->out[i], w->out[i], start, n);
}

static void run_item(worker *w, int64_t chunk, int64_t block) {
    const fused_kernel *k = w->k;
    int64_t o0 = chunk * k->chunk, o1 = o0 + k->chunk < k->outer ? o0 + k->chunk : k->outer;
    int64_t r0 = block * k->tiles * k->rows, r1 = r0 + k->tiles * k->rows;
    if (r1 > k->dim[k->t]) r1 = k->dim[k->t];
    for (int i = 0; i < k->n_out; i++) {
        const fused_out *o = &k->out[i];
        if (!o->reduce || o->direct) continue;
        int64_t n = (o->keep[k->t] ? r1 - r0 : 1) * o->kept_inner;
        for (int64_t outer = o0; outer < (o->outer_none ? o0 + 1 : o1); outer++)
            memset(partial(w, o, outer, r0, block), 0, (size_t)n * sizeof(double));
    }
    for (int64_t from = r0; from < r1; from += STRETCH * k->rows) {
        int64_t end = from + STRETCH * k->rows < r1 ? from + STRETCH * k->rows : r1;
        for (int64_t outer = o0; outer < o1; outer++)
            for (int64_t row = from; row < end; row += k->rows)
                run_tile(w, outer, row, row + k->rows < end ? k->rows : end - row, block);
    }
}

/* An output may be made in its own memory when that is no input's memory which
 * a later instruction (or a sum) still reads, and no earlier output has claimed
 * the register. */
static void choose_in_place(worker *w) {
    const fused_kernel *k = w->k;
    for (int i = 0; i < k->n_out; i++) {
        const fused_out *o = &k->out[i];
        w->stream[i] = k->stream && !o->reduce && !o->is_bool;
        for (int j = 0; j < k->n_in; j++) /* memory of an input is in the caches anyway */
            w->stream[i] = w->stream[i] && w->in[j] != w->out[i];
        bool ok = !w->stream[i] && !o->reduce && !o->is_bool && o->def >= 0;
        for (int j = 0; ok && j < k->n_in; j++)
            ok = w->in[j] != w->out[i] || k->in[j].last_use <= o->def;
        for (int j = 0; ok && j < i; j++) ok = !(w->in_place[j] && k->out[j].reg == o->reg);
        w->in_place[i] = ok;
    }
}

static void start_worker(worker *w, int index) {
    const fused_kernel *k = w->k;
    w->tiles = w->scratch + (size_t)index * k->worker_bytes;
    w->acc = (double *)(void *)(w->tiles + k->acc_offset);
    for (int r = 0; r < k->n_regs; r++)
        w->reg[r] = k->slot[r] < 0 ? NULL : w->tiles + (size_t)k->slot[r] * k->tile_bytes;
    for (int i = 0; i < k->n_fill; i++)
        fill_tile(k, w->reg[k->fill[i]], k->fill_value[i], k->rows * k->inner);
}

hwb_status hwb__fused_run(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                          const uint64_t *versions, void *const *out) {
    const fused_kernel *k = (const fused_kernel *)kernel;
    (void)ctx;
    (void)versions;
    worker proto = {
        .k = k, .vec = kernel->state->vec, .in = in, .out = out, .scratch = kernel->state->scratch};
    choose_in_place(&proto);
    int64_t items = k->n_chunks * k->n_blocks;
#pragma omp parallel num_threads(k->workers) if (k->workers > 1)
    {
        worker w = proto;
        start_worker(&w, omp_get_thread_num());
#pragma omp for schedule(static)
        for (int p = 0; p < k->workers; p++)
            for (int64_t i = items * (p + 1) / k->workers; i-- > items * p / k->workers;) {
                run_item(&w, i / k->n_blocks, i % k->n_blocks);
                if (k->stream) w.vec->stream_end();
            }
    }
    for (int i = 0; i < k->n_out; i++)
        if (k->out[i].reduce && !k->out[i].direct)
            finish_sum(k, &k->out[i], kernel->state->scratch, out[i]);
    return HWB_OK;
}
