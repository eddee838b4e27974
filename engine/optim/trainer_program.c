/*
 * trainer_program.c: the programs of a trainer, one for each shape of a micro-batch.
 *
 * The gradient is one flat vector, of which every parameter's is a view, and the new
 * values of the buffers are another: a device with its own memory is read a few times
 * a micro-batch, however many parameters there are.
 */
#include "optim/trainer_i.h"

#include "ad/ad.h"
#include "backend/backend.h"
#include "comm/comm.h"
#include "graph/build.h"

#include <stdlib.h>
#include <string.h>

/* Outputs: loss, right answers, gradient [n]; from BUFFERS on the new values of the
 * `joined` first buffers, one after the other, then those of each other one.
 *
 * Where the gradient stays on a device: numbers, gradient, those of each other buffer; the
 * numbers are the first three and the values of the joined buffers.  Each copy down is a
 * wait. */
enum { LOSS, RIGHT, GRADIENT, BUFFERS };
enum { NUMBERS, STAYS, OTHERS };
enum { AT_LOSS, AT_RIGHT, AT_FINITE, AT_JOINED };

static hwb_status oom(hwb_ctx *ctx) {
    return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a trainer");
}

void hwb__trainer_free_compiled(hwb__trainer_program *c) {
    hwb_program_release(c->program);
    for (int i = 0; i < c->n_buffers; i++) hwb_tensor_release(c->buffers[i]);
    free(c->buffers);
}

/* Number of samples whose largest output is the label, as float32. */
static hwb_status count_right(hwb_graph *g, hwb_id *right, hwb_id z, hwb_id target, bool *counts) {
    const hwb_shape *s = hwb_graph_shape(g, z), *t = hwb_graph_shape(g, target);
    hwb_shape scalar = {.ndim = 0};
    *counts = s->ndim == t->ndim + 1 && !hwb_dtype_is_float(hwb_graph_dtype(g, target));
    if (!*counts) return hwb_graph_fill(g, right, HWB_F32, scalar, 0);
    HWB_TRY(hwb_argmax(g, right, z, 1, false));
    HWB_TRY(hwb_cast(g, &target, target, HWB_I64));
    HWB_TRY(hwb_eq(g, right, *right, target));
    HWB_TRY(hwb_cast(g, right, *right, HWB_F32));
    return hwb_sum(g, right, *right, 0, false);
}

/* The values of n > 0 nodes, one after the other; the list is overwritten.  A node has
 * at most 64 inputs, so long lists are joined by 64, and then the joints. */
static hwb_status join(hwb_graph *g, int n, hwb_id *nodes, hwb_id *out) {
    enum { MOST = 64 };
    for (int i = 0; i < n; i++) {
        hwb_shape s = {.ndim = 1, .dim = {hwb_shape_numel(hwb_graph_shape(g, nodes[i]))}};
        HWB_TRY(hwb_reshape(g, &nodes[i], nodes[i], s));
    }
    while (n > 1) {
        int joints = 0;
        for (int i = 0; i < n; i += MOST) {
            int k = n - i < MOST ? n - i : MOST;
            HWB_TRY(hwb_concat(g, &nodes[joints++], k, nodes + i, 0));
        }
        n = joints;
    }
    *out = nodes[0];
    return HWB_OK;
}

/* Zeros between the n nodes, as trainer_there.c lays vectors out; how many nodes then. */
static hwb_status pad(hwb_trainer *t, hwb_graph *g, const hwb_device *d, hwb_id *nodes, int *n) {
    int to = 2 * t->n;
    for (int i = t->n - 1; i >= 0; i--) {
        int64_t len = hwb_shape_numel(hwb_graph_shape(g, nodes[i]));
        hwb_shape gap = {.ndim = 1, .dim = {hwb__trainer_room(t, d, i) - len}};
        hwb_id node = nodes[i];
        if (gap.dim[0]) HWB_TRY(hwb_graph_fill(g, &nodes[--to], hwb_model_dtype(t->model), gap, 0));
        nodes[--to] = node;
    }
    *n = 2 * t->n - to;
    memmove(nodes, nodes + to, (size_t)*n * sizeof *nodes);
    return HWB_OK;
}

/* nodes: room for twice the parameters, or the updates of the graph.  d: where the gradient
 * stays, or NULL. */
static hwb_status gradient_of(hwb_trainer *t, const hwb_tracing *tr, const hwb_device *d,
                              hwb_id loss, hwb_id *nodes, hwb_id *gradient) {
    hwb_graph *g = tr->graph;
    int n = t->n;
    HWB_TRY(hwb_vjp(g, 1, &loss, NULL, t->n, tr->parameters, nodes));
    for (int i = 0; i < t->n; i++)
        if (nodes[i] == HWB_NONE) HWB_TRY(hwb_zeros_like(g, &nodes[i], tr->parameters[i]));
    if (d) HWB_TRY(pad(t, g, d, nodes, &n));
    return join(g, n, nodes, gradient);
}

/* The outputs so far become those of a gradient that stays.  0 g is 0, or NaN for an
 * infinity or NaN in it. */
static hwb_status numbers_of(hwb_trainer *t, const hwb__trainer_program *c, hwb_graph *g,
                             hwb_id *outs, int *n_out) {
    hwb_dtype d = hwb_model_dtype(t->model);
    hwb_id number[AT_JOINED + 1] = {outs[LOSS], outs[RIGHT]}, all, gradient = outs[GRADIENT];
    HWB_TRY(hwb_mul_scalar(g, &number[AT_FINITE], gradient, 0));
    HWB_TRY(hwb_sum(g, &number[AT_FINITE], number[AT_FINITE], 0, false));
    for (int i = 0; i < AT_JOINED; i++) HWB_TRY(hwb_cast(g, &number[i], number[i], d));
    if (c->joined) number[AT_JOINED] = outs[BUFFERS];
    HWB_TRY(join(g, AT_JOINED + (c->joined > 0), number, &all));
    int others = BUFFERS + (c->joined > 0);
    memmove(outs + OTHERS, outs + others, (size_t)(*n_out - others) * sizeof *outs);
    *n_out += OTHERS - others;
    outs[NUMBERS] = all;
    outs[STAYS] = gradient;
    return HWB_OK;
}

static hwb_status buffers_of(hwb_trainer *t, hwb__trainer_program *c, hwb_graph *g, hwb_id *nodes,
                             hwb_id *outs, int *n_out) {
    int n = hwb_graph_update_count(g);
    hwb_id id;
    c->buffers = calloc((size_t)n + 1, sizeof *c->buffers);
    if (!c->buffers) return oom(t->ctx);
    *n_out = BUFFERS;
    for (int pass = 0; pass < 2; pass++) { /* those of the model's dtype, then the others */
        for (int i = 0; i < n; i++) {
            hwb_tensor *b = hwb_graph_update_at(g, i, &id);
            if ((hwb_tensor_dtype(b) == hwb_model_dtype(t->model)) == (pass == 1)) continue;
            if (pass == 0) nodes[c->joined++] = id;
            else outs[(*n_out)++] = id;
            c->buffers[c->n_buffers++] = hwb_tensor_retain(b);
        }
        if (pass == 0 && c->joined) HWB_TRY(join(g, c->joined, nodes, &outs[(*n_out)++]));
    }
    return HWB_OK;
}

static hwb_status outputs_of(hwb_trainer *t, hwb__trainer_program *c, const hwb_tracing *tr,
                             hwb_id *outs, int *n_out) {
    hwb_graph *g = tr->graph;
    hwb_device *d = NULL;
    HWB_TRY(hwb_device_open(t->ctx, &d, hwb_get_device(t->ctx)));
    c->there = hwb__trainer_fits(t, d);
    HWB_TRY(t->o.loss(t->o.loss_user, g, &outs[LOSS], tr->y, c->y, true));
    if (hwb_shape_numel(hwb_graph_shape(g, outs[LOSS])) != 1)
        return hwb_fail(t->ctx, HWB_ESHAPE, "the loss must be one number");
    hwb_id term = outs[LOSS]; /* of the ranks' loss, where norms tie them together */
    if (c->all) HWB_TRY(hwb_mul_scalar(g, &term, term, (double)c->x_shape.dim[0] / (double)c->all));
    HWB_TRY(count_right(g, &outs[RIGHT], tr->y, c->y, &c->counts));
    hwb_id *nodes = calloc((size_t)(2 * t->n + hwb_graph_update_count(g)) + 1, sizeof *nodes);
    if (!nodes) return oom(t->ctx);
    hwb_status st = gradient_of(t, tr, c->there ? d : NULL, term, nodes, &outs[GRADIENT]);
    if (st == HWB_OK) st = buffers_of(t, c, g, nodes, outs, n_out);
    if (st == HWB_OK && c->there) st = numbers_of(t, c, g, outs, n_out);
    free(nodes);
    return st;
}

static hwb_status compile(hwb_trainer *t, hwb__trainer_program *c) {
    hwb_tracing tr;
    hwb_id *outs = NULL;
    HWB_TRY(hwb_model_trace_begin(t->ctx, t->model, &tr));
    if (c->all) hwb_graph_spread(tr.graph, hwb_comm_where(t->ctx).size, c->x_shape.dim[0], c->all);
    hwb_status st =
        hwb_model_trace_forward(t->ctx, t->model, &tr, c->x_dtype, &c->x_shape, !t->o.eval_mode);
    if (st == HWB_OK)
        st = hwb_graph_input(tr.graph, &c->y, HWB_ROLE_DATA, c->y_dtype, c->y_shape, "target");
    size_t most = (size_t)(BUFFERS + 1 + hwb_graph_update_count(tr.graph));
    int n = 0;
    if (st == HWB_OK && !(outs = calloc(most, sizeof *outs))) st = oom(t->ctx);
    if (st == HWB_OK) st = outputs_of(t, c, &tr, outs, &n);
    c->x = tr.x;
    if (st == HWB_OK) st = hwb_compile(t->ctx, &c->program, tr.graph, n, outs, NULL);
    free(outs);
    hwb_tracing_free(&tr);
    return st;
}

hwb_status hwb__trainer_compiled(hwb_trainer *t, hwb_tensor *x, hwb_tensor *y, int64_t all,
                                 hwb__trainer_program **out) {
    const hwb_shape *xs = hwb_tensor_shape(x), *ys = hwb_tensor_shape(y);
    for (int i = 0; i < t->count; i++) {
        hwb__trainer_program *c = &t->at[i];
        if (!hwb_shape_equal(&c->x_shape, xs) || !hwb_shape_equal(&c->y_shape, ys) ||
            c->x_dtype != hwb_tensor_dtype(x) || c->y_dtype != hwb_tensor_dtype(y) || c->all != all)
            continue;
        *out = c;
        return HWB_OK;
    }
    hwb__trainer_program c = {.x_shape = *xs,
                              .y_shape = *ys,
                              .x_dtype = hwb_tensor_dtype(x),
                              .y_dtype = hwb_tensor_dtype(y),
                              .all = all};
    hwb_status st = compile(t, &c);
    if (st != HWB_OK) {
        hwb__trainer_free_compiled(&c);
        return st;
    }
    if (t->count == HWB__TRAINER_PROGRAMS) { /* the oldest goes */
        hwb__trainer_free_compiled(&t->at[0]);
        memmove(t->at, t->at + 1, (HWB__TRAINER_PROGRAMS - 1) * sizeof *t->at);
        t->count--;
    }
    t->at[t->count] = c;
    *out = &t->at[t->count++];
    return HWB_OK;
}

/* ---- running it --------------------------------------------------------------------------- */

/* to = the values of from, which is flat, from `at` on */
static hwb_status take(hwb_ctx *ctx, hwb_tensor *to, hwb_tensor *from, int64_t at) {
    hwb_tensor *part = NULL, *shaped = NULL;
    HWB_TRY(hwb_tensor_slice(ctx, &part, from, 0, at, hwb_tensor_numel(to), 1));
    hwb_status st = hwb_tensor_reshape(ctx, &shaped, part, *hwb_tensor_shape(to));
    if (st == HWB_OK) st = hwb_tensor_copy(ctx, to, shaped);
    hwb_tensor_release(part);
    hwb_tensor_release(shaped);
    return st;
}

/* The joined ones from `flat`, from `at` on, the others from outputs of their own. */
static hwb_status take_buffers(hwb_trainer *t, hwb__trainer_program *c, hwb_tensor *flat,
                               int64_t at, hwb_tensor *const *others) {
    for (int i = 0; i < c->joined; i++) {
        HWB_TRY(take(t->ctx, c->buffers[i], flat, at));
        at += hwb_tensor_numel(c->buffers[i]);
    }
    for (int i = c->joined; i < c->n_buffers; i++)
        HWB_TRY(hwb_tensor_copy(t->ctx, c->buffers[i], others[i - c->joined]));
    return HWB_OK;
}

static hwb_status set_batch(hwb_trainer *t, hwb__trainer_program *c, hwb_tensor *x, hwb_tensor *y) {
    HWB_TRY(hwb_program_set(t->ctx, c->program, c->x, x));
    return hwb_program_set(t->ctx, c->program, c->y, y);
}

hwb_status hwb__trainer_run(hwb_trainer *t, hwb__trainer_program *c, hwb_tensor *x, hwb_tensor *y,
                            hwb_tensor *gradient, double *loss, int64_t *right) {
    int n = BUFFERS + (c->joined > 0) + c->n_buffers - c->joined;
    hwb_tensor **outs = calloc((size_t)n, sizeof *outs);
    if (!outs) return oom(t->ctx);
    outs[GRADIENT] = gradient;
    hwb_status st = set_batch(t, c, x, y);
    if (st == HWB_OK) st = hwb_program_run_into(t->ctx, c->program, outs);
    if (st == HWB_OK) {
        *loss = hwb_tensor_get(outs[LOSS], 0);
        *right = c->counts ? (int64_t)hwb_tensor_get(outs[RIGHT], 0) : -1;
        hwb_tensor *flat = c->joined ? outs[BUFFERS] : NULL;
        st = take_buffers(t, c, flat, 0, outs + BUFFERS + (c->joined > 0));
    }
    for (int i = 0; i < n; i++) /* on failure what was made is already gone */
        if (i != GRADIENT) hwb_tensor_release(outs[i]);
    free(outs);
    return st;
}

hwb_status hwb__trainer_run_there(hwb_trainer *t, hwb__trainer_program *c, hwb_tensor *x,
                                  hwb_tensor *y, const void **gradient, double *loss,
                                  int64_t *right) {
    int n = OTHERS + c->n_buffers - c->joined;
    hwb_tensor **outs = calloc((size_t)n, sizeof *outs);
    if (!outs) return oom(t->ctx);
    hwb_status st = set_batch(t, c, x, y);
    if (st == HWB_OK) st = hwb__program_run_but(t->ctx, c->program, STAYS, outs, gradient);
    if (st == HWB_OK) {
        *loss = hwb_tensor_get(outs[NUMBERS], AT_LOSS);
        *right = c->counts ? (int64_t)hwb_tensor_get(outs[NUMBERS], AT_RIGHT) : -1;
        st = take_buffers(t, c, outs[NUMBERS], AT_JOINED, outs + OTHERS);
    }
    for (int i = 0; i < n; i++) hwb_tensor_release(outs[i]);
    free(outs);
    return st;
}
