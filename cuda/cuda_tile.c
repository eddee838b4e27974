/*
 * cuda_tile.c: groups with sums: tiles of kept by reduced elements, and the
 * kernel that adds their parts.  See cuda_group_i.h.
 */
#include "cuda_group_i.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 1024, LEAST_TURNS = 8, MAX_PARTS = 1024 };

static int power_above(int64_t n, int most) {
    int p = 1;
    while (p < most && p < n) p *= 2;
    return p;
}

/* Parts only where there are fewer tiles than would fill a device and each thread
 * keeps a few elements; by shapes alone. */
hwb__cuda_tiling hwb__cuda_tiling_of(int64_t nk, int64_t nr, bool row, bool split) {
    hwb__cuda_tiling g = {.nk = nk, .nr = nr, .row = row, .parts = 1};
    if (row) {
        g.rt = power_above(nr, HWB__CUDA_BLOCK);
        g.kt = HWB__CUDA_BLOCK / g.rt;
    } else {
        g.kt = power_above(nk, nr > 8 ? 32 : HWB__CUDA_BLOCK);
        g.rt = HWB__CUDA_BLOCK / g.kt;
    }
    g.tiles = nk / g.kt + (nk % g.kt != 0);
    int64_t most = nr / (g.rt * LEAST_TURNS);
    if (split && g.tiles > 0 && g.tiles < BLOCKS) {
        int64_t want = BLOCKS / g.tiles;
        if (want > most) want = most;
        if (want > MAX_PARTS) want = MAX_PARTS;
        if (want > 1) g.parts = want;
    }
    g.length = nr / g.parts + (nr % g.parts != 0);
    if (g.parts > 1) g.parts = nr / g.length + (nr % g.length != 0); /* no part is empty */
    return g;
}

void hwb__cuda_emit_tile_index(hwb__cuda_text *t, const hwb__cuda_tiling *g) {
    hwb__cuda_say(t, "const int tid = threadIdx.x;\n");
    if (g->row) hwb__cuda_say(t, "const int rt = tid %% %d, kt = tid / %d;\n", g->rt, g->rt);
    else hwb__cuda_say(t, "const int kt = tid %% %d, rt = tid / %d;\n", g->kt, g->kt);
    hwb__cuda_say(t, "const I k = (I)blockIdx.x * %d + kt;\n", g->kt);
}

/* The tree over the rt threads of one kept element; leaves the sum at rt == 0. */
static void tree(hwb__cuda_text *t, const hwb__cuda_tiling *g, const char *value) {
    hwb__cuda_say(t,
                  "sum[tid] = %s; __syncthreads();\n"
                  "for (int h = %d; h > 0; h /= 2) { if (rt < h) sum[tid] += sum[tid + h * %d]; "
                  "__syncthreads(); }\n",
                  value, g->rt / 2, g->row ? 1 : g->kt);
}

/* ---- a pass ------------------------------------------------------------------------ */

static void elements(hwb__cuda_text *t, const hwb__cuda_group *g, const hwb__cuda_tile *tile) {
    const hwb_fused *f = g->f;
    for (int j = 0; j < f->n_in; j++)
        hwb__cuda_say(t, "const %s x%d = ((const %s *)p.in[%d])[o%d];\n",
                      hwb__cuda_type(g->in[j].dtype), j, hwb__cuda_type(g->in[j].dtype), j, j);
    hwb__cuda_emit_registers(t, g);
    for (int o = 0; tile->stores && o < f->n_out; o++) {
        if (f->out[o].reduce) continue;
        hwb__cuda_say(t, "((%s *)p.out[%d])[o%d] = ", hwb__cuda_type(g->out[o].dtype), o, f->n_in);
        hwb__cuda_emit_value(t, g, f->out[o].reg, g->out[o].dtype);
        hwb__cuda_say(t, ";\n");
    }
    for (int q = 0; q < tile->n_sums; q++)
        hwb__cuda_say(t, "a%d += (A)r%d;\n", q, f->out[tile->sum[q]].reg);
}

static void sums(hwb__cuda_text *t, const hwb__cuda_group *g, const hwb__cuda_tile *tile) {
    char value[16];
    for (int q = 0; q < tile->n_sums; q++) {
        int o = tile->sum[q];
        value[0] = 'a', value[1] = (char)('0' + q), value[2] = 0;
        tree(t, &tile->tiling, value);
        if (tile->direct)
            hwb__cuda_say(t, "if (rt == 0 && k < (I)p.nk) ((%s *)p.out[%d])[k] = (%s)sum[tid];\n",
                          hwb__cuda_type(g->out[o].dtype), o, hwb__cuda_type(g->out[o].dtype));
        else
            hwb__cuda_say(t,
                          "if (rt == 0 && k < (I)p.nk) "
                          "((A *)p.partial[%d])[(i64)blockIdx.y * p.nk + k] = sum[tid];\n",
                          q);
        hwb__cuda_say(t, "__syncthreads();\n");
    }
}

/* Operands: the inputs, then a full output. */
static hwb__cuda_walk walk_of(const hwb__cuda_group *g, uint32_t axes) {
    hwb__cuda_stride stride[HWB_FUSED_MAX_IN + 1];
    hwb__cuda_walk w;
    int tag[HWB_MAX_DIMS];
    for (int i = 0; i < HWB_MAX_DIMS; i++) tag[i] = axes >> i & 1;
    for (int j = 0; j < g->f->n_in; j++) hwb__cuda_strides(&g->in[j].shape, stride[j]);
    hwb__cuda_strides(&g->f->space, stride[g->f->n_in]);
    hwb__cuda_walk_make(&w, &g->f->space, g->f->n_in + 1, stride, tag);
    return w;
}

static void fill_params(hwb__cuda_tile_params *p, const hwb__cuda_walk *w,
                        const hwb__cuda_tiling *g) {
    p->nk = g->nk;
    p->nr = g->nr;
    p->length = g->length;
    for (int d = 0; d < w->ndim; d++) {
        p->dim[d] = w->dim[d];
        p->by[d] = hwb__cuda_div_by(w->dim[d]);
        for (int j = 0; j < w->n_op; j++) p->stride[j][d] = w->stride[j][d];
    }
}

void hwb__cuda_tile_text(hwb__cuda_text *t, const hwb__cuda_group *g, hwb__cuda_tile *tile,
                         uint32_t axes) {
    const hwb__cuda_walk w = walk_of(g, axes);
    const uint32_t mask = (1u << g->f->n_in) - 1 + (tile->stores ? 1u << g->f->n_in : 0);
    int64_t nk = 1, nr = 1;
    for (int d = 0; d < w.ndim; d++) *(w.tag[d] ? &nr : &nk) *= w.dim[d];
    tile->tiling = hwb__cuda_tiling_of(nk, nr, w.ndim == 0 || w.tag[w.ndim - 1], true);
    const hwb__cuda_tiling *g2 = &tile->tiling;
    fill_params(&tile->p, &w, g2);
    hwb__cuda_emit_head(t, g, HWB__CUDA_TEXT(HWB__CUDA_TILE_PARAMS));
    hwb__cuda_say(t, "extern \"C\" __global__ void __launch_bounds__(256) "
                     "hwb_kernel(const params p) {\n__shared__ A sum[256];\n");
    hwb__cuda_emit_tile_index(t, g2);
    for (int q = 0; q < tile->n_sums; q++) hwb__cuda_say(t, "A a%d = 0;\n", q);
    hwb__cuda_say(t, "const I first = (I)blockIdx.y * (I)p.length, end = "
                     "first + (I)p.length < (I)p.nr ? first + (I)p.length : (I)p.nr;\n"
                     "if (k < (I)p.nk) {\n");
    hwb__cuda_emit_offsets(t, &w, 0, mask, "k", "", g->narrow);
    hwb__cuda_say(t, "for (I r = first + rt; r < end; r += %d) {\n", g2->rt);
    hwb__cuda_emit_offsets(t, &w, 1, mask, "r", "b", g->narrow);
    elements(t, g, tile);
    hwb__cuda_say(t, "}\n}\n");
    sums(t, g, tile);
    hwb__cuda_say(t, "}\n");
}

/* ---- adding the parts ----------------------------------------------------------------- */

void hwb__cuda_finish_text(hwb__cuda_text *t, const hwb__cuda_group *g, int output,
                           const hwb__cuda_tiling *tiling) {
    const char *type = hwb__cuda_type(g->out[output].dtype);
    hwb__cuda_say(t, "typedef struct %s params;\ntypedef %s A;\ntypedef u64 I;\n",
                  HWB__CUDA_TEXT(HWB__CUDA_FINISH_PARAMS), g->acc);
    hwb__cuda_say(t, "extern \"C\" __global__ void __launch_bounds__(256) "
                     "hwb_kernel(const params p) {\n__shared__ A sum[256];\n");
    hwb__cuda_emit_tile_index(t, tiling);
    hwb__cuda_say(t,
                  "A a = 0;\nif (k < (I)p.nk)\n"
                  "for (I r = rt; r < (I)p.parts; r += %d) a += ((A *)p.partial)[r * p.nk + k];\n",
                  tiling->rt);
    tree(t, tiling, "a");
    hwb__cuda_say(t, "if (rt == 0 && k < (I)p.nk) ((%s *)p.out)[k] = (%s)sum[tid];\n}\n", type,
                  type);
}

static hwb_status make_finish(hwb_ctx *ctx, hwb__cuda *s, hwb__cuda_tile *tile,
                              const hwb__cuda_group *g) {
    tile->finish_tiling = hwb__cuda_tiling_of(tile->tiling.nk, tile->tiling.parts, false, false);
    for (int q = 0; q < tile->n_sums; q++) {
        hwb__cuda_text t = {0};
        hwb__cuda_finish_text(&t, g, tile->sum[q], &tile->finish_tiling);
        hwb_status st = hwb__cuda_function(ctx, s, &tile->finish[q], "finish", &t);
        free(t.at);
        HWB_TRY(st);
    }
    return HWB_OK;
}

size_t hwb__cuda_tile_scratch(const hwb__cuda_tile *t) {
    return t->direct ? 0 : (size_t)t->n_sums * (size_t)t->tiling.parts * (size_t)t->tiling.nk * 8;
}

/* The caller says in `direct` whether sums may be stored by the pass itself. */
hwb_status hwb__cuda_tile_make(hwb_ctx *ctx, hwb__cuda *s, hwb__cuda_tile *tile,
                               const hwb__cuda_group *g, uint32_t axes) {
    hwb__cuda_text t = {0};
    if (tile->direct) { /* only if one part holds all: known after a first look */
        hwb__cuda_text look = {0};
        hwb__cuda_tile_text(&look, g, tile, axes);
        free(look.at);
        tile->direct = tile->tiling.parts == 1;
    }
    hwb__cuda_tile_text(&t, g, tile, axes);
    hwb_status st = hwb__cuda_function(ctx, s, &tile->f, "tile", &t);
    free(t.at);
    if (st == HWB_OK && !tile->direct) st = make_finish(ctx, s, tile, g);
    return st;
}
