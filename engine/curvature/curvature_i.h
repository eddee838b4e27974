/*
 * curvature_i.h: the inside of a curvature operator.
 */
#ifndef HWB_CURVATURE_I_H
#define HWB_CURVATURE_I_H

#include "comm/comm.h"
#include "curvature/curvature.h"
#include "exec/exec.h"

/* One data source, shared by an operator and its blocks. */
typedef struct hwb__shared {
    int refs;
    hwb_model *model;
    hwb_source source;
    hwb_curvature_options o;
    int64_t samples;   /* of all ranks; 0 = not counted yet */
    int64_t batches;   /* of this rank */
    int64_t mine;      /* samples of this rank */
    bool split;        /* shared out among ranks: what comes of it is added up */
    hwb_tensor *x, *y; /* the batch, when there is exactly one */
} hwb__shared;

/* A compiled program for one batch shape and number of vectors; K = 0 is the
 * gradient program (outputs loss, gradient), K = HWB__LOSS_ONLY that of the loss. */
enum { HWB__LOSS_ONLY = -1 };
typedef struct hwb__cached {
    hwb_shape x_shape, y_shape;
    hwb_dtype x_dtype, y_dtype;
    int64_t k;
    hwb_program *program;
    hwb_id x, y, v, tap;
} hwb__cached;

struct hwb_curvature {
    hwb_linop op; /* first: the operator is the curvature object */
    int refs;
    hwb__shared *shared;
    char *name;
    int *parameters;
    int n_parameters;
    bool activation; /* `name` is a tap */
    hwb_shape tap_shape;
    hwb__cached *cached;
    int n_cached;
};

/* Build and compile the program of c for these inputs (assemble.c). */
hwb_status hwb__assemble(hwb_ctx *ctx, hwb_curvature *c, int64_t k, hwb_tensor *x, hwb_tensor *y,
                         hwb__cached *out);

/* Count samples and batches; hold the batch when there is only one (curvature.c). */
hwb_status hwb__curvature_survey(hwb_ctx *ctx, hwb__shared *s);
/* The mean loss of one batch with the weights as they are, finite or not. new ref */
hwb_status hwb__curvature_loss(hwb_ctx *ctx, hwb_curvature *c, hwb_tensor *x, hwb_tensor *y,
                               hwb_tensor **loss);

/* ---- ranks (parts.c) ---------------------------------------------------------------- */

/* From now on s->source gives this rank's part of every batch, where there are several. */
hwb_status hwb__share_out(hwb_ctx *ctx, hwb__shared *s);
/* The only batch of a split source, whole on every rank. new source */
hwb_status hwb__whole_batch(hwb_ctx *ctx, hwb__shared *s, hwb_source *out);
/* Sums over the ranks, where the source is split: of products with v, of other numbers.
 * They fail when the ranks' weights, operators or vectors are not the same. */
hwb_status hwb__sum_products(hwb_ctx *ctx, const hwb_curvature *c, const hwb_tensor *v,
                             hwb_tensor *products);
hwb_status hwb__sum_numbers(hwb_ctx *ctx, const hwb__shared *s, int64_t n, double *v);

#endif
