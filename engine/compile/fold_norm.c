/*
 * fold_norm.c: rebuild a forward graph with batch-norm in evaluation mode
 * folded into the convolutions before it.
 *
 *     s * (conv(x,w) + t) + u  =  conv(x, s*w) + (s*t + u)        s,t,u: [1,C,1,1]
 *
 * where the vectors do not depend on data.  Done before derivatives are taken,
 * it spares a derivative program the normalised activations: the gradient of s
 * comes from the gradient of the scaled weights, the adjoint of the
 * normalisation's result is that of the convolution's, and the only factor
 * left between two convolutions is the activation's mask.
 *
 * A convolution and the vectors after it stay unwritten ("pending") while their
 * result has one reader, which may take them up; any other reader gets
 * conv(x, s*w) + t.
 */
#include "compile/compile_i.h"

#include <stdlib.h>
#include <string.h>

/* What has become of a node of the old graph. */
typedef struct folded {
    hwb_id id;           /* in the new graph; HWB_NONE while pending */
    hwb_id conv;         /* pending: the convolution, in the old graph */
    hwb_id scale, shift; /* pending: [1,C,1,1] in the new graph, HWB_NONE = 1 and 0 */
} folded;

typedef struct folder {
    hwb_graph *g, *h;
    folded *to;
    int *uses;
    bool *output, *fixed; /* fixed: does not depend on data or tangents */
} folder;

/* conv(x, s*w) + t */
static hwb_status write_pending(folder *c, hwb_id id) {
    folded *f = &c->to[id];
    const hwb__node *n = c->g->nodes[f->conv];
    hwb_id in[2] = {c->to[n->in[0]].id, c->to[n->in[1]].id};
    HWB_TRY(hwb_graph_push_scope(c->h, c->g->scopes[n->scope]));
    hwb_status st = HWB_OK;
    if (f->scale != HWB_NONE) {
        hwb_shape s = {.ndim = 4, .dim = {n->shape.dim[1], 1, 1, 1}};
        st = hwb_reshape(c->h, &f->scale, f->scale, s);
        if (st == HWB_OK) st = hwb_mul(c->h, &in[1], in[1], f->scale);
    }
    if (st == HWB_OK) st = hwb_graph_node(c->h, &f->id, HWB_OP_CONV, 2, in, &n->attrs);
    if (st == HWB_OK && f->shift != HWB_NONE) st = hwb_add(c->h, &f->id, f->id, f->shift);
    hwb_graph_pop_scope(c->h);
    return st;
}

static hwb_status written(folder *c, hwb_id *out, hwb_id id) {
    if (c->to[id].id == HWB_NONE) HWB_TRY(write_pending(c, id));
    *out = c->to[id].id;
    return HWB_OK;
}

/* A vector over the channels of an image, the same for all data. */
static bool is_channel_vector(const folder *c, hwb_id id, const hwb_shape *image) {
    const hwb_shape *s = &c->g->nodes[id]->shape;
    return c->fixed[id] && s->ndim == 4 && s->dim[0] == 1 && s->dim[2] == 1 && s->dim[3] == 1 &&
           (s->dim[1] == 1 || s->dim[1] == image->dim[1]);
}

/* vector = vector op by, where HWB_NONE is the neutral element */
static hwb_status combine(folder *c, hwb_id *vector, hwb_op op, hwb_id by) {
    if (op == HWB_OP_MUL)
        return *vector == HWB_NONE ? (*vector = by, HWB_OK) : hwb_mul(c->h, vector, *vector, by);
    if (op == HWB_OP_ADD)
        return *vector == HWB_NONE ? (*vector = by, HWB_OK) : hwb_add(c->h, vector, *vector, by);
    return *vector == HWB_NONE ? hwb_neg(c->h, vector, by) : hwb_sub(c->h, vector, *vector, by);
}

/* Take a pending operand and a vector into a pending result; false if it is no such node. */
static hwb_status take_up(folder *c, hwb_id id, bool *taken) {
    const hwb__node *n = c->g->nodes[id];
    *taken = false;
    if (n->op != HWB_OP_ADD && n->op != HWB_OP_SUB && n->op != HWB_OP_MUL) return HWB_OK;
    int p = c->to[n->in[0]].id == HWB_NONE ? 0 : 1;
    hwb_id image = n->in[p], vector = n->in[1 - p];
    if (c->to[image].id != HWB_NONE || !is_channel_vector(c, vector, &c->g->nodes[image]->shape) ||
        (n->op == HWB_OP_SUB && p == 1))
        return HWB_OK;
    folded f = c->to[image];
    hwb_id by;
    HWB_TRY(written(c, &by, vector));
    if (n->op == HWB_OP_MUL) {
        const hwb_shape *s = hwb_graph_shape(c->h, by);
        hwb_shape full = *s;
        full.dim[1] = c->g->nodes[image]->shape.dim[1];
        HWB_TRY(hwb_broadcast_to(c->h, &by, by, full));
        HWB_TRY(combine(c, &f.scale, HWB_OP_MUL, by));
        if (f.shift != HWB_NONE) HWB_TRY(combine(c, &f.shift, HWB_OP_MUL, by));
    } else {
        HWB_TRY(combine(c, &f.shift, n->op, by));
    }
    c->to[id] = f;
    *taken = true;
    return HWB_OK;
}

static hwb_status fold_node(folder *c, hwb_id id) {
    const hwb__node *n = c->g->nodes[id];
    hwb_id in[64];
    bool taken = false, waits = c->uses[id] == 1 && !c->output[id];
    c->to[id] = (folded){HWB_NONE, HWB_NONE, HWB_NONE, HWB_NONE};
    if (hwb_op_family(n->op) == HWB_FAMILY_LEAF)
        return hwb__copy_leaf(c->g, id, c->h, &c->to[id].id);
    if (n->op == HWB_OP_CONV && n->shape.ndim == 4 && c->g->nodes[n->in[1]]->shape.ndim == 4) {
        for (int i = 0; i < 2; i++) HWB_TRY(written(c, &in[i], n->in[i]));
        c->to[id].conv = id;
        taken = true;
    } else {
        HWB_TRY(take_up(c, id, &taken));
    }
    if (taken) return waits ? HWB_OK : write_pending(c, id);
    for (int i = 0; i < n->n_in; i++) HWB_TRY(written(c, &in[i], n->in[i]));
    return hwb_graph_node(c->h, &c->to[id].id, n->op, n->n_in, in, &n->attrs);
}

static hwb_status fold_all(folder *c, const bool *needed) {
    hwb_graph *g = c->g;
    for (hwb_id id = 0; id < g->count; id++) {
        const hwb__node *n = g->nodes[id];
        c->fixed[id] = n->op != HWB_OP_INPUT || n->attrs.role <= HWB_ROLE_PARAM;
        for (int i = 0; i < n->n_in; i++) {
            c->fixed[id] = c->fixed[id] && c->fixed[n->in[i]];
            if (needed[id]) c->uses[n->in[i]]++;
        }
    }
    for (hwb_id id = 0; id < g->count; id++) {
        bool leaf = hwb_op_family(g->nodes[id]->op) == HWB_FAMILY_LEAF;
        c->to[id].id = HWB_NONE;
        if (!needed[id] && !leaf) continue;
        HWB_TRY(hwb_graph_push_scope(c->h, g->scopes[g->nodes[id]->scope]));
        hwb_status st = fold_node(c, id);
        hwb_graph_pop_scope(c->h);
        if (st != HWB_OK) return st;
    }
    return HWB_OK;
}

hwb_status hwb__fold_norm(hwb_graph *g, hwb_graph **out, int n_out, hwb_id *outputs, hwb_id *map) {
    size_t n = (size_t)g->count + 1;
    bool *needed = malloc(n);
    folder c = {.g = g,
                .to = malloc(n * sizeof *c.to),
                .uses = calloc(n, sizeof *c.uses),
                .output = calloc(n, 1),
                .fixed = malloc(n)};
    hwb_status st;
    if (!needed || !c.to || !c.uses || !c.output || !c.fixed)
        HWB_GOTO(done, st, hwb_fail(g->ctx, HWB_ENOMEM, "out of memory while compiling"));
    HWB_GOTO(done, st, hwb_graph_new(g->ctx, &c.h));
    hwb__graph_mark_needed(g, n_out, outputs, needed);
    for (int i = 0; i < n_out; i++) c.output[outputs[i]] = true;
    HWB_GOTO(done, st, fold_all(&c, needed));
    for (hwb_id id = 0; id < g->count; id++) map[id] = c.to[id].id;
    for (int i = 0; i < n_out; i++) outputs[i] = map[outputs[i]];
done:
    free(needed);
    free(c.to);
    free(c.uses);
    free(c.output);
    free(c.fixed);
    if (st == HWB_OK) *out = c.h;
    else hwb_graph_release(c.h);
    return st;
}
