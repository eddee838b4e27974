/*
 * bench.c: the engine's side of the benchmark, without Lua.
 *
 * usage: bench CASE [key=value...]
 *   gradient hvp block-eigs traces lanczos primal
 *   net=resnet20|resnet50  batch=  side=  k=1  iterations=  probes=  steps=
 *   repeat=5  threads=2  micro=0 (samples a piece)  dump=1 (kernels with times)
 *
 * One JSON line: median, least and greatest seconds of `repeat` runs after a
 * warm-up, least processor seconds, set-up seconds (tracing, compiling, first
 * run), peak bytes of tensors and programs, and a check value that peer_torch.py
 * prints for the same case: the norm of the gradient, v.Hv, the sum of the
 * blocks' eigenvalues.
 *
 * `hvp` is one product with the primal pass kept from the run before, as in a
 * solver; `primal` is one product after the data changed: both stages.
 */
#include "nets.h"

#include <omp.h>
#include <time.h>

#include "curvature/curvature_i.h"
#include "spectral/spectral.h"

typedef struct bench {
    hwb_ctx *ctx;
    const char *kind, *net;
    int64_t batch, side, k, iterations, probes, steps, repeat, threads, micro;
    bool dump;
    hwb_model *model;
    hwb_tensor *x, *y;
    hwb_curvature *whole;
} bench;

static void stop(const bench *b, hwb_status st, const char *what) {
    if (st == HWB_OK) return;
    fprintf(stderr, "bench: %s: %s: %s\n", what, hwb_status_name(st), hwb_message(b->ctx));
    exit(1);
}

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* v[j,i] = sin(0.37 (at + i + 1 + 1000 j)) */
static hwb_tensor *vectors(bench *b, int64_t k, int64_t n, int64_t at) {
    hwb_tensor *v;
    hwb_shape s = {.ndim = 2, .dim = {k, n}};
    stop(b, hwb_tensor_new(b->ctx, &v, HWB_F32, s), "vectors");
    float *p = hwb_tensor_data(v);
    for (int64_t j = 0; j < k; j++)
        for (int64_t i = 0; i < n; i++)
            p[j * n + i] = (float)sin(0.37 * (double)(at + i + 1 + 1000 * j));
    return v;
}

static double dot(const hwb_tensor *a, const hwb_tensor *b, int64_t n) {
    const float *x = hwb_tensor_data(a), *y = hwb_tensor_data(b);
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += (double)x[i] * (double)y[i];
    return s;
}

/* ---- the cases: each returns its check value ------------------------------------------ */

static double run_gradient(bench *b) {
    hwb_tensor *g;
    hwb_tensor_touch(b->x); /* new data: all of it again */
    stop(b, hwb_curvature_gradient(b->ctx, b->whole, NULL, &g), "gradient");
    double norm = sqrt(dot(g, g, hwb_tensor_numel(g)));
    hwb_tensor_release(g);
    return norm;
}

static double apply_once(bench *b, hwb_tensor *v) {
    hwb_linop *op = hwb_curvature_op(b->whole);
    hwb_tensor *hv;
    stop(b, op->apply(b->ctx, op, &hv, v), "product");
    double check = dot(hv, v, op->n);
    hwb_tensor_release(hv);
    return check;
}

static double run_hvp(bench *b, hwb_tensor *v, bool primal) {
    if (primal) hwb_tensor_touch(b->x);
    return apply_once(b, v);
}

/* Power iteration on one block, from the same start vectors as the peer. */
static double block_top(bench *b, const hwb_layer *layer) {
    hwb_curvature *c;
    int64_t at = 0;
    stop(b, hwb_curvature_block(b->ctx, &c, b->whole, layer->name), layer->name);
    hwb_linop *op = hwb_curvature_op(c);
    at = hwb_model_offset(b->model, layer->weight);
    hwb_tensor *v = vectors(b, 1, op->n, at), *hv;
    double value = 0;
    for (int64_t i = 0; i < b->iterations; i++) {
        float *p = hwb_tensor_data(v);
        double size = sqrt(dot(v, v, op->n));
        for (int64_t j = 0; j < op->n; j++) p[j] = (float)((double)p[j] / size);
        hwb_tensor_touch(v);
        stop(b, op->apply(b->ctx, op, &hv, v), layer->name);
        value = dot(hv, v, op->n);
        hwb_tensor_release(v);
        v = hv;
    }
    if (b->dump) {
        char *text = hwb_curvature_dump(b->ctx, c, 1);
        fprintf(stderr, "---- block %s\n%s", layer->name, text);
        free(text);
    }
    hwb_tensor_release(v);
    hwb_curvature_release(c);
    return value;
}

static double run_block_eigs(bench *b) {
    const hwb_layer *layers;
    int n;
    double sum = 0;
    stop(b, hwb_model_layers(b->ctx, b->model, hwb_tensor_shape(b->x), HWB_F32, &n, &layers),
         "layers");
    for (int i = 0; i < n; i++) sum += block_top(b, &layers[i]);
    return sum;
}

/* Probes for every layer's trace at once, k at a time. */
static double run_traces(bench *b) {
    hwb_linop *op = hwb_curvature_op(b->whole);
    double sum = 0;
    hwb_tensor_touch(b->x);
    for (int64_t at = 0; at < b->probes; at += b->k) {
        int64_t k = b->probes - at < b->k ? b->probes - at : b->k;
        hwb_tensor *v = vectors(b, k, op->n, at), *hv;
        float *p = hwb_tensor_data(v);
        for (int64_t i = 0; i < k * op->n; i++) p[i] = p[i] < 0 ? -1.0f : 1.0f;
        stop(b, op->apply(b->ctx, op, &hv, v), "product");
        sum += dot(hv, v, k * op->n) / (double)b->probes;
        hwb_tensor_release(v);
        hwb_tensor_release(hv);
    }
    return sum;
}

static double run_lanczos(bench *b) {
    hwb_linop *op = hwb_curvature_op(b->whole);
    hwb_eigs_options o = hwb_eigs_defaults();
    hwb_eigs_result r;
    o.maxiter = b->steps;
    o.max_basis = b->steps + 1;
    o.tol = 0;
    hwb_tensor_touch(b->x);
    stop(b, hwb_eigs_lanczos(b->ctx, &r, op, &o), "lanczos");
    double top = r.values[0];
    hwb_eigs_free(&r);
    return top;
}

static double run_case(bench *b, hwb_tensor *v) {
    if (strcmp(b->kind, "gradient") == 0) return run_gradient(b);
    if (strcmp(b->kind, "hvp") == 0) return run_hvp(b, v, false);
    if (strcmp(b->kind, "primal") == 0) return run_hvp(b, v, true);
    if (strcmp(b->kind, "block-eigs") == 0) return run_block_eigs(b);
    if (strcmp(b->kind, "traces") == 0) return run_traces(b);
    if (strcmp(b->kind, "lanczos") == 0) return run_lanczos(b);
    fprintf(stderr, "bench: no case %s\n", b->kind);
    exit(2);
}

/* ---- measuring ---------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(bench *b) {
    hwb_tensor *v = vectors(b, b->k, hwb_curvature_n(b->whole), 0);
    double *wall = malloc((size_t)b->repeat * sizeof *wall), least = INFINITY, check;
    double start = hwb_seconds();
    size_t before = hwb_memory(b->ctx).live;
    hwb_memory_reset_peak(b->ctx);
    check = run_case(b, v);
    double first = hwb_seconds() - start;
    for (int i = 0; b->dump && i < b->whole->n_cached; i++)
        hwb_program_time_kernels(b->whole->cached[i].program, true);
    for (int64_t i = 0; i < b->repeat; i++) {
        double cpu = cpu_seconds();
        start = hwb_seconds();
        check = run_case(b, v);
        wall[i] = hwb_seconds() - start;
        if (cpu_seconds() - cpu < least) least = cpu_seconds() - cpu;
    }
    qsort(wall, (size_t)b->repeat, sizeof *wall, ascending);
    for (int i = 0; b->dump && i < b->whole->n_cached; i++) {
        char *text = hwb_program_dump(b->whole->cached[i].program);
        fputs(text, stderr);
        free(text);
    }
    double compile =
        b->whole->n_cached ? hwb_program_stats(b->whole->cached[0].program).compile_seconds : 0;
    printf("{\"case\": \"%s-%s\", \"k\": %lld, \"batch\": %lld, \"seconds_median\": %.5f, "
           "\"seconds_min\": %.5f, \"seconds_max\": %.5f, \"cpu_s_min\": %.5f, \"first_s\": %.4f, "
           "\"compile_s\": %.4f, \"peak_mib\": %.1f, \"model_mib\": %.1f, \"check\": %.9g}\n",
           b->kind, b->net, (long long)b->k, (long long)b->batch, wall[b->repeat / 2], wall[0],
           wall[b->repeat - 1], least, first, compile,
           (double)(hwb_memory(b->ctx).peak - before) / 1048576.0, (double)before / 1048576.0,
           check);
    free(wall);
    hwb_tensor_release(v);
}

static void read_options(bench *b, int argc, char **argv) {
    struct {
        const char *name;
        int64_t *to;
    } numbers[] = {{"batch", &b->batch},           {"side", &b->side},       {"k", &b->k},
                   {"iterations", &b->iterations}, {"probes", &b->probes},   {"steps", &b->steps},
                   {"repeat", &b->repeat},         {"threads", &b->threads}, {"micro", &b->micro}};
    for (int i = 2; i < argc; i++) {
        char *eq = strchr(argv[i], '=');
        bool known = eq != NULL;
        if (eq) *eq++ = 0;
        if (known && strcmp(argv[i], "net") == 0) b->net = eq;
        else if (known && strcmp(argv[i], "dump") == 0) b->dump = atoi(eq);
        else {
            size_t j = 0, n = sizeof numbers / sizeof *numbers;
            while (known && j < n && strcmp(argv[i], numbers[j].name) != 0) j++;
            if (!known || j == n) {
                fprintf(stderr, "bench: unknown option %s\n", argv[i]);
                exit(2);
            }
            *numbers[j].to = atoll(eq);
        }
    }
}

int main(int argc, char **argv) {
    bench b = {.net = "resnet20",
               .k = 1,
               .iterations = 10,
               .probes = 10,
               .steps = 30,
               .repeat = 5,
               .threads = 2};
    hwb_source source;
    hwb_curvature_options o = {.kind = HWB_HESSIAN};
    if (argc < 2) {
        fputs("usage: bench CASE [key=value...]\n", stderr);
        return 2;
    }
    b.kind = argv[1];
    read_options(&b, argc, argv);
    bool deep = strcmp(b.net, "resnet50") == 0;
    if (!b.batch) b.batch = deep ? 8 : 128;
    if (!b.side) b.side = deep ? 224 : 32;
    if (hwb_ctx_new(&b.ctx) != HWB_OK) return 1;
    hwb_set_threads(b.ctx, (int)b.threads);
    stop(&b, net_new(b.ctx, &b.model, b.net, 16, 3), "model");
    stop(&b, net_images(b.ctx, &b.x, &b.y, b.batch, b.side, deep ? 1000 : 10), "images");
    stop(&b, hwb_source_batch(b.ctx, &source, b.x, b.y, b.micro), "source");
    stop(&b, hwb_curvature_new(b.ctx, &b.whole, b.model, source, &o), "operator");
    measure(&b);
    hwb_curvature_release(b.whole);
    hwb_model_release(b.model);
    hwb_tensor_release(b.x);
    hwb_tensor_release(b.y);
    hwb_ctx_free(b.ctx);
    return 0;
}
