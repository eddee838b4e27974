/*
 * trainer_rules.c: the update rules as groups on a device (exec/there_kernel_i.h): one pass
 * over a parameter, its gradient and its states, in float64, rounded once where they are
 * stored.  The numbers of a step lie in slots, so that one kernel does for all steps.
 *
 * SGD's first step needs no case of its own: mu 0 + d = d.
 */
#include "optim/trainer_i.h"

#include "exec/there_kernel_i.h"

#include <math.h>

enum { LR, DECAY, NO_DECAY, MU, SHRINK = MU, NO_SHRINK, BETA1, REST1, BETA2, REST2, ROOT2, EPS };
_Static_assert((int)EPS < (int)HWB__TRAINER_NUMBERS, "slots of a rule");

void hwb__trainer_numbers(const hwb_optim_options *o, int64_t t, double lr,
                          double x[HWB__TRAINER_NUMBERS]) {
    bool apart = o->kind == HWB_ADAMW; /* decay decoupled from the gradient */
    for (int i = 0; i < HWB__TRAINER_NUMBERS; i++) x[i] = 0;
    x[LR] = lr;
    x[DECAY] = apart ? 0 : o->weight_decay;
    if (o->kind == HWB_SGD) {
        x[MU] = o->momentum;
        return;
    }
    x[LR] = lr / (1 - pow(o->beta1, (double)t));
    x[SHRINK] = apart ? 1 - lr * o->weight_decay : 1;
    x[NO_SHRINK] = 1;
    x[BETA1] = o->beta1;
    x[REST1] = 1 - o->beta1;
    x[BETA2] = o->beta2;
    x[REST2] = 1 - o->beta2;
    x[ROOT2] = 1 / sqrt(1 - pow(o->beta2, (double)t));
    x[EPS] = o->eps;
}

static int product(hwb__there_group *g, int a, int b) {
    return hwb__group_instr(g, HWB_OP_MUL, a, b);
}

static int sum(hwb__there_group *g, int a, int b) {
    return hwb__group_instr(g, HWB_OP_ADD, a, b);
}

/* The results of `part`: states in order, then the parameter. */
static void results(hwb__there_group *g, const hwb__trainer_part *part, int n, const int *state,
                    int p) {
    for (int k = 0; k < n; k++)
        hwb__group_result(g, state[k], part->dtype, g->space, part->state[k]);
    hwb__group_result(g, p, part->dtype, g->space, part->p);
}

static void sgd(hwb__there_group *g, const hwb__there *t, const hwb_optim_options *o,
                const hwb__trainer_part *part) {
    bool moves = o->momentum > 0;
    int p = hwb__group_input(g, part->dtype, g->space, part->p);
    int d = hwb__group_input(g, part->dtype, g->space, part->g);
    int lr = hwb__group_number(g, t, LR);
    int decay = hwb__group_number(g, t, part->decay ? DECAY : NO_DECAY);
    int m = moves ? hwb__group_input(g, part->dtype, g->space, part->state[0]) : -1;
    int mu = moves ? hwb__group_number(g, t, MU) : -1;
    d = sum(g, d, product(g, decay, p));
    if (moves) m = sum(g, product(g, mu, m), d);
    int step = !moves ? d : o->nesterov ? sum(g, d, product(g, mu, m)) : m;
    p = hwb__group_instr(g, HWB_OP_SUB, p, product(g, lr, step));
    results(g, part, moves ? 1 : 0, &m, p);
}

static void adam(hwb__there_group *g, const hwb__there *t, const hwb__trainer_part *part) {
    int p = hwb__group_input(g, part->dtype, g->space, part->p);
    int d = hwb__group_input(g, part->dtype, g->space, part->g);
    int m = hwb__group_input(g, part->dtype, g->space, part->state[0]);
    int v = hwb__group_input(g, part->dtype, g->space, part->state[1]);
    int lr = hwb__group_number(g, t, LR);
    int decay = hwb__group_number(g, t, part->decay ? DECAY : NO_DECAY);
    int shrink = hwb__group_number(g, t, part->decay ? SHRINK : NO_SHRINK);
    int beta1 = hwb__group_number(g, t, BETA1), rest1 = hwb__group_number(g, t, REST1);
    int beta2 = hwb__group_number(g, t, BETA2), rest2 = hwb__group_number(g, t, REST2);
    int root2 = hwb__group_number(g, t, ROOT2), eps = hwb__group_number(g, t, EPS);
    d = sum(g, d, product(g, decay, p));
    m = sum(g, product(g, beta1, m), product(g, rest1, d));
    v = sum(g, product(g, beta2, v), product(g, product(g, rest2, d), d));
    int root = product(g, hwb__group_instr(g, HWB_OP_SQRT, v, -1), root2);
    int step = hwb__group_instr(g, HWB_OP_DIV, product(g, lr, m), sum(g, root, eps));
    p = hwb__group_instr(g, HWB_OP_SUB, product(g, shrink, p), step);
    results(g, part, 2, (int[]){m, v}, p);
}

hwb_status hwb__trainer_rule(hwb__there *t, const hwb_optim_options *o,
                             const hwb__trainer_part *part) {
    bool plain = o->kind == HWB_SGD;
    hwb__there_group g = {.space = {.ndim = 1, .dim = {part->n}}};
    hwb__there_key key = {.kind = HWB__THERE_OTHER,
                          .n = part->n,
                          .form = {part->dtype, plain, o->nesterov, o->momentum > 0}};
    if (part->n == 0) return HWB_OK;
    if (plain) sgd(&g, t, o, part);
    else adam(&g, t, part);
    return hwb__there_run(t, &key, &g);
}
