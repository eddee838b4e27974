/*
 * cpu.c: the CPU backend: table from operations to kernel families, state,
 * threads.  What no family takes runs on ref.
 *
 * Channels last, because oneDNN's convolutions are several times faster on it
 * than on plain images and per-channel broadcasts are then contiguous.
 */
#include "backend/cpu/onednn_i.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu_after_i.h"
#include "backend/cpu/cpu_direct_i.h"
#include "backend/cpu/cpu_vec_i.h"
#include "backend/cpu/cpu_wino_i.h"

typedef struct family {
    hwb__cpu_supports_fn supports;
    hwb__cpu_prepare_fn prepare;
} family;

static const family families[HWB_OP_COUNT] = {
    [HWB_OP_CONV] = {hwb__cpu_conv_supports, hwb__cpu_conv_prepare},
    [HWB_OP_CONV_BWD_DATA] = {hwb__cpu_conv_supports, hwb__cpu_conv_prepare},
    [HWB_OP_CONV_BWD_WEIGHTS] = {hwb__cpu_conv_supports, hwb__cpu_conv_prepare},
    [HWB_OP_MATMUL] = {hwb__cpu_matmul_supports, hwb__cpu_matmul_prepare},
    [HWB_OP_RESHAPE] = {hwb__cpu_data_supports, hwb__cpu_data_prepare},
    [HWB_OP_PERMUTE] = {hwb__cpu_data_supports, hwb__cpu_data_prepare},
    [HWB_OP_BROADCAST] = {hwb__cpu_data_supports, hwb__cpu_data_prepare},
    [HWB_OP_SLICE] = {hwb__cpu_data_supports, hwb__cpu_data_prepare},
    [HWB_OP_PAD] = {hwb__cpu_data_supports, hwb__cpu_data_prepare},
    [HWB_OP_CONCAT] = {hwb__cpu_data_supports, hwb__cpu_data_prepare},
    [HWB_OP_GATHER] = {hwb__cpu_index_supports, hwb__cpu_index_prepare},
    [HWB_OP_SCATTER_ADD] = {hwb__cpu_index_supports, hwb__cpu_index_prepare},
    [HWB_OP_AVGPOOL] = {hwb__cpu_pool_supports, hwb__cpu_pool_prepare},
    [HWB_OP_AVGPOOL_BWD] = {hwb__cpu_pool_supports, hwb__cpu_pool_prepare},
    [HWB_OP_MAXPOOL_INDEX] = {hwb__cpu_pool_supports, hwb__cpu_pool_prepare},
    [HWB_OP_POOL_GATHER] = {hwb__cpu_pool_supports, hwb__cpu_pool_prepare},
    [HWB_OP_POOL_SCATTER] = {hwb__cpu_pool_supports, hwb__cpu_pool_prepare},
    [HWB_OP_MAX] = {hwb__cpu_reduce_supports, hwb__cpu_reduce_prepare},
    [HWB_OP_ARGMAX] = {hwb__cpu_reduce_supports, hwb__cpu_reduce_prepare},
};

/* Pointwise operations are groups of one instruction. */
static const family fused = {hwb__cpu_fused_supports, hwb__cpu_fused_prepare};

static const family *family_of(const hwb_kdesc *desc) {
    const family *f = &families[desc->op];
    hwb_vdesc result;
    const hwb_kdesc alone = hwb__cpu_conv_alone(desc, &result);
    if (f->supports && f->supports(&alone)) return f;
    return fused.supports(desc) ? &fused : NULL;
}

/* ---- state --------------------------------------------------------------- */

static const hwb__vec *choose_vec(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return &hwb__vec_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &hwb__vec_avx2;
#endif
    return &hwb__vec_base;
}

/* HWB_WINOGRAD=0 leaves convolutions to the direct method. */
static const hwb__wino *choose_wino(const hwb__vec *vec) {
    const char *wanted = getenv("HWB_WINOGRAD");
    if (wanted && strcmp(wanted, "0") == 0) return NULL;
#if defined(__x86_64__)
    if (vec == &hwb__vec_avx512) return &hwb__wino_avx512;
    if (vec == &hwb__vec_avx2) return &hwb__wino_avx2;
#endif
    (void)vec;
    return NULL;
}

static const hwb__direct *choose_direct(const hwb__vec *vec) {
#if defined(__x86_64__)
    if (vec == &hwb__vec_avx512) return &hwb__direct_avx512;
    if (vec == &hwb__vec_avx2) return &hwb__direct_avx2;
#endif
    (void)vec;
    return NULL;
}

const char *hwb_backend_cpu_convolutions(void) {
    const hwb__vec *vec = choose_vec();
    const hwb__direct *direct = choose_direct(vec);
    if (!direct) return "onednn";
    bool wide = strcmp(direct->name, "avx512") == 0;
    if (!choose_wino(vec)) return wide ? "direct:avx512, onednn" : "direct:avx2, onednn";
    return wide ? "winograd:avx512, direct:avx512, onednn" : "winograd:avx2, direct:avx2, onednn";
}

/* Bytes of the third-level cache as Linux tells it (sysconf counts all caches of
 * the socket on some machines); 32 MiB where it does not. */
static int64_t last_cache(void) {
    long kib = 0;
    FILE *f = fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r");
    if (f && fscanf(f, "%ldK", &kib) != 1) kib = 0;
    if (f) fclose(f);
    return (kib > 0 ? kib : 32768) * (int64_t)1024;
}

static void cpu_close(void *state) {
    hwb__cpu_state *s = state;
    if (!s) return;
    hwb__onednn_close(s->dnn);
    hwb_free(s->scratch);
    free(s);
}

static hwb_status cpu_open(hwb_ctx *ctx, void **state) {
    hwb__cpu_state *s = calloc(1, sizeof *s);
    if (!s) return hwb_fail(ctx, HWB_ENOMEM, "cpu: no memory for the backend");
    s->vec = choose_vec();
    s->cache_bytes = last_cache();
    s->wino = choose_wino(s->vec);
    s->direct = choose_direct(s->vec);
    hwb_status status = hwb__onednn_open(ctx, &s->dnn);
    if (status == HWB_OK) *state = s;
    else cpu_close(s);
    return status;
}

hwb_status hwb__cpu_reserve(hwb_ctx *ctx, hwb__cpu_state *state, size_t bytes) {
    if (bytes <= state->scratch_bytes) return HWB_OK;
    void *more = hwb_alloc(ctx, bytes);
    if (!more) return HWB_ENOMEM;
    hwb_free(state->scratch);
    state->scratch = more;
    state->scratch_bytes = bytes;
    return HWB_OK;
}

/* ---- kernels ------------------------------------------------------------- */

hwb_status hwb__cpu_kernel_new(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                               size_t bytes, const char *name) {
    hwb__cpu_kernel *kernel = hwb_calloc(ctx, bytes);
    if (!kernel) return HWB_ENOMEM;
    kernel->state = state;
    kernel->threads = hwb_threads(ctx);
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    *out = kernel;
    return HWB_OK;
}

static void use_threads(int threads) {
    if (omp_get_max_threads() != threads) omp_set_num_threads(threads);
}

/* A group follows what computes its result piece by piece. */
static bool takes_after(const hwb__cpu_state *state, const hwb_kdesc *desc) {
    if (!hwb__cpu_after_supports(desc)) return false;
    const hwb__conv_geom g = hwb__conv_geom_of(desc);
    if (!desc->exact && hwb__cpu_wino_takes(state, &g)) return hwb__cpu_wino_after(&g);
    return hwb__cpu_direct_takes(state, &g) && hwb__cpu_direct_after(&g);
}

static bool cpu_supports(void *state, const hwb_kdesc *desc) {
    if (desc->fused && desc->op != HWB_OP_FUSED && !takes_after(state, desc)) return false;
    return family_of(desc) != NULL;
}

static hwb_status cpu_prepare(hwb_ctx *ctx, void *state, hwb_kernel **out, const hwb_kdesc *desc) {
    const family *f = family_of(desc);
    if (!f) return hwb_fail(ctx, HWB_EUNSUPPORTED, "cpu: no kernel for %s", hwb_op_name(desc->op));
    hwb__cpu_state *s = state;
    hwb__cpu_kernel *kernel = NULL;
    use_threads(hwb_threads(ctx));
    HWB_TRY(f->prepare(ctx, s, &kernel, desc));
    *out = (hwb_kernel *)kernel;
    return HWB_OK;
}

static hwb_status cpu_run(hwb_ctx *ctx, void *state, hwb_kernel *kernel, const void *const *in,
                          const uint64_t *versions, void *const *out) {
    hwb__cpu_kernel *k = (hwb__cpu_kernel *)kernel;
    (void)state;
    use_threads(k->threads);
    return k->run(ctx, k, in, versions, out);
}

static void cpu_kernel_free(void *state, hwb_kernel *kernel) {
    hwb__cpu_kernel *k = (hwb__cpu_kernel *)kernel;
    (void)state;
    if (k) k->free(k);
}

static const char *cpu_kernel_name(void *state, const hwb_kernel *kernel) {
    (void)state;
    return ((const hwb__cpu_kernel *)kernel)->name;
}

const hwb_backend *hwb_backend_cpu(void) {
    static const hwb_backend backend = {
        .abi = HWB_BACKEND_ABI,
        .align = 1,
        .name = "cpu",
        .host = true,
        .channels_last = true,
        .fuses = true,
        .pairs = true,
        .epilogues = true,
        .open = cpu_open,
        .close = cpu_close,
        .supports = cpu_supports,
        .prepare = cpu_prepare,
        .run = cpu_run,
        .kernel_free = cpu_kernel_free,
        .kernel_name = cpu_kernel_name,
    };
    return &backend;
}
