/* Layers of 8-bit integers as kernels see them: QLinearConv, QLinearMatMul, ConvInteger, MatMulInteger. */
#ifndef PARE_ENGINE_INTEGER_SITE_H
#define PARE_ENGINE_INTEGER_SITE_H

#include "engine/kernel.h"

/* Which inputs hold what. */
typedef struct IntegerForm {
    bool matrix, linear; /* linear: with scales; else the sums themselves */
    int weight, x_zero, weight_zero;
} IntegerForm;

IntegerForm integer_form(const KernelSite *s);
/* Whether weights, scales and zero points are constants of the shapes and types that integer kernels read. */
bool integer_site_accepts(const KernelSite *s);

#endif
