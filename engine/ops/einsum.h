/* Einsum; its entry stands in matmul.c. */
#ifndef PARE_ENGINE_OPS_EINSUM_H
#define PARE_ENGINE_OPS_EINSUM_H

#include "graph/op.h"

Status einsum_infer(InferCall *c);
Status einsum_forward(OpCall *c);
void einsum_cost(const CostCall *c, OpCost *out);

#endif
