/*
 * fake.h: quantization inside a traced graph, with straight-through gradients.
 *
 * The value is that of hwb_quant_apply; the derivative is the identity (HAWQ),
 * or with `clip` the identity where the rounded value is a code and zero
 * outside (Q-BERT, PACT).  Scales are constants to every derivative.
 */
#ifndef HWB_FAKE_H
#define HWB_FAKE_H

#include "graph/graph.h"
#include "quant/quant.h"

/* w[rows,...] -> Q(w).  scale[G] of w's dtype and zero[G] int32 as hwb_quant_range
 * makes them, or both HWB_NONE: then the min-max range of w itself is taken in
 * the graph, at every run (spec->ranging must be HWB_QUANT_MINMAX). */
HWB_API hwb_status hwb_fake_weight(hwb_graph *g, hwb_id *y, hwb_id w, const hwb_quant_spec *spec,
                                   hwb_id scale, hwb_id zero, bool clip);

/* x[...] -> Q(x) for the range[2] = (lowest, highest), one scale for all of x. */
HWB_API hwb_status hwb_fake_activation(hwb_graph *g, hwb_id *y, hwb_id x, hwb_id range, int bits,
                                       hwb_quant_scheme scheme, bool clip);

#endif
