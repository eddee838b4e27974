/*
 * there_groups.c: the arithmetic of vectors on a device, as groups in float64 whose
 * vectors may be float32.
 *
 * A group takes 16 inputs and gives 8 results: eight dots share one pass over w, and
 * seven vectors with their coefficients are added in one pass over the result.  What is
 * left goes by four, two and one: a device compiles few kernels, whose texts do not
 * depend on the lengths.
 */
#include "exec/there_kernel_i.h"

enum { MOST_DOTS = HWB_FUSED_MAX_OUT, MOST_TERMS = 7, WORD_BITS = 16 };

static hwb_shape line(int64_t n) {
    return (hwb_shape){.ndim = 1, .dim = {n}};
}

/* How many of `left` go at once. */
static int64_t some_of(int64_t left, int64_t most) {
    if (left >= most) return most;
    return left >= 4 ? 4 : left >= 2 ? 2 : left;
}

static hwb_shape plane(int64_t k, int64_t n) {
    return (hwb_shape){.ndim = 2, .dim = {k, n}};
}

int hwb__group_input(hwb__there_group *g, hwb_dtype dtype, hwb_shape shape, const void *data) {
    g->in_desc[g->n_in] = (hwb_vdesc){dtype, shape};
    g->in[g->n_in] = data;
    return g->n_in++;
}

int hwb__group_number(hwb__there_group *g, const hwb__there *t, int64_t slot) {
    return hwb__group_input(g, HWB_F64, line(1), hwb__there_slot(t, slot));
}

int hwb__group_instr(hwb__there_group *g, hwb_op op, int a, int b) {
    g->instr[g->n_instr] = (hwb_finstr){.op = (int32_t)op, .in = {a, b, -1}};
    return g->n_in + g->n_instr++;
}

int hwb__group_constant(hwb__there_group *g, double x) {
    g->instr[g->n_instr] = (hwb_finstr){.op = HWB_OP_FILL, .in = {-1, -1, -1}, .imm = x};
    return g->n_in + g->n_instr++;
}

void hwb__group_result(hwb__there_group *g, int reg, hwb_dtype dtype, hwb_shape shape, void *to) {
    g->out_desc[g->n_out] = (hwb_vdesc){dtype, shape};
    g->out[g->n_out] = (hwb_fout){reg, !hwb_shape_equal(&shape, &g->space)};
    g->to[g->n_out++] = to;
}

/* ---- dots ------------------------------------------------------------------------------ */

/* A sum over one element drops no axis: stored as it is. */
static hwb_status some_dots(hwb__there *t, hwb_dtype dtype, int64_t n, int64_t m, void *const *v,
                            const void *w, int64_t slot) {
    hwb__there_group g = {.space = line(n)};
    hwb__there_key key = {.kind = HWB__THERE_DOTS, .rows = m, .n = n, .form = {dtype}};
    int rw = hwb__group_input(&g, dtype, line(n), w);
    for (int64_t i = 0; i < m; i++) hwb__group_input(&g, dtype, line(n), v[i]);
    for (int i = 0; i < m; i++)
        hwb__group_result(&g, hwb__group_instr(&g, HWB_OP_MUL, rw + 1 + i, rw), HWB_F64, line(1),
                          hwb__there_slot(t, slot + i));
    return hwb__there_run(t, &key, &g);
}

hwb_status hwb__there_dots(hwb__there *t, hwb_dtype dtype, int64_t n, int64_t m, void *const *v,
                           const void *w, int64_t slot) {
    for (int64_t at = 0, len; at < m; at += len) {
        len = some_of(m - at, MOST_DOTS);
        HWB_TRY(some_dots(t, dtype, n, len, v + at, w, slot + at));
    }
    return HWB_OK;
}

hwb_status hwb__there_row_dots(hwb__there *t, hwb_dtype dtype, int64_t k, int64_t n, const void *v,
                               const void *w, double *x) {
    int64_t bytes = n * (int64_t)hwb_dtype_size(dtype);
    void *copy[2] = {NULL, NULL};
    hwb_status st = hwb__there_slots(t, k);
    for (int64_t i = 0; st == HWB_OK && i < k; i++) {
        void *a = NULL, *b = NULL;
        st = hwb__there_part(t, v, i * bytes, bytes, bytes, &copy[0], &a);
        if (st == HWB_OK) st = hwb__there_part(t, w, i * bytes, bytes, bytes, &copy[1], &b);
        if (st == HWB_OK) st = some_dots(t, dtype, n, 1, &a, b, i);
    }
    if (st == HWB_OK) st = hwb__there_fetch(t, 0, k, x);
    hwb__there_release(t, copy[0]);
    hwb__there_release(t, copy[1]);
    return st;
}

/* ---- sums -------------------------------------------------------------------------------- */

static hwb_status some_terms(hwb__there *t, const hwb__sum_there *s) {
    hwb__there_group g = {.space = line(s->n)};
    hwb__there_key key = {.kind = HWB__THERE_SUM,
                          .rows = s->m,
                          .n = s->n,
                          .form = {s->v_dtype, s->y_dtype, s->out_dtype,
                                   (s->minus ? 1 : 0) + (s->y_slot >= 0 ? 2 : 0)}};
    int v[MOST_TERMS], c[MOST_TERMS], scale = -1;
    int acc = hwb__group_input(&g, s->y_dtype, g.space, s->y);
    if (s->y_slot >= 0) scale = hwb__group_number(&g, t, s->y_slot);
    for (int i = 0; i < s->m; i++) {
        v[i] = hwb__group_input(&g, s->v_dtype, g.space, s->v[i]);
        c[i] = hwb__group_number(&g, t, s->slot + i);
    }
    if (scale >= 0) acc = hwb__group_instr(&g, HWB_OP_MUL, acc, scale);
    for (int i = 0; i < s->m; i++)
        acc = hwb__group_instr(&g, s->minus ? HWB_OP_SUB : HWB_OP_ADD, acc,
                               hwb__group_instr(&g, HWB_OP_MUL, v[i], c[i]));
    if (g.n_instr == 0) acc = hwb__group_instr(&g, HWB_OP_STOP, acc, -1); /* a conversion */
    hwb__group_result(&g, acc, s->out_dtype, g.space, s->out);
    return hwb__there_run(t, &key, &g);
}

hwb_status hwb__there_sum(hwb__there *t, const hwb__sum_there *s) {
    hwb__sum_there part = *s;
    for (int64_t at = 0;; at += part.m) {
        part.m = some_of(s->m - at, MOST_TERMS);
        part.v = s->v ? s->v + at : NULL;
        part.slot = s->slot + at;
        HWB_TRY(some_terms(t, &part));
        if (at + part.m >= s->m) return HWB_OK;
        part.y = s->out;
        part.y_dtype = s->out_dtype;
        part.y_slot = -1;
    }
}

/* ---- the rest ------------------------------------------------------------------------------ */

/* x 0 is 0, or NaN for an infinity or NaN. */
hwb_status hwb__there_finite(hwb__there *t, hwb_dtype dtype, int64_t n, const void *v,
                             bool *finite) {
    hwb__there_group g = {.space = line(n)};
    hwb__there_key key = {.kind = HWB__THERE_FINITE, .n = n, .form = {dtype}};
    double sum = 0;
    HWB_TRY(hwb__there_slots(t, 1));
    int x = hwb__group_input(&g, dtype, g.space, v), zero = hwb__group_constant(&g, 0);
    hwb__group_result(&g, hwb__group_instr(&g, HWB_OP_MUL, x, zero), HWB_F64, line(1),
                      hwb__there_slot(t, 0));
    HWB_TRY(hwb__there_run(t, &key, &g));
    HWB_TRY(hwb__there_fetch(t, 0, 1, &sum));
    *finite = sum == 0;
    return HWB_OK;
}

static hwb_status words_there(hwb__there *t, int64_t n, const float *words) {
    double powers[WORD_BITS];
    if (!t->powers) {
        HWB_TRY(hwb__there_alloc(t, &t->powers, sizeof powers));
        for (int i = 0; i < WORD_BITS; i++) powers[i] = 1.0 / (double)(1 << i);
        HWB_TRY(hwb__there_put(t, t->powers, powers, sizeof powers));
    }
    if (t->n_words < n) {
        hwb__there_release(t, t->words);
        t->words = NULL;
        t->n_words = 0;
        HWB_TRY(hwb__there_alloc(t, &t->words, n * (int64_t)sizeof *words));
        t->n_words = n;
    }
    return hwb__there_put(t, t->words, words, n * (int64_t)sizeof *words);
}

/* Bit j of word w is floor(w / 2^j) - 2 floor(w / 2^(j+1)), exactly. */
hwb_status hwb__there_signs(hwb__there *t, hwb_dtype dtype, int64_t n, const float *words,
                            void *out) {
    int64_t count = (n + WORD_BITS - 1) / WORD_BITS;
    hwb__there_group g = {.space = plane(count, WORD_BITS)};
    hwb__there_key key = {.kind = HWB__THERE_SIGNS, .n = count, .form = {dtype}};
    HWB_TRY(words_there(t, count, words));
    int w = hwb__group_input(&g, HWB_F32, plane(count, 1), t->words);
    int power = hwb__group_input(&g, HWB_F64, plane(1, WORD_BITS), t->powers);
    int half = hwb__group_constant(&g, 0.5), two = hwb__group_constant(&g, 2),
        one = hwb__group_constant(&g, 1);
    int x = hwb__group_instr(&g, HWB_OP_MUL, w, power),
        low = hwb__group_instr(&g, HWB_OP_FLOOR, x, -1);
    int above = hwb__group_instr(&g, HWB_OP_FLOOR, hwb__group_instr(&g, HWB_OP_MUL, x, half), -1);
    int bit = hwb__group_instr(&g, HWB_OP_SUB, low, hwb__group_instr(&g, HWB_OP_MUL, above, two));
    int sign = hwb__group_instr(&g, HWB_OP_SUB, hwb__group_instr(&g, HWB_OP_MUL, bit, two), one);
    hwb__group_result(&g, sign, dtype, g.space, out);
    return hwb__there_run(t, &key, &g);
}

hwb_status hwb__there_welford(hwb__there *t, hwb_dtype dtype, int64_t n, const void *v,
                              const void *w, int64_t count, double *mean, double *m2) {
    hwb__there_group g = {.space = line(n)};
    hwb__there_key key = {.kind = HWB__THERE_WELFORD, .n = n, .form = {dtype}};
    int rv = hwb__group_input(&g, dtype, g.space, v), rw = hwb__group_input(&g, dtype, g.space, w);
    int old = hwb__group_input(&g, HWB_F64, g.space, mean),
        spread = hwb__group_input(&g, HWB_F64, g.space, m2);
    int m = hwb__group_number(&g, t, count);
    int x = hwb__group_instr(&g, HWB_OP_MUL, rv, rw),
        delta = hwb__group_instr(&g, HWB_OP_SUB, x, old);
    int fresh = hwb__group_instr(&g, HWB_OP_ADD, old, hwb__group_instr(&g, HWB_OP_DIV, delta, m));
    int rest = hwb__group_instr(&g, HWB_OP_SUB, x, fresh);
    int wider =
        hwb__group_instr(&g, HWB_OP_ADD, spread, hwb__group_instr(&g, HWB_OP_MUL, delta, rest));
    hwb__group_result(&g, fresh, HWB_F64, g.space, mean);
    hwb__group_result(&g, wider, HWB_F64, g.space, m2);
    return hwb__there_run(t, &key, &g);
}
