/*
 * program.c: compiling: passes, plan, kernels.
 */
#include "exec/exec_i.h"

#include <stdlib.h>
#include <string.h>

static hwb_status oom(hwb_ctx *ctx) {
    return hwb_fail(ctx, HWB_ENOMEM, "out of memory while compiling");
}

/* ---- passes -------------------------------------------------------------------- */

/* Run one rebuilding pass; `external` follows the inputs through it. */
typedef hwb_status (*pass_fn)(hwb_graph *, hwb_graph **, int, hwb_id *, hwb_id *);

static hwb_status run_pass(hwb_ctx *ctx, pass_fn pass, hwb_graph **g, int n_out, hwb_id *outputs,
                           int n_external, hwb_id *external) {
    hwb_id *map = malloc((size_t)((*g)->count + 1) * sizeof *map);
    hwb_graph *next;
    if (!map) return oom(ctx);
    hwb_status st = pass(*g, &next, n_out, outputs, map);
    for (int i = 0; st == HWB_OK && i < n_external; i++)
        if (external[i] != HWB_NONE) external[i] = map[external[i]];
    free(map);
    if (st != HWB_OK) return st;
    hwb_graph_release(*g);
    *g = next;
    return HWB_OK;
}

/* Simplified twice: rules meet results of other rules (a broadcast that sank, say). */
static hwb_status rewrite(hwb_ctx *ctx, hwb_program *p, hwb_graph *g, int n_out, hwb_id *outputs,
                          const hwb_compile_options *o) {
    int n = g->count;
    p->n_external = n;
    p->external = malloc(((size_t)n + 1) * sizeof *p->external);
    if (!p->external) return oom(ctx);
    for (int i = 0; i < n; i++) p->external[i] = g->nodes[i]->op == HWB_OP_INPUT ? i : HWB_NONE;
    p->graph = hwb_graph_retain(g);
    HWB_TRY(run_pass(ctx, hwb__fold_norm, &p->graph, n_out, outputs, n, p->external));
    HWB_TRY(run_pass(ctx, hwb__simplify, &p->graph, n_out, outputs, n, p->external));
    HWB_TRY(run_pass(ctx, hwb__simplify, &p->graph, n_out, outputs, n, p->external));
    if (!p->device->backend->channels_last || o->no_layout) return HWB_OK;
    HWB_TRY(run_pass(ctx, hwb__channels_last, &p->graph, n_out, outputs, n, p->external));
    return run_pass(ctx, hwb__simplify, &p->graph, n_out, outputs, n, p->external);
}

static hwb_status run_passes(hwb_ctx *ctx, hwb_program *p, hwb_graph *g, int n_out, hwb_id *outputs,
                             const hwb_compile_options *o) {
    HWB_TRY(rewrite(ctx, p, g, n_out, outputs, o));
    if (!hwb__has_allreduce(p->graph)) return HWB_OK;
    return run_pass(ctx, hwb__order_allreduce, &p->graph, n_out, outputs, p->n_external,
                    p->external);
}

/* ---- kernels ----------------------------------------------------------------------- */

void hwb__describe_step(const hwb_program *p, int k, hwb_kdesc *d) {
    const hwb__step *s = &p->plan->steps[k];
    memset(d, 0, sizeof *d);
    d->op = s->op;
    d->attrs = p->graph->nodes[s->node]->attrs;
    d->attrs.role = 0; /* of a value computed again: no matter of the kernel */
    d->attrs.key = 0;
    d->n_in = s->n_in;
    d->n_out = s->n_out;
    d->in = s->in_desc;
    d->out = s->out_desc;
    d->fused = s->fused;
    d->stable = s->stable;
    d->exact = s->exact;
    d->scope = hwb_graph_scope(p->graph, s->node);
}

static hwb_status prepare(hwb_ctx *ctx, hwb_program *p, hwb__sharing *sharing, int k) {
    const hwb__step *s = &p->plan->steps[k];
    hwb__kernel_slot *slot = &p->slots[k];
    hwb_kdesc d;
    hwb__describe_step(p, k, &d);
    slot->device = p->device;
    int twin = s->op == HWB_OP_ALLREDUCE ? -1 : hwb__sharing_find(sharing, k);
    if (twin >= 0) slot->device = p->slots[twin].device;
    else if (s->op != HWB_OP_ALLREDUCE && !p->device->backend->supports(p->device->state, &d)) {
        if (!p->device->backend->host)
            return hwb_fail(ctx, HWB_EUNSUPPORTED, "%s has no kernel for %s of %s",
                            p->device->backend->name, hwb_op_name(s->op),
                            hwb_dtype_name(s->out_desc[0].dtype));
        slot->device = p->ref;
    }
    slot->in = calloc((size_t)s->n_in + 1, sizeof *slot->in);
    slot->out = calloc((size_t)s->n_out + 1, sizeof *slot->out);
    slot->versions = calloc((size_t)s->n_in + 1, sizeof *slot->versions);
    if (!slot->in || !slot->out || !slot->versions) return oom(ctx);
    if (s->op == HWB_OP_ALLREDUCE) return HWB_OK; /* sum_ranks.c does it */
    if (twin >= 0) {
        slot->kernel = p->slots[twin].kernel;
        slot->shared = true;
        return HWB_OK;
    }
    p->info.prepared++;
    hwb_status st = slot->device->backend->prepare(ctx, slot->device->state, &slot->kernel, &d);
    if (st == HWB_OK) return HWB_OK;
    return hwb_fail_in(ctx, st, "preparing %s", hwb_op_name(s->op));
}

/* ---- leaves ------------------------------------------------------------------------- */

static hwb_status feed_from_node(hwb_ctx *ctx, hwb__feed *f, const hwb_graph *g, hwb_id id) {
    const hwb__node *n = g->nodes[id];
    f->external = id;
    f->role = n->op == HWB_OP_INPUT ? (uint16_t)n->attrs.role : 0;
    f->name = strdup(n->name ? n->name : "");
    if (!f->name) return oom(ctx);
    f->classes = n->classes;
    f->class_shift = n->class_shift;
    if (n->op == HWB_OP_FILL) {
        HWB_TRY(hwb_tensor_new(ctx, &f->given, n->dtype, n->shape));
        return hwb_tensor_fill(ctx, f->given, n->attrs.value);
    }
    f->given = n->tensor ? hwb_tensor_retain(n->tensor) : NULL;
    return HWB_OK;
}

static hwb_status make_feeds(hwb_ctx *ctx, hwb_program *p) {
    p->feeds = calloc((size_t)p->plan->n_leaves + 1, sizeof *p->feeds);
    if (!p->feeds) return oom(ctx);
    for (int i = 0; i < p->plan->n_leaves; i++)
        HWB_TRY(feed_from_node(ctx, &p->feeds[i], p->graph, p->plan->leaves[i].node));
    for (int e = 0; e < p->n_external; e++) { /* user ids now name leaves */
        hwb_id inner = p->external[e];
        p->external[e] = -1;
        for (int i = 0; inner != HWB_NONE && i < p->plan->n_leaves; i++)
            if (p->plan->leaves[i].node == inner) p->external[e] = i;
    }
    return HWB_OK;
}

/* ---- stages, slots --------------------------------------------------------------------- */

/* Steps come in the order of their stages. */
static hwb_status make_stages(hwb_ctx *ctx, hwb_program *p) {
    p->n_stages = p->plan->last_stage + 1;
    for (int i = 0; i < p->plan->n_leaves; i++)
        if (p->feeds[i].role >= p->n_stages) p->n_stages = p->feeds[i].role + 1;
    if (p->n_stages < HWB_ROLE_COUNT) p->n_stages = HWB_ROLE_COUNT;
    p->stages = calloc((size_t)p->n_stages, sizeof *p->stages);
    if (!p->stages) {
        p->n_stages = 0;
        return oom(ctx);
    }
    for (int s = 0, k = 0; s < p->n_stages; s++) {
        p->stages[s].first = k;
        while (k < p->plan->n_steps && p->plan->steps[k].stage == s) k++;
        p->stages[s].end = k;
    }
    return HWB_OK;
}

static hwb_status make_kernels(hwb_ctx *ctx, hwb_program *p) {
    hwb__sharing *sharing = NULL;
    p->slots = calloc((size_t)p->plan->n_steps + 1, sizeof *p->slots);
    p->results = calloc((size_t)p->plan->n_outputs + 1, sizeof *p->results);
    if (!p->slots || !p->results) return oom(ctx);
    hwb_status st = hwb__sharing_new(ctx, p, &sharing);
    for (int k = 0; st == HWB_OK && k < p->plan->n_steps; k++) st = prepare(ctx, p, sharing, k);
    hwb__sharing_free(sharing);
    return st;
}

/* ---- all of it ------------------------------------------------------------------------- */

static void count_info(hwb_program *p, int graph_nodes) {
    hwb_program_info *info = &p->info;
    info->nodes = graph_nodes;
    info->kernels = p->plan->n_steps;
    info->arena_bytes = p->plan->arena_bytes;
    info->kept_bytes = p->plan->kept_bytes;
    for (int k = 0; k < p->plan->n_steps; k++) {
        const hwb__step *s = &p->plan->steps[k];
        int role = s->stage < HWB_ROLE_TANGENT ? s->stage : HWB_ROLE_TANGENT;
        info->kernels_in_stage[role]++;
        info->macs[role] += s->macs;
        info->fused_groups += s->fused != NULL;
        info->fused_nodes += s->n_pointwise;
    }
    for (int i = 0; i < p->plan->n_leaves; i++)
        if (p->feeds[i].role == HWB_ROLE_CONST && p->feeds[i].given)
            info->constant_bytes += hwb_tensor_bytes(p->feeds[i].given);
}

hwb_status hwb_compile(hwb_ctx *ctx, hwb_program **out, const hwb_graph *g, int n_out,
                       const hwb_id *outputs, const hwb_compile_options *options) {
    static const hwb_compile_options defaults;
    const hwb_compile_options *o = options ? options : &defaults;
    double start = hwb_seconds();
    hwb_program *p = calloc(1, sizeof *p);
    hwb_id *outs = malloc(((size_t)n_out + 1) * sizeof *outs);
    hwb_status st = HWB_OK;
    if (!p || !outs) {
        free(p);
        free(outs);
        return oom(ctx);
    }
    p->refs = 1;
    p->ctx = ctx;
    p->check_finite = true;
    for (int i = 0; i < n_out; i++) {
        outs[i] = outputs[i];
        if (outs[i] < 0 || outs[i] >= g->count)
            HWB_GOTO(fail, st, hwb_fail(ctx, HWB_EARG, "output %d is not a node of the graph", i));
    }
    HWB_GOTO(fail, st,
             hwb_device_open(ctx, &p->device, o->device ? o->device : hwb_get_device(ctx)));
    HWB_GOTO(fail, st, hwb_device_open(ctx, &p->ref, "ref"));
    HWB_GOTO(fail, st, run_passes(ctx, p, (hwb_graph *)g, n_out, outs, o));
    HWB_GOTO(fail, st, hwb__make_plan(p, n_out, outs, o));
    HWB_GOTO(fail, st, make_feeds(ctx, p));
    HWB_GOTO(fail, st, make_stages(ctx, p));
    HWB_GOTO(fail, st, make_kernels(ctx, p));
    count_info(p, g->count);
    p->info.compile_seconds = hwb_seconds() - start;
    free(outs);
    *out = p;
    return HWB_OK;
fail:
    free(outs);
    hwb_program_release(p);
    return st;
}

hwb_program *hwb_program_retain(hwb_program *p) {
    p->refs++;
    return p;
}

static void free_feed(hwb_program *p, hwb__feed *f) {
    hwb__feed_drop_device(p, f);
    hwb_tensor_release(f->given);
    hwb_tensor_release(f->dense);
    free(f->name);
}

void hwb_program_release(hwb_program *p) {
    if (!p || --p->refs > 0) return;
    hwb_program_trim(p);
    for (int k = 0; p->slots && k < p->plan->n_steps; k++) {
        hwb__kernel_slot *s = &p->slots[k];
        if (s->kernel && !s->shared) s->device->backend->kernel_free(s->device->state, s->kernel);
        free(s->in);
        free(s->out);
        free(s->versions);
    }
    for (int i = 0; p->feeds && i < p->plan->n_leaves; i++) free_feed(p, &p->feeds[i]);
    hwb__there_free(p->there);
    free(p->feeds);
    free(p->stages);
    free(p->results);
    free(p->slots);
    free(p->external);
    hwb__plan_free(p->plan);
    hwb_graph_release(p->graph);
    free(p);
}

void hwb_program_check_finite(hwb_program *p, bool on) {
    p->check_finite = on;
}
void hwb_program_time_kernels(hwb_program *p, bool on) {
    p->time_kernels = on;
}
hwb_program_info hwb_program_stats(const hwb_program *p) {
    return p->info;
}
