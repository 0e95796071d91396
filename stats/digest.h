/* The content hash of a network as it stands: what a pass wrote down about which network it asked. */
#ifndef PARE_STATS_DIGEST_H
#define PARE_STATS_DIGEST_H

#include "base/hash.h"
#include "graph/graph.h"

/* SHA-256 over opsets, inputs, outputs, nodes in order with their attributes, subgraphs and constants, names included. The same for a
 * clone; independent of the file the graph came from and of tables' holes. Not the hash of a file. */
Status graph_digest(const Graph *g, char text[HASH_TEXT], Err *err);

#endif
