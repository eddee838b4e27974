/*
 * model.h: a network as the engine sees it: ordered named parameters and
 * buffers, the layers that can be quantized, and a function that writes the
 * forward pass into a graph.
 *
 * The forward function is called once for each input shape and mode; what it
 * builds is a graph over the model's tensors, in which every parameter and
 * buffer is already bound to an input node (hwb_graph_lift on the tensor gives
 * that node).
 */
#ifndef HWB_MODEL_H
#define HWB_MODEL_H

#include "graph/graph.h"
#include "io/io.h"

typedef struct hwb_model hwb_model;

/* Build y = f(x) in g.  `train`: batch statistics, dropout and updates. */
typedef hwb_status (*hwb_forward_fn)(void *user, hwb_graph *g, hwb_id *y, hwb_id x, bool train);

HWB_API hwb_status hwb_model_new(hwb_ctx *ctx, hwb_model **out, hwb_forward_fn forward, void *user,
                                 void (*free_user)(void *)); /* new ref */
HWB_API hwb_model *hwb_model_retain(hwb_model *m);
HWB_API void hwb_model_release(hwb_model *m);

/* ---- tensors ------------------------------------------------------------------- */

/* Names are unique; tensors are retained.  A tensor given twice (weight
 * sharing) is one parameter with the first name; the second name is an alias. */
HWB_API hwb_status hwb_model_add_parameter(hwb_ctx *ctx, hwb_model *m, const char *name,
                                           hwb_tensor *t);
HWB_API hwb_status hwb_model_add_buffer(hwb_ctx *ctx, hwb_model *m, const char *name,
                                        hwb_tensor *t);
HWB_API int hwb_model_parameter_count(const hwb_model *m);
HWB_API hwb_tensor *hwb_model_parameter(const hwb_model *m, int i,
                                        const char **name); /* borrowed */
HWB_API int hwb_model_buffer_count(const hwb_model *m);
HWB_API hwb_tensor *hwb_model_buffer(const hwb_model *m, int i, const char **name); /* borrowed */
HWB_API int hwb_model_find(const hwb_model *m, const char *name); /* parameter index or -1 */
HWB_API int64_t hwb_model_num_parameters(const hwb_model *m);
/* Offset of parameter i in flat vectors, which follow parameter order. */
HWB_API int64_t hwb_model_offset(const hwb_model *m, int i);
HWB_API hwb_dtype hwb_model_dtype(const hwb_model *m); /* of the first float parameter */
/* Put another tensor in the place of parameter (buffer) i: same shape, any dtype. */
HWB_API hwb_status hwb_model_set_parameter(hwb_ctx *ctx, hwb_model *m, int i, hwb_tensor *t);
HWB_API hwb_status hwb_model_set_buffer(hwb_ctx *ctx, hwb_model *m, int i, hwb_tensor *t);
/* All parameters as one vector [n] (a copy, new ref), and back. */
HWB_API hwb_status hwb_model_flatten(hwb_ctx *ctx, const hwb_model *m, hwb_tensor **out);
HWB_API hwb_status hwb_model_assign(hwb_ctx *ctx, hwb_model *m, hwb_tensor *flat);

/* ---- layers ------------------------------------------------------------------------ */

/* A layer that can be quantized: its weight, in forward order. */
typedef struct hwb_layer {
    char *name;           /* "layer1.0.conv1" */
    int weight;           /* parameter index */
    int64_t n;            /* weights */
    int64_t macs;         /* multiply-adds for one sample; 0 until a forward was traced */
    int64_t out_elements; /* activations out of one sample */
} hwb_layer;
/* Layers found by tracing one forward pass for an input of this shape (N is
 * taken as 1): every conv, matmul or gather whose second (first) operand is a
 * parameter of rank >= 2, once each.  malloc'd by the model; borrowed. */
HWB_API hwb_status hwb_model_layers(hwb_ctx *ctx, hwb_model *m, const hwb_shape *input,
                                    hwb_dtype dtype, int *count, const hwb_layer **layers);

/* Parameters of the block called `name`: a parameter's own name ("fc.weight"),
 * or a layer or module prefix ("layer1.0.conv1", "layer1").  Fills ids in
 * order; HWB_EARG with near names when nothing matches. */
HWB_API hwb_status hwb_model_block(hwb_ctx *ctx, const hwb_model *m, const char *name, int *count,
                                   int *parameters /* room for all */);

/* ---- tracing --------------------------------------------------------------------------- */

/* A new graph with every parameter and buffer bound (roles PARAM), and the
 * forward pass of input node x written into it. */
typedef struct hwb_tracing {
    hwb_graph *graph;
    hwb_id x, y;
    hwb_id *parameters; /* one input node a parameter */
    int n_parameters;
} hwb_tracing;
HWB_API hwb_status hwb_model_trace_begin(hwb_ctx *ctx, hwb_model *m, hwb_tracing *out);
HWB_API hwb_status hwb_model_trace_forward(hwb_ctx *ctx, hwb_model *m, hwb_tracing *t,
                                           hwb_dtype dtype, const hwb_shape *input, bool train);
HWB_API void hwb_tracing_free(hwb_tracing *t);

/* Eager forward: compiled once for each (shape, dtype, train), cached in the
 * model.  In training mode the running statistics are updated. */
HWB_API hwb_status hwb_model_run(hwb_ctx *ctx, hwb_model *m, hwb_tensor **y, hwb_tensor *x,
                                 bool train);
/* Forget cached programs (the forward function changed). */
HWB_API void hwb_model_changed(hwb_model *m);

/* ---- files --------------------------------------------------------------------------------- */

/* Copy tensors of a bundle into parameters and buffers by name; HWB_EFORMAT
 * lists missing, unexpected and misshapen names. */
HWB_API hwb_status hwb_model_load(hwb_ctx *ctx, hwb_model *m, const char *path);
HWB_API hwb_status hwb_model_save(hwb_ctx *ctx, const hwb_model *m, const char *path);

#endif
