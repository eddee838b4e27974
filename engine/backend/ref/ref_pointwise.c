/*
 * ref_pointwise.c: one operation at every element, operands broadcast along
 * their axes of length 1.
 *     out[i] = op(a[i], b[i], ..)
 */
#include "backend/ref/ref_i.h"

#include <string.h>

/* Operand 0 is the output, operand 1+j input j. */
static hwb__ref_nest make_nest(const hwb_kdesc *d) {
    hwb__ref_nest nest;
    hwb__ref_stride stride[4];
    hwb__ref_strides(&d->out[0].shape, stride[0]);
    for (int j = 0; j < d->n_in; j++) hwb__ref_strides(&d->in[j].shape, stride[1 + j]);
    hwb__ref_nest_make(&nest, &d->out[0].shape, 1 + d->n_in, stride, HWB__REF_CHUNK);
    return nest;
}

/* Unsigned arithmetic wraps where int64 would overflow. */
static int64_t eval_int(hwb_op op, int64_t a, int64_t b) {
    uint64_t ua = (uint64_t)a, ub = (uint64_t)b;
    switch (op) {
    case HWB_OP_NEG: return (int64_t)(0 - ua);
    case HWB_OP_ADD: return (int64_t)(ua + ub);
    case HWB_OP_SUB: return (int64_t)(ua - ub);
    case HWB_OP_MUL: return (int64_t)(ua * ub);
    case HWB_OP_RELU: return a > 0 ? a : 0;
    case HWB_OP_ABS: return a < 0 ? (int64_t)(0 - ua) : a;
    case HWB_OP_MAXIMUM: return a > b ? a : b;
    case HWB_OP_MINIMUM: return a < b ? a : b;
    case HWB_OP_LT: return a < b;
    case HWB_OP_LE: return a <= b;
    case HWB_OP_EQ: return a == b;
    case HWB_OP_NE: return a != b;
    case HWB_OP_SIGN: return (a > 0) - (a < 0);
    default: return a;
    }
}

hwb_status hwb__ref_pointwise(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                              void *const *out) {
    const hwb_kdesc *d = &k->desc;
    const hwb__ref_nest nest = make_nest(d);
    const hwb_dtype dt = d->in[0].dtype, to = d->out[0].dtype;
    const bool two = d->n_in > 1, real = hwb_dtype_is_float(dt);
    const void *second = in[two ? 1 : 0];
#pragma omp parallel for if (nest.rows > 8) num_threads(hwb_threads(ctx))
    for (int64_t row = 0; row < nest.rows; row++) {
        int64_t at[HWB__REF_MAX_OPERANDS], n = hwb__ref_nest_seek(&nest, row, at);
        for (int64_t i = 0; i < n; i++) {
            int64_t o = at[0] + i * nest.step[0], a = at[1] + i * nest.step[1];
            int64_t b = two ? at[2] + i * nest.step[2] : a;
            if (real)
                hwb__ref_store(to, out[0], o,
                               hwb__ref_eval(d->op, hwb__ref_load(dt, in[0], a),
                                             hwb__ref_load(dt, second, b), 0));
            else
                hwb__ref_store_int(to, out[0], o,
                                   eval_int(d->op, hwb__ref_load_int(dt, in[0], a),
                                            hwb__ref_load_int(dt, second, b)));
        }
    }
    return HWB_OK;
}

/* Copies bytes, so any dtype and NaN payload passes through. */
hwb_status hwb__ref_where(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                          void *const *out) {
    const hwb__ref_nest nest = make_nest(&k->desc);
    const size_t size = hwb_dtype_size(k->desc.out[0].dtype);
    const uint8_t *cond = in[0];
#pragma omp parallel for if (nest.rows > 8) num_threads(hwb_threads(ctx))
    for (int64_t row = 0; row < nest.rows; row++) {
        int64_t at[HWB__REF_MAX_OPERANDS], n = hwb__ref_nest_seek(&nest, row, at);
        for (int64_t i = 0; i < n; i++) {
            int pick = cond[at[1] + i * nest.step[1]] ? 1 : 2;
            int64_t from = at[1 + pick] + i * nest.step[1 + pick];
            memmove((char *)out[0] + (size_t)(at[0] + i * nest.step[0]) * size,
                    (const char *)in[pick] + (size_t)from * size, size);
        }
    }
    return HWB_OK;
}

/* Integers convert through int64, so that none loses digits in a double. */
hwb_status hwb__ref_cast(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                         void *const *out) {
    const hwb_dtype from = k->desc.in[0].dtype, to = k->desc.out[0].dtype;
    const bool whole = !hwb_dtype_is_float(from) && (hwb_dtype_is_float(to) || to == HWB_I64);
    const int64_t n = hwb_shape_numel(&k->desc.out[0].shape);
#pragma omp parallel for if (n > HWB__REF_PARALLEL_MIN) num_threads(hwb_threads(ctx))
    for (int64_t i = 0; i < n; i++) {
        if (whole) hwb__ref_store_int(to, out[0], i, hwb__ref_load_int(from, in[0], i));
        else /* into a narrower integer: saturates, and a double shows which side */
            hwb__ref_store(to, out[0], i, hwb__ref_load(from, in[0], i));
    }
    return HWB_OK;
}

hwb_status hwb__ref_fill(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                         void *const *out) {
    (void)ctx, (void)in;
    const int64_t n = hwb_shape_numel(&k->desc.out[0].shape);
    for (int64_t i = 0; i < n; i++)
        hwb__ref_store(k->desc.out[0].dtype, out[0], i, k->desc.attrs.value);
    return HWB_OK;
}
