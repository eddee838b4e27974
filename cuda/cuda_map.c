/*
 * cuda_map.c: groups without sums: one element (or pack of V) after the other.
 * See cuda_group_i.h.
 */
#include "cuda_group_i.h"

#include <stdio.h>
#include <stdlib.h>

/* Operand j steps through memory just as the space does. */
static bool is_full(const hwb__cuda_walk *w, int j) {
    int64_t s = 1;
    for (int d = w->ndim - 1; d >= 0; d--) {
        if (w->stride[j][d] != s) return false;
        s *= w->dim[d];
    }
    return true;
}

static bool is_scalar(const hwb__cuda_walk *w, int j) {
    for (int d = 0; d < w->ndim; d++)
        if (w->stride[j][d]) return false;
    return true;
}

/* `full`: inputs that step as the space does */
static void loads(hwb__cuda_text *t, const hwb__cuda_group *g, const hwb__cuda_walk *w, int v,
                  uint32_t full) {
    char offset[32];
    for (int j = 0; j < g->f->n_in; j++) {
        if (is_scalar(w, j)) snprintf(offset, sizeof(offset), "0");
        else if (full & 1u << j) snprintf(offset, sizeof(offset), "(i64)i * %d", v);
        else snprintf(offset, sizeof(offset), "(i64)b%d", j);
        hwb__cuda_emit_load(t, g, j, hwb__cuda_walk_steps(w, j) ? v : 1, offset);
    }
}

static void body(hwb__cuda_text *t, const hwb__cuda_group *g, const hwb__cuda_walk *w, int v) {
    const hwb_fused *f = g->f;
    for (int o = 0; o < f->n_out && v > 1; o++)
        hwb__cuda_say(t, "pack<%s, %d> y%d;\n", hwb__cuda_type(g->out[o].dtype), v, o);
    hwb__cuda_emit_elements(t, g, w, v);
    for (int o = 0; o < f->n_out; o++) {
        if (v > 1) hwb__cuda_say(t, "y%d.at[e] = ", o);
        else hwb__cuda_say(t, "((%s *)p.out[%d])[i] = ", hwb__cuda_type(g->out[o].dtype), o);
        hwb__cuda_emit_value(t, g, f->out[o].reg, g->out[o].dtype);
        hwb__cuda_say(t, ";\n");
    }
    if (v == 1) return;
    hwb__cuda_say(t, "}\n");
    for (int o = 0; o < f->n_out; o++)
        hwb__cuda_say(t, "((pack<%s, %d> *)p.out[%d])[i] = y%d;\n", hwb__cuda_type(g->out[o].dtype),
                      v, o, o);
}

static void text_of(hwb__cuda_text *t, const hwb__cuda_group *g, hwb__cuda_map_params *p) {
    hwb__cuda_stride stride[HWB_FUSED_MAX_IN + 1];
    hwb__cuda_walk w;
    uint32_t mask = 0, full = 0;
    for (int j = 0; j < g->f->n_in; j++) hwb__cuda_strides(&g->in[j].shape, stride[j]);
    hwb__cuda_strides(&g->f->space, stride[g->f->n_in]);
    hwb__cuda_walk_make(&w, &g->f->space, g->f->n_in + 1, stride, NULL);
    for (int j = 0; j < g->f->n_in; j++) {
        if (is_full(&w, j)) full |= 1u << j;
        else if (!is_scalar(&w, j)) mask |= 1u << j;
    }
    const int v = hwb__cuda_pack_of(g, &w);
    hwb__cuda_walk_pack(&w, v);
    p->n = 1;
    for (int d = 0; d < w.ndim; d++) p->n *= w.dim[d];
    hwb__cuda_emit_head(t, g, HWB__CUDA_TEXT(HWB__CUDA_MAP_PARAMS));
    hwb__cuda_say(t, "extern \"C\" __global__ void __launch_bounds__(256) "
                     "hwb_kernel(const params p) {\n"
                     "for (I i = blockIdx.x * (I)256 + threadIdx.x; i < (I)p.n; "
                     "i += gridDim.x * (I)256) {\n");
    hwb__cuda_emit_offsets(t, &w, 0, mask, "i", "");
    loads(t, g, &w, v, full);
    body(t, g, &w, v);
    hwb__cuda_say(t, "}\n}\n");
}

hwb_status hwb__cuda_map_make(hwb_ctx *ctx, hwb__cuda *s, hwb__cuda_map *m,
                              const hwb__cuda_group *g) {
    hwb__cuda_text t = {0};
    text_of(&t, g, &m->p);
    hwb_status st = hwb__cuda_function(ctx, s, &m->f, "map", &t);
    free(t.at);
    m->grid = hwb__cuda_grid_for(m->p.n, s->sms);
    return st;
}
