/*
 * cuda_data.c: data movement of every dtype, by element size.
 *
 *   copy      reshape: one device-to-device copy
 *   strided   permute, broadcast, slice: dst[i] = src[sum c_a*stride_a], i in row-major
 *             order of the result; pad: zeros, then src[i] to dst[start + sum ...]
 *   concat    up to 64 inputs at once: element e of row o of the result comes from the
 *             input whose part of the row holds e; inputs that were made at their place
 *             in the result (engine/compile/place.c) are left alone
 */
#include "cuda_group_i.h"

#include <stdlib.h>

/* ---- reshape --------------------------------------------------------------------- */

typedef struct copy_kernel {
    hwb_kernel base;
    size_t bytes;
} copy_kernel;

static hwb_status run_copy(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel *base, const void *const *in,
                           void *const *out) {
    copy_kernel *k = (copy_kernel *)base;
    return in[0] == out[0] ? HWB_OK : hwb__cuda_mem_copy(ctx, s, out[0], in[0], k->bytes);
}

static bool copy_supports(const hwb_kdesc *d) {
    return d->op == HWB_OP_RESHAPE;
}

static hwb_status copy_prepare(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel **out, const hwb_kdesc *d) {
    (void)s;
    copy_kernel *k = hwb__cuda_kernel_new(sizeof(*k), "cuda:copy");
    if (!k) return hwb__cuda_oom(ctx);
    k->base.run = run_copy;
    k->bytes = hwb__cuda_bytes(&d->out[0]);
    *out = &k->base;
    return HWB_OK;
}

/* ---- strided copies ------------------------------------------------------------------ */

#define STRIDED_PARAMS                                                                             \
    {                                                                                              \
        void *dst;                                                                                 \
        void *src;                                                                                 \
        i64 n;                                                                                     \
    }

typedef struct strided_kernel {
    hwb_kernel base;
    cudaKernel_t f;
    hwb__cuda_grid grid;
    size_t start; /* bytes into the strided side */
    size_t clear; /* bytes of the result to clear first (pad) */
    bool scatter; /* the strided side is the result */
    struct STRIDED_PARAMS p;
} strided_kernel;

static hwb_status run_strided(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel *base, const void *const *in,
                              void *const *out) {
    strided_kernel *k = (strided_kernel *)base;
    if (k->clear) HWB_CUDA_TRY(ctx, cudaMemsetAsync(out[0], 0, k->clear, s->stream));
    if (k->p.n == 0) return HWB_OK;
    k->p.src = (char *)(uintptr_t)in[0] + (k->scatter ? 0 : k->start);
    k->p.dst = (char *)out[0] + (k->scatter ? k->start : 0);
    return hwb__cuda_launch(ctx, s, k->f, k->grid, &k->p);
}

/* The walk of the dense side, with the strides of the other; its first element. */
static int64_t lay_out(const hwb_kdesc *d, hwb_shape *space, hwb__cuda_stride via) {
    const hwb_shape *x = &d->in[0].shape, *y = &d->out[0].shape;
    const bool pad = d->op == HWB_OP_PAD;
    hwb__cuda_stride s;
    int64_t start = 0;
    *space = pad ? *x : *y;
    hwb__cuda_strides(pad ? y : x, s);
    for (int i = 0; i < space->ndim; i++) {
        bool stepped = pad || d->op == HWB_OP_SLICE;
        via[i] =
            d->op == HWB_OP_PERMUTE ? s[d->attrs.perm[i]] : s[i] * (stepped ? d->attrs.step[i] : 1);
        if (stepped) start += d->attrs.lo[i] * s[i];
    }
    return start;
}

/* Elements that can be moved as one: up to 16 bytes, where the last axis, the other
 * strides and the beginning allow; the walk then counts in those. */
static int pack_of(hwb__cuda_walk *w, int64_t start, size_t size) {
    const int last = w->ndim - 1;
    for (int v = (int)(16 / size); v > 1 && last >= 0; v /= 2) {
        bool fits = w->stride[0][last] == 1 && w->dim[last] % v == 0 && start % v == 0;
        for (int d = 0; fits && d < last; d++) fits = w->stride[0][d] % v == 0;
        if (!fits) continue;
        w->dim[last] /= v;
        for (int d = 0; d < last; d++) w->stride[0][d] /= v;
        return v;
    }
    return 1;
}

static const char *unit_of(size_t size) {
    return size == 8 ? "u64" : size == 4 ? "u32" : "u8";
}

static void strided_text(hwb__cuda_text *t, strided_kernel *k, const hwb_kdesc *d) {
    const size_t size = hwb__cuda_size(d->out[0].dtype);
    const hwb_vdesc *all[] = {&d->in[0], &d->out[0]};
    const bool narrow = hwb__cuda_narrow(2, all);
    hwb_shape space;
    hwb__cuda_stride via[1];
    hwb__cuda_walk w;
    int64_t start = lay_out(d, &space, via[0]);
    k->scatter = d->op == HWB_OP_PAD;
    k->clear = k->scatter ? hwb__cuda_bytes(&d->out[0]) : 0;
    k->p.n = hwb__cuda_numel(&space);
    k->start = k->p.n > 0 ? (size_t)start * size : 0;
    hwb__cuda_walk_make(&w, &space, 1, via, NULL);
    const int v = pack_of(&w, start, size);
    k->p.n /= v;
    hwb__cuda_say(t,
                  "typedef struct %s params;\ntypedef %s I;\ntypedef pack<%s, %d> U;\n"
                  "extern \"C\" __global__ void __launch_bounds__(256) "
                  "hwb_kernel(const params p) {\n"
                  "for (I i = blockIdx.x * (I)256 + threadIdx.x; i < (I)p.n; "
                  "i += gridDim.x * (I)256) {\n",
                  HWB__CUDA_TEXT(STRIDED_PARAMS), narrow ? "u32" : "u64", unit_of(size), v);
    hwb__cuda_emit_offsets(t, &w, 0, 1, "i", "");
    hwb__cuda_say(t, "((U *)p.dst)[%s] = ((const U *)p.src)[%s];\n}\n}\n", k->scatter ? "b0" : "i",
                  k->scatter ? "i" : "b0");
}

static hwb_status prepare_strided(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel **out,
                                  const hwb_kdesc *d) {
    hwb__cuda_text t = {0};
    strided_kernel *k = hwb__cuda_kernel_new(sizeof(*k), "nvrtc:copy");
    if (!k) return hwb__cuda_oom(ctx);
    k->base.run = run_strided;
    strided_text(&t, k, d);
    hwb_status st = hwb__cuda_function(ctx, s, &k->f, "copy", &t);
    free(t.at);
    k->grid = hwb__cuda_grid_for(k->p.n, s->sms);
    if (st == HWB_OK) *out = &k->base;
    else free(k);
    return st;
}

/* ---- concat ------------------------------------------------------------------------------ */

enum { PARTS = 64 };

/* The result is [outer, row]; input j fills columns first[j]..first[j+1)-1. */
#define CONCAT_PARAMS                                                                              \
    {                                                                                              \
        void *in[64];                                                                              \
        i64 first[65];                                                                             \
        void *out;                                                                                 \
        i64 outer;                                                                                 \
        i64 row;                                                                                   \
        i64 parts;                                                                                 \
    }

typedef struct concat_kernel {
    hwb_kernel base;
    cudaKernel_t f;
    int n_in, sms;
    int64_t outer, row;
    int64_t *first; /* n_in + 1 */
    size_t size;    /* of an element */
} concat_kernel;

static const char CONCAT[] =
    "extern \"C\" __global__ void __launch_bounds__(256) hwb_kernel(const params p) {\n"
    "const i64 begin = p.first[0], width = p.first[p.parts] - begin;\n"
    "const i64 step = (i64)gridDim.x * 256, n = p.outer * width;\n"
    "for (i64 i = (i64)blockIdx.x * 256 + threadIdx.x; i < n; i += step) {\n"
    "    const i64 o = i / width, c = i - o * width + begin;\n"
    "    int low = 0, high = (int)p.parts;\n"
    "    while (high - low > 1) {\n"
    "        const int mid = (low + high) / 2;\n"
    "        if (p.first[mid] <= c) low = mid; else high = mid;\n"
    "    }\n"
    "    const i64 length = p.first[low + 1] - p.first[low];\n"
    "    ((T *)p.out)[o * p.row + c] = ((const T *)p.in[low])[o * length + c - p.first[low]];\n"
    "}\n}\n";

static bool in_place(const concat_kernel *k, const void *const *in, void *const *out, int j) {
    return k->outer == 1 && in[j] == (char *)out[0] + (size_t)k->first[j] * k->size;
}

static hwb_status run_concat(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel *base, const void *const *in,
                             void *const *out) {
    concat_kernel *k = (concat_kernel *)base;
    struct CONCAT_PARAMS p = {.out = out[0], .outer = k->outer, .row = k->row};
    for (int from = 0, n; from < k->n_in; from += n + !n) {
        for (n = 0; n < PARTS && from + n < k->n_in && !in_place(k, in, out, from + n); n++)
            p.in[n] = (void *)(uintptr_t)in[from + n];
        for (int j = 0; j <= n; j++) p.first[j] = k->first[from + j];
        p.parts = n;
        int64_t all = k->outer * (p.first[n] - p.first[0]);
        if (all > 0) HWB_TRY(hwb__cuda_launch(ctx, s, k->f, hwb__cuda_grid_for(all, k->sms), &p));
    }
    return HWB_OK;
}

static void free_concat(hwb__cuda *s, hwb_kernel *base) {
    (void)s;
    free(((concat_kernel *)base)->first);
}

static hwb_status prepare_concat(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel **out, const hwb_kdesc *d) {
    const hwb_shape *y = &d->out[0].shape;
    const int axis = d->attrs.axis;
    hwb__cuda_text t = {0};
    concat_kernel *k = hwb__cuda_kernel_new(sizeof(*k), "nvrtc:concat");
    if (!k || !(k->first = calloc((size_t)d->n_in + 1, sizeof(*k->first)))) {
        free(k);
        return hwb__cuda_oom(ctx);
    }
    k->base.run = run_concat;
    k->base.free = free_concat;
    k->n_in = d->n_in;
    k->sms = s->sms;
    k->outer = 1;
    k->size = hwb__cuda_size(d->out[0].dtype);
    int64_t inner = 1;
    for (int i = 0; i < axis; i++) k->outer *= y->dim[i];
    for (int i = axis + 1; i < y->ndim; i++) inner *= y->dim[i];
    k->row = y->dim[axis] * inner;
    for (int j = 0; j < d->n_in; j++)
        k->first[j + 1] = k->first[j] + d->in[j].shape.dim[axis] * inner;
    hwb__cuda_say(&t, "typedef struct %s params;\ntypedef %s T;\n%s", HWB__CUDA_TEXT(CONCAT_PARAMS),
                  unit_of(k->size), CONCAT);
    hwb_status st = hwb__cuda_function(ctx, s, &k->f, "concat", &t);
    free(t.at);
    if (st == HWB_OK) {
        *out = &k->base;
        return HWB_OK;
    }
    free(k->first);
    free(k);
    return st;
}

/* ---- the family ------------------------------------------------------------------------------ */

static bool data_supports(const hwb_kdesc *d) {
    return d->op == HWB_OP_PERMUTE || d->op == HWB_OP_BROADCAST || d->op == HWB_OP_SLICE ||
           d->op == HWB_OP_PAD || d->op == HWB_OP_CONCAT;
}

static hwb_status data_prepare(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel **out, const hwb_kdesc *d) {
    if (d->op == HWB_OP_CONCAT) return prepare_concat(ctx, s, out, d);
    return prepare_strided(ctx, s, out, d);
}

const hwb__cuda_family hwb__cuda_copy = {copy_supports, copy_prepare};
const hwb__cuda_family hwb__cuda_data = {data_supports, data_prepare};
