/*
 * assemble.c: the programs behind an operator, as rewrites of the traced loss.
 *
 *   Hessian   g = vjp(loss; p)          Hv = jvp(g; p -> v)
 *   GGN       z' = jvp(z; p -> v)       h = jvp(vjp(loss; z); z -> z')
 *             Gv = vjp(z; p) h
 *   Fisher    r = vjp(sum of losses; z) Fv = vjp(z; p) r (r . z') / N
 *
 * and batch(K) over the tangent input v[K,n] at the end.  Flat vectors are cut
 * into parameters, and results joined, inside the graph.
 *
 * All members of a family are outputs of one graph, each with a tangent input of its
 * own (hwb_role).  Nodes are hash-consed, so their primal parts are the same nodes.
 */
#include "curvature/curvature_i.h"

#include "ad/ad.h"
#include "compile/compile_i.h"
#include "graph/build.h"

#include <stdlib.h>
#include <string.h>

/* The nodes that a member's derivatives are taken for. */
typedef struct target {
    int n;
    hwb_id *wrt;  /* [n] */
    hwb_id *grad; /* [n] Hessian: the gradient with respect to them */
    hwb_id *flat; /* [n] scratch */
} target;

/* The graph of one loss. */
typedef struct assembly {
    hwb_ctx *ctx;
    hwb__family *f;
    hwb__shared *s;
    hwb_tracing t;
    hwb_graph *g;
    hwb_id target, loss;
    int64_t samples;
    int n, first;      /* members first.. of the family */
    target *members;   /* [n] */
    int total;         /* all their nodes: */
    hwb_id *wrt, *all; /* [total], and another array as long */
} assembly;

static hwb_status oom(hwb_ctx *ctx) {
    return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a curvature operator");
}

static void assembly_free(assembly *a) {
    hwb_tracing_free(&a->t);
    free(a->members);
    free(a->wrt);
}

/* ---- the loss ------------------------------------------------------------------- */

static hwb_status loss_of(assembly *a, hwb_id *loss, bool reduce) {
    const hwb_curvature_options *o = &a->s->o;
    return o->loss(o->loss_user, a->g, loss, a->t.y, a->target, reduce);
}

/* One array for all members' nodes, three parts long. */
static hwb_status make_members(assembly *a) {
    a->members = calloc((size_t)a->n, sizeof *a->members);
    if (!a->members) return oom(a->ctx);
    for (int i = 0; i < a->n; i++) {
        const hwb__member *m = &a->f->member[a->first + i];
        a->members[i].n = m->activation ? 1 : m->n_parameters;
        a->total += a->members[i].n;
    }
    size_t total = (size_t)a->total;
    a->wrt = malloc((3 * total + 1) * sizeof *a->wrt);
    if (!a->wrt) return oom(a->ctx);
    a->all = a->wrt + total;
    for (int i = 0, at = 0; i < a->n; at += a->members[i++].n) {
        target *t = &a->members[i];
        t->wrt = a->wrt + at;
        t->grad = a->all + at;
        t->flat = a->wrt + 2 * total + at;
    }
    return HWB_OK;
}

static hwb_status find_members(assembly *a) {
    for (int i = 0; i < a->n; i++) {
        const hwb__member *m = &a->f->member[a->first + i];
        hwb_id *wrt = a->members[i].wrt;
        for (int j = 0; j < m->n_parameters; j++) wrt[j] = a->t.parameters[m->parameters[j]];
        if (!m->activation) continue;
        wrt[0] = hwb_graph_tap_input(a->g, m->name);
        if (wrt[0] == HWB_NONE)
            return hwb_fail(a->ctx, HWB_EARG, "the forward pass marks no activation called \"%s\"",
                            m->name);
    }
    return HWB_OK;
}

static hwb_status trace_loss(assembly *a, hwb_tensor *x, hwb_tensor *y) {
    hwb__shared *s = a->s;
    HWB_TRY(make_members(a));
    HWB_TRY(hwb_model_trace_begin(a->ctx, s->model, &a->t));
    a->g = a->t.graph;
    for (int i = a->first; i < a->first + a->n; i++)
        if (a->f->member[i].activation) HWB_TRY(hwb_graph_want_tap(a->g, a->f->member[i].name));
    a->samples = hwb_tensor_shape(x)->dim[0];
    if (s->spread) hwb_graph_spread(a->g, hwb_comm_where(a->ctx).size, a->samples, s->samples);
    HWB_TRY(hwb_model_trace_forward(a->ctx, s->model, &a->t, hwb_tensor_dtype(x),
                                    hwb_tensor_shape(x), s->o.batch_norm_batch));
    HWB_TRY(hwb_graph_input(a->g, &a->target, HWB_ROLE_DATA, hwb_tensor_dtype(y),
                            *hwb_tensor_shape(y), "target"));
    HWB_TRY(loss_of(a, &a->loss, true));
    if (s->spread) { /* this rank's term of the loss over all samples */
        double share = (double)a->samples / (double)s->samples;
        HWB_TRY(hwb_mul_scalar(a->g, &a->loss, a->loss, share));
        a->samples = s->samples;
    }
    if (hwb_shape_numel(hwb_graph_shape(a->g, a->loss)) != 1)
        return hwb_fail(a->ctx, HWB_ESHAPE, "the loss must be one number");
    return find_members(a);
}

/* Batch-norms go into the convolutions before derivatives are taken. */
static hwb_status fold_norms(assembly *a) {
    hwb_graph *g = NULL;
    hwb_id keep[2] = {a->loss, a->t.y}, *map = malloc((size_t)a->g->count * sizeof *map);
    if (!map) return oom(a->ctx);
    hwb_status st = hwb__fold_norm(a->g, &g, 2, keep, map);
    if (st == HWB_OK) {
        hwb_graph_release(a->g);
        a->g = a->t.graph = g;
        a->loss = keep[0];
        a->t.y = keep[1];
        a->t.x = map[a->t.x];
        a->target = map[a->target];
        for (int i = 0; i < a->t.n_parameters; i++) a->t.parameters[i] = map[a->t.parameters[i]];
        for (int i = 0; i < a->total; i++) a->wrt[i] = map[a->wrt[i]];
    }
    free(map);
    return st;
}

/* ---- flat vectors ------------------------------------------------------------------ */

/* v[1,n] -> one node a parameter, of its shape */
static hwb_status cut(assembly *a, const target *t, hwb_id v, hwb_id *parts) {
    int64_t at = 0;
    for (int i = 0; i < t->n; i++) {
        const hwb_shape s = *hwb_graph_shape(a->g, t->wrt[i]);
        int64_t len = hwb_shape_numel(&s);
        HWB_TRY(hwb_slice(a->g, &parts[i], v, 1, at, len, 1));
        HWB_TRY(hwb_reshape(a->g, &parts[i], parts[i], s));
        at += len;
    }
    return HWB_OK;
}

/* Rows [1,n_i] side by side, in place of the list: a node has at most 64 inputs,
 * so long lists are joined by 64, and then the joints. */
static hwb_status concat_rows(assembly *a, int n, hwb_id *rows) {
    enum { MOST = 64 };
    while (n > 1) {
        int joints = 0;
        for (int i = 0; i < n; i += MOST) {
            int k = n - i < MOST ? n - i : MOST;
            HWB_TRY(hwb_concat(a->g, &rows[joints++], k, rows + i, 1));
        }
        n = joints;
    }
    return HWB_OK;
}

/* One node a parameter in t->flat (HWB_NONE = zero; overwritten) -> [1,n] */
static hwb_status join(assembly *a, const target *t, hwb_id *out) {
    for (int i = 0; i < t->n; i++) {
        hwb_shape row = {.ndim = 2, .dim = {1, -1}};
        if (t->flat[i] == HWB_NONE) HWB_TRY(hwb_zeros_like(a->g, &t->flat[i], t->wrt[i]));
        HWB_TRY(hwb_reshape(a->g, &t->flat[i], t->flat[i], row));
    }
    HWB_TRY(concat_rows(a, t->n, t->flat));
    *out = t->flat[0];
    return HWB_OK;
}

/* ---- the three operators -------------------------------------------------------------- */

/* The gradient with respect to all members' nodes, into their `grad`. */
static hwb_status gradients(assembly *a) {
    HWB_TRY(hwb_vjp(a->g, 1, &a->loss, NULL, a->total, a->wrt, a->all));
    for (int i = 0; i < a->total; i++)
        if (a->all[i] == HWB_NONE) HWB_TRY(hwb_zeros_like(a->g, &a->all[i], a->wrt[i]));
    return HWB_OK;
}

static hwb_status hessian(assembly *a, const target *t, const hwb_id *tangents, hwb_id *out) {
    HWB_TRY(hwb_jvp(a->g, t->n, t->wrt, tangents, t->n, t->grad, t->flat));
    return join(a, t, out);
}

static hwb_status pull_back(assembly *a, const target *t, hwb_id cotangent, hwb_id *out) {
    if (cotangent == HWB_NONE) {
        for (int i = 0; i < t->n; i++) t->flat[i] = HWB_NONE;
    } else {
        HWB_TRY(hwb_vjp(a->g, 1, &a->t.y, &cotangent, t->n, t->wrt, t->flat));
    }
    return join(a, t, out);
}

static hwb_status gauss_newton(assembly *a, const target *t, const hwb_id *tangents, hwb_id *out) {
    hwb_id dz, gz, h = HWB_NONE;
    HWB_TRY(hwb_jvp(a->g, t->n, t->wrt, tangents, 1, &a->t.y, &dz));
    HWB_TRY(hwb_vjp(a->g, 1, &a->loss, NULL, 1, &a->t.y, &gz));
    if (dz != HWB_NONE && gz != HWB_NONE) HWB_TRY(hwb_jvp(a->g, 1, &a->t.y, &dz, 1, &gz, &h));
    return pull_back(a, t, h, out);
}

static hwb_status fisher(assembly *a, const target *t, const hwb_id *tangents, hwb_id *out) {
    hwb_id dz, each, total, r = HWB_NONE, s;
    HWB_TRY(hwb_jvp(a->g, t->n, t->wrt, tangents, 1, &a->t.y, &dz));
    HWB_TRY(loss_of(a, &each, false));
    HWB_TRY(hwb_sum(a->g, &total, each, 0, false));
    HWB_TRY(hwb_vjp(a->g, 1, &total, NULL, 1, &a->t.y, &r));
    if (dz == HWB_NONE || r == HWB_NONE) return pull_back(a, t, HWB_NONE, out);
    HWB_TRY(hwb_mul(a->g, &s, r, dz));
    uint32_t rest = ((1u << hwb_graph_shape(a->g, s)->ndim) - 1u) & ~1u;
    if (rest) HWB_TRY(hwb_sum(a->g, &s, s, rest, true));
    HWB_TRY(hwb_mul(a->g, &r, r, s));
    HWB_TRY(hwb_mul_scalar(a->g, &r, r, 1.0 / (double)a->samples));
    return pull_back(a, t, r, out);
}

/* ---- programs ----------------------------------------------------------------------------- */

/* The product of member i: with v[1,n], then with v[k,n] for the same role. */
static hwb_status operator_graph(assembly *a, int i, int64_t k, hwb_id *v, hwb_id *out) {
    const target *t = &a->members[i];
    hwb_role role = (hwb_role)(HWB_ROLE_TANGENT + i);
    int64_t n = 0;
    for (int j = 0; j < t->n; j++) n += hwb_shape_numel(hwb_graph_shape(a->g, t->wrt[j]));
    hwb_dtype dtype = hwb_graph_dtype(a->g, t->wrt[0]);
    hwb_shape one = {.ndim = 2, .dim = {1, n}}, many = {.ndim = 2, .dim = {k, n}};
    hwb_id single, *parts = malloc(((size_t)t->n + 1) * sizeof *parts);
    hwb_status st = parts ? HWB_OK : oom(a->ctx);
    if (st == HWB_OK) st = hwb_graph_input(a->g, &single, role, dtype, one, "vector");
    if (st == HWB_OK) st = cut(a, t, single, parts);
    if (st == HWB_OK) {
        switch (a->s->o.kind) {
        case HWB_HESSIAN: st = hessian(a, t, parts, out); break;
        case HWB_GGN: st = gauss_newton(a, t, parts, out); break;
        case HWB_FISHER: st = fisher(a, t, parts, out); break;
        }
    }
    free(parts);
    if (st != HWB_OK) return st;
    *v = single;
    if (k == 1) return HWB_OK;
    HWB_TRY(hwb_graph_input(a->g, v, role, dtype, many, "vectors"));
    hwb_shape lead = {.ndim = 3, .dim = {k, 1, n}};
    hwb_id batched;
    HWB_TRY(hwb_reshape(a->g, &batched, *v, lead));
    HWB_TRY(hwb_batch(a->g, k, 1, &single, &batched, 1, out, out));
    return hwb_reshape(a->g, out, *out, many);
}

static hwb_status products_graph(assembly *a, int64_t k, hwb__cached *out, hwb_id *outs) {
    out->v = malloc((size_t)a->n * sizeof *out->v);
    if (!out->v) return oom(a->ctx);
    if (a->s->o.kind == HWB_HESSIAN) HWB_TRY(gradients(a));
    for (int i = 0; i < a->n; i++) HWB_TRY(operator_graph(a, i, k, &out->v[i], &outs[i]));
    return HWB_OK;
}

static hwb_status build(assembly *a, int64_t k, hwb__cached *out) {
    int n_out = a->n;
    hwb_id *outs = malloc(((size_t)a->n + 1) * sizeof *outs);
    if (!outs) return oom(a->ctx);
    hwb_status st = HWB_OK;
    outs[0] = a->loss;
    if (k == 0) {
        st = hwb_vjp(a->g, 1, &a->loss, NULL, a->total, a->wrt, a->members[0].flat);
        if (st == HWB_OK) st = join(a, &a->members[0], &outs[1]);
        n_out = 2;
    } else if (k > 0) {
        st = products_graph(a, k, out, outs);
    }
    out->x = a->t.x;
    out->y = a->target;
    if (st == HWB_OK) st = hwb_compile(a->ctx, &out->program, a->g, n_out, outs, NULL);
    free(outs);
    return st;
}

hwb_status hwb__assemble(hwb_ctx *ctx, hwb__family *f, int only, int64_t k, hwb_tensor *x,
                         hwb_tensor *y, hwb__cached *out) {
    assembly a = {.ctx = ctx, .f = f, .s = f->shared, .n = f->n};
    hwb__cached r = {.x_shape = *hwb_tensor_shape(x),
                     .y_shape = *hwb_tensor_shape(y),
                     .x_dtype = hwb_tensor_dtype(x),
                     .y_dtype = hwb_tensor_dtype(y),
                     .k = k};
    if (k < 1) {
        a.first = only;
        a.n = 1;
    }
    hwb_status st = trace_loss(&a, x, y);
    if (st == HWB_OK) st = fold_norms(&a);
    if (st == HWB_OK) st = build(&a, k, &r);
    assembly_free(&a);
    if (st == HWB_OK) *out = r;
    else free(r.v);
    return st;
}

hwb_status hwb__find_activations(hwb_ctx *ctx, hwb__family *f) {
    assembly a = {.ctx = ctx, .f = f, .s = f->shared, .n = f->n};
    hwb_status st = trace_loss(&a, f->shared->x, f->shared->y);
    for (int i = 0; st == HWB_OK && i < f->n; i++)
        f->member[i].n = hwb_shape_numel(hwb_graph_shape(a.g, a.members[i].wrt[0]));
    assembly_free(&a);
    return st;
}
