/* Checks the promise of --target=portable on a network as it stands, whoever wrote it. */
#ifndef PARE_QUANTIZE_SAFE_H
#define PARE_QUANTIZE_SAFE_H

#include "graph/graph.h"

/* Every int8 weight that meets uint8 activations obeys the pair rule (quantize/grid.h). ERR_DATA names the first layer and row that does
 * not. uint8 weights are exact as they are.
 * *layers (may be NULL) counts the layers of both kinds. Main graph only. */
Status safe_check(const Graph *g, int *layers, Err *err);

#endif
