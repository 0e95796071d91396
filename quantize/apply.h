/* Puts QuantizeLinear and DequantizeLinear into the graph as planned. */
#ifndef PARE_QUANTIZE_APPLY_H
#define PARE_QUANTIZE_APPLY_H

#include "quantize/weights.h"

/* The plan's own graph in integers: grids filled, weights rounded; w NULL: weights stay as they are. Ops bound, shapes inferred
 * afterwards. */
Status apply_here(Plan *p, WeightJobs *w, Err *err);
/* A clone of `g` (the plan's graph or a clone of it: the same nodes) in integers likewise.
 * The plan stays as it was. */
Status apply_plan(const Plan *p, const Graph *g, WeightJobs *w, Graph **out, Err *err);

#endif
