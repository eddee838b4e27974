/*
 * cuda_pool.c: pooling.  With h = p*stride - pad + r*dilation,
 *
 *   AVGPOOL        y[p,q] = 1/(kh kw) sum_{r,s} x[h,w]   zeros outside
 *   AVGPOOL_BWD    x[h,w] = 1/(kh kw) sum of the y[p,q] whose window covers it
 *   MAXPOOL_INDEX  i[p,q] = h*W + w of the window's first maximum; NaN is the largest
 *   POOL_GATHER    y[p,q] = x[i[p,q]]
 *   POOL_SCATTER   x[h,w] = sum of the y[p,q] with i[p,q] = h*W + w
 *
 * One thread an element of the result, in the order it lies in memory; sums in double.
 * POOL_SCATTER looks, for every pixel, at the windows that cover it: nothing is written
 * twice, no atomics, the same bits always.  Without a window (attrs.kernel is 0: the
 * indices may be any) one thread goes through a plane of y in order.
 *
 * Memory bounds all of these.  cuDNN's pooling keeps no index, so that its adjoint reads
 * x and y again and a second derivative has nothing to gather by; and which of equal
 * elements it takes is not documented.  Sizes are constants of the text.
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
        i64 id;                                                                                    \
    }

typedef struct pool_kernel {
    hwb_kernel base;
    cudaKernel_t f;
    hwb__cuda_grid grid;
    bool indexed;
    size_t clear;
    struct POOL_PARAMS p;
} pool_kernel;

static hwb_status run(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel *base, const void *const *in,
                      void *const *out) {
    pool_kernel *k = (pool_kernel *)base;
    if (k->clear) HWB_CUDA_TRY(ctx, cudaMemsetAsync(out[0], 0, k->clear, s->stream));
    if (k->p.n == 0) return HWB_OK;
    k->p.in = (void *)(uintptr_t)in[0];
    k->p.index = k->indexed ? (void *)(uintptr_t)in[1] : NULL;
    k->p.out = out[0];
    k->p.fault = s->fault;
    return hwb__cuda_launch(ctx, s, k->f, k->grid, &k->p);
}

/* ---- device code ------------------------------------------------------------------- */

/* Pixel (a, b), channel c and image i (K times N of them) of element t of the operand
 * named m, in the order of memory; m##C and the like are constants. */
#define SPLIT_LAST                                                                                 \
    "#define SPLIT(m) const I c = t % m##C, u1 = t / m##C, u2 = u1 / m##W, u3 = u2 / m##H; \\\n"   \
    "    const int b = (int)(u1 % m##W), a = (int)(u2 % m##H); const I i = u3;\n"
#define SPLIT_FIRST                                                                                \
    "#define SPLIT(m) const I u1 = t / m##W, u2 = u1 / m##H, c = u2 % m##C, u3 = u2 / m##C; \\\n"  \
    "    const int b = (int)(t % m##W), a = (int)(u1 % m##H); const I i = u3;\n"

/* Element (a, b) of channel c, image i of an image of constants m. */
#define PLACE_LAST "#define PLACE(m, i, c, a, b) ((((i) * m##H + (a)) * m##W + (b)) * m##C + (c))\n"
#define PLACE_FIRST                                                                                \
    "#define PLACE(m, i, c, a, b) ((((i) * m##C + (c)) * m##H + (a)) * m##W + (b))\n"

#define HEAD                                                                                       \
    "extern \"C\" __global__ void __launch_bounds__(256) hwb_kernel(const params p) {\n"           \
    "for (I t = blockIdx.x * (I)256 + threadIdx.x; t < (I)p.n; t += gridDim.x * (I)256) {\n"

/* The taps (h, w) of window (a, b) that are inside x. */
#define WINDOW                                                                                     \
    "#pragma unroll UH\nfor (int r = 0; r < KH; r++) {\n"                                          \
    "const int h = a * SH - PH + r * DH;\n"                                                        \
    "if (h < 0 || h >= XH) continue;\n"                                                            \
    "#pragma unroll UW\nfor (int s = 0; s < KW; s++) {\n"                                          \
    "const int w = b * SW - PW + s * DW;\n"                                                        \
    "if (w < 0 || w >= XW) continue;\n"

/* The windows (q, v) of y that cover pixel (a, b). */
#define COVERING                                                                                   \
    "#pragma unroll UH\nfor (int r = KH - 1; r >= 0; r--) {\n"                                     \
    "const int top = a + PH - r * DH, q = top / SH;\n"                                             \
    "if (top < 0 || q * SH != top || q >= YH) continue;\n"                                         \
    "#pragma unroll UW\nfor (int s = KW - 1; s >= 0; s--) {\n"                                     \
    "const int left = b + PW - s * DW, v = left / SW;\n"                                           \
    "if (left < 0 || v * SW != left || v >= YW) continue;\n"

static const char AVGPOOL[] =
    HEAD "SPLIT(Y)\ndouble sum = 0;\n" WINDOW
         "sum += (double)((const T *)p.in)[PLACE(X, i, c, h, w)];\n}\n}\n"
         "((T *)p.out)[t] = (T)(sum / ((double)KH * (double)KW));\n}\n}\n";

static const char AVGPOOL_BWD[] =
    HEAD "SPLIT(X)\ndouble sum = 0;\n" COVERING
         "sum += (double)((const T *)p.in)[PLACE(Y, i, c, q, v)];\n}\n}\n"
         "((T *)p.out)[t] = (T)(sum / ((double)KH * (double)KW));\n}\n}\n";

static const char MAXPOOL[] =
    HEAD "SPLIT(Y)\nT top = 0; int best = -1;\n" WINDOW
         "const T v = ((const T *)p.in)[PLACE(X, i, c, h, w)];\n"
         "if (best >= 0 && !(v > top) && !(v != v && top == top)) continue;\n"
         "best = h * XW + w; top = v;\n}\n}\n"
         "((int *)p.out)[t] = best;\n}\n}\n";

static const char POOL_GATHER[] =
    HEAD "SPLIT(Y)\nconst I e = PLACE(Y, IMAGE(i), c, a, b);\n"
         "const i64 at = (i64)((const X *)p.index)[e];\n"
         "const bool good = at >= 0 && at < (i64)XH * XW;\n"
         "if (!good) f_fault(p.fault, p.id, e, at);\n"
         "((T *)p.out)[t] = good ? ((const T *)p.in)[PLACE(X, i, c, (I)at / XW, "
         "(I)at % XW)] : (T)0;\n}\n}\n";

/* y and the index are read by as many threads as a window has pixels, side by side */
static const char POOL_SCATTER[] =
    HEAD "SPLIT(X)\nconst i64 here = (i64)a * XW + b; double sum = 0;\n" COVERING
         "if ((i64)((const X *)p.index)[PLACE(Y, IMAGE(i), c, q, v)] == here)\n"
         "    sum += (double)((const T *)p.in)[PLACE(Y, i, c, q, v)];\n}\n}\n"
         "((T *)p.out)[t] = (T)sum;\n}\n}\n";

/* t is a plane: c fastest, so that channels-last planes are read side by side */
static const char SCATTER_ANY[] =
    HEAD "const I c = t % XC, i = t / XC;\n"
         "for (int a = 0; a < YH; a++)\n"
         "for (int b = 0; b < YW; b++) {\n"
         "    const I e = PLACE(Y, IMAGE(i), c, a, b);\n"
         "    const i64 at = (i64)((const X *)p.index)[e];\n"
         "    if (at < 0 || at >= (i64)XH * XW) { f_fault(p.fault, p.id, e, at); continue; }\n"
         "    ((T *)p.out)[PLACE(X, i, c, (I)at / XW, (I)at % XW)] += "
         "((const T *)p.in)[PLACE(Y, i, c, a, b)];\n"
         "}\n}\n}\n";

static const char *body_of(const hwb_kdesc *d) {
    switch (d->op) {
    case HWB_OP_AVGPOOL: return AVGPOOL;
    case HWB_OP_AVGPOOL_BWD: return AVGPOOL_BWD;
    case HWB_OP_MAXPOOL_INDEX: return MAXPOOL;
    case HWB_OP_POOL_GATHER: return POOL_GATHER;
    case HWB_OP_POOL_SCATTER: return d->attrs.kernel[0] > 0 ? POOL_SCATTER : SCATTER_ANY;
    default: return NULL;
    }
}

/* ---- preparing ----------------------------------------------------------------------- */

static bool supports(const hwb_kdesc *d) {
    if (!body_of(d)) return false;
    for (int i = 0; i < d->n_in; i++) /* coordinates are ints */
        for (int j = 0; j < d->in[i].shape.ndim; j++)
            if (d->in[i].shape.dim[j] > INT32_MAX / 4) return false;
    return true;
}

/* "enum { XC = .., XH = .., XW = .. };" */
static void say_image(hwb__cuda_text *t, char name, const hwb__cuda_image *m) {
    hwb__cuda_say(t, "enum { %cC = %lld, %cH = %lld, %cW = %lld };\n", name,
                  (long long)(m->c ? m->c : 1), name, (long long)(m->h ? m->h : 1), name,
                  (long long)(m->w ? m->w : 1)); /* nothing runs where one is 0 */
}

/* The index has no K: its image is that of i within one run of N. */
static void text_of(hwb__cuda_text *t, const hwb_kdesc *d, const hwb__cuda_image *x,
                    const hwb__cuda_image *y) {
    const hwb_vdesc *all[] = {&d->in[0], &d->out[0]};
    const hwb_attrs *a = &d->attrs;
    const bool last = a->channels_last != 0;
    const bool unrolls = (int64_t)a->kernel[0] * a->kernel[1] <= 16;
    say_image(t, 'X', x);
    say_image(t, 'Y', y);
    hwb__cuda_say(t, "#define UH %d\n#define UW %d\n", unrolls ? a->kernel[0] : 1,
                  unrolls ? a->kernel[1] : 1);
    hwb__cuda_say(t,
                  "enum { KH = %d, KW = %d, SH = %d, SW = %d, PH = %d, PW = %d, DH = %d, DW = %d };"
                  "\ntypedef struct %s params;\ntypedef %s T;\ntypedef %s X;\ntypedef %s I;\n",
                  a->kernel[0], a->kernel[1], a->stride[0], a->stride[1], a->pad_lo[0],
                  a->pad_lo[1], a->dilation[0], a->dilation[1], HWB__CUDA_TEXT(POOL_PARAMS),
                  hwb__cuda_type(d->in[0].dtype),
                  d->n_in > 1 ? hwb__cuda_type(d->in[1].dtype) : "int",
                  hwb__cuda_narrow(2, all) ? "u32" : "u64");
    if (x->k > 1) hwb__cuda_say(t, "#define IMAGE(i) ((i) %% %lld)\n", (long long)x->n);
    else hwb__cuda_say(t, "#define IMAGE(i) (i)\n");
    hwb__cuda_say(t, "%s%s%s", last ? SPLIT_LAST : SPLIT_FIRST, last ? PLACE_LAST : PLACE_FIRST,
                  body_of(d));
}

static hwb_status prepare(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel **out, const hwb_kdesc *d) {
    const bool last = d->attrs.channels_last != 0;
    const bool up = d->op == HWB_OP_AVGPOOL_BWD || d->op == HWB_OP_POOL_SCATTER;
    const hwb__cuda_image x = hwb__cuda_image_of(&d->in[0].shape, last),
                          y = hwb__cuda_image_of(&d->out[0].shape, last);
    hwb__cuda_text t = {0};
    pool_kernel *k = hwb__cuda_kernel_new(sizeof(*k), "nvrtc:pool");
    if (!k) return hwb__cuda_oom(ctx);
    k->base.run = run;
    k->indexed = d->n_in > 1;
    k->p.n = hwb__cuda_numel(&d->out[0].shape);
    if (body_of(d) == SCATTER_ANY) {
        k->p.n = y.k * y.n * y.c;
        k->clear = hwb__cuda_bytes(&d->out[0]);
    }
    hwb_status st = HWB_OK;
    if (k->indexed) st = hwb__cuda_fault_source(ctx, s, d, y.h * y.w, &k->p.id);
    if (st == HWB_OK) {
        text_of(&t, d, up ? &y : &x, up ? &x : &y);
        st = hwb__cuda_function(ctx, s, &k->f, "pool", &t);
    }
    free(t.at);
    k->grid = hwb__cuda_grid_for(k->p.n, s->sms);
    if (st == HWB_OK) *out = &k->base;
    else free(k);
    return st;
}

const hwb__cuda_family hwb__cuda_pool_ops = {supports, prepare};
