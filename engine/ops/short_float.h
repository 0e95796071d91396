/* Floats of eight bits and fewer, as Cast and QuantizeLinear make them. */
#ifndef PARE_ENGINE_OPS_SHORT_FLOAT_H
#define PARE_ENGINE_OPS_SHORT_FLOAT_H

#include "engine/ops/common.h"

/* The largest number of a short float that is rounded to; 0 for other types, float8e8m0 among them. */
double short_float_max(DType t);
/* Writes v to element i, to nearest even. What is too large becomes the largest number when `saturate`, else an infinity or, where the
 * format has none, NaN. float4e2m1 always saturates. */
void short_float_set(Tensor *t, int64_t i, double v, bool saturate);
/* float8e8m0, a power of two without a sign: `mode` is "up", "down" or "nearest". False: no such mode. */
bool power_set(Tensor *t, int64_t i, float v, bool saturate, Str mode);

#endif
