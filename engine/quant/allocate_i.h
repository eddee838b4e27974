/*
 * Private to the bit allocation: the problem with tied layers merged into
 * groups, sorted lists of (cost, value) pairs, and the bounds of the search.
 */
#ifndef HWB_ALLOCATE_I_H
#define HWB_ALLOCATE_I_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/quant.h"

/* One possible setting of one group. */
typedef struct hwb__item {
    int choice; /* index into the problem's bits */
    int rank;   /* of those bits among all choices, 0 = fewest */
    double omega;
    double cost[HWB_ALLOCATE_MAX_COSTS];
} hwb__item;

typedef struct hwb__group {
    double score;
    int64_t id; /* before sorting */
    int count;
    hwb__item item[HWB_ALLOCATE_MAX_CHOICES];
} hwb__group;

typedef struct hwb__alloc {
    const hwb_allocate_problem *p;
    int64_t count;                        /* groups */
    hwb__group *group;                    /* in order of their first layers */
    int64_t *group_of;                    /* [layers] */
    double limit[HWB_ALLOCATE_MAX_COSTS]; /* with the allowance for rounding */
} hwb__alloc;

/* Checks the problem and merges ties; score may be NULL. */
hwb_status hwb__alloc_init(hwb_ctx *ctx, hwb__alloc *a, const hwb_allocate_problem *p,
                           const double *score);
void hwb__alloc_free(hwb__alloc *a);
/* Result for one choice a layer: sums in layer order. */
hwb_status hwb__allocation_new(hwb_ctx *ctx, hwb_allocation *out, const hwb_allocate_problem *p,
                               const int *choice);
const char *hwb__cost_name(const hwb_allocate_problem *p, int c, char buf[32]);

/* ---- lists of pairs: cost ascending, value strictly descending (pareto.c) ---------- */

typedef struct hwb__list {
    int64_t count;
    double *cost, *value;
    uint32_t *parent; /* index in the list it came from; NULL when not asked for */
    uint8_t *tag;     /* which source it came from */
} hwb__list;

/* A list shifted by (cost, value). */
typedef struct hwb__source {
    const hwb__list *list;
    double cost, value;
    uint8_t tag;
} hwb__source;

typedef enum hwb__thinning {
    HWB__THIN_ATTAINED, /* keep real pairs: a dropped one has a better value at most
                           `width` dearer */
    HWB__THIN_LOWER     /* replace runs by (their least cost, their least value): a bound
                           from below */
} hwb__thinning;

/* The undominated pairs of all sources together; more than `cap` are thinned
 * into buckets of cost and *width (if not NULL) grows by the bucket. */
/* (Values that agree to 1e-13 are one point of an attained list.) */
hwb_status hwb__list_merge(hwb_ctx *ctx, hwb__list *out, const hwb__source *source, int sources,
                           bool track, int64_t cap, hwb__thinning thinning, double *width);
hwb_status hwb__list_origin(hwb_ctx *ctx, hwb__list *out); /* the single pair (0, 0) */
void hwb__list_free(hwb__list *l);
/* least value at cost <= c; +inf when there is none */
double hwb__list_lookup(const hwb__list *l, double c);

/* ---- the search (search.c: setup, dual, incumbents; branch.c: tree) ------------------ */

/* A relaxation that keeps one constraint exactly: minimise Σ value subject to
 * Σ cost <= limit, with value = omega + Σ mu_j cost_j and the constant -Σ mu_j
 * limit_j for the constraints it prices (Lagrange), or with cost = Σ mu_j
 * cost_j (surrogate).  list[d*states + s] solves groups d.. for every budget. */
typedef struct hwb__table {
    double value_mu[HWB_ALLOCATE_MAX_COSTS], cost_mu[HWB_ALLOCATE_MAX_COSTS];
    double constant, limit;
    hwb__list *list;
} hwb__table;

typedef struct hwb__search {
    hwb_ctx *ctx;
    bool ordered; /* bits must not rise along the groups */
    int states;   /* largest rank still allowed (ordered), else one state */
    int64_t n;    /* groups, in the order of branching */
    hwb__group *g;
    int m; /* constraints with a finite limit; items hold these first */
    double limit[HWB_ALLOCATE_MAX_COSTS];
    double scale[HWB_ALLOCATE_MAX_COSTS]; /* size of each constraint, for multipliers */
    double mu[HWB_ALLOCATE_MAX_COSTS];
    double *least;       /* [(n+1)*states*m] least cost of groups d.. */
    double *value;       /* [(n+1)*states] scratch of the dual */
    int *pick, *best;    /* [n] item indices; best holds choices, by group id */
    double lower, upper; /* bounds of the optimum */
    hwb__table *table;
    int tables;
    int64_t nodes, node_limit;
    bool cut; /* the node limit was reached */
} hwb__search;

static inline bool hwb__allowed(const hwb__search *z, const hwb__item *i, int state) {
    return !z->ordered || i->rank <= state;
}
static inline int hwb__next_state(const hwb__search *z, const hwb__item *i) {
    return z->ordered ? i->rank : 0;
}
/* values closer than this to the incumbent are not worth a search */
static inline double hwb__target(const hwb__search *z) {
    return z->upper < INFINITY ? z->upper - 1e-12 * fabs(z->upper) : INFINITY;
}

hwb_status hwb__search_init(hwb__search *z, const hwb__alloc *a, bool ordered);
void hwb__search_free(hwb__search *z);
/* Multipliers, a lower bound, usually an incumbent, and fewer items. */
hwb_status hwb__search_dual(hwb__search *z);
/* The tree; z->best and z->upper at the end. */
hwb_status hwb__search_tree(hwb__search *z);
/* record pick[] as the incumbent if it is better (it is feasible) */
void hwb__search_record(hwb__search *z, const int *pick, double omega);

#endif
