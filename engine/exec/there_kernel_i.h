/*
 * there_kernel_i.h: groups on vectors of a device in the making, for there_groups.c and for
 * whoever has rules of its own (the optimizers' in optim/trainer_rules.c).
 */
#ifndef HWB_THERE_KERNEL_I_H
#define HWB_THERE_KERNEL_I_H

#include "exec/there_i.h"

enum { HWB__SLOT_BYTES = 16 };

enum {
    HWB__THERE_DOTS,
    HWB__THERE_SUM,
    HWB__THERE_FINITE,
    HWB__THERE_SIGNS,
    HWB__THERE_WELFORD,
    HWB__THERE_OTHER /* kinds from here on are the user's */
};

/* What tells one kernel from another; all bytes are compared. */
typedef struct hwb__there_key {
    int64_t kind, rows, n, form[4];
} hwb__there_key;

typedef struct hwb__there_kernel {
    hwb__there_key key;
    hwb_kernel *kernel;
} hwb__there_kernel;

struct hwb__there {
    hwb_ctx *ctx;
    hwb_device *device;
    void *slots;
    int64_t n_slots;
    void *words, *powers; /* of hwb__there_signs */
    int64_t n_words;
    hwb__there_kernel *kernels;
    int n_kernels;
};

void *hwb__there_slot(const hwb__there *t, int64_t slot);

/* A group in the making: registers are numbered as operands are added, inputs first. */
typedef struct hwb__there_group {
    hwb_shape space;
    int n_in, n_instr, n_out;
    hwb_vdesc in_desc[HWB_FUSED_MAX_IN], out_desc[HWB_FUSED_MAX_OUT];
    const void *in[HWB_FUSED_MAX_IN];
    void *to[HWB_FUSED_MAX_OUT];
    hwb_finstr instr[HWB_FUSED_MAX_INSTR];
    hwb_fout out[HWB_FUSED_MAX_OUT];
} hwb__there_group;

/* The register of an operand, of a number in a slot, of a constant, of op(a, b); all inputs
 * come before the first instruction. */
int hwb__group_input(hwb__there_group *g, hwb_dtype dtype, hwb_shape shape, const void *data);
int hwb__group_number(hwb__there_group *g, const hwb__there *t, int64_t slot);
int hwb__group_constant(hwb__there_group *g, double x);
int hwb__group_instr(hwb__there_group *g, hwb_op op, int a, int b);
/* A register becomes a result; summed up where the shape has 1 and the space has not. */
void hwb__group_result(hwb__there_group *g, int reg, hwb_dtype dtype, hwb_shape shape, void *to);

/* Runs the group by the kernel of that key, prepared at its first run. */
hwb_status hwb__there_run(hwb__there *t, const hwb__there_key *key, const hwb__there_group *g);

#endif
