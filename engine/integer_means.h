/* ReduceMean between a dequantization and a quantization becomes GlobalAveragePool, which integer groups know. */
#ifndef PARE_ENGINE_INTEGER_MEANS_H
#define PARE_ENGINE_INTEGER_MEANS_H

#include "graph/graph.h"

/* `watched` by value, may be NULL; operators bound and types inferred; *made: how many. Ids of values stay. */
Status integer_means(Graph *g, const bool *watched, int *made, Err *err);

#endif
