/*
 * image_i.h: how the operands of convolutions and pools lie in memory.
 *
 * An image operand is [K,]N,C,H,W, or [K,]N,H,W,C when channels_last is set;
 * the shape lists the dims in the order they lie.  Weights are always
 * [K,]O,C/g,h,w.  Reading an operand gives its sizes by name and the element
 * stride of each, so that one formula
 *     at(k,n,c,h,w) = k*sk + n*sn + c*sc + h*sh + w*sw
 * serves both layouts, with and without K (sk = 0 without).  For weights read
 * n as O and c as C/g.
 *
 * Windows: output position p covers the input rows p*stride - pad_lo + r*dilation,
 * r = 0..kernel-1, so in + pad_lo + pad_hi - ((kernel-1)*dilation + 1) is the room
 * the window has to slide in.
 */
#ifndef HWB_GRAPH_IMAGE_I_H
#define HWB_GRAPH_IMAGE_I_H

#include "graph/op.h"

typedef struct hwb__image {
    bool has_k;
    int64_t k, n, c, h, w; /* k is 1 without a leading K */
    int64_t sk, sn, sc, sh, sw;
} hwb__image;

/* false unless s has rank 4 or 5 */
static inline bool hwb__image_read(const hwb_shape *s, bool channels_last, hwb__image *out) {
    if (s->ndim != 4 && s->ndim != 5) return false;
    const int64_t *d = s->dim + (s->ndim - 4);
    out->has_k = s->ndim == 5;
    out->k = out->has_k ? s->dim[0] : 1;
    out->n = d[0];
    out->c = channels_last ? d[3] : d[1];
    out->h = channels_last ? d[1] : d[2];
    out->w = channels_last ? d[2] : d[3];
    out->sc = channels_last ? 1 : out->h * out->w;
    out->sw = channels_last ? out->c : 1;
    out->sh = out->w * out->sw;
    out->sn = out->c * out->h * out->w;
    out->sk = out->has_k ? out->n * out->sn : 0;
    return true;
}

/* The shape of sizes k,n,c,h,w in the given layout; strides are not read. */
static inline hwb_shape hwb__image_shape(const hwb__image *im, bool channels_last) {
    int64_t d[5] = {im->k, im->n, im->c, im->h, im->w};
    if (channels_last) d[2] = im->h, d[3] = im->w, d[4] = im->c;
    hwb_shape s = {.ndim = im->has_k ? 5 : 4};
    for (int i = 0; i < s.ndim; i++) s.dim[i] = d[i + 5 - s.ndim];
    return s;
}

/* Positions of a window along spatial axis a (0 = H, 1 = W); 0 when it does not fit. */
static inline int64_t hwb__window_out(const hwb_attrs *at, int a, int64_t in, int64_t kernel) {
    int64_t reach; /* from the first tap to the last */
    if (!hwb_mul_size(kernel - 1, at->dilation[a], &reach)) return 0;
    int64_t room = in + at->pad_lo[a] + at->pad_hi[a] - 1 - reach;
    return room < 0 ? 0 : room / at->stride[a] + 1;
}

/* The input row (or column) under tap r of output position p; may lie in the padding. */
static inline int64_t hwb__window_at(const hwb_attrs *at, int a, int64_t p, int64_t r) {
    return p * at->stride[a] - at->pad_lo[a] + r * at->dilation[a];
}

#endif
