/*
 * cuda_image_i.h: images and windows, as the operands of convolutions and pools
 * lie: [K,]N,C,H,W, or [K,]N,H,W,C when channels_last is set; weights are always
 * [K,]O,C/g,h,w (read n as O, c as C/g).
 */
#ifndef HWB_CUDA_IMAGE_I_H
#define HWB_CUDA_IMAGE_I_H

#include "cuda_group_i.h"

#define HWB__CUDA_IMAGE                                                                            \
    {                                                                                              \
        i64 k;                                                                                     \
        i64 n;                                                                                     \
        i64 c;                                                                                     \
        i64 h;                                                                                     \
        i64 w;                                                                                     \
        i64 sk;                                                                                    \
        i64 sn;                                                                                    \
        i64 sc;                                                                                    \
        i64 sh;                                                                                    \
        i64 sw;                                                                                    \
    }
typedef struct HWB__CUDA_IMAGE hwb__cuda_image;

#define HWB__CUDA_WINDOW                                                                           \
    {                                                                                              \
        i64 kernel[2];                                                                             \
        i64 stride[2];                                                                             \
        i64 pad[2];                                                                                \
        i64 dilation[2];                                                                           \
    }
typedef struct HWB__CUDA_WINDOW hwb__cuda_window;

/* Sizes by name and element strides; k = 1 and sk = 0 without a leading K. */
static inline hwb__cuda_image hwb__cuda_image_of(const hwb_shape *s, bool channels_last) {
    const int64_t *d = s->dim + (s->ndim - 4);
    hwb__cuda_image m = {.k = s->ndim == 5 ? s->dim[0] : 1, .n = d[0]};
    m.c = channels_last ? d[3] : d[1];
    m.h = channels_last ? d[1] : d[2];
    m.w = channels_last ? d[2] : d[3];
    m.sc = channels_last ? 1 : m.h * m.w;
    m.sw = channels_last ? m.c : 1;
    m.sh = m.w * m.sw;
    m.sn = m.c * m.h * m.w;
    m.sk = s->ndim == 5 ? m.n * m.sn : 0;
    return m;
}

static inline hwb__cuda_window hwb__cuda_window_of(const hwb_attrs *a) {
    hwb__cuda_window w;
    for (int i = 0; i < 2; i++) {
        w.kernel[i] = a->kernel[i];
        w.stride[i] = a->stride[i];
        w.pad[i] = a->pad_lo[i];
        w.dilation[i] = a->dilation[i];
    }
    return w;
}

#endif
