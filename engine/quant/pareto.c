/*
 * pareto.c: the complete cost-omega frontier by dominance merging (Nemhauser
 * and Ullmann 1969), and the list operations it shares with the search.
 *
 * F_0 = {(0,0)};  F_g = undominated part of ∪_b F_{g-1} + (cost_g(b), omega_g(b)).
 * Both quantities add, so a partial choice that is dominated never becomes
 * part of an undominated whole.  Each pair remembers its parent and choice.
 */
#include "quant/allocate_i.h"

/* Equal sums added in another order must not count as different points of a
 * frontier; a bound from below must not lose even those. */
static bool improves(double value, double last, bool track) {
    return value < (track ? last - 1e-13 * fabs(last) : last);
}

static bool same_cost(double a, double b) {
    return a - b <= 1e-13 * fabs(a);
}

static hwb_status list_alloc(hwb_ctx *ctx, hwb__list *l, int64_t n, bool track) {
    *l = (hwb__list){0};
    l->cost = hwb_alloc(ctx, (size_t)n * sizeof *l->cost);
    l->value = hwb_alloc(ctx, (size_t)n * sizeof *l->value);
    if (track) {
        l->parent = hwb_alloc(ctx, (size_t)n * sizeof *l->parent);
        l->tag = hwb_alloc(ctx, (size_t)n * sizeof *l->tag);
    }
    if (l->cost && l->value && (!track || (l->parent && l->tag))) return HWB_OK;
    hwb__list_free(l);
    return HWB_ENOMEM;
}

void hwb__list_free(hwb__list *l) {
    hwb_free(l->cost);
    hwb_free(l->value);
    hwb_free(l->parent);
    hwb_free(l->tag);
    *l = (hwb__list){0};
}

hwb_status hwb__list_origin(hwb_ctx *ctx, hwb__list *out) {
    HWB_TRY(list_alloc(ctx, out, 1, false));
    out->cost[0] = out->value[0] = 0;
    out->count = 1;
    return HWB_OK;
}

double hwb__list_lookup(const hwb__list *l, double c) {
    int64_t lo = 0, hi = l->count; /* first pair dearer than c */
    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;
        if (l->cost[mid] <= c) lo = mid + 1;
        else hi = mid;
    }
    return lo ? l->value[lo - 1] : INFINITY;
}

/* All sources in order of cost (then value), dominated pairs skipped. */
static void merge_all(hwb__list *to, const hwb__source *src, int sources, bool track) {
    int64_t at[HWB_ALLOCATE_MAX_CHOICES] = {0};
    double cost[HWB_ALLOCATE_MAX_CHOICES], value[HWB_ALLOCATE_MAX_CHOICES];
    for (int i = 0; i < sources; i++) {
        bool any = src[i].list->count > 0;
        cost[i] = any ? src[i].list->cost[0] + src[i].cost : INFINITY;
        value[i] = any ? src[i].list->value[0] + src[i].value : INFINITY;
    }
    for (;;) {
        int k = 0;
        for (int i = 1; i < sources; i++)
            if (cost[i] < cost[k] || (cost[i] == cost[k] && value[i] < value[k])) k = i;
        if (cost[k] == INFINITY) return;
        int64_t n = to->count;
        if (n == 0 || improves(value[k], to->value[n - 1], track)) {
            if (n > 0 && track && same_cost(cost[k], to->cost[n - 1])) n--;
            to->cost[n] = cost[k];
            to->value[n] = value[k];
            if (track) {
                to->parent[n] = (uint32_t)at[k];
                to->tag[n] = src[k].tag;
            }
            to->count = n + 1;
        }
        bool more = ++at[k] < src[k].list->count;
        cost[k] = more ? src[k].list->cost[at[k]] + src[k].cost : INFINITY;
        value[k] = more ? src[k].list->value[at[k]] + src[k].value : INFINITY;
    }
}

static void move(hwb__list *l, int64_t to, int64_t from) {
    l->cost[to] = l->cost[from];
    l->value[to] = l->value[from];
    if (!l->parent) return;
    l->parent[to] = l->parent[from];
    l->tag[to] = l->tag[from];
}

/* One pair for each of cap/2 buckets of cost (and the first pair). */
static void thin(hwb__list *l, int64_t cap, hwb__thinning how, double *width) {
    double first = l->cost[0], bucket = (l->cost[l->count - 1] - first) / ((double)cap / 2);
    int64_t out = how == HWB__THIN_ATTAINED ? 1 : 0;
    for (int64_t i = out; i < l->count;) {
        double edge = l->cost[i] + bucket;
        int64_t last = i;
        while (last + 1 < l->count && l->cost[last + 1] <= edge) last++;
        double least = l->cost[i];
        move(l, out, last);
        if (how == HWB__THIN_LOWER) l->cost[out] = least;
        out++;
        i = last + 1;
    }
    l->count = out;
    if (width) *width += bucket;
}

hwb_status hwb__list_merge(hwb_ctx *ctx, hwb__list *out, const hwb__source *source, int sources,
                           bool track, int64_t cap, hwb__thinning thinning, double *width) {
    hwb__list all, exact;
    int64_t most = 1;
    for (int i = 0; i < sources; i++) most += source[i].list->count;
    HWB_TRY(list_alloc(ctx, &all, most, track));
    merge_all(&all, source, sources, track);
    if (all.count > cap) thin(&all, cap, thinning, width);
    hwb_status s = list_alloc(ctx, &exact, all.count, track);
    if (s == HWB_OK) {
        size_t n = (size_t)all.count;
        memcpy(exact.cost, all.cost, n * sizeof *all.cost);
        memcpy(exact.value, all.value, n * sizeof *all.value);
        if (track) {
            memcpy(exact.parent, all.parent, n * sizeof *all.parent);
            memcpy(exact.tag, all.tag, n * sizeof *all.tag);
        }
        exact.count = all.count;
        *out = exact;
    }
    hwb__list_free(&all);
    return s;
}

/* ---- the frontier -------------------------------------------------------------------- */

void hwb_frontier_free(hwb_frontier *f) {
    if (!f) return;
    hwb_free(f->cost);
    hwb_free(f->omega);
    hwb_free(f->choice);
    *f = (hwb_frontier){0};
}

/* stage[g] = F_{g+1}; only the last keeps its costs and values */
static hwb_status build(hwb_ctx *ctx, hwb__list *stage, const hwb__alloc *a, int which, int64_t cap,
                        double *width) {
    hwb__list origin;
    HWB_TRY(hwb__list_origin(ctx, &origin));
    hwb_status s = HWB_OK;
    for (int64_t g = 0; s == HWB_OK && g < a->count; g++) {
        const hwb__group *k = &a->group[g];
        hwb__list *before = g ? &stage[g - 1] : &origin;
        hwb__source src[HWB_ALLOCATE_MAX_CHOICES];
        for (int i = 0; i < k->count; i++)
            src[i] = (hwb__source){before, k->item[i].cost[which], k->item[i].omega, (uint8_t)i};
        s = hwb_check_interrupt(ctx);
        if (s == HWB_OK)
            s = hwb__list_merge(ctx, &stage[g], src, k->count, true, cap, HWB__THIN_ATTAINED,
                                width);
        hwb_free(before->cost);
        hwb_free(before->value);
        before->cost = before->value = NULL;
    }
    hwb__list_free(&origin);
    return s;
}

/* Follow the parents of every point back to the first group. */
static hwb_status collect(hwb_ctx *ctx, hwb_frontier *f, hwb__list *stage, const hwb__alloc *a) {
    hwb__list *last = &stage[a->count - 1];
    f->count = last->count;
    f->layers = a->p->layers;
    f->choice = hwb_alloc(ctx, (size_t)(f->count * f->layers));
    int *item = hwb_alloc(ctx, (size_t)a->count * sizeof *item);
    if (!f->choice || !item) {
        hwb_free(item);
        return HWB_ENOMEM;
    }
    for (int64_t i = 0; i < f->count; i++) {
        int64_t at = i;
        for (int64_t g = a->count - 1; g >= 0; g--) {
            item[g] = a->group[g].item[stage[g].tag[at]].choice;
            at = stage[g].parent[at];
        }
        for (int64_t l = 0; l < f->layers; l++)
            f->choice[i * f->layers + l] = (uint8_t)item[a->group_of[l]];
    }
    hwb_free(item);
    f->cost = last->cost;
    f->omega = last->value;
    last->cost = last->value = NULL;
    return HWB_OK;
}

hwb_status hwb_allocate_frontier(hwb_ctx *ctx, hwb_frontier *out, const hwb_allocate_problem *p,
                                 int which, int64_t max_points) {
    if (which < 0 || which >= p->costs)
        return hwb_fail(ctx, HWB_EARG, "allocate: frontier of cost %d of %d", which + 1, p->costs);
    if (max_points == 0) max_points = 1000000;
    if (max_points < 16)
        return hwb_fail(ctx, HWB_EARG, "allocate: a frontier needs at least 16 points, not %lld",
                        (long long)max_points);
    hwb__alloc a;
    HWB_TRY(hwb__alloc_init(ctx, &a, p, NULL));
    hwb_frontier f = {0};
    double width = 0;
    hwb__list *stage = hwb_calloc(ctx, (size_t)a.count * sizeof *stage);
    hwb_status s = stage ? build(ctx, stage, &a, which, max_points, &width) : HWB_ENOMEM;
    if (s == HWB_OK) s = collect(ctx, &f, stage, &a);
    for (int64_t g = 0; stage && g < a.count; g++) hwb__list_free(&stage[g]);
    hwb_free(stage);
    hwb__alloc_free(&a);
    if (s != HWB_OK) {
        hwb_frontier_free(&f);
        return s;
    }
    f.exact = width == 0;
    double range = f.cost[f.count - 1] - f.cost[0];
    f.epsilon = range > 0 ? width / range : 0;
    *out = f;
    return HWB_OK;
}
