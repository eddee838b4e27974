/*
 * trainer.c: gradients of micro-batches added up, and the update of a model's
 * parameters.  The programs that make them are in trainer_program.c.
 */
#include "optim/trainer_i.h"

#include "backend/backend.h"
#include "comm/comm.h"
#include "tensor/away_i.h"

#include <math.h>
#include <stdlib.h>

static hwb_status oom(hwb_ctx *ctx) {
    return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a trainer");
}

/* ---- life ------------------------------------------------------------------------- */

static void free_views(hwb_tensor **views, int n) {
    for (int i = 0; views && i < n; i++) hwb_tensor_release(views[i]);
    free(views);
}

void hwb_trainer_free(hwb_trainer *t) {
    if (!t) return;
    hwb_trainer_trim(t);
    hwb__trainer_leave(t);
    free_views(t->sum_of, t->n);
    hwb_tensor_release(t->sum);
    hwb_tensor_release(t->fresh);
    for (int k = 0; k < 2; k++) {
        free_views(t->state_of[k], t->n);
        hwb_tensor_release(t->state[k]);
    }
    hwb_model_release(t->model);
    free(t);
}

/* A flat vector of zeros. */
static hwb_status flat(hwb_trainer *t, hwb_tensor **out) {
    hwb_shape s = {.ndim = 1, .dim = {hwb_model_num_parameters(t->model)}};
    return hwb_tensor_zeros(t->ctx, out, hwb_model_dtype(t->model), s);
}

/* The same, and its parts in the parameters' order. */
static hwb_status flat_with_views(hwb_trainer *t, hwb_tensor **out, hwb_tensor ***views) {
    *views = calloc((size_t)t->n + 1, sizeof **views);
    if (!*views) return oom(t->ctx);
    HWB_TRY(flat(t, out));
    int64_t at = 0;
    for (int i = 0; i < t->n; i++) {
        int64_t len = hwb_tensor_numel(hwb_model_parameter(t->model, i, NULL));
        HWB_TRY(hwb_tensor_slice(t->ctx, &(*views)[i], *out, 0, at, len, 1));
        at += len;
    }
    return HWB_OK;
}

static hwb_status check_model(hwb_ctx *ctx, const hwb_model *m) {
    for (int i = 0; i < hwb_model_parameter_count(m); i++) {
        const char *name;
        hwb_tensor *p = hwb_model_parameter(m, i, &name);
        if (hwb_tensor_dtype(p) != hwb_model_dtype(m))
            return hwb_fail(ctx, HWB_EDTYPE, "training wants one dtype: \"%s\" is %s among %s",
                            name, hwb_dtype_name(hwb_tensor_dtype(p)),
                            hwb_dtype_name(hwb_model_dtype(m)));
        if (!hwb_tensor_is_contiguous(p))
            return hwb_fail(ctx, HWB_EARG, "training wants dense parameters; \"%s\" is a view",
                            name);
    }
    return hwb_model_parameter_count(m) ? HWB_OK
                                        : hwb_fail(ctx, HWB_EARG, "the model has no parameters");
}

hwb_status hwb_trainer_new(hwb_ctx *ctx, hwb_trainer **out, hwb_model *m,
                           const hwb_trainer_options *options) {
    HWB_TRY(hwb_optim_check(ctx, &options->optim));
    HWB_TRY(check_model(ctx, m));
    hwb_trainer *t = calloc(1, sizeof *t);
    if (!t) return oom(ctx);
    t->ctx = ctx;
    t->model = hwb_model_retain(m);
    t->o = *options;
    t->n = hwb_model_parameter_count(m);
    t->empty = true;
    hwb_status st = HWB_OK;
    if (!t->o.loss) st = hwb_loss_named(ctx, &t->o.loss, "cross_entropy");
    if (st == HWB_OK) st = flat_with_views(t, &t->sum, &t->sum_of);
    for (int k = 0; st == HWB_OK && k < hwb_optim_states(&t->o.optim); k++)
        st = flat_with_views(t, &t->state[k], &t->state_of[k]);
    if (st == HWB_OK) *out = t;
    else hwb_trainer_free(t);
    return st;
}

/* ---- gradients ---------------------------------------------------------------------------- */

/* to = weight * from (+ to) */
static void add_scaled(hwb_tensor *to, const hwb_tensor *from, double weight, bool set) {
    int64_t n = hwb_tensor_numel(to);
    if (hwb_tensor_dtype(to) == HWB_F32) {
        float *a = hwb_tensor_data(to), w = (float)weight;
        const float *b = hwb_tensor_data(from);
        for (int64_t i = 0; i < n; i++) a[i] = set ? w * b[i] : a[i] + w * b[i];
    } else {
        double *a = hwb_tensor_data(to);
        const double *b = hwb_tensor_data(from);
        for (int64_t i = 0; i < n; i++) a[i] = set ? weight * b[i] : a[i] + weight * b[i];
    }
    hwb_tensor_touch(to);
}

/* How many samples all ranks have together when batch norms see all of them, else 0. */
static hwb_status samples_of_all(hwb_trainer *t, const hwb_tensor *x, int64_t *all) {
    int ranks = hwb_comm_where(t->ctx).size;
    *all = 0;
    if (!t->o.whole || t->o.eval_mode || ranks == 1) return HWB_OK;
    double own = (double)hwb_tensor_shape(x)->dim[0], sum[2] = {own, own == 0};
    HWB_TRY(hwb_comm_sum(t->ctx, HWB_F64, 2, sum));
    *all = (int64_t)sum[0];
    if (sum[1] == 0) return HWB_OK;
    return hwb_fail(t->ctx, HWB_EARG,
                    "batch norms over %d ranks want a sample on each; a batch has %lld", ranks,
                    (long long)*all);
}

static hwb_status gradient_there(hwb_trainer *t, hwb__trainer_program *c, hwb_tensor *x,
                                 hwb_tensor *y, double weight, double *loss, int64_t *right) {
    const void *g = NULL;
    HWB_TRY(hwb__trainer_go(t, hwb__program_device(c->program)));
    HWB_TRY(hwb__trainer_run_there(t, c, x, y, &g, loss, right));
    HWB_TRY(hwb__trainer_take(t, g, weight));
    t->empty = false;
    return HWB_OK;
}

hwb_status hwb_trainer_gradient(hwb_ctx *ctx, hwb_trainer *t, hwb_tensor *x, hwb_tensor *y,
                                double weight, double *loss, int64_t *right) {
    hwb__trainer_program *c;
    int64_t all = 0;
    if (!isfinite(weight)) return hwb_fail(ctx, HWB_EARG, "gradient: weight %g", weight);
    HWB_TRY(samples_of_all(t, x, &all));
    HWB_TRY(hwb__trainer_compiled(t, x, y, all, &c));
    /* the program's gradient has this rank's share already */
    if (all) weight *= (double)all / (double)hwb_tensor_shape(x)->dim[0];
    if (c->there) return gradient_there(t, c, x, y, weight, loss, right);
    hwb__trainer_leave(t);
    if (t->empty) { /* the first micro-batch needs no second vector */
        HWB_TRY(hwb__trainer_run(t, c, x, y, t->sum, loss, right));
        if (weight != 1) add_scaled(t->sum, t->sum, weight, true);
        t->empty = false;
        return HWB_OK;
    }
    if (!t->fresh) HWB_TRY(flat(t, &t->fresh));
    HWB_TRY(hwb__trainer_run(t, c, x, y, t->fresh, loss, right));
    add_scaled(t->sum, t->fresh, weight, false);
    return HWB_OK;
}

hwb_status hwb_trainer_prepare(hwb_ctx *ctx, hwb_trainer *t, hwb_tensor *x, hwb_tensor *y) {
    hwb__trainer_program *c;
    int64_t all = 0;
    (void)ctx;
    HWB_TRY(samples_of_all(t, x, &all));
    return hwb__trainer_compiled(t, x, y, all, &c);
}

void hwb_trainer_trim(hwb_trainer *t) {
    for (int i = 0; i < t->count; i++) hwb__trainer_free_compiled(&t->at[i]);
    t->count = 0;
}

hwb_status hwb_trainer_add(hwb_ctx *ctx, hwb_trainer *t, const hwb_tensor *g) {
    char got[HWB_SHAPE_TEXT];
    if (hwb_tensor_numel(g) != hwb_tensor_numel(t->sum) ||
        hwb_tensor_dtype(g) != hwb_tensor_dtype(t->sum) || !hwb_tensor_is_contiguous(g))
        return hwb_fail(ctx, HWB_ESHAPE, "add: a dense gradient of %lld values is wanted, not %s",
                        (long long)hwb_tensor_numel(t->sum),
                        hwb_shape_text(hwb_tensor_shape(g), got));
    add_scaled(t->sum, g, 1, t->empty);
    t->empty = false;
    return HWB_OK;
}

hwb_tensor *hwb_trainer_flat_gradient(hwb_trainer *t) {
    return t->sum;
}

double hwb_trainer_norm(const hwb_trainer *t) {
    return sqrt(hwb_tensor_dot(t->sum, t->sum));
}

hwb_status hwb_trainer_clear(hwb_ctx *ctx, hwb_trainer *t) {
    t->empty = true;
    hwb__tensor_at_home(t->sum);
    return hwb_tensor_fill(ctx, t->sum, 0);
}

/* ---- ranks -------------------------------------------------------------------------------- */

/* The float buffers of the model into v, or v * scale into them; how many numbers there
 * are.  v may be NULL, to count. */
static int64_t move_buffers(hwb_trainer *t, double *v, bool pack, double scale) {
    int64_t at = 0;
    for (int i = 0; i < hwb_model_buffer_count(t->model); i++) {
        hwb_tensor *b = hwb_model_buffer(t->model, i, NULL);
        if (!hwb_dtype_is_float(hwb_tensor_dtype(b))) continue; /* counts of batches */
        for (int64_t e = 0; e < hwb_tensor_numel(b); e++, at++) {
            if (!v) continue;
            if (pack) v[at] = hwb_tensor_get(b, e);
            else hwb_tensor_set(b, e, v[at] * scale);
        }
        if (v && !pack) hwb_tensor_touch(b);
    }
    return at;
}

static hwb_status average_buffers(hwb_ctx *ctx, hwb_trainer *t, int ranks) {
    int64_t n = move_buffers(t, NULL, true, 1);
    double *v = n ? malloc((size_t)n * sizeof *v) : NULL;
    if (n == 0) return HWB_OK;
    if (!v) return oom(ctx);
    move_buffers(t, v, true, 1);
    hwb_status st = hwb_comm_sum(ctx, HWB_F64, n, v);
    if (st == HWB_OK) move_buffers(t, v, false, 1.0 / ranks);
    free(v);
    return st;
}

/* A rank that took no gradient goes where the others went. */
static hwb_status sum_gradient(hwb_ctx *ctx, hwb_trainer *t) {
    hwb_device *d = NULL;
    if (!t->there) HWB_TRY(hwb_device_open(ctx, &d, hwb_get_device(ctx)));
    if (d && hwb__trainer_fits(t, d)) HWB_TRY(hwb__trainer_go(t, d));
    if (t->there) return hwb__trainer_sum_there(t);
    uint64_t mark = (uint64_t)t->steps + 1; /* of the weights that the gradients are for */
    for (int i = 0; i < t->n; i++)
        mark = hwb_comm_mark_of(mark, NULL, hwb_model_parameter(t->model, i, NULL), 64);
    hwb_comm_mark(ctx, mark);
    return hwb_comm_sum_tensor(ctx, t->sum);
}

hwb_status hwb_trainer_sum_ranks(hwb_ctx *ctx, hwb_trainer *t) {
    int ranks = hwb_comm_where(ctx).size;
    if (ranks == 1) return HWB_OK;
    if (t->empty) HWB_TRY(hwb_trainer_clear(ctx, t));
    t->empty = false;
    HWB_TRY(sum_gradient(ctx, t));
    /* norms over all samples made the same buffers on all ranks */
    return t->o.eval_mode || t->o.whole ? HWB_OK : average_buffers(ctx, t, ranks);
}

/* ---- updates ------------------------------------------------------------------------------- */

hwb_status hwb_trainer_update(hwb_ctx *ctx, hwb_trainer *t, double lr) {
    const hwb_optim_options *o = &t->o.optim;
    if (t->empty) return hwb_fail(ctx, HWB_EARG, "update: no gradient was taken");
    if (!isfinite(lr)) return hwb_fail(ctx, HWB_EARG, "update: learning rate %g", lr);
    if (t->there) {
        HWB_TRY(hwb__trainer_update_there(t, lr));
        t->steps++;
        t->empty = true;
        return HWB_OK;
    }
    double norm = o->clip > 0 ? hwb_trainer_norm(t) : 0;
    if (o->clip > 0 && norm > o->clip) add_scaled(t->sum, t->sum, o->clip / norm, true);
    t->steps++;
    for (int i = 0; i < t->n; i++) {
        hwb_tensor *p = hwb_model_parameter(t->model, i, NULL), *state[2] = {NULL, NULL};
        for (int k = 0; k < 2; k++)
            if (t->state[k]) state[k] = t->state_of[k][i];
        bool decay = o->decay_vectors || hwb_tensor_shape(p)->ndim > 1;
        HWB_TRY(hwb_optim_apply(ctx, o, p, t->sum_of[i], state, t->steps, lr, decay));
    }
    t->empty = true;
    return HWB_OK;
}

/* ---- state ----------------------------------------------------------------------------------- */

int64_t hwb_trainer_steps(const hwb_trainer *t) {
    return t->steps;
}

hwb_status hwb_trainer_fetch(hwb_ctx *ctx, hwb_trainer *t) {
    (void)ctx;
    return hwb__trainer_fetch(t);
}

int hwb_trainer_states(const hwb_trainer *t, hwb_tensor **state) {
    for (int k = 0; k < 2; k++) state[k] = t->state[k];
    return hwb_optim_states(&t->o.optim);
}

hwb_status hwb_trainer_restore(hwb_ctx *ctx, hwb_trainer *t, int64_t steps, int n,
                               hwb_tensor *const *state) {
    int want = hwb_optim_states(&t->o.optim);
    if (n != want || steps < 0)
        return hwb_fail(ctx, HWB_EARG, "the optimizer keeps %d vectors, %d were saved", want, n);
    for (int k = 0; k < n; k++) {
        char got[HWB_SHAPE_TEXT];
        if (hwb_tensor_numel(state[k]) != hwb_tensor_numel(t->state[k]))
            return hwb_fail(ctx, HWB_ESHAPE, "the model has %lld parameters, the saved state is %s",
                            (long long)hwb_tensor_numel(t->state[k]),
                            hwb_shape_text(hwb_tensor_shape(state[k]), got));
    }
    for (int k = 0; k < n; k++) {
        hwb__tensor_at_home(t->state[k]);
        HWB_TRY(hwb_tensor_copy(ctx, t->state[k], state[k]));
    }
    t->steps = steps;
    return hwb_trainer_clear(ctx, t);
}
