/*
 * cuda_index.c: gather and its transpose, over a table seen as [outer, rows, inner].
 *
 *     gather        y[o,i,:] = x[o,index[i],:]
 *     scatter_add   y[o,r,:] = sum of u[o,i,:] over the i with index[i] = r
 *
 * scatter_add takes no atomics: a first kernel sorts the picks by (row, i), each
 * finding its place by counting those before it; a second lets the first pick of
 * every row add up the row's run, in double and in the order of i.
 *
 * An index out of range is reported when a result is fetched (cuda_fault.c); the rest of
 * the kernel is unharmed.
 */
#include "cuda_group_i.h"

#include <stdlib.h>

#define INDEX_PARAMS                                                                               \
    {                                                                                              \
        void *x;                                                                                   \
        void *y;                                                                                   \
        void *index;                                                                               \
        void *place;                                                                               \
        void *key;                                                                                 \
        void *fault;                                                                               \
        i64 outer;                                                                                 \
        i64 picks;                                                                                 \
        i64 id;                                                                                    \
    }

typedef struct index_kernel {
    hwb_kernel base;
    cudaKernel_t f, sort;
    size_t bytes; /* of the result */
    int64_t rows, inner;
    bool scatter;
    struct INDEX_PARAMS p;
} index_kernel;

/* ROWS and INNER are constants of the text. */
#define HEAD                                                                                       \
    "extern \"C\" __global__ void __launch_bounds__(256) hwb_kernel(const params p) {\n"           \
    "const I first = blockIdx.x * (I)256 + threadIdx.x, step = gridDim.x * (I)256;\n"              \
    "const I picks = (I)p.picks, n = (I)p.outer * picks * INNER;\n"

static const char GATHER[] =
    HEAD "for (I t = first; t < n; t += step) {\n"
         "    const I c = t % INNER, u = t / INNER, i = u % picks, o = u / picks;\n"
         "    const i64 row = (i64)((const X *)p.index)[i];\n"
         "    const bool good = row >= 0 && row < ROWS;\n"
         "    if (!good) f_fault(p.fault, p.id, i, row);\n"
         "    ((T *)p.y)[t] = good ? ((const T *)p.x)[(o * (I)ROWS + (I)row) * INNER + c] : (T)0;\n"
         "}\n}\n";

static const char SORT[] = HEAD "for (I i = first; i < picks && n > 0; i += step) {\n"
                                "    const i64 row = (i64)((const X *)p.index)[i];\n"
                                "    I before = 0;\n"
                                "    for (I j = 0; j < picks; j++) {\n"
                                "        const i64 other = (i64)((const X *)p.index)[j];\n"
                                "        before += other < row || (other == row && j < i);\n"
                                "    }\n"
                                "    if (row < 0 || row >= ROWS) f_fault(p.fault, p.id, i, row);\n"
                                "    ((i64 *)p.key)[before] = row;\n"
                                "    ((i64 *)p.place)[before] = i;\n"
                                "}\n}\n";

static const char SCATTER[] =
    HEAD "const i64 *key = (const i64 *)p.key, *place = (const i64 *)p.place;\n"
         "for (I t = first; t < n; t += step) {\n"
         "    const I c = t % INNER, u = t / INNER, q = u % picks, o = u / picks;\n"
         "    const i64 row = key[q];\n"
         "    if (row < 0 || row >= ROWS || (q > 0 && key[q - 1] == row)) continue;\n"
         "    A sum = 0;\n"
         "    for (I j = q; j < picks && key[j] == row; j++)\n"
         "        sum += (A)((const T *)p.x)[(o * picks + (I)place[j]) * INNER + c];\n"
         "    ((T *)p.y)[(o * (I)ROWS + (I)row) * INNER + c] = (T)sum;\n"
         "}\n}\n";

static hwb_status run(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel *base, const void *const *in,
                      void *const *out) {
    index_kernel *k = (index_kernel *)base;
    const int64_t n = k->p.outer * k->p.picks * k->inner;
    k->p.x = (void *)(uintptr_t)in[0];
    k->p.index = (void *)(uintptr_t)in[1];
    k->p.y = out[0];
    k->p.fault = s->fault;
    k->p.key = s->scratch;
    k->p.place = (int64_t *)s->scratch + k->p.picks;
    if (k->scatter && k->bytes) HWB_CUDA_TRY(ctx, cudaMemsetAsync(out[0], 0, k->bytes, s->stream));
    if (n == 0) return HWB_OK;
    if (k->scatter)
        HWB_TRY(hwb__cuda_launch(ctx, s, k->sort, hwb__cuda_grid_for(k->p.picks, s->sms), &k->p));
    return hwb__cuda_launch(ctx, s, k->f, hwb__cuda_grid_for(n, s->sms), &k->p);
}

static hwb_status compile(hwb_ctx *ctx, hwb__cuda *s, cudaKernel_t *f, const index_kernel *k,
                          const hwb_kdesc *d, const char *name, const char *body) {
    const hwb_vdesc *all[] = {&d->in[0], &d->in[1], &d->out[0]};
    hwb__cuda_text t = {0};
    const bool real = hwb__cuda_is_float(d->out[0].dtype);
    hwb__cuda_say(&t,
                  "typedef struct %s params;\ntypedef %s T;\ntypedef %s X;\ntypedef %s A;\n"
                  "typedef %s I;\n#define ROWS (i64)%lld\n#define INNER (I)%lld\n%s",
                  HWB__CUDA_TEXT(INDEX_PARAMS), hwb__cuda_type(d->out[0].dtype),
                  hwb__cuda_type(d->in[1].dtype), real ? "double" : "u64",
                  hwb__cuda_narrow(3, all) ? "u32" : "u64", (long long)k->rows,
                  (long long)(k->inner ? k->inner : 1), body);
    hwb_status st = hwb__cuda_function(ctx, s, f, name, &t);
    free(t.at);
    return st;
}

static bool supports(const hwb_kdesc *d) {
    return d->op == HWB_OP_GATHER || d->op == HWB_OP_SCATTER_ADD;
}

static hwb_status prepare(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel **out, const hwb_kdesc *d) {
    const bool scatter = d->op == HWB_OP_SCATTER_ADD;
    const hwb_shape *table = scatter ? &d->out[0].shape : &d->in[0].shape;
    index_kernel *k = hwb__cuda_kernel_new(sizeof(*k), scatter ? "nvrtc:scatter" : "nvrtc:gather");
    if (!k) return hwb__cuda_oom(ctx);
    k->base.run = run;
    k->scatter = scatter;
    k->bytes = hwb__cuda_bytes(&d->out[0]);
    k->p.outer = k->inner = 1;
    k->rows = table->dim[d->attrs.axis];
    k->p.picks = hwb__cuda_numel(&d->in[1].shape);
    for (int i = 0; i < d->attrs.axis; i++) k->p.outer *= table->dim[i];
    for (int i = d->attrs.axis + 1; i < table->ndim; i++) k->inner *= table->dim[i];
    hwb_status st = hwb__cuda_fault_source(ctx, s, d, k->rows, &k->p.id);
    if (st == HWB_OK)
        st = compile(ctx, s, &k->f, k, d, k->base.name + 6, scatter ? SCATTER : GATHER);
    if (st == HWB_OK && scatter) st = compile(ctx, s, &k->sort, k, d, "sort", SORT);
    if (st == HWB_OK && scatter)
        st = hwb__cuda_scratch(ctx, s, 2 * sizeof(int64_t) * (size_t)k->p.picks);
    if (st == HWB_OK) *out = &k->base;
    else free(k);
    return st;
}

const hwb__cuda_family hwb__cuda_index = {supports, prepare};
