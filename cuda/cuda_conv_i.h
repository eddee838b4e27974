/*
 * cuda_conv_i.h: what the two ways of convolving share: the operands of the trio
 * by name, and moving weights between [O,C/g,h,w] and channels-last.
 */
#ifndef HWB_CUDA_CONV_I_H
#define HWB_CUDA_CONV_I_H

#include "cuda_image_i.h"

/* x, w, y as images; `at[3]` says what each is: input 0, input 1 or the result (2).
 * The K of the result is a loop of `turns`, or folded into the images of x and y. */
typedef struct hwb__cuda_trio {
    hwb_op op;
    bool f64, last, add; /* channels last; a third input is added */
    hwb__cuda_image x, w, y;
    hwb__cuda_window window;
    int64_t groups, turns;
    int at[3];
    size_t bytes; /* of the result */
} hwb__cuda_trio;

hwb__cuda_trio hwb__cuda_trio_of(const hwb_kdesc *d);
/* Pointers of operand x (0), w (1), y (2) in turn t; in and out as run has them. */
void *hwb__cuda_trio_operand(const hwb__cuda_trio *c, int operand, int64_t t, const void *const *in,
                             void *const *out);
/* Puts the third input into the result, when it is not there already. */
hwb_status hwb__cuda_trio_add(hwb_ctx *ctx, hwb__cuda *s, const hwb__cuda_trio *c,
                              const void *const *in, void *const *out);

#endif
