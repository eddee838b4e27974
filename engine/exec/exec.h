/*
 * exec.h: compiling a graph for a device and running it.
 *
 * A program is a compiled graph: a schedule of kernels split into stages by
 * how often their inputs change (constants, parameters, data, tangents), with a
 * memory plan.  Running it again after only the tangents changed reruns the
 * last stage alone; that is how power iteration and Lanczos pay for the primal
 * and its adjoints once.  Several tangents that are run apart, each with outputs of
 * its own, are a stage each; that is how sweeps over the blocks of a network do.
 */
#ifndef HWB_EXEC_H
#define HWB_EXEC_H

#include "graph/graph.h"

typedef struct hwb_program hwb_program;

typedef struct hwb_compile_options {
    const char *device; /* "cpu" (default), "ref", "cuda" */
    bool no_fuse;       /* one kernel a node: for tests and for finding NaNs */
    bool no_layout;     /* keep images as N,C,H,W */
    bool no_epilogues;  /* no pointwise group in a convolution's kernel */
    bool no_recompute;  /* every value that is read late waits in memory */
} hwb_compile_options;

/* Compile what `outputs` need (ids of g; HWB_NONE is refused).  The graph is
 * not kept.  options may be NULL.  new ref */
HWB_API hwb_status hwb_compile(hwb_ctx *ctx, hwb_program **out, const hwb_graph *g, int n_out,
                               const hwb_id *outputs, const hwb_compile_options *options);
HWB_API hwb_program *hwb_program_retain(hwb_program *p);
HWB_API void hwb_program_release(hwb_program *p);

/* Tie the value of input node `input` (an id of the graph compiled) for the
 * next runs; retained, any strides.  Inputs bound in the graph are tied already.
 * Ids that the program does not need are accepted and ignored. */
HWB_API hwb_status hwb_program_set(hwb_ctx *ctx, hwb_program *p, hwb_id input, hwb_tensor *t);

/* Forget the value of an input. */
HWB_API void hwb_program_unset(hwb_program *p, hwb_id input);

/* Run; outs[i] = new ref of outputs[i].  Stages whose inputs have not changed
 * since the last run (same tensor, same version) are not rerun.  HWB_ENUMERIC
 * names the first operation and layer that made a non-finite value when an
 * output is not finite and checks are on (hwb_program_check). */
HWB_API hwb_status hwb_program_run(hwb_ctx *ctx, hwb_program *p, hwb_tensor **outs);
/* Run what output `i` needs, and of several tangents that are run apart (hwb_role) its own
 * alone: the others need no value then.  *out = new ref of outputs[i]. */
HWB_API hwb_status hwb_program_run_one(hwb_ctx *ctx, hwb_program *p, int i, hwb_tensor **out);
/* Write into given dense tensors instead of new ones (NULL entries are made new). */
HWB_API hwb_status hwb_program_run_into(hwb_ctx *ctx, hwb_program *p, hwb_tensor **outs);
/* Search for non-finite values when an output is one (default on). */
HWB_API void hwb_program_check_finite(hwb_program *p, bool on);

typedef struct hwb_program_info {
    int nodes, kernels, fused_groups, fused_nodes;
    size_t arena_bytes, kept_bytes, constant_bytes;
    int64_t macs[HWB_ROLE_COUNT]; /* multiply-adds of each stage; of several tangents in all */
    int kernels_in_stage[HWB_ROLE_COUNT];
    int prepared;                   /* kernels that are not shared with an earlier step */
    int64_t runs[HWB_ROLE_COUNT];   /* times each stage ran */
    double seconds[HWB_ROLE_COUNT]; /* in total */
    double compile_seconds;
} hwb_program_info;
HWB_API hwb_program_info hwb_program_stats(const hwb_program *p);
/* malloc'd text: stages, kernels with their implementation, groups, where memory
 * goes, and (after runs with timing on) seconds by kernel. */
HWB_API char *hwb_program_dump(const hwb_program *p);
HWB_API void hwb_program_time_kernels(hwb_program *p, bool on);
/* Drop the buffers (kept values too); the next run makes them again. */
HWB_API void hwb_program_trim(hwb_program *p);

/* ---- eager use: the same machinery on concrete tensors ------------------------
 *
 * A call opens a scratch graph, lifts its tensors as inputs, builds, and runs
 * the compiled result, which is cached by the structure of the scratch graph. */
typedef struct hwb_eager hwb_eager;
HWB_API hwb_status hwb_eager_begin(hwb_ctx *ctx, hwb_eager **out);
HWB_API hwb_graph *hwb_eager_graph(hwb_eager *e); /* borrowed */
HWB_API hwb_status hwb_eager_lift(hwb_eager *e, hwb_id *out, hwb_tensor *t);
/* Runs and frees e (also on failure).  outs are new refs. */
HWB_API hwb_status hwb_eager_end(hwb_eager *e, int n_out, const hwb_id *outputs, hwb_tensor **outs);
HWB_API void hwb_eager_drop(hwb_eager *e); /* give up without running; NULL is accepted */
/* Device of eager operations ("cpu" by default). */
HWB_API hwb_status hwb_set_device(hwb_ctx *ctx, const char *name);
HWB_API const char *hwb_get_device(const hwb_ctx *ctx);

#endif
