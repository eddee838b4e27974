/*
 * cpu_data.c: moving elements: reshape, permute, slice, pad, concat, and
 * broadcasts of what is no float.
 *
 * All are copies between two strided views of one shape,
 *     to[sum_d i_d * out_d] = from[sum_d i_d * in_d],
 * one view for each input (concat has several).  Axes of length 1 go, axes that
 * are neighbours in both views merge, and the two innermost axes left are done
 * by one of three loops: whole rows, blocked transpose (some axis is dense on
 * the reading side), single elements.
 */
#include "backend/cpu/cpu_i.h"

#include <string.h>

typedef struct view_copy {
    int nd; /* at least 2 */
    int64_t dim[HWB_MAX_DIMS], in[HWB_MAX_DIMS], out[HWB_MAX_DIMS];
    int64_t from, to; /* element offsets */
    int64_t outer;    /* product of all but the last two dims */
} view_copy;

typedef struct data_kernel {
    hwb__cpu_kernel base;
    size_t size;    /* bytes of an element */
    int64_t result; /* elements of the result */
    bool clear;     /* zero the result first */
    bool parallel;
    int n;
    view_copy copy[]; /* one an input */
} data_kernel;

/* Blocks of a transpose and rows a thread takes at a time. */
enum { BLOCK = 32, ROWS = 64 };

/* ---- loops --------------------------------------------------------------- */

static void copy_row(size_t size, char *to, int64_t to_step, const char *from, int64_t from_step,
                     int64_t n) {
    if (from_step == 1 && to_step == 1) {
        memcpy(to, from, (size_t)n * size);
    } else if (size == 4) {
        uint32_t *t = (uint32_t *)(void *)to;
        const uint32_t *f = (const uint32_t *)(const void *)from;
        for (int64_t i = 0; i < n; i++) t[i * to_step] = f[i * from_step];
    } else if (size == 8) {
        uint64_t *t = (uint64_t *)(void *)to;
        const uint64_t *f = (const uint64_t *)(const void *)from;
        for (int64_t i = 0; i < n; i++) t[i * to_step] = f[i * from_step];
    } else {
        for (int64_t i = 0; i < n; i++) to[i * to_step] = from[i * from_step];
    }
}

/* Rows r0..r1 of the last two axes, in blocks so that both sides stay in cache. */
static void copy_rows(const view_copy *c, size_t size, char *to, const char *from, int64_t r0,
                      int64_t r1) {
    int a = c->nd - 2, b = c->nd - 1;
    bool rows = c->in[b] == 1 && c->out[b] == 1;
    int64_t width = rows ? c->dim[b] : BLOCK;
    for (int64_t j = 0; j < c->dim[b]; j += width)
        for (int64_t i = r0; i < r1; i++) {
            int64_t n = c->dim[b] - j < width ? c->dim[b] - j : width;
            copy_row(size, to + (size_t)(i * c->out[a] + j * c->out[b]) * size, c->out[b],
                     from + (size_t)(i * c->in[a] + j * c->in[b]) * size, c->in[b], n);
        }
}

static void copy_view(const data_kernel *k, const view_copy *c, char *to, const char *from) {
    int64_t rows = c->dim[c->nd - 2], step = ROWS;
    if (c->dim[c->nd - 1] > 1024) step = 1;
    int64_t parts = (rows + step - 1) / step;
#pragma omp parallel for schedule(static) if (k->parallel)
    for (int64_t u = 0; u < c->outer * parts; u++) {
        int64_t rest = u / parts, r0 = u % parts * step, in = c->from, out = c->to;
        for (int d = c->nd - 3; d >= 0; d--) {
            int64_t i = rest % c->dim[d];
            rest /= c->dim[d];
            in += i * c->in[d];
            out += i * c->out[d];
        }
        copy_rows(c, k->size, to + (size_t)out * k->size, from + (size_t)in * k->size, r0,
                  r0 + step < rows ? r0 + step : rows);
    }
}

static void clear(const data_kernel *k, char *to) {
    int64_t bytes = k->result * (int64_t)k->size, piece = 1 << 18;
#pragma omp parallel for schedule(static) if (k->parallel)
    for (int64_t at = 0; at < bytes; at += piece)
        memset(to + at, 0, (size_t)(bytes - at < piece ? bytes - at : piece));
}

static hwb_status data_run(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                           const uint64_t *versions, void *const *out) {
    const data_kernel *k = (const data_kernel *)kernel;
    (void)ctx;
    (void)versions;
    if (k->clear) clear(k, out[0]);
    for (int i = 0; i < k->n; i++) {
        const char *place = (const char *)out[0] + (size_t)k->copy[i].to * k->size;
        if (in[i] != place) copy_view(k, &k->copy[i], out[0], in[i]); /* else made there */
    }
    return HWB_OK;
}

/* ---- views --------------------------------------------------------------- */

static void dense(const hwb_shape *s, int64_t *stride) {
    int64_t step = 1;
    for (int d = s->ndim - 1; d >= 0; d--) stride[d] = step, step *= s->dim[d];
}

static void push_axis(view_copy *c, int64_t dim, int64_t in, int64_t out) {
    if (dim == 1) return;
    int p = c->nd - 1;
    if (p >= 0 && c->in[p] == in * dim && c->out[p] == out * dim) {
        c->dim[p] *= dim;
        c->in[p] = in;
        c->out[p] = out;
        return;
    }
    c->dim[c->nd] = dim;
    c->in[c->nd] = in;
    c->out[c->nd++] = out;
}

static void swap_axes(view_copy *c, int a, int b) {
    int64_t dim = c->dim[a], in = c->in[a], out = c->out[a];
    c->dim[a] = c->dim[b], c->in[a] = c->in[b], c->out[a] = c->out[b];
    c->dim[b] = dim, c->in[b] = in, c->out[b] = out;
}

/* At least two axes; the last but one is dense on the reading side if any is,
 * and a single long row is cut, for the threads. */
static void finish_view(view_copy *c) {
    if (c->nd == 1 && c->dim[0] >= 1 << 16) {
        int64_t part = 1 << 14;
        while (c->dim[0] % part) part--;
        if (part >= 1024) {
            int64_t in = c->in[0], out = c->out[0];
            c->dim[1] = part, c->in[1] = in, c->out[1] = out;
            c->dim[0] /= part, c->in[0] = in * part, c->out[0] = out * part;
            c->nd = 2;
        }
    }
    while (c->nd < 2) {
        for (int d = c->nd; d > 0; d--) {
            c->dim[d] = c->dim[d - 1];
            c->in[d] = c->in[d - 1];
            c->out[d] = c->out[d - 1];
        }
        c->dim[0] = 1, c->in[0] = c->out[0] = 0;
        if (c->nd == 0) c->in[0] = c->out[0] = 1;
        c->nd++;
    }
    if (c->in[c->nd - 1] != 1)
        for (int d = 0; d < c->nd - 2; d++)
            if (c->in[d] == 1) swap_axes(c, d, c->nd - 2);
    c->outer = 1;
    for (int d = 0; d < c->nd - 2; d++) c->outer *= c->dim[d];
}

/* The view of input i of desc; `along` is how far concat has come. */
static view_copy make_view(const hwb_kdesc *desc, int i, int64_t along) {
    const hwb_attrs *a = &desc->attrs;
    const hwb_shape *x = &desc->in[i].shape, *y = &desc->out[0].shape;
    int64_t in[HWB_MAX_DIMS] = {0}, out[HWB_MAX_DIMS] = {0};
    view_copy c = {0};
    dense(x, in);
    dense(y, out);
    if (desc->op == HWB_OP_RESHAPE) {
        push_axis(&c, hwb_shape_numel(x), 1, 1);
    } else if (desc->op == HWB_OP_PERMUTE) {
        for (int d = 0; d < y->ndim; d++) push_axis(&c, y->dim[d], in[a->perm[d]], out[d]);
    } else if (desc->op == HWB_OP_PAD) {
        for (int d = 0; d < x->ndim; d++) {
            c.to += a->lo[d] * out[d];
            push_axis(&c, x->dim[d], in[d], out[d] * a->step[d]);
        }
    } else if (desc->op == HWB_OP_SLICE) {
        for (int d = 0; d < x->ndim; d++) {
            c.from += a->lo[d] * in[d];
            push_axis(&c, y->dim[d], in[d] * a->step[d], out[d]);
        }
    } else { /* broadcast, concat */
        if (desc->op == HWB_OP_CONCAT) c.to = along * out[a->axis];
        const hwb_shape *s = desc->op == HWB_OP_CONCAT ? x : y;
        for (int d = 0; d < y->ndim; d++)
            push_axis(&c, s->dim[d], x->dim[d] == s->dim[d] ? in[d] : 0, out[d]);
    }
    finish_view(&c);
    return c;
}

/* ---- prepare ------------------------------------------------------------- */

bool hwb__cpu_data_supports(const hwb_kdesc *desc) {
    if (hwb_shape_numel(&desc->out[0].shape) == 0) return false;
    for (int i = 0; i < desc->n_in; i++)
        if (desc->in[i].dtype != desc->out[0].dtype || hwb_shape_numel(&desc->in[i].shape) == 0)
            return false;
    if (desc->op == HWB_OP_BROADCAST) return !hwb_dtype_is_float(desc->in[0].dtype);
    return desc->n_in > 0;
}

static void data_free(hwb__cpu_kernel *kernel) {
    hwb_free(kernel);
}

hwb_status hwb__cpu_data_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                 const hwb_kdesc *desc) {
    hwb__cpu_kernel *base;
    size_t bytes = sizeof(data_kernel) + (size_t)desc->n_in * sizeof(view_copy);
    HWB_TRY(hwb__cpu_kernel_new(ctx, state, &base, bytes, "copy"));
    data_kernel *k = (data_kernel *)base;
    base->run = data_run;
    base->free = data_free;
    k->size = hwb_dtype_size(desc->out[0].dtype);
    k->result = hwb_shape_numel(&desc->out[0].shape);
    k->clear = desc->op == HWB_OP_PAD;
    k->parallel = k->result >= HWB_CPU_SERIAL && base->threads > 1;
    k->n = desc->n_in;
    int64_t along = 0;
    for (int i = 0; i < k->n; i++) {
        k->copy[i] = make_view(desc, i, along);
        if (desc->op == HWB_OP_CONCAT) along += desc->in[i].shape.dim[desc->attrs.axis];
    }
    *out = base;
    return HWB_OK;
}
