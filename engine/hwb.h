/*
 * hwb.h: the public C API of the Hessian workbench engine.
 */
#ifndef HWB_H
#define HWB_H

#include "base/base.h"
#include "tensor/tensor.h"
#include "io/io.h"
#include "data/data.h"
#include "graph/graph.h"
#include "graph/build.h"
#include "graph/compose.h"
#include "ad/ad.h"
#include "exec/exec.h"
#include "model/model.h"
#include "curvature/curvature.h"
#include "spectral/spectral.h"
#include "quant/quant.h"
#include "quant/fake.h"
#include "optim/controller.h"
#include "optim/optim.h"
#include "plot/plot.h"

#endif
