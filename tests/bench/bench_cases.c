/*
 * bench_cases.c: what each case does.
 *
 * Vectors are v[j,i] = sin(0.37 (at + i + 1 + 1000 j)), i counted over the flat
 * parameters from `at`, probes their signs.  A product is taken with the primal
 * pass kept from the run before, as in a solver; peer_torch.py keeps the
 * gradient's graph.
 */
#include "bench.h"

#include "exec/exec_i.h"
#include "optim/trainer_i.h"

/* ---- shared -------------------------------------------------------------------------------- */

static hwb_tensor *vectors(bench *b, int64_t k, int64_t n, int64_t at) {
    hwb_tensor *v;
    hwb_shape s = {.ndim = 2, .dim = {k, n}};
    bench_must(b, hwb_tensor_new(b->ctx, &v, HWB_F32, s), "vectors");
    float *p = hwb_tensor_data(v);
    for (int64_t j = 0; j < k; j++)
#pragma omp parallel for
        for (int64_t i = 0; i < n; i++)
            p[j * n + i] = (float)sin(0.37 * (double)(at + i + 1 + 1000 * j));
    return v;
}

/* sum of a[i] b[i], i = from .. from+n-1 */
static double dot(const hwb_tensor *a, const hwb_tensor *b, int64_t from, int64_t n) {
    const float *x = (const float *)hwb_tensor_data(a) + from;
    const float *y = (const float *)hwb_tensor_data(b) + from;
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += (double)x[i] * (double)y[i];
    return s;
}

static void open_operator(bench *b) {
    hwb_source source;
    hwb_curvature_options o = {.kind = HWB_HESSIAN};
    bench_must(b, hwb_source_batch(b->ctx, &source, b->x, b->y, b->sizes.micro), "source");
    bench_must(b, hwb_curvature_new(b->ctx, &b->whole, b->model, source, &o), "operator");
    if (b->sizes.k) b->v = vectors(b, b->sizes.k, hwb_curvature_n(b->whole), 0);
}

/* b->v, k at a time, goes to where products are made. */
static void send_vectors(bench *b, int64_t k) {
    int64_t rows = hwb_tensor_shape(b->v)->dim[0];
    bench_must(b, hwb__space_open(b->ctx, &b->space, hwb_curvature_op(b->whole)), "vectors");
    b->sent = calloc((size_t)(rows / k + 1), sizeof *b->sent);
    for (int64_t at = 0; at < rows; at += k) {
        hwb_tensor *some;
        int64_t len = rows - at < k ? rows - at : k;
        bench_must(b, hwb_tensor_slice(b->ctx, &some, b->v, 0, at, len, 1), "vectors");
        bench_must(b, hwb__vector_load(&b->space, some, &b->sent[b->n_sent++]), "vectors");
        hwb_tensor_release(some);
    }
    hwb_tensor_release(b->v);
    b->v = NULL;
}

static void open_product(bench *b) {
    open_operator(b);
    send_vectors(b, b->sizes.k);
}

static const hwb_layer *layers_of(bench *b, int *n) {
    const hwb_layer *layers;
    bench_must(b,
               hwb_model_layers(b->ctx, b->model, hwb_tensor_shape(b->x), hwb_tensor_dtype(b->x), n,
                                &layers),
               "layers");
    return layers;
}

/* Adds what the stages of a program do in one run, each so many times. */
static void count_program(bench *b, const hwb_program *p, const double times[HWB_ROLE_COUNT]) {
    for (int s = 0; s < HWB_ROLE_COUNT; s++)
        b->macs += times[s] * (double)hwb_program_stats(p).macs[s];
    for (int k = 0; k < p->plan->n_steps; k++) {
        const hwb__step *step = &p->plan->steps[k];
        int role = step->stage < HWB_ROLE_TANGENT ? step->stage : HWB_ROLE_TANGENT;
        for (int i = 0; i < step->n_in; i++) {
            const hwb_vdesc *d = &p->plan->values[step->in[i]].desc;
            b->bytes +=
                times[role] * (double)hwb_shape_numel(&d->shape) * (double)hwb_dtype_size(d->dtype);
        }
        for (int i = 0; i < step->n_out; i++)
            b->bytes += times[role] * (double)hwb_shape_numel(&step->out_desc[i].shape) *
                        (double)hwb_dtype_size(step->out_desc[i].dtype);
    }
}

/* The newest program's work, its data `data` times and its tangents `tangent` times. */
static void count_work(bench *b, const hwb__programs *made, double data, double tangent) {
    const double times[HWB_ROLE_COUNT] = {[HWB_ROLE_DATA] = data, [HWB_ROLE_TANGENT] = tangent};
    count_program(b, made->list[made->n - 1].program, times);
}

/* Multiply-adds of the forward pass of `samples` images. */
static double forward_macs(bench *b, int64_t samples) {
    int n;
    double total = 0;
    const hwb_layer *layers = layers_of(b, &n);
    for (int i = 0; i < n; i++) total += (double)(samples * layers[i].macs);
    return total;
}

/* ---- training --------------------------------------------------------------------------------- */

static void open_training(bench *b) {
    hwb_trainer_options o = {.optim = hwb_optim_defaults()};
    o.optim.momentum = 0.9;
    o.optim.weight_decay = 1e-4;
    bench_must(b, hwb_trainer_new(b->ctx, &b->trainer, b->model, &o), "trainer");
}

static void run_training(bench *b) {
    int64_t right;
    hwb_tensor_touch(b->x);
    bench_must(b, hwb_trainer_gradient(b->ctx, b->trainer, b->x, b->y, 1, &b->check[0], &right),
               "gradient");
    /* larger steps of ResNet50 make float32's last bits visible in the next loss */
    double lr = strcmp(b->net_name, "resnet50") == 0 ? 1e-5 : 1e-3;
    bench_must(b, hwb_trainer_update(b->ctx, b->trainer, lr), "update");
    double every_stage[HWB_ROLE_COUNT];
    for (int s = 0; s < HWB_ROLE_COUNT; s++) every_stage[s] = 1;
    count_program(b, b->trainer->at[0].program, every_stage);
    /* the update reads gradient, momentum and weights and writes the last two */
    b->bytes += 5 * sizeof(float) * (double)hwb_model_num_parameters(b->model);
}

/* ---- the whole Hessian ----------------------------------------------------------------------- */

static void run_gradient(bench *b) {
    hwb_tensor *g;
    hwb_tensor_touch(b->x); /* new data: all of it again */
    bench_must(b, hwb_curvature_gradient(b->ctx, b->whole, NULL, &g), "gradient");
    count_work(b, &b->whole->own, 1, 0);
    b->out = g;
}

static void see_gradient(bench *b) {
    b->check[0] = sqrt(dot(b->out, b->out, 0, hwb_tensor_numel(b->out)));
}

static void run_hvp(bench *b) {
    bench_must(b, hwb__vector_apply(b->sent[0], &b->product), "product");
    const hwb__programs *made = &b->whole->family->products;
    const hwb__cached *last = &made->list[made->n - 1];
    double batches = (double)b->whole->shared->batches;
    count_work(b, made, batches > 1 ? batches : 0, batches * (double)b->sizes.k / (double)last->k);
}

/* v.Hv of the first vector and of the last */
static void see_product(bench *b) {
    int64_t k = b->sent[0]->k;
    double *dots = calloc((size_t)k, sizeof *dots);
    bench_must(b, hwb__vector_dots(b->sent[0], b->product, dots), "dots");
    b->check[0] = dots[0];
    b->check[1] = dots[k - 1];
    free(dots);
}

static void run_primal(bench *b) {
    hwb_tensor_touch(b->x);
    run_hvp(b);
    count_work(b, &b->whole->family->products, 1, 0);
}

/* All probes [probes,n], to be sent k at a time. */
static void open_traces(bench *b) {
    int64_t k = b->sizes.k;
    b->sizes.k = b->sizes.probes;
    open_operator(b);
    b->sizes.k = k;
    float *p = hwb_tensor_data(b->v);
    for (int64_t i = 0; i < hwb_tensor_numel(b->v); i++) p[i] = p[i] < 0 ? -1.0f : 1.0f;
    send_vectors(b, k);
}

/* Every layer's trace by joint probes: their sum, and the sum of their sizes. */
static void run_traces(bench *b) {
    int n;
    const hwb_layer *layers = layers_of(b, &n);
    double *trace = calloc((size_t)n, 2 * sizeof *trace), *dots = trace + n;
    hwb_block_range *range = calloc((size_t)n, sizeof *range);
    for (int i = 0; i < n; i++)
        range[i] = (hwb_block_range){hwb_model_offset(b->model, layers[i].weight), layers[i].n};
    for (int64_t at = 0; at < b->n_sent; at++) {
        hwb__vector *v = b->sent[at], *hv;
        bench_must(b, hwb__vector_apply(v, &hv), "product");
        for (int64_t j = 0; j < v->k; j++) {
            bench_must(b, hwb__vector_range_dots(v, hv, j, n, range, dots), "dots");
            for (int i = 0; i < n; i++) trace[i] += dots[i] / (double)b->sizes.probes;
        }
        hwb__vector_release(hv);
        count_work(b, &b->whole->family->products, 0, 1);
    }
    free(range);
    b->check[0] = b->check[1] = 0;
    for (int i = 0; i < n; i++) {
        b->check[0] += trace[i];
        b->check[1] += fabs(trace[i]);
    }
    free(trace);
}

static void run_lanczos(bench *b) {
    hwb_linop *op = hwb_curvature_op(b->whole);
    hwb_eigs_options o = hwb_eigs_defaults();
    hwb_eigs_result r;
    o.maxiter = b->sizes.steps;
    o.max_basis = b->sizes.steps + 1;
    o.tol = 0;
    o.start = b->v;
    bench_must(b, hwb_eigs_lanczos(b->ctx, &r, op, &o), "lanczos");
    b->check[0] = r.values[0];
    count_work(b, &b->whole->family->products, 0, (double)r.hvps);
    hwb_eigs_free(&r);
}

/* ---- blocks ------------------------------------------------------------------------------------ */

/* Power iteration on one block, from the same start vectors as the peer. */
static double block_top(bench *b, hwb_curvature *c, const hwb_layer *layer) {
    hwb_linop *op = hwb_curvature_op(c);
    hwb_tensor *start = vectors(b, 1, op->n, hwb_model_offset(b->model, layer->weight));
    hwb__space space = {0};
    hwb__vector *v, *hv;
    double value = 0, size;
    bench_must(b, hwb__space_open(b->ctx, &space, op), "vectors");
    bench_must(b, hwb__vector_load(&space, start, &v), "vectors");
    hwb_tensor_release(start);
    for (int64_t i = 0; i < b->sizes.iterations; i++) {
        bench_must(b, hwb__vector_norm(v, &size), layer->name);
        bench_must(b, hwb__vector_scale(v, 1 / size), layer->name);
        bench_must(b, hwb__vector_apply(v, &hv), layer->name);
        bench_must(b, hwb__vector_dots(hv, v, &value), layer->name);
        hwb__vector_release(v);
        v = hv;
    }
    hwb__vector_release(v);
    hwb__space_close(&space);
    return value;
}

/* The sum of the blocks' eigenvalues, and of their sizes. */
static void run_blocks(bench *b) {
    int n;
    const hwb_layer *layers = layers_of(b, &n);
    hwb_curvature **c = calloc((size_t)n, sizeof *c);
    const char **names = calloc((size_t)n, sizeof *names);
    for (int i = 0; i < n; i++) names[i] = layers[i].name;
    bench_must(b, hwb_curvature_blocks(b->ctx, c, b->whole, n, names), "blocks");
    b->check[0] = b->check[1] = 0;
    for (int i = 0; i < n; i++) {
        double value = block_top(b, c[i], &layers[i]);
        b->check[0] += value;
        b->check[1] += fabs(value);
    }
    count_work(b, &c[0]->family->products, 1, (double)b->sizes.iterations);
    if (b->dump) {
        char *text = hwb_curvature_dump(b->ctx, c[0], 1);
        fputs(text, stderr);
        free(text);
    }
    for (int i = 0; i < n; i++) hwb_curvature_release(c[i]);
    free(names);
    free(c);
}

/* ---- evaluation ------------------------------------------------------------------------------------- */

static hwb_tensor *piece(bench *b, hwb_tensor *t, int64_t at) {
    hwb_tensor *part;
    int64_t left = b->sizes.images - at, len = left < b->sizes.micro ? left : b->sizes.micro;
    bench_must(b, hwb_tensor_slice(b->ctx, &part, t, 0, at, len, 1), "piece");
    return part;
}

/* Ranges of the activations on the first piece, as buffers that the forward pass reads. */
static void open_evaluation(bench *b) {
    hwb_tensor *x, *most;
    hwb_shape two = {.ndim = 1, .dim = {2}};
    if (!b->sizes.bits) return;
    b->net->mode = NET_OBSERVE;
    x = piece(b, b->x, 0);
    bench_must(b, hwb_model_run(b->ctx, b->model, &most, x, false), "ranges");
    for (int64_t i = 0; i < hwb_tensor_numel(most); i++) {
        hwb_tensor *range;
        char layer[32];
        bench_must(b, hwb_tensor_zeros(b->ctx, &range, HWB_F32, two), "range");
        hwb_tensor_set(range, 1, hwb_tensor_get(most, i));
        snprintf(layer, sizeof layer, "act%d", (int)i);
        bench_must(b, net_keep(b->net, layer, "running_range", range), "range");
    }
    hwb_tensor_release(x);
    hwb_tensor_release(most);
    b->net->mode = NET_QUANTIZE;
    b->net->bits = (int)b->sizes.bits;
    hwb_model_changed(b->model);
}

/* Right answers, and the mean of the largest outputs.  The weights count as new
 * in every run: a quantized forward pass quantizes them once. */
static void run_evaluation(bench *b) {
    int64_t right = 0;
    double most = 0;
    for (int i = 0; i < hwb_model_parameter_count(b->model); i++)
        hwb_tensor_touch(hwb_model_parameter(b->model, i, NULL));
    for (int64_t at = 0; at < b->sizes.images; at += b->sizes.micro) {
        hwb_tensor *x = piece(b, b->x, at), *z;
        bench_must(b, hwb_model_run(b->ctx, b->model, &z, x, false), "forward pass");
        const int64_t *label = (const int64_t *)hwb_tensor_data(b->y) + at;
        const float *row = hwb_tensor_data(z);
        int64_t classes = hwb_tensor_shape(z)->dim[1];
        for (int64_t i = 0; i < hwb_tensor_shape(z)->dim[0]; i++, row += classes) {
            int64_t best = 0;
            for (int64_t c = 1; c < classes; c++)
                if (row[c] > row[best]) best = c;
            right += best == label[i];
            most += (double)row[best];
        }
        hwb_tensor_release(x);
        hwb_tensor_release(z);
    }
    b->check[0] = (double)right;
    b->check[1] = most / (double)b->sizes.images;
    b->macs = forward_macs(b, b->sizes.images);
}

/* ---- the list ------------------------------------------------------------------------------------------ */

#define R20  .batch = 128, .side = 32
#define R50  .batch = 8, .side = 224
#define BERT .batch = 4, .side = 128
/* clang-format off */
#define TRAINING open_training, run_training, {"loss of the last step"}, NULL
#define GRADIENT open_operator, run_gradient, {"|g|"}, see_gradient
#define VHV {"v1.Hv1", "vk.Hvk"}, see_product
#define PRODUCT open_product, run_hvp, VHV
#define BLOCK_EIGS open_operator, run_blocks, {"sum of lambda", "sum of |lambda|"}, NULL

const bench_case bench_cases[] = {
    {"train-step", "resnet20", "forward, backward, SGD with momentum; batch-norm in training mode",
     {R20}, TRAINING},
    {"gradient", "resnet20", "gradient of the loss", {R20}, GRADIENT},
    {"hvp", "resnet20", "one product with the Hessian, primal pass kept", {R20, .k = 1}, PRODUCT},
    {"hvp-4", "resnet20", "four vectors at once", {R20, .k = 4}, PRODUCT},
    {"hvp-16", "resnet20", "sixteen vectors at once", {R20, .k = 16}, PRODUCT},
    {"primal", "resnet20", "one product after the data changed", {R20, .k = 1},
     open_product, run_primal, VHV},
    {"hvp-dataset", "resnet20", "one exact product over 2000 images",
     {.side = 32, .k = 1, .images = 2000, .micro = 125}, PRODUCT},
    {"block-eigs", "resnet20", "largest eigenvalue of every layer, 10 power iterations each",
     {R20, .iterations = 10}, BLOCK_EIGS},
    {"traces", "resnet20", "every layer's trace by 10 joint probes", {R20, .k = 1, .probes = 10},
     open_traces, run_traces, {"sum of traces", "sum of |traces|"}, NULL},
    {"lanczos", "resnet20", "30 steps with full re-orthogonalisation",
     {R20, .k = 1, .steps = 30}, open_operator, run_lanczos, {"largest Ritz value"}, NULL},
    {"resnet50-train-step", "resnet50", "forward, backward, SGD with momentum", {R50}, TRAINING},
    {"resnet50-gradient", "resnet50", "gradient of the loss", {R50}, GRADIENT},
    {"resnet50-hvp", "resnet50", "one product, primal pass kept", {R50, .k = 1}, PRODUCT},
    {"resnet50-hvp-4", "resnet50", "four vectors at once", {R50, .k = 4}, PRODUCT},
    {"resnet50-hvp-16", "resnet50", "sixteen vectors at once", {R50, .k = 16}, PRODUCT},
    {"resnet50-block-eigs", "resnet50",
     "largest eigenvalue of every layer, 2 power iterations each", {R50, .iterations = 2},
     BLOCK_EIGS},
    {"bert-train-step", "bert", "forward, backward, SGD with momentum", {BERT}, TRAINING},
    {"bert-gradient", "bert", "gradient of the loss of a BERT-base encoder", {BERT}, GRADIENT},
    {"bert-hvp", "bert", "one product, primal pass kept", {BERT, .k = 1}, PRODUCT},
    {"bert-hvp-4", "bert", "four vectors at once", {BERT, .k = 4}, PRODUCT},
    {"bert-hvp-16", "bert", "sixteen vectors at once", {BERT, .k = 16}, PRODUCT},
    {"bert-block-eigs", "bert", "largest eigenvalue of every layer, 2 power iterations each",
     {BERT, .iterations = 2}, BLOCK_EIGS},
    {"eval", "resnet20", "accuracy on 10000 images", {.side = 32, .images = 10000, .micro = 125},
     open_evaluation, run_evaluation, {"right", "mean of the largest output"}, NULL},
    {"quant-eval", "resnet20", "the same, weights and activations fake-quantized to 4 bits",
     {.side = 32, .images = 10000, .micro = 125, .bits = 4}, open_evaluation, run_evaluation,
     {"right", "mean of the largest output"}, NULL},
};
/* clang-format on */
const int bench_case_count = sizeof bench_cases / sizeof *bench_cases;
