/*
 * allocate.c: the allocation problem: checks, merging of tied layers, results,
 * and the two HAWQ-V1 helpers.
 */
#include "quant/allocate_i.h"

#include <stdio.h>

hwb_allocate_options hwb_allocate_defaults(void) {
    return (hwb_allocate_options){.node_limit = 20000000};
}

void hwb_allocation_free(hwb_allocation *a) {
    if (!a) return;
    hwb_free(a->choice);
    *a = (hwb_allocation){0};
}

const char *hwb__cost_name(const hwb_allocate_problem *p, int c, char buf[32]) {
    if (p->cost_name && p->cost_name[c]) return p->cost_name[c];
    snprintf(buf, 32, "cost %d", c + 1);
    return buf;
}

static double omega_at(const hwb_allocate_problem *p, int64_t l, int b) {
    return p->omega[l * p->choices + b];
}

static double cost_at(const hwb_allocate_problem *p, int c, int64_t l, int b) {
    return p->cost[(c * p->layers + l) * p->choices + b];
}

static hwb_status check(hwb_ctx *ctx, const hwb_allocate_problem *p) {
    if (p->layers < 1 || p->choices < 1 || p->choices > HWB_ALLOCATE_MAX_CHOICES || p->costs < 0 ||
        p->costs > HWB_ALLOCATE_MAX_COSTS)
        return hwb_fail(ctx, HWB_EARG,
                        "allocate: %lld layers, %d choices, %d costs: at least 1 layer, 1 to %d "
                        "choices and at most %d costs are possible",
                        (long long)p->layers, p->choices, p->costs, HWB_ALLOCATE_MAX_CHOICES,
                        HWB_ALLOCATE_MAX_COSTS);
    for (int b = 0; b < p->choices; b++)
        for (int o = 0; o < b; o++)
            if (p->bits[o] == p->bits[b])
                return hwb_fail(ctx, HWB_EARG, "allocate: the choice of %d bits appears twice",
                                p->bits[b]);
    for (int64_t l = 0; l < p->layers; l++)
        for (int b = 0; b < p->choices; b++) {
            double w = omega_at(p, l, b);
            if (isnan(w) || w == -INFINITY)
                return hwb_fail(ctx, HWB_ENUMERIC, "allocate: omega of layer %lld at %d bits is %g",
                                (long long)(l + 1), p->bits[b], w);
            for (int c = 0; c < p->costs && w < INFINITY; c++)
                if (!isfinite(cost_at(p, c, l, b)))
                    return hwb_fail(ctx, HWB_ENUMERIC,
                                    "allocate: cost %d of layer %lld at %d bits is %g", c + 1,
                                    (long long)(l + 1), p->bits[b], cost_at(p, c, l, b));
        }
    for (int c = 0; c < p->costs; c++)
        if (isnan(p->limit[c])) return hwb_fail(ctx, HWB_EARG, "allocate: limit %d is NaN", c + 1);
    return HWB_OK;
}

/* group_of[l]: layers with equal tie >= 0 share a group, in order of first use */
static void number_groups(hwb__alloc *a) {
    const hwb_allocate_problem *p = a->p;
    a->count = 0;
    for (int64_t l = 0; l < p->layers; l++) {
        int64_t o = l;
        if (p->tie && p->tie[l] >= 0)
            for (o = 0; p->tie[o] != p->tie[l]; o++) {
            }
        a->group_of[l] = o < l ? a->group_of[o] : a->count++;
    }
}

static int rank_of(const hwb_allocate_problem *p, int b) {
    int r = 0;
    for (int o = 0; o < p->choices; o++) r += p->bits[o] < p->bits[b];
    return r;
}

/* Sum the tied layers; a choice forbidden to one is forbidden to its group. */
static hwb_status fill_groups(hwb_ctx *ctx, hwb__alloc *a, const double *score) {
    const hwb_allocate_problem *p = a->p;
    for (int64_t i = 0; i < a->count; i++) {
        a->group[i].id = i;
        a->group[i].score = -INFINITY;
        for (int b = 0; b < p->choices; b++)
            a->group[i].item[b] = (hwb__item){.choice = b, .rank = rank_of(p, b)};
    }
    for (int64_t l = 0; l < p->layers; l++) {
        hwb__group *g = &a->group[a->group_of[l]];
        if (score && !(score[l] <= g->score)) g->score = score[l];
        for (int b = 0; b < p->choices; b++) {
            g->item[b].omega += omega_at(p, l, b);
            for (int c = 0; c < p->costs; c++) g->item[b].cost[c] += cost_at(p, c, l, b);
        }
    }
    for (int64_t i = 0; i < a->count; i++) {
        hwb__group *g = &a->group[i];
        for (int b = 0; b < p->choices; b++)
            if (g->item[b].omega < INFINITY) g->item[g->count++] = g->item[b];
        if (g->count == 0) {
            int64_t l = 0;
            while (a->group_of[l] != i) l++;
            return hwb_fail(ctx, HWB_EARG, "allocate: no choice is left for layer %lld%s",
                            (long long)(l + 1), p->tie ? " and those tied to it" : "");
        }
    }
    return HWB_OK;
}

/* Integer costs add exactly; others get an allowance for the order of summation. */
static void set_limits(hwb__alloc *a) {
    const hwb_allocate_problem *p = a->p;
    for (int c = 0; c < p->costs; c++) {
        bool whole = true;
        double sum = 0;
        for (int64_t i = 0; i < a->count; i++) {
            double most = 0;
            for (int b = 0; b < a->group[i].count; b++) {
                double x = a->group[i].item[b].cost[c];
                whole = whole && x == floor(x);
                most = fmax(most, fabs(x));
            }
            sum += most;
        }
        double slack = whole && sum < 0x1p53 ? 0 : 1e-12 * fmin(fabs(p->limit[c]), sum);
        a->limit[c] = p->limit[c] + slack;
    }
}

hwb_status hwb__alloc_init(hwb_ctx *ctx, hwb__alloc *a, const hwb_allocate_problem *p,
                           const double *score) {
    *a = (hwb__alloc){.p = p};
    HWB_TRY(check(ctx, p));
    for (int64_t l = 0; score && l < p->layers; l++)
        if (isnan(score[l]))
            return hwb_fail(ctx, HWB_ENUMERIC, "allocate: score of layer %lld is NaN",
                            (long long)(l + 1));
    a->group_of = hwb_alloc(ctx, (size_t)p->layers * sizeof *a->group_of);
    a->group = hwb_calloc(ctx, (size_t)p->layers * sizeof *a->group);
    hwb_status s = HWB_ENOMEM;
    if (a->group_of && a->group) {
        number_groups(a);
        s = fill_groups(ctx, a, score);
    }
    if (s != HWB_OK) {
        hwb__alloc_free(a);
        return s;
    }
    set_limits(a);
    return HWB_OK;
}

void hwb__alloc_free(hwb__alloc *a) {
    hwb_free(a->group_of);
    hwb_free(a->group);
    *a = (hwb__alloc){0};
}

hwb_status hwb__allocation_new(hwb_ctx *ctx, hwb_allocation *out, const hwb_allocate_problem *p,
                               const int *choice) {
    hwb_allocation r = {.layers = p->layers};
    r.choice = hwb_alloc(ctx, (size_t)p->layers * sizeof *r.choice);
    if (!r.choice) return HWB_ENOMEM;
    for (int64_t l = 0; l < p->layers; l++) {
        r.choice[l] = choice[l];
        r.omega += omega_at(p, l, choice[l]);
        for (int c = 0; c < p->costs; c++) r.cost[c] += cost_at(p, c, l, choice[l]);
    }
    *out = r;
    return HWB_OK;
}

hwb_status hwb_allocate_evaluate(hwb_ctx *ctx, hwb_allocation *out, const hwb_allocate_problem *p,
                                 const int *choice) {
    hwb__alloc a;
    HWB_TRY(hwb__alloc_init(ctx, &a, p, NULL));
    hwb_status s = HWB_OK;
    for (int64_t l = 0; s == HWB_OK && l < p->layers; l++) {
        int64_t first = 0;
        while (a.group_of[first] != a.group_of[l]) first++;
        if (choice[l] < 0 || choice[l] >= p->choices)
            s = hwb_fail(ctx, HWB_EARG, "allocate: layer %lld has choice %d of %d",
                         (long long)(l + 1), choice[l] + 1, p->choices);
        else if (choice[l] != choice[first])
            s = hwb_fail(ctx, HWB_EARG,
                         "allocate: layers %lld and %lld are tied but get %d and %d bits",
                         (long long)(first + 1), (long long)(l + 1), p->bits[choice[first]],
                         p->bits[choice[l]]);
    }
    hwb__alloc_free(&a);
    return s == HWB_OK ? hwb__allocation_new(ctx, out, p, choice) : s;
}

hwb_status hwb_allocate_hawq_v1(hwb_ctx *ctx, hwb_allocation *out, const hwb_allocate_problem *p,
                                const double *lambda, const int64_t *numel, int64_t node_limit) {
    if (p->layers < 1) return hwb_fail(ctx, HWB_EARG, "allocate: no layers");
    double *score = hwb_alloc(ctx, (size_t)p->layers * sizeof *score);
    if (!score) return HWB_ENOMEM;
    for (int64_t l = 0; l < p->layers; l++) score[l] = lambda[l] / (double)numel[l];
    hwb_allocate_options opt = hwb_allocate_defaults();
    if (node_limit > 0) opt.node_limit = node_limit;
    opt.score = score;
    hwb_status s = hwb_allocate_solve(ctx, out, p, &opt);
    hwb_free(score);
    return s;
}

/* ---- the reversed allocation -------------------------------------------------------- */

typedef struct reversal {
    const hwb__alloc *a;
    int64_t *order; /* groups by falling score */
    int *item;      /* [groups] index of the item of each group */
    double cost, limit;
} reversal;

static double item_cost(const reversal *r, int64_t g, int i) {
    return r->a->p->costs ? r->a->group[g].item[i].cost[0] : 0;
}

/* The item of group g whose bits are nearest to `choice`'s. */
static int nearest(const reversal *r, int64_t g, int choice) {
    const hwb_allocate_problem *p = r->a->p;
    const hwb__group *k = &r->a->group[g];
    int best = 0;
    for (int i = 1; i < k->count; i++)
        if (abs(p->bits[k->item[i].choice] - p->bits[choice]) <
            abs(p->bits[k->item[best].choice] - p->bits[choice]))
            best = i;
    return best;
}

/* Neighbour in rank of group g's item: one step up (+1) or down (-1), or -1. */
static int neighbour(const reversal *r, int64_t g, int direction) {
    const hwb__group *k = &r->a->group[g];
    int now = k->item[r->item[g]].rank, best = -1;
    for (int i = 0; i < k->count; i++) {
        int d = (k->item[i].rank - now) * direction;
        if (d > 0 && (best < 0 || d < (k->item[best].rank - now) * direction)) best = i;
    }
    return best;
}

/* Take steps down from the most sensitive group on until the cost fits, then
 * steps up from the least sensitive one while they fit. */
static void adjust(reversal *r) {
    int64_t n = r->a->count;
    for (int64_t i = 0; i < n && r->cost > r->limit; i++)
        for (int64_t g = r->order[i]; r->cost > r->limit;) {
            int to = neighbour(r, g, -1);
            if (to < 0) break;
            r->cost += item_cost(r, g, to) - item_cost(r, g, r->item[g]);
            r->item[g] = to;
        }
    for (int64_t i = n - 1; i >= 0; i--)
        for (int64_t g = r->order[i];;) {
            int to = neighbour(r, g, 1);
            if (to < 0) break;
            double then = r->cost + item_cost(r, g, to) - item_cost(r, g, r->item[g]);
            if (then > r->limit) break;
            r->cost = then;
            r->item[g] = to;
        }
}

static void reverse(reversal *r, const hwb_allocation *plan) {
    const hwb__alloc *a = r->a;
    int64_t n = a->count;
    for (int64_t i = 0; i < n; i++) { /* insertion by falling score, stable */
        int64_t j = i;
        for (; j > 0 && a->group[r->order[j - 1]].score < a->group[i].score; j--)
            r->order[j] = r->order[j - 1];
        r->order[j] = i;
    }
    r->cost = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t g = r->order[i], from = r->order[n - 1 - i], l = 0;
        while (a->group_of[l] != from) l++;
        r->item[g] = nearest(r, g, plan->choice[l]);
        r->cost += item_cost(r, g, r->item[g]);
    }
    adjust(r);
}

hwb_status hwb_allocate_reverse(hwb_ctx *ctx, hwb_allocation *out, const hwb_allocate_problem *p,
                                const double *score, const hwb_allocation *plan) {
    if (plan->layers != p->layers)
        return hwb_fail(ctx, HWB_EARG, "allocate: a plan of %lld layers for %lld",
                        (long long)plan->layers, (long long)p->layers);
    hwb__alloc a;
    HWB_TRY(hwb__alloc_init(ctx, &a, p, score));
    size_t n = (size_t)a.count;
    reversal r = {.a = &a, .limit = plan->cost[0] * (1 + 1e-12)};
    r.order = hwb_alloc(ctx, n * sizeof *r.order);
    r.item = hwb_alloc(ctx, n * sizeof *r.item);
    int *choice = hwb_alloc(ctx, (size_t)p->layers * sizeof *choice);
    hwb_status s = r.order && r.item && choice ? HWB_OK : HWB_ENOMEM;
    if (s == HWB_OK) {
        reverse(&r, plan);
        for (int64_t l = 0; l < p->layers; l++)
            choice[l] = a.group[a.group_of[l]].item[r.item[a.group_of[l]]].choice;
        s = hwb__allocation_new(ctx, out, p, choice);
    }
    hwb_free(r.order);
    hwb_free(r.item);
    hwb_free(choice);
    hwb__alloc_free(&a);
    return s;
}
