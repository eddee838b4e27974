/*
 * basis.c: guarded operator products, reproducible random rows, and the
 * orthonormal basis V[count,n] that Krylov methods and sketches grow.
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

/* A product as solvers want it; takes w. */
static hwb_status own_product(hwb_ctx *ctx, const hwb_linop *op, hwb_tensor **out, hwb_tensor *w,
                              const hwb_tensor *v) {
    char want[HWB_SHAPE_TEXT], got[HWB_SHAPE_TEXT];
    hwb_status s = HWB_OK;
    if (!hwb_shape_equal(hwb_tensor_shape(w), hwb_tensor_shape(v)) ||
        hwb_tensor_dtype(w) != op->dtype) {
        s = hwb_fail(ctx, HWB_ESHAPE, "operator returned %s %s for %s %s",
                     hwb_shape_text(hwb_tensor_shape(w), got), hwb_dtype_name(hwb_tensor_dtype(w)),
                     hwb_shape_text(hwb_tensor_shape(v), want), hwb_dtype_name(op->dtype));
    } else if (!hwb_tensor_is_contiguous(w) ||
               hwb_tensor_storage_id(w) == hwb_tensor_storage_id(v)) {
        /* Solvers overwrite products; an identity operator may hand back its input. */
        hwb_tensor *copy = NULL;
        s = hwb_tensor_clone(ctx, &copy, w);
        if (s == HWB_OK) {
            hwb_tensor_release(w);
            w = copy;
        }
    }
    if (s != HWB_OK) {
        hwb_tensor_release(w);
        return s;
    }
    *out = w;
    return HWB_OK;
}

hwb_status hwb__op_apply(hwb_ctx *ctx, hwb_linop *op, hwb_tensor **out, const hwb_tensor *v) {
    hwb_tensor *w = NULL;
    HWB_TRY(hwb_check_interrupt(ctx));
    HWB_TRY(op->apply(ctx, op, &w, v));
    return own_product(ctx, op, out, w, v);
}

hwb_status hwb__set_apply(hwb_ctx *ctx, hwb_linop_set *set, hwb_tensor **out,
                          const hwb_tensor *const *v) {
    HWB_TRY(hwb_check_interrupt(ctx));
    HWB_TRY(set->apply(ctx, set, out, v));
    hwb_status st = HWB_OK;
    for (int64_t i = 0; i < set->n; i++) {
        hwb_tensor *w = out[i];
        out[i] = NULL;
        if (!v[i]) continue;
        if (st == HWB_OK) st = own_product(ctx, set->op[i], &out[i], w, v[i]);
        else hwb_tensor_release(w);
    }
    for (int64_t i = 0; st != HWB_OK && i < set->n; i++) {
        hwb_tensor_release(out[i]);
        out[i] = NULL;
    }
    return st;
}

void *hwb__row(const hwb_tensor *t, int64_t n, int64_t i) {
    return (char *)hwb_tensor_data(t) + (size_t)(i * n) * hwb_dtype_size(hwb_tensor_dtype(t));
}

hwb_status hwb__not_finite(hwb_ctx *ctx, const char *what, int64_t at) {
    return hwb_fail(ctx, HWB_ENUMERIC, "%s: product with the operator is not finite (vector %lld)",
                    what, (long long)(at + 1));
}

hwb_status hwb__probes(hwb_ctx *ctx, hwb_tensor **out, const hwb_linop *op, uint64_t seed,
                       hwb__probe_kind kind, uint64_t tag, int64_t first, int64_t count) {
    static const char *const purpose[] = {"trace probe", "sketch"};
    hwb_tensor *v = NULL, *row = NULL;
    hwb_status s;
    HWB_GOTO(done, s,
             hwb_tensor_new(ctx, &v, op->dtype, (hwb_shape){.ndim = 2, .dim = {count, op->n}}));
    for (int64_t i = 0; i < count; i++) {
        hwb_rng rng = {seed, hwb_rng_stream(purpose[kind], tag, (uint64_t)(first + i))};
        HWB_GOTO(done, s, hwb_tensor_select(ctx, &row, v, 0, i));
        HWB_GOTO(done, s,
                 kind == HWB__PROBE_SIGN ? hwb_tensor_fill_rademacher(ctx, row, rng)
                                         : hwb_tensor_fill_normal(ctx, row, rng));
        hwb_tensor_release(row);
        row = NULL;
    }
    *out = v;
    return HWB_OK;
done:
    hwb_tensor_release(row);
    hwb_tensor_release(v);
    return s;
}

hwb_status hwb__basis_init(hwb_ctx *ctx, hwb__basis *b, hwb_dtype dtype, int64_t n, int64_t cap) {
    *b = (hwb__basis){.dtype = dtype, .n = n, .cap = cap};
    b->t = hwb_calloc(ctx, (size_t)cap * sizeof *b->t);
    b->p = hwb_calloc(ctx, (size_t)cap * sizeof *b->p);
    if (b->t && b->p) return HWB_OK;
    hwb__basis_free(b);
    return HWB_ENOMEM;
}

void hwb__basis_free(hwb__basis *b) {
    if (b->t) hwb__basis_cut(b, 0);
    hwb_free(b->t);
    hwb_free(b->p);
    *b = (hwb__basis){0};
}

void hwb__basis_cut(hwb__basis *b, int64_t count) {
    for (int64_t i = count; i < b->count; i++) hwb_tensor_release(b->t[i]);
    if (count < b->count) b->count = count;
}

void hwb__basis_push(hwb__basis *b, hwb_tensor *t) {
    HWB_ASSERT(b->count < b->cap);
    b->t[b->count] = t;
    b->p[b->count++] = hwb_tensor_data(t);
}

hwb_status hwb__basis_project(hwb_ctx *ctx, const hwb__basis *b, hwb_tensor *w, double *h,
                              double *norm) {
    void *data = hwb_tensor_data(w);
    if (b->count > 0) {
        double *c = hwb_alloc(ctx, (size_t)b->count * sizeof *c);
        if (!c) return HWB_ENOMEM;
        for (int pass = 0; pass < 2; pass++) {
            hwb_status s = hwb__vec_dots(ctx, c, b->dtype, b->n, b->count, b->p, data);
            if (s != HWB_OK) {
                hwb_free(c);
                return s;
            }
            hwb__vec_sub(ctx, b->dtype, b->n, b->count, b->p, c, data);
            for (int64_t i = 0; h && i < b->count; i++) h[i] = pass ? h[i] + c[i] : c[i];
        }
        hwb_free(c);
    }
    *norm = sqrt(hwb__vec_dot(ctx, b->dtype, b->n, data, data));
    return HWB_OK;
}

hwb_status hwb__basis_random(hwb_ctx *ctx, const hwb__basis *b, uint64_t seed, uint64_t index,
                             hwb_tensor **out) {
    hwb_tensor *v = NULL;
    hwb_status s;
    double norm = 0;
    HWB_TRY(hwb_tensor_new(ctx, &v, b->dtype, (hwb_shape){.ndim = 2, .dim = {1, b->n}}));
    /* Near the full dimension little of a random vector is left outside the
     * span, so the remainder is scaled up and projected again. */
    for (int attempt = 0; attempt < 8; attempt++) {
        hwb_rng rng = {seed, hwb_rng_stream("krylov start", index, (uint64_t)attempt)};
        HWB_GOTO(fail, s, hwb_tensor_fill_normal(ctx, v, rng));
        for (int pass = 0; pass < 2; pass++) {
            HWB_GOTO(fail, s, hwb__basis_project(ctx, b, v, NULL, &norm));
            if (!(norm > 1e3 * hwb__eps(b->dtype))) break;
            void *p = hwb_tensor_data(v);
            hwb__vec_axpby(ctx, b->dtype, b->n, 0, p, 1 / norm, p);
        }
        if (norm > 0.5) { /* the second pass leaves a unit vector */
            *out = v;
            return HWB_OK;
        }
    }
    s = hwb_fail(ctx, HWB_ENUMERIC, "no direction left outside a basis of %lld of %lld vectors",
                 (long long)b->count, (long long)b->n);
fail:
    hwb_tensor_release(v);
    return s;
}
