/*
 * ref_fused.c: fused pointwise groups by an interpreter: for every point of the
 * space all registers are computed one after the other, as the definition in
 * backend.h reads.  Registers of a float32 group are rounded to float32 after
 * each instruction, so a fused group gives what its operations give one by one.
 *
 * Reduced outputs come first, each its own sum in row-major order of the axes it
 * sums, into scratch; then the full outputs; then the sums are stored.  So an
 * output may share its buffer with an input of its own shape.
 */
#include "backend/ref/ref_i.h"

#include <string.h>

enum { MAX_REGISTERS = HWB_FUSED_MAX_IN + HWB_FUSED_MAX_INSTR };

typedef struct point {
    const hwb_kernel *k;
    const void *const *in;
    double reg[MAX_REGISTERS];
} point;

/* Registers 0..upto at the point with input offsets at[]. */
static void eval(point *p, const int64_t *at, int upto) {
    const hwb_fused *f = p->k->desc.fused;
    const bool single = f->dtype == HWB_F32;
    double *reg = p->reg;
    for (int j = 0; j < f->n_in; j++)
        reg[j] = hwb__ref_load(p->k->desc.in[j].dtype, p->in[j], at[j]);
    for (int i = 0; f->n_in + i <= upto; i++) {
        const hwb_finstr *op = &f->instr[i];
        double a = op->in[0] >= 0 ? reg[op->in[0]] : op->imm;
        double b = op->in[1] >= 0 ? reg[op->in[1]] : 0;
        double c = op->in[2] >= 0 ? reg[op->in[2]] : 0;
        double x = hwb__ref_eval((hwb_op)op->op, a, b, c); /* fill: the identity of imm */
        reg[f->n_in + i] = single ? (float)x : x;
    }
}

/* The sum of output o over the axes it drops, at one of its elements. */
static double reduce(point *p, const hwb__ref_nest *over, const int64_t *base, int reg) {
    double acc = 0;
    const int n_in = p->k->desc.fused->n_in;
    for (int64_t row = 0; row < over->rows; row++) {
        int64_t at[HWB__REF_MAX_OPERANDS], n = hwb__ref_nest_seek(over, row, at);
        for (int j = 0; j < n_in; j++) at[j] += base[j];
        for (int64_t i = 0; i < n; i++) {
            eval(p, at, reg);
            acc += p->reg[reg];
            for (int j = 0; j < n_in; j++) at[j] += over->step[j];
        }
    }
    return acc;
}

/* sums[i] for every element i of output o; stride holds the inputs' strides. */
static void reduce_output(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in, int o,
                          const hwb__ref_stride *stride, double *sums) {
    const hwb_fused *f = k->desc.fused;
    const hwb_shape *y = &k->desc.out[o].shape;
    hwb_shape reduced = f->space;
    hwb__ref_nest keep, over;
    hwb__ref_stride with_out[HWB__REF_MAX_OPERANDS];
    for (int i = 0; i < y->ndim; i++)
        if (y->dim[i] != 1) reduced.dim[i] = 1;
    memcpy(with_out, stride, (size_t)f->n_in * sizeof(*stride));
    hwb__ref_strides(y, with_out[f->n_in]);
    hwb__ref_nest_make(&keep, y, f->n_in + 1, with_out, 1);
    hwb__ref_nest_make(&over, &reduced, f->n_in, stride, HWB__REF_CHUNK);
#pragma omp parallel for if (hwb_shape_numel(&f->space) > HWB__REF_CHUNK)                          \
    num_threads(hwb_threads(ctx))
    for (int64_t row = 0; row < keep.rows; row++) {
        int64_t at[HWB__REF_MAX_OPERANDS];
        point p = {.k = k, .in = in};
        hwb__ref_nest_seek(&keep, row, at);
        sums[at[f->n_in]] = reduce(&p, &over, at, f->out[o].reg);
    }
}

static void store_full(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in, void *const *out,
                       const hwb__ref_stride *stride, int upto) {
    const hwb_fused *f = k->desc.fused;
    hwb__ref_nest nest;
    hwb_shape space = f->space;
    hwb__ref_stride with_out[HWB__REF_MAX_OPERANDS];
    memcpy(with_out, stride, (size_t)f->n_in * sizeof(*stride));
    hwb__ref_strides(&space, with_out[f->n_in]);
    hwb__ref_nest_make(&nest, &space, f->n_in + 1, with_out, HWB__REF_CHUNK);
#pragma omp parallel for if (nest.rows > 1) num_threads(hwb_threads(ctx))
    for (int64_t row = 0; row < nest.rows; row++) {
        int64_t at[HWB__REF_MAX_OPERANDS], n = hwb__ref_nest_seek(&nest, row, at);
        point p = {.k = k, .in = in};
        for (int64_t i = 0; i < n; i++) {
            eval(&p, at, upto);
            for (int o = 0; o < f->n_out; o++)
                if (!f->out[o].reduce)
                    hwb__ref_store(k->desc.out[o].dtype, out[o], at[f->n_in], p.reg[f->out[o].reg]);
            for (int j = 0; j <= f->n_in; j++) at[j] += nest.step[j];
        }
    }
}

hwb_status hwb__ref_fused(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                          void *const *out) {
    const hwb_kdesc *d = &k->desc;
    const hwb_fused *f = d->fused;
    hwb__ref_stride stride[HWB__REF_MAX_OPERANDS];
    double *sums = k->scratch;
    int upto = -1; /* the last register that a full output needs */
    for (int j = 0; j < f->n_in; j++) hwb__ref_strides(&d->in[j].shape, stride[j]);
    for (int o = 0; o < f->n_out; o++) {
        if (!f->out[o].reduce) {
            upto = f->out[o].reg > upto ? f->out[o].reg : upto;
            continue;
        }
        reduce_output(ctx, k, in, o, stride, sums);
        sums += hwb_shape_numel(&d->out[o].shape);
    }
    if (upto >= 0) store_full(ctx, k, in, out, stride, upto);
    sums = k->scratch;
    for (int o = 0; o < f->n_out; o++) {
        if (!f->out[o].reduce) continue;
        int64_t n = hwb_shape_numel(&d->out[o].shape);
        for (int64_t i = 0; i < n; i++) hwb__ref_store(d->out[o].dtype, out[o], i, sums[i]);
        sums += n;
    }
    return HWB_OK;
}

size_t hwb__ref_scratch_fused(const hwb_kdesc *desc) {
    size_t n = 0;
    for (int o = 0; o < desc->fused->n_out; o++)
        if (desc->fused->out[o].reduce) n += (size_t)hwb_shape_numel(&desc->out[o].shape);
    return n * sizeof(double);
}
