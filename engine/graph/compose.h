/*
 * compose.h: layers' mathematics as compositions of primitives.  Their
 * derivatives of every order follow from the primitives' rules.
 */
#ifndef HWB_COMPOSE_H
#define HWB_COMPOSE_H

#include "graph/build.h"

HWB_API hwb_status hwb_softmax(hwb_graph *g, hwb_id *y, hwb_id x, int axis);
HWB_API hwb_status hwb_log_softmax(hwb_graph *g, hwb_id *y, hwb_id x, int axis);
/* logits z[N,C] (or [N,C,...]), integer labels t[N] (or [N,...]) in 0..C-1, mean over all
 * labels; label smoothing in [0,1).  reduce=false gives one loss a sample [N]. */
HWB_API hwb_status hwb_cross_entropy(hwb_graph *g, hwb_id *loss, hwb_id logits, hwb_id labels,
                                     double smoothing, bool reduce);
/* mean over all elements of (x-t)^2; reduce=false: mean over all but axis 0 */
HWB_API hwb_status hwb_mse(hwb_graph *g, hwb_id *loss, hwb_id x, hwb_id target, bool reduce);
/* labels[...] -> [..., classes] of `dtype`, 1 at the label */
HWB_API hwb_status hwb_one_hot(hwb_graph *g, hwb_id *y, hwb_id labels, int64_t classes,
                               hwb_dtype dtype);

/* x[N,C,...]; all parameters [C].  y = (x-mean)/sqrt(var+eps)*gamma + beta */
HWB_API hwb_status hwb_batch_norm_eval(hwb_graph *g, hwb_id *y, hwb_id x, hwb_id gamma, hwb_id beta,
                                       hwb_id mean, hwb_id var, double eps);
/* The same with the batch's own statistics (biased variance), which are given
 * out as [C] with the unbiased variance, for the running averages. */
HWB_API hwb_status hwb_batch_norm_batch(hwb_graph *g, hwb_id *y, hwb_id *batch_mean,
                                        hwb_id *batch_var, hwb_id x, hwb_id gamma, hwb_id beta,
                                        double eps);
/* normalises the last axes that gamma and beta cover */
HWB_API hwb_status hwb_layer_norm(hwb_graph *g, hwb_id *y, hwb_id x, hwb_id gamma, hwb_id beta,
                                  double eps);
HWB_API hwb_status hwb_gelu(hwb_graph *g, hwb_id *y, hwb_id x);      /* x*Phi(x), by erf */
HWB_API hwb_status hwb_gelu_tanh(hwb_graph *g, hwb_id *y, hwb_id x); /* the tanh approximation */
HWB_API hwb_status hwb_softplus(hwb_graph *g, hwb_id *y, hwb_id x);
HWB_API hwb_status hwb_silu(hwb_graph *g, hwb_id *y, hwb_id x);
/* q,k,v [..,T,d]; mask (added to the scores, broadcast) or HWB_NONE: softmax(q k^T/sqrt(d) + mask) v */
HWB_API hwb_status hwb_attention(hwb_graph *g, hwb_id *y, hwb_id q, hwb_id k, hwb_id v,
                                 hwb_id mask);
/* x[N,in] (or [..,in]) w[out,in] bias[out] or HWB_NONE -> x w^T + bias */
HWB_API hwb_status hwb_linear(hwb_graph *g, hwb_id *y, hwb_id x, hwb_id w, hwb_id bias);
/* Uniform fake-quantization with straight-through rounding:
 * (clamp(round(x/scale)+zero, qmin, qmax)-zero)*scale; scale and zero broadcast to x.
 * mask: the gradient is cut outside the range (else it passes everywhere). */
HWB_API hwb_status hwb_fake_quant(hwb_graph *g, hwb_id *y, hwb_id x, hwb_id scale, hwb_id zero,
                                  double qmin, double qmax, bool mask);

#endif
