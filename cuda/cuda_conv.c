/*
 * cuda_conv.c: the convolution trio in float32 by cuDNN.
 *
 *     y = conv(x, w)    x = conv_bwd_data(y, w)    w = conv_bwd_weights(x, y)
 *
 * Images are channels-last, so cuDNN wants weights as [O,h,w,C]; ours lie as
 * [O,C,h,w].  Weights that stay the same over many runs are packed once and again
 * when their version changes; others go through scratch in every run, and a weight
 * gradient comes back the same way.  1x1 weights are the same in both orders.
 *
 * In bf16 cuDNN takes all three operands in bf16 and adds in float32: the inputs are
 * rounded into scratch, and the result, rounded to bf16 by cuDNN, is widened from there;
 * what it is added to stays float32.  That is bf16 in and out, as other frameworks'
 * automatic casting has it.
 *
 * Where cuDNN has no algorithm, or the padding is lopsided, the answer is
 * HWB_EUNSUPPORTED and cuda_conv_gemm.c takes the convolution.  It also does when cuDNN
 * refuses only as the convolution first runs, and no other algorithm of its will.
 */
#include "cuda_conv_i.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 256 };

/* An operand's copy as cuDNN wants it; f is NULL where it lies right as it is. */
typedef struct stage {
    cudaKernel_t f;
    size_t offset; /* in scratch */
    int64_t n;     /* elements, or packs of four */
} stage;

typedef struct dnn_kernel {
    hwb_kernel base;
    hwb__cuda_trio c;
    hwb__cuda_dnn_conv q;
    stage staged[3]; /* x, w, y */
    size_t offset;   /* of the workspace, behind the copies in scratch */
    int size;        /* bytes of an element as cuDNN sees it */
    void *packed;    /* of stable weights */
    uint64_t version;
    bool fresh; /* packed holds `version` */
    bool ran;   /* cuDNN has done it */
    hwb_kernel *instead;
    hwb_kdesc d; /* for that one */
    hwb_vdesc v[4];
} dnn_kernel;

/* ---- the trio (also cuda_conv_gemm.c) ----------------------------------------------- */

hwb__cuda_trio hwb__cuda_trio_of(const hwb_kdesc *d) {
    hwb__cuda_trio c = {.op = d->op, .last = d->attrs.channels_last != 0, .add = d->n_in > 2};
    const hwb_shape *s[3] = {&d->in[0].shape, &d->in[1].shape, &d->out[0].shape};
    static const int places[3][3] = {{0, 1, 2}, {2, 1, 0}, {0, 2, 1}}; /* x, w, y */
    for (int i = 0; i < 3; i++) c.at[i] = places[d->op - HWB_OP_CONV][i];
    c.x = hwb__cuda_image_of(s[c.at[0]], c.last);
    c.w = hwb__cuda_image_of(s[c.at[1]], false);
    c.y = hwb__cuda_image_of(s[c.at[2]], c.last);
    c.window = hwb__cuda_window_of(&d->attrs);
    c.window.kernel[0] = c.w.h;
    c.window.kernel[1] = c.w.w;
    c.groups = d->attrs.groups;
    c.f64 = d->out[0].dtype == HWB_F64;
    c.bytes = hwb__cuda_bytes(&d->out[0]);
    c.turns = s[2]->ndim == 5 ? s[2]->dim[0] : 1;
    if (c.op != HWB_OP_CONV_BWD_WEIGHTS && !c.w.sk) { /* K images at once */
        c.x.n *= c.x.k;
        c.y.n *= c.y.k;
        c.x.k = c.y.k = 1;
        c.turns = 1;
    }
    return c;
}

static const hwb__cuda_image *image_of(const hwb__cuda_trio *c, int operand) {
    return operand == 0 ? &c->x : operand == 1 ? &c->w : &c->y;
}

void *hwb__cuda_trio_operand(const hwb__cuda_trio *c, int operand, int64_t t, const void *const *in,
                             void *const *out) {
    const void *p = c->at[operand] == 2 ? out[0] : in[c->at[operand]];
    return (char *)(uintptr_t)p + t * image_of(c, operand)->sk * (c->f64 ? 8 : 4);
}

hwb_status hwb__cuda_trio_add(hwb_ctx *ctx, hwb__cuda *s, const hwb__cuda_trio *c,
                              const void *const *in, void *const *out) {
    if (!c->add || in[2] == out[0]) return HWB_OK;
    return hwb__cuda_mem_copy(ctx, s, out[0], in[2], c->bytes);
}

/* ---- copies of operands ----------------------------------------------------------------- */

#define STAGE_PARAMS                                                                               \
    {                                                                                              \
        void *from;                                                                                \
        void *to;                                                                                  \
        void *add;                                                                                 \
        i64 n;                                                                                     \
    }

#define HEAD                                                                                       \
    "extern \"C\" __global__ void __launch_bounds__(256) hwb_kernel(const params p) {\n"           \
    "for (i64 i = (i64)blockIdx.x * 256 + threadIdx.x; i < p.n; i += (i64)gridDim.x * 256) {\n"

/* F and T are the types of `from` and `to`, TO(x) converts.  Weights: rows of [C,TAPS] to
 * rows of [TAPS,C] ... */
static const char PACK[] =
    HEAD "const i64 c = i % C, t = i / C % TAPS, row = i / C / TAPS;\n"
         "((T *)p.to)[i] = TO(((const F *)p.from)[(row * C + c) * TAPS + t]);\n}\n}\n";

/* ... and back, with `add` where there is one. */
static const char UNPACK[] = HEAD "const i64 t = i % TAPS, c = i / TAPS % C, row = i / TAPS / C;\n"
                                  "T x = TO(((const F *)p.from)[(row * TAPS + t) * C + c]);\n"
                                  "if (p.add) x += ((const T *)p.add)[i];\n"
                                  "((T *)p.to)[i] = x;\n}\n}\n";

/* In their order, V at a time. */
static const char CONVERT[] =
    HEAD "const pack<F, V> x = ((const pack<F, V> *)p.from)[i];\n"
         "pack<T, V> y;\n"
         "#pragma unroll\nfor (int e = 0; e < V; e++) y.at[e] = TO(x.at[e]);\n"
         "if (p.add) {\nconst pack<T, V> z = ((const pack<T, V> *)p.add)[i];\n"
         "#pragma unroll\nfor (int e = 0; e < V; e++) y.at[e] += z.at[e];\n}\n"
         "((pack<T, V> *)p.to)[i] = y;\n}\n}\n";

static hwb_status move(hwb_ctx *ctx, hwb__cuda *s, const stage *g, const void *from, void *to,
                       const void *add) {
    struct STAGE_PARAMS p = {(void *)(uintptr_t)from, to, (void *)(uintptr_t)add, g->n};
    return hwb__cuda_launch(ctx, s, g->f, hwb__cuda_grid_for(p.n, s->sms), &p);
}

static hwb_status refresh(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel *base, const void *const *in,
                          const uint64_t *versions) {
    dnn_kernel *k = (dnn_kernel *)base;
    if (!k->packed || k->instead || (k->fresh && k->version == versions[1])) return HWB_OK;
    HWB_TRY(move(ctx, s, &k->staged[1], in[1], k->packed, NULL));
    k->version = versions[1];
    k->fresh = true;
    return HWB_OK;
}

static int64_t elements(const hwb__cuda_image *m) {
    return m->k * m->n * m->c * m->h * m->w;
}

/* The copy of one operand: none, where it lies right in float32. */
static hwb_status make_stage(hwb_ctx *ctx, hwb__cuda *s, dnn_kernel *k, int operand) {
    const hwb__cuda_trio *c = &k->c;
    const hwb__cuda_image *m = image_of(c, operand);
    const bool half = k->size == 2, back = c->at[operand] == 2;
    const bool turned = operand == 1 && c->last && m->h * m->w > 1 && m->c > 1;
    stage *g = &k->staged[operand];
    hwb__cuda_text t = {0};
    if (!half && !turned) return HWB_OK;
    const int v = turned || elements(m) % 4 ? 1 : 4;
    g->n = elements(m) / v;
    g->offset = k->offset;
    k->offset += ((size_t)elements(m) * (size_t)k->size + ALIGN - 1) / ALIGN * ALIGN;
    hwb__cuda_say(&t, "typedef struct %s params;\ntypedef %s F;\ntypedef %s T;\n#define TO(x) %s\n",
                  HWB__CUDA_TEXT(STAGE_PARAMS), half && back ? "u16" : "float",
                  half && !back ? "u16" : "float", half ? "f_bf16(x)" : "(x)");
    if (turned)
        hwb__cuda_say(&t, "enum { C = %lld, TAPS = %lld };\n%s", (long long)m->c,
                      (long long)(m->h * m->w), back ? UNPACK : PACK);
    else hwb__cuda_say(&t, "enum { V = %d };\n%s", v, CONVERT);
    hwb_status st = hwb__cuda_function(ctx, s, &g->f, turned ? "pack" : "convert", &t);
    free(t.at);
    return st;
}

/* ---- running ------------------------------------------------------------------------------- */

static hwb_status call(hwb_ctx *ctx, hwb__cuda *s, const dnn_kernel *k, void *const at[3],
                       bool add) {
    static const float one = 1, zero = 0;
    const float *beta = add ? &one : &zero;
    const hwb__cuda_dnn_conv *q = &k->q;
    void *space = (char *)s->scratch + k->offset;
    cudnnStatus_t e;
    if (k->c.op == HWB_OP_CONV)
        e = hwb__dnn.cudnnConvolutionForward(s->dnn, &one, q->x, at[0], q->w, at[1], q->conv,
                                             (cudnnConvolutionFwdAlgo_t)q->algo, space,
                                             q->workspace, beta, q->y, at[2]);
    else if (k->c.op == HWB_OP_CONV_BWD_DATA)
        e = hwb__dnn.cudnnConvolutionBackwardData(s->dnn, &one, q->w, at[1], q->y, at[2], q->conv,
                                                  (cudnnConvolutionBwdDataAlgo_t)q->algo, space,
                                                  q->workspace, beta, q->x, at[0]);
    else
        e = hwb__dnn.cudnnConvolutionBackwardFilter(s->dnn, &one, q->x, at[0], q->y, at[2], q->conv,
                                                    (cudnnConvolutionBwdFilterAlgo_t)q->algo, space,
                                                    q->workspace, beta, q->w, at[1]);
    return hwb__cuda_check_dnn(ctx, e, "a convolution");
}

static hwb_status convolve(hwb_ctx *ctx, hwb__cuda *s, dnn_kernel *k, const void *const *in,
                           void *const *out) {
    const hwb__cuda_trio *c = &k->c;
    const stage *back = NULL; /* of the result */
    char *copy[3] = {NULL};
    for (int i = 0; i < 3; i++) {
        const stage *g = &k->staged[i];
        if (!g->f) continue;
        copy[i] = (char *)s->scratch + g->offset;
        if (c->at[i] == 2) back = g;
        else if (i == 1 && k->packed) copy[i] = k->packed;
        else HWB_TRY(move(ctx, s, g, in[c->at[i]], copy[i], NULL));
    }
    if (!back) HWB_TRY(hwb__cuda_trio_add(ctx, s, c, in, out));
    for (int64_t t = 0; t < c->turns; t++) {
        void *at[3];
        for (int i = 0; i < 3; i++)
            at[i] = copy[i] ? copy[i] + t * image_of(c, i)->sk * k->size
                            : hwb__cuda_trio_operand(c, i, t, in, out);
        HWB_TRY(call(ctx, s, k, at, c->add && !back));
        k->ran = true;
    }
    if (!back) return HWB_OK;
    return move(ctx, s, back, (char *)s->scratch + back->offset, out[0], c->add ? in[2] : NULL);
}

/* Another algorithm, or none of cuDNN's. */
static hwb_status turn_away(hwb_ctx *ctx, hwb__cuda *s, dnn_kernel *k) {
    hwb__cuda_dnn_refuse(s, &k->q, &k->c, k->d.exact);
    hwb_status st = hwb__cuda_dnn_choose(ctx, s, &k->q, &k->c, k->d.exact);
    if (st == HWB_OK) return hwb__cuda_scratch(ctx, s, k->offset + k->q.workspace);
    if (st != HWB_EUNSUPPORTED) return st;
    HWB_TRY(hwb__cuda_conv_gemm.prepare(ctx, s, &k->instead, &k->d));
    memcpy(k->base.name, k->instead->name, sizeof(k->base.name));
    return HWB_OK;
}

/* A first call that is refused has changed nothing but put the third input into the result:
 * all may be done again. */
static hwb_status run(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel *base, const void *const *in,
                      void *const *out) {
    dnn_kernel *k = (dnn_kernel *)base;
    while (!k->instead) {
        hwb_status st = convolve(ctx, s, k, in, out);
        if (k->ran || s->recording || (st != HWB_EUNSUPPORTED && st != HWB_EDEVICE)) return st;
        HWB_TRY(turn_away(ctx, s, k));
    }
    return k->instead->run(ctx, s, k->instead, in, out);
}

static void destroy(hwb__cuda *s, hwb_kernel *base) {
    dnn_kernel *k = (dnn_kernel *)base;
    free(k->instead); /* owns nothing more */
    hwb__cuda_dnn_drop(&k->q);
    hwb__cuda_mem_free(s, k->packed);
}

/* ---- preparing -------------------------------------------------------------------------------- */

static hwb_status prepare_stages(hwb_ctx *ctx, hwb__cuda *s, dnn_kernel *k, bool stable) {
    for (int i = 0; i < 3; i++) HWB_TRY(make_stage(ctx, s, k, i));
    if (!stable || k->c.at[1] != 1 || !k->staged[1].f) return HWB_OK;
    k->base.refresh = refresh;
    k->packed = hwb__cuda_mem_alloc(ctx, s, (size_t)elements(&k->c.w) * (size_t)k->size);
    return k->packed ? HWB_OK : HWB_ENOMEM;
}

/* The result has the size that cuDNN computes from pad_lo on both sides. */
static bool even_padding(const hwb_attrs *a, const hwb__cuda_trio *c) {
    const int64_t in[2] = {c->x.h, c->x.w}, out[2] = {c->y.h, c->y.w};
    for (int i = 0; i < 2; i++) {
        int64_t room = in[i] + 2 * (int64_t)a->pad_lo[i] - 1 -
                       (c->window.kernel[i] - 1) * c->window.dilation[i];
        if (room < 0 || room / c->window.stride[i] + 1 != out[i]) return false;
    }
    return true;
}

static bool supports(const hwb_kdesc *d) {
    if (d->op != HWB_OP_CONV && d->op != HWB_OP_CONV_BWD_DATA && d->op != HWB_OP_CONV_BWD_WEIGHTS)
        return false;
    if (d->out[0].dtype != HWB_F32) return false;
    const hwb_vdesc *all[] = {&d->in[0], &d->in[1], &d->out[0]};
    for (int i = 0; i < 3; i++)
        if (hwb__cuda_numel(&all[i]->shape) == 0) return false;
    hwb__cuda_trio c = hwb__cuda_trio_of(d);
    return hwb__cuda_narrow(3, all) && even_padding(&d->attrs, &c);
}

static const char *name_of(hwb_math math) {
    return math == HWB_MATH_BF16 ? "cudnn:bf16" : math == HWB_MATH_TF32 ? "cudnn:tf32" : "cudnn";
}

static hwb_status prepare(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel **out, const hwb_kdesc *d) {
    HWB_TRY(hwb__cuda_dnn(ctx, s));
    const hwb_math math = d->exact ? HWB_MATH_EXACT : s->math;
    dnn_kernel *k = hwb__cuda_kernel_new(sizeof(*k), name_of(math));
    if (!k) return hwb__cuda_oom(ctx);
    k->base.run = run;
    k->base.free = destroy;
    k->c = hwb__cuda_trio_of(d);
    k->d = *d;
    k->d.in = k->v;
    k->d.out = &k->v[3];
    k->d.scope = "";
    for (int i = 0; i < d->n_in && i < 3; i++) k->v[i] = d->in[i];
    k->v[3] = d->out[0];
    k->q.math = math;
    k->size = math == HWB_MATH_BF16 ? 2 : 4;
    hwb_status st = hwb__cuda_dnn_describe(ctx, &k->q, &k->c);
    if (st == HWB_OK) st = hwb__cuda_dnn_choose(ctx, s, &k->q, &k->c, d->exact);
    if (st == HWB_OK) st = prepare_stages(ctx, s, k, d->stable & 2u);
    if (st == HWB_OK) st = hwb__cuda_scratch(ctx, s, k->offset + k->q.workspace);
    if (st == HWB_OK) {
        *out = &k->base;
        return HWB_OK;
    }
    destroy(s, &k->base);
    free(k);
    return st;
}

const hwb__cuda_family hwb__cuda_conv = {supports, prepare};
