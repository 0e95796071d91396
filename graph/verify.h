/* Checks that a graph is well formed: run after load, after each pass, before save. */
#ifndef PARE_GRAPH_VERIFY_H
#define PARE_GRAPH_VERIFY_H

#include "graph/graph.h"

/* Single assignment, every input defined before use, no cycle, unique names, outputs produced, tensors as large as type and shape
 * say, opset imported for each node's domain. ERR_DATA names the object. Subgraphs included. */
Status graph_verify(const Graph *g, Err *err);

#endif
