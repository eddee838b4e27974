/*
 * curvature.c: operators over a data source: which program to run on which
 * batch, and how batches add up.
 */
#include "curvature/curvature_i.h"

#include "graph/compose.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_CACHED = 6 };

/* Many vectors at once pay on devices that small kernels leave idle; a processor gains
 * nothing past two (tests/bench/NOTES.md). */
static size_t default_budget(hwb_ctx *ctx) {
    bool host = strcmp(hwb_get_device(ctx), "cpu") == 0 || strcmp(hwb_get_device(ctx), "ref") == 0;
    return (size_t)1 << (host ? 28 : 30);
}

static hwb_status oom(hwb_ctx *ctx) {
    return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a curvature operator");
}

/* ---- losses ------------------------------------------------------------------------ */

static hwb_status cross_entropy(void *user, hwb_graph *g, hwb_id *loss, hwb_id z, hwb_id t,
                                bool reduce) {
    (void)user;
    return hwb_cross_entropy(g, loss, z, t, 0, reduce);
}

static hwb_status mse(void *user, hwb_graph *g, hwb_id *loss, hwb_id z, hwb_id t, bool reduce) {
    (void)user;
    return hwb_mse(g, loss, z, t, reduce);
}

hwb_status hwb_loss_named(hwb_ctx *ctx, hwb_loss_fn *out, const char *name) {
    if (strcmp(name, "cross_entropy") == 0) *out = cross_entropy;
    else if (strcmp(name, "mse") == 0) *out = mse;
    else return hwb_fail(ctx, HWB_EARG, "no loss is called \"%s\" (cross_entropy, mse)", name);
    return HWB_OK;
}

/* ---- sources -------------------------------------------------------------------------- */

typedef struct batch_source {
    hwb_tensor *x, *y;
    int64_t micro, at;
} batch_source;

static hwb_status batch_rewind(hwb_ctx *ctx, void *self) {
    (void)ctx;
    ((batch_source *)self)->at = 0;
    return HWB_OK;
}

static hwb_status batch_next(hwb_ctx *ctx, void *self, hwb_tensor **x, hwb_tensor **y) {
    batch_source *s = self;
    int64_t left = hwb_tensor_shape(s->x)->dim[0] - s->at, n = left < s->micro ? left : s->micro;
    *x = *y = NULL;
    if (left <= 0) return HWB_OK;
    if (s->micro == 0) { /* whole */
        s->at += left;
        *x = hwb_tensor_retain(s->x);
        *y = hwb_tensor_retain(s->y);
        return HWB_OK;
    }
    HWB_TRY(hwb_tensor_slice(ctx, x, s->x, 0, s->at, n, 1));
    hwb_status st = hwb_tensor_slice(ctx, y, s->y, 0, s->at, n, 1);
    if (st != HWB_OK) {
        hwb_tensor_release(*x);
        *x = NULL;
        return st;
    }
    s->at += n;
    return HWB_OK;
}

static void batch_free(void *self) {
    batch_source *s = self;
    hwb_tensor_release(s->x);
    hwb_tensor_release(s->y);
    free(s);
}

hwb_status hwb_source_batch(hwb_ctx *ctx, hwb_source *out, hwb_tensor *x, hwb_tensor *y,
                            int64_t micro) {
    const hwb_shape *xs = hwb_tensor_shape(x), *ys = hwb_tensor_shape(y);
    char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
    /* Un-split, only the loss has to make sense of the targets (one a token, say). */
    if (xs->ndim < 1 || ys->ndim < 1 || xs->dim[0] < 1 || (micro > 0 && xs->dim[0] != ys->dim[0]))
        return hwb_fail(ctx, HWB_ESHAPE, "a batch needs as many inputs as targets: %s and %s",
                        hwb_shape_text(xs, a), hwb_shape_text(ys, b));
    batch_source *s = malloc(sizeof *s);
    if (!s) return oom(ctx);
    *s = (batch_source){hwb_tensor_retain(x), hwb_tensor_retain(y), micro > 0 ? micro : 0, 0};
    *out = (hwb_source){s, batch_rewind, batch_next, batch_free, NULL};
    return HWB_OK;
}

/* ---- life ------------------------------------------------------------------------------- */

static void shared_release(hwb__shared *s) {
    if (!s || --s->refs > 0) return;
    hwb_model_release(s->model);
    if (s->source.free_self) s->source.free_self(s->source.self);
    hwb_tensor_release(s->x);
    hwb_tensor_release(s->y);
    free(s);
}

hwb_curvature *hwb_curvature_retain(hwb_curvature *c) {
    c->refs++;
    return c;
}

void hwb_curvature_release(hwb_curvature *c) {
    if (!c || --c->refs > 0) return;
    for (int i = 0; i < c->n_cached; i++) hwb_program_release(c->cached[i].program);
    shared_release(c->shared);
    free(c->cached);
    free(c->parameters);
    free(c->name);
    free(c);
}

static hwb_status apply(hwb_ctx *ctx, hwb_linop *self, hwb_tensor **out, const hwb_tensor *v);

static hwb_status new_operator(hwb_ctx *ctx, hwb_curvature **out, hwb__shared *s, const char *name,
                               int n_parameters, const int *parameters) {
    hwb_curvature *c = calloc(1, sizeof *c);
    if (!c) return oom(ctx);
    c->refs = 1;
    s->refs++;
    c->shared = s;
    c->name = strdup(name);
    c->parameters = malloc(((size_t)n_parameters + 1) * sizeof *c->parameters);
    c->n_parameters = n_parameters;
    if (!c->name || !c->parameters) {
        hwb_curvature_release(c);
        return oom(ctx);
    }
    c->op = (hwb_linop){.dtype = hwb_model_dtype(s->model), .apply = apply};
    for (int i = 0; i < n_parameters; i++) {
        c->parameters[i] = parameters[i];
        c->op.n += hwb_tensor_numel(hwb_model_parameter(s->model, parameters[i], NULL));
    }
    *out = c;
    return HWB_OK;
}

hwb_status hwb_curvature_new(hwb_ctx *ctx, hwb_curvature **out, hwb_model *m, hwb_source source,
                             const hwb_curvature_options *options) {
    hwb__shared *s = calloc(1, sizeof *s);
    int n = hwb_model_parameter_count(m), *all = malloc(((size_t)n + 1) * sizeof *all);
    if (!s || !all) {
        if (source.free_self) source.free_self(source.self);
        free(s);
        free(all);
        return oom(ctx);
    }
    s->refs = 1;
    s->model = hwb_model_retain(m);
    s->source = source;
    s->o = *options;
    if (!s->o.loss) s->o.loss = cross_entropy;
    if (!s->o.budget) s->o.budget = default_budget(ctx);
    for (int i = 0; i < n; i++) all[i] = i;
    hwb_status st =
        n ? hwb__share_out(ctx, s) : hwb_fail(ctx, HWB_EARG, "the model has no parameters");
    if (st == HWB_OK) st = new_operator(ctx, out, s, "", n, all);
    free(all);
    shared_release(s);
    return st;
}

hwb_status hwb_curvature_block(hwb_ctx *ctx, hwb_curvature **out, hwb_curvature *whole,
                               const char *name) {
    hwb_model *m = whole->shared->model;
    int n = 0, *ids = malloc(((size_t)hwb_model_parameter_count(m) + 1) * sizeof *ids);
    if (!ids) return oom(ctx);
    hwb_status st = hwb_model_block(ctx, m, name, &n, ids);
    if (st == HWB_OK) st = new_operator(ctx, out, whole->shared, name, n, ids);
    free(ids);
    return st;
}

void hwb_curvature_trim(hwb_curvature *c) {
    for (int i = 0; i < c->n_cached; i++) hwb_program_trim(c->cached[i].program);
}

hwb_linop *hwb_curvature_op(hwb_curvature *c) {
    return &c->op;
}
int64_t hwb_curvature_n(const hwb_curvature *c) {
    return c->op.n;
}
const char *hwb_curvature_name(const hwb_curvature *c) {
    return c->name;
}
hwb_model *hwb_curvature_model(const hwb_curvature *c) {
    return c->shared->model;
}
int64_t hwb_curvature_samples(const hwb_curvature *c) {
    return c->shared->samples;
}

double hwb_curvature_weight_decay(const hwb_curvature *c) {
    return c->shared->o.weight_decay;
}

int hwb_curvature_parameters(const hwb_curvature *c, const int **ids) {
    *ids = c->parameters;
    return c->n_parameters;
}

/* ---- the source, once ---------------------------------------------------------------------- */

/* Count samples and batches; hold the batch when there is only one. */
hwb_status hwb__curvature_survey(hwb_ctx *ctx, hwb__shared *s) {
    hwb_tensor *x, *y;
    if (s->samples) return HWB_OK;
    int64_t mine = 0, batches = 0;
    HWB_TRY(s->source.rewind(ctx, s->source.self));
    for (;;) {
        HWB_TRY(s->source.next(ctx, s->source.self, &x, &y));
        if (!x) break;
        mine += hwb_tensor_shape(x)->dim[0];
        if (++batches == 1) {
            hwb_tensor_release(s->x);
            hwb_tensor_release(s->y);
            s->x = x;
            s->y = y;
        } else {
            hwb_tensor_release(x);
            hwb_tensor_release(y);
        }
    }
    if (batches != 1) {
        hwb_tensor_release(s->x);
        hwb_tensor_release(s->y);
        s->x = s->y = NULL;
    }
    double samples = (double)mine;
    HWB_TRY(hwb__sum_numbers(ctx, s, 1, &samples));
    if (samples == 0) return hwb_fail(ctx, HWB_EARG, "the data source is empty");
    if (batches > 1 && s->o.batch_norm_batch)
        return hwb_fail(ctx, HWB_EARG,
                        "bn=\"batch\" needs one un-split batch: batch statistics tie the samples "
                        "of a batch together, so %lld batches would give the Hessian of another "
                        "loss",
                        (long long)batches);
    s->samples = (int64_t)samples;
    s->batches = batches;
    s->mine = mine;
    return HWB_OK;
}

/* ---- programs --------------------------------------------------------------------------------- */

static bool fits(const hwb__cached *p, int64_t k, const hwb_tensor *x, const hwb_tensor *y) {
    return p->k == k && p->x_dtype == hwb_tensor_dtype(x) && p->y_dtype == hwb_tensor_dtype(y) &&
           hwb_shape_equal(&p->x_shape, hwb_tensor_shape(x)) &&
           hwb_shape_equal(&p->y_shape, hwb_tensor_shape(y));
}

static hwb_status program_for(hwb_ctx *ctx, hwb_curvature *c, int64_t k, hwb_tensor *x,
                              hwb_tensor *y, hwb__cached **out) {
    for (int i = 0; i < c->n_cached; i++) {
        if (!fits(&c->cached[i], k, x, y)) continue;
        *out = &c->cached[i];
        return HWB_OK;
    }
    hwb__cached made;
    HWB_TRY(hwb__assemble(ctx, c, k, x, y, &made));
    if (c->n_cached == MAX_CACHED) { /* the oldest goes */
        hwb_program_release(c->cached[0].program);
        memmove(c->cached, c->cached + 1, (MAX_CACHED - 1) * sizeof *c->cached);
        c->n_cached--;
    }
    hwb__cached *list = realloc(c->cached, (size_t)(c->n_cached + 1) * sizeof *list);
    if (!list) {
        hwb_program_release(made.program);
        return oom(ctx);
    }
    c->cached = list;
    list[c->n_cached] = made;
    *out = &list[c->n_cached++];
    return HWB_OK;
}

static hwb_status feed(hwb_ctx *ctx, hwb__cached *p, hwb_tensor *x, hwb_tensor *y) {
    HWB_TRY(hwb_program_set(ctx, p->program, p->x, x));
    return hwb_program_set(ctx, p->program, p->y, y);
}

/* ---- passes over the source ---------------------------------------------------------------------- */

/* total[i] += w * t[i] */
static void accumulate(double *total, const hwb_tensor *t, double w) {
    int64_t n = hwb_tensor_numel(t);
    if (hwb_tensor_dtype(t) == HWB_F64) {
        const double *d = hwb_tensor_data(t);
        for (int64_t i = 0; i < n; i++) total[i] += w * d[i];
    } else {
        const float *d = hwb_tensor_data(t);
        for (int64_t i = 0; i < n; i++) total[i] += w * (double)d[i];
    }
}

static void store(hwb_tensor *t, const double *total) {
    int64_t n = hwb_tensor_numel(t);
    if (hwb_tensor_dtype(t) == HWB_F64) {
        memcpy(hwb_tensor_data(t), total, (size_t)n * sizeof *total);
    } else {
        float *d = hwb_tensor_data(t);
        for (int64_t i = 0; i < n; i++) d[i] = (float)total[i];
    }
    hwb_tensor_touch(t);
}

/* Run the program for k on one batch; v is NULL for the gradient (k = 0) and the loss. */
static hwb_status run_batch(hwb_ctx *ctx, hwb_curvature *c, int64_t k, hwb_tensor *x, hwb_tensor *y,
                            hwb_tensor *v, hwb_tensor **outs) {
    hwb__cached *p = NULL;
    HWB_TRY(program_for(ctx, c, k, x, y, &p));
    HWB_TRY(feed(ctx, p, x, y));
    if (v) HWB_TRY(hwb_program_set(ctx, p->program, p->v, v));
    return hwb_program_run(ctx, p->program, outs);
}

hwb_status hwb__curvature_loss(hwb_ctx *ctx, hwb_curvature *c, hwb_tensor *x, hwb_tensor *y,
                               hwb_tensor **loss) {
    hwb__cached *p = NULL;
    HWB_TRY(program_for(ctx, c, HWB__LOSS_ONLY, x, y, &p));
    hwb_program_check_finite(p->program, false);
    return run_batch(ctx, c, HWB__LOSS_ONLY, x, y, NULL, loss);
}

/* Weighted means over the batches: first of k x n (or n) numbers, then loss. */
static hwb_status stream(hwb_ctx *ctx, hwb_curvature *c, int64_t k, hwb_tensor *v, double *total,
                         double *loss) {
    hwb__shared *s = c->shared;
    hwb_tensor *x, *y;
    HWB_TRY(s->source.rewind(ctx, s->source.self));
    for (;;) {
        hwb_tensor *outs[2] = {NULL, NULL};
        HWB_TRY(hwb_check_interrupt(ctx));
        HWB_TRY(s->source.next(ctx, s->source.self, &x, &y));
        if (!x) return HWB_OK;
        double w = (double)hwb_tensor_shape(x)->dim[0] / (double)s->samples;
        hwb_status st = run_batch(ctx, c, k, x, y, v, outs);
        if (st == HWB_OK) accumulate(total, outs[k == 0], w);
        if (st == HWB_OK && k == 0) *loss += w * hwb_tensor_get(outs[0], 0);
        hwb_tensor_release(outs[0]);
        hwb_tensor_release(outs[1]);
        hwb_tensor_release(x);
        hwb_tensor_release(y);
        if (st != HWB_OK) return st;
    }
}

/* t *= w, in place */
static void scale(hwb_tensor *t, double w) {
    int64_t n = hwb_tensor_numel(t);
    if (hwb_tensor_dtype(t) == HWB_F64)
        for (int64_t i = 0; i < n; i++) ((double *)hwb_tensor_data(t))[i] *= w;
    else
        for (int64_t i = 0; i < n; i++) {
            float *d = hwb_tensor_data(t);
            d[i] = (float)(w * (double)d[i]);
        }
    hwb_tensor_touch(t);
}

/* k vectors, which fit the memory budget: this rank's share of the result. */
static hwb_status apply_some(hwb_ctx *ctx, hwb_curvature *c, hwb_tensor **out, hwb_tensor *v) {
    int64_t k = hwb_tensor_shape(v)->dim[0], n = c->op.n;
    hwb__shared *s = c->shared;
    if (s->batches == 1) {
        HWB_TRY(run_batch(ctx, c, k, s->x, s->y, v, out));
        if (s->mine != s->samples) scale(*out, (double)s->mine / (double)s->samples);
        return HWB_OK;
    }
    double *total = hwb_calloc(ctx, (size_t)(k * n) * sizeof *total), loss;
    if (!total) return HWB_ENOMEM;
    hwb_status st = stream(ctx, c, k, v, total, &loss);
    if (st == HWB_OK) st = hwb_tensor_new(ctx, out, c->op.dtype, *hwb_tensor_shape(v));
    if (st == HWB_OK) store(*out, total);
    hwb_free(total);
    return st;
}

/* Fewer than k vectors, so that `bytes` of working memory for k become at most `budget`;
 * equal shares of `want` where that costs no more than half of them. */
static int64_t fewer(int64_t k, size_t bytes, size_t budget, int64_t want) {
    int64_t most = (int64_t)((double)k * (double)budget / (double)bytes);
    if (most > k - 1) most = k - 1;
    if (most < 1) return 1;
    for (int64_t d = most; d > most / 2; d--)
        if (want % d == 0) return d;
    return most;
}

/* How many vectors at once stay under the budget: measured on the program. */
static hwb_status vectors_at_once(hwb_ctx *ctx, hwb_curvature *c, int64_t want, int64_t *k) {
    hwb__shared *s = c->shared;
    hwb_tensor *x = s->x, *y = s->y;
    *k = want;
    if (want <= 1 || s->batches == 0) return HWB_OK;
    if (!x) {
        HWB_TRY(s->source.rewind(ctx, s->source.self));
        HWB_TRY(s->source.next(ctx, s->source.self, &x, &y));
    }
    hwb_status st = HWB_OK;
    while (*k > 1 && st == HWB_OK) {
        hwb__cached *p = NULL;
        st = program_for(ctx, c, *k, x, y, &p);
        size_t bytes = st == HWB_OK ? hwb_program_stats(p->program).arena_bytes : 0;
        if (bytes <= s->o.budget) break;
        *k = fewer(*k, bytes, s->o.budget, want);
    }
    if (!s->x) {
        hwb_tensor_release(x);
        hwb_tensor_release(y);
    }
    return st;
}

static void add_decay(hwb_tensor *out, const hwb_tensor *v, double wd) {
    for (int64_t i = 0; wd != 0 && i < hwb_tensor_numel(out); i++)
        hwb_tensor_set(out, i, hwb_tensor_get(out, i) + wd * hwb_tensor_get(v, i));
}

static hwb_status apply_chunks(hwb_ctx *ctx, hwb_curvature *c, hwb_tensor **out, hwb_tensor *v,
                               int64_t step) {
    int64_t k = hwb_tensor_shape(v)->dim[0];
    hwb_tensor *all;
    HWB_TRY(hwb_tensor_new(ctx, &all, c->op.dtype, *hwb_tensor_shape(v)));
    hwb_status st = HWB_OK;
    for (int64_t at = 0; at < k && st == HWB_OK; at += step) {
        hwb_tensor *some = NULL, *part = NULL, *place = NULL;
        int64_t len = k - at < step ? k - at : step;
        st = hwb_tensor_slice(ctx, &some, v, 0, at, len, 1);
        if (st == HWB_OK) st = apply_some(ctx, c, &part, some);
        if (st == HWB_OK) st = hwb_tensor_slice(ctx, &place, all, 0, at, len, 1);
        if (st == HWB_OK) st = hwb_tensor_copy(ctx, place, part);
        hwb_tensor_release(some);
        hwb_tensor_release(part);
        hwb_tensor_release(place);
    }
    if (st == HWB_OK) *out = all;
    else hwb_tensor_release(all);
    return st;
}

static hwb_status apply(hwb_ctx *ctx, hwb_linop *self, hwb_tensor **out, const hwb_tensor *v) {
    hwb_curvature *c = (hwb_curvature *)self;
    const hwb_shape *s = hwb_tensor_shape(v);
    char text[HWB_SHAPE_TEXT];
    if (s->ndim != 2 || s->dim[1] != c->op.n || s->dim[0] < 1 || hwb_tensor_dtype(v) != c->op.dtype)
        return hwb_fail(ctx, HWB_ESHAPE, "an operator on %lld numbers of %s cannot take %s of %s",
                        (long long)c->op.n, hwb_dtype_name(c->op.dtype), hwb_shape_text(s, text),
                        hwb_dtype_name(hwb_tensor_dtype(v)));
    int64_t k = 1;
    hwb_tensor *dense;
    HWB_TRY(hwb__curvature_survey(ctx, c->shared));
    HWB_TRY(vectors_at_once(ctx, c, s->dim[0], &k));
    /* A tensor of its own: programs tell inputs apart by tensor, and solvers reuse theirs. */
    HWB_TRY(hwb_tensor_slice(ctx, &dense, (hwb_tensor *)v, 0, 0, s->dim[0], 1));
    hwb_status st =
        k == s->dim[0] ? apply_some(ctx, c, out, dense) : apply_chunks(ctx, c, out, dense, k);
    hwb_tensor_release(dense);
    if (st != HWB_OK) return st;
    st = hwb__sum_products(ctx, c, v, *out);
    if (st != HWB_OK) {
        hwb_tensor_release(*out);
        *out = NULL;
        return st;
    }
    add_decay(*out, v, c->activation ? 0 : c->shared->o.weight_decay);
    self->applied += s->dim[0];
    hwb_count_products(ctx, s->dim[0]);
    return HWB_OK;
}

/* ---- gradient, activations, text ------------------------------------------------------------------ */

/* The only batch there is: the program's own results. */
static hwb_status gradient_of_batch(hwb_ctx *ctx, hwb_curvature *c, double *loss, hwb_tensor **g) {
    hwb_tensor *outs[2] = {NULL, NULL};
    hwb_shape flat = {.ndim = 1, .dim = {c->op.n}};
    HWB_TRY(run_batch(ctx, c, 0, c->shared->x, c->shared->y, NULL, outs));
    if (loss) *loss = hwb_tensor_get(outs[0], 0);
    hwb_status st = g ? hwb_tensor_reshape(ctx, g, outs[1], flat) : HWB_OK;
    hwb_tensor_release(outs[0]);
    hwb_tensor_release(outs[1]);
    return st;
}

hwb_status hwb_curvature_gradient(hwb_ctx *ctx, hwb_curvature *c, double *loss,
                                  hwb_tensor **gradient) {
    hwb_shape s = {.ndim = 1, .dim = {c->op.n}};
    hwb_tensor *g = NULL;
    double l = 0;
    HWB_TRY(hwb__curvature_survey(ctx, c->shared));
    if (c->shared->batches == 1 && !c->shared->split)
        return gradient_of_batch(ctx, c, loss, gradient);
    double *total = hwb_calloc(ctx, (size_t)(c->op.n + 1) * sizeof *total);
    if (!total) return HWB_ENOMEM;
    hwb_status st = stream(ctx, c, 0, NULL, total, &l);
    total[c->op.n] = l; /* one exchange for both */
    if (st == HWB_OK) st = hwb__sum_numbers(ctx, c->shared, c->op.n + 1, total);
    l = total[c->op.n];
    if (st == HWB_OK && gradient) st = hwb_tensor_new(ctx, &g, c->op.dtype, s);
    if (st == HWB_OK && gradient) store(g, total);
    hwb_free(total);
    if (st != HWB_OK) return st;
    if (loss) *loss = l;
    if (gradient) *gradient = g;
    return HWB_OK;
}

/* s, or where its batches are shared out among ranks, the whole batch on every rank. new ref */
static hwb_status whole_shared(hwb_ctx *ctx, hwb__shared *s, hwb__shared **out) {
    hwb_source source;
    if (!s->split) {
        s->refs++;
        *out = s;
        return HWB_OK;
    }
    HWB_TRY(hwb__whole_batch(ctx, s, &source));
    hwb__shared *own = calloc(1, sizeof *own);
    if (!own) {
        source.free_self(source.self);
        return oom(ctx);
    }
    *own =
        (hwb__shared){.refs = 1, .model = hwb_model_retain(s->model), .source = source, .o = s->o};
    *out = own;
    return HWB_OK;
}

static hwb_status activation_operator(hwb_ctx *ctx, hwb_curvature **out, hwb__shared *s,
                                      const char *name) {
    HWB_TRY(hwb__curvature_survey(ctx, s));
    if (s->batches != 1)
        return hwb_fail(ctx, HWB_EARG, "an activation's Hessian needs one batch, not %lld",
                        (long long)s->batches);
    return new_operator(ctx, out, s, name, 0, NULL);
}

hwb_status hwb_curvature_activation(hwb_ctx *ctx, hwb_curvature **out, hwb_curvature *whole,
                                    const char *name) {
    hwb__shared *s = NULL;
    hwb_curvature *c = NULL;
    hwb__cached p;
    HWB_TRY(whole_shared(ctx, whole->shared, &s));
    hwb_status made = activation_operator(ctx, &c, s, name);
    shared_release(s); /* c keeps it */
    if (made != HWB_OK) return made;
    s = c->shared;
    c->activation = true;
    hwb_status st = hwb__assemble(ctx, c, 0, s->x, s->y, &p); /* finds the shape */
    if (st != HWB_OK) {
        hwb_curvature_release(c);
        return st;
    }
    hwb_program_release(p.program);
    c->op.n = hwb_shape_numel(&c->tap_shape);
    *out = c;
    return HWB_OK;
}

char *hwb_curvature_dump(hwb_ctx *ctx, hwb_curvature *c, int64_t k) {
    hwb__cached *p = NULL;
    hwb_tensor *x = c->shared->x, *y = c->shared->y;
    if (hwb__curvature_survey(ctx, c->shared) != HWB_OK) return NULL;
    x = c->shared->x, y = c->shared->y;
    if (k < 0 || !x) {
        hwb_fail(ctx, HWB_EARG, k < 0 ? "%lld vectors" : "the text needs one batch, not %lld",
                 (long long)(k < 0 ? k : c->shared->batches));
        return NULL;
    }
    if (program_for(ctx, c, k, x, y, &p) != HWB_OK) return NULL;
    return hwb_program_dump(p->program);
}
