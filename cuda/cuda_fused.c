/*
 * cuda_fused.c: the kernels made of groups (cuda_group_i.h): fused groups, single
 * pointwise operations of every dtype, conversions, fills, and sums, which are
 * groups without an instruction.
 */
#include "cuda_group_i.h"

#include <stdlib.h>

enum { MAX_PASSES = HWB_FUSED_MAX_OUT };

typedef struct group_kernel {
    hwb_kernel base;
    int n_in, n_out, n_passes;
    int64_t n;   /* elements of the space */
    bool mapped; /* full outputs come from `map` */
    hwb__cuda_map map;
    hwb__cuda_tile pass[MAX_PASSES];
} group_kernel;

/* ---- running ------------------------------------------------------------------------ */

static hwb_status run_passes(hwb_ctx *ctx, hwb__cuda *s, group_kernel *k, const void *const *in,
                             void *const *out) {
    char *scratch = s->scratch;
    for (int i = 0; i < k->n_passes; i++) {
        hwb__cuda_tile *t = &k->pass[i];
        if (t->tiling.tiles == 0) continue;
        for (int j = 0; j < k->n_in; j++) t->p.in[j] = (void *)(uintptr_t)in[j];
        for (int o = 0; o < k->n_out; o++) t->p.out[o] = out[o];
        t->p.partial = scratch;
        scratch += hwb__cuda_tile_scratch(t);
        hwb__cuda_grid grid = {(unsigned)t->tiling.tiles, (unsigned)t->tiling.parts};
        HWB_TRY(hwb__cuda_launch(ctx, s, t->f, grid, &t->p));
    }
    return HWB_OK;
}

static hwb_status run_finish(hwb_ctx *ctx, hwb__cuda *s, group_kernel *k, void *const *out) {
    for (int i = 0; i < k->n_passes; i++) {
        hwb__cuda_tile *t = &k->pass[i];
        if (t->direct || t->tiling.tiles == 0) continue;
        hwb__cuda_finish_params p = {
            .partial = t->p.partial, .nk = t->kept, .parts = t->tiling.parts};
        for (int q = 0; q < t->n_sums; q++) p.out[q] = out[t->sum[q]];
        hwb__cuda_grid grid = {(unsigned)t->finish_tiling.tiles, (unsigned)t->n_sums};
        HWB_TRY(hwb__cuda_launch(ctx, s, t->finish, grid, &p));
    }
    return HWB_OK;
}

static hwb_status run_group(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel *base, const void *const *in,
                            void *const *out) {
    group_kernel *k = (group_kernel *)base;
    HWB_TRY(run_passes(ctx, s, k, in, out));
    if (k->mapped && k->n > 0) {
        for (int j = 0; j < k->n_in; j++) k->map.p.in[j] = (void *)(uintptr_t)in[j];
        for (int o = 0; o < k->n_out; o++) k->map.p.out[o] = out[o];
        HWB_TRY(hwb__cuda_launch(ctx, s, k->map.f, k->map.grid, &k->map.p));
    }
    return run_finish(ctx, s, k, out);
}

/* ---- preparing -------------------------------------------------------------------------- */

/* The axes that output o drops. */
static uint32_t axes_of(const hwb__cuda_group *g, int o) {
    uint32_t axes = 0;
    for (int i = 0; i < g->f->space.ndim; i++)
        if (g->out[o].shape.dim[i] == 1 && g->f->space.dim[i] != 1) axes |= 1u << i;
    return axes;
}

/* One pass for each distinct set of axes; the last of them stores the full outputs. */
static hwb_status make_passes(hwb_ctx *ctx, hwb__cuda *s, group_kernel *k,
                              const hwb__cuda_group *g) {
    uint32_t axes[MAX_PASSES];
    bool full = false;
    for (int o = 0; o < g->f->n_out; o++) {
        if (!g->f->out[o].reduce) {
            full = true;
            continue;
        }
        uint32_t a = axes_of(g, o);
        int i = 0;
        while (i < k->n_passes && axes[i] != a) i++;
        if (i == k->n_passes) axes[k->n_passes++] = a;
        k->pass[i].sum[k->pass[i].n_sums++] = o;
    }
    size_t scratch = 0;
    for (int i = 0; i < k->n_passes; i++) {
        k->pass[i].stores = full && i == k->n_passes - 1;
        k->pass[i].direct = k->n_passes == 1;
        HWB_TRY(hwb__cuda_tile_make(ctx, s, &k->pass[i], g, axes[i]));
        scratch += hwb__cuda_tile_scratch(&k->pass[i]);
    }
    k->mapped = full && k->n_passes == 0;
    return hwb__cuda_scratch(ctx, s, scratch);
}

static hwb_status make_group(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel **out, hwb__cuda_group *g,
                             const char *name) {
    const hwb_vdesc *all[HWB_FUSED_MAX_IN + HWB_FUSED_MAX_OUT + 1];
    hwb_vdesc space = {g->f->dtype, g->f->space};
    int n = 0;
    for (int j = 0; j < g->f->n_in; j++) all[n++] = &g->in[j];
    for (int o = 0; o < g->f->n_out; o++) all[n++] = &g->out[o];
    all[n++] = &space;
    g->narrow = hwb__cuda_narrow(n, all);
    group_kernel *k = hwb__cuda_kernel_new(sizeof(*k), name);
    if (!k) return hwb__cuda_oom(ctx);
    k->base.run = run_group;
    k->n_in = g->f->n_in;
    k->n_out = g->f->n_out;
    k->n = hwb__cuda_numel(&g->f->space);
    hwb_status st = make_passes(ctx, s, k, g);
    if (st == HWB_OK && k->mapped) st = hwb__cuda_map_make(ctx, s, &k->map, g);
    if (st == HWB_OK) *out = &k->base;
    else free(k);
    return st;
}

/* ---- fused groups ----------------------------------------------------------------------------- */

static bool fused_supports(const hwb_kdesc *d) {
    return d->op == HWB_OP_FUSED && d->fused && hwb__cuda_is_float(d->fused->dtype);
}

static hwb_status fused_prepare(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel **out, const hwb_kdesc *d) {
    hwb__cuda_group g = {.f = d->fused, .in = d->in, .out = d->out, .acc = "double"};
    g.reg = d->fused->dtype == HWB_F64 ? "double" : "float";
    return make_group(ctx, s, out, &g, "nvrtc:fused");
}

/* ---- single operations --------------------------------------------------------------------------- */

static bool pointwise_supports(const hwb_kdesc *d) {
    if (d->op == HWB_OP_FILL) return true;
    return d->op > HWB_OP_FILL && d->op < HWB_OP_RESHAPE && d->n_in <= 3 && d->n_out == 1;
}

/* Integers convert through i64 where no digit may be lost, else through double. */
static const char *register_of(const hwb_kdesc *d) {
    hwb_dtype dt = d->n_in == 3 ? d->in[1].dtype : d->n_in ? d->in[0].dtype : HWB_F64;
    hwb_dtype to = d->out[0].dtype;
    if (d->op == HWB_OP_CAST && !hwb__cuda_is_float(dt))
        return hwb__cuda_is_float(to) || to == HWB_I64 ? "i64" : "double";
    return dt == HWB_F32 ? "float" : dt == HWB_F64 ? "double" : "i64";
}

static hwb_status pointwise_prepare(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel **out,
                                    const hwb_kdesc *d) {
    const hwb_finstr instr = {
        .op = d->op,
        .in = {d->n_in > 0 ? 0 : -1, d->n_in > 1 ? 1 : -1, d->n_in > 2 ? 2 : -1},
        .imm = d->attrs.value};
    const hwb_fout store = {d->n_in, 0};
    const hwb_fused f = {.dtype = d->out[0].dtype,
                         .space = d->out[0].shape,
                         .n_in = d->n_in,
                         .n_instr = 1,
                         .n_out = 1,
                         .instr = &instr,
                         .out = &store};
    hwb__cuda_group g = {.f = &f, .in = d->in, .out = d->out, .acc = "double"};
    g.reg = register_of(d);
    return make_group(ctx, s, out, &g, "nvrtc:map");
}

static bool sum_supports(const hwb_kdesc *d) {
    return d->op == HWB_OP_SUM;
}

static hwb_status sum_prepare(hwb_ctx *ctx, hwb__cuda *s, hwb_kernel **out, const hwb_kdesc *d) {
    const hwb_fout store = {0, 1};
    const hwb_fused f = {
        .dtype = d->in[0].dtype, .space = d->in[0].shape, .n_in = 1, .n_out = 1, .out = &store};
    bool real = hwb__cuda_is_float(d->in[0].dtype);
    hwb__cuda_group g = {.f = &f, .in = d->in, .out = d->out, .acc = real ? "double" : "u64"};
    g.reg = real ? hwb__cuda_type(d->in[0].dtype) : "i64";
    return make_group(ctx, s, out, &g, "nvrtc:sum");
}

const hwb__cuda_family hwb__cuda_fused = {fused_supports, fused_prepare};
const hwb__cuda_family hwb__cuda_pointwise = {pointwise_supports, pointwise_prepare};
const hwb__cuda_family hwb__cuda_sum = {sum_supports, sum_prepare};
