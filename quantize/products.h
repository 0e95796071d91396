/* Products that runtimes would turn into something that does not run in integers. */
#ifndef PARE_QUANTIZE_PRODUCTS_H
#define PARE_QUANTIZE_PRODUCTS_H

#include "graph/graph.h"
#include "graph/pass.h"

/* MatMul with quantized weights, of known shape and rank 3 or more, and an Add of a row [n] behind it: ONNX Runtime makes a Gemm of the two
 * before it looks for integers, and a Gemm with a float bias stays float. The row becomes [1,..,1,n], the same numbers, which it leaves
 * alone. Each is recorded as changed. */
Status products_keep_apart(Graph *g, PassRecord *record, Err *err);

#endif
