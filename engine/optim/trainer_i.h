/*
 * trainer_i.h: what trainer.c and trainer_program.c share.
 */
#ifndef HWB_OPTIM_TRAINER_I_H
#define HWB_OPTIM_TRAINER_I_H

#include "exec/exec.h"
#include "optim/optim.h"

enum { HWB__TRAINER_PROGRAMS = 8 };

/* One shape of a micro-batch. */
typedef struct hwb__trainer_program {
    hwb_shape x_shape, y_shape;
    hwb_dtype x_dtype, y_dtype;
    int64_t all; /* samples of all ranks, where batch norms see them */
    hwb_program *program;
    hwb_id x, y;
    bool counts;
    hwb_tensor **buffers;  /* retained */
    int n_buffers, joined; /* the joined first ones have one output together */
} hwb__trainer_program;

struct hwb_trainer {
    hwb_ctx *ctx;
    hwb_model *model;
    hwb_trainer_options o;
    int n;                   /* parameters */
    hwb_tensor *sum, *fresh; /* flat gradients: added up, and of one micro-batch */
    hwb_tensor **sum_of;     /* [n] views of it */
    hwb_tensor *state[2], **state_of[2];
    bool empty; /* nothing was added to `sum` yet */
    int64_t steps;
    hwb__trainer_program at[HWB__TRAINER_PROGRAMS];
    int count;
};

/* The program for batches like x and y, made when there is none; borrowed until the next call.
 * all: samples of all ranks together, 0 when each is for itself. */
hwb_status hwb__trainer_compiled(hwb_trainer *t, hwb_tensor *x, hwb_tensor *y, int64_t all,
                                 hwb__trainer_program **out);
/* Loss, right answers (-1: no labels) and gradient[n]; buffers take their new values. */
hwb_status hwb__trainer_run(hwb_trainer *t, hwb__trainer_program *c, hwb_tensor *x, hwb_tensor *y,
                            hwb_tensor *gradient, double *loss, int64_t *right);
void hwb__trainer_free_compiled(hwb__trainer_program *c);

#endif
