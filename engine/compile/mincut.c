/*
 * mincut.c: a minimum cut of a directed graph with capacities.
 *
 * By maximum flow: shortest augmenting paths in phases (Dinic 1970).  A phase numbers the
 * vertices by their distance from the source, then fills paths that go up one number an
 * edge until none is left.  Edge e and its reverse e ^ 1 are neighbours in one array.
 *
 * Of several minimum cuts the one nearest to the sink is given.
 */
#include "compile/compile_i.h"

#include <stdlib.h>
#include <string.h>

typedef struct edge {
    int to, next; /* next edge from the same vertex, -1 */
    int64_t left; /* capacity that no flow uses */
} edge;

struct hwb__cut {
    hwb_ctx *ctx;
    int n, n_edges, room;
    edge *edges;
    int *first; /* by vertex: an edge from it, -1 */
    int *level, *at, *queue;
};

static hwb_status oom(hwb_ctx *ctx) {
    return hwb_fail(ctx, HWB_ENOMEM, "out of memory while compiling");
}

hwb_status hwb__cut_new(hwb_ctx *ctx, hwb__cut **out, int n) {
    hwb__cut *c = calloc(1, sizeof *c);
    if (!c) return oom(ctx);
    *c = (hwb__cut){.ctx = ctx,
                    .n = n,
                    .first = malloc((size_t)n * sizeof *c->first),
                    .level = malloc((size_t)n * sizeof *c->level),
                    .at = malloc((size_t)n * sizeof *c->at),
                    .queue = malloc((size_t)n * sizeof *c->queue)};
    if (!c->first || !c->level || !c->at || !c->queue) {
        hwb__cut_free(c);
        return oom(ctx);
    }
    for (int v = 0; v < n; v++) c->first[v] = -1;
    *out = c;
    return HWB_OK;
}

void hwb__cut_free(hwb__cut *c) {
    if (!c) return;
    free(c->edges);
    free(c->first);
    free(c->level);
    free(c->at);
    free(c->queue);
    free(c);
}

hwb_status hwb__cut_edge(hwb__cut *c, int from, int to, int64_t capacity) {
    if (c->n_edges + 2 > c->room) {
        int room = c->room ? 2 * c->room : 256;
        edge *edges = realloc(c->edges, (size_t)room * sizeof *edges);
        if (!edges) return oom(c->ctx);
        c->edges = edges;
        c->room = room;
    }
    c->edges[c->n_edges] = (edge){to, c->first[from], capacity};
    c->first[from] = c->n_edges++;
    c->edges[c->n_edges] = (edge){from, c->first[to], 0};
    c->first[to] = c->n_edges++;
    return HWB_OK;
}

/* Distances from `from` along edges with capacity left (against them when back). */
static void number(hwb__cut *c, int from, bool back) {
    int head = 0, tail = 0;
    for (int v = 0; v < c->n; v++) c->level[v] = -1;
    c->level[from] = 0;
    c->queue[tail++] = from;
    while (head < tail) {
        int v = c->queue[head++];
        for (int e = c->first[v]; e >= 0; e = c->edges[e].next) {
            int w = c->edges[e].to;
            if (c->level[w] >= 0 || c->edges[back ? e ^ 1 : e].left == 0) continue;
            c->level[w] = c->level[v] + 1;
            c->queue[tail++] = w;
        }
    }
}

/* Push along the path whose edges are path[0..n). */
static void push(hwb__cut *c, const int *path, int n) {
    int64_t least = INT64_MAX;
    for (int i = 0; i < n; i++)
        if (c->edges[path[i]].left < least) least = c->edges[path[i]].left;
    for (int i = 0; i < n; i++) {
        c->edges[path[i]].left -= least;
        c->edges[path[i] ^ 1].left += least;
    }
}

/* One phase: depth first from the source, never through a vertex that is found to lead nowhere. */
static void fill_paths(hwb__cut *c, int source, int sink) {
    int *path = c->queue, n = 0, v = source;
    memcpy(c->at, c->first, (size_t)c->n * sizeof *c->at);
    for (;;) {
        int e = c->at[v];
        while (e >= 0 && (c->edges[e].left == 0 || c->level[c->edges[e].to] != c->level[v] + 1))
            e = c->edges[e].next;
        c->at[v] = e;
        if (e >= 0) {
            path[n++] = e;
            v = c->edges[e].to;
            if (v != sink) continue;
            push(c, path, n);
            n = 0;
            v = source;
        } else {
            if (v == source) return;
            c->level[v] = -1;
            v = c->edges[path[--n] ^ 1].to;
        }
    }
}

void hwb__cut_solve(hwb__cut *c, int source, int sink, bool *sink_side) {
    for (number(c, source, false); c->level[sink] >= 0; number(c, source, false))
        fill_paths(c, source, sink);
    number(c, sink, true);
    for (int v = 0; v < c->n; v++) sink_side[v] = c->level[v] >= 0;
}
