/* In a session's own graph ONNX Runtime's fused products become the operators that they are made of, which have kernels and are fused again
 * by the plan: FusedConv (Conv, Add, activation), FusedGemm (Gemm, activation), FusedMatMul (Transpose, MatMul, Mul; Gemm of matrices). */
#ifndef PARE_ENGINE_UNFUSE_H
#define PARE_ENGINE_UNFUSE_H

#include "graph/graph.h"

/* Ids of values stay. Leaves a node as it is where it is not float32, where an operand's rank is not known, or where the file's opset is
 * older than the operators needed. Ops bound before and after. */
Status unfuse(Graph *g, Err *err);

#endif
