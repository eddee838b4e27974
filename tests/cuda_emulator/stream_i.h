/*
 * stream_i.h: what stream.c and graph.c share: the structs behind the runtime's
 * opaque handles.
 */
#ifndef HWB_EMU_STREAM_I_H
#define HWB_EMU_STREAM_I_H

#include "emu.h"

enum { STREAM_MAGIC = 0x5354524d, GRAPH_MAGIC = 0x47524150 };

typedef struct operation {
    struct operation *next;
    uint64_t number;    /* in its stream */
    cudaStream_t on;    /* first wait for this stream's ... */
    uint64_t on_number; /* ... operation */
    emu_run run;        /* one of the two, or none: only the wait */
    emu_attempt attempt;
    char what[96];
    size_t bytes;
    _Alignas(16) char args[];
} operation;

struct CUstream_st {
    unsigned magic;
    bool non_blocking, asked; /* asked: cudaStreamQuery has said "busy" once */
    struct CUstream_st *next;
    operation *head, *tail;
    uint64_t last, done; /* numbers given out; finished */
    struct capture *capture;
};

struct CUgraph_st {
    unsigned magic;
    operation **node;
    size_t n, room;
};

struct CUgraphExec_st {
    unsigned magic;
    struct CUgraph_st *graph; /* its own copy */
};

typedef struct capture {
    struct CUgraph_st *graph;
    enum cudaStreamCaptureMode mode;
    bool spoiled;
} capture;

__attribute__((noreturn)) void emu_abort(void);
void emu_running_set(const char *what);
cudaStream_t emu_stream_of(cudaStream_t s);
cudaStream_t emu_streams_first(void);
void emu_graphs_count(int change);

cudaError_t emu_stream_create(cudaStream_t *out, unsigned flags);
cudaError_t emu_stream_destroy(cudaStream_t s);
cudaError_t emu_stream_query(cudaStream_t s);

/* count.c */
void emu_count_operation(const char *what);
void emu_count_copy(enum cudaMemcpyKind kind, size_t bytes);
void emu_count_graph(size_t operations);
void emu_count_wait(void);
void emu_count_malloc(void);

/* graph.c */
cudaError_t emu_capture_add(cudaStream_t s, operation *takes);
cudaError_t emu_capture_refuse(cudaStream_t s); /* spoils it */
cudaError_t emu_legacy_call(cudaStream_t s);    /* a call that involves the legacy stream */

#endif
