/*
 * curvature.h: the Hessian, the generalised Gauss-Newton matrix and the
 * empirical Fisher matrix of a model's mean loss, as linear operators on flat
 * parameter vectors.
 *
 *   Hessian   H v = d/de grad L(theta + e v)        forward over reverse
 *   GGN       G v = J^T (d2L/dz2) J v               z: the model's output
 *   Fisher    F v = 1/N sum_n g_n (g_n^T v)         g_n: gradient of sample n
 *
 * The loss is the mean over all samples of the data source; a source that
 * comes in batches is streamed, each batch weighted by its number of samples.
 * Weight decay is no part of the loss unless asked for.
 *
 * One batch is held: the primal pass and its adjoints are computed once and
 * reused for every vector.  Several batches are passed over for every apply.
 * Blocks that were made together share the primal pass, and the passes over several
 * batches when their products are asked for together.
 *
 * With several ranks (comm/comm.h) each takes its part of every batch and the
 * results of all K vectors are added up in one exchange, so that every rank gets
 * the operator over all samples, and the same bits.  All ranks must then make the
 * same calls.  With batch statistics the one batch is shared out too, and the programs
 * exchange what the statistics need; operators on activations stay whole.
 */
#ifndef HWB_CURVATURE_H
#define HWB_CURVATURE_H

#include "model/model.h"

typedef enum hwb_curvature_kind { HWB_HESSIAN, HWB_GGN, HWB_FISHER } hwb_curvature_kind;

/* Write the mean loss of a batch (reduce) or one loss a sample [N] into g. */
typedef hwb_status (*hwb_loss_fn)(void *user, hwb_graph *g, hwb_id *loss, hwb_id output,
                                  hwb_id target, bool reduce);
/* The built-in losses: "cross_entropy" (integer labels from 0), "mse". */
HWB_API hwb_status hwb_loss_named(hwb_ctx *ctx, hwb_loss_fn *out, const char *name);

/* Where data come from: always the same batches in the same order. */
typedef struct hwb_source {
    void *self;
    hwb_status (*rewind)(hwb_ctx *ctx, void *self);
    /* new refs; *x = NULL after the last batch */
    hwb_status (*next)(hwb_ctx *ctx, void *self, hwb_tensor **x, hwb_tensor **y);
    void (*free_self)(void *self); /* may be NULL */
    /* May be NULL.  From now on give part `part` (hwb_comm_part) of `parts` of every
     * batch, empty ones too; 0 of 1: all again.  false: it cannot. */
    bool (*take_part)(void *self, int part, int parts);
} hwb_source;
/* One batch, or the same cut into micro-batches of at most `micro` samples
 * (0: not cut).  Retains x and y. */
HWB_API hwb_status hwb_source_batch(hwb_ctx *ctx, hwb_source *out, hwb_tensor *x, hwb_tensor *y,
                                    int64_t micro);

typedef struct hwb_curvature_options {
    hwb_curvature_kind kind;
    hwb_loss_fn loss; /* default cross-entropy */
    void *loss_user;
    bool batch_norm_batch; /* statistics of the batch instead of the running ones: one batch only */
    double weight_decay;   /* adds wd * identity */
    size_t budget;         /* bytes of working memory that K vectors at once may take;
                              0 = 256 MiB on the host, 1 GiB on other devices */
} hwb_curvature_options;

typedef struct hwb_curvature hwb_curvature;

/* Over all parameters.  Takes the source (also on failure); retains m.  new ref */
HWB_API hwb_status hwb_curvature_new(hwb_ctx *ctx, hwb_curvature **out, hwb_model *m,
                                     hwb_source source, const hwb_curvature_options *options);
/* Restricted to a block (see hwb_model_block) of the same source. new ref */
HWB_API hwb_status hwb_curvature_block(hwb_ctx *ctx, hwb_curvature **out, hwb_curvature *whole,
                                       const char *name);
/* With respect to an intermediate value (hwb_graph_tap) instead of parameters:
 * the input of the layer called `name`.  One batch only; n = its elements.  The
 * operator is block-diagonal over samples and carries the mean's factor 1/N. */
HWB_API hwb_status hwb_curvature_activation(hwb_ctx *ctx, hwb_curvature **out, hwb_curvature *whole,
                                            const char *name);
/* n blocks, or n activations, whose products share the primal pass: its kept values are what
 * all of them need, and each has tangents of its own.  For sweeps over them: a block alone
 * keeps less.  out[n]: new refs. */
HWB_API hwb_status hwb_curvature_blocks(hwb_ctx *ctx, hwb_curvature **out, hwb_curvature *whole,
                                        int n, const char *const *names);
HWB_API hwb_status hwb_curvature_activations(hwb_ctx *ctx, hwb_curvature **out,
                                             hwb_curvature *whole, int n, const char *const *names);
/* Members of such a family (borrowed) for solvers of many operators; hwb_curvature_apart
 * frees what it made, also after a failure. */
HWB_API hwb_status hwb_curvature_together(hwb_ctx *ctx, hwb_linop_set *out, int n,
                                          hwb_curvature *const *members);
HWB_API void hwb_curvature_apart(hwb_linop_set *set);
HWB_API hwb_curvature *hwb_curvature_retain(hwb_curvature *c);
HWB_API void hwb_curvature_release(hwb_curvature *c);

/* The operator; borrowed, valid while c lives. */
HWB_API hwb_linop *hwb_curvature_op(hwb_curvature *c);
HWB_API int64_t hwb_curvature_n(const hwb_curvature *c);
HWB_API const char *hwb_curvature_name(const hwb_curvature *c); /* of the block, "" for the whole */
HWB_API hwb_model *hwb_curvature_model(const hwb_curvature *c); /* borrowed */
HWB_API double hwb_curvature_weight_decay(const hwb_curvature *c);
/* Parameters in the block, ascending; borrowed. */
HWB_API int hwb_curvature_parameters(const hwb_curvature *c, const int **ids);

/* Loss and gradient [n] (with respect to the block) over the source. */
HWB_API hwb_status hwb_curvature_gradient(hwb_ctx *ctx, hwb_curvature *c, double *loss,
                                          hwb_tensor **gradient /* may be NULL */);
/* losses[k] = mean loss with the block's weights displaced by the sum over d of
 * coefficients[k*D + d] * directions[d, :], k < count; directions is [D,n].  The
 * weights come back bit for bit, also on failure.  Losses may be non-finite. */
HWB_API hwb_status hwb_curvature_losses(hwb_ctx *ctx, hwb_curvature *c, hwb_tensor *directions,
                                        int64_t count, const double *coefficients, double *losses);
/* Give back working memory; the next use makes it again (and the primal pass). */
HWB_API void hwb_curvature_trim(hwb_curvature *c);
/* Samples passed over, once known (after the first call); 0 before. */
HWB_API int64_t hwb_curvature_samples(const hwb_curvature *c);
/* malloc'd dump of the program that applies k vectors (compiled if need be). */
HWB_API char *hwb_curvature_dump(hwb_ctx *ctx, hwb_curvature *c, int64_t k);

#endif
