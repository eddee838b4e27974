/*
 * vector.c: vectors of solvers, in host memory or on a device: their life, and the
 * products of operators with them.
 */
#include "spectral/spectral_i.h"

hwb_status hwb__op_check(hwb_ctx *ctx, const hwb_linop *op) {
    if (!op || !op->apply) return hwb_fail(ctx, HWB_EARG, "operator without an apply function");
    if (op->n < 1)
        return hwb_fail(ctx, HWB_EARG, "operator of size %lld: needs at least 1", (long long)op->n);
    if (!hwb_dtype_is_float(op->dtype))
        return hwb_fail(ctx, HWB_EDTYPE, "operator of dtype %s: needs float32 or float64",
                        hwb_dtype_name(op->dtype));
    return HWB_OK;
}

hwb_status hwb__not_finite(hwb_ctx *ctx, const char *what, int64_t at) {
    return hwb_fail(ctx, HWB_ENUMERIC, "%s: product with the operator is not finite (vector %lld)",
                    what, (long long)(at + 1));
}

hwb_status hwb__space_open(hwb_ctx *ctx, hwb__space *s, hwb_linop *op) {
    HWB_TRY(hwb__op_check(ctx, op));
    *s = (hwb__space){.ctx = ctx, .op = op};
    hwb_device *d = op->where ? op->where(ctx, op) : NULL;
    return d ? hwb__there_new(ctx, &s->there, d) : HWB_OK;
}

void hwb__space_close(hwb__space *s) {
    hwb__there_free(s->there);
    *s = (hwb__space){0};
}

/* ---- life ----------------------------------------------------------------------------- */

static int64_t row_bytes(const hwb__space *s) {
    return s->op->n * (int64_t)hwb_dtype_size(s->op->dtype);
}

static hwb_shape shape_of(const hwb__space *s, int64_t k) {
    return (hwb_shape){.ndim = 2, .dim = {k, s->op->n}};
}

/* Takes t. */
static hwb_status own(hwb__space *s, hwb_tensor *t, int64_t k, hwb__vector **out) {
    hwb__vector *v = calloc(1, sizeof *v);
    if (!v) {
        hwb_tensor_release(t);
        return hwb_fail(s->ctx, HWB_ENOMEM, "out of memory for a vector");
    }
    *v = (hwb__vector){.space = s, .k = k, .t = t};
    *out = v;
    return HWB_OK;
}

hwb_status hwb__vector_new(hwb__space *s, int64_t k, hwb__vector **out) {
    hwb_tensor *t = NULL;
    if (!s->there) HWB_TRY(hwb_tensor_new(s->ctx, &t, s->op->dtype, shape_of(s, k)));
    HWB_TRY(own(s, t, k, out));
    hwb_status st = s->there ? hwb__there_alloc(s->there, &(*out)->p, k * row_bytes(s)) : HWB_OK;
    if (st == HWB_OK) return HWB_OK;
    hwb__vector_release(*out);
    *out = NULL;
    return st;
}

void hwb__vector_release(hwb__vector *v) {
    if (!v) return;
    if (v->space->there) hwb__there_release(v->space->there, v->p);
    hwb_tensor_release(v->t);
    free(v);
}

void *hwb__vector_data(const hwb__vector *v, int64_t row) {
    char *p = v->t ? hwb_tensor_data(v->t) : v->p;
    return p + row * row_bytes(v->space);
}

/* ---- in and out -------------------------------------------------------------------------- */

/* Takes a dense host tensor [k,n] of the operator's dtype. */
static hwb_status place(hwb__space *s, hwb_tensor *t, hwb__vector **out) {
    int64_t k = hwb_tensor_numel(t) / s->op->n;
    if (!s->there) return own(s, t, k, out);
    hwb_status st = hwb__vector_new(s, k, out);
    if (st == HWB_OK)
        st = hwb__there_put(s->there, (*out)->p, hwb_tensor_data(t), k * row_bytes(s));
    hwb_tensor_release(t);
    if (st == HWB_OK) return HWB_OK;
    hwb__vector_release(*out);
    *out = NULL;
    return st;
}

hwb_status hwb__vector_load(hwb__space *s, const hwb_tensor *t, hwb__vector **out) {
    hwb_tensor *rows = NULL, *copy = NULL;
    hwb_status st;
    int64_t k = hwb_tensor_numel(t) / s->op->n;
    *out = NULL;
    HWB_GOTO(done, st,
             hwb_tensor_reshape(s->ctx, &rows, (hwb_tensor *)(uintptr_t)t, shape_of(s, k)));
    HWB_GOTO(done, st, hwb_tensor_new(s->ctx, &copy, s->op->dtype, shape_of(s, k)));
    HWB_GOTO(done, st, hwb_tensor_copy(s->ctx, copy, rows));
    st = place(s, copy, out);
    copy = NULL;
done:
    hwb_tensor_release(rows);
    hwb_tensor_release(copy);
    return st;
}

hwb_status hwb__vector_store(const hwb__vector *v, int64_t row, hwb_tensor *to, int64_t at) {
    const hwb__space *s = v->space;
    int64_t bytes = row_bytes(s);
    char *p = (char *)hwb_tensor_data(to) + at * bytes;
    if (s->there) return hwb__there_get(s->there, p, hwb__vector_data(v, row), bytes);
    memcpy(p, hwb__vector_data(v, row), (size_t)bytes);
    return HWB_OK;
}

hwb_status hwb__vector_assign(hwb__vector *to, int64_t i, const hwb__vector *from, int64_t j) {
    const hwb__space *s = to->space;
    int64_t bytes = row_bytes(s);
    if (s->there)
        return hwb__there_copy(s->there, hwb__vector_data(to, i), hwb__vector_data(from, j), bytes);
    memcpy(hwb__vector_data(to, i), hwb__vector_data(from, j), (size_t)bytes);
    return HWB_OK;
}

hwb_status hwb__vector_row(const hwb__vector *v, int64_t i, hwb__vector **out) {
    HWB_TRY(hwb__vector_new(v->space, 1, out));
    hwb_status st = hwb__vector_assign(*out, 0, v, i);
    if (st == HWB_OK) return HWB_OK;
    hwb__vector_release(*out);
    *out = NULL;
    return st;
}

/* ---- random ones ---------------------------------------------------------------------------- */

hwb_status hwb__vector_normal(hwb__vector *v, hwb_rng rng) {
    hwb__space *s = v->space;
    hwb_tensor *t = v->t;
    if (t) return hwb_tensor_fill_normal(s->ctx, t, rng);
    HWB_TRY(hwb_tensor_new(s->ctx, &t, s->op->dtype, shape_of(s, v->k)));
    hwb_status st = hwb_tensor_fill_normal(s->ctx, t, rng);
    if (st == HWB_OK) st = hwb__there_put(s->there, v->p, hwb_tensor_data(t), v->k * row_bytes(s));
    hwb_tensor_release(t);
    return st;
}

static hwb_rng stream(uint64_t seed, hwb__probe_kind kind, uint64_t tag, int64_t number) {
    static const char *const purpose[] = {"trace probe", "sketch"};
    return (hwb_rng){seed, hwb_rng_stream(purpose[kind], tag, (uint64_t)number)};
}

static hwb_status fill_rows(hwb__space *s, hwb_tensor *t, uint64_t seed, hwb__probe_kind kind,
                            uint64_t tag, int64_t first) {
    hwb_status st = HWB_OK;
    for (int64_t i = 0; st == HWB_OK && i < hwb_tensor_shape(t)->dim[0]; i++) {
        hwb_tensor *row = NULL;
        hwb_rng rng = stream(seed, kind, tag, first + i);
        HWB_TRY(hwb_tensor_select(s->ctx, &row, t, 0, i));
        st = kind == HWB__PROBE_SIGN ? hwb_tensor_fill_rademacher(s->ctx, row, rng)
                                     : hwb_tensor_fill_normal(s->ctx, row, rng);
        hwb_tensor_release(row);
    }
    return st;
}

/* Bits at..at+15 of a row's signs, of which it has n; bit i of a stream is bit i % 128 of
 * its Philox block i / 128. */
static uint32_t some_bits(const uint32_t *bits, int64_t at) {
    uint64_t two = bits[at / 32] | (uint64_t)bits[at / 32 + 1] << 32;
    return (uint32_t)(two >> at % 32 & 0xffff);
}

/* The signs of k rows as one sequence of 16-bit words; `bits` has room for each row's. */
static void pack_signs(int threads, int64_t k, int64_t n, const hwb_rng *rng, uint32_t *bits,
                       int64_t stride, float *words) {
    int64_t blocks = stride / 4 - 1, count = (k * n + 15) / 16;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static)
        for (int64_t b = 0; b < k * blocks; b++)
            hwb_philox(rng[b / blocks], (uint64_t)(b % blocks),
                       bits + b / blocks * stride + b % blocks * 4);
#pragma omp for schedule(static)
        for (int64_t w = 0; w < count; w++) {
            int64_t row = 16 * w / n, at = 16 * w % n;
            uint32_t word = some_bits(bits + row * stride, at);
            for (int64_t have = n - at; have < 16 && ++row < k; have += n) {
                word &= (1u << have) - 1;
                word |= some_bits(bits + row * stride, 0) << have;
            }
            words[w] = (float)(word & 0xffff);
        }
    }
}

/* A quarter of a byte goes up for each element, in place of four or eight. */
static hwb_status signs_there(hwb__space *s, hwb__vector *v, uint64_t seed, uint64_t tag,
                              int64_t first) {
    int64_t n = s->op->n, k = v->k, stride = ((n + 127) / 128 + 1) * 4, count = (k * n + 15) / 16;
    hwb_rng *rng = hwb_alloc(s->ctx, (size_t)k * sizeof *rng);
    uint32_t *bits = hwb_calloc(s->ctx, (size_t)(k * stride) * sizeof *bits);
    float *words = hwb_alloc(s->ctx, (size_t)count * sizeof *words);
    hwb_status st = rng && bits && words ? HWB_OK : HWB_ENOMEM;
    if (st == HWB_OK) {
        for (int64_t i = 0; i < k; i++) rng[i] = stream(seed, HWB__PROBE_SIGN, tag, first + i);
        pack_signs(hwb__host_threads(s->ctx, k * n), k, n, rng, bits, stride, words);
        st = hwb__there_signs(s->there, s->op->dtype, k * n, words, v->p);
    }
    hwb_free(rng);
    hwb_free(bits);
    hwb_free(words);
    return st;
}

hwb_status hwb__vector_probes(hwb__space *s, uint64_t seed, hwb__probe_kind kind, uint64_t tag,
                              int64_t first, int64_t count, hwb__vector **out) {
    hwb_tensor *t = NULL;
    hwb_status st;
    *out = NULL;
    if (s->there && kind == HWB__PROBE_SIGN) {
        HWB_TRY(hwb__vector_new(s, count, out));
        st = signs_there(s, *out, seed, tag, first);
    } else {
        HWB_TRY(hwb_tensor_new(s->ctx, &t, s->op->dtype, shape_of(s, count)));
        st = fill_rows(s, t, seed, kind, tag, first);
        if (st == HWB_OK) return place(s, t, out);
    }
    hwb_tensor_release(t);
    if (st == HWB_OK) return HWB_OK;
    hwb__vector_release(*out);
    *out = NULL;
    return st;
}

/* ---- products ---------------------------------------------------------------------------------- */

/* A product as solvers want it; takes w. */
static hwb_status own_product(hwb__space *sp, hwb_tensor *w, const hwb__vector *v,
                              hwb__vector **out) {
    char want[HWB_SHAPE_TEXT], got[HWB_SHAPE_TEXT];
    hwb_ctx *ctx = sp->ctx;
    hwb_status s = HWB_OK;
    if (!hwb_shape_equal(hwb_tensor_shape(w), hwb_tensor_shape(v->t)) ||
        hwb_tensor_dtype(w) != sp->op->dtype) {
        s = hwb_fail(ctx, HWB_ESHAPE, "operator returned %s %s for %s %s",
                     hwb_shape_text(hwb_tensor_shape(w), got), hwb_dtype_name(hwb_tensor_dtype(w)),
                     hwb_shape_text(hwb_tensor_shape(v->t), want), hwb_dtype_name(sp->op->dtype));
    } else if (!hwb_tensor_is_contiguous(w) ||
               hwb_tensor_storage_id(w) == hwb_tensor_storage_id(v->t)) {
        /* Solvers overwrite products; an identity operator may hand back its input. */
        hwb_tensor *copy = NULL;
        s = hwb_tensor_clone(ctx, &copy, w);
        if (s == HWB_OK) {
            hwb_tensor_release(w);
            w = copy;
        }
    }
    if (s == HWB_OK) return own(sp, w, v->k, out);
    hwb_tensor_release(w);
    return s;
}

hwb_status hwb__vector_apply(const hwb__vector *v, hwb__vector **out) {
    hwb__space *s = v->space;
    hwb_tensor *w = NULL;
    *out = NULL;
    HWB_TRY(hwb_check_interrupt(s->ctx));
    if (!s->there) {
        HWB_TRY(s->op->apply(s->ctx, s->op, &w, v->t));
        return own_product(s, w, v, out);
    }
    HWB_TRY(hwb__vector_new(s, v->k, out));
    hwb_status st = s->op->apply_there(s->ctx, s->op, v->k, v->p, (*out)->p);
    if (st == HWB_OK) return HWB_OK;
    hwb__vector_release(*out);
    *out = NULL;
    return st;
}

static hwb_status set_apply_host(hwb_ctx *ctx, hwb_linop_set *set, hwb__vector **out,
                                 hwb__vector *const *v, void **scratch) {
    const hwb_tensor **vt = (const hwb_tensor **)scratch;
    hwb_tensor **wt = (hwb_tensor **)scratch + set->n;
    for (int64_t i = 0; i < set->n; i++) vt[i] = v[i] ? v[i]->t : NULL;
    HWB_TRY(set->apply(ctx, set, wt, vt));
    hwb_status st = HWB_OK;
    for (int64_t i = 0; i < set->n; i++) {
        if (!v[i]) continue;
        if (st == HWB_OK) st = own_product(v[i]->space, wt[i], v[i], &out[i]);
        else hwb_tensor_release(wt[i]);
    }
    return st;
}

static hwb_status set_apply_there(hwb_ctx *ctx, hwb_linop_set *set, hwb__vector **out,
                                  hwb__vector *const *v, void **scratch) {
    const void **vp = (const void **)(uintptr_t)scratch;
    void **wp = scratch + set->n;
    int64_t *k = hwb_calloc(ctx, (size_t)set->n * sizeof *k);
    hwb_status st = k ? HWB_OK : HWB_ENOMEM;
    for (int64_t i = 0; st == HWB_OK && i < set->n; i++) {
        vp[i] = v[i] ? v[i]->p : NULL;
        if (!v[i]) continue;
        st = hwb__vector_new(v[i]->space, v[i]->k, &out[i]);
        k[i] = v[i]->k;
        if (st == HWB_OK) wp[i] = out[i]->p;
    }
    if (st == HWB_OK) st = set->apply_there(ctx, set, k, vp, wp);
    hwb_free(k);
    return st;
}

hwb_status hwb__set_apply(hwb_ctx *ctx, hwb_linop_set *set, hwb__vector **out,
                          hwb__vector *const *v) {
    bool there = false;
    for (int64_t i = 0; i < set->n; i++) {
        out[i] = NULL;
        there = there || (v[i] && v[i]->space->there);
    }
    HWB_TRY(hwb_check_interrupt(ctx));
    void **scratch = hwb_calloc(ctx, 2 * (size_t)set->n * sizeof *scratch);
    if (!scratch) return HWB_ENOMEM;
    hwb_status st = there ? set_apply_there(ctx, set, out, v, scratch)
                          : set_apply_host(ctx, set, out, v, scratch);
    hwb_free(scratch);
    for (int64_t i = 0; st != HWB_OK && i < set->n; i++) {
        hwb__vector_release(out[i]);
        out[i] = NULL;
    }
    return st;
}
