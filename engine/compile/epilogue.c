/*
 * epilogue.c: pointwise groups that follow a convolution, in one kernel with it.
 *
 *   y = conv(x, w)                      one unit:  inputs x, w, mask, bias
 *   z = where(mask, y + bias, 0)                   group  z = where(r1, r0 + r2, 0), r0 = y
 *
 * The backend computes y piece by piece and runs the group on each while it is in
 * cache: y is not written to memory unless somebody else reads it (it is then a
 * result of the kernel too, that of register 0), and the pass over memory is gone.
 *
 * A group follows when a convolution's result has the shape of its space, when what
 * else it reads does not depend on that convolution (no cycle of units), and when
 * the backend takes the two as one kernel.
 */
#include "compile/compile_i.h"

#include <stdlib.h>
#include <string.h>

bool hwb__is_conv(hwb_op op) {
    return op == HWB_OP_CONV || op == HWB_OP_CONV_BWD_DATA || op == HWB_OP_CONV_BWD_WEIGHTS;
}

/* The convolution among the members of a unit whose value is the unit's (of a sum of two the
 * one that adds), or NONE. */
static hwb_id conv_of(const hwb_graph *g, const hwb__groups *q, int n, const hwb_id *members) {
    hwb_id conv = HWB_NONE;
    for (int i = 0; i < n; i++) {
        if (!hwb__is_conv(g->nodes[members[i]]->op)) continue;
        if (conv == HWB_NONE || q->pair[members[i]] != HWB_NONE) conv = members[i];
    }
    return conv;
}

/* ---- description ------------------------------------------------------------------ */

int hwb__conv_inputs(const hwb_graph *g, const hwb__groups *q, hwb_id conv, hwb_id *in) {
    int n_in = 0;
    for (int k = 0; k < 2; k++) {
        hwb_id id = k ? conv : q->pair[conv];
        if (id == HWB_NONE) continue;
        for (int i = 0; i < g->nodes[id]->n_in; i++) in[n_in++] = g->nodes[id]->in[i];
    }
    if (q->add_to[conv] != HWB_NONE) in[n_in++] = q->add_to[conv];
    return n_in;
}

hwb_status hwb__follow_step(const hwb_graph *g, const hwb__groups *q, int n, const hwb_id *members,
                            const bool *outside, hwb__step *step, hwb_id *conv, hwb_id *in,
                            hwb_id *stored) {
    hwb_id group[HWB_FUSED_MAX_INSTR], operand[HWB_FUSED_MAX_IN + 3];
    int n_group = 0, n_stored = 0;
    *conv = conv_of(g, q, n, members);
    for (int i = 0; i < n; i++) {
        if (!hwb__is_conv(g->nodes[members[i]]->op)) group[n_group++] = members[i];
        if (outside[members[i]]) stored[n_stored++] = members[i];
    }
    HWB_TRY(hwb__fuse_step(g, q, *conv, n_group, group, n_stored, stored, step, operand));
    int own = hwb__conv_inputs(g, q, *conv, in);
    for (int i = 1; i < step->fused->n_in; i++) in[own + i - 1] = operand[i];
    step->n_in = own + step->fused->n_in - 1;
    step->n_out = n_stored;
    step->op = g->nodes[*conv]->op;
    return HWB_OK;
}

/* ---- choice ------------------------------------------------------------------------- */

/* outside[id] of the members: read by a node of another unit, or asked for. */
static void find_outside(const hwb__units *c, int n, const hwb_id *members, const int *merge,
                         bool *outside) {
    const hwb__groups *q = c->q;
    for (int i = 0; i < n; i++) outside[members[i]] = q->output[members[i]];
    for (hwb_id id = 0; id < c->g->count; id++) {
        if (q->unit[id] < 0) continue;
        bool member = hwb__in_list(q->unit[id], 2, merge);
        for (int i = -1; i < c->g->nodes[id]->n_in; i++) {
            hwb_id in = i < 0 ? q->add_to[id] : c->g->nodes[id]->in[i];
            if (in == HWB_NONE || (member && i < 0)) continue;
            hwb_id v = hwb__root(q, in);
            if (!member || !hwb__same_value(c->g, in, v)) outside[v] = true;
        }
    }
}

static void describe(const hwb_graph *g, int n, const hwb_id *nodes, hwb_vdesc *out) {
    memset(out, 0, (size_t)n * sizeof *out);
    for (int i = 0; i < n; i++) {
        out[i].dtype = g->nodes[nodes[i]]->dtype;
        out[i].shape = g->nodes[nodes[i]]->shape;
    }
}

/* The backend takes the units merge[0] (a convolution) and merge[1] as one kernel. */
static hwb_status ask(hwb__units *c, const hwb_device *d, const int *merge, bool *outside,
                      bool *yes) {
    hwb_id members[HWB_FUSED_MAX_INSTR + 2], in[HWB_FUSED_MAX_IN + 5], conv;
    hwb_id stored[HWB_FUSED_MAX_INSTR + 2];
    hwb_vdesc in_desc[HWB_FUSED_MAX_IN + 5], out_desc[HWB_FUSED_MAX_OUT];
    int n = 0;
    for (int k = 0; k < 2; k++)
        for (int m = 0; m < c->n_members[merge[k]]; m++) members[n++] = c->members[merge[k]][m];
    find_outside(c, n, members, merge, outside);
    int results = 0;
    for (int i = 0; i < n; i++) results += outside[members[i]];
    *yes = false;
    if (results > HWB_FUSED_MAX_OUT) return HWB_OK;
    hwb__step step = {0};
    hwb_status st = hwb__follow_step(c->g, c->q, n, members, outside, &step, &conv, in, stored);
    if (st == HWB_OK) {
        describe(c->g, step.n_in, in, in_desc);
        describe(c->g, step.n_out, stored, out_desc);
        hwb_kdesc desc = {.op = step.op,
                          .attrs = c->g->nodes[conv]->attrs,
                          .n_in = step.n_in,
                          .n_out = step.n_out,
                          .in = in_desc,
                          .out = out_desc,
                          .fused = step.fused,
                          .exact = hwb__exact(c->g, c->q, conv)};
        *yes = d->backend->supports(d->state, &desc);
    }
    hwb__step_free(&step);
    return st;
}

/* Unit u is a convolution, or a sum of two, whose value `in` is read as it is, and nothing
 * follows it yet. */
static bool leads(const hwb__units *c, int u, hwb_id in, hwb_id group) {
    const hwb__groups *q = c->q;
    const hwb_graph *g = c->g;
    hwb_id v = hwb__root(q, in);
    if (u < 0 || q->stage[v] != q->stage[group] || !hwb__same_value(g, in, v)) return false;
    if (!hwb_shape_equal(&g->nodes[v]->shape, hwb__fuse_space(g, group))) return false;
    for (int m = 0; m < c->n_members[u]; m++)
        if (!hwb__is_conv(g->nodes[c->members[u][m]]->op)) return false;
    return g->nodes[v]->op != HWB_OP_CONV_BWD_WEIGHTS;
}

/* Lets unit u follow one of the convolutions that it reads. */
static hwb_status follow_one(hwb__units *c, const hwb_device *d, int u, bool *outside) {
    const hwb_graph *g = c->g;
    for (int m = 0; m < c->n_members[u]; m++) {
        hwb_id id = c->members[u][m];
        for (int i = 0; i < g->nodes[id]->n_in; i++) {
            hwb_id in = g->nodes[id]->in[i];
            int merge[2] = {c->q->unit[hwb__root(c->q, in)], u};
            bool yes = false;
            if (merge[0] == u || !leads(c, merge[0], in, id)) continue;
            if (hwb__units_cycle(c, 2, merge)) continue;
            HWB_TRY(ask(c, d, merge, outside, &yes));
            if (yes) return hwb__units_join(c, 2, merge);
        }
    }
    return HWB_OK;
}

hwb_status hwb__follow(hwb__units *c, const hwb_device *d) {
    bool *outside = calloc((size_t)c->g->count + 1, sizeof *outside);
    hwb_status st = HWB_OK;
    if (!outside) return hwb_fail(c->g->ctx, HWB_ENOMEM, "out of memory while compiling");
    for (int u = 0; u < c->q->n_units && st == HWB_OK; u++)
        if (c->n_members[u] && hwb__fusible(c->g, c->members[u][0]))
            st = follow_one(c, d, u, outside);
    free(outside);
    return st;
}
