/*
 * quantize.c: weights to codes, codes to weights, both at once, and the error.
 *
 * Everything goes through hwb__step_round and one product S·r rounded to the
 * tensor's dtype, so apply(w) == decode(encode(w)) bit for bit.
 */
#include "quant/quant_i.h"

/* params fit a tensor of this shape and the right number of groups */
static hwb_status check_params(hwb_ctx *ctx, const hwb_quant_params *p, const hwb_shape *shape,
                               hwb__groups *g) {
    HWB_TRY(hwb_quant_check(ctx, &p->spec));
    *g = hwb__groups_of(&p->spec, shape);
    if (g->count == hwb_tensor_numel(p->scale) && g->count == hwb_tensor_numel(p->zero))
        return HWB_OK;
    char text[HWB_SHAPE_TEXT];
    return hwb_fail(ctx, HWB_ESHAPE, "quantize: %lld scales do not fit %s (%lld groups)",
                    (long long)hwb_tensor_numel(p->scale), hwb_shape_text(shape, text),
                    (long long)g->count);
}

static hwb__step step_at(const hwb_quant_params *p, const hwb__groups *g, int64_t row) {
    int64_t i = row / g->group_rows;
    double scale = hwb__load(hwb_tensor_dtype(p->scale), hwb_tensor_data(p->scale), i);
    return hwb__step_of(&p->spec, scale, ((const int32_t *)hwb_tensor_data(p->zero))[i]);
}

hwb_status hwb_quant_encode(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *w,
                            const hwb_quant_params *p) {
    hwb__groups g;
    hwb_tensor *t = NULL, *codes = NULL;
    HWB_TRY(check_params(ctx, p, hwb_tensor_shape(w), &g));
    HWB_TRY(hwb__dense_finite(ctx, &t, w, "quantize"));
    hwb_status st = hwb_tensor_new(ctx, &codes, HWB_I32, *hwb_tensor_shape(w));
    if (st == HWB_OK) {
        hwb_dtype d = hwb_tensor_dtype(t);
        const void *in = hwb_tensor_data(t);
        int32_t *q = hwb_tensor_data(codes);
        int threads = hwb__quant_threads(ctx, g.rows * g.cols);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
        for (int64_t r = 0; r < g.rows; r++) {
            hwb__step s = step_at(p, &g, r);
            for (int64_t i = r * g.cols; i < (r + 1) * g.cols; i++) {
                int v = (int)hwb__step_round(&s, hwb__load(d, in, i));
                q[i] = s.sign ? (v - 1) / 2 : v + s.zero;
            }
        }
        *out = codes;
    }
    hwb_tensor_release(t);
    return st;
}

hwb_status hwb_quant_decode(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *codes,
                            const hwb_quant_params *p) {
    hwb__groups g;
    hwb_tensor *t = NULL, *w = NULL;
    if (hwb_tensor_dtype(codes) != HWB_I32)
        return hwb_fail(ctx, HWB_EDTYPE, "decode: codes are int32, not %s",
                        hwb_dtype_name(hwb_tensor_dtype(codes)));
    HWB_TRY(check_params(ctx, p, hwb_tensor_shape(codes), &g));
    HWB_TRY(hwb_tensor_contiguous(ctx, &t, (hwb_tensor *)(uintptr_t)codes));
    hwb_dtype d = hwb_tensor_dtype(p->scale);
    hwb_status st = hwb_tensor_new(ctx, &w, d, *hwb_tensor_shape(codes));
    if (st == HWB_OK) {
        const int32_t *q = hwb_tensor_data(t);
        void *to = hwb_tensor_data(w);
        int threads = hwb__quant_threads(ctx, g.rows * g.cols);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
        for (int64_t r = 0; r < g.rows; r++) {
            hwb__step s = step_at(p, &g, r);
            for (int64_t i = r * g.cols; i < (r + 1) * g.cols; i++) {
                double v = s.sign ? 2.0 * q[i] + 1 : (double)q[i] - s.zero;
                hwb__store(d, to, i, s.scale * v);
            }
        }
        *out = w;
    }
    hwb_tensor_release(t);
    return st;
}

/* out[i] = Q(in[i]), rows of one group share a step */
static void apply_rows(hwb_dtype d, const void *in, void *out, const hwb_quant_params *p,
                       const hwb__groups *g, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int64_t r = 0; r < g->rows; r++) {
        hwb__step s = step_at(p, g, r);
        for (int64_t i = r * g->cols; i < (r + 1) * g->cols; i++)
            hwb__store(d, out, i, s.scale * hwb__step_round(&s, hwb__load(d, in, i)));
    }
}

hwb_status hwb_quant_apply(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *w,
                           const hwb_quant_params *p) {
    hwb__groups g;
    hwb_tensor *t = NULL, *q = NULL;
    HWB_TRY(check_params(ctx, p, hwb_tensor_shape(w), &g));
    if (hwb_tensor_dtype(w) != hwb_tensor_dtype(p->scale))
        return hwb_fail(ctx, HWB_EDTYPE, "quantize: %s weights with %s scales",
                        hwb_dtype_name(hwb_tensor_dtype(w)),
                        hwb_dtype_name(hwb_tensor_dtype(p->scale)));
    HWB_TRY(hwb__dense_finite(ctx, &t, w, "quantize"));
    hwb_dtype d = hwb_tensor_dtype(t);
    hwb_status st = hwb_tensor_new(ctx, &q, d, *hwb_tensor_shape(w));
    if (st == HWB_OK) {
        apply_rows(d, hwb_tensor_data(t), hwb_tensor_data(q), p, &g,
                   hwb__quant_threads(ctx, g.rows * g.cols));
        *out = q;
    }
    hwb_tensor_release(t);
    return st;
}

hwb_status hwb_quant_fake(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *w,
                          const hwb_quant_spec *spec) {
    hwb_quant_params p = {0};
    HWB_TRY(hwb_quant_range(ctx, &p, w, spec));
    hwb_status s = hwb_quant_apply(ctx, out, w, &p);
    hwb_quant_params_free(&p);
    return s;
}

hwb_status hwb_quant_error(hwb_ctx *ctx, double *out, const hwb_tensor *w,
                           const hwb_quant_spec *spec) {
    hwb_quant_params p = {0};
    hwb_tensor *t = NULL, *q = NULL;
    double *row = NULL, sum = 0;
    hwb_status s;
    HWB_GOTO(done, s, hwb_quant_range(ctx, &p, w, spec));
    HWB_GOTO(done, s, hwb_quant_apply(ctx, &q, w, &p));
    HWB_GOTO(done, s, hwb__dense_finite(ctx, &t, w, "quantize"));
    hwb__groups g = hwb__groups_of(spec, hwb_tensor_shape(t));
    row = hwb_alloc(ctx, (size_t)g.rows * sizeof *row);
    HWB_GOTO(done, s, row ? HWB_OK : HWB_ENOMEM);
    hwb_dtype d = hwb_tensor_dtype(t);
    const void *a = hwb_tensor_data(t), *b = hwb_tensor_data(q);
    int threads = hwb__quant_threads(ctx, g.rows * g.cols);
    /* one sum a row, added in order: the same at any thread count */
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int64_t r = 0; r < g.rows; r++) {
        row[r] = 0;
        for (int64_t i = r * g.cols; i < (r + 1) * g.cols; i++) {
            double e = hwb__load(d, b, i) - hwb__load(d, a, i);
            row[r] += e * e;
        }
    }
    for (int64_t r = 0; r < g.rows; r++) sum += row[r];
    *out = sum;
done:
    hwb_free(row);
    hwb_tensor_release(t);
    hwb_tensor_release(q);
    hwb_quant_params_free(&p);
    return s;
}

/* ---- one scale for a whole tensor (activations) ----------------------------------- */

static hwb_quant_spec scale_spec(int bits, hwb_quant_scheme scheme) {
    hwb_quant_spec spec = hwb_quant_defaults();
    spec.bits = bits;
    spec.scheme = scheme;
    spec.granularity = HWB_QUANT_PER_TENSOR;
    return spec;
}

hwb_status hwb_quant_scale(hwb_ctx *ctx, double *scale, int *zero, double lo, double hi, int bits,
                           hwb_quant_scheme scheme) {
    hwb_quant_spec spec = scale_spec(bits, scheme);
    HWB_TRY(hwb_quant_check(ctx, &spec));
    if (!isfinite(lo) || !isfinite(hi) || lo > hi)
        return hwb_fail(ctx, HWB_EARG, "quantize: [%g, %g] is not a range", lo, hi);
    hwb__scale_of(&spec, lo, hi, scale, zero);
    return HWB_OK;
}

hwb_status hwb_quant_fake_scale(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *x, double scale,
                                int zero, int bits, hwb_quant_scheme scheme) {
    hwb_quant_spec spec = scale_spec(bits, scheme);
    HWB_TRY(hwb_quant_check(ctx, &spec));
    if (!(scale > 0) || !isfinite(scale))
        return hwb_fail(ctx, HWB_EARG, "quantize: scale %g must be positive", scale);
    hwb_tensor *t = NULL, *q = NULL;
    HWB_TRY(hwb__dense_finite(ctx, &t, x, "quantize"));
    hwb_dtype d = hwb_tensor_dtype(t);
    hwb_status st = hwb_tensor_new(ctx, &q, d, *hwb_tensor_shape(x));
    if (st == HWB_OK) {
        const void *in = hwb_tensor_data(t);
        void *to = hwb_tensor_data(q);
        int64_t n = hwb_tensor_numel(t);
        hwb__step s = hwb__step_of(&spec, scale, zero);
        int threads = hwb__quant_threads(ctx, n);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
        for (int64_t i = 0; i < n; i++)
            hwb__store(d, to, i, s.scale * hwb__step_round(&s, hwb__load(d, in, i)));
        *out = q;
    }
    hwb_tensor_release(t);
    return st;
}
