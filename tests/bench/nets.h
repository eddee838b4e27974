/*
 * nets.h: the benchmark networks in C, with weights and inputs by the formulas
 * of peer_spec.py, so that both sides compute on the same tensors.
 *
 * Tensor k of n values is shift + scale * sin(h(k,i)),
 *     h(k,i) = (31 i^2 + 7919 i + 104729 k) mod 10007,   i = 0..n-1.
 * Parameters count from 1 in model order; x is number 100001, the labels are
 * h(200001, i) mod classes.
 */
#ifndef HWB_BENCH_NETS_H
#define HWB_BENCH_NETS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/compose.h"
#include "model/model.h"
#include "quant/fake.h"

enum { NET_MAX_TENSORS = 400, NET_MAX_ACTIVATIONS = 64 };

/* What the forward pass does beside its layers (ResNet20 only). */
typedef enum net_mode {
    NET_FLOAT,
    NET_OBSERVE, /* the output is the largest value of each activation, [activations] */
    NET_QUANTIZE /* weights and activations are quantized to `bits` */
} net_mode;

typedef struct net {
    hwb_ctx *ctx;
    hwb_model *model; /* borrowed: it owns this struct */
    int n;
    char *name[NET_MAX_TENSORS];
    hwb_tensor *tensor[NET_MAX_TENSORS];
    int n_parameters;
    int64_t width, blocks; /* resnet20: channels of the first stage, blocks a stage */
    net_mode mode;
    int bits;
    int n_seen; /* activations met in this forward pass */
    hwb_id seen[NET_MAX_ACTIVATIONS];
} net;

static inline int64_t net_hash(int64_t k, int64_t i) {
    return (31 * i * i + 7919 * i + 104729 * k) % 10007;
}

static inline hwb_status net_formula(hwb_ctx *ctx, hwb_tensor **out, int64_t k, hwb_shape shape,
                                     double scale, double shift) {
    HWB_TRY(hwb_tensor_new(ctx, out, HWB_F32, shape));
    float *p = hwb_tensor_data(*out);
    double *table = malloc(10007 * sizeof *table);
    if (!table) return HWB_ENOMEM;
    for (int64_t i = 0; i < 10007; i++) table[i] = shift + scale * sin((double)i);
    for (int64_t i = 0; i < hwb_shape_numel(&shape); i++) p[i] = (float)table[net_hash(k, i)];
    free(table);
    return HWB_OK;
}

/* x[batch,3,side,side] and labels [batch] */
static inline hwb_status net_images(hwb_ctx *ctx, hwb_tensor **x, hwb_tensor **y, int64_t batch,
                                    int64_t side, int64_t classes) {
    hwb_shape images = {.ndim = 4, .dim = {batch, 3, side, side}};
    hwb_shape labels = {.ndim = 1, .dim = {batch}};
    HWB_TRY(net_formula(ctx, x, 100001, images, 1.7, 0));
    HWB_TRY(hwb_tensor_new(ctx, y, HWB_I64, labels));
    for (int64_t i = 0; i < batch; i++)
        ((int64_t *)hwb_tensor_data(*y))[i] = net_hash(200001, i) % classes;
    return HWB_OK;
}

/* ---- parameters ------------------------------------------------------------------- */

static inline hwb_status net_keep(net *s, const char *layer, const char *what, hwb_tensor *t) {
    char name[128];
    snprintf(name, sizeof name, "%s.%s", layer, what);
    s->name[s->n] = strdup(name);
    s->tensor[s->n++] = t;
    return strncmp(what, "running", 7) == 0 ? hwb_model_add_buffer(s->ctx, s->model, name, t)
                                            : hwb_model_add_parameter(s->ctx, s->model, name, t);
}

static inline hwb_status net_add(net *s, const char *layer, const char *what, hwb_shape shape,
                                 double scale, double shift) {
    hwb_tensor *t;
    HWB_TRY(net_formula(s->ctx, &t, ++s->n_parameters, shape, scale, shift));
    return net_keep(s, layer, what, t);
}

static inline hwb_status net_add_conv(net *s, const char *layer, int64_t in, int64_t out,
                                      int64_t k) {
    hwb_shape shape = {.ndim = 4, .dim = {out, in, k, k}};
    return net_add(s, layer, "weight", shape, 2 / sqrt((double)(in * k * k)), 0);
}

static inline hwb_status net_add_bn(net *s, const char *layer, int64_t n) {
    hwb_shape shape = {.ndim = 1, .dim = {n}};
    hwb_tensor *mean, *var;
    HWB_TRY(net_add(s, layer, "weight", shape, 0.1, 0.5));
    HWB_TRY(net_add(s, layer, "bias", shape, 0.1, 0));
    HWB_TRY(hwb_tensor_zeros(s->ctx, &mean, HWB_F32, shape));
    HWB_TRY(hwb_tensor_new(s->ctx, &var, HWB_F32, shape));
    HWB_TRY(hwb_tensor_fill(s->ctx, var, 1));
    HWB_TRY(net_keep(s, layer, "running_mean", mean));
    return net_keep(s, layer, "running_var", var);
}

static inline hwb_status net_add_linear(net *s, const char *layer, int64_t in, int64_t out) {
    hwb_shape w = {.ndim = 2, .dim = {out, in}}, b = {.ndim = 1, .dim = {out}};
    HWB_TRY(net_add(s, layer, "weight", w, sqrt(2 / (double)in), 0));
    return net_add(s, layer, "bias", b, 0.01, 0);
}

/* ---- layers of a forward pass -------------------------------------------------------- */

static inline hwb_status net_get(const net *s, hwb_graph *g, hwb_id *out, const char *layer,
                                 const char *what) {
    char name[128];
    snprintf(name, sizeof name, "%s.%s", layer, what);
    for (int i = 0; i < s->n; i++)
        if (strcmp(s->name[i], name) == 0) return hwb_graph_lift(g, out, s->tensor[i]);
    return hwb_fail(s->ctx, HWB_EARG, "no tensor %s", name);
}

/* The weight of a layer; NET_QUANTIZE: symmetric, one scale an output channel. */
static inline hwb_status net_weight(const net *s, hwb_graph *g, hwb_id *w, const char *layer) {
    hwb_quant_spec spec = hwb_quant_defaults();
    HWB_TRY(net_get(s, g, w, layer, "weight"));
    if (s->mode != NET_QUANTIZE) return HWB_OK;
    spec.bits = s->bits;
    return hwb_fake_weight(g, w, *w, &spec, HWB_NONE, HWB_NONE, false);
}

/* ReLU, and what the mode does with its result. */
static inline hwb_status net_act(net *s, hwb_graph *g, hwb_id *x) {
    char layer[32];
    hwb_id range;
    HWB_TRY(hwb_relu(g, x, *x));
    int at = s->n_seen++;
    if (s->mode == NET_FLOAT) return HWB_OK;
    if (s->mode == NET_OBSERVE) return hwb_max(g, &s->seen[at], *x, 0, false);
    snprintf(layer, sizeof layer, "act%d", at);
    HWB_TRY(net_get(s, g, &range, layer, "running_range"));
    return hwb_fake_activation(g, x, *x, range, s->bits, HWB_QUANT_ASYMMETRIC, false);
}

static inline hwb_status net_conv(const net *s, hwb_graph *g, hwb_id *x, const char *layer,
                                  int stride, int padding) {
    hwb_id w;
    hwb_conv_options o = {.stride = {stride, stride}, .padding = {padding, padding}};
    HWB_TRY(hwb_graph_push_scope(g, layer));
    HWB_TRY(net_weight(s, g, &w, layer));
    HWB_TRY(hwb_conv2d(g, x, *x, w, HWB_NONE, o));
    hwb_graph_pop_scope(g);
    return HWB_OK;
}

/* buffer <- 0.9 buffer + 0.1 value */
static inline hwb_status net_blend(const net *s, hwb_graph *g, const char *layer, const char *what,
                                   hwb_id value) {
    char name[128];
    hwb_id old;
    int i = 0;
    HWB_TRY(net_get(s, g, &old, layer, what));
    HWB_TRY(hwb_mul_scalar(g, &old, old, 0.9));
    HWB_TRY(hwb_mul_scalar(g, &value, value, 0.1));
    HWB_TRY(hwb_add(g, &value, old, value));
    snprintf(name, sizeof name, "%s.%s", layer, what);
    while (strcmp(s->name[i], name) != 0) i++; /* ends: net_get has found it */
    return hwb_graph_update(g, s->tensor[i], value);
}

static inline hwb_status net_bn(const net *s, hwb_graph *g, hwb_id *x, const char *layer,
                                bool train) {
    hwb_id p[4];
    static const char *const what[4] = {"weight", "bias", "running_mean", "running_var"};
    HWB_TRY(hwb_graph_push_scope(g, layer));
    for (int i = 0; i < 4; i++) HWB_TRY(net_get(s, g, &p[i], layer, what[i]));
    if (train) {
        HWB_TRY(hwb_batch_norm_batch(g, x, &p[2], &p[3], *x, p[0], p[1], 1e-5));
        for (int i = 2; i < 4; i++) HWB_TRY(net_blend(s, g, layer, what[i], p[i]));
    } else {
        HWB_TRY(hwb_batch_norm_eval(g, x, *x, p[0], p[1], p[2], p[3], 1e-5));
    }
    hwb_graph_pop_scope(g);
    return HWB_OK;
}

static inline hwb_status net_head(const net *s, hwb_graph *g, hwb_id *y, hwb_id x,
                                  const char *layer) {
    hwb_id w, b;
    HWB_TRY(hwb_graph_push_scope(g, layer));
    HWB_TRY(hwb_mean(g, &x, x, 1u << 2 | 1u << 3, false));
    HWB_TRY(net_weight(s, g, &w, layer));
    HWB_TRY(net_get(s, g, &b, layer, "bias"));
    HWB_TRY(hwb_linear(g, y, x, w, b));
    hwb_graph_pop_scope(g);
    return HWB_OK;
}

/* ---- ResNet20 for CIFAR, option-A shortcuts -------------------------------------------- */

/* x[N,C,H,W] -> every other pixel, with zero channels on both sides up to `channels` */
static inline hwb_status net_shortcut(hwb_graph *g, hwb_id *x, int64_t channels) {
    hwb_shape s = *hwb_graph_shape(g, *x);
    int64_t before[4] = {0, (channels - s.dim[1]) / 2, 0, 0};
    HWB_TRY(hwb_slice(g, x, *x, 2, 0, (s.dim[2] + 1) / 2, 2));
    HWB_TRY(hwb_slice(g, x, *x, 3, 0, (s.dim[3] + 1) / 2, 2));
    return hwb_pad(g, x, *x, before, before);
}

static inline hwb_status net_resnet20_forward(void *user, hwb_graph *g, hwb_id *y, hwb_id x,
                                              bool train) {
    net *s = user;
    s->n_seen = 0;
    HWB_TRY(net_conv(s, g, &x, "conv1", 1, 1));
    HWB_TRY(net_bn(s, g, &x, "bn1", train));
    HWB_TRY(net_act(s, g, &x));
    for (int stage = 1; stage <= 3; stage++)
        for (int b = 0; b < s->blocks; b++) {
            char at[2][48], bn[2][48];
            int stride = stage > 1 && b == 0 ? 2 : 1;
            hwb_id z = x;
            for (int j = 0; j < 2; j++) {
                snprintf(at[j], sizeof at[j], "layer%d.%d.conv%d", stage, b, j + 1);
                snprintf(bn[j], sizeof bn[j], "layer%d.%d.bn%d", stage, b, j + 1);
                HWB_TRY(net_conv(s, g, &z, at[j], j ? 1 : stride, 1));
                HWB_TRY(net_bn(s, g, &z, bn[j], train));
                if (j == 0) HWB_TRY(net_act(s, g, &z));
            }
            if (stride == 2) HWB_TRY(net_shortcut(g, &x, s->width << (stage - 1)));
            HWB_TRY(hwb_add(g, &x, z, x));
            HWB_TRY(net_act(s, g, &x));
        }
    if (s->mode != NET_OBSERVE) return net_head(s, g, y, x, "linear");
    for (int i = 0; i < s->n_seen; i++) HWB_TRY(hwb_unsqueeze(g, &s->seen[i], s->seen[i], 0));
    return hwb_concat(g, y, s->n_seen, s->seen, 0);
}

static inline hwb_status net_resnet20_tensors(net *s) {
    int64_t wide = s->width;
    HWB_TRY(net_add_conv(s, "conv1", 3, wide, 3));
    HWB_TRY(net_add_bn(s, "bn1", wide));
    for (int stage = 1; stage <= 3; stage++)
        for (int b = 0; b < s->blocks; b++)
            for (int j = 1; j <= 2; j++) {
                char name[48];
                int64_t out = s->width << (stage - 1);
                snprintf(name, sizeof name, "layer%d.%d.conv%d", stage, b, j);
                HWB_TRY(net_add_conv(s, name, wide, out, 3));
                snprintf(name, sizeof name, "layer%d.%d.bn%d", stage, b, j);
                HWB_TRY(net_add_bn(s, name, out));
                wide = out;
            }
    return net_add_linear(s, "linear", wide, 10);
}

/* ---- ResNet50 (torchvision's: stride in the 3x3 convolution) ------------------------------ */

static const int net_resnet50_blocks[4] = {3, 4, 6, 3};

static inline hwb_status net_resnet50_forward(void *user, hwb_graph *g, hwb_id *y, hwb_id x,
                                              bool train) {
    const net *s = user;
    hwb_pool_options pool = {.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}};
    HWB_TRY(net_conv(s, g, &x, "conv1", 2, 3));
    HWB_TRY(net_bn(s, g, &x, "bn1", train));
    HWB_TRY(hwb_relu(g, &x, x));
    HWB_TRY(hwb_max_pool2d(g, &x, x, pool));
    for (int stage = 1; stage <= 4; stage++)
        for (int b = 0; b < net_resnet50_blocks[stage - 1]; b++) {
            char name[48];
            int stride = stage > 1 && b == 0 ? 2 : 1;
            hwb_id z = x;
            for (int j = 1; j <= 3; j++) {
                snprintf(name, sizeof name, "layer%d.%d.conv%d", stage, b, j);
                HWB_TRY(net_conv(s, g, &z, name, j == 2 ? stride : 1, j == 2));
                snprintf(name, sizeof name, "layer%d.%d.bn%d", stage, b, j);
                HWB_TRY(net_bn(s, g, &z, name, train));
                if (j < 3) HWB_TRY(hwb_relu(g, &z, z));
            }
            if (b == 0) {
                snprintf(name, sizeof name, "layer%d.%d.downsample.0", stage, b);
                HWB_TRY(net_conv(s, g, &x, name, stride, 0));
                snprintf(name, sizeof name, "layer%d.%d.downsample.1", stage, b);
                HWB_TRY(net_bn(s, g, &x, name, train));
            }
            HWB_TRY(hwb_add(g, &x, z, x));
            HWB_TRY(hwb_relu(g, &x, x));
        }
    return net_head(s, g, y, x, "fc");
}

static inline hwb_status net_resnet50_tensors(net *s) {
    int64_t wide = 64;
    HWB_TRY(net_add_conv(s, "conv1", 3, 64, 7));
    HWB_TRY(net_add_bn(s, "bn1", 64));
    for (int stage = 1; stage <= 4; stage++)
        for (int b = 0; b < net_resnet50_blocks[stage - 1]; b++) {
            char name[48];
            int64_t mid = 32 << stage, in[3] = {wide, mid, mid}, out[3] = {mid, mid, 4 * mid};
            for (int j = 1; j <= 3; j++) {
                snprintf(name, sizeof name, "layer%d.%d.conv%d", stage, b, j);
                HWB_TRY(net_add_conv(s, name, in[j - 1], out[j - 1], j == 2 ? 3 : 1));
                snprintf(name, sizeof name, "layer%d.%d.bn%d", stage, b, j);
                HWB_TRY(net_add_bn(s, name, out[j - 1]));
            }
            if (b == 0) {
                snprintf(name, sizeof name, "layer%d.%d.downsample.0", stage, b);
                HWB_TRY(net_add_conv(s, name, wide, 4 * mid, 1));
                snprintf(name, sizeof name, "layer%d.%d.downsample.1", stage, b);
                HWB_TRY(net_add_bn(s, name, 4 * mid));
            }
            wide = 4 * mid;
        }
    return net_add_linear(s, "fc", wide, 1000);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static inline void net_free(void *user) {
    net *s = user;
    for (int i = 0; i < s->n; i++) {
        hwb_tensor_release(s->tensor[i]);
        free(s->name[i]);
    }
    free(s);
}

/* A model of forward(net) with the tensors that `fill` adds; *inside: the net,
 * which lives as long as the model.  width and blocks as in struct net. */
static inline hwb_status net_make(hwb_ctx *ctx, hwb_model **out, net **inside, int64_t width,
                                  int64_t blocks, hwb_forward_fn forward,
                                  hwb_status (*fill)(net *)) {
    net *s = calloc(1, sizeof *s);
    if (!s) return HWB_ENOMEM;
    *s = (net){.ctx = ctx, .width = width, .blocks = blocks};
    hwb_status st = hwb_model_new(ctx, &s->model, forward, s, net_free);
    if (st != HWB_OK) {
        net_free(s);
        return st;
    }
    *out = s->model;
    *inside = s;
    st = fill(s);
    if (st != HWB_OK) hwb_model_release(*out);
    return st;
}

static inline hwb_status net_resnet20_new(hwb_ctx *ctx, hwb_model **out, net **inside,
                                          int64_t width, int64_t blocks) {
    return net_make(ctx, out, inside, width, blocks, net_resnet20_forward, net_resnet20_tensors);
}

static inline hwb_status net_resnet50_new(hwb_ctx *ctx, hwb_model **out, net **inside) {
    return net_make(ctx, out, inside, 0, 0, net_resnet50_forward, net_resnet50_tensors);
}

#endif
