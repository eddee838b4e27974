/*
 * test_allocate.c: bit allocation against exhaustive search on hundreds of
 * random small problems, published answers, and speed on large tables.
 */
#include "testing.h"

#include <jansson.h>

#include "quant/quant.h"

/* ---- a problem that owns its arrays ----------------------------------------------- */

enum { MAX_L = 128, MAX_B = 7, MAX_C = 3 };

typedef struct table {
    hwb_allocate_problem p;
    int bits[MAX_B];
    double omega[MAX_L * MAX_B], cost[MAX_C * MAX_L * MAX_B], limit[MAX_C];
    int64_t tie[MAX_L];
} table;

static table *table_new(int64_t layers, int choices, int costs) {
    table *t = calloc(1, sizeof *t);
    t->p = (hwb_allocate_problem){.layers = layers,
                                  .choices = choices,
                                  .costs = costs,
                                  .bits = t->bits,
                                  .omega = t->omega,
                                  .cost = t->cost,
                                  .limit = t->limit,
                                  .tie = t->tie};
    for (int i = 0; i < MAX_L; i++) t->tie[i] = -1;
    for (int i = 0; i < MAX_C; i++) t->limit[i] = INFINITY;
    for (int b = 0; b < choices; b++) t->bits[b] = b + 2;
    return t;
}

static double *omega(table *t, int64_t l, int b) {
    return &t->omega[l * t->p.choices + b];
}
static double *cost(table *t, int c, int64_t l, int b) {
    return &t->cost[(c * t->p.layers + l) * t->p.choices + b];
}

static double total(const table *t, const double *a, const int *choice) {
    double s = 0;
    for (int64_t l = 0; l < t->p.layers; l++) s += a[l * t->p.choices + choice[l]];
    return s;
}

static const double *costs_of(const table *t, int c) {
    return t->cost + c * t->p.layers * t->p.choices;
}

/* a reproducible uniform number */
static double uniform(uint64_t *i) {
    return hwb_rng_uniform((hwb_rng){77, 1}, (*i)++);
}

/* ---- exhaustive search --------------------------------------------------------------- */

/* ties kept and, with a score, the order kept? */
static bool admissible(const table *t, const int *choice, const double *score) {
    int64_t n = t->p.layers;
    for (int64_t l = 0; l < n; l++)
        for (int64_t o = 0; o < l; o++)
            if (t->tie[l] >= 0 && t->tie[l] == t->tie[o] && choice[l] != choice[o]) return false;
    if (!score) return true;
    for (int64_t l = 0; l < n; l++)
        for (int64_t o = 0; o < n; o++) {
            double a = -INFINITY, b = -INFINITY; /* groups count with their largest score */
            for (int64_t i = 0; i < n; i++) {
                if (i == l || (t->tie[l] >= 0 && t->tie[i] == t->tie[l])) a = fmax(a, score[i]);
                if (i == o || (t->tie[o] >= 0 && t->tie[i] == t->tie[o])) b = fmax(b, score[i]);
            }
            if (a > b && t->bits[choice[l]] < t->bits[choice[o]]) return false;
        }
    return true;
}

static bool next(const table *t, int *choice) {
    for (int64_t l = 0; l < t->p.layers; l++) {
        if (++choice[l] < t->p.choices) return true;
        choice[l] = 0;
    }
    return false;
}

/* least omega within the limits; +inf when there is none */
static double brute(const table *t, const double *score) {
    int choice[MAX_L] = {0};
    double best = INFINITY;
    do {
        double w = total(t, t->omega, choice);
        bool good = w < best && admissible(t, choice, score);
        for (int c = 0; good && c < t->p.costs; c++)
            good = total(t, costs_of(t, c), choice) <= t->limit[c] * (1 + 1e-12);
        if (good) best = w;
    } while (next(t, choice));
    return best;
}

/* kinds of random tables: smooth, integers with many equal values, negative and zero omegas */
static table *random_table(uint64_t seed, int kind, int64_t layers, int choices, int costs) {
    uint64_t r = seed * 100000;
    table *t = table_new(layers, choices, costs);
    for (int64_t l = 0; l < layers; l++)
        for (int b = 0; b < choices; b++) {
            double w = exp(-1.4 * b) * (0.05 + uniform(&r));
            if (kind == 1) w = floor(4 * uniform(&r));
            if (kind == 2) w = uniform(&r) - 0.5;
            if (kind == 3 && l > 0 && l % 2) w = *omega(t, l - 1, b); /* duplicates */
            *omega(t, l, b) = w;
            for (int c = 0; c < costs; c++) {
                double x = (b + 2) * (1 + floor(9 * uniform(&r)));
                if (kind == 1) x = floor(3 * uniform(&r));
                if (c == costs - 1 && costs > 1) x = 0.1 + 0.3 * uniform(&r) + 0.1 * b;
                if (kind == 3 && l > 0 && l % 2) x = *cost(t, c, l - 1, b);
                *cost(t, c, l, b) = x;
            }
        }
    if (seed % 3 == 0 && layers > 3) t->tie[0] = t->tie[2] = 5;
    if (seed % 4 == 0 && layers > 4) t->tie[1] = t->tie[4] = t->tie[3] = 9;
    for (int c = 0; c < costs; c++) {
        double lo = 0, hi = 0;
        for (int64_t l = 0; l < layers; l++) {
            double least = INFINITY, most = 0;
            for (int b = 0; b < choices; b++) {
                least = fmin(least, *cost(t, c, l, b));
                most = fmax(most, *cost(t, c, l, b));
            }
            lo += least;
            hi += most;
        }
        t->limit[c] = lo + (hi - lo) * (0.1 + 0.8 * uniform(&r));
    }
    return t;
}

static void check_plan(hwb_ctx *ctx, table *t, const hwb_allocation *a, double want) {
    assert_near(a->omega, want, 1e-11);
    assert_near(total(t, t->omega, a->choice), a->omega, 1e-15);
    assert_true(a->optimal && a->bound == a->omega);
    for (int c = 0; c < t->p.costs; c++)
        assert_true(a->cost[c] <= t->limit[c] * (1 + 1e-11) &&
                    a->cost[c] == total(t, costs_of(t, c), a->choice));
    hwb_allocation again;
    assert_ok(ctx, hwb_allocate_evaluate(ctx, &again, &t->p, a->choice)); /* ties kept */
    hwb_allocation_free(&again);
}

static void test_against_brute_force(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_allocate_options o = hwb_allocate_defaults();
    int feasible = 0, infeasible = 0;
    for (uint64_t seed = 0; seed < 400; seed++)
        for (int kind = 0; kind < 4; kind++) {
            int64_t layers = 1 + (int64_t)(seed % 7);
            table *t =
                random_table(seed, kind, layers, 2 + (int)(seed % 3), 1 + (int)(seed / 7 % 3));
            double want = brute(t, NULL);
            hwb_allocation a;
            if (want < INFINITY) {
                assert_ok(ctx, hwb_allocate_solve(ctx, &a, &t->p, &o));
                check_plan(ctx, t, &a, want);
                hwb_allocation_free(&a);
                feasible++;
            } else {
                assert_fails(ctx, hwb_allocate_solve(ctx, &a, &t->p, &o), HWB_EARG, "at least");
                infeasible++;
            }
            free(t);
        }
    assert_true(feasible > 1000 && infeasible > 5);
    for (uint64_t seed = 1; seed < 20; seed++) { /* large enough to prune */
        table *t = random_table(seed, (int)(seed % 3 == 1), 11, 3, 3);
        double want = brute(t, NULL);
        hwb_allocation a;
        hwb_status s = hwb_allocate_solve(ctx, &a, &t->p, &o);
        assert_int_equal(s, want < INFINITY ? HWB_OK : HWB_EARG);
        if (s == HWB_OK) {
            check_plan(ctx, t, &a, want);
            hwb_allocation_free(&a);
        }
        free(t);
    }
    test_ctx_free(ctx);
}

static void test_order_against_brute_force(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    for (uint64_t seed = 0; seed < 300; seed++)
        for (int kind = 0; kind < 3; kind++) {
            int64_t layers = 2 + (int64_t)(seed % 6);
            table *t =
                random_table(seed, kind, layers, 2 + (int)(seed % 3), 1 + (int)(seed / 7 % 3));
            double lambda[MAX_L];
            int64_t numel[MAX_L];
            double score[MAX_L];
            for (int64_t l = 0; l < layers; l++) {
                uint64_t i = seed * 50 + (uint64_t)l;
                numel[l] = 1 + (int64_t)(10 * uniform(&i));
                i += 7777;
                lambda[l] = uniform(&i);
                score[l] = lambda[l] / (double)numel[l];
            }
            if (seed % 5 == 0 && kind == 0) { /* bits listed in another order */
                int b = t->bits[0];
                t->bits[0] = t->bits[1];
                t->bits[1] = b;
            }
            double want = brute(t, score);
            hwb_allocation a;
            hwb_status s = hwb_allocate_hawq_v1(ctx, &a, &t->p, lambda, numel, 0);
            if (want < INFINITY) {
                assert_ok(ctx, s);
                check_plan(ctx, t, &a, want);
                assert_true(admissible(t, a.choice, score));
                hwb_allocation_free(&a);
            } else {
                assert_int_equal(s, HWB_EARG);
            }
            free(t);
        }
    test_ctx_free(ctx);
}

/* The frontier holds exactly the undominated pairs of all choices. */
static void check_frontier(hwb_ctx *ctx, table *t) {
    hwb_frontier f;
    assert_ok(ctx, hwb_allocate_frontier(ctx, &f, &t->p, 0, 0));
    assert_true(f.exact && f.epsilon == 0 && f.layers == t->p.layers);
    for (int64_t i = 0; i < f.count; i++) {
        int choice[MAX_L];
        for (int64_t l = 0; l < f.layers; l++) choice[l] = f.choice[i * f.layers + l];
        assert_true(admissible(t, choice, NULL));
        assert_near(total(t, costs_of(t, 0), choice), f.cost[i], 1e-12);
        assert_near(total(t, t->omega, choice), f.omega[i], 1e-12);
        if (i) assert_true(f.cost[i] > f.cost[i - 1] && f.omega[i] < f.omega[i - 1]);
    }
    /* every choice is matched or beaten by a point */
    int choice[MAX_L] = {0};
    do {
        if (!admissible(t, choice, NULL)) continue;
        double c = total(t, costs_of(t, 0), choice) + 1e-9;
        double w = total(t, t->omega, choice) + 1e-9;
        int64_t i = f.count - 1;
        while (i >= 0 && f.cost[i] > c) i--;
        assert_true(i >= 0 && f.omega[i] <= w);
    } while (next(t, choice));
    hwb_frontier_free(&f);
}

static void test_frontier(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    for (uint64_t seed = 0; seed < 200; seed++)
        for (int kind = 0; kind < 4; kind++) {
            table *t = random_table(seed, kind, 1 + (int64_t)(seed % 6), 2 + (int)(seed % 3), 1);
            check_frontier(ctx, t);
            free(t);
        }
    test_ctx_free(ctx);
}

/* A thinned frontier is honest about what it lost. */
static void test_thinned_frontier(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    uint64_t r = 5;
    table *t = table_new(24, 4, 1);
    for (int64_t l = 0; l < 24; l++)
        for (int b = 0; b < 4; b++) {
            *omega(t, l, b) = exp(-1.3 * b) * (0.1 + uniform(&r));
            *cost(t, 0, l, b) = (b + 2) * (0.5 + (double)l / 24 + uniform(&r));
        }
    hwb_frontier all, thin;
    assert_ok(ctx, hwb_allocate_frontier(ctx, &all, &t->p, 0, 0));
    assert_true(all.exact && all.count > 300);
    assert_ok(ctx, hwb_allocate_frontier(ctx, &thin, &t->p, 0, 200));
    assert_true(!thin.exact && thin.count <= 200 && thin.epsilon > 0 && thin.epsilon < 0.3);
    assert_true(thin.cost[0] == all.cost[0]);
    double width = thin.epsilon * (thin.cost[thin.count - 1] - thin.cost[0]);
    for (int64_t i = 0; i < all.count; i++) {
        int64_t j = thin.count - 1;
        while (j > 0 && thin.cost[j] > all.cost[i] + width * (1 + 1e-9)) j--;
        assert_true(thin.omega[j] <= all.omega[i] * (1 + 1e-9));
    }
    hwb_frontier_free(&all);
    hwb_frontier_free(&thin);
    assert_fails(ctx, hwb_allocate_frontier(ctx, &all, &t->p, 1, 0), HWB_EARG, "cost 2 of 1");
    free(t);
    test_ctx_free(ctx);
}

/* ---- published answers: HAWQ-V3, ResNet18 ----------------------------------------------- */

static double entry(json_t *root, const char *key, size_t i) {
    return json_number_value(json_array_get(json_object_get(root, key), i));
}

/* choices 4 and 8 bits; costs: bits of weight, BOPs, milliseconds */
static table *hawq_table(json_t *root) {
    size_t layers = json_array_size(json_object_get(root, "average_trace"));
    table *t = table_new((int64_t)layers, 2, 3);
    t->bits[0] = 4, t->bits[1] = 8;
    for (size_t l = 0; l < layers; l++)
        for (int b = 0; b < 2; b++) {
            double w = b ? 8 : 4;
            *omega(t, (int64_t)l, b) = entry(root, "average_trace", l) *
                                       entry(root, b ? "delta_w_sq_8bit" : "delta_w_sq_4bit", l);
            *cost(t, 0, (int64_t)l, b) = w * entry(root, "parameters", l);
            *cost(t, 1, (int64_t)l, b) = w * w * entry(root, "macs", l);
            *cost(t, 2, (int64_t)l, b) = entry(root, b ? "latency_int8_ms" : "latency_int4_ms", l);
        }
    size_t i;
    json_t *pair;
    json_array_foreach(json_object_get(root, "ties_0based"), i, pair) {
        for (size_t k = 0; k < json_array_size(pair); k++)
            t->tie[json_integer_value(json_array_get(pair, k))] = (int64_t)i;
    }
    return t;
}

static void check_answer(hwb_ctx *ctx, table *t, json_t *e) {
    static const char *const names[] = {"size", "bops", "latency"};
    const char *name = json_string_value(json_object_get(e, "constraint"));
    const char *bits = json_string_value(json_object_get(e, "bits"));
    double fraction = json_number_value(json_object_get(e, "fraction"));
    hwb_allocate_options o = hwb_allocate_defaults();
    for (int c = 0; c < 3; c++) {
        t->limit[c] = INFINITY;
        if (strcmp(name, names[c]) != 0) continue;
        double all4 = 0, all8 = 0;
        for (int64_t l = 0; l < t->p.layers; l++) {
            all4 += *cost(t, c, l, 0);
            all8 += *cost(t, c, l, 1);
        }
        t->limit[c] = all4 + fraction * (all8 - all4);
    }
    hwb_allocation a;
    assert_ok(ctx, hwb_allocate_solve(ctx, &a, &t->p, &o));
    char got[MAX_L + 1] = "";
    for (int64_t l = 0; l < t->p.layers; l++) got[l] = a.choice[l] ? '8' : '4';
    assert_string_equal(got, bits);
    assert_near(a.omega, json_number_value(json_object_get(e, "omega")), 1e-6);
    assert_true(a.optimal);
    hwb_allocation_free(&a);
}

static void test_published(void **state) {
    (void)state;
    const char *data = getenv("HWB_TEST_DATA");
    char path[1024];
    snprintf(path, sizeof path, "%s/hawq_v3_resnet18.json", data ? data : ".");
    json_t *root = json_load_file(path, 0, NULL);
    if (!root) TEST_SKIP("no %s (set HWB_TEST_DATA)", path);
    hwb_ctx *ctx = test_ctx_new();
    table *t = hawq_table(root);
    size_t i;
    json_t *e;
    assert_int_equal(json_array_size(json_object_get(root, "expected")), 9);
    json_array_foreach(json_object_get(root, "expected"), i, e) check_answer(ctx, t, e);
    hwb_frontier f;
    assert_ok(ctx, hwb_allocate_frontier(ctx, &f, &t->p, 0, 0));
    assert_int_equal(f.count, 29);
    assert_near(f.omega[28], 0.004258, 1e-6); /* all 8, all 4 */
    assert_near(f.omega[0], 1.307713, 1e-6);
    hwb_frontier_free(&f);
    free(t);
    json_decref(root);
    test_ctx_free(ctx);
}

/* ---- large tables ------------------------------------------------------------------------ */

/* Like a ResNet: sizes, multiplications and latencies correlate but differ,
 * sensitivities fall with depth. */
static table *large_table(uint64_t seed, int64_t layers, int choices, int ties) {
    uint64_t r = seed * 1000003;
    table *t = table_new(layers, choices, 3);
    for (int64_t l = 0; l < layers; l++) {
        int stage = (int)(4 * l / layers);
        double n = 64 * 64 * pow(4, stage) * (uniform(&r) < 0.5 ? 1 : 9) / 4;
        double macs = n * 3136 / pow(4, stage);
        double trace = 0.1 * pow(0.25, stage) * exp(uniform(&r) * 2 - 1);
        double lat = macs * 2e-9 * (0.7 + 0.6 * uniform(&r));
        for (int b = 0; b < choices; b++) {
            double w = t->bits[b];
            *omega(t, l, b) = trace * n * 1e-3 * pow(4, -w) * (0.8 + 0.4 * uniform(&r));
            *cost(t, 0, l, b) = w * n;
            *cost(t, 1, l, b) = w * w * macs;
            *cost(t, 2, l, b) = lat * (0.3 + w / 8) * (0.95 + 0.1 * uniform(&r));
        }
    }
    for (int k = 0; k < ties; k++) t->tie[k * 13] = t->tie[k * 13 + 3] = k;
    return t;
}

static void set_fraction(table *t, int c, double fraction) {
    double lo = 0, hi = 0;
    for (int64_t l = 0; l < t->p.layers; l++) {
        lo += *cost(t, c, l, 0);
        hi += *cost(t, c, l, t->p.choices - 1);
    }
    t->limit[c] = lo + fraction * (hi - lo);
}

static void test_large(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    const struct {
        int64_t layers;
        int choices, ties;
    } sizes[] = {{52, 2, 4}, {52, 3, 4}, {110, 7, 0}};
    const double fractions[] = {0.25, 0.5, 0.75};
    hwb_allocate_options o = hwb_allocate_defaults();
    for (int k = 0; k < 3; k++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            table *t = large_table(seed, sizes[k].layers, sizes[k].choices, sizes[k].ties);
            for (int f = 0; f < 3; f++)
                for (int mask = 1; mask < 8; mask++) {
                    for (int c = 0; c < 3; c++) {
                        t->limit[c] = INFINITY;
                        if (mask >> c & 1) set_fraction(t, c, fractions[f] + 0.02 * c);
                    }
                    double start = hwb_seconds();
                    hwb_allocation a;
                    assert_ok(ctx, hwb_allocate_solve(ctx, &a, &t->p, &o));
                    double took = hwb_seconds() - start;
                    if (getenv("HWB_TEST_VERBOSE"))
                        print_message(
                            "%lld x %d, seed %d, fraction %g, limits %d: %lld nodes, %.3f s\n",
                            (long long)sizes[k].layers, sizes[k].choices, (int)seed, fractions[f],
                            mask, (long long)a.nodes, took);
                    assert_true(a.optimal);
                    assert_true(took < 5);
                    for (int c = 0; c < 3; c++) assert_true(a.cost[c] <= t->limit[c] * (1 + 1e-11));
                    if (mask == 1) { /* one limit: the frontier knows the answer too */
                        hwb_frontier fr;
                        assert_ok(ctx, hwb_allocate_frontier(ctx, &fr, &t->p, 0, 0));
                        int64_t i = fr.count - 1;
                        while (fr.cost[i] > t->limit[0]) i--;
                        assert_true(fr.exact);
                        assert_near(a.omega / fr.omega[i], 1, 1e-11);
                        hwb_frontier_free(&fr);
                    }
                    hwb_allocation_free(&a);
                }
            free(t);
        }
    test_ctx_free(ctx);
}

/* ---- the rest ------------------------------------------------------------------------------ */

static void test_reverse(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    table *t = large_table(4, 52, 3, 4);
    t->bits[0] = 2, t->bits[1] = 4, t->bits[2] = 8;
    set_fraction(t, 0, 0.4);
    hwb_allocate_options o = hwb_allocate_defaults();
    hwb_allocation plan, back;
    assert_ok(ctx, hwb_allocate_solve(ctx, &plan, &t->p, &o));
    double score[MAX_L];
    for (int64_t l = 0; l < 52; l++) score[l] = *omega(t, l, 0) / *cost(t, 0, l, 0);
    assert_ok(ctx, hwb_allocate_reverse(ctx, &back, &t->p, score, &plan));
    assert_true(back.cost[0] <= plan.cost[0] * (1 + 1e-12));
    assert_true(back.cost[0] > 0.97 * plan.cost[0]); /* the same size up to one step */
    assert_true(back.omega > 3 * plan.omega);
    hwb_allocation again;
    assert_ok(ctx, hwb_allocate_evaluate(ctx, &again, &t->p, back.choice));
    assert_true(again.omega == back.omega);
    hwb_allocation_free(&again);
    hwb_allocation_free(&back);
    hwb_allocation_free(&plan);
    free(t);
    test_ctx_free(ctx);
}

static void test_errors(void **state) {
    (void)state;
    hwb_ctx *ctx = test_ctx_new();
    hwb_allocate_options o = hwb_allocate_defaults();
    hwb_allocation a;
    table *t = random_table(1, 0, 3, 2, 2);
    static const char *const names[] = {"size_mib", "latency_ms"};
    t->p.cost_name = names;
    t->limit[0] = 1;
    assert_fails(ctx, hwb_allocate_solve(ctx, &a, &t->p, &o), HWB_EARG,
                 "size_mib: limit 1, at least");
    t->limit[0] = (double)NAN;
    assert_fails(ctx, hwb_allocate_solve(ctx, &a, &t->p, &o), HWB_EARG, "limit 1 is NaN");
    t->limit[0] = INFINITY;
    double keep = t->omega[3];
    t->omega[3] = (double)NAN;
    assert_fails(ctx, hwb_allocate_solve(ctx, &a, &t->p, &o), HWB_ENUMERIC, "layer 2 at 3 bits");
    t->omega[2] = t->omega[3] = INFINITY;
    assert_fails(ctx, hwb_allocate_solve(ctx, &a, &t->p, &o), HWB_EARG,
                 "no choice is left for layer 2");
    t->omega[2] = keep; /* +inf forbids one choice */
    t->limit[1] = INFINITY;
    assert_ok(ctx, hwb_allocate_solve(ctx, &a, &t->p, &o));
    assert_int_equal(a.choice[1], 0);
    hwb_allocation_free(&a);
    t->bits[1] = t->bits[0];
    assert_fails(ctx, hwb_allocate_solve(ctx, &a, &t->p, &o), HWB_EARG, "appears twice");
    free(t);
    /* limits that can be met one by one but not together */
    t = table_new(2, 2, 2);
    for (int64_t l = 0; l < 2; l++) {
        *cost(t, 0, l, 0) = 1, *cost(t, 0, l, 1) = 3;
        *cost(t, 1, l, 0) = 3, *cost(t, 1, l, 1) = 1;
    }
    t->limit[0] = t->limit[1] = 3;
    assert_fails(ctx, hwb_allocate_solve(ctx, &a, &t->p, &o), HWB_EARG, "together");
    int choice[2] = {0, 1};
    t->tie[0] = t->tie[1] = 0;
    assert_fails(ctx, hwb_allocate_evaluate(ctx, &a, &t->p, choice), HWB_EARG, "tied");
    free(t);
    /* a node limit is reported, not hidden */
    t = large_table(2, 110, 7, 0);
    for (int c = 0; c < 3; c++) set_fraction(t, c, 0.4 + 0.03 * c);
    o.node_limit = 3;
    assert_ok(ctx, hwb_allocate_solve(ctx, &a, &t->p, &o));
    assert_true(!a.optimal && a.bound < a.omega && a.bound > 0);
    hwb_allocation_free(&a);
    hwb_interrupt();
    assert_fails(ctx, hwb_allocate_solve(ctx, &a, &t->p, &o), HWB_EINTR, "interrupted");
    hwb_interrupt_clear();
    free(t);
    test_ctx_free(ctx);
}

/* Every allocation fails once: an error, nothing leaked. */
static void test_out_of_memory(void **state) {
    (void)state;
    table *t = random_table(8, 0, 6, 3, 3);
    for (int64_t at = 1;; at++) {
        char text[32];
        snprintf(text, sizeof text, "%lld", (long long)at);
        setenv("HWB_TEST_FAIL_ALLOC", text, 1);
        hwb_ctx *ctx = test_ctx_new();
        unsetenv("HWB_TEST_FAIL_ALLOC");
        hwb_allocate_options o = hwb_allocate_defaults();
        double score[] = {6, 5, 4, 3, 2, 1};
        hwb_allocation a = {0}, b = {0}, c = {0};
        hwb_frontier f = {0};
        hwb_status s = hwb_allocate_solve(ctx, &a, &t->p, &o);
        if (s == HWB_OK) s = hwb_allocate_frontier(ctx, &f, &t->p, 0, 16);
        if (s == HWB_OK) s = hwb_allocate_reverse(ctx, &b, &t->p, score, &a);
        o.score = score;
        if (s == HWB_OK) s = hwb_allocate_solve(ctx, &c, &t->p, &o);
        int64_t calls = hwb_memory(ctx).allocations;
        assert_int_equal(s, calls < at ? HWB_OK : HWB_ENOMEM);
        hwb_allocation_free(&a);
        hwb_allocation_free(&b);
        hwb_allocation_free(&c);
        hwb_frontier_free(&f);
        test_ctx_free(ctx);
        if (calls < at) break;
    }
    free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_brute_force),
        cmocka_unit_test(test_order_against_brute_force),
        cmocka_unit_test(test_frontier),
        cmocka_unit_test(test_thinned_frontier),
        cmocka_unit_test(test_published),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_reverse),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_out_of_memory),
    };
    return RUN_TESTS(tests);
}
