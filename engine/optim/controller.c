/*
 * controller.c: the state machines of controller.h.
 *
 * ABS follows the published code (HessianFlow), with its four constants apart
 * and lambda the largest algebraic eigenvalue: the largest in magnitude, which
 * that code takes, may be negative and then always counts as "fallen".
 */
#include "optim/controller.h"

#include <math.h>
#include <string.h>

static const char *const names[] = {"bl", "fb", "gg", "abs", "absa"};

bool hwb_batch_kind_parse(const char *name, hwb_batch_kind *out) {
    for (int i = 0; i <= HWB_ABSA; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = (hwb_batch_kind)i;
        return true;
    }
    return false;
}

hwb_batch_options hwb_batch_defaults(hwb_batch_kind kind) {
    return (hwb_batch_options){.kind = kind,
                               .base = 128,
                               .max = 128,
                               .epochs = 90,
                               .n_milestones = 3,
                               .milestones = {30, 60, 80},
                               .decay = 0.2,
                               .grow = 2,
                               .fall = 2,
                               .patience = 10,
                               .attacked = 0.2,
                               .attack_decay = 2,
                               .warmup = 5};
}

static bool adapts(hwb_batch_kind kind) {
    return kind == HWB_ABS || kind == HWB_ABSA;
}

static hwb_status check(hwb_ctx *ctx, const hwb_batch_options *o) {
    if (o->base < 1 || o->max < o->base || o->max % o->base != 0)
        return hwb_fail(ctx, HWB_EARG, "batch: the largest batch %lld is no multiple of %lld",
                        (long long)o->max, (long long)o->base);
    if (o->epochs < 1 || o->n_milestones < 0 || o->n_milestones > HWB_BATCH_MAX_MILESTONES)
        return hwb_fail(ctx, HWB_EARG, "batch: %d epochs with %d milestones", o->epochs,
                        o->n_milestones);
    for (int i = 0; i < o->n_milestones; i++)
        if (o->milestones[i] < 1 || (i && o->milestones[i] <= o->milestones[i - 1]))
            return hwb_fail(ctx, HWB_EARG, "batch: milestones must ascend from 1, not %d",
                            o->milestones[i]);
    if (!(o->decay > 0) || !(o->decay <= 1) || !(o->grow > 1) || !(o->fall > 1) ||
        o->patience < 1 || !(o->attacked >= 0) || !(o->attacked <= 1) || !(o->attack_decay >= 1) ||
        !(o->warmup >= 0))
        return hwb_fail(ctx, HWB_EARG,
                        "batch: wanted 0 < decay <= 1 < grow, fall; patience >= 1; attacked "
                        "within 0..1; attack_decay >= 1; warmup >= 0");
    return HWB_OK;
}

hwb_status hwb_batch_start(hwb_ctx *ctx, hwb_batch_state *s, const hwb_batch_options *o) {
    HWB_TRY(check(ctx, o));
    int64_t largest = o->max / o->base;
    bool fixed = o->kind == HWB_BL || o->kind == HWB_FB;
    *s = (hwb_batch_state){.o = *o,
                           .ratio = fixed ? largest : 1,
                           .scale = o->kind == HWB_FB ? (double)largest : 1,
                           .attacked = o->kind == HWB_ABSA ? o->attacked : 0,
                           .reference = NAN,
                           .growing = adapts(o->kind) && largest > 1};
    if (s->o.attack_stop == 0) s->o.attack_stop = o->epochs / 2;
    return HWB_OK;
}

bool hwb_batch_wants_eigenvalue(const hwb_batch_state *s) {
    return s->growing;
}

/* A larger batch, and the learning rate with it. */
static void grow(hwb_batch_state *s) {
    int64_t old = s->ratio, largest = s->o.max / s->o.base;
    s->ratio = (int64_t)((double)old * s->o.grow);
    if (s->ratio > largest) s->ratio = largest;
    s->scale *= (double)s->ratio / (double)old;
    s->attacked /= s->o.attack_decay;
    s->since = 0;
    if (s->ratio < largest) return;
    s->attacked = 0;
    s->growing = false;
}

static void adapt(hwb_batch_state *s, double lambda) {
    s->since++;
    if (isnan(s->reference)) {
        s->reference = lambda;
    } else if (lambda <= s->reference / s->o.fall) {
        s->reference = lambda;
        grow(s);
    }
    if (s->since >= s->o.patience) grow(s);
}

static bool is_milestone(const hwb_batch_options *o, int epoch) {
    for (int i = 0; i < o->n_milestones; i++)
        if (o->milestones[i] == epoch) return true;
    return false;
}

/* GG: the batch takes 1/decay; what the maximum cuts off goes to the learning rate. */
static void milestone(hwb_batch_state *s) {
    if (s->o.kind != HWB_GG) {
        s->scale *= s->o.decay;
        return;
    }
    double wanted = (double)s->ratio / s->o.decay;
    int64_t largest = s->o.max / s->o.base, next = (int64_t)llround(wanted);
    if (next > largest) next = largest;
    s->ratio = next;
    s->scale *= (double)next / wanted;
}

hwb_status hwb_batch_on_epoch(hwb_ctx *ctx, hwb_batch_state *s, double lambda) {
    if (s->growing && !isfinite(lambda))
        return hwb_fail(ctx, HWB_ENUMERIC, "batch: the eigenvalue after epoch %d is %g",
                        s->epoch + 1, lambda);
    s->epoch++;
    if (s->growing) adapt(s, lambda);
    if (is_milestone(&s->o, s->epoch)) milestone(s);
    if (s->epoch >= s->o.attack_stop) s->attacked = 0;
    return HWB_OK;
}

/* FB: from 1 to its factor along a line, by the iteration. */
hwb_batch_advice hwb_batch_on_step(const hwb_batch_state *s, double position) {
    hwb_batch_advice a = {s->ratio * s->o.base, s->scale, s->attacked};
    if (s->o.kind == HWB_FB && position < s->o.warmup)
        a.lr = 1 + (s->scale - 1) * position / s->o.warmup;
    return a;
}

int64_t hwb_batch_published_updates(const hwb_batch_options *o, int64_t samples) {
    if (adapts(o->kind)) return -1;
    if (o->kind != HWB_GG) return (int64_t)o->epochs * samples / o->max;
    hwb_batch_state s;
    double updates = 0;
    if (hwb_batch_start(NULL, &s, o) != HWB_OK) return -1;
    for (int e = 1; e <= o->epochs; e++) {
        updates += (double)(samples / o->base) / (double)s.ratio;
        s.epoch++;
        if (is_milestone(o, e)) milestone(&s);
    }
    return (int64_t)(updates + 1e-9);
}
