/*
 * curvature_i.h: the inside of a curvature operator.
 */
#ifndef HWB_CURVATURE_I_H
#define HWB_CURVATURE_I_H

#include "comm/comm.h"
#include "curvature/curvature.h"
#include "exec/exec.h"
#include "exec/there_i.h"

/* One data source, shared by an operator and its blocks. */
typedef struct hwb__shared {
    int refs;
    hwb_model *model;
    hwb_source source;
    hwb_curvature_options o;
    int64_t samples; /* of all ranks; 0 = not counted yet */
    int64_t batches; /* of this rank */
    int64_t mine;    /* samples of this rank */
    bool split;      /* shared out among ranks: what comes of it is added up */
    /* Batch statistics over ranks: each has its rows of the one batch in `source`, and the
     * programs exchange sums; `whole` is all of it.  undivided: never. */
    bool spread, undivided;
    hwb_source whole;
    hwb_tensor *x, *y; /* the batch, when there is exactly one */
} hwb__shared;

/* A compiled program for one batch shape and number of vectors; K = 0 is the
 * gradient program (outputs loss, gradient), K = HWB__LOSS_ONLY that of the loss.
 * With vectors, output i is the product of member i of a family with v[i]. */
enum { HWB__LOSS_ONLY = -1 };
typedef struct hwb__cached {
    hwb_shape x_shape, y_shape;
    hwb_dtype x_dtype, y_dtype;
    int64_t k;
    hwb_program *program; /* on the device of its time */
    hwb_id x, y, *v;
} hwb__cached;

/* Programs in the order in which they were made; past some the oldest go. */
typedef struct hwb__programs {
    hwb__cached *list;
    int n;
} hwb__programs;

/* What an operator is with respect to: parameters, or an activation. */
typedef struct hwb__member {
    char *name;
    int *parameters;
    int n_parameters;
    bool activation; /* `name` is a tap */
    int64_t n;       /* elements in all */
} hwb__member;

/* Operators on one source whose products are the outputs of one program, each with
 * tangents of its own behind one primal pass.  An operator by itself is a family of one. */
typedef struct hwb__family {
    int refs;
    hwb__shared *shared;
    int n;
    hwb__member *member;
    hwb__programs products;
} hwb__family;

struct hwb_curvature {
    hwb_linop op; /* first: the operator is the curvature object */
    int refs;
    hwb__family *family;
    int index; /* its place in the family, whose are: */
    hwb__shared *shared;
    const char *name;
    const int *parameters;
    int n_parameters;
    bool activation;
    hwb__programs own; /* gradient and loss */
};

/* Build and compile (assemble.c): products of all members with k vectors, or the gradient or
 * loss (k < 1) of member `only`. */
hwb_status hwb__assemble(hwb_ctx *ctx, hwb__family *f, int only, int64_t k, hwb_tensor *x,
                         hwb_tensor *y, hwb__cached *out);
/* Sizes of the members' activations, by a trace alone. */
hwb_status hwb__find_activations(hwb_ctx *ctx, hwb__family *f);

/* ---- programs.c --------------------------------------------------------------------- */

/* c's program for k vectors (its family's when k > 0), made if there is none; borrowed
 * until the next call. */
hwb_status hwb__program_for(hwb_ctx *ctx, hwb_curvature *c, int64_t k, hwb_tensor *x, hwb_tensor *y,
                            hwb__cached **out);
void hwb__programs_free(hwb__programs *p);
/* How many of `want` vectors at once stay under the memory budget. */
hwb_status hwb__vectors_at_once(hwb_ctx *ctx, hwb_curvature *c, int64_t want, int64_t *k);
/* Run c's program for k on one batch; v is NULL for the gradient (k = 0) and the loss. */
hwb_status hwb__run_batch(hwb_ctx *ctx, hwb_curvature *c, int64_t k, hwb_tensor *x, hwb_tensor *y,
                          hwb_tensor *v, hwb_tensor **outs);
/* The same for k vectors on the program's device; out: [k,n] there. */
hwb_status hwb__run_batch_there(hwb_ctx *ctx, hwb_curvature *c, int64_t k, hwb_tensor *x,
                                hwb_tensor *y, const void *v, void *out);
/* The mean loss of one batch with the weights as they are, finite or not. new ref */
hwb_status hwb__curvature_loss(hwb_ctx *ctx, hwb_curvature *c, hwb_tensor *x, hwb_tensor *y,
                               hwb_tensor **loss);

/* ---- product.c ---------------------------------------------------------------------- */

/* hwb_linop's apply. */
hwb_status hwb__curvature_apply(hwb_ctx *ctx, hwb_linop *self, hwb_tensor **out,
                                const hwb_tensor *v);
/* hwb_linop_set's, for operators of one family: one pass over a source of several batches. */
hwb_status hwb__curvature_apply_all(hwb_ctx *ctx, int64_t n, hwb_linop *const *op,
                                    const hwb_tensor *const *v, hwb_tensor **out);

/* What is done with a batch; w: its share in the sums over batches and ranks. */
typedef hwb_status (*hwb__batch_fn)(hwb_ctx *ctx, void *user, hwb_tensor *x, hwb_tensor *y,
                                    double w);
hwb_status hwb__each_batch(hwb_ctx *ctx, hwb__shared *s, hwb__batch_fn fn, void *user);
/* How many of k vectors travel at once; counts the source's samples first. */
hwb_status hwb__products_at_once(hwb_ctx *ctx, hwb_curvature *c, int64_t k, int64_t *step);

/* The same of vectors on a device (product_there.c): what hwb_linop and its set have. */
hwb_device *hwb__curvature_where(hwb_ctx *ctx, hwb_linop *self);
hwb_status hwb__curvature_apply_there(hwb_ctx *ctx, hwb_linop *self, int64_t k, const void *v,
                                      void *out);
hwb_status hwb__curvature_apply_all_there(hwb_ctx *ctx, int64_t n, hwb_linop *const *op,
                                          const int64_t *k, const void *const *v, void *const *out);

/* Count samples and batches; hold the batch when there is only one (source.c). */
hwb_status hwb__curvature_survey(hwb_ctx *ctx, hwb__shared *s);

/* ---- ranks (parts.c) ---------------------------------------------------------------- */

/* From now on s->source gives this rank's part of every batch, where there are several. */
hwb_status hwb__share_out(hwb_ctx *ctx, hwb__shared *s);
/* The same for the one batch of batch statistics, s->x and s->y, once it is known. */
hwb_status hwb__spread(hwb_ctx *ctx, hwb__shared *s);
/* The factor of what comes of a batch in the sums over batches and ranks; programs of
 * spread batches have it inside. */
double hwb__share_of(const hwb__shared *s, const hwb_tensor *x);
/* The only batch of a split source, whole on every rank. new source */
hwb_status hwb__whole_batch(hwb_ctx *ctx, hwb__shared *s, hwb_source *out);
/* Sums over the ranks, where the source is split: of products with v, of other numbers.
 * They fail when the ranks' weights, operators or vectors are not the same. */
hwb_status hwb__sum_products(hwb_ctx *ctx, const hwb_curvature *c, const hwb_tensor *v,
                             hwb_tensor *products);
/* Of products on a device; v and products have n numbers. */
hwb_status hwb__sum_products_there(hwb_ctx *ctx, const hwb_curvature *c, hwb__there *t, int64_t n,
                                   const void *v, void *products);
hwb_status hwb__sum_numbers(hwb_ctx *ctx, const hwb__shared *s, int64_t n, double *v);

#endif
