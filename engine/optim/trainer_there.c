/*
 * trainer_there.c: a trainer whose gradient, optimizer state and weights stay in the memory
 * of a device with one of its own.
 *
 *     program ──> gradient ──> sum ──> rule (trainer_rules.c) ──> state, weights
 *                 all on the device; numbers (loss, right answers, statistics) come down
 *
 * Weights are the residents (exec/there_i.h) that the programs read: nothing is copied
 * between an update and the next gradient.  Gradient and states are vectors with each
 * parameter's part at a multiple of the device's alignment,
 *
 *     [p1][0 0 0][p2][0][p3] ...
 *
 * and so the program joins its gradient.  The host's tensors are away (tensor/away_i.h)
 * after a write there, and are fetched when somebody looks.  A vector that was looked at may
 * have been changed as well: it goes up again before its next use.
 */
#include "optim/trainer_i.h"

#include "backend/backend.h"
#include "comm/comm.h"
#include "tensor/away_i.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLE = 32 }; /* elements of each parameter that ranks compare */

static int64_t size_of(const hwb_trainer *t) {
    return (int64_t)hwb_dtype_size(hwb_model_dtype(t->model));
}

static int64_t length_of(const hwb_trainer *t, int i) {
    return hwb_tensor_numel(hwb_model_parameter(t->model, i, NULL));
}

int64_t hwb__trainer_room(const hwb_trainer *t, const hwb_device *d, int i) {
    int64_t step = (int64_t)d->backend->align / size_of(t);
    return (length_of(t, i) + step - 1) / step * step;
}

/* Where two parameters share memory, a write to the copy of one would leave the other's. */
static bool all_apart(const hwb_trainer *t) {
    for (int i = 0; i < t->n; i++)
        for (int j = 0; j < i; j++)
            if (hwb_tensor_storage_id(hwb_model_parameter(t->model, i, NULL)) ==
                hwb_tensor_storage_id(hwb_model_parameter(t->model, j, NULL)))
                return false;
    return true;
}

bool hwb__trainer_fits(const hwb_trainer *t, const hwb_device *d) {
    const hwb_backend *b = d->backend;
    hwb_optim_kind k = t->o.optim.kind;
    return !b->host && b->align && b->align % (size_t)size_of(t) == 0 &&
           (k == HWB_SGD || k == HWB_ADAM || k == HWB_ADAMW) && all_apart(t);
}

/* ---- vectors ------------------------------------------------------------------------ */

/* Between the vector's layout and the tensor's. */
static void repack(const hwb__trainer_vector *v, char *wide, char *dense, bool pack) {
    const hwb_trainer *t = v->trainer;
    for (int i = 0; i < t->n; i++) {
        size_t bytes = (size_t)(length_of(t, i) * size_of(t));
        if (pack) memcpy(wide, dense, bytes);
        else memcpy(dense, wide, bytes);
        wide += hwb__trainer_room(t, t->there->device, i) * size_of(t);
        dense += bytes;
    }
}

static hwb_status fetch_vector(hwb__trainer_vector *v) {
    const hwb_trainer *t = v->trainer;
    if (hwb__tensor_keeper(v->host) != v) return HWB_OK;
    int64_t bytes = t->there->length * size_of(t);
    char *wide = hwb_alloc(t->ctx, (size_t)bytes);
    if (!wide) return HWB_ENOMEM;
    hwb_status st = hwb__there_get(t->there->vectors, wide, v->data, bytes);
    if (st == HWB_OK) {
        repack(v, wide, hwb__tensor_address(v->host), false);
        hwb__tensor_at_home(v->host);
    }
    hwb_free(wide);
    return st;
}

static void fetch(void *user) {
    hwb__trainer_vector *v = user;
    if (fetch_vector(v) == HWB_OK) return;
    hwb__tensor_at_home(v->host);
    hwb_tensor_fill(v->trainer->ctx, v->host, NAN);
}

static void written(hwb__trainer_vector *v) {
    hwb_tensor_touch(v->host);
    hwb__tensor_send_away(v->host, fetch, v);
}

/* The vector as the host may have changed it. */
static hwb_status current(hwb__trainer_vector *v) {
    const hwb_trainer *t = v->trainer;
    if (hwb__tensor_keeper(v->host) == v) return HWB_OK;
    int64_t bytes = t->there->length * size_of(t);
    char *wide = hwb_calloc(t->ctx, (size_t)bytes);
    if (!wide) return HWB_ENOMEM;
    repack(v, wide, hwb_tensor_data(v->host), true);
    hwb_status st = hwb__there_put(t->there->vectors, v->data, wide, bytes);
    hwb_free(wide);
    if (st == HWB_OK) hwb__tensor_send_away(v->host, fetch, v);
    return st;
}

/* ---- there and back ------------------------------------------------------------------- */

static hwb_status make_vector(hwb_trainer *t, hwb__trainer_vector *v, hwb_tensor *host) {
    v->trainer = t;
    v->host = host;
    return hwb__there_alloc(t->there->vectors, &v->data, t->there->length * size_of(t));
}

static hwb_status arrive(hwb_trainer *t, hwb__trainer_there *h) {
    HWB_TRY(hwb__there_new(t->ctx, &h->vectors, h->device));
    HWB_TRY(hwb__there_slots(h->vectors, HWB__TRAINER_SLOTS));
    if (!(h->weights = calloc((size_t)t->n, sizeof(hwb__resident *))))
        return hwb_fail(t->ctx, HWB_ENOMEM, "out of memory for a trainer");
    for (int i = 0; i < t->n; i++) {
        h->length += hwb__trainer_room(t, h->device, i);
        HWB_TRY(hwb__resident_get(t->ctx, h->device, hwb_model_parameter(t->model, i, NULL),
                                  &h->weights[i]));
    }
    HWB_TRY(make_vector(t, &h->sum, t->sum));
    for (int k = 0; k < hwb_optim_states(&t->o.optim); k++)
        HWB_TRY(make_vector(t, &h->state[k], t->state[k]));
    return HWB_OK;
}

hwb_status hwb__trainer_go(hwb_trainer *t, hwb_device *d) {
    if (t->there && t->there->device == d) return HWB_OK;
    hwb__trainer_leave(t);
    if (!(t->there = calloc(1, sizeof *t->there)))
        return hwb_fail(t->ctx, HWB_ENOMEM, "out of memory for a trainer");
    t->there->device = d;
    hwb_status st = arrive(t, t->there);
    if (st != HWB_OK) hwb__trainer_leave(t);
    return st;
}

static void leave_vector(hwb__trainer_vector *v) {
    if (!v->data) return;
    if (hwb__tensor_keeper(v->host) == v) fetch(v);
    hwb__there_release(v->trainer->there->vectors, v->data);
}

void hwb__trainer_leave(hwb_trainer *t) {
    hwb__trainer_there *h = t->there;
    if (!h) return;
    leave_vector(&h->sum);
    for (int k = 0; k < 2; k++) leave_vector(&h->state[k]);
    for (int i = 0; h->weights && i < t->n; i++) hwb__resident_release(h->weights[i]);
    if (h->vectors) hwb__there_release(h->vectors, h->samples);
    hwb__there_free(h->vectors);
    free(h->weights);
    free(h);
    t->there = NULL;
}

hwb_status hwb__trainer_fetch(hwb_trainer *t) {
    if (!t->there) return HWB_OK;
    for (int i = 0; i < t->n; i++) HWB_TRY(hwb__resident_fetch(t->there->weights[i]));
    for (int k = 0; k < hwb_optim_states(&t->o.optim); k++)
        HWB_TRY(fetch_vector(&t->there->state[k]));
    return HWB_OK;
}

/* ---- gradients ---------------------------------------------------------------------------- */

static hwb_status set_slot(hwb__trainer_there *h, int slot, double x) {
    if (h->set[slot] && h->number[slot] == x) return HWB_OK;
    h->set[slot] = true;
    h->number[slot] = x;
    return hwb__there_set(h->vectors, slot, 1, &x);
}

/* sum = weight g, or sum + weight g, or (g NULL) weight sum */
static hwb_status add_up(hwb_trainer *t, const void *g, double weight, bool set) {
    hwb__trainer_there *h = t->there;
    hwb_dtype d = hwb_model_dtype(t->model);
    void *v = (void *)(uintptr_t)g;
    if (set && weight == 1)
        return hwb__there_copy(h->vectors, h->sum.data, g, h->length * size_of(t));
    HWB_TRY(set_slot(h, HWB__TRAINER_WEIGHT, weight));
    hwb__sum_there s = {.n = h->length,
                        .m = set || !g ? 0 : 1,
                        .v = &v,
                        .slot = HWB__TRAINER_WEIGHT,
                        .y_slot = set || !g ? HWB__TRAINER_WEIGHT : -1,
                        .v_dtype = d,
                        .y_dtype = d,
                        .out_dtype = d,
                        .y = set ? g : h->sum.data,
                        .out = h->sum.data};
    return hwb__there_sum(h->vectors, &s);
}

hwb_status hwb__trainer_take(hwb_trainer *t, const void *g, double weight) {
    if (!t->empty) HWB_TRY(current(&t->there->sum));
    HWB_TRY(add_up(t, g, weight, t->empty));
    written(&t->there->sum);
    return HWB_OK;
}

/* ---- ranks ---------------------------------------------------------------------------------- */

/* As the host's mark of all weights, of the first elements of each. */
static hwb_status mark_weights(hwb_trainer *t, uint64_t mark) {
    hwb__trainer_there *h = t->there;
    hwb_shape s = {.ndim = 1, .dim = {(int64_t)t->n * SAMPLE}};
    hwb_tensor *seen = NULL;
    HWB_TRY(hwb_tensor_zeros(t->ctx, &seen, hwb_model_dtype(t->model), s));
    int64_t bytes = (int64_t)hwb_tensor_bytes(seen);
    hwb_status st = HWB_OK;
    if (!h->samples) {
        st = hwb__there_alloc(h->vectors, &h->samples, bytes);
        if (st == HWB_OK) st = hwb__there_put(h->vectors, h->samples, hwb_tensor_data(seen), bytes);
    }
    for (int i = 0; st == HWB_OK && i < t->n; i++) {
        int64_t n = length_of(t, i) < SAMPLE ? length_of(t, i) : SAMPLE;
        st = hwb__there_copy(h->vectors, (char *)h->samples + i * SAMPLE * size_of(t),
                             hwb__resident_data(h->weights[i]), n * size_of(t));
    }
    if (st == HWB_OK) st = hwb__there_get(h->vectors, hwb_tensor_data(seen), h->samples, bytes);
    if (st == HWB_OK) hwb_comm_mark(t->ctx, hwb_comm_mark_of(mark, NULL, seen, 0));
    hwb_tensor_release(seen);
    return st;
}

/* Copies of weights that the host has changed since. */
static hwb_status current_weights(hwb_trainer *t) {
    for (int i = 0; i < t->n; i++) {
        hwb__resident *r = NULL;
        hwb_tensor *p = hwb_model_parameter(t->model, i, NULL);
        HWB_TRY(hwb__resident_get(t->ctx, t->there->device, p, &r));
        hwb__resident_release(r); /* the trainer has it already */
    }
    return HWB_OK;
}

hwb_status hwb__trainer_sum_there(hwb_trainer *t) {
    hwb__trainer_there *h = t->there;
    HWB_TRY(current_weights(t));
    HWB_TRY(current(&h->sum));
    HWB_TRY(mark_weights(t, (uint64_t)t->steps + 1));
    HWB_TRY(hwb__device_sum_ranks(t->ctx, h->device, hwb_model_dtype(t->model), h->length,
                                  h->sum.data));
    written(&h->sum);
    return HWB_OK;
}

/* ---- updates ---------------------------------------------------------------------------------- */

static hwb_status clip(hwb_trainer *t, double most) {
    hwb__trainer_there *h = t->there;
    double square = 0;
    h->set[HWB__TRAINER_NORM] = false;
    HWB_TRY(hwb__there_dots(h->vectors, hwb_model_dtype(t->model), h->length, 1, &h->sum.data,
                            h->sum.data, HWB__TRAINER_NORM));
    HWB_TRY(hwb__there_fetch(h->vectors, HWB__TRAINER_NORM, 1, &square));
    if (sqrt(square) <= most) return HWB_OK;
    HWB_TRY(add_up(t, NULL, most / sqrt(square), false));
    written(&h->sum);
    return HWB_OK;
}

static hwb_status set_numbers(hwb_trainer *t, double lr) {
    double x[HWB__TRAINER_NUMBERS];
    hwb__trainer_numbers(&t->o.optim, t->steps + 1, lr, x);
    for (int i = 0; i < HWB__TRAINER_NUMBERS; i++) HWB_TRY(set_slot(t->there, i, x[i]));
    return HWB_OK;
}

hwb_status hwb__trainer_update_there(hwb_trainer *t, double lr) {
    const hwb_optim_options *o = &t->o.optim;
    hwb__trainer_there *h = t->there;
    int states = hwb_optim_states(o);
    int64_t at = 0;
    HWB_TRY(current_weights(t));
    HWB_TRY(current(&h->sum));
    if (t->steps == 0)
        for (int k = 0; k < states; k++) HWB_TRY(hwb_tensor_fill(t->ctx, t->state[k], 0));
    for (int k = 0; k < states; k++) HWB_TRY(current(&h->state[k]));
    if (o->clip > 0) HWB_TRY(clip(t, o->clip));
    HWB_TRY(set_numbers(t, lr));
    for (int i = 0; i < t->n; i++) {
        hwb_tensor *p = hwb_model_parameter(t->model, i, NULL);
        void *state[2] = {NULL, NULL};
        for (int k = 0; k < states; k++) state[k] = (char *)h->state[k].data + at;
        hwb__trainer_part part = {.dtype = hwb_tensor_dtype(p),
                                  .n = length_of(t, i),
                                  .p = hwb__resident_data(h->weights[i]),
                                  .g = (char *)h->sum.data + at,
                                  .state = {state[0], state[1]},
                                  .decay = o->decay_vectors || hwb_tensor_shape(p)->ndim > 1};
        HWB_TRY(hwb__trainer_rule(h->vectors, o, &part));
        hwb__resident_written(h->weights[i]);
        at += hwb__trainer_room(t, h->device, i) * size_of(t);
    }
    for (int k = 0; k < states; k++) written(&h->state[k]);
    return HWB_OK;
}
