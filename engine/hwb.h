/*
 * hwb.h: the public C API of the Hessian workbench engine.
 */
#ifndef HWB_H
#define HWB_H

#include "base/base.h"
#include "tensor/tensor.h"

#endif
