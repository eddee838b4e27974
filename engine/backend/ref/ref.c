/*
 * ref.c: the reference backend: its table of kernels, and their life.  Every
 * operation of ops.def but the leaves has a row; it has no state.
 */
#include "backend/ref/ref_i.h"

#include <stdlib.h>
#include <string.h>

typedef struct ref_row {
    hwb__ref_fn run;
    size_t (*scratch)(const hwb_kdesc *desc); /* NULL: none */
} ref_row;

#define POINTWISE(op) [HWB_OP_##op] = {hwb__ref_pointwise, NULL}

static const ref_row ROWS[HWB_OP_COUNT] = {
    [HWB_OP_FILL] = {hwb__ref_fill, NULL},
    POINTWISE(NEG),
    POINTWISE(EXP),
    POINTWISE(LOG),
    POINTWISE(LOG1P),
    POINTWISE(SQRT),
    POINTWISE(TANH),
    POINTWISE(SIGMOID),
    POINTWISE(ERF),
    POINTWISE(SIN),
    POINTWISE(COS),
    POINTWISE(ADD),
    POINTWISE(SUB),
    POINTWISE(MUL),
    POINTWISE(DIV),
    POINTWISE(POW),
    POINTWISE(RELU),
    POINTWISE(ABS),
    POINTWISE(MAXIMUM),
    POINTWISE(MINIMUM),
    POINTWISE(LT),
    POINTWISE(LE),
    POINTWISE(EQ),
    POINTWISE(NE),
    POINTWISE(SIGN),
    POINTWISE(FLOOR),
    POINTWISE(ROUND),
    POINTWISE(ROUND_ST),
    [HWB_OP_WHERE] = {hwb__ref_where, NULL},
    [HWB_OP_STOP] = {hwb__ref_copy, NULL},
    [HWB_OP_CAST] = {hwb__ref_cast, NULL},
    [HWB_OP_RESHAPE] = {hwb__ref_copy, NULL},
    [HWB_OP_PERMUTE] = {hwb__ref_permute, NULL},
    [HWB_OP_BROADCAST] = {hwb__ref_broadcast, NULL},
    [HWB_OP_SLICE] = {hwb__ref_slice, NULL},
    [HWB_OP_PAD] = {hwb__ref_pad, NULL},
    [HWB_OP_CONCAT] = {hwb__ref_concat, NULL},
    [HWB_OP_GATHER] = {hwb__ref_gather, NULL},
    [HWB_OP_SCATTER_ADD] = {hwb__ref_scatter_add, hwb__ref_scratch_result},
    [HWB_OP_SUM] = {hwb__ref_sum, NULL},
    [HWB_OP_MAX] = {hwb__ref_max, NULL},
    [HWB_OP_ARGMAX] = {hwb__ref_argmax, NULL},
    [HWB_OP_AVGPOOL] = {hwb__ref_avgpool, NULL},
    [HWB_OP_AVGPOOL_BWD] = {hwb__ref_avgpool_bwd, hwb__ref_scratch_result},
    [HWB_OP_MAXPOOL_INDEX] = {hwb__ref_maxpool_index, NULL},
    [HWB_OP_POOL_GATHER] = {hwb__ref_pool_gather, NULL},
    [HWB_OP_POOL_SCATTER] = {hwb__ref_pool_scatter, hwb__ref_scratch_result},
    [HWB_OP_MATMUL] = {hwb__ref_matmul, hwb__ref_scratch_widen},
    [HWB_OP_CONV] = {hwb__ref_conv, hwb__ref_scratch_widen},
    [HWB_OP_CONV_BWD_DATA] = {hwb__ref_conv_bwd_data, hwb__ref_scratch_widen},
    [HWB_OP_CONV_BWD_WEIGHTS] = {hwb__ref_conv_bwd_weights, hwb__ref_scratch_widen},
    [HWB_OP_FUSED] = {hwb__ref_fused, hwb__ref_scratch_fused},
};

static hwb_status ref_open(hwb_ctx *ctx, void **state) {
    (void)ctx;
    *state = NULL;
    return HWB_OK;
}

static void ref_close(void *state) {
    (void)state;
}

static hwb_status ref_sync(hwb_ctx *ctx, void *state) {
    (void)ctx, (void)state;
    return HWB_OK;
}

static bool ref_supports(void *state, const hwb_kdesc *desc) {
    (void)state;
    if ((unsigned)desc->op >= HWB_OP_COUNT || !ROWS[desc->op].run) return false;
    if (desc->op != HWB_OP_FUSED) return true;
    const hwb_fused *f = desc->fused;
    return f && hwb_dtype_is_float(f->dtype) && f->n_in <= HWB_FUSED_MAX_IN &&
           f->n_instr <= HWB_FUSED_MAX_INSTR && f->n_out <= HWB_FUSED_MAX_OUT;
}

static void ref_kernel_free(void *state, hwb_kernel *k) {
    (void)state;
    if (!k) return;
    free((void *)k->desc.in);
    free((void *)k->desc.out);
    free((void *)k->fused.instr);
    free((void *)k->fused.out);
    hwb_free(k->scratch);
    free(k);
}

/* A copy of n bytes in *out (NULL for none); false without memory. */
static bool copy_of(const void *src, size_t n, const void **out) {
    void *p = n > 0 ? malloc(n) : NULL;
    if (p) memcpy(p, src, n);
    *out = p;
    return p || n == 0;
}

static bool copy_desc(hwb_kernel *k, const hwb_kdesc *desc) {
    const void *in, *out, *instr = NULL, *outs = NULL;
    const hwb_fused *f = desc->fused;
    bool ok = copy_of(desc->in, (size_t)desc->n_in * sizeof(*desc->in), &in);
    ok = copy_of(desc->out, (size_t)desc->n_out * sizeof(*desc->out), &out) && ok;
    if (f) {
        ok = copy_of(f->instr, (size_t)f->n_instr * sizeof(*f->instr), &instr) && ok;
        ok = copy_of(f->out, (size_t)f->n_out * sizeof(*f->out), &outs) && ok;
        k->fused = *f;
        k->fused.instr = instr;
        k->fused.out = outs;
    }
    k->desc = *desc;
    k->desc.in = in;
    k->desc.out = out;
    k->desc.fused = f ? &k->fused : NULL;
    return ok;
}

static hwb_status ref_prepare(hwb_ctx *ctx, void *state, hwb_kernel **out, const hwb_kdesc *desc) {
    if (!ref_supports(state, desc))
        return hwb_fail(ctx, HWB_EUNSUPPORTED, "ref: no kernel for %s", hwb_op_name(desc->op));
    size_t (*scratch)(const hwb_kdesc *) = ROWS[desc->op].scratch;
    hwb_kernel *k = calloc(1, sizeof(*k));
    if (!k || !copy_desc(k, desc)) {
        ref_kernel_free(state, k);
        return hwb_fail(ctx, HWB_ENOMEM, "ref: no memory for a kernel");
    }
    if (scratch && !(k->scratch = hwb_alloc(ctx, scratch(desc)))) {
        ref_kernel_free(state, k);
        return HWB_ENOMEM;
    }
    *out = k;
    return HWB_OK;
}

static hwb_status ref_run(hwb_ctx *ctx, void *state, hwb_kernel *k, const void *const *in,
                          const uint64_t *versions, void *const *out) {
    (void)state, (void)versions;
    return ROWS[k->desc.op].run(ctx, k, in, out);
}

static const char *ref_kernel_name(void *state, const hwb_kernel *k) {
    (void)state, (void)k;
    return "ref";
}

const hwb_backend *hwb_backend_ref(void) {
    static const hwb_backend ref = {
        .abi = HWB_BACKEND_ABI,
        .align = 1,
        .name = "ref",
        .host = true,
        .fuses = true,
        .open = ref_open,
        .close = ref_close,
        .sync = ref_sync,
        .supports = ref_supports,
        .prepare = ref_prepare,
        .run = ref_run,
        .kernel_free = ref_kernel_free,
        .kernel_name = ref_kernel_name,
    };
    return &ref;
}
