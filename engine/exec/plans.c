/*
 * plans.c: the plan of a program: of its graph as it is, or with values computed again
 * (compile/recompute.c), whichever needs less memory.
 *
 * What a boundary holds is known before nodes become groups, so a choice made there is an
 * estimate; plans are what counts.  Values are computed again first for the tangents, then
 * inside stages, where what the tangents compute again waits in turn.  All of it is dropped
 * unless an eighth of the memory is saved: it costs a little time.
 */
#include "exec/exec_i.h"

#include <stdlib.h>
#include <string.h>

enum { VERSIONS = 3 };

typedef struct version {
    hwb_graph *graph;
    hwb__plan *plan;       /* NULL: none was made */
    hwb_id *outputs, *map; /* in this graph: results, nodes of the graph as it is */
} version;

static hwb_status oom(hwb_ctx *ctx) {
    return hwb_fail(ctx, HWB_ENOMEM, "out of memory while compiling");
}

static void version_free(version *v) {
    hwb__plan_free(v->plan);
    hwb_graph_release(v->graph);
    free(v->outputs);
    free(v->map);
}

static hwb_status make(const hwb_program *p, version *v, int n_out, const hwb_compile_options *o) {
    const hwb_backend *b = p->device->backend;
    bool follows = b->epilogues && !o->no_fuse && !o->no_epilogues;
    return hwb__plan_make(v->graph, &v->plan, n_out, v->outputs, !o->no_fuse && b->fuses,
                          !o->no_fuse && b->pairs, follows ? p->device : NULL, b->align);
}

static size_t memory_of(const version *v) {
    return v->plan->arena_bytes + v->plan->kept_bytes;
}

static hwb_status as_it_is(const hwb_program *p, version *v, int n_out, const hwb_id *outputs,
                           const hwb_compile_options *o) {
    int n = p->graph->count;
    v->graph = hwb_graph_retain(p->graph);
    v->outputs = malloc(((size_t)n_out + 1) * sizeof *v->outputs);
    v->map = malloc(((size_t)n + 1) * sizeof *v->map);
    if (!v->outputs || !v->map) return oom(p->ctx);
    memcpy(v->outputs, outputs, (size_t)n_out * sizeof *outputs);
    for (hwb_id id = 0; id < n; id++) v->map[id] = id;
    return make(p, v, n_out, o);
}

/* v: values of `from` that wait at one kind of boundary are computed again. */
static hwb_status compute_again(const hwb_program *p, const version *from, version *v, bool across,
                                int n_out, const hwb_compile_options *o) {
    int n = p->graph->count;
    v->outputs = malloc(((size_t)n_out + 1) * sizeof *v->outputs);
    v->map = malloc(((size_t)n + 1) * sizeof *v->map);
    hwb_id *step = malloc(((size_t)from->graph->count + 1) * sizeof *step);
    hwb_status st = v->outputs && v->map && step ? HWB_OK : oom(p->ctx);
    if (st == HWB_OK) {
        memcpy(v->outputs, from->outputs, (size_t)n_out * sizeof *v->outputs);
        st = hwb__recompute(from->graph, &v->graph, across, n_out, v->outputs, step);
    }
    for (hwb_id id = 0; v->graph && id < n; id++) v->map[id] = step[from->map[id]];
    if (st == HWB_OK && v->graph) st = make(p, v, n_out, o);
    free(step);
    return st;
}

/* The program takes this version. */
static void take(hwb_program *p, version *v, int n_out, hwb_id *outputs) {
    hwb_graph_release(p->graph);
    p->graph = hwb_graph_retain(v->graph);
    p->plan = v->plan;
    v->plan = NULL;
    memcpy(outputs, v->outputs, (size_t)n_out * sizeof *outputs);
    for (int i = 0; i < p->n_external; i++)
        if (p->external[i] != HWB_NONE) p->external[i] = v->map[p->external[i]];
}

hwb_status hwb__make_plan(hwb_program *p, int n_out, hwb_id *outputs,
                          const hwb_compile_options *o) {
    version v[VERSIONS] = {0};
    int best = 0;
    bool again = !o->no_fuse && !o->no_recompute && p->device->backend->fuses;
    hwb_status st = as_it_is(p, &v[0], n_out, outputs, o);
    for (int k = 1; k < VERSIONS && again && st == HWB_OK; k++) {
        st = compute_again(p, &v[best], &v[k], k == 1, n_out, o);
        if (st == HWB_OK && v[k].plan && memory_of(&v[k]) < memory_of(&v[best])) best = k;
    }
    if (st == HWB_OK) {
        if (memory_of(&v[best]) > memory_of(&v[0]) / 8 * 7) best = 0;
        take(p, &v[best], n_out, outputs);
    }
    for (int k = 0; k < VERSIONS; k++) version_free(&v[k]);
    return st;
}
