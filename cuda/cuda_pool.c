/*
 * cuda_pool.c: pooling.  With h = p*stride - pad + r*dilation,
 *
 *   AVGPOOL        y[p,q] = 1/(kh kw) sum_{r,s} x[h,w]   zeros outside
 *   AVGPOOL_BWD    x[h,w] = 1/(kh kw) sum of the y[p,q] whose window covers it
 *   MAXPOOL_INDEX  i[p,q] = h*W + w of the window's first maximum; NaN is the largest
 *   POOL_GATHER    y[p,q] = x[i[p,q]]
 *   POOL_SCATTER   x[i[p,q]] += y[p,q]
 *
 * One thread an element of the result, in the order it lies in memory; sums in
 * double.  POOL_SCATTER, whose windows may overlap anywhere, has one thread a plane
 * instead, which adds in the order of p,q: slower than atomics, the same bits always.
 * Memory bounds all of these; cuDNN's pooling has no index and would gain nothing.
 */
#include "cuda_image_i.h"

#include <stdlib.h>

#define POOL_PARAMS                                                                                \
    {                                                                                              \
        void *in;                                                                                  \
        void *index;                                                                               \
        void *out;                                                                                 \
        void *fault;                                                                               \
        i64 n;                                                                                     \
        image x;                                                                                   \
        image y;                                                                                   \
        image i;                                                                                   \
        window w;                                                                                  \
    }
typedef hwb__cuda_image image;
typedef hwb__cuda_window window;

typedef struct pool_kernel {
    hwb_kernel base;
    cudaKernel_t f;
    hwb__cuda_grid grid;
    size_t clear;
    struct POOL_PARAMS p;
} pool_kernel;

static hwb_status run(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel *base, const void *const *in,
                      void *const *out) {
    pool_kernel *k = (pool_kernel *)base;
    if (k->clear) HWB_CUDA_TRY(ctx, cudaMemsetAsync(out[0], 0, k->clear, s->stream));
    if (k->p.n == 0) return HWB_OK;
    k->p.in = (void *)(uintptr_t)in[0];
    k->p.index = k->p.i.n ? (void *)(uintptr_t)in[1] : NULL;
    k->p.out = out[0];
    k->p.fault = s->fault;
    return hwb__cuda_launch(ctx, s, k->f, k->grid, &k->p);
}

/* Coordinates of element t of image m, in the order of memory. */
#define SPLIT_LAST                                                                                 \
    "#define SPLIT(m) I c = t % (I)m.c, b = t % (I)m.w, a, n, k; \\\n"                             \
    "    { I u = t / (I)m.c; b = u % (I)m.w; u /= (I)m.w; a = u % (I)m.h; u /= (I)m.h; \\\n"       \
    "      n = u % (I)m.n; k = u / (I)m.n; }\n"
#define SPLIT_FIRST                                                                                \
    "#define SPLIT(m) I c, b = t % (I)m.w, a, n, k; \\\n"                                          \
    "    { I u = t / (I)m.w; a = u % (I)m.h; u /= (I)m.h; c = u % (I)m.c; u /= (I)m.c; \\\n"       \
    "      n = u % (I)m.n; k = u / (I)m.n; }\n"

#define HEAD                                                                                       \
    "extern \"C\" __global__ void __launch_bounds__(256) hwb_kernel(const params p) {\n"           \
    "for (I t = blockIdx.x * (I)256 + threadIdx.x; t < (I)p.n; t += gridDim.x * (I)256) {\n"

#define WINDOW                                                                                     \
    "for (i64 r = 0; r < p.w.kernel[0]; r++) {\n"                                                  \
    "const i64 h = (i64)a * p.w.stride[0] - p.w.pad[0] + r * p.w.dilation[0];\n"                   \
    "if (h < 0 || h >= p.x.h) continue;\n"                                                         \
    "for (i64 s = 0; s < p.w.kernel[1]; s++) {\n"                                                  \
    "const i64 w = (i64)b * p.w.stride[1] - p.w.pad[1] + s * p.w.dilation[1];\n"                   \
    "if (w < 0 || w >= p.x.w) continue;\n"

static const char AVGPOOL[] =
    HEAD "SPLIT(p.y)\n"
         "const T *x = (const T *)p.in + k * p.x.sk + n * p.x.sn + c * p.x.sc;\n"
         "double sum = 0;\n" WINDOW "sum += (double)x[h * p.x.sh + w * p.x.sw];\n}\n}\n"
         "((T *)p.out)[t] = (T)(sum / ((double)p.w.kernel[0] * (double)p.w.kernel[1]));\n}\n}\n";

static const char MAXPOOL[] =
    HEAD "SPLIT(p.y)\n"
         "const T *x = (const T *)p.in + k * p.x.sk + n * p.x.sn + c * p.x.sc;\n"
         "T top = 0; i64 best = -1;\n" WINDOW "const T v = x[h * p.x.sh + w * p.x.sw];\n"
         "if (best >= 0 && !(v > top) && !(v != v && top == top)) continue;\n"
         "best = h * p.x.w + w; top = v;\n}\n}\n"
         "((int *)p.out)[t] = (int)best;\n}\n}\n";

static const char AVGPOOL_BWD[] =
    HEAD "SPLIT(p.x)\n"
         "const T *y = (const T *)p.in + k * p.y.sk + n * p.y.sn + c * p.y.sc;\n"
         "double sum = 0;\n"
         "for (i64 r = 0; r < p.w.kernel[0]; r++) {\n"
         "const i64 u = (i64)a + p.w.pad[0] - r * p.w.dilation[0], i = u / p.w.stride[0];\n"
         "if (u < 0 || i * p.w.stride[0] != u || i >= p.y.h) continue;\n"
         "for (i64 s = 0; s < p.w.kernel[1]; s++) {\n"
         "const i64 v = (i64)b + p.w.pad[1] - s * p.w.dilation[1], j = v / p.w.stride[1];\n"
         "if (v < 0 || j * p.w.stride[1] != v || j >= p.y.w) continue;\n"
         "sum += (double)y[i * p.y.sh + j * p.y.sw];\n}\n}\n"
         "((T *)p.out)[t] = (T)(sum / ((double)p.w.kernel[0] * (double)p.w.kernel[1]));\n}\n}\n";

static const char POOL_GATHER[] =
    HEAD "SPLIT(p.y)\n"
         "const T *x = (const T *)p.in + k * p.x.sk + n * p.x.sn + c * p.x.sc;\n"
         "const i64 e = n * p.i.sn + c * p.i.sc + a * p.i.sh + b * p.i.sw;\n"
         "const i64 at = (i64)((const X *)p.index)[e];\n"
         "const bool good = at >= 0 && at < p.x.h * p.x.w;\n"
         "if (!good) *(i64 *)p.fault = e + 1;\n"
         "((T *)p.out)[t] = good ? x[at / p.x.w * p.x.sh + at % p.x.w * p.x.sw] : (T)0;\n}\n}\n";

/* t is a plane: c fastest, so that channels-last planes are read side by side */
static const char POOL_SCATTER[] =
    HEAD "const i64 c = t % (I)p.x.c, n = t / (I)p.x.c % (I)p.x.n, k = t / (I)p.x.c / (I)p.x.n;\n"
         "T *x = (T *)p.out + k * p.x.sk + n * p.x.sn + c * p.x.sc;\n"
         "const T *y = (const T *)p.in + k * p.y.sk + n * p.y.sn + c * p.y.sc;\n"
         "for (i64 a = 0; a < p.y.h; a++)\n"
         "for (i64 b = 0; b < p.y.w; b++) {\n"
         "    const i64 e = n * p.i.sn + c * p.i.sc + a * p.i.sh + b * p.i.sw;\n"
         "    const i64 at = (i64)((const X *)p.index)[e];\n"
         "    if (at < 0 || at >= p.x.h * p.x.w) { *(i64 *)p.fault = e + 1; continue; }\n"
         "    x[at / p.x.w * p.x.sh + at % p.x.w * p.x.sw] += y[a * p.y.sh + b * p.y.sw];\n"
         "}\n}\n}\n";

static const char *body_of(hwb_op op) {
    switch (op) {
    case HWB_OP_AVGPOOL: return AVGPOOL;
    case HWB_OP_AVGPOOL_BWD: return AVGPOOL_BWD;
    case HWB_OP_MAXPOOL_INDEX: return MAXPOOL;
    case HWB_OP_POOL_GATHER: return POOL_GATHER;
    case HWB_OP_POOL_SCATTER: return POOL_SCATTER;
    default: return NULL;
    }
}

static bool supports(const hwb_kdesc *d) {
    return body_of(d->op) != NULL;
}

static void fill_params(pool_kernel *k, const hwb_kdesc *d) {
    const bool last = d->attrs.channels_last != 0;
    const bool up = d->op == HWB_OP_AVGPOOL_BWD || d->op == HWB_OP_POOL_SCATTER;
    const hwb_shape *in = &d->in[0].shape, *out = &d->out[0].shape;
    k->p.x = hwb__cuda_image_of(up ? out : in, last);
    k->p.y = hwb__cuda_image_of(up ? in : out, last);
    k->p.w = hwb__cuda_window_of(&d->attrs);
    if (d->n_in > 1) k->p.i = hwb__cuda_image_of(&d->in[1].shape, last);
    k->p.n = hwb__cuda_numel(out);
    if (d->op != HWB_OP_POOL_SCATTER) return;
    k->p.n = k->p.x.k * k->p.x.n * k->p.x.c;
    k->clear = hwb__cuda_bytes(&d->out[0]);
}

static hwb_status prepare(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel **out, const hwb_kdesc *d) {
    const hwb_vdesc *all[] = {&d->in[0], &d->out[0]};
    hwb__cuda_text t = {0};
    pool_kernel *k = hwb__cuda_kernel_new(sizeof(*k), "nvrtc:pool");
    if (!k) return hwb__cuda_oom(ctx);
    k->base.run = run;
    fill_params(k, d);
    hwb__cuda_say(&t,
                  "typedef struct %s image;\ntypedef struct %s window;\ntypedef struct %s params;\n"
                  "typedef %s T;\ntypedef %s X;\ntypedef %s I;\n%s%s",
                  HWB__CUDA_TEXT(HWB__CUDA_IMAGE), HWB__CUDA_TEXT(HWB__CUDA_WINDOW),
                  HWB__CUDA_TEXT(POOL_PARAMS), hwb__cuda_type(d->in[0].dtype),
                  d->n_in > 1 ? hwb__cuda_type(d->in[1].dtype) : "int",
                  hwb__cuda_narrow(2, all) ? "u32" : "u64",
                  d->attrs.channels_last ? SPLIT_LAST : SPLIT_FIRST, body_of(d->op));
    hwb_status st = hwb__cuda_function(ctx, s, &k->f, "pool", &t);
    free(t.at);
    k->grid = hwb__cuda_grid_for(k->p.n, s->sms);
    if (st == HWB_OK) *out = &k->base;
    else free(k);
    return st;
}

const hwb__cuda_family hwb__cuda_pool_ops = {supports, prepare};
