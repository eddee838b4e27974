/*
 * build.h: operations as one writes them: numpy broadcasting, reductions that
 * drop or keep axes, negative axes, dtype promotion.  Each adds a few primitive
 * nodes to a graph.  Axes are 0-based; negative ones count from the end.
 *
 * dtypes: float32 with float64 gives float64; integers with floats give the
 * float; other mixtures are HWB_EDTYPE.
 */
#ifndef HWB_BUILD_H
#define HWB_BUILD_H

#include "graph/graph.h"

/* name of hwb_<name>(g, &y, x), the primitive.  (clang-format would indent these
 * lists further at every run.) */
/* clang-format off */
#define HWB_UNARY_MAP(XX)                                                                          \
    XX(neg, NEG) XX(exp, EXP) XX(log, LOG) XX(log1p, LOG1P) XX(sqrt, SQRT) XX(tanh, TANH)          \
    XX(sigmoid, SIGMOID) XX(erf, ERF) XX(sin, SIN) XX(cos, COS) XX(relu, RELU) XX(abs, ABS)        \
    XX(sign, SIGN) XX(floor, FLOOR) XX(round, ROUND) XX(stop_gradient, STOP) XX(round_st, ROUND_ST)
/* clang-format on */
#define XX(name, op) HWB_API hwb_status hwb_##name(hwb_graph *g, hwb_id *y, hwb_id x);
HWB_UNARY_MAP(XX)
#undef XX

/* hwb_<name>(g, &y, a, b); gt and ge are lt and le turned round */
/* clang-format off */
#define HWB_BINARY_MAP(XX)                                                                         \
    XX(add, ADD) XX(sub, SUB) XX(mul, MUL) XX(div, DIV) XX(pow, POW) XX(maximum, MAXIMUM)          \
    XX(minimum, MINIMUM) XX(lt, LT) XX(le, LE) XX(eq, EQ) XX(ne, NE)
/* clang-format on */
#define XX(name, op) HWB_API hwb_status hwb_##name(hwb_graph *g, hwb_id *y, hwb_id a, hwb_id b);
HWB_BINARY_MAP(XX)
#undef XX

/* x op scalar, in x's dtype (a comparison or sum with an integer x stays integer) */
HWB_API hwb_status hwb_scalar(hwb_graph *g, hwb_id *y, hwb_id like,
                              double value); /* rank of like, dims 1 */
HWB_API hwb_status hwb_add_scalar(hwb_graph *g, hwb_id *y, hwb_id x, double s);
HWB_API hwb_status hwb_mul_scalar(hwb_graph *g, hwb_id *y, hwb_id x, double s);
HWB_API hwb_status hwb_where(hwb_graph *g, hwb_id *y, hwb_id cond, hwb_id a, hwb_id b);
HWB_API hwb_status hwb_clamp(hwb_graph *g, hwb_id *y, hwb_id x, double lo, double hi);
HWB_API hwb_status hwb_cast(hwb_graph *g, hwb_id *y, hwb_id x, hwb_dtype dtype);
/* dst=x y=zeros of x's shape and dtype */
HWB_API hwb_status hwb_zeros_like(hwb_graph *g, hwb_id *y, hwb_id x);

/* ---- shape ----------------------------------------------------------------------- */

HWB_API hwb_status hwb_reshape(hwb_graph *g, hwb_id *y, hwb_id x, hwb_shape shape); /* one -1 */
HWB_API hwb_status hwb_permute(hwb_graph *g, hwb_id *y, hwb_id x, const int *perm);
HWB_API hwb_status hwb_transpose(hwb_graph *g, hwb_id *y, hwb_id x, int axis_a, int axis_b);
HWB_API hwb_status hwb_broadcast_to(hwb_graph *g, hwb_id *y, hwb_id x, hwb_shape shape);
HWB_API hwb_status hwb_unsqueeze(hwb_graph *g, hwb_id *y, hwb_id x, int axis);
HWB_API hwb_status hwb_squeeze(hwb_graph *g, hwb_id *y, hwb_id x, int axis);
HWB_API hwb_status hwb_flatten(hwb_graph *g, hwb_id *y, hwb_id x, int first_axis);
HWB_API hwb_status hwb_slice(hwb_graph *g, hwb_id *y, hwb_id x, int axis, int64_t start,
                             int64_t len, int64_t step);
HWB_API hwb_status hwb_pad(hwb_graph *g, hwb_id *y, hwb_id x, const int64_t *before,
                           const int64_t *after); /* zeros; one pair an axis */
HWB_API hwb_status hwb_concat(hwb_graph *g, hwb_id *y, int n, const hwb_id *x, int axis);
HWB_API hwb_status hwb_gather(hwb_graph *g, hwb_id *y, hwb_id x, hwb_id index, int axis);
HWB_API hwb_status hwb_scatter_add(hwb_graph *g, hwb_id *y, hwb_id updates, hwb_id index, int axis,
                                   int64_t size); /* transpose of gather: axis gets `size` */

/* ---- reductions: axes as a bit mask (0 = all); keep: reduced axes stay with size 1 ---- */

HWB_API hwb_status hwb_axes_mask(hwb_graph *g, uint32_t *mask, hwb_id x, int n, const int *axes);
HWB_API hwb_status hwb_sum(hwb_graph *g, hwb_id *y, hwb_id x, uint32_t axes, bool keep);
HWB_API hwb_status hwb_mean(hwb_graph *g, hwb_id *y, hwb_id x, uint32_t axes, bool keep);
HWB_API hwb_status hwb_max(hwb_graph *g, hwb_id *y, hwb_id x, uint32_t axes, bool keep);
HWB_API hwb_status hwb_argmax(hwb_graph *g, hwb_id *y, hwb_id x, int axis, bool keep);
/* The sum over `ranks` processes (comm/comm.h), the same on each; all of them compile and
 * run the same programs.  Of one rank: x.  Every call is a node of its own: two inputs that
 * are one on this rank, by constants such as its share of the samples, may be two on another. */
HWB_API hwb_status hwb_allreduce(hwb_graph *g, hwb_id *y, hwb_id x, int ranks);
/* biased (divides by the count) */
HWB_API hwb_status hwb_var(hwb_graph *g, hwb_id *y, hwb_id x, uint32_t axes, bool keep);

/* ---- products --------------------------------------------------------------------------- */

/* [m,k]x[k,n], [..,m,k]x[..,k,n] with broadcast batch dims, vectors as in numpy */
HWB_API hwb_status hwb_matmul(hwb_graph *g, hwb_id *y, hwb_id a, hwb_id b);

typedef struct hwb_conv_options {
    int stride[2], padding[2], dilation[2]; /* H, W; zero stride/dilation means 1 */
    int groups;                             /* 0 means 1 */
} hwb_conv_options;
/* x[N,C,H,W], w[O,C/g,h,w], bias[O] or HWB_NONE -> y[N,O,H',W'] */
HWB_API hwb_status hwb_conv2d(hwb_graph *g, hwb_id *y, hwb_id x, hwb_id w, hwb_id bias,
                              hwb_conv_options options);

typedef struct hwb_pool_options {
    int kernel[2], stride[2], padding[2]; /* zero stride means the kernel's */
    bool ceil;                            /* output size rounds up */
} hwb_pool_options;
HWB_API hwb_status hwb_avg_pool2d(hwb_graph *g, hwb_id *y, hwb_id x, hwb_pool_options options);
HWB_API hwb_status hwb_max_pool2d(hwb_graph *g, hwb_id *y, hwb_id x, hwb_pool_options options);

#endif
