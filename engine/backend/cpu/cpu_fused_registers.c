/*
 * cpu_fused_registers.c: from the register program of a fused group to the steps
 * that are run and the tile buffers they use.
 *
 * A sum or product whose operand is a product, sum or difference used nowhere
 * else becomes one step with it (a b + c and the like): every step is a pass
 * over the first-level cache, so one less is time saved.  A buffer is reused as
 * soon as its register is dead; a result may take the buffer of an operand.
 */
#include "backend/cpu/cpu_fused_i.h"

typedef struct builder {
    fused_kernel *k;
    int uses[FUSED_MAX_REGS];
    int maker[FUSED_MAX_REGS]; /* step of a register; -1: an input or a constant */
} builder;

/* op of the pair (inner, outer), inner being the first or the second operand; 0: none */
static int pair_op(int inner, int outer, bool second) {
    switch (outer) {
    case HWB_OP_ADD:
        return inner == HWB_OP_MUL ? VEC_MUL_ADD : inner == HWB_OP_ADD ? VEC_ADD_ADD : 0;
    case HWB_OP_SUB:
        if (inner != HWB_OP_MUL) return 0;
        return second ? VEC_SUB_PROD : VEC_MUL_SUB;
    case HWB_OP_MUL:
        return inner == HWB_OP_ADD ? VEC_ADD_MUL : inner == HWB_OP_SUB ? VEC_SUB_MUL : 0;
    default: return 0;
    }
}

/* Makes step s one with the step of an operand, if they pair. */
static bool join(builder *b, fused_step *s, bool second) {
    int reg = s->src[second ? 1 : 0], other = s->src[second ? 0 : 1];
    if (reg < 0 || other < 0 || b->uses[reg] != 1 || b->maker[reg] < 0) return false;
    fused_step *inner = &b->k->step[b->maker[reg]];
    int op = pair_op(inner->op, s->op, second);
    if (!op) return false;
    *s = (fused_step){.op = op, .dst = s->dst, .src = {inner->src[0], inner->src[1], other}};
    inner->dst = -1; /* taken out below */
    return true;
}

static void make_steps(builder *b, const hwb_fused *f) {
    fused_kernel *k = b->k;
    int n = 0;
    for (int r = 0; r < k->n_regs; r++) b->uses[r] = 0, b->maker[r] = -1;
    for (int i = 0; i < f->n_instr; i++)
        for (int j = 0; j < 3 && f->instr[i].op != HWB_OP_FILL; j++)
            if (f->instr[i].in[j] >= 0) b->uses[f->instr[i].in[j]]++;
    for (int i = 0; i < k->n_out; i++) b->uses[k->out[i].reg]++;
    for (int i = 0; i < f->n_instr; i++) {
        const hwb_finstr *in = &f->instr[i];
        int reg = k->n_in + i;
        if (in->op == HWB_OP_FILL) {
            k->fill[k->n_fill] = reg;
            k->fill_value[k->n_fill++] = in->imm;
            continue;
        }
        if (b->uses[reg] == 0) continue;
        fused_step s = {.op = in->op, .dst = reg, .src = {in->in[0], in->in[1], in->in[2]}};
        if (in->op == HWB_OP_WHERE && s.src[0] < k->n_in && k->in[s.src[0]].bytes)
            s.op = VEC_CHOOSE;
        if (!join(b, &s, false)) join(b, &s, true);
        b->maker[reg] = n;
        k->step[n++] = s;
    }
    for (int i = 0; i < n; i++)
        if (k->step[i].dst >= 0) k->step[k->n_steps++] = k->step[i];
    for (int r = 0; r < k->n_regs; r++) b->maker[r] = -1;
    for (int i = 0; i < k->n_steps; i++) b->maker[k->step[i].dst] = i;
}

int hwb__fused_registers(fused_kernel *k, const hwb_fused *f) {
    builder b = {.k = k};
    int last[FUSED_MAX_REGS], spare[FUSED_MAX_REGS], n_spare = 0, n_slots = 0;
    make_steps(&b, f);
    for (int r = 0; r < k->n_regs; r++) last[r] = -1, k->slot[r] = -1;
    for (int i = 0; i < k->n_steps; i++)
        for (int j = 0; j < 3; j++)
            if (k->step[i].src[j] >= 0) last[k->step[i].src[j]] = i;
    for (int i = 0; i < k->n_out; i++) {
        last[k->out[i].reg] = k->n_steps; /* outputs keep their buffer to the end */
        k->out[i].def = b.maker[k->out[i].reg];
    }
    for (int i = 0; i < k->n_in; i++) {
        k->in[i].last_use = last[i];
        if (!k->in[i].direct) k->slot[i] = n_slots++;
    }
    for (int i = 0; i < k->n_fill; i++) k->slot[k->fill[i]] = n_slots++;
    for (int i = 0; i < k->n_steps; i++) {
        const fused_step *s = &k->step[i];
        for (int j = 0; j < 3; j++) { /* operands that die here lend their buffer */
            int r = s->src[j];
            bool again = (j > 0 && s->src[0] == r) || (j > 1 && s->src[1] == r);
            if (r >= 0 && !again && last[r] == i && b.maker[r] >= 0) spare[n_spare++] = k->slot[r];
        }
        k->slot[s->dst] = n_spare ? spare[--n_spare] : n_slots++;
    }
    return n_slots;
}
