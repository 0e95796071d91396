/* A stretch of a network as a network of its own: some nodes, what they read from outside as inputs, what is read of them as outputs. */
#ifndef PARE_STATS_SEGMENT_H
#define PARE_STATS_SEGMENT_H

#include "engine/engine.h"

typedef struct Segment {
    const NodeId *nodes;     /* in topological order */
    int node_count;
    const ValueId *inputs;   /* fed, in this order; neither constants nor made of constants alone */
    int input_count;
    const ValueId *outputs;
    int output_count;
} Segment;

/* A session that runs the segment: session_run takes `inputs` and gives `outputs` in their order. `fixed`[node]: nodes that depend on
 * constants alone, which go along where they are needed. `types`[i]: of input i. */
Status segment_open(const Graph *g, const Segment *s, const bool *fixed, const DType *types, const SessionOptions *options, Session **out,
                    Err *err);

#endif
