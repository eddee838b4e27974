/*
 * cuda_tile.c: groups with sums: tiles of kept by reduced elements, and the
 * kernel that adds their parts.  See cuda_group_i.h.
 */
#include "cuda_group_i.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 1024, LEAST_TURNS = 4, MAX_PARTS = 1024 };

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

/* The tree over the rt threads of one kept element, for n sums a thread held in `value`[];
 * leaves them at rt == 0 in sum[e * 256 + tid]. */
static void tree(hwb__cuda_text *t, const hwb__cuda_tiling *g, const char *value, int n) {
    hwb__cuda_say(t,
                  "for (int e = 0; e < %d; e++) sum[e * 256 + tid] = %s[e];\n__syncthreads();\n"
                  "for (int h = %d; h > 0; h /= 2) {\nif (rt < h)\n"
                  "for (int e = 0; e < %d; e++) sum[e * 256 + tid] += sum[e * 256 + tid + h * %d];"
                  "\n__syncthreads();\n}\n",
                  n, value, g->rt / 2, n, g->row ? 1 : g->kt);
}

/* ---- a pass ------------------------------------------------------------------------ */

/* Sums a thread keeps of each output: one, or one an element of its pack. */
static int lanes(const hwb__cuda_tile *tile) {
    return tile->tiling.row ? 1 : tile->width;
}

/* Inputs (bits) that are the same for all reduced elements: those are loaded once. */
static uint32_t steady(const hwb__cuda_group *g, const hwb__cuda_walk *w) {
    uint32_t mask = (1u << g->f->n_in) - 1;
    for (int j = 0; j < g->f->n_in; j++)
        for (int d = 0; d < w->ndim; d++)
            if (w->tag[d] && w->stride[j][d]) mask &= ~(1u << j);
    return mask;
}

static void loads(hwb__cuda_text *t, const hwb__cuda_group *g, const hwb__cuda_walk *w, int v,
                  uint32_t mask, char place) {
    char offset[16];
    for (int j = 0; j < g->f->n_in; j++) {
        if (!(mask & 1u << j)) continue;
        snprintf(offset, sizeof(offset), "%c%d", place, j);
        hwb__cuda_emit_load(t, g, j, hwb__cuda_walk_steps(w, j) ? v : 1, offset);
    }
}

static void elements(hwb__cuda_text *t, const hwb__cuda_group *g, const hwb__cuda_walk *w,
                     const hwb__cuda_tile *tile) {
    const hwb_fused *f = g->f;
    const int v = tile->width;
    for (int o = 0; tile->stores && v > 1 && o < f->n_out; o++)
        if (!f->out[o].reduce)
            hwb__cuda_say(t, "pack<%s, %d> y%d;\n", hwb__cuda_type(g->out[o].dtype), v, o);
    hwb__cuda_emit_elements(t, g, w, v);
    for (int o = 0; tile->stores && o < f->n_out; o++) {
        if (f->out[o].reduce) continue;
        if (v > 1) hwb__cuda_say(t, "y%d.at[e] = ", o);
        else
            hwb__cuda_say(t, "((%s *)p.out[%d])[o%d] = ", hwb__cuda_type(g->out[o].dtype), o,
                          f->n_in);
        hwb__cuda_emit_value(t, g, f->out[o].reg, g->out[o].dtype);
        hwb__cuda_say(t, ";\n");
    }
    for (int q = 0; q < tile->n_sums; q++)
        hwb__cuda_say(t, "a%d[%s] += (A)r%d;\n", q, lanes(tile) > 1 ? "e" : "0",
                      f->out[tile->sum[q]].reg);
    if (v == 1) return;
    hwb__cuda_say(t, "}\n");
    for (int o = 0; tile->stores && o < f->n_out; o++)
        if (!f->out[o].reduce)
            hwb__cuda_say(t, "*(pack<%s, %d> *)((%s *)p.out[%d] + o%d) = y%d;\n",
                          hwb__cuda_type(g->out[o].dtype), v, hwb__cuda_type(g->out[o].dtype), o,
                          f->n_in, o);
}

static void sums(hwb__cuda_text *t, const hwb__cuda_group *g, const hwb__cuda_tile *tile) {
    const int n = lanes(tile);
    char value[16];
    for (int q = 0; q < tile->n_sums; q++) {
        const int o = tile->sum[q];
        const char *type = hwb__cuda_type(g->out[o].dtype);
        snprintf(value, sizeof(value), "a%d", q);
        tree(t, &tile->tiling, value, n);
        hwb__cuda_say(t, "if (rt == 0 && k < (I)p.nk)\nfor (int e = 0; e < %d; e++)\n", n);
        if (tile->direct)
            hwb__cuda_say(t, "((%s *)p.out[%d])[k * %d + e] = (%s)sum[e * 256 + tid];\n", type, o,
                          n, type);
        else
            hwb__cuda_say(t,
                          "((A *)p.partial)[((i64)%d * %lld + k * %d + e) * p.parts + blockIdx.y] "
                          "= sum[e * 256 + tid];\n",
                          q, (long long)tile->kept, n);
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

/* How the pass lies on blocks; the walk becomes one of packs. */
static void lay_out(hwb__cuda_tile *tile, const hwb__cuda_group *g, hwb__cuda_walk *w) {
    const bool row = w->ndim == 0 || w->tag[w->ndim - 1];
    int64_t nk = 1, nr = 1;
    for (int d = 0; d < w->ndim; d++)
        if (!w->tag[d]) nk *= w->dim[d];
    tile->kept = nk;
    tile->width = hwb__cuda_pack_of(g, w);
    hwb__cuda_walk_pack(w, tile->width);
    nk = 1;
    for (int d = 0; d < w->ndim; d++) *(w->tag[d] ? &nr : &nk) *= w->dim[d];
    tile->tiling = hwb__cuda_tiling_of(nk, nr, row, true);
    tile->direct = tile->direct && tile->tiling.parts == 1;
    tile->p.nk = nk;
    tile->p.nr = nr;
    tile->p.length = tile->tiling.length;
    tile->p.parts = tile->tiling.parts;
}

static void text_of(hwb__cuda_text *t, const hwb__cuda_group *g, const hwb__cuda_tile *tile,
                    const hwb__cuda_walk *w) {
    const uint32_t inputs = (1u << g->f->n_in) - 1, once = steady(g, w);
    const uint32_t mask = inputs | (tile->stores ? 1u << g->f->n_in : 0);
    hwb__cuda_emit_head(t, g, HWB__CUDA_TEXT(HWB__CUDA_TILE_PARAMS));
    hwb__cuda_say(t,
                  "extern \"C\" __global__ void __launch_bounds__(256) "
                  "hwb_kernel(const params p) {\n__shared__ A sum[%d];\n",
                  lanes(tile) * HWB__CUDA_BLOCK);
    hwb__cuda_emit_tile_index(t, &tile->tiling);
    for (int q = 0; q < tile->n_sums; q++) hwb__cuda_say(t, "A a%d[%d] = {};\n", q, lanes(tile));
    hwb__cuda_say(t, "const I first = (I)blockIdx.y * (I)p.length, end = "
                     "first + (I)p.length < (I)p.nr ? first + (I)p.length : (I)p.nr;\n"
                     "if (k < (I)p.nk) {\n");
    hwb__cuda_emit_offsets(t, w, 0, mask, "k", "");
    loads(t, g, w, tile->width, once, 'b');
    hwb__cuda_say(t, "for (I r = first + rt; r < end; r += %d) {\n", tile->tiling.rt);
    hwb__cuda_emit_offsets(t, w, 1, mask & ~once, "r", "b");
    loads(t, g, w, tile->width, inputs & ~once, 'o');
    elements(t, g, w, tile);
    hwb__cuda_say(t, "}\n}\n");
    sums(t, g, tile);
    hwb__cuda_say(t, "}\n");
}

/* ---- adding the parts ----------------------------------------------------------------- */

/* Sum blockIdx.y of the pass: threads lie along the parts.  p.out[blockIdx.y] would make a
 * local copy of an argument that is no __grid_constant__. */
static void finish_text(hwb__cuda_text *t, const hwb__cuda_group *g, const char *type,
                        const hwb__cuda_tiling *tiling) {
    hwb__cuda_say(t,
                  "typedef struct %s params;\ntypedef %s A;\ntypedef u64 I;\n"
                  "extern \"C\" __global__ void __launch_bounds__(256) "
                  "hwb_kernel(const __grid_constant__ params p) {\n__shared__ A sum[256];\n",
                  HWB__CUDA_TEXT(HWB__CUDA_FINISH_PARAMS), g->acc);
    hwb__cuda_emit_tile_index(t, tiling);
    hwb__cuda_say(t,
                  "A a[1] = {};\nif (k < (I)p.nk) {\n"
                  "const A *from = (const A *)p.partial + (blockIdx.y * (I)p.nk + k) * p.parts;\n"
                  "for (I r = rt; r < (I)p.parts; r += %d) a[0] += from[r];\n}\n",
                  tiling->rt);
    tree(t, tiling, "a", 1);
    hwb__cuda_say(t,
                  "if (rt == 0 && k < (I)p.nk) ((%s *)p.out[blockIdx.y])[k] = (%s)sum[tid];\n}\n",
                  type, type);
}

static hwb_status make_finish(hwb_ctx *ctx, hwb__cuda *s, hwb__cuda_tile *tile,
                              const hwb__cuda_group *g) {
    hwb__cuda_text t = {0};
    tile->finish_tiling = hwb__cuda_tiling_of(tile->kept, tile->tiling.parts, true, false);
    finish_text(&t, g, hwb__cuda_type(g->out[tile->sum[0]].dtype), &tile->finish_tiling);
    hwb_status st = hwb__cuda_function(ctx, s, &tile->finish, "finish", &t);
    free(t.at);
    return st;
}

size_t hwb__cuda_tile_scratch(const hwb__cuda_tile *t) {
    return t->direct
               ? 0
               : (size_t)t->n_sums * (size_t)t->tiling.parts * (size_t)t->kept * sizeof(double);
}

/* The caller says in `direct` whether sums may be stored by the pass itself, which they
 * are if one part holds all. */
hwb_status hwb__cuda_tile_make(hwb_ctx *ctx, hwb__cuda *s, hwb__cuda_tile *tile,
                               const hwb__cuda_group *g, uint32_t axes) {
    hwb__cuda_text t = {0};
    hwb__cuda_walk w = walk_of(g, axes);
    lay_out(tile, g, &w);
    text_of(&t, g, tile, &w);
    hwb_status st = hwb__cuda_function(ctx, s, &tile->f, "tile", &t);
    free(t.at);
    if (st == HWB_OK && !tile->direct) st = make_finish(ctx, s, tile, g);
    return st;
}
