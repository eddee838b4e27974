/*
 * curvature.c: operators and families of them: making, releasing, what they are of.
 */
#include "curvature/curvature_i.h"

#include <stdlib.h>
#include <string.h>

/* Many vectors at once pay on devices that small kernels leave idle; a processor gains
 * nothing past two (tests/bench/NOTES.md). */
static size_t default_budget(hwb_ctx *ctx) {
    bool host = strcmp(hwb_get_device(ctx), "cpu") == 0 || strcmp(hwb_get_device(ctx), "ref") == 0;
    return (size_t)1 << (host ? 28 : 30);
}

static hwb_status oom(hwb_ctx *ctx) {
    return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a curvature operator");
}

/* ---- life ------------------------------------------------------------------------------- */

static void shared_release(hwb__shared *s) {
    if (!s || --s->refs > 0) return;
    hwb_model_release(s->model);
    if (s->source.free_self) s->source.free_self(s->source.self);
    if (s->whole.free_self) s->whole.free_self(s->whole.self);
    hwb_tensor_release(s->x);
    hwb_tensor_release(s->y);
    free(s);
}

static void family_release(hwb__family *f) {
    if (!f || --f->refs > 0) return;
    hwb__programs_free(&f->products);
    for (int i = 0; f->member && i < f->n; i++) {
        free(f->member[i].parameters);
        free(f->member[i].name);
    }
    free(f->member);
    shared_release(f->shared);
    free(f);
}

hwb_curvature *hwb_curvature_retain(hwb_curvature *c) {
    c->refs++;
    return c;
}

void hwb_curvature_release(hwb_curvature *c) {
    if (!c || --c->refs > 0) return;
    hwb__programs_free(&c->own);
    family_release(c->family);
    free(c);
}

/* A family of n members without content on s. */
static hwb_status family_new(hwb_ctx *ctx, hwb__family **out, hwb__shared *s, int n) {
    hwb__family *f = calloc(1, sizeof *f);
    if (!f) return oom(ctx);
    f->refs = 1;
    f->shared = s;
    s->refs++;
    f->member = calloc((size_t)n, sizeof *f->member);
    if (!f->member) {
        family_release(f);
        return oom(ctx);
    }
    f->n = n;
    *out = f;
    return HWB_OK;
}

/* Takes ids (also on failure); NULL: the activation of that name, whose size is not known yet. */
static hwb_status fill_member(hwb_ctx *ctx, hwb__family *f, int i, const char *name, int n,
                              int *ids) {
    hwb__member *m = &f->member[i];
    *m = (hwb__member){
        .name = strdup(name), .parameters = ids, .n_parameters = n, .activation = !ids};
    for (int j = 0; j < n; j++)
        m->n += hwb_tensor_numel(hwb_model_parameter(f->shared->model, ids[j], NULL));
    return m->name ? HWB_OK : oom(ctx);
}

/* One operator for each member; releases f. */
static hwb_status make_operators(hwb_ctx *ctx, hwb__family *f, hwb_curvature **out) {
    int made = 0;
    for (; made < f->n; made++) {
        const hwb__member *m = &f->member[made];
        hwb_curvature *c = calloc(1, sizeof *c);
        if (!c) break;
        *c = (hwb_curvature){.refs = 1,
                             .family = f,
                             .index = made,
                             .shared = f->shared,
                             .name = m->name,
                             .parameters = m->parameters,
                             .n_parameters = m->n_parameters,
                             .activation = m->activation};
        c->op = (hwb_linop){.n = m->n,
                            .dtype = hwb_model_dtype(f->shared->model),
                            .apply = hwb__curvature_apply,
                            .where = hwb__curvature_where,
                            .apply_there = hwb__curvature_apply_there};
        f->refs++;
        out[made] = c;
    }
    hwb_status st = made == f->n ? HWB_OK : oom(ctx);
    family_release(f);
    if (st == HWB_OK) return st;
    while (made > 0) hwb_curvature_release(out[--made]);
    return st;
}

static hwb_status whole_operator(hwb_ctx *ctx, hwb_curvature **out, hwb__shared *s) {
    hwb__family *f = NULL;
    int n = hwb_model_parameter_count(s->model);
    HWB_TRY(family_new(ctx, &f, s, 1));
    int *all = malloc(((size_t)n + 1) * sizeof *all);
    for (int i = 0; all && i < n; i++) all[i] = i;
    hwb_status st = all ? fill_member(ctx, f, 0, "", n, all) : oom(ctx);
    if (st == HWB_OK) return make_operators(ctx, f, out);
    family_release(f);
    return st;
}

hwb_status hwb_curvature_new(hwb_ctx *ctx, hwb_curvature **out, hwb_model *m, hwb_source source,
                             const hwb_curvature_options *options) {
    hwb__shared *s = calloc(1, sizeof *s);
    if (!s) {
        if (source.free_self) source.free_self(source.self);
        return oom(ctx);
    }
    s->refs = 1;
    s->model = hwb_model_retain(m);
    s->source = source;
    s->o = *options;
    if (!s->o.loss) (void)hwb_loss_named(ctx, &s->o.loss, "cross_entropy");
    if (!s->o.budget) s->o.budget = default_budget(ctx);
    hwb_status st = hwb_model_parameter_count(m)
                        ? hwb__share_out(ctx, s)
                        : hwb_fail(ctx, HWB_EARG, "the model has no parameters");
    if (st == HWB_OK) st = whole_operator(ctx, out, s);
    shared_release(s);
    return st;
}

/* ---- blocks ------------------------------------------------------------------------------- */

static hwb_status fill_block(hwb_ctx *ctx, hwb__family *f, int i, const char *name) {
    hwb_model *m = f->shared->model;
    int n = 0, *ids = malloc(((size_t)hwb_model_parameter_count(m) + 1) * sizeof *ids);
    if (!ids) return oom(ctx);
    hwb_status st = hwb_model_block(ctx, m, name, &n, ids);
    if (st == HWB_OK) return fill_member(ctx, f, i, name, n, ids);
    free(ids);
    return st;
}

hwb_status hwb_curvature_blocks(hwb_ctx *ctx, hwb_curvature **out, hwb_curvature *whole, int n,
                                const char *const *names) {
    hwb__family *f = NULL;
    if (n < 1) return hwb_fail(ctx, HWB_EARG, "no blocks");
    HWB_TRY(family_new(ctx, &f, whole->shared, n));
    hwb_status st = HWB_OK;
    for (int i = 0; i < n && st == HWB_OK; i++) st = fill_block(ctx, f, i, names[i]);
    if (st == HWB_OK) return make_operators(ctx, f, out);
    family_release(f);
    return st;
}

hwb_status hwb_curvature_block(hwb_ctx *ctx, hwb_curvature **out, hwb_curvature *whole,
                               const char *name) {
    return hwb_curvature_blocks(ctx, out, whole, 1, &name);
}

/* ---- activations -------------------------------------------------------------------------- */

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
    *own = (hwb__shared){.refs = 1,
                         .model = hwb_model_retain(s->model),
                         .source = source,
                         .o = s->o,
                         .undivided = true};
    *out = own;
    return HWB_OK;
}

static hwb_status fill_activations(hwb_ctx *ctx, hwb__family *f, const char *const *names) {
    HWB_TRY(hwb__curvature_survey(ctx, f->shared));
    if (f->shared->batches != 1)
        return hwb_fail(ctx, HWB_EARG, "an activation's Hessian needs one batch, not %lld",
                        (long long)f->shared->batches);
    for (int i = 0; i < f->n; i++) HWB_TRY(fill_member(ctx, f, i, names[i], 0, NULL));
    return hwb__find_activations(ctx, f);
}

hwb_status hwb_curvature_activations(hwb_ctx *ctx, hwb_curvature **out, hwb_curvature *whole, int n,
                                     const char *const *names) {
    hwb__shared *s = NULL;
    hwb__family *f = NULL;
    if (n < 1) return hwb_fail(ctx, HWB_EARG, "no activations");
    if (whole->shared->o.batch_norm_batch) HWB_TRY(hwb__curvature_survey(ctx, whole->shared));
    HWB_TRY(whole_shared(ctx, whole->shared, &s));
    hwb_status st = family_new(ctx, &f, s, n);
    shared_release(s); /* f keeps it */
    if (st == HWB_OK) st = fill_activations(ctx, f, names);
    if (st == HWB_OK) return make_operators(ctx, f, out);
    family_release(f);
    return st;
}

hwb_status hwb_curvature_activation(hwb_ctx *ctx, hwb_curvature **out, hwb_curvature *whole,
                                    const char *name) {
    return hwb_curvature_activations(ctx, out, whole, 1, &name);
}

/* ---- several at once ----------------------------------------------------------------------- */

static hwb_status apply_set(hwb_ctx *ctx, hwb_linop_set *self, hwb_tensor **out,
                            const hwb_tensor *const *v) {
    return hwb__curvature_apply_all(ctx, self->n, self->op, v, out);
}

static hwb_status apply_set_there(hwb_ctx *ctx, hwb_linop_set *self, const int64_t *k,
                                  const void *const *v, void *const *out) {
    return hwb__curvature_apply_all_there(ctx, self->n, self->op, k, v, out);
}

hwb_status hwb_curvature_together(hwb_ctx *ctx, hwb_linop_set *out, int n,
                                  hwb_curvature *const *members) {
    for (int i = 1; i < n; i++)
        if (members[i]->family != members[0]->family)
            return hwb_fail(ctx, HWB_EARG, "operators that were not made together");
    HWB_TRY(hwb__curvature_survey(ctx, members[0]->shared));
    *out = (hwb_linop_set){.n = n,
                           .op = malloc((size_t)n * sizeof *out->op),
                           .apply = apply_set,
                           .apply_there = apply_set_there,
                           .pass = members[0]->shared->batches > 1};
    for (int i = 0; out->op && i < n; i++) out->op[i] = &members[i]->op;
    return out->op ? HWB_OK : oom(ctx);
}

void hwb_curvature_apart(hwb_linop_set *set) {
    free(set->op);
    *set = (hwb_linop_set){0};
}

/* ---- what it is of -------------------------------------------------------------------------- */

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
