/* Operators that are seldom the bottleneck compute in float64 whatever their type: every float type by one body, rounded once. */
#ifndef PARE_ENGINE_OPS_DOUBLES_H
#define PARE_ENGINE_OPS_DOUBLES_H

#include "engine/ops/common.h"

/* All elements as float64, to be freed by the caller; NULL when out of memory. Numeric types only. */
double *doubles_of(const Tensor *t);
/* The same for an input of a call that may be left out: *out is NULL then. ERR_UNSUPPORTED: it is no number (bool counts as one). */
Status doubles_input(const OpCall *c, int i, double **out);
/* Allocates output i and writes `values` to it, rounded to its type; does nothing for an output that is not asked for. */
Status doubles_output(OpCall *c, int i, DType type, const Shape *shape, const double *values);
/* `count` zeroes; NULL when out of memory or the product overflows. */
double *doubles_zero(int64_t count);
/* v as the type holds it. */
double doubles_round(DType type, double v);

static inline bool call_has(const OpCall *c, int i) { return i < c->input_count && c->in[i] != NULL; }
static inline bool call_wants(const OpCall *c, int i) { return i < c->output_count && c->wanted[i]; }

#endif
