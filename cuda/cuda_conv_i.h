/*
 * cuda_conv_i.h: what the ways of convolving share: the operands of the trio by
 * name; and the choice of a cuDNN algorithm (cuda_conv_choose.c) for cuda_conv.c.
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

/* One convolution as cuDNN knows it. */
typedef struct hwb__cuda_dnn_conv {
    cudnnTensorDescriptor_t x, y;
    cudnnFilterDescriptor_t w;
    cudnnConvolutionDescriptor_t conv;
    hwb_math math; /* what it computes in */
    int algo;
    size_t workspace;
} hwb__cuda_dnn_conv;

/* Makes the descriptors; on failure some may be there: drop. */
hwb_status hwb__cuda_dnn_describe(hwb_ctx *ctx, hwb__cuda_dnn_conv *q, const hwb__cuda_trio *c);
void hwb__cuda_dnn_drop(hwb__cuda_dnn_conv *q);
/* Fills in algo and workspace; HWB_EUNSUPPORTED where cuDNN has none that may be used.
 * exact: none that rounds more than the plain sum of products does. */
hwb_status hwb__cuda_dnn_choose(hwb_ctx *ctx, hwb__cuda *s, hwb__cuda_dnn_conv *q,
                                const hwb__cuda_trio *c, bool exact);
/* What was chosen did not run: the next choice is another one. */
void hwb__cuda_dnn_refuse(hwb__cuda *s, const hwb__cuda_dnn_conv *q, const hwb__cuda_trio *c,
                          bool exact);

#endif
