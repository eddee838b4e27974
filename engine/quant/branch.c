/*
 * branch.c: exact allocation under several budgets, depth first.
 *
 * A node fixes groups 0..d-1.  The rest is bounded by relaxations that keep
 * one constraint exactly and price the others with the root's multipliers
 * (Lagrange), or keep one weighted sum of all constraints (surrogate).  Each is
 * a knapsack with one constraint, solved beforehand for every depth and every
 * budget by dominance merging from the last group forwards, so a bound is a
 * binary search.  With a single constraint the bound is exact and the search
 * runs straight to the optimum.
 */
#include "quant/allocate_i.h"

#include <stdio.h>

enum { TABLE_POINTS = 8192, INTERRUPT_EVERY = 16384 };

/* ---- tables ---------------------------------------------------------------------- */

static double table_value(const hwb__search *z, const hwb__table *t, const hwb__item *i) {
    double x = i->omega;
    for (int c = 0; c < z->m; c++) x += t->value_mu[c] * i->cost[c];
    return x;
}

static double table_cost(const hwb__search *z, const hwb__table *t, const hwb__item *i) {
    double x = 0;
    for (int c = 0; c < z->m; c++) x += t->cost_mu[c] * i->cost[c];
    return x;
}

static hwb_status fill_table(hwb__search *z, hwb__table *t) {
    int s = z->states;
    int64_t cap = TABLE_POINTS / s + 64;
    t->list = hwb_calloc(z->ctx, (size_t)((z->n + 1) * s) * sizeof *t->list);
    if (!t->list) return HWB_ENOMEM;
    for (int k = 0; k < s; k++) HWB_TRY(hwb__list_origin(z->ctx, &t->list[z->n * s + k]));
    for (int64_t d = z->n - 1; d >= 0; d--) {
        HWB_TRY(hwb_check_interrupt(z->ctx));
        for (int k = 0; k < s; k++) {
            hwb__source src[HWB_ALLOCATE_MAX_CHOICES];
            int count = 0;
            for (int i = 0; i < z->g[d].count; i++) {
                const hwb__item *it = &z->g[d].item[i];
                if (!hwb__allowed(z, it, k)) continue;
                const hwb__list *rest = &t->list[(d + 1) * s + hwb__next_state(z, it)];
                src[count++] = (hwb__source){rest, table_cost(z, t, it), table_value(z, t, it), 0};
            }
            if (count)
                HWB_TRY(hwb__list_merge(z->ctx, &t->list[d * s + k], src, count, false, cap,
                                        HWB__THIN_LOWER, NULL));
        }
    }
    return HWB_OK;
}

/* One table for each constraint kept exactly, one for their weighted sum. */
static hwb_status make_tables(hwb__search *z) {
    int active = 0;
    for (int c = 0; c < z->m; c++) active += z->mu[c] > 0;
    z->table = hwb_calloc(z->ctx, (size_t)(z->m + 1) * sizeof *z->table);
    if (!z->table) return HWB_ENOMEM;
    for (int c = 0; c < z->m; c++) {
        hwb__table *t = &z->table[z->tables++];
        t->cost_mu[c] = 1;
        t->limit = z->limit[c];
        for (int o = 0; o < z->m; o++)
            if (o != c) {
                t->value_mu[o] = z->mu[o];
                t->constant -= z->mu[o] * z->limit[o];
            }
        HWB_TRY(fill_table(z, t));
    }
    if (z->m > 0 && active < 2) return HWB_OK;
    hwb__table *t = &z->table[z->tables++]; /* without constraints: omega alone */
    double size = 0;
    for (int c = 0; c < z->m; c++) {
        t->cost_mu[c] = z->mu[c];
        t->limit += z->mu[c] * z->limit[c];
        size += z->mu[c] * fmax(z->scale[c], fabs(z->limit[c]));
    }
    t->limit += 1e-12 * size; /* the sums below round differently */
    return fill_table(z, t);
}

/* ---- the tree ----------------------------------------------------------------------- */

typedef struct node {
    double omega;
    double used[HWB_ALLOCATE_MAX_COSTS];
    double value[HWB_ALLOCATE_MAX_COSTS + 1], cost[HWB_ALLOCATE_MAX_COSTS + 1]; /* per table */
    int state;
} node;

typedef struct child {
    node n;
    double bound;
    int item;
} child;

/* Best bound of all tables for groups d.. after node n */
static double bound_of(const hwb__search *z, const node *n, int64_t d) {
    double best = -INFINITY;
    for (int i = 0; i < z->tables; i++) {
        const hwb__table *t = &z->table[i];
        double rest = hwb__list_lookup(&t->list[d * z->states + n->state], t->limit - n->cost[i]);
        double rounding = 4e-15 * (fabs(n->value[i]) + fabs(t->constant) + fabs(rest));
        best = fmax(best, n->value[i] + t->constant + rest - (rest < INFINITY ? rounding : 0));
    }
    return best;
}

static bool fits(const hwb__search *z, const node *n, int64_t d) {
    const double *least = z->least + (d * z->states + n->state) * z->m;
    for (int c = 0; c < z->m; c++) {
        /* With costs that are not integers the sum may round upwards. */
        double allowance = 4e-15 * (fabs(n->used[c]) + fabs(least[c]));
        if (n->used[c] + least[c] - allowance > z->limit[c]) return false;
    }
    return true;
}

static node descend(const hwb__search *z, const node *from, const hwb__item *i) {
    node n = *from;
    n.omega += i->omega;
    n.state = hwb__next_state(z, i);
    for (int c = 0; c < z->m; c++) n.used[c] += i->cost[c];
    for (int t = 0; t < z->tables; t++) {
        n.value[t] += table_value(z, &z->table[t], i);
        n.cost[t] += table_cost(z, &z->table[t], i);
    }
    return n;
}

static bool within(const hwb__search *z, const node *n) {
    for (int c = 0; c < z->m; c++)
        if (n->used[c] > z->limit[c]) return false;
    return true;
}

/* Children of n at depth d worth visiting, most promising first. */
static int expand(const hwb__search *z, const node *n, int64_t d, child *list) {
    int count = 0;
    for (int i = 0; i < z->g[d].count; i++) {
        const hwb__item *it = &z->g[d].item[i];
        if (!hwb__allowed(z, it, n->state)) continue;
        child c = {.n = descend(z, n, it), .item = i};
        if (!fits(z, &c.n, d + 1)) continue;
        c.bound = bound_of(z, &c.n, d + 1);
        if (c.bound >= hwb__target(z)) continue;
        int j = count++;
        for (; j > 0 && list[j - 1].bound > c.bound; j--) list[j] = list[j - 1];
        list[j] = c;
    }
    return count;
}

static hwb_status visit(hwb__search *z, const node *n, int64_t d) {
    if (z->nodes++ % INTERRUPT_EVERY == 0) HWB_TRY(hwb_check_interrupt(z->ctx));
    if (d == z->n) {
        if (within(z, n)) hwb__search_record(z, z->pick, n->omega);
        return HWB_OK;
    }
    child *list = hwb_alloc(z->ctx, (size_t)z->g[d].count * sizeof *list);
    if (!list) return HWB_ENOMEM;
    int count = expand(z, n, d, list);
    hwb_status s = HWB_OK;
    for (int i = 0; s == HWB_OK && i < count && list[i].bound < hwb__target(z); i++) {
        if (z->nodes >= z->node_limit) {
            z->cut = true;
            break;
        }
        z->pick[d] = list[i].item;
        s = visit(z, &list[i].n, d + 1);
    }
    hwb_free(list);
    return s;
}

hwb_status hwb__search_tree(hwb__search *z) {
    HWB_TRY(make_tables(z));
    node root = {.state = z->states - 1};
    double bound = bound_of(z, &root, 0);
    if (bound > z->lower) z->lower = bound;
    if (z->lower < hwb__target(z)) HWB_TRY(visit(z, &root, 0));
    return HWB_OK;
}

/* ---- the public call ------------------------------------------------------------------- */

/* Say for every limit what the least reachable cost is. */
static hwb_status infeasible(hwb_ctx *ctx, const hwb__search *z, const hwb_allocate_problem *p) {
    char text[512] = "", name[32];
    size_t at = 0;
    bool alone = false;
    for (int c = 0, k = 0; c < p->costs; c++) {
        if (p->limit[c] == INFINITY) continue;
        double least = z->least[(z->states - 1) * z->m + k++];
        alone = alone || least > z->limit[k - 1];
        if (at < sizeof text)
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%s: limit %.10g, at least %.10g",
                                   at ? "; " : "", hwb__cost_name(p, c, name), p->limit[c], least);
    }
    if (!at) return hwb_fail(ctx, HWB_EARG, "allocate: no choice of bits follows the scores");
    return hwb_fail(ctx, HWB_EARG, "allocate: no choice of bits %s (%s)",
                    alone ? "meets the limits" : "meets all limits together", text);
}

static hwb_status run(hwb__search *z, hwb_allocation *out, const hwb__alloc *a) {
    const hwb_allocate_problem *p = a->p;
    HWB_TRY(hwb__search_init(z, a, z->ordered));
    HWB_TRY(hwb__search_dual(z));
    bool possible = true;
    for (int c = 0; c < z->m; c++)
        possible = possible && z->least[(z->states - 1) * z->m + c] <= z->limit[c];
    if (possible && z->lower < hwb__target(z)) HWB_TRY(hwb__search_tree(z));
    if (z->upper == INFINITY && z->cut)
        return hwb_fail(z->ctx, HWB_EARG,
                        "allocate: no allocation found within %lld nodes; limits may be infeasible",
                        (long long)z->node_limit);
    if (z->upper == INFINITY) return infeasible(z->ctx, z, p);
    int *choice = hwb_alloc(z->ctx, (size_t)p->layers * sizeof *choice);
    if (!choice) return HWB_ENOMEM;
    for (int64_t l = 0; l < p->layers; l++) choice[l] = z->best[a->group_of[l]];
    hwb_status s = hwb__allocation_new(z->ctx, out, p, choice);
    hwb_free(choice);
    HWB_TRY(s);
    out->optimal = !z->cut;
    out->bound = z->cut ? z->lower : out->omega;
    out->nodes = z->nodes;
    return HWB_OK;
}

hwb_status hwb_allocate_solve(hwb_ctx *ctx, hwb_allocation *out, const hwb_allocate_problem *p,
                              const hwb_allocate_options *opt) {
    if (opt->node_limit < 1)
        return hwb_fail(ctx, HWB_EARG, "allocate: node_limit %lld: needs at least 1",
                        (long long)opt->node_limit);
    hwb__alloc a;
    HWB_TRY(hwb__alloc_init(ctx, &a, p, opt->score));
    hwb__search z = {.ctx = ctx, .ordered = opt->score != NULL, .node_limit = opt->node_limit};
    hwb_status s = run(&z, out, &a);
    hwb__search_free(&z);
    hwb__alloc_free(&a);
    return s;
}
