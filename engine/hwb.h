/*
 * hwb.h: the public C API of the Hessian workbench engine.
 *
 * The engine answers second-order questions about a network: its loss and
 * gradient, Hessian-vector products, eigenvalues, traces, spectra, and bits per
 * layer.  It knows no Lua, no CUDA and no terminal; everything hangs on a
 * context, and every fallible call returns a status (base/base.h).
 *
 * A network is a function that writes its forward pass into a graph:
 *
 *     static hwb_status forward(void *user, hwb_graph *g, hwb_id *y, hwb_id x, bool train) {
 *         hwb_tensor **p = user;                       -- weight [3,5], bias [3]
 *         hwb_id w, b;
 *         HWB_TRY(hwb_graph_lift(g, &w, p[0]));        -- the node of a parameter
 *         HWB_TRY(hwb_graph_lift(g, &b, p[1]));
 *         HWB_TRY(hwb_linear(g, &x, x, w, b));         -- graph/compose.h, graph/build.h
 *         return hwb_tanh(g, y, x);
 *     }
 *
 * A model names its parameters; a curvature operator is the Hessian (or the
 * Gauss-Newton or Fisher matrix) of its mean loss over some data; solvers take
 * operators:
 *
 *     hwb_ctx *ctx;                                    hwb_ctx_new(&ctx);
 *     hwb_model *model;
 *     HWB_TRY(hwb_model_new(ctx, &model, forward, p, NULL));
 *     HWB_TRY(hwb_model_add_parameter(ctx, model, "weight", p[0]));
 *     HWB_TRY(hwb_model_add_parameter(ctx, model, "bias", p[1]));
 *
 *     hwb_source data;                                 -- x[16,5], labels y[16] from 0
 *     hwb_curvature *hessian;
 *     hwb_curvature_options options = {.kind = HWB_HESSIAN};
 *     HWB_TRY(hwb_source_batch(ctx, &data, x, y, 0));
 *     HWB_TRY(hwb_curvature_new(ctx, &hessian, model, data, &options));
 *
 *     hwb_eigs_options eo = hwb_eigs_defaults();       -- the largest, residual 1e-3
 *     hwb_eigs_result e;
 *     HWB_TRY(hwb_eigs_lanczos(ctx, &e, hwb_curvature_op(hessian), &eo));
 *                                                      -- e.values[0] +- e.residuals[0]
 *     hwb_trace_options to = hwb_trace_defaults();     -- 1 % standard error
 *     hwb_trace_result t;
 *     HWB_TRY(hwb_trace(ctx, &t, hwb_curvature_op(hessian), &to));
 *                                                      -- t.mean +- t.se
 *
 * What a call makes, its caller releases (hwb_…_release, hwb_…_free).
 * tests/c/test_tutorial.c is this program whole.  engine/README.md follows one
 * product through the layers below.
 */
#ifndef HWB_H
#define HWB_H

#include "base/base.h"
#include "tensor/tensor.h"
#include "io/io.h"
#include "data/data.h"
#include "comm/comm.h"
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
