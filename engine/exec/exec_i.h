/*
 * exec_i.h: the inside of a program.
 */
#ifndef HWB_EXEC_I_H
#define HWB_EXEC_I_H

#include "compile/compile_i.h"
#include "exec/exec.h"
#include "exec/there_i.h"

typedef struct hwb__kernel_slot {
    hwb_device *device; /* which backend took it: the program's, or ref */
    hwb_kernel *kernel;
    bool shared; /* an earlier step's kernel */
    const void **in;
    void **out;
    uint64_t *versions;
    double seconds;
} hwb__kernel_slot;

/* A leaf's tensor and what of it the backend reads. */
typedef struct hwb__feed {
    hwb_id external;              /* id in the graph that was compiled, or NONE */
    hwb_tensor *given;            /* retained */
    hwb_tensor *dense;            /* given itself, or a dense copy; retained */
    void *device_data;            /* on a device with its own memory: the resident's, or */
    hwb__resident *resident;      /* ours alone when this is NULL */
    bool there, fresh;            /* given on the device; not yet seen by a run */
    uint64_t seen;                /* version of `given` when last fed */
    uint64_t generation;          /* grows whenever the contents change */
    int64_t classes, class_shift; /* of hwb__node */
    uint16_t role;
    char *name;
} hwb__feed;

typedef struct hwb__stage {
    int first, end;       /* its steps */
    uint64_t generation;  /* of what it made last */
    bool done;            /* kept values are valid */
    bool warm;            /* ran since the last trim */
    hwb_capture *capture; /* the stage recorded, with these pointers */
} hwb__stage;

struct hwb_program {
    int refs;
    hwb_ctx *ctx;
    hwb_graph *graph; /* as compiled: shapes, scopes and names for messages */
    hwb__plan *plan;
    hwb_device *device, *ref;
    hwb__kernel_slot *slots;
    hwb__feed *feeds; /* one a leaf of the plan */
    hwb_id *external; /* graph id given by the user -> leaf number or -1 */
    int n_external;
    hwb__stage *stages; /* by hwb_role; one for each of several tangents */
    int n_stages;
    uint64_t generation;
    void *arena, *kept;
    void **results;    /* on such a device: one buffer an output */
    hwb__there *there; /* looks at results that stay there; NULL until the first */
    bool plain;        /* recording failed */
    bool check_finite, time_kernels;
    bool alone; /* sums over ranks are left out: a run to find a non-finite value */
    hwb_program_info info;
};

/* ---- plan and kernels ------------------------------------------------------------------- */

/* p->plan, and with it p->graph, `outputs` and p->external (plans.c). */
hwb_status hwb__make_plan(hwb_program *p, int n_out, hwb_id *outputs, const hwb_compile_options *o);

/* What step k is to the backend; borrows from the plan. */
void hwb__describe_step(const hwb_program *p, int k, hwb_kdesc *d);

/* Steps with the same description, and the same values where inputs are stable, take one
 * kernel: of the tangents of many blocks most are the same (share.c). */
typedef struct hwb__sharing hwb__sharing;
hwb_status hwb__sharing_new(hwb_ctx *ctx, const hwb_program *p, hwb__sharing **out);
/* An earlier step whose kernel does for step k, or -1; steps come in order. */
int hwb__sharing_find(hwb__sharing *s, int k);
void hwb__sharing_free(hwb__sharing *s);

/* ---- devices with their own memory ------------------------------------------- */

/* The feed's dense tensor on the program's device. */
hwb_status hwb__feed_upload(hwb_ctx *ctx, hwb_program *p, hwb__feed *f);
/* A tangent's value, from memory of the device. */
hwb_status hwb__feed_copy(hwb_ctx *ctx, hwb_program *p, hwb__feed *f, const void *from,
                          size_t bytes);
void hwb__feed_drop_device(hwb_program *p, hwb__feed *f);
/* Run a stage whose pointers are set: plainly the first time, then recorded once
 * and replayed (replay.c). */
hwb_status hwb__run_stage(hwb_ctx *ctx, hwb_program *p, int stage);
void hwb__drop_captures(hwb_program *p);

/* ---- ranks (sum_ranks.c) ------------------------------------------------------- */

hwb_status hwb__run_allreduce(hwb_ctx *ctx, hwb_program *p, int k);
bool hwb__stage_exchanges(const hwb_program *p, int stage);

/* Run one step whose pointers are set. */
hwb_status hwb__run_step(hwb_ctx *ctx, hwb_program *p, int k);
/* The stage runs for output `only` (-1: for all). */
bool hwb__stage_wanted(const hwb_program *p, int stage, int only);
/* After a non-finite output: run again step by step, as for `only`, and name the culprit. */
hwb_status hwb__blame(hwb_ctx *ctx, hwb_program *p, int output, int only);

#endif
