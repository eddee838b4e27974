/*
 * model_i.h: the inside of a model.
 */
#ifndef HWB_MODEL_I_H
#define HWB_MODEL_I_H

#include "exec/exec.h"
#include "model/model.h"

typedef struct hwb__named {
    char *name;
    hwb_tensor *t; /* retained */
} hwb__named;

typedef struct hwb__named_list {
    hwb__named *at;
    int count;
} hwb__named_list;

/* A compiled forward pass: outputs y, then the new values of updated buffers. */
typedef struct hwb__forward {
    hwb_shape shape;
    hwb_dtype dtype;
    bool train;
    hwb_program *program;
    hwb_id x;
    hwb_tensor **buffers; /* retained; what the further outputs are written to */
    int n_buffers;
} hwb__forward;

struct hwb_model {
    int refs;
    hwb_ctx *ctx;
    hwb_forward_fn forward;
    void *user;
    void (*free_user)(void *);
    hwb__named_list parameters, buffers, aliases; /* aliases: other names of shared tensors */
    hwb__forward *forwards;
    int n_forwards;
    hwb_layer *layers;
    int n_layers;
};

void hwb__model_free_layers(hwb_model *m);

#endif
