/*
 * cuda_map.c: groups without sums: one element (or pack of V) after the other.
 * See cuda_group_i.h.
 */
#include "cuda_group_i.h"

#include <stdlib.h>

/* Elements a thread handles at once: 16 bytes of the group's type, where the last
 * axis of every operand allows. */
static int width_of(const hwb__cuda_group *g, const hwb__cuda_walk *w) {
    int v = g->reg[0] == 'f' ? 4 : 2;
    if (w->ndim == 0 || g->reg[0] == 'i' || !hwb__cuda_is_float(g->f->dtype)) return 1;
    return w->dim[w->ndim - 1] % v ? 1 : v;
}

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

static void loads(hwb__cuda_text *t, const hwb__cuda_group *g, const hwb__cuda_walk *w, int v) {
    for (int j = 0; j < g->f->n_in; j++) {
        const char *type = hwb__cuda_type(g->in[j].dtype);
        bool full = is_full(w, j), scalar = is_scalar(w, j);
        bool packed = v > 1 && w->stride[j][w->ndim - 1];
        hwb__cuda_say(t, packed ? "const pack<%s, %d> " : "const %s ", type, v);
        hwb__cuda_say(t, packed ? "v%d = *(const pack<%s, %d> *)" : "v%d = *", j, type, v);
        hwb__cuda_say(t, "((const %s *)p.in[%d] + ", type, j);
        if (scalar) hwb__cuda_say(t, "0);\n");
        else if (full) hwb__cuda_say(t, "(i64)i%s);\n", v == 4 ? " * 4" : v == 2 ? " * 2" : "");
        else hwb__cuda_say(t, "(i64)b%d);\n", j);
    }
}

static void body(hwb__cuda_text *t, const hwb__cuda_group *g, const hwb__cuda_walk *w, int v) {
    const hwb_fused *f = g->f;
    for (int o = 0; o < f->n_out; o++) {
        const char *type = hwb__cuda_type(g->out[o].dtype);
        if (v > 1) hwb__cuda_say(t, "pack<%s, %d> y%d;\n", type, v, o);
    }
    if (v > 1) hwb__cuda_say(t, "#pragma unroll\nfor (int e = 0; e < %d; e++) {\n", v);
    for (int j = 0; j < f->n_in; j++) {
        bool packed = v > 1 && w->stride[j][w->ndim - 1];
        hwb__cuda_say(t, "const %s x%d = v%d%s;\n", hwb__cuda_type(g->in[j].dtype), j, j,
                      packed ? ".at[e]" : "");
    }
    hwb__cuda_emit_registers(t, g);
    for (int o = 0; o < f->n_out; o++) {
        const char *type = hwb__cuda_type(g->out[o].dtype);
        if (v > 1) hwb__cuda_say(t, "y%d.at[e] = ", o);
        else hwb__cuda_say(t, "((%s *)p.out[%d])[i] = ", type, o);
        hwb__cuda_emit_value(t, g, f->out[o].reg, g->out[o].dtype);
        hwb__cuda_say(t, ";\n");
    }
    if (v == 1) return;
    hwb__cuda_say(t, "}\n");
    for (int o = 0; o < f->n_out; o++) {
        const char *type = hwb__cuda_type(g->out[o].dtype);
        hwb__cuda_say(t, "((pack<%s, %d> *)p.out[%d])[i] = y%d;\n", type, v, o, o);
    }
}

static void fill_params(hwb__cuda_map_params *p, const hwb__cuda_walk *w, int n_in, int v) {
    p->n = 1;
    for (int d = 0; d < w->ndim; d++) {
        bool last = d == w->ndim - 1;
        p->dim[d] = last ? w->dim[d] / v : w->dim[d];
        p->by[d] = hwb__cuda_div_by(p->dim[d]);
        p->n *= p->dim[d];
        for (int j = 0; j < n_in; j++) p->stride[j][d] = w->stride[j][d] * (last ? v : 1);
    }
}

void hwb__cuda_map_text(hwb__cuda_text *t, const hwb__cuda_group *g, hwb__cuda_map_params *p) {
    hwb__cuda_stride stride[HWB_FUSED_MAX_IN + 1];
    hwb__cuda_walk w;
    uint32_t mask = 0;
    for (int j = 0; j < g->f->n_in; j++) hwb__cuda_strides(&g->in[j].shape, stride[j]);
    hwb__cuda_strides(&g->f->space, stride[g->f->n_in]);
    hwb__cuda_walk_make(&w, &g->f->space, g->f->n_in + 1, stride, NULL);
    const int v = width_of(g, &w);
    fill_params(p, &w, g->f->n_in, v);
    for (int j = 0; j < g->f->n_in; j++)
        if (!is_full(&w, j) && !is_scalar(&w, j)) mask |= 1u << j;
    hwb__cuda_emit_head(t, g, HWB__CUDA_TEXT(HWB__CUDA_MAP_PARAMS));
    hwb__cuda_say(t, "extern \"C\" __global__ void __launch_bounds__(256) "
                     "hwb_kernel(const params p) {\n"
                     "for (I i = blockIdx.x * (I)256 + threadIdx.x; i < (I)p.n; "
                     "i += gridDim.x * (I)256) {\n");
    hwb__cuda_emit_offsets(t, &w, 0, mask, "i", "", g->narrow);
    loads(t, g, &w, v);
    body(t, g, &w, v);
    hwb__cuda_say(t, "}\n}\n");
}

hwb_status hwb__cuda_map_make(hwb_ctx *ctx, hwb__cuda *s, hwb__cuda_map *m,
                              const hwb__cuda_group *g) {
    hwb__cuda_text t = {0};
    hwb__cuda_map_text(&t, g, &m->p);
    hwb_status st = hwb__cuda_function(ctx, s, &m->f, "map", &t);
    free(t.at);
    m->grid = hwb__cuda_grid_for(m->p.n, s->sms);
    return st;
}
