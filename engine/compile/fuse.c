/*
 * fuse.c: a unit of pointwise nodes as a register program (backend.h).
 *
 * Registers are the outside inputs, of which the first may be given (the result of a
 * convolution that the group follows), then one for each instruction.  Constants become immediate instructions; a cast from bool is its register (0 or 1).
 */
#include "compile/compile_i.h"

#include <stdlib.h>
#include <string.h>

typedef struct builder {
    const hwb_graph *g;
    const hwb__groups *q;
    int n_members;
    const hwb_id *members;
    int *reg;     /* by member position */
    hwb_id first; /* input 0, or NONE */
    hwb_id *in_nodes;
    int n_in;
    hwb_finstr *instr;
    int n_instr;
} builder;

static int member_at(const builder *b, hwb_id id) {
    for (int i = 0; i < b->n_members; i++)
        if (b->members[i] == id) return i;
    return -1;
}

static int input_at(const builder *b, hwb_id id) {
    if (b->first != HWB_NONE && hwb__root(b->q, id) == b->first &&
        hwb__same_value(b->g, id, b->first))
        return 0;
    for (int j = 0; j < b->n_in; j++)
        if (b->in_nodes[j] == id) return j;
    return -1;
}

/* Outside inputs in order of first use. */
static void collect_inputs(builder *b) {
    if (b->first != HWB_NONE) b->in_nodes[b->n_in++] = b->first;
    for (int m = 0; m < b->n_members; m++) {
        const hwb__node *n = b->g->nodes[b->members[m]];
        for (int i = 0; i < n->n_in; i++) {
            hwb_id v = n->in[i];
            if (member_at(b, v) >= 0 || b->g->nodes[v]->op == HWB_OP_FILL) continue;
            if (input_at(b, v) < 0) b->in_nodes[b->n_in++] = v;
        }
    }
}

static int emit(builder *b, hwb_finstr in) {
    for (int i = 0; in.op == HWB_OP_FILL && i < b->n_instr; i++)
        if (b->instr[i].op == HWB_OP_FILL && memcmp(&b->instr[i].imm, &in.imm, sizeof in.imm) == 0)
            return b->n_in + i;
    b->instr[b->n_instr] = in;
    return b->n_in + b->n_instr++;
}

static int fill(builder *b, double value) {
    return emit(b, (hwb_finstr){HWB_OP_FILL, {-1, -1, -1}, value});
}

static int operand(builder *b, hwb_id id) {
    int m = member_at(b, id);
    if (m >= 0) return b->reg[m];
    if (b->g->nodes[id]->op == HWB_OP_FILL) return fill(b, b->g->nodes[id]->attrs.value);
    int j = input_at(b, id);
    HWB_ASSERT(j >= 0);
    return j;
}

static int instruction(builder *b, hwb_id id) {
    const hwb__node *n = b->g->nodes[id];
    if (n->op == HWB_OP_SUM) return operand(b, n->in[0]);
    if (n->op == HWB_OP_CAST) {
        int x = operand(b, n->in[0]);
        if (n->dtype != HWB_BOOL) return x;
        return emit(b, (hwb_finstr){HWB_OP_NE, {x, fill(b, 0.0), -1}, 0});
    }
    hwb_finstr in = {(int32_t)n->op, {-1, -1, -1}, 0};
    for (int i = 0; i < n->n_in; i++) in.in[i] = operand(b, n->in[i]);
    return emit(b, in);
}

static hwb_dtype float_dtype(const builder *b) {
    for (int m = 0; m < b->n_members; m++) {
        const hwb__node *n = b->g->nodes[b->members[m]];
        if (hwb_dtype_is_float(n->dtype)) return n->dtype;
        for (int i = 0; i < n->n_in; i++)
            if (hwb_dtype_is_float(b->g->nodes[n->in[i]]->dtype))
                return b->g->nodes[n->in[i]]->dtype;
    }
    return HWB_F32;
}

hwb_status hwb__fuse_step(const hwb_graph *g, const hwb__groups *q, hwb_id first, int n,
                          const hwb_id *members, int n_stored, const hwb_id *stored,
                          hwb__step *step, hwb_id *in_nodes) {
    builder b = {.g = g,
                 .q = q,
                 .n_members = n,
                 .members = members,
                 .first = first,
                 .in_nodes = in_nodes,
                 .reg = malloc((size_t)n * sizeof *b.reg),
                 .instr = malloc((size_t)(4 * n + 1) * sizeof *b.instr)};
    step->fused = calloc(1, sizeof *step->fused);
    step->fout = calloc((size_t)n_stored + 1, sizeof *step->fout);
    step->instr = b.instr; /* the step owns it from here on */
    if (!b.reg || !b.instr || !step->fused || !step->fout) {
        free(b.reg);
        return hwb_fail(g->ctx, HWB_ENOMEM, "out of memory while compiling");
    }
    collect_inputs(&b);
    for (int m = 0; m < n; m++) b.reg[m] = instruction(&b, members[m]);
    for (int i = 0; i < n_stored; i++) {
        int m = member_at(&b, stored[i]);
        if (m < 0) step->fout[i] = (hwb_fout){0, false}; /* the first input itself */
        else step->fout[i] = (hwb_fout){b.reg[m], g->nodes[stored[i]]->op == HWB_OP_SUM};
    }
    *step->fused = (hwb_fused){.dtype = float_dtype(&b),
                               .space = *hwb__fuse_space(g, members[0]),
                               .n_in = b.n_in,
                               .n_instr = b.n_instr,
                               .n_out = n_stored,
                               .instr = step->instr,
                               .out = step->fout};
    step->n_in = b.n_in;
    free(b.reg);
    return HWB_OK;
}
