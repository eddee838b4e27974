/*
 * cuda_capture.c: a run of kernels as a CUDA graph, launched by one call.
 *
 * Between begin and end the stream records what kernels enqueue; nothing runs.
 * Thread-local mode: other threads of the process may go on using CUDA.
 */
#include "cuda_i.h"

#include <stdlib.h>

struct hwb_capture {
    cudaGraphExec_t exec;
};

hwb_status hwb__cuda_capture_begin(hwb_ctx *ctx, void *state) {
    hwb__cuda *s = state;
    HWB_CUDA_TRY(ctx, cudaSetDevice(s->index));
    HWB_TRY(hwb__cuda_puts_send(ctx, s));
    HWB_CUDA_TRY(ctx, cudaStreamBeginCapture(s->stream, cudaStreamCaptureModeThreadLocal));
    s->recording = true;
    return HWB_OK;
}

/* Ends the recording whatever happened in it; a failed one leaves the stream usable. */
hwb_status hwb__cuda_capture_end(hwb_ctx *ctx, void *state, hwb_capture **out) {
    hwb__cuda *s = state;
    cudaGraph_t graph = NULL;
    hwb_capture *c = calloc(1, sizeof(*c));
    s->recording = false;
    hwb_status st =
        hwb__cuda_check(ctx, cudaStreamEndCapture(s->stream, &graph), "cudaStreamEndCapture");
    if (st == HWB_OK && !c) st = hwb__cuda_oom(ctx);
    if (st == HWB_OK)
        st = hwb__cuda_check(ctx, cudaGraphInstantiate(&c->exec, graph, 0), "cudaGraphInstantiate");
    if (graph) cudaGraphDestroy(graph);
    if (st == HWB_OK) *out = c;
    else free(c);
    return st;
}

hwb_status hwb__cuda_capture_run(hwb_ctx *ctx, void *state, hwb_capture *c) {
    hwb__cuda *s = state;
    HWB_CUDA_TRY(ctx, cudaSetDevice(s->index));
    HWB_TRY(hwb__cuda_puts_send(ctx, s));
    HWB_CUDA_TRY(ctx, cudaGraphLaunch(c->exec, s->stream));
    return HWB_OK;
}

void hwb__cuda_capture_free(void *state, hwb_capture *c) {
    (void)state;
    if (!c) return;
    cudaGraphExecDestroy(c->exec);
    free(c);
}
