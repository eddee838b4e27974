/*
 * eager.c: operations on concrete tensors: a scratch graph for each call, run
 * by a program that is cached by the graph's structure.
 */
#include "exec/exec_i.h"

#include "comm/comm.h"

#include <stdlib.h>
#include <string.h>

enum { CACHE_SIZE = 1024 }; /* programs; a slot is replaced on collision */

typedef struct entry {
    uint64_t hash;
    size_t key_bytes;
    char *key;
    hwb_program *program;
} entry;

typedef struct eager_state {
    entry entries[CACHE_SIZE];
    char device[16];
} eager_state;

struct hwb_eager {
    hwb_ctx *ctx;
    hwb_graph *graph;
};

static void state_free(void *p) {
    eager_state *s = p;
    for (int i = 0; i < CACHE_SIZE; i++) {
        free(s->entries[i].key);
        hwb_program_release(s->entries[i].program);
    }
    free(s);
}

static hwb_status state_of(hwb_ctx *ctx, eager_state **out) {
    eager_state *s = hwb_ctx_slot(ctx, HWB_SLOT_EAGER);
    if (!s) {
        if (!(s = calloc(1, sizeof *s))) return hwb_fail(ctx, HWB_ENOMEM, "out of memory");
        strcpy(s->device, "cpu");
        hwb_ctx_set_slot(ctx, HWB_SLOT_EAGER, s, state_free);
    }
    *out = s;
    return HWB_OK;
}

hwb_status hwb_set_device(hwb_ctx *ctx, const char *name) {
    hwb_device *d;
    eager_state *s = NULL;
    HWB_TRY(hwb_device_open(ctx, &d, name));
    if (d->backend->comm) HWB_TRY(hwb_comm_attach_device(ctx, d->backend->comm, d->state));
    HWB_TRY(state_of(ctx, &s));
    strncpy(s->device, d->backend->name, sizeof s->device - 1);
    return HWB_OK;
}

const char *hwb_get_device(const hwb_ctx *ctx) {
    const eager_state *s = hwb_ctx_slot(ctx, HWB_SLOT_EAGER);
    return s ? s->device : "cpu";
}

hwb_status hwb_eager_begin(hwb_ctx *ctx, hwb_eager **out) {
    hwb_eager *e = calloc(1, sizeof *e);
    if (!e) return hwb_fail(ctx, HWB_ENOMEM, "out of memory");
    e->ctx = ctx;
    hwb_status st = hwb_graph_new(ctx, &e->graph);
    if (st != HWB_OK) {
        free(e);
        return st;
    }
    *out = e;
    return HWB_OK;
}

hwb_graph *hwb_eager_graph(hwb_eager *e) {
    return e->graph;
}

hwb_status hwb_eager_lift(hwb_eager *e, hwb_id *out, hwb_tensor *t) {
    hwb_graph *g = e->graph;
    HWB_TRY(hwb_graph_input(g, out, HWB_ROLE_DATA, hwb_tensor_dtype(t), *hwb_tensor_shape(t), ""));
    return hwb_graph_bind(g, *out, t);
}

void hwb_eager_drop(hwb_eager *e) {
    if (!e) return;
    hwb_graph_release(e->graph);
    free(e);
}

enum { MAX_CONSTANT = 1 << 16 }; /* bytes; graphs with larger constants are not cached */

/* The structure as bytes: all that a compiled program depends on, the contents
 * of small constants included. */
static char *structure(const hwb_eager *e, const char *device, int n_out, const hwb_id *outputs,
                       size_t *bytes) {
    const hwb_graph *g = e->graph;
    size_t room = 64 + (size_t)n_out * sizeof *outputs, at = 0;
    for (hwb_id id = 0; id < g->count; id++) {
        if (g->nodes[id]->op == HWB_OP_CONSTANT) {
            room += hwb_tensor_bytes(g->nodes[id]->tensor);
            if (hwb_tensor_bytes(g->nodes[id]->tensor) > MAX_CONSTANT) return NULL;
        }
        room +=
            2 * sizeof(int32_t) + sizeof(hwb_attrs) + (size_t)g->nodes[id]->n_in * sizeof(hwb_id);
    }
    char *key = calloc(1, room);
    if (!key) return NULL;
#define PUT(p, n) (memcpy(key + at, (p), (n)), at += (n))
    PUT(device, strlen(device) + 1);
    for (hwb_id id = 0; id < g->count; id++) {
        const hwb__node *n = g->nodes[id];
        int32_t head[2] = {(int32_t)n->op, n->n_in};
        PUT(head, sizeof head);
        PUT(&n->attrs, sizeof n->attrs);
        PUT(n->in, (size_t)n->n_in * sizeof(hwb_id));
        if (n->op == HWB_OP_CONSTANT) /* made dense by one_hot and its like */
            PUT(hwb_tensor_data(n->tensor), hwb_tensor_bytes(n->tensor));
    }
    PUT(outputs, (size_t)n_out * sizeof *outputs);
#undef PUT
    *bytes = at;
    return key;
}

static uint64_t hash_bytes(const char *p, size_t n) { /* FNV-1a */
    uint64_t h = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)p[i]) * 0x100000001b3ull;
    return h;
}

static hwb_status cached_program(hwb_eager *e, eager_state *s, int n_out, const hwb_id *outputs,
                                 hwb_program **out) {
    size_t bytes = 0;
    hwb_compile_options options = {.device = s->device};
    char *key = structure(e, s->device, n_out, outputs, &bytes);
    if (!key) return hwb_compile(e->ctx, out, e->graph, n_out, outputs, &options);
    uint64_t hash = hash_bytes(key, bytes);
    entry *slot = &s->entries[hash % CACHE_SIZE];
    if (slot->program && slot->hash == hash && slot->key_bytes == bytes &&
        memcmp(slot->key, key, bytes) == 0) {
        free(key);
        *out = hwb_program_retain(slot->program);
        return HWB_OK;
    }
    hwb_status st = hwb_compile(e->ctx, out, e->graph, n_out, outputs, &options);
    if (st != HWB_OK) {
        free(key);
        return st;
    }
    hwb_program_check_finite(*out, false); /* a REPL may look at infinities */
    free(slot->key);
    hwb_program_release(slot->program);
    *slot = (entry){hash, bytes, key, hwb_program_retain(*out)};
    return HWB_OK;
}

/* Drop the tensors of this call, so that the cache pins no memory. */
static void forget_inputs(hwb_program *p) {
    for (int i = 0; i < p->plan->n_leaves; i++) {
        if (p->graph->nodes[p->plan->leaves[i].node]->op != HWB_OP_INPUT) continue;
        hwb_tensor_release(p->feeds[i].given);
        hwb_tensor_release(p->feeds[i].dense);
        p->feeds[i].given = p->feeds[i].dense = NULL;
    }
    for (hwb_id id = 0; id < p->graph->count; id++) { /* ties made while building */
        hwb__node *n = p->graph->nodes[id];
        if (n->op != HWB_OP_INPUT) continue;
        hwb_tensor_release(n->tensor);
        n->tensor = NULL;
    }
    hwb_program_trim(p);
}

hwb_status hwb_eager_end(hwb_eager *e, int n_out, const hwb_id *outputs, hwb_tensor **outs) {
    eager_state *s = NULL;
    hwb_program *p = NULL;
    hwb_status st = state_of(e->ctx, &s);
    if (st == HWB_OK) st = cached_program(e, s, n_out, outputs, &p);
    if (st == HWB_OK) hwb_program_check_finite(p, false);
    for (hwb_id id = 0; st == HWB_OK && id < e->graph->count; id++)
        if (e->graph->nodes[id]->op == HWB_OP_INPUT)
            st = hwb_program_set(e->ctx, p, id, e->graph->nodes[id]->tensor);
    if (st == HWB_OK) st = hwb_program_run(e->ctx, p, outs);
    if (p) forget_inputs(p);
    hwb_program_release(p);
    hwb_eager_drop(e);
    return st;
}
