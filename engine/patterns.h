/* Patterns that exporters spell in many nodes become the one operator they mean, in a session's own copy of the graph: LayerNormalization
 * and its form without mean, Gelu, Swish, rotary embeddings, Pad in front of a Conv, a constant Add behind one, Transpose behind
 * Transpose. */
#ifndef PARE_ENGINE_PATTERNS_H
#define PARE_ENGINE_PATTERNS_H

#include "graph/graph.h"

/* Rewrites where nobody else reads or watches (`watched` by value, may be NULL) what lies between. *made: how many. Ids of values stay.
 * Ops bound before and after. */
Status patterns(Graph *g, const bool *watched, int *made, Err *err);

#endif
