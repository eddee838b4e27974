/*
 * model.c: named tensors, tracing, and the compiled forward pass.
 */
#include "model/model_i.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_FORWARDS = 8 }; /* compiled forward passes kept a model */

static hwb_status oom(hwb_ctx *ctx) {
    return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a model");
}

/* ---- life ------------------------------------------------------------------------ */

hwb_status hwb_model_new(hwb_ctx *ctx, hwb_model **out, hwb_forward_fn forward, void *user,
                         void (*free_user)(void *)) {
    hwb_model *m = calloc(1, sizeof *m);
    if (!m) return oom(ctx);
    m->refs = 1;
    m->ctx = ctx;
    m->forward = forward;
    m->user = user;
    m->free_user = free_user;
    *out = m;
    return HWB_OK;
}

hwb_model *hwb_model_retain(hwb_model *m) {
    m->refs++;
    return m;
}

static void free_list(hwb__named_list *l) {
    for (int i = 0; i < l->count; i++) {
        free(l->at[i].name);
        hwb_tensor_release(l->at[i].t);
    }
    free(l->at);
}

static void free_forward(hwb__forward *f) {
    hwb_program_release(f->program);
    for (int i = 0; i < f->n_buffers; i++) hwb_tensor_release(f->buffers[i]);
    free(f->buffers);
}

void hwb_model_changed(hwb_model *m) {
    for (int i = 0; i < m->n_forwards; i++) free_forward(&m->forwards[i]);
    free(m->forwards);
    m->forwards = NULL;
    m->n_forwards = 0;
    hwb__model_free_layers(m);
}

void hwb_model_release(hwb_model *m) {
    if (!m || --m->refs > 0) return;
    hwb_model_changed(m);
    free_list(&m->parameters);
    free_list(&m->buffers);
    free_list(&m->aliases);
    if (m->free_user) m->free_user(m->user);
    free(m);
}

/* ---- named tensors ---------------------------------------------------------------- */

static int find(const hwb__named_list *l, const char *name) {
    for (int i = 0; i < l->count; i++)
        if (strcmp(l->at[i].name, name) == 0) return i;
    return -1;
}

static hwb_status append(hwb_ctx *ctx, hwb__named_list *l, const char *name, hwb_tensor *t) {
    hwb__named *at = realloc(l->at, (size_t)(l->count + 1) * sizeof *at);
    if (!at) return oom(ctx);
    l->at = at;
    if (!(at[l->count].name = strdup(name))) return oom(ctx);
    at[l->count++].t = hwb_tensor_retain(t);
    return HWB_OK;
}

static hwb_status check_name(hwb_ctx *ctx, const hwb_model *m, const char *name) {
    if (find(&m->parameters, name) >= 0 || find(&m->buffers, name) >= 0 ||
        find(&m->aliases, name) >= 0)
        return hwb_fail(ctx, HWB_EARG, "two tensors of the model are called \"%s\"", name);
    return HWB_OK;
}

hwb_status hwb_model_add_parameter(hwb_ctx *ctx, hwb_model *m, const char *name, hwb_tensor *t) {
    HWB_TRY(check_name(ctx, m, name));
    if (!hwb_dtype_is_float(hwb_tensor_dtype(t)))
        return hwb_fail(ctx, HWB_EDTYPE, "parameter \"%s\" is %s; parameters are floats", name,
                        hwb_dtype_name(hwb_tensor_dtype(t)));
    for (int i = 0; i < m->parameters.count; i++)
        if (m->parameters.at[i].t == t) return append(ctx, &m->aliases, name, t);
    return append(ctx, &m->parameters, name, t);
}

hwb_status hwb_model_add_buffer(hwb_ctx *ctx, hwb_model *m, const char *name, hwb_tensor *t) {
    HWB_TRY(check_name(ctx, m, name));
    return append(ctx, &m->buffers, name, t);
}

int hwb_model_parameter_count(const hwb_model *m) {
    return m->parameters.count;
}
int hwb_model_buffer_count(const hwb_model *m) {
    return m->buffers.count;
}

hwb_tensor *hwb_model_parameter(const hwb_model *m, int i, const char **name) {
    if (name) *name = m->parameters.at[i].name;
    return m->parameters.at[i].t;
}

hwb_tensor *hwb_model_buffer(const hwb_model *m, int i, const char **name) {
    if (name) *name = m->buffers.at[i].name;
    return m->buffers.at[i].t;
}

int hwb_model_find(const hwb_model *m, const char *name) {
    int i = find(&m->parameters, name), a = i < 0 ? find(&m->aliases, name) : -1;
    for (int k = 0; a >= 0 && k < m->parameters.count; k++)
        if (m->parameters.at[k].t == m->aliases.at[a].t) i = k;
    return i;
}

int64_t hwb_model_offset(const hwb_model *m, int i) {
    int64_t n = 0;
    for (int k = 0; k < i; k++) n += hwb_tensor_numel(m->parameters.at[k].t);
    return n;
}

int64_t hwb_model_num_parameters(const hwb_model *m) {
    return hwb_model_offset(m, m->parameters.count);
}

hwb_dtype hwb_model_dtype(const hwb_model *m) {
    return m->parameters.count ? hwb_tensor_dtype(m->parameters.at[0].t) : HWB_F32;
}

static hwb_status replace(hwb_ctx *ctx, hwb_model *m, hwb__named_list *l, int i, hwb_tensor *t) {
    char want[HWB_SHAPE_TEXT], got[HWB_SHAPE_TEXT];
    hwb_tensor *old = l->at[i].t;
    if (!hwb_shape_equal(hwb_tensor_shape(old), hwb_tensor_shape(t)))
        return hwb_fail(ctx, HWB_ESHAPE, "\"%s\" is %s, not %s", l->at[i].name,
                        hwb_shape_text(hwb_tensor_shape(old), want),
                        hwb_shape_text(hwb_tensor_shape(t), got));
    for (int a = 0; a < m->aliases.count; a++) {
        if (m->aliases.at[a].t != old) continue;
        m->aliases.at[a].t = hwb_tensor_retain(t);
        hwb_tensor_release(old);
    }
    l->at[i].t = hwb_tensor_retain(t);
    hwb_tensor_release(old);
    hwb_model_changed(m);
    return HWB_OK;
}

hwb_status hwb_model_set_parameter(hwb_ctx *ctx, hwb_model *m, int i, hwb_tensor *t) {
    return replace(ctx, m, &m->parameters, i, t);
}

hwb_status hwb_model_set_buffer(hwb_ctx *ctx, hwb_model *m, int i, hwb_tensor *t) {
    return replace(ctx, m, &m->buffers, i, t);
}

/* The part of `flat` that parameter i takes, in its shape: a view. */
static hwb_status part_of(hwb_ctx *ctx, const hwb_model *m, hwb_tensor *flat, int i,
                          hwb_tensor **out) {
    hwb_tensor *p = m->parameters.at[i].t, *cut;
    HWB_TRY(hwb_tensor_slice(ctx, &cut, flat, 0, hwb_model_offset(m, i), hwb_tensor_numel(p), 1));
    hwb_status st = hwb_tensor_reshape(ctx, out, cut, *hwb_tensor_shape(p));
    hwb_tensor_release(cut);
    return st;
}

hwb_status hwb_model_flatten(hwb_ctx *ctx, const hwb_model *m, hwb_tensor **out) {
    hwb_tensor *flat, *part;
    hwb_shape s = {.ndim = 1, .dim = {hwb_model_num_parameters(m)}};
    HWB_TRY(hwb_tensor_new(ctx, &flat, hwb_model_dtype(m), s));
    for (int i = 0; i < m->parameters.count; i++) {
        hwb_status st = part_of(ctx, m, flat, i, &part);
        if (st == HWB_OK) {
            st = hwb_tensor_copy(ctx, part, m->parameters.at[i].t);
            hwb_tensor_release(part);
        }
        if (st != HWB_OK) {
            hwb_tensor_release(flat);
            return st;
        }
    }
    *out = flat;
    return HWB_OK;
}

hwb_status hwb_model_assign(hwb_ctx *ctx, hwb_model *m, hwb_tensor *flat) {
    char got[HWB_SHAPE_TEXT];
    if (hwb_tensor_shape(flat)->ndim != 1 || hwb_tensor_numel(flat) != hwb_model_num_parameters(m))
        return hwb_fail(ctx, HWB_ESHAPE, "the model has %lld parameters, the vector is %s",
                        (long long)hwb_model_num_parameters(m),
                        hwb_shape_text(hwb_tensor_shape(flat), got));
    for (int i = 0; i < m->parameters.count; i++) {
        hwb_tensor *part;
        HWB_TRY(part_of(ctx, m, flat, i, &part));
        hwb_status st = hwb_tensor_copy(ctx, m->parameters.at[i].t, part);
        hwb_tensor_release(part);
        if (st != HWB_OK) return st;
    }
    return HWB_OK;
}

/* ---- tracing --------------------------------------------------------------------------- */

static hwb_status bind_list(hwb_graph *g, const hwb__named_list *l, hwb_id *ids) {
    for (int i = 0; i < l->count; i++) {
        hwb_tensor *t = l->at[i].t;
        hwb_id id;
        HWB_TRY(hwb_graph_input(g, &id, HWB_ROLE_PARAM, hwb_tensor_dtype(t), *hwb_tensor_shape(t),
                                l->at[i].name));
        HWB_TRY(hwb_graph_bind(g, id, t));
        if (ids) ids[i] = id;
    }
    return HWB_OK;
}

hwb_status hwb_model_trace_begin(hwb_ctx *ctx, hwb_model *m, hwb_tracing *out) {
    hwb_tracing t = {.x = HWB_NONE, .y = HWB_NONE, .n_parameters = m->parameters.count};
    t.parameters = malloc(((size_t)m->parameters.count + 1) * sizeof *t.parameters);
    if (!t.parameters) return oom(ctx);
    hwb_status st = hwb_graph_new(ctx, &t.graph);
    if (st == HWB_OK) st = bind_list(t.graph, &m->parameters, t.parameters);
    if (st == HWB_OK) st = bind_list(t.graph, &m->buffers, NULL);
    if (st == HWB_OK) *out = t;
    else hwb_tracing_free(&t);
    return st;
}

hwb_status hwb_model_trace_forward(hwb_ctx *ctx, hwb_model *m, hwb_tracing *t, hwb_dtype dtype,
                                   const hwb_shape *input, bool train) {
    (void)ctx;
    HWB_TRY(hwb_graph_input(t->graph, &t->x, HWB_ROLE_DATA, dtype, *input, "input"));
    return m->forward(m->user, t->graph, &t->y, t->x, train);
}

void hwb_tracing_free(hwb_tracing *t) {
    hwb_graph_release(t->graph);
    free(t->parameters);
    memset(t, 0, sizeof *t);
}

/* ---- the compiled forward pass ----------------------------------------------------------- */

static hwb_status compile_forward(hwb_ctx *ctx, hwb__forward *f, const hwb_tracing *t) {
    int n = hwb_graph_update_count(t->graph);
    hwb_id *outs = malloc(((size_t)n + 1) * sizeof *outs);
    f->buffers = calloc((size_t)n + 1, sizeof *f->buffers);
    if (!outs || !f->buffers) {
        free(outs);
        return oom(ctx);
    }
    outs[0] = t->y;
    for (int i = 0; i < n; i++)
        f->buffers[f->n_buffers++] =
            hwb_tensor_retain(hwb_graph_update_at(t->graph, i, &outs[i + 1]));
    hwb_status st = hwb_compile(ctx, &f->program, t->graph, n + 1, outs, NULL);
    free(outs);
    return st;
}

static hwb_status new_forward(hwb_ctx *ctx, hwb_model *m, hwb__forward *f) {
    hwb_tracing t;
    HWB_TRY(hwb_model_trace_begin(ctx, m, &t));
    hwb_status st = hwb_model_trace_forward(ctx, m, &t, f->dtype, &f->shape, f->train);
    f->x = t.x;
    if (st == HWB_OK) st = compile_forward(ctx, f, &t);
    hwb_tracing_free(&t);
    return st;
}

static hwb_status forward_for(hwb_ctx *ctx, hwb_model *m, hwb__forward **out, hwb_tensor *x,
                              bool train) {
    const hwb_shape *s = hwb_tensor_shape(x);
    for (int i = 0; i < m->n_forwards; i++) {
        hwb__forward *f = &m->forwards[i];
        if (hwb_shape_equal(&f->shape, s) && f->dtype == hwb_tensor_dtype(x) && f->train == train) {
            *out = f;
            return HWB_OK;
        }
    }
    hwb__forward f = {.shape = *s, .dtype = hwb_tensor_dtype(x), .train = train};
    hwb_status st = new_forward(ctx, m, &f);
    hwb__forward *list = m->forwards;
    if (st == HWB_OK && m->n_forwards < MAX_FORWARDS) {
        list = realloc(m->forwards, (size_t)(m->n_forwards + 1) * sizeof *list);
        if (list) {
            m->forwards = list;
            m->n_forwards++;
        } else {
            st = oom(ctx);
        }
    } else if (st == HWB_OK) { /* the oldest goes */
        free_forward(&list[0]);
        memmove(list, list + 1, (MAX_FORWARDS - 1) * sizeof *list);
    }
    if (st != HWB_OK) {
        free_forward(&f);
        return st;
    }
    list[m->n_forwards - 1] = f;
    *out = &list[m->n_forwards - 1];
    return HWB_OK;
}

hwb_status hwb_model_run(hwb_ctx *ctx, hwb_model *m, hwb_tensor **y, hwb_tensor *x, bool train) {
    hwb__forward *f = NULL;
    HWB_TRY(forward_for(ctx, m, &f, x, train));
    hwb_tensor **outs = calloc((size_t)f->n_buffers + 1, sizeof *outs);
    if (!outs) return oom(ctx);
    hwb_status st = hwb_program_set(ctx, f->program, f->x, x);
    if (st == HWB_OK) st = hwb_program_run(ctx, f->program, outs);
    for (int i = 0; st == HWB_OK && i < f->n_buffers; i++)
        st = hwb_tensor_copy(ctx, f->buffers[i], outs[i + 1]);
    for (int i = st == HWB_OK; i <= f->n_buffers; i++) hwb_tensor_release(outs[i]);
    if (st == HWB_OK) *y = outs[0];
    free(outs);
    return st;
}
