/* How large a network will be as a file, before it is written. */
#ifndef PARE_QUANTIZE_FILE_SIZE_H
#define PARE_QUANTIZE_FILE_SIZE_H

#include "graph/graph.h"

/* Bytes of the ONNX file: contents of constants that something reads, names, nodes and attributes, subgraphs included. An estimate,
 * some bytes a node on the high side: what only the file knows (documentation, metadata of a converter) is not in it. */
double file_size(const Graph *g);

#endif
