/* What a pass over weighted layers must name besides layers_find: nodes whose weights are there, but not as a constant of the node. */
#ifndef PARE_STATS_LEFT_OUT_H
#define PARE_STATS_LEFT_OUT_H

#include "graph/layer.h"

typedef struct LeftOut {
    Layer layer;      /* node, name, input, output; weight is the value that is not constant, weight_name the constant's behind it */
    bool quantized;   /* the constant behind it goes through DequantizeLinear */
    char reason[192];
} LeftOut;

/* Nodes of the main graph whose weight input is computed from constants alone (DequantizeLinear, Reshape, Transpose ...), in
 * topological order; products of two activations are none. Malloc'ed; ops bound first. */
Status layers_left_out(const Graph *g, LeftOut **out, int *count, Err *err);
/* Weighted nodes inside subgraphs (If, Loop, Scan), at any depth: passes leave those alone and say so. */
int layers_nested(const Graph *g);

#endif
