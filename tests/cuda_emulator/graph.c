/*
 * graph.c: captures and graphs of one stream.
 *
 * While a stream captures, its operations become the nodes of a graph and do
 * not run.  A call that may not happen during a capture (allocation, waiting)
 * fails and spoils it: the end then gives cudaErrorStreamCaptureInvalidated and
 * no graph.  Pointers and arguments are those of the time of the capture.
 */
#include "stream_i.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CAPTURES = 16 };

static capture *captures[MAX_CAPTURES];
static pthread_t owner[MAX_CAPTURES];

/* ---- what a capture forbids ------------------------------------------------------- */

cudaError_t emu_unsafe_call(void) {
    if (emu_broken(false)) return cudaErrorIllegalAddress;
    for (int i = 0; i < MAX_CAPTURES; i++) {
        capture *c = captures[i];
        if (!c || c->mode == cudaStreamCaptureModeRelaxed) continue;
        if (c->mode == cudaStreamCaptureModeThreadLocal && !pthread_equal(owner[i], pthread_self()))
            continue;
        c->spoiled = true;
        return cudaErrorStreamCaptureUnsupported;
    }
    return cudaSuccess;
}

cudaError_t emu_capture_refuse(cudaStream_t s) {
    s->capture->spoiled = true;
    return cudaErrorStreamCaptureUnsupported;
}

cudaError_t emu_legacy_call(cudaStream_t s) {
    if (s != emu_stream_of(NULL)) return cudaSuccess;
    for (cudaStream_t t = emu_streams_first(); t; t = t->next)
        if (t->capture && !t->non_blocking) {
            t->capture->spoiled = true;
            return cudaErrorStreamCaptureImplicit;
        }
    return cudaSuccess;
}

bool emu_capturing(cudaStream_t s) {
    return emu_stream_of(s)->capture != NULL;
}

/* ---- building --------------------------------------------------------------------- */

static void graph_push(struct CUgraph_st *g, operation *op) {
    if (g->n == g->room) {
        g->room = g->room ? 2 * g->room : 64;
        g->node = realloc(g->node, g->room * sizeof(operation *));
        if (!g->node) emu_fatal("no memory for a graph");
    }
    g->node[g->n++] = op;
}

cudaError_t emu_capture_add(cudaStream_t s, operation *op) {
    if (s->capture->spoiled) {
        free(op);
        return cudaErrorStreamCaptureInvalidated;
    }
    graph_push(s->capture->graph, op);
    return cudaSuccess;
}

/* ---- the runtime's calls ------------------------------------------------------------ */

static cudaError_t capture_begin(cudaStream_t handle, enum cudaStreamCaptureMode mode) {
    cudaStream_t s = emu_stream_of(handle);
    if (s == emu_stream_of(NULL)) return cudaErrorStreamCaptureUnsupported;
    if (s->capture) return cudaErrorIllegalState;
    int slot = 0;
    while (slot < MAX_CAPTURES && captures[slot]) slot++;
    capture *c = calloc(1, sizeof *c);
    struct CUgraph_st *g = calloc(1, sizeof *g);
    if (slot == MAX_CAPTURES || !c || !g) emu_fatal("too many captures");
    g->magic = GRAPH_MAGIC;
    *c = (capture){.graph = g, .mode = mode};
    captures[slot] = c;
    owner[slot] = pthread_self();
    s->capture = c;
    return cudaSuccess;
}

static void graph_free(struct CUgraph_st *g) {
    for (size_t i = 0; i < g->n; i++) free(g->node[i]);
    free(g->node);
    g->node = NULL;
    g->n = 0;
    g->magic = 0;
}

static cudaError_t capture_end(cudaStream_t handle, cudaGraph_t *out) {
    cudaStream_t s = emu_stream_of(handle);
    capture *c = s->capture;
    *out = NULL;
    if (!c) return cudaErrorIllegalState;
    cudaError_t status = c->spoiled ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
    s->capture = NULL;
    for (int i = 0; i < MAX_CAPTURES; i++)
        if (captures[i] == c) captures[i] = NULL;
    if (status == cudaSuccess) {
        *out = c->graph;
        emu_graphs_count(1);
    } else {
        graph_free(c->graph);
        free(c->graph);
    }
    free(c);
    return status;
}

static struct CUgraph_st *graph_of(cudaGraph_t g) {
    if (!g || g->magic != GRAPH_MAGIC) emu_fatal("a graph that was destroyed, or never was one");
    return g;
}

static cudaGraphExec_t exec_of(cudaGraphExec_t e) {
    if (!e || e->magic != GRAPH_MAGIC) emu_fatal("an executable graph that was destroyed");
    return e;
}

static cudaError_t instantiate(cudaGraphExec_t *out, cudaGraph_t handle) {
    struct CUgraph_st *g = graph_of(handle);
    *out = NULL;
    if (emu_broken(false)) return cudaErrorIllegalAddress;
    if (emu_fail_now()) return cudaErrorMemoryAllocation;
    cudaGraphExec_t e = calloc(1, sizeof *e);
    struct CUgraph_st *copy = calloc(1, sizeof *copy);
    if (!e || !copy) emu_fatal("no memory for a graph");
    copy->magic = GRAPH_MAGIC;
    for (size_t i = 0; i < g->n; i++) {
        const operation *from = g->node[i];
        operation *op = calloc(1, sizeof *op + from->bytes);
        if (!op) emu_fatal("no memory for a graph");
        memcpy(op, from, sizeof *op + from->bytes);
        graph_push(copy, op);
    }
    e->magic = GRAPH_MAGIC;
    e->graph = copy;
    emu_graphs_count(1);
    *out = e;
    return cudaSuccess;
}

static void run_graph(void *args) {
    cudaGraphExec_t e = exec_of(*(cudaGraphExec_t *)args);
    for (size_t i = 0; i < e->graph->n; i++) {
        emu_running_set(e->graph->node[i]->what);
        e->graph->node[i]->run(e->graph->node[i]->args);
    }
}

#define LOCKED(call)                                                                               \
    emu_lock();                                                                                    \
    cudaError_t status_ = (call);                                                                  \
    emu_unlock();                                                                                  \
    return emu_error(status_)

EMU_API cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode) {
    LOCKED(capture_begin(s, mode));
}

EMU_API cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *out) {
    LOCKED(capture_end(s, out));
}

EMU_API cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t g,
                                         unsigned long long flags) {
    if (flags) return emu_error(cudaErrorInvalidValue);
    LOCKED(instantiate(out, g));
}

EMU_API cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s) {
    emu_count_graph(exec_of(e)->graph->n);
    LOCKED(emu_enqueue(s, "graph", run_graph, &e, sizeof(cudaGraphExec_t)));
}

EMU_API cudaError_t cudaGraphDestroy(cudaGraph_t g) {
    emu_lock();
    graph_free(graph_of(g));
    emu_keep(g);
    emu_graphs_count(-1);
    emu_unlock();
    return cudaSuccess;
}

EMU_API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e) {
    emu_lock();
    exec_of(e);
    emu_finish_all(); /* it may be queued */
    graph_free(e->graph);
    free(e->graph);
    e->magic = 0;
    emu_keep(e);
    emu_graphs_count(-1);
    emu_unlock();
    return cudaSuccess;
}
