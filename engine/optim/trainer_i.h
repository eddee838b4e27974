/*
 * trainer_i.h: what the files of the trainer share.
 */
#ifndef HWB_OPTIM_TRAINER_I_H
#define HWB_OPTIM_TRAINER_I_H

#include "exec/exec.h"
#include "exec/there_i.h"
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
    bool there;            /* its gradient stays on the device (trainer_there.c) */
    hwb_tensor **buffers;  /* retained */
    int n_buffers, joined; /* the joined first ones have one output together */
} hwb__trainer_program;

/* A vector on the device and the host's tensor of it. */
typedef struct hwb__trainer_vector {
    hwb_trainer *trainer;
    hwb_tensor *host;
    void *data;
} hwb__trainer_vector;

/* Slots of numbers on the device: those of the rule, then these. */
enum {
    HWB__TRAINER_NUMBERS = 12,
    HWB__TRAINER_WEIGHT = HWB__TRAINER_NUMBERS,
    HWB__TRAINER_NORM,
    HWB__TRAINER_SLOTS
};

typedef struct hwb__trainer_there {
    hwb_device *device;
    hwb__there *vectors;
    hwb__resident **weights; /* [n] */
    int64_t length;          /* elements of a vector */
    hwb__trainer_vector sum, state[2];
    void *samples; /* of the weights, which ranks compare; NULL until they do */
    bool set[HWB__TRAINER_SLOTS];
    double number[HWB__TRAINER_SLOTS]; /* what the slots hold */
} hwb__trainer_there;

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
    hwb__trainer_there *there; /* NULL: on the host */
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
/* The same, the gradient left on the device: *gradient is good until the next run. */
hwb_status hwb__trainer_run_there(hwb_trainer *t, hwb__trainer_program *c, hwb_tensor *x,
                                  hwb_tensor *y, const void **gradient, double *loss,
                                  int64_t *right);
void hwb__trainer_free_compiled(hwb__trainer_program *c);

/* ---- trainer_there.c -------------------------------------------------------------------- */

/* Can gradient, states and weights stay on d? */
bool hwb__trainer_fits(const hwb_trainer *t, const hwb_device *d);
/* Elements of parameter i's part of a vector there. */
int64_t hwb__trainer_room(const hwb_trainer *t, const hwb_device *d, int i);
hwb_status hwb__trainer_go(hwb_trainer *t, hwb_device *d);
void hwb__trainer_leave(hwb_trainer *t); /* all that is there is fetched */
/* Weights and states are in host memory. */
hwb_status hwb__trainer_fetch(hwb_trainer *t);
/* weight * gradient is added, or is the first. */
hwb_status hwb__trainer_take(hwb_trainer *t, const void *gradient, double weight);
hwb_status hwb__trainer_sum_there(hwb_trainer *t); /* over the ranks */
hwb_status hwb__trainer_update_there(hwb_trainer *t, double lr);

/* ---- trainer_rules.c -------------------------------------------------------------------- */

/* A parameter there, with all that its update reads. */
typedef struct hwb__trainer_part {
    hwb_dtype dtype;
    int64_t n;
    void *p, *g, *state[2];
    bool decay;
} hwb__trainer_part;

/* What slots 0.. hold for step t. */
void hwb__trainer_numbers(const hwb_optim_options *o, int64_t t, double lr,
                          double x[HWB__TRAINER_NUMBERS]);
hwb_status hwb__trainer_rule(hwb__there *t, const hwb_optim_options *o,
                             const hwb__trainer_part *part);

#endif
