/*
 * cudnn_i.h: what the libcudnn stand-in's descriptors (cudnn.c) and arithmetic
 * (cudnn_conv.c) share.
 */
#ifndef HWB_EMU_CUDNN_I_H
#define HWB_EMU_CUDNN_I_H

#include "emu.h"

#include <cudnn.h>

typedef enum emu_direction {
    EMU_FORWARD_PASS,
    EMU_BACKWARD_DATA,
    EMU_BACKWARD_FILTER
} emu_direction;

/* Dims n,c,h,w of a tensor or k,c/groups,r,s of a filter, and how they lie. */
typedef struct emu_dnn_tensor {
    cudnnDataType_t type;
    cudnnTensorFormat_t format; /* NCHW or NHWC (KCRS, KRSC) */
    int dim[4];
} emu_dnn_tensor;

typedef struct emu_dnn_conv {
    int pad[2], stride[2], dilation[2], groups;
    cudnnConvolutionMode_t mode;
    cudnnDataType_t compute;
    cudnnMathType_t math;
} emu_dnn_conv;

/* One convolution as queued: x (n,c,h,w), w, y; the result is the one of the
 * three that the direction says: result = alpha op(others) + beta result. */
typedef struct emu_convolution {
    emu_direction direction;
    emu_dnn_tensor x, w, y;
    emu_dnn_conv conv;
    void *x_at, *w_at, *y_at, *workspace;
    size_t workspace_bytes;
    double alpha, beta;
    bool wobbles; /* an algorithm that is not deterministic */
} emu_convolution;

size_t emu_dnn_numel(const emu_dnn_tensor *t);
size_t emu_dnn_bytes(const emu_dnn_tensor *t);
void emu_convolution_run(void *args); /* an emu_convolution */

#endif
