/*
 * onednn_i.h: the little of oneDNN that the backend uses, behind names of ours.
 *
 * Written against the C API of oneDNN 2.x (operation descriptors, primitive
 * descriptors with a forward hint); only onednn.c includes its headers.
 */
#ifndef HWB_ONEDNN_I_H
#define HWB_ONEDNN_I_H

#include "cpu_i.h"

typedef struct hwb__dnn_conv hwb__dnn_conv;       /* one convolution, weights packed */
typedef struct hwb__dnn_reorder hwb__dnn_reorder; /* of its weights */

typedef enum hwb__conv_operand { HWB__CONV_X, HWB__CONV_W, HWB__CONV_Y } hwb__conv_operand;

hwb_status hwb__onednn_open(hwb_ctx *ctx, hwb__onednn **out);
void hwb__onednn_close(hwb__onednn *dnn);

/* A float32 primitive for n images of the geometry; `add` lets the forward one
 * add to what its result buffer holds.  Images are taken as they lie.
 * HWB_EUNSUPPORTED when oneDNN refuses. */
hwb_status hwb__dnn_conv_new(hwb_ctx *ctx, hwb__onednn *dnn, hwb__dnn_conv **out,
                             const hwb__conv_geom *geom, int64_t n, bool add);
void hwb__dnn_conv_free(hwb__dnn_conv *conv);
/* Operands in the primitive's layouts; whichever is the result is written. */
hwb_status hwb__dnn_conv_run(hwb_ctx *ctx, hwb__dnn_conv *conv, const void *x, const void *w,
                             const void *y, void *scratch);
size_t hwb__dnn_conv_scratch(const hwb__dnn_conv *conv); /* bytes of scratch */
/* bytes of an operand in the primitive's layout; whether that is the given one */
size_t hwb__dnn_conv_bytes(const hwb__dnn_conv *conv, hwb__conv_operand operand);
bool hwb__dnn_conv_as_given(const hwb__dnn_conv *conv, hwb__conv_operand operand);
const char *hwb__dnn_conv_name(const hwb__dnn_conv *conv); /* oneDNN's implementation */

/* Weights from the given layout to the primitive's, or back; `add` adds to what is
 * there. */
hwb_status hwb__dnn_reorder_new(hwb_ctx *ctx, hwb__dnn_reorder **out, const hwb__dnn_conv *conv,
                                bool back, bool add);
void hwb__dnn_reorder_free(hwb__dnn_reorder *reorder);
hwb_status hwb__dnn_reorder_run(hwb_ctx *ctx, hwb__dnn_reorder *reorder, const void *from,
                                void *to);

#endif
