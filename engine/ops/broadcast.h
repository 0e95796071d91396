/* Two operands broadcast against each other, row by row. */
#ifndef PARE_ENGINE_OPS_BROADCAST_H
#define PARE_ENGINE_OPS_BROADCAST_H

#include "engine/ops/common.h"

/* y[i] = f(a[i * sa], b[i * sb]) for i < n; strides in elements. */
typedef void (*RowFn)(const void *a, int64_t sa, const void *b, int64_t sb, void *y, int64_t n);

/* Applies `row` over the whole of `out`, which has the broadcast shape. Types with whole bytes only. */
void broadcast_rows(const Tensor *a, const Tensor *b, Tensor *out, RowFn row);

/* Integer contents of an elementwise op on shapes (graph/op.h Ints); for infer functions. Leaves unknown what it cannot tell. */
typedef enum IntsOp { INTS_ADD, INTS_SUB, INTS_MUL, INTS_DIV, INTS_MIN, INTS_MAX, INTS_EQUAL } IntsOp;
void ints_pair(InferCall *c, IntsOp op);
void ints_where(InferCall *c);

#endif
