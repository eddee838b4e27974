/*
 * exec_i.h: the inside of a program.
 */
#ifndef HWB_EXEC_I_H
#define HWB_EXEC_I_H

#include "compile/compile_i.h"
#include "exec/exec.h"

typedef struct hwb__kernel_slot {
    hwb_device *device; /* which backend took it: the program's, or ref */
    hwb_kernel *kernel;
    const void **in;
    void **out;
    uint64_t *versions;
    double seconds;
} hwb__kernel_slot;

/* The copy of a tensor on a device with its own memory, shared by the programs of a
 * context that read it (resident.c). */
typedef struct hwb__resident hwb__resident;

/* A leaf's tensor and what of it the backend reads. */
typedef struct hwb__feed {
    hwb_id external;              /* id in the graph that was compiled, or NONE */
    hwb_tensor *given;            /* retained */
    hwb_tensor *dense;            /* given itself, or a dense copy; retained */
    void *device_data;            /* on a device with its own memory: the resident's, or */
    hwb__resident *resident;      /* ours alone when this is NULL */
    uint64_t seen;                /* version of `given` when last fed */
    uint64_t generation;          /* grows whenever the contents change */
    int64_t classes, class_shift; /* of hwb__node */
    uint8_t role;
    char *name;
} hwb__feed;

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
    uint64_t stage_generation[HWB_ROLE_COUNT];
    uint64_t generation;
    bool stage_done[HWB_ROLE_COUNT]; /* kept values are valid */
    void *arena, *kept;
    void **results;                       /* on such a device: one buffer an output */
    hwb_capture *capture[HWB_ROLE_COUNT]; /* a stage recorded, with these pointers */
    bool warm[HWB_ROLE_COUNT], plain;     /* ran since the last trim; recording failed */
    bool check_finite, time_kernels;
    hwb_program_info info;
};

/* ---- devices with their own memory ------------------------------------------- */

/* Memory of t on device d, with its present contents.  Parameters and constants of
 * many programs lie there once. */
hwb_status hwb__resident_get(hwb_ctx *ctx, hwb_device *d, hwb_tensor *t, hwb__resident **out);
void *hwb__resident_data(const hwb__resident *r);
void hwb__resident_release(hwb__resident *r); /* NULL is accepted */

/* The feed's dense tensor on the program's device. */
hwb_status hwb__feed_upload(hwb_ctx *ctx, hwb_program *p, hwb__feed *f);
void hwb__feed_drop_device(hwb_program *p, hwb__feed *f);
/* Run a stage whose pointers are set: plainly the first time, then recorded once
 * and replayed (replay.c). */
hwb_status hwb__run_stage(hwb_ctx *ctx, hwb_program *p, int stage);
void hwb__drop_captures(hwb_program *p);

/* Run one step whose pointers are set. */
hwb_status hwb__run_step(hwb_ctx *ctx, hwb_program *p, int k);
/* After a non-finite output: run again step by step and name the culprit. */
hwb_status hwb__blame(hwb_ctx *ctx, hwb_program *p, int output);

#endif
