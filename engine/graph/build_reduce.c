/*
 * build_reduce.c: reductions, products, convolutions and pooling as one writes
 * them (build.h).
 */
#include "graph/build.h"
#include "graph/graph_i.h"

#include <string.h>

static hwb_ctx *ctx_of(hwb_graph *g) {
    return hwb_graph_ctx(g);
}

static hwb_attrs zero_attrs(void) {
    hwb_attrs a;
    memset(&a, 0, sizeof a);
    return a;
}

/* ---- reductions ------------------------------------------------------------------ */

hwb_status hwb_axes_mask(hwb_graph *g, uint32_t *mask, hwb_id x, int n, const int *axes) {
    int rank = hwb_graph_shape(g, x)->ndim;
    char text[HWB_SHAPE_TEXT];
    *mask = 0;
    for (int i = 0; i < n; i++) {
        int a = axes[i] < 0 ? axes[i] + rank : axes[i];
        if (a < 0 || a >= rank)
            return hwb_fail(ctx_of(g), HWB_ESHAPE, "dim %d of a tensor %s with %d dims",
                            axes[i] < 0 ? axes[i] : axes[i] + 1,
                            hwb_shape_text(hwb_graph_shape(g, x), text), rank);
        *mask |= 1u << a;
    }
    return HWB_OK;
}

static uint32_t all_if_zero(hwb_graph *g, hwb_id x, uint32_t axes) {
    return axes ? axes : (1u << hwb_graph_shape(g, x)->ndim) - 1u;
}

static hwb_status drop_axes(hwb_graph *g, hwb_id *y, hwb_id x, uint32_t axes) {
    const hwb_shape *s = hwb_graph_shape(g, x);
    hwb_shape r = {.ndim = 0};
    for (int i = 0; i < s->ndim; i++)
        if (!(axes >> i & 1)) r.dim[r.ndim++] = s->dim[i];
    return hwb_reshape(g, y, x, r);
}

static hwb_status reduce(hwb_graph *g, hwb_id *y, hwb_op op, hwb_id x, uint32_t axes, bool keep) {
    axes = all_if_zero(g, x, axes);
    hwb_attrs a = zero_attrs();
    a.axes = axes;
    if (axes) HWB_TRY(hwb_graph_node(g, &x, op, 1, &x, &a));
    if (keep) *y = x;
    else HWB_TRY(drop_axes(g, y, x, axes));
    return HWB_OK;
}

hwb_status hwb_sum(hwb_graph *g, hwb_id *y, hwb_id x, uint32_t axes, bool keep) {
    return reduce(g, y, HWB_OP_SUM, x, axes, keep);
}

hwb_status hwb_max(hwb_graph *g, hwb_id *y, hwb_id x, uint32_t axes, bool keep) {
    return reduce(g, y, HWB_OP_MAX, x, axes, keep);
}

static double reduced_count(hwb_graph *g, hwb_id x, uint32_t axes) {
    const hwb_shape *s = hwb_graph_shape(g, x);
    double n = 1;
    for (int i = 0; i < s->ndim; i++)
        if (axes >> i & 1) n *= (double)s->dim[i];
    return n;
}

hwb_status hwb_mean(hwb_graph *g, hwb_id *y, hwb_id x, uint32_t axes, bool keep) {
    axes = all_if_zero(g, x, axes);
    if (!hwb_dtype_is_float(hwb_graph_dtype(g, x)))
        return hwb_fail(ctx_of(g), HWB_EDTYPE, "mean of %s: cast to a float first",
                        hwb_dtype_name(hwb_graph_dtype(g, x)));
    double n = reduced_count(g, x, axes);
    HWB_TRY(reduce(g, &x, HWB_OP_SUM, x, axes, keep));
    return hwb_mul_scalar(g, y, x, 1.0 / n);
}

hwb_status hwb_argmax(hwb_graph *g, hwb_id *y, hwb_id x, int axis, bool keep) {
    uint32_t mask;
    HWB_TRY(hwb_axes_mask(g, &mask, x, 1, &axis));
    hwb_attrs a = zero_attrs();
    a.axis = __builtin_ctz(mask);
    HWB_TRY(hwb_graph_node(g, &x, HWB_OP_ARGMAX, 1, &x, &a));
    if (keep) *y = x;
    else HWB_TRY(drop_axes(g, y, x, mask));
    return HWB_OK;
}

hwb_status hwb_var(hwb_graph *g, hwb_id *y, hwb_id x, uint32_t axes, bool keep) {
    hwb_id mean, d;
    HWB_TRY(hwb_mean(g, &mean, x, axes, true));
    HWB_TRY(hwb_sub(g, &d, x, mean));
    HWB_TRY(hwb_mul(g, &d, d, d));
    return hwb_mean(g, y, d, axes, keep);
}

/* ---- products ----------------------------------------------------------------------- */

/* A matrix operand of rank r: leading dims of size 1 are added. */
static hwb_status as_rank(hwb_graph *g, hwb_id *y, hwb_id x, int rank) {
    hwb_shape s = *hwb_graph_shape(g, x), r = {.ndim = rank};
    for (int i = 0; i < rank; i++) r.dim[i] = i < rank - s.ndim ? 1 : s.dim[i - (rank - s.ndim)];
    return hwb_reshape(g, y, x, r);
}

static hwb_status matmul_rank(hwb_graph *g, hwb_id *y, hwb_id a, hwb_id b, bool tb) {
    int ra = hwb_graph_shape(g, a)->ndim, rb = hwb_graph_shape(g, b)->ndim;
    int rank = ra > rb ? ra : rb;
    HWB_TRY(as_rank(g, &a, a, rank));
    HWB_TRY(as_rank(g, &b, b, rank));
    hwb_attrs attrs = zero_attrs();
    attrs.tb = tb;
    return hwb_graph_node(g, y, HWB_OP_MATMUL, 2, (hwb_id[]){a, b}, &attrs);
}

hwb_status hwb_matmul(hwb_graph *g, hwb_id *y, hwb_id a, hwb_id b) {
    char sa[HWB_SHAPE_TEXT], sb[HWB_SHAPE_TEXT];
    int ra = hwb_graph_shape(g, a)->ndim, rb = hwb_graph_shape(g, b)->ndim;
    if (ra == 0 || rb == 0)
        return hwb_fail(ctx_of(g), HWB_ESHAPE, "matmul: [%s] x [%s]: scalars have no product",
                        hwb_shape_text(hwb_graph_shape(g, a), sa),
                        hwb_shape_text(hwb_graph_shape(g, b), sb));
    hwb_id out;
    if (ra == 1) HWB_TRY(hwb_unsqueeze(g, &a, a, 0));
    if (rb == 1) HWB_TRY(hwb_unsqueeze(g, &b, b, 1));
    HWB_TRY(matmul_rank(g, &out, a, b, false));
    if (rb == 1) HWB_TRY(hwb_squeeze(g, &out, out, -1));
    if (ra == 1) HWB_TRY(hwb_squeeze(g, &out, out, rb == 1 ? -1 : -2));
    *y = out;
    return HWB_OK;
}

/* ---- convolution and pooling ----------------------------------------------------------- */

hwb_status hwb_conv2d(hwb_graph *g, hwb_id *y, hwb_id x, hwb_id w, hwb_id bias,
                      hwb_conv_options o) {
    hwb_attrs a = zero_attrs();
    for (int i = 0; i < 2; i++) {
        a.stride[i] = o.stride[i] ? o.stride[i] : 1;
        a.dilation[i] = o.dilation[i] ? o.dilation[i] : 1;
        a.pad_lo[i] = a.pad_hi[i] = o.padding[i];
    }
    a.groups = o.groups ? o.groups : 1;
    HWB_TRY(hwb_graph_node(g, &x, HWB_OP_CONV, 2, (hwb_id[]){x, w}, &a));
    *y = x;
    if (bias == HWB_NONE) return HWB_OK;
    hwb_shape s = {.ndim = 4, .dim = {1, -1, 1, 1}};
    HWB_TRY(hwb_reshape(g, &bias, bias, s));
    return hwb_add(g, y, x, bias);
}

/* Attributes of a pooling window; ceil mode pads more after the end. */
static hwb_status pool_attrs(hwb_graph *g, hwb_attrs *a, hwb_id x, const hwb_pool_options *o) {
    const hwb_shape *s = hwb_graph_shape(g, x);
    char text[HWB_SHAPE_TEXT];
    *a = zero_attrs();
    if (s->ndim != 4)
        return hwb_fail(ctx_of(g), HWB_ESHAPE, "pool: %s is not N x C x H x W",
                        hwb_shape_text(s, text));
    for (int i = 0; i < 2; i++) {
        int64_t size = s->dim[2 + i], k = o->kernel[i], stride = o->stride[i] ? o->stride[i] : k;
        if (k < 1 || stride < 1 || o->padding[i] < 0 || 2 * o->padding[i] > k)
            return hwb_fail(ctx_of(g), HWB_EARG, "pool: kernel %d, stride %d, padding %d",
                            o->kernel[i], o->stride[i], o->padding[i]);
        int64_t room = size + 2 * o->padding[i] - k;
        if (room < 0)
            return hwb_fail(ctx_of(g), HWB_ESHAPE, "pool: window %lld is larger than %lld",
                            (long long)k, (long long)size + 2 * o->padding[i]);
        int64_t extra = 0;
        /* A window that would start beyond the input is not made (as PyTorch). */
        if (o->ceil && room % stride) {
            extra = stride - room % stride;
            if ((room + extra) / stride * stride >= size + o->padding[i]) extra = 0;
        }
        a->kernel[i] = (int32_t)k;
        a->stride[i] = (int32_t)stride;
        a->dilation[i] = 1;
        a->pad_lo[i] = o->padding[i];
        a->pad_hi[i] = (int32_t)(o->padding[i] + extra);
    }
    return HWB_OK;
}

hwb_status hwb_avg_pool2d(hwb_graph *g, hwb_id *y, hwb_id x, hwb_pool_options o) {
    hwb_attrs a;
    HWB_TRY(pool_attrs(g, &a, x, &o));
    return hwb_graph_node(g, y, HWB_OP_AVGPOOL, 1, &x, &a);
}

hwb_status hwb_max_pool2d(hwb_graph *g, hwb_id *y, hwb_id x, hwb_pool_options o) {
    hwb_attrs a;
    HWB_TRY(pool_attrs(g, &a, x, &o));
    hwb_id index;
    HWB_TRY(hwb_graph_node(g, &index, HWB_OP_MAXPOOL_INDEX, 1, &x, &a));
    return hwb_graph_node(g, y, HWB_OP_POOL_GATHER, 2, (hwb_id[]){x, index}, &a);
}

/* ---- over ranks ---------------------------------------------------------------------- */

hwb_status hwb_allreduce(hwb_graph *g, hwb_id *y, hwb_id x, int ranks) {
    hwb_attrs a;
    memset(&a, 0, sizeof a);
    a.groups = ranks;
    a.key = hwb__graph_key(g);
    return hwb_graph_node(g, y, HWB_OP_ALLREDUCE, 1, &x, &a);
}
