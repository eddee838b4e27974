/*
 * cuda_extreme.c: maximum over a set of axes and argmax over one, in tiles of kept
 * by reduced elements (cuda_group_i.h), each pair of candidates compared by
 *
 *     larger value; NaN above every number; the earlier of equals
 *
 * which is an order, so the tree finds what a walk in order finds.
 */
#include "cuda_group_i.h"

#include <stdlib.h>

typedef struct extreme_kernel {
    hwb_kernel base;
    cudaKernel_t f;
    hwb__cuda_tiling tiling;
    hwb__cuda_tile_params p;
} extreme_kernel;

static hwb_status run(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel *base, const void *const *in,
                      void *const *out) {
    extreme_kernel *k = (extreme_kernel *)base;
    if (k->tiling.tiles == 0) return HWB_OK;
    k->p.in[0] = (void *)(uintptr_t)in[0];
    k->p.out[0] = out[0];
    return hwb__cuda_launch(ctx, s, k->f, (hwb__cuda_grid){(unsigned)k->tiling.tiles, 1}, &k->p);
}

static const char BEATS[] = "__device__ inline bool beats(R a, i64 ia, R b, i64 ib) {\n"
                            "    if (ia < 0 || ib < 0) return ib < 0 && ia >= 0;\n"
                            "    const bool na = a != a, nb = b != b;\n"
                            "    if (na != nb) return na;\n"
                            "    return na || a == b ? ia < ib : a > b; }\n";

static void text_of(hwb__cuda_text *t, extreme_kernel *k, const hwb_kdesc *d) {
    const bool index = d->op == HWB_OP_ARGMAX;
    const uint32_t axes = index ? 1u << d->attrs.axis : d->attrs.axes;
    const char *type = hwb__cuda_type(d->in[0].dtype), *to = hwb__cuda_type(d->out[0].dtype);
    hwb__cuda_stride stride[1];
    hwb__cuda_walk w;
    int tag[HWB_MAX_DIMS];
    int64_t nk = 1, nr = 1;
    const hwb_vdesc *all[] = {&d->in[0]};
    hwb__cuda_group g = {.in = d->in, .out = d->out, .acc = "i64"};
    g.reg = hwb__cuda_is_float(d->in[0].dtype) ? type : "i64";
    g.narrow = hwb__cuda_narrow(1, all);
    for (int i = 0; i < HWB_MAX_DIMS; i++) tag[i] = axes >> i & 1;
    hwb__cuda_strides(&d->in[0].shape, stride[0]);
    hwb__cuda_walk_make(&w, &d->in[0].shape, 1, stride, tag);
    for (int i = 0; i < w.ndim; i++) *(w.tag[i] ? &nr : &nk) *= w.dim[i];
    k->tiling = hwb__cuda_tiling_of(nk, nr, w.ndim == 0 || w.tag[w.ndim - 1], false);
    k->p.nk = nk;
    k->p.nr = nr;
    hwb__cuda_emit_head(t, &g, HWB__CUDA_TEXT(HWB__CUDA_TILE_PARAMS));
    hwb__cuda_say(t,
                  "%sextern \"C\" __global__ void __launch_bounds__(256) "
                  "hwb_kernel(const params p) {\n__shared__ R top[256]; __shared__ i64 at[256];\n",
                  BEATS);
    hwb__cuda_emit_tile_index(t, &k->tiling);
    hwb__cuda_say(t, "R best = 0; i64 place = -1;\nif (k < (I)p.nk) {\n");
    hwb__cuda_emit_offsets(t, &w, 0, 1, "k", "");
    hwb__cuda_say(t, "for (I r = rt; r < (I)p.nr; r += %d) {\n", k->tiling.rt);
    hwb__cuda_emit_offsets(t, &w, 1, 1, "r", "b");
    hwb__cuda_say(t,
                  "const R x = (R)((const %s *)p.in[0])[o0];\n"
                  "if (beats(x, (i64)r, best, place)) { best = x; place = (i64)r; }\n}\n}\n"
                  "top[tid] = best; at[tid] = place; __syncthreads();\n"
                  "for (int h = %d; h > 0; h /= 2) {\n"
                  "const int other = tid + h * %d;\n"
                  "if (rt < h && beats(top[other], at[other], top[tid], at[tid])) {\n"
                  "top[tid] = top[other]; at[tid] = at[other]; }\n__syncthreads();\n}\n"
                  "if (rt == 0 && k < (I)p.nk) ((%s *)p.out[0])[k] = (%s)%s[tid];\n}\n",
                  type, k->tiling.rt / 2, k->tiling.row ? 1 : k->tiling.kt, to, to,
                  index ? "at" : "top");
}

static bool supports(const hwb_kdesc *d) {
    return d->op == HWB_OP_MAX || d->op == HWB_OP_ARGMAX;
}

static hwb_status prepare(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel **out, const hwb_kdesc *d) {
    hwb__cuda_text t = {0};
    extreme_kernel *k = hwb__cuda_kernel_new(sizeof(*k), "nvrtc:max");
    if (!k) return hwb__cuda_oom(ctx);
    k->base.run = run;
    text_of(&t, k, d);
    hwb_status st = hwb__cuda_function(ctx, s, &k->f, "max", &t);
    free(t.at);
    if (st == HWB_OK) *out = &k->base;
    else free(k);
    return st;
}

const hwb__cuda_family hwb__cuda_extreme = {supports, prepare};
