/*
 * onednn.c: convolution primitives and weight reorders of oneDNN 2.x.
 *
 * A convolution fixes the layouts of its images (nhwc or nchw) and leaves that of
 * the weights to oneDNN (format any); weights pass through reorders.
 * Memory objects are made once, with no buffer behind them, and get their
 * pointers at every run.  The scratchpad is the caller's.
 */
#include "backend/cpu/onednn_i.h"

#include <stdio.h>
#include <stdlib.h>

#include <oneapi/dnnl/dnnl.h>

struct hwb__onednn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
};

struct hwb__dnn_conv {
    hwb__onednn *dnn; /* borrowed */
    dnnl_primitive_t primitive;
    dnnl_memory_desc_t given[3], used[3]; /* by operand: x, w, y */
    dnnl_memory_t memory[3], scratch;
    int arg[3];
    size_t scratch_bytes;
    char name[48];
};

struct hwb__dnn_reorder {
    hwb__onednn *dnn; /* borrowed */
    dnnl_primitive_t primitive;
    dnnl_memory_t from, to;
};

static hwb_status check(hwb_ctx *ctx, dnnl_status_t status, const char *what) {
    if (status == dnnl_success) return HWB_OK;
    if (status == dnnl_out_of_memory) return hwb_fail(ctx, HWB_ENOMEM, "oneDNN: %s", what);
    hwb_status kind = status == dnnl_unimplemented ? HWB_EUNSUPPORTED : HWB_EINTERNAL;
    return hwb_fail(ctx, kind, "oneDNN: %s: status %d", what, (int)status);
}

hwb_status hwb__onednn_open(hwb_ctx *ctx, hwb__onednn **out) {
    hwb__onednn *dnn = calloc(1, sizeof *dnn);
    if (!dnn) return hwb_fail(ctx, HWB_ENOMEM, "oneDNN: no memory for the engine");
    hwb_status status;
    HWB_GOTO(fail, status, check(ctx, dnnl_engine_create(&dnn->engine, dnnl_cpu, 0), "engine"));
    HWB_GOTO(fail, status,
             check(ctx, dnnl_stream_create(&dnn->stream, dnn->engine, dnnl_stream_default_flags),
                   "stream"));
    *out = dnn;
    return HWB_OK;
fail:
    hwb__onednn_close(dnn);
    return status;
}

void hwb__onednn_close(hwb__onednn *dnn) {
    if (!dnn) return;
    if (dnn->stream) dnnl_stream_destroy(dnn->stream);
    if (dnn->engine) dnnl_engine_destroy(dnn->engine);
    free(dnn);
}

/* ---- convolution --------------------------------------------------------- */

typedef struct conv_plan {
    dnnl_memory_desc_t md[3]; /* x, w, y as asked for; format any where oneDNN may choose */
    dnnl_dims_t stride, dilate, pad_lo, pad_hi;
} conv_plan;

static hwb_status plan_conv(hwb_ctx *ctx, conv_plan *p, dnnl_memory_desc_t given[3],
                            const hwb__conv_geom *g, int64_t n) {
    bool grouped = g->groups > 1;
    dnnl_dims_t x = {n, g->c, g->h, g->w}, y = {n, g->o, g->oh, g->ow};
    dnnl_dims_t w5 = {g->groups, g->o / g->groups, g->c / g->groups, g->kernel[0], g->kernel[1]};
    dnnl_dims_t w4 = {g->o, g->c, g->kernel[0], g->kernel[1]};
    dnnl_format_tag_t image = g->channels_last ? dnnl_nhwc : dnnl_nchw;
    const int64_t *dims[3] = {x, grouped ? w5 : w4, y};
    dnnl_format_tag_t tags[3] = {image, grouped ? dnnl_goihw : dnnl_oihw, image};
    for (int i = 0; i < 3; i++) {
        int rank = i == HWB__CONV_W && grouped ? 5 : 4;
        bool any = i == HWB__CONV_W;
        HWB_TRY(check(ctx,
                      dnnl_memory_desc_init_by_tag(&given[i], rank, dims[i], dnnl_f32, tags[i]),
                      "layout"));
        HWB_TRY(check(ctx,
                      dnnl_memory_desc_init_by_tag(&p->md[i], rank, dims[i], dnnl_f32,
                                                   any ? dnnl_format_tag_any : tags[i]),
                      "layout"));
    }
    for (int i = 0; i < 2; i++) {
        p->stride[i] = g->stride[i];
        p->dilate[i] = g->dilation[i] - 1; /* oneDNN counts the gaps */
        p->pad_lo[i] = g->pad_lo[i];
        p->pad_hi[i] = g->pad_hi[i];
    }
    return HWB_OK;
}

/* Scratchpad from the caller, and for `add` result += (the sum post-op). */
static hwb_status make_attr(hwb_ctx *ctx, dnnl_primitive_attr_t *out, bool add) {
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t post = NULL;
    hwb_status status;
    HWB_GOTO(done, status, check(ctx, dnnl_primitive_attr_create(&attr), "attributes"));
    HWB_GOTO(done, status,
             check(ctx, dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user),
                   "scratchpad mode"));
    if (add) {
        HWB_GOTO(done, status, check(ctx, dnnl_post_ops_create(&post), "post-ops"));
        HWB_GOTO(done, status, check(ctx, dnnl_post_ops_append_sum(post, 1.0f), "sum post-op"));
        HWB_GOTO(done, status, check(ctx, dnnl_primitive_attr_set_post_ops(attr, post), "sum"));
    }
done:
    if (post) dnnl_post_ops_destroy(post);
    if (status != HWB_OK && attr) dnnl_primitive_attr_destroy(attr);
    if (status == HWB_OK) *out = attr;
    return status;
}

static hwb_status forward_desc(hwb_ctx *ctx, hwb__onednn *dnn, dnnl_primitive_desc_t *out,
                               const conv_plan *p, const_dnnl_primitive_attr_t attr,
                               dnnl_prop_kind_t kind) {
    dnnl_convolution_desc_t d;
    HWB_TRY(check(ctx,
                  dnnl_dilated_convolution_forward_desc_init(
                      &d, kind, dnnl_convolution_direct, &p->md[0], &p->md[1], NULL, &p->md[2],
                      p->stride, p->dilate, p->pad_lo, p->pad_hi),
                  "convolution"));
    return check(ctx, dnnl_primitive_desc_create(out, &d, attr, dnn->engine, NULL), "convolution");
}

static hwb_status backward_desc(hwb_ctx *ctx, hwb__onednn *dnn, dnnl_primitive_desc_t *out,
                                const conv_plan *p, const_dnnl_primitive_attr_t attr, hwb_op op) {
    dnnl_primitive_desc_t hint = NULL;
    HWB_TRY(forward_desc(ctx, dnn, &hint, p, NULL, dnnl_forward_training));
    dnnl_convolution_desc_t d;
    dnnl_status_t made = op == HWB_OP_CONV_BWD_DATA
                             ? dnnl_dilated_convolution_backward_data_desc_init(
                                   &d, dnnl_convolution_direct, &p->md[0], &p->md[1], &p->md[2],
                                   p->stride, p->dilate, p->pad_lo, p->pad_hi)
                             : dnnl_dilated_convolution_backward_weights_desc_init(
                                   &d, dnnl_convolution_direct, &p->md[0], &p->md[1], NULL,
                                   &p->md[2], p->stride, p->dilate, p->pad_lo, p->pad_hi);
    if (made == dnnl_success) made = dnnl_primitive_desc_create(out, &d, attr, dnn->engine, hint);
    dnnl_primitive_desc_destroy(hint);
    return check(ctx, made, "convolution backward");
}

/* A memory object with no buffer yet. */
static hwb_status memory(hwb_ctx *ctx, hwb__onednn *dnn, dnnl_memory_t *out,
                         const dnnl_memory_desc_t *md) {
    return check(ctx, dnnl_memory_create(out, md, dnn->engine, DNNL_MEMORY_NONE), "memory");
}

static hwb_status finish_conv(hwb_ctx *ctx, hwb__dnn_conv *conv, const_dnnl_primitive_desc_t pd,
                              hwb_op op) {
    bool data = op == HWB_OP_CONV_BWD_DATA, weights = op == HWB_OP_CONV_BWD_WEIGHTS;
    conv->arg[0] = data ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC;
    conv->arg[1] = weights ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS;
    conv->arg[2] = op == HWB_OP_CONV ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST;
    for (int i = 0; i < 3; i++) {
        const dnnl_memory_desc_t *md =
            dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, conv->arg[i]);
        conv->used[i] = *md;
        HWB_TRY(memory(ctx, conv->dnn, &conv->memory[i], md));
    }
    const dnnl_memory_desc_t *pad = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    conv->scratch_bytes = dnnl_memory_desc_get_size(pad);
    const char *impl = NULL;
    if (dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &impl) == dnnl_success && impl)
        snprintf(conv->name, sizeof conv->name, "%s", impl);
    HWB_TRY(check(ctx, dnnl_primitive_create(&conv->primitive, pd), "primitive"));
    return memory(ctx, conv->dnn, &conv->scratch, pad);
}

hwb_status hwb__dnn_conv_new(hwb_ctx *ctx, hwb__onednn *dnn, hwb__dnn_conv **out,
                             const hwb__conv_geom *geom, int64_t n, bool add) {
    hwb__dnn_conv *conv = calloc(1, sizeof *conv);
    if (!conv) return hwb_fail(ctx, HWB_ENOMEM, "oneDNN: no memory for a convolution");
    conv->dnn = dnn;
    conv_plan plan;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    hwb_status status;
    HWB_GOTO(done, status, plan_conv(ctx, &plan, conv->given, geom, n));
    HWB_GOTO(done, status, make_attr(ctx, &attr, add));
    status = geom->op == HWB_OP_CONV
                 ? forward_desc(ctx, dnn, &pd, &plan, attr, dnnl_forward_inference)
                 : backward_desc(ctx, dnn, &pd, &plan, attr, geom->op);
    if (status == HWB_OK) status = finish_conv(ctx, conv, pd, geom->op);
done:
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (status == HWB_OK) *out = conv;
    else hwb__dnn_conv_free(conv);
    return status;
}

void hwb__dnn_conv_free(hwb__dnn_conv *conv) {
    if (!conv) return;
    if (conv->primitive) dnnl_primitive_destroy(conv->primitive);
    for (int i = 0; i < 3; i++)
        if (conv->memory[i]) dnnl_memory_destroy(conv->memory[i]);
    if (conv->scratch) dnnl_memory_destroy(conv->scratch);
    free(conv);
}

/* oneDNN takes non-const pointers for inputs and results alike. */
static dnnl_status_t put(dnnl_memory_t memory, const void *p) {
    return dnnl_memory_set_data_handle(memory, (void *)(uintptr_t)p);
}

hwb_status hwb__dnn_conv_run(hwb_ctx *ctx, hwb__dnn_conv *conv, const void *x, const void *w,
                             const void *y, void *scratch) {
    put(conv->memory[0], x);
    put(conv->memory[1], w);
    put(conv->memory[2], y);
    put(conv->scratch, scratch);
    dnnl_exec_arg_t args[] = {{conv->arg[0], conv->memory[0]},
                              {conv->arg[1], conv->memory[1]},
                              {conv->arg[2], conv->memory[2]},
                              {DNNL_ARG_SCRATCHPAD, conv->scratch}};
    dnnl_status_t done = dnnl_primitive_execute(conv->primitive, conv->dnn->stream, 4, args);
    return check(ctx, done, "convolution run");
}

size_t hwb__dnn_conv_scratch(const hwb__dnn_conv *conv) {
    return conv->scratch_bytes;
}

size_t hwb__dnn_conv_bytes(const hwb__dnn_conv *conv, hwb__conv_operand operand) {
    return dnnl_memory_desc_get_size(&conv->used[operand]);
}

bool hwb__dnn_conv_as_given(const hwb__dnn_conv *conv, hwb__conv_operand operand) {
    return dnnl_memory_desc_equal(&conv->given[operand], &conv->used[operand]) != 0;
}

const char *hwb__dnn_conv_name(const hwb__dnn_conv *conv) {
    return conv->name;
}

/* ---- reorders ------------------------------------------------------------ */

hwb_status hwb__dnn_reorder_new(hwb_ctx *ctx, hwb__dnn_reorder **out, const hwb__dnn_conv *conv,
                                bool back, bool add) {
    hwb__dnn_reorder *reorder = calloc(1, sizeof *reorder);
    if (!reorder) return hwb_fail(ctx, HWB_ENOMEM, "oneDNN: no memory for a reorder");
    reorder->dnn = conv->dnn;
    const dnnl_memory_desc_t *from = back ? &conv->used[HWB__CONV_W] : &conv->given[HWB__CONV_W];
    const dnnl_memory_desc_t *to = back ? &conv->given[HWB__CONV_W] : &conv->used[HWB__CONV_W];
    dnnl_engine_t engine = conv->dnn->engine;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    hwb_status status;
    HWB_GOTO(done, status, make_attr(ctx, &attr, add));
    HWB_GOTO(done, status,
             check(ctx, dnnl_reorder_primitive_desc_create(&pd, from, engine, to, engine, attr),
                   "reorder"));
    /* None of these reorders needs a scratchpad; one that did would be refused here. */
    if (dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0))) {
        status = hwb_fail(ctx, HWB_EUNSUPPORTED, "oneDNN: reorder wants a scratchpad");
        goto done;
    }
    HWB_GOTO(done, status, check(ctx, dnnl_primitive_create(&reorder->primitive, pd), "reorder"));
    HWB_GOTO(done, status, memory(ctx, conv->dnn, &reorder->from, from));
    HWB_GOTO(done, status, memory(ctx, conv->dnn, &reorder->to, to));
done:
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (status == HWB_OK) *out = reorder;
    else hwb__dnn_reorder_free(reorder);
    return status;
}

void hwb__dnn_reorder_free(hwb__dnn_reorder *reorder) {
    if (!reorder) return;
    if (reorder->primitive) dnnl_primitive_destroy(reorder->primitive);
    if (reorder->from) dnnl_memory_destroy(reorder->from);
    if (reorder->to) dnnl_memory_destroy(reorder->to);
    free(reorder);
}

hwb_status hwb__dnn_reorder_run(hwb_ctx *ctx, hwb__dnn_reorder *reorder, const void *from,
                                void *to) {
    put(reorder->from, from);
    put(reorder->to, to);
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, reorder->from}, {DNNL_ARG_TO, reorder->to}};
    return check(ctx, dnnl_primitive_execute(reorder->primitive, reorder->dnn->stream, 2, args),
                 "reorder run");
}
