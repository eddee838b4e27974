/*
 * plan.c: schedule and memory.
 *
 * Units (group.c) are put in order: by stage, and topologically within a stage.
 * Each result gets a place: the result tensor itself when it is asked for and
 * made in the last stage, or with tangents; program memory kept between runs when a later stage
 * reads it; else a slot in the arena, which all stages share and in which slots
 * are reused by lifetime (first fit).  place.c makes exceptions.
 */
#include "compile/compile_i.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

typedef struct planner {
    const hwb_graph *g;
    hwb__groups q;
    hwb__plan *p;
    int *value;       /* root node -> value number, -1 */
    hwb_id **members; /* unit -> nodes in order */
    int *n_members;
    int *place_in_order; /* unit -> step number, -1 = not scheduled, -2 = under way */
    int n_order, *order; /* units in schedule order */
    bool *outside;       /* root node is read outside its unit, or asked for */
    bool fuse;
} planner;

static hwb_status oom(const planner *c) {
    return hwb_fail(c->g->ctx, HWB_ENOMEM, "out of memory while compiling");
}

static hwb_id root(const planner *c, hwb_id id) {
    return c->q.alias[id];
}

static hwb_vdesc desc_of(const hwb_graph *g, hwb_id id) {
    hwb_vdesc d;
    memset(&d, 0, sizeof d);
    d.dtype = g->nodes[id]->dtype;
    d.shape = g->nodes[id]->shape;
    return d;
}

/* ---- units and order --------------------------------------------------------------- */

static hwb_status collect_members(planner *c) {
    int n = c->q.n_units;
    c->members = calloc((size_t)n + 1, sizeof *c->members);
    c->n_members = calloc((size_t)n + 1, sizeof *c->n_members);
    if (!c->members || !c->n_members) return oom(c);
    for (hwb_id id = 0; id < c->g->count; id++)
        if (c->q.unit[id] >= 0) c->n_members[c->q.unit[id]]++;
    for (int u = 0; u < n; u++) {
        if (!(c->members[u] = malloc(((size_t)c->n_members[u] + 1) * sizeof(hwb_id))))
            return oom(c);
        c->n_members[u] = 0;
    }
    for (hwb_id id = 0; id < c->g->count; id++) {
        int u = c->q.unit[id];
        if (u >= 0) c->members[u][c->n_members[u]++] = id;
    }
    return HWB_OK;
}

static void mark_outside_uses(planner *c) {
    for (hwb_id id = 0; id < c->g->count; id++) {
        int u = c->q.unit[id];
        if (u < 0) continue;
        if (c->q.add_to[id] != HWB_NONE) c->outside[c->q.add_to[id]] = true;
        for (int i = 0; i < c->g->nodes[id]->n_in; i++) {
            hwb_id v = root(c, c->g->nodes[id]->in[i]);
            if (c->q.unit[v] != u || !hwb__same_value(c->g, c->g->nodes[id]->in[i], v))
                c->outside[v] = true;
        }
    }
    for (hwb_id id = 0; id < c->g->count; id++) c->outside[id] |= c->q.output[id];
}

/* Depth first through producers (an explicit stack: graphs can be deep). */
static hwb_status schedule_from(planner *c, int start, int *stack, int *next) {
    int top = 0;
    if (c->place_in_order[start] != -1) return HWB_OK;
    stack[top] = start;
    next[top++] = 0;
    c->place_in_order[start] = -2;
    while (top) {
        int u = stack[top - 1], pos = 0, found = -1;
        for (int m = 0; m < c->n_members[u] && found < 0; m++) {
            hwb_id id = c->members[u][m];
            const hwb__node *n = c->g->nodes[id];
            for (int i = -1; i < n->n_in && found < 0; i++, pos++) {
                hwb_id in = i < 0 ? c->q.add_to[id] : n->in[i];
                if (pos < next[top - 1] || in == HWB_NONE) continue;
                int v = c->q.unit[root(c, in)];
                if (v < 0 || v == u) continue;
                if (c->place_in_order[v] == -2)
                    return hwb_fail(c->g->ctx, HWB_EINTERNAL, "fused groups form a cycle");
                if (c->place_in_order[v] == -1) {
                    found = v;
                    next[top - 1] = pos + 1;
                }
            }
        }
        if (found >= 0) {
            stack[top] = found;
            next[top++] = 0;
            c->place_in_order[found] = -2;
        } else {
            c->order[c->n_order++] = u;
            c->place_in_order[u] = 0;
            top--;
        }
    }
    return HWB_OK;
}

static int unit_stage(const planner *c, int u) {
    return c->n_members[u] ? c->q.stage[c->members[u][0]] : -1;
}

static hwb_status make_order(planner *c) {
    int n = c->q.n_units + 1, *stack = malloc((size_t)n * sizeof *stack);
    int *next = malloc((size_t)n * sizeof *next);
    c->order = malloc((size_t)n * sizeof *c->order);
    c->place_in_order = malloc((size_t)n * sizeof *c->place_in_order);
    hwb_status st = stack && next && c->order && c->place_in_order ? HWB_OK : oom(c);
    for (int u = 0; st == HWB_OK && u < n; u++) c->place_in_order[u] = -1;
    for (int stage = 0, last = 0; st == HWB_OK && stage <= last; stage++)
        for (hwb_id id = 0; id < c->g->count && st == HWB_OK; id++) {
            int u = c->q.unit[id];
            if (u < 0) continue;
            if (unit_stage(c, u) > last) last = unit_stage(c, u);
            if (unit_stage(c, u) == stage) st = schedule_from(c, u, stack, next);
        }
    free(stack);
    free(next);
    return st;
}

/* ---- values ------------------------------------------------------------------------------ */

static hwb_status add_value(planner *c, int *number, hwb_id node) {
    hwb__value *values = realloc(c->p->values, (size_t)(c->p->n_values + 1) * sizeof *values);
    if (!values) return oom(c);
    c->p->values = values;
    hwb__value *v = &values[c->p->n_values];
    memset(v, 0, sizeof *v);
    v->node = node;
    v->desc = desc_of(c->g, node);
    v->bytes = (size_t)hwb_shape_numel(&v->desc.shape) * hwb_dtype_size(v->desc.dtype);
    v->stage = c->q.stage[node];
    v->place = HWB__AT_ARENA;
    v->first = v->last = -1;
    *number = c->value[node] = c->p->n_values++;
    return HWB_OK;
}

/* The value behind a node that a step reads; leaves appear at first use. */
static hwb_status value_for(planner *c, int *number, hwb_id id) {
    hwb_id r = root(c, id);
    if (c->value[r] >= 0) {
        *number = c->value[r];
        return HWB_OK;
    }
    HWB_ASSERT(hwb_op_family(c->g->nodes[r]->op) == HWB_FAMILY_LEAF);
    HWB_TRY(add_value(c, number, r));
    hwb__leaf *leaves = realloc(c->p->leaves, (size_t)(c->p->n_leaves + 1) * sizeof *leaves);
    if (!leaves) return oom(c);
    c->p->leaves = leaves;
    leaves[c->p->n_leaves] = (hwb__leaf){r, *number};
    c->p->values[*number].place = HWB__AT_INPUT;
    c->p->values[*number].index = c->p->n_leaves++;
    return HWB_OK;
}

/* ---- steps --------------------------------------------------------------------------------- */

static hwb_status alloc_step(planner *c, hwb__step *s, int n_in, int n_out) {
    s->in = calloc((size_t)n_in + 1, sizeof *s->in);
    s->out = calloc((size_t)n_out + 1, sizeof *s->out);
    s->in_desc = calloc((size_t)n_in + 1, sizeof *s->in_desc);
    s->out_desc = calloc((size_t)n_out + 1, sizeof *s->out_desc);
    s->out_node = calloc((size_t)n_out + 1, sizeof *s->out_node);
    s->n_in = n_in;
    s->n_out = n_out;
    return s->in && s->out && s->in_desc && s->out_desc && s->out_node ? HWB_OK : oom(c);
}

static hwb_status connect(planner *c, hwb__step *s, const hwb_id *in_nodes, const hwb_id *outs) {
    for (int i = 0; i < s->n_in; i++) {
        HWB_TRY(value_for(c, &s->in[i], in_nodes[i]));
        s->in_desc[i] = desc_of(c->g, in_nodes[i]);
        if (c->q.stage[in_nodes[i]] < s->stage) s->stable |= 1u << i;
    }
    for (int i = 0; i < s->n_out; i++) {
        s->out_node[i] = outs[i];
        s->out_desc[i] = desc_of(c->g, outs[i]);
        hwb_id onto = c->q.add_to[outs[i]];
        if (onto != HWB_NONE) { /* the convolution adds in place */
            s->out[i] = c->value[outs[i]] = c->value[onto];
            c->p->values[s->out[i]].node = outs[i];
        } else {
            HWB_TRY(add_value(c, &s->out[i], outs[i]));
        }
    }
    return HWB_OK;
}

static hwb_status make_fused(planner *c, hwb__step *s, int u) {
    hwb_id ins[HWB_FUSED_MAX_IN + 3], *stored = malloc((size_t)c->n_members[u] * sizeof *stored);
    int n_stored = 0;
    if (!stored) return oom(c);
    for (int m = 0; m < c->n_members[u]; m++) {
        hwb_id id = c->members[u][m];
        if (c->outside[id]) stored[n_stored++] = id;
    }
    hwb__step tmp = {0};
    hwb_status st = hwb__fuse_step(c->g, &c->q, HWB_NONE, c->n_members[u], c->members[u], n_stored,
                                   stored, &tmp, ins);
    s->fused = tmp.fused;
    s->instr = tmp.instr;
    s->fout = tmp.fout;
    s->op = HWB_OP_FUSED;
    if (st == HWB_OK) st = alloc_step(c, s, tmp.n_in, n_stored);
    if (st == HWB_OK) st = connect(c, s, ins, stored);
    free(stored);
    return st;
}

static int64_t macs_of(const planner *c, const hwb__node *n) {
    if (hwb_op_family(n->op) != HWB_FAMILY_BILINEAR) return 0;
    return hwb_op_macs(n->op, &n->attrs, &c->g->nodes[n->in[0]]->shape,
                       &c->g->nodes[n->in[1]]->shape, &n->shape);
}

/* One node, or two convolutions whose sum is one kernel. */
static hwb_status make_single(planner *c, hwb__step *s, int u) {
    hwb_id id = c->members[u][0];
    if (c->n_members[u] == 2 && c->q.pair[id] == HWB_NONE) id = c->members[u][1];
    const hwb__node *n = c->g->nodes[id];
    hwb_id in[65];
    int n_in = n->n_in;
    memcpy(in, n->in, (size_t)n_in * sizeof *in);
    if (hwb__is_conv(n->op) || c->q.add_to[id] != HWB_NONE)
        n_in = hwb__conv_inputs(c->g, &c->q, id, in);
    s->op = n->op;
    s->exact = hwb__exact(c->g, &c->q, id);
    HWB_TRY(alloc_step(c, s, n_in, 1));
    return connect(c, s, in, &id);
}

/* What a convolution adds to is read for the last time: the first result of its shape that the
 * group stores takes its memory. */
static void store_onto(planner *c, hwb__step *s, hwb_id conv, const hwb_id *stored) {
    hwb_id onto = c->q.add_to[conv];
    for (int i = 0; i < s->n_out && onto != HWB_NONE; i++)
        if (stored[i] == conv) return;
    for (int i = 0; i < s->n_out && onto != HWB_NONE; i++) {
        const hwb__node *n = c->g->nodes[stored[i]], *m = c->g->nodes[onto];
        if (n->dtype != m->dtype || !hwb_shape_equal(&n->shape, &m->shape)) continue;
        c->q.add_to[stored[i]] = onto;
        return;
    }
}

/* Convolutions, and the group that follows them. */
static hwb_status make_following(planner *c, hwb__step *s, int u) {
    hwb_id in[HWB_FUSED_MAX_IN + 5], conv, *stored = malloc((size_t)c->n_members[u] * sizeof *in);
    if (!stored) return oom(c);
    hwb__step tmp = {0};
    hwb_status st = hwb__follow_step(c->g, &c->q, c->n_members[u], c->members[u], c->outside, &tmp,
                                     &conv, in, stored);
    s->fused = tmp.fused;
    s->instr = tmp.instr;
    s->fout = tmp.fout;
    s->op = tmp.op;
    if (st == HWB_OK) {
        s->node = conv;
        s->exact = hwb__exact(c->g, &c->q, conv);
        st = alloc_step(c, s, tmp.n_in, tmp.n_out);
    }
    if (st == HWB_OK) {
        store_onto(c, s, conv, stored);
        st = connect(c, s, in, stored);
    }
    free(stored);
    return st;
}

static hwb_status make_step(planner *c, hwb__step *s, int u) {
    int convs = 0, n = c->n_members[u];
    for (int m = 0; m < n; m++) {
        const hwb__node *node = c->g->nodes[c->members[u][m]];
        convs += hwb__is_conv(node->op);
        s->macs += macs_of(c, node);
    }
    s->n_nodes = n;
    s->n_pointwise = 0;
    if (convs && convs < n) s->n_pointwise = n - convs;
    else if (c->fuse && hwb__fusible(c->g, c->members[u][0])) s->n_pointwise = n;
    if (!s->n_pointwise) return make_single(c, s, u);
    return convs ? make_following(c, s, u) : make_fused(c, s, u);
}

static hwb_status make_steps(planner *c) {
    c->p->steps = calloc((size_t)c->n_order + 1, sizeof *c->p->steps);
    if (!c->p->steps) return oom(c);
    for (int k = 0; k < c->n_order; k++) {
        int u = c->order[k];
        hwb__step *s = &c->p->steps[c->p->n_steps++];
        s->node = c->members[u][c->n_members[u] - 1];
        s->stage = (uint16_t)unit_stage(c, u);
        HWB_TRY(make_step(c, s, u));
        if (s->stage > c->p->last_stage) c->p->last_stage = s->stage;
    }
    return HWB_OK;
}

/* ---- outputs, lifetimes, memory ------------------------------------------------------------------ */

static hwb_status make_outputs(planner *c, int n_out, const hwb_id *outputs) {
    hwb__plan *p = c->p;
    p->outputs = calloc((size_t)n_out + 1, sizeof *p->outputs);
    p->n_outputs = n_out;
    if (!p->outputs) return oom(c);
    for (int i = 0; i < n_out; i++) {
        hwb__output *o = &p->outputs[i];
        o->desc = desc_of(c->g, outputs[i]);
        HWB_TRY(value_for(c, &o->value, outputs[i]));
        hwb__value *v = &p->values[o->value];
        bool ends = v->stage == p->last_stage || v->stage >= HWB_ROLE_TANGENT;
        if (v->place == HWB__AT_ARENA && ends) {
            v->place = HWB__AT_OUTPUT;
            v->index = i;
            o->direct = true;
        } else if (v->place == HWB__AT_ARENA) {
            v->place = HWB__AT_KEPT;
        }
    }
    return HWB_OK;
}

static void find_lifetimes(hwb__plan *p) {
    for (int k = 0; k < p->n_steps; k++) {
        const hwb__step *s = &p->steps[k];
        for (int i = 0; i < s->n_out; i++) {
            hwb__value *v = &p->values[s->out[i]];
            if (v->first < 0) v->first = k;
            v->last = k;
        }
        for (int i = 0; i < s->n_in; i++) {
            hwb__value *v = &p->values[s->in[i]];
            v->last = k;
            if (v->place == HWB__AT_ARENA && v->stage < s->stage) v->place = HWB__AT_KEPT;
        }
    }
}

static size_t round_up(size_t n) {
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* First fit among the slots alive at the same time; values come in step order. */
static hwb_status place_arena(planner *c) {
    hwb__plan *p = c->p;
    int *live = malloc(((size_t)p->n_values + 1) * sizeof *live), n_live = 0;
    if (!live) return oom(c);
    for (int k = 0; k < p->n_steps; k++) {
        int kept = 0; /* forget the slots that died; `live` stays sorted by offset */
        for (int i = 0; i < n_live; i++)
            if (p->values[live[i]].last >= k) live[kept++] = live[i];
        n_live = kept;
        for (int i = 0; i < p->steps[k].n_out; i++) {
            hwb__value *v = &p->values[p->steps[k].out[i]];
            if (v->place != HWB__AT_ARENA || v->first != k) continue;
            size_t at = 0;
            int j = 0;
            for (; j < n_live; j++) {
                const hwb__value *w = &p->values[live[j]];
                if (at + round_up(v->bytes) <= w->offset) break;
                at = w->offset + round_up(w->bytes);
            }
            v->offset = at;
            memmove(live + j + 1, live + j, (size_t)(n_live - j) * sizeof *live);
            live[j] = p->steps[k].out[i];
            n_live++;
            if (at + round_up(v->bytes) > p->arena_bytes) p->arena_bytes = at + round_up(v->bytes);
        }
    }
    free(live);
    for (int i = 0; i < p->n_values; i++) {
        if (p->values[i].place != HWB__AT_KEPT) continue;
        p->values[i].offset = p->kept_bytes;
        p->kept_bytes += round_up(p->values[i].bytes);
    }
    return HWB_OK;
}

/* ---- all of it -------------------------------------------------------------------------------------- */

static void planner_free(planner *c) {
    for (int u = 0; c->members && u < c->q.n_units; u++) free(c->members[u]);
    free(c->members);
    free(c->n_members);
    free(c->order);
    free(c->place_in_order);
    free(c->outside);
    free(c->value);
    hwb__groups_free(&c->q);
}

hwb_status hwb__plan_make(const hwb_graph *g, hwb__plan **out, int n_out, const hwb_id *outputs,
                          bool fuse, bool pairs, const hwb_device *follows, size_t align) {
    planner c = {.g = g, .fuse = fuse};
    hwb_status st = hwb__group(g, &c.q, n_out, outputs, fuse, pairs, follows);
    if (st != HWB_OK) return st;
    c.p = calloc(1, sizeof *c.p);
    c.outside = calloc((size_t)g->count + 1, sizeof *c.outside);
    c.value = malloc(((size_t)g->count + 1) * sizeof *c.value);
    if (!c.p || !c.outside || !c.value) st = oom(&c);
    for (int i = 0; st == HWB_OK && i < g->count; i++) c.value[i] = -1;
    if (st == HWB_OK) st = collect_members(&c);
    if (st == HWB_OK) mark_outside_uses(&c);
    if (st == HWB_OK) st = make_order(&c);
    if (st == HWB_OK) st = make_steps(&c);
    if (st == HWB_OK) st = make_outputs(&c, n_out, outputs);
    if (st == HWB_OK && align) hwb__place_slices(g, c.p, align);
    if (st == HWB_OK) find_lifetimes(c.p);
    if (st == HWB_OK && align) hwb__place_joins(g, c.p, align);
    if (st == HWB_OK) st = place_arena(&c);
    planner_free(&c);
    if (st == HWB_OK) *out = c.p;
    else hwb__plan_free(c.p);
    return st;
}

void hwb__step_free(hwb__step *s) {
    free(s->in);
    free(s->out);
    free(s->in_desc);
    free(s->out_desc);
    free(s->out_node);
    free(s->fused);
    free(s->instr);
    free(s->fout);
}

void hwb__plan_free(hwb__plan *p) {
    if (!p) return;
    for (int k = 0; k < p->n_steps; k++) hwb__step_free(&p->steps[k]);
    free(p->values);
    free(p->steps);
    free(p->leaves);
    free(p->outputs);
    free(p);
}
