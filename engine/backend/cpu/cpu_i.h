/*
 * cpu_i.h: what the files of the CPU backend share.
 *
 * One file a family of kernels, each with a supports and a prepare function;
 * cpu.c holds the table from ops to families.  A prepared kernel begins with an
 * hwb__cpu_kernel, which carries its own run and free functions.
 *
 * Threads: every kernel keeps the count it was prepared with (oneDNN divides
 * its work at creation), and run makes that the OpenMP count.  Work smaller
 * than HWB_CPU_SERIAL elements stays on the calling thread.
 */
#ifndef HWB_CPU_I_H
#define HWB_CPU_I_H

#include "backend/backend.h"

enum { HWB_CPU_SERIAL = 32768 };

typedef struct hwb__onednn hwb__onednn;
typedef struct hwb__vec hwb__vec;
typedef struct hwb__wino hwb__wino;
typedef struct hwb__direct hwb__direct;

typedef struct hwb__cpu_state {
    hwb__onednn *dnn;          /* engine and stream */
    const hwb__vec *vec;       /* vector loops for this machine */
    const hwb__wino *wino;     /* Winograd's convolution for this machine; NULL: not wanted */
    const hwb__direct *direct; /* convolutions as matrix products for this machine; or NULL */
    int64_t cache_bytes;       /* of the last level */
    void *scratch;             /* shared by all kernels, as one runs at a time */
    size_t scratch_bytes;
} hwb__cpu_state;

typedef struct hwb__cpu_kernel hwb__cpu_kernel;
struct hwb__cpu_kernel {
    hwb_status (*run)(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                      const uint64_t *versions, void *const *out);
    void (*free)(hwb__cpu_kernel *kernel); /* frees the kernel itself too */
    hwb__cpu_state *state;
    int threads;
    char name[64]; /* which implementation, for the log */
};

typedef bool (*hwb__cpu_supports_fn)(const hwb_kdesc *desc);
typedef hwb_status (*hwb__cpu_prepare_fn)(hwb_ctx *ctx, hwb__cpu_state *state,
                                          hwb__cpu_kernel **out, const hwb_kdesc *desc);

/* new kernel of `bytes` bytes (its struct begins with hwb__cpu_kernel), zeroed */
hwb_status hwb__cpu_kernel_new(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                               size_t bytes, const char *name);

/* state->scratch holds at least so many bytes from now on; for prepare only, as
 * it may move.  64-byte aligned; contents do not outlive a run. */
hwb_status hwb__cpu_reserve(hwb_ctx *ctx, hwb__cpu_state *state, size_t bytes);

/* bytes rounded up to whole cache lines */
static inline size_t hwb__cpu_align(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

/* ---- families ------------------------------------------------------------ */

bool hwb__cpu_conv_supports(const hwb_kdesc *desc);
hwb_status hwb__cpu_conv_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                 const hwb_kdesc *desc);
hwb_status hwb__cpu_conv_gemm_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                      const hwb_kdesc *desc);
bool hwb__cpu_matmul_supports(const hwb_kdesc *desc);
hwb_status hwb__cpu_matmul_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                   const hwb_kdesc *desc);
bool hwb__cpu_fused_supports(const hwb_kdesc *desc);
hwb_status hwb__cpu_fused_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                  const hwb_kdesc *desc);

bool hwb__cpu_data_supports(const hwb_kdesc *desc);
hwb_status hwb__cpu_data_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                 const hwb_kdesc *desc);
bool hwb__cpu_index_supports(const hwb_kdesc *desc);
hwb_status hwb__cpu_index_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                  const hwb_kdesc *desc);
bool hwb__cpu_pool_supports(const hwb_kdesc *desc);
hwb_status hwb__cpu_pool_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                 const hwb_kdesc *desc);
bool hwb__cpu_reduce_supports(const hwb_kdesc *desc);
hwb_status hwb__cpu_reduce_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                   const hwb_kdesc *desc);

/* ---- convolution geometry ------------------------------------------------ */

/* The three operands of a member of the conv trio, whichever of them is the
 * result: x[N,C,H,W], w[O,C/g,kh,kw], y[N,O,OH,OW].  loops evaluations, each
 * moving on by the steps (0: shared by all).  A K that can be folded into the images
 * is in n already, but for a sum of two. */
typedef struct hwb__conv_geom {
    hwb_op op;
    hwb_dtype dtype;
    bool channels_last;
    int64_t n, c, h, w, o, oh, ow, groups;
    int64_t kernel[2], stride[2], dilation[2], pad_lo[2], pad_hi[2];
    int64_t loops;
    int64_t x_step, w_step, y_step; /* elements */
    bool pair;                      /* a sum of two; these are the steps of in2 and in3 */
    int64_t pair_step[2];
    bool add;               /* the accumulate input is there */
    const hwb_kdesc *after; /* the whole kernel's when a group follows (cpu_after_i.h), else
                               NULL; borrowed during prepare */
} hwb__conv_geom;

hwb__conv_geom hwb__conv_geom_of(const hwb_kdesc *desc);
/* A convolution's description without the group that follows it, if one does; result: its own. */
hwb_kdesc hwb__cpu_conv_alone(const hwb_kdesc *desc, hwb_vdesc *result);

hwb_status hwb__cpu_conv_pair_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                      const hwb_kdesc *desc);
bool hwb__cpu_wino_takes(const hwb__cpu_state *state, const hwb__conv_geom *geom);
/* A group may follow it. */
bool hwb__cpu_wino_after(const hwb__conv_geom *geom);
hwb_status hwb__cpu_wino_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                 const hwb__conv_geom *geom);
bool hwb__cpu_direct_takes(const hwb__cpu_state *state, const hwb__conv_geom *geom);
/* A group may follow it. */
bool hwb__cpu_direct_after(const hwb__conv_geom *geom);
hwb_status hwb__cpu_direct_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                   const hwb__conv_geom *geom);

static inline int64_t hwb__conv_x_size(const hwb__conv_geom *g) {
    return g->n * g->c * g->h * g->w;
}
static inline int64_t hwb__conv_y_size(const hwb__conv_geom *g) {
    return g->n * g->o * g->oh * g->ow;
}
static inline int64_t hwb__conv_w_size(const hwb__conv_geom *g) {
    return g->o * (g->c / g->groups) * g->kernel[0] * g->kernel[1];
}

#endif
