/*
 * search.c: what the tree search stands on: the problem in branching order,
 * Lagrange multipliers, incumbents, and items ruled out at the root.
 *
 * Dual:  L(mu) = Σ_g min_b (omega_g(b) + mu·cost_g(b)) - mu·limit <= optimum for
 * every mu >= 0; it is maximised by subgradient steps (Held, Karp 1974).  With
 * the order constraint the inner minimum is a small dynamic program over
 * "largest rank still allowed".
 */
#include "quant/allocate_i.h"

enum { DUAL_STEPS = 400, REPAIR_EVERY = 8, HALVE_AFTER = 12 };

/* of sums over a few hundred groups, relative; bounds are lowered by it */
static const double ROUNDING = 1e-14;

/* ---- setup ---------------------------------------------------------------------- */

/* Equal scores: the earlier layer first. */
static void sort_groups(hwb__search *z, double (*key)(const hwb__group *)) {
    for (int64_t i = 1; i < z->n; i++) {
        hwb__group g = z->g[i];
        int64_t j = i;
        for (; j > 0 && key(&z->g[j - 1]) < key(&g); j--) z->g[j] = z->g[j - 1];
        z->g[j] = g;
    }
}

static double by_score(const hwb__group *g) {
    return g->score;
}

static double by_range(const hwb__group *g) {
    double lo = INFINITY, hi = -INFINITY;
    for (int i = 0; i < g->count; i++) {
        lo = fmin(lo, g->item[i].omega);
        hi = fmax(hi, g->item[i].omega);
    }
    return hi - lo;
}

/* An item is useless when another is at least as good in everything. (Not
 * under the order constraint: its bits may be needed.) */
static void drop_dominated(hwb__search *z, hwb__group *g) {
    for (int i = 0; i < g->count; i++)
        for (int o = 0; o < g->count; o++) {
            bool covers = o != i && g->item[o].omega <= g->item[i].omega;
            for (int c = 0; covers && c < z->m; c++)
                covers = g->item[o].cost[c] <= g->item[i].cost[c];
            if (!covers) continue;
            for (int t = i; t + 1 < g->count; t++) g->item[t] = g->item[t + 1];
            g->count--;
            i--;
            break;
        }
}

/* Keep only the costs that have a limit, in front. */
static void keep_limited(hwb__search *z, const hwb__alloc *a) {
    for (int c = 0; c < a->p->costs; c++) {
        if (a->limit[c] == INFINITY) continue;
        double size = 0;
        for (int64_t g = 0; g < z->n; g++) {
            double most = 0;
            for (int i = 0; i < z->g[g].count; i++) {
                z->g[g].item[i].cost[z->m] = z->g[g].item[i].cost[c];
                most = fmax(most, fabs(z->g[g].item[i].cost[c]));
            }
            size += most;
        }
        z->limit[z->m] = a->limit[c];
        z->scale[z->m++] = size > 0 ? size : 1;
    }
}

hwb_status hwb__search_init(hwb__search *z, const hwb__alloc *a, bool ordered) {
    z->ordered = ordered;
    z->states = ordered ? a->p->choices : 1;
    z->n = a->count;
    size_t n = (size_t)z->n, states = (n + 1) * (size_t)z->states;
    z->g = hwb_alloc(z->ctx, n * sizeof *z->g);
    z->value = hwb_alloc(z->ctx, states * sizeof *z->value);
    z->least = hwb_alloc(z->ctx, states * HWB_ALLOCATE_MAX_COSTS * sizeof *z->least);
    z->pick = hwb_alloc(z->ctx, n * sizeof *z->pick);
    z->best = hwb_alloc(z->ctx, n * sizeof *z->best);
    if (!z->g || !z->value || !z->least || !z->pick || !z->best) return HWB_ENOMEM;
    memcpy(z->g, a->group, n * sizeof *z->g);
    z->upper = INFINITY;
    z->lower = -INFINITY;
    keep_limited(z, a);
    for (int64_t g = 0; !ordered && g < z->n; g++) drop_dominated(z, &z->g[g]);
    sort_groups(z, ordered ? by_score : by_range);
    return HWB_OK;
}

void hwb__search_free(hwb__search *z) {
    for (int t = 0; t < z->tables; t++) {
        for (int64_t i = 0; z->table[t].list && i < (z->n + 1) * z->states; i++)
            hwb__list_free(&z->table[t].list[i]);
        hwb_free(z->table[t].list);
    }
    hwb_free(z->table);
    hwb_free(z->g);
    hwb_free(z->value);
    hwb_free(z->least);
    hwb_free(z->pick);
    hwb_free(z->best);
}

void hwb__search_record(hwb__search *z, const int *pick, double omega) {
    if (!(omega < z->upper)) return;
    z->upper = omega;
    for (int64_t g = 0; g < z->n; g++) z->best[z->g[g].id] = z->g[g].item[pick[g]].choice;
}

/* ---- the inner minimum ------------------------------------------------------------- */

static double priced(const hwb__search *z, const hwb__item *i, double w, const double *mu) {
    double x = w * i->omega;
    for (int c = 0; c < z->m; c++) x += mu[c] * i->cost[c];
    return x;
}

/* min Σ (w omega + mu·cost) over all (ordered) choices; the minimiser into pick. */
static double minimise(hwb__search *z, double w, const double *mu, int *pick) {
    int s = z->states;
    for (int t = 0; t < s; t++) z->value[z->n * s + t] = 0;
    for (int64_t d = z->n - 1; d >= 0; d--)
        for (int t = 0; t < s; t++) {
            double best = INFINITY;
            for (int i = 0; i < z->g[d].count; i++) {
                const hwb__item *k = &z->g[d].item[i];
                if (!hwb__allowed(z, k, t)) continue;
                double v = priced(z, k, w, mu) + z->value[(d + 1) * s + hwb__next_state(z, k)];
                if (v < best) best = v;
            }
            z->value[d * s + t] = best;
        }
    if (z->value[s - 1] == INFINITY) return INFINITY;
    for (int64_t d = 0, t = s - 1; d < z->n; d++) {
        double best = INFINITY;
        for (int i = 0; i < z->g[d].count; i++) {
            const hwb__item *k = &z->g[d].item[i];
            if (!hwb__allowed(z, k, (int)t)) continue;
            double v = priced(z, k, w, mu) + z->value[(d + 1) * s + hwb__next_state(z, k)];
            if (v < best) {
                best = v;
                pick[d] = i;
            }
        }
        t = hwb__next_state(z, &z->g[d].item[pick[d]]);
    }
    return z->value[s - 1];
}

/* least[(d*states + s)*m + c]: the least cost c of groups d.. alone */
static void least_costs(hwb__search *z) {
    for (int c = 0; c < z->m; c++) {
        double mu[HWB_ALLOCATE_MAX_COSTS] = {0};
        mu[c] = 1;
        minimise(z, 0, mu, z->pick);
        for (int64_t i = 0; i < (z->n + 1) * z->states; i++) z->least[i * z->m + c] = z->value[i];
    }
}

/* ---- incumbents ------------------------------------------------------------------------ */

static double totals(const hwb__search *z, const int *pick, double *used) {
    double omega = 0;
    for (int c = 0; c < z->m; c++) used[c] = 0;
    for (int64_t d = 0; d < z->n; d++) {
        const hwb__item *k = &z->g[d].item[pick[d]];
        omega += k->omega;
        for (int c = 0; c < z->m; c++) used[c] += k->cost[c];
    }
    return omega;
}

/* Σ of relative excesses after the move; 0 = feasible */
static double excess(const hwb__search *z, const double *used, const hwb__item *from,
                     const hwb__item *to) {
    double x = 0;
    for (int c = 0; c < z->m; c++) {
        double over = used[c] + (to ? to->cost[c] - from->cost[c] : 0) - z->limit[c];
        if (over > 0) x += over / z->scale[c];
    }
    return x;
}

static bool order_keeps(const hwb__search *z, const int *pick, int64_t d, int rank) {
    if (!z->ordered) return true;
    return (d == 0 || z->g[d - 1].item[pick[d - 1]].rank >= rank) &&
           (d + 1 == z->n || z->g[d + 1].item[pick[d + 1]].rank <= rank);
}

/* What a move is worth: while infeasible, excess removed for omega added; then
 * omega removed for cost added. <= 0 = not worth it. */
static double worth(const hwb__search *z, const double *used, double over, const hwb__item *from,
                    const hwb__item *to) {
    double then = excess(z, used, from, to), rise = to->omega - from->omega;
    double tiny = 1e-300;
    if (over > 0) return then < over ? (over - then) / fmax(rise, tiny) : 0;
    if (then > 0 || rise >= 0) return 0;
    double cost = 0;
    for (int c = 0; c < z->m; c++) cost += fmax(to->cost[c] - from->cost[c], 0) / z->scale[c];
    return -rise / fmax(cost, tiny);
}

/* Greedy single moves until nothing helps; records a feasible end. */
static void repair(hwb__search *z, int *pick) {
    double used[HWB_ALLOCATE_MAX_COSTS], omega = totals(z, pick, used);
    for (int64_t moves = 0; moves < 8 * z->n + 64; moves++) {
        double over = excess(z, used, NULL, NULL), best = 0;
        int64_t at = -1;
        int item = 0;
        for (int64_t d = 0; d < z->n; d++)
            for (int i = 0; i < z->g[d].count; i++) {
                const hwb__item *from = &z->g[d].item[pick[d]], *to = &z->g[d].item[i];
                if (i == pick[d] || !order_keeps(z, pick, d, to->rank)) continue;
                double w = worth(z, used, over, from, to);
                if (w > best) {
                    best = w;
                    at = d;
                    item = i;
                }
            }
        if (at < 0) break;
        pick[at] = item;
        omega = totals(z, pick, used); /* afresh: no drift */
    }
    if (excess(z, used, NULL, NULL) <= 0) hwb__search_record(z, pick, omega);
}

/* ---- the dual ---------------------------------------------------------------------------- */

/* From the multipliers nu (scaled): L, the subgradient, an incumbent now and then. */
static double dual_at(hwb__search *z, const double *nu, double *slope, double *norm2, bool fix) {
    double mu[HWB_ALLOCATE_MAX_COSTS] = {0}, used[HWB_ALLOCATE_MAX_COSTS], constant = 0;
    for (int c = 0; c < z->m; c++) {
        mu[c] = nu[c] / z->scale[c];
        constant += mu[c] * z->limit[c];
    }
    double value = minimise(z, 1, mu, z->pick) - constant;
    value -= ROUNDING * (fabs(value) + 2 * fabs(constant));
    double omega = totals(z, z->pick, used);
    *norm2 = 0;
    for (int c = 0; c < z->m; c++) {
        slope[c] = (used[c] - z->limit[c]) / z->scale[c];
        if (nu[c] > 0 || slope[c] > 0) *norm2 += slope[c] * slope[c];
    }
    if (excess(z, used, NULL, NULL) <= 0) hwb__search_record(z, z->pick, omega);
    if (fix) repair(z, z->pick);
    return value;
}

static void maximise_dual(hwb__search *z) {
    double nu[HWB_ALLOCATE_MAX_COSTS] = {0}, slope[HWB_ALLOCATE_MAX_COSTS], norm2, step = 1;
    int stale = 0;
    for (int t = 0; t < DUAL_STEPS; t++) {
        double l = dual_at(z, nu, slope, &norm2, t % REPAIR_EVERY == 0);
        if (l > z->lower) {
            z->lower = l;
            for (int c = 0; c < z->m; c++) z->mu[c] = nu[c] / z->scale[c];
            stale = 0;
        } else if (++stale >= HALVE_AFTER) {
            step /= 2;
            stale = 0;
            for (int c = 0; c < z->m; c++) nu[c] = z->mu[c] * z->scale[c];
        }
        if (norm2 == 0 || z->lower >= hwb__target(z)) return;
        /* Polyak's step to the incumbent, or to a guess above the bound */
        double goal = z->upper < INFINITY ? z->upper : l + fabs(l) + 1e-12;
        double length = step * fmax(goal - l, 1e-9 * fabs(goal)) / norm2;
        for (int c = 0; c < z->m; c++) nu[c] = fmax(0, nu[c] + length * slope[c]);
    }
}

/* Items whose own dual value reaches the incumbent cannot be in a better choice. */
static void fix_items(hwb__search *z) {
    double constant = 0;
    for (int c = 0; c < z->m; c++) constant += z->mu[c] * z->limit[c];
    double value = minimise(z, 1, z->mu, z->pick) - constant;
    value -= ROUNDING * (fabs(value) + 2 * fabs(constant));
    for (int64_t d = 0; d < z->n; d++) {
        hwb__group *g = &z->g[d];
        double least = priced(z, &g->item[z->pick[d]], 1, z->mu);
        int kept = 0;
        for (int i = 0; i < g->count; i++)
            if (value + priced(z, &g->item[i], 1, z->mu) - least < hwb__target(z))
                g->item[kept++] = g->item[i];
        g->count = kept;
        if (kept == 0) z->lower = z->upper; /* the incumbent is the optimum */
    }
}

hwb_status hwb__search_dual(hwb__search *z) {
    least_costs(z);
    for (int c = 0; c < z->m; c++)
        if (!(z->least[(z->states - 1) * z->m + c] <= z->limit[c])) return HWB_OK; /* infeasible */
    /* The cheapest choice of all is where repair starts from. */
    double mu[HWB_ALLOCATE_MAX_COSTS];
    for (int c = 0; c < z->m; c++) mu[c] = 1 / z->scale[c];
    if (minimise(z, 0, mu, z->pick) == INFINITY) return HWB_OK; /* the order forbids all */
    repair(z, z->pick);
    maximise_dual(z);
    if (!z->ordered && z->upper < INFINITY && z->lower < hwb__target(z)) {
        fix_items(z);
        if (z->lower < z->upper) {
            sort_groups(z, by_range);
            least_costs(z);
        }
    }
    return HWB_OK;
}
