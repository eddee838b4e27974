/*
 * backend.h: all that a backend is and needs.
 *
 * A backend turns kernel descriptions into prepared kernels and runs them on
 * raw buffers.  It knows shapes, dtypes and attributes; it knows nothing of
 * graphs, derivatives, models or Lua.  Every buffer is dense and row-major in
 * the shape of its description.  `ref` implements every kernel in plain loops;
 * other backends fill in what they do faster and refuse the rest (supports
 * returns false), which then runs on ref (host backends only).
 *
 * To add a kernel: one row in the backend's table; the op test walks ops.def.
 */
#ifndef HWB_BACKEND_H
#define HWB_BACKEND_H

#include "comm/device.h"
#include "graph/op.h"

#define HWB_BACKEND_ABI 6u

typedef struct hwb_vdesc {
    hwb_dtype dtype;
    hwb_shape shape;
} hwb_vdesc;

/* ---- fused pointwise groups ------------------------------------------------
 *
 * A register program over an iteration space.  Inputs have the rank of the
 * space with dims equal to it or 1 (broadcast).  Registers 0..n_in-1 hold the
 * inputs; instruction i computes register n_in+i; so a program is in SSA form.
 * An output stores a register over the whole space, or its sum over the dims
 * where the output's shape has 1 and the space has not (accumulated in double,
 * in an order that does not depend on the number of threads).
 * All float inputs, outputs and arithmetic of a group have one dtype
 * (`dtype`); bool inputs and outputs are allowed beside it and read as 0 / 1.  A backend
 * with memory of its own also takes float32 inputs and outputs in a float64 group, widened
 * and rounded once: so vectors of solvers are worked on there (exec/there_i.h). */
typedef struct hwb_finstr {
    int32_t op;    /* a pointwise op, or FILL with imm */
    int32_t in[3]; /* registers; unused = -1 */
    double imm;
} hwb_finstr;

typedef struct hwb_fout {
    int32_t reg;
    int32_t reduce; /* bool */
} hwb_fout;

typedef struct hwb_fused {
    hwb_dtype dtype;
    hwb_shape space;
    int n_in, n_instr, n_out;
    const hwb_finstr *instr;
    const hwb_fout *out;
} hwb_fused;

enum { HWB_FUSED_MAX_IN = 16, HWB_FUSED_MAX_INSTR = 64, HWB_FUSED_MAX_OUT = 8 };

/* ---- kernels ------------------------------------------------------------------ */

/* What to compute.  Borrowed during prepare only.
 *   conv trio, avgpool, pools: attrs.channels_last tells how images lie.
 *   conv trio: an optional third input of the result's shape and dtype is added
 *   to the result (out = op(in0, in1) + in2); in2 and out may be one buffer.
 *   matmul: likewise, where the backend takes pairs.
 *   Where the backend takes pairs, four inputs are a sum of two, op(in0, in1) +
 *   op(in2, in3), of the same shapes but for a leading K, to which a fifth is added.
 *   fused: `fused` is set; in/out follow its inputs and outputs.
 *   A convolution of images with `fused` set is followed by that group, where the backend
 *   takes epilogues: the group's input 0 is the convolution's result (of the dtype and shape
 *   of its space), its other inputs follow the convolution's own, and all outputs are the
 *   group's.  An output may lie in the memory of the input that the convolution adds. */
typedef struct hwb_kdesc {
    hwb_op op;
    hwb_attrs attrs;
    int n_in, n_out;
    const hwb_vdesc *in, *out;
    const hwb_fused *fused;
    uint32_t stable;   /* bit i: input i keeps its contents over many runs; a backend may
                        keep a packed copy, refreshed when the version passed to run changes */
    bool exact;        /* no algorithm that rounds more than the plain sum of products does */
    const char *scope; /* the layer, for messages; "" where there is none */
} hwb_kdesc;

typedef struct hwb_kernel hwb_kernel;   /* owned by the backend */
typedef struct hwb_capture hwb_capture; /* likewise */

/* ---- devices ------------------------------------------------------------------ */

/* What products and convolutions of float32 may be computed in; off (exact float32)
 * by default.  Backends that know none of it ignore it. */
typedef enum hwb_math { HWB_MATH_EXACT, HWB_MATH_TF32, HWB_MATH_BF16 } hwb_math;

typedef struct hwb_device_options {
    hwb_math math;
    bool deterministic; /* the same bits in every run (default); false: faster at times */
} hwb_device_options;

/* What a plug-in calls in the program, so that it needs none of its symbols. */
typedef struct hwb_host {
    hwb_status (*fail)(hwb_ctx *ctx, hwb_status status, const char *fmt, ...) HWB_PRINTF(3, 4);
    void (*count_device)(hwb_ctx *ctx, int64_t delta_bytes);
    bool (*interrupted)(void);
} hwb_host;

typedef struct hwb_backend {
    uint32_t abi; /* HWB_BACKEND_ABI */
    const char *name;
    bool host;          /* buffers are host memory */
    bool channels_last; /* wants images as N,H,W,C: the compiler lays programs out so */
    bool fuses;         /* takes FUSED kernels */
    bool pairs;         /* takes sums of two of the conv trio as one kernel, and matmul's in2 */
    bool epilogues;     /* takes convolutions followed by a group; asks supports which */
    size_t align;       /* kernels take values at any multiple of so many bytes inside a buffer;
                           0: at its beginning only */

    hwb_status (*open)(hwb_ctx *ctx, void **state);
    void (*close)(void *state);

    /* memory; NULL on a host backend (the engine allocates) */
    void *(*mem_alloc)(hwb_ctx *ctx, void *state, size_t bytes);
    void (*mem_free)(void *state, void *p);
    hwb_status (*mem_put)(hwb_ctx *ctx, void *state, void *dst, const void *host, size_t bytes);
    hwb_status (*mem_get)(hwb_ctx *ctx, void *state, void *host, const void *src, size_t bytes);
    hwb_status (*mem_copy)(hwb_ctx *ctx, void *state, void *dst, const void *src, size_t bytes);
    hwb_status (*sync)(hwb_ctx *ctx, void *state);

    bool (*supports)(void *state, const hwb_kdesc *desc);
    /* new kernel, freed by kernel_free; primitives and scratch are made here.  Several steps
     * of a program may run it, one after the other, with the same stable inputs. */
    hwb_status (*prepare)(hwb_ctx *ctx, void *state, hwb_kernel **out, const hwb_kdesc *desc);
    /* in/out: one pointer a described value; versions: one number an input */
    hwb_status (*run)(hwb_ctx *ctx, void *state, hwb_kernel *kernel, const void *const *in,
                      const uint64_t *versions, void *const *out);
    void (*kernel_free)(void *state, hwb_kernel *kernel);
    const char *(*kernel_name)(void *state,
                               const hwb_kernel *kernel); /* which implementation ran */

    /* ---- optional: NULL where a backend has no use for it ---- */

    /* for kernels prepared from now on */
    hwb_status (*configure)(hwb_ctx *ctx, void *state, const hwb_device_options *options);
    /* one line on the device: name, memory, library versions */
    hwb_status (*describe)(hwb_ctx *ctx, void *state, char *text, size_t size);
    /* Bring packed copies of stable inputs up to date.  run does it by itself; before
     * a replay it is called for every kernel of the capture that has stable inputs. */
    hwb_status (*refresh)(hwb_ctx *ctx, void *state, hwb_kernel *kernel, const void *const *in,
                          const uint64_t *versions);
    /* What run enqueues between begin and end is recorded, not executed; replay executes
     * it with the same pointers.  Kernels must live as long as the capture. */
    hwb_status (*capture_begin)(hwb_ctx *ctx, void *state);
    hwb_status (*capture_end)(hwb_ctx *ctx, void *state, hwb_capture **out);
    hwb_status (*capture_run)(hwb_ctx *ctx, void *state, hwb_capture *capture);
    void (*capture_free)(void *state, hwb_capture *capture);
    /* Sums over several processes by the device's own network (NCCL). */
    const hwb_device_comm *comm;
} hwb_backend;

/* The one symbol of a plug-in: its table, or NULL when `abi` is not its own. */
typedef const hwb_backend *(*hwb_backend_entry_fn)(uint32_t abi, const hwb_host *host);

/* The compiled-in backends. */
HWB_API const hwb_backend *hwb_backend_ref(void);
HWB_API const hwb_backend *hwb_backend_cpu(void);
/* What the CPU backend runs float32 convolutions in, in the order it tries: for example
 * "winograd:avx512, direct:avx512, onednn"; no Winograd under HWB_WINOGRAD=0, "onednn" alone
 * on a processor without AVX2. */
HWB_API const char *hwb_backend_cpu_convolutions(void);

/* A backend opened on this context, by name ("ref", "cpu", "cuda", "cuda:1"): opened at
 * first use, kept by the context.  HWB_EDEVICE with the reason when absent. */
typedef struct hwb_device {
    const hwb_backend *backend;
    void *state;
} hwb_device;
HWB_API hwb_status hwb_device_open(hwb_ctx *ctx, hwb_device **out, const char *name); /* borrowed */
/* One line on an opened device; "" where the backend has nothing to say. */
HWB_API hwb_status hwb_device_describe(hwb_ctx *ctx, const hwb_device *device, char *text,
                                       size_t size);
/* For the devices of this context, open or opened later; programs compiled before
 * keep what they were compiled with. */
HWB_API hwb_status hwb_device_configure(hwb_ctx *ctx, const hwb_device_options *options);
HWB_API hwb_device_options hwb_device_configured(const hwb_ctx *ctx);

#endif
