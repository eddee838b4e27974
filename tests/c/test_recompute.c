/*
 * test_recompute.c: values that are computed again for a late reader (compile/recompute.c),
 * against the same programs in which all of them wait in memory (no_recompute): the same bits,
 * and the kept set that theory gives.  The minimum cut itself against all cuts of small graphs.
 *
 * The networks are y = W2 f(W1 x + b1), f GELU, ReLU or a cube, one after the other with a
 * layer or batch norms behind; the loss is a mean of squares.
 */
#include "testing.h"

#include "ad/ad.h"
#include "exec/exec_i.h"
#include "graph/build.h"
#include "graph/compose.h"

/* ---- minimum cut ------------------------------------------------------------------- */

enum { VERTICES = 8, EDGES = 20 };

typedef struct line {
    int from, to;
    int64_t capacity;
} line;

/* Capacity of the edges from outside `side` (bit set: on the sink's side) into it. */
static int64_t cut_through(const line *l, int n, unsigned side) {
    int64_t sum = 0;
    for (int i = 0; i < n; i++)
        if (!(side >> l[i].from & 1) && (side >> l[i].to & 1)) sum += l[i].capacity;
    return sum;
}

static void cuts_are_least(void **unused) {
    (void)unused;
    hwb_ctx *ctx = test_ctx_new();
    for (int trial = 0; trial < 100; trial++) {
        line l[EDGES];
        hwb_rng rng = {5, (uint64_t)trial};
        hwb__cut *c;
        bool side[VERTICES];
        unsigned got = 0, common = ~0u;
        int64_t least = INT64_MAX;
        assert_ok(ctx, hwb__cut_new(ctx, &c, VERTICES));
        for (int i = 0; i < EDGES; i++) {
            uint64_t at = 3 * (uint64_t)i;
            l[i] = (line){(int)hwb_rng_below(rng, at, VERTICES),
                          (int)hwb_rng_below(rng, at + 1, VERTICES),
                          (int64_t)hwb_rng_below(rng, at + 2, 7)};
            assert_ok(ctx, hwb__cut_edge(c, l[i].from, l[i].to, l[i].capacity));
        }
        hwb__cut_solve(c, 0, VERTICES - 1, side);
        hwb__cut_free(c);
        for (int v = 0; v < VERTICES; v++) got |= (unsigned)side[v] << v;
        for (unsigned s = 0; s < 1u << VERTICES; s++) {
            if ((s & 1) || !(s >> (VERTICES - 1) & 1)) continue;
            int64_t through = cut_through(l, EDGES, s);
            if (through < least) {
                least = through;
                common = s;
            } else if (through == least) {
                common &= s; /* minimum cuts meet in a minimum cut */
            }
        }
        assert_int_equal(cut_through(l, EDGES, got), least);
        assert_int_equal(got, common);
    }
    hwb_ctx_free(ctx);
}

/* ---- networks ------------------------------------------------------------------------ */

enum { MAX_BLOCKS = 3, PER_BLOCK = 4, MAX_PARAMETERS = MAX_BLOCKS * PER_BLOCK, MAX_IN = 64 };

typedef struct geometry {
    hwb_dtype dtype;
    int64_t n, width, inner;
    int blocks;
    enum { GELU, RELU, CUBE } f;
    bool norm;
    int64_t vectors; /* 0: the gradient */
    bool apart;      /* products of the first and the last block, each with tangents of its own */
} geometry;

typedef struct network {
    hwb_graph *graph;
    int n_in, n_out, n_parameters;
    hwb_id in[MAX_IN], out[2 * MAX_PARAMETERS], parameter[MAX_PARAMETERS];
} network;

static hwb_id input(hwb_ctx *ctx, network *p, int role, hwb_dtype dtype, hwb_shape shape) {
    hwb_id id;
    assert_true(p->n_in < MAX_IN);
    assert_ok(ctx, hwb_graph_input(p->graph, &id, (hwb_role)role, dtype, shape, ""));
    p->in[p->n_in++] = id;
    return id;
}

static void add_block(hwb_ctx *ctx, const geometry *q, network *p, hwb_id *x) {
    hwb_graph *g = p->graph;
    hwb_id *w = p->parameter + p->n_parameters, h;
    w[0] = input(ctx, p, HWB_ROLE_PARAM, q->dtype, hwb_shape_of(2, q->width, q->inner));
    w[1] = input(ctx, p, HWB_ROLE_PARAM, q->dtype, hwb_shape_of(2, 1, q->inner));
    w[2] = input(ctx, p, HWB_ROLE_PARAM, q->dtype, hwb_shape_of(2, q->inner, q->width));
    w[3] = input(ctx, p, HWB_ROLE_PARAM, q->dtype, hwb_shape_of(2, 1, q->width));
    p->n_parameters += PER_BLOCK;
    assert_ok(ctx, hwb_matmul(g, &h, *x, w[0]));
    assert_ok(ctx, hwb_add(g, &h, h, w[1]));
    if (q->f == RELU) assert_ok(ctx, hwb_relu(g, &h, h));
    if (q->f == GELU) assert_ok(ctx, hwb_gelu(g, &h, h));
    if (q->f == CUBE) {
        hwb_id square;
        assert_ok(ctx, hwb_mul(g, &square, h, h));
        assert_ok(ctx, hwb_mul(g, &h, square, h));
    }
    assert_ok(ctx, hwb_matmul(g, &h, h, w[2]));
    if (q->blocks > 1) assert_ok(ctx, hwb_add(g, &h, h, *x));
    if (q->norm) {
        hwb_id gamma;
        assert_ok(ctx, hwb_reshape(g, &gamma, w[3], hwb_shape_of(1, q->width)));
        assert_ok(ctx, hwb_layer_norm(g, &h, h, gamma, gamma, 1e-5));
    } else {
        assert_ok(ctx, hwb_add(g, &h, h, w[3]));
    }
    *x = h;
}

/* Tangents of the gradient along the parameters first..first + n, of role `role`. */
static void add_product(hwb_ctx *ctx, const geometry *q, network *p, const hwb_id *gradient,
                        int role, int first, int n) {
    hwb_graph *g = p->graph;
    hwb_id v[MAX_PARAMETERS], batched[MAX_PARAMETERS], hv[MAX_PARAMETERS];
    for (int i = 0; i < n; i++) {
        hwb_shape one = *hwb_graph_shape(g, p->parameter[first + i]), many = {.ndim = one.ndim + 1};
        if (q->vectors == 1) {
            v[i] = input(ctx, p, role, q->dtype, one);
            continue;
        }
        many.dim[0] = q->vectors;
        memcpy(many.dim + 1, one.dim, (size_t)one.ndim * sizeof *one.dim);
        batched[i] = input(ctx, p, role, q->dtype, many);
        assert_ok(ctx, hwb_graph_input(g, &v[i], (hwb_role)role, q->dtype, one, ""));
    }
    assert_ok(ctx, hwb_jvp(g, n, p->parameter + first, v, n, gradient + first, hv));
    if (q->vectors > 1) assert_ok(ctx, hwb_batch(g, q->vectors, n, v, batched, n, hv, hv));
    for (int i = 0; i < n; i++)
        if (hv[i] != HWB_NONE) p->out[p->n_out++] = hv[i];
}

static void build(hwb_ctx *ctx, const geometry *q, network *p) {
    hwb_id gradient[MAX_PARAMETERS], loss, x;
    memset(p, 0, sizeof *p);
    assert_ok(ctx, hwb_graph_new(ctx, &p->graph));
    x = input(ctx, p, HWB_ROLE_DATA, q->dtype, hwb_shape_of(2, q->n, q->width));
    for (int i = 0; i < q->blocks; i++) add_block(ctx, q, p, &x);
    assert_ok(ctx, hwb_mul(p->graph, &x, x, x));
    assert_ok(ctx, hwb_mean(p->graph, &loss, x, 0, false));
    int n = p->n_parameters;
    assert_ok(ctx, hwb_vjp(p->graph, 1, &loss, NULL, n, p->parameter, gradient));
    if (q->vectors == 0) {
        for (int i = 0; i < n; i++)
            if (gradient[i] != HWB_NONE) p->out[p->n_out++] = gradient[i];
    } else if (q->apart) {
        add_product(ctx, q, p, gradient, HWB_ROLE_TANGENT, 0, 1);
        add_product(ctx, q, p, gradient, HWB_ROLE_TANGENT + 1, n - PER_BLOCK, 1);
    } else {
        add_product(ctx, q, p, gradient, HWB_ROLE_TANGENT, 0, n);
    }
}

/* ---- programs ------------------------------------------------------------------------- */

static void feed(hwb_ctx *ctx, const network *p, hwb_program *made, uint64_t seed) {
    for (int i = 0; i < p->n_in; i++) {
        hwb_tensor *t;
        hwb_rng rng = {seed, (uint64_t)i};
        const hwb_shape *s = hwb_graph_shape(p->graph, p->in[i]);
        double scale = s->ndim > 1 && i > 0 ? 1 / sqrt((double)s->dim[s->ndim - 2]) : 1;
        assert_ok(ctx, hwb_tensor_new(ctx, &t, hwb_graph_dtype(p->graph, p->in[i]), *s));
        for (int64_t j = 0; j < hwb_tensor_numel(t); j++)
            hwb_tensor_set(t, j, hwb_rng_normal(rng, (uint64_t)j) * scale);
        assert_ok(ctx, hwb_program_set(ctx, made, p->in[i], t));
        hwb_tensor_release(t);
    }
}

static hwb_program *compile(hwb_ctx *ctx, const network *p, bool all_wait) {
    hwb_program *made;
    hwb_compile_options o = {.no_recompute = all_wait};
    assert_ok(ctx, hwb_compile(ctx, &made, p->graph, p->n_out, p->out, &o));
    return made;
}

static size_t memory(const hwb_program *p) {
    return hwb_program_stats(p).arena_bytes + hwb_program_stats(p).kept_bytes;
}

/* Values of n x inner elements that wait for the tangents; nodes that are computed again. */
static int kept(const hwb_program *p, const geometry *q) {
    int n = 0;
    for (int i = 0; i < p->plan->n_values; i++) {
        const hwb__value *v = &p->plan->values[i];
        n += v->place == HWB__AT_KEPT && v->stage == HWB_ROLE_DATA &&
             v->bytes == (size_t)(q->n * q->inner) * hwb_dtype_size(q->dtype);
    }
    return n;
}

static int copies(const hwb_program *p) {
    int n = 0;
    for (hwb_id id = 0; id < p->graph->count; id++)
        n += hwb_op_is_pointwise(p->graph->nodes[id]->op) && p->graph->nodes[id]->attrs.key;
    return n;
}

/* Both programs on two batches and, of each, two sets of vectors give the same bits. */
static void same_bits(hwb_ctx *ctx, const network *p, hwb_program *a, hwb_program *b, bool one) {
    hwb_tensor *x[2 * MAX_PARAMETERS], *y[2 * MAX_PARAMETERS];
    for (uint64_t seed = 1; seed <= 2; seed++) {
        feed(ctx, p, a, seed);
        feed(ctx, p, b, seed);
        for (int i = 0; one && i < p->n_out; i++) {
            assert_ok(ctx, hwb_program_run_one(ctx, a, i, &x[i]));
            assert_ok(ctx, hwb_program_run_one(ctx, b, i, &y[i]));
        }
        if (!one) {
            assert_ok(ctx, hwb_program_run(ctx, a, x));
            assert_ok(ctx, hwb_program_run(ctx, b, y));
        }
        for (int i = 0; i < p->n_out; i++) {
            assert_memory_equal(hwb_tensor_data(x[i]), hwb_tensor_data(y[i]),
                                hwb_tensor_bytes(x[i]));
            hwb_tensor_release(x[i]);
            hwb_tensor_release(y[i]);
        }
    }
}

static const geometry cases[] = {
    {HWB_F32, 256, 256, 512, 3, GELU, false, 0, false},
    {HWB_F32, 256, 256, 512, 1, GELU, false, 1, false},
    {HWB_F64, 128, 256, 512, 1, GELU, false, 1, false},
    {HWB_F32, 100, 300, 700, 3, GELU, true, 0, false},
    {HWB_F32, 100, 300, 700, 3, GELU, true, 1, false},
    {HWB_F64, 70, 300, 500, 2, GELU, true, 1, false},
    {HWB_F32, 64, 200, 400, 2, GELU, true, 3, false},
    {HWB_F32, 100, 300, 700, 3, GELU, true, 1, true},
};

/* Less memory by an eighth at least, the same bits, no more products. */
static void less_memory(void **unused) {
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hwb_ctx *ctx = test_ctx_new();
        network p;
        hwb_set_threads(ctx, 2);
        build(ctx, &cases[i], &p);
        hwb_program *all = compile(ctx, &p, true), *few = compile(ctx, &p, false);
        assert_int_equal(copies(all), 0);
        assert_true(copies(few) > 0);
        assert_true(memory(few) < memory(all) - memory(all) / 8);
        for (int s = 0; s < HWB_ROLE_COUNT; s++)
            assert_int_equal(hwb_program_stats(few).macs[s], hwb_program_stats(all).macs[s]);
        same_bits(ctx, &p, few, all, cases[i].apart);
        hwb_program_release(all);
        hwb_program_release(few);
        hwb_graph_release(p.graph);
        hwb_ctx_free(ctx);
    }
}

/* Of y = W1 x + b1, h = y^3 and its adjoint a, z' = f'(y) y' and the tangent of f'(y) a need
 * y and a; h^T dz' needs h, which is computed again where products are large, and waits where
 * they are small. */
static void kept_set(void **unused) {
    (void)unused;
    geometry q = {HWB_F32, 256, 512, 1024, 1, CUBE, false, 1, false};
    hwb_ctx *ctx = test_ctx_new();
    network p;
    build(ctx, &q, &p);
    hwb_program *all = compile(ctx, &p, true), *few = compile(ctx, &p, false);
    assert_true(kept(all, &q) >= 5);
    assert_int_equal(kept(few, &q), 2);
    hwb_program_release(all);
    hwb_program_release(few);
    hwb_graph_release(p.graph);
    q = (geometry){HWB_F32, 1024, 16, 128, 1, CUBE, false, 1, false};
    build(ctx, &q, &p);
    few = compile(ctx, &p, false);
    assert_int_equal(kept(few, &q), 3);
    hwb_program_release(few);
    hwb_graph_release(p.graph);
    hwb_ctx_free(ctx);
}

/* A mask and the activation are the least that a ReLU can keep: nothing is computed again. */
static void relu_left_alone(void **unused) {
    (void)unused;
    for (int64_t vectors = 0; vectors <= 1; vectors++) {
        geometry q = {HWB_F32, 256, 512, 1024, 1, RELU, false, vectors, false};
        hwb_ctx *ctx = test_ctx_new();
        network p;
        build(ctx, &q, &p);
        hwb_program *few = compile(ctx, &p, false);
        assert_int_equal(copies(few), 0);
        hwb_program_release(few);
        hwb_graph_release(p.graph);
        hwb_ctx_free(ctx);
    }
}

/* A convolution, batch norm with the batch's statistics, GELU: the gradient of a training step. */
static void batch_norm(void **unused) {
    (void)unused;
    hwb_ctx *ctx = test_ctx_new();
    network p = {0};
    hwb_id x, w, gamma, mean, var, loss, wrt[3], gradient[3];
    assert_ok(ctx, hwb_graph_new(ctx, &p.graph));
    hwb_graph *g = p.graph;
    x = input(ctx, &p, HWB_ROLE_DATA, HWB_F64, hwb_shape_of(4, 4, 16, 24, 24));
    wrt[0] = w = input(ctx, &p, HWB_ROLE_PARAM, HWB_F64, hwb_shape_of(4, 16, 16, 3, 3));
    wrt[1] = gamma = input(ctx, &p, HWB_ROLE_PARAM, HWB_F64, hwb_shape_of(1, 16));
    wrt[2] = input(ctx, &p, HWB_ROLE_PARAM, HWB_F64, hwb_shape_of(4, 16, 16, 3, 3));
    for (int i = 0; i < 2; i++) {
        assert_ok(
            ctx, hwb_conv2d(g, &x, x, wrt[2 * i], HWB_NONE, (hwb_conv_options){.padding = {1, 1}}));
        assert_ok(ctx, hwb_batch_norm_batch(g, &x, &mean, &var, x, gamma, gamma, 1e-5));
        assert_ok(ctx, hwb_gelu(g, &x, x));
    }
    assert_ok(ctx, hwb_sum(g, &loss, x, 0, false));
    assert_ok(ctx, hwb_vjp(g, 1, &loss, NULL, 3, wrt, gradient));
    for (int i = 0; i < 3; i++) p.out[p.n_out++] = gradient[i];
    hwb_program *all = compile(ctx, &p, true), *few = compile(ctx, &p, false);
    assert_true(copies(few) > 0);
    assert_true(memory(few) < memory(all) - memory(all) / 8);
    same_bits(ctx, &p, few, all, false);
    hwb_program_release(all);
    hwb_program_release(few);
    hwb_graph_release(g);
    hwb_ctx_free(ctx);
}

/* A long chain in which every value is read late is broken into short ones. */
static void long_chain(void **unused) {
    (void)unused;
    enum { LINKS = 300 };
    hwb_ctx *ctx = test_ctx_new();
    network p = {0};
    hwb_id x, w, m, loss, gradient;
    assert_ok(ctx, hwb_graph_new(ctx, &p.graph));
    x = input(ctx, &p, HWB_ROLE_DATA, HWB_F64, hwb_shape_of(2, 512, 64));
    w = input(ctx, &p, HWB_ROLE_PARAM, HWB_F64, hwb_shape_of(2, 1, 64));
    for (int i = 0; i < LINKS; i++) {
        hwb_id y;
        assert_ok(ctx, hwb_mul(p.graph, &y, x, w));
        assert_ok(ctx, hwb_mul(p.graph, &x, y, y));
        assert_ok(ctx, hwb_mul(p.graph, &x, x, y));
    }
    m = input(ctx, &p, HWB_ROLE_PARAM, HWB_F64, hwb_shape_of(2, 64, 64));
    assert_ok(ctx, hwb_matmul(p.graph, &x, x, m));
    assert_ok(ctx, hwb_mul(p.graph, &x, x, x));
    assert_ok(ctx, hwb_sum(p.graph, &loss, x, 0, false));
    assert_ok(ctx, hwb_vjp(p.graph, 1, &loss, NULL, 1, &w, &gradient));
    p.out[p.n_out++] = gradient;
    hwb_graph *h;
    hwb_id *map = calloc((size_t)p.graph->count, sizeof *map);
    assert_non_null(map);
    assert_ok(ctx, hwb__recompute(p.graph, &h, false, p.n_out, p.out, map));
    assert_non_null(h);
    int copied = 0, longest = 0, *run = calloc((size_t)h->count, sizeof *run);
    assert_non_null(run);
    for (hwb_id id = 0; id < h->count; id++) {
        const hwb__node *n = h->nodes[id];
        if (!hwb_op_is_pointwise(n->op) || !n->attrs.key) continue;
        for (int i = 0; i < n->n_in; i++)
            if (run[n->in[i]] > run[id]) run[id] = run[n->in[i]];
        if (++run[id] > longest) longest = run[id];
        copied++;
    }
    assert_true(copied > LINKS);
    assert_in_range(longest, 2, 31);
    free(run);
    free(map);
    hwb_graph_release(h);
    hwb_graph_release(p.graph);
    hwb_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_are_least), cmocka_unit_test(less_memory),
        cmocka_unit_test(kept_set),       cmocka_unit_test(relu_left_alone),
        cmocka_unit_test(batch_norm),     cmocka_unit_test(long_chain),
    };
    return RUN_TESTS(tests);
}
