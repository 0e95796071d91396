/* MatMul and Gemm in float32 on the BLAS. */
#ifndef PARE_ENGINE_PRODUCTS_H
#define PARE_ENGINE_PRODUCTS_H

#include "engine/kernel.h"

extern const Kernel kernels_product[];

#endif
