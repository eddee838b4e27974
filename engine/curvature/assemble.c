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
 */
#include "curvature/curvature_i.h"

#include "ad/ad.h"
#include "compile/compile_i.h"
#include "graph/build.h"

#include <stdlib.h>
#include <string.h>

/* The graph of one loss, and the nodes that derivatives are taken for. */
typedef struct assembly {
    hwb_ctx *ctx;
    hwb_curvature *c;
    hwb_tracing t;
    hwb_graph *g;
    hwb_id target, loss;
    int n; /* independent nodes */
    hwb_id *wrt;
    hwb_id *flat; /* scratch: n nodes */
    int64_t samples;
} assembly;

static hwb_status oom(hwb_ctx *ctx) {
    return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a curvature operator");
}

static void assembly_free(assembly *a) {
    hwb_tracing_free(&a->t);
    free(a->wrt);
    free(a->flat);
}

/* ---- the loss ------------------------------------------------------------------- */

static hwb_status loss_of(assembly *a, hwb_id *loss, bool reduce) {
    const hwb_curvature_options *o = &a->c->shared->o;
    return o->loss(o->loss_user, a->g, loss, a->t.y, a->target, reduce);
}

static hwb_status trace_loss(assembly *a, hwb_tensor *x, hwb_tensor *y) {
    hwb_curvature *c = a->c;
    hwb_model *m = c->shared->model;
    HWB_TRY(hwb_model_trace_begin(a->ctx, m, &a->t));
    a->g = a->t.graph;
    if (c->activation) HWB_TRY(hwb_graph_want_tap(a->g, c->name));
    HWB_TRY(hwb_model_trace_forward(a->ctx, m, &a->t, hwb_tensor_dtype(x), hwb_tensor_shape(x),
                                    c->shared->o.batch_norm_batch));
    HWB_TRY(hwb_graph_input(a->g, &a->target, HWB_ROLE_DATA, hwb_tensor_dtype(y),
                            *hwb_tensor_shape(y), "target"));
    a->samples = hwb_tensor_shape(x)->dim[0];
    HWB_TRY(loss_of(a, &a->loss, true));
    if (hwb_shape_numel(hwb_graph_shape(a->g, a->loss)) != 1)
        return hwb_fail(a->ctx, HWB_ESHAPE, "the loss must be one number");
    a->n = c->activation ? 1 : c->n_parameters;
    a->wrt = malloc(((size_t)a->n + 1) * sizeof *a->wrt);
    a->flat = malloc(((size_t)a->n + 1) * sizeof *a->flat);
    if (!a->wrt || !a->flat) return oom(a->ctx);
    for (int i = 0; !c->activation && i < a->n; i++) a->wrt[i] = a->t.parameters[c->parameters[i]];
    if (!c->activation) return HWB_OK;
    a->wrt[0] = hwb_graph_tap_input(a->g, c->name);
    if (a->wrt[0] == HWB_NONE)
        return hwb_fail(a->ctx, HWB_EARG, "the forward pass marks no activation called \"%s\"",
                        c->name);
    return HWB_OK;
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
        for (int i = 0; i < a->n; i++) a->wrt[i] = map[a->wrt[i]];
    }
    free(map);
    return st;
}

/* ---- flat vectors ------------------------------------------------------------------ */

/* v[1,n] -> one node a parameter, of its shape */
static hwb_status cut(assembly *a, hwb_id v, hwb_id *parts) {
    int64_t at = 0;
    for (int i = 0; i < a->n; i++) {
        const hwb_shape s = *hwb_graph_shape(a->g, a->wrt[i]);
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

/* One node a parameter (HWB_NONE = zero; overwritten) -> [1,n] */
static hwb_status join(assembly *a, hwb_id *parts, hwb_id *out) {
    for (int i = 0; i < a->n; i++) {
        hwb_shape row = {.ndim = 2, .dim = {1, -1}};
        if (parts[i] == HWB_NONE) HWB_TRY(hwb_zeros_like(a->g, &parts[i], a->wrt[i]));
        HWB_TRY(hwb_reshape(a->g, &parts[i], parts[i], row));
    }
    HWB_TRY(concat_rows(a, a->n, parts));
    *out = parts[0];
    return HWB_OK;
}

/* ---- the three operators -------------------------------------------------------------- */

static hwb_status hessian(assembly *a, const hwb_id *tangents, hwb_id *out) {
    HWB_TRY(hwb_vjp(a->g, 1, &a->loss, NULL, a->n, a->wrt, a->flat));
    hwb_id *grads = malloc(((size_t)a->n + 1) * sizeof *grads);
    if (!grads) return oom(a->ctx);
    hwb_status st = HWB_OK;
    for (int i = 0; i < a->n && st == HWB_OK; i++) {
        grads[i] = a->flat[i];
        if (grads[i] == HWB_NONE) st = hwb_zeros_like(a->g, &grads[i], a->wrt[i]);
    }
    if (st == HWB_OK) st = hwb_jvp(a->g, a->n, a->wrt, tangents, a->n, grads, a->flat);
    free(grads);
    if (st == HWB_OK) st = join(a, a->flat, out);
    return st;
}

static hwb_status pull_back(assembly *a, hwb_id cotangent, hwb_id *out) {
    if (cotangent == HWB_NONE) {
        for (int i = 0; i < a->n; i++) a->flat[i] = HWB_NONE;
    } else {
        HWB_TRY(hwb_vjp(a->g, 1, &a->t.y, &cotangent, a->n, a->wrt, a->flat));
    }
    return join(a, a->flat, out);
}

static hwb_status gauss_newton(assembly *a, const hwb_id *tangents, hwb_id *out) {
    hwb_id dz, gz, h = HWB_NONE;
    HWB_TRY(hwb_jvp(a->g, a->n, a->wrt, tangents, 1, &a->t.y, &dz));
    HWB_TRY(hwb_vjp(a->g, 1, &a->loss, NULL, 1, &a->t.y, &gz));
    if (dz != HWB_NONE && gz != HWB_NONE) HWB_TRY(hwb_jvp(a->g, 1, &a->t.y, &dz, 1, &gz, &h));
    return pull_back(a, h, out);
}

static hwb_status fisher(assembly *a, const hwb_id *tangents, hwb_id *out) {
    hwb_id dz, each, total, r = HWB_NONE, s;
    HWB_TRY(hwb_jvp(a->g, a->n, a->wrt, tangents, 1, &a->t.y, &dz));
    HWB_TRY(loss_of(a, &each, false));
    HWB_TRY(hwb_sum(a->g, &total, each, 0, false));
    HWB_TRY(hwb_vjp(a->g, 1, &total, NULL, 1, &a->t.y, &r));
    if (dz == HWB_NONE || r == HWB_NONE) return pull_back(a, HWB_NONE, out);
    HWB_TRY(hwb_mul(a->g, &s, r, dz));
    uint32_t rest = ((1u << hwb_graph_shape(a->g, s)->ndim) - 1u) & ~1u;
    if (rest) HWB_TRY(hwb_sum(a->g, &s, s, rest, true));
    HWB_TRY(hwb_mul(a->g, &r, r, s));
    HWB_TRY(hwb_mul_scalar(a->g, &r, r, 1.0 / (double)a->samples));
    return pull_back(a, r, out);
}

/* ---- programs ----------------------------------------------------------------------------- */

static hwb_status operator_graph(assembly *a, int64_t k, hwb_id *v, hwb_id *out) {
    int64_t n = 0;
    for (int i = 0; i < a->n; i++) n += hwb_shape_numel(hwb_graph_shape(a->g, a->wrt[i]));
    hwb_dtype dtype = hwb_graph_dtype(a->g, a->wrt[0]);
    hwb_shape one = {.ndim = 2, .dim = {1, n}}, many = {.ndim = 2, .dim = {k, n}};
    hwb_id single, *parts = malloc(((size_t)a->n + 1) * sizeof *parts);
    hwb_status st = parts ? HWB_OK : oom(a->ctx);
    if (st == HWB_OK) st = hwb_graph_input(a->g, &single, HWB_ROLE_TANGENT, dtype, one, "vector");
    if (st == HWB_OK) st = cut(a, single, parts);
    if (st == HWB_OK) {
        switch (a->c->shared->o.kind) {
        case HWB_HESSIAN: st = hessian(a, parts, out); break;
        case HWB_GGN: st = gauss_newton(a, parts, out); break;
        case HWB_FISHER: st = fisher(a, parts, out); break;
        }
    }
    free(parts);
    *v = single;
    if (st != HWB_OK || k == 1) return st;
    HWB_TRY(hwb_graph_input(a->g, v, HWB_ROLE_TANGENT, dtype, many, "vectors"));
    hwb_shape lead = {.ndim = 3, .dim = {k, 1, n}};
    hwb_id batched;
    HWB_TRY(hwb_reshape(a->g, &batched, *v, lead));
    HWB_TRY(hwb_batch(a->g, k, 1, &single, &batched, 1, out, out));
    return hwb_reshape(a->g, out, *out, many);
}

static hwb_status build(assembly *a, int64_t k, hwb__cached *out) {
    hwb_id outs[2];
    int n_out = 1;
    if (k == HWB__LOSS_ONLY) {
        outs[0] = a->loss;
        out->v = HWB_NONE;
    } else if (k == 0) {
        HWB_TRY(hwb_vjp(a->g, 1, &a->loss, NULL, a->n, a->wrt, a->flat));
        HWB_TRY(join(a, a->flat, &outs[1]));
        outs[0] = a->loss;
        n_out = 2;
        out->v = HWB_NONE;
    } else {
        HWB_TRY(operator_graph(a, k, &out->v, &outs[0]));
    }
    out->x = a->t.x;
    out->y = a->target;
    out->tap = a->c->activation ? a->wrt[0] : HWB_NONE;
    return hwb_compile(a->ctx, &out->program, a->g, n_out, outs, NULL);
}

/* An activation's zero input has to be given a value. */
static hwb_status give_zero_tap(assembly *a, hwb__cached *out) {
    hwb_tensor *zero;
    if (out->tap == HWB_NONE || hwb_graph_op(a->g, out->tap) != HWB_OP_INPUT) return HWB_OK;
    HWB_TRY(hwb_tensor_zeros(a->ctx, &zero, hwb_graph_dtype(a->g, out->tap),
                             *hwb_graph_shape(a->g, out->tap)));
    hwb_status st = hwb_program_set(a->ctx, out->program, out->tap, zero);
    hwb_tensor_release(zero);
    return st;
}

hwb_status hwb__assemble(hwb_ctx *ctx, hwb_curvature *c, int64_t k, hwb_tensor *x, hwb_tensor *y,
                         hwb__cached *out) {
    assembly a = {.ctx = ctx, .c = c};
    hwb__cached r = {.x_shape = *hwb_tensor_shape(x),
                     .y_shape = *hwb_tensor_shape(y),
                     .x_dtype = hwb_tensor_dtype(x),
                     .y_dtype = hwb_tensor_dtype(y),
                     .k = k};
    hwb_status st = trace_loss(&a, x, y);
    if (st == HWB_OK) st = fold_norms(&a);
    if (st == HWB_OK) st = build(&a, k, &r);
    if (st == HWB_OK) st = give_zero_tap(&a, &r);
    if (st == HWB_OK && c->activation) c->tap_shape = *hwb_graph_shape(a.g, a.wrt[0]);
    assembly_free(&a);
    if (st == HWB_OK) *out = r;
    else hwb_program_release(r.program);
    return st;
}
