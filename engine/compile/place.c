/*
 * place.c: slices and joins that need no copy, where a value may lie inside another's
 * memory, at a multiple of the backend's `align` bytes.
 *
 *   slice of an input     dense and in one piece, as the parts of a flat vector
 *                         v[1,n] are: its value is the input's memory from an
 *                         offset on, and the step is dropped
 *   concat into a result  what is joined in one piece, as [1,n_i] into [1,n], is
 *                         written to its place in the result tensor by the step
 *                         that makes it; the concat copies only what is elsewhere
 *
 * An HVP of one vector thus reads v and writes Hv without passing through the
 * arena: three flat vectors less for a model whose parameters outweigh its
 * activations.
 */
#include "compile/compile_i.h"

static int64_t leading(const hwb_shape *s, int axis) {
    int64_t n = 1;
    for (int d = 0; d < axis; d++) n *= s->dim[d];
    return n;
}

/* Element offset of slice y of x when y is one dense piece of it; -1 when it is not. */
static int64_t dense_piece(const hwb_attrs *a, const hwb_shape *x, const hwb_shape *y) {
    int64_t at = 0, stride = 1;
    bool whole = true; /* dims behind d are complete */
    for (int d = x->ndim - 1; d >= 0; d--) {
        if (y->dim[d] > 1 && (a->step[d] != 1 || !whole)) return -1;
        if (y->dim[d] != x->dim[d]) whole = false;
        at += a->lo[d] * stride;
        stride *= x->dim[d];
    }
    return at;
}

bool hwb__in_leaf(const hwb_graph *g, const hwb_id *alias, hwb_id id) {
    while (g->nodes[id]->op == HWB_OP_SLICE) id = alias[g->nodes[id]->in[0]];
    return hwb_op_family(g->nodes[id]->op) == HWB_FAMILY_LEAF;
}

/* Inputs' slices are where they are; called before lifetimes are known. */
void hwb__place_slices(const hwb_graph *g, hwb__plan *p, size_t align) {
    int kept = 0;
    for (int k = 0; k < p->n_steps; k++) {
        hwb__step *s = &p->steps[k];
        const hwb__value *from = &p->values[s->in[0]];
        hwb__value *to = &p->values[s->out[0]];
        int64_t at = -1;
        if (s->op == HWB_OP_SLICE && from->place == HWB__AT_INPUT && to->place == HWB__AT_ARENA)
            at =
                dense_piece(&g->nodes[s->node]->attrs, &s->in_desc[0].shape, &s->out_desc[0].shape);
        const size_t offset =
            at < 0 ? 1 : from->offset + (size_t)at * hwb_dtype_size(to->desc.dtype);
        if (at < 0 || offset % align) {
            p->steps[kept++] = *s;
            continue;
        }
        to->place = HWB__AT_INPUT;
        to->index = from->index;
        to->offset = offset;
        hwb__step_free(s);
    }
    p->n_steps = kept;
}

/* Results' pieces are made where they belong; called when lifetimes are known, so that
 * what a later stage reads has left the arena.  Backwards, for joins of joins. */
void hwb__place_joins(const hwb_graph *g, hwb__plan *p, size_t align) {
    for (int k = p->n_steps - 1; k >= 0; k--) {
        const hwb__step *s = &p->steps[k];
        const hwb__value *to = &p->values[s->out[0]];
        if (s->op != HWB_OP_CONCAT || to->place != HWB__AT_OUTPUT) continue;
        if (leading(&s->out_desc[0].shape, g->nodes[s->node]->attrs.axis) != 1) continue;
        size_t at = to->offset;
        for (int i = 0; i < s->n_in; i++) {
            hwb__value *from = &p->values[s->in[i]];
            if (from->place == HWB__AT_ARENA && from->stage == to->stage && at % align == 0) {
                from->place = HWB__AT_OUTPUT;
                from->index = to->index;
                from->offset = at;
            }
            at += from->bytes;
        }
    }
}
