/* Puts QuantizeLinear and DequantizeLinear into the graph as planned. */
#ifndef PARE_QUANTIZE_APPLY_H
#define PARE_QUANTIZE_APPLY_H

#include "quantize/weights.h"

/* Grids filled, weights made. Afterwards the graph needs graph_remove_dead, graph_finish and engine_infer. */
Status apply_plan(Plan *p, const Weights *w, Err *err);

#endif
