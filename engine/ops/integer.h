/* Products of 8-bit integers with int32 sums: QLinearConv, QLinearMatMul, ConvInteger, MatMulInteger. Their entries stand in quantize.c. */
#ifndef PARE_ENGINE_OPS_INTEGER_H
#define PARE_ENGINE_OPS_INTEGER_H

#include "graph/op.h"

Status qlinear_conv_infer(InferCall *c);
Status qlinear_conv_forward(OpCall *c);
Status qlinear_matmul_infer(InferCall *c);
Status qlinear_matmul_forward(OpCall *c);
Status conv_integer_infer(InferCall *c);
Status conv_integer_forward(OpCall *c);
Status matmul_integer_infer(InferCall *c);
Status matmul_integer_forward(OpCall *c);
void integer_conv_cost(const CostCall *c, OpCost *out);
void integer_matmul_cost(const CostCall *c, OpCost *out);

#endif
